"""One execution of a job, from its document to its last word: its processes, heartbeat, cancellation and time-out."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.link.job_conditions import facts_of_this_machine, unmet
from pinthesky.link.job_handlers import JobsSettings, check_allowed, command_line, environment
from pinthesky.link.job_memory import JobMemory, Progress, Report
from pinthesky.link.job_process import Ended, JobProcess
from pinthesky.link.job_steps import AwaitReboot, Finish, RunStep, StepMachine
from pinthesky.link.job_topics import Answer, Connected, Execution, JobTopics, NextChanged, Question
from pinthesky.model.jobs import JobDocument, JobStatus, parse_document, status_detail

logger = logging.getLogger(__name__)

_ROOT = Path("/")
_GONE = ("InvalidStateTransition", "TerminalStateReached", "ResourceNotFound")
"""Codes that say that the execution is over for the service."""


class Stopping(Protocol):
    """Whether the device client ends, and how long what runs may take to end."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...

    def grace_s(self) -> float:
        """Time between SIGTERM and SIGKILL, now."""
        ...


def is_over(answer: Answer) -> bool:
    """Whether a refusal says that the execution has ended for the service, by whatever way."""
    if answer.state is not None and answer.state.status is not None:
        return answer.state.status.is_terminal
    return answer.code in _GONE


