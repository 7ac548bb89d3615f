"""Writes `docs/reference/openapi.json`, `http-api.md` and `http-api.html` from the routes.

`python -m tools.openapi_document`; with `--check` nothing is written, and the exit status is 1 if one of the three is
not what it should be.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinthesky.planes.control_plane import surface
from tools import openapi_html
from tools.openapi_words import answer_of, bounds_of, descriptions_of, title_of
from tools.reference_page import cell, write_or_check

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
DOCUMENT = FOLDER / "openapi.json"
PAGE = FOLDER / "http-api.md"
HTML = FOLDER / "http-api.html"

HEAD = """# HTTP API

Made from the routes in `pinthesky/planes/control_plane/` by `python -m tools.openapi_document`; a test holds the two
equal. The same for programs is [openapi.json](openapi.json), which every home serves at `/openapi.json`. What travels
over WebSockets is on [a page of its own](data-plane.md).

- Requests carry `Authorization: Bearer <access token>`; routes for which nobody has to sign in say so.
- Bodies and answers are JSON. Times are milliseconds since 1970 unless a field says otherwise. Fields that are not
  known are refused.
- A list takes `limit` and `nextToken`, and answers `items` and `nextToken`; it has ended when that is null. A page may
  have fewer items than `limit`, or none, before the end.
- An error is a [Problem](#problem).

| status | meaning |
|---|---|
| 400 | a value cannot be used; `field` names it |
| 401 | sign in first |
| 403 | not allowed to you |
| 404 | not there, or not for you to see |
| 409 | the state has moved on, or it exists already |
| 413 | a body of more than 256 KB |
| 429 | too often; `Retry-After` says for how many seconds |
| 500 | something here does not work |

| permission | who has it | what it is for |
|---|---|---|
| read | owner, member, viewer | lists, clips, stills, health, settings |
| watch | owner, member, viewer | live view, a still of now |
| operate | owner, member | everything else on cameras, groups, clips and tags |
| own | owner | people, jobs, registrations, what belongs to others, where alerts are sent |

A viewer may be limited to groups of cameras; what concerns another camera is not there for such a viewer, in lists and
counts too.
"""


def page(document: Mapping[str, Any]) -> str:
    """The page for people."""
    areas: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            areas.setdefault(operation["tags"][0], []).append(_route(method.upper(), path, operation))
    parts = [HEAD, _contents(document)]
    parts += [f"## {area.capitalize()}\n\n" + "\n".join(routes) for area, routes in areas.items()]
    schemas = document["components"]["schemas"]
    parts.append("## Types\n\n" + "\n".join(_schema(name, schema) for name, schema in schemas.items()))
    return "\n".join(parts)


def _contents(document: Mapping[str, Any]) -> str:
    rows = ["| area | route | permission | |", "|---|---|---|---|"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            permission = operation.get("x-permission", "none")
            link = f"[`{method.upper()} {path}`](#{_anchor(f'{method.upper()} {path}')})"
            rows.append(f"| {operation['tags'][0]} | {link} | {permission} | {cell(operation['summary'])} |")
    return "\n".join(rows) + "\n"


def _route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    permission = operation.get("x-permission")
    needed = f"Permission: {permission}." if permission else "Nobody has to sign in."
    lines = [
        f"### {method} {path}",
        "",
        " ".join(f"{operation['summary']}. {operation.get('description', '')} {needed}".split()),
        "",
    ]
    parameters = [each for each in operation["parameters"] if each["in"] == "query"]
    if parameters:
        lines += ["| query | type | |", "|---|---|---|"]
        for each in parameters:
            lines.append(_field(each["name"], each["schema"], required=each["required"]))
        lines.append("")
    if "requestBody" in operation:
        lines += [f"Body: {_type(operation['requestBody']['content']['application/json']['schema'])}", ""]
    status, answer = next((status, answer) for status, answer in operation["responses"].items() if status < "300")
    content = answer.get("content")
    what = "nothing" if content is None else answer_of(content, _type)
    return "\n".join([*lines, f"Answer: {status}, {what}", ""])


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"### {title_of(name)}", ""]
    if "description" in schema:
        lines += [" ".join(schema["description"].split()), ""]
    if "enum" in schema:
        return "\n".join([*lines, ", ".join(f"`{value}`" for value in schema["enum"]), ""])
    lines += ["| field | type | |", "|---|---|---|"]
    required = schema.get("required", ())
    for field, properties in schema.get("properties", {}).items():
        lines.append(_field(field, properties, required=field in required))
    return "\n".join([*lines, ""])


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> str:
    note = "; ".join(text for text in ("required" if required else "", _note(schema)) if text)
    return f"| `{name}` | {_type(schema)} | {note} |"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = title_of(schema["$ref"].rpartition("/")[2])
        return f"[{name}](#{_anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    return str(kind)


def _note(schema: Mapping[str, Any]) -> str:
    """Description, bounds and default of a field."""
    return cell("; ".join([*descriptions_of(schema), *bounds_of(schema)]))


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main() -> int:
    """Write all three, or say with `--check` whether they are what they should be."""
    document = surface.document()
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    html = openapi_html.page(document, HEAD)
    return max(write_or_check(DOCUMENT, text), write_or_check(PAGE, page(document)), write_or_check(HTML, html))


if __name__ == "__main__":
    sys.exit(main())
