"""Acknowledgements: how they bring a leg of a publication on (4.3), and what the end of a session ends."""

from __future__ import annotations

from typing import Final, TypeAlias

from curier.codec.constants import NO_MATCHING_SUBSCRIBERS
from curier.codec.packets import Packet as ControlPacket
from curier.codec.packets import Puback, Pubcomp, Pubrec, Pubrel
from curier.trace.decoding import Seen
from curier.trace.events import Happening, Packet
from curier.trace.flow_store import FlowStore, who
from curier.trace.flows import (
    DONE,
    LOST,
    NOT_KEPT,
    QUEUED,
    RECEIVED,
    REFUSED,
    RELEASED,
    UNSEEN,
    Leg,
    Publication,
)
from curier.types import reason_name

Acknowledgement: TypeAlias = Puback | Pubrec | Pubrel | Pubcomp

FAILURE: Final = 0x80  # Reason Codes from here on (2.4)


def acknowledged(store: FlowStore, event: Packet, seen: Seen, packet: ControlPacket) -> Publication | None:
    """PUBACK, PUBREC, PUBREL or PUBCOMP: the publication that it belongs to, if one is known."""
    if not isinstance(packet, (Puback, Pubrec, Pubrel, Pubcomp)):
        return None
    client_id = who(event, seen)
    # a PUBREL goes the way of its PUBLISH, the others against it
    to_server = event.to_server if isinstance(packet, Pubrel) else not event.to_server
    known = store.expected(client_id, to_server, packet.packet_id)
    if known is None:
        return None
    leg, flow = known
    leg.away_since = 0.0
    before = leg.state
    failed = packet.reason_code >= FAILURE
    if event.lost and not isinstance(packet, Pubrel):
        _got(leg, event.time)  # who waits for it waits on
    else:
        _advance(leg, packet, event.time, failed)
    if leg.to_server and packet.reason_code == NO_MATCHING_SUBSCRIBERS and not flow.nobody:
        flow.nobody = "no subscription matches its topic"
    step = store.step(flow, event, seen, leg)
    if failed:
        step.trouble = True
    elif isinstance(packet, Pubrel) and before == RELEASED:
        step.trouble = True
        step.note = "sent again"
    return flow


def _advance(leg: Leg, packet: Acknowledgement, time: float, failed: bool) -> None:
    if not isinstance(packet, (Pubrel, Pubcomp)):
        why = leg.why if leg.to_server else ""  # that the broker has not taken it, which 3.1.1 cannot say
        if failed:  # [MQTT-4.3.2-2] [MQTT-4.3.3-4]
            name = reason_name(packet.reason_code)
            leg.become(REFUSED, time, f"{name}: {why}" if why else name)
            return
        if why:
            leg.become(REFUSED, time, why)
            return
    if isinstance(packet, Puback):
        _got(leg, time)
        leg.become(DONE, time)
    elif isinstance(packet, Pubrec):
        _got(leg, time)
        leg.become(RECEIVED, time)
    elif isinstance(packet, Pubrel):
        leg.become(RELEASED, time)
    elif failed and not leg.got_at:
        leg.become(REFUSED, time, reason_name(packet.reason_code))
    else:  # 0x92 as well: who has answered PUBREC has it, and knows no more of it (3.7.2.1)
        leg.become(DONE, time)


def _got(leg: Leg, time: float) -> None:
    if not leg.got_at:
        leg.got_at = time


def session_ended(store: FlowStore, client_id: str, time: float, why: str) -> None:
    """What was on its way to or from a client whose session is no more will not go on."""
    for leg, flow in store.of_client(client_id):
        if not leg.is_over:
            leg.become(LOST, time, f"{why} before {_missing(leg)}" if leg.state != QUEUED else why)
            store.touch(flow)
    store.legs.pop(client_id, None)


def unkept(store: FlowStore, event: Happening) -> None:
    """A gap of one client, or of all, begins: what they had under way may be over when it ends, and their
    Packet Identifiers may be those of other messages.
    """
    for client_id in [event.client_id] if event.client_id else [*store.legs]:
        for leg, flow in store.of_client(client_id):
            if not leg.is_over:
                what = leg.wait.what if leg.wait is not None and leg.state != QUEUED else "what followed"
                step = store.step(flow, event, None, leg)
                step.label = f"{what} not seen: {NOT_KEPT}"
                leg.become(UNSEEN, event.time, NOT_KEPT)
                store.touch(flow)
        store.legs.pop(client_id, None)


def wait_for_return(store: FlowStore, client_id: str, time: float) -> None:
    """A connection has ended, its session has not."""
    for leg, _ in store.of_client(client_id):
        if not leg.is_over and not leg.away_since:
            leg.away_since = time


def returned(store: FlowStore, client_id: str) -> None:
    """The client is there again, with the same session."""
    for leg, _ in store.of_client(client_id):
        leg.away_since = 0.0


def _missing(leg: Leg) -> str:
    wait = leg.wait
    return f"{wait.what.removeprefix('its return, then ')} came" if wait is not None else "its end"
