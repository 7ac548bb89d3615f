"""The console in a real browser, on a fleet that really runs: sign in by a link, see the wall, play a clip."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, expect

from pinthesky.hub.accounts import new_link_secret
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.sign_in import link_to
from pinthesky.machine.shipped import folder_of
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import Email
from tests.support.aws_servers import KeyPair
from tests.support.daemon_process import eventually
from tests.support.fleet import Fleet, running_fleet
from tests.support.hub_console import Console
from tests.support.hub_process import Camera, HubProcess

SLOW_MS = 20_000
VIEWER = "viewer@example.org"

pytestmark = pytest.mark.needs_av


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A hub, and the camera `garden` with two clips."""
    with running_fleet(tmp_path_factory.mktemp("browser")) as made:
        made.add("garden").start()
        with closing(owner_of(made)) as owner:
            for count in (1, 2):
                record(made, owner, count)
        yield made


def owner_of(fleet: Fleet) -> Console:
    return Console(fleet.hub.data, fleet.hub.localhost_port, scheme="http")


def clips_of(console: Console) -> list[str]:
    return [clip["video"] for clip in console.ask("GET", "/videos").json()["items"]]


def record(fleet: Fleet, console: Console, count: int) -> None:
    """One more clip, so that there are `count` of them."""
    fleet.planes.command("garden", "capture_video", capture_id=f"c{count}", duration=2)
    eventually(lambda: len(clips_of(console)) == count, f"{count} clips are stored")


def origin_of(hub: HubProcess) -> str:
    return f"http://localhost:{hub.localhost_port}"


def sign_in(tab: Page, hub: HubProcess, email: str | None = None) -> None:
    """Open a sign-in link, and come to the wall."""
    with closing(Foundation.lay(hub.data)) as foundation:
        secret = new_link_secret(foundation, None if email is None else Email(email))
    tab.goto(link_to(origin_of(hub), secret))
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_text("Connected")).to_be_visible(timeout=SLOW_MS)


@pytest.fixture(scope="module")
def signed_in(browser: Browser, fleet: Fleet) -> Any:
    """The cookies of an owner's browser."""
    context = browser.new_context()
    sign_in(context.new_page(), fleet.hub)
    state = context.storage_state()
    context.close()
    return state


class Visit:
    """Tabs of one browser on a hub, with what they complain of and what they ask of others."""

    def __init__(self, context: BrowserContext, hub: HubProcess) -> None:
        self.context = context
        self.meant = ""
        """A complaint that belongs to the test: Chromium itself reports each answer of 400 and more."""
        self._hub = hub
        self._wrong: list[str] = []

    def tab(self) -> Page:
        """Open one."""
        made = self.context.new_page()
        made.on("console", self._note)
        made.on("pageerror", lambda error: self._wrong.append(str(error)))
        made.on("request", lambda request: self._asked(request.url))
        return made

    def home(self) -> Page:
        """Open the wall, as somebody who is signed in."""
        made = self.tab()
        made.goto(origin_of(self._hub))
        expect(made.get_by_text("Connected")).to_be_visible(timeout=SLOW_MS)
        return made

    def go(self, tab: Page, path: str) -> None:
        """Load a page of the console anew."""
        tab.goto(origin_of(self._hub) + path)
        expect(tab.get_by_text("Connected")).to_be_attached(timeout=SLOW_MS)

    def end(self) -> None:
        """Close everything; nothing may have been wrong."""
        for tab in self.context.pages:
            tab.unroute_all(behavior="ignoreErrors")  # an answer may be on its way through the test
        self.context.close()
        assert self._wrong == []

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (self.meant and self.meant in message.text):
            self._wrong.append(message.text)

    def _asked(self, url: str) -> None:
        if urlsplit(url).netloc != f"localhost:{self._hub.localhost_port}":
            self._wrong.append(f"asks {url}")


