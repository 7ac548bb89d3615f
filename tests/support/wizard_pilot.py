"""The full-screen wizard driven in this process: keys go in, what is on the screen comes out as text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from textual import events
from textual.pilot import Pilot

from pitsctl.answers import Answers
from pitsctl.wizard import words
from pitsctl.wizard.full_screen import WizardApp
from pitsctl.wizard.ports import Sighting
from pitsctl.wizard.screens import screen_of
from tests.support.made_up_installer import ZERO_2, MadeUpInstaller

DEADLINE_S = 20.0


class Driver:
    """Presses keys, and waits for what is to be on the screen."""

    def __init__(self, pilot: Pilot[int], app: WizardApp) -> None:
        self._pilot = pilot
        self.app = app

    async def press(self, *keys: str) -> None:
        """Press keys, each after what the one before has set off is done.

        Not the pilot's own `press`, which sleeps until the process is idle: on a busy machine a second for each key.
        """
        for key in keys:
            self._send(events.Key(key, key if len(key) == 1 else None))
            await self._settle()

    async def paste(self, text: str) -> None:
        """Put a text into the field that has the focus."""
        self._send(events.Paste(text))
        await self._settle()

    async def _settle(self) -> None:
        # From the application to the field, from there to the screen, and back with what that has set off.
        for _ in range(3):
            await self._pilot._wait_for_screen()

    def _send(self, event: events.Event) -> None:
        event.set_sender(self.app)
        driver = self.app._driver
        assert driver is not None
        driver.send_message(event)

    async def resize(self, width: int, height: int) -> None:
        await self._pilot.resize_terminal(width, height)

    async def click(self, selector: str, offset: tuple[int, int] = (0, 0)) -> None:
        await self._pilot.click(selector, offset=offset)

    @property
    def text(self) -> str:
        """The lines of the screen on top."""
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips())

    async def until(self, expected: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not expected():
            assert time.monotonic() < deadline, f"{what} never came:\n{self.text}"
            await self._pilot.pause(0.03)

    async def check_sees(self, *texts: str) -> None:
        """Wait until all of the texts are on the screen, each unbroken."""
        for text in texts:
            await self.until(partial(self._shows, text), repr(text))

    def _shows(self, text: str) -> bool:
        return text in self.text

    async def go_on(self, *titles: str) -> None:
        """Press Enter until each of these screens is shown."""
        for title in titles:
            await self.press("enter")
            await self.check_sees(f"▸ {title}")
            await self.arrived()

    async def arrived(self) -> None:
        """Wait until nobody is on the way from a screen to another."""
        await self.until(lambda: not self.app._going, "the way there")

    async def to_review(self) -> None:
        """Go to the plan at once, as if everything had been looked at."""
        self.app.journey.saw(screen_of("connection"), ZERO_2)
        self.app.journey.saw(screen_of("home"), Sighting())
        self.app._start(self.app._review)
        await self.check_sees("▸ Review")
        await self.arrived()

    async def to_screen(self, name: str) -> None:
        """Go to a screen of questions at once, as if the machine had been looked at."""
        self.app.journey.saw(screen_of("connection"), ZERO_2)
        self.app._start(partial(self.app.show_form, screen_of(name)))
        await self.check_sees(f"▸ {words.PAGES[name].title}")
        await self.arrived()


def drive(
    answers: Answers,
    installer: MadeUpInstaller,
    script: Callable[[Driver], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
) -> int | None:
    """Run the wizard before a script, and return the exit code. The script's end is a person who leaves."""

    async def run() -> int | None:
        app = WizardApp(answers, installer)
        try:
            async with app.run_test(size=size) as pilot:
                driver = Driver(pilot, app)
                await driver.check_sees("▸ Connection")
                await script(driver)
                app.leave_now()
        finally:
            app.stop.set()
            app.abandon()
            installer.close()
            assert app.worker.stop(5), "the working thread did not end"
        return app.return_value

    return asyncio.run(run())
