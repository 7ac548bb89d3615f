"""The other end of the socket: asks, and hands on what comes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from pinthesky.admin import requests
from pinthesky.admin.requests import Answer
from pinthesky.errors import InvalidInput, Unavailable

_CONNECT_S = 10.0
_ANSWER_S = 4000.0
"""Longer than the root helper itself waits for an upgrade, the longest of its work."""


class AnswerLost(Unavailable):
    """The request was sent, and the connection ended before an answer: what was asked for may happen or not."""


def ask(path: Path, request: requests.Request, hear: Callable[[str], None]) -> Answer:
    """Ask the root helper and return its answer; `hear` gets the lines on the way.

    Raises Unavailable where nobody listens, AnswerLost where the connection ends before the answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(_CONNECT_S)
            connection.connect(str(path))
            connection.sendall(requests.encode(request))
        except PermissionError as error:
            raise Unavailable(f"{path}: this user may not ask") from error
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror or error}; is pinthesky-admin.socket running?") from error
        try:
            return _heard(connection, hear)
        except InvalidInput as error:
            raise AnswerLost(f"the root helper speaks another language: {error}") from error
        except OSError as error:
            raise AnswerLost(f"the root helper did not answer: {error.strerror or error}") from error


def _heard(connection: socket.socket, hear: Callable[[str], None]) -> Answer:
    connection.settimeout(_ANSWER_S)
    with connection.makefile("rb") as stream:
        while line := stream.readline(requests.LOG_BYTES_MAX):
            message = requests.parse_message(line)
            if isinstance(message, Answer):
                return message
            hear(message.text)
    raise ConnectionError("the connection was closed; its log says more")
