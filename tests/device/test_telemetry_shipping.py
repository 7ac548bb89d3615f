"""What reaches the log store."""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path

import pytest

from pinthesky.device import telemetry
from pinthesky.device.fakes import FakeClock, FakeLogStore
from pinthesky.device.telemetry import LogShipper
from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import CloudWatchSettings
from tests.support.log_records import T0, a_record, root_logger

__all__ = ["root_logger"]

GARDEN = ThingName("garden")


class Bench:
    """A shipper whose worker is the test itself (`step`), unless the test starts it."""

    def __init__(self, folder: Path, *, wall: float = T0, **options) -> None:
        self.clock = FakeClock(wall)
        self.store = FakeLogStore()
        self.keeper = TimeKeeper(self.clock, folder / "time.json")
        self.jitter = random.Random(1)
        arguments = {"thing": GARDEN, "default_region": "eu-west-1", "jitter": self.jitter, **options}
        self.shipper = LogShipper(self.store, self.keeper, self.clock, **arguments)

    def configure(self, **fields) -> None:
        self.shipper.configure(CloudWatchSettings(enabled=True, **fields))

    def log(self, *messages: str, level: int = logging.INFO) -> None:
        for message in messages:
            self.shipper.handle(a_record(message, level=level))

    def work(self, *, flush: bool = True) -> float:
        """Step until there is nothing due; returns the seconds to wait."""
        for _ in range(1000):
            wait_s = self.shipper.step(flush=flush)
            if wait_s > 0:
                return wait_s
        raise AssertionError("the shipper never rests")

    def shipped(self) -> list[str]:
        return [entry.message for entries in self.store.streams.values() for entry in entries]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.configure()
    return bench


def test_lines_arrive_with_level_source_and_time(bench):
    bench.log("one")
    bench.clock.advance(1.5)
    bench.log("two")
    bench.work()
    ((where, entries),) = bench.store.streams.items()
    assert where == ("eu-west-1", "/pinthesky/device", "2027/01/15@garden")
    assert entries == [(int(T0 * 1000), "INFO camera: one"), (int(T0 * 1000) + 1500, "INFO camera: two")]


def test_a_batch_waits_for_five_seconds(bench):
    bench.log("one")
    assert bench.work(flush=False) == 5.0
    bench.clock.advance(4)
    bench.log("two")
    assert bench.work(flush=False) == 1.0
    assert bench.shipped() == []
    bench.clock.advance(1)
    bench.work(flush=False)
    assert len(bench.shipped()) == 2


def test_a_full_batch_does_not_wait(bench):
    bench.log(*(f"line {number}" for number in range(telemetry.BATCH_LINES)))
    bench.shipper.step()
    assert len(bench.shipped()) == telemetry.BATCH_LINES


def test_no_call_is_larger_than_the_store_takes(bench):
    sizes = []
    put = bench.store.put

    def measured(**arguments):
        sizes.append(sum(len(entry.message.encode()) + 26 for entry in arguments["entries"]))
        put(**arguments)

    bench.store.put = measured
    bench.log(*("ü" * 6000 for _ in range(150)))
    bench.work()
    assert len(sizes) == 2
    assert max(sizes) <= 1_048_576
    assert len(bench.shipped()) == 150


def test_a_monstrous_line_is_cut(bench):
    bench.log("ü" * 100_000)
    bench.work()
    (message,) = bench.shipped()
    assert len(message.encode()) <= 16_384
    assert message.endswith("ü...")


def test_a_batch_holds_one_day(bench):
    bench.log("today")
    bench.clock.advance(86_400)
    bench.log("tomorrow")
    bench.work()
    assert [stream for _, _, stream in bench.store.streams] == ["2027/01/15@garden", "2027/01/16@garden"]


@pytest.mark.parametrize("thing, split", [(GARDEN, False), (None, True)])
def test_a_shared_stream_is_named_all(tmp_path, thing, split):
    bench = Bench(tmp_path, thing=thing)
    bench.configure(delineate_stream=split, region_name="us-east-1", log_group_name="/mine")
    bench.log("one")
    bench.work()
    assert list(bench.store.streams) == [("us-east-1", "/mine", "2027/01/15@all")]


