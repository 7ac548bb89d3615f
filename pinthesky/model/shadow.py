"""The named shadow's documents, as the device client leaves them in its output file."""

from __future__ import annotations

import hashlib
from typing import Any, Optional

import msgspec
from msgspec import Struct

from pinthesky.errors import InvalidInput

DOCUMENT_MAX = 256 * 1024
"""Most bytes of a documents message: previous and current state with metadata for every leaf."""
STATE_MAX = 8 * 1024
"""Most bytes of desired and reported together (AWS IoT)."""
DESIRED_MAX = 3 * 1024
"""Most bytes of a desired state that we take: it leaves reported and sync their room within STATE_MAX."""
DEPTH_MAX = 8
"""Deepest nesting of a shadow's state (AWS IoT)."""


class ShadowDocument(Struct, frozen=True, kw_only=True):
    """The state that a document tells of.

    `desired` is None where the document says nothing about it, and empty where nothing is desired (any more).
    """

    desired: Optional[dict[str, Any]] = None
    reported: Optional[dict[str, Any]] = None


class _State(Struct, frozen=True):
    desired: Optional[dict[str, Any]] = None
    reported: Optional[dict[str, Any]] = None


class _Snapshot(Struct, frozen=True):
    state: Optional[_State] = None


class _Message(Struct, frozen=True):
    current: Optional[_Snapshot] = None
    state: Optional[_State] = None


def parse_document(raw: bytes) -> ShadowDocument:
    """A documents message (`{"previous": …, "current": {"state": …}}`) or a bare `{"state": …}`; any key may be absent.

    A documents message holds the whole state, so `current.state` without `desired` says that nothing is desired; the
    bare form may be a part and says nothing about what it leaves out. Raises InvalidInput for anything else, a file
    that is half written among it.
    """
    if len(raw) > DOCUMENT_MAX:
        raise InvalidInput("shadow", f"is longer than {DOCUMENT_MAX} bytes")
    try:
        message = msgspec.json.decode(raw, type=_Message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput("shadow", f"is not a shadow document: {error}") from error
    if message.current is not None and message.current.state is not None:
        state = message.current.state
        desired: Optional[dict[str, Any]] = {} if state.desired is None else state.desired
    elif message.state is not None:
        state = message.state
        desired = state.desired
    else:
        return ShadowDocument()
    for label, part in (("desired", desired), ("reported", state.reported)):
        if _is_deeper_than(part, DEPTH_MAX):
            raise InvalidInput(f"shadow.{label}", f"is nested deeper than {DEPTH_MAX}")
    return ShadowDocument(desired=desired, reported=state.reported)


def canonical(state: dict[str, Any]) -> bytes:
    """The state as JSON with sorted keys, no spaces and exact whole numbers: equal states give equal bytes."""
    return msgspec.json.encode(state, order="deterministic")


def fingerprint(desired: dict[str, Any]) -> str:
    """128 bits of the canonical form's SHA-256, as hexadecimal digits."""
    return hashlib.sha256(canonical(desired)).hexdigest()[:32]


def _is_deeper_than(value: object, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [inner for outer in layer for inner in _children(outer)]
        if not layer:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
