"""The order of a job's steps, and what becomes of it: decisions only, no process, no clock, no disk.

`StepMachine` is told what happened and says what comes next. What it says to remember is to be on the disk before the
next thing is done; then a step that has ended is never run again, whenever the process dies.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from pinthesky.link.job_handlers import REBOOTING_HANDLERS, base_name
from pinthesky.link.job_memory import Progress
from pinthesky.link.job_process import Ended
from pinthesky.model.jobs import STATUS_DETAIL_MAX, Action, CommandAction, JobDocument, JobStatus, status_detail

REBOOT_REQUESTED = 102
"""Exit status of a handler that is done and has asked for a reboot, which has to come before the next step."""
STARTS_MAX = 3
"""A step during which the device client or the machine went down so often is not tried again."""
_IGNORED_MAX = 8


@dataclass(frozen=True)
class RunStep:
    """Start this action; `label` is what a person calls it."""

    action: Action
    label: str


@dataclass(frozen=True)
class AwaitReboot:
    """Nothing more in this boot."""

    label: str


@dataclass(frozen=True)
class Finish:
    """The job is over."""

    status: JobStatus
    details: dict[str, str]


Decision = RunStep | AwaitReboot | Finish


class StepMachine:
    """One execution of `document`, from `progress` on.

    Call `next` for what to do. For RunStep: keep `begun()`, run it, keep what `ended` or `failed` returns, or what
    `interrupted` returns where the device client stops. `progress` is always what should be kept.
    """

    def __init__(self, document: JobDocument, progress: Progress, boot_id: str) -> None:
        self._actions = [action for _, action in document.actions()]
        self._include_stdout = document.include_std_out
        self._boot_id = boot_id
        self._failure: str | None = None
        self.progress = progress
        self._resume()

    def next(self) -> Decision:
        """What comes now."""
        progress = self.progress
        if self._failure is not None:
            return Finish(JobStatus.FAILED, self.details(self._failure))
        if progress.rebooting:
            return AwaitReboot(self._label(progress.step - 1))
        if progress.step == len(self._actions):
            return Finish(JobStatus.SUCCEEDED, self.details(self._summary()))
        return RunStep(self._actions[progress.step], self._label(progress.step))

    def begun(self) -> Progress:
        """The step is about to be started."""
        self.progress = replace(
            self.progress, starts=self.progress.starts + 1, running=True, boot_id=self._boot_id, rebooting=False
        )
        return self.progress

    def ended(self, ended: Ended, timed_out_after_s: float | None = None) -> Progress:
        """The step's process has ended, by itself or for its time."""
        action = self._actions[self.progress.step]
        self.progress = replace(
            self.progress,
            stdout=status_detail(self.progress.stdout + ended.stdout),
            stderr=status_detail(self.progress.stderr + ended.stderr),
        )
        wants_reboot = ended.exit_status == REBOOT_REQUESTED and timed_out_after_s is None
        if timed_out_after_s is not None:
            return self.failed(f"did not end within {timed_out_after_s:g} s")
        if ended.failure is not None and not wants_reboot:
            return self.failed(ended.failure)
        if action.allow_std_err is not None and ended.stderr_lines > action.allow_std_err:
            return self.failed(f"wrote {ended.stderr_lines} lines to stderr, {action.allow_std_err} are allowed")
        return self._go_on(rebooting=wants_reboot)

    def failed(self, reason: str) -> Progress:
        """The step has failed or could not be started; the document says what that means."""
        told = f"{self._label(self.progress.step)} {reason}"
        if not self._actions[self.progress.step].ignore_step_failure:
            self._failure = told
            return self.progress
        kept = (*self.progress.ignored, told)[-_IGNORED_MAX:]
        self.progress = replace(self.progress, ignored=kept)
        return self._go_on(rebooting=False)

    def reboot_missed(self, waited_s: float) -> Progress:
        """The reboot that a step asked for did not come."""
        self._failure = (
            f"{self._label(self.progress.step - 1)} asked for a reboot, which did not come in {waited_s:g} s"
        )
        return self.progress

    def interrupted(self) -> Progress:
        """The device client ends in order: what runs is ended with it and run again, which is nobody's failure."""
        self.progress = replace(self.progress, starts=max(0, self.progress.starts - 1))
        return self.progress

    def details(self, reason: str) -> dict[str, str]:
        """`statusDetails` with this reason; no value is empty."""
        told = {"reason": reason, "stderr": self.progress.stderr}
        if self._include_stdout:
            told["stdout"] = self.progress.stdout
        return {name: value for name, text in told.items() if (value := status_detail(text))}

    def _resume(self) -> None:
        """Settle what the process that wrote `progress` could not tell."""
        progress = self.progress
        if not 0 <= progress.step <= len(self._actions):
            self._failure = "what is remembered of this job does not fit its document"
        elif progress.rebooting:
            self.progress = replace(progress, rebooting=progress.step > 0 and progress.boot_id == self._boot_id)
        elif progress.running and progress.step < len(self._actions):
            action = self._actions[progress.step]
            rebooted = progress.boot_id != self._boot_id
            if rebooted and base_name(action) in REBOOTING_HANDLERS:
                self._go_on(rebooting=False)
            elif isinstance(action, CommandAction):
                self.failed("was interrupted, and commands are not repeated")
            elif progress.starts >= STARTS_MAX:
                self.failed(f"was interrupted {progress.starts} times")

    def _go_on(self, *, rebooting: bool) -> Progress:
        self.progress = replace(
            self.progress,
            step=self.progress.step + 1,
            starts=0,
            running=False,
            rebooting=rebooting,
            boot_id=self._boot_id,
        )
        return self.progress

    def _label(self, step: int) -> str:
        return f'step {step + 1} of {len(self._actions)} "{self._actions[step].name}"'

    def _summary(self) -> str:
        done = "1 step" if len(self._actions) == 1 else f"all {len(self._actions)} steps"
        if not self.progress.ignored:
            return f"{done} done"
        return f"{done} done; ignored: {'; '.join(self.progress.ignored)}"[:STATUS_DETAIL_MAX]
