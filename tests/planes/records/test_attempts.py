"""How often somebody may try something."""

from __future__ import annotations

import pytest

from pinthesky.errors import Throttled
from pinthesky.model.networks import network_of


def test_so_many_are_let_through_in_each_window(home):
    def count() -> None:
        home.attempts.count("x", "somebody", most=2, window_s=60, now_s=home.clock())

    count()
    count()
    home.clock.now_s += 20
    with pytest.raises(Throttled) as refused:
        count()
    assert refused.value.retry_after_s == 40
    home.attempts.count("x", "somebody else", most=2, window_s=60, now_s=home.clock())
    home.attempts.count("y", "somebody", most=2, window_s=60, now_s=home.clock())
    home.clock.now_s += 40
    count()


def test_looking_counts_nothing(home):
    for _ in range(5):
        home.attempts.check("x", "somebody", most=1, now_s=home.clock())
    home.attempts.count("x", "somebody", most=1, window_s=60, now_s=home.clock())
    with pytest.raises(Throttled):
        home.attempts.check("x", "somebody", most=1, now_s=home.clock())


def test_a_window_that_ends_while_it_is_counted_in_lets_through(home, monkeypatch):
    home.attempts.count("x", "somebody", most=1, window_s=60, now_s=home.clock())
    get = home.table.get

    def late(key):
        home.clock.now_s += 60
        return get(key)

    monkeypatch.setattr(home.table, "get", late)
    home.attempts.count("x", "somebody", most=1, window_s=60, now_s=home.clock())
    assert get is not home.table.get


@pytest.mark.parametrize(
    "address, network",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("x" * 600, "unknown"),
    ],
)
def test_an_address_counts_as_its_household(address, network):
    assert network_of(address) == network
