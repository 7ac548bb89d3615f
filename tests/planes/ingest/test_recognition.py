"""Labels of clips from the stills of their events: once for each event, so many in a month, and in nobody's way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import EventId, MediaKey, ThingName
from pinthesky.planes.home import Home, Retention
from pinthesky.planes.ingest import media_events, recognition
from pinthesky.planes.records.clips import Clip, VideoId
from tests.planes.fakes import START_S, FakePictureLabels
from tests.planes.home import GARDEN, OWNER, StagedHome, ask_for
from tests.planes.recordings import clip_key, event_id, pushed, store_clip, video_id

PERSON = {"Person": 0.98, "Dog": 0.81}
AT_S = START_S - 40
EVENT = event_id(1)


@pytest.fixture
def labels(fleet: StagedHome) -> FakePictureLabels:
    return FakePictureLabels(fleet.media)


@pytest.fixture
def seeing(fleet: StagedHome, labels: FakePictureLabels) -> StagedHome:
    return replace(fleet, labels=labels, labels_per_month=3)


def still(home: StagedHome, labels: FakePictureLabels, event: EventId = EVENT, at_s: float = AT_S) -> MediaKey:
    """What a camera stores at the beginning of motion; nobody is told."""
    key = clip_key(GARDEN, f"{video_id(at_s, event).stem}.jpg")
    home.media.store(key, b"jpeg", "image/jpeg")
    labels.seen[key] = PERSON
    return key


def told(home: Home, key: str) -> None:
    media_events.stored(home, key, START_S)


def clip_of(home: Home, video: VideoId) -> Clip:
    return home.clips.get(GARDEN, video)


class TestWhenItIsLookedAt:
    def test_a_still_before_its_clip_gives_the_clip_its_labels_and_alerts_with_them(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        ask_for(
            seeing,
            OWNER,
            "POST",
            "/subscriptions",
            {"protocol": "email", "endpoint": "olga@example.com", "filter": {"Label": ["Person"]}},
        )
        told(seeing, still(seeing, labels))
        video = store_clip(seeing, GARDEN, AT_S, EVENT)
        told(seeing, clip_key(GARDEN, video))
        assert clip_of(seeing, video).labels == PERSON
        assert [push.labels for push in pushed(seeing, "clip_stored")] == [PERSON]
        assert [alert.labels for alert, _ in seeing.notifier.delivered] == [list(PERSON)]

    def test_a_clip_before_its_still_gets_them_later_and_consoles_hear_of_it(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        video = store_clip(seeing, GARDEN, AT_S, EVENT)
        told(seeing, clip_key(GARDEN, video))
        assert clip_of(seeing, video).labels == {}
        seeing.clock.now_s += 1
        media_events.stored(seeing, still(seeing, labels), seeing.clock())
        assert clip_of(seeing, video).labels == PERSON
        assert [push.labels for push in pushed(seeing, "clip_stored")] == [None, PERSON]

    def test_a_still_that_nobody_has_told_of_is_found_beside_its_clip(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        still(seeing, labels)
        video = store_clip(seeing, GARDEN, AT_S, EVENT)
        told(seeing, clip_key(GARDEN, video))
        assert clip_of(seeing, video).labels == PERSON

    def test_every_part_of_an_event_has_the_labels_of_its_one_still(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        told(seeing, still(seeing, labels))
        told(seeing, still(seeing, labels, at_s=AT_S + 20))
        videos = [store_clip(seeing, GARDEN, AT_S + 20 * part, EVENT, part=str(part + 1)) for part in range(2)]
        for video in videos:
            told(seeing, clip_key(GARDEN, video))
        assert [clip_of(seeing, video).labels for video in videos] == [PERSON, PERSON]
        assert len(labels.asked) == 1

    def test_a_camera_of_the_predecessor_names_no_event_and_each_clip_is_one(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        videos = [VideoId(f"{int(AT_S) + number}.motion.h264") for number in range(2)]
        for video in videos:
            seeing.media.store(clip_key(GARDEN, video), b"broken", "video/h264")
            picture = clip_key(GARDEN, f"{video.stem}.jpg")
            seeing.media.store(picture, b"jpeg", "image/jpeg")
            labels.seen[picture] = {"Car": 0.9}
            told(seeing, clip_key(GARDEN, video))
            told(seeing, picture)
        assert [clip_of(seeing, video).labels for video in videos] == [{"Car": 0.9}] * 2

    def test_what_the_camera_has_seen_itself_stays_and_the_surer_finding_counts(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        told(seeing, still(seeing, labels))
        video = store_clip(seeing, GARDEN, AT_S, EVENT, labels="cat=0.7,Dog=0.95")
        told(seeing, clip_key(GARDEN, video))
        assert clip_of(seeing, video).labels == {"Person": 0.98, "Dog": 0.95, "cat": 0.7}

    def test_without_labels_nobody_is_asked_and_nothing_is_written(self, fleet: StagedHome, labels: FakePictureLabels):
        told(fleet, still(fleet, labels))
        video = store_clip(fleet, GARDEN, AT_S, EVENT)
        told(fleet, clip_key(GARDEN, video))
        assert (labels.asked, clip_of(fleet, video).labels) == ([], {})
        assert fleet.recognitions.labels_of(GARDEN, video) == {}


class TestNewsThatComesTwice:
    def test_the_same_still_and_clip_again_cost_nothing_and_say_nothing(
        self, seeing: StagedHome, labels: FakePictureLabels
    ):
        picture, video = still(seeing, labels), store_clip(seeing, GARDEN, AT_S, EVENT)
        for key in (picture, clip_key(GARDEN, video), picture, clip_key(GARDEN, video)):
            told(seeing, key)
        assert len(labels.asked) == 1
        assert len(pushed(seeing, "clip_stored")) == 1

    @given(first=st.data())
    def test_labels_are_merged_once_however_often_they_are(self, first: st.DataObject):
        found = st.dictionaries(st.text("ab ", min_size=1, max_size=3), st.floats(0, 1), max_size=12)
        one, other = first.draw(found), first.draw(found)
        once = recognition._merged(recognition._merged({}, one), other)
        assert recognition._merged(once, other) == once


class TestTheMonth:
    def ask_about(self, home: StagedHome, labels: FakePictureLabels, numbers: range) -> None:
        for number in numbers:
            told(home, still(home, labels, event_id(number)))

    def test_more_than_the_months_pictures_are_not_looked_at_and_that_is_said_once(
        self, seeing: StagedHome, labels: FakePictureLabels, caplog: pytest.LogCaptureFixture
    ):
        self.ask_about(seeing, labels, range(1, 7))
        assert len(labels.asked) == 3
        assert [r.levelno for r in caplog.records if "used up" in r.message] == [logging.WARNING]
        video = store_clip(seeing, GARDEN, AT_S, event_id(6))
        told(seeing, clip_key(GARDEN, video))
        assert clip_of(seeing, video).labels == {}

    def test_the_next_month_begins_anew_at_midnight_utc(self, seeing: StagedHome, labels: FakePictureLabels):
        self.ask_about(seeing, labels, range(1, 5))
        february_s = 1_801_440_000  # 2027-02-01T00:00:00Z
        for number, at_s in ((5, february_s - 1), (6, february_s)):
            key = still(seeing, labels, event_id(number))
            media_events.stored(seeing, key, at_s)
        assert len(labels.asked) == 4

    def test_two_functions_at_once_count_both(
        self, seeing: StagedHome, labels: FakePictureLabels, monkeypatch: pytest.MonkeyPatch
    ):
        write, others = seeing.table.write, [event_id(9)]

        def write_behind_another(*changes) -> None:
            if others:
                told(seeing, still(seeing, labels, others.pop()))
            write(*changes)

        monkeypatch.setattr(seeing.table, "write", write_behind_another)
        self.ask_about(seeing, labels, range(1, 5))
        assert len(labels.asked) == 3

    def test_of_two_functions_that_find_the_month_used_up_one_says_so(
        self, seeing: StagedHome, labels: FakePictureLabels, monkeypatch: pytest.MonkeyPatch, caplog
    ):
        self.ask_about(seeing, labels, range(1, 4))
        write, others = seeing.table.write, [event_id(9)]

        def write_behind_another(*changes) -> None:
            if others:
                told(seeing, still(seeing, labels, others.pop()))
            write(*changes)

        late = still(seeing, labels, event_id(4))
        monkeypatch.setattr(seeing.table, "write", write_behind_another)
        recognition.look(seeing, labels, video_id(AT_S, event_id(4)), thing=GARDEN, picture=late, now_s=START_S)
        assert len(labels.asked) == 3
        assert caplog.text.count("used up") == 1

    def test_a_table_that_is_never_quiet_has_the_news_given_again(
        self, seeing: StagedHome, labels: FakePictureLabels, monkeypatch: pytest.MonkeyPatch
    ):
        key = still(seeing, labels)

        def conflict(*_: object) -> None:
            raise Conflict("somebody was faster")

        monkeypatch.setattr(seeing.table, "write", conflict)
        with pytest.raises(Unavailable):
            recognition.look(seeing, labels, video_id(AT_S, EVENT), thing=GARDEN, picture=key, now_s=START_S)
        assert labels.asked == []

    @pytest.mark.parametrize("days", [7, None])
    def test_what_is_known_of_an_event_ends_with_its_clips(
        self, seeing: StagedHome, labels: FakePictureLabels, days: int | None
    ):
        home = replace(seeing, retention=Retention(clips_days=days))
        told(home, still(seeing, labels))
        video = video_id(AT_S, EVENT)
        seeing.clock.now_s += 8 * 86_400
        assert home.recognitions.labels_of(ThingName("garden"), video) == ({} if days else PERSON)


class TestFailures:
    @pytest.mark.parametrize(
        "failure",
        [
            Unavailable("busy"),
            NotFound("gone"),
            InvalidInput("picture", "is no picture"),
            NotAuthorized("no right to it"),
        ],
    )
    def test_who_cannot_look_is_logged_and_the_clip_is_there_without_labels(
        self, seeing: StagedHome, labels: FakePictureLabels, failure: PinTheSkyError, caplog: pytest.LogCaptureFixture
    ):
        labels.failure = failure
        told(seeing, still(seeing, labels))
        video = store_clip(seeing, GARDEN, AT_S, EVENT)
        told(seeing, clip_key(GARDEN, video))
        assert clip_of(seeing, video).labels == {}
        assert "was not looked at" in caplog.text

    def test_a_still_is_not_paid_for_again_when_the_clip_comes(self, seeing: StagedHome, labels: FakePictureLabels):
        labels.failure = Unavailable("busy")
        told(seeing, still(seeing, labels))
        labels.failure = None
        told(seeing, clip_key(GARDEN, store_clip(seeing, GARDEN, AT_S, EVENT)))
        assert len(labels.asked) == 1

    def test_a_clip_that_was_deleted_meanwhile_stays_deleted(self, seeing: StagedHome, labels: FakePictureLabels):
        video = store_clip(seeing, GARDEN, AT_S, EVENT)
        told(seeing, clip_key(GARDEN, video))
        before: Callable[[MediaKey], object] = labels.of

        def delete_and_look(picture: MediaKey) -> object:
            seeing.clips.remove(GARDEN, video)
            return before(picture)

        labels.of = delete_and_look  # type: ignore[method-assign, assignment] # what happens while it is looked at
        told(seeing, still(seeing, labels))
        assert seeing.clips.find(GARDEN, video) is None