@pytest.fixture
def visit(browser: Browser, fleet: Fleet, signed_in: Any) -> Iterator[Visit]:
    """An owner who is signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, storage_state=signed_in)
    made = Visit(context, fleet.hub)
    yield made
    made.end()


@pytest.fixture
def strange(browser: Browser, fleet: Fleet) -> Iterator[Visit]:
    """A browser in which nobody is signed in."""
    made = Visit(browser.new_context(), fleet.hub)
    yield made
    made.end()


@pytest.fixture
def new_hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub without cameras."""
    hub = HubProcess(tmp_path)
    hub.start()
    try:
        hub.wait_ready()
        yield hub
    finally:
        if hub.is_running:
            assert hub.stop() == 0


class Device:
    """A Pi that asks to be let in, as RFC 8628 has it."""

    def __init__(self, hub: HubProcess) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        csr = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()
        self._hub = hub
        self._http = httpx2.Client(base_url=f"{origin_of(hub)}/api", timeout=20)
        answer = self._http.post("/registrations", json={"csr": csr, "host_name": "raspberrypi"})
        assert answer.status_code == 201, answer.text
        self.shows: dict[str, Any] = answer.json()

    def ask(self) -> dict[str, Any]:
        """Whether it was let in."""
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        asked = {"device_code": self.shows["device_code"], "grant_type": grant}
        answer: dict[str, Any] = self._http.post("/registrations/token", json=asked).json()
        return answer

    def camera(self, folder: Path) -> Camera:
        """The camera that it has become."""
        given = self.ask()
        folder.mkdir()
        pair = KeyPair(folder / "certificate.pem", folder / "private.key")
        pair.cert.write_text(given["certificate"])
        pair.key.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        root = folder / "root.pem"
        root.write_text(given["authority"])
        return Camera(ThingName(given["thing_name"]), pair, root)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def owner(fleet: Fleet) -> Iterator[Console]:
    """An owner's program, to look at what the console has done."""
    with closing(owner_of(fleet)) as console:
        yield console


def clip_buttons(tab: Page) -> Locator:
    return tab.get_by_role("button", name="Play the clip")


def is_playing(tab: Page) -> bool:
    return tab.locator("video").count() == 1 and bool(tab.evaluate("!document.querySelector('video').paused"))


def test_it_is_built():
    assert (folder_of("console") / "index.html").is_file()


def test_a_new_owner_lets_a_camera_in_by_its_code_and_sees_it_come_and_go(
    browser: Browser, new_hub: HubProcess, tmp_path: Path
):
    visit = Visit(browser.new_context(), new_hub)
    with closing(Device(new_hub)) as device:
        tab = visit.tab()
        sign_in(tab, new_hub)
        expect(tab.get_by_text("No camera yet.")).to_be_visible()
        expect(tab.get_by_text("pits-hub add-camera garden")).to_be_visible()
        tab.get_by_role("link", name="Add a camera").click()
        tab.get_by_label("Code").fill(device.shows["user_code"].lower().replace("-", " "))
        tab.get_by_role("button", name="Continue").click()
        expect(tab.get_by_text("raspberrypi")).to_be_visible()
        expect(tab.get_by_text("127.0.0.1")).to_be_visible()
        shown = tab.locator(".fingerprint").inner_text()
        assert shown.replace(" ", "") == device.shows["fingerprint"]
        assert device.ask()["error"] == "authorization_pending"
        tab.get_by_label("Name", exact=True).fill("Garden door")
        expect(tab.get_by_label("Name for programs")).to_have_value("garden-door")
        tab.get_by_role("button", name="Let it in").click()
        expect(tab.get_by_text("Garden door was let in.")).to_be_visible()
        with closing(new_hub.client(device.camera(tmp_path / "camera"))) as client:
            client.connect()
            expect(tab.get_by_text("It is connected.")).to_be_visible(timeout=SLOW_MS)
            tab.get_by_role("link", name="Home").click()
            expect(tab.get_by_role("listitem").filter(has_text="Garden door")).to_contain_text("Watching")
        needs = tab.get_by_role("status").get_by_role("link", name="Garden door: Offline")
        expect(needs).to_be_visible(timeout=SLOW_MS)
    visit.end()


