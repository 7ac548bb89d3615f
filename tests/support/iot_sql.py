"""The part of AWS IoT's SQL (2016-03-23) that our rules are written in: what a statement makes of a message.

`SELECT * | column [AS name], … FROM 'topic/filter'` without WHERE; columns are `*`, `encode(*, 'base64')`, `topic()`,
`topic(n)`, `clientid()` and `timestamp()`. Anything else is an error: a statement that is not understood is never
taken for one that is.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass
from typing import Any

from pinthesky.link.connection import matches

_STATEMENT = re.compile(r"SELECT (?P<columns>.+?) FROM '(?P<filter>[^']+)'", re.DOTALL)
_COLUMN = re.compile(
    r"(?P<what>\*|encode\(\*, ?'base64'\)|topic\((?P<number>\d*)\)|clientid\(\)|timestamp\(\))( AS (?P<name>\w+))?"
)


@dataclass(frozen=True)
class Statement:
    """One rule's statement."""

    topic_filter: str
    columns: tuple[re.Match[str], ...]

    @classmethod
    def parse(cls, text: str) -> Statement:
        """Read a statement; AssertionError for one that is not understood."""
        found = _STATEMENT.fullmatch(" ".join(text.split()))
        assert found is not None, f"no statement that is understood: {text}"
        columns, rest = [], found["columns"]
        while rest:
            column = _COLUMN.match(rest)
            assert column is not None, f"no column that is understood: {rest}"
            columns.append(column)
            rest = rest[column.end() :].lstrip(" ,")
        return cls(found["filter"], tuple(columns))

    def result(self, topic: str, payload: bytes, client: str) -> dict[str, Any] | None:
        """What the rule hands on; None for a message of another topic, or one that has no columns to select from.

        `*` needs a payload that is a JSON object, as with AWS; `encode(*, 'base64')` takes any bytes.
        """
        if not matches(self.topic_filter, topic):
            return None
        made: dict[str, Any] = {}
        for column in self.columns:
            what = column["what"]
            if what == "*":
                try:
                    said = json.loads(payload)
                except ValueError:
                    return None
                if not isinstance(said, dict):
                    return None
                made |= said
                continue
            assert column["name"], f"{what} needs a name here"
            made[column["name"]] = self._value(what, column["number"], topic, payload, client)
        return made

    @staticmethod
    def _value(what: str, number: str | None, topic: str, *message: Any) -> Any:
        payload, client = message
        if what.startswith("encode"):
            return base64.b64encode(payload).decode()
        if what.startswith("topic"):
            return topic.split("/")[int(number) - 1] if number else topic
        return client if what.startswith("clientid") else int(time.time() * 1000)
