"""Routes of a camera's settings: what is desired, what it does, and what it has refused."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import REPORTED_ONLY, SECTIONS
from pinthesky.model.shadow import fingerprint
from pinthesky.planes import settings_edit
from pinthesky.planes.authorization import Permission
from pinthesky.planes.ports import ShadowState
from pinthesky.planes.routing import Call, Routes

routes = Routes("configuration")

STATES = frozenset({"desired", "reported"})
DOCUMENTS = frozenset(SECTIONS) | REPORTED_ONLY

Names = Annotated[str, Meta(min_length=1, max_length=400)]
Sections = dict[str, Any]
_SETTLED = "Whether the camera has dealt with what is desired now; null for one that does not tell."
Version = Annotated[int, Meta(ge=0, description="Of the shadow; grows with every change, also by the camera.")]


class ConfigurationQuery(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is to be answered."""

    document: Annotated[Names, Meta(description="Only these sections, divided by commas.")] | None = None
    state: Annotated[Names, Meta(description="`desired`, `reported`, or both, divided by a comma.")] | None = None


class ConfigurationEditQuery(ConfigurationQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is to be answered, and of which version the change was made."""

    expected_version: Version | None = None


class Configuration(Struct, kw_only=True, rename="camel"):
    """The settings of a camera, by section and field as in its shadow."""

    thing_name: ThingName
    version: Version
    desired: Annotated[Sections, Meta(description="What was asked for.")] | None
    reported: Annotated[Sections, Meta(description="What the camera does; `sync` says what it has refused.")] | None
    settled: Annotated[bool, Meta(description=_SETTLED)] | None


@routes.get("/cameras/{thing}/configuration", Permission.READ, "A camera's settings")
def get_configuration(call: Call, thing: ThingName, query: ConfigurationQuery) -> Configuration:
    """`version` 0 is that of a camera of which nothing was ever said."""
    _check(query)
    call.home.cameras.get(thing)
    return _answer(thing, call.home.shadows.get(thing) or settings_edit.NOTHING, query)


@routes.post("/cameras/{thing}/configuration", Permission.OPERATE, "Change a camera's settings")
def change_configuration(
    call: Call, thing: ThingName, *, query: ConfigurationEditQuery, body: dict[str, Any]
) -> Configuration:
    """Sections with fields, laid over what is desired; null takes a field or a section out of it.

    A body that names no section is the section `camera`. 409 where the version is no longer the expected one.
    """
    _check(query)
    sections = settings_edit.sections_of(body)
    edited = settings_edit.edit(call.home, thing, sections, expected_version=query.expected_version)
    now = call.home.shadows.get(thing) or settings_edit.NOTHING
    # The camera may have answered already; what was asked for here is what this answer says.
    return _answer(thing, ShadowState(edited.desired, now.reported, edited.version), query)


def _answer(thing: ThingName, shadow: ShadowState, query: ConfigurationQuery) -> Configuration:
    asked = STATES if query.state is None else frozenset(query.state.split(","))
    return Configuration(
        thing_name=thing,
        version=shadow.version,
        desired=_chosen(shadow.desired, query) if "desired" in asked else None,
        reported=_chosen(shadow.reported, query) if "reported" in asked else None,
        settled=_is_settled(shadow),
    )


def _is_settled(shadow: ShadowState) -> bool | None:
    sync = shadow.reported.get("sync")
    if not isinstance(sync, dict):
        return None
    return bool(sync.get("fingerprint") == fingerprint(dict(shadow.desired)))


def _chosen(sections: settings_edit.State, query: ConfigurationQuery) -> Sections:
    chosen = sections if query.document is None else query.document.split(",")
    return {name: sections[name] for name in chosen if name in sections}


def _check(query: ConfigurationQuery) -> None:
    for field, value, known in (("document", query.document, DOCUMENTS), ("state", query.state, STATES)):
        wrong = sorted(set(value.split(",")) - known) if value is not None else []
        if wrong:
            raise InvalidInput(field, f"must be of {', '.join(sorted(known))}, got {wrong[0][:40]!r}")
