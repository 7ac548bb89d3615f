"""The Pi's LED, on a made-up sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.device import status_led
from pinthesky.device.event_thread import EventThread
from pinthesky.device.internal_events import CameraFaulted, CameraOpened, DutyTaken, RecordingChanged
from pinthesky.device.ports import CameraDescription
from pinthesky.device.status_led import StatusLed
from pinthesky.model.recording import Moment
from pinthesky.model.settings import LedSettings

TRIGGERS = "none rc-feedback timer heartbeat default-on [mmc0] panic\n"
NOW = Moment(boot_id="boot", monotonic_s=1.0)
OPENED = CameraOpened(CameraDescription("imx219", 640, 480, 20.0, 0, (320, 240), can_mask=True), after_fault=True)


class Led:
    """An LED's folder. What is written into `trigger` a kernel would show by brackets: `set_by_kernel`."""

    def __init__(self, folder: Path, name: str = "ACT", *, triggers: str = TRIGGERS) -> None:
        self.path = folder / name
        self.path.mkdir(parents=True)
        for file, text in (("trigger", triggers), ("brightness", "255"), ("delay_on", "500"), ("delay_off", "500")):
            (self.path / file).write_text(text)

    def __getitem__(self, file: str) -> str:
        return (self.path / file).read_text()

    def set_by_kernel(self, trigger: str) -> None:
        (self.path / "trigger").write_text(TRIGGERS.replace("[mmc0]", "mmc0").replace(trigger, f"[{trigger}]"))


