"""The blocking client against curier's own broker, from ordinary threads."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import curier
from curier.client.client import Client
from curier.client.events import Event
from curier.client.loop_thread import LoopThread
from curier.client.sync import SyncClient
from curier.trace.events import Packet
from curier.trace.summaries import summary
from tests.waiting import PATIENCE

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
        assert receipt.result(timeout=PATIENCE).reason_code == 0x10  # nobody subscribes
        assert receipt.done()
        assert client.publish_many((("a", str(number)) for number in range(250)), qos=1) == 250


def test_manual_acknowledgement(url: str) -> None:
    with curier.connect_sync(url, receive_maximum=1) as client:
        with client.subscribe("a", qos=1, ack="manual") as stream:
            client.publish_many([("a", "1"), ("a", "2")], qos=1)
            first = stream.get(timeout=PATIENCE)
            with pytest.raises(TimeoutError):
                stream.get(timeout=0.05)
            first.ack()
            assert stream.get(timeout=PATIENCE).payload == b"2"


def test_request_and_serve(url: str) -> None:
    with curier.connect_sync(url) as server, curier.connect_sync(url) as client:
        with server.serve("service") as requests, ThreadPoolExecutor() as pool:

            def answer() -> None:
                for _ in range(3):
                    request = next(requests)
                    request.reply(request.payload * 2)

            answering = pool.submit(answer)
            for word in (b"a", b"b", b"c"):
                assert client.request("service", word, timeout=PATIENCE).payload == word * 2
            answering.result(timeout=PATIENCE)


def test_from_many_threads(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=1) as stream:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: client.publish("a", str(number), qos=1), range(100)))
        assert {int(stream.get(timeout=PATIENCE).payload) for _ in range(100)} == set(range(100))


def test_events(url: str) -> None:
    seen: list[Event] = []
    with curier.connect_sync(url) as client:
        events = client.events()
        watching = threading.Thread(target=lambda: seen.extend(events))
        watching.start()
        client.disconnect()
        watching.join(timeout=PATIENCE)
    assert seen == [curier.Closed(None)]


def test_events_with_a_timeout(url: str) -> None:
    with curier.connect_sync(url) as client:
        events = client.events()
        with pytest.raises(TimeoutError):
            events.get(timeout=0.05)
        client.disconnect()
        assert events.get(timeout=PATIENCE) == curier.Closed(None)
        with pytest.raises(curier.ConnectionLost, match="over"):
            events.get(timeout=PATIENCE)
        assert list(events) == []


def test_requests_with_a_timeout(url: str) -> None:
    with curier.connect_sync(url) as client, client.serve("service") as requests:
        with pytest.raises(TimeoutError):
            requests.get(timeout=0.05)
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(client.request, "service", "hi", timeout=PATIENCE)
            requests.get(timeout=PATIENCE).reply("there")
            assert asking.result(timeout=PATIENCE).payload == b"there"


def test_a_message_that_is_there(url: str) -> None:
    with curier.connect_sync(url, receive_maximum=1) as client:
        with client.subscribe("a", qos=1, ack="manual") as stream:
            assert stream.get_nowait() is None
            client.publish_many([("a", "1"), ("a", "2")], qos=1)
            while (message := stream.get_nowait()) is None:
                time.sleep(0.01)
            message.ack()
            assert stream.get(timeout=PATIENCE).payload == b"2"


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
        assert publishing.result(timeout=PATIENCE) == 15
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
            reading.result(timeout=PATIENCE)


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
        "message_of",
        "outbox",
        "publish_within",
        "tell",
    }
    assert public - inner <= {name for name in dir(SyncClient) if not name.startswith("_")}
    assert not asyncio.iscoroutinefunction(SyncClient.publish)


def test_publish_many_hands_over_each_item_as_it_comes(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=1) as stream:

        def source() -> Iterator[tuple[str, str]]:
            for number in range(5):
                yield "a", str(number)
                # It is on its way before the next is taken.
                assert stream.get(timeout=PATIENCE).payload == b"%d" % number

        assert client.publish_many(source(), qos=1) == 5


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_was_taken_from_the_source_is_delivered_though_it_is_interrupted(url: str, qos: int) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=2) as stream:

        def source() -> Iterator[tuple[str, str]]:
            for number in range(74):
                yield "a", str(number)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            client.publish_many(source(), qos=qos)
        assert [int(stream.get(timeout=PATIENCE).payload) for _ in range(74)] == list(range(74))


def test_publish_many_raises_the_first_refusal_and_takes_no_more(url: str) -> None:
    taken = []

    def source() -> Iterator[tuple[str, str]]:
        for number in range(10_000):
            taken.append(number)
            yield ("$SYS/no" if number == 7 else "a", "")

    with curier.connect_sync(url) as client:
        with pytest.raises(curier.PublishRefused):
            client.publish_many(source(), qos=1, window=5)
        assert len(taken) < 30
        with pytest.raises(curier.LocalProtocolError):
            client.publish_many([("a/#", "")], qos=1)
        with pytest.raises(TypeError):
            client.publish_many([("a", {})], qos=1)  # type: ignore[list-item]
        assert client.publish_many([]) == 0


def test_messages_keep_their_order_whatever_their_qos(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=2) as stream:
        for number in range(3000):
            client.publish("a", str(number), qos=1 if number % 500 == 499 else 0)
        assert [int(stream.get(timeout=PATIENCE).payload) for _ in range(3000)] == list(range(3000))


def test_publishing_at_qos_0_says_at_once_what_is_wrong(url: str) -> None:
    with curier.connect_sync(url) as client:
        for topic, error in (("a/#", curier.LocalProtocolError), ("\ud800", curier.LocalProtocolError)):
            with pytest.raises(error):
                client.publish(topic)
        with pytest.raises(TypeError):
            client.publish("a", {})  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            client.publish("a", qos=False)
        assert client.publish("a", retain=True) == curier.PublishResult()
    with pytest.raises(curier.MqttError, match="closed"):
        client.publish("a")


def test_an_interrupted_read_loses_nothing(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=1) as stream:
        got: list[int] = []
        sending = threading.Thread(
            target=lambda: client.publish_many((("a", str(number)) for number in range(2000)), qos=1)
        )
        sending.start()
        while len(got) < 2000:
            try:
                got.append(int(stream.get(timeout=0.0001).payload))
            except TimeoutError:
                continue
        sending.join(timeout=PATIENCE)
        assert got == list(range(2000))


def test_threads_share_a_stream_and_none_starves(url: str) -> None:
    """One that is busy with a message keeps none of the others from being read."""
    with curier.connect_sync(url) as client, client.subscribe("a", qos=1) as stream:
        barrier = threading.Barrier(4)

        def work(_: int) -> bytes:
            message = stream.get(timeout=PATIENCE)
            barrier.wait(timeout=PATIENCE)
            return message.payload

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work, number) for number in range(4)]
            time.sleep(0.05)
            client.publish_many([("a", str(number)) for number in range(4)], qos=1)
            assert {one.result(timeout=PATIENCE) for one in working} == {b"0", b"1", b"2", b"3"}


def test_what_no_thread_has_taken_is_not_acknowledged(url: str) -> None:
    with curier.connect_sync(url, client_id="me", clean_start=False) as client:
        with client.subscribe("a", qos=1) as stream:
            client.publish_many([("a", str(number)) for number in range(50)], qos=1)
            assert [int(stream.get(timeout=PATIENCE).payload) for _ in range(3)] == [0, 1, 2]
    with curier.connect_sync(url, client_id="me", clean_start=False) as client:
        with client.subscribe("a", qos=1) as stream:
            assert [int(stream.get(timeout=PATIENCE).payload) for _ in range(47)] == list(range(3, 50))


def test_a_session_on_disk_notes_each_message_before_a_thread_has_it(url: str, tmp_path: Path) -> None:
    def session() -> curier.Session:
        return curier.Session.disk(tmp_path)

    with curier.connect_sync(url, client_id="me", session=session()) as client:
        with client.subscribe("a", qos=2) as stream:
            client.publish_many([("a", str(number)) for number in range(10)], qos=2)
            for number in range(4):
                assert int(stream.get(timeout=PATIENCE).payload) == number
                identifiers = client.client._life.connector.state.incoming.identifiers  # type: ignore[union-attr]
                assert len(identifiers) <= number + 1
            assert len(stream) == 6
    with curier.connect_sync(url, client_id="me", session=session()) as client:
        with client.subscribe("a", qos=2) as stream:
            assert [int(stream.get(timeout=PATIENCE).payload) for _ in range(6)] == list(range(4, 10))


def test_ctrl_c_ends_the_waits(url: str) -> None:
    """In a program of its own: the signal comes while it reads, and while it publishes."""
    program = f"""
import os, signal, threading, time, curier
def interrupt():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
with curier.connect_sync({url!r}) as client, client.subscribe("a", qos=1) as stream:
    try:
        threading.Thread(target=interrupt).start()
        next(stream)
    except KeyboardInterrupt:
        client.publish("a", "x", qos=1)
        print(stream.get(timeout={PATIENCE}).payload)
    def source():
        for number in range(3):
            yield "a", str(number)
        threading.Thread(target=interrupt).start()
        time.sleep(60)
    try:
        client.publish_many(source(), qos=1)
    except KeyboardInterrupt:
        print([stream.get(timeout={PATIENCE}).payload for _ in range(3)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("b'x'\n[b'0', b'1', b'2']\n", "")


def test_what_it_sends_and_gets_can_be_watched(url: str) -> None:
    with curier.connect_sync(url) as client, client.trace() as trace:
        client.publish("a", "x", qos=1)
        names = [summary(event) for event in trace.take() if isinstance(event, Packet)]
        assert [name.split()[0] for name in names] == ["PUBLISH", "PUBACK"]
        client.publish("a", "y")
        assert isinstance(next(trace), Packet)
        trace.close()
        client.publish("a", "z", qos=1)
        assert list(trace) == []
