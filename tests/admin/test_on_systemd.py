"""Units, root helper, handlers and upgrades on a machine with a real systemd: real wheels, environments and services.

The tests go in this order on one machine.
"""

from __future__ import annotations

import signal

import pytest

from tests.admin.conftest import ADMIN_STATE, STATE, Pi
from tests.support.small_wheels import DIES_AT_START, DIES_SOON, LIVES, LOOKS_AROUND


def test_the_daemon_may_write_its_state_and_nothing_else(pi: Pi):
    found = pi.found()
    status = dict(line.split(":\t", 1) for line in str(found["status"]).splitlines() if ":\t" in line)
    assert found["written"] == [f"{STATE}/x", "/tmp/x"]
    assert not pi.machine.path("/tmp/x").exists()
    assert found["uid"] == int(pi.machine.must("id", "-u", "pinthesky"))
    assert pi.machine.must("getent", "group", "video").split(":")[2] in str(found["groups"])
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0)


def test_health_check_passes_while_all_services_run(pi: Pi):
    result = pi.step("health-check")
    assert result["code"] == 0, result
    assert "pinthesky: active (running)" in str(result["stdout"])


def test_health_check_fails_for_a_service_that_was_stopped_and_start_services_brings_it_back(pi: Pi):
    assert pi.step("stop-services")["code"] == 0
    unwell = pi.step("health-check")
    assert (unwell["code"], "not running: pinthesky" in str(unwell["stderr"])) == (1, True), unwell
    assert pi.step("health-check", "pits-device-client.service")["code"] == 0
    assert pi.step("start-services", "pinthesky")["code"] == 0
    assert pi.is_up()


def test_the_device_client_is_not_stopped_from_afar(pi: Pi):
    result = pi.step("stop-services", "pits-device-client")
    assert (result["code"], "could not be reached" in str(result["stderr"])) == (2, True), result
    assert pi.is_up()


def test_restart_services_survives_the_restart_of_its_own_parent_and_restarts_once(pi: Pi):
    before = pi.show("pinthesky", "InvocationID"), pi.show("pits-device-client", "InvocationID")
    result = pi.step("restart-services")
    assert (result["code"], result["stderr"]) == (0, ""), result
    after = pi.show("pinthesky", "InvocationID"), pi.show("pits-device-client", "InvocationID")
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert pi.step("health-check")["code"] == 0
    assert (pi.show("pinthesky", "InvocationID"), pi.show("pits-device-client", "InvocationID")) == after


def test_read_service_logs_prints_what_status_details_can_carry(pi: Pi):
    pi.machine.must("systemd-run", "--unit", "noise", "--wait", "true")
    result = pi.step("read-service-logs", "pinthesky-admin", "200")
    assert result["code"] == 0, result
    assert 900 < len(str(result["stdout"])) <= 1001
    assert "read-service-logs" in str(result["stdout"]) or "health-check" in str(result["stdout"])


def test_a_log_that_is_not_ours_is_not_read(pi: Pi):
    result = pi.step("read-service-logs", "ssh")
    assert (result["code"], "invalid choice" in str(result["stderr"])) == (2, True), result


@pytest.mark.parametrize("handler", ["reboot", "shutdown"])
def test_a_machine_goes_down_once_for_a_job_and_the_job_ends_after_the_boot(pi: Pi, handler: str):
    pi.begin(handler)
    pi.machine.wait_until_off()
    pi.machine.boot()
    result = pi.result()
    assert (result["code"], "this is after it" in str(result["stdout"])) == (0, True), result
    assert pi.is_up()


def test_others_may_not_ask(pi: Pi):
    program = "/opt/pinthesky/current/bin/pinthesky-admin"
    result = pi.machine.run("setpriv", "--reuid", "nobody", "--clear-groups", program, "status")
    assert (result.returncode, "this user may not ask" in result.stderr) == (3, True), result


def test_one_in_the_group_who_is_not_the_user_is_refused(pi: Pi):
    pi.machine.must("usermod", "--append", "--groups", "pinthesky", "nobody")
    program = "/opt/pinthesky/current/bin/pinthesky-admin"
    result = pi.machine.run("setpriv", "--reuid", "nobody", "--init-groups", program, "reboot")
    assert (result.returncode, "only root and pinthesky may ask" in result.stderr) == (2, True), result
    assert pi.machine.is_on


