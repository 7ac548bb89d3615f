"""What the certificate of one camera can do: everything of its own that it needs, and nothing else.

The tables are written by hand, and a test holds that nothing is missing in them. Every row that is refused stands
beside a control that shows that the same thing works where it may.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import functools
import json
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import paho.mqtt.client as paho
import pytest
from botocore.exceptions import ClientError
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from starlette.routing import Mount, Route

from pinthesky.hub import broker, object_requests, things
from pinthesky.hub.app import Hub
from pinthesky.hub.credentials import Keys
from pinthesky.hub.ports import HUB_CLIENT_ID, MEDIA_BUCKET
from pinthesky.hub.settings import HubSettings, Listen, Media
from pinthesky.hub.sockets import Opening
from pinthesky.link import job_topics
from pinthesky.model import identifiers
from pinthesky.model.identifiers import ConnectionId, EventId, ThingName
from tests.support.broker import MqttClient
from tests.support.daemon_process import eventually
from tests.support.fleet import Credentials, HubSide, aws_client, fetch_credentials, get
from tests.support.hub_process import HOST, Camera, CameraSide, new_camera

A, B = "a", "b"
THIEF = "c"
"""A camera without a client of its own, whose certificate is used to be somebody else."""

SAYS, HEARS, NEITHER = "says", "hears", "neither"
TOPICS = {
    # What a camera may say is a request; what it may hear is the answer. Nothing is both.
    "pinthesky/events/{thing}/output": SAYS,
    "pinthesky/events/{thing}/input": HEARS,
    "pinthesky/events/{thing}/other": NEITHER,
    "pinthesky/events/output": NEITHER,  # the predecessor's, on which each could speak for any
    "$aws/things/{thing}/shadow/get": SAYS,
    "$aws/things/{thing}/shadow/update": SAYS,
    "$aws/things/{thing}/shadow/delete": SAYS,
    "$aws/things/{thing}/shadow/get/accepted": HEARS,
    "$aws/things/{thing}/shadow/get/rejected": HEARS,
    "$aws/things/{thing}/shadow/update/accepted": HEARS,
    "$aws/things/{thing}/shadow/update/rejected": HEARS,
    "$aws/things/{thing}/shadow/update/delta": HEARS,
    "$aws/things/{thing}/shadow/update/documents": HEARS,
    "$aws/things/{thing}/shadow/delete/accepted": HEARS,
    "$aws/things/{thing}/shadow/delete/rejected": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/get": SAYS,
    "$aws/things/{thing}/shadow/name/pinthesky/update": SAYS,
    "$aws/things/{thing}/shadow/name/pinthesky-old/delete": SAYS,
    "$aws/things/{thing}/shadow/name/pinthesky/list": NEITHER,
    "$aws/things/{thing}/shadow/name/pinthesky/get/accepted": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/get/rejected": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/update/accepted": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/update/rejected": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/update/delta": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/update/documents": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/delete/accepted": HEARS,
    "$aws/things/{thing}/shadow/name/pinthesky/delete/rejected": HEARS,
    "$aws/things/{thing}/jobs/get": SAYS,
    "$aws/things/{thing}/jobs/start-next": SAYS,
    "$aws/things/{thing}/jobs/job-1/get": SAYS,
    "$aws/things/{thing}/jobs/job-1/update": SAYS,
    "$aws/things/{thing}/jobs/job-1/delete": NEITHER,
    "$aws/things/{thing}/jobs/create": NEITHER,
    "$aws/things/{thing}/jobs/get/accepted": HEARS,
    "$aws/things/{thing}/jobs/get/rejected": HEARS,
    "$aws/things/{thing}/jobs/start-next/accepted": HEARS,
    "$aws/things/{thing}/jobs/start-next/rejected": HEARS,
    "$aws/things/{thing}/jobs/job-1/get/accepted": HEARS,
    "$aws/things/{thing}/jobs/job-1/get/rejected": HEARS,
    "$aws/things/{thing}/jobs/job-1/update/accepted": HEARS,
    "$aws/things/{thing}/jobs/job-1/update/rejected": HEARS,
    "$aws/things/{thing}/jobs/notify": HEARS,
    "$aws/things/{thing}/jobs/notify-next": HEARS,
    "$aws/things/{thing}/streams/s/get/json": NEITHER,
    "$aws/events/presence/connected/{thing}": NEITHER,
    "$aws/rules/any": NEITHER,
    "$SYS/broker/uptime": NEITHER,
    "anything": NEITHER,
}
FILTERS = (
    "#",
    "+/#",
    "$aws/#",
    "$aws/things/#",
    "$aws/things/+/shadow/#",
    "$aws/things/+/jobs/#",
    "pinthesky/#",
    "pinthesky/events/+/+",
    "$SYS/#",
    "$share/thieves/#",
    "$share/thieves/$aws/things/b/jobs/notify-next",
    "$share/thieves/pinthesky/events/b/input",
    "$share/thieves/pinthesky/events/b/output",
)
"""With which a camera might hope to hear what is not for it."""

REFUSED, GONE = ("AccessDenied", 403), ("GoneException", 410)
MISMATCH, TAKEN, NOT_HERE = ("AccessDenied", 403), ("PreconditionFailed", 412), ("NotImplemented", 501)

FREE = HubSettings(
    listen=Listen(address="127.0.0.1", console_port=0, localhost_port=0, device_port=0, mqtt_ports=[0]),
    media=Media(min_free="0"),
)


@dataclass
class World:
    """A hub in this process, two cameras that are connected and subscribed to all that they could name, and the hub's
    own ear."""

    hub: Hub
    cameras: dict[str, Camera]
    clients: dict[str, MqttClient]
    ear: HubSide
    keys: dict[str, Credentials]
    clips: dict[str, str]
    """Each camera's object, by its name."""
    connections: dict[str, ConnectionId] = field(default_factory=dict)
    """Sockets that have asked one camera each."""

    def aws(self, service: str, who: str | None) -> Any:
        """A client of a service with the keys of a camera; None: the hub's own."""
        keys = self.hub_keys() if who is None else self.keys[who]
        return aws_client(service, self.hub.ports.device, root=self.cameras[A].root, keys=keys)

    def hub_keys(self) -> Credentials:
        """Keys of the hub itself."""
        key = Keys(self.hub.foundation.authority.secret).issue_for_hub()
        return {
            "accessKeyId": key.access_key_id,
            "secretAccessKey": key.secret_access_key,
            "sessionToken": key.session_token,
        }

    @property
    def url(self) -> str:
        """The device port."""
        return f"https://{HOST}:{self.hub.ports.device}"

    def until_quiet(self) -> None:
        """Until all that was published so far has been delivered: what comes now comes behind it."""
        marks = {name: len(client.messages) for name, client in self.clients.items()}
        for name in self.clients:
            self.ear.publish(f"pinthesky/events/{name}/input", b"mark")
        for name, client in self.clients.items():
            topic = f"pinthesky/events/{name}/input"
            eventually(
                lambda at=marks[name], heard=client, on=topic: any(
                    m.topic == on and m.payload == b"mark" for m in heard.messages[at:]
                ),
                "the mark",
            )
        self.ear.publish("the/last", b"mark")
        eventually(lambda: self.ear.on("the/last"), "the mark")
        self.ear.messages[:] = [m for m in self.ear.messages if m.topic != "the/last"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("isolation")
    hub = Hub(folder / "hub", FREE)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: stopped(hub))
        hub.start()
        assert hub.mqtt.wait_connected(10.0)
        cameras = {name: new_camera(hub.foundation, name, folder / name) for name in (A, B, THIEF)}
        ear = HubSide(hub.foundation.folder.broker_socket, "ear.of.the.test")
        ear.connect()
        stack.callback(ear.close)
        ear.subscribe("#", "$aws/#")
        keys = {name: fetch_credentials(hub.ports.device, camera)[1] for name, camera in cameras.items()}
        clips = {name: f"motion_videos/{name}/1700000000-{EventId.new()}.motion.mp4" for name in cameras}
        made = World(hub, cameras, {}, ear, keys, clips)
        for name, camera in list(cameras.items())[:2]:
            client = MqttClient(CameraSide(camera, hub.ports.mqtt[0]), name)
            client.connect()
            stack.callback(client.close)
            client.subscribe(identifiers.command_topic(ThingName(name)))
            made.clients[name] = client
            with contextlib.closing(made.aws("s3", name)) as store:
                store.put_object(Bucket=MEDIA_BUCKET, Key=clips[name], Body=f"clip of {name}".encode())
            made.connections[name] = asyncio.run(admitted(hub))
            hub.sockets.grant(made.connections[name], ThingName(name))
        yield made


