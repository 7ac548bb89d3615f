"""The HTTP API as one HTML page: no scripts, nothing from elsewhere, an anchor for each operation and each type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from tools.openapi_words import answer_of, bounds_of, descriptions_of, title_of

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f8; --surface: #fff; --line: #d9dde1; --text: #1b2024;
  --quiet: #5a646d; --accent: #1f5d99; --code: #eef1f3; }
@media (prefers-color-scheme: dark) { :root { --ground: #121518; --surface: #1a1f23; --line: #2e363c;
  --text: #e7eaed; --quiet: #9ba7b1; --accent: #82b8ee; --code: #252c31; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 16px; }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); background: var(--ground);
  color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--accent); }
body > nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 16px;
  border-right: 1px solid var(--line); background: var(--surface); font-size: 0.8125rem; }
nav summary { cursor: pointer; font-weight: 600; padding: 4px 0; text-transform: capitalize; }
nav ul { list-style: none; margin: 0 0 8px; padding: 0; }
nav li a { display: block; padding: 3px 0; color: var(--quiet); text-decoration: none; overflow-wrap: anywhere; }
nav li a:hover { color: var(--accent); text-decoration: underline; }
nav b { display: inline-block; width: 4.8em; font-size: 0.6875rem; color: var(--accent); }
main { padding: 24px 32px 96px; max-width: 62rem; min-width: 0; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 16px; }
h2 { font-size: 1.25rem; margin: 48px 0 8px; text-transform: capitalize; }
h3 { font: 600 1rem/1.4 ui-monospace, monospace; margin: 0; overflow-wrap: anywhere; }
h3 a { color: inherit; text-decoration: none; }
h3 a:hover { text-decoration: underline; }
h3 b { color: var(--accent); }
section { margin: 16px 0; padding: 16px 20px; background: var(--surface); border: 1px solid var(--line);
  border-radius: 12px; }
section:target { border-color: var(--accent); }
section p { margin: 8px 0; }
code { font: 0.875em ui-monospace, monospace; background: var(--code); padding: 1px 4px; border-radius: 4px;
  overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: 0.875rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 8px 0; font-size: 0.875rem; }
th, td { text-align: left; vertical-align: top; padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { color: var(--quiet); font-weight: 600; }
tr:last-child td { border-bottom: 0; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
@media (max-width: 800px) { body { display: block; } main { padding: 16px; } section { padding: 12px; }
  body > nav { position: static; height: auto; max-height: 50vh; border-right: 0;
    border-bottom: 1px solid var(--line); } }
"""


def page(document: Mapping[str, Any], introduction: str) -> str:
    """The page. `introduction` is what stands above the routes: Markdown of headings, lists and tables alone."""
    schemas = document["components"]["schemas"]
    areas: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            areas.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    body = [_introduced(introduction)]
    for area, routes in areas.items():
        body.append(f'<h2 id="{_slug(area)}">{escape(area)}</h2>')
        body += [_operation(*route) for route in routes]
    body.append('<h2 id="types">Types</h2>')
    body += [_type(name, schema) for name, schema in schemas.items()]
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>HTTP API · Pi In The Sky</title>",
            f"<style>{STYLE}</style></head><body>",
            _contents(areas, schemas),
            "<main>",
            *body,
            "</main></body></html>\n",
        )
    )


