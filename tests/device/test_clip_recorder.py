"""From packets and decisions to journals: pre-roll, seams, parts, ends, and a disk that refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinthesky.device.clip_journal import ClipHeader, JournalWriter, read_journal
from pinthesky.device.clip_parts import PART_BYTES_MAX, PartWriter
from pinthesky.device.clip_recorder import CameraTime, ClipRecorder
from pinthesky.device.internal_events import ClipLost, MotionStarted, RecordingChanged
from pinthesky.device.ports import CameraDescription, Label, Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.recording import Moment
from pinthesky.model.settings import CameraSettings, MotionSettings
from tests.support.packets import clip_header, plain_packet
from tests.support.recording_disk import RecordingDisk

US = 1_000_000
FPS = 20
DESCRIPTION = CameraDescription("scripted", 640, 480, FPS, 90, (320, 240), True)
BIG = MotionSettings(post_roll=2, max_duration=300)


class Stage:
    """A recorder with a camera of 20 pictures a second, whose clock runs 1000 s behind the machine's."""

    def __init__(
        self,
        *,
        buffer: int = 3,
        buffer_size: Optional[int] = None,
        motion: MotionSettings = BIG,
        gop: int = 20,
        obeys: bool = True,
        size: int = 40,
        fps: int = FPS,
    ) -> None:
        self.disk = RecordingDisk()
        self.posted: list[Any] = []
        self.stills: list[tuple[str, Moment]] = []
        self.keyframes_asked = 0
        self.sent: list[Packet] = []
        self.now_us = 0
        self.gop, self.obeys, self.size, self.fps = gop, obeys, size, fps
        self._since_keyframe: Optional[int] = None
        self._wants_keyframe = False
        self.recorder = ClipRecorder(
            create_journal=self.disk.create,
            moment_at=lambda monotonic_s: Moment(boot_id="boot", monotonic_s=monotonic_s, wall_s=1e9 + monotonic_s),
            monotonic=lambda: self.now_us / US,
            post=self.posted.append,
            closed=self.disk.note_closed,
            still=lambda event_id, start: self.stills.append((event_id, start)),
            request_keyframe=self._request_keyframe,
            make_room=self.disk.make_room,
        )
        self.recorder.configure(CameraSettings(buffer=buffer, buffer_size=buffer_size), motion)
        self.recorder.begin(DESCRIPTION)

    def _request_keyframe(self) -> bool:
        self.keyframes_asked += 1
        self._wants_keyframe = self.obeys
        return self.obeys

    def picture(self, *, keyframe: Optional[bool] = None) -> Packet:
        due = self._since_keyframe is None or self._since_keyframe >= self.gop - 1 or self._wants_keyframe
        is_keyframe = due if keyframe is None else keyframe
        self._since_keyframe = 0 if is_keyframe else (self._since_keyframe or 0) + 1
        self._wants_keyframe = self._wants_keyframe and not is_keyframe
        number = len(self.sent)
        packet = Packet(
            plain_packet(number, gop=1 if is_keyframe else number + 1, size=self.size).data, self.now_us, is_keyframe
        )
        self.sent.append(packet)
        self.recorder.packet(packet, 1000 + self.now_us / US)
        self.recorder.housekeeping()
        self.now_us += US // self.fps
        return packet

    def run(self, seconds: float, *, moving: bool = False) -> None:
        for _ in range(round(seconds * self.fps)):
            packet = self.picture()
            if moving:
                self.recorder.motion_goes_on(packet.timestamp_us, 5.0)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.posted if isinstance(event, kind)]

    @property
    def changes(self) -> list[bool]:
        return [event.recording for event in self.of(RecordingChanged)]


def one_event(stage: Stage) -> str:
    [event_id] = {part.header.event_id for part in stage.disk.parts}
    return event_id


# Pre-roll and post-roll


