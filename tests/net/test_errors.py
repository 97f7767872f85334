"""An error in a hook, or in the broker itself, costs at most one client its connection; it is logged."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec.packets import Disconnect, Pingreq, Puback, Publish, Will
from curier.net.wire import Wire
from curier.session.message import ApplicationMessage
from tests.net.harness import Exchange, Peer, options, running
from tests.waiting import until

DOORS = "spread"


class Broken(Hook):
    """Fails for what is named after the event it is to fail at."""

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        if connection.client_id == "connect":
            raise ValueError("broken hook: connect")

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        if message.topic == b"publish":
            raise ValueError("broken hook: publish")
        return 0

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if connection.client_id == "disconnect":
            raise ValueError("broken hook: disconnect")

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        raise ValueError("broken hook: drop")


@pytest.fixture(autouse=True)
def errors_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_hook_that_fails_on_publish(
    use_reactor: bool, qos: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(use_reactor, hooks=[Broken()]) as broker, Exchange(broker.port):
        client = await Peer.connect(broker.port, "c", 5)
        await client.send(Publish("publish", b"", qos, False, False, 1 if qos else 0))
        if qos:
            assert (await client.expect(Puback)).reason_code == 0x83
        await client.send(Publish("fine", b"", 1, False, False, 2))
        assert (await client.expect(Puback)).reason_code == 0x10
        assert "broken hook: publish" in caplog.text
        assert "the hook Broken.on_publish has failed; a message of 'c'" in caplog.text
        assert "Traceback" in caplog.text


async def test_a_hook_that_fails_on_connect(use_reactor: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with running(use_reactor, hooks=[Broken()]) as broker, Exchange(broker.port):
        client = await Peer.connect(broker.port, "connect", 5)
        assert (await client.expect(Disconnect)).reason_code == 0x83
        await client.ended()
        assert "broken hook: connect" in caplog.text


@pytest.mark.parametrize("is_polite", [True, False])
async def test_a_hook_that_fails_on_disconnect(
    use_reactor: bool, is_polite: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(use_reactor, hooks=[Broken()]) as broker, Exchange(broker.port):
        client = await Peer.connect(broker.port, "disconnect", 5)
        if is_polite:
            await client.send(Disconnect())
            await client.ended()
        else:
            client.reset()
        await until(lambda: "disconnect" not in broker.core.sessions)
        await until(lambda: "broken hook: disconnect" in caplog.text)


async def test_a_hook_that_fails_on_a_will_after_keep_alive(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(use_reactor, hooks=[Broken()]) as broker, Exchange(broker.port):
        client = await Peer.connect(broker.port, "c", 4, keep_alive=1, will=Will("publish", b""))
        await client.ended()
        assert "broken hook: publish" in caplog.text


async def test_a_hook_that_fails_on_drop(use_reactor: bool, caplog: pytest.LogCaptureFixture) -> None:
    limits = options(max_queued_messages=1, max_inflight=1)
    async with running(use_reactor, hooks=[Broken()], options=limits) as broker:
        client = await Peer.connect(broker.port, "c", 5)
        await client.subscribe("t", 1)
        sender = await Peer.connect(broker.port, "s", 5)
        for number in range(1, 4):
            await sender.send(Publish("t", b"%d" % number, 1, False, False, number))
        assert [(await sender.expect(Puback)).packet_id for _ in range(3)] == [1, 2, 3]
        first = await client.message()
        await client.send(Puback(first.packet_id))
        assert [first.payload, (await client.message()).payload] == [b"1", b"2"]
        await until(lambda: "broken hook: drop" in caplog.text)


@pytest.mark.parametrize("version", [4, 5])
async def test_clients_that_come_at_the_same_moment(
    use_reactor: bool, version: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a store, many are let in because of one batch: a hook that fails for some costs those."""

    class Picky(Hook):
        def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
            if connection.client_id.endswith("3"):
                raise ValueError(connection.client_id)

    async def come(name: str) -> bool:
        client = await Peer.connect(broker.port, name, version, clean=False)
        if name.endswith("3"):
            if version == 5:
                assert (await client.expect(Disconnect)).reason_code == 0x83
            await client.ended()
            return False
        await client.send(Publish("t", b"", 1, False, False, 1))
        await client.expect(Puback)
        return True

    async with running(use_reactor, hooks=[Picky()], data=tmp_path) as broker:
        for _ in range(2):
            came = await asyncio.gather(*(come(f"c{number}") for number in range(30)))
            assert came == [number % 10 != 3 for number in range(30)]
        assert caplog.text.count("the hook Picky.on_connect has failed") == 6
        assert "store" not in caplog.text  # whose link was not to blame


async def test_a_socket_that_fails(use_reactor: bool, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the turn's own with one client's socket costs that client."""
    async with running(use_reactor) as broker, Exchange(broker.port):
        client = await Peer.connect(broker.port, "c", 5)
        turn = broker._turn
        assert turn is not None
        (number,) = [n for n, one in broker.core.connections.items() if one.client_id == "c"]
        turn.wires[number] = Stuck(turn.wires[number])
        await client.send(Pingreq())
        await client.ended()
        assert "writing: 'c'" in caplog.text
        assert "no more" in caplog.text


class Stuck(Wire):
    """A wire that cannot be written."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire.connection)
        self.wire = wire

    def write(self, data: bytes) -> int:
        raise ValueError("no more")

    def set_reading(self, wanted: bool) -> None:
        self.wire.set_reading(wanted)

    def close(self) -> None:
        self.wire.close()
