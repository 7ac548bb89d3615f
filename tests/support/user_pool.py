"""A Cognito user pool, as far as its tokens go: it signs them, and publishes its keys."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from pinthesky.aws.adapters.access_tokens import Identity, issuer_of
from pinthesky.errors import Unavailable

CLIENT = "1console2345"
ISSUER = issuer_of("eu-central-1", "eu-central-1_Home")


class UserPool:
    """Signs with `key`; `asked` counts how often its keys were asked for."""

    def __init__(self, issuer: str = ISSUER, key_id: str = "key-1") -> None:
        self.issuer = issuer
        self.key_id = key_id
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.published = {key_id: self.key}
        self.asked = 0
        self.away = False

    @property
    def identity(self) -> Identity:
        """Whose tokens are taken."""
        return Identity(self.issuer, frozenset({CLIENT}))

    def claims(self, person: str, now_s: float, **more: Any) -> dict[str, Any]:
        """What Cognito puts into an access token; None takes a claim away."""
        found = {
            "sub": person,
            "iss": self.issuer,
            "client_id": CLIENT,
            "origin_jti": "11111111-2222-3333-4444-555555555555",
            "event_id": "66666666-7777-8888-9999-000000000000",
            "token_use": "access",
            "scope": "openid email",
            "auth_time": int(now_s),
            "iat": int(now_s),
            "exp": int(now_s) + 3600,
            "jti": "99999999-8888-7777-6666-555555555555",
            "username": person,
            **more,
        }
        return {name: value for name, value in found.items() if value is not None}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token of these claims."""
        return jwt.encode(claims, self.key, "RS256", headers={"kid": self.key_id, **header})

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self.key_id, self.key = key_id, rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.published = {key_id: self.key}

    def key_set(self) -> bytes:
        """The pool's JWKS."""
        self.asked += 1
        if self.away:
            raise Unavailable("the pool is away")
        keys = [
            {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}
            for name, key in self.published.items()
        ]
        return json.dumps({"keys": keys}).encode()
