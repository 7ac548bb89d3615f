"""The surface of the hub: its page is complete, all else is refused, and unmodified clients are served by the whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import boto3
import botocore.session
import paho.mqtt.client as paho
import pytest
import urllib3
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.model import Shape
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from starlette.routing import Mount, Route, WebSocketRoute

from pinthesky.hub import (
    broker,
    connections,
    credentials,
    job_rules,
    jobs,
    object_bodies,
    object_requests,
    objects,
    registry,
    shadow_document,
    shadows,
    signatures,
    sockets,
    things,
)
from pinthesky.hub.app import Hub
from pinthesky.hub.credentials import Key
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.object_requests import Operation
from pinthesky.hub.ports import MEDIA_BUCKET, REGION, ROLE_ALIAS
from pinthesky.hub.refusals import STATUS
from pinthesky.hub.settings import HubSettings, Listen, Media
from pinthesky.model import shadow
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId
from tests.support.daemon_process import PROJECT, eventually
from tests.support.hub_process import HOST, Camera, new_camera, try_connect

PAGE = (PROJECT / "docs" / "reference" / "hub-surface.md").read_text(encoding="utf-8")
CLIP = "motion_videos/{}/1800000000-00000000000000000000000000000001.motion.mp4"


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, each with its cells."""
    lines = PAGE.partition(f"\n{heading}\n")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    listen = Listen(address="127.0.0.1", console_port=0, localhost_port=0, device_port=0, mqtt_ports=[0, 0])
    made = Hub(tmp_path_factory.mktemp("surface") / "hub", HubSettings(listen=listen, media=Media(min_free="0")))
    try:
        made.start()
        yield made
    finally:
        assert made.stop(), made.late
        assert not made.failed


