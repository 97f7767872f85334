"""A network in memory with virtual time: one broker, any number of clients, wires that are slow or break.

Everything runs curier's own core, client and broker, and nothing sleeps: ``run(seconds=3600)`` takes as long
as there is to do. All randomness comes from the ``random.Random`` that is passed in, so a run with the same
seed is the same run.

    network = Network(random=Random(7), latency=(0.01, 0.2), splits=True)
    client = SimulatedClient(network, "me")
    client.open()
    network.run(1)
    assert client.is_connected

``curier.testing.Pair`` has simpler ways to do the usual.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

from curier.broker.options import Options
from curier.codec.constants import MQTT_50
from curier.codec.packets import Connect
from curier.faults.line import Faults
from curier.protocol.client import ClientConnection
from curier.protocol.connection import CLOSED, CONNECTED
from curier.protocol.events import Event
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.session import Session
from curier.testing.broker import Answers, Restore, SimulatedBroker, default_restore
from curier.testing.medium import Actor, Delay, Medium
from curier.testing.wire import Caller, Tell, Watcher, Wire
from curier.trace.choice import Words, choice
from curier.trace.events import Event as TraceEvent
from curier.trace.reading import Ring, Trace

EVERYTHING = 2**62  # events, and bytes of them
MOST_RECORDED = 10_000
"""Events that a recording of wires keeps, unless it says otherwise."""


class Network(Medium):
    """Virtual time and all that happens in it.

    ``latency`` is that of a piece of bytes on its way, ``disk_latency`` that of making a batch durable, where
    the broker is ``durable``; ``answer_latency`` that of ``answers``, who authenticate and authorize. With
    ``splits`` bytes arrive in pieces of random sizes. ``faults`` are rules that break the wires.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        random: Random | None = None,
        latency: Delay = 0.0,
        splits: bool = False,
        durable: bool = False,
        disk_latency: Delay = 0.0,
        answers: Answers | None = None,
        answer_latency: Delay = 0.0,
        restore: Restore = default_restore,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(random if random is not None else Random(0), latency, splits)
        self.clients: list[SimulatedClient] = []
        self.watchers: list[Watcher] = []
        self.faults = faults if faults is not None else Faults()
        self.tells: list[Tell] = []
        if options is None:
            options = Options()
            options.sys_interval = 0.0  # nobody asked for $SYS
        self.broker = SimulatedBroker(self, options, durable, disk_latency, answers, answer_latency, restore)

    def trace(
        self,
        *,
        client_id: Words = None,
        user: Words = None,
        address: Words = None,
        listener: Words = None,
        topic: Words = None,
        payload: int | None = None,
    ) -> Trace:
        """Record what goes by at the broker from now on, as ``Broker.trace`` does; ``take`` of it gives that,
        in virtual time. Nothing of it is missed.
        """
        chosen = choice(client_id, user, address, listener, topic, payload)
        return self.broker.recorder.read(chosen, Ring(EVERYTHING, EVERYTHING))

    def record_wires(self, most: int = MOST_RECORDED) -> deque[TraceEvent]:
        """What goes by on all wires from now on, with what rules do to it: the last ``most`` events, in a
        deque that grows while the network runs.

        It is what one would see who stands between: what the broker does with messages is not in it.
        """
        events: deque[TraceEvent] = deque(maxlen=most)
        self.tells.append(events.append)
        return events

    def actors(self) -> Sequence[Actor]:
        """The broker and its clients."""
        return [self.broker, *self.clients]


class SimulatedClient(Actor, Caller):
    """One client; every call returns at once, answers come as ``events`` while the network runs.

    ``settings`` are those of ``ClientConnection``.
    """

    def __init__(
        self,
        network: Network,
        client_id: str = "",
        version: int = MQTT_50,
        session: Session | None = None,
        **settings: Any,
    ) -> None:
        self.network = network
        self.client_id = client_id
        self.version = version
        self.session = session if session is not None else Session(client_id)
        self.settings = settings
        self.events: list[Event] = []  # all there ever were
        self.wire: Wire | None = None
        self.connection = ClientConnection(self.session, **settings)
        network.clients.append(self)

    @property
    def is_connected(self) -> bool:
        """Has it a CONNACK, and heard of no end since?"""
        return self.connection.state == CONNECTED

    def open(self, connect: Connect | None = None) -> None:
        """Open a Network Connection and send CONNECT (by default with Clean Start); drops the last one."""
        if self.wire is not None:
            self.wire.close(True)
            self.lost(self.wire)
        if self.connection.connect_packet is not None or self.connection.state == CLOSED:
            self.connection = ClientConnection(self.session, **self.settings)
        network = self.network
        self.wire = Wire(network, self, network.broker, network.watchers, network.faults, network.tells)
        self.network.broker.accept(self.wire)
        self.connection.connect(
            connect if connect is not None else Connect(self.version, self.client_id), self.network.now
        )
        self.flush()

    def begin_publish(self, message: ApplicationMessage) -> Outgoing:
        """Publish, or have it wait in the session."""
        entry = self.connection.publish(message, self.network.now)
        self.flush()
        return entry

    def begin_subscribe(self, subscriptions: list[tuple[str, int]], identifier: int = 0) -> int:
        """Send SUBSCRIBE; its Packet Identifier."""
        packet_id = self.connection.subscribe(subscriptions, self.network.now, identifier)
        self.flush()
        return packet_id

    def begin_unsubscribe(self, topic_filters: list[str]) -> int:
        """Send UNSUBSCRIBE; its Packet Identifier."""
        packet_id = self.connection.unsubscribe(topic_filters, self.network.now)
        self.flush()
        return packet_id

    def acknowledge(self, packet_id: int, reason_code: int = 0) -> bool:
        """Acknowledge a received message, with the setting ``manual_acks``."""
        acknowledged = self.connection.acknowledge(packet_id, self.network.now, reason_code)
        self.flush()
        return acknowledged

    def close(self, reason_code: int = 0, session_expiry: int | None = None) -> None:
        """Send DISCONNECT and close."""
        self.connection.disconnect(self.network.now, reason_code, session_expiry)
        self.flush()

    def cut(
        self,
        client_notices: float | None = 0.0,
        broker_notices: float | None = 0.0,
        loses_what_is_on_its_way: bool = True,
    ) -> None:
        """Cut the wire there is, if any: see ``Wire.cut``."""
        if self.wire is not None:
            self.wire.cut(client_notices, broker_notices, loses_what_is_on_its_way)

    # ---- the network's side ----

    def arrived(self, wire: Wire, data: bytes) -> None:
        """Bytes came."""
        if wire is self.wire:
            self.connection.receive(data, self.network.now)
            self.flush()

    def lost(self, wire: Wire) -> None:
        """The network, or the broker, has closed a wire."""
        if wire is self.wire:
            self.connection.detach(self.network.now)
            self.flush()
            self.wire = None

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is due; infinity: never."""
        return self.connection.next_deadline()

    def deadline_reached(self) -> None:
        """Do what is due."""
        self.connection.deadline_reached(self.network.now)
        self.flush()

    def flush(self) -> None:
        """Write what the connection has to say, take what it has to tell, close what is over."""
        connection = self.connection
        wire = self.wire
        data = connection.take_output()
        if wire is not None and data:
            wire.send(True, data)
        events = connection.take_events()
        self.events += events
        if wire is not None and connection.state == CLOSED:
            wire.close(True)
        for event in events:
            self.happened(event)

    def happened(self, event: Event) -> None:
        """Something happened; for subclasses. May call anything of this client."""
