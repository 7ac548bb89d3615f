"""Answers as text and back: one way in for fields of the wizard, flags and environment, with the bounds in words."""

from __future__ import annotations

import functools
import typing
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import inspect

from pinthesky.errors import InvalidInput
from pitsctl.answers import Answers

PATHS: Final[tuple[str, ...]] = tuple(
    f"{section.name}.{field.name}"
    for section in msgspec.structs.fields(Answers)
    for field in msgspec.structs.fields(section.type)
)
"""Every field, as `section.field`, in the order of the screens."""

YES: Final = frozenset({"yes", "y", "true", "on", "1"})
NO: Final = frozenset({"no", "n", "false", "off", "0"})

# What a pattern asks for, in words; the other patterns are those of names.
_PATTERNS: Final[dict[str, str]] = {
    "home.authority_sha256": "64 digits of 0-9 and a-f, as `pits-hub` prints them",
    "camera.resolution": "width x height in pixels, such as 1280x720",
    "camera.recording_window": "two hours of the day, such as 8-20 or 22-6",
    "paths.root": "an absolute path of letters, digits and . _ - /",
}
_NAME: Final = "only letters, digits and _ . : / -"


@functools.cache
def _hint(path: str) -> Any:
    section, _, field = path.partition(".")
    owner = get_type_hints(Answers)[section]
    return get_type_hints(owner, include_extras=True)[field]


@functools.cache
def _kinds(path: str) -> tuple[inspect.Type, ...]:
    """The types that a field may have, None apart."""
    info = inspect.type_info(_hint(path))
    types = info.types if isinstance(info, inspect.UnionType) else (info,)
    return tuple(kind for kind in types if not isinstance(kind, inspect.NoneType))


def choices_of(path: str) -> tuple[str, ...]:
    """The values that a field can have, where they are few; else none."""
    hint = _hint(path)
    return tuple(str(value) for value in typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else ()


def is_switch(path: str) -> bool:
    """Whether a field is on or off."""
    return isinstance(_kinds(path)[0], inspect.BoolType)


def bound_of(path: str) -> str:
    """What a field takes, in words that follow `must be`."""
    kind = _kinds(path)[0]
    if isinstance(kind, inspect.BoolType):
        return "yes or no"
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(filter(None, choices_of(path)))
    if isinstance(kind, inspect.IntType):
        return f"a whole number from {kind.ge} to {kind.le}"
    if isinstance(kind, inspect.StrType):
        longest = "" if kind.max_length is None else f"at most {kind.max_length} characters"
        if kind.pattern is None:
            return longest or "text"
        return ", ".join(filter(None, (_PATTERNS.get(path, _NAME), longest)))
    return "words with spaces between them"


def value_of(path: str, text: str) -> Any:
    """Read what was typed. Raises InvalidInput(path) with the bound in words; an unknown path is a defect (KeyError).

    Nothing typed is None where a field may be left to the preset, and the empty text where it is a text.
    """
    kind, text = _kinds(path)[0], text.strip()
    value: Any = text
    try:
        if isinstance(kind, inspect.BoolType):
            value = {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}.get(text.lower(), text)
        elif isinstance(kind, inspect.IntType):
            value = int(text) if text else None
        elif isinstance(kind, inspect.LiteralType):
            value = next(known for known in kind.values if str(known).lower() == text.lower())
        elif isinstance(kind, inspect.VarTupleType):
            value = tuple(text.split())
        return msgspec.convert(value, _hint(path))
    except (ValueError, StopIteration) as error:
        raise InvalidInput(path, f"must be {bound_of(path)}") from error


def text_of(path: str, answers: Answers) -> str:
    """What stands in the field for a value, as `value_of` reads it."""
    section, _, field = path.partition(".")
    value = getattr(getattr(answers, section), field)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def with_values(answers: Answers, values: dict[str, Any]) -> Answers:
    """The answers with other values in some fields, by path."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, _, field = path.partition(".")
        sections.setdefault(section, {})[field] = value
    changed = {name: msgspec.structs.replace(getattr(answers, name), **to) for name, to in sections.items()}
    return msgspec.structs.replace(answers, **changed)