def test_a_clip_holds_the_whole_pre_roll_and_at_most_one_group_more():
    stage = Stage(buffer=3)
    stage.run(10.35)
    stage.run(0.05, moving=True)
    first = stage.disk.recorded()[0]
    moved_us = stage.sent[-1].timestamp_us
    assert 3 * US <= moved_us - first.timestamp_us <= 4 * US


def test_a_clip_begins_on_a_keyframe():
    stage = Stage(buffer=0)
    stage.run(0.35)
    stage.run(0.05, moving=True)
    assert [packet.is_keyframe for packet in stage.disk.recorded()[:2]] == [True, False]


def test_motion_before_the_first_keyframe_begins_the_clip_with_that_keyframe():
    stage = Stage(buffer=3)
    stage.picture(keyframe=False)
    stage.recorder.motion_goes_on(0, 5.0)
    stage.picture(keyframe=False)
    keyframe = stage.picture(keyframe=True)
    assert stage.disk.recorded() == [keyframe]
    assert stage.changes == [True]


def test_a_buffer_size_that_cuts_the_pre_roll_is_told():
    stage = Stage(buffer=10, buffer_size=100_000, size=5_000)
    stage.run(15)
    assert stage.recorder.pre_roll_shortfall_s > 8.5


def test_the_clip_goes_on_for_the_post_roll_after_the_last_motion():
    stage = Stage()
    stage.run(5)
    stage.run(1, moving=True)
    moved_us = stage.sent[-1].timestamp_us
    stage.run(6)
    last = stage.disk.recorded()[-1]
    assert 2 * US <= last.timestamp_us - moved_us <= 3 * US
    assert stage.changes == [True, False]


def test_a_camera_that_obeys_is_asked_once_for_the_keyframe_that_ends_the_clip():
    stage = Stage(gop=1000)
    stage.run(3, moving=True)
    stage.run(6)
    assert stage.keyframes_asked == 1
    assert not stage.recorder.recording


def test_motion_within_the_post_roll_goes_on_with_the_same_event():
    stage = Stage()
    stage.run(3)
    stage.run(1, moving=True)
    stage.run(1.5)
    stage.run(0.5, moving=True)
    stage.run(6)
    assert len(stage.of(MotionStarted)) == 1
    assert len(stage.disk.parts) == 1


def test_motion_while_the_end_waits_for_its_keyframe_goes_on_with_the_same_event():
    stage = Stage(gop=100, obeys=False)
    stage.run(0.5, moving=True)
    stage.run(2.5)
    assert stage.recorder.recording
    stage.run(0.5, moving=True)
    stage.run(10)
    assert stage.keyframes_asked == 2
    assert len(stage.of(MotionStarted)) == 1


def test_a_clip_ends_without_a_keyframe_when_none_comes_for_ten_seconds():
    stage = Stage(gop=100_000, obeys=False)
    stage.run(1, moving=True)
    moved_us = stage.sent[-1].timestamp_us
    stage.run(20)
    assert not stage.recorder.recording
    assert stage.disk.recorded()[-1].timestamp_us - moved_us == pytest.approx(12 * US, abs=US / FPS)


def test_the_start_of_motion_is_posted_before_anything_is_written():
    stage = Stage()
    stage.run(3)
    create = stage.disk.create

    def noted(header: ClipHeader) -> JournalWriter:
        stage.posted.append(header)
        return create(header)

    stage.recorder._parts._create_journal = noted
    stage.run(0.05, moving=True)
    assert [type(event) for event in stage.posted] == [MotionStarted, ClipHeader, RecordingChanged]
    assert stage.posted[0].score == 5.0


def test_a_thumbnail_is_asked_for_with_the_start_of_the_clip():
    stage = Stage()
    stage.run(5)
    stage.run(1, moving=True)
    assert stage.stills == [(one_event(stage), stage.disk.parts[0].header.start)]


def test_the_clip_says_what_the_camera_gives():
    stage = Stage()
    stage.run(1, moving=True)
    header = stage.disk.parts[0].header
    assert (header.width, header.height, header.rotation_left, header.framerate) == (640, 480, 90, FPS)
    assert (header.trigger, header.part) == ("motion", 1)


