"""Commands from the cloud: a closed set, and the stream of bytes they arrive in.

The device client appends every message to a file with nothing between two of them, a reader may see half of one, and
anything may have been published. So the stream is parsed as JSON objects one after the other: what is not a command
becomes a `Rejected` with its reason, and what follows is served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import CaptureId, ConnectionId, FileName, Identifier

COMMAND_MAX = 128_000
"""Most bytes of one command: what one MQTT publish can hold."""
DEPTH_MAX = 8
"""Deepest nesting of objects and lists in a command. It also bounds how often a byte of hostile input is read."""
SDP_MAX = 64_000
SAMPLE_MAX = 80


class ManagerId(Identifier):
    """The manager's name for a connection; comes back with the answer."""

    __slots__ = ()
    _field = "connection.manager_id"
    _pattern = re.compile(r"[\x21-\x7e]{1,128}")
    _rule = "must be 1 to 128 printable characters without spaces"


class InvokeId(ManagerId):
    """The console's name for one request; comes back with the answer."""

    __slots__ = ()
    _field = "connection.invoke_id"


class Endpoint(Identifier):
    """Address of a data plane. Its form only: whether it is an allowed destination is the device's to know."""

    __slots__ = ()
    _field = "connection.management_endpoint"
    _pattern = re.compile(r"https?://[\x21-\x7e]{1,240}")
    _rule = "must be an http:// or https:// address of at most 248 characters"


class Connection(Struct, frozen=True, kw_only=True):
    """The WebSocket connection that waits for the answer."""

    id: ConnectionId
    manager_id: Optional[ManagerId] = None
    management_endpoint: Optional[Endpoint] = None
    invoke_id: Optional[InvokeId] = None

    def as_document(self) -> dict[str, Optional[str]]:
        """As it travels back in events: plain strings."""
        return {name: None if value is None else str(value) for name, value in msgspec.structs.asdict(self).items()}


class Session(Struct, frozen=True, kw_only=True):
    """Whether live view begins or ends."""

    start: bool = False
    stop: bool = False


class Offer(Struct, frozen=True, kw_only=True):
    """A browser's WebRTC offer, complete with its candidates (no trickle)."""

    type: Literal["offer"]
    sdp: Annotated[str, Meta(min_length=1, max_length=SDP_MAX)]


class _Command(Struct, frozen=True, kw_only=True):
    """What every command may carry."""

    capture_id: Optional[CaptureId] = None
    connection: Optional[Connection] = None


class CaptureImage(_Command, frozen=True, kw_only=True, tag="capture_image"):
    """Take a still."""

    file_name: Optional[FileName] = None


class CaptureVideo(_Command, frozen=True, kw_only=True, tag="capture_video"):
    """Record a clip now."""

    duration: Annotated[float, Meta(ge=1, le=300)] = 30.0
    """Seconds."""


class Health(_Command, frozen=True, kw_only=True, tag="health"):
    """Report health now."""


class Configuration(_Command, frozen=True, kw_only=True, tag="configuration"):
    """Send the effective settings."""


class Record(_Command, frozen=True, kw_only=True, tag="record"):
    """Start or stop live view, or ask for a keyframe in it."""

    session: Session = Session()
    transport: Literal["relay", "webrtc"] = "relay"
    offer: Optional[Offer] = None
    key: bool = False

    def check(self) -> None:
        """Exactly one thing is asked for, and WebRTC begins with an offer."""
        asked = [self.session.start, self.session.stop, self.key and not self.session.start]
        if sum(asked) != 1:
            raise InvalidInput("session", "must say one of start, stop, or key of a running session")
        if self.session.start and self.transport == "webrtc" and self.offer is None:
            raise InvalidInput("offer", "must be there when a webrtc session starts")


Command = Union[CaptureImage, CaptureVideo, Health, Configuration, Record]
COMMANDS: Mapping[str, type[Command]] = {
    "capture_image": CaptureImage,
    "capture_video": CaptureVideo,
    "health": Health,
    "configuration": Configuration,
    "record": Record,
}


class Rejected(NamedTuple):
    """Input that is no command. `sample` is its beginning, safe to print."""

    reason: str
    sample: str


def name_of(command: Command) -> str:
    """The command's name on the wire."""
    return str(type(command).__struct_config__.tag)