@pytest.fixture(scope="module")
def garden(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Camera:
    return new_camera(hub.foundation, "garden", tmp_path_factory.mktemp("cameras") / "garden")


# The page


def as_written(topic: str) -> str:
    """A topic of the broker's rules as the page writes it."""
    topic = topic.replace("%u", "<thing>").replace("/name/+", "/name/<name>")
    return topic.replace("/jobs/+", "/jobs/<job>")


def test_the_page_has_every_topic_and_no_other():
    published: set[str] = set()
    heard: set[str] = set()
    for said, answers, _ in table("## MQTT"):
        base = re.findall(r"`([^`]+)`", said)
        published.update(base)
        heard.update(topic.replace("…", base[0] if base else "") for topic in re.findall(r"`([^`]+)`", answers))
    assert published == {as_written(topic) for topic in broker.MAY_PUBLISH}
    assert heard == {as_written(topic) for topic in broker.MAY_RECEIVE}


def test_whatever_a_thing_may_ask_of_aws_topics_is_heard_by_the_hub():
    for rule in broker.MAY_PUBLISH:
        topic = rule.replace("%u", "garden").replace("+", "x")
        is_heard = any(paho.topic_matches_sub(topic_filter, topic) for topic_filter in things.TOPIC_FILTERS)
        assert is_heard == topic.startswith("$aws"), topic


def test_the_page_has_every_route_and_operation_and_says_who_may(hub: Hub):
    server: Any = hub._device_server
    routes = server._server.config.app._app.routes
    expected = set()
    for route in routes[:-1]:
        assert isinstance(route, Route | WebSocketRoute)
        path = re.sub(r"{(\w+)(:path)?}", r"<\1>", route.path)
        expected |= {(method, path) for method in (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}}
    assert isinstance(routes[-1], Mount)
    assert routes[-1].app.__class__ is objects.Objects
    on_bucket: dict[Operation, tuple[str, str]] = {"HeadBucket": ("HEAD", f"/{MEDIA_BUCKET}")}
    for methods, query in ((object_requests._ON_OBJECTS, ""), (object_requests._ON_TAGS, "?tagging")):
        on_bucket |= {name: (method, f"/{MEDIA_BUCKET}/<key>{query}") for method, name in methods.items()}
    assert on_bucket.keys() == set(get_args(Operation))
    rows = table("## HTTP")
    assert {tuple(cell.strip("`").split(" ")) for cell, _, _ in rows} == expected | set(on_bucket.values())
    named = {name: whom for _, name, whom in rows}
    assert {name for name in on_bucket if "a camera" in named[name]} == objects.FOR_THINGS


def test_the_page_has_every_error_with_its_status():
    assert {code: int(status) for code, status in table("### Errors of objects")} == STATUS
    ours = {"GoneException": 410, "LimitExceededException": 429, "PayloadTooLargeException": 413}
    refused = {"ForbiddenException", *connections._SIGNATURE_ERRORS.values()}
    listed = {code: int(status) for code, status in table("### Errors of `@connections`")}
    assert listed == ours | dict.fromkeys(refused, 403)


def test_the_page_has_every_bound():
    kb, mb, day = 1024, 1024 * 1024, 24 * 3600
    bounds = {
        "MQTT message": f"{broker.PAYLOAD_MAX // kb} KB",
        "MQTT keep-alive, at most": f"{broker.KEEPALIVE_MAX_S} s",
        "connections to one MQTT port": f"{broker.CONNECTIONS_MAX}",
        "messages of a thing that wait to be served": f"{things.WAITING_PER_THING_MAX}",
        "shadow: `desired` and `reported`": f"{shadow.STATE_MAX // kb} KB",
        "shadow: levels": f"{shadow.DEPTH_MAX}",
        "client token": f"{shadow_document.TOKEN_MAX} bytes",
        "shadows of a thing": f"{shadows.SHADOWS_PER_THING_MAX}",
        "job executions that wait for a thing": f"{jobs.PENDING_MAX}",
        "pairs of `statusDetails`": f"{job_rules.DETAILS_MAX}",
        "time-outs of jobs": f"{job_rules.TIMEOUT_MAX_MIN} minutes",
        "object": f"{object_bodies.SIZE_MAX // mb} MiB",
        "metadata of an object": f"{object_requests.METADATA_MAX // kb} KB",
        "tags of an object": f"{object_requests.TAGS_MAX}",
        "PUTs under way": f"{objects.UPLOADS_MAX}",
        "clocks may differ by": f"{signatures.SKEW_MAX_S // 60} minutes",
        "presigned request lives, at most": f"{signatures.PRESIGNED_MAX_S // day} days",
        "message to a connection": f"{sockets.MESSAGE_MAX // kb} KB",
        "open sockets": f"{sockets.CONNECTIONS_MAX}",
        "cameras": f"{registry.THINGS_MAX}",
        "certificates of a camera": f"{registry.CERTIFICATES_MAX}",
    }
    assert {what: ours for what, ours, _ in table("## Bounds")} == bounds


# What is not there


def client_of(hub: Hub, service: str, key: Key | None = None, **config: Any) -> Any:
    """boto3's client of a service, with a key of the hub's own where none is given."""
    key = key or credentials.Keys(hub.foundation.authority.secret).issue_for_hub()
    how: dict[str, Any] = {
        "endpoint_url": f"https://localhost:{hub.ports.device}",
        "region_name": REGION,
        "verify": str(hub.foundation.authority.root_certificate),
        "aws_access_key_id": key.access_key_id,
        "aws_secret_access_key": key.secret_access_key,
        "aws_session_token": key.session_token,
        "config": Config(retries={"total_max_attempts": 1}, **config),
    }
    return boto3.client(service, **how)  # type: ignore[call-overload]  # the stubs want a literal


def minimal(shape: Shape, name: str = "") -> Any:
    """The least that botocore takes for a shape: what a caller must give, and nothing else."""
    found: Any = {"Bucket": MEDIA_BUCKET, "Key": CLIP.format("garden")}.get(name)
    if found is not None:
        return found
    model: Any = shape
    if model.type_name == "structure":
        wanted = list(model.members)[:1] if model.is_tagged_union else model.required_members
        return {member: minimal(model.members[member], member) for member in wanted}
    if model.type_name == "list":
        return [minimal(model.member)]
    if model.type_name == "string":
        return (model.enum or ["x" * 20])[0]
    plain = {"integer": 1, "long": 1, "boolean": True, "blob": b"x", "timestamp": "2026-01-01T00:00:00Z", "map": {}}
    return plain[model.type_name]


S3_MODEL = botocore.session.Session().get_service_model("s3")
OTHER_OPERATIONS = sorted(set(S3_MODEL.operation_names) - set(get_args(Operation)))


@pytest.fixture(scope="module")
def s3(hub: Hub) -> Iterator[Any]:
    client = client_of(hub, "s3", inject_host_prefix=False)
    yield client
    client.close()


def refusal(call: Any, *arguments: Any, **given: Any) -> tuple[int, str]:
    """Status and code with which a call of boto3 is refused."""
    with pytest.raises(ClientError) as refused:
        call(*arguments, **given)
    answer: Any = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer.get("Error", {}).get("Code", "")


def test_any_other_operation_of_s3_is_not_implemented(s3: Any):
    found = {}
    for operation in OTHER_OPERATIONS:
        shape = S3_MODEL.operation_model(operation).input_shape
        found[operation] = refusal(getattr(s3, xform_name(operation)), **({} if shape is None else minimal(shape)))
    assert {"ListBuckets", "CopyObject", "UploadPart", "PutBucketPolicy"} <= found.keys()
    assert found == dict.fromkeys(OTHER_OPERATIONS, (501, "NotImplemented"))


@pytest.mark.parametrize("query", ["versionId=null", "partNumber=1", "response-content-type=a&acl=", "unheard-of=1"])
def test_a_parameter_that_the_hub_does_not_know_is_not_passed_over(hub: Hub, query: str):
    signed = hub_signatures(hub).presigned_url(
        signatures.object_url(f"https://localhost:{hub.ports.device}", MEDIA_BUCKET, CLIP.format("garden")),
        query=dict(pair.split("=") for pair in query.split("&")),
    )
    answer = https(hub).request("GET", signed)
    assert (answer.status, b"<Code>NotImplemented</Code>" in answer.data) == (501, True)


@pytest.mark.parametrize(
    "service, call, given",
    [
        ("iot-data", "get_thing_shadow", {"thingName": "garden"}),
        ("iot-data", "publish", {"topic": "pinthesky/events/garden/output", "payload": b"{}"}),
        ("iot", "describe_thing", {"thingName": "garden"}),
        ("iot-jobs-data", "get_pending_job_executions", {"thingName": "garden"}),
        ("sts", "get_caller_identity", {}),
        ("dynamodb", "list_tables", {}),
        ("logs", "describe_log_groups", {}),
        ("apigatewayv2", "get_apis", {}),
    ],
)
def test_another_service_of_aws_is_not_implemented(hub: Hub, service: str, call: str, given: dict[str, Any]):
    client = client_of(hub, service)
    assert refusal(getattr(client, call), **given)[0] == 501
    client.close()


@pytest.mark.parametrize("method, path", [("PUT", "/@connections/abc"), ("POST", "/production/anything")])
def test_the_rest_of_execute_api_is_not_implemented(hub: Hub, method: str, path: str):
    key = credentials.Keys(hub.foundation.authority.secret).issue_for_hub()
    url = f"https://localhost:{hub.ports.device}{path}"
    asked = AWSRequest(method=method, url=url, data=b"{}")
    signer = SigV4Auth(Credentials(key.access_key_id, key.secret_access_key, key.session_token), "execute-api", REGION)
    signer.add_auth(asked)
    answer = https(hub).request(method, url, body=b"{}", headers=dict(asked.headers.items()))
    assert (answer.status, b"NotImplemented" in answer.data) == (501, True)


def hub_signatures(hub: Hub) -> signatures.Signatures:
    return signatures.Signatures(credentials.Keys(hub.foundation.authority.secret), hub.registry)


def https(hub: Hub, camera: Camera | None = None) -> urllib3.PoolManager:
    """A client without a certificate, or with a camera's."""
    root = hub.foundation.authority.root_certificate
    tls = ssl.create_default_context(cafile=str(root)) if camera is None else camera.tls()
    return urllib3.PoolManager(ssl_context=tls, retries=False, timeout=10.0)


class Paho:
    """paho-mqtt as it comes, as one camera."""

    def __init__(self, hub: Hub, camera: Camera, protocol: MQTTProtocolVersion) -> None:
        self.heard: dict[str, Any] = {}
        self.codes: dict[int, ReasonCode] = {}
        self.connected, self.ended = threading.Event(), threading.Event()
        self.granted: set[int] = set()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="anything", protocol=protocol)
        client.tls_set_context(camera.tls())
        client.on_connect = lambda *_: self.connected.set()
        client.on_disconnect = lambda *_: self.ended.set()
        client.on_subscribe = lambda _client, _data, number, *_: self.granted.add(number)
        client.on_publish = lambda _client, _data, number, code, _properties: self.codes.__setitem__(number, code)
        client.on_message = lambda _client, _data, said: self.heard.__setitem__(said.topic, json.loads(said.payload))
        client.connect(HOST, hub.ports.mqtt[0])
        client.loop_start()
        self.client = client
        assert self.connected.wait(10.0)

    def subscribe(self, *topics: str) -> None:
        _, number = self.client.subscribe([(topic, 1) for topic in topics])
        eventually(lambda: number in self.granted, "the subscription stands")

    def answer(self, topic: str, document: Any, answer: str) -> Any:
        """Publish, and wait for what comes on `topic`/`answer`."""
        self.heard.clear()
        self.client.publish(topic, json.dumps(document), qos=1)
        return eventually(lambda: self.heard.get(f"{topic}/{answer}"), f"an answer on {topic}/{answer}")


