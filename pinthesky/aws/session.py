"""One botocore session with one client per service, and the one place where botocore's errors become ours.

botocore is imported at the first call, never with this module: it costs 30 MB and, on the smallest Pi, seconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

from pinthesky.aws.credentials import (
    CredentialsEndpoint,
    clock_in_tls_error,
    describe_skew,
    monotonic_datetime,
    region_of,
    skew_from_date,
)
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from botocore.session import Session
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client

    from pinthesky.device.ports import Clock
    from pinthesky.model.identifiers import ThingName
    from pinthesky.model.settings import CloudConnection

logger = logging.getLogger(__name__)

DEFAULT_REGION = "us-east-1"
CLIENTS_MAX = 8
"""Clients kept. Allowed destinations are few; this only keeps a mistake from growing."""

# Codes as botocore parses them, from the error tables of S3, CloudWatch Logs and API Gateway.
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException"})
_EXPIRED_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "UnrecognizedClientException"}
)
_NOT_FOUND_CODES = frozenset(
    {
        "NoSuchBucket",
        "InvalidBucketName",
        "ResourceNotFoundException",
        "GoneException",
        # The bucket lives in a region, or at an address, that this client cannot find by itself.
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }
)
_PASSING_CODES = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "ConditionalRequestConflict",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "LimitExceededException",
    }
)
_REFUSED_CODES = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "AccessDeniedException"})


class AwsSession:
    """Clients for S3, CloudWatch Logs and `@connections`, made at first use and shared by all threads."""

    def __init__(
        self,
        *,
        clock: Clock,
        region: str,
        credentials: Optional[CredentialsEndpoint] = None,
        s3_endpoint: Optional[str] = None,
        ca_bundle: Optional[Path] = None,
    ) -> None:
        """Without `credentials`, botocore's own chain (environment, profile) is used, as on a developer's machine.

        `s3_endpoint` (a hub's URL) replaces AWS's and switches to path-style addresses; `ca_bundle` is trusted in
        place of the public authorities for S3 and the data plane.
        """
        self._clock = clock
        self._region = region
        self._endpoint = credentials
        self._s3_endpoint = s3_endpoint
        self._ca_bundle = ca_bundle
        self._lock = threading.Lock()
        self._session: Optional[Session] = None
        self._clients: dict[tuple[str, str, Optional[str]], Any] = {}

    def s3(self) -> S3Client:
        """The S3 client."""
        return cast(
            "S3Client", self._client("s3", self._region, self._s3_endpoint, connect_s=20, read_s=60, attempts=2)
        )

    def logs(self, region: str) -> CloudWatchLogsClient:
        """The CloudWatch Logs client of a region."""
        return cast("CloudWatchLogsClient", self._client("logs", region, None, connect_s=10, read_s=20, attempts=2))

    def connections(self, endpoint_url: str, region: str) -> ApiGatewayManagementApiClient:
        """The client of one data plane's `@connections`."""
        return cast(
            "ApiGatewayManagementApiClient",
            self._client("apigatewaymanagementapi", region, endpoint_url, connect_s=5, read_s=10, attempts=1),
        )

    @contextmanager
    def errors(self, action: str) -> Iterator[None]:
        """Turn botocore's errors into ours; `action` ("storing clip.mp4 in bucket b") begins the message."""
        import botocore.exceptions  # noqa: PLC0415 - loaded by the client's making already

        try:
            yield
        except botocore.exceptions.ClientError as error:
            raise self._meaning_of(action, error) from error
        except botocore.exceptions.ParamValidationError as error:
            raise InvalidInput(action, str(error).replace("\n", " ")) from error
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            if isinstance(error, PinTheSkyError):
                raise
            why = clock_in_tls_error(error, self._clock.wall()) or str(error)
            raise Unavailable(f"{action}: {why}") from error

    def _meaning_of(self, action: str, error: ClientError) -> PinTheSkyError:
        answer = error.response.get("ResponseMetadata", {})
        code = str(error.response.get("Error", {}).get("Code", ""))
        said = str(error.response.get("Error", {}).get("Message", ""))[:300]
        status = int(answer.get("HTTPStatusCode", 0))
        message = f"{action}: {code} {said}".rstrip()
        if code in _CLOCK_CODES:
            skew_s = skew_from_date(answer.get("HTTPHeaders", {}).get("date"), self._clock.wall())
            trouble = None if skew_s is None else describe_skew(skew_s)
            if trouble is not None or code != "InvalidSignatureException":
                return Unavailable(f"{message}: {trouble or 'this machine has the wrong time'}")
        if code in _EXPIRED_CODES:
            self._forget_credentials()
            return Unavailable(message)
        if code in _PASSING_CODES or status in (408, 409, 429) or status >= 500:
            return Unavailable(message)
        if code in _NOT_FOUND_CODES or status in (301, 307, 404, 410):
            return NotFound(message)
        if code in _REFUSED_CODES or status in (401, 403):
            return NotAuthorized(message)
        return InvalidInput(action, f"{code} {said}".strip())

    def _forget_credentials(self) -> None:
        """Clients hold the credentials that they were made with, so they go too."""
        with self._lock:
            self._session = None
            self._clients.clear()
        if self._endpoint is not None:
            self._endpoint.forget()

    def _client(
        self, service: str, region: str, endpoint_url: Optional[str], *, connect_s: float, read_s: float, attempts: int
    ) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - resident size, see the module's docstring

        with self._lock:
            client = self._clients.get((service, region, endpoint_url))
            if client is not None:
                return client
            if self._session is None:
                self._session = self._new_session()
            while len(self._clients) >= CLIENTS_MAX:
                self._clients.pop(next(iter(self._clients)))
            trusts_bundle = self._ca_bundle is not None and endpoint_url is not None
            with self.errors(f"making the {service} client"):
                client = self._session.create_client(
                    cast("Any", service),  # the stubs want a literal for each service
                    region_name=region,
                    endpoint_url=endpoint_url,
                    verify=str(self._ca_bundle) if trusts_bundle else None,
                    config=Config(
                        connect_timeout=connect_s,
                        read_timeout=read_s,
                        retries={"mode": "standard", "total_max_attempts": attempts},
                        s3={"addressing_style": "path" if self._s3_endpoint else "auto"},
                        # Our one upload brings its own SHA-256; a second checksum would read each file twice.
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                        # An environment variable must not be able to send clips elsewhere.
                        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg] # botocore has it, the stubs do not
                        max_pool_connections=4,
                        tcp_keepalive=True,
                    ),
                )
            client.meta.events.register("before-call.s3.HeadBucket", _refuse_to_search)
            self._clients[(service, region, endpoint_url)] = client
            return client

    def _new_session(self) -> Session:
        from botocore import auth  # noqa: PLC0415 - resident size, see the module's docstring
        from botocore.session import Session  # noqa: PLC0415 - resident size, see the module's docstring

        # Where awscrt is installed, which our device client needs, botocore signs with it: it reads each clip once
        # more, and an error of the disk or of ours comes out of it as "unknown error".
        auth.AUTH_TYPE_MAPS.update({"v4": auth.SigV4Auth, "s3v4": auth.S3SigV4Auth})
        # botocore warns with a traceback at each refresh that fails; ours says it once, in one line.
        logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
        session = Session()
        if self._endpoint is not None:
            session.register_component("credential_provider", _EndpointProvider(self._endpoint, self._clock))
        return session


