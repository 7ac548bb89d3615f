"""What a machine is, before anything is changed on it: one look by one script, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.presets import Board, board_of
from pitsctl.machine import Machine

Stack = Literal["libcamera", "legacy", "v4l2", "none"]
"""How the camera is reached: libcamera (picamera2), the firmware's old stack (picamera), USB; none: none was seen."""

SCRIPT = r"""
p=$1
say() { printf '%s=%s\n' "$1" "$2"; }
first() { [ -r "$1" ] && tr -d '\000\n' < "$1"; }
say model "$(first "$p/proc/device-tree/model")"
quoted='s/^\(ID\|VERSION_ID\|VERSION_CODENAME\)="\{0,1\}\([^"]*\)"\{0,1\}$/os_\1=\2/p'
[ -r "$p/etc/os-release" ] && sed -n "$quoted" "$p/etc/os-release"
say architecture "$(dpkg --print-architecture 2>/dev/null || uname -m)"
say python "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
sed -n 's/^MemTotal: *\([0-9]*\) kB$/memory_kb=\1/p' "$p/proc/meminfo"
say disk_free_kb "$(df -Pk / | awk 'NR == 2 { print $4 }')"
say root_device "$(findmnt -n -o SOURCE / 2>/dev/null)"
say tmp_kind "$(findmnt -n -o FSTYPE /tmp 2>/dev/null)"
say host_name "$(uname -n)"
[ -d "$p/run/systemd/system" ] && say booted yes
say has_systemd "$(command -v systemctl)"
say has_apt "$(command -v apt-get)"
say clock "$(timedatectl show --property=NTPSynchronized --value 2>/dev/null)"
say throttled "$(vcgencmd get_throttled 2>/dev/null | sed -n 's/^throttled=//p')"
say legacy_camera "$(vcgencmd get_camera 2>/dev/null)"
for boot in "$p/boot/firmware/config.txt" "$p/boot/config.txt"; do
  [ -r "$boot" ] && grep -Eq '^[[:space:]]*start_x=1' "$boot" && say legacy_stack yes
done
for name in "$p"/sys/bus/i2c/devices/*/name; do
  [ -e "${name%/name}/driver" ] && say i2c "$(first "$name")"
done
for device in "$p"/sys/class/video4linux/video*; do
  [ -e "$device" ] || continue
  case $(readlink -f -- "$device") in */usb*) say usb_camera "/dev/${device##*/} $(first "$device/name")" ;; esac
done
say cpp_client "$(command -v aws-iot-device-client)"
[ -e "$p/etc/systemd/system/pinthesky.service" ] && say has_daemon_unit yes
[ -e "$p/etc/pinthesky/pinthesky.env" ] && say has_daemon_file yes
[ -d "$p/var/lib/pinthesky-install" ] && say installed yes
[ -L "$p/opt/pinthesky/current" ] && say current "$(readlink "$p/opt/pinthesky/current")"
exit 0
"""

OLDEST_PYTHON = (3, 9)
CLIENT_PYTHON = (3, 11)
"""Our device client and the root helper need it."""
_SENSOR = re.compile(r"(ov5647|imx219|imx477|imx500|imx708|imx296|imx378|ov9281|ov64a40|ov2311)(?:_[a-z_]+)?\Z")
_THROTTLED = {
    0: "undervoltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "too hot now",
    16: "undervoltage since the start",
    17: "frequency capped since the start",
    18: "throttled since the start",
    19: "too hot since the start",
}
"""Bits of `vcgencmd get_throttled`, as the documentation of Raspberry Pi's vcgencmd has them."""
_RELEASES = {"bullseye": 11, "bookworm": 12, "trixie": 13}


