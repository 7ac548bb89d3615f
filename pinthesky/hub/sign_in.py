"""Signing in with a browser: the pages, the session's cookie, and the endpoints of `openid`.

A link carries its secret behind `#`, which no browser sends and no log holds; the page posts it. So whoever looks at a
link beforehand, as mail scanners do, does not use it up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.hub.browsers import AUTHORIZE, Browsers, form_of, kept_next, safe_next, source_ip, too_often
from pinthesky.hub.openid import OpenIdError, OpenIdProvider
from pinthesky.hub.pages import page
from pinthesky.hub.passkey_pages import BUTTON, BUTTON_SCRIPT, PasskeyPages
from pinthesky.hub.passkeys import Passkeys, host_of
from pinthesky.hub.people import People
from pinthesky.hub.rate_limits import RateLimit
from pinthesky.hub.sessions import Session, Sessions
from pinthesky.hub.tokens import Tokens
from pinthesky.model.people import Email, Person

logger = logging.getLogger(__name__)

LINK_PAGE = "/sign-in/link"

_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_ASK = """<p id="told" role="status">{told}</p>{form}
<p>No mail? On the hub's own machine <code>pits-hub sign-in-link</code> prints a link.</p>"""
_FORM = """<form method="post" action="/sign-in"><input type="hidden" name="next" value="{next}">
<label>Your e-mail address <input name="email" type="email" autocomplete="email" required maxlength="254"></label>
<button>Send me a link</button></form>"""
_CONFIRM = """<p id="told" role="status">This link signs this browser in, once.</p>
<form method="post" action="/sign-in/link"><input type="hidden" name="secret"><input type="hidden" name="next">
<button>Sign in</button></form><noscript><p>This page needs JavaScript, as the console does.</p></noscript>"""
_CONFIRM_SCRIPT = (
    "const given=new URLSearchParams(location.hash.slice(1));const form=document.forms[0];"
    "form.secret.value=given.get('secret')||'';form.next.value=given.get('next')||'';"
    "history.replaceState(null,'',location.pathname);"
    "if(!form.secret.value){form.hidden=true;"
    "document.getElementById('told').textContent='This link is not whole. Copy all of it.'}"
)

SendLink = Callable[[Email, str], None]
"""Mails a link to an address that was invited. Raises Unavailable."""


