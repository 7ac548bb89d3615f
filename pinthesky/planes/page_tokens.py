"""Opaque tokens for the next page of a list: where to go on, sealed so that nobody can make, change or read one.

A token holds good for the list it came from and for no other: the query it belongs to is part of the seal. It is not
to be read either, since the row at which a page ended may be one that its reader does not see. The seal is also the
nonce of a key stream (as in SIV, RFC 5297, with HMAC-SHA256 for both), so the same place gives the same token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import plain
from pinthesky.planes.table import Key, Position

_MAC_BYTES = 16
TOKEN_MAX = 4096
FIELD = "nextToken"


class PageTokens:
    """Seals positions with a secret of the home."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"page tokens", hashlib.sha256)
        self._veil = hmac.digest(secret, b"page tokens, their content", hashlib.sha256)

    def seal(self, position: Position | None, query: str) -> str | None:
        """The token for `position`; `query` says which list it belongs to. None at the end of the list."""
        if position is None:
            return None
        index = None if position.index is None else (position.index.partition, position.index.sort)
        place = msgspec.msgpack.encode((position.key.partition, position.key.sort, index), enc_hook=plain)
        mac = self._mac(place, query)
        return base64.urlsafe_b64encode(mac + self._veiled(place, mac)).decode("ascii").rstrip("=")

    def open(self, token: str | None, query: str) -> Position | None:
        """The position in a token. Raises InvalidInput for one that was not sealed here for this query."""
        if token is None:
            return None
        wrong = InvalidInput(FIELD, "is not one that this list has given")
        if len(token) > TOKEN_MAX or not token.isascii():
            raise wrong
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            raise wrong from error
        mac = raw[:_MAC_BYTES]
        place = self._veiled(raw[_MAC_BYTES:], mac)
        if not hmac.compare_digest(mac, self._mac(place, query)):
            raise wrong
        partition, sort, index = msgspec.msgpack.decode(place, type=tuple[str, str, tuple[str, str] | None])
        return Position(Key(partition, sort), None if index is None else Key(*index))

    def _mac(self, place: bytes, query: str) -> bytes:
        return hmac.digest(self._secret, len(query).to_bytes(4) + query.encode() + place, hashlib.sha256)[:_MAC_BYTES]

    def _veiled(self, data: bytes, mac: bytes) -> bytes:
        """`data` combined with the key stream of `mac`; the same again gives `data` back."""
        blocks = range(-(-len(data) // hashlib.sha256().digest_size))
        stream = b"".join(hmac.digest(self._veil, mac + block.to_bytes(4), hashlib.sha256) for block in blocks)
        return bytes(one ^ other for one, other in zip(data, stream, strict=False))
