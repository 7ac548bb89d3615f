"""`pitsctl view`: what a camera is told, what it does, and what happened last; read from its own files and journal."""

from __future__ import annotations

import json as json_format
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TextIO

import msgspec

from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.version import __version__
from pitsctl import places
from pitsctl.facts import Facts
from pitsctl.ledger import Ledger
from pitsctl.machine import Machine
from pitsctl.services_state import services_of

EVENTS_MAX = 12
_LINES = 400
_FILE_MAX = 512 * 1024
_HAPPENED = re.compile(r"(Motion began|Clip of event|Stored |Watching |The camera |Nothing of event|.* watches as )")
_WARNING = 4
"""The priority of a warning, as journald counts; what is less is worse."""
_SECTIONS_HIDDEN = ("sync", "cloud_connection")


def run(machine: Machine, ledger: Ledger, facts: Facts, *, json: bool, out: TextIO) -> int:
    """Print it for people, or as one JSON object. Returns the exit code: 1 where the machine cannot be read."""
    try:
        document = looked(machine, ledger, facts)
    except PinTheSkyError as error:
        out.write(json_format.dumps({"error": str(error)}) + "\n" if json else f"{error}\n")
        return 1
    if json:
        out.write(json_format.dumps(document, ensure_ascii=False) + "\n")
    else:
        out.writelines(f"{line}\n" for line in lines_of(document))
    return 0


def looked(machine: Machine, ledger: Ledger, facts: Facts) -> dict[str, Any]:
    """Everything, as one JSON object. Raises what the machine raises."""
    client = _document(machine, places.CLIENT_FILE)
    shadow = client.get("sample-shadow")
    files = shadow if isinstance(shadow, dict) else {}
    desired_in = files.get("shadow-output-file", places.STATE / "configure-output.json")
    current = _at(_document(machine, desired_in), "current", "state")
    reported = _document(machine, files.get("shadow-input-file", places.STATE / "configure-input.json"))
    health = _document(machine, places.STATE / "health.json")
    home = ledger.home
    return {
        "machine": {
            "name": machine.name,
            "model": facts.pi_model,
            "system": f"{facts.os_id} {facts.os_version}".strip(),
            "architecture": facts.architecture,
            "python": facts.python_text,
            "camera": facts.sensor,
            "disk_free_mb": facts.disk_free_mb,
            "clock_synchronised": facts.clock_synced,
            "power": sorted(facts.throttled),
        },
        "versions": {"current": facts.current, "installed": _versions(machine), "pitsctl": __version__},
        "home": {} if home is None else {k: v for k, v in msgspec.to_builtins(home).items() if v not in ("", [], None)},
        "services": {
            service.name: {
                "state": service.active if service.is_there else "not there",
                "since": service.since,
                "restarts": service.restarts,
                "memory_bytes": service.memory_bytes,
            }
            for service in services_of(machine)
        },
        "configuration": _configuration(reported, _at(current, "desired")),
        "state": _at(health, "report"),
        "events": list(_events(machine)),
    }


def _configuration(reported: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """What is in force, what is desired and differs, and what was rejected with its reason."""
    effective = {name: part for name, part in reported.items() if name not in _SECTIONS_HIDDEN}
    differing: dict[str, Any] = {}
    for section, fields in desired.items():
        have = effective.get(section)
        if isinstance(fields, dict):
            other = {k: v for k, v in fields.items() if not isinstance(have, dict) or str(have.get(k)) != str(v)}
            if other:
                differing[section] = other
    return {"effective": effective, "desired": differing, "rejected": _at(reported, "sync", "rejected")}


def _versions(machine: Machine) -> list[str]:
    ran = machine.run("ls", "-1", str(places.OPT), root=True)
    return sorted(name for name in ran.out.split() if name[:1].isdigit()) if ran.code == 0 else []


def _events(machine: Machine) -> Iterator[dict[str, Any]]:
    """The last things that happened, and the last warnings, oldest first."""
    units = ("--unit=pinthesky.service", "--unit=pits-device-client.service")
    fields = "--output-fields=MESSAGE,PRIORITY,__REALTIME_TIMESTAMP"
    ran = machine.run("journalctl", "--no-pager", "--output=json", fields, f"--lines={_LINES}", *units, root=True)
    found = []
    for line in ran.out.splitlines():
        try:
            entry = msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeEncodeError):
            continue
        text = entry.get("MESSAGE") if isinstance(entry, dict) else None
        if not isinstance(text, str):
            continue
        source, colon, message = text.partition(": ")
        priority = str(entry.get("PRIORITY", "6"))
        is_bad = priority.isdigit() and int(priority) <= _WARNING
        if is_bad or (colon and _HAPPENED.match(message)):
            stamp = str(entry.get("__REALTIME_TIMESTAMP", ""))
            at_s = int(stamp) / 1e6 if stamp.isdigit() and len(stamp) < 18 else 0.0
            found.append({"time": at_s, "source": source[:60], "text": message[:300], "warning": is_bad})
    yield from found[-EVENTS_MAX:]


def _document(machine: Machine, path: object) -> dict[str, Any]:
    """The JSON object in a file of the machine; an empty one where there is none, or it is being written."""
    if not isinstance(path, (str, PurePosixPath)) or not str(path).startswith("/"):
        return {}
    try:
        content = machine.read(PurePosixPath(path), root=True, limit=_FILE_MAX)
        document = msgspec.json.decode(content or b"{}")
    except (InvalidInput, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _at(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def lines_of(document: Mapping[str, Any]) -> Iterator[str]:
    """It for a terminal of 80 columns."""
    for title in ("machine", "versions", "home"):
        yield title.capitalize()
        yield from _pairs(document[title] or {"": "none yet"})
    yield "Services"
    for name, service in document["services"].items():
        memory = "" if service["memory_bytes"] is None else f", {service['memory_bytes'] / 1e6:.0f} MB"
        since = f" since {service['since']}" if service["since"] else ""
        restarts = f", started anew {service['restarts']} times" if service["restarts"] else ""
        yield f"  {name:<20} {service['state']}{since}{memory}{restarts}"
    configuration = document["configuration"]
    yield "Configuration"
    for section, fields in configuration["effective"].items():
        yield f"  {section}"
        yield from _pairs(fields if isinstance(fields, dict) else {"": fields}, indent=4)
    for section, fields in configuration["desired"].items():
        for name, value in fields.items():
            yield f"  desired, not in force: {section}.{name} = {_shown(value)}"
    for name, reason in configuration["rejected"].items():
        yield f"  rejected: {name}: {_shown(reason)}"
    yield "State"
    yield from _pairs(document["state"] or {"": "the daemon has reported nothing yet"})
    yield "Last events"
    for event in document["events"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
        yield f"  {when} {'! ' if event['warning'] else ''}{event['text']}"
    if not document["events"]:
        yield "  none in the journal"


def _pairs(fields: Mapping[str, Any], indent: int = 2) -> Iterator[str]:
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            yield f"{' ' * indent}{str(name).replace('_', ' '):<20} {_shown(value)}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json_format.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]
