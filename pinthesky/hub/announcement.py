"""Tells the network around where this hub is, by mDNS (DNS-SD, RFC 6763), so that nobody has to type its address.

Who hears of a hub this way has no reason to trust it yet: `pitsctl` shows the fingerprint of its authority, and a
person compares it. An announcement that fails is one line of the log; the hub goes on without it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pinthesky.hub.host_names import own_addresses
from pinthesky.version import __version__

if TYPE_CHECKING:
    from zeroconf import Zeroconf

logger = logging.getLogger(__name__)

SERVICE = "_pits-hub._tcp.local."
_LABEL_MAX = 63


class Announcement:
    """Announces a console's port from `start` to `stop`, in a thread of its own."""

    def __init__(self, *, port: int, authority_sha256: str, addresses: list[str] | None = None) -> None:
        """`addresses` are announced, and are the interfaces that it is told on; without them all of this machine's."""
        self._port = port
        self._authority_sha256 = authority_sha256
        self._only = addresses
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcement", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Take the announcement back. False where that did not end in time."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # zeroconf is a part of the extra `hub` that a system's own packages may lack; it takes 0.2 s to load.
        try:
            from zeroconf import Error, Zeroconf  # noqa: PLC0415 - see above
        except ImportError:
            logger.info("The hub is not announced in the network: the Python package zeroconf is not installed")
            return
        try:
            channel = Zeroconf() if self._only is None else Zeroconf(interfaces=self._only)
        except OSError as error:
            logger.info("The hub is not announced in the network: %s", error.strerror or error)
            return
        try:
            self._announce(channel)
        except (Error, OSError, TimeoutError) as error:
            logger.info("The hub is not announced in the network: %s", str(error) or type(error).__name__)
        finally:
            # It says goodbye, so lists do not go on showing a hub that is gone.
            with suppress(Error, OSError, TimeoutError):
                channel.close()

    def _announce(self, channel: Zeroconf) -> None:
        from zeroconf import ServiceInfo  # noqa: PLC0415 - loaded by the caller

        host = socket.gethostname().partition(".")[0] or "hub"
        info = ServiceInfo(
            SERVICE,
            f"{f'Pi In The Sky on {host}'[:_LABEL_MAX]}.{SERVICE}",
            port=self._port,
            server=f"{host}.local.",
            parsed_addresses=self._only or own_addresses(),
            properties={"version": __version__, "authority": self._authority_sha256},
        )
        channel.register_service(info, allow_name_change=True)
        logger.info("The hub is announced in the network as %s", info.name.removesuffix(f".{SERVICE}"))
        self._stopping.wait()


def is_for_others(address: str) -> bool:
    """Whether somebody else could come to a hub that listens on `address`; empty: on all."""
    return not (address and ipaddress.ip_address(address).is_loopback)
