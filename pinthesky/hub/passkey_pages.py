"""Passkeys in the browser: the button on the sign-in page, and the page on which somebody looks after their own."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from pinthesky.hub.browsers import Browsers, form_of, safe_next, source_ip
from pinthesky.hub.openid import OpenIdError
from pinthesky.hub.pages import page
from pinthesky.hub.passkeys import NAME_MAX, Passkey, Passkeys, host_of
from pinthesky.hub.people import People
from pinthesky.hub.sessions import Sessions
from pinthesky.hub.small_bodies import BodyMissing, read_body
from pinthesky.model.people import Person

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

PAGE = "/sign-in/passkeys"
SHOW = "/sign-in/passkey"
BODY_MAX = 32 * 1024
_STATUS = {NotAuthorized: 403, NotFound: 404, Conflict: 409, InvalidInput: 400, OpenIdError: 400}
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_SCRIPT = """
const bytes=text=>Uint8Array.from(atob(text.replace(/-/g,'+').replace(/_/g,'/')),letter=>letter.charCodeAt(0));
const text=buffer=>btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/[+]/g,'-').replace(/[/]/g,'_')
.replace(/=+$/,'');
const say=words=>{const shown=words.charAt(0).toUpperCase()+words.slice(1);
document.getElementById('told').textContent=shown.endsWith('.')?shown:shown+'.'};
const ask=async(path,given)=>{const answer=await fetch(path,{method:'POST',
headers:{'Content-Type':'application/json'},body:JSON.stringify(given||{})});const said=await answer.json();
if(!answer.ok)throw new Error(said.message);return said};
const failed=error=>say(error.name==='NotAllowedError'?'Nothing was chosen.':error.message);
"""
BUTTON = '<p><button id="passkey" type="button" hidden>Sign in with a passkey</button></p>'
BUTTON_SCRIPT = (
    _SCRIPT
    + """
const button=document.getElementById('passkey');button.hidden=!window.PublicKeyCredential;
button.onclick=async()=>{try{
const publicKey=await ask('/sign-in/passkey/options');publicKey.challenge=bytes(publicKey.challenge);
const key=await navigator.credentials.get({publicKey});const shown=key.response;
const said=await ask('/sign-in/passkey',{next:new URLSearchParams(location.search).get('next')||'',credential:{
id:key.id,rawId:text(key.rawId),type:key.type,response:{authenticatorData:text(shown.authenticatorData),
clientDataJSON:text(shown.clientDataJSON),signature:text(shown.signature),
userHandle:shown.userHandle?text(shown.userHandle):null}}});location.assign(said.next)}catch(error){failed(error)}};
"""
)
_ADD_SCRIPT = (
    _SCRIPT
    + """
