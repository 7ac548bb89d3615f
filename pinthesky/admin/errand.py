"""A request as one step of a job, which outlives its own effect.

A reboot, a restart of the device client and an upgrade end the program that asks for them. The device client runs the
job's step again when it is back. So a note is left before asking: whoever finds it knows that it has asked already.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pinthesky.admin import requests
from pinthesky.admin.asking import AnswerLost
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import CLIENT, Answer
from pinthesky.errors import Unavailable
from pinthesky.machine import durable_files

END_WITHIN_S = 300.0
"""After a reboot was promised, this program has to be gone within this time."""
_LOOK_EVERY_S = 1.0

Ask = Callable[[requests.Request], Answer]


class Note(msgspec.Struct, frozen=True):
    """What was asked for, by which job, and in which life of the machine or of the device client."""

    summary: str
    job: str
    life: str
    identity: str


class Errands:
    """Asks each thing once for a job, however often the job's step is begun."""

    def __init__(
        self,
        installation: Installation,
        environment: Mapping[str, str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = installation.errands
        self._installation = installation
        # Ours tells; the C++ client does not, and then two jobs that ask the same cannot be told apart.
        self._job = environment.get("PINTHESKY_JOB_ID", "")
        self._monotonic = monotonic
        self._pause = pause

    def run(self, request: requests.Request, ask: Ask) -> Answer:
        """Ask, unless that was done in an earlier life. Raises Unavailable as `ask` does, and for a failing disk."""
        try:
            if isinstance(request, requests.Upgrade):
                return self._upgrade(request, ask)
            if isinstance(request, (requests.Reboot, requests.Shutdown)):
                return self._once_a_life(request, ask, self._installation.current_boot())
            if isinstance(request, requests.RestartServices) and CLIENT in request.services:
                return self._once_a_life(request, ask, f"{self._installation.current_boot()} {_parent()}")
        except OSError as error:
            if isinstance(error, Unavailable):
                raise
            raise Unavailable(f"cannot keep the note of this step: {error}") from error
        return ask(request)

    def _once_a_life(self, request: requests.Request, ask: Ask, life: str) -> Answer:
        """Ask and wait for the end; in a later life say that it is done."""
        path = self._folder / f"{request.name}.json"
        note = Note(request.summary, self._job, life, "")
        left = self._left_at(path)
        if left is not None and left.life != life and _same_wish(left, note):
            durable_files.remove(path)
            return Answer("done", f"{request.name}: done, this is after it")
        self._leave(path, note)
        answer: Answer | None
        try:
            answer = ask(request)
        except AnswerLost:
            # The root helper was stopped before it could answer: the machine is on its way down already.
            answer = None
        except Unavailable:
            durable_files.remove(path)
            raise
        if answer is None or answer.outcome == "done":
            deadline = self._monotonic() + END_WITHIN_S
            while self._monotonic() < deadline:
                self._pause(_LOOK_EVERY_S)
            answer = Answer("failed", f"{request.name} was promised, and nothing came of it")
        durable_files.remove(path)
        return answer

    def _upgrade(self, request: requests.Upgrade, ask: Ask) -> Answer:
        """Ask under the identity of the first time; the root helper then continues, or repeats the outcome."""
        path = self._folder / f"{request.name}.json"
        left = self._left_at(path)
        wanted = msgspec.structs.replace(request, identity="any")
        note = Note(wanted.summary, self._job, "", uuid.uuid4().hex)
        if left is not None and left.identity and _same_wish(left, note):
            note = left
        else:
            self._leave(path, note)
        answer = ask(msgspec.structs.replace(request, identity=note.identity))
        if answer.outcome != "busy":
            durable_files.remove(path)
        return answer

    def _left_at(self, path: Path) -> Note | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Note)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _leave(self, path: Path, note: Note) -> None:
        durable_files.make_folder(path.parent)
        durable_files.replace_file(path, msgspec.json.encode(note))


def _parent() -> str:
    """Return which process started this one: its id, and when it began, for ids come back.

    A handler replaces itself by this program, so that is the device client.
    """
    pid = os.getppid()
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    return f"{pid} {after_name.split()[19]}"


def _same_wish(left: Note, note: Note) -> bool:
    return (left.summary, left.job) == (note.summary, note.job)
