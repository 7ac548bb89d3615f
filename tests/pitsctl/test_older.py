"""An older version is taken over in place: flags, identity, recordings and shadow stay, and come back on removal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitsctl.pi_older import flags_of, values_of
from tests.pitsctl.conftest import Installation
from tests.support.pretend_root import PretendRoot

UNIT = """[Unit]
Description=an older daemon
[Service]
EnvironmentFile=/etc/pinthesky/pinthesky.env
WorkingDirectory=/opt/old
ExecStart=/usr/local/bin/pinthesky --thing-name ${THING} --thing-cert /etc/old/cert.pem \\
  --thing-key /etc/old/key.pem --ca-cert /etc/old/ca.pem --credentials-endpoint abc.credentials.iot.amazonaws.com \\
  --role-alias camera-role $STORAGE --combine-dir clips --capture-dir /opt/old/captures --framerate 15 --dataplane \\
  --event-output /opt/old/out.json --configure-output /opt/old/shadow.json
[Install]
WantedBy=multi-user.target
"""
ENVIRONMENT = (
    'THING=backyard\nSTORAGE="--bucket-name my-clips --rotation 270"\nAWS_DEFAULT_REGION=us-east-1\nCLOUDWATCH=true\n'
)
CLIENT = {"endpoint": "abc-ats.iot.us-east-1.amazonaws.com", "thing-name": "backyard", "cert": "/etc/old/cert.pem"}


@pytest.fixture
def older(pi: PretendRoot) -> PretendRoot:
    """A Pi with pits-device 0.9 as it was installed, running."""
    pi.put("/etc/systemd/system/pinthesky.service", UNIT)
    pi.put("/etc/systemd/system/aws-iot-device-client.service", "[Service]\nExecStart=/sbin/aws-iot-device-client\n")
    pi.put("/etc/pinthesky/pinthesky.env", ENVIRONMENT)
    pi.put("/etc/.aws-iot-device-client/aws-iot-device-client.conf", json.dumps(CLIENT))
    for name in ("cert", "key", "ca"):
        pi.put(f"/etc/old/{name}.pem", f"old {name}", mode=0o600)
    pi.put("/opt/old/clips/1700000000.motion.h264", "a clip")
    pi.put("/opt/old/captures/latest.jpg", "a still")
    pi.put("/opt/old/shadow.json", '{"current": {}}')
    for unit in ("pinthesky.service", "aws-iot-device-client.service"):
        for state in ("enabled", "active"):
            pi.put(f"/var/fake/{state}-{unit}", "")
    return pi


@pytest.fixture
def upgrade(older: PretendRoot, installation: Installation) -> Installation:
    installation.home = lambda machine, ledger: []
    return installation


def test_flags_identity_and_environment_are_kept(older: PretendRoot, upgrade: Installation):
    outcome = upgrade.install()
    assert outcome.is_complete, (outcome, upgrade.heard.lines)
    text = older.text("/etc/pinthesky/pinthesky.env") or ""
    assert text.startswith('THING=backyard\nSTORAGE="--bucket-name my-clips --rotation 270"\nCLOUDWATCH=true\n')
    flags = flags_of("pinthesky " + values_of(text)["PINTHESKY_FLAGS"], {})
    assert flags["thing-name"] == "backyard"
    assert (flags["rotation"], flags["framerate"], flags["bucket-name"]) == ("270", "15", "my-clips")
    assert flags["thing-cert"] == "/etc/pinthesky/certificates/certificate.pem"
    assert values_of(text)["AWS_DEFAULT_REGION"] == "us-east-1"
    assert "resolution" not in flags, "no preset over what was there"
    assert "event-output" not in flags
    assert older.text("/etc/pinthesky/certificates/private.key") == "old key"
    assert older.text("/etc/old/key.pem") == "old key"
    client = json.loads(older.text("/etc/pinthesky/device-client.json") or "")
    assert (client["endpoint"], client["thing-name"]) == ("abc-ats.iot.us-east-1.amazonaws.com", "backyard")
    assert "port" not in client
    assert older.text("/var/lib/pinthesky/configure-output.json") == '{"current": {}}'


def test_recordings_move_to_where_the_daemon_may_take_them(older: PretendRoot, upgrade: Installation):
    assert upgrade.install().is_complete
    flags = older.text("/etc/pinthesky/pinthesky.env") or ""
    assert "--combine-dir /var/lib/pinthesky/older-combine-dir" in flags
    assert older.text("/var/lib/pinthesky/older-combine-dir/1700000000.motion.h264") == "a clip"
    assert older.text("/var/lib/pinthesky/older-capture-dir/latest.jpg") == "a still"


def test_the_older_client_gives_way_and_a_second_time_there_is_nothing_to_do(older: PretendRoot, upgrade: Installation):
    assert upgrade.install().is_complete
    assert older.text("/var/fake/active-aws-iot-device-client.service") is None
    assert older.text("/var/fake/active-pits-device-client.service") is not None
    assert upgrade.install().done == ()


def test_removing_brings_the_older_version_back_as_it_was(older: PretendRoot, upgrade: Installation):
    before = older.tree()
    assert upgrade.install().is_complete
    assert older.tree() != before
    outcome = upgrade.remove()
    assert outcome.is_complete, (outcome, upgrade.heard.lines[-20:])
    assert older.tree() == before


def test_an_identity_that_is_not_whole_lets_the_camera_in_anew(older: PretendRoot, upgrade: Installation):
    older.run("rm", "/etc/old/key.pem")
    outcome = upgrade.install()
    assert (outcome.failed, "is let in" in str(outcome.error)) == ("device-client", True)


def test_a_client_s_configuration_that_cannot_be_read_is_said_before_anything_of_it_changes(
    older: PretendRoot, upgrade: Installation
):
    older.put("/etc/.aws-iot-device-client/aws-iot-device-client.conf", "{")
    outcome = upgrade.install()
    assert outcome.failed == "older-version"
    assert "cannot be read" in str(outcome.error)
    assert older.text("/etc/systemd/system/pinthesky.service") == UNIT


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z-]{0,20}[a-z]", fullmatch=True),
        st.from_regex(r"[A-Za-z0-9_./:]{0,20}", fullmatch=True),
    )
)
def test_flags_are_read_in_whichever_way_they_are_written(flags: dict[str, str]):
    spaced = " ".join(f"--{name} {value}".strip() for name, value in flags.items())
    joined = " ".join(f"--{name}={value}" for name, value in flags.items())
    assert flags_of(f"program {spaced}", {}) == flags
    assert flags_of(f"program {joined}", {}) == flags
    assert flags_of("program $X", {"X": spaced}) == flags


def test_values_of_an_environment_file_are_read_as_systemd_does():
    assert values_of("A=1\nB='x y'\n") == {"A": "1", "B": "x y"}
