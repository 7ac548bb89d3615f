"""What the web server says of itself; what it serves is tested with what it serves."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from pathlib import Path

import pytest
import urllib3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pinthesky.errors import Unavailable
from pinthesky.hub.web_server import WebServer
from tests.support.aws_servers import CertificateAuthority


def test_it_tells_the_port_that_was_wanted_and_then_the_one_it_has():
    server = WebServer(Starlette(), host="127.0.0.1", port=0, tls=None)
    assert server.port == 0
    server.start()
    try:
        assert server.port > 0
        socket.create_connection(("127.0.0.1", server.port), 5.0).close()
    finally:
        assert server.stop()


def test_head_and_body_of_an_answer_do_not_wait_for_each_other():
    async def body(_: Request) -> Response:
        return PlainTextResponse("x" * 500)

    server = WebServer(Starlette(routes=[Route("/", body)]), host="127.0.0.1", port=0, tls=None)
    server.start()
    try:
        pool = urllib3.PoolManager(retries=False)
        took = []
        for _ in range(20):
            begun = time.monotonic()
            assert pool.request("GET", f"http://127.0.0.1:{server.port}/").status == 200
            took.append(time.monotonic() - begun)
        pool.clear()
        assert sorted(took)[3] < 0.03  # a delayed acknowledgement takes 40 ms, every time
    finally:
        assert server.stop()


def test_one_that_ends_while_it_starts_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    server = WebServer(Starlette(), host="127.0.0.1", port=0, tls=None)
    monkeypatch.setattr(server._server, "run", lambda _sockets: None)
    with pytest.raises(Unavailable, match=r"the web server on port \d+ did not start"):
        server.start()
    assert server.stop()


def test_a_client_that_never_takes_leave_does_not_disturb_the_end(tmp_path: Path):
    authority = CertificateAuthority(tmp_path)
    pair = authority.issue("localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    server = WebServer(Starlette(), host="127.0.0.1", port=0, tls=tls)
    server.start()
    trusting = ssl.create_default_context(cafile=str(authority.cert))
    with contextlib.ExitStack() as stack:
        for headers in ("Connection: close\r\n", ""):
            plain = stack.enter_context(socket.create_connection(("localhost", server.port), 5.0))
            client = stack.enter_context(trusting.wrap_socket(plain, server_hostname="localhost"))
            client.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
            assert b"404" in client.recv(1000)
        begun = time.monotonic()
        assert server.stop()  # a failure in the server's thread would fail this test as well
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("trusted, told", [("127.0.0.1", "203.0.113.7 https"), ("10.0.0.0/8", "127.0.0.1 http")])
def test_only_a_trusted_proxy_says_who_asks(trusted: str, told: str):
    async def who(request: Request) -> Response:
        assert request.client is not None
        return PlainTextResponse(f"{request.client.host} {request.url.scheme}")

    server = WebServer(Starlette(routes=[Route("/", who)]), host="127.0.0.1", port=0, tls=None, trusted_proxies=trusted)
    server.start()
    try:
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        asked = urllib3.PoolManager(retries=False).request("GET", f"http://127.0.0.1:{server.port}/", headers=headers)
        assert asked.data.decode() == told
    finally:
        assert server.stop()


def test_one_that_never_started_ends_at_once():
    assert WebServer(Starlette(), host="127.0.0.1", port=0, tls=None).stop()
