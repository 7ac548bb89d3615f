"""A person's way through the screens: what they typed, what was found, and what comes next. Draws nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pinthesky.errors import InvalidInput
from pinthesky.model.presets import preset_for
from pitsctl.answer_texts import PATHS, text_of, value_of, with_values
from pitsctl.answers import Answers
from pitsctl.wizard import words
from pitsctl.wizard.ports import Hub, Sighting
from pitsctl.wizard.screens import SCREENS, Question, Screen

Tone = Literal["plain", "detail", "address", "good", "attention", "fault"]
"""What a line means; `detail` belongs to the one before, `address` is what a person copies: it is never wrapped."""


@dataclass(frozen=True)
class Note:
    """A line of a screen that is no question."""

    text: str
    tone: Tone = "plain"
    label: str = ""


class Journey:
    """Values go in as text, per field; what cannot be read keeps its text and its complaint, and is no answer yet."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        """What was given and found, with every field that can be read; the others as they were before."""
        self.hubs: tuple[Hub, ...] | None = None
        """What announces itself in this network; None: nobody listened yet."""
        self._typed: dict[str, str] = {}
        self._errors: dict[str, str] = {}
        self._seen: dict[str, tuple[Any, Sighting]] = {}

    def text(self, path: str) -> str:
        """What stands in a field."""
        return self._typed.get(path, text_of(path, self.answers))

    def type(self, path: str, text: str) -> None:
        """A person has put `text` into a field."""
        if text == self.text(path):
            return
        self._typed[path] = text
        self._errors.pop(path, None)
        try:
            self.answers = with_values(self.answers, {path: value_of(path, text)})
        except InvalidInput as error:
            self._errors[path] = error.reason
        self._take_only_hub()

    def hear(self, hubs: Sequence[Hub]) -> None:
        """Hubs announce themselves: the only one stands in the field, where nobody has typed another."""
        self.hubs = tuple(hubs)
        self._take_only_hub()

    def _take_only_hub(self) -> None:
        if not self.hubs or len(self.hubs) > 1 or "home.address" in self._typed:
            return
        only, home = self.hubs[0].address, self.answers.home
        if home.kind == "hub" and not home.address:
            self.answers = with_values(self.answers, {"home.address": only})
        elif home.kind != "hub" and home.address == only:
            self.answers = with_values(self.answers, {"home.address": ""})

    def forget(self, path: str) -> None:
        """Put back into a field what stood there before something that could not be read."""
        if self._errors.pop(path, None):
            self._typed.pop(path, None)

    def complain_of(self, error: Exception) -> bool:
        """Put an error beside the field that it names; False: it names none, or one that is not asked."""
        if not isinstance(error, InvalidInput) or error.field not in PATHS:
            return False
        self._errors[error.field] = error.reason
        return True

    def error(self, path: str) -> str:
        """What is wrong with what stands in a field, for a person; empty: nothing."""
        return self._errors.get(path, "")

    def questions(self, screen: Screen) -> list[Question]:
        """The fields of a screen that are asked as things are."""
        return [question for question in screen.questions if question.applies(self.answers)]

    def errors(self, screen: Screen) -> dict[str, str]:
        """What keeps a person from going on, by field; an empty field that is needed is among them."""
        wrong = {}
        for question in self.questions(screen):
            path = question.path
            missing = question.needed(self.answers) and not self.text(path).strip()
            if reason := self.error(path) or (words.NEEDED[path] if missing else ""):
                wrong[path] = reason
        return wrong

    def screens(self) -> list[Screen]:
        """The screens that apply as things are, in order."""
        return [screen for screen in SCREENS if screen.applies(self.answers)]

    def after(self, name: str) -> str:
        """The screen behind one; `review` behind the last."""
        names = [screen.name for screen in self.screens()]
        return [*names, "review"][names.index(name) + 1]

    def before(self, name: str) -> str:
        """The screen before one, also before `review`; empty before the first."""
        names = ["", *(screen.name for screen in self.screens()), "review"]
        return names[names.index(name) - 1]

    def first_wrong(self) -> str:
        """The first screen with something wrong or never looked at; empty: the way to the review is free."""
        for screen in self.screens():
            if self.errors(screen) or self.must_look(screen):
                return screen.name
        return ""

    def must_look(self, screen: Screen) -> bool:
        """Whether going on from a screen needs a look that was not taken with these values."""
        return bool(screen.look) and self._seen.get(screen.look, (None, None))[0] != self._looked_at(screen)

    def saw(self, screen: Screen, sighting: Sighting) -> None:
        """Keep what was found; where nobody typed, it stands in the fields."""
        if sighting.answers is not None:
            kept = {path: value_of(path, text) for path, text in self._typed.items() if path not in self._errors}
            self.answers = with_values(sighting.answers, kept)
        self._seen[screen.look] = (self._looked_at(screen), sighting)

    def sighting(self, look: str) -> Sighting | None:
        """What was found at the last look at the `machine` or the `home`."""
        return self._seen[look][1] if look in self._seen else None

    def _looked_at(self, screen: Screen) -> Any:
        return self.answers.connection if screen.look == "machine" else self.answers.home

    def empty(self, path: str) -> str:
        """What an empty field stands for."""
        section, _, field = path.partition(".")
        if section == "camera" and (preset := self._preset()):
            value = {
                "resolution": preset.resolution,
                "framerate": str(preset.framerate),
                "bitrate": str(preset.encoding_bitrate),
            }.get(field)
            if value:
                return words.PRESET.format(preset=value)
        return words.FIELDS[path].empty

    def _preset(self) -> Any:
        machine = self.sighting("machine")
        return preset_for(machine.pi_model, machine.sensor) if machine else None

    def suggestions(self, path: str) -> tuple[tuple[str, str], ...]:
        """Values to choose from beside typing one, as (value, words)."""
        if path == "home.address" and self.answers.home.kind == "hub":
            return tuple((hub.address, f"{hub.name} at {hub.address}") for hub in self.hubs or ())
        machine = self.sighting("machine")
        if path == "camera.device" and machine and machine.cameras:
            return (("auto", words.AUTO), *machine.cameras)
        return ()

    def notes(self, screen: Screen) -> list[Note]:
        """What a screen says beside its questions."""
        of_screen: dict[str, Callable[[Screen], list[Note]]] = {
            "connection": self._notes_of_look,
            "home": self._notes_of_home,
            "camera": self._notes_of_camera,
            "cloudwatch": self._notes_of_cost,
        }
        return of_screen[screen.name](screen) if screen.name in of_screen else []

    def _notes_of_look(self, screen: Screen) -> list[Note]:
        sighting = self.sighting(screen.look)
        if sighting is None or self.must_look(screen):
            return []
        rows = [Note(value, label=label) for label, value in sighting.rows]
        return [*rows, *(Note(text, "attention") for text in sighting.warnings)]

    def _notes_of_home(self, screen: Screen) -> list[Note]:
        notes = []
        if self.answers.home.kind == "hub" and self.hubs == ():
            notes.append(Note(words.HUBS_NONE))
        return [*notes, *self._notes_of_look(screen)]

    def _notes_of_camera(self, _screen: Screen) -> list[Note]:
        if self.sighting("machine") is None:
            return [Note(words.NOTHING_SEEN, "attention")]
        notes = self.cannot()
        if self._preset() is None:
            notes.append(Note(words.NO_PRESET))
        return notes

    def _notes_of_cost(self, _screen: Screen) -> list[Note]:
        chosen = self.answers.cloudwatch
        if not chosen.enabled:
            return [Note(words.COST["off"], "good")]
        kinds = ("logs", "emf") if chosen.event_type == "all" else (chosen.event_type,)
        return [*(Note(words.COST[kind], "attention") for kind in kinds), Note(words.COST_SOURCE)]

    def cannot(self) -> list[Note]:
        """What this machine will not do: said again before anything is installed."""
        machine = self.sighting("machine")
        return [Note(text, "attention") for text in machine.cannot] if machine else []

    def machine_name(self) -> str:
        """What people call the machine that is set up."""
        return self.answers.connection.host or words.THIS_MACHINE

    def home_name(self) -> str:
        """What people call the home."""
        home = self.answers.home
        return home.address if home.address and home.kind != "aws" else words.HOMES.get(home.kind, "")

    def command(self, verb: str) -> str:
        """The command that goes on with, or takes back, what was begun."""
        connection = self.answers.connection
        reached = [] if not connection.host else ["--host", connection.host]
        if connection.port is not None:
            reached += ["--connection-port", str(connection.port)]
        if connection.identity_file:
            reached += ["--connection-identity-file", connection.identity_file]
        return shlex.join(["pitsctl", verb, *reached])