def stopped(hub: Hub) -> None:
    assert hub.stop(), hub.late
    assert not hub.failed


async def admitted(hub: Hub) -> ConnectionId:
    return hub.sockets.admit(Opening({}, (), "127.0.0.1", "test", None)).name


def rows(*kinds: str) -> list[str]:
    return [topic for topic, kind in TOPICS.items() if kind in kinds]


# Completeness


def test_the_table_knows_every_topic_that_is_made_or_allowed_anywhere():
    own = {topic.format(thing=A): kind for topic, kind in TOPICS.items()}
    for patterns, kind in ((broker.MAY_PUBLISH, SAYS), (broker.MAY_RECEIVE, HEARS)):
        for pattern in patterns:
            matching = [topic for topic in own if matches(pattern.replace("%u", A), topic)]
            assert matching, f"{pattern} is allowed and not in the table"
            assert {own[topic] for topic in matching} == {kind}, pattern
    makers = {name for name in vars(identifiers) if name.endswith("_topic")}
    assert makers == {"command_topic", "event_topic", "shadow_topic"}, "a new kind of topic belongs into the table"
    thing = ThingName(A)
    made = [identifiers.command_topic(thing), identifiers.event_topic(thing)]
    answers = ("get/accepted", "get/rejected", "delete/accepted", "delete/rejected")
    news = ("update/accepted", "update/rejected", "update/delta", "update/documents")
    operations = ("get", "update", *answers, *news)
    made += [identifiers.shadow_topic(thing, operation) for operation in operations]
    assert [topic for topic in made if topic not in own] == []
    for topic_filter in things.TOPIC_FILTERS:
        assert any(matches(topic_filter, topic) for topic in own), topic_filter
    source = Path(job_topics.__file__).read_text(encoding="utf-8")
    for ending in re.findall(r'"(?:/jobs/)?([a-z+][a-z+/-]*/(?:accepted|rejected)|notify(?:-next)?)"', source):
        wanted = f"$aws/things/{A}/jobs/{ending}".replace("+", "*")
        assert any(fnmatch.fnmatchcase(topic, wanted) for topic in own), ending


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic is among those of a filter without `#`."""
    return re.fullmatch(re.escape(topic_filter).replace(r"\+", "[^/]+"), topic) is not None


def test_the_tables_know_every_route_of_the_device_port_and_every_operation(world: World):
    routes = {
        route.path: sorted((route.methods or set()) - {"HEAD"}) if isinstance(route, Route) else None
        for route in world.hub.devices.routes
        if isinstance(route, (Route, Mount))
    }
    assert len(routes) == len(world.hub.devices.routes), "a route of another kind"
    assert routes == {
        "/role-aliases/{alias}/credentials": ["GET"],
        "/@connections/{connection:path}": ["DELETE", "GET", "POST"],
        "/releases/{name}": ["GET"],
        "": None,
    }, "a new route belongs into this file"
    assert set(OPERATIONS) == set(get_args(object_requests.Operation))


# The broker: what is said


@pytest.fixture(scope="module")
def taken(world: World) -> set[str]:
    """The topics on which something arrived, when `a` has spoken on every topic of its own and of `b`."""
    said = {
        topic.format(thing=name): json.dumps({"state": {"reported": {"by": A}}, "clientToken": f"{name} {number}"})
        for number, topic in enumerate(TOPICS)
        for name in (A, B)
    }
    for topic, payload in said.items():
        world.clients[A].send(topic, payload.encode())
    world.clients[A].publish("pinthesky/events/a/output", b"the last")  # behind all of these
    world.until_quiet()
    assert world.ear.on("pinthesky/events/a/output")[-1].payload == b"the last"
    return {topic for topic, payload in said.items() if payload.encode() in [m.payload for m in world.ear.on(topic)]}


@pytest.mark.parametrize("topic", TOPICS)
def test_a_camera_speaks_where_it_may_and_never_for_another(taken: set[str], topic: str):
    assert (topic.format(thing=A) in taken) == (TOPICS[topic] == SAYS)
    if "{thing}" in topic:
        assert topic.format(thing=B) not in taken


def test_what_was_said_for_another_has_changed_nothing(world: World, taken: set[str]):
    assert world.hub.shadows.get(ThingName(A), "pinthesky")["state"]["reported"] == {"by": A}, "its own update counts"
    assert world.hub.shadows.names(ThingName(B)) == []
    assert not any(topic.endswith("/b") or "/b/" in topic for topic in taken)


@contextlib.contextmanager
def thief(world: World, client_id: str, user: str, will: str | None = None) -> Iterator[paho.Client]:
    """A client that says that it is another, with a certificate that says otherwise."""
    camera = world.cameras[THIEF]
    made = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
    made.username_pw_set(user, "any")
    made.tls_set(ca_certs=str(camera.root), certfile=str(camera.pair.cert), keyfile=str(camera.pair.key))
    if will is not None:
        made.will_set(will, f"will on {will}", qos=1)
    made.connect(HOST, world.hub.ports.mqtt[0])
    made.loop_start()
    try:
        eventually(made.is_connected, "the thief is connected")
        yield made
    finally:
        made.disconnect()
        made.loop_stop()


@pytest.mark.parametrize("topic, is_taken", [("pinthesky/events/b/output", False), ("pinthesky/events/c/output", True)])
def test_who_says_that_it_is_another_is_what_its_certificate_says(world: World, topic: str, is_taken: bool):
    with thief(world, client_id=B, user=B, will=topic) as client:
        client.publish(topic, f"said on {topic}", qos=1).wait_for_publish(10.0)
        assert world.hub.presence.of(ThingName(B)).connected  # type: ignore[union-attr] # it is known
        client.loop_stop()
        connection = client.socket()
        assert connection is not None
        connection.close()  # without a word, so that the broker speaks the will
        eventually(lambda: not world.hub.presence.of(ThingName(THIEF)).connected, "the broker has noticed")  # type: ignore[union-attr] # it is known
    world.until_quiet()
    heard = {m.payload.decode() for m in world.ear.on(topic)}
    assert (f"said on {topic}" in heard) == (f"will on {topic}" in heard) == is_taken
    assert world.clients[B]._paho.is_connected()


@pytest.mark.parametrize("name", [HUB_CLIENT_ID, "ear.of.the.test", "hub", "#", "+", "%u"])
def test_no_name_makes_a_camera_the_hub(world: World, name: str):
    with thief(world, client_id=name, user=name) as client:
        client.publish("pinthesky/events/b/input", f"as {name}", qos=1).wait_for_publish(10.0)
        assert world.hub.mqtt.is_connected
    world.until_quiet()
    assert f"as {name}".encode() not in [m.payload for m in world.ear.messages]


# The broker: what is heard


@pytest.fixture(scope="module")
def heard(world: World) -> dict[str, set[str]]:
    """What each camera hears of what the hub says on every topic of both, subscribed to each and to all filters."""
    everything = {topic.format(thing=name) for topic in TOPICS for name in (A, B)}
    everything -= {topic for topic in everything if topic.startswith("$SYS")}
    for client in world.clients.values():
        for topic_filter in (*sorted(everything), *FILTERS):
            # The broker may say no, or say yes and deliver nothing: what counts is what is heard.
            client._paho.subscribe(topic_filter, options=SubscribeOptions(qos=1))
    world.until_quiet()
    for topic in sorted(everything):
        world.ear.publish(topic, f"for {topic}")
    # What a camera of another name says to the hub must not be overheard either.
    for name, client in world.clients.items():
        client.publish(f"pinthesky/events/{name}/output", f"from {name}")
    world.until_quiet()
    return {
        name: {m.topic for m in client.messages if m.payload == f"for {m.topic}".encode()}
        | {f"overheard {m.payload.decode()}" for m in client.messages if m.payload.startswith(b"from ")}
        for name, client in world.clients.items()
    }


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if not topic.startswith("$SYS")])
def test_a_camera_hears_its_own_topics_where_it_may_and_never_those_of_another(
    world: World, heard: dict[str, set[str]], topic: str
):
    assert topic.format(thing=A) in {m.topic for m in world.ear.messages if m.payload.startswith(b"for ")}
    for me, other in ((A, B), (B, A)):
        assert (topic.format(thing=me) in heard[me]) == (TOPICS[topic] == HEARS)
        if "{thing}" in topic:
            assert topic.format(thing=other) not in heard[me]


def test_nothing_is_overheard(heard: dict[str, set[str]]):
    for name in (A, B):
        assert heard[name] == {topic.format(thing=name) for topic in rows(HEARS)}


# The credentials endpoint


def context_of(world: World, who: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(world.cameras[A].root)) if who is None else world.cameras[who].tls()


@pytest.mark.parametrize(
    "who, claims, alias, status",
    [
        (A, A, "pits-camera", 200),
        (B, B, "pits-camera", 200),
        (A, B, "pits-camera", 403),
        (A, None, "pits-camera", 403),
        (A, "", "pits-camera", 403),
        (A, "A", "pits-camera", 403),
        (A, "a,b", "pits-camera", 403),
        (A, A, "another-role", 404),
        (A, A, "pits-hub", 404),
        (None, A, "pits-camera", 403),
        (None, None, "pits-camera", 403),
    ],
)
def test_credentials_are_those_of_the_certificate(
    world: World, who: str | None, claims: str | None, alias: str, status: int
):
    headers = {} if claims is None else {"x-amzn-iot-thingname": claims}
    found, body = get(f"{world.url}/role-aliases/{alias}/credentials", context_of(world, who), **headers)
    assert found == status
    assert (b"secretAccessKey" in body) == (status == 200)


def test_keys_of_one_camera_do_not_work_beside_the_certificate_of_another(world: World):
    for who, works in ((B, True), (A, False)):
        pair = world.cameras[who].pair
        client = aws_client("s3", world.hub.ports.device, root=world.cameras[A].root, keys=world.keys[B])
        client.meta.config.client_cert = (str(pair.cert), str(pair.key))
        client._endpoint.http_session.close()
        client._endpoint.http_session = type(client._endpoint.http_session)(
            verify=str(world.cameras[A].root), client_cert=(str(pair.cert), str(pair.key))
        )
        key = f"motion_videos/b/1700000009-{EventId.new()}.motion.mp4"
        assert outcome_of(functools.partial(put, client, key)) == (None if works else MISMATCH)
        client.close()


# Releases


@pytest.mark.parametrize(
    "name, status",
    [
        ("pinthesky-9.9.9-py3-none-any.whl", 200),
        ("pinthesky-9.9.8-py3-none-any.whl", 404),
        ("another-9.9.9-py3-none-any.whl", 404),
        ("..%2Fhub.toml", 403),
        ("..%2Fauthority%2Fca.key", 403),
        ("..%2Fpinthesky-9.9.9-py3-none-any.whl", 403),
        ("%2e%2e", 404),
        ("../hub.toml", 403),  # no release: an object without a signature
        ("", 403),
    ],
)
def test_a_release_is_for_everybody_and_nothing_else_is_one(world: World, name: str, status: int):
    folder = world.hub.foundation.folder.root / "releases"
    folder.mkdir(exist_ok=True)
    (folder / "pinthesky-9.9.9-py3-none-any.whl").write_bytes(b"software")
    found, body = get(f"{world.url}/releases/{name}", context_of(world, A))
    assert (found, body == b"software") == (status, status == 200)


# Objects

Call = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Row:
    """An operation on a key, and what becomes of it on an object of another, on one's own, and as the hub."""

    call: Call
    other: tuple[str, int] | None
    own: tuple[str, int] | None
    hub: tuple[str, int] | None = None


