"""A hub is found in its network by its announcement: real mDNS, on this machine's own interface alone.

Hub and finder run as programs of their own, since what they send goes to everybody who listens.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pinthesky.hub import announcement
from pinthesky.hub.announcement import Announcement, is_for_others
from pinthesky.hub.trust_page import sha256_of
from tests.support.daemon_process import eventually
from tests.support.hub_process import HubProcess

PROJECT = Path(__file__).resolve().parents[2]

HUB = """
import sys
from pinthesky.hub import app
app.is_for_others = lambda _: True
sys.exit(app.main(sys.argv[1:]))
"""
"""A hub that listens for its own machine alone, and tells it so."""
FIND = """
import json, sys
from pitsctl.hub_finder import find_hubs
print(json.dumps([vars(hub) for hub in find_hubs(float(sys.argv[1]), interfaces=["127.0.0.1"])]))
"""


def found(within_s: float, authority: str) -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", FIND, str(within_s)], capture_output=True, text=True, timeout=30, check=True, cwd=PROJECT
    )
    hubs: list[dict[str, str]] = json.loads(done.stdout)
    return [hub for hub in hubs if hub["authority_sha256"] == authority]


def test_a_hub_is_found_by_its_announcement_until_it_says_goodbye(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path)
    hub._command = [sys.executable, "-c", HUB, "--data", str(hub.data)]
    hub.start()
    try:
        [said] = hub.wait_log("The hub is announced in the network as (Pi In The Sky on .+)")
        authority = sha256_of((hub.data / "authority" / "ca.crt").read_bytes())
        [seen] = eventually(lambda: found(1.5, authority), "the hub is found", 30.0)
        assert seen["address"] == f"https://127.0.0.1:{hub.console_port}"
        assert seen["name"] in said[1]
    finally:
        assert hub.stop() == 0
    assert found(0.3, authority) == []


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
