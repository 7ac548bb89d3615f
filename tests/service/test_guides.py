"""What the guides tell a person to type is understood by the programs of this checkout."""

from __future__ import annotations

import re
import shlex

import pytest

from pitsctl import command
from tests.support.house.source import ROOT

GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def typed(text: str) -> list[str]:
    """The commands of a guide: lines of its blocks, continued ones joined, and what stands in backticks."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


COMMANDS = [(guide.name, line) for guide in GUIDES for line in typed(guide.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    "line", sorted({line for _, line in COMMANDS if re.match(r"pitsctl( |$)", line)}), ids=lambda line: line[:60]
)
def test_pitsctl_understands_what_the_guides_say(line: str):
    words = shlex.split(re.sub(r'"\$\(.*\)"', "0" * 64, line), comments=True)[1:]
    # `--help` shows what there is and ends; a flag that is only named here has no value.
    words = [word for word in words if word != "--help"]
    words += ["FILE"] if words[-1:] == ["--answers"] else []
    options = command.parser().parse_args(words)
    assert options.command in {None, *words}


def test_there_are_commands_in_the_guides():
    assert {"pitsctl", "pitsctl doctor"} <= {line for _, line in COMMANDS}


@pytest.mark.parametrize(
    "line", sorted({line for _, line in COMMANDS if line.startswith("make ")}), ids=lambda line: line[:60]
)
def test_the_makefile_has_what_the_guides_say(line: str):
    assert line.split()[1] in TARGETS


def test_files_of_the_service_that_the_guides_name_are_there():
    named = {path for _, line in COMMANDS for path in re.findall(r"(?<![\w./])\.?/?(service/[\w./-]+)(?=\s|$)", line)}
    assert "service/bootstrap.sh" in named
    assert not [path for path in named if not (ROOT / path.rstrip("/")).exists()]
