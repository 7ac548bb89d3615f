"""Where alerts may be posted to, and for how long a receiver is waited for."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub import outgoing
from pinthesky.hub.webhooks import Webhooks, check_address
from tests.support.aws_servers import CertificateAuthority

REFUSED = [
    "169.254.169.254",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "0.0.0.0",
    "[::]",
    "224.0.0.1",
    "[ff02::1]",
    "255.255.255.255",
]


@contextlib.contextmanager
def receiver(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something that listens, and does as told with its first connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def run() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    serve(client)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(10)


def drip(client: socket.socket, begun: bytes) -> None:
    """Answer a letter at a time, until the other side has left."""
    client.sendall(begun)
    while True:
        client.sendall(b"a")
        threading.Event().wait(0.02)


@pytest.mark.parametrize("host", REFUSED)
def test_an_address_that_no_home_has_a_webhook_on_is_refused_when_it_is_given(host):
    with pytest.raises(InvalidInput, match="no address for a webhook") as raised:
        Webhooks().check(f"http://{host}:8123/hook")
    assert raised.value.field == "endpoint"


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://a:99999/", "http://[x]/", "http://1.2.3.4:x/"])
def test_what_is_no_address_at_all_is_refused(endpoint):
    with pytest.raises(InvalidInput) as raised:
        Webhooks().check(endpoint)
    assert raised.value.field == "endpoint"


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.8", "10.0.0.1", "fd00::1", "93.184.216.34", "::1"])
def test_the_house_itself_and_the_world_are_allowed(address):
    assert check_address(ipaddress.ip_address(address)) is None  # type: ignore[func-returns-value] # it raises or not


def test_a_name_that_leads_to_such_an_address_by_the_time_of_the_alert_is_refused(monkeypatch: pytest.MonkeyPatch):
    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Unavailable, match=r"169\.254\.169\.254 is no address for a webhook"):
        Webhooks().post("http://hook.example/latest/meta-data", {})


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX-A: "])
def test_a_receiver_that_answers_letter_by_letter_is_left(monkeypatch: pytest.MonkeyPatch, begun: bytes):
    monkeypatch.setattr(outgoing, "TIMEOUT_S", 0.4)
    with receiver(lambda client: drip(client, begun)) as port:
        since = time.monotonic()
        with contextlib.suppress(Unavailable):  # what it has said before may be enough
            Webhooks().post(f"http://127.0.0.1:{port}/hook", {})
        assert time.monotonic() - since < 3


def test_one_that_never_ends_its_tls_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outgoing, "TIMEOUT_S", 0.4)
    with receiver(lambda client: drip(client, b"\x16\x03\x03\x40\x00")) as port:
        since = time.monotonic()
        with pytest.raises(Unavailable):
            Webhooks().post(f"https://127.0.0.1:{port}/hook", {})
        assert time.monotonic() - since < 3


def test_an_alert_is_posted_over_tls_to_whom_is_trusted_alone(tmp_path: Path):
    authority = CertificateAuthority(tmp_path)
    pair = authority.issue("localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    asked: list[bytes] = []

    def serve(client: socket.socket) -> None:
        with tls.wrap_socket(client, server_side=True) as connection:
            said = b""
            while not said.endswith(b"}"):
                said += connection.recv(4096)
            asked.append(said)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    trusted = ssl.create_default_context(cafile=str(authority.cert))
    with receiver(serve) as port:
        Webhooks(trusted).post(f"https://localhost:{port}/hook?key=a", {"title": "ä"})
    assert asked[0].startswith(b"POST /hook?key=a HTTP/1.1\r\nHost: localhost:")
    with receiver(serve) as port, pytest.raises(Unavailable, match="certificate verify failed"):
        Webhooks().post(f"https://localhost:{port}/hook", {})


def test_one_where_nobody_listens_is_told_so():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="refused"):
        Webhooks().post(f"http://127.0.0.1:{port}/hook", {})


def test_a_name_is_taken_as_it_is_until_it_is_used():
    assert Webhooks().check("https://home.assistant.example:8123/api/webhook/x") is None  # type: ignore[func-returns-value] # it raises or not
