"""Answers by flag, environment and file: which wins, what is refused, and what is saved."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pitsctl import answer_texts, answers_file, telling
from pitsctl.answers import Answers, Camera, Cloud, Connection, Home
from pitsctl.command import parser
from pitsctl.installer import laid_under


def told(words: str = "", environment: dict[str, str] | None = None, file: str | None = None) -> Answers:
    options = parser().parse_args(["install", *words.split()], argparse.Namespace(answers=file))
    return telling.told(options, environment or {}, under=Answers())


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(tmp_path: Path):
    file = tmp_path / "answers.yaml"
    file.write_text("camera:\n  rotation: 90\n  framerate: 10\n  resolution: 640x480\nhome:\n  kind: hub\n")
    environment = {"PITSCTL_CAMERA_ROTATION": "180", "PITSCTL_CAMERA_FRAMERATE": "12"}
    answers = told("--camera-rotation 270", environment, str(file))
    assert answers.camera == Camera(rotation=270, framerate=12, resolution="640x480")
    assert answers.home.kind == "hub"
    assert answers.storage == Answers().storage


def test_the_file_can_be_named_by_the_environment(tmp_path: Path):
    file = tmp_path / "answers.yaml"
    file.write_text("cloud: {thing: garden}\n")
    assert told("", {"PITSCTL_ANSWERS": str(file)}).cloud.thing == "garden"


def test_the_first_pitsctl_s_short_flags_keep_their_meaning():
    answers = told("-m pi@camera.local -r /mnt/card")
    assert (answers.connection.host, answers.paths.root) == ("pi@camera.local", "/mnt/card")


def test_every_answer_has_a_flag_and_a_switch_needs_no_value(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parser().parse_args(["install", "--help"])
    shown = capsys.readouterr().out
    assert [path for path in answer_texts.PATHS if f"{telling.flag_of(path)} " not in shown] == []
    assert told("--cloudwatch-enabled").cloudwatch.enabled is True
    assert told("--storage-enabled no").storage.enabled is False


@pytest.mark.parametrize(
    "words, environment, said",
    [
        ("--camera-rotation 45", {}, r"--camera-rotation: must be one of 0, 90, 180, 270, got '45'"),
        ("", {"PITSCTL_CAMERA_FRAMERATE": "fast"}, "PITSCTL_CAMERA_FRAMERATE: must be a whole number from 1 to 120"),
        ("--connection-port 0", {}, "--connection-port: must be a whole number from 1 to 65535"),
        ("--cloud-thing a'b", {}, "--cloud-thing"),
    ],
)
def test_a_wrong_answer_names_where_it_was_given_and_the_bound(words: str, environment: dict[str, str], said: str):
    with pytest.raises(InvalidInput, match=said):
        told(words, environment)


@pytest.mark.parametrize(
    "text, said",
    [
        ("camera: {rotation: 45}", r"camera.rotation: in .* must be one of"),
        ("camera: {colour: red}", r"camera.colour: in .* no answer that is known"),
        ("camera: 5", "must hold names with values"),
        ("- a", "must hold names with values"),
        ("{", "is no YAML"),
        ("camera: {rotation: {a: 1}}", "must be a single value"),
        ("a: !!python/object/apply:os.system [ls]", "is no YAML"),
        ("x" * 70_000, "longer than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_and_where(tmp_path: Path, text: str, said: str):
    file = tmp_path / "answers.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=said):
        answers_file.read(file)


def test_a_file_that_is_not_there_or_cannot_be_written_is_said(tmp_path: Path):
    with pytest.raises(InvalidInput, match="No such file"):
        answers_file.read(tmp_path / "nothing.yaml")
    with pytest.raises(InvalidInput, match="No such file"):
        answers_file.write(Answers(), tmp_path / "nothing" / "answers.yaml")


def test_an_empty_file_answers_nothing(tmp_path: Path):
    file = tmp_path / "answers.yaml"
    file.write_text("# nothing\ncamera:\n")
    assert answers_file.read(file) == {}


@given(
    st.builds(
        Answers,
        camera=st.builds(
            Camera,
            rotation=st.sampled_from([0, 90, 180, 270]),
            framerate=st.none() | st.integers(1, 120),
            recording_window=st.sampled_from(["", "8-20", "22-6"]),
            device=st.sampled_from(["auto", "/dev/video0", "rtsp://camera/1"]),
        ),
        cloud=st.builds(Cloud, thing=st.from_regex(r"[A-Za-z0-9_:-]{0,40}", fullmatch=True)),
    )
)
def test_what_is_saved_is_read_back(tmp_path_factory: pytest.TempPathFactory, answers: Answers):
    file = tmp_path_factory.mktemp("answers") / "answers.yaml"
    answers_file.write(answers, file)
    assert answer_texts.with_values(Answers(), answers_file.read(file)) == answers


def test_what_was_answered_before_lies_under_what_is_answered_now_but_for_the_connection():
    before = Answers(
        connection=Connection(host="old"), home=Home(kind="hub", address="hub.local"), camera=Camera(rotation=90)
    )
    now = Answers(connection=Connection(), camera=Camera(rotation=180))
    laid = laid_under(now, before)
    assert laid.connection.host == ""
    assert laid.home == before.home
    assert laid.camera.rotation == 180


def test_every_section_can_be_written_and_read_whole(tmp_path: Path):
    values = msgspec.to_builtins(Answers())
    values["paths"] |= {"spool_max_mb": 2000, "client": "cpp", "upgrade_sources": ["https://a/", "https://b/"]}
    answers = msgspec.convert(values, Answers)
    answers_file.write(answers, tmp_path / "a.yaml")
    assert answer_texts.with_values(Answers(), answers_file.read(tmp_path / "a.yaml")) == answers
