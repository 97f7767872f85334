"""The subscription table: which subscriptions match a Topic Name, mostly by looking up whole filters.

Filters lie flat in a few dicts, which costs little memory and no objects. A Topic Name is itself the filter
without a wildcard that matches it. Those with wildcards are found by their *shape*, which is the filter
without its literal levels: for ``/+//#``, the shape of ``site/+/state/#``, the name ``site/7/state/on`` is
turned into the one filter of that shape that can match it, and looked up. Millions of filters have a handful
of shapes, so finding them costs the same however many they are. ``match`` is what a PUBLISH waits for whose
topic is not in the route cache: it is written for speed, without lists of levels.

A shape that cannot match a name because of its number of levels costs that name nothing. The shapes are
strangers' choice, so only the first ``MOST_SHAPES`` of each kind are kept so; filters of any further shape go
to a tree of levels. Spec: section 4.7.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar, cast, final

from librt.strings import BytesWriter
from mypy_extensions import i64

from curier.topics.filters import has_wildcard
from curier.topics.tree import Subscriber, SubscriptionTree, collect, drop, get, put

S = TypeVar("S", bound=Subscriber)

MOST_SHAPES: Final = 16  # of a kind: each costs a look-up for Topic Names that are not in the route cache
MOST_STEMS: Final = 128  # shapes without '+', of which there is one for each depth
SLASH: Final = 0x2F
PLUS: Final = 0x2B
DOLLAR: Final = 0x24
PARTS: Final = 64  # dicts that the filters are divided among: growing one of them takes a pause


# Kinds of shapes: those that end in '#'; all others are of one kind for each number of levels.
OPEN: Final = -1  # with '+'
STEM: Final = -2  # without


@final
class Shape:
    """Where the wildcards of a filter are."""

    __slots__ = ("begins_wild", "count", "depth", "ends_in_hash", "pluses")

    def __init__(self, levels: list[bytes]) -> None:
        self.count: int = 0  # of filters in the table that have it
        self.ends_in_hash: bool = levels[-1] == b"#"
        self.depth: i64 = len(levels) - (1 if self.ends_in_hash else 0)
        self.pluses: list[int] = [depth for depth, level in enumerate(levels) if level == b"+"]
        self.begins_wild: bool = levels[0] == b"+" or levels[0] == b"#"

    def filter_for(self, topic: bytes, ends: list[int], count: i64) -> bytes:
        """The filter of this shape that matches a Topic Name whose ``count`` levels end there, or b""."""
        depth = self.depth
        if count != depth and (count < depth or not self.ends_in_hash):  # '#' includes the parent
            return b""
        if self.begins_wild and topic[0] == DOLLAR:  # [MQTT-4.7.2-1]
            return b""
        if not depth:
            return b"#"
        end: i64 = ends[depth - 1]
        if not self.pluses:
            return topic[:end] + b"/#"
        wanted = BytesWriter()
        at: i64 = 0
        for plus in self.pluses:
            level: i64 = plus
            begin: i64 = ends[level - 1] + 1 if level else 0
            if begin > at:
                wanted.write(topic[at:begin])
            wanted.append(PLUS)
            at = ends[level]
        if end > at:
            wanted.write(topic[at:end])
        if self.ends_in_hash:
            wanted.write(b"/#")
        return wanted.getvalue()


def kind_of(levels: list[bytes]) -> int:
    """The kind of shape that a filter of these levels has."""
    if levels[-1] != b"#":
        return len(levels)
    return OPEN if b"+" in levels else STEM


def shape_of(levels: list[bytes]) -> bytes:
    """The name of a shape: the filter with every literal level emptied."""
    return b"/".join([level if level == b"+" or level == b"#" else b"" for level in levels])


@final
class SubscriptionTable(Generic[S]):
    """Subscribers by Topic Filter and key; ``len`` counts the pairs of filter and key.

    A filter is well formed (``filters.check_topic_filter``) and not shared (``filters.split_shared`` first).
    Its bytes are kept, not copied: whoever keeps them too pays for them once.
    """

    __slots__ = (
        "_closed",
        "_ends",
        "_most_shapes",
        "_open",
        "_parts",
        "_shapes",
        "_size",
        "_stems",
        "_tree",
    )

    def __init__(self, most_shapes: int = MOST_SHAPES) -> None:
        self._most_shapes = most_shapes
        self._parts: list[dict[bytes, Subscriber]] = [{} for _ in range(PARTS)]
        self._shapes: dict[int, dict[bytes, Shape]] = {}  # by kind, then by name
        self._stems: list[Shape] = []  # the same for ``match``
        self._open: list[Shape] = []
        self._closed: dict[int, list[Shape]] = {}  # by number of levels
        self._ends: list[int] = []  # of the levels of the Topic Name that is looked for, and some older ones
        self._tree: SubscriptionTree[S] = SubscriptionTree()  # filters of all other shapes
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, topic_filter: bytes, subscriber: S) -> S | None:
        """Put the subscriber under this filter; the previous one with its key, or None."""
        part = self._parts[i64(hash(topic_filter)) & (PARTS - 1)]
        place = part.get(topic_filter)
        previous: Subscriber | None = None
        if place is not None:
            previous = get(place, subscriber.key)
            part[topic_filter] = put(place, subscriber)
        elif not has_wildcard(topic_filter) or self._has_room(topic_filter):
            part[topic_filter] = subscriber
        else:
            previous = self._tree.add(topic_filter, subscriber)
        if previous is None:
            self._size += 1
        return cast("S | None", previous)

    def get(self, topic_filter: bytes, key: int) -> S | None:
        """Who is under exactly this filter and key, or None."""
        place = self._parts[i64(hash(topic_filter)) & (PARTS - 1)].get(topic_filter)
        if place is None:
            return self._tree.get(topic_filter, key)
        return cast("S | None", get(place, key))

    def remove(self, topic_filter: bytes, key: int) -> S | None:
        """Forget this filter and key; who was there, or None."""
        part = self._parts[i64(hash(topic_filter)) & (PARTS - 1)]
        place = part.get(topic_filter)
        previous: Subscriber | None
        if place is None:
            previous = self._tree.remove(topic_filter, key)
        else:
            previous = get(place, key)
            if previous is not None:
                rest = drop(place, key)
                if rest is None:
                    del part[topic_filter]
                    if has_wildcard(topic_filter):
                        self._leave_shape(topic_filter)
                elif rest is not place:
                    part[topic_filter] = rest
        if previous is not None:
            self._size -= 1
        return cast("S | None", previous)

    def match(self, topic: bytes) -> list[S]:
        """All whose filter matches the Topic Name, in no particular order."""
        found: list[Subscriber] = []
        place = self._parts[i64(hash(topic)) & (PARTS - 1)].get(topic)
        if place is not None:
            collect(place, found)
        if self._shapes:
            count = self._find_ends(topic)
            if self._stems:
                self._look(self._stems, topic, count, found)
            if self._open:
                self._look(self._open, topic, count, found)
            if self._closed:
                closed = self._closed.get(int(count))
                if closed is not None:
                    self._look(closed, topic, count, found)
        if not self._tree.is_empty():
            found.extend(self._tree.match(topic))
        return cast(list[S], found)

    def _find_ends(self, topic: bytes) -> i64:
        """Note where each level of a Topic Name ends; returns how many they are."""
        ends = self._ends
        size: i64 = len(topic)
        most: i64 = len(ends)
        count: i64 = 0
        at: i64 = 0
        while at <= size:
            if at == size or topic[at] == SLASH:
                if count < most:
                    ends[count] = int(at)
                else:
                    ends.append(int(at))
                count += 1
            at += 1
        return count

    def _look(self, shapes: list[Shape], topic: bytes, count: i64, found: list[Subscriber]) -> None:
        """Append all whose filter is of these shapes and matches."""
        for shape in shapes:
            wanted = shape.filter_for(topic, self._ends, count)
            if wanted:
                place = self._parts[i64(hash(wanted)) & (PARTS - 1)].get(wanted)
                if place is not None:
                    collect(place, found)

    def _list(self, kind: int) -> None:
        """A shape of this kind has come, or is gone."""
        shapes = list(self._shapes[kind].values()) if kind in self._shapes else []
        if kind == STEM:
            self._stems = shapes
        elif kind == OPEN:
            self._open = shapes
        elif shapes:
            self._closed[kind] = shapes
        else:
            self._closed.pop(kind, None)

    def _has_room(self, topic_filter: bytes) -> bool:
        """Count one more filter of its shape, unless it has to go, or is already, in the tree."""
        if not self._tree.is_empty() and self._tree.has(topic_filter):
            return False
        levels = topic_filter.split(b"/")
        kind = kind_of(levels)
        name = shape_of(levels)
        shapes = self._shapes.get(kind)
        shape = shapes.get(name) if shapes is not None else None
        if shape is None:
            if shapes is None:
                shapes = self._shapes[kind] = {}
            elif len(shapes) >= (MOST_STEMS if kind == STEM else self._most_shapes):
                return False
            shape = shapes[name] = Shape(levels)
            self._list(kind)
        shape.count += 1
        return True

    def _leave_shape(self, topic_filter: bytes) -> None:
        levels = topic_filter.split(b"/")
        kind = kind_of(levels)
        name = shape_of(levels)
        shapes = self._shapes[kind]
        shape = shapes[name]
        shape.count -= 1
        if not shape.count:
            del shapes[name]
            if not shapes:
                del self._shapes[kind]
            self._list(kind)
