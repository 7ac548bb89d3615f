from __future__ import annotations

from pinthesky.hub import rate_limits
from pinthesky.hub.rate_limits import RateLimit


def test_so_many_at_once_and_so_many_more_in_each_window():
    now = [0.0]
    limit = RateLimit(3, 60.0, monotonic_s=lambda: now[0])
    assert [limit.allows("anna") for _ in range(4)] == [True, True, True, False]
    assert limit.allows("berta")
    now[0] += 20.0
    assert [limit.allows("anna") for _ in range(2)] == [True, False]
    now[0] += 6000.0
    assert [limit.allows("anna") for _ in range(4)] == [True, True, True, False]


def test_the_names_that_were_heard_of_longest_ago_are_forgotten(monkeypatch):
    monkeypatch.setattr(rate_limits, "NAMES_MAX", 2)
    limit = RateLimit(1, 60.0, monotonic_s=lambda: 0.0)
    assert all(limit.allows(name) for name in ("anna", "berta", "clara"))
    assert not limit.allows("clara")
    assert limit.allows("anna")


def test_what_is_given_back_may_be_tried_again_but_never_more_than_at_first():
    limit = RateLimit(2, 60.0, monotonic_s=lambda: 0.0)
    limit.give_back("somebody")
    assert [limit.allows("somebody") for _ in range(3)] == [True, True, False]
    limit.give_back("somebody")
    assert [limit.allows("somebody") for _ in range(2)] == [True, False]
