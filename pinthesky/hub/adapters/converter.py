"""The planes' port `Converter` on the media folder."""

from __future__ import annotations

from pinthesky.conversion.streams import STREAM_MAX, convert
from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.ports import Media

TIMESTAMPS_MAX = 4 * 1024 * 1024


class HubConverter:
    """The adapter of `planes.ports.Converter`."""

    def __init__(self, media: Media) -> None:
        self._media = media

    def convert(self, source: MediaKey, *, clip: MediaKey, thumbnail: MediaKey, timestamps: MediaKey | None) -> None:
        """See `planes.ports.Converter`."""
        found = self._media.describe(source)
        times = None if timestamps is None else self._media.read(timestamps, limit=TIMESTAMPS_MAX)
        made = convert(self._media.read(source, limit=STREAM_MAX), times)
        metadata = dict((found.metadata if found else None) or {})
        metadata.setdefault("duration", f"{made.duration_s:.3f}")
        self._media.write(thumbnail, made.thumbnail, content_type="image/jpeg", metadata=metadata)
        self._media.write(clip, made.mp4, content_type="video/mp4", metadata=metadata)
