"""A Pi that registers itself at its first start: it tries until it is let in, and shows its code on LED and screen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pinthesky.errors import InvalidInput, NotAuthorized, PinTheSkyError, Throttled, Unavailable
from pinthesky.planes.records import registrations
from pitsctl.code_light import MORSE, CodeLight, beats
from pitsctl.person import Person, Registration
from pitsctl.plan import Outcome
from pitsctl.register import until_let_in
from pitsctl.registration import Denied, Expired
from tests.support.aws_servers import wait_until
from tests.support.person import ScriptedPerson

CODE = Registration("BCDF-GHJK", "https://hub.test/register", "AA:BB", 900)
DONE = Outcome(("device-key", "registration"))


class Waits(threading.Event):
    """Waiting takes no time, and is written down; ends after so many waits."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        return len(self.waited) >= self._most


def attempts(*ends: Outcome | PinTheSkyError) -> Callable[[Person], Outcome]:
    """What becomes of one attempt after the other; an error in an Outcome is told, any other is raised."""
    left = list(ends)

    def attempt(person: Person) -> Outcome:
        person.show_registration(CODE)
        person.show_registration(None)
        end = left.pop(0)
        if isinstance(end, Outcome):
            return end
        raise end

    return attempt


def failed(error: PinTheSkyError) -> Outcome:
    return Outcome((), failed="registration", error=error)


def tried(*ends: Outcome | PinTheSkyError, most: int = 100) -> tuple[Outcome, list[float], list[str]]:
    stop, lines = Waits(most), list[str]()
    outcome = until_let_in(
        attempts(*ends), ScriptedPerson(), stop=stop, say=lines.append, light=CodeLight(()), screens=()
    )
    return outcome, stop.waited, lines


def test_a_network_that_comes_late_is_waited_for_ever_more_slowly() -> None:
    gone = Unavailable("the name hub.local cannot be resolved")
    outcome, waited, lines = tried(*[gone] * 9, DONE)
    assert outcome is DONE
    assert waited == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert lines[0] == "the name hub.local cannot be resolved; trying again in 5 s"


def test_a_code_that_nobody_has_typed_is_followed_by_another_at_once() -> None:
    outcome, waited, _ = tried(*[failed(Expired("nobody has typed the code"))] * 3, DONE)
    assert outcome is DONE
    assert waited == [5, 5, 5]


def test_denied_is_not_the_end_and_no_reason_to_hurry() -> None:
    assert tried(failed(Denied("somebody has denied it")), DONE)[1] == [900]


def test_a_home_that_is_asked_too_often_says_when_it_may_be_asked_again() -> None:
    assert tried(failed(Throttled("too many devices", 700)), DONE)[1] == [700]


@pytest.mark.parametrize("error", [NotAuthorized("not the hub that was meant"), InvalidInput("home.address", "no")])
def test_what_waiting_does_not_mend_ends_it(error: PinTheSkyError) -> None:
    outcome, waited, _ = tried(failed(error))
    assert outcome.error is error
    assert waited == []


def test_what_is_wrongly_asked_is_raised_as_ever() -> None:
    with pytest.raises(InvalidInput):
        tried(InvalidInput("home.kind", "must be aws, hub or code"))


def test_it_can_be_stopped_while_it_waits() -> None:
    gone = Unavailable("gone")
    outcome, _, _ = tried(gone, gone, gone, most=2)
    assert outcome.error is gone


def test_the_code_is_on_the_screen_too(tmp_path: Path) -> None:
    screen = tmp_path / "tty1"
    person = ScriptedPerson()
    until_let_in(
        attempts(DONE),
        person,
        stop=threading.Event(),
        say=lambda _: None,
        light=CodeLight(()),
        screens=(screen, tmp_path / "no" / "screen"),
    )
    assert person.shown == [CODE, None]
    text = screen.read_text()
    assert "BCDF-GHJK" in text
    assert "https://hub.test/register" in text
    assert "AA:BB" in text


# The LED


def led(folder: Path) -> Path:
    (folder / "trigger").write_text("none [mmc0] timer heartbeat default-on\n")
    (folder / "brightness").write_text("0")
    return folder


def test_the_led_beats_like_a_heart_then_shows_the_code_and_is_given_back(tmp_path: Path) -> None:
    light = CodeLight((tmp_path / "none", led(tmp_path)), unit_s=0.001)
    light.wait_for_code()
    assert (tmp_path / "trigger").read_text() == "heartbeat"
    light.show("TM-N")
    assert (tmp_path / "trigger").read_text() == "none"
    wait_until(lambda: (tmp_path / "brightness").read_text() == "255")
    wait_until(lambda: (tmp_path / "brightness").read_text() == "0")
    light.restore()
    assert (tmp_path / "trigger").read_text() == "mmc0"
    assert not any(thread.name == "code light" for thread in threading.enumerate())


def test_a_machine_without_an_led_shows_nothing(tmp_path: Path) -> None:
    light = CodeLight((tmp_path,))
    light.wait_for_code()
    light.show("B")
    light.restore()
    assert list(tmp_path.iterdir()) == []


def test_an_led_that_may_not_be_written_is_no_error(tmp_path: Path) -> None:
    led(tmp_path)
    (tmp_path / "trigger").unlink()
    (tmp_path / "trigger").mkdir()
    light = CodeLight((tmp_path,))
    light.show("B")
    light.restore()
    assert (tmp_path / "brightness").read_text() == "0"


def test_every_letter_of_a_code_has_its_own_sign() -> None:
    assert set(MORSE) == set(registrations._LETTERS)
    assert len(set(MORSE.values())) == len(MORSE)


def test_a_code_is_morse_with_the_lengths_of_the_standard() -> None:
    # T is a dash, N a dash and a dot; a space is one of words.
    assert list(beats("T-N")) == [
        (True, 3),
        (False, 3),
        (False, 4),
        (True, 3),
        (False, 1),
        (True, 1),
        (False, 3),
        (False, 4),
        (False, 15),
    ]
