#!/usr/bin/env python3
"""Beside others who watch for motion, on the same real clip: CPU, memory, and what each makes of the people in it.

    python benchmarks/peers.py [--quick] [--clip FILE --truth 60-203,227-452]

Motion (Debian's package) and the daemon watch the clip as an H.264 camera of 640x480 over RTSP, both at once, each
recording without re-encoding; DVR-Scan, which reads files, scans it afterwards and writes nothing, which is in its
favour. All are told to end an event after two seconds without motion, which is DVR-Scan's default; with those of the
others the passages of this clip could not be told apart. All else is as it comes. Without `--clip` it is the judging
clip beside the checkout if that is there, else our own footage.

found: passages that an event covers. merged: passages that an event runs on into. false: events where nobody is.
alerts: all events.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.bitstream import BitStreamFilterContext

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.event_file import motion_starts
from benchmarks.measured_processes import all_running
from benchmarks.measuring import ROOT, Report, arguments, cpu_s, machine, memory_of, run_to_end
from pinthesky.device.ports import Packet
from tests.support.daemon_process import DaemonProcess
from tests.support.rtsp_server import RtspServer
from tools.prepare import OTHERS, make_peers

WIDTH, HEIGHT, FPS = 640, 480, 10
JUDGING_CLIP = ROOT.parent / "shared" / "motion" / "clips" / "intel_one_by_one_person.mp4"
JUDGING_TRUTH = "60-203,227-452,502-704,745-873,921-1206,1234-1366"
JUDGING_END = 1388
"""From here on the camera itself is nudged."""
OWN_CLIP = ROOT / "tests" / "footage" / "people.mp4"
SAME_PASSAGE_FRAMES = 20
QUIET_ENDS_EVENT_S = 2
"""DVR-Scan's own default; Motion's is 60 and the daemon's 5."""
DVR_SCAN = OTHERS / "peers" / "bin" / "dvr-scan"

Span = tuple[float, float]


class Clip(NamedTuple):
    """A clip at FPS with who moves in it when, in seconds."""

    name: str
    path: Path
    packets: list[Packet]
    passages: list[Span]

    @property
    def duration_s(self) -> float:
        """Of the whole clip."""
        return len(self.packets) / FPS


class Verdict(NamedTuple):
    """What a program used, and the spans of its events."""

    name: str
    cpu_s: float
    peak_mb: float
    events: list[Span]


class TimedServer(RtspServer):
    """Remembers when it last began to play (CLOCK_BOOTTIME): who watches may connect once more than needed."""

    began_s = 0.0

    def _play(self, connection: Any, writing: threading.Lock) -> None:
        self.began_s = now_s()
        super()._play(connection, writing)

    def wait_for_viewer(self, timeout_s: float = 20.0) -> None:
        """Wait until somebody has been watching for four seconds."""
        deadline_s = now_s() + timeout_s
        while not self.began_s or now_s() - self.began_s < 4.0:
            if now_s() > deadline_s:
                raise RuntimeError("nobody came to watch")
            time.sleep(0.05)