def put(store: Any, key: str, **more: Any) -> Any:
    return store.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=b"another clip", **more)


TAGS = {"TagSet": [{"Key": "retention", "Value": "standard"}]}
OPERATIONS: dict[str, Row] = {
    "HeadBucket": Row(lambda s, _: s.head_bucket(Bucket=MEDIA_BUCKET), None, None),
    # Its own objects are there already: not even those can be replaced.
    "PutObject": Row(put, REFUSED, REFUSED),
    "GetObject": Row(lambda s, k: s.get_object(Bucket=MEDIA_BUCKET, Key=k), REFUSED, REFUSED),
    "HeadObject": Row(lambda s, k: s.head_object(Bucket=MEDIA_BUCKET, Key=k), ("403", 403), ("403", 403)),
    "DeleteObject": Row(lambda s, k: s.delete_object(Bucket=MEDIA_BUCKET, Key=k), REFUSED, REFUSED),
    "GetObjectTagging": Row(lambda s, k: s.get_object_tagging(Bucket=MEDIA_BUCKET, Key=k), REFUSED, REFUSED),
    "PutObjectTagging": Row(
        lambda s, k: s.put_object_tagging(Bucket=MEDIA_BUCKET, Key=k, Tagging=TAGS), REFUSED, REFUSED
    ),
    "DeleteObjectTagging": Row(lambda s, k: s.delete_object_tagging(Bucket=MEDIA_BUCKET, Key=k), REFUSED, REFUSED),
}
NOT_OFFERED: dict[str, Call] = {
    "ListBuckets": lambda s, _: s.list_buckets(),
    "ListObjects": lambda s, _: s.list_objects(Bucket=MEDIA_BUCKET),
    "ListObjectsV2": lambda s, _: s.list_objects_v2(Bucket=MEDIA_BUCKET, Prefix="motion_videos/b/"),
    "ListObjectVersions": lambda s, _: s.list_object_versions(Bucket=MEDIA_BUCKET),
    "ListMultipartUploads": lambda s, _: s.list_multipart_uploads(Bucket=MEDIA_BUCKET),
    "CreateBucket": lambda s, _: s.create_bucket(Bucket="another-bucket"),
    "DeleteBucket": lambda s, _: s.delete_bucket(Bucket=MEDIA_BUCKET),
    "DeleteObjects": lambda s, k: s.delete_objects(Bucket=MEDIA_BUCKET, Delete={"Objects": [{"Key": k}]}),
    "CopyObject": lambda s, k: s.copy_object(
        Bucket=MEDIA_BUCKET, Key="motion_videos/a/copy.mp4", CopySource={"Bucket": MEDIA_BUCKET, "Key": k}
    ),
    "CreateMultipartUpload": lambda s, k: s.create_multipart_upload(Bucket=MEDIA_BUCKET, Key=k),
    "UploadPart": lambda s, k: s.upload_part(Bucket=MEDIA_BUCKET, Key=k, PartNumber=1, UploadId="x", Body=b"x"),
    "GetBucketPolicy": lambda s, _: s.get_bucket_policy(Bucket=MEDIA_BUCKET),
    "PutBucketPolicy": lambda s, _: s.put_bucket_policy(Bucket=MEDIA_BUCKET, Policy="{}"),
    "GetObjectAcl": lambda s, k: s.get_object_acl(Bucket=MEDIA_BUCKET, Key=k),
    "PutObjectAcl": lambda s, k: s.put_object_acl(Bucket=MEDIA_BUCKET, Key=k, ACL="public-read"),
    "RestoreObject": lambda s, k: s.restore_object(Bucket=MEDIA_BUCKET, Key=k),
    "GetObjectAttributes": lambda s, k: s.get_object_attributes(Bucket=MEDIA_BUCKET, Key=k, ObjectAttributes=["ETag"]),
}
BAD_KEYS = (
    "motion_videos/b/new.mp4",
    "capture_images/b/thumbnail_latest.jpg",
    "motion_videos/b/.probe",
    "motion_videos/a/../b/new.mp4",
    "motion_videos/a/./new.mp4",
    "motion_videos//a/new.mp4",
    "motion_videos/a//new.mp4",
    "motion_videos/a/b/new.mp4",
    "motion_videos/a/",
    "motion_videos/A/new.mp4",
    "motion_videos/a\\..\\b/new.mp4",
    "motion_videos/a/..",
    "motion_videos/a/.hidden.json",
    "motion_videos/ab/new.mp4",
    "another_prefix/a/new.mp4",
    "a/new.mp4",
    "new.mp4",
    ".incoming/new.mp4",
)
GOOD_KEYS = ("motion_videos/a/new.mp4", "capture_images/a/new.jpg", "motion_videos/a/.probe")


