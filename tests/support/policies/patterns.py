"""Strings of policies: wildcards, variables and ARNs.

Source: IAM user guide, "Policy variables" and "Resource"; AWS IoT developer guide, "Policy variables". `*` and `?` are
wildcards, `+` and `#` are characters like any other, and what a variable brings in is never a wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

Context = Mapping[str, "str | list[str]"]
"""Keys of a request, in small letters, and their values; a list for a key that has several."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_SPECIAL = {"*": r"\*", "?": r"\?", "$": r"\$"}
_COLON_OUTSIDE_VARIABLES = re.compile(r":(?![^{}]*\})")
_DEFAULT = re.compile(r"\s*,\s*'([^']*)'\s*\Z")


class PolicyNotUnderstood(Exception):
    """A policy, or a template, says something that this evaluator does not know."""


def matches(pattern: str, value: str, context: Context, *, ignore_case: bool = False) -> bool:
    """Tell whether `value` is what `pattern` says. A variable without a value in the request matches nothing."""
    source = _regular_expression(pattern, context)
    if source is None:
        return False
    return _compiled(source, re.DOTALL | (re.IGNORECASE if ignore_case else 0)).fullmatch(value) is not None


def equals(text: str, value: str, context: Context) -> bool:
    """Tell whether `value` is `text`, in which variables stand but no wildcards."""
    filled = _filled(text, context)
    return filled is not None and filled == value


def arn_matches(pattern: str, arn: str, context: Context) -> bool:
    """Tell whether `arn` is what `pattern` says: a wildcard reaches over colons in the last of the six parts alone."""
    if pattern == "*":
        return True
    wanted = _COLON_OUTSIDE_VARIABLES.split(pattern, maxsplit=5)
    given = arn.split(":", 5)
    if len(wanted) != 6 or len(given) != 6:
        return False
    return all(matches(part, value, context) for part, value in zip(wanted, given, strict=True))


@cache
def _compiled(source: str, flags: int) -> re.Pattern[str]:
    return re.compile(source, flags)


def can_be_filled(pattern: str, context: Context) -> bool:
    """Tell whether every variable of `pattern` has a value in the request."""
    return _filled(pattern, context) is not None


def _regular_expression(pattern: str, context: Context) -> str | None:
    parts = []
    for literal, variable in _pieces(pattern):
        parts.append(re.escape(literal).replace(r"\*", ".*").replace(r"\?", "."))
        if variable in _SPECIAL:
            parts.append(_SPECIAL[variable])
        elif variable is not None:
            value = _value_of(variable, context)
            if value is None:
                return None
            parts.append(re.escape(value))
    return "".join(parts)


def _filled(text: str, context: Context) -> str | None:
    parts = []
    for literal, variable in _pieces(text):
        parts.append(literal)
        if variable in _SPECIAL:
            parts.append(str(variable))
        elif variable is not None:
            value = _value_of(variable, context)
            if value is None:
                return None
            parts.append(value)
    return "".join(parts)


@cache
def _pieces(pattern: str) -> tuple[tuple[str, str | None], ...]:
    """The pattern as pairs of what is written out and the variable behind it."""
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for found in _VARIABLE.finditer(pattern):
        pieces.append((pattern[end : found.start()], found[1]))
        end = found.end()
    rest = pattern[end:]
    if "${" in rest:
        raise PolicyNotUnderstood(f"a variable that does not end: {pattern}")
    return (*pieces, (rest, None))


def _value_of(variable: str, context: Context) -> str | None:
    default = _DEFAULT.search(variable)
    key = variable[: default.start()] if default else variable
    value = context.get(key.strip().lower())
    if isinstance(value, list):
        raise PolicyNotUnderstood(f"a variable that has several values: {variable}")
    if value is None and default:
        return default[1]
    return value
