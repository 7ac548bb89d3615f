"""Builds between two releases: they carry the same version, and the way back needs each to have one of its own.

A wheel of a release is one wheel for ever. A checkout that was changed makes another one of the same `1.0.0.dev0`;
where a machine has one already, the new one becomes `1.0.0.dev0+b0001` there, the next `+b0002`. The same contents get
the same number again, since the wheel that would have it is compared.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping

from pitsctl.parcel import Parcel

_DATE = (2026, 1, 1, 0, 0, 0)
_NUMBERED = re.compile(r"(?P<base>[^+]+)\+b(?P<number>\d{4})\Z")


def fitting(parcel: Parcel, there: Mapping[str, str]) -> Parcel:
    """The parcel as a machine should get it that has the versions `there`, each with the SHA-256 of its wheel."""
    if ".dev" not in parcel.version or "+" in parcel.version or there.get(parcel.version) == parcel.sha256:
        return parcel
    found = (_NUMBERED.match(name) for name in there)
    numbers = [int(one["number"]) for one in found if one is not None and one["base"] == parcel.version]
    if not numbers and parcel.version not in there:
        return parcel
    for number in sorted(numbers, reverse=True):
        same = numbered(parcel, number)
        if there[same.version] == same.sha256:
            return same
    return numbered(parcel, max(numbers, default=0) + 1)


def numbered(parcel: Parcel, number: int) -> Parcel:
    """The same wheel with a number behind its version; the same bytes every time."""
    version = f"{parcel.version}+b{number:04d}"
    files: dict[str, tuple[zipfile.ZipInfo, bytes]] = {}
    with zipfile.ZipFile(io.BytesIO(parcel.data)) as archive:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename.endswith((".dist-info/METADATA", "pinthesky/version.py")):
                data = data.replace(parcel.version.encode(), version.encode(), 1)
            name = re.sub(r"\Apinthesky-[^/]+(\.dist-info|\.data)/", rf"pinthesky-{version}\1/", entry.filename)
            about = zipfile.ZipInfo(name, _DATE)
            about.external_attr, about.compress_type = entry.external_attr, zipfile.ZIP_DEFLATED
            files[name] = (about, data)
    record = f"pinthesky-{version}.dist-info/RECORD"
    lines = [_line(name, data) for name, (_, data) in sorted(files.items()) if name != record]
    files[record] = (zipfile.ZipInfo(record, _DATE), "".join([*lines, f"{record},,\n"]).encode())
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for _, (about, data) in sorted(files.items()):
            archive.writestr(about, data)
    return Parcel.of(parcel.name, made.getvalue())


def _line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"
