"""Releases of the device software that the owner has put into the folder `releases/`, and how cameras fetch them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import Unavailable
from pinthesky.model.versions import is_version, order_of
from pinthesky.planes.ports import Release

PATH = "/releases/"
KNOWN_MAX = 100
_WHEEL = re.compile(r"pinthesky-(?P<version>[0-9][A-Za-z0-9.!+]{0,60})-py3-none-any\.whl")


class _Seen(NamedTuple):
    size: int
    mtime_ns: int
    sha256: str


class Releases:
    """The wheels in `folder`. What is copied in there is known a moment later. Thread-safe."""

    def __init__(self, folder: Path, origin: Callable[[], str]) -> None:
        """`origin` is the address of the device port: `https://host:port`."""
        self._folder = folder
        self._origin = origin
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def known(self) -> list[Release]:
        """See `planes.ports.Releases`."""
        try:
            with self._lock:
                versions = [_version_of(path.name) for path in self._folder.iterdir()] if self._folder.is_dir() else []
                found = sorted((version for version in versions if version), key=order_of, reverse=True)
                # Asked once: to find out how this machine is reached is a look at its interfaces.
                origin = self._origin() if found else ""
                return [self._release(version, origin) for version in found[:KNOWN_MAX]]
        except OSError as error:
            raise Unavailable(f"{self._folder}: {error.strerror}") from error

    def routes(self) -> list[BaseRoute]:
        """GET below `/releases/`, for everybody: the software is no secret."""
        return [Route(f"{PATH}{{name}}", self._serve)]

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self._folder / name
        if not _version_of(name) or not path.is_file():
            return PlainTextResponse("There is no such release.", 404)
        return FileResponse(path, media_type="application/octet-stream")

    def _release(self, version: str, origin: str) -> Release:
        name = f"pinthesky-{version}-py3-none-any.whl"
        path = self._folder / name
        status = path.stat()
        seen = self._seen.get(name)
        if seen is None or (seen.size, seen.mtime_ns) != (status.st_size, status.st_mtime_ns):
            with path.open("rb") as file:
                seen = _Seen(status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())
            self._seen[name] = seen
        day = datetime.fromtimestamp(status.st_mtime, UTC).date().isoformat()
        return Release(version, f"{origin}{PATH}{name}", seen.sha256, day)


def _version_of(name: str) -> str:
    """The version that a wheel's name says; empty for what is no wheel of ours."""
    match = _WHEEL.fullmatch(name)
    return match["version"] if match is not None and is_version(match["version"]) else ""
