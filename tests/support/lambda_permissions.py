"""What each function in Lambda has to be allowed in the account: as the code says it, and as the reference does.

From the code it is read in two steps: which methods of which ports the functions of the planes reach from a handler's
entrance, and which operations of AWS the adapters of those ports ask for. Both follow names through the sources, so
what is reached through a table of functions counts as reached.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from pinthesky.planes.home import Home
from tests.support.house.source import ROOT

REFERENCE = ROOT / "docs" / "reference" / "aws.md"

ENTRANCES: Mapping[str, tuple[str, ...]] = {
    "http": ("pinthesky.planes.control_plane.surface.serve",),
    "socket": tuple(f"pinthesky.planes.data_plane.endpoint.{name}" for name in ("opened", "received", "closed")),
    "device_event": ("pinthesky.planes.ingest.device_events.received",),
    "presence": ("pinthesky.planes.ingest.presence_events.changed",),
    "job_execution": ("pinthesky.planes.ingest.job_events.progressed",),
    "media": tuple(f"pinthesky.planes.ingest.media_events.{name}" for name in ("stored", "removed")),
    "schedule": (
        "pinthesky.planes.camera_silence.check",
        "pinthesky.planes.data_plane.endpoint.close_overdue",
        "pinthesky.planes.retention.sweep",
        "pinthesky.planes.retention.reconcile",
    ),
}
"""What the handlers call of the planes."""
ITSELF: Mapping[str, tuple[str, ...]] = {
    "http": ("people.get",),  # who asks is looked up by the handler
    "job_execution": ("jobs.execution",),
}
"""Methods of ports that a handler calls itself. Each reads the secret, and so may write it."""

ADAPTERS: Mapping[str, str] = {
    "shadows": "shadows.IotShadows",
    "commands": "commands.IotCommands",
    "jobs": "jobs.IotJobService",
    "media": "media.S3Media",
    "converter": "converter.LambdaConverter",
    "connections": "connections.ApiGatewayConnections",
    "notifier": "notifier.SnsNotifier",
    "things": "things.IotThings",
    "people": "people.CognitoPeople",
    "releases": "releases.S3Releases",
    "labels": "picture_labels.RekognitionLabels",
}
"""The adapter of each port that asks AWS for something; sign-ins are in the table, tokens are verified here."""
TABLE_ACTIONS = frozenset(
    f"dynamodb:{name}"
    for name in ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "Query", "UpdateItem")
)
"""Every handler of the planes reads, writes and removes rows, under conditions."""
SERVICES = {"iot-data": "iot", "_SERVICE": "execute-api"}
"""The services of botocore whose actions have another prefix; `_SERVICE` is what the adapter of sockets calls its own.
"""
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "s3:HeadObject": ("s3:GetObject",),
    "s3:GeneratePresignedUrl": ("s3:GetObject",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:PutObject": ("s3:PutObject", "s3:PutObjectTagging"),
    "s3:DeleteObjects": ("s3:DeleteObject",),
    "execute-api:PostToConnection": ("execute-api:ManageConnections",),
    "execute-api:DeleteConnection": ("execute-api:ManageConnections",),
    "lambda:Invoke": ("lambda:InvokeFunction",),
    "dynamodb:TransactWriteItems": ("dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"),
    "rekognition:DetectLabels": ("rekognition:DetectLabels", "s3:GetObject"),
}
"""Operations that IAM knows under another name, or under several."""
LOOKS_FOR = frozenset({"s3:HeadObject", "s3:GetObject", "s3:GetObjectTagging"})
"""What S3 answers with 403 in place of 404 unless the bucket may be listed."""
_TABLE_ROW = re.compile(
    r"^\| `(?P<handler>\w+)` \| (?P<resource>[^|]+) \| (?P<actions>(?:`[a-z0-9-]+:\w+`(?:, )?)+) \|$"
)


class Grant(NamedTuple):
    """A row of the reference: what a handler may do on what."""

    handler: str
    resource: str
    actions: frozenset[str]


def documented() -> list[Grant]:
    """The rows of the reference."""
    found = [_TABLE_ROW.match(line) for line in REFERENCE.read_text(encoding="utf-8").splitlines()]
    return [
        Grant(row["handler"], row["resource"].strip(), frozenset(re.findall(r"`([^`]+)`", row["actions"])))
        for row in found
        if row is not None
    ]


@functools.cache
def granted(handler: str) -> frozenset[str]:
    """Every action that the reference gives a handler."""
    return frozenset(action for grant in documented() if grant.handler == handler for action in grant.actions)


@functools.cache
def derived(handler: str) -> frozenset[str]:
    """Every action that the code of a handler may come to need."""
    reached = {*ITSELF.get(handler, ()), *_port_methods(handler)}
    operations = {operation for method in reached for operation in operations_of(*method.split("."))}
    return TABLE_ACTIONS | actions_of(operations)


def actions_of(operations: Iterable[str]) -> frozenset[str]:
    """What IAM calls operations of botocore (`s3:HeadObject`)."""
    found = set(operations)
    if found & LOOKS_FOR:
        found.add("s3:ListBucket")
    return frozenset(action for operation in found for action in ACTIONS.get(operation, (operation,)))


@functools.cache
def operations_of(port: str, method: str) -> frozenset[str]:
    """The operations that the adapter of a port asks AWS for in a method; properties too."""
    if port not in ADAPTERS:
        return frozenset()
    methods = _adapter(port)
    usual = _service_of(methods["_client"]) if "_client" in methods else ""
    waiting, seen, found = [method], {"_client"}, set()
    while waiting:
        current = waiting.pop()
        if current in seen or current not in methods:
            continue
        seen.add(current)
        service = _service_of(methods[current]) or usual
        for node in ast.walk(methods[current]):
            if not isinstance(node, ast.Attribute):
                continue
            if _is_client(node.value):
                found.add(_operation(usual if _is_usual(node.value) else service, node.attr))
            elif isinstance(node.value, ast.Name) and node.value.id == "self":
                waiting.append(node.attr)
    return frozenset(found)


def methods_of(port: str) -> list[str]:
    """The public methods and properties of the adapter of a port."""
    return [name for name in _adapter(port) if not name.startswith("_")]


def guarded(home: Home, handler: str) -> Home:
    """The same home, in which a port's method fails the test unless the reference gives the handler what it needs."""
    behind = copy.copy(home)  # with what it has made of the ports already: a test may have changed that
    for name in ADAPTERS:
        if (port := getattr(home, name)) is not None:
            object.__setattr__(behind, name, _Port(port, name, handler))
    return behind


