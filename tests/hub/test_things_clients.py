"""Unmodified clients of AWS IoT on the hub's part for things, over a real broker with TLS and its rules."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from awscrt import mqtt5
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import ServiceStreamOptions, V2ServiceException, iotjobs, iotshadow, mqtt5_client_builder

from pinthesky.hub.job_rules import JobSettings
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from tests.support.broker import Broker
from tests.support.hub_things import HubBroker, ThingsHub

THING = ThingName("garden")
OPTIONS = ClientOptions(max_request_response_subscriptions=8, max_streaming_subscriptions=4)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBroker]:
    with HubBroker(tmp_path_factory.mktemp("clients")) as broker:
        yield broker


@pytest.fixture
def hub(broker: HubBroker, tmp_path) -> Iterator[ThingsHub]:
    with ThingsHub(tmp_path, broker.socket) as hub:
        yield hub


@pytest.fixture(scope="module")
def device(broker: HubBroker) -> Iterator[mqtt5.Client]:
    """A connection as the AWS IoT device SDK makes it."""
    pair = broker.issue(THING)
    connected, stopped = threading.Event(), threading.Event()
    client = mqtt5_client_builder.mtls_from_path(
        cert_filepath=str(pair.cert),
        pri_key_filepath=str(pair.key),
        ca_filepath=str(broker.ca),
        endpoint=broker.host,
        port=broker.port,
        client_id=THING,
        on_lifecycle_connection_success=lambda _: connected.set(),
        on_lifecycle_stopped=lambda _: stopped.set(),
    )
    client.start()
    assert connected.wait(10), "the device cannot connect"
    yield client
    client.stop()
    assert stopped.wait(10)


class Stream:
    """What an SDK's stream has brought."""

    def __init__(self) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self._stands = threading.Event()
        self.options = ServiceStreamOptions(self.events.put, self._on_status)

    def _on_status(self, event) -> None:
        if event.type == SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED:
            self._stands.set()

    def open(self, operation) -> None:
        self._operation = operation  # the SDK unsubscribes when nobody holds it any more
        operation.open()
        assert self._stands.wait(10), "the stream's subscription does not stand"

    def next(self) -> Any:
        return self.events.get(timeout=10)


def test_the_sdk_updates_gets_and_deletes_a_shadow(device: mqtt5.Client, hub: ThingsHub):
    client = iotshadow.IotShadowClientV2(device, OPTIONS)
    named = {"thing_name": THING, "shadow_name": "pinthesky"}
    state = iotshadow.ShadowState(desired={"camera": {"framerate": 25}}, reported={"big": 2**60 + 1})

    updated = client.update_named_shadow(iotshadow.UpdateNamedShadowRequest(**named, state=state)).result(10)
    found = client.get_named_shadow(iotshadow.GetNamedShadowRequest(**named)).result(10)
    deleted = client.delete_named_shadow(iotshadow.DeleteNamedShadowRequest(**named)).result(10)

    assert updated.version == found.version == deleted.version == 1
    assert found.state.desired == {"camera": {"framerate": 25}} == found.state.delta
    assert found.state.reported == {"big": 2**60 + 1}
    assert isinstance(found.metadata.desired["camera"]["framerate"]["timestamp"], int)
    assert hub.shadows.names(THING) == []


def test_the_sdk_is_told_why_a_shadow_request_is_refused(device: mqtt5.Client, hub: ThingsHub):
    client = iotshadow.IotShadowClientV2(device, OPTIONS)
    with pytest.raises(V2ServiceException) as refused:
        client.get_named_shadow(iotshadow.GetNamedShadowRequest(thing_name=THING, shadow_name="nowhere")).result(10)
    error = refused.value.modeled_error
    assert (error.code, error.message) == (404, "No shadow exists with name: 'nowhere'")


def test_the_sdk_hears_what_the_planes_desire(device: mqtt5.Client, hub: ThingsHub):
    client = iotshadow.IotShadowClientV2(device, OPTIONS)
    deltas, documents = Stream(), Stream()
    where = {"thing_name": THING, "shadow_name": "pinthesky"}
    deltas.open(
        client.create_named_shadow_delta_updated_stream(
            iotshadow.NamedShadowDeltaUpdatedSubscriptionRequest(**where), deltas.options
        )
    )
    documents.open(
        client.create_named_shadow_updated_stream(
            iotshadow.NamedShadowUpdatedSubscriptionRequest(**where), documents.options
        )
    )

    hub.shadows.update(THING, "pinthesky", {"state": {"desired": {"mode": {"mode": "away"}}}})

    assert deltas.next().state == {"mode": {"mode": "away"}}
    told = documents.next()
    assert told.previous.version == 0
    assert told.current.state.desired == {"mode": {"mode": "away"}}


def test_the_sdk_carries_out_a_job(device: mqtt5.Client, hub: ThingsHub):
    client = iotjobs.IotJobsClientV2(device, OPTIONS)
    news, upcoming = Stream(), Stream()
    news.open(
        client.create_job_executions_changed_stream(
            iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=THING), news.options
        )
    )
    upcoming.open(
        client.create_next_job_execution_changed_stream(
            iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=THING), upcoming.options
        )
    )

    hub.jobs.create(JobId("reboot"), {"version": "1.0"}, [THING], settings=JobSettings(timeout_min=5))
    assert [one.job_id for one in news.next().jobs[iotjobs.JobStatus.QUEUED]] == ["reboot"]
    assert upcoming.next().execution.job_document == {"version": "1.0"}

    pending = client.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(thing_name=THING)).result(10)
    started = client.start_next_pending_job_execution(
        iotjobs.StartNextPendingJobExecutionRequest(thing_name=THING, status_details={"step": "1"})
    ).result(10)
    described = client.describe_job_execution(
        iotjobs.DescribeJobExecutionRequest(thing_name=THING, job_id="$next", include_job_document=True)
    ).result(10)
    client.update_job_execution(
        iotjobs.UpdateJobExecutionRequest(
            thing_name=THING,
            job_id="reboot",
            status=iotjobs.JobStatus.SUCCEEDED,
            expected_version=started.execution.version_number,
        )
    ).result(10)

    assert [one.job_id for one in pending.queued_jobs] == ["reboot"]
    assert started.execution.status == iotjobs.JobStatus.IN_PROGRESS
    assert described.execution.status_details == {"step": "1"}
    assert hub.jobs.execution(JobId("reboot"), THING).status is JobStatus.SUCCEEDED
    assert upcoming.next().execution is None


