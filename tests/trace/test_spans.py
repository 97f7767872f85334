"""Spans of OpenTelemetry: their parents, their times, what they say of messages that did not arrive."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import StatusCode, get_current_span

from curier.errors import ConfigError
from curier.testing import Pair
from curier.trace.events import Event
from curier.trace.spans import Spans, export
from curier.types import Message, QoS

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = ("traceparent", f"00-{TRACE}-{PARENT}-01")


class Told:
    """A tracer, and the spans that ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


def told(events: Iterable[Event]) -> Told:
    made = Told()
    spans = Spans(made.tracer)
    for event in events:
        spans.feed(event)
    spans.finish()
    return made


def published(*user_properties: tuple[str, str], away: float = 0.0) -> Told:
    """One publication with three receivers, one of MQTT 3.1.1, one perhaps away for some seconds."""
    pair = Pair(latency=0.01)
    trace = pair.trace()
    first, old = pair.connect("first"), pair.connect("old", version=4)
    sleepy = pair.connect("sleepy", session_expiry_interval=10_000)
    for client in (first, old, sleepy):
        client.subscribe("a", qos=1)
    if away:
        sleepy.disconnect()
        pair.run(1)
    sender = pair.connect("sender")
    sender.send(Message("a", b"x", QoS(1), user_properties=user_properties))
    pair.run(1)
    if away:
        pair.run(away)
        sleepy.reconnect()
    pair.run(1)
    assert sleepy.messages[-1].user_properties == user_properties  # carried on as they came
    return told(trace.take())


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def parent_of(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent is not None else ""


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def test_the_publisher_is_the_parent_and_receivers_are_children() -> None:
    made = published(TRACEPARENT, ("tracestate", "vendor=1"))
    (publish,) = made.named("publish")
    assert (trace_of(publish), parent_of(publish)) == (TRACE, PARENT)
    assert publish.context is not None
    assert publish.context.trace_state.get("vendor") == "1"
    deliveries = made.named("deliver")
    assert {span.attributes["messaging.client.id"] for span in deliveries if span.attributes} == {
        "first",
        "old",
        "sleepy",
    }
    for span in deliveries:
        assert (trace_of(span), parent_of(span)) == (TRACE, id_of(publish))
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time - span.start_time == pytest.approx(20_000_000, abs=1000)  # there and back
    assert publish.attributes is not None
    assert publish.attributes["messaging.destination.name"] == "a"
    assert made.named("queue") == []


@pytest.mark.parametrize(
    "properties",
    [
        [],
        [("traceparent", "nonsense")],
        [("traceparent", f"00-{TRACE}-{PARENT}")],
        [TRACEPARENT, TRACEPARENT],
        [TRACEPARENT, ("traceparent", f"00-{TRACE[::-1]}-{PARENT}-01")],
    ],
)
def test_without_one_valid_parent_a_trace_begins_here(properties: list[tuple[str, str]]) -> None:
    (publish,) = published(*properties).named("publish")
    assert parent_of(publish) == ""
    assert trace_of(publish) != TRACE


def test_what_the_publisher_does_not_sample_is_not_sampled() -> None:
    assert published(("traceparent", f"00-{TRACE}-{PARENT}-00")).spans == []


def test_who_was_away_waits_in_a_queue_and_late_ones_are_linked() -> None:
    made = published(TRACEPARENT, away=5.0)
    (queue,) = made.named("queue")
    (publish,) = made.named("publish")
    assert parent_of(queue) == id_of(publish)
    assert queue.start_time is not None
    assert queue.end_time is not None
    assert 5e9 < queue.end_time - queue.start_time < 7e9
    made = published(TRACEPARENT, away=3600.0)
    late = [span for span in made.named("deliver") if parent_of(span) == ""]
    (publish,) = made.named("publish")
    assert [id_of_link(span) for span in late] == [id_of(publish)]
    assert trace_of(late[0]) != TRACE


def id_of_link(span: ReadableSpan) -> str:
    (link,) = span.links
    return f"{link.context.span_id:016x}"


def test_a_retained_message_for_a_new_subscription_is_linked() -> None:
    pair = Pair()
    trace = pair.trace()
    pair.connect("sender").publish("a", b"x", qos=1, retain=True)
    pair.connect("reader").subscribe("a", qos=1)
    pair.run(1)
    made = told(trace.take())
    (publish,) = made.named("publish")
    (deliver,) = made.named("deliver")
    assert parent_of(deliver) == ""
    assert id_of_link(deliver) == id_of(publish)


def test_what_is_dropped_is_an_error_with_its_reason() -> None:
    pair = Pair()
    pair.broker.core.options.max_queued_messages = 1
    trace = pair.trace()
    reader = pair.connect("reader", session_expiry_interval=1000)
    reader.subscribe("a", qos=1)
    reader.disconnect()
    pair.run(1)
    sender = pair.connect("sender")
    for _ in range(3):
        sender.publish("a", b"x", qos=1)
    pair.run(1)
    made = told(trace.take())
    queues = made.named("queue")
    assert len(made.named("publish")) == 3
    errors = [span for span in queues if span.status.status_code == StatusCode.ERROR]
    assert errors
    assert all(span.status.description for span in errors)
    assert made.named("deliver") == []


def test_nothing_is_current_and_nothing_is_logged_when_one_stops_early(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = Pair()
    trace = pair.trace()
    pair.connect("reader").subscribe("a", qos=1)
    pair.connect("sender").publish("a", b"x", qos=1)
    pair.run(1)
    events = list(trace.take())
    made = Told()
    is_read = asyncio.Event()

    async def endless() -> AsyncIterator[Event]:
        for event in events[:-2]:
            yield event
            assert not get_current_span().get_span_context().is_valid
        is_read.set()
        await asyncio.Event().wait()

    async def stopped() -> None:
        task = asyncio.ensure_future(export(endless(), made.tracer))
        await is_read.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with caplog.at_level(logging.DEBUG):
        asyncio.run(stopped())
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert made.named("publish")


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "curier.trace.spans")
    with pytest.raises(ConfigError, match=r"curier\[otel\]"):
        import curier.trace.spans  # noqa: F401