class _Port:
    """A port before which IAM stands."""

    def __init__(self, port: Any, name: str, handler: str) -> None:
        self._port, self._name, self._handler = port, name, handler

    def __getattr__(self, method: str) -> Any:
        missing = actions_of(operations_of(self._name, method)) - granted(self._handler)
        if missing:
            # No Exception: nothing of ours catches it.
            pytest.fail(f"{self._handler} calls {self._name}.{method} without {', '.join(sorted(missing))}")
        return getattr(self._port, method)


@functools.cache
def _adapter(port: str) -> Mapping[str, ast.FunctionDef]:
    """The methods of the adapter of a port."""
    module, _, name = ADAPTERS[port].partition(".")
    tree = _tree(f"pinthesky.aws.adapters.{module}")
    adapter = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {node.name: node for node in adapter.body if isinstance(node, ast.FunctionDef)}


def _port_methods(handler: str) -> set[str]:
    ports = "|".join([*ADAPTERS, "access_of"])
    reached: set[str] = set()
    for function in _reached(ENTRANCES[handler]):
        text = ast.unparse(function)
        for port, method in re.findall(rf"\bhome\.({ports})\b(?:\.(\w+))?", text):
            if port == "access_of":
                reached.add("people.get")
            else:
                # A port that is handed on may be asked for anything.
                reached |= {f"{port}.{each}" for each in ([method] if method else methods_of(port))}
    return reached


def _reached(entrances: Iterable[str]) -> Iterator[ast.AST]:
    """Every function and method of the planes that may come to be called from some of them."""
    waiting, seen = list(entrances), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        module, _, local = name.rpartition(".")
        definitions = _definitions(module)
        if local not in definitions:
            continue
        node = definitions[local]
        yield node
        waiting += _references(module, node)


def _references(module: str, node: ast.AST) -> Iterator[str]:
    imported, here = _imports(module), _definitions(module)
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            if each.id in here:
                yield f"{module}.{each.id}"
            elif each.id in imported:
                yield imported[each.id]
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id in imported:
            # A module's function, or the routes that its functions have put themselves into.
            target = imported[each.value.id]
            if each.attr == "routes":
                yield from (f"{target}.{name}" for name in _definitions(target))
            else:
                yield f"{target}.{each.attr}"


@functools.cache
def _definitions(module: str) -> Mapping[str, ast.AST]:
    """Functions, classes and constants of a module of the planes; none of another."""
    if not module.startswith("pinthesky.planes.") or not _path(module).exists():
        return {}
    found: dict[str, ast.AST] = {}
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= dict.fromkeys(_names(node), node)
    return found


@functools.cache
def _imports(module: str) -> Mapping[str, str]:
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pinthesky.")
        for alias in node.names
    }


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [each.id for each in targets if isinstance(each, ast.Name)]


def _service_of(function: ast.FunctionDef) -> str:
    """The service whose client a function makes itself; empty where it takes its class's."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._clients.get":
            first = node.args[0]
            return str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first)
    return ""


def _is_client(node: ast.expr) -> bool:
    return _is_usual(node) or ast.unparse(node) == "client" or ast.unparse(node).startswith("self._clients.get(")


def _is_usual(node: ast.expr) -> bool:
    return ast.unparse(node) == "self._client"


def _operation(service: str, method: str) -> str:
    name = "".join(part.title() for part in method.split("_"))
    return f"{SERVICES.get(service, service)}:{name}"


def _path(module: str) -> Any:
    return ROOT / f"{module.replace('.', '/')}.py"


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


if __name__ == "__main__":
    for each in ENTRANCES:
        print(each, *sorted(derived(each) - TABLE_ACTIONS), sep="\n    ")  # noqa: T201 - for whoever writes the table