def _refuse_to_search(params: dict[str, Any], **_: Any) -> None:
    """Stand in the way of botocore's own request for a bucket's region.

    S3 names the region with its redirect. Where a store does not, botocore asks it, is redirected, asks again, and so
    on to the end of the stack.
    """
    raise NotFound(f"the store says that the bucket is elsewhere, and not where: {params['url']}")


class _EndpointProvider:
    """What botocore asks for credentials in place of its chain of environment, profiles and metadata service."""

    def __init__(self, endpoint: CredentialsEndpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock

    def load_credentials(self) -> Any:
        from botocore.credentials import RefreshableCredentials  # noqa: PLC0415 - resident size, see the module

        # They begin as expired, so the first signature fetches. Margins are the endpoint's own business: see metadata.
        return RefreshableCredentials(
            access_key="",
            secret_key="",
            token="",
            expiry_time=monotonic_datetime(-1),
            refresh_using=self._endpoint.metadata,
            method="iot-credentials-endpoint",
            time_fetcher=lambda: monotonic_datetime(self._clock.monotonic()),
            advisory_timeout=0,
            mandatory_timeout=0,
        )


def session_for(
    cloud: CloudConnection,
    *,
    thing_name: ThingName,
    clock: Clock,
    region: Optional[str],
    s3_endpoint: Optional[str],
    ca_bundle: Optional[Path],
) -> AwsSession:
    """The session of an installed thing; without a whole identity in `cloud`, botocore's own chain gives credentials.

    Nothing is loaded before its first use, but the identity is checked now: raises InvalidInput, with the flag, for a
    certificate, key or authority that cannot be used.
    """
    credentials = None
    if cloud.cert_path and cloud.key_path and cloud.credentials_endpoint and cloud.role_alias:
        credentials = CredentialsEndpoint(
            endpoint=cloud.credentials_endpoint,
            role_alias=cloud.role_alias,
            thing_name=thing_name,
            cert=Path(cloud.cert_path),
            key=Path(cloud.key_path),
            ca=Path(cloud.cacert_path or ""),
            clock=clock,
        )
        credentials.check()
    return AwsSession(
        clock=clock,
        region=region or region_of(cloud.credentials_endpoint or "") or DEFAULT_REGION,
        credentials=credentials,
        s3_endpoint=s3_endpoint,
        ca_bundle=ca_bundle,
    )
