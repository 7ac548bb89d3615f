"""What the client's files say never fills the queue that the daemon needs for itself."""

from __future__ import annotations

import pytest

from pinthesky.device.event_thread import QUEUE_MAX, EventThread
from pinthesky.device.intake import Intake
from pinthesky.device.internal_events import CommandArrived, ShadowArrived
from pinthesky.model.commands import CommandStream, Health, Rejected

HEALTH = Health()


class Bench:
    def __init__(self) -> None:
        self.queue = EventThread(lambda *_: None)
        self.handled: list[object] = []
        for kind in (CommandArrived, ShadowArrived):
            self.queue.subscribe(kind, self.handled.append)
        self.intake = Intake(self.queue)

    def offer(self, count: int) -> None:
        for _ in range(count):
            self.intake.command(HEALTH)


def test_beyond_half_of_the_queue_commands_are_refused_counted_and_told_once(caplog: pytest.LogCaptureFixture):
    bench = Bench()
    bench.offer(QUEUE_MAX)
    assert bench.queue.backlog == QUEUE_MAX // 2 + 1
    assert bench.intake.rejected == QUEUE_MAX - bench.queue.backlog
    assert caplog.messages == ["Too many commands wait; further ones are refused"]


def test_the_shadow_still_finds_room_when_commands_do_not():
    bench = Bench()
    bench.offer(QUEUE_MAX)
    bench.intake.shadow(b"{}")
    bench.queue.finish()
    assert bench.handled[-1] == ShadowArrived(b"{}")


def test_a_new_flood_is_told_again_after_the_first_has_been_worked_off(caplog: pytest.LogCaptureFixture):
    bench = Bench()
    bench.offer(QUEUE_MAX)
    bench.queue.finish()
    bench.offer(QUEUE_MAX)
    assert len(caplog.messages) == 2


def test_what_is_no_command_is_counted():
    bench = Bench()
    (refused,) = CommandStream().feed(b'{"name":"format_disk"}')
    assert isinstance(refused, Rejected)
    bench.intake.refused(refused)
    assert bench.intake.rejected == 1
