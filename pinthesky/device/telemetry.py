"""What the daemon says of itself beside the lines on stdout: the same lines in CloudWatch, and metrics in EMF."""

from __future__ import annotations

import logging
import math
import random
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Callable, Literal, NamedTuple, Optional

import msgspec

from pinthesky.device.ports import Clock, LogRecordEntry, LogStore
from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pinthesky.machine.log_lines import lines_of, source_of
from pinthesky.model.identifiers import ThingName, log_stream_name
from pinthesky.model.settings import CloudWatchSettings

logger = logging.getLogger(__name__)

BATCH_BYTES = 1_048_576
"""CloudWatch's limits of one call (PutLogEvents): bytes, each line counted with 26 more, and lines."""
BATCH_LINES = 10_000
_LINE_OVERHEAD = 26
_LINE_BYTES_MAX = 16_384
_BATCH_AFTER_S = 5.0
_RETRY_FIRST_S = 5.0
_RETRY_LAST_S = 300.0
QUEUE_BYTES = 2 * BATCH_BYTES
"""Most that waits while the network is away: some hours of a device that works."""


class _Line(NamedTuple):
    monotonic_s: float
    message: str
    size: int


class LogShipper(logging.Handler):
    """Ships lines and metrics to the log store, from one worker thread of its own.

    Whoever logs only appends to a bounded queue; when that is full the oldest lines go, are counted, and the count is
    shipped when the store is back. Lines wait until the time is known to be right. What the worker itself logs goes
    to stdout alone, so a failing store cannot feed itself.
    """

    def __init__(
        self,
        store: LogStore,
        time_keeper: TimeKeeper,
        clock: Clock,
        *,
        thing: Optional[ThingName],
        default_region: Optional[str] = None,
        jitter: Optional[random.Random] = None,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        super().__init__()
        self._store = store
        self._time_keeper = time_keeper
        self._clock = clock
        self._thing = thing
        self._default_region = default_region
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._queue_bytes = queue_bytes
        self._settings = CloudWatchSettings()
        self._region: Optional[str] = None
        self._changed = threading.Condition()
        self._queue: deque[_Line] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._failures = 0
        self._retry_at_s = 0.0
        self._stop_by_s: Optional[float] = None
        # A daemon thread: a store that hangs must not keep the process alive for the sake of log lines.
        self._worker = threading.Thread(target=self._run, name="log-shipper", daemon=True)

    def configure(self, settings: CloudWatchSettings) -> None:
        """Take over other settings, now. What waits goes to the new place, or nowhere when shipping is off."""
        region = settings.region_name or self._default_region
        if settings.enabled and region is None:
            logger.warning("Logs are not shipped: cloudwatch.region_name is not set")
        with self._changed:
            self._settings = settings
            self._region = region if settings.enabled else None
            self._retry_at_s = 0.0
            if self._region is None:
                self._queue.clear()
                self._queued_bytes = 0
            self._changed.notify()
        self.setLevel(settings.log_level)
        root = logging.getLogger()
        if self._region is not None and self in root.handlers:
            root.setLevel(min(root.level, self.level))

    def start(self) -> None:
        """Begin to listen to the root logger and to ship."""
        logging.getLogger().addHandler(self)
        self.configure(self._settings)
        self._worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Ship what can be shipped within `timeout_s` and end. False when the worker still waits for the store."""
        logging.getLogger().removeHandler(self)
        with self._changed:
            self._stop_by_s = time.monotonic() + timeout_s
            self._changed.notify()
        if self._worker.ident is not None:
            self._worker.join(max(0.0, timeout_s))
        return not self._worker.is_alive()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Never blocks, never raises."""
        if self._region is None or self._settings.event_type == "emf":
            return
        if threading.current_thread() is self._worker:
            return
        self._put(f"{record.levelname} {source_of(record)}: " + "\n".join(lines_of(record)))

    def ship_metric(self, document: str) -> None:
        """Queue an EMF document."""
        if self._settings.event_type != "logs":
            self._put(document)

    def _put(self, message: str) -> None:
        encoded = message.encode("utf-8", "replace")
        if len(encoded) > _LINE_BYTES_MAX:
            message = encoded[: _LINE_BYTES_MAX - 3].decode("utf-8", "ignore") + "..."
            encoded = message.encode("utf-8", "replace")
        size = len(encoded) + _LINE_OVERHEAD
        with self._changed:
            if self._region is None:
                return
            self._queue.append(_Line(self._clock.monotonic(), message, size))
            self._queued_bytes += size
            self._shrink()
            if len(self._queue) >= BATCH_LINES or self._queued_bytes >= BATCH_BYTES:
                self._changed.notify()

    def _shrink(self) -> None:
        while self._queued_bytes > self._queue_bytes or len(self._queue) > 2 * BATCH_LINES:
            self._queued_bytes -= self._queue.popleft().size
            self._dropped += 1

    def _run(self) -> None:
        while True:
            wait_s = self.step()
            with self._changed:
                if self._stop_by_s is None:
                    self._changed.wait(wait_s)
                if self._stop_by_s is not None:
                    break
        while self._queue and self._failures == 0 and time.monotonic() < self._stop_by_s:
            if self.step(flush=True) > 0:
                break

    def step(self, *, flush: bool = False) -> float:
        """Ship one batch if one is due (or any, to `flush`). Returns the seconds until the next one may be."""
        now = self._time_keeper.now()
        with self._changed:
            wait_s = self._due_in(now.monotonic_s, flush=flush)
            if wait_s > 0:
                return wait_s
            if now.wall_s is None:
                return _BATCH_AFTER_S
            anchor_s = now.wall_s - now.monotonic_s
            batch, day = self._take(anchor_s)
            settings, region = self._settings, self._region
        stream = log_stream_name(day, self._thing if settings.delineate_stream else None)
        entries = [LogRecordEntry(_milliseconds(anchor_s + line.monotonic_s), line.message) for line in batch]
        try:
            self._store.put(region=region or "", group=settings.log_group_name, stream=stream, entries=entries)
        except (Unavailable, NotAuthorized) as error:
            return self._failed(batch, error)
        except InvalidInput as error:
            logger.warning("The log store refuses %d lines: %s", len(batch), error)
            with self._changed:
                self._dropped += len(batch)
            return 0.0
        self._succeeded()
        return 0.0

    def _due_in(self, now_s: float, *, flush: bool) -> float:
        if not self._queue or self._region is None:
            return _BATCH_AFTER_S
        if now_s < self._retry_at_s:
            return self._retry_at_s - now_s
        if flush or len(self._queue) >= BATCH_LINES or self._queued_bytes >= BATCH_BYTES:
            return 0.0
        return max(0.0, self._queue[0].monotonic_s + _BATCH_AFTER_S - now_s)

    def _take(self, anchor_s: float) -> tuple[list[_Line], str]:
        """Take the oldest lines that fit into one call and belong to one day (UTC), and that day's name."""
        day = _day(anchor_s + self._queue[0].monotonic_s)
        batch: list[_Line] = []
        size = 0
        while self._queue and len(batch) < BATCH_LINES:
            line = self._queue[0]
            if size + line.size > BATCH_BYTES or _day(anchor_s + line.monotonic_s) != day:
                break
            batch.append(self._queue.popleft())
            size += line.size
        self._queued_bytes -= size
        return batch, day

    def _failed(self, batch: list[_Line], error: Exception) -> float:
        if self._failures == 0:
            logger.warning("Logs cannot be shipped, they wait: %s", error)
        most_s = min(_RETRY_LAST_S, _RETRY_FIRST_S * 2.0 ** min(self._failures, 10))
        wait_s = most_s * self._jitter.uniform(0.5, 1.0)
        with self._changed:
            self._failures += 1
            self._retry_at_s = self._clock.monotonic() + wait_s
            if self._region is not None:
                self._queue.extendleft(reversed(batch))
                self._queued_bytes += sum(line.size for line in batch)
                self._shrink()
        return wait_s

    def _succeeded(self) -> None:
        with self._changed:
            failures, self._failures = self._failures, 0
            dropped, self._dropped = self._dropped, 0
        if failures:
            logger.info("Logs are shipped again")
        if dropped:
            logger.warning("%d log lines were lost", dropped)
            self._put(f"WARNING telemetry: {dropped} log lines were lost before this one")


def _milliseconds(wall_s: float) -> int:
    return round(wall_s * 1000)


def _day(wall_s: float) -> str:
    return time.strftime("%Y/%m/%d", time.gmtime(_milliseconds(wall_s) / 1000))


Dimension = Literal["Operation", "Event", "FileType"]
Metric = Literal["EventProcessed", "EventBacklog", "Time", "Size", "UploadProcessed", "Shadow", "Failure"]
_DIMENSIONS = frozenset({"Operation", "Event", "FileType"})
_UNITS: Mapping[str, str] = {
    "EventProcessed": "Count",
    "EventBacklog": "Count",
    "Time": "Milliseconds",
    "Size": "Bytes",
    "UploadProcessed": "Count",
    "Shadow": "Count",
    "Failure": "Count",
}
# CloudWatch takes printable ASCII that holds something other than blanks and does not begin with ":".
_DIMENSION_VALUE = re.compile(r"[\x21-\x39\x3b-\x7e][\x20-\x7e]{0,254}")


class MetricLog:
    """Writes metrics in CloudWatch's embedded metric format, one document for each measurement.

    Off unless the settings ask for it. `per_thing` adds the dimension `ThingName`: each thing's metrics are then
    metrics of their own, and cost money of their own.
    """

    def __init__(
        self,
        sink: Callable[[str], None],
        time_keeper: TimeKeeper,
        *,
        thing: Optional[ThingName] = None,
        per_thing: bool = False,
    ) -> None:
        self._sink = sink
        self._time_keeper = time_keeper
        self._fixed = {"ThingName": str(thing)} if per_thing and thing is not None else {}
        self._settings = CloudWatchSettings()

    def configure(self, settings: CloudWatchSettings) -> None:
        """Take over other settings, now."""
        self._settings = settings

    @property
    def enabled(self) -> bool:
        """Whether metrics are asked for."""
        return self._settings.enabled and self._settings.event_type != "logs"

    def write(self, dimension: Dimension, value: str, metrics: Mapping[Metric, float]) -> None:
        """Write what was measured, e.g. `write("Event", "health_end", {"EventProcessed": 1, "Time": 12.5})`.

        `Time` is in milliseconds, `Size` in bytes, all others are counts. While the time is not known nothing is
        written. Raises InvalidInput for what CloudWatch would not take, whether metrics are on or off.
        """
        _check_metric(dimension, value, metrics)
        if not self.enabled:
            return
        wall_s = self._time_keeper.now().wall_s
        if wall_s is None:
            return
        directive = {
            "Namespace": self._settings.metric_namespace,
            "Dimensions": [[*self._fixed, dimension]],
            "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in metrics],
        }
        document: dict[str, object] = {
            "_aws": {"Timestamp": _milliseconds(wall_s), "CloudWatchMetrics": [directive]},
            **self._fixed,
            dimension: value,
        }
        document.update(metrics.items())
        self._sink(msgspec.json.encode(document).decode("utf-8"))


def _check_metric(dimension: str, value: str, metrics: Mapping[Metric, float]) -> None:
    if dimension not in _DIMENSIONS:
        raise InvalidInput("dimension", f"must be one of {', '.join(sorted(_DIMENSIONS))}, got {dimension!r}")
    if _DIMENSION_VALUE.fullmatch(value) is None:
        raise InvalidInput(dimension, f"must be 1 to 255 printable ASCII characters, got {value[:60]!r}")
    if not metrics:
        raise InvalidInput("metrics", "must name at least one")
    for name, number in metrics.items():
        if name not in _UNITS:
            raise InvalidInput("metrics", f"must be among {', '.join(_UNITS)}, got {name!r}")
        if not math.isfinite(number):
            raise InvalidInput(name, f"must be a finite number, got {number}")
