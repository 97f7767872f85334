"""Rules by Topic Filter: which of them speak of a Topic Name or Filter, whatever their number.

A tree of the levels of filters, descended once for a question. A level of a filter may be a *template*, which
stands for something of the client in question; its values are compared as they are, and never read as
wildcards. Each place of the tree has rules by *subject*, a number for those whom they are about, so that a
hundred thousand users with rules for one filter cost one look-up. Spec: section 4.7 of 5.0.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, final

PUBLISH: Final = 1
RECEIVE: Final = 2
SUBSCRIBE: Final = 4
RETAIN: Final = 8
ANY_QOS: Final = 7  # a bit for each

Values = Callable[[bytes], Container[bytes]]
"""What a template may be for one client; nothing where the client has no such thing."""


@final
class Rule:
    """Allows or denies ``actions``, a sum of those above; of several the lowest ``order`` counts.

    ``qos`` has a bit for each QoS it is about. ``line`` is where it stands in its file, ``text`` what stands
    there.
    """

    __slots__ = ("actions", "allows", "line", "order", "qos", "text")

    def __init__(
        self, order: int, allows: bool, actions: int, line: int, text: str, qos: int = ANY_QOS
    ) -> None:
        self.order = order
        self.allows = allows
        self.actions = actions
        self.qos = qos
        self.line = line
        self.text = text


Here = dict[int, list[Rule]]  # by subject, in order


@final
class _Node:
    __slots__ = ("children", "here", "plus", "templates", "under")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.templates: dict[bytes, _Node] = {}
        self.plus: _Node | None = None
        self.here: Here | None = None  # of the filter that ends at this level
        self.under: Here | None = None  # of the filter that goes on with '#'


def no_template(level: bytes) -> bool:
    """Each level is what it says."""
    return False


@final
class RuleTree:
    """``is_template`` tells which levels of filters stand for something of the client."""

    def __init__(self, is_template: Callable[[bytes], bool] = no_template) -> None:
        self._root = _Node()
        self._is_template = is_template

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
            elif self._is_template(level):
                node = node.templates.setdefault(level, _Node())
            else:
                node = node.children.setdefault(level, _Node())
        node.here = _put(node.here, subject, rule)

    def first(
        self,
        topic: bytes,
        subjects: Sequence[int],
        action: int,
        values: Values,
        qos: int = ANY_QOS,
        as_20: bool = False,
    ) -> Rule | None:
        """The first rule, by order, about one of ``subjects``, ``action`` and one of the bits of ``qos``,
        whose filter matches the Topic Name; None where there is none.

        ``topic`` may be a Topic Filter: then the rule's filter matches all that it matches. With ``as_20`` it
        does as in Mosquitto 2.0: wildcards match at the beginning of topics with ``$``, and ``+/#`` ``#``.
        """
        best: Rule | None = None
        for place in self._places(topic, values, as_20):
            for subject in subjects:
                for rule in place.get(subject, ()):
                    if best is not None and rule.order >= best.order:
                        break
                    if rule.actions & action and rule.qos & qos:
                        best = rule
                        break
        return best

    def speaks_of_clients(self, topic: bytes) -> bool:
        """May it depend on the value of a template which rules match this Topic Name?"""
        asked: list[bytes] = []

        def values(template: bytes) -> Container[bytes]:
            asked.append(template)
            return ()

        self._places(topic, values)
        return bool(asked)

    def _places(self, topic: bytes, values: Values, as_20: bool = False) -> list[Here]:
        found: list[Here] = []
        levels = topic.split(b"/")
        is_hidden = not as_20 and topic.startswith(b"$")  # [MQTT-4.7.2-1]: neither '#' nor '+' at the root
        reached = [self._root]
        for depth, level in enumerate(levels):
            deeper: list[_Node] = []
            wild = depth > 0 or not is_hidden
            for node in reached:
                if wild and node.under is not None:
                    found.append(node.under)
                if level == b"#":  # only another one matches as much
                    if as_20 and not depth and node.plus is not None and node.plus.under is not None:
                        found.append(node.plus.under)
                    continue
                if wild and node.plus is not None:
                    deeper.append(node.plus)
                child = node.children.get(level)
                if child is not None:
                    deeper.append(child)
                if wild:  # nor the name of a client that calls itself $SYS
                    for template, child in node.templates.items():
                        if level in values(template):
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


def values_of(known: Mapping[bytes, bytes]) -> Values:
    """The values of templates that are names of one thing each."""

    def values(template: bytes) -> Container[bytes]:
        value = known.get(template)
        return () if value is None or not is_level(value) else (value,)

    return values


def is_level(value: bytes) -> bool:
    """May it stand for a level? Not if it were several, or a wildcard, or nothing."""
    return bool(value) and b"/" not in value and b"+" not in value and b"#" not in value


def _put(place: Here | None, subject: int, rule: Rule) -> Here:
    if place is None:
        return {subject: [rule]}
    insort(place.setdefault(subject, []), rule, key=_order)
    return place


def _order(rule: Rule) -> int:
    return rule.order
