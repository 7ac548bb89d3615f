"""Steps around systemd: handlers of jobs, units with the limits of this machine, what spares the SD card, the start."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pinthesky.errors import Conflict
from pitsctl import places
from pitsctl.machine import FileMode
from pitsctl.placed_files import Placed, PlacedFiles
from pitsctl.site import Site, said_of
from pitsctl.steps import Found, Say, Verdict

_ADMIN_UNITS = ("pinthesky-admin.socket", "pinthesky-admin@.service", "pinthesky-upgrade.service")
_START_S = 300.0
_OLD_CLIENT = "aws-iot-device-client.service"
_MADE_BY = "# Written by pitsctl.\n"

# Arguments: units. One line each: enabled or not, active or not.
_STATES = """
ask() { systemctl "$1" -- "$2" 2>/dev/null | head -n 1; }
for unit; do echo "$(ask is-enabled "$unit") $(ask is-active "$unit")"; done
"""


def memory_max_mb(memory_mb: int) -> int:
    """What the daemon may take: a third of the memory, but not less than it needs for uploads (docs/benchmarks.md)."""
    return max(160, min(memory_mb // 3, 700))


class Handlers(PlacedFiles):
    """What jobs may start, with owner and mode that both device clients ask for."""

    name = "handlers"
    title = "Put the handlers of jobs in place"

    def wanted(self) -> Sequence[Placed]:
        """All of them; none where there is no root helper, which they ask."""
        if not self._site.facts.runs_root_helper or self._site.client == "none":
            return ()
        mode = FileMode(places.USER, places.USER, 0o700)
        files = self._site.parcel().files("handlers")
        return [Placed(places.HANDLERS / name, data, mode) for name, data in files.items()]


class Units(PlacedFiles):
    """The units of this version, a drop-in with this machine's limits, and which of them start at boot."""

    name = "units"
    title = "Put the units in place"

    def wanted(self) -> Sequence[Placed]:
        """Units and drop-ins."""
        shipped, site = self._site.parcel().files("systemd"), self._site
        names = [f"{service}.service" for service in site.services]
        names += _ADMIN_UNITS if site.facts.runs_root_helper else ()
        files = [Placed(places.UNITS / name, shipped[name]) for name in names if name in shipped]
        if site.facts.memory_mb:
            limit = f"[Service]\nMemoryMax={memory_max_mb(site.facts.memory_mb)}M\n"
            files.append(self._drop_in("pinthesky.service", limit))
        if site.client == "cpp":
            program = f"{site.facts.cpp_client} --config-file {places.CLIENT_FILE}"
            text = f"[Service]\nType=simple\nWatchdogSec=0\nExecStart=\nExecStart={program}\n"
            files.append(self._drop_in("pits-device-client.service", text))
        return files

    def found_in_place(self, wanted: Sequence[Placed]) -> Found:
        """Whether they start at boot, too."""
        sleeping = [name for name, (enabled, _) in states_of(self._site, self._enabled).items() if enabled != "enabled"]
        if sleeping:
            return Found(Verdict.NEEDED, f"let {', '.join(sleeping)} start at boot")
        return super().found_in_place(wanted)

    def apply(self, say: Say) -> None:
        """Write down what was there, then write and enable."""
        notes = self.notes()
        if "before" not in notes:
            units = states_of(self._site, self._enabled)
            before = {name: [enabled == "enabled", active == "active"] for name, (enabled, active) in units.items()}
            self._site.ledger.keep(self.name, {**notes, "before": before})
        super().apply(say)

    def after(self, say: Say) -> None:
        """Let systemd read them."""
        reload(self._site)
        self._site.must("systemctl", "enable", "--quiet", *self._enabled)
        say(f"start at boot: {', '.join(self._enabled)}")

    def before_undo(self, say: Say) -> None:
        """Nothing of ours starts at boot any more."""
        before = self.notes().get("before", {})
        ours = [name for name, (enabled, _) in before.items() if not enabled]
        there = [name for name, (enabled, _) in states_of(self._site, ours).items() if enabled == "enabled"]
        if there:
            self._site.must("systemctl", "disable", "--quiet", *there)
            say(f"do not start at boot any more: {', '.join(there)}")

    def after_undo(self, say: Say) -> None:
        """What ran before runs again."""
        before = self.notes().get("before", {})
        drop_ins = [str(places.UNITS / f"{name}.d") for name in ("pinthesky.service", "pits-device-client.service")]
        self._site.must(
            "sh", "-c", 'for d; do [ ! -d "$d" ] || rmdir -- "$d" 2>/dev/null || :; done', "rmdir", *drop_ins
        )
        reload(self._site)
        again = [name for name, (_, active) in before.items() if active]
        if again and self._site.facts.booted:
            self._site.machine.run("systemctl", "start", *again, root=True, timeout_s=_START_S)
            say(f"started {', '.join(again)}, which ran before")

    @property
    def _enabled(self) -> tuple[str, ...]:
        ours = tuple(f"{name}.service" for name in self._site.services)
        helper = ("pinthesky-admin.socket", "pinthesky-upgrade.service")
        return (*ours, *helper) if self._site.facts.runs_root_helper else ours

    @staticmethod
    def _drop_in(unit: str, text: str) -> Placed:
        return Placed(places.UNITS / f"{unit}.d" / "10-machine.conf", (_MADE_BY + text).encode())

    def _keep_before(self, different: Sequence[Placed]) -> None:
        super()._keep_before(different)
        folders = sorted({str(one.path.parent) for one in different if one.path.parent != places.UNITS})
        if folders:
            self._site.must("install", "-d", "-m", "755", *folders)


