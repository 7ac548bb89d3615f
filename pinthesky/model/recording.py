"""What is known of a recorded item: the sidecar beside it in the spool, and its key and metadata in the store."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Optional

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvariantBroken
from pinthesky.model.identifiers import EventId, FileName, KeyPrefix, MediaKey, ThingName, clip_stem, plain

Trigger = Literal["motion", "manual"]
Kind = Literal["clip", "thumbnail", "timestamps", "still"]
"""`timestamps` stands beside a clip that is a bare `.h264` stream and says when each of its pictures was taken."""
LATEST_STILL = "thumbnail_latest.jpg"
"""The one object that a camera may write again and again."""
RETENTION_TAG = ("retention", "standard")
"""What a bucket's lifecycle rule goes by: every stored item has it, and what has lost it is starred, kept for ever."""
KEPT_TAG = ("kept", "true")
"""What stands in its place then, in S3: the bucket lets no camera, and no thief with its key, tag that anew."""

TIMESTAMPS_SUFFIX = ".timestamps.txt"

CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".h264": "video/h264",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    TIMESTAMPS_SUFFIX: "text/plain",
}


class Moment(Struct, frozen=True, kw_only=True):
    """A point in time that survives a clock that is not right yet.

    `monotonic_s` counts CLOCK_BOOTTIME within boot `boot_id`; `wall_s` is epoch seconds, and None until the clock was
    known to be right.
    """

    boot_id: str
    monotonic_s: float
    wall_s: Optional[float] = None

    def later(self, seconds: float) -> Moment:
        """The moment `seconds` after this one."""
        wall_s = None if self.wall_s is None else self.wall_s + seconds
        return Moment(boot_id=self.boot_id, monotonic_s=self.monotonic_s + seconds, wall_s=wall_s)


class Item(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Sidecar of one item in the spool. Sizes in bytes, durations in seconds, times as `Moment`."""

    kind: Kind
    event_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    start: Moment
    suffix: str
    """".mp4", ".h264", ".jpg" or TIMESTAMPS_SUFFIX."""
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    trigger: Trigger = "motion"
    part: Annotated[int, Meta(ge=1)] = 1
    key_delay_s: Annotated[float, Meta(ge=0)] = 0.0
    """How much later than `start` the time in its key is: parts of one event share the rest of their keys."""
    duration_s: float = 0.0
    recovered: bool = False
    """Finished after a crash from what its journal held."""
    time_uncertain: bool = False
    """Named by a clock that was never known to be right."""
    file_name: Optional[str] = None
    """The name that was asked for (stills)."""
    capture_id: Optional[str] = None
    connection: Optional[dict[str, Optional[str]]] = None
    """Where the answer goes when the item is stored, as in the command that asked for it."""
    labels: dict[str, float] = {}
    """What was recognised in the clip: name to the highest confidence (0 to 1), see `pinthesky.model.labels`."""

    @classmethod
    def of_picture(
        cls,
        data: bytes,
        *,
        kind: Kind,
        event_id: str,
        start: Moment,
        trigger: Trigger = "motion",
        file_name: Optional[str] = None,
        capture_id: Optional[str] = None,
        connection: Optional[dict[str, Optional[str]]] = None,
    ) -> Item:
        """The sidecar of a JPEG."""
        return cls(
            kind=kind,
            event_id=event_id,
            start=start,
            suffix=".jpg",
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            trigger=trigger,
            file_name=file_name,
            capture_id=capture_id,
            connection=connection,
        )

    def key(self, *, video_prefix: str, image_prefix: str, thing: ThingName) -> MediaKey:
        """Where the item goes in the bucket. Raises InvariantBroken while its time is unknown."""
        if self.kind == "still" and self.file_name is not None:
            return MediaKey.of(KeyPrefix(image_prefix), thing, FileName(self.file_name))
        if self.start.wall_s is None:
            raise InvariantBroken(f"event {self.event_id} part {self.part} has no time yet, so it has no key")
        stem = clip_stem(self.start.wall_s + self.key_delay_s, EventId(self.event_id))
        prefix = image_prefix if self.kind == "still" else video_prefix
        return MediaKey.of(KeyPrefix(prefix), thing, FileName(stem + self.suffix))

    def metadata(self) -> dict[str, str]:
        """Object metadata: `trigger`, `duration`, `start`, `event_id`, `part`, and flags where they hold."""
        found = {
            "trigger": self.trigger,
            "duration": f"{self.duration_s:.3f}",
            "start": "" if self.start.wall_s is None else f"{self.start.wall_s:.3f}",
            "event_id": self.event_id,
            "part": str(self.part),
        }
        if self.recovered:
            found["recovered"] = "true"
        if self.time_uncertain:
            found["time-uncertain"] = "true"
        if self.labels:
            found["labels"] = ",".join(f"{name}={confidence:g}" for name, confidence in self.labels.items())
        return found

    def at(self, start: Moment, *, uncertain: bool) -> Item:
        """A copy that starts at `start`."""
        return msgspec.structs.replace(self, start=start, time_uncertain=uncertain)

    @property
    def content_type(self) -> str:
        """MIME type by suffix."""
        return CONTENT_TYPES[self.suffix]

    @property
    def overwrites(self) -> bool:
        """Only the latest still may replace what is stored under its key."""
        return self.file_name == LATEST_STILL

    def encode(self) -> bytes:
        """The sidecar file's content."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=plain), indent=1)

    @classmethod
    def decode(cls, raw: bytes) -> Item:
        """Read a sidecar file. Raises InvariantBroken for one that we cannot have written."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except msgspec.MsgspecError as error:
            raise InvariantBroken(f"unreadable sidecar: {error}") from error
