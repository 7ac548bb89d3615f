"""`/trust`: helps a phone or a computer to trust the hub's own authority, so that its addresses open without a warning.

Whoever fetches the certificate here has not yet any reason to believe it, so the page shows its fingerprint, and says
that the hub prints the same at its start.
"""

from __future__ import annotations

import plistlib
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pinthesky.hub.pages import page

_STEPS = {
    "iPhone and iPad": (
        "Open <a href='/trust/pits-hub.mobileconfig'>the profile</a> in Safari and allow the download.",
        "Settings → General → VPN &amp; Device Management → Pi In The Sky → Install.",
        "Settings → General → About → Certificate Trust Settings: switch on “Pi In The Sky”.",
    ),
    "Android": (
        "Download <a href='/trust/pits-hub.crt'>the certificate</a>.",
        "Settings → Security → More security settings → Install from storage → CA certificate.",
        "Android warns that the network may be monitored: it says so of every authority that is not its own.",
    ),
    "Windows": (
        "Download <a href='/trust/pits-hub.crt'>the certificate</a> and open it.",
        "Install Certificate → Current User → place in “Trusted Root Certification Authorities”.",
    ),
    "macOS": (
        "Download <a href='/trust/pits-hub.crt'>the certificate</a> and open it: Keychain Access takes it.",
        "Double-click “Pi In The Sky” there → Trust → When using this certificate: Always Trust.",
    ),
    "Linux": (
        "Save <a href='/trust/pits-hub.crt'>the certificate</a> in <code>/usr/local/share/ca-certificates/</code>.",
        "Run <code>sudo update-ca-certificates</code>.",
        "Firefox: Settings → Privacy &amp; Security → View Certificates → Authorities → Import.",
    ),
}

_BODY = """<p>Your hub has a certificate authority of its own, so that nobody else has to vouch for your home. This
device does not know it yet; that is why the browser warns. Install it once, and the warning is gone for good.</p>
<div class="box"><strong>Compare before you install.</strong> The hub prints this fingerprint when it starts:<br>
<code>{fingerprint}</code></div>
{platforms}
<p>On the hub's own machine <code>http://localhost</code> works without any of this.</p>
"""


def fingerprint_of(certificate: bytes) -> str:
    """SHA-256 of a PEM certificate as people compare it: 32 pairs of hexadecimal digits with colons."""
    return _digest(certificate).hex(":").upper()


def sha256_of(certificate: bytes) -> str:
    """The same as programs compare it: 64 small hexadecimal digits."""
    return _digest(certificate).hex()


def _digest(certificate: bytes) -> bytes:
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256())


class TrustPage:
    """The page, the certificate as a file, and as a profile for Apple's devices."""

    def __init__(self, authority: bytes) -> None:
        """`authority` is the certificate of the hub's authority, PEM."""
        self._fingerprint = fingerprint_of(authority)
        self._der = x509.load_pem_x509_certificate(authority).public_bytes(serialization.Encoding.DER)
        platforms = "".join(
            f"<details><summary>{name}</summary><ol><li>{'</li><li>'.join(steps)}</li></ol></details>"
            for name, steps in _STEPS.items()
        )
        self._body = _BODY.format(fingerprint=self._fingerprint, platforms=platforms)

    def routes(self) -> list[BaseRoute]:
        """`/trust` and the files that it offers."""
        return [
            Route("/trust", self._show),
            Route("/trust/pits-hub.crt", self._certificate),
            Route("/trust/pits-hub.mobileconfig", self._profile),
        ]

    async def _show(self, _: Request) -> Response:
        return page("Let this device trust your hub", self._body)

    async def _certificate(self, _: Request) -> Response:
        return _download(self._der, "application/x-x509-ca-cert", "pits-hub.crt")

    async def _profile(self, _: Request) -> Response:
        # Derived from the certificate, so that installing it again replaces the profile and adds no second one.
        name = uuid.uuid5(uuid.NAMESPACE_OID, self._fingerprint)
        certificate = {
            "PayloadType": "com.apple.security.root",
            "PayloadIdentifier": f"pinthesky.hub.{name}.ca",
            "PayloadUUID": str(uuid.uuid5(name, "ca")).upper(),
            "PayloadVersion": 1,
            "PayloadDisplayName": "Pi In The Sky",
            "PayloadContent": self._der,
        }
        profile = {
            "PayloadType": "Configuration",
            "PayloadIdentifier": f"pinthesky.hub.{name}",
            "PayloadUUID": str(name).upper(),
            "PayloadVersion": 1,
            "PayloadDisplayName": "Pi In The Sky",
            "PayloadDescription": f"Trusts the hub with the fingerprint {self._fingerprint}",
            "PayloadContent": [certificate],
        }
        return _download(plistlib.dumps(profile), "application/x-apple-aspen-config", "pits-hub.mobileconfig")


def _download(content: bytes, media_type: str, name: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
