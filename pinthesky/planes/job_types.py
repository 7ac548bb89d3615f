"""The kinds of jobs that can be ordered, and the documents (schema 1.0) that the device's handlers understand.

What a handler takes stands in `docs/reference/admin.md`; how a document is read, in `pinthesky.model.jobs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.model.jobs import JobId, parse_document
from pinthesky.planes.ports import JobOrder, Release
from pinthesky.planes.records.jobs import RETRIES_MAX, TIMEOUT_MAX_MINUTES, Abort, Rollout

CAMERAS_MAX = 1000
GROUPS_MAX = 50
STEP_TIMEOUT_S = 3600
TIMEOUT_MINUTES = 60
UPDATE_TIMEOUT_MINUTES = 120
"""A first Zero takes the most of an hour for it, and may have to go back."""
ONE_BY_ONE = Rollout(maximum_per_minute=1)
"""Of what may leave a camera useless: when one does not come back, others have not begun."""
NOT_ALL_AT_ONCE = Rollout(maximum_per_minute=10)
"""Of what stops a camera for a while."""
HALF_FAILED = Abort(threshold_percent=50, minimum_executed=2)
HEALTH_TIMEOUT_S = 300

Service = Literal["pinthesky", "pits-device-client"]
Journal = Literal["pinthesky", "pits-device-client", "pinthesky-admin", "pinthesky-upgrade"]
Timeout = Annotated[
    int, Meta(ge=1, le=TIMEOUT_MAX_MINUTES, description="Of one camera's execution, from its beginning.")
]
Description = Annotated[str, Meta(max_length=200)]


class NoParameters(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Nothing to be said."""


