"""The planes' port `Releases`: manifests below a prefix of a bucket, one for each version.

A manifest is `<prefix>/<version>.json`: `{"version", "wheelUrl", "sha256", "releasedAt"}`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import NotFound
from pinthesky.model.identifiers import BucketName, KeyPrefix
from pinthesky.model.versions import is_version, order_of
from pinthesky.planes.ports import Release

logger = logging.getLogger(__name__)

KNOWN_MAX = 100
LISTED_MAX = 1000
MANIFEST_MAX = 16 * 1024
FRESH_S = 300.0
"""How long a list of the releases is shown before the bucket is asked again."""


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a manifest says."""

    version: Annotated[str, Meta(pattern=r"^[0-9][A-Za-z0-9.!+]{0,60}\Z")]
    wheel_url: Annotated[str, Meta(pattern=r"^https://[\x21-\x7e]{1,1990}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    released_at: Annotated[str, Meta(max_length=40)] = ""


class S3Releases:
    """The adapter of `planes.ports.Releases`."""

    def __init__(
        self,
        clients: Clients,
        bucket: BucketName,
        prefix: KeyPrefix,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = clients
        self._bucket = str(bucket)
        self._prefix = f"{prefix}/"
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._read: dict[tuple[str, str], Manifest | None] = {}
        self._known: tuple[float, list[Release]] | None = None

    def known(self) -> Sequence[Release]:
        """See `planes.ports.Releases`. A manifest that cannot be read is left out, and that is logged."""
        with self._lock:
            now_s = self._monotonic_s()
            if self._known is None or now_s - self._known[0] >= FRESH_S:
                self._known = (now_s, self._listed())
            return self._known[1]

    def _listed(self) -> list[Release]:
        with errors("listing the releases"):
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=LISTED_MAX)
        names = [
            (each["Key"], each["ETag"])
            for each in answer.get("Contents", [])
            if each["Key"].endswith(".json") and each["Size"] <= MANIFEST_MAX and is_version(_version_of(each["Key"]))
        ]
        names = sorted(names, key=lambda name: order_of(_version_of(name[0])))
        newest = list(reversed(names))[:KNOWN_MAX]
        self._read = {name: self._read[name] if name in self._read else self._manifest(name[0]) for name in newest}
        found = [manifest for manifest in self._read.values() if manifest is not None and is_version(manifest.version)]
        found.sort(key=lambda manifest: order_of(manifest.version), reverse=True)
        return [Release(each.version, each.wheel_url, each.sha256, each.released_at) for each in found]

    def _manifest(self, key: str) -> Manifest | None:
        try:
            with errors(f"reading {key}"):
                found = self._client.get_object(Bucket=self._bucket, Key=key)
                with found["Body"] as body:
                    return msgspec.json.decode(body.read(MANIFEST_MAX), type=Manifest)
        except NotFound:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            logger.warning("The manifest %s cannot be read: %s", key, error)
            return None

    @property
    def _client(self) -> Any:
        return self._clients.get("s3")


def _version_of(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")
