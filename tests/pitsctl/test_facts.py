"""What a machine is: the script on trees of /proc, /sys and /etc of Raspberry Pis, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.errors import InvalidInput
from pitsctl.facts import Facts, cannot_of, facts_from, facts_of, warnings_of
from pitsctl.local_machine import LocalMachine
from pitsctl.pi_services import memory_max_mb
from pitsctl.pi_system import debian_packages

BOOKWORM = 'PRETTY_NAME="Debian"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'
BULLSEYE = 'VERSION_ID="11"\nVERSION_CODENAME=bullseye\nID=raspbian\n'
# model, MemTotal in kB, sensor on the bus, os-release, whether start_x=1, board
PIS = {
    "zero": ("Raspberry Pi Zero W Rev 1.1", 443_000, "ov5647", BULLSEYE, True, "zero"),
    "zero2": ("Raspberry Pi Zero 2 W Rev 1.0", 426_000, "imx708_wide", BOOKWORM, False, "zero2"),
    "three": ("Raspberry Pi 3 Model B Plus Rev 1.3", 930_000, "imx219", BOOKWORM, False, "3"),
    "four": ("Raspberry Pi 4 Model B Rev 1.4", 3_800_000, "imx477", BOOKWORM, False, "4"),
    "five": ("Raspberry Pi 5 Model B Rev 1.0", 8_000_000, "imx708", BOOKWORM, False, "5"),
}


def tree(folder: Path, name: str) -> Path:
    """The files of /proc, /sys, /etc and /boot that a Pi of this name has."""
    model, memory, sensor, release, is_legacy, _ = PIS[name]
    bus = folder / "sys/bus/i2c/devices"
    files = {
        folder / "proc/device-tree/model": f"{model}\0",
        folder / "proc/meminfo": f"MemTotal:       {memory} kB\nMemFree: 1 kB\n",
        folder / "etc/os-release": release,
        folder / "boot/config.txt": "# camera\nstart_x=1\n" if is_legacy else "#start_x=1\n",
        bus / "10-001a/name": f"{sensor}\n",
        bus / "10-0050/name": "24c32\n",
        bus / "11-0010/name": "imx219\n",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for device in ("10-001a", "10-0050"):
        (bus / device / "driver").mkdir()
    return folder


@pytest.mark.parametrize("name", PIS)
def test_each_model_is_recognized_by_its_files(tmp_path: Path, name: str):
    model, memory, sensor, _, is_legacy, board = PIS[name]
    facts = facts_of(LocalMachine(), str(tree(tmp_path, name)))
    assert (facts.pi_model, facts.board, facts.sensor, facts.memory_mb) == (model, board, sensor, memory // 1024)
    assert facts.stack == ("legacy" if is_legacy else "libcamera")
    assert facts.os_version == (11 if is_legacy else 12)
    assert not facts.booted


def test_a_sensor_that_did_not_answer_is_not_seen(tmp_path: Path):
    """The overlay puts it on the bus; only a driver that found it is bound."""
    made = tree(tmp_path, "three")
    (made / "sys/bus/i2c/devices/10-001a/driver").rmdir()
    facts = facts_of(LocalMachine(), str(made))
    assert (facts.sensor, facts.stack) == ("", "none")
    assert any("No camera" in warning for warning in warnings_of(facts))


def test_a_usb_camera_is_named_and_the_board_s_own_devices_are_not(tmp_path: Path):
    made = tree(tmp_path, "four")
    (made / "sys/bus/i2c/devices/10-001a/driver").rmdir()
    for place, name in (
        ("devices/usb1/1-1/video4linux/video0", "Webcam C920\n"),
        ("devices/platform/video10", "codec\n"),
    ):
        (made / "sys" / place).mkdir(parents=True)
        (made / "sys" / place / "name").write_text(name)
        link = made / "sys/class/video4linux" / Path(place).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(made / "sys" / place)
    facts = facts_of(LocalMachine(), str(made))
    assert facts.usb_cameras == (("/dev/video0", "Webcam C920"),)
    assert facts.stack == "v4l2"


def test_a_machine_that_is_no_pi_is_looked_at_too():
    facts = facts_of(LocalMachine())
    assert facts.pi_model == ""
    assert facts.board is None
    assert facts.python >= (3, 9)
    assert facts.memory_mb > 0


@pytest.mark.parametrize(
    "text, words",
    [
        (
            "throttled=0x50005",
            {"undervoltage now", "throttled now", "undervoltage since the start", "throttled since the start"},
        ),
        ("throttled=0x0", set()),
        ("throttled=what", set()),
    ],
)
def test_power_warnings_are_words(text: str, words: set[str]):
    assert facts_from(text).throttled == words


def test_what_the_machine_says_is_not_believed_blindly():
    with pytest.raises(InvalidInput, match="memory_kb"):
        facts_from("memory_kb=many")
    assert facts_from("python=3.x\nclock=maybe\nnonsense\n=\n") == Facts()


def test_what_a_first_zero_on_bullseye_cannot_do_is_said():
    facts = Facts(stack="legacy", architecture="armhf", python=(3, 9), pi_model=PIS["zero"][0])
    told = " ".join(cannot_of(facts))
    for what in (".h264", "no device client", "jobs that need root", "privacy masks"):
        assert what in told
    assert not facts.runs_our_client
    assert "python3-picamera" in debian_packages(facts)


def test_what_a_pi_4_cannot_do_is_nothing():
    facts = Facts(stack="libcamera", architecture="arm64", python=(3, 11), pi_model=PIS["four"][0], clock_synced=True)
    assert cannot_of(facts) == ()
    assert warnings_of(facts) == ()
    assert "python3-picamera2" in debian_packages(facts)


def test_warnings_name_the_clock_and_the_disk():
    told = " ".join(warnings_of(Facts(clock_synced=False, disk_free_mb=900, throttled=frozenset({"too hot now"}))))
    assert "clock" in told
    assert "900 MB" in told
    assert "too hot now" in told


@pytest.mark.parametrize("memory, limit", [(426, 160), (930, 310), (8000, 700)])
def test_the_memory_limit_goes_with_the_model(memory: int, limit: int):
    assert memory_max_mb(memory) == limit