def outcome_of(call: Callable[[], Any]) -> tuple[str, int] | None:
    """None where it works; the code and the status of the refusal."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


@pytest.fixture(scope="module")
def stores(world: World) -> Iterator[dict[str | None, Any]]:
    made = {who: world.aws("s3", who) for who in (A, B, None)}
    yield made
    for client in made.values():
        client.close()


def contents(world: World, who: str) -> bytes:
    return world.hub.media.open(world.clips[who])[1].read()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_on_an_object(world: World, stores: dict[str | None, Any], operation: str):
    row = OPERATIONS[operation]
    tags = world.hub.media.find(world.clips[B]).tags
    assert outcome_of(lambda: row.call(stores[A], world.clips[B])) == row.other, "another's"
    assert outcome_of(lambda: row.call(stores[A], world.clips[A])) == row.own, "one's own"
    assert world.hub.media.find(world.clips[B]).tags == tags
    for who in (A, B):
        with contextlib.closing(world.hub.media.open(world.clips[who])[1]) as file:
            assert file.read() == f"clip of {who}".encode()
    # The control: the same call by who may, on an object of the hub's own making.
    spare = f"motion_videos/b/1700000005-{EventId.new()}.motion.mp4"
    if operation != "PutObject":
        put(stores[B], spare)
    assert outcome_of(lambda: row.call(stores[None], spare)) == row.hub, "the hub"


@pytest.mark.parametrize("operation", NOT_OFFERED)
def test_an_operation_that_the_hub_does_not_have_is_had_by_nobody(
    world: World, stores: dict[str | None, Any], operation: str
):
    for store in stores.values():
        assert outcome_of(functools.partial(NOT_OFFERED[operation], store, world.clips[B])) == NOT_HERE
    assert world.hub.media.has(world.clips[B])


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_camera_stores_nothing_outside_its_own_name(world: World, stores: dict[str | None, Any], key: str):
    before = set(world.hub.media.index.files())
    assert outcome_of(lambda: put(stores[A], key)) == REFUSED
    assert set(world.hub.media.index.files()) == before


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_and_under_its_own_name_it_stores(stores: dict[str | None, Any], key: str):
    body = b"" if key.endswith(".probe") else b"new"
    place = {"Bucket": MEDIA_BUCKET, "Key": key, "Body": body}
    assert outcome_of(lambda: stores[A].put_object(**place, IfNoneMatch="*")) is None
    assert outcome_of(lambda: stores[A].put_object(**place, IfNoneMatch="*")) == TAKEN
    assert outcome_of(lambda: stores[A].put_object(**place)) == REFUSED, "nor may it be replaced"


def test_a_camera_can_neither_star_nor_touch_another_bucket(world: World, stores: dict[str | None, Any]):
    key = "motion_videos/a/1700000007-starred.mp4"
    put(stores[A], key, Tagging="retention=forever")
    assert not world.hub.media.find(key).is_starred
    outcome = outcome_of(lambda: stores[A].put_object(Bucket="another-bucket", Key=key, Body=b"x"))
    assert outcome == ("NoSuchBucket", 404)


def test_a_presigned_link_of_a_camera_gives_what_the_camera_may(world: World, stores: dict[str | None, Any]):
    for who, status in ((A, 403), (None, 200)):
        link = stores[who].generate_presigned_url("get_object", {"Bucket": MEDIA_BUCKET, "Key": world.clips[B]})
        found, body = get(link, context_of(world, None))
        assert found == status, body


# Connections


@pytest.mark.parametrize("method", ["post", "get", "delete"])
def test_only_who_was_asked_answers_a_connection_and_nobody_looks_at_it_or_ends_it(world: World, method: str):
    calls: dict[str, Callable[[Any, str], Any]] = {
        "post": lambda client, name: client.post_to_connection(ConnectionId=name, Data=b"{}"),
        "get": lambda client, name: client.get_connection(ConnectionId=name),
        "delete": lambda client, name: client.delete_connection(ConnectionId=name),
    }
    for who, of, outcome in (
        (A, B, GONE),
        (B, A, GONE),
        (A, A, None if method == "post" else GONE),
        (B, B, None if method == "post" else GONE),
    ):
        with contextlib.closing(world.aws("apigatewaymanagementapi", who)) as client:
            found = outcome_of(functools.partial(calls[method], client, world.connections[of]))
        assert found == outcome, (who, of)
    assert world.hub.sockets.info(world.connections[B]).user_agent == "test", "it is still there"
    spare = asyncio.run(admitted(world.hub))
    with contextlib.closing(world.aws("apigatewaymanagementapi", None)) as client:
        assert outcome_of(lambda: calls[method](client, spare)) is None, "the hub"
