"""Calls of the functions in Lambda, with events as API Gateway, IoT, S3 and SQS make them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pinthesky.model.people import Person
from pinthesky.planes.routing import HttpAnswer, HttpRequest
from tests.support.user_pool import CLIENT, ISSUER

BUCKET = "home-media"


@dataclass
class Context:
    """What Lambda tells of a call."""

    left_ms: int = 300_000
    aws_request_id: str = "b3c4"

    def get_remaining_time_in_millis(self) -> int:
        """How long this call may still take."""
        return self.left_ms


def claims_of(person: str, **more: str) -> dict[str, str]:
    """What the HTTP API's authorizer hands over: every claim of a Cognito access token, as text."""
    return {
        "sub": person,
        "iss": ISSUER,
        "client_id": CLIENT,
        "origin_jti": f"sign-in-of-{person}",
        "token_use": "access",
        "scope": "openid email",
        "auth_time": "1800000000",
        "iat": "1800000000",
        "exp": "1800003600",
        "jti": "99999999-8888-7777-6666-555555555555",
        "username": person,
        "cognito:groups": "[owner member]",
        **more,
    }


def http_event(
    request: HttpRequest, claims: Mapping[str, str] | None, *, stage: str = "$default", encode: bool = True
) -> dict[str, Any]:
    """A request of an HTTP API, payload 2.0: the path decoded, the query not."""
    query = urlencode(request.query)
    path = request.path if stage == "$default" else f"/{stage}{request.path}"
    authorizer = {} if claims is None else {"authorizer": {"jwt": {"claims": dict(claims), "scopes": None}}}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json", "user-agent": "Firefox"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.execute-api.eu-central-1.amazonaws.com",
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "Firefox",
            },
            "requestId": "r-1",
            "routeKey": "$default",
            "stage": stage,
            "timeEpoch": 1_800_000_000_000,
            **authorizer,
        },
        "isBase64Encoded": encode,
    }
    if request.query:
        event["queryStringParameters"] = dict(request.query)
    if request.body:
        event["body"] = base64.b64encode(request.body).decode() if encode else request.body.decode()
    return event


def http_answer(said: Mapping[str, Any]) -> HttpAnswer:
    """What the HTTP API makes of a function's answer."""
    json.dumps(said)
    assert not said["isBase64Encoded"]
    return HttpAnswer(said["statusCode"], said["body"].encode(), said["headers"])


def claims_for(person: Person | None) -> dict[str, str] | None:
    """What an authorizer verifies of a person; None for whoever comes without a token."""
    return None if person is None else claims_of(str(person.id))


def socket_event(kind: str, connection: str, message: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of a WebSocket API: CONNECT, MESSAGE or DISCONNECT."""
    routes = {"CONNECT": "$connect", "MESSAGE": "$default", "DISCONNECT": "$disconnect"}
    event: dict[str, Any] = {
        "requestContext": {
            "routeKey": routes[kind],
            "eventType": kind,
            "messageDirection": "IN",
            "stage": "prod",
            "requestTimeEpoch": 1_800_000_000_000,
            "requestId": "r-2",
            "identity": {"sourceIp": "192.0.2.7", "userAgent": "Firefox"},
            "domainName": "sockets.execute-api.eu-central-1.amazonaws.com",
            "connectionId": connection,
            "apiId": "sockets",
        },
        "isBase64Encoded": False,
        **more,
    }
    return event if message is None else {**event, "body": message}


def device_event(thing: str, event: object, *, topic: str | None = None) -> dict[str, Any]:
    """What the rule on the cameras' topic hands over."""
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    return {
        "topic": topic or f"pinthesky/events/{thing}/output",
        "client": thing,
        "payload": base64.b64encode(raw).decode(),
    }


def s3_event(key: str, kind: str = "Object Created", bucket: str = BUCKET) -> dict[str, Any]:
    """An event of S3, through EventBridge."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2027-01-15T08:00:00Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "00617F08299329D189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
        },
    }


def batch(*bodies: object) -> dict[str, Any]:
    """Messages of SQS: m-0, m-1…"""
    records = [
        {
            "messageId": f"m-{number}",
            "receiptHandle": "handle",
            "body": body if isinstance(body, str) else json.dumps(body),
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:media",
            "awsRegion": "eu-central-1",
        }
        for number, body in enumerate(bodies)
    ]
    return {"Records": records}
