"""Installing into a root file system, again, and taking it back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import PurePosixPath
from typing import Any, Literal

import pytest

from pinthesky.errors import Conflict, Unavailable
from pitsctl.answers import Answers, Camera, CloudWatch, DataPlane, Paths, Storage
from pitsctl.ledger import Ledger
from pitsctl.machine import FileMode
from pitsctl.pi_configuration import daemon_flags
from pitsctl.pi_older import flags_of
from pitsctl.site import Site
from pitsctl.steps import Verdict
from tests.pitsctl.conftest import AT_HOME, ZERO_2, Installation, Installed
from tests.support.pretend_root import PretendRoot


def test_it_is_installed_whole_and_a_second_time_there_is_nothing_to_do(pi: PretendRoot, installation: Installation):
    outcome = installation.install()
    assert outcome.is_complete, installation.heard.lines
    assert {item.found.verdict for item in installation.look().items} == {Verdict.DONE}
    assert installation.install().done == ()


def test_removing_leaves_nothing(installed: Installed, installed_pi: PretendRoot):
    installation = Installation(installed_pi)
    assert installation.remove().is_complete, installation.heard.lines
    assert installed_pi.tree() == installed.bare


def test_apt_without_a_network_is_tried_again_later_and_a_package_that_is_not_there_is_not(
    pi: PretendRoot, installation: Installation
):
    pi.put("/var/fake/no-network", "")
    outcome = installation.install()
    assert (outcome.failed, type(outcome.error)) == ("debian-packages", Unavailable)
    pi.run("rm", "/var/fake/no-network")
    pi.put("/var/fake/update-fails", "")
    outcome = installation.install()
    assert (outcome.failed, "Failed to fetch" in str(outcome.error)) == ("debian-packages", True)
    assert isinstance(outcome.error, Unavailable)
    pi.put("/var/fake/unknown-package", "")
    pi.run("rm", "/var/fake/update-fails")
    outcome = installation.install()
    assert (outcome.failed, type(outcome.error)) == ("debian-packages", Conflict)


def test_packages_that_something_else_needs_by_now_stay(installed_pi: PretendRoot):
    installation = Installation(installed_pi)
    installed_pi.put("/var/fake/needed-by", "something-else")
    assert installation.remove().is_complete
    assert "python3-picamera2" in (installed_pi.text("/var/fake/packages") or "")
    assert "something-else would go with them" in " ".join(installation.heard.lines)


def test_the_root_helper_can_read_the_authority_of_the_home(installed_pi: PretendRoot):
    assert "PINTHESKY_CA_BUNDLE=/etc/pinthesky/upgrade-ca.pem" in (installed_pi.text("/etc/pinthesky/admin.env") or "")
    as_root_without_rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups")
    ran = installed_pi.run(*as_root_without_rights, "sh", "-c", "cat /etc/pinthesky/upgrade-ca.pem")
    assert (ran.code, ran.out) == (0, "certificate")


def test_a_camera_that_does_not_start_says_its_last_words(pi: PretendRoot, installation: Installation):
    pi.put("/var/fake/does-not-start", "")
    outcome = installation.install()
    assert outcome.failed == "services"
    assert "no camera here" in str(outcome.error)
    pi.run("rm", "/var/fake/does-not-start")
    assert installation.install().done == ("services",)


def test_a_folder_whose_place_is_taken_by_a_file_is_a_conflict(pi: PretendRoot, installation: Installation):
    pi.put("/opt/pinthesky", "a file")
    outcome = installation.install()
    assert (outcome.failed, "is no folder" in str(outcome.error)) == ("folders", True)


def test_what_was_there_before_comes_back_with_owner_and_mode(pi: PretendRoot, installation: Installation):
    pi.put("/etc/pinthesky/admin.env", "PINTHESKY_SETTLE_S=5\n", mode=0o600)
    pi.put("/opt/pinthesky/mine", "mine")
    before = pi.tree()
    assert installation.install().is_complete
    assert (pi.text("/etc/pinthesky/admin.env") or "").startswith("PINTHESKY_SETTLE_S=5\n")
    assert installation.remove().is_complete
    assert pi.tree() == before


def test_a_machine_without_pinned_versions_needs_a_wheelhouse(pi: PretendRoot, installation: Installation):
    installation.facts = dataclasses.replace(ZERO_2, architecture="amd64", python=(3, 12))
    looked = installation.look()
    assert [item.step.name for item in looked.impossible] == ["environment"]
    assert "--wheelhouse" in looked.impossible[0].found.what


def test_a_32_bit_system_takes_apt_s_numpy_and_says_what_comes_without_a_hash(
    pi: PretendRoot, installation: Installation
):
    installation.facts = dataclasses.replace(ZERO_2, architecture="armhf")
    found = {item.step.name: item.found.what for item in installation.look().items}
    assert "python3-numpy" in found["debian-packages"]
    assert "msgspec" in found["environment"]
    assert "piwheels" in found["environment"]
    assert installation.install().is_complete
    assert pi.text("/etc/systemd/system/pits-device-client.service") is None
    assert "--event-queue" not in (pi.text("/etc/pinthesky/pinthesky.env") or "")


def test_the_c_client_that_is_there_is_kept_with_the_files_that_it_insists_on(
    pi: PretendRoot, installation: Installation
):
    installation.facts = dataclasses.replace(ZERO_2, cpp_client="/usr/sbin/aws-iot-device-client")
    assert installation.install().is_complete, installation.heard.lines
    drop_in = pi.text("/etc/systemd/system/pits-device-client.service.d/10-machine.conf") or ""
    assert "ExecStart=/usr/sbin/aws-iot-device-client --config-file /etc/pinthesky/device-client.json" in drop_in
    told = json.loads(pi.text("/etc/pinthesky/device-client.json") or "")
    assert told["samples"]["pub-sub"]["publish-file"] == "/var/lib/pinthesky/event-output.json"
    assert "port" not in told
    for name in ("configure-input", "configure-output", "event-output", "event-input"):
        mode = pi.mode_of(PurePosixPath(f"/var/lib/pinthesky/{name}.json"))
        assert mode == FileMode("pinthesky", "pinthesky", 0o600)
    assert pi.text("/var/lib/pinthesky/event-output.json") == "{}"
    assert installation.install().done == ()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"has_apt": False}, "apt and systemd"),
        ({"python": (3, 7)}, "too old"),
        ({"disk_free_mb": 100}, "100 MB of the disk are free"),
    ],
)
def test_what_cannot_be_a_camera_is_said_first(
    pi: PretendRoot, installation: Installation, change: dict[str, Any], said: str
):
    installation.facts = dataclasses.replace(ZERO_2, **change)
    found = installation.look().items[0].found
    assert (found.verdict, said in found.what) == (Verdict.IMPOSSIBLE, True)


@pytest.mark.parametrize(
    "client, change, said",
    [
        ("cpp", {}, "aws-iot-device-client is not there"),
        ("python", {"architecture": "armhf"}, "needs a 64-bit system"),
    ],
)
def test_a_device_client_that_does_not_run_here_is_said_first(
    pi: PretendRoot, installation: Installation, client: Literal["cpp", "python"], change: dict[str, Any], said: str
):
    installation.facts = dataclasses.replace(ZERO_2, **change)
    installation.answers = Answers(paths=Paths(client=client))
    assert said in installation.look().items[0].found.what


def test_answers_become_flags(pi: PretendRoot, installation: Installation):
    installation.answers = Answers(
        storage=Storage(bucket="other", video_prefix="v"),
        camera=Camera(resolution="800x600", framerate=5, bitrate=1_000_000, sensitivity=20, recording_window="8-20"),
        cloudwatch=CloudWatch(enabled=True, log_group="g"),
        dataplane=DataPlane(enabled=False),
        paths=Paths(spool_max_mb=2000, upgrade_sources=("https://mine/",)),
    )
    site = Site(pi, Ledger(pi), ZERO_2, installation.answers, lambda: installation.parcel)
    flags = flags_of("pinthesky " + " ".join(daemon_flags(AT_HOME, site)), {})
    assert flags["bucket-name"] == "other"
    assert flags["bucket-prefix"] == "v"
    assert (flags["resolution"], flags["framerate"], flags["encoding-bitrate"]) == ("800x600", "5", "1000000")
    assert "encoding-level" not in flags, "the preset's is for the preset's picture"
    assert (flags["sensitivity"], flags["recording-window"]) == ("20", "8-20")
    assert (flags["cloudwatch"], flags["cloudwatch-log-group"], flags["cloudwatch-region"]) == ("", "g", "hub")
    assert "dataplane" not in flags
    assert flags["spool-max-bytes"] == "2000M"


def test_a_camera_s_address_that_would_be_more_than_a_word_is_refused(pi: PretendRoot, installation: Installation):
    installation.answers = Answers(camera=Camera(device="rtsp://camera/$(reboot)"))
    outcome = installation.install()
    assert (outcome.failed, "--camera" in str(outcome.error)) == ("daemon", True)
