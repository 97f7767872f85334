"""Operations on clients, their sessions and subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from curier.broker.model import ServerSession, SharedGroup, Subscription
from curier.codec.constants import MQTT_50, MQTT_311
from curier.topics.filters import check_topic_name, is_shared, matches
from curier.web import forms, table
from curier.web.acting import expel, forget, kept
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.walking import Place, in_pieces, page

MOST_LEVELS: Final = 65_536
MOST_FILTERS: Final = 10_000
"""Of one client are looked through for those that match; with more of them, none is named."""

_VERSIONS: Final = {3: "3.1", MQTT_311: "3.1.1", MQTT_50: "5.0"}

_NEVER: Final = 1e100

_SORTS: Final[dict[str, Callable[[ServerSession], float | str]]] = {
    "client_id": lambda session: session.client_id,
    "queued": lambda session: -len(session.outgoing.queue),
    "queued_bytes": lambda session: -session.outgoing.queued_bytes,
    "dropped": lambda session: -session.dropped_full,
    "subscriptions": lambda session: -len(session.subscriptions),
    "unsent": lambda session: -session.connection.unsent if session.connection is not None else 0,
    "connected_at": lambda session: (
        -session.connection.attached_at if session.connection is not None else 0.0
    ),
    "ends_at": lambda session: session.ends_at or _NEVER,
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
    key = _SORTS.get(asked.sort)
    if key is None:
        raise Problem(400, f"sort: expected one of {', '.join(_SORTS)}, got {asked.sort[:100]!r}")
    wanted = asked.search.lower()
    connected = asked.connected

    def place(session: ServerSession) -> Place | None:
        connection = session.connection
        if connected is not None and connected != (connection is not None):
            return None
        if wanted and wanted not in session.client_id.lower() and wanted not in session.user.lower():
            if connection is None or wanted not in connection.address.lower():
                return None
        return key(session), session.client_id

    sessions = scene.broker.core.session_list
    found = await page(scene.walks, sessions.copy(), place, asked.cursor, asked.limit)
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

    def place(one: tuple[bytes, Subscription]) -> Place | None:
        return ("", one[0].decode()) if wanted in one[0] else None

    rows = [*session.subscriptions.items()]
    found = await page(scene.walks, rows, place, asked.cursor, asked.limit)
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
    targets = router.table.match(topic)

    def rows() -> Iterator[Found]:
        for target in targets:
            if isinstance(target, SharedGroup):
                for member in target.members.copy():
                    yield member.session, member, target.topic_filter
            elif isinstance(target, Subscription):
                session = router.sessions.get(target.key)
                if session is not None:
                    yield session, target, b""

    seen: set[int] = set()  # sessions with several filters that match

    def place(one: Found) -> Place | None:
        session, _, group = one
        if session.mount is not None and not session.mount.shows(topic):
            return None
        if not group:
            if session.number in seen:
                return None
            seen.add(session.number)
        return session.client_id, group.decode()

    found = await page(scene.walks, rows(), place, asked.cursor, asked.limit)
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
