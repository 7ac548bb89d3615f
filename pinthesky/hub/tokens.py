"""The JSON Web Tokens that the hub gives to its console, with the claims that Cognito's have.

A token says which session it belongs to; who that is, and what they may, is looked up at each request. So signing out
and a change of role count at once.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pinthesky.errors import InvariantBroken, NotAuthorized
from pinthesky.model.people import Person, PersonId

ALGORITHM = "RS256"
CLIENT_ID = "console"
TOKEN_S = 10 * 60
LEEWAY_S = 30
KEY_BITS = 2048
TOKEN_MAX = 4096


def new_signing_key() -> bytes:
    """A private key for `Tokens`, PEM. Takes a moment."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Claims:
    """What an access token proves."""

    person: PersonId
    session: str
    token_id: str


class Tokens:
    """Signs tokens, and accepts those that it has signed. Thread-safe."""

    def __init__(
        self,
        signing_key: bytes,
        *,
        is_issuer: Callable[[str], bool],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`signing_key` is PEM. `is_issuer` tells whether an address is one of this hub's.

        Raises InvariantBroken for a key that cannot be used.
        """
        key = load_pem_private_key(signing_key, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise InvariantBroken("the signing key of the tokens is no RSA key")
        self._key = key
        self._public = key.public_key()
        der = self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()[:12]).decode("ascii")
        self._is_issuer = is_issuer
        self._now_s = now_s

    def key_set(self) -> dict[str, Any]:
        """The JSON Web Key Set with which anybody can verify the tokens."""
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": ALGORITHM}]}

    def access_token(self, person: Person, session: str, *, issuer: str) -> str:
        """What the console shows with each request."""
        claims = {"client_id": CLIENT_ID, "scope": "openid email", "sid": session, "jti": secrets.token_urlsafe(12)}
        return self._sign("access", person, issuer=issuer, claims=claims)

    def id_token(self, person: Person, session: str, *, issuer: str, nonce: str | None) -> str:
        """Who has signed in, for the console to show."""
        claims: dict[str, Any] = {"aud": CLIENT_ID, "sid": session}
        if person.email is not None:
            claims |= {"email": str(person.email), "email_verified": True}
        if nonce is not None:
            claims["nonce"] = nonce
        return self._sign("id", person, issuer=issuer, claims=claims)

    def verify(self, token: str) -> Claims:
        """What an access token proves. Raises NotAuthorized: not ours, expired, or another kind of token."""
        if len(token) > TOKEN_MAX:
            raise NotAuthorized("this is no access token of this hub")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                options={
                    "require": ["iss", "sub", "exp", "iat", "client_id", "token_use", "sid", "jti"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
            person, session, token_id = PersonId.parse(claims["sub"]), str(claims["sid"]), str(claims["jti"])
            expired = int(claims["exp"]) + LEEWAY_S <= self._now_s() or int(claims["iat"]) - LEEWAY_S > self._now_s()
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise NotAuthorized("this is no access token of this hub") from error
        if expired:
            raise NotAuthorized("this access token has expired")
        kind = (claims["token_use"], claims["client_id"], "aud" in claims)
        if kind != ("access", CLIENT_ID, False) or not self._is_issuer(str(claims["iss"])):
            raise NotAuthorized("this is no access token of this hub")
        return Claims(person, session, token_id)

    def _sign(self, use: Literal["access", "id"], person: Person, *, issuer: str, claims: Mapping[str, Any]) -> str:
        now = int(self._now_s())
        common = {"iss": issuer, "sub": str(person.id), "token_use": use, "iat": now, "exp": now + TOKEN_S}
        return jwt.encode({**common, **claims}, self._key, ALGORITHM, headers={"kid": self._key_id})
