"""Is dist/ what a tag promises? Asked by `make release TAG=v1.2.3` before anything is uploaded; uploads nothing.

python -m tools.check_release v1.2.3
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

from pinthesky.version import __version__

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (
    "console/index.html",
    "handlers/upgrade-pinthesky",
    "requirements/arm64-python3.13.txt",
    "sd-card/begin.sh",
    "systemd/pinthesky.service",
)
"""Of what each folder has to hold, so that none was left out."""


def complaints(tag: str, version: str, root: Path = ROOT) -> list[str]:
    """Return what is wrong with the release of `version` under `tag`."""
    wrong = []
    if tag != f"v{version}":
        wrong.append(f"the tag is {tag or 'missing'}, the version {version}: expected v{version}")
    if re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?", version) is None:
        wrong.append(f"{version} is no version to be released")
    if f"\n## [{version}]" not in (root / "CHANGELOG.md").read_text(encoding="utf-8"):
        wrong.append(f"CHANGELOG.md has no part [{version}]")
    wheels = sorted((root / "dist").glob("*"))
    if [path.name for path in wheels] != [f"pinthesky-{version}-py3-none-any.whl"]:
        return [*wrong, f"dist/ holds {', '.join(path.name for path in wheels) or 'nothing'}"]
    with zipfile.ZipFile(wheels[0]) as archive:
        names = set(archive.namelist())
    data = f"pinthesky-{version}.data/data/share/pinthesky"
    return wrong + [f"the wheel lacks {name}" for name in SHIPPED if f"{data}/{name}" not in names]


def main(arguments: list[str]) -> int:
    """Say what is wrong; return 0 where nothing is."""
    wrong = complaints(arguments[0] if arguments else "", __version__)
    for line in wrong:
        print(f"release: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
