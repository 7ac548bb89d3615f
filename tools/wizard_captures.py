"""Puts two screens of the wizard into `docs/reference/pitsctl-wizard.md`: `python -m tools.wizard_captures`.

They are of a real run at 80x24, before a made-up machine. With `--check` nothing is written, and the exit status is 1
if the page is not what it should be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support.made_up_installer import scene
from tests.support.wizard_pilot import Driver, drive
from tools.reference_page import write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "pitsctl-wizard.md"


def captures() -> dict[str, str]:
    """The screens, by the name of their place in the page."""
    taken: dict[str, str] = {}

    async def script(driver: Driver) -> None:
        await driver.to_screen("camera")
        await driver.check_sees("(preset)", "WebRTC", "PgDn More", "an rtsp:// address")
        taken["camera"] = driver.text
        await driver.to_review()
        await driver.check_sees("[ Install ]", "PgDn More")
        taken["review"] = driver.text

    answers, installer = scene("plain")
    drive(answers, installer, script)
    return taken


def page() -> str:
    """The page, with the screens of now."""
    text = PAGE.read_text(encoding="utf-8")
    for name, screen in captures().items():
        block = f"<!-- screen {name} -->\n```\n{screen.rstrip()}\n```\n"
        place = re.compile(rf"<!-- screen {name} -->\n```\n.*?```\n", re.DOTALL)
        text = place.sub(block.replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page()))
