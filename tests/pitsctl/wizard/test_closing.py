"""How a plan ends, and what is kept and said of it."""

from __future__ import annotations

import re

import pytest

from pinthesky.errors import Conflict, PinTheSkyError, Unavailable
from pitsctl.answers import Answers, Connection
from pitsctl.steps import Found, Verdict
from pitsctl.wizard import words
from pitsctl.wizard.big_letters import big
from pitsctl.wizard.closing import DONE, FAILED, LEFT, Ending, ending_of, left, notes_of, plan_count
from pitsctl.wizard.journey import Journey
from pitsctl.wizard.look import DARK, LIGHT, PLAIN, theme_for_terminal
from pitsctl.wizard.plain import by_halves
from pitsctl.wizard.ports import Planned
from pitsctl.wizard.record import LOG_LINES, Record, printable
from tests.support.made_up_installer import MadeUpStep, steps

JOURNEY = Journey(Answers(connection=Connection(host="pi@camera.local")))


def planned(made_up: list[MadeUpStep]) -> list[Planned]:
    return [Planned(step, step.check()) for step in made_up]


@pytest.mark.parametrize(
    "error,stopped,look_now,kind,code",
    [
        (None, False, ["Console"], "done", DONE),
        (None, False, None, "taken-back", DONE),
        (None, True, [], "stopped", LEFT),
        (Unavailable("gone"), False, None, "lost", FAILED),
        (Conflict("full"), True, None, "failed", FAILED),
    ],
)
def test_the_ways_to_end_are_told_apart(error: PinTheSkyError | None, stopped, look_now, kind, code):
    ending = ending_of(error, stopped=stopped, look_now=look_now)
    assert (ending.kind, ending.exit_code) == (kind, code)
    assert set(ending.buttons) <= set(words.BUTTONS)


@pytest.mark.parametrize("kind", ["done", "taken-back", "lost", "stopped", "failed"])
def test_what_can_be_done_now_fits_beside_one_another_at_80_columns(kind):
    buttons = Ending(kind).buttons
    assert sum(len(f" [ {words.BUTTONS[key]} ] ") + 1 for key in buttons) <= 57 + 1


def test_a_record_knows_where_each_step_is():
    plan = steps()
    record = Record(planned(plan))
    record.began(plan[1])
    record.said(plan[1], "one\ntwo")
    record.ended(plan[1], None)
    record.began(plan[2])
    record.ended(plan[2], "the disk is full")
    assert [entry.state for entry in record.entries()] == ["there", "done", "failed", "waiting", "waiting"]
    assert list(record.entries()[1].log) == ["one", "two"]
    assert record.entries()[2].error == "the disk is full"
    assert record.counts == (2, 5)


def test_a_step_that_is_tried_again_is_no_longer_failed():
    plan = steps()
    record = Record(planned(plan))
    record.ended(plan[2], "once")
    record.began(plan[2])
    assert (record.entries()[2].state, record.entries()[2].error) == ("doing", "")


def test_a_log_keeps_its_end():
    plan = steps()
    record = Record(planned(plan))
    for number in range(LOG_LINES + 10):
        record.said(plan[1], f"line {number}")
    log = record.entries()[1].log
    assert (len(log), log[-1]) == (LOG_LINES, f"line {LOG_LINES + 9}")


@pytest.mark.parametrize(
    "said,shown",
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\rb\x00c", "a b c"),
        ("right \u202eto left", "right  to left"),
        ("[bold]kept[/bold]", "[bold]kept[/bold]"),
    ],
)
def test_a_machine_cannot_move_the_cursor_or_change_colours(said: str, shown: str):
    assert printable(said) == shown


