"""A push service over TLS, and the browsers that have subscribed to it: they decrypt, and verify the sender."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import http_ece  # type: ignore[import-untyped]  # it ships no types
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.aws_servers import CertificateAuthority


def base64url(data: bytes) -> str:
    """As browsers write it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Received(NamedTuple):
    """A message as the service got it; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class PushService:
    """Where messages arrive; `answers` are the next ones, 201 after them."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.trusted = ssl.create_default_context(cafile=str(authority.cert))
        self.origin = ""


class Subscriber:
    """A browser: its subscription, and what it makes of a message."""

    def __init__(self, origin: str, name: str = "browser") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._secret = bytes(range(16))
        self.origin = origin
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": base64url(point), "auth": base64url(self._secret)}
        self.document = {"endpoint": f"{origin}/push/{name}", "expirationTime": None, "keys": keys}
        self.subscription = json.dumps(self.document)

    def read(self, message: Received) -> dict[str, Any]:
        """What a message says."""
        text = http_ece.decrypt(message.body, private_key=self._key, auth_secret=self._secret, version="aes128gcm")
        said: dict[str, Any] = json.loads(text)
        return said

    def verify(self, message: Received, public_key: str) -> dict[str, Any]:
        """The claims of whoever sent it, which has to be whom this browser subscribed to."""
        scheme, _, rest = message.headers["authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert (scheme, parts["k"]) == ("vapid", public_key)
        point = base64.urlsafe_b64decode(public_key + "=" * (-len(public_key) % 4))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        claims: dict[str, Any] = jwt.decode(parts["t"], key, algorithms=["ES256"], audience=self.origin)
        return claims


@contextmanager
def push_service(folder: Path) -> Iterator[PushService]:
    """One that runs at `localhost`."""
    authority = CertificateAuthority(folder)
    pair = authority.issue("localhost")
    made = PushService(authority)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.received.append(Received(self.path, headers, self.rfile.read(int(headers["content-length"]))))
            self.send_response(made.answers.pop(0) if made.answers else 201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    made.origin = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
