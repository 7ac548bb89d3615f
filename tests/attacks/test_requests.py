"""Hostile requests over HTTP: bodies, paths, headers, slowness, origins, hosts, and guesses without end."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pinthesky.hub import small_bodies, web_protocols
from pinthesky.hub.small_bodies import BodyMissing, read_body
from pinthesky.hub.web_protocols import Crowd
from pinthesky.hub.web_server import WebServer
from pinthesky.planes.control_plane.surface import ROUTER
from tests.planes.home import GARDEN
from tests.support.hostile_clients import RawClient, connected
from tests.support.planes_at_hub import HubOfPlanes

TRICKS = [
    "..",
    "%2e%2e",
    "..%2f..%2fhub.sqlite",
    "%2e%2e%2f%2e%2e%2fauthority%2fca.key",
    "..%5c..%5chub.toml",
    "%00",
    "garden%00",
    "garden%0d%0aX-Evil:%201",
    "%c0%ae%c0%ae%c0%af",
    "%ff",
    "garden%2f..%2fhall",
    "GARDEN",
    "garden%20",
    "%D9%A3",
    "A" * 2000,
    "$aws",
    "%23",
    "%2b",
    "*",
]
"""In the place of anything that a path names, as they are written on the wire."""


ROUTES_BY_KIND = {
    kind: (route.path, parameter)
    for route in reversed(ROUTER.routes)
    if route.method == "GET"
    for parameter, kind in route.path_types.items()
}
"""A route for each kind of identifier, and the name that it has there."""


def bearer(stage: HubOfPlanes, who: str = "owner") -> str:
    return f"Authorization: Bearer {stage.people[who].tokens['access_token']}"


def ask(stage: HubOfPlanes, method: str, path: str, *headers: str, body: bytes = b"") -> tuple[int, bytes]:
    with connected(stage.server.port) as client:
        host = f"Host: localhost:{stage.server.port}"
        return client.ask(method, path, *(headers or (bearer(stage),)), host, body=body)


# Paths and bodies


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_in_a_path_leads_anywhere_else(stage, trick):
    for kind, (path, parameter) in ROUTES_BY_KIND.items():
        tricked = path.format_map({**stage.names("owner"), parameter: trick})
        status, answer = RAW.ask(stage, tricked)
        assert status in (400, 404) or b'"items":[]' in answer, (kind, tricked, status, answer)
        assert b"PRIVATE KEY" not in answer
        assert b"SQLite" not in answer
        assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]


class _KeptConnection:
    """A browser's connection, with paths that no library would send; a connection for each would cost more."""

    def __init__(self) -> None:
        self._client: RawClient | None = None

    def ask(self, stage: HubOfPlanes, path: str) -> tuple[int, bytes]:
        client = self._client = self._client or RawClient(stage.server.port)
        lines = [f"GET /api{path} HTTP/1.1", "Host: localhost", bearer(stage), "", ""]
        client.send("\r\n".join(lines).encode())
        found = b""
        while b"\r\n\r\n" not in found:
            found += client.socket.recv(65536)
        head, _, body = found.partition(b"\r\n\r\n")
        lowered = head.lower()
        size = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < size:
            body += client.socket.recv(65536)
        if b"connection: close" in lowered:
            self.close()
        return int(head[9:12]), head + b"\r\n\r\n" + body

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


RAW = _KeptConnection()


@pytest.fixture(autouse=True)
def kept_connection() -> Iterator[None]:
    yield
    RAW.close()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'{"name":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"name": ' + b"9" * 200_000 + b"}",
        b'{"name": 1e999999999}',
        b'{"name": -0.0e-99999}',
        b'{"name": "' + b"\\u0000" * 1000 + b'"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xff\xfe"}',
        b"\x00" * 1000,
        b'{"name": NaN}',
        b'{"a": 1, ' * 1000,
        b'{"name": {"$ref": "#"}}',
        b"\xef\xbb\xbf{}",
        b"null",
        b"",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_no_body_breaks_or_takes_long(stage, body):
    begun = time.process_time()
    for path in ("/api/groups", "/api/jobs", "/api/cameras/garden/configuration", "/api/subscriptions"):
        status, answer = ask(stage, "POST", path, bearer(stage), body=body)
        assert status == 400, (path, answer[:300])
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["requestId"]
    assert time.process_time() - begun < 1.0


