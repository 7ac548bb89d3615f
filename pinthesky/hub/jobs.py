"""Jobs: made and followed by the planes, carried out by things.

What things say over MQTT comes through `job_requests`; what may happen is in `job_rules`, and the tables are in
`job_store`. Every change of what a thing has to do is told to it on `notify`, and on `notify-next` where another
execution is next.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.hub import job_rules, job_store
from pinthesky.hub.database import Database
from pinthesky.hub.job_rules import Execution, JobSettings, JobState
from pinthesky.hub.job_store import Job
from pinthesky.hub.thing_changes import Change, ThingChanges
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus

PENDING_MAX = 100
"""Most executions that wait for one thing."""
NOTIFIED_MAX = 10
"""Most executions that a notification lists (AWS IoT, without scheduling)."""
KEEP_S = 90 * 24 * 3600
"""How long a job is kept after its end."""
PAGE_MAX = 250
ABORTED = "ABORT_CRITERIA_MET"

Item = TypeVar("Item")
OnExecution = Callable[[Execution], None]
"""Called with an execution as it is now, in the thread that changed it: returns soon and never raises."""


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some of a list. `token` leads to what follows, None at the end."""

    items: list[Item]
    token: str | None


@dataclass(frozen=True)
class JobDescription:
    """A job and how its things stand, each by its last execution; `waiting` have none yet."""

    job: Job
    counts: dict[JobStatus, int]
    waiting: int


