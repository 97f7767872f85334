"""Rules by Topic Filter: which of them speak of a Topic Name, whatever their number.

A tree of the levels of filters, descended once for a question. What a filter has in place of a level may be a
placeholder, whose value for the client in question is compared as it is: it is never read as a wildcard. Each
place of the tree has rules by *subject*, a number for those whom they are about, so that a hundred thousand
users with rules for one filter cost one look-up. Spec: section 4.7 of 5.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

PUBLISH: Final = 1
RECEIVE: Final = 2


@final
class Rule:
    """Allows or denies ``actions``, a sum of those above; of several the lowest ``order`` counts.

    ``line`` is where it stands in its file, ``text`` what stands there.
    """

    __slots__ = ("actions", "allows", "line", "order", "text")

    def __init__(self, order: int, allows: bool, actions: int, line: int, text: str) -> None:
        self.order = order
        self.allows = allows
        self.actions = actions
        self.line = line
        self.text = text


Here = dict[int, list[Rule]]  # by subject, in order


@final
class _Node:
    __slots__ = ("children", "here", "placeholders", "plus", "under")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.placeholders: dict[bytes, _Node] = {}
        self.plus: _Node | None = None
        self.here: Here | None = None  # of the filter that ends at this level
        self.under: Here | None = None  # of the filter that goes on with '#'


@final
class RuleTree:
    """``placeholders`` are the texts that stand for something of the client where they are a whole level, as
    ``{username}`` does.
    """

    def __init__(self, placeholders: Sequence[bytes] = ()) -> None:
        self._root = _Node()
        self._placeholders = frozenset(placeholders)

    def add(self, topic_filter: bytes, subject: int, rule: Rule) -> None:
        """Put a rule for ``subject`` under a well-formed, non-shared Topic Filter."""
        node = self._root
        for level in topic_filter.split(b"/"):
            if level == b"#":
                node.under = _put(node.under, subject, rule)
                return
            if level == b"+":
                if node.plus is None:
                    node.plus = _Node()
                node = node.plus
            elif level in self._placeholders:
                node = node.placeholders.setdefault(level, _Node())
            else:
                node = node.children.setdefault(level, _Node())
        node.here = _put(node.here, subject, rule)

    def first(
        self, topic: bytes, subjects: Sequence[int], action: int, values: Mapping[bytes, bytes]
    ) -> Rule | None:
        """The first rule, by order, about one of ``subjects`` and ``action``, whose filter matches the Topic
        Name; None where there is none. ``values`` are those of placeholders; one without a value matches
        nothing, and one with ``/`` in its value neither, since that is no level.
        """
        best: Rule | None = None
        for place in self._places(topic, values):
            for subject in subjects:
                for rule in place.get(subject, ()):
                    if best is not None and rule.order >= best.order:
                        break
                    if rule.actions & action:
                        best = rule
                        break
        return best

    def _places(self, topic: bytes, values: Mapping[bytes, bytes]) -> list[Here]:
        found: list[Here] = []
        levels = topic.split(b"/")
        is_hidden = topic.startswith(b"$")  # [MQTT-4.7.2-1]: neither '#' nor '+' at the root
        reached = [self._root]
        for depth, level in enumerate(levels):
            deeper: list[_Node] = []
            wild = depth > 0 or not is_hidden
            for node in reached:
                if wild and node.under is not None:
                    found.append(node.under)
                if wild and node.plus is not None:
                    deeper.append(node.plus)
                child = node.children.get(level)
                if child is not None:
                    deeper.append(child)
                for name, child in node.placeholders.items():
                    if values.get(name) == level:
                        deeper.append(child)
            if not deeper:
                return found
            reached = deeper
        for node in reached:
            if node.here is not None:
                found.append(node.here)
            if node.under is not None:  # '#' includes the parent
                found.append(node.under)
        return found


def _put(place: Here | None, subject: int, rule: Rule) -> Here:
    if place is None:
        return {subject: [rule]}
    rules = place.setdefault(subject, [])
    rules.append(rule)
    rules.sort(key=_order)
    return place


def _order(rule: Rule) -> int:
    return rule.order
