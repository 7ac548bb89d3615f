"""Repositories while others write: nothing is lost, nothing is made twice, and what never settles is said so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pinthesky.errors import Conflict, InvalidInput, NotFound, Unavailable
from pinthesky.model.people import PersonId
from pinthesky.planes.records.clips import Clip, with_star
from pinthesky.planes.records.conditions import Condition
from pinthesky.planes.records.motion_events import MotionEvent
from pinthesky.planes.records.subscriptions import Subscription, SubscriptionId
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, StagedHome
from tests.planes.recordings import add_row, event_id

EVENT = event_id(1)
NOW_MS = round(START_S) * 1000
MINUTE = round(START_S / 60)
RULE = Subscription(
    id=SubscriptionId.new(), person=PersonId("olga"), protocol="email", endpoint="a@example.com", created_at=NOW_MS
)
Race = Callable[[Callable[[], object]], None]


@pytest.fixture
def race(home: StagedHome, monkeypatch: pytest.MonkeyPatch) -> Race:
    """Have somebody else be faster: `race(rival)` calls `rival` just before the next write."""
    write = home.table.write

    def begin(rival: Callable[[], object]) -> None:
        def second(*changes):
            monkeypatch.setattr(home.table, "write", write)
            rival()
            write(*changes)

        monkeypatch.setattr(home.table, "write", second)

    return begin


@pytest.fixture
def never_settles(home: StagedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_changes):
        raise Conflict("somebody was faster, as always")

    monkeypatch.setattr(home.table, "write", refuse)


def motion(at_ms: int | None = NOW_MS, clip_at: int | None = None) -> MotionEvent:
    return MotionEvent(thing_name=GARDEN, event_id=EVENT, heard_at=NOW_MS, motion_at=at_ms, score=1.0, clip_at=clip_at)


def test_of_two_that_hear_the_start_of_motion_one_was_first(home, race):
    firsts = []
    race(lambda: firsts.append(home.motion_events.begin(motion())))
    firsts.append(home.motion_events.begin(motion()))
    assert firsts == [True, False]


def test_start_and_clip_that_are_heard_at_once_make_one_event(home, race):
    race(lambda: home.motion_events.recorded(motion(None, NOW_MS - 5000)))
    assert home.motion_events.begin(motion()) is True
    found = home.motion_events.get(GARDEN, EVENT)
    assert (found.motion_at, found.clip_at, found.at) == (NOW_MS, NOW_MS - 5000, NOW_MS)


def test_an_event_of_which_no_time_is_known_is_of_when_it_was_heard(home):
    assert motion(None).at == NOW_MS


def test_minutes_that_are_told_at_once_are_all_kept(home, race):
    race(lambda: home.motion_minutes.note(GARDEN, {MINUTE: 10, MINUTE + 1: 20}))
    home.motion_minutes.note(GARDEN, {MINUTE + 1: 15, MINUTE + 2: 30})
    assert home.motion_minutes.between(GARDEN, MINUTE, MINUTE + 9) == {MINUTE: 10, MINUTE + 1: 20, MINUTE + 2: 30}


def test_minutes_of_more_hours_than_a_page_are_all_found(home):
    percent_of = {MINUTE - hour * 60: 1 + hour % 100 for hour in range(150)}
    home.motion_minutes.note(GARDEN, percent_of)
    assert home.motion_minutes.between(GARDEN, MINUTE - 150 * 60, MINUTE) == percent_of


def test_of_two_occasions_at_once_one_is_told_and_the_other_counted(home, race):
    told = []
    race(lambda: told.append(home.subscriptions.admit(RULE, "motion#garden", NOW_MS)))
    told.append(home.subscriptions.admit(RULE, "motion#garden", NOW_MS))
    assert told == [0, None]
    assert home.subscriptions.admit(RULE, "motion#garden", NOW_MS + 300_000) == 1


def test_a_clip_that_is_starred_while_it_is_deleted_is_deleted_with_its_star(home, race):
    video = add_row(home, GARDEN, START_S, EVENT)

    def star() -> Clip:
        return home.clips.change(GARDEN, video, lambda clip: with_star(clip, True, NOW_MS))

    race(star)
    assert home.clips.mark_removed(GARDEN, video) is not None
    assert home.clips.of_tag("*starred", ascending=True, limit=1).records == []
    with pytest.raises(NotFound):
        home.clips.get(GARDEN, video)


def test_of_two_that_delete_a_clip_one_did_it(home, race):
    video = add_row(home, GARDEN, START_S, EVENT)
    race(lambda: home.clips.remove(GARDEN, video))
    assert home.clips.mark_removed(GARDEN, video) is None


def test_a_clip_that_is_changed_meanwhile_is_given_its_time_the_next_day(home, race):
    video = add_row(home, GARDEN, START_S, EVENT)
    home.clips._keep_days = 60
    (record,) = home.clips.records_of(GARDEN)
    race(lambda: home.clips.change(GARDEN, video, lambda clip: with_star(clip, True, NOW_MS)))
    assert home.clips.renew(record) is False


@pytest.mark.usefixtures("never_settles")
@pytest.mark.parametrize(
    "attempt",
    [
        lambda home: home.motion_events.begin(motion()),
        lambda home: home.motion_minutes.note(GARDEN, {600: 10}),
        lambda home: home.subscriptions.admit(RULE, "motion#garden", NOW_MS),
    ],
)
def test_what_never_settles_is_said_so(home, attempt):
    with pytest.raises(Unavailable, match="too many at once"):
        attempt(home)


def test_a_clip_that_is_always_changed_cannot_be_deleted_now(home, monkeypatch):
    video = add_row(home, GARDEN, START_S, EVENT)

    def refuse(*_changes):
        raise Conflict("somebody was faster, as always")

    monkeypatch.setattr(home.table, "write", refuse)
    with pytest.raises(Unavailable, match="too many at once"):
        home.clips.mark_removed(GARDEN, video)


def test_conditions_of_a_long_time_are_all_found(home):
    for number in range(250):
        home.conditions.note(GARDEN, "offline", Condition(holds=number % 2 == 0), at_ms=NOW_MS + number * 1000)
    spans = home.conditions.spans(GARDEN, "offline", start_ms=NOW_MS, end_ms=NOW_MS + 250_000)
    assert len(spans) == 125
    assert all(span.end - span.start == 1000 for span in spans)


def test_what_holds_already_is_written_down_once(home):
    for second in range(5):
        home.conditions.observe(GARDEN, "fault", Condition(holds=True), at_ms=NOW_MS + second)
    assert len(home.table.query("condition#garden").records) == 1


def test_subscriptions_of_more_than_a_page_are_all_looked_at(home, monkeypatch):
    from msgspec.structs import replace

    for _ in range(101):
        home.subscriptions.add(replace(RULE, id=SubscriptionId.new()))
    assert len(home.subscriptions.everything()) == 101


@pytest.mark.parametrize("name", ["../x", "1800000000.motion.avi", "180000000.motion.mp4", ""])
def test_a_name_that_is_no_clips_is_refused(name):
    from pinthesky.planes.records.clips import VideoId

    with pytest.raises(InvalidInput, match="epoch second"):
        VideoId(name)