@contextmanager
def paho_client(hub: Hub, camera: Camera, protocol: MQTTProtocolVersion) -> Iterator[Paho]:
    made = Paho(hub, camera, protocol)
    try:
        yield made
    finally:
        made.client.disconnect()
        made.client.loop_stop()


OTHER_TOPICS = [
    "$aws/things/garden/tunnels/notify",
    "$aws/things/garden/streams/s/get/json",
    "$aws/things/garden/defender/metrics/json",
    "$aws/things/garden/shadow/name/pinthesky/update/accepted",
    "$aws/things/garden/shadow/name/pinthesky/list",
    "$aws/things/garden/jobs/notify",
    "$aws/things/garden/jobs/a/b/update",
    "$aws/things/garden/jobs/a/cancel",
    "$aws/certificates/create/json",
    "$aws/provisioning-templates/t/provision/json",
    "$aws/rules/r/garden",
    "$aws/commands/things/garden/executions/e/response/json",
    "$aws/events/presence/connected/garden",
    "$SYS/broker/version",
    "pinthesky/events/output",
    "anything",
]


@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311], ids=["5", "3.1.1"])
def test_other_topics_are_refused_and_heard_by_nobody(hub: Hub, garden: Camera, protocol: MQTTProtocolVersion):
    heard: list[str] = []
    hub.mqtt.subscribe("#", lambda topic, _payload: heard.append(topic))
    hub.mqtt.subscribe("$aws/#", lambda topic, _payload: heard.append(topic))
    with paho_client(hub, garden, protocol) as client:
        sent = [client.client.publish(topic, b"{}", qos=1).mid for topic in OTHER_TOPICS]
        eventually(lambda: client.codes.keys() >= set(sent), "all are acknowledged")
        allowed = "pinthesky/events/garden/output"
        client.client.publish(allowed, b"{}", qos=1)
        eventually(lambda: allowed in heard, "what is allowed is heard")
    assert not set(heard) & set(OTHER_TOPICS)
    if protocol is MQTTProtocolVersion.MQTTv5:
        assert {client.codes[number].getName() for number in sent} == {"Not authorized"}


