"""The clips: what was recorded, and what people made of it.

A clip's row says in which tags it is; a row beside it for each of them, and one for the star, make the lists of those.
All are changed in one transaction. A clip that somebody deletes leaves a mark until its media are gone, and while the
mark stands nothing brings the clip back.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, NotFound, Unavailable
from pinthesky.model.identifiers import EventId, Identifier, MediaKey, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.table import (
    LIMIT_MAX,
    Change,
    Check,
    Condition,
    Delete,
    Key,
    Page,
    Position,
    Put,
    Range,
    Record,
    Table,
)

INDEX = "clip"
REMOVED = "clip-removed"
CAMERAS = "clip-camera"
STARRED = "*starred"
"""The list of starred clips, among the lists of tags; no tag can be called that."""
TAGS_MAX = 20
"""Most tags of one clip."""
DAY_S = 86_400
UNSTARRED_S = DAY_S
"""For how long a clip that is past its time stays when its star goes."""
SKEW_MS = 60_000
"""By how much the time in a clip's name may differ from its start."""
MS_MAX = 9_999_999_999_999


class VideoId(Identifier):
    """A clip's file name, `<epoch second>-<event id>.motion.mp4`; older devices left the event id away."""

    __slots__ = ()
    _field = "video"
    _pattern = re.compile(r"[0-9]{10}(-[0-9a-f]{32})?\.motion\.(mp4|h264)")
    _rule = "must be <epoch second>-<event id>.motion.mp4"

    @property
    def epoch_s(self) -> int:
        """When it was recorded, epoch seconds."""
        return int(self[:10])

    @property
    def event_id(self) -> EventId | None:
        """The motion event that it is a part of."""
        return EventId(self[11:43]) if self[10] == "-" else None

    @property
    def stem(self) -> str:
        """The name without its suffix: thumbnail and timestamps share it."""
        return self.rpartition(".")[0]


