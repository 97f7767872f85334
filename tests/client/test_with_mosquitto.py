"""The client and Mosquitto, a server that somebody else has written."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import curier
from tests.client.any_server import overlapping_streams_each_get_a_message_once
from tests.client.stage import Watch
from tests.conftest import require_peer
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.interop, pytest.mark.slow]

QUICK = curier.Reconnect(first=0.05, longest=0.2)
TWO = (("one", 1), ("two", 2))

# Mosquitto 2.0 keeps no session on its disk whose last CONNECT had Clean Start 1, whatever it is to last.
KEPT: dict[str, Any] = {"client_id": "me", "clean_start": False}


@contextlib.asynccontextmanager
async def mosquitto(folder: Path, port: int, *lines: str) -> AsyncIterator[str]:
    """A Mosquitto with these lines of configuration; its URL."""
    program = require_peer("mosquitto")
    config = folder / "mosquitto.conf"
    text = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence false",
        "max_queued_messages 0",
    ]
    text += lines
    config.write_text("\n".join(text) + "\n")
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        await until(listens, pause=0.05)
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_every_qos_there_and_back(tmp_path: Path, version: int) -> None:
    async with (
        mosquitto(tmp_path, free_port()) as url,
        curier.connect(url, client_id="me", version=version) as client,
        client.subscribe("a/#", qos=2) as stream,
    ):
        for qos in (0, 1, 2):
            await client.publish(f"a/{qos}", str(qos), qos=qos)
            message = await stream.get(timeout=PATIENCE)
            assert message == curier.Message(f"a/{qos}", str(qos).encode(), curier.QoS(qos))
        count = await client.publish_many((("a", str(number)) for number in range(1000)), qos=2)
        assert [int((await stream.get(timeout=PATIENCE)).payload) for _ in range(count)] == list(range(1000))


async def test_request_and_serve(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path, free_port()) as url,
        curier.connect(url) as client,
        client.serve("service") as requests,
    ):

        async def answer() -> None:
            async for request in requests:
                await request.reply(request.payload.upper())

        answering = asyncio.ensure_future(answer())
        assert (await client.request("service", "hi", timeout=PATIENCE)).payload == b"HI"
        with pytest.raises(curier.PublishRefused, match="nobody"):
            await client.request("nowhere", "hi", timeout=PATIENCE)
        answering.cancel()
        await asyncio.wait([answering])


async def test_the_limits_it_announces(tmp_path: Path) -> None:
    lines = ("max_packet_size 1000", "max_inflight_messages 3", "retain_available false", "max_qos 1")
    async with mosquitto(tmp_path, free_port(), *lines) as url, curier.connect(url) as client:
        assert client.server_properties.receive_maximum == 3
        for settings, code in (({"qos": 2}, 0x9B), ({"retain": True}, 0x9A)):
            with pytest.raises(curier.PublishRefused) as caught:
                await client.publish("a", qos=settings.get("qos", 0), retain="retain" in settings)
            assert caught.value.reason_code == code
        with pytest.raises(curier.PublishRefused, match="1000"):
            await client.publish("a", b"x" * 1000, qos=1)
        assert await client.publish_many([("a", b"x")] * 500, qos=1) == 500
        assert client.is_connected


async def test_it_restarts_and_has_forgotten_everything(tmp_path: Path) -> None:
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        async with mosquitto(tmp_path, port) as url:
            client = await stack.enter_async_context(curier.connect(url, reconnect=QUICK))
            watch = await stack.enter_async_context(Watch(client))
            stream = await client.subscribe("a", qos=1).open()
            await client.publish("a", "0", qos=1)
        receipts = [client.publish_nowait("a", str(number), qos=1) for number in range(1, 20)]
        async with mosquitto(tmp_path, port):
            await asyncio.gather(*receipts)
            found = [(await stream.get(timeout=PATIENCE)).payload for _ in range(20)]
            assert found == [str(number).encode() for number in range(20)]
            assert "SessionLost" in watch.kinds()
            await client.disconnect()


@pytest.mark.parametrize("version", [4, 5])
async def test_messages_published_while_the_program_was_away(tmp_path: Path, version: int) -> None:
    """The session outlives the program, on its disk and on Mosquitto's, which restarts meanwhile."""
    port = free_port()
    lines = ("persistence true", f"persistence_location {tmp_path}/", "user root")

    def connect(url: str) -> curier.Client:
        session = curier.Session.disk(tmp_path / "session")
        return curier.connect(url, version=version, session=session, reconnect=QUICK, **KEPT)

    async with mosquitto(tmp_path, port, *lines) as url:
        async with connect(url) as client:
            async with client.subscribe("one", qos=1, keep=True), client.subscribe("two", qos=2, keep=True):
                pass
        async with curier.connect(url, client_id="other", version=version) as other:
            for number in range(20):
                await other.publish("one", str(number), qos=1)
                await other.publish("two", str(number), qos=2)
    async with mosquitto(tmp_path, port, *lines) as url, connect(url) as client:
        expected = [str(number).encode() for number in range(20)]
        for name, qos in (("one", 1), ("two", 2)):
            stream = client.subscribe(name, qos=qos, keep=True)
            assert [(await stream.get(timeout=PATIENCE)).payload for _ in range(20)] == expected
            assert stream.get_nowait() is None