def test_after_a_clip_the_next_one_has_its_pre_roll_again():
    stage = Stage(buffer=2)
    stage.run(1, moving=True)
    stage.run(10)
    stage.run(1, moving=True)
    second = stage.disk.parts[1]
    assert stage.of(MotionStarted)[1].moment.monotonic_s - second.header.start.monotonic_s >= 2


def test_motion_in_the_cool_down_begins_nothing():
    stage = Stage(motion=MotionSettings(post_roll=1, cool_down=30))
    stage.run(1, moving=True)
    stage.run(5)
    stage.run(10, moving=True)
    assert len(stage.of(MotionStarted)) == 1


def test_motion_that_outlasts_the_cool_down_begins_an_event_when_it_is_over():
    stage = Stage(motion=MotionSettings(post_roll=1, cool_down=5))
    stage.run(1, moving=True)
    stage.run(4)
    stage.run(10, moving=True)
    assert len(stage.of(MotionStarted)) == 2


# Parts


def test_a_long_event_goes_on_in_a_new_part_without_a_gap():
    stage = Stage(motion=MotionSettings(post_roll=2, max_duration=10))
    stage.run(25, moving=True)
    stage.run(5)
    assert [part.header.part for part in stage.disk.parts] == [1, 2, 3]
    one_event(stage)
    recorded = stage.disk.recorded()
    assert recorded == stage.sent[: len(recorded)]
    assert all(part.packets[0].is_keyframe for part in stage.disk.parts)
    assert stage.changes == [True, False]


def labels(*found: tuple[str, float]) -> list[Label]:
    return [Label(name, sure, (0.0, 0.0, 1.0, 1.0)) for name, sure in found]


def test_each_part_bears_the_labels_of_its_own_pictures():
    stage = Stage(motion=MotionSettings(post_roll=2, max_duration=10))
    stage.run(8, moving=True)
    stage.recorder.labels(labels(("person", 0.8), ("dog", 0.6)))
    stage.run(8, moving=True)
    stage.recorder.labels(labels(("cat", 0.7)))
    stage.run(5)
    assert [part.labels for part in stage.disk.parts] == [{"person": 0.8, "dog": 0.6}, {"cat": 0.7}]


def test_labels_are_written_when_they_are_news_only():
    stage = Stage()
    stage.run(3, moving=True)
    for _ in range(20):
        stage.recorder.labels(labels(("person", 0.8)))
    stage.recorder.labels(labels(("person", 0.3), ("dog", 0.3)))
    assert stage.disk.parts[0].journal.labelled == 2


def test_labels_that_the_disk_refuses_do_not_cost_the_clip():
    stage = Stage()
    stage.run(3, moving=True)
    stage.disk.free_bytes = 0
    stage.recorder.labels(labels(("person", 0.8)))
    stage.disk.free_bytes = None
    stage.run(5)
    assert len(stage.disk.parts) == 1
    assert stage.disk.parts[0].labels == {}


def test_labels_while_nothing_is_written_are_forgotten():
    stage = Stage()
    stage.recorder.labels(labels(("person", 0.8)))
    stage.disk.free_bytes = 0
    stage.run(3, moving=True)
    stage.recorder.labels(labels(("person", 0.8)))
    assert stage.recorder.recording
    assert stage.disk.parts == []


def test_no_part_is_longer_than_the_maximum_a_long_pre_roll_included():
    stage = Stage(buffer=25, motion=MotionSettings(post_roll=2, max_duration=10))
    stage.run(30)
    stage.run(1, moving=True)
    lengths = [part.packets[-1].timestamp_us - part.packets[0].timestamp_us for part in stage.disk.parts]
    assert len(lengths) == 3
    assert max(lengths) < 10 * US


def test_a_part_starts_at_the_exact_moment_of_its_first_picture():
    stage = Stage(motion=MotionSettings(post_roll=2, max_duration=10))
    stage.run(25, moving=True)
    for part in stage.disk.parts:
        assert part.header.start.monotonic_s == pytest.approx(1000 + part.packets[0].timestamp_us / US, abs=1e-6)
        assert part.header.start.wall_s == pytest.approx(1e9 + part.header.start.monotonic_s, abs=1e-6)


