"""What went by before anybody looked on, as events: made of a broker's tape when somebody asks.

The tape has bytes. Which delivery belongs to which publication is found by topic and payload: the oldest one
of this content that the client has not had, and that is not older than its last SUBSCRIBE. So of equal
messages in a row, of which not all are known any more, one may be taken for another.

Where more went by than is kept there are gaps. What a client had on its way when one of its own began, or was
to be given until that ended, is never said to wait, to have been lost, or to go on with what came later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from curier.codec.constants import (
    CONNECT,
    DISCONNECT,
    MQTT_50,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREL,
    SUBSCRIBE,
)
from curier.codec.decode import decode
from curier.codec.packets import Publish
from curier.codec.publish import head_end
from curier.errors import MqttError
from curier.net.tape import Gone
from curier.trace.choice import Choice
from curier.trace.events import (
    DENIED,
    DROPPED,
    KEPT,
    KEPT_AGAIN,
    PUBLISHED,
    REFUSED,
    UNKEPT,
    Closed,
    Event,
    Happening,
    Packet,
    Wire,
)
from curier.trace.mishaps import HEAD_BYTES, Mishap
from curier.trace.reading import shortened
from curier.trace.recorder import body, wire_of
from curier.trace.rewinding import Cut, Owner, Rewinding, Unkept
from curier.trace.secrets import without_secrets

AT_ONCE: Final = 100  # packets, before others have their turn
MOST_PACKETS: Final = 50_000  # that are told of; a tape may have a million of the smallest

UP_TO_HERE: Final = "up to here; what follows happens from now on"

Content = tuple[bytes, int, bytes]
"""Topic Name, size of the payload, its first bytes."""


class Message:
    """One publication, by whom it was published where that was seen."""

    __slots__ = ("is_refused", "number", "order", "time", "topic", "wire")

    def __init__(self, number: int, topic: bytes, order: int, time: float, wire: Wire | None) -> None:
        self.number = number
        self.topic = topic
        self.order = order  # when it came, among all packets
        self.time = time
        self.wire = wire
        self.is_refused = False


class Parsed:
    """A packet with what is known of it; ``topic`` is whole: no alias, and with what a mount puts before."""

    __slots__ = ("alias", "cut", "kind", "packet_id", "payload_at", "topic")

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self.kind = cut.data[0] >> 4 if cut.data else 0
        self.packet_id = 0
        self.topic = b""
        self.alias = 0
        self.payload_at = 0
        try:
            if self.kind == PUBLISH:
                self._publish(cut.data, cut.owner.version)
            elif PUBACK <= self.kind <= PUBCOMP:
                at = body(cut.data)
                self.packet_id = (cut.data[at] << 8) | cut.data[at + 1]
        except (IndexError, MqttError, ValueError):
            self.kind = -1  # cut, or wrong

    def _publish(self, data: bytes, version: int) -> None:
        at = body(data)
        end = at + 2 + ((data[at] << 8) | data[at + 1])
        topic = data[at + 2 : end]
        if data[0] & 6:
            self.packet_id = (data[end] << 8) | data[end + 1]
            end += 2
        self.payload_at = head_end(data, 0, len(data), version)
        if version == MQTT_50 and self.payload_at > end + 1:
            packet = decode(data, 0, len(data), version)
            if isinstance(packet, Publish) and packet.properties is not None:
                self.alias = packet.properties.topic_alias or 0
        mount = self.cut.owner.mount
        self.topic = mount.name(topic) if mount is not None and topic else topic


class Past:
    """``number`` gives each publication one that no other has; ``mishaps`` did not arrive, in their order."""

    def __init__(
        self, rewinding: Rewinding, mishaps: Iterable[Mishap], number: Callable[[], int], now: float
    ) -> None:
        self._rewinding = rewinding
        self._mishaps = deque(mishaps)
        self._number = number
        self._now = now
        self._wires: dict[int, Wire] = {}
        self._by_content: dict[Content, list[Message]] = {}
        self._next: dict[tuple[str, Content], int] = {}  # of these, the one that a client has next
        self._by_topic: dict[tuple[str, bytes], list[Message]] = {}  # with QoS 0, by publisher
        self._incoming: dict[tuple[str, int], Message] = {}
        self._open: dict[tuple[str, int], Message] = {}  # QoS 2, between PUBLISH and PUBREL
        self._outgoing: dict[tuple[str, int], Message] = {}
        self._lost: set[tuple[str, int]] = set()  # for a client, the publication of this number
        self._subscribed: dict[str, int] = {}
        self._over: set[int] = set()  # connections of which the broker has read no more
        self._unkept: dict[str, float] = {}  # until when a client has, or had last, a gap
        self._all_unkept = 0.0  # until when everybody has
        self._gaps: dict[int, Unkept] = {}  # by connection, 0: of everybody: those that go on
        self._order = 0

    def events(self, choice: Choice) -> Iterator[list[Event]]:
        """What is chosen, oldest first, in lists (that may be empty) which each take few milliseconds."""
        parsed: deque[Parsed | Unkept] = deque()
        is_whole = self._rewinding.is_whole
        for work, cut in enumerate(self._rewinding.cut()):
            if cut is not None:
                if len(parsed) == MOST_PACKETS:
                    is_whole = False
                    self._shadow(parsed.popleft())
                parsed.append(Parsed(cut) if isinstance(cut, Cut) else cut)
            if work % AT_ONCE == 0:
                yield []
        for work, _ in enumerate(_name_aliases(parsed)):
            if work % (AT_ONCE * 10) == 0:
                yield []
        since = _time(parsed[0]) if parsed and not is_whole else self._rewinding.since
        yield [Happening(since, KEPT, "", self._words(is_whole))]
        made: list[Event] = []
        for work, event in enumerate(self._in_order(parsed, choice)):
            if event is not None:
                made.append(event)
            if work % AT_ONCE == 0:
                yield made
                made = []
        self._go_on()
        yield [*made, Happening(self._now, KEPT, "", UP_TO_HERE)]

    def _in_order(self, parsed: Iterable[Parsed | Unkept], choice: Choice) -> Iterator[Event | None]:
        """Packets, gaps and mishaps, each with None beside it where nobody may want it."""
        for one in parsed:
            time = _time(one)
            yield from self._until(time, choice)
            yield from self._kept_again(time, choice)
            yield None
            if isinstance(one, Unkept):
                yield from self._gap(one, choice)
            else:
                yield from self._packet(one, choice)
        yield from self._until(self._now, choice)
        yield from self._kept_again(float("inf"), choice)

    def _words(self, is_whole: bool) -> str:
        words = "what went by since the broker was started"
        if not is_whole:
            words = "what went by from here on; nothing older is known"
        unread, unkept = self._rewinding.unread, self._rewinding.unkept
        lacks = [f"{unkept} reads and writes that were more than is kept"] if unkept else []
        lacks += [f"{unread} bytes"] if unread else []
        return f"{words}, without {' and '.join(lacks)}" if lacks else words

    # ---- gaps ----

    def _shadow(self, one: Parsed | Unkept) -> Unkept | None:
        """What is told no more was a gap: what it hides is not known. Returns it."""
        if not isinstance(one, Unkept):
            return None
        if one.owner is None:
            self._all_unkept = max(self._all_unkept, one.until)
        else:
            client = self._client(one.owner)
            self._unkept[client] = max(self._unkept.get(client, 0.0), one.until)
        return one

    def _gap(self, gap: Unkept, choice: Choice) -> Iterator[Event]:
        self._shadow(gap)
        number = gap.owner.number if gap.owner is not None else 0
        before = self._gaps.get(number)
        if before is not None and before.until > gap.until:
            gap = Unkept(gap.time, before.until, gap.owner)
        self._gaps[number] = gap
        if self._tells(gap, choice):
            yield self._told(gap, gap.time, UNKEPT)

    def _kept_again(self, time: float, choice: Choice) -> Iterator[Event]:
        """Gaps that have ended by then."""
        if self._gaps:
            for number, gap in [*self._gaps.items()]:
                if gap.until <= time:
                    del self._gaps[number]
                    if self._tells(gap, choice):
                        yield self._told(gap, min(gap.until, self._now), KEPT_AGAIN)

    def _tells(self, gap: Unkept, choice: Choice) -> bool:
        """Of a topic, anybody might have been sent it."""
        return gap.owner is None or bool(choice.topics) or choice.fits(self._wire(gap.owner))

    def _told(self, gap: Unkept, time: float, kind: str) -> Happening:
        wire = self._wire(gap.owner) if gap.owner is not None else None
        client = self._client(gap.owner) if gap.owner is not None else ""
        if kind == UNKEPT:
            from curier.trace.flows import NOT_KEPT  # it is not needed before

            return Happening(time, kind, client, NOT_KEPT, wire=wire)
        return Happening(time, kind, client, "", wire=wire)

    def _client(self, owner: Owner) -> str:
        return self._wire(owner).client_id or f"connection {owner.number}"

    def _known_since(self, client: str) -> float:
        """Of what is older, a client may have had anything in a gap."""
        return max(self._unkept.get(client, 0.0), self._all_unkept)

    def _still(self, client: str, message: Message | None) -> Message | None:
        """A message that is known by its Packet Identifier, if no gap of its client is behind it."""
        return message if message is not None and message.time >= self._known_since(client) else None

    def _go_on(self) -> None:
        """What is told of unfinished deliveries from now on has the numbers that were given here."""
        owners = [owner for owner in self._rewinding.owners.values() if owner.connection is not None]
        connections = {owner.connection.client_id: owner.connection for owner in owners if owner.connection}
        for (client, packet_id), message in self._outgoing.items():
            connection = connections.get(client)
            session = connection.session if connection is not None else None
            entry = session.outgoing.inflight.get(packet_id) if session is not None else None
            if entry is not None and not entry.message.publication and entry.message.topic == message.topic:
                if self._still(client, message) is not None:
                    entry.message.publication = message.number

    # ---- packets ----

    def _packet(self, one: Parsed, choice: Choice) -> Iterator[Event]:
        self._order += 1
        cut = one.cut
        wire = self._wire(cut.owner)
        if cut.to_server and cut.data:
            if cut.owner.number in self._over:
                return
            if _ends(one):
                self._over.add(cut.owner.number)
        if not cut.data:
            if not choice.topics and choice.fits(wire):
                yield Closed(cut.time, wire, "client" if cut.owner.has_left else "", "")
            return
        client = self._client(cut.owner)
        message: Message | None
        if one.kind == PUBLISH:
            message = self._came(one, wire, client) if cut.to_server else self._went(one, client)
        else:
            message = self._acknowledged(one, client)
        if one.kind == SUBSCRIBE and cut.to_server:
            self._subscribed[client] = self._order
        if not choice.fits(wire) or (choice.topics and not (message and choice.has_topic(message.topic))):
            return
        number = message.number if message is not None else 0
        data = without_secrets(cut.data, wire.version)
        packet = Packet(cut.time, wire, cut.to_server, data, number, cut.missing)
        yield packet if choice.payload is None else shortened(packet, choice.payload)
        if message is not None and one.kind == PUBLISH and cut.to_server and one.alias:
            topic = message.topic.decode(errors="replace")
            yield Happening(cut.time, PUBLISHED, client, "", number, topic, wire)

    def _came(self, one: Parsed, wire: Wire, client: str) -> Message:
        qos = one.cut.data[0] >> 1 & 3
        key = (client, one.packet_id)
        again = self._still(client, self._open.get(key)) if qos == 2 else None
        if again is not None:
            return again  # it is not taken a second time [MQTT-4.3.3-10]
        message = Message(self._number(), one.topic, self._order, one.cut.time, wire)
        self._by_content.setdefault(_content(one), []).append(message)
        if not qos:
            self._by_topic.setdefault((client, one.topic), []).append(message)
            return message
        self._incoming[key] = message
        if qos == 2:
            self._open[key] = message
        return message

    def _went(self, one: Parsed, client: str) -> Message:
        qos = one.cut.data[0] >> 1 & 3
        key = (client, one.packet_id)
        message = self._still(client, self._outgoing.get(key)) if qos and one.cut.data[0] & 8 else None
        if message is None:
            message = self._for(client, _content(one))
        if message is None:
            message = Message(self._number(), one.topic, self._order, one.cut.time, None)
        if qos:
            self._outgoing[key] = message
        return message

    def _for(self, client: str, content: Content) -> Message | None:
        """The publication of this content that a client is given, or will not be given, next."""
        messages = self._by_content.get(content, ())
        since, known_since = self._subscribed.get(client, 0), self._known_since(client)
        at = self._next.get((client, content), 0)
        while at < len(messages) and (
            messages[at].order < since
            or messages[at].time < known_since
            or (client, messages[at].number) in self._lost
        ):
            at += 1
        self._next[client, content] = at + 1
        return messages[at] if at < len(messages) else None

    def _dropped(self, client: str, content: Content, time: float) -> Message | None:
        """The publication of this content that a client will not get: of those that came last before ``time``
        the first; or, where it has had them, whichever is next.
        """
        messages = self._by_content.get(content, [])
        known_since = self._known_since(client)
        found = None
        for at in range(len(messages) - 1, self._next.get((client, content), 0) - 1, -1):
            message = messages[at]
            if (client, message.number) in self._lost or (found and message.time != found.time):
                break
            if message.time < known_since:
                break
            if message.time <= time:
                found = message
        if found is None:
            return self._for(client, content)
        self._lost.add((client, found.number))
        return found

    def _acknowledged(self, one: Parsed, client: str) -> Message | None:
        if not PUBACK <= one.kind <= PUBCOMP:
            return None
        key = (client, one.packet_id)
        if one.cut.to_server != (one.kind == PUBREL):  # of what this client was sent
            return self._still(client, self._outgoing.get(key))
        if one.kind == PUBREL:
            self._open.pop(key, None)
        return self._still(client, self._incoming.get(key))

    def _wire(self, owner: Owner) -> Wire:
        wire = self._wires.get(owner.number)
        if wire is None:
            wire = self._wires[owner.number] = wire_of(owner.of) if owner.of else Wire(owner.number, "", 0)
        return wire

    # ---- what did not arrive ----

    def _until(self, time: float, choice: Choice) -> Iterator[Event | None]:
        """What went wrong up to then, with the number of the publication that it was about; None for what
        nobody wants.
        """
        while self._mishaps and self._mishaps[0].event.time <= time:
            mishap = self._mishaps.popleft()
            event = mishap.event
            if event.kind in (DENIED, REFUSED):
                message = self._refused(mishap)
            else:
                content = (mishap.topic, mishap.size, mishap.head)
                if event.time < self._known_since(event.client_id):
                    message = None  # an older one of this content may have been given to it meanwhile
                elif event.kind == DROPPED:
                    message = self._dropped(event.client_id, content, event.time)
                else:
                    message = self._for(event.client_id, content)
                if message is None:
                    number = event.publication or self._number()
                    message = Message(number, mishap.topic, self._order, event.time, None)
            if message is not None:
                event = replace(event, publication=message.number)
            yield event if _wants(choice, event, mishap.topic, message) else None

    def _refused(self, mishap: Mishap) -> Message | None:
        """The publication that was not taken: the first of those with QoS 0 that came at once."""
        client = mishap.event.client_id
        known_since = self._known_since(client)
        if mishap.event.time < known_since:
            return None
        if mishap.packet_id:
            message = self._still(client, self._incoming.get((client, mishap.packet_id)))
            return message if message is not None and message.topic == mishap.topic else None
        found = None
        for message in reversed(self._by_topic.get((client, mishap.topic), ())):
            if message.is_refused or (found is not None and message.time != found.time):
                break
            if message.time < known_since:
                break
            found = message
        if found is not None:
            found.is_refused = True
        return found


def _ends(one: Parsed) -> bool:
    """Does the broker read nothing behind it? So it is with DISCONNECT, with a second CONNECT [MQTT-3.1.0-2]
    and with what is broken by itself, which counts as nothing from here on.
    """
    owner = one.cut.owner
    if not isinstance(owner.of, Gone) or one.cut.missing:
        return False
    from curier.trace.dissection import fault  # which is much, and for whoever looks back alone

    if one.kind not in (CONNECT, DISCONNECT) and fault(one.cut.data, owner.version, True) is None:
        return False
    if one.kind == PUBLISH:
        one.kind = -1
    return True


def _content(one: Parsed) -> Content:
    data = one.cut.data
    size = len(data) + one.cut.missing - one.payload_at
    return one.topic, size, data[one.payload_at : one.payload_at + HEAD_BYTES]


def _wants(choice: Choice, event: Happening, topic: bytes, message: Message | None) -> bool:
    """Is it to be told of what did not arrive? As ``recorder.Reading.wants``."""
    if choice.topics and not (topic and choice.has_topic(topic)):
        return False
    if not choice.is_of_some or (message is not None and message.wire and choice.fits(message.wire)):
        return True
    if event.wire is not None:
        return choice.fits(event.wire)
    return event.client_id in choice.client_ids and choice.fits(Wire(0, event.client_id, 0))


def _time(one: Parsed | Unkept) -> float:
    return one.time if isinstance(one, Unkept) else one.cut.time


def _name_aliases(parsed: Iterable[Parsed | Unkept]) -> Iterator[None]:
    """Give topics to those that have an alias: what the tape says, or, where since the last gap it never
    sets this one, what the alias stands for now. A step for each packet and each alias.
    """
    known: dict[int, dict[tuple[bool, int], bytes]] = {}  # by connection
    are_set: dict[tuple[int, bool, int], int] = {}  # the place where it was set last
    gaps: dict[int, int] = {}  # by connection, 0: of all: the place of the last one
    aliased = []
    for at, one in enumerate(parsed):
        yield
        if isinstance(one, Unkept):
            if one.owner is None:
                gaps[0] = at
                known.clear()
            else:
                gaps[one.owner.number] = at
                known.pop(one.owner.number, None)
            continue
        if not one.alias:
            continue
        key = (one.cut.owner.number, one.cut.to_server, one.alias)
        of_connection = known.setdefault(key[0], {})
        if one.topic:
            of_connection[key[1:]] = one.topic
            are_set[key] = at
        elif key[1:] in of_connection:
            one.topic = of_connection[key[1:]]
        else:
            aliased.append((at, key, one))
    for at, key, one in aliased:
        yield
        gap = max(gaps.get(key[0], -1), gaps.get(0, -1))
        if at > gap and are_set.get(key, -1) <= gap:
            one.topic = one.cut.owner.topic_of(one.alias, one.cut.to_server)
