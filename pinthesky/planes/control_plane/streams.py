"""Routes of the picture streams: a camera in an `<img>` of another page, by a token of that one camera."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pinthesky.errors import Conflict, NotFound
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes import settings_edit
from pinthesky.planes.authorization import Permission
from pinthesky.planes.home import Home
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records.stream_tokens import StreamSecret, StreamToken, StreamTokenId
from pinthesky.planes.routing import Call, MotionJpeg, Routes
from pinthesky.planes.short_lists import page_of

routes = Routes("streams")

LIFETIME_MAX_S = 366 * 86_400
NOTHING = "there is nothing here, or not any more"
NOT_HERE = "this home shows no picture streams, which a hub does: watch live in the console"


class NewStreamToken(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A token to be made."""

    expires_in_seconds: (
        Annotated[int, Meta(ge=60, le=LIFETIME_MAX_S, description="Without it: until it is revoked.")] | None
    ) = None
    note: Annotated[str, Meta(max_length=200, description="For yourselves: where it is used.")] = ""


class IssuedStreamToken(Struct, kw_only=True, rename="camel"):
    """A new token. `token` is shown here and never again."""

    id: StreamTokenId
    token: StreamSecret
    path: Annotated[str, Meta(description="Where the stream is, below the address of this API.")]
    thing_name: ThingName
    created_at: EpochMs
    created_by: PersonId
    expires_at: EpochMs | None
    note: str


class StreamQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a stream."""

    token: StreamSecret


@routes.post("/cameras/{thing}/streamTokens", Permission.OPERATE, "Let others watch a camera", status=201)
def issue_stream_token(call: Call, thing: ThingName, body: NewStreamToken) -> IssuedStreamToken:
    """Whoever has the token sees this camera: until it ends or is revoked, and as long as you may see it."""
    _require_streams(call.home)
    call.home.cameras.get(thing)
    issued, secret = call.home.stream_tokens.issue(
        thing,
        call.person.person.id,
        now_ms=round(call.now_s * 1000),
        lifetime_s=body.expires_in_seconds,
        note=body.note,
    )
    return IssuedStreamToken(
        id=issued.id,
        token=secret,
        path=f"/cameras/{thing}/stream.mjpeg?token={secret}",
        thing_name=thing,
        created_at=issued.created_at,
        created_by=issued.created_by,
        expires_at=issued.expires_at,
        note=issued.note,
    )


@routes.get("/cameras/{thing}/streamTokens", Permission.OPERATE, "Tokens with which others watch a camera")
def list_stream_tokens(call: Call, thing: ThingName, query: ListQuery) -> Items[StreamToken]:
    """Those that hold good, without what opens the stream."""
    call.home.cameras.get(thing)
    tokens = call.home.stream_tokens.of_camera(thing)
    name = f"stream tokens of {thing}"
    return page_of(tokens, lambda each: str(each.id), query, tokens=call.home.page_tokens, name=name)


@routes.delete("/cameras/{thing}/streamTokens/{stream}", Permission.OPERATE, "Revoke a stream token")
def revoke_stream_token(call: Call, thing: ThingName, stream: StreamTokenId) -> None:
    """Streams that it has opened end within seconds."""
    call.home.stream_tokens.revoke(thing, stream)


@routes.get("/cameras/{thing}/stream.mjpeg", None, "Watch a camera in an <img>")
def watch_stream(call: Call, thing: ThingName, query: StreamQuery) -> MotionJpeg:
    """JPEG after JPEG, for whoever has a token of this camera. 409 while the camera is in privacy; only on a hub."""
    _require_streams(call.home)
    token = call.home.stream_tokens.opened(thing, query.token)
    access = call.home.access_of(token.created_by)
    if access is None or not access.allows(Permission.WATCH) or not access.sees(thing):
        raise NotFound(NOTHING)
    try:
        call.home.cameras.get(thing)
    except NotFound as error:
        raise NotFound(NOTHING) from error
    if settings_edit.is_private(call.home, thing, call.now_s):
        raise Conflict("this camera is in privacy")
    return MotionJpeg()


def _require_streams(home: Home) -> None:
    if not home.has_picture_streams:
        raise NotFound(NOT_HERE)
