"""What waits for upload: on disk, bounded, and gone only when the store has it.

Folders, on one file system (`docs/reference/spool.md`)::

    <spool>/journal/     journals of clips that are being made or finished
    <spool>/ready/       finished items: `<name>` and beside it the sidecar `<name>.json`
    <spool>/tmp/         files in the making; emptied at the start
    <spool>/unreadable/  what could not be read at a start; the first to go when room is needed
    <spool>/lock         held by the one daemon that uses the spool

An item exists when its sidecar is whole and its media file has the size that the sidecar says. It comes in the order
media, sidecar and goes in the order sidecar, media, so what a crash leaves in between is never taken for an item.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import msgspec

from pinthesky.device import durable_files
from pinthesky.device.clip_journal import ClipHeader, JournalWriter
from pinthesky.errors import InvalidInput, InvariantBroken, NotFound, Unavailable
from pinthesky.model.recording import CONTENT_TYPES, Item

_log = logging.getLogger(__name__)

FLAG = "--spool-dir"
FIRST_ROOM_BYTES = 1024 * 1024
"""Room that a clip must find to begin."""

PressureReport = Callable[[int, int, str], None]
"""Called with (files, bytes, reason) after items were forced out; from any thread, must not block."""


class SpooledItem(NamedTuple):
    """An item in the spool."""

    name: str
    """Name of its media file, and of the item in calls to the spool."""
    path: Path
    item: Item


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
    journals: list[Path]
    forced_bytes: int
    """Bytes of items and journals, which nobody has stored."""
    freed_bytes: int


def free_bytes_at(folder: Path) -> int:
    """Bytes that an unprivileged process may still write on the folder's file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def item_stem(item: Item) -> str:
    """File name of an item without its suffix. Says nothing about time, which may not be known yet."""
    return f"{item.event_id}-{item.part:04d}-{item.kind}"


