"""What the planes' adapters make of a bad day at AWS: errors of every kind, and answers that moto does not give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pinthesky.aws.adapters.commands import IotCommands
from pinthesky.aws.adapters.jobs import IotJobService
from pinthesky.aws.adapters.media import S3Media
from pinthesky.aws.adapters.notifier import TRIES, SnsNotifier
from pinthesky.aws.adapters.people import CognitoPeople
from pinthesky.aws.adapters.shadows import IotShadows
from pinthesky.aws.adapters.things import LISTED_MAX, CameraDefaults, IotThings
from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.hub.database import Database
from pinthesky.hub.records import SqliteTable
from pinthesky.model.identifiers import BucketName, ConnectionId, MediaKey, ThingName
from pinthesky.model.jobs import JobId
from pinthesky.model.people import Email, PersonId, Role
from pinthesky.planes.ports import Alert, Destination
from pinthesky.planes.table import Put
from tests.planes.test_signing_request import REQUEST
from tests.support.aws_planes import THING_ARNS, Asked, Said, answer_in_place, local_clients

GARDEN = ThingName("garden")
KEY = MediaKey("motion_videos/garden/1800000000.motion.mp4")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SqliteTable]:
    database = Database(tmp_path / "records.sqlite")
    yield SqliteTable(database)
    database.close()


def answering(service: str, answers: Callable[[Asked], Said]) -> Clients:
    """Clients of which one service is answered by a test."""
    clients = local_clients()
    answer_in_place(clients.get(service), answers)
    return clients


@pytest.mark.parametrize(
    "status,code,meaning",
    [
        (404, "ResourceNotFoundException", NotFound),
        (410, "SomethingNew", NotFound),
        (409, "ConflictException", Conflict),
        (403, "ForbiddenException", NotAuthorized),
        (401, "SomethingNew", NotAuthorized),
        (400, "LimitExceededException", Unavailable),
        (503, "ServiceUnavailableException", Unavailable),
        (429, "SomethingNew", Unavailable),
        (400, "SomethingNew", InvalidInput),
    ],
)
def test_every_error_of_aws_means_one_of_ours(status: int, code: str, meaning: type[PinTheSkyError], monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # botocore's pauses between its tries
    commands = IotCommands(answering("iot-data", lambda _asked: Said(status, code)))
    with pytest.raises(meaning, match="sending a command to garden") as raised:
        commands.send(GARDEN, {"name": "health"})
    assert raised.value.__cause__ is not None


def test_a_service_that_cannot_be_reached_is_unavailable(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(Unavailable, match="sending a command to garden"):
        IotCommands(local_clients(1)).send(GARDEN, {"name": "health"})


def test_what_botocore_itself_refuses_is_invalid():
    with pytest.raises(InvalidInput), errors("asking"):
        local_clients().get("iot").describe_thing(thingName=7)


def test_clients_are_made_once_and_have_time_outs():
    clients = Clients("eu-central-1")
    made = clients.get("sns")
    assert clients.get("sns") is made
    config = made.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3.0, 10.0)
    slow = clients.get("lambda", read_timeout_s=300.0, attempts=1).meta.config
    assert (slow.read_timeout, slow.retries["total_max_attempts"]) == (300.0, 1)


def test_a_job_that_is_being_deleted_is_not_there():
    said = Said(body={"job": {"jobId": "job-1", "status": "DELETION_IN_PROGRESS"}})
    jobs = IotJobService(answering("iot", lambda _asked: said), THING_ARNS)
    with pytest.raises(NotFound):
        jobs.summary(JobId("job-1"))


def test_a_job_that_waits_for_its_time_is_in_progress():
    said = Said(body={"job": {"jobId": "job-1", "status": "SCHEDULED"}})
    assert (
        IotJobService(answering("iot", lambda _asked: said), THING_ARNS).summary(JobId("job-1")).state == "IN_PROGRESS"
    )


def test_an_execution_that_is_not_told_is_not_there():
    jobs = IotJobService(answering("iot", lambda _asked: Said(body={})), THING_ARNS)
    with pytest.raises(NotFound):
        jobs.execution(JobId("job-1"), GARDEN)


def test_a_camera_of_which_iot_knows_nothing_has_no_jobs():
    jobs = IotJobService(answering("iot", lambda _asked: Said(404, "ResourceNotFoundException")), THING_ARNS)
    assert jobs.executions_of(GARDEN, limit=10, token=None) == ([], None)


def test_objects_that_could_not_be_removed_are_said():
    said = b"<DeleteResult><Error><Key>k</Key><Code>InternalError</Code><Message>no</Message></Error></DeleteResult>"
    media = S3Media(answering("s3", lambda _asked: Said(body=said)), BucketName("home-media"))
    with pytest.raises(Unavailable, match="1 objects were not removed, the first k: InternalError"):
        media.delete([KEY])
    with pytest.raises(InvalidInput, match="at most 1000"):
        media.delete([KEY] * 1001)


def test_a_link_of_a_region_leads_to_it_without_a_redirect():
    link = S3Media(local_clients(), BucketName("home-media")).url(KEY, lifetime_s=10**9)
    assert link.startswith(f"https://home-media.s3.eu-central-1.amazonaws.com/{KEY}?")
    assert "X-Amz-Expires=604800" in link


def test_a_shadow_without_anything_in_it_is_empty():
    clients = answering("iot-data", lambda _asked: Said(body={"state": {"desired": None}, "version": 7}))
    found = IotShadows(clients).get(GARDEN)
    assert found is not None
    assert (found.desired, found.reported, found.version) == ({}, {}, 7)


class Registry:
    """AWS IoT's registry as far as one camera goes, with faults where a test wants them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.faults: dict[str, list[Said]] = {}
        """By what a call is for: its answers, one after the other, before it succeeds."""

    def __call__(self, asked: Asked) -> Said:
        name = f"{asked.method} {asked.path.split('/')[1]}"
        if asked.path.startswith("/things/") and asked.path.endswith("/principals"):
            name += " principals"
        self.calls.append(name)
        if waiting := self.faults.get(name):
            return waiting.pop(0)
        if name == "GET things" and not asked.path.endswith("thing-groups"):
            return Said(404, "ResourceNotFoundException")
        if name == "GET endpoint":
            return Said(body={"endpointAddress": f"{asked.query['endpointType'][4:].lower()}.test"})
        if name == "POST certificates":
            number = "ab" * 32
            arn = f"arn:aws:iot:eu-central-1:123456789012:cert/{number}"
            return Said(body={"certificateArn": arn, "certificateId": number, "certificatePem": "PEM"})
        return Said(body={})


