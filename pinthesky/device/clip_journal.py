r"""The journal of a clip in the making: an append-only file that a crash may cut anywhere and that is still readable.

Layout, little-endian::

    "PITSJNL1"                                   8 bytes
    record*      crc32  u32                      of the rest of the record, seeded with the record before
                 length u32                      bytes of payload
                 kind   u8                       0 header, 1 packet, 2 packet that is a keyframe, 3 labels
                 timestamp_us i64
                 payload                         header: JSON of ClipHeader; packet: the access unit;
                                        labels: JSON, name to confidence, of the part so far

Every checksum is seeded with the one before it, so a record counts only after exactly the records that it was written
after: blocks of an older file that a file system hands back after a power cut cannot pass for packets. Reading stops
at the first record that is not whole.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Optional, final
from zlib import crc32

import msgspec
from msgspec import Struct

from pinthesky.device.ports import Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.identifiers import plain
from pinthesky.model.recording import Moment, Trigger

MAGIC = b"PITSJNL1"
PACKET_MAX_BYTES = 16 * 1024 * 1024
"""No access unit is larger; what claims to be is damage."""

SYNC_DUE_S = 0.5
"""Half of what may be lost, so that the disk has the other half to answer."""

_CRC = struct.Struct("<I")
_FIELDS = struct.Struct("<IBq")
_HEADER, _PACKET, _KEYFRAME, _LABELS = 0, 1, 2, 3


class ClipHeader(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is known of a clip when it begins."""

    event_id: str
    start: Moment
    """When the first packet was taken."""
    width: int
    """Pixels of the encoded picture, before it is turned."""
    height: int
    part: int = 1
    key_delay_s: float = 0.0
    """See `Item.key_delay_s`."""
    trigger: Trigger = "motion"
    rotation_left: int = 0
    """Degrees clockwise (0, 90, 180, 270) that a player must turn the picture."""
    framerate: float = 20.0
    """Nominal, for the duration of a packet that has no other beside it."""
    capture_id: Optional[str] = None
    connection: Optional[dict[str, Optional[str]]] = None
    """Where the answer goes, as in the command that asked for the clip."""


class JournalWriter:
    """Appends packets to a new journal. Belongs to one thread; `size_bytes` may be read from any.

    Nothing is buffered in the process: what `append` returned from survives `kill -9`, and what `sync` returned from
    survives a power cut.
    """

    def __init__(self, path: Path, descriptor: int, *, size_bytes: int, crc: int) -> None:
        self.path = path
        self._descriptor: Optional[int] = descriptor
        self._size = size_bytes
        self._crc = crc
        self._first_us: Optional[int] = None
        self._last_us = 0
        self._unsynced = False
        self._synced_at_s: Optional[float] = None
        self._broken: Optional[OSError] = None

    @classmethod
    def create(cls, path: Path, header: ClipHeader) -> JournalWriter:
        """Begin a journal at `path`; it is on the disk with its header when this returns.

        Raises Unavailable when the disk refuses, and leaves nothing behind then.
        """
        payload = msgspec.json.encode(header, enc_hook=plain)
        fields = _FIELDS.pack(len(payload), _HEADER, 0)
        crc = crc32(payload, crc32(fields))
        start = MAGIC + _CRC.pack(crc) + fields + payload
        try:
            descriptor = durable_files.create(path)
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot begin journal {path.name}", error) from error
        try:
            durable_files.append(descriptor, [start])
            durable_files.sync_data(descriptor)
            durable_files.sync_folder(path.parent)
        except OSError as error:
            durable_files.close(descriptor)
            with contextlib.suppress(OSError):
                durable_files.remove(path)
            raise durable_files.disk_unavailable(f"cannot begin journal {path.name}", error) from error
        return cls(path, descriptor, size_bytes=len(start), crc=crc)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return self._size

    @property
    def duration_s(self) -> float:
        """Seconds from the first packet to the last."""
        return 0.0 if self._first_us is None else (self._last_us - self._first_us) / 1e6

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._descriptor is None

    def append(self, packet: Packet) -> None:
        """Write one packet behind the others.

        Raises Unavailable when the disk is full or fails (or the packet is above `PACKET_MAX_BYTES`). The journal is
        then as it was before the call, and may be appended to again; a packet that was left out takes everything up
        to the next keyframe with it.
        """
        if len(packet.data) > PACKET_MAX_BYTES:
            raise Unavailable(f"journal {self.path.name} takes no packet of {len(packet.data)} bytes")
        self._append(_KEYFRAME if packet.is_keyframe else _PACKET, packet.timestamp_us, packet.data)
        self._last_us = packet.timestamp_us
        if self._first_us is None:
            self._first_us = packet.timestamp_us

    def append_labels(self, labels: Mapping[str, float]) -> None:
        """Write down what was recognised in all pictures so far; the last word counts. Raises as `append` does."""
        self._append(_LABELS, self._last_us, msgspec.json.encode(labels))

    def _append(self, kind: int, timestamp_us: int, data: bytes) -> None:
        fields = _FIELDS.pack(len(data), kind, timestamp_us)
        crc = crc32(data, crc32(fields, self._crc))
        descriptor = self._writable()
        try:
            durable_files.append(descriptor, [_CRC.pack(crc) + fields, data])
        except OSError as error:
            self._take_back(descriptor)
            raise durable_files.disk_unavailable(f"cannot go on with journal {self.path.name}", error) from error
        self._crc = crc
        self._size += _CRC.size + _FIELDS.size + len(data)
        self._unsynced = True

    def sync_if_due(self, now_s: float) -> bool:
        """`sync` when `SYNC_DUE_S` have passed since it last ran; call it with every packet. True when it ran.

        `now_s` is any clock that never goes back. Raises Unavailable as `sync` does.
        """
        if self._synced_at_s is None:
            self._synced_at_s = now_s
        if not self._unsynced or now_s - self._synced_at_s < SYNC_DUE_S:
            return False
        self.sync()
        self._synced_at_s = now_s
        return True

    def sync(self) -> None:
        """Wait until the disk has everything appended so far.

        Raises Unavailable when it refuses. Some of what was appended may then be lost whatever a later sync says, and
        nothing behind it could be read, so the journal takes no more: close it and go on in another.
        """
        try:
            durable_files.sync_data(self._writable())
        except OSError as error:
            self._broken = error
            raise durable_files.disk_unavailable(f"cannot sync journal {self.path.name}", error) from error
        self._unsynced = False

    def close(self) -> None:
        """Sync and close; once closed, nothing more happens. Raises Unavailable when the sync failed (closed then)."""
        if self._descriptor is None:
            return
        try:
            if self._unsynced and self._broken is None:
                self.sync()
        finally:
            durable_files.close(self._descriptor)
            self._descriptor = None

    def _writable(self) -> int:
        if self._descriptor is None:
            raise InvariantBroken(f"journal {self.path.name} is closed")
        if self._broken is not None:
            raise durable_files.disk_unavailable(f"journal {self.path.name} is broken", self._broken) from self._broken
        return self._descriptor

    def _take_back(self, descriptor: int) -> None:
        try:
            durable_files.shorten(descriptor, self._size)
        except OSError as error:
            # Anything appended behind a torn record would be lost to the reader.
            self._broken = error