class Stage:
    def __init__(
        self,
        folder: Path,
        *,
        settings: LedSettings = LedSettings(),  # noqa: B008 - immutable
        board: str = "Raspberry Pi 4 Model B Rev 1.5",
    ) -> None:
        self.memory = folder / "state" / "led"
        self.memory.parent.mkdir(exist_ok=True)
        self.folder = folder
        self.queue = EventThread(lambda *_: None)
        self.led = StatusLed(self.memory, settings=settings, leds=[folder / "ACT", folder / "led0"], board=board)
        self.led.subscribe(self.queue)

    def tell(self, *events: object) -> None:
        for event in events:
            self.queue.post(event)
        self.queue.finish()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is written into files of LEDs, in order."""
    found: list[tuple[str, str]] = []
    write = status_led._write

    def noting(path: Path, text: str) -> None:
        write(path, text)
        found.append((f"{path.parent.name}/{path.name}", text))

    monkeypatch.setattr(status_led, "_write", noting)
    return found


def test_an_led_that_has_nothing_to_show_is_left_alone(tmp_path, written):
    led = Led(tmp_path)
    stage = Stage(tmp_path)
    stage.led.configure(LedSettings())
    stage.tell(DutyTaken(camera_open=True, record_motion=True))
    stage.led.restore()
    assert written == []
    assert led["trigger"] == TRIGGERS
    assert not stage.memory.exists()


@pytest.mark.parametrize(
    "event, expected",
    [
        (CameraFaulted("gone"), [("trigger", "timer"), ("delay_on", "100"), ("delay_off", "100")]),
        (RecordingChanged(True, NOW), [("trigger", "default-on")]),
        (DutyTaken(camera_open=False, record_motion=False), [("trigger", "none"), ("brightness", "0")]),
    ],
)
def test_each_pattern_has_a_trigger_of_its_own(tmp_path, written, event, expected):
    Led(tmp_path)
    Stage(tmp_path).tell(event)
    assert written == [(f"ACT/{file}", text) for file, text in expected]


def test_registration_beats_like_a_heart(tmp_path, written):
    Led(tmp_path)
    Stage(tmp_path).led.show("registration", active=True)
    assert written == [("ACT/trigger", "heartbeat")]


@pytest.mark.parametrize(
    "begin, end",
    [
        (CameraFaulted("gone"), OPENED),
        (RecordingChanged(True, NOW), RecordingChanged(False, NOW)),
        (DutyTaken(camera_open=False, record_motion=False), DutyTaken(camera_open=True, record_motion=True)),
        (CameraFaulted("gone"), None),
    ],
)
def test_when_it_is_over_the_led_has_its_own_trigger_again(tmp_path, written, begin, end):
    Led(tmp_path)
    stage = Stage(tmp_path)
    stage.tell(begin)
    assert stage.memory.read_text() == "mmc0"
    if end is None:
        stage.led.restore()
    else:
        stage.tell(end)
    assert written[-1] == ("ACT/trigger", "mmc0")
    assert not stage.memory.exists()


def test_a_fault_is_shown_before_a_recording_and_the_recording_after_it(tmp_path, written):
    Led(tmp_path)
    Stage(tmp_path).tell(RecordingChanged(True, NOW), CameraFaulted("gone"), OPENED)
    assert [text for file, text in written if file == "ACT/trigger"] == ["default-on", "timer", "default-on"]


def test_a_camera_closed_on_purpose_is_not_at_fault(tmp_path, written):
    Led(tmp_path)
    stage = Stage(tmp_path)
    stage.tell(CameraFaulted("gone"), DutyTaken(camera_open=False, record_motion=False))
    assert written[-1] == ("ACT/brightness", "0")
    stage.tell(DutyTaken(camera_open=True, record_motion=True))
    assert written[-1] == ("ACT/trigger", "mmc0")


def test_the_same_again_writes_nothing(tmp_path, written):
    Led(tmp_path)
    stage = Stage(tmp_path)
    stage.tell(RecordingChanged(True, NOW))
    count = len(written)
    stage.tell(RecordingChanged(True, NOW))
    stage.led.configure(LedSettings())
    assert len(written) == count


def test_the_section_switches_it_off_and_on(tmp_path, written):
    Led(tmp_path)
    stage = Stage(tmp_path)
    stage.tell(RecordingChanged(True, NOW))
    stage.led.configure(LedSettings(enabled=False))
    assert written[-1] == ("ACT/trigger", "mmc0")
    stage.led.configure(LedSettings())
    assert written[-1] == ("ACT/trigger", "default-on")


def test_patterns_that_are_not_wanted_are_not_shown(tmp_path, written):
    Led(tmp_path)
    stage = Stage(tmp_path, settings=LedSettings(patterns=("recording",)))
    stage.tell(CameraFaulted("gone"), DutyTaken(camera_open=False, record_motion=False))
    assert written == []
    stage.tell(RecordingChanged(True, NOW))
    assert written == [("ACT/trigger", "default-on")]


def test_what_a_killed_process_left_is_put_right_at_the_next_start(tmp_path, written):
    led = Led(tmp_path)
    Stage(tmp_path).tell(CameraFaulted("gone"))
    led.set_by_kernel("timer")
    again = Stage(tmp_path)
    again.led.configure(LedSettings())
    assert written[-1] == ("ACT/trigger", "mmc0")
    assert not again.memory.exists()


def test_a_memory_that_names_no_trigger_is_not_written_into_the_led(tmp_path, written):
    led = Led(tmp_path)
    stage = Stage(tmp_path)
    stage.memory.write_text("../../x\n")
    led.set_by_kernel("heartbeat")
    Stage(tmp_path).led.configure(LedSettings())
    assert written == [("ACT/trigger", "heartbeat")]


def test_the_older_name_of_the_led_is_known(tmp_path, written):
    Led(tmp_path, "led0", triggers="none timer default-on\n")
    stage = Stage(tmp_path)
    stage.tell(RecordingChanged(True, NOW), RecordingChanged(False, NOW))
    assert written == [("led0/trigger", "default-on"), ("led0/trigger", "none")]


def test_a_machine_without_such_an_led_says_so_once(tmp_path, caplog):
    caplog.set_level("INFO")
    stage = Stage(tmp_path)
    stage.tell(RecordingChanged(True, NOW), RecordingChanged(False, NOW), CameraFaulted("gone"))
    stage.led.restore()
    assert caplog.text.count("The LED shows nothing: there is none of ") == 1


def test_a_machine_that_is_no_pi_has_no_such_led_and_says_nothing_of_it(tmp_path, caplog):
    caplog.set_level("INFO")
    stage = Stage(tmp_path, board="ASUS Tinker Board")
    stage.tell(RecordingChanged(True, NOW), RecordingChanged(False, NOW))
    assert caplog.text == ""


def test_an_led_that_may_not_be_written_is_said_once(tmp_path, caplog, monkeypatch):
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(status_led, "_write", refuse)
    caplog.set_level("INFO")
    Led(tmp_path)
    stage = Stage(tmp_path)
    stage.tell(RecordingChanged(True, NOW), RecordingChanged(False, NOW))
    stage.led.restore()
    assert caplog.text.count("The LED shows nothing: Permission denied") == 1


def test_times_that_may_not_be_set_do_not_spoil_the_pattern(tmp_path, written):
    led = Led(tmp_path)
    (led.path / "delay_on").unlink()
    Stage(tmp_path).tell(CameraFaulted("gone"))
    assert written == [("ACT/trigger", "timer"), ("ACT/delay_off", "100")]
    assert not (led.path / "delay_on").exists()


def test_a_full_disk_does_not_keep_the_led_from_showing(tmp_path, written, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(status_led, "replace_file", refuse)
    Led(tmp_path)
    Stage(tmp_path).tell(RecordingChanged(True, NOW))
    assert written == [("ACT/trigger", "default-on")]