def test_a_code_in_the_address_is_to_be_confirmed_and_a_name_that_is_taken_is_said_to_be(fleet: Fleet, visit: Visit):
    tab = visit.tab()
    with closing(Device(fleet.hub)) as device:
        visit.go(tab, f"/register?{urlsplit(device.shows['verification_uri_complete']).query}")
        expect(tab.get_by_label("Code")).to_have_value(device.shows["user_code"])
        tab.get_by_role("button", name="Continue").click()
        tab.get_by_label("Name", exact=True).fill("Garden")
        visit.meant = "409 (Conflict)"
        tab.get_by_role("button", name="Let it in").click()
        expect(tab.get_by_role("alert")).to_have_text("The name garden is taken. Choose another one.")
        tab.get_by_role("button", name="Deny").click()
        expect(tab.get_by_text("Denied. The device gets no certificate.")).to_be_visible()
        assert device.ask()["error"] == "access_denied"


def test_a_code_that_nobody_shows_is_explained(visit: Visit):
    tab = visit.tab()
    visit.meant = "404 (Not Found)"
    visit.go(tab, "/register?user_code=AAAA")
    tab.get_by_label("Code").fill("aeiou")
    tab.get_by_role("button", name="Continue").click()
    expect(tab.get_by_role("alert")).to_contain_text("eight letters")
    tab.get_by_label("Code").fill("BCDF GHJK")
    tab.get_by_role("button", name="Continue").click()
    expect(tab.get_by_role("alert")).to_contain_text("No camera asks with this code.")
    tab.get_by_role("button", name="Another code").click()
    expect(tab.get_by_label("Code")).to_be_focused()
    assert tab.get_by_label("Code").input_value() == ""


def test_whoever_is_no_owner_is_told_why_no_camera_can_be_added_and_can_end_other_sessions(
    fleet: Fleet, strange: Visit, owner: Console
):
    invited = owner.ask("POST", "/people", {"email": VIEWER, "role": "viewer"})
    assert invited.status_code == 201, invited.text
    tab = strange.tab()
    sign_in(tab, fleet.hub, VIEWER)
    other = Console(fleet.hub.data, fleet.hub.localhost_port, email=VIEWER, scheme="http")
    expect(tab.get_by_role("link", name="Add a camera")).to_have_count(0)
    tab.get_by_role("button", name="Account").click()
    menu = tab.get_by_role("dialog", name="Account")
    expect(menu).to_contain_text(VIEWER)
    expect(menu.get_by_role("listitem").filter(has_text="This browser")).to_have_count(1)
    menu.get_by_role("button", name="Sign out A browser").click()
    expect(menu.get_by_role("listitem")).to_have_count(1)
    assert other.ask("GET", "/people/me").status_code == 401
    other.close()
    strange.go(tab, "/register?user_code=BCDF-GHJK")
    expect(tab.get_by_role("alert")).to_have_text("Only an owner can let a camera in.")
    expect(tab.get_by_text("You are signed in as: Viewer.")).to_be_visible()


def test_two_tabs_hear_of_the_same_events(fleet: Fleet, visit: Visit, owner: Console):
    cards = [visit.home().get_by_role("listitem").filter(has_text="garden") for _ in range(2)]
    before = clips_of(owner)
    fleet.planes.command("garden", "capture_video", capture_id="both", duration=2)
    for card in cards:
        expect(card).to_contain_text("Recording", timeout=SLOW_MS)
    for card in cards:
        expect(card).to_contain_text("Watching", timeout=SLOW_MS)
    eventually(lambda: len(clips_of(owner)) > len(before), "the clip is stored")
    assert [card.get_by_text("Recording").count() for card in cards] == [0, 0]


