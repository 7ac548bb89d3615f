"""Tells which files were changed, by inotify on their folders: files that come late or are replaced are seen too."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Optional

import inotify_simple

logger = logging.getLogger(__name__)

RECHECK_BLIND_S = 1.0
"""How often to look without being told, where the kernel tells nothing."""

_flags = inotify_simple.flags
_WHOLE = _flags.CLOSE_WRITE | _flags.CREATE | _flags.MOVED_TO


class FolderWatch:
    """Tells which of some files were changed; wakeable from any thread.

    `files` are told by their path, and each of `folders` by its own whenever any file in it was changed. A change is a
    file that was closed after writing, created, or moved there; with `while_written` every single write is one too.
    `wait` belongs to one thread. Everything the kernel is asked for is asked for again at every recheck, so folders
    that appear later or are replaced are found.
    """

    def __init__(
        self,
        files: AbstractSet[Path],
        recheck_s: float,
        *,
        folders: AbstractSet[Path] = frozenset(),
        while_written: bool = False,
    ) -> None:
        self._files = files
        self._whole_folders = folders
        self._mask = _WHOLE | _flags.MODIFY if while_written else _WHOLE
        self._recheck_s = recheck_s
        self._recheck_at = 0.0
        self._inotify: Optional[inotify_simple.INotify] = None
        self._folders: dict[int, Path] = {}
        self._is_blind = False
        self._lock = threading.Lock()
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_closed = False

    def wake(self) -> None:
        """Make `wait` return at once, now or the next time."""
        with self._lock:
            if not self._is_closed:
                try:
                    os.write(self._wake_in, b"!")
                except BlockingIOError:
                    return  # the pipe is full of calls to wake

    def wait(self, timeout_s: Optional[float]) -> set[Path]:
        """Wait, `timeout_s` at most, and return what was changed as far as the kernel tells."""
        now = time.monotonic()
        if now >= self._recheck_at:
            self._look_again(now)
            return set()
        waits_s = self._recheck_at - now
        if timeout_s is not None:
            waits_s = min(waits_s, timeout_s)
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        if self._inotify is not None:
            poller.register(self._inotify.fileno(), select.POLLIN)
        ready = poller.poll(waits_s * 1000 + 1)
        if any(descriptor == self._wake_out for descriptor, _ in ready):
            os.read(self._wake_out, 65536)
        return self._changed() if ready else set()

    def close(self) -> None:
        """Give everything back; `wake` does nothing from now on."""
        with self._lock:
            if not self._is_closed:
                os.close(self._wake_in)
                os.close(self._wake_out)
            self._is_closed = True
        if self._inotify is not None:
            self._inotify.close()
        self._inotify = None

    def _changed(self) -> set[Path]:
        if self._inotify is None:
            return set()
        changed: set[Path] = set()
        for event in self._inotify.read(timeout=0):
            if event.mask & _flags.Q_OVERFLOW:
                return {*self._files, *self._whole_folders}
            folder = self._folders.get(event.wd)
            if folder is None:
                continue
            if folder in self._whole_folders:
                changed.add(folder)
            if folder / event.name in self._files:
                changed.add(folder / event.name)
        return changed

    def _look_again(self, now: float) -> None:
        folders = {file.parent for file in self._files} | self._whole_folders
        refusals = [refusal for refusal in map(self._watch, folders) if refusal]
        if bool(refusals) != self._is_blind:
            self._is_blind = bool(refusals)
            if refusals:
                logger.warning("The kernel tells no changes of files (%s); looking every second", refusals[0])
            else:
                logger.info("The kernel tells changes of files again")
        self._recheck_at = now + (min(self._recheck_s, RECHECK_BLIND_S) if self._is_blind else self._recheck_s)

    def _watch(self, folder: Path) -> Optional[str]:
        """Ask for a folder's changes; the reason when they cannot be had."""
        try:
            if self._inotify is None:
                self._inotify = inotify_simple.INotify()
            # Asking again for a folder that is watched already changes nothing and gives the same number.
            self._folders[self._inotify.add_watch(folder, self._mask)] = folder
        except OSError as error:
            return f"{folder}: {error.strerror}"
        return None
