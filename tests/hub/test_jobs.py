from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pinthesky.errors import Conflict, InvalidInput, NotFound, PinTheSkyError
from pinthesky.hub.database import Database
from pinthesky.hub.job_requests import JobRequests
from pinthesky.hub.job_rules import AbortCriterion, Failure, JobSettings, JobState, RetryCriterion
from pinthesky.hub.jobs import ABORTED, KEEP_S, PENDING_MAX, Jobs
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from tests.support.hub_things import FakeTime

GARDEN, YARD, GATE = map(ThingName, ("garden", "yard", "gate"))
JOB, OTHER = JobId("job"), JobId("other")


class Stage:
    """Jobs on a real database, and what things were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeTime()
        self.messages: list[tuple[str, Any]] = []
        self.open()

    def open(self) -> None:
        self.database = Database(self.folder / "hub.sqlite")
        self.changes = ThingChanges(self.database, lambda topic, raw: self.messages.append((topic, json.loads(raw))))
        self.jobs = Jobs(self.database, self.changes, clock=self.clock)
        self.requests = JobRequests(self.jobs)

    def ask(self, thing: ThingName, operation: str, request: Any = b"") -> Any:
        """The answer to a request by MQTT, with `accepted` or `rejected` in front."""
        raw = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.messages.clear()
        with self.changes.begin() as change:
            self.requests.handle(change, thing, operation.split("/"), payload=raw)
        ((outcome, answer),) = [
            (topic.rpartition("/")[2], message)
            for topic, message in self.messages
            if topic.startswith(f"$aws/things/{thing}/jobs/{operation}/")
        ]
        return outcome, answer

    def report(self, thing: ThingName, status: JobStatus, job_id: JobId = JOB) -> Any:
        return self.ask(thing, f"{job_id}/update", {"status": status.value})

    def told(self, thing: ThingName, end: str) -> list[Any]:
        return [message for topic, message in self.messages if topic == f"$aws/things/{thing}/jobs/{end}"]

    def status(self, thing: ThingName, job_id: JobId = JOB) -> JobStatus:
        return self.jobs.execution(job_id, thing).status

    def state(self) -> JobState:
        return self.jobs.describe(JOB).job.state


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.database.close()


# Making, following, ending


def test_a_job_is_queued_for_its_things_and_told_to_them(stage: Stage):
    stage.jobs.create(JOB, {"version": "1.0"}, [GARDEN, YARD, GARDEN], description="Try it")
    assert stage.jobs.describe(JOB).counts == {JobStatus.QUEUED: 2}
    (listed,) = stage.told(GARDEN, "notify")
    now_s = 1_800_000_000
    summary = {"queuedAt": now_s, "lastUpdatedAt": now_s, "versionNumber": 1, "executionNumber": 1}
    assert listed == {"timestamp": now_s, "jobs": {"QUEUED": [{"jobId": "job", **summary}]}}
    (following,) = stage.told(GARDEN, "notify-next")
    assert following["execution"] == {
        "jobId": "job",
        "thingName": "garden",
        "status": "QUEUED",
        **summary,
        "jobDocument": {"version": "1.0"},
    }


def test_a_second_job_waits_behind_the_first(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.messages.clear()
    stage.jobs.create(OTHER, {}, [GARDEN])
    assert [one["jobId"] for one in stage.told(GARDEN, "notify")[0]["jobs"]["QUEUED"]] == ["job", "other"]
    assert stage.told(GARDEN, "notify-next") == []


def test_a_job_is_completed_when_all_its_things_are_done(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN, YARD])
    stage.report(GARDEN, JobStatus.SUCCEEDED)
    assert stage.state() is JobState.IN_PROGRESS
    stage.report(YARD, JobStatus.REJECTED)
    assert stage.state() is JobState.COMPLETED
    assert stage.jobs.describe(JOB).counts == {JobStatus.SUCCEEDED: 1, JobStatus.REJECTED: 1}


def test_jobs_survive_a_restart(stage: Stage):
    stage.jobs.create(JOB, {"a": 2**60 + 1}, [GARDEN], settings=JobSettings(timeout_min=1))
    stage.ask(GARDEN, "start-next", {"statusDetails": {"step": "1"}})
    before = stage.jobs.execution(JOB, GARDEN)
    stage.database.close()
    stage.open()
    assert stage.jobs.execution(JOB, GARDEN) == before
    assert stage.ask(GARDEN, "$next/get")[1]["execution"]["jobDocument"] == {"a": 2**60 + 1}


def test_what_cannot_be_made_is_refused(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    with pytest.raises(Conflict, match="there is a job job already"):
        stage.jobs.create(JOB, {}, [GARDEN])
    with pytest.raises(InvalidInput, match="targets"):
        stage.jobs.create(OTHER, {}, [])
    with pytest.raises(InvalidInput, match="timeout_min"):
        stage.jobs.create(OTHER, {}, [GARDEN], settings=JobSettings(timeout_min=0))
    with pytest.raises(NotFound, match="no job other"):
        stage.jobs.describe(OTHER)


def test_what_waits_for_one_thing_is_bounded(stage: Stage):
    for number in range(PENDING_MAX):
        stage.jobs.create(JobId(f"job-{number}"), {}, [GARDEN])
    with pytest.raises(Conflict, match="100 jobs wait for garden already"):
        stage.jobs.create(JOB, {}, [YARD, GARDEN])
    assert stage.jobs.executions_of(YARD).items == []


def test_cancelling_ends_what_is_queued_and_lets_finish_what_runs(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN, YARD])
    stage.ask(GARDEN, "start-next")
    stage.messages.clear()
    stage.jobs.cancel(JOB, reason="WRONG", comment="Not this one")
    assert (stage.status(GARDEN), stage.status(YARD)) == (JobStatus.IN_PROGRESS, JobStatus.CANCELED)
    assert stage.told(YARD, "notify") == [{"timestamp": 1_800_000_000, "jobs": {}}]
    assert stage.told(YARD, "notify-next") == [{"timestamp": 1_800_000_000}]
    assert stage.report(GARDEN, JobStatus.SUCCEEDED)[0] == "accepted"
    job = stage.jobs.describe(JOB).job
    assert (job.state, job.reason, job.comment) == (JobState.CANCELED, "WRONG", "Not this one")


def test_cancelling_by_force_ends_what_runs_too(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.ask(GARDEN, "start-next")
    stage.jobs.cancel(JOB)
    with pytest.raises(Conflict, match="is CANCELED"):
        stage.jobs.cancel(JOB)
    stage.jobs.cancel(JOB, force=True)
    assert stage.status(GARDEN) is JobStatus.CANCELED
    outcome, answer = stage.report(GARDEN, JobStatus.SUCCEEDED)
    assert (outcome, answer["code"]) == ("rejected", "InvalidStateTransition")
    assert answer["executionState"] == {"status": "CANCELED", "versionNumber": 3}


def test_one_thing_can_be_left_out(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN, YARD])
    stage.ask(GARDEN, "start-next")
    with pytest.raises(Conflict, match="in progress"):
        stage.jobs.cancel_execution(JOB, GARDEN)
    stage.jobs.cancel_execution(JOB, GARDEN, force=True)
    stage.jobs.cancel_execution(JOB, YARD)
    assert stage.state() is JobState.COMPLETED
    with pytest.raises(Conflict):
        stage.jobs.cancel_execution(JOB, YARD)


def test_a_job_is_deleted_when_it_is_over_or_by_force(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.jobs.create(OTHER, {}, [GARDEN])
    with pytest.raises(Conflict, match="is not over"):
        stage.jobs.delete(JOB)
    stage.jobs.delete(JOB, force=True)
    assert [one["jobId"] for one in stage.ask(GARDEN, "get")[1]["queuedJobs"]] == ["other"]
    stage.report(GARDEN, JobStatus.SUCCEEDED, OTHER)
    stage.jobs.delete(OTHER)
    assert stage.jobs.list_jobs().items == []


def test_a_job_is_forgotten_long_after_its_end(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.ask(GARDEN, "start-next")
    stage.jobs.create(OTHER, {}, [YARD])
    stage.jobs.cancel(JOB)
    stage.clock.now_s += KEEP_S - 1
    stage.jobs.tick()
    assert stage.status(GARDEN) is JobStatus.IN_PROGRESS
    stage.clock.now_s += 1
    stage.jobs.tick()
    assert [job.job_id for job in stage.jobs.list_jobs().items] == ["other"]
    assert stage.jobs.executions_of(GARDEN).items == []


def test_a_removed_thing_ends_its_part(stage: Stage):
    stage.jobs.create(JOB, {}, [YARD, GARDEN, GATE], settings=JobSettings(max_per_minute=2))
    for thing in (GARDEN, GATE):
        with stage.changes.begin() as change:
            stage.jobs.forget(change, thing)
    assert stage.jobs.describe(JOB).counts == {JobStatus.REMOVED: 1, JobStatus.QUEUED: 1}
    assert stage.jobs.describe(JOB).waiting == 0
    stage.report(YARD, JobStatus.SUCCEEDED)
    assert stage.state() is JobState.COMPLETED


# Time: time-outs, rollout, retries, abort


def test_an_execution_times_out(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN], settings=JobSettings(timeout_min=5))
    stage.clock.now_s += 3600
    stage.jobs.tick()
    assert stage.status(GARDEN) is JobStatus.QUEUED
    _, answer = stage.ask(GARDEN, "start-next")
    assert answer["execution"]["approximateSecondsBeforeTimedOut"] == 300
    stage.clock.now_s += 299
    stage.jobs.tick()
    assert stage.status(GARDEN) is JobStatus.IN_PROGRESS
    stage.clock.now_s += 1
    stage.jobs.tick()
    assert (stage.status(GARDEN), stage.state()) == (JobStatus.TIMED_OUT, JobState.COMPLETED)
    assert stage.told(GARDEN, "notify-next")[-1] == {"timestamp": stage.clock.now_s}


def test_a_step_times_out_unless_its_timer_is_set_again(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.ask(GARDEN, "start-next", {"stepTimeoutInMinutes": 1})
    stage.clock.now_s += 50
    stage.ask(GARDEN, "job/update", {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 1})
    stage.clock.now_s += 50
    stage.jobs.tick()
    assert stage.status(GARDEN) is JobStatus.IN_PROGRESS
    stage.clock.now_s += 10
    stage.jobs.tick()
    assert stage.status(GARDEN) is JobStatus.TIMED_OUT


def test_a_rollout_starts_so_many_a_minute(stage: Stage):
    things = [ThingName(f"camera-{number}") for number in range(5)]
    stage.jobs.create(JOB, {}, things, settings=JobSettings(max_per_minute=2))
    seen = []
    for _ in range(4):
        stage.jobs.tick()
        seen.append(len(stage.jobs.executions(JOB).items))
        stage.clock.now_s += 60
    assert seen == [2, 4, 5, 5]
    assert [one.thing for one in stage.jobs.executions(JOB).items] == things


def test_a_job_is_not_complete_while_things_wait_for_it(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN, YARD], settings=JobSettings(max_per_minute=1))
    stage.report(GARDEN, JobStatus.SUCCEEDED)
    assert (stage.state(), stage.jobs.describe(JOB).waiting) == (JobState.IN_PROGRESS, 1)


def test_a_failed_thing_tries_again_as_a_further_execution(stage: Stage):
    again = JobSettings(retry=(RetryCriterion(failure=Failure.FAILED, retries=1),))
    stage.jobs.create(JOB, {}, [GARDEN], settings=again)
    stage.report(GARDEN, JobStatus.FAILED)
    assert stage.told(GARDEN, "notify-next")[0]["execution"]["executionNumber"] == 2
    assert stage.jobs.describe(JOB).counts == {JobStatus.QUEUED: 1}
    stage.report(GARDEN, JobStatus.FAILED)
    assert (stage.state(), stage.jobs.describe(JOB).counts) == (JobState.COMPLETED, {JobStatus.FAILED: 1})
    assert [one.number for one in stage.jobs.executions_of(GARDEN).items] == [2, 1]
    assert stage.jobs.execution(JOB, GARDEN, 1).status is JobStatus.FAILED


def test_a_job_that_fails_too_often_is_aborted(stage: Stage):
    things = [ThingName(f"camera-{number}") for number in range(4)]
    criterion = AbortCriterion(failure=Failure.FAILED, threshold_percent=50, min_executed=2)
    stage.jobs.create(JOB, {}, things, settings=JobSettings(abort=(criterion,), max_per_minute=3))
    stage.report(things[0], JobStatus.FAILED)
    stage.report(things[1], JobStatus.SUCCEEDED)
    described = stage.jobs.describe(JOB)
    assert (described.job.state, described.job.reason, described.waiting) == (JobState.CANCELED, ABORTED, 0)
    assert described.counts == {JobStatus.FAILED: 1, JobStatus.SUCCEEDED: 1, JobStatus.CANCELED: 1}


# Pages


def test_pages_of_jobs_neither_skip_nor_repeat(stage: Stage):
    for number in range(7):
        stage.jobs.create(JobId(f"job-{number}"), {}, [GARDEN])
    first = stage.jobs.list_jobs(limit=3)
    stage.jobs.create(JOB, {}, [GARDEN])
    second = stage.jobs.list_jobs(limit=3, token=first.token)
    third = stage.jobs.list_jobs(limit=3, token=second.token)
    found = [job.job_id for page in (first, second, third) for job in page.items]
    assert found == [f"job-{number}" for number in range(6, -1, -1)]
    assert third.token is None


def test_pages_are_chosen_by_state_and_status(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN, YARD])
    stage.jobs.create(OTHER, {}, [GARDEN])
    stage.report(GARDEN, JobStatus.SUCCEEDED)
    stage.jobs.cancel(OTHER)
    assert [job.job_id for job in stage.jobs.list_jobs(state=JobState.CANCELED).items] == ["other"]
    assert [one.thing for one in stage.jobs.executions(JOB, status=JobStatus.QUEUED).items] == [YARD]
    page = stage.jobs.executions_of(GARDEN, limit=1)
    assert [one.job_id for one in page.items] == ["other"]
    assert [one.job_id for one in stage.jobs.executions_of(GARDEN, token=page.token).items] == ["job"]


@pytest.mark.parametrize("limit, token", [(0, None), (251, None), (5, "-1"), (5, "x"), (5, "9" * 19)])
def test_a_page_out_of_bounds_is_refused(stage: Stage, limit: int, token: str | None):
    with pytest.raises(InvalidInput, match=r"limit|token"):
        stage.jobs.list_jobs(limit=limit, token=token)


def test_no_query_reads_a_whole_table(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Pages cost the same at any size: SQLite answers everything here from an index."""
    queries: set[str] = set()
    with stage.database.transaction() as connection:
        connection.set_trace_callback(queries.add)
    stage.jobs.create(JOB, {}, [GARDEN, YARD], settings=JobSettings(max_per_minute=1, timeout_min=1))
    stage.jobs.list_jobs(state=JobState.IN_PROGRESS, token="9")
    stage.jobs.list_jobs(token="9")
    stage.jobs.executions(JOB, status=JobStatus.QUEUED)
    stage.jobs.executions(JOB)
    stage.jobs.executions_of(GARDEN)
    stage.ask(GARDEN, "start-next")
    stage.clock.now_s += 61
    stage.jobs.tick()
    with stage.database.reading() as connection:
        connection.set_trace_callback(None)
        statements = [query for query in queries if query.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]
        plans = {
            query: [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            for query in statements
            if "schemas" not in query
        }
    assert len(plans) > 15
    full = {query: plan for query, plan in plans.items() if any(step.startswith("SCAN") for step in plan)}
    assert not full


# What things ask


def test_starting_the_next_one_answers_with_its_document(stage: Stage):
    stage.jobs.create(JOB, {"version": "1.0"}, [GARDEN])
    stage.jobs.create(OTHER, {}, [GARDEN])
    stage.clock.now_s += 5
    outcome, answer = stage.ask(GARDEN, "start-next", {"statusDetails": {"step": "1"}, "clientToken": "t"})
    assert outcome == "accepted"
    assert answer == {
        "execution": {
            "jobId": "job",
            "thingName": "garden",
            "status": "IN_PROGRESS",
            "statusDetails": {"step": "1"},
            "queuedAt": 1_800_000_000,
            "startedAt": 1_800_000_005,
            "lastUpdatedAt": 1_800_000_005,
            "versionNumber": 2,
            "executionNumber": 1,
            "jobDocument": {"version": "1.0"},
        },
        "timestamp": 1_800_000_005,
        "clientToken": "t",
    }
    assert set(stage.told(GARDEN, "notify")[0]["jobs"]) == {"IN_PROGRESS", "QUEUED"}
    assert stage.told(GARDEN, "notify-next") == []


def test_what_is_in_progress_is_next_and_is_not_started_twice(stage: Stage):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.jobs.create(OTHER, {}, [GARDEN])
    stage.report(GARDEN, JobStatus.IN_PROGRESS, OTHER)
    assert stage.told(GARDEN, "notify-next")[0]["execution"]["jobId"] == "other"
    _, answer = stage.ask(GARDEN, "start-next", {"statusDetails": {"again": "yes"}})
    assert (answer["execution"]["jobId"], answer["execution"]["versionNumber"]) == ("other", 2)
    assert "statusDetails" not in answer["execution"]


def test_with_nothing_to_do_the_answer_has_no_execution(stage: Stage):
    now = {"timestamp": 1_800_000_000}
    assert stage.ask(GARDEN, "start-next") == ("accepted", now)
    assert stage.ask(GARDEN, "$next/get") == ("accepted", now)
    assert stage.ask(GARDEN, "get") == ("accepted", {"inProgressJobs": [], "queuedJobs": [], **now})


def test_an_execution_is_described_with_or_without_its_document(stage: Stage):
    stage.jobs.create(JOB, {"a": 1}, [GARDEN])
    _, with_document = stage.ask(GARDEN, "job/get", {"executionNumber": 1})
    _, without = stage.ask(GARDEN, "job/get", {"includeJobDocument": False})
    assert with_document["execution"].pop("jobDocument") == {"a": 1}
    assert with_document == without


def test_an_update_answers_with_what_was_asked_for(stage: Stage):
    stage.jobs.create(JOB, {"a": 1}, [GARDEN])
    request = {
        "status": "IN_PROGRESS",
        "statusDetails": {"step": "1"},
        "expectedVersion": "1",
        "includeJobExecutionState": True,
        "includeJobDocument": True,
    }
    assert stage.ask(GARDEN, "job/update", request)[1] == {
        "executionState": {"status": "IN_PROGRESS", "statusDetails": {"step": "1"}, "versionNumber": 2},
        "jobDocument": {"a": 1},
        "timestamp": 1_800_000_000,
    }
    assert stage.ask(GARDEN, "job/update", {"status": "SUCCEEDED"})[1] == {"timestamp": 1_800_000_000}


@pytest.mark.parametrize(
    "operation, request_, code",
    [
        ("frobnicate", {}, "InvalidTopic"),
        ("job/frobnicate", {}, "InvalidTopic"),
        ("get", b"{", "InvalidJson"),
        ("get", b"[]", "InvalidJson"),
        ("get", {"clientToken": 5}, "InvalidRequest"),
        ("start-next", {"stepTimeoutInMinutes": 0}, "InvalidRequest"),
        ("start-next", {"statusDetails": {"a": 5}}, "InvalidRequest"),
        ("job/update", {}, "InvalidRequest"),
        ("job/update", {"status": "DONE"}, "InvalidRequest"),
        ("job/update", {"status": ["DONE"]}, "InvalidRequest"),
        ("job/update", {"status": "FAILED", "expectedVersion": True}, "InvalidRequest"),
        ("job/update", {"status": "FAILED", "expectedVersion": "one"}, "InvalidRequest"),
        ("job/update", {"status": "FAILED", "includeJobDocument": "yes"}, "InvalidRequest"),
        ("job/update", {"status": "FAILED", "executionNumber": 2**64}, "InvalidRequest"),
        ("job/update", {"status": "FAILED", "executionNumber": 7}, "ResourceNotFound"),
        ("job/update", {"status": "FAILED", "expectedVersion": 7}, "VersionMismatch"),
        ("job/update", {"status": "QUEUED"}, "InvalidStateTransition"),
        ("no.job/get", {}, "InvalidRequest"),
        ("nojob/get", {}, "ResourceNotFound"),
        ("other/get", {}, "TerminalStateReached"),
        ("other/update", {"status": "IN_PROGRESS"}, "InvalidStateTransition"),
    ],
)
def test_what_cannot_be_served_is_rejected_with_a_code(stage: Stage, operation: str, request_: Any, code: str):
    stage.jobs.create(JOB, {}, [GARDEN])
    stage.jobs.create(OTHER, {}, [GARDEN])
    stage.report(GARDEN, JobStatus.SUCCEEDED, OTHER)
    outcome, answer = stage.ask(GARDEN, operation, request_)
    assert (outcome, answer["code"]) == ("rejected", code)
    assert answer["message"]
    assert stage.status(GARDEN) is JobStatus.QUEUED


def test_one_thing_cannot_touch_what_another_has_to_do(stage: Stage):
    stage.jobs.create(JOB, {"secret": "of the garden"}, [GARDEN])
    for operation, request in (("job/get", {}), ("job/update", {"status": "FAILED"})):
        outcome, answer = stage.ask(YARD, operation, request)
        assert (outcome, answer["code"]) == ("rejected", "ResourceNotFound")
    assert stage.status(GARDEN) is JobStatus.QUEUED


# Everything at once

THINGS = st.sampled_from([GARDEN, YARD])
THING_LISTS = st.lists(THINGS, min_size=1, max_size=2)
JOBS = st.sampled_from([JobId(name) for name in "abc"])


class JobsMachine(RuleBasedStateMachine):
    """Planes, things and time do anything in any order; what has to hold holds after each step."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.stage = Stage(Path(self._folder.name))
        self.ended: dict[tuple[str, str, int], JobStatus] = {}
        self.versions: dict[tuple[str, str, int], int] = {}
        self.heard: dict[str, list[str]] = {GARDEN: [], YARD: []}

    def teardown(self) -> None:
        self.stage.database.close()
        self._folder.cleanup()

    def attempt(self, call: Any, *arguments: Any, **options: Any) -> None:
        with contextlib.suppress(PinTheSkyError):
            call(*arguments, **options)
        self.listen()

    def listen(self) -> None:
        """What each thing knows of its list, from notifications alone."""
        for topic, message in self.stage.messages:
            if topic.endswith("/jobs/notify"):
                listed = message["jobs"]
                self.heard[topic.split("/")[2]] = [
                    f"{status} {one['jobId']} {one['executionNumber']}" for status in listed for one in listed[status]
                ]
        self.stage.messages.clear()

    @rule(job=JOBS, things=THING_LISTS, rate=st.sampled_from([None, 1]), tries=st.integers(0, 1))
    def create(self, job, things, rate, tries):
        again = (RetryCriterion(failure=Failure.ALL, retries=tries),) if tries else ()
        stop = (AbortCriterion(failure=Failure.ALL, threshold_percent=60, min_executed=2),)
        settings = JobSettings(max_per_minute=rate, timeout_min=1, retry=again, abort=stop)
        self.attempt(self.stage.jobs.create, job, {}, things, settings=settings)

    @rule(thing=THINGS)
    def start_next(self, thing):
        self.attempt(self.stage.ask, thing, "start-next")

    @rule(thing=THINGS, job=JOBS, status=st.sampled_from(JobStatus))
    def report(self, thing, job, status):
        self.attempt(self.stage.report, thing, status, job)

    @rule(job=JOBS, force=st.booleans())
    def cancel(self, job, force):
        self.attempt(self.stage.jobs.cancel, job, force=force)

    @rule(job=JOBS, thing=THINGS, force=st.booleans())
    def cancel_execution(self, job, thing, force):
        self.attempt(self.stage.jobs.cancel_execution, job, thing, force=force)

    @rule(job=JOBS, force=st.booleans())
    def delete(self, job, force):
        self.attempt(self.stage.jobs.delete, job, force=force)
        with self.stage.database.reading() as c:
            if c.execute("SELECT 1 FROM jobs WHERE job_id = ?", (job,)).fetchone() is None:
                for known in (self.ended, self.versions):
                    for key in [key for key in known if key[0] == job]:
                        del known[key]

    @rule(seconds=st.integers(1, 90))
    def pass_time(self, seconds):
        self.stage.clock.now_s += seconds
        self.attempt(self.stage.jobs.tick)

    @precondition(lambda self: self.versions)
    @rule()
    def restart(self):
        self.stage.database.close()
        self.stage.open()

    @invariant()
    def what_has_ended_stays_so_and_versions_only_grow(self):
        for thing in (GARDEN, YARD):
            for one in self.stage.jobs.executions_of(thing).items:
                key = (one.job_id, one.thing, one.number)
                assert self.ended.get(key, one.status) is one.status
                assert one.version >= self.versions.get(key, 1)
                assert (one.due_s is None) or one.status is JobStatus.IN_PROGRESS
                self.versions[key] = one.version
                if one.status.is_terminal:
                    self.ended[key] = one.status

    @invariant()
    def things_know_their_list_from_notifications(self):
        for thing in (GARDEN, YARD):
            with self.stage.database.reading() as c:
                listed = [f"{one.status.value} {one.job_id} {one.number}" for one in self.stage.jobs.pending(c, thing)]
            assert self.heard[thing] == listed

    @invariant()
    def a_job_is_open_exactly_while_something_is_to_come(self):
        for job in self.stage.jobs.list_jobs().items:
            described = self.stage.jobs.describe(job.job_id)
            is_open = described.waiting or any(not status.is_terminal for status in described.counts)
            if job.state is JobState.IN_PROGRESS:
                assert is_open
            if job.state is JobState.COMPLETED:
                assert not is_open
            assert (job.rollout_at_s is not None) == bool(described.waiting)


JobsMachine.TestCase.settings = hypothesis_settings(max_examples=25, stateful_step_count=25, deadline=None)
test_jobs_under_anything_in_any_order = JobsMachine.TestCase
