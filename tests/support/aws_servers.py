"""Servers on this machine that answer as AWS does, or as it does on a bad day.

moto for S3 and CloudWatch Logs; before its S3 a proxy that can break each request in a chosen way; a credentials
endpoint with real mutual TLS and a certificate authority of its own; a data plane that knows its connections.
"""

from __future__ import annotations

import base64
import contextlib
import enum
import hashlib
import http.client
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REGION = "eu-central-1"
HANG_MAX_S = 60.0


class KeyPair(NamedTuple):
    """Paths of a certificate and its key, the key readable by its owner alone."""

    cert: Path
    key: Path


class CertificateAuthority:
    """A certificate authority in a folder; `cert` is what a client trusts."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.cert = folder / f"{name}.pem"
        certificate = self._builder(self._name, self._key, timedelta(days=-30), timedelta(days=30))
        certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = certificate.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        self.cert.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        since: timedelta = timedelta(days=-1),
        until: timedelta = timedelta(days=1),
        password: bytes | None = None,
    ) -> KeyPair:
        """A certificate for `name`, good for a server at that name too; `since` and `until` count from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, since, until)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        pair = KeyPair(self._folder / f"{name}.cert.pem", self._folder / f"{name}.key.pem")
        pair.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            protection = serialization.BestAvailableEncryption(password)
        pair.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
        )
        pair.key.chmod(0o600)
        return pair

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, since: timedelta, *until: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until[0])
        )


