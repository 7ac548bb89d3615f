"""How the camera's services are, as systemd says."""

from __future__ import annotations

from dataclasses import dataclass

from pinthesky.errors import Unavailable
from pitsctl.machine import Machine

SERVICES = ("pinthesky", "pits-device-client")
_PROPERTIES = "Id,LoadState,ActiveState,SubState,Result,NRestarts,MemoryCurrent,ActiveEnterTimestamp"


@dataclass(frozen=True)
class ServiceState:
    """One service: `active`, `sub` and `result` in systemd's own words."""

    name: str
    is_there: bool
    active: str
    sub: str
    result: str
    restarts: int
    memory_bytes: int | None
    since: str


def services_of(machine: Machine) -> list[ServiceState]:
    """How they are. Raises Unavailable where there is no systemd to ask, and what the machine raises."""
    units = [f"{name}.service" for name in SERVICES]
    ran = machine.run("systemctl", "show", "--no-pager", f"--property={_PROPERTIES}", *units, root=True)
    if ran.code != 0:
        raise Unavailable(f"{machine.name}: systemctl says nothing: {ran.error.strip()[:200] or ran.code}")
    found = []
    for block in ran.out.strip().split("\n\n"):
        told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        memory, restarts = told.get("MemoryCurrent", ""), told.get("NRestarts", "")
        found.append(
            ServiceState(
                name=told.get("Id", "").removesuffix(".service"),
                is_there=told.get("LoadState") == "loaded",
                active=told.get("ActiveState", ""),
                sub=told.get("SubState", ""),
                result=told.get("Result", ""),
                restarts=int(restarts) if restarts.isdigit() else 0,
                memory_bytes=int(memory) if memory.isdigit() and len(memory) < 16 else None,
                since=told.get("ActiveEnterTimestamp", ""),
            )
        )
    return found
