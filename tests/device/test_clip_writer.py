from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import signal
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinthesky.device import clip_writer
from pinthesky.device.clip_journal import ClipHeader
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.clip_writer import ClipFinisher, write_h264, write_mp4
from pinthesky.device.packet_ring import PacketRing
from pinthesky.device.ports import Packet
from pinthesky.errors import InvariantBroken, NotFound, Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.recording import Item, Moment
from tests.support.packets import (
    clip_header,
    h264_packets,
    length_prefixed_units,
    nal_units,
    plain_numbers,
    plain_packets,
)

needs_av = pytest.mark.needs_av


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[ClipSpool]:
    spool = ClipSpool(tmp_path / "spool", max_bytes=10**9, min_free_bytes=0)
    spool.open()
    yield spool
    spool.close()


def journal_of(spool: ClipSpool, packets: list[Packet], header: ClipHeader | None = None) -> Path:
    writer = spool.create_journal(header or clip_header())
    for packet in packets:
        writer.append(packet)
    writer.close()
    return writer.path


def left_behind(spool: ClipSpool, packets: list[Packet], header: ClipHeader | None = None) -> tuple[ClipSpool, Path]:
    """A spool opened anew over a journal that an earlier run left."""
    path = journal_of(spool, packets, header)
    spool.close()
    again = ClipSpool(spool.folder, max_bytes=10**9, min_free_bytes=0)
    assert again.open() == [path]
    return again, path


