"""A whole hub as a child process, as systemd would run it, and cameras that it knows."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinthesky.hub.foundation import Foundation
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import KeyPair
from tests.support.broker import MqttClient
from tests.support.daemon_process import DaemonProcess

HOST = "localhost"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [held.getsockname()[1] for held in sockets]


class HubProcess(DaemonProcess):
    """One run of `pits-hub` on `folder/hub`, on this machine alone; start it again for another run on the same one."""

    def __init__(self, folder: Path, *, settings: str = "") -> None:
        super().__init__(folder, "none")
        self.data = folder / "hub"
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.console_port, self.localhost_port, self.device_port, self.mqtt_port = free_ports(4)
        (self.data / "hub.toml").write_text(
            f"""{settings}
[listen]
address = "127.0.0.1"
console_port = {self.console_port}
localhost_port = {self.localhost_port}
device_port = {self.device_port}
mqtt_ports = [{self.mqtt_port}]

[media]
min_free = "0"
"""
        )
        self._command = [sys.executable, "-m", "pinthesky.hub", "--data", str(self.data)]

    def client(self, camera: Camera) -> MqttClient:
        """An MQTT client of a camera; `connect` it."""
        return MqttClient(CameraSide(camera, self.mqtt_port), camera.thing)


@dataclass(frozen=True)
class Camera:
    """A camera's name and its files."""

    thing: ThingName
    pair: KeyPair
    root: Path

    def tls(self) -> ssl.SSLContext:
        """TLS as this camera."""
        context = ssl.create_default_context(cafile=str(self.root))
        context.load_cert_chain(self.pair.cert, self.pair.key)
        return context


class CameraSide:
    """What `MqttClient` asks of a broker, for one camera of a hub."""

    def __init__(self, camera: Camera, port: int) -> None:
        self.host = HOST
        self.port = port
        self.ca = camera.root
        self._camera = camera

    def issue(self, _name: str) -> KeyPair:
        """The camera's own files."""
        return self._camera.pair


def add_camera(data: Path, name: str, folder: Path) -> Camera:
    """Make a camera known to the hub on `data`, whether it runs or not; its files go below `folder`."""
    with closing(Foundation.lay(data)) as foundation:
        return new_camera(foundation, name, folder)


def new_camera(foundation: Foundation, name: str, folder: Path) -> Camera:
    """The same on a foundation that is open."""
    thing = ThingName(name)
    identity = foundation.authority.issue(thing)
    foundation.registry.add(thing)
    foundation.registry.register_certificate(thing, identity.certificate_der)
    folder.mkdir(parents=True)
    pair = KeyPair(folder / "certificate.pem", folder / "private.key")
    pair.cert.write_bytes(identity.certificate_pem)
    pair.key.write_bytes(identity.key_pem)
    return Camera(thing, pair, foundation.authority.root_certificate)


def try_connect(camera: Camera, port: int, session: Any = None) -> tuple[bool, Any]:
    """Connect as a camera by the bare protocol: whether the broker takes it, and the TLS session to resume."""
    context = getattr(session, "context", None) or camera.tls()
    try:
        with (
            socket.create_connection((HOST, port), 5.0) as plain,
            context.wrap_socket(plain, server_hostname=HOST, session=getattr(session, "session", None)) as connection,
        ):
            connection.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc")
            taken = re.fullmatch(rb"\x20\x02.\x00", connection.recv(4), re.DOTALL) is not None
            held = Session(context, connection.session)
            connection.sendall(b"\xe0\x00")
            return taken, held
    except (ssl.SSLError, ConnectionError):
        return False, None


@dataclass(frozen=True)
class Session:
    """A TLS session and the context it belongs to."""

    context: ssl.SSLContext
    session: ssl.SSLSession | None
