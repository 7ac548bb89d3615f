"""Answers that carry an object, or what is known of it: conditions, ranges, streaming from disk.

Conditions and ranges are those of HTTP (RFC 9110, sections 13 and 14); several ranges at once are answered with the
whole object, as S3 does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pinthesky.hub.media_record import MediaRecord
from pinthesky.hub.object_requests import RESPONSE_OVERRIDES
from pinthesky.hub.refusals import Refusal
from pinthesky.hub.signatures import SignedRequest

BLOCK = 256 * 1024
STALLED_S = 60.0
"""A reader who takes nothing for this long is given up."""
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Download(Response):
    """A stretch of an open file. Closes it."""

    def __init__(self, file: IO[bytes], *, start: int, size: int, status: int, headers: Mapping[str, str]) -> None:
        """`size` bytes from `start`."""
        super().__init__(status_code=status)
        self._file = file
        self._start, self._left = start, size
        self.init_headers({**headers, "content-length": str(size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it; a client that stalls for a minute is left."""
        with self._file:
            await run_in_threadpool(self._file.seek, self._start)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while self._left:
                block = await run_in_threadpool(self._file.read, min(BLOCK, self._left))
                if not block:
                    return
                self._left -= len(block)
                message = {"type": "http.response.body", "body": block, "more_body": True}
                await asyncio.wait_for(send(message), STALLED_S)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def etag_of(record: MediaRecord) -> str:
    """The ETag, in its quotes."""
    return f'"{record.md5}"'


def checksum_headers(record: MediaRecord) -> dict[str, str]:
    """The checksum that the client has sent."""
    if record.checksum is None:
        return {}
    algorithm, digest = record.checksum
    return {f"x-amz-checksum-{algorithm}": digest, "x-amz-checksum-type": "FULL_OBJECT"}


def headers_of(record: MediaRecord, request: SignedRequest, query: Mapping[str, str]) -> dict[str, str]:
    """What a GET and a HEAD say of an object, its length excepted."""
    overrides = {RESPONSE_OVERRIDES[name]: value for name, value in query.items() if value.isprintable()}
    headers = {
        "content-type": "binary/octet-stream",
        **record.headers,
        **{name: value for name, value in overrides.items() if value.isascii()},
        **{f"x-amz-meta-{name}": value for name, value in record.metadata.items()},
        "etag": etag_of(record),
        "last-modified": formatdate(record.stored_at_s, usegmt=True),
        "accept-ranges": "bytes",
        # What a camera has stored must not become a page that speaks for the hub.
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    if record.tags:
        headers["x-amz-tagging-count"] = str(len(record.tags))
    if (request.header("x-amz-checksum-mode") or "").upper() == "ENABLED" and request.header("range") is None:
        headers.update(checksum_headers(record))
    return headers


def unchanged(headers: Mapping[str, str]) -> Response:
    """304, with what a cache wants to know (RFC 9110, section 15.4.5)."""
    kept = ("etag", "last-modified", "cache-control", "expires")
    return Response(status_code=304, headers={name: headers[name] for name in kept if name in headers})


def is_unchanged(record: MediaRecord, request: SignedRequest) -> bool:
    """Whether the client has it already (304). Raises Refusal (PreconditionFailed) where a condition fails."""
    etag, modified_s = etag_of(record), int(record.stored_at_s)
    if (wanted := request.header("if-match")) is not None:
        if not _names(wanted, etag):
            raise _failed("If-Match")
    elif (since_s := _date(request, "if-unmodified-since")) is not None and modified_s > since_s:
        raise _failed("If-Unmodified-Since")
    if (known := request.header("if-none-match")) is not None:
        return _names(known, etag)
    since_s = _date(request, "if-modified-since")
    return since_s is not None and modified_s <= since_s


def range_of(record: MediaRecord, request: SignedRequest, size: int) -> tuple[int, int] | None:
    """First byte and length that are asked for; None for the whole. Raises Refusal (InvalidRange)."""
    text = request.header("range")
    found = None if text is None else _RANGE.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return None
    condition = request.header("if-range")
    if condition is not None and condition not in (etag_of(record), formatdate(record.stored_at_s, usegmt=True)):
        return None
    first, last = (int(one) if one else None for one in found.groups())
    if first is None:
        start, end = max(0, size - (last or 0)), size
    else:
        start, end = first, size if last is None else min(last + 1, size)
        if last is not None and last < first:
            return None
    if start >= end:
        raise Refusal("InvalidRange", "The requested range is not satisfiable", ActualObjectSize=str(size))
    return start, end - start


def _names(header: str, etag: str) -> bool:
    listed = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in listed or etag in listed or etag.strip('"') in listed


def _date(request: SignedRequest, name: str) -> float | None:
    """Epoch seconds of a header; None where it is missing or no date, which is ignored."""
    text = request.header(name)
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _failed(condition: str) -> Refusal:
    return Refusal(
        "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", Condition=condition
    )
