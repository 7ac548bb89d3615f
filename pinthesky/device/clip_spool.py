"""What waits for upload: on disk, bounded, and gone only when the store has it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import msgspec

from pinthesky.device.clip_journal import ClipHeader, JournalWriter
from pinthesky.device.spool_folder import FLAG, SpooledItem, SpoolFolder, item_stem
from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.recording import Item

_log = logging.getLogger(__name__)

FIRST_ROOM_BYTES = 1024 * 1024
"""Room that a clip must find to begin."""

PressureReport = Callable[[int, int, str], None]
"""Called with (files, bytes, reason) after items were forced out; from any thread, must not block."""


class _Journal:
    """A journal in the spool: open (its writer is), waiting to be finished, or being finished."""

    def __init__(self, path: Path, *, writer: Optional[JournalWriter] = None, size: int = 0) -> None:
        self.path = path
        self.writer = writer
        self.found_size = size
        self.is_finishing = False

    @property
    def size(self) -> int:
        return self.found_size if self.writer is None else self.writer.size_bytes

    @property
    def waits(self) -> bool:
        return not self.is_finishing and (self.writer is None or self.writer.is_closed)


class _Victims(NamedTuple):
    """What is to be deleted to make room; already out of the index."""

    leftovers: list[Path]
    items: list[SpooledItem]
    journals: list[_Journal]

    @property
    def lost_bytes(self) -> int:
        """Bytes that nobody has stored."""
        return sum(spooled.item.size for spooled in self.items) + sum(journal.size for journal in self.journals)


def free_bytes_at(folder: Path) -> int:
    """Bytes that an unprivileged process may still write on the folder's file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class ClipSpool:
    """The spool of one daemon. All methods may be called from any thread; none holds the lock while the disk works.

    Bounds: `max_bytes` over ready items and journals, `min_free_bytes` left on the file system. `make_room` holds
    them before and after every addition, and must be called while a journal grows. What it drops, in this order:
    leftovers of stored or unreadable items; the oldest items, a thumbnail or timestamps file with its clip; journals
    that wait to be finished. A journal that is being written is never dropped. Every forced drop is logged, counted
    (`dropped_files`, `dropped_bytes`) and reported. Sidecars, some 300 bytes each, and the file in the making, which
    is as large as its journal, count towards the file system only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        min_free_bytes: int,
        on_pressure: PressureReport = lambda _files, _bytes, _reason: None,
        free_bytes: Callable[[Path], int] = free_bytes_at,
    ) -> None:
        self.folder = folder
        self.dropped_files = 0
        self.dropped_bytes = 0
        self._files = SpoolFolder(folder)
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._on_pressure = on_pressure
        self._free_bytes = free_bytes
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        # Oldest first: in order of arrival in this run, after those found at its start by their time.
        self._ready: dict[str, SpooledItem] = {}
        self._ready_bytes = 0
        self._journals: dict[Path, _Journal] = {}
        self._leftovers: dict[Path, int] = {}
        self._reserved: set[str] = set()
        self._is_full = False

    def open(self) -> list[Path]:
        """Take the spool and return the journals that an earlier run left, oldest first, to be finished.

        Raises InvalidInput when the folder cannot be used or another daemon uses it, Unavailable when the disk is
        full, read-only or failing: then call it again later.
        """
        try:
            self._files.open()
            items = self._files.load_items()
            journals = [_Journal(path, size=path.stat().st_size) for path in self._files.load_journals(items)]
            leftovers = {path: path.stat().st_size for path in self._files.load_set_aside()}
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            self._files.close()
            raise InvalidInput(FLAG, f"cannot use {self.folder} ({error.strerror}: {error.filename})") from error
        except OSError as error:
            self._files.close()
            raise durable_files.disk_unavailable(f"cannot use the spool {self.folder}", error) from error
        with self._lock:
            self._ready.clear()
            self._ready_bytes = 0
            for spooled in items:
                self._index(spooled)
            self._journals = {journal.path: journal for journal in journals}
            self._leftovers = leftovers
        self.make_room()
        return self.pending_journals()

    def close(self) -> None:
        """Give the spool back. What is in it stays."""
        self._files.close()

    # Journals

    def create_journal(self, header: ClipHeader) -> JournalWriter:
        """Begin the journal of a clip. Raises Unavailable when there is no room, or the disk refuses."""
        if not self.make_room(FIRST_ROOM_BYTES):
            raise Unavailable(f"no room for a clip in the spool {self.folder}")
        path = self._files.journal_path(header.event_id, header.part)
        writer = JournalWriter.create(path, header)
        with self._lock:
            self._journals[path] = _Journal(path, writer=writer)
        return writer

    def pending_journals(self) -> list[Path]:
        """Journals that are closed and wait to be finished, oldest first."""
        with self._lock:
            return [journal.path for journal in self._journals.values() if journal.waits]

    @contextlib.contextmanager
    def finishing(self, path: Path) -> Iterator[bool]:
        """Hold a journal while it is finished; it waits again when the block is left without `commit`.

        Gives whether the journal was found at the start, and is thus what a crash left. Raises NotFound when it was
        dropped to make room, or is finished already or by somebody else.
        """
        with self._lock:
            journal = self._journals.get(path)
            if journal is None or not journal.waits:
                raise NotFound(f"journal {path.name} does not wait to be finished")
            journal.is_finishing = True
        try:
            yield journal.writer is None
        finally:
            journal.is_finishing = False

    def discard_journal(self, path: Path) -> None:
        """Remove a journal that is finished, or holds nothing. Never raises."""
        is_gone = self._files.remove_journal(path)
        with self._lock:
            self._journals.pop(path, None)
            if not is_gone:
                self._leftovers[path] = 0

    def set_aside_journal(self, path: Path) -> None:
        """Move a journal that cannot be read out of the way; it goes first when room is needed.

        Raises Unavailable when the disk refuses.
        """
        aside, size = path, 0
        try:
            with contextlib.suppress(FileNotFoundError):
                aside = self._files.set_aside(path)
                size = aside.stat().st_size
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot set aside journal {path.name}", error) from error
        with self._lock:
            self._journals.pop(path, None)
            if aside != path:
                self._leftovers[aside] = size

    # Items

    def tmp_path(self, name: str) -> Path:
        """A path for a file in the making, to be committed; whatever an earlier attempt left there is removed.

        Raises OSError.
        """
        return self._files.tmp_path(name)

    def commit(self, drafts: Sequence[tuple[Path, Item]], journal: Optional[Path] = None) -> list[SpooledItem]:
        """Take finished files of `tmp_path` in, in order, and drop the journal that they were made from.

        When it returns, all are on the disk for good and the journal is gone for good; only then does anybody see
        them. Of a clip in two files the clip itself comes last: a clip that is ready needs its journal no more.
        Raises Unavailable when the disk refuses; nothing is taken in then, and the journal is still there.
        """
        taken: list[SpooledItem] = []
        try:
            for tmp_media, item in drafts:
                spooled = self._files.move_in(tmp_media, item, item_stem(item) + item.suffix)
                taken.append(spooled)
        except OSError as error:
            for spooled in taken:
                self._files.delete_item(spooled)
            raise durable_files.disk_unavailable("cannot take a clip into the spool", error) from error
        if journal is not None:
            self.discard_journal(journal)
        with self._lock:
            for spooled in taken:
                self._index(spooled)
        self.make_room()
        self._tell_listeners()
        return taken

    def add_bytes(self, data: bytes, item: Item) -> SpooledItem:
        """Take a still or a thumbnail in; `size` and `sha256` of `item` are set here.

        Raises Unavailable when there is no room or the disk refuses.
        """
        if not self.make_room(len(data)):
            raise Unavailable(f"no room for a picture in the spool {self.folder}")
        item = msgspec.structs.replace(item, size=len(data), sha256=sha256(data).hexdigest())
        name = self._reserve(item)
        try:
            tmp_media = self._files.tmp_path(name)
            durable_files.write_new(tmp_media, data)
            spooled = self._files.move_in(tmp_media, item, name)
            with self._lock:
                self._index(spooled)
        except OSError as error:
            raise durable_files.disk_unavailable("cannot take a picture into the spool", error) from error
        finally:
            with self._lock:
                self._reserved.discard(name)
        self._tell_listeners()
        return spooled

    def items(self) -> list[SpooledItem]:
        """All items, oldest first."""
        with self._lock:
            return list(self._ready.values())

    def update(self, name: str, item: Item) -> SpooledItem:
        """Rewrite an item's sidecar (its time became known). Raises NotFound when it is gone, Unavailable."""
        with self._lock:
            spooled = self._ready.get(name)
        if spooled is None:
            raise NotFound(f"{name} is not in the spool")
        updated = spooled._replace(item=item)
        try:
            self._files.write_sidecar(updated)
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot update {name} in the spool", error) from error
        with self._lock:
            is_there = name in self._ready
            if is_there:
                self._ready[name] = updated
        if not is_there:
            self._delete(updated)
            raise NotFound(f"{name} is not in the spool")
        self._tell_listeners()
        return updated

    def mark_stored(self, name: str) -> None:
        """The store has confirmed the item: it goes. Nothing happens when it is gone already. Never raises."""
        with self._lock:
            spooled = self._unindex(name)
        if spooled is not None:
            self._delete(spooled)

    def totals(self) -> tuple[int, int]:
        """(files, bytes) of what is not stored yet: ready items and journals."""
        with self._lock:
            return len(self._ready) + len(self._journals), self._used_bytes()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every new or updated item, from the thread that brought it. Must not block."""
        self._listeners.append(listener)

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()

    # Bounds

    def make_room(self, bytes_needed: int = 0) -> bool:
        """Hold the bounds with `bytes_needed` more to come. False when nothing is left to drop and they do not hold.

        Costs one statvfs when there is room. The thread that writes a journal calls it with every sync, and closes
        the clip (keeping what it has) when the answer is False. Raises Unavailable when the disk cannot be asked.
        """
        missing_on_disk = bytes_needed - self._disk_room()
        with self._lock:
            above_bound = self._used_bytes() + sum(self._leftovers.values()) + bytes_needed - self._max_bytes
            victims, still_missing = self._choose_victims(max(above_bound, missing_on_disk))
            is_full = still_missing > 0
            has_changed, self._is_full = is_full != self._is_full, is_full
        if above_bound >= missing_on_disk:
            reason = f"the spool may hold {self._max_bytes} bytes"
        else:
            reason = f"the disk must keep {self._min_free_bytes} bytes free"
        self._drop(victims, reason)
        if has_changed and is_full:
            _log.error("The spool %s has no room: %s, and nothing is left to drop", self.folder, reason)
        elif has_changed:
            _log.info("The spool %s has room again", self.folder)
        return not is_full

    def room(self) -> int:
        """Bytes that may come without anything being dropped; below 0 while the bounds do not hold.

        Raises Unavailable when the disk cannot be asked.
        """
        room_on_disk = self._disk_room()
        with self._lock:
            return min(room_on_disk, self._max_bytes - self._used_bytes() - sum(self._leftovers.values()))

    def _disk_room(self) -> int:
        try:
            return self._free_bytes(self.folder) - self._min_free_bytes
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot look at the spool {self.folder}", error) from error

    def _choose_victims(self, excess: int) -> tuple[_Victims, int]:
        """Take out of the index what must go, and say how many bytes are still missing then."""
        victims = _Victims([], [], [])
        while excess > 0 and self._leftovers:
            path = next(iter(self._leftovers))
            excess -= self._leftovers.pop(path)
            victims.leftovers.append(path)
        while excess > 0 and self._ready:
            oldest = next(iter(self._ready.values()))
            for spooled in [kept for kept in self._ready.values() if _belong_together(kept.item, oldest.item)]:
                self._unindex(spooled.name)
                victims.items.append(spooled)
                excess -= spooled.item.size
        waiting = [journal for journal in self._journals.values() if journal.waits]
        while excess > 0 and waiting:
            journal = waiting.pop(0)
            del self._journals[journal.path]
            victims.journals.append(journal)
            excess -= journal.size
        return victims, excess

    def _drop(self, victims: _Victims, reason: str) -> None:
        for path in [*victims.leftovers, *(journal.path for journal in victims.journals)]:
            if not self._files.delete(path):
                with self._lock:
                    self._leftovers[path] = 0
        for spooled in victims.items:
            self._delete(spooled)
        files = len(victims.items) + len(victims.journals)
        if files == 0:
            return
        with self._lock:
            self.dropped_files += files
            self.dropped_bytes += victims.lost_bytes
        _log.warning("Dropped %d recordings (%d bytes) that nobody has stored: %s", files, victims.lost_bytes, reason)
        self._on_pressure(files, victims.lost_bytes, reason)

    def _delete(self, spooled: SpooledItem) -> None:
        for path in self._files.delete_item(spooled):
            with self._lock:
                self._leftovers[path] = 0

    # The index, to be touched with the lock held

    def _used_bytes(self) -> int:
        return self._ready_bytes + sum(journal.size for journal in self._journals.values())

    def _index(self, spooled: SpooledItem) -> None:
        self._unindex(spooled.name)
        self._ready[spooled.name] = spooled
        self._ready_bytes += spooled.item.size

    def _unindex(self, name: str) -> Optional[SpooledItem]:
        spooled = self._ready.pop(name, None)
        if spooled is not None:
            self._ready_bytes -= spooled.item.size
        return spooled

    def _reserve(self, item: Item) -> str:
        """A name that no other picture of the event has."""
        with self._lock:
            name = item_stem(item) + item.suffix
            count = 1
            while name in self._ready or name in self._reserved:
                count += 1
                name = f"{item_stem(item)}-{count}{item.suffix}"
            self._reserved.add(name)
            return name


def _belong_together(one: Item, other: Item) -> bool:
    """Whether the items are the same, or a clip and what only makes sense beside it."""
    if one is other:
        return True
    parts_of_clip = ("clip", "thumbnail", "timestamps")
    return (
        one.kind in parts_of_clip
        and other.kind in parts_of_clip
        and (one.event_id, one.part) == (other.event_id, other.part)
    )
