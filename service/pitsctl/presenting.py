"""What is shown of a plan and of how it goes: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

from pitsctl.person import Person, Registration
from pitsctl.plan import Outcome, Plan
from pitsctl.steps import Step, Verdict

_MARKS = {Verdict.DONE: "there", Verdict.NEEDED: "to do", Verdict.IMPOSSIBLE: "CANNOT"}
SUDO_PASSWORD = "PITSCTL_SUDO_PASSWORD"  # noqa: S105 - the variable's name


class JsonLines:
    """Events for programs: docs/reference/pitsctl.md has their fields. Also a `Progress`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def event(self, name: str, **fields: Any) -> None:
        """Write one event."""
        self._out.write(json.dumps({"event": name, **fields}, ensure_ascii=False) + "\n")
        self._out.flush()

    def began(self, step: Step) -> None:
        """See steps.Progress."""
        self.event("began", step=step.name, title=step.title)

    def said(self, step: Step, line: str) -> None:
        """See steps.Progress."""
        self.event("said", step=step.name, line=line)

    def ended(self, step: Step, error: str | None) -> None:
        """See steps.Progress."""
        self.event("ended", step=step.name, error=error)

    def plan(self, plan: Plan) -> None:
        """The whole plan in one event."""
        self.event("plan", steps=plan_fields(plan))

    def result(self, outcome: Outcome) -> None:
        """The last event."""
        error = None if outcome.error is None else str(outcome.error)
        self.event(
            "result",
            changed=bool(outcome.done),
            done=list(outcome.done),
            failed=outcome.failed,
            error=error,
            left=list(outcome.left),
        )


class Unattended:
    """A `Person` that is not there: the sudo password is in the environment, and nothing else is answered."""

    def __init__(self, environment: Mapping[str, str], out: TextIO, *, lines: JsonLines | None, inner: Person | None):
        """`inner` is asked what the environment does not answer; without it a code is written to `out` or `lines`."""
        self._password = environment.get(SUDO_PASSWORD)
        self._out = out
        self._lines = lines
        self._inner = inner

    def secret(self, question: str) -> str | None:
        """See Person; the password of the environment is given once, since a wrong one stays wrong."""
        password = None
        if "sudo" in question:
            password, self._password = self._password, None
        if password is None and self._inner is not None:
            return self._inner.secret(question)
        return password

    def confirm(self, question: str, detail: str = "") -> bool:
        """See Person."""
        return self._inner is not None and self._inner.confirm(question, detail)

    def show_registration(self, registration: Registration | None) -> None:
        """See Person."""
        if self._lines is not None:
            fields: dict[str, Any] = (
                {}
                if registration is None
                else {
                    "user_code": registration.user_code,
                    "address": registration.address,
                    "fingerprint": registration.fingerprint,
                    "expires_in_s": registration.expires_in_s,
                }
            )
            self._lines.event("registration", **fields)
        elif self._inner is not None:
            self._inner.show_registration(registration)
        elif registration is not None:
            self._out.write(
                f"Let the camera in: type {registration.user_code} at {registration.address} within "
                f"{registration.expires_in_s // 60} minutes, and compare its key: {registration.fingerprint}\n"
            )
            self._out.flush()


def plan_fields(plan: Plan) -> list[dict[str, str]]:
    """A plan as plain values."""
    return [
        {
            "name": item.step.name,
            "title": item.step.title,
            "verdict": item.found.verdict.value,
            "what": item.found.what,
        }
        for item in plan.items
    ]


def show_plan(plan: Plan, out: TextIO) -> None:
    """A line for each step: what is there, what will be done, what stands in the way."""
    out.writelines(f"{_MARKS[item.found.verdict]:>6}  {item.step.title}: {item.found.what}\n" for item in plan.items)
    out.flush()


def show_outcome(outcome: Outcome, out: TextIO, *, command: str, undo: str) -> None:
    """How it ended; after a failure also how to go on, and how to take it back."""
    if outcome.is_complete:
        out.write(f"Done: {', '.join(outcome.done)}.\n" if outcome.done else "Nothing to do.\n")
        return
    if outcome.done:
        out.write(f"Done before that: {', '.join(outcome.done)}.\n")
    out.write(f"Left: {', '.join(outcome.left)}.\n")
    out.write(f"To go on where it stopped: {command}\nTo take it back: {undo}\n")
    out.flush()
