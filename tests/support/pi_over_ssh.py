"""A machine with a real sshd: a throwaway machine with a real systemd, reached by OpenSSH's client over loopback.

sshd lives in the machine's namespaces but for the network, so it listens on a port of this machine's loopback. Its
keys, its users and what the client knows of it are made for the test.

What stands in there for what the internet would have: apt's sources are one folder of made-up packages (real apt and
dpkg install them), and pip's are a folder of made-up wheels with real hashes.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import subprocess
import time
import zipfile
from pathlib import Path

from tests.support import throwaway_machine
from tests.support.throwaway_machine import ThrowawayMachine

KEYGEN = ("ssh-keygen", "-q", "-t", "ed25519", "-N")
PASSWORD = "correct horse"
USERS = ("pi", "pat", "guest")
"""With sudo without a password, with sudo that asks for one, and without sudo."""
_SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/pi_host_key
PidFile none
UsePAM no
PasswordAuthentication yes
AuthorizedKeysFile /etc/ssh/pi_keys
StrictModes no
"""
_SUDOERS = """
Defaults use_pty
pi ALL=(ALL) NOPASSWD: ALL
pat ALL=(ALL) ALL
"""
_APT = "/var/lib/made-up-apt"
_PASSING = (
    *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/lib/sudo", "/var/lib/private", "/var/lib/PackageKit"),
    *("/var/cache", "/var/log", "/run", "/tmp", "/var/tmp", "/usr/share"),
)
_CONTROL = """Package: {name}
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: made up
{depends}
"""


