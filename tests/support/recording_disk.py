"""Journals in memory, on a disk that can refuse: for what is about packets, not about files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional, cast

import msgspec

from pinthesky.device.clip_journal import SYNC_DUE_S, ClipHeader, JournalWriter
from pinthesky.device.ports import Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.identifiers import plain


class Part(NamedTuple):
    """A journal as it was written."""

    header: ClipHeader
    packets: list[Packet]
    journal: MemoryJournal

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self.journal.is_closed

    @property
    def labels(self) -> dict[str, float]:
        """The last word on what was recognised."""
        return self.journal.labels


class MemoryJournal:
    """Behaves as `JournalWriter` does."""

    def __init__(self, disk: RecordingDisk, packets: list[Packet], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.is_closed = False
        self.labels: dict[str, float] = {}
        self.labelled = 0
        """How often labels were written."""
        self._disk = disk
        self._packets = packets
        self._synced_at_s: Optional[float] = None

    def append(self, packet: Packet) -> None:
        """As the real one."""
        if self.is_closed:
            raise InvariantBroken("the journal is closed")
        self._disk.take(len(packet.data))
        self._packets.append(packet)
        self.size_bytes += len(packet.data)

    def append_labels(self, labels: Mapping[str, float]) -> None:
        """As the real one."""
        if self.is_closed:
            raise InvariantBroken("the journal is closed")
        self._disk.take(50)
        self.labels = dict(labels)
        self.labelled += 1

    def sync_if_due(self, now_s: float) -> bool:
        """As the real one."""
        if self._synced_at_s is None:
            self._synced_at_s = now_s
        if now_s - self._synced_at_s < SYNC_DUE_S:
            return False
        if self._disk.sync_fails:
            raise Unavailable("cannot sync")
        self._synced_at_s = now_s
        self._disk.syncs += 1
        return True

    def close(self) -> None:
        """As the real one: closed even when the disk refuses the last sync."""
        self.is_closed = True
        if self._disk.sync_fails:
            raise Unavailable("cannot sync")


class RecordingDisk:
    """Makes journals and remembers them."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.free_bytes: Optional[int] = None
        """Bytes that still fit; None: no bound."""
        self.sync_fails = False
        self.has_room = True
        """What `make_room` answers."""
        self.room_asked: list[int] = []
        self.frees_on_demand = 0
        """Bytes that `make_room` frees, once."""
        self.statvfs_fails = False
        self.syncs = 0
        self.closed = 0
        self.create_attempts = 0

    def create(self, header: ClipHeader) -> JournalWriter:
        """As `ClipSpool.create_journal`."""
        self.create_attempts += 1
        self.take(1)
        # The writer gets the header as it would be read again.
        header = msgspec.json.decode(msgspec.json.encode(header, enc_hook=plain), type=ClipHeader)
        packets: list[Packet] = []
        journal = MemoryJournal(self, packets, 100)
        self.parts.append(Part(header, packets, journal))
        return cast(JournalWriter, journal)

    def take(self, size: int) -> None:
        """Use up some bytes."""
        if self.free_bytes is not None:
            if size > self.free_bytes:
                raise Unavailable("no space left on device")
            self.free_bytes -= size

    def make_room(self, size: int) -> bool:
        """As `ClipSpool.make_room`."""
        self.room_asked.append(size)
        if self.statvfs_fails:
            raise Unavailable("cannot look at the spool")
        if self.frees_on_demand and self.free_bytes is not None:
            self.free_bytes += self.frees_on_demand
            self.frees_on_demand = 0
        return self.has_room

    def note_closed(self) -> None:
        """A journal is complete."""
        self.closed += 1

    def recorded(self) -> list[Packet]:
        """All packets of all journals, in the order of the journals."""
        return [packet for part in self.parts for packet in part.packets]