def test_of_a_name_that_stands_twice_each_value_has_to_be_right(stage):
    for body in (b'{"name": "../x", "name": "twice"}', b'{"name": "twice", "name": "../x"}'):
        assert ask(stage, "POST", "/api/groups", bearer(stage), body=body)[0] == 400
    assert stage.ask("owner", "GET", "/groups/twice")[0] == 404


def test_a_body_that_is_too_large_is_refused_and_not_kept(stage):
    for headers in ((f"Content-Length: {2**40}",), ("Transfer-Encoding: chunked",)):
        with connected(stage.server.port) as client:
            client.send(
                "\r\n".join(["POST /api/groups HTTP/1.1", "Host: localhost", bearer(stage), *headers, "", ""]).encode()
            )
            block = b"10000\r\n" + b"x" * 65536 + b"\r\n" if "chunked" in headers[0] else b"x" * 65536
            for _ in range(6):
                client.send(block)
            client.socket.settimeout(10)
            assert client.socket.recv(100).startswith(b"HTTP/1.1 413")


def test_a_request_that_says_two_lengths_is_refused(stage):
    """Nothing can be smuggled past a proxy."""
    for headers in (
        ("Content-Length: 2", "Content-Length: 30"),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length: +2",),
        ("Content-Length: 2, 30",),
    ):
        with connected(stage.server.port) as client:
            lines = ["POST /api/groups HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", "{}"]
            client.send("\r\n".join(lines).encode())
            answer = client.rest(25)
        assert answer.count(b"HTTP/1.1") == 1, (headers, answer)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 501")), (headers, answer)


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{number}: {'a' * 100}" for number in range(2000)],
        ["X-Long: " + "a" * 200_000],
        ["Cookie: " + "; ".join(f"a{number}=b" for number in range(5000))],
        ["X-A: b\x00c"],
        [" folded: x"],
        ["Authorization : Bearer x"],
    ],
    ids=["many", "long", "cookies", "null", "folded", "space"],
)
def test_a_flood_of_headers_is_refused(stage, headers):
    status, _ = ask(stage, "GET", "/api/cameras", *headers)
    assert status in (0, 400, 401, 431)
    assert stage.ask("owner", "GET", "/cameras")[0] == 200


def test_odd_methods_and_versions_are_refused_and_leave_no_trace(stage):
    for method in ("TRACE", "CONNECT", "PATCH", "OPTIONS", "FOO"):
        status, answer = ask(stage, method, "/api/cameras")
        assert status == 405, method
        assert b"access-control" not in answer.lower()
    for line in (b"GET /\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\n"):
        with connected(stage.server.port) as client:
            client.send(line)
            client.socket.settimeout(10)
            assert not client.socket.recv(100).startswith(b"HTTP/1.1 2")


