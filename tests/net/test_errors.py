"""An error in a hook, or in the broker itself, costs one client its connection and nobody else anything."""

from __future__ import annotations

import logging

import pytest

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec.packets import Disconnect, Puback, Publish, Will
from curier.session.message import ApplicationMessage
from tests.net.harness import Exchange, Peer, options, running
from tests.waiting import until


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
        assert (await client.expect(Disconnect)).reason_code == 0x83
        await client.ended()
        await client.close()
        assert "broken hook: publish" in caplog.text
        assert "c" not in broker.core.sessions


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
        assert (await sender.expect(Puback)).packet_id == 1
        assert (await sender.expect(Puback)).packet_id == 2
        assert (await sender.expect(Disconnect)).reason_code == 0x83
        await sender.ended()
        assert [(await client.message()).payload for _ in range(2)] == [b"1", b"2"]
        assert "broken hook: drop" in caplog.text
