"""The owner of the camera: opening, faults and back-off, settings, duty, requests, the end."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Any, Callable

import msgspec
import numpy as np
import pytest

from pinthesky.device import camera_inbox
from pinthesky.device.camera_thread import (
    FAILURES_MAX,
    FIRST_PACKET_S,
    FIRST_PICTURE_WAIT_S,
    SETTINGS_PATIENCE_S,
    STALL_S,
    WAITING_MAX,
    CameraGaveUp,
    Duty,
)
from pinthesky.device.internal_events import (
    CameraFaulted,
    CameraOpened,
    FootageFinished,
    MotionStarted,
    RecordingChanged,
    SettingsRefused,
)
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.settings import CameraSettings, MotionSettings, PictureSettings
from tests.support.camera_stage import CAMERA, MOTION
from tests.support.camera_stage import CameraStage as Stage
from tests.support.stepped_camera import SteppedCamera

# Opening and healing


def test_the_camera_is_opened_with_the_settings_and_its_masks_and_announced_at_its_first_picture():
    masks = [[(0, 0), (500, 0), (0, 500)]]
    stage = Stage(motion=MotionSettings(privacy_masks=masks))
    assert stage.of(CameraOpened) == []
    stage.run(0.2)
    assert [(opening.settings, opening.privacy_masks) for opening in stage.camera.openings] == [(CAMERA, masks)]
    assert [event.after_fault for event in stage.of(CameraOpened)] == [False]
    assert stage.thread.description is not None


def test_motion_becomes_a_clip():
    stage = Stage()
    stage.run(3)
    stage.run(1, moving=True)
    stage.run(6)
    assert len(stage.of(MotionStarted)) == 1
    assert [event.recording for event in stage.of(RecordingChanged)] == [True, False]
    assert len(stage.disk.parts) == 1
    assert True in stage.motion_told
    assert len(stage.stills) == 1


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_vectors_that_move_in_a_mask_become_no_clip_and_outside_of_it_they_do(rotation):
    upper_half = [(0, 0), (1000, 0), (1000, 500), (0, 500)]
    stage = Stage(camera=msgspec.structs.replace(CAMERA, rotation=rotation), motion=MotionSettings(masks=[upper_half]))
    rows, columns = np.indices((30, 40))
    # where a player that turns the encoded picture will show its upper half
    masked = {0: rows < 15, 90: columns < 20, 180: rows >= 15, 270: columns >= 20}[rotation]
    for moving, clips in ((masked, 0), (~masked, 1)):
        for _ in range(20):
            stage.clock.advance(0.05)
            stage.camera.picture()
            stage.camera.motion(moving)
            stage.step(2)
        assert len(stage.of(MotionStarted)) == clips


def test_a_moving_picture_in_luma_becomes_a_clip():
    stage = Stage(luma_size=(320, 240))
    still = np.full((240, 320), 90, np.uint8)
    for number in range(80):
        stage.clock.advance(0.05)
        stage.camera.picture()
        scene = still.copy()
        if number > 50:
            left = (number - 50) * 8
            scene[60:180, left : left + 60] = 220
        stage.camera.luma(scene)
        stage.step(2)
    assert len(stage.of(MotionStarted)) == 1


def test_pictures_that_cannot_be_judged_are_a_fault():
    stage = Stage(luma_size=(320, 240))
    stage.camera.luma(np.zeros((10, 10), np.uint8))
    stage.step()
    assert "cannot be judged" in stage.of(CameraFaulted)[0].reason
    assert not stage.camera.is_open


def test_a_stall_is_reported_once_and_the_camera_opened_again():
    stage = Stage()
    stage.run(1)
    stage.wait(STALL_S + 0.1)
    assert [event.reason for event in stage.of(CameraFaulted)] == ["no picture for 5 s"]
    assert not stage.camera.is_open
    assert stage.thread.fault == "no picture for 5 s"
    stage.wait(0.6)
    assert stage.openings == 2
    assert [event.after_fault for event in stage.of(CameraOpened)] == [False]
    stage.run(0.5)
    assert [event.after_fault for event in stage.of(CameraOpened)] == [False, True]
    assert stage.thread.fault is None


def test_four_seconds_without_a_picture_are_no_stall():
    stage = Stage()
    stage.run(1)
    stage.wait(STALL_S - 0.5)
    assert stage.camera.is_open


def test_packets_that_wait_while_the_thread_was_held_up_are_no_stall():
    stage = Stage()
    stage.run(1)
    stage.camera.picture()
    stage.clock.advance(STALL_S + 3)
    stage.camera.picture()
    stage.step()
    assert stage.of(CameraFaulted) == []


def test_a_camera_just_opened_has_longer_for_its_first_keyframe():
    stage = Stage()
    stage.wait(STALL_S + 1)
    assert stage.camera.is_open
    stage.wait(FIRST_PACKET_S)
    assert [event.reason for event in stage.of(CameraFaulted)] == ["no picture for 12 s"]


@pytest.fixture
def slow_to_start(monkeypatch):
    """Cameras say that their first packet may take five minutes."""
    opened = SteppedCamera.open
    monkeypatch.setattr(
        SteppedCamera, "open", lambda *given, **named: opened(*given, **named)._replace(first_packet_s=300.0)
    )


@pytest.mark.usefixtures("slow_to_start")
def test_a_camera_that_says_it_starts_slowly_is_given_its_time_and_the_watchdog_waits_too():
    stage = Stage()
    stage.wait(299)
    assert stage.camera.is_open
    assert stage.thread.frame_age_s is None
    stage.wait(2)
    assert [event.reason for event in stage.of(CameraFaulted)] == ["no picture for 300 s"]


@pytest.mark.usefixtures("slow_to_start")
def test_once_it_gives_pictures_a_slow_camera_is_watched_as_any_other():
    stage = Stage()
    stage.run(1)
    stage.clock.advance(2)
    assert stage.thread.frame_age_s == pytest.approx(2)
    stage.wait(STALL_S)
    assert len(stage.of(CameraFaulted)) == 1


def test_the_second_stream_is_switched_by_the_thread_that_owns_the_camera(monkeypatch):
    switched: list[object] = []
    stage = Stage()
    monkeypatch.setattr(stage.camera, "start_substream", lambda sink, *, bitrate: switched.append((sink, bitrate)))
    monkeypatch.setattr(stage.camera, "stop_substream", lambda: switched.append("off"))
    began, ended = stage.thread.start_substream(print, bitrate=300_000), stage.thread.stop_substream()
    assert switched == []
    stage.step(2)
    assert switched == [(print, 300_000), "off"]
    assert began.result(0) is ended.result(0) is None


def test_there_is_no_second_stream_of_a_closed_camera():
    stage = Stage(duty=Duty(camera_open=False))
    asked = stage.thread.start_substream(print, bitrate=300_000)
    stage.step()
    with pytest.raises(Unavailable, match="closed"):
        asked.result(0)


def test_a_lost_camera_closes_the_open_clip_at_once():
    stage = Stage()
    stage.run(3)
    stage.run(1, moving=True)
    stage.camera.lose("unplugged")
    stage.step()
    assert stage.disk.parts[0].is_closed
    assert [event.recording for event in stage.of(RecordingChanged)] == [True, False]
    assert [event.reason for event in stage.of(CameraFaulted)] == ["unplugged"]


def test_a_camera_that_cannot_be_opened_is_tried_again_with_growing_pauses():
    stage = Stage(open_it=False)
    stage.camera.standing_refusal = Unavailable("busy")
    tried_at = []
    for _ in range(1200):
        before = stage.openings
        stage.wait(0.1)
        if stage.openings > before:
            tried_at.append(stage.clock.monotonic())
    pauses = [later - earlier for earlier, later in zip(tried_at, tried_at[1:])]
    assert len(stage.of(CameraFaulted)) == 1
    assert [round(pause, 1) for pause in pauses[:3]] == pytest.approx([0.5, 1.0, 2.0], abs=0.5)
    assert pauses == sorted(pauses) or max(pauses) <= 30.2
    assert max(pauses) > 20
    stage.camera.standing_refusal = None
    stage.wait(31)
    stage.run(0.5)
    assert [event.after_fault for event in stage.of(CameraOpened)] == [True]


def test_a_camera_that_opens_and_does_not_start_is_closed_and_tried_again():
    stage = Stage(open_it=False)
    stage.camera.refusal_at_start = Unavailable("no bandwidth")
    stage.step()
    assert stage.camera.calls == ["open", "start", "close"]
    stage.camera.refusal_at_start = None
    stage.wait(1)
    assert stage.camera.is_open


def test_after_repeated_failure_the_process_is_given_up():
    stage = Stage(open_it=False)
    stage.camera.standing_refusal = Unavailable("absent")
    for _ in range(FAILURES_MAX - 1):
        stage.wait(31)
    with pytest.raises(CameraGaveUp, match="absent"):
        stage.wait(31)


def test_a_camera_that_was_sound_for_half_a_minute_has_all_its_attempts_again():
    stage = Stage()
    stage.camera.fps = 2
    for _ in range(FAILURES_MAX + 2):
        stage.wait(31)
        stage.run(31)
        stage.camera.lose()
        stage.step()
    assert stage.thread.fault == "unplugged"


def test_a_camera_that_flaps_is_given_up():
    stage = Stage()
    with pytest.raises(CameraGaveUp):
        for _ in range(FAILURES_MAX + 1):
            stage.run(0.1)
            stage.camera.lose()
            stage.step()
            stage.wait(31)


def test_settings_that_can_never_work_at_the_start_are_told_as_what_is_wrong():
    stage = Stage(open_it=False)
    stage.camera.standing_refusal = InvalidInput("--camera", "no such device")
    with pytest.raises(CameraGaveUp, match="--camera: no such device") as raised:
        stage.step()
    assert isinstance(raised.value.__cause__, InvalidInput)


def test_stored_settings_that_the_camera_refuses_at_the_start_go_back_to_the_installation_s(
    caplog: pytest.LogCaptureFixture,
):
    stored = PictureSettings(focus_mode="continuous")
    stage = Stage(
        open_it=False,
        camera=CameraSettings(resolution="4096x3072"),
        picture=stored,
        installed=(CAMERA, MOTION, PictureSettings()),
    )
    stage.camera.refusals.append(InvalidInput("camera.resolution", "at most 1920x1080"))
    stage.camera.refusals.append(InvalidInput("picture.focus_mode", "this camera has no focus to set"))
    stage.step(3)
    assert [(opening.settings, opening.picture) for opening in stage.camera.openings] == [(CAMERA, PictureSettings())]
    assert stage.of(SettingsRefused) == [
        SettingsRefused("camera.resolution", "at most 1920x1080"),
        SettingsRefused("picture.focus_mode", "this camera has no focus to set"),
    ]
    assert "goes back to the installation's: camera.resolution: at most 1920x1080" in caplog.text
    stage.run(0.5)
    assert stage.of(CameraFaulted) == []


def test_a_setting_of_the_installation_that_the_camera_refuses_at_the_start_is_told_as_what_is_wrong():
    stage = Stage(open_it=False, motion=MotionSettings(post_roll=9), installed=(CAMERA, MOTION, PictureSettings()))
    stage.camera.standing_refusal = InvalidInput("camera.resolution", "at most 1920x1080")
    with pytest.raises(CameraGaveUp, match=r"camera\.resolution: at most 1920x1080"):
        stage.step()
    assert stage.of(SettingsRefused) == []


def test_without_the_privacy_masks_that_were_stored_nothing_is_recorded():
    masks = [[(0, 0), (500, 0), (0, 500)]]
    stage = Stage(
        open_it=False, motion=MotionSettings(privacy_masks=masks), installed=(CAMERA, MOTION, PictureSettings())
    )
    stage.camera.refusals.append(InvalidInput("motion.privacy_masks", "this camera cannot black out anything"))
    stage.step()
    assert [event.reason for event in stage.of(CameraFaulted)] == [
        "motion.privacy_masks: this camera cannot black out anything"
    ]
    stage.wait(1)
    assert [opening.privacy_masks for opening in stage.camera.openings] == [masks], "another camera may be there now"


def test_the_camera_is_opened_with_the_picture_and_again_when_it_changes():
    night = PictureSettings(night=True)
    stage = Stage(picture=night)
    stage.run(1)
    assert stage.thread.reconfigure(CAMERA, MOTION, PictureSettings()).cancelled() is False
    stage.step()
    assert [opening.picture for opening in stage.camera.openings] == [night, PictureSettings()]


def test_labels_of_pictures_belong_to_the_open_clip_and_to_nothing_before_it():
    stage = Stage()
    stage.run(1)
    stage.camera.labels(("cat", 0.9))
    stage.run(1, moving=True)
    stage.camera.labels(("person", 0.7), ("dog", 0.5))
    stage.camera.labels(("person", 0.9))
    stage.run(6)
    stage.camera.labels(("bird", 0.9))
    stage.step()
    assert [part.labels for part in stage.disk.parts] == [{"person": 0.9, "dog": 0.5}]


def test_a_camera_that_hangs_at_close_is_given_up():
    stage = Stage()
    stage.camera.hangs_at_close = True
    stage.camera.lose()
    with pytest.raises(CameraGaveUp, match="does not close"):
        stage.step()


def test_frames_of_a_closed_camera_are_ignored():
    stage = Stage()
    stage.run(1)
    late = stage.camera.sink
    stage.camera.lose()
    stage.step()
    stage.camera.picture()
    stage.camera.motion()
    stage.wait(1)
    assert stage.camera.is_open
    assert late is not None
    late(stage.camera.sent[-1])
    stage.step(2)
    assert stage.thread.fault == "unplugged"
    assert stage.of(MotionStarted) == []


def test_a_recorder_that_cannot_keep_up_loses_the_camera_and_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera_inbox, "WAITING_BYTES_MAX", 5_000)
    stage = Stage()
    for _ in range(30):
        stage.camera.picture()
    stage.step()
    assert [event.reason for event in stage.of(CameraFaulted)] == ["the disk is too slow for the recording"]
    stage.wait(1)
    stage.run(0.1)
    assert stage.thread.fault is None


def test_the_end_of_footage_closes_the_clip_and_is_told():
    stage = Stage()
    stage.run(1, moving=True)
    stage.camera.end()
    stage.step()
    assert stage.disk.parts[0].is_closed
    assert len(stage.of(FootageFinished)) == 1
    stage.wait(60)
    assert stage.openings == 1
    assert stage.of(CameraFaulted) == []


def test_the_age_of_the_last_frame_is_known_while_one_is_due():
    stage = Stage()
    stage.run(1)
    stage.clock.advance(2)
    assert stage.thread.frame_age_s == pytest.approx(2)
    stage.camera.lose()
    stage.step()
    assert stage.thread.frame_age_s is None


# Settings


def test_settings_wait_for_the_open_clip():
    stage = Stage()
    stage.run(3)
    stage.run(1, moving=True)
    outcome = stage.reconfigure(CameraSettings(buffer=2, framerate=10))
    assert not outcome.done()
    assert stage.openings == 1
    stage.run(5)
    assert outcome.result(timeout=0) is None
    assert stage.camera.openings[-1].settings.framerate == 10
    assert stage.disk.parts[0].is_closed


def test_motion_without_end_does_not_keep_settings_waiting_for_ever():
    stage = Stage()
    stage.run(2, moving=True)
    outcome = stage.reconfigure(CAMERA, MotionSettings(post_roll=3))
    stage.run(SETTINGS_PATIENCE_S - 2, moving=True)
    assert not outcome.done()
    stage.run(4, moving=True)
    assert outcome.done()
    assert len(stage.of(MotionStarted)) == 2
    recorded = stage.disk.recorded()
    assert recorded == stage.camera.sent[: len(recorded)]


@pytest.mark.parametrize(
    "camera, motion",
    [
        (CameraSettings(buffer=9, sensitivity=20, recording_window="8-18"), MOTION),
        (CAMERA, MotionSettings(post_roll=9, cool_down=5, zones=[[(0, 0), (9, 0), (0, 9)]])),
    ],
)
def test_settings_that_leave_the_picture_alone_do_not_close_the_camera(camera: CameraSettings, motion: MotionSettings):
    stage = Stage()
    stage.run(1)
    assert stage.reconfigure(camera, motion).done()
    assert stage.openings == 1


@pytest.mark.parametrize(
    "camera, motion",
    [
        (CameraSettings(rotation=0), MOTION),
        (CameraSettings(resolution="1280x720"), MOTION),
        (CameraSettings(encoding_bitrate=1_000_000), MOTION),
        (CAMERA, MotionSettings(privacy_masks=[[(0, 0), (9, 0), (0, 9)]])),
    ],
)
def test_settings_that_change_the_picture_reopen_the_camera(camera: CameraSettings, motion: MotionSettings):
    stage = Stage()
    stage.run(1)
    assert stage.reconfigure(camera, motion).result(timeout=0) is None
    assert stage.camera.openings[-1][:2] == (camera, motion.privacy_masks)
    assert stage.of(CameraFaulted) == []


def test_settings_that_the_camera_refuses_are_refused_and_the_old_ones_hold_on():
    stage = Stage()
    stage.run(1)
    stage.camera.refusals.append(InvalidInput("resolution", "too large"))
    outcome = stage.reconfigure(CameraSettings(resolution="4096x3072"))
    with pytest.raises(InvalidInput, match="too large"):
        outcome.result(timeout=0)
    stage.step()
    assert stage.camera.is_open
    assert stage.camera.openings[-1].settings == CAMERA
    assert stage.of(CameraFaulted) == []


def test_a_camera_that_is_away_while_it_is_reconfigured_comes_back_with_the_new_settings():
    stage = Stage()
    stage.run(1)
    stage.camera.refusals.append(Unavailable("gone for now"))
    outcome = stage.reconfigure(CameraSettings(framerate=10))
    assert outcome.result(timeout=0) is None
    stage.wait(1)
    assert stage.camera.openings[-1].settings.framerate == 10


def test_a_later_change_supersedes_the_one_that_waits():
    stage = Stage()
    stage.run(1, moving=True)
    first = stage.reconfigure(CameraSettings(framerate=10))
    second = stage.reconfigure(CameraSettings(framerate=5))
    assert first.cancelled()
    stage.run(5)
    assert second.done()
    assert [opening.settings.framerate for opening in stage.camera.openings] == [20, 5]


def test_a_change_that_was_cancelled_is_not_applied():
    stage = Stage()
    stage.run(1, moving=True)
    outcome = stage.reconfigure(CameraSettings(framerate=10))
    outcome.cancel()
    stage.run(5)
    assert stage.openings == 1


def test_settings_for_a_closed_camera_are_taken_over_and_used_when_it_opens():
    stage = Stage(duty=Duty(camera_open=False))
    assert stage.reconfigure(CameraSettings(framerate=10)).done()
    stage.thread.take_up(Duty())
    stage.step(2)
    assert [opening.settings.framerate for opening in stage.camera.openings] == [10]


def test_settings_refused_only_when_the_camera_opens_again_go_back_to_the_installation_s():
    stage = Stage()
    stage.run(1)
    stage.thread.take_up(Duty(camera_open=False))
    stage.step()
    assert stage.reconfigure(CameraSettings(resolution="4096x3072")).done()
    stage.camera.refusals.append(InvalidInput("camera.resolution", "too large"))
    stage.thread.take_up(Duty())
    stage.step(2)
    assert stage.of(SettingsRefused) == [SettingsRefused("camera.resolution", "too large")]
    assert stage.camera.openings[-1].settings == CAMERA
    stage.run(0.2)
    assert stage.thread.fault is None


def test_a_camera_that_refuses_what_it_took_before_is_a_fault_until_it_takes_it():
    stage = Stage()
    stage.run(1)
    stage.camera.refusals.append(InvalidInput("camera.resolution", "not with this sensor"))
    stage.camera.lose()
    stage.step(2)
    stage.wait(1)
    assert stage.thread.fault == "camera.resolution: not with this sensor"
    stage.wait(3)
    stage.run(0.2)
    assert stage.thread.fault is None


def test_settings_that_are_in_force_already_are_no_reason_to_do_anything():
    stage = Stage()
    stage.run(1)
    judge = stage.thread._judge
    assert stage.reconfigure().result(timeout=0) is None
    assert stage.thread._judge is judge


# Duty


def test_privacy_closes_the_clip_and_the_camera_at_once():
    stage = Stage()
    stage.run(2, moving=True)
    done = stage.thread.take_up(Duty(camera_open=False, record_motion=False))
    stage.step()
    assert done.done()
    assert not stage.camera.is_open
    assert stage.disk.parts[0].is_closed
    stage.wait(3600)
    assert stage.openings == 1
    assert stage.of(CameraFaulted) == []
    assert stage.thread.frame_age_s is None


def test_after_privacy_the_camera_is_opened_at_once():
    stage = Stage(duty=Duty(camera_open=False))
    assert stage.openings == 0
    stage.thread.take_up(Duty())
    stage.step(2)
    assert stage.camera.is_open


def test_a_fault_before_privacy_is_reported_as_mended_after_it():
    stage = Stage()
    stage.run(0.2)
    stage.camera.lose()
    stage.step()
    stage.thread.take_up(Duty(camera_open=False))
    stage.step()
    assert stage.thread.fault is None
    stage.thread.take_up(Duty())
    stage.step(2)
    stage.run(0.2)
    assert len(stage.of(CameraFaulted)) == 1
    assert [event.after_fault for event in stage.of(CameraOpened)] == [False, True]


def test_at_home_motion_is_told_to_the_timeline_and_not_recorded():
    stage = Stage(duty=Duty(record_motion=False))
    stage.run(2, moving=True)
    assert True in stage.motion_told
    assert stage.disk.parts == []


def test_coming_home_ends_the_motion_clip_soon():
    stage = Stage(motion=MotionSettings(post_roll=100))
    stage.run(2, moving=True)
    stage.thread.take_up(Duty(record_motion=False))
    stage.run(2, moving=True)
    assert [event.recording for event in stage.of(RecordingChanged)] == [True, False]


def test_a_camera_that_hangs_when_privacy_closes_it_is_given_up():
    stage = Stage()
    stage.camera.hangs_at_close = True
    done = stage.thread.take_up(Duty(camera_open=False))
    with pytest.raises(CameraGaveUp):
        stage.step()
    assert isinstance(done.exception(timeout=0), CameraGaveUp)


# Requests


def test_a_still_is_taken_by_the_owner_of_the_camera():
    stage = Stage()
    stage.run(0.1)
    picture = stage.thread.still(1.0)
    stage.step()
    assert picture.result(timeout=0) == stage.camera.still_jpeg


def test_who_asks_for_a_still_while_one_is_due_gets_the_same():
    stage = Stage()
    stage.run(0.1)
    pictures = [stage.thread.still(1.0) for _ in range(50)]
    stage.step()
    assert {picture.result(timeout=0) for picture in pictures} == {stage.camera.still_jpeg}
    assert stage.camera.calls.count("still") == 1
    stage.thread.still(1.0)
    stage.step()
    assert stage.camera.calls.count("still") == 2


def test_a_still_that_the_camera_cannot_take_fails_and_nothing_else_does():
    stage = Stage()
    stage.run(0.1)
    stage.camera.still_failure = Unavailable("no decoder")
    picture = stage.thread.still(1.0)
    stage.step()
    assert isinstance(picture.exception(timeout=0), Unavailable)
    assert stage.camera.is_open


def ask(stage: Stage) -> list[Future[Any]]:
    """A still and a capture, asked for and looked at."""
    asked: list[Future[Any]] = [stage.thread.still(1.0), stage.thread.capture(3, "c1", None)]
    stage.step(2)
    return asked


def reasons(futures: list[Future[Any]]) -> list[str]:
    """Why each was refused."""
    errors = [future.exception(timeout=0) for future in futures]
    assert {type(error) for error in errors} == {Unavailable}
    return [str(error) for error in errors]


def at_the_start() -> Stage:
    return Stage(open_it=False)


def after_an_edit() -> Stage:
    stage = Stage()
    stage.run(1)
    assert stage.reconfigure(CameraSettings(framerate=10)).done()
    return stage


def after_a_fault() -> Stage:
    stage = Stage()
    stage.run(1)
    stage.camera.lose()
    stage.step()
    return stage


@pytest.mark.parametrize("opening", [at_the_start, after_an_edit, after_a_fault])
def test_what_is_asked_for_while_the_camera_opens_waits_for_its_first_picture(opening: Callable[[], Stage]):
    stage = opening()
    asked = ask(stage)
    stage.wait(1)
    stage.step()
    assert stage.camera.is_open
    assert not any(future.done() for future in asked)
    first = stage.camera.picture()
    stage.step()
    still, capture = (future.result(timeout=0) for future in asked)
    assert still == stage.camera.still_jpeg
    stage.run(5)
    (part,) = stage.disk.parts
    assert part.header.event_id == capture.event_id
    assert stage.disk.recorded()[0] == first
    assert part.is_closed


def test_two_captures_that_wait_for_the_first_picture_share_a_clip():
    stage = at_the_start()
    asked = [stage.thread.capture(3, name, None) for name in ("c1", "c2")]
    stage.run(0.2)
    first, second = (future.result(timeout=0) for future in asked)
    assert (first.joined, second.joined) == (False, True)
    assert first.event_id == second.event_id


@pytest.mark.parametrize("refusal, reason", [(None, "no picture has come yet"), (Unavailable("absent"), "absent")])
def test_a_camera_that_stays_dead_is_waited_for_no_longer_than_the_bound(refusal: Unavailable | None, reason: str):
    stage = at_the_start()
    stage.camera.standing_refusal = refusal
    asked = ask(stage)
    stage.wait(FIRST_PICTURE_WAIT_S - 0.1)
    assert not any(future.done() for future in asked)
    stage.wait(0.2)
    assert reasons(asked) == [reason] * 2
    assert "still" not in stage.camera.calls


@pytest.mark.usefixtures("slow_to_start")
def test_who_asks_does_not_wait_longer_for_a_camera_that_starts_slowly():
    stage = at_the_start()
    asked = ask(stage)
    stage.wait(FIRST_PICTURE_WAIT_S + 0.1)
    assert reasons(asked) == ["no picture has come yet"] * 2
    assert stage.camera.is_open


def test_what_was_asked_for_before_an_opening_that_took_too_long_is_answered_right_after_it():
    stage = at_the_start()
    asked: list[Future[Any]] = [stage.thread.still(1.0), stage.thread.capture(3, "c1", None)]
    stage.clock.advance(FIRST_PICTURE_WAIT_S)
    stage.step(2)
    assert all(future.done() for future in asked)


def test_who_waits_for_the_first_picture_holds_nobody_up():
    stage = at_the_start()
    asked = ask(stage)
    other = stage.thread.submit(lambda: "served")
    stage.step()
    assert other.result(timeout=0) == "served"
    assert not any(future.done() for future in asked)


def test_so_many_may_wait_for_the_first_picture_and_the_next_is_answered_at_once():
    stage = at_the_start()
    asked = [stage.thread.capture(1, None, None) for _ in range(WAITING_MAX + 1)]
    stage.step(WAITING_MAX + 1)
    assert reasons([future for future in asked if future.done()]) == ["no picture has come yet"]
    assert asked[-1].done()
    stage.run(0.1)
    assert len({future.result(timeout=0).event_id for future in asked[:-1]}) == 1


def test_nobody_waits_for_a_camera_that_is_closed_on_purpose():
    stage = Stage(duty=Duty(camera_open=False))
    assert reasons(ask(stage)) == ["the camera is closed"] * 2


@pytest.mark.parametrize("closed_by", ["privacy", "the end of the footage"])
def test_a_camera_that_is_closed_on_purpose_ends_the_wait_for_its_first_picture(closed_by: str):
    stage = at_the_start()
    asked = ask(stage)
    if closed_by == "privacy":
        stage.thread.take_up(Duty(camera_open=False))
    else:
        stage.camera.end()
    stage.step()
    assert reasons(asked) == ["the camera is closed"] * 2


def test_a_stop_ends_the_wait_for_the_first_picture_at_once():
    stage = at_the_start()
    asked = ask(stage)
    assert not any(future.done() for future in asked)
    run_until_stopped(stage)
    assert reasons(asked) == ["the camera has stopped"] * 2


def test_a_request_that_was_cancelled_while_it_waited_is_not_served():
    stage = at_the_start()
    still, capture = ask(stage)
    assert still.cancel()
    assert capture.cancel()
    stage.run(0.2)
    assert "still" not in stage.camera.calls
    assert stage.disk.parts == []


def test_a_capture_records_and_says_which_clip():
    stage = Stage()
    stage.run(1)
    capture = stage.thread.capture(3, "c1", {"id": "x"})
    stage.run(6)
    header = stage.disk.parts[0].header
    assert capture.result(timeout=0) == (header.event_id, False)
    assert header.connection == {"id": "x"}


def test_a_request_that_was_cancelled_is_not_served():
    stage = Stage()
    stage.run(0.1)
    picture = stage.thread.still(1.0)
    picture.cancel()
    stage.step()
    assert "still" not in stage.camera.calls


# The end


def run_until_stopped(stage: Stage) -> None:
    stage.thread.stop()
    stage.thread._run()


def test_a_stop_closes_the_camera_and_the_clip_with_what_has_arrived():
    stage = Stage()
    stage.run(1, moving=True)
    waiting = [stage.camera.picture() for _ in range(3)]
    stage.camera.motion()
    run_until_stopped(stage)
    assert stage.crashes == []
    assert stage.disk.recorded()[-3:] == waiting
    assert stage.disk.parts[0].is_closed
    assert not stage.camera.is_open
    assert stage.thread.description is None


def test_a_camera_that_hangs_at_the_stop_does_not_keep_the_clip_open():
    stage = Stage()
    stage.run(1, moving=True)
    stage.camera.hangs_at_close = True
    run_until_stopped(stage)
    assert stage.crashes == []
    assert stage.disk.parts[0].is_closed


def test_requests_at_and_after_the_stop_fail_and_never_hang():
    stage = Stage()
    stage.run(1, moving=True)
    waiting = stage.thread.reconfigure(CameraSettings(framerate=10), MOTION)
    stage.step()
    unserved = stage.thread.capture(10, None, None)
    stage.thread.stop()
    stage.thread.left()
    late: list[Future[Any]] = [
        stage.thread.still(1.0),
        stage.thread.take_up(Duty()),
        stage.thread.capture(1, None, None),
    ]
    for future in [unserved, *late]:
        assert isinstance(future.exception(timeout=0), Unavailable)
    for change in (waiting, stage.thread.reconfigure(CAMERA, MOTION)):
        with pytest.raises(CancelledError):
            change.result(timeout=0)


def test_a_thread_that_is_stopped_before_it_began_leaves_no_request_waiting():
    stage = Stage(open_it=False)
    request = stage.thread.still(1.0)
    stage.thread.stop()
    assert isinstance(request.exception(timeout=0), Unavailable)


def test_a_failure_of_the_thread_ends_the_requests_that_wait():
    stage = Stage(open_it=False)
    stage.camera.standing_refusal = InvalidInput("--camera", "no such device")
    stage.thread.start()
    assert stage.thread.join(10)
    assert isinstance(stage.thread.still(1.0).exception(timeout=0), Unavailable)
    assert [type(error) for error in stage.crashes] == [CameraGaveUp]


def test_the_thread_serves_frames_and_requests_while_it_runs():
    stage = Stage(open_it=False)
    opened = threading.Event()
    stage.thread._post = lambda event: opened.set() if isinstance(event, CameraOpened) else None
    stage.thread.start()
    while not opened.wait(0.01):
        if stage.camera.sink is not None:
            stage.camera.picture()
    assert stage.thread.capture(1, None, None).result(timeout=10).joined is False
    assert stage.thread.recorder.recording
    stage.thread.stop()
    assert stage.thread.join(10)
