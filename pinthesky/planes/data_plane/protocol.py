"""What travels over a WebSocket of the data plane: requests in, answers out. No I/O.

    {"action": "status", "requestId": "r-1", "payload": {}}
    {"response": {"action": "status", "requestId": "r-1", "statusCode": 200, "body": {…}}}
    {"response": {"action": "status", "requestId": "r-1", "statusCode": 404, "error": {"code": "not_found", …}}}

Beside answers, `{"event": …}` arrives when something has happened, and `{"invoke": …}` when a camera answers.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.model.commands import InvokeId
from pinthesky.model.identifiers import ConnectionId, Identifier, ThingName, plain
from pinthesky.model.people import PersonId, Role
from pinthesky.planes.data_plane.limits import MESSAGE_MAX, REQUEST_ID_MAX
from pinthesky.planes.listing import EpochMs, ListQuery
from pinthesky.planes.records.connections import Kind
from pinthesky.planes.records.pushes import PushId
from pinthesky.planes.records.tickets import SECRET_MAX
from pinthesky.planes.routing import status_of

TOKEN_MAX = 8192
"""Most characters of an access token."""

CODES = {
    400: "invalid_input",
    401: "not_signed_in",
    403: "not_allowed",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    429: "too_many_requests",
    500: "unavailable",
}
"""What `error.code` says with each `statusCode`."""


class Request(Struct, frozen=True, rename="camel"):
    """A message from a console; `payload` is read when it is known what it is for."""

    action: Annotated[str, Meta(max_length=64)]
    request_id: Annotated[str, Meta(max_length=REQUEST_ID_MAX)] | None = None
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class Failure(Struct, frozen=True):
    """Why a request was refused."""

    code: str
    message: str


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What became of a request."""

    action: str
    status_code: int
    request_id: str | None = None
    body: Any = None
    error: Failure | None = None


class LoginPayload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Who this is: a ticket, an access token, or both; neither, where the connection was opened with a ticket."""

    token_id: Annotated[str, Meta(min_length=1, max_length=SECRET_MAX)] | None = None
    jwt_id: Annotated[str, Meta(min_length=1, max_length=TOKEN_MAX)] | None = None
    manager_id: ConnectionId | None = None
    """Of a session: the manager's connection."""
    after: PushId | None = None
    """Id of the last event that was heard: what came after it is in the answer."""


class LoginBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who has logged in, and what was missed. Where `more` is true, `GET /events?after=` has the rest."""

    connection_id: ConnectionId
    manager_id: ConnectionId
    person_id: PersonId
    role: Role | None
    expires_at: EpochMs
    events: list[msgspec.Raw] = []
    more: bool = False


class StatusPayload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which connection; the one that asks where none is named."""

    connection_id: ConnectionId | None = None


class StatusBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """A connection."""

    connection_id: ConnectionId
    manager_id: ConnectionId
    kind: Kind
    connected_at: EpochMs
    last_active_at: EpochMs
    expires_at: EpochMs


class InvokedEvent(Struct, frozen=True, kw_only=True):
    """The command for a camera. `session` may stand beside the context, as older consoles write it."""

    name: Annotated[str, Meta(max_length=64)]
    context: dict[str, Any] | None = None
    session: dict[str, Any] | None = None


class InvokePayload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which camera is to do what, and which connection gets its answer."""

    camera: ThingName
    event: InvokedEvent
    invoke_id: InvokeId | None = None
    connection_id: ConnectionId | None = None


class InvokeBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """The id under which the camera will answer. Whether it does is its affair: it may be switched off."""

    invoke_id: InvokeId
    connection_id: ConnectionId


class ListSessionsPayload(ListQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Of which connection; the one that asks where none is named."""

    connection_id: ConnectionId | None = None


def read_request(message: str | bytes) -> Request:
    """A message as a request. Raises InvalidInput."""
    request: Request = _decoded(message, Request, "message")
    return request


def read_payload(payload: msgspec.Raw, kind: type[Any]) -> Any:
    """The payload of a request; null is the same as an empty one. Raises InvalidInput with its field."""
    raw = bytes(payload)
    return _decoded(b"{}" if raw == b"null" else raw, kind, "payload")


def is_too_large(message: str | bytes) -> bool:
    """Whether a message has more than MESSAGE_MAX bytes."""
    return len(message) > MESSAGE_MAX or (
        isinstance(message, str) and len(message.encode("utf-8", "replace")) > MESSAGE_MAX
    )


def answer(request: Request | None, status: int, *, body: object = None, message: str | None = None) -> bytes:
    """An answer as it travels: with a body, or with a message where it is a refusal."""
    error = None if message is None else Failure(CODES[status], message)
    action, request_id = ("", None) if request is None else (request.action, request.request_id)
    made = Answer(action=action, status_code=status, request_id=request_id, body=body, error=error)
    return msgspec.json.encode({"response": made}, enc_hook=plain)


def refusal(request: Request | None, error: PinTheSkyError) -> bytes:
    """The answer that says an error. What is broken here is for the log, not for a console."""
    status = status_of(error)
    message = "something here does not work; try again soon" if status >= 500 else str(error)
    return answer(request, status, message=message)


def _decoded(raw: str | bytes, kind: type[Any], whole: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_identifier)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, InvalidInput):
            raise cause from error
        found = re.search(r"`\$\.([^`]+)`", str(error))
        reason = str(error).partition(" - at ")[0]
        raise InvalidInput(found[1] if found else whole, reason[:1].lower() + reason[1:]) from error
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidInput(whole, f"is not JSON: {error}") from error


def _identifier(kind: type, value: object) -> object:
    """`dec_hook` for msgspec: the only door to an identifier is its `parse`."""
    if issubclass(kind, Identifier):
        return kind.parse(value)
    raise NotImplementedError(kind.__name__)
