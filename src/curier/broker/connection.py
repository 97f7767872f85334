"""One client's Network Connection at work: its packets, turned into calls of those who deal with them."""

from __future__ import annotations

from typing import final

from curier.broker import (
    connecting,
    delivery,
    keeping,
    memory,
    pacing,
    piecemeal,
    publishing,
    stalling,
    subscribing,
    telling,
    unfinished,
)
from curier.broker.effects import CatchUp
from curier.broker.entrances import Entrance
from curier.broker.fast_lane import fast_lane
from curier.broker.fetching import send_retained
from curier.broker.lanes import set_lanes
from curier.broker.model import NOTHING, BrokerConnection, ServerSession
from curier.broker.state import BrokerState
from curier.codec.constants import PUBLISH, SUBSCRIBE, UNSUBSCRIBE
from curier.codec.packets import Auth, Connect, Disconnect, Subscribe, Unsubscribe
from curier.codec.publish import IncomingPublish
from curier.codec.subscribe import parse_subscribe
from curier.errors import ProtocolError
from curier.protocol.arriving import Arriving
from curier.protocol.connection import CLOSED, CONNECTED, NO_HELD
from curier.session.outgoing import Outgoing


@final
class ServedConnection(BrokerConnection):
    """One client, with the broker behind it."""

    def __init__(
        self, broker: BrokerState, address: str, listener: str, entrance: Entrance, now: float
    ) -> None:
        most = entrance.largest_packet(broker.options.max_packet_size)
        super().__init__(
            broker.next_number(),
            min(most, broker.options.max_connect_size),
            broker.dirty,
            broker.traffic,
            address,
            listener,
            entrance,
            now,
        )
        self.broker: BrokerState = broker
        self.mount = broker.mount(entrance.mount)
        self.journal = broker.journal
        self.max_user_properties = broker.options.max_user_properties
        self.max_property_length = broker.options.max_property_length
        self.max_request_size = broker.options.max_request_size
        if broker.hooks.packet is not None or broker.hooks.witness is not None:
            self.tap = broker.tap
        self.has_permissions = broker.asks_authorization or broker.router.judge is not None
        self.routes = [NOTHING] * 6 if self.has_permissions else broker.open_routes
        self.generation = broker.router.cache.generation
        self.pace: pacing.Pace | None = pacing.pace(broker, self, now)
        self.holding: pacing.Holding | None = pacing.outflow(broker, self, now)
        self.outflow = self.holding

    def change_pace(self, now: float) -> None:
        """Other rates hold from now on."""
        pace, holding = self.pace, self.holding
        self.pace = pacing.pace(self.broker, self, now)
        self.outflow = self.holding = pacing.outflow(self.broker, self, now)
        set_lanes(self.broker, self)
        if pace is not None:
            pace.end(now)
        if holding is not None:
            holding.end(now)

    # ---- entries: what is raised stays here, and costs this client (``faults``) ----

    def receive(self, chunk: bytes, now: float) -> None:
        """Bytes came, in a chunk of any size."""
        self.entrance.bytes_received += len(chunk)
        try:
            super().receive(chunk, now)
        except Exception as error:
            self.broker.faults.met("working on what came", error, self)
        if self.pace is not None:
            self.pace.is_over(now)
        if self.broker.faults.is_due:
            keeping.settle(self.broker, now)

    def take_output(self) -> bytes:
        """Everything to be written now, as one piece; the connection is clean afterwards."""
        pieces = self.take_pieces()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def take_pieces(self) -> list[bytes]:
        """The same, with each large piece by itself: others may be sent it, too."""
        session = self.server_session
        if session is not None and session.retained_sends:
            self._fetch(session)
        self.is_dirty = False
        return self.pieces()

    def take_single(self) -> bytes | None:
        """The same where it is one piece, as nearly always; None where ``take_pieces`` gives more."""
        session = self.server_session
        if session is not None and session.retained_sends:
            self._fetch(session)
        if self.has_large_output or self.has_blocks:
            return None
        self.is_dirty = False
        output = self.output
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    def _fetch(self, session: ServerSession) -> None:
        """Have retained messages for new subscriptions go with what is written now."""
        try:
            send_retained(self.broker, session, self, self.now)
        except Exception as error:
            self.broker.faults.met("sending retained messages", error, self)
        if self.broker.faults.is_due:
            keeping.settle(self.broker, self.now)

    # ---- packets in (ServerConnection) ----

    def fast_lane(self, data: bytes, pos: int, end: int, now: float) -> int:
        pace = self.pace
        if pace is not None:
            if pace.is_over(now):
                return pos
            end = pace.part(pos, end)
        if not self.is_fast:
            return pos
        before = self.traffic.publishes_received
        at = fast_lane(self.broker, self, data, pos, end, now)
        if pace is not None:
            pace.count(self.traffic.publishes_received - before, at - pos)
        return at

    def packet(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        is_done = self._work_on(data, pos, stop, now)
        if self.pace is not None:
            self.pace.worked_on(is_done, data[pos] >> 4 == PUBLISH, stop - pos)
        return is_done

    def _work_on(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        """The same, whatever the rate."""
        kind = data[pos] >> 4
        if kind == PUBLISH:
            return self._publication(data, pos, stop, now)
        if kind == SUBSCRIBE and self.broker.is_clustered and self.state == CONNECTED:
            if not self.has_caught_up:
                self.paused = True
                self.broker.effects.append(CatchUp(self))
                return False
            self.has_caught_up = False
        if self.state == CONNECTED and (kind == SUBSCRIBE or kind == UNSUBSCRIBE):
            if stop - pos > piecemeal.LARGE:
                piecemeal.begin(self.broker, self, data, pos, stop, now)
                return True
        if kind == SUBSCRIBE and self.state == CONNECTED:
            plain = parse_subscribe(data, pos, stop, self.version)
            if plain is not None:
                return subscribing.subscribe(self.broker, self, plain, now)
        return super().packet(data, pos, stop, now)

    def _publication(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        """A PUBLISH, which may have to be put off, with all that follow it."""
        if self.tap is None and self.broker.router.witness is not None:
            self._meet(data[pos:stop], now)
        if self.stalled is None and super().packet(data, pos, stop, now):
            return True
        stalled = self.stalled
        if stalled is None:
            return False
        stalling.put_off(self, stalled, data[pos:stop])
        return True

    def _meet(self, packet: bytes, now: float) -> None:
        """Somebody looks on at some topics: if this is one of them, this client is seen from now on."""
        if telling.meets(self.broker, self, packet):
            set_lanes(self.broker, self)
            if self.tap is not None:
                self.tap.packet(self, False, packet, now)

    def large_publish(self, arriving: Arriving, now: float) -> bool:
        self.is_owed = True
        if self.tap is None and self.broker.router.witness is not None:
            self._meet(arriving.packet(), now)
        if self.stalled is None and super().large_publish(arriving, now):
            if self.pace is not None:
                self.pace.worked_on(True, True, arriving.size)
            return True
        stalled = self.stalled
        if stalled is None:
            return False
        stalling.put_off(self, stalled, arriving.packet())
        return True

    def accept_connect(self, packet: Connect, now: float) -> None:
        connecting.begin(self.broker, self, packet, now)

    def accept_auth(self, packet: Auth, now: float) -> None:
        connecting.exchange(self.broker, self, packet, now)

    def accept_publish(self, publish: IncomingPublish, now: float) -> int:
        return publishing.accept(self.broker, self, publish, now)

    def accept_subscribe(self, packet: Subscribe, now: float) -> bool:
        return subscribing.subscribe(self.broker, self, subscribing.plain(self.broker, packet), now)

    def accept_unsubscribe(self, packet: Unsubscribe, now: float) -> None:
        subscribing.unsubscribe(self.broker, self, packet, now)

    def accept_disconnect(self, packet: Disconnect, now: float) -> None:
        connecting.disconnect(self.broker, self, packet, now)

    def finished(self, entry: Outgoing, reason_code: int, now: float) -> None:
        telling.delivered(self.broker, self, entry.message, reason_code)

    def rests(self) -> bool:
        self.paused = True
        self.is_resting = True
        self.broker.continue_later(self)
        return True

    def waits(self, change: int, now: float) -> None:
        memory.input_waits(self.broker, self, change, now)
        if change > 0:
            unfinished.begun(self.broker, self, now)

    # ---- output ----

    def pump(self, now: float) -> None:
        if self.server_session is not None and self.state == CONNECTED:
            delivery.pump(self.broker, self.server_session, self, now)

    def send_after(self, batch: int, packet: bytes, credit: int = 0, payload: bytes = b"") -> None:
        super().send_after(batch, packet, credit, payload)
        if not self.is_kept:
            self.is_kept = True
            self.broker.holding.append(self)

    # ---- the end ----

    def fail(self, error: ProtocolError, now: float) -> None:
        telling.broke_rule(self.broker, self, error)
        super().fail(error, now)

    def send_disconnect(self, reason_code: int, why: str, reference: str | None) -> None:
        if self.broker.hooks.depth:  # a hook asks for it: what is going on goes first
            self.broker.faults.end_soon(self, reason_code, why)
        else:
            super().send_disconnect(reason_code, why, reference)

    def end(self, reason_code: int, why: str, now: float) -> None:
        """The Network Connection is over, whoever ended it; once."""
        if self.state == CLOSED:
            return
        if self.broker.hooks.depth:
            self.broker.faults.end_soon(self, reason_code, why)
            return
        was_connected = self.state == CONNECTED
        self.state = CLOSED
        if self.pace is not None:
            self.pace.end(now)
        if self.holding is not None:
            self.holding.end(now)
        self.ending_code = reason_code
        self.paused = False
        self.is_fast = False
        self.held = NO_HELD
        self.held_count = 0
        self.drop_waiting(now)
        memory.output_waits(self.broker, self, 0, now)
        if self.broker.hooks.witness is not None:
            telling.closed(self.broker, self, why)
        connecting.ended(self.broker, self, was_connected, reason_code, why, now)
