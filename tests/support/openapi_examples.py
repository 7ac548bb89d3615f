"""Requests made up from an OpenAPI 3.1 document, right ones and odd ones, and whether an answer conforms to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
from hypothesis import strategies as st

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
ODD_TEXT = st.sampled_from(
    ["", ".", "..", "%00", "a/../b", "\x00", "ä", "\U0001f600", "-1", "9" * 30, "null", "' OR 1=1", "{x}", "A" * 300]
) | st.text(max_size=30)


@dataclass(frozen=True)
class Operation:
    """One operation of a document."""

    document: Mapping[str, Any] = field(repr=False)
    method: str
    path: str

    @property
    def described(self) -> Mapping[str, Any]:
        """What the document says of it."""
        described: Mapping[str, Any] = self.document["paths"][self.path][self.method]
        return described

    def parameters(self, place: str) -> dict[str, Mapping[str, Any]]:
        """Schemas of the parameters in `path` or `query`."""
        return {each["name"]: each["schema"] for each in self.described["parameters"] if each["in"] == place}

    @property
    def body(self) -> Mapping[str, Any] | None:
        """The schema of the body."""
        described = self.described.get("requestBody")
        schema: Mapping[str, Any] | None = described and described["content"]["application/json"]["schema"]
        return schema

    def check(self, status: int, answer: Any) -> None:
        """Fail unless the document knows this answer."""
        assert str(status) in self.described["responses"], (status, answer)
        response = self.described["responses"][str(status)]
        if "$ref" in response:
            response = self._at(response["$ref"])
        if "content" in response:
            schema = response["content"]["application/json"]["schema"]
            jsonschema.Draft202012Validator({**schema, "components": self.document["components"]}).validate(answer)

    def examples(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        """Values of a schema, and some that are not."""
        return self._later(schema) | self._later(schema) | JSON

    def _later(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        """Made when it is needed: a schema may hold itself."""
        return st.deferred(lambda: self._right(schema))

    def _at(self, reference: str) -> Any:
        found: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return found

    def _right(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self._right(self._at(schema["$ref"]))
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return st.one_of([self._right(one) for one in schema[several]])
        make = getattr(self, f"_{schema.get('type', 'any')}")
        strategy: st.SearchStrategy[Any] = make(schema)
        return strategy

    def _any(self, _: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        return JSON

    def _null(self, _: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        return st.none()

    def _boolean(self, _: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        return st.booleans()

    def _integer(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        return st.integers(schema.get("minimum", -(2**40)), schema.get("maximum", 2**50))

    def _number(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        return st.floats(schema.get("minimum", -1e9), schema.get("maximum", 1e9))

    def _string(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        if "pattern" in schema:
            return st.from_regex(schema["pattern"]).filter(lambda text: len(text) <= schema.get("maxLength", 10_000))
        return st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 40), 300))

    def _array(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", 4), max(4, least))
        return st.lists(self._right(schema.get("items", {})), min_size=least, max_size=most)

    def _object(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        properties, required = schema.get("properties", {}), set(schema.get("required", ()))
        right = {name: self._later(inner) for name, inner in properties.items()}
        return st.fixed_dictionaries(
            {name: right[name] for name in right if name in required},
            optional={name: right[name] for name in right if name not in required},
        )


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation of a document."""
    return [Operation(document, method, path) for path, methods in document["paths"].items() for method in methods]
