"""What is shown where nobody is, and to programs."""

from __future__ import annotations

import io
import json

from pinthesky.errors import Unavailable
from pitsctl.person import Registration
from pitsctl.plan import Outcome
from pitsctl.presenting import JsonLines, Unattended, show_outcome

CODE = Registration("BCDF-GHJK", "https://hub.local/register", "ab12", 900)


class Somebody:
    """A person who says yes."""

    def __init__(self) -> None:
        self.shown: list[Registration | None] = []

    def secret(self, question: str) -> str | None:
        return f"answer to {question}"

    def confirm(self, question: str, detail: str = "") -> bool:
        return True

    def show_registration(self, registration: Registration | None) -> None:
        self.shown.append(registration)


def test_a_code_is_a_plain_line_where_nobody_is():
    out = io.StringIO()
    person = Unattended({}, out, lines=None, inner=None)
    person.show_registration(CODE)
    person.show_registration(None)
    assert out.getvalue() == (
        "Let the camera in: type BCDF-GHJK at https://hub.local/register within 15 minutes, and compare its key: ab12\n"
    )
    assert not person.confirm("Trust it?")


def test_a_code_is_an_event_for_programs():
    out = io.StringIO()
    person = Unattended({}, out, lines=JsonLines(out), inner=None)
    person.show_registration(CODE)
    person.show_registration(None)
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[0]["user_code"] == "BCDF-GHJK"
    assert events[1] == {"event": "registration"}


def test_somebody_who_is_there_is_asked_for_what_the_environment_does_not_say():
    somebody = Somebody()
    person = Unattended({"PITSCTL_SUDO_PASSWORD": "secret"}, io.StringIO(), lines=None, inner=somebody)
    assert person.secret("Password of pi for sudo") == "secret"
    assert person.secret("Password of pi for sudo") == "answer to Password of pi for sudo"
    assert person.confirm("Trust it?")
    person.show_registration(CODE)
    assert somebody.shown == [CODE]


def test_an_outcome_says_how_to_go_on_and_how_to_take_it_back():
    out = io.StringIO()
    failed = Outcome(("user",), failed="folders", error=Unavailable("gone"), left=("folders", "units"))
    show_outcome(failed, out, command="pitsctl install --host pi", undo="pitsctl remove --host pi")
    assert out.getvalue().splitlines() == [
        "Done before that: user.",
        "Left: folders, units.",
        "To go on where it stopped: pitsctl install --host pi",
        "To take it back: pitsctl remove --host pi",
    ]
