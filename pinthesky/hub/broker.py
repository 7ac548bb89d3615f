"""mosquitto as a child process: configured from the hub's settings, watched, and ended with the hub, however it ends.

A client on a TLS port is its certificate: user and client id are taken from its common name, whatever it says of
itself. What a thing may say and hear stands in the ACL below. The hub itself comes in by a Unix socket in a folder
that nobody else can enter, and may do everything.

Revocation goes through mosquitto's own means: a revocation list that it reads anew at SIGHUP (which ends TLS session
resumption too), and for the open connection a take-over of its client id, which also throws away what was queued.
"""

from __future__ import annotations

import collections
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub.data_folder import DataFolder
from pinthesky.hub.ports import OnPresence
from pinthesky.machine.durable_files import replace_file
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.identifiers import ThingName

logger = logging.getLogger(__name__)

OLDEST = (2, 0)
INSTALL = "sudo apt-get install --no-install-recommends mosquitto"
PAYLOAD_MAX = 128 * 1024
"""AWS IoT Core's."""
PACKET_MAX = PAYLOAD_MAX + 4096
KEEPALIVE_MAX_S = 1200
"""AWS IoT Core's."""
CONNECTIONS_MAX = 2000
QUEUED_MAX = 1000
"""Messages that wait for one client that is away."""
QUEUED_BYTES_MAX = 4 * 1024 * 1024
SESSION_DAYS = 7
AUTOSAVE_S = 30
START_TIMEOUT_S = 10.0
RELOAD_TIMEOUT_S = 2.0
ASK_AGAIN_S = 0.5
FIRST_BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S = 30.0
STEADY_S = 60.0
"""After this long the next end counts as the first."""
_LINE_MAX = 4096
_TAIL = 20
_FREE_PORT_TRIES = 5

# What a thing may say. The broker's own answers (accepted, rejected, delta, documents, notify) are the hub's alone.
MAY_PUBLISH = (
    "$aws/things/%u/shadow/get",
    "$aws/things/%u/shadow/update",
    "$aws/things/%u/shadow/delete",
    "$aws/things/%u/shadow/name/+/get",
    "$aws/things/%u/shadow/name/+/update",
    "$aws/things/%u/shadow/name/+/delete",
    "$aws/things/%u/jobs/get",
    "$aws/things/%u/jobs/start-next",
    "$aws/things/%u/jobs/+/get",
    "$aws/things/%u/jobs/+/update",
    "pinthesky/events/%u/output",
)
# What a thing hears, whatever it has subscribed to.
MAY_RECEIVE = (
    *(
        f"$aws/things/%u/shadow/{name}{operation}/{answer}"
        for name in ("", "name/+/")
        for operation, answers in (
            ("get", ("accepted", "rejected")),
            ("update", ("accepted", "rejected", "delta", "documents")),
            ("delete", ("accepted", "rejected")),
        )
        for answer in answers
    ),
    *(
        f"$aws/things/%u/jobs/{operation}/{answer}"
        for operation in ("get", "start-next", "+/get", "+/update")
        for answer in ("accepted", "rejected")
    ),
    "$aws/things/%u/jobs/notify",
    "$aws/things/%u/jobs/notify-next",
    "pinthesky/events/%u/input",
)

_THING = r"(?P<thing>[A-Za-z0-9:_-]{1,128})"
_CONNECTED = re.compile(rf"New client connected from (?P<peer>.+):(?P<port>\d+) as {_THING} \(p")
_DISCONNECTED = re.compile(
    rf"Client {_THING} (?P<reason>closed its connection|disconnected.*|has exceeded timeout|been disconnected .*)"
)
_LOST = re.compile(rf"Bad socket read/write on client {_THING}: (?P<reason>.*)")
_OPENING = re.compile(r"Opening ipv. listen socket on port (\d+)")
_TELLING = re.compile(r"Error|Warning: (?!Mosquitto should not be run as root)")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files for the listeners: the root that clients are checked with, the server's own, and the revoked."""

    root: Path
    certificate: Path
    key: Path
    revocations: Path


