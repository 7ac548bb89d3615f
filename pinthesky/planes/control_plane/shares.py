"""Routes of the shares: links with which anybody may see one clip for a while."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.authorization import Permission
from pinthesky.planes.control_plane.videos import clip_url, thumbnail_url
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import VideoId
from pinthesky.planes.records.scanning import scan
from pinthesky.planes.records.shares import PARTITION, Share, ShareId, ShareToken
from pinthesky.planes.routing import Call, Routes

routes = Routes("shares")

LIFETIME_MAX_S = 30 * 86_400
URL_S = 600
"""For how long the address that a link gives holds good: long enough to begin, and revoking counts soon."""


class NewShare(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A clip to be shared."""

    expires_in_seconds: Annotated[int, Meta(ge=60, le=LIFETIME_MAX_S)] = 86_400
    note: Annotated[str, Meta(max_length=200, description="For yourselves: whom it is for.")] = ""


class ShareView(Struct, kw_only=True, rename="camel"):
    """A share, as those see it who may revoke it."""

    id: ShareId
    video: VideoId
    thing_name: ThingName
    created_at: EpochMs
    created_by: PersonId
    expires_at: EpochMs
    note: str
    url: Annotated[str, Meta(description="The link to be given away; whoever has it sees the clip.")]


class SharedClip(Struct, kw_only=True, rename="camel"):
    """A clip, as those see it who have its link."""

    camera_name: str
    started_at: EpochMs
    duration_seconds: float
    url: Annotated[str, Meta(description="Where the clip can be fetched, for some minutes.")]
    thumbnail_url: str | None
    expires_at: Annotated[EpochMs, Meta(description="When the link ends.")]


@routes.post("/videos/{video}/cameras/{thing}/share", Permission.OPERATE, "Share a clip", status=201)
def share_video(call: Call, video: VideoId, thing: ThingName, *, body: NewShare) -> ShareView:
    """The link ends at its time, when it is revoked, and with the clip."""
    call.home.clips.get(thing, video)
    now_ms = round(call.now_s * 1000)
    share = Share(
        id=ShareId.new(),
        thing_name=thing,
        video=video,
        created_at=now_ms,
        created_by=call.person.person.id,
        expires_at=now_ms + body.expires_in_seconds * 1000,
        note=body.note,
    )
    call.home.shares.add(share)
    return _view(call, share)


@routes.get("/videos/{video}/cameras/{thing}/share", Permission.OPERATE, "Shares of a clip")
def list_video_shares(call: Call, video: VideoId, thing: ThingName, *, query: ListQuery) -> Items[ShareView]:
    """Those that hold good."""
    call.home.clips.get(thing, video)
    return _listed(call, query, thing=thing, video=video)


@routes.get("/shares", Permission.OPERATE, "Shares of all clips")
def list_shares(call: Call, query: ListQuery) -> Items[ShareView]:
    """Those that hold good, of cameras that this person sees."""
    return _listed(call, query)


@routes.delete("/shares/{share}", Permission.OPERATE, "Revoke a share")
def revoke_share(call: Call, share: ShareId) -> None:
    """The link ends at once; what somebody fetches already may go on for minutes."""
    found = call.home.shares.get(share)
    if not call.person.sees(found.thing_name):
        raise NotFound(f"there is no share {share}")
    call.home.shares.revoke(share)


@routes.get("/share/{token}", None, "A shared clip")
def open_share(call: Call, token: ShareToken) -> SharedClip:
    """A fresh address of the clip. 404 for a link that ended, was revoked or never was: which, nobody is told."""
    share = call.home.shares.opened(token)
    try:
        clip = call.home.clips.get(share.thing_name, share.video)
        fetched = clip_url(call, clip, URL_S, download=False)
    except NotFound as error:
        raise NotFound("there is nothing here, or not any more") from error
    try:
        name = call.home.cameras.get(share.thing_name).display_name
    except NotFound:
        name = ""
    return SharedClip(
        camera_name=name,
        started_at=clip.started_at,
        duration_seconds=clip.duration_seconds,
        url=fetched.url,
        thumbnail_url=thumbnail_url(call.home, clip, URL_S),
        expires_at=share.expires_at,
    )


def _listed(
    call: Call, query: ListQuery, *, thing: ThingName | None = None, video: VideoId | None = None
) -> Items[ShareView]:
    name = f"shares of {thing} {video}"

    def keep(share: Share) -> bool:
        return (thing is None or (share.thing_name, share.video) == (thing, video)) and call.person.sees(
            share.thing_name
        )

    found = scan(
        lambda size, at: call.home.table.query(PARTITION, limit=size, after=at),
        lambda records: [rows.decode(record, Share) for record in records],
        keep,
        limit=query.limit,
        after=call.home.page_tokens.open(query.next_token, name),
    )
    items = [_view(call, share) for share in found.rows]
    return Items(items=items, next_token=call.home.page_tokens.seal(found.next, name))


def _view(call: Call, share: Share) -> ShareView:
    return ShareView(
        id=share.id,
        video=share.video,
        thing_name=share.thing_name,
        created_at=share.created_at,
        created_by=share.created_by,
        expires_at=share.expires_at,
        note=share.note,
        url=f"{call.home.console}/share/{call.home.shares.token(share.id)}",
    )
