"""Short-lived keys for S3 and `@connections`, and the endpoint where a thing gets its own.

Nothing is stored. The secret access key is an HMAC over the access key id; the session token seals who holds the key
and until when, with the certificate that asked for it. So keys survive a restart of the hub, and revocation is a look
into the registry at each request.

The endpoint's protocol is AWS IoT Core's ("Authorizing direct calls to AWS services using AWS IoT Core credential
provider").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import InvalidInput, NotAuthorized
from pinthesky.hub.refusals import Refusal
from pinthesky.model.identifiers import ThingName

if TYPE_CHECKING:
    from pinthesky.hub.ports import ThingRegistry

logger = logging.getLogger(__name__)

LIFETIME_MIN_S, LIFETIME_MAX_S = 15 * 60, 12 * 3600
"""What AWS allows for a role alias."""
LIFETIME_DEFAULT_S = 3600
HUB_LIFETIME_MAX_S = 7 * 24 * 3600
"""A presigned URL lives no longer."""
SECRET_MIN_BYTES = 32
_NONCE_BYTES = 12
_ACCESS_KEY_ID = re.compile(r"ASIA[A-Z2-7]{16}")
_ROLE_ALIAS = re.compile(r"[A-Za-z0-9_=,@-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key pair with its token."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at_s: int
    """Epoch seconds."""


class Holder(msgspec.Struct, frozen=True, array_like=True):
    """Whom a key was given to; what a session token seals."""

    expires_at_s: int
    thing: str | None
    """None: the hub itself."""
    certificate: bytes
    """DER, of a thing; empty for the hub."""


class Keys:
    """Makes keys, and recognises its own. Thread-safe."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        """`secret` is the hub's, at least 32 random bytes; `clock` gives epoch seconds. Raises InvalidInput."""
        if len(secret) < SECRET_MIN_BYTES:
            raise InvalidInput("secret", f"must have at least {SECRET_MIN_BYTES} bytes, got {len(secret)}")
        self._signing = hmac.digest(secret, b"secret access keys", hashlib.sha256)
        self._seal = AESGCM(hmac.digest(secret, b"session tokens", hashlib.sha256))
        self._clock = clock

    def issue_for_thing(self, thing: ThingName, certificate: bytes, *, lifetime_s: int) -> Key:
        """A key bound to a thing and to the certificate (DER) that it showed."""
        return self._issue(str(thing), certificate, lifetime_s)

    def issue_for_hub(self, *, lifetime_s: int = LIFETIME_DEFAULT_S) -> Key:
        """A key of the hub itself, with which its planes read, delete and tag. At most seven days."""
        return self._issue(None, b"", min(lifetime_s, HUB_LIFETIME_MAX_S))

    def open(self, access_key_id: str, session_token: str | None) -> tuple[Key, Holder]:
        """The key with its secret, and whom it was given to.

        Raises Refusal: InvalidAccessKeyId, InvalidToken, ExpiredToken.
        """
        if session_token is None or _ACCESS_KEY_ID.fullmatch(access_key_id) is None:
            raise Refusal("InvalidAccessKeyId", "The access key id is none of this hub's, or its token is missing.")
        try:
            raw = base64.b64decode(session_token, altchars=b"-_", validate=True)
            sealed = self._seal.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], access_key_id.encode("ascii"))
            holder = msgspec.msgpack.decode(sealed, type=Holder)
        except (ValueError, InvalidTag) as error:
            raise Refusal("InvalidToken", "The provided token is malformed or otherwise invalid.") from error
        if self._clock() >= holder.expires_at_s:
            raise Refusal("ExpiredToken", "The provided token has expired.")
        return self._key(access_key_id, session_token, holder.expires_at_s), holder

    def _issue(self, thing: str | None, certificate: bytes, lifetime_s: int) -> Key:
        access_key_id = "ASIA" + base64.b32encode(secrets.token_bytes(10)).decode("ascii")
        holder = Holder(int(self._clock()) + lifetime_s, thing, certificate)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._seal.encrypt(nonce, msgspec.msgpack.encode(holder), access_key_id.encode("ascii"))
        token = base64.urlsafe_b64encode(nonce + sealed).decode("ascii")
        return self._key(access_key_id, token, holder.expires_at_s)

    def _key(self, access_key_id: str, session_token: str, expires_at_s: int) -> Key:
        digest = hmac.digest(self._signing, access_key_id.encode("ascii"), hashlib.sha256)
        return Key(
            access_key_id=access_key_id,
            secret_access_key=base64.b64encode(digest[:30]).decode("ascii"),
            session_token=session_token,
            expires_at_s=expires_at_s,
        )


def shown_certificate(scope: Any) -> bytes | None:
    """The client certificate (DER) of an ASGI scope, from its TLS extension; None where the client showed none."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", [])
    return ssl.PEM_cert_to_DER_cert(chain[0]) if chain else None


class CredentialsProvider:
    """`GET /role-aliases/<alias>/credentials`: a thing's certificate for a key."""

    def __init__(
        self, *, registry: ThingRegistry, keys: Keys, role_alias: str, lifetime_s: int = LIFETIME_DEFAULT_S
    ) -> None:
        """`lifetime_s` from 15 minutes to 12 hours. Raises InvalidInput."""
        if not LIFETIME_MIN_S <= lifetime_s <= LIFETIME_MAX_S:
            raise InvalidInput(
                "credentials.lifetime", f"must be {LIFETIME_MIN_S} to {LIFETIME_MAX_S} seconds, got {lifetime_s}"
            )
        if _ROLE_ALIAS.fullmatch(role_alias) is None:
            raise InvalidInput(
                "credentials.role_alias",
                f"must be 1 to 128 letters, digits, '_', '=', ',', '@' or '-', got {role_alias!r}",
            )
        self._registry = registry
        self._keys = keys
        self._role_alias = role_alias
        self._lifetime_s = lifetime_s

    def routes(self) -> list[BaseRoute]:
        """The one route."""
        return [Route("/role-aliases/{alias}/credentials", self._answer, methods=["GET"])]

    def _answer(self, request: Request) -> Response:
        certificate = shown_certificate(request.scope)
        if certificate is None:
            return _denied("a client certificate is needed")
        try:
            thing = self._registry.thing_of(certificate)
        except NotAuthorized as error:
            logger.warning("No credentials for a certificate from %s: %s", _where(request), error)
            return _denied("the certificate is not, or no longer, registered")
        claimed = request.headers.get("x-amzn-iot-thingname")
        if claimed != thing:
            return _denied(f"x-amzn-iot-thingname must be {thing}, whose certificate this is")
        if request.path_params["alias"] != self._role_alias:
            return JSONResponse({"message": "Role alias not found"}, status_code=404)
        key = self._keys.issue_for_thing(thing, certificate, lifetime_s=self._lifetime_s)
        expiration = datetime.fromtimestamp(key.expires_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {
            "accessKeyId": key.access_key_id,
            "secretAccessKey": key.secret_access_key,
            "sessionToken": key.session_token,
            "expiration": expiration,
        }
        return JSONResponse({"credentials": answer}, headers={"Cache-Control": "no-store"})


def _denied(why: str) -> Response:
    return JSONResponse({"message": f"Access Denied: {why}"}, status_code=403)


def _where(request: Request) -> str:
    return "an unknown address" if request.client is None else request.client.host
