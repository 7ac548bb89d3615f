"""Letting a camera in by RFC 8628, from its request to its certificate."""

from __future__ import annotations

from typing import Any

import pytest

from pinthesky.planes.control_plane import registrations
from pinthesky.planes.records.registrations import LIFETIME_S
from tests.planes.home import HALL, MEMBER, NOBODY, OWNER, StagedHome, ask, ask_for, problem_of
from tests.planes.test_signing_request import P256, REQUEST, fingerprint_of


class Device:
    """A camera that asks to be let in."""

    def __init__(self, home: StagedHome, host_name: str = "raspberrypi") -> None:
        self.home = home
        self.told = ask_for(home, NOBODY, "POST", "/registrations", {"csr": REQUEST, "host_name": host_name})

    @property
    def path(self) -> str:
        return f"/registrations/{self.told['user_code']}"

    def poll(self) -> Any:
        """What it is told: its certificate, or the code of an error."""
        body = {"device_code": self.told["device_code"], "grant_type": registrations.GRANT_TYPE}
        status, answer = ask(self.home, NOBODY, "POST", "/registrations/token", body)
        assert status == (400 if "error" in answer else 200)
        return answer.get("error", answer)

    def wait_and_poll(self) -> Any:
        self.home.clock.now_s += 5
        return self.poll()

    def approve(self, thing: str = "porch", **more: Any) -> tuple[int, Any]:
        return ask(self.home, OWNER, "POST", self.path, {"decision": "approve", "thingName": thing, **more})


def test_a_device_is_told_what_to_show_and_how_to_ask(home):
    told = Device(home).told
    assert (told["expires_in"], told["interval"], told["verification_uri"]) == (900, 5, "https://home.test/register")
    assert told["verification_uri_complete"] == f"https://home.test/register?user_code={told['user_code']}"
    letters = told["user_code"].replace("-", "")
    assert (len(letters), set(letters) <= set("BCDFGHJKLMNPQRSTVWXZ"), told["user_code"][4]) == (8, True, "-")
    assert len(told["device_code"]) >= 43
    assert told["device_code"] not in str(home.table.query("registration").records)
    assert told["device_code"] not in str(home.table.query("registration-of").records)


def test_the_approving_person_sees_who_asks_and_with_which_key(home):
    device = Device(home)
    seen = ask_for(home, OWNER, "GET", device.path)
    assert (seen["hostName"], seen["sourceIp"], seen["state"]) == ("raspberrypi", "192.0.2.7", "pending")
    assert seen["fingerprint"].replace(":", "").lower() == fingerprint_of(P256)
    assert (seen["fingerprint"], seen["keyKind"]) == (device.told["fingerprint"], "EC P-256")
    assert "csr" not in seen
    typed = device.told["user_code"].replace("-", " ").lower()
    assert ask_for(home, OWNER, "GET", f"/registrations/{typed}") == seen


def test_an_approved_device_gets_its_certificate_and_is_a_camera(fleet):
    device = Device(fleet)
    assert device.poll() == "authorization_pending"
    status, seen = device.approve("porch", displayName="The porch", groups=["outside"])
    assert (status, seen["state"], seen["thingName"]) == (200, "approved", "porch")
    given = device.wait_and_poll()
    assert given == {
        "thing_name": "porch",
        "certificate": "certificate of porch",
        "authority": "authority",
        "endpoints": {"mqtt_host": "home.test", "mqtt_port": "8883", "role_alias": "camera"},
    }
    assert fleet.things.registered["porch"] == REQUEST
    camera = ask_for(fleet, OWNER, "GET", "/cameras/porch")
    assert camera["displayName"] == "The porch"
    assert "outside" in str(ask_for(fleet, OWNER, "GET", "/cameras/porch/groups"))


def test_the_certificate_is_fetched_once_and_repeated_only_for_an_answer_that_was_lost(home):
    device = Device(home)
    device.approve()
    first = device.wait_and_poll()
    home.clock.now_s += registrations.REPEAT_S - 1
    assert device.poll() == first
    home.clock.now_s += registrations.REPEAT_S
    assert device.poll() == "expired_token"
    assert problem_of(home, OWNER, "GET", device.path)[0] == 404


def test_a_denied_device_is_told_so(home):
    device = Device(home)
    assert ask_for(home, OWNER, "POST", device.path, {"decision": "deny"})["state"] == "denied"
    assert [device.wait_and_poll(), device.wait_and_poll()] == ["access_denied"] * 2
    assert home.things.registered == {}
    assert device.approve()[0] == 409


def test_who_asks_too_fast_has_to_wait_longer_each_time(home):
    device = Device(home)
    assert device.poll() == "authorization_pending"
    assert [device.poll(), device.wait_and_poll(), device.wait_and_poll()] == ["slow_down"] * 3
    home.clock.now_s += 20
    assert device.poll() == "authorization_pending"


def test_a_device_that_asks_as_told_is_never_told_to_slow_down(home):
    device = Device(home)
    home.clock.now_s += 4.6
    assert device.poll() == "authorization_pending"
    home.clock.now_s += 4.6
    assert device.poll() == "authorization_pending"


def test_the_approval_is_heard_even_by_a_device_that_asks_too_fast(home):
    device = Device(home)
    device.poll()
    device.approve()
    assert device.poll()["thing_name"] == "porch"


