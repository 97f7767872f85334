"""One client's Network Connection as the broker sees it: the server's role, completed with a broker behind
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from curier.broker import connecting, subscribing
from curier.broker.deadlines import Deadline
from curier.broker.delivery import deliver, pump
from curier.broker.effects import PUBLISH_ACTION, UNDECIDED, Authorize, Close
from curier.broker.fast_lane import fast_lane
from curier.broker.fetching import send_retained
from curier.broker.routing import Route
from curier.broker.sessions import ServerSession
from curier.codec.constants import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    MQTT_50,
    NO_MATCHING_SUBSCRIBERS,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    PAYLOAD_FORMAT_INVALID,
    QUOTA_EXCEEDED,
    SUBSCRIBE,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
)
from curier.codec.encode import encode
from curier.codec.packets import Auth, Connect, Disconnect, Suback, Subscribe, Unsuback, Unsubscribe
from curier.codec.primitives import PACKET_IDS
from curier.codec.publish import IncomingPublish, Layout, encode_topic_alias, publish_layout
from curier.codec.subscribe import parse_subscribe
from curier.errors import ProtocolError, RemoteProtocolError
from curier.protocol.connection import CLOSED, CONNECTED, Connection, Tap
from curier.protocol.server import PAUSED, ServerConnection
from curier.session.journal import MAX_PENDING_BYTES
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.topics.filters import check_topic_name

if TYPE_CHECKING:
    from curier.broker.core import BrokerCore

MAX_VERDICTS: Final = 4096  # remembered from one packet to the next; more are asked again


@final
class BrokerConnection(ServerConnection):
    """One client. ``address`` and ``listener`` are for people, hooks and authentication."""

    def __init__(self, core: BrokerCore, number: int, address: str, listener: str, now: float) -> None:
        super().__init__(
            number, min(core.options.max_packet_size, connecting.MAX_CONNECT_SIZE), core.dirty, core.traffic
        )
        self.core: BrokerCore = core
        self.journal = core.journal
        if core.hooks.packet is not None:
            self.tap = core.tap
        self.address: str = address
        self.listener: str = listener
        self.attached_at: float = now
        self.received_at = now
        self.server_session: ServerSession | None = None
        self.identity: str | None = None
        self.connect: Connect | None = None  # while it waits for its CONNACK or re-authentication
        self.assigned_client_id: bool = False
        self.authentication_data: bytes | None = None  # to go with CONNACK
        self.authentication_state: object = None
        self.keep_alive: float = 0.0  # seconds without a packet after which it is closed on; 0: never
        self.is_fast: bool = False  # may its packets take the fast lane?
        self.is_congested: bool = False  # more output is waiting than the soft limit allows
        self.unsent: int = 0  # bytes of output not yet taken by the network, those of this turn included
        self.written_unsent: int = 0  # those the network had not taken when it was written last
        self.is_owed: bool = True  # an answer? If not, all that has come lately were acknowledgements.
        self.has_left: bool = False  # with DISCONNECT
        self.discard_will: bool = False
        self.watch: ConnectionWatch | None = None
        self.is_continued: bool = False  # is it on the core's list of those that have more to be sent?
        self.is_kept: bool = False  # does the core have held output of this connection in its list?
        # Routes this client may publish to, by QoS: shared by all where nobody decides permissions.
        self.has_permissions: bool = core.asks_authorization
        self.routes: list[dict[bytes, Route]] = core.open_routes
        if self.has_permissions:
            self.routes = [{}, {}, {}]
        self.generation: int = core.router.cache.generation
        self.verdicts: dict[bytes, int] = {}
        self.questions: int = 0  # Authorize effects that are not answered
        self.topic_aliases: dict[bytes, int] | None = None  # chosen for this client; None: it takes none
        self.outgoing_alias_maximum: int = 0

    # ---- lanes ----

    def set_lanes(self) -> None:
        """Decide, here only, whether packets of this client may pass unseen: in (``is_fast``) and out
        (``lane``).
        """
        core = self.core
        hooks = core.hooks
        self.tap = core.tap if hooks.packet is not None else None
        self.is_owed = True
        is_seen = self.tap is not None or core.slow_lane_only
        connected = self.state == CONNECTED
        self.is_fast = (
            connected
            and not is_seen
            and hooks.publish is None
            and hooks.delivered is None
            and core.options.maximum_qos == 2
            and not core.options.check_payload_format
        )
        session = self.server_session
        if session is not None and session.connection is self:
            plain = (
                connected
                and not is_seen
                and not self.is_congested
                and self.topic_aliases is None
                and not self.peer_max_packet_size
                and session.journal is None
                and not core.options.queue_qos0
            )
            session.lane = 0 if not plain else MQTT_50 if self.version == MQTT_50 else 4

    def fast_lane(self, data: bytes, pos: int, end: int, now: float) -> int:
        return fast_lane(self, data, pos, end, now) if self.is_fast else pos

    def forget_routes(self) -> None:
        """The routes known here are out of date; the permissions behind them are not."""
        for table in self.routes:
            table.clear()
        self.generation = self.core.router.cache.generation

    def forget_verdicts(self) -> None:
        """Permissions have changed: ask again."""
        self.verdicts.clear()
        if self.has_permissions:
            self.forget_routes()

    # ---- decisions (ServerConnection) ----

    def accept_connect(self, packet: Connect, now: float) -> None:
        connecting.begin(self.core, self, packet, now)

    def accept_auth(self, packet: Auth, now: float) -> None:
        connecting.exchange(self.core, self, packet, now)

    def packet(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        if data[pos] >> 4 == SUBSCRIBE and self.state == CONNECTED:
            plain = parse_subscribe(data, pos, stop, self.version)
            if plain is not None:
                return subscribing.subscribe(self.core, self, plain, now)
        return super().packet(data, pos, stop, now)

    def accept_subscribe(self, packet: Subscribe, now: float) -> bool:
        return subscribing.subscribe(self.core, self, subscribing.plain(self.core, packet), now)

    def accept_unsubscribe(self, packet: Unsubscribe, now: float) -> None:
        subscribing.unsubscribe(self.core, self, packet, now)

    def accept_disconnect(self, packet: Disconnect, now: float) -> None:
        connecting.disconnect(self.core, self, packet, now)

    def accept_publish(self, publish: IncomingPublish, now: float) -> int:
        """Take ownership of a message, or refuse it (3.3.4, 4.5)."""
        core = self.core
        topic = publish.topic
        why = check_topic_name(topic, core.options.max_topic_levels)
        if why:
            return self._refuse(TOPIC_NAME_INVALID, why)
        if topic.startswith(b"$"):  # 4.7.2: not for clients to exchange messages
            return self._refuse(NOT_AUTHORIZED, "topics that begin with $ belong to the server")
        if core.asks_authorization:
            verdict = self.verdict(PUBLISH_ACTION, topic, publish.qos, publish.retain)
            if verdict == UNDECIDED:
                return PAUSED
            if verdict >= 0x80:
                return self._refuse(verdict, "not authorized to publish to this topic")
        if publish.is_text and core.options.check_payload_format and not _is_text(publish.payload):
            return self._refuse(PAYLOAD_FORMAT_INVALID, "the payload is not the UTF-8 it claims to be")
        expires_at = now + publish.expiry_interval if publish.expiry_interval >= 0 else NEVER
        message = ApplicationMessage(
            topic, publish.payload, publish.qos, publish.retain, publish.properties, expires_at
        )
        if core.store_trouble and publish.qos and self._must_be_durable(publish):
            return self._refuse(IMPLEMENTATION_SPECIFIC_ERROR, core.store_trouble)
        reason_code = core.ask_publish_hooks(self, message)
        if reason_code >= 0x80:
            return self._refuse(reason_code, "refused by a hook")
        if publish.retain and (publish.qos or not self.disk_is_behind()):
            why = core.retain(message)
            if why:
                return self._refuse(QUOTA_EXCEEDED, why)
        route = core.router.route(topic)
        if self.has_permissions:
            if self.generation != core.router.cache.generation:
                self.forget_routes()
            if not publish.retain:
                self.routes[publish.qos][topic] = route
        deliver(core, route, message, self.server_session, now)
        return NO_MATCHING_SUBSCRIBERS if route.is_empty and self.version == MQTT_50 else 0

    def disk_is_behind(self) -> bool:
        """Does so much wait for the disk that a QoS 0 message is better not retained (3.3.1.3: it MAY be)?"""
        return self.journal is not None and self.journal.pending_bytes > MAX_PENDING_BYTES

    def _must_be_durable(self, publish: IncomingPublish) -> bool:
        """Would the acknowledgement of this message promise something that has to be on disk?"""
        if publish.retain or self.core.router.route(publish.topic).is_durable:
            return True
        return publish.qos == 2 and self.session is not None and self.session.journal is not None

    def _refuse(self, reason_code: int, why: str) -> int:
        self.why = why
        hooks = self.core.hooks.refuse
        if hooks is not None:
            for hook in hooks:
                hook.on_refuse(self, reason_code, why)
        self.core.statistics.refused += 1
        return reason_code

    def verdict(self, action: str, topic: bytes, qos: int, retain: bool) -> int:
        """The remembered answer to ``Authorize``, or ``UNDECIDED`` after asking; then the connection is
        paused. All questions of one packet may be asked at once; it is worked on again with all answers.
        """
        key = _question(action, topic, qos, retain)
        verdict = self.verdicts.get(key)
        if verdict is not None:
            return verdict
        if len(self.verdicts) >= MAX_VERDICTS and not self.questions:  # clients choose the topics
            self.verdicts.clear()
            self.forget_routes()
        self.verdicts[key] = UNDECIDED
        self.questions += 1
        self.paused = True
        self.core.effects.append(Authorize(self, action, topic, qos, retain))
        return UNDECIDED

    def remember_verdict(self, question: Authorize, reason_code: int) -> None:
        """Keep the answer to ``question``; with the last one open the connection goes on."""
        key = _question(question.action, question.topic, question.qos, question.retain)
        self.verdicts[key] = reason_code
        self.questions -= 1
        self.paused = self.questions > 0

    # ---- output ----

    def is_closed(self) -> bool:
        """Is the core done with this connection?"""
        return self.state == CLOSED

    def touch(self) -> None:
        """Have the output taken when the turn ends."""
        if not self.is_dirty:
            self.is_dirty = True
            self.dirty.append(self)

    def can_wait(self, size: int) -> bool:
        """Is the output nothing but messages, fewer than ``size`` bytes of them, for a client that could take
        as many again before it acknowledges any?
        """
        session = self.server_session
        if self.is_owed or session is None or session.retained_sends:
            return False
        outgoing = session.outgoing
        if 2 * outgoing.quota < outgoing.quota_maximum:
            return False
        for piece in self.output:
            size -= len(piece)
        return size > 0

    def take_output(self) -> bytes:
        """Everything to be written now, as one piece; the connection is clean afterwards."""
        session = self.server_session
        if session is not None and session.retained_sends:
            send_retained(self.core, session, self, self.now)
        output = self.output
        self.is_dirty = False
        if len(output) == 1:
            data = output[0]
        else:
            data = b"".join(output)
        output.clear()
        return data

    def encode_within(self, packet: Suback | Unsuback) -> bytes:
        """Encode, without its Reason String where that makes it larger than the client takes
        [MQTT-3.9.2-1].

        Raises ``RemoteProtocolError`` where it is too large all the same: the client could wait for ever.
        """
        data = encode(packet, self.version)
        if not self.fits(data) and packet.properties is not None:
            packet.properties = None
            data = encode(packet, self.version)
        if not self.fits(data):
            why = "the answer is larger than the client's Maximum Packet Size"
            raise RemoteProtocolError(PACKET_TOO_LARGE, why, "MQTT-3.1.2-24")
        return data

    def send_publish(
        self,
        message: ApplicationMessage,
        qos: int,
        dup: bool,
        retain: bool,
        identifiers: bytes,
        packet_id: int,
        now: float,
        hold: int,
    ) -> bool:
        """Send one PUBLISH, after batch ``hold`` of the journal where that is not 0.

        False, and nothing is sent, where it is larger than the client's Maximum Packet Size [MQTT-3.1.2-24].
        """
        is_50 = self.version == MQTT_50
        if qos:
            hold = self.hold_publish(hold)
        if self.topic_aliases is not None and not hold and not dup:
            layout = self._aliased_layout(message, qos, retain, identifiers, now)
        else:
            layout = self.core.layouts.get(message, is_50, qos, dup, retain, identifiers, now)
        if self.peer_max_packet_size and layout.size > self.peer_max_packet_size:
            return False
        self.traffic.publishes_sent += 1
        self.traffic.publish_bytes_sent += len(message.payload)
        if hold:
            self.send_after(hold, layout.head + PACKET_IDS[packet_id] + layout.tail)
            return True
        if self.tap is not None:
            self.send(layout.head + (PACKET_IDS[packet_id] if qos else b"") + layout.tail)
        else:
            self.traffic.packets_sent += 1
            output = self.output
            output.append(layout.head)
            if qos:
                output.append(PACKET_IDS[packet_id])
            output.append(layout.tail)
            if not self.is_dirty:
                self.is_dirty = True
                self.dirty.append(self)
        self._grow(layout.size)
        return True

    def send_block(self, block: bytes) -> None:
        """Send many packets, which the caller has counted and which nobody needs to see."""
        self.output.append(block)
        self.touch()
        self._grow(len(block))

    def _grow(self, size: int) -> None:
        """``size`` bytes more wait to be written."""
        self.unsent += size
        if self.unsent > self.core.options.output_soft_limit and not self.is_congested:
            self.is_congested = True
            self.set_lanes()

    def _aliased_layout(
        self, message: ApplicationMessage, qos: int, retain: bool, identifiers: bytes, now: float
    ) -> Layout:
        """With a Topic Alias in place of the Topic Name, where there is one or room for one (3.3.2.3.4)."""
        aliases = self.topic_aliases
        assert aliases is not None
        topic = message.topic
        alias = aliases.get(topic, 0)
        layouts = self.core.layouts
        if not alias:
            # An alias costs three bytes itself.
            if len(aliases) < self.outgoing_alias_maximum and len(topic) > 3:
                alias = len(aliases) + 1  # [MQTT-3.1.2-26]: never over the client's maximum
                properties = encode_topic_alias(alias) + layouts.properties(message, identifiers, now)
                layout = publish_layout(topic, message.payload, qos, False, retain, properties)
                if not self.peer_max_packet_size or layout.size <= self.peer_max_packet_size:
                    aliases[topic] = alias  # only what is really sent sets a mapping
                    return layout
            return layouts.get(message, True, qos, False, retain, identifiers, now)
        properties = encode_topic_alias(alias) + layouts.properties(message, identifiers, now)
        return publish_layout(b"", message.payload, qos, False, retain, properties)

    def send_after(self, batch: int, packet: bytes, credit: int = 0) -> None:
        super().send_after(batch, packet, credit)
        if not self.is_kept:
            self.is_kept = True
            self.core.holding.append(self)

    def pump(self, now: float) -> None:
        if self.server_session is not None and self.state == CONNECTED:
            pump(self.core, self.server_session, self, now)

    def finished(self, entry: Outgoing, reason_code: int, now: float) -> None:
        hooks = self.core.hooks.delivered
        if hooks is not None:
            for hook in hooks:
                hook.on_delivered(self.client_id, entry.message, reason_code)

    # ---- the end ----

    def fail(self, error: ProtocolError, now: float) -> None:
        self.core.statistics.protocol_errors += 1
        hooks = self.core.hooks.refuse
        if hooks is not None:
            for hook in hooks:
                hook.on_refuse(self, error.reason_code, str(error))
        super().fail(error, now)

    def end(self, reason_code: int, why: str, now: float) -> None:
        """The Network Connection is over, whoever ended it: session and will get their due, once."""
        if self.state == CLOSED:
            return
        was_connected = self.state == CONNECTED
        self.state = CLOSED
        self.paused = False
        self.is_fast = False
        self.held.clear()
        self._tail = []
        self._tail_size = 0
        core = self.core
        core.effects.append(Close(self))
        core.detached(self)
        session = self.server_session
        if session is not None:
            connecting.leave(core, session, self, now)
        if was_connected:
            core.statistics.connected -= 1
            hooks = core.hooks.disconnect
            if hooks is not None:
                for hook in hooks:
                    hook.on_disconnect(self, reason_code, why)


def _question(action: str, topic: bytes, qos: int, retain: bool) -> bytes:
    """Names a question of permission."""
    return (b"r" if retain else b"-") + PACKET_IDS[qos] + (b"p" if action == PUBLISH_ACTION else b"s") + topic


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


@final
class HookTap(Tap):
    """Shows every packet to the hooks that want packets."""

    def __init__(self, core: BrokerCore) -> None:
        self.core: BrokerCore = core

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        hooks = self.core.hooks.packet
        if hooks is not None and isinstance(connection, BrokerConnection):
            for hook in hooks:
                hook.on_packet(connection, is_outgoing, data, now)


@final
class ConnectionWatch(Deadline):
    """Connect timeout, then Keep Alive [MQTT-3.1.2-22], of one connection."""

    def __init__(self, connection: BrokerConnection) -> None:
        super().__init__()
        self.connection: BrokerConnection = connection

    def fire(self, now: float) -> float:
        connection = self.connection
        if connection.state == CONNECTED and connection.keep_alive:
            if connection.paused:  # it is not read from meanwhile: the silence is ours
                return now + connection.keep_alive
            limit = connection.received_at + connection.keep_alive
            if now < limit:
                return limit
        connection.watch = None
        if connection.state != CONNECTED:
            connection.core.refuse(connection, UNSPECIFIED_ERROR, "no complete CONNECT in time")
            connection.end(UNSPECIFIED_ERROR, "no complete CONNECT in time", now)
            return 0.0
        if not connection.keep_alive:
            return 0.0
        why = f"no packet for {connection.keep_alive:g} seconds, 1.5 times the Keep Alive [MQTT-3.1.2-22]"
        connection.send_disconnect(KEEP_ALIVE_TIMEOUT, why, None)
        connection.end(KEEP_ALIVE_TIMEOUT, why, now)
        return 0.0


@final
class RetryWatch(Deadline):
    """Timed re-sending to a 3.1 or 3.1.1 client (3.1.1: 4.4); never to a 5.0 one [MQTT-4.4.0-1]."""

    def __init__(self, connection: BrokerConnection) -> None:
        super().__init__()
        self.connection: BrokerConnection = connection

    def fire(self, now: float) -> float:
        connection = self.connection
        session = connection.server_session
        if connection.state != CONNECTED or session is None or session.connection is not connection:
            return 0.0
        interval = connection.core.options.retry_interval
        oldest = now
        outgoing = session.outgoing
        outgoing.settle()
        for entry in [*outgoing.inflight.values(), *outgoing.releasing.values()]:
            if connection.is_congested:
                break  # it has not even taken what was sent
            if now - entry.sent_at < interval:
                oldest = min(oldest, entry.sent_at)
            elif entry.packet_id in outgoing.releasing:
                entry.sent_at = now
                connection.answer(b"\x62\x02" + PACKET_IDS[entry.packet_id], connection.journal_length())
            elif entry.on_wire:
                entry.sent_at = now
                connection.send_publish(
                    entry.message, entry.qos, True, entry.retain, entry.identifiers, entry.packet_id, now, 0
                )
        return oldest + interval
