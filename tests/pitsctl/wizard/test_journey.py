"""The way through the screens, without any screen."""

from __future__ import annotations

import pytest

from pinthesky.errors import InvalidInput, Unavailable
from pitsctl.answer_texts import PATHS, with_values
from pitsctl.answers import Answers, Connection, Home
from pitsctl.steps import Verdict
from pitsctl.wizard import words
from pitsctl.wizard.journey import Journey
from pitsctl.wizard.ports import Hub, Sighting
from pitsctl.wizard.screens import ORDER, SCREENS, screen_of
from tests.support.made_up_installer import ZERO_2


@pytest.fixture
def journey():
    return Journey(Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="aws")))


def names(journey: Journey) -> list[str]:
    return [screen.name for screen in journey.screens()]


def asked(journey: Journey, name: str) -> list[str]:
    return [question.path for question in journey.questions(screen_of(name))]


def test_every_answer_is_asked_on_one_screen():
    on_screens = [question.path for screen in SCREENS for question in screen.questions]
    assert sorted(on_screens) == sorted(PATHS)


def test_every_screen_and_field_has_words():
    assert set(words.PAGES) == set(ORDER)
    assert set(words.FIELDS) == set(PATHS)
    assert set(words.VERDICTS) == set(Verdict)


def test_labels_fit_beside_their_fields():
    assert [field.label for field in words.FIELDS.values() if len(field.label) > 16] == []


def test_help_fits_into_two_lines_of_eighty_columns():
    assert [field.label for field in words.FIELDS.values() if len(field.help) > 112] == []


def test_screens_come_in_order_and_lead_to_the_review(journey):
    way = ["connection"]
    while way[-1] != "review":
        way.append(journey.after(way[-1]))
    assert way == [*names(journey), "review"]
    assert [journey.before(name) for name in way] == ["", *way[:-1]]


def test_a_hub_needs_no_names_and_no_cloudwatch(journey):
    journey.type("home.kind", "hub")
    assert names(journey) == ["connection", "home", "storage", "camera", "dataplane", "paths"]
    assert "storage.bucket" not in asked(journey, "storage")


def test_what_is_asked_follows_what_was_answered(journey):
    assert asked(journey, "home") == ["home.kind", "home.profile", "home.region"]
    journey.type("home.kind", "code")
    assert asked(journey, "home") == ["home.kind", "home.address", "home.authority_sha256"]
    journey.type("storage.enabled", "no")
    assert asked(journey, "storage") == ["storage.enabled"]


def test_a_value_that_cannot_be_read_keeps_its_text_and_changes_no_answer(journey):
    journey.type("camera.framerate", "20")
    journey.type("camera.framerate", "2000")
    assert journey.text("camera.framerate") == "2000"
    assert journey.error("camera.framerate") == "must be a whole number from 1 to 120"
    assert journey.answers.camera.framerate == 20


def test_a_value_typed_right_takes_its_complaint_away(journey):
    journey.type("camera.framerate", "2000")
    journey.type("camera.framerate", "15")
    assert journey.error("camera.framerate") == ""
    assert journey.answers.camera.framerate == 15


def test_forgetting_what_cannot_be_read_brings_back_what_stood_there(journey):
    journey.type("camera.framerate", "20")
    journey.type("camera.framerate", "x")
    journey.forget("camera.framerate")
    assert (journey.text("camera.framerate"), journey.error("camera.framerate")) == ("20", "")


def test_an_empty_field_that_is_needed_keeps_a_person_there(journey):
    journey.type("home.kind", "code")
    assert journey.errors(screen_of("home")) == {"home.address": words.NEEDED["home.address"]}
    assert Journey(Answers()).errors(screen_of("home")) == {"home.kind": words.NEEDED["home.kind"]}


def test_a_complaint_in_a_field_that_is_not_asked_keeps_nobody(journey):
    journey.type("cloudwatch.enabled", "yes")
    journey.type("cloudwatch.log_group", "a b")
    journey.type("cloudwatch.enabled", "no")
    assert journey.errors(screen_of("cloudwatch")) == {}


def test_an_error_of_the_machine_stands_beside_the_field_that_it_names(journey):
    assert journey.complain_of(InvalidInput("connection.identity_file", "there is no such file"))
    assert journey.error("connection.identity_file") == "there is no such file"
    assert not journey.complain_of(InvalidInput("elsewhere", "x"))
    assert not journey.complain_of(Unavailable("no answer"))


