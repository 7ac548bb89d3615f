"""The wizard on a full screen: which screen is shown, and what is done in the thread that works."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from pinthesky.errors import PinTheSkyError
from pitsctl.answers import Answers
from pitsctl.person import Registration
from pitsctl.wizard import look, words
from pitsctl.wizard.closing import LEFT, Ending, ending_of, left, notes_of
from pitsctl.wizard.dialogs import Confirm, Leave, Register, Save, Secret
from pitsctl.wizard.journey import Journey
from pitsctl.wizard.pages import FormPage, Page, ProgressPage, ResultPage, ReviewPage
from pitsctl.wizard.plain import Lines, say_notes
from pitsctl.wizard.ports import Installer, Planned
from pitsctl.wizard.record import Record
from pitsctl.wizard.screens import ORDER, WORK, Screen, screen_of
from pitsctl.wizard.worker import Worker

STOP_S = 5.0
"""For a step that was cut off to notice it, before the program ends without it."""
T = TypeVar("T")


class WizardApp(App[int]):
    """Holds what the screens share, and carries a person from one to the next."""

    CSS = look.CSS
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-normal"), (110, "-wide")]  # noqa: RUF012 - declared so by Textual
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on"),
        Binding("escape", "go_back"),
        Binding("f2", "save"),
        Binding("f4", "code"),
        Binding("ctrl+c", "leave", priority=True),
        Binding("ctrl+q", "leave", priority=True),
        Binding("down", "focus_next"),
        Binding("up", "focus_previous"),
        Binding("pagedown", "scroll(1)"),
        Binding("pageup", "scroll(-1)"),
    ]

    def __init__(self, answers: Answers, installer: Installer) -> None:
        theme = look.theme_for_terminal()
        # Without colours Textual has to be told before it begins: it would draw in shades of grey.
        super().__init__(ansi_color=True if theme is look.PLAIN else None)
        self.title = words.PROGRAM
        self.register_theme(theme)
        self.theme = theme.name
        self.set_class(theme is look.PLAIN, "-plain")
        self.journey = Journey(answers)
        self.record = Record()
        self.ending: Ending | None = None
        self.stop = threading.Event()
        self.worker = Worker()
        self._installer = installer
        self._person = ScreenPerson(self)
        self._planned: Sequence[Planned] = ()
        self._showing = asyncio.Lock()
        self._busy = False
        self._going = False
        self._leaving = False
        self._working = False
        self._registration: Registration | None = None

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Variables of ours, for the moment before the theme is taken."""
        return look.DARK.variables

    # The frame

    def compose(self) -> ComposeResult:
        """Head, rail, the screen, keys."""
        with Horizontal(id="head"):
            yield Static(words.HEAD, id="head-title", markup=False)
            yield Static(id="head-machine", markup=False)
        with Horizontal(id="middle"):
            yield Static(id="rail")
            yield Container(id="body")
        yield Static(id="keys")

    async def on_mount(self) -> None:
        """Hear of signals, show the first screen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave_now)
        await self.show_form(self.journey.screens()[0])

    @property
    def page(self) -> Page:
        """The screen that is shown."""
        return self.screen_stack[0].query_one(Page)

    async def show(self, page: Page) -> None:
        """Put a screen in the place of the one before."""
        async with self._showing:
            if self._leaving:
                return
            body = self.screen_stack[0].query_one("#body", Container)
            await body.remove_children()
            await body.mount(page)
            self._draw_frame(page.page)

    async def show_form(self, screen: Screen) -> None:
        """Show a screen of questions."""
        await self.show(FormPage(screen, self.journey))
        if screen.name == "home" and self.journey.hubs is None:
            self.run_worker(self._listen(), group="listen")

    def _draw_frame(self, here: str) -> None:
        main = self.screen_stack[0]
        main.query_one("#head-machine", Static).update(self.journey.machine_name())
        applying = {*(screen.name for screen in self.journey.screens()), *WORK}
        reached = False
        lines = []
        for name in ORDER:
            reached = reached or name == here
            mark, style = ("·", "") if reached else ("✓", "")
            if name == here:
                mark, style = "▸", "bold $accent"
            elif name not in applying:
                mark, style = "–", "dim"
            lines.append(Content.styled(f"{mark} {words.PAGES[name].title}", style))
        main.query_one("#rail", Static).update(Content("\n").join(lines))
        self._draw_keys()
        # Whether there is more than fits is known when it is laid out.
        self.call_after_refresh(self._draw_keys)

    def on_resize(self) -> None:
        """Another size may hold more, or less."""
        self.call_after_refresh(self._draw_keys)

    def _can(self, action: str) -> bool:
        """Whether a key does something on the screen that is shown."""
        page = next(iter(self.screen_stack[0].query(Page)), None)
        if action == "go_on":
            return isinstance(page, FormPage) and not self._busy
        if action == "go_back":
            return self._busy or isinstance(page, ReviewPage) or (isinstance(page, FormPage) and page.has_before)
        if action == "save":
            return not self._busy and not isinstance(page, ProgressPage)
        if action == "scroll":
            return page is not None and page.can_scroll
        if action == "code":
            return self._registration is not None
        return action == "leave" or (action == "move" and isinstance(page, ProgressPage))

    def _draw_keys(self) -> None:
        keys = [(key, text) for action, (key, text) in words.KEYS.items() if self._can(action)]
        parts = [Content.assemble((key, "bold $accent"), f" {text}") for key, text in keys]
        self.screen_stack[0].query_one("#keys", Static).update(Content("   ").join(parts))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """A dialog has the keys for itself, but for leaving."""
        if action in ("go_on", "go_back", "save", "code"):
            return len(self.screen_stack) == 1 and self._can(action)
        return True

    # Going on and back

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if len(self.screen_stack) == 1:
            self.action_go_on()

    def action_go_on(self) -> None:
        """Go on from a screen of questions."""
        if isinstance(self.page, FormPage) and self._can("go_on"):
            self._start(partial(self._go_on, self.page))

    def _start(self, way: Callable[[], Coroutine[object, object, None]]) -> None:
        """Go from one screen to another, unless somebody is on the way already: a key held down counts once."""
        if not self._going:
            self._going = True
            self.run_worker(self._go(way), group="flow")

    async def _go(self, way: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await way()
        finally:
            self._going = False

    async def _go_on(self, page: FormPage) -> None:
        if page.show_errors(everywhere=True):
            page.start()
            return
        screen = page.questions
        if self.journey.must_look(screen):
            if not await self._look(page):
                return
            await self.show_form(screen)
            self.page.query_one("#button-next", Button).focus()
            if self.journey.notes(screen):
                return
        name = self.journey.after(screen.name)
        if name == "review":
            name = self.journey.first_wrong() or name
        await (self._review() if name == "review" else self.show_form(screen_of(name)))

    async def _look(self, page: FormPage) -> bool:
        """Look at the machine or the home; False: stay, and say why."""
        screen, journey = page.questions, self.journey
        machine = screen.look == "machine"
        name = journey.machine_name() if machine else journey.home_name()
        look_at = self._installer.look_at_machine if machine else self._installer.look_at_home
        said = words.REACHING_MACHINE if machine else words.REACHING_HOME
        try:
            journey.saw(
                screen, await self._busily(said.format(name=name), partial(look_at, journey.answers, self._person))
            )
        except PinTheSkyError as error:
            if journey.complain_of(error):
                page.show_errors(everywhere=True)
            else:
                page.show_status(f"✗ {error}")
            page.start()
            return False
        return True

    async def _busily(self, said: str, call: Callable[[], T]) -> T:
        """Have something done that takes a while; Esc gives it up."""
        page = self.page
        self._busy = True
        self._draw_keys()
        page.show_status(f"{said}\n{words.WAIT_HINT}")
        area = page.query(".content, .buttons")
        area.set(disabled=True)
        try:
            return await asyncio.wrap_future(self.worker.submit(call))
        finally:
            self._busy = False
            if not self._leaving:
                area.set(disabled=False)
                page.show_status("")
                self._draw_keys()

    async def _listen(self) -> None:
        try:
            heard = await asyncio.wrap_future(self.worker.submit(self._installer.hubs))
        except PinTheSkyError:
            heard = ()
        self.journey.hear(heard)
        async with self._showing:
            if isinstance(self.page, FormPage) and self.page.page == "home":
                await self.page.renew("home.address")

    def action_go_back(self) -> None:
        """Give up what takes a while; else go to the screen before."""
        if self._busy:
            self.page.show_status(words.GIVING_UP)
            # Not in the worker's thread, which is what waits.
            threading.Thread(target=self._installer.close, name="wizard-closing", daemon=True).start()
            return
        before = self.journey.before(self.page.page) if isinstance(self.page, (FormPage, ReviewPage)) else ""
        if before:
            self._start(partial(self.show_form, screen_of(before)))

    def action_scroll(self, pages: int) -> None:
        """Move what does not fit."""
        self.page.scroll_content(pages)

    @on(Page.Pressed)
    def _pressed(self, message: Page.Pressed) -> None:
        key = message.key
        if key == "next":
            self.action_go_on()
        elif key == "back":
            self.action_go_back()
        elif key == "look":
            self._start(self._review)
        elif key in ("install", "resume", "retry"):
            self._start(partial(self._work, back=False))
        elif key == "take-back":
            self._start(partial(self._work, back=True))
        elif key == "keep":
            self.action_save()
        elif key == "change":
            self._start(partial(self.show_form, self.journey.screens()[0]))
        elif key == "stop":
            self._stop_after_step()
        else:
            self.leave_now()

    # Review and work

    async def _review(self) -> None:
        await self.show(ReviewPage(self.journey, None))
        plan = partial(self._installer.plan, self.journey.answers, self._person)
        try:
            self._planned = await self._busily(words.PLANNING, plan)
        except PinTheSkyError as error:
            await self.show(ReviewPage(self.journey, None, str(error)))
            return
        self.record = Record(self._planned)
        await self.show(ReviewPage(self.journey, self._planned))

    async def _work(self, *, back: bool) -> None:
        """Carry the plan out, or take back what was done of it."""
        self.stop.clear()
        if back:
            self.record = Record()
        await self.show(ProgressPage(self.record, back=back))
        told = partial(
            self._installer.take_back if back else self._installer.carry_out,
            self.journey.answers,
            self._person,
            progress=self.record,
            stop=self.stop,
        )
        error, look_now = None, None
        self._working = True
        try:
            look_now = await asyncio.wrap_future(self.worker.submit(told))
        except PinTheSkyError as failed:
            error = failed
        finally:
            self._working = False
            if not self._leaving:
                self.show_registration(None)
        self.ending = ending_of(error, stopped=self.stop.is_set(), look_now=look_now)
        await self.show(ResultPage(self.ending, self.journey, self.record))

    def _stop_after_step(self) -> None:
        self.stop.set()
        self.page.show_status(words.STOPPING)

    # Dialogs

    def show_registration(self, registration: Registration | None) -> None:
        """Show a code, or take it away."""
        self._registration = registration
        if self._leaving:
            return
        self._draw_keys()
        if isinstance(self.screen, Register):
            self.pop_screen()
        if registration is not None:
            self.push_screen(Register(registration))
        if isinstance(self.page, ProgressPage) and not self.stop.is_set():
            self.page.show_status(
                words.REGISTER_HIDDEN.format(code=registration.user_code, address=registration.address)
                if registration
                else ""
            )

    def action_code(self) -> None:
        """Show the code again that was hidden."""
        if self._registration is not None and len(self.screen_stack) == 1:
            self.push_screen(Register(self._registration))

    def action_save(self) -> None:
        """Ask where the answers are to be written."""
        self.push_screen(Save(), self._save)

    def _save(self, path: Path | None) -> None:
        if path is not None:
            self.run_worker(self._saved(path), group="save")

    async def _saved(self, path: Path) -> None:
        try:
            await asyncio.wrap_future(self.worker.submit(partial(self._installer.save, self.journey.answers, path)))
        except (PinTheSkyError, OSError) as error:
            self.page.show_status(f"✗ {error}")
        else:
            self.page.show_status(f"✓ {words.SAVED.format(path=path)}")

    def action_leave(self) -> None:
        """Ask whether to leave; asked again, leave at once. At the end there is nothing to ask."""
        if isinstance(self.screen, Leave) or isinstance(self.page, ResultPage):
            self.leave_now()
        else:
            self.push_screen(Leave(working=self._working), self._leave)

    def _leave(self, how: str | None) -> None:
        if how == "stop":
            self._stop_after_step()
        elif how in ("now", "leave"):
            self.leave_now()

    def abandon(self) -> None:
        """Nobody answers any more: whoever waits for an answer goes on without one."""
        self._person.abandon()

    def leave_now(self) -> None:
        """End the program, whatever is being done."""
        self._leaving = True
        self.stop.set()
        self.abandon()
        self.exit(self.ending.exit_code if self.ending and isinstance(self.page, ResultPage) else LEFT)


class ScreenPerson:
    """A `Person` before the full screen: what the working thread asks comes up as a dialog, and the thread waits."""

    def __init__(self, app: WizardApp) -> None:
        self._app = app
        self._waiting: set[Future[Any]] = set()

    def secret(self, question: str) -> str | None:
        """See Person."""
        return self._ask(Secret(question))

    def confirm(self, question: str, detail: str = "") -> bool:
        """See Person."""
        answer = self._ask(Confirm(question, detail))
        return answer is True

    def show_registration(self, registration: Registration | None) -> None:
        """See Person."""
        self._soon(partial(self._app.show_registration, registration))

    def abandon(self) -> None:
        """Nobody answers any more: whoever waits goes on without an answer."""
        for waiting in list(self._waiting):
            waiting.cancel()

    def _ask(self, dialog: ModalScreen[T]) -> T | None:
        answer: Future[T | None] = Future()
        self._waiting.add(answer)

        def given(result: T | None) -> None:
            if not answer.done():
                answer.set_result(result)

        self._soon(lambda: self._app.push_screen(dialog, given))
        try:
            return answer.result()
        except CancelledError:
            return None
        finally:
            self._waiting.discard(answer)

    def _soon(self, call: Callable[[], object]) -> None:
        self._app.call_later(call)


def run(answers: Answers, installer: Installer) -> int:
    """Put the wizard on the terminal; when it is gone, say there what was done. Returns the exit code."""
    app = WizardApp(answers, installer)
    code = app.run()
    installer.close()
    app.worker.stop(STOP_S)
    lines = Lines()
    unfinished = app.ending is None or app.ending.kind not in ("done", "taken-back")
    if unfinished:
        say_notes(lines, left(app.journey, app.record))
    elif app.ending is not None:
        say_notes(lines, notes_of(app.ending, app.journey, app.record))
    return LEFT if code is None else code
