"""The planes' port `Converter` where PyAV is at hand: streams are read from the store, and clips written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinthesky.conversion.streams import STREAM_MAX, convert

if TYPE_CHECKING:
    from pinthesky.model.identifiers import MediaKey
    from pinthesky.planes.ports import Media

TIMESTAMPS_MAX = 4 * 1024 * 1024


class MediaConverter:
    """The adapter of `planes.ports.Converter` on any `Media`."""

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
