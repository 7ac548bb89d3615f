"""The planes' port `JobService` on the hub's own jobs."""

from __future__ import annotations

from contextlib import suppress

from pinthesky.errors import Conflict, NotFound
from pinthesky.hub.job_rules import AbortCriterion, Execution, Failure, JobSettings, JobState, RetryCriterion
from pinthesky.hub.jobs import Jobs, Page
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes.ports import JobExecution, JobExecutionPage, JobOrder, JobSummary


class HubJobService:
    """The adapter of `planes.ports.JobService`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def create(self, order: JobOrder) -> None:
        """See `planes.ports.JobService`."""
        abort: tuple[AbortCriterion, ...] = ()
        if order.abort_percent is not None:
            abort = (
                AbortCriterion(
                    failure=Failure.ALL, threshold_percent=order.abort_percent, min_executed=order.abort_after
                ),
            )
        retry = (RetryCriterion(failure=Failure.ALL, retries=order.retries),) if order.retries else ()
        self._jobs.create(
            order.id,
            dict(order.document),
            order.things,
            description=order.description or None,
            settings=JobSettings(
                max_per_minute=order.maximum_per_minute, timeout_min=order.timeout_minutes, abort=abort, retry=retry
            ),
        )

    def summary(self, job: JobId) -> JobSummary:
        """See `planes.ports.JobService`. What waits for its turn in a rollout counts as queued."""
        described = self._jobs.describe(job)
        counts = {status: count for status, count in described.counts.items() if count}
        if described.waiting:
            counts[JobStatus.QUEUED] = counts.get(JobStatus.QUEUED, 0) + described.waiting
        return JobSummary(job, described.job.state.value, counts)

    def cancel(self, job: JobId) -> None:
        """See `planes.ports.JobService`. The hub itself lets a job be cancelled twice, the second time by force."""
        if self._jobs.describe(job).job.state is JobState.CANCELED:
            raise Conflict(f"job {job} is over")
        self._jobs.cancel(job, force=True)

    def delete(self, job: JobId) -> None:
        """See `planes.ports.JobService`."""
        with suppress(NotFound):
            self._jobs.delete(job, force=True)

    def executions(self, job: JobId, *, limit: int, token: str | None) -> JobExecutionPage:
        """See `planes.ports.JobService`."""
        return _page(self._jobs.executions(job, limit=limit, token=token))

    def executions_of(self, thing: ThingName, *, limit: int, token: str | None) -> JobExecutionPage:
        """See `planes.ports.JobService`."""
        return _page(self._jobs.executions_of(thing, limit=limit, token=token))

    def execution(self, job: JobId, thing: ThingName, number: int | None = None) -> JobExecution:
        """See `planes.ports.JobService`."""
        return _execution(self._jobs.execution(job, thing, number))

    def cancel_execution(self, job: JobId, thing: ThingName) -> None:
        """See `planes.ports.JobService`."""
        self._jobs.cancel_execution(job, thing, force=True)

    def delete_execution(self, job: JobId, thing: ThingName, number: int) -> None:
        """See `planes.ports.JobService`."""
        self._jobs.delete_execution(job, thing, number, force=True)


def _page(page: Page[Execution]) -> JobExecutionPage:
    return JobExecutionPage([_execution(one) for one in page.items], page.token)


def _execution(execution: Execution) -> JobExecution:
    return JobExecution(
        id=execution.job_id,
        thing=execution.thing,
        number=execution.number,
        status=execution.status,
        details=execution.details,
        queued_at_s=execution.queued_at_s,
        started_at_s=execution.started_at_s,
        updated_at_s=execution.updated_at_s,
    )
