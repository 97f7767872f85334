"""The flows that are kept: found by what events say of them, bounded, told when they have finished."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from curier.trace.decoding import Seen
from curier.trace.events import Event, Happening, Packet
from curier.trace.flows import LEG_BYTES, MOST_LEGS, ConnectionLife, Flow, Leg, Publication, Step
from curier.trace.wording import detail, label

MOST_FLOWS: Final = 5000
MOST_BYTES: Final = 32 << 20
MOST_EVENT_BYTES: Final = 4096  # of one packet are kept in a flow
MOST_LIVES: Final = 10_000  # of open connections; the oldest are forgotten first
MOST_ALIKE: Final = 1000  # publications of one content that are looked through
LINGER_SECONDS: Final = 1.0

SomeFlow = TypeVar("SomeFlow", bound=Flow)


class FlowStore:
    """Flows, oldest first; ``dropped`` counts those that went for lack of room.

    It keeps ``most_flows`` and about ``most_bytes`` at most: beyond, finished flows go first, the longest
    finished before others, also those of connections that are still open.
    """

    def __init__(self, most_flows: int = MOST_FLOWS, most_bytes: int = MOST_BYTES) -> None:
        self.most_flows = most_flows
        self.most_bytes = most_bytes
        self.bytes = 0
        self.dropped = 0
        self.now = 0.0  # of the last event
        self.legs: dict[str, dict[tuple[bool, int], tuple[Leg, Publication]]] = {}
        self.last_on: dict[int, Flow] = {}  # by the number of an open connection: what its last packet was of
        self.lives: OrderedDict[int, ConnectionLife] = (
            OrderedDict()
        )  # open connections, by their wire's number
        self._number = 0
        self._open: OrderedDict[int, Flow] = OrderedDict()
        self._finished: OrderedDict[int, Flow] = OrderedDict()  # the longest finished first
        self._to_settle: OrderedDict[int, Flow] = OrderedDict()
        self._by_publication: dict[int, Publication] = {}
        self._alike: dict[tuple[str, int], deque[Publication]] = {}

    # ---- what it knows ----

    @property
    def flows(self) -> list[Flow]:
        """All that are kept, in the order they began in."""
        both = [*self._finished.values(), *self._open.values(), *self.lives.values()]
        return sorted({flow.number: flow for flow in both}.values(), key=lambda flow: flow.number)

    @property
    def publications(self) -> list[Publication]:
        """Those among ``flows``."""
        return [flow for flow in self.flows if isinstance(flow, Publication)]

    def flow(self, number: int) -> Flow | None:
        """That with the number, if it is kept."""
        found = self._open.get(number) or self._finished.get(number)
        return found or next((life for life in self.lives.values() if life.number == number), None)

    def settled(self, now: float | None = None) -> list[Flow]:
        """Flows that have finished, and to which nothing has come for a while before ``now`` (by default the
        time of the last event): each once, in the order they finished in.
        """
        until = (self.now if now is None else now) - LINGER_SECONDS
        found: list[Flow] = []
        while self._to_settle:
            flow = next(iter(self._to_settle.values()))
            if flow.last > until and flow.last <= self.now:
                break
            del self._to_settle[flow.number]
            if not flow.settled:
                flow.settled = True
                found.append(flow)
        return found

    def waiting(self, now: float, quiet: float) -> list[Flow]:
        """Publications and subscriptions that are not finished, and to which nothing has come for ``quiet``
        seconds before ``now``: each once.
        """
        found = []
        for flow in list(self._open.values()):
            if not flow.told_open and flow.last < now - quiet:
                flow.told_open = True
                found.append(flow)
        return found

    def finish(self) -> list[Flow]:
        """Nothing more will come: all that have finished and were not told by ``settled``."""
        return self.settled(float("inf"))

    # ---- more of them ----

    def new(self, kind: type[SomeFlow], time: float) -> SomeFlow:
        """A new flow, which is kept."""
        self._number += 1
        flow = kind(self._number, time)
        if isinstance(flow, ConnectionLife):
            return flow  # it is among ``lives`` until it ends
        self._open[flow.number] = flow
        self.bytes += flow.cost
        return flow

    def content(self, flow: Publication) -> None:
        """Have it found by topic and payload."""
        key = (flow.topic, flow.payload_size)
        self._alike.setdefault(key, deque(maxlen=MOST_ALIKE)).append(flow)

    def alike(self, topic: str, payload_size: int) -> Sequence[Publication]:
        """Those with topic and size, oldest first."""
        return self._alike.get((topic, payload_size), ())

    def live(self, life: ConnectionLife) -> None:
        """A connection is open."""
        self.lives[life.wire] = life
        if len(self.lives) > MOST_LIVES:
            number, _ = self.lives.popitem(last=False)
            self.last_on.pop(number, None)
            self.dropped += 1

    def end_life(self, life: ConnectionLife) -> None:
        """It is not any more."""
        self.lives.pop(life.wire, None)
        self.last_on.pop(life.wire, None)
        self._finished[life.number] = life
        self.bytes += life.cost
        self.touch(life)

    def number(self, flow: Publication, publication: int) -> None:
        """The broker says which publication this is, or that it is one more."""
        if flow.publication and flow.publication != publication:
            flow.again.append(publication)
        else:
            flow.publication = publication
        self._by_publication[publication] = flow

    def numbered(self, publication: int) -> Publication | None:
        """The flow of the broker's number."""
        return self._by_publication.get(publication)

    def unnumbered(self, client_id: str, topic: str) -> Publication | None:
        """The oldest of few last publications of a client to a topic that has no number yet."""
        found = None
        for flow in list(self._open.values())[-20:] + list(self._finished.values())[-20:]:
            if (
                isinstance(flow, Publication)
                and not flow.publication
                and flow.publisher == client_id
                and flow.topic == topic
                and (found is None or flow.number < found.number)
            ):
                found = flow
        return found

    def add_leg(self, flow: Publication, leg: Leg) -> Leg:
        """One more receiver, which is followed if there are not too many."""
        if len(flow.deliveries) < MOST_LEGS:
            flow.deliveries.append(leg)
            self.grow(flow, LEG_BYTES)
        else:
            flow.more_legs += 1
        return leg

    def step(self, flow: Flow, event: Event, seen: Seen | None, leg: Leg | None = None) -> Step:
        """Something happened in a flow."""
        if seen is not None and isinstance(event, Packet):
            step = Step(event, seen.name, label(seen.name, seen.packet), leg)
            step.to_server = event.to_server
            step.note = detail(seen.packet, seen.line.version) if seen.packet is not None else seen.why
            step.lost = event.lost
            step.trouble = event.lost or seen.packet is None
            size = len(event.data)
        else:
            name = event.kind if isinstance(event, Happening) else type(event).__name__.lower()
            step, size = Step(event, name, name, leg), 0
        flow.told_open = False
        before = flow.cost
        flow.add(step, size)
        if not isinstance(flow, ConnectionLife) or flow.number in self._finished:
            self.bytes += flow.cost - before
        self.touch(flow)
        return step

    def grow(self, flow: Flow, size: int) -> None:
        """It takes so much more memory."""
        flow.cost += size
        self.bytes += size

    def touch(self, flow: Flow) -> None:
        """It has changed: put it where it belongs."""
        number = flow.number
        if isinstance(flow, ConnectionLife) and flow.is_open:
            return
        if flow.is_finished:
            self._open.pop(number, None)
            self._finished[number] = flow
            self._finished.move_to_end(number)
            if not flow.settled:
                self._to_settle[number] = flow
                self._to_settle.move_to_end(number)
        elif number in self._finished:
            self._open[number] = self._finished.pop(number)
            self._to_settle.pop(number, None)

    def of_client(self, client_id: str) -> Iterator[tuple[Leg, Publication]]:
        """The legs with Packet Identifiers of one client."""
        yield from list(self.legs.get(client_id, {}).values())

    def expect(self, leg: Leg, flow: Publication) -> None:
        """Have its acknowledgements found."""
        self.legs.setdefault(leg.client_id, {})[leg.to_server, leg.packet_id] = (leg, flow)

    def expected(self, client_id: str, to_server: bool, packet_id: int) -> tuple[Leg, Publication] | None:
        """The leg in this direction that has the Packet Identifier."""
        return self.legs.get(client_id, {}).get((to_server, packet_id))

    # ---- bounds ----

    def bound(self) -> None:
        """Let go of what is too much."""
        while self.bytes > self.most_bytes or len(self._open) + len(self._finished) > self.most_flows:
            if self._finished:
                flow = self._finished.popitem(last=False)[1]
            else:
                flow = self._open.popitem(last=False)[1]
            self._to_settle.pop(flow.number, None)
            self.dropped += 1
            self._forget(flow)

    def _forget(self, flow: Flow) -> None:
        self.bytes -= flow.cost
        if not isinstance(flow, Publication):
            return
        for publication in (flow.publication, *flow.again):
            if self._by_publication.get(publication) is flow:
                del self._by_publication[publication]
        key = (flow.topic, flow.payload_size)
        alike = self._alike.get(key)
        if alike is not None:
            if alike and alike[0] is flow:
                alike.popleft()
            elif flow in alike:
                alike.remove(flow)
            if not alike:
                del self._alike[key]
        for leg in flow.legs():
            known = self.legs.get(leg.client_id)
            if known is not None and known.get((leg.to_server, leg.packet_id), (None,))[0] is leg:
                del known[leg.to_server, leg.packet_id]
                if not known:
                    del self.legs[leg.client_id]


def who(event: Packet, seen: Seen) -> str:
    """The Client Identifier of the connection, or what stands for one that nobody has seen."""
    return event.wire.client_id or seen.line.client_id or f"connection {event.wire.number}"


def kept(event: Packet) -> Packet:
    """The event with the beginning of its bytes only, if they are many."""
    more = len(event.data) - MOST_EVENT_BYTES
    return event if more <= 0 else replace(event, data=event.data[:MOST_EVENT_BYTES], cut=event.cut + more)
