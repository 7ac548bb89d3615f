"""Steps on the machine's own system: whether it can be a camera at all, Debian packages, user, folders."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from pinthesky.errors import Conflict, Unavailable
from pinthesky.machine import pinned
from pinthesky.machine.pinned import Elsewhere
from pitsctl import places
from pitsctl.facts import OLDEST_PYTHON, Facts
from pitsctl.machine import FileMode
from pitsctl.site import Site, said_of
from pitsctl.steps import Found, Say, Verdict

NEEDED_DISK_MB = 500
"""For the packages, two versions, and some clips."""
_APT_S = 3600.0
_APT = (
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "NEEDRESTART_MODE=l",
    "apt-get",
    "-q",
    "-y",
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Dpkg::Options::=--force-confold",
)
_CLIPS_STAY = """
set -eu
state=$1 keep=$2
[ -d "$state" ] || exit 0
find "$state" -mindepth 1 -maxdepth 1 ! -name "$keep" -exec rm -rf -- {} +
if [ -d "$state/$keep" ]; then chown -R root:root -- "$state"; else rm -rf -- "$state"; fi
"""
_REMOVE_EMPTY = """
[ -d "$1" ] || exit 0
chown -R root:root -- "$1"
rmdir -- "$1" 2>/dev/null || :
"""
_SPOOL_IS_THEIRS = """
[ -d "$1" ] || exit 0
exec chown -R "$2:$2" -- "$1"
"""


def debian_packages(facts: Facts) -> tuple[str, ...]:
    """What is needed of Debian's packages."""
    wanted = ["ca-certificates", "openssl", "python3-pip", "python3-venv"]
    wanted += [one.debian_package for one in elsewhere_of(facts) if one.debian_package is not None]
    if facts.stack == "libcamera":
        wanted.append("python3-picamera2")
    if facts.stack == "legacy":
        wanted.append("python3-picamera")
    return tuple(sorted(wanted))


def elsewhere_of(facts: Facts) -> tuple[Elsewhere, ...]:
    """The libraries that the index has no wheel of for this machine."""
    return pinned.elsewhere(facts.architecture, facts.python_text)


class Suitable:
    """Says before anything is changed what stands in the way; does nothing itself."""

    name = "suitable"
    title = "Look whether this machine can be a camera"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """What is missing that cannot be installed."""
        facts = self._site.facts
        reason = None
        if not facts.has_apt or not facts.has_systemd:
            reason = "a system with apt and systemd is needed: Raspberry Pi OS or Debian"
        elif facts.python < OLDEST_PYTHON:
            reason = f"Python {facts.python_text} is too old: Raspberry Pi OS Bullseye or later is needed"
        elif not facts.installed and facts.disk_free_mb < NEEDED_DISK_MB:
            reason = f"{facts.disk_free_mb} MB of the disk are free, {NEEDED_DISK_MB} are needed"
        elif self._site.answers.paths.client == "cpp" and not facts.cpp_client:
            reason = "aws-iot-device-client is not there: install it first, or choose the client in Python"
        elif self._site.answers.paths.client == "python" and not facts.runs_our_client:
            reason = "the device client in Python needs a 64-bit system with Python 3.11"
        if reason is not None:
            return Found(Verdict.IMPOSSIBLE, reason)
        model = facts.pi_model or f"a machine of {facts.architecture}"
        return Found(Verdict.DONE, f"{model}, {facts.os_id} {facts.codename}, Python {facts.python_text}")

    def apply(self, say: Say) -> None:
        """Nothing."""

    def undo(self, say: Say) -> None:
        """Nothing."""


