"""Records a broker's traffic for those who read it: chosen connections, or all that belongs to chosen topics.

It is the broker's witness (``broker.witness``) as long as somebody reads. Nobody waits for a reader: each has
a ring of its own. What is told of one message, by whichever connections, has the number of its publication,
since the broker hands on one object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, Protocol

from curier.broker.model import BrokerConnection
from curier.broker.witness import DELIVERED, PUBLISHED, SESSION_ENDED, STORED, Witness
from curier.codec.constants import (
    CONNACK,
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
)
from curier.codec.decode import decode
from curier.codec.packets import Connect
from curier.codec.publish import IncomingPublish, parse_publish
from curier.errors import ProtocolError
from curier.net.tape import Gone
from curier.protocol.connection import CLOSED, CONNECTED
from curier.session.message import ApplicationMessage
from curier.trace.choice import Choice
from curier.trace.events import Closed, Event, Happening, Missed, Opened, Packet, Wire
from curier.trace.reading import Ring, Trace, shortened
from curier.trace.secrets import without_secrets
from curier.trace.watching import Watch

MOST_HELD: Final = 16
"""Events of a connection before it is known whose it is; of more, the first are missed."""

MOST_FOLLOWED: Final = 10_000
"""Publications of chosen clients, of which a reader is told what becomes of them elsewhere."""

MOST_LEFT: Final = 1_000
"""Clients that are away, whose unfinished QoS 2 messages keep the number of their publication."""

MOST_TOPICS: Final = 4_096  # of which it is remembered whether somebody reads them
AT_ONCE: Final = 500  # connections that are looked at before others have their turn

Leg = tuple[int, bytes]  # the number of a publication, and its topic


class Core(Protocol):
    """What a recorder asks of ``broker.core.BrokerCore``."""

    connections: dict[int, BrokerConnection]

    def shows_to(self, witness: Witness | None, has_topics: bool) -> None: ...

    def look_again(self, connection: BrokerConnection) -> None: ...


class Reading:
    """One reader: what it chose, and its ring."""

    def __init__(self, choice: Choice, ring: Ring) -> None:
        self.choice = choice
        self.ring = ring
        self.lost_on = 0  # the connection, where it was just told of a packet that was lost
        self._followed: dict[int, None] = {}

    def follow(self, publication: int) -> None:
        """A client that was chosen has published it."""
        if len(self._followed) >= MOST_FOLLOWED:
            del self._followed[next(iter(self._followed))]
        self._followed[publication] = None

    def wants(self, wire: Wire | None, client_id: str, publication: int, topic: bytes) -> bool:
        """Is it to be told of something that has happened?"""
        choice = self.choice
        if choice.topics and not (topic and choice.has_topic(topic)):
            return False
        if not choice.is_of_some or publication in self._followed:
            return True
        if wire is not None:
            return choice.fits(wire)
        return client_id in choice.client_ids and choice.fits(Wire(0, client_id, 0))

    def add(self, event: Event) -> None:
        """Put an event into the ring, with as much of its payload as is wanted."""
        most = self.choice.payload
        self.ring.add(event if most is None or not isinstance(event, Packet) else shortened(event, most))


class Line:
    """What is known of one connection."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.readers: list[Reading] = []  # who are told of it
        self.is_joined = False  # it had to do with a topic that somebody reads
        self.is_known = False  # whose it is; until then what happened is held
        self.held: deque[Event] = deque()
        self.lost = 0  # of those
        self.incoming: dict[int, Leg] = {}  # by Packet Identifier, until it is acknowledged for good
        self.unanswered: deque[tuple[int, Leg]] = deque()  # PUBLISH packets the broker has not decided on
        self.sending: Leg = (0, b"")  # of the QoS 0 PUBLISH that comes next


