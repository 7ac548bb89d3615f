"""The table of the records: one suite for SQLite and DynamoDB (moto)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.aws.records import DynamoTable
from pinthesky.errors import Conflict, InvalidInput
from pinthesky.hub.database import Database
from pinthesky.hub.records import SqliteTable
from pinthesky.planes import table as tables
from pinthesky.planes.table import Check, Condition, Delete, Key, Put, Range, Record, Table
from tests.support.aws_fixtures import moto_client

KEY = Key("clip#garden", "0001")


class World(NamedTuple):
    table: Table
    clock: list[float]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(tmp_path_factory.mktemp("records") / "hub.sqlite")
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "dynamodb"])
def world(request, database: Database, moto_port: int) -> World:
    clock = [1_800_000_000.0]
    if request.param == "sqlite":
        with database.transaction() as connection:
            connection.execute("DROP TABLE IF EXISTS records")
            connection.execute("DELETE FROM schemas WHERE part = 'records'")
        return World(SqliteTable(database, now_s=lambda: clock[0]), clock)
    client, name = moto_client(moto_port, "dynamodb"), f"records-{secrets.token_hex(6)}"
    names = ("PK", "SK", "GS1-PK", "GS1-SK")
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in names],
        KeySchema=_schema("PK", "SK"),
        GlobalSecondaryIndexes=[
            {"IndexName": "time", "KeySchema": _schema("GS1-PK", "GS1-SK"), "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    return World(DynamoTable(client, name, now_s=lambda: clock[0]), clock)


def _schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


def record(sort: str = "0001", content: bytes = b"{}", **fields) -> Record:
    return Record(Key("clip#garden", sort), content, **fields)


def sorts(page: tables.Page) -> list[str]:
    return [found.key.sort for found in page.records]


def test_what_was_written_is_read_as_it_was(world: World):
    index = Key("clips", "1800000000")
    content = '{"camera":"Gärten ☀","bytes":12345678901234567890,"score":0.1}'.encode()
    world.table.write(Put(record(content=content, index=index, expires_at_s=1_900_000_000)))
    found = world.table.get(KEY)
    assert found is not None
    assert (found.key, found.content, found.index, found.expires_at_s) == (KEY, content, index, 1_900_000_000)
    assert world.table.get_many([KEY, Key("clip#garden", "none")]) == {KEY: found}


def test_what_is_not_there_is_none(world: World):
    assert world.table.get(KEY) is None
    assert world.table.get_many([]) == {}
    assert world.table.query("clip#garden") == tables.Page([], None)


def test_a_later_put_replaces_everything_of_the_earlier(world: World):
    world.table.write(Put(record(content=b'{"n":1}', index=Key("clips", "1"), expires_at_s=1_900_000_000)))
    world.table.write(Put(record(content=b'{"n":2}')))
    found = world.table.get(KEY)
    assert found is not None
    assert (found.content, found.index, found.expires_at_s) == (b'{"n":2}', None, None)
    assert sorts(world.table.query_index("clips")) == []


def test_a_condition_on_absence_lets_one_writer_win(world: World):
    world.table.write(Put(record(content=b'"first"'), Condition.ABSENT))
    with pytest.raises(Conflict):
        world.table.write(Put(record(content=b'"second"'), Condition.ABSENT))
    found = world.table.get(KEY)
    assert found is not None
    assert found.content == b'"first"'


@pytest.mark.parametrize("change", [Put(record(), Condition.PRESENT), Delete(KEY, Condition.PRESENT)])
def test_a_condition_on_presence_fails_where_nothing_is(world: World, change):
    with pytest.raises(Conflict):
        world.table.write(change)
    assert world.table.get(KEY) is None


def test_a_lost_update_is_a_conflict(world: World):
    world.table.write(Put(record(content=b"0")))
    read = world.table.get(KEY)
    assert read is not None
    world.table.write(Put(record(content=b"1"), read.version))
    with pytest.raises(Conflict):
        world.table.write(Put(record(content=b"2"), read.version))
    with pytest.raises(Conflict):
        world.table.write(Delete(KEY, read.version))
    now = world.table.get(KEY)
    assert now is not None
    assert now.content == b"1"
    assert now.version != read.version


def test_a_transaction_is_made_whole_or_not_at_all(world: World):
    world.table.write(Put(record("0001")))
    with pytest.raises(Conflict):
        world.table.write(Put(record("0002")), Delete(KEY), Check(Key("group#a", "x"), Condition.PRESENT))
    assert sorts(world.table.query("clip#garden")) == ["0001"]
    world.table.write(Put(record("0002")), Delete(KEY), Check(Key("group#a", "x"), Condition.ABSENT))
    assert sorts(world.table.query("clip#garden")) == ["0002"]


def test_an_expired_record_is_absent_to_everybody(world: World):
    world.table.write(Put(record("0001", index=Key("clips", "1"), expires_at_s=1_800_000_100)))
    world.table.write(Put(record("0002", index=Key("clips", "2"))))
    world.clock[0] = 1_800_000_099.9
    assert sorts(world.table.query("clip#garden")) == ["0001", "0002"]
    world.clock[0] = 1_800_000_100.0
    assert world.table.get(KEY) is None
    assert world.table.get_many([KEY]) == {}
    assert sorts(world.table.query("clip#garden")) == ["0002"]
    assert sorts(world.table.query_index("clips")) == ["0002"]
    with pytest.raises(Conflict):
        world.table.write(Put(record(), Condition.PRESENT))
    world.table.write(Put(record(), Condition.ABSENT))
    assert world.table.get(KEY) is not None


def test_a_range_has_both_its_ends(world: World):
    world.table.write(*(Put(record(f"{number:04}")) for number in range(1, 10)))
    within = Range("0003", "0006")
    assert sorts(world.table.query("clip#garden", within)) == ["0003", "0004", "0005", "0006"]
    assert sorts(world.table.query("clip#garden", within, ascending=False, limit=2)) == ["0006", "0005"]
    assert sorts(world.table.query("clip#garden", Range.prefix("000"))) == [f"{number:04}" for number in range(1, 10)]
    assert sorts(world.table.query("clip#garden", Range.prefix("1"))) == []


def test_keys_are_ordered_by_their_bytes(world: World):
    names = ["a", "B", "ä", "Z", "aa", "\U0001f600", "￿", "10", "9"]
    world.table.write(*(Put(record(name)) for name in names))
    assert sorts(world.table.query("clip#garden")) == sorted(names, key=str.encode)


@pytest.mark.parametrize("ascending", [True, False])
def test_pages_hold_everything_once_though_others_write_meanwhile(world: World, ascending):
    world.table.write(*(Put(record(f"{number:04}")) for number in range(0, 20, 2)))
    first = world.table.query("clip#garden", ascending=ascending, limit=4)
    last = first.records[-1].key.sort
    # One behind us, one before us, and the very record at which the page ended goes away.
    world.table.write(Put(record("0001")), Put(record("0017")), Delete(Key("clip#garden", last)))
    second = world.table.query("clip#garden", ascending=ascending, limit=100, after=first.next)
    seen = sorts(first) + sorts(second)
    assert seen == sorted(set(seen), reverse=not ascending)
    assert {f"{number:04}" for number in range(0, 20, 2)} <= set(seen)
    assert ("0017" if ascending else "0001") in seen
    assert second.next is None


@pytest.mark.parametrize("ascending", [True, False])
def test_the_index_lists_over_partitions_by_time_and_never_loses_one_of_the_same_moment(world: World, ascending):
    places = [(f"clip#{camera}", f"{number:04}") for camera in ("a", "b", "c") for number in range(5)]
    for partition, sort in places:
        world.table.write(Put(Record(Key(partition, sort), b"{}", index=Key("clips", "1800000000"))))
    seen, after = [], None
    for _ in range(len(places)):
        page = world.table.query_index("clips", ascending=ascending, limit=4, after=after)
        seen += [(found.key.partition, found.key.sort) for found in page.records]
        after = page.next
        if after is None:
            break
    assert sorted(seen) == sorted(places)


def test_an_exact_last_page_says_that_it_is_the_last(world: World):
    world.table.write(*(Put(record(f"{number}")) for number in range(4)))
    page = world.table.query("clip#garden", limit=2)
    assert page.next is not None
    page = world.table.query("clip#garden", limit=2, after=page.next)
    assert (sorts(page), page.next) == (["2", "3"], None)


def test_a_page_is_full_though_many_have_expired(world: World):
    world.table.write(*(Put(record(f"{n:04}", expires_at_s=None if n % 10 == 9 else 1)) for n in range(60)))
    page = world.table.query("clip#garden", limit=5)
    assert sorts(page) == ["0009", "0019", "0029", "0039", "0049"]
    assert sorts(world.table.query("clip#garden", limit=5, after=page.next)) == ["0059"]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda table: table.query("p", limit=0), "limit: must be 1 to 100, got 0"),
        (lambda table: table.query_index("p", limit=101), "limit: must be 1 to 100, got 101"),
        (lambda table: table.write(), "changes: must be 1 to 100, got 0"),
        (lambda table: table.write(Delete(KEY), Put(record())), "changes: must be of different keys"),
        (lambda table: table.get(Key("p", "")), "key.sort: must have 1 to 512 bytes, got 0"),
        (lambda table: table.get(Key("ä" * 257, "s")), "key.partition: must have 1 to 512 bytes, got 514"),
        (lambda table: table.write(Put(record(content=b"x" * (tables.RECORD_MAX + 1)))), "record: must have at most"),
    ],
)
def test_bounds_are_named(world: World, wrong, message):
    with pytest.raises(InvalidInput, match=message):
        wrong(world.table)


CHANGES = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(["put", "delete"]),
        strategies.sampled_from("abc"),
        strategies.sampled_from([Condition.ANY, Condition.ABSENT, Condition.PRESENT, "read", "stale"]),
        strategies.booleans(),
    ),
    max_size=12,
)


@hypothesis.settings(max_examples=15, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(CHANGES)
def test_any_history_of_changes_ends_as_a_dictionary_would(world: World, changes):
    run = secrets.token_hex(4)
    model: dict[Key, bytes] = {}
    for number, (kind, name, wanted, twice) in enumerate(changes):
        key = Key(run, name)
        read = world.table.get(key)
        version = 0 if read is None else read.version
        condition = {"read": version, "stale": version + 1}.get(wanted, wanted)
        holds = {Condition.ANY: True, Condition.ABSENT: key not in model, Condition.PRESENT: key in model}.get(
            wanted, wanted == "read" and key in model
        )
        change: tables.Change = Put(Record(key, b"%d" % number), condition) if kind == "put" else Delete(key, condition)
        both = [change, Check(Key(run, "never"), Condition.ABSENT)] if twice else [change]
        if not holds:
            with pytest.raises(Conflict):
                world.table.write(*both)
            continue
        world.table.write(*both)
        if kind == "put":
            model[key] = b"%d" % number
        else:
            model.pop(key, None)
    assert {found.key: found.content for found in world.table.query(run).records} == model
