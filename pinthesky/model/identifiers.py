"""Names on the wire, and the only doors through which a string becomes one.

Each class is a `str` whose constructor validates: a value of the type is a valid name. `parse` is the same with the
name of the field for the message. Topics, prefixes and keys are built here and nowhere else.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import TYPE_CHECKING, ClassVar

from pinthesky.errors import InvalidInput

if TYPE_CHECKING:
    from typing import Self  # only read by type checkers, which know it

SHADOW_NAME = "pinthesky"


class Identifier(str):
    """A string that matches its class's pattern. Raises InvalidInput otherwise."""

    __slots__ = ()
    _field: ClassVar[str] = "identifier"
    _pattern: ClassVar[re.Pattern[str]] = re.compile(r"[\x21-\x7e]{1,256}")
    _rule: ClassVar[str] = "must be 1 to 256 printable characters"

    def __new__(cls, value: object) -> Self:
        """See `parse`."""
        return cls.parse(value)

    @classmethod
    def parse(cls, value: object, field: str | None = None) -> Self:
        """Validate `value` (anything from outside) and return it as this type."""
        if not isinstance(value, str) or cls._pattern.fullmatch(value) is None:
            shown = repr(value)
            if len(shown) > 60:
                shown = shown[:57] + "..."
            raise InvalidInput(field or cls._field, f"{cls._rule}, got {shown}")
        return str.__new__(cls, value)

    @classmethod
    def pattern(cls) -> str:
        """The regular expression that a whole value matches, for schemas."""
        return cls._pattern.pattern


def plain(value: object) -> str:
    """`enc_hook` for msgspec, which encodes no subclass of `str`: an identifier travels as its characters."""
    if isinstance(value, Identifier):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} does not travel")


class ThingName(Identifier):
    """Name of an IoT thing, which is also its MQTT client id (AWS: 1 to 128 of letters, digits, `:_-`)."""

    __slots__ = ()
    _field = "thing_name"
    _pattern = re.compile(r"[A-Za-z0-9:_-]{1,128}")
    _rule = "must be 1 to 128 letters, digits, ':', '_' or '-'"


class GroupName(Identifier):
    """What people call a group of cameras. Its characters are composed (NFC), so names that look equal are equal."""

    __slots__ = ()
    _field = "group"
    _pattern = re.compile(r"(?![ .])[^\x00-\x1f\x7f-\x9f,/\\#?%]{1,60}(?<! )")
    _rule = "must be 1 to 60 printable characters but , / \\ # ? %, not begin with '.' or space nor end with space"

    @classmethod
    def parse(cls, value: object, field: str | None = None) -> Self:
        """Compose the characters, then validate."""
        name = super().parse(unicodedata.normalize("NFC", value) if isinstance(value, str) else value, field)
        if not name.isprintable():
            raise InvalidInput(field or cls._field, f"{cls._rule}, got {value!a}")
        return name


class EventId(Identifier):
    """128 random bits as 32 lower-case hexadecimal digits. Parts of one motion event share it."""

    __slots__ = ()
    _field = "event_id"
    _pattern = re.compile(r"[0-9a-f]{32}")
    _rule = "must be 32 lower-case hexadecimal digits"

    @classmethod
    def new(cls) -> EventId:
        """A fresh id."""
        return cls(secrets.token_hex(16))


class CaptureId(Identifier):
    """The caller's name for one capture request; comes back with its answer."""

    __slots__ = ()
    _field = "capture_id"
    _pattern = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
    _rule = "must be 1 to 64 letters, digits, '_', '.', ':' or '-'"


class ConnectionId(Identifier):
    """A WebSocket connection of the data plane (API Gateway: base64 characters)."""

    __slots__ = ()
    _field = "connection.id"
    _pattern = re.compile(r"[A-Za-z0-9_=+-]{1,128}")
    _rule = "must be 1 to 128 letters, digits, '_', '=', '+' or '-'"


class FileName(Identifier):
    """A bare file name: no folder, not hidden, nothing that a shell or an object key would read differently."""

    __slots__ = ()
    _field = "file_name"
    _pattern = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
    _rule = "must be a bare file name of 1 to 128 letters, digits, '.', '_' or '-' that does not begin with '.' or '-'"


class BucketName(Identifier):
    """An S3 bucket's name (3 to 63 lower-case letters, digits, '-', '.')."""

    __slots__ = ()
    _field = "bucket_name"
    _pattern = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
    _rule = "must be 3 to 63 lower-case letters, digits, '.' or '-', and begin and end with a letter or digit"


class KeyPrefix(Identifier):
    """First part of an object key, without slashes at its ends: `motion_videos`, `house/garden`."""

    __slots__ = ()
    _field = "prefix"
    _pattern = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
    _rule = "must be 1 to 64 letters, digits, '.', '_' or '-', in folders divided by single '/'"


class MediaKey(Identifier):
    """Key of an object in the media bucket: `<prefix>/<thing>/<file name>`."""

    __slots__ = ()
    _field = "key"
    _pattern = re.compile(r"(?=.{5,400}\Z)[A-Za-z0-9_:-][A-Za-z0-9._:-]*(/[A-Za-z0-9_:-][A-Za-z0-9._:-]*){2,}")
    _rule = "must be <prefix>/<thing>/<file name>"

    @classmethod
    def of(cls, prefix: KeyPrefix, thing: ThingName, file_name: FileName) -> MediaKey:
        """The key of `file_name` under the thing's own folder."""
        return cls(f"{prefix}/{thing}/{file_name}")


def clip_stem(started_at_s: float, event_id: EventId) -> str:
    """File name of a clip without suffix: `<epoch seconds>-<event id>.motion`."""
    return f"{int(started_at_s)}-{event_id}.motion"


def command_topic(thing: ThingName) -> str:
    """Where the cloud publishes commands to a thing."""
    return f"pinthesky/events/{thing}/input"


def event_topic(thing: ThingName) -> str:
    """Where a thing publishes its events. The thing is taken from here, never from a payload."""
    return f"pinthesky/events/{thing}/output"


def shadow_topic(thing: ThingName, operation: str) -> str:
    """Topic of the named shadow, e.g. `operation="update"`, `"update/delta"`, `"get/accepted"`."""
    return f"$aws/things/{thing}/shadow/name/{SHADOW_NAME}/{operation}"


def log_stream_name(day: str, thing: ThingName | None) -> str:
    """CloudWatch stream of a day (`YYYY/MM/DD`), split by thing or shared by `all`."""
    return f"{day}@{thing or 'all'}"
