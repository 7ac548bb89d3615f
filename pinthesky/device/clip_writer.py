"""Turns a closed journal into what is uploaded: an MP4 made without re-encoding, or a bare stream without PyAV."""

from __future__ import annotations

import importlib.util
import io
import logging
import statistics
import struct
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from hashlib import sha256
from itertools import chain, dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Optional, final

from pinthesky.device.clip_journal import ClipHeader, JournalReader, read_journal
from pinthesky.device.ports import Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.recording import TIMESTAMPS_SUFFIX, Item, Kind

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.stream import Stream

    from pinthesky.device.clip_spool import ClipSpool

_log = logging.getLogger(__name__)

_MICROSECONDS = 1_000_000
_BLOCK_BYTES = 256 * 1024

_MP4_OPTIONS = {
    "movflags": "faststart",
    # The track's and the movie's ticks are microseconds, so the camera's timestamps survive to the digit.
    "video_track_timescale": str(_MICROSECONDS),
    "movie_timescale": str(_MICROSECONDS),
}

_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""a, b, c, d of the matrix that turns a picture clockwise by so many degrees; x' = ax + cy, y' = bx + dy, y down."""


class WrittenFile(NamedTuple):
    """A media file as it was written."""

    size: int
    sha256: str
    duration_s: float
    """To the end of the last picture, which is shown for as long as the median one."""
    first_us: int
    """The camera's timestamp of the first picture."""


def has_pyav() -> bool:
    """Whether PyAV is installed. It is imported when the first MP4 is written."""
    return importlib.util.find_spec("av") is not None


class _Timeline:
    """Timestamps as they go out: from 0, each at least 1 µs after the one before, as MP4 asks."""

    def __init__(self, framerate: float) -> None:
        self.first_us: Optional[int] = None
        self.last_us = -1
        self._intervals_us = array("q")
        self._nominal_us = round(_MICROSECONDS / framerate) if framerate > 0 else 50_000

    def place(self, packet: Packet) -> int:
        """Microseconds of the packet from the start of the clip."""
        if self.first_us is None:
            self.first_us = packet.timestamp_us
        elapsed_us = max(packet.timestamp_us - self.first_us, self.last_us + 1)
        if self.last_us >= 0:
            self._intervals_us.append(elapsed_us - self.last_us)
        self.last_us = elapsed_us
        return elapsed_us

    @property
    def usual_us(self) -> int:
        """How long a picture is shown: the median."""
        return int(statistics.median(self._intervals_us)) if self._intervals_us else self._nominal_us

    @property
    def duration_s(self) -> float:
        return (self.last_us + self.usual_us) / _MICROSECONDS


def write_mp4(packets: Iterable[Packet], path: Path, header: ClipHeader) -> WrittenFile:
    """Write an MP4 at `path`: index in front, microsecond timestamps, the packets as they are.

    The first packet is a keyframe with its parameter sets, of which the track's description is made. Parameter sets
    stay in the stream as well, so a stream that changes them at a later keyframe still decodes. One packet is in
    memory at a time.

    Raises Unavailable when the disk is full or fails, InvariantBroken when there are no packets or the muxer refuses
    them.
    """
    import av  # noqa: PLC0415 - large, and absent on small devices

    time_base = Fraction(1, _MICROSECONDS)
    timeline = _Timeline(header.framerate)
    remaining = iter(packets)
    first = next(remaining, None)
    if first is None:
        raise InvariantBroken("a clip has at least one packet")

    def sample(packet: Packet) -> av.Packet[Stream]:
        made = av.Packet(packet.data)
        made.stream = track
        made.time_base = time_base
        made.pts = made.dts = timeline.place(packet)
        made.is_keyframe = packet.is_keyframe
        return made

    try:
        path.touch(mode=0o600)
        with av.open(str(path), "w", format="mp4", options=_MP4_OPTIONS) as container:
            track = _add_track(container, first, header)
            track.time_base = time_base
            # One packet is held back: the last alone needs a duration, the others last until the next.
            held = sample(first)
            for packet in remaining:
                container.mux_one(held)
                held = sample(packet)
            held.duration = timeline.usual_us
            container.mux_one(held)
        with path.open("r+b") as file:
            _finish_boxes(file, header)
            size, digest = _digest(file)
    except OSError as error:
        # PyAV raises its errors about the disk as OSError too.
        raise durable_files.disk_unavailable(f"cannot write {path.name}", error) from error
    except av.error.FFmpegError as error:
        raise InvariantBroken(f"the MP4 muxer refuses the stream: {error}") from error
    return WrittenFile(size, digest, timeline.duration_s, first.timestamp_us)


