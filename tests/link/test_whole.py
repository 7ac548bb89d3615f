"""The daemon, our device client and a broker: what travels from one end to the other, and what survives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import SECOND_CLOUD, Broker, MqttClient
from tests.support.cloud_shadow import MqttCloudShadow
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.link_client import ClientProcess, ThingFolder, daemon_of

pytestmark = pytest.mark.needs_av

SCENE = ("--resolution", "320x240", "--framerate", "10", "--encoding-bitrate", "400000")
QUIET = "synthetic:?script=quiet:3600"
INPUT, OUTPUT = "pinthesky/events/garden/input", "pinthesky/events/garden/output"


@pytest.fixture
def daemon(thing: ThingFolder) -> Iterator[DaemonProcess]:
    made = daemon_of(thing, QUIET, *SCENE, "--event-queue", str(thing.queue))
    with running(made):
        yield made


def events(cloud: MqttClient, name: str) -> list[dict[str, Any]]:
    found = []
    for message in cloud.on(OUTPUT):
        document = message.document
        found += [event for event in document.get("events", [document]) if event["name"] == name]
    return found


def test_a_command_is_answered_by_an_event_and_a_settings_edit_by_a_report(
    thing: ThingFolder, cloud: MqttClient, daemon: DaemonProcess, process: ClientProcess, broker: Broker
) -> None:
    cloud.subscribe(OUTPUT)
    with broker.client(SECOND_CLOUD) as second, running(process):
        shadow = MqttCloudShadow(second, "garden")
        process.wait_ready()
        daemon.wait_log("Watching synthetic")
        eventually(lambda: shadow.reported, "the daemon's report arrives")
        process.wait_log("Connected to")
        eventually(lambda: shadow.gets, "the client has asked for the shadow")
        cloud.publish(INPUT, {"name": "health", "context": {"capture_id": "one"}})
        assert eventually(lambda: events(cloud, "health_end"), "an answer")[0]["capture_id"] == "one"

        assert not thing.event_output.exists(), "the slot is not written"

        shadow.edit(camera={"framerate": 8})
        eventually(lambda: "camera" in shadow.sync.get("applied", []), "the settings are in force")
        assert shadow.reported["camera"]["framerate"] == 8
        assert all(set(update) <= {"reported"} for update in shadow.updates if "desired" not in update)
        echoes = [update for update in shadow.updates if set(update.get("reported", {})) == {"camera"}]
        assert echoes == [], "the client reports nothing by itself"

        # What is desired while the client is away arrives when it is back.
        assert process.stop() == 0
        shadow.edit(camera={"framerate": 9})
        assert shadow.reported["camera"]["framerate"] == 8
        process.start()
        eventually(lambda: shadow.reported["camera"]["framerate"] == 9, "the offline edit is applied")
        assert process.stop() == 0
    assert daemon.stop() == 0


def test_a_client_that_knows_only_the_slot_leaves_the_queue_alone_and_what_waits_there_goes_out_with_ours(
    thing: ThingFolder, cloud: MqttClient, daemon: DaemonProcess
) -> None:
    """With what a power cut may have left in the folder: an empty event, and half of one under another name."""
    daemon.wait_log("Watching synthetic")
    (thing.queue / "1-0000000000000000-00000000.json").touch()
    (thing.queue / ".1-0000000000000000-00000000.json.new").write_text('{"name":')
    cloud.subscribe(OUTPUT)
    slot_only = ClientProcess(thing)
    with running(slot_only):
        slot_only.wait_log("All subscriptions stand")
        for number in range(3):
            cloud.publish(INPUT, {"name": "configuration", "context": {"capture_id": str(number)}})
        eventually(lambda: len(answers_in(thing.queue)) == 3, "the answers wait in the queue")
        assert slot_only.stop() == 0
    assert cloud.on(OUTPUT) == []
    thing.use_queue()
    ours = ClientProcess(thing)
    with running(ours):
        eventually(lambda: len(events(cloud, "configuration_end")) == 3, "they go out")
        eventually(lambda: list(thing.queue.glob("[01]*")) == [], "they are acknowledged")
        ours.wait_log("The event 1-0+-0+.json is empty")
        assert ours.stop() == 0
    assert [event["capture_id"] for event in events(cloud, "configuration_end")] == ["0", "1", "2"]


def answers_in(queue: Path) -> list[Path]:
    return [path for path in queue.glob("1-*.json") if b"configuration_end" in path.read_bytes()]


def test_a_daemon_that_knows_only_the_slot_is_served_by_a_client_with_the_queue(
    thing: ThingFolder, cloud: MqttClient, process: ClientProcess
) -> None:
    cloud.subscribe(OUTPUT)
    daemon = daemon_of(thing, QUIET, *SCENE)
    with running(process), running(daemon):
        assert cloud.wait_for(OUTPUT)[0].document["name"] == "recording_change"
        daemon.wait_log("Watching synthetic")
        process.wait_log("All subscriptions stand")
        cloud.publish(INPUT, {"name": "health", "context": {"capture_id": "one"}})
        assert eventually(lambda: events(cloud, "health_end"), "an answer")[0]["capture_id"] == "one"
        assert process.stop() == 0
        assert daemon.stop() == 0
    assert list(thing.queue.iterdir()) == []


def test_a_broker_that_forgot_everything_is_subscribed_to_again(
    tmp_path: Path, thing: ThingFolder, broker: Broker, process: ClientProcess
) -> None:
    with running(process):
        process.wait_log("Connected to")
        broker.kill()
        process.wait_log("connection to .* was lost")
        broker.start()
        process.wait_log("Connected to .* again as garden, a new session")
        with broker.client() as cloud:
            cloud.publish(INPUT, b'{"name":"health"}')
            eventually(lambda: thing.event_input.exists() and thing.event_input.read_bytes(), "the command arrives")
        assert process.stop(5.0) == 0
    assert thing.event_input.read_bytes() == b'{"name":"health"}'


def test_no_queued_event_is_lost_by_kill_9_of_the_client_and_the_broker(
    thing: ThingFolder, broker: Broker, cloud: MqttClient, process: ClientProcess
) -> None:
    wanted = list(range(300))
    thing.queue.mkdir(mode=0o700)
    for number in wanted:
        (thing.queue / f"1-{number:016d}-00000000.json").write_text(json.dumps({"name": "x", "number": number}))
    cloud.subscribe(OUTPUT)

    def arrived() -> list[int]:
        return [message.document["number"] for message in cloud.on(OUTPUT)]

    for kills in range(3):
        with running(process):
            eventually(lambda least=kills * 40: len(arrived()) > least, "some arrive")
            process.kill()
    assert len(arrived()) < 300, "it was killed on the way"
    with running(process):
        eventually(lambda: not list(thing.queue.glob("*.json")), "all are acknowledged")
        assert process.stop() == 0
    assert sorted(set(arrived())) == wanted
    first = list(dict.fromkeys(arrived()))
    assert first == wanted, "in their order"


def test_a_session_goes_on_over_a_restart_of_the_client(
    thing: ThingFolder, cloud: MqttClient, process: ClientProcess
) -> None:
    with running(process):
        process.wait_log("All subscriptions stand")
        process.kill()
        cloud.publish(INPUT, b"meanwhile")
        process.start()
        process.wait_log("the session went on")
        eventually(lambda: thing.event_input.exists() and thing.event_input.read_bytes(), "what came meanwhile")
        assert process.stop() == 0
    assert thing.event_input.read_bytes() == b"meanwhile"
