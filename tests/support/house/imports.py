"""Who may import whom, and which library lives where."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.support.house.source import Source

# Areas of the package: what each may import of ours beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "version": set(),
    "errors": set(),
    "model": {"errors"},
    "machine": {"errors"},
    "device": {"model", "machine", "errors", "version"},
    "link": {"model", "machine", "errors", "version"},
    "planes": {"model", "errors", "version"},
    "conversion": {"errors", "model"},
    "aws": {"conversion", "model", "errors", "version"},
    "hub": {"conversion", "model", "machine", "errors", "version"},
    "admin": {"model", "machine", "errors", "version"},
    "doctor": {"model", "machine", "errors", "version"},
    "infra_cdk": {"model", "errors", "version"},
    "pitsctl": {"model", "machine", "errors", "version"},
}
OURS = {"pinthesky", "pitsctl", "infra_cdk"}

# Adapters stand behind ports, so they may import the modules that declare those.
PORTS = {
    "pinthesky.device.ports",
    "pinthesky.link.ports",
    "pinthesky.planes.ports",
    "pinthesky.planes.routing",
    "pinthesky.planes.table",
}
ADAPTERS = {"aws", "conversion", "hub"}

# Where everything is put together: may import anything, and only entry points and one another import it.
COMPOSITION_ROOTS = {
    "pinthesky.admin.command",
    "pinthesky.aws.lambda_handlers",
    "pinthesky.device.daemon",
    "pinthesky.doctor.command",
    "pinthesky.hub.app",
    "pinthesky.hub.planes_at_home",
    "pinthesky.link.client",
    "pitsctl.command",
}

# Libraries and the only modules that may import them.
VENDORS: dict[str, tuple[str, ...]] = {
    "numpy": ("pinthesky.device.motion*", "pinthesky.device.light_model", "pinthesky.device.cameras.*"),
    "av": (
        "pinthesky.device.clip_writer",
        "pinthesky.device.thumbnails",
        "pinthesky.device.cameras.*",
        "pinthesky.conversion.*",
    ),
    "picamera2": ("pinthesky.device.cameras.picamera2*",),
    "libcamera": ("pinthesky.device.cameras.picamera2",),
    "simplejpeg": ("pinthesky.device.cameras.picamera2",),
    "PIL": ("pinthesky.device.cameras.picamera2",),
    "picamera": ("pinthesky.device.cameras.picamera",),
    "inotify_simple": ("pinthesky.machine.folder_watch",),
    "boto3": ("pinthesky.aws.*", "pitsctl.aws_*"),
    "botocore": ("pinthesky.aws.*", "pinthesky.hub.signatures", "pitsctl.aws_*"),
    "urllib3": ("pinthesky.aws.*", "pitsctl.*"),
    "sqlite3": ("pinthesky.hub.*",),
    "http": ("pinthesky.hub.*", "pitsctl.*"),
    "anyio": ("pinthesky.hub.*",),
    "awscrt": ("pinthesky.link.*",),
    "awsiot": ("pinthesky.link.*",),
    "cryptography": ("pinthesky.hub.*", "pitsctl.*"),
    "h11": ("pinthesky.hub.web_protocols",),
    "http_ece": ("pinthesky.hub.web_push",),
    "jwt": ("pinthesky.hub.tokens", "pinthesky.hub.web_push", "pinthesky.aws.adapters.access_tokens"),
    "paho": ("pinthesky.hub.*",),
    "prometheus_client": ("pinthesky.hub.*",),
    "starlette": ("pinthesky.hub.*",),
    "uvicorn": ("pinthesky.hub.*",),
    "webauthn": ("pinthesky.hub.passkeys",),
    "websockets": ("pinthesky.hub.*",),
    "msgspec": ("pinthesky.*", "pitsctl.*"),
    "textual": ("pitsctl.wizard.*",),
    "rich": ("pitsctl.wizard.*",),
    "yaml": ("pitsctl.answers_file",),
    "zeroconf": ("pitsctl.hub_finder", "pinthesky.hub.*"),
}

# Allowed where it costs nothing at run time: for annotations only.
VENDORS_FOR_TYPES: dict[str, tuple[str, ...]] = {
    "numpy": ("pinthesky.device.ports",),
    "mypy_boto3_apigatewaymanagementapi": ("pinthesky.aws.*",),
    "mypy_boto3_dynamodb": ("pinthesky.aws.*",),
    "mypy_boto3_logs": ("pinthesky.aws.*",),
    "mypy_boto3_s3": ("pinthesky.aws.*",),
}

# The vocabulary does no I/O, so it has no use for these.
NOT_IN_MODEL = {"asyncio", "io", "logging", "os", "pathlib", "shutil", "socket", "subprocess", "tempfile", "threading"}


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported for annotations only."""

    node: ast.stmt
    target: str
    for_types: bool

    @property
    def top(self) -> str:
        """The name of the library."""
        return self.target.partition(".")[0]


def imports_of(source: Source, modules: Collection[str]) -> Iterator[Import]:
    """Yield every import in `source`, wherever it stands; `modules` tells a submodule from a name in a module."""
    typing_only: set[ast.AST] = set()
    for node in source.nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            typing_only.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node, alias.name, node in typing_only)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(node, inner if inner in modules else node.module, node in typing_only)


def area(module: str) -> str:
    """Return the part of the package that `module` belongs to, or the program beside it; the package itself is "" ."""
    parts = module.split(".")
    if parts[0] in ("pitsctl", "infra_cdk"):
        return parts[0]
    return parts[1] if len(parts) > 1 else ""


def wrong_imports_of_ours(source: Source, modules: Collection[str]) -> list[str]:
    """Return the imports of our own modules that the design does not allow."""
    wrong = []
    ours = source.module.partition(".")[0] in OURS
    may_start = not ours or source.module.endswith(".__main__") or source.module in COMPOSITION_ROOTS
    here = area(source.module) if ours else ""
    for found in imports_of(source, modules):
        if found.top not in OURS or found.target in OURS:
            continue
        there = area(found.target)
        if found.target in COMPOSITION_ROOTS and found.target != source.module:
            if not may_start:
                wrong.append(source.at(found.node, f"only entry points import {found.target}"))
        elif may_start or source.module in COMPOSITION_ROOTS or here == there:
            continue
        elif there not in MAY_IMPORT.get(here, set()) and not (here in ADAPTERS and found.target in PORTS):
            wrong.append(source.at(found.node, f"{here or 'the package itself'} may not import {found.target}"))
    return wrong


def wrong_vendor_imports(source: Source, modules: Collection[str]) -> list[str]:
    """Return the imports of libraries outside their place; a library without a place is wrong everywhere."""
    wrong = []
    for found in imports_of(source, modules):
        if found.top in OURS or (found.top in sys.stdlib_module_names and found.top not in VENDORS):
            continue
        places = VENDORS.get(found.top, ())
        if found.for_types:
            places += VENDORS_FOR_TYPES.get(found.top, ())
        if not any(fnmatchcase(source.module, place) for place in places):
            wrong.append(source.at(found.node, f"{found.top} has no place in {source.module}"))
    return wrong


def input_output_in_model(source: Source, modules: Collection[str]) -> list[str]:
    """Return what the vocabulary imports in order to do I/O or to start threads."""
    if area(source.module) != "model":
        return []
    return [
        source.at(found.node, f"{found.top} in the model, which does no I/O")
        for found in imports_of(source, modules)
        if found.top in NOT_IN_MODEL
    ]
