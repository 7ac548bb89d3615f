"""A disk that is full, becomes full, or has room again: nothing crashes, what goes is the oldest, and it is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Ballast, MakeDisk
from tests.faults.recorded import numbers_of, stored_once
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.fake_device_client import FakeDeviceClient

pytestmark = pytest.mark.needs_av

ClientOf = Callable[[DaemonProcess], FakeDeviceClient]
SCENE = ("--resolution", "320x240", "--framerate", "10", "--encoding-bitrate", "1500000")
# So much is encoded that the disk is full within seconds.
DENSE = ("--resolution", "640x480", "--framerate", "10", "--encoding-bitrate", "25000000")
SHORT = ("--buffer", "1", "--post-roll", "1")
WALKS = "synthetic:?script=walk:3,quiet:4&speed=4"


def no_traceback(daemon: DaemonProcess) -> bool:
    return not any("Traceback" in line for line in daemon.log)


def told_of_pressure(client: FakeDeviceClient) -> list[dict]:
    return [event for event in client.events if event["name"] == "spool_pressure"]


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(("--spool-min-free", "1M"), id="free-space"),
        pytest.param(("--spool-min-free", "0"), id="to-the-last-byte"),
    ],
)
def test_recording_goes_on_in_a_full_spool_and_the_oldest_go(
    tmp_path: Path, small_disk: MakeDisk, client_of: ClientOf, bounds: tuple[str, ...]
) -> None:
    disk = small_disk("size=3m")
    daemon = DaemonProcess(tmp_path / "daemon", WALKS, *DENSE, *SHORT, *bounds, "--spool-dir", str(disk / "spool"))
    daemon.spool = disk / "spool"
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        daemon.wait_log("Dropped .* nobody has stored", count=3, timeout_s=90)
        begun = len(daemon.wait_log("Motion began"))
        daemon.wait_log("Motion began", count=begun + 2)
        pressure = eventually(lambda: told_of_pressure(client), "spool_pressure")
        client.command("health", capture_id="h")
        report = eventually(lambda: [e for e in client.events if e.get("capture_id") == "h"], "health")[0]
        assert daemon.stop() == 0
        assert no_traceback(daemon)
    assert pressure[0]["dropped_files"] >= 1
    assert report["items_lost"] >= 3
    if "1M" in bounds:
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize >= 1024 * 1024
    events = [line.split("event ")[1][:32] for line in daemon.log if "Motion began" in line]
    kept = [clip["event_id"] for clip in daemon.clips()]
    assert kept
    assert set(kept) <= set(events[-len(set(kept)) - 1 :]), "the newest are kept"
    stored_once(clip["path"] for clip in daemon.clips())


def test_a_disk_without_room_at_the_start_is_waited_for(tmp_path: Path, small_disk: MakeDisk) -> None:
    disk = small_disk("size=6m,nr_inodes=64")
    ballast = Ballast(disk)
    ballast.fill()
    daemon = DaemonProcess(tmp_path / "daemon", WALKS, *SCENE, *SHORT, "--spool-dir", str(disk / "spool"))
    daemon.spool = disk / "spool"
    with running(daemon):
        daemon.wait_log("cannot use the spool .*No space left.*trying again")
        assert not any("watches as" in line for line in daemon.log)
        ballast.take_away()
        daemon.wait_ready()
        daemon.wait_log("Clip of event .* is on the disk")
        assert daemon.stop() == 0
        assert no_traceback(daemon)
    assert sum("trying again" in line for line in daemon.log) == 1
    assert numbers_of(daemon.clips()[0]["path"])


def test_a_wait_for_room_at_the_start_can_be_ended(tmp_path: Path, small_disk: MakeDisk) -> None:
    disk = small_disk("size=6m,nr_inodes=64")
    Ballast(disk).fill()
    daemon = DaemonProcess(tmp_path / "daemon", WALKS, *SCENE, "--spool-dir", str(disk / "spool"))
    with running(daemon):
        daemon.wait_log("trying again until it can be used")
        assert daemon.stop() == 0
        assert no_traceback(daemon)


def test_a_spool_without_a_byte_at_the_start_records_as_soon_as_there_is_room(
    tmp_path: Path, small_disk: MakeDisk, client_of: ClientOf
) -> None:
    disk = small_disk("size=6m")
    ballast = Ballast(disk)
    ballast.fill()
    daemon = DaemonProcess(tmp_path / "daemon", WALKS, *SCENE, *SHORT, "--spool-dir", str(disk / "spool"))
    daemon.spool = disk / "spool"
    with running(daemon):
        daemon.wait_log("The disk refuses the recording")
        client = client_of(daemon)
        eventually(lambda: "motion_start" in client.names(), "motion is told although it cannot be recorded")
        ballast.take_away()
        lost = int(daemon.wait_log("The disk takes the recording again; ([0-9]+) pictures were lost")[0].group(1))
        client.command("health", capture_id="h")
        report = eventually(lambda: [e for e in client.events if e.get("capture_id") == "h"], "health")[0]
        assert report["pictures_lost"] >= lost > 0
        daemon.wait_log("Clip of event .* is on the disk")
        assert daemon.stop() == 0
        assert no_traceback(daemon)
    assert numbers_of(daemon.clips()[0]["path"])


def test_a_state_folder_on_a_full_disk_is_done_without_until_there_is_room(
    tmp_path: Path, small_disk: MakeDisk, client_of: ClientOf
) -> None:
    disk = small_disk("size=6m,nr_inodes=64")
    ballast = Ballast(disk)
    ballast.fill()
    daemon = DaemonProcess(tmp_path / "daemon", WALKS, *SCENE, *SHORT, "--state-dir", str(disk / "state"))
    with running(daemon):
        daemon.wait_log("Cannot use .*state .No space left on device.: a restart would find nothing remembered")
        daemon.wait_log("Clip of event .* is on the disk")
        client = client_of(daemon)
        client.shadow.desire(health={"interval": 77})
        eventually(lambda: client.shadow.sync.get("applied") == ["health"], "settings are taken over")
        ballast.take_away()
        daemon.wait_log("state can be used")
        assert daemon.stop() == 0
        assert no_traceback(daemon)
    assert sum("nothing remembered" in line for line in daemon.log) == 1
    assert json.loads((disk / "state" / "settings.json").read_bytes())["overrides"] == {"health": {"interval": 77}}
    with running(daemon):
        daemon.wait_ready()
        assert daemon.stop() == 0


def test_a_disk_that_is_full_for_state_and_events_holds_nothing_up(
    tmp_path: Path, small_disk: MakeDisk, client_of: ClientOf
) -> None:
    disk = small_disk("size=6m")
    daemon = DaemonProcess(
        tmp_path / "daemon",
        "synthetic:?script=quiet:20,walk:3,quiet:20&speed=4",
        *SCENE,
        *SHORT,
        *("--state-dir", str(disk / "state")),
        *("--event-output", str(disk / "events" / "output.json")),
        *("--configure-input", str(disk / "events" / "configure-input.json")),
    )
    (disk / "events").mkdir()
    daemon.event_output = disk / "events" / "output.json"
    daemon.configure_input = disk / "events" / "configure-input.json"
    ballast = Ballast(disk)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        ballast.fill()
        client = client_of(daemon)
        for number in range(40):
            client.command("configuration", capture_id=f"{number}-{'x' * 40}")
        client.shadow.desire(health={"interval": 77})
        daemon.wait_log("Cannot write events to|Cannot store the position", count=1)
        daemon.wait_log("Clip of event .* is on the disk", timeout_s=60)
        assert daemon.is_running
        assert all(is_whole(published.payload) for published in client.published), "never a torn event"
        ballast.take_away()
        eventually(lambda: len(answers_to_all(client)) == 40, "every answer arrives when there is room", 60)
        eventually(lambda: client.shadow.reported.get("health", {}).get("interval") == 77, "settings are reported")
        assert all(is_whole(published.payload) for published in client.published)
        assert client.crashes == []
        assert daemon.stop() == 0
        assert no_traceback(daemon)


def answers_to_all(client: FakeDeviceClient) -> set[str]:
    return {event["capture_id"] for event in client.events if event["name"] == "configuration_end"}


def is_whole(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True
