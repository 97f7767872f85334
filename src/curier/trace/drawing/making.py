"""Diagrams of flows: who gets a lane, what becomes an arrow, what is folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from curier.frozen import dataclass
from curier.trace.decoding import NAMES
from curier.trace.drawing.diagram import DOTTED, LOST, SOLID, Arrow, Diagram, Fold, Lane, Note, Row
from curier.trace.events import FAULT, NOBODY, NOT_FOR, QUEUED, Happening, Packet
from curier.trace.flows import (
    DONE,
    PASSED_OVER,
    ConnectionLife,
    Flow,
    Leg,
    Publication,
    Step,
    SubscriptionFlow,
)
from curier.trace.flows import QUEUED as QUEUED_LEG
from curier.trace.wording import (
    VERSIONS,
    clock_words,
    later_words,
    payload_words,
    shown,
    size_words,
    span_words,
)

MOST_ROWS: Final = 120
MOST_RECEIVERS: Final = 3  # with a lane each; where there are more, the last lane is for the rest of them
MOST_NAMED: Final = 20  # members of a group
MOST_BETWEEN: Final = 8  # rows between a packet that was lost and why
MOST_WAITS: Final = 6  # sentences about what is waited for


@dataclass(frozen=True, slots=True)
class View:
    """How much of a flow to draw. ``receivers``: so many lanes for them; 0 is a lane for each, however many.
    ``rows``: so many at most, 0 is all. ``now``: the time it is, for how long something has been waited for.
    """

    receivers: int = MOST_RECEIVERS
    rows: int = MOST_ROWS
    utc: bool = False
    now: float = 0.0


def diagram(flow: Flow, view: View | None = None) -> Diagram:
    """The diagram of any flow."""
    view = view if view is not None else View()
    if isinstance(flow, Publication):
        made = _Publication(flow, view).diagram()
    else:
        made = _one_client(flow, view)
    return folded(made, view.rows)


def folded(made: Diagram, most_rows: int) -> Diagram:
    """The same with the rows in its middle left out, if there are more than ``most_rows``."""
    over = len(made.rows) - most_rows
    if not most_rows or over <= 0:
        return made
    head = most_rows // 2
    gone = made.rows[head : head + over + 1]
    count = sum(row.count if isinstance(row, Fold) else 1 for row in gone)
    rows = (*made.rows[:head], Fold(gone[0].time, count), *made.rows[head + over + 1 :])
    return replace(made, rows=rows)


def waits_words(flow: Flow, view: View) -> Iterator[str]:
    """What a flow waits for, a sentence each."""
    if isinstance(flow, ConnectionLife):
        return
    for number, wait in enumerate(flow.waits()):
        if number == MOST_WAITS:
            yield f"and waits on {sum(1 for _ in flow.waits()) - MOST_WAITS} more"
            return
        since = clock_words(wait.since, view.utc)
        long = f", {span_words(view.now - wait.since)}" if view.now > wait.since else ""
        yield f"waits on {shown(wait.whom)}: {wait.what} (since {since}{long})"


class _Publication:
    """Makes the diagram of one publication."""

    def __init__(self, flow: Publication, view: View) -> None:
        self.flow = flow
        self.view = view
        self.lanes: list[Lane] = []
        self.places: dict[str, int] = {}  # lanes by Client Identifier
        self.group = -1
        self.broker = 0
        self._make_lanes()

    def _make_lanes(self) -> None:
        flow = self.flow
        if flow.publisher and (flow.incoming is not None or flow.origin):
            self._lane(flow.publisher, [flow.incoming] if flow.incoming is not None else [])
        self.broker = len(self.lanes)
        self.lanes.append(Lane("broker", is_broker=True))
        legs: dict[str, list[Leg]] = {}
        for leg in flow.deliveries:
            if leg.state != PASSED_OVER:
                legs.setdefault(leg.client_id, []).append(leg)
        names = [name for name in legs if name not in self.places]
        most = self.view.receivers
        own, rest = names, list[str]()
        if most and len(names) + bool(flow.more_legs) > most:
            first = sorted(names, key=lambda name: all(map(_is_plain, legs[name])))  # trouble is looked at
            own = [name for name in names if name in set(first[: most - 1])]
            rest = [name for name in names if name not in set(own)]
        for name in own:
            self._lane(name, legs[name])
        if rest or flow.more_legs:
            self.group = len(self.lanes)
            self.places.update(dict.fromkeys(rest, self.group))
            count = len(rest) + flow.more_legs
            named = tuple(shown(name) for name in rest[:MOST_NAMED])
            self.lanes.append(Lane(f"{count} {'more ' * bool(own)}subscribers", "", named, count))

    def _lane(self, name: str, legs: list[Leg]) -> None:
        self.places[name] = len(self.lanes)
        version = next((VERSIONS.get(leg.version, "") for leg in legs if leg.version), "")
        is_away = bool(legs) and not any(leg.wire or leg.state == DONE for leg in legs)
        note = "away" if is_away and any(leg.state == QUEUED_LEG for leg in legs) else version
        self.lanes.append(Lane(shown(name), note, is_away=is_away))

    def diagram(self) -> Diagram:
        flow = self.flow
        rows: list[Row] = []
        gap = len(flow.first_steps) if flow.left_out else -1
        merged: dict[tuple[object, ...], int] = {}
        for number, step in enumerate(flow.steps):
            if number == gap:
                rows.append(Fold(step.time, flow.left_out))
            if step.name == NOT_FOR:
                continue  # said below the drawing
            if (at := _hits(step, rows)) >= 0:
                rows[at] = _hit(rows[at], step)
                continue
            row = self._row(step, is_first=not rows)
            if isinstance(row, Arrow) and self.group in (row.source, row.target):
                self._merge(row, step, rows, merged)
            else:
                rows.append(row)
        below = [*self._below(), *waits_words(flow, self.view)]
        return Diagram(_title(flow), flow.began, tuple(self.lanes), tuple(rows), tuple(below))

    def _row(self, step: Step, is_first: bool) -> Row:
        when = self._when(step, is_first)
        lane = self.places.get(step.leg.client_id) if step.leg is not None else None
        if step.to_server is not None and lane is not None:
            ends = (lane, self.broker) if step.to_server else (self.broker, lane)
            note = "  ".join(filter(None, (when, self._said(step, is_first))))
            label = step.label
            if is_first and step.name == "PUBLISH":
                label = f"{label}  {shown(self.flow.topic) or '(topic not seen)'}"
            return Arrow(
                step.time, *ends, label, note, style_of(step), step.trouble, step.to_server, event=step.event
            )
        kind = step.event.kind if isinstance(step.event, Happening) else ""
        if lane is not None and lane != self.broker and step.leg is not self.flow.incoming and kind:
            if kind == QUEUED or step.trouble:
                style = LOST if step.trouble else DOTTED
                return Arrow(
                    step.time, self.broker, lane, step.label, when, style, step.trouble, event=step.event
                )
        if kind == FAULT and isinstance(step.event, Happening):
            lane = self.places.get(step.event.client_id)
        text = f"{shown(step.label, 400)}  {when}"
        return Note(step.time, self.broker if lane is None else lane, text, step.trouble, step.event)

    def _when(self, step: Step, is_first: bool) -> str:
        if is_first:
            return clock_words(step.time, self.view.utc)
        return later_words(step.time - self.flow.began)

    def _said(self, step: Step, is_first: bool) -> str:
        flow, leg = self.flow, step.leg
        words = [step.note] if step.note else []
        if is_first and step.name == "PUBLISH":
            words.append(payload_words(flow.payload, flow.payload_size))
        if leg is not None and leg.state == DONE and not step.note and leg.changed == step.time:
            words += filter(None, [_done_words(leg, step.name)])
        return "  ".join(words)

    def _merge(self, row: Arrow, step: Step, rows: list[Row], merged: dict[tuple[object, ...], int]) -> None:
        """Into the arrow of its kind that the group has already."""
        number = f" #{step.leg.packet_id}" if step.leg is not None else "#"
        label = row.label.replace(number, "", 1)
        key = (label, row.source, row.target, row.style, row.trouble)
        place = merged.get(key)
        if place is None:
            merged[key] = len(rows)
            rows.append(replace(row, label=label))
            return
        before = rows[place]
        assert isinstance(before, Arrow)
        first = later_words(before.time - self.flow.began)
        last = later_words(row.time - self.flow.began)
        note = first if first == last else f"{first} to {last}"
        rows[place] = replace(before, count=before.count + 1, note=note)

    def _below(self) -> Iterator[str]:
        flow = self.flow
        if flow.origin == "retained":
            yield "a retained message: its publication was not seen"
        elif flow.origin:
            yield f"published by the broker: {shown(flow.origin)}"
        elif flow.incoming is None:
            yield "who published it was not seen"
        if flow.nobody and not flow.deliveries and not any(step.name == NOBODY for step in flow.steps):
            yield f"nobody gets it: {flow.nobody}"
        passed = [leg for leg in flow.deliveries if leg.state == PASSED_OVER]
        for leg in passed[:MOST_WAITS]:
            yield f"not for {shown(leg.client_id)}: {leg.why}"
        if self.group >= 0:
            lane = self.lanes[self.group]
            more = f" and {lane.count - len(lane.members)} more" if lane.count > len(lane.members) else ""
            yield f"{lane.name}: {', '.join(lane.members)}{more}"


def _title(flow: Publication) -> str:
    return shown(flow.title, 400)


def _is_plain(leg: Leg) -> bool:
    return leg.state == DONE and leg.sends < 2


def _done_words(leg: Leg, name: str) -> str:
    if name not in ("PUBACK", "PUBCOMP"):
        return ""
    twice = leg.sends > 1
    if leg.to_server:
        return "exactly once" if leg.qos == 2 else "at least once"
    if leg.qos == 2:
        return "delivered once"
    return "delivered, perhaps twice" if twice else "delivered"


def _hits(step: Step, rows: list[Row]) -> int:
    """The row of the packet that a fault was done to: the last one, or one that was lost just before it,
    since what leaves together was made together; -1: none.
    """
    event = step.event
    if not isinstance(event, Happening) or event.kind != FAULT:
        return -1
    name = event.why.split(" ", 1)[0].rstrip(":")  # of the packet, if it begins with one
    for at in range(len(rows) - 1, max(len(rows) - 1 - MOST_BETWEEN, -1), -1):
        row = rows[at]
        is_last = at == len(rows) - 1
        if not isinstance(row, Arrow) or not isinstance(row.event, Packet):
            continue
        if row.event.wire.client_id != event.client_id or not (is_last or row.event.lost):
            continue
        if row.label.startswith(name) or (is_last and name not in NAMES):
            return at
    return -1


def _hit(row: Row, step: Step) -> Row:
    assert isinstance(row, Arrow)
    assert isinstance(step.event, Happening)
    note = "  ".join(filter(None, (row.note, shown(step.event.why, 200))))
    return replace(row, note=note, trouble=True)


# ---- connections and subscriptions: one client and the broker ----


def _one_client(flow: Flow, view: View) -> Diagram:
    client_id = getattr(flow, "client_id", "") or "(unknown)"
    version = VERSIONS.get(flow.version, "") if isinstance(flow, ConnectionLife) else ""
    lanes = (Lane(shown(client_id), version), Lane("broker", is_broker=True))
    rows: list[Row] = []
    gap = len(flow.first_steps) if flow.left_out else -1
    for number, step in enumerate(flow.steps):
        if number == gap:
            rows.append(Fold(step.time, flow.left_out))
        when = clock_words(step.time, view.utc) if not number else later_words(step.time - flow.began)
        if (at := _hits(step, rows)) >= 0:
            rows[at] = _hit(rows[at], step)
            continue
        if step.to_server is None:
            text = "  ".join(filter(None, (step.label, shown(step.note, 400), when)))
            rows.append(Note(step.time, 1, text, step.trouble, step.event))
            continue
        ends = (0, 1) if step.to_server else (1, 0)
        note = "  ".join(filter(None, (when, step.note)))
        rows.append(
            Arrow(
                step.time,
                *ends,
                step.label,
                note,
                style_of(step),
                step.trouble,
                step.to_server,
                event=step.event,
            )
        )
    about = _about_connection(flow) if isinstance(flow, ConnectionLife) else _about_subscription(flow)
    below = [*about, *waits_words(flow, view)]
    return Diagram(shown(flow.title, 400), flow.began, lanes, tuple(rows), tuple(below))


def _about_connection(flow: ConnectionLife) -> Iterable[str]:
    went, came = flow.packets
    sent, received = flow.publishes
    yield (
        f"{went} packet{'s' * (went != 1)} to the broker ({size_words(flow.bytes[0])}, {sent} PUBLISH), "
        f"{came} from it ({size_words(flow.bytes[1])}, {received} PUBLISH)"
    )
    if flow.pings > 1:
        yield f"{flow.pings} PINGREQ"
    if flow.taken_over_by:
        yield f"taken over by connection {flow.taken_over_by} of the same Client Identifier"
    if flow.is_open:
        yield "open"
    elif flow.will_topic and not flow.left_by_disconnect:
        yield f"its will is due: {shown(flow.will_topic)}"
    if not flow.is_open and flow.ends_session is not None:
        yield "its session ended with it" if flow.ends_session else "its session goes on"


def _about_subscription(flow: Flow) -> Iterable[str]:
    if isinstance(flow, SubscriptionFlow):
        if flow.retained:
            yield f"brought {flow.retained} retained message{'s' * (flow.retained > 1)}"
        if flow.why:
            yield flow.why


def style_of(step: Step) -> str:
    """That of a packet's arrow."""
    return LOST if step.lost else SOLID
