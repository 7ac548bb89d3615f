"""The file of aws-iot-device-client and the flags over it: what is taken, what is refused, in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.link import configuration
from pinthesky.link.configuration import FILE_MAX, KEYS, Configuration, load
from tests.support.house.source import ROOT

LEAST: dict[str, Any] = {"endpoint": "hub.local", "cert": "/c/cert.pem", "key": "/c/key.pem", "thing-name": "garden"}


def read(folder: Path, document: Any, *flags: str, environment: dict[str, str] | None = None):
    file = folder / "client.conf"
    file.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return load(["--config-file", str(file), *flags], environment or {})


def test_the_least_that_is_needed_gets_the_defaults(tmp_path: Path) -> None:
    found, findings = read(tmp_path, LEAST)
    assert found is not None
    assert (findings.errors, findings.warnings) == ([], [])
    assert (found.endpoint, found.port, found.root_ca) == ("hub.local", None, None)
    assert (found.keep_alive_s, found.session_expiry_s) == (30, 3600)
    assert (found.pub_sub, found.shadow, found.last_will) == (None, None, None)
    assert found.logging.level == "INFO"
    assert found.jobs is not None
    assert not found.jobs.allow_run_command
    assert str(found.state_directory) == configuration.STATE_DIRECTORY


def test_the_keys_of_the_other_client_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/pi")
    monkeypatch.setenv("FILES", "/files")
    document = {
        **LEAST,
        "cert": "~/cert.pem",
        "root-ca": "$FILES/ca.pem",
        "logging": {"level": "warn", "type": "FILE", "file": "/log/client.log", "enable-sdk-logging": True},
        "jobs": {"enabled": True, "handler-directory": "/handlers", "allow-run-command": True},
        "tunneling": {"enabled": False},
        "device-defender": {"enabled": False, "interval": 300},
        "samples": {
            "pub-sub": {
                "enabled": True,
                "publish-topic": "out",
                "publish-file": "/files/out.json",
                "publish-on-change": False,
                "subscribe-topic": "in",
                "subscribe-file": "/files/in.json",
            }
        },
        "sample-shadow": {
            "enabled": True,
            "shadow-name": "pinthesky",
            "shadow-input-file": "/files/report.json",
            "shadow-output-file": "/files/shadow.json",
        },
    }
    found, findings = read(tmp_path, document, environment={"STATE_DIRECTORY": "/state:/other"})
    assert found is not None
    assert findings.warnings == []
    assert (str(found.cert), str(found.root_ca)) == ("/home/pi/cert.pem", "/files/ca.pem")
    assert (found.logging.level, str(found.logging.file), found.logging.sdk) == ("WARNING", "/log/client.log", True)
    assert found.jobs is not None
    assert (str(found.jobs.handler_directory), found.jobs.allow_run_command) == ("/handlers", True)
    assert found.pub_sub is not None
    assert (found.pub_sub.publish_topic, found.pub_sub.publish_on_change) == ("out", False)
    assert found.shadow is not None
    assert (found.shadow.name, str(found.shadow.output_file)) == ("pinthesky", "/files/shadow.json")
    assert found.last_will is not None
    assert (found.last_will.topic, found.last_will.delay_s) == ("out", 30)
    assert str(found.state_directory) == "/state"


def test_a_flag_wins_over_the_file_and_a_switch_needs_no_value(tmp_path: Path) -> None:
    document = {**LEAST, "port": 443, "jobs": {"enabled": True}}
    flags = ("--port", "8883", "--enable-jobs", "false", "--enable-sdk-logging", "--thing-name", "door")
    found, _ = read(tmp_path, document, *flags)
    assert found is not None
    assert (found.port, found.jobs, found.logging.sdk, found.thing_name) == (8883, None, True, "door")


def test_flags_alone_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = [part for name, value in LEAST.items() for part in (f"--{name}", value)]
    found, findings = load(flags, {})
    assert findings.errors == []
    assert found is not None
    assert found.file is None


def test_further_folders_of_handlers_are_a_list_of_whole_paths(tmp_path: Path) -> None:
    def with_folders(folders: Any) -> tuple[Configuration | None, list[str]]:
        found, findings = read(tmp_path, {**LEAST, "jobs": {"further-handler-directories": folders}})
        return found, findings.errors

    found, _ = with_folders(["/srv/a", "/srv/b/../c"])
    assert found is not None
    assert found.jobs is not None
    assert found.jobs.further_handler_directories == (Path("/srv/a"), Path("/srv/c"))
    for wrong, reason in (
        ("/srv/a", "must be a list of at most 8 paths"),
        (["/x"] * 9, "must be a list of at most 8 paths"),
        (["srv"], "must be an absolute path, or begin with ~"),
        ([{}], "must be a text"),
    ):
        assert with_folders(wrong)[1][0].startswith(f"jobs.further-handler-directories: {reason}, got ")


def test_a_will_can_be_switched_off(tmp_path: Path) -> None:
    found, _ = read(tmp_path, {**LEAST, "last-will": {"enabled": False, "topic": "gone"}})
    assert found is not None
    assert found.last_will is None


def test_everything_that_is_wrong_is_said_at_once_each_in_one_line(tmp_path: Path) -> None:
    document = {
        "endpoint": "https://hub",
        "port": 70000,
        "cert": "relative.pem",
        "thing-name": "a b",
        "logging": {"level": "LOUD", "type": "FILE"},
        "jobs": {"enabled": "perhaps"},
        "samples": {
            "pub-sub": {
                "enabled": True,
                "publish-topic": "a/#",
                "publish-file": "/f/x",
                "subscribe-file": "/f/x",
            }
        },
        "sample-shadow": {"enabled": True},
    }
    found, findings = read(tmp_path, document)
    assert found is None
    assert all("\n" not in line for line in findings.errors)
    assert [line.partition(":")[0] for line in findings.errors] == [
        "endpoint",
        "port",
        "cert",
        "thing-name",
        "logging.level",
        "jobs.enabled",
        "samples.pub-sub.publish-topic",
        "key",
        "samples.pub-sub.publish-topic",
        "samples.pub-sub.subscribe-topic",
        "samples.pub-sub.subscribe-file",
        "sample-shadow.shadow-name",
        "logging.file",
    ]
    assert "port: must be a number from 1 to 65535, got 70000" in findings.errors


def test_the_two_shadow_files_must_be_two(tmp_path: Path) -> None:
    shadow = {"enabled": True, "shadow-name": "x", "shadow-input-file": "/f/x", "shadow-output-file": "/f/x"}
    _, findings = read(tmp_path, {**LEAST, "sample-shadow": shadow})
    assert findings.errors == ["sample-shadow.shadow-output-file: must be another file than the input file"]


def test_unknown_keys_are_warned_about_and_what_is_not_done_here_too(tmp_path: Path) -> None:
    document = {
        **LEAST,
        "colour": "red",
        "jobs": 7,
        "samples": {"pub-sub": {"publish-fle": "/x"}},
        "tunneling": {"enabled": True},
        "fleet-provisioning": {"enabled": True, "template-name": "t"},
        "_comment": "ours",
        "sensor-publish": {"sensors": []},
    }
    found, findings = read(tmp_path, document)
    assert found is not None
    assert findings.warnings == [
        "colour is not a key that this client knows; it is ignored",
        "jobs must be an object, so it is ignored",
        "samples.pub-sub.publish-fle is not a key that this client knows; it is ignored",
        "tunneling is enabled, which this client does not do; the rest works without it",
        "fleet-provisioning is enabled, which this client does not do; the rest works without it",
    ]


def test_many_unknown_keys_fill_no_log(tmp_path: Path) -> None:
    _, findings = read(tmp_path, {**LEAST, **{f"k{number}\n": 1 for number in range(50)}})
    assert len(findings.warnings) == 21
    assert "k0\\n is not a key" in findings.warnings[0]
    assert findings.warnings[-1] == "30 further unknown keys are ignored"


@pytest.mark.parametrize(
    "content, said",
    [
        (b"[]", "is not a JSON object"),
        (b"{", "is not a JSON object"),
        (b"[" * 4000, "is not a JSON object"),
        (b" " * (FILE_MAX + 1), f"is longer than {FILE_MAX} bytes"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    found, findings = read(tmp_path, content)
    assert found is None
    assert said in findings.errors[0]


def test_a_missing_file_is_refused_when_it_was_asked_for(tmp_path: Path) -> None:
    found, findings = load(["--config-file", str(tmp_path / "none")], {})
    assert found is None
    assert "cannot read" in findings.errors[0]


def test_a_wrong_flag_is_one_line(tmp_path: Path) -> None:
    found, findings = load(["--colour", "r\ned"], {})
    assert found is None
    assert len(findings.errors) == 1
    assert "\n" not in findings.errors[0]


@given(
    st.dictionaries(
        st.sampled_from(["endpoint", "port", "cert", "logging", "samples", "jobs", "sample-shadow", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.dictionaries(
                st.sampled_from([part for name in KEYS for part in name.split(".")]), inner, max_size=4
            ),
            max_leaves=12,
        ),
    )
)
def test_whatever_the_file_holds_is_answered_in_words(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    found, findings = read(tmp_path_factory.getbasetemp(), {**LEAST, **document})
    assert (found is None) == bool(findings.errors)
    assert all("\n" not in line for line in findings.errors + findings.warnings)


def test_every_key_has_its_line_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "device-client.md").read_text(encoding="utf-8")
    for name, key in KEYS.items():
        if name.rpartition(".")[0] in configuration._NOT_HERE:
            assert f"`{name.rpartition('.')[0]}`" in page
        else:
            line = next((line for line in page.splitlines() if line.startswith(f"| `{name}`")), "")
            assert (f"`{key.flag}`" if key.flag else name) in line, name