def test_the_classic_shadow_is_rejected(hub: Hub, garden: Camera):
    with paho_client(hub, garden, MQTTProtocolVersion.MQTTv5) as client:
        client.subscribe("$aws/things/garden/shadow/+/rejected")
        for operation in ("get", "update", "delete"):
            answer = client.answer(f"$aws/things/garden/shadow/{operation}", {}, "rejected")
            assert (answer["code"], "classic shadow" in answer["message"]) == (400, True)


@pytest.mark.parametrize("how", [{"qos": 2}, {"qos": 1, "retain": True}], ids=["QoS 2", "retained"])
def test_what_aws_takes_no_more_than_the_hub_ends_the_connection(hub: Hub, garden: Camera, how: dict[str, Any]):
    with paho_client(hub, garden, MQTTProtocolVersion.MQTTv311) as client:
        client.client.publish("pinthesky/events/garden/output", b"{}", **how)
        assert client.ended.wait(10.0)


def test_a_client_that_asks_for_alpn_is_served(hub: Hub, garden: Camera):
    context = garden.tls()
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.tls_set_context(context)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect(HOST, hub.ports.mqtt[0])
    client.loop_start()
    assert connected.wait(10.0)
    client.disconnect()
    client.loop_stop()


def test_every_mqtt_port_that_was_told_is_served(hub: Hub, garden: Camera):
    assert len(set(hub.ports.mqtt)) == 2
    assert all(try_connect(garden, port)[0] for port in hub.ports.mqtt)


