"""The daemon and the device client, which share four files: commands, events, settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import SCENE
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.fake_device_client import FakeDeviceClient

pytestmark = pytest.mark.needs_av

ClientOf = Callable[[DaemonProcess], FakeDeviceClient]


def answers(client: FakeDeviceClient, name: str, **fields: Any) -> list[dict[str, Any]]:
    """Published events of a name with these fields."""
    return [event for event in client.events if event["name"] == name and fields.items() <= event.items()]


def test_every_command_is_answered(quiet: DaemonProcess, client_of: ClientOf) -> None:
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        client = client_of(quiet)
        client.command("health", capture_id="h1")
        client.command("configuration", capture_id="c1")
        client.command("capture_image", capture_id="i1", file_name="door.jpg")
        client.command("capture_video", capture_id="v1", duration=1)
        client.command("record", capture_id="r1", session={"start": True})
        health = eventually(lambda: answers(client, "health_end", capture_id="h1"), "health")[0]
        assert health["camera_model"] == "synthetic"
        assert health["camera_capabilities"] == {"encoder": "libx264", "forced_keyframes": "yes"}
        assert health["pictures_lost"] == 0
        assert health["recording_status"] in (False, True)
        configuration = eventually(lambda: answers(client, "configuration_end", capture_id="c1"), "configuration")[0]
        assert configuration["configuration"]["camera"]["framerate"] == 10
        image = eventually(lambda: answers(client, "capture_image_end", capture_id="i1"), "still")[0]
        assert image["file_name"] == "door.jpg"
        assert "error" in eventually(lambda: answers(client, "record_end", capture_id="r1"), "live view")[0]
        video = eventually(lambda: answers(client, "upload_end", capture_id="v1"), "clip")[0]
        assert video["trigger"] == "manual"
        assert all(event["thing_name"] == "garden" for event in client.events)
        assert client.crashes == []
        assert quiet.stop() == 0
    kinds = sorted(item["kind"] for item in quiet.sidecars())
    assert kinds == ["clip", "still", "thumbnail"]


def test_commands_appended_without_a_separator_are_all_served(quiet: DaemonProcess, client_of: ClientOf) -> None:
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        client = client_of(quiet)
        client.deliver(b'{"name":"configuration","context":{"capture_id":"a"}}{"name":"configur', b'ation","context":')
        client.deliver(b'{"capture_id":"b"}}')
        client.deliver(b'}}nonsense{"name": "combine_end", "context": {"file_name": "../../etc/passwd"}}')
        client.command("configuration", capture_id="c")
        for capture_id in "abc":
            eventually(lambda wanted=capture_id: answers(client, "configuration_end", capture_id=wanted), capture_id)
        quiet.wait_log("Refused input: .*combine_end")
        client.command("health", capture_id="h")
        report = eventually(lambda: answers(client, "health_end", capture_id="h"), "health")[0]
        assert report["commands_rejected"] >= 1
        assert quiet.is_running


def test_motion_reaches_the_client_before_everything_else(tmp_path: Path, client_of: ClientOf) -> None:
    daemon = DaemonProcess(
        tmp_path, "synthetic:?script=quiet:3,walk:3,quiet:6&loop=0&speed=3", *SCENE, "--post-roll", "1"
    )
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        assert daemon.wait(60) == 0
        started = eventually(lambda: answers(client, "motion_start"), "motion")[0]
        names = client.names()
    assert started["event_id"] == daemon.clips()[0]["event_id"]
    assert started["score"] >= 1
    assert names.index("motion_start") < names.index("recording_change", 1)


def test_a_settings_edit_is_applied_reported_and_survives_a_restart(quiet: DaemonProcess, client_of: ClientOf) -> None:
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        client = client_of(quiet)
        client.shadow.desire(camera={"framerate": 5, "sensitivity": "20"}, health={"interval": 60})
        sync = eventually(lambda: client.shadow.sync.get("applied") and client.shadow.sync, "sync")
        assert sorted(sync["applied"]) == ["camera", "health"]
        assert client.shadow.reported["camera"]["framerate"] == 5
        quiet.wait_log("Watching synthetic: 320x240 at 5 fps")
        assert eventually(lambda: answers(client, "settings_applied"), "event")[0]["fingerprint"] == sync["fingerprint"]
        client.stop()
        assert quiet.stop() == 0
    quiet.configure_output.write_bytes(b"")
    with running(quiet):
        quiet.wait_log("Watching synthetic: 320x240 at 5 fps")
        assert quiet.stop() == 0


def test_a_section_with_one_bad_field_is_rejected_whole_and_the_camera_goes_on(
    quiet: DaemonProcess, client_of: ClientOf
) -> None:
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        client = client_of(quiet)
        client.shadow.desire(
            camera={"rotation": 45, "framerate": 15},
            cloud_connection={"role_alias": "theirs"},
            storage={"bucket_name": "somebody-elses"},
            health={"interval": 120},
        )
        rejected = eventually(lambda: client.shadow.sync.get("rejected"), "sync")
        assert set(rejected) == {"camera.rotation", "cloud_connection", "storage.bucket_name"}
        assert client.shadow.sync["applied"] == ["health"]
        quiet.wait_log("Watching synthetic", count=1)
        client.command("configuration", capture_id="c")
        found = eventually(lambda: answers(client, "configuration_end", capture_id="c"), "answer")[0]
        assert found["configuration"]["camera"]["framerate"] == 10
        assert found["configuration"]["health"]["interval"] == 120


def test_privacy_closes_the_camera_at_once_and_armed_opens_it_again(tmp_path: Path, client_of: ClientOf) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3,walk:600", *SCENE)
    with running(daemon):
        daemon.wait_log("Motion began")
        client = client_of(daemon)
        client.shadow.desire(mode={"mode": "privacy"})
        daemon.wait_log(r"The camera is closed \(privacy\)")
        daemon.wait_log("Clip of event .* is on the disk")
        client.command("capture_image", capture_id="i")
        refused = eventually(lambda: answers(client, "capture_image_end", capture_id="i"), "answer")[0]
        assert "closed" in refused["error"]
        client.shadow.desire(mode={"mode": "armed"})
        daemon.wait_log("Watching synthetic", count=2)
        assert daemon.stop() == 0


def test_privacy_survives_a_restart_and_the_camera_is_not_opened(quiet: DaemonProcess, client_of: ClientOf) -> None:
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        client = client_of(quiet)
        client.shadow.desire(mode={"mode": "privacy"})
        eventually(lambda: client.shadow.sync.get("applied") == ["mode"], "sync")
        client.stop()
        quiet.kill()
    with running(quiet):
        quiet.wait_ready()
        client = client_of(quiet)
        client.command("health", capture_id="h")
        report = eventually(lambda: answers(client, "health_end", capture_id="h"), "health")[0]
        assert "camera_model" not in report
        assert not any("Watching" in line for line in quiet.log)


def test_at_home_motion_is_not_recorded_but_what_is_asked_for_is(tmp_path: Path, client_of: ClientOf) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:8,walk:600", *SCENE)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        client.shadow.desire(mode={"mode": "home"})
        daemon.wait_log(r"not recording motion \(home\)")
        client.command("capture_video", duration=10, capture_id="v")
        eventually(lambda: answers(client, "upload_end", capture_id="v"), "clip", 60)
        assert not any("Motion began" in line for line in daemon.log)
        assert daemon.stop() == 0
    assert [clip["trigger"] for clip in daemon.clips()] == ["manual"]
