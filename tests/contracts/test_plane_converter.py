"""The planes' port `Converter`: one suite for AWS (S3 of moto, and the call of a function), the hub and the fake.

moto runs functions in containers alone, so the call of the function is answered in its place by the function itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pinthesky.aws.adapters.converter import ConversionService, LambdaConverter
from pinthesky.aws.adapters.media import S3Media
from pinthesky.aws.clients import Clients
from pinthesky.conversion.media_converter import MediaConverter
from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.adapters.media import HubMedia
from pinthesky.hub.database import Database
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_links import MediaLinks
from pinthesky.hub.objects import PREFIXES
from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.ports import Converter, Media
from tests.conversion.test_streams import bare
from tests.planes.fakes import Clock, FakeConverter, FakeMedia
from tests.support.aws_planes import Asked, Said, answer_in_place, local_clients, new_bucket

STEM = f"motion_videos/garden/1800000000-{7:032x}.motion"
SOURCE, CLIP, PICTURE, TIMES = (MediaKey(STEM + end) for end in (".h264", ".mp4", ".jpg", ".timestamps.txt"))


class World(NamedTuple):
    converter: Converter
    media: Media

    def store(self, data: bytes, **metadata: str) -> None:
        self.media.write(SOURCE, data, content_type="video/h264", metadata=metadata)

    def convert(self, *, timestamps: bool = False) -> None:
        self.converter.convert(SOURCE, clip=CLIP, thumbnail=PICTURE, timestamps=TIMES if timestamps else None)


def called(answers: ConversionService | Said) -> LambdaConverter:
    """The caller's end, with the function at the other or what is said in its place."""

    def invoke(asked: Asked) -> Said:
        assert asked.path == "/2015-03-31/functions/conversion/invocations"
        if isinstance(answers, Said):
            return answers
        return Said(body=answers.serve(json.loads(asked.body)))

    clients = local_clients()
    answer_in_place(clients.get("lambda", attempts=1), invoke)
    return LambdaConverter(clients, "conversion")


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, tmp_path: Path, clients: Clients, moto_port: int) -> Iterator[World]:
    if request.param == "aws":
        media = S3Media(clients, new_bucket(moto_port))
        yield World(called(ConversionService(MediaConverter(media))), media)
    elif request.param == "fake":
        fake = FakeMedia(Clock())
        yield World(FakeConverter(fake), fake)
    else:
        database = Database(tmp_path / "hub.sqlite")
        folder = MediaFolder(tmp_path / "media", MediaIndex(database))
        hubs = HubMedia(folder, MediaLinks(folder, b"s" * 32), prefixes=PREFIXES, limit_bytes=None)
        yield World(MediaConverter(hubs), hubs)
        database.close()


@pytest.fixture(scope="module")
def stream() -> bytes:
    return bare(40)


def test_a_stream_becomes_a_clip_and_a_picture_with_what_the_camera_said(world: World, stream: bytes):
    world.store(stream, trigger="motion")
    world.convert()
    clip, picture = world.media.describe(CLIP), world.media.describe(PICTURE)
    assert clip is not None
    assert picture is not None
    assert (clip.content_type, picture.content_type) == ("video/mp4", "image/jpeg")
    said = dict(clip.metadata or {})
    assert float(said.pop("duration")) > 0
    assert said == {"trigger": "motion"}


def test_what_the_camera_says_of_the_length_stays(world: World, stream: bytes):
    world.store(stream, duration="12.500")
    world.convert()
    clip = world.media.describe(CLIP)
    assert clip is not None
    assert clip.metadata == {"duration": "12.500"}


def test_times_of_pictures_are_taken_into_account(world: World, stream: bytes):
    lines = "".join(f"{number * 100.0:.3f}\n" for number in range(40))
    world.media.write(TIMES, f"# timestamp format v2\n{lines}".encode(), content_type="text/plain", metadata={})
    world.store(stream)
    world.convert(timestamps=True)
    clip = world.media.describe(CLIP)
    assert clip is not None
    if not isinstance(world.converter, FakeConverter):
        assert float((clip.metadata or {})["duration"]) == pytest.approx(4.0, abs=0.1)


def test_a_second_time_changes_nothing(world: World, stream: bytes):
    world.store(stream)
    world.convert()
    first = world.media.read(CLIP, limit=1 << 24)
    world.convert()
    assert world.media.read(CLIP, limit=1 << 24) == first


def test_what_is_no_stream_is_refused(world: World):
    world.store(b"broken")
    with pytest.raises(InvalidInput) as refused:
        world.convert()
    assert refused.value.field == "source"
    assert world.media.describe(CLIP) is None


def test_a_stream_that_is_gone_is_not_found(world: World):
    with pytest.raises(NotFound):
        world.convert()


def test_a_function_that_fails_is_unavailable():
    for said in (Said(500, "ServiceException"), Said(429, "TooManyRequestsException")):
        with pytest.raises(Unavailable):
            called(said).convert(SOURCE, clip=CLIP, thumbnail=PICTURE, timestamps=None)


def test_a_wish_that_is_none_is_refused_by_the_function(clients: Clients, moto_port: int):
    converter = ConversionService(MediaConverter(S3Media(clients, new_bucket(moto_port))))
    assert converter.serve({"source": "../etc"})["error"] == "InvalidInput"
    assert converter.serve([])["error"] == "InvalidInput"
