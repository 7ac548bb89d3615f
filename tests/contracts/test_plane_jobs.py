"""The planes' port `JobService`: one suite for AWS IoT Jobs, the hub and the fake of the tests.

moto lets nothing become of a job, so AWS is a stand-in that speaks its protocol (`tests/support/aws_planes.py`).
AWS and its stand-in give executions in lists without their details.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pinthesky.aws.adapters.jobs import IotJobService
from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.hub.adapters.jobs import HubJobService
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes.ports import JobOrder, JobService
from tests.hub.test_jobs import Stage
from tests.planes.fakes import Clock, FakeJobService
from tests.support.aws_planes import THING_ARNS, JobsService, answer_in_place, local_clients

GARDEN, GATE = ThingName("garden"), ThingName("gate")
JOB = JobId("job-1")
DOCUMENT = {
    "version": "1.0",
    "steps": [{"action": {"name": "r", "type": "runHandler", "input": {"handler": "reboot"}}}],
}


class World(NamedTuple):
    jobs: JobService
    move: Callable[..., Any]
    """`move(job, thing, status)`: what a camera says."""

    def order(self, job: JobId = JOB, *things: ThingName, **options: Any) -> None:
        self.jobs.create(JobOrder(job, DOCUMENT, things or (GARDEN, GATE), **options))


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, tmp_path: Path) -> Iterator[World]:
    if request.param == "hub":
        stage = Stage(tmp_path)
        yield World(HubJobService(stage.jobs), lambda job, thing, status: stage.report(thing, status, job))
        stage.database.close()
        return
    fake = FakeJobService(Clock())
    jobs: JobService = fake
    if request.param == "aws":
        clients = local_clients()
        answer_in_place(clients.get("iot"), JobsService(fake))
        jobs = IotJobService(clients, THING_ARNS)
    yield World(jobs, fake.move)


def test_a_job_is_queued_for_every_camera_and_is_over_when_all_are(world: World):
    world.order()
    assert world.jobs.summary(JOB).counts == {JobStatus.QUEUED: 2}
    world.move(JOB, GARDEN, JobStatus.IN_PROGRESS)
    world.move(JOB, GARDEN, JobStatus.SUCCEEDED)
    summary = world.jobs.summary(JOB)
    assert (summary.state, summary.counts) == ("IN_PROGRESS", {JobStatus.SUCCEEDED: 1, JobStatus.QUEUED: 1})
    world.move(JOB, GATE, JobStatus.FAILED)
    assert world.jobs.summary(JOB).state == "COMPLETED"


def test_an_id_is_taken_once(world: World):
    world.order()
    with pytest.raises(Conflict):
        world.order()


def test_a_job_is_for_at_least_one_camera(world: World):
    with pytest.raises(InvalidInput):
        world.jobs.create(JobOrder(JOB, DOCUMENT, ()))


def test_every_option_of_an_order_is_taken(world: World):
    world.order(
        description="why", maximum_per_minute=5, timeout_minutes=10, abort_percent=50.0, abort_after=2, retries=1
    )
    assert world.jobs.summary(JOB).id == JOB


def test_cancelling_ends_what_has_not_ended_and_only_once(world: World):
    world.order()
    world.move(JOB, GARDEN, JobStatus.SUCCEEDED)
    world.jobs.cancel(JOB)
    summary = world.jobs.summary(JOB)
    assert (summary.state, summary.counts) == ("CANCELED", {JobStatus.SUCCEEDED: 1, JobStatus.CANCELED: 1})
    with pytest.raises(Conflict):
        world.jobs.cancel(JOB)


def test_one_execution_is_told_with_its_details_and_its_times(world: World):
    world.order()
    world.move(JOB, GARDEN, JobStatus.IN_PROGRESS)
    found = world.jobs.execution(JOB, GARDEN)
    assert (found.id, found.thing, found.number, found.status) == (JOB, GARDEN, 1, JobStatus.IN_PROGRESS)
    assert found.started_at_s is not None
    assert found.queued_at_s <= found.started_at_s <= found.updated_at_s
    assert world.jobs.execution(JOB, GARDEN, 1) == found
    with pytest.raises(NotFound):
        world.jobs.execution(JOB, GARDEN, 7)


def test_executions_come_in_pages_by_job_and_by_camera(world: World):
    world.order()
    world.order(JobId("job-2"), GARDEN)
    first = world.jobs.executions(JOB, limit=1, token=None)
    second = world.jobs.executions(JOB, limit=1, token=first.token)
    assert {each.thing for each in (*first.executions, *second.executions)} == {GARDEN, GATE}
    assert second.token is None
    of_garden = world.jobs.executions_of(GARDEN, limit=10, token=None)
    assert {each.id for each in of_garden.executions} == {JOB, "job-2"}
    assert world.jobs.executions_of(ThingName("nobody"), limit=10, token=None) == ([], None)


def test_a_token_that_no_page_has_given_is_refused(world: World):
    world.order()
    with pytest.raises(InvalidInput):
        world.jobs.executions(JOB, limit=1, token="no token")
    with pytest.raises(InvalidInput):
        world.jobs.executions_of(GARDEN, limit=1, token="no token")


def test_one_execution_is_cancelled_once_and_then_removed(world: World):
    world.order()
    world.jobs.cancel_execution(JOB, GARDEN)
    assert world.jobs.execution(JOB, GARDEN).status is JobStatus.CANCELED
    with pytest.raises(Conflict):
        world.jobs.cancel_execution(JOB, GARDEN)
    world.jobs.delete_execution(JOB, GARDEN, 1)
    with pytest.raises(NotFound):
        world.jobs.execution(JOB, GARDEN)


def test_a_job_is_removed_with_what_it_has_not_done_and_again_without_a_word(world: World):
    world.order()
    world.jobs.delete(JOB)
    world.jobs.delete(JOB)
    with pytest.raises(NotFound):
        world.jobs.summary(JOB)


def test_what_there_is_not_is_not_found(world: World):
    nothing = JobId("nothing")
    for ask in (
        lambda: world.jobs.summary(nothing),
        lambda: world.jobs.cancel(nothing),
        lambda: world.jobs.executions(nothing, limit=1, token=None),
        lambda: world.jobs.execution(nothing, GARDEN),
        lambda: world.jobs.cancel_execution(nothing, GARDEN),
        lambda: world.jobs.delete_execution(nothing, GARDEN, 1),
    ):
        with pytest.raises(NotFound):
            ask()