def test_a_last_will_is_heard_if_the_camera_might_have_said_it(hub: Hub, garden: Camera):
    own, foreign = "pinthesky/events/garden/output", "pinthesky/events/yard/output"
    heard: list[tuple[str, bytes]] = []
    for topic in (own, foreign):
        hub.mqtt.subscribe(topic, lambda *said: heard.append(said))
    hub.mqtt.publish(foreign, b"stands")
    eventually(lambda: heard, "the subscriptions stand")
    for topic in (foreign, own):
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.tls_set_context(garden.tls())
        client.will_set(topic, b"gone", qos=1)
        connected = threading.Event()
        client.on_connect = lambda *_, connected=connected: connected.set()
        client.connect(HOST, hub.ports.mqtt[0])
        while not connected.is_set():
            client.loop(0.1)
        held = client.socket()
        assert held is not None
        held.close()  # without taking leave
    eventually(lambda: (own, b"gone") in heard, "the will is heard")
    assert (foreign, b"gone") not in heard


def test_everything_of_a_removed_camera_ends_within_5_s(hub: Hub, tmp_path: Path):
    """The broker's part is in test_app.py."""
    gate = new_camera(hub.foundation, "gate", tmp_path / "gate")
    key = key_of(hub, gate)
    s3, poster = client_of(hub, "s3", key, signature_version="s3v4"), client_of(hub, "apigatewaymanagementapi", key)
    console, own = (asyncio.run(admitted(hub)) for _ in range(2))
    hub.sockets.grant(console.name, gate.thing)
    hub.sockets.belongs_to(own.name, gate.thing)
    poster.post_to_connection(ConnectionId=console.name, Data=b"{}")
    link = s3.generate_presigned_url("put_object", {"Bucket": MEDIA_BUCKET, "Key": CLIP.format("gate")})
    target = link.removeprefix(f"https://localhost:{hub.ports.device}")
    with (
        socket.create_connection((HOST, hub.ports.device), 10.0) as plain,
        gate.tls().wrap_socket(plain, server_hostname=HOST) as upload,
    ):
        upload.sendall(f"PUT {target} HTTP/1.1\r\nHost: localhost:{hub.ports.device}\r\n".encode())
        upload.sendall(b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
        eventually(lambda: any((hub.media.root / ".incoming").iterdir()), "the upload is under way")
        with contextlib.closing(Foundation.find(hub.foundation.folder.root)) as another:
            another.registry.remove(gate.thing)
        begun = time.monotonic()
        answer = b""
        while more := upload.recv(100_000):
            answer += more
        assert b"<Code>AccessDenied</Code>" in answer
        eventually(lambda: own.ending, "its own connection ends")
        assert refusal(s3.head_bucket, Bucket=MEDIA_BUCKET)[0] == 403
        assert refusal(poster.post_to_connection, ConnectionId=console.name, Data=b"{}")[0] == 403
        assert time.monotonic() - begun < 5.0
    assert not hub.media.has(CLIP.format("gate"))
    assert not console.ending
    for opened in (console, own):
        hub.sockets.release(opened)
    s3.close()
    poster.close()


# Unmodified clients on the whole hub; the AWS IoT device SDK's are in test_things_clients.py


async def admitted(hub: Hub) -> sockets.Connection:
    """An open connection, as the data plane's endpoint makes it."""
    return hub.sockets.admit(
        sockets.Opening(query={}, subprotocols=(), source_ip="192.168.1.9", user_agent="", certificate=None)
    )


def key_of(hub: Hub, camera: Camera) -> Key:
    """What the credentials endpoint gives the camera."""
    url = f"https://localhost:{hub.ports.device}/role-aliases/{ROLE_ALIAS}/credentials"
    answer = https(hub, camera).request("GET", url, headers={"x-amzn-iot-thingname": str(camera.thing)})
    given = answer.json()["credentials"]
    return Key(
        access_key_id=given["accessKeyId"],
        secret_access_key=given["secretAccessKey"],
        session_token=given["sessionToken"],
        expires_at_s=0,
    )


def test_boto3_stores_with_a_cameras_key_and_reads_with_the_hubs(hub: Hub, garden: Camera, s3: Any):
    key, content = CLIP.format("garden"), bytes(range(256)) * 1000
    camera = client_of(hub, "s3", key_of(hub, garden))
    assert camera.head_bucket(Bucket=MEDIA_BUCKET)["ResponseMetadata"]["HTTPStatusCode"] == 200
    how: dict[str, Any] = {"IfNoneMatch": "*", "ChecksumAlgorithm": "SHA256", "Metadata": {"trigger": "motion"}}
    camera.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=content, **how)
    assert refusal(camera.put_object, Bucket=MEDIA_BUCKET, Key=key, Body=content, **how)[0] == 412
    assert refusal(camera.get_object, Bucket=MEDIA_BUCKET, Key=key) == (403, "AccessDenied")
    found = s3.get_object(Bucket=MEDIA_BUCKET, Key=key)
    assert (found["Body"].read(), found["Metadata"]) == (content, {"trigger": "motion"})
    link = hub_signatures(hub).presigned_url(
        signatures.object_url(f"https://localhost:{hub.ports.device}", MEDIA_BUCKET, key)
    )
    assert https(hub).request("GET", link, headers={"Range": "bytes=1-3"}).data == content[1:4]
    s3.delete_object(Bucket=MEDIA_BUCKET, Key=key)
    assert refusal(s3.head_object, Bucket=MEDIA_BUCKET, Key=key) == (404, "404")
    camera.close()