def _add_track(container: OutputContainer, first: Packet, header: ClipHeader) -> Stream:
    """An H.264 track whose description the muxer takes from the first packet."""
    import av  # noqa: PLC0415 - absent on small devices

    if hasattr(container, "add_mux_stream"):
        return container.add_mux_stream("h264", width=header.width, height=header.height)
    # Before PyAV 17 a track without an encoder is had from a stream that is read.
    with av.open(io.BytesIO(first.data), format="h264") as source:
        return container.add_stream_from_template(source.streams.video[0])


def _finish_boxes(file: BinaryIO, header: ClipHeader) -> None:
    """Check that the file is whole and playable, and write the turn of the picture into the track header.

    PyAV can do the latter from version 18 on only. Raises InvariantBroken when the index is not in front of the media,
    when the boxes do not fill the file (as after a write that failed unnoticed), or when the first packet had no
    parameter sets, without which no player can begin.
    """
    end = file.seek(0, io.SEEK_END)
    found = list(_boxes(file, 0, end))
    kinds = [kind for kind, _, _ in found if kind != "free"]
    if kinds != ["ftyp", "moov", "mdat"] or sum(size + 8 for _, _, size in found) != end:
        raise InvariantBroken(f"the muxer left no whole MP4, but {kinds}")
    start, size = next((start, size) for kind, start, size in found if kind == "moov")
    file.seek(start)
    index = file.read(size)
    # ISO 14496-15, 5.3.3.1: version, profile, compatibility, level, 6 bits set and 2 of length, 3 bits set and 5 of
    # the number of sequence parameter sets.
    description = index.find(b"avcC") + 4
    if description < 4 or index[description] != 1 or not index[description + 5] & 0x1F:
        raise InvariantBroken("the first packet has no parameter sets")
    if header.rotation_left in _TURNS:
        for wanted in ("trak", "tkhd"):
            inside = _boxes(file, start, start + size)
            start, size = next((start, size) for kind, start, size in inside if kind == wanted)
        # The matrix is followed by width and height, 4 bytes each, which end the box.
        file.seek(start + size - 8 - 36)
        file.write(_turn_matrix(header))
        file.flush()


def _turn_matrix(header: ClipHeader) -> bytes:
    """The matrix of ISO 14496-12, 6.2.2, that turns the picture clockwise and moves it back to the origin."""
    a, b, c, d = _TURNS[header.rotation_left]
    shift_x = (header.width if a < 0 else 0) + (header.height if c < 0 else 0)
    shift_y = (header.width if b < 0 else 0) + (header.height if d < 0 else 0)
    one, whole = 1 << 16, 1 << 30
    return struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, shift_x * one, shift_y * one, whole)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """(kind, first byte of content, bytes of content) of the boxes between two places in the file."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size < 8 or start + size > end:
            raise InvariantBroken(f"an MP4 box at {start} claims {size} bytes")
        yield kind.decode("latin-1"), start + 8, size - 8
        start += size


def _digest(file: io.BufferedRandom) -> tuple[int, str]:
    """(size, SHA-256) of an open file."""
    digest = sha256()
    block = memoryview(bytearray(_BLOCK_BYTES))
    file.seek(0)
    size = 0
    while True:
        count = file.readinto(block)
        if not count:
            return size, digest.hexdigest()
        digest.update(block[:count])
        size += count


def write_h264(
    packets: Iterable[Packet], path: Path, header: ClipHeader, *, timestamps_path: Path
) -> list[WrittenFile]:
    """Write the bare stream and, beside it, when each picture was taken; returns both, timestamps first.

    The timestamps are lines of milliseconds with three decimals under "# timestamp format v2", as `mkvmerge
    --timestamps` reads them. Raises Unavailable when the disk is full or fails.
    """
    timeline = _Timeline(header.framerate)
    try:
        with _HashedFile(path) as media, _HashedFile(timestamps_path) as timestamps:
            timestamps.write(b"# timestamp format v2\n")
            for packet in packets:
                milliseconds, rest_us = divmod(timeline.place(packet), 1000)
                timestamps.write(b"%d.%03d\n" % (milliseconds, rest_us))
                media.write(packet.data)
    except OSError as error:
        raise durable_files.disk_unavailable(f"cannot write {path.name}", error) from error
    if timeline.first_us is None:
        raise InvariantBroken("a clip has at least one packet")
    return [
        WrittenFile(file.size, file.digest.hexdigest(), timeline.duration_s, timeline.first_us)
        for file in (timestamps, media)
    ]


@final
class _HashedFile:
    """A new file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._descriptor = durable_files.create(path)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.size = 0
        self.digest = sha256()

    def __enter__(self) -> _HashedFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            durable_files.close(self._descriptor)

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _BLOCK_BYTES or len(self._waiting) >= 500:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            durable_files.append(self._descriptor, self._waiting)
        self._waiting = []
        self._waiting_bytes = 0


