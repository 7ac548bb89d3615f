"""Steps that bring the software: an environment of its own for each version, and the links that say which one runs.

The layout is the root helper's (docs/reference/admin.md), which carries out upgrades: an environment is whole when it
holds `wheel.sha256`, `current` is what the services run, `steady` what the root helper runs from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pinthesky.errors import Conflict, InvalidInput, Unavailable
from pinthesky.model.versions import is_version, order_of
from pitsctl import places
from pitsctl.machine import FileMode, Machine
from pitsctl.parcel import Parcel
from pitsctl.pi_system import elsewhere_of
from pitsctl.site import Site, said_of
from pitsctl.steps import Found, Say, Verdict

FREE_MB = 200
_VENV_S = 600.0
_PIP_S = 3600.0
"""A Zero unpacks botocore in minutes."""
_PIP = ("--no-input", "--disable-pip-version-check", "--no-cache-dir", "--quiet")
_PIP_REACHES = (3, 11)
"""With the Python of this and later releases comes a pip that installs into other environments."""
_UPGRADE_S = 4500.0
_MARK = "wheel.sha256"

# Arguments: folder, link, version. The link leads to the old version or to the new one, never nowhere.
_POINT = """
set -eu
ln -sfn -- "$3" "$1/.$2.new"
mv -fT -- "$1/.$2.new" "$1/$2"
sync -- "$1"
"""
_WHOLE = """
cd "$1" 2>/dev/null || exit 0
for one in */wheel.sha256; do [ -f "$one" ] && echo "${one%/*} $(cat "$one")"; done
exit 0
"""
_FORGET = """
set -eu
[ -d "$1" ] || exit 0
rm -f -- "$1/wheel.sha256"
rm -rf -- "$1"
"""


class Environment:
    """The version of the parcel in an environment of its own, beside whatever runs. Nothing that runs is touched."""

    name = "environment"
    title = "Bring the software"

    def __init__(self, site: Site, *, wheelhouse: Path | None = None) -> None:
        """`wheelhouse` is a folder here with all wheels that are needed, for a machine without internet."""
        self._site = site
        self._wheelhouse = wheelhouse

    def check(self) -> Found:
        """Whether the version is there, whole, and from these very bytes."""
        parcel, site = self._site.parcel(), self._site
        digest = mark_of(site, parcel.version)
        if digest == parcel.sha256:
            return Found(Verdict.DONE, f"{parcel.version} is installed")
        if digest is not None and parcel.version in linked(site):
            return Found(
                Verdict.IMPOSSIBLE,
                f"another wheel of {parcel.version} is what runs: give this one another version, or remove that first",
            )
        if not site.facts.runs_our_client and site.answers.paths.client == "python":
            return Found(Verdict.IMPOSSIBLE, "the device client in Python needs a 64-bit system with Python 3.11")
        how = "pinned by hash" if self._requirements(parcel) is not None else "from the wheelhouse"
        without = [one.requirement for one in elsewhere_of(site.facts) if one.debian_package is None]
        how += f" but for {' and '.join(without)}, which come from piwheels" if without else ""
        if self._wheelhouse is None and self._requirements(parcel) is None:
            what = f"{site.facts.architecture} with Python {site.facts.python_text}"
            return Found(
                Verdict.IMPOSSIBLE, f"there are no pinned versions of what is needed on {what}: give a --wheelhouse"
            )
        return Found(Verdict.NEEDED, f"install {parcel.version} into {places.OPT / parcel.version}, {how}")

    def apply(self, say: Say) -> None:
        """Make it anew, unless it is whole."""
        site, parcel = self._site, self._site.parcel()
        notes = site.ledger.notes(self.name)
        versions = sorted({*notes.get("versions", []), parcel.version})
        site.ledger.keep(self.name, {**notes, "versions": versions})
        folder = places.OPT / parcel.version
        free_kb = site.must("df", "-Pk", "--", str(places.OPT)).splitlines()[-1].split()[3]
        if free_kb.isdecimal() and int(free_kb) < FREE_MB * 1024:
            raise Unavailable(f"{int(free_kb) // 1024} MB of the disk are free, {FREE_MB} are needed")
        wheel = self._send(parcel, say)
        site.must("sh", "-c", _FORGET, "forget", str(folder))
        say(f"making {folder}")
        inside = f"{folder}/bin/python"
        # The pip of Bullseye cannot install into another environment, so there each has its own.
        is_new = site.facts.python >= _PIP_REACHES
        without = ("--without-pip",) if is_new else ()
        site.must("python3", "-m", "venv", "--system-site-packages", *without, str(folder), timeout_s=_VENV_S)
        reach = ("python3", "-m", "pip", "--python", inside) if is_new else (inside, "-m", "pip")
        pip = (*reach, "install", *_PIP)
        for options in self._installs(parcel, wheel):
            said_of(site.must(*pip, *options, timeout_s=_PIP_S), say)
        self._probe(parcel.version)
        site.must("sync", "-f", "--", str(places.OPT), timeout_s=600)
        site.machine.write(folder / _MARK, f"{parcel.sha256}\n".encode("ascii"), FileMode())
        say(f"{parcel.version} is whole")

    def undo(self, say: Say) -> None:
        """Remove every version that was brought, and its wheel."""
        site = self._site
        for version in site.ledger.notes(self.name).get("versions", []):
            site.must("sh", "-c", _FORGET, "forget", str(places.OPT / version))
            site.must("rm", "-f", "--", str(places.WHEELS / f"pinthesky-{version}-py3-none-any.whl"))
            say(f"removed {version}")
        site.must("rm", "-rf", "--", str(places.WHEELHOUSE))

    def _requirements(self, parcel: Parcel) -> bytes | None:
        return parcel.requirements(self._site.facts.architecture, self._site.facts.python_text)

    def _send(self, parcel: Parcel, say: Say) -> PurePosixPath:
        """Put the wheel where the root helper finds wheels too, and the wheelhouse where it takes from."""
        site, root = self._site, FileMode(mode=0o600)
        wheel = places.WHEELS / parcel.name
        seen = site.look([wheel])[wheel]
        if seen is None or seen.detail != parcel.sha256:
            say(f"sending {parcel.name}, {len(parcel.data) // 1024} kB")
            site.machine.write(wheel, parcel.data, root)
        requirements = self._requirements(parcel)
        if requirements is not None:
            site.machine.write(places.WHEELS / "requirements.txt", requirements, root)
        if self._wheelhouse is not None:
            self._send_wheelhouse(self._wheelhouse, requirements, say)
        return wheel

    def _send_wheelhouse(self, folder: Path, requirements: bytes | None, say: Say) -> None:
        """Send the wheels that this version takes, and remove those that only an older one took."""
        files = [file for file in sorted(folder.glob("*.whl")) if self._takes(file, requirements)]
        if not files:
            raise InvalidInput("--wheelhouse", f"there are no wheels in {folder} that are needed")
        self._site.must("install", "-d", "-m", "700", "--", str(places.WHEELHOUSE))
        there = self._site.must("ls", "-A", "--", str(places.WHEELHOUSE)).splitlines()
        older = [str(places.WHEELHOUSE / name) for name in {*there} - {file.name for file in files}]
        if older:
            self._site.must("rm", "-f", "--", *older)
        seen = self._site.look(places.WHEELHOUSE / file.name for file in files)
        for file in files:
            if seen[places.WHEELHOUSE / file.name] is None:
                say(f"sending {file.name}")
                self._site.machine.write(places.WHEELHOUSE / file.name, file.read_bytes(), FileMode(mode=0o600))

    def _takes(self, wheel: Path, requirements: bytes | None) -> bool:
        """Whether a wheel is on the list, or one of those that cannot be; without a list all may be needed."""
        if requirements is None or hashlib.sha256(wheel.read_bytes()).hexdigest().encode() in requirements:
            return True
        name = wheel.name.partition("-")[0].replace("_", "-").lower()
        unlisted = (one.requirement for one in elsewhere_of(self._site.facts) if one.debian_package is None)
        return any(re.split(r"[^A-Za-z0-9-]", requirement, maxsplit=1)[0].lower() == name for requirement in unlisted)

    def _installs(self, parcel: Parcel, wheel: PurePosixPath) -> Sequence[tuple[str, ...]]:
        """What pip is called with, one after the other."""
        binary = "--only-binary=:all:"
        from_house = ("--no-index", "--find-links", str(places.WHEELHOUSE))
        where = from_house if self._wheelhouse is not None else ("--timeout", "30", "--retries", "5")
        if self._requirements(parcel) is None:
            extras = "[client]" if self._site.facts.runs_our_client else ""
            return [(binary, *where, f"{wheel}{extras}")]
        listed = ("--require-hashes", "--no-deps", binary, *where, "-r", str(places.WHEELS / "requirements.txt"))
        # 32-bit: the machine's own pip is set up to ask piwheels, whose files have no hashes that stay.
        unpinned = [one.requirement for one in elsewhere_of(self._site.facts) if one.debian_package is None]
        others = [(binary, *where, *unpinned)] if unpinned else []
        return [listed, *others, ("--no-deps", "--no-index", str(wheel))]

    def _probe(self, version: str) -> None:
        """Start the new programs for a moment, not as root."""
        programs = ["pinthesky"]
        programs += ["pinthesky-admin"] if self._site.facts.runs_root_helper else []
        programs += ["pits-device-client"] if self._site.client == "python" else []
        for program in programs:
            path = str(places.OPT / version / "bin" / program)
            told = self._site.must("runuser", "-u", places.USER, "--", path, "--version", timeout_s=120)
            if version not in told.split():
                raise Conflict(f"{program} --version of {version} says {told.strip()[:80]!r}")


class Version:
    """Which version runs. The first is linked; every later one is tried by the root helper, which may go back."""

    name = "version"
    title = "Switch to the version"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """What `current` and `steady` lead to."""
        version, links = self._site.parcel().version, linked(self._site)
        if links == (version, version):
            return Found(Verdict.DONE, f"{version} is what runs")
        if links[0] is None:
            return Found(Verdict.NEEDED, f"let {version} be what runs")
        if order_of(version) < order_of(links[0]) and not self._site.allow_downgrade:
            what = f"{links[0]} is what runs, and newer than {version}: --allow-downgrade, or a newer pitsctl"
            return Found(Verdict.IMPOSSIBLE, what)
        if self._is_tried():
            return Found(Verdict.NEEDED, f"try {version} in place of {links[0]}, and go back unless it stays up")
        return Found(Verdict.NEEDED, f"let {version} run in place of {links[0]}")

    def apply(self, say: Say) -> None:
        """Switch. Raises Conflict with the root helper's words when it did not stay up: the one before runs then."""
        site, parcel = self._site, self._site.parcel()
        current, _ = linked(site)
        site.ledger.keep(self.name, {"links": True})
        if current in (None, parcel.version) or not self._is_tried():
            for link in ("current", "steady"):
                site.must("sh", "-c", _POINT, "point", str(places.OPT), link, parcel.version)
            if current not in (None, parcel.version) and site.facts.booted:
                site.must("systemctl", "restart", *(f"{name}.service" for name in site.services), timeout_s=300)
            say(f"{parcel.version} is what runs")
        else:
            self._upgrade(parcel, str(current), say)
        self._keep_two(say)

    def undo(self, say: Say) -> None:
        """Remove the links."""
        self._site.must("rm", "-f", "--", str(places.CURRENT), str(places.STEADY))
        say("removed the links")

    def _is_tried(self) -> bool:
        """Whether the root helper can try a version: its units are there, and run."""
        facts, site = self._site.facts, self._site
        if not facts.booted or not facts.runs_root_helper:
            return False
        return site.says("systemctl", "is-active", "--quiet", "pinthesky-admin.socket") is not None

    def _upgrade(self, parcel: Parcel, current: str, say: Say) -> None:
        admin = str(places.STEADY / "bin" / "pinthesky-admin")
        older = ("--allow-downgrade",) if order_of(parcel.version) < order_of(current) else ()
        say(f"trying {parcel.version}; if it does not stay up, {current} comes back")
        ran = self._site.machine.run(
            admin, "upgrade", parcel.name, parcel.sha256, *older, root=True, timeout_s=_UPGRADE_S
        )
        said_of(ran.out + ran.error, say, at_most=4)
        if ran.code != 0:
            words = (ran.error or ran.out).strip().splitlines()
            raise Conflict(words[-1] if words else f"pinthesky-admin ended with {ran.code}")

    def _keep_two(self, say: Say) -> None:
        """Keep the version that runs and the newest other one, which is the way back; the wheels of both too."""
        site = self._site
        others = [version for version in versions_of(site.machine) if version not in linked(site)]
        for version in others[:-1]:
            site.must("sh", "-c", _FORGET, "forget", str(places.OPT / version))
            say(f"removed {version}")
        kept = {f"pinthesky-{version}-py3-none-any.whl" for version in versions_of(site.machine)}
        for name in site.must("ls", "--", str(places.WHEELS)).split():
            if name.endswith(".whl") and name not in kept:
                site.must("rm", "-f", "--", str(places.WHEELS / name))


def mark_of(site: Site, version: str) -> str | None:
    """SHA-256 of the wheel that a version came from; None where it is not whole."""
    text = site.machine.read(places.OPT / version / _MARK, root=True, limit=200)
    return None if text is None else text.decode("ascii", "replace").strip()


def linked(site: Site) -> tuple[str | None, str | None]:
    """The versions that `current` and `steady` lead to."""
    seen = site.look([places.CURRENT, places.STEADY])
    first, second = (None if one is None or one.kind != "link" else one.detail for one in seen.values())
    return first, second


def versions_of(machine: Machine) -> dict[str, str]:
    """The versions that are there and whole, oldest first, each with the SHA-256 of its wheel."""
    ran = machine.run("sh", "-c", _WHOLE, "whole", str(places.OPT), root=True)
    told = dict(line.split(" ", 1) for line in ran.out.splitlines() if is_version(line.partition(" ")[0]))
    return {version: told[version].strip() for version in sorted(told, key=order_of)}