class UpdateParameters(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which version of the device software."""

    version: Annotated[str, Meta(min_length=1, max_length=64, description="One of `GET /versions`.")]
    allow_downgrade: Annotated[bool, Meta(description="Take an older version than the one that runs.")] = False


class LogsParameters(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Of which service."""

    service: Journal = "pinthesky"
    lines: Annotated[
        int, Meta(ge=1, le=1000, description="The last so many; what is longer than 1000 characters is cut.")
    ] = 20


class RestartParameters(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which services."""

    services: Annotated[list[Service], Meta(min_length=1, max_length=2)] = field(
        default_factory=lambda: ["pinthesky", "pits-device-client"]
    )


class _Order(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="type"):
    """What every order says. The cameras named and those that are now in the groups get the job.

    What is not said of rollout, abort and time-out is what suits the kind of job; null is for none.
    """

    cameras: Annotated[list[ThingName], Meta(max_length=CAMERAS_MAX)] = []
    groups: Annotated[list[GroupName], Meta(max_length=GROUPS_MAX)] = []
    description: Description = ""
    rollout: Rollout | None = None
    abort: Abort | None = None
    timeout_in_minutes: Timeout | None = TIMEOUT_MINUTES
    retries: Annotated[int, Meta(ge=0, le=RETRIES_MAX, description="Further tries of a camera that failed.")] = 0


class UpdateJob(_Order, kw_only=True, tag="update"):
    """Install a known release, and go back if it does not run."""

    parameters: UpdateParameters
    rollout: Rollout | None = ONE_BY_ONE
    abort: Abort | None = HALF_FAILED
    timeout_in_minutes: Timeout | None = UPDATE_TIMEOUT_MINUTES

    def steps(self, releases: Sequence[Release]) -> list[dict[str, Any]]:
        """Address and SHA-256 of the wheel are those of its manifest."""
        found = next((each for each in releases if each.version == self.parameters.version), None)
        if found is None:
            raise InvalidInput("parameters.version", "must be one of GET /versions")
        downgrade = ["--allow-downgrade"] if self.parameters.allow_downgrade else []
        install = _step(f"Install {found.version}", "upgrade-pinthesky", found.wheel_url, found.sha256, *downgrade)
        return [install, _step("Check that it runs", "health-check", timeout_s=HEALTH_TIMEOUT_S)]


class RebootJob(_Order, kw_only=True, tag="reboot"):
    """Start the machine anew."""

    parameters: NoParameters = field(default_factory=NoParameters)
    rollout: Rollout | None = NOT_ALL_AT_ONCE
    abort: Abort | None = HALF_FAILED

    def steps(self, _releases: Sequence[Release]) -> list[dict[str, Any]]:
        """One step."""
        return [_step("Reboot", "reboot")]


class ShutdownJob(_Order, kw_only=True, tag="shutdown"):
    """Switch the machine off. Somebody has to be there to switch it on again."""

    parameters: NoParameters = field(default_factory=NoParameters)

    def steps(self, _releases: Sequence[Release]) -> list[dict[str, Any]]:
        """One step."""
        return [_step("Shut down", "shutdown")]


class ServiceLogsJob(_Order, kw_only=True, tag="service-logs"):
    """The last lines that a service logged; they are in the execution's `details.stdout`."""

    parameters: LogsParameters = field(default_factory=LogsParameters)

    def steps(self, _releases: Sequence[Release]) -> list[dict[str, Any]]:
        """One step."""
        return [_step("Read the log", "read-service-logs", self.parameters.service, str(self.parameters.lines))]


class DoctorJob(_Order, kw_only=True, tag="doctor"):
    """Check the machine from end to end; what is not well is in the execution's `details.stdout`."""

    parameters: NoParameters = field(default_factory=NoParameters)

    def steps(self, _releases: Sequence[Release]) -> list[dict[str, Any]]:
        """One step."""
        return [_step("Check the camera", "doctor")]


class RotateCertificateJob(_Order, kw_only=True, tag="rotate-certificate"):
    """Have the machine make a new key, and get a certificate for it."""

    parameters: NoParameters = field(default_factory=NoParameters)
    rollout: Rollout | None = ONE_BY_ONE
    abort: Abort | None = HALF_FAILED

    def steps(self, _releases: Sequence[Release]) -> list[dict[str, Any]]:
        """One step."""
        return [_step("Rotate the certificate", "rotate-certificate")]


class RestartJob(_Order, kw_only=True, tag="restart"):
    """Stop and start services."""

    parameters: RestartParameters = field(default_factory=RestartParameters)
    rollout: Rollout | None = NOT_ALL_AT_ONCE
    abort: Abort | None = HALF_FAILED

    def steps(self, _releases: Sequence[Release]) -> list[dict[str, Any]]:
        """They are started again, and then looked at."""
        services = list(dict.fromkeys(self.parameters.services))
        check = _step("Check that they run", "health-check", *services, timeout_s=HEALTH_TIMEOUT_S)
        return [_step("Restart", "restart-services", *services), check]


AnyJob = UpdateJob | RebootJob | ShutdownJob | ServiceLogsJob | DoctorJob | RotateCertificateJob | RestartJob
JOB_TYPES: Mapping[str, type[AnyJob]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (UpdateJob, RebootJob, ShutdownJob, ServiceLogsJob, DoctorJob, RotateCertificateJob, RestartJob)
}


def type_of(job: AnyJob) -> str:
    """What kind of job it is, as it is written."""
    return str(job.__struct_config__.tag)


def order_of(job: AnyJob, job_id: JobId, things: Sequence[ThingName], *, releases: Sequence[Release]) -> JobOrder:
    """The order for the job service. Raises InvalidInput for parameters that fit nothing here."""
    *steps, last = job.steps(releases)
    document: dict[str, Any] = {"version": "1.0", "includeStdOut": True, "steps": [*steps, last]}
    if steps:
        document |= {"steps": steps, "finalStep": last}
    parse_document(document)
    return JobOrder(
        id=job_id,
        document=document,
        things=things,
        description=job.description,
        maximum_per_minute=None if job.rollout is None else job.rollout.maximum_per_minute,
        timeout_minutes=job.timeout_in_minutes,
        abort_percent=None if job.abort is None else job.abort.threshold_percent,
        abort_after=1 if job.abort is None else job.abort.minimum_executed,
        retries=job.retries,
    )


def _step(name: str, handler: str, *arguments: str, timeout_s: int = STEP_TIMEOUT_S) -> dict[str, Any]:
    return {
        "action": {
            "name": name,
            "type": "runHandler",
            "input": {"handler": handler, "args": list(arguments), "path": "default"},
            "timeoutSeconds": timeout_s,
        }
    }
