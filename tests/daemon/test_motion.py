"""The whole daemon before a scene whose pictures are numbered: what was recorded is read from the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, running
from tests.support.picture_numbers import numbers_in_clip

pytestmark = pytest.mark.needs_av

FRAMERATE = 10
SCENE = ("--resolution", "320x240", "--framerate", str(FRAMERATE), "--encoding-bitrate", "400000")


def numbers_of(daemon: DaemonProcess, index: int = 0) -> list[int]:
    """The picture numbers of a clip; every one must be readable."""
    return [number for _, number in numbered(daemon, index)]


def numbered(daemon: DaemonProcess, index: int = 0) -> list[tuple[int, int]]:
    """(µs, number) of every picture of a clip."""
    found = []
    for timestamp_us, number in numbers_in_clip(daemon.clips()[index]["path"]):
        assert number is not None
        found.append((timestamp_us, number))
    return found


def test_motion_becomes_one_clip_with_every_picture_from_the_pre_roll_to_the_post_roll(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, "synthetic:?script=quiet:6,walk:4,quiet:9&loop=0&speed=4", *SCENE, "--buffer", "3", "--post-roll", "3"
    )
    with running(daemon):
        assert daemon.wait(60) == 0
    assert len(daemon.clips()) == 1
    numbers = numbers_of(daemon)
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "no picture is lost or doubled"
    motion_begins, motion_ends = 6 * FRAMERATE, 10 * FRAMERATE
    # The walker enters the picture little by little, hence the second of slack behind the seam.
    assert motion_begins - 3 * FRAMERATE - 2 * FRAMERATE <= numbers[0] <= motion_begins - 2 * FRAMERATE
    assert motion_ends + 2 * FRAMERATE <= numbers[-1] <= motion_ends + 5.5 * FRAMERATE


def test_timestamps_in_the_clip_are_those_of_the_camera(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, "synthetic:?script=quiet:5,walk:3,quiet:5&loop=0&speed=4", *SCENE, "--buffer", "2", "--post-roll", "1"
    )
    with running(daemon):
        assert daemon.wait(60) == 0
    found = numbered(daemon)
    first_us, first_number = found[0]
    for timestamp_us, number in found:
        assert timestamp_us - first_us == (number - first_number) * 1_000_000 // FRAMERATE


def test_a_long_event_is_cut_into_parts_without_a_gap(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, "synthetic:?script=quiet:4,walk:26,quiet:4&loop=0&speed=5", *SCENE, "--buffer", "1"
    )
    daemon.configure_output.write_text(json.dumps({"state": {"desired": {"motion": {"max_duration": 10}}}}))
    with running(daemon):
        assert daemon.wait(60) == 0
    clips = daemon.clips()
    assert len(clips) >= 3
    assert len({clip["event_id"] for clip in clips}) == 1
    assert [clip.get("part", 1) for clip in clips] == list(range(1, len(clips) + 1))
    joined = [number for index in range(len(clips)) for number in numbers_of(daemon, index)]
    assert joined == list(range(joined[0], joined[-1] + 1))
    assert all(clip["duration_s"] <= 10.1 for clip in clips)


def test_two_events_share_no_picture(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path,
        "synthetic:?script=quiet:5,walk:2,quiet:5,walk:2,quiet:5&loop=0&speed=4",
        *SCENE,
        "--buffer",
        "10",
        "--post-roll",
        "1",
    )
    with running(daemon):
        assert daemon.wait(60) == 0
    assert len(daemon.clips()) == 2
    first, second = numbers_of(daemon, 0), numbers_of(daemon, 1)
    assert second[0] == first[-1] + 1, "the pre-roll begins where the clip before ended"


def test_sigterm_closes_the_open_clip(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3,walk:60&speed=3", *SCENE)
    with running(daemon):
        daemon.wait_log("Motion began")
        assert daemon.stop() == 0
    assert len(daemon.clips()) == 1
    assert "recovered" not in daemon.clips()[0]
    numbers = numbers_of(daemon)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_a_thumbnail_stands_beside_the_clip_under_the_same_moment(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, "synthetic:?script=quiet:3,walk:2,quiet:3&loop=0&speed=4", *SCENE, "--post-roll", "1"
    )
    with running(daemon):
        assert daemon.wait(60) == 0
    kinds = {item["kind"]: item for item in daemon.sidecars()}
    assert set(kinds) == {"clip", "thumbnail"}
    assert kinds["clip"]["start"] == kinds["thumbnail"]["start"]
    assert kinds["thumbnail"]["path"].read_bytes()[:2] == b"\xff\xd8"
