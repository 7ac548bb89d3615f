"""What every ObjectStore does, held on the one in memory, on S3, and on the hub over TLS with real credentials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from pinthesky.aws.credentials import CredentialsEndpoint
from pinthesky.aws.object_store import S3ObjectStore
from pinthesky.aws.session import AwsSession
from pinthesky.device.fakes import FakeObjectStore
from pinthesky.device.ports import ObjectStore, PutOutcome
from pinthesky.device.timekeeping import SystemClock
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.hub.ports import REGION, ROLE_ALIAS
from pinthesky.model.identifiers import ThingName
from tests.support.aws_fixtures import moto_client
from tests.support.aws_servers import FaultyS3, S3Fault
from tests.support.hub_objects import BUCKET, ObjectsHub, running

KEY = "motion_videos/garden/1800000000-00000000000000000000000000000001.motion.mp4"
LATEST = "capture_images/garden/thumbnail_latest.jpg"


class Stage(NamedTuple):
    """A store, a bucket in it, and how its world is arranged."""

    store: ObjectStore
    bucket: str
    content: Callable[[str], bytes | None]
    deny: Callable[[], object]
    lose_an_answer: Callable[[], object]
    cut_off: Callable[[], object]


@pytest.fixture
def hub_stage(tmp_path: Path) -> Iterator[Stage]:
    """The daemon's own adapters, unchanged, against the hub: its credentials endpoint and its objects."""
    with running(ObjectsHub(tmp_path / "hub")) as hub:
        pair = hub.add_camera("garden")
        thing, clock = ThingName("garden"), SystemClock()
        ca = hub.authority.cert
        credentials = CredentialsEndpoint(
            endpoint=hub.endpoint,
            role_alias=ROLE_ALIAS,
            thing_name=thing,
            cert=pair.cert,
            key=pair.key,
            ca=ca,
            clock=clock,
        )
        session = AwsSession(clock=clock, region=REGION, credentials=credentials, s3_endpoint=hub.url, ca_bundle=ca)

        def content(key: str) -> bytes | None:
            if not hub.folder.has(key):
                return None
            with hub.folder.open(key)[1] as file:
                return file.read()

        yield Stage(
            S3ObjectStore(session, clock),
            BUCKET,
            content,
            lambda: hub.registry.remove(thing),
            lambda: hub.faulty.faults.extend(["lose", "refuse"]),
            hub.server.stop,
        )


@pytest.fixture(params=["memory", "s3", "hub"])
def stage(request: pytest.FixtureRequest) -> Stage:
    if request.param == "hub":
        return request.getfixturevalue("hub_stage")
    if request.param == "memory":
        fake = FakeObjectStore("clips")
        return Stage(
            fake,
            "clips",
            lambda key: fake.buckets["clips"][key].data if key in fake.buckets["clips"] else None,
            lambda: fake.deny("clips", "motion_videos/"),
            lambda: fake.lose_answers(1),
            lambda: fake.fail_until_told(Unavailable("no network")),
        )
    bucket: str = request.getfixturevalue("bucket")
    session: AwsSession = request.getfixturevalue("session")
    proxy: FaultyS3 = request.getfixturevalue("s3")
    client: Any = moto_client(request.getfixturevalue("moto_port"), "s3")

    def content(key: str) -> bytes | None:
        listed = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        return client.get_object(Bucket=bucket, Key=key)["Body"].read() if listed else None

    return Stage(
        S3ObjectStore(session, SystemClock()),
        bucket,
        content,
        lambda: setattr(proxy, "standing_fault", S3Fault.DENY),
        lambda: proxy.faults.extend([S3Fault.LOSE_ANSWER, S3Fault.REFUSE]),
        lambda: setattr(proxy, "standing_fault", S3Fault.REFUSE),
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 2000)
    return path


def put(stage: Stage, path: Path, **changes: Any) -> PutOutcome:
    arguments: dict[str, Any] = {
        "bucket": stage.bucket,
        "key": KEY,
        "path": path,
        "sha256_hex": hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0" * 64,
        "content_type": "video/mp4",
        "metadata": {"trigger": "motion", "part": "1"},
        "overwrite": False,
    }
    return stage.store.put(**{**arguments, **changes})


def test_a_file_is_stored_under_its_key(stage: Stage, clip: Path):
    assert put(stage, clip) is PutOutcome.STORED
    assert stage.content(KEY) == clip.read_bytes()


def test_an_empty_file_is_stored(stage: Stage, tmp_path: Path):
    path = tmp_path / "empty"
    path.touch()
    assert put(stage, path) is PutOutcome.STORED
    assert stage.content(KEY) == b""


def test_what_is_stored_is_never_replaced(stage: Stage, clip: Path):
    put(stage, clip)
    first = clip.read_bytes()
    clip.write_bytes(b"another")
    assert put(stage, clip) is PutOutcome.ALREADY_STORED
    assert stage.content(KEY) == first


def test_what_may_be_replaced_is(stage: Stage, clip: Path):
    put(stage, clip, key=LATEST, overwrite=True)
    clip.write_bytes(b"another")
    assert put(stage, clip, key=LATEST, overwrite=True) is PutOutcome.STORED
    assert stage.content(LATEST) == b"another"


def test_a_file_that_is_not_what_its_checksum_says_is_refused(stage: Stage, clip: Path):
    with pytest.raises(InvalidInput):
        put(stage, clip, sha256_hex="00" * 32)
    assert stage.content(KEY) is None


def test_a_file_that_is_not_there_is_refused(stage: Stage, tmp_path: Path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        put(stage, tmp_path / "gone")


def test_an_unknown_bucket_is_not_found(stage: Stage, clip: Path):
    with pytest.raises(NotFound):
        put(stage, clip, bucket="no-such-bucket-anywhere")


def test_a_policy_that_denies_is_not_authorized(stage: Stage, clip: Path):
    stage.deny()
    with pytest.raises(NotAuthorized):
        put(stage, clip)
    assert stage.content(KEY) is None


def test_a_network_that_is_gone_is_unavailable(stage: Stage, clip: Path):
    stage.cut_off()
    with pytest.raises(Unavailable):
        put(stage, clip)


def test_after_a_lost_answer_the_store_says_that_it_has_the_object(stage: Stage, clip: Path):
    stage.lose_an_answer()
    with pytest.raises(Unavailable):
        put(stage, clip)
    assert put(stage, clip) is PutOutcome.ALREADY_STORED
    assert stage.content(KEY) == clip.read_bytes()


def test_a_probe_may_be_repeated(stage: Stage):
    stage.store.probe(bucket=stage.bucket, prefix="motion_videos/garden")
    stage.store.probe(bucket=stage.bucket, prefix="motion_videos/garden")
    assert stage.content("motion_videos/garden/.probe") == b""


def test_a_probe_tells_of_an_unknown_bucket(stage: Stage):
    with pytest.raises(NotFound):
        stage.store.probe(bucket="no-such-bucket-anywhere", prefix="motion_videos/garden")


def test_a_probe_tells_of_a_policy_that_denies(stage: Stage):
    stage.deny()
    with pytest.raises(NotAuthorized):
        stage.store.probe(bucket=stage.bucket, prefix="motion_videos/garden")
