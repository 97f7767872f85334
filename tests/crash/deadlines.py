"""What has its time: Will Messages with a Will Delay Interval, and messages that expire.

Clients that write down when they did something and when they saw something, and the judges of that. All
times are this process's own, and each is used for the side on which it is sure: a server has done what was
asked no earlier than its client asked, and no later than the client saw the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

from curier.codec import packets as p
from curier.codec.properties import Properties
from curier.verify.ledger import LOST, WILL, Fault, Sent
from curier.verify.peer import FOREVER, Peer

EARLY: Final = "too early"
LATE: Final = "too late"
UNWANTED: Final = "not to be published"
GROWN: Final = "expiry grown"

SLACK: Final = 1.0  # seconds that clocks of nodes, and rounding, may make
NEVER_SECONDS: Final = 3600
DELAYS: Final = (2, 4, 8)
SPANS: Final = (1, 2, 5, 15, NEVER_SECONDS)
PING_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.05  # between two messages of a publisher


class Lag:
    """How far this process was behind, and when: what came may have lain here for so long."""

    def __init__(self, every: float = 0.02) -> None:
        self.most = 0.0
        self._every = every
        self._stalls: list[tuple[float, float]] = []  # when each ended, and how long it was

    async def run(self) -> None:
        while True:
            began = time.time()
            await asyncio.sleep(self._every)
            self.note(time.time(), time.time() - began - self._every)

    def note(self, at: float, seconds: float) -> None:
        """It was so far behind, and that ended at ``at``."""
        self.most = max(self.most, seconds)
        if seconds > self._every:
            self._stalls.append((at, seconds))

    def near(self, at: float) -> float:
        """How long that which came at ``at`` may have lain here."""
        return 2 * max((long for end, long in self._stalls if abs(end - at) < long + 1.0), default=0.0)


# -- wills


class Stay:
    """One connection of a ``Leaver``, with a will of its own that is due ``seconds`` after its end.

    ``alive_at``: the server had the connection then, or later. ``welcome_at`` is 0 where no CONNACK came.
    """

    def __init__(self, who: str, topic: str, seconds: float, called_at: float) -> None:
        self.who = who
        self.topic = topic
        self.seconds = seconds
        self.alive_at = called_at
        self.welcome_at = 0.0
        self.is_refused = False


class Leaver(Peer):
    """It comes with another will each time, and never says goodbye. ``ends``: its session ends before its
    will is due, and so the will is due then.
    """

    def __init__(
        self, name: str, topics: str, dice: Random, ends: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(name, 5, [], True, clock)
        self.topics = topics
        self.dice = dice
        self.ends = ends
        self.stays: list[Stay] = []
        self._asked_at = 0.0  # PINGREQ that has no answer yet

    def call(self) -> None:
        """CONNECT, with a will."""
        delay = NEVER_SECONDS if self.ends else self.dice.choice(DELAYS)
        topic = f"{self.topics}/{self.name}/{len(self.stays) + 1}"
        self.stays.append(Stay(self.name, topic, self.ends or delay, self.clock()))
        self._asked_at = 0.0
        made, of_will = Properties(), Properties()
        made.session_expiry_interval = self.ends or FOREVER
        of_will.will_delay_interval = delay
        will = p.Will(topic, topic.encode(), 2, False, of_will)
        self.send(p.Connect(5, self.client_id, False, 0, None, None, will, made))

    def take(self, packet: p.Packet) -> None:
        """As a peer does; and note what it proves."""
        super().take(packet)
        if isinstance(packet, p.Connack) and packet.reason_code:
            self.stays[-1].is_refused = True
        elif isinstance(packet, p.Connack):
            self.stays[-1].welcome_at = self.clock()
        elif isinstance(packet, p.Pingresp):
            self.stays[-1].alive_at, self._asked_at = self._asked_at, 0.0

    def ask(self) -> None:
        """PINGREQ now and then; one at a time."""
        now = self.clock()
        if not self._asked_at and now - self.stays[-1].alive_at >= PING_SECONDS:
            self._asked_at = now
            self.send(p.Pingreq())


def ask(peer: Peer) -> None:
    """What a ``Leaver`` says."""
    assert isinstance(peer, Leaver)
    peer.ask()


def judge_delays(stays: list[Stay], came: Mapping[str, float], is_over: bool = True) -> Iterator[Fault]:
    """The wills of one ``Leaver``; ``came`` is when each first came, by topic. ``is_over``: it has left for
    good, so its last will has to have come. How often each came is judged elsewhere.

    A CONNECT that had no answer may be read late, by a node that was stopped, and then it is the last one.
    """
    stays = [one for one in stays if not one.is_refused]
    for at, stay in enumerate(stays):
        due = stay.alive_at + stay.seconds
        then = came.get(stay.topic)
        if then is not None and then < due - SLACK:
            said = f"the will on {stay.topic} came {due - then:.1f} s before its time"
            yield Fault(EARLY, said, stay.topic, 0, stay.welcome_at)
        back = next((one.welcome_at for one in stays[at + 1 :] if one.welcome_at), 0.0)
        if then is not None and stay.welcome_at and back and back < due - SLACK:
            said = (
                f"the will on {stay.topic} came, and {stay.who} was back {due - back:.1f} s before its time"
            )
            yield Fault(UNWANTED, said, stay.topic, 0, stay.welcome_at)
    last = next((at for at in reversed(range(len(stays))) if stays[at].welcome_at), -1)
    if not is_over or last < 0 or last < len(stays) - 1:
        return
    may_be_last = [stays[last], *[one for one in stays if not one.welcome_at]]
    if not any(one.topic in came for one in may_be_last):
        yield Fault(WILL, f"the will on {stays[last].topic} was not published", stays[last].topic)


# -- messages that expire


class Arrival(NamedTuple):
    """A message came. ``left`` is the Message Expiry Interval that it came with, -1: none."""

    at: float
    is_again: bool
    left: int


class Brief(Peer):
    """A client whose messages expire, or who gets such, and notes when."""

    def __init__(
        self,
        name: str,
        filters: list[tuple[str, int]],
        dice: Random,
        topics: str = "",
        clock: Callable[[], float] = time.time,
        is_durable: bool = True,
    ) -> None:
        super().__init__(name, 5, filters, is_durable, clock)
        self.dice = dice
        self.topics = topics
        self.spans: dict[bytes, int] = {}
        self.sent_at: dict[bytes, float] = {}
        self.came: dict[bytes, list[Arrival]] = {}
        self._next_at = 0.0

    def write(self, payload: bytes, topic: str, qos: int, retain: bool = False) -> Sent:
        """A message is about to be sent, with a span of its own."""
        self.spans[payload] = self.dice.choice(SPANS)
        self.sent_at[payload] = self.clock()
        return super().write(payload, topic, qos, retain)

    def send(self, packet: p.Packet) -> None:
        """A message has its Message Expiry Interval each time it is sent."""
        if isinstance(packet, p.Publish):
            packet.properties = Properties()
            packet.properties.message_expiry_interval = self.spans[packet.payload]
        super().send(packet)

    def take(self, packet: p.Packet) -> None:
        """As a peer does; and note when."""
        if isinstance(packet, p.Publish):
            left = packet.properties.message_expiry_interval if packet.properties is not None else None
            arrival = Arrival(self.clock(), packet.dup, -1 if left is None else left)
            self.came.setdefault(packet.payload, []).append(arrival)
        super().take(packet)

    def speak(self) -> None:
        """Publish, not too often."""
        now = self.clock()
        if now < self._next_at or len(self.unfinished) >= min(20, self.window):
            return
        self._next_at = now + PAUSE_SECONDS
        if self.dice.random() < 0.1:
            self.publish(f"{self.topics}/kept/{self.dice.randrange(3)}", 1, True, self.dice.randrange(100))
        else:
            qos = self.dice.choice((1, 2))
            self.publish(f"{self.topics}/{qos}", qos, False, self.dice.randrange(100))


def held_for(arrival: Arrival, ends: float, outages: Sequence[tuple[float, float]]) -> float:
    """Seconds between its beginning and its coming, where an outage was between them; else 0."""
    begun = ends - arrival.left
    is_excused = arrival.left > 0 and any(since < arrival.at and until > begun for since, until in outages)
    return max(0.0, arrival.at - begun) if is_excused else 0.0


def judge_expiry(
    sender: Brief,
    receiver: Brief,
    lag: Lag,
    rest_at: float,
    outages: Sequence[tuple[float, float]] = (),
) -> Iterator[Fault]:
    """What was acknowledged came to ``receiver`` before it expired, or not at all.

    One that did not come is lost if a later one of its topic came while it was good yet, or if it is good at
    ``rest_at``, when all was there; 0: none is. A delivery that was begun in time may be sent again later,
    with DUP; and where nothing can be written, or the node is stopped (``outages``, from and until), it may
    leave later, with what was left when it was begun.
    """
    to_come: dict[str, float] = {}  # of each topic: when a later one came first
    for payload, sent in reversed(sender.sent.items()):
        span, arrivals = sender.spans[payload], receiver.came.get(payload, [])
        name = f"message {sent.number} on {sent.topic}, good for {span} s,"
        if sent.is_acknowledged:
            ends = sent.acknowledged_at + span
            for one in arrivals:
                is_good = one.at <= ends and one.at + one.left <= ends + 1
                if one.left >= 0 and (is_good or one.is_again or held_for(one, ends, outages)):
                    continue
                came_at = one.at - lag.near(one.at)
                if came_at > ends + SLACK:
                    said = f"{name} came to {receiver.name} {one.at - ends:.1f} s after it had expired"
                    yield Fault(LATE, said, sent.topic, sent.number, sent.acknowledged_at)
                if one.left < 0 or (one.left and came_at + one.left > ends + 1 + SLACK):
                    left = f"{one.left} s left" if one.left >= 0 else "no expiry"
                    said = f"{name} came to {receiver.name} with {left}, {one.at - ends:.1f} s after its end"
                    yield Fault(GROWN, said, sent.topic, sent.number, sent.acknowledged_at)
            good_until = sender.sent_at[payload] + span - SLACK
            has_to = rest_at and to_come.get(sent.topic, rest_at) < good_until
            if has_to and not sent.retain and not arrivals:
                yield Fault(
                    LOST,
                    f"{name} was acknowledged, was good yet, and never came to {receiver.name}",
                    sent.topic,
                    sent.number,
                    sent.acknowledged_at,
                )
        if arrivals and not sent.retain:
            to_come[sent.topic] = min(to_come.get(sent.topic, rest_at), arrivals[0].at)
