"""A hub is found in its network by its announcement: real mDNS, on this machine's own interface alone.

Announcer and finder run as programs of their own, since what they send goes to everybody who listens.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from pinthesky.hub import announcement
from pinthesky.hub.announcement import Announcement, is_for_others

PROJECT = Path(__file__).resolve().parents[2]

ANNOUNCE = """
import logging, sys
from pinthesky.hub.announcement import Announcement
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
made = Announcement(port=18443, authority_sha256="ab" * 32, addresses=["127.0.0.1"])
made.start()
sys.stdin.read()
print("stopped", made.stop(5.0), flush=True)
"""
FIND = """
import json, sys
from pitsctl.hub_finder import find_hubs
print(json.dumps([vars(hub) for hub in find_hubs(float(sys.argv[1]), interfaces=["127.0.0.1"])]))
"""


def found(within_s: float) -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", FIND, str(within_s)], capture_output=True, text=True, timeout=30, check=True, cwd=PROJECT
    )
    hubs: list[dict[str, str]] = json.loads(done.stdout)
    return [hub for hub in hubs if hub["authority_sha256"] == "ab" * 32]


def test_a_hub_that_announces_itself_is_found_until_it_says_goodbye() -> None:
    announcer = subprocess.Popen(
        [sys.executable, "-c", ANNOUNCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    with announcer:
        assert announcer.stdout is not None
        line = announcer.stdout.readline()
        assert line.startswith("The hub is announced in the network as Pi In The Sky on "), line
        deadline = time.monotonic() + 20
        while not (hubs := found(1.5)):
            assert time.monotonic() < deadline
        [hub] = hubs
        assert hub["address"] == "https://127.0.0.1:18443"
        assert hub["name"] in line
        rest, _ = announcer.communicate(timeout=20)
        assert rest == "stopped True\n"
    assert found(0.3) == []


def test_a_hub_without_the_library_says_so_once_and_goes_on(monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    made = Announcement(port=1, authority_sha256="", addresses=["127.0.0.1"])
    with caplog.at_level("INFO", logger=announcement.__name__):
        made.start()
        assert made.stop(5.0)
    assert caplog.messages == ["The hub is not announced in the network: the Python package zeroconf is not installed"]


def test_a_hub_that_cannot_announce_itself_says_so_once_and_goes_on(monkeypatch, caplog) -> None:
    import zeroconf

    def refuse(**_: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(zeroconf, "Zeroconf", refuse)
    made = Announcement(port=1, authority_sha256="", addresses=["127.0.0.1"])
    with caplog.at_level("INFO", logger=announcement.__name__):
        made.start()
        assert made.stop(5.0)
    assert caplog.messages == ["The hub is not announced in the network: No such device"]


def test_a_hub_for_its_own_machine_alone_tells_nobody() -> None:
    assert not is_for_others("127.0.0.1")
    assert not is_for_others("::1")
    assert is_for_others("")
    assert is_for_others("192.168.1.7")
