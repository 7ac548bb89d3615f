"""The full-screen wizard, key by key, at 80 columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, Unavailable
from pitsctl.answers import Answers, Camera, Cloud, Connection, Home
from pitsctl.steps import Found, Verdict
from pitsctl.wizard import words
from pitsctl.wizard.closing import DONE, FAILED, LEFT
from pitsctl.wizard.ports import Hub
from tests.support.made_up_installer import REGISTRATION, MadeUpInstaller
from tests.support.wizard_pilot import Driver, drive

AWS = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="aws"), cloud=Cloud(thing="garden"))
AT_HOME = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="hub"))


@pytest.fixture
def installer():
    return MadeUpInstaller()


def test_at_home_the_screens_of_aws_are_passed_over_and_the_hub_is_found(installer):
    async def script(d: Driver):
        await d.to_screen("home")
        await d.check_sees("– Cloud names", "– CloudWatch", "https://cellar.local:8443")
        await d.press("enter")
        await d.check_sees("Hub           https://cellar.local:8443")
        await d.go_on("Storage")
        assert "Bucket" not in d.text

    drive(AT_HOME, installer, script)


def test_values_are_kept_going_back_and_forth(installer):
    async def script(d: Driver):
        await d.press("tab")
        await d.paste("2222")
        await d.press("enter")
        await d.check_sees("Model")
        await d.arrived()
        await d.go_on("Home")
        await d.press("escape")
        await d.check_sees("▸ Connection", "2222")
        await d.press("enter")
        await d.check_sees("▸ Home")

    drive(AWS, installer, script)
    assert [answers.connection.port for answers in installer.looked_at] == [2222], "looked at once, with what was typed"


def test_an_error_stands_beside_its_field_and_keeps_a_person_there(installer):
    async def script(d: Driver):
        await d.press("tab")
        await d.paste("70000")
        await d.press("enter")
        await d.check_sees("✗ must be a whole number from 1 to")
        assert "▸ Port" in d.text, "the focus is where something is wrong"
        await d.press("backspace")
        await d.until(lambda: "✗" not in d.text, "the complaint going away")
        await d.press("enter")
        await d.check_sees("Model")

    drive(AWS, installer, script)
    assert installer.looked_at[0].connection.port == 7000


def test_nobody_is_told_off_while_still_typing(installer):
    async def script(d: Driver):
        await d.press("tab")
        await d.paste("x")
        assert "✗" not in d.text
        await d.press("tab")
        await d.check_sees("✗ must be a whole number")

    drive(AWS, installer, script)


def test_a_home_has_to_be_chosen(installer):
    async def script(d: Driver):
        await d.to_screen("home")
        await d.press("enter")
        await d.check_sees("✗ choose one of the three")
        await d.press("right", "right", "right")
        await d.check_sees("(•) by a code typed in the console", "Fingerprint")
        await d.press("enter")
        await d.check_sees("✗ an address is needed")
        await d.paste("https://cloud.example")
        await d.press("enter")
        await d.check_sees("Address       https://cloud.example")

    drive(Answers(), installer, script)


def test_the_error_of_a_machine_stands_where_it_belongs(installer):
    installer.machine_errors += [
        Unavailable("pi@camera.local: no route to host"),
        InvalidInput("connection.identity_file", "there is no such file"),
    ]

    async def script(d: Driver):
        await d.press("enter")
        await d.check_sees("✗ pi@camera.local: no route to host")
        await d.press("enter")
        await d.check_sees("✗ there is no such file", "▸ Key file")
        await d.press("enter")
        assert len(installer.looked_at) == 2, "what is wrong is not tried again as it stands"
        await d.paste("k")
        await d.press("enter")
        await d.check_sees("Model")

    drive(AWS, installer, script)


def test_escape_gives_up_a_machine_that_does_not_answer(installer):
    installer.hangs.set()

    async def script(d: Driver):
        await d.press("enter")
        await d.check_sees("Looking at pi@camera.local …", "Esc gives up")
        await d.press("escape")
        await d.check_sees("✗ pi@camera.local does not answer", "[ Continue ]")
        installer.hangs.clear()
        await d.press("enter")
        await d.check_sees("Model")

    drive(AWS, installer, script)


@pytest.mark.parametrize("keys,trusted", [(["enter"], False), (["right", "enter"], True)])
def test_an_unknown_host_key_is_trusted_by_saying_so_only(installer, keys, trusted):
    installer.asks_for_host_key = True

    async def script(d: Driver):
        await d.press("enter")
        await d.check_sees("Is this pi@camera.local?", "ED25519 SHA256:mVPwvezndPv/ARoIadVY98vAC0g")
        await d.press(*keys)
        await d.check_sees("Model" if trusted else "✗ the host key was not trusted")

    drive(AWS, installer, script)
    assert installer.told == [trusted]


@pytest.mark.parametrize("keys,given", [(["s", "e", "c", "tab", "enter"], "sec"), (["s", "escape"], None)])
def test_a_password_is_asked_on_the_screen_and_not_shown(installer, keys, given):
    installer.asks_for_password = True

    async def script(d: Driver):
        d.app._start(d.app._review)
        await d.check_sees("Password of pi on camera.local, for sudo")
        await d.press(*keys[:-1])
        assert "sec" not in d.text
        await d.press(keys[-1])
        await d.check_sees("[ Install ]")

    drive(AWS, installer, script)
    assert installer.told == [given]


def test_what_is_impossible_comes_first_and_keeps_from_installing(installer):
    installer.steps[4].found = Found(Verdict.IMPOSSIBLE, "no systemd here: choose another system")

    async def script(d: Driver):
        await d.to_review()
        await d.check_sees(
            "1 impossible", "✗ cannot   Install and start the services", "no systemd here", "[ Look again ]"
        )
        await d.check_sees("! Live view by WebRTC stops at two viewers")
        assert d.text.index("✗ cannot") < d.text.index("Make the user")
        assert "[ Install ]" not in d.text
        installer.steps[4].found = Found(Verdict.NEEDED, "it can")
        await d.press("enter")
        await d.check_sees("[ Install ]")

    drive(AWS, installer, script)
    assert not any(step.done for step in installer.steps)


def test_a_plan_that_cannot_be_made_says_why_and_every_button_does_what_it_says(installer):
    installer.plan_errors.append(Unavailable("the connection was closed"))

    async def script(d: Driver):
        await d.to_review()
        await d.check_sees("✗ the connection was closed", "[ Look again ]")
        await d.press("enter")
        await d.check_sees("[ Install ]", "PgDn More")
        await d.arrived()
        await d.press("pagedown")
        await d.check_sees("pinthesky, pits-device-client")
        await d.press("tab", "tab", "enter")
        await d.check_sees("Everything you typed")
        await d.click("#button-cancel")
        await d.until(lambda: len(d.app.screen_stack) == 1, "the dialog going away")
        await d.press("escape")
        await d.check_sees("▸ Paths")
        await d.arrived()
        await d.click("#button-back")
        await d.check_sees("▸ Data plane")
        await d.arrived()
        await d.click("#field-dataplane-enabled Choice", (12, 0))
        await d.check_sees("( ) yes   (•) no")
        await d.press("left")
        await d.check_sees("(•) yes   ( ) no", "Endpoint")

    drive(AWS, installer, script)
    assert installer.saved == {}


def test_after_a_lost_connection_it_goes_on_where_it_was(installer):
    installer.steps[2].broken.append(Unavailable("pi@camera.local: the connection was closed"))

    async def script(d: Driver):
        await d.to_review()
        await d.press("enter")
        await d.check_sees("The connection was lost while: Install pinthesky 1.0.0.", "the connection was closed")
        await d.check_sees("2 of 5 steps are done", "[ Go on ]")
        await d.press("enter")
        await d.check_sees("The camera is set up")
        await d.press("enter")

    assert drive(AWS, installer, script) == DONE


def test_what_failed_can_be_taken_back(installer):
    installer.steps[3].broken.append(Conflict("the policy belongs to somebody else"))

    async def script(d: Driver):
        await d.to_review()
        await d.press("enter")
        await d.check_sees("✗ This step failed: Get the camera's certificate.", "the policy belongs to somebody else")
        await d.press("tab", "tab", "enter")
        await d.check_sees("Everything that this installation did was taken back.")
        await d.press("enter")

    assert drive(AWS, installer, script) == DONE
    assert not any(step.done for step in installer.steps)


def test_after_a_failure_answers_can_be_changed_and_leaving_one_is_a_failure(installer):
    installer.steps[1].broken.append(Conflict("no"))

    async def script(d: Driver):
        await d.to_review()
        await d.press("enter")
        await d.check_sees("[ Leave ]")
        await d.press("tab", "enter")
        await d.check_sees("▸ Connection", "Host")
        await d.arrived()
        await d.to_review()
        installer.steps[1].broken.append(Conflict("no"))
        await d.press("enter")
        await d.check_sees("[ Leave ]")
        await d.press("ctrl+c")

    assert drive(AWS, installer, script) == FAILED


def test_the_log_of_each_step_can_be_read_while_others_work_and_is_no_markup(installer):
    installer.steps[1].lines = ("[red]not red[/red] \x1b[2Jgone", "Setting up python3-picamera2")
    hold = installer.hold("units")

    async def script(d: Driver):
        await d.to_review()
        await d.press("enter")
        await d.check_sees("▸ works    Install and start the services", "4 of 5 done.", "(nothing said yet)")
        await d.press("up", "up", "up")
        await d.check_sees("Log of: Install Debian packages", "Setting up python3-picamera2", "[red]not red[/red] gone")
        hold.set()
        await d.check_sees("▸ Result")

    drive(AWS, installer, script)


def test_stopping_waits_for_the_step_and_keeps_what_is_done(installer):
    hold = installer.hold("wheel")

    async def script(d: Driver):
        await d.to_review()
        await d.press("enter")
        await d.check_sees("▸ works    Install pinthesky 1.0.0")
        await d.press("ctrl+c")
        await d.check_sees("Stay", "Leave at once")
        await d.press("right", "enter")
        await d.check_sees("Stopping after this step …")
        hold.set()
        await d.check_sees("Stopped, as you asked.", "3 of 5 steps are done", "[ Go on ]")
        await d.press("ctrl+c")

    assert drive(AWS, installer, script) == LEFT
    assert [step.done for step in installer.steps] == [False, True, True, False, False]


def test_a_code_is_shown_until_it_is_approved_and_can_be_hidden(installer):
    installer.registers = True

    async def script(d: Driver):
        await d.to_review()
        await d.press("enter")
        await d.check_sees("Let the camera in", REGISTRATION.address, REGISTRATION.user_code, "14:5", "f3:19:ab")
        await d.press("escape")
        await d.check_sees("Waiting for the code WDJB-MJHT", "https://hub.local:8443/register", "F4 Show the code")
        await d.press("f4")
        await d.check_sees("Let the camera in")
        installer.approved.set()
        await d.check_sees("The camera is set up")

    drive(AT_HOME, installer, script)


def test_answers_are_saved_for_another_time_and_overwritten_by_saying_so_only(installer, tmp_path: Path):
    there = tmp_path / "a.yaml"
    there.write_text("mine", encoding="utf-8")

    async def script(d: Driver):
        await d.press("f2")
        await d.check_sees("Everything you typed", words.SAVE_NAME)
        await d.press("ctrl+u")
        await d.paste(str(there))
        await d.press("enter")
        await d.check_sees(words.SAVE_OVER)
        assert there.read_text("utf-8") == "mine"
        await d.press("enter")
        await d.until(lambda: installer.saved, "the file")
        await d.check_sees("✓ Written:")

    drive(AWS, installer, script)
    assert installer.saved == {there: AWS}


def test_answers_that_cannot_be_saved_say_why(installer, tmp_path: Path):
    async def script(d: Driver):
        await d.press("f2")
        await d.check_sees("Everything you typed")
        await d.press("ctrl+u")
        await d.paste(str(tmp_path / "no" / "a.yaml"))
        await d.press("enter")
        await d.check_sees("✗ ", "No such file")

    drive(AWS, installer, script)


def test_leaving_is_asked_once(installer):
    async def script(d: Driver):
        await d.press("ctrl+c")
        await d.check_sees("Leave the installation?")
        await d.press("escape")
        await d.until(lambda: len(d.app.screen_stack) == 1, "staying")
        await d.press("ctrl+c")
        await d.check_sees("Leave the installation?")
        await d.press("ctrl+c")

    assert drive(AWS, installer, script) == LEFT


def test_a_question_that_nobody_answers_ends_when_the_person_leaves(installer):
    installer.asks_for_host_key = True

    async def script(d: Driver):
        await d.press("enter")
        await d.check_sees("Is this pi@camera.local?")
        await d.press("ctrl+c", "ctrl+c")

    assert drive(AWS, installer, script) == LEFT
    assert installer.told == [False]


def test_of_several_hubs_one_is_chosen_by_key(installer):
    installer.heard = [Hub("cellar", "https://cellar"), Hub("attic", "https://attic")]

    async def script(d: Driver):
        await d.to_screen("home")
        await d.check_sees("( ) cellar at https://cellar")
        await d.press("down", "down", "right", "right")
        await d.check_sees("(•) attic at https://attic")
        await d.press("enter")
        await d.check_sees("Hub           https://attic")

    drive(AT_HOME, installer, script)


def test_a_choice_can_be_made_with_the_mouse(installer):
    async def script(d: Driver):
        await d.to_screen("home")
        await d.click("#field-home-kind Choice", (8, 1))
        await d.check_sees("(•) a hub in this network")
        await d.click("#button-next")
        await d.check_sees("Hub ")

    drive(AWS, installer, script)


def test_what_home_cannot_be_reached_is_said(installer):
    installer.home_errors.append(NotAuthorized("the credentials of profile default have expired"))

    async def script(d: Driver):
        await d.to_screen("home")
        await d.press("enter")
        await d.check_sees("✗ the credentials of profile default have expired")

    drive(AWS, installer, script)


def test_nothing_is_clipped_on_a_narrow_or_a_wide_terminal(installer):
    async def script(d: Driver):
        await d.resize(120, 40)
        await d.check_sees("▸ Connection", "· Result")
        await d.resize(60, 20)
        await d.until(lambda: "· Result" not in d.text, "the rail going away")
        await d.check_sees("Connection", "[ Continue ]", "Ctrl-C Leave")
        await d.press("enter")
        await d.check_sees("Model")

    drive(AWS, installer, script)


def test_given_answers_stand_in_the_fields(installer):
    given = Answers(connection=AWS.connection, home=AWS.home, camera=Camera(rotation=180, framerate=7))

    async def script(d: Driver):
        await d.to_screen("camera")
        await d.check_sees("(•) 180")
        assert "Frames a second  7" in d.text

    drive(given, installer, script)


def test_without_colours_the_focus_is_seen_all_the_same(installer, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(d: Driver):
        await d.check_sees("▸ Host")
        segments = [segment for strip in d.app.screen._compositor.render_strips() for segment in strip]
        assert all(
            segment.style is None or segment.style.color is None or segment.style.color.is_default
            for segment in segments
        )
        await d.press("tab", "tab", "tab")

        def is_marked() -> bool:
            strips = d.app.screen._compositor.render_strips()
            return any(
                part.style and part.style.reverse for strip in strips for part in strip if "[ Continue ]" in part.text
            )

        await d.until(is_marked, "the focus")

    drive(AWS, installer, script)


def test_the_page_in_the_reference_shows_the_screens_of_now():
    from tools.wizard_captures import PAGE, page

    assert PAGE.read_text("utf-8") == page()
