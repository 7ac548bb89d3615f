"""pitsctl: from a bare Pi to a running camera, from a workstation over ssh or on the Pi itself.

Exit codes: 0 done, also where there was nothing to do; 1 failed; 2 wrongly asked, or impossible on this machine (again
will not help); 3 not reached (later it may); 130 given up by Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from pinthesky.errors import InvalidInput, PinTheSkyError, Unavailable
from pinthesky.version import __version__
from pitsctl import presenting, sd_card, telling, wizard
from pitsctl.answers import Answers
from pitsctl.installer import PiInstaller
from pitsctl.person import Person
from pitsctl.plan import Outcome
from pitsctl.presenting import JsonLines, Unattended
from pitsctl.shell_machine import ShellMachine
from pitsctl.site import Removal
from pitsctl.steps import Progress
from pitsctl.wizard.plain import PlainPerson, PlainProgress

DONE, FAILED, WRONG, UNREACHED, LEFT = 0, 1, 2, 3, 130
_USUAL: dict[str, object] = {"answers": None, "json": False, "level": "WARNING", "wheel": None, "wheelhouse": None}
"""What stands before and after the command alike, where it is not given."""
_LOGS = ("pinthesky", "pits-device-client", "pinthesky-admin", "pinthesky-upgrade")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--answers", metavar="FILE", help="YAML file with answers, such as the wizard saves")
    shared.add_argument("-l", "--level", help="of pitsctl's own log: DEBUG, INFO, WARNING")
    shared.add_argument("--json", action="store_true", help="for programs: one JSON object a line")
    shared.add_argument("--wheel", type=Path, metavar="FILE", help="the wheel to install; this very package otherwise")
    shared.add_argument("--wheelhouse", type=Path, metavar="DIR", help="wheels for a machine without internet")
    telling.add_flags(shared)
    main_parser = argparse.ArgumentParser(
        prog="pitsctl",
        description="Sets up a camera on a Raspberry Pi and looks after it. Without a command: a guided installation.",
        parents=[shared],
        allow_abbrev=False,
    )
    main_parser.add_argument("-v", "--version", action="version", version=f"pitsctl {__version__}")
    main_parser.add_argument("-t", "--text", action="store_true", help="plain prompts instead of the full screen")
    commands = main_parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[shared], allow_abbrev=False)

    for name, text in (
        ("install", "set a camera up, or go on with what was cut off; what is done already is left as it is"),
        ("update", "bring the version of this pitsctl, with the answers of the installation"),
        ("back", "let the version before run again"),
        ("remove", "undo exactly what was installed"),
    ):
        added = command(name, text)
        added.add_argument("-y", "--yes", action="store_true", help="do not ask whether to begin")
        if name in ("install", "update"):
            added.add_argument(
                "--allow-downgrade", action="store_true", help="also in place of a newer version that runs"
            )
            added.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        if name == "remove":
            added.add_argument("--delete-clips", action="store_true", help="also the clips that are on the machine")
            added.add_argument(
                "--delete-certificates", action="store_true", help="also key and certificate, and what was made at home"
            )
    command("register", "let this camera in by a code, and install nothing yet")
    command("doctor", "check a running camera from end to end")
    command("view", "configuration, versions, state and last events of a camera")
    logs = command("logs", "what the camera's services log")
    logs.add_argument("service", nargs="*", choices=[*_LOGS, []], metavar="SERVICE", help=", ".join(_LOGS))
    logs.add_argument("-n", "--lines", type=int, default=50, help="1 to 10000, 50 if not given")
    logs.add_argument("-f", "--follow", action="store_true", help="and what comes, until Ctrl-C")
    card = command("sd-card", "prepare the card of a Pi that sets itself up at its first start")
    card.add_argument("--boot", type=Path, required=True, metavar="DIR", help="where its boot partition is mounted")
    return main_parser


class Command:
    """One run of the program."""

    def __init__(
        self, options: argparse.Namespace, environment: MutableMapping[str, str], words: Sequence[str]
    ) -> None:
        self.options = options
        self.environment = environment
        self._words = words
        may = getattr(options, "allow_downgrade", False)
        self.installer = PiInstaller(
            wheel=options.wheel,
            wheelhouse=options.wheelhouse,
            allow_downgrade=may,
            keep_home=options.command == "update",
        )
        self.lines = JsonLines(sys.stdout) if options.json else None
        is_attended = sys.stdin.isatty() and not options.json
        inner: Person | None = PlainPerson() if is_attended else None
        self.person: Person = Unattended(environment, sys.stdout, lines=self.lines, inner=inner)
        self.progress: Progress = self.lines if self.lines is not None else PlainProgress()
        self.stop = threading.Event()
        # Programs that are started have no use for it.
        environment.pop(presenting.SUDO_PASSWORD, None)

    @property
    def given(self) -> Answers:
        """What flags, environment and file say, over the defaults."""
        return telling.told(self.options, self.environment, under=Answers())

    def answers(self) -> Answers:
        """What they say over what the machine was installed with."""
        given = self.given
        return telling.told(self.options, self.environment, under=self.installer.ledger(given, self.person).answers)

    def install(self) -> int:
        """Install or update: the same plan; an update asks nothing that was answered before."""
        answers = self.answers()
        if self.options.command == "update" and not self.installer.ledger(answers, self.person).exists:
            raise InvalidInput("update", "nothing is installed there yet: pitsctl install")
        looked = self.installer.looked(answers, self.person)
        if self.lines is not None:
            self.lines.plan(looked)
        else:
            presenting.show_plan(looked, sys.stdout)
        if looked.impossible:
            self._say("Nothing was changed.")
            return WRONG
        if self.options.dry_run:
            return DONE
        if looked.needed and not self._may_begin("Do this?"):
            return LEFT
        outcome = self.installer.install(answers, self.person, progress=self.progress, stop=self.stop)
        code = self._ended(outcome)
        if code == DONE and outcome.done and self.lines is None:
            for line in self.installer.where_to_look(answers, self.person):
                self._say(line)
        return code

    def back(self) -> int:
        """Let the version before run again."""
        answers = self.answers()
        if not self._may_begin("Let the version before run again?"):
            return LEFT
        return self._ended(self.installer.go_back(answers, self.person, progress=self.progress, stop=self.stop))

    def remove(self) -> int:
        """Undo what was installed."""
        answers = self.answers()
        if not self._may_begin("Remove the camera's software and settings from this machine?"):
            return LEFT
        clips, certificates = self.options.delete_clips, self.options.delete_certificates
        if not self.options.yes:
            clips = clips or self.person.confirm("Delete the clips that are on the machine, too?")
            certificates = certificates or self.person.confirm(
                "Delete its key and certificate, and what was made for it at home, too?"
            )
        removal = Removal(clips=clips, certificates=certificates)
        outcome = self.installer.remove(answers, self.person, removal=removal, progress=self.progress, stop=self.stop)
        return self._ended(outcome)

    def register(self) -> int:
        """Let the camera in."""
        from pitsctl.register import until_let_in  # noqa: PLC0415 - no other command needs it

        def attempt(person: Person) -> Outcome:
            return self.installer.register(self.answers(), person, progress=self.progress, stop=self.stop)

        if self.given.connection.host:
            return self._ended(attempt(self.person))
        # On the Pi itself nobody may be there to try again.
        return self._ended(until_let_in(attempt, self.person, stop=self.stop, say=self._say))

    def doctor(self) -> int:
        """Check a running camera."""
        from pitsctl import doctor  # noqa: PLC0415 - no other command needs what it loads

        return self._on_machine(doctor.run)

    def view(self) -> int:
        """Show a camera."""
        from pitsctl import view  # noqa: PLC0415 - no other command needs what it loads

        return self._on_machine(view.run)

    def logs(self) -> int:
        """Show what the services log."""
        if not 1 <= self.options.lines <= 10_000:
            raise InvalidInput("--lines", "must be from 1 to 10000")
        names = self.options.service or _LOGS[:2]
        units = [f"--unit={'pinthesky-admin@*' if name == 'pinthesky-admin' else name + '.service'}" for name in names]
        words = ["journalctl", "--no-pager", f"--lines={self.options.lines}", *units]
        words.append("--output=json" if self.options.json else "--output=short-iso")
        machine = self.installer.machine(self.given, self.person)
        if self.options.follow and isinstance(machine, ShellMachine):
            return DONE if machine.follow(*words, "--follow") in (0, -15, 255) else FAILED
        ran = machine.run(*words, root=True)
        sys.stdout.write(ran.out)
        sys.stderr.write(ran.error)
        return DONE if ran.code == 0 else FAILED

    def sd_card(self) -> int:
        """Prepare a card."""
        prepared = sd_card.prepare(self.options.boot, self.given, self.installer.parcel())
        self._say(f"The first start is told by {prepared.by}.")
        for path in prepared.written:
            self._say(f"wrote {path}")
        return DONE

    def wizard(self) -> int:
        """Lead a person through it."""
        return wizard.run(self.given, self.installer, text=self.options.text)

    def _on_machine(self, run: Callable[..., int]) -> int:
        given = self.given
        machine = self.installer.machine(given, self.person)
        facts, ledger = self.installer.facts(given, self.person), self.installer.ledger(given, self.person)
        return run(machine, ledger, facts, json=self.options.json, out=sys.stdout)

    def _may_begin(self, question: str) -> bool:
        if self.options.yes:
            return True
        if self.lines is not None or not sys.stdin.isatty():
            raise InvalidInput("--yes", "is needed where nobody can be asked")
        return self.person.confirm(question)

    def _ended(self, outcome: Outcome) -> int:
        if self.lines is not None:
            self.lines.result(outcome)
        else:
            words = shlex.join(["pitsctl", *self._words])
            host = self.given.connection.host
            undo = shlex.join(["pitsctl", "remove", *(["--host", host] if host else [])])
            presenting.show_outcome(outcome, sys.stdout, command=words, undo=undo)
        if outcome.error is not None:
            return code_of(outcome.error)
        return DONE if outcome.is_complete else FAILED

    def _say(self, line: str) -> None:
        print(line, file=sys.stdout if self.lines is None else sys.stderr, flush=True)


def code_of(error: PinTheSkyError) -> int:
    """The exit code of an error."""
    if isinstance(error, Unavailable):
        return UNREACHED
    return WRONG if isinstance(error, InvalidInput) else FAILED


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    words = sys.argv[1:] if words is None else words
    options = parser().parse_args(words, argparse.Namespace(**_USUAL))
    level = options.level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        print(f"pitsctl: --level: must be one of DEBUG, INFO, WARNING, ERROR, got {level!r}", file=sys.stderr)  # noqa: T201 - a program
        return WRONG
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    command = Command(options, os.environ, words)
    # Ended like this too it gives its connection back, and says how to go on.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    name = (options.command or "wizard").replace("-", "_").replace("update", "install")
    try:
        return int(getattr(command, name)())
    except PinTheSkyError as error:
        print(f"pitsctl: {error}", file=sys.stderr)  # noqa: T201 - a program
        return code_of(error)
    except KeyboardInterrupt:
        print("pitsctl: given up; the same command goes on where it stopped", file=sys.stderr)  # noqa: T201 - a program
        return LEFT
    finally:
        command.installer.close()
        for number, handler in before.items():
            signal.signal(number, handler)
