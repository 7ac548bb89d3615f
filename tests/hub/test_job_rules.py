from __future__ import annotations

from typing import Any

import pytest

from pinthesky.errors import InvalidInput
from pinthesky.hub import job_rules
from pinthesky.hub.job_rules import (
    AbortCriterion,
    Execution,
    Failure,
    JobSettings,
    Refused,
    Report,
    RetryCriterion,
    VersionMismatch,
)
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus

QUEUED = Execution(
    job_id=JobId("job"),
    thing=ThingName("garden"),
    number=1,
    status=JobStatus.QUEUED,
    version=1,
    queued_at_s=100,
    updated_at_s=100,
)
FROM_THINGS = {JobStatus.IN_PROGRESS, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.REJECTED}


def in_state(status: JobStatus) -> Execution:
    if status is JobStatus.QUEUED:
        return QUEUED
    if status in FROM_THINGS:
        return job_rules.report(QUEUED, Report(status=status), 110)
    return job_rules.end(QUEUED, status, 110)


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_a_thing_moves_an_open_execution_to_what_it_may_say(before: JobStatus, after: JobStatus):
    execution = in_state(before)
    if before.is_terminal or after not in FROM_THINGS:
        with pytest.raises(Refused) as refused:
            job_rules.report(execution, Report(status=after), 120)
        assert refused.value.execution is execution
    else:
        changed = job_rules.report(execution, Report(status=after), 120)
        assert (changed.status, changed.version, changed.updated_at_s) == (after, execution.version + 1, 120)


@pytest.mark.parametrize("before", JobStatus)
def test_only_an_open_execution_is_ended_by_decree(before: JobStatus):
    execution = in_state(before)
    if before.is_terminal:
        with pytest.raises(Refused):
            job_rules.end(execution, JobStatus.CANCELED, 120)
    else:
        assert job_rules.end(execution, JobStatus.CANCELED, 120).status is JobStatus.CANCELED


def test_only_a_queued_execution_is_started():
    started = job_rules.start(QUEUED, Report(status=JobStatus.IN_PROGRESS), 110)
    assert started.started_at_s == 110
    with pytest.raises(Refused):
        job_rules.start(started, Report(status=JobStatus.IN_PROGRESS), 120)


def test_another_version_than_expected_is_refused():
    with pytest.raises(VersionMismatch, match="expected version 2 is not the current version 1"):
        job_rules.report(QUEUED, Report(status=JobStatus.FAILED, expected_version=2), 110)


def test_the_earlier_of_both_timers_counts_and_both_end_with_the_execution():
    started = job_rules.start(QUEUED, Report(status=JobStatus.IN_PROGRESS, step_timeout_min=2), 110, timeout_min=5)
    assert (started.deadline_s, started.step_deadline_s, started.due_s) == (410, 230, 230)
    longer = job_rules.report(started, Report(status=JobStatus.IN_PROGRESS, step_timeout_min=60), 120)
    assert longer.due_s == 410
    without = job_rules.report(longer, Report(status=JobStatus.IN_PROGRESS, step_timeout_min=-1), 130)
    assert (without.step_deadline_s, without.due_s) == (None, 410)
    assert job_rules.report(without, Report(status=JobStatus.SUCCEEDED), 140).due_s is None


def test_details_stay_until_others_are_given():
    started = job_rules.start(QUEUED, Report(status=JobStatus.IN_PROGRESS, details={"step": "1"}), 110)
    same = job_rules.report(started, Report(status=JobStatus.IN_PROGRESS), 120)
    other = job_rules.report(same, Report(status=JobStatus.SUCCEEDED, details={"all": "done"}), 130)
    assert (same.details, other.details) == ({"step": "1"}, {"all": "done"})


