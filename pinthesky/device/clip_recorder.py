"""Packets and decisions about motion become clips: the state Buffering or Recording of the camera thread.

Runs in the camera thread alone, so that nothing lies between a decision and the pre-roll. Times are those of the
camera's clock; `CameraTime` turns them into moments.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional

from pinthesky.device.clip_journal import ClipHeader, JournalWriter
from pinthesky.device.internal_events import MotionStarted, RecordingChanged
from pinthesky.device.packet_ring import PacketRing
from pinthesky.device.ports import CameraDescription, Packet
from pinthesky.errors import Unavailable
from pinthesky.model.identifiers import EventId
from pinthesky.model.recording import Moment, Trigger
from pinthesky.model.settings import CameraSettings, MotionSettings

logger = logging.getLogger(__name__)

PART_BYTES_MAX = 240 * 1024 * 1024
"""A stored object is at most 256 MiB; the rest is room for the group of pictures that goes on past the decision."""
_US = 1_000_000
_KEYFRAME_PATIENCE_US = 10 * _US
"""How long a clip that is due to end waits for a keyframe before it ends without one."""
_DRIFT_US_PER_S = 1000


class CameraTime:
    """Maps the camera's clock to the machine's monotonic one by the frames that arrived quickest."""

    def __init__(self) -> None:
        self._offset_us: Optional[float] = None
        self._seen_us = 0

    def note(self, timestamp_us: int, arrived_s: float) -> None:
        """A frame of `timestamp_us` arrived at monotonic second `arrived_s`."""
        offset_us = arrived_s * _US - timestamp_us
        if self._offset_us is None or timestamp_us < self._seen_us:
            self._offset_us = offset_us
        else:
            # The two clocks drift apart: let the minimum creep up, or one lucky frame would rule for ever.
            crept = self._offset_us + _DRIFT_US_PER_S * (timestamp_us - self._seen_us) / _US
            self._offset_us = min(crept, offset_us)
        self._seen_us = timestamp_us

    def monotonic_s(self, timestamp_us: int) -> float:
        """Monotonic second at which the picture of `timestamp_us` was taken."""
        return (timestamp_us + (self._offset_us or 0.0)) / _US


class Capture(NamedTuple):
    """What became of a request to record."""

    event_id: EventId
    joined: bool
    """Whether the clip was being recorded already, and so knows nothing of who asked."""


@dataclass
class _OpenClip:
    event_id: EventId
    trigger: Trigger
    anchor: Optional[Moment]
    """Moment of the event's first picture; all parts are timed from it."""
    anchor_us: int
    ends_us: int
    """Recorded at least until here."""
    part: int = 0
    journal: Optional[JournalWriter] = None
    part_started_us: int = 0
    keyframe_asked: bool = False
    motion: bool = False
    capture_id: Optional[str] = None
    connection: Optional[dict[str, Optional[str]]] = None


