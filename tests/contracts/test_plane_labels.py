"""The planes' port `PictureLabels`: one suite for Rekognition (what moto always says, and a stand-in) and the fake.

moto looks at no picture. The stand-in answers behind botocore: it knows the bucket, and sees what a test has put there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from pinthesky.aws.adapters.picture_labels import ASKED_MAX, MIN_CONFIDENCE, RekognitionLabels
from pinthesky.aws.clients import Clients
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import BucketName, MediaKey
from pinthesky.model.labels import LABELS_MAX, NAME_MAX
from pinthesky.planes.ports import PictureLabels
from tests.planes.fakes import Clock, FakeMedia, FakePictureLabels
from tests.support.aws_planes import Asked, Said, answer_in_place, local_clients

BUCKET = BucketName("home-media")
PICTURE, GONE, TEXT = (MediaKey(f"motion_videos/garden/1800000000-{number:032x}.motion.jpg") for number in (1, 2, 3))


def box(name: str, confidence: float, *, boxes: int = 1) -> dict[str, Any]:
    """A label as Rekognition writes it; `boxes` are the places in the picture where it is."""
    place = {"BoundingBox": {"Width": 0.1, "Height": 0.2, "Left": 0.3, "Top": 0.4}, "Confidence": confidence}
    return {
        "Name": name,
        "Confidence": confidence,
        "Instances": [place] * boxes,
        "Parents": [{"Name": "Animal"}],
        "Aliases": [],
        "Categories": [{"Name": "Animals and Pets"}],
    }


class Rekognition:
    """The service: what it sees in the pictures of a bucket."""

    def __init__(self, seen: dict[str, list[dict[str, Any]]]) -> None:
        self.seen = seen
        self.asked: list[dict[str, Any]] = []

    def __call__(self, asked: Asked) -> Said:
        request = json.loads(asked.body)
        self.asked.append(request)
        place = request["Image"]["S3Object"]
        if place["Bucket"] != BUCKET or place["Name"] not in self.seen:
            return Said(400, "InvalidS3ObjectException")
        if place["Name"] == TEXT:
            return Said(400, "InvalidImageFormatException")
        sure = [each for each in self.seen[place["Name"]] if each["Confidence"] >= request["MinConfidence"]]
        sure.sort(key=lambda each: -each["Confidence"])
        return Said(body={"Labels": sure[: request["MaxLabels"]], "LabelModelVersion": "3.0"})


def asking(answers: Any) -> RekognitionLabels:
    clients = local_clients()
    answer_in_place(clients.get("rekognition", attempts=1), answers)
    return RekognitionLabels(clients, BUCKET)


class World(NamedTuple):
    labels: PictureLabels
    knows_pictures: bool


@pytest.fixture(params=["moto", "stand-in", "fake"])
def world(request: pytest.FixtureRequest, clients: Clients) -> Iterator[World]:
    if request.param == "moto":
        yield World(RekognitionLabels(clients, BUCKET), knows_pictures=False)
    elif request.param == "stand-in":
        yield World(asking(Rekognition({PICTURE: [box("Person", 98.7)], TEXT: []})), knows_pictures=True)
    else:
        media = FakeMedia(Clock())
        media.store(PICTURE, b"jpeg", "image/jpeg")
        media.store(TEXT, b"text", "text/plain")
        fake = FakePictureLabels(media)
        fake.seen[PICTURE] = {"person": 0.99}
        yield World(fake, knows_pictures=True)


def test_a_picture_has_a_few_names_with_confidences_from_0_to_1(world: World):
    found = world.labels.of(PICTURE)
    assert 1 <= len(found) <= LABELS_MAX
    assert all(1 <= len(name) <= NAME_MAX and name == name.lower() for name in found)
    assert all(0 < confidence <= 1 for confidence in found.values())
    if world.knows_pictures:
        assert found == {"person": 0.99}


def test_a_picture_that_is_not_there_is_not_found(world: World):
    if not world.knows_pictures:
        assert world.labels.of(GONE) == world.labels.of(PICTURE)
        return
    with pytest.raises(NotFound):
        world.labels.of(GONE)


def test_what_is_no_picture_is_refused(world: World):
    if not world.knows_pictures:
        assert world.labels.of(TEXT) == world.labels.of(PICTURE)
        return
    with pytest.raises(InvalidInput) as refused:
        world.labels.of(TEXT)
    assert refused.value.field == "picture"


class TestRekognition:
    def test_it_is_given_the_place_of_the_picture_and_asked_for_what_is_sure(self):
        service = Rekognition({PICTURE: [box("Person", 98.7), box("Dog", MIN_CONFIDENCE - 1)]})
        assert asking(service).of(PICTURE) == {"person": 0.99}
        assert service.asked == [
            {
                "Image": {"S3Object": {"Bucket": BUCKET, "Name": PICTURE}},
                "MaxLabels": ASKED_MAX,
                "MinConfidence": MIN_CONFIDENCE,
            }
        ]

    def test_things_come_before_what_the_picture_is_like(self):
        weather = [box(f"Weather {number}", 99.9, boxes=0) for number in range(20)]
        found = asking(Rekognition({PICTURE: [*weather, box("Person", 71.0)]})).of(PICTURE)
        assert len(found) == LABELS_MAX
        assert found["person"] == 0.71

    @pytest.mark.parametrize(
        "said,error",
        [
            (Said(400, "ProvisionedThroughputExceededException"), Unavailable),
            (Said(400, "ThrottlingException"), Unavailable),
            (Said(500, "InternalServerError"), Unavailable),
            (Said(400, "AccessDeniedException"), NotAuthorized),
            (Said(400, "ImageTooLargeException"), InvalidInput),
        ],
    )
    def test_what_rekognition_answers_has_our_names(self, said: Said, error: type[PinTheSkyError]):
        with pytest.raises(error):
            asking(lambda _: said).of(PICTURE)

    def test_a_picture_of_nothing_has_no_labels(self):
        assert asking(lambda _: Said(body={})).of(PICTURE) == {}
