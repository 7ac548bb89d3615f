"""Routes: declared once with their types, served by Lambda and by the hub, and described in OpenAPI.

A route is a plain function. Its signature says everything: `call` is who asks; parameters named in the path come from
there, `query` and `body` are msgspec structs, and the annotation of the result is the answer's type:

    @routes.get("/cameras/{thing}", Permission.READ, "One camera")
    def get_camera(call: Call, thing: ThingName) -> Camera: ...

Permissions, and whether a person sees the camera that a path names, are decided here before a function is called.
"""

from __future__ import annotations

import inspect
import logging
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pinthesky.errors import (
    Conflict,
    InvalidInput,
    InvariantBroken,
    NotAuthorized,
    NotFound,
    PinTheSkyError,
    Throttled,
    Unavailable,
)
from pinthesky.model.identifiers import Identifier, ThingName, plain

if TYPE_CHECKING:
    from pinthesky.planes.authorization import Access, Permission
    from pinthesky.planes.home import Home

logger = logging.getLogger(__name__)

BODY_MAX = 256 * 1024
QUERY_MAX = 8 * 1024
_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_FIELD_OF_PATH = re.compile(r"`\$(?:\.([^`]*))?`")

_STATUS: Sequence[tuple[type[PinTheSkyError], int]] = (
    (InvalidInput, 400),
    (NotAuthorized, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Throttled, 429),
    (Unavailable, 500),
    (InvariantBroken, 500),
)

Handler = TypeVar("Handler", bound=Callable[..., Any])


class OAuthError(PinTheSkyError):
    """A refusal with a code of OAuth (RFC 6749, 5.2; RFC 8628, 3.5), which its caller reads. Answered with 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def status_of(error: PinTheSkyError) -> int:
    """The HTTP status that says what an error says."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


@dataclass(frozen=True)
class Call:
    """Who asks, when and of which home, and under which id an answer can be found in the logs."""

    home: Home
    access: Access | None
    """None for a route that answers without signing in."""
    request_id: str
    now_s: float
    """Epoch seconds."""
    source_ip: str = ""

    @property
    def person(self) -> Access:
        """Who has signed in; a route with a permission always has one."""
        if self.access is None:
            raise InvariantBroken("a route without sign-in has asked who is signed in")
        return self.access


@dataclass(frozen=True)
class HttpRequest:
    """A request, as API Gateway or the hub's web server has read it."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer; the body is JSON, empty for 204."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class MotionJpeg(msgspec.Struct):
    """What a route answers whose answer is JPEG after JPEG: the hub's web server shows them; nobody else has any."""


MOTION_JPEG_BOUNDARY = "picture"
MOTION_JPEG = f"multipart/x-mixed-replace; boundary={MOTION_JPEG_BOUNDARY}"


class Problem(msgspec.Struct, omit_defaults=True, rename="camel"):
    """The body of every answer that is an error."""

    message: str
    request_id: str
    field: str | None = None
    error: str | None = None
    """What a program reads where a protocol of others says so (RFC 6749, 5.2)."""


