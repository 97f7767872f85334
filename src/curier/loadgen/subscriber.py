"""A client that subscribes, acknowledges, and checks every message it gets.

The scan takes what should come next as one piece: where the packet at hand is the next of its stream, the
packets that were sent in one batch with it are made anew (``Template.batch``) and compared with what came.
Only where that fails is a packet looked at by itself. How many to compare is doubled while it goes well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from curier.codec.constants import MQTT_50, PUBLISH, PUBREL
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Publish, Pubrel, Subscribe
from curier.codec.publish import parse_publish
from curier.loadgen.connection import Connection, acks, run_of_acks
from curier.loadgen.histogram import Histogram
from curier.loadgen.ledger import Ledger
from curier.loadgen.payload import HEADER, HEADER_BYTES, SPAN, Template, check_of, fill
from curier.loadgen.result import Checks

if TYPE_CHECKING:
    from curier.loadgen.loop import Loop
    from curier.loadgen.plan import Plan
    from curier.loadgen.publisher import Publisher

PUBACK_FIRST_BYTE: Final = 0x40
PUBREC_FIRST_BYTE: Final = 0x50
PUBCOMP_FIRST_BYTE: Final = 0x70
STREAM_BYTES: Final = 8
"""Of the header, run and stream."""

SURE: Final = 4
"""So many packets of one stream next to each other, and the next ones are taken as one piece."""


class Track:
    """One stream at one subscriber: what its packets look like and which have come."""

    def __init__(
        self, topic: str, template: Template, ledger: Ledger, publisher: Publisher | None, qos: int
    ) -> None:
        self.topic = topic
        self.template = template
        self.ledger = ledger
        self.publisher = publisher
        self.qos = qos
        self.head = bytes(template.packet[: template.id_at or template.at])  # up to the Packet Identifier
        self.tail = bytes(template.packet[template.at + HEADER_BYTES :])
        self.varied = publisher.varied if publisher is not None else None
        self.has_runs = self.varied is None and not ledger.is_group
        self.last = -1  # number, for the order within a group
        self.reordered = 0


class Subscriber(Connection):
    """Subscriber ``number`` of a run; ``expect`` tells it of the streams of this run.

    ``corrupted`` counts by topic; ``foreign`` what was never ours, where others may publish, too.
    """

    def __init__(self, plan: Plan, loop: Loop, number: int, touched: set[Publisher]) -> None:
        super().__init__(plan, loop, f"bench-{plan.run:08x}-s{number}")
        self.number = number
        self.is_kept = plan.kept
        self.touched = touched
        self.tracks: dict[bytes, Track] = {}
        self.delivered = 0
        self.latency = Histogram()
        self.foreign = 0
        self.corrupted: dict[str, Checks] = {}
        self.topics: set[bytes] = set()  # of streams that were learnt
        self.learns = plan.scenario == "sub"
        self._streak = 0  # packets of one stream next to each other, until here
        self._recent: Track | None = None

    def subscribe(self) -> None:
        """Send SUBSCRIBE."""
        topic_filter = self.plan.filter_of(self.number)
        self.out.append(encode(Subscribe(1, [(topic_filter, self.plan.qos)]), self.version))
        self.flush()

    def expect(self, publisher: Publisher, ledger: Ledger) -> None:
        """Get ready for what a publisher of this run sends: the broker passes it on as it is."""
        template = publisher.template
        key = template.run.to_bytes(4, "big") + template.stream.to_bytes(4, "big")
        self.tracks[key] = Track(publisher.topic, template, ledger, publisher, publisher.qos)

    def take(self, data: bytes, pos: int, stop: int, now: int) -> int:
        first = data[pos]
        kind = first >> 4
        if kind == PUBLISH:
            return self._publish(data, pos, stop, now)
        if kind == PUBREL:
            if stop - pos != 4:
                packet = decode(data, pos, stop, self.version)
                assert isinstance(packet, Pubrel)
                high, low = packet.packet_id.to_bytes(2, "big")
                self.out.append(acks(PUBCOMP_FIRST_BYTE, bytes((high,)), bytes((low,))))
                return stop
            stop = pos + 4 * run_of_acks(data, pos)
            self.out.append(acks(PUBCOMP_FIRST_BYTE, data[pos + 2 : stop : 4], data[pos + 3 : stop : 4]))
            return stop
        return super().take(data, pos, stop, now)

    def _publish(self, data: bytes, pos: int, stop: int, now: int) -> int:
        """One PUBLISH, and those after it that are the next of the same batch (3.3)."""
        if stop - pos < HEADER_BYTES:
            return self._look_closer(data, pos, stop, now)
        # Where is what: flat, as this is done for every packet that is not taken with the one before it.
        topic_at = pos + 2
        while data[topic_at - 1] > 127:
            topic_at += 1
        at = topic_at + 2 + (data[topic_at] << 8 | data[topic_at + 1])
        qos = data[pos] >> 1 & 3
        id_at = at if qos else 0
        if qos:
            at += 2
        if self.version == MQTT_50:
            at += 1  # no Properties; where there are some, the header is found elsewhere below
        if at + HEADER_BYTES > stop or (self.version == MQTT_50 and data[at - 1]):
            return self._look_closer(data, pos, stop, now)
        track = self.tracks.get(data[at : at + STREAM_BYTES])
        if track is None:
            return self._look_closer(data, pos, stop, now)
        _, _, sent_at, end, number, check = HEADER.unpack_from(data, at)
        head, tail = track.head, track.tail
        if track.varied is not None:
            head, tail = track.varied.head(number), track.varied.tail(number)
        if (
            check != check_of(data, at, number)
            or data[at + HEADER_BYTES : stop] != tail
            or not data.startswith(head, pos)
        ):
            return self._look_closer(data, pos, stop, now)
        count = 1
        if track is not self._recent:
            self._recent = track
            self._streak = 1
        elif self._streak < SURE or number != track.ledger.next or not track.has_runs:
            self._streak += 1
        else:
            count = self._run(track, data, pos, sent_at, end, number)
            self._streak = self._streak + count if count else 0
            count = max(count, 1)
        if count == 1:
            self._note(track, number)
        else:
            track.ledger.take_run(count)
            if track.publisher is not None:
                track.publisher.accounted += count
                self.touched.add(track.publisher)
        self.delivered += count
        self.latency.add(now - sent_at, count)
        size = stop - pos
        stop = pos + count * size
        if qos:
            first = PUBACK_FIRST_BYTE if qos == 1 else PUBREC_FIRST_BYTE
            self.out.append(acks(first, data[id_at:stop:size], data[id_at + 1 : stop : size]))
        return stop

    def _run(self, track: Track, data: bytes, pos: int, sent_at: int, end: int, number: int) -> int:
        """How many packets from ``pos`` on are the next of their batch; 0 where some of them are not."""
        template = track.template
        size = template.size
        left = (end - number) % 0x100000000
        count = min((len(data) - pos) // size, left, self._streak, SPAN - number % SPAN)
        if count == 1:
            return 1
        batch = template.batch(number, count, sent_at, end)
        if template.id_at:  # the broker chooses these
            stop = pos + count * size
            id_at = pos + template.id_at
            batch[template.id_at :: size] = data[id_at:stop:size]
            batch[template.id_at + 1 :: size] = data[id_at + 1 : stop : size]
        return count if data.startswith(batch, pos) else 0

    def _note(self, track: Track, number: int) -> None:
        """One message that is whole: does it come when it should?"""
        if track.ledger.is_group:
            if number < track.last:
                track.reordered += 1
            track.last = number
        accounted = track.ledger.take(number)
        if track.publisher is not None and accounted:
            track.publisher.accounted += accounted
            self.touched.add(track.publisher)

    def _look_closer(self, data: bytes, pos: int, stop: int, now: int) -> int:
        """A PUBLISH that is not as expected: of a new stream, with Properties, damaged, or foreign."""
        publish = parse_publish(data, pos, stop, self.version)
        if publish.qos:
            high, low = publish.packet_id.to_bytes(2, "big")
            first = PUBACK_FIRST_BYTE if publish.qos == 1 else PUBREC_FIRST_BYTE
            self.out.append(acks(first, bytes((high,)), bytes((low,))))
        self._recent = None
        payload = publish.payload
        self.delivered += 1
        if len(payload) < HEADER_BYTES:
            self._unknown(publish.topic)
            return stop
        _, stream, sent_at, _, number, check = HEADER.unpack_from(payload)
        is_whole = check == check_of(payload, 0, number) and payload[HEADER_BYTES:] == fill(
            stream, len(payload) - HEADER_BYTES
        )
        track = self.tracks.get(payload[:STREAM_BYTES])
        if track is None and is_whole and self.learns and not publish.retain:
            track = self._learn(publish.topic, data[pos:stop], payload, publish.qos)
            track.ledger = Ledger(number)
        topic = publish.topic.decode()
        if (
            track is None
            or not is_whole
            or topic != (track.topic if track.varied is None else self.plan.topic_of(stream, number))
            or publish.qos != track.qos
            or publish.retain
        ):
            self._unknown(publish.topic)
            return stop
        self.latency.add(now - sent_at)
        self._note(track, number)
        return stop

    def _learn(self, topic: bytes, packet: bytes, payload: bytes, qos: int) -> Track:
        """Watch a stream of somebody else from its first message on."""
        at = len(packet) - len(payload)
        id_at = at - (3 if self.version == MQTT_50 else 2) if qos else 0
        key = payload[:STREAM_BYTES]
        run, stream = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big")
        plain = encode(Publish(topic.decode(), payload, qos, packet_id=1 if qos else 0), self.version)
        if len(plain) == len(packet):
            template = Template(plain, at, id_at, run, stream)
        else:  # it has Properties, so that none is ever taken at a glance
            template = Template(packet, at, 0, run, stream)
        track = self.tracks[key] = Track(topic.decode(), template, Ledger(), None, qos)
        self.topics.add(topic)
        return track

    def _unknown(self, topic: bytes) -> None:
        """Damaged, if it came where only our own messages come; else no business of ours."""
        if self.learns and topic not in self.topics:
            self.foreign += 1
            return
        checks = self.corrupted.setdefault(topic.decode(), Checks())
        checks.corrupted += 1