@dataclass(frozen=True)
class Facts:
    """A machine as it was found."""

    pi_model: str = ""
    """As its device tree names it; empty where it has none."""
    sensor: str = ""
    """As libcamera names it; empty: none of those that are known."""
    stack: Stack = "none"
    usb_cameras: tuple[tuple[str, str], ...] = ()
    """(device, name) of each."""
    os_id: str = ""
    os_version: int = 0
    codename: str = ""
    architecture: str = ""
    """Of its packages: arm64, armhf, amd64."""
    python: tuple[int, int] = (0, 0)
    memory_mb: int = 0
    disk_free_mb: int = 0
    clock_synced: bool | None = None
    throttled: frozenset[str] = frozenset()
    host_name: str = ""
    booted: bool = False
    """Its own systemd runs: false for a mounted card."""
    has_systemd: bool = False
    has_apt: bool = False
    on_card: bool = False
    """Its root is on an SD card."""
    tmp_in_memory: bool = False
    cpp_client: str = ""
    """Path of aws-iot-device-client; empty where it is not."""
    has_daemon: bool = False
    """A unit or a flags' file of a daemon is there, ours or of an older version."""
    installed: bool = False
    """pitsctl has written down an installation."""
    current: str = ""
    """The version that runs."""

    @property
    def board(self) -> Board | None:
        """The kind of Raspberry Pi; None for anything else."""
        return board_of(self.pi_model)

    @property
    def python_text(self) -> str:
        """Its Python as people write it: `3.11`."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def runs_our_client(self) -> bool:
        """Whether the device client in Python runs here: not on 32-bit systems, for which its library has no wheels."""
        return self.python >= CLIENT_PYTHON and self.architecture in ("arm64", "amd64")

    @property
    def runs_root_helper(self) -> bool:
        """Whether pinthesky-admin runs here."""
        return self.python >= CLIENT_PYTHON

    @property
    def has_video(self) -> bool:
        """Whether PyAV has wheels for it."""
        return self.architecture in ("arm64", "amd64")


def facts_of(machine: Machine, prefix: str = "") -> Facts:
    """Look. `prefix` is where /proc, /sys and /etc are looked for. Raises what the machine raises, Unavailable."""
    ran = machine.run("sh", "-c", SCRIPT, "facts", prefix, timeout_s=90)
    if ran.code != 0:
        raise Unavailable(f"{machine.name} cannot be looked at: {ran.error.strip()[-300:]}")
    return facts_from(ran.out)


def facts_from(text: str) -> Facts:
    """The facts of what the script has printed. Raises InvalidInput for numbers that are none."""
    told: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if value.strip():
            told.setdefault(name, []).append(value.strip())
    one = {name: values[-1] for name, values in told.items()}
    sensors = [value for value in told.get("i2c", []) if _SENSOR.match(value)]
    cameras = (value.partition(" ") for value in told.get("usb_camera", []))
    codename = one.get("os_VERSION_CODENAME", "")
    return Facts(
        pi_model=one.get("model", ""),
        sensor=sensors[0] if sensors else "",
        stack=_stack_of(one, bool(sensors)),
        usb_cameras=tuple((device, name.strip() or device) for device, _, name in cameras),
        os_id=one.get("os_ID", ""),
        os_version=_number(one, "os_VERSION_ID") or _RELEASES.get(codename, 0),
        codename=codename,
        architecture=one.get("architecture", ""),
        python=_python(one.get("python", "")),
        memory_mb=_number(one, "memory_kb") // 1024,
        disk_free_mb=_number(one, "disk_free_kb") // 1024,
        clock_synced={"yes": True, "no": False}.get(one.get("clock", "")),
        throttled=_throttled(one.get("throttled", "")),
        host_name=one.get("host_name", ""),
        booted="booted" in one,
        has_systemd="has_systemd" in one,
        has_apt="has_apt" in one,
        on_card="mmcblk" in one.get("root_device", ""),
        tmp_in_memory=one.get("tmp_kind") == "tmpfs",
        cpp_client=one.get("cpp_client", ""),
        has_daemon="has_daemon_unit" in one or "has_daemon_file" in one,
        installed="installed" in one,
        current=one.get("current", ""),
    )


def warnings_of(facts: Facts) -> tuple[str, ...]:
    """What works, but not well: a sentence each."""
    warnings = []
    if facts.clock_synced is False:
        warnings.append("The clock is not set yet: certificates are refused until it is.")
    if facts.throttled:
        warnings.append(
            f"The board reports {', '.join(sorted(facts.throttled))}: look at its power supply and cooling."
        )
    if facts.stack == "none":
        warnings.append("No camera was seen: check its cable, or name a network camera.")
    if facts.board is None:
        warnings.append("This is no Raspberry Pi that is known: there is no preset for its camera.")
    if 0 < facts.disk_free_mb < 1500:
        warnings.append(f"Only {facts.disk_free_mb} MB of the disk are free: few clips will find room.")
    return tuple(warnings)


def cannot_of(facts: Facts) -> tuple[str, ...]:
    """What this machine will not do, and what it does in its stead: a sentence each."""
    cannot = []
    if not facts.has_video:
        cannot.append("Clips stay .h264 and are converted at home, since PyAV has no packages for 32-bit systems.")
    if not facts.runs_our_client and not facts.cpp_client:
        cannot.append(
            "There is no device client for it: clips are uploaded, but commands, settings and jobs do not arrive. "
            "Put aws-iot-device-client on it, or a 64-bit Raspberry Pi OS of Bookworm or later."
        )
    if not facts.runs_root_helper:
        cannot.append("No jobs that need root, and no upgrades from afar: that needs Python 3.11 (Bookworm).")
    if facts.stack == "legacy":
        cannot.append("The legacy camera has no privacy masks and finds motion by the encoder's vectors.")
    if facts.board == "5":
        cannot.append("This board has no encoder in hardware: clips are encoded by the CPU.")
    return tuple(cannot)


def _stack_of(one: dict[str, str], has_sensor: bool) -> Stack:
    legacy = one.get("legacy_camera", "")
    if "legacy_stack" in one and ("detected=1" in legacy or not legacy):
        return "legacy"
    if has_sensor:
        return "libcamera"
    return "v4l2" if "usb_camera" in one else "none"


def _number(one: dict[str, str], name: str) -> int:
    text = one.get(name, "0").partition(".")[0]
    if not text.isdecimal():
        raise InvalidInput(name, f"the machine says {text[:40]!r}, which is no number")
    return int(text)


def _python(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _throttled(text: str) -> frozenset[str]:
    try:
        bits = int(text, 16)
    except ValueError:
        return frozenset()
    return frozenset(words for bit, words in _THROTTLED.items() if bits >> bit & 1)