def now_s() -> float:
    """Seconds of CLOCK_BOOTTIME, which /proc/uptime and the daemon's sidecars count too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def prepare(source: Path, truth: str, folder: Path, *, last_frame: int) -> Clip:
    """Encode the clip as a camera would: no B-frames, a keyframe every second."""
    path = folder / "clip.mp4"
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = made.add_stream(
            "libx264",
            rate=FPS,
            options={"preset": "veryfast", "g": str(FPS), "sc_threshold": "0", "bf": "0", "crf": "23"},
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, frame in enumerate(given.decode(video=0)):
            if number > last_frame:
                break
            picture = frame.reformat(WIDTH, HEIGHT, "yuv420p")
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, FPS), 0
            made.mux(stream.encode(picture))
        made.mux(stream.encode(None))
    ranges = [tuple(map(int, part.split("-"))) for part in truth.split(",")]
    passages = [(first / FPS, (last + 1) / FPS) for first, last in ranges if first <= last_frame]
    return Clip(source.name, path, _packets_of(path), passages)


def _packets_of(path: Path) -> list[Packet]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        units = [
            (bytes(unit), given.is_keyframe)
            for given in container.demux(stream)
            if given.size
            for unit in to_annex_b.filter(given)
        ]
    return [Packet(data, number * 1_000_000 // FPS, is_keyframe) for number, (data, is_keyframe) in enumerate(units)]


def watch_with_daemon(clip: Clip, folder: Path) -> Verdict:
    """The daemon, with its defaults but for the post-roll."""
    with TimedServer(clip.packets) as server:
        daemon = DaemonProcess(folder, server.url, "--post-roll", str(QUIET_ENDS_EVENT_S))
        with all_running([daemon]):
            server.wait_for_viewer()
            left_s = server.began_s + clip.duration_s - now_s()
            ahead_s = now_s() - time.monotonic()
            seen = motion_starts([daemon], left_s)
            spent_s, memory = cpu_s(daemon.pid), memory_of(daemon.pid)
        events = []
        for sighting in seen:
            parts = [item for item in daemon.clips() if item["event_id"] == sighting.event_id]
            ended_s = max(item["start"]["monotonic_s"] + item["duration_s"] for item in parts)
            begun_s = sighting.seen_ns / 1e9 + ahead_s
            events.append((begun_s - server.began_s, ended_s - server.began_s - QUIET_ENDS_EVENT_S))
    return Verdict("pinthesky", spent_s, memory.peak, events)


MOTION_SETTINGS = """\
daemon off
setup_mode off
log_level 4
target_dir {folder}/clips
netcam_url {url}
netcam_params analyzeduration=300000,probesize=20000
width {width}
height {height}
framerate {fps}
threshold 1500
event_gap {gap}
pre_capture 3
post_capture 0
movie_output on
movie_passthrough on
movie_codec mp4
picture_output off
webcontrol_port 0
stream_port 0
on_event_start cat /proc/uptime >> {folder}/begun
on_event_end cat /proc/uptime >> {folder}/ended
"""


def watch_with_motion(clip: Clip, folder: Path) -> Verdict:
    """Motion, with the settings that Debian ships but for passing through, one camera of this size, and the gap.

    Left to itself it looks at a stream for three seconds first and stays that far behind; its parameters end that.
    """
    folder.mkdir()
    settings = folder / "motion.conf"
    with TimedServer(clip.packets) as server:
        settings.write_text(
            MOTION_SETTINGS.format(
                folder=folder, url=server.url, width=WIDTH, height=HEIGHT, fps=FPS,
                gap=QUIET_ENDS_EVENT_S,
            ),
            encoding="utf-8",
        )  # fmt: skip
        child = subprocess.Popen(
            ["motion", "-n", "-c", str(settings), "-l", str(folder / "log")], stderr=subprocess.DEVNULL
        )
        try:
            server.wait_for_viewer()
            time.sleep(max(0.0, server.began_s + clip.duration_s - now_s()))
            spent_s, memory = cpu_s(child.pid), memory_of(child.pid)
        finally:
            child.terminate()
            child.wait(30)
        begun = _stamps(folder / "begun")
        ended = [*_stamps(folder / "ended"), *[server.began_s + clip.duration_s] * len(begun)][: len(begun)]
    events = [
        (begun_s - server.began_s, ended_s - server.began_s - QUIET_ENDS_EVENT_S)
        for begun_s, ended_s in zip(begun, ended, strict=True)
    ]
    return Verdict(f"Motion {motion_version()}", spent_s, memory.peak, events)


def _stamps(path: Path) -> list[float]:
    if not path.exists():
        return []
    return [float(line.split()[0]) for line in path.read_text(encoding="utf-8").splitlines()]


def scan_with_dvr_scan(clip: Clip, folder: Path) -> Verdict:
    """DVR-Scan, which reads the file as fast as it can."""
    folder.mkdir()
    listing = folder / "events"
    quiet_s = f"{QUIET_ENDS_EVENT_S}s"
    command: list[str | Path] = [
        DVR_SCAN,
        "-i",
        clip.path,
        "--scan-only",
        "-tb",
        "0s",
        "-tp",
        quiet_s,
        "--ignore-user-config",
        "-q",
    ]
    with listing.open("w", encoding="utf-8") as output:
        usage = run_to_end(command, cwd=folder, output=output)
    if usage.exit_code != 0:
        raise RuntimeError(f"dvr-scan ended with {usage.exit_code}")
    times = [
        int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        for hours, minutes, seconds in re.findall(r"(\d+):(\d+):([\d.]+)", listing.read_text(encoding="utf-8"))
    ]
    events = [(begun, ended - QUIET_ENDS_EVENT_S) for begun, ended in zip(times[::2], times[1::2], strict=True)]
    ask = "import importlib.metadata as m; print(m.version('dvr-scan'))"
    asked = subprocess.run([DVR_SCAN.with_name("python"), "-c", ask], capture_output=True, text=True, check=True)
    return Verdict(f"DVR-Scan {asked.stdout.strip()}", usage.cpu_s, usage.peak_mb, events)


def motion_version() -> str:
    """What Motion says it is; it leaves with 1 after its help."""
    shown = subprocess.run(["motion", "-h"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Version ([\d.]+)", shown)
    return found[1] if found else "of unknown version"


class Score(NamedTuple):
    """Passages found, joints of passages within one event, and events where nobody was."""

    found: int
    merged: int
    false: int


def score(passages: Sequence[Span], events: Sequence[Span], *, early_s: float = 0.5, late_s: float = 1.5) -> Score:
    """Compare events with the truth; as much before or after a passage as said is still the passage's."""
    found = sum(any(event[0] <= end and event[1] >= begin - early_s for event in events) for begin, end in passages)
    shared = [sum(event[0] <= end and event[1] >= begin for begin, end in passages) for event in events]
    merged = sum(max(0, number - 1) for number in shared)
    false = sum(
        all(event[0] > end + late_s or event[1] < begin - early_s for begin, end in passages) for event in events
    )
    return Score(found, merged, false)


