"""The files of the project, read once."""

from __future__ import annotations

import ast
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Source:
    """One text file: its path as git writes it, and what it says."""

    path: str
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        """The file as Python reads it."""
        return ast.parse(self.text, filename=self.path)

    @functools.cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of it: nearly every rule asks, and finding them takes longer than reading the file."""
        return tuple(ast.walk(self.tree))

    @property
    def module(self) -> str:
        """The dotted name under which the file is imported."""
        name = self.path.removeprefix("service/").removesuffix(".py").replace("/", ".")
        return name.removesuffix(".__init__")

    def at(self, node: ast.AST, message: str) -> str:
        """Say where something is wrong, the way editors and terminals understand."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {message}"


def project_names() -> list[str]:
    """Return the paths of all files that git has or would take, and that are there."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    return sorted({name for name in listing.decode().split("\0") if name and (ROOT / name).is_file()})


@functools.lru_cache(maxsize=1)
def project_files() -> tuple[Source, ...]:
    """Return every text file of the project."""
    sources = []
    for name in project_names():
        try:
            sources.append(Source(name, (ROOT / name).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # a video or a picture
    return tuple(sources)


def python_files(*folders: str) -> list[Source]:
    """Return the Python files, those under `folders` if any are given."""
    found = [source for source in project_files() if source.path.endswith(".py")]
    return [source for source in found if not folders or source.path.startswith(tuple(f"{f}/" for f in folders))]
