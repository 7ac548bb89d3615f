"""The functions in Lambda: what each of their callers hands over, what becomes of it, and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from pinthesky.aws import api_events, deployment, lambda_handlers
from pinthesky.aws.deployment import Deployment
from pinthesky.aws.lambda_handlers import Entrances
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes.home import Home
from pinthesky.planes.ports import JobOrder
from pinthesky.planes.routing import HttpRequest
from tests.planes.fakes import out_of_reach
from tests.planes.home import GARDEN, HALL, MEMBER, OWNER, STRANGER, StagedHome, ask_for
from tests.planes.recordings import clip_key, event_id, pushed, store_clip
from tests.support.lambda_calls import (
    BUCKET,
    Context,
    batch,
    claims_of,
    device_event,
    http_event,
    s3_event,
    socket_event,
)
from tests.support.through_lambda import entrances
from tests.support.user_pool import CLIENT

GET_CAMERAS = HttpRequest("GET", "/cameras", {})


@pytest.fixture
def ways(fleet: StagedHome) -> Entrances:
    return entrances(fleet, fleet.clock)


def asked(ways: Entrances, event: dict[str, Any]) -> tuple[int, Any]:
    said = ways.http(event, Context())
    assert said["headers"]["X-Content-Type-Options"] == "nosniff"
    return said["statusCode"], json.loads(said["body"]) if said["body"] else None


class TestHttp:
    def test_a_person_is_who_the_token_says_and_may_what_the_home_says(self, ways: Entrances):
        status, answer = asked(ways, http_event(GET_CAMERAS, claims_of(OWNER.id)))
        assert (status, len(answer["items"])) == (200, 3)
        assert asked(ways, http_event(GET_CAMERAS, claims_of(STRANGER.id)))[0] == 403

    def test_somebody_whom_nobody_invited_gets_nothing_whatever_the_token_says(self, ways: Entrances):
        claims = claims_of("7f1b-nobody", **{"cognito:groups": "[owner]"})
        for path in ("/cameras", "/people/me", "/groups", "/videos"):
            assert asked(ways, http_event(HttpRequest("GET", path, {}), claims))[0] == 403

    def test_a_route_without_an_authorizer_knows_nobody(self, ways: Entrances):
        assert asked(ways, http_event(GET_CAMERAS, None))[0] == 401
        assert asked(ways, http_event(HttpRequest("GET", "/openapi.json", {}), None))[0] == 200

    @pytest.mark.parametrize(
        "wrong",
        [{"token_use": "id", "aud": CLIENT}, {"client_id": "other"}, {"iss": "https://evil.test"}, {"origin_jti": ""}],
    )
    def test_an_authorizer_that_lets_another_token_pass_is_not_believed(self, ways: Entrances, wrong: dict[str, str]):
        status, answer = asked(ways, http_event(GET_CAMERAS, claims_of(OWNER.id, **wrong)))
        assert (status, answer["requestId"]) == (401, "r-1")

    def test_signing_out_a_browser_holds_for_the_token_that_it_still_has(self, fleet: StagedHome, ways: Entrances):
        home: Home = replace(fleet, sign_ins=ways.sign_ins)  # type: ignore[arg-type] # the stage wants its own fake
        ways = entrances(home, fleet.clock)
        event = http_event(GET_CAMERAS, claims_of(OWNER.id, origin_jti="here"))
        other = http_event(HttpRequest("DELETE", "/sessions/here", {}), claims_of(OWNER.id, origin_jti="there"))
        assert asked(ways, event)[0] == 200
        assert asked(ways, other)[0] == 204
        assert asked(ways, event) == (401, {"message": "this sign-in has been ended", "requestId": "r-1"})

    @pytest.mark.parametrize("stage,base", [("$default", ""), ("prod", ""), ("prod", "/api"), ("$default", "/api")])
    def test_stage_and_base_path_are_no_part_of_the_route(self, fleet: StagedHome, stage: str, base: str):
        ways = entrances(fleet, fleet.clock, base_path=base)
        event = http_event(HttpRequest("GET", f"{base}/cameras", {"limit": "1"}), claims_of(OWNER.id), stage=stage)
        status, answer = asked(ways, event)
        assert (status, len(answer["items"])) == (200, 1)

    def test_a_body_comes_plain_or_in_base64(self, ways: Entrances):
        for name, encode in (("attic", True), ("Gärten", False)):
            request = HttpRequest("POST", "/groups", {}, json.dumps({"name": name}).encode())
            assert asked(ways, http_event(request, claims_of(OWNER.id), encode=encode))[0] in (200, 201)

    def test_a_body_that_is_not_what_it_says_is_refused(self, ways: Entrances):
        event = http_event(HttpRequest("POST", "/groups", {}, b"{}"), claims_of(OWNER.id))
        event["body"] = "no base64!"
        status, answer = asked(ways, event)
        assert (status, answer["field"]) == (400, "body")

    def test_a_query_is_decoded_once_and_of_two_values_the_last_counts(self, ways: Entrances):
        event = http_event(GET_CAMERAS, claims_of(OWNER.id))
        for query, count in (("thingName=garden%2Chall", 2), ("limit=3&limit=1", 1)):
            event["rawQueryString"] = query
            status, answer = asked(ways, event)
            assert (status, len(answer["items"])) == (200, count)
        event["rawQueryString"] = "limit=&"
        assert asked(ways, event)[0] == 400

    @pytest.mark.parametrize("path", ["/cameras/../..", "/cameras/\0", "/cameras/%2e%2e", "//", "", "/cameras/a b"])
    def test_tricks_with_paths_end_at_the_door(self, ways: Entrances, path: str):
        event = http_event(GET_CAMERAS, claims_of(OWNER.id))
        event["rawPath"] = path
        assert asked(ways, event)[0] in (400, 404)

    def test_a_defect_is_one_request_and_its_answer_has_a_form(
        self, fleet: StagedHome, caplog: pytest.LogCaptureFixture
    ):
        ways = entrances(fleet, fleet.clock)
        event = http_event(GET_CAMERAS, claims_of(OWNER.id))
        del event["requestContext"]["http"]["method"]
        status, answer = asked(ways, event)
        assert (status, answer["requestId"]) == (500, "r-1")
        assert "method" not in answer["message"]
        assert "failed (r-1)" in caplog.text

    def test_a_table_that_is_out_of_reach_is_a_500_without_detail(
        self, fleet: StagedHome, monkeypatch: pytest.MonkeyPatch
    ):
        ways = entrances(fleet, fleet.clock)
        event = http_event(GET_CAMERAS, claims_of(OWNER.id))
        assert asked(ways, event)[0] == 200
        for part in ("query", "get"):
            monkeypatch.setattr(fleet.table, part, out_of_reach)
            status, answer = asked(ways, event)
            assert (status, answer["requestId"]) == (500, "r-1")
            assert "secret detail" not in json.dumps(answer)


class TestSocket:
    def opened(self, home: StagedHome, ways: Entrances, **query: str) -> dict[str, Any]:
        headers = {"Sec-WebSocket-Protocol": "manager, other", "User-Agent": "Firefox"}
        event = socket_event("CONNECT", "c-1=", headers=headers, queryStringParameters=query or None)
        home.connections.open("c-1=")
        return ways.socket(event, Context())

    def test_a_ticket_opens_a_socket_and_its_protocol_is_chosen(self, fleet: StagedHome, ways: Entrances):
        ticket = ask_for(fleet, MEMBER, "POST", "/tokens")["token"]
        said = self.opened(fleet, ways, Authorization=ticket)
        assert said == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "manager"}}
        assert self.opened(fleet, ways, Authorization=ticket)["statusCode"] == 403

    def test_a_token_in_the_address_is_refused(self, fleet: StagedHome, ways: Entrances):
        assert self.opened(fleet, ways, Authorization="eyJ.eyJ.sig")["statusCode"] == 403

    def test_a_socket_without_a_sub_protocol_is_refused(self, ways: Entrances):
        assert ways.socket(socket_event("CONNECT", "c-1="), Context())["statusCode"] == 403

    def test_messages_are_answered_and_the_end_is_noted(self, fleet: StagedHome, ways: Entrances):
        ticket = ask_for(fleet, MEMBER, "POST", "/tokens")["token"]
        self.opened(fleet, ways, Authorization=ticket)
        message = json.dumps({"action": "status", "requestId": "q-1"})
        assert ways.socket(socket_event("MESSAGE", "c-1=", message), Context()) == {"statusCode": 200}
        (answer,) = [json.loads(each) for each in fleet.connections.posted["c-1="]]  # type: ignore[index] # ids are text
        assert (answer["response"]["statusCode"], answer["response"]["requestId"]) == (200, "q-1")
        assert len(list(fleet.sockets.everyone())) == 1
        assert ways.socket(socket_event("DISCONNECT", "c-1="), Context()) == {"statusCode": 200}
        assert list(fleet.sockets.everyone()) == []

    def test_a_message_may_be_garbage(self, fleet: StagedHome, ways: Entrances):
        self.opened(fleet, ways)
        for message in ("", "{", "[]", "\x00", json.dumps({"action": "invoke"})):
            assert ways.socket(socket_event("MESSAGE", "c-1=", message), Context()) == {"statusCode": 200}


class TestDeviceEvents:
    def motion(self, number: int, home: StagedHome) -> dict[str, Any]:
        return {"name": "motion_start", "timestamp": home.clock(), "event_id": event_id(number), "score": 3.0}

    def test_the_thing_is_that_of_the_topic_whatever_the_event_says(self, fleet: StagedHome, ways: Entrances):
        ways.device_event(device_event("garden", {**self.motion(1, fleet), "thing_name": "hall"}), Context())
        assert [push.camera for push in pushed(fleet, "motion_started")] == [GARDEN]

    def test_the_same_event_twice_is_one(self, fleet: StagedHome, ways: Entrances):
        for _ in range(2):
            ways.device_event(device_event("garden", self.motion(1, fleet)), Context())
        assert len(pushed(fleet, "motion_started")) == 1

    def test_the_shared_topic_of_older_devices_is_taken_only_where_it_was_switched_on(self, fleet: StagedHome):
        event = device_event("garden", {**self.motion(1, fleet), "thing_name": "hall"}, topic=api_events.LEGACY_TOPIC)
        entrances(fleet, fleet.clock).device_event(event, Context())
        assert pushed(fleet, "motion_started") == []
        entrances(fleet, fleet.clock, takes_legacy_topic=True).device_event(event, Context())
        assert [push.camera for push in pushed(fleet, "motion_started")] == [GARDEN]

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {"topic": "pinthesky/events/garden/input", "payload": "e30="},
            {"topic": "pinthesky/events/a/b/output", "payload": "e30="},
            {"topic": "pinthesky/events/garden/output"},
            {"topic": "pinthesky/events/garden/output", "payload": "no base64!"},
            {"topic": "pinthesky/events/g\u00e4rten/output", "payload": "e30="},
            {"topic": api_events.LEGACY_TOPIC, "client": "", "payload": "e30="},
            device_event("garden", b"no JSON"),
            device_event("nobody", {"name": "health_end"}),
        ],
    )
    def test_what_cannot_be_taken_is_dropped_and_said(self, fleet: StagedHome, event: Any, caplog):
        entrances(fleet, fleet.clock, takes_legacy_topic=True).device_event(event, Context())
        assert pushed(fleet) == []
        assert caplog.records

    def test_what_cannot_be_kept_now_is_given_again(self, fleet: StagedHome, ways: Entrances, monkeypatch):
        monkeypatch.setattr(fleet.table, "write", out_of_reach)
        with pytest.raises(Unavailable):
            ways.device_event(device_event("garden", self.motion(1, fleet)), Context())


class TestPresence:
    def event(self, home: StagedHome, kind: str, **more: Any) -> dict[str, Any]:
        return {
            "clientId": "garden",
            "timestamp": home.clock.now_ms,
            "eventType": kind,
            "sessionIdentifier": "4b5b",
            "principalIdentifier": "12ab",
            "ipAddress": "192.0.2.9",
            "versionNumber": 0,
            **more,
        }

    def test_a_camera_connects_and_is_lost(self, fleet: StagedHome, ways: Entrances):
        ways.presence(self.event(fleet, "connected"), Context())
        fleet.clock.now_s += 5
        ways.presence(self.event(fleet, "disconnected", disconnectReason="MQTT_KEEP_ALIVE_TIMEOUT"), Context())
        assert [(push.type, push.reason) for push in pushed(fleet, "camera_online", "camera_offline")] == [
            ("camera_online", None),
            ("camera_offline", "MQTT_KEEP_ALIVE_TIMEOUT"),
        ]

    def test_a_connection_that_another_of_the_same_camera_replaced_is_no_loss(self, fleet: StagedHome, ways: Entrances):
        ways.presence(self.event(fleet, "connected"), Context())
        fleet.clock.now_s += 5
        ways.presence(self.event(fleet, "disconnected", disconnectReason="DUPLICATE_CLIENTID"), Context())
        assert fleet.cameras.get(GARDEN).online

    @pytest.mark.parametrize("change", [{"eventType": "subscribed"}, {"clientId": "a b"}, {"clientId": "a-browser"}])
    def test_what_is_no_presence_of_a_camera_is_no_news(self, fleet: StagedHome, ways: Entrances, change: Any):
        ways.presence({**self.event(fleet, "connected"), **change}, Context())
        assert pushed(fleet) == []


class TestJobExecutions:
    def event(self, home: StagedHome, status: str = "FAILED", **more: Any) -> dict[str, Any]:
        return {
            "eventType": "JOB_EXECUTION",
            "eventId": "cb40",
            "timestamp": int(home.clock()),
            "operation": status.lower(),
            "jobId": "job-1",
            "thingArn": "arn:aws:iot:eu-central-1:123456789012:thing/garden",
            "status": status,
            "statusDetails": {"reason": "no space"},
            **more,
        }

    def test_progress_is_pushed_once_for_each_try(self, fleet: StagedHome, ways: Entrances):
        fleet.jobs.create(JobOrder(JobId("job-1"), {}, [GARDEN]))
        fleet.jobs.move(JobId("job-1"), GARDEN, JobStatus.FAILED)
        for _ in range(2):
            ways.job_execution(self.event(fleet), Context())
        assert [(push.job, push.status, push.reason) for push in pushed(fleet, "job_progress")] == [
            ("job-1", "FAILED", "no space")
        ]

    def test_a_job_that_is_gone_meanwhile_is_told_all_the_same(self, fleet: StagedHome, ways: Entrances):
        ways.job_execution(self.event(fleet, "SUCCEEDED", statusDetails=None), Context())
        assert [push.status for push in pushed(fleet, "job_progress")] == ["SUCCEEDED"]

    def test_a_deleted_execution_is_no_news(self, fleet: StagedHome, ways: Entrances):
        ways.job_execution(self.event(fleet, operation="deleted"), Context())
        ways.job_execution(self.event(fleet, eventType="JOB"), Context())
        assert pushed(fleet) == []

    @pytest.mark.parametrize("change", [{"status": "DONE"}, {"jobId": "a b"}, {"thingArn": "garden"}])
    def test_what_cannot_be_read_is_for_the_dead_letters(self, fleet: StagedHome, ways: Entrances, change: Any):
        with pytest.raises(InvalidInput):
            ways.job_execution({**self.event(fleet), **change}, Context())


class TestMedia:
    def test_a_clip_that_was_stored_is_there_and_one_that_was_removed_is_gone(self, fleet: StagedHome, ways: Entrances):
        video = store_clip(fleet, GARDEN, fleet.clock() - 60, event_id(1))
        key = clip_key(GARDEN, video)
        assert ways.media(s3_event(key), Context()) == {}
        assert [push.video for push in pushed(fleet, "clip_stored")] == [video]
        fleet.media.delete([key])
        assert ways.media(batch(s3_event(key, "Object Deleted")), Context()) == {"batchItemFailures": []}
        assert fleet.clips.find(GARDEN, video) is None

    def test_one_message_that_fails_is_one_message(self, fleet: StagedHome, ways: Entrances, caplog):
        key = clip_key(GARDEN, store_clip(fleet, GARDEN, fleet.clock() - 60, event_id(1)))
        said = ways.media(batch("no JSON", s3_event(key), {"source": "aws.ec2"}, "[]"), Context())
        assert said == {"batchItemFailures": [{"itemIdentifier": f"m-{number}"} for number in (0, 2, 3)]}
        assert len(pushed(fleet, "clip_stored")) == 1
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    def test_what_cannot_be_kept_now_comes_again(self, fleet: StagedHome, ways: Entrances, monkeypatch):
        key = clip_key(GARDEN, store_clip(fleet, GARDEN, fleet.clock() - 60, event_id(1)))
        monkeypatch.setattr(fleet.media, "describe", out_of_reach)
        assert ways.media(batch(s3_event(key)), Context()) == {"batchItemFailures": [{"itemIdentifier": "m-0"}]}
        with pytest.raises(Unavailable):
            ways.media(s3_event(key), Context())

    def test_a_defect_is_one_message_too_and_is_shown(self, fleet: StagedHome, ways: Entrances, monkeypatch, caplog):
        key = clip_key(GARDEN, store_clip(fleet, GARDEN, fleet.clock() - 60, event_id(1)))
        monkeypatch.setattr(fleet.media, "describe", lambda _key: 1 / 0)
        assert ways.media(batch(s3_event(key)), Context()) == {"batchItemFailures": [{"itemIdentifier": "m-0"}]}
        assert any(record.exc_info for record in caplog.records)

    @pytest.mark.parametrize(
        "event",
        [
            s3_event("motion_videos/garden/../../etc"),
            s3_event("motion_videos/garden/.probe"),
            s3_event("motion_videos/garden/1800000000.motion.mp4", bucket="another"),
        ],
    )
    def test_what_is_no_recording_of_this_home_is_left_alone(self, fleet: StagedHome, ways: Entrances, event: Any):
        assert ways.media(batch(event), Context()) == {"batchItemFailures": []}
        assert pushed(fleet) == []

    @pytest.mark.parametrize("detail", [{}, {"bucket": {"name": BUCKET}}, {"object": None, "bucket": None}])
    def test_an_event_that_names_nothing_is_for_the_dead_letters(self, ways: Entrances, detail: Any):
        with pytest.raises(InvalidInput):
            ways.media({**s3_event("x"), "detail": detail}, Context())


class TestSchedule:
    def test_every_chore_is_done(self, fleet: StagedHome, ways: Entrances):
        for chore in ("silence", "sockets", "sweep", "reconcile"):
            ways.schedule({"chore": chore}, Context())
        assert fleet.cameras.get(GARDEN).thing_name == GARDEN

    @pytest.mark.parametrize("event", [{}, {"chore": "dishes"}])
    def test_a_chore_that_is_none_is_refused(self, ways: Entrances, event: Any):
        with pytest.raises(InvalidInput):
            ways.schedule(event, Context())

    def test_the_daily_comparison_goes_on_where_its_time_was_over(self, fleet: StagedHome, ways: Entrances):
        """Clips that nobody was told of, of two cameras; the call has time for the first camera alone."""
        for thing in (GARDEN, HALL):
            store_clip(fleet, thing, fleet.clock() - 7200, event_id(1))
        fleet.clock.now_s += 3600

        class Hurried(Context):
            def get_remaining_time_in_millis(self) -> int:
                self.left_ms -= 20_000
                return self.left_ms

        ways.schedule({"chore": "reconcile"}, Hurried(left_ms=90_000))
        assert {push.camera for push in pushed(fleet, "clip_stored")} == {GARDEN}
        ways.schedule({"chore": "reconcile"}, Context())
        assert {push.camera for push in pushed(fleet, "clip_stored")} == {GARDEN, HALL}

    def test_the_daily_comparison_is_done_once_a_day_however_often_it_is_asked_for(
        self, fleet: StagedHome, ways: Entrances
    ):
        ways.schedule({"chore": "reconcile"}, Context())
        store_clip(fleet, GARDEN, fleet.clock() - 7200, event_id(1))
        for ahead_s, found in ((3600, 0), (20 * 3600, 0), (4 * 3600, 1)):
            fleet.clock.now_s += ahead_s
            ways.schedule({"chore": "reconcile"}, Context())
            assert len(pushed(fleet, "clip_stored")) == found


ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "PITS_TABLE": "home",
    "PITS_MEDIA_BUCKET": BUCKET,
    "PITS_CONSOLE": "https://home.test",
    "PITS_CONNECTIONS_ENDPOINT": "https://abc.execute-api.eu-central-1.amazonaws.com/prod",
    "PITS_USER_POOL": "eu-central-1_Home",
    "PITS_CLIENT_IDS": f"{CLIENT},other",
    "PITS_ALERTS_TOPIC": "arn:aws:sns:eu-central-1:123456789012:alerts",
    "PITS_THING_ARNS": "arn:aws:iot:eu-central-1:123456789012:thing/",
    "PITS_CAMERA_POLICY": "camera",
    "PITS_ROLE_ALIAS": "camera",
    "PITS_CONVERSION_FUNCTION": "conversion",
}


class TestDeployment:
    def test_an_environment_describes_a_deployment(self):
        found = deployment.read({**ENVIRONMENT, "PITS_CLIPS_DAYS": "7", "PITS_LEGACY_TOPIC": "true", "HOME": "/"})
        assert isinstance(found, Deployment)
        assert (found.clips_days, found.legacy_topic, found.clients) == (7, True, frozenset({CLIENT, "other"}))
        assert found.video_prefix == "motion_videos"

    @pytest.mark.parametrize("name", sorted(ENVIRONMENT))
    def test_what_is_missing_is_named(self, name: str):
        with pytest.raises(InvalidInput) as refused:
            deployment.read({key: value for key, value in ENVIRONMENT.items() if key != name})
        assert refused.value.field == name

    @pytest.mark.parametrize(
        "name,value",
        [
            ("PITS_MEDIA_BUCKET", "UPPER"),
            ("PITS_MEDIA_BUCKET", "clips.example.com"),
            ("PITS_CONSOLE", "https://home.test/"),
            ("PITS_CONSOLE", "javascript:alert(1)"),
            ("PITS_CLIPS_DAYS", "-1"),
            ("PITS_CLIPS_DAYS", "many"),
            ("PITS_ALERTS_TOPIC", "no arn"),
            ("PITS_LABELS_PER_MONTH", "0"),
            ("PITS_LEGACY_TOPIC", "perhaps"),
            ("PITS_BASE_PATH", "api"),
        ],
    )
    def test_what_is_out_of_bounds_is_named(self, name: str, value: str):
        with pytest.raises(InvalidInput) as refused:
            deployment.read({**ENVIRONMENT, name: value})
        assert refused.value.field == name


def test_every_handler_is_an_entrance_or_the_conversion():
    names = ("http", "socket", "device_event", "presence", "job_execution", "media", "schedule")
    for name in names:
        assert callable(getattr(lambda_handlers, name))
        assert callable(getattr(Entrances, name))
    assert callable(lambda_handlers.conversion)
