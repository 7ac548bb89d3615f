"""A clip that is deleted is gone from every list at once; then its media go, and then nothing is left of it.

A mark stands in between. If the store cannot be reached, the mark waits for the next sweep.
"""

from __future__ import annotations

import logging

from pinthesky.errors import NotFound, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.home import Home
from pinthesky.planes.ingest.media_events import deleted_push, leftovers
from pinthesky.planes.pushes import post
from pinthesky.planes.records.clips import Clip, VideoId

logger = logging.getLogger(__name__)


def delete_clip(home: Home, thing: ThingName, video: VideoId, *, now_s: float) -> None:
    """Delete a clip. Raises NotFound, Unavailable (nothing has changed)."""
    clip = home.clips.get(thing, video)
    gone = home.pushes.prepare(deleted_push(clip, now_s), now_s)
    marked = home.clips.mark_removed(thing, video, gone.change)
    if marked is None:
        raise NotFound(f"{thing} has no clip {video}")
    post(home, gone)
    finish(home, marked)


def finish(home: Home, clip: Clip) -> bool:
    """Remove the media of a marked clip, and the mark; False where the store cannot be reached now."""
    try:
        home.media.delete([clip.media_key, *leftovers(clip)])
        home.clips.unmark(clip)
    except Unavailable as error:
        logger.warning("The media of %s %s will be removed later: %s", clip.thing_name, clip.video, error)
        return False
    return True
