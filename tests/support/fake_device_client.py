"""A stand-in for aws-iot-device-client with its habits and defects, and for the cloud's end of the named shadow.

What it does is what `docs/reference/files.md` says of the C++ client 1.10. Where that client corrupts its memory or
exits, this one records a crash and stops.
"""

from __future__ import annotations

import copy
import json
import os
import queue
import select
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

import inotify_simple

SLEEP_S = 0.5
TEAR_S = 0.001
"""How long the shadow-output-file is empty, and half written, at each update."""
PUBLISH_MAX = 128_000
STATE_MAX = 8 * 1024
_flags = inotify_simple.flags


class Published(NamedTuple):
    """One MQTT publish of the publish-file's content."""

    at: float
    """Monotonic seconds."""
    payload: bytes


class FakeCloudShadow:
    """The named shadow as AWS IoT keeps it: merged updates, null removes, documents and delta to whoever listens."""

    def __init__(self) -> None:
        self.desired: dict[str, Any] = {}
        self.reported: dict[str, Any] = {}
        self.version = 0
        self.updates: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.on_documents: Callable[[bytes], None] = lambda raw: None
        self.on_delta: Callable[[dict[str, Any]], None] = lambda delta: None
        self._lock = threading.RLock()

    def update(self, state: Mapping[str, Any]) -> None:
        """Take an `update` with `desired` and/or `reported`."""
        with self._lock:
            desired = _merged(self.desired, state.get("desired", {}))
            reported = _merged(self.reported, state.get("reported", {}))
            size = sum(len(json.dumps(part, separators=(",", ":")).encode()) for part in (desired, reported))
            if size > STATE_MAX:
                self.refused.append(f"413: {size} bytes")
                return
            previous = self._snapshot()
            self.desired, self.reported = desired, reported
            self.version += 1
            self.updates.append(copy.deepcopy(dict(state)))
            message = {"previous": previous, "current": self._snapshot(), "timestamp": int(time.time())}
            self.on_documents(json.dumps(message).encode())
            delta = _difference(desired, reported)
            if delta:
                self.on_delta(delta)

    def desire(self, **sections: Any) -> None:
        """Edit desired as a console does; None removes a section."""
        self.update({"desired": sections})

    @property
    def sync(self) -> dict[str, Any]:
        """What the device reported of the last desired document."""
        return self.reported.get("sync", {})

    def _snapshot(self) -> dict[str, Any]:
        parts = {"desired": self.desired, "reported": self.reported}
        present = {name: copy.deepcopy(part) for name, part in parts.items() if part}
        return {"state": present, "metadata": _metadata(present), "version": self.version}


