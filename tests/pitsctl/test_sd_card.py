"""A card is prepared on its boot partition alone, beside what Raspberry Pi Imager has left there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pinthesky.errors import Conflict, InvalidInput
from pitsctl import answers_file, sd_card
from pitsctl.answers import Answers, Camera, Connection, Home
from pitsctl.parcel import Parcel

PARCEL = Parcel("pinthesky-1.2.3-py3-none-any.whl", b"a wheel", "1.2.3", "ab" * 32, {})
HUB = Home(kind="hub", address="https://hub.local:8443", authority_sha256="ab" * 32)
ANSWERS = Answers(home=HUB, camera=Camera(rotation=180))
COMMAND_LINE = "console=tty1 root=PARTUUID=4e6-02 rootfstype=ext4 rootwait init=/usr/lib/raspberrypi-sys-mods/firstboot"
BEGIN = "/boot/firmware/pinthesky/begin.sh"
IMAGERS = """#!/bin/bash

set +e

CURRENT_HOSTNAME=$(cat /etc/hostname)
rm -f /boot/firstrun.sh
sed -i 's| systemd.run.*||g' /boot/cmdline.txt
exit 0
"""
USER_DATA = """#cloud-config
# What Imager has written.
hostname: garden
manage_resolv_conf: false
ssh_pwauth: true

runcmd:
  # the country of the radio
  - [rfkill, unblock, wifi]
  - sh -c 'echo ready'
timezone: Europe/Vienna
"""


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """The boot partition of a fresh Raspberry Pi OS of Debian 12."""
    (tmp_path / "cmdline.txt").write_text(COMMAND_LINE + "\n")
    (tmp_path / "config.txt").write_text("[all]\n")
    return tmp_path


@pytest.fixture
def cloud_init(boot: Path) -> Path:
    """The same of Debian 13, with Imager's choices."""
    (boot / "meta-data").write_text("instance-id: rpi\n")
    (boot / "user-data").write_text(USER_DATA)
    return boot


def commands(boot: Path) -> list[Any]:
    found: list[Any] = yaml.safe_load((boot / "user-data").read_text())["runcmd"]
    return found


def test_what_the_first_start_needs_is_on_the_card(boot: Path):
    prepared = sd_card.prepare(boot, ANSWERS, PARCEL)
    assert {path.relative_to(boot).as_posix() for path in prepared.written} == {
        "pinthesky/pinthesky-1.2.3-py3-none-any.whl",
        "pinthesky/begin.sh",
        "pinthesky/first-boot.sh",
        "pinthesky/pinthesky-first-boot.service",
        "pinthesky/answers.yaml",
        "firstrun.sh",
        "cmdline.txt",
    }
    assert (boot / "pinthesky" / PARCEL.name).read_bytes() == b"a wheel"


def test_the_answers_are_those_for_this_very_machine(boot: Path):
    answers = msgspec.structs.replace(ANSWERS, connection=Connection(host="pi@garden.local"))
    sd_card.prepare(boot, answers, PARCEL)
    assert answers_file.read(boot / "pinthesky" / "answers.yaml") == {
        "home.kind": "hub",
        "home.address": "https://hub.local:8443",
        "home.authority_sha256": "ab" * 32,
        "camera.rotation": 180,
    }


def test_debian_12_starts_it_once_by_its_command_line(boot: Path):
    assert sd_card.prepare(boot, ANSWERS, PARCEL).by == "firstrun.sh"
    line = (boot / "cmdline.txt").read_text()
    assert line == (
        f"{COMMAND_LINE} systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot "
        "systemd.unit=kernel-command-line.target\n"
    )
    assert 'sh "$boot/pinthesky/begin.sh"' in (boot / "firstrun.sh").read_text()


def test_a_card_is_prepared_again_with_other_answers(boot: Path):
    (boot / "pinthesky").mkdir()
    (boot / "pinthesky" / "pinthesky-1.2.2-py3-none-any.whl").touch()
    sd_card.prepare(boot, ANSWERS, PARCEL)
    before = {path: path.read_bytes() for path in boot.rglob("*") if path.is_file()}
    sd_card.prepare(boot, msgspec.structs.replace(ANSWERS, camera=Camera(rotation=90)), PARCEL)
    after = {path: path.read_bytes() for path in boot.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} == {"answers.yaml"}
    assert after.keys() == before.keys()
    assert [path.name for path in (boot / "pinthesky").glob("*.whl")] == [PARCEL.name]


