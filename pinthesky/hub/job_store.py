"""The tables of jobs: rows in and out, no rules. Every query here is answered by an index.

`position` is the order of making: the order in which a thing's executions are queued, and the key that pages go by.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from pinthesky.hub import shadow_document
from pinthesky.hub.job_rules import Execution, JobSettings, JobState
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus

SCHEMA = [
    """
    CREATE TABLE jobs (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL UNIQUE,
        document TEXT NOT NULL,
        description TEXT,
        settings TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at_s INTEGER NOT NULL,
        updated_at_s INTEGER NOT NULL,
        completed_at_s INTEGER,
        reason TEXT,
        comment TEXT,
        rollout_at_s INTEGER
    ) STRICT
    """,
    "CREATE INDEX jobs_by_state ON jobs (state, position)",
    "CREATE INDEX jobs_to_roll_out ON jobs (rollout_at_s) WHERE rollout_at_s IS NOT NULL",
    "CREATE INDEX jobs_by_end ON jobs (completed_at_s) WHERE completed_at_s IS NOT NULL",
    """
    CREATE TABLE job_targets (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        thing TEXT NOT NULL,
        UNIQUE (job_id, thing)
    ) STRICT
    """,
    "CREATE INDEX job_targets_in_order ON job_targets (job_id, position)",
    "CREATE INDEX job_targets_by_thing ON job_targets (thing)",
    """
    CREATE TABLE job_executions (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        thing TEXT NOT NULL,
        number INTEGER NOT NULL,
        status TEXT NOT NULL,
        version INTEGER NOT NULL,
        queued_at_s INTEGER NOT NULL,
        started_at_s INTEGER,
        updated_at_s INTEGER NOT NULL,
        details TEXT NOT NULL,
        deadline_s INTEGER,
        step_deadline_s INTEGER,
        due_s INTEGER,
        retried INTEGER NOT NULL DEFAULT 0,
        UNIQUE (job_id, thing, number)
    ) STRICT
    """,
    "CREATE INDEX job_executions_in_order ON job_executions (job_id, position)",
    "CREATE INDEX job_executions_by_status ON job_executions (job_id, status, position) WHERE NOT retried",
    "CREATE INDEX job_executions_by_thing ON job_executions (thing, position)",
    """
    CREATE INDEX job_executions_pending ON job_executions (thing, status, position)
    WHERE status IN ('QUEUED', 'IN_PROGRESS')
    """,
    "CREATE INDEX job_executions_due ON job_executions (due_s) WHERE due_s IS NOT NULL",
]
_PENDING = "status IN ('QUEUED', 'IN_PROGRESS')"


@dataclass(frozen=True)
class Job:
    """A job as it is kept. `rollout_at_s` is when its next executions start, None where no target waits."""

    job_id: JobId
    document: str
    description: str | None
    settings: JobSettings
    state: JobState
    created_at_s: int
    updated_at_s: int
    completed_at_s: int | None = None
    reason: str | None = None
    comment: str | None = None
    rollout_at_s: int | None = None


def insert_job(c: sqlite3.Connection, job: Job, targets: Iterable[ThingName]) -> None:
    """Keep a new job and the things that wait for it. A job of that id is a violated constraint."""
    c.execute(
        """INSERT INTO jobs (job_id, document, description, settings, state, created_at_s, updated_at_s, rollout_at_s)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            job.job_id,
            job.document,
            job.description,
            msgspec.json.encode(job.settings).decode(),
            job.state.value,
            job.created_at_s,
            job.updated_at_s,
            job.rollout_at_s,
        ),
    )
    c.executemany("INSERT INTO job_targets (job_id, thing) VALUES (?, ?)", [(job.job_id, thing) for thing in targets])


def update_job(c: sqlite3.Connection, job: Job) -> None:
    """Keep what may change of a job."""
    c.execute(
        """UPDATE jobs SET state = ?, updated_at_s = ?, completed_at_s = ?, reason = ?, comment = ?, rollout_at_s = ?
           WHERE job_id = ?""",
        (
            job.state.value,
            job.updated_at_s,
            job.completed_at_s,
            job.reason,
            job.comment,
            job.rollout_at_s,
            job.job_id,
        ),
    )


def load_job(c: sqlite3.Connection, job_id: JobId) -> Job | None:
    """A job by its id."""
    row = c.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    return None if row is None else _job(row)