def test_an_ending_by_a_lost_connection_says_what_was_done_and_how_to_go_on():
    plan = steps()
    record = Record(planned(plan))
    record.ended(plan[1], None)
    record.began(plan[2])
    record.ended(plan[2], "the connection was closed")
    text = "\n".join(
        f"{note.label} {note.text}"
        for note in notes_of(
            ending_of(Unavailable("the connection was closed"), stopped=False, look_now=None), JOURNEY, record
        )
    )
    assert "The connection was lost while: Install pinthesky 1.0.0." in text
    assert "2 of 5 steps are done, the last of them: Install Debian packages." in text
    assert "pitsctl install --host pi@camera.local" in text
    assert "pitsctl remove --host pi@camera.local" in text


def test_a_failure_before_the_first_step_says_that_nothing_was_changed():
    record = Record(planned(steps()))
    notes = notes_of(ending_of(Conflict("locked"), stopped=False, look_now=None), JOURNEY, record)
    assert [note.text for note in notes][:3] == [words.FAILED_BEFORE, "locked", words.DONE_NONE]


def test_leaving_in_the_middle_of_a_step_says_that_it_was_cut_off():
    plan = steps()
    record = Record(planned(plan))
    assert [note.text for note in left(JOURNEY, record)] == [words.LEFT_EARLY]
    record.began(plan[1])
    assert left(JOURNEY, record)[0].text == words.CUT_OFF.format(title="Install Debian packages")


def test_a_plan_is_counted():
    plan = steps()
    assert plan_count(planned(plan)) == "4 to do, 1 there already."
    plan[1].found = Found(Verdict.IMPOSSIBLE, "no network")
    assert plan_count(planned(plan)) == "1 impossible, 3 to do, 1 there already."
    assert plan_count(planned(plan[:1])) == words.PLAN_NOTHING


def test_a_code_is_drawn_in_large_letters_that_fit_and_differ():
    drawn = {letter: big(letter, 70) for letter in "BCDFGHJKLMNPQRSTVWXZ0123456789-"}
    assert len(set(drawn.values())) == len(drawn)
    lines = big("WMNT-XZKQ", 68).splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 68


def test_a_code_that_cannot_be_drawn_stays_as_it_is():
    assert big("ÄB-CD", 70) == "ÄB-CD"
    assert big("WDJB-MJHT" * 3, 70) == "WDJB-MJHT" * 3


def test_a_long_fingerprint_breaks_between_bytes():
    pairs = ":".join(["a1"] * 32)
    assert [len(line) for line in by_halves(pairs).splitlines()] == [48, 47]
    assert by_halves("a1" * 32) == "a1" * 32
    assert by_halves(f"the key {pairs}").splitlines()[1] == pairs[48:]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_every_text_has_the_contrast_of_wcag_aa(theme):
    letters = {
        "foreground": theme.foreground,
        "muted": theme.variables["muted"],
        "accent": theme.accent,
        "success": theme.success,
        "warning": theme.warning,
        "error": theme.error,
    }
    grounds = [theme.background, theme.surface, theme.panel]
    weak = {
        f"{name} on {ground}": contrast(colour, ground)
        for name, colour in letters.items()
        for ground in grounds
        if contrast(colour, ground) < 4.5
    }
    assert weak == {}
    assert contrast(theme.variables["on-accent"], theme.accent) >= 4.5


def test_the_terminals_wishes_about_colours_are_heard(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORFGBG", "15;0")
    assert theme_for_terminal() is DARK
    monkeypatch.setenv("COLORFGBG", "0;15")
    assert theme_for_terminal() is LIGHT
    monkeypatch.setenv("NO_COLOR", "1")
    assert theme_for_terminal() is PLAIN


def test_no_sentence_is_left_unused():
    from pathlib import Path

    folder = Path(words.__file__).parent
    used = "".join(path.read_text("utf-8") for path in folder.glob("*.py") if path.name != "words.py")
    names = re.findall(r"^([A-Z_]+): Final", Path(words.__file__).read_text("utf-8"), re.MULTILINE)
    assert names
    assert [name for name in names if f"words.{name}" not in used] == []
