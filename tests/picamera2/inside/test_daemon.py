"""The whole daemon before the virtual camera: what was recorded is read from the pictures."""

from __future__ import annotations

import json

import pytest

from pinthesky.device.cameras.geometry import turned
from tests.contracts.camera_contract import decoded_still
from tests.support.daemon_process import PROJECT, DaemonProcess, eventually, running
from tests.support.picture_numbers import numbers_in_clip, read_number

FRAMERATE = 10
PICTURE = ("--resolution", "320x240", "--framerate", str(FRAMERATE))


def daemon_of(folder, *flags: str, camera: str = "picamera2", script: str = "quiet:6,walk:3,quiet:60") -> DaemonProcess:
    # The strip with the picture's number must not count as motion.
    strip = [[[0, 875], [1000, 875], [1000, 1000], [0, 1000]]]
    daemon = DaemonProcess(
        folder,
        camera,
        *PICTURE,
        *flags,
        environment={
            "PYTHONPATH": f"{PROJECT}/tests/picamera2/at_start:{PROJECT}",
            "PINTHESKY_VIRTUAL_SCRIPT": script,
            "PINTHESKY_VIRTUAL_STALL": str(folder / "stalled"),
        },
    )
    daemon.configure_output.write_text(json.dumps({"state": {"desired": {"motion": {"masks": strip}}}}))
    return daemon


def clips_of(daemon: DaemonProcess, count: int = 1):
    return eventually(lambda: len(daemon.clips()) >= count and daemon.clips(), f"{count} clips", 60)


def decoded(clip) -> list:
    import av

    with av.open(str(clip["path"])) as container:
        return [(picture.rotation, picture.to_ndarray(format="gray")) for picture in container.decode(video=0)]


def test_motion_becomes_a_clip_with_every_picture_and_a_thumbnail(tmp_path):
    daemon = daemon_of(tmp_path, "--buffer", "3", "--post-roll", "2")
    with running(daemon):
        daemon.wait_ready()
        (clip,) = clips_of(daemon)
        assert daemon.stop() == 0
    found = numbers_in_clip(clip["path"])
    numbers = [number or 0 for _, number in found]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "no picture is lost or doubled"
    begins, ends = 6 * FRAMERATE, 9 * FRAMERATE
    assert begins - 5 * FRAMERATE - 5 <= numbers[0] <= begins - 2 * FRAMERATE
    assert ends + FRAMERATE <= numbers[-1] <= ends + 6 * FRAMERATE
    steps = [later - earlier for (earlier, _), (later, _) in zip(found, found[1:])]
    assert sum(steps) / len(steps) == pytest.approx(1_000_000 / FRAMERATE, rel=0.05)
    thumbnail = next(item for item in daemon.sidecars() if item["kind"] == "thumbnail")
    still = decoded_still(thumbnail["path"].read_bytes())
    assert still.shape == (240, 320)
    assert read_number(still) in numbers


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_camera_gives_upright_clips_and_thumbnails(tmp_path, rotation):
    daemon = daemon_of(
        tmp_path, "--rotation", str(rotation), "--buffer", "1", "--post-roll", "1", script="quiet:4,walk:2,quiet:60"
    )
    # The mask of the scene's strip would have to be turned with it; the strip itself may set motion off.
    daemon.configure_output.unlink()
    with running(daemon):
        daemon.wait_ready()
        daemon.wait_log("Motion began")
        assert daemon.stop() == 0
    pictures = decoded(clips_of(daemon)[0])
    left = 0 if rotation == 180 else rotation
    # PyAV says counter-clockwise, -180 to 180.
    assert {turn % 360 for turn, _ in pictures} == {-left % 360}
    upright = [turned(grey, -rotation + left) for _, grey in pictures]
    assert None not in [read_number(grey) for grey in upright]
    thumbnail = next(item for item in daemon.sidecars() if item["kind"] == "thumbnail")
    still = decoded_still(thumbnail["path"].read_bytes())
    assert read_number(turned(still, -rotation)) is not None


def test_a_sensor_that_falls_silent_is_reported_and_recording_goes_on_when_it_is_back(tmp_path):
    daemon = daemon_of(tmp_path, "--buffer", "1", "--post-roll", "1", script="quiet:2,walk:1")
    with running(daemon):
        daemon.wait_ready()
        clips_of(daemon)
        (tmp_path / "stalled").touch()
        daemon.wait_log("no picture for 5 s", timeout_s=20)
        begun = len(daemon.wait_log("Motion began"))
        (tmp_path / "stalled").unlink()
        daemon.wait_log("Motion began", count=begun + 1)
        assert daemon.stop() == 0
    clips = daemon.clips()
    assert len({clip["event_id"] for clip in clips}) == begun + 1
    for clip in clips:
        numbers = [number or 0 for _, number in numbers_in_clip(clip["path"])]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_auto_finds_the_pi_s_camera(tmp_path):
    daemon = daemon_of(tmp_path, camera="auto")
    with running(daemon):
        daemon.wait_ready()
        daemon.wait_log("imx219")
        assert daemon.stop() == 0
