"""The built console: static files, the settings that tell it where its home is, and headers that allow it that much."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import NotFound
from pinthesky.hub.browsers import AUTHORIZE
from pinthesky.hub.control_plane_site import ANY_PATH, PREFIX
from pinthesky.hub.pages import page
from pinthesky.hub.tokens import CLIENT_ID
from pinthesky.machine.shipped import Kind, folder_of

SETTINGS = {
    "api": PREFIX,
    "socket": "/socket",
    "authorize": AUTHORIZE,
    "token": "/oauth2/token",
    "signOut": "/sign-out",
    "passkeys": "/sign-in/passkeys",
    "clientId": CLIENT_ID,
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
# Where they say something else, or more, than `safe_headers`, which every answer has.
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_REFERENCE = "http-api.html"
_REFERENCE_HEADERS = {
    **_HEADERS,
    # It brings its own style, and runs nothing.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"
_MISSING = (
    "<p>The console is not part of this installation. In a checkout <code>make console</code> builds it.</p>"
    "<p><a href='/trust'>Trust this hub</a></p>"
)


class ConsoleSite:
    """Everything that no other route has taken: a file of the console, or its first page for the paths within it."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` holds index.html; the one that came with the package unless given."""
        self._folder = _shipped("console") if folder is None else folder
        self._reference = _shipped("reference")
        self._files = {} if self._folder is None else _files_of(self._folder)

    def routes(self) -> list[BaseRoute]:
        """`/settings.json`, `/reference`, and whatever is left. They come last."""
        return [
            Route("/settings.json", self._settings),
            Route("/reference", self._serve_reference),
            Route(f"/{ANY_PATH}", self._serve),
        ]

    async def _settings(self, _: Request) -> Response:
        return JSONResponse(SETTINGS, headers={**_HEADERS, "Cache-Control": _ASK_EACH_TIME})

    async def _serve_reference(self, _: Request) -> Response:
        """What the HTTP API can do, for people."""
        if self._reference is None or not (self._reference / _REFERENCE).is_file():
            return page("Not found", "<p>The reference is not part of this installation.</p>", status=404)
        headers = {**_REFERENCE_HEADERS, "Cache-Control": _ASK_EACH_TIME}
        return FileResponse(self._reference / _REFERENCE, headers=headers)

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["path"]
        found = self._files.get(name)
        if found is not None and name != "index.html":
            # Names in assets/ hold a hash of what is in them.
            lasting = _FOR_EVER if name.startswith("assets/") else _ASK_EACH_TIME
            return FileResponse(found, headers={**_HEADERS, "Cache-Control": lasting})
        last = name.rpartition("/")[2]
        if "." in last and name != "index.html":
            return page("Not found", "<p><a href='/'>To the console</a></p>", status=404)
        index = self._files.get("index.html")
        if index is None:
            return page("The hub runs", _MISSING)
        return FileResponse(index, headers={**_HEADERS, "Cache-Control": _ASK_EACH_TIME})


def _shipped(kind: Kind) -> Path | None:
    try:
        return folder_of(kind)
    except NotFound:
        return None


def _files_of(folder: Path) -> dict[str, Path]:
    """Every file by its path: what is not here is not served, however it is asked for."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
