"""Access tokens of a Cognito pool: which are taken, and every one that an attacker may show instead.

The pool's end is a stand-in that signs as Cognito does; the claims are those that Cognito documents.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pinthesky.aws.adapters.access_tokens import (
    ASK_AGAIN_S,
    KEY_SET_MAX,
    KEYS_FRESH_S,
    LEEWAY_S,
    TOKEN_MAX,
    CognitoAccessTokens,
    Identity,
    KeySet,
    fetch_key_set,
    issuer_of,
)
from pinthesky.aws.adapters.sign_ins import CognitoSignIns
from pinthesky.errors import NotAuthorized, Unavailable
from pinthesky.hub.database import Database
from pinthesky.hub.records import SqliteTable
from pinthesky.model.people import PersonId
from tests.planes.fakes import Clock
from tests.support.aws_servers import Server, answer, closed_port
from tests.support.user_pool import CLIENT, ISSUER, UserPool

ANNA = PersonId("5a4b3c2d-1111-2222-3333-444455556666")


class World:
    """A pool, and the home's end."""

    def __init__(self, pool: UserPool, table: SqliteTable, clock: Clock) -> None:
        self.pool, self.clock = pool, clock
        self.ticks_s = 0.0
        self.sign_ins = CognitoSignIns(table, now_s=clock)
        keys = KeySet(pool.key_set, monotonic_s=lambda: self.ticks_s)
        self.tokens = CognitoAccessTokens(pool.identity, keys, self.sign_ins, now_s=clock)

    def token(self, **claims: Any) -> str:
        return self.pool.sign(self.pool.claims(ANNA, self.clock(), **claims))

    def check_refused(self, token: str) -> None:
        with pytest.raises(NotAuthorized) as refused:
            self.tokens.person_of(token)
        assert len(token) < 10 or token not in str(refused.value)


@pytest.fixture(scope="module")
def pool() -> UserPool:
    return UserPool()


@pytest.fixture
def world(pool: UserPool, tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    database = Database(tmp_path / "records.sqlite")
    yield World(pool, SqliteTable(database, now_s=clock), clock)
    database.close()


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_good_token_says_who_has_signed_in_and_where(world: World):
    assert world.tokens.person_of(world.token()) == ANNA
    (session,) = world.sign_ins.of_person(ANNA)
    assert session.id == "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_a_token_without_an_algorithm_is_refused(world: World, algorithm: str, signature: str):
    header = {"alg": algorithm, "typ": "JWT", "kid": world.pool.key_id}
    world.check_refused(f"{encoded(header)}.{encoded(world.pool.claims(ANNA, world.clock()))}.{signature}")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(world: World, encoding: Encoding):
    secret = world.pool.key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    header = encoded({"alg": "HS256", "typ": "JWT", "kid": world.pool.key_id})
    signed = f"{header}.{encoded(world.pool.claims(ANNA, world.clock()))}"
    world.check_refused(f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}")


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_another_algorithm_with_the_right_key_is_refused(world: World, algorithm: str):
    import jwt

    claims = world.pool.claims(ANNA, world.clock())
    world.check_refused(jwt.encode(claims, world.pool.key, algorithm, headers={"kid": world.pool.key_id}))


def test_a_token_of_another_pool_is_refused_even_under_the_same_key_id(world: World):
    other = UserPool(issuer_of("eu-central-1", "eu-central-1_Other"), world.pool.key_id)
    world.check_refused(other.sign(other.claims(ANNA, world.clock())))
    world.check_refused(other.sign(world.pool.claims(ANNA, world.clock())))
    world.check_refused(world.token(iss=other.issuer))


def test_a_key_that_a_token_brings_along_is_not_looked_at(world: World):
    stranger = UserPool()
    key = json.loads(stranger.key_set())["keys"][0]
    for header in ({"jwk": key}, {"jku": "https://evil.test/jwks.json"}, {"x5u": "https://evil.test/x.pem"}):
        asked = world.pool.asked
        world.check_refused(stranger.sign(stranger.claims(ANNA, world.clock()), **header))
        assert world.pool.asked <= asked + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "another-client"},
        {"client_id": None},
        {"client_id": [CLIENT]},
        {"token_use": "id", "aud": CLIENT},
        {"token_use": "id", "aud": CLIENT, "client_id": None},
        {"token_use": "refresh"},
        {"token_use": None},
        {"iss": None},
        {"iss": f"{ISSUER}/"},
        {"sub": None},
        {"sub": "../../etc"},
        {"sub": "x" * 65},
        {"sub": ["anna"]},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"iat": None},
        {"origin_jti": None},
    ],
)
def test_a_token_for_something_else_is_refused(world: World, wrong: dict[str, Any]):
    world.check_refused(world.token(**wrong))