class FakeDeviceClient:
    """Publishes, subscribes and keeps the shadow through four files, as the C++ client does.

    `sleep_s` is the nap after each batch of file events, in which it is blind. Start and stop it like the process; what
    the cloud sends while it is stopped is lost.
    """

    def __init__(
        self,
        *,
        publish_file: Path,
        subscribe_file: Path,
        shadow_input_file: Path,
        shadow_output_file: Path,
        shadow: Optional[FakeCloudShadow] = None,
        sleep_s: float = SLEEP_S,
    ) -> None:
        self.shadow = FakeCloudShadow() if shadow is None else shadow
        self.published: list[Published] = []
        self.crashes: list[str] = []
        self.errors: list[str] = []
        self._publish_file = publish_file
        self._subscribe_file = subscribe_file
        self._shadow_input_file = shadow_input_file
        self._shadow_output_file = shadow_output_file
        self._sleep_s = sleep_s
        self._stop = threading.Event()
        self._messages: queue.SimpleQueue[Optional[Callable[[], None]]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """Published events in order, batches opened."""
        found: list[dict[str, Any]] = []
        for published in list(self.published):
            document = json.loads(published.payload)
            found += document.get("events", [document])
        return found

    def names(self) -> list[str]:
        """Names of the published events in order."""
        return [event["name"] for event in self.events]

    def start(self) -> None:
        """Check the files' modes, publish the publish-file once, and begin to watch."""
        for path in (self._shadow_input_file, self._shadow_output_file):
            if not path.exists() or stat.S_IMODE(path.stat().st_mode) != 0o600:
                self.crashes.append(f"exit 1: {path.name} must be there with mode 600")
                return
        self._stop.clear()
        self.shadow.on_documents = lambda raw: self._messages.put(lambda: self._write_shadow_output(raw))
        self.shadow.on_delta = lambda delta: self._messages.put(lambda: self._echo(delta))
        self._publish()
        if not self.crashes:
            monitors = [
                _FileMonitor(self._publish_file, self._publish, self._stop, self._sleep_s),
                _FileMonitor(self._shadow_input_file, self._report, self._stop, self._sleep_s),
            ]
            self._threads = [threading.Thread(target=monitor.run, name="fake-client-files") for monitor in monitors]
            self._threads.append(threading.Thread(target=self._serve_messages, name="fake-client-mqtt"))
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """End as at SIGTERM. Safe to call twice."""
        self._stop.set()
        self._messages.put(None)
        self.shadow.on_documents = lambda raw: None
        self.shadow.on_delta = lambda delta: None
        for thread in self._threads:
            thread.join(10)
        self._threads = []
        self._messages = queue.SimpleQueue()

    def deliver(self, *messages: bytes) -> None:
        """Append messages from the cloud to the subscribe-file: one append for each, and nothing between them."""
        for message in messages:
            descriptor = os.open(self._subscribe_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, message)
            finally:
                os.close(descriptor)

    def command(self, name: str, **context: Any) -> None:
        """Deliver a command."""
        self.deliver(json.dumps({"name": name, "context": context}).encode())

    def _publish(self) -> None:
        try:
            payload = self._publish_file.read_bytes()
        except FileNotFoundError:
            payload = b""
        if not payload:
            self.crashes.append("memory corrupted by an empty publish-file")
            self._stop.set()
            return
        self.published.append(Published(time.monotonic(), payload[:PUBLISH_MAX]))

    def _report(self) -> None:
        try:
            reported = json.loads(self._shadow_input_file.read_bytes())
        except (ValueError, FileNotFoundError) as error:
            self.errors.append(f"shadow-input-file: {error}")
            return
        self.shadow.update({"reported": reported})

    def _echo(self, delta: dict[str, Any]) -> None:
        self.shadow.update({"reported": delta})

    def _write_shadow_output(self, raw: bytes) -> None:
        with self._shadow_output_file.open("wb", buffering=0) as file:
            self._stop.wait(TEAR_S)
            file.write(raw[: len(raw) // 2])
            self._stop.wait(TEAR_S)
            file.write(raw[len(raw) // 2 :])

    def _serve_messages(self) -> None:
        messages = self._messages
        while True:
            message = messages.get()
            if message is None:
                return
            message()


class _FileMonitor:
    """Watches one file's inode for IN_CLOSE_WRITE and its folder for IN_CREATE; naps after each batch."""

    def __init__(self, path: Path, handle: Callable[[], None], stop: threading.Event, sleep_s: float) -> None:
        self._path = path
        self._handle = handle
        self._stop = stop
        self._sleep_s = sleep_s
        self._inotify = inotify_simple.INotify()
        self._folder = self._inotify.add_watch(path.parent, _flags.CREATE)
        self._file = -1
        self._watch_inode()

    def run(self) -> None:
        poller = select.poll()
        poller.register(self._inotify.fileno(), select.POLLIN)
        try:
            while not self._stop.is_set():
                if poller.poll(20):
                    for event in self._inotify.read(timeout=0):
                        self._serve(event)
                    self._stop.wait(self._sleep_s)
        finally:
            self._inotify.close()

    def _serve(self, event: inotify_simple.Event) -> None:
        if event.wd == self._folder and event.mask & _flags.CREATE and event.name == self._path.name:
            self._watch_inode()
            self._handle()
        elif event.wd == self._file and event.mask & _flags.CLOSE_WRITE:
            self._handle()

    def _watch_inode(self) -> None:
        if self._path.exists():
            self._file = self._inotify.add_watch(self._path, _flags.CLOSE_WRITE)


def _merged(state: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(state)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            inner = merged.get(key)
            merged[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _difference(desired: Mapping[str, Any], reported: Mapping[str, Any]) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    for key, value in desired.items():
        there = reported.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = _difference(value, there)
            if inner:
                delta[key] = inner
        elif value != there:
            delta[key] = value
    return delta


def _metadata(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _metadata(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_metadata(inner) for inner in value]
    return {"timestamp": 1_700_000_000}