def parse_command(document: object) -> Command:
    """`{"name": …, "context": {…}}` as a command. Raises InvalidInput that names the field and the bound.

    Strings and numbers stand for one another where that is unambiguous, null is the same as absent, and keys that are
    not known are ignored: a newer cloud may send them, and they reach nothing.
    """
    if not isinstance(document, dict):
        raise InvalidInput("command", "must be an object")
    name = document.get("name")
    kind = COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidInput("name", f"must be one of {', '.join(COMMANDS)}, got {_shown(name)}")
    context = document.get("context")
    try:
        present = _without_nulls({} if context is None else context)
        command = msgspec.convert(present, kind, strict=False, dec_hook=_read)
    except (msgspec.ValidationError, OverflowError) as error:
        # An identifier's own message names the field and the rule already.
        cause = error.__cause__
        raise cause if isinstance(cause, InvalidInput) else InvalidInput("context", str(error)) from error
    if isinstance(command, Record):
        command.check()
    return command


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


def _read(kind: type[Identifier], value: object) -> Identifier:
    """An identifier, from a number too: consoles of old count their requests."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return kind.parse(value)


class CommandStream:
    """Bytes in, commands out. Never raises for anything that is fed, and never waits for what cannot come.

    An object that can no longer become valid JSON, is nested too deep or too long is rejected at that byte, and the
    search for the next one goes on right behind its opening brace, so a command that follows a torn one is found. What
    is fed may be cut anywhere without changing the outcome.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._open: Optional[_ObjectScanner] = None
        self._resyncing = False
        self.bytes_read = 0
        """How many bytes the parser has looked at, repetitions counted: at most 2 * (DEPTH_MAX + 1) for each byte."""

    @property
    def pending(self) -> int:
        """Bytes that were fed and belong to an object that is not finished."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Union[Command, Rejected]]:
        """What `data` completes, in order."""
        self._buffer += data
        return self._drain()

    def expire(self) -> list[Union[Command, Rejected]]:
        """Give up what is not finished; nothing is pending afterwards. Commands swallowed by it come to light."""
        found: list[Union[Command, Rejected]] = []
        while self._open is not None:
            behind = self._reject(self._open, "was never finished", found)
            found += self._drain(behind)
        return found

    def _drain(self, position: int = 0) -> list[Union[Command, Rejected]]:
        found: list[Union[Command, Rejected]] = []
        while True:
            if self._open is None:
                position = self._next_object(position, found)
                if position == len(self._buffer):
                    break
                self._open = _ObjectScanner(position)
            scanner = self._open
            before = scanner.at
            try:
                complete = scanner.advance(self._buffer, min(len(self._buffer), scanner.start + COMMAND_MAX))
            except _Broken as broken:
                self.bytes_read += broken.at + 1 - before
                position = self._reject(scanner, str(broken), found)
                continue
            self.bytes_read += scanner.at - before
            if complete:
                position = scanner.at
                self._finish(bytes(self._buffer[scanner.start : position]), found)
                self._open = None
            elif len(self._buffer) >= scanner.start + COMMAND_MAX:
                position = self._reject(scanner, f"is longer than {COMMAND_MAX} bytes", found)
            else:
                position = scanner.start
                scanner.move(-position)
                break
        del self._buffer[:position]
        return found

    def _next_object(self, position: int, found: list[Union[Command, Rejected]]) -> int:
        """Where the next object begins, or the buffer's end; what lies before it is rejected once."""
        begin = self._buffer.find(b"{", position)
        end = len(self._buffer) if begin < 0 else begin
        self.bytes_read += end - position
        rest = self._buffer[position:end].strip()
        if rest and not self._resyncing:
            self._resyncing = True
            found.append(Rejected("is not a JSON object", _printable(rest)))
        return end

    def _reject(self, broken: _ObjectScanner, reason: str, found: list[Union[Command, Rejected]]) -> int:
        """Give up the open object, and return where to go on. Only the first of a run of broken pieces is told."""
        if not self._resyncing:
            found.append(Rejected(reason, _printable(self._buffer[broken.start : broken.start + SAMPLE_MAX])))
        self._resyncing = True
        self._open = None
        return broken.start + 1

    def _finish(self, raw: bytes, found: list[Union[Command, Rejected]]) -> None:
        document: object = None
        try:
            document = msgspec.json.decode(raw)
            found.append(parse_command(document))
        except InvalidInput as error:
            # Pieces of a broken command are objects too; those that never claimed to be a command add nothing.
            if self._resyncing and not (isinstance(document, dict) and isinstance(document.get("name"), str)):
                return
            found.append(Rejected(str(error), _printable(raw)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            found.append(Rejected(f"is not valid JSON: {error}", _printable(raw)))
        self._resyncing = False


class _Broken(Exception):
    """The bytes can no longer become an object; `at` is the byte that says so."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at


_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGUN = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?")
_SCALAR_MAX = 64
_SCALAR_RUN = re.compile(rb"[-+.0-9A-Za-z]{0,%d}" % (_SCALAR_MAX + 1))
_SCALAR = re.compile(rb"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

# What may come next, as the structural bytes that are right there. A scalar is right where a value is.
_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _AFTER_VALUE = b'"{[', b'"{[]', b'"', b'"}', b":", b",}]"


class _ObjectScanner:
    """Walks over one JSON object that may arrive in pieces, without reading a piece twice."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.at = start
        self._nesting = bytearray()
        self._expected = _VALUE
        self._in_string = False

    def move(self, distance: int) -> None:
        """The buffer's beginning was moved."""
        self.start += distance
        self.at += distance

    def advance(self, data: bytearray, end: int) -> bool:
        """Go on to `end`; True when the object is complete and ends at `at`. Raises _Broken."""
        while self.at < end:
            if self._in_string:
                if not self._string(data, end):
                    return False
                continue
            self.at = _end_of(_SPACE, data, self.at, end=end)
            if self.at == end:
                return False
            byte = data[self.at]
            if byte in b'"{}[]:,':
                self._structure(byte)
                self.at += 1
                if not self._nesting:
                    return True
            elif not self._scalar(data, end):
                return False
        return False

    def _structure(self, byte: int) -> None:
        if byte not in self._expected:
            raise _Broken(self.at, "is not valid JSON")
        if byte in b"{[":
            if len(self._nesting) == DEPTH_MAX:
                raise _Broken(self.at, f"is nested deeper than {DEPTH_MAX}")
            self._nesting.append(byte)
            self._expected = _FIRST_KEY if byte == ord("{") else _FIRST_VALUE
        elif byte in b"}]":
            # The closing bracket is two code points behind the opening one, for braces and for brackets.
            if self._nesting.pop() + 2 != byte:
                raise _Broken(self.at, "is not valid JSON")
            self._expected = _AFTER_VALUE
        elif byte == ord('"'):
            self._in_string = True
        elif byte == ord(","):
            self._expected = _KEY if self._nesting[-1] == ord("{") else _VALUE
        else:
            self._expected = _VALUE

    def _string(self, data: bytearray, end: int) -> bool:
        self.at = _end_of(_PLAIN, data, self.at, end=end)
        if self.at == end:
            return False
        if data[self.at] == ord('"'):
            self.at += 1
            self._in_string = False
            self._expected = _COLON if self._expected in (_KEY, _FIRST_KEY) else _AFTER_VALUE
            return True
        after = _end_of(_ESCAPE, data, self.at, end=end)
        if after == self.at:
            if _ESCAPE_BEGUN.fullmatch(data, self.at, end) is not None:
                return False
            raise _Broken(self.at, "is not valid JSON")
        self.at = after
        return True

    def _scalar(self, data: bytearray, end: int) -> bool:
        after = _end_of(_SCALAR_RUN, data, self.at, end=end)
        is_right_here = self._expected in (_VALUE, _FIRST_VALUE)
        if not is_right_here or after == self.at or after - self.at > _SCALAR_MAX:
            raise _Broken(self.at, "is not valid JSON")
        if after == end:
            return False
        if _SCALAR.fullmatch(data, self.at, after) is None:
            raise _Broken(self.at, "is not valid JSON")
        self.at = after
        self._expected = _AFTER_VALUE
        return True


def _end_of(pattern: re.Pattern[bytes], data: bytearray, start: int, *, end: int) -> int:
    match = pattern.match(data, start, end)
    return start if match is None else match.end()


def _printable(raw: Union[bytes, bytearray]) -> str:
    return ascii(bytes(raw[:SAMPLE_MAX]).decode("utf-8", "replace"))[1:-1][: 2 * SAMPLE_MAX]


def _shown(value: Any) -> str:
    return "nothing" if value is None else ascii(value)[:60]
