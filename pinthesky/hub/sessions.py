"""Signing in to the hub: links that work once, sessions of browsers, and the refresh tokens that belong to them.

Only hashes are stored: who reads the database can sign in as nobody. Every secret has 256 random bits, so a plain
SHA-256 of it is enough.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from pinthesky.errors import NotAuthorized, NotFound
from pinthesky.hub.database import Database
from pinthesky.model.people import PersonId

LINK_S = 10 * 60
LINKS_MAX = 5
"""Unused links of one person at a time. The oldest goes."""
SESSION_S = 30 * 24 * 3600
SESSIONS_MAX = 50
"""Sessions of one person. The one that was used longest ago goes."""
REFRESH_GRACE_S = 30
"""How long a refresh token that was used already is taken again: the answer to its use may have been lost."""

_SCHEMA = (
    """CREATE TABLE sign_in_links (
        hash BLOB PRIMARY KEY,
        person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
        made_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
        made_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        user_agent TEXT NOT NULL,
        source_ip TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX sessions_of ON sessions (person, used_at)",
    """CREATE TABLE refresh_tokens (
        hash BLOB PRIMARY KEY,
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        expires_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX refresh_tokens_of ON refresh_tokens (session)",
)


@dataclass(frozen=True)
class Session:
    """A browser that has signed in. Times are epoch seconds."""

    id: str
    person: PersonId
    made_at_s: int
    used_at_s: int
    expires_at_s: int
    user_agent: str
    source_ip: str


class Sessions:
    """Who is signed in where. Thread-safe; what it returns as a secret is kept nowhere."""

    def __init__(
        self,
        database: Database,
        *,
        session_s: int = SESSION_S,
        link_s: int = LINK_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """How long a session lasts, whatever is done in it, and how long a link is good.

        The tables of `people` are there already.
        """
        self._database = database
        self.session_s = session_s
        self.link_s = link_s
        self._now_s = now_s
        database.migrate("sessions", _SCHEMA)

    def make_link(self, person: PersonId) -> str:
        """The secret of a link with which a person signs in, once, within `link_s`. Raises Conflict (nobody)."""
        secret, now = _new_secret(), self._now()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sign_in_links WHERE expires_at <= ?", (now,))
            row = (_hash(secret), str(person), now, now + self.link_s)
            connection.execute("INSERT INTO sign_in_links VALUES (?, ?, ?, ?)", row)
            connection.execute(
                """DELETE FROM sign_in_links WHERE person = ? AND hash NOT IN
                (SELECT hash FROM sign_in_links WHERE person = ? ORDER BY made_at DESC, hash LIMIT ?)""",
                (str(person), str(person), LINKS_MAX),
            )
        return secret

    def redeem_link(self, secret: str, *, user_agent: str, source_ip: str) -> str:
        """Sign in with a link: the secret of a new session. Raises NotAuthorized (unknown, used or expired)."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "DELETE FROM sign_in_links WHERE hash = ? AND expires_at > ? RETURNING person",
                (_hash(secret), self._now()),
            ).fetchone()
            if row is None:
                raise NotAuthorized("this link was used already, or its time is over")
            return self._open(connection, PersonId(row["person"]), user_agent=user_agent, source_ip=source_ip)

    def open(self, person: PersonId, *, user_agent: str, source_ip: str) -> str:
        """Sign somebody in who has proved otherwise who it is: the secret of a new session."""
        with self._database.transaction() as connection:
            return self._open(connection, person, user_agent=user_agent, source_ip=source_ip)

    def of_secret(self, secret: str) -> Session:
        """The session of a browser that shows its secret. Raises NotAuthorized."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM sessions WHERE hash = ? AND expires_at > ?", (_hash(secret), self._now())
            ).fetchone()
        if row is None:
            raise NotAuthorized("this session has ended")
        return _session(row)

    def of_id(self, session: str) -> Session:
        """A session that is named in a token. Raises NotAuthorized when it has ended."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM sessions WHERE id = ? AND expires_at > ?", (session, self._now())
            ).fetchone()
        if row is None:
            raise NotAuthorized("this session has ended")
        return _session(row)

    def of_person(self, person: PersonId) -> list[Session]:
        """Where somebody is signed in, the latest used first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM sessions WHERE person = ? AND expires_at > ? ORDER BY used_at DESC, id",
                (str(person), self._now()),
            ).fetchall()
        return [_session(row) for row in rows]

    def end(self, session: str) -> None:
        """Sign a browser out; its tokens are refused from now on. Raises NotFound."""
        with self._database.transaction() as connection:
            if connection.execute("DELETE FROM sessions WHERE id = ?", (session,)).rowcount == 0:
                raise NotFound("there is no such session")

    def make_refresh_token(self, session: str) -> str:
        """The first refresh token of a session. Raises NotAuthorized when the session has ended."""
        with self._database.transaction() as connection:
            return self._new_refresh_token(connection, session)

    def rotate(self, refresh_token: str) -> tuple[Session, str]:
        """Take a refresh token and give the next one. Raises NotAuthorized.

        A token that comes again after REFRESH_GRACE_S is in two hands, and one of them is a thief's: its session ends.
        """
        with self._database.transaction() as connection:
            rotated = self._rotate(connection, _hash(refresh_token))
        if rotated is None:
            raise NotAuthorized("this session has ended")
        return rotated

    def _rotate(self, connection: sqlite3.Connection, token_hash: bytes) -> tuple[Session, str] | None:
        now = self._now()
        row = connection.execute("SELECT * FROM refresh_tokens WHERE hash = ?", (token_hash,)).fetchone()
        if row is None or now >= row["expires_at"]:
            return None
        if row["used_at"] is not None and now > row["used_at"] + REFRESH_GRACE_S:
            connection.execute("DELETE FROM sessions WHERE id = ?", (row["session"],))
            return None
        connection.execute("UPDATE refresh_tokens SET used_at = coalesce(used_at, ?) WHERE hash = ?", (now, token_hash))
        connection.execute("UPDATE sessions SET used_at = ? WHERE id = ?", (now, row["session"]))
        following = self._new_refresh_token(connection, row["session"])
        found = connection.execute("SELECT * FROM sessions WHERE id = ?", (row["session"],)).fetchone()
        return _session(found), following

    def _open(self, connection: sqlite3.Connection, person: PersonId, *, user_agent: str, source_ip: str) -> str:
        secret, now = _new_secret(), self._now()
        connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))
        connection.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                secrets.token_hex(16),
                _hash(secret),
                str(person),
                now,
                now,
                now + self.session_s,
                user_agent[:200],
                source_ip[:64],
            ),
        )
        connection.execute(
            """DELETE FROM sessions WHERE person = ? AND id NOT IN
            (SELECT id FROM sessions WHERE person = ? ORDER BY used_at DESC, made_at DESC, id LIMIT ?)""",
            (str(person), str(person), SESSIONS_MAX),
        )
        return secret

    def _new_refresh_token(self, connection: sqlite3.Connection, session: str) -> str:
        row = connection.execute(
            "SELECT expires_at FROM sessions WHERE id = ? AND expires_at > ?", (session, self._now())
        ).fetchone()
        if row is None:
            raise NotAuthorized("this session has ended")
        token = _new_secret()
        # What was used long ago would only be kept to notice a thief; the last few are enough for that.
        connection.execute(
            """DELETE FROM refresh_tokens WHERE session = ? AND hash NOT IN
            (SELECT hash FROM refresh_tokens WHERE session = ? ORDER BY coalesce(used_at, 9e18) DESC LIMIT 20)""",
            (session, session),
        )
        values = (_hash(token), session, row["expires_at"])
        connection.execute("INSERT INTO refresh_tokens VALUES (?, ?, ?, NULL)", values)
        return token

    def _now(self) -> int:
        return int(self._now_s())


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _session(row: sqlite3.Row) -> Session:
    return Session(
        id=row["id"],
        person=PersonId(row["person"]),
        made_at_s=row["made_at"],
        used_at_s=row["used_at"],
        expires_at_s=row["expires_at"],
        user_agent=row["user_agent"],
        source_ip=row["source_ip"],
    )
