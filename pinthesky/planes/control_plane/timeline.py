"""The route of the timeline: how much moved, which clips there are, and why there may be none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.authorization import Permission
from pinthesky.planes.home import Home
from pinthesky.planes.listing import EpochMs
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.clips import Clip, ClipRange, VideoId
from pinthesky.planes.records.conditions import CAUSES, Cause, Span
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.table import LIMIT_MAX, Page, Position

routes = Routes("timeline")

RANGE_MAX_MS = 31 * 86_400_000
BUCKETS_MAX = 2000
CLIPS_MAX = 1000
EVENTS_MAX = 2000
MINUTE_MS = 60_000
_URGENCY: tuple[Cause, ...] = ("privacy", "fault", "offline", "unknown")
"""Where several causes hold at once, the first of these is told."""


class TimelineQuery(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What part of the timeline, and how fine."""

    start_time: EpochMs
    end_time: EpochMs
    bucket_seconds: Annotated[int, Meta(ge=1, le=86_400, description="Length of a bucket.")] = 300

    def check(self) -> None:
        """Raise InvalidInput for a range that is empty, too long or too finely divided."""
        if self.end_time <= self.start_time:
            raise InvalidInput("endTime", "must be after startTime")
        if self.end_time - self.start_time > RANGE_MAX_MS:
            raise InvalidInput("endTime", f"must be at most {RANGE_MAX_MS // 86_400_000} days after startTime")
        if -(-(self.end_time - self.start_time) // (self.bucket_seconds * 1000)) > BUCKETS_MAX:
            raise InvalidInput("bucketSeconds", f"must divide the range into at most {BUCKETS_MAX} buckets")


class Bucket(Struct, kw_only=True, rename="camel"):
    """A part of the timeline in which something moved."""

    start_time: EpochMs
    motion: Annotated[float, Meta(ge=0, le=100, description="Percent of its time in which something moved.")]
    events: Annotated[int, Meta(description="Motion events that began in it.")]


class TimelineClip(Struct, kw_only=True, rename="camel"):
    """A clip on the timeline."""

    video: VideoId
    started_at: EpochMs
    duration_seconds: float
    trigger: str
    starred: bool
    labels: dict[str, float]


class Gap(Struct, kw_only=True, rename="camel"):
    """A time in which the camera could not watch, or nobody could know."""

    start_time: EpochMs
    end_time: EpochMs
    cause: Literal["offline", "fault", "privacy", "unknown"]


class Timeline(Struct, kw_only=True, rename="camel"):
    """What a camera saw from `startTime` to `endTime`. Buckets without motion are left out."""

    start_time: EpochMs
    end_time: EpochMs
    bucket_seconds: int
    motion: list[Bucket]
    clips: list[TimelineClip]
    is_complete: Annotated[bool, Meta(description="False: there are more clips or events than fit; ask for less.")]
    gaps: list[Gap]


@routes.get("/cameras/{thing}/timeline", Permission.READ, "What moved when, which clips there are, and gaps")
def get_timeline(call: Call, thing: ThingName, query: TimelineQuery) -> Timeline:
    """At most 31 days and 2000 buckets."""
    query.check()
    camera = call.home.cameras.get(thing)
    clips, all_clips = _clips(call.home, thing, query)
    began, all_events = _events(call.home, thing, query)
    minutes = call.home.motion_minutes.between(thing, query.start_time // MINUTE_MS, query.end_time // MINUTE_MS)
    return Timeline(
        start_time=query.start_time,
        end_time=query.end_time,
        bucket_seconds=query.bucket_seconds,
        motion=buckets(query, _moving(minutes, clips, began), began),
        clips=[
            TimelineClip(
                video=clip.video,
                started_at=clip.started_at,
                duration_seconds=clip.duration_seconds,
                trigger=clip.trigger,
                starred=clip.starred,
                labels=clip.labels,
            )
            for clip in clips
        ],
        is_complete=all_clips and all_events,
        gaps=_gaps(call, camera, query),
    )


def buckets(query: TimelineQuery, moving: Iterable[tuple[float, float, float]], began: Iterable[int]) -> list[Bucket]:
    """The buckets in which something moved.

    `moving` are times (from, to: epoch ms) with the share of each in motion (0 to 1); none overlaps another. `began`
    is when events began.
    """
    width = query.bucket_seconds * 1000
    motion_ms: dict[int, float] = {}
    events: dict[int, int] = {}
    for start, end, share in moving:
        at = max(start, query.start_time)
        until = min(end, query.end_time)
        while at < until:
            number = int((at - query.start_time) // width)
            edge = min(until, query.start_time + (number + 1) * width)
            motion_ms[number] = motion_ms.get(number, 0.0) + (edge - at) * share
            at = edge
    for time in began:
        number = (time - query.start_time) // width
        events[number] = events.get(number, 0) + 1
    found = []
    for number in sorted({*motion_ms, *events}):
        start = query.start_time + number * width
        length = min(width, query.end_time - start)
        percent = min(100.0, round(100 * motion_ms.get(number, 0.0) / length, 2))
        found.append(Bucket(start_time=start, motion=percent, events=events.get(number, 0)))
    return found


def _moving(
    minutes: Mapping[int, int], clips: Iterable[Clip], began: Iterable[int]
) -> list[tuple[float, float, float]]:
    """When something moved: minutes as the camera told them; of others what clips and events let us know."""
    known: list[tuple[float, float, float]] = [
        (minute * MINUTE_MS, (minute + 1) * MINUTE_MS, percent / 100) for minute, percent in minutes.items()
    ]
    seen_ms: dict[int, float] = {}
    for clip in clips:
        if clip.trigger != "motion":
            continue
        at, until = float(clip.started_at), clip.started_at + clip.duration_seconds * 1000
        while at < until:
            minute = int(at // MINUTE_MS)
            edge = min(until, (minute + 1) * MINUTE_MS)
            seen_ms[minute] = seen_ms.get(minute, 0.0) + edge - at
            at = edge
    for time in began:
        seen_ms.setdefault(time // MINUTE_MS, 1000.0)
    known += [
        (minute * MINUTE_MS, (minute + 1) * MINUTE_MS, min(1.0, length / MINUTE_MS))
        for minute, length in seen_ms.items()
        if minute not in minutes
    ]
    return known


def _clips(home: Home, thing: ThingName, query: TimelineQuery) -> tuple[list[Clip], bool]:
    """The clips that began in the range, in order, and whether they are all."""
    within = ClipRange(query.start_time, query.end_time - 1)
    found: list[Clip] = []
    after: Position | None = None
    while True:
        page = home.clips.of_camera(thing, within, ascending=True, limit=LIMIT_MAX, after=after)
        decoded = home.clips.decoded(page.records)
        found += [clip for clip in decoded if clip is not None and clip.started_at in within]
        after = page.next
        if after is None or len(found) >= CLIPS_MAX:
            found = sorted(found[:CLIPS_MAX], key=lambda clip: (clip.started_at, clip.video))
            return found, after is None and len(found) <= CLIPS_MAX


def _events(home: Home, thing: ThingName, query: TimelineQuery) -> tuple[list[int], bool]:
    """When events began in the range, and whether these are all."""
    within = ClipRange(query.start_time, query.end_time - 1)
    found: list[int] = []
    after: Position | None = None
    while True:
        page: Page = home.motion_events.of_camera(thing, within, limit=LIMIT_MAX, after=after)
        found += [event.at for event in home.motion_events.decoded(page.records)]
        after = page.next
        if after is None or len(found) >= EVENTS_MAX:
            return found, after is None


def _gaps(call: Call, camera: Camera, query: TimelineQuery) -> list[Gap]:
    """When the camera could not watch, up to now; the causes do not overlap."""
    end = min(query.end_time, round(call.now_s * 1000))
    start = query.start_time
    if end <= start:
        return []
    spans = [
        span
        for cause in CAUSES
        for span in call.home.conditions.spans(camera.thing_name, cause, start_ms=start, end_ms=end)
    ]
    if camera.created_at > start:
        spans.append(Span("unknown", start, min(camera.created_at, end)))
    edges = sorted({edge for span in spans for edge in (span.start, span.end)})
    gaps: list[Gap] = []
    for first, last in zip(edges, edges[1:], strict=False):
        causes = {span.cause for span in spans if span.start <= first and last <= span.end}
        cause = next((cause for cause in _URGENCY if cause in causes), None)
        if cause is None:
            continue
        if gaps and gaps[-1].end_time == first and gaps[-1].cause == cause:
            gaps[-1].end_time = last
        else:
            gaps.append(Gap(start_time=first, end_time=last, cause=cause))
    return gaps
