"""One way in for what is typed, with the bounds of the answers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pitsctl.answer_texts import PATHS, bound_of, choices_of, is_switch, text_of, value_of, with_values
from pitsctl.answers import Answers


def test_every_field_of_the_answers_has_a_path():
    assert len(PATHS) == len(set(PATHS))
    assert PATHS[0] == "connection.host"
    assert {"home.kind", "camera.rotation", "paths.upgrade_sources"} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_what_stands_in_a_field_reads_back_as_its_value(path: str):
    answers = Answers()
    section, _, field = path.partition(".")
    assert value_of(path, text_of(path, answers)) == getattr(getattr(answers, section), field)


@pytest.mark.parametrize(
    "path,text,value",
    [
        ("connection.port", "2222", 2222),
        ("connection.port", "", None),
        ("camera.rotation", "270", 270),
        ("storage.enabled", "No", False),
        ("cloudwatch.enabled", "on", True),
        ("cloudwatch.level", "debug", "DEBUG"),
        ("camera.resolution", " 1280x720 ", "1280x720"),
        ("paths.upgrade_sources", "https://a  https://b", ("https://a", "https://b")),
        ("home.kind", "", ""),
    ],
)
def test_a_value_is_read(path: str, text: str, value: object):
    assert value_of(path, text) == value


@pytest.mark.parametrize(
    "path,text,reason",
    [
        ("connection.port", "65536", "must be a whole number from 1 to 65535"),
        ("connection.port", "ssh", "must be a whole number from 1 to 65535"),
        ("camera.rotation", "45", "must be one of 0, 90, 180, 270"),
        ("storage.enabled", "perhaps", "must be yes or no"),
        ("camera.resolution", "large", "must be width x height in pixels, such as 1280x720"),
        ("camera.recording_window", "8", "must be two hours of the day, such as 8-20 or 22-6"),
        ("home.kind", "gcp", "must be one of aws, hub, code"),
        ("cloud.thing", "a b", "must be only letters, digits and _ . : / -, at most 128 characters"),
        ("connection.host", "h" * 256, "must be at most 255 characters"),
        ("paths.root", "relative", "must be an absolute path of letters, digits and . _ - /"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_bound(path: str, text: str, reason: str):
    with pytest.raises(InvalidInput) as refused:
        value_of(path, text)
    assert (refused.value.field, refused.value.reason) == (path, reason)


@pytest.mark.parametrize("path", PATHS)
def test_every_bound_has_words(path: str):
    assert bound_of(path)
    assert "^" not in bound_of(path), "a pattern is no explanation"


def test_choices_come_in_the_order_of_the_answers():
    assert choices_of("home.kind") == ("", "aws", "hub", "code")
    assert choices_of("camera.resolution") == ()
    assert is_switch("storage.enabled")
    assert not is_switch("camera.rotation")


def test_values_go_into_their_sections_and_leave_the_others_alone():
    answers = with_values(Answers(), {"camera.rotation": 90, "camera.framerate": 10, "home.kind": "hub"})
    assert (answers.camera.rotation, answers.camera.framerate, answers.home.kind) == (90, 10, "hub")
    assert answers.storage == Answers().storage


@given(path=st.sampled_from(PATHS), text=st.text(max_size=300))
def test_anything_typed_is_a_value_or_a_complaint_about_that_field(path: str, text: str):
    try:
        value = value_of(path, text)
    except InvalidInput as error:
        assert error.field == path
    else:
        assert value_of(path, text_of(path, with_values(Answers(), {path: value}))) == value
