"""The open clip's way to the disk: one journal after the other, each beginning on a keyframe.

A clip becomes several parts when it lasts too long, grows too large, or when the disk refuses it for a while.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Callable, Optional

import msgspec

from pinthesky.device.clip_journal import ClipHeader, JournalWriter
from pinthesky.device.ports import Label, Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.labels import LabelTally
from pinthesky.model.recording import Moment

logger = logging.getLogger(__name__)

PART_BYTES_MAX = 240 * 1024 * 1024
"""A stored object is at most 256 MiB; the rest is room for groups of pictures that grow."""
_US = 1_000_000
_KEYS_APART_US = 1_001_000
"""Keys hold whole seconds, so the times in them are a second apart, and a little for the rounding of fractions."""


class PartWriter:
    """Writes one clip at a time. Belongs to the camera thread; never raises for a disk that refuses.

    What was written stays whole then. Without the packet that was refused the rest of its group of pictures cannot be
    shown, so the clip goes on in a new part at the next keyframe for which there is room. What falls in between is
    counted in `lost_packets`. Parts may begin within one second of each other then; their keys do not.
    """

    def __init__(
        self,
        *,
        create_journal: Callable[[ClipHeader], JournalWriter],
        make_room: Callable[[int], bool],
        monotonic: Callable[[], float],
        closed: Callable[[], None],
        request_keyframe: Callable[[], bool],
    ) -> None:
        """`make_room` says whether so many bytes may come; `closed` is told of every journal that is complete."""
        self.lost_packets = 0
        self.refusal: Optional[str] = None
        """Why the disk takes nothing at present."""
        self.start: Optional[Moment] = None
        """When the first packet of the clip was taken; None until there is one."""
        self.parts = 0
        """How many the clip has so far."""
        self._create_journal = create_journal
        self._make_room = make_room
        self._monotonic = monotonic
        self._closed = closed
        self._request_keyframe = request_keyframe
        self._header: Optional[ClipHeader] = None
        self._moment_of: Optional[Callable[[int], Moment]] = None
        self._max_us = 0
        self._start_us = 0
        self._journal: Optional[JournalWriter] = None
        self._tally = LabelTally()
        self._part_us = self._key_us = self._keyframe_us = self._keyframe_at = 0

    def begin(self, header: ClipHeader, moment_of: Callable[[int], Moment], *, max_s: float) -> None:
        """Begin a clip with parts of about `max_s` seconds at most. `start` and `part` of `header` are set here.

        `moment_of` gives the moment of a camera's timestamp; it is asked once, and all parts are timed from there.
        """
        self._header, self._moment_of, self._max_us = header, moment_of, int(max_s * _US)
        self.start = None
        self.parts = 0

    @property
    def is_writing(self) -> bool:
        """Whether a part is open."""
        return self._journal is not None

    def append(self, packet: Packet) -> None:
        """The clip's next packet. What comes before its first keyframe is left out."""
        if packet.is_keyframe and self._part_is_full(packet):
            self._close_part()
        try:
            self._write(packet)
        except Unavailable as error:
            self._write_again(packet, error)

    def labels(self, found: Sequence[Label]) -> None:
        """What is recognised in the pictures now. Each part has its own; while the disk refuses they are forgotten."""
        if self._journal is None:
            return
        # All of them are asked: `any` would stop at the first that is news.
        news = [self._tally.note(label.name, label.confidence) for label in found]
        if any(news):
            with contextlib.suppress(Unavailable):
                self._journal.append_labels(self._tally.labels)

    def sync(self) -> None:
        """Bring to the disk what is due, and hold the disk's bounds. Call it several times a second."""
        if self._journal is None:
            return
        try:
            has_room = not self._journal.sync_if_due(self._monotonic()) or self._make_room(0)
        except Unavailable as error:
            self._refused(str(error))
        else:
            if not has_room:
                self._refused("there is no room for more")

    def close(self) -> None:
        """The clip is complete."""
        self._close_part()
        self._header = None

    def _part_is_full(self, keyframe: Packet) -> bool:
        if self._journal is None:
            return False
        # The next chance to part comes a whole group of pictures later.
        until_us = 2 * keyframe.timestamp_us - self._keyframe_us - self._part_us
        until_bytes = 2 * self._journal.size_bytes - self._keyframe_at
        return until_us > self._max_us or until_bytes > PART_BYTES_MAX

    def _write(self, packet: Packet) -> None:
        if self._journal is None:
            if not packet.is_keyframe:
                self.lost_packets += 0 if self.refusal is None else 1
                return
            self._journal = self._open_part(packet.timestamp_us)
        size = self._journal.size_bytes
        self._journal.append(packet)
        if packet.is_keyframe:
            self._keyframe_us, self._keyframe_at = packet.timestamp_us, size
        if self.refusal is not None:
            self.refusal = None
            logger.warning("The disk takes the recording again; %d pictures were lost so far", self.lost_packets)

    def _write_again(self, packet: Packet, first: Unavailable) -> None:
        try:
            self._make_room(len(packet.data))
            self._write(packet)
        except Unavailable:
            self.lost_packets += 1
            self._refused(str(first))

    def _refused(self, reason: str) -> None:
        is_news = self._note(reason)
        self._close_part()
        if is_news:
            # Only now: asked for at every refusal, every picture would become a keyframe.
            self._request_keyframe()

    def _open_part(self, timestamp_us: int) -> JournalWriter:
        if self._header is None or self._moment_of is None:
            raise InvariantBroken("a packet came although no clip was begun")
        if self.start is None:
            self.start, self._start_us = self._moment_of(timestamp_us), timestamp_us
        start = self.start.later((timestamp_us - self._start_us) / _US)
        key_us = timestamp_us if self.parts == 0 else max(timestamp_us, self._key_us + _KEYS_APART_US)
        delay_s = (key_us - timestamp_us) / _US
        journal = self._create_journal(
            msgspec.structs.replace(self._header, start=start, part=self.parts + 1, key_delay_s=delay_s)
        )
        self.parts += 1
        self._tally = LabelTally()
        self._part_us, self._key_us = timestamp_us, key_us
        return journal

    def _close_part(self) -> None:
        journal, self._journal = self._journal, None
        if journal is None:
            return
        try:
            journal.close()
        except Unavailable as error:
            self._note(str(error))
        self._closed()

    def _note(self, reason: str) -> bool:
        """Remember that the disk refuses; True when it did not before."""
        is_news = self.refusal is None
        if is_news:
            logger.error("The disk refuses the recording: %s", reason)
        self.refusal = reason
        return is_news