def test_a_part_ends_before_it_is_too_large_to_be_stored():
    stage = Stage(gop=10, size=4 * 1024 * 1024, fps=10)
    stage.run(15, moving=True)
    sizes = [sum(len(packet.data) for packet in part.packets) for part in stage.disk.parts]
    assert len(sizes) > 1
    assert max(sizes) <= PART_BYTES_MAX


def test_groups_longer_than_a_part_each_make_one():
    stage = Stage(gop=15 * FPS, obeys=False, motion=MotionSettings(post_roll=2, max_duration=10))
    stage.run(40, moving=True)
    assert [len(part.packets) for part in stage.disk.parts] == [15 * FPS, 15 * FPS, 10 * FPS]


# Captures


def test_a_capture_records_for_as_long_as_was_asked():
    stage = Stage()
    stage.run(5)
    asked_us = stage.sent[-1].timestamp_us
    captured = stage.recorder.capture(10, "c1", {"id": "x"})
    stage.run(15)
    header = stage.disk.parts[0].header
    assert (header.trigger, header.capture_id, header.connection) == ("manual", "c1", {"id": "x"})
    assert (captured.event_id, captured.joined) == (header.event_id, False)
    assert asked_us + 10 * US <= stage.disk.recorded()[-1].timestamp_us <= asked_us + 11 * US
    assert asked_us - US <= stage.disk.recorded()[0].timestamp_us <= asked_us
    assert stage.of(MotionStarted) == []
    assert stage.stills == [(captured.event_id, header.start)]


def test_a_capture_during_motion_joins_the_open_clip_and_prolongs_it():
    stage = Stage()
    stage.run(1, moving=True)
    asked_us = stage.sent[-1].timestamp_us
    captured = stage.recorder.capture(20, "c1", None)
    stage.run(30)
    assert captured.joined
    assert captured.event_id == one_event(stage)
    assert stage.disk.recorded()[-1].timestamp_us >= asked_us + 20 * US


def test_motion_during_a_capture_is_told_once_and_not_photographed_again():
    stage = Stage()
    stage.run(3)
    captured = stage.recorder.capture(10, "c1", None)
    stage.run(2)
    stage.run(2, moving=True)
    stage.run(15)
    assert [event.event_id for event in stage.of(MotionStarted)] == [captured.event_id]
    assert [event_id for event_id, _ in stage.stills] == [captured.event_id]
    assert len(stage.disk.parts) == 1
    assert stage.changes == [True, False]


def test_motion_during_a_capture_that_waits_for_its_first_keyframe_opens_no_second_clip():
    stage = Stage()
    stage.picture(keyframe=False)
    stage.recorder.capture(10, "c1", None)
    stage.recorder.motion_goes_on(stage.now_us, 5.0)
    stage.run(1, moving=True)
    assert stage.changes == [True]
    one_event(stage)


def test_a_capture_begins_no_cool_down():
    stage = Stage(motion=MotionSettings(post_roll=1, cool_down=60))
    stage.run(1)
    stage.recorder.capture(1, None, None)
    stage.run(5)
    stage.run(1, moving=True)
    assert len(stage.of(MotionStarted)) == 1


def test_a_capture_before_the_first_picture_fails():
    stage = Stage()
    with pytest.raises(Unavailable, match="no picture"):
        stage.recorder.capture(10, "c1", None)
    assert not stage.recorder.recording


def test_a_capture_after_the_camera_was_opened_again_is_timed_by_its_new_clock():
    stage = Stage()
    stage.now_us = 3_600 * US
    stage.run(2)
    stage.recorder.end()
    stage.recorder.begin(DESCRIPTION)
    stage.now_us = 0
    stage.picture(keyframe=True)
    stage.recorder.capture(5, None, None)
    stage.run(8)
    assert not stage.recorder.recording


