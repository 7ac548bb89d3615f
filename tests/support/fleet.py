"""A whole fleet as an owner has it: a hub, cameras added by `pits-hub add-camera`, and both programs of each."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import paho.mqtt.client as paho
from botocore.config import Config
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from pinthesky.admin import server
from pinthesky.admin.verbs import Verbs
from pinthesky.hub.database import Database
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.ports import REGION, ROLE_ALIAS
from pinthesky.hub.presence import ThingPresence
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName, command_topic, event_topic, shadow_topic
from tests.support.aws_servers import KeyPair
from tests.support.broker import MqttClient
from tests.support.daemon_process import PROJECT, DaemonProcess, eventually
from tests.support.hub_process import HOST, Camera, HubProcess
from tests.support.made_up_pi import MadeUpPi

SMALL = ("--resolution", "160x120", "--framerate", "10", "--encoding-bitrate", "150000", "--spool-min-free", "0")
QUIET = "synthetic:?script=quiet:3600"
HANDLERS = PROJECT / "service" / "handlers"
INSTALLED = "/opt/pinthesky/steady/bin"
"""Where the shipped handlers look for the program that asks the root helper."""

ADMIN = """\
#!{python}
import sys
from pathlib import Path
sys.path.insert(0, "{project}")
from pinthesky.admin import command, installation
command.Installation = lambda: installation.Installation(socket=Path("{socket}"))
sys.exit(command.main())
"""

Credentials = dict[str, str]


def pits_hub(data: Path, *arguments: str | Path) -> str:
    """Run a command of the hub that has to succeed, and return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pinthesky.hub", "--data", str(data), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def get(url: str, tls: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes]:
    """GET without a proxy. Returns status and body."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10.0) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def fetch_credentials(port: int, camera: Camera) -> tuple[int, Credentials]:
    """What the credentials endpoint answers a camera: the status, and the keys where there are any."""
    url = f"https://{HOST}:{port}/role-aliases/{ROLE_ALIAS}/credentials"
    status, body = get(url, camera.tls(), **{"x-amzn-iot-thingname": str(camera.thing)})
    return status, json.loads(body).get("credentials", {})


def aws_client(service: str, port: int, *, root: Path, keys: Credentials) -> Any:
    """An SDK's own client of the hub, which tries once."""
    return _session().create_client(
        service,
        region_name=REGION,
        endpoint_url=f"https://{HOST}:{port}",
        verify=str(root),
        aws_access_key_id=keys["accessKeyId"],
        aws_secret_access_key=keys["secretAccessKey"],
        aws_session_token=keys["sessionToken"],
        config=Config(
            s3={"addressing_style": "path"},
            # Presigned links are of the version before, unless one asks.
            signature_version="s3v4" if service == "s3" else None,
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=10,
        ),
    )


@functools.cache
def _session() -> botocore.session.Session:
    """One for all, for it reads large files; it holds no credentials."""
    return botocore.session.Session()


class HubSide(MqttClient):
    """A client by the broker's own socket, as the hub has one: it may say and hear everything."""

    def __init__(self, socket_path: Path, name: str = "planes.of.the.test") -> None:
        self._socket_path = socket_path
        super().__init__(_Nowhere(), name)

    def wait_back(self) -> None:
        """Wait until it is connected, and hears what is said, after the broker was started again."""
        topic, token = event_topic(ThingName("nobody")), secrets.token_hex(8)
        told = {"name": token}

        def hears() -> bool:
            if self._paho.is_connected():
                self.send(topic, told)
            return any(message.document == told for message in self.on(topic))

        eventually(hears, "the planes are connected again")

    def _made(self, name: str) -> paho.Client:
        return paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5, transport="unix"
        )

    def _dial(self) -> None:
        self._paho.connect(str(self._socket_path), keepalive=30)


class _Nowhere:
    """A broker of which nothing is asked but its socket."""

    host, port, ca = "", 0, Path()

    def issue(self, thing: str, /) -> KeyPair:
        """No certificate is shown at the socket."""
        raise NotImplementedError(thing)


