"""The blocking client against curier's own broker, from ordinary threads."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import curier
from curier.client.client import Client
from curier.client.events import Event
from curier.client.sync import LoopThread, SyncClient

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> Iterator[str]:
    """That of a broker in a thread of its own."""
    thread = LoopThread()

    async def start() -> curier.Broker:
        broker = curier.Broker(listen=["tcp://127.0.0.1:0"])
        await broker.start()
        return broker

    broker = thread.run(start())
    yield f"mqtt://127.0.0.1:{broker.port}"
    thread.run(broker.stop())
    thread.stop()


def test_publish_and_receive(url: str) -> None:
    with curier.connect_sync(url, client_id="me") as client:
        assert client.is_connected
        assert (client.client_id, client.version) == ("me", 5)
        with client.subscribe("a/#", qos=2) as stream:
            assert stream.granted == (2,)
            assert stream.topic_filters == ("a/#",)
            for qos in (0, 1, 2):
                assert client.publish(f"a/{qos}", "x", qos=qos) == curier.PublishResult()
            assert [next(stream).topic for _ in range(3)] == ["a/0", "a/1", "a/2"]
            with pytest.raises(TimeoutError):
                stream.get(timeout=0.05)
        assert list(stream) == []
        assert client.statistics.messages_received == 3
    assert not client.client.is_connected
    assert not any(thread.name == "curier" and thread.is_alive() for thread in _threads_of(client))


def _threads_of(client: SyncClient) -> list[threading.Thread]:
    return [client._thread._thread] if client._thread is not None else []


def test_receipts(url: str) -> None:
    with curier.connect_sync(url) as client:
        receipt = client.publish_nowait("a", "x", qos=2)
        assert receipt.result(timeout=10).reason_code == 0x10  # nobody subscribes
        assert receipt.done()
        assert client.publish_many((("a", str(number)) for number in range(250)), qos=1) == 250


def test_manual_acknowledgement(url: str) -> None:
    with curier.connect_sync(url, receive_maximum=1) as client:
        with client.subscribe("a", qos=1, ack="manual") as stream:
            client.publish_many([("a", "1"), ("a", "2")], qos=1)
            first = stream.get(timeout=10)
            with pytest.raises(TimeoutError):
                stream.get(timeout=0.05)
            first.ack()
            assert stream.get(timeout=10).payload == b"2"


def test_request_and_serve(url: str) -> None:
    with curier.connect_sync(url) as server, curier.connect_sync(url) as client:
        with server.serve("service") as requests, ThreadPoolExecutor() as pool:

            def answer() -> None:
                for _ in range(3):
                    request = next(requests)
                    request.reply(request.payload * 2)

            answering = pool.submit(answer)
            for word in (b"a", b"b", b"c"):
                assert client.request("service", word, timeout=10).payload == word * 2
            answering.result(timeout=10)


def test_from_many_threads(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=1) as stream:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: client.publish("a", str(number), qos=1), range(100)))
        assert {int(stream.get(timeout=10).payload) for _ in range(100)} == set(range(100))


def test_events(url: str) -> None:
    seen: list[Event] = []
    with curier.connect_sync(url) as client:
        events = client.events()
        watching = threading.Thread(target=lambda: seen.extend(events))
        watching.start()
        client.disconnect()
        watching.join(timeout=10)
    assert seen == [curier.Closed(None)]


def test_events_with_a_timeout(url: str) -> None:
    with curier.connect_sync(url) as client:
        events = client.events()
        with pytest.raises(TimeoutError):
            events.get(timeout=0.05)
        client.disconnect()
        assert events.get(timeout=10) == curier.Closed(None)
        with pytest.raises(curier.ConnectionLost, match="over"):
            events.get(timeout=10)
        assert list(events) == []


def test_requests_with_a_timeout(url: str) -> None:
    with curier.connect_sync(url) as client, client.serve("service") as requests:
        with pytest.raises(TimeoutError):
            requests.get(timeout=0.05)
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(client.request, "service", "hi", timeout=10)
            requests.get(timeout=10).reply("there")
            assert asking.result(timeout=10).payload == b"there"


def test_a_message_that_is_there(url: str) -> None:
    with curier.connect_sync(url, receive_maximum=1) as client:
        with client.subscribe("a", qos=1, ack="manual") as stream:
            assert stream.get_nowait() is None
            client.publish_many([("a", "1"), ("a", "2")], qos=1)
            while (message := stream.get_nowait()) is None:
                time.sleep(0.01)
            message.ack()
            assert stream.get(timeout=10).payload == b"2"


class Miser:
    """A server that acknowledges the first five of ten messages, and the others when five more have come."""

    def __init__(self) -> None:
        self.found: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        identifiers: list[bytes] = []
        while head := await reader.read(2):
            body = await reader.readexactly(head[1])
            if head[0] == 0x10:
                writer.write(b"\x20\x03\x00\x00\x00")
            elif head[0] == 0x32:  # PUBLISH to "a" with QoS 1
                identifiers.append(body[3:5])
                self.found.append(body[6:])
                for count, some in ((10, slice(5)), (15, slice(5, 15))):
                    if len(identifiers) == count:
                        writer.writelines([b"\x40\x02" + identifier for identifier in identifiers[some]])
        writer.close()


def test_publish_many_keeps_its_window_full() -> None:
    thread, miser = LoopThread(), Miser()
    server = thread.run(asyncio.start_server(miser.serve, "127.0.0.1", 0))
    url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with ThreadPoolExecutor() as pool, curier.connect_sync(url) as client:
        pairs = [("a", str(number)) for number in range(15)]
        publishing = pool.submit(client.publish_many, iter(pairs), qos=1, window=10)
        assert publishing.result(timeout=10) == 15
        assert miser.found == [str(number).encode() for number in range(15)]
        with pytest.raises(curier.ConfigError, match="window"):
            client.publish_many(pairs, window=0)

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    thread.run(stop())
    thread.stop()


def test_a_refused_connection_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(curier.ConnectionLost):
        curier.connect_sync("mqtt://127.0.0.1:1", connect_timeout=5).__enter__()
    assert threading.active_count() == before


def test_before_and_after_the_context(url: str) -> None:
    client = curier.connect_sync(url)
    with pytest.raises(curier.MqttError, match="with"):
        client.publish("a")
    with client:
        pass
    with pytest.raises(curier.MqttError, match="closed"):
        client.publish("a")


def test_waiting_ends_with_the_client(url: str) -> None:
    with ThreadPoolExecutor() as pool:
        with curier.connect_sync(url) as client:
            stream = client.subscribe("a").open()
            reading = pool.submit(stream.get)
            time.sleep(0.05)
        with pytest.raises(curier.ConnectionLost, match="closed"):
            reading.result(timeout=10)


def test_it_has_the_names_of_the_async_client() -> None:
    public = {name for name, _ in inspect.getmembers(Client) if not name.startswith("_")}
    inner = {
        "make_link",
        "on_answered",
        "on_connected",
        "on_failure",
        "on_lost",
        "on_room",
        "on_turn",
        "publish_within",
        "tell",
    }
    assert public - inner <= {name for name in dir(SyncClient) if not name.startswith("_")}
    assert not asyncio.iscoroutinefunction(SyncClient.publish)
