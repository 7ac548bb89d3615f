"""The policies of functions and cameras, held against what they really ask of AWS.

Every request to a service passes here before it goes out. What the role of whoever asks may not do is noted; the
request goes on, since code that handles a refusal would hide it.

Source of which action and resource belong to a request: the service authorization reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from tests.support.policies.asking import Asking
from tests.support.policies.evaluation import Request
from tests.support.policies.patterns import PolicyNotUnderstood
from tests.support.policies.template_values import ACCOUNT, REGION

Params = Mapping[str, Any]
IOT = f"arn:aws:iot:{REGION}:{ACCOUNT}:"
EVERYTHING = "*"

_acting: ContextVar[str | None] = ContextVar("acting", default=None)


class Wish(NamedTuple):
    """One thing that has to be allowed for a request."""

    action: str
    resource: str
    context: Mapping[str, Any] = {}


class Enforcement:
    """Watches clients of botocore. `refused` are the requests that the roles do not allow, `allowed` the others."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self.refused: list[str] = []
        self.allowed: set[tuple[str, str]] = set()

    @contextmanager
    def watching(self, *clients: Any) -> Iterator[None]:
        """Look at every request of these clients."""
        for client in clients:
            client.meta.events.register_first("before-parameter-build", self._look)
        try:
            yield
        finally:
            for client in clients:
                client.meta.events.unregister("before-parameter-build", self._look)

    def acting_as(self, who: str, do: Callable[..., Any]) -> Callable[..., Any]:
        """`do`, done by somebody of the table (`function:http`, `camera:garden`): they ask for what it asks for."""

        def act(*given: Any, **more: Any) -> Any:
            before = _acting.set(who)
            try:
                return do(*given, **more)
            finally:
                _acting.reset(before)

        return act

    def _look(self, params: Params, model: Any, **_: Any) -> None:
        who = _acting.get()
        if who is None:
            return
        principal, known = self._asking.principal(who)
        for wish in wishes(self._asking, model.service_model.service_name, model.name, params):
            context = {"aws:securetransport": "true", "s3:tlsversion": "1.3", **known, **wish.context}
            verdict = self._asking.account.may(Request(principal, wish.action, wish.resource, context))
            if verdict.allowed:
                self.allowed.add((who, wish.action))
            else:
                self.refused.append(f"{who}: {wish.action} on {wish.resource} {dict(wish.context)} {verdict.by}")


def wishes(asking: Asking, service: str, operation: str, params: Params) -> list[Wish]:
    """What has to be allowed for a request. Raises PolicyNotUnderstood for one that nobody has described."""
    if service == "dynamodb":
        return list(_of_table(asking, operation, params))
    if service == "s3":
        return list(_of_bucket(asking, operation, params))
    if service in ("iot", "iot-data"):
        return [Wish(f"iot:{operation}", resource) for resource in _of_iot(operation, params)]
    if service == "cognito-idp":
        return [Wish(f"cognito-idp:{operation}", asking.resource("pool"))]
    if service == "sns":
        return [Wish(f"sns:{operation}", EVERYTHING if operation == "Unsubscribe" else asking.resource("alerts"))]
    if service == "apigatewaymanagementapi":
        method = {"PostToConnection": "POST", "DeleteConnection": "DELETE"}[operation]
        resource = asking.resource(f"socket:{method}/{params['ConnectionId']}")
        return [Wish("execute-api:ManageConnections", resource)]
    if (service, operation) == ("lambda", "Invoke"):
        return [Wish("lambda:InvokeFunction", asking.resource(f"function:{params['FunctionName']}"))]
    if (service, operation) in (("cloudwatch", "GetMetricStatistics"), ("rekognition", "DetectLabels")):
        return [Wish(f"{service}:{operation}", EVERYTHING)]
    raise PolicyNotUnderstood(f"what {service}:{operation} has to be allowed")