class DebianPackages:
    """Installs what is missing, and remembers every package that came with it."""

    name = "debian-packages"
    title = "Install Debian packages"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """Which are not installed."""
        missing = self._missing()
        if missing:
            return Found(Verdict.NEEDED, f"install {', '.join(missing)}, and what they need")
        return Found(Verdict.DONE, "all are installed")

    def apply(self, say: Say) -> None:
        """Install, after what an earlier attempt may have left half done. Raises Conflict with apt's own words."""
        site = self._site
        site.must("dpkg", "--configure", "-a", timeout_s=_APT_S)
        missing = self._missing()
        updated = site.must("sh", "-c", '"$@" 2>&1', "update", *_APT, "update", timeout_s=_APT_S)
        failed = re.search(r"^(?:W: Failed to fetch|E: ).*", updated, re.MULTILINE)
        if failed is not None:
            # It ends with 0, and does not know the packages afterwards.
            raise Unavailable(f"{site.machine.name}: apt-get update: {failed[0][:300]}")
        said_of(updated, say, at_most=1)
        install = ("install", "--no-install-recommends", *missing)
        coming = re.findall(r"^Inst (\S+)", site.must(*_APT, "--simulate", *install, timeout_s=_APT_S), re.MULTILINE)
        there = set(self._installed())
        notes = site.ledger.notes(self.name)
        new = {*notes.get("installed", []), *(name for name in coming if name not in there)}
        site.ledger.keep(self.name, {"installed": sorted(new)})
        say(f"{len(coming)} packages: {' '.join(coming)}"[:300])
        said_of(site.must(*_APT, *install, timeout_s=_APT_S), say, at_most=3)

    def undo(self, say: Say) -> None:
        """Remove the packages that came, unless something else has come to need them."""
        site = self._site
        there = set(self._installed())
        ours = [name for name in site.ledger.notes(self.name).get("installed", []) if name.partition(":")[0] in there]
        if not ours:
            return
        site.must("dpkg", "--configure", "-a", timeout_s=_APT_S)
        told = site.must(*_APT, "--simulate", "purge", *ours, timeout_s=_APT_S)
        others = sorted(set(re.findall(r"^(?:Remv|Purg) (\S+)", told, re.MULTILINE)) - set(ours))
        if others:
            say(f"left installed, since {', '.join(others)[:200]} would go with them: {' '.join(ours)[:200]}")
            return
        said_of(site.must(*_APT, "purge", *ours, timeout_s=_APT_S), say, at_most=2)

    def _missing(self) -> list[str]:
        there = set(self._installed())
        return [name for name in debian_packages(self._site.facts) if name not in there]

    def _installed(self) -> list[str]:
        told = self._site.must("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n")
        return [
            name for name, _, status in (line.partition(" ") for line in told.splitlines()) if status == "installed"
        ]


class User:
    """The user that daemon and device client run as: of no group but its own, without a password or a shell."""

    name = "user"
    title = f"Make the user {places.USER}"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """Whether there is such a user."""
        if self._exists():
            return Found(Verdict.DONE, f"{places.USER} is there")
        return Found(Verdict.NEEDED, f"make {places.USER}, without a password, a shell or root")

    def apply(self, say: Say) -> None:
        """Make it, unless an attempt that was cut off has done so."""
        if self._exists():
            return
        self._site.ledger.keep(self.name, {"made": True})
        options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
        self._site.must("useradd", *options, "--shell", "/usr/sbin/nologin", places.USER)
        say(f"made {places.USER}")

    def undo(self, say: Say) -> None:
        """Remove it, if it was made here."""
        if self._site.ledger.notes(self.name).get("made") and self._exists():
            self._site.must("userdel", places.USER)
            say(f"removed {places.USER}")

    def _exists(self) -> bool:
        return self._site.says("getent", "passwd", places.USER) is not None


