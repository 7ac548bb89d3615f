"""A passkey authenticator in software: what a browser and a phone do together, with ES256 and no attestation."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text_of(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    """The same back."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Key:
    """One passkey."""

    id: bytes
    host: str
    user: bytes
    private: ec.EllipticCurvePrivateKey
    uses: int = 0


@dataclass
class Authenticator:
    """Holds passkeys. `is_verified`: whether its holder was made sure of (a finger, a PIN)."""

    is_verified: bool = True
    keys: list[Key] = field(default_factory=list)

    def create(self, options: dict[str, Any], origin: str) -> dict[str, Any]:
        """`navigator.credentials.create`: makes a passkey and keeps it."""
        assert {"type": "public-key", "alg": -7} in options["pubKeyCredParams"]
        host = options["rp"]["id"]
        key = Key(os.urandom(16), host, bytes_of(options["user"]["id"]), ec.generate_private_key(ec.SECP256R1()))
        self.keys.append(key)
        numbers = key.private.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + struct.pack(">H", len(key.id)) + key.id + cbor2.dumps(public)
        data = self._data(key, ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        said = _client_data("webauthn.create", options["challenge"], origin)
        return _credential(key, clientDataJSON=text_of(said), attestationObject=text_of(attestation))

    def get(self, options: dict[str, Any], origin: str) -> dict[str, Any]:
        """`navigator.credentials.get`: shows the last passkey of that host."""
        key = [each for each in self.keys if each.host == options["rpId"]][-1]
        key.uses += 1
        data = self._data(key)
        said = _client_data("webauthn.get", options["challenge"], origin)
        signature = key.private.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        return _credential(
            key,
            clientDataJSON=text_of(said),
            authenticatorData=text_of(data),
            signature=text_of(signature),
            userHandle=text_of(key.user),
        )

    def _data(self, key: Key, flags: int = 0) -> bytes:
        flags |= PRESENT | (VERIFIED if self.is_verified else 0)
        return hashlib.sha256(key.host.encode()).digest() + struct.pack(">BI", flags, key.uses)


def _client_data(kind: str, challenge: str, origin: str) -> bytes:
    return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}).encode()


def _credential(key: Key, **response: str) -> dict[str, Any]:
    return {"id": text_of(key.id), "rawId": text_of(key.id), "type": "public-key", "response": response}
