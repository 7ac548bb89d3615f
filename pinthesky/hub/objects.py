"""S3's objects in the media folder: PUT, GET, HEAD, DELETE and tags, path style, signed.

A thing may store under its own name and nothing else, as the role in AWS lets it: what it has recorded it can neither
read again nor replace, so neither can a thief with its key. The hub itself may do everything. What is not here answers
NotImplemented.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import Message, Receive, Scope, Send

from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotFound, Unavailable
from pinthesky.hub.media_folder import Incoming, MediaFolder, NoRoom
from pinthesky.hub.media_record import Address, MediaRecord
from pinthesky.hub.media_retention import MediaRetention
from pinthesky.hub.object_bodies import ObjectBody
from pinthesky.hub.object_reads import (
    Download,
    checksum_headers,
    etag_of,
    headers_of,
    is_unchanged,
    range_of,
    unchanged,
)
from pinthesky.hub.object_requests import (
    TAGGING_BODY_MAX,
    Attributes,
    Operation,
    Target,
    attributes_of,
    must_be_new,
    tags_as_xml,
    tags_in_xml,
    target_of,
)
from pinthesky.hub.ports import MEDIA_BUCKET, REGION
from pinthesky.hub.refusals import Cut, Refusal
from pinthesky.hub.signatures import Principal, Signatures, SignedRequest, Verified
from pinthesky.model.identifiers import BucketName, KeyPrefix, ThingName
from pinthesky.model.recording import RETENTION_TAG

if TYPE_CHECKING:
    from pinthesky.hub.ports import ThingRegistry

logger = logging.getLogger(__name__)

PREFIXES = (KeyPrefix("motion_videos"), KeyPrefix("capture_images"))
UPLOADS_MAX = 64
"""PUTs under way at once; one more is asked to come again (503 SlowDown)."""
STALLED_S = 60.0
"""A body of which nothing comes for this long is given up."""
LOOK_EVERY_S = 2.0
"""How often a stalled PUT looks whether its thing was removed meanwhile."""
BLOCK = 1024 * 1024
"""Bytes that are gathered before the disk is asked: all that an upload holds in memory."""
FOR_THINGS: frozenset[Operation] = frozenset({"HeadBucket", "PutObject"})


@dataclass(eq=False)
class _Upload:
    """A PUT under way."""

    thing: ThingName | None
    is_revoked: bool = False


class _Gone(Exception):
    """The client has left."""


class Objects:
    """The ASGI application of the bucket. It answers every path, so its route comes last."""

    def __init__(
        self,
        *,
        signatures: Signatures,
        registry: ThingRegistry,
        folder: MediaFolder,
        retention: MediaRetention,
        bucket: str = MEDIA_BUCKET,
        prefixes: Sequence[KeyPrefix] = PREFIXES,
    ) -> None:
        """`prefixes` are those under which keys may lie. To be made before the registry starts."""
        self._signatures = signatures
        self._registry = registry
        self._folder = folder
        self._retention = retention
        self._bucket = BucketName.parse(bucket)
        self._prefixes = tuple(prefixes)
        self._uploads: set[_Upload] = set()
        self._is_in_trouble = False
        registry.on_removed(self._cut)

    def routes(self) -> list[BaseRoute]:
        """The one route, which takes whatever no other has taken."""
        return [Mount("/", app=self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request_id = secrets.token_hex(8).upper()
        request = SignedRequest.of(scope)
        has_begun = False

        async def received() -> Message:
            nonlocal has_begun
            has_begun = True
            return await receive()

        try:
            answer = await self._answer(request, received)
        except _Gone:
            return
        except Refusal as refusal:
            answer = _refused(refusal, request, request_id)
        if not has_begun and request.header("expect") is not None:
            # The client keeps its body, so what comes next on this connection would be taken for it.
            answer.headers["connection"] = "close"
        answer.headers["x-amz-request-id"] = request_id
        answer.headers["x-amz-id-2"] = request_id
        await answer(scope, receive, send)

    async def _answer(self, request: SignedRequest, receive: Receive) -> Response:
        with self._troubles(""):
            verified = await run_in_threadpool(self._signatures.verify, request)
        target = target_of(request)
        if target.bucket != self._bucket:
            raise Refusal("NoSuchBucket", "The specified bucket does not exist", BucketName=target.bucket)
        if target.operation == "HeadBucket":
            return Response(headers={"x-amz-bucket-region": REGION})
        address = self._allowed(verified.principal, target)
        with self._troubles(target.key):
            if target.operation == "PutObject":
                return await self._put(request, verified, address, receive=receive)
            if target.operation == "PutObjectTagging":
                return await self._put_tags(request, verified, address, receive=receive)
            return await run_in_threadpool(self._quick(target.operation), request, target, address)

    def _allowed(self, principal: Principal, target: Target) -> Address:
        """The address that may be used as asked. Raises Refusal."""
        try:
            address = Address.parse(target.key, self._prefixes)
        except InvalidInput as error:
            if principal.thing is None and target.operation != "PutObject":
                raise _no_such_key(target.key) from error
            raise Refusal("AccessDenied", f"Access Denied: the key cannot be used here: {error.reason}") from error
        if principal.thing is None:
            return address
        if target.operation not in FOR_THINGS or address.thing != principal.thing:
            raise Refusal("AccessDenied", f"Access Denied: {principal.thing} may store under its own name only")
        return address

    def _quick(self, operation: Operation) -> Callable[[SignedRequest, Target, Address], Response]:
        """What reads no body and is done in one go, in a thread that may wait for the disk."""
        return {
            "GetObject": self._get,
            "HeadObject": self._head,
            "DeleteObject": self._delete,
            "GetObjectTagging": self._get_tags,
            "DeleteObjectTagging": self._delete_tags,
        }[operation]

    async def _put(self, request: SignedRequest, verified: Verified, address: Address, *, receive: Receive) -> Response:
        body = ObjectBody(request, verified)
        attributes = attributes_of(request)
        if address.is_probe and body.size:
            raise Refusal("AccessDenied", f"Access Denied: {address.name} holds nothing")
        may_replace = await run_in_threadpool(self._may_replace, request, address, verified.principal)
        with self._upload(verified.principal.thing) as upload:
            incoming = await run_in_threadpool(self._retention.admit, body.size)
            try:
                async for block in _blocks(body, receive, upload):
                    await run_in_threadpool(incoming.write, block)
                record = _record(address, attributes, body, is_of_thing=upload.thing is not None)
                stored = await run_in_threadpool(self._store, incoming, record, upload, replace=may_replace)
            except Conflict as error:
                raise _stored_already(request) from error
            finally:
                incoming.discard()
        if self._is_in_trouble:
            logger.info("Objects can be stored again")
        self._is_in_trouble = False
        return Response(headers={"etag": etag_of(stored), **checksum_headers(stored)})

    def _may_replace(self, request: SignedRequest, address: Address, principal: Principal) -> bool:
        """Whether what is stored under the key may be replaced. Raises Refusal where it is there and may not."""
        may = not must_be_new(request) and (principal.thing is None or address.may_be_replaced)
        if not may and self._folder.has(address.key):
            raise _stored_already(request)
        return may

    def _store(self, incoming: Incoming, record: MediaRecord, upload: _Upload, *, replace: bool) -> MediaRecord:
        if upload.is_revoked or (upload.thing is not None and not self._registry.is_active(upload.thing)):
            raise _removed()
        return self._folder.store(incoming, record, replace=replace)

    async def _put_tags(
        self, request: SignedRequest, verified: Verified, address: Address, *, receive: Receive
    ) -> Response:
        body = ObjectBody(request, verified)
        if body.size > TAGGING_BODY_MAX:
            raise Refusal("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        raw = b"".join([block async for block in _blocks(body, receive, _Upload(None))])
        await run_in_threadpool(self._folder.set_tags, address.key, tags_in_xml(raw))
        return Response()

    def _get(self, request: SignedRequest, target: Target, address: Address) -> Response:
        record, file = self._folder.open(address.key)
        try:
            size = os.fstat(file.fileno()).st_size
            headers = headers_of(record, request, target.query)
            if is_unchanged(record, request):
                file.close()
                return unchanged(headers)
            part = range_of(record, request, size)
        except Refusal:
            file.close()
            raise
        if part is None:
            return Download(file, start=0, size=size, status=200, headers=headers)
        start, length = part
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{size}"
        return Download(file, start=start, size=length, status=206, headers=headers)

    def _head(self, request: SignedRequest, target: Target, address: Address) -> Response:
        record = self._folder.find(address.key)
        headers = headers_of(record, request, target.query)
        if is_unchanged(record, request):
            return unchanged(headers)
        part = range_of(record, request, record.size)
        if part is None:
            return Response(headers={**headers, "content-length": str(record.size)})
        start, length = part
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{record.size}"
        return Response(status_code=206, headers={**headers, "content-length": str(length)})

    def _delete(self, _request: SignedRequest, _target: Target, address: Address) -> Response:
        self._folder.delete(address.key)
        return Response(status_code=204)

    def _get_tags(self, _request: SignedRequest, _target: Target, address: Address) -> Response:
        return Response(tags_as_xml(self._folder.find(address.key).tags), media_type="application/xml")

    def _delete_tags(self, _request: SignedRequest, _target: Target, address: Address) -> Response:
        self._folder.set_tags(address.key, {})
        return Response(status_code=204)

    def _cut(self, thing: ThingName) -> None:
        """End what a removed thing has under way: each PUT looks at least every two seconds."""
        for upload in list(self._uploads):
            if upload.thing == thing:
                upload.is_revoked = True

    @contextmanager
    def _upload(self, thing: ThingName | None) -> Iterator[_Upload]:
        if len(self._uploads) >= UPLOADS_MAX:
            raise Refusal("SlowDown", "Please reduce your request rate.")
        upload = _Upload(thing)
        self._uploads.add(upload)
        try:
            yield upload
        finally:
            self._uploads.discard(upload)

    @contextmanager
    def _troubles(self, key: str) -> Iterator[None]:
        """Turn our errors into S3's; trouble with the disk is told once, until something could be stored again."""
        try:
            yield
        except NotFound as error:
            raise _no_such_key(key) from error
        except Unavailable as error:
            if not self._is_in_trouble:
                logger.error("Objects cannot be stored or read: %s", error)
            self._is_in_trouble = True
            code = "InsufficientStorage" if isinstance(error, NoRoom) else "ServiceUnavailable"
            raise Refusal(code, "The hub cannot store or read this now; try again later.") from error
        except InvariantBroken as error:
            logger.error("%s: %s", key, error)
            raise Refusal("InternalError", "We encountered an internal error. Please try again.") from error