def mp4_packets(path: Path) -> list[tuple[int, bool, list[bytes]]]:
    """(µs, keyframe, NAL units) of every sample."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base == Fraction(1, 1_000_000)
        return [
            (packet.pts or 0, packet.is_keyframe, length_prefixed_units(bytes(packet)))
            for packet in container.demux(stream)
            if packet.size
        ]


def top_level_boxes(path: Path) -> list[str]:
    kinds, raw, position = [], path.read_bytes(), 0
    while position < len(raw):
        size, kind = struct.unpack_from(">I4s", raw, position)
        kinds.append(kind.decode())
        position += size
    return kinds


def refusing(number: int):
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


# MP4


@needs_av
def test_every_packet_comes_out_of_ring_journal_and_mp4_exactly_once_in_order_with_its_timestamp(spool):
    packets = h264_packets(100, gop=10)
    ring = PacketRing(seconds=2)
    for packet in packets[:70]:
        ring.append(packet)
    pre_roll = ring.take()
    journal = journal_of(spool, [*pre_roll, *packets[70:]])
    ClipFinisher(spool).finish(journal)

    expected = packets[70 - len(pre_roll) :]
    assert len(pre_roll) >= 40
    got = mp4_packets(spool.items()[0].path)
    assert [timestamp + expected[0].timestamp_us for timestamp, _, _ in got] == [p.timestamp_us for p in expected]
    assert [units for _, _, units in got] == [nal_units(p.data) for p in expected]
    assert [keyframe for _, keyframe, _ in got] == [p.is_keyframe for p in expected]


@needs_av
def test_the_parts_of_an_event_meet_without_a_packet_lost_or_doubled(spool):
    packets = h264_packets(60, gop=10)
    for part, section in enumerate((packets[:20], packets[20:50], packets[50:]), 1):
        ClipFinisher(spool).finish(journal_of(spool, list(section), clip_header(part=part)))
    units = [units for kept in spool.items() for _, _, units in mp4_packets(kept.path)]
    assert units == [nal_units(packet.data) for packet in packets]


@pytest.mark.parametrize(
    "packets, as_mp4",
    [
        pytest.param(h264_packets, True, marks=needs_av),
        pytest.param(plain_packets, True, marks=needs_av, id="refused-as-mp4"),
        (plain_packets, False),
    ],
)
def test_the_clip_alone_bears_the_labels_whatever_it_is_written_as(spool, packets, as_mp4):
    writer = spool.create_journal(clip_header())
    for packet in packets(6):
        writer.append(packet)
    writer.append_labels({"person": 0.91, "dog": 0.5})
    writer.close()
    ClipFinisher(spool, as_mp4=as_mp4).finish(writer.path)
    *others, clip = spool.items()
    assert clip.item.labels == {"person": 0.91, "dog": 0.5}
    assert clip.item.metadata()["labels"] == "person=0.91,dog=0.5"
    assert Item.decode(clip.item.encode()) == clip.item
    assert all("labels" not in kept.item.metadata() for kept in others)


@needs_av
def test_the_item_says_what_the_file_is(spool):
    packets = h264_packets(40, jitter_us=0)
    items = ClipFinisher(spool).finish(journal_of(spool, list(packets), clip_header(part=2)))
    kept = spool.items()[0]
    raw = kept.path.read_bytes()
    assert items == [kept.item]
    assert (kept.item.kind, kept.item.suffix, kept.item.part, kept.item.recovered) == ("clip", ".mp4", 2, False)
    assert (kept.item.size, kept.item.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert kept.item.duration_s == pytest.approx(40 / 20)
    assert kept.item.start == clip_header().start


@needs_av
def test_the_index_stands_before_the_media(tmp_path):
    write_mp4(h264_packets(20), tmp_path / "clip.mp4", clip_header())
    boxes = [box for box in top_level_boxes(tmp_path / "clip.mp4") if box != "free"]
    assert boxes == ["ftyp", "moov", "mdat"]


@needs_av
def test_every_picture_decodes(tmp_path):
    import av

    write_mp4(h264_packets(50), tmp_path / "clip.mp4", clip_header())
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 50
    assert (frames[0].width, frames[0].height) == (64, 48)


@needs_av
@pytest.mark.parametrize("rotation_left, read_back", [(0, 0), (90, -90), (180, 180), (270, 90)])
def test_players_are_told_how_to_turn_the_picture(tmp_path, rotation_left, read_back):
    import av

    header = clip_header(rotation_left=rotation_left)
    written = write_mp4(h264_packets(10), tmp_path / "clip.mp4", header)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frame = next(container.decode(video=0))
    assert abs(frame.rotation) == abs(read_back)
    assert read_back in (180, frame.rotation)
    assert written.sha256 == hashlib.sha256((tmp_path / "clip.mp4").read_bytes()).hexdigest()


@needs_av
def test_the_turned_picture_lies_within_the_window_of_the_player(tmp_path):
    write_mp4(h264_packets(2), tmp_path / "clip.mp4", clip_header(rotation_left=90))
    raw = (tmp_path / "clip.mp4").read_bytes()
    start = raw.index(b"tkhd") - 4
    size = struct.unpack_from(">I", raw, start)[0]
    *matrix, width, height = struct.unpack_from(">11i", raw, start + size - 44)
    a, b, _, c, d, _, x, y, _ = matrix
    assert (width >> 16, height >> 16) == (64, 48)
    corners = [
        ((a * px + c * py + x) >> 16, (b * px + d * py + y) >> 16) for px, py in ((0, 0), (64, 0), (0, 48), (64, 48))
    ]
    assert (min(corners), max(corners)) == ((0, 0), (48, 64))


@needs_av
def test_the_last_picture_is_shown_for_the_median_of_the_others(tmp_path):
    packets = [p._replace(timestamp_us=1000 + number * 40_000) for number, p in enumerate(h264_packets(10))]
    packets[4:] = [packet._replace(timestamp_us=packet.timestamp_us + 3_000_000) for packet in packets[4:]]
    assert write_mp4(packets, tmp_path / "clip.mp4", clip_header()).duration_s == pytest.approx(3.4)


@needs_av
def test_a_single_picture_is_shown_for_what_the_framerate_says(tmp_path):
    written = write_mp4(h264_packets(10)[:1], tmp_path / "clip.mp4", clip_header(framerate=4.0))
    assert written.duration_s == 0.25
    assert len(mp4_packets(tmp_path / "clip.mp4")) == 1


@needs_av
def test_packets_of_one_timestamp_are_all_kept_in_order(tmp_path):
    packets = [packet._replace(timestamp_us=5_000_000 + number // 3) for number, packet in enumerate(h264_packets(9))]
    write_mp4(packets, tmp_path / "clip.mp4", clip_header())
    got = mp4_packets(tmp_path / "clip.mp4")
    assert [units for _, _, units in got] == [nal_units(packet.data) for packet in packets]
    assert [timestamp for timestamp, _, _ in got] == list(range(9))


@needs_av
def test_a_stream_that_changes_its_parameters_at_a_keyframe_still_decodes(tmp_path):
    import av

    one, other = h264_packets(20), h264_packets(20, profile="high")
    offset_us = one[-1].timestamp_us - other[0].timestamp_us + 50_000
    joined = [*one, *(packet._replace(timestamp_us=packet.timestamp_us + offset_us) for packet in other)]
    write_mp4(joined, tmp_path / "clip.mp4", clip_header())
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert len(list(container.decode(video=0))) == 40


@needs_av
def test_a_track_made_as_older_pyav_must_comes_out_the_same(tmp_path, monkeypatch):
    write_mp4(h264_packets(20), tmp_path / "clip.mp4", clip_header())
    add_track = clip_writer._add_track

    class ContainerOfOldPyAV:
        def __init__(self, container: Any) -> None:
            self.add_stream_from_template = container.add_stream_from_template

    def add_track_of_old(container: Any, *rest: Any) -> Any:
        old: Any = ContainerOfOldPyAV(container)
        return add_track(old, *rest)

    monkeypatch.setattr(clip_writer, "_add_track", add_track_of_old)
    write_mp4(h264_packets(20), tmp_path / "old.mp4", clip_header())
    assert mp4_packets(tmp_path / "old.mp4") == mp4_packets(tmp_path / "clip.mp4")


@needs_av
def test_a_clip_without_packets_is_refused(tmp_path):
    with pytest.raises(InvariantBroken):
        write_mp4([], tmp_path / "clip.mp4", clip_header())
    with pytest.raises(InvariantBroken):
        write_h264([], tmp_path / "clip.h264", clip_header(), timestamps_path=tmp_path / "times")


@needs_av
def test_a_disk_that_fills_up_while_the_mp4_is_written_is_an_error_not_a_short_file(spool):
    journal = journal_of(spool, list(h264_packets(40, bitrate=2_000_000, width=320, height=240)))
    size = journal.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (10, size // 2, size - 2000, size + 200):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(Unavailable, match="cannot"):
                ClipFinisher(spool, as_mp4=True).finish(journal)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert list((spool.folder / "tmp").iterdir()) == []
            assert spool.pending_journals() == [journal]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(ClipFinisher(spool).finish(journal)) == 1


@needs_av
def test_a_folder_that_refuses_the_mp4_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(Unavailable, match="No such file or directory"):
        write_mp4(h264_packets(5), tmp_path / "absent" / "clip.mp4", clip_header())
    monkeypatch.setattr(clip_writer, "_digest", refusing(errno.EIO))
    with pytest.raises(Unavailable, match="Input/output error"):
        write_mp4(h264_packets(5), tmp_path / "clip.mp4", clip_header())


@needs_av
def test_the_clip_is_its_owners_alone(tmp_path):
    write_mp4(h264_packets(5), tmp_path / "clip.mp4", clip_header())
    assert (tmp_path / "clip.mp4").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "raw", [b"", b"\0\0\0\x10ftypisom\0\0\0\0", b"\0\0\0\x08ftyp\0\0\0\x08mdat\0\0\0\x08moov", b"\0\0\0\x03ftyp",
            b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x08mdat\0\0"]
)  # fmt: skip
def test_what_is_no_whole_mp4_is_found_out(raw):
    with pytest.raises(InvariantBroken):
        clip_writer._finish_boxes(io.BytesIO(raw), clip_header())


@needs_av
def test_an_error_of_the_muxer_is_named(tmp_path, monkeypatch):
    import av

    def refused(*_: object) -> None:
        raise av.error.InvalidDataError(1094995529, "Invalid data found when processing input")

    monkeypatch.setattr(clip_writer, "_add_track", refused)
    with pytest.raises(InvariantBroken, match=r"refuses the stream: .*Invalid data"):
        write_mp4(h264_packets(5), tmp_path / "clip.mp4", clip_header())


@needs_av
def test_a_stream_that_no_player_could_begin_is_kept_as_a_bare_one(spool, caplog):
    ClipFinisher(spool, as_mp4=True).finish(journal_of(spool, plain_packets(10)))
    assert [kept.item.suffix for kept in spool.items()] == [".timestamps.txt", ".h264"]
    assert plain_numbers(spool.items()[1].path.read_bytes()) == list(range(10))
    assert "stays a bare stream" in caplog.text


@needs_av
def test_an_mp4_whose_first_packet_has_no_parameter_sets_is_refused(tmp_path):
    packets = [packet._replace(data=b"\0\0\0\1" + nal_units(packet.data)[-1]) for packet in h264_packets(5)]
    with pytest.raises(InvariantBroken, match=r"no parameter sets|refuses the stream"):
        write_mp4(packets, tmp_path / "clip.mp4", clip_header())


# Without PyAV


def test_without_pyav_the_clip_is_the_bare_stream_with_its_timestamps_beside_it(spool):
    packets = [p._replace(timestamp_us=p.timestamp_us + 7 * (n % 2)) for n, p in enumerate(plain_packets(4))]
    ClipFinisher(spool, as_mp4=False).finish(journal_of(spool, packets))
    timestamps, clip = spool.items()
    assert clip.path.read_bytes() == b"".join(packet.data for packet in packets)
    assert timestamps.path.read_text() == "# timestamp format v2\n0.000\n50.007\n100.000\n150.007\n"
    for kept in (timestamps, clip):
        raw = kept.path.read_bytes()
        assert (kept.item.size, kept.item.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
        assert kept.item.content_type in ("text/plain", "video/h264")


def test_only_the_clip_itself_answers_the_one_who_asked(spool):
    header = ClipHeader(
        event_id="a" * 32, start=clip_header().start, width=64, height=48, trigger="manual", capture_id="c",
        connection={"id": "x"},
    )  # fmt: skip
    timestamps, clip = ClipFinisher(spool, as_mp4=False).finish(journal_of(spool, plain_packets(3), header))
    assert (clip.capture_id, clip.connection, clip.trigger) == ("c", {"id": "x"}, "manual")
    assert (timestamps.capture_id, timestamps.connection) == (None, None)


def test_a_long_clip_is_streamed_in_blocks(spool, monkeypatch):
    monkeypatch.setattr(clip_writer, "_BLOCK_BYTES", 1000)
    packets = plain_packets(200, size=90)
    ClipFinisher(spool, as_mp4=False).finish(journal_of(spool, packets))
    assert spool.items()[1].path.read_bytes() == b"".join(packet.data for packet in packets)


def test_a_full_disk_keeps_the_journal_and_leaves_no_half_file(spool, monkeypatch):
    journal = journal_of(spool, plain_packets(10))
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "append", refusing(errno.ENOSPC))
        with pytest.raises(Unavailable, match="No space left"):
            ClipFinisher(spool, as_mp4=False).finish(journal)
    assert list((spool.folder / "tmp").iterdir()) == []
    assert spool.pending_journals() == [journal]
    assert len(ClipFinisher(spool, as_mp4=False).finish(journal)) == 2


# Recovery


def test_what_a_crash_left_is_finished_and_marked_recovered(spool, caplog):
    caplog.set_level("INFO")
    again, journal = left_behind(spool, plain_packets(20))
    journal.write_bytes(journal.read_bytes()[:-5])
    items = ClipFinisher(again, as_mp4=False).finish(journal)
    assert [item.recovered for item in items] == [True, True]
    assert plain_numbers(again.items()[1].path.read_bytes()) == list(range(19))
    assert not journal.exists()
    assert "ends early: cut within a record" in caplog.text
    assert "Recovered 0.9 s" in caplog.text or "Recovered 1.0 s" in caplog.text
    again.close()


def test_a_failed_attempt_at_recovery_does_not_forget_that_it_is_one(spool, monkeypatch):
    again, journal = left_behind(spool, plain_packets(5))
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "create", refusing(errno.ENOSPC))
        with pytest.raises(Unavailable):
            ClipFinisher(again, as_mp4=False).finish(journal)
    assert all(item.recovered for item in ClipFinisher(again, as_mp4=False).finish(journal))
    again.close()


def test_a_clip_starts_at_its_first_keyframe_and_its_time_with_it(spool):
    journal = journal_of(spool, plain_packets(20, first=6, gop=10))
    items = ClipFinisher(spool, as_mp4=False).finish(journal)
    assert plain_numbers(spool.items()[1].path.read_bytes()) == list(range(10, 26))
    assert items[1].start == clip_header().start.later(0.2)


@pytest.mark.parametrize("packets", [[], plain_packets(5, first=1)], ids=["nothing", "no keyframe"])
def test_a_journal_that_shows_nothing_is_dropped_and_logged(spool, packets, caplog):
    journal = journal_of(spool, packets)
    assert ClipFinisher(spool).finish(journal) == []
    assert not journal.exists()
    assert spool.totals() == (0, 0)
    assert "holds no picture" in caplog.text


def test_a_journal_without_a_whole_header_is_set_aside_and_logged(spool, caplog):
    again, journal = left_behind(spool, plain_packets(5))
    journal.write_bytes(b"PITSJNL1" + bytes(100))
    assert ClipFinisher(again).finish(journal) == []
    assert (spool.folder / "unreadable" / journal.name).stat().st_size == 108
    assert again.totals() == (0, 0)
    assert "Cannot make a clip" in caplog.text
    again.close()


def test_a_journal_that_somebody_deleted_is_forgotten(spool):
    journal = journal_of(spool, plain_packets(5))
    journal.unlink()
    assert ClipFinisher(spool).finish(journal) == []
    assert spool.pending_journals() == []


def test_a_journal_is_finished_once(spool):
    journal = journal_of(spool, plain_packets(5))
    ClipFinisher(spool, as_mp4=False).finish(journal)
    with pytest.raises(NotFound):
        ClipFinisher(spool, as_mp4=False).finish(journal)
    open_journal = spool.create_journal(clip_header(part=2))
    with pytest.raises(NotFound):
        ClipFinisher(spool).finish(open_journal.path)
    open_journal.close()


def test_pyav_is_not_imported_with_the_module():
    import subprocess
    import sys

    program = "import sys, pinthesky.device.clip_writer; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_items_know_where_they_go_beside_their_clip():
    from pinthesky.model.identifiers import ThingName

    item = Item(
        kind="timestamps", event_id="a" * 32, start=clip_header().start, suffix=".timestamps.txt", size=1,
        sha256="0" * 64,
    )  # fmt: skip
    key = item.key(video_prefix="videos", image_prefix="images", thing=ThingName("cam"))
    assert key == f"videos/cam/1750000000-{'a' * 32}.motion.timestamps.txt"


@pytest.mark.parametrize("as_mp4", [pytest.param(True, marks=pytest.mark.needs_av), False])
def test_a_part_whose_key_is_delayed_says_so_in_all_its_files_and_starts_when_it_did(spool: ClipSpool, as_mp4: bool):
    from pinthesky.model.identifiers import ThingName

    header = msgspec.structs.replace(clip_header(part=2), key_delay_s=0.751)
    packets = list(h264_packets(5) if as_mp4 else plain_packets(5))
    items = ClipFinisher(spool, as_mp4=as_mp4).finish(journal_of(spool, packets, header))
    assert [item.kind for item in items] == (["clip"] if as_mp4 else ["timestamps", "clip"])
    late = [item.at(Moment(boot_id="boot", monotonic_s=1.0, wall_s=1_750_000_000.3), uncertain=False) for item in items]
    keys = [item.key(video_prefix="videos", image_prefix="images", thing=ThingName("cam")) for item in late]
    assert {key.partition("-")[0] for key in keys} == {"videos/cam/1750000001"}
    assert {item.metadata()["start"] for item in late} == {"1750000000.300"}
