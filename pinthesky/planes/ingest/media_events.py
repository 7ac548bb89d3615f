"""Objects that were stored or removed: clips, thumbnails and stills become rows, and rows of what is gone go.

What a store says may come twice, late and in any order, so nothing is believed but the name: the object itself is
looked at, and what is there already is left alone.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.model.identifiers import EventId, FileName, MediaKey, ThingName
from pinthesky.model.labels import LabelTally
from pinthesky.model.recording import TIMESTAMPS_SUFFIX
from pinthesky.planes import alerts
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import camera_news, recognition
from pinthesky.planes.ports import MediaObject
from pinthesky.planes.pushes import post, push
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.clips import SKEW_MS, Clip, VideoId
from pinthesky.planes.records.motion_events import MotionEvent
from pinthesky.planes.records.pushes import Push

logger = logging.getLogger(__name__)

Kind = Literal["clip", "stream", "thumbnail", "timestamps", "still"]
CONVERTED_IMAGES = "_converted_images"
"""Older homes kept thumbnails in `<video prefix>_converted_images/<thing>/<clip name>.jpg`."""
TIMESTAMPS_PATIENCE_S = 600.0
"""For how long a stream waits for the file that says when each of its pictures was taken."""
RECOGNISED_PATIENCE_S = 600.0
"""A clip that ended longer ago is no reason to alert anybody."""
DURATION_MAX_S = 86_400.0
PART_MAX = 100_000

_STEM = r"[0-9]{10}(?:-[0-9a-f]{32})?\.motion"
_NAME = re.compile(rf"(?P<stem>{_STEM})(?P<suffix>\.mp4|\.h264|\.jpg|{re.escape(TIMESTAMPS_SUFFIX)})")
_CONVERTED_NAME = re.compile(rf"(?P<stem>{_STEM})(?:\.h264|\.mp4)?\.jpg")
_KINDS: Mapping[str, Kind] = {
    ".mp4": "clip",
    ".h264": "stream",
    ".jpg": "thumbnail",
    TIMESTAMPS_SUFFIX: "timestamps",
}


class Named(NamedTuple):
    """What a key says: whose object it is, and what. `stem` begins the names of all files of one clip."""

    key: MediaKey
    thing: ThingName
    kind: Kind
    file_name: FileName
    stem: str = ""

    @property
    def video(self) -> VideoId:
        """The clip that it is, or belongs to; a still belongs to none."""
        return VideoId(f"{self.stem}.h264" if self.kind == "stream" else f"{self.stem}.mp4")

    def beside(self, suffix: str) -> MediaKey:
        """The key of another file of the same clip."""
        return MediaKey(f"{self.key.rpartition('/')[0]}/{self.stem}{suffix}")


def name_of(home: Home, key: str) -> Named | None:
    """What an object is by its key; None for probes and whatever else is no recording."""
    for prefix, pattern in (
        (home.video_prefix, _NAME),
        (f"{home.video_prefix}{CONVERTED_IMAGES}", _CONVERTED_NAME),
        (home.image_prefix, None),
    ):
        if not key.startswith(f"{prefix}/"):
            continue
        thing, _, name = key.removeprefix(f"{prefix}/").partition("/")
        try:
            parsed = MediaKey.parse(key), ThingName.parse(thing), FileName.parse(name)
        except InvalidInput:
            return None
        if pattern is None:
            return Named(*parsed[:2], "still", parsed[2])
        found = pattern.fullmatch(name)
        if found is None:
            return None
        kind: Kind = "thumbnail" if pattern is _CONVERTED_NAME else _KINDS[found["suffix"]]
        return Named(*parsed[:2], kind, parsed[2], found["stem"])
    return None


def stored(home: Home, key: str, now_s: float) -> None:
    """Take that an object may have been stored. Raises Unavailable, to be told again."""
    named = name_of(home, key)
    found = None if named is None else home.media.describe(named.key)
    if named is None or found is None:
        logger.debug("%s is no recording, or gone again", key[:200])
        return
    if named.kind == "still":
        _picture_stored(home, named, found, now_s=now_s)
    elif named.kind == "thumbnail":
        _thumbnail_stored(home, named, found, now_s=now_s)
    elif named.kind == "clip":
        _clip_stored(home, named, found, now_s=now_s)
    else:
        _stream_stored(home, named, now_s)


def removed(home: Home, key: str, now_s: float) -> None:
    """Take that an object may have been removed: what is known of it goes. Raises Unavailable, to be told again."""
    named = name_of(home, key)
    if named is None or home.media.describe(named.key) is not None:
        return
    if named.kind in ("still", "thumbnail"):
        _forget_picture(home, named)
    if named.kind in ("still", "timestamps"):
        return
    clip = home.clips.find(named.thing, named.video)
    if clip is None:
        return
    if clip.media_key == named.key:
        forget(home, clip, now_s)
    elif clip.thumbnail_key == named.key:
        _with_thumbnail(home, clip, "")


def forget(home: Home, clip: Clip, now_s: float) -> None:
    """Remove a clip whose media are gone, and what was stored beside it."""
    gone = home.pushes.prepare(deleted_push(clip, now_s), now_s)
    if home.clips.remove(clip.thing_name, clip.video, gone.change) is not None:
        post(home, gone)
        home.media.delete(leftovers(clip))


def deleted_push(clip: Clip, now_s: float) -> Push:
    """What consoles are told of a clip that is no more."""
    return Push(type="clip_deleted", camera=clip.thing_name, time=int(now_s * 1000), video=clip.video)


def leftovers(clip: Clip) -> list[MediaKey]:
    """Everything that may be stored beside a clip, and belongs to it."""
    folder = clip.media_key.rpartition("/")[0]
    beside = [MediaKey(f"{folder}/{clip.video.stem}{suffix}") for suffix in (".jpg", TIMESTAMPS_SUFFIX)]
    return sorted({*beside, *clip.keys()} - {clip.media_key})


def _clip_stored(home: Home, named: Named, found: MediaObject, *, now_s: float) -> None:
    clip = recognition.labelled(home, _clip_of(named, found))
    expiry_s = home.clips.expiry(clip)
    if expiry_s is not None and expiry_s <= now_s:
        return
    if clip.event_id and clip.trigger == "motion":
        event = MotionEvent(
            thing_name=clip.thing_name,
            event_id=EventId(clip.event_id),
            heard_at=int(now_s * 1000),
            clip_at=clip.started_at,
        )
        home.motion_events.recorded(event)
    news = home.pushes.prepare(_stored_push(clip), now_s)
    is_new = home.clips.add(clip, news.change)
    # Looked for only now: whoever stores the thumbnail later finds the clip, whoever did before is found here.
    thumbnail = home.media.describe(named.beside(".jpg"))
    if thumbnail is not None:
        _give_thumbnail(home, clip, thumbnail.key)
    if is_new:
        camera_news.changed(home, clip.thing_name, lambda camera: _moved(camera, clip), now_s=now_s)
        post(home, news)
        _tell_recognised(home, clip, thumbnail, now_s=now_s)
    if thumbnail is not None:
        _recognise(home, named, thumbnail, now_s=now_s)


def _clip_of(named: Named, found: MediaObject) -> Clip:
    """The row of a clip. The metadata is what a device says, so each field is bounded and none is needed."""
    said = found.metadata or {}
    video = named.video
    named_ms = video.epoch_s * 1000
    started_ms = round(_number(said.get("start"), named_ms / 1000) * 1000)
    tally = LabelTally()
    for label in said.get("labels", "")[:2000].split(","):
        name, _, confidence = label.partition("=")
        tally.note(name, _number(confidence, math.nan))  # which no tally takes
    return Clip(
        thing_name=named.thing,
        video=video,
        media_key=named.key,
        started_at=started_ms if abs(started_ms - named_ms) <= SKEW_MS else named_ms,
        stored_at=round(found.stored_at_s * 1000),
        size=found.size,
        duration_seconds=min(DURATION_MAX_S, max(0.0, _number(said.get("duration"), 0.0))),
        trigger="manual" if said.get("trigger") == "manual" else "motion",
        event_id=video.event_id or "",
        part=int(min(PART_MAX, max(1, _number(said.get("part"), 1.0)))),
        labels=tally.labels,
        starred=found.kept,
        recovered=said.get("recovered") == "true",
        time_uncertain=said.get("time-uncertain") == "true",
    )


def _number(text: str | None, otherwise: float) -> float:
    if text is None or re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", text) is None:
        return otherwise
    return float(text)


def _moved(camera: Camera, clip: Clip) -> Camera:
    if clip.trigger != "motion" or (camera.last_motion_at or 0) >= clip.started_at:
        return camera
    return replace(camera, last_motion_at=clip.started_at)


def _stored_push(clip: Clip) -> Push:
    return Push(
        type="clip_stored",
        camera=clip.thing_name,
        time=clip.stored_at,
        video=clip.video,
        event_id=clip.event_id or None,
        started_at=clip.started_at,
        duration_seconds=clip.duration_seconds,
        trigger=clip.trigger,
        part=clip.part,
        labels=clip.labels or None,
    )


def _tell_recognised(home: Home, clip: Clip, thumbnail: MediaObject | None, *, now_s: float) -> None:
    ended_s = clip.started_at / 1000 + clip.duration_seconds
    if clip.trigger != "motion" or not clip.labels or now_s - ended_s > RECOGNISED_PATIENCE_S:
        return
    occasion = alerts.Occasion(
        alert_type="motion",
        thing=clip.thing_name,
        at_s=clip.started_at / 1000,
        title=f"{', '.join(clip.labels)} at {{camera}}",
        link=f"/cameras/{clip.thing_name}?video={clip.video}",
        picture=None if thumbnail is None else thumbnail.key,
        labels=list(clip.labels),
    )
    alerts.tell(home, occasion, now_s)


def _thumbnail_stored(home: Home, named: Named, found: MediaObject, *, now_s: float) -> None:
    video = named.video
    clip = home.clips.find(named.thing, video) or home.clips.find(named.thing, VideoId(f"{video.stem}.h264"))
    is_new = clip is not None and _give_thumbnail(home, clip, named.key)
    is_latest = _show(home, named, video.epoch_s * 1000, now_s=now_s)
    if is_new or is_latest:
        news = Push(
            type="still_captured",
            camera=named.thing,
            time=round(found.stored_at_s * 1000),
            event_id=video.event_id,
            video=video,
            file_name=named.file_name,
        )
        push(home, news, now_s)
    _recognise(home, named, found, now_s=now_s)


def _recognise(home: Home, named: Named, thumbnail: MediaObject, *, now_s: float) -> None:
    """Have a thumbnail looked at, and its clip labelled if it is there; where it is not, it takes the labels itself."""
    if home.labels is None:
        return
    recognition.look(home, home.labels, named.video, thing=named.thing, picture=thumbnail.key, now_s=now_s)
    for video in (named.video, VideoId(f"{named.stem}.h264")):
        befores: list[Clip] = []

        def labelled(clip: Clip, befores: list[Clip] = befores) -> Clip:
            befores.append(clip)
            return recognition.labelled(home, clip)

        try:
            after = home.clips.change(named.thing, video, labelled)
        except NotFound:
            continue
        if after == befores[-1]:
            continue
        push(home, _stored_push(after), now_s)
        if not befores[-1].labels:
            _tell_recognised(home, after, thumbnail, now_s=now_s)


def _picture_stored(home: Home, named: Named, found: MediaObject, *, now_s: float) -> None:
    at_ms = round(found.stored_at_s * 1000)
    if _show(home, named, at_ms, now_s=now_s):
        news = Push(type="still_captured", camera=named.thing, time=at_ms, file_name=named.file_name)
        push(home, news, now_s)


def _show(home: Home, named: Named, at_ms: int, *, now_s: float) -> bool:
    """Make a picture the camera's face if it is the latest; whether that was news."""

    def shown(camera: Camera) -> Camera:
        if (camera.still_at or 0, camera.still_key) >= (at_ms, named.key):
            return camera
        return replace(camera, still_key=str(named.key), still_at=at_ms)

    heard = camera_news.changed(home, named.thing, shown, now_s=now_s)
    return heard is not None and heard.before != heard.after


