"""A recording played again: the clients' side is sent, what the broker answers is compared with what it was.

Pure: ``Replayer`` says what is to be done next, and is told what comes; who drives it has the network. Steps
are taken in the order of the recording: a packet is sent when everything has come that had come before it, so
that what waited for an acknowledgement waits for it again. Packet Identifiers of the broker's messages, and
the order of what it sends to different topics, may be others than they were.

What a broker kept before the recording began is not in it: retained messages and sessions that only one of
the two brokers had are told apart from differences.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final

from curier.codec import constants as c
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.properties import BY_IDENTIFIER, Properties
from curier.errors import ProtocolError
from curier.frozen import dataclass
from curier.topics.filters import matches
from curier.trace.events import Closed, Event, Packet, Wire
from curier.trace.fields import NAMES
from curier.trace.framing import PACKET, Framer
from curier.trace.summaries import short, summary
from curier.types import reason_name

OPEN: Final = "open"
SEND: Final = "send"
EXPECT: Final = "expect"
END: Final = "end"  # we close
EXPECT_END: Final = "expect end"

MOST_WAITING: Final = 10_000
"""Packets of one connection that nobody waits for."""

_HEAD_BYTES: Final = 256  # of a payload, by which it is known again
_ALIAS: Final = "alias "  # in the place of a topic that nobody knows

_ANSWERS_TO_MESSAGES: Final = (c.PUBACK, c.PUBREC, c.PUBCOMP)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, or to wait for; ``packet`` as it was, ``topic`` with its Topic Alias resolved."""

    kind: str
    time: float  # in the recording
    wire: Wire
    packet: Packet | None = None
    topic: str = ""

    def __str__(self) -> str:
        who = self.wire.client_id or f"connection {self.wire.number}"
        return f"{short(who)}: {summary(self.packet) if self.packet is not None else self.kind}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the broker did otherwise than in the recording."""

    time: float  # in the recording; 0 for what was not in it
    wire: Wire
    why: str  # in words

    def __str__(self) -> str:
        return f"{short(self.wire.client_id or f'connection {self.wire.number}')}: {self.why}"


