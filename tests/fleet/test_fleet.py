"""Hub, device client and daemon as three programs: what travels from one end to the other, and what no kill takes away.

One fleet for all tests of this file. Each leaves it running, with camera `garden` connected.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from pinthesky.hub.ports import MEDIA_BUCKET
from pinthesky.model.identifiers import EventId, ThingName, event_topic, shadow_topic
from pinthesky.model.jobs import JobId, JobStatus
from tests.support.broker import MqttClient
from tests.support.daemon_process import eventually
from tests.support.fleet import Fleet, FleetCamera, RootHelper, fetch_credentials, pits_hub, running_fleet
from tests.support.hub_process import HOST, try_connect

pytestmark = pytest.mark.needs_av

CUT_WITHIN_S = 5.0
UPDATE = shadow_topic(ThingName("load"), "update")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(scope="module")
def garden(fleet: Fleet) -> FleetCamera:
    made = fleet.add("garden")
    made.start()
    return made


@pytest.fixture(scope="module")
def root_helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RootHelper]:
    made = RootHelper(tmp_path_factory.mktemp("root") / "helper")
    made.start()
    yield made
    made.stop()


tokens = (f"edit-{number}" for number in itertools.count(1))


def edit_and_wait(fleet: Fleet, thing: str, *, framerate: int) -> int:
    """Edit, and wait until the camera says that it does so. Returns the version of the edit."""
    version = fleet.planes.edit(thing, next(tokens), camera={"framerate": framerate})
    reported = lambda: fleet.planes.reported(thing).get("camera", {}).get("framerate")  # noqa: E731 - asked again and again
    eventually(lambda: reported() == framerate, f"{thing} does {framerate} pictures a second", 30.0)
    return version


def other_framerate(fleet: Fleet, thing: str) -> int:
    """A framerate that the camera does not have now."""
    return 9 if fleet.planes.reported(thing).get("camera", {}).get("framerate") == 8 else 8


def play(file: Path) -> tuple[int, float]:
    """Decode a clip: how many pictures, and over how many seconds."""
    import av

    with av.open(str(file)) as container:
        times = [picture.time for picture in container.decode(video=0)]
    return len(times), times[-1] - times[0]


def test_a_settings_edit_is_applied_and_reported_under_its_version(fleet: Fleet, garden: FleetCamera) -> None:
    version = edit_and_wait(fleet, "garden", framerate=other_framerate(fleet, "garden"))
    shadow = fleet.planes.shadow("garden")
    assert shadow["version"] > version
    assert "delta" not in shadow["state"], "nothing is desired that is not reported"
    sync = shadow["state"]["reported"]["sync"]
    assert "camera" in sync["applied"]
    assert sync["rejected"] == {}
    versions = lambda: [one["current"]["version"] for one in fleet.planes.documents("garden")]  # noqa: E731 - asked again
    eventually(lambda: shadow["version"] in versions(), "what is kept is told")
    assert versions() == list(range(versions()[0], versions()[0] + len(versions()))), "each version is told, once"
    told = fleet.planes.documents("garden")
    edited = next(one for one in told if one["current"]["version"] == version)
    assert edited["current"]["state"]["reported"] == edited["previous"]["state"].get("reported", {}), "no echo"


def test_what_cannot_be_is_rejected_with_its_reason_and_the_rest_applied(fleet: Fleet, garden: FleetCamera) -> None:
    before = fleet.planes.reported("garden")["camera"]["rotation"]
    fleet.planes.edit("garden", next(tokens), camera={"rotation": 45}, health={"interval": 1800})
    sync = lambda: fleet.planes.reported("garden").get("sync", {})  # noqa: E731 - asked again and again
    eventually(lambda: "camera.rotation" in sync().get("rejected", {}), "the reason")
    assert fleet.planes.reported("garden")["health"]["interval"] == 1800
    assert fleet.planes.reported("garden")["camera"]["rotation"] == before
    fleet.planes.edit("garden", next(tokens), camera={"rotation": None}, health=None)
    eventually(lambda: sync().get("rejected") == {}, "nothing is rejected any more")


def test_a_command_is_answered_by_its_event(fleet: Fleet, garden: FleetCamera) -> None:
    fleet.planes.command("garden", "health", capture_id="asked-by-the-test")
    (event,) = eventually(lambda: fleet.planes.events("garden", "health_end", capture_id="asked-by-the-test"), "event")
    assert event["thing_name"] == "garden"
    assert event["disk_total"] > 0


def test_a_job_runs_the_shipped_handler_and_reports_what_it_said(
    fleet: Fleet, garden: FleetCamera, root_helper: RootHelper
) -> None:
    root_helper.handlers(garden.handlers)
    action = {
        "name": "logs",
        "type": "runHandler",
        "input": {"handler": "read-service-logs", "args": ["pinthesky", "2"], "path": "default"},
    }
    document = {"version": "1.0", "includeStdOut": True, "steps": [{"action": action}]}
    job = JobId(f"logs-{next(tokens)}")
    fleet.planes.jobs.create(job, document, [ThingName("garden")])
    execution = lambda: fleet.planes.jobs.execution(job, ThingName("garden"))  # noqa: E731 - asked again and again
    eventually(lambda: execution().status.is_terminal, "the job is over")
    assert execution().status is JobStatus.SUCCEEDED, execution().details
    assert "two\nthree" in execution().details["stdout"].replace("\\n", "\n")
    assert fleet.planes.jobs.describe(job).counts == {JobStatus.SUCCEEDED: 1}


def test_what_is_edited_while_the_camera_is_offline_arrives_when_it_is_back(fleet: Fleet, garden: FleetCamera) -> None:
    framerate = other_framerate(fleet, "garden")
    assert garden.client.stop() == 0
    eventually(lambda: not fleet.planes.presence("garden").connected, "the hub knows that it is gone")  # type: ignore[union-attr] # it is known
    fleet.planes.edit("garden", next(tokens), camera={"framerate": framerate})
    assert fleet.planes.reported("garden")["camera"]["framerate"] != framerate
    garden.client.start()
    eventually(lambda: fleet.planes.reported("garden")["camera"]["framerate"] == framerate, "the edit arrives")
    assert fleet.planes.presence("garden").connected  # type: ignore[union-attr] # it is known


def test_a_broker_that_is_killed_is_started_again_and_everybody_is_back(fleet: Fleet, garden: FleetCamera) -> None:
    (before,) = fleet.mosquitto()
    connected = len([line for line in garden.client.log if "Connected to" in line])
    fleet.kill_broker()
    fleet.hub.wait_log("mosquitto has ended")
    garden.client.wait_log("Connected to", count=connected + 1)
    assert fleet.mosquitto() not in ([], [before])
    edit_and_wait(fleet, "garden", framerate=other_framerate(fleet, "garden"))


def record_clip(fleet: Fleet, garden: FleetCamera) -> Path:
    """Have the camera record a clip. Returns where it lies in the media folder, after the camera has told of it.

    It may just be opening anew for other settings, and waits for its first picture then.
    """
    name = next(tokens)
    fleet.planes.command("garden", "capture_video", capture_id=name, duration=2)
    (told,) = eventually(lambda: fleet.planes.events("garden", "upload_end", capture_id=name), "upload_end", 40.0)
    assert told.get("upload", {}).get("bucket_name") == MEDIA_BUCKET, told
    file = fleet.media(told["upload"]["bucket_key"])
    assert file is not None
    return file


def test_a_clip_arrives_in_the_media_folder_and_plays(fleet: Fleet, garden: FleetCamera) -> None:
    file = record_clip(fleet, garden)
    pictures, seconds = play(file)
    assert seconds >= 1.8
    assert pictures >= 8 * 1.8, "no picture is missing"
    assert file.parent.parent.name == "garden"
    assert not list((garden.daemon.spool / "ready").glob("*.mp4")), "the camera keeps nothing that is stored"


class Uploads(threading.Thread):
    """Stores one object after the other, as a camera does: again until the hub says that it has it."""

    def __init__(self, camera: FleetCamera, number: int) -> None:
        super().__init__(name=f"uploads-{number}", daemon=True)
        self._camera = camera
        self._source = random.Random(number)
        self._epoch = itertools.count(1_700_000_000 + number * 1_000_000)
        self.over = threading.Event()
        self.stored: dict[str, str] = {}
        """MD5 by key, of what was answered with 200 or, at a second attempt, with 412."""
        self.error: BaseException | None = None

    def run(self) -> None:
        """Until `over`."""
        try:
            keys = self._camera.keys()
            while not self.over.is_set():
                self._store(keys)
        except BaseException as error:
            self.error = error
            raise

    def _store(self, keys: dict[str, str]) -> None:
        key = f"motion_videos/load/{next(self._epoch)}-{EventId.new()}.motion.mp4"
        content = self._source.randbytes(self._source.randrange(1, 300_000))
        client = self._camera.aws("s3", keys)
        attempts = 0
        while not self.over.is_set():
            attempts += 1
            try:
                client.put_object(
                    Bucket=MEDIA_BUCKET, Key=key, Body=content, IfNoneMatch="*", ChecksumAlgorithm="SHA256"
                )
            except BotoCoreError:
                self.over.wait(0.05)
                continue
            except ClientError as error:
                assert error.response["Error"]["Code"] == "PreconditionFailed", error
                assert attempts > 1, "nobody else stores under this key"
            self.stored[key] = hashlib.md5(content).hexdigest()
            break
        client.close()


class Updates(threading.Thread):
    """Updates a shadow without pause. `accepted` holds what was answered so: the value by its version."""

    ASK_AGAIN_S = 2.0

    def __init__(self, mqtt: MqttClient) -> None:
        super().__init__(name="updates", daemon=True)
        self._mqtt = mqtt
        self._read = 0
        self.over = threading.Event()
        self.accepted: dict[int, int] = {}
        self.newest = 0

    def run(self) -> None:
        """Until `over`: one after the other, each again while no answer comes, as a device does it."""
        while not self.over.is_set():
            self.newest += 1
            again_at = 0.0
            while not self.over.is_set() and not self._is_answered():
                if time.monotonic() >= again_at:
                    again_at = time.monotonic() + self.ASK_AGAIN_S
                    update = {"state": {"reported": {"number": self.newest}}, "clientToken": str(self.newest)}
                    self._mqtt.send(UPDATE, update)
                self.over.wait(0.005)

    def _is_answered(self) -> bool:
        """Take in what came since the last look; whether the newest is among it."""
        news = [message.document for message in self._mqtt.on(f"{UPDATE}/accepted")[self._read :]]
        self._read += len(news)
        self.accepted |= {document["version"]: document["state"]["reported"]["number"] for document in news}
        return any(document["clientToken"] == str(self.newest) for document in news)


def check_kills(fleet: Fleet, load: FleetCamera, kills: int) -> None:
    """Kill the hub again and again while `load` uploads and updates, then hold what was answered against what is kept.

    Every PUT answered with 200 is there, whole; every update that was accepted has its version, no two the same.
    """
    source = random.Random(7)
    with load.mqtt() as mqtt:
        mqtt.subscribe(f"{UPDATE}/accepted", f"{UPDATE}/rejected")
        uploads, updates = [Uploads(load, number) for number in range(2)], Updates(mqtt)
        threads: list[Uploads | Updates] = [*uploads, updates]
        for thread in threads:
            thread.start()
        try:
            for _ in range(kills):
                progress = sum(len(one.stored) for one in uploads), len(updates.accepted)
                eventually(
                    lambda before=progress: (
                        sum(len(one.stored) for one in uploads) > before[0] and len(updates.accepted) > before[1]
                    ),
                    "uploads and updates go on by themselves",
                    30.0,
                )
                pause_until = time.monotonic() + source.uniform(0.0, 0.5)
                while time.monotonic() < pause_until:
                    time.sleep(0.01)
                fleet.hub.kill()
                eventually(lambda: fleet.mosquitto() == [], "mosquitto ends with the hub")
                fleet.hub.start()
                fleet.hub.wait_ready()
        finally:
            for thread in threads:
                thread.over.set()
            for thread in threads:
                thread.join(20.0)
        assert mqtt.on(f"{UPDATE}/rejected") == []
    assert [one.error for one in uploads if one.error is not None] == []
    check_stored(fleet, {key: digest for one in uploads for key, digest in one.stored.items()})
    check_versions(fleet, updates)


def check_stored(fleet: Fleet, stored: dict[str, str]) -> None:
    """What was answered is there, whole, and nothing lies about that nobody knows."""
    assert stored
    for key, digest in stored.items():
        file = fleet.media(key)
        assert file is not None, f"{key} was answered and is not there"
        assert hashlib.md5(file.read_bytes()).hexdigest() == digest
    files = [path for path in (fleet.hub.data / "media" / "load").rglob("*") if path.is_file()]
    assert len(files) == 2 * len([one for one in fleet.planes.index.files() if one.startswith("load/")])


def check_versions(fleet: Fleet, updates: Updates) -> None:
    """Values rise with versions: none that was accepted was taken back and given to another."""
    versions = sorted(updates.accepted)
    numbers = [updates.accepted[version] for version in versions]
    assert numbers == sorted(numbers)
    shadow = fleet.planes.shadow("load")
    assert shadow["version"] >= versions[-1]
    assert numbers[-1] <= shadow["state"]["reported"]["number"] <= updates.newest


def check_garden_goes_on(fleet: Fleet, garden: FleetCamera) -> None:
    edit_and_wait(fleet, "garden", framerate=other_framerate(fleet, "garden"))
    assert play(record_clip(fleet, garden))[1] >= 1.8


def test_nothing_that_was_accepted_is_lost_by_kill_9_of_the_hub(
    fleet: Fleet, garden: FleetCamera, load: FleetCamera
) -> None:
    clients = garden.client.pid, garden.daemon.pid
    check_kills(fleet, load, 3)
    check_garden_goes_on(fleet, garden)
    assert (garden.client.pid, garden.daemon.pid) == clients
    assert garden.client.is_running
    assert garden.daemon.is_running


@pytest.mark.soak
def test_nothing_that_was_accepted_is_lost_by_many_kills(fleet: Fleet, garden: FleetCamera, load: FleetCamera) -> None:
    check_kills(fleet, load, 6 if os.environ.get("SOAK") == "short" else 60)
    check_garden_goes_on(fleet, garden)


@pytest.fixture(scope="module")
def load(fleet: Fleet) -> FleetCamera:
    """A camera of which the tests play both programs."""
    return fleet.add("load")


class SlowPut(threading.Thread):
    """A PUT that brings a few bytes now and then, until the hub ends it."""

    def __init__(self, camera: FleetCamera, port: int, keys: dict[str, str]) -> None:
        super().__init__(name="slow-put", daemon=True)
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        self.key = f"motion_videos/{camera.name}/1700000000-{EventId.new()}.motion.mp4"
        url = f"https://{HOST}:{port}/{MEDIA_BUCKET}/{self.key}"
        asked = AWSRequest(
            "PUT", url, headers={"Content-Length": "1000000", "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        )
        given = Credentials(keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
        asked.context["payload_signing_enabled"] = False
        S3SigV4Auth(given, "s3", "us-east-1").add_auth(asked)
        trusting = ssl.create_default_context(cafile=str(camera.identity.root))
        self._connection = http.client.HTTPSConnection(HOST, port, timeout=10.0, context=trusting)
        self._connection.putrequest("PUT", f"/{MEDIA_BUCKET}/{self.key}", skip_accept_encoding=True)
        for name, value in asked.headers.items():
            if name.lower() != "host":
                self._connection.putheader(name, str(value))
        self._connection.endheaders(b"x" * 1000)
        self.over = threading.Event()
        self.ended_at: float | None = None

    def run(self) -> None:
        """Until the hub answers or closes, or `over`."""
        self._connection.sock.settimeout(0.2)
        while not self.over.is_set():
            try:
                if not self._connection.sock.recv(1) or True:
                    break
            except TimeoutError:
                with contextlib.suppress(OSError):
                    self._connection.sock.sendall(b"x" * 100)
            except OSError:
                break
        if not self.over.is_set():
            self.ended_at = time.monotonic()
        self._connection.close()


def refused(call: Callable[[], Any]) -> str:
    """The code with which the hub refuses what an SDK asks."""
    with pytest.raises(ClientError) as refusal:
        call()
    return str(refusal.value.response["Error"]["Code"])


def test_a_removed_camera_is_cut_everywhere_and_its_name_begins_anew(fleet: Fleet, garden: FleetCamera) -> None:
    yard, name = fleet.add("yard", "yard-of-old"), ThingName("yard")
    yard.start()
    edit_and_wait(fleet, "yard", framerate=8)
    (yard.handlers / "stay").write_text("#!/bin/sh\nexec sleep 60\n")
    (yard.handlers / "stay").chmod(0o700)
    under_way, waiting = JobId("under-way"), JobId("waiting")
    for job in (under_way, waiting):
        fleet.planes.jobs.create(job, {"operation": "stay"}, [name])
    status = lambda job: fleet.planes.jobs.execution(job, name).status  # noqa: E731 - asked again and again
    eventually(lambda: status(under_way) is JobStatus.IN_PROGRESS, "the first job is under way")
    keys = yard.keys()
    store, connections = yard.aws("s3", keys), yard.aws("apigatewaymanagementapi", keys)
    store.put_object(Bucket=MEDIA_BUCKET, Key=f"motion_videos/yard/1700000001-{EventId.new()}.motion.mp4", Body=b"mine")
    assert refused(lambda: connections.post_to_connection(ConnectionId="nobody", Data=b"")) == "GoneException"
    slow = SlowPut(yard, fleet.hub.device_port, keys)
    slow.start()
    lost = len([line for line in yard.client.log if "was lost" in line])

    pits_hub(fleet.hub.data, "remove-camera", "yard")
    begun = time.monotonic()
    yard.client.wait_log("was lost", count=lost + 1, timeout_s=CUT_WITHIN_S)
    eventually(lambda: slow.ended_at is not None, "the PUT under way is cut", CUT_WITHIN_S)
    assert slow.ended_at is not None
    assert slow.ended_at - begun < CUT_WITHIN_S
    assert fetch_credentials(fleet.hub.device_port, yard.identity)[0] == 403
    key = f"motion_videos/yard/1700000002-{EventId.new()}.motion.mp4"
    assert refused(lambda: store.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=b"late")) in (
        "AccessDenied",
        "InvalidAccessKeyId",
    )
    assert refused(lambda: connections.post_to_connection(ConnectionId="nobody", Data=b"")) not in ("", "GoneException")
    assert try_connect(yard.identity, fleet.hub.mqtt_port)[0] is False
    assert fleet.media(slow.key) is None
    eventually(lambda: fleet.planes.presence("yard") is None, "its presence is forgotten", CUT_WITHIN_S)

    fleet.planes.command("yard", "health", capture_id="for-the-old-one")
    again = fleet.add("yard")
    assert fleet.planes.shadow("yard") == {}
    assert [status(job) for job in (under_way, waiting)] == [JobStatus.REMOVED] * 2
    fleet.planes.forget_messages()
    again.start()
    edit_and_wait(fleet, "yard", framerate=9)
    told = fleet.planes.documents("yard")
    assert told[0]["current"]["version"] == 1, "a shadow of its own"
    assert "framerate" not in told[0]["previous"].get("state", {}).get("desired", {}).get("camera", {})
    assert fleet.planes.events("yard", "health_end", capture_id="for-the-old-one") == []
    assert b"for-the-old-one" not in again.daemon.event_input.read_bytes()
    assert try_connect(yard.identity, fleet.hub.mqtt_port)[0] is False, "the old certificate stays refused"
    assert fetch_credentials(fleet.hub.device_port, yard.identity)[0] == 403
    assert refused(lambda: store.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=b"late")) != "", "and the old keys"
    new_store = again.aws("s3", again.keys())
    assert new_store.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=b"new")["ETag"]
    assert not [event for event in fleet.planes.mqtt.on(event_topic(name)) if b"old" in event.payload]
    for client in (store, connections, new_store):
        client.close()
    assert yard.stop() == [0, 0]
    assert again.stop() == [0, 0]
