"""MQTT in a web program: a client or a broker that lives as long as the application, and its health.

    mqtt = curier.asgi.client("mqtt://localhost", client_id="shop")
    app = FastAPI(lifespan=mqtt)
    app.mount("/health", mqtt.health)

    @app.post("/orders")
    async def order(text: str) -> None:
        await mqtt.client.publish("orders", text, qos=1)

``lifespan=`` of Starlette and FastAPI takes it as it is, Litestar's a list of such. It is plain ASGI: nothing
is imported of any of them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from curier.client.client import Client
    from curier.net.messages import Receive, Send
    from curier.server import Broker

__all__ = ["Lifespan", "broker", "client"]


def client(*args: Any, broker: Broker | None = None, **settings: Any) -> Lifespan:
    """A client that connects when the application starts, and says goodbye when it ends.

    The parameters are those of ``curier.connect``; each start of the application makes a client of its own.
    With ``retry_first_connect=True`` the application starts whether the broker is there or not. ``broker``,
    if there is one, starts before the client and stops after it. Raises as ``curier.connect``.
    """
    from curier.client.client import connect

    connect(*args, **settings)  # so that a setting that cannot be is told where it was written
    return Lifespan(args, settings, broker)


def broker(broker: Broker) -> Lifespan:
    """A broker that starts with the application and stops with it, once."""
    return Lifespan(None, {}, broker)


class Lifespan:
    """Called with an application, it is an async context manager; what that gives is the application's state:
    ``mqtt``, the client, and ``broker``, where there are such.
    """

    def __init__(self, args: tuple[Any, ...] | None, settings: dict[str, Any], broker: Broker | None) -> None:
        self._args = args
        self._settings = settings
        self._client: Client | None = None
        self.broker = broker

    @property
    def client(self) -> Client:
        """The client of the application that runs. Raises ``RuntimeError`` where there is none."""
        if self._client is None:
            why = "the application does not run" if self._args is not None else "it was made without one"
            raise RuntimeError(f"there is no MQTT client: {why}")
        return self._client

    def __call__(self, app: object = None) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Start when it is entered, stop when it is left. ``app`` is not looked at."""
        return self._living()

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[dict[str, Any]]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            if self.broker is not None:
                state["broker"] = await stack.enter_async_context(self.broker)
            if self._args is not None:
                from curier.client.client import connect

                made = await stack.enter_async_context(connect(*self._args, **self._settings))
                state["mqtt"] = self._client = made
                stack.callback(self._forget)
            yield state

    def _forget(self) -> None:
        self._client = None

    @property
    def is_healthy(self) -> bool:
        """Is the client connected, and does the broker take clients, where there are such?"""
        return all(is_well for is_well, _ in self._states().values())

    def _states(self) -> dict[str, tuple[bool, str]]:
        found = {}
        if self._args is not None:
            is_well = self._client is not None and self._client.is_connected
            found["client"] = (is_well, "connected" if is_well else "not connected")
        if self.broker is not None:
            is_well = self.broker.is_serving
            found["broker"] = (is_well, "serving" if is_well else "not serving")
        return found

    async def health(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """An ASGI application: 200 where all is well, 503 where not, and why as JSON, to GET and HEAD."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "this answers GET"})
            return
        states = self._states()
        status = 200 if all(is_well for is_well, _ in states.values()) else 503
        if scope["method"] not in ("GET", "HEAD"):
            status, states = 405, {}
        body = json.dumps({name: said for name, (_, said) in states.items()}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
