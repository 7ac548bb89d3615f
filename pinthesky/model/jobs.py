"""Jobs as AWS IoT keeps them: the statuses of one execution, and the documents that say what to do."""

from __future__ import annotations

import enum


class JobStatus(str, enum.Enum):
    """Status of one thing's execution of a job (AWS IoT Jobs, `JobExecution.status`)."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    REJECTED = "REJECTED"
    REMOVED = "REMOVED"
    CANCELED = "CANCELED"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows."""
        return self not in (JobStatus.QUEUED, JobStatus.IN_PROGRESS)
