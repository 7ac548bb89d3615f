"""Stream tokens: what lets a page or a program watch one camera until it is revoked. Only hashes are kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from pinthesky.errors import Conflict, NotFound
from pinthesky.model.identifiers import Identifier, ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.records import rows
from pinthesky.planes.table import Condition, Delete, Key, Put, Record, Table

OF_CAMERA_MAX = 50
"""Tokens of one camera."""


class StreamTokenId(Identifier):
    """What a token is called in lists: the beginning of its hash."""

    __slots__ = ()
    _field = "stream"
    _pattern = re.compile(r"[0-9a-f]{32}")
    _rule = "must be 32 lower-case hexadecimal digits"

    @classmethod
    def of(cls, secret: str) -> StreamTokenId:
        """The id of a token with 256 random bits: half of its hash tells it apart, and leads back to nothing."""
        return cls(hashlib.sha256(secret.encode()).hexdigest()[:32])


class StreamSecret(Identifier):
    """What opens a stream."""

    __slots__ = ()
    _field = "token"
    _pattern = re.compile(r"[A-Za-z0-9_-]{43}")
    _rule = "must be 43 letters, digits, '_' or '-'"


class StreamToken(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One token. Times are epoch milliseconds."""

    id: StreamTokenId
    thing_name: ThingName
    created_at: int
    created_by: PersonId
    """It shows what this person may see, and ends with them."""
    expires_at: int | None = None
    """None: when it is revoked."""
    note: str = ""


class Issued(NamedTuple):
    """A new token, and the secret that nobody else will ever see."""

    token: StreamToken
    secret: StreamSecret


class StreamTokens:
    """The repository of the stream tokens."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def issue(
        self, thing: ThingName, person: PersonId, *, now_ms: int, lifetime_s: int | None = None, note: str = ""
    ) -> Issued:
        """A token for a camera. Raises Conflict when there are too many."""
        if len(self.of_camera(thing)) >= OF_CAMERA_MAX:
            raise Conflict(f"there are {OF_CAMERA_MAX} tokens of this camera already: revoke one")
        secret = StreamSecret(secrets.token_urlsafe(32))
        token = StreamToken(
            id=StreamTokenId.of(secret),
            thing_name=thing,
            created_at=now_ms,
            created_by=person,
            expires_at=None if lifetime_s is None else now_ms + 1000 * lifetime_s,
            note=note,
        )
        expires_at_s = None if token.expires_at is None else token.expires_at // 1000
        record = Record(_key(thing, token.id), rows.encode(token), expires_at_s=expires_at_s)
        self._table.write(Put(record, Condition.ABSENT))
        return Issued(token, secret)

    def of_camera(self, thing: ThingName) -> Sequence[StreamToken]:
        """Those that hold good, the oldest first."""
        page = self._table.query(_partition(thing), limit=2 * OF_CAMERA_MAX)
        return sorted((rows.decode(each, StreamToken) for each in page.records), key=lambda each: each.created_at)

    def opened(self, thing: ThingName, secret: StreamSecret) -> StreamToken:
        """The token that a secret is of. Raises NotFound."""
        missing = "there is nothing here, or not any more"
        return rows.get(self._table, _key(thing, StreamTokenId.of(secret)), StreamToken, missing=missing)

    def revoke(self, thing: ThingName, token: StreamTokenId) -> None:
        """End a token at once. Raises NotFound."""
        try:
            self._table.write(Delete(_key(thing, token), Condition.PRESENT))
        except Conflict as error:
            raise NotFound(f"there is no stream token {token} of {thing}") from error

    def forget_camera(self, thing: ThingName) -> None:
        """End all of a camera's: its name may be given to another one."""
        for token in self.of_camera(thing):
            self._table.write(Delete(_key(thing, token.id)))


def _partition(thing: ThingName) -> str:
    return f"stream-token#{thing}"


def _key(thing: ThingName, token: StreamTokenId) -> Key:
    return Key(_partition(thing), str(token))
