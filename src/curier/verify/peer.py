"""A client without a network, as one that means it: it remembers its Session State, and keeps a ledger.

It writes down what it was promised (PUBACK, PUBREC) and what it got, and knows nothing of the broker's
insides; ``curier.verify.ledger`` compares the ledgers of senders and receivers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.verify.ledger import OUT_OF_ORDER, SESSION, Fault, Ledger

FOREVER: Final = 0xFFFFFFFF
HIGHEST_ID: Final = 60000
"""Of a message; those above are of SUBSCRIBE and UNSUBSCRIBE."""

SUBSCRIBE_ID: Final = 65535
UNSUBSCRIBE_ID: Final = 65534


def no_clock() -> float:
    """The time where nobody wants to know it."""
    return 0.0


class Peer(Ledger):
    """A client. What it must remember is here; what belongs to a connection goes with ``hang_up``.

    ``clock`` says when acknowledgements come, in seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        version: int,
        filters: list[tuple[str, int]],
        is_durable: bool,
        clock: Callable[[], float] = no_clock,
    ) -> None:
        super().__init__(name)
        self.client_id = name
        self.version = version
        self.filters = filters
        self.leaving: list[str] = []  # filters that it unsubscribes from, when it has subscribed
        self.is_durable = is_durable
        self.clock = clock
        self.username: str | None = None
        self.password: bytes | None = None
        self.will: p.Will | None = None
        self.to_broker = b""
        self.from_broker = b""
        self.is_welcome = False
        self.refusal = 0  # why CONNACK said no: a Return Code or a Reason Code
        self.has_session = False  # CONNACK came: the broker has promised to keep the session
        self.session_present = False  # as the last CONNACK has it
        self.welcome_at = 0.0  # when the first CONNACK came, or the first after the session was lost
        self.is_subscribed = False
        self.subscribed_at = 0.0
        self.has_left = False
        self.left_at = 0.0
        # as a sender
        self.window = 65535  # what the broker takes at once: its Receive Maximum
        self.most_qos = 2
        self.may_retain = True
        self.last_id = 0
        self.unfinished: dict[int, p.Publish | None] = {}  # None: PUBREC came
        self.refused: Counter[int] = Counter()  # messages that were, by their Reason Codes
        # as a receiver
        self.identifiers: set[int] = set()
        self.sources: list[Peer] = []  # senders of whose messages the order of coming again is checked
        self.places: dict[bytes, int] = {}  # of each message among all, in the order of their first coming
        self.place = -1  # of the last that came on this connection

    def hang_up(self) -> None:
        """The connection has ended."""
        self.to_broker = self.from_broker = b""
        self.is_welcome = False
        self.place = -1
        if not self.is_durable:
            self._forget()

    def _forget(self) -> None:
        """There is no Session State any more."""
        self.unfinished.clear()
        self.identifiers.clear()
        self.is_subscribed = self.has_left = False

    def send(self, packet: p.Packet) -> None:
        """Leave it in ``to_broker``."""
        self.to_broker += encode(packet, self.version)

    def call(self) -> None:
        """Begin a connection."""
        made = None
        if self.version == 5:
            made = Properties()
            made.session_expiry_interval = FOREVER if self.is_durable else 0
        clean = not self.is_durable
        self.send(
            p.Connect(self.version, self.client_id, clean, 0, self.username, self.password, self.will, made)
        )

    def publish(self, topic: str, qos: int, retain: bool, padding: int = 0) -> None:
        """Send the next message; no other has its payload."""
        self.last_id = self.last_id % HIGHEST_ID + 1
        while self.last_id in self.unfinished:
            self.last_id = self.last_id % HIGHEST_ID + 1
        payload = b"%s %d%s" % (self.name.encode(), len(self.sent) + 1, b"." * padding)
        message = p.Publish(topic, payload, qos, False, retain, self.last_id, None)
        self.write(payload, topic, qos, retain)
        self.unfinished[self.last_id] = message
        self.send(message)

    def remove_retained(self, topic: str) -> None:
        """Send a message without a payload, which removes what is retained on the topic [MQTT-3.3.1-6]."""
        self.last_id += 1
        self.write(b"", topic, 1, True)
        message = self.unfinished[self.last_id] = p.Publish(topic, b"", 1, False, True, self.last_id, None)
        self.send(message)

    def read(self, data: bytes) -> None:
        """Take bytes from the broker. Raises ``ProtocolError`` for what is no MQTT."""
        self.from_broker += data
        pos = 0
        while pos < len(self.from_broker):
            end = packet_end(self.from_broker, pos)
            if not pos < end <= len(self.from_broker):
                break
            self.take(decode(self.from_broker, pos, end, self.version))
            pos = end
        self.from_broker = self.from_broker[pos:]

    def take(self, packet: p.Packet) -> None:
        """Take one packet, and answer it."""
        if isinstance(packet, p.Connack):
            self.welcome(packet)
        elif isinstance(packet, p.Suback):
            self.subscribed(packet)
        elif isinstance(packet, p.Unsuback):
            self.has_left = True
            self.left_at = self.clock()
        elif isinstance(packet, p.Publish):
            self.receive(packet)
        elif isinstance(packet, p.Pubrel):
            self.identifiers.discard(packet.packet_id)
            self.send(p.Pubcomp(packet.packet_id))
        elif isinstance(packet, p.Puback):
            self.answered(packet.packet_id, packet.reason_code)
        elif isinstance(packet, p.Pubrec):
            if not self.answered(packet.packet_id, packet.reason_code):
                self.unfinished[packet.packet_id] = None
                self.send(p.Pubrel(packet.packet_id))
        elif isinstance(packet, p.Pubcomp):
            self.unfinished.pop(packet.packet_id, None)

    def receive(self, packet: p.Publish) -> None:
        """Write a message down, and acknowledge it."""
        self.note_order(packet.payload)
        if packet.qos == 2 and packet.packet_id in self.identifiers:
            self.send(p.Pubrec(packet.packet_id))
            return
        self.got.append((packet.topic, packet.payload))
        if packet.qos == 1:
            self.send(p.Puback(packet.packet_id))
        elif packet.qos == 2:
            self.identifiers.add(packet.packet_id)
            self.send(p.Pubrec(packet.packet_id))

    def note_order(self, payload: bytes) -> None:
        """What comes again does so in its first order, and before all that is new [MQTT-4.6.0-1]."""
        sent = next((one.sent[payload] for one in self.sources if payload in one.sent), None)
        if sent is None or sent.is_repeated:
            return
        place = self.places.setdefault(payload, len(self.places))
        if place < self.place:
            said = f"message {sent.number} on {sent.topic} came to {self.name} again, behind one that had"
            said += " come later"
            self.faults.append(Fault(OUT_OF_ORDER, said, sent.topic, sent.number, sent.acknowledged_at))
        self.place = place

    def answered(self, packet_id: int, reason_code: int) -> bool:
        """A promise, or a refusal; True where the flow is over."""
        message = self.unfinished.get(packet_id)
        if reason_code >= 0x80:
            self.refused[reason_code] += 1
            self.unfinished.pop(packet_id, None)
            return True
        if message is not None:
            self.promise(message.payload, self.clock())
            if message.qos == 1:
                del self.unfinished[packet_id]
        return message is not None and message.qos == 1

    def subscribed(self, packet: p.Suback) -> None:
        """The broker has answered SUBSCRIBE."""
        for code in packet.reason_codes:
            if code >= 0x80:
                self.refusal = code
                return
        self.is_subscribed = True
        self.subscribed_at = self.clock()
        if self.leaving and not self.has_left:
            self.send(p.Unsubscribe(UNSUBSCRIBE_ID, self.leaving, None))

    def welcome(self, packet: p.Connack) -> None:
        """The broker has answered CONNECT: what is unfinished is sent again [MQTT-4.4.0-1]."""
        self.refusal = packet.reason_code
        if packet.reason_code:
            return
        self.session_present = packet.session_present
        if not packet.session_present:
            if self.has_session:
                said = f"the session of {self.name} was acknowledged and is not there"
                self.faults.append(Fault(SESSION, said, acknowledged_at=self.welcome_at))
            self.lose_session()
        if not self.has_session:
            self.welcome_at = self.clock()
        self.has_session = self.is_durable
        self.is_welcome = True
        self._note_limits(packet.properties)
        for packet_id, message in self.unfinished.items():
            if message is None:
                self.send(p.Pubrel(packet_id))
            else:
                again = p.Publish(
                    message.topic, message.payload, message.qos, True, message.retain, packet_id, None
                )
                self.send(again)
                self.sent[message.payload].is_repeated = True
        if self.filters and not self.is_subscribed:
            self.send(p.Subscribe(SUBSCRIBE_ID, self.filters, None))

    def _note_limits(self, properties: Properties | None) -> None:
        if properties is not None:
            if properties.receive_maximum is not None:
                self.window = properties.receive_maximum
            if properties.maximum_qos is not None:
                self.most_qos = properties.maximum_qos
            self.may_retain = properties.retain_available != 0

    def lose_session(self) -> None:
        """The server has none, so this side has none either (5.0: [MQTT-3.2.2-5]).

        What was not acknowledged was not promised, and is not sent again.
        """
        self.has_session = False
        self._forget()
        self.places.clear()
