"""What is known of one stored object, its place in the media folder, and the sidecar that says so beside the file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.model.identifiers import FileName, KeyPrefix, ThingName, plain
from pinthesky.model.recording import LATEST_STILL, RETENTION_TAG

PROBE_NAME = ".probe"
"""What a device stores, empty, to find out whether it may store. It is no recording."""
SIDECAR_MAX = 64 * 1024
"""Bytes. Metadata and tags are bounded far below."""

_CLIP_NAME = re.compile(r"(?P<epoch>[0-9]{9,10})-(?P<rest>[0-9A-Za-z][0-9A-Za-z._-]*)")


class Address(msgspec.Struct, frozen=True):
    """The parts of an object's key."""

    prefix: str
    thing: str
    name: str

    @classmethod
    def parse(cls, key: str, prefixes: tuple[KeyPrefix, ...]) -> Address:
        """`<prefix>/<thing>/<name>` with one of `prefixes`. Raises InvalidInput for anything else."""
        prefix = next((prefix for prefix in prefixes if key.startswith(f"{prefix}/")), None)
        if prefix is None:
            raise InvalidInput("key", f"must begin with {' or '.join(f'{prefix}/' for prefix in prefixes)}")
        thing, _, name = key.removeprefix(f"{prefix}/").partition("/")
        if name != PROBE_NAME:
            FileName.parse(name, "key")
        return cls(str(prefix), str(ThingName.parse(thing, "key")), name)

    @property
    def key(self) -> str:
        """The key."""
        return f"{self.prefix}/{self.thing}/{self.name}"

    @property
    def is_probe(self) -> bool:
        """Whether this is where a device tries out its permission."""
        return self.name == PROBE_NAME

    @property
    def may_be_replaced(self) -> bool:
        """Whether the thing itself may store another object in its place."""
        return self.name == LATEST_STILL

    def recorded_at_s(self, stored_at_s: float) -> float:
        """When it was recorded, from its name; when it was stored, for names that do not say."""
        found = _CLIP_NAME.fullmatch(self.name)
        return stored_at_s if found is None else float(found["epoch"])

    def file(self, stored_at_s: float, *, distinction: str = "") -> str:
        """The path in the media folder: `<camera>/<YYYY-MM-DD>/<HH-MM-SS>-<name>`, in UTC.

        A location's own time has an hour twice a year, and a camera may be moved to another one.

        `distinction` goes before the name, for the second file of the same second and name.
        A colon in a thing's name becomes `=`, which no name holds: not every file system takes colons.
        """
        found = _CLIP_NAME.fullmatch(self.name)
        rest = self.name.removeprefix(".") if found is None else found["rest"]
        at = datetime.fromtimestamp(self.recorded_at_s(stored_at_s), UTC)
        hidden = "." if self.name.startswith(".") else ""
        return f"{self.thing.replace(':', '=')}/{at:%Y-%m-%d}/{hidden}{at:%H-%M-%S}-{distinction}{rest}"


class MediaRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stored object. Sizes in bytes, times in epoch seconds. Its encoding is the sidecar's content."""

    address: Address
    file: str
    """Path below the media folder, with `/`."""
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    md5: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    """The object's ETag."""
    recorded_at_s: float
    stored_at_s: float
    headers: dict[str, str] = {}
    """Content-Type and the like, by name in lower case."""
    metadata: dict[str, str] = {}
    """`x-amz-meta-…`, by name in lower case."""
    tags: dict[str, str] = {}
    checksum: tuple[str, str] | None = None
    """The algorithm (`sha256`) and the digest in base64 that the client wanted to be kept."""

    @property
    def key(self) -> str:
        """The object's key."""
        return self.address.key

    @property
    def thing(self) -> ThingName:
        """Whose recording it is."""
        return ThingName(self.address.thing)

    @property
    def is_starred(self) -> bool:
        """Whether it is kept whatever its age."""
        return self.tags.get(RETENTION_TAG[0]) != RETENTION_TAG[1]

    @property
    def may_expire(self) -> bool:
        """Whether retention may remove it. The latest still stays: there is one, and it is the camera's face."""
        return not self.is_starred and not self.address.may_be_replaced

    def with_tags(self, tags: dict[str, str]) -> MediaRecord:
        """A copy with other tags."""
        return msgspec.structs.replace(self, tags=tags)

    def encode(self) -> bytes:
        """The sidecar's content: JSON that a person can read."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=plain), indent=1)

    @classmethod
    def decode(cls, raw: bytes | str) -> MediaRecord:
        """Read what `encode` has written. Raises InvariantBroken."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvariantBroken(f"unreadable sidecar: {error}") from error


def sidecar_name(name: str) -> str:
    """The name of the sidecar of the file `name`: hidden, beside it."""
    return f".{name}.json"


def media_name(sidecar: str) -> str | None:
    """The name of the file that a sidecar's name belongs to; None for a name that is no sidecar's."""
    if len(sidecar) > 6 and sidecar.startswith(".") and sidecar.endswith(".json"):
        return sidecar[1:-5]
    return None