def test_a_token_expires_with_some_leeway(world: World):
    token = world.token()
    world.clock.now_s += 3600 + LEEWAY_S - 1
    assert world.tokens.person_of(token) == ANNA
    world.clock.now_s += 1
    with pytest.raises(NotAuthorized, match="has expired"):
        world.tokens.person_of(token)


def test_a_token_of_the_future_is_refused(world: World):
    world.check_refused(world.token(iat=int(world.clock()) + LEEWAY_S + 1))
    assert world.tokens.person_of(world.token(iat=int(world.clock()) + LEEWAY_S)) == ANNA


@pytest.mark.parametrize(
    "token",
    ["", "x", "..", "a.b.c", "a.b.c.d", "\x00" * 30, "ü.ü.ü", "e30.e30.", f"{'A' * TOKEN_MAX}.e30.e30"],
)
def test_what_is_no_token_is_refused(world: World, token: str):
    world.check_refused(token)


def test_an_oversized_token_is_refused_before_anything_is_read(world: World):
    token = world.token(padding="x" * TOKEN_MAX)
    asked = world.pool.asked
    world.check_refused(token)
    assert world.pool.asked == asked


def test_a_changed_signature_or_payload_is_refused(world: World):
    header, payload, signature = world.token().split(".")
    other = encoded({**world.pool.claims("mallory", world.clock())})
    world.check_refused(f"{header}.{other}.{signature}")
    world.check_refused(f"{header}.{payload}.{signature[:-8]}AAAAAAAA")


@pytest.mark.parametrize("key_id", [None, 7, "", "unknown", ["key-1"], "x" * 3000])
def test_a_token_without_a_known_key_is_refused(world: World, key_id: object):
    header = {"alg": "RS256", "kid": key_id} if key_id is not None else {"alg": "RS256"}
    world.check_refused(f"{encoded(header)}.{encoded(world.pool.claims(ANNA, world.clock()))}.AAAA")


def test_a_flood_of_unknown_keys_asks_the_pool_once_a_minute(world: World):
    world.tokens.person_of(world.token())
    asked = world.pool.asked
    for minute in range(3):
        world.ticks_s += ASK_AGAIN_S
        for number in range(50):
            header = {"alg": "RS256", "kid": f"unknown-{minute}-{number}"}
            world.check_refused(f"{encoded(header)}.{encoded({})}.AAAA")
            assert world.tokens.person_of(world.token()) == ANNA
    assert world.pool.asked == asked + 3


def test_a_new_key_of_the_pool_is_found_within_a_minute(tmp_path: Path):
    database = Database(tmp_path / "records.sqlite")
    world = World(UserPool(), SqliteTable(database), Clock())
    old = world.token()
    assert world.tokens.person_of(old) == ANNA
    world.pool.rotate("key-2")
    new = world.token()
    world.check_refused(new)
    world.ticks_s += ASK_AGAIN_S
    assert world.tokens.person_of(new) == ANNA
    world.check_refused(old)
    database.close()


