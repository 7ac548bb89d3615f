"""The WebSockets of people, what each has done lately, and the live views that are running for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, NotFound
from pinthesky.model.commands import InvokeId
from pinthesky.model.identifiers import ConnectionId, ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.data_plane.limits import IDLE_S, LIFETIME_S, WINDOW_S
from pinthesky.planes.records import rows
from pinthesky.planes.table import LIMIT_MAX, Change, Check, Condition, Delete, Key, Position, Put, Record, Table

PARTITION = "connection"
Kind = Literal["manager", "session"]
"""A manager is a console: it hears of events. A session is another connection of it, which carries a live view."""


class Socket(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One open connection. Times are epoch milliseconds."""

    id: ConnectionId
    kind: Kind
    connected_at: int
    last_active_at: int
    person: PersonId | None = None
    """None until somebody has logged in."""
    manager: ConnectionId | None = None
    """Of a session: the manager that it belongs to."""
    source_ip: str = ""
    user_agent: str = ""
    failed_logins: int = 0
    window_at: int = 0
    received: int = 0
    """Messages since `window_at`."""

    @property
    def manager_id(self) -> ConnectionId:
        """The manager's id: its own, where it is one."""
        return self.manager or self.id

    @property
    def expires_at(self) -> int:
        """When it is closed at the latest."""
        return self.connected_at + LIFETIME_S * 1000


class LiveSession(Struct, frozen=True, kw_only=True, rename="camel"):
    """A live view that a connection has started on a camera, and not stopped."""

    invoke_id: InvokeId
    camera: ThingName
    started_at: int
    transport: str = "relay"


class Sockets:
    """The repository of the connections."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, socket: Socket) -> None:
        """Note a connection that has opened; a session's manager has to be there. Raises NotFound (it is not)."""
        self._write(socket, Put(_record(socket)))

    def get(self, connection: ConnectionId) -> Socket:
        """Raises NotFound."""
        return rows.get(self._table, _key(connection), Socket, missing=f"there is no connection {connection}")

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Socket]:
        """Connections in the order of their ids."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Socket)

    def everyone(self) -> Iterator[Socket]:
        """All connections; what is opened or closed meanwhile may be among them or not."""
        after = None
        while True:
            found, after = self.page(limit=LIMIT_MAX, after=after)
            yield from found
            if after is None:
                return

    def managers(self) -> Iterator[Socket]:
        """The managers with somebody logged in: who is told of events."""
        return (each for each in self.everyone() if each.kind == "manager" and each.person is not None)

    def of_person(self, person: PersonId) -> list[Socket]:
        """The connections of one person."""
        return [each for each in self.everyone() if each.person == person]

    def note_message(self, connection: ConnectionId, now_ms: int) -> Socket:
        """Count a message that has arrived, and note that the connection lives. Raises NotFound."""

        def counted(before: Socket) -> Socket:
            if now_ms >= before.window_at + WINDOW_S * 1000:
                return replace(before, last_active_at=now_ms, window_at=now_ms, received=1)
            return replace(before, last_active_at=now_ms, received=before.received + 1)

        return self._change(connection, counted)

    def note_failed_login(self, connection: ConnectionId) -> Socket:
        """Raises NotFound."""
        return self._change(connection, lambda before: replace(before, failed_logins=before.failed_logins + 1))

    def log_in(self, connection: ConnectionId, person: PersonId, manager: ConnectionId | None) -> Socket:
        """Note whose connection it is, and whose session. Raises NotFound (it, or its manager, is gone), Conflict."""
        record = self._table.get(_key(connection))
        if record is None:
            raise NotFound(f"there is no connection {connection}")
        after = replace(rows.decode(record, Socket), person=person, manager=manager)
        self._write(after, Put(_record(after), record.version))
        return after

    def remove(self, connection: ConnectionId) -> Socket | None:
        """Forget a connection; what it was, None where it is not known. What was started for it stays noted."""
        record = self._table.get(_key(connection))
        if record is None:
            return None
        socket = rows.decode(record, Socket)
        belonging = [] if socket.manager is None else [Delete(_belonging_key(socket.manager, connection))]
        self._table.write(Delete(_key(connection)), *belonging)
        return socket

    def sessions_of(self, manager: ConnectionId) -> list[ConnectionId]:
        """The connections that are a manager's sessions, at most 100."""
        return [ConnectionId(each.key.sort) for each in self._table.query(f"connection-of#{manager}").records]

    def start(self, socket: Socket, session: LiveSession) -> None:
        """Note a live view; one of the same invoke id is replaced."""
        key = _session_key(socket.id, session.invoke_id)
        self._table.write(Put(Record(key, rows.encode(session), expires_at_s=_expires_at_s(socket))))

    def stop(self, connection: ConnectionId, invoke_id: InvokeId) -> None:
        """Forget a live view. One that is not there is no error."""
        self._table.write(Delete(_session_key(connection, invoke_id)))

    def live(self, connection: ConnectionId, invoke_id: InvokeId) -> LiveSession:
        """Raises NotFound."""
        key = _session_key(connection, invoke_id)
        return rows.get(self._table, key, LiveSession, missing=f"there is no session {invoke_id}")

    def live_page(
        self, connection: ConnectionId, *, limit: int, after: Position | None = None
    ) -> rows.Rows[LiveSession]:
        """What was started for a connection, in the order of the invoke ids."""
        page = self._table.query(f"session#{connection}", limit=limit, after=after)
        return rows.decode_page(page, LiveSession)

    def _change(self, connection: ConnectionId, to: Callable[[Socket], Socket]) -> Socket:
        missing = f"there is no connection {connection}"
        return rows.change(self._table, _key(connection), Socket, to_record=_record, to=to, missing=missing)

    def _write(self, socket: Socket, change: Change) -> None:
        if socket.manager is None:
            self._table.write(change)
            return
        belonging = Record(_belonging_key(socket.manager, socket.id), b"{}", expires_at_s=_expires_at_s(socket))
        try:
            self._table.write(change, Put(belonging), Check(_key(socket.manager), Condition.PRESENT))
        except Conflict as error:
            if self._table.get(_key(socket.manager)) is None:
                raise NotFound(f"there is no connection {socket.manager}") from error
            raise


def _key(connection: ConnectionId) -> Key:
    return Key(PARTITION, str(connection))


def _belonging_key(manager: ConnectionId, session: ConnectionId) -> Key:
    return Key(f"connection-of#{manager}", str(session))


def _session_key(connection: ConnectionId, invoke_id: InvokeId) -> Key:
    return Key(f"session#{connection}", str(invoke_id))


def _expires_at_s(socket: Socket) -> int:
    """A while after its end, so that it can be found and closed even if its end was not heard of."""
    return socket.expires_at // 1000 + IDLE_S


def _record(socket: Socket) -> Record:
    return Record(_key(socket.id), rows.encode(socket), expires_at_s=_expires_at_s(socket))
