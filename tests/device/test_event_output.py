"""Event output: paced, motion first, the rest in order, bounded."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device import event_output
from pinthesky.device.event_output import (
    MOTION_STANDS_S,
    MOTION_WAITING_MAX,
    WAITING_MAX,
    WRITE_INTERVAL_S,
    WRITE_RETRY_S,
    EventOutput,
)
from pinthesky.device.fakes import FakeClock
from pinthesky.model import events
from pinthesky.model.events import PAYLOAD_MAX
from pinthesky.model.identifiers import ThingName

THING = ThingName("pi")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "event-output.json"


@pytest.fixture
def output(path: Path, clock: FakeClock) -> EventOutput:
    return EventOutput(path, clock=clock, thing_name=THING)


def motion(event_id: object) -> events.MotionStart:
    return events.MotionStart(thing_name=THING, event_id=str(event_id), score=1.0)


def fault(reason: object = "gone") -> events.CameraFault:
    return events.CameraFault(thing_name=THING, reason=str(reason))


def health(up_time: int) -> events.HealthEnd:
    return events.HealthEnd(thing_name=THING, report={"up_time": up_time})


def content(path: Path) -> dict:
    return json.loads(path.read_bytes())


def drain(output: EventOutput, path: Path, clock: FakeClock) -> list[dict]:
    """Every content that the file gets, in order."""
    contents = []
    while (due_in := output.due_in()) is not None:
        clock.advance(due_in)
        assert output.flush()
        contents.append(content(path))
    return contents


def test_the_file_holds_a_true_event_before_the_first_one(output, path, clock):
    output.prepare()
    assert content(path) == {
        "name": "recording_change",
        "thing_name": "pi",
        "timestamp": clock.wall(),
        "recording": False,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_is_filled_at_the_start(output, path):
    path.touch()
    output.prepare()
    assert content(path)["name"] == "recording_change"


def test_what_an_earlier_run_left_stays(output, path):
    path.write_bytes(b'{"name":"motion_start"}')
    output.prepare()
    assert content(path) == {"name": "motion_start"}


def test_no_time_is_told_by_a_clock_that_is_not_right(path):
    EventOutput(path, clock=FakeClock(synchronised=False), thing_name=THING).prepare()
    assert content(path)["timestamp"] is None


def test_nothing_is_due_while_nothing_waits(output):
    assert output.due_in() is None
    assert not output.flush()


def test_the_first_event_is_due_at_once_and_travels_bare(output, path):
    output.post(motion("e"))
    assert output.due_in() == 0
    assert output.flush()
    assert content(path)["name"] == "motion_start"


def test_the_first_event_waits_for_the_reader_of_the_files_first_content(output):
    output.prepare()
    output.post(motion("e"))
    assert output.due_in() == pytest.approx(WRITE_INTERVAL_S)


def test_writes_are_apart(output, clock):
    output.post(fault())
    output.flush()
    output.post(fault())
    assert output.due_in() == pytest.approx(WRITE_INTERVAL_S)
    clock.advance(WRITE_INTERVAL_S / 2)
    assert not output.flush()
    clock.advance(WRITE_INTERVAL_S / 2)
    assert output.flush()


def test_what_waits_is_batched_in_order(output, path, clock):
    for n in range(3):
        output.post(fault(n))
    (batch,) = drain(output, path, clock)
    assert [event["reason"] for event in batch["events"]] == ["0", "1", "2"]


def test_the_start_of_motion_overtakes_everything_and_travels_alone(output, path, clock):
    for n in range(3):
        output.post(fault(n))
    output.post(motion("e"))
    first, second = drain(output, path, clock)
    assert first["event_id"] == "e"
    assert len(second["events"]) == 3


def test_two_starts_of_motion_go_together(output, path, clock):
    output.post(motion("a"))
    output.post(motion("b"))
    (batch,) = drain(output, path, clock)
    assert [event["event_id"] for event in batch["events"]] == ["a", "b"]


def test_of_health_only_the_latest_waits(output, path, clock):
    output.post(health(1))
    output.post(fault())
    output.post(health(2))
    assert output.waiting == 2
    (batch,) = drain(output, path, clock)
    assert [event["name"] for event in batch["events"]] == ["camera_fault", "health_end"]
    assert batch["events"][1]["up_time"] == 2


def test_a_batch_stays_within_one_publish(output, path, clock):
    for n in range(30):
        output.post(fault(str(n % 10) * 9_000))
    contents = drain(output, path, clock)
    assert [len(batch["events"]) for batch in contents] == [14, 14, 2]
    assert all(len(json.dumps(batch, separators=(",", ":"))) <= PAYLOAD_MAX for batch in contents)


def test_an_event_that_fills_a_publish_travels_bare(output, path, clock):
    overhead = len(events.encode(fault("")))
    output.post(fault("x" * (PAYLOAD_MAX - overhead)))
    output.post(fault("small"))
    first, second = drain(output, path, clock)
    assert len(json.dumps(first, separators=(",", ":"))) == PAYLOAD_MAX
    assert second["reason"] == "small"


def test_an_event_that_no_publish_can_hold_is_dropped_and_told(output, caplog):
    output.post(fault("x" * PAYLOAD_MAX))
    assert (output.waiting, output.dropped) == (0, 1)
    assert "CameraFault of 128" in caplog.text


def test_the_oldest_is_dropped_when_too_much_waits_and_that_is_told_once(output, path, clock, caplog):
    for n in range(WAITING_MAX + 5):
        output.post(fault(n))
    assert (output.waiting, output.dropped) == (WAITING_MAX, 5)
    assert len(caplog.records) == 1
    assert drain(output, path, clock)[0]["events"][0]["reason"] == "5"


def test_bytes_that_wait_are_bounded_too(output):
    for n in range(30):
        output.post(fault(str(n % 10) * 100_000))
    assert output.waiting == 9


def test_motion_is_not_dropped_for_other_events(output, path, clock):
    output.post(motion("e"))
    for n in range(WAITING_MAX * 2):
        output.post(fault(n))
    assert drain(output, path, clock)[0]["event_id"] == "e"


def test_even_motion_is_bounded(output):
    for n in range(MOTION_WAITING_MAX + 1):
        output.post(motion(n))
    assert (output.waiting, output.dropped) == (MOTION_WAITING_MAX, 1)


def test_a_write_that_fails_is_tried_again_and_told_once(output, path, clock, monkeypatch, caplog):
    caplog.set_level(logging.INFO)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    output.post(health(1))
    with monkeypatch.context() as patch:
        patch.setattr(event_output, "write_slot", refuse)
        assert not output.flush()
        assert output.due_in() == pytest.approx(WRITE_RETRY_S)
        clock.advance(WRITE_RETRY_S)
        assert not output.flush()
    output.post(health(2))
    clock.advance(WRITE_RETRY_S)
    assert output.flush()
    assert content(path)["up_time"] == 2
    assert [record.message.split(" to ")[0] for record in caplog.records] == [
        "Cannot write events",
        "Events are written",
    ]


POSTED: dict[str, Callable[[int], events.AnyEvent]] = {"motion": motion, "fault": fault, "health": health}
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("motion"), st.integers(0, 999)),
        st.tuples(st.just("fault"), st.integers(0, 999)),
        st.tuples(st.just("health"), st.integers(0, 999)),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.3, 0.6, 2.0])),
    ),
    max_size=40,
)


@given(actions=ACTIONS)
def test_every_event_but_stale_health_is_written_once_in_order_and_apart(tmp_path_factory, actions):
    path = tmp_path_factory.mktemp("output") / "slot"
    clock = FakeClock()
    output = EventOutput(path, clock=clock, thing_name=THING)
    written: list[dict] = []
    times: list[float] = []

    def flush() -> None:
        if output.flush():
            times.append(clock.monotonic())
            document = content(path)
            written.extend(document.get("events", [document]))

    for kind, value in actions:
        if kind == "wait":
            clock.advance(value)
        else:
            output.post(POSTED[kind](value))
        flush()
    while (due_in := output.due_in()) is not None:
        clock.advance(due_in)
        flush()
    for kind, name, field in (("motion", "motion_start", "event_id"), ("fault", "camera_fault", "reason")):
        sent = [event[field] for event in written if event["name"] == name]
        assert sent == [str(value) for posted, value in actions if posted == kind]
    healths = [value for posted, value in actions if posted == "health"]
    sent_healths = [event["up_time"] for event in written if event["name"] == "health_end"]
    assert sent_healths[-1:] == healths[-1:]
    assert len(sent_healths) <= len(healths)
    assert all(later - earlier >= WRITE_INTERVAL_S - 1e-9 for earlier, later in zip(times, times[1:]))


def test_the_start_of_motion_stands_longer_for_a_client_that_reads_late_but_never_holds_up_another(
    output: EventOutput, path: Path, clock: FakeClock
) -> None:
    output.post(motion(1))
    output.flush()
    output.post(fault())
    assert output.due_in() == pytest.approx(MOTION_STANDS_S)
    output.post(motion(2))
    assert output.due_in() == pytest.approx(WRITE_INTERVAL_S)
    clock.advance(WRITE_INTERVAL_S)
    output.flush()
    assert content(path)["event_id"] == "2"
    assert output.due_in() == pytest.approx(MOTION_STANDS_S)