def test_a_clip_that_comes_appears_by_itself(fleet: Fleet, visit: Visit, owner: Console):
    tab = visit.tab()
    visit.go(tab, "/events")
    expect(clip_buttons(tab).first).to_be_visible()
    count = clip_buttons(tab).count()
    fleet.planes.command("garden", "capture_video", capture_id="new", duration=1)
    expect(clip_buttons(tab)).to_have_count(count + 1, timeout=SLOW_MS)
    assert len(clips_of(owner)) == count + 1


def test_clips_are_played_from_the_keyboard(visit: Visit):
    tab = visit.tab()
    visit.go(tab, "/events")
    expect(clip_buttons(tab).nth(1)).to_be_visible()
    tab.keyboard.press("ArrowRight")
    expect(clip_buttons(tab).first).to_have_attribute("aria-pressed", "true")
    expect(clip_buttons(tab).first).to_be_focused()
    tab.keyboard.press("ArrowRight")
    expect(clip_buttons(tab).nth(1)).to_have_attribute("aria-pressed", "true")
    tab.keyboard.press("ArrowLeft")
    expect(clip_buttons(tab).first).to_have_attribute("aria-pressed", "true")
    eventually(lambda: is_playing(tab), "the clip plays")
    tab.evaluate("document.querySelector('video').loop = true")
    tab.keyboard.press("Space")
    eventually(lambda: not is_playing(tab), "space pauses it")
    tab.keyboard.press("Space")
    eventually(lambda: is_playing(tab), "space plays it")
    tab.keyboard.press("Escape")
    expect(clip_buttons(tab).first).to_have_attribute("aria-pressed", "false")
    assert tab.locator("video").count() == 0


def test_a_deletion_can_be_taken_back_and_is_done_when_the_page_is_left(fleet: Fleet, visit: Visit, owner: Console):
    tab = visit.tab()
    visit.go(tab, "/cameras/garden")
    expect(clip_buttons(tab).first).to_be_visible()
    before = clips_of(owner)
    clip_buttons(tab).first.click()
    tab.get_by_role("button", name="Delete").click()
    expect(clip_buttons(tab)).to_have_count(len(before) - 1)
    tab.get_by_role("button", name="Undo").click()
    expect(clip_buttons(tab)).to_have_count(len(before))
    clip_buttons(tab).first.click()
    tab.get_by_role("button", name="Delete").click()
    expect(tab.get_by_role("button", name="Undo")).to_be_visible()
    assert clips_of(owner) == before
    tab.goto("about:blank")
    eventually(lambda: clips_of(owner) == before[1:], "the clip is deleted")
    record(fleet, owner, len(before))


def test_a_clip_without_a_picture_says_what_it_is(visit: Visit):
    tab = visit.tab()

    def without_pictures(route: Route) -> None:
        answer = route.fetch()
        items = [{**clip, "thumbnailUrl": None} for clip in answer.json()["items"]]
        route.fulfill(response=answer, json={"items": items, "nextToken": None})

    tab.route("**/api/videos?**", without_pictures)
    visit.go(tab, "/events")
    expect(clip_buttons(tab).first.locator(".picture")).to_have_text("Recorded by hand")
    box = clip_buttons(tab).first.locator(".picture").bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(16 / 9, abs=0.02)


def test_a_page_of_another_site_shows_a_camera_until_its_token_is_revoked(
    fleet: Fleet, browser: Browser, owner: Console
):
    issued = owner.ask("POST", "/cameras/garden/streamTokens", {"note": "the hall"}).json()
    address = f"{origin_of(fleet.hub)}/api{issued['path']}"
    context = browser.new_context()
    tab = context.new_page()
    with page_server(f'<img src="{address}">') as other_site:
        tab.goto(other_site, wait_until="commit")
        tab.wait_for_function("document.images.length && document.images[0].naturalWidth > 0", timeout=SLOW_MS)
        with httpx2.stream("GET", address, timeout=20) as stream:
            times: list[float] = []
            for line in stream.iter_lines():
                if line.startswith("X-Timestamp: ") and (at_s := float(line.partition(" ")[2])) not in times:
                    times.append(at_s)
                if len(times) == 3:
                    break
        # The first is the latest that there was; the next two are made for those who watch.
        assert 1.5 < times[2] - times[1] < 6
        assert owner.ask("DELETE", f"/cameras/garden/streamTokens/{issued['id']}").status_code == 204
        assert httpx2.get(address).status_code == 404
        eventually(lambda: "pits_stream_viewers 0.0" in owner.browse("GET", "/metrics").text, "the stream has ended")
    context.close()