class Server:
    """An HTTP server in a thread, on a free port of this machine; a context manager."""

    def __init__(self) -> None:
        self.released = threading.Event()
        """Set when the server ends: what hangs goes on."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(OSError, ssl.SSLError):
                    super().handle_one_request()
                    return
                self.close_connection = True

            def do_GET(self) -> None:
                outer.handle(self)

            do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - names that the base class looks for

            def log_message(self, *_: Any) -> None:
                pass

        class HttpServer(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def get_request(self) -> tuple[socket.socket, Any]:
                return outer.accept(*super().get_request())

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = HttpServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def accept(self, connection: socket.socket, address: Any) -> tuple[socket.socket, Any]:
        """What becomes of a new connection."""
        return connection, address

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        raise NotImplementedError


def answer(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Send a whole answer."""
    request.send_response_only(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def cut(request: BaseHTTPRequestHandler) -> None:
    """Break the connection off, as a router does that loses its power: a reset, no farewell."""
    request.close_connection = True
    connection = request.connection
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class CredentialsFault(enum.Enum):
    """How the credentials endpoint answers the next request wrongly."""

    DENIED = enum.auto()
    BROKEN = enum.auto()
    """500 with a page of HTML."""
    HANG = enum.auto()
    CUT = enum.auto()
    """The connection ends in the middle of the body."""
    GARBAGE = enum.auto()
    HUGE = enum.auto()


class CredentialsServer(Server):
    """AWS IoT's credentials provider. Asks for a certificate of its authority; issues numbered keys."""

    def __init__(self, folder: Path, *, thing_name: str = "garden", role_alias: str = "uploads") -> None:
        self.authority = CertificateAuthority(folder)
        self.thing = self.authority.issue(thing_name)
        self.thing_name = thing_name
        self.role_alias = role_alias
        self.lifetime_s = 3600.0
        self.clock_ahead_s = 0.0
        """How far this server's own clock is ahead of the machine's."""
        self.sends_date = True
        self.faults: deque[CredentialsFault | None] = deque()
        self.standing_fault: CredentialsFault | None = None
        self.requests = 0
        self._pair = self.authority.issue("localhost")
        self._set_context()
        super().__init__()

    @property
    def endpoint(self) -> str:
        """What `--credentials-endpoint` takes."""
        return f"localhost:{self.port}"

    def show_certificate(self, since: timedelta, until: timedelta) -> None:
        """Show a certificate of another validity from now on."""
        self._pair = self.authority.issue("localhost", since=since, until=until)
        self._set_context()

    def _set_context(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._pair.cert, self._pair.key)
        self._context.load_verify_locations(self.authority.cert)
        self._context.verify_mode = ssl.CERT_REQUIRED

    def accept(self, connection: socket.socket, address: Any) -> tuple[socket.socket, Any]:
        """TLS; the handshake happens in the connection's own thread."""
        connection.settimeout(10)
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Check who asks for what, and answer or do the fault that is due."""
        self.requests += 1
        fault = self.faults.popleft() if self.faults else self.standing_fault
        now = time.time() + self.clock_ahead_s
        headers = {"Date": formatdate(now, usegmt=True)} if self.sends_date else {}
        if fault is CredentialsFault.HANG:
            self.released.wait(HANG_MAX_S)
            return cut(request)
        if fault is CredentialsFault.BROKEN:
            return answer(request, 500, b"<html>oh</html>", **headers)
        if fault is CredentialsFault.GARBAGE:
            return answer(request, 200, b'{"credentials": {"accessKeyId": 7}}', **headers)
        if fault is CredentialsFault.HUGE:
            return answer(request, 200, b" " * 1_000_000, **headers)
        if fault is CredentialsFault.DENIED or not self._may(request):
            return answer(request, 403, b'{"message": "Access Denied"}', **headers)
        body = json.dumps(
            {
                "credentials": {
                    "accessKeyId": f"ASIATEST{self.requests:012d}",
                    "secretAccessKey": "secret+of/the=test",
                    "sessionToken": "token-" + "t" * 800,
                    "expiration": datetime.fromtimestamp(now + self.lifetime_s, timezone.utc).strftime(
                        "%Y-%m-%dT%H:%M:%SZ"
                    ),
                }
            }
        ).encode()
        if fault is CredentialsFault.CUT:
            request.send_response_only(200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body[: len(body) // 2])
            return cut(request)
        return answer(request, 200, body, **headers)

    def _may(self, request: BaseHTTPRequestHandler) -> bool:
        certificate: Any = request.connection.getpeercert()
        name = dict(pair[0] for pair in certificate["subject"])["commonName"]
        return (
            request.path == f"/role-aliases/{self.role_alias}/credentials"
            and request.headers.get("x-amzn-iot-thingname") == self.thing_name == name
        )


class S3Fault(enum.Enum):
    """How the proxy breaks one request. botocore tries each PUT twice, so most tests ask for a fault twice."""

    REFUSE = enum.auto()
    """The connection ends before anything is read."""
    HANG = enum.auto()
    CUT_BODY = enum.auto()
    """The connection ends in the middle of the body."""
    LOSE_ANSWER = enum.auto()
    """The object is stored, and the connection ends without an answer."""
    DENY = enum.auto()
    SLOW_DOWN = enum.auto()
    SKEWED = enum.auto()
    EXPIRED = enum.auto()
    ELSEWHERE = enum.auto()
    """The bucket lives in another region, which nobody names."""
    UNCONFIRMED = enum.auto()
    """The object is stored, and the answer has no checksum."""


S3_ERRORS: dict[S3Fault, tuple[int, str]] = {
    S3Fault.DENY: (403, "AccessDenied"),
    S3Fault.SLOW_DOWN: (503, "SlowDown"),
    S3Fault.SKEWED: (403, "RequestTimeTooSkewed"),
    S3Fault.EXPIRED: (400, "ExpiredToken"),
    S3Fault.ELSEWHERE: (301, "PermanentRedirect"),
}


class FaultyS3(Server):
    """A proxy before moto's S3 that checks what real S3 checks and moto does not, and does the faults asked for."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self.faults: deque[S3Fault | None] = deque()
        self.standing_fault: S3Fault | None = None
        self.standing_faults: dict[str, S3Fault] = {}
        """By what the path ends with."""
        self.clock_ahead_s = 0.0
        self.puts: list[tuple[str, dict[str, str]]] = []
        """Path and headers of each PUT that moto answered with 200."""
        self.in_flight = threading.Event()
        """Set while a request hangs."""
        super().__init__()

    @property
    def url(self) -> str:
        """What `--s3-endpoint` takes."""
        return f"http://127.0.0.1:{self.port}"

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Do the fault that is due, or pass the request on."""
        fault = self.faults.popleft() if self.faults else self.standing_fault
        fault = next((f for end, f in self.standing_faults.items() if request.path.endswith(end)), fault)
        length = int(request.headers.get("Content-Length", "0"))
        if fault is S3Fault.REFUSE:
            return cut(request)
        if fault is S3Fault.HANG:
            self.in_flight.set()
            self.released.wait(HANG_MAX_S)
            return cut(request)
        if fault is S3Fault.CUT_BODY:
            request.rfile.read(length // 2)
            return cut(request)
        body = request.rfile.read(length)
        if fault in S3_ERRORS:
            return self._error(request, *S3_ERRORS[fault])
        claimed = request.headers.get("x-amz-checksum-sha256")
        if claimed is not None and claimed != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return self._error(request, 400, "BadDigest")
        status, headers, content = self._pass_on(request, body)
        if request.command == "PUT" and status == 200:
            self.puts.append((request.path, dict(request.headers.items())))
        if fault is S3Fault.LOSE_ANSWER:
            return cut(request)
        if fault is S3Fault.UNCONFIRMED:
            headers = {name: value for name, value in headers.items() if "checksum" not in name}
        return answer(request, status, content, **headers)

    def _error(self, request: BaseHTTPRequestHandler, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        date = formatdate(time.time() + self.clock_ahead_s, usegmt=True)
        answer(request, status, body, Content_Type="application/xml", Date=date)

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream_port, timeout=30)
        with contextlib.closing(connection):
            headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
            connection.request(request.command, request.path, body, headers)
            response = connection.getresponse()
            kept = ("content-type", "etag", "x-amz-", "date", "last-modified")
            found = {name.lower(): value for name, value in response.getheaders() if name.lower().startswith(kept)}
            return response.status, found, response.read()


class DataPlaneServer(Server):
    """`POST <stage>/@connections/{id}`: takes signed posts to connections it knows; any other is gone (410)."""

    def __init__(self) -> None:
        self.open_connections: set[str] = set()
        self.posts: list[tuple[str, str, bytes]] = []
        """(path, Authorization, payload)."""
        self.status: int | None = None
        """Answer everything with this one instead."""
        super().__init__()

    @property
    def url(self) -> str:
        """The endpoint URL, with a stage in its path as API Gateway has it."""
        return f"http://127.0.0.1:{self.port}/prod"

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Judge signature, path and connection."""
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        signature = request.headers.get("Authorization", "")
        stage, _, connection_id = request.path.partition("/@connections/")
        if self.status is not None:
            return answer(request, self.status, b'{"message": "as the test wants it"}')
        if request.command != "POST" or stage != "/prod":
            return answer(request, 404, b"{}")
        if not signature.startswith("AWS4-HMAC-SHA256 Credential=") or "/execute-api/" not in signature:
            return answer(request, 403, b'{"message": "Missing Authentication Token"}')
        if len(body) > 128 * 1024:
            return answer(request, 413, b"{}", x_amzn_ErrorType="PayloadTooLargeException")
        if connection_id.replace("%3D", "=") not in self.open_connections:
            return answer(request, 410, b"{}", x_amzn_ErrorType="GoneException")
        self.posts.append((request.path, signature, body))
        return answer(request, 200, b"")


@contextlib.contextmanager
def moto_server() -> Any:
    """moto in a thread of this process; gives its port. Give each test its own bucket or group instead of a reset."""
    from moto.server import ThreadedMotoServer  # seconds to import: only where it is used

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Poll until `condition` holds; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)
