"""What goes by on the wire, as flows: one stream of server-sent events for each page that looks on.

Each reader has a trace of its own (``Broker.trace``), which forgets the oldest events where there are too
many, and joins what is left into flows. A flow that has changed is sent as the diagram it is then. So much of
it is done in a second, and no more: the broker does not slow down for who looks on, who misses something. A
broker that shows all there is has no fast lane; so where that is much, it shows a moment of it now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, Self

import msgspec

from curier.server import Broker
from curier.trace.dissection import dissect
from curier.trace.drawing.making import View, diagram
from curier.trace.events import Event, Missed
from curier.trace.fields import Field
from curier.trace.flows import Flow, Publication
from curier.trace.joining import Joiner
from curier.trace.reading import Trace
from curier.web import forms, table
from curier.web.drawn import drawn_data
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known

MOST_READERS: Final = 10
PAUSE_SECONDS: Final = 0.5
MOST_EVENTS: Final = 500
"""Of a reader, between two pauses; what is more is missed."""

MOMENT_SECONDS: Final = 0.01
REST_SECONDS: Final = 1.0
"""Where nothing is chosen and too much goes by, so long is looked, and not looked. To begin and to end it,
each connection is looked at, so it is rarer where there are many."""

ENOUGH: Final = 200
"""Events of such a moment: in them more flows begin than are drawn, and what is not drawn is seen in vain."""

LOOKS: Final = 10  # within such a time, at whether it is enough
CONNECTIONS_A_SECOND: Final = 2_000  # that are looked at for it

AT_ONCE: Final = 50  # events that are joined, and diagrams that are drawn, before others have their turn
MOST_DRAWN: Final = 20  # flows that are sent at a time: those that have changed last
MOST_FLOWS: Final = 200
MOST_BYTES: Final = 4 * 2**20
PAYLOAD: Final = 1024  # bytes of each payload that are kept
ROWS: Final = 60  # of one diagram
HEARTBEATS: Final = 20  # pauses with nothing to say, until something is said all the same
LONGEST_SECONDS: Final = 3600.0


class Wire:
    """Those who look on."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._readers = 0
        self._is_closed = False

    def is_full(self) -> bool:
        """Are there so many that there cannot be one more?"""
        return self._readers >= MOST_READERS

    def close(self) -> None:
        """End all streams, each at its next look."""
        self._is_closed = True

    def read(self, client_id: str, topic: str) -> Trace:
        """What is chosen. Raises ``ValueError`` for a Topic Filter that cannot be."""
        return self._scene.broker.trace(
            client_id=client_id or None, topic=topic or None, payload=PAYLOAD, most_events=MOST_EVENTS
        )

    def read_all(self) -> Looking:
        """All there is."""
        return Looking(self._scene.broker, lambda: self.read("", ""))

    async def stream(self, trace: Trace | Looking) -> AsyncGenerator[bytes]:
        """What one reader is sent, until the broker stops or an hour has passed."""
        until = asyncio.get_running_loop().time() + LONGEST_SECONDS
        self._readers += 1
        joiner = Joiner(MOST_FLOWS, MOST_BYTES)
        silent = 0
        try:
            with trace:
                yield b"retry: 2000\nevent: hello\ndata: {}\n\n"
                while not self._is_closed and asyncio.get_running_loop().time() < until:
                    told = [one async for one in self._news(trace, joiner)]
                    silent = 0 if told else silent + 1
                    if silent == HEARTBEATS:
                        told, silent = [b":\n\n"], 0
                    if told:
                        yield b"".join(told)
                    await (trace.rest() if isinstance(trace, Looking) else asyncio.sleep(PAUSE_SECONDS))
            yield b"event: bye\ndata: {}\n\n"
        finally:
            self._readers -= 1

    async def _news(self, trace: Trace | Looking, joiner: Joiner) -> AsyncIterator[bytes]:
        changed: dict[int, Flow] = {}
        for number, event in enumerate(trace.take()):
            if isinstance(event, Missed):
                yield _event("missed", {"count": event.count})
                continue
            flow = joiner.feed(event)
            if flow is not None and not _is_of_the_broker(flow):
                changed.pop(flow.number, None)
                changed[flow.number] = flow
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        now = self._scene.broker.turn.clock.now()
        kept = [*changed.values()][-MOST_DRAWN:]
        if len(kept) < len(changed):
            yield _event("passed", {"count": len(changed) - len(kept)})
        for flow in kept:
            yield _event("flow", flow_data(flow, now))
            await asyncio.sleep(0)


class Looking:
    """A trace of all there is, which ``trace`` makes. Where more goes by than it keeps, it is ended, and
    another one after a while shows a moment more: all in between is missed, and counted.
    """

    def __init__(self, broker: Broker, trace: Callable[[], Trace]) -> None:
        self._broker = broker
        self._make = trace
        self._trace = trace()
        self._seen = 0  # packets, when it was ended
        self._left_out = 0
        self._is_too_much = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._trace.close()

    def take(self) -> list[Event]:
        """What was seen, and how much was not."""
        events = self._trace.take()
        if self._left_out:
            events.insert(0, Missed(self._broker.turn.clock.now(), self._left_out))
            self._left_out = 0
        return events

    async def rest(self) -> None:
        """Until there is something to take. Where it is too much, nobody looks while that is drawn."""
        if self._is_too_much:
            await asyncio.sleep(max(REST_SECONDS, len(self._broker.core.connections) / CONNECTIONS_A_SECOND))
            self._left_out += self._packets() - self._seen
            self._trace = self._make()
            await self._look(MOMENT_SECONDS, ENOUGH)
            most = MOST_EVENTS * MOMENT_SECONDS / PAUSE_SECONDS
        else:
            await self._look(PAUSE_SECONDS, MOST_EVENTS)
            most = MOST_EVENTS
        self._is_too_much = self._trace.ready() >= most
        if self._is_too_much:
            self._trace.close()
            self._seen = self._packets()

    async def _look(self, seconds: float, enough: int) -> None:
        for _ in range(LOOKS):
            await asyncio.sleep(seconds / LOOKS)
            if self._trace.ready() >= enough:
                return

    def _packets(self) -> int:
        traffic = self._broker.core.traffic
        return traffic.packets_received + traffic.packets_sent


def _is_of_the_broker(flow: Flow) -> bool:
    """What it says of itself every few seconds, to nobody: that would cover all else."""
    return isinstance(flow, Publication) and flow.topic.startswith("$SYS/") and not any(flow.legs())


def flow_data(flow: Flow, now: float) -> dict[str, Any]:
    """A flow, as its diagram."""
    drawn = drawn_data(diagram(flow, View(rows=ROWS, now=now)))
    return {
        "number": flow.number,
        "kind": flow.kind,
        "finished": flow.is_finished,
        "last": flow.last,
        **drawn,
    }


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


@handles(table.PACKET)
async def taken_apart(scene: Scene, asked: forms.Packet, who: Known) -> forms.Fields:
    """The fields of a packet."""
    try:
        data = bytes.fromhex(asked.hex)
    except ValueError:
        raise Problem(400, "hex: these are no bytes in figures from 0 to f, two each") from None
    found = dissect(data, asked.version, asked.to_server, asked.cut)
    fields = [_row(field) for field in found.fields]
    return forms.Fields(found.name, found.version, found.size, found.fault, found.rule, fields)


def _row(field: Field) -> forms.FieldRow:
    return forms.FieldRow(
        field.name,
        field.value,
        field.start,
        field.end,
        field.mask,
        field.rule,
        field.fault,
        [_row(child) for child in field.children],
    )
