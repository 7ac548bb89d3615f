"""What may happen to a job and to a thing's execution of it, as AWS IoT Jobs defines it. No I/O.

Sources: AWS IoT developer guide, "Jobs and job execution states", "Job configurations" and "Jobs device MQTT API";
AWS IoT API reference. Times are whole seconds since the epoch.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pinthesky.errors import Conflict, InvalidInput
from pinthesky.hub import shadow_document
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import DOCUMENT_MAX, STATUS_DETAIL_MAX, JobId, JobStatus

DETAILS_MAX = 10
"""Most pairs of statusDetails."""
TIMEOUT_MAX_MIN = 10080
"""Longest time-out, of a job as of a step: seven days."""
RATE_MAX = 1000
"""Most executions that a job starts in a minute."""
RETRIES_MAX = 10
TARGETS_MAX = 1000
CRITERIA_MAX = 10
TEXT_MAX = 2028
"""Most characters of a description or a comment."""

_DETAIL_KEY = re.compile(r"[A-Za-z0-9:_-]{1,128}")


class JobState(enum.StrEnum):
    """Where a job as a whole stands (`JobStatus` is that of one thing's execution)."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class Failure(enum.StrEnum):
    """A kind of failure that retries and abort criteria speak of."""

    FAILED = "FAILED"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"
    ALL = "ALL"

    def covers(self, status: JobStatus) -> bool:
        """Whether an execution that ended so is one of these failures."""
        if self is Failure.ALL:
            return status in (JobStatus.FAILED, JobStatus.REJECTED, JobStatus.TIMED_OUT)
        return str(self.value) == str(status.value)


class AbortCriterion(Struct, frozen=True, kw_only=True):
    """Cancel the job when, of at least `min_executed` ended executions, `threshold_percent` failed so."""

    failure: Failure
    threshold_percent: float
    min_executed: int


class RetryCriterion(Struct, frozen=True, kw_only=True):
    """Let a thing try again, `retries` times, after such a failure (FAILED, TIMED_OUT or ALL of both)."""

    failure: Failure
    retries: int


class JobSettings(Struct, frozen=True, kw_only=True):
    """How a job is rolled out. Bounds as in AWS IoT."""

    max_per_minute: int | None = None
    timeout_min: int | None = None
    abort: tuple[AbortCriterion, ...] = ()
    retry: tuple[RetryCriterion, ...] = ()

    def check(self) -> None:
        """Raise InvalidInput with the field for anything out of its bounds."""
        _check_range("max_per_minute", self.max_per_minute, 1, most=RATE_MAX)
        _check_range("timeout_min", self.timeout_min, 1, most=TIMEOUT_MAX_MIN)
        for name, criteria in (("abort", self.abort), ("retry", self.retry)):
            if len(criteria) > CRITERIA_MAX:
                raise InvalidInput(name, f"must be at most {CRITERIA_MAX} criteria")
        for criterion in self.abort:
            if not 0 < criterion.threshold_percent <= 100:
                raise InvalidInput("abort.threshold_percent", "must be over 0 and at most 100")
            _check_range("abort.min_executed", criterion.min_executed, 1, most=None)
        for again in self.retry:
            if again.failure is Failure.REJECTED:
                raise InvalidInput("retry.failure", "must be FAILED, TIMED_OUT or ALL")
            _check_range("retry.retries", again.retries, 0, most=RETRIES_MAX)


class Execution(Struct, frozen=True, kw_only=True):
    """One thing's execution of a job. `number` counts the tries, `version` the changes, both from 1.

    `deadline_s` is when the job's time-out is over, `step_deadline_s` when that of the step is.
    """

    job_id: JobId
    thing: ThingName
    number: int
    status: JobStatus
    version: int
    queued_at_s: int
    updated_at_s: int
    started_at_s: int | None = None
    details: dict[str, str] = {}
    deadline_s: int | None = None
    step_deadline_s: int | None = None

    @property
    def due_s(self) -> int | None:
        """When it times out."""
        times = [time for time in (self.deadline_s, self.step_deadline_s) if time is not None]
        return min(times, default=None)

    def state(self) -> dict[str, Any]:
        """AWS's `JobExecutionState`."""
        details = {"statusDetails": self.details} if self.details else {}
        return {"status": self.status.value, **details, "versionNumber": self.version}


class Report(Struct, frozen=True, kw_only=True):
    """What a thing says of its execution. `details` None leaves them; `step_timeout_min` -1 ends the step's timer."""

    status: JobStatus
    details: dict[str, str] | None = None
    expected_version: int | None = None
    step_timeout_min: int | None = None


class Refused(Conflict):
    """A change that the state of an execution does not allow. `execution` is that state."""

    code = "InvalidStateTransition"

    def __init__(self, text: str, execution: Execution) -> None:
        super().__init__(text)
        self.execution = execution


class VersionMismatch(Refused):
    """The execution has changed since who asks has seen it."""

    code = "VersionMismatch"


class TerminalStateReached(Refused):
    """An execution that is over is not described to a thing any more."""

    code = "TerminalStateReached"


def start(execution: Execution, report: Report, now_s: int, *, timeout_min: int | None = None) -> Execution:
    """A queued execution goes into progress. Raises Refused, VersionMismatch."""
    if execution.status is not JobStatus.QUEUED:
        raise Refused(f"The execution is {execution.status.value}", execution)
    deadline_s = None if timeout_min is None else now_s + timeout_min * 60
    return _changed(msgspec.structs.replace(execution, started_at_s=now_s, deadline_s=deadline_s), report, now_s)


def report(execution: Execution, said: Report, now_s: int, *, timeout_min: int | None = None) -> Execution:
    """A thing says how it stands; a first IN_PROGRESS starts it. Raises Refused, VersionMismatch."""
    if said.expected_version is not None and said.expected_version != execution.version:
        raise VersionMismatch(
            f"The expected version {said.expected_version} is not the current version {execution.version}", execution
        )
    if execution.status.is_terminal or said.status not in _FROM_THINGS:
        raise Refused(f"{execution.status.value} does not become {said.status.value}", execution)
    if execution.status is JobStatus.QUEUED and said.status is JobStatus.IN_PROGRESS:
        return start(execution, said, now_s, timeout_min=timeout_min)
    return _changed(execution, said, now_s)


def end(execution: Execution, status: JobStatus, now_s: int) -> Execution:
    """End an execution by decree: TIMED_OUT, CANCELED or REMOVED. Raises Refused for one that is over."""
    if execution.status.is_terminal:
        raise Refused(f"{execution.status.value} does not become {status.value}", execution)
    return _changed(execution, Report(status=status), now_s)


def may_retry(settings: JobSettings, history: Sequence[JobStatus]) -> bool:
    """Whether a thing may try again; `history` is how its executions of the job ended, the last one last."""
    last = history[-1]
    if last not in (JobStatus.FAILED, JobStatus.TIMED_OUT):
        return False
    return any(
        sum(criterion.failure.covers(status) for status in history) <= criterion.retries
        for criterion in settings.retry
        if criterion.failure.covers(last)
    )


def must_abort(settings: JobSettings, ended: Mapping[JobStatus, int]) -> bool:
    """Whether a criterion is met; `ended` counts the things by how their last execution ended."""
    executed = sum(ended.get(status, 0) for status in _EXECUTED)
    return any(
        executed >= criterion.min_executed
        and 100 * sum(count for status, count in ended.items() if criterion.failure.covers(status))
        >= criterion.threshold_percent * executed
        for criterion in settings.abort
    )


def check_details(details: object) -> dict[str, str]:
    """Check statusDetails. Raises InvalidInput.

    AWS refuses control characters in values; they are taken here, since a handler's output holds line ends.
    """
    if not isinstance(details, dict) or len(details) > DETAILS_MAX:
        raise InvalidInput("statusDetails", f"must be at most {DETAILS_MAX} pairs of names and texts")
    for key, value in details.items():
        if _DETAIL_KEY.fullmatch(key) is None:
            raise InvalidInput("statusDetails", "names must be 1 to 128 letters, digits, ':', '_' or '-'")
        if not isinstance(value, str) or len(value) > STATUS_DETAIL_MAX:
            raise InvalidInput("statusDetails", f"{key} must be a text of at most {STATUS_DETAIL_MAX} characters")
    return details


def check_document(document: object) -> bytes:
    """The document of a job as JSON. Raises InvalidInput."""
    if not isinstance(document, dict):
        raise InvalidInput("document", "must be an object")
    try:
        text = shadow_document.encode(document)
        shadow_document.decode(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput("document", "must be JSON") from error
    if len(text) > DOCUMENT_MAX:
        raise InvalidInput("document", f"must be at most {DOCUMENT_MAX} bytes")
    return text


def check_text(field: str, text: str | None) -> str | None:
    """A description, comment or reason. Raises InvalidInput."""
    if text is not None and (len(text) > TEXT_MAX or not text.isprintable()):
        raise InvalidInput(field, f"must be at most {TEXT_MAX} printable characters")
    return text


_FROM_THINGS = (JobStatus.IN_PROGRESS, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.REJECTED)
_EXECUTED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.REJECTED, JobStatus.TIMED_OUT)


def _changed(execution: Execution, said: Report, now_s: int) -> Execution:
    deadline_s, step_s = execution.deadline_s, execution.step_deadline_s
    if said.step_timeout_min is not None:
        step_s = None if said.step_timeout_min == -1 else now_s + said.step_timeout_min * 60
    if said.status.is_terminal:
        deadline_s = step_s = None
    return msgspec.structs.replace(
        execution,
        status=said.status,
        version=execution.version + 1,
        updated_at_s=now_s,
        details=execution.details if said.details is None else said.details,
        deadline_s=deadline_s,
        step_deadline_s=step_s,
    )


def _check_range(field: str, value: int | None, least: int, *, most: int | None) -> None:
    if value is not None and (value < least or (most is not None and value > most)):
        raise InvalidInput(field, f"must be at least {least}" if most is None else f"must be {least} to {most}")
