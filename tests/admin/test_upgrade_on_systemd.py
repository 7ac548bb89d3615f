"""Upgrades on a machine with a real systemd: real wheels, real environments, real services."""

from __future__ import annotations

import signal

import pytest

from tests.admin.conftest import ADMIN_STATE, STATE, Pi
from tests.support.small_wheels import DIES_AT_START, DIES_SOON, LOOKS_AROUND


def test_a_job_upgrades_the_very_client_that_runs_it(pi: Pi):
    result = pi.upgrade(pi.wheel("1.1.0"))
    assert (result["code"], result["stderr"], result["by"]) == (0, "", "1.1.0"), result
    assert "1.1.0 runs in place of 1.0.0" in str(result["stdout"])
    assert (pi.link("current"), pi.link("steady"), pi.versions()) == ("1.1.0", "1.1.0", ["1.0.0", "1.1.0"])
    assert pi.is_up()


def test_the_same_wheel_again_changes_nothing(pi: Pi):
    before = pi.show("pinthesky", "InvocationID")
    result = pi.upgrade(pi.wheel("1.1.0"))
    assert (result["code"], "1.1.0 is what runs already" in str(result["stdout"])) == (0, True), result
    assert pi.show("pinthesky", "InvocationID") == before


def test_of_the_versions_two_are_kept(pi: Pi):
    assert pi.upgrade(pi.wheel("1.2.0"))["code"] == 0
    assert pi.versions() == ["1.1.0", "1.2.0"]


@pytest.mark.parametrize(
    "version, behaviour, words",
    [("1.3.0", DIES_AT_START, "no camera in this version"), ("1.4.0", DIES_SOON, "the picture was too beautiful")],
    ids=["dies at its start", "dies after a while"],
)
def test_a_version_that_does_not_stay_up_is_taken_back_and_the_job_says_why(
    pi: Pi, version: str, behaviour: str, words: str
):
    result = pi.upgrade(pi.wheel(version, behaviour))
    assert result["code"] == 1, result
    said = str(result["stderr"])
    assert f"{version} is not used: pinthesky.service did not stay up" in said
    assert words in said
    assert "went back to 1.2.0, which runs" in said
    assert (pi.link("current"), pi.link("steady"), pi.versions()) == ("1.2.0", "1.2.0", ["1.1.0", "1.2.0"])
    assert pi.is_up()
    assert pi.machine.must("/opt/pinthesky/current/bin/pinthesky", "--version").split() == ["pinthesky", "1.2.0"]


def test_a_downgrade_is_made_only_when_it_is_asked_for(pi: Pi):
    older = pi.wheel("1.1.0")
    refused = pi.upgrade(older)
    assert (refused["code"], "1.1.0 is older than 1.2.0" in str(refused["stderr"])) == (2, True), refused
    assert pi.upgrade(older, "--allow-downgrade")["code"] == 0
    assert pi.link("current") == "1.1.0"
    assert pi.upgrade(pi.wheel("1.2.0"))["code"] == 0


def test_an_upgrade_that_is_killed_goes_on_by_itself(pi: Pi):
    settle(pi, 4)
    pi.begin("upgrade-pinthesky", *sought(pi, "1.5.0"))
    pi.machine.wait_for(lambda: pi.link("current") == "1.5.0", "the switch")
    pi.machine.must("systemctl", "kill", "--signal", str(int(signal.SIGKILL)), "pinthesky-upgrade.service")
    settle(pi, 1)
    assert pi.result()["code"] == 0
    assert (pi.link("current"), pi.link("steady")) == ("1.5.0", "1.5.0")


@pytest.mark.parametrize("version, behaviour, ends_with", [("1.6.0", None, "1.6.0"), ("1.7.0", DIES_SOON, "1.6.0")])
def test_a_power_cut_between_switch_and_proof_ends_with_a_version_that_runs(
    pi: Pi, version: str, behaviour: str | None, ends_with: str
):
    settle(pi, 20)
    pi.begin("upgrade-pinthesky", *sought(pi, version, *([behaviour] if behaviour else [])))
    pi.machine.wait_for(lambda: pi.link("current") == version, "the switch")
    pi.machine.cut_power()
    pi.machine.boot(wait=False)
    settle(pi, 1)
    result = pi.result()
    assert (result["code"] == 0) == (version == ends_with), result
    assert (pi.link("current"), pi.link("steady")) == (ends_with, ends_with)
    assert not pi.machine.path(f"{ADMIN_STATE}/upgrade.json").exists()
    assert pi.is_up()


def test_while_one_upgrade_is_under_way_another_is_told_to_wait(pi: Pi):
    settle(pi, 3)
    other = pi.wheel("1.9.0")
    pi.begin("upgrade-pinthesky", *sought(pi, "1.8.0"))
    pi.machine.wait_for(pi.machine.path(f"{ADMIN_STATE}/upgrade.json").exists, "the first upgrade")
    code, _, complaint = pi.pinthesky_admin("upgrade", other.path.name, other.sha256)
    assert (code, "another upgrade is under way" in str(complaint)) == (3, True), complaint
    code, _, complaint = pi.pinthesky_admin("restart-services")
    assert (code, "waits until the upgrade" in str(complaint)) == (3, True), complaint
    settle(pi, 1)
    assert pi.result()["code"] == 0
    assert pi.link("steady") == "1.8.0"


def test_the_daemon_may_write_its_state_and_nothing_else(pi: Pi):
    tried = ["/etc/x", "/usr/x", "/opt/pinthesky/x", "/opt/pinthesky/current/x", "/var/lib/pinthesky-admin/x", "/x"]
    tried += ["/var/log/x", "/proc/sys/kernel/hostname", "/home/x", "/root/x", f"{STATE}/x", "/tmp/x"]
    folder = pi.machine.path("/etc/systemd/system/pinthesky.service.d")
    folder.mkdir()
    (folder / "probe.conf").write_text(f"[Service]\nEnvironment='PROBE={str(tried).replace(chr(39), chr(34))}'\n")
    pi.machine.must("systemctl", "daemon-reload")
    assert pi.upgrade(pi.wheel("2.0.0", LOOKS_AROUND))["code"] == 0
    found = pi.found()
    status = dict(line.split(":\t", 1) for line in str(found["status"]).splitlines() if ":\t" in line)
    assert found["written"] == [f"{STATE}/x", "/tmp/x"]
    assert not pi.machine.path("/tmp/x").exists()
    assert found["uid"] == int(pi.machine.must("id", "-u", "pinthesky"))
    assert pi.machine.must("getent", "group", "video").split(":")[2] in map(str, found["groups"])
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0)


def settle(pi: Pi, seconds: int) -> None:
    """Set how long a version that is begun from now on has to stay up."""
    pi.machine.path("/etc/pinthesky/admin.env").write_text(f"PINTHESKY_SETTLE_S={seconds}\n")


def sought(pi: Pi, version: str, *arguments: str) -> tuple[str, str]:
    """Make a wheel and return what an upgrade is asked for with."""
    wheel = pi.wheel(version, *arguments)
    return wheel.path.name, wheel.sha256
