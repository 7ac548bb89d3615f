"""Jobs: asks the service for work, carries it out one job at a time, and tells how it ended until that is heard.

What a job may be is in `pinthesky.model.jobs`; how one is carried out in `job_run`; what survives in `job_memory`.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from pinthesky.link.job_handlers import JobsSettings
from pinthesky.link.job_memory import JobMemory, Report, read_boot_id
from pinthesky.link.job_run import JobRun, is_over
from pinthesky.link.job_topics import Answer, Connected, Execution, JobTopics, Question
from pinthesky.link.ports import Mqtt
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobStatus, status_detail

__all__ = ["Jobs", "JobsSettings"]

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 3600.0
"""Without any sign the service is asked so often, in case one was lost."""
PAUSE_S = 60.0
"""After a refusal, or a defect of ours."""
_STOP_RESERVE_S = 1.0
"""Of the time to stop in, what is kept for everything but the handler's grace."""
_MISMATCHES_MAX = 3
"""After so many the last word is said without expecting a version."""
_PASSES = ("RequestThrottled", "InternalError")
"""Codes of refusals after which the same question may be answered."""


class _Stop:
    """That the thread has to end, and until when."""

    def __init__(self, grace_s: float) -> None:
        self._event = threading.Event()
        self._grace_s = grace_s
        self._by: float | None = None

    def set(self, timeout_s: float) -> None:
        self._by = time.monotonic() + timeout_s - _STOP_RESERVE_S
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def grace_s(self) -> float:
        return self._grace_s if self._by is None else max(0.0, min(self._grace_s, self._by - time.monotonic()))


class Jobs:
    """One thread, from `start` to `stop`, that looks for jobs at every connection and whenever the service says so."""

    def __init__(
        self,
        mqtt: Mqtt,
        *,
        thing_name: ThingName,
        settings: JobsSettings,
        state_dir: Path,
        boot_id: str | None = None,
    ) -> None:
        """`state_dir` is used by one client at a time. `boot_id` names this boot, as the kernel does by default."""
        self._thing_name = thing_name
        self._settings = settings
        self._boot_id = read_boot_id() if boot_id is None else boot_id
        self._memory = JobMemory(state_dir)
        self._topics = JobTopics(mqtt, thing_name, answer_timeout_s=settings.answer_timeout_s)
        self._stop = _Stop(settings.grace_s)
        self._look_at = float("inf")
        """When to ask the service again, in monotonic time; not before the first connection."""
        self._execution: Execution | None = None
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=False)

    def start(self) -> None:
        """Subscribe, and begin with the first connection."""
        self._topics.subscribe()
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread. False where that takes longer than `timeout_s`.

        A handler that runs gets SIGTERM and, within that time, its grace; its job stays IN_PROGRESS and goes on when
        the device client starts again.
        """
        self._stop.set(timeout_s)
        self._topics.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        self._topics.close()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception as error:
                logger.exception("Jobs: a defect; going on in %g s", PAUSE_S)
                self._look_at = time.monotonic() + PAUSE_S
                self._fail(error)

    def _turn(self) -> None:
        left_s = self._look_at - time.monotonic()
        if left_s > 0.0:
            self._topics.wait(min(left_s, LOOK_AGAIN_S))
            self._answer_in(None)
            return
        self._look_at = time.monotonic() + LOOK_AGAIN_S
        report = self._memory.report
        if report is not None:
            self._deliver(report)
        else:
            self._work()

    def _fail(self, error: Exception) -> None:
        """The execution that met a defect of ours has failed: it would meet it again."""
        if self._execution is not None:
            report = Report(
                job_id=str(self._execution.job_id),
                execution_number=self._execution.execution_number,
                status=JobStatus.FAILED,
                details={"reason": status_detail(f"the device client failed: {type(error).__name__}: {error}")},
            )
            self._execution = None
            self._memory.keep_report(report)

    def _work(self) -> None:
        """Ask for a job and carry it out, if there is one."""
        answer = self._ask(self._topics.start_next())
        if answer is None:
            return
        if not answer.accepted:
            logger.warning("Jobs: the service refuses to say what comes next: %s %s", answer.code, answer.message)
            self._look_at = time.monotonic() + PAUSE_S
        elif answer.execution is not None:
            self._look_at = 0.0
            self._carry_out(answer.execution, answer.at_s)

    def _carry_out(self, execution: Execution, answered_at_s: int | None) -> None:
        given_up = self._memory.given_up(execution.job_id, execution.execution_number)
        if given_up is not None:
            self._memory.keep_report(given_up)
            return
        self._execution = execution
        JobRun(
            execution,
            answered_at_s=answered_at_s,
            thing_name=self._thing_name,
            topics=self._topics,
            memory=self._memory,
            settings=self._settings,
            stopping=self._stop,
            boot_id=self._boot_id,
        ).run()
        self._execution = None

    def _deliver(self, report: Report) -> None:
        """Tell how an execution ended until the service has heard it, or can never hear it."""
        version, mismatches = report.version, 0
        bodies = _bodies(report)
        while bodies:
            body = bodies[0] if version is None else {**bodies[0], "expectedVersion": version}
            answer = self._ask(self._topics.update(report.job_id, body))
            if answer is None:
                return
            if answer.accepted or is_over(answer):
                self._heard(report, answer)
                return
            if answer.code in _PASSES:
                self._look_at = time.monotonic() + self._settings.answer_timeout_s
                return
            if answer.code == "VersionMismatch" and version is not None:
                mismatches += 1
                version = None
                if answer.state is not None and mismatches < _MISMATCHES_MAX:
                    version = answer.state.version_number
            else:
                logger.error("Job %s: the service refuses its end: %s %s", report.job_id, answer.code, answer.message)
                bodies.pop(0)
        self._memory.give_up(report)
        self._look_at = time.monotonic() + PAUSE_S

    def _heard(self, report: Report, answer: Answer) -> None:
        """The execution is over for the service too."""
        status = None if answer.accepted or answer.state is None else answer.state.status
        if status not in (None, report.status):
            logger.warning("Job %s: the service has it as %s already", report.job_id, status)
        self._memory.forget()
        self._look_at = 0.0

    def _ask(self, question: Question) -> Answer | None:
        """The answer, however long it takes; None when it is time to stop."""
        while not self._stop.is_set():
            self._topics.wait(self._topics.ask(question))
            answer = self._answer_in(question)
            if answer is not None:
                return answer
        return None

    def _answer_in(self, question: Question | None) -> Answer | None:
        """Hear what has arrived, and pick the answer to `question` out of it."""
        answer = None
        for arrival in self._topics.take():
            if isinstance(arrival, Answer):
                if question is not None and arrival.token == question.token:
                    answer = arrival
            elif isinstance(arrival, Connected):
                self._look_at = 0.0
                if question is not None:
                    self._topics.hurry(question)
            elif arrival.job_id is not None:
                self._look_at = 0.0
        return answer


def _bodies(report: Report) -> list[dict[str, Any]]:
    """What to say, and what instead where the service takes offence: details in one line each, then none.

    AWS refuses a whole update for one character in its details that it does not like.
    """
    plain = {name: status_detail(text, one_line=True) for name, text in report.details.items()}
    details: list[dict[str, str]] = [report.details, {name: text for name, text in plain.items() if text}, {}]
    different = [told for number, told in enumerate(details) if number == 0 or told != details[number - 1]]
    return [{"status": report.status.value, **({"statusDetails": told} if told else {})} for told in different]
