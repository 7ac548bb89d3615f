"""What no file may say, and links that must lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from tests.support.house.source import ROOT, Source

# Written in pieces, so that this file does not say them either.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("piwheels", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("proxy", "golang", "org"),
    )
)
OPTIONS = re.compile("--" + '(?:extra-)?index-url|"' + 'resolved":\\s*"http')
MACHINE_PATHS = re.compile(r"(?<![\w.$}/-])/(?:work|root|opt/pypi[\w-]*)/")
INSTALL = re.compile(r"\b(?:pip[\d.]*|pipx|uv|uvx|poetry)\s+(?:pip\s+|tool\s+)?(?:install|download|add|run)\b.*")
BARE_NAME = re.compile(r"(?<![\w./-])pinthesky(?:\[[^\]]*\])?(?![\w./\[*-])")
LINK = re.compile(r"(?:\]\(|(?:src|srcset|href)=\")<?([^)\s\">]+)")
CODE_BLOCK = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def line_of(text: str, position: int) -> int:
    """Return the number of the line that holds `position`."""
    return text.count("\n", 0, position) + 1


def traces_of_a_machine(source: Source) -> list[str]:
    """Return mentions of a package registry's host or of a path that exists on one machine only."""
    wrong = []
    for number, line in enumerate(source.text.splitlines(), start=1):
        found = [host for host in HOSTS if host in line]
        found += [match[0] for match in (OPTIONS.search(line), MACHINE_PATHS.search(line)) if match]
        found += [str(ROOT)] if str(ROOT) in line else []
        wrong += [f"{source.path}:{number}: {what}" for what in found]
    return wrong


def installs_by_bare_name(source: Source) -> list[str]:
    """Return commands that would install `pinthesky` from the index, where the name is another project's."""
    return [
        f"{source.path}:{number}: {match[0].strip()}"
        for number, line in enumerate(source.text.splitlines(), start=1)
        if (match := INSTALL.search(line)) and BARE_NAME.search(match[0]) and "--hash" not in match[0]
    ]


def heading_anchors(text: str) -> set[str]:
    """Return the anchors that a reader's browser finds in a Markdown text."""
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", CODE_BLOCK.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[`*_]|\[|\]\([^)]*\)", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def broken_links(source: Source, root: Path = ROOT) -> list[str]:
    """Return the relative links of a Markdown file that lead to no file or no heading."""
    wrong = []
    text = CODE_BLOCK.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source.text)
    for match in LINK.finditer(text):
        target, _, anchor = unquote(match[1]).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (root / source.path).parent / target if target else root / source.path
        where = f"{source.path}:{line_of(text, match.start())}: {match[1]}"
        if not path.exists():
            wrong.append(f"{where} leads nowhere")
        elif anchor and path.suffix == ".md" and anchor not in heading_anchors(path.read_text(encoding="utf-8")):
            wrong.append(f"{where} has no such heading")
    return wrong
