"""Passkeys: added by who is signed in, shown by who signs in, and what is refused of both."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from pinthesky.hub import passkeys as module
from pinthesky.hub.browsers import Browsers
from pinthesky.hub.database import Database
from pinthesky.hub.openid import OpenIdProvider
from pinthesky.hub.passkeys import CHALLENGE_S, Passkeys, host_of
from pinthesky.hub.people import People
from pinthesky.hub.sessions import Sessions
from pinthesky.hub.sign_in import SignIn
from pinthesky.hub.tokens import Tokens, new_signing_key
from pinthesky.model.people import Email, Person, Role
from tests.support.authenticator import Authenticator, bytes_of, text_of

HUB, OTHER, BARE = "https://hub.local:8443", "https://hub.lan:8443", "https://192.168.1.7:8443"
WRONG = (NotAuthorized, InvalidInput)


class Stage:
    """Passkeys on a database of their own, and somebody to have them."""

    def __init__(self, folder: Path) -> None:
        self.clock = [1_800_000_000.0]
        self.database = Database(folder / "hub.sqlite")
        self.people = People(self.database, now_s=self._now_s)
        self.sessions = Sessions(self.database, now_s=self._now_s)
        self.passkeys = Passkeys(self.database, now_s=self._now_s)
        self.owner = self.people.first_owner()
        self.anna = self.people.invite(Email("anna@example.com"), Role.MEMBER)
        self.phone = Authenticator()

    def _now_s(self) -> float:
        return self.clock[0]

    def add(self, person: Person | None = None, *, origin: str = HUB, name: str = "My phone") -> str:
        person = person or self.anna
        made = self.phone.create(self.passkeys.adding(person, origin), origin)
        return self.passkeys.add(person, origin, name=name, credential=made).id

    def show(self, origin: str = HUB) -> dict[str, Any]:
        return self.phone.get(self.passkeys.asking(origin), origin)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.database.close()


def test_whoever_shows_a_passkey_is_who_has_added_it(stage: Stage):
    stage.add(stage.owner)
    owner_phone, stage.phone = stage.phone, Authenticator()
    key = stage.add()
    assert stage.passkeys.person_of(HUB, stage.show()) == stage.anna.id
    stage.clock[0] += 60
    assert stage.passkeys.person_of(HUB, stage.show()) == stage.anna.id
    stage.phone = owner_phone
    assert stage.passkeys.person_of(HUB, stage.show()) == stage.owner.id
    (listed,) = stage.passkeys.of_person(stage.anna.id)
    assert (listed.id, listed.name, listed.host) == (key, "My phone", "hub.local")
    assert (listed.made_at_s, listed.used_at_s) == (1_800_000_000, 1_800_000_060)


def test_a_browser_is_asked_for_keys_that_it_keeps_and_that_somebody_has_to_unlock(stage: Stage):
    key = stage.add()
    options = stage.passkeys.adding(stage.anna, HUB)
    assert options["rp"] == {"id": "hub.local", "name": "Pi In The Sky"}
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert [each["id"] for each in options["excludeCredentials"]] == [key]
    assert bytes_of(options["user"]["id"]).decode() == stage.anna.id
    assert not stage.passkeys.adding(stage.anna, OTHER).get("excludeCredentials")
    asked = stage.passkeys.asking(HUB)
    assert (asked["rpId"], asked["userVerification"], asked.get("allowCredentials", [])) == (
        "hub.local",
        "required",
        [],
    )


def test_an_answer_is_good_once_in_its_time_for_its_place_and_its_person(stage: Stage):
    stage.add()
    shown = stage.show()
    assert stage.passkeys.person_of(HUB, shown) == stage.anna.id
    with pytest.raises(NotAuthorized, match="too long"):
        stage.passkeys.person_of(HUB, shown)
    late = stage.show()
    stage.clock[0] += CHALLENGE_S
    with pytest.raises(NotAuthorized, match="too long"):
        stage.passkeys.person_of(HUB, late)
    with pytest.raises(NotAuthorized, match="somebody else"):
        stage.passkeys.person_of("https://hub.local:9443", stage.show())
    made = stage.phone.create(stage.passkeys.adding(stage.anna, HUB), HUB)
    with pytest.raises(NotAuthorized, match="somebody else"):
        stage.passkeys.add(stage.owner, HUB, name="mine", credential=made)
    asked_for_adding = stage.phone.get({**stage.passkeys.adding(stage.anna, HUB), "rpId": "hub.local"}, HUB)
    with pytest.raises(NotAuthorized, match="somebody else"):
        stage.passkeys.person_of(HUB, asked_for_adding)


def test_a_key_of_one_name_is_none_of_another(stage: Stage):
    stage.add()
    asked = stage.passkeys.asking(OTHER)
    with pytest.raises(NotAuthorized):
        stage.passkeys.person_of(OTHER, stage.phone.get({**asked, "rpId": "hub.local"}, OTHER))
    elsewhere = stage.phone.get(stage.passkeys.asking(HUB), "https://hub.local.example.com")
    with pytest.raises(NotAuthorized, match="does not prove"):
        stage.passkeys.person_of(HUB, elsewhere)


def test_what_is_not_signed_by_that_key_or_not_unlocked_proves_nothing(stage: Stage):
    stage.add()
    shown = stage.show()
    shown["response"]["signature"] = stage.show()["response"]["signature"]
    with pytest.raises(NotAuthorized, match="does not prove"):
        stage.passkeys.person_of(HUB, shown)
    stage.phone.is_verified = False
    with pytest.raises(NotAuthorized, match="does not prove"):
        stage.passkeys.person_of(HUB, stage.show())
    made = stage.phone.create(stage.passkeys.adding(stage.anna, HUB), HUB)
    with pytest.raises(InvalidInput, match="no passkey that can be used"):
        stage.passkeys.add(stage.anna, HUB, name="unlocked", credential=made)


def test_a_copied_key_is_noticed_by_its_count(stage: Stage):
    stage.add()
    copied = copy.copy(stage.phone.keys[-1])
    for _ in range(2):
        stage.passkeys.person_of(HUB, stage.show())
    stage.phone.keys.append(copied)
    with pytest.raises(NotAuthorized):
        stage.passkeys.person_of(HUB, stage.show())


def test_a_handle_of_somebody_else_is_refused(stage: Stage):
    stage.add()
    shown = stage.show()
    shown["response"]["userHandle"] = text_of(stage.owner.id.encode())
    with pytest.raises(NotAuthorized, match="does not prove"):
        stage.passkeys.person_of(HUB, shown)


def test_a_key_is_named_and_removed_by_its_person_alone(stage: Stage):
    key = stage.add()
    for change in (lambda who: stage.passkeys.rename(who, key, "Theirs"), lambda who: stage.passkeys.remove(who, key)):
        with pytest.raises(NotFound):
            change(stage.owner.id)
    stage.passkeys.rename(stage.anna.id, key, " Old  phone ")
    assert [each.name for each in stage.passkeys.of_person(stage.anna.id)] == ["Old phone"]
    for name in ("", " ", "x" * 61, "a\x00b"):
        with pytest.raises(InvalidInput, match="1 to 60 letters"):
            stage.passkeys.rename(stage.anna.id, key, name)
    stage.passkeys.remove(stage.anna.id, key)
    with pytest.raises(NotAuthorized, match="not known"):
        stage.passkeys.person_of(HUB, stage.show())


def test_keys_go_with_their_person(stage: Stage):
    stage.add()
    stage.people.remove(stage.anna.id)
    with pytest.raises(NotAuthorized, match="not known"):
        stage.passkeys.person_of(HUB, stage.show())


def test_keys_and_open_questions_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PASSKEYS_MAX", 1)
    monkeypatch.setattr(module, "CHALLENGES_MAX", 2)
    waiting = stage.phone.create(stage.passkeys.adding(stage.anna, HUB), HUB)
    stage.add()
    with pytest.raises(Conflict, match="1 passkeys already"):
        stage.passkeys.adding(stage.anna, HUB)
    with pytest.raises(Conflict, match="1 passkeys already"):
        stage.passkeys.add(stage.anna, HUB, name="second", credential=waiting)
    first = stage.show()
    for _ in range(2):
        stage.passkeys.asking(HUB)
    with pytest.raises(NotAuthorized, match="too long"):
        stage.passkeys.person_of(HUB, first)


def test_a_bare_address_has_no_passkeys(stage: Stage):
    assert host_of("http://localhost:8480") == "localhost"
    for origin in (BARE, "https://[fe80::1]:8443"):
        with pytest.raises(InvalidInput, match="need a name"):
            stage.passkeys.asking(origin)


ODD: st.SearchStrategy[Any] = st.none() | st.integers() | st.text(max_size=20) | st.just({}) | st.just("AAAA")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(adds=st.booleans(), number=st.integers(0, 7), place=st.integers(0, 9999), flip=st.integers(0, 255), odd=ODD)
def test_nothing_that_is_shown_breaks_anything(
    stage: Stage, *, adds: bool, number: int, place: int, flip: int, odd: Any
):
    for key in stage.passkeys.of_person(stage.anna.id):
        stage.passkeys.remove(stage.anna.id, key.id)
    stage.add()
    shown = stage.phone.create(stage.passkeys.adding(stage.anna, HUB), HUB) if adds else stage.show()
    fields = ["id", "rawId", "type", "response", *shown["response"]]
    name = fields[number % len(fields)]
    target = shown["response"] if name in shown["response"] else shown
    if flip and isinstance(target[name], str):
        raw = bytearray(bytes_of(target[name]))
        raw[place % len(raw)] ^= flip
        target[name] = text_of(bytes(raw))
    else:
        target[name] = odd
    try:
        if adds:
            stage.passkeys.add(stage.anna, HUB, name="odd", credential=shown)
        else:
            assert stage.passkeys.person_of(HUB, shown) == stage.anna.id
    except WRONG:
        return


# In the browser


@pytest.fixture(scope="module")
def signing_key() -> bytes:
    return new_signing_key()


class Site:
    """The sign-in pages, and a browser with a phone."""

    def __init__(self, stage: Stage, signing_key: bytes, origin: str = HUB) -> None:
        tokens = Tokens(signing_key, is_issuer=self._is_origin, now_s=stage._now_s)
        sign_in = SignIn(
            people=stage.people,
            sessions=stage.sessions,
            tokens=tokens,
            provider=OpenIdProvider(stage.people, stage.sessions, tokens),
            browsers=Browsers(stage.sessions, self._is_origin),
            send_link=None,
            passkeys=stage.passkeys,
        )
        self.stage = stage
        self.origin = origin
        self.app = Starlette(routes=sign_in.routes())
        self.browser = TestClient(self.app, base_url=origin, follow_redirects=False)

    def _is_origin(self, origin: str) -> bool:
        return origin in (HUB, BARE)

    def post(self, path: str, document: Any = None, origin: str | None = None) -> Any:
        headers = {"Origin": self.origin if origin is None else origin}
        return self.browser.post(path, json={} if document is None else document, headers=headers)

    def send(self, path: str, **form: str) -> Any:
        return self.browser.post(path, data=form, headers={"Origin": self.origin})

    def sign_in_by_link(self) -> None:
        answer = self.send("/sign-in/link", secret=self.stage.sessions.make_link(self.stage.anna.id))
        assert answer.status_code == 303

    def add(self, name: str = "My phone") -> Any:
        options = self.post("/sign-in/passkeys/options").json()
        made = self.stage.phone.create(options, self.origin)
        return self.post("/sign-in/passkeys", {"name": name, "credential": made})

    def sign_in(self, following: str = "") -> Any:
        options = self.post("/sign-in/passkey/options").json()
        shown = self.stage.phone.get(options, self.origin)
        return self.post("/sign-in/passkey", {"credential": shown, "next": following})


@pytest.fixture
def site(stage: Stage, signing_key: bytes) -> Site:
    return Site(stage, signing_key)


def test_one_is_added_named_used_and_removed_by_browser(site: Site):
    site.sign_in_by_link()
    assert "You have none yet" in site.browser.get("/sign-in/passkeys").text
    added = site.add("<My phone>")
    assert added.status_code == 201, added.text
    shown = site.browser.get("/sign-in/passkeys").text
    assert "<strong>&lt;My phone&gt;</strong>" in shown
    assert "never used" in shown
    key = unescape(re.findall(r'name="id" value="([^"]+)"', shown)[0])
    assert site.send("/sign-in/passkeys/rename", id=key, name="Key ring").status_code == 303
    assert "Key ring" in site.browser.get("/sign-in/passkeys").text
    assert site.send("/sign-out").status_code == 303
    site.browser.cookies.clear()
    following = "/oauth2/authorize?client_id=console"
    signed_in = site.sign_in(following)
    assert (signed_in.status_code, signed_in.json()) == (200, {"next": following})
    assert "HttpOnly" in signed_in.headers["set-cookie"]
    assert "Secure" in signed_in.headers["set-cookie"]
    assert "last used 2027-01-15" in site.browser.get("/sign-in/passkeys").text
    assert site.send("/sign-in/passkeys/remove", id=key).status_code == 303
    assert site.sign_in().status_code == 403


def test_after_signing_in_nobody_is_led_elsewhere(site: Site):
    site.sign_in_by_link()
    site.add()
    for following in ("https://evil.example", "//evil.example", "/other", None, 7):
        assert site.sign_in(following).json() == {"next": "/"}  # type: ignore[arg-type] # what a script might send


def test_who_is_not_signed_in_adds_and_sees_none(site: Site):
    assert site.browser.get("/sign-in/passkeys").headers["location"] == "/sign-in"
    assert site.post("/sign-in/passkeys/options").status_code == 403
    assert site.post("/sign-in/passkeys", {"name": "x", "credential": {}}).status_code == 403
    for path in ("rename", "remove"):
        assert site.send(f"/sign-in/passkeys/{path}", id="x").headers["location"] == "/sign-in"


def test_another_site_asks_for_nothing(site: Site):
    site.sign_in_by_link()
    for origin in ("https://evil.example", "null", "", "http://hub.local:8443"):
        for path in (
            "passkeys/options",
            "passkeys",
            "passkey/options",
            "passkey",
            "passkeys/rename",
            "passkeys/remove",
        ):
            assert site.post(f"/sign-in/{path}", origin=origin).status_code == 403, (origin, path)


def test_what_is_wrong_is_said_and_never_breaks(site: Site):
    site.sign_in_by_link()
    headers = {"Origin": HUB}
    for path in ("/sign-in/passkeys", "/sign-in/passkey"):
        for body in (b"", b"[]", b"{", b"\xff", b"[" * 20_000, b"{}", b'{"credential": {}}', b"x" * 40_000):
            answer = site.browser.post(path, content=body, headers=headers)
            assert (answer.status_code, bool(answer.json()["message"])) in ((400, True), (429, True)), (path, body[:20])
    answer = site.send("/sign-in/passkeys/rename", id="no such", name="x")
    assert (answer.status_code, "There is no such passkey" in answer.text) == (400, True)


def test_tries_are_counted(site: Site):
    codes = [site.post("/sign-in/passkey/options").status_code for _ in range(30)]
    assert (codes[0], codes[-1]) == (200, 429)


def test_the_button_is_shown_where_it_works(stage: Stage, signing_key: bytes):
    named, bare = Site(stage, signing_key), Site(stage, signing_key, BARE)
    shown = named.browser.get("/sign-in")
    assert "Sign in with a passkey" in shown.text
    assert "connect-src 'self'" in shown.headers["content-security-policy"]
    assert "passkey" not in bare.browser.get("/sign-in").text
    bare.sign_in_by_link()
    refused = bare.browser.get("/sign-in/passkeys")
    assert (refused.status_code, "need a name" in refused.text) == (400, True)
    assert bare.post("/sign-in/passkeys/options").json()["message"].startswith("host: passkeys need a name")
