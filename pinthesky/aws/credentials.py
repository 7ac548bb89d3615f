"""Temporary AWS credentials by the thing's own certificate, from AWS IoT's credentials provider or the hub's.

The protocol: `GET https://<endpoint>/role-aliases/<alias>/credentials` with mutual TLS and the header
`x-amzn-iot-thingname` (AWS IoT Core developer guide, "Authorizing direct calls to AWS services using AWS IoT Core
credential provider").

How long an answer is good is counted on the monotonic clock, from the server's own `Date` to the answer's
`expiration`: the wall clock of a Pi, which has no battery, takes no part in it.
"""

from __future__ import annotations

import json
import random
import re
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Callable, NamedTuple, Optional, Union

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pinthesky.model.identifiers import ThingName

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from pinthesky.device.ports import Clock

logger = getLogger(__name__)

SKEW_NOTICED_S = 300.0
"""A clock this far off is named in every error; AWS refuses signatures at 900 s."""
BODY_MAX = 64 * 1024
"""Bytes of an answer that are read; a real one is 2 KB."""
MARGIN_S = 300.0
"""Credentials are renewed this long before they end, or after three quarters of a short life."""
LIFETIME_MAX_S = 12 * 3600.0
LIFETIME_MIN_S = 10.0
LIFETIME_UNKNOWN_S = 900.0
"""AWS's shortest: what is assumed when neither the server nor this machine can say what time it is."""
BACKOFF_FIRST_S = 2.0
BACKOFF_MAX_S = 60.0
BACKOFF_REFUSED_MAX_S = 900.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 30.0
"""For the whole body, however slowly it drips."""

_HEADER_SAFE = r"^[\x21-\x7e]+$"
_ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?")
_ROLE_ALIAS = re.compile(r"[A-Za-z0-9_=,@-]{1,128}")
_REGION = re.compile(r"\.credentials\.iot\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?(?::[0-9]+)?\Z")


class _Answer(Struct, frozen=True, rename="camel"):
    access_key_id: Annotated[str, Meta(min_length=1, max_length=128, pattern=_HEADER_SAFE)]
    secret_access_key: Annotated[str, Meta(min_length=1, max_length=256, pattern=_HEADER_SAFE)]
    session_token: Annotated[str, Meta(min_length=1, max_length=16384, pattern=_HEADER_SAFE)]
    expiration: Annotated[datetime, Meta(tz=True)]


class _Document(Struct, frozen=True):
    credentials: _Answer


class Lease(NamedTuple):
    """Credentials and how long they are good, in seconds of the monotonic clock."""

    access_key: str
    secret_key: str
    token: str
    renew_at: float
    expires_at: float


def region_of(endpoint: str) -> Optional[str]:
    """The AWS region in the name of a credentials endpoint, or None (a hub's)."""
    found = _REGION.search(endpoint)
    return found.group(1) if found else None


