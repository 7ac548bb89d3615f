"""Finds hubs that announce themselves in this network by mDNS (`pinthesky.hub.announcement`).

Anybody in the network can announce anything: what is found here is an address to ask, and no reason to trust it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from zeroconf import Error, ServiceBrowser, ServiceListener, Zeroconf

SERVICE = "_pits-hub._tcp.local."
HUBS_MAX = 50
_ANSWER_MS = 2000


@dataclass(frozen=True)
class FoundHub:
    """A hub that announces itself. `authority_sha256` is what it says of itself: 64 digits, or empty."""

    name: str
    address: str
    authority_sha256: str


class _Names(ServiceListener):
    """Keeps the names that are heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.news = threading.Event()

    def add_service(self, _zc: Zeroconf, _type: str, name: str) -> None:
        if len(self.heard) < HUBS_MAX:
            self.heard.append(name)
        self.news.set()

    def update_service(self, _zc: Zeroconf, _type: str, _name: str) -> None:
        """What has changed is asked for at the end."""

    def remove_service(self, _zc: Zeroconf, _type: str, name: str) -> None:
        if name in self.heard:
            self.heard.remove(name)


def find_hubs(within_s: float = 3.0, *, interfaces: Sequence[str] | None = None) -> list[FoundHub]:
    """The hubs that answer `within_s`, by name; none where mDNS does not work. `interfaces` are addresses of ours."""
    names = _Names()
    try:
        channel = Zeroconf() if interfaces is None else Zeroconf(interfaces=list(interfaces))
    except OSError:
        return []
    try:
        browser = ServiceBrowser(channel, SERVICE, names)
        threading.Event().wait(within_s)
        browser.cancel()
        found = [_asked(channel, name) for name in sorted(names.heard)]
    except (Error, OSError, TimeoutError):
        return []
    finally:
        channel.close()
    return [hub for hub in found if hub is not None]


def _asked(channel: Zeroconf, name: str) -> FoundHub | None:
    info = channel.get_service_info(SERVICE, name, timeout=_ANSWER_MS)
    if info is None or info.port is None:
        return None
    # IPv4 first: addresses of IPv6 that are local to a link do not stand in an address for HTTPS.
    addresses = [each for each in info.parsed_addresses() if not each.lower().startswith("fe80")]
    if not addresses:
        return None
    host = min(addresses, key=lambda each: ":" in each)
    authority = (info.properties.get(b"authority") or b"").decode("ascii", "replace")
    return FoundHub(
        name="".join(letter for letter in name.removesuffix(f".{SERVICE}") if letter.isprintable())[:80],
        address=f"https://{f'[{host}]' if ':' in host else host}:{info.port}",
        authority_sha256=authority if re.fullmatch(r"[0-9a-f]{64}", authority) else "",
    )
