"""What goes from the daemon through the device client to the broker and back, on the connection that is there.

No connection is made for it: a second one with the thing's name would end the first. What is sent is what the daemon
would send: a health report, and once more what it has reported already.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from pinthesky.machine import durable_files
from pinthesky.model.event_queue import EventFile, parse_event_file
from pinthesky.model.events import HealthEnd, encode
from pinthesky.model.findings import Finding, found
from pinthesky.model.identifiers import ThingName

ANSWER_S = 15.0
_LOOK_EVERY_S = 0.05
_FILE_MAX = 512 * 1024
_CLIENT = "`systemctl status pits-device-client` and `journalctl -u pits-device-client -n 50` say more."
_T = TypeVar("_T")


def ask_daemon(event_input: Path, state: Path, timeout_s: float = ANSWER_S) -> Optional[Mapping[str, Any]]:
    """Have the daemon report its health, as a command from the cloud would; None: it does not answer."""
    capture_id = f"doctor-{secrets.token_hex(8)}"
    command = json.dumps({"name": "health", "context": {"capture_id": capture_id}}).encode()
    try:
        descriptor = os.open(event_input, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, command)
        finally:
            os.close(descriptor)
    except OSError:
        return None

    def answered() -> Optional[Mapping[str, Any]]:
        report = last_report(state)
        return report if report is not None and report.get("capture_id") == capture_id else None

    return _until(answered, timeout_s)


def last_report(state: Path) -> Optional[Mapping[str, Any]]:
    """The daemon's last health report in its state folder: `capture_id`, `timestamp`, `report`; None: there is none."""
    document = _document(state / "health.json")
    return document if document is not None and isinstance(document.get("report"), dict) else None


def publish(
    queue: Optional[Path], thing: ThingName, report: Mapping[str, Any], *, timeout_s: float = ANSWER_S
) -> Finding:
    """Have the device client publish a health report, and wait for the broker's acknowledgement."""
    check = "MQTT publish"
    if queue is None:
        return found(check, "skipped", "aws-iot-device-client does not tell what the broker has acknowledged")
    try:
        there = [file for file in map(parse_event_file, durable_files.names_in(queue)) if file is not None]
        sequence = max((file.sequence for file in there), default=0) + 1
        path = queue / EventFile(False, sequence, secrets.token_hex(4)).name
        temporary = queue / f".{path.name}.new"
        event = HealthEnd(thing_name=thing, timestamp=_now(), capture_id="doctor", report=dict(report))
        temporary.write_bytes(encode(event))
        temporary.chmod(0o600)
        durable_files.move(temporary, path)
    except OSError as error:
        return found(check, "failed", f"cannot write to {queue}: {error.strerror}", advice="Is the disk full?")
    try:
        began_s = time.monotonic()
        if _until(lambda: None if path.exists() else True, timeout_s):
            took_ms = 1000 * (time.monotonic() - began_s)
            return found(check, "ok", f"acknowledged by the broker after {took_ms:.0f} ms")
    finally:
        durable_files.remove(path)
    waiting = f", and {len(there)} more wait" if there else ""
    return found(check, "failed", f"not acknowledged within {timeout_s:.0f} s{waiting}", advice=_CLIENT)


def shadow(shadow_input: Optional[Path], shadow_output: Optional[Path], timeout_s: float = ANSWER_S) -> Finding:
    """Have what is reported go out once more, and wait for the document that the cloud makes of it."""
    check = "shadow round trip"
    if shadow_input is None or shadow_output is None:
        return found(check, "skipped", "the device client is not told to keep a shadow")
    if _document(shadow_input) is None:
        return found(check, "skipped", "the daemon has reported nothing yet")
    before = _version(shadow_output)
    try:
        # The first byte of a JSON object is what it was: the client sees a write, and nobody another content.
        descriptor = os.open(shadow_input, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, b"{", 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        return found(check, "failed", f"cannot write to {shadow_input}: {error.strerror}", advice="Is the disk full?")

    def came() -> Optional[int]:
        version = _version(shadow_output)
        return version if version is not None and version != before else None

    version = _until(came, timeout_s)
    if version is None:
        return found(check, "failed", f"no new document within {timeout_s:.0f} s (version {before})", advice=_CLIENT)
    return found(check, "ok", f"version {version} came back")


def mode_in(shadow_input: Optional[Path]) -> str:
    """The mode that the daemon reports: armed, home, away, privacy; empty where it reports none."""
    document = None if shadow_input is None else _document(shadow_input)
    section = (document or {}).get("mode")
    return str(section.get("mode", "")) if isinstance(section, dict) else ""


def _version(path: Path) -> Optional[int]:
    current = (_document(path) or {}).get("current")
    version = current.get("version") if isinstance(current, dict) else None
    return version if isinstance(version, int) else None


def _document(path: Path) -> Optional[dict[str, Any]]:
    """The JSON object in a file; None for anything else, such as one that is being written."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_FILE_MAX))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _until(look: Callable[[], Optional[_T]], timeout_s: float) -> Optional[_T]:
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen is not None or time.monotonic() > deadline:
            return seen
        time.sleep(_LOOK_EVERY_S)


def _now() -> float:
    return round(time.time(), 3)
