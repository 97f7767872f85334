"""Joins events into flows, one event at a time, in bounded memory.

A delivery belongs to the publication whose number the broker gives it. Where only the wire is seen it is
joined by topic, payload and time: to the oldest publication of the same content that its client has not had
yet, and that is not older than what this client had of the topic before, or than its subscription. Two
publications of equal content that overtake each other cannot be told apart so.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Final

from curier.codec.packets import Publish
from curier.trace.decoding import Decoding, Seen
from curier.trace.events import (
    KEPT_AGAIN,
    NOT_MQTT,
    NOTED,
    UNKEPT,
    Closed,
    Event,
    Happening,
    Missed,
    Opened,
    Packet,
)
from curier.trace.flow_store import MOST_BYTES, MOST_FLOWS, FlowStore, kept, who
from curier.trace.flows import DONE, LOST, QUEUED, SENT, Flow, Leg, Publication
from curier.trace.gaps import Gaps
from curier.trace.handshakes import acknowledged, unkept
from curier.trace.happenings import apply_happening
from curier.trace.lives import Lives

HEAD_BYTES: Final = 1024  # of a payload
MOST_PASSED: Final = 30  # publications of equal content in a row that do not fit, until no more are looked at
JOIN_SECONDS: Final = 60.0  # a delivery later than that is not joined by its content
MOST_REMEMBERED: Final = 20_000  # what clients had last, by topic

_ACKNOWLEDGEMENTS: Final = ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP")


class Joiner(FlowStore):
    """Feed it events; ``flows`` are what it knows, oldest first.

    ``missed`` counts the events that the recording itself lacks, ``events`` those that were fed; ``gaps`` are
    those of the past, where more went by than is kept.
    """

    def __init__(self, most_flows: int = MOST_FLOWS, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(most_flows, most_bytes)
        self.missed = 0
        self.events = 0
        self.decoding = Decoding()
        self.gaps = Gaps()
        self._had: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lives = Lives(self)

    # ---- events ----

    def feed(self, event: Event) -> Flow | None:
        """Take one event. Returns the flow that it belongs to, None where it changed none."""
        self.events += 1
        self.now = event.time
        if isinstance(event, Packet):
            flow: Flow | None = self._packet(event)
        elif isinstance(event, Happening):
            if event.kind in (NOT_MQTT, NOTED) and event.wire is not None:
                flow = self._lives.noted(event, event.wire)
            elif event.kind in (UNKEPT, KEPT_AGAIN):
                self._gap(event)
                flow = None
            else:
                flow = apply_happening(self, event)
        elif isinstance(event, Opened):
            flow = self._lives.opened(event)
        elif isinstance(event, Closed):
            flow = self._lives.closed(event)
            self.decoding.forget(event.wire)
        elif isinstance(event, Missed):
            self.missed += event.count
            flow = None
        self.bound()
        return flow

    def _gap(self, event: Happening) -> None:
        self.gaps.feed(event)
        if event.kind == UNKEPT:
            number = event.wire.number if event.wire is not None else 0
            self.decoding.unkept(number)
            self._lives.unkept(event.client_id, number)
            unkept(self, event)

    def _packet(self, event: Packet) -> Flow | None:
        seen = self.decoding.read(event)
        event = kept(event)
        packet = seen.packet
        if isinstance(packet, Publish):
            flow: Flow | None = self._publish(event, seen, packet)
        elif seen.name in _ACKNOWLEDGEMENTS and packet is not None:
            flow = acknowledged(self, event, seen, packet)
        else:
            flow = None
        life = self._lives.packet(event, seen, flow)
        found = flow if flow is not None else life
        self.last_on[event.wire.number] = found
        return found

    def _publish(self, event: Packet, seen: Seen, packet: Publish) -> Publication:
        client_id = who(event, seen)
        payload = packet.payload
        checksum = 0 if event.cut else zlib.crc32(payload) or 1
        found = self._again(event, seen, packet, client_id)
        if found is None:
            leg = Leg(client_id, event.to_server, event.time)
            flow = self.numbered(event.publication)
            if flow is None and not event.to_server and not event.publication:
                flow = self._by_content(client_id, seen, packet, checksum, event.time)
            if flow is None:
                flow = self._new_publication(event, seen, packet, checksum)
            if event.to_server:
                flow.incoming, flow.publisher = leg, client_id
            else:
                self.add_leg(flow, leg)
            if not flow.is_seen:
                self._see(flow, packet, seen, checksum)
        else:
            leg, flow = found
            if event.publication and self.numbered(event.publication) is None:
                self.number(flow, event.publication)
        is_again = leg.sends > 0
        leg.sends += 1
        leg.qos, leg.packet_id, leg.retain = packet.qos, packet.packet_id, packet.retain
        leg.publication = event.publication
        leg.version, leg.wire, leg.away_since = seen.line.version, event.wire.number, 0.0
        if packet.qos:
            leg.become(SENT, event.time)
            self.expect(leg, flow)
        elif event.lost:
            leg.become(LOST, event.time, "QoS 0, and it never arrived")
        else:
            leg.become(DONE, event.time)
            leg.got_at = leg.got_at or event.time
        step = self.step(flow, event, seen, leg)
        if is_again:
            step.trouble = True
            step.note = "sent again"
        if not event.to_server and packet.retain and not flow.publisher:
            self._lives.retained(event, seen, step)
        return flow

    def _again(
        self, event: Packet, seen: Seen, packet: Publish, client_id: str
    ) -> tuple[Leg, Publication] | None:
        """The leg that this PUBLISH goes on with: one that is sent again, or one that waited for its turn."""
        known = self.expected(client_id, event.to_server, packet.packet_id)
        if packet.qos and packet.dup and known is not None:
            leg, flow = known
            if not seen.topic or not flow.topic or flow.topic == seen.topic or event.publication:
                return known
        if packet.qos and known is not None and not known[0].is_over and known[1].topic != seen.topic:
            known[0].become(LOST, event.time, f"#{packet.packet_id} was used for another message")
        flow_of_number = self.numbered(event.publication)
        if flow_of_number is not None:
            for leg in flow_of_number.legs():
                is_same = leg.client_id == client_id and leg.to_server == event.to_server
                is_same = is_same and leg.publication == event.publication
                if is_same and (leg.state == QUEUED or (packet.dup and not leg.is_over)):
                    return leg, flow_of_number
        return None

    def _by_content(
        self, client_id: str, seen: Seen, packet: Publish, checksum: int, now: float
    ) -> Publication | None:
        """The publication that a delivery without a number belongs to."""
        alike = self.alike(seen.topic, seen.payload_size)
        if not alike or self._lives.is_retained_fetch(client_id, seen, packet):
            return None
        had = self._had.get((client_id, seen.topic))
        since = max(
            (one for one in (had, self._lives.subscribed_at(client_id)) if one is not None), default=None
        )
        flow, passed = None, 0
        for one in reversed(
            alike
        ):  # the newest that fits; where it is known since when, the oldest since then
            if (
                one.began > now - JOIN_SECONDS
                and (since is None or _came(one) >= since)
                and _is_same(one, packet.payload, checksum)
                and sum(leg.client_id == client_id for leg in one.deliveries) < _times(one)
            ):
                flow, passed = one, 0
                if since is None:
                    break
            else:
                passed += 1
                if passed > MOST_PASSED:
                    break
        if flow is None:
            return None
        self._had[client_id, seen.topic] = _came(flow)
        self._had.move_to_end((client_id, seen.topic))
        if len(self._had) > MOST_REMEMBERED:
            self._had.popitem(last=False)
        return flow

    def _see(self, flow: Publication, packet: Publish, seen: Seen, checksum: int) -> None:
        """The first PUBLISH of it: what it is about."""
        flow.is_seen = True
        flow.qos = packet.qos
        flow.payload, flow.payload_size = packet.payload[:HEAD_BYTES], seen.payload_size
        flow.checksum = checksum
        self.grow(flow, len(flow.payload))

    def _new_publication(self, event: Packet, seen: Seen, packet: Publish, checksum: int) -> Publication:
        flow = self.new(Publication, event.time)
        flow.topic, flow.retain = seen.topic, packet.retain
        self._see(flow, packet, seen, checksum)
        if not event.to_server and packet.retain:
            flow.origin = "retained"
        if event.publication:
            self.number(flow, event.publication)
        if event.to_server:
            self.content(flow)
        return flow


def _came(flow: Publication) -> float:
    """When its PUBLISH, or the last of them and its acknowledgement, came."""
    return flow.incoming.changed if flow.incoming is not None and flow.incoming.sends > 1 else flow.began


def _times(flow: Publication) -> int:
    """So often at most a client has it: a PUBLISH that was sent again may be published again (4.3.2)."""
    return flow.incoming.sends if flow.incoming is not None and flow.qos == 1 else 1


def _is_same(flow: Publication, payload: bytes, checksum: int) -> bool:
    if checksum and flow.checksum:
        return checksum == flow.checksum
    size = min(len(payload), len(flow.payload))
    return payload[:size] == flow.payload[:size]