async def read(stream: curier.Stream, count: int) -> list[bytes]:
    """Messages until so many different ones have come."""
    found: list[bytes] = []
    while len(set(found)) < count:
        found.append((await stream.get(timeout=100)).payload)
    return found


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_it_restarts_with_its_sessions(tmp_path: Path, version: int) -> None:
    """QoS 1 at least once, QoS 2 once, whatever was under way; and nothing has to be subscribed anew."""
    port = free_port()
    lines = ("persistence true", f"persistence_location {tmp_path}/", "user root")

    def connect(url: str) -> curier.Client:
        return curier.connect(url, version=version, session_expiry=1000, reconnect=QUICK, **KEPT)

    async with contextlib.AsyncExitStack() as stack:
        receipts = []
        async with mosquitto(tmp_path, port, *lines) as url:
            client = await stack.enter_async_context(connect(url))
            watch = await stack.enter_async_context(Watch(client))
            one = await client.subscribe("one", qos=1).open()
            two = await client.subscribe("two", qos=2).open()
            for number in range(300):
                receipts += [client.publish_nowait(name, str(number), qos=qos) for name, qos in TWO]
                if number == 200:
                    await receipts[100]
        async with mosquitto(tmp_path, port, *lines):
            for receipt in receipts:
                await receipt
            expected = [str(number).encode() for number in range(300)]
            # Both at once: acknowledgements leave in order, so one reader's waiting would hold up the other.
            found, exactly = await asyncio.gather(read(one, 300), read(two, 300))
            assert list(dict.fromkeys(found)) == expected
            assert exactly == expected
            assert "SessionLost" not in watch.kinds()
            assert watch.kinds().count("Connected") == 1
            await client.disconnect()


async def test_streams_that_overlap_each_get_a_message_once(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, free_port()) as url:
        await overlapping_streams_each_get_a_message_once(url)


async def held_up(watch: Watch) -> curier.HeldUp:
    """The first such event."""

    def found() -> list[curier.HeldUp]:
        return [event for event in watch.events if isinstance(event, curier.HeldUp)]

    await until(lambda: bool(found()))
    return found()[0]


async def test_a_ready_reader_loses_nothing(tmp_path: Path) -> None:
    """More comes with one chunk of the network than anybody could take in between."""
    async with (
        mosquitto(tmp_path, free_port()) as url,
        curier.connect(url) as one,
        curier.connect(url) as two,
    ):
        await one.publish_many(
            [curier.Message(f"retained/{number}", b"x", curier.QoS(1), True) for number in range(5000)]
        )
        async with two.subscribe("retained/#") as retained:
            for _ in range(5000):
                await retained.get(timeout=100)
        async with two.subscribe("flood") as stream:
            sending = asyncio.ensure_future(
                one.publish_many(("flood", f"{number:016}") for number in range(20_001))
            )
            for number in range(20_001):
                assert int((await stream.get(timeout=100)).payload) == number
            await sending
        assert two.statistics.dropped == {}


async def test_what_is_full_is_not_read_and_loses_nothing(tmp_path: Path) -> None:
    for keep_alive in (1, 5, 25):  # with a short one, a busy machine may keep it from its pings
        async with (
            mosquitto(tmp_path, free_port()) as url,
            curier.connect(url) as one,
            curier.connect(url, version=4, buffer_bytes=20_000, keep_alive=keep_alive) as two,
            Watch(two) as watch,
            two.subscribe("a", qos=1, ack="received") as stream,
        ):
            for number in range(5000):
                one.publish_nowait("a", f"{number:0100}", qos=1)
            await held_up(watch)
            await asyncio.sleep(2 * keep_alive)  # Mosquitto has less patience with a client that says nothing
            assert len(stream) < 1000
            found: list[int] = []
            while len(found) < 5000 and two.statistics.connections == 1:
                with contextlib.suppress(TimeoutError):
                    found.append(int((await stream.get(timeout=1)).payload))
            if two.statistics.connections == 1:
                break
    assert found == list(range(5000))


