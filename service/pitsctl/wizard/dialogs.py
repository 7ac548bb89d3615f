"""What comes up over a screen: passwords, keys to be trusted, a registration code, leaving, saving."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from pitsctl.person import Registration
from pitsctl.wizard import words
from pitsctl.wizard.big_letters import big
from pitsctl.wizard.pages import button, key_of
from pitsctl.wizard.plain import by_halves, minutes
from pitsctl.wizard.record import printable

T = TypeVar("T")
CODE_WIDTH = 68


class Dialog(ModalScreen[T]):
    """A box in the middle; Esc is the careful answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "careful"),
        Binding("down,right", "app.focus_next"),
        Binding("up,left", "app.focus_previous"),
    ]


class Secret(Dialog[str | None]):
    """A password, not shown."""

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Question, field, buttons."""
        with Vertical(classes="dialog"):
            yield Static(printable(self._question), classes="dialog-title", markup=False)
            yield Static(words.KEPT_NOWHERE, classes="dialog-text", markup=False)
            yield Input(password=True)
            with Horizontal(classes="buttons"):
                yield button("ok")
                yield button("cancel")

    @on(Input.Submitted)
    def _typed(self, message: Input.Submitted) -> None:
        # Behind this dialog is a screen where Enter goes on.
        message.stop()
        self._give()

    def _give(self) -> None:
        self.dismiss(self.query_one(Input).value or None)

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        if key_of(message.button) == "ok":
            self._give()
        else:
            self.dismiss(None)

    def action_careful(self) -> None:
        """Give none."""
        self.dismiss(None)


class Confirm(Dialog[bool]):
    """A question of yes or no, with what the answer hangs on; the focus is on no."""

    def __init__(self, question: str, detail: str) -> None:
        super().__init__()
        self._question = question
        self._detail = detail

    def compose(self) -> ComposeResult:
        """Question, detail, buttons."""
        with Vertical(classes="dialog"):
            yield Static(printable(self._question), classes="dialog-title", markup=False)
            if self._detail:
                yield Static(by_halves(printable(self._detail)), classes="detail", markup=False)
                yield Static(words.TRUST_WARNING, classes="dialog-text", markup=False)
            with Horizontal(classes="buttons"):
                yield button("no")
                yield button("yes")

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        self.dismiss(key_of(message.button) == "yes")

    def action_careful(self) -> None:
        """No."""
        self.dismiss(False)


class Register(Dialog[None]):
    """The code, large, with where it is typed and what is compared there; it goes away by itself."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f4", "careful")]

    def __init__(self, registration: Registration) -> None:
        super().__init__()
        self._registration = registration
        self._until = time.monotonic() + registration.expires_in_s

    def compose(self) -> ComposeResult:
        """Address, code, fingerprint, what is waited for."""
        told = self._registration
        code = printable(told.user_code)
        drawn = big(code, CODE_WIDTH)
        with Vertical(classes="dialog"):
            yield Static(words.REGISTER_TITLE, classes="dialog-title", markup=False)
            yield Static(words.REGISTER_HOW, classes="note", markup=False)
            yield Static(printable(told.address), classes="note note-address", markup=False)
            yield Static(drawn, classes="code", markup=False)
            if drawn != code:
                yield Static(code, classes="code-plain", markup=False)
            yield Static(words.REGISTER_CHECK, classes="note", markup=False)
            yield Static(by_halves(printable(told.fingerprint)), classes="detail", markup=False)
            yield Static(classes="waits", markup=False)
            with Horizontal(classes="buttons"):
                yield button("hide")

    def on_mount(self) -> None:
        """Count down."""
        self.set_interval(1.0, self._tick)
        self._tick()
        self.query_one(Button).focus()

    def _tick(self) -> None:
        left = minutes(self._until - time.monotonic())
        self.query_one(".waits", Static).update(words.REGISTER_WAITS.format(left=left))

    @on(Button.Pressed)
    def action_careful(self) -> None:
        """Hide it; the wait goes on."""
        self.dismiss(None)


class Leave(Dialog[str]):
    """Whether to leave, and how, as a key of `words.BUTTONS`: stay, stop, now, or leave."""

    def __init__(self, *, working: bool) -> None:
        super().__init__()
        self._working = working

    def compose(self) -> ComposeResult:
        """What leaving means now."""
        with Vertical(classes="dialog"):
            text = words.LEAVE_WORKING if self._working else words.LEAVE_NOW
            yield Static(text, classes="dialog-text", markup=False)
            with Horizontal(classes="buttons"):
                for key in ("stay", "stop", "now") if self._working else ("stay", "leave"):
                    yield button(key)

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        self.dismiss(key_of(message.button))

    def action_careful(self) -> None:
        """Stay."""
        self.dismiss("stay")


class Save(Dialog[Path | None]):
    """Where the answers are written."""

    def __init__(self) -> None:
        super().__init__()
        self._overwrites: Path | None = None

    def compose(self) -> ComposeResult:
        """Name of the file, and what it is for."""
        with Vertical(classes="dialog"):
            yield Static(words.SAVE_TITLE, classes="dialog-title", markup=False)
            yield Static(words.SAVE_HOW, classes="dialog-text", markup=False)
            yield Input(words.SAVE_NAME, select_on_focus=False)
            yield Static(classes="error", markup=False)
            with Horizontal(classes="buttons"):
                yield button("save")
                yield button("cancel")

    @on(Input.Submitted)
    def _typed(self, message: Input.Submitted) -> None:
        message.stop()
        self._save()

    def _save(self) -> None:
        path = Path(self.query_one(Input).value.strip() or words.SAVE_NAME).expanduser()
        if path.exists() and path != self._overwrites:
            self._overwrites = path
            self.query_one(".error", Static).update(words.SAVE_OVER)
        else:
            self.dismiss(path)

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        if key_of(message.button) == "save":
            self._save()
        else:
            self.dismiss(None)

    def action_careful(self) -> None:
        """Write nothing."""
        self.dismiss(None)