class Planes:
    """What a console does with a fleet: edits settings, sends commands, makes jobs, reads what is kept.

    The hub is another process. What is asked of things goes through its broker, what is read comes from its database.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self.mqtt = HubSide(data / "broker" / "mosquitto.sock")
        self.database = Database(data / "hub.sqlite")
        changes = ThingChanges(self.database, self.mqtt.send)
        self.shadows = Shadows(self.database, changes)
        self.jobs = Jobs(self.database, changes)
        self.index = MediaIndex(self.database)

    def open(self) -> None:
        """Connect, and hear everything that things say and are told."""
        self.mqtt.connect()
        self.mqtt.subscribe("pinthesky/events/+/output", "$aws/things/+/shadow/name/+/update/#")

    def close(self) -> None:
        """Take leave."""
        self.mqtt.close()
        self.database.close()

    def edit(self, thing: str, token: str, **sections: Any) -> int:
        """Change desired settings, as a console does. Returns the version that the hub gave it."""
        topic = shadow_topic(ThingName(thing), "update")
        self.mqtt.wait_back()
        self.mqtt.publish(topic, {"state": {"desired": sections}, "clientToken": token})
        accepted = eventually(
            lambda: [m for m in self.mqtt.on(f"{topic}/accepted") if m.document.get("clientToken") == token],
            f"the edit {token} of {thing} is accepted",
        )
        return int(accepted[0].document["version"])

    def shadow(self, thing: str) -> dict[str, Any]:
        """The whole shadow `pinthesky`, and nothing where there is none."""
        name = ThingName(thing)
        return self.shadows.get(name, "pinthesky") if "pinthesky" in self.shadows.names(name) else {}

    def reported(self, thing: str) -> dict[str, Any]:
        """What the camera says that it does."""
        found: dict[str, Any] = self.shadow(thing).get("state", {}).get("reported", {})
        return found

    def documents(self, thing: str) -> list[dict[str, Any]]:
        """Every documents message that was told of the thing, in order."""
        return [message.document for message in self.mqtt.on(shadow_topic(ThingName(thing), "update/documents"))]

    def command(self, thing: str, name: str, **context: Any) -> None:
        """Publish a command to a camera."""
        self.mqtt.wait_back()
        self.mqtt.publish(command_topic(ThingName(thing)), {"name": name, "context": context})

    def events(self, thing: str, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of that name that a camera has sent, of those with the given fields."""
        found: list[dict[str, Any]] = []
        for message in self.mqtt.on(event_topic(ThingName(thing))):
            document = message.document
            found += [event for event in document.get("events", [document]) if event.get("name") == name]
        return [event for event in found if fields.items() <= event.items()]

    def presence(self, thing: str) -> ThingPresence | None:
        """Whether a thing is connected, as the hub's process has kept it."""
        with self.database.reading() as connection:
            row = connection.execute("SELECT * FROM presence WHERE thing = ?", (thing,)).fetchone()
        return None if row is None else ThingPresence(bool(row["connected"]), row["since_s"], row["reason"])

    def forget_messages(self) -> None:
        """Begin to listen anew."""
        self.mqtt.messages.clear()


class RootHelper:
    """`pinthesky-admin serve` behind its socket, on a made-up machine: answers as systemd would have it answered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.pi = MadeUpPi(folder)
        self.bin = folder / "bin"
        self.bin.mkdir()
        program = self.bin / "pinthesky-admin"
        program.write_text(
            ADMIN.format(python=sys.executable, project=PROJECT, socket=self.pi.installation.socket), encoding="utf-8"
        )
        program.chmod(0o755)
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, name="root-helper", daemon=True)

    def start(self) -> None:
        """Answer from now on, one connection after the other."""
        self._listener.bind(str(self.pi.installation.socket))
        self._listener.listen()
        self._listener.settimeout(0.1)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._over.set()
        self._thread.join(10.0)
        self._listener.close()

    def handlers(self, folder: Path) -> None:
        """Put the shipped handlers into `folder`, which ask this one."""
        folder.mkdir(mode=0o700, exist_ok=True)
        for handler in HANDLERS.iterdir():
            text = handler.read_text(encoding="utf-8")
            assert INSTALLED in text or "pinthesky-doctor" in text, f"{handler.name} asks nobody"
            (folder / handler.name).write_text(text.replace(INSTALLED, str(self.bin)), encoding="utf-8")
            (folder / handler.name).chmod(0o700)

    def _serve(self) -> None:
        verbs = Verbs(self.pi.installation, pause=lambda _: None)
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                with connection:
                    server.serve(connection, self.pi.installation, verbs)


class _Program(DaemonProcess):
    """Any of a camera's programs."""

    def __init__(self, folder: Path, *command: str | Path) -> None:
        super().__init__(folder, "none")
        self.spool = folder / "state" / "spool"
        self._command = [str(word) for word in command]


