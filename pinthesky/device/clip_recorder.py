"""Packets and decisions about motion become clips: the state Buffering or Recording of the camera thread.

Runs in the camera thread alone, so that nothing lies between a decision and the pre-roll. Times are those of the
camera's clock; `CameraTime` turns them into moments.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional

from pinthesky.device.clip_journal import ClipHeader, JournalWriter
from pinthesky.device.clip_parts import PartWriter
from pinthesky.device.internal_events import ClipLost, MotionStarted, RecordingChanged
from pinthesky.device.packet_ring import PacketRing
from pinthesky.device.ports import CameraDescription, Label, Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.identifiers import EventId
from pinthesky.model.recording import Moment, Trigger
from pinthesky.model.settings import CameraSettings, MotionSettings

logger = logging.getLogger(__name__)

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
    motion_until_us: int
    """The end of the post-roll."""
    asked_until_us: int
    """The end of what was asked for."""
    has_motion: bool = False
    keyframe_asked: bool = False
    capture_id: Optional[str] = None
    connection: Optional[dict[str, Optional[str]]] = None

    @property
    def ends_us(self) -> int:
        """Recorded at least until here."""
        return max(self.motion_until_us, self.asked_until_us)


class ClipRecorder:
    """Opens, continues and closes clips.

    A clip ends just before a keyframe, which begins the ring anew, so that a packet is in one clip at most and nothing
    is lost between two clips. `moment_at` turns a second of the clock `monotonic` into a Moment; `post` takes internal
    events; `closed` is told when a journal is complete; `still` asks for a thumbnail of the clip whose first part
    starts at the Moment given.
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
        make_room: Callable[[int], bool],
    ) -> None:
        self._moment_at = moment_at
        self._post = post
        self._still = still
        self._request_keyframe = request_keyframe
        self._parts = PartWriter(
            create_journal=create_journal,
            make_room=make_room,
            monotonic=monotonic,
            closed=closed,
            request_keyframe=request_keyframe,
        )
        self._camera = CameraSettings()
        self._motion = MotionSettings()
        self._description: Optional[CameraDescription] = None
        self._time = CameraTime()
        self._ring = PacketRing(seconds=0)
        self._clip: Optional[_OpenClip] = None
        self._newest_us: Optional[int] = None
        self._cool_until_us: Optional[int] = None

    @property
    def recording(self) -> bool:
        """Whether a clip is open."""
        return self._clip is not None

    @property
    def lost_packets(self) -> int:
        """Packets that the disk refused, for the health report."""
        return self._parts.lost_packets

    @property
    def pre_roll_shortfall_s(self) -> float:
        """Seconds by which `buffer_size` cuts the pre-roll."""
        return self._ring.shortfall_s

    def configure(self, camera: CameraSettings, motion: MotionSettings) -> None:
        """Take over settings. No clip may be open."""
        self._camera, self._motion = camera, motion
        kept = self._ring.take()
        self._ring = PacketRing(seconds=camera.buffer, max_bytes=camera.buffer_size)
        self._put_back(kept)

    def begin(self, description: CameraDescription) -> None:
        """The camera was opened: its clock starts anew."""
        self._description = description
        self._forget()

    def packet(self, packet: Packet, arrived_s: float) -> None:
        """The next packet, in order."""
        if self._newest_us is not None and packet.timestamp_us < self._newest_us:
            logger.warning("The camera's clock went back; recording begins anew")
            self.end()
            self._forget()
        self._time.note(packet.timestamp_us, arrived_s)
        self._newest_us = packet.timestamp_us
        if self._clip is not None and self._is_over(self._clip, packet):
            self._close(self._clip)
        if self._clip is None:
            self._ring.append(packet)
        else:
            self._record(self._clip, packet)

    def motion_goes_on(self, timestamp_us: int, score: float) -> None:
        """There is motion at `timestamp_us`; opens a clip, or keeps the open one open."""
        clip = self._clip
        is_new = clip is None
        if clip is None:
            if self._cool_until_us is not None and timestamp_us < self._cool_until_us:
                return
            clip = self._clip = _OpenClip(EventId.new(), timestamp_us, timestamp_us)
        clip.motion_until_us = max(clip.motion_until_us, timestamp_us + self._motion.post_roll * _US)
        clip.keyframe_asked = False
        if clip.has_motion:
            return
        clip.has_motion = True
        self._post(MotionStarted(clip.event_id, self._moment(timestamp_us), score))
        if is_new:
            self._begin_parts(clip, self._ring.take(), trigger="motion")
            self._opened(clip, timestamp_us)

    def capture(
        self, duration_s: float, capture_id: Optional[str], connection: Optional[dict[str, Optional[str]]]
    ) -> Capture:
        """Record from now for `duration_s` seconds, in the open clip where there is one.

        Raises Unavailable when no picture has come yet, or the disk refuses to begin.
        """
        if self._newest_us is None:
            raise Unavailable("no picture has come yet")
        clip = self._clip
        joined = clip is not None
        if clip is None:
            clip = _OpenClip(
                EventId.new(), self._newest_us, self._newest_us, capture_id=capture_id, connection=connection
            )
            kept = self._ring.take()
            self._begin_parts(clip, _last_group(kept), trigger="manual")
            if kept and not self._parts.is_writing:
                self._put_back(kept)
                raise Unavailable(f"the disk refuses the recording: {self._parts.refusal}")
            self._clip = clip
            self._opened(clip, self._newest_us)
        clip.asked_until_us = max(clip.asked_until_us, self._newest_us + int(duration_s * _US))
        clip.keyframe_asked = False
        return Capture(clip.event_id, joined)

    def labels(self, found: Sequence[Label]) -> None:
        """What was recognised in a picture of now; it belongs to the open clip, and to nothing while there is none."""
        if self._clip is not None:
            self._parts.labels(found)

    def monotonic_s(self, timestamp_us: int) -> float:
        """The machine's monotonic second at which a picture was taken."""
        return self._time.monotonic_s(timestamp_us)

    def housekeeping(self) -> None:
        """Bring to the disk what is due. Call it several times a second."""
        self._parts.sync()

    def stand_down(self) -> None:
        """Motion so far no longer counts: a clip ends at the next keyframe, or when what was asked for is recorded."""
        if self._clip is not None:
            self._clip.motion_until_us = min(self._clip.motion_until_us, self._newest_us or 0)

    def end(self) -> None:
        """The camera stops or is lost: close what is open, now. Nothing that was buffered belongs to what comes."""
        if self._clip is not None:
            self._close(self._clip)
        self._ring.clear()

    def _opened(self, clip: _OpenClip, timestamp_us: int) -> None:
        """Tell of a clip, and have it photographed: once, since its parts share one picture."""
        self._tell_opened(timestamp_us)
        self._still(clip.event_id, self._parts.start or self._moment(timestamp_us))

    def _record(self, clip: _OpenClip, packet: Packet) -> None:
        self._parts.append(packet)
        if packet.timestamp_us > clip.ends_us and not clip.keyframe_asked:
            clip.keyframe_asked = True
            self._request_keyframe()

    def _begin_parts(self, clip: _OpenClip, packets: list[Packet], *, trigger: Trigger) -> None:
        camera = self._description
        if camera is None:
            raise InvariantBroken("a clip begins although no camera was opened")
        header = ClipHeader(
            event_id=clip.event_id,
            trigger=trigger,
            start=self._moment(self._newest_us or 0),
            width=camera.width,
            height=camera.height,
            rotation_left=camera.rotation_left,
            framerate=camera.framerate,
            capture_id=clip.capture_id,
            connection=clip.connection,
        )
        self._parts.begin(header, self._moment, max_s=self._motion.max_duration)
        for packet in packets:
            self._parts.append(packet)

    def _is_over(self, clip: _OpenClip, packet: Packet) -> bool:
        late_us = packet.timestamp_us - clip.ends_us
        return late_us > _KEYFRAME_PATIENCE_US or (packet.is_keyframe and late_us > 0)

    def _close(self, clip: _OpenClip) -> None:
        self._parts.close()
        self._clip = None
        now_us = self._newest_us or 0
        if clip.has_motion:
            self._cool_until_us = now_us + self._motion.cool_down * _US
        self._post(RecordingChanged(False, self._moment(now_us)))
        if not self._parts.parts:
            reason = self._parts.refusal or "no picture came that could be shown"
            self._post(ClipLost(clip.event_id, reason, clip.capture_id, clip.connection))

    def _tell_opened(self, timestamp_us: int) -> None:
        self._post(RecordingChanged(True, self._parts.start or self._moment(timestamp_us)))

    def _forget(self) -> None:
        """What the camera's clock showed so far means nothing for what comes."""
        self._time = CameraTime()
        self._ring.clear()
        self._newest_us = self._cool_until_us = None

    def _put_back(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._ring.append(packet)

    def _moment(self, timestamp_us: int) -> Moment:
        return self._moment_at(self.monotonic_s(timestamp_us))


def _last_group(packets: list[Packet]) -> list[Packet]:
    """From the last keyframe on; the first packet of a ring is one."""
    last = max((index for index, packet in enumerate(packets) if packet.is_keyframe), default=0)
    return packets[last:]
