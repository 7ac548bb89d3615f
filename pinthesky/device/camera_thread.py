"""The camera thread: sole owner of the camera, which it opens, watches, records, and heals.

States: Idle (closed on purpose, or being reopened after a fault), Buffering, Recording. Other threads reach the camera
through `submit` and what is built on it; there is no lock around the camera or its settings.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, NamedTuple, Optional

from pinthesky.device.camera_inbox import Arrived, CameraInbox, Request
from pinthesky.device.clip_recorder import Capture, ClipRecorder
from pinthesky.device.internal_events import CameraFaulted, CameraOpened, FootageFinished, SettingsRefused
from pinthesky.device.motion import LumaMotion, MotionGate, MotionScore
from pinthesky.device.motion_vectors import MACROBLOCK, VectorMotion
from pinthesky.device.ports import (
    DEFAULT_PICTURE,
    Camera,
    CameraDescription,
    CameraLost,
    Frame,
    Labels,
    LumaFrame,
    MotionVectors,
    Packet,
    SubstreamSink,
)
from pinthesky.errors import InvalidInput, PinTheSkyError, Unavailable
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.settings import CameraSettings, MotionSettings, PictureSettings

logger = logging.getLogger(__name__)

STALL_S = 5.0
"""Without a packet for this long, the camera is taken for dead."""
FIRST_PACKET_S = 12.0
"""The same for a camera just opened: one that cannot be asked for a keyframe sends it when its GOP ends. Less than what
the watchdog allows."""
FIRST_PICTURE_WAIT_S = 5.0
"""A still or a capture that is asked for while the camera is being opened waits for its first picture for so long. A
person waits for the answer: a camera that takes longer to open, and one that is dead, are no reason to wait longer."""
WAITING_MAX = 16
"""Requests that wait for it at a time; a further one is answered at once."""
SETTINGS_PATIENCE_S = 60.0
"""Settings that wait for so long end the clip: motion without end must not keep them from being taken over."""
CLOSE_TIMEOUT_S = 5.0
FAILURES_MAX = 20
"""Attempts in a row to get pictures after which a new process is the better chance."""
_BACK_OFF_FIRST_S = 0.5
_BACK_OFF_LAST_S = 30.0
_SOUND_AFTER_S = 30.0
"""A camera that delivered for this long is sound again: the back-off starts anew at its next fault."""
_LONGEST_WAIT_S = 0.25
_GATE_HOLD_S = 1.0
_US = 1_000_000


class CameraGaveUp(PinTheSkyError):
    """The camera cannot be brought back by this process."""


class Duty(NamedTuple):
    """What the camera is there for at present."""

    camera_open: bool = True
    record_motion: bool = True


class _Settings(NamedTuple):
    """What the camera runs with."""

    camera: CameraSettings
    motion: MotionSettings
    picture: PictureSettings


class CameraThread(PermanentThread):
    """Runs one camera. `post` takes internal events; `recorder` is used in this thread only."""

    def __init__(
        self,
        camera: Camera,
        recorder: ClipRecorder,
        *,
        settings: tuple[CameraSettings, MotionSettings],
        duty: Duty,
        monotonic: Callable[[], float],
        post: Callable[[object], object],
        on_crash: Crash,
        on_motion: Callable[[bool, float], None],
        picture: PictureSettings = DEFAULT_PICTURE,
        installed: Optional[tuple[CameraSettings, MotionSettings, PictureSettings]] = None,
        random_source: Optional[random.Random] = None,
    ) -> None:
        """`installed` are the settings to go back to, section by section, when the camera refuses `settings`."""
        super().__init__("camera", on_crash)
        self._camera = camera
        self._recorder = recorder
        self._settings = _Settings(*settings, picture)
        self._installed = _Settings(*(installed or self._settings))
        self._duty = duty
        self._monotonic = monotonic
        self._post = post
        self._on_motion = on_motion
        self._random = random_source or random.SystemRandom()
        self._inbox = CameraInbox(monotonic)
        self._pending: Optional[_Pending] = None
        self._waiting: deque[Request] = deque()
        self._still: Optional[Future[bytes]] = None
        self._description: Optional[CameraDescription] = None
        self._judge: Callable[[Any, float], MotionScore] = VectorMotion(MACROBLOCK, MACROBLOCK).update
        self._gate = MotionGate(hold_s=_GATE_HOLD_S)
        self._opened_s = 0.0
        self._opened_once = False
        self._failures = 0
        self._fault: Optional[str] = None
        self._fault_is_told = False
        self._is_announced = False
        self._retry_at_s = 0.0
        self._finished = False
        recorder.configure(*settings)

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Have `work` done in this thread, which owns the camera and the recorder."""
        return self._inbox.request(work)

    def still(self, timeout_s: float) -> Future[bytes]:
        """A JPEG of now, or of the first picture; see `capture` for what it waits for. Call it from one thread.

        Whoever asks while one is due gets the same, of which the camera may take `timeout_s`: stills hold the recording
        up.
        """
        if self._still is None or self._still.done():
            self._still = self._submit_for_picture(lambda: self.still_now(timeout_s))
        return self._still

    def still_now(self, timeout_s: float) -> bytes:
        """`still` for callers in this thread, without the wait. Raises Unavailable."""
        self._need_picture()
        return self._camera.still(timeout_s)

    def capture(
        self, duration_s: float, capture_id: Optional[str], connection: Optional[dict[str, Optional[str]]]
    ) -> Future[Capture]:
        """Record for `duration_s` from now, or from the first picture of a camera that is being opened.

        Fails with Unavailable when none has come within FIRST_PICTURE_WAIT_S, and at once while the camera is closed on
        purpose.
        """

        def work() -> Capture:
            self._need_picture()
            return self._recorder.capture(duration_s, capture_id, connection)

        return self._submit_for_picture(work)

    def start_substream(self, sink: SubstreamSink, *, bitrate: int) -> Future[None]:
        """Have the camera's second stream handed to `sink`; see `Camera.start_substream`.

        Whoever has it hears of its end as SubstreamLost, from a reopening for new settings too, and may ask again.
        """

        def work() -> None:
            if self._description is None:
                raise Unavailable(self._fault or "the camera is closed")
            self._camera.start_substream(sink, bitrate=bitrate)

        return self.submit(work)

    def stop_substream(self) -> Future[None]:
        """End the second stream; see `Camera.stop_substream`."""
        return self.submit(self._camera.stop_substream)

    def take_up(self, duty: Duty) -> Future[None]:
        """Change what the camera is there for."""
        return self.submit(lambda: self._take_up(duty))

    def reconfigure(
        self, camera: CameraSettings, motion: MotionSettings, picture: PictureSettings = DEFAULT_PICTURE
    ) -> Future[None]:
        """Take over settings as soon as no clip is open, at the latest after SETTINGS_PATIENCE_S of motion.

        The future ends when the camera runs with them, or will when it is opened; with InvalidInput when the camera
        refuses them, and the old ones hold on; it is cancelled when a later call supersedes this one, or at the stop.
        """
        outcome: Future[None] = Future()

        def work() -> None:
            if self._pending is not None:
                self._pending.outcome.cancel()
            self._pending = _Pending(_Settings(camera, motion, picture), outcome, self._monotonic())

        def submitted(request: Future[None]) -> None:
            if request.exception() is not None:
                outcome.cancel()

        self.submit(work).add_done_callback(submitted)
        return outcome

    @property
    def frame_age_s(self) -> Optional[float]:
        """Seconds since the last packet; None while none is due (closed, being reopened, a slow camera's start)."""
        if self._description is None or self._patience_s > FIRST_PACKET_S:
            return None
        return self._monotonic() - self._alive_s

    @property
    def description(self) -> Optional[CameraDescription]:
        """What the open camera gives."""
        return self._description

    @property
    def recorder(self) -> ClipRecorder:
        """For reading its figures."""
        return self._recorder

    @property
    def fault(self) -> Optional[str]:
        """Why there are no pictures, while there should be."""
        return self._fault

    def wake(self) -> None:
        """Make a waiting step return."""
        self._inbox.wake()

    def step(self) -> None:
        """Serve one frame or request, and see to the camera."""
        item = self._inbox.get(_LONGEST_WAIT_S)
        if isinstance(item, Arrived):
            self._take(item.frame, item.at_s)
        elif item is not None:
            self._take_request(item)
        self._supervise()
        for _ in range(len(self._waiting)):
            self._take_request(self._waiting.popleft())

    def finish(self) -> None:
        """Close the camera and the open clip, which gets what the camera has delivered until now."""
        self._camera.close(CLOSE_TIMEOUT_S)
        for packet, arrived_s in self._inbox.take_packets():
            self._recorder.packet(packet, arrived_s)
        self._recorder.end()
        self._description = None

    def left(self) -> None:
        """See `PermanentThread.left`."""
        stopped = Unavailable("the camera has stopped")
        self._inbox.refuse_requests(stopped)
        while self._waiting:
            self._waiting.popleft().refuse(stopped)
        if self._pending is not None:
            self._pending.outcome.cancel()

    def _submit_for_picture(self, work: Callable[[], Any]) -> Future[Any]:
        return self._inbox.request(work, picture_by_s=self._monotonic() + FIRST_PICTURE_WAIT_S)

    def _need_picture(self) -> None:
        """Raise Unavailable, with the reason, unless the open camera has given a picture."""
        if not self._gives_pictures:
            closed = self._description is None
            raise Unavailable(self._fault or ("the camera is closed" if closed else "no picture has come yet"))

    @property
    def _gives_pictures(self) -> bool:
        return self._description is not None and self._is_announced

    def _take_request(self, request: Request) -> None:
        """Serve it, unless it has to wait. One that waits no longer and has no picture is refused by its own work."""
        if self._must_wait(request) and len(self._waiting) < WAITING_MAX:
            self._waiting.append(request)
        else:
            _serve(request)

    def _must_wait(self, request: Request) -> bool:
        if request.picture_by_s is None or self._gives_pictures or not self._is_wanted:
            return False
        return self._monotonic() < request.picture_by_s

    @property
    def _is_wanted(self) -> bool:
        """Whether the camera is to be open."""
        return self._duty.camera_open and not self._finished

    @property
    def _patience_s(self) -> float:
        """Seconds without a packet after which the open camera is taken for dead."""
        if self._inbox.packet_arrived_s is not None:
            return STALL_S
        slow_s = None if self._description is None else self._description.first_packet_s
        return FIRST_PACKET_S if slow_s is None else slow_s

    @property
    def _alive_s(self) -> float:
        """Monotonic second at which the open camera last gave a sign of life."""
        return max(self._opened_s, self._inbox.packet_arrived_s or 0.0)

    def _take(self, frame: Frame, arrived_s: float) -> None:
        if self._description is None:
            return
        if isinstance(frame, Packet):
            self._fault = None
            if not self._is_announced:
                self._post(CameraOpened(self._description, after_fault=self._fault_is_told))
                self._is_announced, self._fault_is_told = True, False
            self._recorder.packet(frame, arrived_s)
        elif isinstance(frame, LumaFrame):
            self._judge_scene(frame.luma, frame.timestamp_us)
        elif isinstance(frame, MotionVectors):
            self._judge_scene(frame.vectors, frame.timestamp_us)
        elif isinstance(frame, Labels):
            self._recorder.labels(frame.labels)
        elif isinstance(frame, CameraLost):
            self._lose(frame.reason)
        else:
            self._recorder.end()
            self._close()
            self._finished = True
            self._post(FootageFinished())

    def _judge_scene(self, scene: Any, timestamp_us: int) -> None:
        timestamp_s = timestamp_us / _US
        try:
            judged = self._judge(scene, timestamp_s)
        except InvalidInput as error:
            self._lose(f"its pictures cannot be judged: {error}")
            return
        self._gate.update(judged.in_motion, timestamp_s)
        moving = judged.in_motion and self._gate.in_motion
        self._on_motion(moving, self._recorder.monotonic_s(timestamp_us))
        if moving and self._duty.record_motion and not self._settings_are_overdue():
            self._recorder.motion_goes_on(timestamp_us, judged.score)

    def _supervise(self) -> None:
        now_s = self._monotonic()
        self._recorder.housekeeping()
        if self._settings_are_overdue():
            self._recorder.stand_down()
        if self._pending is not None and not self._recorder.recording:
            self._apply(self._pending)
        if self._failures and self._description is not None and now_s - self._opened_s > _SOUND_AFTER_S:
            self._failures = 0
        if self._description is not None and now_s - self._alive_s > self._patience_s:
            self._lose(f"no picture for {self._patience_s:.0f} s")
        elif self._is_wanted and self._description is None and now_s >= self._retry_at_s:
            self._try_open()

    def _take_up(self, duty: Duty) -> None:
        before, self._duty = self._duty, duty
        if before.record_motion and not duty.record_motion:
            self._recorder.stand_down()
        if not duty.camera_open:
            self._recorder.end()
            self._close()
            self._failures, self._fault = 0, None
        self._retry_at_s = 0.0

    def _settings_are_overdue(self) -> bool:
        return self._pending is not None and self._monotonic() - self._pending.since_s > SETTINGS_PATIENCE_S

    def _apply(self, pending: _Pending) -> None:
        self._pending = None
        if not pending.outcome.set_running_or_notify_cancel():
            return
        before, settings = self._settings, pending.settings
        if settings == before:
            pending.outcome.set_result(None)
            return
        self._settings = settings
        self._retry_at_s = min(self._retry_at_s, self._monotonic())
        reopen = self._description is not None and _picture(before) != _picture(settings)
        if reopen:
            self._close()
        self._recorder.configure(settings.camera, settings.motion)
        try:
            if reopen:
                self._open()
            else:
                self._make_judge()
        except InvalidInput as error:
            self._settings = before
            self._recorder.configure(before.camera, before.motion)
            pending.outcome.set_exception(error)
            return
        except Unavailable as error:
            # The settings are not at fault: the camera is away, and will be opened with them when it is back.
            self._failed(str(error))
        pending.outcome.set_result(None)

    def _try_open(self) -> None:
        try:
            self._open()
        except Unavailable as error:
            self._failed(str(error))
        except InvalidInput as error:
            section = error.field.partition(".")[0]
            if error.field == "motion.privacy_masks":
                # What must not be seen is not recorded: whoever drew the masks reads the fault.
                self._failed(str(error))
            elif section in _Settings._fields and getattr(self._settings, section) != getattr(self._installed, section):
                self._go_back(section, error)
            elif not self._opened_once:
                raise CameraGaveUp(str(error)) from error
            else:
                self._failed(str(error))

    def _go_back(self, section: str, refusal: InvalidInput) -> None:
        """Give up a section that was taken over for another camera, or unseen while this one was closed.

        A camera with the installation's settings beats none; the next attempt follows at once.
        """
        logger.warning("The camera refuses a setting and goes back to the installation's: %s", refusal)
        self._settings = self._settings._replace(**{section: getattr(self._installed, section)})
        self._recorder.configure(self._settings.camera, self._settings.motion)
        self._post(SettingsRefused(refusal.field, refusal.reason))

    def _open(self) -> None:
        camera, motion, picture = self._settings
        try:
            description = self._camera.open(camera, motion.privacy_masks, picture=picture)
            self._recorder.begin(description)
            self._description = description
            self._make_judge()
            self._camera.start(self._inbox.new_sink())
        except PinTheSkyError:
            self._close()
            raise
        self._opened_s = self._monotonic()
        self._opened_once = True
        self._is_announced = False

    def _lose(self, reason: str) -> None:
        self._recorder.end()
        self._close()
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            raise CameraGaveUp(f"the camera was lost {self._failures} times in a row: {reason}")
        wait_s = min(_BACK_OFF_LAST_S, _BACK_OFF_FIRST_S * 2 ** (self._failures - 1))
        self._retry_at_s = self._monotonic() + wait_s * self._random.uniform(0.75, 1.0)
        self._fault = reason
        if not self._fault_is_told:
            self._fault_is_told = True
            self._post(CameraFaulted(reason))

    def _close(self) -> None:
        self._description = None
        closed = self._camera.close(CLOSE_TIMEOUT_S)
        self._inbox.forget_frames()
        if not closed:
            raise CameraGaveUp("the camera does not close")

    def _make_judge(self) -> None:
        camera, motion, _ = self._settings
        self._gate = MotionGate(min_duration_s=motion.min_duration, hold_s=_GATE_HOLD_S)
        description = self._description
        if description is None:
            return
        places: Any = {"zones": motion.zones, "masks": [*motion.masks, *motion.privacy_masks]}
        if description.luma_size is not None:
            width, height = description.luma_size
            self._judge = LumaMotion(width, height, sensitivity=camera.sensitivity, **places).update
        else:
            self._judge = VectorMotion(
                description.width,
                description.height,
                sensitivity=camera.sensitivity,
                rotation_left=description.rotation_left,
                **places,
            ).update


class _Pending(NamedTuple):
    """Settings that wait for the open clip to end."""

    settings: _Settings
    outcome: Future[None]
    since_s: float


def _serve(request: Request) -> None:
    if not request.future.set_running_or_notify_cancel():
        return
    try:
        result = request.work()
    except PinTheSkyError as error:
        request.future.set_exception(error)
        if isinstance(error, CameraGaveUp):
            raise
    else:
        request.future.set_result(result)


def _picture(settings: _Settings) -> tuple[object, ...]:
    """What the camera itself must be reopened for."""
    camera, motion, picture = settings
    return (
        camera.rotation,
        camera.resolution,
        camera.framerate,
        camera.encoding_bitrate,
        camera.encoding_profile,
        camera.encoding_level,
        motion.privacy_masks,
        picture,
    )
