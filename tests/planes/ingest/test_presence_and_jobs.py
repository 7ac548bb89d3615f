"""Presence, jobs and reported settings: in any order, each told once."""

from __future__ import annotations

import itertools

import pytest

from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes.ingest import job_events, presence_events, settings_events
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, GUEST, OWNER, StagedHome, ask_for
from tests.planes.recordings import pushed

JOB = JobId("job-1")


def present(home: StagedHome, connected: bool, at_s: float) -> None:
    presence_events.changed(home, GARDEN, connected, at_s=at_s, now_s=home.clock(), reason="tests")


def test_a_camera_that_connects_is_online_and_seen(fleet):
    present(fleet, True, START_S)
    camera = fleet.cameras.get(GARDEN)
    assert (camera.online, camera.online_changed_at, camera.last_seen_at) == (True, START_S * 1000, START_S * 1000)
    (told,) = pushed(fleet, "camera_online")
    assert (told.camera, told.time, told.reason) == (GARDEN, START_S * 1000, "tests")


def test_whatever_the_order_the_latest_word_holds(fleet):
    news = [(True, START_S - 30), (False, START_S - 20), (True, START_S - 10), (True, START_S - 10)]
    for order in itertools.permutations(news):
        for connected, at_s in order:
            present(fleet, connected, at_s)
        camera = fleet.cameras.get(GARDEN)
        assert camera.online is True


def test_what_is_known_already_is_not_told_again(fleet):
    present(fleet, True, START_S)
    present(fleet, True, START_S + 5)
    present(fleet, False, START_S - 5)
    assert [each.type for each in pushed(fleet)] == ["camera_online"]


def test_a_camera_that_is_lost_was_not_seen_then(fleet):
    present(fleet, False, START_S)
    assert fleet.cameras.get(GARDEN).last_seen_at is None
    assert [each.type for each in pushed(fleet)] == ["camera_offline"]


def test_what_is_no_thing_of_ours_is_never_present(home):
    presence_events.changed(home, ThingName("alien"), True, at_s=START_S, now_s=START_S)
    assert pushed(home) == []


def progress(home: StagedHome, status: JobStatus, **fields) -> None:
    told = {"number": 1, "status": status, "at_s": home.clock(), "now_s": home.clock(), **fields}
    job_events.progressed(home, GARDEN, JOB, **told)


def test_each_step_of_a_job_is_told_once_and_a_failure_alerts(fleet):
    ask_for(fleet, OWNER, "POST", "/subscriptions", {"protocol": "email", "endpoint": "a@example.com"})
    for status in (JobStatus.QUEUED, JobStatus.IN_PROGRESS, JobStatus.IN_PROGRESS, JobStatus.FAILED, JobStatus.FAILED):
        progress(fleet, status, reason="no room")
    told = [each.status for each in pushed(fleet, "job_progress")]
    assert (len(told), set(told)) == (3, {"FAILED", "IN_PROGRESS", "QUEUED"})
    ((alert, _),) = fleet.notifier.delivered
    assert (alert.alert_type, alert.title, alert.text) == (
        "job_failed",
        "A job has failed on Garden",
        "job-1: FAILED no room",
    )
    assert alert.link == "/jobs/job-1"


def test_jobs_are_told_to_owners_alone(fleet):
    progress(fleet, JobStatus.SUCCEEDED)
    assert len(pushed(fleet, "job_progress")) == 1
    assert ask_for(fleet, GUEST, "GET", "/events")["items"] == []


def test_reported_settings_are_told_when_they_are_new(fleet):
    sync = {"fingerprint": "f", "applied": ["camera"], "rejected": {}}
    for _ in range(2):
        settings_events.reported(fleet, GARDEN, {"sync": sync}, at_ms=1, now_s=START_S)
    assert [each.settings for each in pushed(fleet, "settings_applied")] == [sync]


@pytest.mark.parametrize(
    "sync",
    [
        {"fingerprint": 7, "applied": "camera", "rejected": []},
        {
            "fingerprint": "x" * 1000,
            "applied": ["y" * 1000] * 100,
            "rejected": {str(n): "z" * 1000 for n in range(100)},
        },
    ],
)
def test_what_a_camera_says_of_its_settings_is_bounded(fleet, sync):
    settings_events.reported(fleet, GARDEN, {"sync": sync, "mode": "none"}, at_ms=1, now_s=START_S)
    (told,) = pushed(fleet, "settings_applied")
    assert told.settings is not None
    assert len(told.settings["fingerprint"]) <= settings_events.NAME_MAX
    assert len(told.settings["applied"]) <= settings_events.SECTIONS_MAX
    assert len(told.settings["rejected"]) <= settings_events.REJECTED_MAX
