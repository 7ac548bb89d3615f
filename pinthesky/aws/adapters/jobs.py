"""The planes' port `JobService` on AWS IoT Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.model.identifiers import ThingName, plain
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes.ports import JobExecution, JobExecutionPage, JobOrder, JobSummary

PAGE_MAX = 250
_COUNTS = {
    JobStatus.QUEUED: "numberOfQueuedThings",
    JobStatus.IN_PROGRESS: "numberOfInProgressThings",
    JobStatus.SUCCEEDED: "numberOfSucceededThings",
    JobStatus.FAILED: "numberOfFailedThings",
    JobStatus.TIMED_OUT: "numberOfTimedOutThings",
    JobStatus.REJECTED: "numberOfRejectedThings",
    JobStatus.REMOVED: "numberOfRemovedThings",
    JobStatus.CANCELED: "numberOfCanceledThings",
}


class IotJobService:
    """The adapter of `planes.ports.JobService`. Lists of executions come without their details: AWS gives none."""

    def __init__(self, clients: Clients, thing_arns: str) -> None:
        """`thing_arns` begins the ARN of every thing of the account: `arn:aws:iot:<region>:<account>:thing/`."""
        self._clients = clients
        self._thing_arns = thing_arns

    def create(self, order: JobOrder) -> None:
        """See `planes.ports.JobService`."""
        if not order.things:
            raise InvalidInput("targets", "must be at least 1")
        request: dict[str, Any] = {}
        if order.description:
            request["description"] = order.description
        if order.maximum_per_minute is not None:
            request["jobExecutionsRolloutConfig"] = {"maximumPerMinute": order.maximum_per_minute}
        if order.timeout_minutes is not None:
            request["timeoutConfig"] = {"inProgressTimeoutInMinutes": order.timeout_minutes}
        if order.abort_percent is not None:
            criterion = {
                "failureType": "ALL",
                "action": "CANCEL",
                "thresholdPercentage": order.abort_percent,
                "minNumberOfExecutedThings": order.abort_after,
            }
            request["abortConfig"] = {"criteriaList": [criterion]}
        if order.retries:
            request["jobExecutionsRetryConfig"] = {
                "criteriaList": [{"failureType": "ALL", "numberOfRetries": order.retries}]
            }
        with errors(f"creating job {order.id}", field="job", missing=()):
            self._client.create_job(
                jobId=str(order.id),
                targets=[f"{self._thing_arns}{thing}" for thing in order.things],
                document=msgspec.json.encode(order.document, enc_hook=plain).decode(),
                targetSelection="SNAPSHOT",
                **request,
            )

    def summary(self, job: JobId) -> JobSummary:
        """See `planes.ports.JobService`."""
        found = self._described(job)
        details = found.get("jobProcessDetails", {})
        counts = {status: details[name] for status, name in _COUNTS.items() if details.get(name)}
        state = found["status"]
        return JobSummary(job, "IN_PROGRESS" if state == "SCHEDULED" else state, counts)

    def cancel(self, job: JobId) -> None:
        """See `planes.ports.JobService`."""
        # AWS takes the cancelling of a job that is over without a word.
        if self.summary(job).state != "IN_PROGRESS":
            raise Conflict(f"job {job} is over")
        with errors(f"cancelling job {job}", field="job", conflict=("InvalidRequestException",)):
            self._client.cancel_job(jobId=str(job), force=True)

    def delete(self, job: JobId) -> None:
        """See `planes.ports.JobService`. In AWS it is gone some moments later."""
        with suppress(NotFound), errors(f"removing job {job}"):
            self._client.delete_job(jobId=str(job), force=True)

    def executions(self, job: JobId, *, limit: int, token: str | None) -> JobExecutionPage:
        """See `planes.ports.JobService`."""
        self._described(job)
        with errors(f"listing the executions of job {job}", field="nextToken"):
            answer = self._client.list_job_executions_for_job(jobId=str(job), **_paging(limit, token))
        found = [
            _execution(each["jobExecutionSummary"], job, self._thing_of(each["thingArn"]))
            for each in answer.get("executionSummaries", [])
        ]
        return JobExecutionPage(found, answer.get("nextToken"))

    def executions_of(self, thing: ThingName, *, limit: int, token: str | None) -> JobExecutionPage:
        """See `planes.ports.JobService`. AWS names no order for its pages; within one the newest come first."""
        try:
            with errors(f"listing the jobs of {thing}", field="nextToken"):
                answer = self._client.list_job_executions_for_thing(thingName=str(thing), **_paging(limit, token))
        except NotFound:
            return JobExecutionPage([], None)
        found = [
            _execution(each["jobExecutionSummary"], JobId(each["jobId"]), thing)
            for each in answer.get("executionSummaries", [])
        ]
        found.sort(key=lambda each: (-each.queued_at_s, each.id, -each.number))
        return JobExecutionPage(found, answer.get("nextToken"))

    def execution(self, job: JobId, thing: ThingName, number: int | None = None) -> JobExecution:
        """See `planes.ports.JobService`."""
        which = {} if number is None else {"executionNumber": number}
        with errors(f"job {job} on {thing}", field="number"):
            answer = self._client.describe_job_execution(jobId=str(job), thingName=str(thing), **which)
        found = answer.get("execution")
        if not found:
            raise NotFound(f"{thing} has no such execution of job {job}")
        return _execution(found, job, thing, details=found.get("statusDetails", {}).get("detailsMap", {}))

    def cancel_execution(self, job: JobId, thing: ThingName) -> None:
        """See `planes.ports.JobService`."""
        with errors(f"cancelling job {job} on {thing}", field="job", conflict=("VersionConflictException",)):
            self._client.cancel_job_execution(jobId=str(job), thingName=str(thing), force=True)

    def delete_execution(self, job: JobId, thing: ThingName, number: int) -> None:
        """See `planes.ports.JobService`."""
        with errors(f"removing job {job} from {thing}", field="number"):
            self._client.delete_job_execution(jobId=str(job), thingName=str(thing), executionNumber=number, force=True)

    def _described(self, job: JobId) -> Mapping[str, Any]:
        with errors(f"job {job}"):
            found: Mapping[str, Any] = self._client.describe_job(jobId=str(job))["job"]
        if found["status"] == "DELETION_IN_PROGRESS":
            raise NotFound(f"job {job} is removed")
        return found

    def _thing_of(self, arn: str) -> ThingName:
        return ThingName(arn.rpartition(":thing/")[2])

    @property
    def _client(self) -> Any:
        return self._clients.get("iot")


def _paging(limit: int, token: str | None) -> dict[str, Any]:
    page: dict[str, Any] = {"maxResults": min(limit, PAGE_MAX)}
    return page if token is None else {**page, "nextToken": token}


def _execution(
    found: Mapping[str, Any], job: JobId, thing: ThingName, *, details: Mapping[str, str] | None = None
) -> JobExecution:
    queued_s = _seconds(found.get("queuedAt")) or 0.0
    return JobExecution(
        id=job,
        thing=thing,
        number=int(found.get("executionNumber", 1)),
        status=JobStatus(found["status"]),
        details=dict(details or {}),
        queued_at_s=queued_s,
        started_at_s=_seconds(found.get("startedAt")),
        updated_at_s=_seconds(found.get("lastUpdatedAt")) or queued_s,
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
