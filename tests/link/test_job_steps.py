"""The order of steps, whatever happens to the process that walks through them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.link.job_memory import Progress
from pinthesky.link.job_process import Ended
from pinthesky.link.job_steps import REBOOT_REQUESTED, STARTS_MAX, AwaitReboot, Finish, RunStep, StepMachine
from pinthesky.model.jobs import JobDocument, JobStatus, parse_document

START = Progress(job_id="job", execution_number=1)


def document_of(*steps: tuple[str, bool], final: bool = False) -> JobDocument:
    written = [
        {"action": {"name": name, "type": "runHandler", "input": {"handler": name}, "ignoreStepFailure": ignore}}
        for name, ignore in steps
    ]
    return parse_document({"version": "1.0", "steps": written, "finalStep": written[0] if final else None})


class Died(Exception):
    """The process is gone."""


class World:
    """Walks through a job; dies where `fate` says so, and remembers what is on the disk and what has run."""

    def __init__(self, document: JobDocument, fate: list[str]) -> None:
        self.document = document
        self.fate = fate
        self.disk = START
        self.reached = 0
        self.boot = 1
        self.begun: list[int] = []
        self.completed: list[int] = []
        self.failed: list[int] = []

    def next_fate(self) -> str:
        return self.fate.pop(0) if self.fate else "succeeds"

    def live(self) -> Finish | None:
        """One life of the process; None when it ended before the job did."""
        machine = StepMachine(self.document, self.disk, f"boot-{self.boot}")
        while True:
            decision = machine.next()
            self.reached = machine.progress.step
            if isinstance(decision, Finish):
                return decision
            if isinstance(decision, AwaitReboot):
                self.boot += 1
                return None
            try:
                self.run(machine, decision)
            except Died:
                return None

    def run(self, machine: StepMachine, decision: RunStep) -> None:
        step = machine.progress.step
        fate = self.next_fate()
        if fate == "dies before":
            raise Died
        self.disk = machine.begun()
        self.begun.append(step)
        if fate in ("dies within", "power cut"):
            self.boot += fate == "power cut"
            raise Died
        if fate == "stops":
            self.disk = machine.interrupted()
            raise Died
        if fate == "fails":
            self.failed.append(step)
            self.disk = machine.ended(Ended(1))
            return
        self.completed.append(step)
        self.disk = machine.ended(Ended(REBOOT_REQUESTED if fate == "reboots" else 0))
        if fate == "dies after":
            raise Died


FATES = ["succeeds", "fails", "reboots", "stops", "dies before", "dies within", "dies after", "power cut"]
DOCUMENTS = st.builds(
    lambda steps, final: document_of(*steps, final=final),
    st.lists(st.tuples(st.sampled_from(["work", "reboot", "other.sh"]), st.booleans()), min_size=1, max_size=5),
    st.booleans(),
)


@given(DOCUMENTS, st.lists(st.sampled_from(FATES), max_size=14))
def test_every_job_ends_and_what_is_done_is_never_done_again(document, fates):
    world = World(document, list(fates))
    lives = 0
    while (finish := world.live()) is None:
        lives += 1
        assert lives <= len(fates) + 1, "the job makes no way"
    count = len(list(document.actions()))
    assert world.begun == sorted(world.begun), "steps run in their order"
    assert len(set(world.completed)) == len(world.completed), "what has ended well does not run again"
    assert all(world.begun.count(step) <= len(fates) + 1 for step in range(count))
    if finish.status is JobStatus.SUCCEEDED:
        assert world.reached == count
        ignorable = {n for n, (_, action) in enumerate(document.actions()) if action.ignore_step_failure}
        assert set(world.failed) <= ignorable
    else:
        assert finish.status is JobStatus.FAILED
        assert finish.details["reason"].startswith("step ")
    assert all(1 <= len(value) <= 1024 for value in finish.details.values())


def test_a_step_that_brings_the_client_down_again_and_again_fails():
    world = World(document_of(("work", False)), ["dies within"] * 10)
    while (finish := world.live()) is None:
        pass
    assert finish.details["reason"] == f'step 1 of 1 "work" was interrupted {STARTS_MAX} times'
    assert len(world.begun) == STARTS_MAX


def test_progress_of_another_document_fails_the_job():
    machine = StepMachine(document_of(("work", False)), Progress(job_id="job", execution_number=1, step=7), "boot-1")
    decision = machine.next()
    assert isinstance(decision, Finish)
    assert decision.status is JobStatus.FAILED


@pytest.mark.parametrize("stderr_lines, status", [(2, JobStatus.SUCCEEDED), (3, JobStatus.FAILED)])
def test_lines_on_stderr_count_for_a_step_that_asks_for_a_reboot_too(stderr_lines, status):
    document = parse_document({"operation": "work", "allowStdErr": 2})
    machine = StepMachine(document, START, "boot-1")
    machine.begun()
    kept = machine.ended(Ended(REBOOT_REQUESTED, stderr_lines=stderr_lines))
    decision = StepMachine(document, kept, "boot-2").next() if status is JobStatus.SUCCEEDED else machine.next()
    assert isinstance(decision, Finish)
    assert decision.status is status


def test_many_ignored_failures_fit_into_the_details():
    document = document_of(*[("x" * 100, True)] * 30)
    world = World(document, ["fails"] * 30)
    finish = world.live()
    assert finish is not None
    assert finish.status is JobStatus.SUCCEEDED
    assert finish.details["reason"].startswith("all 30 steps done; ignored: ")
