"""The console in a real browser, on a fleet that really runs: sign in by a link, see the wall, play a clip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from pinthesky.hub.accounts import new_link_secret
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.sign_in import link_to
from pinthesky.machine.shipped import folder_of
from tests.support.daemon_process import eventually
from tests.support.fleet import Fleet, FleetCamera

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.needs_av,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: sudo apt-get install chromium"),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("browser"))
    try:
        yield made
    finally:
        codes = made.close()
    assert set(codes) == {0}, codes


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser, fleet: Fleet) -> Iterator[Page]:
    """A tab that has opened a sign-in link. What the console complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    tab.on("console", note)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    with closing(Foundation.lay(fleet.hub.data)) as foundation:
        secret = new_link_secret(foundation)
    tab.goto(link_to(f"http://localhost:{fleet.hub.localhost_port}", secret))
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_text("Connected")).to_be_visible(timeout=20_000)
    yield tab
    context.close()
    assert complaints == []


def test_it_is_built():
    assert (folder_of("console") / "index.html").is_file()


def test_a_new_owner_is_told_how_to_add_a_camera_and_then_sees_it_and_plays_a_clip(fleet: Fleet, page: Page):
    expect(page.get_by_text("No camera yet.")).to_be_visible()
    expect(page.get_by_text("pits-hub add-camera garden")).to_be_visible()
    garden: FleetCamera = fleet.add("garden")
    garden.start()
    card = page.get_by_role("link", name="garden")
    expect(card).to_be_visible(timeout=20_000)  # by itself: its coming is pushed
    card.click()
    expect(page.get_by_role("heading", name="garden")).to_be_visible()
    fleet.planes.command("garden", "capture_video", capture_id="c1", duration=2)
    clip = page.get_by_role("button", name="Play the clip")
    expect(clip).to_be_visible(timeout=20_000)
    clip.click()
    video = page.locator("video")
    eventually(lambda: video.evaluate("video => video.currentTime") > 0.5, "the clip plays")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No clips yet.")).to_be_visible(timeout=10_000)
    assert page.locator("video").count() == 0


def test_after_a_reload_the_same_page_is_there_and_signing_out_ends_it(page: Page):
    page.goto(page.url.rstrip("/") + "/events")
    expect(page.get_by_role("heading", name="Events")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(page.url.replace("/sign-in", "/events"))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=20_000)
    assert "/sign-in" in page.url
