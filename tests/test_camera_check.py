"""The check that people run on their Pis: what it measures, what it finds wrong, what it says."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from pinthesky.device.cameras.scripted import ScriptedCamera
from pinthesky.device.ports import CameraDescription, CameraLost, Frame, LumaFrame, Packet, SubstreamLost
from pinthesky.errors import Unavailable
from pinthesky.model.settings import CameraSettings
from tools import camera_check, camera_measurement
from tools.camera_measurement import Measured, measure
from tools.camera_report import concerns, report

START = b"\x00\x00\x01"
KEYFRAME = START + b"\x67\x42\xc0\x1f\xff" + START + b"\x68\x01" + START + b"\x65\x01"
DESCRIPTION = CameraDescription("scripted", 640, 480, 20.0, 0, (320, 240), can_mask=False, extra={"encoder": "none"})
SETTINGS = CameraSettings(rotation=0)


def frames(count: int = 40, *, left_out: tuple[int, ...] = (), first_us: int = 0) -> list[Frame]:
    """Pictures at 20 a second, each 20th a keyframe, with a luma frame for every other."""
    found: list[Frame] = []
    for number in range(count):
        time_us = first_us + number * 50_000
        if number in left_out:
            continue
        is_key = number % 20 == 0
        found.append(Packet(KEYFRAME if is_key else START + b"\x41\x01", time_us, is_key))
        if number % 2 == 0:
            found.append(LumaFrame(np.zeros((240, 384), np.uint8)[:, :320], time_us))
    return found


def measured(given: list[Frame], description: CameraDescription = DESCRIPTION) -> Measured:
    camera = ScriptedCamera(description, given, speed=20.0)
    return measure(camera, SETTINGS, 1.0)


def test_what_a_camera_gives_is_counted():
    found = measured(frames())
    text = report(found)
    assert len(found.recorder.packets) == 40
    assert "| pictures | 40 in 1.9 s: 20.00 a second |" in text
    assert "| missing | 0 gaps of more than 1.5 pictures, the longest distance 50.0 ms |" in text
    assert "| keyframes | 2, 2 with parameter sets, 20 pictures apart (20 to 20) |" in text
    assert "| luma frames | 320x240, stride 384, step 1, 10.0 a second |" in text
    assert "- camera: scripted, encoder none" in text
    assert "cannot be read (" in text


def test_the_end_of_a_camera_is_said():
    assert concerns(measured(frames())) == ["the footage has ended"]
    lost = measured([*frames(), CameraLost("the cable was pulled")])
    assert "the camera was lost: the cable was pulled" in concerns(lost)


def test_pictures_that_are_missing_are_said():
    found = measured(frames(left_out=(7, 8, 23)))
    assert "2 pictures are missing" in concerns(found)
    assert "the longest distance 150.0 ms" in report(found)


def test_a_rate_that_was_not_promised_is_said():
    found = measured(frames(), DESCRIPTION._replace(framerate=30.0))
    assert any(line.startswith("20.00 pictures a second came in place of 30") for line in concerns(found))


def test_a_stream_that_nobody_can_begin_with_is_said():
    bare = [Packet(START + b"\x41\x01", 0, is_keyframe=False), Packet(START + b"\x65\x01", 50_000, is_keyframe=True)]
    said = concerns(measured([*bare, Packet(KEYFRAME, 50_000, is_keyframe=True)]))
    assert "the first packet is no keyframe" in said
    assert "there are keyframes without parameter sets" in said
    assert "timestamps do not always rise" in said
    assert "no luma frame came" in said


class Driven(ScriptedCamera):
    """Gives keyframes and stills as it is told, while a thread of the test gives pictures."""

    def __init__(self, *, keyframes: bool, stills: bool) -> None:
        super().__init__(DESCRIPTION, jpeg=b"\xff\xd8" if stills else b"GIF8")
        self._keyframes = keyframes
        self._number = 0
        self._ended = threading.Event()
        self._giver = threading.Thread(target=self._give)

    def start(self, sink) -> None:
        super().start(sink)
        self._giver.start()

    def close(self, timeout_s: float) -> bool:
        self._ended.set()
        if self._giver.is_alive():
            self._giver.join(timeout_s)
        return super().close(timeout_s)

    def request_keyframe(self) -> bool:
        super().request_keyframe()
        return True

    def _give(self) -> None:
        while not self._ended.wait(0.005):
            is_key = self._number == 0 or (self._keyframes and self._number % 3 == 0)
            self.emit(Packet(KEYFRAME if is_key else START + b"\x41\x01", self._number * 50_000, is_key))
            self.emit(LumaFrame(np.zeros((240, 320), np.uint8), self._number * 50_000))
            self._number += 1


def test_stills_and_keyframes_on_demand_are_timed():
    found = measure(Driven(keyframes=True, stills=True), SETTINGS, 1.0)
    assert concerns(found) == []
    assert "| keyframes on demand | 1 of 1 came, 1: " in report(found)
    assert "All as it should be." in report(found)
    assert found.still_bytes == [2]


def test_what_was_promised_and_did_not_come_is_said():
    found = measure(Driven(keyframes=False, stills=False), SETTINGS, 1.0)
    assert concerns(found) == [
        "1 stills failed: what came is no JPEG",
        "1 keyframes were promised and did not come within 6 pictures",
    ]


def test_a_camera_that_is_silent_and_does_not_close_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera_measurement, "OPEN_PATIENCE_S", 0.05)
    monkeypatch.setattr(camera_measurement, "STILL_TIMEOUT_S", 0.05)
    camera = ScriptedCamera(DESCRIPTION)
    camera.hanging.set()
    found = measure(camera, SETTINGS, 1.0)
    assert concerns(found) == ["no picture came within 12 s"]
    text = report(found)
    assert "| opening | 0 ms, first picture never later |" in text
    assert "| closing | hangs |" in text
    assert "| keyframes on demand | not possible |" in text


class TwoStreams(Driven):
    """Gives `second` at once when it is asked for its second stream."""

    second: list[Packet | SubstreamLost] = []  # noqa: RUF012 - each test sets its own

    def open(self, settings, privacy_masks, **named) -> CameraDescription:
        return super().open(settings, privacy_masks, **named)._replace(substream_size=(320, 240))

    def start_substream(self, sink, *, bitrate: int) -> None:
        for frame in self.second:
            sink(frame)


@pytest.mark.parametrize(
    "second, said",
    [
        ([Packet(KEYFRAME, 0, is_keyframe=True)], []),
        ([], ["the second stream did not come, or not from a keyframe on"]),
        ([SubstreamLost("no encoder")], ["the second stream failed: no encoder"]),
    ],
)
def test_a_second_stream_that_does_not_come_is_said(monkeypatch: pytest.MonkeyPatch, second, said):
    monkeypatch.setattr(TwoStreams, "second", second)
    found = measure(TwoStreams(keyframes=True, stills=True), SETTINGS, 1.0)
    assert concerns(found) == said
    assert ("| second stream | did not come |" in report(found)) == bool(said)


def test_a_second_stream_that_cannot_be_started_or_stopped_is_said(monkeypatch: pytest.MonkeyPatch):
    def refuse(self, *_given, **_named) -> None:
        raise Unavailable("busy")

    for name in ("start_substream", "stop_substream"):
        monkeypatch.setattr(TwoStreams, name, refuse)
    assert concerns(measure(TwoStreams(keyframes=True, stills=True), SETTINGS, 1.0)) == [
        "the second stream failed: busy"
    ]


def test_a_still_that_is_not_to_be_had_is_said(monkeypatch: pytest.MonkeyPatch):
    def refuse(self, timeout_s: float) -> bytes:
        raise Unavailable("no picture")

    monkeypatch.setattr(ScriptedCamera, "still", refuse)
    found = measure(Driven(keyframes=True, stills=True), SETTINGS, 1.0)
    assert concerns(found) == ["1 stills failed: no picture"]


def test_what_the_board_says_of_itself_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, text in (
        ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
        ("etc/os-release", 'NAME="x"\nPRETTY_NAME="Raspberry Pi OS"\n'),
        ("proc/self/status", "VmHWM:\t   82000 kB\nVmRSS:\t   61000 kB\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(camera_measurement, "SYSTEM", tmp_path)
    text = report(measured(frames()))
    assert "| temperature | 48.312 °C to 48.312 °C |" in text
    assert "| throttled | 50005 |" in text
    assert "Raspberry Pi OS, kernel" in text
    assert "| memory | 61 MB resident, 82 MB at most |" in text


@pytest.mark.needs_av
def test_the_command_runs_the_synthetic_camera_for_seconds(capsys: pytest.CaptureFixture[str]):
    arguments = ["--camera", "synthetic", "--seconds", "3", "--resolution", "320x240", "--framerate", "10"]
    assert camera_check.main(arguments) == 0
    text = capsys.readouterr().out
    assert "- asked for: 320x240 at 10, 3 Mb/s, high 4, rotation 0" in text
    assert "| parameter set | High, level 4 (avc1.640028), 320x240, rate 10" in text
    assert "bitstream_restriction yes, reorders 0" in text
    assert re.search(r"\| second stream \| 320x240, first packet \d+ ms after it was asked for, 1\d\.", text)
    assert "All as it should be." in text


@pytest.mark.parametrize(
    "arguments, field",
    [
        (["--camera", "synthetic", "--seconds", "0.5"], "--seconds"),
        (["--camera", "synthetic", "--framerate", "0"], "camera.framerate"),
        (["--camera", "picamera2:99"], "--camera"),
    ],
)
def test_the_command_says_what_cannot_be_used(arguments, field, capsys: pytest.CaptureFixture[str]):
    assert camera_check.main(arguments) == 2
    assert f"camera_check: {field}: " in capsys.readouterr().err