def test_a_key_that_was_withdrawn_is_taken_for_a_day_at_most(tmp_path: Path):
    database = Database(tmp_path / "records.sqlite")
    world = World(UserPool(), SqliteTable(database), Clock())
    old = world.token()
    assert world.tokens.person_of(old) == ANNA
    world.pool.rotate("key-2")
    assert world.tokens.person_of(old) == ANNA
    world.ticks_s += KEYS_FRESH_S
    world.check_refused(old)
    database.close()


def test_a_pool_that_is_away_is_asked_again_a_minute_later_and_known_keys_stay(tmp_path: Path):
    database = Database(tmp_path / "records.sqlite")
    world = World(UserPool(), SqliteTable(database), Clock())
    world.pool.away = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="keys of the user pool cannot be had"):
            world.tokens.person_of(world.token())
    assert world.pool.asked == 1
    world.pool.away = False
    world.ticks_s += ASK_AGAIN_S
    assert world.tokens.person_of(world.token()) == ANNA
    world.pool.away = True
    world.ticks_s += KEYS_FRESH_S
    assert world.tokens.person_of(world.token()) == ANNA
    database.close()


@pytest.mark.parametrize(
    "key_set",
    [
        b"",
        b"[]",
        b'{"keys": 7}',
        b'{"keys": [{"kty": "RSA"}]}',
        b'{"keys": [{"kty": "RSA", "kid": "key-1", "n": "!", "e": "AQAB"}]}',
        b'{"keys": [{"kty": "oct", "kid": "key-1", "k": "c2VjcmV0"}]}',
    ],
)
def test_what_is_no_key_set_is_none(key_set: bytes):
    with pytest.raises((Unavailable, NotAuthorized)):
        KeySet(lambda: key_set).key("key-1")


def test_a_sign_in_that_was_ended_is_refused(world: World):
    token = world.token()
    world.tokens.person_of(token)
    (session,) = world.sign_ins.of_person(ANNA)
    world.sign_ins.end(ANNA, session.id)
    with pytest.raises(NotAuthorized, match="has been ended"):
        world.tokens.person_of(token)


def test_claims_that_the_authorizer_has_verified_are_looked_at_too():
    pool = UserPool()
    good = {name: str(value) for name, value in pool.claims(ANNA, 0).items()}
    assert pool.identity.of_claims(good).person == ANNA
    for wrong in ({"token_use": "id"}, {"client_id": "other"}, {"iss": "https://evil.test"}, {"sub": ""}):
        with pytest.raises(NotAuthorized):
            pool.identity.of_claims({**good, **wrong})
    with pytest.raises(NotAuthorized):
        Identity(ISSUER, frozenset({CLIENT})).of_claims({})


class JwksServer(Server):
    """Where OpenID Connect has a key set."""

    def __init__(self, status: int, body: bytes) -> None:
        self.reply, self.asked_for = (status, body), ""
        super().__init__()

    def handle(self, request: Any) -> None:
        self.asked_for = request.path
        answer(request, *self.reply, Location="http://127.0.0.1:1/")


def test_keys_are_asked_for_where_openid_connect_has_them():
    with JwksServer(200, b'{"keys": []}') as server:
        assert fetch_key_set(f"http://127.0.0.1:{server.port}/pool") == b'{"keys": []}'
        assert server.asked_for == "/pool/.well-known/jwks.json"


@pytest.mark.parametrize("status,body", [(404, b""), (302, b""), (500, b"{}"), (200, b" " * (KEY_SET_MAX + 1))])
def test_an_answer_that_is_no_key_set_is_unavailable(status: int, body: bytes):
    with JwksServer(status, body) as server, pytest.raises(Unavailable):
        fetch_key_set(f"http://127.0.0.1:{server.port}/pool")


def test_a_pool_that_cannot_be_reached_is_unavailable():
    with pytest.raises(Unavailable):
        fetch_key_set(f"http://127.0.0.1:{closed_port()}/pool")
