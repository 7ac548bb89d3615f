"""Browsers at the hub's own pages: from where they ask, how often, and the cookie of whoever is signed in."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from pinthesky.errors import NotAuthorized
from pinthesky.hub.openid import OpenIdError
from pinthesky.hub.pages import page
from pinthesky.hub.rate_limits import RateLimit
from pinthesky.hub.sessions import Session, Sessions
from pinthesky.hub.small_bodies import BodyMissing, read_body
from pinthesky.model.networks import network_of

COOKIE = "pits_session"
AUTHORIZE = "/oauth2/authorize"
FORM_MAX = 8 * 1024
TRIES_PER_MINUTE = 20
"""Of one address, or one household's IPv6 network: every wrong answer to what asks for a secret."""


class Browsers:
    """`is_origin` tells whether `scheme://host[:port]` is an address of this hub."""

    def __init__(self, sessions: Sessions, is_origin: Callable[[str], bool]) -> None:
        self._sessions = sessions
        self._is_origin = is_origin
        self._tries = RateLimit(TRIES_PER_MINUTE, 60.0)

    def origin_of(self, request: Request) -> str:
        """The hub's address as this browser sees it. Raises OpenIdError."""
        origin = _asked_at(request)
        if not self._is_origin(origin):
            raise OpenIdError("invalid_request", f"{origin} is no address of this hub: add its name in hub.toml")
        return origin

    def is_from_here(self, request: Request) -> bool:
        """Whether one of our own pages sends this: browsers name the page's origin with every POST."""
        origin = request.headers.get("origin", "").lower()
        return origin == _asked_at(request) and self._is_origin(origin)

    def may_try(self, request: Request) -> bool:
        """Whether this address has not tried too often; counts it."""
        return self._tries.allows(network_of(source_ip(request)))

    def was_right(self, request: Request) -> None:
        """Count a try no more: it was no guess. A household behind one address may sign in as often as it likes."""
        self._tries.give_back(network_of(source_ip(request)))

    def session_of(self, request: Request) -> Session | None:
        """The session of a browser that is signed in."""
        try:
            return self._sessions.of_secret(request.cookies.get(COOKIE, ""))
        except NotAuthorized:
            return None

    def remember(self, request: Request, answer: Response, secret: str) -> Response:
        """Have the browser keep the secret of its session."""
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, secret, max_age=self._sessions.session_s, httponly=True, secure=secure, samesite="lax"
        )
        return answer

    def forget(self, answer: Response) -> Response:
        """Have the browser forget it."""
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer


def source_ip(request: Request) -> str:
    """The address that asks; empty where it is not known."""
    return "" if request.client is None else request.client.host


def too_often() -> Response:
    """The answer to one try too many."""
    return page("Too many tries", "<p>Wait a minute, then try again.</p>", status=429)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; what is too long, too slow or cannot be read is as good as empty."""
    try:
        body = await read_body(request, limit=FORM_MAX)
        if len(body) > FORM_MAX:
            return {}
        return dict(parse_qsl(body.decode("ascii"), errors="strict", max_num_fields=20))
    except (BodyMissing, ValueError):
        return {}


def kept_next(following: str) -> str:
    """Where to go on after signing in: only back to `authorize`, which checks the rest."""
    return following if following.startswith(f"{AUTHORIZE}?") and len(following) <= FORM_MAX // 2 else ""


def safe_next(following: str) -> str:
    """The same, or the console."""
    return kept_next(following) or "/"


def _asked_at(request: Request) -> str:
    """The origin that a request names as ours."""
    return f"{request.url.scheme}://{request.headers.get('host', '').lower()}"
