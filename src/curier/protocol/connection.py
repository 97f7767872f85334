"""What both roles do on a Network Connection: cut chunks into packets, acknowledge, hold, send.

No I/O: ``receive`` takes the bytes that came, ``output`` collects the bytes to go, and ``dirty`` is the list
a connection puts itself on, once, when it has output. Whoever drives the core writes the output of all
dirty connections when the turn ends, each with one write.

A connection is ``paused`` while a question about it is open; its bytes wait, it goes on with ``proceed``.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from curier.codec.constants import (
    MQTT_50,
    MQTT_311,
    PACKET_IDENTIFIER_NOT_FOUND,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    PUBCOMP,
    PUBLISH,
    PUBREL,
    QUOTA_EXCEEDED,
)
from curier.codec.encode import encode_ack
from curier.codec.primitives import NO_LIMIT, encode_two, join_small, packet_end
from curier.codec.publish import head_end
from curier.errors import ProtocolError, RemoteProtocolError
from curier.protocol.arriving import LARGE, Arriving
from curier.session.journal import Journal
from curier.session.outgoing import Outgoing
from curier.session.session import Session

# States of a connection
CONNECTING: Final = 0  # no CONNECT yet (server), no CONNACK yet (client)
AUTHENTICATING: Final = 1  # CONNECT came, the exchange of section 4.12 goes on
CONNECTED: Final = 2
CLOSED: Final = 3

STEPS_AT_ONCE: Final = 1024
"""What is worked on of one connection before others have their turn. A step is a packet, or a run of equal
ones on the fast lane, or a message for one of its receivers that are not plain; interpreted, it takes up to
12 microseconds."""

SMALL_CHUNK: Final = 16 * 1024  # bytes; larger chunks are joined once only

MUCH: Final = 32 * 1024
"""Bytes that cost more to copy than it does to work on one packet alone."""


@final
class Traffic:
    """Counters of everything that passed, shared by all connections of a core."""

    def __init__(self) -> None:
        self.packets_received: i64 = 0
        self.packets_sent: i64 = 0
        self.publishes_received: i64 = 0
        self.publishes_sent: i64 = 0
        self.publish_bytes_received: i64 = 0  # payloads
        self.publish_bytes_sent: i64 = 0
        self.bytes_received: i64 = 0
        self.bytes_sent: i64 = 0
        self.tolerated: i64 = 0  # packets of a peer that broke a rule, and were taken

    def count_sent(self, count: i64, payload_bytes: i64) -> None:
        """So many PUBLISH packets are sent, with payloads of so many bytes together."""
        self.packets_sent += count
        self.publishes_sent += count
        self.publish_bytes_sent += payload_bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class Tap:
    """Sees every Control Packet of a connection, whole, as bytes. Keeps that connection off the fast lane."""

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        """One packet; ``data`` includes the Fixed Header. Called in the order of the wire."""


@final
@mypyc_attr(acyclic=True)
class Held:
    """Output that waits until batch ``batch`` of the journal is durable; ``credit`` is Receive Maximum it
    gives back. Where that is more than 1, it is so many PUBACKs of four bytes.
    """

    __slots__ = ("batch", "credit", "data", "payload")

    def __init__(self, batch: int, data: bytes, credit: int, payload: bytes) -> None:
        self.batch = batch
        self.data = data
        self.credit = credit
        self.payload = payload  # the end of the packet, where that is large

    def count(self) -> int:
        """How many packets it is."""
        return self.credit if self.credit > 1 else 1

    def packets(self) -> list[bytes]:
        """Each of them, but for a large payload."""
        if self.credit <= 1:
            return [self.data]
        return [self.data[at : at + 4] for at in range(0, len(self.data), 4)]


NO_HELD: Final[deque[Held]] = deque()  # of a connection that rests; see ``session.outgoing``


class Connection:
    """State of one Network Connection that does not depend on the role."""

    def __init__(self, number: int, max_packet_size: int, dirty: list[Connection], traffic: Traffic) -> None:
        self.number: int = number
        self.state: int = CONNECTING
        self.paused: bool = False
        self.version: int = MQTT_311
        self.session: Session | None = None
        self.journal: Journal | None = None  # set where answers wait for more than the session's own records
        self.max_packet_size: int = max_packet_size  # larger ones are refused
        self.max_packet_statement: str = "MQTT-3.2.2-15"  # the statement they break
        self.max_request_size: int = NO_LIMIT  # of a packet that is not PUBLISH: it is worked on in one piece
        self.max_property_length: int = NO_LIMIT  # of a PUBLISH
        self.peer_max_packet_size: int = 0  # what the peer takes, or 0: no limit
        self.received_at: float = 0.0
        self.sent_at: float = 0.0
        self.now: float = 0.0  # of the turn that is being worked on
        self.output: list[bytes] = []
        self.is_dirty: bool = False
        self.has_large_output: bool = False  # is there a large payload in it?
        self.has_blocks: bool = False  # are there large pieces that are whole packets?
        self.dirty: list[Connection] = dirty
        self.held: deque[Held] = NO_HELD
        self.held_count: int = 0  # of packets in it
        self.publish_batch: int = 0  # the newest batch that a held PUBLISH waits for, or 0: none is held
        self.receive_quota: int = 65535  # unfinished PUBLISH packets the peer may still send (4.9)
        self.receive_quota_maximum: int = 65535
        self.tap: Tap | None = None
        self.traffic: Traffic = traffic
        self._tail: list[bytes] = []  # chunks not yet worked on; joined once, when they are a whole packet
        self._tail_size: int = 0
        self._is_again: bool = False  # was the packet to work on next put off?
        self.steps: i64 = 0  # of this time, as ``STEPS_AT_ONCE`` counts them
        self.is_resting: bool = False  # paused because of them, and for nothing else
        self._wanted: int = 0  # size of the packet the tail begins with, or 0: not known
        self._arriving: Arriving | None = None  # a large PUBLISH; what the tail has came behind it
        self.unfinished_since: float = 0.0  # when what waits first began to wait

    # ---- bytes in ----

    def receive(self, chunk: bytes, now: float) -> None:
        """Take a chunk of any size. Errors of the peer are answered and end the connection, never raised."""
        if self.state == CLOSED:
            return
        self.now = now
        self.received_at = now
        self.traffic.bytes_received += len(chunk)
        missing = self._wanted - self._tail_size
        if self._tail and 0 < missing < len(chunk) - MUCH:  # joined to what has begun, it would all be copied
            self._take_chunk(chunk[:missing], now)
            if not self._tail and not self.paused and self._arriving is None:
                self._consume(chunk, now, missing)
                return
            chunk = chunk[missing:]
        self._take_chunk(chunk, now)

    def _take_chunk(self, chunk: bytes, now: float) -> None:
        """Work on a chunk, behind what has come before."""
        if self.state == CLOSED:
            return
        arriving = self._arriving
        if arriving is not None and arriving.missing:
            taken = arriving.take(chunk)
            self.waits(taken, now)
            if arriving.missing:
                return
            chunk = chunk[taken:]
        if self._tail or self.paused:
            if chunk:
                if not self.waiting_bytes():
                    self.unfinished_since = now
                self._keep(chunk)
                self.waits(len(chunk), now)
            if self.paused or (arriving is None and self._tail_size < self._wanted):
                return
            chunk = self._take_tail(now)
        self._consume(chunk, now)

    def proceed(self, now: float) -> None:
        """Work on what waited while the connection was paused."""
        self.now = now
        self.received_at = now  # nobody has read from it, perhaps
        if self.paused or self.state == CLOSED:
            return
        if self._arriving is not None:
            if not self._arriving.missing:
                self._consume(self._take_tail(now), now)
        elif self._tail and self._tail_size >= self._wanted:
            self._consume(self._take_tail(now), now)

    def waiting_bytes(self) -> int:
        """Bytes received and not yet worked on."""
        return self._tail_size + (self._arriving.size if self._arriving is not None else 0)

    def begun(self) -> i64:
        """How many of the bytes that come next belong to a packet that has begun; -1: nobody knows yet."""
        if self._arriving is not None:
            return self._arriving.missing or -1
        if not self._tail_size:
            return 0
        return self._wanted - self._tail_size if self._wanted and not self.paused else -1

    def drop_waiting(self, now: float) -> None:
        """Forget what was received and not yet worked on."""
        self.waits(-self.waiting_bytes(), now)
        self._tail = []
        self._tail_size = 0
        self._arriving = None

    def _keep(self, chunk: bytes) -> None:
        """Put a chunk behind those that wait.

        Small ones are joined in ever larger pieces: each byte is copied a few times, and a packet that comes
        byte by byte does not take a hundred times its size.
        """
        tail = self._tail
        tail.append(chunk)
        self._tail_size += len(chunk)
        while len(tail) > 1 and len(tail[-1]) < SMALL_CHUNK and len(tail[-2]) <= len(tail[-1]):
            last = tail.pop()
            tail[-1] += last

    def _take_tail(self, now: float) -> bytes:
        data = self._tail[0] if len(self._tail) == 1 else b"".join(self._tail)
        if data:
            self.waits(-self._tail_size, now)
        self._tail = []
        self._tail_size = 0
        self._wanted = 0
        return data

    def _consume(self, data: bytes, now: float, begin: int = 0) -> None:
        """Work on ``data`` from there on; what is left of it waits."""
        try:
            pos = self._process(data, begin, now) if self._arriving is None or self._arrived(now) else begin
        except ProtocolError as error:
            self.fail(self.explained(error, data[begin:]), now)
            return
        if pos < len(data) and self.state != CLOSED:
            if self._arriving is None:
                self.unfinished_since = now
            self._tail = [data[pos:] if pos else data]
            self._tail_size = len(data) - pos
            self.waits(self._tail_size, now)

    def _arrived(self, now: float) -> bool:
        """Work on the large PUBLISH that has come to its end. False: paused, work on it again."""
        arriving = self._arriving
        assert arriving is not None
        if not self._is_again:
            self.traffic.packets_received += 1
            if self.tap is not None:
                self.tap.packet(self, False, arriving.packet(), now)
        self._is_again = not self.large_publish(arriving, now)
        if self._is_again:
            return False
        if self._arriving is not None:  # it was not the end of the connection
            self.waits(-arriving.size, now)
            self._arriving = None
        return True

    def _process(self, data: bytes, pos: int, now: float) -> int:
        """Work on all whole packets of ``data`` from ``pos``; returns where the first unfinished or postponed
        one begins.
        """
        end = len(data)
        self.steps = 0
        self.is_resting = False
        while pos < end and not self.paused and self.state != CLOSED:
            if not self._is_again:
                pos = self.fast_lane(data, pos, end, now)
            if pos >= end or self.paused:
                break
            if self.steps >= STEPS_AT_ONCE:
                if self.rests():
                    break
                self.steps = 0
            stop = packet_end(data, pos, self.version)
            if stop < 0 or stop > end or stop - pos > self.max_packet_size:
                self.begins(data, pos)
            if stop < 0:
                break
            size = stop - pos
            if size > self.max_packet_size or size > LARGE:
                self._look_at_large(data, pos, stop, now)
                if self._arriving is not None:
                    return end
            if stop > end:
                if not self._wanted:
                    self._wanted = size
                break
            if not self._packet(data, pos, stop, now):
                break  # paused at this packet; it is worked on again when the answer is there
            self.steps += 1
            pos = stop
        return pos

    def _look_at_large(self, data: bytes, pos: int, stop: int, now: float) -> None:
        """Refuse a packet that is larger than any may be, or its kind. The payload of a PUBLISH that is not
        whole is gathered from here on, or when all that comes before it is there.
        """
        size = stop - pos
        if size > self.max_packet_size:
            why = f"a packet of {size} bytes is larger than the {self.max_packet_size} accepted here"
            raise RemoteProtocolError(PACKET_TOO_LARGE, why, self.max_packet_statement)
        if data[pos] >> 4 != PUBLISH:
            if size > self.max_request_size:
                why = (
                    f"a packet of {size} bytes; {self.max_request_size} are accepted here of all but PUBLISH"
                )
                raise RemoteProtocolError(QUOTA_EXCEEDED, why)
            return
        end = len(data)
        at = head_end(data, pos, end, self.version, self.max_property_length)
        if stop <= end or at > stop or self.state != CONNECTED:
            return
        if at > end:
            self._wanted = at - pos
            return
        arriving = self._arriving = Arriving(data[pos:at], stop - at)
        arriving.take(data[at:])
        self.unfinished_since = now
        self.waits(arriving.size, now)

    def _packet(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        if not self._is_again:
            self.traffic.packets_received += 1
            if self.tap is not None:
                self.tap.packet(self, False, data[pos:stop], now)
        self._is_again = not self.packet(data, pos, stop, now)
        return not self._is_again

    # ---- what a role decides ----

    def fast_lane(self, data: bytes, pos: int, end: int, now: float) -> int:
        """Work on as many plain packets from ``pos`` as can be done without looking closely; where it
        stopped.
        """
        return pos

    def begins(self, data: bytes, pos: int) -> None:
        """What has come of a packet that is not complete, or too large: is it worth waiting for the rest?"""

    def rests(self) -> bool:
        """Much of what came at once is done: pause, if others may wait, and see to it that it goes on."""
        return False

    def waits(self, change: int, now: float) -> None:
        """``change`` more bytes wait for the rest of their packet, or, negative, fewer."""

    def packet(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        """Work on the packet that fills ``data[pos:stop]``. False: paused, give it to me again."""
        return True

    def large_publish(self, arriving: Arriving, now: float) -> bool:
        """Work on a large PUBLISH. False: paused, give it to me again."""
        return True

    def explained(self, error: ProtocolError, data: bytes) -> ProtocolError:
        """The error, or a better one, that was met in ``data``."""
        return error

    def fail(self, error: ProtocolError, now: float) -> None:
        """The peer broke a rule: answer as its version has it, and close."""

    def finished(self, entry: Outgoing, reason_code: int, now: float) -> None:
        """An outgoing QoS 1 or 2 message was acknowledged or refused."""

    def pump(self, now: float) -> None:
        """There may be room to send what waits in the session."""

    def puback_for_qos_2(self, packet_id: int, reason_code: int, now: float) -> None:
        """PUBACK came where a message with QoS 2 waits for PUBREC, or for PUBCOMP."""
        raise RemoteProtocolError(
            PROTOCOL_ERROR, f"PUBACK for QoS 2 Packet Identifier {packet_id}", "MQTT-4.3.3-4"
        )

    # ---- bytes out ----

    def send(self, packet: bytes, payload: bytes = b"") -> None:
        """Send one whole packet when the turn ends; its ``payload`` where that is large, which others may be
        sent, too.
        """
        self.traffic.packets_sent += 1
        if self.tap is not None:
            self.tap.packet(self, True, packet + payload if payload else packet, self.now)
        self.output.append(packet)
        if payload:
            self.output.append(payload)
            self.has_large_output = True
        if not self.is_dirty:
            self.is_dirty = True
            self.dirty.append(self)

    def pieces(self) -> list[bytes]:
        """The output, all small parts in a row joined, and every large one by itself; there is none behind
        it.
        """
        output = self.output
        if self.has_large_output or self.has_blocks:
            self.has_large_output = False
            self.has_blocks = False
            pieces = join_small(output)
        else:
            pieces = [output[0] if len(output) == 1 else b"".join(output)]
        output.clear()
        return pieces

    def send_after(self, batch: int, packet: bytes, credit: int = 0, payload: bytes = b"") -> None:
        """Send one whole packet, or ``credit`` PUBACKs, when ``batch`` of the journal is durable, behind all
        held before.
        """
        if self.held is NO_HELD:
            self.held = deque()
        self.held.append(Held(batch, packet, credit, payload))
        self.held_count += credit if credit > 1 else 1

    def hold_publish(self, batch: int) -> int:
        """The batch that a QoS 1 or 2 PUBLISH waits for which needs ``batch`` itself (0: none): no such
        PUBLISH overtakes another, or one day they would come again in another order [MQTT-4.6.0-1].
        """
        if batch > self.publish_batch:
            self.publish_batch = batch
        if self.publish_batch and self.held:  # what is held goes in order, so it waits for all before it
            self.publish_batch = max(self.publish_batch, self.held[-1].batch)
        return self.publish_batch

    def answer(self, packet: bytes, records_before: int, credit: int = 0) -> None:
        """Send what answers a packet: after the records its handling made, and after all answers before
        it.
        """
        journal = self._journal()
        if journal is not None and journal.length != records_before:
            self.send_after(journal.number, packet, credit)
        elif self.held:
            self.send_after(self.held[-1].batch, packet, credit)
        else:
            self.return_credit(credit)
            self.send(packet)

    def release(self, batch: int, now: float) -> None:
        """All batches up to ``batch`` are durable: send what waited for them, in order."""
        self.now = now
        if batch >= self.publish_batch:
            self.publish_batch = 0
        held = self.held
        while held and held[0].batch <= batch:
            item = held.popleft()
            self.held_count -= item.count()
            self.return_credit(item.credit)
            if item.credit <= 1:
                self.send(item.data, item.payload)
            elif self.tap is None:
                self.traffic.packets_sent += item.credit - 1  # and one more where it is sent
                self.send(item.data)
            else:
                for packet in item.packets():
                    self.send(packet)

    def return_credit(self, credit: int) -> None:
        """``credit`` PUBLISH packets of the peer are answered for good (4.9)."""
        self.receive_quota += credit
        if self.receive_quota > self.receive_quota_maximum:
            self.receive_quota = self.receive_quota_maximum

    def journal_length(self) -> int:
        """Records made so far; give it to ``answer``."""
        journal = self._journal()
        return journal.length if journal is not None else 0

    def _journal(self) -> Journal | None:
        # What a client without a durable session sends may still concern sessions that are.
        if self.journal is None and self.session is not None:
            return self.session.journal
        return self.journal

    # ---- QoS 1 and 2, the same for both roles (4.3.2, 4.3.3) ----

    def on_puback(self, packet_id: int, reason_code: int, now: float) -> None:
        """PUBACK. One for an unknown identifier is a leftover of an earlier connection and does no harm."""
        session = self.session
        assert session is not None
        entry = session.outgoing.acknowledged(packet_id)
        if entry is not None:
            self.finished(entry, reason_code, now)
            self.pump(now)
        elif packet_id in session.outgoing.inflight or packet_id in session.outgoing.releasing:
            self.puback_for_qos_2(packet_id, reason_code, now)
        else:
            self.check_not_reserved("PUBACK", packet_id)

    def on_pubrec(self, packet_id: int, reason_code: int, now: float) -> None:
        """PUBREC: answered with PUBREL [MQTT-4.3.3-4], or the end of the delivery if it refuses."""
        session = self.session
        assert session is not None
        outgoing = session.outgoing
        if reason_code >= 0x80:
            refused = outgoing.refused(packet_id)
            if refused is not None:
                self.finished(refused, reason_code, now)
                self.pump(now)
                return
            self.check_not_qos_1("PUBREC", packet_id)
            return
        before = self.journal_length()
        entry = outgoing.received(packet_id, now)
        if entry is not None:
            # PUBREL says that PUBREC was seen, which must be durable first.
            self.answer(b"\x62\x02" + encode_two(packet_id), before)
        else:
            self.check_not_qos_1("PUBREC", packet_id)
            self.answer(
                encode_ack(PUBREL, packet_id, PACKET_IDENTIFIER_NOT_FOUND, None, self.version), before
            )

    def on_pubrel(self, packet_id: int, now: float) -> None:
        """PUBREL: answered with PUBCOMP, whether or not the identifier is known [MQTT-4.3.3-11]."""
        session = self.session
        assert session is not None
        before = self.journal_length()
        if session.incoming.release(packet_id):
            self.answer(b"\x70\x02" + encode_two(packet_id), before, 1)
        else:
            self.answer(
                encode_ack(PUBCOMP, packet_id, PACKET_IDENTIFIER_NOT_FOUND, None, self.version), before
            )

    def on_pubcomp(self, packet_id: int, reason_code: int, now: float) -> None:
        """PUBCOMP: the delivery is over."""
        session = self.session
        assert session is not None
        outgoing = session.outgoing
        entry = outgoing.completed(packet_id)
        if entry is not None:
            self.finished(entry, reason_code, now)
            self.pump(now)
            return
        self.check_not_qos_1("PUBCOMP", packet_id)
        if packet_id in outgoing.inflight:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"PUBCOMP for Packet Identifier {packet_id} before PUBREC", "MQTT-4.3.3-3"
            )

    def check_not_qos_1(self, answer: str, packet_id: int) -> None:
        """Refuse an answer of QoS 2 to a message of QoS 1, or to a request. One to nothing is a leftover of
        an earlier connection and does no harm.
        """
        session = self.session
        assert session is not None
        entry = session.outgoing.find(packet_id)
        if entry is not None and entry.qos == 1:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"{answer} for QoS 1 Packet Identifier {packet_id}", "MQTT-4.3.2-3"
            )
        self.check_not_reserved(answer, packet_id)

    def check_not_reserved(self, answer: str, packet_id: int) -> None:
        """Refuse an answer to a message where SUBSCRIBE or UNSUBSCRIBE waits for one [MQTT-2.2.1-5]."""
        session = self.session
        assert session is not None
        if packet_id in session.outgoing.reserved:
            why = f"{answer} for Packet Identifier {packet_id} of a SUBSCRIBE or UNSUBSCRIBE"
            raise RemoteProtocolError(PROTOCOL_ERROR, why, "MQTT-2.2.1-5")

    def is_50(self) -> bool:
        return self.version == MQTT_50
