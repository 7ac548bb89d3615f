"""A settings change on its way: what holds at once, what waits for the clip, what is refused, what is superseded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import pytest

from pinthesky.device.allowed_destinations import AllowedDestinations
from pinthesky.device.camera_thread import Duty
from pinthesky.device.event_thread import EventThread
from pinthesky.device.internal_events import DutyTaken, EventForCloud, SettingsRefused, ShadowArrived
from pinthesky.device.settings_applier import SettingsApplier
from pinthesky.device.shadow_reconciler import ShadowReconciler
from pinthesky.errors import InvalidInput
from pinthesky.model.events import SettingsApplied
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import (
    CameraSettings,
    CloudConnection,
    DeviceSettings,
    ModeSettings,
    MotionSettings,
    PictureSettings,
)
from tests.support.camera_stage import CameraStage

NOON = 1_750_000_000.0 - 1_750_000_000.0 % 86_400 + 43_200
INSTALLED = DeviceSettings(
    camera=CameraSettings(buffer=2), motion=MotionSettings(post_roll=2), mode=ModeSettings(time_zone="UTC")
)


class Stage:
    """An applier with its real reconciler and a real camera thread, all driven by the test."""

    def __init__(self, folder: Path, installed: DeviceSettings = INSTALLED) -> None:
        self.camera = CameraStage(camera=installed.camera, motion=installed.motion)
        self.report_path = folder / "report.json"
        self.wall_s: Optional[float] = NOON
        self.listened: list[DeviceSettings] = []
        self.concluded: list[SettingsApplied] = []
        self.queue = EventThread(lambda *_: None, monotonic=self.camera.clock.monotonic)
        self.reconciler = ShadowReconciler(
            installed=installed,
            allowed=AllowedDestinations(installed, []),
            state_path=folder / "settings.json",
            report_path=self.report_path,
            cloud_connection=CloudConnection(),
        )
        self.applier = SettingsApplier(
            reconciler=self.reconciler,
            thing_name=ThingName("garden"),
            camera=self.camera.thread,
            post=self.queue.post,
            listeners=(self.listened.append,),
            wall_s=lambda: self.wall_s,
            monotonic=self.camera.clock.monotonic,
        )
        self.applier.subscribe(self.queue)
        self.queue.subscribe(EventForCloud, self._note)
        self.applier.begin()
        self.serve()

    def _note(self, event: EventForCloud) -> None:
        assert isinstance(event.event, SettingsApplied)
        self.concluded.append(event.event)

    def serve(self) -> None:
        """Let both threads do what there is to do."""
        for _ in range(3):
            self.camera.step(2)
            self.queue.wake()
            while self.queue.backlog:
                self.queue.step()

    def desire(self, **desired: Any) -> None:
        self.queue.post(ShadowArrived(json.dumps({"current": {"state": {"desired": desired}}}).encode()))
        self.serve()

    def run(self, seconds: float, *, moving: bool = False) -> None:
        self.camera.run(seconds, moving=moving)
        self.serve()

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.report_path.read_bytes()))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_everybody_gets_the_settings_at_the_start(stage: Stage):
    assert stage.listened == [INSTALLED]
    assert stage.applier.settings == INSTALLED


def test_the_camera_is_brought_to_what_the_clock_says_at_the_start(tmp_path: Path):
    home = DeviceSettings(mode=ModeSettings(mode="privacy"))
    stage = Stage(tmp_path, home)
    assert stage.applier.duty == Duty(camera_open=False, record_motion=False)
    assert not stage.camera.camera.is_open


def test_a_section_that_is_not_the_camera_s_holds_at_once_and_is_concluded(stage: Stage):
    stage.run(1, moving=True)
    stage.desire(health={"interval": 60})
    assert stage.listened[-1].health.interval == 60
    assert [(event.applied, event.rejected) for event in stage.concluded] == [(["health"], {})]
    assert stage.report["health"]["interval"] == 60
    assert stage.camera.openings == 1


def test_camera_settings_wait_for_the_open_clip_while_the_others_hold_at_once(stage: Stage):
    stage.run(1, moving=True)
    stage.desire(health={"interval": 60}, camera={"framerate": 10})
    assert stage.listened[-1].health.interval == 60
    assert stage.concluded == []
    stage.run(5)
    assert [event.applied for event in stage.concluded] == [["camera", "health"]]
    assert stage.camera.camera.openings[-1].settings.framerate == 10
    assert stage.report["camera"]["framerate"] == 10


def test_privacy_holds_at_once_whatever_the_camera_s_settings_wait_for(stage: Stage):
    stage.run(2, moving=True)
    stage.desire(mode={"mode": "privacy"}, camera={"framerate": 10})
    assert not stage.camera.camera.is_open
    assert stage.camera.disk.parts[0].is_closed
    assert [sorted(event.applied) for event in stage.concluded] == [["camera", "mode"]]
    assert stage.applier.mode.reason == "privacy"


def test_what_the_camera_refuses_is_rejected_and_the_rest_holds(stage: Stage):
    stage.run(1)
    stage.camera.camera.refusals.append(InvalidInput("resolution", "too large for this camera"))
    stage.desire(health={"interval": 60}, camera={"resolution": "4096x3072"})
    [event] = stage.concluded
    assert event.applied == ["health"]
    assert event.rejected == {"camera": "resolution: too large for this camera"}
    assert stage.applier.settings.camera == INSTALLED.camera
    assert stage.listened[-1].health.interval == 60
    assert stage.report["sync"]["rejected"] == event.rejected
    assert stage.report["camera"]["resolution"] == "640x480"
    assert stage.camera.camera.openings[-1].settings == INSTALLED.camera


def test_a_picture_that_the_camera_cannot_see_rejects_that_section_alone(stage: Stage):
    stage.run(1)
    stage.camera.camera.refusals.append(InvalidInput("picture.focus_mode", "this camera has no focus to set"))
    stage.desire(
        picture={"focus_mode": "continuous", "sharpness": 2}, camera={"framerate": 10}, motion={"cool_down": 7}
    )
    [event] = stage.concluded
    assert event.applied == ["camera", "motion"]
    assert event.rejected == {"picture.focus_mode": "this camera has no focus to set"}
    assert stage.report["sync"]["rejected"] == event.rejected
    assert stage.report["picture"]["sharpness"] is None
    assert stage.report["camera"]["framerate"] == 10
    assert stage.applier.settings.motion.cool_down == 7
    opening = stage.camera.camera.openings[-1]
    assert (opening.settings.framerate, opening.picture) == (10, PictureSettings())


def test_a_picture_that_the_camera_takes_reopens_it_and_is_applied(stage: Stage):
    stage.run(1)
    stage.desire(picture={"sharpness": 2})
    assert [event.applied for event in stage.concluded] == [["picture"]]
    assert stage.camera.camera.openings[-1].picture == PictureSettings(sharpness=2.0)
    assert stage.report["picture"]["sharpness"] == 2.0


def test_each_refused_section_is_rejected_for_its_own_reason(stage: Stage):
    stage.run(1)
    stage.camera.camera.refusals += [
        InvalidInput("picture.gain", "too high"),
        None,  # back to what it ran with
        InvalidInput("camera.resolution", "too large"),
        None,
        InvalidInput("motion.privacy_masks", "cannot be masked"),
    ]
    masks = [[[0, 0], [9, 0], [0, 9]]]
    stage.desire(picture={"night": True}, camera={"framerate": 10}, motion={"privacy_masks": masks})
    stage.serve()
    stage.serve()
    assert [event.rejected for event in stage.concluded] == [
        {"picture.gain": "too high", "camera.resolution": "too large", "motion.privacy_masks": "cannot be masked"}
    ]
    assert stage.applier.settings == INSTALLED
    stage.run(1)
    assert stage.camera.camera.openings[-1].settings == INSTALLED.camera


def test_a_refusal_that_names_none_of_the_changed_sections_rejects_them_all(stage: Stage):
    stage.run(1)
    stage.camera.camera.refusals.append(InvalidInput("picture.gain", "too high"))
    stage.desire(camera={"framerate": 10}, motion={"privacy_masks": [[[0, 0], [9, 0], [0, 9]]]})
    reason = "picture.gain: too high"
    assert [event.rejected for event in stage.concluded] == [{"camera": reason, "motion": reason}]


def test_what_the_camera_is_there_for_is_told_at_the_start_and_when_it_changes(stage: Stage):
    told: list[DutyTaken] = []
    stage.queue.subscribe(DutyTaken, told.append)
    stage.desire(mode={"mode": "privacy"})
    stage.desire(mode={"mode": "home"})
    assert told == [DutyTaken(False, False), DutyTaken(True, False)]
    stage.applier.begin()
    stage.serve()
    assert told[-1] == DutyTaken(True, False)


def test_an_invalid_section_is_rejected_whole_and_the_others_hold(stage: Stage):
    stage.desire(camera={"framerate": 0, "rotation": 90}, health={"interval": 60})
    [event] = stage.concluded
    assert list(event.rejected) == ["camera.framerate"]
    assert stage.applier.settings.camera == INSTALLED.camera
    assert stage.applier.settings.health.interval == 60


def test_a_later_document_supersedes_one_that_still_waits(stage: Stage):
    stage.run(1, moving=True)
    stage.desire(camera={"framerate": 10})
    stage.desire(camera={"framerate": 5})
    stage.run(5)
    assert [opening.settings.framerate for opening in stage.camera.camera.openings] == [20, 5]
    assert [event.applied for event in stage.concluded] == [["camera"]]
    assert stage.report["camera"]["framerate"] == 5
    assert stage.report["sync"]["fingerprint"] == stage.concluded[0].fingerprint


def test_a_change_that_is_taken_back_while_it_waits_leaves_the_camera_alone(stage: Stage):
    stage.desire(health={"interval": 60})
    stage.run(1, moving=True)
    stage.desire(camera={"framerate": 10}, health={"interval": 60})
    stage.desire(health={"interval": 60})
    stage.run(5)
    assert stage.camera.openings == 1
    assert stage.applier.settings.camera == INSTALLED.camera
    assert stage.report["camera"]["framerate"] == 20


def test_a_refusal_that_comes_after_a_later_document_does_not_undo_that(stage: Stage):
    stage.run(1)
    stage.camera.camera.refusals.append(InvalidInput("resolution", "too large"))
    stage.queue.post(ShadowArrived(b'{"current":{"state":{"desired":{"camera":{"resolution":"4096x3072"}}}}}'))
    stage.queue.step()
    stage.queue.post(ShadowArrived(b'{"current":{"state":{"desired":{"mode":{"mode":"privacy"}}}}}'))
    stage.camera.step(3)
    stage.serve()
    assert stage.applier.settings.mode.mode == "privacy"
    assert not stage.camera.camera.is_open
    assert stage.applier.settings.camera == INSTALLED.camera
    assert stage.report["mode"]["mode"] == "privacy"
    assert stage.report["sync"]["rejected"] == {}
    assert len(stage.concluded) == 1


def test_a_refused_change_leads_back_to_what_is_reported_even_after_one_that_was_superseded_in_use(stage: Stage):
    stage.run(1)
    stage.queue.post(ShadowArrived(b'{"current":{"state":{"desired":{"camera":{"framerate":10}}}}}'))
    stage.queue.step()
    # The camera takes the first change over just as the second document comes.
    stage.queue.post(ShadowArrived(b'{"current":{"state":{"desired":{"camera":{"framerate":5}}}}}'))
    stage.camera.step(3)
    assert stage.camera.camera.openings[-1].settings.framerate == 10
    stage.camera.camera.refusals.append(InvalidInput("framerate", "too slow"))
    stage.serve()
    assert [event.rejected for event in stage.concluded] == [{"camera": "framerate: too slow"}]
    assert stage.report["camera"]["framerate"] == 20
    assert stage.camera.camera.openings[-1].settings.framerate == 20


def test_the_same_document_again_changes_nothing(stage: Stage):
    stage.desire(health={"interval": 60})
    stage.desire(health={"interval": 60})
    assert len(stage.concluded) == 1


def test_what_is_no_document_is_logged_and_changes_nothing(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.queue.post(ShadowArrived(b'{"current": {"sta'))
    stage.serve()
    assert "shadow" in caplog.text
    assert stage.applier.settings == INSTALLED


def test_at_the_stop_a_change_that_waits_is_left_to_the_next_start(tmp_path: Path):
    stage = Stage(tmp_path)
    stage.run(1, moving=True)
    stage.desire(camera={"framerate": 10})
    stage.camera.thread.stop()
    stage.camera.thread.left()
    stage.queue.wake()
    while stage.queue.backlog:
        stage.queue.step()
    assert stage.concluded == []
    again = Stage(tmp_path)
    assert again.applier.settings.camera.framerate == 20
    again.desire(camera={"framerate": 10})
    assert [event.applied for event in again.concluded] == [["camera"]]


def test_time_alone_opens_and_closes_the_recording_window(tmp_path: Path):
    settings = DeviceSettings(
        camera=CameraSettings(buffer=2, recording_window="12-13"), mode=ModeSettings(time_zone="UTC")
    )
    stage = Stage(tmp_path, settings)
    assert stage.applier.duty == Duty(True, True)
    stage.wall_s = NOON + 3_600
    stage.camera.clock.advance(3_600)
    stage.serve()
    assert stage.applier.duty == Duty(camera_open=True, record_motion=False)
    assert stage.applier.mode.reason == "outside_window"


def test_a_mode_that_ends_ends_on_time(stage: Stage):
    stage.desire(mode={"mode": "privacy", "until": int(NOON + 2), "time_zone": "UTC"})
    assert stage.camera.openings == 1
    stage.camera.clock.advance(2.1)
    stage.wall_s = NOON + 2.1
    stage.serve()
    assert stage.camera.openings == 2
    assert stage.applier.mode.reason == "armed"


def test_home_keeps_the_camera_and_records_no_motion(stage: Stage):
    stage.desire(mode={"mode": "home"})
    stage.run(2, moving=True)
    assert stage.camera.camera.is_open
    assert stage.camera.disk.parts == []


def test_what_the_camera_refuses_as_it_is_opened_is_rejected_and_what_else_came_meanwhile_stays(stage: Stage):
    stage.run(1)
    stage.desire(camera={"framerate": 10})
    stage.run(1, moving=True)
    stage.desire(camera={"framerate": 10}, health={"interval": 60}, motion={"cool_down": 5})
    assert len(stage.concluded) == 1, "the second waits for the clip"
    stage.queue.post(SettingsRefused("camera.framerate", "must be at most 5"))
    stage.serve()
    assert stage.concluded[-1].rejected == {"camera.framerate": "must be at most 5"}
    assert stage.applier.settings.camera == INSTALLED.camera
    assert stage.applier.settings.health.interval == 60
    stage.run(5)
    assert sorted(stage.concluded[-1].applied) == ["camera", "health", "motion"]
    assert stage.applier.settings.camera.framerate == 10
    assert stage.listened[-1] == stage.applier.settings == stage.reconciler.effective


def test_a_refusal_of_settings_that_others_have_replaced_changes_nothing(stage: Stage):
    stage.run(1)
    before = len(stage.listened)
    stage.queue.post(SettingsRefused("camera.framerate", "must be at most 5"))
    stage.serve()
    assert stage.concluded == []
    assert len(stage.listened) == before


def test_settings_that_wait_for_the_open_clip_are_told_apart_from_those_in_force(stage: Stage):
    stage.run(1, moving=True)
    stage.desire(health={"interval": 60}, camera={"framerate": 10}, motion={"cool_down": 5})
    now, later = stage.applier.configuration()
    assert (now.health.interval, later.health.interval) == (60, 60)
    assert (now.camera.framerate, later.camera.framerate) == (20, 10)
    assert (now.motion.cool_down, later.motion.cool_down) == (0, 5)
    stage.run(5)
    now, later = stage.applier.configuration()
    assert now == later
    assert now.camera.framerate == 10