def row(verdict: Verdict, clip: Clip) -> list[str]:
    """A line of the table."""
    result = score(clip.passages, verdict.events)
    return [
        verdict.name,
        f"{verdict.cpu_s / clip.duration_s * 60:.2f}",
        f"{verdict.peak_mb:.0f}",
        f"{result.found}/{len(clip.passages)}",
        *(str(number) for number in (result.merged, result.false, len(verdict.events))),
    ]


def compare(report: Report, clip: Clip, folder: Path) -> None:
    """Run all, and write down what they did."""
    with ThreadPoolExecutor(2) as pool:
        live = [
            pool.submit(watch_with_daemon, clip, folder / "pinthesky"),
            pool.submit(watch_with_motion, clip, folder / "motion"),
        ]
        verdicts = [future.result() for future in live]
    verdicts.append(scan_with_dvr_scan(clip, folder / "dvr-scan"))
    report.table(
        ["", "CPU s per minute of video", "peak MB", "found", "merged", "false", "alerts"],
        [row(verdict, clip) for verdict in verdicts],
    )
    report.note(
        f"{clip.name}: {clip.duration_s:.0f} s at {FPS} fps, {WIDTH}x{HEIGHT}, H.264"
        f" {sum(len(packet.data) for packet in clip.packets) * 8 / clip.duration_s / 1e6:.2f} Mb/s,"
        f" {len(clip.passages)} passages. CPU of each whole process from its start, decoding included.\n"
        "pinthesky keeps 15 s of pre-roll, Motion 3 pictures (as shipped; its guide advises at most 5), DVR-Scan writes"
        " nothing here.\n"
        + "\n".join(
            f"{verdict.name}: events at "
            + (", ".join(f"{a:.1f}–{b:.1f}" for a, b in verdict.events) or "no time")
            + " s"
            for verdict in verdicts
        )
    )
    for verdict in verdicts:
        cells = row(verdict, clip)
        report.headline(
            f"{verdict.name} on {clip.name}",
            f"{cells[1]} CPU s per minute, {cells[2]} MB",
            f"{cells[3]} passages found, {cells[4]} merged, {cells[5]} false, {cells[6]} alerts",
        )


def truth_of_own_footage() -> str:
    """Passages of our own footage; what lies close together is one."""
    moving = json.loads(OWN_CLIP.with_suffix(".json").read_text(encoding="utf-8"))["moving"]
    joined = [list(moving[0])]
    for first, last in moving[1:]:
        if first - joined[-1][1] <= SAME_PASSAGE_FRAMES:
            joined[-1][1] = last
        else:
            joined.append([first, last])
    return ",".join(f"{first}-{last}" for first, last in joined)


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--truth", help="passages as ranges of frames, 60-203,227-452")
    options = parser.parse_args()
    if shutil.which("motion") is None:
        print("motion is missing: sudo apt-get install motion", file=sys.stderr)
        return 1
    if not DVR_SCAN.exists():
        make_peers()
    source, truth, last_frame = options.clip, options.truth, 10**9
    if source is None and JUDGING_CLIP.exists() and not options.quick:
        source, truth, last_frame = JUDGING_CLIP, JUDGING_TRUTH, JUDGING_END
    elif source is None:
        source, truth = OWN_CLIP, truth_of_own_footage()
    report = Report("Beside others on the same clip", libraries=("av", "numpy"), machine=machine())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pinthesky-bench-")))
        clip = prepare(source, truth, folder, last_frame=min(last_frame, 150) if options.quick else last_frame)
        compare(report, clip, folder)
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
