"""All steps on the machine in their order, with those of the home in their midst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pitsctl.pi_configuration import Daemon, DeviceClient, RootHelper
from pitsctl.pi_older import OlderVersion
from pitsctl.pi_services import Handlers, SdCard, Services, Units
from pitsctl.pi_software import Environment, Version
from pitsctl.pi_system import DebianPackages, Folders, Suitable, User
from pitsctl.site import Site
from pitsctl.steps import Step


def pi_steps(site: Site, home_steps: Sequence[Step], *, wheelhouse: Path | None = None) -> list[Step]:
    """The whole installation: what changes nothing that runs comes first, the start comes last.

    The home's steps come when key and certificate have a place, and before what is written from what they find out.
    """
    return [
        Suitable(site),
        DebianPackages(site),
        User(site),
        Folders(site),
        OlderVersion(site),
        Environment(site, wheelhouse=wheelhouse),
        *home_steps,
        DeviceClient(site),
        Daemon(site),
        RootHelper(site),
        Version(site),
        Handlers(site),
        Units(site),
        SdCard(site),
        Services(site),
    ]
