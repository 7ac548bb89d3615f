"""The fields of a screen: a line with its label, what stands in it, and its complaint below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from pitsctl.answer_texts import bound_of, choices_of, is_switch
from pitsctl.wizard import words

FOCUSED = "▸ "
ROOM = 36
"""Characters for choices beside one another; more of them, or longer ones, stand below one another."""


class Choice(Static, can_focus=True):
    """One of a few values, all of them in sight: left and right choose, or space, or the mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "choose(-1)", show=False),
        Binding("right,space", "choose(1)", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A person has chosen."""

        choice: Choice
        value: str

        @property
        def control(self) -> Choice:
            """Where."""
            return self.choice

    def __init__(self, options: Sequence[tuple[str, str]], value: str, *, classes: str = "") -> None:
        super().__init__(classes=classes)
        self._options = list(options)
        self._value = value
        self._upright = sum(len(text) + 6 for _, text in options) > ROOM

    @property
    def lines(self) -> int:
        """How many lines it takes."""
        return len(self._options) if self._upright else 1

    def on_mount(self) -> None:
        """Draw it for the first time."""
        self._draw()

    def _draw(self) -> None:
        parts: list[Content] = []
        for value, text in self._options:
            chosen = value == self._value
            drawn = Content.assemble((f"({'•' if chosen else ' '}) {text}", "bold" if chosen else ""))
            parts.append(drawn)
        self.update(Content("\n" if self._upright else "   ").join(parts))

    def action_choose(self, by: int) -> None:
        """Go to the next value, or to the one before."""
        values = [value for value, _ in self._options]
        here = values.index(self._value) if self._value in values else (-1 if by > 0 else 0)
        self._choose(values[(here + by) % len(values)])

    def _choose(self, value: str) -> None:
        self._value = value
        self._draw()
        self.post_message(self.Chosen(self, value))

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked on."""
        at = event.get_content_offset(self)
        if at is None:
            return
        if self._upright:
            if at.y < len(self._options):
                self._choose(self._options[at.y][0])
            return
        end = 0
        for value, text in self._options:
            end += len(text) + 4 + 3
            if at.x < end:
                self._choose(value)
                return


class FieldRow(Vertical):
    """A question: label, field, and what is wrong with what stands there."""

    @dataclass
    class Typed(Message):
        """What stands in the field has changed."""

        path: str
        text: str

    def __init__(self, path: str, text: str, *, empty: str = "", suggestions: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(id=row_id(path))
        self.path = path
        self._text = text
        self._empty = empty
        self._suggestions = suggestions

    def compose(self) -> ComposeResult:
        """Label and field in a line, suggestions and complaint below."""
        field = self._field()
        line = Horizontal(Static(self._label(False), classes="label", markup=False), field, classes="line")
        if isinstance(field, Choice) and field.lines > 1:
            line.set_classes("line tall")
        yield line
        if self._suggestions:
            yield Choice(self._suggestions, self._text, classes="suggestions")
        yield Static(classes="error", markup=False)

    def _field(self) -> Widget:
        options = _options(self.path)
        if options:
            return Choice(options, self._text)
        field = Input(self._text, placeholder=self._empty, select_on_focus=False)
        # The bound, for screens that read aloud what a mouse rests on.
        field.tooltip = bound_of(self.path)
        return field

    def _label(self, focused: bool) -> str:
        return (FOCUSED if focused else "  ") + words.FIELDS[self.path].label

    def show(self, text: str) -> None:
        """Put a text into the field that was not typed there."""
        for field in self.query(Input):
            if field.value != text:
                field.value = text

    def complain(self, reason: str) -> None:
        """Show a complaint beside the field, or none."""
        self.set_class(bool(reason), "-wrong")
        self.query_one(".error", Static).update(f"✗ {reason}" if reason else "")

    def take_focus(self) -> None:
        """Put the cursor here."""
        next(widget for widget in self.query("*") if widget.can_focus).focus()

    @on(Choice.Chosen)
    def _chosen(self, message: Choice.Chosen) -> None:
        message.stop()
        if message.choice.has_class("suggestions"):
            self.query_one(Input).value = message.value
        else:
            self.post_message(self.Typed(self.path, message.value))

    @on(Input.Changed)
    def _changed(self, message: Input.Changed) -> None:
        message.stop()
        self.post_message(self.Typed(self.path, message.value))

    def on_descendant_focus(self) -> None:
        """Mark the line, also without colours."""
        self._mark(True)

    def on_descendant_blur(self) -> None:
        """Take the mark away."""
        self._mark(False)

    def _mark(self, focused: bool) -> None:
        self.set_class(focused, "-focused")
        self.query_one(".label", Static).update(self._label(focused))


def row_id(path: str) -> str:
    """The id of a field's row."""
    return "field-" + path.replace(".", "-").replace("_", "-")


def _options(path: str) -> list[tuple[str, str]]:
    if is_switch(path):
        return list(words.SWITCH.items())
    spoken = words.CHOICES.get(path, {})
    return [(value, spoken.get(value, value)) for value in choices_of(path) if value or "" in spoken]
