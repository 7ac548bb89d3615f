"""Removing a camera for good. What has to be done is written down first, so nothing is left half done for ever.

The camera is gone for everybody with the first write. Its thing, certificates, shadow and memberships follow at once;
of its clips, stills and reports as many as one request can bear, and `resume`, which every sweep calls, removes the
rest. Only what was there before goes: the name may have been given to a new camera meanwhile.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, NotFound, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.cameras import key_of
from pinthesky.planes.records.clips import Clip, every_record
from pinthesky.planes.table import Condition, Delete, Key, Put, Record

if TYPE_CHECKING:
    from pinthesky.planes.home import Home

logger = logging.getLogger(__name__)

PARTITION = "removal"
AT_ONCE = 1000
"""Most clips, and most stills, that one call removes."""


class Removal(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is still to be done for a camera that was removed."""

    thing_name: ThingName
    removed_at: int
    """Epoch milliseconds."""
    with_media: bool
    detached: bool = False
    """Whether thing, shadow and memberships are gone."""


def remove(home: Home, thing: ThingName, *, with_media: bool, now_s: float) -> None:
    """Remove a camera, and with it what was recorded if that is wanted. Raises NotFound."""
    removal = Removal(thing_name=thing, removed_at=round(now_s * 1000), with_media=with_media)
    try:
        home.table.write(Delete(key_of(thing), Condition.PRESENT), Put(_record(removal)))
    except Conflict as error:
        raise NotFound(f"there is no camera {thing}") from error
    _carry_on(home, removal)


def resume(home: Home) -> int:
    """Go on with every removal that is not done; returns how many are not done yet."""
    waiting = 0
    for record in every_record(home.table.query, PARTITION):
        removal = rows.decode(record, Removal)
        try:
            waiting += not _carry_on(home, removal)
        except Unavailable as error:
            logger.warning("camera %s is not wholly removed yet: %s", removal.thing_name, error)
            waiting += 1
    return waiting


def _carry_on(home: Home, removal: Removal) -> bool:
    """Do as much as one call can bear; whether all is done."""
    thing = removal.thing_name
    if not removal.detached:
        home.things.remove(thing)
        # What the camera said after the first write, while it still was a thing, may have had it adopted again.
        home.cameras.remove(thing)
        home.shadows.delete(thing)
        home.groups.forget_camera(thing)
        home.stream_tokens.forget_camera(thing)
        removal = replace(removal, detached=True)
        home.table.write(Put(_record(removal)))
    done = [home.health.forget_camera(thing, removal.removed_at)]
    if removal.with_media:
        done += [_remove_clips(home, removal), _remove_stills(home, removal)]
    if all(done):
        home.table.write(Delete(_record(removal).key))
    return all(done)


def _remove_clips(home: Home, removal: Removal) -> bool:
    """Take clips out of every list; their media follow as those of any deleted clip."""
    clips = (rows.decode(record, Clip) for record in home.clips.records_of(removal.thing_name))
    old = [clip for clip in itertools.islice(clips, AT_ONCE) if clip.stored_at <= removal.removed_at]
    for clip in old:
        home.clips.mark_removed(clip.thing_name, clip.video)
    return len(old) < AT_ONCE


def _remove_stills(home: Home, removal: Removal) -> bool:
    prefix, token, removed = f"{home.image_prefix}/{removal.thing_name}/", None, 0
    while removed < AT_ONCE:
        page = home.media.objects(prefix, limit=AT_ONCE, token=token)
        old = [each.key for each in page.objects if each.stored_at_s * 1000 <= removal.removed_at]
        if old:
            home.media.delete(old)
        removed += len(old)
        token = page.token
        if token is None:
            return True
    return False


def _record(removal: Removal) -> Record:
    return Record(Key(PARTITION, str(removal.thing_name)), rows.encode(removal))
