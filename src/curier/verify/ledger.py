"""What was promised, what came, and what of it does not go together: pure judging, without a network.

Each party keeps a ``Ledger`` of its own; nobody asks the broker what it did. ``judge_delivery``,
``judge_retained``, ``judge_visits`` and ``judge_wills`` compare what publishers were promised with what
receivers got, and name each fault.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, final

from curier.frozen import dataclass

LOST: Final = "lost"
DOUBLED: Final = "doubled"
OUT_OF_ORDER: Final = "out of order"
FOREIGN: Final = "never published"
RETAINED: Final = "retained value lost"
SESSION: Final = "session lost"
SUBSCRIPTION: Final = "subscription lost"
UNSUBSCRIPTION: Final = "subscription back"
WILL: Final = "will lost"


@dataclass(frozen=True, slots=True)
class Fault:
    """A promise that was not kept. ``kind``: one of the names above; ``text``: what happened, in words.

    ``topic`` and ``number`` name the message, where it is one; ``acknowledged_at`` is when its
    acknowledgement came, in seconds since 1970, 0 where none did.
    """

    kind: str
    text: str
    topic: str = ""
    number: int = 0
    acknowledged_at: float = 0.0


@final
class Sent:
    """One message in the ledger of its publisher. ``acknowledged_at`` is 0 until PUBACK or PUBREC came."""

    __slots__ = ("acknowledged_at", "is_acknowledged", "is_repeated", "number", "qos", "retain", "topic")

    def __init__(self, number: int, topic: str, qos: int, retain: bool) -> None:
        self.number = number
        self.topic = topic
        self.qos = qos
        self.retain = retain
        self.is_acknowledged = False
        self.acknowledged_at = 0.0
        self.is_repeated = False  # sent again, so that the broker may have it twice


class Ledger:
    """What one client wrote down. Messages are known by their payloads: no two have the same."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: dict[bytes, Sent] = {}  # in the order of sending
        self.promised = 0  # how many of them were acknowledged
        self.got: list[tuple[str, bytes]] = []  # topics and payloads, in the order in which they came
        self.faults: list[Fault] = []  # what the client noticed by itself: a session that was lost

    def write(self, payload: bytes, topic: str, qos: int, retain: bool = False) -> Sent:
        """A message is about to be sent."""
        sent = self.sent[payload] = Sent(len(self.sent) + 1, topic, qos, retain)
        return sent

    def promise(self, payload: bytes, at: float) -> None:
        """It was acknowledged, for the first time or again."""
        sent = self.sent[payload]
        if not sent.is_acknowledged:
            sent.is_acknowledged = True
            sent.acknowledged_at = at
            self.promised += 1


class Times:
    """Says when things were, in words; ``kills`` are the moments of the kills, in order."""

    def __init__(self, kills: Sequence[float] = ()) -> None:
        self.kills = kills

    def when(self, at: float) -> str:
        """``at 12:00:01.2``, with the kill that followed: ``at 12:00:01.2, before kill 4,``."""
        if not at:
            return "before"
        from time import localtime, strftime  # only where there is something to tell

        shown = f"at {strftime('%H:%M:%S', localtime(at))}.{int(at * 10) % 10}"
        kill = bisect_left(self.kills, at)
        return f"{shown}, before kill {kill + 1}," if kill < len(self.kills) else shown


def judge_delivery(
    sender: Ledger,
    who: str,
    got: Iterable[tuple[str, bytes]],
    qos: int,
    in_order: bool = True,
    times: Times | None = None,
) -> Iterator[Fault]:
    """Compare what ``sender`` was promised with what came to a subscription with this Maximum QoS.

    ``who`` had it, in words. Of messages with RETAIN see ``judge_retained``. ``in_order``: compare the order
    of each topic as well, by the first coming of each message.
    """
    times = times or Times()
    topics: dict[str, list[bytes]] = {}
    for payload, sent in sender.sent.items():
        if not sent.retain:
            topics.setdefault(sent.topic, []).append(payload)
    came: dict[str, list[bytes]] = {topic: [] for topic in topics}
    for topic, payload in got:
        if topic in came:
            came[topic].append(payload)
    for topic, payloads in topics.items():
        yield from _judge_topic(sender, who, topic, payloads, came[topic], qos, in_order, times)


