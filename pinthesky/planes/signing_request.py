"""Certificate requests (PKCS#10, RFC 2986), looked at before anybody is asked to approve one.

Only what a person has to see is read: which key wants a certificate. Whether the request is signed with that key is
for the authority to verify, which has the mathematics.
"""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

from pinthesky.errors import InvalidInput

REQUEST_MAX = 4096
"""Most characters of a request: one with a 4096-bit RSA key has about 1700."""
FIELD = "csr"

_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
_INTEGER, _BIT_STRING, _OBJECT, _SEQUENCE = 0x02, 0x03, 0x06, 0x30
_RSA = bytes.fromhex("2a864886f70d010101")
_EC = bytes.fromhex("2a8648ce3d0201")
_CURVES = {bytes.fromhex("2a8648ce3d030107"): ("EC P-256", 65), bytes.fromhex("2b81040022"): ("EC P-384", 97)}
"""Named curves of RFC 5480: what people call them, and the bytes of a point that is not compressed."""
_RSA_BITS = range(2048, 4097)


class RequestedKey(NamedTuple):
    """The key that wants a certificate."""

    kind: str
    """EC P-256, EC P-384, or RSA and its bits."""
    fingerprint: str
    """SHA-256 of its SubjectPublicKeyInfo (RFC 5280) in DER, as 32 pairs of digits with colons between."""


def requested_key(pem: str) -> RequestedKey:
    """The key in a certificate request. Raises InvalidInput (`csr`): this is none, or its key is not acceptable."""
    if len(pem) > REQUEST_MAX:
        raise InvalidInput(FIELD, f"must have at most {REQUEST_MAX} characters, got {len(pem)}")
    whole = _Der(_der_of(pem.strip()))
    request = whole.take(_SEQUENCE)
    whole.end()
    information = request.take(_SEQUENCE)
    information.take(_INTEGER)
    information.take(_SEQUENCE)
    key = information.take(_SEQUENCE)
    pairs = hashlib.sha256(key.encoded).hexdigest().upper()
    return RequestedKey(_kind(key), ":".join(pairs[at : at + 2] for at in range(0, len(pairs), 2)))


def _der_of(pem: str) -> bytes:
    for label in _LABELS:
        begin, end = f"-----BEGIN {label}-----", f"-----END {label}-----"
        if pem.startswith(begin) and pem.endswith(end):
            try:
                return base64.b64decode("".join(pem[len(begin) : -len(end)].split()), validate=True)
            except ValueError:
                break
    raise InvalidInput(FIELD, "must be one certificate request in PEM")


def _kind(key: _Der) -> str:
    algorithm, bits = key.take(_SEQUENCE), key.take(_BIT_STRING).content
    name = algorithm.take(_OBJECT).content
    if name == _EC:
        curve, size = _CURVES.get(algorithm.take(_OBJECT).content, ("", 0))
        if len(bits) == 1 + size and bits[:2] == b"\x00\x04":
            return curve
    elif name == _RSA and bits[:1] == b"\x00":
        modulus = int.from_bytes(_Der(bits[1:]).take(_SEQUENCE).take(_INTEGER).content)
        if modulus.bit_length() in _RSA_BITS:
            return f"RSA {modulus.bit_length()}"
    raise InvalidInput(FIELD, "must be of an EC key (P-256, P-384) or of an RSA key of 2048 to 4096 bits")


class _Der:
    """Elements of DER (X.690), read one after the other."""

    def __init__(self, content: bytes, encoded: bytes = b"") -> None:
        self.content = content
        self.encoded = encoded
        self._at = 0

    def take(self, tag: int) -> _Der:
        """The next element, which has to have `tag`. Raises InvalidInput."""
        start = self._at
        header = self.content[start : start + 2]
        if len(header) < 2 or header[0] != tag:
            raise self._broken()
        size, begin = header[1], start + 2
        if size > 0x7F:
            begin += size & 0x7F
            size = int.from_bytes(self.content[start + 2 : begin])
        end = begin + size
        if end > len(self.content):
            raise self._broken()
        self._at = end
        return _Der(self.content[begin:end], self.content[start:end])

    def end(self) -> None:
        """Raises InvalidInput where something follows."""
        if self._at != len(self.content):
            raise self._broken()

    @staticmethod
    def _broken() -> InvalidInput:
        return InvalidInput(FIELD, "is not a certificate request (PKCS#10)")