class Plan:
    """The steps of a recording; ``notes`` say what of it cannot be played.

    ``clients`` are the Client Identifiers of those who play, ``topics`` Topic Filters of what is published;
    without any it is all.
    """

    def __init__(
        self, events: Iterable[Event], clients: Collection[str] = (), topics: Collection[str] = ()
    ) -> None:
        self._clients = frozenset(clients)
        self._topics = [topic.encode() for topic in topics]
        self._other: set[tuple[int, bool, int]] = set()  # wire, direction and identifier of messages left out
        self.steps: list[Step] = []
        self.notes: list[str] = []
        # of payloads, by topic ("": unknown), the size (-1: unknown) and the beginning
        self._published: dict[str, set[tuple[int, bytes]]] = {}
        self._known: dict[int, _Aliases] = {}
        self._playing: dict[int, dict[bool, _Aliases]] = {}
        self._wires: dict[int, Wire] = {}
        self._passed: Counter[str] = Counter()
        self._left_out: set[int] = set()
        for event in events:
            if isinstance(event, Packet):
                self._publication(event)
                self._packet(event)
            elif isinstance(event, Closed) and event.wire.number in self._playing:
                kind = EXPECT_END if event.by == "server" else END
                self.steps.append(Step(kind, event.time, self._wires[event.wire.number]))
        if self._left_out:
            self._passed["connections that begin before the recording are not played"] = len(self._left_out)
        self.notes += [f"{why}: {count}" for why, count in sorted(self._passed.items())]

    def _packet(self, event: Packet) -> None:
        number = event.wire.number
        is_connect = event.to_server and event.data[:1] == b"\x10"
        if number not in self._playing:
            if not is_connect or number in self._left_out:
                self._left_out.add(number)
                return
            wire = _named(event)
            if self._clients and wire.client_id not in self._clients:
                return
            self._playing[number] = {True: _Aliases(), False: _Aliases()}
            self._wires[number] = wire
            self.steps.append(Step(OPEN, event.time, self._wires[number]))
        wire = self._wires[number]
        decoded = _decoded(event.data + b" " * event.cut, wire.version)
        topic = self._playing[number][event.to_server].topic(decoded)
        if self._topics and self._is_other(number, event.to_server, decoded, topic):
            return
        if event.cut and event.data[0] >> 4 != c.PUBLISH:
            self._passed["packets that were cut in the recording are left out"] += 1
            return
        if event.to_server:
            if event.lost:
                self._passed["packets that never arrived then are not sent"] += 1
                return
            if event.cut:
                self._passed["payloads that were cut in the recording end in spaces now"] += 1
            self.steps.append(Step(SEND, event.time, wire, event))
        else:
            self.steps.append(Step(EXPECT, event.time, wire, event, topic))

    def _publication(self, event: Packet) -> None:
        """Note what a client published, or will, whether it is played or not."""
        if not event.to_server or event.data[0] >> 4 not in (c.CONNECT, c.PUBLISH):
            return
        number = event.wire.number
        version = self._wires.get(number, event.wire).version
        packet = _decoded(event.data + b" " * event.cut, version)
        if isinstance(packet, p.Connect):
            self._known.pop(number, None)
            if packet.will is not None:
                self._note(packet.will.topic, packet.will.payload, event.cut)
        elif isinstance(packet, p.Publish):
            topic = self._known.setdefault(number, _Aliases()).topic(packet)
            is_known = packet.topic or not topic.startswith(_ALIAS)
            self._note(topic if is_known else "", packet.payload, event.cut if version else -1)

    def _note(self, topic: str, payload: bytes, cut: int) -> None:
        known = payload[: max(len(payload) - cut, 0)][:_HEAD_BYTES]
        self._published.setdefault(topic, set()).add((len(payload), known) if cut >= 0 else (-1, b""))

    def may_have_published(self, topic: str, payload: bytes, cut: int = 0) -> bool:
        """Is a message published in the recording that is the same, as far as is known? The last ``cut``
        bytes of ``payload`` are unknown.
        """
        payload_known = payload[: max(len(payload) - cut, 0)]
        for size, head in (*self._published.get(topic, ()), *self._published.get("", ())):
            end = min(len(head), len(payload_known))
            if size == -1 or (size == len(payload) and head[:end] == payload_known[:end]):
                return True
        return False

    def _is_other(self, number: int, to_server: bool, packet: p.Packet | None, topic: str) -> bool:
        """Does it belong to a message on another topic?"""
        packet_id = getattr(packet, "packet_id", 0)
        if isinstance(packet, p.Publish):
            sets_alias = packet.topic and packet.properties is not None and packet.properties.topic_alias
            if (to_server and sets_alias) or any(matches(one, topic.encode()) for one in self._topics):
                self._other.discard((number, to_server, packet_id))
                return False
            if packet_id:
                self._other.add((number, to_server, packet_id))
            return True
        if isinstance(packet, p.Puback | p.Pubrec | p.Pubcomp):
            return (number, not to_server, packet_id) in self._other
        return isinstance(packet, p.Pubrel) and (number, to_server, packet_id) in self._other


class _Aliases:
    """The Topic Aliases of one direction of a connection."""

    def __init__(self) -> None:
        self._topics: dict[int, str] = {}

    def topic(self, packet: p.Packet | None) -> str:
        """The Topic Name of a PUBLISH, "" for other packets."""
        if not isinstance(packet, p.Publish):
            return ""
        alias = packet.properties.topic_alias if packet.properties is not None else None
        if alias is None:
            return packet.topic
        if packet.topic:
            self._topics[alias] = packet.topic
        return self._topics.get(alias, f"{_ALIAS}{alias}")


