"""The thread that looks after the files which the daemon writes, and after what has to be asked for again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Protocol

from pinthesky.machine.folder_watch import FolderWatch
from pinthesky.machine.permanent_thread import Crash, PermanentThread

RECHECK_S = 5.0
"""How often files are looked at without a sign."""
_LONGEST_WAIT_S = 5.0


class Watched(Protocol):
    """Something that is told when its files change. Both methods are called in the thread of the watch."""

    @property
    def files(self) -> AbstractSet[Path]:
        """Files whose changes matter."""
        ...

    @property
    def folders(self) -> AbstractSet[Path]:
        """Folders in which every change matters."""
        ...

    def look(self, changed: AbstractSet[Path]) -> None:
        """Do what there is to do. `changed` holds files and folders as far as the kernel tells."""
        ...

    def due_in(self) -> float | None:
        """Seconds until `look` has something to do although nothing changes, or None."""
        ...


class FileThread(PermanentThread):
    """Watches for all parts of the client. `wake` makes it look at once."""

    def __init__(self, on_crash: Crash, *, recheck_s: float = RECHECK_S) -> None:
        super().__init__("files", on_crash)
        self._watched: list[Watched] = []
        self._files: set[Path] = set()
        self._folders: set[Path] = set()
        self._watch = FolderWatch(self._files, recheck_s, folders=self._folders)

    def add(self, watched: Watched) -> None:
        """Watch for one more. Before the start only."""
        self._watched.append(watched)
        self._files |= watched.files
        self._folders |= watched.folders

    def wake(self) -> None:
        """Make a waiting step return."""
        self._watch.wake()

    def step(self) -> None:
        """Wait for a change, or until something is due, and let everyone look."""
        dues_s = [due_s for due_s in (watched.due_in() for watched in self._watched) if due_s is not None]
        changed = self._watch.wait(min([_LONGEST_WAIT_S, *dues_s]))
        for watched in self._watched:
            watched.look(changed)

    def left(self) -> None:
        """Give the watch back."""
        self._watch.close()


class Gate:
    """Whether it is worth while to publish: opened by every connection, closed for some time by a failure.

    From any thread.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._opens_at_s = math.inf
        self._lock = threading.Lock()

    def open(self) -> None:
        """There is a connection."""
        with self._lock:
            self._opens_at_s = -math.inf

    def close(self, seconds: float) -> None:
        """What was tried has failed: wait so long, or for the next connection."""
        with self._lock:
            self._opens_at_s = self._monotonic() + seconds

    def opens_in(self) -> float | None:
        """Seconds until it is open: 0 for now, None while there was no connection yet."""
        with self._lock:
            return None if self._opens_at_s == math.inf else max(0.0, self._opens_at_s - self._monotonic())


def signature_of(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