def _forget_picture(home: Home, named: Named) -> None:
    try:
        home.cameras.change(
            named.thing,
            lambda camera: replace(camera, still_key="", still_at=None) if camera.still_key == named.key else camera,
        )
    except NotFound:
        return


def _give_thumbnail(home: Home, clip: Clip, key: MediaKey) -> bool:
    """Give a clip its thumbnail; one beside it wins over one in the older place. Whether that was news."""
    current = home.clips.find(clip.thing_name, clip.video)
    if current is None or current.thumbnail_key == key:
        return False
    beside = f"{clip.media_key.rpartition('/')[0]}/"
    if current.thumbnail_key.startswith(beside) and not key.startswith(beside):
        return False
    if current.starred:
        home.media.keep(key, kept=True)
    return _with_thumbnail(home, clip, key)


def _with_thumbnail(home: Home, clip: Clip, key: str) -> bool:
    try:
        home.clips.change(clip.thing_name, clip.video, lambda before: replace(before, thumbnail_key=str(key)))
    except NotFound:
        return False
    return True


def _stream_stored(home: Home, named: Named, now_s: float) -> None:
    """Have a clip made of a bare stream once its timestamps are there, or will not come any more."""
    stream = home.media.describe(named.beside(".h264"))
    if stream is None:
        return
    timestamps = home.media.describe(named.beside(TIMESTAMPS_SUFFIX))
    ours = named.video.event_id is not None
    if timestamps is None and ours and now_s - stream.stored_at_s < TIMESTAMPS_PATIENCE_S:
        return
    clip, thumbnail = named.beside(".mp4"), named.beside(".jpg")
    if home.media.describe(clip) is None:
        try:
            home.converter.convert(
                stream.key,
                clip=clip,
                thumbnail=thumbnail,
                timestamps=None if timestamps is None else timestamps.key,
            )
        except InvalidInput as error:
            logger.error("No MP4 can be made of %s, which is kept as it is: %s", stream.key, error.reason)
            _clip_stored(home, named._replace(key=stream.key, kind="stream"), stream, now_s=now_s)
            return
    stored(home, clip, now_s)
    stored(home, thumbnail, now_s)
    if home.clips.find(named.thing, VideoId(clip.rpartition("/")[2])) is not None:
        home.media.delete([stream.key, *([] if timestamps is None else [timestamps.key])])
