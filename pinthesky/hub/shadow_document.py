"""What an update does to a shadow, as AWS IoT's Device Shadow service defines it. No I/O.

Sources: AWS IoT developer guide, "Device Shadow service documents", "Interacting with shadows" and "Device Shadow
error messages"; the limits are those of "AWS IoT Core endpoints and quotas".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from pinthesky.errors import Conflict, InvalidInput
from pinthesky.model.shadow import DEPTH_MAX, STATE_MAX

PAYLOAD_MAX = 128 * 1024
"""Most bytes of one MQTT message (AWS IoT)."""
TOKEN_MAX = 64
"""Most bytes of a client token."""
SECTIONS = ("desired", "reported")


class TooLarge(InvalidInput):
    """The document would grow over its bound."""

    def __init__(self) -> None:
        super().__init__("shadow", "The payload exceeds the maximum size allowed")


@dataclass(frozen=True)
class Shadow:
    """One named shadow. `state` and `metadata` hold `desired` and `reported`, a section that is empty not at all.

    `metadata` mirrors the state, with `{"timestamp": seconds}` in place of every value.
    """

    version: int = 0
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def delta(self) -> dict[str, Any]:
        """What of `desired` is not as `reported` says."""
        return _difference(self.state.get("desired", {}), self.state.get("reported", {}))

    def document(self) -> dict[str, Any]:
        """State, metadata and version, as the documents message tells them."""
        return {"state": self.state, "metadata": self.metadata, "version": self.version}


@dataclass(frozen=True)
class Update:
    """A checked request to change a shadow. `state` None empties it."""

    state: dict[str, Any] | None
    version: int | None = None

    def described(self, now_s: int) -> dict[str, Any]:
        """`state` and `metadata` of the accepted message: what was asked for, and when."""
        return {"state": self.state, "metadata": _stamps(self.state, now_s)}


def decode(payload: bytes) -> Any:
    """Any JSON value, whole numbers exact. Raises TooLarge, InvalidInput with AWS's message."""
    if len(payload) > PAYLOAD_MAX:
        raise TooLarge
    try:
        # what has no UTF-8 form (half a surrogate pair, written as an escape) could never be sent on
        value = json.loads(payload.decode(), parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput("shadow", "Invalid JSON") from error
    return value


def encode(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def token_of(request: Any) -> str | None:
    """The client token of a request, None where there is none that could be sent back."""
    token = request.get("clientToken") if isinstance(request, dict) else None
    return token if isinstance(token, str) and len(token.encode()) <= TOKEN_MAX else None


def check_token(request: dict[str, Any]) -> None:
    """Raise InvalidInput for a client token that cannot be one."""
    if request.get("clientToken") is not None and token_of(request) is None:
        raise InvalidInput("shadow", "Invalid clientToken")


def parse_update(request: Any) -> Update:
    """Check the document of an update (`{"state", "version", "clientToken"}`). Raises InvalidInput, TooLarge."""
    if not isinstance(request, dict) or "state" not in request:
        raise InvalidInput("shadow", "Missing required node: state")
    check_token(request)
    version = request.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
        raise InvalidInput("shadow", "Invalid version")
    state = request["state"]
    if state is None:
        return Update(None, version)
    if not isinstance(state, dict):
        raise InvalidInput("shadow", "State node must be an object")
    for name, section in state.items():
        if name not in SECTIONS:
            raise InvalidInput("shadow", "State contains an invalid node")
        if section is not None and not isinstance(section, dict):
            raise InvalidInput("shadow", f"{name.capitalize()} node must be an object")
        _check_nodes(section, 1)
    if len(encode(state)) > STATE_MAX:
        raise TooLarge
    return Update(state, version)


def apply(shadow: Shadow, update: Update, now_s: int) -> Shadow:
    """The shadow after `update`. Raises Conflict for another version than asked for, TooLarge."""
    if update.version is not None and update.version != shadow.version:
        raise Conflict("Version conflict")
    if update.state is None:
        return Shadow(version=shadow.version + 1)
    after = replace(shadow, version=shadow.version + 1, state={**shadow.state}, metadata={**shadow.metadata})
    for name, change in update.state.items():
        known = ({}, {}) if change is None else (after.state.get(name, {}), after.metadata.get(name, {}))
        state, metadata = _merge(*known, change=change or {}, now_s=now_s)
        if state:
            after.state[name], after.metadata[name] = state, metadata
        else:
            after.state.pop(name, None)
            after.metadata.pop(name, None)
    if len(encode(after.state)) > STATE_MAX:
        raise TooLarge
    return after


def delta_metadata(shadow: Shadow) -> dict[str, Any]:
    """The metadata of `desired`, of what is in the delta alone."""
    return _selected(shadow.metadata.get("desired", {}), shadow.delta)


def _merge(
    state: dict[str, Any], metadata: dict[str, Any], *, change: dict[str, Any], now_s: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """New state and metadata after a change at a time; null deletes."""
    state, metadata = {**state}, {**metadata}
    for key, value in change.items():
        if isinstance(value, dict):
            old = state.get(key)
            known = (old, metadata[key]) if isinstance(old, dict) else ({}, {})
            state[key], metadata[key] = _merge(*known, change=value, now_s=now_s)
        elif value is None:
            state.pop(key, None)
            metadata.pop(key, None)
        else:
            state[key], metadata[key] = value, _stamps(value, now_s)
    return state, metadata


def _stamps(value: Any, now_s: int) -> Any:
    if isinstance(value, dict):
        return {key: _stamps(inner, now_s) for key, inner in value.items()}
    if isinstance(value, list):
        return [_stamps(inner, now_s) for inner in value]
    return {"timestamp": now_s}


def _difference(desired: dict[str, Any], reported: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in desired.items():
        there = reported.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = _difference(value, there)
            if inner:
                found[key] = inner
        elif not _is_same(value, there):
            found[key] = value
    return found


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal. Python holds true and 1 for equal, JSON does not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _selected(metadata: Any, selection: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _selected(metadata[key], value) if isinstance(value, dict) else metadata[key]
        for key, value in selection.items()
    }


def _check_nodes(value: Any, level: int, in_array: bool = False) -> None:
    """A section itself is level 1. Arrays are replaced whole, so null would have no meaning in one."""
    if value is None and in_array:
        raise InvalidInput("shadow", "State contains an invalid node")
    if not isinstance(value, (dict, list)):
        return
    if level > DEPTH_MAX:
        raise InvalidInput("shadow", f"JSON contains too many levels of nesting; maximum is {DEPTH_MAX}")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_nodes(inner, level + 1, in_array or isinstance(value, list))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is out of range")
    return number
