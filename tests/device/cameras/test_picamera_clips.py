"""From the legacy camera to clips in the spool, as on a device without PyAV: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

import pytest

from pinthesky.device.camera_thread import CameraThread, Duty
from pinthesky.device.cameras.picamera import PicameraCamera
from pinthesky.device.clip_recorder import ClipRecorder
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.clip_writer import ClipFinisher
from pinthesky.device.internal_events import CameraFaulted, CameraOpened, ClipLost, MotionStarted, RecordingChanged
from pinthesky.model.recording import TIMESTAMPS_SUFFIX, Item, Moment
from pinthesky.model.settings import CameraSettings, MotionSettings
from tests.support.legacy_firmware import Firmware, legacy_stack
from tests.support.legacy_scenes import PPS, SPS, PlainScene, SyntheticScene, picture_numbers
from tests.support.mmal_library import is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="picamera 1.13 is not in .venvs/picamera: `make setup`")

PATIENCE_S = 20.0
# Long enough that between two clips nothing leaves the pre-roll.
CAMERA = CameraSettings(rotation=0, buffer=60)
MOTION = MotionSettings(post_roll=1)


class Daemon:
    """The camera's part of the daemon, with its threads."""

    def __init__(self, scene: Any, firmware: Firmware, folder: Path) -> None:
        self.scene, self.firmware = scene, firmware
        self.posted: list[Any] = []
        self.crashes: list[BaseException] = []
        self.spool = ClipSpool(folder, max_bytes=10**9, min_free_bytes=0)
        self.spool.open()
        camera = PicameraCamera()
        recorder = ClipRecorder(
            create_journal=self.spool.create_journal,
            moment_at=lambda monotonic_s: Moment(boot_id="boot", monotonic_s=monotonic_s),
            monotonic=time.monotonic,
            post=self.posted.append,
            closed=lambda: None,
            still=lambda *_: None,
            request_keyframe=camera.request_keyframe,
            make_room=self.spool.make_room,
        )
        self.thread = CameraThread(
            camera,
            recorder,
            settings=(CAMERA, MOTION),
            duty=Duty(),
            monotonic=time.monotonic,
            post=self.posted.append,
            on_crash=lambda _, error: self.crashes.append(error),
            on_motion=lambda *_: None,
        )
        self.thread.start()

    def of(self, kind: type) -> list[Any]:
        """What was posted of a kind."""
        return [event for event in list(self.posted) if isinstance(event, kind)]

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, (self.posted, self.crashes)
            time.sleep(0.01)

    def event(self) -> None:
        """Something moves for a moment; wait for the clip's end."""
        clips = len(self.of(RecordingChanged)) // 2
        self.scene.moving = True
        self.wait_for(lambda: len(self.of(MotionStarted)) > clips)
        self.scene.moving = False
        self.wait_for(lambda: len(self.of(RecordingChanged)) == 2 * clips + 2)

    def items(self, *, as_mp4: bool) -> list[tuple[Item, Path]]:
        """The spool's items, oldest first, after all clips were finished."""
        finisher = ClipFinisher(self.spool, as_mp4=as_mp4)
        for journal in self.spool.pending_journals():
            finisher.finish(journal)
        return [(spooled.item, spooled.path) for spooled in self.spool.items()]


@contextmanager
def daemon(scene: Any, folder: Path, *, speed: float) -> Iterator[Daemon]:
    with legacy_stack(scene, speed=speed) as firmware:
        running = Daemon(scene, firmware, folder / "spool")
        try:
            running.wait_for(lambda: running.of(CameraOpened))
            yield running
        finally:
            running.thread.stop()
            assert running.thread.join(PATIENCE_S)
            running.spool.close()
        assert running.crashes == []


def test_clips_begin_with_a_keyframe_and_follow_one_another_to_the_picture(tmp_path: Path):
    with daemon(PlainScene(), tmp_path, speed=8) as running:
        for _ in range(3):
            running.event()
        items = running.items(as_mp4=False)
    assert running.of(ClipLost) == running.of(CameraFaulted) == []
    clips = [path.read_bytes() for item, path in items if item.kind == "clip"]
    assert [item.suffix for item, _ in items if item.kind == "clip"] == [".h264"] * 3
    assert all(clip.startswith(SPS + PPS + b"\x00\x00\x00\x01\x65") for clip in clips)
    numbers = [number for clip in clips for number in picture_numbers(clip)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_beside_a_clip_stands_when_each_picture_was_taken(tmp_path: Path):
    with daemon(PlainScene(), tmp_path, speed=8) as running:
        running.event()
        items = running.items(as_mp4=False)
    (clip,) = [path for item, path in items if item.kind == "clip"]
    (timestamps,) = [path for item, path in items if item.suffix == TIMESTAMPS_SUFFIX]
    header, *lines = timestamps.read_text().splitlines()
    pictures = picture_numbers(clip.read_bytes())
    assert header == "# timestamp format v2"
    assert [float(line) for line in lines] == [50.0 * index for index in range(len(pictures))]


def test_a_sensor_that_fails_during_a_clip_closes_it_and_is_healed(tmp_path: Path):
    with daemon(PlainScene(), tmp_path, speed=8) as running:
        running.scene.moving = True
        running.wait_for(lambda: running.of(MotionStarted))
        running.firmware.lose_sensor()
        running.wait_for(lambda: running.of(CameraFaulted))
        running.scene.moving = False
        running.firmware.stalled.clear()
        running.wait_for(lambda: len(running.of(CameraOpened)) == 2)
        running.event()
        items = running.items(as_mp4=False)
    before, after = [picture_numbers(path.read_bytes()) for item, path in items if item.kind == "clip"]
    assert before == list(range(before[0], before[-1] + 1))
    assert after == list(range(after[0], after[-1] + 1))
    assert before[-1] < after[0]


@pytest.mark.needs_av
def test_with_pyav_the_clips_are_mp4_and_play_to_the_last_picture(tmp_path: Path):
    from tests.support.picture_numbers import numbers_in_clip

    with daemon(SyntheticScene(), tmp_path, speed=4) as running:
        running.event()
        items = running.items(as_mp4=True)
        ((item, path),) = items
        played = numbers_in_clip(path)
    assert item.suffix == ".mp4"
    numbers = [number for _, number in played if number is not None]
    assert len(numbers) == len(played)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [time_us for time_us, _ in played] == [50_000 * index for index in range(len(numbers))]
