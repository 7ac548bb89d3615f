"""Log lines and metrics in CloudWatch Logs.

The limits are those of the PutLogEvents API: 1 MiB with 26 bytes counted for each event, 10 000 events, in time order,
within 24 hours, none older than 14 days or more than 2 hours ahead.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pinthesky.device.ports import LogRecordEntry

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import InputLogEventTypeDef

    from pinthesky.aws.session import AwsSession

logger = logging.getLogger(__name__)

BATCH_BYTES_MAX = 1_048_576
BATCH_EVENTS_MAX = 10_000
EVENT_OVERHEAD_BYTES = 26
EVENT_BYTES_MAX = 262_144 - EVENT_OVERHEAD_BYTES
"""AWS takes more by now; a hub or an older region may not, and no line of ours is that long on purpose."""
SPAN_MAX_MS = 24 * 3600 * 1000 - 1


class CloudWatchLogStore:
    """The port `LogStore` on CloudWatch Logs. Thread-safe."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    def put(self, *, region: str, group: str, stream: str, entries: Sequence[LogRecordEntry]) -> None:
        """Append the entries, in as many requests as the limits ask for (one, if the caller keeps the port's bounds).

        Of several requests the first may have been taken when a later one raises. What the service leaves out because
        of its time stamp is logged, once for each request.
        """
        client = self._session.logs(region)
        with self._session.errors(f"writing logs to {group} {stream} in {region}"):
            for batch in batches(entries):
                self._put_batch(client, batch, group=group, stream=stream)

    def _put_batch(
        self, client: CloudWatchLogsClient, batch: Sequence[LogRecordEntry], *, group: str, stream: str
    ) -> None:
        events: list[InputLogEventTypeDef] = [
            {"timestamp": entry.timestamp_ms, "message": entry.message} for entry in batch
        ]
        try:
            answer = client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        except client.exceptions.ResourceNotFoundException:
            self._make(client, group, stream)
            answer = client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        rejected = answer.get("rejectedLogEventsInfo")
        if rejected:
            logger.warning("of %d log lines for %s some were refused by their time: %s", len(events), group, rejected)

    @staticmethod
    def _make(client: CloudWatchLogsClient, group: str, stream: str) -> None:
        """Another thread or thing may be making the same ones at the same time."""
        try:
            client.create_log_stream(logGroupName=group, logStreamName=stream)
            return
        except client.exceptions.ResourceAlreadyExistsException:
            return
        except client.exceptions.ResourceNotFoundException:
            pass
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_group(logGroupName=group)
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_stream(logGroupName=group, logStreamName=stream)


def batches(entries: Sequence[LogRecordEntry]) -> Iterator[list[LogRecordEntry]]:
    """The entries in time order, cut so that each batch keeps the limits. Empty lines are left out, long ones cut."""
    batch: list[LogRecordEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.timestamp_ms):
        raw = entry.message.encode("utf-8", "replace")[:EVENT_BYTES_MAX]
        if not raw:
            continue
        cost = len(raw) + EVENT_OVERHEAD_BYTES
        full = len(batch) == BATCH_EVENTS_MAX or size + cost > BATCH_BYTES_MAX
        if batch and (full or entry.timestamp_ms - batch[0].timestamp_ms > SPAN_MAX_MS):
            yield batch
            batch, size = [], 0
        batch.append(LogRecordEntry(entry.timestamp_ms, raw.decode("utf-8", "ignore")))
        size += cost
    if batch:
        yield batch
