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
        "tell",
    }
    assert public - inner <= {name for name in dir(SyncClient) if not name.startswith("_")}
    assert not asyncio.iscoroutinefunction(SyncClient.publish)
