"""The secret of a home in AWS: a row that is made once, whoever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import msgspec
import pytest

from pinthesky.aws.adapters import home_secret
from pinthesky.aws.adapters.home_secret import KEY, SecretRow, secret_of
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.hub.records import SqliteTable
from pinthesky.planes.table import Change, Delete, Key, Put, Record
from tests.planes.fakes import Clock
from tests.planes.home import UnsyncedDatabase
from tests.support.aws_planes import new_table


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SqliteTable]:
    database = UnsyncedDatabase(tmp_path / "hub.sqlite")
    yield SqliteTable(database, now_s=Clock())
    database.close()


def test_it_is_made_once_and_random_for_each_home(table: SqliteTable):
    first = secret_of(table)
    assert len(first) == 32
    assert secret_of(table) == first
    table.write(Delete(KEY))
    assert secret_of(table) != first


def test_functions_that_begin_at_the_same_moment_take_the_same(moto_port: int):
    table, together = new_table(moto_port, Clock()), Barrier(6)

    class Late(type(table)):  # type: ignore[misc] # whatever table this is
        """Everybody has looked before anybody writes."""

        def get(self, key: Key) -> Record | None:
            found = super().get(key)
            if found is None:
                together.wait(10)
            return found

    late = Late(table._client, table._name, now_s=Clock())
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(lambda _: secret_of(late), range(6)))
    assert len(found) == 1
    assert found == {secret_of(table)}


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"secret": 7}', b'{"secret": "no base64!"}'])
def test_a_row_that_holds_something_else_is_not_believed(table: SqliteTable, content: bytes):
    table.write(Put(Record(KEY, content)))
    with pytest.raises(InvariantBroken):
        secret_of(table)


def test_a_secret_that_somebody_has_cut_short_is_refused(table: SqliteTable):
    table.write(Put(Record(KEY, msgspec.json.encode(SecretRow(b"short")))))
    with pytest.raises(InvariantBroken, match="32 bytes, has 5"):
        secret_of(table)


def test_one_that_is_removed_while_it_is_made_is_asked_for_again_later(
    table: SqliteTable, monkeypatch: pytest.MonkeyPatch
):
    write = table.write

    def write_and_lose(*changes: Change) -> None:
        write(*changes)
        write(Delete(KEY))

    monkeypatch.setattr(table, "write", write_and_lose)
    with pytest.raises(Unavailable):
        secret_of(table)
    assert home_secret.SECRET_BYTES == 32
