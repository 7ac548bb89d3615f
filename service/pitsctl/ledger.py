"""What was installed, written down on the machine itself before it is done, so that any workstation can take it back.

`/var/lib/pinthesky-install/state.json`, root's alone. Each step has its notes there: what it needs in order to take
back what it did and no more. They are written before the deed, so a step that was cut off is taken back too.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from pinthesky.errors import InvalidInput, InvariantBroken
from pitsctl import places
from pitsctl.answers import Answers
from pitsctl.camera_home import CameraHome
from pitsctl.machine import FileMode, Machine

_MINE = FileMode(mode=0o600)


class StepRecord(Struct, kw_only=True, omit_defaults=True):
    """A step that was begun at least."""

    finished: bool = False
    notes: dict[str, Any] = {}


class _State(Struct, kw_only=True):
    format: Literal[1] = 1
    answers: Answers = Answers()
    home: CameraHome | None = None
    steps: dict[str, StepRecord] = {}


class Ledger:
    """The state of one machine. Methods raise what the machine raises, InvariantBroken for a state that is not ours."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._state: _State | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was installed."""
        return bool(self._loaded().steps)

    @property
    def answers(self) -> Answers:
        """What was answered at the last installation."""
        return self._loaded().answers

    @property
    def home(self) -> CameraHome | None:
        """What the camera knows of its home; None before it was let in."""
        return self._loaded().home

    @property
    def begun(self) -> tuple[str, ...]:
        """Names of the steps that were begun, in their order."""
        return tuple(self._loaded().steps)

    def is_finished(self, step: str) -> bool:
        """Whether the step has ended well."""
        record = self._loaded().steps.get(step)
        return record is not None and record.finished

    def notes(self, step: str) -> dict[str, Any]:
        """What the step has written down; empty where it was not begun."""
        record = self._loaded().steps.get(step)
        return {} if record is None else dict(record.notes)

    def remember(self, answers: Answers) -> None:
        """Keep what was answered: it is written with the first step that is begun, or at once beside those before."""
        state = self._loaded()
        if state.answers != answers:
            state.answers = answers
            if state.steps:
                self._write()

    def keep_home(self, home: CameraHome) -> None:
        """Write down what the camera has to know of its home."""
        if self._loaded().home != home:
            self._loaded().home = home
            self._write()

    def begin(self, step: str) -> None:
        """Write down that the step is about to change something."""
        steps = self._loaded().steps
        record = steps.setdefault(step, StepRecord(notes={}))
        if record.finished or step not in self._written:
            record.finished = False
            self._write()

    def keep(self, step: str, notes: dict[str, Any]) -> None:
        """Write down what taking back will need, before it is done."""
        record = self._loaded().steps.setdefault(step, StepRecord(notes={}))
        if record.notes != notes:
            record.notes = dict(notes)
            self._write()

    def finish(self, step: str) -> None:
        """Write down that the step has ended well."""
        record = self._loaded().steps.setdefault(step, StepRecord(notes={}))
        if not record.finished:
            record.finished = True
            self._write()

    def forget(self, step: str) -> None:
        """Write down that the step was taken back; with the last one everything about the installation goes."""
        state = self._loaded()
        state.steps.pop(step, None)
        if state.steps:
            self._write()
            return
        self._machine.run("rm", "-rf", "--", str(places.RECORD), root=True)
        self._state = None

    def _loaded(self) -> _State:
        if self._state is None:
            text = self._machine.read(places.RECORD_FILE, root=True)
            try:
                self._state = _State(steps={}) if text is None else msgspec.json.decode(text, type=_State)
            except msgspec.DecodeError as error:
                raise InvariantBroken(f"{self._machine.name}: {places.RECORD_FILE} cannot be read: {error}") from error
            self._written = set(self._state.steps)
        return self._state

    def _write(self) -> None:
        state = self._loaded()
        if not self._written:
            ran = self._machine.run("install", "-d", "-m", "700", str(places.RECORD), root=True)
            if ran.code != 0:
                raise InvalidInput(str(places.RECORD), ran.error.strip() or "cannot be made")
        self._machine.write(places.RECORD_FILE, msgspec.json.format(msgspec.json.encode(state)) + b"\n", _MINE)
        self._written = set(state.steps) | {""}
