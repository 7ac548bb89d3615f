"""What an older version left in folders of its own, which this one does not use: brought to the store all the same."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.spool_folder import SpooledItem
from pinthesky.errors import Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.recording import LATEST_STILL, Item, Kind, Moment

logger = logging.getLogger(__name__)

LOOKED_AT_MAX = 10_000
"""Entries of each folder."""
SIZE_MAX = 256 * 1024 * 1024
"""A stored object is not larger."""
AT_REST_S = 60.0
"""A file that changed later than this long ago may still be written to."""
RETRY_S = 30.0
_CHUNK = 1024 * 1024
_NAME = re.compile(r"(?P<stem>[A-Za-z0-9_-][A-Za-z0-9._-]{0,100})(?P<suffix>\.motion\.h264|\.mp4|\.jpg)")
_EPOCH = re.compile(r"[0-9]{9,10}")
_KINDS: dict[str, Kind] = {".h264": "clip", ".mp4": "clip", ".jpg": "still"}
_BOOT = "older version"


class _Found(NamedTuple):
    """A recording, by its name."""

    path: Path
    suffix: str
    epoch_s: Optional[float]
    """The time in its name."""


class OlderRecordings:
    """Takes recordings out of the folders into the spool, one after the other, in a thread that ends after the last.

    The next one follows when the one before is stored, so that a spool which fills up never has to drop more than one
    of them, and nothing newer for their sake. Each is removed from its folder when the spool has it. Its event id comes
    from its content, so one that a power cut brings back is not stored twice.
    """

    def __init__(
        self,
        folders: Iterable[Path],
        spool: ClipSpool,
        *,
        may_upload: Callable[[], bool],
        wall: Callable[[], float] = time.time,
        retry_s: float = RETRY_S,
    ) -> None:
        """`may_upload` says whether there is a place to upload to: until then they are safest where they are."""
        self._folders = tuple(folders)
        self._spool = spool
        self._may_upload = may_upload
        self._wall = wall
        self._retry_s = retry_s
        self._stopping = threading.Event()
        self._in_spool: Optional[str] = None
        self._is_refused = False
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Begin, where there is something."""
        found = [one for folder in self._folders for one in _recordings_in(folder)]
        if found:
            self._thread = threading.Thread(target=self._run, args=(found,), name="older-recordings", daemon=False)
            self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End; what is left waits for the next start. False when it still runs."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self, found: Sequence[_Found]) -> None:
        for one in found:
            while not self._is_done_with(one):
                if self._stopping.wait(self._retry_s):
                    return
        logger.info("All recordings of an older version have been looked at")

    def _is_done_with(self, one: _Found) -> bool:
        """Take it in, or see that it cannot be; False when that must wait."""
        waiting = {spooled.name for spooled in self._spool.items()}
        if self._in_spool in waiting or not self._may_upload():
            return False
        try:
            reason = self._take_in(one)
        except Unavailable as error:
            if not self._is_refused:
                logger.warning("%s; trying again", error)
            self._is_refused = True
            return False
        if self._stopping.is_set():
            return False
        self._is_refused = False
        if reason is not None:
            logger.warning("%s of an older version stays where it is: %s", one.path, reason)
        return True

    def _take_in(self, one: _Found) -> Optional[str]:
        """Copy it into the spool and remove it; returns why not. Raises Unavailable when it may work later."""
        try:
            source = os.open(one.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return error.strerror
        try:
            about = os.fstat(source)
            reason = self._why_not(about)
            spooled = None if reason else self._copied_in(one, source, about)
        finally:
            os.close(source)
        if spooled is None:
            return reason
        self._in_spool = spooled.name
        logger.info("Took %s of an older version in as event %s", one.path.name, spooled.item.event_id)
        try:
            durable_files.remove(one.path)
        except OSError as error:
            return f"it cannot be removed ({error.strerror}), and will be stored no second time"
        return None

    def _copied_in(self, one: _Found, source: int, about: os.stat_result) -> Optional[SpooledItem]:
        """None when it was given up because of the stop."""
        # Twice: the copy, and what is recorded meanwhile.
        if self._spool.room() < 2 * about.st_size:
            raise Unavailable(f"the spool has no room for {one.path} of an older version")
        name = f"older{one.suffix}"
        try:
            copy = self._spool.tmp_path(name)
            sha256 = self._copy(source, copy)
            if sha256 is None:
                return None
            size = copy.stat().st_size
        except OSError as error:
            self._spool.tmp_path(name)
            raise durable_files.disk_unavailable(f"cannot take {one.path} into the spool", error) from error
        (spooled,) = self._spool.commit([(copy, _item(one, size, sha256, changed_s=about.st_mtime))])
        return spooled

    def _why_not(self, about: os.stat_result) -> Optional[str]:
        if not stat.S_ISREG(about.st_mode):
            return "it is no file"
        if not 0 < about.st_size <= SIZE_MAX:
            return f"it has {about.st_size} bytes, and must have 1 to {SIZE_MAX}"
        if self._wall() - about.st_mtime < AT_REST_S:
            return "it is being written to"
        return None

    def _copy(self, source: int, target: Path) -> Optional[str]:
        """Returns the copy's SHA-256; None when it was given up because of the stop."""
        digest = hashlib.sha256()
        descriptor = durable_files.create(target)
        try:
            while not self._stopping.is_set():
                chunk = os.read(source, _CHUNK)
                if not chunk:
                    return digest.hexdigest()
                digest.update(chunk)
                durable_files.append(descriptor, [chunk])
        finally:
            durable_files.close(descriptor)
        return None


def _item(one: _Found, size: int, sha256: str, *, changed_s: float) -> Item:
    return Item(
        kind=_KINDS[one.suffix],
        event_id=sha256[:32],
        start=Moment(boot_id=_BOOT, monotonic_s=0.0, wall_s=changed_s if one.epoch_s is None else one.epoch_s),
        suffix=one.suffix,
        size=size,
        sha256=sha256,
        time_uncertain=one.epoch_s is None,
        file_name=one.path.name if one.suffix == ".jpg" else None,
    )


def _recordings_in(folder: Path) -> list[_Found]:
    """The recordings that can be taken out of `folder`, oldest name first, with a word about what was found."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, LOOKED_AT_MAX))
    except OSError:
        return []
    found = [_Found(folder / name, *_parsed(match)) for name in names if (match := _NAME.fullmatch(name))]
    found = [one for one in found if one.path.name != LATEST_STILL and one.path.is_file()]
    if not found:
        return []
    if not os.access(folder, os.W_OK | os.X_OK):
        logger.warning("%s holds %d recordings of an older version, but may not be changed", folder, len(found))
        return []
    logger.info("%s holds %d recordings of an older version, which are stored one after the other", folder, len(found))
    return found


def _parsed(match: re.Match[str]) -> tuple[str, Optional[float]]:
    stem, suffix = match["stem"], match["suffix"].removeprefix(".motion")
    return suffix, float(stem) if _EPOCH.fullmatch(stem) else None
