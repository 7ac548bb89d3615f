"""Routes of the tags: what there is, which clips are under each, and which tags a clip has."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from pinthesky.model.identifiers import ThingName
from pinthesky.planes.authorization import Permission
from pinthesky.planes.control_plane import videos
from pinthesky.planes.control_plane.videos import VideoView
from pinthesky.planes.home import Home
from pinthesky.planes.listing import EpochMs, Items, ListQuery, TimedListQuery
from pinthesky.planes.records.clips import TAGS_MAX, VideoId, with_tags
from pinthesky.planes.records.tags import Tag, TagName
from pinthesky.planes.routing import Call, Routes

routes = Routes("tags")

CLIPS_AT_ONCE = 100

Description = Annotated[str, Meta(max_length=1000)]


class TagView(Struct, kw_only=True, rename="camel"):
    """A tag as people see it."""

    name: TagName
    description: str
    created_at: EpochMs


class NewTag(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A tag to be made."""

    name: TagName
    description: Description = ""


class TagChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What may be changed of a tag."""

    description: Description


class TagNames(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Tags, by name."""

    tags: Annotated[list[TagName], Meta(min_length=1, max_length=TAGS_MAX)]


class ClipReference(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A clip, by its name and its camera."""

    video: VideoId
    thing_name: ThingName


class ClipReferences(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Clips."""

    videos: Annotated[list[ClipReference], Meta(min_length=1, max_length=CLIPS_AT_ONCE)]


@routes.get("/tags", Permission.READ, "Tags, by their names")
def list_tags(call: Call, query: ListQuery) -> Items[TagView]:
    """Everybody sees all tags; which clips are under them is another matter."""
    after = call.home.page_tokens.open(query.next_token, "tags")
    page = call.home.tags.page(limit=query.limit, after=after)
    return Items(items=[_view(tag) for tag in page.rows], next_token=call.home.page_tokens.seal(page.next, "tags"))


@routes.post("/tags", Permission.OPERATE, "Make a tag", status=201)
def add_tag(call: Call, body: NewTag) -> TagView:
    """409 where there is one of that name."""
    tag = Tag(name=body.name, description=body.description, created_at=round(call.now_s * 1000))
    call.home.tags.add(tag)
    return _view(tag)


@routes.get("/tags/{tag}", Permission.READ, "One tag")
def get_tag(call: Call, tag: TagName) -> TagView:
    """As in the list."""
    return _view(call.home.tags.get(tag))


@routes.put("/tags/{tag}", Permission.OPERATE, "Describe a tag")
def change_tag(call: Call, tag: TagName, body: TagChange) -> TagView:
    """Its name stays: clips are found by it."""
    return _view(call.home.tags.change(tag, lambda before: replace(before, description=body.description)))


@routes.delete("/tags/{tag}", Permission.OPERATE, "Remove a tag")
def remove_tag(call: Call, tag: TagName) -> None:
    """Its clips stay."""
    call.home.tags.get(tag)
    call.home.tags.remove(tag)
    call.home.clips.clear_tag(tag)


@routes.get("/tags/{tag}/videos", Permission.READ, "Clips under a tag, the newest first")
def list_tagged_videos(call: Call, tag: TagName, query: TimedListQuery) -> Items[VideoView]:
    """Only those of cameras that this person sees."""
    call.home.tags.get(tag)
    asked = videos.CameraVideosQuery(
        limit=query.limit,
        next_token=query.next_token,
        start_time=query.start_time,
        end_time=query.end_time,
        sort_order=query.sort_order,
    )
    return videos.listed(call, asked, tag=tag)


@routes.post("/tags/{tag}/videos", Permission.OPERATE, "Put clips under a tag")
def tag_videos(call: Call, tag: TagName, body: ClipReferences) -> Items[VideoView]:
    """Answers the clips as they are now. 404 names the first that is not there; those before it are under the tag."""
    for each in body.videos:
        call.person.require_sees(each.thing_name)
    tagged = [_tag(call.home, each.thing_name, each.video, names={tag}) for each in body.videos]
    return Items(items=tagged)


@routes.get("/videos/{video}/cameras/{thing}/tags", Permission.READ, "Tags of a clip")
def list_video_tags(call: Call, video: VideoId, thing: ThingName) -> Items[TagName]:
    """By their names, all on one page."""
    return Items(items=[TagName(name) for name in call.home.clips.get(thing, video).tags])


@routes.post("/videos/{video}/cameras/{thing}/tags", Permission.OPERATE, "Put a clip under tags")
def tag_video(call: Call, video: VideoId, thing: ThingName, *, body: TagNames) -> VideoView:
    """Under all of them, or, where one is not there, under none."""
    return _tag(call.home, thing, video, names=set(body.tags))


@routes.delete("/videos/{video}/cameras/{thing}/tags/{tag}", Permission.OPERATE, "Take a clip from under a tag")
def untag_video(call: Call, video: VideoId, thing: ThingName, *, tag: TagName) -> None:
    """One that is not under it is no error."""
    call.home.clips.change(thing, video, lambda before: with_tags(before, {*before.tags} - {tag}))


def _tag(home: Home, thing: ThingName, video: VideoId, *, names: set[TagName]) -> VideoView:
    for name in sorted(names):
        home.tags.get(name)
    needed = [home.tags.needed(name) for name in sorted(names)]
    clip = home.clips.change(thing, video, lambda before: with_tags(before, {*before.tags, *names}), needs=needed)
    return videos.view(home, clip)


def _view(tag: Tag) -> TagView:
    return TagView(name=tag.name, description=tag.description, created_at=tag.created_at)
