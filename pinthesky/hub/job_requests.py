"""What things ask of jobs over MQTT: AWS IoT's "Jobs device MQTT API"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pinthesky.errors import InvalidInput, NotFound, PinTheSkyError
from pinthesky.hub import job_rules, shadow_document
from pinthesky.hub.job_rules import Execution, Refused, Report
from pinthesky.hub.jobs import Jobs, summary
from pinthesky.hub.thing_changes import Change, TooManyRequests
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus

NEXT = "$next"
_EXECUTION_NUMBER_MAX = 2**63 - 1


class InvalidTopic(InvalidInput):
    """A topic of the jobs' space that is no operation."""


class InvalidJson(InvalidInput):
    """A request that is no JSON."""


class JobRequests:
    """Answers the requests of things, each within a change that the caller commits."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def handle(self, change: Change, thing: ThingName, operation: Sequence[str], *, payload: bytes) -> None:
        """Serve a request; `operation` is what follows `$aws/things/<thing>/jobs/`."""
        base = f"$aws/things/{thing}/jobs/{'/'.join(operation)}"
        request: dict[str, Any] = {}
        try:
            request = _parsed(payload)
            with change.attempt():
                answer = self._answer(change, thing, operation, request=request)
                change.tell(f"{base}/accepted", self._signed(answer, request))
        except PinTheSkyError as error:
            change.tell(f"{base}/rejected", self.rejection(error, request))

    def rejection(self, error: PinTheSkyError, request: Any) -> dict[str, Any]:
        """The rejected message for an error, with AWS's code."""
        message: dict[str, Any] = {"code": _code(error), "message": str(error)}
        if isinstance(error, Refused):
            message["executionState"] = error.execution.state()
        return self._signed(message, request)

    def _answer(
        self, change: Change, thing: ThingName, operation: Sequence[str], *, request: dict[str, Any]
    ) -> dict[str, Any]:
        shadow_document.check_token(request)
        if list(operation) == ["get"]:
            return self._pending(change, thing)
        if list(operation) == ["start-next"]:
            return self._start_next(change, thing, request)
        if len(operation) == 2 and operation[1] == "get":
            return self._describe(change, thing, operation[0], request=request)
        if len(operation) == 2 and operation[1] == "update":
            return self._update(change, thing, operation[0], request=request)
        raise InvalidTopic("topic", "is no operation of jobs")

    def _pending(self, change: Change, thing: ThingName) -> dict[str, Any]:
        found = self._jobs.pending(change.connection, thing)
        listed = {JobStatus.IN_PROGRESS: "inProgressJobs", JobStatus.QUEUED: "queuedJobs"}
        return {
            name: [{"jobId": str(one.job_id), **summary(one)} for one in found if one.status is status]
            for status, name in listed.items()
        }

    def _start_next(self, change: Change, thing: ThingName, request: dict[str, Any]) -> dict[str, Any]:
        said = Report(
            status=JobStatus.IN_PROGRESS,
            details=_details(request),
            step_timeout_min=_whole(request, "stepTimeoutInMinutes", 1, most=job_rules.TIMEOUT_MAX_MIN),
        )
        execution = self._jobs.next_of(change.connection, thing)
        if execution is None:
            return {}
        if execution.status is JobStatus.QUEUED:
            execution = job_rules.start(
                execution, said, self._jobs.now_s(), timeout_min=self._timeout_min(change, execution)
            )
            self._jobs.apply(change, execution)
        return {"execution": self._jobs.describe_to_thing(change.connection, execution)}

    def _describe(self, change: Change, thing: ThingName, name: str, *, request: dict[str, Any]) -> dict[str, Any]:
        number = _whole(request, "executionNumber", 1, most=_EXECUTION_NUMBER_MAX)
        with_document = _flag(request, "includeJobDocument", default=True)
        if name == NEXT:
            execution = self._jobs.next_of(change.connection, thing)
            if execution is None:
                return {}
        else:
            execution = self._jobs.load(change.connection, JobId.parse(name, "jobId"), thing, number=number)
        if execution.status.is_terminal:
            raise job_rules.TerminalStateReached(f"The execution is {execution.status.value}", execution)
        described = self._jobs.describe_to_thing(change.connection, execution, with_document=with_document)
        return {"execution": described}

    def _update(self, change: Change, thing: ThingName, name: str, *, request: dict[str, Any]) -> dict[str, Any]:
        said = _report(request)
        number = _whole(request, "executionNumber", 1, most=_EXECUTION_NUMBER_MAX)
        with_state = _flag(request, "includeJobExecutionState", default=False)
        with_document = _flag(request, "includeJobDocument", default=False)
        execution = self._jobs.load(change.connection, JobId.parse(name, "jobId"), thing, number=number)
        after = job_rules.report(execution, said, self._jobs.now_s(), timeout_min=self._timeout_min(change, execution))
        self._jobs.apply(change, after)
        answer: dict[str, Any] = {}
        if with_state:
            answer["executionState"] = after.state()
        if with_document:
            answer["jobDocument"] = self._jobs.document(change.connection, execution.job_id)
        return answer

    def _timeout_min(self, change: Change, execution: Execution) -> int | None:
        return self._jobs.load_job(change.connection, execution.job_id).settings.timeout_min

    def _signed(self, message: dict[str, Any], request: Any) -> dict[str, Any]:
        token = shadow_document.token_of(request)
        return {**message, "timestamp": self._jobs.now_s(), **({} if token is None else {"clientToken": token})}


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        request = shadow_document.decode(payload) if payload else {}
    except InvalidInput as error:
        raise InvalidJson("request", error.reason) from error
    if not isinstance(request, dict):
        raise InvalidJson("request", "must be an object")
    return request


def _report(request: dict[str, Any]) -> Report:
    try:
        status = JobStatus(request.get("status"))
    except ValueError as error:
        raise InvalidInput("status", "must be IN_PROGRESS, SUCCEEDED, FAILED or REJECTED") from error
    step = request.get("stepTimeoutInMinutes")
    return Report(
        status=status,
        details=_details(request),
        expected_version=_version(request),
        step_timeout_min=-1
        if step == -1
        else _whole(request, "stepTimeoutInMinutes", 1, most=job_rules.TIMEOUT_MAX_MIN),
    )


def _version(request: dict[str, Any]) -> int | None:
    """AWS's own examples send the version as text, and its SDKs as a number."""
    version = request.get("expectedVersion")
    if isinstance(version, str) and version.isascii() and version.isdigit() and len(version) < 19:
        return int(version)
    return _whole(request, "expectedVersion", 0, most=_EXECUTION_NUMBER_MAX)


def _details(request: dict[str, Any]) -> dict[str, str] | None:
    details = request.get("statusDetails")
    return None if details is None else job_rules.check_details(details)


def _whole(request: dict[str, Any], field: str, least: int, *, most: int) -> int | None:
    value = request.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(field, f"must be a whole number of {least} to {most}")
    return value


def _flag(request: dict[str, Any], field: str, *, default: bool) -> bool:
    value = request.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInput(field, "must be true or false")
    return value


def _code(error: PinTheSkyError) -> str:
    if isinstance(error, Refused):
        return error.code
    if isinstance(error, InvalidTopic):
        return "InvalidTopic"
    if isinstance(error, InvalidJson):
        return "InvalidJson"
    if isinstance(error, InvalidInput):
        return "InvalidRequest"
    if isinstance(error, NotFound):
        return "ResourceNotFound"
    return "RequestThrottled" if isinstance(error, TooManyRequests) else "InternalError"