def test_a_capture_that_the_disk_refuses_fails_and_leaves_the_pre_roll():
    stage = Stage(buffer=3)
    stage.run(5)
    stage.disk.free_bytes = 0
    with pytest.raises(Unavailable, match="no space"):
        stage.recorder.capture(10, "c1", None)
    assert not stage.recorder.recording
    assert stage.changes == []
    stage.disk.free_bytes = None
    stage.run(0.05, moving=True)
    assert stage.sent[-1].timestamp_us - stage.disk.recorded()[0].timestamp_us >= 3 * US


def test_a_capture_of_which_nothing_could_be_recorded_says_so_at_its_end():
    stage = Stage()
    stage.picture(keyframe=False)
    captured = stage.recorder.capture(5, "c1", {"id": "x"})
    stage.picture(keyframe=False)
    stage.recorder.end()
    reason = "no picture came that could be shown"
    assert stage.of(ClipLost) == [ClipLost(captured.event_id, reason, "c1", {"id": "x"})]


def test_motion_that_the_disk_took_nothing_of_says_so_at_its_end():
    stage = Stage()
    stage.disk.free_bytes = 0
    stage.run(1, moving=True)
    stage.run(5)
    assert [lost.reason for lost in stage.of(ClipLost)] == ["no space left on device"]
    stage.disk.free_bytes = None
    stage.run(1, moving=True)
    stage.run(5)
    assert len(stage.of(ClipLost)) == 1


# Ends that others decide


def test_standing_down_ends_a_motion_clip_at_the_next_keyframe():
    stage = Stage(motion=MotionSettings(post_roll=60))
    stage.run(2, moving=True)
    stage.recorder.stand_down()
    stage.run(1)
    assert not stage.recorder.recording


def test_standing_down_leaves_what_was_asked_for():
    stage = Stage(motion=MotionSettings(post_roll=60))
    stage.run(2, moving=True)
    stage.recorder.capture(5, None, None)
    stage.recorder.stand_down()
    stage.run(4.9)
    assert stage.recorder.recording
    stage.run(2)
    assert not stage.recorder.recording


def test_standing_down_without_a_clip_does_nothing():
    stage = Stage()
    stage.recorder.stand_down()
    stage.recorder.motion_goes_on(0, 5.0)
    stage.recorder.stand_down()
    assert stage.changes == [True]


def test_the_end_of_the_camera_closes_the_clip_at_once_and_forgets_the_ring():
    stage = Stage()
    stage.run(2, moving=True)
    stage.recorder.end()
    assert stage.changes == [True, False]
    assert stage.disk.parts[0].is_closed
    assert stage.disk.closed == 1
    stage.recorder.begin(DESCRIPTION)
    stage.run(1, moving=True)
    assert stage.disk.parts[1].packets[0] is stage.sent[40]


def test_a_camera_clock_that_goes_back_ends_the_clip_and_begins_anew(caplog: pytest.LogCaptureFixture):
    stage = Stage()
    stage.now_us = 3_600 * US
    stage.run(2, moving=True)
    stage.now_us = 0
    stage.run(3)
    assert stage.changes == [True, False]
    assert "clock went back" in caplog.text
    stage.run(0.05, moving=True)
    stage.run(5)
    assert not stage.recorder.recording


def test_new_settings_keep_the_pre_roll():
    stage = Stage(buffer=3)
    stage.run(5)
    stage.recorder.configure(CameraSettings(buffer=2), BIG)
    stage.run(0.05, moving=True)
    assert stage.sent[-1].timestamp_us - stage.disk.recorded()[0].timestamp_us >= 2 * US


def test_a_clip_without_a_camera_is_a_defect():
    stage = Stage()
    stage.recorder._description = None
    with pytest.raises(InvariantBroken):
        stage.recorder.motion_goes_on(0, 1.0)


# A disk that refuses


