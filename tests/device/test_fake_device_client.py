"""The stand-in for the device client has the client's habits, and the daemon's file protocol lives with them.

The first half holds the stand-in to `docs/reference/files.md`; the second drives our threads and files with it.
"""

from __future__ import annotations

import json
import queue
import time
from pathlib import Path

import pytest

from pinthesky.device.allowed_destinations import AllowedDestinations
from pinthesky.device.event_output import EventOutput
from pinthesky.device.fakes import FakeClock
from pinthesky.device.inotify_thread import INotifyThread
from pinthesky.device.shadow_reconciler import ShadowReconciler
from pinthesky.machine.slot_file import create_if_missing, write_slot
from pinthesky.model import events
from pinthesky.model.commands import CaptureImage, Configuration, Health
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import CloudConnection, DeviceSettings
from pinthesky.model.shadow import fingerprint
from tests.support.fake_device_client import FakeCloudShadow, FakeDeviceClient

PATIENCE_S = 15.0


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Files:
    """The four files of the protocol."""

    def __init__(self, folder: Path) -> None:
        self.event_input = folder / "event-input.json"
        self.event_output = folder / "event-output.json"
        self.configure_input = folder / "configure-input.json"
        self.configure_output = folder / "configure-output.json"

    def make(self) -> None:
        for path in (self.event_input, self.configure_output):
            create_if_missing(path)
        for path in (self.event_output, self.configure_input):
            create_if_missing(path, b'{"first":true}')

    def client(self, *, sleep_s: float = 0.05, shadow: FakeCloudShadow | None = None) -> FakeDeviceClient:
        return FakeDeviceClient(
            publish_file=self.event_output,
            subscribe_file=self.event_input,
            shadow_input_file=self.configure_input,
            shadow_output_file=self.configure_output,
            shadow=shadow,
            sleep_s=sleep_s,
        )


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


@pytest.fixture
def client(files):
    files.make()
    client = files.client()
    client.start()
    yield client
    client.stop()


def payloads(client: FakeDeviceClient) -> list[bytes]:
    return [published.payload for published in list(client.published)]


# -- the client's habits


def test_it_publishes_the_file_once_at_each_start(client):
    assert payloads(client) == [b'{"first":true}']
    client.stop()
    client.start()
    assert payloads(client) == [b'{"first":true}'] * 2


def test_it_sees_a_write_in_place_and_the_same_content_again(client, files):
    for count in (2, 3):
        write_slot(files.event_output, b'{"n":1}')
        wait_until(lambda count=count: len(client.published) >= count)
    assert payloads(client)[1:3] == [b'{"n":1}'] * 2


def test_it_reads_a_slot_so_quick_writes_lose_values_but_the_last_arrives(files):
    files.make()
    client = files.client(sleep_s=0.3)
    client.start()
    for n in range(10):
        write_slot(files.event_output, b'{"n":%d}' % n)
    wait_until(lambda: payloads(client)[-1] == b'{"n":9}')
    client.stop()
    assert len(set(payloads(client))) < 8


def test_it_does_not_see_a_rename_nor_any_later_write_until_the_file_is_made_anew(client, files):
    other = files.event_output.with_name("other")
    other.write_bytes(b'{"renamed":true}')
    other.replace(files.event_output)
    write_slot(files.event_output, b'{"later":true}')
    files.event_output.unlink()
    create_if_missing(files.event_output, b'{"anew":true}')
    wait_until(lambda: len(client.published) > 1)
    assert payloads(client) == [b'{"first":true}', b'{"anew":true}']


@pytest.mark.parametrize("content", [b"", None])
def test_an_empty_or_missing_publish_file_is_its_end(files, content):
    files.make()
    files.event_output.unlink()
    if content is not None:
        files.event_output.write_bytes(content)
    client = files.client()
    client.start()
    assert client.crashes == ["memory corrupted by an empty publish-file"]
    client.stop()


def test_a_publish_file_emptied_while_it_runs_is_its_end(client, files):
    files.event_output.write_bytes(b"")
    wait_until(lambda: client.crashes)
    assert payloads(client) == [b'{"first":true}']


@pytest.mark.parametrize("fault", ["missing", "mode"])
def test_it_does_not_start_without_shadow_files_of_the_right_mode(files, fault):
    files.make()
    if fault == "missing":
        files.configure_output.unlink()
    else:
        files.configure_input.chmod(0o644)
    client = files.client()
    client.start()
    assert "exit 1" in client.crashes[0]
    assert client.published == []
    client.stop()