class Jobs:
    """All jobs. May be used from any thread."""

    def __init__(self, database: Database, changes: ThingChanges, *, clock: Callable[[], float] = time.time) -> None:
        database.migrate("jobs", job_store.SCHEMA)
        self._changes = changes
        self._clock = clock
        self._listeners: list[OnExecution] = []

    def on_execution(self, call: OnExecution) -> None:
        """Have `call` called after each change of an execution. To be said before anything changes."""
        self._listeners.append(call)

    def create(
        self,
        job_id: JobId,
        document: dict[str, Any],
        targets: Sequence[ThingName],
        *,
        description: str | None = None,
        settings: JobSettings = JobSettings(),  # noqa: B008 - it is immutable
    ) -> None:
        """Make a job for things, and queue its first executions. Raises InvalidInput, Conflict (the id is taken)."""
        settings.check()
        text = job_rules.check_document(document).decode()
        job_rules.check_text("description", description)
        things = list(dict.fromkeys(targets))
        if not 1 <= len(things) <= job_rules.TARGETS_MAX:
            raise InvalidInput("targets", f"must be 1 to {job_rules.TARGETS_MAX} things")
        with self._changes.begin() as change:
            if job_store.load_job(change.connection, job_id) is not None:
                raise Conflict(f"there is a job {job_id} already")
            for thing in things:
                if job_store.count_pending(change.connection, thing) >= PENDING_MAX:
                    raise Conflict(f"{PENDING_MAX} jobs wait for {thing} already")
            now_s = self.now_s()
            job = Job(job_id, text, description, settings, JobState.IN_PROGRESS, now_s, now_s, rollout_at_s=now_s)
            job_store.insert_job(change.connection, job, things)
            self._roll_out(change, job)

    def describe(self, job_id: JobId) -> JobDescription:
        """A job by its id. Raises NotFound."""
        with self._changes.reading() as c:
            job = _found(job_store.load_job(c, job_id), job_id)
            return JobDescription(job, job_store.counts(c, job_id), job_store.count_waiting(c, job_id))

    def list_jobs(self, *, state: JobState | None = None, limit: int = 50, token: str | None = None) -> Page[Job]:
        """Jobs, the newest first. Raises InvalidInput for a token that is none."""
        with self._changes.reading() as c:
            return _page(
                limit, job_store.page_of_jobs(c, state, before=_position(token, sys.maxsize), limit=_limit(limit))
            )

    def execution(self, job_id: JobId, thing: ThingName, number: int | None = None) -> Execution:
        """One execution, the last one where no number is given. Raises NotFound."""
        with self._changes.reading() as c:
            return self.load(c, job_id, thing, number=number)

    def executions(
        self, job_id: JobId, *, status: JobStatus | None = None, limit: int = 50, token: str | None = None
    ) -> Page[Execution]:
        """Each thing's last execution of a job, in the order of queueing. Raises NotFound, InvalidInput."""
        with self._changes.reading() as c:
            _found(job_store.load_job(c, job_id), job_id)
            rows = job_store.page_of_executions(c, job_id, status, after=_position(token, 0), limit=_limit(limit))
            return _page(limit, rows)

    def executions_of(self, thing: ThingName, *, limit: int = 50, token: str | None = None) -> Page[Execution]:
        """All executions of a thing, the newest first. Raises InvalidInput."""
        with self._changes.reading() as c:
            rows = job_store.page_of_things_executions(
                c, thing, before=_position(token, sys.maxsize), limit=_limit(limit)
            )
            return _page(limit, rows)

    def cancel(
        self, job_id: JobId, *, force: bool = False, reason: str | None = None, comment: str | None = None
    ) -> None:
        """Cancel what is queued; with `force` what is in progress too. Raises NotFound, Conflict (it is over)."""
        job_rules.check_text("reason", reason)
        job_rules.check_text("comment", comment)
        with self._changes.begin() as change:
            job = _found(job_store.load_job(change.connection, job_id), job_id)
            if job.state is JobState.COMPLETED or (job.state is JobState.CANCELED and not force):
                raise Conflict(f"job {job_id} is {job.state.value}")
            self._cancel(change, replace(job, reason=reason, comment=comment), force=force)

    def cancel_execution(self, job_id: JobId, thing: ThingName, *, force: bool = False) -> None:
        """Cancel one thing's execution; one in progress with `force` only. Raises NotFound, Conflict."""
        with self._changes.begin() as change:
            execution = self.load(change.connection, job_id, thing)
            if execution.status is JobStatus.IN_PROGRESS and not force:
                raise job_rules.Refused("The execution is in progress", execution)
            self.apply(change, job_rules.end(execution, JobStatus.CANCELED, self.now_s()))

    def delete(self, job_id: JobId, *, force: bool = False) -> None:
        """Remove a job and its executions; one that is not over with `force` only. Raises NotFound, Conflict."""
        with self._changes.begin() as change:
            job = _found(job_store.load_job(change.connection, job_id), job_id)
            left = job_store.pending_of_job(change.connection, job_id)
            if (left or job.state is JobState.IN_PROGRESS) and not force:
                raise Conflict(f"job {job_id} is not over")
            if left or job.state is JobState.IN_PROGRESS:
                self._cancel(change, job, force=True)
            job_store.delete_job(change.connection, job_id)

    def delete_execution(self, job_id: JobId, thing: ThingName, number: int, *, force: bool = False) -> None:
        """Forget one execution; one that has not ended with `force` only. Raises NotFound, Conflict."""
        with self._changes.begin() as change:
            execution = self.load(change.connection, job_id, thing, number=number)
            if not execution.status.is_terminal:
                if not force:
                    raise job_rules.Refused("The execution is not over", execution)
                self.apply(change, job_rules.end(execution, JobStatus.CANCELED, self.now_s()))
            job_store.delete_execution(change.connection, execution)

    def tick(self) -> None:
        """Do what is due: time-outs, rollouts, and forgetting what ended long ago. To be called about once a second."""
        now_s = self.now_s()
        with self._changes.reading() as c:
            old = job_store.jobs_ended_before(c, now_s - KEEP_S)
            if not (old or job_store.due(c, now_s) or job_store.jobs_to_roll_out(c, now_s)):
                return
        with self._changes.begin() as change:
            for execution in job_store.due(change.connection, now_s):
                self.apply(change, job_rules.end(execution, JobStatus.TIMED_OUT, now_s))
            for job in job_store.jobs_to_roll_out(change.connection, now_s):
                self._roll_out(change, job)
            for job in old:
                self._cancel(change, job, force=True)
                job_store.delete_job(change.connection, job.job_id)

    def forget(self, change: Change, thing: ThingName) -> None:
        """A thing is no more: its open executions are REMOVED."""
        now_s = self.now_s()
        for job_id in job_store.jobs_awaited_by(change.connection, thing):
            job_store.remove_targets(change.connection, job_id, [thing])
            self._conclude(change, job_id)
        for execution in job_store.pending(change.connection, thing, PENDING_MAX * 2):
            self.apply(change, job_rules.end(execution, JobStatus.REMOVED, now_s))

    # What follows is for `job_requests`, inside a change.

    def now_s(self) -> int:
        """The time, as messages give it."""
        return int(self._clock())

    def load(self, c: sqlite3.Connection, job_id: JobId, thing: ThingName, *, number: int | None = None) -> Execution:
        """One execution, the last one where no number is given. Raises NotFound."""
        execution = job_store.load_execution(c, job_id, thing, number=number)
        if execution is None:
            raise NotFound(f"{thing} has no execution of job {job_id}")
        return execution

    def load_job(self, c: sqlite3.Connection, job_id: JobId) -> Job:
        """The job of an execution. Raises NotFound."""
        return _found(job_store.load_job(c, job_id), job_id)

    def next_of(self, c: sqlite3.Connection, thing: ThingName) -> Execution | None:
        """What a thing has to do next."""
        return next(iter(job_store.pending(c, thing, 1)), None)

    def pending(self, c: sqlite3.Connection, thing: ThingName) -> list[Execution]:
        """What a thing has to do, as far as a notification lists it."""
        return job_store.pending(c, thing, NOTIFIED_MAX)

    def apply(self, change: Change, execution: Execution) -> None:
        """Keep the new state of an execution, tell its thing, and see what that means for the job."""
        c = change.connection
        with self._notifying(change, execution.thing):
            job_store.update_execution(c, execution)
            for call in self._listeners:
                change.afterwards(partial(call, execution))
            if not execution.status.is_terminal:
                return
            job = self.load_job(c, execution.job_id)
            statuses = job_store.history(c, execution.job_id, execution.thing)
            if job.state is JobState.IN_PROGRESS and job_rules.may_retry(job.settings, statuses):
                job_store.mark_retried(c, execution)
                self._queue(c, execution.job_id, execution.thing, number=execution.number + 1)
        self._conclude(change, execution.job_id)

    def describe_to_thing(
        self, c: sqlite3.Connection, execution: Execution, *, with_document: bool = True
    ) -> dict[str, Any]:
        """AWS's `JobExecution`, as things get it."""
        described = {
            "jobId": str(execution.job_id),
            "thingName": str(execution.thing),
            "status": execution.status.value,
            **({"statusDetails": execution.details} if execution.details else {}),
            **summary(execution),
        }
        if execution.due_s is not None:
            described["approximateSecondsBeforeTimedOut"] = max(0, execution.due_s - self.now_s())
        if with_document:
            described["jobDocument"] = self.document(c, execution.job_id)
        return described

    def document(self, c: sqlite3.Connection, job_id: JobId) -> Any:
        """The document of a job."""
        return json.loads(self.load_job(c, job_id).document)

    def _queue(self, c: sqlite3.Connection, job_id: JobId, thing: ThingName, *, number: int) -> None:
        now_s = self.now_s()
        execution = Execution(
            job_id=job_id,
            thing=thing,
            number=number,
            status=JobStatus.QUEUED,
            version=1,
            queued_at_s=now_s,
            updated_at_s=now_s,
        )
        job_store.insert_execution(c, execution)

    def _roll_out(self, change: Change, job: Job) -> None:
        """Queue the executions of the next minute."""
        limit = job.settings.max_per_minute or job_rules.TARGETS_MAX
        things = job_store.waiting_targets(change.connection, job.job_id, limit)
        job_store.remove_targets(change.connection, job.job_id, things)
        for thing in things:
            with self._notifying(change, thing):
                self._queue(change.connection, job.job_id, thing, number=1)
        left = job_store.count_waiting(change.connection, job.job_id)
        job_store.update_job(change.connection, replace(job, rollout_at_s=self.now_s() + 60 if left else None))

    def _cancel(self, change: Change, job: Job, *, force: bool) -> None:
        now_s = self.now_s()
        ended = replace(
            job,
            state=JobState.CANCELED,
            updated_at_s=now_s,
            completed_at_s=job.completed_at_s or now_s,
            rollout_at_s=None,
        )
        job_store.update_job(change.connection, ended)
        job_store.remove_all_targets(change.connection, job.job_id)
        for execution in job_store.pending_of_job(change.connection, job.job_id):
            if force or execution.status is JobStatus.QUEUED:
                with self._notifying(change, execution.thing):
                    job_store.update_execution(change.connection, job_rules.end(execution, JobStatus.CANCELED, now_s))

    def _conclude(self, change: Change, job_id: JobId) -> None:
        """After an execution has ended: abort the job or complete it, if it is time for that."""
        job = self.load_job(change.connection, job_id)
        if job.state is not JobState.IN_PROGRESS:
            return
        counts = job_store.counts(change.connection, job_id)
        if job_rules.must_abort(job.settings, counts):
            self._cancel(change, replace(job, reason=ABORTED), force=False)
        elif all(status.is_terminal for status in counts) and not job_store.count_waiting(change.connection, job_id):
            now_s = self.now_s()
            done = replace(job, state=JobState.COMPLETED, updated_at_s=now_s, completed_at_s=now_s, rollout_at_s=None)
            job_store.update_job(change.connection, done)

    @contextmanager
    def _notifying(self, change: Change, thing: ThingName) -> Iterator[None]:
        """Tell a thing what a change means for what it has to do."""
        before = self.pending(change.connection, thing)
        yield
        after = self.pending(change.connection, thing)
        base = f"$aws/things/{thing}/jobs"
        if [_key(execution) for execution in before] != [_key(execution) for execution in after]:
            listed: dict[str, Any] = {}
            for execution in after:
                entry = {"jobId": str(execution.job_id), **summary(execution)}
                listed.setdefault(execution.status.value, []).append(entry)
            change.tell(f"{base}/notify", {"timestamp": self.now_s(), "jobs": listed})
        if [_key(one)[:3] for one in before[:1]] != [_key(one)[:3] for one in after[:1]]:
            told: dict[str, Any] = {"timestamp": self.now_s()}
            if after:
                told["execution"] = self.describe_to_thing(change.connection, after[0])
            change.tell(f"{base}/notify-next", told)


def summary(execution: Execution) -> dict[str, Any]:
    """What AWS's `JobExecutionSummary` and `JobExecution` have in common."""
    return {
        "queuedAt": execution.queued_at_s,
        **({} if execution.started_at_s is None else {"startedAt": execution.started_at_s}),
        "lastUpdatedAt": execution.updated_at_s,
        "versionNumber": execution.version,
        "executionNumber": execution.number,
    }


def _key(execution: Execution) -> tuple[str, str, int, str]:
    return (execution.job_id, execution.thing, execution.number, execution.status.value)


def _found(job: Job | None, job_id: JobId) -> Job:
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def _limit(limit: int) -> int:
    """One more than asked for, which tells whether there is more."""
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidInput("limit", f"must be 1 to {PAGE_MAX}")
    return limit + 1


def _page(limit: int, rows: list[tuple[int, Item]]) -> Page[Item]:
    token = str(rows[limit - 1][0]) if len(rows) > limit else None
    return Page([item for _, item in rows[:limit]], token)


def _position(token: str | None, start: int) -> int:
    if token is None:
        return start
    if re.fullmatch(r"[0-9]{1,18}", token) is None:
        raise InvalidInput("token", "is not one that a page has given")
    return int(token)
