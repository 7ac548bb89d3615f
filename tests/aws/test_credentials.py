from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pinthesky.aws.credentials import CredentialsEndpoint, describe_skew, region_of
from pinthesky.device.fakes import FakeClock
from pinthesky.device.timekeeping import SystemClock
from pinthesky.errors import InvalidInput, NotAuthorized, PinTheSkyError, Unavailable
from tests.support.aws_fixtures import make_endpoint
from tests.support.aws_servers import CertificateAuthority, CredentialsFault, CredentialsServer, closed_port

HOUR_S = 3600.0


def clock_now(ahead_s: float = 0.0, *, synchronised: bool = True) -> FakeClock:
    return FakeClock(SystemClock().wall() + ahead_s, synchronised=synchronised)


def no_jitter() -> float:
    return 1.0


# What is asked and answered


def test_the_certificate_is_exchanged_for_temporary_keys(endpoint: CredentialsEndpoint):
    lease = endpoint.current()
    assert lease.access_key.startswith("ASIA")
    assert lease.secret_key == "secret+of/the=test"
    assert lease.token.startswith("token-")


def test_another_thing_than_the_certificates_is_not_authorized(credentials_server: CredentialsServer):
    with pytest.raises(NotAuthorized, match=r"403 for role alias 'uploads' and thing 'kitchen'.*AssumeRole"):
        make_endpoint(credentials_server, thing_name="kitchen").current()


def test_an_unknown_role_alias_is_not_authorized(credentials_server: CredentialsServer):
    with pytest.raises(NotAuthorized, match=r"role alias 'others'.*Access Denied"):
        make_endpoint(credentials_server, role_alias="others").current()


def test_a_certificate_of_another_authority_is_turned_away(credentials_server: CredentialsServer, tmp_path: Path):
    stranger = CertificateAuthority(tmp_path, "stranger").issue("garden")
    with pytest.raises(Unavailable, match="cannot be reached"):
        make_endpoint(credentials_server, cert=stranger.cert, key=stranger.key).current()
    assert credentials_server.requests == 0


def test_a_server_of_another_authority_is_not_believed(credentials_server: CredentialsServer, tmp_path: Path):
    with pytest.raises(Unavailable, match="certificate verify failed"):
        make_endpoint(credentials_server, ca=CertificateAuthority(tmp_path, "other").cert).current()
    assert credentials_server.requests == 0


# Keeping and renewing


def test_keys_are_kept_until_shortly_before_they_end(credentials_server: CredentialsServer):
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock)
    first = endpoint.current()
    clock.advance(HOUR_S - 310)
    assert endpoint.current() == first
    clock.advance(20)
    assert endpoint.current() != first
    assert credentials_server.requests == 2


def test_keys_of_a_short_life_are_renewed_after_three_quarters_of_it(credentials_server: CredentialsServer):
    credentials_server.lifetime_s = 40
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock)
    first = endpoint.current()
    clock.advance(28)
    assert endpoint.current() == first
    clock.advance(4)
    assert endpoint.current() != first


def test_many_threads_make_one_request(endpoint: CredentialsEndpoint, credentials_server: CredentialsServer):
    with ThreadPoolExecutor(8) as pool:
        leases = set(pool.map(lambda _: endpoint.current(), range(8)))
    assert len(leases) == 1
    assert credentials_server.requests == 1


def test_keys_that_are_still_good_are_used_while_renewing_fails(credentials_server: CredentialsServer):
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock)
    first = endpoint.current()
    credentials_server.standing_fault = CredentialsFault.BROKEN
    clock.advance(HOUR_S - 100)
    assert endpoint.current() == first
    clock.advance(110)
    with pytest.raises(Unavailable, match="500"):
        endpoint.current()


def test_a_failed_request_is_not_repeated_before_the_back_off(credentials_server: CredentialsServer):
    credentials_server.standing_fault = CredentialsFault.BROKEN
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock, jitter=no_jitter)
    for _ in range(50):
        with pytest.raises(Unavailable, match="500"):
            endpoint.current()
    assert credentials_server.requests == 1
    clock.advance(2)
    with pytest.raises(Unavailable):
        endpoint.current()
    assert credentials_server.requests == 2


@pytest.mark.parametrize("fault, longest_s", [(CredentialsFault.BROKEN, 60), (CredentialsFault.DENIED, 900)])
def test_hours_of_failures_are_a_bounded_number_of_requests(
    credentials_server: CredentialsServer, fault: CredentialsFault, longest_s: int
):
    credentials_server.standing_fault = fault
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock, jitter=no_jitter)
    outage_s = 25 * longest_s
    for _ in range(int(outage_s / 5)):
        with pytest.raises(PinTheSkyError):
            endpoint.current()
        clock.advance(5)
    assert credentials_server.requests <= 25 + 12


