"""The command line of `pits-hub`: its grammar, and the commands that look after cameras, whether a hub runs or not."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.hub.accounts import described_link, host_of, new_link_secret
from pinthesky.hub.camera_folder import CLIENTS, CPP_DIALS, CameraFolder, HubAddress
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.settings import is_address, is_host_name
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import Email
from pinthesky.version import __version__

ROOTS_DATA = Path("/var/lib/pits-hub")
EXAMPLES = """\
first start, and every other:   pits-hub
a camera:                       pits-hub add-camera garden
a link to sign in:              pits-hub sign-in-link
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        message = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
        raise InvalidInput("pits-hub", f"{message} (see {self.prog} --help)")


def default_data(environment: Mapping[str, str]) -> Path:
    """Where the hub keeps everything unless told: the service manager's folder, the system's for root, the user's."""
    if environment.get("STATE_DIRECTORY"):
        return Path(environment["STATE_DIRECTORY"].partition(":")[0])
    if os.geteuid() == 0:
        return ROOTS_DATA
    home = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME") or "~").expanduser() / ".local/share")
    return Path(home) / "pits-hub"


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The grammar. Without a command the hub runs."""
    data = default_data(environment)
    made = _Parser(
        prog="pits-hub",
        description="The home of your cameras on your own machine. Without a command it runs until it is stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"pits-hub {__version__}")
    made.add_argument("--data", type=Path, default=data, metavar="DIR", help=f"everything it keeps (default: {data})")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.", allow_abbrev=False)
        one.add_argument("--data", type=Path, default=argparse.SUPPRESS, metavar="DIR", help="as for the hub")
        return one

    add = command("add-camera", "make a folder with all that a new camera needs")
    add.add_argument("name", metavar="NAME", help="of letters, digits, ':', '_' and '-', at most 64")
    add.add_argument("--to", type=Path, metavar="FOLDER", help="the folder to make (default: NAME, here)")
    add.add_argument("--at", type=Path, metavar="FOLDER", help="where it will lie on the camera (default: where it is)")
    add.add_argument("--hub", metavar="HOST", help="name or address by which the camera finds this machine")
    add.add_argument(
        "--client",
        choices=CLIENTS,
        default="python",
        help="the device client that will run on the camera: ours in Python (default), or aws-iot-device-client",
    )
    remove = command("remove-camera", "refuse a camera from now on, and for good")
    remove.add_argument("name", metavar="NAME", help="of the camera")
    command("cameras", "list the cameras")
    link = command("sign-in-link", "print a link with which a browser signs in, once")
    link.add_argument("--email", metavar="ADDRESS", help="of somebody who was invited (default: the owner of the hub)")
    return made


def add_camera(given: argparse.Namespace) -> int:
    """`pits-hub add-camera`: the folder is there whole, and the camera is known, or neither."""
    thing = ThingName.parse(given.name, "NAME")
    folder = CameraFolder.plan(given.to or Path(str(thing)), given.at, given.client)
    with closing(Foundation.lay(given.data)) as foundation:
        listen = foundation.settings.listen
        if not listen.device_port or not listen.mqtt_ports[0]:
            raise InvalidInput(
                f"{foundation.folder.settings}: listen",
                "device_port and the first of mqtt_ports must not be 0, for cameras must find them again",
            )
        host = given.hub or host_of(foundation.settings)
        if not (is_address(host) or is_host_name(host)):
            raise InvalidInput("--hub", f"must be a host name or an address without port, got {host!r}")
        identity = foundation.authority.issue(thing)
        hub = HubAddress(host, listen.mqtt_ports[0], listen.device_port)
        try:
            made = folder.write(thing, identity, foundation.authority.root_certificate.read_bytes(), hub=hub)
        except OSError as error:
            raise InvalidInput("--to", f"cannot write {folder.path} ({error.strerror})") from error
        try:
            foundation.registry.add(thing)
            foundation.registry.register_certificate(thing, identity.certificate_der)
            folder.publish(made)
        except (PinTheSkyError, OSError):
            shutil.rmtree(made, ignore_errors=True)
            raise
    daemon, client = folder.commands
    where = "" if folder.place == folder.path else f"Copy it there: scp -rp {folder.path} CAMERA:{folder.place}\n"
    port = ""
    if given.client == "cpp" and CPP_DIALS not in listen.mqtt_ports:
        port = f"{CLIENTS['cpp']} dials port {CPP_DIALS} only: add it to mqtt_ports in {foundation.folder.settings}.\n"
    sys.stdout.write(
        f"{folder.path} holds all that camera {thing} needs. Its private key is nowhere else: treat it as a password.\n"
        f"The camera looks for this hub at {host}; --hub says another name.\n{port}{where}"
        f"On the camera run:\n\n  {daemon}\n  {client}\n\n"
    )
    return 0


def remove_camera(given: argparse.Namespace) -> int:
    """`pits-hub remove-camera`."""
    thing = ThingName.parse(given.name, "NAME")
    with closing(Foundation.find(given.data)) as foundation:
        foundation.registry.remove(thing)
        media = foundation.folder.media
    sys.stdout.write(f"Camera {thing} is refused from now on. What it has recorded stays in {media}.\n")
    return 0


def list_cameras(given: argparse.Namespace) -> int:
    """`pits-hub cameras`: one name a line."""
    with closing(Foundation.find(given.data)) as foundation:
        sys.stdout.write("".join(f"{thing}\n" for thing in foundation.registry.things()))
    return 0


def sign_in_link(given: argparse.Namespace) -> int:
    """`pits-hub sign-in-link`: to a terminal and nowhere else, for whoever has the link is signed in."""
    if not sys.stdout.isatty():
        raise InvalidInput("sign-in-link", "is printed to a terminal only")
    email = None if given.email is None else Email.parse(given.email, "--email")
    with closing(Foundation.find(given.data)) as foundation:
        listen = foundation.settings.listen
        if not (listen.console_port and listen.localhost_port):
            raise InvalidInput(
                f"{foundation.folder.settings}: listen",
                "console_port and localhost_port must not be 0, for a link has to say where the console is",
            )
        secret = new_link_secret(foundation, email)
        sys.stdout.write(
            described_link(
                secret, foundation.settings, console_port=listen.console_port, localhost_port=listen.localhost_port
            )
        )
    return 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "add-camera": add_camera,
    "remove-camera": remove_camera,
    "cameras": list_cameras,
    "sign-in-link": sign_in_link,
}


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """`command` (None: run the hub), `data` and what the command takes. Raises InvalidInput; SystemExit for help."""
    return parser(environment).parse_args(list(arguments))