class _Connection:
    """One connection as it is now: what came, and which Packet Identifiers stand for those of then."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.framer = Framer(from_client=False)
        self.inbox: list[tuple[bytes, p.Packet | None, str]] = []
        self.aliases = _Aliases()
        self.ids: dict[int, int] = {}  # of messages from the broker: then, and now
        self.filters: set[str] = set()  # it has subscribed to
        self.before: set[int] = set()  # identifiers of messages from before the recording that do not come
        self.is_first = False  # of its client in the recording, who may have a session already
        self.is_closed = False
        self.is_given_up = False  # it was said that it is closed
        self.left_out = 0  # packets, since there were too many


class Replayer:
    """Takes the steps of a plan in their order. ``differences`` is what was otherwise, ``before`` what only
    was so since one broker knew more than the other before the recording began: retained messages that answer
    a SUBSCRIBE and that nobody publishes in the recording, and Session Present where a client first comes.

    ``prefix`` is put in front of every Client Identifier. ``username`` and ``password`` stand in the place of
    those of the recording, which has no passwords.
    """

    def __init__(
        self, plan: Plan, prefix: str = "", username: str | None = None, password: bytes | None = None
    ) -> None:
        self.plan = plan
        self.differences: list[Difference] = []
        self.before: list[Difference] = []
        self.notes = list(plan.notes)
        self._prefix = prefix
        self._username = username
        self._password = password
        self._connections: dict[int, _Connection] = {}
        self._have_come: set[str] = set()  # Client Identifiers

    def opened(self, step: Step) -> None:
        """The connection of an OPEN is there."""
        self._connections[step.wire.number] = _Connection(step.wire.version)

    def outgoing(self, step: Step) -> bytes:
        """What a SEND sends; nothing where what it answers never came, or where nobody is there any more."""
        packet = step.packet
        assert packet is not None
        connection = self._connections[step.wire.number]
        if connection.is_closed:
            self._give_up(step, connection)
            return b""
        data = packet.data + b" " * packet.cut
        decoded = _decoded(data, step.wire.version)
        if isinstance(decoded, p.Connect):
            connection.version = decoded.version
            connection.is_first = not decoded.clean_start and decoded.client_id not in self._have_come
            self._have_come.add(decoded.client_id)
            return self._connect(decoded)
        if isinstance(decoded, p.Subscribe):
            connection.filters.update(topic_filter for topic_filter, _ in decoded.subscriptions)
        if decoded is None or packet.data[0] >> 4 not in _ANSWERS_TO_MESSAGES:
            return data
        answer: Any = decoded
        packet_id = connection.ids.get(answer.packet_id)
        if packet_id is None:
            self.notes.append(f"{step}: left out, since the message it answers did not come")
            return b""
        answer.packet_id = packet_id
        return encode(answer, connection.version)

    def feed(self, number: int, data: bytes) -> None:
        """Bytes came on the connection of this number."""
        connection = self._connections[number]
        for piece in connection.framer.feed(data):
            if piece.kind == PACKET and len(connection.inbox) >= MOST_WAITING:
                connection.left_out += 1
            elif piece.kind == PACKET:
                decoded = _decoded(piece.data, connection.version)
                connection.inbox.append((piece.data, decoded, connection.aliases.topic(decoded)))

    def closed(self, number: int) -> None:
        """The connection of this number has ended."""
        if number in self._connections:
            self._connections[number].is_closed = True

    def is_over(self, step: Step) -> bool:
        """Has the connection of a step ended?"""
        return self._connections[step.wire.number].is_closed

    def take(self, step: Step) -> bool:
        """Has come what an EXPECT or EXPECT_END waits for? Then compare it."""
        connection = self._connections[step.wire.number]
        if step.kind == EXPECT_END:
            return connection.is_closed
        assert step.packet is not None
        then = _decoded(step.packet.data + b" " * step.packet.cut, step.wire.version)
        for at, (data, now, topic) in enumerate(connection.inbox):
            if _is_same(step, then, data, now, topic, connection.ids):
                del connection.inbox[at]
                self._compare(step, then, now, connection)
                return True
        return False

    def missed(self, step: Step, why: str) -> None:
        """What an EXPECT or EXPECT_END waits for does not come."""
        if step.kind == EXPECT_END:
            self._differ(step, f"the broker closed the connection then, and does not now: {why}")
            return
        assert step.packet is not None
        connection = self._connections[step.wire.number]
        if connection.is_closed:
            self._give_up(step, connection)
            return
        words = f"{summary(step.packet)} came then, and does not now"
        then = _decoded(step.packet.data + b" " * step.packet.cut, step.wire.version)
        if self._is_from_before(connection, then, step.topic, step.packet.cut):
            if isinstance(then, p.Publish) and then.qos:
                connection.before.add(then.packet_id)
            self.before.append(Difference(step.time, step.wire, words))
        elif isinstance(then, p.Pubrel) and then.packet_id in connection.before:
            self.before.append(Difference(step.time, step.wire, words))
        else:
            self._differ(step, f"{words}: {why}")

    def finish(self) -> None:
        """All steps are taken: what came besides is a difference. What comes later might have come then, too,
        after the recording had ended.
        """
        wires = {step.wire.number: step.wire for step in self.plan.steps}
        for number, connection in self._connections.items():
            for data, now, topic in connection.inbox:
                words = summary(Packet(0.0, Wire(number, "", connection.version), False, data))
                one = Difference(0.0, wires[number], f"{words} came now, and did not then")
                is_before = self._is_from_before(connection, now, topic)
                (self.before if is_before else self.differences).append(one)
            if connection.left_out:
                words = f"{connection.left_out} more packets came now, and did not then"
                self.differences.append(Difference(0.0, wires[number], words))
            connection.inbox.clear()

    def _is_from_before(
        self, connection: _Connection, packet: p.Packet | None, topic: str, cut: int = 0
    ) -> bool:
        """Is it a retained message, sent for a subscription, that nobody publishes in the recording?"""
        if not isinstance(packet, p.Publish) or not packet.retain or packet.dup:  # [MQTT-3.3.1-8]
            return False
        name = topic.encode()
        is_asked_for = any(matches(one.encode(), name) for one in connection.filters)
        return is_asked_for and not self.plan.may_have_published(topic, packet.payload, cut)

    def _give_up(self, step: Step, connection: _Connection) -> None:
        if not connection.is_given_up:
            connection.is_given_up = True
            self._differ(step, f"the broker has closed the connection, which had {summary_of(step)} to come")

    def _connect(self, connect: p.Connect) -> bytes:
        if self._prefix and connect.client_id:
            connect.client_id = self._prefix + connect.client_id
        if self._username is not None:
            connect.username, connect.password = self._username, self._password
        elif connect.password is not None:
            if self._password is not None:
                connect.password = self._password
            elif not any(connect.password):
                self.notes.append(f"{short(connect.client_id)}: its password is not in the recording")
        return encode(connect, connect.version)

    def _compare(
        self, step: Step, then: p.Packet | None, now: p.Packet | None, connection: _Connection
    ) -> None:
        if then is None or now is None:
            return  # both are broken, and the same bytes
        if isinstance(then, p.Publish) and isinstance(now, p.Publish) and then.qos and now.qos:
            connection.ids[then.packet_id] = now.packet_id
        if isinstance(then, p.Publish) and then.qos:
            connection.before.discard(then.packet_id)
        for name, before, after in _differences(then, now):
            words = f"{NAMES[then.packet_type]}: {name} {before} then, {after} now"
            if name == "session present" and connection.is_first:
                self.before.append(Difference(step.time, step.wire, words))
            else:
                self._differ(step, words)

    def _differ(self, step: Step, why: str) -> None:
        self.differences.append(Difference(step.time, step.wire, why))


def _named(event: Packet) -> Wire:
    """The wire, with what its CONNECT says."""
    packet = _decoded(event.data, event.wire.version)
    if not isinstance(packet, p.Connect):
        return event.wire
    return dataclasses.replace(event.wire, client_id=packet.client_id, version=packet.version)


def summary_of(step: Step) -> str:
    """The packet of a step in one line."""
    return summary(step.packet) if step.packet is not None else step.kind


def _decoded(data: bytes, version: int) -> p.Packet | None:
    try:
        return decode(data, 0, len(data), version or c.MQTT_311)
    except ProtocolError:
        return None


def _is_same(
    step: Step, then: p.Packet | None, data: bytes, now: p.Packet | None, topic: str, ids: dict[int, int]
) -> bool:
    """Is this what came then? By topic and payload, by Packet Identifier, or by type."""
    assert step.packet is not None
    if then is None or now is None:
        return step.packet.data == data
    if then.packet_type != now.packet_type:
        return False
    if isinstance(then, p.Publish) and isinstance(now, p.Publish):
        if topic != step.topic or len(then.payload) != len(now.payload):
            return False
        known = max(0, len(then.payload) - step.packet.cut)
        return now.payload[:known] == then.payload[:known]
    before, after = getattr(then, "packet_id", 0), getattr(now, "packet_id", 0)
    if then.packet_type == c.PUBREL:  # of a message from the broker
        before = ids.get(before, before)
    return bool(before == after)


_BY_CHANCE: Final = ("topic_alias", "message_expiry_interval", "assigned_client_identifier", "reason_string")
"""Properties that may be others each time."""


def _differences(then: p.Packet, now: p.Packet) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for name in ("reason_code", "reason_codes", "session_present", "qos", "retain"):
        before, after = getattr(then, name, None), getattr(now, name, None)
        if before != after:
            found.append((name.replace("_", " "), _words(name, before), _words(name, after)))
    before_all = getattr(then, "properties", None) or Properties()
    after_all = getattr(now, "properties", None) or Properties()
    for row in _PROPERTY_NAMES:
        before, after = getattr(before_all, row), getattr(after_all, row)
        if before != after:
            found.append((row.replace("_", " "), _words(row, before), _words(row, after)))
    return found


_PROPERTY_NAMES: Final = tuple(
    row.attribute for row in BY_IDENTIFIER.values() if row.attribute not in _BY_CHANCE
)


def _words(name: str, value: Any) -> str:
    if name == "reason_code":
        return reason_name(value)
    if name == "reason_codes":
        return ", ".join(map(reason_name, value)) or "none"
    return "absent" if value is None or value == [] else short(str(value))
