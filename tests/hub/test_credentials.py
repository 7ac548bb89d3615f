"""Keys that nothing stores, and the endpoint where a camera gets its own."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.hub.credentials import CredentialsProvider, Keys
from pinthesky.hub.ports import ROLE_ALIAS
from pinthesky.hub.refusals import Refusal
from pinthesky.model.identifiers import ThingName
from tests.support.hub_media import Clock
from tests.support.hub_objects import SECRET, Answer, ObjectsHub, plain_request, running

GARDEN = ThingName("garden")
CERTIFICATE = b"some DER"


def refusal_of(keys: Keys, access_key_id: str, token: str | None) -> str:
    with pytest.raises(Refusal) as refused:
        keys.open(access_key_id, token)
    return refused.value.code


# Keys


def test_a_key_is_recognised_with_its_holder():
    keys = Keys(SECRET)
    issued = keys.issue_for_thing(GARDEN, CERTIFICATE, lifetime_s=900)
    opened, holder = keys.open(issued.access_key_id, issued.session_token)
    assert opened == issued
    assert (holder.thing, holder.certificate) == ("garden", CERTIFICATE)


def test_a_key_survives_a_restart_of_the_hub():
    issued = Keys(SECRET).issue_for_hub()
    assert Keys(SECRET).open(issued.access_key_id, issued.session_token)[0] == issued


def test_the_key_of_another_hub_is_none_of_ours():
    issued = Keys(bytes(32)).issue_for_hub()
    assert refusal_of(Keys(SECRET), issued.access_key_id, issued.session_token) == "InvalidToken"


def test_the_token_of_one_key_does_not_go_with_another():
    keys = Keys(SECRET)
    one, other = keys.issue_for_hub(), keys.issue_for_hub()
    assert one.secret_access_key != other.secret_access_key
    assert refusal_of(keys, one.access_key_id, other.session_token) == "InvalidToken"


def test_a_key_ends():
    clock = Clock()
    keys = Keys(SECRET, clock=clock)
    issued = keys.issue_for_thing(GARDEN, CERTIFICATE, lifetime_s=900)
    clock.ahead_s = 901
    assert refusal_of(keys, issued.access_key_id, issued.session_token) == "ExpiredToken"


def test_the_hubs_own_key_lives_seven_days_at_most():
    clock = Clock()
    issued = Keys(SECRET, clock=clock).issue_for_hub(lifetime_s=10**9)
    assert issued.expires_at_s <= clock() + 7 * 24 * 3600


@pytest.mark.parametrize(
    "access_key_id, token, code",
    [
        ("AKIAIOSFODNN7EXAMPLE", "x", "InvalidAccessKeyId"),
        ("ASIA" + "A" * 16, None, "InvalidAccessKeyId"),
        ("ASIA" + "A" * 16, "", "InvalidToken"),
        ("ASIA" + "A" * 16, "no base64!", "InvalidToken"),
        ("ASIA" + "A" * 16, base64.urlsafe_b64encode(bytes(40)).decode(), "InvalidToken"),
        ("ASIA" + "A" * 16, "é" * 20, "InvalidToken"),
    ],
)
def test_what_is_no_key_of_ours_is_refused(access_key_id: str, token: str | None, code: str):
    assert refusal_of(Keys(SECRET), access_key_id, token) == code


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_a_token_that_was_touched_is_refused(position: int, flip: int):
    keys = Keys(SECRET)
    issued = keys.issue_for_thing(GARDEN, CERTIFICATE, lifetime_s=900)
    raw = bytearray(base64.urlsafe_b64decode(issued.session_token))
    raw[position % len(raw)] ^= flip
    touched = base64.urlsafe_b64encode(bytes(raw)).decode()
    assert refusal_of(keys, issued.access_key_id, touched) == "InvalidToken"


def test_a_short_secret_is_refused():
    with pytest.raises(InvalidInput, match="secret: must have at least 32 bytes, got 31"):
        Keys(bytes(31))


# The endpoint


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectsHub]:
    with running(ObjectsHub(tmp_path_factory.mktemp("hub"))) as hub:
        yield hub


@pytest.fixture(scope="module")
def garden(hub: ObjectsHub):
    return hub.add_camera("garden")


def ask(hub: ObjectsHub, pair, *, thing: str | None = "garden", alias: str = ROLE_ALIAS, method: str = "GET") -> Answer:
    headers = {} if thing is None else {"x-amzn-iot-thingname": thing}
    path = f"/role-aliases/{urllib.parse.quote(alias)}/credentials"
    return plain_request(hub, method, path, headers=headers, pair=pair)


def test_a_camera_gets_a_key_for_its_certificate(hub: ObjectsHub, garden):
    answer = ask(hub, garden)
    found = json.loads(answer.body)["credentials"]
    assert answer.status == 200
    assert set(found) == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
    key, holder = hub.keys.open(found["accessKeyId"], found["sessionToken"])
    assert key.secret_access_key == found["secretAccessKey"]
    assert holder.thing == "garden"
    assert datetime.fromisoformat(found["expiration"]).timestamp() == key.expires_at_s
    assert key.expires_at_s == pytest.approx(hub.clock() + 3600, abs=10)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("claimed", ["yard", None, ""])
def test_a_camera_gets_no_key_for_another_name(hub: ObjectsHub, garden, claimed: str | None):
    answer = ask(hub, garden, thing=claimed)
    assert answer.status == 403
    assert "must be garden" in json.loads(answer.body)["message"]


def test_without_a_certificate_there_is_no_key(hub: ObjectsHub, garden):
    answer = ask(hub, None)
    assert answer.status == 403
    assert "certificate is needed" in json.loads(answer.body)["message"]


def test_a_certificate_that_nobody_registered_gets_no_key(hub: ObjectsHub, garden):
    assert ask(hub, hub.authority.issue("stranger"), thing="stranger").status == 403


def test_a_forged_name_in_an_unregistered_certificate_gets_no_key(hub: ObjectsHub, garden, tmp_path: Path):
    forged = hub.authority.issue("twin")
    assert ask(hub, forged, thing="garden").status == 403


def test_an_unknown_alias_is_not_found(hub: ObjectsHub, garden):
    assert ask(hub, garden, alias="other").status == 404


def test_a_removed_camera_gets_no_key_any_more(hub: ObjectsHub):
    pair = hub.add_camera("shed")
    assert ask(hub, pair, thing="shed").status == 200
    hub.registry.remove(ThingName("shed"))
    assert ask(hub, pair, thing="shed").status == 403


def test_only_get_gives_a_key(hub: ObjectsHub, garden):
    assert ask(hub, garden, method="POST").status == 403


@pytest.mark.parametrize(
    "changes, field",
    [({"lifetime_s": 899}, "lifetime"), ({"lifetime_s": 43201}, "lifetime"), ({"role_alias": "a/b"}, "role_alias")],
)
def test_settings_out_of_bounds_are_refused(hub: ObjectsHub, changes: dict, field: str):
    arguments = {"registry": hub.registry, "keys": hub.keys, "role_alias": "a", "lifetime_s": 900}
    with pytest.raises(InvalidInput, match=field):
        CredentialsProvider(**{**arguments, **changes})
