"""The planes' port `SignIns` in AWS.

Cognito can neither list where somebody is signed in nor end one of those places: it can only end all of them, and the
access tokens that it has given stay good until they expire. So the planes keep a row for each sign-in that they have
seen, by the claim `origin_jti`, which all tokens of one sign-in share. Ending one means that its tokens are refused
here from then on, those that Cognito still renews too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, NotAuthorized, NotFound
from pinthesky.model.people import PersonId
from pinthesky.planes.ports import SignedIn
from pinthesky.planes.table import Condition, Key, Put, Record, Table

LISTED_MAX = 100
READ_MAX = 1000
KEPT_S = 90 * 24 * 3600
"""How long a row stays after its last use: longer than Cognito renews tokens (30 days unless it is told otherwise)."""
NOTED_EVERY_S = 300
"""How exact `used_at_s` is: one write for each of so many seconds, not for each request."""
SESSION_MAX = 64
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SignInRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """One place where somebody is signed in."""

    since_s: int
    used_at_s: int
    user_agent: str = ""
    source_ip: str = ""
    ended: bool = False


class CognitoSignIns:
    """The adapter of `planes.ports.SignIns`; `note` is how it learns of them."""

    def __init__(self, table: Table, *, now_s: Callable[[], float] = time.time) -> None:
        self._table = table
        self._now_s = now_s

    def note(self, person: PersonId, session: str, *, user_agent: str = "", source_ip: str = "") -> None:
        """Learn that a token of a sign-in was shown. Raises NotAuthorized: it was ended."""
        if _SESSION.fullmatch(session) is None:
            raise NotAuthorized("this access token names no sign-in")
        key, now_s = _key(person, session), int(self._now_s())
        record = self._table.get(key)
        row = None if record is None else _row(record)
        if row is not None and row.ended:
            raise NotAuthorized("this sign-in has been ended")
        if row is not None and now_s - row.used_at_s < NOTED_EVERY_S:
            return
        since_s = now_s if row is None else row.since_s
        seen = SignInRow(
            since_s=since_s, used_at_s=now_s, user_agent=_shown(user_agent)[:200], source_ip=source_ip[:64]
        )
        # Whoever is first among several requests of one moment has noted it for all.
        with suppress(Conflict):
            self._table.write(self._put(key, seen, Condition.ABSENT if record is None else record.version))

    def of_person(self, person: PersonId) -> Sequence[SignedIn]:
        """See `planes.ports.SignIns`. Of a thousand in three months the rest are not looked at."""
        records: list[Record] = []
        after = None
        while len(records) < READ_MAX:
            page = self._table.query(_partition(person), after=after)
            records += page.records
            after = page.next
            if after is None:
                break
        rows = [(record.key.sort, _row(record)) for record in records]
        found = [
            SignedIn(session, person, row.since_s, row.used_at_s, row.user_agent, row.source_ip)
            for session, row in rows
            if not row.ended
        ]
        return sorted(found, key=lambda each: -each.used_at_s)[:LISTED_MAX]

    def end(self, person: PersonId, session: str) -> None:
        """See `planes.ports.SignIns`."""
        if _SESSION.fullmatch(session) is None:
            raise NotFound("there is no such session")
        key = _key(person, session)
        while True:
            record = self._table.get(key)
            row = None if record is None else _row(record)
            if record is None or row is None or row.ended:
                raise NotFound("there is no such session")
            with suppress(Conflict):
                self._table.write(self._put(key, replace(row, ended=True), record.version))
                return

    def _put(self, key: Key, row: SignInRow, condition: Condition | int) -> Put:
        expires_at_s = int(self._now_s()) + KEPT_S
        return Put(Record(key, msgspec.json.encode(row), expires_at_s=expires_at_s), condition)


def _partition(person: PersonId) -> str:
    return f"sign-in#{person}"


def _key(person: PersonId, session: str) -> Key:
    return Key(_partition(person), session)


def _row(record: Record) -> SignInRow:
    return msgspec.json.decode(record.content, type=SignInRow)


def _shown(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