def test_a_full_disk_leaves_the_earlier_part_whole_and_the_event_goes_on_at_the_next_keyframe(
    caplog: pytest.LogCaptureFixture,
):
    stage = Stage(gop=20)
    stage.run(3)
    stage.run(1.5, moving=True)
    before = len(stage.sent)
    stage.disk.free_bytes = 0
    stage.run(2.25, moving=True)
    stage.disk.free_bytes = None
    stage.run(2, moving=True)
    first, second = stage.disk.parts
    assert first.packets == stage.sent[:before]
    assert first.is_closed
    assert second.header.part == 2
    assert second.header.event_id == first.header.event_id
    assert second.packets[0].is_keyframe
    gap = stage.sent[before : len(stage.sent) - len(second.packets)]
    assert stage.recorder.lost_packets == len(gap) > 0
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def key_times(stage: Stage) -> list[float]:
    """The times in the keys of the parts, in seconds of the wall clock."""
    headers = [part.header for part in stage.disk.parts]
    return [(header.start.wall_s or 0.0) + header.key_delay_s for header in headers]


def test_after_a_refusal_the_next_keyframe_is_recorded_however_soon_and_no_two_parts_share_a_key():
    stage = Stage(gop=2)
    stage.run(1, moving=True)
    for _ in range(6):
        stage.disk.free_bytes = 0
        stage.run(0.1, moving=True)
        stage.disk.free_bytes = None
        stage.run(0.3, moving=True)
    starts = [part.packets[0].timestamp_us for part in stage.disk.parts]
    assert min(later - earlier for earlier, later in zip(starts, starts[1:])) < 1_000_000
    assert stage.recorder.lost_packets == 6 * 3, "two that the disk refused, and one that cannot be shown without them"
    moments = [part.header.start.monotonic_s for part in stage.disk.parts]
    assert moments == [pytest.approx(moments[0] + (start - starts[0]) / US) for start in starts], "starts stay exact"
    for clock_is_off_by_s in (0.0, 0.3, 0.5, 0.999):
        seconds = [int(time_s + clock_is_off_by_s) for time_s in key_times(stage)]
        assert len(set(seconds)) == len(seconds), "whatever the clock will say when it is known"


def test_a_part_that_begins_late_enough_has_its_own_start_in_its_key():
    stage = Stage(gop=20, motion=MotionSettings(max_duration=10))
    stage.run(25, moving=True)
    assert len(stage.disk.parts) > 2
    assert {part.header.key_delay_s for part in stage.disk.parts} == {0.0}


def test_a_full_disk_is_not_answered_with_a_keyframe_for_every_picture():
    stage = Stage(gop=20)
    stage.run(1, moving=True)
    stage.disk.free_bytes = 0
    stage.run(5, moving=True)
    assert stage.keyframes_asked == 1


def test_a_disk_that_begins_journals_and_takes_no_packets_is_not_asked_for_keyframes_again_and_again():
    stage = Stage(gop=20)
    stage.run(1, moving=True)
    stage.disk.free_bytes = 3
    stage.run(3, moving=True)
    assert stage.keyframes_asked == 1


def test_room_that_can_be_made_is_made_and_nothing_is_lost():
    stage = Stage()
    stage.run(1, moving=True)
    stage.disk.free_bytes, stage.disk.frees_on_demand = 0, 1_000_000
    stage.run(1, moving=True)
    assert stage.disk.recorded() == stage.sent
    assert len(stage.disk.parts) == 1
    assert stage.recorder.lost_packets == 0


def test_a_disk_that_cannot_even_be_looked_at_does_not_end_the_camera_thread():
    stage = Stage()
    stage.run(1, moving=True)
    stage.disk.free_bytes, stage.disk.statvfs_fails = 0, True
    stage.run(1, moving=True)
    assert stage.recorder.recording
    assert stage.recorder.lost_packets > 0


def test_a_sync_that_fails_closes_the_part_and_goes_on_in_another():
    stage = Stage()
    stage.run(1, moving=True)
    stage.disk.sync_fails = True
    stage.run(0.6, moving=True)
    stage.disk.sync_fails = False
    stage.run(3, moving=True)
    assert [part.header.part for part in stage.disk.parts] == [1, 2]
    assert stage.disk.parts[0].is_closed


