"""Connections from CONNECT to their end, and subscriptions, out of the packets of one client each."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.topics.filters import matches
from curier.trace.decoding import Seen
from curier.trace.events import NOT_MQTT, Closed, Happening, Opened, Packet, Wire
from curier.trace.flow_store import FlowStore, who
from curier.trace.flows import ConnectionLife, Flow, Step, SubscriptionFlow
from curier.trace.handshakes import returned, session_ended, wait_for_return
from curier.trace.wording import code_words

MOST_SUBSCRIPTIONS: Final = 20_000  # that are remembered, to tell whose retained messages come
RETAIN_AS_PUBLISHED: Final = 0x08  # of the Subscription Options (3.8.3.1)
FETCH_SECONDS: Final = 30.0  # after SUBACK: retained messages that come then came because of it
MOST_LOOKED_AT: Final = 50  # last subscriptions of a client

NOT_STEPS: Final = frozenset({"PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"})
"""They are steps of publications; in the life of a connection they are counted."""


class Lives:
    """Keeps account of connections and subscriptions in a store."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._subscriptions: OrderedDict[int, SubscriptionFlow] = OrderedDict()  # by number
        self._of_client: dict[str, list[SubscriptionFlow]] = {}
        self._connected: OrderedDict[str, int] = OrderedDict()  # the number of a client's connection

    def opened(self, event: Opened) -> ConnectionLife:
        """A Network Connection begins."""
        life = self._life(event.wire, event.time)
        self._store.step(life, event, None)
        return life

    def closed(self, event: Closed) -> ConnectionLife:
        """It has ended: what that means for the session, and for what was on its way."""
        life = self._life(event.wire, event.time)
        life.is_open = False
        life.ended_by, life.why = event.by, event.why
        step = self._store.step(life, event, None)
        step.label = f"closed by the {event.by}" if event.by else "closed"
        step.note = event.why
        step.trouble = not life.left_by_disconnect
        self._store.end_life(life)
        client_id = life.client_id
        if client_id and self._connected.get(client_id) == life.wire:
            del self._connected[client_id]
            if life.ends_session:
                session_ended(self._store, client_id, event.time, "its session ended with the connection")
                self._unanswered(client_id, "the connection ended before the answer came")
            elif not life.taken_over_by:
                wait_for_return(self._store, client_id, event.time)
        return life

    def noted(self, event: Happening, wire: Wire) -> ConnectionLife:
        """Something is to be said of the connection itself: what comes from here on cannot be read, say."""
        life = self._life(wire, event.time)
        step = self._store.step(life, event, None)
        step.label = "not MQTT from here on" if event.kind == NOT_MQTT else event.kind
        step.note, step.trouble = event.why, event.kind == NOT_MQTT
        return life

    def packet(self, event: Packet, seen: Seen, flow: Flow | None) -> Flow:
        """Count a packet, and note what it means for its connection. Returns the flow that it belongs to."""
        life = self._life(event.wire, event.time)
        way = 0 if event.to_server else 1
        life.packets[way] += 1
        life.bytes[way] += len(event.data) + event.cut
        life.last = event.time
        if flow is not None:
            if seen.name == "PUBLISH":
                life.publishes[way] += 1
            return flow
        packet = seen.packet
        if seen.name in ("PINGREQ", "PINGRESP"):
            life.pings += event.to_server
            life.pinged_at = event.time if event.to_server else 0.0
            if life.pings > 1:
                return life
        elif seen.name in NOT_STEPS and packet is not None:
            return life  # an acknowledgement of what nobody has seen
        step = self._store.step(life, event, seen)
        if isinstance(packet, Connect):
            self._connect(life, packet, event.time)
        elif isinstance(packet, Connack):
            self._connack(life, packet, seen, step)
        elif isinstance(packet, Disconnect):
            life.left_by_disconnect = packet.reason_code < 0x80 and event.to_server
            step.trouble = packet.reason_code >= 0x80 or not event.to_server
            if packet.properties is not None and packet.properties.session_expiry_interval is not None:
                life.session_expiry = packet.properties.session_expiry_interval
                life.ends_session = life.session_expiry == 0
        elif isinstance(packet, (Subscribe, Unsubscribe)):
            return self._ask(event, seen, packet)
        elif isinstance(packet, (Suback, Unsuback)):
            return self._answer(event, seen, packet) or life
        return life

    # ---- connections ----

    def _life(self, wire: Wire, time: float) -> ConnectionLife:
        store = self._store
        life = store.lives.get(wire.number)
        if life is None:
            life = store.new(ConnectionLife, time)
            life.wire = wire.number
            store.live(life)
        elif life.client_id == wire.client_id and life.version == wire.version:
            return life
        life.client_id = wire.client_id or life.client_id
        life.version = wire.version or life.version
        life.user = wire.user or life.user
        life.client_address = wire.client_address or life.client_address
        life.server_address = wire.server_address or life.server_address
        life.listener = wire.listener or life.listener
        return life

    def _connect(self, life: ConnectionLife, packet: Connect, time: float) -> None:
        life.client_id = packet.client_id or life.client_id
        life.version = packet.version
        life.user = life.user or packet.username or ""
        life.keep_alive = packet.keep_alive
        life.will_topic = packet.will.topic if packet.will is not None else ""
        properties = packet.properties
        life.session_expiry = (properties.session_expiry_interval or 0) if properties is not None else 0
        if packet.version == 5:
            life.ends_session = not life.session_expiry  # [MQTT-3.1.2-23]
        else:
            life.ends_session = packet.clean_start
        if packet.client_id:
            self._is_connected(packet.client_id, life, time)

    def _is_connected(self, client_id: str, life: ConnectionLife, time: float) -> None:
        before = self._store.lives.get(self._connected.get(client_id, 0))
        if before is not None and before is not life and before.is_open:
            before.taken_over_by = life.wire  # [MQTT-3.1.4-3]
        self._connected[client_id] = life.wire
        self._connected.move_to_end(client_id)
        if len(self._connected) > MOST_SUBSCRIPTIONS:
            self._connected.popitem(last=False)

    def _connack(self, life: ConnectionLife, packet: Connack, seen: Seen, step: Step) -> None:
        life.reason_code = packet.reason_code
        if packet.reason_code:
            step.trouble = True
            life.why = code_words(packet.reason_code, life.version, True)
            return
        client_id = life.client_id
        if not client_id:
            client_id = life.client_id = seen.line.client_id
            if client_id:
                self._is_connected(client_id, life, step.time)
        properties = packet.properties
        if properties is not None and properties.session_expiry_interval is not None:
            life.session_expiry = properties.session_expiry_interval
            life.ends_session = life.session_expiry == 0
        if properties is not None and properties.server_keep_alive is not None:
            life.keep_alive = properties.server_keep_alive
        if packet.session_present:
            returned(self._store, client_id)
        else:
            session_ended(self._store, client_id, step.time, "its session began anew")

    def unkept(self, client_id: str, wire: int) -> None:
        """A gap of one connection, or of all (0), begins: nobody will see what it waits for."""
        lives = [*self._store.lives.values()] if not wire else [self._store.lives.get(wire)]
        for life in lives:
            if life is not None:
                life.pinged_at = 0.0
        for client in [client_id] if wire else [*self._of_client]:
            self._unanswered(client, "its answer was not seen: more went by than is kept")

    # ---- subscriptions ----

    def _ask(self, event: Packet, seen: Seen, packet: Subscribe | Unsubscribe) -> SubscriptionFlow:
        flow = self._store.new(SubscriptionFlow, event.time)
        flow.client_id = who(event, seen)
        flow.packet_id = packet.packet_id
        if isinstance(packet, Subscribe):
            flow.filters = [one for one, _ in packet.subscriptions]
            flow.options = [options for _, options in packet.subscriptions]
        else:
            flow.is_subscribe = False
            flow.filters = list(packet.topic_filters)
        self._store.grow(flow, sum(map(len, flow.filters)) + 64 * len(flow.filters))
        self._store.step(flow, event, seen)
        self._subscriptions[flow.number] = flow
        self._of_client.setdefault(flow.client_id, []).append(flow)
        if len(self._subscriptions) > MOST_SUBSCRIPTIONS:
            self._forget(self._subscriptions.popitem(last=False)[1])
        return flow

    def _answer(self, event: Packet, seen: Seen, packet: Suback | Unsuback) -> SubscriptionFlow | None:
        for flow in reversed(self._of_client.get(who(event, seen), ())):
            if flow.packet_id == packet.packet_id and flow.is_subscribe == isinstance(packet, Suback):
                flow.reason_codes = list(packet.reason_codes)
                step = self._store.step(flow, event, seen)
                step.trouble = any(code >= 0x80 for code in packet.reason_codes)
                return flow
        return None

    def _unanswered(self, client_id: str, why: str) -> None:
        for flow in self._of_client.pop(client_id, ()):
            self._subscriptions.pop(flow.number, None)
            if flow.reason_codes is None:
                flow.why = why
                self._store.touch(flow)

    def _forget(self, flow: SubscriptionFlow) -> None:
        of_client = self._of_client.get(flow.client_id, [])
        if flow in of_client:
            of_client.remove(flow)
        if not of_client:
            self._of_client.pop(flow.client_id, None)

    def subscribed_at(self, client_id: str) -> float | None:
        """When a client subscribed last; None where nobody saw it."""
        of_client = self._of_client.get(client_id)
        return of_client[-1].began if of_client else None

    def is_retained_fetch(self, client_id: str, seen: Seen, packet: Publish) -> bool:
        """Does RETAIN say that a subscription brought this, and no publisher just now (3.3.1.3)?"""
        if not packet.retain:
            return False
        return not any(
            options & RETAIN_AS_PUBLISHED
            for flow in self._of_client.get(client_id, ())[-MOST_LOOKED_AT:]
            for options in flow.options
        )

    def retained(self, event: Packet, seen: Seen, step: Step) -> None:
        """A retained message came: is it a subscription's?"""
        topic = seen.topic.encode()
        for flow in reversed(self._of_client.get(who(event, seen), ())[-MOST_LOOKED_AT:]):
            if event.time - flow.last > FETCH_SECONDS:
                return
            if flow.is_subscribe and any(matches(one.encode(), topic) for one in flow.filters):
                flow.retained += 1
                self._store.step(flow, event, seen).note = step.note
                return
