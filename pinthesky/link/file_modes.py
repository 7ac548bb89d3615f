"""The modes that files must have: those of aws-iot-device-client, so that either client starts on the same machine.

Modes are compared exactly, once, at the start. Each finding says which command mends it.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from pinthesky.link.configuration import Configuration, Findings

KEY, CERTIFICATE, SECRET_FOLDER = 0o600, 0o644, 0o700
SHADOW_FILE, PUB_SUB_FILE, PUB_SUB_FOLDER = 0o600, 0o600, 0o745
CONFIGURATION, CONFIGURATION_FOLDER = 0o640, 0o745
HANDLER = 0o700
_HANDLERS_MAX = 10


def check(configuration: Configuration) -> Findings:
    """Look at every file that the configuration names."""
    findings = Findings()
    for name, path, mode in (
        ("cert", configuration.cert, CERTIFICATE),
        ("key", configuration.key, KEY),
        ("root-ca", configuration.root_ca, CERTIFICATE),
    ):
        if path is not None:
            findings.errors += [_missing(name, path)] if not path.is_file() else _wrong(name, path, mode)
            findings.errors += _wrong(f"the folder of {name}", path.parent, SECRET_FOLDER)
    shadow, pub_sub = configuration.shadow, configuration.pub_sub
    for name, path in () if shadow is None else (("input", shadow.input_file), ("output", shadow.output_file)):
        if path is not None:
            findings.errors += _wrong(f"sample-shadow.shadow-{name}-file", path, SHADOW_FILE)
            findings.errors += _without_folder(f"sample-shadow.shadow-{name}-file", path)
    for name, path in (
        () if pub_sub is None else (("publish", pub_sub.publish_file), ("subscribe", pub_sub.subscribe_file))
    ):
        if path is not None:
            findings.warnings += _wrong(f"samples.pub-sub.{name}-file", path, PUB_SUB_FILE)
            findings.warnings += _wrong(f"the folder of samples.pub-sub.{name}-file", path.parent, PUB_SUB_FOLDER)
            findings.errors += _without_folder(f"samples.pub-sub.{name}-file", path)
    if configuration.file is not None:
        findings.warnings += _wrong("the configuration file", configuration.file, CONFIGURATION)
        findings.warnings += _wrong(
            "the folder of the configuration file", configuration.file.parent, CONFIGURATION_FOLDER
        )
    if configuration.jobs is not None:
        for folder in (configuration.jobs.handler_directory, *configuration.jobs.further_handler_directories):
            _check_handlers(folder, findings)
    return findings


def _check_handlers(folder: Path, findings: Findings) -> None:
    """A device on which nobody installed handlers is in order: it runs no jobs."""
    try:
        handlers = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except FileNotFoundError:
        findings.notes.append(f"There is no folder {folder} with job handlers: jobs will fail")
        return
    except OSError as error:
        findings.warnings.append(f"jobs.handler-directory: cannot read {folder}: {error.strerror}")
        return
    wrong = [line for path in handlers for line in _wrong("the job handler", path, HANDLER)]
    findings.warnings += wrong[:_HANDLERS_MAX]


def _wrong(name: str, path: Path, mode: int) -> Iterator[str]:
    """The complaint about a mode, if there is one; what is missing has none."""
    try:
        found = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"{name}: cannot look at {path}: {error.strerror}"
        return
    if found != mode:
        yield f"{name}: {path} has mode {found:o} and must have {mode:o}: chmod {mode:o} {shlex.quote(str(path))}"


def _missing(name: str, path: Path) -> str:
    return f"{name}: {path} is no file that can be read"


def _without_folder(name: str, path: Path) -> Iterator[str]:
    if not path.parent.is_dir():
        folder = shlex.quote(str(path.parent))
        yield f"{name}: its folder is missing: mkdir -p -m {PUB_SUB_FOLDER:o} {folder}"
