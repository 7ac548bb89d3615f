"""What is to be seen in the still of an event: asked once, within the month's pictures, and never in a clip's way."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from msgspec.structs import replace

from pinthesky.errors import PinTheSkyError
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.model.labels import LabelTally
from pinthesky.planes.home import Home
from pinthesky.planes.ports import PictureLabels
from pinthesky.planes.records.clips import Clip, VideoId
from pinthesky.planes.records.recognitions import Admission

logger = logging.getLogger(__name__)


def look(
    home: Home, asked: PictureLabels, video: VideoId, *, thing: ThingName, picture: MediaKey, now_s: float
) -> None:
    """Have the still of a clip's event looked at, unless that was done or the month's pictures are used up.

    Raises Unavailable where the records cannot be reached. Whatever happens to the asking itself is logged.
    """
    most = home.labels_per_month
    admission = home.recognitions.admit(thing, video, picture, most=most, now_s=now_s)
    if admission is Admission.FIRST_REFUSAL:
        logger.warning("The %d pictures of this month are used up: clips get no labels until the next begins", most)
    if admission is not Admission.YES:
        return
    try:
        labels = asked.of(picture)
    except PinTheSkyError as error:
        logger.error("%s was not looked at, and its clip gets no labels of it: %s", picture, error)
        return
    home.recognitions.note(thing, video, picture, labels=labels, now_s=now_s)


def labelled(home: Home, clip: Clip) -> Clip:
    """The clip with what was recognised in its event's still, beside what its camera has seen itself."""
    if home.labels is None:
        return clip
    found = home.recognitions.labels_of(clip.thing_name, clip.video)
    return replace(clip, labels=_merged(clip.labels, found))


def _merged(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    tally = LabelTally()
    for name, confidence in [*first.items(), *second.items()]:
        tally.note(name, confidence)
    return tally.labels