def test_a_machine_is_looked_at_once_for_each_connection(journey):
    screen = screen_of("connection")
    assert journey.must_look(screen)
    journey.saw(screen, ZERO_2)
    assert not journey.must_look(screen)
    journey.type("connection.host", "pi@other.local")
    assert journey.must_look(screen)
    assert journey.notes(screen) == [], "what was found there is of the other machine"
    journey.type("connection.host", "pi@camera.local")
    assert not journey.must_look(screen)


def test_the_review_waits_for_looks_that_are_due(journey):
    journey.saw(screen_of("connection"), ZERO_2)
    assert journey.first_wrong() == "home"
    journey.saw(screen_of("home"), Sighting())
    assert journey.first_wrong() == ""
    journey.type("camera.bitrate", "1")
    assert journey.first_wrong() == "camera"


def test_what_is_found_stands_in_the_fields_where_nobody_typed(journey):
    journey.type("camera.rotation", "90")
    journey.type("camera.framerate", "none")
    found = with_values(journey.answers, {"camera.rotation": 270, "camera.framerate": 12, "cloud.thing": "porch"})
    journey.saw(screen_of("connection"), Sighting(answers=found))
    assert journey.text("camera.rotation") == "90"
    assert journey.text("cloud.thing") == "porch"
    assert (journey.text("camera.framerate"), journey.answers.camera.framerate) == ("none", 12)
    assert not journey.must_look(screen_of("connection"))


def test_empty_fields_of_the_camera_stand_for_the_preset_of_this_pi(journey):
    journey.saw(screen_of("connection"), ZERO_2)
    assert journey.empty("camera.resolution") == "1280x720 (preset)"
    assert journey.empty("camera.framerate") == "15 (preset)"
    assert journey.empty("camera.sensitivity") == "10"


def test_what_a_model_cannot_do_is_said_before_anything_is_installed(journey):
    journey.saw(screen_of("connection"), ZERO_2)
    notes = journey.notes(screen_of("camera"))
    assert [note.text for note in notes] == list(ZERO_2.cannot)
    assert notes[0].tone == "attention"


def test_a_machine_without_preset_is_told_so(journey):
    journey.saw(screen_of("connection"), Sighting())
    assert [note.text for note in journey.notes(screen_of("camera"))] == [words.NO_PRESET]


def test_the_only_hub_stands_in_the_address(journey):
    journey.hear([Hub("cellar", "https://cellar.local:8443")])
    journey.type("home.kind", "hub")
    assert journey.text("home.address") == "https://cellar.local:8443"
    journey.type("home.kind", "code")
    assert journey.text("home.address") == "", "a code may be another home's"


def test_of_several_hubs_a_person_chooses(journey):
    journey.type("home.kind", "hub")
    journey.hear([Hub("cellar", "https://cellar"), Hub("attic", "https://attic")])
    assert journey.text("home.address") == ""
    assert [value for value, _ in journey.suggestions("home.address")] == ["https://cellar", "https://attic"]


def test_an_address_that_was_typed_is_not_overwritten_by_a_hub(journey):
    journey.type("home.kind", "hub")
    journey.type("home.address", "https://mine")
    journey.hear([Hub("cellar", "https://cellar")])
    assert journey.text("home.address") == "https://mine"


def test_cameras_that_were_found_can_be_chosen_beside_the_pis_own(journey):
    assert journey.suggestions("camera.device") == ()
    journey.saw(screen_of("connection"), ZERO_2)
    assert [value for value, _ in journey.suggestions("camera.device")] == ["auto", "/dev/video0"]


@pytest.mark.parametrize("kind,said", [("logs", ["logs"]), ("emf", ["emf"]), ("all", ["logs", "emf"])])
def test_cloudwatch_says_what_it_costs(journey, kind, said):
    screen = screen_of("cloudwatch")
    assert [note.text for note in journey.notes(screen)] == [words.COST["off"]]
    journey.type("cloudwatch.enabled", "yes")
    journey.type("cloudwatch.event_type", kind)
    assert [note.text for note in journey.notes(screen)][:-1] == [words.COST[what] for what in said]


def test_commands_name_the_machine(journey):
    assert journey.command("remove") == "pitsctl remove --host pi@camera.local"
    assert Journey(Answers()).command("install") == "pitsctl install"
    journey.type("connection.port", "2222")
    journey.type("connection.identity_file", "~/my keys/pi")
    assert journey.command("install") == (
        "pitsctl install --host pi@camera.local --connection-port 2222 --connection-identity-file '~/my keys/pi'"
    )
