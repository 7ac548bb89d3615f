"""The OpenAPI document and its page are those that the routes make."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest

from pinthesky.planes.control_plane import surface
from tools import openapi_document, openapi_html

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


def test_the_html_page_is_what_the_document_says():
    made = openapi_html.page(surface.document(), openapi_document.HEAD)
    assert openapi_document.HTML.read_text(encoding="utf-8") == made, WRITE


class Anchors(HTMLParser):
    """What a page has and refers to, and which of its elements were not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links |= {given[name] or "" for name in ("href", "src") if name in given}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def anchors() -> Anchors:
    made = Anchors()
    made.feed(openapi_html.page(surface.document(), openapi_document.HEAD))
    return made


def test_every_operation_has_an_anchor_on_the_html_page_and_every_link_leads_there(anchors: Anchors):
    operations = {each["operationId"] for methods in surface.document()["paths"].values() for each in methods.values()}
    assert operations - set(anchors.ids) == set()
    assert len(set(anchors.ids)) == len(anchors.ids)
    assert anchors.links - {f"#{name}" for name in anchors.ids} == set()


def test_the_html_page_is_whole_without_scripts_and_without_anything_from_elsewhere(anchors: Anchors):
    assert anchors.tags & {"script", "link", "img", "iframe", "object"} == set()
    assert anchors.open == []


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


def test_all_can_be_written_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openapi_document, "DOCUMENT", tmp_path / "openapi.json")
    monkeypatch.setattr(openapi_document, "PAGE", tmp_path / "http-api.md")
    monkeypatch.setattr(openapi_document, "HTML", tmp_path / "http-api.html")
    monkeypatch.setattr("sys.argv", ["openapi_document.py"])
    assert openapi_document.main() == 0
    monkeypatch.setattr("sys.argv", ["openapi_document.py", "--check"])
    assert openapi_document.main() == 0
    for name in ("http-api.md", "http-api.html"):
        before = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text("something else", encoding="utf-8")
        assert openapi_document.main() == 1
        (tmp_path / name).write_text(before, encoding="utf-8")
