"""Dialing WebSocket servers: those of the package ``websockets``, our own role, and scripted bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from curier.client.dial import TlsSettings
from curier.errors import ConnectionLost
from tests.client.certificates import Certificates, make_certificates
from tests.client.servers import (
    Handler,
    Proxy,
    call,
    cancel_everywhere,
    mute,
    on_every_loop,
    saying,
    serving,
)
from tests.net.web_server import WebServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def library_server(**settings: Any) -> AsyncIterator[tuple[int, list[Request]]]:
    """An echo server of the package ``websockets``, as users run them; and the requests it got."""
    requests: list[Request] = []

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        requests.append(connection.request)
        async for message in connection:
            assert isinstance(message, bytes)
            await connection.send(message)

    settings = {"subprotocols": ["mqtt"], "close_timeout": 0.5, **settings}
    async with serve(answer, "127.0.0.1", 0, **settings) as server:
        (sock,) = server.sockets
        yield sock.getsockname()[1], requests


def scripted(then: Callable[[ServerProtocol], None], **settings: Any) -> Handler:
    """A handler that accepts the WebSocket and does what ``then`` does to it, whatever the client says."""
    settings = {"subprotocols": [Subprotocol("mqtt")], **settings}

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = ServerProtocol(**settings)
        while not (events := server.events_received()):
            server.receive_data(await reader.read(65_536))
        (request,) = events
        assert isinstance(request, Request)
        server.send_response(server.accept(request))
        then(server)
        writer.writelines(server.data_to_send())
        await mute(reader, writer)

    return handler


async def until_lost(url: str, **settings: Any) -> None:
    """Raise the reason why a connection is lost: at once, where that comes with the handshake, or later."""
    user = await call(url, **settings)
    await user.until(lambda: user.is_lost)
    raise user.error or AssertionError("no reason given")


@on_every_loop
async def test_websocket() -> None:
    async with library_server() as (port, requests):
        user = await call(
            f"ws://127.0.0.1:{port}/some/path?key=%20value", websocket_headers=(("X-Key", "abc"),)
        )
        assert await user.ask(b"hello") == b"hello"
        assert await user.ask(b"x" * 500_000) == b"x" * 500_000
        await user.close()
        assert user.error is None
    assert requests[0].path == "/some/path?key=%20value"
    assert requests[0].headers["X-Key"] == "abc"
    assert requests[0].headers["Host"] == f"127.0.0.1:{port}"
    assert "Authorization" not in requests[0].headers


@on_every_loop
async def test_user_and_password_are_mqtts_not_https() -> None:
    async with library_server() as (port, requests):
        user = await call(f"ws://me:s3cret@127.0.0.1:{port}")
        await user.close()
    assert "s3cret" not in str(requests[0].headers)
    assert "Authorization" not in requests[0].headers
    assert requests[0].path == "/mqtt"


@on_every_loop
async def test_websocket_in_tls(certificates: Certificates) -> None:
    async with library_server(ssl=certificates.server()) as (port, _):
        user = await call(f"wss://localhost:{port}/mqtt", tls=TlsSettings(ca_file=certificates.ca))
        assert await user.ask(b"x" * 500_000) == b"x" * 500_000
        assert user.transport is not None
        assert user.transport.get_extra_info("ssl_object") is not None
        await user.close()
        assert user.error is None
        with pytest.raises(ConnectionLost, match="the certificate of localhost is not valid"):
            await call(f"wss://localhost:{port}/mqtt")


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_every_loop
async def test_websocket_behind_a_proxy(certificates: Certificates, kind: str, scheme: str) -> None:
    secure = scheme == "wss"
    proxy = Proxy(kind, "me", "pw")
    settings: dict[str, Any] = {"tls": TlsSettings(ca_file=certificates.ca)} if secure else {}
    async with (
        library_server(ssl=certificates.server() if secure else None) as (port, requests),
        serving(proxy.handle) as at,
    ):
        user = await call(
            f"{scheme}://broker.test:{port}", proxy=f"{kind}://me:pw@127.0.0.1:{at}", **settings
        )
        assert await user.ask(b"hello") == b"hello"
        await user.close()
        assert requests[0].headers["Host"] == f"broker.test:{port}"
    assert proxy.asked == [("broker.test", port)]


@on_every_loop
async def test_our_own_server(certificates: Certificates) -> None:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    loop = asyncio.get_running_loop()
    for scheme, context in (("ws", None), ("wss", certificates.server())):
        settings: dict[str, Any] = {} if context is None else {"tls": TlsSettings(ca_file=certificates.ca)}
        server = await loop.create_server(
            lambda: WebServer(Echo, paths=("/mqtt",)), "127.0.0.1", 0, ssl=context
        )
        port = server.sockets[0].getsockname()[1]
        user = await call(f"{scheme}://localhost:{port}", **settings)
        assert await user.ask(b"x" * 500_000) == b"x" * 500_000
        await user.close()
        assert user.error is None
        with pytest.raises(ConnectionLost, match="404 Not Found; is the path right"):
            await call(f"{scheme}://localhost:{port}/other", **settings)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


@pytest.mark.statement("5.0/MQTT-6.0.0-3", "3.1.1/MQTT-6.0.0-3")
@on_every_loop
async def test_mqtt_is_among_the_offered_subprotocols() -> None:
    async with library_server() as (port, requests):
        await (await call(f"ws://127.0.0.1:{port}")).close()
    assert requests[0].headers["Sec-WebSocket-Protocol"] == "mqtt"


@pytest.mark.statement("5.0/MQTT-6.0.0-4", "3.1.1/MQTT-6.0.0-4")
@on_every_loop
async def test_a_server_without_the_subprotocol() -> None:
    async with serving(scripted(lambda server: None, subprotocols=None)) as port:
        with pytest.raises(ConnectionLost, match="did not choose the WebSocket subprotocol mqtt"):
            await call(f"ws://127.0.0.1:{port}")


@pytest.mark.statement("5.0/MQTT-6.0.0-1", "3.1.1/MQTT-6.0.0-1")
@on_every_loop
async def test_a_text_frame() -> None:
    async with serving(scripted(lambda server: server.send_text(b"hello"))) as port:
        with pytest.raises(ConnectionLost, match="text frame; MQTT takes binary ones only"):
            await until_lost(f"ws://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (lambda server: server.send_close(1008, "not here"), "closed the WebSocket: 1008 .* not here"),
        (lambda server: server.send_binary(b"x" * 2000), "frame of more than 1000 bytes"),
        (lambda server: server.writes.append(b"\xc1\x00"), "broke a rule of WebSocket"),
    ],
    ids=["close", "huge", "broken"],
)
@on_every_loop
async def test_a_server_that_ends_it(then: Callable[[ServerProtocol], None], said: str) -> None:
    async with serving(scripted(then)) as port:
        with pytest.raises(ConnectionLost, match=said):
            await until_lost(f"ws://127.0.0.1:{port}", max_frame_bytes=1000)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            "at /x: 404 Not Found; is the path right?",
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\nuntil the end", "404 Not Found"),
        (b"HTTP/1.1 401 Who\x1b are you\r\nContent-Length: 0\r\n\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "403 No; it may want other headers"),
        (b"HTTP/1.1 301 Moved\r\nLocation: wss://o/\r\nContent-Length: 0\r\n\r\n", "it points to wss://o/"),
        (b"HTTP/1.1 101 Ok\r\n\r\n", "the server's WebSocket handshake is wrong: missing Connection header"),
        (b"\x20\x02\x00\x00\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 101 Switch", "closed the connection during the WebSocket handshake"),
        (b"", "closed the connection during the WebSocket handshake"),
        (b"HTTP/1.1 101 " + b"x" * 9000, "does it speak WebSocket there?"),
    ],
)
@on_every_loop
async def test_answers_that_are_no_handshake(answer: bytes, said: str) -> None:
    async with serving(saying(answer)) as port:
        with pytest.raises(ConnectionLost) as caught:
            await call(f"ws://127.0.0.1:{port}/x")
    assert said in str(caught.value)


@on_every_loop
async def test_the_time_limit_covers_the_handshake() -> None:
    async with serving(mute) as port:
        with pytest.raises(ConnectionLost, match="the server did not finish the WebSocket handshake"):
            await call(f"ws://127.0.0.1:{port}", timeout=1.0)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_every_loop
async def test_cut_after_every_byte(certificates: Certificates, scheme: str) -> None:
    secure = scheme == "wss"
    settings: dict[str, Any] = {"tls": TlsSettings(ca_file=certificates.ca)} if secure else {}
    async with library_server(ssl=certificates.server() if secure else None) as (port, _):

        async def through(proxy: Proxy) -> bytes:
            async with serving(proxy.handle) as at:
                user = await call(
                    f"{scheme}://broker.test:{port}", proxy=f"http://127.0.0.1:{at}", **settings
                )
                try:
                    return await user.ask(b"hello")
                finally:
                    await user.close()

        whole = Proxy("http")
        assert await through(whole) == b"hello"
        refused = 0
        for limit in range(1, whole.sent, 61 if secure else 3):
            try:
                data = await through(Proxy("http", limit=limit))
            except ConnectionLost:
                refused += 1
            else:
                assert b"hello".startswith(data)
        assert refused > 10


@on_every_loop
async def test_cancelled_at_every_step_it_leaves_nothing_open() -> None:
    async with library_server() as (port, _):
        await cancel_everywhere(f"ws://127.0.0.1:{port}")


@on_every_loop
async def test_backpressure_reaches_the_user() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        await mute(reader, writer)

    released = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = ServerProtocol(subprotocols=[Subprotocol("mqtt")])
        while not (events := server.events_received()):
            server.receive_data(await reader.read(65_536))
        (request,) = events
        assert isinstance(request, Request)
        server.send_response(server.accept(request))
        writer.writelines(server.data_to_send())
        await deaf(reader, writer)

    async with serving(handler) as port:
        user = await call(f"ws://127.0.0.1:{port}")
        assert user.transport is not None
        written = 0
        while "pause" not in user.calls:
            user.transport.write(b"x" * 100_000)
            written += 100_000
            await asyncio.sleep(0)
            assert written < 2**28
        assert user.transport.get_write_buffer_size() > 0
        released.set()
        await user.until(lambda: "resume" in user.calls)
        assert user.calls == ["made", "pause", "resume"]
        user.transport.abort()
        await user.until(lambda: user.is_lost)


@on_every_loop
async def test_reading_can_be_paused() -> None:
    async with library_server() as (port, _):
        user = await call(f"ws://127.0.0.1:{port}")
        assert user.transport is not None
        user.transport.pause_reading()
        user.transport.write(b"hello")
        await asyncio.sleep(0.05)
        assert user.data == b""
        user.transport.resume_reading()
        await user.until(lambda: user.data == b"hello")
        await user.close()