class FleetCamera:
    """A camera in the folder that `pits-hub add-camera` made, with the programs that it says to run."""

    def __init__(self, hub: HubProcess, name: str, folder: Path, *, scene: str = QUIET) -> None:
        self.name = name
        self.folder = folder
        self._hub = hub
        self.said = pits_hub(hub.data, "add-camera", name, "--to", folder, "--hub", HOST)
        certificates = folder / "certificates"
        pair = KeyPair(certificates / "certificate.pem", certificates / "private.key")
        self.identity = Camera(ThingName(name), pair, certificates / "root-ca.pem")
        self.handlers = folder / "handlers"
        self.handlers.mkdir(mode=0o700)
        self.client = _Program(
            folder,
            *(sys.executable, "-m", "pinthesky.link", "--config-file", folder / "device-client.json"),
            *("--jobs-handler-dir", self.handlers, "--log-level", "DEBUG"),
        )
        flags = f". '{folder}/pinthesky.env' && exec '{sys.executable}' -m pinthesky $PINTHESKY_FLAGS \"$@\""
        self.daemon = _Program(folder, "/bin/sh", "-c", flags, "pinthesky", "--camera", scene, *SMALL)

    def start(self) -> None:
        """Start both programs, and wait until they work."""
        self.daemon.start()
        self.client.start()
        self.client.wait_log("All subscriptions stand")
        self.daemon.wait_log("Watching synthetic")

    def stop(self) -> list[int]:
        """Stop what runs, as systemd does. Returns the exit codes."""
        return [program.stop() for program in (self.daemon, self.client) if program.is_running]

    def keys(self) -> Credentials:
        """Fresh keys from the credentials endpoint."""
        status, keys = fetch_credentials(self._hub.device_port, self.identity)
        assert status == 200
        return keys

    def aws(self, service: str, keys: Credentials) -> Any:
        """A client of one of AWS's services on the hub."""
        return aws_client(service, self._hub.device_port, root=self.identity.root, keys=keys)

    @contextmanager
    def mqtt(self) -> Iterator[MqttClient]:
        """A bare MQTT client with this camera's certificate."""
        made = self._hub.client(self.identity)
        try:
            made.connect()
            yield made
        finally:
            made.close()


class Fleet:
    """A hub that runs, its planes, and cameras; to be closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.hub = HubProcess(folder)
        self.cameras: list[FleetCamera] = []
        self.hub.start()
        try:
            self.hub.wait_ready()
            self.planes = Planes(self.hub.data)
            self.planes.open()
        except BaseException:
            self.hub.kill()
            raise

    def add(self, name: str, folder: str | None = None, *, scene: str = QUIET) -> FleetCamera:
        """Add a camera; nothing of it is started."""
        made = FleetCamera(self.hub, name, self._folder / (folder or name), scene=scene)
        self.cameras.append(made)
        return made

    def mosquitto(self) -> list[int]:
        """Process ids of the mosquittos that were started for this hub."""
        wanted = os.fsencode(self.hub.data / "broker" / "mosquitto.conf")
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if wanted in entry.read_bytes().split(b"\0"):
                    found.append(int(entry.parent.name))
        return found

    def kill_broker(self) -> None:
        """`kill -9` of mosquitto, and of nothing else."""
        (process,) = self.mosquitto()
        os.kill(process, signal.SIGKILL)

    def media(self, key: str) -> Path | None:
        """The file of an object, if it is stored."""
        record = self.planes.index.find(key)
        return None if record is None else self.hub.data / "media" / record.file

    def close(self) -> list[int]:
        """Stop everything that runs, the hub last. Returns the exit codes; whoever does not end is killed."""
        codes = []
        try:
            for camera in self.cameras:
                codes += camera.stop()
            self.planes.close()
            if self.hub.is_running:
                codes.append(self.hub.stop())
        finally:
            for program in (*(p for c in self.cameras for p in (c.daemon, c.client)), self.hub):
                if program.is_running:
                    program.kill()
        return codes


@contextmanager
def running_fleet(folder: Path) -> Iterator[Fleet]:
    """A fleet that has to end in order: every program with 0, and no mosquitto left behind."""
    made = Fleet(folder)
    try:
        yield made
    finally:
        codes = made.close()
    assert set(codes) == {0}, codes
    assert made.mosquitto() == []
