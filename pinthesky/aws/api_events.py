"""What API Gateway, AWS IoT, S3 and SQS hand to a function, read into what the planes take.

Shapes are those of the services' own documentation: HTTP API payload 2.0, WebSocket proxy, IoT rule (the statements are
in `docs/reference/aws.md`), IoT lifecycle and job execution events, S3 events through EventBridge, SQS batches.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.planes.routing import HttpAnswer, HttpRequest

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]

LEGACY_TOPIC = "pinthesky/events/output"
"""Where every device of the predecessor published: the thing is the authenticated client."""
OWN_FAULT = "DUPLICATE_CLIENTID"
"""Why a connection ended that another of the same client has replaced: the camera is there."""
_EVENT_TOPIC = re.compile(r"pinthesky/events/([^/]+)/output")


def http_request(event: Event, base_path: str = "") -> HttpRequest:
    """A request of an HTTP API (payload 2.0), whose `rawPath` is decoded already.

    Raises InvalidInput: the body is not what it says.
    """
    path = str(event["rawPath"])
    stage = str(event["requestContext"].get("stage", "$default"))
    for prefix in (f"/{stage}", base_path):
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path.removeprefix(prefix) or "/"
    query = dict(parse_qsl(str(event.get("rawQueryString", "")), keep_blank_values=True))
    return HttpRequest(str(event["requestContext"]["http"]["method"]), path, query, body_of(event))


def http_answer(answer: HttpAnswer) -> dict[str, Any]:
    """What an HTTP API takes for an answer (payload 2.0)."""
    return {
        "statusCode": answer.status,
        "headers": {**answer.headers, "X-Content-Type-Options": "nosniff"},
        "body": answer.body.decode(),
        "isBase64Encoded": False,
    }


def claims_of(event: Event) -> Mapping[str, Any] | None:
    """The claims that the HTTP API's authorizer has verified; None where the route has none."""
    authorizer = event["requestContext"].get("authorizer") or {}
    claims: Mapping[str, Any] | None = (authorizer.get("jwt") or {}).get("claims")
    return claims


def body_of(event: Event) -> bytes:
    """The body of a request, or a message of a socket. Raises InvalidInput."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("body", "is not base64") from error


def headers_of(event: Event) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}


@dataclass(frozen=True)
class Said:
    """What a camera published."""

    thing: ThingName
    payload: bytes


def said(event: Event, *, takes_legacy_topic: bool) -> Said | None:
    """An event of a camera: `{"topic", "client", "payload": <base64>}`. The thing is never taken from the payload.

    None for a topic that is not taken. Raises InvalidInput: the rule is not the one that it should be.
    """
    topic = str(event.get("topic", ""))
    found = _EVENT_TOPIC.fullmatch(topic)
    if found is not None:
        name = found[1]
    elif topic == LEGACY_TOPIC and takes_legacy_topic:
        name = str(event.get("client", ""))
    else:
        logger.warning("An event on %s is not taken", topic[:200])
        return None
    try:
        payload = base64.b64decode(str(event["payload"]), validate=True)
    except (KeyError, ValueError) as error:
        raise InvalidInput("payload", "must be the message in base64: see the statement of the rule") from error
    return Said(ThingName.parse(name, "topic"), payload)


@dataclass(frozen=True)
class Presence:
    """A camera that has connected or was lost."""

    thing: ThingName
    connected: bool
    at_s: float
    reason: str


def presence(event: Event) -> Presence | None:
    """A lifecycle event of IoT; None for what is no news, or of a client that is no thing."""
    kind, reason = event.get("eventType"), str(event.get("disconnectReason", ""))
    if kind not in ("connected", "disconnected") or reason == OWN_FAULT:
        return None
    try:
        thing = ThingName.parse(event.get("clientId"), "clientId")
    except InvalidInput:
        return None
    return Presence(thing, kind == "connected", float(event["timestamp"]) / 1000, reason)


@dataclass(frozen=True)
class Progress:
    """A job that has gone on at a camera."""

    job: JobId
    thing: ThingName
    status: JobStatus
    at_s: float
    reason: str


def job_progress(event: Event) -> Progress | None:
    """A job execution event of IoT; None for one that was deleted. Raises InvalidInput."""
    if event.get("eventType") != "JOB_EXECUTION" or event.get("operation") == "deleted":
        return None
    try:
        status = JobStatus(event.get("status"))
    except ValueError as error:
        raise InvalidInput("status", f"is none of a job: {str(event.get('status'))[:40]}") from error
    details = event.get("statusDetails") or {}
    return Progress(
        JobId.parse(event.get("jobId")),
        ThingName.parse(str(event.get("thingArn", "")).partition(":thing/")[2], "thingArn"),
        status,
        float(event.get("timestamp", 0)),
        str(details.get("reason", "")),
    )


@dataclass(frozen=True)
class MediaNews:
    """An object that was stored or removed."""

    key: str
    stored: bool


def media_news(event: Event, bucket: str) -> MediaNews | None:
    """An event of S3 through EventBridge; None for what is no recording of ours. Raises InvalidInput."""
    kind = event.get("detail-type")
    if event.get("source") != "aws.s3" or kind not in ("Object Created", "Object Deleted"):
        raise InvalidInput("detail-type", "must be Object Created or Object Deleted of aws.s3")
    try:
        key = str(event["detail"]["object"]["key"])
        name = str(event["detail"]["bucket"]["name"])
    except (KeyError, TypeError) as error:
        raise InvalidInput("detail", "names no bucket and object") from error
    if name != bucket:
        logger.warning("News of the bucket %s are not for this home", name[:70])
        return None
    try:
        return MediaNews(MediaKey.parse(key), kind == "Object Created")
    except InvalidInput:
        return None


def queued(record: Event) -> Event:
    """What a message of SQS carries. Raises InvalidInput."""
    try:
        found: dict[str, Any] = msgspec.json.decode(str(record.get("body", "")), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput("body", f"is no event: {error}") from error
    return found