def test_a_close_that_fails_is_logged_and_the_clip_is_finished_all_the_same(caplog: pytest.LogCaptureFixture):
    stage = Stage()
    stage.run(0.3, moving=True)
    stage.disk.sync_fails = True
    stage.recorder.end()
    assert stage.disk.closed == 1
    assert "cannot sync" in caplog.text


def test_the_spool_s_bounds_are_held_while_a_clip_grows():
    stage = Stage()
    stage.run(10, moving=True)
    assert stage.disk.room_asked.count(0) == stage.disk.syncs >= 8


def test_a_spool_without_room_closes_the_part():
    stage = Stage()
    stage.run(1, moving=True)
    stage.disk.has_room = False
    stage.run(0.6, moving=True)
    assert stage.disk.parts[0].is_closed


def test_what_is_appended_is_synced_within_a_second():
    stage = Stage()
    stage.run(5, moving=True)
    assert stage.disk.syncs >= 5


def test_a_part_writer_without_a_clip_refuses_packets():
    disk = RecordingDisk()
    parts = PartWriter(
        create_journal=disk.create,
        make_room=disk.make_room,
        monotonic=lambda: 0.0,
        closed=disk.note_closed,
        request_keyframe=lambda: True,
    )
    with pytest.raises(InvariantBroken):
        parts.append(plain_packet(0))
    parts.begin(clip_header(), lambda us: Moment(boot_id="boot", monotonic_s=us / US), max_s=10)
    parts.append(plain_packet(0))
    assert parts.is_writing


def test_real_journals_hold_what_was_recorded(tmp_path: Path):
    stage = Stage(motion=MotionSettings(post_roll=2, max_duration=10))
    paths: list[Path] = []

    def create(header: ClipHeader) -> JournalWriter:
        paths.append(tmp_path / f"{header.event_id}-{header.part:04d}.journal")
        return JournalWriter.create(paths[-1], header)

    stage.recorder._parts._create_journal = create
    stage.run(15, moving=True)
    stage.recorder.end()
    read = []
    for path in paths:
        with read_journal(path) as journal:
            read += list(journal)
            assert journal.damage is None
    assert len(paths) == 2
    assert read == stage.sent


# Every packet once, whatever happens


STEPS = st.one_of(
    st.tuples(st.just("still"), st.integers(1, 120)),
    st.tuples(st.just("moving"), st.integers(1, 120)),
    st.tuples(st.just("capture"), st.integers(1, 8)),
    st.tuples(st.just("stand_down"), st.just(0)),
    st.tuples(st.just("configure"), st.integers(0, 8)),
    st.tuples(st.just("reopen"), st.just(0)),
)