@pytest.mark.parametrize(
    "criteria, history, may",
    [
        ([], [JobStatus.FAILED], False),
        ([(Failure.FAILED, 1)], [JobStatus.FAILED], True),
        ([(Failure.FAILED, 1)], [JobStatus.FAILED, JobStatus.FAILED], False),
        ([(Failure.FAILED, 1)], [JobStatus.TIMED_OUT], False),
        ([(Failure.FAILED, 1), (Failure.TIMED_OUT, 1)], [JobStatus.FAILED, JobStatus.TIMED_OUT], True),
        ([(Failure.ALL, 1)], [JobStatus.FAILED, JobStatus.TIMED_OUT], False),
        ([(Failure.ALL, 2)], [JobStatus.FAILED, JobStatus.TIMED_OUT], True),
        ([(Failure.ALL, 2)], [JobStatus.REJECTED], False),
        ([(Failure.ALL, 2)], [JobStatus.CANCELED], False),
    ],
)
def test_a_thing_tries_again_as_often_as_its_failure_allows(
    criteria: list[tuple[Failure, int]], history: list[JobStatus], may: bool
):
    settings = JobSettings(retry=tuple(RetryCriterion(failure=what, retries=count) for what, count in criteria))
    assert job_rules.may_retry(settings, history) is may


@pytest.mark.parametrize(
    "failure, ended, must",
    [
        (Failure.FAILED, {JobStatus.FAILED: 1}, False),
        (Failure.FAILED, {JobStatus.FAILED: 1, JobStatus.SUCCEEDED: 1}, True),
        (Failure.FAILED, {JobStatus.FAILED: 1, JobStatus.SUCCEEDED: 2}, False),
        (Failure.FAILED, {JobStatus.REJECTED: 2}, False),
        (Failure.ALL, {JobStatus.REJECTED: 1, JobStatus.TIMED_OUT: 1, JobStatus.SUCCEEDED: 2}, True),
        (Failure.ALL, {JobStatus.FAILED: 1, JobStatus.QUEUED: 50}, False),
        (Failure.ALL, {JobStatus.FAILED: 1, JobStatus.CANCELED: 1}, False),
    ],
)
def test_a_job_is_aborted_when_its_share_of_failures_is_reached(
    failure: Failure, ended: dict[JobStatus, int], must: bool
):
    settings = JobSettings(abort=(AbortCriterion(failure=failure, threshold_percent=50, min_executed=2),))
    assert job_rules.must_abort(settings, ended) is must


@pytest.mark.parametrize(
    "settings, field",
    [
        (JobSettings(max_per_minute=0), "max_per_minute"),
        (JobSettings(max_per_minute=1001), "max_per_minute"),
        (JobSettings(timeout_min=10081), "timeout_min"),
        (JobSettings(retry=(RetryCriterion(failure=Failure.REJECTED, retries=1),)), "retry.failure"),
        (JobSettings(retry=(RetryCriterion(failure=Failure.ALL, retries=11),)), "retry.retries"),
        (JobSettings(retry=(RetryCriterion(failure=Failure.ALL, retries=1),) * 11), "retry"),
        (
            JobSettings(abort=(AbortCriterion(failure=Failure.ALL, threshold_percent=0, min_executed=1),)),
            "abort.threshold_percent",
        ),
        (
            JobSettings(abort=(AbortCriterion(failure=Failure.ALL, threshold_percent=50, min_executed=0),)),
            "abort.min_executed",
        ),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(settings: JobSettings, field: str):
    with pytest.raises(InvalidInput) as refused:
        settings.check()
    assert refused.value.field == field


@pytest.mark.parametrize(
    "details",
    [5, {"a": 1}, {"a": "x" * 1025}, {"": "x"}, {"a b": "x"}, {"a" * 129: "x"}, {str(n): "x" for n in range(11)}],
    ids=lambda details: str(details)[:12],
)
def test_details_out_of_bounds_are_refused(details: Any):
    with pytest.raises(InvalidInput, match="statusDetails"):
        job_rules.check_details(details)


def test_details_at_their_bounds_are_taken():
    details = {f"{number}" * 128: "line\nline".ljust(1024) for number in range(10)}
    assert job_rules.check_details(details) == details


@pytest.mark.parametrize(
    "document", [[], "text", {"a": float("nan")}, {"a": object()}, {"a": "x" * 32_768}], ids=lambda one: str(one)[:10]
)
def test_a_document_that_is_none_is_refused(document: Any):
    with pytest.raises(InvalidInput, match="document"):
        job_rules.check_document(document)


@pytest.mark.parametrize("text", ["x" * 2029, "line\nline"])
def test_a_description_that_is_none_is_refused(text: str):
    with pytest.raises(InvalidInput, match="description"):
        job_rules.check_text("description", text)