@final
class JournalReader:
    """Reads a journal front to back once, one packet in memory at a time. Use as a context manager.

    `header` is there at once; iterate for the packets; `damage` then says why reading ended before the end of the
    file, and is None when it did not.
    """

    def __init__(self, path: Path) -> None:
        """Raises Unavailable when the file cannot be opened, InvariantBroken when it is gone or has no whole header."""
        self.path = path
        self.damage: Optional[str] = None
        self.labels: dict[str, float] = {}
        """What was recognised in the pictures read so far."""
        self._crc = 0
        try:
            self._file: BinaryIO = path.open("rb", buffering=256 * 1024)
        except FileNotFoundError as error:
            raise InvariantBroken(f"journal {path.name} is gone") from error
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot read journal {path.name}", error) from error
        try:
            self.header = self._read_header()
        except InvariantBroken:
            self._file.close()
            raise

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Packet]:
        while True:
            record = self._next_record()
            if record is None:
                return
            kind, timestamp_us, data = record
            if kind == _LABELS:
                self.labels = _labels(data) or self.labels
                continue
            if kind not in (_PACKET, _KEYFRAME):
                self.damage = f"a record of unknown kind {kind}"
                return
            yield Packet(data, timestamp_us, kind == _KEYFRAME)

    def _read_header(self) -> ClipHeader:
        if self._read(len(MAGIC)) != MAGIC:
            raise InvariantBroken(f"{self.path.name} does not begin as a journal does")
        record = self._next_record()
        if record is None or record[0] != _HEADER:
            raise InvariantBroken(f"journal {self.path.name} has no whole header ({self.damage or 'empty'})")
        try:
            return msgspec.json.decode(record[2], type=ClipHeader)
        except msgspec.MsgspecError as error:
            raise InvariantBroken(f"journal {self.path.name} has a header of another version: {error}") from error

    def _next_record(self) -> Optional[tuple[int, int, bytes]]:
        head = self._read(_CRC.size + _FIELDS.size)
        if not head:
            return None
        if len(head) < _CRC.size + _FIELDS.size:
            self.damage = self.damage or "cut within a record"
            return None
        crc = crc32(head[_CRC.size :], self._crc)
        length, kind, timestamp_us = _FIELDS.unpack_from(head, _CRC.size)
        if length > PACKET_MAX_BYTES:
            self.damage = "a record that claims to be larger than any packet"
            return None
        data = self._read(length)
        if len(data) < length:
            self.damage = self.damage or "cut within a record"
            return None
        crc = crc32(data, crc)
        if crc != _CRC.unpack_from(head)[0]:
            self.damage = "a record with a wrong checksum"
            return None
        self._crc = crc
        return kind, timestamp_us, data

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.damage = f"the disk cannot read it ({error.strerror})"
            return b""


def _labels(data: bytes) -> dict[str, float]:
    try:
        return msgspec.json.decode(data, type=dict[str, float])
    except msgspec.MsgspecError:
        return {}


def read_journal(path: Path) -> JournalReader:
    """Open a journal to read it; see `JournalReader`."""
    return JournalReader(path)
