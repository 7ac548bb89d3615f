"""The whole control plane: every area's routes, put together."""

from __future__ import annotations

from functools import cache
from typing import Any

from pinthesky.model.people import Person
from pinthesky.planes import openapi
from pinthesky.planes.control_plane import (
    cameras,
    capture,
    configuration,
    connections,
    events,
    groups,
    health,
    jobs,
    modes,
    people,
    registrations,
    settings_schema,
    shares,
    storage,
    streams,
    subscriptions,
    tags,
    things,
    timeline,
    tokens,
    versions,
    videos,
)
from pinthesky.planes.home import Home
from pinthesky.planes.routing import Call, HttpAnswer, HttpRequest, Router, Routes

routes = Routes("reference")


@routes.get("/openapi.json", None, "This document")
def get_openapi(call: Call) -> dict[str, Any]:  # noqa: ARG001 - every route has its call
    """OpenAPI 3.1."""
    return document()


ROUTER = Router(
    cameras.routes,
    capture.routes,
    configuration.routes,
    settings_schema.routes,
    modes.routes,
    health.routes,
    groups.routes,
    videos.routes,
    timeline.routes,
    tags.routes,
    shares.routes,
    streams.routes,
    subscriptions.routes,
    events.routes,
    people.routes,
    tokens.routes,
    connections.routes,
    jobs.routes,
    versions.routes,
    registrations.routes,
    things.routes,
    storage.routes,
    routes,
)


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    return openapi.document(ROUTER.routes)


def serve(
    home: Home, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str, now_s: float
) -> HttpAnswer:
    """Answer a request of `person`, None for whoever has not signed in. Never raises an error of ours.

    Whether an access token is good, and whom it stands for, was found out by whoever calls this.
    """
    access = None if person is None else home.access(person)
    return ROUTER.serve(request, Call(home, access, request_id, now_s, source_ip))
