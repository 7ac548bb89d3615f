"""Reads how the machine is from /proc and /sys, and says when the next health report is due.

Whatever cannot be read is None in the report: a missing sensor is no error.
"""

from __future__ import annotations

import fcntl
import ipaddress
import math
import os
import platform
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.model.health import CAPABILITIES_MAX, CAPABILITY_MAX, TEXT_MAX, HealthReport, UploadState
from pinthesky.model.settings import HealthSettings

FIRST_REPORT_S = 10.0
"""After the start: long enough for the camera to be open, short enough for a person who waits for it."""

_SIOCGIFADDR = 0x8915


class DaemonFacts(NamedTuple):
    """What only the daemon knows; units as in HealthReport."""

    recording: bool = False
    motion_captured: int = 0
    spool_files: Optional[int] = None
    spool_bytes: Optional[int] = None
    camera_model: Optional[str] = None
    camera_capabilities: Optional[Mapping[str, str]] = None
    frame_age_s: Optional[float] = None
    preroll_shortfall_s: Optional[float] = None
    upload_state: Optional[UploadState] = None
    upload_error: Optional[str] = None
    commands_rejected: int = 0
    events_dropped: int = 0
    items_lost: int = 0
    pictures_lost: int = 0


class HealthReporter:
    """Makes health reports of this machine.

    `facts` is asked for at each report, in the caller's thread. `disk` is any path on the file system that holds the
    recordings. `root` stands for `/`, so that tests can lay out a machine of their own.
    """

    def __init__(
        self,
        time_keeper: TimeKeeper,
        facts: Callable[[], DaemonFacts],
        settings: HealthSettings,
        *,
        version: str,
        disk: Path,
        root: Path = Path("/"),
    ) -> None:
        self._time_keeper = time_keeper
        self._facts = facts
        self._interval_s = settings.interval
        self._version = version
        self._disk = disk
        self._root = root
        self._lock = threading.Lock()
        self._started_s = time_keeper.now().monotonic_s
        self._reported_s: Optional[float] = None
        self._cpu_before = self._cpu_ticks()

    def configure(self, settings: HealthSettings) -> None:
        """Take over another interval; it counts from the last report."""
        self._interval_s = settings.interval

    def due_in(self) -> float:
        """Return the seconds until the next report is due, 0.0 when it is."""
        if self._reported_s is None:
            due_s = self._started_s + min(FIRST_REPORT_S, self._interval_s)
        else:
            due_s = self._reported_s + self._interval_s
        return max(0.0, due_s - self._time_keeper.now().monotonic_s)

    def report(self) -> HealthReport:
        """Make a report now, whether it is due or was asked for; the interval begins anew."""
        now = self._time_keeper.now()
        self._reported_s = now.monotonic_s
        up_time_s = now.monotonic_s - self._started_s
        facts = self._facts()
        free, used, total = self._disk_bytes()
        memory = self._memory_kb()
        system = self._os_release()
        battery = self._battery()
        return HealthReport(
            version=_short(self._version),
            python_version=platform.python_version(),
            os_version=_short_or_none(system.get("VERSION") or system.get("VERSION_ID")),
            os_id=_short_or_none(system.get("ID")),
            ip_addr=_short_or_none(own_address(self._root)),
            start_time=None if now.wall_s is None else round(now.wall_s - up_time_s, 3),
            up_time=round(up_time_s, 1),
            recording_status=facts.recording,
            motion_captured=facts.motion_captured,
            disk_free=free,
            disk_used=used,
            disk_total=total,
            mem_free=memory.get("MemFree"),
            mem_avail=memory.get("MemAvailable"),
            mem_total=memory.get("MemTotal"),
            cpu_used=self._cpu_used(),
            cpu_count=os.cpu_count(),
            cpu_temp=self._cpu_temp(),
            throttled=self._throttled(),
            spool_files=facts.spool_files,
            spool_bytes=facts.spool_bytes,
            camera_model=_short_or_none(facts.camera_model),
            camera_capabilities=_bounded(facts.camera_capabilities),
            frame_age=_tenths(facts.frame_age_s),
            clock_synchronised=self._time_keeper.synchronised,
            battery_percent=battery.percent,
            battery_volts=battery.volts,
            battery_status=battery.status,
            preroll_shortfall=_tenths(facts.preroll_shortfall_s),
            upload_state=facts.upload_state,
            upload_error=_short_or_none(facts.upload_error),
            commands_rejected=facts.commands_rejected,
            events_dropped=facts.events_dropped,
            items_lost=facts.items_lost,
            pictures_lost=facts.pictures_lost,
        )

    def _read(self, path: str) -> Optional[str]:
        return _read(self._root / path)

    def _disk_bytes(self) -> tuple[Optional[int], Optional[int], Optional[int]]:
        """Return (free to us, used, total)."""
        try:
            found = os.statvfs(self._disk)
        except OSError:
            return None, None, None
        block = found.f_frsize
        return found.f_bavail * block, (found.f_blocks - found.f_bfree) * block, found.f_blocks * block

    def _memory_kb(self) -> dict[str, int]:
        found = re.findall(r"^(\w+):\s+([0-9]{1,15}) kB$", self._read("proc/meminfo") or "", re.MULTILINE)
        return {name: int(kilobytes) for name, kilobytes in found}

    def _cpu_ticks(self) -> Optional[tuple[int, int]]:
        """Return (busy, all) ticks of all cores since boot. Waiting for the disk counts as idle."""
        first_line = (self._read("proc/stat") or "").partition("\n")[0].split()
        if len(first_line) < 9 or first_line[0] != "cpu" or not all(map(str.isdigit, first_line[1:9])):
            return None
        # user nice system idle iowait irq softirq steal; what guests take is counted in user already
        ticks = [int(field) for field in first_line[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _cpu_used(self) -> Optional[float]:
        with self._lock:
            before, now = self._cpu_before, self._cpu_ticks()
            self._cpu_before = now
        if before is None or now is None or now[1] <= before[1]:
            return None
        return round(min(100.0, max(0.0, 100.0 * (now[0] - before[0]) / (now[1] - before[1]))), 1)

    def _os_release(self) -> dict[str, str]:
        content = self._read("etc/os-release") or self._read("usr/lib/os-release") or ""
        return {name: value.strip("\"'") for name, value in re.findall(r"^([A-Z_]+)=(.*)$", content, re.MULTILINE)}

    def _cpu_temp(self) -> Optional[float]:
        """Return degrees Celsius of the zone that names itself after the CPU, else of the first zone."""
        zones = [zone for zone in _entries(self._root / "sys/class/thermal") if zone.name.startswith("thermal_zone")]
        zones.sort(key=lambda zone: "cpu" not in (_read(zone / "type") or "").lower())
        for zone in zones:
            millidegrees = _number(_read(zone / "temp"))
            if millidegrees is not None:
                return round(millidegrees / 1000, 1)
        return None

    def _throttled(self) -> Optional[int]:
        found = (self._read("sys/devices/platform/soc/soc:firmware/get_throttled") or "").strip()
        return int(found, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", found) else None

    def _battery(self) -> _Battery:
        for supply in _entries(self._root / "sys/class/power_supply"):
            # A wireless mouse is a battery too, of scope "Device".
            is_battery = (_read(supply / "type") or "").strip() == "Battery"
            if is_battery and (_read(supply / "scope") or "").strip() != "Device":
                percent = _number(_read(supply / "capacity"))
                microvolts = _number(_read(supply / "voltage_now"))
                return _Battery(
                    percent=None if percent is None or not 0 <= percent <= 100 else int(percent),
                    volts=None if microvolts is None or microvolts < 0 else round(microvolts / 1e6, 2),
                    status=_short_or_none(_read(supply / "status")),
                )
        return _Battery()


class _Battery(NamedTuple):
    percent: Optional[int] = None
    volts: Optional[float] = None
    status: Optional[str] = None


def own_address(root: Path = Path("/")) -> Optional[str]:
    """Return the address from which this machine reaches others, without sending anything.

    It is the IPv4 address of the interface that holds the default route, else of any interface but loopback, else the
    first global IPv6 address.
    """
    holders = _default_interfaces(_read(root / "proc/net/route") or "")
    for name in [*holders, *(name for _, name in socket.if_nameindex())]:
        address = _ipv4_of(name)
        if address is not None and not address.is_loopback:
            return str(address)
    return _global_ipv6(_read(root / "proc/net/if_inet6") or "")


def _default_interfaces(routes: str) -> list[str]:
    """Return the names of the interfaces with a default route, preferred first (the format of /proc/net/route)."""
    found = []
    for line in routes.splitlines():
        fields = line.split()
        # Iface Destination Gateway Flags RefCnt Use Metric Mask …
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000" and fields[6].isdigit():
            found.append((int(fields[6]), fields[0]))
    return [name for _, name in sorted(found)]


def _ipv4_of(interface: str) -> Optional[ipaddress.IPv4Address]:
    request = struct.pack("256s", interface.encode("ascii", "replace")[:15])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            answer = fcntl.ioctl(channel.fileno(), _SIOCGIFADDR, request)
    except OSError:
        return None
    # struct ifreq: 16 bytes of name, then a sockaddr_in (family, port, address).
    return ipaddress.IPv4Address(answer[20:24])


def _global_ipv6(interfaces: str) -> Optional[str]:
    """Return the first address of global scope (the format of /proc/net/if_inet6)."""
    found = re.search(r"^([0-9a-f]{32}) [0-9a-f]{2} [0-9a-f]{2} 00 ", interfaces, re.MULTILINE)
    return str(ipaddress.IPv6Address(int(found[1], 16))) if found else None


def _read(path: Path) -> Optional[str]:
    try:
        with path.open("rb") as file:
            return file.read(65_536).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def _entries(parent: Path) -> list[Path]:
    try:
        return sorted(parent.iterdir())
    except OSError:
        return []


def _number(text: Optional[str]) -> Optional[float]:
    found = (text or "").strip()
    return float(found) if re.fullmatch(r"-?[0-9]{1,12}", found) else None


def _tenths(seconds: Optional[float]) -> Optional[float]:
    if seconds is None or not math.isfinite(seconds):
        return None
    return round(max(0.0, seconds), 1)


def _bounded(capabilities: Optional[Mapping[str, str]]) -> Optional[dict[str, str]]:
    if not capabilities:
        return None
    return {
        _short(name, 40): _short(capabilities[name], CAPABILITY_MAX) for name in sorted(capabilities)[:CAPABILITIES_MAX]
    }


def _short(text: str, longest: int = TEXT_MAX) -> str:
    return " ".join(text.replace("\0", " ").split())[:longest]


def _short_or_none(text: Optional[str]) -> Optional[str]:
    return (_short(text) or None) if text is not None else None
