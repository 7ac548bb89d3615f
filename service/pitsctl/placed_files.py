"""A step that puts files in place, and puts back what was there before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pinthesky.errors import Conflict
from pitsctl import places
from pitsctl.machine import FileMode
from pitsctl.site import Seen, Site
from pitsctl.steps import Found, Say, Verdict

# Arguments: from, to. What is kept is whole or not there.
_KEEP = """
set -eu
install -d -m 700 -- "$(dirname -- "$2")"
rm -rf -- "$2.new"
cp -a -- "$1" "$2.new"
mv -T -- "$2.new" "$2"
"""
_RESTORE = """
set -eu
[ -e "$1" ] || [ -L "$1" ] || exit 0
rm -rf -- "$2.pitsctl"
cp -a -- "$1" "$2.pitsctl"
mv -fT -- "$2.pitsctl" "$2"
"""


_ROOTS = FileMode()


@dataclass(frozen=True)
class Placed:
    """A file as it should be."""

    path: PurePosixPath
    data: bytes
    mode: FileMode = _ROOTS

    def is_there(self, seen: Seen | None) -> bool:
        """Whether what was seen is this file, with this mode."""
        same = seen is not None and seen.kind == "file" and seen.mode == self.mode
        return same and seen is not None and seen.detail == hashlib.sha256(self.data).hexdigest()


class PlacedFiles:
    """Base of the steps that consist of files. Whatever else such a step does goes into `before` and `after`."""

    name = ""
    title = ""

    def __init__(self, site: Site) -> None:
        self._site = site

    def wanted(self) -> Sequence[Placed] | str:
        """The files; or, in a few words, why they cannot be told yet."""
        raise NotImplementedError

    def check(self) -> Found:
        """Compare content, owner and mode of every file."""
        wanted = self.wanted()
        if isinstance(wanted, str):
            return Found(Verdict.NEEDED, wanted)
        missing = self._different(wanted)
        stale = self._stale(wanted)
        if not missing and not stale:
            return self.found_in_place(wanted)
        words = [f"write {_listed([one.path for one in missing])}"] if missing else []
        words += [f"remove {', '.join(stale)}"] if stale else []
        return Found(Verdict.NEEDED, "; ".join(words))

    def apply(self, say: Say) -> None:
        """Write what differs; what was there before the first time is kept."""
        wanted = self.wanted()
        if isinstance(wanted, str):
            raise Conflict(wanted)  # the steps before this one have ended without telling what it needs
        different = self._different(wanted)
        self._keep_before(different)
        for one in different:
            self._site.machine.write(one.path, one.data, one.mode)
            say(f"wrote {one.path}")
        for path in self._stale(wanted):
            self._put_back(path)
            say(f"removed {path}")
        self.after(say)

    def undo(self, say: Say) -> None:
        """Remove the files, or put back what was there."""
        self.before_undo(say)
        for path in reversed(self._files()):
            self._put_back(path)
            say(f"took back {path}")
        self.after_undo(say)

    def found_in_place(self, wanted: Sequence[Placed]) -> Found:
        """What to say when every file is as it should be; a step that does more looks at that too."""
        if not wanted:
            return Found(Verdict.DONE, "not needed here")
        return Found(
            Verdict.DONE, f"{wanted[0].path} is in place" if len(wanted) == 1 else f"{len(wanted)} files in place"
        )

    def after(self, say: Say) -> None:
        """What follows the writing."""

    def before_undo(self, say: Say) -> None:
        """What comes before the files go."""

    def after_undo(self, say: Say) -> None:
        """What comes after the files went."""

    def notes(self) -> dict[str, Any]:
        """What was written down by this step."""
        return self._site.ledger.notes(self.name)

    def _files(self) -> dict[str, str | None]:
        """Path of each file that was written, and where the one before it is kept."""
        return dict(self.notes().get("files", {}))

    def _different(self, wanted: Sequence[Placed]) -> list[Placed]:
        seen = self._site.look(one.path for one in wanted)
        return [one for one in wanted if not one.is_there(seen[one.path])]

    def _stale(self, wanted: Sequence[Placed]) -> list[str]:
        """Files of an earlier version of this step that are not wanted any more."""
        now = {str(one.path) for one in wanted}
        return [path for path in self._files() if path not in now]

    def _keep_before(self, different: Sequence[Placed]) -> None:
        files = self._files()
        new = [one.path for one in different if str(one.path) not in files]
        if not new:
            return
        seen = self._site.look(new)
        for path in new:
            kept = None
            if seen[path] is not None:
                kept = str(places.BEFORE / str(path).strip("/").replace("/", "%"))
                self._site.must("sh", "-c", _KEEP, "keep", str(path), kept)
            files[str(path)] = kept
        self._site.ledger.keep(self.name, {**self.notes(), "files": files})

    def _put_back(self, path: str) -> None:
        files = self._files()
        kept = files.pop(path, None)
        if kept is None:
            self._site.must("rm", "-f", "--", path)
        else:
            self._site.must("sh", "-c", _RESTORE, "restore", kept, path)
        self._site.ledger.keep(self.name, {**self.notes(), "files": files})


def _listed(paths: Sequence[PurePosixPath]) -> str:
    """Paths for people, each folder once: `a and b in /etc/x`."""
    by_folder: dict[PurePosixPath, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path.name)
    return "; ".join(
        str(folder / names[0]) if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} in {folder}"
        for folder, names in by_folder.items()
    )