class SdCard(PlacedFiles):
    """Keeps the journal and /tmp in memory, so that the card is written for clips and not for lines of logs."""

    name = "sd-card"
    title = "Spare the SD card"

    _TMP = places.UNITS / "tmp.mount"
    _JOURNAL = places.UNITS.parent / "journald.conf.d" / "50-pinthesky.conf"

    def wanted(self) -> Sequence[Placed]:
        """Two files; none where the system is not on a card."""
        facts = self._site.facts
        if not facts.on_card:
            return ()
        journal = f"{_MADE_BY}[Journal]\nStorage=volatile\nRuntimeMaxUse={max(8, min(facts.memory_mb // 32, 64))}M\n"
        files = [Placed(self._JOURNAL, journal.encode())]
        if not facts.tmp_in_memory or str(self._TMP) in self._files():
            files.append(Placed(self._TMP, _TMP_MOUNT.format(size=max(32, facts.memory_mb // 8)).encode()))
        return files

    def after(self, say: Say) -> None:
        """The journal moves at once, /tmp with the next start: what is in it would be hidden."""
        reload(self._site)
        if str(self._TMP) in self._files():
            self._site.must("systemctl", "enable", "--quiet", self._TMP.name)
            say("temporary files are in memory from the next start on")
        if self._site.facts.booted:
            self._site.must("systemctl", "restart", "systemd-journald.service")

    def before_undo(self, say: Say) -> None:
        """From the next start on /tmp is where it was."""
        if str(self._TMP) in self._files():
            self._site.must("systemctl", "disable", "--quiet", self._TMP.name)
            say("temporary files are on the card again from the next start on")

    def after_undo(self, say: Say) -> None:
        """The journal is where it was, at once."""
        self._site.must(
            "sh", "-c", '[ ! -d "$1" ] || rmdir -- "$1" 2>/dev/null || :', "rmdir", str(self._JOURNAL.parent)
        )
        reload(self._site)
        if self._site.facts.booted:
            self._site.must("systemctl", "restart", "systemd-journald.service")
        say("the journal is where it was")

    def _keep_before(self, different: Sequence[Placed]) -> None:
        super()._keep_before(different)
        self._site.must("install", "-d", "-m", "755", str(self._JOURNAL.parent))


class Services:
    """Starts everything, with what is configured now, and sees that it stays."""

    name = "services"
    title = "Start the camera"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """Whether they run, and were started with what is configured now."""
        if not self._site.facts.booted:
            return Found(Verdict.DONE, "starts when this system is booted")
        down = [name for name, (_, active) in states_of(self._site, self._units).items() if active != "active"]
        if down:
            return Found(Verdict.NEEDED, f"start {', '.join(down)}")
        if self._site.ledger.notes(self.name).get("started_with") != self._configured():
            return Found(Verdict.NEEDED, f"restart {', '.join(self._units)} with what was changed")
        return Found(Verdict.DONE, f"{', '.join(self._site.services)} run")

    def apply(self, say: Say) -> None:
        """Start them anew; systemd says when each is ready. Raises Conflict with the last words of one that is not."""
        site = self._site
        notes = site.ledger.notes(self.name)
        if "older_client" not in notes:
            (enabled, active) = states_of(site, [_OLD_CLIENT])[_OLD_CLIENT]
            notes["older_client"] = [enabled == "enabled", active == "active"]
        configured = self._configured()
        site.ledger.keep(self.name, {name: value for name, value in notes.items() if name != "started_with"})
        if any(notes["older_client"]) and site.client != "none":
            # Two clients with one name would throw each other out.
            site.must("systemctl", "disable", "--now", "--quiet", _OLD_CLIENT, timeout_s=_START_S)
            say(f"{_OLD_CLIENT} is replaced by pits-device-client.service")
        for unit in self._units:
            site.must("systemctl", "reset-failed", unit) if self._is_failed(unit) else None
            ran = site.machine.run("systemctl", "restart", unit, root=True, timeout_s=_START_S)
            if ran.code != 0:
                raise Conflict(self._last_words(unit, say))
            say(f"{unit} runs")
        site.ledger.keep(self.name, {**site.ledger.notes(self.name), "started_with": configured})

    def undo(self, say: Say) -> None:
        """Stop them, and let the older client run again if it did."""
        site = self._site
        if not site.facts.booted:
            return
        there = [name for name in reversed(self._units) if site.says("systemctl", "cat", name) is not None]
        if there:
            site.must("systemctl", "stop", *there, timeout_s=_START_S)
            site.machine.run("systemctl", "reset-failed", *there, root=True)
            say(f"stopped {', '.join(there)}")
        enabled, active = site.ledger.notes(self.name).get("older_client", [False, False])
        if enabled:
            site.must("systemctl", "enable", "--quiet", _OLD_CLIENT)
        if active:
            site.must("systemctl", "start", _OLD_CLIENT, timeout_s=_START_S)
            say(f"started {_OLD_CLIENT} again")

    @property
    def _units(self) -> tuple[str, ...]:
        helper = ("pinthesky-admin.socket",) if self._site.facts.runs_root_helper else ()
        return (*helper, *(f"{name}.service" for name in self._site.services))

    def _configured(self) -> str:
        """What tells one configuration from another. A version is started by whoever switches to it."""
        names = [f"{name}.service" for name in self._site.services]
        drop_ins = [places.UNITS / f"{name}.d" / "10-machine.conf" for name in names]
        files = [places.DAEMON_FILE, places.CLIENT_FILE, places.ROOT_CA, places.CERTIFICATE]
        seen = self._site.look([*files, *(places.UNITS / name for name in names), *drop_ins])
        told = "\n".join(f"{path} {one.detail if one else '-'}" for path, one in seen.items())
        return hashlib.sha256(told.encode()).hexdigest()

    def _is_failed(self, unit: str) -> bool:
        return states_of(self._site, [unit])[unit][1] == "failed"

    def _last_words(self, unit: str, say: Say) -> str:
        told = self._site.says("journalctl", "--no-pager", "--output=cat", "--lines=8", f"--unit={unit}") or ""
        said_of(told, say, at_most=8)
        lines = [line.strip() for line in told.splitlines() if unit not in line and "systemd" not in line]
        return f"{unit} does not start: {lines[-1][:300] if lines else 'it says nothing'}"


def states_of(site: Site, units: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of each unit: what `is-enabled` says, and what `is-active` says; empty where there is none."""
    if not units:
        return {}
    lines = site.must("sh", "-c", _STATES, "states", *units).splitlines()
    words = [(*line.split(" "), "", "")[:2] for line in lines]
    return {unit: (enabled, active) for unit, (enabled, active) in zip(units, words, strict=True)}


def reload(site: Site) -> None:
    """Let systemd read its units anew, where it runs."""
    if site.facts.booted:
        site.must("systemctl", "daemon-reload")


_TMP_MOUNT = """# Written by pitsctl.
[Unit]
Description=Temporary files in memory
DefaultDependencies=no
Conflicts=umount.target
Before=local-fs.target umount.target
After=swap.target

[Mount]
What=tmpfs
Where=/tmp
Type=tmpfs
Options=mode=1777,strictatime,nosuid,nodev,size={size}M

[Install]
WantedBy=local-fs.target
"""
