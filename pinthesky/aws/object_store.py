"""Clips and stills in S3, or in the hub that speaks S3's PutObject."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Optional

from pinthesky.device.ports import PutOutcome
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.recording import RETENTION_TAG

if TYPE_CHECKING:
    from pinthesky.aws.session import AwsSession
    from pinthesky.device.ports import Clock

PROBE_NAME = ".probe"
"""No media file's name begins with '.', so nothing that lists or ingests clips takes it for one."""
PUT_BASE_S = 120.0
PUT_SLOWEST_BYTES_PER_S = 16 * 1024
"""A PUT that is slower than this over its whole length is given up."""


class S3ObjectStore:
    """The port `ObjectStore` on S3. Thread-safe."""

    def __init__(self, session: AwsSession, clock: Clock, stopping: Optional[threading.Event] = None) -> None:
        """When `stopping` is set, a running PUT is given up at its next block (Unavailable)."""
        self._session = session
        self._clock = clock
        self._stopping = stopping or threading.Event()

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
        """One PutObject, streamed; see the port for what it raises. InvalidInput also if the file cannot be read."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise InvalidInput("file", f"{path} cannot be read: {error.strerror}") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            deadline = self._clock.monotonic() + PUT_BASE_S + size / PUT_SLOWEST_BYTES_PER_S
            return self._put(
                bucket,
                key,
                _Body(file, size, lambda: self._reason_to_stop(deadline)),
                sha256=bytes.fromhex(sha256_hex),
                overwrite=overwrite,
                content_type=content_type,
                metadata=metadata,
            )

    def probe(self, *, bucket: str, prefix: str) -> None:
        """Store an empty `<prefix>/.probe`. That it is there already proves as much: permission is judged first."""
        self._put(
            bucket,
            f"{prefix}/{PROBE_NAME}",
            _Body(io.BytesIO(), 0, lambda: None),
            sha256=hashlib.sha256().digest(),
            overwrite=False,
            content_type="text/plain",
            metadata={},
        )

    def _put(
        self,
        bucket: str,
        key: str,
        body: _Body,
        *,
        sha256: bytes,
        overwrite: bool,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> PutOutcome:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - resident size: not before the first upload

        condition: Any = {} if overwrite else {"IfNoneMatch": "*"}
        checksum = base64.b64encode(sha256).decode("ascii")
        action = f"storing {key} in bucket {bucket}"
        client = self._session.s3()
        with self._session.errors(action):
            try:
                answer = client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=body,  # type: ignore[arg-type] # the stubs want all of IO[bytes]; botocore reads, seeks, tells
                    ContentLength=body.size,
                    ContentType=content_type,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                    Metadata=dict(metadata),
                    Tagging="=".join(RETENTION_TAG),
                    **condition,
                )
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412 and not overwrite:
                    return PutOutcome.ALREADY_STORED
                raise
            except (BotoCoreError, CancelledError, OSError) as error:
                body.explain(action, error)
                raise
        confirmed = answer.get("ChecksumSHA256")
        if confirmed != checksum:
            raise Unavailable(f"{action}: the store did not confirm the checksum (sent {checksum}, got {confirmed})")
        return PutOutcome.STORED

    def _reason_to_stop(self, deadline: float) -> Optional[str]:
        if self._stopping.is_set():
            return "given up because the daemon stops"
        if self._clock.monotonic() > deadline:
            return f"slower than {PUT_SLOWEST_BYTES_PER_S // 1024} KiB/s"
        return None


class _Body:
    """A file on its way, as botocore reads it. Remembers what went wrong at this end: botocore calls all of it HTTP."""

    def __init__(self, file: BinaryIO, size: int, reason_to_stop: Callable[[], Optional[str]]) -> None:
        self.size = size
        self._file = file
        self._reason_to_stop = reason_to_stop
        self._stopped: Optional[str] = None
        self._failure: Optional[OSError] = None

    def read(self, size: int = -1) -> bytes:
        self._stopped = self._reason_to_stop()
        if self._stopped is not None:
            # The one exception that botocore neither wraps nor retries.
            raise CancelledError(self._stopped)
        try:
            return self._file.read(size)
        except OSError as error:
            self._failure = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def explain(self, action: str, error: Exception) -> None:
        """Raise what really happened if it happened here."""
        if self._failure is not None:
            raise InvalidInput("file", f"{action}: cannot be read: {self._failure.strerror}") from error
        if self._stopped is not None:
            raise Unavailable(f"{action}: {self._stopped}") from error
