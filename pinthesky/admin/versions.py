"""The versions on this machine: one folder each, and two links.

    /opt/pinthesky/1.4.0/     a virtual environment, whole when it holds `wheel.sha256`
    /opt/pinthesky/current    what the services run
    /opt/pinthesky/steady     the last version that was seen to stay up; the root helper itself runs from here

The links differ only while an upgrade is under way. So whatever a new version breaks, what finds the way back is not
part of it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.machine import durable_files
from pinthesky.model.versions import check_version, is_version, order_of

CURRENT = "current"
STEADY = "steady"
_MARK = "wheel.sha256"


class Versions:
    """The folder of versions. Methods raise OSError when the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_of(self, version: str) -> Path:
        """Return where the version is, or would be."""
        return self._folder / check_version(version)

    def pointed_at(self, link: str) -> str | None:
        """Return the version that `current` or `steady` leads to, or None where there is no such link."""
        try:
            return check_version(str((self._folder / link).readlink()))
        except FileNotFoundError:
            return None
        except (InvalidInput, OSError) as error:
            raise InvariantBroken(f"{self._folder / link} does not lead to a version: {error}") from error

    def point(self, link: str, version: str) -> None:
        """Let the link lead to the version: after a power cut it leads to the old one or to the new one."""
        temporary = self._folder / f".{link}.new"
        durable_files.remove(temporary)
        temporary.symlink_to(check_version(version))
        durable_files.move(temporary, self._folder / link)
        durable_files.sync_folder(self._folder)

    def wheel_of(self, version: str) -> str | None:
        """Return the SHA-256 of the wheel that the version came from, or None where it is not whole."""
        try:
            return (self.folder_of(version) / _MARK).read_text(encoding="ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def complete(self, version: str, sha256: str) -> None:
        """Mark the version as whole, once the disk has all of it."""
        os.sync()
        durable_files.replace_file(self.folder_of(version) / _MARK, f"{sha256}\n".encode("ascii"))

    def remove(self, version: str) -> None:
        """Remove the version, in an order in which a half removed one never looks whole. Links are not looked at."""
        folder = self.folder_of(version)
        if not folder.is_dir():
            return
        durable_files.remove(folder / _MARK)
        durable_files.sync_folder(folder)
        shutil.rmtree(folder)

    def remove_all_but(self, kept: set[str]) -> list[str]:
        """Remove every version that is neither in `kept` nor behind a link, and return their names."""
        gone = [name for name in self.present() if name not in kept | self._linked()]
        for name in gone:
            self.remove(name)
        return gone

    def remove_unfinished(self) -> None:
        """Remove what an installation that was cut off or failed has left."""
        self.remove_all_but({name for name in self.present() if self.wheel_of(name) is not None})

    def _linked(self) -> set[str]:
        return {name for name in (self.pointed_at(CURRENT), self.pointed_at(STEADY)) if name is not None}

    def present(self) -> list[str]:
        """Return the names of all version folders, whole or not, oldest version first."""
        names = [path.name for path in self._folder.iterdir() if is_version(path.name) and not path.is_symlink()]
        return sorted(names, key=order_of)