class _Draft(NamedTuple):
    path: Path
    kind: Kind
    suffix: str
    written: WrittenFile

    def item(self, header: ClipHeader, *, skipped_s: float, is_recovered: bool, labels: Mapping[str, float]) -> Item:
        answers = self.kind == "clip"
        return Item(
            kind=self.kind,
            event_id=header.event_id,
            start=header.start.later(skipped_s),
            suffix=self.suffix,
            size=self.written.size,
            sha256=self.written.sha256,
            trigger=header.trigger,
            part=header.part,
            key_delay_s=header.key_delay_s,
            duration_s=self.written.duration_s,
            recovered=is_recovered,
            capture_id=header.capture_id if answers else None,
            connection=header.connection if answers else None,
            labels=dict(labels) if answers else {},
        )


class _Opening(NamedTuple):
    """A journal's packets from the first that can be shown."""

    skipped_s: float
    packets: Iterator[Packet]


def _from_keyframe(journal: JournalReader) -> Optional[_Opening]:
    packets = iter(journal)
    first_us: Optional[int] = None
    for packet in packets:
        if first_us is None:
            first_us = packet.timestamp_us
        if packet.is_keyframe:
            return _Opening((packet.timestamp_us - first_us) / _MICROSECONDS, chain([packet], packets))
    return None


class ClipFinisher:
    """Makes items in the spool of closed journals. Used by one thread."""

    def __init__(self, spool: ClipSpool, *, as_mp4: Optional[bool] = None) -> None:
        """`as_mp4` None: MP4 where PyAV is installed."""
        self._spool = spool
        self._as_mp4 = has_pyav() if as_mp4 is None else as_mp4

    def finish(self, journal_path: Path) -> list[Item]:
        """Make the journal's clip, take it into the spool and drop the journal; the items, the clip last.

        None come of a journal without a keyframe, which is dropped, or without a whole header, which is set aside;
        both are logged. Raises Unavailable when the disk is full or fails (the journal waits on, try again later),
        NotFound when the journal does not wait (any more).
        """
        with self._spool.finishing(journal_path) as was_found:
            try:
                with read_journal(journal_path) as journal:
                    items = self._finish(journal, was_found=was_found)
            except InvariantBroken as error:
                _log.error("Cannot make a clip: %s", error)
                self._spool.set_aside_journal(journal_path)
                return []
            if not items:
                _log.warning("Journal %s holds no picture (%s)", journal_path.name, journal.damage or "it is empty")
                self._spool.discard_journal(journal_path)
                return []
        clip = items[-1]
        if journal.damage is not None:
            _log.warning("Clip of event %s part %d ends early: %s", clip.event_id, clip.part, journal.damage)
        if was_found:
            _log.info("Recovered %.1f s of event %s part %d", clip.duration_s, clip.event_id, clip.part)
        return items

    def _finish(self, journal: JournalReader, *, was_found: bool) -> list[Item]:
        opening = _from_keyframe(journal)
        if opening is None:
            return []
        header = journal.header
        drafts = self._write(opening, header, journal.path)
        # Labels stand between the packets, of which the writer may have left some.
        deque(opening.packets, maxlen=0)
        items = [
            draft.item(header, skipped_s=opening.skipped_s, is_recovered=was_found, labels=journal.labels)
            for draft in drafts
        ]
        self._spool.commit([(draft.path, item) for draft, item in zip(drafts, items)], journal.path)
        return items

    def _write(self, opening: _Opening, header: ClipHeader, journal_path: Path) -> list[_Draft]:
        stem = f"{header.event_id}-{header.part:04d}"
        media = {suffix: self._spool.tmp_path(stem + suffix) for suffix in (".mp4", ".h264", TIMESTAMPS_SUFFIX)}
        try:
            if self._as_mp4:
                try:
                    clip = write_mp4(opening.packets, media[".mp4"], header)
                    return [_Draft(media[".mp4"], "clip", ".mp4", clip)]
                except InvariantBroken as error:
                    _log.error("Clip of event %s stays a bare stream: %s", header.event_id, error)
                    durable_files.remove(media[".mp4"])
                    with read_journal(journal_path) as again:
                        return _write_bare(media, header, dropwhile(lambda packet: not packet.is_keyframe, again))
            return _write_bare(media, header, opening.packets)
        except Unavailable:
            for path in media.values():
                durable_files.remove(path)
            raise


def _write_bare(media: Mapping[str, Path], header: ClipHeader, packets: Iterable[Packet]) -> list[_Draft]:
    written = write_h264(packets, media[".h264"], header, timestamps_path=media[TIMESTAMPS_SUFFIX])
    return [
        _Draft(media[TIMESTAMPS_SUFFIX], "timestamps", TIMESTAMPS_SUFFIX, written[0]),
        _Draft(media[".h264"], "clip", ".h264", written[1]),
    ]
