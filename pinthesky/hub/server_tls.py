"""TLS of the hub's ports: which certificate whom is shown, and that it is a good one for as long as the hub runs."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from pinthesky.errors import InvalidInput
from pinthesky.hub.authority import Authority
from pinthesky.hub.host_names import ALWAYS, own_names
from pinthesky.hub.settings import HubSettings
from pinthesky.machine.permanent_thread import Crash, PermanentThread

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 300.0


class ServerTls:
    """The contexts of both HTTPS ports. New files reach connections that are made after `refresh`."""

    def __init__(self, authority: Authority, settings: HubSettings) -> None:
        """Makes the server's certificate. Raises InvalidInput for files of the owner that cannot be used."""
        self._authority = authority
        self._names = settings.listen.names
        self._own = (Path(settings.tls.certificate_file), Path(settings.tls.key_file))
        self._has_own = bool(settings.tls.certificate_file)
        self._own_state: tuple[int, ...] = ()
        authority.ensure_server_certificate(own_names(self._names))
        self.device = _context()
        # Asked of everybody and demanded of nobody: what needs one says so itself, and looks it up in the registry.
        self.device.verify_mode = ssl.CERT_OPTIONAL
        self.device.load_verify_locations(cafile=authority.root_certificate)
        self._ours = _context()
        self.console = self._ours
        self._load_ours()
        if self._has_own:
            self.console = _context()
            self._load_own()
            self.console.sni_callback = self._choose

    def refresh(self) -> bool:
        """Renew what is near its end or names too little, and read what the owner has renewed.

        True where MQTT has to read the server's certificate anew. Raises InvalidInput where the owner's files cannot
        be used; the ones before stay in use.
        """
        renewed = self._authority.ensure_server_certificate(own_names(self._names))
        if renewed:
            logger.info("The server certificate is renewed")
            self._load_ours()
        if self._has_own and self._state_of_own() != self._own_state:
            self._load_own()
            logger.info("The console's certificate %s is read anew", self._own[0])
        return renewed

    def _load_ours(self) -> None:
        for context in (self.device, self._ours):
            context.load_cert_chain(self._authority.server_certificate, self._authority.server_key)

    def _load_own(self) -> None:
        certificate, key = self._own
        self._own_state = self._state_of_own()
        try:
            # First into a context of nobody: a pair that does not fit must not be half in use.
            for context in (_context(), self.console):
                context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput("tls.certificate_file", f"cannot use {certificate} with {key}: {error}") from error

    def _state_of_own(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._own)
        except OSError:
            return ()

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """The owner's certificate does not speak for localhost, ours does."""
        if name in ALWAYS:
            connection.context = self._ours


class CertificateWatch(PermanentThread):
    """Looks after the certificates while the hub runs; `on_renewed` is called when the server has a new one."""

    def __init__(
        self, tls: ServerTls, on_renewed: Callable[[], None], on_crash: Crash, *, every_s: float = LOOK_EVERY_S
    ) -> None:
        super().__init__("certificates", on_crash)
        self._tls = tls
        self._on_renewed = on_renewed
        self._every_s = every_s
        self._wake = threading.Event()
        self._complaint = ""

    def wake(self) -> None:
        """See PermanentThread."""
        self._wake.set()

    def step(self) -> None:
        """See PermanentThread."""
        self._wake.wait(self._every_s)
        self._wake.clear()
        if self.stopping:
            return
        try:
            if self._tls.refresh():
                self._on_renewed()
            self._complaint = ""
        except (InvalidInput, OSError) as error:
            # A full disk or an unreadable file: what is in use goes on, and the next look may succeed.
            if str(error) != self._complaint:
                logger.error("Certificates cannot be renewed: %s", error)
            self._complaint = str(error)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