@settings(max_examples=150)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=12),
    gop=st.integers(1, 60),
    obeys=st.booleans(),
    buffer=st.integers(0, 5),
    cool_down=st.integers(0, 5),
)
def test_every_packet_from_the_first_of_an_event_to_its_last_is_in_it_exactly_once(
    steps: list[tuple[str, int]], gop: int, obeys: bool, buffer: int, cool_down: int
):
    motion = MotionSettings(post_roll=1, max_duration=10, cool_down=cool_down)
    stage = Stage(buffer=buffer, gop=gop, obeys=obeys, motion=motion)
    for action, amount in steps:
        if action in ("still", "moving"):
            stage.run(amount / FPS, moving=action == "moving")
        elif action == "capture" and stage.sent and stage.recorder._newest_us is not None:
            stage.recorder.capture(amount, None, None)
        elif action == "stand_down":
            stage.recorder.stand_down()
        elif action == "configure" and not stage.recorder.recording:
            stage.recorder.configure(CameraSettings(buffer=amount), motion)
        elif action == "reopen":
            stage.recorder.end()
            stage.recorder.begin(DESCRIPTION)
    stage.recorder.end()

    numbers = {id(packet): number for number, packet in enumerate(stage.sent)}
    events: dict[str, list[int]] = {}
    for part in stage.disk.parts:
        assert part.is_closed
        assert part.packets[0].is_keyframe
        events.setdefault(part.header.event_id, []).extend(numbers[id(packet)] for packet in part.packets)
    end = -1
    for recorded in events.values():
        assert recorded == list(range(recorded[0], recorded[-1] + 1)), "a gap or a double within an event"
        assert recorded[0] > end, "two events overlap"
        end = recorded[-1]
    assert stage.recorder.lost_packets == 0
    assert stage.disk.closed == len(stage.disk.parts)
    for event_id, parts in events.items():
        headers = [part.header for part in stage.disk.parts if part.header.event_id == event_id]
        assert [header.part for header in headers] == list(range(1, len(headers) + 1))
        assert parts
    assert stage.changes == [True, False] * (len(stage.changes) // 2)


@settings(max_examples=60)
@given(
    room=st.lists(st.integers(0, 4_000), min_size=1, max_size=8),
    gop=st.integers(1, 40),
)
def test_with_a_disk_that_comes_and_goes_every_part_is_whole_and_nothing_is_doubled(room: list[int], gop: int):
    stage = Stage(gop=gop, motion=MotionSettings(post_roll=1, max_duration=10))
    for size in room:
        stage.disk.free_bytes = size
        stage.run(1.5, moving=True)
    stage.recorder.end()
    numbers = {id(packet): number for number, packet in enumerate(stage.sent)}
    recorded = []
    for part in stage.disk.parts:
        in_part = [numbers[id(packet)] for packet in part.packets]
        assert in_part == list(range(in_part[0], in_part[-1] + 1)) if in_part else True
        assert not in_part or part.packets[0].is_keyframe
        recorded += in_part
    assert len(recorded) == len(set(recorded))
    assert len(recorded) + stage.recorder.lost_packets == len(stage.sent)
    seconds = [int(time_s) for time_s in key_times(stage)]
    assert seconds == sorted(set(seconds)), "each part has a key of its own"


# The camera's clock


def test_the_camera_s_time_is_that_of_the_quickest_frame():
    time = CameraTime()
    time.note(0, 100.3)
    time.note(50_000, 100.06)
    time.note(100_000, 100.9)
    assert time.monotonic_s(100_000) == pytest.approx(100.11, abs=0.001)


@pytest.mark.parametrize("drift", [-300e-6, -50e-6, 50e-6, 300e-6])
def test_the_camera_s_time_follows_a_clock_that_drifts(drift: float):
    time = CameraTime()
    for second in range(3600):
        time.note(int(second * US * (1 + drift)), 50.0 + second + (0.08 if second % 3 else 0.0))
    assert time.monotonic_s(int(3599 * US * (1 + drift))) == pytest.approx(50.0 + 3599, abs=0.01)


def test_a_burst_of_late_frames_does_not_move_the_time():
    time = CameraTime()
    for number in range(200):
        late_s = 2.0 if 100 <= number < 140 else 0.0
        time.note(number * 50_000, 10 + number * 0.05 + late_s)
        assert time.monotonic_s(number * 50_000) == pytest.approx(10 + number * 0.05, abs=0.005)


def test_a_camera_clock_that_begins_anew_is_mapped_anew():
    time = CameraTime()
    time.note(3_600 * US, 3_700.0)
    time.note(0, 3_701.0)
    assert time.monotonic_s(US) == pytest.approx(3_702.0)


def test_before_any_frame_the_camera_s_clock_is_taken_as_it_is():
    assert CameraTime().monotonic_s(2 * US) == 2.0


def test_a_new_part_is_not_opened_for_packets_that_cannot_be_shown(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    stage = Stage()
    stage.picture(keyframe=False)
    stage.recorder.motion_goes_on(0, 5.0)
    for _ in range(10):
        stage.picture(keyframe=False)
    assert stage.disk.create_attempts == 0
    assert stage.recorder.lost_packets == 0