def test_it_appends_commands_without_anything_between_them(client, files):
    client.deliver(b'{"name":"a"}', b'{"name":"b"}')
    client.command("c", key=1)
    assert files.event_input.read_bytes() == b'{"name":"a"}{"name":"b"}{"name": "c", "context": {"key": 1}}'


def test_it_reports_what_the_shadow_input_file_holds_and_nothing_that_is_no_json(client, files):
    write_slot(files.configure_input, b"{oops}")
    wait_until(lambda: client.errors)
    write_slot(files.configure_input, b'{"camera":{"framerate":20}}')
    wait_until(lambda: client.shadow.reported == {"camera": {"framerate": 20}})
    assert client.shadow.updates == [{"reported": {"camera": {"framerate": 20}}}]


def test_it_reports_a_desired_change_at_once_before_anybody_has_applied_it(client, files):
    client.shadow.desire(camera={"framerate": 0})
    wait_until(lambda: b'"reported"' in files.configure_output.read_bytes())
    assert client.shadow.updates == [
        {"desired": {"camera": {"framerate": 0}}},
        {"reported": {"camera": {"framerate": 0}}},
    ]


def test_what_is_desired_while_it_is_away_reaches_the_file_with_the_next_update_only(client, files):
    client.stop()
    client.shadow.desire(camera={"framerate": 30})
    client.start()
    assert files.configure_output.read_bytes() == b""
    client.shadow.desire(health={"interval": 60})
    wait_until(lambda: b"framerate" in files.configure_output.read_bytes())


def test_the_cloud_merges_and_null_removes(files):
    shadow = FakeCloudShadow()
    shadow.desire(camera={"framerate": 30, "rotation": 90}, health={"interval": 60})
    shadow.desire(camera={"rotation": None}, health=None)
    assert shadow.desired == {"camera": {"framerate": 30}}
    assert shadow.version == 2
    shadow.update({"desired": {"x": "y" * 9000}})
    assert shadow.refused
    assert shadow.version == 2


# -- our side of the protocol, driven by it


