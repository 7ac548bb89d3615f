"""What is installed here: the daemon's flags and the device client's configuration, as the units read them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple, Optional

from pinthesky.errors import InvalidInput

DAEMON_FILE = Path("/etc/pinthesky/pinthesky.env")
CLIENT_FILE = Path("/etc/pinthesky/device-client.json")
FLAGS = "PINTHESKY_FLAGS"
FILE_MAX = 64 * 1024
MQTT_PORT = 443


class ClientFiles(NamedTuple):
    """What the self-test has to know of the device client, whichever it is."""

    endpoint: str
    port: int
    cert: Path
    key: Path
    root_ca: Optional[Path]
    queue: Optional[Path]
    """The folder of events; None with a client that knows only the slot."""
    shadow_input: Optional[Path]
    shadow_output: Optional[Path]


def environment_in(path: Path) -> dict[str, str]:
    """The variables in a file as systemd reads it (EnvironmentFile=). Raises InvalidInput."""
    found: dict[str, str] = {}
    lines = _read(path).replace("\\\n", "").splitlines()
    for line in lines:
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        name, equals, value = line.strip().partition("=")
        if not equals:
            continue  # systemd passes over it too
        try:
            parts = shlex.split(value)
        except ValueError as error:
            raise InvalidInput(str(path), f"{name}: {error}") from error
        found[name.strip()] = " ".join(parts)
    return found


def client_in(path: Path) -> ClientFiles:
    """What the device client is told. Raises InvalidInput that names file and key."""
    try:
        document = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(path), f"is not JSON: {error}") from error
    pub_sub, shadow = _part(document, "samples", "pub-sub"), _part(document, "sample-shadow")
    texts = {key: _text(path, document, key) for key in ("endpoint", "cert", "key")}
    port = document.get("port", MQTT_PORT)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise InvalidInput(str(path), "port: must be a number from 1 to 65535")
    return ClientFiles(
        endpoint=texts["endpoint"],
        port=port,
        cert=Path(texts["cert"]),
        key=Path(texts["key"]),
        root_ca=_path(document.get("root-ca")),
        queue=_path(pub_sub.get("publish-queue")),
        shadow_input=_path(shadow.get("shadow-input-file")),
        shadow_output=_path(shadow.get("shadow-output-file")),
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX + 1)
        if len(content) > FILE_MAX:
            raise InvalidInput(str(path), f"must be at most {FILE_MAX} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise InvalidInput(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(str(path), "is not text") from error


def _part(document: Any, *names: str) -> dict[str, Any]:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _text(path: Path, document: Any, key: str) -> str:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise InvalidInput(str(path), f"{key}: must be there, and a text")
    return value


def _path(value: object) -> Optional[Path]:
    return Path(value) if isinstance(value, str) and value else None
