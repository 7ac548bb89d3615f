"""What travels to the machine: the wheel of this very package, and the pinned versions of what it needs.

The wheel is a file that was named, or is built from the checkout that pitsctl runs from, or is made again from the
installed package: an installation keeps every file that its wheel had, and says which in RECORD. Nothing is ever
installed by its bare name from an index.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path, PurePosixPath

from pinthesky.errors import InvalidInput, NotFound, PinTheSkyError, Unavailable
from pinthesky.machine import pinned
from pinthesky.model.versions import check_version

WHEEL_MAX = 64 * 1024 * 1024
"""The root helper takes no larger one."""
_BUILD_S = 600
_SOURCES = (
    *("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"),
    *("pinthesky", "service", "console/dist", "docs/reference"),
)
_DATE = (2026, 1, 1, 0, 0, 0)
"""Of every file, so that the same contents are the same wheel."""
_SHARED = re.compile(r"[^/]+\.data/data/share/pinthesky/(handlers|systemd|requirements)/([A-Za-z0-9@._-]+)\Z")


@dataclass(frozen=True)
class Parcel:
    """A wheel that was looked into."""

    name: str
    """Its file's name, from which pip takes version and tags."""
    data: bytes
    version: str
    sha256: str
    shared: dict[tuple[str, str], bytes]
    """(handlers, systemd or requirements; name) -> content."""

    @classmethod
    def of(cls, name: str, data: bytes) -> Parcel:
        """Look into a wheel. Raises InvalidInput unless it is one of ours."""
        if len(data) > WHEEL_MAX:
            raise InvalidInput("--wheel", f"{name} is larger than {WHEEL_MAX} bytes")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                about = [one for one in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one)]
                headers: Message = (
                    HeaderParser().parsestr(archive.read(about[0]).decode("utf-8")) if about else Message()
                )
                found = {(m[1], m[2]): archive.read(one) for one in archive.namelist() if (m := _SHARED.match(one))}
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
            raise InvalidInput("--wheel", f"{name} cannot be read as a wheel: {error}") from error
        if str(headers.get("Name", "")).lower() != "pinthesky":
            raise InvalidInput("--wheel", f"{name} is no wheel of pinthesky")
        version = check_version(str(headers["Version"]))
        return cls(f"pinthesky-{version}-py3-none-any.whl", data, version, hashlib.sha256(data).hexdigest(), found)

    def files(self, kind: str) -> dict[str, bytes]:
        """Name and content of the shipped files of one kind."""
        return {name: data for (of_kind, name), data in sorted(self.shared.items()) if of_kind == kind}

    def requirements(self, architecture: str, python: str) -> bytes | None:
        """The pinned versions for a machine; None where there are none for it."""
        return self.shared.get(("requirements", pinned.list_name(architecture, python)))


def parcel(wheel: Path | None = None) -> Parcel:
    """The parcel: of a wheel that was named, else of this very package. Raises InvalidInput, NotFound, Unavailable."""
    if wheel is not None:
        try:
            return Parcel.of(wheel.name, wheel.read_bytes())
        except OSError as error:
            if isinstance(error, PinTheSkyError):
                raise
            raise InvalidInput("--wheel", f"{wheel}: {error.strerror}") from error
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "setup.py").is_file():
        return _built(checkout)
    return Parcel.of("pinthesky.whl", _made_again(metadata.distribution("pinthesky")))


def _built(checkout: Path) -> Parcel:
    """Build the checkout's wheel in a copy, since setuptools leaves old files behind, and with dates that stay."""
    with tempfile.TemporaryDirectory(prefix="pitsctl-") as folder:
        source = Path(folder, "source")
        for name in _SOURCES:
            if (checkout / name).is_dir():
                shutil.copytree(checkout / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (checkout / name).is_file():
                source.mkdir(exist_ok=True)
                shutil.copy2(checkout / name, source / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
        try:
            ended = subprocess.run(  # noqa: S603 - our own command
                [*command, "--wheel-dir", folder, str(source)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_BUILD_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"the wheel of {checkout} was not built within {_BUILD_S} s") from error
        made = next(Path(folder).glob("pinthesky-*.whl"), None)
        if ended.returncode != 0 or made is None:
            last = ended.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Unavailable(f"the wheel of {checkout} cannot be built: {last[0] if last else ended.returncode}")
        return Parcel.of(made.name, made.read_bytes())


def _made_again(installed: metadata.Distribution) -> bytes:
    """The wheel that this installation came from, but for its dates and the order in it."""
    entries = dict(_entries(installed))
    folder = next((name.partition("/")[0] for name in entries if name.endswith(".dist-info/METADATA")), None)
    if folder is None:
        raise NotFound("this installation of pinthesky does not say what belongs to it; name a wheel with --wheel")
    lines = []
    for name, data in sorted(entries.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    entries[f"{folder}/RECORD"] = "".join([*lines, f"{folder}/RECORD,,\n"]).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(entries):
            about = zipfile.ZipInfo(name, _DATE)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = (0o100755 if "/share/pinthesky/handlers/" in name else 0o100644) << 16
            archive.writestr(about, entries[name])
    return made.getvalue()


def _entries(installed: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """Names in the wheel and contents: without the programs, which pip makes, and what an installation adds."""
    version = installed.version
    for path in installed.files or ():
        text = path.as_posix()
        if "__pycache__" in text or re.search(r"\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)\Z", text):
            continue
        name: str | None = text
        if text.startswith(".."):
            _, mark, below = text.partition("/share/pinthesky/")
            name = f"pinthesky-{version}.data/data/share/pinthesky/{below}" if mark else None
        if name is not None and not PurePosixPath(name).is_absolute():
            yield name, Path(str(path.locate())).read_bytes()