def test_after_its_time_a_code_is_worth_nothing(home):
    device = Device(home)
    home.clock.now_s += LIFETIME_S
    assert device.poll() == "expired_token"
    assert device.approve()[0] == 404


def test_an_approval_in_the_last_second_can_still_be_fetched(home):
    device = Device(home)
    home.clock.now_s += LIFETIME_S - 1
    device.approve()
    home.clock.now_s += 60
    assert device.poll()["thing_name"] == "porch"


@pytest.mark.parametrize(
    "body, error",
    [
        ({"device_code": "never given"}, "invalid_grant"),
        ({"device_code": "x", "grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_another_grant_or_an_unknown_code_is_refused_as_oauth_says(home, body, error):
    status, answer = ask(home, NOBODY, "POST", "/registrations/token", body)
    assert (status, answer["error"]) == (400, error)


@pytest.mark.parametrize(
    "body, field",
    [
        ({"csr": "x"}, "csr"),
        ({"csr": "x" * 5000}, "csr"),
        ({"csr": REQUEST, "host_name": "a b"}, "host_name"),
        ({"csr": REQUEST, "private_key": "x"}, "private_key"),
        ({}, "csr"),
    ],
)
def test_a_wish_that_is_none_is_refused_with_its_field(home, body, field):
    assert problem_of(home, NOBODY, "POST", "/registrations", body) == (400, field)


@pytest.mark.parametrize(
    "body, status, field",
    [
        ({"decision": "approve"}, 400, "thingName"),
        ({"decision": "approve", "thingName": "a b"}, 400, "thingName"),
        ({"decision": "approve", "thingName": "porch", "groups": ["attic"]}, 400, "groups"),
        ({"decision": "perhaps"}, 400, "decision"),
        ({"decision": "approve", "thingName": "hall"}, 409, None),
    ],
)
def test_a_decision_that_cannot_be_leaves_the_device_waiting(fleet, body, status, field):
    device = Device(fleet)
    assert problem_of(fleet, OWNER, "POST", device.path, body) == (status, field)
    assert device.poll() == "authorization_pending"
    assert device.approve("porch")[0] == 200


def test_two_owners_do_not_let_one_device_in_twice(home, monkeypatch):
    device = Device(home)
    register = home.things.register
    seconds = []

    def slow(thing, csr):
        monkeypatch.setattr(home.things, "register", register)
        seconds.append(device.approve("second")[0])
        return register(thing, csr)

    monkeypatch.setattr(home.things, "register", slow)
    assert device.approve("first")[0] == 200
    assert (seconds, list(home.things.registered)) == ([409], ["first"])


def test_while_it_is_decided_a_device_waits(home, monkeypatch):
    device = Device(home)
    told = []
    register = home.things.register

    def watched(thing, csr):
        told.append(device.poll())
        return register(thing, csr)

    monkeypatch.setattr(home.things, "register", watched)
    device.approve()
    assert told == ["authorization_pending"]


def test_codes_cannot_be_guessed_without_end(home):
    device = Device(home)
    guesses = [ask(home, OWNER, "GET", "/registrations/BBBB-BBBB")[0] for _ in range(12)]
    assert guesses == [404] * 10 + [429] * 2
    assert ask(home, OWNER, "GET", device.path)[0] == 429
    home.clock.now_s += 600
    assert ask(home, OWNER, "GET", device.path)[0] == 200


def test_device_codes_cannot_be_guessed_without_end_and_that_holds_up_no_device(home):
    device = Device(home)
    body = {"device_code": "guessed"}
    assert [ask(home, NOBODY, "POST", "/registrations/token", body)[0] for _ in range(12)] == [400] * 10 + [429] * 2
    assert device.poll() == "authorization_pending"


def test_one_address_begins_a_bounded_number_of_registrations(home):
    for _ in range(registrations.ASKED_MAX):
        Device(home)
    assert problem_of(home, NOBODY, "POST", "/registrations", {"csr": REQUEST})[0] == 429


def test_a_bounded_number_of_devices_waits(home, monkeypatch):
    monkeypatch.setattr(registrations, "ASKED_MAX", 1000)
    for _ in range(registrations.PENDING_MAX):
        Device(home)
    assert problem_of(home, NOBODY, "POST", "/registrations", {"csr": REQUEST})[0] == 429
    home.clock.now_s += LIFETIME_S
    Device(home)


def test_a_code_that_is_no_code_is_bad_input_and_members_have_no_say(home):
    assert problem_of(home, OWNER, "GET", "/registrations/AEIO-UUUU") == (400, "code")
    assert problem_of(home, MEMBER, "POST", Device(home).path, {"decision": "deny"})[0] == 403


def test_when_no_code_is_free_the_device_is_told_to_come_again(home, monkeypatch):
    device = Device(home)
    taken = home.registrations.user_code_of(device.told["device_code"])
    monkeypatch.setattr(type(taken), "new", classmethod(lambda cls: taken))
    assert problem_of(home, NOBODY, "POST", "/registrations", {"csr": REQUEST})[0] == 500


def test_no_answer_holds_what_would_let_somebody_else_fetch(fleet):
    device = Device(fleet)
    device.approve("porch")
    for path in (device.path, f"/cameras/{HALL}"):
        assert device.told["device_code"] not in str(ask_for(fleet, OWNER, "GET", path))
