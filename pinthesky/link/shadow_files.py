"""The two files beside a named shadow: what the daemon reports, and the document that says what is desired.

The shadow is asked for at every connection, so what was changed while there was none arrives. Nothing is reported but
what the daemon wrote. Numbers and everything else inside a state pass through as they are.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pinthesky.errors import InvalidInput
from pinthesky.link.configuration import ShadowSettings
from pinthesky.link.file_watch import signature_of
from pinthesky.link.ports import Mqtt
from pinthesky.machine.slot_file import SLOT_MAX, write_slot

logger = logging.getLogger(__name__)

ANSWER_S, LONGEST_ANSWER_S = 10.0, 300.0
"""How long to wait for an answer before asking again; twice as long each time."""
_TRY_AGAIN = frozenset({409, 429, 500, 503})
_NO_SHADOW, _TOO_LARGE = 404, 413


class _State(Struct, frozen=True):
    """A state without its delta, which follows from the two. Empty bytes stand for what is absent."""

    desired: Raw = Raw()
    reported: Raw = Raw()


class _Snapshot(Struct, frozen=True, kw_only=True):
    """What `get/accepted` says, and each half of a documents message."""

    state: _State
    version: int
    metadata: Raw = Raw(b"{}")
    timestamp: int = 0
    clientToken: str | None = None  # noqa: N815 - the wire's name


class _Documents(Struct, frozen=True):
    current: _Snapshot


class _Answer(Struct, frozen=True):
    clientToken: str | None = None  # noqa: N815 - the wire's name
    code: int = 0
    message: str = ""


class _Request:
    """One kind of request, of which only the latest counts. It is due again while no answer comes. From any thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token: str | None = None
        self._due_at_s: float | None = None
        self._tries = 0

    def ask(self) -> None:
        """It is due now."""
        with self._lock:
            self._due_at_s = self._monotonic()
            self._tries = 0

    def begin(self) -> str:
        """A new attempt: its token."""
        with self._lock:
            self._token = secrets.token_hex(8)
            self._due_at_s = self._monotonic() + min(LONGEST_ANSWER_S, ANSWER_S * 2**self._tries)
            self._tries = min(self._tries + 1, 10)
            return self._token

    def answered(self, token: str | None) -> bool:
        """Whether `token` is that of the latest attempt, which then is at its end."""
        with self._lock:
            is_ours = token is not None and token == self._token
            if is_ours:
                self._token = self._due_at_s = None
            return is_ours

    def refused(self, token: str | None) -> bool:
        """The same, but another attempt follows when it is time."""
        with self._lock:
            return token is not None and token == self._token

    def give_up(self) -> None:
        """There is nothing to ask for."""
        with self._lock:
            self._token = self._due_at_s = None

    def due_in(self) -> float | None:
        """Seconds until the next attempt, or None."""
        with self._lock:
            return None if self._due_at_s is None else max(0.0, self._due_at_s - self._monotonic())

    @property
    def open(self) -> bool:
        """Whether an attempt waits for its answer, or for its time."""
        return self._due_at_s is not None


