"""What has to survive the end of the process: how far a job has come, and what is still to be told about one."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
from msgspec import Struct

from pinthesky.errors import Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.jobs import JobId, JobStatus

logger = logging.getLogger(__name__)

MEMORY_MAX = 65_536
GIVEN_UP_MAX = 16
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Progress(Struct, kw_only=True, frozen=True):
    """One execution on its way."""

    job_id: str
    execution_number: int
    step: int = 0
    """The step that runs or comes next; those before it are done and never run again."""
    starts: int = 0
    """How often that step was started and not ended in order by the device client."""
    running: bool = False
    """Whether it was started and its end is not known yet."""
    boot_id: str = ""
    """The boot in which `starts` or `rebooting` was written."""
    rebooting: bool = False
    """The step before `step` asked for a reboot that has to come first."""
    ends_at_s: int | None = None
    """When the execution times out, by the service's clock (epoch seconds)."""
    stdout: str = ""
    stderr: str = ""
    """The ends of what all steps wrote so far."""
    ignored: tuple[str, ...] = ()
    """Failures that the document ignores."""


class Report(Struct, kw_only=True, frozen=True):
    """The last word about an execution."""

    job_id: str
    execution_number: int
    status: JobStatus
    details: dict[str, str] = {}
    version: int | None = None
    """`versionNumber` that the service is expected to have."""

    def is_about(self, job_id: str, execution_number: int) -> bool:
        """Whether this is the execution meant."""
        return (self.job_id, self.execution_number) == (job_id, execution_number)


class _Memory(Struct, kw_only=True, frozen=True):
    progress: Progress | None = None
    report: Report | None = None
    given_up: tuple[Report, ...] = ()


class JobMemory:
    """`jobs.json` in the state folder. Replaced as a whole, so a power cut leaves the old content or the new."""

    def __init__(self, folder: Path) -> None:
        """Read it. What cannot be read is as if it were not there: the job is begun anew, as the C++ client does."""
        self._path = folder / "jobs.json"
        self._memory = _read(self._path)

    @property
    def report(self) -> Report | None:
        """What the service has not acknowledged yet."""
        return self._memory.report

    def progress_of(self, job_id: str, execution_number: int) -> Progress | None:
        """How far this execution has come, if it has begun here."""
        known = self._memory.progress
        if known is not None and (known.job_id, known.execution_number) == (job_id, execution_number):
            return known
        return None

    def given_up(self, job_id: str, execution_number: int) -> Report | None:
        """The last word about an execution of which the service did not want to hear, without its details."""
        return next((report for report in self._memory.given_up if report.is_about(job_id, execution_number)), None)

    def keep_progress(self, progress: Progress) -> None:
        """Remember it. Raises Unavailable where the disk refuses; then nothing has changed."""
        self._write(msgspec.structs.replace(self._memory, progress=progress))

    def keep_report(self, report: Report) -> None:
        """Remember the last word in place of the progress. A disk that refuses is logged: then it lives in memory."""
        self._keep(_Memory(report=report, given_up=self._memory.given_up))

    def forget(self) -> None:
        """Neither progress nor report matters any more."""
        if self._memory.progress is not None or self._memory.report is not None:
            self._keep(_Memory(given_up=self._memory.given_up))

    def give_up(self, report: Report) -> None:
        """The service refuses to hear the report; the execution is never carried out again all the same."""
        others = [past for past in self._memory.given_up if not past.is_about(report.job_id, report.execution_number)]
        short = msgspec.structs.replace(report, details={}, version=None)
        self._keep(_Memory(given_up=(*others, short)[-GIVEN_UP_MAX:]))

    def _keep(self, memory: _Memory) -> None:
        try:
            self._write(memory)
        except Unavailable as error:
            logger.error("Jobs: %s; after a restart a job may be told about or run again", error)
            self._memory = memory

    def _write(self, memory: _Memory) -> None:
        try:
            durable_files.make_folder(self._path.parent)
            durable_files.replace_file(self._path, msgspec.json.encode(memory))
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot write {self._path}", error) from error
        self._memory = memory


def read_boot_id() -> str:
    """The kernel's name for this boot; empty where it has none, which makes every boot the same."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _read(path: Path) -> _Memory:
    try:
        with path.open("rb") as file:
            data = file.read(MEMORY_MAX + 1)
    except FileNotFoundError:
        return _Memory()
    except OSError as error:
        logger.error("Jobs: cannot read %s (%s); a job on its way begins anew", path, error.strerror)
        return _Memory()
    try:
        if len(data) > MEMORY_MAX:
            raise msgspec.ValidationError(f"it is longer than {MEMORY_MAX} bytes")
        memory = msgspec.json.decode(data, type=_Memory)
        for kept in (memory.progress, memory.report, *memory.given_up):
            if kept is not None:
                JobId.parse(kept.job_id)
        return memory
    except (msgspec.MsgspecError, ValueError) as error:
        logger.error("Jobs: %s is not what was written there (%s); a job on its way begins anew", path, error)
        return _Memory()
