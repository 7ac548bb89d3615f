"""What is made of announcements: tests/hub/test_announcement.py has the real ones."""

from __future__ import annotations

from typing import Any

import pytest
from zeroconf import ServiceInfo

from pitsctl import hub_finder
from pitsctl.hub_finder import SERVICE, find_hubs


class Air:
    """What is heard, in place of a network."""

    def __init__(self, *heard: ServiceInfo) -> None:
        self.heard = {info.name: info for info in heard}
        self.closed = False

    def __call__(self, **_: Any) -> Air:
        return self

    def browser(self, _channel: Any, _service: str, names: Any) -> Any:
        for name in self.heard:
            names.add_service(None, SERVICE, name)
        names.update_service(None, SERVICE, "any")
        names.add_service(None, SERVICE, "gone")
        names.remove_service(None, SERVICE, "gone")
        return self

    def cancel(self) -> None:
        """Nothing is browsed."""

    def get_service_info(self, _service: str, name: str, timeout: int) -> ServiceInfo:
        assert timeout > 0
        return self.heard[name]

    def close(self) -> None:
        self.closed = True


def info(name: str, *addresses: str, **properties: str) -> ServiceInfo:
    return ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        port=8443,
        server="h.local.",
        parsed_addresses=list(addresses),
        properties=properties,
    )


def heard(monkeypatch: pytest.MonkeyPatch, *infos: ServiceInfo) -> Air:
    air = Air(*infos)
    monkeypatch.setattr(hub_finder, "Zeroconf", air)
    monkeypatch.setattr(hub_finder, "ServiceBrowser", air.browser)
    return air


def test_hubs_have_the_address_that_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    air = heard(
        monkeypatch,
        info("Both", "fd00::2", "192.168.1.7", authority="ab" * 32),
        info("Six", "fe80::1", "fd00::2", authority="not one"),
        info("Link", "fe80::1"),
    )
    assert [(hub.name, hub.address, hub.authority_sha256) for hub in find_hubs(0.0)] == [
        ("Both", "https://192.168.1.7:8443", "ab" * 32),
        ("Six", "https://[fd00::2]:8443", ""),
    ]
    assert air.closed


def test_names_cannot_write_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    heard(monkeypatch, info("Hub\u202e\u2028", "192.168.1.7"))
    assert [hub.name for hub in find_hubs(0.0)] == ["Hub"]


def test_where_mdns_does_not_work_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(hub_finder, "Zeroconf", refuse)
    assert find_hubs(0.0) == []
