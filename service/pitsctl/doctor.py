"""`pitsctl doctor`: a running camera from end to end, seen from here and from the camera itself.

What needs the device's own key, clock and files is looked at there, by `pinthesky-doctor` as the camera's user; what
needs root (the services) and what can be said without it (the machine) is looked at from here.
"""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from typing import TextIO

import msgspec

from pinthesky.errors import NotAuthorized, PinTheSkyError
from pinthesky.model.findings import Finding, Findings, State, found
from pinthesky.model.versions import is_version, order_of
from pinthesky.version import __version__
from pitsctl import places
from pitsctl.facts import Facts
from pitsctl.ledger import Ledger
from pitsctl.machine import Machine
from pitsctl.services_state import ServiceState, services_of

PROGRAM = places.CURRENT / "bin" / "pinthesky-doctor"
TIMEOUT_S = 300.0
"""The first Zero takes a minute to load what fetches credentials and stores."""
LEAST_FREE_MB = 512
_MARKS: dict[State, str] = {"ok": "ok", "warning": "look", "failed": "FAIL", "skipped": "-"}


def run(machine: Machine, ledger: Ledger, facts: Facts, *, json: bool, out: TextIO) -> int:
    """Look, print a table or one JSON object, and return the exit code: 0 nothing has failed, 1 something has."""
    shown: list[Finding] = []
    try:
        for finding in findings_of(machine, ledger, facts):
            shown.append(finding)
            if not json:
                out.write(line_of(finding))
                out.flush()
    except PinTheSkyError as error:
        advice = "Is the machine switched on, and in this network? `ssh` to it says more."
        if isinstance(error, NotAuthorized):
            advice = "Root is needed: give sudo's password when you are asked, or see `pitsctl doctor --help`."
        shown.append(found("connection", "failed", str(error), advice=advice))
        if not json:
            out.write(line_of(shown[-1]))
    failed = [finding for finding in shown if finding.state == "failed"]
    if json:
        document = {"machine": machine.name, "well": not failed, "findings": msgspec.to_builtins(shown)}
        out.write(json_format.dumps(document, ensure_ascii=False) + "\n")
    else:
        warnings = sum(finding.state == "warning" for finding in shown)
        verdict = f"{len(failed)} failed" if failed else "nothing has failed"
        out.write(f"\n{machine.name}: {verdict}" + (f", {warnings} to look at\n" if warnings else "\n"))
    return 1 if failed else 0


def findings_of(machine: Machine, ledger: Ledger, facts: Facts) -> Iterator[Finding]:
    """Each finding when it is there. Raises what the machine raises."""
    if not facts.installed and not facts.current:
        advice = "`pitsctl install` sets the camera up."
        yield found("installation", "failed", f"nothing is installed on {machine.name}", advice=advice)
        yield from _machine_alone(facts)
        return
    for service in services_of(machine):
        yield service_finding(service)
    told = _self_test(machine)
    if isinstance(told, Finding):
        yield told
        yield from _machine_alone(facts)
        return
    yield version_finding(told.version)
    home = ledger.home
    if home is not None:
        yield found("home", "ok", f"{home.thing_name} at {home.address or f'AWS, {home.region}'}")
    yield from told.findings


def _self_test(machine: Machine) -> Findings | Finding:
    words = ("runuser", "-u", places.USER, "--", str(PROGRAM), "--json")
    ran = machine.run(*words, root=True, timeout_s=TIMEOUT_S)
    try:
        return msgspec.json.decode(ran.out, type=Findings)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        said = (ran.error or ran.out).strip().splitlines()
        what = f"{PROGRAM} does not run: {said[-1][:200] if said else f'exit code {ran.code}'}"
        advice = "The installation is older than this pitsctl, or broken: `pitsctl update`, or `pitsctl install` again."
        return found("self-test", "failed", what, advice=advice)


def _machine_alone(facts: Facts) -> Iterator[Finding]:
    """What can be said without anything of ours on the machine."""
    if facts.clock_synced is not None:
        synced = facts.clock_synced
        advice = "" if synced else "Look at `timedatectl`: a time server has to be reachable (UDP 123)."
        yield found(
            "clock", "ok" if synced else "warning", "synchronised" if synced else "not synchronised", advice=advice
        )
    room: State = "ok" if facts.disk_free_mb >= LEAST_FREE_MB else "failed"
    advice = "" if room == "ok" else "Make room, or use a larger card: `sudo du -xh / | sort -h | tail`."
    yield found("disk", room, f"{facts.disk_free_mb} MB free", advice=advice)
    if facts.throttled:
        advice = "A stronger power supply and a shorter cable help with voltage, a heat sink with temperature."
        is_now = any(word.endswith(" now") for word in facts.throttled)
        yield found("power", "failed" if is_now else "warning", ", ".join(sorted(facts.throttled)), advice=advice)


def service_finding(service: ServiceState) -> Finding:
    """What is to be thought of a service."""
    check = f"service {service.name}"
    logs = f"`pitsctl logs {service.name}` says why; `sudo systemctl start {service.name}` starts it."
    if not service.is_there:
        return found(check, "failed", "its unit is not there", advice="`pitsctl install` puts it in place.")
    if service.active == "active":
        if service.restarts > 3:
            return found(check, "warning", f"runs, started anew {service.restarts} times since the boot", advice=logs)
        return found(check, "ok", "runs")
    if service.active == "activating":
        return found(check, "warning", f"is starting ({service.sub})", advice=logs)
    reason = "" if service.result in ("", "success") else f" ({service.result})"
    return found(check, "failed", f"does not run: {service.active}{reason}", advice=logs)


def version_finding(installed: str) -> Finding:
    """How the camera's version stands to the one that pitsctl brings."""
    if not is_version(installed) or order_of(installed) < order_of(__version__):
        return found("version", "warning", f"{installed}; this pitsctl brings {__version__}", advice="`pitsctl update`")
    return found("version", "ok", installed)


def line_of(finding: Finding) -> str:
    """A finding for a terminal: a line, and what to do on a second one."""
    advice = f"\n       → {finding.advice}" if finding.advice and finding.state in ("failed", "warning") else ""
    return f"{_MARKS[finding.state]:>4}   {finding.check}: {finding.what}{advice}\n"
