"""Pins what goes onto a Pi beside the wheel by hash: service/requirements/*.txt, one list for each kind of machine.

Where pitsctl itself may run on a Pi, there is a list for it too.

    python -m tools.hash_pins            make the lists anew with pip's own resolver; uses the network, run by hand
    python -m tools.hash_pins --check    do the lists fit setup.py? without a network; `make check` asks this

A list holds names, versions and SHA-256 sums, and nothing about where they come from. pip resolves for a machine that
is not this one (`--platform`, `--python-version`), but reads markers of architectures as of this one; so the markers of
setup.py are evaluated here, and what pip found is walked through once more with the markers of the other machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pinthesky.machine import pinned

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "service" / "requirements"
RESOLVE_S = 300

# What each says of itself: the architecture of wheels, None where the index has none for it.
MACHINES: Mapping[str, str] = {"arm64": "aarch64", "armhf": "armv7l", "amd64": "x86_64"}
HAS_WHEELS = ("arm64", "amd64")

# Python -> the C library of the oldest system that has it: Debian 11, 12, Ubuntu 24.04, Debian 13.
GLIBC = {"3.9": 31, "3.11": 36, "3.12": 39, "3.13": 41}
OLDEST_CLIENT = (3, 11)

# The camera library of Debian 12 is compiled for numpy 1 and cannot be loaded beside numpy 2.
BOUNDS = {("3.11", "numpy"): "<2"}


class CannotPin(Exception):
    """The lists cannot be made, or do not fit."""


@dataclass(frozen=True)
class Target:
    """One kind of machine."""

    architecture: str
    python: str
    for_pitsctl: bool = False

    @property
    def path(self) -> Path:
        """Where its list is."""
        return FOLDER / pinned.list_name(self.architecture, self.python, for_pitsctl=self.for_pitsctl)

    @property
    def has_client(self) -> bool:
        """Tell whether the device client in Python can be there: Python 3.11, and wheels of the library under it."""
        return self.architecture in HAS_WHEELS and _version(self.python) >= OLDEST_CLIENT

    def environment(self) -> dict[str, str]:
        """Return what markers see there."""
        return {
            "extra": "",
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": MACHINES[self.architecture],
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def platforms(self) -> list[str]:
        """Return the tags of wheels that run there, best first."""
        machine = MACHINES[self.architecture]
        glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC[self.python], 16, -1)]
        return [*glibc, f"manylinux2014_{machine}", f"linux_{machine}"]


TARGETS = (
    *(
        Target(architecture, python, for_pitsctl=for_pitsctl)
        for architecture in HAS_WHEELS
        for python in ("3.11", "3.12", "3.13")
        for for_pitsctl in (False, True)
    ),
    Target("arm64", "3.9"),
    *(Target("armhf", python) for python in ("3.9", "3.11", "3.13")),
)


@dataclass(frozen=True)
class Pin:
    """One library of a list."""

    name: str
    version: str
    sha256: str


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def wanted(target: Target, lists: Mapping[str, Any]) -> list[Requirement]:
    """Return what of setup.py's lists is to be pinned for the machine, without markers."""
    raw = [*lists["DEVICE"], *lists["VIDEO"], *lists["CLOUD"]]
    raw += lists["CTL"] if target.for_pitsctl else lists["CLIENT"] if target.has_client else ()
    elsewhere = {
        canonicalize_name(Requirement(one.requirement).name)
        for one in pinned.elsewhere(target.architecture, target.python)
    }
    found = []
    for requirement in map(Requirement, raw):
        holds = requirement.marker is None or requirement.marker.evaluate(target.environment())
        if holds and canonicalize_name(requirement.name) not in elsewhere:
            requirement.marker = None
            requirement.specifier &= SpecifierSet(BOUNDS.get((target.python, requirement.name), ""))
            found.append(requirement)
    return found


