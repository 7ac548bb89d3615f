"""The same questions as plain prompts: what goes in as lines comes out as answers, a plan and an exit code."""

from __future__ import annotations

import io
import os
import re
import signal
from pathlib import Path

import pytest

from pinthesky.errors import Conflict, InvalidInput, Unavailable
from pitsctl import wizard
from pitsctl.answers import Answers, Connection, Home
from pitsctl.steps import Found, Verdict
from pitsctl.wizard import words
from pitsctl.wizard.closing import DONE, FAILED, LEFT
from pitsctl.wizard.plain import Lines, PlainPerson, PlainProgress
from pitsctl.wizard.ports import Hub
from pitsctl.wizard.text_wizard import TextWizard
from tests.support.made_up_installer import REGISTRATION, MadeUpInstaller

HUB = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="hub"))
AWS = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="aws"))

# Lines for each screen that keep what stands there.
CONNECTION, HUB_HOME, HUB_STORAGE, CAMERA, DATAPLANE, PATHS = [""] * 3, [""] * 3, [""] * 3, [""] * 7, [""] * 2, [""] * 4
AWS_HOME, NAMES, STORAGE, NO_CLOUDWATCH = [""] * 3, [""] * 5, [""] * 4, [""]
TO_HUBS_PLAN = CONNECTION + HUB_HOME + HUB_STORAGE + CAMERA + DATAPLANE + PATHS
TO_AWS_PLAN = CONNECTION + AWS_HOME + NAMES + STORAGE + CAMERA + NO_CLOUDWATCH + DATAPLANE + PATHS


@pytest.fixture
def installer():
    return MadeUpInstaller()


def run(answers: Answers, installer: MadeUpInstaller, lines: list[str]) -> tuple[int, str]:
    target = io.StringIO()
    code = TextWizard(answers, installer, Lines(io.StringIO("".join(f"{line}\n" for line in lines)), target)).run()
    return code, target.getvalue()


@pytest.mark.parametrize("answers,way", [(HUB, TO_HUBS_PLAN), (AWS, TO_AWS_PLAN)], ids=["hub", "aws"])
def test_a_whole_pass_with_what_stands_there(installer, answers, way):
    code, said = run(answers, installer, [*way, "install", "finish"])
    assert code == DONE, said
    assert all(step.done for step in installer.steps[1:])
    assert "Console   https://hub.local:8443" in said


def test_no_line_is_longer_than_a_terminal_of_80_columns(installer):
    _, said = run(AWS, installer, [*TO_AWS_PLAN, "install", "finish"])
    assert [line for line in said.splitlines() if len(line) > 80] == []


def test_both_renderers_ask_the_same_in_the_same_order(installer):
    _, said = run(AWS, installer, [*TO_AWS_PLAN, "back"])
    labels = [
        words.FIELDS[question.path].label
        for screen in wizard.screens.SCREENS
        for question in screen.questions
        if screen.applies(AWS) and question.applies(AWS)
    ]
    assert re.findall(r"^   (\S[^:\[(\n]*?) [\[(].*\]: $", said, re.MULTILINE)[: len(labels)] == labels


def test_a_wrong_value_is_asked_again_with_its_bound(installer):
    code, said = run(HUB, installer, ["", "70000", "2222"])
    assert "! Port: must be a whole number from 1 to 65535" in said
    assert said.count("Port [as ssh says]") == 2
    assert code == LEFT


def test_a_value_can_be_emptied_explained_and_begun(installer):
    answers = Answers(connection=Connection(host="pi@camera.local", port=22), home=Home(kind="aws"))
    run(answers, installer, ["?", "", '""', ""])
    assert installer.looked_at[0].connection.port is None
    _, said = run(Answers(), installer, ["", "", "", "?", "h", ""])
    assert "aws: my AWS account" in said
    assert "Address [https://cellar.local:8443]" in said


def test_going_back_leads_through_questions_and_screens(installer):
    code, said = run(AWS, installer, ["", "2222", "<", "", "", *AWS_HOME, "<", "<", "pi@other.local"])
    assert said.count("1. Connection") == 2
    assert said.count("2. Home") == 2
    assert code == LEFT


def test_a_machine_is_looked_at_again_when_it_is_another(installer):
    run(AWS, installer, [*CONNECTION, "<", "pi@other.local", "", ""])
    assert [answers.connection.host for answers in installer.looked_at] == ["pi@camera.local", "pi@other.local"]


def test_what_the_machine_refuses_is_asked_again(installer):
    installer.machine_errors += [Unavailable("no route to host"), InvalidInput("connection.port", "nobody answers")]
    _, said = run(AWS, installer, [*CONNECTION, *CONNECTION, "", "22", ""])
    assert "! no route to host" in said
    assert "nobody answers" in said
    assert "Model:" in said


def test_a_hub_is_chosen_by_its_number(installer):
    installer.heard = [Hub("cellar", "https://cellar"), Hub("attic", "https://attic")]
    _, said = run(HUB, installer, [*CONNECTION, "", "2", ""])
    assert "2. attic at https://attic" in said
    assert "Hub:           https://attic" in said


def test_no_hub_and_no_address_for_a_code_is_said(installer):
    installer.heard = []
    _, said = run(HUB, installer, [*CONNECTION, "", ""])
    assert words.HUBS_NONE in said
    _, said = run(HUB, installer, [*CONNECTION, "code", ""])
    assert "! Address: an address is needed" in said