def monotonic_datetime(seconds: float) -> datetime:
    """A point of the monotonic clock in the form that botocore compares expiries in. Says nothing about the date."""
    return datetime(2000, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def describe_skew(skew_s: float) -> Optional[str]:
    """What a person should know about a clock that is `skew_s` ahead (negative: behind), or None if it is fine."""
    if abs(skew_s) <= SKEW_NOTICED_S:
        return None
    amount = str(timedelta(minutes=round(abs(skew_s) / 60)))
    return f"this machine's clock is {amount} {'ahead' if skew_s > 0 else 'behind'}"


def skew_from_date(date_header: Optional[str], wall_s: float) -> Optional[float]:
    """Seconds that the wall clock is ahead of an HTTP `Date` header, or None where there is no usable one."""
    if date_header is None:
        return None
    try:
        date = parsedate_to_datetime(date_header)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return wall_s - date.timestamp()


def clock_in_tls_error(error: BaseException, wall_s: float) -> Optional[str]:
    """What a TLS error says about this machine's clock, or None if it is about something else."""
    text = str(error)
    now = datetime.fromtimestamp(wall_s, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    if "certificate is not yet valid" in text:
        return f"the server's certificate is not valid yet at {now}: this machine's clock is behind"
    if "certificate has expired" in text:
        return (
            f"the server's certificate has expired at {now}: this machine's clock is ahead, or the certificate is old"
        )
    return None


class CredentialsEndpoint:
    """Fetches credentials, keeps them while they are good, and asks no more often than it should.

    Thread-safe: one request at a time, and after a failure none before a back-off with jitter has passed; callers in
    between get the failure at once. The key files are read anew for each request, so a rotated certificate is taken up.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        role_alias: str,
        thing_name: ThingName,
        cert: Path,
        key: Path,
        ca: Path,
        clock: Clock,
        timeouts_s: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`timeouts_s` is (connect, read); `jitter` gives numbers in [0, 1). Raises InvalidInput naming a flag."""
        found = _ENDPOINT.fullmatch(endpoint)
        if found is None or int(found["port"] or 443) not in range(1, 65536):
            raise InvalidInput(
                "--credentials-endpoint", f"must be a host name, with :port if not 443, got {endpoint!r}"
            )
        if _ROLE_ALIAS.fullmatch(role_alias) is None:
            raise InvalidInput(
                "--role-alias", f"must be 1 to 128 letters, digits, '_', '=', ',', '@' or '-', got {role_alias!r}"
            )
        self._host = found["host"]
        self._port = int(found["port"] or 443)
        self._role_alias = role_alias
        self._thing_name = thing_name
        self._cert, self._key, self._ca = cert, key, ca
        self._clock = clock
        self._timeouts_s = timeouts_s
        self._jitter = jitter
        self._lock = threading.Lock()
        self._lease: Optional[Lease] = None
        self._failure: Union[NotAuthorized, Unavailable, None] = None
        self._failures = 0
        self._retry_at = 0.0
        self._skew_told = False
        self.skew_s: Optional[float] = None
        """Seconds that the wall clock was ahead of the server's at the last answer (negative: behind)."""

    def check(self) -> None:
        """Prove that certificate, key and CA can be used, without any network. Raises InvalidInput naming the flag."""
        tls_context(cert=self._cert, key=self._key, ca=self._ca)

    def current(self) -> Lease:
        """Credentials that are good now; renewed first where it is time. Raises NotAuthorized or Unavailable."""
        with self._lock:
            now = self._clock.monotonic()
            lease = self._lease
            if lease is not None and now < lease.renew_at:
                return lease
            if now >= self._retry_at:
                self._renew(now)
            if self._lease is not None and self._clock.monotonic() < self._lease.expires_at:
                return self._lease
            failure = self._failure
            if failure is None:
                raise Unavailable("no credentials: they have just expired")
            raise type(failure)(str(failure)) from failure

    def forget(self) -> None:
        """Drop what is kept: a service said that it is not good. The next call asks anew, back-off respected."""
        with self._lock:
            self._lease = None
            # A service that refuses fresh credentials for ever must not turn into a request for each call.
            self._retry_at = max(self._retry_at, self._clock.monotonic() + BACKOFF_FIRST_S)
            self._failure = self._failure or Unavailable("no credentials: a service refused the last ones as expired")

    def metadata(self) -> dict[str, str]:
        """`current` as botocore's `RefreshableCredentials` takes it; expiry by `monotonic_datetime`.

        The expiry given is when to come back: when it is time to renew, or, where renewing failed but what is kept is
        still good, when the back-off has passed.
        """
        lease = self.current()
        now = self._clock.monotonic()
        until = lease.renew_at if now < lease.renew_at else min(max(self._retry_at, now + 1), lease.expires_at)
        return {
            "access_key": lease.access_key,
            "secret_key": lease.secret_key,
            "token": lease.token,
            "expiry_time": monotonic_datetime(until).isoformat(),
        }

    def _renew(self, now: float) -> None:
        try:
            self._lease = self._fetch()
        except (NotAuthorized, Unavailable) as error:
            self._failures += 1
            longest = BACKOFF_REFUSED_MAX_S if isinstance(error, NotAuthorized) else BACKOFF_MAX_S
            delay_s = min(longest, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 16))
            self._retry_at = self._clock.monotonic() + delay_s * (0.5 + 0.5 * self._jitter())
            if self._failure is None:
                logger.warning("%s", error)
            self._failure = error
            return
        if self._failure is not None:
            logger.info("credentials are available again after %d failed attempts", self._failures)
        self._failures, self._failure, self._retry_at = 0, None, now

    def _fetch(self) -> Lease:
        asked_at = self._clock.monotonic()
        status, headers, body = self._ask()
        skew_s = skew_from_date(headers.get("Date"), self._clock.wall())
        self._notice_skew(skew_s)
        if status != 200:
            raise self._refusal(status, body)
        try:
            answer = msgspec.json.decode(body, type=_Document).credentials
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(f"{self._who} answered with something that is no credentials: {error}") from error
        lifetime_s = min(self._lifetime_s(answer.expiration, skew_s), LIFETIME_MAX_S)
        if lifetime_s < LIFETIME_MIN_S:
            raise Unavailable(f"{self._who} gave credentials that end in {lifetime_s:.0f} s")
        return Lease(
            access_key=answer.access_key_id,
            secret_key=answer.secret_access_key,
            token=answer.session_token,
            renew_at=asked_at + lifetime_s - min(MARGIN_S, lifetime_s / 4),
            # Two seconds for the request that is signed last.
            expires_at=asked_at + lifetime_s - 2,
        )

    def _lifetime_s(self, expiration: datetime, skew_s: Optional[float]) -> float:
        if skew_s is not None:
            return expiration.timestamp() - (self._clock.wall() - skew_s)
        if self._clock.synchronised():
            return expiration.timestamp() - self._clock.wall()
        return LIFETIME_UNKNOWN_S

    @property
    def _who(self) -> str:
        return f"credentials endpoint {self._host}"

    def _ask(self) -> tuple[int, Mapping[str, str], bytes]:
        """One request. Raises Unavailable for whatever keeps an answer from coming."""
        import urllib3  # noqa: PLC0415 - resident size: nothing of AWS is loaded before its first use

        try:
            context = tls_context(cert=self._cert, key=self._key, ca=self._ca)
        except InvalidInput as error:
            raise Unavailable(f"no credentials: {error}") from error
        connect_s, read_s = self._timeouts_s
        timeout = urllib3.Timeout(connect=connect_s, read=read_s)
        pool = urllib3.HTTPSConnectionPool(self._host, self._port, ssl_context=context, timeout=timeout, maxsize=1)
        try:
            with closing(pool):
                response = pool.request(
                    "GET",
                    f"/role-aliases/{self._role_alias}/credentials",
                    headers={"x-amzn-iot-thingname": self._thing_name, "Accept": "application/json"},
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
                with closing(response):
                    return response.status, response.headers, self._body_of(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            why = clock_in_tls_error(error, self._clock.wall()) or _last_line(error)
            raise Unavailable(f"{self._who} cannot be reached: {why}") from error

    def _body_of(self, response: BaseHTTPResponse) -> bytes:
        deadline = self._clock.monotonic() + ANSWER_TIMEOUT_S
        chunks: list[bytes] = []
        size = 0
        for chunk in response.stream(1024, decode_content=False):
            size += len(chunk)
            if size > BODY_MAX:
                raise Unavailable(f"{self._who} answered with more than {BODY_MAX} bytes")
            if self._clock.monotonic() > deadline:
                raise Unavailable(f"{self._who} took longer than {ANSWER_TIMEOUT_S:.0f} s for its answer")
            chunks.append(chunk)
        return b"".join(chunks)

    def _refusal(self, status: int, body: bytes) -> Union[NotAuthorized, Unavailable]:
        said = _message_in(body)
        if status in (408, 429) or status >= 500 or status < 400:
            return Unavailable(f"{self._who} answered {status}{said}")
        return NotAuthorized(
            f"{self._who} answered {status} for role alias {self._role_alias!r} and thing {self._thing_name!r}{said}; "
            "see that the certificate is active and its policy allows iot:AssumeRoleWithCertificate"
        )

    def _notice_skew(self, skew_s: Optional[float]) -> None:
        self.skew_s = skew_s
        trouble = None if skew_s is None else describe_skew(skew_s)
        if trouble is not None and not self._skew_told:
            logger.warning("%s (by the credentials endpoint's clock); AWS refuses more than 15 minutes", trouble)
        elif trouble is None and self._skew_told:
            logger.info("this machine's clock agrees with the credentials endpoint's again")
        self._skew_told = trouble is not None


def tls_context(*, cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """A context that shows `cert` and trusts `ca` alone. Raises InvalidInput naming `--thing-cert` and its kin."""
    _require_readable("--ca-cert", ca)
    _require_readable("--thing-cert", cert)
    _require_readable("--thing-key", key)
    if key.stat().st_mode & 0o007:
        raise InvalidInput("--thing-key", f"{key} is open to every user of this machine: chmod 600 {key}")
    _require_certificate("--ca-cert", ca)
    _require_certificate("--thing-cert", cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=str(ca))
    try:
        # An empty password keeps OpenSSL from asking for one at the terminal.
        context.load_cert_chain(certfile=str(cert), keyfile=str(key), password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput("--thing-key", f"{key} does not belong to the certificate {cert}") from error
        raise InvalidInput("--thing-key", f"{key} is no private key in PEM form without a password") from error
    return context


def _require_readable(flag: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InvalidInput(flag, f"{path} cannot be read: {error.strerror}") from error


def _require_certificate(flag: str, path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(path))
    except ssl.SSLError as error:
        raise InvalidInput(flag, f"{path} is no certificate in PEM form") from error


def _last_line(error: BaseException) -> str:
    return str(error).rsplit("\n", 1)[-1][:300] or type(error).__name__


def _message_in(body: bytes) -> str:
    """`: <message>` out of an error's JSON body, or nothing."""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f": {message[:200]!r}" if isinstance(message, str) and message else ""
