"""What one client, and all clients of one source, may have of what all share: retained messages, sessions
that outlive their connections, subscriptions, and connections that have not logged in yet.

A *source* is a user whom somebody has authenticated, else the address the client came from, which strangers
cannot choose as they choose Client Identifiers. A retained message belongs to the client that set it last,
and to the source of that client. What was there when the broker was started belongs to nobody: a retained
message until it is set again, a session until its client comes again. It counts in all, not in any share.
"""

from __future__ import annotations

from typing import Final

from curier.broker.entrances import Entrance
from curier.broker.model import BrokerConnection, Owner, ServerSession
from curier.broker.state import BrokerState, Tally
from curier.places import place_of
from curier.session.message import ApplicationMessage

_TOTAL: Final = "max_subscriptions_total"

# ---- who ----


def source_of(broker: BrokerState, connection: BrokerConnection) -> str:
    """What is known of a client that it cannot choose."""
    if broker.asks_authentication and connection.identity:
        return f"user {connection.identity}"
    return f"address {place_of(connection.address)}"


# ---- connections without a CONNACK ----


def why_not_connecting(broker: BrokerState, place: str, entrance: Entrance) -> str:
    """Plain words where ``place`` may not have one more connection that has not logged in, or ""."""
    options = broker.options
    if not place or not options.max_connecting:
        return ""
    most = min(options.max_connecting, options.max_connections)  # half of all that may be there
    if entrance.max_connections:
        most = min(most, entrance.max_connections)
    if broker.holdings.connecting.get(place, 0) < most:
        return ""
    return f"{most} connections from {place} have not logged in yet, and no more may wait (max_connecting)"


def why_too_fast(broker: BrokerState, place: str, now: float) -> str:
    """Count one more connection that comes from ``place``. Plain words where it may not come yet, or ""."""
    rate = broker.options.max_connect_rate
    if broker.holdings.connects.lets_pass(place, rate, now):
        return ""
    return f"more than {rate} connections a second come from {place} (max_connect_rate)"


def connecting_at(broker: BrokerState, connection: BrokerConnection, place: str) -> None:
    """The connection has not logged in, and counts at ``place`` from now on; "": it has, or has ended."""
    counts = broker.holdings.connecting
    before = connection.place
    if before:
        left = counts[before] - 1
        if left:
            counts[before] = left
        else:
            del counts[before]
    connection.place = place
    if place:
        counts[place] = counts.get(place, 0) + 1


# ---- clients ----


def why_no_client(broker: BrokerState, source: str, session: ServerSession | None) -> str:
    """Plain words where ``source`` may not have one more client, which is that of ``session``; or ""."""
    most = broker.options.max_user_connections
    if not most or broker.holdings.clients.get(source, 0) < most:
        return ""
    if session is not None and session.source == source:
        if session.connection is not None or session.arriving is not None:
            return ""  # one comes, one goes
    return f"{source} has {most} connections, and may have no more (max_user_connections)"


def count_clients(broker: BrokerState, source: str, change: int) -> None:
    """So many more clients of ``source`` are let in, or fewer."""
    counts = broker.holdings.clients
    count = counts.get(source, 0) + change
    if count > 0:
        counts[source] = count
    else:
        counts.pop(source, None)


# ---- sessions ----


