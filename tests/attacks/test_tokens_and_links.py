"""Forged tokens, tickets, page tokens, shares and links: nothing that the hub has not given opens anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pinthesky.hub.tokens import TOKEN_S, Tokens, new_signing_key
from pinthesky.planes.page_tokens import PageTokens
from tests.planes.home import GARDEN, HALL
from tests.support.hostile_clients import RawSocket
from tests.support.planes_at_hub import HubOfPlanes


def status_of(stage: HubOfPlanes, token: str, path: str = "/cameras") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return stage.people["owner"].browse("GET", f"/api{path}", headers=headers).status_code


def claims_of(stage: HubOfPlanes) -> dict[str, Any]:
    """What the hub itself would sign now."""
    token = stage.people["owner"].tokens["access_token"]
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def signed(stage: HubOfPlanes, key: Any = None, algorithm: str = "RS256", **changes: Any) -> str:
    """A token as the hub makes them, some claims changed, None taking one away."""
    claims = {name: value for name, value in {**claims_of(stage), **changes}.items() if value is not None}
    signing_key = hub_key(stage) if key is None else key
    return jwt.encode(claims, signing_key, algorithm, headers={"kid": kid_of(stage)})


def hub_key(stage: HubOfPlanes) -> bytes:
    return (stage.hub.foundation.folder.authority / "tokens.key").read_bytes()


def key_set(stage: HubOfPlanes) -> dict[str, Any]:
    found: dict[str, Any] = stage.people["owner"].browse("GET", "/oauth2/jwks.json").json()["keys"][0]
    return found


def kid_of(stage: HubOfPlanes) -> str:
    return str(key_set(stage)["kid"])


def raw_token(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_what_the_hub_has_signed_is_taken(stage):
    """So that what follows is refused for the one thing that is wrong with it."""
    assert status_of(stage, signed(stage)) == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "RS256"])
def test_a_token_that_nobody_has_signed_is_refused(stage, algorithm):
    assert status_of(stage, raw_token({"alg": algorithm, "typ": "JWT"}, claims_of(stage))) == 401


def test_the_public_key_is_no_secret_to_sign_with(stage):
    public: Any = jwt.algorithms.RSAAlgorithm.from_jwk(key_set(stage))
    assert isinstance(public, rsa.RSAPublicKey)
    header = {"alg": "HS256", "typ": "JWT", "kid": kid_of(stage)}
    shapes = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(key_set(stage)).encode(),
    ]
    for secret in shapes:
        bare = raw_token(header, claims_of(stage)).rpartition(".")[0]
        signature = hmac.digest(secret, bare.encode(), hashlib.sha256)
        assert status_of(stage, raw_token(header, claims_of(stage), signature)) == 401


def test_a_key_that_comes_with_the_token_is_not_asked(stage):
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))
    for extra in ({"jwk": jwk}, {"jku": f"{stage.people['owner'].origin}/oauth2/jwks.json"}, {"x5u": "file:///"}):
        token = jwt.encode(claims_of(stage), own, "RS256", headers={"kid": kid_of(stage), **extra})
        assert status_of(stage, token) == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": "https://localhost.evil.example:8443"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"iat": 9_999_999_999, "exp": 9_999_999_999},
        {"token_use": "id"},
        {"token_use": None},
        {"client_id": "another"},
        {"aud": "console"},
        {"sid": "0" * 32},
        {"sid": None},
        {"sid": ["a"]},
        {"sub": "0" * 32},
        {"sub": "../owner"},
        {"sub": {"a": 1}},
    ],
    ids=str,
)
def test_a_token_that_says_something_else_is_refused_though_it_is_signed(stage, changes):
    assert status_of(stage, signed(stage, **changes)) == 401


def test_a_token_is_good_for_its_ten_minutes_and_no_longer(stage):
    now = int(time.time())
    assert status_of(stage, signed(stage, iat=now - TOKEN_S, exp=now - 10)) == 200  # clocks may differ a little
    assert status_of(stage, signed(stage, iat=now - TOKEN_S - 100, exp=now - 60)) == 401


def test_other_tokens_of_the_same_sign_in_are_no_access_tokens(stage):
    tokens = stage.people["owner"].tokens
    for other in (tokens["id_token"], tokens["refresh_token"]):
        assert status_of(stage, other) == 401
    form = {"grant_type": "refresh_token", "client_id": "console", "refresh_token": tokens["access_token"]}
    assert stage.people["owner"].browse("POST", "/oauth2/token", data=form).json()["error"] == "invalid_grant"


def test_a_token_of_another_hub_is_refused_though_it_names_the_same_people(stage):
    other = Tokens(new_signing_key(), is_issuer=lambda _: True)
    owner = stage.home.people.everybody()[0]
    session = stage.home.sign_ins.of_person(owner.id)[0].id
    assert status_of(stage, other.access_token(owner, session, issuer=claims_of(stage)["iss"])) == 401


@pytest.mark.parametrize("token", [".", "..", "a.b.c", "=" * 3000, "\x7f", "x" * 9000, "Bearer x", "null"])
def test_what_is_no_token_at_all_is_refused(stage, token):
    assert status_of(stage, token) == 401


def test_a_session_that_was_ended_takes_its_tokens_along(stage):
    console = stage.sign_in()
    session = jwt.decode(console.tokens["access_token"], options={"verify_signature": False})["sid"]
    assert console.ask("DELETE", f"/sessions/{session}").status_code == 204
    assert console.ask("GET", "/cameras").status_code == 401
    form = {
        "grant_type": "refresh_token",
        "client_id": "console",
        "refresh_token": console.tokens["refresh_token"],
    }
    assert console.browse("POST", "/oauth2/token", data=form).status_code == 400
    console.close()


# Tickets, page tokens, shares, links


def test_a_ticket_opens_one_socket_once_and_a_token_in_an_address_opens_none(stage):
    console = stage.people["owner"]
    ticket = console.ask("POST", "/tokens").json()["token"]
    statuses = []
    for secret in (ticket, ticket, ticket[:-1], "", "x" * 500, console.tokens["access_token"]):
        client = RawSocket(stage.server.port, f"?Authorization={quote(secret)}")
        statuses.append(client.status)
        client.close()
    assert statuses == [101, 403, 403, 403, 403, 403]


def test_nobody_opens_a_session_of_somebody_elses_manager(stage):
    ticket = stage.people["member"].ask("POST", "/tokens").json()["token"]
    manager = stage.of_person["owner"]["connection"]
    client = RawSocket(stage.server.port, f"?Authorization={quote(ticket)}&ManagerId={quote(manager)}")
    client.close()
    said = client.status
    login = RawSocket(stage.server.port)
    ticket = stage.people["member"].ask("POST", "/tokens").json()["token"]
    answer = login.say("login", tokenId=ticket, managerId="x" * 40)
    login.close()
    assert (said in (101, 403), answer["response"]["statusCode"]) == (True, 200)


def test_a_page_token_of_another_list_person_or_maker_is_refused(stage):
    for number in range(3):
        stage.ask("owner", "POST", "/tags", {"name": f"page-{number}"})
    page = stage.ask_for("owner", "GET", "/tags", limit=1)
    token = page["nextToken"]
    assert stage.ask("owner", "GET", "/tags", limit=1, nextToken=token)[0] == 200
    forged = [
        token[:-2] + ("AA" if not token.endswith("AA") else "BB"),
        token[2:],
        token + "A",
        token * 20,
        PageTokens(b"another secret").seal(None, "tags") or "AAAA",
        "eyJhIjoxfQ",
        "\x00",
        "..",
    ]
    for each in forged:
        status, answer = stage.ask("owner", "GET", "/tags", limit=1, nextToken=each)
        assert (status, answer["field"]) == (400, "nextToken"), each
    assert stage.ask("owner", "GET", "/cameras", limit=1, nextToken=token)[0] == 400
    stage.restore()


def test_a_share_link_that_was_made_up_or_revoked_shows_nothing(stage):
    names = stage.of_camera[GARDEN]
    token, share = names["token"], names["share"]
    assert stage.ask("nobody", "GET", f"/share/{token}")[0] == 200
    other = stage.of_camera[HALL]["token"]
    mixed = token[: len(token) // 2] + other[len(other) // 2 :]
    for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), token.upper(), share, mixed, token + "A", "A" * 64):
        status, answer = stage.ask("nobody", "GET", f"/share/{forged}")
        assert status in (400, 404), forged
        assert "garden" not in json.dumps(answer).lower()
    assert stage.ask("owner", "DELETE", f"/shares/{share}")[0] == 204
    assert stage.ask("nobody", "GET", f"/share/{token}")[0] == 404
    stage.restore()


def test_a_link_to_a_clip_is_good_for_that_clip_and_that_time(stage):
    names = stage.of_camera[GARDEN]
    link = stage.ask_for("owner", "GET", f"/videos/{names['video']}/cameras/garden/url")["url"]
    console = stage.people["owner"]
    assert console.fetch(link).content == b"media"
    parts = urlsplit(link)
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    hall = stage.of_camera[HALL]["video"]
    changed = [
        (f"/media/motion_videos/hall/{hall}", given),
        (parts.path, {**given, "until": str(int(given["until"]) + 1)}),
        (parts.path, {**given, "until": f"0{given['until']}"}),
        (parts.path, {**given, "until": "٩" * 10}),
        (parts.path, {**given, "until": "-1"}),
        (parts.path, {**given, "name": "a.mp4\r\nX: y"}),
        (parts.path, {**given, "seal": ""}),
        (parts.path, {**given, "seal": given["seal"][:-1]}),
        (parts.path, {**given, "seal": "ä"}),
        (parts.path, {"until": given["until"]}),
        (f"{parts.path}/../{hall}", given),
        (parts.path.replace("motion_videos", "%2e%2e/hub.sqlite"), given),
        ("/media/../hub.sqlite", given),
        ("/media/%2e%2e%2fauthority%2fca.key", given),
    ]
    for path, query in changed:
        answer = console.fetch(f"{path}?{urlencode(query)}")
        leaked = answer.content == b"media" or b"SQLite" in answer.content or b"PRIVATE" in answer.content
        # Another spelling of the same moment is the same link.
        assert not leaked or (path == parts.path and query["until"] == f"0{given['until']}"), (path, query)
        assert answer.status_code < 500
    assert console.fetch(link).headers["content-security-policy"] == "sandbox"
    assert console.fetch(link).headers["x-content-type-options"] == "nosniff"
