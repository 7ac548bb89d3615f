"""Shares: clips that anybody with a link may see for a while. The link is sealed; the row makes it revocable."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

from msgspec import Struct

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import Identifier, ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import VideoId
from pinthesky.planes.table import Delete, Key, Position, Record, Table

PARTITION = "share"
_ID_BYTES = 12
_SEAL_BYTES = 18


class ShareId(Identifier):
    """What a share is called by those who may revoke it; it opens nothing."""

    __slots__ = ()
    _field = "share"
    _pattern = re.compile(r"[A-Za-z0-9_-]{16}")
    _rule = "must be 16 letters, digits, '_' or '-'"

    @classmethod
    def new(cls) -> ShareId:
        """A fresh id."""
        return cls(secrets.token_urlsafe(_ID_BYTES))


class ShareToken(Identifier):
    """The end of a shared link: id and seal."""

    __slots__ = ()
    _field = "token"
    _pattern = re.compile(r"[A-Za-z0-9_-]{40}")
    _rule = "must be 40 letters, digits, '_' or '-'"


class Share(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One shared clip. Times are epoch milliseconds."""

    id: ShareId
    thing_name: ThingName
    video: VideoId
    created_at: int
    created_by: PersonId
    expires_at: int
    note: str = ""


class Shares:
    """The repository of the shares; `secret` seals their links."""

    def __init__(self, table: Table, secret: bytes) -> None:
        self._table = table
        self._secret = hmac.digest(secret, b"share links", hashlib.sha256)

    def add(self, share: Share) -> None:
        """Raises Conflict when it is there already."""
        expires_at_s = share.expires_at // 1000
        record = Record(_key(share.id), rows.encode(share), expires_at_s=expires_at_s)
        rows.create(self._table, record, exists=f"there is a share {share.id} already")

    def get(self, share: ShareId) -> Share:
        """Raises NotFound: revoked, expired or never there."""
        return rows.get(self._table, _key(share), Share, missing=f"there is no share {share}")

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Share]:
        """Shares in the order of their ids."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Share)

    def revoke(self, share: ShareId) -> None:
        """End a share at once. One that is not there is no error."""
        self._table.write(Delete(_key(share)))

    def token(self, share: ShareId) -> ShareToken:
        """What opens a share."""
        return ShareToken(f"{share}{self._seal(share)}")

    def opened(self, token: ShareToken) -> Share:
        """The share that a token opens. Raises NotFound for one that was not made here, whatever it names."""
        share = ShareId(token[:16])
        if not hmac.compare_digest(token[16:], self._seal(share)):
            raise NotFound("there is nothing here, or not any more")
        return rows.get(self._table, _key(share), Share, missing="there is nothing here, or not any more")

    def _seal(self, share: ShareId) -> str:
        seal = hmac.digest(self._secret, share.encode(), hashlib.sha256)[:_SEAL_BYTES]
        return base64.urlsafe_b64encode(seal).decode("ascii")


def _key(share: ShareId) -> Key:
    return Key(PARTITION, str(share))
