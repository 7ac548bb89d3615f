"""The folder of what survives a restart, used by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Optional

from pinthesky.device import durable_files
from pinthesky.errors import InvalidInput

FLAG = "--state-dir"


class StateFolder:
    """Holds the folder's lock until `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidInput when the folder cannot be used or another daemon uses it, Unavailable for a full disk."""
        self.path = path
        self._lock: Optional[int] = None
        try:
            durable_files.make_folder(path)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise InvalidInput(FLAG, f"{path} is in use by another daemon") from error
        except OSError as error:
            self.close()
            if durable_files.may_pass(error):
                raise durable_files.disk_unavailable(f"cannot use {path}", error) from error
            raise InvalidInput(FLAG, f"cannot use {path} ({error.strerror})") from error

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
