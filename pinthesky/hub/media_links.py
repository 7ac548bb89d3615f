"""Links to clips and pictures for browsers: good for some minutes, for one object, and for whoever has them."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import NotFound
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.object_reads import Download, headers_of, is_unchanged, range_of, unchanged
from pinthesky.hub.refusals import Refusal
from pinthesky.hub.signatures import SignedRequest
from pinthesky.model.identifiers import MediaKey

PATH = "/media/"
LIFETIME_MAX_S = 7 * 24 * 3600
"""As long as S3's presigned addresses."""
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}")


class MediaLinks:
    """Makes links and serves them. Who follows one needs no sign-in; who makes one up gets nothing."""

    def __init__(self, folder: MediaFolder, secret: bytes, *, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._secret = hmac.digest(secret, b"media links", hashlib.sha256)
        self._now_s = now_s

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        """A link below the console's address. With `download_as` browsers save the object under that name."""
        until = int(self._now_s()) + min(lifetime_s, LIFETIME_MAX_S)
        name = download_as if download_as is not None and _FILE_NAME.fullmatch(download_as) else ""
        query = {"until": str(until), **({"name": name} if name else {}), "seal": self._seal(key, until, name)}
        return f"{PATH}{quote(key)}?{urlencode(query)}"

    def routes(self) -> list[BaseRoute]:
        """GET and HEAD below `/media/`."""
        return [Route(f"{PATH}{{key:path}}", self._serve)]

    async def _serve(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request)

    def _answer(self, request: Request) -> Response:
        key, name = request.path_params["key"], request.query_params.get("name", "")
        until = request.query_params.get("until", "")
        if not (until.isdecimal() and len(until) < 12 and len(key) <= 400 and len(name) <= 128):
            return _refused()
        seal = self._seal(key, int(until), name)
        given = request.query_params.get("seal", "").encode("utf-8", "replace")
        if not hmac.compare_digest(seal.encode(), given) or int(until) <= self._now_s():
            return _refused()
        try:
            record, file = self._folder.open(key)
        except NotFound:
            return PlainTextResponse("This recording is not here any more.", 404, headers=_HEADERS)
        asked = SignedRequest.of(request.scope)
        headers = {**headers_of(record, asked, {}), **_HEADERS}
        if name:
            headers["content-disposition"] = f'attachment; filename="{name}"'
        try:
            if is_unchanged(record, asked):
                file.close()
                return unchanged(headers)
            found = range_of(record, asked, record.size)
        except Refusal as refusal:
            file.close()
            return PlainTextResponse(str(refusal), refusal.status, headers=_HEADERS)
        if request.method == "HEAD":
            file.close()
            return Response(headers={**headers, "content-length": str(record.size)})
        if found is None:
            return Download(file, start=0, size=record.size, status=200, headers=headers)
        start, size = found
        headers["content-range"] = f"bytes {start}-{start + size - 1}/{record.size}"
        return Download(file, start=start, size=size, status=206, headers=headers)

    def _seal(self, key: str, until: int, name: str) -> str:
        said = f"{key}\n{until}\n{name}".encode("utf-8", "replace")
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()


_HEADERS = {"cache-control": "private, max-age=300", "referrer-policy": "no-referrer"}


def _refused() -> Response:
    return PlainTextResponse("This link is not good any more.", 403, headers={"cache-control": "no-store"})
