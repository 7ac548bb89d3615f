"""The hub's folder: what is where in it, who may read it, and that one hub at a time uses it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pinthesky.errors import InvalidInput, PinTheSkyError, Unavailable
from pinthesky.machine.durable_files import replace_file

FLAG = "--data"
SOCKET_PATH_MAX = 107
"""Bytes in the path of a Unix socket (sockaddr_un of Linux, less its end)."""


class DataFolder:
    """Paths of everything the hub keeps. Whoever runs as another user than the owner of the folder is told so."""

    def __init__(self, root: Path) -> None:
        """Raises InvalidInput for a path that cannot hold a hub."""
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - a link stays the owner's name for the place
        self.settings = self.root / "hub.toml"
        self.database = self.root / "hub.sqlite"
        self.authority = self.root / "authority"
        self.broker = self.root / "broker"
        self.broker_socket = self.broker / "mosquitto.sock"
        self.media = self.root / "media"
        self.releases = self.root / "releases"
        """Wheels of the device software, where the owner has put some."""
        too_long = len(os.fsencode(self.broker_socket)) - SOCKET_PATH_MAX
        if too_long > 0:
            most = len(os.fsencode(self.root)) - too_long
            raise InvalidInput(FLAG, f"must be a path of at most {most} bytes, got {str(self.root)!r}")
        if any(character.isspace() or not character.isprintable() for character in str(self.root)):
            raise InvalidInput(FLAG, f"must be a path without spaces, got {str(self.root)!r}")
        self._lock: int | None = None

    @property
    def is_made(self) -> bool:
        """Whether a hub has been started here, or a camera added."""
        return self.database.exists()

    @contextmanager
    def making(self) -> Iterator[None]:
        """Make the folders, and let nobody else make anything in them before the block has ended.

        Raises InvalidInput where the folder cannot be used or others may read the keys.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            lock = os.open(self.root / ".making", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.root, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for folder in (self.authority, self.broker, self.media):
                folder.mkdir(mode=0o700, exist_ok=True)
            check_private(self.authority)
            yield
        except OSError as error:
            if isinstance(error, PinTheSkyError):
                raise
            raise _unusable(self.root, error) from error
        finally:
            os.close(lock)

    def hold(self) -> None:
        """Keep every other hub out until `release` or the end of the process. Raises InvalidInput where one is in."""
        try:
            if self.root.stat().st_uid != os.geteuid():
                raise InvalidInput(FLAG, f"{self.root} belongs to user {self._owner()}: start the hub as that user")
            lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.root, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise InvalidInput(FLAG, f"another hub runs on {self.root}") from error
        self._lock = lock

    def release(self) -> None:
        """Let another hub in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_owner(self) -> None:
        """Root may help another user's hub: SQLite gives its files to the owner of the database."""
        me, owner = os.geteuid(), self.root.stat().st_uid
        if me not in (0, owner):
            raise InvalidInput(FLAG, f"{self.root} belongs to user {self._owner()}: say it as that user, or as root")
        if me != owner and not self.is_made:
            raise InvalidInput(FLAG, f"{self.root} belongs to user {self._owner()}: first start the hub as that user")

    def _owner(self) -> str:
        try:
            return self.root.owner()
        except KeyError:
            return str(self.root.stat().st_uid)


def kept_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """What is in a file, which is made when it is needed for the first time. Raises Unavailable."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        made = make()
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    try:
        replace_file(path, made)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    return made


def check_private(path: Path) -> None:
    """Raise InvalidInput where somebody beside the owner may look into `path`."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        wanted = "700" if path.is_dir() else "600"
        raise InvalidInput(str(path), f"others may read it (mode {mode:o}): run chmod {wanted} {path}")


def _unusable(root: Path, error: OSError) -> InvalidInput:
    return InvalidInput(FLAG, f"cannot use {root} ({error.strerror or error})")