class SignIn:
    """The routes."""

    def __init__(
        self,
        *,
        people: People,
        sessions: Sessions,
        tokens: Tokens,
        provider: OpenIdProvider,
        browsers: Browsers,
        send_link: SendLink | None,
        passkeys: Passkeys,
    ) -> None:
        self._people = people
        self._sessions = sessions
        self._tokens = tokens
        self._provider = provider
        self._browsers = browsers
        self._send_link = send_link
        self._passkeys = passkeys
        self._mails_to = RateLimit(3, 600.0)
        self._how_long = f"It works once, for {sessions.link_s // 60} minutes."

    def routes(self) -> list[BaseRoute]:
        """Pages below `/sign-in`, endpoints below `/oauth2`, and the discovery document."""
        return [
            Route("/.well-known/openid-configuration", self._configuration),
            Route("/oauth2/jwks.json", self._key_set),
            Route(AUTHORIZE, self._authorize),
            Route("/oauth2/token", self._token, methods=["POST"]),
            Route("/oauth2/revoke", self._revoke, methods=["POST"]),
            Route("/oauth2/userInfo", self._user_info),
            Route("/sign-in", self._ask),
            Route("/sign-in", self._mail_link, methods=["POST"]),
            Route(LINK_PAGE, self._confirm),
            Route(LINK_PAGE, self._redeem, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            *PasskeyPages(self._passkeys, self._browsers, people=self._people, sessions=self._sessions).routes(),
        ]

    def person_of(self, access_token: str) -> tuple[Person, Session]:
        """Who shows an access token, as of now. Raises NotAuthorized: expired, signed out, or uninvited since."""
        claims = self._tokens.verify(access_token)
        session = self._sessions.of_id(claims.session)
        if session.person != claims.person:
            raise NotAuthorized("this is no access token of this hub")
        try:
            return self._people.get(session.person), session
        except NotFound as error:
            raise NotAuthorized("nobody is invited under this token any more") from error

    async def _configuration(self, request: Request) -> Response:
        return self._json(request, self._provider.configuration)

    async def _key_set(self, _: Request) -> Response:
        return JSONResponse(self._tokens.key_set(), headers={"Cache-Control": "max-age=300"})

    async def _authorize(self, request: Request) -> Response:
        return await run_in_threadpool(self._authorized, request)

    def _authorized(self, request: Request) -> Response:
        asked = dict(request.query_params)
        try:
            issuer = self._browsers.origin_of(request)
            self._provider.check_authorization(asked, issuer)
            session = self._browsers.session_of(request)
            if session is None:
                following = urlencode({"next": f"{AUTHORIZE}?{request.url.query}"})
                return RedirectResponse(f"/sign-in?{following}", 303, headers=_NO_STORE)
            return RedirectResponse(self._provider.authorize(asked, session, issuer), 303, headers=_NO_STORE)
        except OpenIdError as error:
            # Never back to the address in the request: it may be the very thing that is wrong.
            return page("This sign-in cannot go on", f"<p>{escape(str(error))}</p>", status=400)

    async def _token(self, request: Request) -> Response:
        if not self._browsers.may_try(request):
            return too_often()
        asked = await form_of(request)
        answer = await run_in_threadpool(self._json, request, lambda issuer: self._provider.token(asked, issuer))
        if answer.status_code == 200:
            self._browsers.was_right(request)
        return answer

    async def _revoke(self, request: Request) -> Response:
        # Not counted among the tries: the answer is the same for every token, so nobody learns anything by it.
        asked = await form_of(request)
        await run_in_threadpool(self._provider.revoke, asked)
        return Response(headers=_NO_STORE)

    async def _user_info(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            person, _ = await run_in_threadpool(self.person_of, token if scheme.lower() == "bearer" else "")
        except NotAuthorized as error:
            headers = {**_NO_STORE, "WWW-Authenticate": 'Bearer error="invalid_token"'}
            return JSONResponse({"message": str(error)}, 401, headers=headers)
        info: dict[str, Any] = {"sub": str(person.id)}
        if person.email is not None:
            info |= {"email": str(person.email), "email_verified": True}
        return JSONResponse(info, headers=_NO_STORE)

    async def _ask(self, request: Request) -> Response:
        form = _FORM.format(next=escape(kept_next(request.query_params.get("next", ""))))
        told = f"You get a link by mail. {self._how_long}"
        if self._send_link is None:
            form, told = "", "Open the link that the hub has printed when it started."
        try:
            host_of(self._browsers.origin_of(request))
            return page("Sign in", BUTTON + _ASK.format(told=told, form=form), script=BUTTON_SCRIPT)
        except (InvalidInput, OpenIdError):
            return page("Sign in", _ASK.format(told=told, form=form))

    async def _mail_link(self, request: Request) -> Response:
        asked = await form_of(request)
        if self._send_link is None or not self._browsers.is_from_here(request):
            return page("Sign in", "<p>This hub sends no mail.</p>", status=403)
        if not self._browsers.may_try(request):
            return too_often()
        origin, following = self._browsers.origin_of(request), kept_next(asked.get("next", ""))
        told = f"<p>If this address is invited, a link is on its way. {self._how_long}</p>"
        answer = page("Look into your mail", told)
        # After the answer: how long a mail takes would tell who is invited.
        answer.background = BackgroundTask(self._mail_if_invited, asked.get("email", ""), origin, following)
        return answer

    def _mail_if_invited(self, address: str, origin: str, following: str) -> None:
        """Mail a link. Whoever asked learns nothing about who is invited."""
        try:
            email = Email.parse(address)
            person = self._people.by_email(email)
            if person is None or self._send_link is None or not self._mails_to.allows(str(email)):
                return
            self._send_link(email, link_to(origin, self._sessions.make_link(person.id), following))
        except InvalidInput:
            return
        except Unavailable as error:
            logger.error("A sign-in link could not be mailed: %s", error)

    async def _confirm(self, _: Request) -> Response:
        return page("Sign in", _CONFIRM, script=_CONFIRM_SCRIPT)

    async def _redeem(self, request: Request) -> Response:
        if not self._browsers.may_try(request):
            return too_often()
        asked = await form_of(request)
        if not self._browsers.is_from_here(request):
            return page("This link does not work", "<p>It was opened from another site.</p>", status=403)
        user_agent = request.headers.get("user-agent", "")
        try:
            secret = await run_in_threadpool(
                self._sessions.redeem_link,
                asked.get("secret", ""),
                user_agent=user_agent,
                source_ip=source_ip(request),
            )
        except NotAuthorized as error:
            told = f"<p>{escape(str(error).capitalize())}. <a href='/sign-in'>Ask for another.</a></p>"
            return page("This link does not work", told, status=403)
        self._browsers.was_right(request)
        answer = RedirectResponse(safe_next(asked.get("next", "")), 303, headers=_NO_STORE)
        return self._browsers.remember(request, answer, secret)

    async def _sign_out(self, request: Request) -> Response:
        if not self._browsers.is_from_here(request):
            return Response(status_code=403)
        await run_in_threadpool(self._end_session_of, request)
        return self._browsers.forget(RedirectResponse("/sign-in", 303, headers=_NO_STORE))

    def _end_session_of(self, request: Request) -> None:
        session = self._browsers.session_of(request)
        if session is not None:
            self._sessions.end(session.id)

    def _json(self, request: Request, answer: Callable[[str], Mapping[str, Any]]) -> Response:
        try:
            return JSONResponse(answer(self._browsers.origin_of(request)), headers=_NO_STORE)
        except OpenIdError as error:
            return JSONResponse({"error": error.code, "error_description": str(error)}, 400, headers=_NO_STORE)


def link_to(origin: str, secret: str, following: str = "") -> str:
    """The address of a sign-in link."""
    given = {"secret": secret, **({"next": following} if following else {})}
    return f"{origin}{LINK_PAGE}#{urlencode(given)}"
