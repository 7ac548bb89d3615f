"""Where this device may send anything: what the flags say, and what `--allow-destination` adds.

A shadow or a command may choose among these, and name nothing else: who can edit a shadow must not be able to have
the clips sent to a bucket of his own, or signed requests to an address of his own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional
from urllib.parse import urlsplit

from pinthesky.errors import InvalidInput
from pinthesky.model.settings import DeviceSettings, Section

FLAG = "--allow-destination"
KINDS = ("bucket", "prefix", "endpoint", "region", "log-group")
FIELDS: Mapping[str, Mapping[str, str]] = {
    "storage": {"bucket_name": "bucket", "video_prefix": "prefix", "image_prefix": "prefix"},
    "cloudwatch": {"log_group_name": "log-group", "region_name": "region"},
    "dataplane": {"endpoint_url": "endpoint", "region_name": "region"},
}
"""Which fields of which sections are destinations, and of which kind."""
_DEFAULT_PORTS = {"https": 443, "http": 80}


class _Host(NamedTuple):
    """Host and port of an address. `scheme` is None where an allowed destination names none."""

    scheme: Optional[str]
    name: str
    port: int


class AllowedDestinations:
    """Fixed when the daemon starts. `extra` holds `kind=value` with a kind of KINDS.

    An endpoint is `host`, `host:port` or an address, of which host and port count: the path is the data plane's own.
    """

    def __init__(self, installed: DeviceSettings, extra: Iterable[str] = ()) -> None:
        self._values: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self._hosts: set[_Host] = set()
        for section, fields in FIELDS.items():
            for field, kind in fields.items():
                value = getattr(getattr(installed, section), field)
                if value is not None:
                    self._allow(kind, value)
        for text in extra:
            kind, _, value = text.partition("=")
            if kind not in KINDS or not value:
                raise InvalidInput(FLAG, f"must be KIND=VALUE with KIND one of {', '.join(KINDS)}, got {text[:60]!r}")
            self._allow(kind, value)

    def check(self, name: str, section: Section) -> None:
        """Raise InvalidInput, with the field, if section `name` leads anywhere that is not allowed."""
        for field, kind in FIELDS.get(name, {}).items():
            value = getattr(section, field)
            if value is not None and not self._allows(kind, value):
                raise InvalidInput(f"{name}.{field}", f"is not an allowed destination: {value[:60]}")

    def allows_endpoint(self, url: Optional[str]) -> bool:
        """Whether requests may go to `url`: host and port exactly as allowed, by https.

        By http only to this machine itself, or where the allowed destination says http.
        """
        host = _host_of(url or "")
        if host is None or host.scheme is None:
            return False
        if host in self._hosts or (host.scheme == "https" and host._replace(scheme=None) in self._hosts):
            return True
        others = {host._replace(scheme=None), host._replace(scheme="https")}
        return host.scheme == "http" and _is_loopback(host.name) and not others.isdisjoint(self._hosts)

    def _allows(self, kind: str, value: str) -> bool:
        return self.allows_endpoint(value) if kind == "endpoint" else value in self._values[kind]

    def _allow(self, kind: str, value: str) -> None:
        if kind != "endpoint":
            self._values[kind].add(value)
            return
        host = _host_of(value)
        if host is None:
            raise InvalidInput(FLAG, f"an endpoint must be host, host:port or an http(s) address, got {value[:60]!r}")
        self._hosts.add(host)


def _host_of(address: str) -> Optional[_Host]:
    """Host and port of an address, or of a bare `host[:port]`; None for anything that could be read in two ways."""
    if not address.isascii() or not address.isprintable() or any(character in address for character in " \\@?#"):
        return None
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.scheme not in ("", *_DEFAULT_PORTS):
        return None
    scheme = parts.scheme or None
    return _Host(scheme, name.rstrip("."), _DEFAULT_PORTS[scheme or "https"] if port is None else port)


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
