"""The whole daemon by a clock that is wrong, becomes right, or jumps: recording never waits, and times come out right.

The daemon runs in this process, with its own threads, by a clock that the test bends.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinthesky.device import daemon as daemon_module
from pinthesky.device import flags
from pinthesky.device.daemon import Daemon
from pinthesky.device.timekeeping import SystemClock
from tests.support.aws_fixtures import LogsAtMoto, moto_client
from tests.support.aws_servers import REGION, FaultyS3, S3Fault
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.picture_numbers import numbers_in_clip

pytestmark = pytest.mark.needs_av

SCENE = ("--resolution", "160x120", "--framerate", "10", "--encoding-bitrate", "150000", "--rotation", "0")
SHORT = ("--buffer", "1", "--post-roll", "1")
HOUR_S = 3600.0
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": REGION}


class BentClock(SystemClock):
    """A machine that was switched on a moment ago; its wall clock is `ahead_s` wrong, and a time source may know."""

    def __init__(self, boot_id: str = "a-boot-of-the-test") -> None:
        super().__init__()
        self.boot_id = boot_id
        self.ahead_s = 0.0
        self.is_synchronised = True
        self._switched_on_s = super().monotonic() - 10.0

    def monotonic(self) -> float:
        return super().monotonic() - self._switched_on_s

    def wall(self) -> float:
        return time.time() + self.ahead_s

    def synchronised(self) -> bool:
        return self.is_synchronised


class House:
    """A daemon of this process and its folders."""

    def __init__(self, folder: Path, clock: BentClock) -> None:
        self.clock = clock
        self.state = folder / "state"
        self.state.mkdir()
        self.spool = self.state / "spool"
        self.daemon: Daemon | None = None

    def start(self, camera: str, *arguments: str) -> None:
        """Start the daemon."""
        options = flags.parse(
            [
                *("--camera", camera, "--thing-name", "garden", "--state-dir", str(self.state)),
                *("--spool-min-free", "0", *SCENE, *SHORT, *arguments),
            ],
            {"AWS_DEFAULT_REGION": REGION},
        )
        self.daemon = Daemon(options, clock=self.clock)
        assert self.daemon.start()

    def stop(self) -> None:
        """Stop it in order."""
        if self.daemon is not None:
            daemon, self.daemon = self.daemon, None
            daemon.stop()
            assert daemon.late == []
            assert daemon.exit_code == 0

    def sidecars(self) -> list[dict[str, Any]]:
        """The items in the spool."""
        return [json.loads(path.read_bytes()) for path in sorted((self.spool / "ready").glob("*.json"))]

    def clips(self) -> list[dict[str, Any]]:
        """The clips among them, in order of the monotonic clock."""
        clips = [item for item in self.sidecars() if item["kind"] == "clip"]
        return sorted(clips, key=lambda clip: clip["start"]["monotonic_s"])

    def numbers(self, clip: dict[str, Any]) -> list[int]:
        """The numbers in a clip's pictures that can be read."""
        path = self.spool / "ready" / f"{clip['event_id']}-{clip.get('part', 1):04d}-clip.mp4"
        return [number for _, number in numbers_in_clip(path) if number is not None]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house whose daemon is stopped after the test, with the logging as it was before."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    made = House(tmp_path, BentClock())
    yield made
    try:
        made.stop()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def keys_in(port: int, bucket: str) -> list[str]:
    found = moto_client(port, "s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return [entry["Key"] for entry in found]


def test_without_the_right_time_clips_wait_and_get_their_right_names_when_it_is_known(
    house: House, s3: FaultyS3, moto_port: int, bucket: str
) -> None:
    # The clock goes on from where it was before the power cut: the last right time seen is later.
    (house.state / "time.json").write_text(json.dumps({"seen_s": time.time(), "boots": []}))
    house.clock.is_synchronised = False
    house.clock.ahead_s = -5 * HOUR_S
    began_s = time.time()
    house.start("synthetic:?script=walk:2,quiet:5&speed=4", "--s3-endpoint", s3.url, "--bucket-name", bucket)
    eventually(lambda: len(house.clips()) >= 2, "recording does not wait for the clock")
    held = house.sidecars()
    assert all(item["start"].get("wall_s") is None for item in held)
    assert s3.puts == [], "what has no time stays"
    house.clock.ahead_s = 0.0
    house.clock.is_synchronised = True
    eventually(lambda: len([k for k in keys_in(moto_port, bucket) if k.endswith(".mp4")]) >= 2, "they leave", 30)
    house.stop()
    keys = keys_in(moto_port, bucket)
    assert {item["event_id"] for item in held} <= {key.partition("-")[2][:32] for key in keys}
    starts = [int(key.rpartition("/")[2].partition("-")[0]) for key in keys]
    assert all(began_s - 15 <= start <= time.time() + 1 for start in starts), "each at the time it was recorded"


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_a_jump_of_the_clock_in_the_middle_of_a_clip_disorders_and_loses_nothing(house: House, jump_s: float) -> None:
    (house.state.parent / "shadow.json").write_text('{"state":{"desired":{"motion":{"max_duration":10}}}}')
    house.start(
        "synthetic:?script=walk:4,walk:4,walk:4,walk:4,walk:4,quiet:8,walk:4,quiet:3600&speed=4",
        *("--post-roll", "3", "--configure-output", str(house.state.parent / "shadow.json")),
    )
    began_s = time.time()
    eventually(lambda: list((house.spool / "journal").iterdir()), "a clip is open")
    house.clock.ahead_s = jump_s
    eventually(lambda: len({clip["event_id"] for clip in house.clips()}) >= 2, "the event after the jump", 40)
    house.stop()
    clips = house.clips()
    events = list(dict.fromkeys(clip["event_id"] for clip in clips))
    parts = [clip for clip in clips if clip["event_id"] == events[0]]
    assert len(parts) >= 2
    assert [clip.get("part", 1) for clip in parts] == list(range(1, len(parts) + 1))
    first, after = (next(clip["start"] for clip in clips if clip["event_id"] == event) for event in events[:2])
    assert abs(first["wall_s"] - began_s) < 30, "the clip that was open keeps the clock by which it began"
    for clip in parts:
        passed_s = clip["start"]["monotonic_s"] - first["monotonic_s"]
        assert clip["start"]["wall_s"] - first["wall_s"] == pytest.approx(passed_s, abs=0.01)
    passed_s = after["monotonic_s"] - first["monotonic_s"]
    assert after["wall_s"] - first["wall_s"] == pytest.approx(passed_s + jump_s, abs=1.0)
    joined = [number for clip in parts for number in house.numbers(clip)]
    assert joined == list(range(joined[0], joined[0] + len(joined))), "no picture is lost or doubled"


def test_a_clip_of_an_hour_that_comes_twice_replaces_nothing(
    house: House, s3: FaultyS3, moto_port: int, bucket: str
) -> None:
    house.start("synthetic:?script=walk:2,quiet:5&speed=4", "--s3-endpoint", s3.url, "--bucket-name", bucket)

    def stored() -> list[str]:
        return [key for key in keys_in(moto_port, bucket) if key.endswith(".mp4")]

    eventually(stored, "the first clip")
    house.clock.ahead_s = -HOUR_S
    before = len(stored())
    eventually(lambda: len(stored()) >= before + 2, "clips of the hour that comes again", 30)
    house.stop()
    put = [path for path, _ in s3.puts if path.endswith(".mp4")]
    assert len(put) == len(set(put)) == len(stored())
    starts = sorted(int(key.rpartition("/")[2].partition("-")[0]) for key in stored())
    assert starts[-1] - starts[0] > HOUR_S - 60


def test_a_store_that_finds_the_time_skewed_names_the_clock(tmp_path: Path, s3: FaultyS3, bucket: str) -> None:
    s3.standing_fault, s3.clock_ahead_s = S3Fault.SKEWED, HOUR_S
    daemon = DaemonProcess(
        tmp_path,
        "synthetic:?script=walk:2,quiet:5&speed=4",
        *SCENE,
        *SHORT,
        *("--s3-endpoint", s3.url, "--bucket-name", bucket),
        environment=KEYS,
    )
    with running(daemon):
        said = daemon.wait_log("Cannot upload .*RequestTimeTooSkewed.*clock.*")[0].group()
        assert daemon.stop() == 0
    assert "behind" in said, said
    assert daemon.clips()


def test_logs_arrive_in_the_stream_of_the_day_and_the_thing(
    house: House, moto_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_moto = LogsAtMoto(moto_port)
    monkeypatch.setattr(daemon_module, "session_for", lambda *_, **__: at_moto)
    group = f"/pits/{house.state.parent.name}"
    house.start(
        "synthetic:?script=walk:2,quiet:3600&speed=4",
        *("--cloudwatch", "--cloudwatch-log-group", group, "--cloudwatch-event-type", "all"),
    )
    eventually(house.clips, "a clip")
    day = time.strftime("%Y/%m/%d", time.gmtime())
    house.stop()
    logs = moto_client(moto_port, "logs")
    streams = {stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]}
    assert f"{day}@garden" in streams | {f"{time.strftime('%Y/%m/%d', time.gmtime())}@garden"}
    lines = [
        event["message"]
        for stream in streams
        for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    ]
    assert any("Motion began" in line for line in lines)
    metrics = [json.loads(line) for line in lines if line.startswith("{")]
    assert any(metric.get("Event") == "motion_start" for metric in metrics)
