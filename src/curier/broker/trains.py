"""PUBLISH packets in a row for the same receivers, whatever their topics and sizes: a train.

Hot file, a part of ``fast_lane``, which says what is plain and goes by runs where packets are alike. What
publishers send is seldom alike, but often goes to the same receivers: one block of bytes serves all those of
one version and QoS, at QoS 1 with one ``Burst`` each, and its acknowledgements are one block, too. All of a
train have one QoS, and RETAIN or not; a Topic Alias is resolved. It begins only where each receiver is served
unseen and has room, and ends before the first packet that does not fit; nothing else happens meanwhile.
``blocks`` makes what receivers get in another form.

For a receiver whose session is in the journal, each message has the records that it has on the general way,
and in their order. The acknowledgements of a train with records, or behind others that wait, wait for the
disk.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i32_be
from mypy_extensions import i32, i64, mypyc_attr, u8

from curier.broker.answers import two_bytes
from curier.broker.blocks import aliased, begin, identified, numbered, translated, two
from curier.broker.delivery import blame
from curier.broker.finding import find_route
from curier.broker.layouts import LONGEST_KNOWN, KnownProperties
from curier.broker.model import (
    MOST_IDENTIFIERS,
    RETAINED,
    BrokerConnection,
    Receiver,
    Route,
    ServerSession,
    are_same,
)
from curier.broker.outbound import pass_on
from curier.broker.special import (
    ALIAS_ONLY,
    AS_RETAINED,
    SPECIAL,
    may_be_kept,
    read_properties,
    retain_special,
)
from curier.broker.state import BrokerState
from curier.codec.constants import MQTT_50, TOPIC_ALIAS
from curier.codec.primitives import LARGE_PIECE
from curier.codec.publish import short_size
from curier.protocol.connection import STEPS_AT_ONCE
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Burst
from curier.session.records import Queued, Sent

# Bytes that a packet may be larger in another version, with a Topic Alias, with Subscription Identifiers.
GROWTH: Final = 6 + MOST_IDENTIFIERS
LONGEST: Final = 16_000  # bytes of a packet, so that it is short in any version
FREE_AT_ONCE: Final = 16  # Packet Identifiers that are looked for among those in use
WORK_OF_RECORDS: Final = 2  # of a message, for each session in the journal
FORMS: Final = 8  # of a block: QoS 0 and 1, without Properties and with, without RETAIN and with


def take_train(
    broker: BrokerState,
    connection: BrokerConnection,
    session: ServerSession,
    lane: i64,
    route: Route | None,
    data: bytes,
    at: i64,
    end: i64,
    now: float,
) -> i64:
    """Work on PUBLISH packets from ``at``, of QoS 0 or 1 and without DUP; returns where the first begins that
    is left, which is ``at`` where there is no train. ``route`` is that of the first, where it is known.
    """
    train = Train(connection, session, lane, route, data, at, end)
    if not train.takes(broker, now):
        return at
    while train.takes(broker, now):
        pass
    train.leave(broker, now)
    broker.spent += len(train.receivers)
    return train.at


@final
@mypyc_attr(acyclic=True)
class Train:
    """Packets of ``data`` from ``begin`` to ``at``."""

    __slots__ = (
        "alias",
        "answers",
        "at",
        "begin",
        "connection",
        "content",
        "count",
        "data",
        "deliveries",
        "durable",
        "end",
        "first",
        "known",
        "lane",
        "largest",
        "made",
        "may_expire",
        "messages",
        "most",
        "most_bytes",
        "name_at",
        "name_size",
        "payloads",
        "receivers",
        "recorded",
        "records_before",
        "route",
        "routes",
        "session",
    )

    def __init__(
        self,
        connection: BrokerConnection,
        session: ServerSession,
        lane: i64,
        route: Route | None,
        data: bytes,
        at: i64,
        end: i64,
    ) -> None:
        self.connection = connection
        self.session = session
        self.lane: i64 = lane
        self.data = data
        self.begin: i64 = at
        self.at: i64 = at
        self.end: i64 = end
        self.first: i64 = data[at]
        qos = (self.first >> 1) & 3
        self.routes: dict[bytes, Route] = connection.routes[qos + RETAINED if self.first & 1 else qos]
        self.route: Route | None = route  # of the packet that came last, or of the first
        self.receivers: list[Receiver] = []
        self.name_at: i64 = 0  # of its Topic Name
        self.name_size: i64 = -1  # -1: it came by an alias
        self.most: i64 = STEPS_AT_ONCE - connection.steps
        self.most_bytes: i64 = 1 << 62
        self.largest: i64 = min(i64(connection.max_packet_size), LONGEST)
        self.count: i64 = 0
        self.content: i64 = 0  # bytes of Topic Names, payloads and Properties
        self.alias: i64 = 0  # of the packet that is looked at
        self.known: KnownProperties | None = None  # of that, but for an alias alone
        self.may_expire: bool = False
        self.payloads: i64 = 0
        self.answers = BytesWriter()
        self.made: BytesWriter | None = None  # the packets, where they are not those of ``data``
        self.messages: list[ApplicationMessage] | None = None  # where packets alone do not say all
        self.durable: i64 = 0  # receivers for whom there are records
        self.deliveries: list[int] = []  # the first in the journal of each of those
        self.recorded: i64 = 0  # how many of those have their burst
        self.records_before: int = connection.journal_length() if connection.journal is not None else -1

    def takes(self, broker: BrokerState, now: float) -> bool:
        """Take the next packet, if it fits."""
        at = self.at
        data = self.data
        if self.count >= self.most or self.content >= self.most_bytes or at + 4 > self.end:
            return False
        first: i64 = data[at]
        stop = at + short_size(data, at)
        topic_at: i64 = at + 4 if data[at + 1] < 128 else at + 5
        if first != self.first or stop > self.end or topic_at > stop or broker.spent >= broker.work_per_turn:
            return False
        topic_size: i64 = two_bytes(data, topic_at - 2)
        payload_at = topic_at + topic_size
        packet_id: i64 = 0
        if first & 2:
            payload_at += 2
            if payload_at > stop:
                return False
            packet_id = two_bytes(data, payload_at - 2)
            if not packet_id:
                return False
        if self.lane == MQTT_50:
            if payload_at < stop and not data[payload_at] and not self.alias and self.known is None:
                payload_at += 1
            else:
                payload_at = self._behind_properties(broker, payload_at, stop)
        if payload_at > stop:
            return False
        route = self._route(broker, topic_at, topic_size)
        if route is None:
            return False
        size = stop - at + GROWTH
        if self.alias:
            size += len(route.topic)
        if size > self.largest:
            return False
        known = self.known
        if first & 1 or self.alias or known is not None or self.made is not None or self.messages is not None:
            if not self._makes(broker, route, payload_at, stop, now):
                return False
            if known is not None:
                self.content += len(known.properties)
        if packet_id:
            write_i32_be(self.answers, i32(0x40020000 | packet_id))
            broker.spent += len(self.receivers) >> 2
        else:
            broker.spent += len(self.receivers) >> 4
        self.name_at = topic_at
        self.name_size = topic_size if not self.alias else -1
        self.count += 1
        self.content += len(route.topic) + stop - payload_at
        self.payloads += stop - payload_at
        self.at = stop
        return True

    def _behind_properties(self, broker: BrokerState, at: i64, stop: i64) -> i64:
        """Where the payload begins behind the Properties at ``at``; beyond ``stop`` for what is wrong."""
        data = self.data
        beyond = stop + 1
        self.alias = 0
        self.known = None
        if at >= stop:
            return beyond
        length: i64 = data[at]
        if not length:
            return at + 1
        if length == ALIAS_ONLY and at + ALIAS_ONLY < stop and data[at + 1] == TOPIC_ALIAS:
            self.alias = two_bytes(data, at + 2)
            if not self.alias:
                return beyond
        elif length > LONGEST_KNOWN:
            return beyond
        else:
            known = self.known = read_properties(broker, self.connection, data, at, stop)
            if known is None:
                return beyond
            self.alias = known.alias
        if self.alias > self.connection.topic_alias_maximum:
            return beyond
        return at + 1 + length

    def _route(self, broker: BrokerState, topic_at: i64, topic_size: i64) -> Route | None:
        """The route of a packet, if it goes to the receivers of this train."""
        known = self.route
        if not self.count and known is not None:
            return known if self._opens(broker, known) else None
        if topic_size == self.name_size and is_same_name(self.data, self.name_at, topic_at, topic_size):
            return known
        if self.alias and not topic_size:
            topic = self.connection.aliases.get(self.alias, b"")
        else:
            topic = self.data[topic_at : topic_at + topic_size]
        route = self.routes.get(topic)
        if route is None:
            route = find_route(broker, self.connection, topic)
            if route is None:
                return None
        elif route.is_fast:
            route.is_used = True
        else:
            return None
        if not self.count:
            if not self._opens(broker, route):
                return None
        elif route.groups or not are_same(route.receivers, self.receivers):
            return None
        self.route = route
        return route

    def _opens(self, broker: BrokerState, route: Route) -> bool:
        """Are all receivers of ``route`` served unseen, and how much have they room for?"""
        first = self.first
        connection = self.connection
        if route.groups or (first & 2 and connection.receive_quota <= 0):
            return False
        if route.is_durable and not may_be_kept(broker, first & 2):
            return False
        if route.is_empty and first & 2 and self.lane == MQTT_50:  # is told so
            return False
        for receiver in route.receivers:
            target = receiver.session
            other = target.connection
            if not target.in_trains or not receiver.is_in_trains or other is None:
                return False
            if receiver.has_no_local and target is self.session:  # [MQTT-3.8.3-3]
                return False
            if target.largest < self.largest:
                self.largest = target.largest
            if not first & 2:
                continue
            if target is self.session:  # its acknowledgements go between its messages
                return False
            if not receiver.qos:
                continue
            if first & 1 and receiver.retain_as_published:  # packets alone do not say so of those that wait
                self.messages = []
            if target.journal is not None:
                if other.publish_batch:  # one with QoS 2 waits, and goes first [MQTT-4.6.0-1]
                    return False
                self.durable += 1
            outgoing = target.outgoing
            most = self.most
            if most > FREE_AT_ONCE and (outgoing.inflight or outgoing.releasing or outgoing.reserved):
                most = FREE_AT_ONCE
            self.most = outgoing.burst_room(most, 0)
            if not self.most:
                return False
            if outgoing.max_sent_bytes - outgoing.sent_bytes < self.most_bytes:
                self.most_bytes = outgoing.max_sent_bytes - outgoing.sent_bytes
        if first & 2 and (self.durable or connection.held or (first & 1 and broker.journal is not None)):
            if self.most > connection.receive_quota:  # which each takes until it is acknowledged
                self.most = connection.receive_quota
        if self.durable:
            if self.durable * WORK_OF_RECORDS > broker.work_per_turn - broker.spent:
                return False
            self.messages = []
        self.receivers = route.receivers
        return True

    def _makes(self, broker: BrokerState, route: Route, payload_at: i64, stop: i64, now: float) -> bool:
        """Do what there is to do about a packet that is not sent on as it came, or does not say all."""
        data = self.data
        retain: bool = self.first & 1 != 0
        known = self.known
        forwarded = b""
        if known is not None:
            forwarded = known.forwarded
            self.may_expire = self.may_expire or known.expiry_interval >= 0
            if self.first & 2 and self.messages is None:  # of 3.1.1, receivers are not sent Properties
                if self.count:
                    return False
                self.messages = []
        if retain or self.messages is not None:
            payload = data[payload_at:stop]
            message = ApplicationMessage(route.topic, payload, (self.first >> 1) & 3, retain)
            if known is not None:
                message.properties = known.properties
                message.expires_at = known.expires_at(now)
            if retain and not retain_special(broker, self.connection, self.session, message, route, now):
                return False
            if retain and not self.count and self._is_unrecorded():
                self.most = 1  # it is acknowledged now, and what follows perhaps not
            if self.messages is not None:
                self.messages.append(message)
                if self.durable:
                    self._record(broker, message)
        if self.alias:
            self.connection.aliases[self.alias] = route.topic
        if self.alias or (known is not None and not known.is_as_sent):
            self._write(route.topic, forwarded, payload_at, stop)
        elif self.made is not None:
            self.made.write(data[self.at : stop])
        return True

    def _is_unrecorded(self) -> bool:
        """Is there a journal, and no record in it of the first message, such as one that would remove what is
        retained, where nothing is?
        """
        journal = self.connection.journal
        return journal is not None and not self.durable and journal.length == self.records_before

    def _record(self, broker: BrokerState, message: ApplicationMessage) -> None:
        """Note in the journal that a message is on its way to those whose sessions are there, and how."""
        for receiver in self.receivers:
            target = receiver.session
            journal = target.journal
            if journal is None or not receiver.qos:
                continue
            session = target.number
            number = journal.add_message(message)
            delivery = journal.next_number()
            retain = message.retain and receiver.retain_as_published
            journal.add(Queued(session, delivery, number, 1, retain, receiver.identifiers, b""))
            journal.add(Sent(session, delivery, target.outgoing.burst_id() + self.count))
            if not self.count:
                self.deliveries.append(delivery)
        broker.spent += self.durable * WORK_OF_RECORDS

    def _write(self, topic: bytes, properties: bytes, payload_at: i64, stop: i64) -> None:
        """Have the packet at ``at`` with its Topic Name in place of an alias [MQTT-3.3.2-7], and these
        Properties.
        """
        made = self.made
        if made is None:
            made = self.made = BytesWriter()
            made.write(self.data[self.begin : self.at])
        begin(made, self.first, 3 + (self.first & 2) + len(topic) + len(properties) + stop - payload_at)
        two(made, len(topic))
        made.write(topic)
        if self.first & 2:
            two(made, 0)
        made.append(u8(len(properties)))
        made.write(properties)
        made.write(self.data[payload_at:stop])

    def leave(self, broker: BrokerState, now: float) -> None:
        """Send all that was taken to all receivers, and acknowledge it."""
        block = self.data  # often it is all that came
        if self.made is not None:
            block = self.made.getvalue()
        elif self.at - self.begin < len(block):
            block = block[self.begin : self.at]
        if broker.is_clustered and self.session.number:
            pass_on(broker, self.session.client_id, self.lane, self.may_expire, block)
        forms = [b""] * FORMS  # as receivers get it, with the identifiers of the one before
        ids = [0] * FORMS  # the first of those
        count = self.count
        for receiver in self.receivers:
            target = receiver.session
            other = target.connection
            assert other is not None
            qos: i64 = 1 if self.first & 2 and receiver.qos else 0
            lane: i64 = target.in_trains
            retain: i64 = self.first & 1 if receiver.retain_as_published else 0  # [MQTT-3.3.1-13]
            form: i64 = qos | retain << 2
            identifiers = b""
            if lane == MQTT_50:
                form |= 2
                identifiers = receiver.identifiers
            frames = forms[form]
            if not frames:
                frames = forms[form] = self._form(block, qos, lane, retain)
            first: i64 = 0x30 | qos << 1 | retain
            packet_id: i64 = 0
            is_aliased: bool = other.topic_aliases is not None
            if qos:
                packet_id = target.outgoing.burst_id()
                if packet_id != ids[form] and not is_aliased and not identifiers:
                    frames = forms[form] = numbered(frames, first, packet_id)
                    ids[form] = packet_id
            if identifiers:
                frames = identified(frames, first, packet_id, identifiers)
            if qos:
                target.outgoing.add_burst(self._burst(receiver, frames, form, packet_id, now))
            if is_aliased:
                try:
                    frames = aliased(other, frames, first, packet_id)
                except Exception as error:  # with QoS 1 its session has them, for when it is back
                    blame(broker, target, error)
                    continue
            other.output.append(frames)
            other.has_blocks = other.has_blocks or len(frames) > LARGE_PIECE
            if not other.is_dirty:
                other.is_dirty = True
                other.dirty.append(other)
        connection = self.connection
        traffic = connection.traffic
        if self.first & 2:
            self._answer(connection)
        connection.steps += count
        traffic.packets_received += count
        traffic.publishes_received += count
        traffic.publish_bytes_received += self.payloads
        receivers: i64 = len(self.receivers)
        broker.traffic.count_sent(count * receivers, self.payloads * receivers)

    def _burst(self, receiver: Receiver, frames: bytes, form: i64, packet_id: i64, now: float) -> Burst:
        """All of them, as they wait in the receiver's session."""
        identifiers = receiver.identifiers
        if self.messages is None:
            size: i64 = len(identifiers) + 1 if form & 2 else 0  # of Properties
            burst = Burst(b"", frames, 0, size, packet_id, self.count, b"", now, None, identifiers)
            burst.content = self.content
            return burst
        kind: i64 = AS_RETAINED if form & 4 else SPECIAL
        burst = Burst(b"", b"", kind, 0, packet_id, self.count, b"", now, self.messages, identifiers)
        if receiver.session.journal is not None:
            burst.delivery = self.deliveries[self.recorded]
            burst.stride = self.durable + 1  # a number for each, and one for the message
            self.recorded += 1
        return burst

    def _answer(self, connection: BrokerConnection) -> None:
        """Acknowledge all of them, now or when the disk has what was recorded of them."""
        answers = self.answers.getvalue()
        journal = connection.journal
        batch = connection.held[-1].batch if connection.held else 0
        if journal is not None and journal.length != self.records_before:
            batch = journal.number
        if batch:
            connection.receive_quota -= self.count
            connection.send_after(batch, answers, self.count)
            return
        connection.output.append(answers)
        if not connection.is_dirty:
            connection.is_dirty = True
            connection.dirty.append(connection)
        connection.traffic.packets_sent += self.count

    def _form(self, block: bytes, qos: i64, lane: i64, retain: i64) -> bytes:
        """``block`` as it goes to receivers with that QoS, version and RETAIN flag, which at QoS 1 comes with
        the Packet Identifiers.
        """
        if lane != self.lane or qos != (self.first >> 1) & 1:
            block = translated(block, self.lane == MQTT_50, qos, lane == MQTT_50)
        return numbered(block, 0x30 | retain, 0) if self.first & 1 and not qos else block


def is_same_name(data: bytes, one: i64, other: i64, size: i64) -> bool:
    """The same as ``is_same``, for Topic Names, which mostly differ at their end."""
    if size >= 8 and read_i64_le(data, one + size - 8) != read_i64_le(data, other + size - 8):
        return False
    return is_same(data, one, other, size)


def is_same(data: bytes, one: i64, other: i64, size: i64) -> bool:
    """Are there the same ``size`` bytes at both places?"""
    last = size - 8
    if last < 0:
        return data[one : one + size] == data[other : other + size]
    at: i64 = 0
    while at < last:
        if read_i64_le(data, one + at) != read_i64_le(data, other + at):
            return False
        at += 8
    return read_i64_le(data, one + last) == read_i64_le(data, other + last)
