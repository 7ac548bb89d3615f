"""A disk that remembers what it was asked to do, and shows what a power cut at any moment may leave of it.

`Disk.record` puts itself between the program and `durable_files`, and carries everything out for real below `root`.
`Disk.states(moment)` then gives contents that the disk may hold when the power goes after its first `moment`
operations:

- bytes that no sync covered are there, absent, cut anywhere, or zeroed or scrambled in the part that was not synced;
- names that no sync of their folder covered were made, moved or removed, or not, in any combination.

Bytes and names that a sync covers are certain. That is what POSIX promises, which is less than ext4 keeps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional, Union

import pytest

from pinthesky.machine import durable_files

Content = dict[Path, bytes]
"""Files by their path below the root."""


class _Names(NamedTuple):
    """Names that change in one operation: to which file each belongs then, or None."""

    changes: tuple[tuple[Path, Optional[int]], ...]


class _Bytes(NamedTuple):
    file: int
    data: bytes


class _Cut(NamedTuple):
    file: int
    size: int


class _SyncedBytes(NamedTuple):
    file: int


class _SyncedNames(NamedTuple):
    folder: Path


_Operation = Union[_Names, _Bytes, _Cut, _SyncedBytes, _SyncedNames]


class Disk:
    """What happened below `root`. Begins with what is there, all of it certain."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.operations: list[_Operation] = []
        self._files = 0
        self._at: dict[Path, int] = {}
        self._open: dict[int, int] = {}
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            file = self._new_file(path)
            self._do(_Names(((path, file),)), _Bytes(file, path.read_bytes()), _SyncedBytes(file))
            self._do(_SyncedNames(path.parent))

    @property
    def moment(self) -> int:
        """How many operations there have been."""
        return len(self.operations)

    def record(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between the program and its disk until `patch` is undone. Syncs are remembered, not carried out."""
        real = {
            name: getattr(durable_files, name) for name in ("create", "append", "shorten", "close", "move", "remove")
        }

        def create(path: Path) -> int:
            descriptor: int = real["create"](path)
            file = self._open[descriptor] = self._new_file(path)
            self._do(_Names(((path, file),)))
            return descriptor

        def append(descriptor: int, chunks: list[bytes]) -> None:
            real["append"](descriptor, chunks)
            self._do(_Bytes(self._open[descriptor], b"".join(chunks)))

        def shorten(descriptor: int, size: int) -> None:
            real["shorten"](descriptor, size)
            self._do(_Cut(self._open[descriptor], size))

        def close(descriptor: int) -> None:
            real["close"](descriptor)
            del self._open[descriptor]

        def sync_file(path: Path) -> None:
            self._notice_foreign(path)
            self._do(_SyncedBytes(self._at[path]))

        def move(source: Path, target: Path) -> None:
            self._notice_foreign(source)
            real["move"](source, target)
            file = self._at[target] = self._at.pop(source)
            self._do(_Names(((source, None), (target, file))))

        def remove(path: Path) -> None:
            real["remove"](path)
            if self._at.pop(path, None) is not None:
                self._do(_Names(((path, None),)))

        for function in (create, append, shorten, close, sync_file, move, remove):
            patch.setattr(durable_files, function.__name__, function)
        patch.setattr(durable_files, "sync_data", lambda descriptor: self._do(_SyncedBytes(self._open[descriptor])))
        patch.setattr(durable_files, "sync_folder", lambda folder: self._do(_SyncedNames(folder)))

    def states(self, moment: int, chance: random.Random, count: int) -> Iterator[Content]:
        """`count` contents that a cut after `moment` operations may leave, the simplest ones first."""
        past = self.operations[:moment]
        pending = self._pending_names(past)
        for number in range(count):
            if number == 0:
                kept, damage = set(pending), "whole"
            elif number == 1:
                kept, damage = set(), "absent"
            elif number == 2:
                kept, damage = set(pending), "absent"
            elif chance.random() < 0.5:
                kept, damage = set(pending[: chance.randint(0, len(pending))]), "any"
            else:
                kept, damage = {index for index in pending if chance.random() < 0.5}, "any"
            yield self._content(past, kept, damage, chance)

    def _do(self, *operations: _Operation) -> None:
        self.operations += operations

    def _new_file(self, path: Path) -> int:
        self._files += 1
        self._at[path] = self._files
        return self._files

    def _notice_foreign(self, path: Path) -> None:
        """Files that a library wrote by itself are seen when they are synced or moved, and belong to us from then."""
        if path not in self._at:
            file = self._new_file(path)
            self._do(_Names(((path, file),)), _Bytes(file, path.read_bytes()))

    def _pending_names(self, past: list[_Operation]) -> list[int]:
        """Operations that changed a name which no later sync of its folder made certain."""
        pending: list[int] = []
        synced: set[Path] = set()
        for index in range(len(past) - 1, -1, -1):
            operation = past[index]
            if isinstance(operation, _SyncedNames):
                synced.add(operation.folder)
            elif isinstance(operation, _Names) and any(path.parent not in synced for path, _ in operation.changes):
                pending.append(index)
        return pending[::-1]

    def _content(self, past: list[_Operation], kept: set[int], damage: str, chance: random.Random) -> Content:
        last_sync = {
            operation.folder: index for index, operation in enumerate(past) if isinstance(operation, _SyncedNames)
        }
        names: dict[Path, int] = {}
        for index, operation in enumerate(past):
            if not isinstance(operation, _Names):
                continue
            for path, file in operation.changes:
                if index in kept or last_sync.get(path.parent, -1) > index:
                    names.pop(path, None)
                    if file is not None:
                        names[path] = file
        return {path.relative_to(self.root): self._bytes_of(file, past, damage, chance) for path, file in names.items()}

    def _bytes_of(self, file: int, past: list[_Operation], damage: str, chance: random.Random) -> bytes:
        certain = latest = b""
        for operation in past:
            if isinstance(operation, _Bytes) and operation.file == file:
                latest += operation.data
            elif isinstance(operation, _Cut) and operation.file == file:
                latest = latest[: operation.size]
            elif isinstance(operation, _SyncedBytes) and operation.file == file:
                certain = latest
        if damage == "any":
            damage = chance.choice(("whole", "absent", "cut", "zeroed", "hole", "scrambled"))
        if damage == "whole" or certain == latest:
            return latest
        if damage == "absent" or not latest.startswith(certain):
            return certain
        unsure = latest[len(certain) :]
        place = chance.randrange(len(unsure))
        remains = {
            "cut": unsure[:place],
            "zeroed": unsure[:place] + bytes(len(unsure) - place),
            "hole": bytes(place) + unsure[place:],
            "scrambled": unsure[:place]
            + chance.getrandbits(8 * (len(unsure) - place)).to_bytes(len(unsure) - place, "big"),
        }
        return certain + remains[damage]


def restore(content: Content, root: Path) -> None:
    """Lay a content out below `root`."""
    for path, data in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