class Daemon:
    """The parts of the daemon that touch the files, joined as the daemon joins them."""

    def __init__(self, files: Files, folder: Path) -> None:
        self.commands: queue.Queue = queue.Queue()
        self.documents: queue.Queue = queue.Queue()
        self.crashes: list = []
        self.changes = 0
        self.reports = 0
        self.files = files
        self.reconciler = ShadowReconciler(
            installed=DeviceSettings(),
            allowed=AllowedDestinations(DeviceSettings()),
            state_path=folder / "settings.json",
            report_path=files.configure_input,
            cloud_connection=CloudConnection(thing_name="pi"),
        )
        self.inotify = INotifyThread(
            event_input=files.event_input,
            configure_output=files.configure_output,
            state=folder / "position.json",
            on_command=self.commands.put,
            on_rejected=lambda rejected: None,
            on_shadow=self.documents.put,
            on_crash=lambda *crash: self.crashes.append(crash),
        )
        self.reconciler.prepare()
        self.inotify.start()
        wait_until(lambda: files.event_input.exists() and files.configure_output.exists())

    def reconcile_until(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.reconcile(0.01)

    def reconcile(self, timeout_s: float) -> None:
        try:
            change = self.reconciler.consider(self.documents.get(timeout=timeout_s))
        except queue.Empty:
            return
        if change is not None:
            self.changes += 1
            self.reconciler.conclude(change, {})

    def stop(self) -> None:
        self.inotify.stop()
        assert self.inotify.join(PATIENCE_S)
        assert self.crashes == []


@pytest.fixture
def daemon(files, tmp_path):
    write_slot(files.event_output, b'{"name":"recording_change"}')
    daemon = Daemon(files, tmp_path)
    yield daemon
    daemon.stop()


@pytest.fixture
def beside(daemon, files):
    client = files.client()
    client.start()
    yield client
    client.stop()
    assert client.crashes == []


def test_commands_reach_the_daemon_however_they_run_together(daemon, beside):
    beside.deliver(b'{"name":"health"}{"name":"configu', b'ration"}')
    beside.deliver(b'{"name":"combine_end","context":{"file_name":"../x"}}', b'{"name":"hea')
    beside.command("capture_image", file_name="a.jpg")
    found = [daemon.commands.get(timeout=PATIENCE_S) for _ in range(3)]
    assert [type(command) for command in found] == [Health, Configuration, CaptureImage]


def test_a_settings_change_is_applied_and_reported_and_then_there_is_silence(daemon, beside):
    beside.shadow.desire(camera={"framerate": 30}, health={"interval": 120})
    daemon.reconcile_until(lambda: beside.shadow.sync.get("applied") == ["camera", "health"])
    assert beside.shadow.reported["camera"]["framerate"] == 30
    assert daemon.reconciler.effective.camera.framerate == 30
    assert settles(daemon, beside) <= 6
    assert daemon.changes == 1


def settles(daemon: Daemon, client: FakeDeviceClient) -> int:
    """Number of shadow updates once none has come for many times what one needs."""
    quiet_since, version = time.monotonic(), client.shadow.version
    while time.monotonic() < quiet_since + 1.0:
        daemon.reconcile(0.01)
        if client.shadow.version != version:
            quiet_since, version = time.monotonic(), client.shadow.version
    return version


def test_rejected_settings_are_told_in_sync_although_the_client_has_echoed_them(daemon, beside):
    beside.shadow.desire(camera={"framerate": 0, "rotation": 45}, nonsense={"a": 1}, health={"interval": 60})
    daemon.reconcile_until(lambda: beside.shadow.sync)
    assert settles(daemon, beside) <= 8
    assert beside.shadow.sync["applied"] == ["health"]
    assert set(beside.shadow.sync["rejected"]) == {"camera.framerate", "nonsense"}
    assert daemon.reconciler.effective.camera == DeviceSettings().camera
    assert beside.shadow.refused == []


def test_a_connection_that_the_shadow_would_change_stays_and_is_reported_as_it_is(daemon, beside):
    beside.shadow.desire(cloud_connection={"thing_name": "other"}, storage={"bucket_name": "evil-bucket"})
    daemon.reconcile_until(lambda: beside.shadow.sync)
    assert json.loads(daemon.files.configure_input.read_bytes())["cloud_connection"]["thing_name"] == "pi"
    assert set(beside.shadow.sync["rejected"]) == {"cloud_connection", "storage.bucket_name"}


def test_the_last_of_many_quick_changes_is_in_force_though_the_client_tears_each_document(daemon, beside):
    for framerate in range(20, 40):
        beside.shadow.desire(camera={"framerate": framerate})
        daemon.reconcile(0.01)
    last = fingerprint({"camera": {"framerate": 39}})
    daemon.reconcile_until(lambda: beside.shadow.sync.get("fingerprint") == last)
    assert daemon.reconciler.effective.camera.framerate == 39
    assert beside.shadow.sync["applied"] == ["camera"]


def test_no_event_is_lost_to_a_client_that_reads_at_its_real_pace(files, tmp_path):
    files.make()
    output = EventOutput(files.event_output, clock=RealClock(), thing_name=ThingName("pi"))
    output.prepare()
    client = files.client(sleep_s=0.5)
    client.start()
    faults = 0
    for burst in range(3):
        for _ in range(4):
            output.post(events.CameraFault(thing_name="pi", reason=str(faults)))
            faults += 1
        output.post(events.MotionStart(thing_name="pi", event_id=str(burst), score=1.0))
        deadline = time.monotonic() + PATIENCE_S
        while (due_in := output.due_in()) is not None and time.monotonic() < deadline:
            time.sleep(due_in)  # what the event thread does
            output.flush()
    wait_until(lambda: str(faults - 1) in [event.get("reason") for event in client.events])
    client.stop()
    assert sorted({int(event["reason"]) for event in client.events if event.get("name") == "camera_fault"}) == list(
        range(faults)
    )
    assert {event["event_id"] for event in client.events if event.get("name") == "motion_start"} == {"0", "1", "2"}
    assert client.crashes == []


class RealClock(FakeClock):
    def monotonic(self) -> float:
        return time.monotonic()


def test_the_client_may_run_before_the_daemon_has_ever_started(files, tmp_path):
    # An installer makes the files that the client demands; the daemon comes later.
    create_if_missing(files.configure_input, b"{}")
    create_if_missing(files.configure_output)
    write_slot(files.event_output, b"{}")
    client = files.client()
    client.start()
    output = EventOutput(files.event_output, clock=RealClock(), thing_name=ThingName("pi"))
    output.prepare()
    daemon = Daemon(files, tmp_path)
    client.shadow.desire(camera={"framerate": 30})
    daemon.reconcile_until(lambda: client.shadow.sync)
    output.post(events.RecordingChange(thing_name="pi", recording=True))
    wait_until(output.flush)
    wait_until(lambda: len(client.published) >= 2)
    daemon.stop()
    client.stop()
    assert client.crashes == []
