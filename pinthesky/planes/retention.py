"""What is past its time goes, and rows and objects are brought together again.

A row hides itself at its time. Its media have to go by `sweep`, within a day; `reconcile` looks at everything, once a
day, and mends what lost news, crashes and changed settings have left behind: an object without a row gets one, a row
without an object goes. Lifecycle rules and the like of a store may do the same and are not relied upon.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pinthesky.errors import NotFound, PinTheSkyError
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.model.recording import LATEST_STILL
from pinthesky.planes import camera_removal, clip_removal
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import media_events
from pinthesky.planes.ingest.media_events import Named
from pinthesky.planes.ports import MediaObject
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import DAY_S, SKEW_MS, Clip, VideoId, key_of
from pinthesky.planes.table import LIMIT_MAX, Position

logger = logging.getLogger(__name__)

PAGE = 1000
"""Objects of a page of the store, and most that are removed with one request."""
LOOK_AGAIN_S = 900.0
"""An object that was stored just now may have its news still on the way."""


@dataclass
class Repairs:
    """What a sweep or a reconciliation has done."""

    removed_objects: int = 0
    added_rows: int = 0
    removed_rows: int = 0
    renewed_rows: int = 0
    """Rows whose time was another than the present setting says."""
    mended_pictures: int = 0
    """Thumbnails that a row did not know of, or knew and that were gone."""
    failed: list[ThingName] = field(default_factory=list)
    """Things that could not be looked at."""
    reached: ThingName | None = None
    """The last thing that was looked at, where the time was over before the end: go on behind it."""


class _Stored:
    """One object of a camera, as a list of the store gives it."""

    def __init__(self, named: Named, found: MediaObject) -> None:
        self.named = named
        self.key = found.key
        self.stored_at_s = found.stored_at_s


def sweep(home: Home, now_s: float) -> Repairs:
    """Remove media whose rows have ended, and finish what deleting has left, of cameras too; to be done hourly."""
    repairs = Repairs()
    camera_removal.resume(home)
    for clip in home.clips.marked():
        clip_removal.finish(home, clip)
    for thing in _things(home):
        _guarded(repairs, thing, lambda each: _remove_old(home, each, now_s, repairs=repairs))
    return repairs


def reconcile(
    home: Home, now_s: float, *, after: ThingName | None = None, is_over: Callable[[], bool] = lambda: False
) -> Repairs:
    """Bring rows and objects together, camera by camera; to be done once a day.

    Ends between two cameras when `is_over`: `reached` of the answer is then given as `after` the next time.
    """
    repairs = Repairs(reached=after)
    for thing in _things(home):
        if after is not None and thing <= after:
            continue
        if is_over():
            return repairs
        _guarded(repairs, thing, lambda each: _reconcile_thing(home, each, now_s, repairs=repairs))
        repairs.reached = thing
    repairs.reached = None
    return repairs


def _guarded(repairs: Repairs, thing: ThingName, do: Callable[[ThingName], None]) -> None:
    """One camera that cannot be looked at does not keep the others waiting."""
    try:
        do(thing)
    except PinTheSkyError as error:
        logger.error("What is stored of %s could not be looked at: %s", thing, error)
        repairs.failed.append(thing)


def _things(home: Home) -> list[ThingName]:
    """Everything that may have something stored: cameras, things that ever had a clip, and registered things."""
    found = {*home.clips.cameras(), *(thing for group in home.things.groups() for thing in home.things.in_group(group))}
    after: Position | None = None
    while True:
        page = home.cameras.page(limit=LIMIT_MAX, after=after)
        found.update(camera.thing_name for camera in page.rows)
        after = page.next
        if after is None:
            return sorted(found)


def _objects(home: Home, prefix: str, thing: ThingName) -> Iterator[_Stored]:
    """What is stored of a camera under a prefix, in the order of the keys."""
    token: str | None = None
    while True:
        page = home.media.objects(f"{prefix}/{thing}/", limit=PAGE, token=token)
        for found in page.objects:
            named = media_events.name_of(home, found.key)
            if named is not None:
                yield _Stored(named, found)
        token = page.token
        if token is None:
            return


def _remove_old(home: Home, thing: ThingName, now_s: float, *, repairs: Repairs, every_name: bool = False) -> None:
    """Remove what is past its time and has no row that is still seen.

    Names begin with the time and nothing is stored before it was recorded, so the first name that is young enough ends
    the search; `every_name` looks behind it too, since a camera's clock may have been wrong.
    """
    clips_days, stills_days = home.retention.clips_days, home.retention.stills_days
    old: list[MediaKey] = []
    if clips_days is not None:
        oldest_s = now_s - clips_days * DAY_S
        for prefix in (home.video_prefix, f"{home.video_prefix}{media_events.CONVERTED_IMAGES}"):
            for each in _objects(home, prefix, thing):
                if each.named.video.epoch_s - SKEW_MS / 1000 > oldest_s and not every_name:
                    break
                if each.stored_at_s <= oldest_s and _clip_of(home, each.named) is None and not _is_kept(home, each.key):
                    old.append(each.key)
    if stills_days is not None:
        oldest_s = now_s - stills_days * DAY_S
        old += [
            each.key
            for each in _objects(home, home.image_prefix, thing)
            if each.stored_at_s <= oldest_s and each.named.file_name != LATEST_STILL
        ]
    for start in range(0, len(old), PAGE):
        home.media.delete(old[start : start + PAGE])
    repairs.removed_objects += len(old)


def _is_kept(home: Home, key: MediaKey) -> bool:
    """Whether the store itself knows that an object is starred: its row may be what was lost."""
    found = home.media.describe(key)
    return found is not None and found.kept


def _clip_of(home: Home, named: Named) -> Clip | None:
    """The clip that an object belongs to; of a stream and its thumbnail it may be the stream itself."""
    return next(
        (
            clip
            for suffix in (".mp4", ".h264")
            if (clip := home.clips.find(named.thing, VideoId(named.stem + suffix))) is not None
        ),
        None,
    )


def _reconcile_thing(home: Home, thing: ThingName, now_s: float, *, repairs: Repairs) -> None:
    _remove_old(home, thing, now_s, repairs=repairs, every_name=True)
    _give_rows(home, thing, now_s, repairs=repairs)
    _check_rows(home, thing, now_s, repairs=repairs)
    _check_face(home, thing, now_s)


def _give_rows(home: Home, thing: ThingName, now_s: float, *, repairs: Repairs) -> None:
    """Objects without a row get one, by being told of again."""
    waiting: list[_Stored] = []
    for each in _objects(home, home.video_prefix, thing):
        if each.named.kind in ("clip", "stream") and now_s - each.stored_at_s >= LOOK_AGAIN_S:
            waiting.append(each)
        if len(waiting) == LIMIT_MAX:
            _give_rows_to(home, waiting, now_s, repairs=repairs)
            waiting = []
    _give_rows_to(home, waiting, now_s, repairs=repairs)


def _give_rows_to(home: Home, waiting: list[_Stored], now_s: float, *, repairs: Repairs) -> None:
    if not waiting:
        return
    keys = {each.key: key_of(each.named.thing, each.named.video) for each in waiting}
    known = home.table.get_many(list(dict.fromkeys(keys.values())))
    for each in waiting:
        if keys[each.key] in known:
            continue
        media_events.stored(home, each.key, now_s)
        if _clip_of(home, each.named) is not None:
            logger.info("%s had no row", each.key)
            repairs.added_rows += 1


def _check_rows(home: Home, thing: ThingName, now_s: float, *, repairs: Repairs) -> None:
    """Rows without an object go; the others get the time that the present setting allows them.

    Objects and rows come in the same order, so both are read once, side by side. What seems to be missing is asked for
    by itself before its row goes: it may have been stored after the list was read.
    """
    stored = (each.named.file_name for each in _objects(home, home.video_prefix, thing))
    name = next(stored, None)
    picture = ""
    count = 0
    for record in home.clips.records_of(thing):
        count += 1
        clip = rows.decode(record, Clip)
        file_name = clip.media_key.rpartition("/")[2]
        while name is not None and name < file_name:
            picture = name if name.endswith(".jpg") else picture
            name = next(stored, None)
        if name != file_name and home.media.describe(clip.media_key) is None:
            logger.info("%s had a row and no object", clip.media_key)
            media_events.forget(home, clip, now_s)
            repairs.removed_rows += 1
            continue
        repairs.renewed_rows += home.clips.renew(record)
        # A thumbnail's name comes before its clip's; that of a bare stream does not, and is left alone.
        if clip.video.endswith(".mp4"):
            repairs.mended_pictures += _mend_picture(home, clip, picture == f"{clip.video.stem}.jpg", now_s=now_s)
    if count == 0 and name is None and _is_gone(home, thing):
        home.clips.forget_camera(thing)


def _mend_picture(home: Home, clip: Clip, is_there: bool, *, now_s: float) -> bool:
    """Have a row know of its thumbnail exactly if there is one beside the clip; whether something was wrong."""
    beside = MediaKey(f"{clip.media_key.rpartition('/')[0]}/{clip.video.stem}.jpg")
    if is_there == (clip.thumbnail_key == beside):
        return False
    if is_there:
        media_events.stored(home, beside, now_s)
    else:
        media_events.removed(home, beside, now_s)
    return home.clips.find(clip.thing_name, clip.video) not in (clip, None)


def _check_face(home: Home, thing: ThingName, now_s: float) -> None:
    """A camera whose latest picture is gone has none until the next."""
    with contextlib.suppress(NotFound):
        key = home.cameras.get(thing).still_key
        if key:
            media_events.removed(home, key, now_s)


def _is_gone(home: Home, thing: ThingName) -> bool:
    try:
        home.cameras.get(thing)
    except NotFound:
        return True
    return False