def _of_table(asking: Asking, operation: str, params: Params) -> Iterator[Wish]:
    def wish(action: str, keys: list[str], index: str = "") -> Wish:
        table = asking.resource(f"table:{index}" if index else "table")
        return Wish(f"dynamodb:{action}", table, {"dynamodb:leadingkeys": keys})

    if operation == "Query":
        yield wish(operation, [params["ExpressionAttributeValues"][":p"]["S"]], params.get("IndexName", ""))
    elif operation == "BatchGetItem":
        for wanted in params["RequestItems"].values():
            yield wish(operation, [key["PK"]["S"] for key in wanted["Keys"]])
    elif operation == "TransactWriteItems":
        for each in params["TransactItems"]:
            ((kind, change),) = each.items()
            action = {"Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}[kind]
            yield wish(action, [change["Key"]["PK"]["S"]])
    elif operation in ("GetItem", "UpdateItem", "DeleteItem"):
        yield wish(operation, [params["Key"]["PK"]["S"]])
    else:
        raise PolicyNotUnderstood(f"what dynamodb:{operation} has to be allowed")


def _of_bucket(asking: Asking, operation: str, params: Params) -> Iterator[Wish]:
    def wish(action: str, key: str, **context: Any) -> Wish:
        return Wish(f"s3:{action}", asking.resource(f"media:{key}"), context)

    if operation == "ListObjectsV2":
        yield Wish("s3:ListBucket", asking.resource("media:"), {"s3:prefix": params.get("Prefix", "")})
    elif operation == "DeleteObjects":
        for each in params["Delete"]["Objects"]:
            yield wish("DeleteObject", each["Key"])
    elif operation in ("GetObject", "HeadObject"):
        yield wish("GetObject", params["Key"])
    elif operation == "PutObject":
        promise = {"s3:if-none-match": params["IfNoneMatch"]} if "IfNoneMatch" in params else {}
        tags = dict(parse_qsl(params.get("Tagging", "")))
        asked = {f"s3:requestobjecttag/{name}": value for name, value in tags.items()}
        yield wish("PutObject", params["Key"], **promise, **asked)
        if tags:
            yield wish("PutObjectTagging", params["Key"], **asked, **{"s3:requestobjecttagkeys": list(tags)})
    elif operation in ("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging"):
        yield wish(operation, params["Key"])
    else:
        raise PolicyNotUnderstood(f"what s3:{operation} has to be allowed")


# Which parameters name the resources of a request to IoT; all of them have to be allowed.
_IOT: Mapping[str, tuple[str, ...]] = {
    "AddThingToThingGroup": ("thingName", "thingGroupName"),
    "AttachPolicy": ("target",),
    "AttachThingPrincipal": (),
    "CancelJob": ("jobId",),
    "CancelJobExecution": ("jobId", "thingName"),
    "CreateCertificateFromCsr": (),
    "CreateJob": ("jobId", "targets"),
    "CreateThing": ("thingName",),
    "DeleteCertificate": ("certificateId",),
    "DeleteJob": ("jobId",),
    "DeleteJobExecution": ("jobId", "thingName"),
    "DeleteThing": ("thingName",),
    "DeleteThingShadow": ("shadow",),
    "DescribeEndpoint": (),
    "DescribeJob": ("jobId",),
    "DescribeJobExecution": ("jobId", "thingName"),
    "DescribeThing": ("thingName",),
    "DetachPolicy": ("target",),
    "DetachThingPrincipal": (),
    "GetThingShadow": ("shadow",),
    "ListAttachedPolicies": ("target",),
    "ListJobExecutionsForJob": ("jobId",),
    "ListJobExecutionsForThing": ("thingName",),
    "ListPrincipalThings": (),
    "ListThingGroups": (),
    "ListThingGroupsForThing": ("thingName",),
    "ListThingPrincipals": (),
    "ListThingsInThingGroup": ("thingGroupName",),
    "Publish": ("topic",),
    "RemoveThingFromThingGroup": ("thingName", "thingGroupName"),
    "UpdateCertificate": ("certificateId",),
    "UpdateThingShadow": ("shadow",),
}
_IOT_KINDS = {
    "thingName": "thing",
    "thingGroupName": "thinggroup",
    "jobId": "job",
    "certificateId": "cert",
    "topic": "topic",
}


def _of_iot(operation: str, params: Params) -> list[str]:
    if operation not in _IOT:
        raise PolicyNotUnderstood(f"what iot:{operation} has to be allowed")
    found: list[str] = []
    for name in _IOT[operation]:
        if name == "shadow":
            # The guide names both forms for a named shadow, so both have to be allowed.
            found += [f"{IOT}thing/{params['thingName']}", f"{IOT}thing/{params['thingName']}/{params['shadowName']}"]
        elif name in ("target", "targets"):
            given = params[name]
            found += [IOT + each.split(":", 5)[5] for each in (given if isinstance(given, list) else [given])]
        else:
            found.append(f"{IOT}{_IOT_KINDS[name]}/{params[name]}")
    return found or [EVERYTHING]
