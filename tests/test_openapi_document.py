"""The OpenAPI document and its page are those that the routes make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest

from pinthesky.planes.control_plane import surface
from tools import openapi_document

WRITE = "run python -m tools.openapi_document"


def test_the_committed_document_is_what_the_routes_make():
    assert json.loads(openapi_document.DOCUMENT.read_text(encoding="utf-8")) == surface.document(), WRITE


def test_the_page_is_what_the_document_says():
    assert openapi_document.PAGE.read_text(encoding="utf-8") == openapi_document.page(surface.document()), WRITE


def test_every_route_and_every_field_is_on_the_page():
    made = openapi_document.page(surface.document())
    routes = [f"### {route.method} {route.path}\n" for route in surface.ROUTER.routes]
    schemas = surface.document()["components"]["schemas"].values()
    fields = [f"| `{field}` |" for schema in schemas for field in schema.get("properties", {})]
    assert [text for text in (*routes, *fields) if text not in made] == []


def test_every_link_of_the_page_leads_somewhere():
    made = openapi_document.page(surface.document())
    anchors = {openapi_document._anchor(line.lstrip("# ")) for line in made.splitlines() if line.startswith("#")}
    links = {part.partition(")")[0] for part in made.split("](#")[1:]}
    assert links - anchors == set()


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def test_the_document_refers_to_nothing_that_is_not_in_it():
    document = surface.document()
    there = {f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named}
    assert set(references(document)) - there == set()


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does():
    operations = [each for methods in surface.document()["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert [each["operationId"] for each in operations if not each["summary"] or "description" not in each] == []


def test_the_document_is_openapi():
    openapi_spec_validator.validate(surface.document())
    assert surface.document()["openapi"] == "3.1.0"


def test_both_can_be_written_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openapi_document, "DOCUMENT", tmp_path / "openapi.json")
    monkeypatch.setattr(openapi_document, "PAGE", tmp_path / "http-api.md")
    monkeypatch.setattr("sys.argv", ["openapi_document.py"])
    assert openapi_document.main() == 0
    monkeypatch.setattr("sys.argv", ["openapi_document.py", "--check"])
    assert openapi_document.main() == 0
    (tmp_path / "http-api.md").write_text("something else", encoding="utf-8")
    assert openapi_document.main() == 1
