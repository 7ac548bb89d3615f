"""The folder that a new camera is given: its identity, and the settings of device client and daemon, ready to use."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pinthesky.errors import InvalidInput
from pinthesky.hub.authority import Identity
from pinthesky.hub.ports import MEDIA_BUCKET, REGION, ROLE_ALIAS
from pinthesky.hub.settings import is_address
from pinthesky.machine.durable_files import sync_file, sync_folder
from pinthesky.model.identifiers import SHADOW_NAME, ThingName, command_topic, event_topic

CLIENT_FILE = "device-client.json"
DAEMON_FILE = "pinthesky.env"
CLIENTS = {"python": "pits-device-client", "cpp": "aws-iot-device-client"}
"""Which device client the folder is for, and its program."""
CPP_DIALS = 443
"""The only port that aws-iot-device-client knows."""
HANDLER_DIRECTORY = "/opt/pinthesky/jobs"
"""Where an installation on a camera has the handlers of jobs (docs/reference/admin.md)."""
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/:@+-]{0,200}")


@dataclass(frozen=True)
class HubAddress:
    """Where a camera finds the hub."""

    host: str
    mqtt_port: int
    device_port: int

    @property
    def device_endpoint(self) -> str:
        """`host:port` of credentials, objects and connections."""
        host = f"[{self.host}]" if is_address(self.host) and ":" in self.host else self.host
        return f"{host}:{self.device_port}"


@dataclass(frozen=True)
class CameraFolder:
    """The folder at `path`, which will lie at `place` on the camera's machine, for one of CLIENTS.

    With ours the daemon speaks by a queue of events, with the other one by the slot that it knows. Modes are those that
    aws-iot-device-client insists on; they survive `scp -p`.
    """

    path: Path
    place: Path
    client: str

    @classmethod
    def plan(cls, path: Path, place: Path | None, client: str) -> CameraFolder:
        """Check that the folder can be made. Raises InvalidInput."""
        path = Path(os.path.abspath(path))  # noqa: PTH100 - a link stays the name the owner gave
        place = path if place is None else place
        for flag, given in (("--to", path), ("--at", place)):
            if _PLAIN_PATH.fullmatch(str(given)) is None:
                raise InvalidInput(
                    flag, f"must be an absolute path of letters, digits and ._/:@+- (no spaces), got {str(given)!r}"
                )
        if path.exists():
            raise InvalidInput("--to", f"{path} exists already")
        if not path.parent.is_dir():
            raise InvalidInput("--to", f"there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise InvalidInput("--to", f"cannot write into {path.parent}")
        return cls(path, place, client)

    @property
    def commands(self) -> tuple[str, str]:
        """What to run on the camera's machine: the daemon, then the device client."""
        return (
            f". {self.place / DAEMON_FILE} && pinthesky $PINTHESKY_FLAGS",
            f"{CLIENTS[self.client]} --config-file {self.place / CLIENT_FILE}",
        )

    def write(self, thing: ThingName, identity: Identity, root_pem: bytes, *, hub: HubAddress) -> Path:
        """Write everything beside the place, durably. Returns where; `publish` gives it its name."""
        made = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        for name, mode in (("certificates", 0o700), ("files", 0o745), ("state", 0o700)):
            (made / name).mkdir()
            (made / name).chmod(mode)
        for name, data, mode in (
            ("certificates/private.key", identity.key_pem, 0o600),
            ("certificates/certificate.pem", identity.certificate_pem, 0o644),
            ("certificates/root-ca.pem", root_pem, 0o644),
            (CLIENT_FILE, msgspec.json.format(msgspec.json.encode(self._client(thing, hub))) + b"\n", 0o640),
            (DAEMON_FILE, self._daemon(thing, hub).encode(), 0o640),
        ):
            path = made / name
            path.touch(mode=0o600)
            path.write_bytes(data)
            path.chmod(mode)
            sync_file(path)
        for folder in (made / "certificates", made):
            sync_folder(folder)
        made.chmod(0o745)
        return made

    def publish(self, made: Path) -> None:
        """Give what was written its name."""
        made.replace(self.path)
        sync_folder(self.path.parent)

    @property
    def _for_ours(self) -> bool:
        return self.client == "python"

    @property
    def _events(self) -> Path:
        """Where the daemon leaves events for the device client: a folder, or the slot."""
        return self.place / "files" / ("event-queue" if self._for_ours else "event-output.json")

    def _client(self, thing: ThingName, hub: HubAddress) -> dict[str, object]:
        certificates, files = self.place / "certificates", self.place / "files"
        ours = {"port": hub.mqtt_port, "state-directory": str(self.place / "state")} if self._for_ours else {}
        return {
            "endpoint": hub.host,
            **ours,
            "cert": str(certificates / "certificate.pem"),
            "key": str(certificates / "private.key"),
            "root-ca": str(certificates / "root-ca.pem"),
            "thing-name": str(thing),
            "logging": {"level": "INFO", "type": "STDOUT"},
            "jobs": {"enabled": True, "handler-directory": HANDLER_DIRECTORY},
            "tunneling": {"enabled": False},
            "device-defender": {"enabled": False},
            "samples": {
                "pub-sub": {
                    "enabled": True,
                    "publish-topic": event_topic(thing),
                    "publish-queue" if self._for_ours else "publish-file": str(self._events),
                    "publish-on-change": True,
                    "subscribe-topic": command_topic(thing),
                    "subscribe-file": str(files / "event-input.json"),
                }
            },
            "sample-shadow": {
                "enabled": True,
                "shadow-name": SHADOW_NAME,
                "shadow-input-file": str(files / "configure-input.json"),
                "shadow-output-file": str(files / "configure-output.json"),
            },
        }

    def _daemon(self, thing: ThingName, hub: HubAddress) -> str:
        certificates, files = self.place / "certificates", self.place / "files"
        root = certificates / "root-ca.pem"
        flags = {
            "thing-name": thing,
            "thing-cert": certificates / "certificate.pem",
            "thing-key": certificates / "private.key",
            "ca-cert": root,
            "ca-bundle": root,
            "credentials-endpoint": hub.device_endpoint,
            "role-alias": ROLE_ALIAS,
            "s3-endpoint": f"https://{hub.device_endpoint}",
            "bucket-name": MEDIA_BUCKET,
            "dataplane-endpoint": f"https://{hub.device_endpoint}",
            "dataplane-region": REGION,
            "event-input": files / "event-input.json",
            "event-queue" if self._for_ours else "event-output": self._events,
            "configure-input": files / "configure-input.json",
            "configure-output": files / "configure-output.json",
            "state-dir": self.place / "state",
            "rotation": 0,
        }
        words = ["--dataplane", *(f"--{name} {value}" for name, value in flags.items())]
        return (
            "# Flags of the daemon, for a shell (`. FILE && pinthesky $PINTHESKY_FLAGS`) and for systemd "
            f'(EnvironmentFile).\nPINTHESKY_FLAGS="{" ".join(words)}"\n'
        )