class Folders:
    """Folders with the exact modes that daemon, device clients and root helper ask for."""

    name = "folders"
    title = "Make the folders"

    _WANTED: tuple[tuple[PurePosixPath, FileMode], ...] = (
        (places.ETC, FileMode(mode=0o745)),
        (places.CERTIFICATES, FileMode(places.USER, places.USER, 0o700)),
        (places.STATE, FileMode(places.USER, places.USER, 0o745)),
        (places.EVENT_QUEUE, FileMode(places.USER, places.USER, 0o700)),
        (places.ADMIN_STATE, FileMode(mode=0o700)),
        (places.WHEELS, FileMode(mode=0o700)),
        (places.OPT, FileMode(mode=0o755)),
        (places.HANDLERS, FileMode(places.USER, places.USER, 0o755)),
    )

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """Owner and mode of each."""
        missing = self._different()
        if missing:
            return Found(Verdict.NEEDED, f"make {', '.join(str(path) for path, _ in missing)}")
        return Found(Verdict.DONE, f"{len(self._WANTED)} folders have their owners and modes")

    def apply(self, say: Say) -> None:
        """Make those that are missing, and give the others owner and mode; what they were is written down."""
        seen = self._site.look(path for path, _ in self._WANTED)
        notes: dict[str, Any] = self._site.ledger.notes(self.name) or {"before": {}}
        for path, now in seen.items():
            if now is not None and now.kind != "folder":
                raise Conflict(f"{path} on {self._site.machine.name} is no folder: move it away")
            is_new = now is None or self._is_left_over(path)
            before = None if is_new or now is None else [now.mode.owner, now.mode.group, f"{now.mode.mode:o}"]
            notes["before"].setdefault(str(path), before)
        self._site.ledger.keep(self.name, notes)
        for path, mode in self._different():
            owner = ("-o", mode.owner, "-g", mode.group, "-m", f"{mode.mode:o}")
            self._site.must("install", "-d", *owner, "--", str(path))
            if path == places.STATE:
                self._site.must("sh", "-c", _SPOOL_IS_THEIRS, "spool", str(places.SPOOL), places.USER)
            say(f"made {path}")

    def undo(self, say: Say) -> None:
        """Remove those that were made, and give the others back their owner and mode. Clips and keys stay if wanted."""
        before = self._site.ledger.notes(self.name).get("before", {})
        for path, _ in reversed(self._WANTED):
            if str(path) not in before:
                continue
            earlier = before[str(path)]
            if earlier is not None:
                self._give_back(path, earlier)
            else:
                self._remove(path, say)

    def _give_back(self, path: PurePosixPath, earlier: list[str]) -> None:
        owner, group, mode = earlier
        if self._site.look([path])[path] is not None:
            self._site.must("chown", f"{owner}:{group}", "--", str(path))
            self._site.must("chmod", mode, "--", str(path))

    def _remove(self, path: PurePosixPath, say: Say) -> None:
        removal = self._site.removal
        if path == places.STATE and not removal.clips:
            self._site.must("sh", "-c", _CLIPS_STAY, "clips-stay", str(path), places.SPOOL.name)
            if self._site.look([places.SPOOL])[places.SPOOL] is not None:
                say(f"clips are left in {places.SPOOL}")
        elif path == places.ETC or (path == places.CERTIFICATES and not removal.certificates):
            self._site.must("sh", "-c", _REMOVE_EMPTY, "remove-empty", str(path))
        else:
            self._site.must("rm", "-rf", "--", str(path))

    def _is_left_over(self, path: PurePosixPath) -> bool:
        """Whether a folder holds nothing but what an earlier removal has left: clips, or key and certificate."""
        if path == places.STATE:
            return self._names_in(path) <= {places.SPOOL.name}
        if path in (places.ETC, places.CERTIFICATES) and self._names_in(places.ETC) <= {places.CERTIFICATES.name}:
            kept = (places.KEY, places.CERTIFICATE, places.ROOT_CA)
            return self._names_in(places.CERTIFICATES) <= {file.name for file in kept}
        return False

    def _names_in(self, folder: PurePosixPath) -> set[str]:
        return set((self._site.says("ls", "-A", "--", str(folder)) or "").splitlines())

    def _different(self) -> list[tuple[PurePosixPath, FileMode]]:
        seen = self._site.look(path for path, _ in self._WANTED)
        return [(path, mode) for path, mode in self._WANTED if (now := seen[path]) is None or now.mode != mode]
