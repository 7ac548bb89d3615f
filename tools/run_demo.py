"""`make run`: a whole fleet on this machine, the hub and cameras with daemon and device client each.

Nothing here is a stand-in: the programs are those of an installation, the cameras are added by `pits-hub add-camera`,
and clips reach the hub as they would from a Pi. Everything that is kept is below one folder, DATA (run-data). CAMERA
adds the user's own camera to the two of the demonstration.

A program that ends by itself ends the run, and is named: in a demonstration what is wrong should be seen, where systemd
would start it again. Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 a program has failed, 2 something has to be mended.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.hub.camera_folder import CLIENT_FILE, DAEMON_FILE, HubAddress
from pinthesky.hub.database import Database
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.settings import HubSettings
from pinthesky.machine.log_lines import clean
from pinthesky.machine.stop_request import StopRequest
from tools.demo_program import BIN, PROJECT, Program, say
from tools.show_clips import facts, is_clip

LOOK_EVERY_S = 0.5
HUB_STARTS_WITHIN_S = 60.0
CAMERAS_END_WITHIN_S = 27.0
"""The daemon's own bound is 25 s; without anything to finish it takes a moment."""
HUB_ENDS_WITHIN_S = 27.0
COMMAND_TIMEOUT_S = 60.0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
FOOTAGE = "tests/footage/people.mp4"
SMALL = ("--resolution", "640x480", "--framerate", "10", "--encoding-bitrate", "1000000")


@dataclass(frozen=True)
class DemoCamera:
    """A camera of the fleet: what it watches, for its daemon and for people."""

    name: str
    address: str
    shown: str
    flags: tuple[str, ...] = ()


DEMONSTRATION = (
    DemoCamera("scene", "synthetic:?script=quiet:5,walk:6,quiet:30", "a drawn scene", SMALL),
    DemoCamera("lawn", f"{FOOTAGE}#loop", f"{FOOTAGE}, again and again"),
)


class CannotRun(Exception):
    """Something that the user has to mend, in one line."""


