"""The wizard as plain prompts: for `--text`, pipes, screen readers, and terminals that cannot draw."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pinthesky.errors import PinTheSkyError
from pitsctl.answer_texts import choices_of, is_switch
from pitsctl.answers import Answers
from pitsctl.steps import Step
from pitsctl.wizard import words
from pitsctl.wizard.closing import LEFT, Ending, ending_of, is_possible, left, notes_of, plan_count
from pitsctl.wizard.journey import Journey, Note
from pitsctl.wizard.plain import Lines, PlainPerson, PlainProgress, choose, say_notes, yes_or_no
from pitsctl.wizard.ports import Installer, Planned
from pitsctl.wizard.record import Record
from pitsctl.wizard.screens import SCREENS, Question, Screen, screen_of

BACK = "<"
EXPLAIN = "?"
EMPTY = '""'


class TextWizard:
    """Goes through the same screens as the full-screen one, question by question."""

    def __init__(self, answers: Answers, installer: Installer, lines: Lines | None = None) -> None:
        self._journey = Journey(answers)
        self._installer = installer
        self._lines = lines or Lines()
        self._person = PlainPerson(self._lines)
        self._stop = threading.Event()
        self._record = Record()

    def run(self) -> int:
        """Ask, show the plan, carry it out; returns the exit code."""
        self._lines.line(words.PROGRAM)
        self._lines.say(words.TEXT_HOW)
        try:
            return self._all()
        except KeyboardInterrupt:
            self._lines.line("")
        except EOFError:
            self._lines.say(words.TEXT_NO_MORE)
        self._notes(left(self._journey, self._record))
        return LEFT

    def _all(self) -> int:
        name = self._journey.screens()[0].name
        while True:
            while name != "review":
                screen = screen_of(name)
                name = self._journey.after(name) if self._screen(screen) else self._journey.before(name) or name
            planned = self._review()
            code = None if planned is None else self._work(planned)
            if code is not None:
                return code
            name = self._journey.before("review")

    # Questions

    def _screen(self, screen: Screen) -> bool:
        """Ask what a screen asks; False: the person wants to go back to the one before."""
        page = words.PAGES[screen.name]
        number = SCREENS.index(screen) + 1
        self._lines.line(f"\n{number}. {page.title}")
        self._lines.say(page.intro, "   ")
        self._before(screen)
        asked: list[str] = []
        while (question := self._next(screen, asked)) is not None:
            if self._ask(question):
                asked.append(question.path)
            elif not asked:
                return False
            else:
                asked.pop()
        if not self._journey.must_look(screen):
            return True
        return self._look(screen) or self._screen(screen)

    def _next(self, screen: Screen, asked: Sequence[str]) -> Question | None:
        # What applies may change with each answer, so the next question is looked for each time.
        return next((question for question in self._journey.questions(screen) if question.path not in asked), None)

    def _before(self, screen: Screen) -> None:
        if not screen.look:
            self._notes(self._journey.notes(screen))

    def _notes(self, notes: Sequence[Note]) -> None:
        say_notes(self._lines, notes, "   ")

    def _ask(self, question: Question) -> bool:
        """Ask until what is typed can be used; False: back to the question before."""
        path = question.path
        if path == "home.address":
            self._listen()
        suggestions = self._journey.suggestions(path)
        for number, (_, text) in enumerate(suggestions, start=1):
            self._lines.line(f"     {number}. {text}")
        while True:
            typed = self._lines.ask(f"   {self._prompt(path)}")
            if typed == BACK:
                return False
            if typed == EXPLAIN:
                self._explain(path)
                continue
            if typed.isdecimal() and 1 <= int(typed) <= len(suggestions):
                typed = suggestions[int(typed) - 1][0]
            if typed:
                self._journey.type(path, "" if typed == EMPTY else _meant(path, typed))
            wrong = self._journey.error(path)
            if not wrong and question.needed(self._journey.answers) and not self._journey.text(path):
                wrong = words.NEEDED[path]
            if not wrong:
                return True
            self._lines.say(f"! {words.FIELDS[path].label}: {wrong}", "   ")
            self._journey.forget(path)

    def _prompt(self, path: str) -> str:
        label, choices = words.FIELDS[path].label, _choices(path)
        named = words.TEXT_MANY.format(label=label, choices=", ".join(choices)) if choices else label
        standing = self._journey.text(path) or self._journey.empty(path)
        return f"{named} [{standing}]" if standing else named

    def _explain(self, path: str) -> None:
        self._lines.say(words.FIELDS[path].help, "     ")
        for value, text in words.CHOICES.get(path, {}).items():
            self._lines.say(f"{value}: {text}", "     ")

    def _listen(self) -> None:
        if self._journey.answers.home.kind != "hub" or self._journey.hubs is not None:
            return
        self._lines.say(words.HUBS_LISTENING, "   ")
        try:
            self._journey.hear(self._installer.hubs())
        except PinTheSkyError as error:
            self._lines.say(f"! {error}", "   ")
            return
        if not self._journey.hubs:
            self._lines.say(words.HUBS_NONE, "   ")

    def _look(self, screen: Screen) -> bool:
        """Look at the machine or the home; False: something has to be typed anew."""
        journey, installer = self._journey, self._installer
        machine = screen.look == "machine"
        name = journey.machine_name() if machine else journey.home_name()
        self._lines.say((words.REACHING_MACHINE if machine else words.REACHING_HOME).format(name=name), "   ")
        look = installer.look_at_machine if machine else installer.look_at_home
        try:
            journey.saw(screen, look(journey.answers, self._person))
        except PinTheSkyError as error:
            journey.complain_of(error)
            self._lines.say(f"! {error}", "   ")
            return False
        self._notes(journey.notes(screen))
        return True

    # Review and work

    def _review(self) -> list[Planned] | None:
        """Show the plan, and ask whether it is to be done; None: back to the questions."""
        self._lines.line(f"\n{words.PAGES['review'].title}")
        self._lines.say(words.PLANNING, "   ")
        try:
            planned = list(self._installer.plan(self._journey.answers, self._person))
        except PinTheSkyError as error:
            self._lines.say(f"! {error}", "   ")
            return self._review() if self._choice("look", "back") == "look" else None
        for item in planned:
            mark, word = words.VERDICTS[item.found.verdict]
            self._lines.line(f"   {mark} {word:8} {item.step.title}")
            self._lines.say(item.found.what, "              ")
        self._notes(self._journey.cannot())
        self._lines.say(plan_count(planned), "   ")
        if not is_possible(planned):
            self._lines.say(f"! {words.PLAN_IMPOSSIBLE}", "   ")
            return self._review() if self._choice("look", "back", "keep") == "look" else None
        return planned if self._choice("install", "back", "keep") == "install" else None

    def _choice(self, *keys: str) -> str:
        """Ask what to do next among some of `words.BUTTONS`; saving answers asks again."""
        while True:
            named = {key: words.BUTTONS[key] for key in keys}
            by_words = {text.lower(): key for key, text in named.items()}
            self._lines.line("")
            for number, text in enumerate(named.values(), start=1):
                self._lines.line(f"   {number}. {text}")
            spoken = choose(self._lines, "   " + words.TEXT_NEXT, {text: text for text in by_words})
            if (key := by_words[spoken]) != "keep":
                return key
            self._save()

    def _save(self) -> None:
        typed = self._lines.ask(f"   {words.SAVE_LABEL} [{words.SAVE_NAME}]")
        path = Path(typed or words.SAVE_NAME).expanduser()
        if path.exists() and not yes_or_no(self._lines, "   " + words.SAVE_EXISTS.format(path=path)):
            return
        try:
            self._installer.save(self._journey.answers, path)
        except (PinTheSkyError, OSError) as error:
            self._lines.say(f"! {error}", "   ")
        else:
            self._lines.say(words.SAVED.format(path=path), "   ")

    def _work(self, planned: Sequence[Planned]) -> int | None:
        """Carry it out, and again for as long as the person wants to; None: back to the questions."""
        self._record = Record(planned)
        while True:
            self._lines.line(f"\n{words.PAGES['progress'].title}")
            ending = self._carried_out()
            chosen = self._end(ending)
            if chosen == "take-back":
                ending = self._taken_back()
                chosen = self._end(ending)
            if chosen == "change":
                return None
            if chosen in ("finish", "leave"):
                return ending.exit_code

    def _end(self, ending: Ending) -> str:
        self._lines.line(f"\n{words.PAGES['result'].title}")
        self._notes(notes_of(ending, self._journey, self._record))
        try:
            return self._choice(*ending.buttons)
        except EOFError:
            return "leave"

    def _carried_out(self) -> Ending:
        return self._worked(
            lambda progress: self._installer.carry_out(
                self._journey.answers, self._person, progress=progress, stop=self._stop
            )
        )

    def _taken_back(self) -> Ending:
        self._lines.say(words.TAKING_BACK, "   ")
        self._record = Record()
        return self._worked(
            lambda progress: self._installer.take_back(
                self._journey.answers, self._person, progress=progress, stop=self._stop
            )
        )

    def _worked(self, work: Callable[[_Both], Sequence[str] | None]) -> Ending:
        self._stop.clear()
        error, look_now = None, None
        with self._interruptible():
            try:
                look_now = work(_Both(self._record, PlainProgress(self._lines)))
            except PinTheSkyError as failed:
                error = failed
        return ending_of(error, stopped=self._stop.is_set(), look_now=look_now)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C stops after the present step, the second at once."""

        def heard(_number: int, _frame: FrameType | None) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self._stop.set()
            self._lines.line(f"\n   {words.TEXT_AGAIN}")

        before = signal.signal(signal.SIGINT, heard)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class _Both:
    """A `Progress` that is remembered and shown."""

    def __init__(self, record: Record, shown: PlainProgress) -> None:
        self._all = (record, shown)

    def began(self, step: Step) -> None:
        for progress in self._all:
            progress.began(step)

    def said(self, step: Step, line: str) -> None:
        for progress in self._all:
            progress.said(step, line)

    def ended(self, step: Step, error: str | None) -> None:
        for progress in self._all:
            progress.ended(step, error)


def _choices(path: str) -> tuple[str, ...]:
    return ("yes", "no") if is_switch(path) else tuple(filter(None, choices_of(path)))


def _meant(path: str, typed: str) -> str:
    """The choice that begins with what was typed, if there is one only; else what was typed."""
    begins = [choice for choice in _choices(path) if choice.lower().startswith(typed.lower())]
    return begins[0] if len(begins) == 1 else typed
