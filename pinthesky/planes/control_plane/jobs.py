"""Routes of the jobs: what is ordered of cameras, and how each of them gets on with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from pinthesky.errors import InvalidInput, NotFound, PinTheSkyError
from pinthesky.model.identifiers import Identifier, ThingName, plain
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.model.people import PersonId
from pinthesky.planes.authorization import Permission
from pinthesky.planes.job_types import CAMERAS_MAX, JOB_TYPES, AnyJob, Description, order_of, type_of
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.ports import JobExecution, JobExecutionPage, JobSummary
from pinthesky.planes.records import rows
from pinthesky.planes.records.jobs import CANCELED, IN_PROGRESS, Abort, JobRecord, Rollout
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.short_lists import page_of
from pinthesky.planes.table import LIMIT_MAX, Key, Position

routes = Routes("jobs")

FAILURES = (JobStatus.FAILED, JobStatus.TIMED_OUT, JobStatus.REJECTED)


class JobTypeName(Identifier):
    """A kind of job."""

    __slots__ = ()
    _field = "type"
    _pattern = re.compile(r"[a-z][a-z-]{0,39}")
    _rule = "must be the name of a kind of job"


class ExecutionNumber(Identifier):
    """Which of a camera's tries of a job."""

    __slots__ = ()
    _field = "number"
    _pattern = re.compile(r"[1-9][0-9]{0,8}")
    _rule = "must be a number from 1"


class JobType(Struct, kw_only=True, rename="camel"):
    """A kind of job; `parameters` is the JSON Schema of what it takes."""

    type: str
    summary: str
    parameters: dict[str, Any]


class Job(Struct, kw_only=True, rename="camel"):
    """A job, and how many cameras stand where."""

    id: JobId
    type: str
    created_at: EpochMs
    created_by: PersonId
    description: str
    cameras: list[ThingName]
    groups: list[str]
    parameters: dict[str, Any]
    rollout: Rollout | None
    abort: Abort | None
    timeout_in_minutes: int | None
    retries: int
    retry_of: JobId | None
    state: str
    """IN_PROGRESS, COMPLETED or CANCELED."""
    counts: dict[JobStatus, int] | None
    """Cameras by the status of their last execution; null in lists where the job is over, and where it is forgotten."""


class JobChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What may be changed of a job that was ordered."""

    description: Description


class Execution(Struct, kw_only=True, rename="camel"):
    """One camera's try. `details` is what the camera says: `reason`, `stdout`, `stderr`."""

    job_id: JobId
    thing_name: ThingName
    number: int
    status: JobStatus
    details: Mapping[str, str]
    queued_at: EpochMs
    started_at: EpochMs | None
    updated_at: EpochMs
    type: Annotated[str | None, Meta(description="The kind of job; null where the order is forgotten.")] = None


@routes.get("/jobTypes", Permission.OWN, "What can be ordered")
def list_job_types(call: Call, query: ListQuery) -> Items[JobType]:
    """In the order of their names."""
    types = [_job_type(name) for name in JOB_TYPES]
    return page_of(types, lambda each: each.type, query, tokens=call.home.page_tokens, name="job types")


@routes.get("/jobTypes/{kind}", Permission.OWN, "One kind of job")
def get_job_type(call: Call, kind: JobTypeName) -> JobType:  # noqa: ARG001 - every route has its call
    """With the JSON Schema of its parameters."""
    if kind not in JOB_TYPES:
        raise NotFound(f"there are no jobs of type {kind}")
    return _job_type(kind)


@routes.get("/jobs", Permission.OWN, "Jobs, the newest first")
def list_jobs(call: Call, query: ListQuery) -> Items[Job]:
    """Jobs that are over are shown without counts: nobody is asked about them any more."""
    tokens = call.home.page_tokens
    page = call.home.job_records.page(limit=query.limit, after=tokens.open(query.next_token, "jobs"))
    jobs = [_current(call, job) if job.state == IN_PROGRESS else _view(job, None) for job in page.rows]
    return Items(items=jobs, next_token=tokens.seal(page.next, "jobs"))


@routes.post("/jobs", Permission.OWN, "Order a job", status=201)
def create_job(call: Call, body: AnyJob) -> Job:
    """For the cameras that are named, and those that are in the groups now."""
    return _order(call, body, _targets(call, body), retry_of=None)


