"""The control plane over HTTP: reads a request, finds out who asks, and hands it to the planes in a worker thread."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Protocol

from anyio import CapacityLimiter, to_thread
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import NotAuthorized
from pinthesky.hub.picture_streams import PictureStream, PictureStreams
from pinthesky.hub.rate_limits import RateLimit
from pinthesky.hub.small_bodies import BodyMissing, read_body
from pinthesky.model.identifiers import ThingName
from pinthesky.model.networks import network_of
from pinthesky.model.people import Person
from pinthesky.planes.routing import BODY_MAX, MOTION_JPEG, HttpAnswer, HttpRequest

logger = logging.getLogger(__name__)

PREFIX = "/api"
METHODS = ["GET", "POST", "PUT", "DELETE"]
THREADS = 16
REQUESTS_PER_MINUTE = 1200
STRANGERS_PER_MINUTE = 120
"""Requests without a token, or with one that is no good, of one address or one household's IPv6 network."""
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class _AnyPath(Convertor[str]):
    """What is left of a path, line breaks included: they are no reason to answer in another form."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyPath())
ANY_PATH = "{path:any}"
"""Of a route: takes everything that is left, as `path`."""

PersonOf = Callable[[str], Person]
"""Who shows an access token. Raises NotAuthorized."""


class Serve(Protocol):
    """The planes' way in."""

    def __call__(self, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str) -> HttpAnswer:
        """Answer. Never raises an error of ours."""
        ...


class ControlPlaneSite:
    """Everything below PREFIX. `Authorization: Bearer <access token>` says who asks."""

    def __init__(self, serve: Serve, person_of: PersonOf, streams: PictureStreams) -> None:
        """`streams` shows what the planes answer with JPEG after JPEG."""
        self._serve = serve
        self._person_of = person_of
        self._streams = streams
        self._by_person = RateLimit(REQUESTS_PER_MINUTE, 60.0)
        self._by_address = RateLimit(STRANGERS_PER_MINUTE, 60.0)
        self._limiter: CapacityLimiter | None = None

    def routes(self) -> list[BaseRoute]:
        """All routes of the control plane."""
        return [Route(f"{PREFIX}/{ANY_PATH}", self._answer, methods=METHODS)]

    async def _answer(self, request: Request) -> Response:
        if self._limiter is None:
            self._limiter = CapacityLimiter(THREADS)
        request_id = secrets.token_hex(8)
        try:
            body = await read_body(request, limit=BODY_MAX)  # one byte more than the planes take: they answer 413
        except BodyMissing as error:
            return _problem(400, str(error), request_id)
        return await to_thread.run_sync(self._response, request, body, request_id, limiter=self._limiter)

    def _response(self, request: Request, body: bytes, request_id: str) -> Response:
        source_ip = "" if request.client is None else request.client.host
        try:
            person = self._signed_in(request)
        except NotAuthorized as error:
            if not self._by_address.allows(network_of(source_ip)):
                return _too_many(request_id)
            answer = _problem(401, str(error), request_id)
            answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
            return answer
        by, name = (self._by_address, network_of(source_ip)) if person is None else (self._by_person, str(person.id))
        if not by.allows(name):
            return _too_many(request_id)
        asked = HttpRequest(
            method="GET" if request.method == "HEAD" else request.method,
            path=request.scope["path"].removeprefix(PREFIX),
            query=dict(request.query_params),
            body=body,
        )
        answered = self._answered(asked, person, request_id, source_ip=source_ip)
        if request.method == "GET" and answered.headers.get("Content-Type") == MOTION_JPEG:
            return self._stream(asked, request_id, source_ip)
        return Response(answered.body, answered.status, headers={**_HEADERS, **answered.headers})

    def _answered(self, asked: HttpRequest, person: Person | None, request_id: str, *, source_ip: str) -> HttpAnswer:
        try:
            return self._serve(asked, person, request_id=request_id, source_ip=source_ip)
        except Exception:
            logger.exception("%s %s failed (%s)", asked.method, asked.path[:200], request_id)
            body = _problem(500, "something here does not work; try again soon", request_id).body
            return HttpAnswer(500, bytes(body), {"Content-Type": "application/json"})

    def _stream(self, asked: HttpRequest, request_id: str, source_ip: str) -> Response:
        """What was allowed once goes on for as long as it would be allowed again."""

        def is_welcome() -> bool:
            status = self._answered(asked, None, request_id, source_ip=source_ip).status
            return not 400 <= status < 500

        return PictureStream(
            self._streams,
            ThingName(asked.path.split("/")[2]),
            is_welcome=is_welcome,
            too_many=lambda error: _too_many(request_id, str(error), error.retry_after_s),
        )

    def _signed_in(self, request: Request) -> Person | None:
        """Who asks; None for whoever shows nothing at all. Raises NotAuthorized."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        return self._person_of(token.strip() if scheme.lower() == "bearer" else "")


def _too_many(request_id: str, message: str = "too many requests; wait a moment", retry_after_s: int = 5) -> Response:
    answer = _problem(429, message, request_id)
    answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def _problem(status: int, message: str, request_id: str) -> Response:
    return JSONResponse({"message": message, "requestId": request_id}, status, headers=_HEADERS)
