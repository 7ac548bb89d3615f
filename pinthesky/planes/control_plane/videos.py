"""Routes of the clips: lists with all their filters, one clip, its address, its star, and its end."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import EventId, GroupName, MediaKey, ThingName, plain
from pinthesky.model.labels import NAME_MAX
from pinthesky.planes import clip_removal
from pinthesky.planes.authorization import Permission
from pinthesky.planes.home import Home
from pinthesky.planes.listing import EpochMs, Items, TimedListQuery
from pinthesky.planes.records.clips import MS_MAX, STARRED, Clip, ClipRange, VideoId, with_star
from pinthesky.planes.records.scanning import Read, Resolve, scan
from pinthesky.planes.records.tags import TagName
from pinthesky.planes.routing import Call, Routes

routes = Routes("videos")

URL_S = 900
"""For how long the address of a clip or a thumbnail holds good."""
DESCRIPTION_MAX = 1000


class CameraVideosQuery(TimedListQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Parameters of the list of one camera's clips."""

    tag: Annotated[TagName, Meta(description="Clips under this tag.")] | None = None
    trigger: Literal["motion", "manual"] | None = None
    label: Annotated[str, Meta(max_length=NAME_MAX, description="What was recognised.")] | None = None
    starred: bool | None = None
    event_id: Annotated[EventId, Meta(description="The parts of one motion event.")] | None = None


class VideosQuery(CameraVideosQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Parameters of the list of clips."""

    camera: ThingName | None = None
    group: GroupName | None = None


class VideoView(Struct, kw_only=True, rename="camel"):
    """A clip as people see it."""

    video: VideoId
    thing_name: ThingName
    started_at: EpochMs
    stored_at: EpochMs
    duration_seconds: float
    size: Annotated[int, Meta(description="Bytes.")]
    trigger: str
    event_id: EventId | None
    part: Annotated[int, Meta(description="Of an event that has several clips, which one this is; from 1.")]
    labels: Annotated[dict[str, float], Meta(description="What was recognised, with the highest confidence.")]
    tags: list[TagName]
    starred: Annotated[bool, Meta(description="Kept until somebody says otherwise.")]
    expires_at: Annotated[EpochMs, Meta(description="When it will be gone; null: never by itself.")] | None
    description: str
    recovered: Annotated[bool, Meta(description="Made after a crash of what was there.")]
    time_uncertain: Annotated[bool, Meta(description="Named by a clock that was never known to be right.")]
    thumbnail_url: Annotated[str, Meta(description="A picture of it, for some minutes.")] | None


class VideoChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is left out stays."""

    starred: bool | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX)] | UnsetType = UNSET


