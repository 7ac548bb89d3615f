"""A root file system to install into hundreds of times: this machine's under an overlay, in a mount namespace.

Files, users, links and modes are real, and so are the shell and every program that handles them. apt, dpkg, systemctl,
journalctl and the making of environments are small programs that behave. Needs root and overlayfs.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pinthesky.errors import Unavailable
from pitsctl.machine import FileMode, Ran
from pitsctl.parcel import Parcel
from pitsctl.shell_machine import ShellMachine
from tests.support.house.source import ROOT

_ENTER = """
set -eu
base=$1
mount --make-rprivate /
mkdir -p "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
mount --rbind /proc "$base/root/proc"
mount --rbind /dev "$base/root/dev"
mount -t tmpfs tmpfs "$base/root/tmp"
mkdir "$base/root/tmp/old"
cd "$base/root"
pivot_root . tmp/old
umount -l /tmp/old
echo ready
exec sleep infinity
"""
_PROGRAMS = {
    "apt-get": """
simulate=no verb=
for word; do
  case $word in
    --simulate) simulate=yes ;;
    update | install | purge) verb=$word; names= ;;
    -*) ;;
    *) names="$names $word" ;;
  esac
done
[ -e /var/fake/no-network ] && { echo "E: Unable to fetch some archives" >&2; exit 100; }
[ -e /var/fake/unknown-package ] && { echo "E: Unable to locate package" >&2; exit 100; }
case $verb in
  update) [ ! -e /var/fake/update-fails ] || echo "W: Failed to fetch http://example.org" >&2 ;;
  install) for name in $names; do for one in "$name" "lib-of-$name"; do
      grep -qx "$one" /var/fake/packages && continue
      if [ $simulate = yes ]; then echo "Inst $one (1.0)"; else echo "$one" >> /var/fake/packages; fi
    done; done ;;
  purge) for name in $names; do
      [ -e /var/fake/needed-by ] && echo "Remv $(cat /var/fake/needed-by) [1.0]"
      if [ $simulate = yes ]; then echo "Purg $name [1.0]"
      else grep -vx "$name" /var/fake/packages > /var/fake/new; mv /var/fake/new /var/fake/packages; fi
    done ;;
esac
exit 0
""",
    "dpkg": "exit 0\n",
    "dpkg-query": "sed 's/$/ installed/' /var/fake/packages\n",
    "python3": """
shift
case $1 in
  venv) for folder; do :; done; mkdir -p "$folder/bin" && : > "$folder/bin/python" ;;
  pip)
    [ -e /var/fake/no-network ] && { echo "ERROR: no network" >&2; exit 1; }
    while [ "$1" != --python ]; do shift; done
    folder=${2%/bin/python}
    for wheel; do :; done
    case $wheel in *.whl)
      version=${wheel##*pinthesky-}; version=${version%%-*}
      for name in pinthesky pinthesky-admin pits-device-client; do
        printf '#!/bin/sh\\necho "%s %s"\\n' "$name" "$version" > "$folder/bin/$name"
        chmod 755 "$folder/bin/$name"
      done ;;
    esac ;;
esac
""",
    "systemctl": """
fake=/var/fake
verb=$1; shift
now=no units=
for word; do case $word in --now) now=yes ;; -*) ;; *) units="$units $word" ;; esac; done
case $verb in
  is-enabled) for unit in $units; do
      [ -e "/etc/systemd/system/$unit" ] || { echo not-found; continue; }
      [ -e "$fake/enabled-$unit" ] && echo enabled || echo disabled; done ;;
  is-active) for unit in $units; do [ -e "$fake/active-$unit" ] && echo active || { echo inactive; exit 3; }; done ;;
  enable) for unit in $units; do [ -e "/etc/systemd/system/$unit" ] || exit 1; : > "$fake/enabled-$unit"; done ;;
  disable) for unit in $units; do rm -f "$fake/enabled-$unit"; [ $now = no ] || rm -f "$fake/active-$unit"; done ;;
  start | restart) for unit in $units; do
      [ "$unit" = systemd-journald.service ] && continue
      [ -e "/etc/systemd/system/$unit" ] || { echo "Unit $unit not found." >&2; exit 5; }
      [ -e "$fake/does-not-start" ] && { echo "Job for $unit failed." >&2; exit 1; }
      [ "$unit" = pinthesky.service ] && [ ! -s /etc/pinthesky/pinthesky.env ] && exit 1
      : > "$fake/active-$unit"; done ;;
  stop) for unit in $units; do rm -f "$fake/active-$unit"; done ;;
  cat) for unit in $units; do [ -e "/etc/systemd/system/$unit" ] || exit 1; done ;;
