"""What was recognised in the stills of events, and how many pictures of a month were looked at for it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, Unavailable
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import DAY_S, VideoId
from pinthesky.planes.table import Condition, Key, Put, Record, Table

MONTH_KEPT_S = 70 * DAY_S


class Recognition(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The still of one event: it is looked at once, whatever comes of it."""

    picture: MediaKey
    labels: dict[str, float] = {}


class Month(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The pictures of one month, UTC."""

    pictures: int
    refused: bool = False
    """Whether one was refused, because the month's pictures were used up."""


class Admission(enum.Enum):
    """Whether a picture may be looked at."""

    YES = "yes"
    KNOWN = "known"
    """The event's still was looked at before."""
    USED_UP = "used up"
    FIRST_REFUSAL = "first refusal"
    """The month's pictures are used up, and nobody has been told of it."""


class Recognitions:
    """The repository. What is known of an event is kept as long as its clips are."""

    def __init__(self, table: Table, keep_days: int | None) -> None:
        self._table = table
        self._keep_days = keep_days

    def labels_of(self, thing: ThingName, video: VideoId) -> Mapping[str, float]:
        """What was recognised in the event of a clip; nothing where it was not looked at."""
        record = self._table.get(_key(thing, video))
        return {} if record is None else rows.decode(record, Recognition).labels

    def admit(self, thing: ThingName, video: VideoId, picture: MediaKey, *, most: int, now_s: float) -> Admission:
        """Count a picture, and take that it is being looked at; `most` in each month.

        It is counted before it is looked at, so the bound holds whoever fails afterwards.
        """
        key, month_key = _key(thing, video), _month_key(now_s)
        for _ in range(rows.TRIES_MAX):
            if self._table.get(key) is not None:
                return Admission.KNOWN
            record = self._table.get(month_key)
            month = Month(pictures=0) if record is None else rows.decode(record, Month)
            condition = Condition.ABSENT if record is None else record.version
            if month.pictures < most:
                counted = Put(_month(month_key, replace(month, pictures=month.pictures + 1), now_s), condition)
                claim = Put(self._record(key, Recognition(picture=picture), now_s), Condition.ABSENT)
                if _written(self._table, counted, claim):
                    return Admission.YES
            elif month.refused:
                return Admission.USED_UP
            elif _written(self._table, Put(_month(month_key, replace(month, refused=True), now_s), condition)):
                return Admission.FIRST_REFUSAL
        raise Unavailable("the pictures of this month are counted by too many at once")

    def note(
        self, thing: ThingName, video: VideoId, picture: MediaKey, *, labels: Mapping[str, float], now_s: float
    ) -> None:
        """Write down what was recognised."""
        found = Recognition(picture=picture, labels=dict(labels))
        self._table.write(Put(self._record(_key(thing, video), found, now_s)))

    def _record(self, key: Key, recognition: Recognition, now_s: float) -> Record:
        expires_at_s = None if self._keep_days is None else int(now_s) + self._keep_days * DAY_S
        return Record(key, rows.encode(recognition), expires_at_s=expires_at_s)


def _key(thing: ThingName, video: VideoId) -> Key:
    """One for all parts of an event; older devices name none, so each of their clips is one."""
    return Key(f"recognition#{thing}", str(video.event_id or video.stem))


def _month_key(now_s: float) -> Key:
    return Key("recognition", f"{datetime.fromtimestamp(now_s, UTC):%Y-%m}")


def _month(key: Key, month: Month, now_s: float) -> Record:
    return Record(key, rows.encode(month), expires_at_s=int(now_s) + MONTH_KEPT_S)


def _written(table: Table, *changes: Put) -> bool:
    try:
        table.write(*changes)
    except Conflict:
        return False
    return True
