"""What `tools.camera_measurement` has measured, as a page that can be pasted into an issue, and what is wrong in it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from pinthesky.device.cameras import annex_b
from pinthesky.device.pi_model import pi_model
from pinthesky.device.ports import CameraDescription
from pinthesky.model.settings import CameraSettings
from pinthesky.version import __version__
from tools.camera_measurement import FORCED_FRAMES_MAX, OPEN_PATIENCE_S, Measured, Recorder, SecondStream, Seen, read
from tools.sequence_parameters import sequence_parameters

GAP_FRAMES = 1.5
"""A longer distance between two pictures means that one is missing."""
DROPPED_SHARE_MAX = 0.01
_US = 1_000_000
_MEMORY = (("VmRSS", "resident"), ("VmHWM", "at most"))


def concerns(found: Measured) -> list[str]:
    """What was not as it should be, in words."""
    recorder, packets = found.recorder, found.recorder.packets
    if not packets:
        return [recorder.ended or f"no picture came within {OPEN_PATIENCE_S:.0f} s"]
    said = [] if recorder.ended is None else [recorder.ended]
    dropped = len(_gaps_us(found))
    if dropped > DROPPED_SHARE_MAX * len(packets):
        said.append(f"{dropped} pictures are missing")
    if abs(_rate(packets) / found.description.framerate - 1) > 0.05:
        said.append(f"{_rate(packets):.2f} pictures a second came in place of {found.description.framerate:g}")
    if not packets[0].is_keyframe:
        said.append("the first packet is no keyframe")
    if any(packet.is_keyframe and not packet.stands_alone for packet in packets):
        said.append("there are keyframes without parameter sets")
    if min(_distances_us(packets), default=1) <= 0:
        said.append("timestamps do not always rise")
    if found.still_failures:
        said.append(f"{len(found.still_failures)} stills failed: {found.still_failures[0]}")
    missing = found.forced_asked - found.forced_refused - len(found.forced_s)
    if missing:
        said.append(f"{missing} keyframes were promised and did not come within {FORCED_FRAMES_MAX} pictures")
    said += _concerns_of_second(found.second)
    if found.description.luma_size is not None and recorder.luma_shape is None:
        said.append("no luma frame came")
    if not found.closed:
        said.append("the camera does not close")
    return said


def _concerns_of_second(second: SecondStream | None) -> list[str]:
    if second is None:
        return []
    if second.failure is not None:
        return [f"the second stream failed: {second.failure}"]
    came = second.seen and second.seen[0].stands_alone
    return [] if came else ["the second stream did not come, or not from a keyframe on"]


def report(found: Measured) -> str:
    """The report, in Markdown."""
    description, recorder = found.description, found.recorder
    lines = [
        "## camera-check",
        "",
        f"- pinthesky {__version__}, {_versions()}, Python {platform.python_version()}",
        f"- {pi_model() or 'no Raspberry Pi'}, {_os_name()}, kernel {platform.release()} {platform.machine()}",
        f"- camera: {description.model}" + "".join(f", {name} {text}" for name, text in description.extra.items()),
        f"- asked for: {_wish(found.settings)}",
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| {what} | {text} |" for what, text in _rows(found)),
        "",
    ]
    said = concerns(found)
    lines += ["Not as it should be:", "", *(f"- {line}" for line in said)] if said else ["All as it should be."]
    return "\n".join(lines).replace(str(Path.home()), "~") + ("\n" if recorder.packets else "\nNothing to measure.\n")


def _rows(found: Measured) -> list[tuple[str, str]]:
    description, recorder, packets = found.description, found.recorder, found.recorder.packets
    rows = [
        ("picture", _given(description)),
        ("opening", f"{_ms(found.open_s)}, first picture {_ms(found.first_packet_s)} later"),
    ]
    if packets:
        rows += _stream_rows(found)
    asked = found.forced_asked - found.forced_refused
    forced = "not possible" if not asked else f"{len(found.forced_s)} of {asked} came, {_spread(found.forced_s)}"
    rows += [
        ("keyframes on demand", forced),
        ("stills", f"{_spread(found.still_s)}, {_spread_kb(found.still_bytes)}, {len(found.still_failures)} failed"),
        ("luma frames", _luma(recorder)),
        ("second stream", _second(found)),
        ("CPU", f"{found.cpu_quiet:.1f} % of a core left alone, {found.cpu_all:.1f} % in all"),
        ("memory", _memory()),
        (
            "temperature",
            " to ".join("unknown" if degrees is None else f"{degrees:g} °C" for degrees in found.degrees),
        ),
        ("throttled", read("sys/devices/platform/soc/soc:firmware/get_throttled") or "unknown"),
        ("closing", f"{_ms(found.close_s)}" if found.closed else "hangs"),
    ]
    return rows


def _wish(asked: CameraSettings) -> str:
    encoding = f"{asked.encoding_bitrate / _US:g} Mb/s, {asked.encoding_profile} {asked.encoding_level}"
    return f"{asked.resolution} at {asked.framerate}, {encoding}, rotation {asked.rotation}"


def _given(description: CameraDescription) -> str:
    masks = "burned in" if description.can_mask else "not possible"
    size = f"{description.width}x{description.height} at {description.framerate:g}"
    return f"{size}, left to turn {description.rotation_left}, masks {masks}"


def _stream_rows(found: Measured) -> list[tuple[str, str]]:
    packets = found.recorder.packets
    span_s = max(1e-6, (packets[-1].timestamp_us - packets[0].timestamp_us) / _US)
    gaps = _gaps_us(found)
    longest_ms = max(_distances_us(packets), default=0) / 1000
    late_s = [packet.arrived_s - packet.timestamp_us / _US for packet in packets]
    bits, largest = 8 * sum(packet.size for packet in packets), max(packet.size for packet in packets)
    keyframes = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    distances = _differences(keyframes)
    alone = sum(packet.stands_alone for packet in packets)
    return [
        ("pictures", f"{len(packets)} in {span_s:.1f} s: {_rate(packets):.2f} a second"),
        (
            "missing",
            f"{len(gaps)} gaps of more than {GAP_FRAMES} pictures, the longest distance {longest_ms:.1f} ms",
        ),
        ("delivery", f"up to {1000 * (max(late_s) - min(late_s)):.0f} ms later than the quickest"),
        (
            "keyframes",
            f"{len(keyframes)}, {alone} with parameter sets, "
            + (
                f"{statistics.median(distances):g} pictures apart ({min(distances)} to {max(distances)})"
                if distances
                else ""
            ),
        ),
        ("bits", f"{bits / span_s / _US:.2f} Mb/s, the largest picture {largest / 1000:.0f} kB"),
        ("parameter set", _parameter_set(found.recorder.first_keyframe)),
    ]


def _parameter_set(unit: bytes) -> str:
    sets = [nal for nal in annex_b.split(unit) if nal[0] & 31 == 7]
    if not sets:
        return "none"
    try:
        found = sequence_parameters(sets[0])
    except ValueError as error:
        return f"cannot be read ({error}): {sets[0].hex()}"
    restriction = (
        f"yes, reorders {found.reorder_frames}, buffers {found.decoded_picture_buffering}"
        if found.bitstream_restriction
        else "no"
    )
    rate = "not said" if found.framerate is None else f"{found.framerate:g}"
    return (
        f"{found.profile}, level {found.level} ({found.codec}), {found.width}x{found.height}, rate {rate}, "
        f"{found.reference_frames} references, bitstream_restriction {restriction}"
    )


def _gaps_us(found: Measured) -> list[int]:
    most_us = GAP_FRAMES * _US / found.description.framerate
    return [distance for distance in _distances_us(found.recorder.packets) if distance > most_us]


def _distances_us(packets: Sequence[Seen]) -> list[int]:
    return _differences([packet.timestamp_us for packet in packets])


def _differences(values: Sequence[int]) -> list[int]:
    return [values[index + 1] - values[index] for index in range(len(values) - 1)]


def _rate(packets: Sequence[Seen]) -> float:
    span_us = packets[-1].timestamp_us - packets[0].timestamp_us
    return (len(packets) - 1) * _US / span_us if span_us else 0.0


def _luma(recorder: Recorder) -> str:
    if recorder.luma_shape is None:
        return "none"
    (height, width), (stride, step) = recorder.luma_shape
    times = recorder.luma_us
    rate = (len(times) - 1) * _US / (times[-1] - times[0]) if len(times) > 1 else 0.0
    return f"{width}x{height}, stride {stride}, step {step}, {rate:.1f} a second"


def _second(found: Measured) -> str:
    second, size = found.second, found.description.substream_size
    if second is None or size is None:
        return "none"
    if not second.seen:
        return "did not come"
    span_s = max(1e-6, (second.seen[-1].timestamp_us - second.seen[0].timestamp_us) / _US)
    bits = 8 * sum(packet.size for packet in second.seen)
    return (
        f"{size[0]}x{size[1]}, first packet {_ms(second.first_s)} after it was asked for, "
        f"{_rate(second.seen):.2f} a second, {bits / span_s / _US:.2f} Mb/s"
    )


def _ms(seconds: float | None) -> str:
    return "never" if seconds is None else f"{1000 * seconds:.0f} ms"


def _spread(seconds: Sequence[float]) -> str:
    return f"{len(seconds)}: {_ms(statistics.median(seconds))}, at most {_ms(max(seconds))}" if seconds else "none"


def _spread_kb(sizes: Sequence[int]) -> str:
    return f"{min(sizes) / 1000:.0f} to {max(sizes) / 1000:.0f} kB" if sizes else "no bytes"


def _memory() -> str:
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", read("proc/self/status") or "", re.MULTILINE))
    return ", ".join(f"{int(found[name]) / 1000:.0f} MB {text}" for name, text in _MEMORY if name in found) or "unknown"


def _os_name() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', read("etc/os-release") or "", re.MULTILINE)
    return found.group(1) if found else "unknown system"


def _versions() -> str:
    found = []
    for name in ("picamera2", "picamera", "av", "numpy"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