def registering(registry: Registry, pauses: list[float] | None = None) -> IotThings:
    defaults = CameraDefaults(policy="camera", group="", endpoints={"role_alias": "camera"})
    return IotThings(answering("iot", registry), defaults, sleep=(pauses if pauses is not None else []).append)


def test_a_camera_without_a_group_of_its_own_is_in_none():
    registry = Registry()
    identity = registering(registry).register(GARDEN, REQUEST)
    assert identity.endpoints["mqtt_host"] == "data-ats.test"
    assert "PUT thing-groups" not in registry.calls


def test_of_two_registrations_of_a_name_at_once_one_wins():
    registry = Registry()
    registry.faults["POST things"] = [Said(409, "ResourceAlreadyExistsException")]
    with pytest.raises(Conflict):
        registering(registry).register(GARDEN, REQUEST)
    assert "DELETE things" not in registry.calls


def test_a_certificate_that_cannot_be_attached_is_removed():
    registry = Registry()
    registry.faults["PUT things principals"] = [Said(400, "InvalidRequestException")]
    with pytest.raises(InvalidInput):
        registering(registry).register(GARDEN, REQUEST)
    assert "DELETE certificates" in registry.calls
    assert registry.calls[-1] == "DELETE things"


def test_a_registration_of_which_something_is_left_is_said(caplog: pytest.LogCaptureFixture, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    registry = Registry()
    registry.faults["POST certificates"] = [Said(400, "InvalidRequestException")]
    registry.faults["GET things principals"] = [Said(403, "UnauthorizedException")]
    with pytest.raises(InvalidInput):
        registering(registry).register(GARDEN, REQUEST)
    assert "could not be removed" in caplog.text


def test_a_thing_whose_certificate_is_still_being_detached_is_removed_moments_later():
    registry, pauses = Registry(), list[float]()
    registry.faults["DELETE things"] = [Said(400, "InvalidRequestException")] * 2
    registering(registry, pauses).remove(GARDEN)
    assert pauses == [0.2, 0.5]
    registry.faults["DELETE things"] = [Said(400, "InvalidRequestException")] * 9
    with pytest.raises(Unavailable, match="cannot be removed yet"):
        registering(registry).remove(GARDEN)
    registry.faults["DELETE things"] = [Said(404, "ResourceNotFoundException")]
    registering(registry).remove(GARDEN)


def test_long_lists_of_iot_end_somewhere():
    def pages(_asked: Asked) -> Said:
        return Said(body={"thingGroups": [{"groupName": "g"}] * 100, "nextToken": "more"})

    assert len(registering_with(pages).groups()) == LISTED_MAX


def registering_with(answers: Callable[[Asked], Said]) -> IotThings:
    return IotThings(answering("iot", answers), CameraDefaults(policy="p", group="", endpoints={}))


def topic(answers: Callable[[Asked], Said], table: SqliteTable) -> SnsNotifier:
    return SnsNotifier(
        answering("sns", answers), "arn:aws:sns:eu-central-1:1:alerts", table, console="https://home.test"
    )


SUBSCRIBED = (
    b"<SubscribeResponse><SubscribeResult><SubscriptionArn>arn:aws:sns:eu-central-1:1:alerts:1</SubscriptionArn>"
    b"</SubscribeResult></SubscribeResponse>"
)
MAIL = Destination("rule-1", "email", "a@example.com")


def test_an_address_has_a_bounded_number_of_rules(table: SqliteTable, monkeypatch):
    monkeypatch.setattr("pinthesky.aws.adapters.notifier.RULES_MAX", 2)
    notifier = topic(lambda _asked: Said(body=SUBSCRIBED), table)
    for number in range(2):
        notifier.enlist(Destination(f"rule-{number}", "email", "a@example.com"))
    with pytest.raises(InvalidInput, match="has 2 rules already"):
        notifier.enlist(Destination("rule-2", "email", "a@example.com"))


def test_a_destination_that_everybody_changes_at_once_is_unavailable(table: SqliteTable, monkeypatch):
    tries: list[Any] = []

    def lose(*changes: Put) -> None:
        tries.append(changes)
        raise Conflict("somebody was faster")

    monkeypatch.setattr(table, "write", lose)
    with pytest.raises(Unavailable, match="too many at once"):
        topic(lambda _asked: Said(body=SUBSCRIBED), table).enlist(MAIL)
    assert len(tries) == TRIES


def test_a_subscription_that_nobody_confirmed_ends_by_itself(table: SqliteTable):
    refused = b"<ErrorResponse><Error><Code>InvalidParameter</Code><Message>pending</Message></Error></ErrorResponse>"
    answers = [Said(body=SUBSCRIBED), Said(400, body=refused)]
    notifier = topic(lambda _asked: answers.pop(0), table)
    notifier.enlist(MAIL)
    notifier.withdraw(MAIL)
    assert answers == []


def test_a_text_message_is_short_and_its_link_whole(table: SqliteTable):
    sent: list[str] = []

    def published(asked: Asked) -> Said:
        sent.append(asked.body.decode())
        return Said(body=b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>")

    notifier = topic(published, table)
    alert = Alert("motion", "camera", "", "garden", "fri", 8, title="x" * 300, text="", link="/cameras/garden")
    for shown, has_link in ((alert, True), (replace(alert, link="/cameras/" + "x" * 120), False)):
        text = notifier._message(shown)["sms"]
        assert len(text) <= 140
        assert text.endswith("https://home.test/cameras/garden") == has_link
    notifier.deliver(alert, [MAIL])
    notifier.deliver(alert, [])
    assert len(sent) == 1


def test_people_whom_everybody_changes_at_once_are_unavailable(table: SqliteTable, monkeypatch):
    people = CognitoPeople(local_clients(), "pool", table)
    from pinthesky.planes.table import Key, Record

    table.write(Put(Record(Key("person", "anna"), b'{"email": null, "role": "member"}')))

    def lose(*_changes: Put) -> None:
        raise Conflict("somebody was faster")

    monkeypatch.setattr(table, "write", lose)
    with pytest.raises(Unavailable, match="too many at once"):
        people.change(PersonId("anna"), Role.VIEWER, None)


def test_a_pool_has_a_bounded_number_of_people(table: SqliteTable, monkeypatch):
    monkeypatch.setattr("pinthesky.aws.adapters.people.PEOPLE_MAX", 0)
    with pytest.raises(Conflict, match="there are 0 people already"):
        CognitoPeople(local_clients(), "pool", table).invite(Email("a@example.com"), Role.VIEWER, None)


def test_every_name_that_goes_into_a_filter_of_the_pool_is_harmless():
    for name in ('x" or sub ^= "', "a b", "\\"):
        with pytest.raises(InvalidInput):
            PersonId(name)
    with pytest.raises(InvalidInput):
        ConnectionId("../x")
