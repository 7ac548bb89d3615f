"""A whole home in AWS, put together as a function does it, on moto: from the first owner to a clip that is gone.

No step of this ran in a real account.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest
from moto.iotdata.models import iotdata_backends

from pinthesky.aws import lambda_handlers
from pinthesky.aws.adapters.access_tokens import issuer_of
from pinthesky.aws.clients import Clients
from pinthesky.errors import Unavailable
from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.routing import HttpRequest
from tests.conversion.test_streams import bare
from tests.planes.recordings import event_id
from tests.planes.test_signing_request import REQUEST
from tests.support.aws_planes import (
    ACCOUNT,
    Asked,
    Said,
    answer_in_place,
    local_clients,
    moto_clients,
    new_bucket,
    new_table,
)
from tests.support.aws_servers import REGION
from tests.support.lambda_calls import Context, batch, claims_of, device_event, http_event, s3_event, socket_event
from tests.support.user_pool import CLIENT

ENDPOINT = "https://sockets.execute-api.eu-central-1.amazonaws.com/prod"
START_S = 1_800_000_000


class Account(NamedTuple):
    """What a deployment makes, and the functions in it."""

    clients: Clients
    pool: str
    bucket: str
    owner: str
    posted: dict[str, list[Any]]
    """What was posted to each open socket."""

    def ask(self, method: str, path: str, body: object = None, *, person: str = "", **query: str) -> tuple[int, Any]:
        raw = b"" if body is None else json.dumps(body).encode()
        issuer = issuer_of(REGION, self.pool)
        claims = claims_of(person or self.owner, iss=issuer) if person != "nobody" else None
        said = lambda_handlers.http(http_event(HttpRequest(method, path, query, raw), claims), Context())
        return said["statusCode"], json.loads(said["body"]) if said["body"] else None

    def ask_for(self, method: str, path: str, body: object = None, *, person: str = "", **query: str) -> Any:
        status, answer = self.ask(method, path, body, person=person, **query)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    def register(self, thing: str) -> dict[str, Any]:
        """What a camera does, and what its owner says to it."""
        asked = self.ask_for("POST", "/registrations", {"csr": REQUEST, "host_name": "pi"}, person="nobody")
        decision = {"decision": "approve", "thingName": thing}
        self.ask_for("POST", f"/registrations/{asked['user_code']}", decision)
        given: dict[str, Any] = self.ask_for(
            "POST", "/registrations/token", {"device_code": asked["device_code"]}, person="nobody"
        )
        return given

    def upload(self, thing: str, name: str, data: bytes, **metadata: str) -> str:
        """What a camera stores, and what the bucket says of it."""
        key = f"motion_videos/{thing}/{name}"
        content_type = "video/mp4" if name.endswith(".mp4") else "video/h264"
        self.clients.get("s3").put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            ContentType=content_type,
            Metadata={"trigger": "motion", "duration": "30.000", "part": "1", **metadata},
            Tagging="retention=standard",
        )
        said = lambda_handlers.media(batch(s3_event(key, bucket=self.bucket)), Context())
        assert said == {"batchItemFailures": []}
        return name


@pytest.fixture
def account(moto_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    clients = local_clients(moto_port)
    for service in ("cognito-idp", "dynamodb", "iot", "iot-data", "s3", "sns"):
        clients._clients[service, clients._endpoint_url] = moto_clients(moto_port).get(service)
    end = secrets.token_hex(6)
    bucket, table = new_bucket(moto_port), new_table(moto_port, lambda: START_S)
    cognito, iot = clients.get("cognito-idp"), clients.get("iot")
    pool = cognito.create_user_pool(PoolName=f"home-{end}", UsernameAttributes=["email"])["UserPool"]["Id"]
    for role in ("owner", "member", "viewer"):
        cognito.create_group(UserPoolId=pool, GroupName=role)
    made = cognito.admin_create_user(UserPoolId=pool, Username="olga@example.com")["User"]
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=made["Username"], GroupName="owner")
    iot.create_policy(policyName=f"camera-{end}", policyDocument='{"Version": "2012-10-17", "Statement": []}')
    iot.create_thing_group(thingGroupName=f"cameras-{end}")
    topic = clients.get("sns").create_topic(Name=f"alerts-{end}")["TopicArn"]
    environment = {
        "AWS_REGION": REGION,
        "PITS_TABLE": table._name,
        "PITS_MEDIA_BUCKET": bucket,
        "PITS_CONSOLE": "https://home.test",
        "PITS_CONNECTIONS_ENDPOINT": ENDPOINT,
        "PITS_USER_POOL": pool,
        "PITS_CLIENT_IDS": CLIENT,
        "PITS_ALERTS_TOPIC": topic,
        "PITS_THING_ARNS": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/",
        "PITS_CAMERA_POLICY": f"camera-{end}",
        "PITS_CAMERA_GROUP": f"cameras-{end}",
        "PITS_ROLE_ALIAS": "pits-camera",
        "PITS_CONVERSION_FUNCTION": "conversion",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lambda_handlers, "Clients", lambda _region: clients)
    posted: dict[str, list[Any]] = {}

    def sockets(asked: Asked) -> Said:
        name = asked.path.rpartition("/")[2]
        if name not in posted:
            return Said(410, "GoneException")
        posted[name].append(json.loads(asked.body))
        return Said()

    answer_in_place(clients.get("apigatewaymanagementapi", endpoint_url=ENDPOINT), sockets)
    answer_in_place(
        clients.get("lambda"), lambda asked: Said(body=lambda_handlers.conversion(json.loads(asked.body), Context()))
    )
    _forget()
    owner = next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub")
    yield Account(clients, pool, str(bucket), owner, posted)
    _forget()


def _forget() -> None:
    for made in (lambda_handlers._deployment, lambda_handlers._entrances, lambda_handlers._converter):
        made.cache_clear()


def now_s() -> int:
    return int(lambda_handlers._entrances().now_s())


def test_a_camera_is_registered_records_is_watched_and_is_removed(account: Account):
    thing = f"garden-{secrets.token_hex(4)}"
    identity = account.register(thing)
    assert identity["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert identity["endpoints"]["bucket_name"] == account.bucket
    assert [each["thingName"] for each in account.ask_for("GET", "/cameras")["items"]] == [thing]

    ticket = account.ask_for("POST", "/tokens")["token"]
    account.posted["c-1="] = []
    opening: dict[str, Any] = {"headers": {"Sec-WebSocket-Protocol": "manager"}}
    opening["queryStringParameters"] = {"Authorization": ticket}
    assert lambda_handlers.socket(socket_event("CONNECT", "c-1=", **opening), Context())["statusCode"] == 200

    motion = {"name": "motion_start", "timestamp": now_s(), "event_id": event_id(1), "score": 3.0}
    lambda_handlers.device_event(device_event(thing, motion), Context())
    video = account.upload(thing, f"{now_s() - 30}-{event_id(1)}.motion.mp4", b"a clip", event_id=event_id(1))
    assert [each["event"]["type"] for each in account.posted["c-1="]] == ["motion_started", "clip_stored"]

    (clip,) = account.ask_for("GET", "/videos")["items"]
    assert (clip["video"], clip["thingName"]) == (video, thing)
    link = account.ask_for("GET", f"/videos/{video}/cameras/{thing}/url")["url"]
    with urlopen(link, timeout=5) as answer:
        assert answer.read() == b"a clip"
    account.ask_for("PUT", f"/videos/{video}/cameras/{thing}", {"starred": True})
    tags = account.clients.get("s3").get_object_tagging(Bucket=account.bucket, Key=f"motion_videos/{thing}/{video}")
    assert tags["TagSet"] == [{"Key": "kept", "Value": "true"}]

    account.ask_for("DELETE", f"/cameras/{thing}")
    assert account.ask_for("GET", "/cameras")["items"] == []
    assert account.clients.get("iot").list_things(attributeName="x", attributeValue="x")["things"] == []


def test_settings_commands_and_jobs_reach_the_camera(account: Account):
    thing = f"gate-{secrets.token_hex(4)}"
    account.register(thing)
    changed = {"camera": {"framerate": 10}}
    account.ask_for("POST", f"/cameras/{thing}/configuration", changed)
    payload = account.clients.get("iot-data").get_thing_shadow(thingName=thing, shadowName="pinthesky")["payload"]
    assert json.loads(payload.read())["state"]["desired"] == changed
    account.ask_for("POST", f"/cameras/{thing}/captureImage")
    published = iotdata_backends[ACCOUNT][REGION].published_payloads
    (command,) = [json.loads(raw) for topic, raw in published if topic == f"pinthesky/events/{thing}/input"]
    assert command["name"] == "capture_image"
    job = account.ask_for("POST", "/jobs", {"type": "reboot", "cameras": [thing]})["id"]
    made = account.clients.get("iot").describe_job(jobId=job)["job"]
    assert made["targets"] == [f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{thing}"]


def test_a_stream_of_a_camera_without_pyav_becomes_a_clip(account: Account):
    thing = f"hall-{secrets.token_hex(4)}"
    account.register(thing)
    account.upload(thing, "1800000000.motion.h264", bare(30))
    (clip,) = account.ask_for("GET", "/videos")["items"] or [None]
    assert clip is not None
    assert clip["video"] == "1800000000.motion.mp4"
    link = account.ask_for("GET", f"/videos/{clip['video']}/cameras/{thing}/url")["url"]
    with urlopen(link, timeout=5) as answer:
        assert answer.read()[4:8] == b"ftyp"


def test_people_have_the_role_that_they_were_given_last(account: Account):
    anna = account.ask_for("POST", "/people", {"email": "anna@example.com", "role": "member"})["id"]
    assert account.ask("POST", "/groups", {"name": "outside"}, person=anna)[0] in (200, 201)
    account.ask_for("PUT", f"/people/{anna}", {"role": "viewer", "groups": ["outside"]})
    assert account.ask("POST", "/groups", {"name": "inside"}, person=anna)[0] == 403
    account.ask_for("DELETE", f"/people/{anna}")
    assert account.ask("GET", "/cameras", person=anna)[0] == 403


def test_an_alert_reaches_a_rule_by_its_topic(account: Account):
    thing = f"yard-{secrets.token_hex(4)}"
    account.register(thing)
    made = account.ask_for("POST", "/subscriptions", {"protocol": "email", "endpoint": "olga@example.com"})
    topic = lambda_handlers._deployment().alerts_topic
    found = account.clients.get("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [each["Endpoint"] for each in found] == ["olga@example.com"]
    motion = {"name": "motion_start", "timestamp": now_s(), "event_id": event_id(1), "score": 3.0}
    lambda_handlers.device_event(device_event(thing, motion), Context())
    account.ask_for("DELETE", f"/subscriptions/{made['id']}")
    assert account.clients.get("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_every_chore_and_every_other_entrance_is_there(account: Account):
    for chore in ("silence", "sockets", "sweep", "reconcile"):
        lambda_handlers.schedule({"chore": chore}, Context())
    lambda_handlers.presence({"eventType": "subscribed"}, Context())
    lambda_handlers.job_execution({"eventType": "JOB"}, Context())
    assert account.ask("GET", "/storage/info")[0] == 200
    assert account.ask("GET", "/versions")[0] == 200
    assert account.ask("GET", "/iot/groups")[0] == 200


def test_links_of_the_media_are_signed_for_the_region(account: Account):
    key = MediaKey("motion_videos/a/1800000000.motion.mp4")
    url = lambda_handlers._entrances().home.media.url(key, lifetime_s=60)
    assert f"/{REGION}/s3/aws4_request" in parse_qs(urlsplit(url).query)["X-Amz-Credential"][0]


def test_every_function_of_a_home_has_the_same_secret(account: Account):
    first = lambda_handlers._entrances().home.secret
    _forget()
    assert lambda_handlers._entrances().home.secret == first
    assert len(first) == 32


def test_an_account_that_is_out_of_reach_is_unavailable(account: Account, monkeypatch: pytest.MonkeyPatch):
    nowhere = local_clients(1)
    monkeypatch.setattr(lambda_handlers, "Clients", lambda _region: nowhere)
    _forget()
    with pytest.raises(Unavailable):
        lambda_handlers.schedule({"chore": "silence"}, Context())
