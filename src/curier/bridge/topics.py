"""Which messages a bridge carries, and what their topics are called on the other side.

    sensors/# out 1 home/ site7/

carries what is published here below ``home/sensors/`` to ``site7/sensors/`` there, with QoS 1 at most, as
Mosquitto's ``topic PATTERN DIRECTION QOS LOCAL REMOTE`` does. ``""`` stands for nothing, as a prefix or,
where there are both prefixes, as the pattern: then they are one topic on each side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from curier.errors import ConfigError
from curier.frozen import dataclass
from curier.topics.filters import check_topic_filter, matches

DIRECTIONS: Final = ("out", "in", "both")
MOST_LEVELS: Final = 65_536  # as many as a Topic Filter can have
NOTHING: Final = '""'


@dataclass(frozen=True, slots=True)
class Topic:
    """One line of topics. ``qos`` is the highest that is carried; ``local`` and ``remote`` are what stands in
    front of ``pattern`` on either side. Raises ``ConfigError``.
    """

    pattern: str
    direction: str = "out"
    qos: int = 1
    local: str = ""
    remote: str = ""

    @property
    def local_filter(self) -> str:
        """What is subscribed to here, or published to."""
        return self.local + self.pattern

    @property
    def remote_filter(self) -> str:
        """The same there."""
        return self.remote + self.pattern

    @property
    def goes_out(self) -> bool:
        """Does it carry from here to there?"""
        return self.direction != "in"

    @property
    def comes_in(self) -> bool:
        """And from there to here?"""
        return self.direction != "out"

    def check(self) -> None:
        """Raise ``ConfigError`` for what cannot be."""
        if self.direction not in DIRECTIONS:
            raise ConfigError(f"{self}: the direction is out, in or both, not {self.direction!r}")
        if self.qos not in (0, 1, 2):
            raise ConfigError(f"{self}: the QoS is 0, 1 or 2, not {self.qos!r}")
        if not self.pattern and not (self.local and self.remote):
            raise ConfigError(f'{self}: "" as a pattern needs both prefixes: they are the topics themselves')
        for prefix in (self.local, self.remote):
            if "+" in prefix or "#" in prefix:
                raise ConfigError(f"{self}: a prefix has no wildcards, as {prefix!r} has")
        for topic_filter in (self.local_filter, self.remote_filter):
            why = _why_not(topic_filter)
            if why:
                raise ConfigError(f"{self}: {topic_filter!r}: {why}")

    def __str__(self) -> str:
        words = [self.pattern or NOTHING, self.direction, str(self.qos)]
        if self.local or self.remote:
            words += [self.local or NOTHING, self.remote or NOTHING]
        return " ".join(words)


def _why_not(topic_filter: str) -> str:
    if topic_filter.startswith("$share/"):
        return "a Shared Subscription is for clients that share their work; a bridge is one client"
    try:
        return check_topic_filter(topic_filter.encode(), MOST_LEVELS)
    except UnicodeEncodeError:
        return "it cannot be written in UTF-8"


def parse_topic(text: str) -> Topic:
    """The words of one line. Raises ``ConfigError``."""
    words = text.split()
    if not 1 <= len(words) <= 5:
        raise ConfigError(
            f"{text!r}: expected PATTERN DIRECTION QOS LOCAL REMOTE, of which all but the first may be left "
            'out at the end, such as "sensors/# out 1"'
        )
    words = ["" if word == NOTHING else word for word in words]
    pattern, direction, qos, local, remote = [*words, *("", "out", "1", "", "")[len(words) :]]
    if qos not in ("0", "1", "2"):
        raise ConfigError(f"{text!r}: the QoS is 0, 1 or 2, not {qos!r}")
    found = Topic(pattern, direction, int(qos), local, remote)
    found.check()
    return found


class Map:
    """What becomes of topics in one direction: from ``sources`` to where they go."""

    def __init__(self, topics: Iterable[Topic], to_remote: bool) -> None:
        self._rules: Final = [
            (
                (one.local_filter if to_remote else one.remote_filter).encode(),
                one.local if to_remote else one.remote,
                one.remote if to_remote else one.local,
                one.qos,
            )
            for one in topics
            if (one.goes_out if to_remote else one.comes_in)
        ]
        self.sources: Final[dict[str, int]] = {}
        """Topic Filters to subscribe to, with the QoS to ask for."""
        for topic_filter, _, _, qos in self._rules:
            name = topic_filter.decode()
            self.sources[name] = max(qos, self.sources.get(name, 0))

    @property
    def highest_qos(self) -> int:
        """Of what goes this way; -1: nothing does."""
        return max(self.sources.values(), default=-1)

    def find(self, topic: str) -> tuple[str, int] | None:
        """The topic on the other side, and the QoS it has at most, by the first rule that fits; None: it does
        not go there.
        """
        name = topic.encode()
        for topic_filter, before, after, qos in self._rules:
            if topic.startswith(before) and matches(topic_filter, name):
                there = after + topic[len(before) :]
                return (there, qos) if there else None
        return None


def overlap(one: str, other: str) -> bool:
    """Is there a topic that both Topic Filters match?"""
    return _overlap(one.split("/"), other.split("/"))


def _overlap(one: list[str], other: list[str]) -> bool:
    for at in range(max(len(one), len(other))):
        here = one[at] if at < len(one) else None
        there = other[at] if at < len(other) else None
        if here == "#" or there == "#":
            return True
        if here is None or there is None:  # "a" and "a/#", which matches its parent (4.7.1.2)
            return False
        if "+" not in (here, there) and here != there:
            return False
    return True


def may_come_back(topics: Iterable[Topic]) -> list[tuple[Topic, Topic]]:
    """Pairs of which the second brings back what the first has carried away, unless something stops that."""
    listed = [*topics]
    return [
        (out, into)
        for out in listed
        if out.goes_out
        for into in listed
        if into.comes_in and overlap(out.remote_filter, into.remote_filter)
    ]