def _contents(areas: Mapping[str, list[tuple[str, str, Mapping[str, Any]]]], schemas: Mapping[str, Any]) -> str:
    parts = ['<nav aria-label="Contents">']
    for area, routes in areas.items():
        links = [
            f'<li><a href="#{operation["operationId"]}"><b>{method}</b>{escape(path)}</a></li>'
            for method, path, operation in routes
        ]
        parts.append(f"<details open><summary>{escape(area)}</summary><ul>{''.join(links)}</ul></details>")
    types = "".join(f'<li><a href="#{_anchor(name)}">{escape(title_of(name))}</a></li>' for name in schemas)
    parts.append(f"<details><summary>Types</summary><ul>{types}</ul></details></nav>")
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    name, permission = operation["operationId"], operation.get("x-permission")
    needed = f"Permission: {permission}." if permission else "Nobody has to sign in."
    parts = [
        f'<section id="{name}"><h3><a href="#{name}"><b>{method}</b> {escape(path)}</a></h3>',
        f"<p>{_prose(operation['summary'])}. {_prose(operation.get('description', ''))}</p>",
        f'<p class="quiet">{needed} Operation <code>{name}</code>.</p>',
    ]
    parameters = [each for each in operation["parameters"] if each["in"] == "query"]
    rows = [_field(each["name"], each["schema"], required=each["required"]) for each in parameters]
    parts.append(_table("query", rows))
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<p>Body: {_kind(schema)}</p>")
    status, answer = next((status, answer) for status, answer in operation["responses"].items() if status < "300")
    content = answer.get("content")
    what = "nothing" if content is None else answer_of(content, _kind)
    parts.append(f"<p>Answer: {status}, {what}</p></section>")
    return "\n".join(part for part in parts if part)


def _type(name: str, schema: Mapping[str, Any]) -> str:
    anchor = _anchor(name)
    parts = [f'<section id="{anchor}"><h3><a href="#{anchor}">{escape(title_of(name))}</a></h3>']
    if "description" in schema:
        parts.append(f"<p>{_prose(schema['description'])}</p>")
    if "enum" in schema:
        parts.append(f"<p>{_values(schema['enum'])}</p>")
    required = schema.get("required", ())
    fields = schema.get("properties", {}).items()
    parts.append(_table("field", [_field(field, each, required=field in required) for field, each in fields]))
    return "\n".join(part for part in (*parts, "</section>") if part)


def _table(first: str, rows: list[str]) -> str:
    if not rows:
        return ""
    head = f"<tr><th>{first}</th><th>type</th><th></th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> str:
    notes = [*(("required",) if required else ()), *descriptions_of(schema), *bounds_of(schema)]
    note = "; ".join(_prose(text) for text in notes)
    return f"<tr><td><code>{escape(name)}</code></td><td>{_kind(schema)}</td><td>{note}</td></tr>"


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(title_of(name))}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return _values(schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    inner = schema.get("additionalProperties")
    return f"object of {_kind(inner)}" if kind == "object" and isinstance(inner, dict) and inner else escape(kind)


def _values(values: list[Any]) -> str:
    return ", ".join(f"<code>{escape(str(value))}</code>" for value in values)


def _introduced(markdown: str) -> str:
    """Headings, lists, tables and paragraphs, each begun after an empty line."""
    return "\n".join(_block(block.splitlines()) for block in markdown.strip().split("\n\n"))


def _block(lines: list[str]) -> str:
    if lines[0].startswith("# "):
        return f"<h1>{_prose(lines[0][2:])}</h1>"
    if lines[0].startswith("|"):
        tags = ["th", *("td" for _ in lines[2:])]
        cells = [[_prose(cell.strip()) for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
        rows = ["".join(f"<{tag}>{cell}</{tag}>" for cell in row) for tag, row in zip(tags, cells, strict=True)]
        return f'<div class="wide"><table>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'
    if lines[0].startswith("- "):
        items = "\n".join(lines)[2:].split("\n- ")
        return f"<ul>{''.join(f'<li>{_prose(item)}</li>' for item in items)}</ul>"
    return f"<p>{_prose(' '.join(lines))}</p>"


def _prose(text: str) -> str:
    """Text with its code; of links those within the page, the words of all others."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split()), quote=False))
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", _link, html)


def _link(found: re.Match[str]) -> str:
    text, target = found[1], found[2]
    if target.startswith("#"):
        return f'<a href="#type-{target[1:]}">{text}</a>'
    return text


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _anchor(type_name: str) -> str:
    return f"type-{_slug(type_name)}"