class JobRun:
    """Carries one execution out, in the thread that calls `run`."""

    def __init__(
        self,
        execution: Execution,
        *,
        answered_at_s: int | None,
        thing_name: str,
        topics: JobTopics,
        memory: JobMemory,
        settings: JobsSettings,
        stopping: Stopping,
        boot_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answered_at_s` is the service's clock when it handed out `execution`, where it said so."""
        self._execution = execution
        self._thing_name = thing_name
        self._topics = topics
        self._memory = memory
        self._settings = settings
        self._stopping = stopping
        self._boot_id = boot_id
        self._clock = clock
        self._version = execution.version_number
        self._heartbeat: Question | None = None
        self._next_heartbeat_at = 0.0
        self._doing = ""
        self._cancelled: str | None = None
        known = memory.progress_of(execution.job_id, execution.execution_number)
        self._is_new = known is None
        self._progress = known or self._first_progress(answered_at_s)
        left_s = execution.approximate_seconds_before_timed_out if self._is_new else None
        if self._progress.ends_at_s is not None and answered_at_s is not None:
            left_s = self._progress.ends_at_s - answered_at_s
        self._ends_at = None if left_s is None else clock() + left_s

    def run(self) -> None:
        """Until the execution's report is in the memory, it was cancelled, or the device client stops."""
        job = self._execution.job_id
        try:
            document = parse_document(self._execution.job_document)
            check_allowed(document, self._settings)
            if self._is_new:
                reason = unmet(document.conditions, facts_of_this_machine(self._thing_name))
                if reason is not None:
                    self._conclude(JobStatus.REJECTED, {"reason": status_detail(reason)})
                    return
        except (InvalidInput, NotAuthorized) as error:
            self._conclude(JobStatus.REJECTED, {"reason": status_detail(str(error))})
            return
        logger.info("Job %s %s", job, "begins" if self._is_new else f"goes on at step {self._progress.step + 1}")
        try:
            self._carry_out(document)
        except Unavailable as error:
            self._conclude(JobStatus.FAILED, {"reason": status_detail(str(error))})
        if self._cancelled is not None:
            logger.warning("Job %s ends: %s", job, self._cancelled)
            self._memory.forget()

    def _first_progress(self, answered_at_s: int | None) -> Progress:
        left_s = self._execution.approximate_seconds_before_timed_out
        return Progress(
            job_id=str(self._execution.job_id),
            execution_number=self._execution.execution_number,
            ends_at_s=None if left_s is None or answered_at_s is None else answered_at_s + left_s,
        )

    def _carry_out(self, document: JobDocument) -> None:
        machine = StepMachine(document, self._progress, self._boot_id)
        while not self._has_to_end:
            decision = machine.next()
            succeeded = isinstance(decision, Finish) and decision.status is JobStatus.SUCCEEDED
            if self._is_late and not succeeded:
                self._conclude(JobStatus.FAILED, machine.details("the time-out of the job has passed"))
                return
            if isinstance(decision, Finish):
                self._conclude(decision.status, decision.details)
                return
            self._begin(f"{decision.label} {'waits for a reboot' if isinstance(decision, AwaitReboot) else 'runs'}")
            if isinstance(decision, AwaitReboot):
                self._await_reboot(machine)
            else:
                self._step(machine, decision)

    def _step(self, machine: StepMachine, step: RunStep) -> None:
        try:
            command = command_line(step.action, self._settings)
        except (InvalidInput, NotAuthorized, NotFound) as error:
            self._memory.keep_progress(machine.failed(f"cannot be started: {error}"))
            return
        self._memory.keep_progress(machine.begun())
        try:
            surroundings = environment(self._execution.job_id, self._execution.execution_number)
            process = JobProcess(command, environment=surroundings, folder=_ROOT)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._memory.keep_progress(machine.failed(f"cannot be started: {command[0]}: {reason}"))
            return
        timeout_s = step.action.timeout_seconds or self._settings.step_timeout_s
        with contextlib.closing(process):
            ended, was_ended = self._watch(process, timeout_s)
        if was_ended and self._cancelled is None and self._stopping.is_set():
            self._memory.keep_progress(machine.interrupted())
        elif self._cancelled is None:
            self._memory.keep_progress(machine.ended(ended, timeout_s if was_ended and not self._is_late else None))

    def _watch(self, process: JobProcess, timeout_s: float) -> tuple[Ended, bool]:
        """Wait for the process; returns also whether it was told to end."""
        deadline = self._clock() + timeout_s
        was_ended = False
        while True:
            until_heartbeat_s = self._attend()
            left_s = deadline - self._clock()
            if not was_ended and (self._has_to_end or left_s <= 0.0 or self._is_late):
                was_ended = True
                process.terminate(self._stopping.grace_s())
            wait_s = until_heartbeat_s if was_ended else min(until_heartbeat_s, max(0.0, left_s))
            ended = process.wait(self._until_late(wait_s), self._topics.wake_fd)
            if ended is not None:
                return ended, was_ended

    def _await_reboot(self, machine: StepMachine) -> None:
        deadline = self._clock() + self._settings.reboot_wait_s
        while not self._has_to_end and not self._is_late:
            wait_s = self._attend()
            left_s = deadline - self._clock()
            if left_s <= 0.0:
                machine.reboot_missed(self._settings.reboot_wait_s)
                return
            self._topics.wait(self._until_late(min(wait_s, left_s)))

    @property
    def _has_to_end(self) -> bool:
        return self._stopping.is_set() or self._cancelled is not None

    @property
    def _is_late(self) -> bool:
        return self._ends_at is not None and self._clock() >= self._ends_at

    def _until_late(self, wait_s: float) -> float:
        if self._ends_at is None or self._is_late:
            return wait_s
        return min(wait_s, self._ends_at - self._clock())

    def _begin(self, doing: str) -> None:
        """Tell the service what is being done now."""
        self._doing = doing
        self._next_heartbeat_at = 0.0

    def _attend(self) -> float:
        """Hear what has arrived, say that the job is alive; returns after how many seconds to call again."""
        for arrival in self._topics.take():
            if isinstance(arrival, Connected):
                self._ask_now()
            elif isinstance(arrival, NextChanged):
                if arrival.job_id != self._execution.job_id:
                    self._ask_now()  # it may be because ours was cancelled: the answer tells
            elif self._heartbeat is not None and arrival.token == self._heartbeat.token:
                self._heartbeat = None
                self._hear(arrival)
        if self._heartbeat is None and self._clock() >= self._next_heartbeat_at:
            self._next_heartbeat_at = self._clock() + self._settings.heartbeat_s
            self._heartbeat = self._topics.update(self._execution.job_id, self._alive())
        if self._heartbeat is not None:
            return self._topics.ask(self._heartbeat)
        return max(0.0, self._next_heartbeat_at - self._clock())

    def _ask_now(self) -> None:
        self._next_heartbeat_at = 0.0
        if self._heartbeat is not None:
            self._topics.hurry(self._heartbeat)

    def _alive(self) -> dict[str, object]:
        body: dict[str, object] = {
            "status": JobStatus.IN_PROGRESS.value,
            "statusDetails": {"reason": status_detail(self._doing)},
            "stepTimeoutInMinutes": self._settings.step_timer_minutes,
        }
        return body if self._version is None else {**body, "expectedVersion": self._version}

    def _hear(self, answer: Answer) -> None:
        """The answer to a heartbeat."""
        known = None if answer.state is None else answer.state.version_number
        if answer.accepted:
            self._version = known if known is not None or self._version is None else self._version + 1
        elif is_over(answer):
            status = None if answer.state is None else answer.state.status
            self._cancelled = f"the service says that it is {status.value if status is not None else 'not there'}"
        elif answer.code == "VersionMismatch":
            if self._version != known:
                self._next_heartbeat_at = 0.0
            self._version = known
        else:
            logger.warning("Job %s: the service refuses its heartbeat: %s", self._execution.job_id, answer.message)

    def _conclude(self, status: JobStatus, details: dict[str, str]) -> None:
        level = logging.INFO if status is JobStatus.SUCCEEDED else logging.WARNING
        logger.log(level, "Job %s %s: %s", self._execution.job_id, status.value, details.get("reason", ""))
        report = Report(
            job_id=str(self._execution.job_id),
            execution_number=self._execution.execution_number,
            status=status,
            details=details,
            version=self._version,
        )
        # A heartbeat without an answer may have changed the version already.
        self._memory.keep_report(report if self._heartbeat is None else replace(report, version=None))
