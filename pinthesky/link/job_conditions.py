"""Whether the conditions of a job hold on this machine."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pinthesky.errors import InvalidInput
from pinthesky.model.jobs import Condition
from pinthesky.version import __version__

_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
_MODEL = Path("/proc/device-tree/model")
_FACT_FILE_MAX = 65_536


def unmet(conditions: Sequence[Condition], facts: Mapping[str, str]) -> str | None:
    """Why the job is not for this machine, or None when all `conditions` hold.

    Raises InvalidInput for a condition that cannot be judged: a key or a type that is not known.
    """
    reasons = [_judge(f"conditions[{number}]", condition, facts) for number, condition in enumerate(conditions)]
    return next((reason for reason in reasons if reason is not None), None)


def facts_of_this_machine(thing_name: str) -> dict[str, str]:
    """What conditions can ask for, by key as `plain_key` writes it. What cannot be found out is empty."""
    release = _os_release()
    return {
        "operatingsystem": release.get("ID", ""),
        "operatingsystemversion": release.get("VERSION_ID", ""),
        "architecture": platform.machine(),
        "model": _read(_MODEL).rstrip("\0"),
        "clientversion": __version__,
        "thingname": thing_name,
    }


def plain_key(key: str) -> str:
    """`operating system`, `operatingSystem` and `operating-system` are one key."""
    return re.sub(r"[\s_-]", "", key).lower()


def _judge(place: str, condition: Condition, facts: Mapping[str, str]) -> str | None:
    judge = _TYPES.get(condition.type)
    if judge is None:
        raise InvalidInput(f"{place}.type", f"must be one of {', '.join(_TYPES)}, got {condition.type!r}")
    reason = judge(place, condition, facts)
    return None if reason is None else f"{place}: {reason}"


def _fact(place: str, condition: Condition, facts: Mapping[str, str]) -> str:
    fact = facts.get(plain_key(condition.key))
    if fact is None:
        raise InvalidInput(f"{place}.key", f"must be one of {', '.join(facts)}, got {condition.key!r}")
    return fact


def _equal(place: str, condition: Condition, facts: Mapping[str, str]) -> str | None:
    fact = _fact(place, condition, facts)
    wanted = condition.values
    if fact.lower() in (value.lower() for value in wanted):
        return None
    return f"{condition.key} is {fact or 'not known'}, not {' or '.join(wanted)}"


def _not_equal(place: str, condition: Condition, facts: Mapping[str, str]) -> str | None:
    fact = _fact(place, condition, facts)
    return f"{condition.key} is {fact}" if fact.lower() in (value.lower() for value in condition.values) else None


def _exists(_place: str, condition: Condition, _facts: Mapping[str, str]) -> str | None:
    missing = [value for value in condition.values if not os.path.exists(value)]  # noqa: PTH110 - never raises
    return f"{missing[0]} does not exist" if missing else None


def _absent(_place: str, condition: Condition, _facts: Mapping[str, str]) -> str | None:
    there = [value for value in condition.values if os.path.exists(value)]  # noqa: PTH110 - never raises
    return f"{there[0]} exists" if there else None


_TYPES: Mapping[str, Callable[[str, Condition, Mapping[str, str]], str | None]] = {
    "stringEqual": _equal,
    "stringNotEqual": _not_equal,
    "fileExists": _exists,
    "fileAbsent": _absent,
}


def _os_release() -> dict[str, str]:
    for path in _OS_RELEASE:
        text = _read(path)
        if text:
            pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
            return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
    return {}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FACT_FILE_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
