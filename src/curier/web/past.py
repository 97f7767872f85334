"""The last values of pinned topics, in memory: bounded in topics, values and bytes; they end with the window.

Messages on pinned topics are seen as ``curier trace`` sees those of a topic: they leave the fast lane, and so
do the connections that have to do with them; all others stay there. Without a pin nothing is looked at.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import Final, NamedTuple

from curier.broker.retaining import writer_of
from curier.session.message import ApplicationMessage
from curier.topics.filters import matches
from curier.trace.reading import Trace
from curier.trace.traced import Traced

MOST_PINS: Final = 20
MOST_TOPICS: Final = 1000
MOST_BYTES: Final = 16 << 20
MOST_PAYLOAD: Final = 65_536
"""Bytes of each that are kept."""

MOST_PROPERTIES: Final = 8192
"""Bytes of those of one message; where there are more, none are kept."""

EACH: Final = 400  # bytes that a value needs besides its payload and Properties


class Value(NamedTuple):
    """A message, as far as it is kept; ``size`` is that of its whole payload."""

    number: int
    time: float
    topic: bytes
    payload: bytes
    size: int
    qos: int
    retain: bool
    client: str
    properties: bytes

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return len(self.payload) + len(self.properties) + EACH


class Pinned(NamedTuple):
    """Whose idea it was to keep so many values of each topic, and when."""

    values: int
    since: float
    who: str


class Past:
    """Of the topics that ``pins`` match. ``left_out`` counts messages for whose topics there was no room."""

    def __init__(self, broker: Traced) -> None:
        self._broker = broker
        self._trace: Trace | None = None
        self._values: OrderedDict[int, Value] = OrderedDict()
        self._topics: dict[bytes, deque[int]] = {}
        self._last = 0
        self.pins: dict[str, Pinned] = {}
        self.bytes = 0
        self.left_out = 0

    @property
    def topics(self) -> int:
        """How many topics have values."""
        return len(self._topics)

    @property
    def values(self) -> int:
        """How many there are of all of them."""
        return len(self._values)

    def pin(self, topic_filter: str, pinned: Pinned) -> None:
        """Keep the last values of its topics, from now on. Raises ``ValueError`` for what is no filter."""
        before = self.pins.copy()
        self.pins[topic_filter] = pinned
        try:
            self._watch()
        except ValueError:
            self.pins = before
            raise
        self._keep_pinned()

    def unpin(self, topic_filter: str) -> None:
        """Keep them no more, unless another pin has them."""
        del self.pins[topic_filter]
        self._watch()
        self._keep_pinned()

    def close(self) -> None:
        """Look at nothing any more."""
        if self._trace is not None:
            self._trace.close()
            self._trace = None

    def pinned_by(self, topic: bytes) -> list[str]:
        """The pins of a topic."""
        return [one for one in self.pins if matches(one.encode(), topic)]

    def of(self, topic: bytes, after: int, limit: int) -> list[Value]:
        """The last values of a topic that have a number above ``after``, oldest first."""
        numbers = reversed(self._topics.get(topic, ()))
        newest = [self._values[number] for number in islice(numbers, limit) if number > after]
        return newest[::-1]

    def may_miss(self, topic: bytes, after: int, limit: int) -> bool:
        """Whether values may have come behind ``after`` that ``of`` does not have."""
        numbers = self._topics.get(topic, ())
        if not after or not numbers:
            return False
        return numbers[0] > after or (len(numbers) > limit and numbers[-limit - 1] > after)

    def add(self, topic: bytes, time: float, client: str, message: ApplicationMessage) -> None:
        """Keep one more, for which the oldest ones may have to go."""
        numbers = self._topics.get(topic)
        if numbers is None:
            if not self.pinned_by(topic):  # it waited for its turn when the pin was removed
                return
            if len(self._topics) >= MOST_TOPICS:
                self.left_out += 1
                return
            numbers = self._topics[topic] = deque()
        self._last += 1
        payload = message.payload[:MOST_PAYLOAD]
        size = len(message.payload)
        properties = message.properties if len(message.properties) <= MOST_PROPERTIES else b""
        value = Value(self._last, time, topic, payload, size, message.qos, message.retain, client, properties)
        self._values[value.number] = value
        numbers.append(value.number)
        self.bytes += value.cost
        most = max((self.pins[one].values for one in self.pinned_by(topic)), default=0)
        while len(numbers) > most:
            self._drop(numbers[0])
        while self.bytes > MOST_BYTES:
            self._drop(next(iter(self._values)))

    def _drop(self, number: int) -> None:
        """Forget a value, which is the oldest of its topic."""
        value = self._values.pop(number)
        self.bytes -= value.cost
        numbers = self._topics[value.topic]
        numbers.popleft()
        if not numbers:
            del self._topics[value.topic]

    def _keep_pinned(self) -> None:
        for topic, numbers in [*self._topics.items()]:
            most = max((self.pins[one].values for one in self.pinned_by(topic)), default=0)
            while len(numbers) > most:
                self._drop(numbers[0])

    def _watch(self) -> None:
        """See what is pinned now."""
        before = self._trace
        self._trace = self._broker.watch([*self.pins], self._published) if self.pins else None
        if before is not None:
            before.close()

    def _published(self, time: float, client: str, message: ApplicationMessage) -> None:
        self.add(message.topic, time, client, message)


def written(message: ApplicationMessage) -> tuple[float, str]:
    """When a retained message was written, and by whom."""
    return message.written_at, writer_of(message)
