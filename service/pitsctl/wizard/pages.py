"""The screens between rail and footer: questions, review, progress, result. They show; the application decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Log, OptionList, Static
from textual.widgets.option_list import Option

from pitsctl.steps import Verdict
from pitsctl.wizard import words
from pitsctl.wizard.closing import Ending, is_possible, notes_of, plan_count
from pitsctl.wizard.fields import FieldRow, row_id
from pitsctl.wizard.journey import Journey, Note
from pitsctl.wizard.ports import Planned
from pitsctl.wizard.record import Record, printable
from pitsctl.wizard.screens import Screen

MARKS = {"attention": "!", "fault": "✗", "good": "✓"}


class Page(Vertical):
    """Title, sentence, content, and what can be done now."""

    @dataclass
    class Pressed(Message):
        """A person wants what a button says: a key of `words.BUTTONS`."""

        key: str

    def __init__(self, name: str, buttons: Sequence[str]) -> None:
        super().__init__()
        self.page = name
        self._buttons = tuple(buttons)

    def compose(self) -> ComposeResult:
        """The frame that all screens share."""
        page = words.PAGES[self.page]
        yield Static(page.title, classes="title" if page.intro else "title -alone", markup=False)
        if page.intro:
            yield Static(page.intro, classes="intro", markup=False)
        yield from self.content()
        yield Static(classes="status", markup=False)
        with Horizontal(classes="buttons"):
            for key in self._buttons:
                yield button(key)

    def content(self) -> Iterable[Widget]:
        """What this screen is for."""
        return ()

    async def on_mount(self) -> None:
        """Draw what is known by now, and put the focus where most people go on."""
        await self.fill()
        self.start()

    async def fill(self) -> None:
        """Draw what the frame leaves open."""

    def start(self) -> None:
        """Focus the first button."""
        self.query(Button).first().focus()

    def show_status(self, text: str) -> None:
        """Say above the buttons what is going on; empty: nothing."""
        status = self.query_one(".status", Static)
        status.update(text)
        status.set_class(bool(text), "-shown")

    def scroll_content(self, pages: int) -> None:
        """Move what does not fit, by screens."""
        for area in self.query(".content").results(VerticalScroll):
            area.scroll_relative(y=pages * max(1, area.size.height - 1), animate=False)

    @property
    def can_scroll(self) -> bool:
        """Whether there is more than fits."""
        return any(area.max_scroll_y > 0 for area in self.query(".content").results(VerticalScroll))

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        message.stop()
        self.post_message(self.Pressed(key_of(message.button)))


class FormPage(Page):
    """The questions of a screen; Enter goes on from any of them."""

    def __init__(self, screen: Screen, journey: Journey) -> None:
        self.has_before = bool(journey.before(screen.name))
        super().__init__(screen.name, ("next", "back") if self.has_before else ("next",))
        self.questions = screen
        self._journey = journey
        self._left: set[str] = set()

    def content(self) -> Iterable[Widget]:
        """The fields, and what is said beside them."""
        with _scroll():
            yield Vertical(classes="rows")
            yield Vertical(classes="notes")
        yield Static(classes="help", markup=False)

    async def fill(self) -> None:
        """Draw the fields of now."""
        await self.draw()

    def start(self) -> None:
        """Focus the first field with a complaint, else the first."""
        rows = list(self.query(FieldRow))
        wrong = [row for row in rows if row.has_class("-wrong")]
        for row in (wrong or rows)[:1]:
            row.take_focus()

    async def renew(self, path: str) -> None:
        """Draw a field anew, of which something was found out; who is in it stays there."""
        for row in self.query(f"#{row_id(path)}").results(FieldRow):
            focused = row.has_class("-focused")
            await row.remove()
            await self.draw()
            if focused:
                self.query_one(f"#{row_id(path)}", FieldRow).take_focus()
            return
        await self.draw_notes()

    async def draw(self) -> None:
        """Take the fields that apply, keep those that stay as they are."""
        rows = self.query_one(".rows", Vertical)
        wanted = [question.path for question in self._journey.questions(self.questions)]
        for row in self.query(FieldRow):
            if row.path not in wanted:
                await row.remove()
        before: FieldRow | None = None
        for path in wanted:
            found = self.query(f"#{row_id(path)}").results(FieldRow)
            row = next(iter(found), None) or self._row(path)
            if row.is_attached:
                row.show(self._journey.text(path))
            else:
                await rows.mount(row, after=before) if before else await rows.mount(row, before=0)
            before = row
        await self.draw_notes()

    def _row(self, path: str) -> FieldRow:
        journey = self._journey
        return FieldRow(path, journey.text(path), empty=journey.empty(path), suggestions=journey.suggestions(path))

    async def draw_notes(self) -> None:
        """Say what there is to say."""
        notes = self.query_one(".notes", Vertical)
        await notes.remove_children()
        await notes.mount_all(note_widgets(self._journey.notes(self.questions)))

    def show_errors(self, *, everywhere: bool) -> bool:
        """Put complaints beside their fields: where a person has been, or everywhere; whether there are any."""
        errors = self._journey.errors(self.questions)
        for row in self.query(FieldRow):
            if everywhere or row.path in self._left or row.has_class("-wrong"):
                row.complain(errors.get(row.path, ""))
        return bool(errors)

    @on(FieldRow.Typed)
    async def _typed(self, message: FieldRow.Typed) -> None:
        self._journey.type(message.path, message.text)
        for row in self.query(f"#{row_id(message.path)}.-wrong").results(FieldRow):
            row.complain(self._journey.error(message.path))
        await self.draw()

    def on_descendant_focus(self) -> None:
        """Explain the field that has the focus now, which may be another than when this was sent."""
        focused = self.screen.focused
        row = _row_of(focused) if focused is not None else None
        self.query_one(".help", Static).update(words.FIELDS[row.path].help if row else "")

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """Complain when a field is left, not while it is being typed."""
        row = _row_of(event.widget)
        if row is not None and self._journey.error(row.path):
            self._left.add(row.path)
            row.complain(self._journey.error(row.path))


def _row_of(widget: Widget) -> FieldRow | None:
    return next((above for above in widget.ancestors if isinstance(above, FieldRow)), None)


class ReviewPage(Page):
    """The plan: what each step found and will do, the impossible first."""

    def __init__(self, journey: Journey, planned: Sequence[Planned] | None, error: str = "") -> None:
        possible = planned is not None and is_possible(planned)
        super().__init__("review", ("install", "back", "keep") if possible else ("look", "back", "keep"))
        self._journey = journey
        self._planned = planned
        self._error = error

    def content(self) -> Iterable[Widget]:
        """A line for each step, and below it what it found."""
        with _scroll():
            where = words.PLAN_WHERE.format(machine=self._journey.machine_name(), home=self._journey.home_name())
            if self._planned is None:
                yield from note_widgets([Note(self._error, "fault")] if self._error else [])
                return
            yield Static(f"{where} {plan_count(self._planned)}", classes="count", markup=False)
            if not is_possible(self._planned):
                yield from note_widgets([Note(words.PLAN_IMPOSSIBLE, "fault")])
            yield from note_widgets(self._journey.cannot())
            order = (Verdict.IMPOSSIBLE, Verdict.NEEDED, Verdict.DONE)
            first = sorted(self._planned, key=lambda item: 0 if item.found.verdict is order[0] else 1)
            for item in first:
                mark, word = words.VERDICTS[item.found.verdict]
                with Vertical(classes=f"step -{item.found.verdict.value}"):
                    with Horizontal(classes="row"):
                        yield Static(f"{mark} {word}", classes="step-mark", markup=False)
                        yield Static(printable(item.step.title), classes="step-text", markup=False)
                    yield Static(printable(item.found.what), classes="what", markup=False)


class StepList(OptionList):
    """The steps, each with mark and word; the log below follows what is chosen here."""


class ProgressPage(Page):
    """Every step as it goes, and the log of the one that works, or of the one that was chosen."""

    def __init__(self, record: Record, *, back: bool = False) -> None:
        super().__init__("progress", ("stop",))
        self._record = record
        self._back = back
        self._seen = -1
        self._shown = ("", 0)
        self._follows = True

    def content(self) -> Iterable[Widget]:
        """List above, log below."""
        yield Static(classes="count", markup=False)
        yield StepList(markup=False)
        yield Static(classes="log-title", markup=False)
        log = Log(id="log", max_lines=500, auto_scroll=True)
        log.can_focus = True
        yield log

    def start(self) -> None:
        """Look at the record ten times a second; nothing is drawn while nothing has happened."""
        self.query_one(StepList).focus()
        self.set_interval(0.1, self.draw)
        self.draw()

    def draw(self) -> None:
        """Show what has changed."""
        if self._record.changes == self._seen:
            return
        self._seen = self._record.changes
        entries = self._record.entries()
        steps = self.query_one(StepList)
        over, total = self._record.counts
        said = words.TAKING_BACK if self._back else words.WORKING_ON.format(done=over, total=total)
        self.query_one(".count", Static).update(said)
        for index, entry in enumerate(entries):
            mark, word = words.STATES[entry.state]
            drawn = Content.assemble(
                (f"{mark} {word:9}", STATE_STYLES[entry.state]), (printable(entry.title), STATE_STYLES[entry.state])
            )
            if index < steps.option_count:
                steps.replace_option_prompt_at_index(index, drawn)
            else:
                steps.add_option(Option(drawn, id=entry.name))
        working = [index for index, entry in enumerate(entries) if entry.state in ("doing", "failed")]
        if self._follows and working and steps.highlighted != working[-1]:
            steps.highlighted = working[-1]
        self._draw_log()

    def _draw_log(self) -> None:
        entries = self._record.entries()
        chosen = self.query_one(StepList).highlighted
        if chosen is None or chosen >= len(entries):
            return
        entry = entries[chosen]
        log = self.query_one("#log", Log)
        lines = [*entry.log, *([entry.error] if entry.error else [])]
        before, count = self._shown
        self.query_one(".log-title", Static).update(words.LOG_OF.format(title=printable(entry.title)))
        if before == entry.name and 0 < count <= len(lines) < (entry.log.maxlen or 0):
            log.write_lines(lines[count:])
        else:
            log.clear()
            log.write_lines(lines or [words.NO_LOG])
        self._shown = (entry.name, len(lines))

    @on(OptionList.OptionHighlighted)
    def _chosen(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        self._draw_log()

    def on_key(self, event: events.Key) -> None:
        """Who moves in the list wants to read; the end of the list follows again."""
        if event.key in ("up", "down", "home", "pageup", "pagedown"):
            self._follows = False
        if event.key == "end":
            self._follows = True


class ResultPage(Page):
    """Where to look now; or what failed, what was done, and how to go on or take it back."""

    def __init__(self, ending: Ending, journey: Journey, record: Record) -> None:
        super().__init__("result", ending.buttons)
        self._notes = notes_of(ending, journey, record)

    def content(self) -> Iterable[Widget]:
        """The notes of the ending."""
        with _scroll():
            yield from note_widgets(self._notes)


# Each beside its word.
STATE_STYLES = {
    "there": "$muted",
    "waiting": "$muted",
    "doing": "bold $accent",
    "done": "$success",
    "failed": "bold $error",
}


def _scroll() -> VerticalScroll:
    area = VerticalScroll(classes="content")
    area.can_focus = False
    return area


def note_widgets(notes: Sequence[Note]) -> list[Widget]:
    """Lines of a screen: label and value beside one another, sentences wrapped."""
    drawn: list[Widget] = []
    for note in notes:
        text = printable(note.text)
        if note.label:
            label = Static(printable(note.label), classes="row-label", markup=False)
            drawn.append(Horizontal(label, Static(text, classes="row-text", markup=False), classes="row"))
        else:
            mark = Static(MARKS.get(note.tone, ""), classes="note-mark", markup=False)
            parts = [mark] if note.tone in MARKS else []
            line = Static(text, classes="note-text", markup=False)
            drawn.append(Horizontal(*parts, line, classes=f"note note-{note.tone}"))
    return drawn


def button(key: str) -> Button:
    """A button by its key in `words.BUTTONS`."""
    return Button(Content(f"[ {words.BUTTONS[key]} ]"), id=f"button-{key}")


def key_of(pressed: Button) -> str:
    """The key in `words.BUTTONS` of a button."""
    return (pressed.id or "").removeprefix("button-")
