"""Units, root helper and handlers on a machine with a real systemd."""

from __future__ import annotations

import json

import pytest

from tests.admin.conftest import STATE, Pi


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
