"""Why there is no connection, in words that say what to mend.

The library tells little about a failed TLS handshake, and late. So the same handshake is made once more with Python's
own TLS, which names the reason; nothing is sent through it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinthesky.errors import InvalidInput
from pinthesky.link.configuration import Configuration

if TYPE_CHECKING:
    import ssl

HANDSHAKE_S = 5.0
ALPN = "x-amzn-mqtt-ca"
"""The protocol's name with which AWS IoT takes MQTT on port 443."""

_SOCKET_ERRORS = {
    "AWS_IO_DNS_QUERY_FAILED": "its name cannot be resolved",
    "AWS_IO_DNS_QUERY_AGAIN": "its name cannot be resolved",
    "AWS_IO_DNS_INVALID_NAME": "its name cannot be resolved",
    "AWS_IO_DNS_NO_ADDRESS_FOR_HOST": "its name cannot be resolved",
    "AWS_IO_SOCKET_CONNECTION_REFUSED": "nothing listens there (connection refused)",
    "AWS_IO_SOCKET_TIMEOUT": "it does not answer",
    "AWS_IO_SOCKET_NO_ROUTE_TO_HOST": "there is no way to it through the network",
    "AWS_IO_SOCKET_NETWORK_DOWN": "the network is down",
    "AWS_ERROR_MQTT5_CONNACK_TIMEOUT": "it takes the connection and does not answer to CONNECT",
}
_CONNACK = {
    "NOT_AUTHORIZED": "the broker does not let this certificate connect as {thing} (not authorized)",
    "BAD_USERNAME_OR_PASSWORD": "the broker does not know this certificate",
    "CLIENT_IDENTIFIER_NOT_VALID": "the broker does not take {thing} as a client id",
    "BANNED": "the broker has banned {thing}",
    "QUOTA_EXCEEDED": "the broker's quota is exceeded",
    "SERVER_BUSY": "the broker is busy",
    "SERVER_UNAVAILABLE": "the broker is not available",
}
# X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_ALERTS = {
    "UNKNOWN_CA": "it does not know who issued our certificate",
    "CERTIFICATE_EXPIRED": "our certificate has expired",
    "CERTIFICATE_REVOKED": "our certificate was revoked",
    "CERTIFICATE_UNKNOWN": "it does not take our certificate",
    "BAD_CERTIFICATE": "it does not take our certificate",
    "ACCESS_DENIED": "it does not take our certificate",
    "CERTIFICATE_REQUIRED": "it does not take our certificate",
    "DECRYPT_ERROR": "our private key does not fit our certificate",
    "NO_APPLICATION_PROTOCOL": "it does not speak MQTT on this port",
}


def refusal_in_words(error: BaseException, connack: Any, thing: str) -> str | None:
    """What an attempt's failure says; None for one in TLS, which `diagnose` has to look into."""
    name = str(getattr(error, "name", ""))
    if connack is not None and connack.reason_code is not None:
        code = connack.reason_code.name
        return _CONNACK.get(code, f"the broker refuses ({code.lower().replace('_', ' ')})").format(thing=thing)
    if name in _SOCKET_ERRORS:
        return _SOCKET_ERRORS[name]
    if "TLS" in name:
        return None
    if name in ("AWS_ERROR_MQTT_UNEXPECTED_HANGUP", "AWS_IO_SOCKET_CLOSED"):
        return f"it ends the connection without a word; may this certificate connect as {thing}?"
    return str(getattr(error, "message", error))


def diagnose(configuration: Configuration, port: int, timeout_s: float = HANDSHAKE_S) -> str | None:
    """Make the handshake once more and say what is wrong with it, or None if nothing is. Takes `timeout_s` or so."""
    import ssl  # noqa: PLC0415 - 4 MB that nobody needs as long as all goes well

    host = configuration.endpoint
    try:
        context = _context(configuration)
        if port == 443:
            context.set_alpn_protocols([ALPN])
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as channel,
        ):
            # Our own certificate is judged after the handshake; a broker without complaint waits for CONNECT.
            with contextlib.suppress(TimeoutError):
                channel.settimeout(min(1.0, timeout_s))
                channel.recv(1)
            return None
    except ssl.SSLCertVerificationError as error:
        return _verification(error, host, configuration.root_ca)
    except ssl.SSLError as error:
        reason = str(error.reason or error)
        return next((text for alert, text in _ALERTS.items() if alert in reason), f"TLS fails: {reason}")
    except socket.gaierror:
        return _SOCKET_ERRORS["AWS_IO_DNS_QUERY_FAILED"]
    except TimeoutError:
        return _SOCKET_ERRORS["AWS_IO_SOCKET_TIMEOUT"]
    except ConnectionRefusedError:
        return _SOCKET_ERRORS["AWS_IO_SOCKET_CONNECTION_REFUSED"]
    except OSError as error:
        return error.strerror or str(error)