class Places:
    """Where everything lies below the data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hub = root / "hub"
        self.settings = self.hub / "hub.toml"
        self.database = self.hub / "hub.sqlite"
        self.media = self.hub / "media"
        self.cameras = root / "cameras"
        self.logs = root / "logs"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folders, and keep every other run out of them. Raises CannotRun."""
        try:
            for folder in (self.root, self.cameras, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("ab")
        except OSError as error:
            raise CannotRun(f"cannot use {self.root} ({error.strerror})") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CannotRun(f"another `make run` is at work in {self.root}; end that one first") from error
            yield


def shown(path: Path) -> str:
    """A path as the user would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def check_ports(settings: HubSettings, file: Path) -> None:
    """Raise CannotRun where another program listens on a port that the hub needs."""
    listen = settings.listen
    host = listen.address or ("::" if socket.has_dualstack_ipv6() else "")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted = [
        *(("mqtt_ports", port, host, family) for port in listen.mqtt_ports),
        ("device_port", listen.device_port, host, family),
        ("console_port", listen.console_port, host, family),
        ("localhost_port", listen.localhost_port, "127.0.0.1", socket.AF_INET),
    ]
    if any(not port for _, port, _, _ in wanted):
        raise CannotRun(f"{shown(file)}: no port may be 0 here, for the cameras must find the hub again")
    for name, port, where, kind in wanted:
        try:
            socket.create_server((where, port), family=kind, dualstack_ipv6=where == "::").close()
        except OSError as error:
            why = "is taken by another program" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
            raise CannotRun(
                f"port {port} {why}; end that one, or choose another port: {name} in table [listen] of {shown(file)}"
            ) from error


def pits_hub(places: Places, *arguments: str | Path) -> str:
    """Run a command of the hub, and return what it said. Raises CannotRun with its own words."""
    command = [BIN / "pits-hub", "--data", places.hub, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"pits-hub does not work: {error}") from error
    if done.returncode:
        raise CannotRun(done.stderr.strip() or f"pits-hub {arguments[0]} failed")
    return done.stdout


def lay_foundation(places: Places) -> tuple[HubSettings, set[str]]:
    """Make what a first start of the hub makes. Returns its settings and the cameras that it knows."""
    with closing(Foundation.lay(places.hub)) as foundation:
        return foundation.settings, {str(thing) for thing in foundation.registry.things()}


def add_camera(places: Places, name: str, hub: HubAddress, *, is_known: bool) -> Path:
    """Have the hub make the folder of a camera, unless it has made one that still holds. Returns the folder.

    What the camera has kept (settings, clips that wait) goes with it into a folder that takes the place of another.
    """
    folder = places.cameras / name
    aside = places.cameras / f".{name}.before"
    if is_known and _still_holds(folder, places, hub):
        return folder
    if is_known:
        pits_hub(places, "remove-camera", name)
    if folder.exists():
        folder.rename(aside)
    pits_hub(places, "add-camera", name, "--to", folder, "--hub", hub.host)
    if (aside / "state").is_dir():
        (folder / "state").rmdir()
        (aside / "state").rename(folder / "state")
    shutil.rmtree(aside, ignore_errors=True)
    return folder


def _still_holds(folder: Path, places: Places, hub: HubAddress) -> bool:
    """Whether what was written once still leads to this hub, from this place."""
    certificates = folder / "certificates"
    try:
        client = json.loads((folder / CLIENT_FILE).read_bytes())
        flags = (folder / DAEMON_FILE).read_text(encoding="utf-8")
        same_root = (certificates / "root-ca.pem").read_bytes() == (places.hub / "authority/ca.crt").read_bytes()
    except (OSError, ValueError):
        return False
    leads_here = (client.get("endpoint"), client.get("port"), client.get("key")) == (
        hub.host,
        hub.mqtt_port,
        str(certificates / "private.key"),
    )
    return same_root and leads_here and f" https://{hub.device_endpoint} " in flags


class Fleet:
    """The programs of one run, in the order of their start."""

    def __init__(self, places: Places, cameras: tuple[DemoCamera, ...], stop: StopRequest) -> None:
        self._places = places
        self._cameras = cameras
        self._stop = stop
        self._programs: list[Program] = []
        self._seen: set[str] | None = None
        self._clips = 0
        self._last_clip = ""

    def run(self) -> int:
        """Start everything, tell what arrives until it has to end, and end everything. Returns the exit code."""
        try:
            settings, known = lay_foundation(self._places)
            check_ports(settings, self._places.settings)
            hub = HubAddress(
                settings.listen.address or "localhost", settings.listen.mqtt_ports[0], settings.listen.device_port
            )
            folders = [
                add_camera(self._places, camera.name, hub, is_known=camera.name in known) for camera in self._cameras
            ]
            failed = self._start_hub()
            if failed is None and not self._stop.is_set():
                self._welcome()
                for camera, folder in zip(self._cameras, folders, strict=True):
                    self._start_camera(camera, folder)
                failed = self._watch()
            if failed is not None:
                say(failed.epitaph(shown(failed.log_file)))
        finally:
            late = self._end()
        if late:
            say(f"These did not end by themselves and were killed: {', '.join(late)}")
        if self._clips:
            say(f"{self._clips} clip{'' if self._clips == 1 else 's'} arrived. Look at the last one:")
            say(f"  xdg-open {self._last_clip}")
            say(f"All there are: .venv/bin/python -m tools.show_clips {shown(self._places.media)}")
        return EXIT_FAILED if failed is not None or late else 0

    def _start(self, name: str, *command: str | Path) -> Program:
        program = Program(name, [str(word) for word in command], self._places.logs)
        self._programs.append(program)
        program.start()
        return program

    def _start_hub(self) -> Program | None:
        """Start the hub, and wait until it serves. Returns it where it has ended instead."""
        hub = self._start("hub", BIN / "pits-hub", "--data", self._places.hub)
        deadline = time.monotonic() + HUB_STARTS_WITHIN_S
        while not hub.has_welcomed and time.monotonic() < deadline:
            if hub.exit_code is not None:
                return hub
            if self._stop.wait(0.05):
                return None
        return None if hub.has_welcomed else hub

    def _welcome(self) -> None:
        if sys.stdout.isatty():
            # To the terminal itself and into no log: whoever has the link is signed in.
            link = [str(BIN / "pits-hub"), "--data", str(self._places.hub), "sign-in-link"]
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(link, stdin=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT_S, check=False)
        for camera in self._cameras:
            say(f"Camera {camera.name} watches {camera.shown}.")
        own = "" if len(self._cameras) > len(DEMONSTRATION) else "Your own as well: make run CAMERA=/dev/video0. "
        say(
            f"Clips land in {shown(self._places.media)}, logs in {shown(self._places.logs)}. {own}Ctrl-C ends it all.\n"
        )

    def _start_camera(self, camera: DemoCamera, folder: Path) -> None:
        """Start both programs just as `pits-hub add-camera` says; flags that come later win."""
        handlers = folder / "handlers"
        handlers.mkdir(mode=0o700, exist_ok=True)
        self._start(
            f"{camera.name} client",
            *(BIN / "pits-device-client", "--config-file", folder / CLIENT_FILE, "--jobs-handler-dir", handlers),
        )
        daemon = f'. "{folder / DAEMON_FILE}" && exec "{BIN}/pinthesky" $PINTHESKY_FLAGS "$@"'
        self._start(camera.name, "/bin/sh", "-c", daemon, "pinthesky", "--camera", camera.address, *camera.flags)

    def _watch(self) -> Program | None:
        """Tell of clips until the stop. Returns the program that has ended before, if one has."""
        with closing(Database(self._places.database)) as database:
            index, changes = MediaIndex(database), -1
            while True:
                ended = next((program for program in self._programs if program.exit_code is not None), None)
                if (now := database.changes()) != changes:
                    self._tell_new(index)
                    changes = now
                if ended is not None or self._stop.wait(LOOK_EVERY_S):
                    return ended

    def _tell_new(self, index: MediaIndex) -> None:
        """Tell of the clips that were not there before; of none at the first look."""
        known = index.files()
        for file in sorted(known.keys() - (known.keys() if self._seen is None else self._seen)):
            record = index.find(known[file].key)
            if record is not None and is_clip(record):
                self._clips += 1
                self._last_clip = shown(self._places.media / record.file)
                say(f"{time.strftime('%H:%M:%S')}  {record.thing:<6} clip of {facts(record)}: {self._last_clip}")
        self._seen = set(known)

    def _end(self) -> list[str]:
        """End all programs, the hub last, for cameras have something to say of their end. Returns who was killed."""
        if self._programs:
            say("\nEnding …")
        hub, cameras = self._programs[:1], self._programs[1:]
        killed = []
        for programs, within_s in ((cameras, CAMERAS_END_WITHIN_S), (hub, HUB_ENDS_WITHIN_S)):
            for program in programs:
                program.ask_to_end()
            deadline = time.monotonic() + within_s
            for program in programs:
                killed += [] if program.end(deadline) else [program.name]
            if programs is cameras and self._seen is not None:
                # The clips with which they took their leave.
                with closing(Database(self._places.database)) as database:
                    self._tell_new(MediaIndex(database))
        return killed


@contextmanager
def signals_to(stop: StopRequest) -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and the end of the terminal set `stop`."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    signal.set_wakeup_fd(stop.writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def fleet_of(environment: Mapping[str, str]) -> tuple[DemoCamera, ...]:
    """The cameras of a run: those of the demonstration, and the user's own."""
    own = environment.get("CAMERA", "").strip()
    if not own:
        return DEMONSTRATION
    again = "#loop" if Path(own).is_file() else ""
    return (*DEMONSTRATION, DemoCamera("yours", own + again, clean(own)))


def main() -> int:
    """Entry point."""
    stop = StopRequest()
    places = Places(Path(os.path.abspath(os.environ.get("DATA") or "run-data")))  # noqa: PTH100 - a link stays its name
    os.chdir(PROJECT)
    with ExitStack() as stack:
        stack.callback(stop.close)
        stack.enter_context(signals_to(stop))
        try:
            stack.enter_context(places.held())
            return Fleet(places, fleet_of(os.environ), stop).run()
        except (CannotRun, InvalidInput) as error:
            say(f"make run: {error}", to=sys.stderr)
            return EXIT_CONFIGURATION
        except (PinTheSkyError, OSError) as error:
            say(f"make run: {error}", to=sys.stderr)
            return EXIT_FAILED
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
