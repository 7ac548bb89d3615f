"""Changes of what is desired of a camera: checked with the device's own bounds before they reach its shadow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from msgspec.structs import replace

from pinthesky.errors import Conflict, InvalidInput, NotFound, Unavailable
from pinthesky.model.settings import REPORTED_ONLY, SECTIONS, CameraSettings, ModeSettings, parse_section
from pinthesky.model.shadow import DESIRED_MAX, canonical
from pinthesky.planes.ports import ShadowState
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.rows import TRIES_MAX

if TYPE_CHECKING:
    from pinthesky.model.identifiers import ThingName
    from pinthesky.planes.home import Home

NOTHING = ShadowState({}, {}, 0)
"""The shadow of a camera of which nothing was ever said."""

State = Mapping[str, Mapping[str, Any]]
Sections = Mapping[str, Any]
"""What somebody wants to have changed: sections with fields; null takes a field or a section out of what is desired."""
_SECTION_NAMES = frozenset(SECTIONS) | REPORTED_ONLY


class Edited(NamedTuple):
    """What is desired after a change, and the shadow's version."""

    desired: State
    version: int


def sections_of(body: Mapping[str, Any]) -> Sections:
    """A body as sections; one that names no section is the section `camera`, as older consoles send it."""
    if not body:
        raise InvalidInput("body", "must name what is to be changed")
    return body if _SECTION_NAMES.intersection(body) else {"camera": body}


def edit(home: Home, thing: ThingName, sections: Sections, *, expected_version: int | None = None) -> Edited:
    """Lay `sections` over what is desired of a camera.

    Raises InvalidInput (`section.field` and the bound), Conflict (the version is no longer the expected one),
    NotFound (no such camera).
    """
    for _ in range(TRIES_MAX):
        home.cameras.get(thing)
        before = home.shadows.get(thing) or NOTHING
        if expected_version is not None and before.version != expected_version:
            raise Conflict(f"the settings of {thing} have version {before.version} now, not {expected_version}")
        update = checked_update(sections, before.desired)
        desired = merged(before.desired, update)
        size = len(canonical(desired))
        # What has grown too large past these planes may shrink step by step.
        if size > DESIRED_MAX and size >= len(canonical(dict(before.desired))):
            raise InvalidInput("body", f"all that is desired must have at most {DESIRED_MAX} bytes, it would be {size}")
        try:
            # What was checked is what is there: another change in between would be laid under this one unseen.
            version = home.shadows.desire(thing, update, expected_version=before.version)
        except Conflict:
            continue
        _note(home, thing, has_new_mode="mode" in update)
        return Edited(desired, version)
    raise Unavailable(f"the settings of {thing} are changed by too many at once")


def checked_update(sections: Sections, desired: State) -> dict[str, dict[str, Any] | None]:
    """What is to be said to the shadow: known fields with valid values, null for what is to go."""
    update: dict[str, dict[str, Any] | None] = {}
    for name, fields in sections.items():
        if fields is None and (name in SECTIONS or name in desired):
            update[name] = None
        else:
            update[name] = _checked_section(name, fields, _fields_of(desired, name))
    return update


def merged(desired: State, update: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Mapping[str, Any]]:
    """What is desired once `update` has reached the shadow."""
    after: dict[str, Mapping[str, Any]] = dict(desired)
    for name, fields in update.items():
        if fields is None:
            after.pop(name, None)
        else:
            after[name] = _laid_over(_fields_of(desired, name), fields)
    return after


def _checked_section(name: str, fields: object, desired: Mapping[str, Any]) -> dict[str, Any]:
    after = _laid_over(desired, fields) if isinstance(fields, dict) else fields
    # A field that is not desired is the installation's, which is not known here; the defaults come nearest.
    section = parse_section(name, after, SECTIONS.get(name, CameraSettings)())
    update: dict[str, Any] = {}
    for field, value in (fields if isinstance(fields, dict) else {}).items():
        if value is None and field not in section.__struct_fields__ and field not in desired:
            raise InvalidInput(f"{name}.{field[:40]}", "is not a field of this section")
        # "null" is a value, which JSON's null in a shadow cannot be: that takes the field away.
        checked = None if value is None else getattr(section, field)
        update[field] = value if checked is None else msgspec.to_builtins(checked)
    return update


def _fields_of(desired: State, name: str) -> Mapping[str, Any]:
    # Anybody with the rights can write anything into a shadow, past these planes.
    fields = desired.get(name)
    return fields if isinstance(fields, dict) else {}


def _laid_over(before: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in {**before, **fields}.items() if value is not None}


def _note(home: Home, thing: ThingName, *, has_new_mode: bool) -> None:
    """Write down with the camera what a change of its settings means for it. Raises NotFound."""
    try:
        home.cameras.change(thing, lambda camera: with_desired_mode(home, camera) if has_new_mode else camera)
    except NotFound:
        # It was removed meanwhile, and its shadow perhaps before this change made it anew.
        home.shadows.delete(thing)
        raise


def with_desired_mode(home: Home, camera: Camera) -> Camera:
    """The camera with what is desired of its mode now, so that lists need no shadow.

    The shadow is read for each try of a change: whoever writes last has seen the last of it.
    """
    mode = desired_mode(home.shadows.get(camera.thing_name) or NOTHING)
    return replace(camera, mode=mode.mode, mode_until=None if mode.until is None else mode.until * 1000)


def desired_mode(shadow: ShadowState) -> ModeSettings:
    """What is desired of the section `mode`; the default where that is nothing, or nothing valid."""
    return _mode_in(shadow.desired)


def reported_mode(shadow: ShadowState) -> ModeSettings:
    """What the camera does of the section `mode`; what is desired where it does not say."""
    return _mode_in(shadow.reported if "mode" in shadow.reported else shadow.desired)


def is_private(home: Home, thing: ThingName, now_s: float) -> bool:
    """Whether a camera is, or is meant to be, in privacy: what was asked for counts before the camera has heard it."""
    shadow = home.shadows.get(thing) or NOTHING
    modes = (desired_mode(shadow), reported_mode(shadow))
    return any(each.mode == "privacy" and (each.until is None or each.until > now_s) for each in modes)


def _mode_in(state: State) -> ModeSettings:
    try:
        return cast("ModeSettings", parse_section("mode", _fields_of(state, "mode"), ModeSettings()))
    except InvalidInput:
        return ModeSettings()
