"""What every LogStore does, held on the one in memory and on CloudWatch Logs."""

from __future__ import annotations

import secrets
import time
from typing import Callable, NamedTuple

import pytest

from pinthesky.aws.log_store import CloudWatchLogStore
from pinthesky.device.fakes import FakeLogStore
from pinthesky.device.ports import LogRecordEntry, LogStore
from tests.support.aws_fixtures import LogsAtMoto, moto_client
from tests.support.aws_servers import REGION

STREAM = "2026/11/02@garden"


class Stage(NamedTuple):
    """A store, a group that does not exist yet, and what its streams hold."""

    store: LogStore
    group: str
    lines: Callable[[str], list[str]]


@pytest.fixture(params=["memory", "cloudwatch"])
def stage(request: pytest.FixtureRequest) -> Stage:
    group = f"/pinthesky/{secrets.token_hex(6)}"
    if request.param == "memory":
        fake = FakeLogStore()
        return Stage(fake, group, lambda stream: [entry.message for entry in fake.streams[(REGION, group, stream)]])
    port = request.getfixturevalue("moto_port")
    client = moto_client(port, "logs")

    def lines(stream: str) -> list[str]:
        found = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in found]

    return Stage(CloudWatchLogStore(LogsAtMoto(port)), group, lines)


def put(stage: Stage, *messages: str, stream: str = STREAM) -> None:
    entries = [LogRecordEntry(time.time_ns() // 1_000_000, message) for message in messages]
    stage.store.put(region=REGION, group=stage.group, stream=stream, entries=entries)


def test_group_and_stream_are_made_where_they_are_missing(stage: Stage):
    put(stage, "first")
    assert stage.lines(STREAM) == ["first"]


def test_lines_are_appended_in_order(stage: Stage):
    put(stage, "a", "b")
    put(stage, "c")
    assert stage.lines(STREAM) == ["a", "b", "c"]


def test_a_new_stream_in_a_group_that_exists_is_made(stage: Stage):
    put(stage, "a")
    put(stage, "b", stream="2026/11/03@garden")
    assert stage.lines("2026/11/03@garden") == ["b"]


def test_empty_lines_are_left_out(stage: Stage):
    put(stage, "a", "", "b")
    assert stage.lines(STREAM) == ["a", "b"]