def acl() -> str:
    """The rules for all clients on TLS ports; `%u` is the thing."""
    lines = [f"pattern write {topic}" for topic in MAY_PUBLISH] + [f"pattern read {topic}" for topic in MAY_RECEIVE]
    return "\n".join(lines) + "\n"


def configuration(folder: DataFolder, tls: TlsFiles, *, address: str, ports: Sequence[int]) -> str:
    """mosquitto.conf(5) for TLS listeners on `ports` of `address` ("": all), and the hub's own socket."""
    lines = [
        "per_listener_settings true",
        "user root",  # which means: stay who you are; anybody but root does anyway
        "log_dest stderr",
        "log_timestamp false",
        "connection_messages true",
        "persistence true",
        f"persistence_location {folder.broker}/",
        f"autosave_interval {AUTOSAVE_S}",
        f"persistent_client_expiration {SESSION_DAYS}d",
        f"message_size_limit {PAYLOAD_MAX}",
        f"max_packet_size {PACKET_MAX}",
        f"max_keepalive {KEEPALIVE_MAX_S}",
        f"max_queued_messages {QUEUED_MAX}",
        f"max_queued_bytes {QUEUED_BYTES_MAX}",
        "retain_available false",  # nothing here is retained, and what is would never go
        "sys_interval 0",
    ]
    for port in ports:
        lines += [
            "",
            f"listener {port} {address}".rstrip(),
            f"max_connections {CONNECTIONS_MAX}",
            "max_qos 1",  # AWS IoT Core's
            f"cafile {tls.root}",
            f"certfile {tls.certificate}",
            f"keyfile {tls.key}",
            f"crlfile {tls.revocations}",
            "tls_version tlsv1.2",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {folder.broker / 'acl'}",
        ]
    return "\n".join([*lines, "", f"listener 0 {folder.broker_socket}", "allow_anonymous true"]) + "\n"


