"""A client and a broker that live with an application, and what is said of their health."""

from __future__ import annotations

from typing import Any

import pytest

import curier
import curier.asgi
from curier.asgi import Lifespan
from curier.errors import ConfigError, ConnectionLost
from tests.ports import free_port


async def health(mqtt: Lifespan, method: str = "GET", kind: str = "http") -> tuple[int, bytes]:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await mqtt.health({"type": kind, "method": method, "headers": []}, receive, send)
    if kind == "websocket":
        return said[0]["code"], b""
    headers = dict(said[0]["headers"])
    body: bytes = said[1]["body"]
    assert method == "HEAD" or int(headers[b"content-length"]) == len(body)
    return said[0]["status"], body


async def test_a_client_lives_as_long_as_the_application() -> None:
    async with curier.Broker("tcp://127.0.0.1:0") as broker:
        mqtt = curier.asgi.client(f"mqtt://127.0.0.1:{broker.port}", client_id="web")
        assert await health(mqtt) == (503, b'{"client": "not connected"}')
        with pytest.raises(RuntimeError, match="the application does not run"):
            _ = mqtt.client
        for _ in range(2):  # an application may start again
            async with mqtt(object()) as state:
                assert state == {"mqtt": mqtt.client}
                assert mqtt.is_healthy
                assert await health(mqtt) == (200, b'{"client": "connected"}')
                assert "web" in broker.core.sessions
            assert "web" not in broker.core.sessions
            assert (await health(mqtt))[0] == 503


async def test_health_is_that_of_the_connection() -> None:
    broker = curier.Broker("tcp://127.0.0.1:0")
    async with broker:
        mqtt = curier.asgi.client(f"mqtt://127.0.0.1:{broker.port}")
        async with mqtt():
            assert mqtt.is_healthy
            await broker.stop()
            async for event in mqtt.client.events():
                if isinstance(event, curier.Reconnecting):
                    break
            assert await health(mqtt) == (503, b'{"client": "not connected"}')


async def test_a_broker_lives_as_long_as_the_application_and_its_client_shorter() -> None:
    port = free_port()
    broker = curier.Broker(f"tcp://127.0.0.1:{port}")
    mqtt = curier.asgi.client(f"mqtt://127.0.0.1:{port}", broker=broker)
    async with mqtt() as state:
        assert state == {"mqtt": mqtt.client, "broker": broker}
        assert await health(mqtt) == (200, b'{"client": "connected", "broker": "serving"}')
        assert await health(mqtt, "HEAD") == (200, b"")
        assert await health(mqtt, "POST") == (405, b"{}")
        assert await health(mqtt, kind="websocket") == (1008, b"")
    assert not broker.is_serving


async def test_a_broker_alone() -> None:
    broker = curier.Broker(None)
    mqtt = curier.asgi.broker(broker)
    assert await health(mqtt) == (503, b'{"broker": "not serving"}')
    async with mqtt():
        assert await health(mqtt) == (200, b'{"broker": "serving"}')
        with pytest.raises(RuntimeError, match="it was made without one"):
            _ = mqtt.client


async def test_what_cannot_be_is_told_where_it_is_written() -> None:
    with pytest.raises(ConfigError):
        curier.asgi.client("http://broker.example")
    with pytest.raises(TypeError):
        curier.asgi.client("mqtt://broker.example", colour="green")


async def test_an_application_whose_broker_is_not_there_does_not_start_unless_it_may() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    broker = curier.Broker(None)
    with pytest.raises(ConnectionLost):
        async with curier.asgi.client(url, broker=broker)():
            raise AssertionError
    assert not broker.is_serving  # what had been started is stopped
    patient = curier.asgi.client(url, retry_first_connect=True)
    async with patient():
        assert not patient.is_healthy
