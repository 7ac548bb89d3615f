"""Guards around every test: nothing may leak out of one, and nothing may leave this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from typing import Any

import pytest

GRACE_S = 2.0  # for threads that were told to stop and are on their way out

# Threads that a web server of a wider scope starts when it needs them; they end with its event loop.
POOLED = "AnyIO worker thread"

# What a developer's shell may hold, and would change what the daemon or boto3 does.
FOREIGN_ENVIRONMENT = ("AWS_", "CLOUDWATCH", "DATAPLANE", "NOTIFY_SOCKET", "WATCHDOG_")


class LeftTheMachine(AssertionError):
    """A test tried to reach an address that is not on this machine."""


def is_loopback(host: object) -> bool:
    """Tell whether `host` (a name or an address, as given to connect) is this machine itself."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


class NetworkGuard:
    """Stands before the socket calls that send something out, refuses what is not loopback, and remembers it.

    Remembering matters: code that retries swallows the error, the test fails all the same.
    """

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def check(self, host: object, what: str) -> None:
        """Raise LeftTheMachine unless `host` is loopback."""
        if not is_loopback(host):
            self.attempts.append(f"{what} {host!r}")
            raise LeftTheMachine(f"{what} {host!r}: tests talk to this machine only")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the guard before connect, connect_ex, sendto and name resolution."""

        def guarded(name: str):
            original = getattr(socket.socket, name)

            def call(sock: socket.socket, *args: Any):
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    self.check(args[-1][0], name)
                return original(sock, *args)

            return call

        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(name))
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any):
            self.check(host, "getaddrinfo")
            return resolve(host, *args, **kwargs)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="session", autouse=True)
def network_guard():
    """Refuse every address that is not on this machine, for the whole run."""
    guard = NetworkGuard()
    with pytest.MonkeyPatch.context() as patch:
        guard.install(patch)
        yield guard


@pytest.fixture(scope="session", autouse=True)
def clean_environment():
    """Take away what the caller's shell would add: credentials, regions, the daemon's own variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(FOREIGN_ENVIRONMENT):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


def leaked_threads(before: set[threading.Thread], grace_s: float = GRACE_S) -> list[threading.Thread]:
    """Return the non-daemon threads that were not there `before` and do not end within `grace_s`."""
    deadline = time.monotonic() + grace_s
    left = [t for t in threading.enumerate() if t not in before and not t.daemon and t.name != POOLED]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in left if thread.is_alive()]


@pytest.fixture(autouse=True)
def nothing_leaks(network_guard: NetworkGuard):
    """Fail a test that leaves a thread behind or tried to leave the machine."""
    before = set(threading.enumerate())
    network_guard.attempts.clear()
    yield
    left = leaked_threads(before)
    assert not left, f"threads that the test left running: {[thread.name for thread in left]}"
    assert not network_guard.attempts, f"the test tried to leave this machine: {network_guard.attempts}"
