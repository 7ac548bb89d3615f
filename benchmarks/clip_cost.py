#!/usr/bin/env python3
"""CPU of making a 30 s clip, from its packets to the file in the spool, beside the least that PyAV takes.

    python benchmarks/clip_cost.py [--rounds 15]

640x480 at 20 pictures a second and 2 Mb/s: 600 packets, 7.5 MB. Every figure is CPU of the process, user and kernel,
as the median over rounds after one that does not count. The floor is a bare remux: PyAV reads the packets of an MP4
and writes them into another with the index in front; no journal, no checksum, no sync.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Report, arguments  # noqa: E402 - the checkout, installed or not
from pinthesky.device.clip_journal import JournalWriter, read_journal  # noqa: E402 - as above
from pinthesky.device.clip_spool import ClipSpool  # noqa: E402 - as above
from pinthesky.device.clip_writer import ClipFinisher, write_mp4  # noqa: E402 - as above
from pinthesky.device.ports import Packet  # noqa: E402 - as above
from tests.support.packets import clip_header, h264_packets  # noqa: E402 - as above

WIDTH, HEIGHT, FPS, BITRATE = 640, 480, 20, 2_000_000
BUDGET_MS = 20.0
JOURNAL = "journal written, synced twice a second"
CLIP = "journal to MP4 in the spool"
FLOOR = "bare PyAV remux"


class Bench:
    """One step after the other on the same packets, in a folder of its own."""

    def __init__(self, folder: Path, packets: Sequence[Packet]) -> None:
        self.folder = folder
        self.packets = packets
        self.header = clip_header(width=WIDTH, height=HEIGHT, framerate=FPS, rotation_left=90)
        self.spool = ClipSpool(folder / "spool", max_bytes=10**12, min_free_bytes=0)
        self.spool.open()
        self.finisher = ClipFinisher(self.spool, as_mp4=True)
        self.source = folder / "source.mp4"
        write_mp4(packets, self.source, self.header)

    def journal(self) -> JournalWriter:
        """Append every packet, sync as the daemon does, close."""
        writer = self.spool.create_journal(self.header)
        for packet in self.packets:
            writer.append(packet)
            writer.sync_if_due(packet.timestamp_us / 1e6)
        writer.close()
        return writer

    def finish(self, writer: JournalWriter) -> None:
        """Journal to MP4 in the spool, with sidecar, checksum and syncs."""
        self.finisher.finish(writer.path)

    def read(self, writer: JournalWriter) -> None:
        """Read and verify the journal, and no more."""
        with read_journal(writer.path) as journal:
            for _ in journal:
                pass

    def mp4(self) -> None:
        """Packets in memory to MP4, with checksum."""
        write_mp4(self.packets, self.folder / "clip.mp4", self.header)

    def checksum(self) -> None:
        """SHA-256 of the file."""
        sha256(self.source.read_bytes())

    def floor(self) -> None:
        """A bare remux of an MP4."""
        options = {"movflags": "faststart"}
        with av.open(str(self.source)) as source, av.open(str(self.folder / "f.mp4"), "w", options=options) as target:
            track = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = track
                    target.mux_one(packet)

    def clear(self) -> None:
        """Empty the spool."""
        for kept in self.spool.items():
            self.spool.mark_stored(kept.name)


def spent_ms(work: Callable[[], object]) -> float:
    """Milliseconds of CPU that the work takes."""
    before_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - before_ns) / 1e6


def one_round(bench: Bench) -> dict[str, float]:
    """Milliseconds of CPU of each step, in the order of the report."""
    written: list[JournalWriter] = []
    spent = {JOURNAL: spent_ms(lambda: written.append(bench.journal()))}
    read = spent_ms(lambda: bench.read(written[0]))
    spent[CLIP] = spent_ms(lambda: bench.finish(written[0]))
    spent["  of that: journal read and verified"] = read
    spent["  of that: packets to MP4 with checksum"] = spent_ms(bench.mp4)
    spent["    of that: the checksum"] = spent_ms(bench.checksum)
    spent[FLOOR] = spent_ms(bench.floor)
    bench.clear()
    return spent


def measure(bench: Bench, rounds: int) -> dict[str, float]:
    """Median milliseconds of CPU of each step."""
    one_round(bench)
    all_rounds = [one_round(bench) for _ in range(rounds)]
    return {name: statistics.median(spent[name] for spent in all_rounds) for name in all_rounds[0]}


def main() -> int:
    """Print a table."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    seconds = 3 if options.quick else 30
    packets = h264_packets(seconds * FPS, width=WIDTH, height=HEIGHT, gop=2 * FPS, fps=FPS, bitrate=BITRATE)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), packets)
        figures = measure(bench, 1 if options.quick else options.rounds)
        bench.spool.close()
    size = sum(len(packet.data) for packet in packets)
    report = Report(f"Clip of {seconds} s: {len(packets)} packets, {size / 1e6:.1f} MB", libraries=("av", "msgspec"))
    report.table(("step", "CPU ms"), [(name, f"{spent:.1f}") for name, spent in figures.items()])
    floor = f"{FLOOR}: {figures[FLOOR]:.1f} ms"
    report.judge("CPU of a 30 s clip, journal to MP4 in the spool", figures[CLIP], BUDGET_MS, unit="ms", beside=floor)
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
