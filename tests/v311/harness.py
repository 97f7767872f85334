"""A broker's core in memory with virtual time, and clients that speak Control Packets to it.

Every byte a client sends goes into the core at once, every byte the core writes is decoded for the client,
and nothing happens by itself: time moves with ``Network.advance``. The same tests run in several ways, which
must not differ to a client: with the fast lane, without it, and with a journal, which holds answers back; and
by the turn and the layers of a listener (``tests.net.memory``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authenticate, Authorize, Close, Commit, Effect
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.session.journal import Journal
from tests.net.memory import Memory

WAYS = ("fast", "slow", "journal")

P = TypeVar("P", bound=Packet)


class Client:
    """One Network Connection to the core. ``closed`` is True once the core has asked to close it."""

    def __init__(self, network: Network, version: int) -> None:
        self.network = network
        self.version = version
        self.connection: BrokerConnection = network.core.attach("test", "memory", network.now)
        self.closed = False
        self.session_present = False
        self.heard = b""  # every byte that came
        self._inbox: list[Packet] = []
        self._last_packet_id = 0

    # ---- bytes and packets ----

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets, or bytes as they are, in one piece."""
        pieces = [p if isinstance(p, bytes) else encode(p, self.version) for p in packets]
        self.network.receive(self.connection, b"".join(pieces))

    def take(self) -> list[Packet]:
        """The packets that have come since the last look."""
        packets = self._inbox
        self._inbox = []
        return packets

    def expect(self, kind: type[P]) -> P:
        """The one packet that has come, which is of this kind."""
        packets = self.take()
        assert [type(packet) for packet in packets] == [kind], packets
        return cast(P, packets[0])

    def publishes(self) -> list[Publish]:
        """The packets that have come, which are all PUBLISH."""
        packets = self.take()
        assert {type(packet) for packet in packets} <= {Publish}, packets
        return [packet for packet in packets if isinstance(packet, Publish)]

    def payloads(self) -> list[bytes]:
        """The payloads of ``publishes``."""
        return [publish.payload for publish in self.publishes()]

    def feed(self, data: bytes) -> None:
        """Bytes from the core."""
        self.heard += data
        if data.startswith(b"HTTP/1.1 "):  # the answer to HTTP, which is no packet
            return
        pos = 0
        while pos < len(data):
            end = packet_end(data, pos)
            assert pos < end <= len(data), f"no whole packet: {data[pos:].hex(' ')}"
            self._inbox.append(decode(data, pos, end, self.connection.version))
            pos = end

    def drop(self) -> None:
        """The network fails: the connection ends without DISCONNECT."""
        self.network.drop(self.connection)

    # ---- what clients do ----

    def packet_id(self) -> int:
        self._last_packet_id += 1
        return self._last_packet_id

    def disconnect(self) -> None:
        self.send(Disconnect())
        assert self.closed

    def subscribe(self, *filters: tuple[str, int] | str) -> list[int]:
        """Subscribe, each filter at its QoS or at 2; returns what SUBACK says."""
        packet_id = self.packet_id()
        self.send(Subscribe(packet_id, [(f, 2) if isinstance(f, str) else f for f in filters]))
        suback = self.pop(Suback)  # retained messages may come before and after it (3.8.4)
        assert suback.packet_id == packet_id
        return suback.reason_codes

    def unsubscribe(self, *filters: str) -> None:
        packet_id = self.packet_id()
        self.send(Unsubscribe(packet_id, list(filters)))
        assert self.expect(Unsuback).packet_id == packet_id

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Publish, and see the QoS flow through to its end."""
        if not qos:
            self.send(Publish(topic, payload, 0, False, retain, 0, properties))
            return
        packet_id = self.packet_id()
        self.send(Publish(topic, payload, qos, False, retain, packet_id, properties))
        if qos == 1:
            assert self.pop(Puback).packet_id == packet_id
            return
        assert self.pop(Pubrec).packet_id == packet_id
        self.send(Pubrel(packet_id))
        assert self.pop(Pubcomp).packet_id == packet_id

    def pop(self, kind: type[P]) -> P:
        """The first packet of this kind among those that have come; the others stay."""
        for index, packet in enumerate(self._inbox):
            if isinstance(packet, kind):
                del self._inbox[index]
                return packet
        raise AssertionError(f"no {kind.__name__} in {self._inbox}")

    def acknowledge(self, *publishes: Publish) -> None:
        """See the QoS flow of received messages through to its end."""
        for publish in publishes:
            if publish.qos == 1:
                self.send(Puback(publish.packet_id))
            elif publish.qos == 2:
                self.send(Pubrec(publish.packet_id))
                assert self.pop(Pubrel).packet_id == publish.packet_id
                self.send(Pubcomp(publish.packet_id))


class Network:
    """A broker's core, its clients and the clock. ``way`` is one of ``WAYS``, or that
    behind a door, as "fast-ws"."""

    def __init__(
        self,
        way: str = "fast",
        options: Options | None = None,
        authenticate: Callable[[Connect], Answer] | None = None,
        authorize: Callable[[Authorize], Answer] | None = None,
    ) -> None:
        kind, _, door = way.partition("-")
        self.now = 1_000_000.0
        self.authenticate = authenticate
        self.authorize = authorize
        if options is None:
            options = quiet()
        self.core = BrokerCore(
            options,
            self.now,
            journal=Journal() if kind == "journal" else None,
            asks_authentication=authenticate is not None,
            asks_authorization=authorize is not None,
        )
        self.core.slow_lane_only = kind == "slow"
        self._clients: dict[BrokerConnection, Client] = {}
        self._memory: Memory | None = None
        if door:
            self._memory = Memory(self.core, door, lambda: self.now, self._carry_out)

    def open(self, version: int = 4) -> Client:
        """A Network Connection, on which nothing has been said; ``version`` is for what will be."""
        client = Client(self, version)
        self._clients[client.connection] = client
        if self._memory is not None:
            self._memory.open(client.connection, client.feed)
        return client

    def receive(self, connection: BrokerConnection, data: bytes) -> None:
        """A client sends, and the broker does what there is to do."""
        if self._memory is not None:
            self._memory.send(connection, data)
        else:
            self.core.receive(connection, data, self.now)
        self.turn()

    def drop(self, connection: BrokerConnection) -> None:
        """The network of a connection fails."""
        if self._memory is not None:
            self._memory.drop(connection)
        self.core.detach(connection, self.now)
        self.turn()

    def connect(
        self,
        client_id: str = "c",
        version: int = 4,
        clean: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        properties: Properties | None = None,
    ) -> Client:
        """A client with its CONNACK; what came after that waits to be taken."""
        client = self.open(version)
        client.send(Connect(version, client_id, clean, keep_alive, None, None, will, properties))
        connack = client.pop(Connack)
        assert connack.reason_code == 0
        client.session_present = connack.session_present
        return client

    def turn(self) -> None:
        """Do what the driver of a core does when bytes came or time passed, until there is nothing left."""
        core = self.core
        while True:
            if self._memory is not None:
                if self._has_more_turns(self._memory):
                    continue
                return
            effects = core.take_effects()
            closing = [effect.connection for effect in effects if isinstance(effect, Close)]
            for effect in effects:
                self._carry_out(effect)
            dirty = core.take_dirty()
            for connection in dirty:
                assert isinstance(connection, BrokerConnection)
                data = connection.take_output()
                client = self._clients[connection]
                assert not client.closed, "bytes for a closed connection"
                client.feed(data)
                core.written(connection, len(data), 0, self.now)
            for connection in closing:
                self._clients[connection].closed = True
            for fault in core.take_faults():
                raise fault.error
            if core.has_more_work():
                core.continue_work(self.now)
            elif not effects and not dirty:
                core.end_turn()
                return

    def _has_more_turns(self, memory: Memory) -> bool:
        """The same, where it is for the broker's own turn to do; returns whether there is another one."""
        for fault in self.core.take_faults():
            raise fault.error
        has_more, errors = memory.finish()
        for error in errors:
            raise error
        for connection, client in self._clients.items():
            client.closed = memory.is_closed(connection)
        return has_more

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Commit):
            self.core.committed(effect.batch.number, self.now)
        elif isinstance(effect, Authenticate):
            assert self.authenticate is not None
            self.core.resume(effect, self.authenticate(effect.connect), self.now)
        elif isinstance(effect, Authorize):
            assert self.authorize is not None
            self.core.resume(effect, self.authorize(effect), self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every deadline on the way."""
        until = self.now + seconds
        while (when := self.core.next_deadline()) <= until:
            self.now = max(self.now, when)
            self.core.deadline_reached(self.now)
            self.turn()
        self.now = until


TOO_DEEP = "/".join("x" * 129)  # a Topic Filter of more levels than are taken


def quiet() -> Options:
    """Options without $SYS messages, which no test of something else wants to meet."""
    options = Options()
    options.sys_interval = 0.0
    return options
