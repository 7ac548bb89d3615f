"""Web push: alerts to browsers that are closed, through the push service of whoever made the browser.

A message is encrypted for the one browser that has subscribed (RFC 8291) and signed with this hub's key (RFC 8292, by
which the browser was told whom to hear); the service in between reads neither. It is named by the browser, so anybody
who is signed in may name it: only `https://` addresses of the public internet are taken.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
import time
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

import http_ece  # type: ignore[import-untyped]  # it ships no types
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput, InvariantBroken, NotFound, Unavailable
from pinthesky.hub.outgoing import Address, AddressRule, OutgoingPosts

MESSAGE_MAX = 4096
"""Bytes of a body that every push service takes (RFC 8030, section 7.2)."""
CONTENT_MAX = MESSAGE_MAX - 86 - 17
"""Bytes of what is encrypted: the header, the padding's one and the tag come along (RFC 8188, section 2)."""
TTL_S = 24 * 3600
"""For so long a service keeps a message for a browser that is away."""
TOKEN_S = 12 * 3600
"""At most 24 hours (RFC 8292, section 2)."""
ADDRESS_MAX = 1700
TEXT_MAX = 400
"""Characters of a title and of a text: what a notification has room for."""
URGENT = frozenset({"camera_offline", "camera_fault", "motion"})
_STATES = {"camera_online": "camera", "camera_offline": "camera"}


class BrowserKeys(Struct, frozen=True):
    """What a message is encrypted with: base64url."""

    p256dh: Annotated[str, Meta(max_length=100)]
    auth: Annotated[str, Meta(max_length=40)]


class Browser(Struct, frozen=True):
    """What a browser's `PushSubscription` says of itself as JSON; what else it says is not needed."""

    endpoint: Annotated[str, Meta(max_length=ADDRESS_MAX)]
    keys: BrowserKeys


class Notice(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a service worker is told, as JSON. `link` and `picture` are below the console's address or absolute."""

    alert_type: str
    camera: str
    title: str
    text: str
    link: str
    tag: str
    """Notices with the same one replace each other: the newest is shown."""
    picture: str = ""
    merged: int = 0


def new_key() -> bytes:
    """A private key for `WebPush`, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class WebPush:
    """Sends notices to browsers. Thread-safe."""

    def __init__(
        self,
        key: bytes,
        *,
        contact: str,
        trusted: ssl.SSLContext | None = None,
        rule: AddressRule | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`key` is PEM, `contact` an address (`mailto:`, `https:`) at which a service may complain.

        Raises InvariantBroken for a key that cannot be used.
        """
        loaded = load_pem_private_key(key, password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
            raise InvariantBroken("the key of web push is no P-256 key")
        self._key = loaded
        self._contact = contact
        self._posts = OutgoingPosts(rule or check_public, trusted)
        self._now_s = now_s
        point = loaded.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = _text(point)
        """What browsers subscribe with (`applicationServerKey`), base64url."""

    def check(self, endpoint: str) -> None:
        """Raise InvalidInput for what no browser says of its subscription, and for an address that is refused."""
        browser = _browser(endpoint)
        _keys(browser)
        try:
            parts = urlsplit(browser.endpoint)
            host, _ = parts.hostname or "", parts.port
            self._posts.check_host(host)
        except ValueError as error:
            raise InvalidInput("endpoint", str(error)) from error
        is_plain = browser.endpoint.isascii() and browser.endpoint.isprintable() and " " not in browser.endpoint
        if parts.scheme != "https" or not host or "@" in parts.netloc or not is_plain:
            raise InvalidInput("endpoint", "must lead to an https:// address")

    def send(self, endpoint: str, notice: Notice) -> None:
        """Hand one notice to a browser's push service.

        Raises Unavailable (it may take it later), NotFound (that browser has unsubscribed), InvalidInput (see `check`).
        """
        browser = _browser(endpoint)
        public, secret = _keys(browser)
        once = ec.generate_private_key(ec.SECP256R1())
        body = http_ece.encrypt(_content(notice), private_key=once, dh=public, auth_secret=secret, version="aes128gcm")
        headers = {
            "Authorization": f"vapid t={self._token(browser.endpoint)}, k={self.public_key}",
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(TTL_S),
            "Urgency": "high" if notice.alert_type in URGENT else "normal",
            "Topic": notice.tag,
        }
        status = self._posts.post(browser.endpoint, body, headers)
        if status in (404, 410):
            raise NotFound("the browser has unsubscribed")
        if not 200 <= status < 300:
            raise Unavailable(f"the push service answers {status}")

    def _token(self, address: str) -> str:
        parts = urlsplit(address)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(self._now_s()) + TOKEN_S,
            "sub": self._contact,
        }
        return jwt.encode(claims, self._key, "ES256")


def tag_of(alert_type: str, camera: str) -> str:
    """What replaces what: the newest of a kind of one camera, and that it is back what said that it was lost.

    32 characters of base64url, as many as a push service's `Topic` may have (RFC 8030, section 5.4).
    """
    about = f"{_STATES.get(alert_type, alert_type)} {camera}"
    return _text(hashlib.sha256(about.encode()).digest()[:24])


def check_public(address: Address) -> None:
    """Raise ValueError for an address that is not of the public internet."""
    if not address.is_global or address.is_multicast:
        raise ValueError(f"{address} is no address of a push service")


def _browser(endpoint: str) -> Browser:
    try:
        return msgspec.json.decode(endpoint, type=Browser)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput("endpoint", f"must be what a browser says of its subscription as JSON: {error}") from error


def _keys(browser: Browser) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """The browser's key and its secret. Raises InvalidInput."""
    try:
        point, secret = _bytes(browser.keys.p256dh), _bytes(browser.keys.auth)
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("endpoint", "must have keys.p256dh, a point of P-256 in base64url") from error
    if len(secret) != 16:
        raise InvalidInput("endpoint", "must have keys.auth, 16 bytes in base64url")
    return public, secret


def _content(notice: Notice) -> bytes:
    """The notice as JSON of at most CONTENT_MAX bytes: what is too long is cut, what still is goes without extras."""
    shown = msgspec.structs.replace(notice, title=notice.title[:TEXT_MAX], text=notice.text[:TEXT_MAX])
    content = msgspec.json.encode(shown)
    if len(content) <= CONTENT_MAX:
        return content
    bare: dict[str, Any] = {"picture": "", "link": "", "camera": shown.camera[:128]}
    bare |= {"title": shown.title[: TEXT_MAX // 2], "text": shown.text[: TEXT_MAX // 2]}
    return msgspec.json.encode(msgspec.structs.replace(shown, **bare))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
