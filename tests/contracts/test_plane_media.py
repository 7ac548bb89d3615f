"""The planes' port `Media`: one suite for S3 and CloudWatch (moto), the hub and the fake of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest

from pinthesky.aws.adapters.media import S3Media
from pinthesky.aws.clients import Clients
from pinthesky.errors import InvalidInput, NotFound
from pinthesky.hub.adapters.media import HubMedia
from pinthesky.hub.database import Database
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_links import MediaLinks
from pinthesky.hub.objects import PREFIXES
from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.ports import Media, MediaObject
from tests.planes.fakes import Clock, FakeMedia
from tests.support.aws_planes import new_bucket


def key(number: int, thing: str = "garden") -> MediaKey:
    return MediaKey(f"motion_videos/{thing}/{1_800_000_000 + number}-{number:032x}.motion.mp4")


CLIP = key(1)


@pytest.fixture(params=["aws", "hub", "fake"])
def media(request, tmp_path: Path, clients: Clients, moto_port: int) -> Iterator[Media]:
    if request.param == "aws":
        yield S3Media(clients, new_bucket(moto_port))
    elif request.param == "fake":
        yield FakeMedia(Clock())
    else:
        database = Database(tmp_path / "hub.sqlite")
        folder = MediaFolder(tmp_path / "media", MediaIndex(database))
        yield HubMedia(folder, MediaLinks(folder, b"s" * 32), prefixes=PREFIXES, limit_bytes=None)
        database.close()


def store(media: Media, *keys: MediaKey, data: bytes = b"media") -> None:
    for each in keys:
        media.write(each, data, content_type="video/mp4", metadata={"trigger": "motion", "part": "1"})


def described(media: Media, which: MediaKey = CLIP) -> MediaObject:
    found = media.describe(which)
    assert found is not None
    return found


def test_what_was_stored_is_described_and_read_as_it_was(media: Media):
    store(media, CLIP, data=bytes(range(256)))
    found = described(media)
    assert (found.key, found.size, found.content_type) == (CLIP, 256, "video/mp4")
    assert found.metadata == {"trigger": "motion", "part": "1"}
    assert found.stored_at_s > 1_700_000_000
    assert not found.kept
    assert media.read(CLIP, limit=256) == bytes(range(256))


def test_what_is_written_again_replaces_what_was_there(media: Media):
    store(media, CLIP, data=b"first")
    store(media, CLIP, data=b"second")
    assert media.read(CLIP, limit=100) == b"second"


def test_no_more_than_the_limit_is_read(media: Media):
    store(media, CLIP, data=b"12345")
    with pytest.raises(InvalidInput):
        media.read(CLIP, limit=4)


def test_what_is_not_there_is_not_found(media: Media):
    assert media.describe(CLIP) is None
    with pytest.raises(NotFound):
        media.read(CLIP, limit=1)
    with pytest.raises(NotFound):
        media.keep(CLIP, kept=True)


def test_what_is_kept_is_kept_until_it_is_not(media: Media):
    store(media, CLIP)
    media.keep(CLIP, kept=True)
    media.keep(CLIP, kept=True)
    assert described(media).kept
    media.keep(CLIP, kept=False)
    assert not described(media).kept


def test_what_is_removed_is_gone_and_what_is_not_there_is_no_error(media: Media):
    store(media, CLIP, key(2))
    media.delete([CLIP, key(3)])
    assert media.describe(CLIP) is None
    assert described(media, key(2)).size == 5
    media.delete([])


def test_lists_come_in_pages_in_the_order_of_the_keys(media: Media):
    keys = [key(number) for number in range(5)]
    store(media, *reversed(keys), key(1, "garden-2"))
    found: list[MediaKey] = []
    token: str | None = None
    while True:
        page = media.objects("motion_videos/garden/", limit=2, token=token)
        assert len(page.objects) <= 2
        found += [each.key for each in page.objects]
        token = page.token
        if token is None:
            break
        media.delete([page.objects[-1].key])
    assert found == keys


def test_usage_counts_objects_and_bytes(media: Media):
    store(media, CLIP, key(2))
    usage = media.usage()
    assert (usage.objects, usage.limit_bytes) == (2, None)
    # moto counts what an object takes of its own memory; S3 counts what was stored.
    assert usage.bytes >= 10 if isinstance(media, S3Media) else usage.bytes == 10


def test_a_link_is_for_one_object(media: Media):
    store(media, CLIP)
    link, other = (media.url(each, lifetime_s=300) for each in (CLIP, key(2)))
    assert link != other
    assert media.url(CLIP, lifetime_s=300, download_as="garden.mp4") != link


def test_a_link_of_s3_is_signed_for_minutes_and_gives_the_object(clients: Clients, moto_port: int):
    media = S3Media(clients, new_bucket(moto_port))
    store(media, CLIP)
    link = media.url(CLIP, lifetime_s=300, download_as='Gärten "08:00".mp4')
    query: dict[str, Any] = parse_qs(urlsplit(link).query)
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["300"])
    assert query["response-content-disposition"] == ['attachment; filename="G_rten _08:00_.mp4"']
    with urlopen(link, timeout=5) as answer:
        assert answer.read() == b"media"


def test_a_tag_of_somebody_else_stays(clients: Clients, moto_port: int):
    bucket = new_bucket(moto_port)
    media = S3Media(clients, bucket)
    store(media, CLIP)
    tags = [{"Key": "retention", "Value": "standard"}, {"Key": "project", "Value": "mine"}]
    clients.get("s3").put_object_tagging(Bucket=bucket, Key=CLIP, Tagging={"TagSet": tags})
    media.keep(CLIP, kept=True)
    left = clients.get("s3").get_object_tagging(Bucket=bucket, Key=CLIP)["TagSet"]
    assert left == [{"Key": "project", "Value": "mine"}, {"Key": "kept", "Value": "true"}]


def test_what_is_kept_no_more_expires_as_before(clients: Clients, moto_port: int):
    bucket = new_bucket(moto_port)
    media = S3Media(clients, bucket)
    store(media, CLIP)
    for kept in (True, False):
        media.keep(CLIP, kept=kept)
    left = clients.get("s3").get_object_tagging(Bucket=bucket, Key=CLIP)["TagSet"]
    assert left == [{"Key": "retention", "Value": "standard"}]


def test_what_is_no_recording_is_in_no_list_of_s3(clients: Clients, moto_port: int):
    bucket = new_bucket(moto_port)
    media = S3Media(clients, bucket)
    clients.get("s3").put_object(Bucket=bucket, Key="motion_videos/garden/.probe", Body=b"")
    store(media, CLIP)
    assert [each.key for each in media.objects("motion_videos/", limit=10, token=None).objects] == [CLIP]
