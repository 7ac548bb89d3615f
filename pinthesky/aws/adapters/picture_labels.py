"""The planes' port `PictureLabels` on Amazon Rekognition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinthesky.aws.clients import Clients, errors
from pinthesky.model.identifiers import BucketName, MediaKey
from pinthesky.model.labels import LABELS_MAX, LabelTally

MIN_CONFIDENCE = 70.0
"""Percent. Below it Rekognition guesses."""
ASKED_MAX = 50
"""Labels of one answer, which costs the same however many there are: what is a thing may come behind the weather."""
_NO_PICTURE = ("InvalidS3ObjectException",)
_UNFIT = ("InvalidImageFormatException", "ImageTooLargeException")


class RekognitionLabels:
    """The adapter of `planes.ports.PictureLabels`. Rekognition fetches a picture itself, with the caller's rights."""

    def __init__(self, clients: Clients, bucket: BucketName) -> None:
        self._clients = clients
        self._bucket = str(bucket)

    def of(self, picture: MediaKey) -> Mapping[str, float]:
        """See `planes.ports.PictureLabels`.

        Things that have a place in the picture (a person, a car, a dog) are named before what the whole of it is like
        (outdoors, night); in small letters, as cameras that can see for themselves name them.
        """
        with errors(f"looking at {picture}", field="picture", missing=_NO_PICTURE, invalid=_UNFIT):
            answer = self._client.detect_labels(
                Image={"S3Object": {"Bucket": self._bucket, "Name": str(picture)}},
                MaxLabels=ASKED_MAX,
                MinConfidence=MIN_CONFIDENCE,
            )
        found = [each for each in answer.get("Labels", []) if each.get("Confidence", 0.0) >= MIN_CONFIDENCE]
        found.sort(key=lambda each: (not each.get("Instances"), -each["Confidence"], each["Name"]))
        tally = LabelTally()
        for each in found[:LABELS_MAX]:
            tally.note(str(each["Name"]).lower(), each["Confidence"] / 100)
        return tally.labels

    @property
    def _client(self) -> Any:
        return self._clients.get("rekognition")
