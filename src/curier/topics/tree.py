"""The subscription tree: which subscriptions match a Topic Name, whatever wildcards their filters have.

A tree of the levels of Topic Filters, which ``match`` descends breadth first, all branches at once, so that
no node is visited twice and no depth overflows a stack. Branches that carry no filter any more are cut at
once. ``table`` keeps most filters out of it, which cost less there. Spec: section 4.7.
"""

from __future__ import annotations

from typing import Generic, TypeVar, cast, final

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Subscriber:
    """Whoever is found by a Topic Filter. ``key`` tells one from another under the same filter.

    Not ``acyclic``: compiled, an instance of a subclass in Python would be freed the wrong way.
    """

    __slots__ = ("key",)

    def __init__(self, key: int) -> None:
        self.key: int = key


S = TypeVar("S", bound=Subscriber)


@final
class Several(Subscriber):
    """Two or more who subscribe with one filter; most filters have just one, which lies bare in its place."""

    __slots__ = ("members",)

    def __init__(self, first: Subscriber, second: Subscriber) -> None:
        super().__init__(0)
        self.members: dict[int, Subscriber] = {first.key: first, second.key: second}


def put(place: Subscriber, subscriber: Subscriber) -> Subscriber:
    """What lies in ``place`` once ``subscriber`` is there too, in the place of the one with its key."""
    if isinstance(place, Several):
        place.members[subscriber.key] = subscriber
        return place
    return subscriber if place.key == subscriber.key else Several(place, subscriber)


def get(place: Subscriber | None, key: int) -> Subscriber | None:
    """Who lies in ``place`` under this key."""
    if isinstance(place, Several):
        return place.members.get(key)
    return place if place is not None and place.key == key else None


def drop(place: Subscriber, key: int) -> Subscriber | None:
    """What lies in ``place`` without the one under ``key``, who is there; None: nobody."""
    if not isinstance(place, Several):
        return None
    del place.members[key]
    if len(place.members) > 1:
        return place
    for last in place.members.values():
        return last
    return None


def collect(place: Subscriber, into: list[Subscriber]) -> None:
    """Append everyone who lies in ``place``."""
    if isinstance(place, Several):
        into.extend(place.members.values())
    else:
        into.append(place)


@final
class _Node:
    """One level of filters."""

    __slots__ = ("children", "here", "plus", "under")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] | None = None  # by literal level; never empty
        self.plus: _Node | None = None  # the child for '+'
        self.here: Subscriber | None = None  # of the filter that ends at this level
        self.under: Subscriber | None = None  # of the filter that goes on with '#'

    def child(self, level: bytes) -> _Node | None:
        if level == b"+":
            return self.plus
        return None if self.children is None else self.children.get(level)

    def make_child(self, level: bytes) -> _Node:
        node = _Node()
        if level == b"+":
            self.plus = node
        elif self.children is None:
            self.children = {level: node}
        else:
            self.children[level] = node
        return node

    def cut_child(self, level: bytes) -> None:
        if level == b"+":
            self.plus = None
            return
        assert self.children is not None
        del self.children[level]
        if not self.children:
            self.children = None

    def is_bare(self) -> bool:
        return self.children is None and self.plus is None and self.here is None and self.under is None


@final
class SubscriptionTree(Generic[S]):
    """Subscribers by Topic Filter and key.

    A filter is well formed (``filters.check_topic_filter``) and not shared (``filters.split_shared`` first).
    ``add``, ``remove`` and ``get`` cost O(levels) however many others subscribe with the same filter.

    ``match`` visits at most one node for each way of putting '+' into the levels of the name, so up to
    2 ** (N + 1) where filters have N levels before '#'; whoever takes filters from strangers bounds these.

    ``nodes`` counts the levels that the filters need, shared beginnings once: a filter of many levels is
    small on the wire and large in memory, up to 350 bytes a node.
    """

    __slots__ = ("_root", "nodes")

    def __init__(self) -> None:
        self.nodes: int = 0
        self._root = _Node()

    def is_empty(self) -> bool:
        return self._root.is_bare()

    def add(self, topic_filter: bytes, subscriber: S) -> S | None:
        """Put the subscriber under this filter; the previous one with its key, or None."""
        node = self._root
        for level in topic_filter.split(b"/"):
            if level == b"#":
                previous = get(node.under, subscriber.key)
                node.under = subscriber if node.under is None else put(node.under, subscriber)
                return cast("S | None", previous)
            child = node.child(level)
            if child is None:
                child = node.make_child(level)
                self.nodes += 1
            node = child
        previous = get(node.here, subscriber.key)
        node.here = subscriber if node.here is None else put(node.here, subscriber)
        return cast("S | None", previous)

    def get(self, topic_filter: bytes, key: int) -> S | None:
        """Who is under exactly this filter and key, or None."""
        return cast("S | None", get(self._find(topic_filter), key))

    def has(self, topic_filter: bytes) -> bool:
        """Is anybody under exactly this filter?"""
        return self._find(topic_filter) is not None

    def remove(self, topic_filter: bytes, key: int) -> S | None:
        """Forget this filter and key; who was there, or None."""
        place = self._find(topic_filter)
        previous = get(place, key)
        if place is not None and previous is not None:
            rest = drop(place, key)
            if rest is not place:
                self._replace(topic_filter, rest)
        return cast("S | None", previous)

    def match(self, topic: bytes) -> list[S]:
        """All whose filter matches the Topic Name, in no particular order."""
        found: list[Subscriber] = []
        root = self._root
        levels = topic.split(b"/")
        reached: list[_Node] = []  # the nodes whose levels match those of the topic so far
        if topic.startswith(b"$"):  # [MQTT-4.7.2-1]: neither '#' nor '+' at the root
            if root.children is not None:
                child = root.children.get(levels[0])
                if child is not None:
                    reached.append(child)
            del levels[0]
        else:
            reached.append(root)
        for level in levels:
            deeper: list[_Node] = []
            for node in reached:
                if node.under is not None:
                    collect(node.under, found)
                if node.plus is not None:
                    deeper.append(node.plus)
                if node.children is not None:
                    child = node.children.get(level)
                    if child is not None:
                        deeper.append(child)
            if not deeper:
                return cast(list[S], found)
            reached = deeper
        for node in reached:
            if node.here is not None:
                collect(node.here, found)
            if node.under is not None:  # '#' includes the parent
                collect(node.under, found)
        return cast(list[S], found)

    def _find(self, topic_filter: bytes) -> Subscriber | None:
        node = self._root
        for level in topic_filter.split(b"/"):
            if level == b"#":
                return node.under
            child = node.child(level)
            if child is None:
                return None
            node = child
        return node.here

    def _replace(self, topic_filter: bytes, place: Subscriber | None) -> None:
        """Put ``place`` where a filter that is there ends; cut every branch that was grown for it alone."""
        levels = topic_filter.split(b"/")
        ends_in_hash = levels[-1] == b"#"
        if ends_in_hash:
            levels.pop()
        node = self._root
        path: list[_Node] = []  # parents of the levels
        for level in levels:
            path.append(node)
            child = node.child(level)
            assert child is not None
            node = child
        if ends_in_hash:
            node.under = place
        else:
            node.here = place
        while path and node.is_bare():
            node = path.pop()
            node.cut_child(levels.pop())
            self.nodes -= 1
