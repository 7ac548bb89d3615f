"""Reads the bodies of requests that are small, and does not wait for ever for one."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from pinthesky.errors import PinTheSkyError

BODY_TIMEOUT_S = 30.0


class BodyMissing(PinTheSkyError):
    """The client has left, or its body did not arrive within BODY_TIMEOUT_S."""


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body; of one that is longer than `limit` no more than one byte above it. Raises BodyMissing."""
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    return body[: limit + 1]
    except (TimeoutError, ClientDisconnect) as error:
        raise BodyMissing("the body did not arrive in time") from error
    return body
