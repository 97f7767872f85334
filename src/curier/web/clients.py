"""Operations on clients, their sessions and subscriptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from curier.broker import picking
from curier.broker.model import ServerSession, SharedGroup, Subscription
from curier.codec.constants import MQTT_50, MQTT_311
from curier.topics.filters import check_topic_name, is_shared, matches
from curier.web import forms, table
from curier.web.acting import expel, forget, kept
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.session_forms import EndingsAnswer, EndingsQuery
from curier.web.tokens import Known
from curier.web.walking import Order, in_pieces, page, pieces_of

MOST_LEVELS: Final = 65_536
MOST_FILTERS: Final = 10_000
"""Of one client are looked through for those that match; with more of them, none is named."""

_VERSIONS: Final = {3: "3.1", MQTT_311: "3.1.1", MQTT_50: "5.0"}

_SORTS: Final = {
    "client_id": picking.NAME,
    "queued": picking.QUEUED,
    "queued_bytes": picking.QUEUED_BYTES,
    "dropped": picking.DROPPED,
    "subscriptions": picking.SUBSCRIPTIONS,
    "unsent": picking.UNSENT,
    "connected_at": picking.CONNECTED_AT,
    "ends_at": picking.ENDS_AT,
}


def session_of(scene: Scene, client_id: str) -> ServerSession:
    """The session of a client. Raises ``Problem`` where there is none."""
    session = scene.broker.core.sessions.get(client_id)
    if session is None:
        raise Problem(404, f"there is no session of a client {client_id[:200]!r}")
    return session


@handles(table.CLIENTS)
async def clients(scene: Scene, asked: forms.ClientsQuery, who: Known) -> forms.Clients:
    """A page of clients."""
    if asked.sort not in _SORTS:
        raise Problem(400, f"sort: expected one of {', '.join(_SORTS)}, got {asked.sort[:100]!r}")
    picker = picking.SessionPicker(_SORTS[asked.sort], asked.connected, asked.search.lower())
    sessions = scene.broker.core.session_list
    found = await page(scene.walks, pieces_of(sessions.copy()), picker, asked.cursor, asked.limit)
    return forms.Clients([row_of(one) for one in found.rows], found.found, len(sessions), found.next)


def row_of(session: ServerSession) -> forms.ClientRow:
    """A client, as a list has it."""
    connection = session.connection
    outgoing = session.outgoing
    return forms.ClientRow(
        client_id=session.client_id,
        connected=connection is not None,
        user=session.user or ((connection.identity or "") if connection is not None else ""),
        address=connection.address if connection is not None else "",
        listener=connection.listener_name if connection is not None else "",
        version=_VERSIONS.get(session.version, ""),
        connected_at=connection.attached_at if connection is not None else 0.0,
        queued=len(outgoing.queue),
        queued_bytes=outgoing.queued_bytes,
        inflight=outgoing.inflight_count(),
        dropped=session.dropped_full,
        subscriptions=len(session.subscriptions),
        unsent=connection.unsent if connection is not None else 0,
        session_expiry=session.expiry_interval,
        ends_at=session.ends_at,
    )


@handles(table.CLIENT)
async def client(scene: Scene, asked: forms.ClientQuery, who: Known) -> forms.Client:
    """One client."""
    session = session_of(scene, asked.client_id)
    connection = session.connection
    return forms.Client(
        row=row_of(session),
        keep_alive=connection.keep_alive if connection is not None else 0.0,
        session_expiry=session.expiry_interval,
        ends_at=session.ends_at,
        kept=session.journal is not None,
        has_will=session.will is not None,
        will_topic=session.will.topic.decode() if session.will is not None else "",
        receive_maximum=session.outgoing.quota_maximum,
        quota=session.outgoing.quota,
        last_packet_at=connection.received_at if connection is not None else 0.0,
        groups=sorted(connection.known.groups) if connection is not None else [],
    )


@handles(table.ENDINGS)
async def endings(scene: Scene, asked: EndingsQuery, who: Known) -> EndingsAnswer:
    """Why the last connections of a client ended."""
    return EndingsAnswer(scene.endings.of(asked.client_id, asked.limit), scene.endings.since)


@handles(table.DISCONNECT)
async def disconnect(scene: Scene, asked: forms.Disconnect, who: Known) -> forms.Done:
    """Disconnect a client."""
    session = session_of(scene, asked.client_id)
    connection = session.connection if session.connection is not None else session.arriving
    if connection is None:
        raise Problem(409, f"{asked.client_id[:200]!r} is not connected")
    scene.audit(who, "client.disconnect", client_id=asked.client_id, why=asked.reason)
    expel(scene.broker, connection, asked.reason, f"{asked.reason} ({who.name})")
    await kept(scene.broker)
    return forms.Done(f"{asked.client_id!r} is disconnected")


@handles(table.FORGET)
async def end_session(scene: Scene, asked: forms.Forget, who: Known) -> forms.Done:
    """End a session."""
    session = session_of(scene, asked.client_id)
    scene.audit(who, "client.forget", client_id=asked.client_id)
    forget(scene.broker, session, "an administrator has ended its session")
    await kept(scene.broker)
    return forms.Done(f"the session of {asked.client_id!r} has ended")


@handles(table.SUBSCRIPTIONS)
async def subscriptions(scene: Scene, asked: forms.SubscriptionsQuery, who: Known) -> forms.Subscriptions:
    """A page of the subscriptions of a client."""
    session = session_of(scene, asked.client_id)
    wanted = asked.search.encode()

    def fitting(piece: Sequence[tuple[bytes, Subscription]]) -> Sequence[tuple[bytes, Subscription]]:
        return [one for one in piece if wanted in one[0]]

    pieces = pieces_of([*session.subscriptions.items()])
    order: Order[tuple[bytes, Subscription]] = Order(
        lambda some: [one[0].decode() for one in some], wanted=fitting
    )
    found = await page(scene.walks, pieces, order, asked.cursor, asked.limit)
    return forms.Subscriptions(
        [
            forms.SubscriptionRow(
                topic_filter=topic_filter.decode(),
                qos=one.qos,
                no_local=one.no_local,
                retain_as_published=one.retain_as_published,
                identifier=_identifier(one.identifier),
            )
            for topic_filter, one in found.rows
        ],
        found.found,
        found.next,
    )


def _identifier(encoded: bytes) -> int:
    """The number in an encoded Subscription Identifier (3.8.2.1.2); 0: there is none."""
    number = 0
    for at, byte in enumerate(encoded[1:]):
        number |= (byte & 0x7F) << (7 * at)
    return number


Found = tuple[ServerSession, Subscription, bytes]
"""Somebody who would get it, by what, and by which Shared Subscription."""


@handles(table.SUBSCRIBERS)
async def subscribers(scene: Scene, asked: forms.SubscribersQuery, who: Known) -> forms.Subscribers:
    """Who would get a message."""
    topic = asked.topic.encode()
    why = check_topic_name(topic, MOST_LEVELS)
    if why:
        raise Problem(400, f"topic: {why}")
    router = scene.broker.core.router

    def pieces() -> Iterator[Sequence[Found]]:
        for targets in pieces_of(router.table.match(topic)):
            single = [one for one in targets if isinstance(one, Subscription)]
            sessions = [(router.sessions.get(one.key), one) for one in single]
            yield [(session, one, b"") for session, one in sessions if session is not None]
            for group in targets:
                if isinstance(group, SharedGroup):
                    name = group.topic_filter
                    yield from pieces_of([(one.session, one, name) for one in group.members])

    seen: set[int] = set()  # sessions with several filters that match

    def is_one(one: Found) -> bool:
        session, _, group = one
        if session.mount is not None and not session.mount.shows(topic):
            return False
        if not group:
            if session.number in seen:
                return False
            seen.add(session.number)
        return True

    order: Order[Found] = Order(
        lambda some: [one[2].decode() for one in some],
        lambda some: [one[0].client_id for one in some],
        lambda some: [*filter(is_one, some)],
    )
    found = await page(scene.walks, pieces(), order, asked.cursor, asked.limit)
    told = [_subscriber(scene, one, topic) async for one in in_pieces(found.rows)]
    return forms.Subscribers(told, found.found, found.next)


def _subscriber(scene: Scene, one: Found, topic: bytes) -> forms.SubscriberRow:
    session, subscription, group = one
    filters = [group] if group else _filters(session, topic)
    qos = max(
        [
            subscription.qos,
            *(session.subscriptions[name].qos for name in filters if name in session.subscriptions),
        ]
    )
    return forms.SubscriberRow(
        client_id=session.client_id,
        connected=session.connection is not None,
        qos=qos,
        filters=[name.decode() for name in filters],
        group=group.decode(),
        allowed=scene.broker.core.router.may_receive(session, topic),
    )


def _filters(session: ServerSession, topic: bytes) -> list[bytes]:
    if len(session.subscriptions) > MOST_FILTERS:
        return []
    return [name for name in session.subscriptions if not is_shared(name) and matches(name, topic)]