# Slowness


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server that waits for half a second where ours waits for many."""
    monkeypatch.setattr(web_protocols, "REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr(small_bodies, "BODY_TIMEOUT_S", 0.5)

    async def read(request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await read_body(request, limit=100))))
        except BodyMissing as error:
            return PlainTextResponse(str(error), 400)

    server = WebServer(
        Starlette(routes=[Route("/", read, methods=["GET", "POST"])]), host="127.0.0.1", port=0, tls=None
    )
    server.start()
    yield server
    assert server.stop()


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@contextlib.contextmanager
def dripping(client: RawClient, data: bytes) -> Iterator[None]:
    """Send a byte every so often, for as long as the block lasts."""
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.05):
            client.send(data)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("begun", [b"", b"G", HEAD, HEAD + b"X-A: b"])
def test_a_request_whose_head_does_not_end_is_cut_off(quick, begun):
    with connected(quick.port) as client:
        client.send(begun)
        assert client.ends_within(3)


@pytest.mark.parametrize("begun", [b"P", HEAD + b"X-A: "])
def test_a_head_that_comes_letter_by_letter_is_cut_off(quick, begun):
    with connected(quick.port) as client, dripping(client, b"a"):
        client.send(begun)
        assert client.ends_within(3)


def test_the_second_request_of_a_connection_has_no_longer_than_the_first(quick):
    with connected(quick.port) as client:
        client.send(HEAD + b"Content-Length: 0\r\n\r\n")
        client.socket.settimeout(5)
        assert client.socket.recv(1000).startswith(b"HTTP/1.1 200")
        with dripping(client, b"a"):
            client.send(HEAD)
            assert client.ends_within(3)


def test_a_body_that_comes_letter_by_letter_is_answered_and_cut_off(quick):
    with connected(quick.port) as client, dripping(client, b"a"):
        client.send(HEAD + b"Content-Length: 90\r\n\r\n")
        answer = client.rest(5)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"did not arrive in time" in answer


def test_who_asks_again_in_time_keeps_the_connection(quick):
    with connected(quick.port) as client:
        client.socket.settimeout(5)
        for _ in range(8):
            client.send(HEAD + b"Content-Length: 2\r\n\r\nab")
            answer = b""
            while not answer.endswith(b"\r\n\r\n2"):
                part = client.socket.recv(1000)
                assert part
                answer += part
            threading.Event().wait(0.1)


def test_one_address_has_so_many_connections_and_others_have_theirs(monkeypatch):
    monkeypatch.setattr(web_protocols, "CONNECTIONS_OF_NETWORK_MAX", 2)
    crowd = Crowd()
    assert [crowd.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert crowd.enter("192.0.2.2")
    assert [crowd.enter(f"2001:db8::{number}") for number in range(3)] == [True, True, False]
    assert crowd.enter("2001:db8:0:1::1")
    assert all(crowd.enter("127.0.0.1") and crowd.enter("::1") and crowd.enter("::ffff:127.0.0.1") for _ in range(5))
    for host in ("192.0.2.1", "192.0.2.1"):
        crowd.leave(host)
    assert crowd.enter("::ffff:192.0.2.1")


def test_a_port_has_so_many_connections_and_closes_one_more(monkeypatch, quick):
    monkeypatch.setattr(web_protocols, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(web_protocols, "REQUEST_TIMEOUT_S", 20)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connected(quick.port)) for _ in range(3)]
        for client in held:
            client.send(HEAD)
        with connected(quick.port) as one_more:
            assert one_more.ends_within(3)
        held[0].close()
        held[1].send(b"Content-Length: 0\r\n\r\n")
        held[1].socket.settimeout(5)
        assert held[1].socket.recv(100).startswith(b"HTTP/1.1 200")


# Other sites, other hosts, proxies


PAGES = ("/sign-in", "/sign-in/link", "/sign-in/passkeys", "/trust", "/", "/nothing", "/api/cameras", "/healthz")


@pytest.mark.parametrize("path", PAGES)
def test_no_page_can_be_framed_or_sniffed(stage, path):
    status, answer = ask(stage, "GET", path, "Accept: text/html")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert status
    assert b"x-content-type-options: nosniff" in head
    assert b"frame-ancestors 'none'" in head or b"x-frame-options: deny" in head
    assert b"access-control-allow-origin" not in head
    assert b"unsafe-eval" not in head
    assert b"server:" not in head


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "", "file://"])
def test_another_site_posts_nothing_in_the_name_of_a_browser(stage, origin):
    headers = ([f"Origin: {origin}"] if origin else []) + ["Content-Type: application/x-www-form-urlencoded"]
    for path, body in (
        ("/sign-in/link", b"secret=x"),
        ("/sign-out", b""),
        ("/sign-in/passkeys/remove", b"id=x"),
        ("/sign-in/passkey", b"{}"),
    ):
        status, answer = ask(stage, "POST", path, *headers, body=body)
        assert status in (403, 429), path
        assert b"set-cookie" not in answer.lower()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example:8443",
        "[::1]x",
        "",
        "a b",
        "%00",
    ],
)
def test_a_host_that_is_not_ours_is_never_repeated_as_ours(stage, host):
    for path in (
        "/.well-known/openid-configuration",
        "/oauth2/authorize?client_id=console",
        "/sign-in",
        "/",
        "/nothing",
    ):
        with connected(stage.server.port) as client:
            status, answer = client.ask("GET", path, f"Host: {host}")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert status in (0, 200, 303, 307, 400, 404), (path, status)
        assert b"evil.example" not in head
        if path.startswith("/.well"):
            assert status in (0, 400)
            assert b"authorization_endpoint" not in body


def test_what_strangers_say_of_a_proxy_is_not_believed(stage):
    before = len(stage.home.sign_ins.of_person(stage.home.people.everybody()[0].id))
    forwarded = (
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=203.0.113.9;host=evil.example;proto=https",
        "X-Real-IP: 203.0.113.9",
        "X-Original-URL: /api/people",
        "X-HTTP-Method-Override: DELETE",
    )
    status, answer = ask(stage, "GET", "/.well-known/openid-configuration", *forwarded)
    assert status == 200
    assert f'"issuer":"http://localhost:{stage.server.port}"'.encode() in answer
    assert ask(stage, "GET", "/api/cameras/garden", bearer(stage), *forwarded)[0] == 200
    assert before == len(stage.home.sign_ins.of_person(stage.home.people.everybody()[0].id))
    assert "garden" in json.dumps(stage.ask("owner", "GET", "/cameras")[1])


def test_a_camera_cannot_make_a_page_of_the_hub(stage):
    """Whatever type it says that its upload has."""
    from pinthesky.model.identifiers import MediaKey

    key = MediaKey(f"motion_videos/{GARDEN}/{stage.of_camera[GARDEN]['video']}")
    script = b"<script>alert(1)</script>"
    stage.home.media.write(key, script, content_type="text/html", metadata={})
    link = stage.ask_for("owner", "GET", f"/videos/{stage.of_camera[GARDEN]['video']}/cameras/garden/url")["url"]
    answer = stage.people["owner"].fetch(link)
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    stage.restore()


# Guesses without end


def until_refused(guess: Any, most: int) -> int:
    """How many guesses were let through before the first 429."""
    for number in range(most):
        status = guess(number)
        if status == 429:
            return number
    raise AssertionError(f"{most} guesses were all let through")


def test_sign_in_links_cannot_be_guessed_for_long(stage):
    headers = ("Content-Type: application/x-www-form-urlencoded", f"Origin: http://localhost:{stage.server.port}")
    made_up = (
        lambda number: ask(stage, "POST", "/sign-in/link", *headers, body=f"secret=guess-{number}".encode())[0],
        lambda number: ask(stage, "POST", "/oauth2/token", body=f"grant_type=refresh_token&n={number}".encode())[0],
    )
    assert until_refused(made_up[0], 60) <= 40
    # It is one limit for everything that could be guessed, so it is used up for the others as well.
    assert until_refused(made_up[1], 30) <= 20


def test_user_codes_and_device_codes_cannot_be_guessed_for_long(stage):
    letters = "BCDFGHJKLMNPQRSTVWXZ"

    def code(number: int) -> str:
        return "".join(letters[(number // 20**place) % 20] for place in range(8))

    assert until_refused(lambda number: stage.ask("owner", "GET", f"/registrations/{code(number)}")[0], 60) <= 30

    def poll(number: int) -> int:
        return stage.ask("nobody", "POST", "/registrations/token", {"device_code": f"guess-{number}"})[0]

    assert until_refused(poll, 60) <= 40
    assert stage.ask("owner", "GET", f"/registrations/{quote(stage.shared['code'])}")[0] == 429
    stage.restore()


def test_strangers_do_not_make_devices_wait_in_line_for_ever(stage):
    from tests.planes.test_signing_request import REQUEST

    asked = lambda _: stage.ask("nobody", "POST", "/registrations", {"csr": REQUEST})[0]  # noqa: E731 - one line
    assert until_refused(asked, 60) <= 30
    stage.restore()


def test_the_authority_of_a_hub_is_all_that_a_stranger_can_have(stage):
    root = Path(stage.data)
    secrets = [(root / "authority" / name).read_bytes() for name in ("ca.key", "secret", "tokens.key")]
    for path in ("/trust/pits-hub.crt", "/trust/pits-hub.mobileconfig", "/trust", "/metrics", "/healthz"):
        status, answer = ask(stage, "GET", path)
        assert status in (200, 503)  # nothing but the web server runs here
        assert not any(secret[:40] in answer for secret in secrets)
