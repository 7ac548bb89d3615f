"""What cameras store and say, for the tests of the planes."""

from __future__ import annotations

import json
from typing import Any

from pinthesky.model.identifiers import EventId, MediaKey, ThingName
from pinthesky.planes import pushes
from pinthesky.planes.ingest import device_events, media_events
from pinthesky.planes.records.clips import Clip, VideoId
from pinthesky.planes.records.pushes import Push
from tests.planes.home import OWNER, StagedHome


def event_id(number: int) -> EventId:
    """The id of the event of this number."""
    return EventId(f"{number:032x}")


def video_id(at_s: float, event: EventId | None = None) -> VideoId:
    """The name of the clip of an event."""
    return VideoId(f"{int(at_s)}-{event}.motion.mp4" if event else f"{int(at_s)}.motion.mp4")


def clip_key(thing: ThingName, video: str) -> MediaKey:
    """Where a clip, or what belongs to it, is stored."""
    return MediaKey(f"motion_videos/{thing}/{video}")


def store_clip(home: StagedHome, thing: ThingName, at_s: float, event: EventId | None = None, **said: str) -> VideoId:
    """What a camera's upload of a clip does to the store. Nobody is told of it."""
    video = video_id(at_s, event)
    metadata = {"trigger": "motion", "duration": "30.000", "start": f"{at_s:.3f}", "part": "1", **said}
    home.media.store(clip_key(thing, video), b"media", "video/mp4", **metadata)
    return video


def add_clip(home: StagedHome, thing: ThingName, at_s: float, event: EventId | None = None, **said: str) -> VideoId:
    """A clip that is stored, and taken in."""
    video = store_clip(home, thing, at_s, event, **said)
    media_events.stored(home, clip_key(thing, video), home.clock())
    return video


def add_row(home: StagedHome, thing: ThingName, at_s: float, event: EventId) -> VideoId:
    """A clip that was taken in some time ago: its row and nothing else, for tests that need very many."""
    video = video_id(at_s, event)
    started_at = round(at_s * 1000)
    clip = Clip(
        thing_name=thing,
        video=video,
        media_key=clip_key(thing, video),
        started_at=started_at,
        stored_at=home.clock.now_ms,
        size=5,
        event_id=event,
    )
    assert home.clips.add(clip)
    return video


def add_thumbnail(home: StagedHome, thing: ThingName, video: VideoId) -> MediaKey:
    """A picture of a clip that is stored, and taken in."""
    key = home.media.store(clip_key(thing, f"{video.stem}.jpg"), b"jpeg", "image/jpeg")
    media_events.stored(home, key, home.clock())
    return key


def say(home: StagedHome, thing: ThingName, name: str, **fields: Any) -> device_events.Taken:
    """An event of a camera arrives, stamped now unless it says otherwise."""
    document = {"name": name, "thing_name": str(thing), "timestamp": home.clock(), **fields}
    return device_events.received(home, thing, json.dumps(document).encode(), now_s=home.clock())


def say_motion(home: StagedHome, thing: ThingName, event: EventId, **fields: Any) -> device_events.Taken:
    """Motion begins."""
    return say(home, thing, "motion_start", **{"event_id": event, "score": 4.5, **fields})


def pushed(home: StagedHome, *types: str) -> list[Push]:
    """What consoles of an owner were told, of these types or of all, the oldest first."""
    found: list[Push] = []
    after = None
    while True:
        page = pushes.since(home, home.access(OWNER), None, limit=100, after=after)
        found += page.rows
        after = page.next
        if after is None:
            return [each for each in found if not types or each.type in types]
