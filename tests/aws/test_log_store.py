"""What is CloudWatch's own; what every log store does is in `tests/contracts`."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.aws.log_store import (
    BATCH_BYTES_MAX,
    EVENT_BYTES_MAX,
    EVENT_OVERHEAD_BYTES,
    SPAN_MAX_MS,
    CloudWatchLogStore,
    batches,
)
from pinthesky.device.ports import LogRecordEntry
from pinthesky.errors import Unavailable
from tests.support.aws_fixtures import LogsAtMoto, moto_client
from tests.support.aws_servers import REGION

DAY_MS = 24 * 3600 * 1000


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * DAY_MS), st.sampled_from(["", "a", "ü" * 40_000, "€" * 100_000])), max_size=60
    )
)
def test_batches_keep_the_limits_and_lose_no_line(pairs: list[tuple[int, str]]):
    found = list(batches([LogRecordEntry(*pair) for pair in pairs]))
    for batch in found:
        times = [entry.timestamp_ms for entry in batch]
        assert times == sorted(times)
        assert times[-1] - times[0] <= SPAN_MAX_MS
        assert sum(len(entry.message.encode()) + EVENT_OVERHEAD_BYTES for entry in batch) <= BATCH_BYTES_MAX
        assert all(0 < len(entry.message.encode()) <= EVENT_BYTES_MAX for entry in batch)
    assert sum(map(len, found)) == sum(1 for _, message in pairs if message)


def test_a_batch_holds_ten_thousand_lines():
    assert [len(batch) for batch in batches([LogRecordEntry(0, "a")] * 25_000)] == [10_000, 10_000, 5_000]


def test_lines_that_the_service_refuses_by_their_time_are_told(moto_port: int, caplog: Any):
    group = f"/pinthesky/{secrets.token_hex(6)}"
    old_ms = int(time.time() * 1000) - 20 * DAY_MS
    CloudWatchLogStore(LogsAtMoto(moto_port)).put(
        region=REGION, group=group, stream="s", entries=[LogRecordEntry(old_ms, "old")]
    )
    told = [record.getMessage() for record in caplog.records if record.name == "pinthesky.aws.log_store"]
    assert told == [f"of 1 log lines for {group} some were refused by their time: {{'tooOldLogEventEndIndex': 0}}"]


def test_things_that_make_the_same_group_at_the_same_time_do_not_disturb_each_other(moto_port: int):
    group = f"/pinthesky/{secrets.token_hex(6)}"
    together = threading.Barrier(4)

    def write(number: int) -> None:
        store = CloudWatchLogStore(LogsAtMoto(moto_port))
        together.wait(10)
        entries = [LogRecordEntry(int(time.time() * 1000), str(number))]
        store.put(region=REGION, group=group, stream="all", entries=entries)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    client = moto_client(moto_port, "logs")
    events = client.get_log_events(logGroupName=group, logStreamName="all")["events"]
    assert sorted(event["message"] for event in events) == ["0", "1", "2", "3"]


def test_no_network_is_unavailable():
    store = CloudWatchLogStore(LogsAtMoto(1))
    with pytest.raises(Unavailable, match="writing logs to g s in eu-central-1"):
        store.put(region=REGION, group="g", stream="s", entries=[LogRecordEntry(0, "a")])
