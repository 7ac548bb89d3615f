"""The folder of what survives a restart, used by one daemon at a time."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Optional

from pinthesky.errors import InvalidInput
from pinthesky.machine import durable_files

logger = logging.getLogger(__name__)

FLAG = "--state-dir"


class StateFolder:
    """Holds the folder's lock until `close` or the end of the process.

    On a disk that is full or failing the folder may not be had; the daemon runs without it, remembers nothing, and asks
    again by `look`. Until then it is the spool's lock that keeps a second daemon away.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidInput when the folder cannot be used or another daemon uses it."""
        self.path = path
        self._lock: Optional[int] = None
        self._is_missed = False
        self.look()

    def look(self) -> bool:
        """Take the folder, and tell whether that was done just now. Raises InvalidInput as the constructor does."""
        if self._lock is not None:
            return False
        try:
            durable_files.make_folder(self.path)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise InvalidInput(FLAG, f"{self.path} is in use by another daemon") from error
        except OSError as error:
            self.close()
            if not durable_files.may_pass(error):
                raise InvalidInput(FLAG, f"cannot use {self.path} ({error.strerror})") from error
            if not self._is_missed:
                logger.error("Cannot use %s (%s): a restart would find nothing remembered", self.path, error.strerror)
            self._is_missed = True
            return False
        if self._is_missed:
            logger.info("%s can be used", self.path)
        return True

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
