"""Operation: what became of a message, as ``curier trace fate`` tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from curier.trace.events import DENIED, REFUSED, Event, Happening
from curier.trace.fate import DID_NOT, GOT, NOT_MEANT, NOT_SEEN, WAITS, Which, fate_of, fate_words
from curier.trace.flows import Leg, Publication
from curier.trace.gaps import Gaps
from curier.trace.joining import Joiner
from curier.trace.reading import Trace
from curier.web import table
from curier.web.fate_forms import Fate, FateQuery, FateReceiver, Fates, Refusal
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.topics import shown_payload
from curier.web.walking import in_pieces

MOST_AT_ONCE: Final = 5  # who look on
LOOK_SECONDS: Final = 0.25
MOST_EVENTS: Final = 10_000  # that wait for a look
MOST_BYTES: Final = 8 << 20
MOST_FLOWS: Final = 2000
MOST_RECEIVERS: Final = 100  # of one message that are told
MOST_REFUSALS: Final = 100
MOST_WHY: Final = 400  # characters
MOST_NAMED: Final = 20  # who have gaps

_FIRST: Final = (DID_NOT, WAITS, NOT_SEEN, NOT_MEANT, GOT)


class Look:
    """What one who asks sees."""

    def __init__(self, client_id: str) -> None:
        self.joiner = Joiner(MOST_FLOWS, MOST_BYTES)
        self.refused: list[Refusal] = []
        self._client_id = client_id

    async def at(self, events: Sequence[Event]) -> None:
        """Look at what has happened."""
        async for event in in_pieces(events):
            if isinstance(event, Happening) and event.kind in (DENIED, REFUSED) and not event.topic:
                if self._client_id and event.client_id == self._client_id:  # no more is known of it
                    self.refused.append(Refusal(event.time, event.why[:MOST_WHY]))
                    del self.refused[:-MOST_REFUSALS]
            else:
                self.joiner.feed(event)


@handles(table.FATE)
async def fate(scene: Scene, asked: FateQuery, who: Known) -> Fates:
    """What became of some messages."""
    which = Which(asked.topic, asked.client, asked.identifier, asked.payload)
    if not any(which):
        raise Problem(400, "of which message? Say topic, client, identifier or payload")
    if scene.looking >= MOST_AT_ONCE:
        raise Problem(503, "too many ask for fates: wait for the others", {"retry-after": "5"})
    try:
        trace = scene.broker.trace(
            topic=asked.topic or None, past=True, most_events=MOST_EVENTS, most_bytes=MOST_BYTES
        )
    except ValueError as error:
        raise Problem(400, str(error)) from None
    scene.looking += 1
    try:
        with trace:
            look = await _look(scene, trace, asked, which)
    finally:
        scene.looking -= 1
    now = scene.broker.turn.clock.now()
    publications = look.joiner.publications
    found = [one async for one in in_pieces(publications) if which.is_meant(one)][-asked.last :]
    gaps = look.joiner.gaps
    fates = [told(one, now, gaps) async for one in in_pieces(found)]
    since, until = gaps.span
    whom = gaps.clients[:MOST_NAMED] if not gaps.are_of_all else []
    return Fates(fates, len(publications), look.joiner.missed, look.refused, since, until, whom)


async def _look(scene: Scene, trace: Trace, asked: FateQuery, which: Which) -> Look:
    look = Look(asked.client)
    loop = asyncio.get_running_loop()
    until = loop.time() + asked.wait
    began = scene.broker.turn.clock.now()
    await look.at(await trace.take_past())
    await look.at(trace.take())
    while loop.time() < until and not scene.hub.is_closed:
        await asyncio.sleep(min(LOOK_SECONDS, until - loop.time()))
        await look.at(trace.take())
        new = [one for one in look.joiner.publications if one.began >= began and which.is_meant(one)]
        if new and all(one.is_finished for one in new):
            break
    return look


def told(flow: Publication, now: float, gaps: Gaps) -> Fate:
    """What became of it, as it is known at ``now``."""
    legs = sorted(flow.deliveries, key=lambda leg: _FIRST.index(fate_of(leg)))
    payload = shown_payload(flow.payload, len(flow.payload))
    payload.size = max(flow.payload_size, payload.size)
    return Fate(
        topic=flow.topic,
        payload=payload,
        qos=flow.qos,
        retain=flow.retain,
        publisher=flow.publisher,
        origin=flow.origin,
        began=flow.began,
        waits=not flow.is_finished,
        words=fate_words(flow, utc=True, now=now, gaps=gaps),
        receivers=[_receiver(leg) for leg in legs[:MOST_RECEIVERS]],
        unseen=gaps.hides(flow),
        more_receivers=flow.more_legs + max(0, len(legs) - MOST_RECEIVERS),
    )


def _receiver(leg: Leg) -> FateReceiver:
    wait = leg.wait
    why = f"{wait.what}, from {wait.whom}" if wait is not None and not leg.why else leg.why
    return FateReceiver(
        leg.client_id, fate_of(leg), leg.qos, leg.packet_id, leg.sends, leg.got_at, why[:MOST_WHY]
    )
