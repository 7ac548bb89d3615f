"""The page on the data plane says what the program does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from pinthesky.planes.data_plane import limits
from pinthesky.planes.data_plane.actions import ACTIONS, COMMAND_PERMISSIONS
from pinthesky.planes.data_plane.protocol import (
    CODES,
    InvokeBody,
    ListSessionsPayload,
    LoginBody,
    LoginPayload,
    StatusBody,
)
from pinthesky.planes.records import pushes, tickets
from pinthesky.planes.records.connections import LiveSession
from pinthesky.planes.records.pushes import PushType

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "data-plane.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [LoginPayload, LoginBody, StatusBody, InvokeBody, ListSessionsPayload, LiveSession])
def test_every_field_that_travels_is_on_the_page(kind):
    assert [field for field in kind.__struct_encode_fields__ if f"`{field}`" not in PAGE] == []


def test_every_action_command_code_and_event_is_on_the_page():
    codes = [f"| {status} | `{code}` |" for status, code in CODES.items()]
    rows = [f"| `{name}` |" for name in (*ACTIONS, *COMMAND_PERMISSIONS)]
    events = [f"`{name}`" for name in get_args(PushType)]
    assert [text for text in (*codes, *rows, *events) if text not in PAGE] == []


def test_every_limit_is_on_the_page():
    said = [
        f"direction | {limits.MESSAGE_MAX // 1024} KB |",
        f"nothing said for | {limits.IDLE_S // 60} min",
        f"age of a connection | {limits.LIFETIME_S // 3600} h",
        f"time to log in | {limits.SIGN_IN_S} s",
        f"logins that fail | {limits.SIGN_IN_TRIES_MAX} |",
        f"| {limits.MESSAGES_MAX} in {limits.WINDOW_S} s, then 429; at {limits.MESSAGES_BEFORE_CLOSING} it is closed |",
        f"connections of a person | {limits.OF_PERSON_MAX} |",
        f"live views of a connection | {limits.SESSIONS_MAX} |",
        f"at most {limits.MISSED_MAX} events and {limits.MISSED_BYTES_MAX // 1024} KB",
        f"at most {limits.REQUEST_ID_MAX} characters",
        f"within {tickets.LIFETIME_S} s",
        f"{pushes.OVERLAP_MS // 1000} s before that event",
        f"{pushes.KEPT_S // 3600} hours back",
    ]
    assert [text for text in said if text not in PAGE] == []