def _context(configuration: Configuration) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - as above

    context = ssl.create_default_context(cafile=None if configuration.root_ca is None else str(configuration.root_ca))
    # Newer Pythons are stricter than the broker's other clients, and would blame what is none of the fault.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(configuration.cert, configuration.key, password="")
    return context


def _verification(error: ssl.SSLCertVerificationError, host: str, root_ca: Path | None) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    code = error.verify_code
    if code == _EXPIRED:
        return f"its certificate has expired, by this machine's clock ({now})"
    if code == _NOT_YET_VALID:
        return f"its certificate is not valid yet, by this machine's clock ({now})"
    if code in _OTHER_NAMES:
        return f"its certificate is for another host than {host}"
    if code in _UNKNOWN_AUTHORITY:
        return f"its certificate is not trusted by {root_ca or 'the authorities of this system'} (key root-ca)"
    return f"its certificate is not accepted: {error.verify_message}"


def wrong_identity(configuration: Configuration, error: Exception) -> InvalidInput:
    """What is wrong with certificate, key or authority, when the library cannot use them."""
    import ssl  # noqa: PLC0415 - as above

    for name, path in (("cert", configuration.cert), ("key", configuration.key), ("root-ca", configuration.root_ca)):
        if path is not None:
            try:
                path.read_bytes()
            except OSError as unreadable:
                return InvalidInput(name, f"cannot read {path}: {unreadable.strerror}")
    try:
        ssl.create_default_context(cafile=None if configuration.root_ca is None else str(configuration.root_ca))
    except (OSError, ValueError):
        return InvalidInput("root-ca", f"{configuration.root_ca} holds no certificate in PEM form")
    try:
        _context(configuration)
    except ssl.SSLError as refused:
        if b"ENCRYPTED" in configuration.key.read_bytes():
            return InvalidInput("key", f"{configuration.key} is locked by a password; a device needs a key without one")
        if "MISMATCH" in str(refused.reason):
            return InvalidInput("key", f"{configuration.key} does not belong to the certificate {configuration.cert}")
        return InvalidInput(
            "cert", f"{configuration.cert} and {configuration.key} are no certificate and key in PEM form"
        )
    except (OSError, ValueError) as refused:
        return InvalidInput("key", f"{configuration.key} cannot be used: {refused}")
    return InvalidInput("cert", f"{configuration.cert} and {configuration.key} cannot be used: {error}")


class Doctor:
    """A thread that looks into an attempt which fails or takes long, when it is called, one at a time."""

    def __init__(self, examine: Callable[[], str | None], tell: Callable[[str | None], None]) -> None:
        self._examine = examine
        self._tell = tell
        self._due_at_s: float | None = None
        self._stopping = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="diagnosis")

    def start(self) -> None:
        """Be there."""
        self._thread.start()

    def call(self, after_s: float) -> None:
        """Look into it `after_s` from now, unless that is so already or `dismiss` comes first."""
        with self._news:
            due_at_s = time.monotonic() + after_s
            self._due_at_s = due_at_s if self._due_at_s is None else min(due_at_s, self._due_at_s)
            self._news.notify()

    def dismiss(self) -> None:
        """There is nothing to look into."""
        with self._news:
            self._due_at_s = None

    def stop(self, timeout_s: float) -> bool:
        """End. False when an examination goes on after `timeout_s`."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._wait():
            self._tell(self._examine())

    def _wait(self) -> bool:
        """Wait until it is due; False when the end comes first."""
        with self._news:
            while not self._stopping:
                left_s = None if self._due_at_s is None else self._due_at_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    self._due_at_s = None
                    return True
                self._news.wait(left_s)
            return False
