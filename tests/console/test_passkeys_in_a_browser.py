"""Passkeys in a real browser, whose authenticator is a virtual one of Chromium: added, used, renamed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from pinthesky.hub.accounts import new_link_secret
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.sign_in import link_to
from tests.support.hub_process import HubProcess

SLOW_MS = 20_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("passkeys"))
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        if made.is_running:
            assert made.stop() == 0


class Phone:
    """A browser with an authenticator that knows its owner's finger."""

    def __init__(self, browser: Browser, hub: HubProcess) -> None:
        self.origin = f"http://localhost:{hub.localhost_port}"
        self._data: Path = hub.data
        self.context: BrowserContext = browser.new_context(viewport={"width": 900, "height": 700})
        self.page: Page = self.context.new_page()
        self._devices: CDPSession = self.context.new_cdp_session(self.page)
        self._devices.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self._devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self._authenticator = made["authenticatorId"]

    def credentials(self) -> int:
        """How many keys the authenticator holds."""
        return len(
            self._devices.send("WebAuthn.getCredentials", {"authenticatorId": self._authenticator})["credentials"]
        )

    def refuse(self) -> None:
        """The wrong finger from now on."""
        self._devices.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self._authenticator, "isUserVerified": False}
        )

    def sign_in_by_link(self) -> None:
        """As the terminal of the hub shows it."""
        with closing(Foundation.lay(self._data)) as foundation:
            secret = new_link_secret(foundation, None)
        self.page.goto(link_to(self.origin, secret))
        self.page.get_by_role("button", name="Sign in").click()
        self.arrive()

    def arrive(self) -> None:
        """Signed in, at the console."""
        expect(self.page.get_by_text("Connected")).to_be_visible(timeout=SLOW_MS)

    def sign_out(self) -> None:
        """This browser forgets its session."""
        self.context.clear_cookies()
        self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear() }")

    def add(self, name: str) -> None:
        """Add a passkey on its page."""
        self.page.goto(f"{self.origin}/sign-in/passkeys")
        self.page.get_by_label("Name of a new one").fill(name)
        self.page.get_by_role("button", name="Add a passkey").click()
        expect(self.page.get_by_text(name, exact=True)).to_be_visible(timeout=SLOW_MS)


@pytest.fixture
def phone(browser: Browser, hub: HubProcess) -> Iterator[Phone]:
    made = Phone(browser, hub)
    made.sign_in_by_link()
    yield made
    made.context.close()


def test_a_passkey_that_was_added_signs_in_and_one_that_was_removed_does_not(phone: Phone):
    page = phone.page
    phone.add("My phone")
    assert phone.credentials() == 1
    expect(page.get_by_text("never used")).to_be_visible()
    phone.sign_out()
    page.goto(f"{phone.origin}/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    phone.arrive()
    page.goto(f"{phone.origin}/sign-in/passkeys")
    expect(page.get_by_text("last used")).to_be_visible()
    page.get_by_label("Another name").fill("The old phone")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("The old phone", exact=True)).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("You have none yet.")).to_be_visible()
    phone.sign_out()
    page.goto(f"{phone.origin}/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("status")).to_have_text("This passkey is not known here.", timeout=SLOW_MS)


def test_the_same_authenticator_is_not_added_twice(phone: Phone):
    phone.add("First")
    page = phone.page
    page.get_by_label("Name of a new one").fill("Second")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("status")).not_to_be_empty(timeout=SLOW_MS)
    page.reload()
    expect(page.get_by_text("Second", exact=True)).to_have_count(0)
    assert phone.credentials() == 1


def test_a_finger_that_is_not_known_signs_nobody_in(phone: Phone):
    phone.add("Known finger")
    phone.sign_out()
    phone.refuse()
    phone.page.goto(f"{phone.origin}/sign-in")
    phone.page.get_by_role("button", name="Sign in with a passkey").click()
    expect(phone.page.get_by_role("status")).to_have_text("Nothing was chosen.", timeout=SLOW_MS)
    phone.page.goto(f"{phone.origin}/sign-in/passkeys")
    assert phone.page.url == f"{phone.origin}/sign-in"
