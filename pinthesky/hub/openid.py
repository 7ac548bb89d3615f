"""The hub as an OpenID Connect provider for its own console: authorization code with PKCE, and nothing else.

There is one client, public, whose only place to return to is `/signed-in` below the hub's own address. Sources:
RFC 6749, RFC 7636, RFC 9700 (best current practice), OpenID Connect Core and Discovery.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pinthesky.errors import NotAuthorized, NotFound, PinTheSkyError
from pinthesky.hub.people import People
from pinthesky.hub.sessions import Session, Sessions
from pinthesky.hub.tokens import ALGORITHM, CLIENT_ID, TOKEN_S, Tokens

RETURN_PATH = "/signed-in"
CODE_S = 60
CODES_MAX = 1000
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_STATE_MAX = 512


class OpenIdError(PinTheSkyError):
    """A request that the protocol does not allow. `code` is one of its error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class _Grant:
    session: str
    return_to: str
    challenge: str
    nonce: str | None
    expires_at_s: float


class OpenIdProvider:
    """Codes for who is signed in, tokens for codes. `issuer` is always the hub's address as the browser sees it."""

    def __init__(
        self, people: People, sessions: Sessions, tokens: Tokens, *, now_s: Callable[[], float] = time.time
    ) -> None:
        self._people = people
        self._sessions = sessions
        self._tokens = tokens
        self._now_s = now_s
        self._lock = threading.Lock()
        self._grants: OrderedDict[bytes, _Grant] = OrderedDict()

    def configuration(self, issuer: str) -> dict[str, Any]:
        """`/.well-known/openid-configuration`."""
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth2/authorize",
            "token_endpoint": f"{issuer}/oauth2/token",
            "revocation_endpoint": f"{issuer}/oauth2/revoke",
            "userinfo_endpoint": f"{issuer}/oauth2/userInfo",
            "jwks_uri": f"{issuer}/oauth2/jwks.json",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "scopes_supported": ["openid", "email"],
        }

    def check_authorization(self, asked: Mapping[str, str], issuer: str) -> None:
        """Raise OpenIdError unless this is a request of the console. To be asked before anybody is made to sign in."""
        if asked.get("client_id") != CLIENT_ID:
            raise OpenIdError("unauthorized_client", "client_id: must be console")
        if asked.get("redirect_uri") != f"{issuer}{RETURN_PATH}":
            raise OpenIdError("invalid_request", f"redirect_uri: must be {issuer}{RETURN_PATH}")
        if asked.get("response_type") != "code":
            raise OpenIdError("unsupported_response_type", "response_type: must be code")
        if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(asked.get("code_challenge", "")):
            raise OpenIdError("invalid_request", "code_challenge: must be given, with code_challenge_method S256")
        if not 1 <= len(asked.get("state", "")) <= _STATE_MAX or len(asked.get("nonce", "")) > _STATE_MAX:
            raise OpenIdError("invalid_request", f"state, nonce: must have at most {_STATE_MAX} characters, state some")

    def authorize(self, asked: Mapping[str, str], session: Session, issuer: str) -> str:
        """Where the browser goes on with its code. Raises OpenIdError."""
        self.check_authorization(asked, issuer)
        code = secrets.token_urlsafe(32)
        grant = _Grant(
            session=session.id,
            return_to=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            nonce=asked.get("nonce"),
            expires_at_s=self._now_s() + CODE_S,
        )
        with self._lock:
            self._grants[_digest(code)] = grant
            while len(self._grants) > CODES_MAX:
                self._grants.popitem(last=False)
        return f"{grant.return_to}?{urlencode({'code': code, 'state': asked['state'], 'iss': issuer})}"

    def token(self, asked: Mapping[str, str], issuer: str) -> dict[str, Any]:
        """Tokens for a code, or for a refresh token. Raises OpenIdError."""
        if asked.get("client_id") != CLIENT_ID:
            raise OpenIdError("invalid_client", "client_id: must be console")
        kind = asked.get("grant_type")
        try:
            if kind == "authorization_code":
                return self._for_code(asked, issuer)
            if kind == "refresh_token":
                session, refresh_token = self._sessions.rotate(asked.get("refresh_token", ""))
                return self._tokens_of(session, refresh_token, nonce=None, issuer=issuer)
        except (NotAuthorized, NotFound) as error:
            raise OpenIdError("invalid_grant", str(error)) from error
        raise OpenIdError("unsupported_grant_type", "grant_type: must be authorization_code or refresh_token")

    def revoke(self, asked: Mapping[str, str]) -> None:
        """Sign out with a refresh token (RFC 7009: a token that is none is no error)."""
        try:
            session, _ = self._sessions.rotate(asked.get("token", ""))
            self._sessions.end(session.id)
        except (NotAuthorized, NotFound):
            return

    def _for_code(self, asked: Mapping[str, str], issuer: str) -> dict[str, Any]:
        with self._lock:
            grant = self._grants.pop(_digest(asked.get("code", "")), None)
        if grant is None or grant.expires_at_s <= self._now_s() or grant.return_to != asked.get("redirect_uri"):
            raise OpenIdError("invalid_grant", "code: was used already, or its time is over")
        verifier = asked.get("code_verifier", "")
        if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(_challenge_of(verifier), grant.challenge):
            raise OpenIdError("invalid_grant", "code_verifier: does not fit the challenge")
        session = self._sessions.of_id(grant.session)
        refresh_token = self._sessions.make_refresh_token(session.id)
        return self._tokens_of(session, refresh_token, nonce=grant.nonce, issuer=issuer)

    def _tokens_of(self, session: Session, refresh_token: str, *, nonce: str | None, issuer: str) -> dict[str, Any]:
        person = self._people.get(session.person)
        return {
            "access_token": self._tokens.access_token(person, session.id, issuer=issuer),
            "id_token": self._tokens.id_token(person, session.id, issuer=issuer, nonce=nonce),
            "refresh_token": refresh_token,
            "token_type": "Bearer",
            "expires_in": TOKEN_S,
        }


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()


def _challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
