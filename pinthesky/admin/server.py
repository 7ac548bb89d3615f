"""One conversation: systemd accepts the connection and starts a process for it, which ends with the answer."""

from __future__ import annotations

import logging
import os
import pwd
import socket
import struct
import time
from collections.abc import Mapping
from typing import NamedTuple

from pinthesky.admin import requests
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import Answer, Line
from pinthesky.admin.verbs import Verbs
from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable

logger = logging.getLogger(__name__)

ASK_WITHIN_S = 5.0
"""A request has to be there whole after this time."""
_TAKE_WITHIN_S = 10.0
_FIRST_DESCRIPTOR = 3
_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """Who is at the other end of the connection, as the kernel says."""

    pid: int
    uid: int
    gid: int


def passed_connection(environment: Mapping[str, str]) -> socket.socket:
    """Return the connection that systemd passed (sd_listen_fds(3)). Raises InvalidInput where it passed none."""
    if environment.get("LISTEN_PID") != str(os.getpid()) or environment.get("LISTEN_FDS") != "1":
        raise InvalidInput("serve", "is started by pinthesky-admin.socket only")
    return socket.socket(fileno=_FIRST_DESCRIPTOR)


def serve(connection: socket.socket, installation: Installation, verbs: Verbs) -> None:
    """Read one request, carry it out if it may be asked for, and answer."""
    with connection:
        speaker = _Speaker(connection)
        who = "somebody"
        asked = "an unreadable request"
        try:
            peer = peer_of(connection)
            who = f"uid {peer.uid}, pid {peer.pid}"
            check_peer(peer, installation.user)
            request = requests.parse_request(_read_request(connection))
            asked = requests.shown(request.summary, 500)
            logger.info("%s asks: %s", who, asked)
            answer = verbs.carry_out(request, speaker.tell)
        except (InvalidInput, NotAuthorized) as error:
            answer = Answer("refused", str(error))
        except (Unavailable, OSError) as error:
            answer = Answer("failed", str(error))
        level = logging.INFO if answer.outcome == "done" else logging.WARNING
        logger.log(level, "%s: %s: %s: %s", who, asked, answer.outcome, requests.shown(answer.text, 500))
        speaker.say(answer)


def peer_of(connection: socket.socket) -> Peer:
    """Return who connected."""
    return Peer(*_CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))


def check_peer(peer: Peer, user: str) -> None:
    """Raise NotAuthorized unless the other end is root or `user`."""
    allowed = {0}
    try:
        allowed.add(pwd.getpwnam(user).pw_uid)
    except KeyError:
        logger.warning("There is no user %s", user)
    if peer.uid not in allowed:
        raise NotAuthorized(f"only root and {user} may ask")


def _read_request(connection: socket.socket) -> bytes:
    deadline = time.monotonic() + ASK_WITHIN_S
    data = b""
    while b"\n" not in data:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            chunk = connection.recv(requests.REQUEST_MAX)
        except TimeoutError as error:
            raise InvalidInput("request", f"was not there within {ASK_WITHIN_S:.0f} s") from error
        data += chunk
        if len(data) > requests.REQUEST_MAX:
            raise InvalidInput("request", f"is longer than {requests.REQUEST_MAX} bytes")
        if not chunk:
            break
    line, _, rest = data.partition(b"\n")
    if rest:
        raise InvalidInput("request", "one line is all that is read of a connection")
    return line


class _Speaker:
    """Speaks to the other end as long as it listens: what was asked for is done even if it does not any more."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._listens = True

    def tell(self, text: str) -> None:
        """Send one line on the way."""
        self.say(Line(requests.shown(text)))

    def say(self, message: Line | Answer) -> None:
        """Send a message."""
        if not self._listens:
            return
        try:
            self._connection.settimeout(_TAKE_WITHIN_S)
            self._connection.sendall(requests.encode(message))
        except OSError as error:
            logger.info("Nobody listens any more: %s", error)
            self._listens = False
