"""A machine of its own for tests of systemd units: this one's files under an overlay, and a real systemd as its first
process in namespaces of its own. What happens there is forgotten, nothing of it reaches this machine or the network.

Needs root, systemd and overlayfs; `missing()` says what is not there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
SYSTEMD = Path("/lib/systemd/systemd")
PYTHON_INSIDE = "/usr/local/lib/throwaway-python"
PACKAGES_INSIDE = "/usr/local/lib/throwaway-packages"
BOOT_S = 30.0
BOOT_ID = "/run/boot_id"
BOOT_ID_SHOWN = "/proc/sys/kernel/random/boot_id"

# Arguments: the folder of the overlay, the prefix of this Python, the folder of its packages.
BOOT = """
set -eu
base=$1 python=$2 packages=$3 root=$1/root
mount --make-rprivate /
mkdir -p "$base/upper" "$base/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/old"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# Each boot has an identity of its own, as on a real machine.
cat /proc/sys/kernel/random/uuid > "$root/run/boot_id"
mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"
if [ "$python" != /usr ]; then
  mkdir -p "$base/python-upper" "$base/python-work" "$root/usr/local/lib/throwaway-python"
  lower=$python,upperdir=$base/python-upper,workdir=$base/python-work
  mount -t overlay overlay -o "lowerdir=$lower" "$root/usr/local/lib/throwaway-python"
  # Where it was built is in its programs, and may be a home that users of this machine cannot look into.
  echo /usr/local/lib/throwaway-python/lib > "$root/etc/ld.so.conf.d/000-throwaway.conf"
  chroot "$root" ldconfig
fi
mkdir -p "$root/usr/local/lib/throwaway-packages"
mount --bind "$packages" "$root/usr/local/lib/throwaway-packages"
mount -o remount,ro,bind "$root/usr/local/lib/throwaway-packages"
cd "$root"
pivot_root . run/old
umount -l /run/old
exec env -i container=throwaway PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  /lib/systemd/systemd --system --log-target=journal-or-kmsg --show-status=0
"""

# Before the packages that Python has by itself, and after those of an environment.
SHOW_PACKAGES = """
import pathlib, site, sys
folder = pathlib.Path(site.getsitepackages()[0])
folder.mkdir(parents=True, exist_ok=True)
line = f"import sys; sys.path.insert(sys.path.index({str(folder)!r}), {sys.argv[1]!r})"
folder.joinpath("throwaway.pth").write_text(line)
"""

# What would reach through to the kernel that is shared, or waits for hardware.
UNWANTED = (
    "getty.target",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
)


def missing() -> str | None:
    """Return what such a machine needs and this one has not, or None."""
    if os.geteuid() != 0:
        return "a machine of its own needs root"
    for program in ("unshare", "nsenter", "setpriv", "systemctl", "useradd", "mosquitto"):
        if shutil.which(program) is None:
            return f"a machine of its own needs {program}"
    python = Path(sys.base_prefix, "bin", "python3")
    if subprocess.run([python, "-c", "import pip, venv"], capture_output=True, check=False).returncode:
        return f"a machine of its own needs the pip of {python}: python3-pip on Debian"
    if not SYSTEMD.exists():
        return "a machine of its own needs systemd"
    probe = (
        "mount -t cgroup2 cgroup2 /mnt && mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && "
        "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt"
    )
    tried = subprocess.run(["unshare", "-mC", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return f"a machine of its own cannot be made here: {tried.stderr.strip()}" if tried.returncode else None


class ThrowawayMachine:
    """Boots, runs commands inside, loses power, and boots again with what its disk holds.

    `python` in there is this one, with the libraries that this one has as packages of the system.
    """

    def __init__(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="throwaway-", dir=SHARED_MEMORY))
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0
        self.python = f"{PYTHON_INSIDE}/bin/python3" if sys.base_prefix != "/usr" else "/usr/bin/python3"
        self._prepare_disk()

    def show_packages(self) -> None:
        """Let every Python in there find the libraries of this one, once it has been started."""
        self.must(self.python, "-c", SHOW_PACKAGES, PACKAGES_INSIDE)

    def _prepare_disk(self) -> None:
        """Hide the units that this machine has enabled, and those that have no business in there."""
        units = self._base / "upper" / "etc" / "systemd" / "system"
        units.mkdir(parents=True)
        # An opaque folder: what the lower one holds is not seen.
        os.setxattr(units, "trusted.overlay.opaque", b"y")
        (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
        for name in UNWANTED:
            (units / name).symlink_to("/dev/null")

    def boot(self, *, wait: bool = True) -> None:
        """Start, and wait until all that is enabled has been started; without `wait`, until commands can be run."""
        flags = ["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--cgroup", "--net"]
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            *flags,
            "sh",
            "-c",
            BOOT,
            "boot",
            str(self._base),
            sys.base_prefix,
            sysconfig.get_path("purelib"),
        ]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=quiet, stderr=quiet, start_new_session=True)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self.wait_for(lambda: bool(children.read_text().split()), "the first process")
        self._first = int(children.read_text().split()[0])
        states = ("running", "degraded") if wait else ("running", "degraded", "starting")
        self.wait_for(
            lambda: self.run("systemctl", "is-system-running").stdout.strip() in states, "the end of the boot"
        )

    @property
    def is_on(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def cut_power(self) -> None:
        """End every process at once."""
        if self._process is not None:
            if self.is_on:
                os.kill(self._first, signal.SIGKILL)
            self._process.wait(BOOT_S)
            self._process = None

    def wait_until_off(self) -> None:
        """Wait for the end that somebody inside has asked for."""
        self.wait_for(lambda: not self.is_on, "the machine's end")
        self._process = None

    def throw_away(self) -> None:
        """End it and remove its disk."""
        self.cut_power()
        shutil.rmtree(self._base)

    @property
    def first(self) -> int:
        """Its first process, as this machine counts processes."""
        return self._first

    @property
    def disk(self) -> Path:
        """What it has written over this machine's files, as overlayfs keeps it."""
        return self._base / "upper"

    def path(self, inside: str) -> Path:
        """Return where a file of the running machine is to be found from here."""
        return Path(f"/proc/{self._first}/root{inside}")

    def run(self, *command: str, given: str = "", timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root, with `given` as its input."""
        enter = ["nsenter", "--target", str(self._first), "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        return subprocess.run(
            [*enter, "--", *command],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def must(self, *command: str, given: str = "") -> str:
        """Run a command inside that has to succeed, and return what it printed."""
        try:
            finished = self.run(*command, given=given)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{self.log()}") from error
        assert finished.returncode == 0, f"{command}: {finished.stdout}{finished.stderr}\n{self.log()}"
        return finished.stdout

    def log(self) -> str:
        """Return the end of the machine's journal, to be shown when a test fails."""
        return self.run("journalctl", "--no-pager", "--lines=60", "--output=short-monotonic").stdout

    def wait_for(self, condition: Callable[[], bool], what: str, within_s: float = BOOT_S) -> None:
        """Wait until `condition` holds."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {within_s:.0f} s for {what}\n{self.log()}"
            time.sleep(0.05)
