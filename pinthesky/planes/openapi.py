"""The OpenAPI 3.1 document of the control plane, made from the declarations of its routes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pinthesky.model.identifiers import Identifier
from pinthesky.planes.routing import MOTION_JPEG, MotionJpeg, Problem, Route
from pinthesky.version import __version__

_REFERENCE = "#/components/schemas/{name}"
_PROBLEMS = {
    "400": "A value cannot be used; `field` names it",
    "401": "Nobody has signed in",
    "403": "Not allowed to this person",
    "404": "Not there, or not for this person",
    "409": "The state has moved on, or it exists already",
    "413": "Too large",
    "429": "Too many requests",
    "500": "Something here does not work",
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document as plain JSON values, in the order of the declarations: the same routes give the same bytes."""
    routes = list(routes)
    kinds: dict[Any, None] = {Problem: None}
    for route in routes:
        kinds |= dict.fromkeys(route.types[name] for name in ("query", "body", "return") if name in route.types)
    for without_schema in (type(None), MotionJpeg):
        kinds.pop(without_schema, None)
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_identifier, ref_template=_REFERENCE)
    _speak_ecma((schemas, components))
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of, components)
    queries = {route.types["query"].__name__ for route in routes if "query" in route.types}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pi In The Sky", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "responses": {
                f"Problem{status}": {
                    "description": text,
                    "content": {"application/json": {"schema": schema_of[Problem]}},
                }
                for status, text in _PROBLEMS.items()
            },
            "securitySchemes": {"person": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schema_of: Mapping[Any, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _identifier(kind)}
        for name, kind in route.path_types.items()
    ]
    if "query" in route.types:
        parameters += _query_parameters(components[route.types["query"].__name__])
    problems = dict(_PROBLEMS)
    if route.permission is None:
        del problems["401"], problems["403"]
    success: dict[str, Any] = {"description": "Done"}
    if route.types["return"] is MotionJpeg:
        success["content"] = {MOTION_JPEG.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}}
    elif route.status != 204:
        success["content"] = {"application/json": {"schema": schema_of[route.types["return"]]}}
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.area],
        "parameters": parameters,
        "responses": {
            str(route.status): success,
            **{status: {"$ref": f"#/components/responses/Problem{status}"} for status in problems},
        },
        "security": [] if route.permission is None else [{"person": []}],
    }
    if text := inspect.getdoc(route.function):
        operation["description"] = text
    if route.permission is not None:
        operation["x-permission"] = route.permission.value
    if "body" in route.types:
        content = {"application/json": {"schema": schema_of[route.types["body"]]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _query_parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(each)}
        for name, each in schema["properties"].items()
    ]


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a parameter: what is None in our structs is left out of a query."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == len(schema.get("anyOf", ())):
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}


def _speak_ecma(schema: Any) -> None:
    """Make the patterns in a schema those of JSON Schema, which is ECMA-262: it has no end of Python's."""
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            schema["pattern"] = pattern.replace(r"\Z", "$")
        for each in schema.values():
            _speak_ecma(each)
    elif isinstance(schema, (list, tuple)):
        for each in schema:
            _speak_ecma(each)


def _identifier(kind: Any) -> dict[str, Any]:
    """`schema_hook` for msgspec."""
    if isinstance(kind, type) and issubclass(kind, Identifier):
        return {"type": "string", "pattern": f"^(?:{kind.pattern()})$"}
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(str(kind))
