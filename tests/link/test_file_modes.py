"""Modes of files as aws-iot-device-client demands them, with the command that mends each."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pinthesky.link.configuration import Findings
from pinthesky.link.file_modes import check
from pinthesky.link.job_handlers import JobsSettings
from tests.support.broker import Broker
from tests.support.link_client import ThingFolder


@pytest.fixture
def thing(tmp_path: Path) -> ThingFolder:
    made = ThingFolder(tmp_path / "a thing", Broker(tmp_path))
    for file in (made.event_input, made.event_output, made.configure_input, made.configure_output):
        file.touch(0o600)
    return made


def test_modes_as_an_installer_sets_them_are_right(thing: ThingFolder) -> None:
    findings = check(thing.configuration())
    assert (findings.errors, findings.warnings) == ([], [])


@pytest.mark.parametrize(
    "name, mode, wanted, fatal",
    [
        ("key", 0o644, 0o600, True),
        ("cert", 0o600, 0o644, True),
        ("ca", 0o755, 0o644, True),
        ("identity", 0o755, 0o700, True),
        ("configure_input", 0o644, 0o600, True),
        ("configure_output", 0o640, 0o600, True),
        ("event_output", 0o644, 0o600, False),
        ("event_input", 0o666, 0o600, False),
        ("files", 0o755, 0o745, False),
        ("configuration_file", 0o644, 0o640, False),
    ],
)
def test_a_wrong_mode_is_told_with_the_command_that_mends_it(
    thing: ThingFolder, name: str, mode: int, wanted: int, fatal: bool
) -> None:
    configuration = thing.configuration()
    path: Path = getattr(thing, name)
    path.chmod(mode)
    findings = check(configuration)
    told = findings.errors if fatal else findings.warnings
    assert told
    assert not (findings.warnings if fatal else findings.errors)
    assert f"has mode {mode:o} and must have {wanted:o}: chmod {wanted:o} '{path}'" in told[0]
    subprocess.run(["sh", "-c", told[0].rpartition(": ")[2]], check=True)
    assert check(configuration) == type(findings)()


def test_a_missing_certificate_is_an_error_and_a_missing_shadow_file_is_none(thing: ThingFolder) -> None:
    configuration = thing.configuration()
    thing.configure_output.unlink()
    assert check(configuration).errors == []
    thing.cert.unlink()
    assert check(configuration).errors == [f"cert: {thing.cert} is no file that can be read"]


def test_a_missing_folder_is_told_with_the_command_that_makes_it(thing: ThingFolder) -> None:
    thing.document["samples"]["pub-sub"]["subscribe-file"] = str(thing.folder / "none" / "in.json")
    errors = check(thing.configuration()).errors
    assert len(errors) == 1
    assert "mkdir -p -m 745" in errors[0]


def test_what_cannot_be_looked_at_is_told(thing: ThingFolder) -> None:
    thing.event_output.write_text("{}")
    thing.event_output.chmod(0o600)
    thing.document["samples"]["pub-sub"]["subscribe-file"] = str(thing.event_output / "in.json")
    warnings = check(thing.configuration()).warnings
    inside = thing.event_output / "in.json"
    assert warnings[0] == f"samples.pub-sub.subscribe-file: cannot look at {inside}: Not a directory"


def test_only_what_is_configured_is_looked_at(thing: ThingFolder) -> None:
    del thing.document["root-ca"]
    thing.ca.chmod(0o777)
    for section, left in (("sample-shadow", "shadow-output-file"), ("samples", "pub-sub")):
        thing.document[section] = {left: thing.document[section][left]}
    thing.document["samples"]["pub-sub"].pop("publish-file")
    thing.document["sample-shadow"] |= {"enabled": True, "shadow-name": "pinthesky"}
    thing.configure_input.write_text("{}")
    thing.configure_input.chmod(0o777)
    configuration = replace(thing.configuration(), file=None)
    thing.configuration_file.chmod(0o777)
    assert check(configuration) == Findings()
    assert check(replace(configuration, pub_sub=None, shadow=None)) == Findings()


def test_handlers_that_would_fail_their_job_are_told_of(thing: ThingFolder) -> None:
    folder = thing.folder / "handlers"
    folder.mkdir()
    for number in range(15):
        (folder / f"handler-{number:02d}").touch(0o755)
    configuration = replace(thing.configuration(), jobs=JobsSettings(handler_directory=folder))
    warnings = check(configuration).warnings
    assert len(warnings) == 10
    assert "chmod 700" in warnings[0]
    nowhere = replace(configuration, jobs=JobsSettings(handler_directory=folder / "handler-00"))
    assert "jobs.handler-directory: cannot read" in check(nowhere).warnings[0]


def test_a_device_without_handlers_is_in_order_and_says_in_one_line_that_jobs_will_fail(thing: ThingFolder) -> None:
    folder = thing.folder / "none"
    found = check(replace(thing.configuration(), jobs=JobsSettings(handler_directory=folder)))
    assert (found.errors, found.warnings) == ([], [])
    assert found.notes == [f"There is no folder {folder} with job handlers: jobs will fail"]
    assert check(replace(thing.configuration(), jobs=None)).notes == []
