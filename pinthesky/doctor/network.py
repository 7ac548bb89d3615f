"""Whether a server can be reached, and is who it should be: its name, its port, its certificate."""

from __future__ import annotations

import base64
import binascii
import contextlib
import socket
import ssl
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, Optional

from pinthesky.model.findings import Finding, found

TIMEOUT_S = 8.0
ALPN = "x-amzn-mqtt-ca"
SOON_S = 14 * 86_400
# X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


class Server(NamedTuple):
    """A server, and what it is trusted and greeted with. `ca` None: the authorities of the system."""

    check: str
    host: str
    port: int
    ca: Optional[Path] = None
    identity: Optional[tuple[Path, Path]] = None
    """Certificate and key that are shown."""


def reach(server: Server, now_s: float, timeout_s: float = TIMEOUT_S) -> Finding:
    """Resolve, connect, and shake hands. Nothing is sent through it, so nobody's connection is taken over."""
    where = f"{server.host}:{server.port}"
    try:
        context = ssl.create_default_context(cafile=None if server.ca is None else str(server.ca))
        # Newer Pythons are stricter than the other clients, and would blame what is none of the fault.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if server.identity is not None:
            context.load_cert_chain(*server.identity, password="")
    except (OSError, ValueError) as error:
        advice = "Look at the files in /etc/pinthesky/certificates; `pitsctl install` puts them right."
        return found(server.check, "failed", f"the certificates of this device cannot be used: {error}", advice=advice)
    if server.port == 443 and server.identity is not None:
        context.set_alpn_protocols([ALPN])
    try:
        with (  # noqa: SIM117 - two lines of Python 3.9 would be three
            socket.create_connection((server.host, server.port), timeout_s)
        ) as plain:
            with context.wrap_socket(plain, server_hostname=server.host) as channel:
                shown = channel.getpeercert() or {}
                # In TLS 1.3 our own certificate is judged after the handshake.
                if server.identity is not None:
                    channel.settimeout(0.5)
                    with contextlib.suppress(TimeoutError, socket.timeout):
                        channel.recv(1)
    except (OSError, ValueError) as error:
        return _refused(server, error, now_s)
    until_s = ssl.cert_time_to_seconds(str(shown["notAfter"])) if "notAfter" in shown else None
    if until_s is not None and until_s - now_s < SOON_S:
        what = f"{where}: its certificate expires on {_day(until_s)}"
        return found(server.check, "warning", what, advice="Whoever runs that server has to renew its certificate.")
    return found(server.check, "ok", where)


def _refused(server: Server, error: Exception, now_s: float) -> Finding:
    where, now = f"{server.host}:{server.port}", datetime.fromtimestamp(now_s, timezone.utc).strftime("%Y-%m-%d %H:%M")
    if isinstance(error, socket.gaierror):
        what = f"the name {server.host} cannot be resolved"
        advice = "Look at this network's DNS: `resolvectl status`, and whether the router resolves names."
    elif isinstance(error, ssl.SSLCertVerificationError):
        what, advice = _distrusted(server, error, now)
    elif isinstance(error, ssl.SSLError):
        what = f"{where} ends the handshake: {error.reason or error}"
        advice = "Most often it does not take this device's certificate: was the camera removed, or renamed?"
    elif isinstance(error, ConnectionRefusedError):
        what = f"{where}: nothing listens there (connection refused)"
        advice = "Is the hub running, and is this its port? `pits-hub` prints its ports when it starts."
    elif isinstance(error, (TimeoutError, socket.timeout)):
        what = f"{where} does not answer within {TIMEOUT_S:.0f} s"
        advice = "A firewall may be in the way: this port has to be open for the camera."
    else:
        what = f"{where} cannot be reached: {getattr(error, 'strerror', None) or error}"
        advice = "Look at the network of this machine: `ip address`, `ip route`."
    return found(server.check, "failed", what, advice=advice)


def _distrusted(server: Server, error: ssl.SSLCertVerificationError, now: str) -> tuple[str, str]:
    where = f"{server.host}:{server.port}"
    if error.verify_code == _EXPIRED:
        return f"{where}: its certificate has expired, by this clock ({now} UTC)", "Set the clock, or renew it there."
    if error.verify_code == _NOT_YET_VALID:
        return f"{where}: its certificate is not valid yet, by this clock ({now} UTC)", "Set the clock of this machine."
    if error.verify_code in _OTHER_NAMES:
        advice = "Use one of the server's names, or add this one to it (`names` in hub.toml)."
        return f"{where}: its certificate is for another name", advice
    trusted = server.ca or "this system"
    advice = "Something else answers at this address, or the hub was set up anew: register the camera again."
    return f"{where}: its certificate is of an authority that {trusted} does not know", advice


def own_certificate(check: str, path: Path, now_s: float) -> Finding:
    """Whether the device's certificate is still good, and for how long."""
    try:
        since_s, until_s = validity_of(path.read_bytes())
    except OSError as error:
        return found(check, "failed", f"{path} cannot be read: {error.strerror}", advice="Run `pitsctl install` again.")
    except ValueError as error:
        return found(check, "failed", f"{path}: {error}", advice="Run `pitsctl install` again.")
    register = "Register the camera again: `pitsctl install` makes another certificate for its key."
    if until_s < now_s:
        return found(check, "failed", f"it has expired on {_day(until_s)}", advice=register)
    if since_s > now_s:
        return found(
            check, "failed", f"it is valid from {_day(since_s)} on, by this clock", advice="Set this machine's clock."
        )
    if until_s - now_s < SOON_S:
        return found(check, "warning", f"it expires on {_day(until_s)}", advice=register)
    return found(check, "ok", f"valid until {_day(until_s)}")


def validity_of(pem: bytes) -> tuple[float, float]:
    """Epoch seconds between which a certificate is valid (RFC 5280, 4.1.2.5). Raises ValueError."""
    try:
        body = pem.split(b"-----BEGIN CERTIFICATE-----", 1)[1].split(b"-----END CERTIFICATE-----", 1)[0]
        der = base64.b64decode(b"".join(body.split()), validate=True)
        _, certificate, _ = _element(der)
        _, signed, _ = _element(certificate)
        tag, _, rest = _element(signed)
        if tag == 0xA0:  # the version, which may be absent
            _, _, rest = _element(rest)
        for _name in ("signature", "issuer"):
            _, _, rest = _element(rest)
        _, validity, _ = _element(rest)
        since_tag, since, rest = _element(validity)
        until_tag, until, _ = _element(rest)
        return _time(since_tag, since), _time(until_tag, until)
    except (IndexError, ValueError, binascii.Error) as error:
        raise ValueError("is no certificate in PEM form") from error


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows, of the first element of DER (X.690)."""
    size, at = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if len(data) < at + size:
        raise ValueError("cut off")
    return data[0], data[at : at + size], data[at + size :]


def _time(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
