"""Which addresses are the hub's own."""

from __future__ import annotations

import pytest

from pinthesky.hub.origins import LOOK_EVERY_S, ORIGIN_MAX, Origins


def origins(names: list[str] | None = None, clock: list[float] | None = None) -> Origins:
    known = ["hub.local", "192.168.1.5", "fd00::2", "localhost", "127.0.0.1", "::1"] if names is None else names
    now = clock or [0.0]
    return Origins(["cams.example.org"], names=lambda further: [*further, *known], monotonic_s=lambda: now[0])


@pytest.mark.parametrize(
    "origin",
    [
        "https://hub.local:8443",
        "https://HUB.local",
        "https://192.168.1.5:9000",
        "https://[fd00::2]:8443",
        "https://cams.example.org",
        "http://localhost:8480",
        "http://127.0.0.1:1",
        "http://[::1]:8480",
    ],
)
def test_its_own_names_are_its_own_by_any_port(origin):
    assert origins().has(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example:8443",
        "http://hub.local:8480",
        "https://hub.local@evil.example",
        "https://evil@hub.local",
        "https://hub.local/path",
        "https://hub.local:8443?x",
        "https://hub.local:port",
        "https://[fd00::2",
        "ftp://hub.local",
        "//hub.local",
        "",
        "https://",
        "https://" + "a" * ORIGIN_MAX,
    ],
)
def test_nothing_else_is(origin):
    assert not origins().has(origin)


def test_a_name_that_the_machine_gets_later_is_learnt_and_strangers_do_not_make_it_look_each_time():
    clock, names, looks = [0.0], ["hub.local"], [0]

    def look(_further: object) -> list[str]:
        looks[0] += 1
        return list(names)

    known = Origins(names=look, monotonic_s=lambda: clock[0])
    assert known.has("https://hub.local")
    assert not known.has("https://10.0.0.7:8443")
    names.append("10.0.0.7")
    for _ in range(5):
        assert not known.has("https://10.0.0.7:8443")
    assert looks == [1]
    clock[0] = LOOK_EVERY_S
    assert known.has("https://10.0.0.7:8443")