esac
exit 0
""",
    "journalctl": "echo 'no camera here'\n",
}
REQUIREMENTS = b"made-up==1.0 --hash=sha256:00\n"


class PretendRoot(ShellMachine):
    """The port `Machine` into it."""

    def __init__(self, copy_of: Path | None = None) -> None:
        """`copy_of` is the `upper` of another one: what was installed there is here too."""
        super().__init__("the pretend Pi", None)
        self._base = Path(tempfile.mkdtemp(prefix="pretend-", dir="/dev/shm"))
        self.upper = self._base / "upper"
        if copy_of is None:
            self._make_programs()
        else:
            subprocess.run(["cp", "-a", str(copy_of), str(self.upper)], check=True, timeout=60)
        enter = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", _ENTER, "enter", str(self._base)]
        self._holder = subprocess.Popen(enter, stdout=subprocess.PIPE, start_new_session=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    def _make_programs(self) -> None:
        programs = self.upper / "usr/local/bin"
        for folder in (programs, self.upper / "var/fake"):
            folder.mkdir(parents=True)
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh{text if text[0] == chr(10) else chr(10) + text}")
            (programs / name).chmod(0o755)
        (self.upper / "var/fake/packages").write_text("bash\nca-certificates\n")
        units = self.upper / "etc/systemd/system"
        units.mkdir(parents=True)
        os.setxattr(units, "trusted.overlay.opaque", b"y")

    def _command(self, words: Sequence[str]) -> list[str]:
        return ["nsenter", "--target", str(self._holder.pid), "--mount", "--", *words]

    def close(self) -> None:
        """End it and remove its files."""
        super().close()
        os.killpg(self._holder.pid, signal.SIGKILL)
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        shutil.rmtree(self._base)

    def put(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Put a file there, as somebody before the installation."""
        self.run("mkdir", "-p", str(PurePosixPath(path).parent))
        self.write(PurePosixPath(path), text.encode() if isinstance(text, str) else text, FileMode(mode=mode))

    def text(self, path: str) -> str | None:
        """What a file says."""
        data = self.read(PurePosixPath(path))
        return None if data is None else data.decode()

    def tree(self) -> dict[str, str]:
        """All that differs from the machine below: each path with owner, mode and what it is."""
        found = {}
        for path in sorted(self.upper.rglob("*")):
            name = f"/{path.relative_to(self.upper)}"
            here = _described(path)
            if name.startswith(("/var/fake/new", "/var/log", "/etc/.pwd.lock", "/tmp")) or name.endswith("-"):
                continue
            if here is not None and here != _described(Path(name)):
                found[name] = here
        return found


def _described(path: Path) -> str | None:
    """Owner, mode and what it is; None for what is not there, or was removed from the machine below."""
    try:
        about = path.lstat()
    except OSError:
        return None
    if stat.S_ISCHR(about.st_mode):
        return None
    if stat.S_ISLNK(about.st_mode):
        what = f"link {path.readlink()}"
    else:
        is_file = stat.S_ISREG(about.st_mode)
        what = f"file {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" if is_file else "folder"
    return f"{about.st_uid}:{about.st_gid} {about.st_mode & 0o7777:o} {what}"


class CutOff:
    """A machine whose connection is lost at an operation: before it is done, or after it, when the answer is lost."""

    def __init__(self, machine: ShellMachine, at: int, *, is_done: bool) -> None:
        """`at` counts from 1; a connection that is lost stays so."""
        self._machine = machine
        self._left = at
        self._is_done = is_done
        self.name = machine.name

    @property
    def is_lost(self) -> bool:
        """Whether it came to that."""
        return self._left <= 0

    def run(self, *words: str, given: bytes = b"", root: bool = False, timeout_s: float = 60.0) -> Ran:
        """See Machine."""
        self._count(lambda: self._machine.run(*words, given=given, root=root, timeout_s=timeout_s))
        return self._machine.run(*words, given=given, root=root, timeout_s=timeout_s)

    def read(self, path: PurePosixPath, *, root: bool = False, limit: int = 1 << 20) -> bytes | None:
        """See Machine."""
        self._count(lambda: None)
        return self._machine.read(path, root=root, limit=limit)

    def write(self, path: PurePosixPath, data: bytes, mode: FileMode) -> None:
        """See Machine."""
        self._count(lambda: self._machine.write(path, data, mode))
        self._machine.write(path, data, mode)

    def mode_of(self, path: PurePosixPath) -> FileMode | None:
        """See Machine."""
        self._count(lambda: None)
        return self._machine.mode_of(path)

    def close(self) -> None:
        """See Machine."""

    def _count(self, deed: object) -> None:
        self._left -= 1
        if self._left == 0 and self._is_done:
            assert callable(deed)
            deed()
        if self._left <= 0:
            raise Unavailable("the connection was lost")


@functools.cache
def _shipped() -> dict[str, bytes]:
    """The checkout's units and handlers, read once."""
    folders = (ROOT / "service" / kind for kind in ("handlers", "systemd"))
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for one in folders for path in sorted(one.iterdir())}


def made_up_parcel(version: str = "1.0.0", *, also: dict[str, bytes] | None = None) -> Parcel:
    """A parcel with the real units and handlers, and programs that say their version."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        files = {f"pinthesky-{version}.dist-info/METADATA": f"Name: pinthesky\nVersion: {version}\n".encode()}
        shared = f"pinthesky-{version}.data/data/share/pinthesky"
        files |= {f"{shared}/{name}": data for name, data in _shipped().items()}
        for python in ("3.11", "3.9"):
            for architecture in ("amd64", "arm64", "armhf"):
                files[f"{shared}/requirements/{architecture}-python{python}.txt"] = REQUIREMENTS
        for name, data in (files | (also or {})).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return Parcel.of(f"pinthesky-{version}-py3-none-any.whl", made.getvalue())


def missing() -> str | None:
    """What a pretend root needs and this machine has not, or None."""
    if os.geteuid() != 0:
        return "a root file system of its own needs root"
    probe = (
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && "
        "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt"
    )
    tried = subprocess.run(["unshare", "-m", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return f"a root file system of its own cannot be made here: {tried.stderr.strip()}" if tried.returncode else None
