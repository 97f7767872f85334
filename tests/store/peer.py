"""A client without a network, as one that means it: it remembers its Session State, and keeps a ledger.

It writes down what it was promised (PUBACK, PUBREC) and what it got, and knows nothing of the broker's
insides; ``check_pair`` and ``check_retained`` compare the ledgers of a sender and a receiver.
"""

from __future__ import annotations

from collections import Counter

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties

FOREVER = 0xFFFFFFFF


class Peer:
    """A client. What it must remember is here; what belongs to a connection goes with ``hang_up``."""

    def __init__(self, name: str, version: int, filters: list[tuple[str, int]], is_durable: bool) -> None:
        self.name = name
        self.version = version
        self.filters = filters
        self.is_durable = is_durable
        self.to_broker = b""
        self.from_broker = b""
        self.is_welcome = False
        self.has_session = False  # CONNACK came: the broker has promised to keep the session
        self.is_subscribed = False
        # as a sender
        self.count = 0
        self.last_id = 0
        self.unfinished: dict[int, p.Publish | None] = {}  # None: PUBREC came
        self.sent: dict[bytes, str] = {}  # the topic of each payload, in the order of sending
        self.promised: set[bytes] = set()
        self.refused = 0
        self.repeated: set[bytes] = set()  # sent again, so that the broker may have them twice
        # as a receiver
        self.identifiers: set[int] = set()
        self.got: list[tuple[str, bytes]] = []
        self.sources: list[Peer] = []  # senders of whose messages the order of coming again is checked
        self.places: dict[bytes, int] = {}  # of each message among all, in the order of their first coming
        self.place = -1  # of the last that came on this connection

    def hang_up(self) -> None:
        self.to_broker = self.from_broker = b""
        self.is_welcome = False
        self.place = -1
        if not self.is_durable:
            self.unfinished.clear()
            self.identifiers.clear()

    def send(self, packet: p.Packet) -> None:
        self.to_broker += encode(packet, self.version)

    def call(self) -> None:
        made = None
        if self.version == 5:
            made = Properties()
            made.session_expiry_interval = FOREVER if self.is_durable else 0
        clean = not self.is_durable
        self.send(p.Connect(self.version, self.name, clean, 0, None, None, None, made))

    def publish(self, topic: str, qos: int, retain: bool, padding: int = 0) -> None:
        """Send the next message; no other has its payload."""
        self.count += 1
        self.last_id = self.last_id % 60000 + 1
        while self.last_id in self.unfinished:
            self.last_id = self.last_id % 60000 + 1
        payload = b"%s %d%s" % (self.name.encode(), self.count, b"." * padding)
        message = p.Publish(topic, payload, qos, False, retain, self.last_id, None)
        self.sent[payload] = topic
        self.unfinished[self.last_id] = message
        self.send(message)

    def read(self, data: bytes) -> None:
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
        if isinstance(packet, p.Connack):
            self.welcome(packet)
        elif isinstance(packet, p.Suback):
            self.is_subscribed = True
        elif isinstance(packet, p.Publish):
            self.note_order(packet.payload)
            if packet.qos == 1:
                self.got.append((packet.topic, packet.payload))
                self.send(p.Puback(packet.packet_id))
            else:
                if packet.packet_id not in self.identifiers:
                    self.got.append((packet.topic, packet.payload))
                self.identifiers.add(packet.packet_id)
                self.send(p.Pubrec(packet.packet_id))
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

    def note_order(self, payload: bytes) -> None:
        """What comes again does so in its first order, and before all that is new [MQTT-4.6.0-1]."""
        if not self.sources or any(payload in sender.repeated for sender in self.sources):
            return
        place = self.places.setdefault(payload, len(self.places))
        assert place > self.place, f"number {place} to {self.name} came again behind number {self.place}"
        self.place = place

    def answered(self, packet_id: int, reason_code: int) -> bool:
        """A promise, or a refusal; True where the flow is over."""
        message = self.unfinished.get(packet_id)
        if reason_code >= 0x80:
            assert reason_code == 0x83, hex(reason_code)
            self.refused += 1
            del self.unfinished[packet_id]
            return True
        if message is not None:
            self.promised.add(message.payload)
            if message.qos == 1:
                del self.unfinished[packet_id]
        return message is not None and message.qos == 1

    def welcome(self, packet: p.Connack) -> None:
        if packet.reason_code:
            return
        if self.has_session:
            assert packet.session_present, f"the session of {self.name} is lost"
        self.has_session = self.is_durable
        self.is_welcome = True
        for packet_id, message in self.unfinished.items():
            if message is None:
                self.send(p.Pubrel(packet_id))
            else:
                again = p.Publish(
                    message.topic, message.payload, message.qos, True, message.retain, packet_id, None
                )
                self.send(again)
                self.repeated.add(message.payload)
        if self.filters and not self.is_subscribed:
            self.send(p.Subscribe(65535, self.filters, None))

    def sent_to(self, topic: str) -> list[bytes]:
        return [payload for payload, where in self.sent.items() if where == topic]


def check_pair(sender: Peer, got: list[tuple[str, bytes]], qos: int, in_order: bool) -> None:
    """Compare what ``sender`` was promised on ``t/NAME/1`` and ``/2`` with what a subscriber got."""
    for sent_qos in (1, 2):
        topic = f"t/{sender.name}/{sent_qos}"
        sent = sender.sent_to(topic)
        came = [payload for where, payload in got if where == topic]
        arrived = set(came)
        assert arrived <= set(sent)
        lost = [payload[:20] for payload in sent if payload in sender.promised and payload not in arrived]
        assert not lost, f"lost: {sender.name} was promised {lost}, which did not come"
        if min(sent_qos, qos) == 2:
            doubled = [payload[:20] for payload, count in Counter(came).items() if count > 1]
            assert not doubled, f"doubled: {doubled}"
        if in_order:
            firsts = list(dict.fromkeys(came))
            assert firsts == [payload for payload in sent if payload in arrived], f"out of order on {topic}"


def check_retained(sender: Peer, payload: bytes | None) -> None:
    """``payload`` is what is retained on ``kept/NAME``: what was promised last, or something newer."""
    sent = sender.sent_to(f"kept/{sender.name}")
    promised = [one for one in sent if one in sender.promised]
    if promised:
        assert payload is not None, "lost: a retained message"
        assert sent.index(payload) >= sent.index(promised[-1]), "an old retained message is back"
