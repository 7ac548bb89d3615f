from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device import clip_journal
from pinthesky.device.clip_journal import ClipHeader, JournalWriter, read_journal
from pinthesky.device.ports import Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.machine import durable_files
from tests.support.packets import clip_header, plain_packets

PACKETS = plain_packets(12, gop=4)


def written(path: Path, packets: list[Packet] = PACKETS, header: ClipHeader | None = None) -> bytes:
    writer = JournalWriter.create(path, header or clip_header())
    for packet in packets:
        writer.append(packet)
    writer.close()
    return path.read_bytes()


def read(path: Path) -> tuple[list[Packet], str | None]:
    with read_journal(path) as journal:
        packets = list(journal)
    return packets, journal.damage


def refuse(monkeypatch: pytest.MonkeyPatch, operation: str, number: int = errno.ENOSPC) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable_files, operation, refused)


def test_header_and_packets_come_back_as_they_were(tmp_path):
    header = clip_header(part=3, rotation_left=90, wall_s=None)
    written(tmp_path / "journal", header=header)
    with read_journal(tmp_path / "journal") as journal:
        assert journal.header == header
        assert list(journal) == PACKETS
        assert journal.damage is None


def test_an_appended_packet_is_in_the_file_before_anything_is_synced_or_closed(tmp_path):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    assert read(tmp_path / "journal") == (PACKETS[:1], None)
    assert writer.size_bytes == (tmp_path / "journal").stat().st_size
    writer.close()


def test_labels_stand_between_the_packets_and_the_last_word_counts(tmp_path):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    writer.append_labels({"dog": 0.5})
    writer.append(PACKETS[1])
    writer.append_labels({"dog": 0.9, "person": 0.7})
    assert writer.duration_s == pytest.approx((PACKETS[1].timestamp_us - PACKETS[0].timestamp_us) / 1e6)
    assert writer.size_bytes == (tmp_path / "journal").stat().st_size
    writer.close()
    with read_journal(tmp_path / "journal") as journal:
        assert list(journal) == PACKETS[:2]
        assert journal.labels == {"dog": 0.9, "person": 0.7}
        assert journal.damage is None


def test_labels_of_another_version_cost_nothing_but_themselves(tmp_path):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    writer.append_labels({"dog": "sure"})  # type: ignore[dict-item] # what is tested
    writer.append(PACKETS[1])
    writer.close()
    with read_journal(tmp_path / "journal") as journal:
        assert list(journal) == PACKETS[:2]
        assert (journal.labels, journal.damage) == ({}, None)