class ClipSpool:
    """The spool of one daemon. All methods may be called from any thread, and none holds its lock during a sync.

    Bounds: `max_bytes` over ready items and journals, `min_free_bytes` left on the file system. `make_room` holds
    them before and after every addition, and must be called while a journal grows. What it drops, in this order:
    leftovers of stored or unreadable items; the oldest items, a thumbnail or timestamps file with its clip; journals
    that wait to be finished. A journal that is being written is never dropped. Every forced drop is logged, counted
    (`dropped_files`, `dropped_bytes`) and reported.
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
        self._journal_folder = folder / "journal"
        self._ready_folder = folder / "ready"
        self._tmp_folder = folder / "tmp"
        self._unreadable_folder = folder / "unreadable"
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._on_pressure = on_pressure
        self._free_bytes = free_bytes
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._lock_file: Optional[int] = None
        # Oldest first: in order of arrival in this run, after those found at its start by their time.
        self._ready: dict[str, SpooledItem] = {}
        self._ready_bytes = 0
        self._journals: dict[Path, _Journal] = {}
        self._leftovers: dict[Path, int] = {}
        self._reserved: set[str] = set()
        self._is_full = False

    # Opening and closing

    def open(self) -> list[Path]:
        """Take the spool and return the journals that an earlier run left, oldest first, to be finished.

        Raises InvalidInput when the folder cannot be used or another daemon uses it, Unavailable when the disk is
        full, read-only or failing: then call it again later.
        """
        try:
            for folder in (self._journal_folder, self._ready_folder, self._tmp_folder, self._unreadable_folder):
                durable_files.make_folder(folder)
            self._take_lock()
            for name in durable_files.names_in(self._tmp_folder):
                durable_files.remove(self._tmp_folder / name)
            self._load_ready()
            self._load_journals()
            self._leftovers.update(
                (self._unreadable_folder / name, (self._unreadable_folder / name).stat().st_size)
                for name in durable_files.names_in(self._unreadable_folder)
            )
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            self.close()
            raise InvalidInput(FLAG, f"cannot use {self.folder} ({error.strerror}: {error.filename})") from error
        except OSError as error:
            self.close()
            raise durable_files.disk_unavailable(f"cannot use the spool {self.folder}", error) from error
        self.make_room()
        return self.pending_journals()

    def close(self) -> None:
        """Give the spool back. What is in it stays."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _take_lock(self) -> None:
        if self._lock_file is not None:
            return
        path = self.folder / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise InvalidInput(FLAG, f"{self.folder} is in use by another daemon (process {holder})") from error
        self._lock_file = descriptor
        # Only a hint for people. A full disk must not keep away the one who could empty it.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))

    def _load_ready(self) -> None:
        found: list[tuple[float, SpooledItem]] = []
        names = set(durable_files.names_in(self._ready_folder))
        for name in sorted(names):
            path = self._ready_folder / name
            if name.endswith(".json"):
                # The sidecar comes after its media and goes before it: one alone is damage that says nothing.
                if name[: -len(".json")] not in names:
                    durable_files.remove(path)
            elif name + ".json" not in names:
                # Stored already, or never whole: then its journal is still there, or it was never acknowledged.
                durable_files.remove(path)
            else:
                item = self._read_sidecar(path)
                if item is not None:
                    modified_s = path.stat().st_mtime
                    since_s = modified_s if item.start.wall_s is None else item.start.wall_s
                    found.append((since_s, SpooledItem(name, path, item)))
        found.sort(key=lambda pair: pair[0])
        self._ready = {spooled.name: spooled for _, spooled in found}
        self._ready_bytes = sum(spooled.item.size for _, spooled in found)

    def _read_sidecar(self, path: Path) -> Optional[Item]:
        sidecar = _sidecar_of(path)
        try:
            item = Item.decode(sidecar.read_bytes())
        except (InvariantBroken, OSError) as error:
            _log.warning("Set aside %s: %s", path.name, error)
        else:
            if item.suffix in CONTENT_TYPES and path.stat().st_size == item.size:
                return item
            _log.warning("Set aside %s: it is not what its sidecar says", path.name)
        for broken in (path, sidecar):
            durable_files.move(broken, self._unreadable_folder / broken.name)
        return None

    def _load_journals(self) -> None:
        finished = {(kept.item.event_id, kept.item.part) for kept in self._ready.values() if kept.item.kind == "clip"}
        by_age = sorted(
            ((self._journal_folder / name).stat().st_mtime, name)
            for name in durable_files.names_in(self._journal_folder)
        )
        self._journals = {}
        for _, name in by_age:
            path = self._journal_folder / name
            event_id, _, part = path.stem.rpartition("-")
            if part.isdigit() and (event_id, int(part)) in finished:
                durable_files.remove(path)
            else:
                self._journals[path] = _Journal(path, size=path.stat().st_size)

    # Journals

    def create_journal(self, header: ClipHeader) -> JournalWriter:
        """Begin the journal of a clip. Raises Unavailable when there is no room, or the disk refuses."""
        if not self.make_room(FIRST_ROOM_BYTES):
            raise Unavailable(f"no room for a clip in the spool {self.folder}")
        path = self._journal_folder / f"{header.event_id}-{header.part:04d}.journal"
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
        """Remove a journal that holds nothing. Raises Unavailable."""
        try:
            durable_files.remove(path)
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot remove journal {path.name}", error) from error
        with self._lock:
            self._journals.pop(path, None)

    def set_aside_journal(self, path: Path) -> None:
        """Move a journal that cannot be read out of the way; it goes first when room is needed. Raises Unavailable."""
        aside = self._unreadable_folder / path.name
        size = 0
        try:
            with contextlib.suppress(FileNotFoundError):
                durable_files.move(path, aside)
                size = aside.stat().st_size
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot set aside journal {path.name}", error) from error
        with self._lock:
            self._journals.pop(path, None)
            if size:
                self._leftovers[aside] = size

    # Items

    def tmp_path(self, name: str) -> Path:
        """A path for a file in the making, to be committed; whatever an earlier attempt left there is removed."""
        path = self._tmp_folder / name
        durable_files.remove(path)
        return path

    def commit(self, drafts: Sequence[tuple[Path, Item]], journal: Optional[Path] = None) -> list[SpooledItem]:
        """Take finished files of `tmp_path` in, in order, and drop the journal that they were made from.

        When it returns, all are on the disk for good and the journal is gone for good; only then does anybody see
        them. Of a clip in two files the clip itself comes last: a clip that is ready needs its journal no more.
        Raises Unavailable when the disk refuses; the journal is then still there.
        """
        taken: list[SpooledItem] = []
        for tmp_media, item in drafts:
            name = item_stem(item) + item.suffix
            try:
                taken.append(self._move_in(tmp_media, item, name))
            except OSError as error:
                for failed in [*(spooled.name for spooled in taken), name]:
                    self._forget_failed(failed)
                raise durable_files.disk_unavailable("cannot take a clip into the spool", error) from error
        if journal is not None:
            self._delete([journal])
            with contextlib.suppress(OSError):
                # Should a power cut bring the journal back, the next start sees that its clip is there.
                durable_files.sync_folder(journal.parent)
        with self._lock:
            if journal is not None:
                self._journals.pop(journal, None)
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
            tmp_media = self.tmp_path(name)
            durable_files.write_new(tmp_media, data)
            spooled = self._move_in(tmp_media, item, name)
        except OSError as error:
            self._forget_failed(name)
            raise durable_files.disk_unavailable("cannot take a picture into the spool", error) from error
        finally:
            with self._lock:
                self._reserved.discard(name)
        with self._lock:
            self._index(spooled)
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
            self._write_sidecar(updated)
            durable_files.sync_folder(self._ready_folder)
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot update {name} in the spool", error) from error
        with self._lock:
            is_there = name in self._ready
            if is_there:
                self._ready[name] = updated
        if not is_there:
            self._delete([_sidecar_of(spooled.path)])
            raise NotFound(f"{name} is not in the spool")
        self._tell_listeners()
        return updated

    def mark_stored(self, name: str) -> None:
        """The store has confirmed the item: it goes. Nothing happens when it is gone already. Never raises."""
        with self._lock:
            spooled = self._unindex(name)
        if spooled is not None:
            self._delete([_sidecar_of(spooled.path), spooled.path])

    def totals(self) -> tuple[int, int]:
        """(files, bytes) of what is not stored yet: ready items and journals."""
        with self._lock:
            return len(self._ready) + len(self._journals), self._used_bytes()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every new or updated item, from the thread that brought it. Must not block."""
        self._listeners.append(listener)

    # Bounds

    def make_room(self, bytes_needed: int = 0) -> bool:
        """Hold the bounds with `bytes_needed` more to come. False when nothing is left to drop and they do not hold.

        Costs one statvfs when there is room. The thread that writes a journal calls it with every sync, and closes
        the clip (keeping what it has) when the answer is False.
        """
        try:
            missing_on_disk = self._min_free_bytes + bytes_needed - self._free_bytes(self.folder)
        except OSError as error:
            raise durable_files.disk_unavailable(f"cannot look at the spool {self.folder}", error) from error
        with self._lock:
            above_bound = self._used_bytes() + sum(self._leftovers.values()) + bytes_needed - self._max_bytes
            excess = max(above_bound, missing_on_disk)
            victims = self._choose_victims(excess)
        reason = (
            f"the spool may hold {self._max_bytes} bytes"
            if above_bound >= missing_on_disk
            else f"the disk has less than {self._min_free_bytes} bytes free"
        )
        self._drop(victims, reason)
        is_full = victims.freed_bytes < excess
        if is_full != self._is_full:
            self._is_full = is_full
            if is_full:
                _log.error("The spool %s has no room: %s, and nothing is left to drop", self.folder, reason)
            else:
                _log.info("The spool %s has room again", self.folder)
        return not is_full

    def _choose_victims(self, excess: int) -> _Victims:
        leftovers: list[Path] = []
        items: list[SpooledItem] = []
        journals: list[Path] = []
        freed = forced = 0
        while freed < excess and self._leftovers:
            path = next(iter(self._leftovers))
            freed += self._leftovers.pop(path)
            leftovers.append(path)
        while freed < excess and self._ready:
            oldest = next(iter(self._ready.values())).item
            group = [kept for kept in self._ready.values() if _belong_together(kept.item, oldest)]
            for spooled in group:
                self._unindex(spooled.name)
                forced += spooled.item.size
                freed += spooled.item.size
            items += group
        for journal in [journal for journal in self._journals.values() if journal.waits]:
            if freed >= excess:
                break
            del self._journals[journal.path]
            forced += journal.size
            freed += journal.size
            journals.append(journal.path)
        return _Victims(leftovers, items, journals, forced, freed)

    def _drop(self, victims: _Victims, reason: str) -> None:
        self._delete(victims.leftovers)
        for spooled in victims.items:
            self._delete([_sidecar_of(spooled.path), spooled.path])
        self._delete(victims.journals)
        files = len(victims.items) + len(victims.journals)
        if files:
            self.dropped_files += files
            self.dropped_bytes += victims.forced_bytes
            _log.warning(
                "Dropped %d recordings (%d bytes) that nobody has stored: %s", files, victims.forced_bytes, reason
            )
            self._on_pressure(files, victims.forced_bytes, reason)

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

    # Files

    def _move_in(self, tmp_media: Path, item: Item, name: str) -> SpooledItem:
        spooled = SpooledItem(name, self._ready_folder / name, item)
        durable_files.sync_file(tmp_media)
        durable_files.move(tmp_media, spooled.path)
        self._write_sidecar(spooled)
        durable_files.sync_folder(self._ready_folder)
        return spooled

    def _write_sidecar(self, spooled: SpooledItem) -> None:
        sidecar = _sidecar_of(spooled.path)
        tmp_sidecar = self.tmp_path(sidecar.name)
        durable_files.write_new(tmp_sidecar, spooled.item.encode())
        durable_files.move(tmp_sidecar, sidecar)

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

    def _forget_failed(self, name: str) -> None:
        media = self._ready_folder / name
        self._delete([self._tmp_folder / name, _sidecar_of(self._tmp_folder / name), _sidecar_of(media), media])

    def _delete(self, paths: Sequence[Path]) -> None:
        """Remove files in order; what cannot be removed now is a leftover, to be tried again."""
        for path in paths:
            try:
                durable_files.remove(path)
            except OSError as error:  # noqa: PERF203 - the files are few, and each may fail by itself
                _log.warning("Cannot remove %s: %s", path, error.strerror)
                with self._lock:
                    self._leftovers[path] = 0

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()


def _sidecar_of(media: Path) -> Path:
    return media.with_name(media.name + ".json")


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
