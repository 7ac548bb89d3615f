"""What a step may start: handlers of the handler directory, and commands where the owner allows them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinthesky.errors import InvalidInput, NotAuthorized, NotFound
from pinthesky.model.jobs import DEFAULT_PATH, Action, CommandAction, HandlerAction, JobDocument

ROOT_HANDLERS = frozenset(
    {
        "reboot",
        "shutdown",
        "start-services",
        "stop-services",
        "restart-services",
        "read-service-logs",
        "health-check",
        "upgrade-pinthesky",
        "rotate-certificate",
    }
)
"""Handlers whose work is a verb of `pinthesky-admin`: they ask it themselves, so `runAsUser` may be root."""
REBOOTING_HANDLERS = frozenset({"reboot", "shutdown"})
"""Handlers that are done when the machine has been started again while they ran."""
HANDLER_MODE = 0o700
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class JobsSettings:
    """What the owner of the device decides about jobs. Times are in seconds where nothing else is said."""

    handler_directory: Path
    further_handler_directories: tuple[Path, ...] = ()
    """Other folders that a step may name as `path`."""
    allow_run_command: bool = False
    step_timeout_s: float = 3600.0
    """For steps that name none."""
    grace_s: float = 10.0
    """Between SIGTERM and SIGKILL."""
    heartbeat_s: float = 60.0
    """A running job is reported this often."""
    step_timer_minutes: int = 60
    """The service gives the job up when it has not heard of it for so long (1 to 10080)."""
    reboot_wait_s: float = 600.0
    """How long a step that asked for a reboot waits for it."""
    answer_timeout_s: float = 10.0
    """The first wait for the service's answer; each further one is twice as long, up to 16 times."""


def base_name(action: Action) -> str:
    """The handler's name without `.sh`, which the handlers of the C++ client have; empty for a command."""
    return action.input.handler.removesuffix(".sh") if isinstance(action, HandlerAction) else ""


def own_user() -> str:
    """The name of the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def check_allowed(document: JobDocument, settings: JobsSettings) -> None:
    """Raise NotAuthorized, naming the field, if any step is one that this device never carries out."""
    for place, action in document.actions():
        if isinstance(action, CommandAction) and not settings.allow_run_command:
            raise NotAuthorized(f"{place}.type: runCommand is switched off on this device")
        if isinstance(action, HandlerAction):
            _folder(action, settings, place)
        user = action.run_as_user
        if user and user != own_user() and not (user == "root" and base_name(action) in ROOT_HANDLERS):
            raise NotAuthorized(
                f"{place}.runAsUser: this device runs steps as {own_user()}, "
                f"and as root only {', '.join(sorted(ROOT_HANDLERS))}; got {user}"
            )


def command_line(action: Action, settings: JobsSettings) -> list[str]:
    """Program and arguments of an action that `check_allowed` has passed.

    A handler is started as the C++ client does it: `handler <runAsUser or ""> args…`. Raises NotFound where the handler
    is missing, NotAuthorized where its place or mode is not what it has to be, InvalidInput for a command without a
    program.
    """
    if isinstance(action, CommandAction):
        if not action.input.words[0].strip():
            raise InvalidInput("command", "must begin with a program")
        return action.input.words
    name = action.input.handler
    folder = Path(os.path.realpath(_folder(action, settings, "step")))
    handler = Path(os.path.realpath(folder / name))
    try:
        found, surrounding = handler.stat(), folder.stat()
    except OSError as error:
        raise NotFound(f"there is no handler {name} in {folder} ({error.strerror})") from error
    if handler.parent != folder:
        raise NotAuthorized(f"handler {name} leads out of {folder}")
    if not stat.S_ISREG(found.st_mode):
        raise NotAuthorized(f"handler {name} is not a file")
    if stat.S_IMODE(found.st_mode) != HANDLER_MODE:
        raise NotAuthorized(
            f"handler {name} has mode {stat.S_IMODE(found.st_mode):o} and must have 700: chmod 700 {handler}"
        )
    if surrounding.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotAuthorized(f"others may write to {folder}: chmod go-w {folder}")
    if found.st_uid not in (0, os.geteuid()):
        raise NotAuthorized(f"handler {name} belongs to neither {own_user()} nor root")
    return [str(handler), str(action.run_as_user), *action.input.args]


def environment(job_id: str, execution_number: int) -> Mapping[str, str]:
    """The whole environment of a step.

    `PINTHESKY_JOB_ID` names the execution, so that a handler that is begun again can tell whether it is for the same
    one; it is another one when the service tries a job again. It also tells which client has started the handler.
    """
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": home if os.path.isabs(home) else "/",  # noqa: PTH117 - a string is what is wanted
        "USER": own_user(),
        "LOGNAME": own_user(),
        "PINTHESKY_JOB_ID": f"{job_id}/{execution_number}",
    }


def _folder(action: HandlerAction, settings: JobsSettings, place: str) -> Path:
    path = action.input.path
    if path in ("", DEFAULT_PATH):
        return settings.handler_directory
    for allowed in (settings.handler_directory, *settings.further_handler_directories):
        if os.path.realpath(path) == os.path.realpath(allowed):
            return allowed
    raise NotAuthorized(f"{place}.input.path: this device runs no handlers from {path}")
