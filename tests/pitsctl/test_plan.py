"""Plans of made-up steps: the order, what is skipped, what fails, what is taken back."""

from __future__ import annotations

import threading
from pathlib import PurePosixPath

import pytest

from pinthesky.errors import Conflict, InvariantBroken, Unavailable
from pitsctl import places, plan
from pitsctl.answers import Answers, Camera
from pitsctl.ledger import Ledger
from pitsctl.machine import FileMode, Ran
from pitsctl.steps import Found, Say, Verdict
from tests.pitsctl.conftest import AT_HOME, Heard


class Paper:
    """A machine that has nothing but files."""

    name = "paper"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.writes = 0

    def run(self, *words: str, given: bytes = b"", root: bool = False, timeout_s: float = 60.0) -> Ran:
        if words[0] == "rm":
            self.files = {path: data for path, data in self.files.items() if not path.startswith(words[-1])}
        return Ran(0, "", "")

    def read(self, path: PurePosixPath, *, root: bool = False, limit: int = 1 << 20) -> bytes | None:
        return self.files.get(str(path))

    def write(self, path: PurePosixPath, data: bytes, mode: FileMode) -> None:
        assert mode == FileMode(mode=0o600)
        self.writes += 1
        self.files[str(path)] = data

    def mode_of(self, path: PurePosixPath) -> FileMode | None:
        return FileMode() if str(path) in self.files else None

    def close(self) -> None:
        pass


class Flag:
    """A step that raises a flag."""

    def __init__(self, name: str, flags: set[str], fails: Exception | None = None) -> None:
        self.name = name
        self.title = name.title()
        self._flags = flags
        self.fails = fails
        self.verdict: Verdict | None = None

    def check(self) -> Found:
        found = Verdict.DONE if self.name in self._flags else Verdict.NEEDED
        return Found(self.verdict or found, f"raise {self.name}")

    def apply(self, say: Say) -> None:
        if self.fails is not None:
            raise self.fails
        self._flags.add(self.name)
        say("up")

    def undo(self, say: Say) -> None:
        if self.fails is not None:
            raise self.fails
        self._flags.discard(self.name)


@pytest.fixture
def paper() -> Paper:
    return Paper()


def three(flags: set[str]) -> list[Flag]:
    return [Flag(name, flags) for name in ("one", "two", "three")]


def carry_out(steps: list[Flag], paper: Paper, stop: threading.Event | None = None) -> tuple[plan.Outcome, list[str]]:
    heard = Heard()
    return plan.carry_out(steps, Ledger(paper), progress=heard, stop=stop or threading.Event()), heard.lines


def test_what_is_needed_is_done_in_order_and_said(paper: Paper):
    flags = {"two"}
    outcome, lines = carry_out(three(flags), paper)
    assert outcome == plan.Outcome(("one", "three"))
    assert lines == ["began one", "one: up", "ended one", "began three", "three: up", "ended three"]
    assert Ledger(paper).begun == ("one", "three")


def test_looking_changes_nothing(paper: Paper):
    flags = {"two"}
    looked = plan.look(three(flags))
    assert [item.step.name for item in looked.needed] == ["one", "three"]
    assert (flags, paper.files, looked.impossible) == ({"two"}, {}, ())


def test_a_step_that_fails_ends_it_and_says_what_is_left(paper: Paper):
    steps = three(set())
    steps[1].fails = Unavailable("gone")
    outcome, lines = carry_out(steps, paper)
    assert (outcome.done, outcome.failed, outcome.left) == (("one",), "two", ("two", "three"))
    assert lines[-2:] == ["began two", "failed two: gone"]
    assert not outcome.is_complete


def test_what_was_begun_and_not_finished_is_applied_again_even_if_it_looks_done(paper: Paper):
    flags: set[str] = set()
    steps = three(flags)
    steps[1].fails = Unavailable("gone")
    carry_out(steps, paper)
    flags.add("two")
    steps[1].fails = None
    outcome, _ = carry_out(steps, paper)
    assert outcome.done == ("two", "three")


def test_what_is_impossible_is_not_begun(paper: Paper):
    steps = three(set())
    steps[0].verdict = Verdict.IMPOSSIBLE
    outcome, lines = carry_out(steps, paper)
    assert (outcome.failed, type(outcome.error)) == ("one", Conflict)
    assert lines == ["began one", "failed one: raise one"]
    assert paper.files == {}


def test_a_stop_is_heeded_between_steps(paper: Paper):
    stop = threading.Event()
    stop.set()
    outcome, _ = carry_out(three(set()), paper, stop)
    assert (outcome.done, outcome.left, outcome.error) == ((), ("one", "two", "three"), None)


def test_only_what_was_begun_is_taken_back_last_first_and_the_record_goes(paper: Paper):
    flags = {"two"}
    steps = three(flags)
    carry_out(steps, paper)
    heard = Heard()
    outcome = plan.take_back(steps, Ledger(paper), progress=heard, stop=threading.Event())
    assert outcome == plan.Outcome(("three", "one"))
    assert (flags, paper.files) == ({"two"}, {})


def test_a_removal_that_fails_goes_on_there(paper: Paper):
    flags: set[str] = set()
    steps = three(flags)
    carry_out(steps, paper)
    steps[1].fails = Unavailable("gone")
    outcome = plan.take_back(steps, Ledger(paper), progress=Heard(), stop=threading.Event())
    assert (outcome.done, outcome.failed, outcome.left) == (("three",), "two", ("two", "one"))
    steps[1].fails = None
    assert plan.take_back(steps, Ledger(paper), progress=Heard(), stop=threading.Event()).done == ("two", "one")


def test_a_removal_is_stopped_between_steps(paper: Paper):
    steps = three(set())
    carry_out(steps, paper)
    stop = threading.Event()
    stop.set()
    assert plan.take_back(steps, Ledger(paper), progress=Heard(), stop=stop).left == ("three", "two", "one")


def test_the_record_keeps_answers_home_and_notes_and_writes_only_what_changes(paper: Paper):
    ledger = Ledger(paper)
    answers = Answers(camera=Camera(rotation=90))
    ledger.remember(answers)
    assert paper.writes == 0, "nothing was begun yet"
    ledger.begin("one")
    ledger.keep("one", {"made": True})
    ledger.keep_home(AT_HOME)
    writes = paper.writes
    ledger.keep("one", {"made": True})
    ledger.keep_home(AT_HOME)
    ledger.begin("one")
    assert paper.writes == writes
    again = Ledger(paper)
    assert (again.answers, again.home, again.notes("one")) == (answers, AT_HOME, {"made": True})
    assert (again.exists, again.is_finished("one"), again.notes("two")) == (True, False, {})
    again.remember(Answers())
    assert Ledger(paper).answers == Answers()


def test_a_record_that_is_not_ours_is_not_overwritten(paper: Paper):
    paper.files[str(places.RECORD_FILE)] = b'{"format": 2}'
    with pytest.raises(InvariantBroken, match=r"state\.json cannot be read"):
        Ledger(paper).begin("one")
