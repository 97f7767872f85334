"""A client's half of message delivery on one Network Connection: QoS 0, 1 and 2, both ways (4.3, 4.4, 4.6).

``ClientMessages`` publishes, sends again, receives and acknowledges, within what CONNECT and CONNACK said;
``protocol.client`` completes it with everything else a client does.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from curier.codec.constants import (
    MAXIMUM_REMAINING_LENGTH,
    MQTT_50,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    PUBACK,
    PUBREC,
    QOS_NOT_SUPPORTED,
    RECEIVE_MAXIMUM_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    TOPIC_ALIAS_INVALID,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
)
from curier.codec.decode import decode
from curier.codec.encode import encode_ack
from curier.codec.packets import Publish
from curier.codec.primitives import encode_topic, encode_two
from curier.codec.properties import Properties
from curier.codec.publish import Layout, encode_expiry, encode_topic_alias, publish_layout
from curier.errors import LocalProtocolError, RemoteProtocolError
from curier.protocol.arriving import Arriving
from curier.protocol.connection import CONNECTED, Connection, Traffic
from curier.protocol.events import Event, MessageReceived, Published, Tolerated
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import MAXIMUM_PACKET_ID, Outgoing
from curier.session.session import Session

LARGEST_PACKET: Final = MAXIMUM_REMAINING_LENGTH + 5
SHORTEST_ALIASED: Final = 4  # bytes of a Topic Name; an alias costs three itself
NOT_SET: Final = float("inf")  # a deadline that does not come


@final
class PendingAck:
    """A received QoS 1 or 2 message that its reader has not acknowledged, or not yet in its turn."""

    __slots__ = ("batch", "data", "excess", "packet_id", "qos", "reason_code")

    def __init__(self, packet_id: int, qos: int) -> None:
        self.packet_id = packet_id
        self.qos = qos
        self.reason_code: int = 0
        self.excess: int = 0  # its bytes, where it came over Receive Maximum
        self.batch: int = 0  # of the journal, that says that it was taken
        self.data: bytes | None = None  # the PUBACK or PUBREC, once its reader has acknowledged


NO_ACKS: Final[deque[PendingAck]] = deque()  # of a connection that rests; see ``session.outgoing``


class ClientMessages(Connection):
    """Messages of one client. The attributes are set from CONNECT, CONNACK and by ``ClientConnection``."""

    def __init__(self, session: Session) -> None:
        super().__init__(0, LARGEST_PACKET, [], Traffic())
        self.max_packet_statement = "MQTT-3.1.2-24"
        self.session = session
        self.client_session: Session = session
        self.manual_acks: bool = False
        self.tells_sent: bool = True
        self.requeues: bool = False
        self.tolerance: int = 0
        self.max_inflight_qos_2: int = MAXIMUM_PACKET_ID  # unfinished PUBLISH packets sent with QoS 2
        self.excess: int = 0  # bytes that wait over Receive Maximum
        self.tolerated: set[str] = set()  # statements that the server has broken
        self.retry_interval: float = 0.0
        self.retry_at: float = NOT_SET
        self.is_stuck: bool = False  # what was sent waits for the network; whoever drives this says so
        self.is_reading: bool = True  # is what the server sends read at all?
        self.topic_alias_maximum: int = 0  # what the server may use
        self.incoming_aliases: dict[int, str] = {}  # gone with the connection [MQTT-3.3.2-7]
        self.outgoing_alias_maximum: int = 0
        self.shortest_aliased: int = SHORTEST_ALIASED
        self.outgoing_aliases: dict[bytes, int] = {}
        self.maximum_qos: int = 2
        self.retain_available: bool = True
        self.pending_acks: dict[int, PendingAck] = {}
        self.acks_in_order: deque[PendingAck] = NO_ACKS  # the same, in the order of receiving
        self.events: list[Event] = []
        self.reason_string: str = ""  # of the acknowledgement that is being worked on
        self.taken_with: dict[int, int] = {}  # Reason Codes of PUBREC that are no refusal and not 0

    # ---- what is durable ----

    def wait_for_disk(self) -> None:
        """What earlier connections left to the disk must be there before this one answers or sends again.

        PUBREL may leave only when no crash can undo that PUBREC was seen, on whichever connection that was.
        """
        journal = self.client_session.journal
        if journal is not None and journal.newest() > journal.durable:
            self.send_after(journal.newest(), b"")

    def take_pieces(self) -> list[bytes]:
        """Everything to be written now, with each large piece by itself."""
        self.is_dirty = False
        self.dirty.clear()
        pieces = self.pieces()
        for piece in pieces:
            self.traffic.bytes_sent += len(piece)
        return pieces

    def release(self, batch: int, now: float) -> None:
        """Like that of every connection; and the journal knows for the next one."""
        journal = self.client_session.journal
        if journal is not None and batch > journal.durable:
            journal.durable = batch
        super().release(batch, now)

    # ---- messages out ----

    def publish(self, message: ApplicationMessage, now: float) -> Outgoing:
        """Send a message, now or when there is quota; while not connected it waits in the session.

        ``Published`` with the same ``Outgoing`` tells of its end. Nothing here bounds how much waits: see
        ``queue`` and ``queued_bytes`` of the session's outgoing flow. Raises ``LocalProtocolError`` for what
        is no message, or more than this server takes.
        """
        entry, layout = self.prepare(message, now)
        if entry.qos or layout is None:
            self.client_session.outgoing.record(entry)
        self.submit(entry, layout, now)
        return entry

    def prepare(self, message: ApplicationMessage, now: float) -> tuple[Outgoing, Layout | None]:
        """The first half of ``publish``: check a message; nothing is changed yet.

        Whoever keeps a message on disk before it is accepted does that (``OutgoingFlow.record``) between the
        halves, and need not go on where it fails. Raises as ``publish`` does.
        """
        _check_message(message)
        entry = Outgoing(message, message.qos, message.retain)
        return entry, self._layout(entry, False, now) if self.state == CONNECTED else None

    def submit(self, entry: Outgoing, layout: Layout | None, now: float) -> None:
        """The second half of ``publish``: send what ``prepare`` returned, or have it wait in the session."""
        self.now = now
        outgoing = self.client_session.outgoing
        if layout is not None and (
            not entry.qos or (outgoing.may_send(entry.qos) and not outgoing.queue and not outgoing.resend)
        ):
            self._start(entry, layout, now)
            if not entry.qos and self.tells_sent:
                self.events.append(Published(entry, 0, ""))
        else:
            outgoing.append(entry)

    def start(self, now: float) -> None:
        """Send what waits in the session; by itself with CONNACK unless ``starts`` is False."""
        self.now = now
        if self.state != CONNECTED:
            return
        outgoing = self.client_session.outgoing
        for entry in outgoing.releasing.values():  # [MQTT-4.4.0-1], in order [MQTT-4.6.0-4]
            self._send_pubrel(entry, now)
        self.pump(now)
        self.pump_qos_0(now)

    def pump(self, now: float) -> None:
        """Send what waits in the session, as far as quota allows: first again, then new [MQTT-4.9.0-2]."""
        outgoing = self.client_session.outgoing
        while True:
            if outgoing.resend:
                if not outgoing.may_send(outgoing.resend[0].qos):
                    return
                again = outgoing.resend.popleft()
                if outgoing.inflight.get(again.packet_id) is again and not again.on_wire:
                    self._send_again(again, now)
            elif outgoing.queue:
                if not outgoing.may_send(outgoing.queue[0].qos):
                    return
                self._send_waiting(outgoing.pop(), now)
            else:
                return

    def pump_qos_0(self, now: float) -> None:
        """Send what waits at QoS 0 behind messages without quota, before anything newer at QoS 0."""
        outgoing = self.client_session.outgoing
        for _ in range(len(outgoing.queue)):
            entry = outgoing.pop()
            if entry.qos:
                outgoing.append(entry)
            else:
                self._send_waiting(entry, now)

    def _send_waiting(self, entry: Outgoing, now: float) -> None:
        """Send what waited in the queue, if it can be sent at all."""
        outgoing = self.client_session.outgoing
        if entry.message.is_expired(now):
            outgoing.forget(entry)
            self.events.append(Published(entry, UNSPECIFIED_ERROR, "its Message Expiry Interval has passed"))
            return
        try:
            layout = self._layout(entry, False, now)
        except LocalProtocolError as error:
            outgoing.forget(entry)
            self.events.append(Published(entry, error.reason_code, str(error)))
            return
        self._start(entry, layout, now)
        if not entry.qos:
            outgoing.forget(entry)
            self.events.append(Published(entry, 0, ""))

    def _start(self, entry: Outgoing, layout: Layout, now: float) -> None:
        """Send a PUBLISH for the first time; the caller has seen that there is quota."""
        session = self.client_session
        hold = 0
        if entry.qos:
            session.outgoing.start(entry, now)
            self._expect_answer(now)
            if entry.qos == 2 and session.journal is not None:
                # Its Packet Identifier must be durable first: used again after a crash, for another message,
                # it would make that one a duplicate.
                hold = session.journal.number
            hold = self.hold_publish(hold)
        if self.outgoing_alias_maximum and not hold:
            layout = self._aliased(entry, layout, now)
        self._send_publish(entry, layout, hold)

    def _send_again(self, entry: Outgoing, now: float) -> None:
        """Send a PUBLISH again, with DUP and its Packet Identifier [MQTT-3.3.1-1] [MQTT-4.4.0-1]."""
        outgoing = self.client_session.outgoing
        try:
            layout = self._layout(entry, True, now)
        except LocalProtocolError as error:
            outgoing.abandon(entry)
            self.events.append(Published(entry, error.reason_code, str(error)))
            return
        outgoing.mark_sent(entry, now)
        self._expect_answer(now)
        hold = self.held[-1].batch if entry.qos == 2 and self.held else 0
        self._send_publish(entry, layout, self.hold_publish(hold))

    def _send_publish(self, entry: Outgoing, layout: Layout, hold: int) -> None:
        self.traffic.publishes_sent += 1
        self.traffic.publish_bytes_sent += len(entry.message.payload)
        packet = layout.head + (encode_two(entry.packet_id) if entry.qos else b"") + layout.tail
        if hold:
            self.send_after(hold, packet, 0, layout.payload)
        else:
            self.send(packet, layout.payload)

    def _send_pubrel(self, entry: Outgoing, now: float) -> None:
        entry.sent_at = now
        self._expect_answer(now)
        self.answer(b"\x62\x02" + encode_two(entry.packet_id), self.journal_length())

    def _layout(self, entry: Outgoing, dup: bool, now: float) -> Layout:
        """The PUBLISH of ``entry``; raises ``LocalProtocolError`` where it is more than this server takes."""
        message = entry.message
        if entry.qos > self.maximum_qos:  # [MQTT-3.2.2-11]
            raise LocalProtocolError(
                QOS_NOT_SUPPORTED, f"this server takes QoS {self.maximum_qos} at most", "MQTT-3.2.2-11"
            )
        if entry.retain and not self.retain_available:  # [MQTT-3.2.2-14]
            raise LocalProtocolError(
                RETAIN_NOT_SUPPORTED, "this server takes no retained messages", "MQTT-3.2.2-14"
            )
        layout = publish_layout(
            message.topic, message.payload, entry.qos, dup, entry.retain, self._properties(message, now)
        )
        if self.is_too_large(layout.size):  # [MQTT-3.2.2-15]
            why = f"a packet of {layout.size} bytes; this server takes {self.peer_max_packet_size} at most"
            raise LocalProtocolError(PACKET_TOO_LARGE, why, "MQTT-3.2.2-15")
        return layout

    def _properties(self, message: ApplicationMessage, now: float) -> bytes | None:
        """Encoded, without length; None before 5.0. Of the Message Expiry Interval, what is left of it."""
        if self.version != MQTT_50:
            return None
        if message.expires_at == NEVER:
            return message.properties
        return encode_expiry(message.remaining_expiry(now)) + message.properties

    def _aliased(self, entry: Outgoing, layout: Layout, now: float) -> Layout:
        """With a Topic Alias, where there is one or room for one (3.3.2.3.4); else ``layout`` as it is."""
        message = entry.message
        topic = message.topic
        alias = self.outgoing_aliases.get(topic, 0)
        if not alias and (
            len(self.outgoing_aliases) >= self.outgoing_alias_maximum or len(topic) < self.shortest_aliased
        ):
            return layout
        is_new = not alias
        if is_new:
            alias = len(self.outgoing_aliases) + 1  # [MQTT-3.3.2-8] [MQTT-3.3.2-9]
        properties = encode_topic_alias(alias) + (self._properties(message, now) or b"")
        short = publish_layout(
            topic if is_new else b"", message.payload, entry.qos, False, entry.retain, properties
        )
        if self.is_too_large(short.size):
            return layout
        if is_new:
            self.outgoing_aliases[topic] = alias  # only what is really sent sets a mapping
        return short

    def is_too_large(self, size: int) -> bool:
        """Is a packet of ``size`` bytes more than the server's Maximum Packet Size [MQTT-3.2.2-15]?"""
        return self.peer_max_packet_size > 0 and size > self.peer_max_packet_size

    def on_pubrec(self, packet_id: int, reason_code: int, now: float) -> None:
        if 0 < reason_code < 0x80:
            self.taken_with[packet_id] = reason_code
        super().on_pubrec(packet_id, reason_code, now)

    def on_pubcomp(self, packet_id: int, reason_code: int, now: float) -> None:
        """PUBCOMP. Its own Reason Code is no refusal: PUBREC accepted the message (3.7.2.1)."""
        super().on_pubcomp(packet_id, self.taken_with.pop(packet_id, 0), now)

    def finished(self, entry: Outgoing, reason_code: int, now: float) -> None:
        self.events.append(Published(entry, reason_code, self.reason_string))

    def discard_begun(self) -> list[Outgoing]:
        """Discard Session State [MQTT-3.2.2-5]: the messages whose delivery had begun, which are returned.

        What only waits is no part of it (4.1), and stays. With ``requeues`` they are messages to be published
        in the next session, ahead of all others, but for those that the server had taken, which are complete.
        """
        outgoing = self.client_session.outgoing
        incoming = self.client_session.incoming
        begun = list(outgoing.inflight.values())
        taken = list(outgoing.releasing.values())
        over = [*begun, *taken]
        lost = over
        if self.requeues:  # what PUBREC had answered, the server had taken [MQTT-4.3.3-8]
            outgoing.requeue()
            self.events += [Published(entry, 0, "") for entry in taken]
            over, lost = taken, begun
        for entry in over:
            outgoing.forget(entry)
        outgoing.inflight.clear()
        outgoing.releasing.clear()
        for packet_id in sorted(incoming.identifiers):
            incoming.release(packet_id)
        return lost

    # ---- timed re-sending, before 5.0 only (3.1.1: 4.4) ----

    def _expect_answer(self, now: float) -> None:
        if self.retry_interval and self.retry_at == NOT_SET and self.version != MQTT_50:
            self.retry_at = now + self.retry_interval

    def send_unanswered(self, now: float) -> None:
        """Send again, in order, what has had no answer for ``retry_interval`` seconds."""
        outgoing = self.client_session.outgoing
        oldest = now
        # Some of it is still here, or its answer is: disk, network or this program are slow, not the server.
        if self.held or self.is_stuck or not self.is_reading:
            for entry in [*outgoing.releasing.values(), *outgoing.inflight.values()]:
                entry.sent_at = now  # it is still being sent
            self.retry_at = now + self.retry_interval / 4
            return
        for entry in [*outgoing.releasing.values(), *outgoing.inflight.values()]:
            is_released = entry.packet_id in outgoing.releasing
            if not is_released and not entry.on_wire:
                continue  # it waits for quota
            if now < entry.sent_at + self.retry_interval:
                oldest = min(oldest, entry.sent_at)
            elif is_released:
                self._send_pubrel(entry, now)
            else:
                self._send_again(entry, now)
        is_idle = not outgoing.inflight and not outgoing.releasing
        self.retry_at = NOT_SET if is_idle else oldest + self.retry_interval

    # ---- messages in ----

    def large_publish(self, arriving: Arriving, now: float) -> bool:
        bare = arriving.bare()
        publish = decode(bare, 0, len(bare), self.version)
        assert isinstance(publish, Publish)
        publish.payload = arriving.payload()
        self.on_publish(publish)
        return True

    def on_publish(self, publish: Publish) -> None:
        """Take a message and, unless its reader does, acknowledge it [MQTT-3.3.4-1] [MQTT-4.5.0-2]."""
        properties = publish.properties
        if properties is not None and properties.topic_alias is not None:
            self._resolve_alias(publish, properties.topic_alias)
        self.traffic.publishes_received += 1
        self.traffic.publish_bytes_received += len(publish.payload)
        if not publish.qos:
            self.events.append(MessageReceived(publish))
            return
        packet_id = publish.packet_id
        if packet_id in self.pending_acks:
            return  # sent again while its reader is still at it
        excess = 0
        if self.version == MQTT_50:  # before, there is no Receive Maximum
            if self.receive_quota > 0:
                self.receive_quota -= 1
            else:
                excess = self._take_excess(len(publish.payload) + len(publish.topic) + 1)
        if publish.qos == 2 and self.client_session.incoming.is_duplicate(packet_id):  # [MQTT-4.3.3-10]
            self.excess -= excess
            self.answer(encode_ack(PUBREC, packet_id, 0, None, self.version), self.journal_length())
            return
        self.events.append(MessageReceived(publish))
        pending = PendingAck(packet_id, publish.qos)
        pending.excess = excess
        if self.manual_acks:
            self.pending_acks[packet_id] = pending
            if self.acks_in_order is NO_ACKS:
                self.acks_in_order = deque()
            self.acks_in_order.append(pending)
        else:
            self._take(pending)
            self._acknowledge(pending, self._encode_ack(pending, ""))

    def _take_excess(self, size: int) -> int:
        """A message came over Receive Maximum; ``size`` if it is taken."""
        why = f"more than {self.receive_quota_maximum} unfinished QoS 1 and 2 messages"
        if self.excess + size > self.tolerance:
            raise RemoteProtocolError(RECEIVE_MAXIMUM_EXCEEDED, why, "MQTT-3.3.4-9")
        self.excess += size
        self.tolerate(f"it sends {why} (Receive Maximum)", "MQTT-3.3.4-9")
        return size

    def tolerate(self, message: str, statement: str) -> None:
        """The server broke a rule, and no harm comes of it."""
        self.traffic.tolerated += 1
        if statement not in self.tolerated:
            self.tolerated.add(statement)
            self.events.append(Tolerated(message, statement))

    def puback_for_qos_2(self, packet_id: int, reason_code: int, now: float) -> None:
        """Some servers take a message with QoS 2 at QoS 1: the delivery is over, and was not exactly once."""
        entry = self.client_session.outgoing.refused(packet_id) if self.tolerance else None
        if entry is None:
            super().puback_for_qos_2(packet_id, reason_code, now)
        else:
            self.tolerate("it answers QoS 2 with PUBACK, as if it were QoS 1", "MQTT-4.3.3-4")
            self.finished(entry, reason_code, now)
            self.pump(now)

    def _resolve_alias(self, publish: Publish, alias: int) -> None:
        """Topic Alias (3.3.2.3.4): set a mapping or use one [MQTT-3.3.2-10]."""
        if alias > self.topic_alias_maximum:
            raise RemoteProtocolError(
                TOPIC_ALIAS_INVALID,
                f"Topic Alias {alias} is over the maximum of {self.topic_alias_maximum}",
                "MQTT-3.1.2-26",
            )
        if publish.topic:
            self.incoming_aliases[alias] = publish.topic
            return
        topic = self.incoming_aliases.get(alias)
        if topic is None:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"Topic Alias {alias} has not been set on this connection"
            )
        publish.topic = topic

    def acknowledge(self, packet_id: int, now: float, reason_code: int = 0, why: str = "") -> bool:
        """Acknowledge a received message, with ``manual_acks``. Acknowledgements leave in the order of
        receiving, so this one may wait for others [MQTT-4.6.0-2] [MQTT-4.6.0-3].

        A Reason Code of 0x80 or more refuses the message (5.0). False, and nothing happens, where none waits
        under this Packet Identifier: it is acknowledged already, or its connection has ended.
        """
        pending = self.pending_acks.get(packet_id)
        if pending is None or pending.data is not None:
            return False
        pending.reason_code = reason_code if self.version == MQTT_50 else 0
        pending.data = self._encode_ack(pending, why)
        self.now = now
        self._take(pending)
        waiting = self.acks_in_order
        while waiting:
            data = waiting[0].data
            if data is None:
                break
            first = waiting.popleft()
            del self.pending_acks[first.packet_id]
            self._acknowledge(first, data)
        return True

    def _encode_ack(self, pending: PendingAck, why: str) -> bytes:
        """PUBACK or PUBREC; its Reason String only where there is room [MQTT-3.4.2-2] [MQTT-3.5.2-2]."""
        kind = PUBACK if pending.qos == 1 else PUBREC
        properties = None
        if why:
            properties = Properties()
            properties.reason_string = why
        data = encode_ack(kind, pending.packet_id, pending.reason_code, properties, self.version)
        if self.is_too_large(len(data)):
            data = encode_ack(kind, pending.packet_id, pending.reason_code, None, self.version)
        return data

    def _take(self, pending: PendingAck) -> None:
        """A message has its reader: sent again it is a duplicate, even if the turn of PUBREC never comes."""
        if pending.qos == 2 and pending.reason_code < 0x80:
            session = self.client_session
            session.incoming.take(pending.packet_id)  # [MQTT-4.3.3-8]
            if session.journal is not None:
                pending.batch = session.journal.number

    def _acknowledge(self, pending: PendingAck, data: bytes) -> None:
        credit = 1 if pending.qos == 1 or pending.reason_code >= 0x80 else 0
        if pending.excess:  # it has taken none
            self.excess -= pending.excess
            credit = 0
        journal = self.client_session.journal
        if journal is not None and pending.batch > journal.durable:
            self.send_after(pending.batch, data, credit)
        else:
            self.answer(data, self.journal_length(), credit)


def _check_message(message: ApplicationMessage) -> None:
    """Raise ``LocalProtocolError`` for what no server takes."""
    if not 0 <= message.qos <= 2:
        raise LocalProtocolError(PROTOCOL_ERROR, f"QoS {message.qos} is not 0, 1 or 2", "MQTT-3.3.1-4")
    try:
        encode_topic(message.topic.decode())  # [MQTT-3.3.2-1] [MQTT-3.3.2-2]
    except UnicodeDecodeError:
        raise LocalProtocolError(
            TOPIC_NAME_INVALID, f"the Topic Name {message.topic!r} is not UTF-8", "MQTT-1.5.4-1"
        ) from None
