from __future__ import annotations

import pytest

from pinthesky.device.upload_schedule import Choice, Lane, Trouble, UploadSchedule

CLIPS, IMAGES = Lane.CLIPS, Lane.IMAGES


@pytest.fixture
def schedule() -> UploadSchedule:
    return UploadSchedule(jitter=lambda: 1.0)


def test_with_nothing_waiting_there_is_nothing_to_wait_for(schedule: UploadSchedule):
    assert schedule.choose(CLIPS, [], 0) == Choice(None, None)


def test_the_newest_goes_first(schedule: UploadSchedule):
    assert schedule.choose(CLIPS, ["new", "old"], 0) == Choice("new")


def test_after_a_failure_the_lane_waits_and_then_tries_another(schedule: UploadSchedule):
    schedule.failed(CLIPS, "new", Trouble.UNAVAILABLE, now=0)
    assert schedule.choose(CLIPS, ["new", "old"], 0.5) == Choice(None, 0.5)
    assert schedule.choose(CLIPS, ["new", "old"], 1) == Choice("old")


def test_in_an_outage_the_items_take_turns(schedule: UploadSchedule):
    tried = []
    now = 0.0
    for _ in range(6):
        now += 1000
        name = schedule.choose(CLIPS, ["c", "b", "a"], now).name
        assert name is not None
        tried.append(name)
        schedule.failed(CLIPS, name, Trouble.UNAVAILABLE, now=now)
    assert tried == ["c", "b", "a", "c", "b", "a"]


@pytest.mark.parametrize("trouble, longest", [(Trouble.UNAVAILABLE, 60), (Trouble.DENIED, 900)])
def test_waiting_doubles_up_to_its_cap(schedule: UploadSchedule, trouble: Trouble, longest: float):
    waits: list[float] = []
    for _ in range(14):
        schedule.failed(CLIPS, "a", trouble, now=0)
        waits.append(schedule.choose(CLIPS, ["a"], 0).wait_s or 0)
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == waits[-1] == longest


def test_a_thousand_failures_overflow_nothing(schedule: UploadSchedule):
    for _ in range(2000):
        schedule.failed(CLIPS, "a", Trouble.DENIED, now=0)
    assert schedule.choose(CLIPS, ["a"], 0).wait_s == 900


def test_jitter_takes_up_to_half_of_the_waiting_away():
    schedule = UploadSchedule(jitter=lambda: 0.0)
    schedule.failed(CLIPS, "a", Trouble.UNAVAILABLE, now=0)
    assert schedule.choose(CLIPS, ["a"], 0).wait_s == 0.5


def test_one_success_ends_the_waiting_and_newest_first_holds_again(schedule: UploadSchedule):
    for name in ("c", "b"):
        schedule.failed(CLIPS, name, Trouble.UNAVAILABLE, now=0)
    assert schedule.stored(CLIPS, "a", 60) is Trouble.UNAVAILABLE
    assert schedule.choose(CLIPS, ["c", "b"], 60) == Choice("c")


def test_an_item_that_fails_while_others_go_through_waits_for_itself(schedule: UploadSchedule):
    for number in range(3):
        schedule.failed(CLIPS, "bad", Trouble.UNAVAILABLE, now=0)
        schedule.stored(CLIPS, f"good{number}", 0)
    assert schedule.choose(CLIPS, ["bad", "good"], 0) == Choice("good")
    assert schedule.choose(CLIPS, ["bad"], 0) == Choice(None, 60)
    assert schedule.choose(CLIPS, ["bad"], 60) == Choice("bad")


def test_success_in_one_lane_wakes_the_other_from_an_outage(schedule: UploadSchedule):
    for _ in range(10):
        schedule.failed(CLIPS, "clip", Trouble.UNAVAILABLE, now=0)
    schedule.stored(IMAGES, "picture", 1)
    assert schedule.choose(CLIPS, ["clip"], 1) == Choice("clip")
    assert schedule.trouble_of(CLIPS) is None


def test_success_in_one_lane_says_nothing_about_policy_in_the_other(schedule: UploadSchedule):
    for _ in range(10):
        schedule.failed(CLIPS, "clip", Trouble.DENIED, now=0)
    schedule.stored(IMAGES, "picture", 1)
    assert schedule.choose(CLIPS, ["clip"], 1).name is None


def test_a_clip_that_never_goes_through_does_not_hammer_while_pictures_do(schedule: UploadSchedule):
    attempts = 0
    for second in range(3600):
        if schedule.choose(CLIPS, ["clip"], second).name:
            attempts += 1
            schedule.failed(CLIPS, "clip", Trouble.UNAVAILABLE, now=second)
        schedule.stored(IMAGES, f"picture{second}", second)
    assert attempts <= 10


def test_a_nudge_tries_at_once_what_was_unavailable_but_not_what_was_denied(schedule: UploadSchedule):
    schedule.failed(CLIPS, "clip", Trouble.UNAVAILABLE, now=0)
    schedule.failed(IMAGES, "picture", Trouble.DENIED, now=0)
    schedule.nudge()
    assert schedule.choose(CLIPS, ["clip"], 0) == Choice("clip")
    assert schedule.choose(IMAGES, ["picture"], 0).name is None


def test_a_refused_object_waits_for_long_and_holds_nobody_up(schedule: UploadSchedule):
    assert schedule.refused(CLIPS, "bad", 0) == 1
    assert schedule.choose(CLIPS, ["bad", "good"], 0) == Choice("good")
    assert schedule.choose(CLIPS, ["bad"], 0) == Choice(None, 600)
    for _ in range(30):
        schedule.refused(CLIPS, "bad", 0)
    assert schedule.choose(CLIPS, ["bad"], 0) == Choice(None, 6 * 3600)
    assert schedule.refused_items == 1


def test_trouble_is_new_once(schedule: UploadSchedule):
    told = [
        schedule.failed(CLIPS, "a", trouble, now=0) for trouble in (Trouble.UNAVAILABLE,) * 2 + (Trouble.DENIED,) * 2
    ]
    assert told == [True, False, True, False]


def test_items_that_no_longer_wait_are_forgotten(schedule: UploadSchedule):
    schedule.refused(CLIPS, "gone", 0)
    schedule.forget_all_but({"there"})
    assert schedule.refused_items == 0


def test_another_destination_starts_afresh(schedule: UploadSchedule):
    schedule.failed(CLIPS, "a", Trouble.DENIED, now=0)
    schedule.refused(IMAGES, "b", 0)
    schedule.start_afresh()
    assert schedule.choose(CLIPS, ["a"], 0) == Choice("a")
    assert schedule.choose(IMAGES, ["b"], 0) == Choice("b")
