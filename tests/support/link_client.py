"""The device client's configuration for a broker of the tests, and the client as a child process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pinthesky.link.configuration import Configuration, load
from tests.support.broker import Broker
from tests.support.daemon_process import DaemonProcess


class ThingFolder:
    """What an installer would have made for a thing: identity, configuration and files, with the modes they must have.

    `files` is the folder of the four files and of the event queue.
    """

    def __init__(self, folder: Path, broker: Broker, thing: str = "garden") -> None:
        self.thing = thing
        self.broker = broker
        self.folder = folder
        self.identity = folder / "identity"
        self.files = folder / "files"
        self.queue = self.files / "queue"
        self.state = folder / "client-state"
        self.event_input = self.files / "event-input.json"
        self.event_output = self.files / "event-output.json"
        self.configure_input = self.files / "configure-input.json"
        self.configure_output = self.files / "configure-output.json"
        for made, mode in ((folder, 0o745), (self.identity, 0o700), (self.files, 0o745), (self.state, 0o700)):
            made.mkdir(parents=True, exist_ok=True)
            made.chmod(mode)
        pair = broker.issue(thing)
        self.cert, self.key, self.ca = (self.identity / name for name in ("cert.pem", "key.pem", "ca.pem"))
        for source, target, mode in (
            (pair.cert, self.cert, 0o644),
            (pair.key, self.key, 0o600),
            (broker.ca, self.ca, 0o644),
        ):
            target.write_bytes(source.read_bytes())
            target.chmod(mode)
        self.document: dict[str, Any] = {
            "endpoint": broker.host,
            "port": broker.port,
            "cert": str(self.cert),
            "key": str(self.key),
            "root-ca": str(self.ca),
            "thing-name": thing,
            "state-directory": str(self.state),
            "logging": {"level": "DEBUG"},
            "jobs": {"enabled": False},
            "samples": {
                "pub-sub": {
                    "enabled": True,
                    "publish-topic": f"pinthesky/events/{thing}/output",
                    "publish-file": str(self.event_output),
                    "subscribe-topic": f"pinthesky/events/{thing}/input",
                    "subscribe-file": str(self.event_input),
                }
            },
            "sample-shadow": {
                "enabled": True,
                "shadow-name": "pinthesky",
                "shadow-input-file": str(self.configure_input),
                "shadow-output-file": str(self.configure_output),
            },
        }
        self.configuration_file = folder / "client.conf"

    def use_queue(self) -> None:
        """Have events in the queue's folder instead of the publish file."""
        self.document["samples"]["pub-sub"]["publish-queue"] = str(self.queue)

    def write(self) -> Path:
        """Write the configuration file."""
        self.configuration_file.write_text(json.dumps(self.document))
        self.configuration_file.chmod(0o640)
        return self.configuration_file

    def configuration(self) -> Configuration:
        """The configuration as the client reads it."""
        configuration, findings = load(["--config-file", str(self.write())], {})
        assert configuration is not None, findings.errors
        return configuration


class ClientProcess(DaemonProcess):
    """The device client as systemd would run it."""

    def __init__(self, thing: ThingFolder, *flags: str) -> None:
        super().__init__(thing.folder, "none")
        thing.write()
        module = [sys.executable, "-m", "pinthesky.link", "--config-file", str(thing.configuration_file)]
        self._command = [*module, *flags]


def daemon_of(thing: ThingFolder, camera: str, *flags: str) -> DaemonProcess:
    """The daemon on the files of a thing."""
    return DaemonProcess(thing.folder, camera, "--state-dir", str(thing.folder / "state"), *flags)
