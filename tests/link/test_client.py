"""The device client as a process: how it starts, says how it goes, and ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pinthesky.link import client as module
from pinthesky.link.client import EXIT_CONFIGURATION, Client, main
from pinthesky.link.configuration import Configuration
from pinthesky.link.pubsub_files import PublishFile
from pinthesky.machine import durable_files
from tests.support.broker import HOST, Broker, MqttClient
from tests.support.daemon_process import PROJECT, eventually, running
from tests.support.link_client import ClientProcess, ThingFolder
from tests.support.log_records import root_logger

__all__ = ["root_logger"]

INPUT, OUTPUT = "pinthesky/events/garden/input", "pinthesky/events/garden/output"


def test_it_is_ready_says_its_state_and_ends_at_once_in_order(
    thing: ThingFolder, broker: Broker, process: ClientProcess
) -> None:
    with running(process):
        process.wait_notified("READY=1")
        process.wait_notified(f"STATUS=connected to {HOST}:{broker.port}")
        assert process.stop(5.0) == 0
    assert not [line for line in process.log if "WARNING" in line or "ERROR" in line]


def test_ctrl_c_is_the_same_end(process: ClientProcess) -> None:
    with running(process):
        process.wait_notified("READY=1")
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(5.0) == 0


def test_without_a_broker_it_is_ready_all_the_same_and_ends_as_fast(broker: Broker, process: ClientProcess) -> None:
    broker.stop()
    with running(process):
        process.wait_notified("READY=1")
        process.wait_log("nothing listens there")
        assert process.stop(5.0) == 0


def test_the_watchdog_is_fed(thing: ThingFolder) -> None:
    process = ClientProcess(thing)
    process._environment["WATCHDOG_USEC"] = "200000"
    with running(process):
        process.wait_notified("READY=1")
        process.wait_notified("WATCHDOG=1")
        process.wait_notified("WATCHDOG=1")
        assert process.stop(5.0) == 0


def test_the_four_files_serve_without_a_queue_too(thing: ThingFolder, broker: Broker, cloud: MqttClient) -> None:
    cloud.subscribe(OUTPUT, "$aws/things/garden/shadow/name/pinthesky/update")
    thing.event_output.write_bytes(b'{"name":"recording_change"}')
    thing.event_output.chmod(0o600)
    process = ClientProcess(thing)
    with running(process):
        cloud.wait_for(OUTPUT)
        process.wait_log("All subscriptions stand")
        cloud.publish(INPUT, b'{"name":"a"}')
        cloud.publish(INPUT, b'{"name":"b"}')
        eventually(lambda: thing.event_input.exists() and len(thing.event_input.read_bytes()) == 24, "both arrive")
        thing.event_output.write_bytes(b'{"name":"health_end"}')
        assert cloud.wait_for(OUTPUT, 2)[-1].document == {"name": "health_end"}
        thing.configure_input.write_bytes(b'{"camera":{}}')
        update = cloud.wait_for("$aws/things/garden/shadow/name/pinthesky/update")[-1]
        assert update.document["state"] == {"reported": {"camera": {}}}
        assert process.stop(5.0) == 0
    assert thing.event_input.read_bytes() == b'{"name":"a"}{"name":"b"}'
    assert [message.payload for message in cloud.on(OUTPUT)] == [
        b'{"name":"recording_change"}',
        b'{"name":"health_end"}',
    ]


def test_with_jobs_it_asks_for_work(thing: ThingFolder, broker: Broker, cloud: MqttClient) -> None:
    handlers = thing.folder / "handlers"
    handlers.mkdir(0o700)
    thing.document["jobs"] = {"enabled": True, "handler-directory": str(handlers)}
    cloud.subscribe("$aws/things/garden/jobs/start-next")
    process = ClientProcess(thing)
    with running(process):
        cloud.wait_for("$aws/things/garden/jobs/start-next")
        assert process.stop(8.0) == 0


def test_a_log_file_is_written_when_that_is_asked_for(thing: ThingFolder, process: ClientProcess) -> None:
    log = thing.folder / "client.log"
    thing.document["logging"] = {"level": "INFO", "type": "FILE", "file": str(log), "enable-sdk-logging": True}
    thing.write()
    with running(process):
        eventually(lambda: log.exists() and "Connected to" in log.read_text(), "the log")
        assert process.stop(5.0) == 0
    assert not [line for line in process.log if " INFO connection:" in line]


def test_the_module_is_the_program() -> None:
    command = [sys.executable, "-m", "pinthesky.link", "--version"]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("pits-device-client ")


# What the owner has to mend


def refusals(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(arguments) == EXIT_CONFIGURATION
    return capsys.readouterr().err.splitlines()


def test_all_that_is_wrong_is_told_on_stderr_and_the_exit_code_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "client.conf"
    file.write_text(json.dumps({"endpoint": "hub", "port": "x"}))
    lines = refusals(capsys, "--config-file", str(file))
    assert lines[0] == "pits-device-client: port: must be a number from 1 to 65535, got 'x'"
    assert len(lines) == 4


def test_a_wrong_mode_ends_it_with_the_command_that_mends_it(
    thing: ThingFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    thing.key.chmod(0o644)
    lines = refusals(capsys, "--config-file", str(thing.write()))
    assert lines == [f"pits-device-client: key: {thing.key} has mode 644 and must have 600: chmod 600 {thing.key}"]


@pytest.mark.usefixtures("root_logger")
def test_a_key_that_does_not_fit_ends_it(
    thing: ThingFolder, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    thing.key.write_bytes(broker.issue("door").key.read_bytes())
    lines = refusals(capsys, "--config-file", str(thing.write()))
    assert len(lines) == 1
    assert "does not belong to the certificate" in lines[0]


@pytest.mark.usefixtures("root_logger")
def test_folders_and_logs_that_cannot_be_made_end_it(thing: ThingFolder, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = thing.folder / "blocked"
    blocked.write_text("a file")
    thing.document["samples"]["pub-sub"]["publish-queue"] = str(blocked / "queue")
    assert f"cannot make {blocked / 'queue'}" in refusals(capsys, "--config-file", str(thing.write()))[-1]
    thing.document["logging"] = {"type": "FILE", "file": str(blocked / "log")}
    assert "logging.file: cannot write" in refusals(capsys, "--config-file", str(thing.write()))[-1]


@pytest.mark.usefixtures("root_logger")
def test_a_full_disk_ends_it_with_1_so_that_it_is_started_again(
    thing: ThingFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    thing.use_queue()
    monkeypatch.setattr(durable_files, "make_folder", full)
    assert main(["--config-file", str(thing.write())]) == 1
    said = f"samples.pub-sub.publish-queue: cannot make {thing.queue}: No space left on device\n"
    assert capsys.readouterr().err.endswith(said)


@pytest.mark.usefixtures("root_logger")
def test_a_process_whose_parts_do_not_end_ends_all_the_same_and_names_them(
    thing: ThingFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        late = ("jobs", "files")

        def __init__(self, _configuration: Configuration) -> None:
            pass

        def run(self) -> int:
            return 0

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(module, "Client", Late)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left:
        main(["--config-file", str(thing.write())])
    assert left.value.code == 1
    assert "These parts do not end: jobs, files" in capsys.readouterr().out


@pytest.mark.usefixtures("root_logger")
def test_a_part_that_fails_ends_the_process_with_1(thing: ThingFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PublishFile, "look", broken)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main(["--config-file", str(thing.write())]) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.usefixtures("root_logger")
def test_whatever_is_switched_off_is_left_out_and_a_part_that_does_not_end_is_named(
    thing: ThingFolder, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing.document["samples"]["pub-sub"]["enabled"] = False
    thing.document["sample-shadow"]["enabled"] = False
    thing.document["jobs"] = {"enabled": True, "handler-directory": str(thing.folder)}
    client = Client(thing.configuration())
    assert client._files._watched == []
    assert client._jobs is not None
    assert client._jobs.stop(1.0)
    for part, method in ((client._jobs, "stop"), (client._files, "join"), (client._connection, "stop")):
        monkeypatch.setattr(part, method, lambda _: False)
    client.stop()
    assert client.late == ["jobs", "files", "connection"]
