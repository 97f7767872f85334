"""A broker with its window in this process, and how tests ask it: by ASGI, or by a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct
from starlette.types import ASGIApp

from curier.server import Broker
from curier.web.server import Web
from curier.web.serving import Serving
from curier.web.table import PREFIX, Answered, Asked, Operation
from curier.web.tokens import ROLES, add_token

ANYWHERE = "http://127.0.0.1:0"


def asking(app: ASGIApp, host: str = "localhost") -> httpx.AsyncClient:
    """Asks an application without any socket."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", timeout=100)


@asynccontextmanager
async def window(broker: Broker, **how: object) -> AsyncIterator[tuple[Web, httpx.AsyncClient]]:
    """The window of a broker, and somebody who asks it by its socket."""
    web = Web(broker, **{"url": ANYWHERE, **how})  # type: ignore[arg-type]  # as the tests give them
    async with web, httpx.AsyncClient(base_url=web.urls[0], trust_env=False, timeout=100) as client:
        yield web, client


def serving(web: Web) -> Serving:
    """What answers requests, once somebody has asked."""
    assert web.serving is not None
    return web.serving


class Person:
    """Somebody who asks the API with a token."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"}

    async def ask(self, operation: Operation[Asked, Answered], asked: Asked) -> Answered:
        """What is answered; an answer that is a problem fails the test."""
        answer = await self.answer(operation, asked)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=operation.answered)

    async def answer(self, operation: Operation[Any, Any], asked: Struct) -> httpx.Response:
        given = {name: value for name, value in msgspec.to_builtins(asked).items() if value is not None}
        path = PREFIX + operation.path
        if operation.method == "GET":
            return await self._client.get(path, params=given, headers=self._headers)
        return await self._client.post(path, json=given, headers=self._headers)

    async def refused(self, operation: Operation[Any, Any], asked: Struct, status: int) -> str:
        """Why it is refused."""
        answer = await self.answer(operation, asked)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return str(answer.json()["detail"])


@asynccontextmanager
async def people(broker: Broker, directory: Path, **how: object) -> AsyncIterator[dict[str, Person]]:
    """Somebody of each role who asks the window of a broker."""
    path = directory / "web-tokens"
    tokens = {name: add_token(path, name, role) for name, role in ROLES.items()}
    async with window(broker, tokens=path, **how) as (_, client):
        yield {name: Person(client, token) for name, token in tokens.items()}
