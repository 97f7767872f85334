"""The fate of a message in words: who got it and when, who did not and why, who is still waited for."""

from __future__ import annotations

from typing import Final, NamedTuple

from curier.topics.filters import matches
from curier.trace.flows import DONE, OVER, PASSED_OVER, QUEUED, REFUSED, UNSEEN, Leg, Publication
from curier.trace.gaps import Gaps
from curier.trace.wording import clock_words, later_words, shown, span_words

MOST_TOLD: Final = 100  # receivers in each group

GOT: Final = "got it"
WAITS: Final = "waits"
DID_NOT: Final = "did not get it"
NOT_MEANT: Final = "not meant"
NOT_SEEN: Final = "not seen"


class Which(NamedTuple):
    """Which messages are asked for: all that is said is true of them. ``topic`` is a Topic Filter, ``client``
    has published it, ``packet_id`` is that of its PUBLISH, ``payload`` a part of what is known of its own.
    """

    topic: str = ""
    client: str = ""
    packet_id: int = 0
    payload: str = ""

    def is_meant(self, flow: Publication) -> bool:
        """Is it one of them?"""
        leg = flow.incoming
        if self.topic and not matches(self.topic.encode(), flow.topic.encode()):
            return False
        if self.client and flow.publisher != self.client:
            return False
        if self.packet_id and (leg is None or leg.packet_id != self.packet_id):
            return False
        return not self.payload or self.payload.encode() in flow.payload


def fate_of(leg: Leg) -> str:
    """What became of one delivery."""
    if leg.state == DONE or (leg.state in (REFUSED, UNSEEN) and leg.got_at):
        return GOT
    if leg.state == UNSEEN:
        return NOT_SEEN
    if leg.state not in OVER:
        return WAITS
    return NOT_MEANT if leg.state == PASSED_OVER else DID_NOT


def fate_words(flow: Publication, utc: bool = False, now: float = 0.0, gaps: Gaps | None = None) -> list[str]:
    """A line for the publisher, one for each receiver; what went wrong comes first. With the gaps of what was
    seen, it says of whom nobody knows.
    """
    told = [_publisher(flow, utc, now)]
    groups: dict[str, list[Leg]] = {DID_NOT: [], WAITS: [], NOT_SEEN: [], NOT_MEANT: [], GOT: []}
    for leg in flow.deliveries:
        groups[fate_of(leg)].append(leg)
    for legs in groups.values():
        told += [_receiver(flow, leg, utc, now) for leg in legs[:MOST_TOLD]]
        if len(legs) > MOST_TOLD:
            told.append(f"{len(legs) - MOST_TOLD} more {fate_of(legs[0])}")
    if flow.more_legs:
        told.append(f"{flow.more_legs} more receivers are not followed")
    if not flow.deliveries:
        told.append(_nobody(flow))
    if gaps is not None and not flow.nobody:
        told += gaps.words(flow, utc)
    return told


def _nobody(flow: Publication) -> str:
    if flow.nobody:
        return f"nobody got it: {flow.nobody}"
    return "no delivery was seen" if flow.topic else "who got it is not known: its topic was not seen"


def _publisher(flow: Publication, utc: bool, now: float) -> str:
    leg = flow.incoming
    if leg is None:
        if flow.origin == "retained":
            return "retained: its publication was not seen"
        if flow.publisher or flow.origin:
            return f"published by {shown(flow.publisher or 'the broker')} {shown(flow.origin)}".rstrip()
        return "who published it was not seen"
    number = f" #{leg.packet_id}" if leg.packet_id else ""
    head = f"published by {shown(leg.client_id)}{number} at {clock_words(leg.began, utc)}"
    return f"{head}{_again(leg)}: {_state(flow, leg, utc, now)}"


def _receiver(flow: Publication, leg: Leg, utc: bool, now: float) -> str:
    number = f" #{leg.packet_id}" if leg.packet_id else ""
    qos = f" QoS {leg.qos}{number}" if leg.sends else ""
    return f"{shown(leg.client_id)}{qos}{_again(leg)}: {_state(flow, leg, utc, now)}"


def _again(leg: Leg) -> str:
    return f", sent {leg.sends} times" if leg.sends > 1 else ""


def _state(flow: Publication, leg: Leg, utc: bool, now: float) -> str:
    wait = leg.wait
    if wait is not None:
        since = clock_words(wait.since, utc)
        long = f", {span_words(now - wait.since)}" if now > wait.since else ""
        if leg.state == QUEUED:
            return f"waits since {since}{long}: {shown(leg.why, 400) or 'its turn'}"
        got = "has it; " if leg.got_at and not leg.to_server else ""
        whom = "" if wait.whom == leg.client_id else f" of the {shown(wait.whom)}"
        return f"{got}waits for {wait.what}{whom} since {since}{long}"
    if leg.state == UNSEEN:
        got = "got it; " if leg.got_at and not leg.to_server else ""
        return f"{got}what followed was not seen after {clock_words(leg.changed, utc)}: {leg.why}"
    if leg.to_server:
        if leg.state == DONE:
            return "acknowledged " + later_words(leg.changed - flow.began) if leg.qos else "taken"
        return f"not taken: {shown(leg.why, 400)}"
    if leg.state == DONE:
        return f"got it at {clock_words(leg.got_at, utc)} ({later_words(leg.got_at - flow.began)})"
    if leg.state == PASSED_OVER:
        return f"was not to get it: {shown(leg.why, 400)}"
    return f"{'got it, and refused it' if leg.state == REFUSED else 'did not get it'}: {shown(leg.why, 400)}"