class ClipRecorder:
    """Opens, continues, parts and closes clips.

    `moment_at` turns a second of the clock `monotonic` into a Moment; `post` takes internal events; `closed` is
    told when a journal is complete; `still` asks for a thumbnail of the clip whose first part starts at the Moment given.
    """

    def __init__(
        self,
        *,
        create_journal: Callable[[ClipHeader], JournalWriter],
        moment_at: Callable[[float], Moment],
        monotonic: Callable[[], float],
        post: Callable[[object], object],
        closed: Callable[[], None],
        still: Callable[[EventId, Moment], None],
        request_keyframe: Callable[[], bool],
        make_room: Callable[[int], object],
    ) -> None:
        self._create_journal = create_journal
        self._moment_at = moment_at
        self._monotonic = monotonic
        self._post = post
        self._closed = closed
        self._still = still
        self._request_keyframe = request_keyframe
        self._make_room = make_room
        self._camera = CameraSettings()
        self._motion = MotionSettings()
        self._description: Optional[CameraDescription] = None
        self._time = CameraTime()
        self._ring = PacketRing(seconds=0)
        self._clip: Optional[_OpenClip] = None
        self._newest_us = 0
        self._gop_us = 0
        self._keyframe_us: Optional[int] = None
        self._cool_until_us: Optional[int] = None
        self._clip_lacks_disk = False
        self.lost_packets = 0
        """Packets that the disk refused, for the health report."""

    @property
    def recording(self) -> bool:
        """Whether a clip is open."""
        return self._clip is not None

    @property
    def motion_captured(self) -> bool:
        """Whether the open clip holds motion."""
        return self._clip is not None and self._clip.motion

    @property
    def pre_roll_shortfall_s(self) -> float:
        """Seconds by which `buffer_size` cuts the pre-roll."""
        return self._ring.shortfall_s

    def configure(self, camera: CameraSettings, motion: MotionSettings) -> None:
        """Take over settings. No clip may be open."""
        self._camera, self._motion = camera, motion
        kept = self._ring.take()
        self._ring = PacketRing(seconds=camera.buffer, max_bytes=camera.buffer_size)
        for packet in kept:
            self._ring.append(packet)

    def begin(self, description: CameraDescription) -> None:
        """The camera was opened: its clock starts anew."""
        self._description = description
        self._time = CameraTime()
        self._ring.clear()
        self._gop_us = 0
        self._keyframe_us = self._cool_until_us = None

    def packet(self, packet: Packet, arrived_s: float) -> None:
        """The next packet, in order."""
        self._time.note(packet.timestamp_us, arrived_s)
        self._newest_us = packet.timestamp_us
        if packet.is_keyframe:
            if self._keyframe_us is not None:
                self._gop_us = packet.timestamp_us - self._keyframe_us
            self._keyframe_us = packet.timestamp_us
        clip = self._clip
        if clip is None:
            self._ring.append(packet)
            return
        if packet.timestamp_us > clip.ends_us and self._may_end(clip, packet):
            self._close_clip(clip)
            self._ring.append(packet)
            return
        if packet.is_keyframe and self._part_is_due(clip, packet):
            self._close_part(clip)
        self._record(clip, packet)

    def motion_goes_on(self, timestamp_us: int, score: float) -> None:
        """There is motion at `timestamp_us`; opens a clip, or keeps the open one open."""
        clip = self._clip
        if clip is None:
            if self._cool_until_us is not None and timestamp_us < self._cool_until_us:
                return
            clip = self._open(timestamp_us, "motion")
        clip.ends_us = max(clip.ends_us, timestamp_us + self._motion.post_roll * _US)
        clip.keyframe_asked = False
        if not clip.motion:
            clip.motion = True
            self._post(MotionStarted(clip.event_id, self._moment(timestamp_us), score))
            self._write_pre_roll(clip, self._ring.take())
            self._still(clip.event_id, self._start_of(clip))

    def capture(
        self, duration_s: float, capture_id: Optional[str], connection: Optional[dict[str, Optional[str]]]
    ) -> Capture:
        """Record from now for `duration_s` seconds, in the open clip where there is one."""
        clip = self._clip
        joined = clip is not None
        if clip is None:
            clip = self._open(self._newest_us, "manual")
            clip.capture_id, clip.connection = capture_id, connection
            self._write_pre_roll(clip, _last_group(self._ring.take()))
        clip.ends_us = max(clip.ends_us, self._newest_us + int(duration_s * _US))
        clip.keyframe_asked = False
        return Capture(clip.event_id, joined)

    def monotonic_s(self, timestamp_us: int) -> float:
        """The machine's monotonic second at which a picture was taken."""
        return self._time.monotonic_s(timestamp_us)

    def housekeeping(self) -> None:
        """Bring to the disk what is due. Call it several times a second."""
        clip = self._clip
        if clip is None or clip.journal is None:
            return
        try:
            clip.journal.sync_if_due(self._monotonic())
        except Unavailable as error:
            self._disk_refused(clip, error)

    def stand_down(self) -> None:
        """Motion no longer counts: the open motion clip ends at the next keyframe."""
        if self._clip is not None:
            self._clip.ends_us = min(self._clip.ends_us, self._newest_us)

    def end(self) -> None:
        """The camera stops or is lost: close what is open, now. Nothing that was buffered belongs to what comes."""
        if self._clip is not None:
            self._close_clip(self._clip)
        self._ring.clear()

    def _moment(self, timestamp_us: int) -> Moment:
        return self._moment_at(self.monotonic_s(timestamp_us))

    def _start_of(self, clip: _OpenClip) -> Moment:
        return clip.anchor or self._moment(clip.anchor_us)

    def _open(self, timestamp_us: int, trigger: Trigger) -> _OpenClip:
        self._clip = _OpenClip(
            event_id=EventId.new(), trigger=trigger, anchor=None, anchor_us=timestamp_us, ends_us=timestamp_us
        )
        return self._clip

    def _write_pre_roll(self, clip: _OpenClip, packets: list[Packet]) -> None:
        if clip.part:
            return
        for packet in packets:
            self._record(clip, packet)
        self._post(RecordingChanged(True, self._start_of(clip)))

    def _record(self, clip: _OpenClip, packet: Packet) -> None:
        try:
            self._append(clip, packet)
        except Unavailable as error:
            self._make_room(len(packet.data))
            self._retry(clip, packet, error)
        if packet.timestamp_us > clip.ends_us and not clip.keyframe_asked:
            clip.keyframe_asked = True
            self._request_keyframe()

    def _append(self, clip: _OpenClip, packet: Packet) -> None:
        if clip.journal is None:
            if not packet.is_keyframe:
                self.lost_packets += self._clip_lacks_disk
                return
            self._open_part(clip, packet)
        assert clip.journal is not None
        clip.journal.append(packet)
        if self._clip_lacks_disk:
            self._clip_lacks_disk = False
            logger.warning("The disk takes the recording again")

    def _retry(self, clip: _OpenClip, packet: Packet, first: Unavailable) -> None:
        try:
            self._append(clip, packet)
        except Unavailable:
            self.lost_packets += 1
            self._disk_refused(clip, first)

    def _disk_refused(self, clip: _OpenClip, error: Unavailable) -> None:
        # What was written so far is whole. Without the packet that was refused the rest of its group cannot be shown,
        # so the event goes on in a new part at the next keyframe.
        if not self._clip_lacks_disk:
            logger.error("The disk refuses the recording: %s", error)
        self._clip_lacks_disk = True
        self._close_part(clip)
        self._request_keyframe()

    def _open_part(self, clip: _OpenClip, packet: Packet) -> None:
        if clip.anchor is None:
            clip.anchor, clip.anchor_us = self._moment(packet.timestamp_us), packet.timestamp_us
        assert self._description is not None
        part = clip.part + 1
        header = ClipHeader(
            event_id=clip.event_id,
            part=part,
            trigger=clip.trigger,
            start=clip.anchor.later((packet.timestamp_us - clip.anchor_us) / _US),
            width=self._description.width,
            height=self._description.height,
            rotation_left=self._description.rotation_left,
            framerate=self._description.framerate,
            capture_id=clip.capture_id,
            connection=clip.connection,
        )
        clip.journal = self._create_journal(header)
        clip.part = part
        clip.part_started_us = packet.timestamp_us

    def _part_is_due(self, clip: _OpenClip, packet: Packet) -> bool:
        if clip.journal is None:
            return False
        # The next chance to part comes a whole group of pictures later.
        until_us = packet.timestamp_us + self._gop_us - clip.part_started_us
        return until_us > self._motion.max_duration * _US or clip.journal.size_bytes > PART_BYTES_MAX

    def _may_end(self, clip: _OpenClip, packet: Packet) -> bool:
        return packet.is_keyframe or packet.timestamp_us > clip.ends_us + _KEYFRAME_PATIENCE_US

    def _close_part(self, clip: _OpenClip) -> None:
        journal, clip.journal = clip.journal, None
        if journal is None:
            return
        try:
            journal.close()
        except Unavailable as error:
            logger.error("%s", error)
        self._closed()

    def _close_clip(self, clip: _OpenClip) -> None:
        self._close_part(clip)
        self._clip = None
        self._cool_until_us = self._newest_us + self._motion.cool_down * _US
        self._post(RecordingChanged(False, self._moment(self._newest_us)))


def _last_group(packets: list[Packet]) -> list[Packet]:
    """From the last keyframe on."""
    for index in range(len(packets) - 1, -1, -1):
        if packets[index].is_keyframe:
            return packets[index:]
    return []
