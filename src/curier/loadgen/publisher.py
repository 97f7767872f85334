"""A client that publishes one stream of numbered messages and keeps account of what is acknowledged."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from curier.codec.constants import MQTT_50, PINGRESP, PUBACK, PUBCOMP, PUBREC
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Puback, Pubcomp, Publish, Pubrec
from curier.errors import ConfigError, RemoteProtocolError
from curier.loadgen.connection import Connection, acks, run_of_acks
from curier.loadgen.histogram import Histogram
from curier.loadgen.payload import MOST_IDS, SPAN, Template, id_columns
from curier.loadgen.varied import Varied

if TYPE_CHECKING:
    from curier.loadgen.loop import Loop
    from curier.loadgen.plan import Plan

BATCH_BYTES: Final = 1 << 16
BATCH_MESSAGES: Final = 1000
FIRST_BYTES: Final = {PUBACK: 0x40, PUBREC: 0x50, PUBCOMP: 0x70}
PUBREL_FIRST_BYTE: Final = 0x62


class Acknowledged:
    """How far a kind of acknowledgement has come: all messages below ``low``, and those in ``early``."""

    def __init__(self) -> None:
        self.low = 0
        self.early: set[int] = set()

    def take(self, high: bytes, low: bytes, limit: int) -> None:
        """Note Packet Identifiers, by their columns; messages from ``limit`` on are not due.

        Raises ``RemoteProtocolError`` for one that is not due.
        """
        count = len(high)
        if not self.early and self.low + count <= limit and (high, low) == id_columns(self.low, count):
            self.low += count  # in the order of sending, as always but for bad news
            return
        for packet_id in (a << 8 | b for a, b in zip(high, low, strict=True)):
            number = self.low + (packet_id - 1 - self.low) % MOST_IDS
            if number >= limit or number in self.early or not packet_id:
                raise RemoteProtocolError(
                    0x82, f"the broker acknowledges Packet Identifier {packet_id}, which is not in use"
                )
            self.early.add(number)
            while self.low in self.early:
                self.early.remove(self.low)
                self.low += 1


class Publisher(Connection):
    """Publishes stream ``stream``. ``touched`` collects publishers that may be able to go on."""

    def __init__(self, plan: Plan, loop: Loop, stream: int, touched: set[Publisher]) -> None:
        super().__init__(plan, loop, f"bench-{plan.run:08x}-p{stream}")
        self.touched = touched
        self.stream = stream
        self.topic = plan.topic_of(stream)
        self.qos = plan.qos
        self.template = self._make_template()
        self.varied = Varied(plan, stream) if plan.is_varied else None
        self.largest = self.template.size if self.varied is None else self.varied.largest
        self.most = min(BATCH_MESSAGES, max(1, BATCH_BYTES // self.largest))
        self.inflight = 1 if plan.scenario == "rr" else plan.inflight
        self.fanout = plan.fanout
        self.ahead = 1  # messages that may be unfinished in a flood; set by whoever knows of the others
        self.pinged: deque[int] = deque()  # how many were sent before each PINGREQ that is unanswered
        self.ponged = 0  # messages the broker has taken, by its answers
        self.quota: int | None = None  # messages to send in all
        self.accounted = 0  # deliveries that came, or will never come
        self.sent = 0
        self.received = Acknowledged()  # PUBREC
        self.done = Acknowledged()  # PUBACK, or PUBCOMP
        self.refused = 0
        self.batches: deque[tuple[int, int]] = deque()  # the number after each, and when it was sent
        self.ack_latency = Histogram()
        self.due: deque[int] = deque()  # with a rate: when messages should go that cannot go yet
        self.lateness = Histogram()

    def _make_template(self) -> Template:
        plan = self.plan
        publish = Publish(
            plan.topic_of(self.stream), bytes(plan.payload), plan.qos, packet_id=1 if plan.qos else 0
        )
        packet = encode(publish, plan.version)
        at = len(packet) - plan.payload
        id_at = at - (3 if plan.version == MQTT_50 else 2) if plan.qos else 0
        return Template(packet, at, id_at, plan.run, self.stream)

    def prepare(self) -> None:
        """Obey what CONNACK says; raises ``ConfigError`` where the plan asks for more (3.2.2.3)."""
        properties = self.connack.properties
        if self.plan.aliases and self.varied is not None:
            most = properties.topic_alias_maximum if properties is not None else None
            if not most:
                raise ConfigError("the broker takes no Topic Aliases")
            self.varied.aliases = min(most, self.plan.topics)  # [MQTT-3.3.2-9]
        if properties is None:
            return
        if properties.maximum_qos is not None and properties.maximum_qos < self.qos:
            raise ConfigError(f"the broker takes QoS {properties.maximum_qos} at most")
        if (largest := properties.maximum_packet_size) is not None and largest < self.largest:
            raise ConfigError(f"the broker takes packets of {largest} bytes at most")
        if properties.receive_maximum is not None:
            self.inflight = min(self.inflight, properties.receive_maximum)  # [MQTT-3.3.4-7]

    # ---- out ----

    @property
    def unacknowledged(self) -> int:
        """QoS 1 and 2 messages that are under way to the broker."""
        return self.sent - self.done.low if self.qos else 0

    @property
    def undelivered(self) -> int:
        """Deliveries that have neither come nor been given up."""
        return self.sent * self.fanout - self.accounted

    @property
    def finished(self) -> int:
        """Messages that the broker is done with: all delivered; without subscribers, acknowledged or read."""
        if self.fanout:
            return self.accounted // self.fanout
        if self.qos:
            return self.done.low
        return self.ponged if self.plan.rate is None else self.sent

    def ping(self) -> None:
        self.pinged.append(self.sent)
        super().ping()

    def room(self) -> int:
        """How many messages may go now."""
        if self.unsent is not None or self.sock is None:
            return 0
        room = self.most
        if self.quota is not None:
            room = min(room, self.quota - self.sent)
        if self.qos:
            room = min(room, self.inflight - self.unacknowledged)
        if self.plan.rate is None:
            free = self.ahead - (self.sent - self.finished)
            if free * 4 < self.ahead:
                return 0  # not by driblets
            room = min(room, free)
        return max(room, 0)

    def publish(self, count: int, sent_at: int) -> None:
        """Put ``count`` messages into ``out``, stamped with ``sent_at``."""
        end = self.sent + count
        if self.varied is not None:
            self.out += [self.varied.packet(number, sent_at, end) for number in range(self.sent, end)]
            self.sent = end
        while self.sent < end:
            part = min(end - self.sent, SPAN - self.sent % SPAN)
            self.out.append(self.template.numbered_batch(self.sent, part, sent_at, end))
            self.sent += part
        if self.qos:
            self.batches.append((end, sent_at))
        elif not self.fanout and self.plan.rate is None:
            # Nothing else says how far the broker is: what it has not read may wait in the network's buffers.
            self.ping()

    def forget_retained(self) -> None:
        """Leave nothing retained behind."""
        if self.varied is not None and self.plan.retain and self.sock is not None:
            self.out += self.varied.forgets(self.sent)
            self.ping()

    def publish_due(self, now: int) -> None:
        """With a rate: what is due and may go, each message stamped with when it should have gone."""
        for _ in range(min(self.room(), len(self.due))):
            due = self.due.popleft()
            self.lateness.add(now - due)
            self.publish(1, due)

    def unblocked(self) -> None:
        self.touched.add(self)

    # ---- in ----

    def take(self, data: bytes, pos: int, stop: int, now: int) -> int:
        kind = data[pos] >> 4
        if kind == PINGRESP and self.pinged:
            self.ponged = self.pinged.popleft()
            self.touched.add(self)
        if kind not in FIRST_BYTES:
            return super().take(data, pos, stop, now)
        if stop - pos == 4 and data[pos] == FIRST_BYTES[kind]:
            count = run_of_acks(data, pos)
            stop = pos + 4 * count
            self._acknowledged(kind, data[pos + 2 : stop : 4], data[pos + 3 : stop : 4], now)
            return stop
        packet = decode(data, pos, stop, self.version)
        assert isinstance(packet, Puback | Pubrec | Pubcomp)
        high, low = packet.packet_id.to_bytes(2, "big")
        if packet.reason_code >= 0x80:
            self.refused += 1
            if kind == PUBREC:  # the flow ends with it (4.3.3)
                self.received.take(bytes((high,)), bytes((low,)), self.sent)
                kind = PUBACK
        self._acknowledged(kind, bytes((high,)), bytes((low,)), now)
        return stop

    def _acknowledged(self, kind: int, high: bytes, low: bytes, now: int) -> None:
        if kind == PUBREC:
            self.received.take(high, low, self.sent)
            self.out.append(acks(PUBREL_FIRST_BYTE, high, low))
            return
        first = self.done.low
        self.done.take(high, low, self.sent)
        self.touched.add(self)
        below = self.done.low
        batches = self.batches
        while batches and first < below:
            end, sent_at = batches[0]
            self.ack_latency.add(now - sent_at, min(end, below) - first)
            first = min(end, below)
            if end > below:
                break
            batches.popleft()
