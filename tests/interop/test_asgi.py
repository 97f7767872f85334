"""Web programs as people write them: Starlette, FastAPI and Litestar, served by uvicorn and hypercorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

import curier
import curier.asgi
from tests.conftest import require_peer
from tests.ports import free_port
from tests.test_docs import ROOT, blocks
from tests.waiting import until

PAGE = (ROOT / "docs" / "asgi.md").read_text()


def starlette(broker: curier.Broker, mqtt: curier.asgi.Lifespan) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def order(request: Request) -> PlainTextResponse:
        await request.state.mqtt.publish("orders/7", await request.body(), qos=1)
        return PlainTextResponse("taken")

    routes = [
        Mount("/mqtt", broker.asgi()),
        Mount("/health", mqtt.health),
        Route("/orders/7", order, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=mqtt)


def fastapi(broker: curier.Broker, mqtt: curier.asgi.Lifespan) -> Any:
    from fastapi import FastAPI, Request

    app = FastAPI(lifespan=mqtt)
    app.mount("/mqtt", broker.asgi())
    app.mount("/health", mqtt.health)

    async def order(request: Request) -> str:
        await mqtt.client.publish("orders/7", await request.body(), qos=1)
        return "taken"

    order.__annotations__["request"] = Request
    app.post("/orders/7")(order)
    return app


def litestar(broker: curier.Broker, mqtt: curier.asgi.Lifespan) -> Any:
    from litestar import Litestar, Request, asgi, post

    async def order(request: Request[Any, Any, Any]) -> str:
        await mqtt.client.publish("orders/7", await request.body(), qos=1)
        return "taken"

    order.__annotations__ |= {"request": Request, "return": str}
    handlers: list[Any] = [
        asgi("/mqtt", is_mount=True, copy_scope=True)(broker.asgi()),
        asgi("/health", is_mount=True, copy_scope=True)(mqtt.health),
        post("/orders/7")(order),
    ]
    return Litestar(handlers, lifespan=[mqtt])


@contextlib.asynccontextmanager
async def by_uvicorn(app: Any, port: int, ws: Any) -> AsyncIterator[None]:
    import uvicorn

    config = uvicorn.Config(app, port=port, ws=ws, lifespan="on", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # without the handlers of signals
    await until(lambda: server.started or serving.done())
    if serving.done():
        serving.result()
    yield
    server.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def by_hypercorn(app: Any, port: int) -> AsyncIterator[None]:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 1
    over = asyncio.Event()

    async def wait() -> None:
        await over.wait()

    serving = asyncio.create_task(serve(app, config, shutdown_trigger=wait))
    await until(lambda: is_there(port) or serving.done(), pause=0.05)
    yield
    over.set()
    await serving


def is_there(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


SERVERS = {
    "uvicorn": lambda app, port: by_uvicorn(app, port, "websockets-sansio"),
    "uvicorn-wsproto": lambda app, port: by_uvicorn(app, port, "wsproto"),
    "hypercorn": by_hypercorn,
}


@pytest.mark.parametrize(
    ("make", "server"),
    [
        (starlette, "uvicorn"),
        (starlette, "uvicorn-wsproto"),
        (starlette, "hypercorn"),
        (fastapi, "uvicorn"),
        (litestar, "uvicorn"),
        (litestar, "hypercorn"),
    ],
)
async def test_pages_devices_and_the_program_meet(make: Callable[..., Any], server: str) -> None:
    for name in (make.__name__, server.partition("-")[0]):
        require_peer(name)
    port, mqtt_port = free_port(), free_port()
    broker = curier.Broker(f"tcp://127.0.0.1:{mqtt_port}")
    mqtt = curier.asgi.client(f"mqtt://127.0.0.1:{mqtt_port}", client_id="shop", broker=broker)
    here = f"http://127.0.0.1:{port}"
    async with (
        SERVERS[server](make(broker, mqtt), port),
        httpx.AsyncClient(trust_env=False, timeout=100) as web,
    ):
        health = await web.get(f"{here}/health/")
        assert (health.status_code, health.json()) == (200, {"client": "connected", "broker": "serving"})
        async with (
            curier.connect(f"ws://127.0.0.1:{port}/mqtt/", client_id="page") as page,
            page.subscribe("#", qos=2) as seen,
        ):
            connection = broker.core.sessions["page"].connection
            assert connection is not None
            assert connection.listener_name == "asgi"
            assert connection.address.startswith("127.0.0.1:")
            assert (await web.post(f"{here}/orders/7", content="a cake")).status_code < 300
            assert (await seen.get(timeout=100)).payload == b"a cake"
            await page.publish("large", bytes(300_000), qos=2)
            assert len((await seen.get(timeout=100)).payload) == 300_000
        await until(lambda: "page" not in broker.core.sessions)
    assert not broker.is_serving
    assert not broker.turn.wires


async def test_paho_comes_by_the_mount() -> None:
    require_peer("paho")
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    port = free_port()
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker, by_uvicorn_alone(mount, port):
        got: list[bytes] = []

        def on_connect(*told: object) -> None:
            paho.subscribe("a", 1)

        def on_subscribe(*told: object) -> None:
            paho.publish("a", b"hello", 1)

        paho = Client(CallbackAPIVersion.VERSION2, "paho", transport="websockets")
        paho.ws_set_options("/mqtt")
        paho.on_connect = on_connect
        paho.on_subscribe = on_subscribe
        paho.on_message = lambda client, data, message: got.append(bytes(message.payload))
        await asyncio.to_thread(paho.connect, "127.0.0.1", port)
        paho.loop_start()
        await until(lambda: got == [b"hello"])
        await asyncio.to_thread(paho.disconnect)
        await asyncio.to_thread(paho.loop_stop)
        await until(lambda: not broker.turn.wires)


@contextlib.asynccontextmanager
async def by_uvicorn_alone(app: Any, port: int) -> AsyncIterator[None]:
    import uvicorn

    config = uvicorn.Config(app, port=port, ws="websockets-sansio", lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started or serving.done())
    yield
    server.should_exit = True
    await serving


async def test_a_slow_page_makes_nothing_grow_in_a_real_server() -> None:
    options = curier.Options()
    options.output_soft_limit = 100_000
    port, mqtt_port = free_port(), free_port()
    broker = curier.Broker(f"tcp://127.0.0.1:{mqtt_port}", options=options)
    mount = broker.asgi()
    async with (
        broker,
        by_uvicorn_alone(mount, port),
        curier.connect(f"mqtt://127.0.0.1:{mqtt_port}") as device,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(
            b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        connect = bytes.fromhex("101000044d5154540402000000 04") + b"slow"
        subscribe = bytes.fromhex("820600010001 6200")
        for packet in (connect, subscribe):
            writer.write(b"\x82" + bytes([0x80 | len(packet), 0, 0, 0, 0]) + packet)
        await reader.readuntil(b"\x90\x03\x00\x01\x00")  # SUBACK
        (wire,) = mount.wires
        most = 0
        for _ in range(100):  # 20 MB, of which the page takes nothing
            await device.publish("b", bytes(200_000), qos=1)
            most = max(most, wire.unsent)
        assert most < 1_000_000
        writer.transport.abort()
        await until(lambda: not mount.wires)


@pytest.mark.parametrize("text", blocks(PAGE, "python"))
def test_programs_of_the_documentation(text: str) -> None:
    """Each is made as the page says; those that print are run."""
    for name in ("fastapi", "litestar", "starlette", "faststream"):
        if f"from {name}" in text:
            require_peer(name)
    exec(compile(text, "docs/asgi.md", "exec"), {"__name__": "page"})
