"""A camera thread on a stepped camera and a disk in memory, driven step by step by the test."""

from __future__ import annotations

import random
from concurrent.futures import Future
from typing import Any, Optional

from pinthesky.device.camera_thread import CameraThread, Duty
from pinthesky.device.clip_recorder import ClipRecorder
from pinthesky.device.fakes import FakeClock
from pinthesky.device.ports import DEFAULT_PICTURE
from pinthesky.model.recording import Moment
from pinthesky.model.settings import CameraSettings, MotionSettings, PictureSettings
from tests.support.recording_disk import RecordingDisk
from tests.support.stepped_camera import SteppedCamera

CAMERA = CameraSettings(buffer=2)
MOTION = MotionSettings(post_roll=2)


class CameraStage:
    """A camera thread, what it does, and what it posts."""

    def __init__(
        self,
        *,
        duty: Duty = Duty(),  # noqa: B008 - immutable
        camera: CameraSettings = CAMERA,
        motion: MotionSettings = MOTION,
        picture: PictureSettings = DEFAULT_PICTURE,
        installed: Optional[tuple[CameraSettings, MotionSettings, PictureSettings]] = None,
        luma_size: Optional[tuple[int, int]] = None,
        open_it: bool = True,
    ) -> None:
        self.clock = FakeClock()
        self.camera = SteppedCamera(self.clock, luma_size=luma_size)
        self.disk = RecordingDisk()
        self.posted: list[Any] = []
        self.crashes: list[BaseException] = []
        self.motion_told: list[bool] = []
        self.stills: list[Any] = []
        recorder = ClipRecorder(
            create_journal=self.disk.create,
            moment_at=lambda monotonic_s: Moment(boot_id="boot", monotonic_s=monotonic_s),
            monotonic=self.clock.monotonic,
            post=self.posted.append,
            closed=self.disk.note_closed,
            still=lambda *what: self.stills.append(what),
            request_keyframe=self.camera.request_keyframe,
            make_room=self.disk.make_room,
        )
        self.thread = CameraThread(
            self.camera,
            recorder,
            settings=(camera, motion),
            picture=picture,
            installed=installed,
            duty=duty,
            monotonic=self.clock.monotonic,
            post=self.posted.append,
            on_crash=lambda _, error: self.crashes.append(error),
            on_motion=lambda moving, _: self.motion_told.append(moving),
            random_source=random.Random(1),
        )
        if open_it:
            self.step()

    def step(self, times: int = 1) -> None:
        """Serve what waits, one item each time."""
        for _ in range(times):
            # A wake makes a step with nothing to serve return at once.
            self.thread.wake()
            self.thread.step()

    def wait(self, seconds: float) -> None:
        """Let time pass, then step."""
        self.clock.advance(seconds)
        self.step()

    def run(self, seconds: float, *, moving: bool = False) -> None:
        """Give and serve pictures for so long."""
        for _ in range(round(seconds * self.camera.fps)):
            self.clock.advance(1 / self.camera.fps)
            if self.camera.is_open:
                self.camera.picture()
                self.camera.motion(moving)
            self.step(2)

    def of(self, kind: type[Any]) -> list[Any]:
        """What was posted of a kind."""
        return [event for event in self.posted if isinstance(event, kind)]

    @property
    def openings(self) -> int:
        """How often the camera was to be opened."""
        return self.camera.calls.count("open")

    def reconfigure(self, camera: CameraSettings = CAMERA, motion: MotionSettings = MOTION) -> Future[None]:
        """Ask for settings, and step."""
        outcome = self.thread.reconfigure(camera, motion)
        self.step()
        return outcome
