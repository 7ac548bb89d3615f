"""What is S3's own; what every object store does is in `tests/contracts`."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pinthesky.aws.object_store import S3ObjectStore
from pinthesky.aws.session import AwsSession
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.destination import Destination
from pinthesky.device.fakes import FakeClock
from pinthesky.device.ports import PutOutcome
from pinthesky.device.timekeeping import SystemClock
from pinthesky.device.upload_schedule import Lane
from pinthesky.device.uploader import Uploader
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.model.recording import Item, Moment
from tests.support.aws_fixtures import make_endpoint, moto_client
from tests.support.aws_servers import REGION, CredentialsFault, CredentialsServer, FaultyS3, S3Fault, wait_until

CONTENT = bytes(range(256)) * 4000
KEY = "motion_videos/garden/1800000000-00000000000000000000000000000001.motion.mp4"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def store(session: AwsSession) -> S3ObjectStore:
    return S3ObjectStore(session, SystemClock())


def put(store: S3ObjectStore, bucket: str, clip: Path, **changes: Any) -> PutOutcome:
    arguments: dict[str, Any] = {
        "bucket": bucket,
        "key": KEY,
        "path": clip,
        "sha256_hex": hashlib.sha256(CONTENT).hexdigest(),
        "content_type": "video/mp4",
        "metadata": {"trigger": "motion", "duration": "12.500", "event_id": "01", "part": "1"},
        "overwrite": False,
    }
    return store.put(**{**arguments, **changes})


def test_the_object_carries_type_tag_metadata_and_checksum(
    store: S3ObjectStore, bucket: str, clip: Path, moto_port: int
):
    put(store, bucket, clip)
    client = moto_client(moto_port, "s3")
    head = client.head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
    assert head["ContentType"] == "video/mp4"
    assert head["Metadata"] == {"trigger": "motion", "duration": "12.500", "event_id": "01", "part": "1"}
    assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert client.get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"] == [{"Key": "retention", "Value": "standard"}]


def test_only_what_may_be_replaced_goes_without_a_condition(
    store: S3ObjectStore, bucket: str, clip: Path, s3: FaultyS3
):
    put(store, bucket, clip)
    put(store, bucket, clip, key="capture_images/garden/thumbnail_latest.jpg", overwrite=True)
    store.probe(bucket=bucket, prefix="motion_videos/garden")
    assert [headers.get("If-None-Match") for _, headers in s3.puts] == ["*", None, "*"]


@pytest.mark.parametrize(
    "fault, kind, message",
    [
        (S3Fault.REFUSE, Unavailable, "storing motion_videos"),
        (S3Fault.CUT_BODY, Unavailable, "storing motion_videos"),
        (S3Fault.SLOW_DOWN, Unavailable, "SlowDown"),
        (S3Fault.UNCONFIRMED, Unavailable, "did not confirm the checksum"),
        (S3Fault.DENY, NotAuthorized, "AccessDenied"),
        (S3Fault.ELSEWHERE, NotFound, "the bucket is elsewhere, and not where"),
    ],
)
def test_faults_keep_their_meaning(
    store: S3ObjectStore,
    bucket: str,
    clip: Path,
    *,
    s3: FaultyS3,
    fault: S3Fault,
    kind: type[PinTheSkyError],
    message: str,
):
    s3.standing_fault = fault
    with pytest.raises(kind, match=message) as caught:
        put(store, bucket, clip)
    assert bucket in str(caught.value)


@pytest.mark.parametrize("fault", [S3Fault.REFUSE, S3Fault.CUT_BODY, S3Fault.SLOW_DOWN])
def test_a_fault_that_passes_at_once_is_not_even_seen(
    store: S3ObjectStore, bucket: str, clip: Path, *, s3: FaultyS3, fault: S3Fault
):
    s3.faults.append(fault)
    assert put(store, bucket, clip) is PutOutcome.STORED


def test_an_answer_lost_at_once_is_found_to_be_stored(store: S3ObjectStore, bucket: str, clip: Path, s3: FaultyS3):
    s3.faults.append(S3Fault.LOSE_ANSWER)
    assert put(store, bucket, clip) is PutOutcome.ALREADY_STORED
    assert len(s3.puts) == 1


def test_a_clock_that_is_off_is_named_with_how_much(
    bucket: str, clip: Path, s3: FaultyS3, *, credentials_server: CredentialsServer
):
    clock = FakeClock(time.time() + 3600)
    session = AwsSession(
        clock=clock, region=REGION, credentials=make_endpoint(credentials_server, clock=clock), s3_endpoint=s3.url
    )
    s3.standing_fault = S3Fault.SKEWED
    with pytest.raises(Unavailable, match=r"RequestTimeTooSkewed.*clock is (0:59:59|1:00:00) ahead"):
        put(S3ObjectStore(session, clock), bucket, clip)


def test_expired_keys_are_renewed_for_the_next_attempt(
    store: S3ObjectStore, bucket: str, clip: Path, *, s3: FaultyS3, credentials_server: CredentialsServer
):
    s3.faults.append(S3Fault.EXPIRED)
    with pytest.raises(Unavailable, match="ExpiredToken"):
        put(store, bucket, clip)

    def goes_through() -> bool:
        try:
            return put(store, bucket, clip) is PutOutcome.STORED
        except Unavailable:
            return False

    wait_until(goes_through)
    assert credentials_server.requests == 2


def test_without_credentials_it_is_unavailable_and_nothing_is_sent(
    store: S3ObjectStore, bucket: str, clip: Path, *, s3: FaultyS3, credentials_server: CredentialsServer
):
    credentials_server.standing_fault = CredentialsFault.BROKEN
    with pytest.raises(Unavailable, match="credentials endpoint localhost answered 500"):
        put(store, bucket, clip)
    assert s3.puts == []


def test_a_role_that_may_not_be_assumed_is_not_authorized(
    store: S3ObjectStore, bucket: str, clip: Path, credentials_server: CredentialsServer
):
    credentials_server.standing_fault = CredentialsFault.DENIED
    with pytest.raises(NotAuthorized, match="role alias"):
        put(store, bucket, clip)


def test_a_transfer_that_is_too_slow_is_given_up(session: AwsSession, bucket: str, clip: Path):
    class HurryingClock(FakeClock):
        def monotonic(self) -> float:
            self.advance(60)
            return super().monotonic()

    with pytest.raises(Unavailable, match="slower than 16 KiB/s"):
        put(S3ObjectStore(session, HurryingClock()), bucket, clip)


def test_when_the_daemon_stops_a_transfer_is_given_up(session: AwsSession, bucket: str, clip: Path, s3: FaultyS3):
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Unavailable, match="the daemon stops"):
        put(S3ObjectStore(session, SystemClock(), stopping), bucket, clip)
    assert s3.puts == []


def test_a_disk_that_fails_while_reading_is_the_items_trouble_not_the_networks(
    session: AwsSession, bucket: str, tmp_path: Path
):
    # Opening a folder of /proc/self succeeds for reading, and reading it fails: a disk with a bad sector does as much.
    memory = Path("/proc/self/mem")
    with pytest.raises(InvalidInput, match="cannot be read"):
        put(S3ObjectStore(session, SystemClock()), bucket, memory)


# The uploader on S3


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    opened = ClipSpool(tmp_path / "spool", max_bytes=10**9, min_free_bytes=0)
    opened.open()
    yield opened
    opened.close()


def add(spool: ClipSpool, number: int) -> None:
    item = Item(
        kind="clip",
        event_id=f"{number:032x}",
        start=Moment(boot_id="b", monotonic_s=number, wall_s=1_800_000_000.0 + number),
        suffix=".mp4",
        size=0,
        sha256="0" * 64,
    )
    spool.add_bytes(CONTENT + str(number).encode(), item)


def uploader_of(spool: ClipSpool, store: S3ObjectStore, bucket: str, clock: FakeClock) -> Uploader:
    uploader = Uploader(
        spool,
        lambda _stopping: store,
        thing_name=ThingName("garden"),
        clock=clock,
        state_file=spool.folder / "destination.json",
        resolve_time=lambda item: item,
        on_stored=lambda *_: None,
    )
    uploader.set_destination(Destination(bucket=bucket, video_prefix="motion_videos", image_prefix="capture_images"))
    return uploader


@pytest.mark.parametrize(
    "fault", [S3Fault.REFUSE, S3Fault.CUT_BODY, S3Fault.DENY, S3Fault.SLOW_DOWN, S3Fault.ELSEWHERE, S3Fault.SKEWED]
)
def test_nothing_leaves_the_spool_before_s3_has_confirmed_it(
    store: S3ObjectStore, bucket: str, spool: ClipSpool, *, s3: FaultyS3, fault: S3Fault
):
    clock = FakeClock()
    uploader = uploader_of(spool, store, bucket, clock)
    add(spool, 1)
    s3.standing_fault = fault
    uploader.step(Lane.CLIPS)
    assert len(spool.items()) == 1
    assert s3.puts == []
    s3.standing_fault = None
    clock.advance(2)
    uploader.step(Lane.CLIPS)
    assert spool.items() == []
    assert len(s3.puts) == 1


def test_after_a_lost_answer_the_clip_leaves_the_spool_and_is_stored_once(
    store: S3ObjectStore, bucket: str, spool: ClipSpool, *, s3: FaultyS3, moto_port: int
):
    clock = FakeClock()
    uploader = uploader_of(spool, store, bucket, clock)
    add(spool, 1)
    s3.faults.extend([S3Fault.LOSE_ANSWER, S3Fault.REFUSE])
    uploader.step(Lane.CLIPS)
    assert len(spool.items()) == 1
    clock.advance(2)
    uploader.step(Lane.CLIPS)
    assert spool.items() == []
    assert moto_client(moto_port, "s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_a_transfer_that_hangs_does_not_hold_up_the_end(
    session: AwsSession, bucket: str, spool: ClipSpool, s3: FaultyS3
):
    uploader = uploader_of(spool, S3ObjectStore(session, SystemClock()), bucket, FakeClock())
    s3.standing_fault = S3Fault.HANG
    add(spool, 1)
    uploader.start()
    wait_until(s3.in_flight.is_set)
    begun = time.monotonic()
    assert uploader.stop(0.1) == ["upload-clips"]
    assert time.monotonic() - begun < 2
    assert len(spool.items()) == 1
