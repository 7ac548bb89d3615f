"""Answers as a YAML file: what the wizard saves, and `--answers` reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pinthesky.errors import InvalidInput
from pitsctl import answer_texts
from pitsctl.answers import Answers

SIZE_MAX = 64 * 1024
_HEAD = "# Answers of pitsctl: pitsctl install --answers THIS --yes. Nothing in here is secret.\n"


def read(path: Path) -> dict[str, Any]:
    """What a file answers, by path (`camera.rotation`); what it leaves out is not there.

    Raises InvalidInput that names the file, and the field with its bound.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise InvalidInput("--answers", f"{path}: {error.strerror}") from error
    if len(data) > SIZE_MAX:
        raise InvalidInput("--answers", f"{path} is longer than {SIZE_MAX} bytes")
    try:
        told = yaml.safe_load(data)
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise InvalidInput("--answers", f"{path} is no YAML: {words[:300]}") from error
    values: dict[str, Any] = {}
    for section, fields in _mapping(told, f"{path}").items():
        for field, value in _mapping(fields, f"{path}: {section}").items():
            name = f"{section}.{field}"
            if name not in answer_texts.PATHS:
                raise InvalidInput(name, f"in {path} is no answer that is known")
            values[name] = _value(name, value, path)
    return values


def write(answers: Answers, path: Path) -> None:
    """Write what differs from the defaults, whole or not at all. Raises InvalidInput."""
    told = msgspec.to_builtins(answers)
    defaults = msgspec.to_builtins(Answers())
    sections = {
        section: {name: value for name, value in fields.items() if value != defaults[section][name]}
        for section, fields in told.items()
    }
    text = yaml.safe_dump({name: fields for name, fields in sections.items() if fields}, sort_keys=False)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(_HEAD + text, encoding="utf-8")
        os.replace(new, path)  # noqa: PTH105 - says that it replaces
    except OSError as error:
        raise InvalidInput("the answers' file", f"{path}: {error.strerror}") from error


def _mapping(told: object, where: str) -> dict[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, dict) or not all(isinstance(name, str) for name in told):
        raise InvalidInput("--answers", f"{where} must hold names with values")
    return told


def _value(name: str, value: object, path: Path) -> Any:
    """Read a value as a flag would be: YAML's own numbers and switches are texts that look like them."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = " ".join(value)
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if not isinstance(value, str | int | None):
        raise InvalidInput(name, f"in {path} must be a single value")
    try:
        return answer_texts.value_of(name, "" if value is None else str(value))
    except InvalidInput as error:
        raise InvalidInput(name, f"in {path} {error.reason}") from error