document.getElementById('add').onsubmit=async event=>{event.preventDefault();try{
if(!window.PublicKeyCredential)throw new Error('This browser has no passkeys.');
const name=event.target.elements.called.value;const publicKey=await ask('/sign-in/passkeys/options');
publicKey.challenge=bytes(publicKey.challenge);publicKey.user.id=bytes(publicKey.user.id);
for(const known of publicKey.excludeCredentials||[])known.id=bytes(known.id);
const key=await navigator.credentials.create({publicKey});const made=key.response;
await ask('/sign-in/passkeys',{name,credential:{id:key.id,rawId:text(key.rawId),type:key.type,response:{
clientDataJSON:text(made.clientDataJSON),attestationObject:text(made.attestationObject)}}});location.reload()}
catch(error){failed(error)}};
"""
)
_BODY = """<p>A passkey is a key in your phone, your computer or a security key. With it you sign in to
<code>{host}</code> by a finger, a face or a PIN, and need no link.</p>
<p id="told" role="status"></p>
{listed}
<form id="add"><label>Name of a new one <input name="called" required maxlength="{name_max}"
placeholder="My phone"></label><button>Add a passkey</button></form>
<p><a href="/">To the console</a></p>"""
_ONE = """<div class="box"><p><strong>{name}</strong>, for <code>{host}</code><br>added {made}, {used}</p>
<form method="post" action="/sign-in/passkeys/rename"><input type="hidden" name="id" value="{id}">
<label>Another name <input name="name" required maxlength="{name_max}"></label><button>Rename</button></form>
<form method="post" action="/sign-in/passkeys/remove"><input type="hidden" name="id" value="{id}">
<button>Remove</button></form></div>"""


class PasskeyPages:
    """The routes."""

    def __init__(self, passkeys: Passkeys, browsers: Browsers, *, people: People, sessions: Sessions) -> None:
        self._passkeys = passkeys
        self._browsers = browsers
        self._people = people
        self._sessions = sessions

    def routes(self) -> list[BaseRoute]:
        """All below `/sign-in/passkey`."""
        return [
            Route(PAGE, self._show),
            Route(PAGE, self._json(self._add), methods=["POST"]),
            Route(f"{PAGE}/options", self._json(self._adding), methods=["POST"]),
            Route(f"{PAGE}/rename", self._form(self._rename), methods=["POST"]),
            Route(f"{PAGE}/remove", self._form(self._remove), methods=["POST"]),
            Route(SHOW, self._json(self._sign_in), methods=["POST"]),
            Route(f"{SHOW}/options", self._json(self._asking), methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        return await run_in_threadpool(self._shown, request)

    def _shown(self, request: Request) -> Response:
        try:
            person = self._person(request)
            host = host_of(self._browsers.origin_of(request))
        except NotAuthorized:
            return RedirectResponse("/sign-in", 303, headers=_NO_STORE)
        except (InvalidInput, OpenIdError) as error:
            return page("Passkeys", f"<p>{escape(str(error).capitalize())}.</p>", status=400)
        listed = "".join(map(_described, self._passkeys.of_person(person.id))) or "<p>You have none yet.</p>"
        body = _BODY.format(host=escape(host), listed=listed, name_max=NAME_MAX)
        return page("Passkeys", body, script=_ADD_SCRIPT)

    def _adding(self, request: Request, _: Mapping[str, Any]) -> Response:
        options = self._passkeys.adding(self._person(request), self._browsers.origin_of(request))
        return JSONResponse(options, headers=_NO_STORE)

    def _add(self, request: Request, asked: Mapping[str, Any]) -> Response:
        person, origin = self._person(request), self._browsers.origin_of(request)
        added = self._passkeys.add(person, origin, name=str(asked.get("name", "")), credential=_credential_of(asked))
        logger.info("%s has added a passkey", person.email or person.id)
        return JSONResponse({"id": added.id, "name": added.name}, 201, headers=_NO_STORE)

    def _rename(self, request: Request, asked: Mapping[str, str]) -> None:
        self._passkeys.rename(self._person(request).id, asked.get("id", ""), asked.get("name", ""))

    def _remove(self, request: Request, asked: Mapping[str, str]) -> None:
        self._passkeys.remove(self._person(request).id, asked.get("id", ""))

    def _asking(self, request: Request, _: Mapping[str, Any]) -> Response:
        return JSONResponse(self._passkeys.asking(self._browsers.origin_of(request)), headers=_NO_STORE)

    def _sign_in(self, request: Request, asked: Mapping[str, Any]) -> Response:
        person = self._passkeys.person_of(self._browsers.origin_of(request), _credential_of(asked))
        user_agent = request.headers.get("user-agent", "")
        self._browsers.was_right(request)
        secret = self._sessions.open(person, user_agent=user_agent, source_ip=source_ip(request))
        answer = JSONResponse({"next": safe_next(str(asked.get("next", "")))}, headers=_NO_STORE)
        return self._browsers.remember(request, answer, secret)

    def _person(self, request: Request) -> Person:
        """Who is signed in. Raises NotAuthorized."""
        session = self._browsers.session_of(request)
        if session is None:
            raise NotAuthorized("sign in first")
        return self._people.get(session.person)

    def _json(self, answer: Callable[[Request, Mapping[str, Any]], Response]) -> Endpoint:
        """An endpoint that our own script asks, and that answers in JSON whatever happens."""

        async def serve(request: Request) -> Response:
            if not self._browsers.is_from_here(request):
                return _problem(403, "this was asked by another site")
            if not self._browsers.may_try(request):
                return _problem(429, "too many tries: wait a minute")
            try:
                asked = await _document_of(request)
                return await run_in_threadpool(answer, request, asked)
            except (InvalidInput, NotAuthorized, NotFound, Conflict, OpenIdError) as error:
                return _problem(next(_STATUS[kind] for kind in _STATUS if isinstance(error, kind)), str(error))

        return serve

    def _form(self, change: Callable[[Request, Mapping[str, str]], None]) -> Endpoint:
        """An endpoint of a form, which leads back to the page."""

        async def serve(request: Request) -> Response:
            if not self._browsers.is_from_here(request):
                return page("Passkeys", "<p>This was asked by another site.</p>", status=403)
            asked = await form_of(request)
            try:
                await run_in_threadpool(change, request, asked)
            except NotAuthorized:
                return RedirectResponse("/sign-in", 303, headers=_NO_STORE)
            except (InvalidInput, NotFound) as error:
                told = f"<p>{escape(str(error).capitalize())}. <a href='{PAGE}'>Back</a></p>"
                return page("Passkeys", told, status=400)
            return RedirectResponse(PAGE, 303, headers=_NO_STORE)

        return serve


async def _document_of(request: Request) -> Mapping[str, Any]:
    """A JSON object. Raises InvalidInput."""
    try:
        body = await read_body(request, limit=BODY_MAX)
        document = json.loads(body) if len(body) <= BODY_MAX else None
    except (BodyMissing, ValueError, RecursionError) as error:
        raise InvalidInput("body", "is not JSON") from error
    if not isinstance(document, dict):
        raise InvalidInput("body", f"must be a JSON object of at most {BODY_MAX} bytes")
    return document


def _credential_of(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    credential = asked.get("credential")
    if not isinstance(credential, dict):
        raise InvalidInput("credential", "must be a JSON object")
    return credential


def _described(passkey: Passkey) -> str:
    used = "never used" if passkey.used_at_s is None else f"last used {_day(passkey.used_at_s)}"
    return _ONE.format(
        name=escape(passkey.name),
        host=escape(passkey.host),
        made=_day(passkey.made_at_s),
        used=used,
        id=escape(passkey.id),
        name_max=NAME_MAX,
    )


def _day(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).date().isoformat()


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status, headers=_NO_STORE)