def why_no_session(broker: BrokerState, source: str, session: ServerSession | None) -> str:
    """Plain words where a session that outlives its connection cannot be, or ""."""
    if session is not None and session.is_stored:
        return ""
    options = broker.options
    if broker.statistics.stored_sessions >= options.max_sessions:
        return f"all {options.max_sessions} sessions that outlive their connections are in use (max_sessions)"
    most = max(1, options.max_sessions // options.source_share)
    if options.source_share > 1 and broker.holdings.sessions.get(source, 0) >= most:
        return (
            f"{source} has {most} sessions that outlive their connections, and may have no more "
            "(max_sessions, source_share)"
        )
    return ""


def stored(broker: BrokerState, session: ServerSession, is_stored: bool, source: str) -> None:
    """The session outlives its connections from now on, or does not, or has gone ("" for the source)."""
    if session.is_stored:
        broker.statistics.stored_sessions -= 1
        if session.source:
            left = broker.holdings.sessions[session.source] - 1
            if left:
                broker.holdings.sessions[session.source] = left
            else:
                del broker.holdings.sessions[session.source]
    session.is_stored = is_stored
    if source != session.source and session.subscriptions:
        count_subscriptions(broker, session.source, -len(session.subscriptions))
        count_subscriptions(broker, source, len(session.subscriptions))
    session.source = source
    if is_stored:
        broker.statistics.stored_sessions += 1
        if source:
            broker.holdings.sessions[source] = broker.holdings.sessions.get(source, 0) + 1


# ---- subscriptions ----


def why_no_subscription(broker: BrokerState, source: str) -> str:
    """Plain words where a session of ``source`` may not have one more subscription, or ""."""
    options = broker.options
    most = options.max_subscriptions_total
    if broker.statistics.subscriptions + broker.statistics.shared_subscriptions >= most:
        return f"all {most} subscriptions that there may be are in use (max_subscriptions_total)"
    most = max(1, most // options.source_share)
    if options.source_share > 1 and broker.holdings.subscriptions.get(source, 0) >= most:
        return f"{source} has {most} subscriptions, and may have no more ({_TOTAL}, source_share)"
    return ""


def count_subscriptions(broker: BrokerState, source: str, change: int) -> None:
    """Sessions of ``source`` have so many more subscriptions, or fewer."""
    if not source:
        return
    counts = broker.holdings.subscriptions
    count = counts.get(source, 0) + change
    if count:
        counts[source] = count
    else:
        counts.pop(source, None)


# ---- retained messages ----


def owner_of(session: ServerSession) -> Owner:
    """Whose the messages are that a session retains."""
    owner = session.owner
    if owner is None or owner.source != session.source:
        owner = session.owner = Owner(f"client {session.client_id}", session.source)
    return owner


def why_not_retained(
    broker: BrokerState, owner: Owner, previous: ApplicationMessage | None, size: int
) -> str:
    """Plain words where the owner may not retain a message of ``size`` bytes in place of another, or ""."""
    options = broker.options
    before = previous.owner if previous is not None else None
    freed = previous.size() if previous is not None else 0
    was_own = isinstance(before, Owner) and before.client == owner.client
    change, more = 1 - was_own, size - freed * was_own
    why = _why_full(broker, owner.client, options.client_share, "client_share", change, more)
    if not why and owner.source:
        was_own = isinstance(before, Owner) and before.source == owner.source
        change, more = 1 - was_own, size - freed * was_own
        why = _why_full(broker, owner.source, options.source_share, "source_share", change, more)
    return why


def why_retained_too_fast(broker: BrokerState, source: str, now: float) -> str:
    """Count one more topic that ``source`` has a message retained for. Plain words where it may not yet, or
    "".
    """
    rate = broker.options.max_retain_rate
    if broker.holdings.new_retained.lets_pass(source, rate, now):
        return ""
    return f"{source} retains messages for more than {rate} new topics a second (max_retain_rate)"


def _why_full(broker: BrokerState, name: str, share: int, setting: str, messages: int, size: int) -> str:
    """Has ``name`` no room for so many more messages and bytes, within one of ``share`` equal shares?"""
    tally = broker.holdings.retained.get(name)
    if share <= 1 or tally is None:
        return ""
    most = max(1, broker.options.max_retained_messages // share)
    if messages > 0 and tally.messages + messages > most:
        return f"{name} has {most} retained messages, and may have no more (max_retained_messages, {setting})"
    most = max(1, broker.options.max_retained_bytes // share)
    if size > 0 and tally.bytes + size > most:
        return (
            f"the retained messages of {name} fill the {most} bytes that they may "
            f"(max_retained_bytes, {setting})"
        )
    return ""


def count(broker: BrokerState, message: ApplicationMessage, change: int) -> None:
    """A message is retained (``change`` 1), or is no more (-1)."""
    owner = message.owner
    if isinstance(owner, Owner):
        _count(broker, owner.client, change, change * message.size())
        if owner.source:
            _count(broker, owner.source, change, change * message.size())


def grow(broker: BrokerState, owner: Owner, change: int) -> None:
    """A message of ``owner`` is retained in place of another one of theirs that had ``change`` bytes less."""
    retained = broker.holdings.retained
    retained[owner.client].bytes += change
    if owner.source:
        retained[owner.source].bytes += change


def _count(broker: BrokerState, name: str, change: int, size: int) -> None:
    tally = broker.holdings.retained.get(name)
    if tally is None:
        tally = broker.holdings.retained[name] = Tally()
    tally.messages += change
    tally.bytes += size
    if not tally.messages:
        del broker.holdings.retained[name]