@routes.get("/jobs/{job}", Permission.OWN, "One job")
def get_job(call: Call, job: JobId) -> Job:
    """With counts."""
    return _current(call, call.home.job_records.get(job))


@routes.put("/jobs/{job}", Permission.OWN, "Describe a job otherwise")
def change_job(call: Call, job: JobId, body: JobChange) -> Job:
    """What is under way does not change."""
    changed = call.home.job_records.change(job, lambda before: replace(before, description=body.description))
    return _current(call, changed)


@routes.delete("/jobs/{job}", Permission.OWN, "Cancel and forget a job")
def delete_job(call: Call, job: JobId) -> None:
    """With all its executions."""
    call.home.job_records.get(job)
    call.home.jobs.delete(job)
    call.home.job_records.remove(job)


@routes.post("/jobs/{job}/cancel", Permission.OWN, "Cancel a job")
def cancel_job(call: Call, job: JobId) -> Job:
    """Cameras that are at it stop. 409 where it is over."""
    call.home.job_records.get(job)
    call.home.jobs.cancel(job)
    return get_job(call, job)


@routes.post("/jobs/{job}/retry", Permission.OWN, "Order a job again for cameras that failed", status=201)
def retry_job(call: Call, job: JobId) -> Job:
    """A new job with the same parameters, for those whose last execution failed, timed out or was rejected."""
    record = call.home.job_records.get(job)
    failed = _failed(call, job)
    if not failed:
        raise InvalidInput("job", "has no camera that failed")
    kind = JOB_TYPES[record.type]
    stored = msgspec.json.decode(rows.encode(record))
    wish = {name: stored[name] for name in kind.__struct_encode_fields__ if name in stored}
    wish = {"rollout": None, "abort": None, "timeoutInMinutes": None, **wish}  # none then is none now
    wish |= {"type": record.type, "cameras": failed, "groups": []}
    again = msgspec.convert(wish, kind, dec_hook=lambda identifier, value: identifier.parse(value))
    return _order(call, again, failed, retry_of=job)


@routes.get("/jobs/{job}/executions", Permission.OWN, "How each camera gets on with a job")
def list_executions(call: Call, job: JobId, query: ListQuery) -> Items[Execution]:
    """Each camera's last execution."""
    record = call.home.job_records.get(job)
    name = f"executions of {job}"
    page = call.home.jobs.executions(job, limit=query.limit, token=_port_token(call, query, name))
    return _executions(call, page, name, types={job: record.type})


@routes.get("/jobs/{job}/executions/{thing}", Permission.OWN, "One camera's execution of a job")
def get_execution(call: Call, job: JobId, thing: ThingName) -> Execution:
    """Its last one."""
    return _execution(call.home.jobs.execution(job, thing), call.home.job_records.get(job).type)


@routes.post("/jobs/{job}/executions/{thing}/cancel", Permission.OWN, "Cancel a job for one camera")
def cancel_execution(call: Call, job: JobId, thing: ThingName) -> Execution:
    """409 where it is over."""
    call.home.jobs.cancel_execution(job, thing)
    return get_execution(call, job, thing)


@routes.delete(
    "/jobs/{job}/executions/{thing}/number/{number}", Permission.OWN, "Cancel and forget one camera's execution"
)
def delete_execution(call: Call, job: JobId, thing: ThingName, *, number: ExecutionNumber) -> None:
    """Its other tries stay."""
    call.home.jobs.delete_execution(job, thing, int(number))


@routes.get("/cameras/{thing}/jobs", Permission.OWN, "A camera's executions, the newest first")
def list_camera_jobs(call: Call, thing: ThingName, query: ListQuery) -> Items[Execution]:
    """Of all jobs."""
    name = f"jobs of {thing}"
    page = call.home.jobs.executions_of(thing, limit=query.limit, token=_port_token(call, query, name))
    records = call.home.job_records.get_many([each.id for each in page.executions])
    return _executions(call, page, name, types={job: record.type for job, record in records.items()})