def resolve(target: Target, requirements: Iterable[Requirement]) -> list[dict[str, Any]]:
    """Let pip resolve, and return the entries of its report. Raises CannotPin."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-input"]
        command += ["--only-binary=:all:", "--target", scratch, "--report", str(report)]
        command += ["--implementation", "cp", "--python-version", target.python]
        command += [part for tag in target.platforms() for part in ("--platform", tag)]
        command += [str(requirement) for requirement in requirements]
        # Only the index is asked, whatever else the pip of this machine is told of.
        nothing = Path(scratch, "nothing")
        nothing.mkdir()
        environment = {**os.environ, "PIP_FIND_LINKS": str(nothing), "PIP_EXTRA_INDEX_URL": nothing.as_uri()}
        finished = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=RESOLVE_S, env=environment
        )
        if finished.returncode != 0:
            raise CannotPin(f"{target.path.name}: pip says\n{finished.stderr.strip()}")
        entries: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return entries


def pins_of(target: Target, entries: list[dict[str, Any]]) -> list[Pin]:
    """Return the pins that a report holds. Raises CannotPin where a file is none of one index, or one is missing."""
    hosts = {urlsplit(entry["download_info"]["url"])[:2] for entry in entries}
    if {scheme for scheme, _ in hosts} != {"https"} or len(hosts) != 1:
        raise CannotPin(f"{target.path.name}: not all files come from one index; pip here is told of others")
    by_name: dict[str, dict[str, Any]] = {canonicalize_name(entry["metadata"]["name"]): entry for entry in entries}
    missing = closure(target, by_name) ^ set(by_name)
    if missing:
        raise CannotPin(f"{target.path.name}: needed there and not here, or here and not there: {sorted(missing)}")
    return [
        Pin(name, entry["metadata"]["version"], entry["download_info"]["archive_info"]["hashes"]["sha256"])
        for name, entry in sorted(by_name.items())
    ]


def closure(target: Target, by_name: Mapping[str, dict[str, Any]]) -> set[str]:
    """Return the names of all that the requested libraries need on the machine."""
    found: set[tuple[str, str]] = set()  # name and extra
    ahead = {(name, "") for name, entry in by_name.items() if entry["requested"]}
    while ahead:
        name, extra = ahead.pop()
        found.add((name, extra))
        environment = {**target.environment(), "extra": extra}
        for text in by_name.get(name, {"metadata": {}})["metadata"].get("requires_dist", ()):
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate(environment):
                ahead |= {(canonicalize_name(need.name), option) for option in ("", *need.extras)} - found
    return {name for name, _ in found}


def written(target: Target, pins: Iterable[Pin]) -> str:
    """Return the text of a list, which is a requirements file of pip."""
    what = "What pitsctl needs" if target.for_pitsctl else "What goes with the wheel"
    head = [
        f"# {what} on {target.architecture} with Python {target.python}, pinned by hash.",
        "# Made by `python -m tools.hash_pins`; `make check` holds it against setup.py.",
    ]
    for one in pinned.elsewhere(target.architecture, target.python):
        source = f"from Debian's {one.debian_package}" if one.debian_package else "from piwheels, without a hash"
        head.append(f"# Not in here, since the index has no wheel of it for this machine: {one.requirement} {source}.")
    if not target.has_client and not target.for_pitsctl:
        head.append("# Without the device client in Python, which does not run there.")
    body = [f"{pin.name}=={pin.version} \\\n    --hash=sha256:{pin.sha256}" for pin in pins]
    return "\n".join([*head, *body]) + "\n"


_PIN = re.compile(r"([a-z0-9-]+)==([0-9][0-9A-Za-z.]*) \\\n    --hash=sha256:([0-9a-f]{64})\n")


def read(target: Target) -> list[Pin]:
    """Return the pins of a list. Raises CannotPin where it holds anything else."""
    try:
        text = target.path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CannotPin(f"{target.path.name} is missing") from error
    pins = [Pin(*match.groups()) for match in _PIN.finditer(text)]
    if written(target, pins) != text:
        raise CannotPin(f"{target.path.name} holds more than pins, or was changed by hand")
    return pins


def complaints(target: Target, lists: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the list of a machine."""
    try:
        pins = {pin.name: pin for pin in read(target)}
    except CannotPin as problem:
        return [str(problem)]
    wrong = []
    for requirement in wanted(target, lists):
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None:
            wrong.append(f"{target.path.name}: {requirement} is not pinned")
        elif not requirement.specifier.contains(pin.version):
            wrong.append(f"{target.path.name}: {pin.name} {pin.version} is not {requirement}")
    return wrong + [
        f"{target.path.name}: setup.py does not say {one.requirement}"
        for one in pinned.elsewhere(target.architecture, target.python)
        if one.requirement not in lists["DEVICE"]
    ]


def strangers() -> list[str]:
    """Return the files beside the lists that belong to no machine."""
    ours = {target.path for target in TARGETS}
    return [f"{path.name}: no machine needs it" for path in sorted(FOLDER.glob("*")) if path not in ours]


def main(arguments: list[str] | None = None) -> int:
    """Make the lists, or check them; return 0, or 1 where that fails."""
    parser = argparse.ArgumentParser(prog="python -m tools.hash_pins", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="hold the lists against setup.py, without a network")
    asked = parser.parse_args(arguments)
    lists = runpy.run_path(str(ROOT / "setup.py"))
    if asked.check:
        wrong = [line for target in TARGETS for line in complaints(target, lists)] + strangers()
        for line in wrong:
            print(line, file=sys.stderr)
        return 1 if wrong else 0
    try:
        texts = {target: written(target, pins_of(target, resolve(target, wanted(target, lists)))) for target in TARGETS}
    except CannotPin as problem:
        print(f"hash_pins: {problem}", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for target, text in texts.items():
        target.path.write_text(text, encoding="utf-8")
        print(target.path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
