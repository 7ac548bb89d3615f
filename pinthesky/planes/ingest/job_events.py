"""Jobs that go on at a camera, or fail there."""

from __future__ import annotations

import hashlib

from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes import alerts
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import camera_news
from pinthesky.planes.pushes import post
from pinthesky.planes.records import rows
from pinthesky.planes.records.pushes import Push
from pinthesky.planes.table import Key, Record

FAILED = frozenset({JobStatus.FAILED, JobStatus.TIMED_OUT, JobStatus.REJECTED})
REASON_MAX = 300
_HEARD_S = 7 * 86_400


def progressed(
    home: Home,
    thing: ThingName,
    job: JobId,
    *,
    number: int,
    status: JobStatus,
    at_s: float,
    now_s: float,
    reason: str = "",
) -> None:
    """Take that a camera's execution of a job has another status. Raises Unavailable, to be told again."""
    at_ms = camera_news.time_of(at_s, now_s)
    news = home.pushes.prepare(
        Push(
            type="job_progress",
            camera=thing,
            time=at_ms,
            job=job,
            status=status.value,
            reason=reason[:REASON_MAX] or None,
        ),
        now_s,
    )
    said = hashlib.sha256(f"{number} {status.value} {reason}".encode()).hexdigest()[:32]
    heard = Key(f"job-heard#{job}", f"{thing}#{said}")
    record = Record(heard, b"{}", expires_at_s=int(now_s) + _HEARD_S)
    if not rows.create_if_absent(home.table, record, news.change):
        return
    post(home, news)
    if status in FAILED:
        occasion = alerts.Occasion(
            alert_type="job_failed",
            thing=thing,
            at_s=at_ms / 1000,
            title="A job has failed on {camera}",
            text=f"{job}: {status.value} {reason[:REASON_MAX]}".rstrip(),
            link=f"/jobs/{job}",
        )
        alerts.tell(home, occasion, now_s)
