"""The owner's settings, and how other programs are run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pinthesky.admin.installation import Installation
from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable


def test_settings_come_from_the_environment():
    installation = Installation.from_environment(
        {
            "PINTHESKY_UPGRADE_SOURCES": "https://hub.local:8444/wheels/ https://b.example/",
            "PINTHESKY_EXTRAS": "",
            "PINTHESKY_SETTLE_S": "2.5",
            "PINTHESKY_CA_BUNDLE": "/etc/pinthesky/hub.pem",
        }
    )
    assert installation.sources == ("https://hub.local:8444/wheels/", "https://b.example/")
    assert (installation.extras, installation.settle_s) == ((), 2.5)
    assert installation.ca_bundle == Path("/etc/pinthesky/hub.pem")
    assert Installation.from_environment({}) == Installation()


@pytest.mark.parametrize(
    "name, value",
    [
        ("PINTHESKY_UPGRADE_SOURCES", "http://a/"),
        ("PINTHESKY_UPGRADE_SOURCES", "https://a.example"),
        ("PINTHESKY_UPGRADE_SOURCES", "https://a/?x=/"),
        ("PINTHESKY_EXTRAS", "client]; rm"),
        ("PINTHESKY_SETTLE_S", "soon"),
        ("PINTHESKY_SETTLE_S", "601"),
        ("PINTHESKY_SETTLE_S", "nan"),
        ("PINTHESKY_CA_BUNDLE", "hub.pem"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str):
    with pytest.raises(InvalidInput) as caught:
        Installation.from_environment({name: value})
    assert caught.value.field == name


def test_only_what_the_owner_allowed_may_be_fetched():
    installation = Installation(sources=("https://hub/wheels/",))
    installation.check_source("https://hub/wheels/a.whl")
    installation.check_source("a.whl")
    with pytest.raises(NotAuthorized) as caught:
        installation.check_source("https://hub/other/a.whl?secret")
    assert "https://hub/other/a.whl is not among the allowed sources (https://hub/wheels/)" in str(caught.value)
    with pytest.raises(NotAuthorized):
        Installation().check_source("https://hub/wheels/a.whl")


def test_a_program_is_run_with_a_small_environment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "x")
    finished = Installation(state=tmp_path).run(["env"], timeout_s=10)
    names = {line.partition("=")[0] for line in finished.output.splitlines()}
    assert names <= {"PATH", "LANG", "HOME", "SYSTEMD_COLORS", "TMPDIR", "PWD", "SHLVL", "_"}


def test_the_end_of_what_a_program_printed_is_kept(tmp_path: Path):
    finished = Installation(state=tmp_path).run(["seq", "100000"], timeout_s=10, keep=20)
    assert (finished.code, finished.last_line, len(finished.output)) == (0, "100000", 20)
    assert Installation(state=tmp_path).run(["false"], timeout_s=10).last_line == "exit code 1"


def test_a_program_that_does_not_end_is_ended_with_its_children(tmp_path: Path):
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"sh did not end within 0 s"):
        Installation(state=tmp_path).run(["sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 60 | sleep 60"], timeout_s=0.3)
    assert time.monotonic() - started < 10
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_a_program_that_is_not_there_is_unavailable(tmp_path: Path):
    with pytest.raises(Unavailable, match="cannot be started"):
        Installation(state=tmp_path).run([tmp_path / "nothing"], timeout_s=1)
    with pytest.raises(Unavailable, match="one boot from another"):
        Installation(boot_id=tmp_path / "nothing").current_boot()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_can_run_a_program_as_somebody_else(tmp_path: Path):
    finished = Installation(state=tmp_path).run(["id", "-un"], timeout_s=10, user="nobody")
    assert finished.last_line == "nobody"
