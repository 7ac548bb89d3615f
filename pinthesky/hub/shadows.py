"""Named shadows: kept in the database, changed over MQTT by things and as function calls by the planes."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, PinTheSkyError
from pinthesky.hub import shadow_document
from pinthesky.hub.database import Database
from pinthesky.hub.shadow_document import Shadow, TooLarge
from pinthesky.hub.thing_changes import Change, ThingChanges, TooManyRequests
from pinthesky.model.identifiers import ThingName

SHADOWS_PER_THING_MAX = 10
"""Most shadows of one thing. AWS has no such bound; a thing of ours uses one."""
FORGET_AFTER_S = 48 * 3600
"""How long the version of a deleted shadow is remembered (AWS IoT, "Interacting with shadows")."""
DELETED_PER_THING_MAX = 40
"""Most deleted shadows of one thing whose version is remembered."""

_NAME = re.compile(r"[$A-Za-z0-9:_-]{1,64}")
_SCHEMA = [
    """
    CREATE TABLE shadows (
        thing TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        document TEXT,
        changed_at_s INTEGER NOT NULL,
        PRIMARY KEY (thing, name)
    ) STRICT
    """,
]


class Shadows:
    """All shadows. May be used from any thread. A deleted shadow is a row without document."""

    def __init__(self, database: Database, changes: ThingChanges, *, clock: Callable[[], float] = time.time) -> None:
        database.migrate("shadows", _SCHEMA)
        self._changes = changes
        self._clock = clock

    def get(self, thing: ThingName, name: str) -> dict[str, Any]:
        """`{"state": {"desired", "reported", "delta"}, "metadata", "version", "timestamp"}`. Raises NotFound."""
        with self._changes.reading() as connection:
            return self._described(_load(connection, thing, _named(name)), name)

    def names(self, thing: ThingName) -> list[str]:
        """The names of the thing's shadows, in order."""
        with self._changes.reading() as connection:
            rows = connection.execute(
                "SELECT name FROM shadows WHERE thing = ? AND document IS NOT NULL ORDER BY name", (thing,)
            )
            return [row["name"] for row in rows]

    def update(self, thing: ThingName, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """Take over `{"state": {"desired", "reported"}, "version", "clientToken"}`; returns the accepted message.

        Things hear of it just as if it had come by MQTT. Raises InvalidInput (TooLarge among it), Conflict.
        """
        request = shadow_document.decode(shadow_document.encode(document))
        with self._changes.begin() as change:
            return self._update(change, thing, _named(name), request=request)

    def delete(self, thing: ThingName, name: str) -> dict[str, Any]:
        """Delete; returns `{"version", "timestamp"}` of what was deleted. Raises NotFound."""
        with self._changes.begin() as change:
            return self._delete(change, thing, _named(name), request={})

    def forget(self, connection: sqlite3.Connection, thing: ThingName) -> None:
        """Remove everything of a thing that is no more."""
        connection.execute("DELETE FROM shadows WHERE thing = ?", (thing,))

    def handle(self, change: Change, thing: ThingName, operation: Sequence[str], *, payload: bytes) -> None:
        """Serve a request that came by MQTT; `operation` is what follows `$aws/things/<thing>/shadow/`."""
        base = f"$aws/things/{thing}/shadow/{'/'.join(operation)}"
        request: Any = None
        try:
            if operation[0] != "name" or len(operation) != 3:
                raise InvalidInput("shadow", "The classic shadow is not offered, only named ones")
            request = shadow_document.decode(payload) if payload else {}
            with change.attempt():
                self._serve(change, thing, operation[1:], request=request)
        except PinTheSkyError as error:
            change.tell(f"{base}/rejected", self.rejection(error, request))

    def rejection(self, error: PinTheSkyError, request: Any) -> dict[str, Any]:
        """The rejected message for an error, with AWS's code."""
        code, text = _code_and_text(error)
        return _with_token({"code": code, "message": text, "timestamp": int(self._clock())}, request)

    def _serve(self, change: Change, thing: ThingName, operation: Sequence[str], *, request: Any) -> None:
        name = _named(operation[0])
        if operation[1] == "update":
            self._update(change, thing, name, request=request)
            return
        if operation[1] not in ("get", "delete"):
            raise InvalidInput("shadow", f"{operation[1]} is no operation of a shadow")
        if not isinstance(request, dict):
            raise InvalidInput("shadow", "Invalid JSON")
        shadow_document.check_token(request)
        if operation[1] == "delete":
            self._delete(change, thing, name, request=request)
        else:
            answer = self._described(_load(change.connection, thing, name), name)
            change.tell(f"{_topic(thing, name)}/get/accepted", _with_token(answer, request))

    def _described(self, shadow: Shadow | None, name: str) -> dict[str, Any]:
        if shadow is None:
            raise NotFound(f"No shadow exists with name: '{name}'")
        state = {**shadow.state, **({"delta": shadow.delta} if shadow.delta else {})}
        return {
            "state": state,
            "metadata": shadow.metadata,
            "version": shadow.version,
            "timestamp": int(self._clock()),
        }

    def _update(self, change: Change, thing: ThingName, name: str, *, request: Any) -> dict[str, Any]:
        update = shadow_document.parse_update(request)
        now_s = int(self._clock())
        found = _load(change.connection, thing, name)
        if found is None:
            self._make_room(change.connection, thing, now_s)
        before = found or Shadow(version=_version_deleted(change.connection, thing, name))
        after = shadow_document.apply(before, update, now_s)
        _save(change.connection, thing, name, state=(after, now_s))
        topic = f"{_topic(thing, name)}/update"
        answer = {**update.described(now_s), "version": after.version, "timestamp": now_s}
        change.tell(f"{topic}/accepted", _with_token(answer, request))
        delta = after.delta
        if delta:
            message = {"version": after.version, "timestamp": now_s, "state": delta}
            message["metadata"] = shadow_document.delta_metadata(after)
            change.tell(f"{topic}/delta", _with_token(message, request))
        documents = {"previous": before.document(), "current": after.document(), "timestamp": now_s}
        change.tell(f"{topic}/documents", _with_token(documents, request))
        return answer

    def _make_room(self, connection: sqlite3.Connection, thing: ThingName, now_s: int) -> None:
        """Before a shadow is made: forget what was deleted long ago. Raises InvalidInput where there are too many."""
        connection.execute(
            "DELETE FROM shadows WHERE thing = ? AND document IS NULL AND changed_at_s <= ?",
            (thing, now_s - FORGET_AFTER_S),
        )
        connection.execute(
            """DELETE FROM shadows WHERE thing = ?1 AND document IS NULL AND name NOT IN (
                   SELECT name FROM shadows WHERE thing = ?1 AND document IS NULL
                   ORDER BY changed_at_s DESC LIMIT ?2)""",
            (thing, DELETED_PER_THING_MAX),
        )
        query = "SELECT COUNT(*) FROM shadows WHERE thing = ? AND document IS NOT NULL"
        if connection.execute(query, (thing,)).fetchone()[0] >= SHADOWS_PER_THING_MAX:
            raise InvalidInput("shadow", f"A thing has at most {SHADOWS_PER_THING_MAX} shadows")

    def _delete(self, change: Change, thing: ThingName, name: str, *, request: Any) -> dict[str, Any]:
        shadow = _load(change.connection, thing, name)
        if shadow is None:
            raise NotFound(f"No shadow exists with name: '{name}'")
        now_s = int(self._clock())
        change.connection.execute(
            "UPDATE shadows SET document = NULL, changed_at_s = ? WHERE thing = ? AND name = ?", (now_s, thing, name)
        )
        answer = {"version": shadow.version, "timestamp": now_s}
        change.tell(f"{_topic(thing, name)}/delete/accepted", _with_token(answer, request))
        return answer


def _named(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise InvalidInput("shadow name", "must be 1 to 64 letters, digits, '$', ':', '_' or '-'")
    return name


def _topic(thing: ThingName, name: str) -> str:
    return f"$aws/things/{thing}/shadow/name/{name}"


def _with_token(message: dict[str, Any], request: Any) -> dict[str, Any]:
    token = shadow_document.token_of(request)
    return message if token is None else {**message, "clientToken": token}


def _code_and_text(error: PinTheSkyError) -> tuple[int, str]:
    if isinstance(error, TooLarge):
        return 413, error.reason
    if isinstance(error, InvalidInput):
        return 400, error.reason
    if isinstance(error, NotFound):
        return 404, str(error)
    if isinstance(error, Conflict):
        return 409, str(error)
    if isinstance(error, NotAuthorized):
        return 403, "Forbidden"
    if isinstance(error, TooManyRequests):
        return 429, "Too Many Requests"
    return 500, "Internal service failure"


def _load(connection: sqlite3.Connection, thing: ThingName, name: str) -> Shadow | None:
    row = connection.execute(
        "SELECT version, document FROM shadows WHERE thing = ? AND name = ? AND document IS NOT NULL", (thing, name)
    ).fetchone()
    return None if row is None else Shadow(version=row["version"], **json.loads(row["document"]))


def _version_deleted(connection: sqlite3.Connection, thing: ThingName, name: str) -> int:
    row = connection.execute("SELECT version FROM shadows WHERE thing = ? AND name = ?", (thing, name)).fetchone()
    return 0 if row is None else int(row["version"])


def _save(connection: sqlite3.Connection, thing: ThingName, name: str, *, state: tuple[Shadow, int]) -> None:
    shadow, now_s = state
    document = shadow_document.encode({"state": shadow.state, "metadata": shadow.metadata}).decode()
    connection.execute(
        "INSERT OR REPLACE INTO shadows VALUES (?, ?, ?, ?, ?)", (thing, name, shadow.version, document, now_s)
    )
