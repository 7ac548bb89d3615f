"""The libraries that go with a wheel onto a machine, pinned by hash: which list is for which machine.

`tools/hash_pins.py` makes the lists with pip's own resolver; they lie in `service/requirements` and travel in the wheel
(`pinthesky.machine.shipped`). pip takes one with `--require-hashes`, and then the wheel with `--no-deps`. An
architecture is named as Debian names it, because that is what the programs of a system are made for: a 32-bit system
with a 64-bit kernel says `aarch64` and takes wheels of `armhf`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

ARCHITECTURES: Mapping[str, str] = {
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv8l": "armhf",
    "armv7l": "armhf",
    "armv6l": "armhf",
    "armhf": "armhf",
    "x86_64": "amd64",
    "amd64": "amd64",
}
"""What a kernel or dpkg says -> Debian's name."""


@dataclass(frozen=True)
class Elsewhere:
    """A library that the package index has no wheel of for this machine, so that none of its hashes is known here.

    With `debian_package` it comes by apt, which verifies signatures of its own. Without one it comes from piwheels,
    which the pip of a 32-bit Raspberry Pi OS asks by itself: over TLS, but without a hash.
    """

    requirement: str
    """As setup.py has it, without a marker."""
    debian_package: str | None


_NUMPY = "numpy>=1.24,<3"
_MSGSPEC = Elsewhere("msgspec>=0.19,<1", None)
_ELSEWHERE: Mapping[tuple[str, str], tuple[Elsewhere, ...]] = {
    # Debian 11 has numpy 1.19.
    ("armhf", "3.9"): (Elsewhere(_NUMPY, None), _MSGSPEC),
    ("armhf", "3.11"): (Elsewhere(_NUMPY, "python3-numpy"), _MSGSPEC),
    ("armhf", "3.13"): (Elsewhere(_NUMPY, "python3-numpy"), _MSGSPEC),
}


def architecture_named(machine: str, *, bits: int = 64) -> str | None:
    """Return Debian's name of what `uname -m` or dpkg says, for programs of `bits`; None for any other machine."""
    name = ARCHITECTURES.get(machine.strip())
    return "armhf" if name == "arm64" and bits == 32 else name


def architecture_here() -> str | None:
    """Return the architecture that this very Python is made for, as Debian names it; None where that is not Linux."""
    if sys.platform != "linux":
        return None
    return architecture_named(platform.machine(), bits=64 if sys.maxsize > 2**32 else 32)


def list_name(architecture: str, python: str, *, for_pitsctl: bool = False) -> str:
    """Return the name of the list for an architecture of Debian and a Python such as `3.11`.

    It is what daemon and device client need, or what pitsctl does.
    """
    return f"{architecture}-python{python}{'-pitsctl' if for_pitsctl else ''}.txt"


def elsewhere(architecture: str, python: str) -> tuple[Elsewhere, ...]:
    """Return what has to come from somewhere else there before the list is installed."""
    return _ELSEWHERE.get((architecture, python), ())
