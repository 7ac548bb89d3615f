"""Units, root helper, handlers and upgrades on a machine with a real systemd, where a real hub sends the jobs.

Everything there is started by its own unit: the hub with its broker, the device client that carries the jobs out, and
the root helper. The tests go in this order on one machine.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.admin.conftest import ADMIN_STATE, HANDLERS, HUB_STATE, PROBED, STATE, Pi
from tests.support.small_wheels import DIES_AT_START, DIES_SOON, LIVES, WHOLE

LOOKING_HANDLER = f"""#!/bin/sh
for path in {" ".join(PROBED)}; do
  (echo x > "$path") 2>/dev/null && echo "wrote $path"
done
sed -n 's/^\\(NoNewPrivs\\|Seccomp\\|CapBnd\\|Groups\\):\t/\\1 /p' /proc/self/status
echo "uid $(id -u) gid $(id -g)"
[ -e /dev/sda ] || [ -e /dev/kmsg ] || echo "no devices"
unshare --user true 2>/dev/null || echo "no namespaces"
mount -t tmpfs tmpfs /tmp 2>/dev/null || echo "no mounts"
date --set=@0 >/dev/null 2>&1 || echo "no clock"
"""


def test_the_daemon_may_write_its_state_and_nothing_else(pi: Pi):
    found = json.loads(pi.machine.path(f"{STATE}/found.json").read_text())
    status = dict(line.split(":\t", 1) for line in str(found["status"]).splitlines() if ":\t" in line)
    assert found["written"] == [f"{STATE}/x", "/tmp/x"]
    assert not pi.machine.path("/tmp/x").exists()
    assert found["uid"] == int(pi.machine.must("id", "-u", "pinthesky"))
    assert pi.machine.must("getent", "group", "video").split(":")[2] in str(found["groups"])
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0)


def test_a_handler_lives_under_all_that_the_client_s_unit_forbids(pi: Pi):
    handler = pi.machine.path(f"{HANDLERS}/look-around")
    handler.write_text(LOOKING_HANDLER)
    handler.chmod(0o700)
    pi.machine.must("chown", "pinthesky:", f"{HANDLERS}/look-around")
    result = pi.job("look-around", as_root=False)
    uid, gid = pi.machine.must("id", "-u", "pinthesky").strip(), pi.machine.must("id", "-g", "pinthesky").strip()
    assert result.status == "SUCCEEDED", result
    assert result.stdout.splitlines() == [
        f"wrote {STATE}/x",
        "wrote /tmp/x",
        f"Groups {gid} ",
        "CapBnd 0000000000000000",
        "NoNewPrivs 1",
        "Seccomp 2",
        f"uid {uid} gid {gid}",
        *("no devices", "no namespaces", "no mounts", "no clock"),
    ]


def test_health_check_passes_while_all_services_run(pi: Pi):
    result = pi.job("health-check")
    assert (result.status, result.stderr) == ("SUCCEEDED", ""), result
    assert "pinthesky: active (running)" in result.stdout
    assert "pits-device-client: active (running): connected to localhost:8883" in result.stdout


def test_health_check_fails_for_a_service_that_was_stopped_and_start_services_brings_it_back(pi: Pi):
    assert pi.job("stop-services").status == "SUCCEEDED"
    unwell = pi.job("health-check")
    assert (unwell.status, unwell.stderr) == ("FAILED", "pinthesky-admin: not running: pinthesky\n"), unwell
    assert pi.job("health-check", "pits-device-client.service").status == "SUCCEEDED"
    assert pi.job("start-services", "pinthesky").status == "SUCCEEDED"
    assert pi.is_up()


def test_the_device_client_is_not_stopped_from_afar(pi: Pi):
    result = pi.job("stop-services", "pits-device-client")
    assert (result.status, "could not be reached" in result.stderr) == ("FAILED", True), result
    assert pi.is_up()


def test_restart_services_survives_the_restart_of_its_own_parent_and_restarts_once(pi: Pi):
    before = pi.runs()
    result = pi.job("restart-services")
    assert (result.status, result.stderr) == ("SUCCEEDED", ""), result
    after = pi.runs()
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert pi.job("health-check").status == "SUCCEEDED"
    assert pi.runs() == after


def test_read_service_logs_prints_what_status_details_can_carry(pi: Pi):
    result = pi.job("read-service-logs", "pinthesky-admin", "200")
    assert result.status == "SUCCEEDED", result
    assert 900 < len(result.stdout) <= 1001
    assert "read-service-logs" in result.stdout or "health-check" in result.stdout


def test_a_log_that_is_not_ours_is_not_read(pi: Pi):
    result = pi.job("read-service-logs", "ssh")
    assert (result.status, "exited with status 2" in result.reason) == ("FAILED", True), result
    assert "invalid choice" in result.stderr


@pytest.mark.parametrize("handler", ["reboot", "shutdown"])
def test_a_machine_goes_down_once_for_a_job_and_the_job_ends_after_the_boot(pi: Pi, handler: str):
    pi.begin(handler)
    pi.machine.wait_until_off()
    pi.machine.boot()
    result = pi.result()
    assert result.status == "SUCCEEDED", result
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
    pi.wait_connected()
    pi.begin("upgrade-pinthesky", *sought(pi, "1.1.0"))
    pi.machine.wait_for(pi.machine.path(f"{ADMIN_STATE}/upgrade.json").exists, "the wish")
    code, _, complaint = pi.pinthesky_admin("upgrade", other.path.name, other.sha256)
    assert (code, "another upgrade is under way" in complaint) == (3, True), complaint
    code, _, complaint = pi.pinthesky_admin("restart-services")
    assert (code, "waits until the upgrade" in complaint) == (3, True), complaint
    result = pi.result()
    assert (result.status, result.stderr) == ("SUCCEEDED", ""), result
    assert "1.1.0 runs in place of 1.0.0 and stayed up for 1 s and is connected" in result.stdout
    assert (pi.link("current"), pi.link("steady"), pi.versions()) == ("1.1.0", "1.1.0", ["1.0.0", "1.1.0"])
    assert pi.is_up()


def test_the_same_wheel_again_changes_nothing(pi: Pi):
    before = pi.runs()
    result = pi.upgrade(pi.wheel("1.1.0"))
    assert (result.status, "1.1.0 is what runs already" in result.stdout) == ("SUCCEEDED", True), result
    assert pi.runs() == before


def test_a_wheel_for_another_python_changes_nothing_and_the_job_says_so(pi: Pi):
    before = pi.runs()
    result = pi.upgrade(pi.wheel("1.2.0", needs_python=">=3.99"))
    assert result.status == "FAILED", result
    assert "nothing was changed: pip failed with 1: ERROR: Package 'pinthesky' requires a different Python" in (
        result.stderr
    )
    assert (pi.runs(), pi.versions()) == (before, ["1.0.0", "1.1.0"])


@pytest.mark.soak
@pytest.mark.parametrize(
    "version, behaviour, words",
    [
        pytest.param("1.3.0", DIES_AT_START, "no camera in this version", id="at its start"),
        pytest.param("1.4.0", DIES_SOON, "the picture was too beautiful", id="after a while"),
    ],
)
def test_a_version_that_does_not_stay_up_is_taken_back_and_the_job_says_why(
    pi: Pi, version: str, behaviour: str, words: str
):
    before, versions = pi.link("steady"), pi.versions()
    result = pi.upgrade(pi.wheel(version, behaviour))
    assert result.status == "FAILED", result
    assert f"{version} is not used: pinthesky.service did not stay up" in result.stderr
    assert words in result.stderr
    assert f"went back to {before}, which runs" in result.stderr
    assert (pi.link("current"), pi.link("steady"), pi.versions()) == (before, before, versions)
    assert pi.is_up()
    assert pi.machine.must("/opt/pinthesky/current/bin/pinthesky", "--version").split() == ["pinthesky", before]


@pytest.mark.soak
def test_a_downgrade_is_made_only_when_it_is_asked_for(pi: Pi):
    older = pi.wheel("0.9.0")
    refused = pi.upgrade(older)
    assert (refused.status, "0.9.0 is older than" in refused.stderr) == ("FAILED", True), refused
    assert pi.upgrade(older, "--allow-downgrade").status == "SUCCEEDED"
    assert (pi.link("current"), pi.link("steady")) == ("0.9.0", "0.9.0")


@pytest.mark.soak
def test_an_upgrade_that_is_killed_goes_on_by_itself(pi: Pi):
    pi.settle(20)
    pi.begin("upgrade-pinthesky", *sought(pi, "1.5.0"))
    pi.machine.wait_for(lambda: pi.link("current") == "1.5.0", "the switch")
    pi.settle(0.6)
    pi.machine.must("systemctl", "kill", "--signal", str(int(signal.SIGKILL)), "pinthesky-upgrade.service")
    assert pi.result().status == "SUCCEEDED"
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
    pi.settle(20)
    pi.begin("upgrade-pinthesky", *sought(pi, version, behaviour))
    pi.machine.wait_for(lambda: pi.link("current") == version, "the switch")
    pi.settle(0.6)
    pi.machine.cut_power()
    pi.machine.boot(wait=False)
    result = pi.result()
    if behaviour == LIVES:
        assert result.status == "SUCCEEDED", result
    else:
        assert result.status == "FAILED", result
        assert f"{version} is not used: pinthesky.service did not stay up" in result.stderr
        assert "its last words: the picture was too beautiful; went back to" in result.stderr
    ends_with = version if behaviour == LIVES else before
    assert (pi.link("current"), pi.link("steady")) == (ends_with, ends_with)
    assert not pi.machine.path(f"{ADMIN_STATE}/upgrade.json").exists()
    assert pi.is_up()


def test_the_real_daemon_comes_by_an_upgrade_and_its_pictures_reach_the_hub_through_all_restrictions(pi: Pi):
    result = pi.upgrade(pi.wheel("2.0.0", WHOLE))
    assert (result.status, result.stderr) == ("SUCCEEDED", ""), result
    assert "2.0.0 runs in place of" in result.stdout

    def media() -> list[Path]:
        found = pi.machine.must("find", f"{HUB_STATE}/media", "-name", "*.jpg", "-o", "-name", "*.mp4")
        return [Path(line) for line in found.splitlines()]

    pi.machine.wait_for(lambda: bool(media()), "a picture in the hub's folder")
    assert all("garden" in str(path) for path in media())


def sought(pi: Pi, version: str, *arguments: str) -> tuple[str, str]:
    """Make a wheel and return what an upgrade is asked for with."""
    wheel = pi.wheel(version, *arguments)
    return wheel.path.name, wheel.sha256