@dataclass(frozen=True)
class Route:
    """One route, as its function declares it."""

    method: str
    path: str
    permission: Permission | None
    """None: answers without signing in."""
    summary: str
    area: str
    status: int
    function: Callable[..., Any]

    @property
    def operation(self) -> str:
        """The name of the operation in OpenAPI, and of the function."""
        return self.function.__name__

    @cached_property
    def types(self) -> Mapping[str, Any]:
        """The function's annotations, resolved; `return` is the answer's."""
        return typing.get_type_hints(self.function)

    @cached_property
    def path_types(self) -> Mapping[str, Any]:
        """The types of what the path names, in its order: identifiers."""
        return {name: self.types.get(name) for name in _PARAMETER.findall(self.path)}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a path of this route looks like."""
        return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", self.path))

    def check(self) -> None:
        """Raise InvariantBroken for a declaration that contradicts itself."""
        given = set(inspect.signature(self.function).parameters)
        named = set(_PARAMETER.findall(self.path))
        if "call" not in given or given - named - {"call", "query", "body"} or named - given:
            raise InvariantBroken(f"{self.method} {self.path}: {self.operation} takes {sorted(given)}")
        if wrong := [name for name, kind in self.path_types.items() if not _is_identifier(kind)]:
            raise InvariantBroken(f"{self.method} {self.path}: {wrong[0]} is no identifier")


class Routes:
    """The routes of one area of the surface, in the order of their declaration."""

    def __init__(self, area: str) -> None:
        self._area = area
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def get(self, path: str, permission: Permission | None, summary: str) -> Callable[[Handler], Handler]:
        """Declare a GET."""
        return self._declare("GET", path, permission, summary=summary, status=200)

    def post(
        self, path: str, permission: Permission | None, summary: str, *, status: int = 200
    ) -> Callable[[Handler], Handler]:
        """Declare a POST."""
        return self._declare("POST", path, permission, summary=summary, status=status)

    def put(self, path: str, permission: Permission | None, summary: str) -> Callable[[Handler], Handler]:
        """Declare a PUT."""
        return self._declare("PUT", path, permission, summary=summary, status=200)

    def delete(self, path: str, permission: Permission | None, summary: str) -> Callable[[Handler], Handler]:
        """Declare a DELETE, which answers 204."""
        return self._declare("DELETE", path, permission, summary=summary, status=204)

    def _declare(
        self, method: str, path: str, permission: Permission | None, *, summary: str, status: int
    ) -> Callable[[Handler], Handler]:
        def declared(function: Handler) -> Handler:
            self._routes.append(Route(method, path, permission, summary, self._area, status, function))
            return function

        return declared


class Router:
    """Finds the route of a request, checks what it asks for, and turns results and errors into answers."""

    def __init__(self, *areas: Routes) -> None:
        """Raises InvariantBroken where two routes are the same."""
        self.routes = [route for area in areas for route in area]
        self._by_shape: dict[tuple[str, int], list[Route]] = {}
        for route in self.routes:
            route.check()
            # Fixed names come before parameters: /cameras/stats is no camera called stats.
            same = self._by_shape.setdefault((route.method, route.path.count("/")), [])
            if any(_PARAMETER.sub("{}", other.path) == _PARAMETER.sub("{}", route.path) for other in same):
                raise InvariantBroken(f"two routes are {route.method} {route.path}")
            same.append(route)
            same.sort(key=lambda each: _PARAMETER.sub("\U0010ffff", each.path))

    def serve(self, request: HttpRequest, call: Call) -> HttpAnswer:
        """Answer `request`. Never raises."""
        try:
            return self._serve(request, call)
        except PinTheSkyError as error:
            return self._problem(error, request, call)

    def _serve(self, request: HttpRequest, call: Call) -> HttpAnswer:
        if len(request.body) > BODY_MAX:
            return _answer_problem(413, Problem(f"a body has at most {BODY_MAX} bytes", call.request_id))
        _check_text(request)
        found = self._find(request)
        if found is None:
            raise NotFound(f"there is no {request.method} {request.path[:200]}")
        route, raw = found
        if route.permission is not None:
            if call.access is None:
                return _answer_problem(401, Problem("sign in first", call.request_id))
            call.access.require(route.permission)
        arguments: dict[str, Any] = {name: kind.parse(raw[name], name) for name, kind in route.path_types.items()}
        self._check_sight(route, arguments, call)
        if "query" in route.types:
            arguments["query"] = _converted(dict(request.query), route.types["query"])
        if "body" in route.types:
            arguments["body"] = _decoded(request.body, route.types["body"])
        result = route.function(call, **arguments)
        if isinstance(result, MotionJpeg):
            return HttpAnswer(route.status, b"", {"Content-Type": MOTION_JPEG, "Cache-Control": "no-store"})
        body = b"" if route.status == 204 else msgspec.json.encode(result, enc_hook=plain)
        headers = {"Content-Type": "application/json"} if body else {}
        return HttpAnswer(route.status, body, {**headers, "Cache-Control": "no-store"})

    def _find(self, request: HttpRequest) -> tuple[Route, Mapping[str, str]] | None:
        for route in self._by_shape.get((request.method, request.path.count("/")), ()):
            found = route.pattern.fullmatch(request.path)
            if found is not None:
                return route, found.groupdict()
        return None

    def _check_sight(self, route: Route, arguments: Mapping[str, Any], call: Call) -> None:
        if call.access is None or route.permission is None:
            return
        for value in arguments.values():
            if isinstance(value, ThingName):
                call.access.require_sees(value)

    def _problem(self, error: PinTheSkyError, request: HttpRequest, call: Call) -> HttpAnswer:
        if isinstance(error, OAuthError):
            return _answer_problem(400, Problem(str(error), call.request_id, error=error.code))
        status = status_of(error)
        if isinstance(error, Throttled):
            answer = _answer_problem(status, Problem(str(error), call.request_id))
            return HttpAnswer(status, answer.body, {**answer.headers, "Retry-After": str(error.retry_after_s)})
        if isinstance(error, InvalidInput):
            return _answer_problem(status, Problem(error.reason, call.request_id, error.field))
        if status >= 500:
            logger.error("%s %s failed (%s): %s", request.method, request.path, call.request_id, error)
            return _answer_problem(status, Problem("something here does not work; try again soon", call.request_id))
        return _answer_problem(status, Problem(str(error), call.request_id))


def _check_text(request: HttpRequest) -> None:
    """Raise InvalidInput for halves of surrogate pairs, which could neither be answered nor logged."""
    try:
        "".join((request.path, *request.query, *request.query.values())).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("path", "must be UTF-8, and so must its query") from error


def _is_identifier(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Identifier)


def _answer_problem(status: int, problem: Problem) -> HttpAnswer:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return HttpAnswer(status, msgspec.json.encode(problem), headers)


def _converted(query: dict[str, str], kind: Any) -> Any:
    """The query as a struct: numbers and switches arrive as text. Raises InvalidInput with the parameter's name."""
    if sum(map(len, (*query, *query.values()))) > QUERY_MAX:
        raise InvalidInput("query", f"must have at most {QUERY_MAX} characters")
    try:
        found = msgspec.convert(query, kind, strict=False, dec_hook=_identifier)
    except msgspec.ValidationError as error:
        raise _named(error, "query") from error
    for each in msgspec.structs.fields(kind):
        # msgspec takes the text `null` for None where a number may be: a filter that somebody meant would be gone.
        if each.encode_name in query and getattr(found, each.name) is None:
            raise InvalidInput(each.encode_name, "must not be null: leave it out")
    return found


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind, dec_hook=_identifier)
    except msgspec.ValidationError as error:
        raise _named(error, "body") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("body", f"is not JSON: {error}") from error


def _identifier(kind: type, value: object) -> object:
    """`dec_hook` for msgspec: the only door to an identifier is its `parse`."""
    if issubclass(kind, Identifier):
        return kind.parse(value)
    raise NotImplementedError(kind.__name__)


def _named(error: msgspec.ValidationError, whole: str) -> InvalidInput:
    """An error with its field: msgspec says at the end of its message where the value stands."""
    cause = error.__cause__
    message = cause.reason if isinstance(cause, InvalidInput) else str(error).partition(" - at ")[0]
    found = _FIELD_OF_PATH.search(str(error))
    missing = re.search(r"missing required field `([^`]+)`|contains unknown field `([^`]+)`", message)
    parts = [found[1] if found and found[1] else "", (missing[1] or missing[2]) if missing else ""]
    return InvalidInput(".".join(part for part in parts if part) or whole, message[:1].lower() + message[1:])