def test_nothing_is_kept_or_shipped_while_it_is_not_asked_for(tmp_path):
    bench = Bench(tmp_path)
    bench.log("one")
    bench.shipper.configure(CloudWatchSettings(enabled=False, event_type="all"))
    bench.log("two")
    bench.shipper.ship_metric("{}")
    assert bench.work() > 0
    assert not bench.shipper._queue
    assert bench.shipped() == []


def test_what_waits_is_let_go_when_shipping_is_switched_off(bench):
    bench.log("one")
    bench.shipper.configure(CloudWatchSettings(enabled=False))
    bench.configure()
    bench.work()
    assert bench.shipped() == []


def test_without_a_region_nothing_is_shipped_and_the_field_is_named(tmp_path, caplog):
    bench = Bench(tmp_path, default_region=None)
    bench.configure()
    bench.log("one")
    bench.work()
    assert bench.shipped() == []
    assert "cloudwatch.region_name" in caplog.text


def test_only_lines_of_the_level_are_shipped(bench):
    bench.configure(log_level="WARNING")
    for level in (logging.INFO, logging.ERROR):
        record = a_record("x", level=level)
        if record.levelno >= bench.shipper.level:
            bench.shipper.handle(record)
    bench.work()
    assert bench.shipped() == ["ERROR camera: x"]


@pytest.mark.parametrize(
    "event_type, expected", [("logs", ["INFO camera: line"]), ("emf", ["{}"]), ("all", ["INFO camera: line", "{}"])]
)
def test_the_event_type_says_what_is_shipped(bench, event_type, expected):
    bench.configure(event_type=event_type)
    bench.log("line")
    bench.shipper.ship_metric("{}")
    bench.work()
    assert bench.shipped() == expected


def test_lines_wait_until_the_time_is_known_and_then_get_it(tmp_path):
    bench = Bench(tmp_path, wall=5.0)
    bench.configure()
    bench.log("early")
    bench.clock.advance(60)
    assert bench.work() == 5.0
    bench.clock.set_wall(T0 + 60)
    bench.work()
    ((entry,),) = bench.store.streams.values()
    assert entry.timestamp_ms == int(T0 * 1000)


# A store that fails


@pytest.mark.parametrize("failure", [Unavailable("no route"), NotAuthorized("denied")])
def test_lines_survive_a_store_that_fails(bench, failure):
    bench.store.fail_next(failure)
    bench.log("one", "two")
    assert 2.5 <= bench.shipper.step(flush=True) <= 5.0
    bench.log("three")
    bench.clock.advance(10)
    bench.work()
    assert bench.shipped() == ["INFO camera: one", "INFO camera: two", "INFO camera: three"]


def test_a_failing_store_is_asked_ever_more_rarely_up_to_five_minutes(bench):
    bench.store.fail_next(*(Unavailable("no route") for _ in range(20)))
    bench.log("one")
    waits = []
    for _ in range(20):
        waits.append(bench.shipper.step(flush=True))
        bench.clock.advance(waits[-1] - 0.01)
        assert bench.shipper.step(flush=True) == pytest.approx(0.01, abs=1e-3)
        bench.clock.advance(0.02)
    assert all(2.5 * 2**number <= wait <= 5 * 2**number for number, wait in enumerate(waits[:6]))
    assert all(150 <= wait <= 300 for wait in waits[7:])
    assert len(set(waits[7:])) > 1


def test_a_failure_is_told_once_and_once_when_it_has_passed(bench, caplog):
    caplog.set_level(logging.INFO)
    bench.store.fail_next(Unavailable("no route"), Unavailable("no route"))
    bench.log("one")
    for _ in range(3):
        bench.shipper.step(flush=True)
        bench.clock.advance(60)
    texts = [record.getMessage() for record in caplog.records if record.name == "pinthesky.device.telemetry"]
    assert texts == ["Logs cannot be shipped, they wait: no route", "Logs are shipped again"]


