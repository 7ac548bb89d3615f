"""A hub's objects and credentials endpoint, served over TLS in this process, with cameras that hold certificates."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import boto3
import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from starlette.applications import Starlette

from pinthesky.hub.credentials import CredentialsProvider, Key, Keys
from pinthesky.hub.database import Database
from pinthesky.hub.media_announcer import MediaAnnouncer
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_recovery import recover
from pinthesky.hub.media_retention import MediaRetention, RetentionLimits
from pinthesky.hub.objects import Objects
from pinthesky.hub.ports import MEDIA_BUCKET, REGION, ROLE_ALIAS
from pinthesky.hub.registry import Registry
from pinthesky.hub.signatures import Signatures
from pinthesky.hub.web_server import WebServer
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import CertificateAuthority, KeyPair
from tests.support.hub_media import Clock

SECRET = bytes(range(32))
BUCKET = MEDIA_BUCKET


class Faulty:
    """Before the application: loses answers, or refuses before anything is done, as often as told."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.faults: deque[str] = deque()
        """`lose` (done, and the client does not hear of it) or `refuse`, one for each PUT."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Do the fault that is due, or pass the request on."""
        fault = self.faults.popleft() if self.faults and scope["method"] == "PUT" else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault == "lose":

            async def nowhere(_message: Any) -> None:
                pass

            await self._app(scope, receive, nowhere)
        await send({"type": "http.response.start", "status": 500, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b""})


class ObjectsHub:
    """Everything that objects need of a hub, in `folder`; `start` serves it."""

    def __init__(self, folder: Path, *, limits: RetentionLimits | None = None, port: int = 0) -> None:
        certificates = folder / "certificates"
        certificates.mkdir(parents=True, exist_ok=True)
        self.authority = CertificateAuthority(certificates)
        self.trusting = ssl.create_default_context(cafile=str(self.authority.cert))
        """For clients without a certificate."""
        self.clock = Clock()
        self.database = Database(folder / "hub.sqlite")
        self.registry = Registry(self.database)
        self.keys = Keys(SECRET, clock=self.clock)
        self.signatures = Signatures(self.keys, self.registry, clock=self.clock)
        self.index = MediaIndex(self.database)
        self.announcer = MediaAnnouncer(self.index)
        self.folder = MediaFolder(folder / "media", self.index, on_change=self.announcer.look)
        recover(self.folder)
        self.retention = MediaRetention(self.folder, limits or RetentionLimits(min_free_bytes=0))
        self.objects = Objects(
            signatures=self.signatures, registry=self.registry, folder=self.folder, retention=self.retention
        )
        self.provider = CredentialsProvider(registry=self.registry, keys=self.keys, role_alias=ROLE_ALIAS)
        app = Starlette(routes=[*self.provider.routes(), *self.objects.routes()])
        self._pair = self.authority.issue("localhost")
        self.faulty = Faulty(app)
        self.server = WebServer(self.faulty, host="127.0.0.1", port=port, tls=self._tls())

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pair.cert, self._pair.key)
        context.load_verify_locations(self.authority.cert)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"https://localhost:{self.server.port}"

    @property
    def endpoint(self) -> str:
        """What `--credentials-endpoint` takes."""
        return f"localhost:{self.server.port}"

    def add_camera(self, name: str) -> KeyPair:
        """A thing with a registered certificate."""
        pair = self.authority.issue(name)
        self.registry.add(ThingName(name))
        self.registry.register_certificate(ThingName(name), der(pair))
        return pair

    def key_of(self, name: str, pair: KeyPair) -> Key:
        """A key for a camera, made without the endpoint."""
        return self.keys.issue_for_thing(ThingName(name), der(pair), lifetime_s=3600)

    def client(self, key: Key | None, service: str = "s3", **config: Any) -> Any:
        """boto3's own client, with its defaults; the hub's key where none is given."""
        key = key or self.keys.issue_for_hub()
        return boto3.Session(
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            aws_session_token=key.session_token,
            botocore_session=botocore.session.Session(),
            region_name=REGION,
        ).client(
            service,  # type: ignore[call-overload] # the stubs want a literal for each service
            endpoint_url=self.url,
            verify=str(self.authority.cert),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **config),
        )


def der(pair: KeyPair) -> bytes:
    """The certificate as it travels in TLS."""
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text(encoding="ascii"))


@contextlib.contextmanager
def running(hub: ObjectsHub) -> Iterator[ObjectsHub]:
    """Serve it."""
    hub.server.start()
    try:
        yield hub
    finally:
        assert hub.server.stop()
        assert hub.announcer.stop()
        hub.database.close()


class Answer(NamedTuple):
    """Status, S3's code where it is an error, headers by name in lower case, and the body."""

    status: int
    code: str
    headers: dict[str, str]
    body: bytes


def raw_request(
    hub: ObjectsHub, key: Key, method: str, raw_path: str, *, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """A request whose path goes over the wire as it is, signed as S3 reads it: decoded once and encoded again."""
    url = hub.url + quote(unquote_to_bytes(raw_path.partition("?")[0]), safe="/~")
    params = dict(parse_qsl(raw_path.partition("?")[2], keep_blank_values=True))
    asked = AWSRequest(method=method, url=url, data=body, params=params, headers=headers or {})
    credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token)
    S3SigV4Auth(credentials, "s3", REGION).add_auth(asked)
    sent = {name: str(value) for name, value in asked.headers.items()} | {"Content-Length": str(len(body))}
    return plain_request(hub, method, raw_path, body=body, headers=sent)


def plain_request(
    hub: ObjectsHub,
    method: str,
    raw_path: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    pair: KeyPair | None = None,
) -> Answer:
    """A request as it is, with a client certificate if one is given."""
    context = hub.trusting
    if pair is not None:
        context = ssl.create_default_context(cafile=str(hub.authority.cert))
        context.load_cert_chain(pair.cert, pair.key)
    connection = http.client.HTTPSConnection("localhost", hub.server.port, timeout=10, context=context)
    with contextlib.closing(connection):
        connection.putrequest(method, raw_path, skip_accept_encoding=True)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        found = re.search(rb"<Code>(\w+)</Code>", content)
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found[1].decode() if found else "", named, content)
