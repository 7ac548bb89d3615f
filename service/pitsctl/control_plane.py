"""A control plane as a device asks it: its address, why it is to be trusted, and requests with bounds.

A hub has an authority of its own, which nobody knows at first. Its certificate is fetched without trust, its SHA-256
compared with what was given, or with what the person before the screen reads at the hub; from then on that authority,
and none besides, vouches for the connection.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pinthesky.errors import InvalidInput, NotAuthorized, Throttled, Unavailable
from pinthesky.version import __version__
from pitsctl.device_key import fingerprint_of_certificate
from pitsctl.person import Person

FIELD = "home.address"
HUB_PORT = 8443
TIMEOUT_S = 10.0
ANSWER_S = 30.0
"""For a whole answer, however slowly it drips."""
ANSWER_MAX = 256 * 1024
CERTIFICATE_MAX = 16 * 1024
_ADDRESS = re.compile(
    r"(?:https://)?(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~-]{1,64}){0,8})/?"
)
# X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)


@dataclass(frozen=True)
class Address:
    """Where a control plane is: `https://<host>:<port><path>`."""

    host: str
    port: int
    path: str = "/api"

    @classmethod
    def parse(cls, text: str, *, default_port: int) -> Address:
        """Read what a person gave: a host, with port and path if need be. Raises InvalidInput."""
        found = _ADDRESS.fullmatch(text.strip())
        if found is None or not 1 <= int(found["port"] or default_port) <= 65535:
            raise InvalidInput(FIELD, f"must be a host or https://host[:port][/path], got {text[:80]!r}")
        return cls(found["host"].strip("[]"), int(found["port"] or default_port), found["path"] or "/api")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}" + ("" if self.port == 443 else f":{self.port}")

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


@dataclass(frozen=True)
class Answer:
    """Status and JSON object of an answer; an empty one where it was no JSON object."""

    status: int
    document: dict[str, Any]
    retry_after_s: int

    @property
    def message(self) -> str:
        """What it says, for people."""
        return str(self.document.get("message", f"status {self.status}"))[:300]


class ControlPlane:
    """Requests to one control plane. Redirects are not followed, and no proxy of the environment is used."""

    def __init__(self, address: Address, trust: ssl.SSLContext, authority_sha256: str = "") -> None:
        """`authority_sha256` is that of a hub's own authority, where it is what `trust` trusts."""
        self.address = address
        self.authority_sha256 = authority_sha256
        self._trust = trust

    def post(self, path: str, document: dict[str, Any]) -> Answer:
        """POST a JSON object. Raises Unavailable: nobody has answered, whether it was heard or not."""
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json", "User-Agent": f"pitsctl/{__version__}"}
        status, given, content = _ask(self.address, self._trust, self.address.path + path, body=body, headers=headers)
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        retry_after = given.get("Retry-After") or ""
        wait_s = min(int(retry_after), 3600) if retry_after.isascii() and retry_after.isdigit() else 0
        answer = Answer(status, found if isinstance(found, dict) else {}, wait_s)
        if status == 429:
            raise Throttled(f"{self.address.host}: {answer.message}", max(1, wait_s))
        if status >= 500 or (status < 400 and not answer.document):
            raise Unavailable(f"{self.address.host}: {answer.message}")
        return answer


