"""Prepares the card of a headless Pi: at its first start it registers itself and installs what belongs on it.

Written is only to the boot partition, which every workstation can mount. What is put there holds no secret: the key is
made on the Pi. Where Raspberry Pi Imager has left its own files for the first start, ours is one line in them.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.machine import durable_files, shipped
from pitsctl import answers_file
from pitsctl.answers import Answers, Connection
from pitsctl.parcel import Parcel

FOLDER = "pinthesky"
"""On the boot partition."""
_ON_THE_PI = "/boot/firmware"
_SCRIPTS = ("begin.sh", "first-boot.sh", "pinthesky-first-boot.service")
_ROOM = 2 * 1024 * 1024
_CONFIG_MAX = 1024 * 1024
_BEGIN = f"{_ON_THE_PI}/{FOLDER}/begin.sh"
_IN_FIRSTRUN = f"sh {_BEGIN} >{_ON_THE_PI}/{FOLDER}/begin.txt 2>&1 || true\n"
_ITEM = f"- [sh, {_BEGIN}, now]"
_AT_START = (
    f"systemd.run={_ON_THE_PI}/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target"
)


@dataclass(frozen=True)
class Prepared:
    """What was done: by which of the system's two ways the first start is told, and the files that were written."""

    by: str
    """`cloud-init` or `firstrun.sh`."""
    written: tuple[Path, ...]


def prepare(boot: Path, answers: Answers, parcel: Parcel) -> Prepared:
    """Prepare the card whose boot partition is mounted at `boot`. Again is no error: the later answers count.

    Raises InvalidInput that names what the answers lack or what `boot` is not, Conflict where a file of the first
    start cannot be added to, OSError where the card refuses.
    """
    _check_answers(answers)
    _check_card(boot, len(parcel.data))
    folder = boot / FOLDER
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    written = [_put(folder / parcel.name, parcel.data)]
    scripts = shipped.folder_of("sd-card")
    written += [_put(folder / name, (scripts / name).read_bytes()) for name in _SCRIPTS]
    answers_file.write(msgspec.structs.replace(answers, connection=Connection()), folder / "answers.yaml")
    durable_files.sync_file(folder / "answers.yaml")
    written.append(folder / "answers.yaml")
    # What makes the Pi look at all this comes last: a card that is pulled out before has nothing half done.
    by = _first_start_by(boot)
    written += _into_cloud_init(boot) if by == "cloud-init" else _into_firstrun(boot)
    os.sync()
    return Prepared(by, tuple(written))


def _check_answers(answers: Answers) -> None:
    """Nobody can be asked at the first start, and no credentials belong on a card."""
    if answers.home.kind not in ("hub", "code"):
        raise InvalidInput("home.kind", "has to be hub or code: no credentials of AWS belong on a card")
    if not answers.home.address:
        raise InvalidInput("home.address", "is needed: nobody can be asked for it at the first start")
    if answers.home.kind == "hub" and not answers.home.authority_sha256:
        raise InvalidInput(
            "home.authority_sha256", "is needed: nobody can compare it at the first start; pits-hub prints it"
        )


def _check_card(boot: Path, size: int) -> None:
    if not (boot / "cmdline.txt").is_file() or not (boot / "config.txt").is_file():
        raise InvalidInput("--boot", f"{boot} is no boot partition of Raspberry Pi OS: no cmdline.txt and config.txt")
    if shutil.disk_usage(boot).free < size + _ROOM:
        raise InvalidInput("--boot", f"{boot} has no room for {(size + _ROOM) // 2**20 + 1} MiB")


def _first_start_by(boot: Path) -> str:
    """An older Imager's firstrun.sh is heeded by every system; else cloud-init, where the image brings it."""
    if (boot / "firstrun.sh").is_file() and "systemd.run=" in _text(boot / "cmdline.txt"):
        return "firstrun.sh"
    return "cloud-init" if (boot / "user-data").is_file() or (boot / "meta-data").is_file() else "firstrun.sh"


def _into_cloud_init(boot: Path) -> list[Path]:
    path = boot / "user-data"
    if not path.is_file():
        return [_put(path, (shipped.folder_of("sd-card") / "user-data").read_bytes())]
    return [_put(path, with_command(_text(path)).encode())]


def with_command(text: str) -> str:
    """Return the user-data of cloud-init with our command at the head of `runcmd`; all else stays as it is.

    The text is changed and not read and written as YAML, so that its comments stay. Raises Conflict.
    """
    if _BEGIN in text:
        return text
    if "#cloud-config" not in [line.strip() for line in text.splitlines()[:2]]:
        raise Conflict(f"user-data does not begin with #cloud-config; let it run `sh {_BEGIN} now` yourself")
    found = re.search(r"^runcmd:[ \t]*(?P<same_line>[^#\n]*?)[ \t]*(?:#.*)?$", text, re.MULTILINE)
    if found is None:
        return f"{text.rstrip()}\n\nruncmd:\n  {_ITEM}\n"
    if found["same_line"] not in ("", "[]"):
        raise Conflict(f"runcmd in user-data is written on one line; add {_ITEM[2:]} to it yourself")
    after = text[found.end() :]
    item = re.match(r"(?:[ \t]*(?:#.*)?\n)*(?P<indent> *)- ", after)
    return f"{text[: found.start()]}runcmd:\n{item['indent'] if item else '  '}{_ITEM}{after or chr(10)}"


def _into_firstrun(boot: Path) -> list[Path]:
    path, command_line = boot / "firstrun.sh", boot / "cmdline.txt"
    line = _text(command_line).strip()
    if "\n" in line:
        raise Conflict("cmdline.txt has more than one line")
    if not path.is_file() or "systemd.run=" not in line:
        ours = _put(path, (shipped.folder_of("sd-card") / "firstrun.sh").read_bytes())
        line = re.sub(r" ?systemd\.(?:run|run_success_action|unit)=\S*", "", line)
        return [ours, _put(command_line, f"{line} {_AT_START}\n".encode())]
    text = _text(path)
    if _BEGIN in text or f"{FOLDER}/begin.sh" in text:
        return []
    head, _, rest = text.partition("\n")
    if not head.startswith("#!"):
        raise Conflict(f"firstrun.sh is no script; let it run `sh {_BEGIN}` yourself")
    return [_put(path, f"{head}\n{_IN_FIRSTRUN}{rest}".encode())]


def _text(path: Path) -> str:
    """Return a file of the card. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            return file.read(_CONFIG_MAX).decode("utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"there is no {path}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(path.name, f"is no UTF-8 text: {error}") from error


def _put(path: Path, data: bytes) -> Path:
    """Write a file whole, or leave the one that is there."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(data)
    durable_files.sync_file(temporary)
    durable_files.move(temporary, path)
    return path