class Clip(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One clip. Times are epoch milliseconds."""

    thing_name: ThingName
    video: VideoId
    media_key: MediaKey
    started_at: int
    stored_at: int
    size: int
    duration_seconds: float = 0.0
    trigger: str = "motion"
    event_id: str = ""
    part: int = 1
    labels: dict[str, float] = {}
    """What was recognised: name to the highest confidence."""
    thumbnail_key: str = ""
    starred: bool = False
    unstarred_at: int | None = None
    tags: tuple[str, ...] = ()
    description: str = ""
    recovered: bool = False
    time_uncertain: bool = False

    def keys(self) -> list[MediaKey]:
        """What is stored of it."""
        return [self.media_key, *([MediaKey(self.thumbnail_key)] if self.thumbnail_key else [])]


class ClipRange(NamedTuple):
    """Start times, epoch milliseconds, both ends included."""

    first_ms: int = 0
    last_ms: int = MS_MAX

    def __contains__(self, started_at: object) -> bool:
        return isinstance(started_at, int) and self.first_ms <= started_at <= self.last_ms

    def by_time(self) -> Range:
        """The range in lists that begin with milliseconds."""
        return Range(f"{self.first_ms:013d}", f"{self.last_ms:013d}~")

    def by_video(self) -> Range:
        """The range in lists of video ids; a little wider, so what it gives has to be looked at."""
        first_s, last_s = max(0, self.first_ms - SKEW_MS) // 1000, min(MS_MAX, self.last_ms + SKEW_MS) // 1000
        return Range(f"{first_s:010d}", f"{last_s:010d}~")


ALWAYS = ClipRange()


class Clips:
    """The repository of the clips. `keep_days`: how long one is kept after it was stored; None for ever."""

    def __init__(self, table: Table, keep_days: int | None) -> None:
        self._table = table
        self._keep_days = keep_days

    def get(self, thing: ThingName, video: VideoId) -> Clip:
        """Raises NotFound."""
        return rows.get(self._table, key_of(thing, video), Clip, missing=_missing(thing, video))

    def find(self, thing: ThingName, video: VideoId) -> Clip | None:
        """The clip, if it is there."""
        record = self._table.get(key_of(thing, video))
        return None if record is None else rows.decode(record, Clip)

    def expiry(self, clip: Clip) -> int | None:
        """The epoch second at which a clip is past its time."""
        if clip.starred or self._keep_days is None:
            return None
        until_s = clip.stored_at // 1000 + self._keep_days * DAY_S
        return until_s if clip.unstarred_at is None else max(until_s, clip.unstarred_at // 1000 + UNSTARRED_S)

    def add(self, clip: Clip, *along: Change) -> bool:
        """Write a clip down, and `along` with it. False where it is known already, or was deleted."""
        checked = Check(_mark_key(clip.thing_name, clip.video), Condition.ABSENT)
        if self._table.get(Key(CAMERAS, clip.thing_name)) is None:
            self._table.write(Put(Record(Key(CAMERAS, clip.thing_name), b"{}")))
        memberships = [Put(self._membership(name, clip)) for name in _lists(clip)]
        return rows.create_if_absent(self._table, self._record(clip), checked, *memberships, *along)

    def change(
        self, thing: ThingName, video: VideoId, to: Callable[[Clip], Clip], *, needs: Sequence[Change] = ()
    ) -> Clip:
        """Replace a clip by `to(clip)`; `needs` has to hold too. Raises NotFound."""
        return rows.change(
            self._table,
            key_of(thing, video),
            Clip,
            to_record=self._record,
            to=to,
            missing=_missing(thing, video),
            along=lambda before, after: [*self._memberships(before, after), *needs],
        )

    def renew(self, record: Record) -> bool:
        """Give a clip the time that the present setting allows it; whether that is another one than it had."""
        clip = rows.decode(record, Clip)
        renewed = self._record(clip)
        if renewed.expires_at_s == record.expires_at_s:
            return False
        memberships = [Put(self._membership(name, clip)) for name in _lists(clip)]
        return _written(self._table, Put(renewed, record.version), *memberships)

    def mark_removed(self, thing: ThingName, video: VideoId, *along: Change) -> Clip | None:
        """Take a clip out of every list and leave a mark, so that its media can go. None where there is none."""
        return self._remove(
            thing, video, lambda clip: [Put(Record(_mark_key(thing, video), rows.encode(clip))), *along]
        )

    def remove(self, thing: ThingName, video: VideoId, *along: Change) -> Clip | None:
        """Forget a clip whose media are gone; None where it was forgotten already."""
        return self._remove(thing, video, lambda _: along)

    def marked(self) -> Iterator[Clip]:
        """Deleted clips whose media may still be there."""
        for record in every_record(self._table.query, REMOVED):
            yield rows.decode(record, Clip)

    def unmark(self, clip: Clip) -> None:
        """The media of a deleted clip are gone."""
        self._table.write(Delete(_mark_key(clip.thing_name, clip.video)))

    def of_camera(
        self,
        thing: ThingName,
        within: ClipRange = ALWAYS,
        *,
        ascending: bool,
        limit: int,
        after: Position | None = None,
    ) -> Page:
        """A camera's clips by the time in their names; `within` is approximate."""
        return self._table.query(f"clip#{thing}", within.by_video(), ascending=ascending, limit=limit, after=after)

    def of_all(self, within: ClipRange = ALWAYS, *, ascending: bool, limit: int, after: Position | None = None) -> Page:
        """All clips by their start."""
        return self._table.query_index(INDEX, within.by_time(), ascending=ascending, limit=limit, after=after)

    def of_tag(
        self, name: str, within: ClipRange = ALWAYS, *, ascending: bool, limit: int, after: Position | None = None
    ) -> Page:
        """The members of a tag, or of STARRED, by their start."""
        return self._table.query(f"clip-of#{name}", within.by_time(), ascending=ascending, limit=limit, after=after)

    def decoded(self, records: Sequence[Record]) -> list[Clip | None]:
        """The clips of a page of `of_camera` or `of_all`."""
        return [rows.decode(record, Clip) for record in records]

    def members(self, records: Sequence[Record]) -> list[Clip | None]:
        """The clips of a page of `of_tag`; None where one is gone."""
        keys = [key_of(*_member(record)) for record in records]
        found = self._table.get_many(keys) if keys else {}
        return [rows.decode(found[key], Clip) if key in found else None for key in keys]

    def clear_tag(self, name: str) -> None:
        """Take every clip from under a tag that is no more."""
        while records := self._table.query(f"clip-of#{name}").records:
            for record in records:
                with contextlib.suppress(NotFound):  # the clip may have gone meanwhile
                    self.change(*_member(record), lambda clip: with_tags(clip, {*clip.tags} - {name}))
                self._table.write(Delete(record.key))

    def records_of(self, thing: ThingName) -> Iterator[Record]:
        """Every row of a camera's clips, in the order of their names."""
        return every_record(self._table.query, f"clip#{thing}")

    def cameras(self) -> Iterator[ThingName]:
        """Every thing that has ever had a clip, those that are no camera any more among them."""
        for record in every_record(self._table.query, CAMERAS):
            yield ThingName(record.key.sort)

    def forget_camera(self, thing: ThingName) -> None:
        """A thing has nothing any more."""
        self._table.write(Delete(Key(CAMERAS, thing)))

    def _remove(self, thing: ThingName, video: VideoId, along: Callable[[Clip], Sequence[Change]]) -> Clip | None:
        for _ in range(rows.TRIES_MAX):
            record = self._table.get(key_of(thing, video))
            if record is None:
                return None
            clip = rows.decode(record, Clip)
            memberships = [Delete(_member_key(name, clip)) for name in _lists(clip)]
            if _written(self._table, Delete(record.key, record.version), *memberships, *along(clip)):
                return clip
        raise Unavailable(f"{thing} {video} is changed by too many at once")

    def _memberships(self, before: Clip, after: Clip) -> list[Change]:
        renewed = self.expiry(before) != self.expiry(after)
        gone = set(_lists(before)) - set(_lists(after))
        there = set(_lists(after)) if renewed else set(_lists(after)) - set(_lists(before))
        return [
            *(Delete(_member_key(name, before)) for name in sorted(gone)),
            *(Put(self._membership(name, after)) for name in sorted(there)),
        ]

    def _membership(self, name: str, clip: Clip) -> Record:
        return Record(_member_key(name, clip), b"{}", expires_at_s=self.expiry(clip))

    def _record(self, clip: Clip) -> Record:
        index = Key(INDEX, f"{clip.started_at:013d}#{clip.thing_name}#{clip.video}")
        return Record(key_of(clip.thing_name, clip.video), rows.encode(clip), index, self.expiry(clip))


def key_of(thing: ThingName, video: VideoId) -> Key:
    """Where a clip's row stands."""
    return Key(f"clip#{thing}", str(video))


def every_record(query: Callable[..., Page], partition: str) -> Iterator[Record]:
    """The records of a whole partition, page by page."""
    after: Position | None = None
    while True:
        page = query(partition, limit=LIMIT_MAX, after=after)
        yield from page.records
        if page.next is None:
            return
        after = page.next


def with_star(clip: Clip, starred: bool, now_ms: int) -> Clip:
    """The clip with a star, or without one from now on."""
    if clip.starred == starred:
        return clip
    return replace(clip, starred=starred, unstarred_at=None if starred else now_ms)


def with_tags(clip: Clip, tags: set[str]) -> Clip:
    """The clip with other tags. Raises Conflict: they are too many."""
    if len(tags) > TAGS_MAX:
        raise Conflict(f"a clip has at most {TAGS_MAX} tags")
    return replace(clip, tags=tuple(sorted(tags)))


def _lists(clip: Clip) -> list[str]:
    return [*clip.tags, *([STARRED] if clip.starred else [])]


def _mark_key(thing: ThingName, video: VideoId) -> Key:
    return Key(REMOVED, f"{thing}#{video}")


def _member_key(name: str, clip: Clip) -> Key:
    return Key(f"clip-of#{name}", f"{clip.started_at:013d}#{clip.thing_name}#{clip.video}")


def _member(record: Record) -> tuple[ThingName, VideoId]:
    _, thing, video = record.key.sort.split("#")
    return ThingName(thing), VideoId(video)


def _missing(thing: ThingName, video: VideoId) -> str:
    return f"{thing} has no clip {video}"


def _written(table: Table, *changes: Change) -> bool:
    try:
        table.write(*changes)
    except Conflict:
        return False
    return True
