"""What DynamoDB answers to our adapter, out of another table: behind botocore, without a server.

Only what `pinthesky.aws.records` asks for, and no more of the conditions than a benchmark needs.
"""

from __future__ import annotations

import json
from typing import Any

from pinthesky.planes.table import Key, Put, Range, Record, Table
from tests.support.aws_planes import Asked, Said


class DynamoInPlace:
    """Answers for one table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __call__(self, asked: Asked) -> Said:
        request = json.loads(asked.body)
        if "KeyConditionExpression" in request:
            return Said(body={"Items": self._query(request)})
        if "RequestItems" in request:
            ((name, wanted),) = request["RequestItems"].items()
            found = self._table.get_many([_key(each) for each in wanted["Keys"]])
            return Said(body={"Responses": {name: [_item(each) for each in found.values()]}, "UnprocessedKeys": {}})
        if "TransactItems" in request:
            for each in request["TransactItems"]:
                self._update(each["Update"])
            return Said(body={})
        if "UpdateExpression" in request:
            self._update(request)
            return Said(body={})
        record = self._table.get(_key(request["Key"]))
        return Said(body={} if record is None else {"Item": _item(record)})

    def _query(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        values = {name: value["S"] for name, value in request["ExpressionAttributeValues"].items() if "S" in value}
        ask = self._table.query_index if "IndexName" in request else self._table.query
        page = ask(
            values[":p"],
            Range(values[":first"], values[":last"]),
            ascending=request["ScanIndexForward"],
            limit=min(100, request["Limit"]),
        )
        return [_item(record) for record in page.records]

    def _update(self, update: dict[str, Any]) -> None:
        values = update["ExpressionAttributeValues"]
        index = Key(values[":gp"]["S"], values[":gs"]["S"]) if ":gp" in values else None
        expires = int(values[":expires"]["N"]) if ":expires" in values else None
        self._table.write(Put(Record(_key(update["Key"]), values[":content"]["S"].encode(), index, expires)))


def _key(key: dict[str, dict[str, str]]) -> Key:
    return Key(key["PK"]["S"], key["SK"]["S"])


def _item(record: Record) -> dict[str, dict[str, str]]:
    item = {
        "PK": {"S": record.key.partition},
        "SK": {"S": record.key.sort},
        "content": {"S": record.content.decode()},
        "version": {"N": str(record.version)},
    }
    if record.index is not None:
        item |= {"GS1-PK": {"S": record.index.partition}, "GS1-SK": {"S": record.index.sort}}
    if record.expires_at_s is not None:
        item["expiresIn"] = {"N": str(record.expires_at_s)}
    return item
