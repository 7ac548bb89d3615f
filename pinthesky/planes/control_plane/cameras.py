"""Routes of the cameras: what there is, what people call them, and which groups they are in."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import GroupName, MediaKey, ThingName
from pinthesky.planes import camera_removal, visible_cameras
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.groups import OF_CAMERA_MAX, Group
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.short_lists import page_of
from pinthesky.planes.table import LIMIT_MAX

routes = Routes("cameras")

STILL_URL_S = 900
"""For how long the address of a still holds good."""

DisplayName = Annotated[str, Meta(min_length=1, max_length=100, description="What people call it.")]
Description = Annotated[str, Meta(max_length=1000)]


class CamerasQuery(ListQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Parameters of the list of cameras."""

    thing_name: Annotated[str, Meta(description="Only these: up to 100 names, divided by commas.")] | None = None


class CameraView(Struct, kw_only=True, rename="camel"):
    """A camera as people see it."""

    thing_name: ThingName
    display_name: str
    description: str
    created_at: EpochMs
    online: bool
    online_changed_at: EpochMs | None
    last_seen_at: EpochMs | None
    silent: Annotated[bool, Meta(description="Whether nothing has been heard of it for too long.")]
    fault: Annotated[str, Meta(description="Why it gives no pictures; empty when it does.")]
    recording: bool
    last_motion_at: EpochMs | None
    still_at: EpochMs | None
    still_url: Annotated[str, Meta(description="The latest picture, for some minutes.")] | None
    software_version: str
    mode: Annotated[str, Meta(description="What it is there for now, as far as was desired here.")]
    mode_until: EpochMs | None
    settings_sync: Annotated[dict[str, object], Meta(description="What became of the settings desired last.")]


class NewCamera(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A registered thing that becomes a camera."""

    thing_name: ThingName
    display_name: DisplayName | UnsetType = UNSET
    description: Description = ""


class CameraChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is left out stays."""

    display_name: DisplayName | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class RemovalQuery(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What goes with a camera."""

    clips: Literal["keep", "delete"] = "keep"


class GroupNames(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Groups, by name."""

    groups: Annotated[list[GroupName], Meta(min_length=1, max_length=OF_CAMERA_MAX)]


def view(call: Call, camera: Camera) -> CameraView:
    """A camera as it is answered."""
    now_ms = round(call.now_s * 1000)
    is_over = camera.mode_until is not None and camera.mode_until <= now_ms
    still = MediaKey(camera.still_key) if camera.still_key else None
    return CameraView(
        thing_name=camera.thing_name,
        display_name=camera.display_name,
        description=camera.description,
        created_at=camera.created_at,
        online=camera.online,
        online_changed_at=camera.online_changed_at,
        last_seen_at=camera.last_seen_at,
        silent=camera.silent,
        fault=camera.fault,
        recording=camera.recording,
        last_motion_at=camera.last_motion_at,
        still_at=camera.still_at,
        still_url=None if still is None else call.home.media.url(still, lifetime_s=STILL_URL_S),
        software_version=camera.software_version,
        mode="armed" if is_over else camera.mode,
        mode_until=None if is_over else camera.mode_until,
        settings_sync=camera.settings_sync,
    )


@routes.get("/cameras", Permission.READ, "Cameras, by the names of their things")
def list_cameras(call: Call, query: CamerasQuery) -> Items[CameraView]:
    """With `thingName` those of them that are there, in that order, on one page."""
    if query.thing_name is not None:
        found = call.home.cameras.get_many(_visible(call, query.thing_name))
        return Items(items=[view(call, camera) for camera in found])
    page = visible_cameras.page(call.home, call.person, query, name="cameras")
    return Items(items=[view(call, camera) for camera in page.cameras], next_token=page.token)


@routes.post("/cameras", Permission.OPERATE, "Adopt a registered thing as a camera", status=201)
def add_camera(call: Call, body: NewCamera) -> CameraView:
    """The thing has to be registered; 409 where it is a camera already."""
    if not call.home.things.exists(body.thing_name):
        raise InvalidInput("thingName", f"there is no registered thing {body.thing_name}")
    display_name = str(body.thing_name) if body.display_name is UNSET else body.display_name
    now_ms = round(call.now_s * 1000)
    camera = Camera(
        thing_name=body.thing_name, display_name=display_name, description=body.description, created_at=now_ms
    )
    call.home.cameras.add(camera)
    return view(call, camera)


@routes.get("/cameras/{thing}", Permission.READ, "One camera")
def get_camera(call: Call, thing: ThingName) -> CameraView:
    """As in the list."""
    return view(call, call.home.cameras.get(thing))


@routes.put("/cameras/{thing}", Permission.OPERATE, "Rename or describe a camera")
def change_camera(call: Call, thing: ThingName, body: CameraChange) -> CameraView:
    """What is left out stays."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    changed = call.home.cameras.change(thing, lambda camera: msgspec.structs.replace(camera, **given))
    return view(call, changed)


@routes.delete("/cameras/{thing}", Permission.OPERATE, "Remove a camera for good")
def remove_camera(call: Call, thing: ThingName, query: RemovalQuery) -> None:
    """Its certificate is revoked, its settings and health reports go; its clips stay until their time, or go too."""
    camera_removal.remove(call.home, thing, with_media=query.clips == "delete", now_s=call.now_s)


@routes.get("/cameras/{thing}/groups", Permission.READ, "The groups that a camera is in")
def list_groups_of_camera(call: Call, thing: ThingName, query: ListQuery) -> Items[Group]:
    """In the order of their names."""
    call.home.cameras.get(thing)
    return _groups_of(call, thing, query)


@routes.post("/cameras/{thing}/groups", Permission.OPERATE, "Put a camera into groups")
def add_camera_to_groups(call: Call, thing: ThingName, body: GroupNames) -> Items[Group]:
    """Answers all groups that it is in now."""
    call.home.cameras.get(thing)
    for group in body.groups:
        call.person.require_sees_group(group)
        call.home.groups.join(thing, group)
    return _groups_of(call, thing, ListQuery())


@routes.delete("/cameras/{thing}/groups/{group}", Permission.OPERATE, "Take a camera out of a group")
def remove_camera_from_group(call: Call, thing: ThingName, group: GroupName) -> None:
    """No error where it was not in it."""
    call.home.cameras.get(thing)
    call.person.require_sees_group(group)
    call.home.groups.leave(thing, group)


def _groups_of(call: Call, thing: ThingName, query: ListQuery) -> Items[Group]:
    names = [group for group in call.home.groups.names_of(thing) if call.person.sees_group(group)]
    chosen = page_of(names, str, query, tokens=call.home.page_tokens, name=f"groups of {thing}")
    return Items(items=call.home.groups.get_many(chosen.items), next_token=chosen.next_token)


def _visible(call: Call, names: str) -> list[ThingName]:
    asked = names.split(",")
    if len(asked) > LIMIT_MAX:
        raise InvalidInput("thingName", f"must be at most {LIMIT_MAX} names, got {len(asked)}")
    things = [ThingName.parse(name, "thingName") for name in asked]
    return [thing for thing in things if call.person.sees(thing)]