def test_a_full_queue_loses_the_oldest_and_says_how_many(tmp_path):
    bench = Bench(tmp_path, queue_bytes=1000)
    bench.configure()
    bench.store.fail_next(Unavailable("no route"))
    bench.log(*(f"line {number:02}" for number in range(10)))
    bench.shipper.step(flush=True)
    bench.log(*(f"line {number:02}" for number in range(10, 100)))
    assert bench.shipper._queued_bytes <= 1000
    bench.clock.advance(60)
    bench.work()
    *lines, last = bench.shipped()
    assert lines == [f"INFO camera: line {number:02}" for number in range(100 - len(lines), 100)]
    assert last == f"WARNING telemetry: {100 - len(lines)} log lines were lost before this one"


def test_many_small_lines_are_bounded_too(bench):
    bench.log(*("" for _ in range(2 * telemetry.BATCH_LINES + 5)))
    assert len(bench.shipper._queue) == 2 * telemetry.BATCH_LINES


def test_what_the_store_refuses_itself_is_counted_and_does_not_stop_the_rest(bench):
    bench.store.fail_next(InvalidInput("lines", "too old"))
    bench.log("poison")
    bench.work()
    bench.log("fine")
    bench.work()
    assert bench.shipped() == ["INFO camera: fine", "WARNING telemetry: 1 log lines were lost before this one"]


def test_lines_that_were_under_way_are_not_kept_when_shipping_is_switched_off(bench):
    def switch_off(**_):
        bench.shipper.configure(CloudWatchSettings(enabled=False))
        raise Unavailable("no route")

    bench.store.put = switch_off
    bench.log("one")
    bench.shipper.step(flush=True)
    assert not bench.shipper._queue


# The worker


def wait_until(condition, timeout_s: float = 5.0) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)


@pytest.fixture
def running(bench: Bench, root_logger):
    bench.shipper.start()
    yield bench
    bench.shipper.stop(5.0)


def test_what_is_logged_is_shipped_at_the_stop(running):
    running.configure()
    logging.getLogger("pinthesky.device.x").warning("last words")
    assert running.shipper.stop(5.0)
    assert "WARNING x: last words" in running.shipped()
    logging.getLogger("pinthesky.device.x").warning("afterwards")
    assert "WARNING x: afterwards" not in running.shipped()


def test_a_full_batch_wakes_the_worker(running):
    running.configure()
    running.log(*("x" for _ in range(telemetry.BATCH_LINES)))
    wait_until(lambda: len(running.shipped()) == telemetry.BATCH_LINES)
    assert running.shipper.stop(5.0)


def test_shipping_at_a_finer_level_than_stdout_opens_the_root_logger(running, root_logger):
    root_logger.setLevel(logging.WARNING)
    running.configure(log_level="DEBUG")
    logging.getLogger("pinthesky.device.x").debug("fine print")
    running.shipper.stop(5.0)
    assert "DEBUG x: fine print" in running.shipped()


def test_a_failing_store_does_not_feed_itself(running, caplog):
    running.configure()
    running.store.fail_next(*(Unavailable("no route") for _ in range(3)))
    running.log(*("x" for _ in range(telemetry.BATCH_LINES)))
    wait_until(lambda: "cannot be shipped" in caplog.text)
    assert running.shipper.stop(5.0)
    assert {line.message for line in running.shipper._queue} == {"INFO camera: x"}


def test_a_store_that_hangs_holds_up_neither_those_who_log_nor_the_stop(running):
    running.configure()
    entered, release = threading.Event(), threading.Event()

    def hang(**_):
        entered.set()
        release.wait(10)

    running.store.put = hang
    running.log(*("x" for _ in range(telemetry.BATCH_LINES)))
    assert entered.wait(5)
    began = time.monotonic()
    running.log("more")
    running.configure(log_level="ERROR")
    assert not running.shipper.stop(0.05)
    assert time.monotonic() - began < 2
    release.set()
    running.shipper._worker.join(5)
    assert not running.shipper._worker.is_alive()


def test_a_shipper_that_was_never_started_stops(bench):
    assert bench.shipper.stop(0.1)
