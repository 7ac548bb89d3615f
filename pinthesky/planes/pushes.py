"""Pushes: what happens is told to every open console whose person may see that camera, and kept for a day.

A console that was away asks for what it has missed by the id that it saw last, and drops what it has already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import msgspec

from pinthesky.errors import NotFound, Unavailable
from pinthesky.model.identifiers import ConnectionId, plain
from pinthesky.model.people import PersonId
from pinthesky.planes.authorization import Access, Permission
from pinthesky.planes.data_plane import ending
from pinthesky.planes.home import Home
from pinthesky.planes.records import rows
from pinthesky.planes.records.pushes import Prepared, Push, PushId
from pinthesky.planes.records.rows import Rows
from pinthesky.planes.records.scanning import scan
from pinthesky.planes.table import Position, Record

logger = logging.getLogger(__name__)

PERMISSION_OF = {"job_progress": Permission.OWN}
"""What a person needs in order to hear of a type; READ for all others."""


def push(home: Home, news: Push, now_s: float) -> Push:
    """Keep a push and tell the consoles. Raises Unavailable: it could not be kept, and nobody was told."""
    prepared = home.pushes.prepare(news, now_s)
    home.pushes.keep(prepared)
    post(home, prepared)
    return prepared.push


def post(home: Home, prepared: Prepared) -> None:
    """Tell the consoles what has been kept. One that does not keep up is closed: it comes back and catches up."""
    told = prepared.push
    message = b'{"event":' + msgspec.json.encode(told, enc_hook=plain) + b"}"
    hears = cache(lambda person: _hears(home, person, told))
    try:
        sockets = [each.id for each in home.sockets.managers() if each.person is not None and hears(each.person)]
    except Unavailable as error:
        logger.warning("Push %s reaches no console, which will catch up: %s", told.id, error)
        return
    for socket in sockets:
        _post(home, socket, message)


def may_hear(access: Access, told: Push) -> bool:
    """Whether a person is told of something."""
    if not access.allows(PERMISSION_OF.get(told.type, Permission.READ)):
        return False
    return access.sees_everything if told.camera is None else access.sees(told.camera)


def since(home: Home, access: Access, seen: PushId | None, *, limit: int, after: Position | None = None) -> Rows[Push]:
    """What a person has missed, in order, from ten seconds before the push that was seen last."""

    def resolve(records: Sequence[Record]) -> list[Push | None]:
        return [rows.decode(record, Push) for record in records]

    return scan(
        lambda size, position: home.pushes.since(seen, limit=size, after=position),
        resolve,
        lambda told: may_hear(access, told),
        limit=limit,
        after=after,
    )


def _hears(home: Home, person: PersonId, told: Push) -> bool:
    access = home.access_of(person)
    return access is not None and may_hear(access, told)


def _post(home: Home, socket: ConnectionId, message: bytes) -> None:
    try:
        home.connections.post(socket, message)
        return
    except (NotFound, Unavailable) as error:
        logger.info("Connection %s is closed, since it is gone or does not keep up: %s", socket, error)
    try:
        ending.close(home, socket)
    except Unavailable as error:
        logger.warning("Connection %s is not closed yet: %s", socket, error)
