"""The subscription tree: which subscriptions match a Topic Name.

Topic Filters without a wildcard, by far the most, lie in one flat dict: finding theirs is one lookup, and
each costs little memory. Only filters with ``+`` or ``#`` grow a tree of their levels, which ``match``
descends breadth first, all branches at once, so that no node is visited twice and no depth overflows a stack.
Branches that carry no filter any more are cut at once. Spec: section 4.7.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

from curier.topics.filters import has_wildcard

V = TypeVar("V")


@final
class _Subscribers(Generic[V]):
    """All who subscribe with one filter; the first lies here bare, since most filters have just one."""

    __slots__ = ("key", "others", "value")

    def __init__(self, key: int, value: V) -> None:
        self.key = key
        self.value = value
        self.others: dict[int, V] | None = None  # never empty

    def put(self, key: int, value: V) -> V | None:
        previous: V | None
        if key == self.key:
            previous = self.value
            self.value = value
            return previous
        if self.others is None:
            self.others = {key: value}
            return None
        previous = self.others.get(key)
        self.others[key] = value
        return previous

    def get(self, key: int) -> V | None:
        if key == self.key:
            return self.value
        return None if self.others is None else self.others.get(key)

    def drop(self, key: int) -> V | None:
        """Remove one of several; the caller lets go of the whole where ``key`` is the only one."""
        if self.others is None:
            return None
        previous: V | None
        if key == self.key:
            previous = self.value
            self.key, self.value = self.others.popitem()
        else:
            previous = self.others.pop(key, None)
        if not self.others:
            self.others = None
        return previous

    def is_only(self, key: int) -> bool:
        return self.others is None and key == self.key

    def collect(self, into: list[V]) -> None:
        into.append(self.value)
        if self.others is not None:
            into.extend(self.others.values())


@final
class _Node(Generic[V]):
    """One level of the filters that have a wildcard."""

    __slots__ = ("children", "here", "plus", "under")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[V]] | None = None  # by literal level; never empty
        self.plus: _Node[V] | None = None  # the child for '+'
        self.here: _Subscribers[V] | None = None  # of the filter that ends at this level
        self.under: _Subscribers[V] | None = None  # of the filter that goes on with '#'

    def child(self, level: bytes) -> _Node[V] | None:
        if level == b"+":
            return self.plus
        return None if self.children is None else self.children.get(level)

    def make_child(self, level: bytes) -> _Node[V]:
        node: _Node[V] = _Node()
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
class SubscriptionTree(Generic[V]):
    """Values by Topic Filter and key; ``len`` counts the pairs of filter and key.

    A filter is well formed (``filters.check_topic_filter``) and not shared (``filters.split_shared`` first),
    a key is the number of a session or of a share group, a value is not None. ``add``, ``remove`` and ``get``
    cost O(levels) however many others subscribe with the same filter.

    ``nodes`` counts the levels that filters with a wildcard needed, shared beginnings once: a filter of many
    levels is small on the wire and large in memory, up to 350 bytes a node, so whoever limits memory counts
    these too.
    """

    __slots__ = ("_exact", "_root", "_size", "nodes")

    def __init__(self) -> None:
        self.nodes = 0
        self._exact: dict[bytes, _Subscribers[V]] = {}
        self._root: _Node[V] = _Node()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, topic_filter: bytes, key: int, value: V) -> V | None:
        """Set the value under this filter and key; the previous one, or None."""
        subscribers = self._find(topic_filter)
        if subscribers is None:
            self._plant(topic_filter, _Subscribers(key, value))
            self._size += 1
            return None
        previous = subscribers.put(key, value)
        if previous is None:
            self._size += 1
        return previous

    def get(self, topic_filter: bytes, key: int) -> V | None:
        """The value under exactly this filter and key, or None."""
        subscribers = self._find(topic_filter)
        return None if subscribers is None else subscribers.get(key)

    def remove(self, topic_filter: bytes, key: int) -> V | None:
        """Forget this filter and key; the value they had, or None."""
        subscribers = self._find(topic_filter)
        if subscribers is None:
            return None
        if subscribers.is_only(key):
            self._uproot(topic_filter)
            self._size -= 1
            return subscribers.value
        previous = subscribers.drop(key)
        if previous is not None:
            self._size -= 1
        return previous

    def match(self, topic: bytes) -> list[V]:
        """The values of all subscriptions whose filter matches the Topic Name, in no particular order."""
        found: list[V] = []
        exact = self._exact.get(topic)
        if exact is not None:
            exact.collect(found)
        if not self._root.is_bare():
            self._match_wildcards(topic, found)
        return found

    def _match_wildcards(self, topic: bytes, found: list[V]) -> None:
        root = self._root
        levels = topic.split(b"/")
        reached: list[_Node[V]] = []  # the nodes whose levels match those of the topic so far
        if topic.startswith(b"$"):  # [MQTT-4.7.2-1]: neither '#' nor '+' at the root
            if root.children is not None:
                child = root.children.get(levels[0])
                if child is not None:
                    reached.append(child)
            del levels[0]
        else:
            reached.append(root)
        for level in levels:
            deeper: list[_Node[V]] = []
            for node in reached:
                if node.under is not None:
                    node.under.collect(found)
                if node.plus is not None:
                    deeper.append(node.plus)
                if node.children is not None:
                    child = node.children.get(level)
                    if child is not None:
                        deeper.append(child)
            if not deeper:
                return
            reached = deeper
        for node in reached:
            if node.here is not None:
                node.here.collect(found)
            if node.under is not None:  # '#' includes the parent
                node.under.collect(found)

    def _find(self, topic_filter: bytes) -> _Subscribers[V] | None:
        if not has_wildcard(topic_filter):
            return self._exact.get(topic_filter)
        node = self._root
        for level in topic_filter.split(b"/"):
            if level == b"#":
                return node.under
            child = node.child(level)
            if child is None:
                return None
            node = child
        return node.here

    def _plant(self, topic_filter: bytes, subscribers: _Subscribers[V]) -> None:
        if not has_wildcard(topic_filter):
            self._exact[topic_filter] = subscribers
            return
        node = self._root
        for level in topic_filter.split(b"/"):
            if level == b"#":
                node.under = subscribers
                return
            child = node.child(level)
            if child is None:
                child = node.make_child(level)
                self.nodes += 1
            node = child
        node.here = subscribers

    def _uproot(self, topic_filter: bytes) -> None:
        """Take out a filter that is there, and every branch that was grown for it alone."""
        if not has_wildcard(topic_filter):
            del self._exact[topic_filter]
            return
        levels = topic_filter.split(b"/")
        ends_in_hash = levels[-1] == b"#"
        if ends_in_hash:
            levels.pop()
        node = self._root
        path: list[_Node[V]] = []  # parents of the levels
        for level in levels:
            path.append(node)
            child = node.child(level)
            assert child is not None
            node = child
        if ends_in_hash:
            node.under = None
        else:
            node.here = None
        while path and node.is_bare():
            node = path.pop()
            node.cut_child(levels.pop())
            self.nodes -= 1
