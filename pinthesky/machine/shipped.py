"""Where that lies which comes with the package beside its modules: units, handlers, pins, console, reference."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pinthesky.errors import NotFound

Kind = Literal["console", "handlers", "reference", "requirements", "sd-card", "systemd"]
_IN_CHECKOUT: Mapping[Kind, str] = {
    "console": "console/dist",
    "handlers": "service/handlers",
    "reference": "docs/reference",
    "requirements": "service/requirements",
    "sd-card": "service/sd-card",
    "systemd": "service/systemd",
}


def folder_of(kind: Kind) -> Path:
    """Return the folder: of the checkout that this module is in, or of the environment that it was installed into.

    Raises NotFound where a packager has left them out.
    """
    in_checkout = Path(__file__).resolve().parents[2] / _IN_CHECKOUT[kind]
    installed = Path(sysconfig.get_path("data")) / "share" / "pinthesky" / kind
    for folder in (in_checkout, installed):
        if folder.is_dir():
            return folder
    raise NotFound(f"{kind} did not come with this installation: there is no {installed}")
