"""The planes' port `Media` on the media folder."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_links import MediaLinks
from pinthesky.hub.media_record import Address, MediaRecord
from pinthesky.hub.media_retention import free_bytes
from pinthesky.model.identifiers import KeyPrefix, MediaKey
from pinthesky.model.recording import RETENTION_TAG
from pinthesky.planes.ports import MediaObject, MediaPage, StorageUsage


class HubMedia:
    """The adapter of `planes.ports.Media`."""

    def __init__(
        self, folder: MediaFolder, links: MediaLinks, *, prefixes: Sequence[KeyPrefix], limit_bytes: int | None
    ) -> None:
        """`prefixes` are those under which keys may lie; `limit_bytes` is the owner's `maxspace`."""
        self._folder = folder
        self._links = links
        self._prefixes = tuple(prefixes)
        self._limit_bytes = limit_bytes

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        """See `planes.ports.Media`."""
        return self._links.url(key, lifetime_s=lifetime_s, download_as=download_as)

    def describe(self, key: MediaKey) -> MediaObject | None:
        """See `planes.ports.Media`."""
        try:
            return _object(self._folder.find(key))
        except NotFound:
            return None

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        """See `planes.ports.Media`."""
        record, file = self._folder.open(key)
        with file:
            if record.size > limit:
                raise InvalidInput("key", f"is an object of more than {limit} bytes")
            return file.read()

    def write(self, key: MediaKey, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """See `planes.ports.Media`."""
        record = MediaRecord(
            address=Address.parse(key, self._prefixes),
            file="",
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
            recorded_at_s=0.0,
            stored_at_s=0.0,
            headers={"content-type": content_type},
            metadata=dict(metadata),
            tags=dict([RETENTION_TAG]),
            checksum=("sha256", base64.b64encode(hashlib.sha256(data).digest()).decode()),
        )
        incoming = self._folder.begin(len(data))
        try:
            incoming.write(data)
            self._folder.store(incoming, record, replace=True)
        finally:
            incoming.discard()

    def delete(self, keys: Sequence[MediaKey]) -> None:
        """See `planes.ports.Media`."""
        for key in keys:
            self._folder.delete(key)

    def keep(self, key: MediaKey, *, kept: bool) -> None:
        """See `planes.ports.Media`."""
        self._folder.star(key, starred=kept)

    def objects(self, prefix: str, *, limit: int, token: str | None) -> MediaPage:
        """See `planes.ports.Media`. The token is the last key."""
        records = self._folder.index.below(prefix, after=token or "", limit=limit + 1)
        token = records[limit - 1].key if len(records) > limit else None
        return MediaPage([_object(record) for record in records[:limit]], token)

    def usage(self) -> StorageUsage:
        """See `planes.ports.Media`."""
        used, free = self._folder.usage(), None
        with suppress(OSError):
            free = free_bytes(self._folder.root)
        return StorageUsage(used.objects, used.size, self._limit_bytes, free)


def _object(record: MediaRecord) -> MediaObject:
    return MediaObject(
        key=MediaKey(record.key),
        size=record.size,
        stored_at_s=record.stored_at_s,
        content_type=record.headers.get("content-type", ""),
        metadata=record.metadata,
        kept=record.is_starred,
    )
