"""Publications as spans of OpenTelemetry: taken by the broker, waiting, delivered. Needs ``curier[otel]``.

    async with broker.trace(topic="orders/#") as trace:
        await export(trace, opentelemetry.trace.get_tracer("broker"))

The parent of all is what the publisher says in the User Property ``traceparent`` (W3C Trace Context). A
broker hands it on to receivers as it came [MQTT-3.3.2-17], so that they are children of the publisher, beside
these. Spans begin and end with the times of events; none is ever the current one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterable
from typing import Final

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.errors import ConfigError, ProtocolError
from curier.trace.dissection import guess_version, shortened
from curier.trace.events import Event, Happening, Packet
from curier.trace.flows import LOST, PASSED_OVER, REFUSED, Leg, Publication
from curier.trace.joining import Joiner

try:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    raise ConfigError("spans need the package opentelemetry-api: pip install 'curier[otel]'") from None

LATE: Final = 10.0
"""Seconds after which a delivery is linked to its publication, and no child of it any more."""
MOST_PUBLICATIONS: Final = 10_000
"""That are under way; the spans of the oldest end as they are."""


async def export(events: AsyncIterable[Event], tracer: Tracer, late: float = LATE) -> None:
    """Make spans of events until there are no more. Cancelling it ends those that are under way."""
    spans = Spans(tracer, late)
    try:
        async for event in events:
            spans.feed(event)
    finally:
        spans.finish()


class Spans:
    """Feed it events; spans begin when a message is published, and end when a part of its way is over.

    ``publish`` is from PUBLISH to its acknowledgement, ``queue`` as long as the message waits for a receiver,
    ``deliver`` from PUBLISH to that receiver to its acknowledgement. Those of a receiver are children of
    ``publish``. One that begins more than ``late`` seconds after it, or is of a retained message for a
    new subscription, is in a trace of its own, linked to it. A span whose way ended otherwise has the status
    ERROR and says why.
    """

    def __init__(self, tracer: Tracer, late: float = LATE) -> None:
        self._tracer = tracer
        self._late = late
        self._joiner = Joiner()
        self._ways: OrderedDict[int, _Way] = OrderedDict()
        self._now = 0.0

    def feed(self, event: Event) -> None:
        """Take one event."""
        flow = self._joiner.feed(event)
        self._joiner.settled()  # nobody else takes them
        self._now = event.time
        if not isinstance(flow, Publication):
            return
        way = self._ways.get(flow.number)
        if way is None:
            self._ways[flow.number] = way = _Way(flow, self._begin(flow, event))
            if len(self._ways) > MOST_PUBLICATIONS:
                self._ways.popitem(last=False)[1].end(self._now, "it was let go of: there were too many")
        self._go_on(way, event)
        if flow.is_finished and not way.open:
            way.end(self._now)

    def finish(self) -> None:
        """Nothing more comes: spans that are under way end here, and say what they wait for."""
        for way in self._ways.values():
            for delivery in way.open:
                wait = delivery.leg.wait
                self._deliver(way, delivery, f"not over: waits for {wait.what}" if wait is not None else "")
            way.open.clear()
            way.end(self._now, "" if way.flow.incoming is None or way.flow.incoming.is_over else "not over")
        self._ways.clear()

    def _begin(self, flow: Publication, event: Event) -> Span:
        span = self._tracer.start_span(
            "publish",
            parent_of(event) or Context(),
            SpanKind.CONSUMER,
            _attributes(flow, "receive"),
            start_time=_nanoseconds(flow.began),
        )
        if flow.publisher:
            span.set_attribute("messaging.client.id", flow.publisher)
        return span

    def _go_on(self, way: _Way, event: Event) -> None:
        flow = way.flow
        if flow.incoming is None or flow.incoming.is_over:
            why = flow.incoming.why if flow.incoming is not None and flow.incoming.state == REFUSED else ""
            way.end(flow.incoming.changed if flow.incoming is not None else flow.began, why)
        for leg in flow.deliveries[way.seen :]:
            way.open.append(_Delivery(leg))
        way.seen = len(flow.deliveries)
        client_id = event.client_id if isinstance(event, Happening) else ""
        if isinstance(event, Packet):
            client_id = event.wire.client_id
        still: list[_Delivery] = []
        for delivery in way.open:
            leg = delivery.leg
            if client_id and leg.client_id != client_id:
                still.append(delivery)
                continue
            if leg.sends and not delivery.sent_at:
                delivery.sent_at = event.time
            if leg.is_over:
                self._deliver(way, delivery, leg.why if leg.state in (LOST, REFUSED) else "")
            else:
                still.append(delivery)
        way.open = still

    def _deliver(self, way: _Way, delivery: _Delivery, why: str) -> None:
        """The spans of one receiver: its queue, and its delivery."""
        leg = delivery.leg
        if leg.state == PASSED_OVER:
            return
        sent_at = delivery.sent_at
        over = max(leg.changed, sent_at) if leg.is_over else self._now
        if not sent_at or sent_at > leg.began:
            self._span(way, leg, "queue", leg.began, sent_at or over, "" if sent_at else why)
        if sent_at:
            self._span(way, leg, "deliver", sent_at, leg.got_at if leg.got_at > sent_at else over, why)

    def _span(self, way: _Way, leg: Leg, name: str, began: float, ended: float, why: str) -> None:
        is_late = leg.retain or began - way.flow.began > self._late
        links = [Link(way.span.get_span_context())] if is_late else []
        span = self._tracer.start_span(
            name,
            Context() if is_late else set_span_in_context(way.span, Context()),
            SpanKind.PRODUCER if name == "deliver" else SpanKind.INTERNAL,
            _attributes(way.flow, "send" if name == "deliver" else "")
            | {"messaging.client.id": leg.client_id},
            links,
            start_time=_nanoseconds(began),
        )
        if name == "deliver":
            span.set_attribute("messaging.mqtt.qos", leg.qos)
            span.set_attribute("messaging.mqtt.sends", leg.sends)
        if why:
            span.set_status(StatusCode.ERROR, why)
        span.end(_nanoseconds(max(began, ended)))


class _Delivery:
    """The way to one receiver."""

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        self.sent_at = 0.0


class _Way:
    """One publication, and those of its deliveries that are not over."""

    def __init__(self, flow: Publication, span: Span) -> None:
        self.flow = flow
        self.span = span
        self.seen = 0  # of the flow's deliveries
        self.open: list[_Delivery] = []
        self._is_ended = False

    def end(self, time: float, why: str = "") -> None:
        """The publisher's part is over."""
        if not self._is_ended:
            self._is_ended = True
            if why:
                self.span.set_status(StatusCode.ERROR, why)
            self.span.end(_nanoseconds(max(time, self.flow.began)))


