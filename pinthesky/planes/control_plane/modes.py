"""Routes of the modes: what cameras are there for now, for all of them, a group, or one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.planes import settings_edit, visible_cameras
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.routing import Call, Routes

routes = Routes("modes")

AT_ONCE = 8
"""How many shadows are spoken to at the same time."""
UNTIL_MAX_MS = 4_102_444_800_000
"""As the device's own bound: the year 2100."""

Mode = Literal["armed", "home", "away", "privacy"]
Result = TypeVar("Result")


class ModeOrder(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A mode, for all cameras, or those of a group, or one."""

    mode: Mode
    until: Annotated[EpochMs, Meta(description="From then on armed again.")] | None = None
    group: GroupName | None = None
    camera: ThingName | None = None


class ModeFailure(Struct, kw_only=True, rename="camel"):
    """A camera whose mode could not be set, and why."""

    thing_name: ThingName
    message: str


class ModeResult(Struct, kw_only=True, rename="camel"):
    """What became of an order. The cameras themselves answer with what they did to their settings."""

    changed: list[ThingName]
    failed: list[ModeFailure]


class CameraMode(Struct, kw_only=True, rename="camel"):
    """What a camera is there for."""

    thing_name: ThingName
    mode: Annotated[Mode, Meta(description="What holds now: as it reported, or armed where that has ended.")]
    until: EpochMs | None
    desired: Annotated[Mode, Meta(description="What was asked for last, and has not ended.")]
    settled: Annotated[bool, Meta(description="Whether the camera does what was asked for.")]


@routes.get("/modes", Permission.READ, "What every camera is there for now")
def list_modes(call: Call, query: ListQuery) -> Items[CameraMode]:
    """From the shadows, in the order of the cameras."""
    page = visible_cameras.page(call.home, call.person, query, name="modes")
    found = _for_each(page.cameras, lambda camera: _mode_of(call, camera))
    return Items(items=found, next_token=page.token)


@routes.put("/modes", Permission.OPERATE, "Set the mode of all cameras, of a group's, or of one")
def set_modes(call: Call, body: ModeOrder) -> ModeResult:
    """A change of the section `mode` of each. Where some fail the others are done all the same."""
    _check(body, round(call.now_s * 1000))
    cameras = _chosen(call, body)
    until_s = None if body.until is None else body.until // 1000
    section: dict[str, Any] = {"mode": {"mode": body.mode, "until": until_s}}

    def order(camera: Camera) -> PinTheSkyError | None:
        try:
            settings_edit.edit(call.home, camera.thing_name, section)
        except PinTheSkyError as error:
            return error
        return None

    outcomes = list(zip(cameras, _for_each(cameras, order), strict=True))
    errors = [error for _, error in outcomes if error is not None]
    if errors and len(errors) == len(cameras):
        raise errors[0]
    return ModeResult(
        changed=[camera.thing_name for camera, error in outcomes if error is None],
        failed=[
            ModeFailure(thing_name=camera.thing_name, message=_told(error))
            for camera, error in outcomes
            if error is not None
        ],
    )


def _check(order: ModeOrder, now_ms: int) -> None:
    if order.group is not None and order.camera is not None:
        raise InvalidInput("camera", "must not be given together with group")
    if order.until is None:
        return
    if order.mode == "armed":
        raise InvalidInput("until", "has no meaning with mode armed, which nothing ends")
    if not now_ms < order.until <= UNTIL_MAX_MS:
        raise InvalidInput("until", f"must lie between now and {UNTIL_MAX_MS}")


def _chosen(call: Call, order: ModeOrder) -> list[Camera]:
    if order.camera is not None:
        call.person.require_sees(order.camera)
        return [call.home.cameras.get(order.camera)]
    if order.group is None:
        return visible_cameras.every(call.home, call.person)
    call.person.require_sees_group(order.group)
    call.home.groups.get(order.group)
    return visible_cameras.every(call.home, call.person, only_of=order.group)


def _mode_of(call: Call, camera: Camera) -> CameraMode:
    shadow = call.home.shadows.get(camera.thing_name) or settings_edit.NOTHING
    desired, reported = settings_edit.desired_mode(shadow), settings_edit.reported_mode(shadow)
    wanted, _ = _now(desired.mode, desired.until, call.now_s)
    mode, until_s = _now(reported.mode, reported.until, call.now_s)
    return CameraMode(
        thing_name=camera.thing_name,
        mode=mode,
        until=None if until_s is None else until_s * 1000,
        desired=wanted,
        settled=mode == wanted,
    )


def _now(mode: Mode, until_s: int | None, now_s: float) -> tuple[Mode, int | None]:
    """A mode and its end as they hold at a time."""
    return ("armed", None) if until_s is not None and until_s <= now_s else (mode, until_s)


def _told(error: PinTheSkyError) -> str:
    if isinstance(error, InvalidInput | NotFound):
        return str(error)
    return "could not be reached; try again soon" if isinstance(error, Unavailable) else "could not be changed"


def _for_each(cameras: Iterable[Camera], ask: Callable[[Camera], Result]) -> list[Result]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, cameras))
