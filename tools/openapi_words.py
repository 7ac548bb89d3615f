"""What the pages about the HTTP API say of a schema: titles, descriptions, bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def title_of(name: str) -> str:
    """The name of a type: what is generic is `Items_Camera_` in the document."""
    return re.sub(r"^(\w+?)_(\w+)_$", r"\1 of \2", name)


def answer_of(content: Mapping[str, Any], kind_of: Callable[[Mapping[str, Any]], str]) -> str:
    """What an answer is: the type of its JSON, or what else it is."""
    if "application/json" in content:
        return kind_of(content["application/json"]["schema"])
    return ", ".join(content)


def descriptions_of(schema: Mapping[str, Any]) -> list[str]:
    """What is said about a field, and about what it may be."""
    texts = [each["description"].rstrip(".") for each in _alternatives(schema) if "description" in each]
    return list(dict.fromkeys(texts))


def bounds_of(schema: Mapping[str, Any]) -> list[str]:
    """Bounds and default of a field."""
    texts = [bound for each in _alternatives(schema) for bound in _bounds(each)]
    if schema.get("default") not in (None, "", [], {}):
        texts.append(f"default {json.dumps(schema['default'])}")
    return list(dict.fromkeys(texts))


def _alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in (schema, *schema.get("anyOf", ())) if isinstance(each, dict)]


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " of them"),
    ):
        if least in schema and most in schema:
            yield f"{schema[least]} to {schema[most]}{unit}"
        elif most in schema:
            yield f"at most {schema[most]}{unit}"
        elif least in schema:
            yield f"at least {schema[least]}{unit}"
    if "exclusiveMinimum" in schema:
        yield f"more than {schema['exclusiveMinimum']}"
