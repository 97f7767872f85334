"""The table of operations, and what is made of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from curier.server import Broker
from curier.web import openapi
from curier.web.roles import Role
from curier.web.routes import HANDLERS
from curier.web.table import OPERATIONS, PREFIX, Operation
from tests.web.asking import window


def test_each_operation_is_carried_out_and_nothing_else() -> None:
    assert {*HANDLERS} == {(one.method, one.path) for one in OPERATIONS}
    assert (
        len({one.command for one in OPERATIONS}) == len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    )


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_operations_say_what_they_are(operation: Operation[Any, Any]) -> None:
    assert operation.method in ("GET", "POST")
    assert re.fullmatch(r"(/[a-z]+)+", operation.path)
    assert re.fullmatch(r"[A-Z].*\.", operation.summary)
    assert operation.asked.__doc__
    assert operation.answered.__doc__
    assert not operation.changes or operation.role > Role.VIEWER


def references(of: object) -> Iterator[str]:
    if isinstance(of, dict):
        for key, value in of.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(of, list):
        for value in of:
            yield from references(value)


def test_openapi_describes_each_of_them() -> None:
    document = json.loads(json.dumps(openapi.document()))
    assert document["openapi"] == "3.1.0"
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert found == {("GET", "/events"), ("GET", "/backup"), *((one.method, one.path) for one in OPERATIONS)}
    for reference in references(document):
        place: Any = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    parameters = document["paths"]["/clients"]["get"]["parameters"]
    assert {one["name"]: one["required"] for one in parameters} == {
        "search": False, "sort": False, "connected": False, "limit": False, "cursor": False,
    }  # fmt: skip


async def test_nobody_is_told_anything_without_saying_who() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        for one in OPERATIONS:
            answer = await client.request(one.method, PREFIX + one.path, json={})
            assert answer.status_code == 401, one.path
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_description_is_open_and_has_no_script() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        document = (await client.get(f"{PREFIX}/openapi.json")).json()
        page = await client.get(f"{PREFIX}/")
    assert document["servers"] == [{"url": "../v1"}]
    assert httpx.URL("http://h/below/api/v1/openapi.json").join("../v1").path == "/below/api/v1"
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert 'href="/' not in page.text  # a proxy may have put a path in front
    for one in OPERATIONS:
        assert one.summary.split(";")[0] in page.text


async def test_other_methods_are_told_all_that_can_be_done_there() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        for path, allowed in (("/bans", {"GET", "HEAD", "POST"}), ("/events", {"GET", "HEAD"})):
            answer = await client.request("TRACE", PREFIX + path)
            assert answer.status_code == 405
            assert {*answer.headers["allow"].replace(" ", "").split(",")} == allowed


async def test_too_large_a_head_is_refused_in_words() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        answer = await client.get(f"{PREFIX}/clients", headers={"x-name": "x" * 200_000})
        assert (answer.status_code, answer.headers["content-type"]) == (431, "application/problem+json")
        assert answer.json()["detail"] == "the head of a request may have 65536 bytes"
        assert (await client.get("/healthz")).status_code == 200


async def test_what_is_no_http_is_told_so() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (web, _):
        host, _, port = web.urls[0].removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        mqtt = bytes.fromhex("10 0e 0004 4d515454 04 00 003c 0002 6331")
        writer.write(mqtt + b"\r\n\r\n" + b"x" * 100_000)
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"this is no HTTP/1.1" in said
        writer.close()
