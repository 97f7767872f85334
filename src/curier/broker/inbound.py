"""What clients of other nodes of a cluster have published with QoS 0 (``outbound``): it takes the fast lane,
as if those clients were here.

They were asked everything there: whether they may publish that, and so fast. So nothing is refused here, and
nobody can be told to wait. Where too much waits, it is given out without regard to time.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from curier.broker.effects import Packets
from curier.broker.entrances import Entrance
from curier.broker.fast_lane import fast_lane
from curier.broker.model import ANOTHER, BrokerConnection, ServerSession
from curier.broker.spreading import give
from curier.broker.state import BrokerState
from curier.codec.primitives import NO_LIMIT, packet_end
from curier.codec.publish import parse_publish
from curier.protocol.connection import CONNECTED, STEPS_AT_ONCE, Traffic
from curier.session.message import NEVER, ApplicationMessage

MOST_WAITING: Final = 16 << 20  # bytes of packets

LATE: Final = 1.0
"""Seconds from which on it matters to Message Expiry Intervals how long it was on its way [MQTT-3.3.2-6]."""


@final
class Inbound(BrokerConnection):
    """The place of all those clients: a connection without a network, which nothing is sent to, and whose
    session is nobody's.
    """

    def __init__(self, broker: BrokerState, now: float) -> None:
        # What comes here has come in, and was counted, at its own node.
        super().__init__(0, NO_LIMIT, broker.dirty, Traffic(), "another node", "", Entrance(), now)
        self.broker: BrokerState = broker
        self.state = CONNECTED
        self.routes = broker.open_routes
        session = ServerSession("", 0, None)
        session.connection = self
        self.server_session = session
        self.coming: deque[Packets] = deque()
        self.at: int = 0  # in the first of those
        self.coming_bytes: int = 0

    def take(self, packets: Packets, now: float) -> None:
        """Give them to receivers here: now, or when there is time."""
        if not packets.size:
            return
        self.coming.append(packets)
        self.coming_bytes += packets.size
        self.proceed(now)
        while self.coming_bytes > MOST_WAITING:
            self._give_all(self.coming[0], now)
            self._is_done()

    def proceed(self, now: float) -> None:
        """Go on with what waits."""
        self.now = now
        self.steps = 0
        if self.paused:
            return
        self.is_resting = False
        hooks = self.broker.hooks
        self.is_fast = not self.broker.slow_lane_only and hooks.packet is None and hooks.delivered is None
        while self.coming and not self.paused:
            self.broker.is_inbound = True
            packets = self.coming[0]
            try:
                if self._is_plain(packets, now):
                    self._go_on(packets, now)
                else:
                    self._give_all(packets, now)
            except Exception as error:
                self.broker.faults.note("messages of another node, with QoS 0, are lost", error)
                self.at = packets.size
            self.broker.is_inbound = False
            if self.at >= packets.size:
                self._is_done()

    def _is_done(self) -> None:
        self.coming_bytes -= self.coming.popleft().size
        self.at = 0

    def _is_plain(self, packets: Packets, now: float) -> bool:
        """Is none of its publishers here by now, who may want nothing of its own, and none too late?"""
        sessions = self.broker.sessions
        for publisher in packets.publishers:
            if publisher in sessions:
                return False
        return not packets.may_expire or now - packets.sent_at < LATE

    def _go_on(self, packets: Packets, now: float) -> None:
        """Work on them, as on a chunk of a client."""
        data = packets.whole()
        end = len(data)
        self.version = packets.version
        while self.at < end:
            self.at = fast_lane(self.broker, self, data, self.at, end, now)
            if self.at >= end or self.paused:
                return
            if self.steps >= STEPS_AT_ONCE:
                self.rests()
                return
            self.steps += 1
            self.at = self._give_one(data, packets, None, now)

    def _give_all(self, packets: Packets, now: float) -> None:
        """The same, message by message, each for its publisher."""
        data = packets.whole()
        end = 0
        for place, publisher in enumerate(packets.publishers):
            end += packets.sizes[place]
            sender = self.broker.sessions.get(publisher)
            while self.at < end:
                self.at = self._give_one(data, packets, sender, now)

    def _give_one(self, data: bytes, packets: Packets, sender: ServerSession | None, now: float) -> int:
        """The next packet, by the general way; returns where it ends."""
        stop = packet_end(data, self.at, packets.version)
        publish = parse_publish(data, self.at, stop, packets.version)
        expires_at = NEVER
        if publish.expiry_interval >= 0:
            late = now - packets.sent_at
            if late >= LATE and late >= publish.expiry_interval:  # [MQTT-3.3.2-5]
                return stop
            expires_at = min(now, packets.sent_at) + publish.expiry_interval
        message = ApplicationMessage(publish.topic, publish.payload, 0, False, publish.properties, expires_at)
        message.owner = ANOTHER
        give(self.broker, self.broker.router.route(message.topic), message, sender, now)
        return stop

    def rests(self) -> bool:
        """There is no time left in this turn."""
        self.paused = True
        self.is_resting = True
        self.broker.continue_later(self)
        return True

    def end(self, reason_code: int, why: str, now: float) -> None:
        """An error was met with it, which costs the message that it was met with: this never ends."""
        self.is_ending = self.is_congested = False
        self.spread = None
        self.paused = False
        self.rests()

    def give_up(self, reason_code: int, why: str, now: float) -> None:
        """There is nobody to be told of it."""
