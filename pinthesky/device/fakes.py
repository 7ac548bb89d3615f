"""Ports that live in memory and can be driven: for tests, demonstrations and whoever writes against the ports.

They behave as the real ones do, hold what they were given so that it can be looked at, and pass the same contract
suites (`tests/contracts`). Faults are asked for in advance, one for each coming call.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from pinthesky.device.ports import LogRecordEntry, PutOutcome
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable


class FakeClock:
    """A clock that stands still until it is told to go on, and whose wall time can be wrong."""

    def __init__(self, wall: float = 1_800_000_000.0, *, monotonic: float = 100.0, synchronised: bool = True) -> None:
        self.boot_id = "00000000-0000-4000-8000-000000000000"
        self.is_synchronised = synchronised
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        """Seconds since the machine started."""
        with self._lock:
            return self._monotonic

    def wall(self) -> float:
        """Epoch seconds as this machine believes."""
        with self._lock:
            return self._wall

    def synchronised(self) -> bool:
        """What `is_synchronised` says."""
        return self.is_synchronised

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._monotonic += seconds
            self._wall += seconds

    def set_wall(self, wall: float) -> None:
        """Set the wall clock alone, as a person or a time server does."""
        with self._lock:
            self._wall = wall


class StoredObject(NamedTuple):
    """An object as a bucket holds it."""

    data: bytes
    content_type: str
    metadata: Mapping[str, str]


class FakeObjectStore:
    """Buckets in memory that answer as S3 does: a key that exists, a bucket that does not, a prefix that is denied."""

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, dict[str, StoredObject]] = {bucket: {} for bucket in buckets}
        self.puts: list[tuple[str, str]] = []
        """(bucket, key) of every PUT that changed a bucket, in order; probes are not among them."""
        self.history: list[bytes] = []
        """Content of the same PUTs, that which was replaced later among it."""
        self.attempts = 0
        """Calls of any kind, whatever became of them."""
        self.before_put: Callable[[str], None] = lambda _key: None
        """Called with the key of each PUT before anything else, in the caller's thread; may block or raise."""
        self._lock = threading.Lock()
        self._failures: deque[Optional[PinTheSkyError]] = deque()
        self._standing_failure: Optional[PinTheSkyError] = None
        self._answers_to_lose = 0
        self._denied: set[tuple[str, str]] = set()

    def fail_next(self, *failures: Optional[PinTheSkyError]) -> None:
        """Let the next calls fail with these, one each and in order; None lets one through."""
        with self._lock:
            self._failures.extend(failures)

    def fail_until_told(self, failure: Optional[PinTheSkyError]) -> None:
        """Let every call fail until this is called with None: a dead network."""
        with self._lock:
            self._standing_failure = failure

    def lose_answers(self, count: int) -> None:
        """Let the next PUTs be stored and their answers be lost."""
        with self._lock:
            self._answers_to_lose = count

    def deny(self, bucket: str, prefix: str) -> None:
        """Refuse keys below a prefix, as the policy of a role does."""
        with self._lock:
            self._denied.add((bucket, prefix))

    def allow(self, bucket: str, prefix: str) -> None:
        """Take `deny` back."""
        with self._lock:
            self._denied.discard((bucket, prefix))

    def put(
        self,
        *,
        bucket: str,
        key: str,
        path: Path,
        sha256_hex: str,
        content_type: str,
        metadata: Mapping[str, str],
        overwrite: bool,
    ) -> PutOutcome:
        """As the port says."""
        self.before_put(key)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidInput("file", f"{path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256_hex:
            raise InvalidInput(f"storing {key} in bucket {bucket}", "BadDigest")
        with self._lock:
            outcome = self._store(bucket, key, StoredObject(data, content_type, dict(metadata)), overwrite=overwrite)
            if outcome is PutOutcome.STORED:
                self.puts.append((bucket, key))
                self.history.append(data)
            if self._answers_to_lose:
                self._answers_to_lose -= 1
                raise Unavailable("the answer was lost")
            return outcome

    def probe(self, *, bucket: str, prefix: str) -> None:
        """As the port says."""
        with self._lock:
            self._store(bucket, f"{prefix}/.probe", StoredObject(b"", "text/plain", {}), overwrite=False)

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Key and content of what the bucket holds, probes left out."""
        with self._lock:
            return {key: kept.data for key, kept in self.buckets[bucket].items() if not key.endswith("/.probe")}

    def _store(self, bucket: str, key: str, kept: StoredObject, *, overwrite: bool) -> PutOutcome:
        self.attempts += 1
        failure = self._failures.popleft() if self._failures else self._standing_failure
        if failure is not None:
            raise failure
        if bucket not in self.buckets:
            raise NotFound(f"no bucket {bucket}")
        if any(bucket == denied and key.startswith(prefix) for denied, prefix in self._denied):
            raise NotAuthorized(f"{key} in bucket {bucket} is denied")
        if key in self.buckets[bucket] and not overwrite:
            return PutOutcome.ALREADY_STORED
        self.buckets[bucket][key] = kept
        return PutOutcome.STORED


class FakeLogStore:
    """Log groups in memory."""

    def __init__(self) -> None:
        self.streams: dict[tuple[str, str, str], list[LogRecordEntry]] = {}
        """Lines by (region, group, stream), in time order."""
        self._lock = threading.Lock()
        self._failures: deque[PinTheSkyError] = deque()

    def fail_next(self, *failures: PinTheSkyError) -> None:
        """Let the next calls fail with these, one each and in order."""
        with self._lock:
            self._failures.extend(failures)

    def put(self, *, region: str, group: str, stream: str, entries: Sequence[LogRecordEntry]) -> None:
        """As the port says."""
        with self._lock:
            if self._failures:
                raise self._failures.popleft()
            lines = self.streams.setdefault((region, group, stream), [])
            lines.extend(entry for entry in entries if entry.message)
            lines.sort(key=lambda entry: entry.timestamp_ms)


class FakeConnectionPoster:
    """WebSocket connections in memory; those in `open_connections` take answers, any other is gone."""

    def __init__(self, *open_connections: str) -> None:
        self.open_connections = set(open_connections)
        self.posts: list[tuple[str, str, bytes]] = []
        """(endpoint URL, connection id, payload) of what arrived, in order."""
        self._lock = threading.Lock()
        self._failures: deque[PinTheSkyError] = deque()

    def fail_next(self, *failures: PinTheSkyError) -> None:
        """Let the next calls fail with these, one each and in order."""
        with self._lock:
            self._failures.extend(failures)

    def post(self, *, endpoint_url: str, region: str, connection_id: str, payload: bytes) -> None:  # noqa: ARG002 - port
        """As the port says."""
        with self._lock:
            if self._failures:
                raise self._failures.popleft()
            if connection_id not in self.open_connections:
                raise NotFound(f"connection {connection_id} is gone")
            if len(payload) > 128 * 1024:
                raise InvalidInput("payload", f"must be at most 131072 bytes, got {len(payload)}")
            self.posts.append((endpoint_url, connection_id, payload))