@contextmanager
def page_server(page: str) -> Iterator[str]:
    """Another site on this machine, with one page; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join(5)


def test_when_the_hub_ends_this_is_said_and_it_is_found_again(browser: Browser, new_hub: HubProcess):
    context = browser.new_context()
    tab = context.new_page()
    sign_in(tab, new_hub)
    assert new_hub.stop() == 0
    expect(tab.get_by_text("No connection to your home")).to_be_visible(timeout=SLOW_MS)
    new_hub.start()
    new_hub.wait_ready()
    tab.evaluate("dispatchEvent(new Event('online'))")  # as if the network had been away: no need to wait for the timer
    expect(tab.get_by_text("Connected")).to_be_visible(timeout=SLOW_MS)
    expect(tab.get_by_text("No connection to your home")).to_have_count(0)
    context.close()


def test_a_defect_of_a_page_never_leaves_it_blank(visit: Visit):
    tab = visit.tab()
    visit.meant = "RangeError"

    def with_a_time_that_is_none(route: Route) -> None:
        answer = route.fetch()
        items = [{**camera, "lastMotionAt": 1e20} for camera in answer.json()["items"]]
        route.fulfill(response=answer, json={"items": items, "nextToken": None})

    tab.route("**/api/cameras", with_a_time_that_is_none)
    visit.go(tab, "/")
    expect(tab.get_by_role("alert")).to_contain_text("This page has stopped working.")
    tab.get_by_role("link", name="Events").click()
    expect(tab.get_by_role("heading", name="Events")).to_be_visible()
    assert tab.get_by_role("alert").count() == 0


@pytest.mark.parametrize("path", ["/", "/events", "/cameras/garden", "/register?user_code=BCDF-GHJK"])
def test_nothing_is_wider_than_a_small_phone(visit: Visit, path: str):
    tab = visit.tab()
    tab.set_viewport_size({"width": 360, "height": 740})
    visit.go(tab, path)
    expect(tab.get_by_role("main")).not_to_be_empty()
    tab.get_by_role("button", name="Account").click()
    expect(tab.get_by_role("button", name="Sign out", exact=True)).to_be_in_viewport()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    header = tab.locator("header.bar").bounding_box()
    assert header is not None
    assert header["height"] <= 60


def test_the_reference_of_the_api_is_a_page_of_the_hub(visit: Visit):
    tab = visit.home()
    tab.get_by_role("button", name="Account").click()
    tab.get_by_role("link", name="HTTP API").click()
    expect(tab.get_by_role("heading", name="HTTP API", exact=True)).to_be_visible()
    tab.get_by_role("link", name="/registrations/{code}").first.click()
    expect(tab.locator("#get_registration")).to_be_in_viewport()
    tab.set_viewport_size({"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_after_a_reload_the_same_page_is_there_and_signing_out_ends_it(fleet: Fleet, strange: Visit):
    tab = strange.tab()
    sign_in(tab, fleet.hub)
    strange.go(tab, "/events")
    expect(tab.get_by_role("heading", name="Events")).to_be_visible()
    tab.get_by_role("button", name="Account").click()
    tab.get_by_role("button", name="Sign out", exact=True).click()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    tab.goto(origin_of(fleet.hub) + "/events")
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible(timeout=SLOW_MS)
    assert "/sign-in" in tab.url