def test_an_impossible_plan_cannot_be_installed(installer):
    installer.steps[1].found = Found(Verdict.IMPOSSIBLE, "no network")
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "install", "look again"])
    assert "✗ cannot   Install Debian packages" in said
    assert "! one of look again, back, save answers" in said
    assert code == LEFT
    assert not any(step.done for step in installer.steps)


def test_hubs_that_cannot_be_heard_and_a_plan_that_cannot_be_made_say_why(installer):
    installer.hub_errors.append(Unavailable("mDNS does not work here"))
    installer.plan_errors += [Unavailable("the connection was closed"), Unavailable("and again")]
    way = [*CONNECTION, "", "hub.local", "", *HUB_STORAGE, *CAMERA, *DATAPLANE, *PATHS]
    _, said = run(HUB, installer, [*way, "look", "back", *PATHS, "install", "finish"])
    assert "! mDNS does not work here" in said
    assert "! the connection was closed" in said
    assert "The camera is set up" in said


def test_a_lost_connection_is_gone_on_from(installer):
    installer.steps[2].broken.append(Unavailable("the connection was closed"))
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "1", "go on", "1"])
    assert "! The connection was lost while: Install pinthesky 1.0.0." in said
    assert "2 of 5 steps are done" in said
    assert code == DONE


def test_what_failed_can_be_taken_back(installer):
    installer.steps[2].broken.append(Conflict("the disk is full"))
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "install", "take back", "finish"])
    assert "✗ failed   Install pinthesky 1.0.0" in said
    assert words.TAKEN_BACK in said
    assert code == DONE
    assert not any(step.done for step in installer.steps)


def test_what_failed_can_be_left(installer):
    installer.steps[2].broken.append(Conflict("the disk is full"))
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "install", "leave"])
    assert code == FAILED
    assert "pitsctl remove --host pi@camera.local" in said


def test_after_a_failure_answers_can_be_changed(installer):
    installer.steps[2].broken.append(Conflict("the disk is full"))
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "install", "change", *PATHS, "install", "finish"])
    assert code == DONE, said


def test_input_that_ends_changes_nothing(installer):
    code, said = run(HUB, installer, [""])
    assert code == LEFT
    assert words.LEFT_EARLY in said
    assert not any(step.done for step in installer.steps)


def test_input_that_ends_behind_the_installation_is_no_failure(installer):
    code, _ = run(HUB, installer, [*TO_HUBS_PLAN, "install"])
    assert code == DONE


def test_answers_are_saved_and_overwritten_by_saying_so_only(installer, tmp_path: Path):
    there = tmp_path / "a.yaml"
    there.write_text("mine", encoding="utf-8")
    run(HUB, installer, [*TO_HUBS_PLAN, "save", str(there), "no"])
    assert there.read_text("utf-8") == "mine"
    _, said = run(HUB, installer, [*TO_HUBS_PLAN, "save", str(there), "yes", "save", str(tmp_path / "no" / "b")])
    assert next(iter(installer.saved)) == there
    assert "No such file" in said


def test_ctrl_c_stops_after_the_step_and_again_at_once(installer):
    def interrupt(step):
        if step.name == "wheel":
            os.kill(os.getpid(), signal.SIGINT)

    installer.gate = interrupt
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "install", "leave"])
    assert words.TEXT_AGAIN in said
    assert "! Stopped, as you asked." in said
    assert code == LEFT
    assert [step.done for step in installer.steps] == [False, True, True, False, False]

    def twice(step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    installer.gate = twice
    code, said = run(HUB, installer, [*TO_HUBS_PLAN, "install"])
    assert "! Cut off while: Get the camera's certificate." in said
    assert code == LEFT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_password_a_key_and_a_code_are_asked_and_shown_as_lines(installer):
    target = io.StringIO()
    person = PlainPerson(Lines(io.StringIO("sec\nperhaps\ny\n"), target))
    assert person.secret("Password") == "sec"
    assert person.confirm("Trust it?", "ED25519 SHA256:abc")
    assert person.secret("Again") is None, "the input has ended"
    assert not person.confirm("And this?")
    person.show_registration(REGISTRATION)
    person.show_registration(None)
    said = target.getvalue()
    assert "    ED25519 SHA256:abc" in said
    assert all(part in said for part in (REGISTRATION.user_code, REGISTRATION.address, "15:00 left"))


def test_a_machine_cannot_write_escapes_into_the_lines(installer):
    target = io.StringIO()
    progress = PlainProgress(Lines(io.StringIO(), target))
    progress.began(installer.steps[1])
    progress.said(installer.steps[1], "\x1b[31mred\x1b[0m")
    progress.ended(installer.steps[1], "bad \x1b]0;t\x07end")
    assert "\x1b" not in target.getvalue()
    assert "red" in target.getvalue()


def test_without_a_terminal_the_prompts_are_taken(installer, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert wizard.run(HUB, installer) == LEFT
    assert installer.closed.is_set()


@pytest.mark.parametrize("term,drawn", [("dumb", False), ("", False), ("xterm-256color", True)])
def test_only_a_terminal_that_can_be_drawn_on_is_drawn_on(monkeypatch, term, drawn):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", term)
    assert wizard.can_draw() is drawn


def test_the_hang_up_of_a_terminal_ends_the_program_and_closes_the_connection(installer, monkeypatch):
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    look = installer.look_at_machine

    def hung_up(answers, person):
        os.kill(os.getpid(), signal.SIGHUP)
        return look(answers, person)

    installer.look_at_machine = hung_up
    target = io.StringIO("\n\n\n")
    monkeypatch.setattr("sys.stdin", target)
    wizard.run(HUB, installer, text=True)
    assert ended == [wizard.LOST]
    assert installer.closed.is_set()
