"""The account that a camera is made in: clients with time-outs, what errors mean, and the deployment in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable

STACK = "PinTheSky"
"""What `infra_cdk` deploys; its outputs are read here."""
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 4},
    user_agent_extra="pitsctl",
)
_NOT_FOUND = frozenset({"404", "NoSuchBucket", "NoSuchEntity", "NoSuchTagSet", "NotFound", "ResourceNotFoundException"})
_THERE_ALREADY = frozenset(
    {
        "BucketAlreadyExists",
        "BucketAlreadyOwnedByYou",
        "BucketNotEmpty",
        "ConflictException",
        "DeleteConflict",
        "DeleteConflictException",
        "EntityAlreadyExists",
        "InvalidStateTransitionException",
        "OperationAborted",
        "ResourceAlreadyExistsException",
        "ResourceConflict",
    }
)
_PASSING = frozenset(
    {
        "InternalFailureException",
        "LimitExceededException",
        "RequestTimeout",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


@contextmanager
def errors(action: str) -> Iterator[None]:
    """Turn botocore's errors into ours; `action` ("making the role camera") begins the message."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _meaning_of(action, error) from error
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        reason = "there are no credentials of AWS here: `aws configure`, `aws sso login`, or name a profile"
        raise NotAuthorized(f"{action}: {reason}") from error
    except botocore.exceptions.ProfileNotFound as error:
        raise InvalidInput("home.profile", str(error)) from error
    except botocore.exceptions.NoRegionError as error:
        raise InvalidInput("home.region", "must be given, for no region is configured here") from error
    except botocore.exceptions.ParamValidationError as error:
        raise InvalidInput(action, " ".join(str(error).split())[:300]) from error
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        if isinstance(error, PinTheSkyError):
            raise
        raise Unavailable(f"{action}: {' '.join(str(error).split())[:300]}") from error


def _meaning_of(action: str, error: botocore.exceptions.ClientError) -> PinTheSkyError:
    told = error.response.get("Error", {})
    code = str(told.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = f"{action}: {code}: {told.get('Message', '')}"[:400]
    if code in _NOT_FOUND:
        return NotFound(message)
    if code in _THERE_ALREADY:
        return Conflict(message)
    if code in _PASSING or status >= 500 or status == 429:
        return Unavailable(message)
    if status in (401, 403) or "Token" in code or "Denied" in code:
        return NotAuthorized(message)
    return InvalidInput(action, f"{code}: {told.get('Message', '')}"[:300])


class Account:
    """Clients of one account in one region, made at first use."""

    def __init__(self, *, profile: str = "", region: str = "") -> None:
        """Empty: what the environment and AWS's own files say. Raises InvalidInput (`home.profile`, `home.region`)."""
        with errors("reading the configuration of AWS"):
            self._session = boto3.Session(profile_name=profile or None, region_name=region or None)
        if not self._session.region_name:
            raise InvalidInput("home.region", "must be given, for no region is configured here")
        self.region: str = self._session.region_name
        self._clients: dict[str, Any] = {}
        self._caller: Mapping[str, str] | None = None

    def client(self, service: str) -> Any:
        """The client of a service. Raises Unavailable."""
        if service not in self._clients:
            with errors(f"making the client of {service}"):
                self._clients[service] = self._session.client(service, config=_CONFIG)  # type: ignore[call-overload]  # the stubs want a literal
        return self._clients[service]

    @property
    def caller(self) -> Mapping[str, str]:
        """`Account` (12 digits) and `Arn` of whoever's credentials are used. Raises NotAuthorized, Unavailable."""
        if self._caller is None:
            with errors("asking AWS whose credentials these are"):
                self._caller = self.client("sts").get_caller_identity()
        return self._caller

    @property
    def id(self) -> str:
        """12 digits."""
        return self.caller["Account"]

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        partition = self.caller["Arn"].split(":")[1]
        return f"arn:{partition}:{service}:{self.region}:{self.id}:{resource}"

    def endpoint(self, kind: str) -> str:
        """An address of AWS IoT: `iot:Data-ATS` or `iot:CredentialProvider`."""
        with errors("asking for the addresses of AWS IoT"):
            return str(self.client("iot").describe_endpoint(endpointType=kind)["endpointAddress"])


@dataclass(frozen=True)
class Deployment:
    """What `infra_cdk` has deployed, by the outputs of its stack; empty where an output is missing."""

    console: str
    bucket: str
    role_alias: str
    policy: str
    group: str
    connections: str
    """Where answers to sockets are posted, https://."""

    @classmethod
    def find(cls, account: Account) -> Deployment | None:
        """Look for the stack. Raises Conflict for one that is not whole, NotAuthorized, Unavailable."""
        try:
            with errors(f"looking for the stack {STACK}"):
                found = account.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        except (NotFound, InvalidInput):  # ValidationError is what CloudFormation says of a stack that is not there
            return None
        told = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
        missing = [key for key in ("MediaBucket", "RoleAlias", "CameraPolicy", "CameraGroup") if not told.get(key)]
        if missing:
            state = found.get("StackStatus", "")
            raise Conflict(f"the stack {STACK} ({state}) has no output {', '.join(missing)}: deploy it again first")
        return cls(
            console=told.get("ConsoleUrl", ""),
            bucket=told["MediaBucket"],
            role_alias=told["RoleAlias"],
            policy=told["CameraPolicy"],
            group=told["CameraGroup"],
            connections=told.get("ConnectionsEndpoint", "") or _posts(told.get("SocketUrl", "")),
        )


def _posts(socket_url: str) -> str:
    """Where a WebSocket API takes posts to its connections: the stage's own address."""
    rest = socket_url.removeprefix("wss://").rstrip("/")
    return f"https://{rest}" if rest != socket_url and ".execute-api." in rest else ""