async def test_a_stream_that_nobody_reads_is_named(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path, free_port()) as url,
        curier.connect(url) as one,
        curier.connect(url, version=4) as two,
        Watch(two) as watch,
        two.subscribe("unread", qos=1) as unread,
        two.subscribe("other", qos=1) as other,
    ):
        await one.publish_many([("unread", "x")] * 25, qos=1)
        await one.publish("other", "y", qos=1)
        event = await held_up(watch)
        assert (event.topic_filters, event.waiting) == (("unread",), 20)
        assert len(other) == 0
        for _ in range(25):
            await unread.get(timeout=100)
        assert (await other.get(timeout=100)).payload == b"y"


MOSQUITTO_S_OWN = "max_queued_messages 1000"  # with 0 it ends the connection where it would lose a message


@pytest.mark.parametrize("line", [MOSQUITTO_S_OWN, "max_queued_messages 0"])
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_more_at_qos_2_than_it_takes_at_a_time(tmp_path: Path, version: int, line: str) -> None:
    """Before 5.0 it does not say how many that are. It acknowledges the 21st unfinished message and drops it,
    or one with QoS 1 behind 20 with QoS 2; or it ends the connection, for ever.
    """
    async with (
        mosquitto(tmp_path, free_port(), line) as url,
        curier.connect(url) as other,
        curier.connect(url, version=version, max_inflight=100, reconnect=QUICK) as client,
        other.subscribe("#") as stream,
    ):
        topics = ["one" if number % 7 == 0 else "two" for number in range(1000)]
        messages = [
            curier.Message(topic, str(number).encode(), curier.QoS(1 if topic == "one" else 2))
            for number, topic in enumerate(topics)
        ]
        await client.publish_many(messages, window=200)
        assert client.statistics.connections == 1
        found = [await stream.get(timeout=PATIENCE) for _ in messages]
        for topic in ("one", "two"):  # which it does not keep in order with each other
            assert [m.payload for m in found if m.topic == topic] == [
                m.payload for m in messages if m.topic == topic
            ]
        await client.publish("end", qos=2)
        assert (await stream.get(timeout=PATIENCE)).topic == "end"  # and none came twice


async def test_a_mosquitto_that_takes_fewer_at_a_time(tmp_path: Path) -> None:
    """It ends the connection at the sixth: half as many are tried, and half of these."""
    lines = ("max_queued_messages 0", "max_inflight_messages 5")
    async with (
        mosquitto(tmp_path, free_port(), *lines) as url,
        curier.connect(url, version=4, reconnect=QUICK) as client,
    ):
        async with asyncio.timeout(100):
            assert await client.publish_many([("a", b"x")] * 200, qos=2, window=50) == 200
        assert 1 < client.statistics.connections < 12


@pytest.mark.parametrize("version", [4, None])
async def test_a_message_that_the_server_does_not_bear_is_given_up(
    tmp_path: Path, version: int | None
) -> None:
    """3.1.1 has no word for what is too large: Mosquitto closes. 5.0 has, and nothing is sent."""
    async with (
        mosquitto(tmp_path, free_port(), "max_packet_size 1000") as url,
        curier.connect(url) as other,
        curier.connect(url, version=version, reconnect=QUICK, linger=0) as client,
        Watch(client) as watch,
        other.subscribe("#", qos=2) as stream,
    ):
        with pytest.raises(curier.PublishRefused, match="connections in a row" if version else "0x95"):
            await asyncio.gather(
                client.publish("a", b"x" * 5000, qos=1), *[client.publish("b", qos=2) for _ in range(3)]
            )
        for _ in range(3):
            assert (await stream.get(timeout=PATIENCE)).topic == "b"
        assert watch.kinds().count("PublishGivenUp") == (1 if version else 0)


async def test_retained_messages_beyond_receive_maximum(tmp_path: Path) -> None:
    """Which Mosquitto 2.0 sends all at once: they are taken, on one connection."""
    async with (
        mosquitto(tmp_path, free_port()) as url,
        curier.connect(url, receive_maximum=20) as client,
    ):
        many = [curier.Message(f"r/{number}", b"x", curier.QoS(1), retain=True) for number in range(1000)]
        await client.publish_many(many)
        async with client.subscribe("r/#", qos=1) as stream:
            assert len({(await stream.get(timeout=PATIENCE)).topic for _ in many}) == 1000
        assert client.statistics.connections == 1
        assert client.statistics.tolerated > 0