def _order(call: Call, job: AnyJob, things: list[ThingName], *, retry_of: JobId | None) -> Job:
    home, now_ms = call.home, int(call.now_s * 1000)
    job_id = home.job_records.new_id(now_ms)
    order = order_of(job, job_id, things, releases=home.releases.known())
    fields = {name: value for name, value in asdict(job).items() if name != "parameters"}
    record = JobRecord(
        id=job_id,
        type=type_of(job),
        created_at=now_ms,
        created_by=call.person.person.id,
        parameters=msgspec.to_builtins(job.parameters, enc_hook=plain),
        retry_of=retry_of,
        **fields,
    )
    # First the record: a job that nobody could see, let alone cancel, must not run.
    home.job_records.add(record)
    try:
        home.jobs.create(order)
    except PinTheSkyError:
        home.job_records.remove(job_id)
        raise
    return _current(call, record)


def _targets(call: Call, job: AnyJob) -> list[ThingName]:
    """The cameras of an order. Raises InvalidInput: none, too many, or such as are not there."""
    home = call.home
    for start in range(0, len(job.cameras), LIMIT_MAX):
        named = job.cameras[start : start + LIMIT_MAX]
        found = {camera.thing_name for camera in home.cameras.get_many(named)}
        if missing := [thing for thing in named if thing not in found]:
            raise InvalidInput("cameras", f"there is no camera {missing[0]}")
    groups = {group.name for group in home.groups.get_many(job.groups)}
    if lost := [name for name in job.groups if name not in groups]:
        raise InvalidInput("groups", f"there is no group {lost[0]}")
    things = list(dict.fromkeys([*job.cameras, *home.groups.all_cameras_of(job.groups)]))
    if not 1 <= len(things) <= CAMERAS_MAX:
        raise InvalidInput("cameras", f"must be 1 to {CAMERAS_MAX}, with those of the groups; got {len(things)}")
    return things


def _failed(call: Call, job: JobId) -> list[ThingName]:
    found: list[ThingName] = []
    token = None
    while True:
        page = call.home.jobs.executions(job, limit=LIMIT_MAX, token=token)
        found += [each.thing for each in page.executions if each.status in FAILURES]
        token = page.token
        if token is None:
            return found


def _current(call: Call, job: JobRecord) -> Job:
    """A job as it stands now; what is learned of its end is kept."""
    try:
        summary = call.home.jobs.summary(job.id)
    except NotFound:
        # It was deleted there, or it ended long ago; either way nothing of it will happen any more.
        return _view(replace(job, state=CANCELED if job.state == IN_PROGRESS else job.state), None)
    if summary.state != job.state:
        job = call.home.job_records.change(job.id, lambda before: replace(before, state=summary.state))
    return _view(job, summary)


def _view(job: JobRecord, summary: JobSummary | None) -> Job:
    counts = None if summary is None else {status: count for status, count in summary.counts.items() if count}
    return Job(**asdict(job), counts=counts)


def _job_type(name: str) -> JobType:
    kind = JOB_TYPES[name]
    (parameters,) = (each.type for each in msgspec.structs.fields(kind) if each.name == "parameters")
    _, components = msgspec.json.schema_components([parameters])
    return JobType(type=name, summary=kind.__doc__ or "", parameters=components[parameters.__name__] | {"$id": name})


def _port_token(call: Call, query: ListQuery, name: str) -> str | None:
    """The job service's own token, which was sealed for this list."""
    position = call.home.page_tokens.open(query.next_token, name)
    return None if position is None else position.key.sort


def _executions(call: Call, page: JobExecutionPage, name: str, *, types: Mapping[JobId, str]) -> Items[Execution]:
    following = None if page.token is None else Position(Key(name, page.token))
    items = [_execution(each, types.get(each.id)) for each in page.executions]
    return Items(items=items, next_token=call.home.page_tokens.seal(following, name))


def _execution(execution: JobExecution, kind: str | None) -> Execution:
    started = execution.started_at_s
    return Execution(
        job_id=execution.id,
        thing_name=execution.thing,
        number=execution.number,
        status=execution.status,
        details=execution.details,
        queued_at=int(execution.queued_at_s * 1000),
        started_at=None if started is None else int(started * 1000),
        updated_at=int(execution.updated_at_s * 1000),
        type=kind,
    )
