"""Webhooks: an alert as JSON, posted to an address that an owner has named.

The house's own network, and this machine, are where such an address usually is: a home automation, a chat server. So
they are allowed. What is refused is what no home has a webhook on, and a rented machine has its keys on: link-local
addresses, and those that are no single machine's. What the other side answers nobody is told of but the log.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub.outgoing import Address, OutgoingPosts

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]{1,255}(/[\x21-\x7e]{0,1500})?")


class Webhooks:
    """Posts to `https://` and `http://` addresses. Thread-safe."""

    def __init__(self, trusted: ssl.SSLContext | None = None) -> None:
        """`trusted`: whose certificates an address may show; the system's unless given."""
        self._posts = OutgoingPosts(check_address, trusted)

    def check(self, endpoint: str) -> None:
        """Raise InvalidInput for what is no address of a webhook."""
        if _ADDRESS.fullmatch(endpoint) is None:
            raise InvalidInput("endpoint", "must be an https:// or http:// address of at most 1700 characters")
        try:
            parts = urlsplit(endpoint)
            host, _ = parts.hostname or "", parts.port
            self._posts.check_host(host)
        except ValueError as error:
            raise InvalidInput("endpoint", str(error)) from error

    def post(self, address: str, document: Mapping[str, Any]) -> None:
        """Post `document`. Raises Unavailable unless the answer is 2xx in time."""
        status = self._posts.post(address, msgspec.json.encode(document), {"Content-Type": "application/json"})
        if not 200 <= status < 300:
            raise Unavailable(f"the webhook answers {status}")


def check_address(address: Address) -> None:
    """Raise ValueError for an address that no webhook is at."""
    no_machine = address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255"
    if address.is_link_local or no_machine:
        raise ValueError(f"{address} is no address for a webhook")