def test_imagers_firstrun_stays_and_begins_with_ours(boot: Path):
    (boot / "firstrun.sh").write_text(IMAGERS)
    line = f"{COMMAND_LINE} systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot\n"
    (boot / "cmdline.txt").write_text(line)
    for _ in range(2):
        assert sd_card.prepare(boot, ANSWERS, PARCEL).by == "firstrun.sh"
    text = (boot / "firstrun.sh").read_text()
    assert text.replace(sd_card._IN_FIRSTRUN, "", 1) == IMAGERS
    assert text.splitlines()[1].startswith(f"sh {BEGIN}")
    assert (boot / "cmdline.txt").read_text() == line


def test_debian_13_starts_it_by_cloud_init_and_keeps_what_imager_wrote(cloud_init: Path):
    for _ in range(2):
        assert sd_card.prepare(cloud_init, ANSWERS, PARCEL).by == "cloud-init"
    assert commands(cloud_init) == [["sh", BEGIN, "now"], ["rfkill", "unblock", "wifi"], "sh -c 'echo ready'"]
    without = yaml.safe_load((cloud_init / "user-data").read_text())
    assert without | {"runcmd": []} == yaml.safe_load(USER_DATA) | {"runcmd": []}
    assert "# What Imager has written." in (cloud_init / "user-data").read_text()
    assert (cloud_init / "cmdline.txt").read_text() == COMMAND_LINE + "\n"


def test_an_image_without_user_data_gets_ours(cloud_init: Path):
    (cloud_init / "user-data").unlink()
    sd_card.prepare(cloud_init, ANSWERS, PARCEL)
    assert commands(cloud_init) == [["sh", BEGIN, "now"]]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("#cloud-config\n", 1),
        ("#cloud-config\nruncmd: []\n", 1),
        ("#cloud-config\nruncmd: # later\n- ls\n", 2),
        ("#cloud-config\nruncmd:\n\n    - ls\n    - pwd\n", 3),
        ("## template: jinja\n#cloud-config\nruncmd:\n  - ls", 2),
        ("#cloud-config\nruncmd:\nhostname: a\n", 1),
    ],
)
def test_the_command_is_added_however_the_list_is_written(text: str, expected: int):
    found = yaml.safe_load(sd_card.with_command(text))["runcmd"]
    assert len(found) == expected
    assert found[0] == ["sh", BEGIN, "now"]


@pytest.mark.parametrize(
    "text, says",
    [
        ("#!/bin/sh\necho\n", "does not begin with #cloud-config"),
        ("#cloud-config\nruncmd: [ls, pwd]\n", "is written on one line"),
    ],
)
def test_user_data_that_cannot_be_added_to_is_left_alone(cloud_init: Path, text: str, says: str):
    (cloud_init / "user-data").write_text(text)
    with pytest.raises(Conflict, match=says):
        sd_card.prepare(cloud_init, ANSWERS, PARCEL)
    assert (cloud_init / "user-data").read_text() == text


@pytest.mark.parametrize(
    "home, field",
    [
        (Home(), "home.kind"),
        (Home(kind="aws"), "home.kind"),
        (Home(kind="code"), "home.address"),
        (Home(kind="hub", address="https://hub.local:8443"), "home.authority_sha256"),
    ],
)
def test_answers_that_somebody_would_be_asked_for_are_missed_before(boot: Path, home: Home, field: str):
    with pytest.raises(InvalidInput) as refused:
        sd_card.prepare(boot, Answers(home=home), PARCEL)
    assert refused.value.field == field
    assert not (boot / "pinthesky").exists()


def test_a_folder_that_is_no_boot_partition_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="is no boot partition of Raspberry Pi OS"):
        sd_card.prepare(tmp_path, ANSWERS, PARCEL)


def test_a_card_without_room_is_refused(boot: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(InvalidInput, match="has no room for 3 MiB"):
        sd_card.prepare(boot, ANSWERS, PARCEL)


def test_a_command_line_of_several_lines_is_left_alone(boot: Path):
    (boot / "cmdline.txt").write_text("console=tty1\nroot=1\n")
    with pytest.raises(Conflict, match="more than one line"):
        sd_card.prepare(boot, ANSWERS, PARCEL)
    assert not (boot / "firstrun.sh").exists()


def test_a_firstrun_that_is_no_script_is_left_alone(boot: Path):
    (boot / "firstrun.sh").write_text("echo\n")
    (boot / "cmdline.txt").write_text("systemd.run=/boot/firstrun.sh\n")
    with pytest.raises(Conflict, match="is no script"):
        sd_card.prepare(boot, ANSWERS, PARCEL)


def test_a_file_of_the_card_that_is_no_text_is_named(boot: Path):
    (boot / "cmdline.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"cmdline\.txt"):
        sd_card.prepare(boot, ANSWERS, PARCEL)
