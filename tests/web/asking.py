"""A broker with its window in this process, and how tests ask it: by ASGI, or by a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import ASGIApp

from curier.server import Broker
from curier.web.server import Web

ANYWHERE = "http://127.0.0.1:0"


def asking(app: ASGIApp, host: str = "localhost") -> httpx.AsyncClient:
    """Asks an application without any socket."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@asynccontextmanager
async def window(broker: Broker, **how: object) -> AsyncIterator[tuple[Web, httpx.AsyncClient]]:
    """The window of a broker, and somebody who asks it by its socket."""
    web = Web(broker, **{"url": ANYWHERE, **how})  # type: ignore[arg-type]  # as the tests give them
    async with web, httpx.AsyncClient(base_url=web.urls[0], trust_env=False) as client:
        yield web, client
