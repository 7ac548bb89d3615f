"""The command line and the environment: what is accepted, what it means, and what is said about the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pinthesky.device import flags
from pinthesky.device.flags import Options, parse
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import CloudConnection
from pinthesky.version import __version__

CLOUD = ["--thing-cert=c.pem", "--thing-key=k.pem", "--ca-cert=a.pem", "--role-alias=alias"]
ENDPOINT = "--credentials-endpoint=abc.credentials.iot.eu-west-1.amazonaws.com"


def options(*arguments: str, **environment: str) -> Options:
    return parse(arguments, environment)


def setting(found: Options, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(found.settings, section), field)


# Every flag, its default, and one value that it takes

SETTINGS = [
    ("--log-level", "cloudwatch.log_level", "INFO", "debug", "DEBUG"),
    ("--health-interval", "health.interval", 3600, "60", 60),
    ("--rotation", "camera.rotation", 270, "90", 90),
    ("--encoding-bitrate", "camera.encoding_bitrate", 17_000_000, "2000000", 2_000_000),
    ("--encoding-profile", "camera.encoding_profile", "high", "main", "main"),
    ("--encoding-level", "camera.encoding_level", "4", "4.1", "4.1"),
    ("--resolution", "camera.resolution", "640x480", "1280x720", "1280x720"),
    ("--framerate", "camera.framerate", 20, "30", 30),
    ("--buffer", "camera.buffer", 15, "5", 5),
    ("--buffer-size", "camera.buffer_size", None, "1000000", 1_000_000),
    ("--sensitivity", "camera.sensitivity", 10, "20", 20),
    ("--recording-window", "camera.recording_window", None, "22-6", "22-6"),
    ("--post-roll", "motion.post_roll", 5, "8", 8),
    ("--bucket-name", "storage.bucket_name", None, "my-bucket", "my-bucket"),
    ("--bucket-prefix", "storage.video_prefix", "motion_videos", "house/videos", "house/videos"),
    ("--bucket-image-prefix", "storage.image_prefix", "capture_images", "stills", "stills"),
    ("--cloudwatch-region", "cloudwatch.region_name", None, "eu-west-1", "eu-west-1"),
    ("--cloudwatch-event-type", "cloudwatch.event_type", "logs", "all", "all"),
    ("--cloudwatch-metric-namespace", "cloudwatch.metric_namespace", "Pits/Device", "Home/Pits", "Home/Pits"),
    ("--cloudwatch-log-group", "cloudwatch.log_group_name", "/pinthesky/device", "/home/pits", "/home/pits"),
    ("--dataplane-endpoint", "dataplane.endpoint_url", None, "https://x.example/prod", "https://x.example/prod"),
    ("--dataplane-region", "dataplane.region_name", None, "eu-west-1", "eu-west-1"),
]
SWITCHES = [
    ("--cloudwatch", "CLOUDWATCH", "cloudwatch.enabled", False),
    ("--cloudwatch-thread", "CLOUDWATCH_THREADED", "cloudwatch.threaded", False),
    ("--disable-cloudwatch-stream-split", "CLOUDWATCH_DELINEATE_STREAM", "cloudwatch.delineate_stream", True),
    ("--dataplane", "DATAPLANE", "dataplane.enabled", False),
]
OTHERS = [
    ("--camera", "camera", "auto", "synthetic:", "synthetic:"),
    ("--state-dir", "state_dir", Path("/var/lib/pinthesky"), "/s", Path("/s")),
    ("--spool-dir", "spool_dir", Path("/var/lib/pinthesky/spool"), "/spool", Path("/spool")),
    ("--spool-max-bytes", "spool_max_bytes", 4 * 1024**3, "20G", 20 * 1024**3),
    ("--spool-min-free", "spool_min_free", 512 * 1024**2, "1048576", 1024**2),
    ("--event-input", "event_input", Path("/var/lib/pinthesky/event-input.json"), "/e", Path("/e")),
    ("--event-output", "event_output", Path("/var/lib/pinthesky/event-output.json"), "/e", Path("/e")),
    ("--event-queue", "event_queue", None, "/q", Path("/q")),
    ("--event-queue", "event_queue", None, "/q", Path("/q")),
    ("--configure-input", "configure_input", Path("/var/lib/pinthesky/configure-input.json"), "/e", Path("/e")),
    ("--configure-output", "configure_output", Path("/var/lib/pinthesky/configure-output.json"), "/e", Path("/e")),
    ("--thing-name", "thing_name", None, "garden", "garden"),
    ("--shadow-update", "shadow_update", "empty", "always", "always"),
    ("--s3-endpoint", "s3_endpoint", None, "https://hub.home:9443", "https://hub.home:9443"),
    ("--allow-destination", "allow_destinations", [], "bucket=b", ["bucket=b"]),
    ("--capture-dir", "ignored", [], "/c", ["--capture-dir"]),
    ("--combine-dir", "ignored", [], "/c", ["--combine-dir"]),
]


@pytest.mark.parametrize("flag, name, default, given_value, expected", SETTINGS, ids=[row[0] for row in SETTINGS])
def test_a_setting_has_its_default_and_takes_a_value(
    flag: str, name: str, default: object, given_value: str, expected: object
):
    assert setting(options(), name) == default
    assert setting(options(flag, given_value), name) == expected
    assert setting(options(f"{flag}={given_value}"), name) == expected


@pytest.mark.parametrize("flag, name, default, given_value, expected", OTHERS, ids=[row[0] for row in OTHERS])
def test_another_flag_has_its_default_and_takes_a_value(
    flag: str, name: str, default: object, given_value: str, expected: object
):
    if default is not None:
        assert getattr(options(), name) == default
    assert getattr(options(flag, given_value), name) == expected


@pytest.mark.parametrize("flag, variable, name, default", SWITCHES, ids=[row[0] for row in SWITCHES])
def test_a_switch_turns_its_setting_and_so_does_its_variable(flag: str, variable: str, name: str, default: bool):
    assert setting(options(), name) is default
    assert setting(options(flag), name) is not default
    for word, meaning in (("true", True), ("1", True), ("YES", True), ("false", False), ("0", False), ("", False)):
        assert setting(options(**{variable: word}), name) is meaning


def test_a_split_stream_is_what_the_variable_says_and_the_flag_denies():
    assert options(CLOUDWATCH_DELINEATE_STREAM="true").settings.cloudwatch.delineate_stream is True
    assert options(CLOUDWATCH_DELINEATE_STREAM="false").settings.cloudwatch.delineate_stream is False
    denied = options("--disable-cloudwatch-stream-split", CLOUDWATCH_DELINEATE_STREAM="true")
    assert denied.settings.cloudwatch.delineate_stream is False


def test_a_switch_that_is_given_wins_over_its_variable():
    assert options("--cloudwatch", CLOUDWATCH="false").settings.cloudwatch.enabled is True


def test_every_flag_is_tested_here():
    known = {text for action in flags.parser()._actions for text in action.option_strings if text.startswith("--")}
    tested = {row[0] for row in [*SETTINGS, *OTHERS, *SWITCHES]} | {"--help", "--version", "--ca-bundle"}
    assert known - tested == {"--thing-cert", "--thing-key", "--ca-cert", "--credentials-endpoint", "--role-alias"}


def test_the_command_line_of_an_installed_unit_is_taken():
    found = options(
        *("--event-input", "/etc/p/events/input.json", "--event-output", "/etc/p/events/output.json"),
        *("--configure-input", "/etc/p/conf/in.json", "--configure-output", "/etc/p/conf/out.json"),
        *("--thing-name", "porch", "--thing-cert", "/c", "--thing-key", "/k", "--ca-cert", "/a"),
        *("--role-alias", "r", "--credentials-endpoint", "e.example", "--bucket-name", "b-1"),
        *("--capture-dir", "/cap", "--combine-dir", "/com", "--cloudwatch", "--cloudwatch-thread"),
        *("--log-level", "WARNING", "--shadow-update", "always", "--rotation", "90"),
        AWS_DEFAULT_REGION="us-east-2",
    )
    assert found.cloud_connection.role_alias
    assert found.cloud_connection == CloudConnection(
        cert_path="/c",
        key_path="/k",
        cacert_path="/a",
        thing_name="porch",
        role_alias="r",
        credentials_endpoint="e.example",
    )
    assert found.ignored == ["--capture-dir", "--combine-dir"]
    assert found.older_folders == [Path("/cap"), Path("/com")]
    assert found.region == "us-east-2"


# Regions


def test_the_default_region_is_that_of_the_environment():
    found = options(AWS_DEFAULT_REGION="eu-west-1")
    assert found.region == "eu-west-1"
    assert (found.settings.cloudwatch.region_name, found.settings.dataplane.region_name) == ("eu-west-1", "eu-west-1")


def test_a_region_flag_wins_over_the_environment():
    found = options("--cloudwatch-region=eu-north-1", AWS_DEFAULT_REGION="eu-west-1")
    assert found.settings.cloudwatch.region_name == "eu-north-1"


def test_an_empty_region_variable_is_none():
    assert options(AWS_DEFAULT_REGION="").region is None


@pytest.mark.parametrize(
    "arguments", [[], ["--cloudwatch-region=eu-west-1", "--dataplane-region=eu-west-1"]], ids=["bare", "with flags"]
)
def test_a_region_variable_that_cannot_be_is_told_by_its_name(arguments: list[str]):
    with pytest.raises(InvalidInput, match=r"AWS_DEFAULT_REGION: .*got 'EU WEST'"):
        options(*arguments, AWS_DEFAULT_REGION="EU WEST")


# What is wrong is said with the flag, the value and the bound

WRONG = [
    ("--framerate", "0", "from 1 to 120"),
    ("--framerate", "fast", "whole number"),
    ("--framerate", "20.5", "whole number"),
    ("--health-interval", "5", "from 10 to 86400"),
    ("--rotation", "45", "one of 0, 90, 180, 270"),
    ("--encoding-bitrate", "99", "from 100000 to 25000000"),
    ("--encoding-profile", "ultra", "one of baseline"),
    ("--encoding-level", "9", "one of 1, 1.1"),
    ("--resolution", "640", "must match"),
    ("--resolution", "641x480", "both even"),
    ("--buffer", "121", "from 0 to 120"),
    ("--buffer-size", "1", "from 100000 to 512000000"),
    ("--sensitivity", "-1", "from 1 to 1000"),
    ("--recording-window", "8-8", "hours 0 to 24 that differ"),
    ("--recording-window", "8-30", "hours 0 to 24 that differ"),
    ("--post-roll", "0", "from 1 to 120"),
    ("--log-level", "loud", "one of"),
    ("--bucket-name", "My Bucket", "lower-case"),
    ("--bucket-name", "", "lower-case"),
    ("--bucket-prefix", "../up", "letters"),
    ("--bucket-image-prefix", "a//b", "letters"),
    ("--cloudwatch-region", "EU", "must match"),
    ("--cloudwatch-event-type", "some", "one of"),
    ("--cloudwatch-log-group", "a b", "must match"),
    ("--cloudwatch-metric-namespace", "a b", "must match"),
    ("--dataplane-endpoint", "ftp://x", "must match"),
    ("--dataplane-region", "?", "must match"),
    ("--thing-name", "my thing", "letters"),
    ("--shadow-update", "sometimes", "one of always, never, empty"),
    ("--spool-max-bytes", "1K", "at least 16777216"),
    ("--spool-max-bytes", "4GB", "number of bytes"),
    ("--spool-min-free", "-5", "number of bytes"),
    ("--s3-endpoint", "hub.home", "http(s)://host"),
    ("--s3-endpoint", "https://user@hub.home", "http(s)://host"),
    ("--ca-bundle", "/nowhere/ca.pem", "can be read"),
    ("--ca-bundle", "", "must be a path"),
    ("--state-dir", "", "must be a path"),
    ("--state-dir", "a\0b", "must be a path"),
    ("--event-input", "a\0b", "must be a path"),
]


@pytest.mark.parametrize("flag, value, bound", WRONG, ids=[f"{row[0]}={row[1]!r}" for row in WRONG])
def test_a_wrong_value_is_told_with_flag_value_and_bound(flag: str, value: str, bound: str):
    with pytest.raises(InvalidInput) as raised:
        options(flag, value)
    assert raised.value.field == flag
    assert bound in raised.value.reason
    assert repr(value)[1:-1].lower() in raised.value.reason.lower()


@pytest.mark.parametrize("flag", ["--credentials-endpoint", "--role-alias"])
@pytest.mark.parametrize("value", ["a b", "a:99999", "https://a/", "a:b"])
def test_a_wrong_endpoint_or_alias_is_told(flag: str, value: str):
    arguments = dict(argument.split("=", 1) for argument in [*CLOUD, ENDPOINT])
    arguments[flag] = value
    with pytest.raises(InvalidInput) as raised:
        options(*(f"{name}={given_value}" for name, given_value in arguments.items()))
    assert raised.value.field == flag
    assert repr(value) in raised.value.reason


@pytest.mark.parametrize("endpoint", ["a.example:8443", "192.168.1.4", "[fe80::1]:443"])
def test_an_endpoint_is_a_host_with_or_without_port(endpoint: str):
    found = options(*CLOUD, f"--credentials-endpoint={endpoint}")
    assert found.cloud_connection.credentials_endpoint == endpoint


@pytest.mark.parametrize("missing", range(5))
def test_credentials_are_given_wholly_or_not_at_all(missing: int):
    arguments = [*CLOUD, ENDPOINT]
    left_out = arguments.pop(missing).partition("=")[0]
    with pytest.raises(InvalidInput, match="must be given together with --") as raised:
        options(*arguments)
    assert raised.value.field == left_out


def test_without_credentials_there_is_no_cloud():
    assert options().cloud_connection.role_alias is None
    assert options(*CLOUD, ENDPOINT).cloud_connection.credentials_endpoint


@pytest.mark.parametrize("variable", [row[1] for row in SWITCHES])
def test_a_variable_that_is_neither_true_nor_false_is_told(variable: str):
    with pytest.raises(InvalidInput, match=f"{variable}: must be true or false, got 'maybe'"):
        options(**{variable: "maybe"})


def test_a_flag_without_its_value_is_told():
    with pytest.raises(InvalidInput, match="--framerate: expected one argument"):
        options("--framerate")


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["word"], ["--frame", "3"]])
def test_what_is_no_flag_is_told(arguments: list[str]):
    with pytest.raises(InvalidInput, match=r"unrecognized arguments: .* \(see pinthesky --help\)"):
        options(*arguments)


@pytest.mark.parametrize("other", ["/same", "/other/../same"])
def test_the_shared_files_must_differ(other: str):
    with pytest.raises(InvalidInput, match="--configure-input: must be another file than that of --event-output"):
        options("--event-output=/same", f"--configure-input={other}")


def test_a_ca_bundle_that_can_be_read_is_taken(tmp_path: Path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("pem")
    assert options(f"--ca-bundle={bundle}").ca_bundle == bundle
    assert options().ca_bundle is None


# The rest


def test_the_places_of_files_follow_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    found = options("--state-dir", "here")
    assert found.spool_dir == tmp_path / "here" / "spool"
    assert found.event_input == tmp_path / "here" / "event-input.json"


@pytest.mark.parametrize("host, name", [("pi.local", "pi-local"), ("pi_4", "pi_4"), ("", "camera")])
def test_a_thing_without_name_is_called_as_its_host(host: str, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", host, "6", "v", "arm")))
    assert options().thing_name == name


def test_destinations_add_up():
    found = options("--allow-destination", "bucket=a", "--allow-destination", "region=eu-west-1")
    assert found.allow_destinations == ["bucket=a", "region=eu-west-1"]


def test_the_environment_of_the_process_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLOUDWATCH", "true")
    assert parse([]).settings.cloudwatch.enabled is True


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as raised:
        options("--version")
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"pinthesky {__version__}\n"


def test_the_help_names_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as raised:
        options("--help")
    assert raised.value.code == 0
    text = capsys.readouterr().out
    for row in [*SETTINGS, *OTHERS, *SWITCHES]:
        assert str(row[0]) in text
    assert "(default: 640x480)" in " ".join(text.split())


WORDS = st.one_of(
    st.sampled_from([row[0] for row in [*SETTINGS, *OTHERS, *SWITCHES]]),
    st.sampled_from(["--", "-", "-1", "--=x", "--framerate=", "null", "1e9", "NaN", "270", "\udcff", "\0", "640x480"]),
    st.text(max_size=12),
)


def outcome(arguments: list[str], environment: dict[str, str]) -> object:
    try:
        return parse(arguments, environment)
    except (InvalidInput, SystemExit) as end:
        return end


@settings(max_examples=200)
@given(
    arguments=st.lists(WORDS, max_size=6),
    environment=st.dictionaries(
        st.sampled_from(["CLOUDWATCH", "DATAPLANE", "AWS_DEFAULT_REGION"]), st.text(max_size=8), max_size=3
    ),
)
@example(["--encoding-level", "\udcff"], {})
@example(["--bucket-name", "\udcff"], {})
@example(["--dataplane-endpoint", "https://\udcff"], {})
@example(["--state-dir", "\udcff"], {})
def test_any_command_line_makes_options_or_says_what_is_wrong_with_it(
    arguments: list[str], environment: dict[str, str]
):
    found = outcome(arguments, environment)
    if isinstance(found, InvalidInput):
        assert found.field.startswith("--") or found.field in {"pinthesky", *environment}
        assert str(found).isprintable()
    elif isinstance(found, SystemExit):
        assert found.code == 0
    else:
        assert isinstance(found, Options)