def test_trouble_and_its_end_are_logged_once(credentials_server: CredentialsServer, caplog: Any):
    caplog.set_level(logging.INFO, "pinthesky")
    credentials_server.faults.extend([CredentialsFault.BROKEN] * 3)
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock)
    for _ in range(3):
        with pytest.raises(Unavailable):
            endpoint.current()
        clock.advance(30)
    endpoint.current()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[1] == "credentials are available again after 3 failed attempts"


def test_keys_that_a_service_refuses_are_asked_for_anew(credentials_server: CredentialsServer):
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock)
    first = endpoint.current()
    endpoint.forget()
    with pytest.raises(Unavailable, match="refused the last ones as expired"):
        endpoint.current()
    clock.advance(2)
    assert endpoint.current() != first


def test_a_rotated_certificate_is_taken_up(credentials_server: CredentialsServer):
    clock = clock_now()
    endpoint = make_endpoint(credentials_server, clock=clock)
    endpoint.current()
    credentials_server.authority.issue(credentials_server.thing_name)  # over the same paths
    clock.advance(HOUR_S)
    assert endpoint.current().access_key.endswith("2")


# Answers that are none


@pytest.mark.parametrize(
    "fault, message",
    [
        (CredentialsFault.CUT, "cannot be reached|truncated"),
        (CredentialsFault.GARBAGE, "no credentials"),
        (CredentialsFault.HUGE, "more than 65536 bytes"),
        (CredentialsFault.BROKEN, "answered 500"),
    ],
)
def test_a_broken_answer_is_unavailable(
    endpoint: CredentialsEndpoint, credentials_server: CredentialsServer, fault: CredentialsFault, message: str
):
    credentials_server.faults.append(fault)
    with pytest.raises(Unavailable, match=message):
        endpoint.current()


def test_a_server_that_never_answers_is_given_up(credentials_server: CredentialsServer):
    credentials_server.faults.append(CredentialsFault.HANG)
    with pytest.raises(Unavailable, match="timed out"):
        make_endpoint(credentials_server, timeouts_s=(2.0, 0.2)).current()


def test_nobody_there_is_unavailable(credentials_server: CredentialsServer):
    with pytest.raises(Unavailable, match="cannot be reached"):
        make_endpoint(credentials_server, endpoint=f"localhost:{closed_port()}").current()


def test_keys_that_have_ended_already_are_no_keys(credentials_server: CredentialsServer):
    credentials_server.lifetime_s = -5
    with pytest.raises(Unavailable, match="end in"):
        make_endpoint(credentials_server).current()


def test_a_life_beyond_what_aws_gives_is_cut(credentials_server: CredentialsServer):
    credentials_server.lifetime_s = 10 * 365 * 24 * HOUR_S
    lease = make_endpoint(credentials_server, clock=clock_now()).current()
    assert lease.expires_at <= 100 + 12 * HOUR_S


# Clocks


@pytest.mark.parametrize("ahead_s, words", [(HOUR_S, "1:00:00 ahead"), (-HOUR_S, "1:00:00 behind")])
def test_a_wrong_clock_is_named_and_does_not_shorten_the_life_of_keys(
    credentials_server: CredentialsServer, caplog: Any, ahead_s: float, words: str
):
    clock = clock_now(ahead_s)
    endpoint = make_endpoint(credentials_server, clock=clock)
    first = endpoint.current()
    assert first.expires_at == pytest.approx(100 + HOUR_S, abs=5)
    assert endpoint.skew_s == pytest.approx(ahead_s, abs=5)
    told = [record.getMessage() for record in caplog.records if record.name == "pinthesky.aws.credentials"]
    assert [f"this machine's clock is {words}" in message for message in told] == [True]
    clock.set_wall(clock.wall() + 30 * 24 * HOUR_S)
    assert endpoint.current() == first


def test_a_clock_that_is_right_again_is_told(credentials_server: CredentialsServer, caplog: Any):
    caplog.set_level(logging.INFO, "pinthesky")
    clock = clock_now(HOUR_S)
    endpoint = make_endpoint(credentials_server, clock=clock)
    endpoint.current()
    clock.advance(HOUR_S)
    clock.set_wall(SystemClock().wall())
    endpoint.current()
    assert "agrees with the credentials endpoint's again" in caplog.messages[-1]


@pytest.mark.parametrize("synchronised, life_s", [(True, 3600), (False, 900)])
def test_without_a_date_the_own_clock_counts_only_if_it_is_known_to_be_right(
    credentials_server: CredentialsServer, synchronised: bool, life_s: float
):
    credentials_server.sends_date = False
    lease = make_endpoint(credentials_server, clock=clock_now(synchronised=synchronised)).current()
    assert lease.expires_at == pytest.approx(100 + life_s, abs=5)


@pytest.mark.parametrize(
    "since, until, words",
    [
        (timedelta(days=1), timedelta(days=2), "not valid yet at .*clock is behind"),
        (timedelta(days=-2), timedelta(days=-1), "has expired at .*clock is ahead"),
    ],
)
def test_a_certificate_out_of_its_time_points_at_the_clock(
    credentials_server: CredentialsServer, since: timedelta, until: timedelta, words: str
):
    credentials_server.show_certificate(since, until)
    with pytest.raises(Unavailable, match=words):
        make_endpoint(credentials_server).current()


