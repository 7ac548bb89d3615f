"""Brings a wheel in: from an address or a folder, by its SHA-256, and tells which version it is."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, NamedTuple

from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import Upgrade
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.versions import check_version

WHEEL_MAX = 64 * 1024 * 1024
"""Bytes of a wheel."""
INSTALLED_MAX = 256 * 1024 * 1024
"""Bytes of what it unpacks to."""
DOWNLOAD_S = 600.0
"""For the whole download; a wheel of some megabytes over a slow uplink is through in minutes."""
_SILENCE_S = 30.0
_CHUNK = 256 * 1024
_METADATA_MAX = 256 * 1024
_TAG = re.compile(r"[a-z0-9_.]{1,60}-[a-z0-9_]{1,60}-[a-z0-9_.]{1,100}\Z")


class Wheel(NamedTuple):
    """A wheel of ours whose bytes are the ones that were asked for."""

    path: Path
    """Carries the name that pip wants to see."""
    version: str


def bring(installation: Installation, request: Upgrade) -> Wheel:
    """Put the wheel that `request` names into the state folder, and return it.

    One that is there already from an earlier attempt is taken. Raises NotAuthorized for a source that the owner did not
    allow, NotFound, InvalidInput for bytes that are not the ones asked for or are no wheel of ours, Unavailable when
    the other side or the disk fails.
    """
    folder = installation.state / "incoming"
    durable_files.make_folder(folder)
    kept = folder / f"{request.sha256}.whl"
    if not _is_already_there(kept, request.sha256):
        _take_in(installation, request, kept)
    version, tag = _identity_of(kept)
    path = folder / f"pinthesky-{version}-{tag}.whl"
    durable_files.remove(path)
    os.link(kept, path)
    return Wheel(path, version)


def forget(installation: Installation) -> None:
    """Remove all that `bring` has put into the state folder."""
    folder = installation.state / "incoming"
    for name in durable_files.names_in(folder) if folder.is_dir() else []:
        durable_files.remove(folder / name)


def pinned_list(wheel: Path, name: str) -> bytes | None:
    """Return the list `name` of libraries with their hashes that a wheel has brought; None where it brings none.

    Raises InvalidInput where it is longer than any list.
    """
    with zipfile.ZipFile(wheel) as archive:
        ending = f".data/data/share/pinthesky/requirements/{name}"
        found = [entry for entry in archive.infolist() if entry.filename.endswith(ending)]
        if found and found[0].file_size > _METADATA_MAX:
            raise InvalidInput("wheel", f"{name} in it is longer than {_METADATA_MAX} bytes")
        return archive.read(found[0]) if found else None


def _is_already_there(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _take_in(installation: Installation, request: Upgrade, target: Path) -> None:
    """Copy the wheel to `target`, which gets its name only when the bytes are the right ones."""
    installation.check_source(request.source)
    chunks = _from_address(installation, request) if request.from_network else _from_folder(installation, request)
    partial = target.with_suffix(".part")
    durable_files.remove(partial)
    digest = hashlib.sha256()
    size = 0
    descriptor = durable_files.create(partial)
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > WHEEL_MAX:
                raise InvalidInput("wheel", f"{request.shown_source} is larger than {WHEEL_MAX} bytes")
            digest.update(chunk)
            durable_files.append(descriptor, [chunk])
        durable_files.sync_data(descriptor)
    except OSError as error:
        if isinstance(error, PinTheSkyError):
            raise
        raise durable_files.disk_unavailable(f"cannot keep {request.shown_source}", error) from error
    finally:
        durable_files.close(descriptor)
    if digest.hexdigest() != request.sha256:
        durable_files.remove(partial)
        raise InvalidInput("wheel", f"{request.shown_source} has SHA-256 {digest.hexdigest()}, not {request.sha256}")
    durable_files.move(partial, target)


def _from_folder(installation: Installation, request: Upgrade) -> Iterator[bytes]:
    path = installation.wheels / request.source
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {path}") from error
    except OSError as error:
        raise InvalidInput("source", f"cannot open {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidInput("source", f"{path} is no file")
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


class _OnlyAllowed(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where the wheel might have come from in the first place."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        """Called by urllib with the new address as the last of its arguments."""
        address = str(arguments[-1])
        if not address.startswith(self._installation.sources):
            raise NotAuthorized(f"redirected to {address.partition('?')[0]}, which is not among the allowed sources")
        return super().redirect_request(*arguments)


def _from_address(installation: Installation, request: Upgrade) -> Iterator[bytes]:
    """Yield the bytes. Each wait is bounded, and so is the whole."""
    context = ssl.create_default_context()
    deadline = time.monotonic() + DOWNLOAD_S
    try:
        if installation.ca_bundle is not None:
            context.load_verify_locations(installation.ca_bundle)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            _OnlyAllowed(installation),
        )
        with opener.open(request.source, timeout=_SILENCE_S) as answer:
            while chunk := answer.read1(_CHUNK):
                if time.monotonic() > deadline:
                    raise Unavailable(f"{request.shown_source} did not arrive within {DOWNLOAD_S:.0f} s")
                yield chunk
    except urllib.error.HTTPError as error:
        with error:
            kind = NotFound if error.code in (404, 410) else Unavailable
            raise kind(f"{request.shown_source}: HTTP status {error.code}") from error
    except PinTheSkyError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"cannot download {request.shown_source}: {reason}") from error


def _identity_of(path: Path) -> tuple[str, str]:
    """Return version and tag of a wheel of ours. Raises InvalidInput for anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > INSTALLED_MAX:
                raise InvalidInput("wheel", f"unpacks to more than {INSTALLED_MAX} bytes")
            metadata = HeaderParser().parsestr(_text_in(archive, "METADATA"))
            tags = HeaderParser().parsestr(_text_in(archive, "WHEEL")).get_all("Tag") or [""]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput("wheel", f"cannot be read as a wheel: {error}") from error
    name = str(metadata["Name"])
    if name.lower() != "pinthesky":
        raise InvalidInput("wheel", f"holds {name[:80]!r}, not pinthesky")
    tag = str(tags[0]).lower()
    if not _TAG.match(tag):
        raise InvalidInput("wheel", f"has the tag {tag[:80]!r}")
    return check_version(str(metadata["Version"])), tag


def _text_in(archive: zipfile.ZipFile, name: str) -> str:
    """Return a short text of the wheel's `.dist-info` folder, of which there must be one."""
    found = [entry for entry in archive.infolist() if re.fullmatch(rf"[^/]+\.dist-info/{name}", entry.filename)]
    if len(found) != 1 or found[0].file_size > _METADATA_MAX:
        raise InvalidInput("wheel", f"must hold one short .dist-info/{name}")
    return archive.read(found[0]).decode("utf-8")