def parent_of(event: Event) -> Context | None:
    """What the PUBLISH of an event says that its parent is; None where it says nothing, or nothing valid.

    Two ``traceparent`` are none (W3C Trace Context section 3.2): nobody knows which one is meant.
    """
    if not isinstance(event, Packet) or not event.to_server or not event.data or event.data[0] >> 4 != 3:
        return None
    data = shortened(event.data)[0] if event.cut else event.data
    try:
        packet = decode(data, 0, len(data), event.wire.version or guess_version(data))
    except ProtocolError:
        return None
    if not isinstance(packet, p.Publish) or packet.properties is None:
        return None
    said = packet.properties.user_properties
    parents = [value for name, value in said if name.lower() == "traceparent"]
    if len(parents) != 1:
        return None
    states = ",".join(value for name, value in said if name.lower() == "tracestate")
    carrier = {"traceparent": parents[0], "tracestate": states}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _attributes(flow: Publication, operation: str) -> dict[str, str | int]:
    """After the semantic conventions for messaging."""
    attributes: dict[str, str | int] = {
        "messaging.system": "mqtt",
        "messaging.destination.name": flow.topic,
        "messaging.message.body.size": flow.payload_size,
        "messaging.mqtt.qos": flow.qos,
    }
    if operation:
        attributes["messaging.operation.type"] = operation
    if flow.publication:
        attributes["messaging.mqtt.publication"] = flow.publication
    return attributes


def _nanoseconds(time: float) -> int:
    return max(0, round(time * 1e9))