def _judge_topic(
    sender: Ledger,
    who: str,
    topic: str,
    payloads: list[bytes],
    came: list[bytes],
    qos: int,
    in_order: bool,
    times: Times,
) -> Iterator[Fault]:
    counts = Counter(came)
    mine = set(payloads)
    for payload in counts:
        if payload not in mine:
            yield Fault(FOREIGN, f"{payload[:40]!r} came to {who} on {topic}, and nobody published it", topic)
    for payload in payloads:
        sent = sender.sent[payload]
        name = f"message {sent.number} on {topic}"
        if sent.is_acknowledged and payload not in counts:
            said = f"{name} was acknowledged {times.when(sent.acknowledged_at)} and never came to {who}"
            yield Fault(LOST, said, topic, sent.number, sent.acknowledged_at)
        if min(sent.qos, qos) == 2 and counts[payload] > 1:
            said = f"{name}, QoS 2, came to {who} {counts[payload]} times"
            yield Fault(DOUBLED, said, topic, sent.number, sent.acknowledged_at)
    if in_order:
        last, last_number = b"", 0
        for payload in counts:  # in the order of their first coming
            number = sender.sent[payload].number if payload in mine else 0
            if 0 < number < last_number:
                said = f"message {number} on {topic} came to {who} behind message {sender.sent[last].number}"
                yield Fault(OUT_OF_ORDER, said, topic, number, sender.sent[payload].acknowledged_at)
            elif number:
                last, last_number = payload, number


def judge_retained(sender: Ledger, found: Mapping[str, bytes], times: Times | None = None) -> Iterator[Fault]:
    """``found`` is what is retained, by topic: of each what was promised last, or something newer."""
    times = times or Times()
    promised: dict[str, Sent] = {}
    for sent in sender.sent.values():
        if sent.retain and sent.is_acknowledged:
            promised[sent.topic] = sent
    for topic, sent in promised.items():
        name = (
            f"the retained message {sent.number} on {topic}, acknowledged {times.when(sent.acknowledged_at)}"
        )
        payload = found.get(topic)
        there = sender.sent.get(payload) if payload is not None else None
        if payload is None:
            said = f"{name} is not there, nor is a newer one"
        elif there is None or there.topic != topic:
            said = f"{name} is not there, but {payload[:40]!r}, which nobody published"
        elif there.number < sent.number:
            said = f"{name} is not there, but the older message {there.number}"
        else:
            continue
        yield Fault(RETAINED, said, topic, sent.number, sent.acknowledged_at)


class Visit:
    """A client that came before a kill and made a session; what it was promised, and what was left of it.

    Times are those of the acknowledgements, 0 where none came. ``topic`` it subscribed to; ``left_topic`` it
    subscribed to and unsubscribed from. ``kept_session`` is CONNACK's Session Present when it came again.
    """

    def __init__(self, name: str, topic: str, left_topic: str, will_topic: str) -> None:
        self.name = name
        self.topic = topic
        self.left_topic = left_topic
        self.will_topic = will_topic
        self.welcome_at = 0.0
        self.subscribed_at = 0.0
        self.unsubscribed_at = 0.0
        self.kept_session = False
        self.got: set[str] = set()  # topics of messages that were published when it had come again


def judge_visits(visits: Iterable[Visit], times: Times | None = None) -> Iterator[Fault]:
    """Sessions, subscriptions and their ends, each as it was acknowledged."""
    times = times or Times()
    for visit in visits:
        if not visit.welcome_at:
            continue
        if not visit.kept_session:
            said = f"the session of {visit.name} was acknowledged {times.when(visit.welcome_at)}"
            yield Fault(SESSION, f"{said} and is not there", acknowledged_at=visit.welcome_at)
            continue
        if visit.subscribed_at and visit.topic not in visit.got:
            said = f"the subscription to {visit.topic} was acknowledged {times.when(visit.subscribed_at)}"
            yield Fault(SUBSCRIPTION, f"{said} and brings nothing", visit.topic, 0, visit.subscribed_at)
        if visit.unsubscribed_at and visit.left_topic in visit.got:
            said = f"the end of the subscription to {visit.left_topic} was acknowledged"
            said += f" {times.when(visit.unsubscribed_at)} and the subscription is there again"
            yield Fault(UNSUBSCRIPTION, said, visit.left_topic, 0, visit.unsubscribed_at)


def judge_wills(
    visits: Iterable[Visit], got: Iterable[tuple[str, bytes]], times: Times | None = None
) -> Iterator[Fault]:
    """The Will Message of each visitor that the kill cut off, and that said no goodbye, was published."""
    times = times or Times()
    came = {topic for topic, _ in got}
    for visit in visits:
        if visit.welcome_at and visit.will_topic not in came:
            said = f"the will of {visit.name}, connected {times.when(visit.welcome_at)} was not published"
            yield Fault(WILL, said, visit.will_topic, 0, visit.welcome_at)
