"""Every area of the control plane that is there, put together. Replaced by the surface of the planes themselves."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pinthesky.model.people import Person
from pinthesky.planes import control_plane
from pinthesky.planes.home import Home
from pinthesky.planes.routing import Call, HttpAnswer, HttpRequest, Router, Routes


@cache
def router() -> Router:
    names = sorted(each.name for each in pkgutil.iter_modules(control_plane.__path__))
    modules = [importlib.import_module(f"{control_plane.__name__}.{name}") for name in names]
    return Router(*(each.routes for each in modules if isinstance(getattr(each, "routes", None), Routes)))


def serve(
    home: Home, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str, now_s: float
) -> HttpAnswer:
    access = None if person is None else home.access(person)
    return router().serve(request, Call(home, access, request_id, now_s, source_ip))
