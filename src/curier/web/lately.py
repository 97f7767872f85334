"""The topics that are there: those with a retained message, and those that were published to lately.

The latter are the Topic Names of the route cache, which is bounded in bytes, lets those go that are not used,
and all of them where subscriptions with wildcards or pins change: a sketch, which costs publishers nothing.
It is only read here, by a copy of its names, and all else is done in pieces (``walking``). Where they are not
many, what was there when somebody looked is remembered, so that topics do not vanish because one is pinned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, final

from curier.broker.core import BrokerCore
from curier.broker.picking import MORE, TopicPicker, Topics, note_levels
from curier.broker.routing import LONGEST_CACHED
from curier.topics.filters import matches
from curier.web.walking import ROWS

MOST: Final = 300_000
"""Topics of the cache that are looked at: to copy their names takes some 5 ms at a stretch. A cache that no
setting enlarges has fewer.
"""

KEPT: Final = 10_000
"""Topics that are remembered: 1 MiB where their names are short, and never more than 11."""

RETAINED: Final = 1  # of a level, besides WENT_BY and MORE: a topic with a retained message ends there

LevelKind = tuple[bytes, int]
"""A level, and which of these are true of it."""


@final
class Sketch:
    """The topics that a broker's cache has, and had when it was looked at before."""

    def __init__(self, core: BrokerCore) -> None:
        self._cached = core.router.cache.table
        self._kept: dict[bytes, None] = {}  # those met last at the end

    def topics(self) -> list[bytes]:
        """Each once."""
        seen = [*islice(self._cached, MOST)]
        if len(seen) > KEPT:
            self._kept.clear()
            return seen
        kept = self._kept
        for topic in seen:
            if len(topic) <= LONGEST_CACHED:
                kept.pop(topic, None)
                kept[topic] = None
        for topic in [*islice(kept, max(0, len(kept) - KEPT))]:
            del kept[topic]
        return [*kept]


def topic_pieces(
    core: BrokerCore, topic_filter: bytes, picker: TopicPicker, sketch: Sketch | None
) -> Iterator[Topics]:
    """All topics that a Topic Filter matches, each once, whatever is retained or forgotten meanwhile; those
    that are not retained only with a ``sketch`` of them, and as far as ``picker`` looks for them.
    """
    left: set[bytes] = set()  # not met in the walk
    for some in _taken_from(sketch.topics() if sketch is not None else []):
        left.update(picker.having(some))
        yield []
    walk = core.retained.walk(topic_filter)
    while not walk.done:
        piece = walk.next(ROWS)
        if left:
            left.difference_update([one.topic for one in piece])
        yield piece
    while left:
        rest = [left.pop() for _ in range(min(ROWS, len(left)))]
        yield [topic for topic in rest if matches(topic_filter, topic)]


def _taken_from(seen: list[bytes]) -> Iterator[list[bytes]]:
    """Its pieces, which are no longer in it: to free all names at once would take a pause."""
    while seen:
        some = seen[-ROWS:]
        del seen[-ROWS:]
        yield some


def level_pieces(
    core: BrokerCore, prefix: bytes | None, sketch: Sketch | None
) -> Iterator[Sequence[LevelKind]]:
    """The levels below ``prefix`` (None: at the top), each once, in no order. First there are pieces of none:
    a level is known when all topics are looked at.
    """
    seen = sketch.topics() if sketch is not None else []
    kinds: dict[bytes, int] = {}
    after = 0
    for _ in range(2 + 2 * core.retained.nodes // ROWS):  # dead ones among them; no more, however many come
        found, after = core.retained.level(prefix, after, ROWS)
        for branch in found:
            kinds[branch.level] = RETAINED * branch.has_value | MORE * branch.has_more
        yield []
        if not after:
            break
    above = b"" if prefix is None else prefix + b"/"
    for some in _taken_from(seen):
        note_levels(kinds, some, above)
        yield []
    while kinds:
        yield [kinds.popitem() for _ in range(min(ROWS, len(kinds)))]
