"""Finds the Topic Filters in use that overlap with one: some topic matches both.

A tree of levels, as the subscription tree, but asked with filters; what is found costs what it is, however
many filters there are that do not overlap.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

V = TypeVar("V")


@final
class _Node(Generic[V]):
    """One level of Topic Filters; ``here`` is whose filter ends with it, and how often."""

    __slots__ = ("children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Node[V]] = {}
        self.here: dict[V, int] = {}


class Overlaps(Generic[V]):
    """Whoever uses Topic Filters, by filter. Filters are well formed and without a ShareName (4.8.2).

    ``#`` and ``+`` count as if they matched topics that begin with ``$``: to find more than there is does no
    harm.
    """

    def __init__(self) -> None:
        self._root: _Node[V] = _Node()

    def add(self, topic_filter: str, value: V) -> None:
        """``value`` uses ``topic_filter``, once more."""
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.here[value] = node.here.get(value, 0) + 1

    def remove(self, topic_filter: str, value: V) -> None:
        """``value`` uses ``topic_filter`` once less."""
        path = []
        node = self._root
        for level in topic_filter.split("/"):
            path.append((node, level))
            node = node.children[level]
        node.here[value] -= 1
        if not node.here[value]:
            del node.here[value]
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.children or child.here:
                return
            del parent.children[level]

    def find(self, topic_filter: str) -> dict[V, None]:
        """Everybody with a filter that overlaps, each once."""
        found: dict[V, None] = {}
        nodes = [self._root]
        for level in topic_filter.split("/"):
            if level == "#":
                while nodes:  # everything below, and the level above as well (4.7.1.2)
                    node = nodes.pop()
                    found.update(dict.fromkeys(node.here))
                    nodes.extend(node.children.values())
                return found
            following = []
            for node in nodes:
                children = node.children
                if "#" in children:
                    found.update(dict.fromkeys(children["#"].here))
                if level == "+":
                    following += [child for name, child in children.items() if name != "#"]
                else:
                    following += [children[name] for name in (level, "+") if name in children]
            nodes = following
        for node in nodes:
            found.update(dict.fromkeys(node.here))
            if "#" in node.children:
                found.update(dict.fromkeys(node.children["#"].here))
        return found
