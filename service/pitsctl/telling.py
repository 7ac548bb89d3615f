"""Answers from where they are told: flags over the environment, that over a file, that over what was installed with."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinthesky.errors import InvalidInput
from pitsctl import answer_texts, answers_file
from pitsctl.answers import Answers

_SHORT = {"connection.host": ("-m", "--host"), "paths.root": ("-r", "--root")}
"""What the first pitsctl called them."""


def flag_of(path: str) -> str:
    """The flag of an answer: `--camera-rotation`."""
    return "--" + path.replace(".", "-").replace("_", "-")


def variable_of(path: str) -> str:
    """The variable of an answer: `PITSCTL_CAMERA_ROTATION`."""
    return "PITSCTL_" + path.replace(".", "_").upper()


def add_flags(parser: argparse.ArgumentParser, *, only: tuple[str, ...] = ()) -> None:
    """Give a parser the flag of every answer, or of those in the sections `only`."""
    group = parser.add_argument_group("answers", "each also by a variable PITSCTL_… and in the file of --answers")
    for path in answer_texts.PATHS:
        if only and path.partition(".")[0] not in only:
            continue
        switch = {"nargs": "?", "const": "yes"} if answer_texts.is_switch(path) else {}
        names = (*_SHORT.get(path, ()), flag_of(path))
        group.add_argument(*names, dest=path, metavar="VALUE", help=answer_texts.bound_of(path), **switch)  # type: ignore[arg-type]  # both are texts


def told(options: argparse.Namespace, environment: Mapping[str, str], *, under: Answers) -> Answers:
    """The answers. Raises InvalidInput that names the flag, the variable, or the field of the file."""
    values: dict[str, Any] = {}
    file = getattr(options, "answers", None) or environment.get("PITSCTL_ANSWERS")
    if file:
        values |= answers_file.read(Path(file)) if Path(file).is_file() else _piped(file)
    for path in answer_texts.PATHS:
        if variable_of(path) in environment:
            values[path] = _read(path, environment[variable_of(path)], variable_of(path))
    for path in answer_texts.PATHS:
        flag = getattr(options, path, None)
        if flag is not None:
            values[path] = _read(path, flag, flag_of(path))
    return answer_texts.with_values(under, values)


@functools.cache
def _piped(file: str) -> Mapping[str, Any]:
    """What a pipe such as /dev/stdin answers: it can be read once, and is asked for more often."""
    return answers_file.read(Path(file))


def _read(path: str, text: str, name: str) -> Any:
    try:
        return answer_texts.value_of(path, text)
    except InvalidInput as error:
        raise InvalidInput(name, f"{error.reason}, got {text[:80]!r}") from error
