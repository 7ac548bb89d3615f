"""The questions, described once: which screens there are, in which order, and which field is asked when.

Both renderers read this; the words are in `words`, the bounds in `pitsctl.answers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pitsctl.answers import Answers

Condition = Callable[[Answers], bool]


def _always(_answers: Answers) -> bool:
    return True


def _never(_answers: Answers) -> bool:
    return False


def _in_aws(answers: Answers) -> bool:
    return answers.home.kind == "aws"


def _by_registration(answers: Answers) -> bool:
    return answers.home.kind in ("hub", "code")


@dataclass(frozen=True)
class Question:
    """A field of a screen: its path in the answers, when it is asked, and when it may not be empty."""

    path: str
    applies: Condition = _always
    needed: Condition = _never


@dataclass(frozen=True)
class Screen:
    """A screen of questions.

    `look` says what is looked at when a person goes on from it. A screen that does not apply is passed over.
    """

    name: str
    questions: tuple[Question, ...]
    applies: Condition = _always
    look: Literal["", "machine", "home"] = ""


def _section(name: str, *fields: str, applies: Condition = _always) -> tuple[Question, ...]:
    return tuple(Question(f"{name}.{field}", applies) for field in fields)


SCREENS: Final[tuple[Screen, ...]] = (
    Screen("connection", _section("connection", "host", "port", "identity_file"), look="machine"),
    Screen(
        "home",
        (
            Question("home.kind", needed=_always),
            Question("home.address", _by_registration, needed=lambda answers: answers.home.kind == "code"),
            Question("home.authority_sha256", _by_registration),
            *_section("home", "profile", "region", applies=_in_aws),
        ),
        look="home",
    ),
    Screen("cloud", _section("cloud", "thing", "group", "policy", "role", "role_alias"), applies=_in_aws),
    Screen(
        "storage",
        (
            Question("storage.enabled"),
            Question("storage.bucket", lambda answers: _in_aws(answers) and answers.storage.enabled),
            *_section("storage", "video_prefix", "image_prefix", applies=lambda answers: answers.storage.enabled),
        ),
    ),
    Screen(
        "camera",
        _section(
            "camera", "device", "rotation", "resolution", "framerate", "bitrate", "sensitivity", "recording_window"
        ),
    ),
    Screen(
        "cloudwatch",
        (
            Question("cloudwatch.enabled"),
            *_section(
                "cloudwatch",
                "event_type",
                "level",
                "log_group",
                "namespace",
                applies=lambda answers: answers.cloudwatch.enabled,
            ),
        ),
        applies=_in_aws,
    ),
    Screen(
        "dataplane",
        (
            Question("dataplane.enabled"),
            Question("dataplane.endpoint", lambda answers: answers.dataplane.enabled),
        ),
    ),
    Screen("paths", _section("paths", "root", "spool_max_mb", "client", "upgrade_sources")),
)

WORK: Final = ("review", "progress", "result")
"""What follows the questions."""

ORDER: Final = (*(screen.name for screen in SCREENS), *WORK)


def screen_of(name: str) -> Screen:
    """The screen of that name. Raises KeyError."""
    return {screen.name: screen for screen in SCREENS}[name]