class ShadowFiles:
    """See `Watched`. Messages come in the connection's thread, and what they bring is written there."""

    def __init__(
        self,
        settings: ShadowSettings,
        thing: str,
        mqtt: Mqtt,
        *,
        wake: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._input, self._output = settings.input_file, settings.output_file
        self.files: AbstractSet[Path] = frozenset(() if self._input is None else {self._input})
        self.folders: AbstractSet[Path] = frozenset()
        self._name = settings.name
        self._prefix = f"$aws/things/{thing}/shadow/name/{settings.name}"
        self._mqtt = mqtt
        self._wake = wake
        self._get, self._report = _Request(monotonic), _Request(monotonic)
        self._signature: tuple[int, ...] | None = None
        self._reported_size = 0
        self._version = 0
        self._writing = threading.Lock()
        self._complaint = ""
        if self._input is not None:
            mqtt.subscribe(f"{self._prefix}/update/accepted", self._report_accepted)
            mqtt.subscribe(f"{self._prefix}/update/rejected", self._report_rejected)
        if self._output is not None:
            mqtt.subscribe(f"{self._prefix}/update/documents", self._documents)
            mqtt.subscribe(f"{self._prefix}/get/accepted", self._got)
            mqtt.subscribe(f"{self._prefix}/get/rejected", self._not_got)
            mqtt.subscribe(f"{self._prefix}/delete/accepted", self._deleted)
        mqtt.on_connected(self._connected)

    def due_in(self) -> float | None:
        """See `Watched`."""
        dues_s = [due_s for due_s in (self._get.due_in(), self._report.due_in()) if due_s is not None]
        return min(dues_s, default=None)

    def look(self, changed: AbstractSet[Path]) -> None:
        """See `Watched`."""
        if self._input is not None:
            signature = signature_of(self._input)
            if signature != self._signature or self._input in changed:
                self._report.ask()
            self._signature = signature
            if self._report.due_in() == 0.0:
                self._send_report(self._input)
        if self._get.due_in() == 0.0:
            self._publish("get", msgspec.json.encode({"clientToken": self._get.begin()}))

    # What the daemon reports

    def _send_report(self, path: Path) -> None:
        report = self._read(path)
        if report is None:
            self._report.give_up()
            return
        self._reported_size = len(report)
        document = {"clientToken": self._report.begin(), "state": {"reported": Raw(report)}}
        self._publish("update", msgspec.json.encode(document))

    def _read(self, path: Path) -> bytes | None:
        """The report, if it is one. An empty or missing file is none, and nothing is said about it."""
        try:
            with path.open("rb") as file:
                content = file.read(SLOT_MAX)
            if not content.strip():
                return None
            msgspec.json.decode(content, type=dict[str, Any])
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(f"cannot read {path}: {error.strerror}")
            return None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._complain(f"{path} is not reported, it is not a JSON object: {error}")
            return None
        return content.strip()

    def _report_accepted(self, _topic: str, payload: bytes) -> None:
        if self._report.answered(_answer(payload).clientToken):
            self._complaint = ""

    def _report_rejected(self, _topic: str, payload: bytes) -> None:
        answer = _answer(payload)
        if not self._report.refused(answer.clientToken):
            return
        what = f"shadow {self._name} rejects the report of {self._reported_size} bytes: {answer.code} {answer.message}"
        if answer.code in _TRY_AGAIN:
            self._complain(f"{what}; trying again")
            return
        self._report.answered(answer.clientToken)
        hint = "; a shadow holds 8 KB of desired and reported together" if answer.code == _TOO_LARGE else ""
        self._complain(f"{what}{hint}; not sent again until it changes")

    # What the shadow says

    def _documents(self, _topic: str, payload: bytes) -> None:
        try:
            found = msgspec.json.decode(payload, type=_Documents)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._complain(f"shadow {self._name}: a documents message cannot be used: {error}")
            return
        with self._writing:
            # Equal to what a get has brought: written all the same, it knows what was before.
            if found.current.version >= self._version:
                self._version = found.current.version
                self._write(payload)

    def _got(self, _topic: str, payload: bytes) -> None:
        try:
            found = msgspec.json.decode(payload, type=_Snapshot)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._complain(f"shadow {self._name}: the answer to get cannot be used: {error}")
            return
        if not self._get.answered(found.clientToken):
            return
        with self._writing:
            if found.version < self._version:
                return
            self._version = found.version
            parts = {"desired": found.state.desired, "reported": found.state.reported}
            state = {name: part for name, part in parts.items() if part}
            current = {"state": state, "metadata": found.metadata, "version": found.version}
            self._write(msgspec.json.encode({"current": current, "timestamp": found.timestamp}))

    def _not_got(self, _topic: str, payload: bytes) -> None:
        answer = _answer(payload)
        if not self._get.refused(answer.clientToken):
            return
        if answer.code == _NO_SHADOW:
            self._get.answered(answer.clientToken)
            logger.info("There is no shadow %s yet", self._name)
        else:
            self._complain(f"shadow {self._name} cannot be had: {answer.code} {answer.message}; trying again")

    def _deleted(self, _topic: str, _payload: bytes) -> None:
        with self._writing:
            self._version = 0  # it may be counted from 1 again

    def _write(self, document: bytes) -> None:
        if self._output is None:
            return
        try:
            write_slot(self._output, document)
        except (OSError, InvalidInput) as error:
            reason = error.reason if isinstance(error, InvalidInput) else error.strerror
            self._complain(f"cannot write {self._output}: {reason}")
            return
        self._complaint = ""

    # Both

    def _connected(self) -> None:
        if self._output is not None:
            with self._writing:
                self._version = 0  # what the answer says is the truth, whatever was before
            self._get.ask()
        if self._report.open:
            self._report.ask()
        self._wake()

    def _publish(self, operation: str, payload: bytes) -> None:
        def published(answer: Future[None]) -> None:
            error = answer.exception()
            if error is not None:
                logger.debug("%s", error)

        self._mqtt.publish(f"{self._prefix}/{operation}", payload).add_done_callback(published)

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.error("%s", complaint)
        self._complaint = complaint


def _answer(payload: bytes) -> _Answer:
    try:
        return msgspec.json.decode(payload, type=_Answer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Answer()
