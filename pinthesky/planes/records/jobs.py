"""Jobs as they were ordered: of which kind, for which cameras, by whom. How they go is known to the job service."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId
from pinthesky.model.people import PersonId
from pinthesky.planes.records import rows
from pinthesky.planes.table import Delete, Key, Position, Record, Table

PARTITION = "job"
KEPT_S = 365 * 24 * 3600
PERCENT_MAX = 100
EXECUTED_MAX = 1000
RATE_MAX = 1000
TIMEOUT_MAX_MINUTES = 7 * 24 * 60
RETRIES_MAX = 10

IN_PROGRESS, COMPLETED, CANCELED = "IN_PROGRESS", "COMPLETED", "CANCELED"


class Rollout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How fast cameras are asked."""

    maximum_per_minute: Annotated[int, Meta(ge=1, le=RATE_MAX, description="Most cameras asked in a minute.")]


class Abort(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """When a job is cancelled for the cameras that have not begun."""

    threshold_percent: Annotated[
        float, Meta(gt=0, le=PERCENT_MAX, description="So many percent of those that ended have failed.")
    ]
    minimum_executed: Annotated[
        int, Meta(ge=1, le=EXECUTED_MAX, description="How many have to have ended before that is looked at.")
    ] = 1


class JobRecord(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A job that was ordered. Times are epoch milliseconds."""

    id: JobId
    type: str
    created_at: int
    created_by: PersonId
    cameras: list[ThingName]
    groups: list[str] = []
    parameters: dict[str, Any] = {}
    description: str = ""
    rollout: Rollout | None = None
    abort: Abort | None = None
    timeout_in_minutes: int | None = None
    retries: int = 0
    retry_of: JobId | None = None
    state: str = IN_PROGRESS
    """As it was last heard of; it does not change any more when it is over."""


class JobRecords:
    """The repository of the orders."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @staticmethod
    def new_id(now_ms: int) -> JobId:
        """A fresh id; ids are in the order of time."""
        return JobId(f"{now_ms:013d}-{secrets.token_hex(6)}")

    def add(self, job: JobRecord) -> None:
        """Raises Conflict when it is there already."""
        rows.create(self._table, _record(job), exists=f"there is a job {job.id} already")

    def get(self, job: JobId) -> JobRecord:
        """Raises NotFound."""
        return rows.get(self._table, _key(job), JobRecord, missing=_missing(job))

    def get_many(self, jobs: list[JobId]) -> dict[JobId, JobRecord]:
        """Those of up to 100 that are there."""
        found = self._table.get_many([_key(job) for job in dict.fromkeys(jobs)])
        return {JobId(key.sort): rows.decode(record, JobRecord) for key, record in found.items()}

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[JobRecord]:
        """Jobs, the newest first."""
        page = self._table.query(PARTITION, ascending=False, limit=limit, after=after)
        return rows.decode_page(page, JobRecord)

    def change(self, job: JobId, to: Callable[[JobRecord], JobRecord]) -> JobRecord:
        """Replace an order by `to(order)`. Raises NotFound."""
        return rows.change(self._table, _key(job), JobRecord, to_record=_record, to=to, missing=_missing(job))

    def remove(self, job: JobId) -> None:
        """One that is not there is no error."""
        self._table.write(Delete(_key(job)))


def _missing(job: JobId) -> str:
    return f"there is no job {job}"


def _key(job: JobId) -> Key:
    return Key(PARTITION, str(job))


def _record(job: JobRecord) -> Record:
    return Record(_key(job.id), rows.encode(job), expires_at_s=job.created_at // 1000 + KEPT_S)
