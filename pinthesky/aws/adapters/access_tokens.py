"""The planes' port `AccessTokens` on the access tokens (JWT) of a Cognito user pool.

A token is taken if the pool has signed it (RS256 and nothing else, with a key of the pool's own set), for one of our
clients, as an access token, and if it has not expired. The HTTP API's authorizer has checked the signature of what it
hands over; `Identity.of_claims` looks at the rest, since that authorizer takes identity tokens too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pinthesky.model.people import PersonId

if TYPE_CHECKING:
    from jwt import PyJWK

    from pinthesky.aws.adapters.sign_ins import CognitoSignIns

logger = logging.getLogger(__name__)

ALGORITHM = "RS256"
TOKEN_MAX = 8192
LEEWAY_S = 30
KEYS_MAX = 16
KEY_SET_MAX = 64 * 1024
ASK_AGAIN_S = 60.0
"""Whoever shows unknown keys makes us ask for the pool's keys at most so often."""
KEYS_FRESH_S = 24 * 3600.0
"""A key that the pool has withdrawn is taken for at most so long."""
FETCH_TIMEOUT_S = 3.0
_NOT_OURS = "this is no access token of this home"


@dataclass(frozen=True)
class Claims:
    """What an access token proves: who, and by which sign-in."""

    person: PersonId
    session: str


@dataclass(frozen=True)
class Identity:
    """Whose tokens are taken."""

    issuer: str
    """`https://cognito-idp.<region>.amazonaws.com/<pool>`"""
    client_ids: Collection[str]

    def of_claims(self, claims: Mapping[str, Any]) -> Claims:
        """What verified claims say. Raises NotAuthorized: another pool's, another client's, no access token."""
        ours = (
            claims.get("iss") == self.issuer
            and claims.get("token_use") == "access"
            and str(claims.get("client_id")) in self.client_ids
        )
        if not ours:
            raise NotAuthorized(_NOT_OURS)
        try:
            return Claims(PersonId.parse(claims.get("sub")), str(claims.get("origin_jti", "")))
        except InvalidInput as error:
            raise NotAuthorized(_NOT_OURS) from error


class KeySet:
    """The public keys of a pool (JWKS), asked for when one is needed. Thread-safe."""

    def __init__(self, fetch: Callable[[], bytes], *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """`fetch` gives the key set's JSON, or raises Unavailable."""
        self._fetch = fetch
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._asked_s: float | None = None
        self._read_s: float | None = None

    def key(self, key_id: str) -> PyJWK:
        """A key by its id. Raises NotAuthorized (there is none), Unavailable (no keys can be had)."""
        with self._lock:
            now_s = self._monotonic_s()
            stale = self._read_s is None or now_s - self._read_s >= KEYS_FRESH_S
            may_ask = self._asked_s is None or now_s - self._asked_s >= ASK_AGAIN_S
            if (stale or key_id not in self._keys) and may_ask:
                self._asked_s = now_s
                self._refresh(now_s)
            if self._read_s is None:
                raise Unavailable("the keys of the user pool cannot be had")
            found = self._keys.get(key_id)
        if found is None:
            raise NotAuthorized(_NOT_OURS)
        return found

    def _refresh(self, now_s: float) -> None:
        try:
            keys = _keys_of(self._fetch())
        except Unavailable as error:
            logger.warning("The keys of the user pool cannot be read: %s", error)
            return
        self._keys, self._read_s = keys, now_s


class CognitoAccessTokens:
    """The adapter of `planes.ports.AccessTokens`."""

    def __init__(
        self, identity: Identity, keys: KeySet, sign_ins: CognitoSignIns, *, now_s: Callable[[], float] = time.time
    ) -> None:
        self._identity = identity
        self._keys = keys
        self._sign_ins = sign_ins
        self._now_s = now_s

    def person_of(self, token: str) -> PersonId:
        """See `planes.ports.AccessTokens`. One whose sign-in was ended is refused too."""
        claims = self.verify(token)
        self._sign_ins.note(claims.person, claims.session)
        return claims.person

    def verify(self, token: str) -> Claims:
        """What a token proves. Raises NotAuthorized, Unavailable (the pool's keys cannot be had)."""
        import jwt  # noqa: PLC0415 - and cryptography with it: only a login on a socket needs them

        if len(token) > TOKEN_MAX:
            raise NotAuthorized(_NOT_OURS)
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != ALGORITHM or not isinstance(header.get("kid"), str):
                raise NotAuthorized(_NOT_OURS)
            claims = jwt.decode(
                token,
                self._keys.key(header["kid"]),
                algorithms=[ALGORITHM],
                options={
                    "require": ["iss", "sub", "exp", "iat", "client_id", "token_use"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
            now_s = self._now_s()
            expired = int(claims["exp"]) + LEEWAY_S <= now_s or int(claims["iat"]) - LEEWAY_S > now_s
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            raise NotAuthorized(_NOT_OURS) from error
        if expired:
            raise NotAuthorized("this access token has expired")
        return self._identity.of_claims(claims)


def issuer_of(region: str, pool: str) -> str:
    """What a pool calls itself in its tokens."""
    return f"https://cognito-idp.{region}.amazonaws.com/{pool}"


def fetch_key_set(issuer: str) -> bytes:
    """A pool's key set, from where OpenID Connect has it. Raises Unavailable."""
    import urllib3  # noqa: PLC0415 - loaded by botocore already

    address = f"{issuer}/.well-known/jwks.json"
    timeout = urllib3.Timeout(connect=FETCH_TIMEOUT_S, read=FETCH_TIMEOUT_S)
    try:
        with urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(1, redirect=0)) as pool:
            answer = pool.request("GET", address, preload_content=False)
            with answer:
                body = answer.read(KEY_SET_MAX + 1)
                if answer.status != 200 or len(body) > KEY_SET_MAX:
                    raise Unavailable(f"{address}: answered {answer.status} with {len(body)} bytes")
                return bytes(body)
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(f"{address}: {error}") from error


def _keys_of(key_set: bytes) -> dict[str, PyJWK]:
    """The RSA keys for signatures in a key set. Raises Unavailable: it is none."""
    import jwt  # noqa: PLC0415 - see `verify`

    try:
        listed = msgspec.json.decode(key_set, type=dict[str, list[dict[str, Any]]])["keys"]
        wanted = [each for each in listed if each.get("kty") == "RSA" and each.get("use", "sig") == "sig"]
        return {str(each["kid"]): jwt.PyJWK(each, ALGORITHM) for each in wanted[:KEYS_MAX]}
    except (msgspec.MsgspecError, KeyError, jwt.PyJWTError, ValueError) as error:
        raise Unavailable(f"this is no key set: {error}") from error
