"""Clients of the account's services for the planes, made at first use, and what their errors mean.

A function's start pays for what it uses: boto3 is never imported, botocore with the first client alone.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from botocore.session import Session

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0
"""An HTTP API gives up after 30 s, so one request that hangs may be tried twice."""
ATTEMPTS = 3
CONVERSION_TIMEOUT_S = 300.0
"""How long somebody waits for a clip to be converted; see `conversion` in `pinthesky.aws.lambda_handlers`."""

_NOT_FOUND = frozenset(
    {"404", "GoneException", "NoSuchKey", "NotFound", "NotFoundException", "ResourceNotFoundException"}
)
_CONFLICT = frozenset({"ConflictException", "InvalidStateTransitionException", "ResourceAlreadyExistsException"})
_PASSING = frozenset(
    {
        "InternalErrorException",
        "InternalFailureException",
        "InternalServiceFault",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_REFUSED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "ForbiddenException", "UnauthorizedException"}
)


class Clients:
    """One client for each service and address, shared by all threads of a function."""

    def __init__(self, region: str, *, endpoint_url: str | None = None) -> None:
        """`endpoint_url` replaces the address of every service but one that is given to `get`: for tests."""
        self._region = region
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._clients: dict[tuple[str, str | None], Any] = {}

    def get(
        self,
        service: str,
        *,
        endpoint_url: str | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        attempts: int = ATTEMPTS,
    ) -> Any:
        """The client of a service, as botocore calls it. Time-outs and attempts are those of whoever asks first."""
        address = endpoint_url or self._endpoint_url
        with self._lock:
            client = self._clients.get((service, address))
            if client is None:
                client = self._clients[service, address] = self._made(
                    service, address, read_timeout_s, attempts=attempts
                )
            return client

    def _made(self, service: str, address: str | None, read_timeout_s: float, *, attempts: int) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - the start of a function pays for what it uses
        from botocore.session import Session  # noqa: PLC0415 - the same

        if self._session is None:
            self._session = Session()
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # An address that does not name the region is redirected, which a browser with a signed link cannot follow.
            s3={
                "addressing_style": "path" if self._endpoint_url else "virtual",
                "us_east_1_regional_endpoint": "regional",
            },
            signature_version="s3v4" if service == "s3" else None,
        )
        return self._session.create_client(service, region_name=self._region, endpoint_url=address, config=config)


@contextmanager
def errors(
    action: str,
    *,
    field: str = "",
    missing: Collection[str] = (),
    conflict: Collection[str] = (),
    invalid: Collection[str] = (),
) -> Iterator[None]:
    """Turn botocore's errors into ours. `action` ("removing thing garden") begins the message.

    `missing`, `conflict` and `invalid` are codes that mean NotFound, Conflict, and InvalidInput of `field`, beside
    those that mean it everywhere.
    """
    import botocore.exceptions  # noqa: PLC0415 - loaded by the client's making already

    try:
        yield
    except botocore.exceptions.ClientError as error:
        code = code_of(error)
        message = f"{action}: {error.response.get('Error', {}).get('Message', '') or code}"[:400]
        if code in invalid:
            raise InvalidInput(field or action, message) from error
        if code in missing or code in _NOT_FOUND:
            raise NotFound(message) from error
        if code in conflict or code in _CONFLICT:
            raise Conflict(message) from error
        raise _meaning(code, message, status=_status(error), field=field or action) from error
    except botocore.exceptions.ParamValidationError as error:
        raise InvalidInput(field or action, str(error).replace("\n", " ")[:400]) from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.HTTPClientError) as error:
        raise Unavailable(f"{action}: {error}") from error


def code_of(error: ClientError) -> str:
    """What AWS calls an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _meaning(code: str, message: str, *, status: int, field: str) -> PinTheSkyError:
    if code in _PASSING or status == 429 or status >= 500:
        return Unavailable(message)
    if code in _REFUSED or status in (401, 403):
        return NotAuthorized(message)
    if status in (404, 410):
        return NotFound(message)
    return InvalidInput(field, message)