def page_of_jobs(c: sqlite3.Connection, state: JobState | None, *, before: int, limit: int) -> list[tuple[int, Job]]:
    """The newest jobs made before a position, with theirs."""
    if state is None:
        rows = c.execute("SELECT * FROM jobs WHERE position < ? ORDER BY position DESC LIMIT ?", (before, limit))
    else:
        rows = c.execute(
            "SELECT * FROM jobs WHERE state = ? AND position < ? ORDER BY position DESC LIMIT ?",
            (state.value, before, limit),
        )
    return [(row["position"], _job(row)) for row in rows]


def delete_job(c: sqlite3.Connection, job_id: JobId) -> None:
    """Remove a job with its targets and executions."""
    c.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))


def jobs_to_roll_out(c: sqlite3.Connection, now_s: int) -> list[Job]:
    """The jobs whose next executions are to start now."""
    rows = c.execute("SELECT * FROM jobs WHERE rollout_at_s <= ? ORDER BY rollout_at_s LIMIT 100", (now_s,))
    return [_job(row) for row in rows]


def jobs_ended_before(c: sqlite3.Connection, time_s: int) -> list[Job]:
    """The jobs that ended longest ago, before a time; a few of them."""
    rows = c.execute("SELECT * FROM jobs WHERE completed_at_s <= ? ORDER BY completed_at_s LIMIT 10", (time_s,))
    return [_job(row) for row in rows]


def waiting_targets(c: sqlite3.Connection, job_id: JobId, limit: int) -> list[ThingName]:
    """The things that wait for their execution, in order."""
    rows = c.execute("SELECT thing FROM job_targets WHERE job_id = ? ORDER BY position LIMIT ?", (job_id, limit))
    return [ThingName(row["thing"]) for row in rows]


def remove_targets(c: sqlite3.Connection, job_id: JobId, things: Iterable[ThingName]) -> None:
    """They wait no longer."""
    c.executemany("DELETE FROM job_targets WHERE job_id = ? AND thing = ?", [(job_id, thing) for thing in things])


def remove_all_targets(c: sqlite3.Connection, job_id: JobId) -> None:
    """No thing waits any longer."""
    c.execute("DELETE FROM job_targets WHERE job_id = ?", (job_id,))


def jobs_awaited_by(c: sqlite3.Connection, thing: ThingName) -> list[JobId]:
    """The jobs for which a thing waits."""
    rows = c.execute("SELECT job_id FROM job_targets WHERE thing = ?", (thing,))
    return [JobId(row["job_id"]) for row in rows]


def insert_execution(c: sqlite3.Connection, execution: Execution) -> None:
    """Queue an execution behind all others."""
    c.execute(
        """INSERT INTO job_executions (job_id, thing, number, status, version, queued_at_s, updated_at_s, details)
           VALUES (?, ?, ?, ?, ?, ?, ?, '{}')""",
        (
            execution.job_id,
            execution.thing,
            execution.number,
            execution.status.value,
            execution.version,
            execution.queued_at_s,
            execution.updated_at_s,
        ),
    )


def update_execution(c: sqlite3.Connection, execution: Execution) -> None:
    """Keep what may change of an execution."""
    c.execute(
        """UPDATE job_executions SET status = ?, version = ?, started_at_s = ?, updated_at_s = ?, details = ?,
           deadline_s = ?, step_deadline_s = ?, due_s = ? WHERE job_id = ? AND thing = ? AND number = ?""",
        (
            execution.status.value,
            execution.version,
            execution.started_at_s,
            execution.updated_at_s,
            shadow_document.encode(execution.details).decode(),
            execution.deadline_s,
            execution.step_deadline_s,
            execution.due_s,
            execution.job_id,
            execution.thing,
            execution.number,
        ),
    )


def mark_retried(c: sqlite3.Connection, execution: Execution) -> None:
    """Another execution takes the place of this one."""
    c.execute(
        "UPDATE job_executions SET retried = 1 WHERE job_id = ? AND thing = ? AND number = ?",
        (execution.job_id, execution.thing, execution.number),
    )


def delete_execution(c: sqlite3.Connection, execution: Execution) -> None:
    """Forget an execution."""
    c.execute(
        "DELETE FROM job_executions WHERE job_id = ? AND thing = ? AND number = ?",
        (execution.job_id, execution.thing, execution.number),
    )


def load_execution(
    c: sqlite3.Connection, job_id: JobId, thing: ThingName, *, number: int | None = None
) -> Execution | None:
    """An execution by its number, else the last one."""
    row = c.execute(
        """SELECT * FROM job_executions WHERE job_id = ? AND thing = ? AND number = COALESCE(?, number)
           ORDER BY number DESC LIMIT 1""",
        (job_id, thing, number),
    ).fetchone()
    return None if row is None else _execution(row)