async def _blocks(body: ObjectBody, receive: Receive, upload: _Upload) -> AsyncIterator[bytes]:
    """The object's bytes, in blocks of about 1 MiB; judged as a whole when the last has been given. Raises Refusal."""
    gathered = bytearray()
    is_more = True
    while is_more:
        message = await _next(receive, upload)
        is_more = message.get("more_body", False)
        for piece in body.feed(message.get("body", b"")):
            gathered += piece
        if len(gathered) >= BLOCK or not is_more:
            yield bytes(gathered)
            gathered.clear()
    body.finish()


async def _next(receive: Receive, upload: _Upload) -> Message:
    """The next message. Raises _Gone, Refusal (removed meanwhile, stalled)."""
    waited_s = 0.0
    while True:
        if upload.is_revoked:
            raise _removed()
        try:
            message = await asyncio.wait_for(receive(), LOOK_EVERY_S)
        except TimeoutError as error:
            waited_s += LOOK_EVERY_S
            if waited_s >= STALLED_S:
                raise Cut(
                    "RequestTimeout", "Your socket connection to the server was not read from or written to in time."
                ) from error
            continue
        if message["type"] == "http.disconnect":
            raise _Gone
        return message


def _record(address: Address, attributes: Attributes, body: ObjectBody, *, is_of_thing: bool) -> MediaRecord:
    """What is known of what came; file and times come with the storing."""
    name, value = RETENTION_TAG
    return MediaRecord(
        address=address,
        file="",
        size=body.size,
        sha256=body.sha256_hex,
        md5=body.md5_hex,
        recorded_at_s=0,
        stored_at_s=0,
        headers=attributes.headers,
        metadata=attributes.metadata,
        # Only people star: a thing that leaves the tag out would fill the disk with what may never be removed.
        tags={**attributes.tags, name: value} if is_of_thing else attributes.tags,
        checksum=body.checksum,
    )


def _refused(refusal: Refusal, request: SignedRequest, request_id: str) -> Response:
    resource = request.raw_path.decode("latin-1")
    content = b"" if request.method == "HEAD" else refusal.xml(resource=resource, request_id=request_id)
    answer = Response(content, status_code=refusal.status, media_type="application/xml")
    if isinstance(refusal, Cut):
        answer.headers["connection"] = "close"
    return answer


def _no_such_key(key: str) -> Refusal:
    return Refusal("NoSuchKey", "The specified key does not exist.", Key=key)


def _removed() -> Refusal:
    return Cut("AccessDenied", "Access Denied: the thing has been removed.")


def _stored_already(request: SignedRequest) -> Refusal:
    if must_be_new(request):
        return Refusal(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            Condition="If-None-Match",
        )
    return Refusal("AccessDenied", "Access Denied: it is stored already, and nothing recorded may be replaced.")