def test_boto3_posts_to_a_connection_that_has_asked_the_camera(hub: Hub, garden: Camera):
    camera = client_of(hub, "apigatewaymanagementapi", key_of(hub, garden))
    planes = client_of(hub, "apigatewaymanagementapi")
    opened = asyncio.run(admitted(hub))
    name = opened.name
    assert refusal(camera.post_to_connection, ConnectionId=name, Data=b"{}") == (410, "GoneException")
    hub.sockets.grant(name, ThingName("garden"))
    camera.post_to_connection(ConnectionId=name, Data=b'{"invoke":{}}')
    assert opened.take()[0] == '{"invoke":{}}'
    assert planes.get_connection(ConnectionId=name)["Identity"]["SourceIp"] == "192.168.1.9"
    planes.delete_connection(ConnectionId=name)
    assert opened.take()[1] is not None
    hub.sockets.release(opened)
    camera.close()
    planes.close()


@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311], ids=["5", "3.1.1"])
def test_paho_uses_every_operation_of_shadows_and_jobs(hub: Hub, garden: Camera, protocol: MQTTProtocolVersion):
    base = "$aws/things/garden"
    named = f"{base}/shadow/name/paho"
    with paho_client(hub, garden, protocol) as client:
        client.subscribe(f"{base}/shadow/name/+/+/+", f"{base}/jobs/#", "pinthesky/events/garden/input")
        update = client.answer(f"{named}/update", {"state": {"desired": {"a": 1}}, "clientToken": "t"}, "accepted")
        assert (update["clientToken"], client.heard[f"{named}/update/accepted"]["version"]) == ("t", update["version"])
        eventually(lambda: f"{named}/update/documents" in client.heard, "the documents")
        assert client.heard[f"{named}/update/delta"]["state"] == {"a": 1}
        assert client.answer(f"{named}/get", {}, "accepted")["state"] == {"desired": {"a": 1}, "delta": {"a": 1}}
        conflict = client.answer(f"{named}/update", {"state": {"desired": {"a": 2}}, "version": 1000}, "rejected")
        assert conflict["code"] == 409
        assert client.answer(f"{named}/delete", {}, "accepted")["version"] == update["version"]
        assert client.answer(f"{named}/delete", {}, "rejected")["code"] == 404

        job = f"job-{protocol.value}"
        client.heard.clear()
        hub.jobs.create(JobId(job), {"version": "1.0"}, [ThingName("garden")])
        eventually(lambda: client.heard.keys() >= {f"{base}/jobs/notify", f"{base}/jobs/notify-next"}, "it is told")
        assert [one["jobId"] for one in client.answer(f"{base}/jobs/get", {}, "accepted")["queuedJobs"]] == [job]
        started = client.answer(f"{base}/jobs/start-next", {}, "accepted")["execution"]
        assert (started["jobId"], started["status"]) == (job, "IN_PROGRESS")
        described = client.answer(f"{base}/jobs/$next/get", {"includeJobDocument": True}, "accepted")["execution"]
        assert described["jobDocument"] == {"version": "1.0"}
        done = {"status": "SUCCEEDED", "includeJobExecutionState": True}
        state = client.answer(f"{base}/jobs/{job}/update", done, "accepted")["executionState"]
        assert state["status"] == "SUCCEEDED"
        assert client.answer(f"{base}/jobs/{job}/get", {}, "rejected")["code"] == "TerminalStateReached"

        hub.mqtt.publish("pinthesky/events/garden/input", b'{"name":"health"}')
        eventually(lambda: client.heard.get("pinthesky/events/garden/input"), "the command arrives")
