"""A client and a broker in memory; their connection is cut behind every single byte of what they say.

The broker is curier's own core; time is virtual. With the session kept everything goes on, whatever was under
way: QoS 1 arrives at least once, QoS 2 exactly once, everything in order, and the program notices nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from curier.broker.core import BrokerCore
from curier.broker.effects import Close
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.client.dial import DialSettings
from curier.client.urls import ServerUrl
from tests.client.stage import Stage, life_of, virtual
from tests.waiting import until

pytestmark = pytest.mark.slow


class Broker:
    """A core with a turn of its own, and wires of which the first is cut after ``budget`` bytes."""

    def __init__(self, budget: int, loses_session: bool = False) -> None:
        options = Options()
        options.sys_interval = 0.0
        self.loop = asyncio.get_running_loop()
        self.core = BrokerCore(options, self.loop.time())
        self.ends: dict[int, End] = {}
        self.budget = budget
        self.loses_session = loses_session
        self.connections = 0
        self.carried = 0  # bytes, both ways

    async def dial(
        self, url: ServerUrl, settings: DialSettings, make: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await asyncio.sleep(0)
        self.connections += 1
        if self.connections == 2 and self.loses_session:
            self.core = BrokerCore(self.core.options, self.loop.time())
        protocol = make()
        end = End(self, self.core.attach("memory", "client", self.loop.time()), protocol, self.connections)
        self.ends[end.connection.number] = end
        protocol.connection_made(end)
        return end, protocol

    def turn(self) -> None:
        for effect in self.core.take_effects():
            assert isinstance(effect, Close), effect
            self.ends[effect.connection.number].close()
        for connection in self.core.take_dirty():
            end = self.ends[connection.number]
            data = connection.take_output()
            self.loop.call_soon(end.deliver, data)
        assert self.core.take_faults() == []


class End(asyncio.Transport):
    """The client's transport; the broker is called behind it."""

    def __init__(
        self, broker: Broker, connection: BrokerConnection, protocol: asyncio.Protocol, number: int
    ) -> None:
        super().__init__()
        self.broker = broker
        self.connection = connection
        self.protocol = protocol
        self.is_first = number == 1
        self.is_over = False

    def _within_budget(self, data: bytes) -> bytes:
        """What of ``data`` passes before the cut."""
        broker = self.broker
        if self.is_first:
            data = data[: broker.budget - broker.carried]
        broker.carried += len(data)
        if self.is_first and broker.carried >= broker.budget:
            broker.loop.call_soon(self.close)
        return data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        passed = self._within_budget(bytes(data))
        if passed:
            self.broker.loop.call_soon(self._arrive, passed)

    def _arrive(self, data: bytes) -> None:
        self.broker.core.receive(self.connection, data, self.broker.loop.time())
        self.broker.turn()

    def deliver(self, data: bytes) -> None:
        if not self.is_over and (passed := self._within_budget(data)):
            self.protocol.data_received(passed)

    def close(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.broker.core.detach(self.connection, self.broker.loop.time())
            self.broker.turn()
            self.broker.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.is_over

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


async def converse(stage: Stage, version: int, qos: int, pause: float) -> list[bytes]:
    """Subscribe, publish three messages, receive them, publish three more; what was received.

    The reader takes ``pause`` seconds for each message.
    """
    client = stage.client(
        version=version, session_expiry=1000, client_id="me", retry_first_connect=True, keep_alive=30
    )
    found: list[bytes] = []
    async with client:
        stream = await client.subscribe("a", qos=qos).open()

        async def read() -> None:
            async for message in stream:
                found.append(message.payload)
                await asyncio.sleep(pause)

        reading = asyncio.ensure_future(read())
        for begin in (0, 3):
            receipts = [client.publish_nowait("a", str(begin + number), qos=qos) for number in range(3)]
            for receipt in receipts:
                await receipt
        await until(lambda: b"5" in found, pause=1, patience=10_000)
        await asyncio.sleep(100)  # whatever comes twice has come by then
        await stream.close()
        await reading
    return found


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_cut_behind_every_byte(stage: Stage, version: int, qos: int) -> None:
    budget = 10**9
    whole = Broker(budget)
    stage.dialler = whole.dial
    assert await converse(stage, version, qos, 0) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert whole.connections == 1
    for cut in range(1, whole.carried):
        broker = Broker(cut)
        stage.dialler = broker.dial
        found = await converse(stage, version, qos, pause=cut % 2)
        assert broker.connections == 2 or cut > whole.carried - 20, cut  # the last bytes are the goodbye
        if qos == 2:
            assert found == [b"0", b"1", b"2", b"3", b"4", b"5"], cut
        else:
            first_time = list(dict.fromkeys(found))
            assert first_time == [b"0", b"1", b"2", b"3", b"4", b"5"], cut
            assert len(found) <= 12, cut


@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_cut_behind_every_byte_and_the_session_gone(stage: Stage, qos: int) -> None:
    """The broker forgets everything: whatever was accepted is published anew, and its receipt completes.

    What the broker had taken and not delivered is gone with it, but nothing that it had not taken.
    """
    whole = Broker(10**9)
    stage.dialler = whole.dial
    await publish_only(stage, qos)
    for cut in range(1, whole.carried):
        broker = Broker(cut, loses_session=True)
        stage.dialler = broker.dial
        await publish_only(stage, qos)


async def publish_only(stage: Stage, qos: int) -> None:
    client = stage.client(client_id="me", retry_first_connect=True)
    async with client, client.subscribe("nothing"):
        receipts = [client.publish_nowait("a", str(number), qos=qos) for number in range(5)]
        results = [await receipt for receipt in receipts]
        assert {result.reason_code for result in results} <= {0, 0x10}
        assert client.statistics.unfinished == 0
        assert not life_of(client).link.connection.client_session.outgoing.unfinished()


@virtual
async def test_cut_behind_every_byte_of_request_and_response(stage: Stage) -> None:
    """Whoever asks gets its answers, whichever packet on the way was cut; twice is once."""
    whole = Broker(10**9)
    stage.dialler = whole.dial
    await ask(stage)
    for cut in range(1, whole.carried):
        broker = Broker(cut)
        stage.dialler = broker.dial
        await ask(stage)
        assert broker.connections == 2 or cut > whole.carried - 20, cut


async def ask(stage: Stage) -> None:
    client = stage.client(client_id="me", session_expiry=1000, retry_first_connect=True)
    async with client, client.serve("service") as requests:

        async def answer() -> None:
            async for request in requests:
                await request.reply(request.payload.upper())

        answering = asyncio.ensure_future(answer())
        asking = [client.request("service", word, timeout=1000) for word in ("one", "two")]
        answers = await asyncio.gather(*asking)
        assert [message.payload for message in answers] == [b"ONE", b"TWO"]
        answering.cancel()
        await asyncio.wait([answering])