def test_a_job_upgrades_the_very_client_that_runs_it_while_others_are_told_to_wait(pi: Pi):
    other = pi.wheel("1.9.0")
    pi.begin("upgrade-pinthesky", *sought(pi, "1.1.0"))
    pi.machine.wait_for(pi.machine.path(f"{ADMIN_STATE}/upgrade.json").exists, "the wish")
    code, _, complaint = pi.pinthesky_admin("upgrade", other.path.name, other.sha256)
    assert (code, "another upgrade is under way" in str(complaint)) == (3, True), complaint
    code, _, complaint = pi.pinthesky_admin("restart-services")
    assert (code, "waits until the upgrade" in str(complaint)) == (3, True), complaint
    result = pi.result()
    assert (result["code"], result["stderr"], result["by"]) == (0, "", "1.1.0"), result
    assert "1.1.0 runs in place of 1.0.0" in str(result["stdout"])
    assert (pi.link("current"), pi.link("steady"), pi.versions()) == ("1.1.0", "1.1.0", ["1.0.0", "1.1.0"])
    assert pi.is_up()


def test_the_same_wheel_again_changes_nothing(pi: Pi):
    before = pi.show("pinthesky", "InvocationID")
    result = pi.upgrade(pi.wheel("1.1.0"))
    assert (result["code"], "1.1.0 is what runs already" in str(result["stdout"])) == (0, True), result
    assert pi.show("pinthesky", "InvocationID") == before


@pytest.mark.parametrize(
    "version, behaviour, words",
    [
        pytest.param("1.3.0", DIES_AT_START, "no camera in this version", id="at its start", marks=pytest.mark.soak),
        pytest.param("1.4.0", DIES_SOON, "the picture was too beautiful", id="after a while"),
    ],
)
def test_a_version_that_does_not_stay_up_is_taken_back_and_the_job_says_why(
    pi: Pi, version: str, behaviour: str, words: str
):
    result = pi.upgrade(pi.wheel(version, behaviour))
    assert result["code"] == 1, result
    said = str(result["stderr"])
    assert f"{version} is not used: pinthesky.service did not stay up" in said
    assert words in said
    assert "went back to 1.1.0, which runs" in said
    assert (pi.link("current"), pi.link("steady"), pi.versions()) == ("1.1.0", "1.1.0", ["1.0.0", "1.1.0"])
    assert pi.is_up()
    assert pi.machine.must("/opt/pinthesky/current/bin/pinthesky", "--version").split() == ["pinthesky", "1.1.0"]


def test_a_downgrade_is_made_only_when_it_is_asked_for(pi: Pi):
    older = pi.wheel("1.0.0", LOOKS_AROUND)
    refused = pi.upgrade(older)
    assert (refused["code"], "1.0.0 is older than 1.1.0" in str(refused["stderr"])) == (2, True), refused
    assert pi.upgrade(older, "--allow-downgrade")["code"] == 0
    assert (pi.link("current"), pi.link("steady")) == ("1.0.0", "1.0.0")


@pytest.mark.soak
def test_an_upgrade_that_is_killed_goes_on_by_itself(pi: Pi):
    settle(pi, 20)
    pi.begin("upgrade-pinthesky", *sought(pi, "1.5.0"))
    pi.machine.wait_for(lambda: pi.link("current") == "1.5.0", "the switch")
    settle(pi, 0.6)
    pi.machine.must("systemctl", "kill", "--signal", str(int(signal.SIGKILL)), "pinthesky-upgrade.service")
    assert pi.result()["code"] == 0
    assert (pi.link("current"), pi.link("steady")) == ("1.5.0", "1.5.0")


@pytest.mark.parametrize(
    "version, behaviour",
    [
        pytest.param("1.6.0", LIVES, id="that stays up", marks=pytest.mark.soak),
        pytest.param("1.7.0", DIES_SOON, id="that does not"),
    ],
)
def test_a_power_cut_while_a_version_is_tried_ends_with_one_that_runs(pi: Pi, version: str, behaviour: str):
    before = pi.link("steady")
    settle(pi, 20)
    pi.begin("upgrade-pinthesky", *sought(pi, version, behaviour))
    pi.machine.wait_for(lambda: pi.link("current") == version, "the switch")
    settle(pi, 0.6)
    pi.machine.cut_power()
    pi.machine.boot(wait=False)
    result = pi.result()
    assert (result["code"] == 0) == (behaviour == LIVES), result
    ends_with = version if behaviour == LIVES else before
    assert (pi.link("current"), pi.link("steady")) == (ends_with, ends_with)
    assert not pi.machine.path(f"{ADMIN_STATE}/upgrade.json").exists()
    assert pi.is_up()


def settle(pi: Pi, seconds: float) -> None:
    """Set how long a version that is begun from now on has to stay up."""
    pi.machine.path("/etc/pinthesky/admin.env").write_text(f"PINTHESKY_SETTLE_S={seconds}\n")


def sought(pi: Pi, version: str, *arguments: str) -> tuple[str, str]:
    """Make a wheel and return what an upgrade is asked for with."""
    wheel = pi.wheel(version, *arguments)
    return wheel.path.name, wheel.sha256
