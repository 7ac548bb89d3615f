"""Lets coverage see what the MQTT library's threads carry out: they are not Python's, which know of no tracing."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pinthesky.link.connection import Connection

CALLED_BY_THE_LIBRARY = (
    "_attempting",
    "_connection_made",
    "_attempt_failed",
    "_connection_lost",
    "_received",
    "_asked",
    "_published",
)


def traced(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, traced as Python's own threads are."""

    @functools.wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if sys.gettrace() is None:
            sys.settrace(threading.gettrace())
        return call(*args, **kwargs)

    return wrapper


@pytest.fixture(autouse=True)
def native_threads_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace the callbacks of the connection, where anything is traced at all."""
    if threading.gettrace() is not None:
        for name in CALLED_BY_THE_LIBRARY:
            monkeypatch.setattr(Connection, name, traced(getattr(Connection, name)))
