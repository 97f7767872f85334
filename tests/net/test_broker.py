"""A broker on real sockets: start, listen, serve, stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import weakref

import pytest

import curier
from curier.broker.hooks import Hook
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Disconnect, Pingreq, Pingresp, Publish, Subscribe
from tests.net import doors
from tests.net.harness import ANYWHERE, Peer, options, running
from tests.waiting import LONGER, until

DOORS = "spread"

statement = pytest.mark.statement
here = doors.here


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@statement("3.1.1/MQTT-7.1.1-1", "3.1.1/MQTT-7.0.0-2", "5.0/MQTT-4.2-1")
@pytest.mark.parametrize("sender_version", [3, 4, 5])
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_messages_go_from_any_client_to_any_other(
    use_reactor: bool, version: int, sender_version: int
) -> None:
    async with running(use_reactor) as broker:
        async with await Peer.connect(broker.port, "c", version) as client:
            await client.subscribe("t/+", 2)
            async with await Peer.connect(broker.port, "s", sender_version) as sender:
                for qos in (0, 1, 2):
                    await sender.publish(f"t/{qos}", b"x" * qos, qos)
                    publish = await client.message()
                    assert (publish.topic, publish.payload, publish.qos) == (f"t/{qos}", b"x" * qos, qos)


async def test_embedding(use_reactor: bool) -> None:
    async with curier.Broker(listen=[here()], use_reactor=use_reactor) as broker:
        (url,) = broker.urls
        assert url.startswith("unix:///") or f"://127.0.0.1:{broker.port}" in url
        async with await Peer.connect(broker.port, "c") as client:
            await client.subscribe("t")
            broker.publish(curier.Message("t", b"from the broker"))
            assert (await client.message()).payload == b"from the broker"
    with pytest.raises(OSError):
        await Peer.open(broker.port)


async def test_a_broker_publishes_with_properties(use_reactor: bool) -> None:
    async with running(use_reactor) as broker, await Peer.connect(broker.port, "c", 5) as client:
        await client.subscribe("t", 1)
        broker.publish(
            curier.Message("t", b"x", curier.QoS(1), content_type="a/b", user_properties=(("k", "v"),))
        )
        publish = await client.message()
        assert publish.qos == 1
        assert publish.properties is not None
        assert publish.properties.content_type == "a/b"
        assert publish.properties.user_properties == [("k", "v")]
        with pytest.raises(ValueError, match="wildcard"):
            broker.publish(curier.Message("t/#", b""))


@pytest.mark.doors("tcp")
async def test_two_listeners_one_broker(use_reactor: bool) -> None:
    async with running(use_reactor, listen=[ANYWHERE, ANYWHERE]) as broker:
        ports = [int(url.rpartition(":")[2]) for url in broker.urls]
        assert len(set(ports)) == 2
        assert broker.port == ports[0]
        async with (
            await Peer.connect(ports[0], "one") as one,
            await Peer.connect(ports[1], "two") as two,
        ):
            await one.subscribe("t")
            await two.publish("t", b"x")
            assert (await one.message()).payload == b"x"
            listeners = [broker.core.sessions[name].connection for name in ("one", "two")]
            assert [c.listener for c in listeners if c is not None] == broker.urls


@pytest.mark.doors("tcp")
async def test_ipv6(use_reactor: bool) -> None:
    if not has_ipv6():
        with pytest.raises(OSError, match=r"\[::1\]"):
            async with running(use_reactor, listen=["tcp://[::1]:0"]):
                pass
        return
    async with running(use_reactor, listen=["tcp://[::1]:0"]) as broker:
        assert broker.urls == [f"tcp://[::1]:{broker.port}"]
        async with await Peer.connect(broker.port, "c", host="::1") as client:
            await client.publish("t", b"x", 1)
            connection = broker.core.sessions["c"].connection
            assert connection is not None
            own = client.writer.get_extra_info("sockname")
            assert connection.address == f"[::1]:{own[1]}"


@pytest.mark.doors("tcp")
async def test_a_host_name_is_listened_on_at_all_its_addresses(use_reactor: bool) -> None:
    async with running(use_reactor, listen=["tcp://localhost:0"]) as broker:
        assert broker.urls == [f"tcp://localhost:{broker.port}"]
        found = socket.getaddrinfo("localhost", broker.port, type=socket.SOCK_STREAM)
        hosts = {info[4][0] for info in found}
        assert hosts
        for host in hosts:
            async with await Peer.connect(broker.port, "", host=str(host)) as client:
                await client.publish("t", b"x", 1)


@pytest.mark.doors("tcp")
async def test_a_port_in_use_is_named_and_nothing_is_left_listening(use_reactor: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        free = probe.getsockname()[1]
        probe.close()
        broker = curier.Broker([f"tcp://127.0.0.1:{free}", url], use_reactor=use_reactor)
        with pytest.raises(OSError, match=url) as caught:
            await broker.start()
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError):
            await Peer.open(free)
        await broker.stop()


@pytest.mark.doors("tcp")
async def test_a_broker_starts_once(use_reactor: bool) -> None:
    broker = curier.Broker([here()], use_reactor=use_reactor)
    for what in ("port", "core"):
        with pytest.raises(RuntimeError, match="not been started"):
            getattr(broker, what)
    with pytest.raises(RuntimeError, match="not been started"):
        await broker.serve_forever()
    await broker.stop()  # nothing to do
    async with broker:
        with pytest.raises(RuntimeError, match="once"):
            await broker.start()
    await broker.stop()
    with pytest.raises(RuntimeError, match="once"):
        await broker.start()


async def test_stopping_tells_5_0_clients_and_closes(use_reactor: bool) -> None:
    broker = curier.Broker([here()], use_reactor=use_reactor)
    await broker.start()
    serving = asyncio.create_task(broker.serve_forever())
    new = await Peer.connect(broker.port, "new", 5)
    old = await Peer.connect(broker.port, "old", 4)
    silent = await Peer.open(broker.port)
    await until(lambda: len(broker.core.connections) == 3)
    stopping = asyncio.create_task(broker.stop())
    assert (await new.expect(Disconnect)).reason_code == 0x8B
    for peer in (new, old, silent):
        await peer.ended()
        await peer.close()
    await stopping
    await serving
    assert broker.core.connections == {}


async def test_stopping_does_not_wait_for_clients_that_do_not_read(
    use_reactor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curier.server.CLIENT_SECONDS", 0.1)
    async with running(use_reactor) as broker:
        deaf = await Peer.connect(broker.port, "deaf", receive_buffer=4096)
        await deaf.subscribe("t")
        for _ in range(100):
            broker.publish(curier.Message("t", bytes(1_000_000)))
    await deaf.close()


async def test_a_stopped_broker_leaves_nothing_behind(use_reactor: bool) -> None:
    class Mark(Hook):
        """Something that can be referred to weakly."""

    hook = Mark()
    broker = curier.Broker([here()], use_reactor=use_reactor, hooks=[hook])
    async with broker:
        async with await Peer.connect(broker.port, "c", keep_alive=60) as client:
            await client.publish("t", b"x", 1)
    # Nothing comes of it, not even something to wake up for.
    broker.publish(curier.Message("t", b"too late", retain=True, message_expiry=5))
    held = weakref.ref(hook)  # by the core, which all the rest holds
    del broker, hook
    await asyncio.sleep(0)
    gc.collect()
    assert held() is None


async def test_clients_that_come_and_go_leave_nothing_for_the_collector() -> None:
    """Sockets without transports, which would leave something themselves."""
    loop = asyncio.get_running_loop()
    async with running(True) as broker:

        async def visit(number: int) -> None:
            version = (3, 4, 5)[number % 3]
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", broker.port))
                for packet in (
                    Connect(version, f"c{number}", True, 60),
                    Subscribe(1, [(f"a/{number}", 2)]),
                    Publish(f"a/{number}", b"x", 2, packet_id=1),
                ):
                    await loop.sock_sendall(sock, encode(packet, version))
                    assert await loop.sock_recv(sock, 1000)
                if number % 2:
                    await loop.sock_sendall(sock, b"\xe0\x00")

        async def visits(numbers: range) -> None:
            await asyncio.gather(*map(visit, numbers))
            await until(lambda: not broker.core.connections)

        await visits(range(10))
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for first in range(0, 1200, 60):  # more than the deadlines that may be void at a time
                await visits(range(first, first + 60))
            gc.collect()
            kinds = {type(found).__name__ for found in gc.garbage if type(found).__module__[:6] == "curier"}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert kinds == set()


async def test_large_messages(use_reactor: bool) -> None:
    large = options(max_packet_size=65 << 20)
    payload = bytes(range(256)) * (256 * 1024)  # 64 MiB
    async with (
        running(use_reactor, options=large) as broker,
        await Peer.connect(broker.port, "c") as client,
        await Peer.connect(broker.port, "s") as sender,
    ):
        await client.subscribe("t", 2)
        publishing = asyncio.create_task(sender.publish("t", payload, 1))
        publish = await client.message()
        assert publish.payload == payload
        await publishing
        await client.publish("other", b"", 1)  # all is well with both
        await sender.publish("t", b"small", 1)
        assert (await client.message()).payload == b"small"


async def test_a_larger_message_than_accepted_is_refused_at_its_first_bytes(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        async with await Peer.connect(broker.port, "c", 5) as client:
            await client.send(b"\x30\xff\xff\xff\x7f\x00\x01t")  # 256 MiB to come
            disconnect = await client.expect(Disconnect)
            assert disconnect.reason_code == 0x95
            await client.ended()


@pytest.mark.doors(*doors.WITH_HALVES)
async def test_a_connection_may_say_everything_at_once_and_leave(use_reactor: bool) -> None:
    async with running(use_reactor) as broker, await Peer.connect(broker.port, "c") as client:
        await client.subscribe("t", 1)
        hasty = await Peer.open(broker.port)
        await hasty.send(
            Connect(4, "hasty"), *[Publish("t", b"%d" % n, 1, False, False, 1) for n in range(9)]
        )
        hasty.writer.write_eof()
        assert [(await client.message()).payload for _ in range(9)] == [b"%d" % n for n in range(9)]
        assert len(await hasty.reader.read()) == 4 + 9 * 4  # CONNACK and the PUBACKs
        await hasty.close()


@pytest.mark.doors(*doors.DOORS)
async def test_what_was_sent_and_received_is_counted_to_the_byte(use_reactor: bool) -> None:
    async with running(use_reactor, options=options()) as broker:
        async with (
            await Peer.connect(broker.port, "c", 5) as client,
            await Peer.connect(broker.port) as other,
        ):
            await client.subscribe("t", 2)
            for qos in (0, 1, 2):
                await other.publish("t", bytes(100_000), qos)
                await client.message()
            for peer in (client, other):
                await peer.send(Pingreq())
                await peer.expect(Pingresp)
            traffic = broker.core.traffic
            assert traffic.bytes_received == client.bytes_sent + other.bytes_sent
            assert traffic.bytes_sent == client.bytes_received + other.bytes_received
            assert traffic.publishes_received == traffic.publishes_sent == 3
            assert [connection.unsent for connection in broker.core.connections.values()] == [0, 0]


async def test_keep_alive_and_connect_timeout_in_real_time(use_reactor: bool) -> None:
    for seconds in LONGER:
        async with running(use_reactor, options=options(connect_timeout=seconds)) as broker:
            try:
                silent = await Peer.open(broker.port)
                client = await Peer.connect(broker.port, "c", 5, keep_alive=1)
            except (curier.ConnectionLost, OSError, EOFError):
                continue  # it took too long to connect
            await silent.ended()
            assert (await client.expect(Disconnect)).reason_code == 0x8D
            await client.ended()
            await silent.close()
            await client.close()
            return
    pytest.fail("nobody could connect")


async def test_more_connections_than_twice_the_limit_are_not_even_answered(use_reactor: bool) -> None:
    async with running(use_reactor, options=options(max_connections=2, max_connecting=0)) as broker:
        peers = [await Peer.open(broker.port) for _ in range(4)]
        await until(lambda: len(broker.core.connections) == 4)
        peers.append(await Peer.open(broker.port))
        await until(lambda: len(broker.core.connections) == 5)
        with pytest.raises((asyncio.IncompleteReadError, OSError, curier.ConnectionLost)):
            await (await Peer.open(broker.port)).receive()
        assert len(broker.core.connections) == 5
        for number, peer in enumerate(peers[:3]):
            await peer.send(Connect(4, f"c{number}"))
        codes = [(await peer.expect(Connack)).reason_code for peer in peers[:3]]
        assert codes == [0, 0, 3]
        for peer in peers:
            await peer.close()
