"""Operations on pinned topics, of which the last values are kept."""

from __future__ import annotations

from typing import Final

from curier.topics.filters import check_topic_filter
from curier.web import forms, past, table
from curier.web.handling import handles
from curier.web.pin_forms import Past, PastQuery, PastValue, Pin, PinRow, Pins, Unpin
from curier.web.problems import Problem
from curier.web.properties import shown_properties
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.topics import MOST_LEVELS, shown_payload

MOST_RETAINED: Final = 200
"""Topics of a new pin that begin with their retained message."""


@handles(table.PINS)
async def pins(scene: Scene, asked: forms.Nothing, who: Known) -> Pins:
    """All pins."""
    kept = scene.past
    rows = [PinRow(name, one.values, one.since, one.who) for name, one in kept.pins.items()]
    return Pins(rows, kept.topics, kept.values, kept.bytes, kept.left_out)


@handles(table.PIN)
async def pin(scene: Scene, asked: Pin, who: Known) -> forms.Done:
    """Keep values of topics."""
    kept = scene.past
    topic_filter = asked.topic_filter.encode()
    why = check_topic_filter(topic_filter, MOST_LEVELS)
    if why or asked.topic_filter.startswith("$share/"):
        raise Problem(400, f"topic_filter: {why or 'a Shared Subscription matches no more than its filter'}")
    if asked.topic_filter not in kept.pins and len(kept.pins) >= past.MOST_PINS:
        raise Problem(409, f"there are {past.MOST_PINS} pins, and there may not be more: remove some of them")
    scene.audit(who, "pin", topic_filter=asked.topic_filter, values=asked.values)
    kept.pin(asked.topic_filter, past.Pinned(asked.values, scene.broker.turn.clock.now(), who.name))
    for message in scene.broker.core.retained.walk(topic_filter).next(MOST_RETAINED):
        if not kept.of(message.topic, 0, 1):
            time, client = past.written(message)
            kept.add(message.topic, time, client, message)
    return forms.Done(
        f"the last {asked.values} values of topics are kept that {asked.topic_filter!r} matches"
    )


@handles(table.UNPIN)
async def unpin(scene: Scene, asked: Unpin, who: Known) -> forms.Done:
    """Keep them no more."""
    if asked.topic_filter not in scene.past.pins:
        raise Problem(404, f"topic_filter: {asked.topic_filter[:200]!r} is not pinned")
    scene.audit(who, "unpin", topic_filter=asked.topic_filter)
    scene.past.unpin(asked.topic_filter)
    return forms.Done(f"{asked.topic_filter!r} is pinned no more")


@handles(table.PAST)
async def values(scene: Scene, asked: PastQuery, who: Known) -> Past:
    """The last values of a topic."""
    topic = asked.topic.encode()
    pinned = scene.past.pinned_by(topic)
    if not pinned:
        raise Problem(404, f"{asked.topic[:200]!r} is not pinned, so nothing is kept of its past")
    return Past(
        asked.topic,
        pinned,
        [_shown(one, asked.preview) for one in scene.past.of(topic, asked.after, asked.limit)],
        scene.past.may_miss(topic, asked.after, asked.limit),
    )


def _shown(value: past.Value, most: int) -> PastValue:
    payload = shown_payload(value.payload, most)
    payload.size = value.size
    made = PastValue(value.number, value.time, payload, value.qos, value.retain, value.client)
    shown_properties(made, value.properties)
    return made
