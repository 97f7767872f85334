"""Writes that are postponed in a flood: whose, until when, and that none is forgotten; and those that wait
for the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

import curier
from curier.broker.core import BrokerCore
from curier.broker.effects import Commit, Effect
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.net import reactor
from curier.net.clock import Clock
from curier.net.loop import Loop
from curier.net.turn import POSTPONED_BYTES, POSTPONED_SECONDS, WRITE_SECONDS, WRITES_A_LOOK, Turn
from curier.net.wire import Wire
from curier.protocol.connection import STEPS_AT_ONCE
from curier.session.journal import Journal
from tests.codec.cases import properties
from tests.net.harness import ANYWHERE, Peer, options

P = p.Packet


class Tape(Wire):
    """A wire that takes everything, and keeps every write apart."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn.attach("tape", "memory"))
        turn.add(self)
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> int:
        assert not self.is_closed, "written behind the end"
        self.writes.append(data)
        return 0

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted

    def close(self) -> None:
        self.is_closed = True

    def take(self) -> list[list[P]]:
        """The packets of every write since the last call."""
        writes = []
        for data in self.writes:
            packets = []
            pos = 0
            while pos < len(data):
                end = packet_end(data, pos)
                packets.append(decode(data, pos, end, MQTT_50))
                pos = end
            writes.append(packets)
        self.writes.clear()
        return writes


