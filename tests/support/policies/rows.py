"""The rows that functions ask for, held against the partitions that their roles may touch.

`rows_under_roles` is a fixture for modules that take over tests of the planes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from pinthesky.aws.lambda_handlers import Entrances
from pinthesky.hub.records import SqliteTable
from pinthesky.planes import camera_silence, retention
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.ingest import device_events, job_events, media_events, presence_events
from pinthesky.planes.table import Change, Check, Delete, Key, Page, Put, Record, Table
from tests.planes import home as stage
from tests.support.cloud_template import Cloud
from tests.support.policies.asking import Asking
from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.evaluation import Request

_serving: ContextVar[str | None] = ContextVar("serving", default=None)

# What each handler begins with, where a test of the planes calls it without the function.
_BEGINNINGS: tuple[tuple[Any, str, str], ...] = (
    (Entrances, "http", "http"),
    (Entrances, "socket", "socket"),
    (device_events, "received", "device_event"),
    (presence_events, "changed", "presence"),
    (job_events, "progressed", "job_execution"),
    (media_events, "stored", "media"),
    (media_events, "removed", "media"),
    (camera_silence, "check", "schedule"),
    (endpoint, "close_overdue", "schedule"),
    (retention, "sweep", "schedule"),
    (retention, "reconcile", "schedule"),
)


@dataclasses.dataclass
class RowsUnderRoles:
    """Notes in `refused` every row that the role of the function at work may not touch."""

    asking: Asking
    refused: list[str] = dataclasses.field(default_factory=list)
    asked: int = 0

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Know from now on which function is at work."""
        for owner, name, handler in _BEGINNINGS:
            monkeypatch.setattr(owner, name, serving_as(handler, getattr(owner, name)))

    def of(self, table: Table) -> Table:
        """The same table, watched."""
        return _WatchedTable(table, self)

    def may(self, action: str, keys: Sequence[str], index: str = "") -> None:
        """Note it if the function at work may not do this."""
        handler = _serving.get()
        if handler is None or not keys:
            return
        self.asked += 1
        principal, _ = self.asking.principal(f"function:{handler}")
        resource = self.asking.resource(f"table:{index}" if index else "table")
        request = Request(principal, f"dynamodb:{action}", resource, {"dynamodb:leadingkeys": list(keys)})
        if not self.asking.account.may(request).allowed:
            self.refused.append(f"{handler}: {action} of {index or 'table'} {sorted(set(keys))}")


@pytest.fixture(scope="module")
def asking(cloud: Cloud) -> Asking:
    """The account that the templates make, as deployed."""
    return Asking(CloudAccount(cloud.templates))


@pytest.fixture(autouse=True)
def rows_under_roles(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Watch the homes of the tests of a module: at the end of each no row was refused."""
    rows = RowsUnderRoles(asking)
    rows.watch(monkeypatch)
    monkeypatch.setattr(stage, "SqliteTable", lambda *given, **more: rows.of(SqliteTable(*given, **more)))
    yield
    assert rows.refused == []


class _WatchedTable:
    def __init__(self, table: Table, rows: RowsUnderRoles) -> None:
        self._table, self._rows = table, rows

    def get(self, key: Key) -> Record | None:
        self._rows.may("GetItem", [key.partition])
        return self._table.get(key)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Record]:
        self._rows.may("BatchGetItem", [key.partition for key in keys])
        return self._table.get_many(keys)

    def write(self, *changes: Change) -> None:
        actions = {Put: "UpdateItem", Delete: "DeleteItem", Check: "ConditionCheckItem"}
        for change in changes:
            key = change.record.key if isinstance(change, Put) else change.key
            self._rows.may(actions[type(change)], [key.partition])
        self._table.write(*changes)

    def query(self, partition: str, *given: Any, **more: Any) -> Page:
        self._rows.may("Query", [partition])
        return self._table.query(partition, *given, **more)

    def query_index(self, partition: str, *given: Any, **more: Any) -> Page:
        self._rows.may("Query", [partition], "time")
        return self._table.query_index(partition, *given, **more)


def serving_as(handler: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, at work as that of a handler."""

    def serve(*given: Any, **more: Any) -> Any:
        # One function does the work of another within itself, with its own role.
        before = _serving.set(_serving.get() or handler)
        try:
            return function(*given, **more)
        finally:
            _serving.reset(before)

    return serve