def test_the_sdk_is_told_why_a_job_request_is_refused(device: mqtt5.Client, hub: ThingsHub):
    client = iotjobs.IotJobsClientV2(device, OPTIONS)
    hub.jobs.create(JobId("upgrade"), {"version": "1.0"}, [THING])
    request = iotjobs.UpdateJobExecutionRequest(
        thing_name=THING, job_id="upgrade", status=iotjobs.JobStatus.SUCCEEDED, expected_version=7
    )
    with pytest.raises(V2ServiceException) as refused:
        client.update_job_execution(request).result(10)
    error = refused.value.modeled_error
    assert error.code == iotjobs.RejectedErrorCode.VERSION_MISMATCH
    assert error.execution_state.status == iotjobs.JobStatus.QUEUED


def test_the_sdk_is_told_of_a_version_conflict(device: mqtt5.Client, hub: ThingsHub):
    client = iotshadow.IotShadowClientV2(device, OPTIONS)
    state = iotshadow.ShadowState(desired={"a": 1})
    named = {"thing_name": THING, "shadow_name": "pinthesky", "state": state}
    client.update_named_shadow(iotshadow.UpdateNamedShadowRequest(**named)).result(10)
    with pytest.raises(V2ServiceException) as refused:
        client.update_named_shadow(iotshadow.UpdateNamedShadowRequest(**named, version=7)).result(10)
    assert refused.value.modeled_error.code == 409


def test_the_sdk_reports_the_steps_of_a_job_and_its_failure(device: mqtt5.Client, hub: ThingsHub):
    client = iotjobs.IotJobsClientV2(device, OPTIONS)
    hub.jobs.create(JobId("collect-logs"), {"version": "1.0"}, [THING])
    where = {"thing_name": THING, "job_id": "collect-logs"}
    client.update_job_execution(
        iotjobs.UpdateJobExecutionRequest(
            **where,
            status=iotjobs.JobStatus.IN_PROGRESS,
            status_details={"step": "2"},
            step_timeout_in_minutes=5,
            client_token="mine",
        )
    ).result(10)
    described = client.describe_job_execution(
        iotjobs.DescribeJobExecutionRequest(**where, execution_number=1, include_job_document=False)
    ).result(10)
    failed = client.update_job_execution(
        iotjobs.UpdateJobExecutionRequest(
            **where,
            status=iotjobs.JobStatus.FAILED,
            status_details={"reason": "no such file", "stderr": ""},
            include_job_execution_state=True,
            include_job_document=True,
        )
    ).result(10)
    nothing = client.start_next_pending_job_execution(
        iotjobs.StartNextPendingJobExecutionRequest(thing_name=THING)
    ).result(10)

    assert (described.execution.status_details, described.execution.job_document) == ({"step": "2"}, None)
    assert (failed.execution_state.status, failed.job_document) == (iotjobs.JobStatus.FAILED, {"version": "1.0"})
    assert hub.jobs.execution(JobId("collect-logs"), THING).details == {"reason": "no such file", "stderr": ""}
    assert nothing.execution is None


def test_paho_gets_the_answer_with_its_token(broker: Broker, hub: ThingsHub):
    base = "$aws/things/yard/shadow/name/pinthesky"
    with broker.client("yard") as thing:
        thing.subscribe(f"{base}/update/+", f"{base}/get/+")
        thing.publish(f"{base}/update", {"state": {"reported": {"a": 1}}, "clientToken": "mine"})
        (answer,) = thing.wait_for(f"{base}/update/accepted")
        thing.publish(f"{base}/get", b"")
        (found,) = thing.wait_for(f"{base}/get/accepted")
        thing.publish(f"{base}/update", b"{")
        (refused,) = thing.wait_for(f"{base}/update/rejected")
    assert answer.document["clientToken"] == "mine"
    assert found.document["state"] == {"reported": {"a": 1}}
    assert refused.document["code"] == 400
    assert json.loads(refused.payload)["message"] == "Invalid JSON"


def test_what_a_thing_says_while_the_hub_is_away_is_served_later(broker: HubBroker, tmp_path):
    base = "$aws/things/yard/shadow/name/later"
    with broker.client("yard") as thing:
        thing.subscribe(f"{base}/update/accepted")
        with ThingsHub(tmp_path, broker.socket):
            thing.publish(f"{base}/update", {"state": {"reported": {"a": 1}}})
            thing.wait_for(f"{base}/update/accepted")
        for value in (2, 3):
            thing.publish(f"{base}/update", {"state": {"reported": {"a": value}}})
        with ThingsHub(tmp_path, broker.socket) as hub:
            thing.wait_for(f"{base}/update/accepted", 3)
            assert hub.shadows.get(ThingName("yard"), "later")["state"] == {"reported": {"a": 3}}