class Desk:
    """A turn without a network, whose time is told."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.now = self.clock.now()
        core = BrokerCore(options(), self.now)
        self.turn = Turn(core, self.loop, self.clock, lambda effect: None)
        self._last_id = 0

    def say(self, wire: Tape, *packets: P, is_busy: bool = False) -> None:
        """One turn in which only this client is read from."""
        chunk = b"".join(encode(packet, MQTT_50) for packet in packets)
        self.turn.receive(wire, chunk, self.now)
        self.turn.finish(self.now, is_busy)

    def connect(self, client_id: str, **values: int) -> Tape:
        wire = Tape(self.turn)
        self.say(wire, p.Connect(MQTT_50, client_id, True, 0, None, None, None, properties(**values)))
        assert [type(packet) for packet in wire.take()[0]] == [p.Connack]
        return wire

    def receiver(self, **values: int) -> Tape:
        """A client that has subscribed to ``t``, and acknowledged the first message."""
        wire = self.connect("receiver", **values)
        self.say(wire, p.Subscribe(1, [("t", 1)]))
        self.say(self.connect("first"), self.publish(b"0"))
        wire.take()
        self.say(wire, p.Puback(1))
        return wire

    def publish(self, payload: bytes) -> p.Publish:
        self._last_id += 1
        return p.Publish("t", payload, 1, False, False, self._last_id)


def payloads(writes: list[list[P]]) -> list[list[bytes]]:
    return [[packet.payload for packet in packets if isinstance(packet, p.Publish)] for packets in writes]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.turn.stop()
    made.loop.close()


def test_messages_of_a_flood_are_written_together_and_what_is_owed_at_once(desk: Desk) -> None:
    receiver = desk.receiver()
    sender = desk.connect("sender")
    for number in range(3):
        desk.say(sender, desk.publish(b"%d" % number), is_busy=True)
        assert [type(packet) for packet in sender.take()[0]] == [p.Puback]
        assert desk.turn.is_postponing()
    assert receiver.take() == []
    desk.turn.finish(desk.now)
    assert payloads(receiver.take()) == [[b"0", b"1", b"2"]]
    assert not desk.turn.is_postponing()


def test_nothing_is_postponed_where_there_is_no_more_to_do(desk: Desk) -> None:
    receiver = desk.receiver()
    desk.say(desk.connect("sender"), desk.publish(b"x"))
    assert payloads(receiver.take()) == [[b"x"]]


def test_nothing_is_postponed_for_long(desk: Desk) -> None:
    receiver = desk.receiver()
    sender = desk.connect("sender")
    desk.say(sender, desk.publish(b"1"), is_busy=True)
    desk.now += POSTPONED_SECONDS / 2
    desk.say(sender, desk.publish(b"2"), is_busy=True)
    assert receiver.take() == []
    desk.now += POSTPONED_SECONDS * 0.75
    desk.say(sender, desk.publish(b"3"), is_busy=True)
    assert payloads(receiver.take()) == [[b"1", b"2", b"3"]]
    desk.say(sender, desk.publish(b"4"), is_busy=True)
    assert receiver.take() == []  # its time begins anew


def test_much_is_not_postponed(desk: Desk) -> None:
    receiver = desk.receiver()
    sender = desk.connect("sender")
    half = bytes(POSTPONED_BYTES // 2)
    desk.say(sender, desk.publish(half), is_busy=True)
    assert receiver.take() == []
    desk.say(sender, desk.publish(half), is_busy=True)
    assert payloads(receiver.take()) == [[half, half]]


def test_who_waits_for_an_answer_gets_everything(desk: Desk) -> None:
    receiver = desk.receiver()
    sender = desk.connect("sender")
    desk.say(sender, desk.publish(b"1"), is_busy=True)
    desk.say(receiver, p.Pingreq(), is_busy=True)
    assert [[type(packet) for packet in packets] for packets in receiver.take()] == [[p.Publish, p.Pingresp]]
    desk.say(sender, desk.publish(b"2"), is_busy=True)
    assert payloads(receiver.take()) == [[b"2"]]  # it has not acknowledged anything since
    desk.say(receiver, p.Pingreq(), p.Puback(2), is_busy=True)
    assert [[type(packet) for packet in packets] for packets in receiver.take()] == [[p.Pingresp]]
    desk.say(receiver, p.Puback(3), is_busy=True)
    desk.say(sender, desk.publish(b"3"), is_busy=True)
    assert receiver.take() == []


def test_who_has_used_half_its_receive_maximum_does_not_wait_for_more(desk: Desk) -> None:
    receiver = desk.receiver(receive_maximum=4)
    sender = desk.connect("sender")
    for payload in (b"1", b"2"):
        desk.say(sender, desk.publish(payload), is_busy=True)
    assert receiver.take() == []
    desk.say(sender, desk.publish(b"3"), is_busy=True)
    assert payloads(receiver.take()) == [[b"1", b"2", b"3"]]


def test_the_last_bytes_go_before_the_end(desk: Desk) -> None:
    receiver = desk.receiver()
    desk.say(desk.connect("sender"), desk.publish(b"1"), is_busy=True)
    other = Tape(desk.turn)
    desk.say(other, p.Connect(MQTT_50, "receiver", True, 0, None, None, None, None), is_busy=True)
    assert [type(packet) for packet in receiver.take()[0]] == [p.Publish, p.Disconnect]
    assert receiver.is_closed
    assert not desk.turn.is_postponing()


class Slow(Tape):
    """The system takes its time."""

    def write(self, data: bytes) -> int:
        time.sleep(2 * WRITE_SECONDS / WRITES_A_LOOK)
        return super().write(data)


def test_where_each_write_takes_long_a_turn_has_few_of_them_and_nobody_is_forgotten(desk: Desk) -> None:
    receivers: list[Tape] = []
    for number in range(3 * WRITES_A_LOOK):
        receivers.append(Slow(desk.turn))
        connect = p.Connect(MQTT_50, f"receiver-{number}", True, 0, None, None, None, None)
        desk.say(receivers[-1], connect, p.Subscribe(1, [("t", 0)]))
        receivers[-1].take()
    desk.say(desk.connect("sender"), p.Publish("t", b"x", 0))
    assert sum(len(receiver.writes) for receiver in receivers) == 2 * WRITES_A_LOOK
    desk.loop.call_soon(desk.loop.stop)
    desk.loop.run_forever()
    assert [payloads(receiver.take()) for receiver in receivers] == [[[b"x"]]] * 3 * WRITES_A_LOOK


@pytest.mark.skipif(not reactor.IS_AVAILABLE, reason="no epoll in this system")
def test_what_is_put_off_goes_on_once_in_a_round_of_the_loop(desk: Desk) -> None:
    client = desk.connect("client")
    desk.say(client, *[p.Pingreq()] * 5 * STEPS_AT_ONCE)
    for _ in range(10):
        desk.turn.finish(desk.now)
    answers = [sum(map(len, client.take()))]
    while answers[-1]:
        desk.loop.call_soon(desk.loop.stop)
        desk.loop.run_forever()
        answers.append(sum(map(len, client.take())))
    assert answers == [STEPS_AT_ONCE] * 5 + [0]


def test_a_flood_comes_whole_and_in_order_through_the_loop_that_postpones() -> None:
    async def flood() -> None:
        async with curier.Broker([ANYWHERE], options=options()) as broker:
            receiver = await Peer.connect(broker.port, "receiver")
            await receiver.subscribe("t", 1)
            sender = await Peer.connect(broker.port, "sender")
            padding = bytes(60)
            for start in range(0, 1000, 100):
                # More than makes a turn busy; less than is worth a write of its own.
                packets = [
                    p.Publish("t", b"%d" % number + padding, 1, False, False, number + 1)
                    for number in range(start, start + 100)
                ]
                await sender.send(*packets)
                for number in range(start, start + 100):
                    message = await receiver.message()
                    assert message.payload == b"%d" % number + padding
                    await receiver.send(p.Puback(message.packet_id))
                for packet in packets:
                    assert (await sender.expect(p.Puback)).packet_id == packet.packet_id
            await Peer.close_all()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(asyncio.wait_for(flood(), 100))


# ---- the disk ----


class Disk:
    """A store that is done when it is told, or at once."""

    def __init__(self, is_quick: bool) -> None:
        self.loop = asyncio.new_event_loop()
        clock = Clock()
        self.is_quick = is_quick
        self.batches: list[int] = []
        core = BrokerCore(options(), clock.now(), journal=Journal())
        self.turn = Turn(core, self.loop, clock, self.do)
        self.wire = Tape(self.turn)

    def do(self, effect: Effect) -> None:
        if isinstance(effect, Commit):
            self.batches.append(effect.batch.number)
            if self.is_quick:
                self.turn.committed(effect.batch.number)

    def say(self, packet: P) -> None:
        self.turn.receive(self.wire, encode(packet, MQTT_50), self.turn.clock.now())
        self.turn.finish(self.turn.clock.now())

    def connect(self) -> None:
        expiry = properties(session_expiry_interval=60)
        self.say(p.Connect(MQTT_50, "c", True, 0, None, None, None, expiry))

    def come_round(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        self.turn.stop()
        self.loop.close()


def test_what_waited_for_the_disk_is_written_when_the_store_says_so() -> None:
    disk = Disk(is_quick=False)
    disk.connect()
    assert (disk.batches, disk.wire.take()) == ([1], [])
    disk.turn.committed(1)
    assert [type(packet) for packet in disk.wire.take()[0]] == [p.Connack]
    disk.say(p.Subscribe(1, [("t", 1)]))
    assert disk.batches == [1, 2]
    disk.turn.committed(2)
    assert [type(packet) for packet in disk.wire.take()[0]] == [p.Suback]
    disk.close()


def test_a_store_that_is_done_at_once_does_not_end_a_turn_within_a_turn() -> None:
    disk = Disk(is_quick=True)
    disk.connect()
    disk.say(p.Subscribe(1, [("t", 1)]))
    disk.come_round()
    assert disk.batches == [1, 2]
    assert [type(packet) for write in disk.wire.take() for packet in write] == [p.Connack, p.Suback]
    disk.close()
