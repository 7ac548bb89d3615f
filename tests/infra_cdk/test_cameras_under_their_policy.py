"""A camera does its work with the role that it gets: its own adapters, each request held against that role."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pinthesky.aws.connections import ApiGatewayConnectionPoster
from pinthesky.aws.object_store import S3ObjectStore
from pinthesky.aws.session import AwsSession
from pinthesky.device.ports import PutOutcome
from pinthesky.device.timekeeping import SystemClock
from tests.support.aws_fixtures import (  # noqa: F401 - fixtures are found by being here
    bucket,
    credentials_server,
    data_plane,
    endpoint,
    moto_port,
    s3,
    session,
)
from tests.support.aws_servers import REGION, DataPlaneServer
from tests.support.cloud_template import Cloud
from tests.support.policies.asking import Asking
from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.enforcement import Enforcement

CONTENT = b"what a camera has recorded"
CAMERA = "camera:garden"


@pytest.fixture
def enforcement(cloud: Cloud) -> Enforcement:
    return Enforcement(Asking(CloudAccount(cloud.templates)))


def put(store: S3ObjectStore, bucket: str, path: Path, key: str, *, overwrite: bool) -> PutOutcome:  # noqa: F811 - named
    return store.put(
        bucket=bucket,
        key=key,
        path=path,
        sha256_hex=hashlib.sha256(CONTENT).hexdigest(),
        content_type="video/mp4",
        metadata={"trigger": "motion"},
        overwrite=overwrite,
    )


def test_no_upload_of_a_camera_is_refused(
    enforcement: Enforcement,
    session: AwsSession,  # noqa: F811 - the fixture
    bucket: str,  # noqa: F811 - the same
    tmp_path: Path,
):
    path, store = tmp_path / "clip", S3ObjectStore(session, SystemClock())
    path.write_bytes(CONTENT)
    uploaded = enforcement.acting_as(CAMERA, put)
    with enforcement.watching(session.s3()):
        for prefix in ("motion_videos", "capture_images"):
            enforcement.acting_as(CAMERA, store.probe)(bucket=bucket, prefix=f"{prefix}/garden")
        uploaded(store, bucket, path, "motion_videos/garden/1800000000-aa.motion.mp4", overwrite=False)
        uploaded(store, bucket, path, "capture_images/garden/thumbnail_latest.jpg", overwrite=True)
        assert enforcement.refused == []
        uploaded(store, bucket, path, "motion_videos/garden/1800000000-aa.motion.mp4", overwrite=True)
        uploaded(store, bucket, path, "motion_videos/gate/1800000000-aa.motion.mp4", overwrite=False)
    assert [each.partition(" on ")[0] for each in enforcement.refused] == [
        f"{CAMERA}: s3:PutObject",
        f"{CAMERA}: s3:PutObject",
        f"{CAMERA}: s3:PutObjectTagging",
    ]


def test_no_answer_of_a_camera_is_refused(
    enforcement: Enforcement,
    session: AwsSession,  # noqa: F811 - the fixture
    data_plane: DataPlaneServer,  # noqa: F811 - the same
):
    data_plane.open_connections.add("abc=")
    poster, address = ApiGatewayConnectionPoster(session), data_plane.url
    answered = enforcement.acting_as(CAMERA, poster.post)
    with enforcement.watching(session.connections(address, REGION)):
        answered(endpoint_url=address, region=REGION, connection_id="abc=", payload=b"{}")
    assert enforcement.refused == []
    assert enforcement.allowed == {(CAMERA, "execute-api:ManageConnections")}
