"""Cameras that nothing is heard of: one alert when one goes, one when it is back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pinthesky.errors import NotFound
from pinthesky.planes import camera_silence
from pinthesky.planes.camera_silence import GRACE_S
from pinthesky.planes.ingest import presence_events
from tests.planes.home import GARDEN, GATE, OWNER, StagedHome, add_camera, ask_for, make_home
from tests.planes.recordings import say

HOUR_S = 3600.0


def subscribe(home: StagedHome) -> None:
    body = {"protocol": "email", "endpoint": "a@example.com", "coolDownSeconds": 86_400}
    ask_for(home, OWNER, "POST", "/subscriptions", body)


def present(home: StagedHome, connected: bool, thing=GARDEN) -> None:
    presence_events.changed(home, thing, connected, at_s=home.clock(), now_s=home.clock())


def look(home: StagedHome, after_s: float = 0.0) -> list[str]:
    """What people are told by the look so much later."""
    home.clock.now_s += after_s
    before = len(home.notifier.delivered)
    camera_silence.check(home, home.clock())
    return [f"{alert.alert_type} {alert.camera}" for alert, _ in home.notifier.delivered[before:]]


def test_a_camera_that_is_lost_is_told_once_after_its_grace_and_once_when_it_is_back(fleet):
    subscribe(fleet)
    present(fleet, True)
    present(fleet, False)
    assert look(fleet, GRACE_S - 1) == []
    assert look(fleet, 1) == ["camera_offline garden"]
    assert look(fleet, 1) == look(fleet, HOUR_S) == []
    assert ask_for(fleet, OWNER, "GET", "/cameras/garden")["silent"] is True
    present(fleet, True)
    assert look(fleet, 1) == ["camera_online garden"]
    assert look(fleet, 60) == []
    texts = [(alert.title, alert.text) for alert, _ in fleet.notifier.delivered]
    assert texts[0] == ("Nothing is heard of Garden", "for 2 minutes")
    assert texts[1][0] == "Garden is back"


def test_a_camera_that_comes_back_in_time_is_no_news(fleet):
    subscribe(fleet)
    present(fleet, True)
    for _ in range(5):
        present(fleet, False)
        assert look(fleet, GRACE_S - 1) == []
        present(fleet, True)
        assert look(fleet, 1) == []


def test_a_camera_that_was_never_here_is_not_missed(fleet):
    subscribe(fleet)
    assert look(fleet, 100 * HOUR_S) == []


def test_a_camera_that_is_connected_and_says_nothing_is_missed_after_two_reports(fleet):
    subscribe(fleet)
    present(fleet, True)
    assert look(fleet, 2 * HOUR_S + GRACE_S - 1) == []
    assert look(fleet, 1) == ["camera_offline garden"]
    say(fleet, GARDEN, "health_end", version="1")
    assert look(fleet, 1) == ["camera_online garden"]
    unknown = fleet.conditions.spans(GARDEN, "unknown", start_ms=0, end_ms=fleet.clock.now_ms)
    assert [round((span.end - span.start) / 1000) for span in unknown] == [1]


def test_a_camera_that_reports_rarely_is_given_its_own_time(fleet):
    subscribe(fleet)
    present(fleet, True)
    fleet.shadows.report(GARDEN, {"health": {"interval": 7200}})
    assert look(fleet, 4 * HOUR_S + GRACE_S - 1) == []
    assert look(fleet, 1) == ["camera_offline garden"]


def test_an_interval_that_is_none_counts_as_the_usual_one(fleet):
    subscribe(fleet)
    present(fleet, True)
    fleet.shadows.report(GARDEN, {"health": {"interval": "often"}})
    assert look(fleet, 2 * HOUR_S + GRACE_S) == ["camera_offline garden"]


def test_two_that_look_at_once_alert_once(fleet, monkeypatch):
    subscribe(fleet)
    present(fleet, True)
    present(fleet, False)
    fleet.clock.now_s += GRACE_S
    change = fleet.cameras.change

    def after_another_look(thing, to):
        monkeypatch.setattr(fleet.cameras, "change", change)
        camera_silence.check(fleet, fleet.clock())
        return change(thing, to)

    monkeypatch.setattr(fleet.cameras, "change", after_another_look)
    camera_silence.check(fleet, fleet.clock())
    assert len(fleet.notifier.delivered) == 1


def test_a_camera_that_is_removed_at_that_moment_is_no_news(fleet, monkeypatch):
    subscribe(fleet)
    present(fleet, True)
    present(fleet, False)

    def gone(*_arguments):
        raise NotFound("gone")

    monkeypatch.setattr(fleet.cameras, "change", gone)
    assert look(fleet, GRACE_S) == []


class Presence(RuleBasedStateMachine):
    """Cameras come, go and speak at any time; somebody looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.home = make_home(Path(self._folder.name))
        self.seen_s: dict[str, float] = {}
        self.online: dict[str, bool | None] = {}
        self.told: dict[str, list[str]] = {GARDEN: [], GATE: []}

    @initialize()
    def begin(self) -> None:
        subscribe(self.home)
        for thing in (GARDEN, GATE):
            add_camera(self.home, thing)

    def teardown(self) -> None:
        self.home.database.close()
        self._folder.cleanup()

    @rule(thing=strategies.sampled_from([GARDEN, GATE]), connected=strategies.booleans())
    def presence(self, thing, connected: bool) -> None:
        if self.online.get(thing) != connected:
            self.seen_s[thing] = self.home.clock()
            self.online[thing] = connected
        present(self.home, connected, thing)

    @rule(thing=strategies.sampled_from([GARDEN, GATE]))
    def speaks(self, thing) -> None:
        say(self.home, thing, "health_end", version="1")
        self.seen_s[thing] = self.home.clock()
        self.online.setdefault(thing, None)

    @rule(wait_s=strategies.sampled_from([1.0, 30.0, 119.0, 121.0, 4000.0, 8000.0]))
    def time_passes(self, wait_s: float) -> None:
        self.home.clock.now_s += wait_s

    @rule(times=strategies.integers(1, 3))
    def somebody_looks(self, times: int) -> None:
        for _ in range(times):
            for news in look(self.home):
                kind, _, thing = news.partition(" ")
                self.told[thing].append(kind)
        for thing, told in self.told.items():
            if thing not in self.seen_s:
                assert told == []
                continue
            away_s = self.home.clock() - self.seen_s[thing]
            # What a camera says is written down once a minute, so it may count as seen a minute earlier.
            limit_s = 2 * HOUR_S + GRACE_S if self.online[thing] else GRACE_S
            if away_s >= limit_s:
                assert told[-1:] == ["camera_offline"]
            elif away_s < limit_s - 60:
                assert told[-1:] != ["camera_offline"]

    @invariant()
    def alerts_alternate(self) -> None:
        for told in self.told.values():
            assert told == [("camera_offline", "camera_online")[number % 2] for number in range(len(told))]


TestPresence = Presence.TestCase
TestPresence.settings = hypothesis.settings(max_examples=25, stateful_step_count=25, deadline=None)
