"""OpenAPI 3.1 of the API, and a page that lists it; both come from the table of operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Struct

from curier.version import VERSION
from curier.web.events import TOPICS
from curier.web.problems import PROBLEM_JSON, ProblemDetails
from curier.web.table import OPERATIONS, PREFIX, Operation

_REFERENCE: Final = "#/components/schemas/{name}"

_PROBLEMS: Final = {
    "400": "What was asked cannot be.",
    "401": "It is not known who asks.",
    "403": "Whoever asks may not.",
    "404": "It is not there.",
    "409": "It cannot be done now, or by this broker.",
    "421": "This server is not known by the name it was asked by.",
    "429": "Too many requests.",
    "431": "The head of the request is too large.",
    "503": "The broker starts or stops, or its disk takes nothing.",
}


_OF_BODIES: Final = {
    "408": "The body took too long.",
    "413": "The body is too large.",
    "415": "The body does not say that it is JSON.",
}


def document(operations: Sequence[Operation[Struct, Struct]] = OPERATIONS) -> dict[str, Any]:
    """The document."""
    types: list[type[Struct]] = [
        *dict.fromkeys(kind for one in operations for kind in (one.asked, one.answered)),
        ProblemDetails,
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_type, components)
    paths["/events"] = {"get": _events()}
    paths["/backup"] = {"get": _backup(by_type)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "curier broker",
            "version": VERSION,
            "description": "Parameters stand in the query or the body, never in the path. Changes need the "
            "header X-Curier where a cookie says who asks.",
        },
        "servers": [{"url": "../v1"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "curier"},
            },
        },
    }


def _events() -> dict[str, Any]:
    schema = {"type": "array", "items": {"enum": [*TOPICS]}}
    return {
        "operationId": "get_events",
        "summary": "What happens, as server-sent events.",
        "parameters": [
            {"name": "topics", "in": "query", "style": "form", "explode": False, "schema": schema}
        ],
        "responses": {"200": {"description": "A stream.", "content": {"text/event-stream": {}}}},
    }


def _backup(by_type: dict[type[Struct], Any]) -> dict[str, Any]:
    problem = {PROBLEM_JSON: {"schema": by_type[ProblemDetails]}}
    file = {"application/vnd.sqlite3": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "operationId": "get_backup",
        "summary": "A copy of the broker's state, as it is at one moment, as a download.",
        "description": "For the role admin.",
        "responses": {
            "200": {"description": "A database of SQLite.", "content": file},
            **{code: {"description": text, "content": problem} for code, text in _PROBLEMS.items()},
        },
    }


def _operation(
    one: Operation[Struct, Struct], by_type: dict[type[Struct], Any], components: dict[str, Any]
) -> dict[str, Any]:
    problem = {PROBLEM_JSON: {"schema": by_type[ProblemDetails]}}
    made: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"For the role {one.role.name.lower()} and those above it.",
        "responses": {
            "200": {
                "description": "As asked.",
                "content": {"application/json": {"schema": by_type[one.answered]}},
            },
            **{code: {"description": text, "content": problem} for code, text in _PROBLEMS.items()},
        },
    }
    if one.method == "GET":
        made["parameters"] = [*_parameters(one, components)]
    else:
        made["requestBody"] = {"content": {"application/json": {"schema": by_type[one.asked]}}}
        for code, text in _OF_BODIES.items():
            made["responses"][code] = {"description": text, "content": problem}
    return made


def _parameters(one: Operation[Struct, Struct], components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    schema = components[one.asked.__name__]
    for name, kind in schema.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": kind,
        }


def page(operations: Sequence[Operation[Struct, Struct]] = OPERATIONS) -> str:
    """The same for people: one table, no script."""
    rows = "".join(
        f"<tr><td>{one.method}</td><td><code>{escape(one.path)}</code></td>"
        f"<td>{one.role.name.lower()}</td><td>{escape(one.summary)}</td>"
        f"<td>{_fields(one.asked)}</td><td>{_fields(one.answered)}</td></tr>\n"
        for one in operations
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>curier: API</title></head><body>'
        "<h1>The API of this broker</h1>"
        f'<p>All paths are below <code>{PREFIX}</code>; <a href="openapi.json">openapi.json</a> has the same '
        "for programs. A GET has its parameters in the query, a POST in a JSON body.</p>"
        "<table><thead><tr><th>method<th>path<th>role<th>what<th>asked<th>answered</tr></thead><tbody>\n"
        f"{rows}</tbody></table></body></html>\n"
    )


def _fields(kind: type[Struct]) -> str:
    names = [escape(name) for name in get_type_hints(kind) if name in kind.__struct_fields__]
    return ", ".join(f"<code>{name}</code>" for name in names) or "&ndash;"
