"""The planes' port `Media` on a bucket of S3, whose daily figures CloudWatch keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.model.identifiers import BucketName, MediaKey
from pinthesky.model.recording import KEPT_TAG, RETENTION_TAG
from pinthesky.planes.ports import MediaObject, MediaPage, StorageUsage

DELETE_MAX = 1000
URL_LIFETIME_MAX_S = 7 * 24 * 3600
COUNTED_WITHIN = timedelta(days=3)
"""S3 counts once a day, and the count may be two days late."""
STORAGE_TYPES = ("StandardStorage", "StandardIAStorage", "IntelligentTieringFAStorage", "IntelligentTieringIAStorage")
_BAD_NAME = re.compile(r'[^\x20-\x7e]|["\\/]')


class S3Media:
    """The adapter of `planes.ports.Media`."""

    def __init__(self, clients: Clients, bucket: BucketName) -> None:
        self._clients = clients
        self._bucket = str(bucket)

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        """See `planes.ports.Media`. A link ends earlier where the function's own credentials do: after hours."""
        request: dict[str, str] = {"Bucket": self._bucket, "Key": str(key)}
        if download_as is not None:
            name = _BAD_NAME.sub("_", download_as)
            request["ResponseContentDisposition"] = f'attachment; filename="{name}"'
        lifetime_s = max(1, min(lifetime_s, URL_LIFETIME_MAX_S))
        with errors(f"signing a link to {key}"):
            return str(self._client.generate_presigned_url("get_object", Params=request, ExpiresIn=lifetime_s))

    def describe(self, key: MediaKey) -> MediaObject | None:
        """See `planes.ports.Media`."""
        try:
            with errors(f"looking at {key}"):
                found = self._client.head_object(Bucket=self._bucket, Key=str(key))
            kept = RETENTION_TAG not in self._tags(key)
        except NotFound:
            return None
        return MediaObject(
            key=key,
            size=found["ContentLength"],
            stored_at_s=found["LastModified"].timestamp(),
            content_type=found.get("ContentType", ""),
            metadata=found.get("Metadata", {}),
            kept=kept,
        )

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        """See `planes.ports.Media`."""
        with errors(f"reading {key}"):
            found = self._client.get_object(Bucket=self._bucket, Key=str(key))
            with found["Body"] as body:
                if found["ContentLength"] > limit:
                    raise InvalidInput("key", f"is an object of more than {limit} bytes")
                return bytes(body.read())

    def write(self, key: MediaKey, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """See `planes.ports.Media`."""
        with errors(f"storing {key}", field="key"):
            self._client.put_object(
                Bucket=self._bucket,
                Key=str(key),
                Body=data,
                ContentType=content_type,
                Metadata=dict(metadata),
                Tagging="=".join(RETENTION_TAG),
            )

    def delete(self, keys: Sequence[MediaKey]) -> None:
        """See `planes.ports.Media`. Raises Unavailable where some could not be removed."""
        if len(keys) > DELETE_MAX:
            raise InvalidInput("keys", f"must be at most {DELETE_MAX}, got {len(keys)}")
        if not keys:
            return
        wanted = {"Objects": [{"Key": str(key)} for key in keys], "Quiet": True}
        with errors(f"removing {len(keys)} objects"):
            answer = self._client.delete_objects(Bucket=self._bucket, Delete=wanted)
        if failed := answer.get("Errors"):
            first = failed[0]
            raise Unavailable(f"{len(failed)} objects were not removed, the first {first['Key']}: {first.get('Code')}")

    def keep(self, key: MediaKey, *, kept: bool) -> None:
        """See `planes.ports.Media`. Other tags stay."""
        tags = self._tags(key)
        wanted = [tag for tag in tags if tag[0] not in (RETENTION_TAG[0], KEPT_TAG[0])]
        wanted.append(KEPT_TAG if kept else RETENTION_TAG)
        if sorted(wanted) == sorted(tags):
            return
        with errors(f"tagging {key}"):
            tag_set = [{"Key": name, "Value": value} for name, value in wanted]
            self._client.put_object_tagging(Bucket=self._bucket, Key=str(key), Tagging={"TagSet": tag_set})

    def objects(self, prefix: str, *, limit: int, token: str | None) -> MediaPage:
        """See `planes.ports.Media`. The token is the last key, as S3 takes it too where that is gone meanwhile."""
        with errors(f"listing {prefix}", field="nextToken"):
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, MaxKeys=limit, **({"StartAfter": token} if token else {})
            )
        found = answer.get("Contents", [])
        listed = [
            MediaObject(key=MediaKey(each["Key"]), size=each["Size"], stored_at_s=each["LastModified"].timestamp())
            for each in found
            if _is_media(each["Key"])
        ]
        return MediaPage(listed, found[-1]["Key"] if answer.get("IsTruncated") else None)

    def usage(self) -> StorageUsage:
        """See `planes.ports.Media`. Nothing yet where S3 has not counted."""
        stored = sum(self._counted("BucketSizeBytes", kind) for kind in STORAGE_TYPES)
        return StorageUsage(self._counted("NumberOfObjects", "AllStorageTypes"), stored)

    def _counted(self, metric: str, storage_type: str) -> int:
        now = datetime.now(UTC)
        with errors("reading the bucket's figures"):
            answer = self._clients.get("cloudwatch").get_metric_statistics(
                Namespace="AWS/S3",
                MetricName=metric,
                Dimensions=[
                    {"Name": "BucketName", "Value": self._bucket},
                    {"Name": "StorageType", "Value": storage_type},
                ],
                StartTime=now - COUNTED_WITHIN,
                EndTime=now,
                Period=24 * 3600,
                Statistics=["Average"],
            )
        points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
        return round(points[-1]["Average"]) if points else 0

    def _tags(self, key: MediaKey) -> list[tuple[str, str]]:
        with errors(f"reading the tags of {key}"):
            answer = self._client.get_object_tagging(Bucket=self._bucket, Key=str(key))
        return [(tag["Key"], tag["Value"]) for tag in answer["TagSet"]]

    @property
    def _client(self) -> Any:
        return self._clients.get("s3")


def _is_media(key: str) -> bool:
    """Probes (`<prefix>/.probe`) and folders that somebody made in the AWS console are none."""
    try:
        MediaKey(key)
    except InvalidInput:
        return False
    return True
