"""By which names and addresses this machine can be reached."""

from __future__ import annotations

import ipaddress
import logging
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

logger = logging.getLogger(__name__)

ALWAYS = ("localhost", "127.0.0.1", "::1")
_AVAHI = Path("/run/avahi-daemon/socket")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


class _Address(msgspec.Struct, frozen=True):
    """What `ip -json address` says of an address."""

    local: str = ""
    scope: str = ""
    temporary: bool = False
    deprecated: bool = False
    tentative: bool = False


class _Interface(msgspec.Struct, frozen=True):
    addr_info: list[_Address] = []


def own_addresses() -> list[str]:
    """The machine's addresses that others can use, IPv4 first; none where the system does not tell."""
    program = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return []
    try:
        said = subprocess.run(  # noqa: S603 - the system's own program with our arguments
            [program, "-json", "address", "show", "up"], capture_output=True, timeout=5.0, check=True
        ).stdout
        interfaces = msgspec.json.decode(said, type=list[_Interface])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        logger.debug("The system does not tell its addresses: %s", error)
        return []
    usable = {
        ipaddress.ip_address(address.local)
        for interface in interfaces
        for address in interface.addr_info
        # Privacy addresses change every day, and nobody is given one to connect to.
        if address.scope == "global" and not (address.temporary or address.deprecated or address.tentative)
    }
    return [str(address) for address in sorted(usable, key=lambda address: (address.version, int(address)))]


def own_names(further: Iterable[str] = ()) -> list[str]:
    """Every name and address for the server's certificate: those of `further` (settings), then what is found."""
    host = socket.gethostname().partition(".")[0].lower()
    names = [*further]
    full = socket.gethostname().lower()
    if all(_LABEL.fullmatch(label) for label in full.split(".")):
        names += [host, full, f"{host}.local"]
    return list(dict.fromkeys([*names, *ALWAYS, *own_addresses()]))


def name_for_others(further: Iterable[str] = ()) -> str:
    """The one name or address to give to people and cameras: the owner's word, mDNS where it is served, an address."""
    host = socket.gethostname().partition(".")[0].lower()
    for name in further:
        return name
    if _AVAHI.exists() and _LABEL.fullmatch(host):
        return f"{host}.local"
    return next(iter(own_addresses()), "localhost")
