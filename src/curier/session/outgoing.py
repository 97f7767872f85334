"""QoS 1 and 2 messages on their way out of one session, over as many Network Connections as it takes.

    queue ──start()──▶ inflight ──PUBACK──▶ done                        (QoS 1, section 4.3.2)
                       inflight ──PUBREC──▶ releasing ──PUBCOMP──▶ done (QoS 2, section 4.3.3)

``inflight`` and ``releasing`` are dicts by Packet Identifier, in the order of sending, which is the order of
re-sending [MQTT-4.6.0-1] [MQTT-4.6.0-4]. Both roles use this flow: a client for what it publishes, a server
for what it delivers. The send quota belongs to a connection and starts anew with ``open`` (section 4.9).

A server may send a ``Burst``: QoS 1 packets in a row that cost one object together. Their PUBACKs come in
order [MQTT-4.6.0-2], so counting is enough; ``settle`` makes each an ``Outgoing`` when anything else happens.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from curier.codec.publish import id_place, short_size
from curier.errors import LocalProtocolError
from curier.session.journal import Journal
from curier.session.message import NEVER, ApplicationMessage
from curier.session.records import Delivered, Queued, Received, Sent

MAXIMUM_PACKET_ID: Final = 65535
MOST_DONE: Final = 64  # bursts that are acknowledged, before their places are freed together

# A session that rests holds these; its own containers are made when something goes into them, so that a
# hundred thousand idle clients cost little memory, and the garbage collector little time.
NO_ENTRIES: Final[deque[Outgoing]] = deque()
NO_BURSTS: Final[list[Burst]] = []
NO_IDS: Final[set[int]] = set()


@final
@mypyc_attr(acyclic=True)
class Outgoing:
    """One message for one receiver, at the QoS and with the flags that this receiver gets."""

    __slots__ = (
        "delivery",
        "group",
        "identifiers",
        "message",
        "on_wire",
        "packet_id",
        "qos",
        "retain",
        "sent_at",
    )

    def __init__(
        self,
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: bytes = b"",
        group: bytes = b"",
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers  # encoded Subscription Identifier properties
        self.group = group  # Topic Filter of the Shared Subscription it came by, or b""
        self.packet_id: int = 0  # 0 while it waits in the queue
        self.on_wire: bool = False  # was its PUBLISH sent on the present Network Connection?
        self.sent_at: float = 0.0  # when its last PUBLISH or PUBREL was sent; a server's: or it came to wait
        self.delivery: int = 0  # its number in the journal, or 0


@final
@mypyc_attr(acyclic=True)
class Burst:
    """QoS 1 PUBLISH packets of one topic and one size, sent in a row, with Packet Identifiers in a row.

    ``count`` of them are unacknowledged, the first of those at ``frames[start]`` with ``first_id``. Where
    ``messages`` holds them ``frames`` is empty: one whose packet is not that of its publisher, or, where
    ``size`` is 0, retained ones of any topics and sizes. Where ``size`` is 0 and there are ``frames``, those
    are packets of up to 16 KiB, of any topics and sizes, with ``payload_at`` bytes, which are ``identifiers``
    and their length, between Packet Identifier and payload; ``content`` is the bytes of their Topic Names and
    payloads.

    Where the journal knows of them, there are ``messages``, and ``delivery`` is the number of the next, that
    of the one behind it ``stride`` more.
    """

    __slots__ = (
        "content",
        "count",
        "delivery",
        "first_id",
        "frames",
        "group",
        "identifiers",
        "messages",
        "payload_at",
        "sent_at",
        "size",
        "start",
        "stride",
        "topic",
    )

    def __init__(
        self,
        topic: bytes,
        frames: bytes,
        size: i64,
        payload_at: i64,
        first_id: i64,
        count: i64,
        group: bytes,
        sent_at: float,
        messages: list[ApplicationMessage] | None = None,
        identifiers: bytes = b"",
    ) -> None:
        self.topic = topic
        self.frames = frames
        self.size: i64 = size
        self.payload_at: i64 = payload_at  # within each of them
        self.first_id: i64 = first_id
        self.count: i64 = count
        self.group = group  # Topic Filter of the Shared Subscription, or b""
        self.sent_at = sent_at
        self.start: i64 = 0
        self.messages = messages  # those already acknowledged included
        self.identifiers = identifiers  # encoded Subscription Identifiers they were sent with
        self.content: i64 = 0
        self.delivery: i64 = 0
        self.stride: i64 = 0

    def entries(self) -> list[Outgoing]:
        """Each of them as a delivery of its own."""
        found: list[Outgoing] = []
        start = self.start
        messages = self.messages
        for index in range(self.count):
            if messages is not None:
                message = messages[len(messages) - self.count + index]
                entry = Outgoing(message, 1, not self.size, self.identifiers)
            elif not self.size:
                entry = Outgoing(self._message(start), 1, False, self.identifiers)
                start += short_size(self.frames, start)
            else:
                payload = self.frames[start + self.payload_at : start + self.size]
                message = ApplicationMessage(self.topic, payload, 1, False)
                entry = Outgoing(message, 1, False, b"", self.group)
            entry.packet_id = self.first_id + index
            entry.on_wire = True
            entry.sent_at = self.sent_at
            if self.delivery:
                entry.delivery = self.delivery + index * self.stride
            found.append(entry)
            start += self.size
        return found

    def bytes_of(self, count: i64) -> i64:
        """Bytes that the next ``count`` of them count for, as ``ApplicationMessage.size`` has it."""
        messages = self.messages
        if messages is None and self.size:
            return count * (len(self.topic) + self.size - self.payload_at)
        if messages is None:
            return self.content if count == self.count else self._look(count, False)
        total: i64 = 0
        first: i64 = len(messages) - self.count
        for index in range(first, first + count):
            total += messages[index].size()
        return total

    def drop(self, count: i64) -> None:
        """Forget the next ``count`` of them, which are not all."""
        if self.size or self.messages is not None:
            self.start += count * self.size
        else:
            self.content -= self._look(count, True)
        self.count -= count
        self.first_id += count
        self.delivery += count * self.stride

    def _look(self, count: i64, is_dropped: bool) -> i64:
        """The same as ``bytes_of``, of packets of any sizes."""
        total: i64 = 0
        at: i64 = self.start
        frames = self.frames
        while count:
            place = id_place(frames, at)
            topic_at: i64 = at + 4 if frames[at + 1] < 128 else at + 5
            at += short_size(frames, at)
            total += (place - topic_at) + (at - place - 2 - self.payload_at)
            count -= 1
        if is_dropped:
            self.start = at
        return total

    def _message(self, at: i64) -> ApplicationMessage:
        """That of the packet at ``frames[at]``, of any size."""
        frames = self.frames
        place = id_place(frames, at)
        topic = frames[at + 4 if frames[at + 1] < 128 else at + 5 : place]
        stop = at + short_size(frames, at)
        return ApplicationMessage(topic, frames[place + 2 + self.payload_at : stop], 1, False)


NO_BURST: Final = Burst(b"", b"", 0, 0, 0, 0, b"", 0.0)  # in the place of one that is acknowledged


@final
class OutgoingFlow:
    """Queue, Packet Identifiers and send quota of one direction of one session."""

    def __init__(self, session_number: int = 0, journal: Journal | None = None) -> None:
        self.session_number: int = session_number
        self.journal: Journal | None = journal
        self.queue: deque[Outgoing] = NO_ENTRIES
        self.queued_bytes: int = 0
        self.first_expiry: float = NEVER  # nothing in the queue expires before; it may be long gone itself
        self.inflight: dict[int, Outgoing] = {}
        self.releasing: dict[int, Outgoing] = {}
        self.bursts: list[Burst] = NO_BURSTS  # sent after all that is inflight
        self.done: i64 = 0  # how many of them, at the beginning, are acknowledged
        self.expected: i64 = 0  # the Packet Identifier whose PUBACK a burst waits for, or 0: no burst
        self.resend: deque[Outgoing] = NO_ENTRIES  # inflight, but not yet on the present connection
        self.reserved: set[int] = NO_IDS  # identifiers of a client's SUBSCRIBE and UNSUBSCRIBE (2.2.1)
        self.quota: i64 = 0  # how many more PUBLISH packets may be sent (4.9); 0 while not connected
        self.quota_maximum: i64 = 0
        self.quota_qos_2: int = 0  # how many of those with QoS 2
        self.sent_bytes: i64 = 0  # of the messages that took it
        self.max_sent_bytes: i64 = 1 << 62
        self.last_id: i64 = 0

    # ---- a Network Connection begins and ends ----

    def open(self, quota: int, max_sent_bytes: int = 1 << 62, quota_qos_2: int = MAXIMUM_PACKET_ID) -> None:
        """A connection begins; at most ``quota`` unfinished PUBLISH packets at a time on it
        [MQTT-4.9.0-1], ``quota_qos_2`` of them with QoS 2, and no further one once their messages have
        ``max_sent_bytes``.

        PUBREL packets to send again take none of it, but hold on to their Packet Identifiers; so there is an
        identifier wherever there is quota.
        """
        self.quota = self.quota_maximum = min(quota, MAXIMUM_PACKET_ID - len(self.releasing))
        self.quota_qos_2 = quota_qos_2
        self.sent_bytes = 0
        self.max_sent_bytes = max_sent_bytes
        self.resend.clear()
        if self.inflight and self.resend is NO_ENTRIES:
            self.resend = deque()
        for entry in self.inflight.values():
            entry.on_wire = False
            self.resend.append(entry)
        for entry in self.releasing.values():
            entry.on_wire = False
        self.reserved.clear()

    def close(self) -> None:
        """The connection has ended; what is unfinished stays."""
        self.settle()
        self.quota = self.quota_maximum = 0
        self.resend.clear()

    # ---- sending ----

    def has_room(self) -> bool:
        """May one more PUBLISH be sent before an acknowledgement comes?"""
        return self.quota > 0 and self.sent_bytes < self.max_sent_bytes

    def has_waiting(self) -> bool:
        """Is there anything to be sent, for the first time or again, before what comes new?"""
        if self.queue is not NO_ENTRIES and self.queue:  # to ask a deque costs more
            return True
        return self.resend is not NO_ENTRIES and bool(self.resend)

    def may_send(self, qos: int) -> bool:
        """Is there send quota for a PUBLISH with this QoS?"""
        return not qos or (self.quota > 0 and (qos == 1 or self.quota_qos_2 > 0))

    def record(self, entry: Outgoing) -> None:
        """Note in the journal that ``entry`` is on its way, before anyone is told so."""
        journal = self.journal
        if journal is not None:
            number = journal.add_message(entry.message)
            entry.delivery = journal.next_number()
            journal.add(
                Queued(
                    self.session_number,
                    entry.delivery,
                    number,
                    entry.qos,
                    entry.retain,
                    entry.identifiers,
                    entry.group,
                )
            )

    def append(self, entry: Outgoing) -> None:
        """Put ``entry`` at the end of the queue."""
        self._note_expiry(entry.message.expires_at)
        if self.queue is NO_ENTRIES:
            self.queue = deque()
        self.queue.append(entry)
        self.queued_bytes += entry.message.size()

    def put_first(self, entry: Outgoing) -> None:
        """Put ``entry`` at the beginning of the queue."""
        self._note_expiry(entry.message.expires_at)
        if self.queue is NO_ENTRIES:
            self.queue = deque()
        self.queue.appendleft(entry)
        self.queued_bytes += entry.message.size()

    def requeue(self) -> None:
        """The peer knows nothing of the session any more: what it has not answered waits again, first of all,
        in order and without Packet Identifiers.
        """
        self.settle()
        for entry in reversed(self.inflight.values()):
            entry.packet_id = 0
            entry.on_wire = False
            if self.journal is not None and entry.delivery:
                self.journal.add(Sent(self.session_number, entry.delivery, 0))
            self.put_first(entry)
        self.inflight.clear()
        self.resend.clear()

    def _note_expiry(self, expires_at: float) -> None:
        if expires_at != NEVER and (self.first_expiry == NEVER or expires_at < self.first_expiry):
            self.first_expiry = expires_at

    def pop(self) -> Outgoing:
        """Take the first of the queue."""
        entry = self.queue.popleft()
        self.queued_bytes -= entry.message.size()
        return entry

    def queued_payload(self) -> int:
        """Bytes of payload that wait in the queue."""
        return sum([len(entry.message.payload) for entry in self.queue])

    def withdraw(self, entry: Outgoing) -> bool:
        """Take ``entry`` out of the queue, as if it had never come. False where it is not there."""
        if entry not in self.queue:
            return False
        self.queue.remove(entry)
        self.queued_bytes -= entry.message.size()
        self.forget(entry)
        return True

    def next_packet_id(self) -> int:
        """An unused, non-zero Packet Identifier [MQTT-2.2.1-3] [MQTT-2.2.1-4].

        Raises ``LocalProtocolError`` when all 65 535 are in use.
        """
        self.settle()
        packet_id = self.last_id
        for _ in range(MAXIMUM_PACKET_ID):
            packet_id = packet_id + 1 if packet_id < MAXIMUM_PACKET_ID else 1
            if packet_id in self.inflight:
                continue
            # Mostly empty, and cheaper to ask whether they are than for one identifier.
            if (self.releasing and packet_id in self.releasing) or (
                self.reserved and packet_id in self.reserved
            ):
                continue
            self.last_id = packet_id
            return packet_id
        raise LocalProtocolError(0x97, "all 65535 Packet Identifiers are in use", "MQTT-2.2.1-3")

    def reserve(self, packet_id: int) -> None:
        """A SUBSCRIBE or UNSUBSCRIBE uses ``packet_id``, until it is out of ``reserved`` again."""
        if self.reserved is NO_IDS:
            self.reserved = set()
        self.reserved.add(packet_id)

    def start(self, entry: Outgoing, now: float) -> None:
        """``entry`` is about to be sent for the first time: it gets its Packet Identifier and takes quota."""
        entry.packet_id = self.next_packet_id()
        self.inflight[entry.packet_id] = entry
        if self.journal is not None and entry.delivery:
            self.journal.add(Sent(self.session_number, entry.delivery, entry.packet_id))
        self.mark_sent(entry, now)

    def mark_sent(self, entry: Outgoing, now: float) -> None:
        """The PUBLISH of ``entry`` goes out on this connection, for the first time or again."""
        entry.sent_at = now
        if not entry.on_wire:
            entry.on_wire = True
            self.quota -= 1  # [MQTT-4.9.0-2]
            if entry.qos == 2:
                self.quota_qos_2 -= 1
            self.sent_bytes += entry.message.size()

    # ---- bursts ----

    def burst_room(self, count: i64, message_size: i64) -> i64:
        """How many of ``count`` messages of that size may go in one burst: there must be quota, and free
        identifiers in a row.
        """
        left: i64 = self.max_sent_bytes - self.sent_bytes
        if left <= 0 or self.has_waiting():
            return 0  # those go first [MQTT-4.6.0-5]
        if count * message_size > left:
            count = (left + message_size - 1) // message_size  # the last may go over it, as it may alone
        if count > self.quota:
            count = self.quota
        last: i64 = self.last_id
        if last >= MAXIMUM_PACKET_ID:
            last = 0
        if count > MAXIMUM_PACKET_ID - last:
            count = MAXIMUM_PACKET_ID - last
        if self.expected:
            # Identifiers from ``expected`` on, all around to ``last``, may be in use.
            ahead: i64 = self.expected - last - 1
            if ahead >= 0 and count > ahead:
                count = ahead
        if self.inflight or self.releasing or self.reserved:
            free: i64 = 0
            while free < count and self._is_free(last + free + 1):
                free += 1
            return free
        return count

    def _is_free(self, packet_id: int) -> bool:
        return not (packet_id in self.inflight or packet_id in self.releasing or packet_id in self.reserved)

    def burst_id(self) -> i64:
        """The first Packet Identifier of a burst that is sent now."""
        last: i64 = self.last_id
        return last + 1 if last < MAXIMUM_PACKET_ID else 1

    def add_burst(self, burst: Burst) -> None:
        """``burst`` is about to be sent: ``burst_room`` and ``burst_id`` have said that and how it may be."""
        if not self.expected:
            self.expected = burst.first_id
        if self.bursts is NO_BURSTS:
            self.bursts = []
        self.bursts.append(burst)
        self.last_id = burst.first_id + burst.count - 1
        self.quota -= burst.count
        self.sent_bytes += burst.bytes_of(burst.count)

    def confirm(self, count: i64) -> None:
        """``count`` PUBACKs from ``expected`` on, as far as that burst goes."""
        burst = self.bursts[self.done]
        self.sent_bytes -= burst.bytes_of(count)
        if burst.delivery:
            self._delivered(burst, count)
        if count < burst.count:
            burst.drop(count)
            self.expected = burst.first_id
        else:
            self.drop_burst()
            self.expected = self.bursts[self.done].first_id if self.bursts else 0
        self.quota += count
        if self.quota > self.quota_maximum:
            self.quota = self.quota_maximum

    def _delivered(self, burst: Burst, count: i64) -> None:
        """The same as ``forget``, of the next ``count`` of a burst that the journal knows."""
        journal = self.journal
        messages = burst.messages
        assert journal is not None
        assert messages is not None
        delivery = burst.delivery
        at: i64 = len(messages) - burst.count
        end = at + count
        while at < end:
            journal.add_later(Delivered(self.session_number, delivery))
            journal.drop_message(messages[at])
            delivery += burst.stride
            at += 1

    def drop_burst(self) -> None:
        """Forget the first burst."""
        bursts = self.bursts
        bursts[self.done] = NO_BURST
        self.done += 1
        if self.done == len(bursts):
            bursts.clear()
            self.done = 0
        elif self.done >= MOST_DONE and 2 * self.done > len(bursts):
            del bursts[: self.done]
            self.done = 0

    def settle(self) -> None:
        """Make an ``Outgoing`` of every PUBLISH of the bursts."""
        if not self.expected:
            return
        self.expected = 0
        for burst in self.bursts:
            for entry in burst.entries():
                self.inflight[entry.packet_id] = entry
        self.bursts.clear()
        self.done = 0

    # ---- answers ----

    def find(self, packet_id: int) -> Outgoing | None:
        """The PUBLISH that waits for PUBACK or PUBREC under this identifier; bursts are settled only for one
        that may be among them, or settled messages would go on settling those sent after them.
        """
        entry = self.inflight.get(packet_id)
        if entry is None and self.expected and packet_id not in self.releasing:
            self.settle()
            entry = self.inflight.get(packet_id)
        return entry

    def acknowledged(self, packet_id: int) -> Outgoing | None:
        """PUBACK: the delivery is over. None where no QoS 1 message waits under this identifier."""
        entry = self.find(packet_id)
        if entry is None or entry.qos != 1:
            return None
        del self.inflight[packet_id]
        self._finish(entry)
        return entry

    def received(self, packet_id: int, now: float) -> Outgoing | None:
        """PUBREC below 0x80: from now on only PUBREL is sent [MQTT-4.3.3-6].

        Also answers a repeated PUBREC; None where no QoS 2 message waits under this identifier.
        """
        entry = self.find(packet_id)
        if entry is None:
            entry = self.releasing.get(packet_id)
        elif entry.qos == 2:
            del self.inflight[packet_id]
            self.releasing[packet_id] = entry
            if self.journal is not None and entry.delivery:
                order = self.journal.next_number()
                self.journal.add(Received(self.session_number, entry.delivery, order))
        else:
            return None
        if entry is not None:
            entry.sent_at = now
        return entry

    def refused(self, packet_id: int) -> Outgoing | None:
        """PUBREC of 0x80 or more: the delivery is over [MQTT-4.4.0-2]."""
        entry = self.inflight.get(packet_id)
        if entry is None or entry.qos != 2:
            return None
        del self.inflight[packet_id]
        self._finish(entry)
        return entry

    def completed(self, packet_id: int) -> Outgoing | None:
        """PUBCOMP: the delivery is over. None where no PUBREL waits under this identifier."""
        entry = self.releasing.pop(packet_id, None)
        if entry is not None:
            self._finish(entry)
        return entry

    def abandon(self, entry: Outgoing) -> None:
        """End a delivery that was started and cannot be sent, as if it were complete [MQTT-3.1.2-25]."""
        self.inflight.pop(entry.packet_id, None)
        self._finish(entry)

    def forget(self, entry: Outgoing) -> None:
        """A delivery ends without the peer: expired, dropped, too large. It is in no queue any more."""
        if self.journal is not None and entry.delivery:
            self.journal.add_later(Delivered(self.session_number, entry.delivery))
            self.journal.drop_message(entry.message)
            entry.delivery = 0

    def _finish(self, entry: Outgoing) -> None:
        # Only what was sent on this connection took quota from it (4.9).
        if entry.on_wire:
            entry.on_wire = False
            self.sent_bytes -= entry.message.size()
            if self.quota < self.quota_maximum:
                self.quota += 1
            if entry.qos == 2:
                self.quota_qos_2 += 1
        self.forget(entry)

    # ---- looking ----

    def inflight_count(self) -> int:
        """How many PUBLISH packets wait for PUBACK or PUBREC."""
        count = len(self.inflight)
        for burst in self.bursts:
            count += burst.count
        return count

    def unfinished(self) -> list[Outgoing]:
        """Everything not yet over, in the order of sending: inflight, releasing, then the queue."""
        self.settle()
        return [*self.inflight.values(), *self.releasing.values(), *self.queue]
