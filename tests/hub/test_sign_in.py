"""Signing in to the hub as the console does it: link, authorization code with PKCE, tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.errors import InvariantBroken, NotAuthorized, Unavailable
from pinthesky.hub import openid
from pinthesky.hub.browsers import COOKIE, Browsers
from pinthesky.hub.database import Database
from pinthesky.hub.openid import CODE_S, OpenIdProvider
from pinthesky.hub.passkeys import Passkeys
from pinthesky.hub.people import People
from pinthesky.hub.sessions import Sessions
from pinthesky.hub.sign_in import SignIn, link_to
from pinthesky.hub.tokens import LEEWAY_S, TOKEN_S, Tokens, new_signing_key
from pinthesky.model.people import Email, Person, Role

HUB = "https://hub.local:8443"
ANNA = Email("anna@example.com")
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
AUTHORIZATION = {
    "client_id": "console",
    "redirect_uri": f"{HUB}/signed-in",
    "response_type": "code",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "s1",
    "nonce": "n1",
    "scope": "openid",
}


@pytest.fixture(scope="module")
def signing_key() -> bytes:
    return new_signing_key()


class World(NamedTuple):
    people: People
    sessions: Sessions
    tokens: Tokens
    sign_in: SignIn
    app: Starlette
    clock: list[float]
    mails: list[tuple[str, str]]
    owner: Person

    def browser(self, host: str = HUB, **options: Any) -> TestClient:
        return TestClient(self.app, base_url=host, follow_redirects=False, **options)

    def signed_in(self) -> TestClient:
        browser = self.browser()
        answer = redeem(browser, self.sessions.make_link(self.owner.id))
        assert answer.status_code == 303
        return browser

    def tokens_for(self, browser: TestClient) -> dict[str, Any]:
        answer = exchange(browser, code_from(authorize(browser)))
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def world(tmp_path: Path, signing_key: bytes) -> Iterator[World]:
    database, clock, mails = Database(tmp_path / "hub.sqlite"), [1_800_000_000.0], []

    def now_s() -> float:
        return clock[0]

    def is_origin(origin: str) -> bool:
        return origin in (HUB, "http://localhost:8080")

    def send_link(email: Email, link: str) -> None:
        mails.append((str(email), link))

    people, sessions = People(database, now_s=now_s), Sessions(database, now_s=now_s)
    tokens = Tokens(signing_key, is_issuer=is_origin, now_s=now_s)
    sign_in = SignIn(
        people=people,
        sessions=sessions,
        tokens=tokens,
        provider=OpenIdProvider(people, sessions, tokens, now_s=now_s),
        browsers=Browsers(sessions, is_origin),
        passkeys=Passkeys(database, now_s=now_s),
        send_link=send_link,
    )
    app = Starlette(routes=sign_in.routes())
    yield World(people, sessions, tokens, sign_in, app, clock, mails, people.first_owner())
    database.close()


def redeem(browser: TestClient, secret: str, *, origin: str = HUB, following: str = "") -> Any:
    return browser.post("/sign-in/link", data={"secret": secret, "next": following}, headers={"Origin": origin})


def authorize(browser: TestClient, **changes: str) -> Any:
    return browser.get("/oauth2/authorize", params={**AUTHORIZATION, **changes})


def code_from(answer: Any) -> str:
    assert answer.status_code == 303, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


def exchange(browser: TestClient, code: str, **changes: str) -> Any:
    form = {
        "grant_type": "authorization_code",
        "client_id": "console",
        "code": code,
        "redirect_uri": f"{HUB}/signed-in",
        "code_verifier": VERIFIER,
        **changes,
    }
    return browser.post("/oauth2/token", data=form)


def refresh(browser: TestClient, token: str) -> Any:
    form = {"grant_type": "refresh_token", "client_id": "console", "refresh_token": token}
    return browser.post("/oauth2/token", data=form)


def test_the_whole_way_from_a_link_to_who_it_is(world: World):
    browser = world.browser()
    asked = authorize(browser)
    assert urlsplit(asked.headers["location"]).path == "/sign-in"
    following = parse_qs(urlsplit(asked.headers["location"]).query)["next"][0]
    signed_in = redeem(browser, world.sessions.make_link(world.owner.id), following=following)
    assert signed_in.headers["location"] == following
    returned = urlsplit(browser.get(following).headers["location"])
    answered = parse_qs(returned.query)
    assert f"{returned.scheme}://{returned.netloc}{returned.path}" == f"{HUB}/signed-in"
    assert (answered["state"], answered["iss"]) == (["s1"], [HUB])
    tokens = exchange(browser, answered["code"][0]).json()
    told = browser.get("/oauth2/userInfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert told.json() == {"sub": str(world.owner.id)}
    assert world.sign_in.person_of(tokens["access_token"])[0] == world.owner


def test_tokens_verify_with_the_published_keys_as_any_client_would(world: World):
    browser = world.signed_in()
    told = browser.get("/.well-known/openid-configuration").json()
    assert told["issuer"] == HUB
    keys = browser.get(urlsplit(told["jwks_uri"]).path).json()
    tokens = world.tokens_for(browser)
    key = jwt.PyJWK(keys["keys"][0])
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(tokens["id_token"], key, audience="console", issuer=HUB, options=options)
    assert (claims["nonce"], claims["token_use"], claims["sub"]) == ("n1", "id", str(world.owner.id))
    assert jwt.get_unverified_header(tokens["access_token"])["kid"] == keys["keys"][0]["kid"]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(world: World):
    browser = world.browser()
    cookie = redeem(browser, world.sessions.make_link(world.owner.id)).headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=lax", "Secure", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_on_localhost_without_tls_signing_in_works_too(world: World):
    browser, localhost = world.browser("http://localhost:8080"), "http://localhost:8080"
    redeem(browser, world.sessions.make_link(world.owner.id), origin=localhost)
    assert authorize(browser, redirect_uri=f"{localhost}/signed-in").headers["location"].startswith(localhost)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"client_id": "other"}, "client_id: must be console"),
        ({"redirect_uri": "https://evil.example/signed-in"}, "redirect_uri: must be https://hub.local:8443/signed-in"),
        ({"redirect_uri": f"{HUB}/signed-in?x=1"}, "redirect_uri"),
        ({"response_type": "token"}, "response_type: must be code"),
        ({"code_challenge_method": "plain"}, "code_challenge"),
        ({"code_challenge": "short"}, "code_challenge"),
        ({"state": ""}, "state"),
        ({"state": "x" * 600}, "state"),
    ],
)
def test_a_request_that_is_not_the_consoles_is_shown_and_never_sent_back(world: World, changes, message):
    answer = authorize(world.signed_in(), **changes)
    assert answer.status_code == 400
    assert message in answer.text


def test_a_host_name_that_is_not_the_hubs_is_refused(world: World):
    rebound = world.browser("https://evil.example")
    assert "is no address of this hub" in authorize(rebound).text
    assert rebound.get("/.well-known/openid-configuration").status_code == 400
    assert refresh(rebound, "x").status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": ""},
        {"code_verifier": "ü" * 43},
        {"redirect_uri": f"{HUB}/other"},
        {"code": "guess"},
    ],
)
def test_a_stolen_code_is_worth_nothing(world: World, changes):
    browser = world.signed_in()
    answer = exchange(browser, **{"code": code_from(authorize(browser)), **changes})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_code_works_once_and_for_a_minute(world: World):
    browser = world.signed_in()
    code = code_from(authorize(browser))
    assert exchange(browser, code).status_code == 200
    assert exchange(browser, code).status_code == 400
    late = code_from(authorize(browser))
    world.clock[0] += CODE_S
    assert exchange(browser, late).status_code == 400


def test_codes_are_bounded(world: World, monkeypatch):
    monkeypatch.setattr(openid, "CODES_MAX", 2)
    browser = world.signed_in()
    codes = [code_from(authorize(browser)) for _ in range(3)]
    assert [exchange(browser, code).status_code for code in codes] == [400, 200, 200]


@pytest.mark.parametrize(
    "form, error",
    [
        ({"client_id": "console", "grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "other", "grant_type": "refresh_token"}, "invalid_client"),
        ({}, "invalid_client"),
    ],
)
def test_other_grants_and_clients_are_refused(world: World, form, error):
    answer = world.browser().post("/oauth2/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_refresh_tokens_turn_and_a_stolen_one_ends_the_session(world: World):
    browser = world.signed_in()
    first = world.tokens_for(browser)
    second = refresh(browser, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    world.clock[0] += 60
    assert refresh(browser, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert refresh(browser, second["refresh_token"]).json()["error"] == "invalid_grant"
    with pytest.raises(NotAuthorized):
        world.sign_in.person_of(second["access_token"])


def test_revoking_a_refresh_token_signs_out(world: World):
    browser = world.signed_in()
    tokens = world.tokens_for(browser)
    for token in (tokens["refresh_token"], "none of ours"):
        assert browser.post("/oauth2/revoke", data={"token": token}).status_code == 200
    with pytest.raises(NotAuthorized):
        world.sign_in.person_of(tokens["access_token"])


def test_signing_out_ends_cookie_and_tokens(world: World):
    browser = world.signed_in()
    tokens = world.tokens_for(browser)
    assert browser.post("/sign-out", headers={"Origin": "https://evil.example"}).status_code == 403
    assert world.sign_in.person_of(tokens["access_token"])[0] == world.owner
    assert browser.post("/sign-out", headers={"Origin": HUB}).status_code == 303
    with pytest.raises(NotAuthorized):
        world.sign_in.person_of(tokens["access_token"])
    assert browser.post("/sign-out", headers={"Origin": HUB}).status_code == 303


def test_a_change_of_role_counts_at_once_and_so_does_an_end_of_the_invitation(world: World):
    anna = world.people.invite(ANNA, Role.MEMBER)
    browser = world.browser()
    redeem(browser, world.sessions.make_link(anna.id))
    token = world.tokens_for(browser)["access_token"]
    world.people.change(anna.id, Role.VIEWER, frozenset({"outside"}))
    assert world.sign_in.person_of(token)[0].role is Role.VIEWER
    world.people.remove(anna.id)
    with pytest.raises(NotAuthorized):
        world.sign_in.person_of(token)


def test_an_access_token_expires(world: World):
    token = world.tokens_for(world.signed_in())["access_token"]
    world.clock[0] += TOKEN_S + LEEWAY_S - 1
    world.tokens.verify(token)
    world.clock[0] += 1
    with pytest.raises(NotAuthorized, match="expired"):
        world.tokens.verify(token)


def forged(world: World, signing_key: bytes, **changes: Any) -> dict[str, Any]:
    claims = {
        "iss": HUB,
        "sub": str(world.owner.id),
        "token_use": "access",
        "client_id": "console",
        "sid": "s",
        "jti": "j",
        "iat": int(world.clock[0]),
        "exp": int(world.clock[0]) + 600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"token_use": "id"},
        {"client_id": "other"},
        {"aud": "console"},
        {"sub": "../.."},
        {"exp": None},
        {"exp": "soon"},
        {"sid": None},
        {"iat": 1_900_000_000},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused_though_the_signature_holds(world: World, signing_key, changes):
    jwt.encode(forged(world, signing_key), signing_key, "RS256")
    world.tokens.verify(jwt.encode(forged(world, signing_key), signing_key, "RS256"))
    with pytest.raises(NotAuthorized):
        world.tokens.verify(jwt.encode(forged(world, signing_key, **changes), signing_key, "RS256"))


def test_tokens_of_other_algorithms_and_keys_are_refused(world: World, signing_key):
    claims = forged(world, signing_key)
    public = world.tokens._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    import hmac

    mac = hmac.digest(public, f"{header}.{encoded[1]}".encode(), "sha256")
    with_public_key = f"{header}.{encoded[1]}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    unsigned = jwt.encode(claims, "", "none")
    others = jwt.encode(claims, new_signing_key(), "RS256")
    for token in (with_public_key, unsigned, others, "", "a.b.c", "x" * 10_000, "ü"):
        with pytest.raises(NotAuthorized):
            world.tokens.verify(token)


def test_a_signing_key_of_another_kind_is_a_defect():
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvariantBroken):
        Tokens(pem, is_issuer=lambda _: True)


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer none"])
def test_nobody_is_told_who_they_are_without_a_token(world: World, header):
    answer = world.browser().get("/oauth2/userInfo", headers={"Authorization": header})
    assert answer.status_code == 401


def test_a_link_is_mailed_to_whom_it_may_concern_and_works(world: World):
    world.people.invite(ANNA, Role.MEMBER)
    browser = world.browser()
    following = "/oauth2/authorize?client_id=console"
    form = {"email": "Anna@Example.com ", "next": following}
    told = browser.post("/sign-in", data=form, headers={"Origin": HUB})
    [(address, link)] = world.mails
    assert (told.status_code, address) == (200, "anna@example.com")
    given = dict(parse_qsl(urlsplit(link).fragment))
    assert link == link_to(HUB, given["secret"], following)
    assert redeem(browser, given["secret"], following=given["next"]).headers["location"] == following


def test_nobody_learns_who_is_invited(world: World):
    world.people.invite(ANNA, Role.MEMBER)
    answers = [
        world.browser().post("/sign-in", data={"email": address}, headers={"Origin": HUB})
        for address in ("anna@example.com", "eve@example.com", "no address")
    ]
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert [address for address, _ in world.mails] == ["anna@example.com"]


def test_one_address_is_not_flooded_with_mail(world: World):
    world.people.invite(ANNA, Role.MEMBER)
    for _ in range(6):
        world.browser().post("/sign-in", data={"email": str(ANNA)}, headers={"Origin": HUB})
    assert len(world.mails) == 3


def test_a_mail_server_that_is_down_is_told_to_the_log_and_nobody_else(world: World, caplog):
    def down(email: Email, link: str) -> None:
        raise Unavailable("smtp.example.com does not answer")

    world.people.invite(ANNA, Role.MEMBER)
    world.sign_in._send_link = down
    answer = world.browser().post("/sign-in", data={"email": str(ANNA)}, headers={"Origin": HUB})
    assert answer.status_code == 200
    assert "smtp.example.com does not answer" in caplog.text


def test_a_hub_without_mail_says_where_the_link_is(world: World):
    world.sign_in._send_link = None
    assert "pits-hub sign-in-link" in world.browser().get("/sign-in").text
    assert world.browser().post("/sign-in", data={"email": str(ANNA)}, headers={"Origin": HUB}).status_code == 403


@pytest.mark.parametrize("following", ["https://evil.example", "//evil.example", "/other", "/oauth2/authorize", ""])
def test_signing_in_goes_on_to_nowhere_but_the_authorization(world: World, following):
    answer = redeem(world.browser(), world.sessions.make_link(world.owner.id), following=following)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://localhost:8080"])
def test_another_site_cannot_sign_a_browser_in(world: World, origin):
    link = world.sessions.make_link(world.owner.id)
    assert redeem(world.browser(), link, origin=origin).status_code == 403
    assert redeem(world.browser(), link).status_code == 303


def test_a_used_link_says_so(world: World):
    link = world.sessions.make_link(world.owner.id)
    redeem(world.browser(), link)
    answer = redeem(world.browser(), link)
    assert answer.status_code == 403
    assert "used already" in answer.text
    assert "set-cookie" not in answer.headers


def test_guessing_is_slowed_down(world: World):
    browser = world.browser()
    statuses = [redeem(browser, f"guess-{number}").status_code for number in range(25)]
    assert statuses == [403] * 20 + [429] * 5


def test_who_signs_in_rightly_is_not_slowed_down(world: World):
    browser = world.browser()
    tries = [redeem(browser, world.sessions.make_link(world.owner.id)).status_code for _ in range(25)]
    assert set(tries) == {303}


def test_a_household_of_many_tabs_renews_its_tokens_as_often_as_it_must(world: World):
    browser = world.browser()
    redeem(browser, world.sessions.make_link(world.owner.id))
    given = exchange(browser, code_from(authorize(browser))).json()
    for _ in range(25):
        answer = refresh(browser, given["refresh_token"])
        assert answer.status_code == 200
        given = answer.json()


@pytest.mark.parametrize("body", [b"secret=" + b"x" * 20_000, b"\xff\xfe", b"&" * 100])
def test_a_form_that_cannot_be_read_is_an_empty_one(world: World, body):
    headers = {"Origin": HUB, "Content-Type": "application/x-www-form-urlencoded"}
    assert world.browser().post("/sign-in/link", content=body, headers=headers).status_code == 403


def test_the_page_of_a_link_runs_its_own_script_and_no_other(world: World):
    answer = world.browser().get("/sign-in/link")
    script = answer.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"


def test_what_stands_in_a_query_is_shown_as_text(world: World):
    page = world.browser().get("/sign-in", params={"next": '/oauth2/authorize?"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text