class UrlQuery(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How a clip is fetched."""

    download: Annotated[bool, Meta(description="Have the browser save it under a name for people.")] = False


class VideoUrl(Struct, kw_only=True, rename="camel"):
    """Where a clip can be fetched, with ranges, by anybody."""

    url: str
    expires_at: EpochMs


def view(home: Home, clip: Clip) -> VideoView:
    """A clip as it is answered."""
    expiry_s = home.clips.expiry(clip)
    return VideoView(
        video=clip.video,
        thing_name=clip.thing_name,
        started_at=clip.started_at,
        stored_at=clip.stored_at,
        duration_seconds=clip.duration_seconds,
        size=clip.size,
        trigger=clip.trigger,
        event_id=EventId(clip.event_id) if clip.event_id else None,
        part=clip.part,
        labels=clip.labels,
        tags=[TagName(name) for name in clip.tags],
        starred=clip.starred,
        expires_at=None if expiry_s is None else expiry_s * 1000,
        description=clip.description,
        recovered=clip.recovered,
        time_uncertain=clip.time_uncertain,
        thumbnail_url=thumbnail_url(home, clip, URL_S),
    )


def thumbnail_url(home: Home, clip: Clip, lifetime_s: int) -> str | None:
    """Where a clip's picture can be fetched; None where it has none."""
    return home.media.url(MediaKey(clip.thumbnail_key), lifetime_s=lifetime_s) if clip.thumbnail_key else None


@routes.get("/videos", Permission.READ, "Clips of all cameras, the newest first")
def list_videos(call: Call, query: VideosQuery) -> Items[VideoView]:
    """All filters may be combined. A page may have few items, or none, before the list ends."""
    if query.camera is not None:
        call.person.require_sees(query.camera)
    things: frozenset[ThingName] | None = None
    if query.group is not None:
        if not call.person.sees_group(query.group):
            raise NotFound(f"there is no group {query.group}")
        call.home.groups.get(query.group)
        things = frozenset(call.home.groups.all_cameras_of([query.group]))
    return listed(call, query, camera=query.camera, things=things)


@routes.get("/cameras/{thing}/videos", Permission.READ, "Clips of a camera, the newest first")
def list_camera_videos(call: Call, thing: ThingName, query: CameraVideosQuery) -> Items[VideoView]:
    """As the list of all cameras."""
    return listed(call, query, camera=thing)


@routes.get("/videos/{video}/cameras/{thing}", Permission.READ, "One clip")
def get_video(call: Call, video: VideoId, thing: ThingName) -> VideoView:
    """As in the list."""
    return view(call.home, call.home.clips.get(thing, video))


@routes.put("/videos/{video}/cameras/{thing}", Permission.OPERATE, "Star or describe a clip")
def change_video(call: Call, video: VideoId, thing: ThingName, *, body: VideoChange) -> VideoView:
    """A starred clip never expires. Without its star a clip that is past its time stays for one more day."""
    before = call.home.clips.get(thing, video)
    if body.starred is True:
        _keep(call.home, before, kept=True)
    now_ms = round(call.now_s * 1000)

    def changed(clip: Clip) -> Clip:
        if body.starred is not UNSET:
            clip = with_star(clip, body.starred, now_ms)
        return clip if body.description is UNSET else replace(clip, description=body.description)

    after = call.home.clips.change(thing, video, changed)
    if body.starred is False:
        _keep(call.home, after, kept=False)
    return view(call.home, after)


@routes.delete("/videos/{video}/cameras/{thing}", Permission.OPERATE, "Delete a clip")
def delete_video(call: Call, video: VideoId, thing: ThingName) -> None:
    """It is gone from every list at once, and what was stored of it as soon as the store can be reached."""
    clip_removal.delete_clip(call.home, thing, video, now_s=call.now_s)


@routes.get("/videos/{video}/cameras/{thing}/url", Permission.READ, "Where a clip can be fetched")
def get_video_url(call: Call, video: VideoId, thing: ThingName, *, query: UrlQuery) -> VideoUrl:
    """Holds good for some minutes; ask again for each use."""
    clip = call.home.clips.get(thing, video)
    return clip_url(call, clip, URL_S, download=query.download)


def clip_url(call: Call, clip: Clip, lifetime_s: int, *, download: bool) -> VideoUrl:
    """A fresh address of a clip. Raises NotFound: what was stored is gone."""
    if call.home.media.describe(clip.media_key) is None:
        raise NotFound(f"{clip.thing_name} has no clip {clip.video}")
    name = _file_name(call.home, clip) if download else None
    url = call.home.media.url(clip.media_key, lifetime_s=lifetime_s, download_as=name)
    return VideoUrl(url=url, expires_at=round((call.now_s + lifetime_s) * 1000))


def listed(
    call: Call,
    query: CameraVideosQuery,
    *,
    camera: ThingName | None = None,
    things: frozenset[ThingName] | None = None,
    tag: TagName | None = None,
) -> Items[VideoView]:
    """A page of clips: of one camera, of some, or under a tag, and as the query filters them."""
    query.check()
    tag = tag or query.tag
    within = ClipRange(query.start_time or 0, MS_MAX if query.end_time is None else query.end_time)
    name = f"videos of {camera} under {tag}: {_filters(query)}"

    def keep(clip: Clip) -> bool:
        return (
            (camera is None or clip.thing_name == camera)
            and (things is None or clip.thing_name in things)
            and (tag is None or tag in clip.tags)
            and clip.started_at in within
            and _passes(query, clip)
            and call.person.sees(clip.thing_name)
        )

    read, resolve = _source(call.home, query, camera=camera, tag=tag, within=within)
    after = call.home.page_tokens.open(query.next_token, name)
    found = scan(read, resolve, keep, limit=query.limit, after=after)
    return Items(
        items=[view(call.home, clip) for clip in found.rows], next_token=call.home.page_tokens.seal(found.next, name)
    )


def _source(
    home: Home, query: CameraVideosQuery, *, camera: ThingName | None, tag: TagName | None, within: ClipRange
) -> tuple[Read, Resolve[Clip]]:
    """The shortest list that has what is asked for, and how its rows become clips."""
    clips, ascending = home.clips, query.ascending

    def of_tag(name: str) -> tuple[Read, Resolve[Clip]]:
        return (lambda size, at: clips.of_tag(name, within, ascending=ascending, limit=size, after=at), clips.members)

    if tag is not None:
        return of_tag(tag)
    if query.starred:
        return of_tag(STARRED)
    if camera is not None:
        return (
            lambda size, at: clips.of_camera(camera, within, ascending=ascending, limit=size, after=at),
            clips.decoded,
        )
    return (lambda size, at: clips.of_all(within, ascending=ascending, limit=size, after=at), clips.decoded)


def _passes(query: CameraVideosQuery, clip: Clip) -> bool:
    return (
        (query.trigger is None or clip.trigger == query.trigger)
        and (query.label is None or query.label in clip.labels)
        and (query.starred is None or clip.starred == query.starred)
        and (query.event_id is None or clip.event_id == query.event_id)
    )


def _filters(query: CameraVideosQuery) -> str:
    """The query without what changes from page to page."""
    asked = msgspec.to_builtins(query, enc_hook=plain)
    return msgspec.json.encode({k: v for k, v in asked.items() if k not in ("limit", "nextToken")}).decode()


def _keep(home: Home, clip: Clip, *, kept: bool) -> None:
    home.media.keep(clip.media_key, kept=kept)
    if clip.thumbnail_key:
        try:
            home.media.keep(MediaKey(clip.thumbnail_key), kept=kept)
        except NotFound:
            return  # a clip is worth keeping without its picture


def _file_name(home: Home, clip: Clip) -> str:
    try:
        camera = home.cameras.get(clip.thing_name).display_name
    except NotFound:
        camera = str(clip.thing_name)
    at = datetime.fromtimestamp(clip.started_at / 1000, UTC)
    suffix = clip.video.rpartition(".")[2]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', camera).strip('-') or clip.thing_name}-{at:%Y%m%d-%H%M%SZ}.{suffix}"
