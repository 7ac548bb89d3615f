"""What a container of Pi In The Sky runs: in the place of systemd, which is not there.

    serve.py camera [FLAG …]   the daemon, with the flags of /config/pinthesky.env and these after them
    serve.py client            the device client, with /config/device-client.json
    serve.py health            exit code 0 while the program of this container feeds its watchdog: the daemon does that
                               only while all of its threads beat and frames keep arriving

One program for each container. What does not become ready, or is silent for a minute, is ended, so that Docker starts
it again. Signals are passed on, and the exit code is the program's own: 0 stopped in order, 2 wrongly configured.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path(os.environ.get("PINTHESKY_CONFIG", "/config"))
RUN = Path(os.environ.get("PINTHESKY_RUN", "/tmp/pinthesky"))  # noqa: S108 - the container's own, and its only one
WATCHDOG_S = float(os.environ.get("PINTHESKY_WATCHDOG_S", "60"))
READY_S = 90.0
STOP_S = 30.0
"""The daemon's own deadline is 25 s; compose.yaml grants 35."""
LOOK_EVERY_S = 0.5
SILENT = 70
WRONG = 2


class Wrong(Exception):
    """What a person has to change."""


def commands(arguments: Sequence[str]) -> list[str]:
    """Return the program that is asked for. Raises Wrong."""
    what, *more = arguments or ["camera"]
    if what == "camera":
        return [sys.executable, "-m", "pinthesky", *flags(), *more]
    if what == "client" and not more:
        path = CONFIG / "device-client.json"
        readable(path)
        return [sys.executable, "-m", "pinthesky.link", "--config-file", str(path)]
    raise Wrong(f"knows camera [FLAG …], client and health, not {' '.join(arguments)}")


def readable(path: Path) -> str:
    """Return a file of the camera's folder. Raises Wrong that says what to mount, or as whom to run."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        made = f"`pits-hub add-camera NAME --at {CONFIG}`"
        raise Wrong(f"there is no {path}: mount the folder there that {made} has made") from error
    except PermissionError as error:
        owner = next((at.stat().st_uid for at in (path, path.parent) if os.access(at.parent, os.X_OK)), None)
        whose = f"belongs to user {owner}, and " if owner is not None else ""
        raise Wrong(
            f"{path} {whose}this runs as user {os.getuid()}: set PINTHESKY_UID and PINTHESKY_GID to its owner's"
        ) from error


def flags() -> list[str]:
    """Return the daemon's flags, as `. pinthesky.env` and systemd would read them. Raises Wrong."""
    path = CONFIG / "pinthesky.env"
    try:
        words = shlex.split(readable(path), comments=True)
    except ValueError as error:
        raise Wrong(f"{path} cannot be read: {error}") from error
    found = [word.partition("=")[2] for word in words if word.startswith("PINTHESKY_FLAGS=")]
    if not found:
        raise Wrong(f"{path} has no line PINTHESKY_FLAGS=")
    return found[-1].split()


def note(path: Path) -> None:
    """Write down when the program was last seen to be well, by a clock that no time server turns."""
    temporary = path.with_name("alive.new")
    temporary.write_text(f"{time.monotonic():.3f}\n", encoding="ascii")
    temporary.replace(path)


def is_well() -> bool:
    """Tell whether the program was well within the watchdog's time."""
    try:
        seen = float((RUN / "alive").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return time.monotonic() - seen <= WATCHDOG_S


def serve(command: list[str]) -> int:
    """Run the program to its end, and return its exit code; SILENT where it had to be ended."""
    RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
    (RUN / "alive").unlink(missing_ok=True)
    (RUN / "notify").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(RUN / "notify"))
        channel.settimeout(LOOK_EVERY_S)
        told = {"NOTIFY_SOCKET": str(RUN / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000))}
        stopping: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _frame: stopping.append(received))
        program = subprocess.Popen(command, env={**os.environ, **told})  # noqa: S603 - our own programs
        deadline = time.monotonic() + READY_S
        while program.poll() is None and not stopping:
            if beat(channel):
                deadline = time.monotonic() + WATCHDOG_S
            elif time.monotonic() > deadline:
                sys.stderr.write("pinthesky: the program says nothing any more, so it is ended\n")
                end(program)
                return SILENT
        return end(program) if stopping else exit_code(program.returncode)


def beat(channel: socket.socket) -> bool:
    """Wait a moment for a word of the program; tell whether it says that it is well."""
    try:
        said = channel.recv(4096).decode("utf-8", "replace")
    except TimeoutError:
        return False
    if not {"READY=1", "WATCHDOG=1"} & set(said.splitlines()):
        return False
    note(RUN / "alive")
    return True


def end(program: subprocess.Popen[bytes]) -> int:
    """End the program, by force where it takes too long, and return its exit code."""
    program.terminate()
    try:
        return exit_code(program.wait(STOP_S))
    except subprocess.TimeoutExpired:
        program.kill()
        return exit_code(program.wait())


def exit_code(code: int) -> int:
    """Return the exit code of a program as a shell tells it: a signal is 128 and its number."""
    return code if code >= 0 else 128 - code


def main(arguments: Sequence[str]) -> int:
    """Serve, or tell how it is."""
    if list(arguments) == ["health"]:
        return 0 if is_well() else 1
    try:
        command = commands(arguments)
    except Wrong as problem:
        sys.stderr.write(f"pinthesky: {problem}\n")
        return WRONG
    return serve(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
