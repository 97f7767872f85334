"""What a broker says that no packet does: into the publication it happened to."""

from __future__ import annotations

from typing import Final

from curier.trace.events import (
    DELIVERED,
    DENIED,
    DROPPED,
    EXPIRED,
    FAULT,
    NOBODY,
    NOT_FOR,
    PUBLISHED,
    QUEUED,
    RETAINED,
    SESSION_ENDED,
    STORED,
    Happening,
)
from curier.trace.events import REFUSED as NOT_TAKEN
from curier.trace.flow_store import FlowStore
from curier.trace.flows import DONE, LOST, PASSED_OVER, REFUSED, Flow, Leg, Publication
from curier.trace.flows import QUEUED as LEG_QUEUED
from curier.trace.handshakes import session_ended

_ENDS: Final = {DROPPED: LOST, EXPIRED: LOST, DENIED: LOST, NOT_FOR: PASSED_OVER}

_WORDS: Final = {
    DROPPED: "dropped",
    EXPIRED: "expired: its Message Expiry Interval has passed",
    DENIED: "not allowed",
    NOT_TAKEN: "not taken",
    NOT_FOR: "not for",
    NOBODY: "nobody gets it",
    STORED: "waited for the disk",
    RETAINED: "retained",
    QUEUED: "waits",
    DELIVERED: "delivered",
    SESSION_ENDED: "session ended",
    PUBLISHED: "published",
}


def apply_happening(store: FlowStore, event: Happening) -> Flow | None:
    """The flow that something has happened to; None where it is not known any more."""
    if event.kind == SESSION_ENDED and not event.publication:
        session_ended(store, event.client_id, event.time, "its session ended")
        return None
    if event.kind == FAULT:
        return _fault(store, event)
    flow = _flow_of(store, event)
    if flow is None:
        return None
    leg = _leg_of(store, flow, event)
    if leg is not None and not _advance(store, flow, leg, event):
        return flow
    if event.kind == NOBODY:
        flow.nobody = event.why or "no subscription matches its topic"
    elif event.kind == STORED:
        flow.stored_at = event.time
    elif event.kind == RETAINED:
        flow.retain = True
    elif event.kind == PUBLISHED and flow.steps:
        return flow  # its PUBLISH says so already
    step = store.step(flow, event, None, leg)
    step.label = _label(event)
    step.note = ""
    step.trouble = event.kind in (DROPPED, EXPIRED, DENIED, NOT_TAKEN, FAULT)
    return flow


def _fault(store: FlowStore, event: Happening) -> Flow | None:
    """A rule has broken something: told behind the packet it was done to, or where that would have been."""
    flow: Flow | None = store.numbered(event.publication) if event.publication else None
    if flow is None and event.wire is not None:
        flow = store.last_on.get(event.wire.number)
    if flow is None and event.client_id:
        flow = _last_of(store, event)
    if flow is not None:
        step = store.step(flow, event, None)
        step.label, step.trouble = _label(event), True
    return flow


def _flow_of(store: FlowStore, event: Happening) -> Publication | None:
    flow = store.numbered(event.publication) if event.publication else None
    if flow is None and event.publication and event.kind == PUBLISHED:
        flow = store.unnumbered(event.client_id, event.topic)
        if flow is None:
            flow = store.new(Publication, event.time)
            flow.topic = event.topic
            flow.publisher = event.client_id
            flow.origin = event.why or ("" if event.client_id else "by itself, or a will")
        store.number(flow, event.publication)
    elif flow is None and event.publication:
        # the recording begins behind it, or lacks it
        flow = store.new(Publication, event.time)
        flow.topic = event.topic
        store.number(flow, event.publication)
    elif flow is None and event.client_id:
        flow = _last_of(store, event)
        if flow is None and event.topic and event.kind in (DROPPED, EXPIRED):  # when nobody looked on
            flow = store.new(Publication, event.time)
    if flow is not None and not flow.topic:
        flow.topic = event.topic
    return flow


def _last_of(store: FlowStore, event: Happening) -> Publication | None:
    """Without a number: the last publication of the topic that goes from or to the client."""
    found = None
    for leg, flow in store.of_client(event.client_id):
        if (not event.topic or flow.topic == event.topic) and (found is None or flow.number > found.number):
            found = flow if not leg.is_over or event.kind == FAULT else found
    return found


def _leg_of(store: FlowStore, flow: Publication, event: Happening) -> Leg | None:
    """The delivery that it is about; one that begins with it where there is none."""
    if event.kind in (DENIED, NOT_TAKEN) and flow.incoming is not None and event.client_id == flow.publisher:
        return flow.incoming
    if event.kind not in (QUEUED, DROPPED, EXPIRED, DENIED, NOT_FOR, DELIVERED) or not event.client_id:
        return None
    for leg in flow.deliveries:
        if leg.client_id == event.client_id and leg.publication == event.publication:
            return leg
    leg = Leg(event.client_id, False, event.time)
    leg.publication = event.publication
    return store.add_leg(flow, leg)


def _advance(store: FlowStore, flow: Publication, leg: Leg, event: Happening) -> bool:
    """Bring a delivery into the state that follows; False where nothing is new by it."""
    if event.kind == QUEUED:
        leg.become(LEG_QUEUED, event.time, event.why)
        return True
    if leg.state == DONE and leg is not flow.incoming and event.kind != DELIVERED:
        return False  # its client has acknowledged it before
    if event.kind == DELIVERED:
        never_came = leg.state == LOST and not leg.qos and leg.sends > 0  # it was written, and that is all
        is_news = leg.state != DONE and not never_came
        if is_news:
            leg.become(DONE, event.time)
            leg.got_at = leg.got_at or event.time
        store.touch(flow)
        return is_news
    why = event.why or _WORDS[event.kind]
    if leg is flow.incoming:
        if leg.is_over:
            leg.become(REFUSED, event.time, why)
        else:
            leg.why = why
    else:
        leg.become(_ENDS[event.kind], event.time, why)
    return True


def _label(event: Happening) -> str:
    word = _WORDS.get(event.kind, event.kind)
    whom = f" {event.client_id}" if event.kind == NOT_FOR else ""
    return f"{word}{whom}: {event.why}" if event.why else f"{word}{whom}"