def history(c: sqlite3.Connection, job_id: JobId, thing: ThingName) -> list[JobStatus]:
    """How a thing's executions of a job stand, in the order of their numbers."""
    rows = c.execute(
        "SELECT status FROM job_executions WHERE job_id = ? AND thing = ? ORDER BY number", (job_id, thing)
    )
    return [JobStatus(row["status"]) for row in rows]


def pending(c: sqlite3.Connection, thing: ThingName, limit: int) -> list[Execution]:
    """What a thing has to do: what is in progress first, then what is queued, each in order."""
    rows = c.execute(
        f"SELECT * FROM job_executions WHERE thing = ? AND {_PENDING} ORDER BY status, position LIMIT ?",  # noqa: S608 - a constant of ours
        (thing, limit),
    )
    return [_execution(row) for row in rows]


def count_pending(c: sqlite3.Connection, thing: ThingName) -> int:
    """How many executions a thing has to do."""
    query = f"SELECT COUNT(*) FROM job_executions WHERE thing = ? AND {_PENDING}"  # noqa: S608 - a constant of ours
    return int(c.execute(query, (thing,)).fetchone()[0])


def pending_of_job(c: sqlite3.Connection, job_id: JobId) -> list[Execution]:
    """The executions of a job that are not over."""
    rows = c.execute(
        f"SELECT * FROM job_executions WHERE job_id = ? AND {_PENDING} AND NOT retried ORDER BY position",  # noqa: S608 - a constant of ours
        (job_id,),
    )
    return [_execution(row) for row in rows]


def due(c: sqlite3.Connection, now_s: int) -> list[Execution]:
    """The executions whose time is over, a bounded number at a time."""
    rows = c.execute("SELECT * FROM job_executions WHERE due_s <= ? ORDER BY due_s LIMIT 100", (now_s,))
    return [_execution(row) for row in rows]


def counts(c: sqlite3.Connection, job_id: JobId) -> dict[JobStatus, int]:
    """How many things of a job stand how, each by its last execution."""
    rows = c.execute(
        "SELECT status, COUNT(*) AS things FROM job_executions WHERE job_id = ? AND NOT retried GROUP BY status",
        (job_id,),
    )
    return {JobStatus(row["status"]): row["things"] for row in rows}


def count_waiting(c: sqlite3.Connection, job_id: JobId) -> int:
    """How many things wait for their execution."""
    return int(c.execute("SELECT COUNT(*) FROM job_targets WHERE job_id = ?", (job_id,)).fetchone()[0])


def page_of_executions(
    c: sqlite3.Connection, job_id: JobId, status: JobStatus | None, *, after: int, limit: int
) -> list[tuple[int, Execution]]:
    """A job's executions, each thing's last one, after a position."""
    if status is None:
        rows = c.execute(
            """SELECT * FROM job_executions WHERE job_id = ? AND position > ? AND NOT retried
               ORDER BY position LIMIT ?""",
            (job_id, after, limit),
        )
    else:
        rows = c.execute(
            """SELECT * FROM job_executions WHERE job_id = ? AND status = ? AND position > ? AND NOT retried
               ORDER BY position LIMIT ?""",
            (job_id, status.value, after, limit),
        )
    return [(row["position"], _execution(row)) for row in rows]


def page_of_things_executions(
    c: sqlite3.Connection, thing: ThingName, *, before: int, limit: int
) -> list[tuple[int, Execution]]:
    """A thing's executions of all jobs, the newest first, before a position."""
    rows = c.execute(
        "SELECT * FROM job_executions WHERE thing = ? AND position < ? ORDER BY position DESC LIMIT ?",
        (thing, before, limit),
    )
    return [(row["position"], _execution(row)) for row in rows]


def _job(row: sqlite3.Row) -> Job:
    columns: dict[str, Any] = {name: row[name] for name in row.keys() if name != "position"}  # noqa: SIM118 - a Row iterates over values
    columns["job_id"] = JobId(columns["job_id"])
    columns["state"] = JobState(columns["state"])
    columns["settings"] = msgspec.json.decode(columns["settings"], type=JobSettings)
    return Job(**columns)


def _execution(row: sqlite3.Row) -> Execution:
    return Execution(
        job_id=JobId(row["job_id"]),
        thing=ThingName(row["thing"]),
        number=row["number"],
        status=JobStatus(row["status"]),
        version=row["version"],
        queued_at_s=row["queued_at_s"],
        updated_at_s=row["updated_at_s"],
        started_at_s=row["started_at_s"],
        details=json.loads(row["details"]),
        deadline_s=row["deadline_s"],
        step_deadline_s=row["step_deadline_s"],
    )
