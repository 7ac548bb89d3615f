"""What may be asked of the root helper, and what it answers: one JSON object a line, both ways.

Whoever is let in to the socket is still untrusted: every argument is of a closed set or has a bound, and no argument
becomes part of a command line, a path or an option before it was held against it.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from pinthesky.errors import InvalidInput

REQUEST_MAX = 16 * 1024
"""Bytes of one request, its newline included."""
LOG_LINES_MAX = 1000
LOG_LINE_MAX = 2000
"""Characters of one line of a log; the rest is cut."""
LOG_BYTES_MAX = 256 * 1024
"""Of one answer to read-service-logs."""

Service = Literal["pinthesky", "pits-device-client"]
SERVICES: tuple[Service, ...] = ("pinthesky", "pits-device-client")
"""What may be started, stopped and restarted, in the order in which it is."""
CLIENT: Service = "pits-device-client"
Journal = Literal["pinthesky", "pits-device-client", "pinthesky-admin", "pinthesky-upgrade"]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_IDENTITY = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_WHEEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.whl\Z")
_URL_MAX = 4096


def _dashed(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class _Verb(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="verb", tag=_dashed):
    @property
    def name(self) -> str:
        """The verb as people and handlers write it."""
        return str(self.__struct_config__.tag)

    @property
    def summary(self) -> str:
        """The request as one line of a log, without what an address may carry as a secret."""
        return self.name


class Status(_Verb, frozen=True):
    """How the services and the last upgrade are."""


class Reboot(_Verb, frozen=True):
    """Start this machine anew."""


class Shutdown(_Verb, frozen=True):
    """Switch this machine off."""


class _OnServices(_Verb, frozen=True):
    services: tuple[Service, ...] = SERVICES

    def __post_init__(self) -> None:
        if not 1 <= len(self.services) <= len(SERVICES) or len(set(self.services)) != len(self.services):
            raise ValueError(f"each of {', '.join(SERVICES)} at most once, and one at least")

    @property
    def summary(self) -> str:
        return f"{self.name} {' '.join(self.services)}"


class StartServices(_OnServices, frozen=True):
    """Start services."""


class StopServices(_OnServices, frozen=True):
    """Stop services. The device client is not among them: nobody could start it again from afar."""

    services: tuple[Service, ...] = ("pinthesky",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if CLIENT in self.services:
            raise ValueError(f"{CLIENT} is not stopped from here: this device could not be reached any more")


class RestartServices(_OnServices, frozen=True):
    """Stop and start services."""


class ReadServiceLogs(_Verb, frozen=True):
    """The last lines that a service logged."""

    service: Journal
    lines: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.lines <= LOG_LINES_MAX:
            raise ValueError(f"lines must be from 1 to {LOG_LINES_MAX}")

    @property
    def summary(self) -> str:
        """As for every verb."""
        return f"{self.name} {self.service} {self.lines}"


class Upgrade(_Verb, frozen=True):
    """Install a wheel and run it, or go back.

    `source` is an https address or the bare name of a file in the folder of wheels. `identity` names this wish: asking
    again with the same one continues or repeats its outcome and never starts a second upgrade.
    """

    source: str
    sha256: str
    identity: str
    allow_downgrade: bool = False

    def __post_init__(self) -> None:
        if not _SHA256.match(self.sha256):
            raise ValueError("sha256 must be 64 lower-case hexadecimal digits")
        if not _IDENTITY.match(self.identity):
            raise ValueError("identity must be 1 to 64 letters, digits, _ or -")
        if not self.from_network and not _WHEEL_NAME.match(self.source):
            raise ValueError("source must be an https address or the bare name of a .whl file")
        if self.from_network:
            _check_address(self.source)

    @property
    def from_network(self) -> bool:
        """Whether `source` is an address."""
        return ":" in self.source

    @property
    def shown_source(self) -> str:
        """`source` without the query of a presigned address, which is a secret."""
        return self.source.partition("?")[0]

    @property
    def summary(self) -> str:
        """As for every verb."""
        downgrade = " allow-downgrade" if self.allow_downgrade else ""
        return f"{self.name} {self.shown_source} sha256 {self.sha256} as {self.identity}{downgrade}"


def _check_address(address: str) -> None:
    if len(address) > _URL_MAX or not address.isascii() or not address.isprintable() or " " in address:
        raise ValueError(f"source must be at most {_URL_MAX} printable ASCII characters without spaces")
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("source must be https://host/path, without a user and without a fragment")
    if "/.." in address or "\\" in address or "%2e%2e" in address.lower():
        raise ValueError("source must not lead upwards in its path")


class RotateCertificate(_Verb, frozen=True):
    """Take a new certificate. Known, and not offered yet."""


Request = (
    Status
    | Reboot
    | Shutdown
    | StartServices
    | StopServices
    | RestartServices
    | ReadServiceLogs
    | Upgrade
    | RotateCertificate
)


class Line(msgspec.Struct, frozen=True, tag_field="kind", tag="line"):
    """A line on the way to the answer: of a log, or about how far an upgrade is."""

    text: str


Outcome = Literal["done", "failed", "refused", "busy"]
"""`refused`: asking again will not help. `busy`: it may, later."""


class Answer(msgspec.Struct, frozen=True, tag_field="kind", tag="answer"):
    """The end of a conversation. `text` is for a person, `facts` for a program, where there are any."""

    outcome: Outcome
    text: str
    facts: dict[str, str | bool | None] | None = None


_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_message_decoder: msgspec.json.Decoder[Line | Answer] = msgspec.json.Decoder(Line | Answer)


def parse_request(data: bytes) -> Request:
    """Return the request in `data`. Raises InvalidInput that names the field and its bound."""
    try:
        return _request_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("request", str(error)) from error


def parse_message(data: bytes) -> Line | Answer:
    """Return what the root helper said in one line. Raises InvalidInput."""
    try:
        return _message_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("answer", str(error)) from error


def encode(message: Request | Line | Answer) -> bytes:
    """Return `message` as one line."""
    return msgspec.json.encode(message) + b"\n"


def shown(text: str, limit: int = LOG_LINE_MAX) -> str:
    """Return `text` as one printable line of at most `limit` characters."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
