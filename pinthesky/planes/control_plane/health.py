"""Routes of the health reports."""

from __future__ import annotations

import re

from msgspec import Struct

from pinthesky.model.identifiers import Identifier, ThingName
from pinthesky.planes import visible_cameras
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import EpochMs, Items, ListQuery, TimedListQuery
from pinthesky.planes.records.health import StoredReport
from pinthesky.planes.routing import Call, Routes

routes = Routes("health")


class ReportTime(Identifier):
    """The time of a report in a path."""

    __slots__ = ()
    _field = "timestamp"
    _pattern = re.compile(r"[0-9]{1,13}")
    _rule = "must be epoch milliseconds"


class ReportAsked(Struct, kw_only=True, rename="camel"):
    """A camera was asked for a report. It may be offline and never hear of it."""

    requested_at: EpochMs
    online: bool


@routes.get("/stats", Permission.READ, "The latest report of every camera")
def list_latest_reports(call: Call, query: ListQuery) -> Items[StoredReport]:
    """In the order of the cameras; one that never reported is left out."""
    page = visible_cameras.page(call.home, call.person, query, name="stats")
    things = [camera.thing_name for camera in page.cameras]
    return Items(items=call.home.health.latest(things), next_token=page.token)


@routes.get("/cameras/{thing}/stats", Permission.READ, "A camera's reports")
def list_reports(call: Call, thing: ThingName, query: TimedListQuery) -> Items[StoredReport]:
    """The latest first, unless the order is ascending."""
    query.check()
    call.home.cameras.get(thing)
    name = f"stats {thing} {query.sort_order} {query.start_time} {query.end_time}"
    page = call.home.health.page(
        thing,
        start_ms=query.start_time,
        end_ms=query.end_time,
        ascending=query.ascending,
        limit=query.limit,
        after=call.home.page_tokens.open(query.next_token, name),
    )
    return Items(items=list(page.rows), next_token=call.home.page_tokens.seal(page.next, name))


@routes.post("/cameras/{thing}/stats", Permission.OPERATE, "Ask a camera for a report", status=202)
def ask_for_report(call: Call, thing: ThingName) -> ReportAsked:
    """It arrives as a push, and in the list."""
    camera = call.home.cameras.get(thing)
    call.home.commands.send(thing, {"name": "health", "context": {}})
    return ReportAsked(requested_at=round(call.now_s * 1000), online=camera.online)


@routes.get("/cameras/{thing}/stats/{timestamp}", Permission.READ, "One report")
def get_report(call: Call, thing: ThingName, timestamp: ReportTime) -> StoredReport:
    """`timestamp` as in the list."""
    return call.home.health.get(thing, int(timestamp))