def find_mosquitto() -> str:
    """Path of a mosquitto that is new enough. Raises InvalidInput that says how to get one."""
    folders = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
    found = shutil.which("mosquitto", path=folders)
    if found is None:
        raise InvalidInput("mosquitto", f"is not installed; on Debian, Ubuntu and Raspberry Pi OS: {INSTALL}")
    said = subprocess.run(  # noqa: S603 - the program was found above, its arguments are ours
        [found, "-h"], capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
    ).stdout
    version = re.search(r"version (\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        what = "of an unknown version" if version is None else f"version {version[1]}.{version[2]}"
        raise InvalidInput("mosquitto", f"must be 2.0 or newer, and {found} is {what}; on Debian: {INSTALL}")
    return found


class MosquittoBroker(PermanentThread):
    """One mosquitto at a time, in a thread that starts it, reads its log, and starts it again when it ends."""

    def __init__(
        self,
        folder: DataFolder,
        tls: TlsFiles,
        *,
        address: str,
        ports: Sequence[int],
        on_presence: OnPresence,
        on_crash: Crash,
    ) -> None:
        """Port 0 takes a free one, which `ports` then tells."""
        super().__init__("broker", on_crash)
        self._folder = folder
        self._tls = tls
        self._address = address
        self._wanted = tuple(ports)
        self.ports: tuple[int, ...] = ()
        self._on_presence = on_presence
        self._program = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._news = threading.Condition()
        self._running = False
        self._has_run = False
        self._reloads = 0
        self._tries = 0
        self._back_off_s = FIRST_BACK_OFF_S
        self._connected: set[ThingName] = set()
        self._tail: collections.deque[str] = collections.deque(maxlen=_TAIL)

    @property
    def pid(self) -> int | None:
        """Process id of mosquitto, None while there is none."""
        process = self._process
        return None if process is None else process.pid

    @property
    def is_running(self) -> bool:
        """Whether clients are taken."""
        return self._running

    def start(self) -> None:
        """Start mosquitto, and return when clients are taken. Once.

        Raises InvalidInput (not installed, too old), Unavailable (a port is taken, it does not start).
        """
        self._program = find_mosquitto()
        end_stale(self._folder)
        super().start()
        if not self._wait(lambda: self._running or self._ended.is_set(), START_TIMEOUT_S) or not self._running:
            self.stop()
            self.join(2.0)
            raise Unavailable(self._why_not())

    def join(self, timeout_s: float) -> bool:
        """See PermanentThread. A mosquitto that does not end by itself is ended before the time is over."""
        patient_until = time.monotonic() + 0.7 * timeout_s
        while not super().join(min(ASK_AGAIN_S, 0.7 * timeout_s)):
            process = self._process
            if time.monotonic() > patient_until:
                if process is not None:
                    logger.error("mosquitto does not end by itself")
                    process.kill()
                return super().join(0.3 * timeout_s)
            if process is not None and self.stopping:
                # While it starts there is a moment in which it hears the signal and forgets it.
                process.terminate()
        return True

    def reload(self) -> None:
        """Have certificates and revocations read anew; those who connect from now on meet them.

        Where mosquitto does not confirm it in time it is started again, which comes to the same.
        """
        with self._news:
            before, process = self._reloads, self._process
        if process is None or not self._running:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)
        if not self._wait(lambda: self._reloads > before or self._process is not process, RELOAD_TIMEOUT_S):
            logger.warning("mosquitto does not read its certificates anew, so it is started again")
            with suppress(ProcessLookupError):
                process.kill()

    def cut(self, thing: ThingName) -> None:
        """End the open connection of `thing` and throw away what waits for it. Raises Unavailable."""
        taker = paho.Client(CallbackAPIVersion.VERSION2, client_id=str(thing), clean_session=True, transport="unix")
        taken = threading.Event()
        taker.on_connect = lambda *_arguments: taken.set()
        try:
            taker.connect(str(self._folder.broker_socket))
            deadline = time.monotonic() + RELOAD_TIMEOUT_S
            while (
                not taken.is_set() and time.monotonic() < deadline and taker.loop(0.1) == MQTTErrorCode.MQTT_ERR_SUCCESS
            ):
                pass
            taker.disconnect()
        except OSError as error:
            raise Unavailable(f"the connection of {thing} cannot be cut: {error}") from error
        if not taken.is_set():
            raise Unavailable(f"the connection of {thing} cannot be cut: mosquitto does not answer")
        # So that whoever is told of the removal next hears no more of its connection.
        self._wait(lambda: thing not in self._connected, RELOAD_TIMEOUT_S)

    def wake(self) -> None:
        """See PermanentThread. mosquitto saves what waits for others, and ends."""
        with self._news:
            self._news.notify_all()
        process = self._process
        if process is not None:
            process.terminate()

    def left(self) -> None:
        """See PermanentThread."""
        self._ended.set()
        with self._news:
            self._news.notify_all()

    def step(self) -> None:
        """See PermanentThread. One life of mosquitto."""
        if not self._has_run:
            self.ports = tuple(port or _free_port(self._address) for port in self._wanted)
            self._tries += 1
        begun = time.monotonic()
        self._write_files()
        code = self._live()
        if self.stopping:
            return
        if not self._has_run:
            if 0 not in self._wanted or self._tries >= _FREE_PORT_TRIES:
                self.stop()
            return
        if time.monotonic() - begun > STEADY_S:
            self._back_off_s = FIRST_BACK_OFF_S
        logger.error(
            "mosquitto has ended (exit code %d) and is started again: %s", code, " | ".join([*self._tail][-3:])
        )
        self._wait(lambda: self.stopping, self._back_off_s)
        self._back_off_s = min(2 * self._back_off_s, LONGEST_BACK_OFF_S)

    def _live(self) -> int:
        """Run mosquitto, from its start to the last line of its log. Returns its exit code."""
        command = [self._program, "-c", str(self._folder.broker / "mosquitto.conf")]
        if (setpriv := shutil.which("setpriv")) is not None:
            # The kernel then ends it with this thread, even where the hub is killed and can say nothing any more.
            command = [setpriv, "--pdeathsig", "TERM", *command]
        self._tail.clear()
        with subprocess.Popen(  # noqa: S603 - the program was found by us, its configuration is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # Else it would tell the service manager that the hub is ready when only mosquitto is.
            env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
            process_group=0,  # Ctrl-C at a terminal is for the hub, which ends it when nobody needs it any more
        ) as process:
            self._process = process
            if self.stopping:
                process.terminate()
            try:
                for line in _lines(process.stderr):
                    self._hear(line)
            except BaseException:
                process.terminate()
                raise
        with self._news:
            self._running = False
            self._process = None
            self._news.notify_all()
        for thing in sorted(self._connected):
            self._tell(thing, False, "the broker has ended")
        return process.returncode

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._news:
            return self._news.wait_for(condition, timeout_s)

    def _write_files(self) -> None:
        replace_file(self._folder.broker / "acl", acl().encode())
        text = configuration(self._folder, self._tls, address=self._address, ports=self.ports)
        replace_file(self._folder.broker / "mosquitto.conf", text.encode())

    def _why_not(self) -> str:
        """Why mosquitto did not start, from its last words."""
        if any("Address already in use" in line for line in self._tail):
            opened = [found[1] for found in map(_OPENING.match, self._tail) if found]
            port = opened[-1] if opened else "?"
            return f"port {port} is taken by another program; choose another one in listen.mqtt_ports"
        return "mosquitto does not start: " + " | ".join(self._tail)

    def _hear(self, line: str) -> None:
        self._tail.append(line)
        logger.log(logging.WARNING if _TELLING.match(line) else logging.DEBUG, "mosquitto: %s", line)
        if line == "Reloading config.":
            with self._news:
                self._reloads += 1
                self._news.notify_all()
        elif line.startswith("mosquitto version") and line.endswith("running"):
            with self._news:
                self._running = self._has_run = True
                self._news.notify_all()
        elif (found := _CONNECTED.match(line)) is not None:
            thing = ThingName(found["thing"])
            # Port 0 is the hub's own socket: there somebody takes a thing's place only to cut it off.
            if found["port"] == "0":
                self._tell(thing, False, "cut off")
            else:
                self._tell(thing, True, found["peer"])
        elif (found := _DISCONNECTED.match(line) or _LOST.match(line)) is not None:
            self._tell(ThingName(found["thing"]), False, found["reason"].strip(" .:"))

    def _tell(self, thing: ThingName, connected: bool, reason: str) -> None:
        if not connected and thing not in self._connected:
            return
        self._on_presence(thing, connected, reason)
        with self._news:
            (self._connected.add if connected else self._connected.discard)(thing)
            self._news.notify_all()


def end_stale(folder: DataFolder, timeout_s: float = 5.0) -> None:
    """End a mosquitto that a hub before this one has left behind, told by the configuration file it was started with.

    Raises Unavailable where it does not end. Needs /proc; elsewhere a taken port tells.
    """
    deadline = time.monotonic() + timeout_s
    told: set[int] = set()
    while stale := _started_with(folder.broker / "mosquitto.conf"):
        if time.monotonic() > deadline:
            raise Unavailable(f"mosquitto of an earlier hub (process {stale[0]}) does not end: kill -9 {stale[0]}")
        for pid in stale:
            if pid not in told:
                logger.warning("An earlier hub has left mosquitto behind (process %d); it is ended", pid)
            # First a chance to save what waits for others.
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM if time.monotonic() < deadline - timeout_s / 2 else signal.SIGKILL)
            told.add(pid)
        time.sleep(0.05)


def _started_with(configuration_file: Path) -> list[int]:
    wanted = os.fsencode(configuration_file)
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if wanted in words and any(word.endswith(b"mosquitto") for word in words):
                found.append(int(entry.parent.name))
    return found


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
    """Lines of a log, each cut at _LINE_MAX bytes."""
    while stream is not None and (line := stream.readline(_LINE_MAX)):
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