@pytest.mark.parametrize("skew_s, told", [(299, None), (-299, None), (301, "0:05:00 ahead"), (-86400, "1 day")])
def test_small_skew_is_nobodys_business(skew_s: float, told: str | None):
    description = describe_skew(skew_s)
    assert description is None if told is None else told in str(description)


# What is checked at the start


def test_good_files_pass_the_check(endpoint: CredentialsEndpoint, credentials_server: CredentialsServer):
    endpoint.check()
    assert credentials_server.requests == 0


@pytest.mark.parametrize("name, flag", [("cert", "--thing-cert"), ("key", "--thing-key"), ("ca", "--ca-cert")])
def test_a_missing_file_is_named_by_its_flag(credentials_server: CredentialsServer, name: str, flag: str):
    with pytest.raises(InvalidInput, match="No such file") as caught:
        make_endpoint(credentials_server, **{name: Path("/nowhere/a.pem")}).check()
    assert caught.value.field == flag


@pytest.mark.parametrize("name, flag", [("cert", "--thing-cert"), ("key", "--thing-key"), ("ca", "--ca-cert")])
def test_a_file_that_holds_something_else_is_named_by_its_flag(
    credentials_server: CredentialsServer, tmp_path: Path, name: str, flag: str
):
    path = tmp_path / "text.pem"
    path.write_text("hello")
    path.chmod(0o600)
    with pytest.raises(InvalidInput, match="PEM form") as caught:
        make_endpoint(credentials_server, **{name: path}).check()
    assert caught.value.field == flag


@pytest.mark.parametrize("name, flag", [("cert", "--thing-cert"), ("key", "--thing-key"), ("ca", "--ca-cert")])
def test_a_file_that_may_not_be_read_is_named_by_its_flag(
    credentials_server: CredentialsServer, tmp_path: Path, name: str, flag: str
):
    # A directory cannot be read as a file by anybody, not even by root.
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        make_endpoint(credentials_server, **{name: tmp_path}).check()
    assert caught.value.field == flag


def test_a_key_that_everybody_may_read_is_refused(endpoint: CredentialsEndpoint, credentials_server: CredentialsServer):
    credentials_server.thing.key.chmod(0o644)
    with pytest.raises(InvalidInput, match=r"--thing-key: .* chmod 600"):
        endpoint.check()


def test_a_key_of_another_certificate_is_refused(credentials_server: CredentialsServer):
    other = credentials_server.authority.issue("other")
    with pytest.raises(InvalidInput, match=r"--thing-key: .* does not belong to the certificate"):
        make_endpoint(credentials_server, key=other.key).check()


def test_a_key_with_a_password_is_refused_without_asking_for_it(credentials_server: CredentialsServer):
    locked = credentials_server.authority.issue("locked", password=b"secret")
    with pytest.raises(InvalidInput, match=r"--thing-key: .* without a password"):
        make_endpoint(credentials_server, cert=locked.cert, key=locked.key).check()


@pytest.mark.parametrize("endpoint", ["", "https://a.b", "a b", "a:0", "a:99999", "-a", "a/b", "a\n"])
def test_an_endpoint_that_is_no_host_is_refused(credentials_server: CredentialsServer, endpoint: str):
    with pytest.raises(InvalidInput, match="--credentials-endpoint"):
        make_endpoint(credentials_server, endpoint=endpoint)


@pytest.mark.parametrize("alias", ["", "a/b", "a" * 129, "a b"])
def test_a_role_alias_that_is_none_is_refused(credentials_server: CredentialsServer, alias: str):
    with pytest.raises(InvalidInput, match="--role-alias"):
        make_endpoint(credentials_server, role_alias=alias)


def test_a_key_that_vanishes_later_is_unavailable(credentials_server: CredentialsServer):
    credentials_server.thing.key.unlink()
    with pytest.raises(Unavailable, match="--thing-key"):
        make_endpoint(credentials_server).current()


@pytest.mark.parametrize(
    "endpoint, region",
    [
        ("c2abc.credentials.iot.eu-west-1.amazonaws.com", "eu-west-1"),
        ("c2abc.credentials.iot.cn-north-1.amazonaws.com.cn:443", "cn-north-1"),
        ("hub.local:8443", None),
    ],
)
def test_the_region_is_read_from_the_endpoint(endpoint: str, region: str | None):
    assert region_of(endpoint) == region


def test_waiting_threads_get_the_failure_at_once(credentials_server: CredentialsServer):
    credentials_server.standing_fault = CredentialsFault.HANG
    endpoint = make_endpoint(credentials_server, timeouts_s=(1.0, 0.3))
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            endpoint.current()
        except Unavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(failures) == 5
    assert credentials_server.requests == 1