class PiOverSsh:
    """The machine; `ssh` is a folder to be put first in PATH, with an ssh that knows where it is."""

    def __init__(self, folder: Path) -> None:
        self.machine = ThrowawayMachine()
        self.folder = folder
        self.port = _free_port()
        self._sshd: subprocess.Popen[bytes] | None = None

    def boot(self, *, python: str = "") -> None:
        """Start it, with users, keys and sshd. `python` is its Python; without one this one, with all its libraries."""
        machine = self.machine
        machine.boot()
        if not python:
            machine.show_packages()
        # No link: an environment would look for its home beside the link.
        program = machine.path("/usr/local/bin/python3")
        program.write_text(f'#!/bin/sh\nexec {python or machine.python} "$@"\n')
        program.chmod(0o755)
        self._make_keys()
        for user in USERS:
            machine.must("useradd", "--create-home", "--shell", "/bin/bash", user)
            machine.must("chpasswd", given=f"{user}:{PASSWORD}\n")
        machine.path("/etc/sudoers.d/made-up").write_text(_SUDOERS)
        machine.path("/etc/sudoers.d/made-up").chmod(0o440)
        machine.path("/etc/ssh/pi_sshd").write_text(_SSHD.format(port=self.port))
        self.start_sshd()

    def boot_again(self) -> None:
        """Take its power away, and start it with what its disk holds."""
        self.machine.cut_power()
        if self._sshd is not None:
            self._sshd.wait(20)
        self.machine.boot()
        self.start_sshd()

    def start_sshd(self) -> None:
        """Let it be reached, again if need be."""
        self.machine.must("mkdir", "-p", "/run/sshd")
        first = str(self.machine._first)
        enter = ["nsenter", "--target", first, "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--"]
        command = [*enter, "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/pi_sshd"]
        log = self.folder.joinpath("sshd.log").open("ab")
        with log:
            self._sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                assert time.monotonic() < deadline, self.folder.joinpath("sshd.log").read_text()
                time.sleep(0.05)

    def end_sessions(self) -> None:
        """Cut every connection there is, as a network that fails: sshd itself goes on."""
        self.machine.run("pkill", "-KILL", "-f", "^sshd: .*(@notty|\\[priv\\])")

    def throw_away(self) -> None:
        """End it, and remove its disk."""
        self.machine.throw_away()
        if self._sshd is not None:
            self._sshd.wait(20)

    def written(self) -> set[str]:
        """What is on its disk and not on that of this machine, but for what apt, sudo and logs write anyhow."""
        upper = self.machine.disk
        found = (f"/{path.relative_to(upper)}" for path in upper.rglob("*") if not path.is_char_device())
        return {path for path in found if not path.startswith(_PASSING) and not os.path.lexists(path)}

    @property
    def environment(self) -> dict[str, str]:
        """What pitsctl is started with, to find the ssh that knows the machine."""
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    @property
    def known_hosts(self) -> Path:
        """What the client knows of hosts."""
        return self.folder / "known_hosts"

    def host_key(self) -> str:
        """The machine's public key, as known_hosts has it."""
        return (self.folder / "host_key.pub").read_text().split(" ", 2)[1].strip()

    def fingerprint(self) -> str:
        """The same, as people compare it."""
        told = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / "host_key.pub"], capture_output=True, text=True, check=True
        )
        return told.stdout.split()[1]

    def know_host(self, key: str | None = None) -> None:
        """Let the client know the machine, or take another for it."""
        name = f"[127.0.0.1]:{self.port}"
        self.known_hosts.write_text(f"{name} ssh-ed25519 {key or self.host_key()}\n")

    def configure(self, *lines: str, key: str = "login") -> None:
        """Write the client's configuration: every user's name is a host of it."""
        common = [
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"IdentityFile {self.folder / key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            "HashKnownHosts no",
            *lines,
        ]
        hosts = [line for user in USERS for line in (f"Host {user}", f"User {user}", "")]
        text = "\n".join([*hosts, "Host *", *common])
        (self.folder / "config").write_text(text + "\n")
        program = self.folder / "bin" / "ssh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{self.folder / "config"}" "$@"\n')
        program.chmod(0o755)

    def _make_keys(self) -> None:
        for name, secret in (("host_key", ""), ("login", ""), ("locked", PASSWORD), ("stranger", "")):
            subprocess.run([*KEYGEN, secret, "-f", self.folder / name], check=True, timeout=30)
        shutil.copy(self.folder / "host_key", self.machine.path("/etc/ssh/pi_host_key"))
        self.machine.path("/etc/ssh/pi_host_key").chmod(0o600)
        keys = [(self.folder / f"{name}.pub").read_text() for name in ("login", "locked")]
        self.machine.path("/etc/ssh/pi_keys").write_text("".join(keys))
        self.configure()

    def make_apt(self, packages: dict[str, str]) -> None:
        """Give apt one source: a folder of packages, each with what it depends on."""
        there = self.machine.path(_APT)
        there.mkdir(parents=True)
        for name, depends in packages.items():
            control = there / name / "DEBIAN" / "control"
            control.parent.mkdir(parents=True)
            control.parent.chmod(0o755)
            control.write_text(
                _CONTROL.format(name=name, depends=f"Depends: {depends}" if depends else "").rstrip() + "\n"
            )
            self.machine.must("dpkg-deb", "--build", "--root-owner-group", f"{_APT}/{name}", f"{_APT}/{name}.deb")
            shutil.rmtree(there / name)
        self.machine.must("sh", "-c", f"cd {_APT} && dpkg-scanpackages . > Packages 2>/dev/null")
        for path in ("/etc/apt/sources.list.d", "/var/lib/apt/lists"):
            self.machine.must("sh", "-c", f"rm -rf {path}/*")
        self.machine.path("/etc/apt/sources.list").write_text(f"deb [trusted=yes] file://{_APT} ./\n")


def made_up_wheel(name: str, version: str = "1.0") -> tuple[str, bytes, str]:
    """A wheel of nothing: its file's name, content and SHA-256."""
    made = io.BytesIO()
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in (
            (f"{name.replace('-', '_')}.py", ""),
            (f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
            (f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            (f"{info}/RECORD", ""),
        ):
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text)
    data = made.getvalue()
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl", data, hashlib.sha256(data).hexdigest()


def missing() -> str | None:
    """Return what such a machine needs and this one has not, or None."""
    for program in ("ssh", "sshd", "ssh-keygen", "sudo", "dpkg-scanpackages", "openssl"):
        if shutil.which(program) is None:
            return f"a machine over ssh needs {program}"
    return throwaway_machine.missing()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