class Recorder(Witness):
    """``later`` has something done in one of the next turns; ``clock`` is seconds since the epoch."""

    def __init__(
        self, core: Core, clock: Callable[[], float], later: Callable[[Callable[[], None]], object]
    ) -> None:
        super().__init__()
        self._core = core
        self._clock = clock
        self._later = later
        self._readings: list[Reading] = []
        self._lines: dict[int, Line] = {}
        self._left: dict[str, dict[int, Leg]] = {}
        self._topics: dict[bytes, bool] = {}
        self._last = 0  # publication that has a number
        self._looks = 0  # at all connections that were begun

    # ---- readers ----

    def read(self, choice: Choice, ring: Ring, past: Iterator[list[Event]] | None = None) -> Trace:
        """Record for one more reader, until its ``Trace`` is closed; ``past`` comes first."""
        reading = Reading(choice, ring)
        self._readings.append(reading)
        for line in self._lines.values():
            if line.is_known and choice.fits(line.wire):
                line.readers.append(reading)
        self._changed(bool(choice.topics))
        return Trace(ring, lambda: self._end(reading), past)

    def _end(self, reading: Reading) -> None:
        if reading not in self._readings:
            return
        self._readings.remove(reading)
        for line in self._lines.values():
            if reading in line.readers:
                line.readers.remove(reading)
            if reading.choice.topics:
                line.is_joined = line.is_joined and any(one.choice.topics for one in line.readers)
        if not self._readings:
            self._lines.clear()
            self._left.clear()
        self._changed(bool(reading.choice.topics))

    def _changed(self, has_topics: bool) -> None:
        """Have the broker show what is wanted now, and no more."""
        if has_topics:
            self._topics.clear()
        are_topics = any(reading.choice.topics for reading in self._readings)
        self._core.shows_to(self if self._readings else None, are_topics)
        self._looks += 1
        self._look(self._looks, iter(list(self._core.connections)))

    def move_to(self, core: Core) -> None:
        """Record what another core does, which took the place of this one."""
        for line in self._lines.values():
            self._tell(line, Closed(self._clock(), line.wire, "server", "the broker is no more"), b"")
        self._lines.clear()
        self._core = core
        if self._readings:
            self._changed(has_topics=True)

    def _look(self, number: int, numbers: Iterator[int]) -> None:
        """Look at connections that are there, some at a time."""
        if number != self._looks:
            return  # another look has begun
        done = 0
        for one in islice(numbers, AT_ONCE):
            done += 1
            connection = self._core.connections.get(one)
            if connection is not None:
                self._core.look_again(connection)
        if done == AT_ONCE:
            self._later(lambda: self._look(number, numbers))

    def _line(self, connection: BrokerConnection) -> Line:
        line = self._lines.get(connection.number)
        if line is None:
            line = self._lines[connection.number] = Line(wire_of(connection))
            if connection.state == CONNECTED:
                self._known(line)
        return line

    def _known(self, line: Line) -> None:
        """It is known whose it is: nothing is held any more."""
        line.is_known = True
        self._tell_held(line)
        line.held.clear()

    def _tell_held(self, line: Line) -> None:
        """Tell all who read it, by what is known now, and have not been told."""
        for reading in self._readings:
            if reading not in line.readers and reading.choice.fits(line.wire):
                line.readers.append(reading)
                if not reading.choice.topics:
                    if line.lost:
                        reading.add(Missed(line.held[0].time, line.lost))
                    for event in line.held:
                        reading.add(event)

    def _tell(self, line: Line, event: Event, topic: bytes) -> None:
        """Tell those who read this connection, and where they chose topics, this one."""
        for reading in line.readers:
            if not reading.choice.topics or (topic and reading.choice.has_topic(topic)):
                reading.add(event)
        if not line.is_known:
            line.held.append(event)
            if len(line.held) > MOST_HELD:
                line.held.popleft()
                line.lost += 1

    # ---- what the broker asks ----

    def sees(self, connection: BrokerConnection) -> bool:
        if connection.state != CONNECTED:
            return connection.state != CLOSED
        line = self._lines.get(connection.number)
        if line is None:
            wire = wire_of(connection)
            return any(not one.choice.topics and one.choice.fits(wire) for one in self._readings)
        return line.is_joined or any(not one.choice.topics for one in line.readers)

    def sees_topic(self, topic: bytes) -> bool:
        known = self._topics.get(topic)
        if known is None:
            if len(self._topics) >= MOST_TOPICS:
                self._topics.clear()
            known = self._topics[topic] = any(one.choice.has_topic(topic) for one in self._readings)
        return known

    def meets(self, connection: BrokerConnection, packet: bytes) -> bool:
        publish = incoming(connection, packet)
        return publish is not None and self._join(connection, publish.topic)

    def _join(self, connection: BrokerConnection, topic: bytes) -> bool:
        """A connection has to do with a topic. True: that is read, so it is seen from now on."""
        if not self.sees_topic(topic):
            return False
        line = self._line(connection)
        if line.is_joined or not any(one.choice.has_topic(topic) for one in line.readers):
            return False
        line.is_joined = True
        return True

    # ---- connections ----

    def opened(self, connection: BrokerConnection) -> None:
        line = self._line(connection)
        self._tell_held(line)
        self._tell(line, Opened(self._clock(), line.wire), b"")

    def closed(self, connection: BrokerConnection, by: str, why: str) -> None:
        line = self._lines.get(connection.number)
        if line is not None:
            self._tell(line, Closed(self._clock(), line.wire, by, why), b"")
            del self._lines[connection.number]
            if line.incoming and line.wire.client_id:
                if len(self._left) >= MOST_LEFT:
                    del self._left[next(iter(self._left))]
                self._left[line.wire.client_id] = line.incoming

    def packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes) -> None:
        line = self._line(connection)
        kind = data[0] >> 4
        if not line.is_known:
            self._meet(line, connection, kind, data)
        number, topic = self._leg(line, connection, kind, is_outgoing, data)
        if not line.is_joined and not self._is_read(line):
            return
        data = without_secrets(data, connection.version)
        now = self._clock()
        self._tell(line, Packet(now, line.wire, not is_outgoing, data, number), topic)
        if is_outgoing and kind == PUBLISH and not data[0] & 6:  # QoS 0 has no acknowledgement
            text = topic.decode(errors="replace")
            done = Happening(now, DELIVERED, line.wire.client_id, "", number, text, line.wire)
            self._tell(line, done, topic)
        if not line.is_known and kind == CONNACK and is_outgoing:
            self._known(line)
            line.incoming = self._left.pop(line.wire.client_id, line.incoming)

    def _is_read(self, line: Line) -> bool:
        return not line.is_known or any(not reading.choice.topics for reading in line.readers)

    def _meet(self, line: Line, connection: BrokerConnection, kind: int, data: bytes) -> None:
        """A packet of somebody who is not known yet."""
        if kind == CONNECT:
            try:
                packet = decode(data, 0, len(data), connection.version)
            except ProtocolError:
                return
            if isinstance(packet, Connect):
                line.wire = wire_of(connection, packet)
        elif connection.client_id:
            line.wire = wire_of(connection)
        self._tell_held(line)

    # ---- which publication a packet belongs to ----

    def next_number(self) -> int:
        """For one more publication."""
        self._last += 1
        return self._last

    def _number(self, message: ApplicationMessage) -> int:
        if not message.publication:
            message.publication = self.next_number()
        return message.publication

    def _leg(
        self, line: Line, connection: BrokerConnection, kind: int, is_outgoing: bool, data: bytes
    ) -> Leg:
        if kind == PUBLISH:
            return self._sent(line, connection, data) if is_outgoing else self._came(line, connection, data)
        at = body(data)
        if not PUBACK <= kind <= PUBCOMP or len(data) < at + 2:
            return 0, b""
        packet_id = (data[at] << 8) | data[at + 1]
        if is_outgoing == (kind == PUBREL):  # of what this client is sent
            return self._inflight(connection, packet_id)
        leg = line.incoming.get(packet_id, (0, b""))
        if kind in (PUBACK, PUBCOMP) or (kind == PUBREC and len(data) > at + 2 and data[at + 2] >= 0x80):
            line.incoming.pop(packet_id, None)
        return leg

    def _came(self, line: Line, connection: BrokerConnection, data: bytes) -> Leg:
        publish = incoming(connection, data)
        if publish is None:
            return 0, b""
        again = line.incoming.get(publish.packet_id) if publish.qos == 2 else None
        if again is not None and connection.session is not None:
            if publish.packet_id in connection.session.incoming.identifiers:
                return again  # it is not taken a second time [MQTT-4.3.3-10]
        if connection.state == CONNECTED:
            self._join(connection, publish.topic)
        leg = (self.next_number(), publish.topic)
        if publish.qos:
            line.incoming[publish.packet_id] = leg
        line.unanswered.append((publish.packet_id, leg))
        return leg

    def _sent(self, line: Line, connection: BrokerConnection, data: bytes) -> Leg:
        if not data[0] & 6:
            leg, line.sending = line.sending, (0, b"")
            return leg
        at = body(data)
        at += 2 + ((data[at] << 8) | data[at + 1])
        return self._inflight(connection, (data[at] << 8) | data[at + 1])

    def _inflight(self, connection: BrokerConnection, packet_id: int) -> Leg:
        session = connection.session
        if session is None:
            return 0, b""
        entry = session.outgoing.inflight.get(packet_id) or session.outgoing.releasing.get(packet_id)
        return (self._number(entry.message), entry.message.topic) if entry is not None else (0, b"")

    # ---- what happens to messages ----

    def arrived(
        self, connection: BrokerConnection | None, message: ApplicationMessage, packet_id: int
    ) -> None:
        line = self._lines.get(connection.number) if connection is not None else None
        if line is not None:
            message.publication = self._answered(line, packet_id)
        number = self._number(message)
        if connection is not None:
            for reading in line.readers if line is not None else ():
                if reading.choice.is_of_some:
                    reading.follow(number)

    def _answered(self, line: Line, packet_id: int) -> int:
        """The number of the first PUBLISH of those that wait which has this Packet Identifier."""
        while line.unanswered:
            identifier, leg = line.unanswered.popleft()
            if identifier == packet_id:
                return leg[0]
        return 0

    def stored(self, connection: BrokerConnection, packet: bytes) -> None:
        line = self._lines.get(connection.number)
        at = body(packet)
        if line is None or packet[0] >> 4 not in (PUBACK, PUBREC):
            return
        if len(packet) > at + 2 and packet[at + 2] >= 0x80:
            return  # nothing was taken; it waited for its turn
        number, topic = line.incoming.get((packet[at] << 8) | packet[at + 1], (0, b""))
        if number:
            self._happened(STORED, line.wire.client_id, connection, number, topic, "")

    def refused(
        self, connection: BrokerConnection, kind: str, topic: bytes, packet_id: int, why: str
    ) -> None:
        line = self._lines.get(connection.number)
        number = self._answered(line, packet_id) if line is not None else 0
        self._happened(kind, connection.client_id, connection, number, topic, why)

    def sending(
        self, connection: BrokerConnection, message: ApplicationMessage, qos: int, packet_id: int
    ) -> bool:
        leg = (self._number(message), message.topic)
        is_new = self._join(connection, message.topic)
        if not qos and (is_new or connection.tap is not None):
            self._line(connection).sending = leg
        return is_new

    def happened(
        self,
        kind: str,
        client_id: str,
        connection: BrokerConnection | None,
        message: ApplicationMessage | None,
        why: str,
    ) -> None:
        number, topic = (self._number(message), message.topic) if message is not None else (0, b"")
        self._happened(kind, client_id, connection, number, topic, why)
        if kind == PUBLISHED and message is not None:
            for reading in self._readings:
                if isinstance(reading.ring, Watch) and reading.choice.has_topic(topic):
                    reading.ring.on_message(self._clock(), client_id, message)
        if kind == SESSION_ENDED:
            self._left.pop(client_id, None)

    def broken(self, connection: BrokerConnection, event: Happening | Packet) -> None:
        """A rule has done something to a packet of this connection (``faults``); or a packet that was lost by
        it, or that a client was sent in our place. What was sent, and was lost, is marked.
        """
        line = self._lines.get(connection.number)
        wire = line.wire if line is not None else wire_of(connection)
        event = replace(event, wire=wire)
        if isinstance(event, Packet) and event.lost and not event.to_server:
            for reading in self._readings:
                reading.lost_on = wire.number if reading.ring.lose(event) else 0
            return
        if isinstance(event, Packet):
            number, topic = self._leg_of_lost(line, connection, event)
            event, client_id = replace(event, publication=number), wire.client_id
        else:
            number, topic, client_id = 0, event.topic.encode(), event.client_id
        for reading in self._readings:
            is_behind = isinstance(event, Happening) and reading.lost_on == wire.number  # it says why
            reading.lost_on = 0
            if is_behind or reading.wants(wire, client_id, number, topic):
                reading.add(event)
                if isinstance(event, Packet) and event.lost:
                    reading.lost_on = wire.number

    def _leg_of_lost(self, line: Line | None, connection: BrokerConnection, packet: Packet) -> Leg:
        """Of a packet that never came, or that was not sent by us: nothing is changed by it."""
        data, kind = packet.data, packet.data[0] >> 4
        publish = incoming(connection, data) if kind == PUBLISH and packet.to_server else None
        if publish is not None:
            again = line.incoming.get(publish.packet_id) if line is not None and data[0] & 8 else None
            return again or (0, publish.topic)
        at = body(data)
        if not PUBACK <= kind <= PUBCOMP or len(data) < at + 2:
            return 0, b""
        packet_id = (data[at] << 8) | data[at + 1]
        if packet.to_server != (kind == PUBREL):
            return self._inflight(connection, packet_id)
        return line.incoming.get(packet_id, (0, b"")) if line is not None else (0, b"")

    def _happened(
        self,
        kind: str,
        client_id: str,
        connection: BrokerConnection | None,
        number: int,
        topic: bytes,
        why: str,
    ) -> None:
        wire = None
        if connection is not None:
            line = self._lines.get(connection.number)
            wire = line.wire if line is not None else wire_of(connection)
        event: Happening | None = None
        for reading in self._readings:
            if reading.wants(wire, client_id, number, topic):
                if event is None:
                    text = topic.decode(errors="replace")
                    event = Happening(self._clock(), kind, client_id, why, number, text, wire)
                reading.add(event)


def wire_of(connection: BrokerConnection | Gone, connect: Connect | None = None) -> Wire:
    """A connection, as far as it is or was known, or as this CONNECT claims."""
    if connect is not None:
        client_id, version, user = connect.client_id, connect.version, connect.username
    else:
        client_id, version, user = connection.client_id, connection.version, connection.identity
        if not client_id:
            version = 0
    listener = connection.listener
    server = listener.partition("://")[2].partition("?")[0] or listener
    name = connection.listener_name
    return Wire(connection.number, client_id, version, user or "", connection.address, server, name)


def body(data: bytes) -> int:
    """Where a packet goes on behind its Fixed Header (2.1.1)."""
    at = 1
    while data[at] > 127:
        at += 1
    return at + 1


def incoming(connection: BrokerConnection, packet: bytes) -> IncomingPublish | None:
    """A client's PUBLISH, its topic whole; None for one that cannot be."""
    try:
        publish = parse_publish(packet, 0, len(packet), connection.version)
    except ProtocolError:
        return None
    if publish.topic_alias and not publish.topic:
        publish.topic = connection.aliases.get(publish.topic_alias, b"")
    if connection.mount is not None:
        publish.topic = connection.mount.name(publish.topic)
    return publish
