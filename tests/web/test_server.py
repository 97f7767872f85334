"""The window on real sockets: opened and closed with a broker, whoever is connected."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import httpx
import pytest
import trustme

import curier
from curier.errors import ConfigError
from curier.server import Broker
from curier.web import http
from curier.web.server import Web
from curier.web.serving import Serving
from tests.web.asking import ANYWHERE, serving, window


async def test_health_and_readiness() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).text == "ready\n"
        broker.core.store_failed("No space left on device")
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "the disk takes nothing: No space left on device\n")
        await broker.stop()
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_no_answer_waits_for_an_acknowledgement_of_its_head() -> None:
    """Head and body are two writes: without TCP_NODELAY the second stays behind for 40 ms."""
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (web, client):
        await client.get("/healthz")
        [connection] = serving(web).server._state.connections
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_what_is_not_there_says_where_to_look() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        missing = await client.get("/nothing")
        assert missing.status_code == 404
        assert "api/v1/" in missing.json()["detail"]
        assert (await client.post("/healthz")).status_code == 405


async def test_the_next_port_is_taken_only_where_any_will_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
            with pytest.raises(OSError, match="in use"):
                await Web(broker, url).start()
            async with Web(broker, url, may_be_next=True) as web:
                assert web.urls != [url]
                assert web.urls[0].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1", "http://", "http://127.0.0.1/path", "http://127.0.0.1:x", "https://127.0.0.1:0"],
)
async def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError):
        Web(Broker(listen=["tcp://127.0.0.1:0"]), url)


async def test_the_ports_of_mqtt_are_left_to_it() -> None:
    with pytest.raises(ConfigError, match="port 8883 is for MQTT; 9883"):
        Web(Broker(listen=["tcp://127.0.0.1:0"]), "http://127.0.0.1:8883")


async def test_metrics_are_open_on_loopback_or_where_that_is_set() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        async with window(broker, url="http://0.0.0.0:0") as (web, client):
            client.base_url = web.urls[0].replace("0.0.0.0", "127.0.0.1")
            assert (await client.get("/metrics")).status_code == 401
            assert (await client.get("/healthz")).status_code == 200
        async with window(broker, url="http://0.0.0.0:0", open_metrics=True) as (web, client):
            client.base_url = web.urls[0].replace("0.0.0.0", "127.0.0.1")
            assert (await client.get("/metrics")).status_code == 200


async def test_https_with_a_certificate_that_is_renewed(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "web.pem", tmp_path / "web.key"

    def issue() -> bytes:
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        return issued.cert_chain_pems[0].bytes()

    context = ssl.create_default_context()
    authority.configure_trust(context)
    first = issue()
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        async with Web(broker, "https://127.0.0.1:0", certificate=str(certificate), key=str(key)) as web:
            assert web.urls[0].startswith("https://127.0.0.1:")
            url = web.urls[0].replace("127.0.0.1", "localhost")

            async def shown() -> bytes:
                async with httpx.AsyncClient(verify=context, trust_env=False, timeout=100) as client:
                    async with client.stream("GET", f"{url}/healthz") as answer:
                        stream = answer.extensions["network_stream"]
                        return bytes(stream.get_extra_info("ssl_object").getpeercert(binary_form=True))

            assert await shown() == ssl.PEM_cert_to_DER_cert(first.decode())
            second = issue()
            assert web._tls is not None
            web._tls._certificates.look()
            assert await shown() == ssl.PEM_cert_to_DER_cert(second.decode())


async def connected(web: Web) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(web.urls[0].rpartition(":")[2]))


async def is_cut(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_it_stops_with_connections_that_say_nothing() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        web = Web(broker, ANYWHERE)
        await web.start()
        reader, writer = await connected(web)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")  # and no end
        await writer.drain()
        await web.stop()
        assert await is_cut(reader)
        writer.close()


async def test_who_asks_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.01)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, Web(broker, ANYWHERE) as web:
        reader, writer = await connected(web)
        writer.write(b"GET /")
        assert await is_cut(reader)
        writer.close()


async def test_there_may_be_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_CONNECTIONS", 1)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (web, client):
        assert (await client.get("/healthz")).status_code == 200
        reader, writer = await connected(web)
        assert await is_cut(reader)
        writer.close()
        assert (await client.get("/healthz")).status_code == 200


async def test_junk_is_refused() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, Web(broker, ANYWHERE) as web:
        reader, writer = await connected(web)
        writer.write(bytes.fromhex("10 0e 0004 4d515454 04 02 003c 0002 6331"))  # an MQTT client
        writer.write(b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_what_answers_is_made_when_the_first_comes() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (web, client):
        assert web.serving is None
        answers = await asyncio.gather(*(client.get("/healthz") for _ in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5
        assert serving(web).scene.broker is broker


async def test_it_stops_while_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def made(web: Web) -> Serving:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60)
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr(Web, "_made", made)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        web = Web(broker, ANYWHERE)
        await web.start()
        reader, writer = await connected(web)
        await begun.wait()
        await web.stop()
        assert await is_cut(reader)
        writer.close()
    go_on.set()


async def test_what_cannot_be_loaded_closes_the_window_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def made(web: Web) -> Serving:
        raise ImportError("no such thing")

    monkeypatch.setattr(Web, "_made", made)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, Web(broker, ANYWHERE) as web:
        reader, writer = await connected(web)
        assert await is_cut(reader)
        writer.close()
        assert "the window cannot be opened" in caplog.text
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}"):
            pass
