"""The daemon and its cloud: credentials, clips and pictures in S3, what is told of them, answers, logs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.aws_servers import DataPlaneServer
from tests.support.cloud import Cloud, told
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.fake_device_client import FakeDeviceClient
from tests.support.picture_numbers import numbers_in_clip

pytestmark = pytest.mark.needs_av

ClientOf = Callable[[DaemonProcess], FakeDeviceClient]
ONE_EVENT = "synthetic:?script=quiet:2,walk:3,quiet:3600&speed=2"
QUIET = "synthetic:?script=quiet:3600"


def test_a_clip_goes_to_its_key_with_all_that_is_known_of_it(tmp_path: Path, client_of: ClientOf, cloud: Cloud) -> None:
    daemon = cloud.daemon(tmp_path, camera=ONE_EVENT)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        ended = eventually(lambda: told(client, "upload_end"), "upload_end")[0]
        started = eventually(lambda: told(client, "motion_start"), "motion_start")[0]
        picture = eventually(lambda: told(client, "capture_image_end"), "the thumbnail is told")[0]
        eventually(lambda: not daemon.sidecars(), "the spool is empty")
        assert daemon.stop() == 0
    event_id = started["event_id"]
    key = f"motion_videos/garden/{int(ended['start_time'])}-{event_id}.motion.mp4"
    assert ended["upload"] == {"bucket_name": cloud.bucket, "bucket_key": key}
    assert (ended["trigger"], ended["event_id"]) == ("motion", event_id)
    stored = cloud.objects()
    beside = key.replace(".mp4", ".jpg")
    assert set(stored) == {key, beside}, "the thumbnail is beside its clip under the same stem"
    assert picture["upload"] == {"bucket_name": cloud.bucket, "bucket_key": beside}
    clip = stored[key]
    assert clip["ContentType"] == "video/mp4"
    assert clip["Tags"] == [{"Key": "retention", "Value": "standard"}]
    metadata = clip["Metadata"]
    assert (metadata["trigger"], metadata["event_id"], metadata["part"]) == ("motion", event_id, "1")
    assert float(metadata["start"]) == pytest.approx(ended["start_time"], abs=0.001)
    assert float(metadata["duration"]) == pytest.approx(ended["duration"], abs=0.001)
    assert stored[beside]["ContentType"] == "image/jpeg"
    assert stored[beside]["Body"][:2] == b"\xff\xd8"
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip["Body"])
    numbers = [number for _, number in numbers_in_clip(copy)]
    assert numbers
    assert None not in numbers
    for _, headers in cloud.store.puts:
        assert headers["If-None-Match"] == "*"
        assert headers["x-amz-checksum-sha256"]
        assert headers["X-Amz-Security-Token"].startswith("token-"), "the thing's own temporary credentials"


def test_a_still_goes_under_the_image_prefix_with_its_name(tmp_path: Path, client_of: ClientOf, cloud: Cloud) -> None:
    daemon = cloud.daemon(tmp_path, "--bucket-image-prefix", "pictures", camera=QUIET)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        client.command("capture_image", capture_id="one", file_name="door.jpg")
        answer = eventually(lambda: told(client, "capture_image_end", capture_id="one"), "still")[0]
        client.command("capture_image", capture_id="two", file_name="thumbnail_latest.jpg")
        eventually(lambda: told(client, "capture_image_end", capture_id="two"), "still")
        assert daemon.stop() == 0
    assert answer["upload"] == {"bucket_name": cloud.bucket, "bucket_key": "pictures/garden/door.jpg"}
    assert set(cloud.objects()) == {"pictures/garden/door.jpg", "pictures/garden/thumbnail_latest.jpg"}
    conditions = {path.rpartition("/")[2]: headers.get("If-None-Match") for path, headers in cloud.store.puts}
    assert conditions == {"door.jpg": "*", "thumbnail_latest.jpg": None}


def test_what_an_older_version_left_is_stored_told_and_gone(tmp_path: Path, client_of: ClientOf, cloud: Cloud) -> None:
    older = tmp_path / "older"
    older.mkdir()
    clip = older / "1690000000.motion.h264"
    clip.write_bytes(b"never stored")
    os.utime(clip, (1_690_000_060, 1_690_000_060))
    daemon = cloud.daemon(tmp_path, "--combine-dir", str(older), camera=QUIET)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        ended = eventually(lambda: told(client, "upload_end"), "upload_end")[0]
        eventually(lambda: not daemon.sidecars(), "the spool is empty")
        assert daemon.stop() == 0
    assert list(older.iterdir()) == []
    event_id = hashlib.sha256(b"never stored").hexdigest()[:32]
    key = f"motion_videos/garden/1690000000-{event_id}.motion.h264"
    assert {key: stored["Body"] for key, stored in cloud.objects().items()} == {key: b"never stored"}
    assert (ended["start_time"], ended["upload"]["bucket_key"]) == (1_690_000_000, key)


def test_an_answer_goes_to_the_connection_that_asked_and_to_no_foreign_endpoint(
    tmp_path: Path, client_of: ClientOf, cloud: Cloud, data_plane: DataPlaneServer
) -> None:
    data_plane.open_connections.add("abc=")
    with DataPlaneServer() as foreign:
        foreign.open_connections.add("abc=")
        daemon = cloud.daemon(tmp_path, "--dataplane", "--dataplane-endpoint", data_plane.url, camera=QUIET)
        with running(daemon):
            daemon.wait_log("Watching synthetic")
            client = client_of(daemon)
            for capture_id, endpoint in (("mine", data_plane.url), ("theirs", foreign.url)):
                connection = {"id": "abc=", "manager_id": "m", "management_endpoint": endpoint, "invoke_id": "i"}
                client.command("health", capture_id=capture_id, connection=connection)
            daemon.wait_log("its endpoint is not an allowed destination")
            client.command("capture_image", capture_id="still", connection={"id": "abc=", "manager_id": "m"})
            eventually(lambda: len(data_plane.posts) == 2, "both answers")
            assert daemon.stop() == 0
    documents = [json.loads(payload)["invoke"] for _, _, payload in data_plane.posts]
    assert [document["capture_id"] for document in documents] == ["mine", "still"]
    assert documents[0]["name"] == "health_end"
    assert documents[1]["upload"]["bucket_key"].startswith("capture_images/garden/")
    assert foreign.posts == []


def test_a_bucket_that_was_not_allowed_at_the_installation_gets_nothing(
    tmp_path: Path, client_of: ClientOf, cloud: Cloud
) -> None:
    daemon = cloud.daemon(tmp_path, camera=ONE_EVENT)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        client.shadow.desire(storage={"bucket_name": "somebody-elses"})
        eventually(lambda: "storage.bucket_name" in client.shadow.sync.get("rejected", {}), "the refusal is reported")
        daemon.wait_log("Stored .*mp4")
        assert daemon.stop() == 0
    assert {path.split("/")[1] for path, _ in cloud.store.puts} == {cloud.bucket}
