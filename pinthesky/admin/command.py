"""pinthesky-admin: what people and the handlers of jobs type, and what the units of systemd start.

Exit codes: 0 done, 1 failed, 2 refused or wrongly asked (again will not help), 3 busy or not to be reached (later may).
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import sys
import uuid
from collections.abc import Sequence
from typing import get_args

import msgspec

from pinthesky.admin import requests
from pinthesky.admin.asking import ask
from pinthesky.admin.errand import Errands
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import SERVICES, Answer
from pinthesky.admin.server import passed_connection, serve
from pinthesky.admin.verbs import Verbs
from pinthesky.errors import InvalidInput, InvariantBroken, NotFound, Unavailable
from pinthesky.machine import durable_files, shipped
from pinthesky.version import __version__

logger = logging.getLogger(__name__)

EXIT_CODES = {"done": 0, "failed": 1, "refused": 2, "busy": 3}
EXIT_UNREACHABLE = 3


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main_parser = argparse.ArgumentParser(
        prog="pinthesky-admin",
        description="Asks the root helper for what needs root. Root and the user pinthesky may ask.",
        allow_abbrev=False,
    )
    main_parser.add_argument("--version", action="version", version=f"pinthesky-admin {__version__}")
    verbs = main_parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *, may_be_step: bool = False) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        if may_be_step:
            added.add_argument(
                "--as-job", action="store_true", help="as a step of a job, which is begun again after its own effect"
            )
        return added

    status = verb("status", "how the services, the version and the last upgrade are")
    status.add_argument("--check", action="store_true", help="exit with 1 unless the services run")
    status.add_argument("--service", action="append", choices=SERVICES, help="of --check: which; repeatable")
    status.add_argument("--json", action="store_true", help="for programs")
    verb("reboot", "start this machine anew", may_be_step=True)
    verb("shutdown", "switch this machine off", may_be_step=True)
    for name, text in (("start", "start"), ("stop", "stop"), ("restart", "stop and start")):
        services = verb(f"{name}-services", f"{text} services", may_be_step=name == "restart")
        services.add_argument("services", nargs="*", metavar="SERVICE", help=" or ".join(SERVICES))
    logs = verb("read-service-logs", "the last lines that a service logged")
    logs.add_argument("service", choices=get_args(requests.Journal))
    logs.add_argument("--lines", type=int, default=50, help=f"1 to {requests.LOG_LINES_MAX}, 50 if not given")
    upgrade = verb("upgrade", "install a wheel and run it, or go back if it does not stay up", may_be_step=True)
    upgrade.add_argument("source", help="https address, or name of a file in the folder of wheels")
    upgrade.add_argument("sha256", help="of the wheel, in hexadecimal")
    upgrade.add_argument("--allow-downgrade", action="store_true", help="also to a version that is older")
    verb("rotate-certificate", "not offered yet")
    where = verb("where", "print the folder of what came with this version and is to be installed")
    where.add_argument("kind", choices=("handlers", "systemd"))
    verb("serve", "answer one request; started by pinthesky-admin.socket")
    verb("carry-out-upgrade", "carry the upgrade out that was asked for; started by pinthesky-upgrade.service")
    return main_parser


def request_from(options: argparse.Namespace) -> requests.Request:
    """Return what the command line asks for. Raises InvalidInput."""
    document: dict[str, object] = {"verb": options.verb}
    if getattr(options, "services", None):
        document["services"] = [name.removesuffix(".service") for name in options.services]
    if options.verb == "read-service-logs":
        document |= {"service": options.service, "lines": options.lines}
    if options.verb == "upgrade":
        document |= {
            "source": options.source,
            "sha256": options.sha256.lower(),
            "identity": uuid.uuid4().hex,
            "allow_downgrade": options.allow_downgrade,
        }
    return requests.parse_request(msgspec.json.encode(document))


def ask_and_tell(options: argparse.Namespace, installation: Installation) -> int:
    """Ask the root helper, print what it says, and return the exit code."""
    request = request_from(options)

    def asked(wanted: requests.Request) -> Answer:
        return ask(installation.socket, wanted, _say)

    as_job = getattr(options, "as_job", False)
    answer = Errands(installation, os.environ).run(request, asked) if as_job else asked(request)
    code = EXIT_CODES[answer.outcome]
    if options.verb == "status" and code == 0:
        code = _show_status(options, answer)
    elif code != 0:
        _complain(answer.text)
    elif options.verb != "read-service-logs":
        _say(answer.text)
    return code


def _show_status(options: argparse.Namespace, answer: Answer) -> int:
    facts = answer.facts or {}
    _say(msgspec.json.encode(facts).decode() if options.json else answer.text)
    down = [name for name in options.service or SERVICES if facts.get(name) != "active"]
    if not options.check or not down:
        return 0
    _complain(f"not running: {', '.join(down)}")
    return 1


def answer_one(installation: Installation) -> int:
    """Answer the connection that systemd has passed."""
    serve(passed_connection(os.environ), installation, Verbs(installation))
    return 0


def carry_out_upgrade(installation: Installation) -> int:
    """Carry the upgrade out, if one was asked for. Exit code 0 whatever its outcome; 1: systemd has to begin again."""
    # Brings TLS and archives with it, which would cost every other request a second on a small Pi.
    from pinthesky.admin.upgrade import Upgrader  # noqa: PLC0415 - the reason stands above

    durable_files.make_folder(installation.state)
    with (installation.state / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _complain("an upgrade is being carried out already")
            return EXIT_CODES["busy"]
        Upgrader(installation).run()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    options = parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        if options.verb == "serve":
            return answer_one(Installation.from_environment(os.environ))
        if options.verb == "carry-out-upgrade":
            return carry_out_upgrade(Installation.from_environment(os.environ))
        if options.verb == "where":
            _say(str(shipped.folder_of(options.kind)))
            return 0
        return ask_and_tell(options, Installation())
    except InvalidInput as error:
        _complain(str(error))
        return EXIT_CODES["refused"]
    except Unavailable as error:
        _complain(str(error))
        return EXIT_UNREACHABLE
    except (InvariantBroken, NotFound, OSError) as error:
        _complain(str(error))
        return EXIT_CODES["failed"]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"pinthesky-admin: {text}\n")