@given(data=st.data())
def test_any_truncation_gives_the_packets_that_were_whole(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "journal"
    raw = written(path)
    first_packet = len(written(path.with_name("empty"), []))
    record = 17 + len(PACKETS[0].data)
    kept = data.draw(st.integers(first_packet, len(raw)))
    path.write_bytes(raw[:kept])
    packets, damage = read(path)
    assert packets == PACKETS[: (kept - first_packet) // record]
    assert (damage is None) == ((kept - first_packet) % record == 0)


@given(data=st.data())
def test_any_flipped_byte_gives_a_prefix_of_the_packets_and_is_named(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("flip") / "journal"
    raw = bytearray(written(path))
    first_packet = len(written(path.with_name("empty"), []))
    position = data.draw(st.integers(first_packet, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    packets, damage = read(path)
    assert packets == PACKETS[: (position - first_packet) // (17 + len(PACKETS[0].data))]
    assert damage is not None


@given(data=st.data())
def test_a_header_that_is_cut_or_flipped_anywhere_is_refused(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("header") / "journal"
    raw = bytearray(written(path, []))
    position = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        del raw[position:]
    else:
        raw[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(InvariantBroken):
        read_journal(path)


@given(garbage=st.binary(max_size=300))
def test_no_garbage_passes_for_a_journal(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("garbage") / "journal"
    path.write_bytes(garbage)
    with pytest.raises(InvariantBroken):
        read_journal(path)


def test_a_region_of_zeros_ends_the_packets(tmp_path):
    raw = written(tmp_path / "journal")
    (tmp_path / "journal").write_bytes(raw + bytes(4096))
    assert read(tmp_path / "journal") == (PACKETS, "a record with a wrong checksum")


def test_records_of_an_older_journal_behind_the_end_do_not_pass_for_packets(tmp_path):
    older = written(tmp_path / "older", header=clip_header(event_id="f" * 32))
    raw = written(tmp_path / "journal", PACKETS[:4])
    (tmp_path / "journal").write_bytes(raw + older[len(raw) :])
    assert read(tmp_path / "journal") == (PACKETS[:4], "a record with a wrong checksum")


def test_a_record_that_claims_an_impossible_length_costs_no_memory(tmp_path):
    raw = written(tmp_path / "journal")
    (tmp_path / "journal").write_bytes(raw + struct.pack("<IIBq", 0, 0xFFFF_FFFF, 1, 0))
    assert read(tmp_path / "journal") == (PACKETS, "a record that claims to be larger than any packet")


def test_a_record_of_a_later_version_ends_the_packets(tmp_path, monkeypatch):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    monkeypatch.setattr(clip_journal, "_PACKET", 9)
    writer.append(PACKETS[1])
    writer.close()
    monkeypatch.undo()
    assert read(tmp_path / "journal") == (PACKETS[:1], "a record of unknown kind 9")


def test_a_header_of_another_version_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(msgspec.json, "encode", lambda *_, **__: b'{"version": 2}')
        written(tmp_path / "journal")
    with pytest.raises(InvariantBroken, match="another version"):
        read_journal(tmp_path / "journal")


def test_a_journal_that_is_gone_or_cannot_be_opened_says_which(tmp_path):
    with pytest.raises(InvariantBroken, match="gone"):
        read_journal(tmp_path / "journal")
    with pytest.raises(Unavailable, match="Is a directory"):
        read_journal(tmp_path)


def test_a_block_that_the_disk_cannot_read_ends_the_packets(tmp_path, monkeypatch):
    written(tmp_path / "journal")
    with read_journal(tmp_path / "journal") as journal:
        whole = journal._file

        class Failing:
            def read(self, size: int) -> bytes:
                if whole.tell() > 400:
                    raise OSError(errno.EIO, "Input/output error")
                return whole.read(size)

            def close(self) -> None:
                whole.close()

        monkeypatch.setattr(journal, "_file", Failing())
        packets = list(journal)
    assert packets == PACKETS[: len(packets)]
    assert 0 < len(packets) < len(PACKETS)
    assert journal.damage == "the disk cannot read it (Input/output error)"


def test_sync_is_due_half_a_second_after_the_last_and_only_when_something_was_appended(tmp_path, monkeypatch):
    synced_at: list[float] = []
    now_s = 0.0
    monkeypatch.setattr(durable_files, "sync_data", lambda _: synced_at.append(now_s))
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    synced_at.clear()
    for step in range(60):
        now_s = step / 20
        if step < 30:
            writer.append(PACKETS[0])
        writer.sync_if_due(now_s)
    assert synced_at == [0.5, 1.0, 1.5]
    writer.close()
    assert synced_at == [0.5, 1.0, 1.5]


def test_close_syncs_what_is_left_and_more_is_an_error(tmp_path, monkeypatch):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    writer.append(PACKETS[2])
    assert writer.duration_s == pytest.approx(0.1)
    syncs: list[int] = []
    monkeypatch.setattr(durable_files, "sync_data", syncs.append)
    writer.close()
    writer.close()
    assert len(syncs) == 1
    assert writer.is_closed
    with pytest.raises(InvariantBroken, match="closed"):
        writer.append(PACKETS[1])


def test_a_journal_without_packets_has_no_duration(tmp_path):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    assert writer.duration_s == 0.0
    writer.close()


@pytest.mark.parametrize("operation", ["create", "append", "sync_data", "sync_folder"])
def test_a_journal_that_cannot_begin_leaves_nothing_behind(tmp_path, monkeypatch, operation):
    refuse(monkeypatch, operation)
    with pytest.raises(Unavailable, match="cannot begin journal journal: No space left on device"):
        JournalWriter.create(tmp_path / "journal", clip_header())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_takes_back_half_a_record_and_the_journal_goes_on_when_there_is_room(tmp_path, monkeypatch):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", lambda fd, chunks: os.write(fd, chunks[0]))
        real_write = os.write

        def half_full(fd: int, data: bytes) -> int:
            if len(data) > 20:
                return real_write(fd, data[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(os, "write", half_full)
        with pytest.raises(Unavailable, match="No space left on device") as caught:
            writer.append(PACKETS[1])
    assert isinstance(caught.value.__cause__, OSError)
    assert writer.size_bytes == (tmp_path / "journal").stat().st_size
    writer.append(PACKETS[4])
    writer.close()
    assert read(tmp_path / "journal") == ([PACKETS[0], PACKETS[4]], None)


def test_a_journal_that_cannot_be_cut_back_takes_no_more_and_keeps_what_it_had(tmp_path, monkeypatch):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    with monkeypatch.context() as patched:
        refuse(patched, "append")
        refuse(patched, "shorten", errno.EIO)
        with pytest.raises(Unavailable):
            writer.append(PACKETS[1])
    with pytest.raises(Unavailable, match="broken: Input/output error"):
        writer.append(PACKETS[2])
    writer.close()
    assert read(tmp_path / "journal")[0] == PACKETS[:1]


def test_after_a_sync_that_failed_nothing_more_is_trusted_to_the_journal(tmp_path, monkeypatch):
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    writer.append(PACKETS[0])
    with monkeypatch.context() as patched:
        refuse(patched, "sync_data", errno.EIO)
        with pytest.raises(Unavailable, match="cannot sync"):
            writer.sync()
    with pytest.raises(Unavailable, match="broken"):
        writer.append(PACKETS[1])
    writer.close()
    assert writer.is_closed


def test_a_packet_larger_than_any_picture_is_refused_and_the_journal_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_journal, "PACKET_MAX_BYTES", 1000)
    writer = JournalWriter.create(tmp_path / "journal", clip_header())
    with pytest.raises(Unavailable, match="1001 bytes"):
        writer.append(Packet(bytes(1001), 0, True))
    writer.append(PACKETS[0])
    writer.close()
    assert read(tmp_path / "journal") == (PACKETS[:1], None)


def test_short_writes_are_finished(tmp_path, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(os, "writev", lambda fd, chunks: real_write(fd, chunks[0][:5]))
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
    written(tmp_path / "journal")
    assert read(tmp_path / "journal") == (PACKETS, None)