def trusted(address: Address, *, authority_sha256: str, person: Person) -> ControlPlane:
    """The control plane at `address`, once it is known that it is the one.

    A public certificate needs no question, unless `authority_sha256` names a hub's own. Raises Unavailable,
    NotAuthorized (the fingerprint is another one, or the person said no) and InvalidInput (`home.address`).
    """
    if not authority_sha256:
        public = ssl.create_default_context()
        trouble = _handshake(address, public)
        if trouble is None:
            return ControlPlane(address, public)
        if trouble.verify_code in (_NOT_YET_VALID, _EXPIRED, *_OTHER_NAMES):
            raise _distrust(address, trouble)
    der = _own_authority(address)
    fingerprint, sha256 = fingerprint_of_certificate(der), hashlib.sha256(der).hexdigest()
    if authority_sha256:
        if sha256 != authority_sha256:
            raise NotAuthorized(
                f"{address.host} is not the hub that was meant: its authority has the fingerprint {fingerprint}"
            )
    elif not person.confirm(
        f"Is this the hub's fingerprint, as `pits-hub` prints it and {address.origin}/trust shows it?", fingerprint
    ):
        raise NotAuthorized(f"the hub at {address.host} is not trusted, so nothing was asked of it")
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own.minimum_version = ssl.TLSVersion.TLSv1_2
    own.load_verify_locations(cadata=der)
    if (trouble := _handshake(address, own)) is not None:
        raise _distrust(address, trouble)
    return ControlPlane(address, own, sha256)


def _distrust(address: Address, error: ssl.SSLCertVerificationError) -> InvalidInput | NotAuthorized:
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if error.verify_code in _OTHER_NAMES:
        reason = f"its certificate is for another name than {address.host}; use one of its names, or add this one to it"
        return InvalidInput(FIELD, reason)
    if error.verify_code == _EXPIRED:
        return NotAuthorized(f"{address.host}: its certificate has expired, by this machine's clock ({now})")
    if error.verify_code == _NOT_YET_VALID:
        return NotAuthorized(f"{address.host}: its certificate is not valid yet, by this machine's clock ({now})")
    return NotAuthorized(f"{address.host}: its certificate is not of the authority that it shows")


def _handshake(address: Address, trust: ssl.SSLContext) -> ssl.SSLCertVerificationError | None:
    """What is wrong with the certificate that is shown; None: nothing. Raises Unavailable."""
    try:
        with (
            socket.create_connection((address.host, address.port), TIMEOUT_S) as plain,
            trust.wrap_socket(plain, server_hostname=address.host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error
    except OSError as error:
        raise _unreachable(address, error) from error


def _own_authority(address: Address) -> bytes:
    """The hub's authority in DER, as whoever answers there gives it: to be believed by its fingerprint alone."""
    distrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    distrusting.check_hostname = False
    distrusting.verify_mode = ssl.CERT_NONE
    status, _, content = _ask(address, distrusting, "/trust/pits-hub.crt", most=CERTIFICATE_MAX)
    if status != 200:
        raise InvalidInput(FIELD, f"{address.origin} has a certificate that nobody vouches for, and is no hub of ours")
    try:
        ssl.create_default_context(cadata=content)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(FIELD, f"{address.origin} gives no certificate of an authority") from error
    return content


def _ask(
    address: Address,
    trust: ssl.SSLContext,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    most: int = ANSWER_MAX,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request, a POST where there is a body, of at most ANSWER_S and `most` bytes of answer. Raises Unavailable."""
    deadline = time.monotonic() + ANSWER_S
    connection = http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT_S, context=trust)
    try:
        with closing(connection):
            connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
            response = connection.getresponse()
            content = b""
            while block := response.read1(8192):
                content += block
                if len(content) > most or time.monotonic() > deadline:
                    raise Unavailable(f"{address.host} answers with more than can be read")
            return response.status, response.headers, content
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, Unavailable):
            raise
        raise _unreachable(address, error) from error


def _unreachable(address: Address, error: Exception) -> Unavailable:
    where = f"{address.host}, port {address.port}"
    if isinstance(error, socket.gaierror):
        return Unavailable(f"the name {address.host} cannot be resolved")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(f"{where}: nothing listens there (connection refused)")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{where} does not answer")
    if isinstance(error, ssl.SSLError):
        return Unavailable(f"{where} does not speak TLS as it should: {error.reason or error}")
    said = str(getattr(error, "strerror", None) or "") or str(error) or type(error).__name__
    return Unavailable(f"{where} cannot be reached: {said}")
