"""The word that ends the process is heard whoever says it, and whichever thread the kernel tells."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from pinthesky.machine.stop_request import StopRequest


@pytest.fixture
def request_of() -> Iterator[StopRequest]:
    made = StopRequest()
    yield made
    made.close()


def test_what_was_asked_stays_asked(request_of: StopRequest):
    assert not request_of.wait(0.0)
    request_of.set()
    assert request_of.wait(5.0)
    assert request_of.is_set()


def test_any_thread_may_ask_and_any_number_of_times(request_of: StopRequest):
    def ask() -> None:
        for _ in range(100_000):
            request_of.set()

    asker = threading.Thread(target=ask)
    asker.start()
    assert request_of.wait(10.0)
    asker.join(30.0)
    assert not asker.is_alive()


def test_asking_after_the_end_says_nothing():
    ended = StopRequest()
    ended.close()
    ended.set()
    assert ended.writer == -1


def test_a_signal_that_another_thread_gets_wakes_the_main_thread(request_of: StopRequest):
    if threading.current_thread() is not threading.main_thread():
        pytest.fail("signals are for the main thread; run this test there")
    old = signal.signal(signal.SIGUSR1, lambda *_: None)
    old_fd = signal.set_wakeup_fd(request_of.writer, warn_on_full_buffer=False)
    held, told = threading.Event(), threading.Event()

    def other() -> None:
        held.wait(10.0)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        told.set()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        held.set()
        assert request_of.wait(10.0)
        assert told.wait(10.0)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.set_wakeup_fd(old_fd)
        signal.signal(signal.SIGUSR1, old)
        thread.join(10.0)
