"""The addresses that `libav` plays, read strictly, and what of them may be shown."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.parse import urlsplit, urlunsplit

from pinthesky.errors import InvalidInput

FLAG = "--camera"
_STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
_SPEED_MAX = 1000.0
FAST = 16.0
"""Times its own pace that `#fast` plays a file, where the machine can."""
_SHOWN_MAX = 120


class Kind(enum.Enum):
    """What an address leads to."""

    DEVICE = "device"
    STREAM = "stream"
    FILE = "file"


class Address(NamedTuple):
    """Where a camera's pictures come from."""

    kind: Kind
    url: str
    """What libav opens. May hold a password: never shown."""
    shown: str
    """The same for people, without credentials, parameters and fragment."""
    loop: bool = False
    speed: float = 1.0
    """Times the file's own pace."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `--camera`. Raises InvalidInput for what can never work; a file must exist, a device need not yet."""
        scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*)://", text)
        if scheme:
            return _stream(text, scheme.group(1).lower())
        if not text or "\x00" in text:
            raise InvalidInput(FLAG, "must name a camera")
        if text.startswith("/dev/"):
            return cls(Kind.DEVICE, text, text)
        return _file(text)

    def __repr__(self) -> str:
        """Without credentials, for logs."""
        return f"Address({self.kind.value}, {self.shown!r})"


def _stream(text: str, scheme: str) -> Address:
    if scheme not in _STREAM_SCHEMES:
        raise InvalidInput(FLAG, f"cannot play {scheme}:// (known: {', '.join(_STREAM_SCHEMES)})")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        # The error's own text quotes the address.
        raise InvalidInput(FLAG, f"must be {scheme}://host[:port]/path, with a port from 1 to 65535") from error
    if not host or any(character.isspace() or ord(character) < 32 for character in text):
        raise InvalidInput(FLAG, f"must be {scheme}://[user:password@]host[:port]/path, without spaces")
    shown_host = f"[{host}]" if ":" in host else host
    shown = urlunsplit((scheme, f"{shown_host}:{port}" if port else shown_host, parts.path, "", ""))
    return Address(Kind.STREAM, text, _shortened(shown))


def _file(text: str) -> Address:
    path = Path(text)
    options = ""
    if not path.exists() and "#" in text:
        name, _, options = text.rpartition("#")
        path = Path(name)
    shown = _shortened(str(path))
    try:
        if not path.exists():
            raise InvalidInput(FLAG, f"{shown} does not exist")
        if not path.is_file():
            raise InvalidInput(FLAG, f"{shown} is not a file")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InvalidInput(FLAG, f"{shown} cannot be read: {error.strerror}") from error
    loop, speed = False, 1.0
    for option in filter(None, options.split(",")):
        if option == "loop":
            loop = True
        elif option == "fast":
            speed = FAST
        else:
            speed = _speed(option)
    return Address(Kind.FILE, f"file:{path.resolve()}", shown, loop, speed)


def _speed(option: str) -> float:
    found = re.fullmatch(r"fast=([0-9]{1,4}(?:\.[0-9]{1,3})?)", option)
    value: Optional[float] = float(found.group(1)) if found else None
    if value is None or not 0 < value <= _SPEED_MAX:
        raise InvalidInput(
            FLAG, f"after # there may be loop, fast or fast=N (N at most {_SPEED_MAX:g}), got {option[:40]!r}"
        )
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."
