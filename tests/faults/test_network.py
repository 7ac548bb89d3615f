"""A network, a store or credentials that fail: nothing waits for them but the clips, and those arrive exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.recorded import stored_once
from tests.support.aws_servers import CredentialsFault, S3Fault
from tests.support.cloud import Cloud, told
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.fake_device_client import FakeDeviceClient

pytestmark = pytest.mark.needs_av

ClientOf = Callable[[DaemonProcess], FakeDeviceClient]
WALKS = "synthetic:?script=walk:2,quiet:5&speed=4"


def events_recorded(daemon: DaemonProcess) -> set[str]:
    """Event ids of the clips that were finished in this life."""
    return {line.split("Clip of event ")[1][:32] for line in daemon.log if "Clip of event" in line}


def check_life_goes_on(daemon: DaemonProcess, client: FakeDeviceClient) -> None:
    """Motion is recorded and told, and commands are answered, whatever the cloud does."""
    daemon.wait_log("Clip of event .* is on the disk", count=2)
    eventually(lambda: len(told(client, "motion_start")) >= 2, "motion is told")
    asked_s = time.monotonic()
    client.command("configuration", capture_id="now")
    eventually(lambda: told(client, "configuration_end", capture_id="now"), "the command is answered")
    # Events are 0.6 s apart and the client naps 0.5 s; a queue that waits for an upload would take a minute.
    assert time.monotonic() - asked_s < 10.0


def check_all_is_stored_once(cloud: Cloud, recorded: set[str], folder: Path) -> None:
    """Every clip is in the bucket, and no picture twice."""
    clips = cloud.clips(folder)
    assert {path.name.partition("-")[2].partition(".")[0] for path in clips} >= recorded
    stored_once(clips)
    assert len(cloud.clips_put) == len(set(cloud.clips_put)), "no key is taken twice"


def check_backlog_arrives_at_the_next_start(cloud: Cloud, recorded: set[str], folder: Path) -> None:
    """The cloud is well, the daemon starts with nothing to see: what it uploads is the backlog, newest first."""
    before = len(cloud.clips_put)
    cloud.get_well()
    again = cloud.daemon(folder, camera="synthetic:?script=quiet:3600")
    with running(again):
        again.wait_ready()
        eventually(lambda: not again.sidecars(), "everything is uploaded", 40)
        assert again.stop() == 0
    check_all_is_stored_once(cloud, recorded, folder)
    starts = [int(key.rpartition("/")[2].partition("-")[0]) for key in cloud.clips_put[before:]]
    assert starts == sorted(starts, reverse=True), "the newest motion goes first"


@pytest.mark.parametrize(
    "fault",
    [
        S3Fault.REFUSE,
        S3Fault.HANG,
        S3Fault.CUT_BODY,
        S3Fault.LOSE_ANSWER,
        S3Fault.DENY,
        S3Fault.SLOW_DOWN,
        S3Fault.ELSEWHERE,
    ],
    ids=lambda fault: fault.name.lower(),
)
def test_a_store_that_fails_holds_nothing_up_and_gets_everything_in_the_end(
    tmp_path: Path, client_of: ClientOf, cloud: Cloud, fault: S3Fault
) -> None:
    cloud.store.standing_fault = fault
    daemon = cloud.daemon(tmp_path, camera=WALKS)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        check_life_goes_on(daemon, client_of(daemon))
        daemon.stop()
        assert not any("Traceback" in line for line in daemon.log)
        assert sum("Cannot upload clips" in line for line in daemon.log) <= 1, "trouble is told once"
    check_backlog_arrives_at_the_next_start(cloud, events_recorded(daemon), tmp_path)


@pytest.mark.parametrize(
    "fault",
    [CredentialsFault.DENIED, CredentialsFault.HANG, CredentialsFault.GARBAGE],
    ids=lambda fault: fault.name.lower(),
)
def test_credentials_that_cannot_be_had_hold_nothing_up(
    tmp_path: Path, client_of: ClientOf, cloud: Cloud, fault: CredentialsFault
) -> None:
    cloud.credentials.standing_fault = fault
    daemon = cloud.daemon(tmp_path, camera=WALKS)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        check_life_goes_on(daemon, client_of(daemon))
        daemon.stop()
        assert not any("Traceback" in line for line in daemon.log)
    assert cloud.clips_put == []
    check_backlog_arrives_at_the_next_start(cloud, events_recorded(daemon), tmp_path)


def test_a_bucket_that_does_not_exist_is_told_and_the_clips_wait(tmp_path: Path, cloud: Cloud) -> None:
    right, cloud.bucket = cloud.bucket, "no-such-bucket"
    daemon = cloud.daemon(tmp_path, camera=WALKS)
    with running(daemon):
        daemon.wait_log("Cannot upload .*NoSuchBucket")
        daemon.wait_log("Clip of event .* is on the disk", count=2)
        assert daemon.stop() == 0
    recorded = events_recorded(daemon)
    assert {clip["event_id"] for clip in daemon.clips()} >= recorded
    cloud.bucket = right
    check_backlog_arrives_at_the_next_start(cloud, recorded, tmp_path)


def test_when_the_network_is_back_the_clips_leave_without_a_restart(
    tmp_path: Path, client_of: ClientOf, cloud: Cloud
) -> None:
    cloud.store.standing_fault = S3Fault.REFUSE
    daemon = cloud.daemon(tmp_path, camera="synthetic:?script=walk:2,quiet:5,walk:2,quiet:3600&speed=4")
    with running(daemon):
        daemon.wait_log("Clip of event .* is on the disk", count=2)
        daemon.wait_log("Cannot upload clips")
        client = client_of(daemon)
        client.command("health", capture_id="bad")
        report = eventually(lambda: told(client, "health_end", capture_id="bad"), "health")[0]
        assert report["upload_state"] == "failing"
        cloud.get_well()
        daemon.wait_log("Uploading clips works again", timeout_s=60)
        eventually(lambda: not daemon.sidecars(), "everything is uploaded", 60)
        eventually(lambda: len(told(client, "upload_end")) >= 2, "and told")
        assert daemon.stop() == 0
    check_all_is_stored_once(cloud, events_recorded(daemon), tmp_path)
