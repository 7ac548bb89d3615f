"""The table of the records in DynamoDB: keys `PK` and `SK`, index `time` on `GS1-PK` and `GS1-SK`, TTL `expiresIn`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable

import botocore.exceptions

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.planes.table import (
    EVERYTHING,
    LIMIT_MAX,
    Change,
    Condition,
    Delete,
    Key,
    Page,
    Position,
    Put,
    Range,
    Record,
    check_changes,
    check_limit,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "time"
_ALIVE = "(attribute_not_exists(expiresIn) OR expiresIn > :now)"
_PASSING = frozenset(
    {
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_BATCH_ROUNDS = 5

Item = Mapping[str, Any]


class DynamoTable:
    """The adapter of `planes.table.Table`. `now_s` is the wall clock, epoch seconds."""

    def __init__(self, client: DynamoDBClient, name: str, *, now_s: Callable[[], float] = time.time) -> None:
        self._client = client
        self._name = name
        self._now_s = now_s

    def get(self, key: Key) -> Record | None:
        """See `planes.table.Table`."""
        with self._errors():
            item = self._client.get_item(TableName=self._name, Key=_key(key), ConsistentRead=True).get("Item")
        return None if item is None or self._expired(item) else _record(item)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Record]:
        """See `planes.table.Table`."""
        if not keys:
            return {}
        check_limit(len(keys))
        items: list[Item] = []
        request: Any = {self._name: {"Keys": [_key(key) for key in dict.fromkeys(keys)], "ConsistentRead": True}}
        with self._errors():
            for _ in range(_BATCH_ROUNDS):
                answer = self._client.batch_get_item(RequestItems=request)
                items += answer["Responses"].get(self._name, [])
                request = answer.get("UnprocessedKeys")
                if not request:
                    break
            else:
                raise Unavailable(f"table {self._name} is overloaded")
        records = [_record(item) for item in items if not self._expired(item)]
        return {record.key: record for record in records}

    def write(self, *changes: Change) -> None:
        """See `planes.table.Table`."""
        check_changes(changes)
        operations = [self._operation(change) for change in changes]
        with self._errors():
            if len(changes) > 1 or changes[0].condition is not Condition.ANY:
                # Also for one: botocore gives a transaction a token, so its own repetition of a request whose answer
                # was lost is no conflict with itself.
                self._client.transact_write_items(TransactItems=operations)  # type: ignore[arg-type] # built as dicts
            elif "Delete" in operations[0]:
                self._client.delete_item(**operations[0]["Delete"])
            else:
                self._client.update_item(**operations[0]["Update"])

    def query(
        self,
        partition: str,
        within: Range = EVERYTHING,
        *,
        ascending: bool = True,
        limit: int = LIMIT_MAX,
        after: Position | None = None,
    ) -> Page:
        """See `planes.table.Table`."""
        start = None if after is None else _key(after.key)
        options = {"ConsistentRead": True}
        return self._page(
            ("PK", "SK"), partition, within, options=options, ascending=ascending, limit=limit, start=start
        )

    def query_index(
        self,
        partition: str,
        within: Range = EVERYTHING,
        *,
        ascending: bool = True,
        limit: int = LIMIT_MAX,
        after: Position | None = None,
    ) -> Page:
        """See `planes.table.Table`."""
        start = None if after is None else {**_key(after.key), **_index_key(after.index)}
        options = {"IndexName": INDEX}
        return self._page(
            ("GS1-PK", "GS1-SK"), partition, within, options=options, ascending=ascending, limit=limit, start=start
        )

    def _page(
        self,
        names: tuple[str, str],
        partition: str,
        within: Range,
        *,
        options: Mapping[str, Any],
        ascending: bool,
        limit: int,
        start: Item | None,
    ) -> Page:
        """A page by the attributes `names`; one record more is read to know the end.

        The filter works behind DynamoDB's own limit, so it may take rounds.
        """
        check_limit(limit)
        records: list[Record] = []
        while len(records) <= limit:
            request: dict[str, Any] = {
                "TableName": self._name,
                "KeyConditionExpression": "#p = :p AND #s BETWEEN :first AND :last",
                "FilterExpression": _ALIVE,
                "ExpressionAttributeNames": dict(zip(("#p", "#s"), names, strict=True)),
                "ExpressionAttributeValues": {
                    ":p": {"S": partition},
                    ":first": {"S": within.first or "\0"},
                    ":last": {"S": within.last},
                    ":now": self._now(),
                },
                "ScanIndexForward": ascending,
                "Limit": limit + 1 - len(records),
                **options,
            }
            if start is not None:
                request["ExclusiveStartKey"] = start
            with self._errors():
                answer = self._client.query(**request)
            records += [_record(item) for item in answer["Items"]]
            start = answer.get("LastEvaluatedKey")
            if not start:
                break
        if len(records) <= limit:
            return Page(records, None)
        return Page(records[:limit], Position(records[limit - 1].key, records[limit - 1].index))

    def _operation(self, change: Change) -> dict[str, Any]:
        key = change.record.key if isinstance(change, Put) else change.key
        target = {"TableName": self._name, "Key": _key(key)}
        expression, values = self._condition(change.condition)
        condition = {"ConditionExpression": expression} if expression else {}
        if isinstance(change, Put):
            update, new = _update(change.record)
            both = {**values, **new}
            return {"Update": {**target, **condition, "UpdateExpression": update, **_names(), **_values(both)}}
        kind = "Delete" if isinstance(change, Delete) else "ConditionCheck"
        names = {"ExpressionAttributeNames": {"#version": "version"}} if ":version" in values else {}
        return {kind: {**target, **condition, **names, **_values(values)}}

    def _condition(self, condition: Condition | int) -> tuple[str, dict[str, Any]]:
        if condition is Condition.ANY:
            return "", {}
        if condition is Condition.ABSENT:
            return "attribute_not_exists(PK) OR expiresIn <= :now", {":now": self._now()}
        if condition is Condition.PRESENT:
            return f"attribute_exists(PK) AND {_ALIVE}", {":now": self._now()}
        return f"#version = :version AND {_ALIVE}", {":version": {"N": str(condition)}, ":now": self._now()}

    def _now(self) -> dict[str, str]:
        return {"N": str(int(self._now_s()))}

    def _expired(self, item: Item) -> bool:
        return "expiresIn" in item and int(item["expiresIn"]["N"]) <= int(self._now_s())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
            message = f"table {self._name}: {error}"
            if code == "ConditionalCheckFailedException" or "ConditionalCheckFailed" in reasons:
                raise Conflict("a record has changed, or is not as it was expected") from error
            if code in _PASSING or code == "TransactionCanceledException":
                raise Unavailable(message) from error
            if code == "ResourceNotFoundException":
                raise NotFound(message) from error
            if code == "AccessDeniedException":
                raise NotAuthorized(message) from error
            raise InvalidInput("record", message) from error
        except botocore.exceptions.BotoCoreError as error:
            raise Unavailable(f"table {self._name}: {error}") from error


def _key(key: Key) -> dict[str, Any]:
    return {"PK": {"S": key.partition}, "SK": {"S": key.sort}}


def _index_key(index: Key | None) -> dict[str, Any]:
    return {} if index is None else {"GS1-PK": {"S": index.partition}, "GS1-SK": {"S": index.sort}}


def _names() -> dict[str, Any]:
    return {"ExpressionAttributeNames": {"#version": "version", "#gp": "GS1-PK", "#gs": "GS1-SK"}}


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"ExpressionAttributeValues": dict(values)} if values else {}


def _update(record: Record) -> tuple[str, dict[str, Any]]:
    """Write the whole record: an update, and no put, because only an update can count the version on."""
    values: dict[str, Any] = {
        ":content": {"S": record.content.decode()},
        ":zero": {"N": "0"},
        ":one": {"N": "1"},
    }
    sets = ["content = :content", "#version = if_not_exists(#version, :zero) + :one"]
    removes = []
    if record.index is None:
        removes += ["#gp", "#gs"]
    else:
        sets += ["#gp = :gp", "#gs = :gs"]
        values |= {":gp": {"S": record.index.partition}, ":gs": {"S": record.index.sort}}
    if record.expires_at_s is None:
        removes.append("expiresIn")
    else:
        sets.append("expiresIn = :expires")
        values[":expires"] = {"N": str(record.expires_at_s)}
    return f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removes)}" if removes else ""), values


def _record(item: Item) -> Record:
    index = Key(item["GS1-PK"]["S"], item["GS1-SK"]["S"]) if "GS1-PK" in item else None
    expires = int(item["expiresIn"]["N"]) if "expiresIn" in item else None
    key = Key(item["PK"]["S"], item["SK"]["S"])
    return Record(key, item["content"]["S"].encode(), index, expires, int(item["version"]["N"]))
