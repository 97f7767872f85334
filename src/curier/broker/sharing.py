"""Shared Subscriptions whose members are at any node of a cluster (5.0 section 4.8.2).

Who gets a message of the log the cluster decides, and says it with the message (``LogMessage.shares``). Here
each group that has members somewhere stands in the table of subscriptions without any: so whoever publishes
with QoS 0 finds it, and nobody in it, and leaves the choice to the cluster (``delivery.nobody_takes``).
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.delivery import NOT_FOR_IT, deliver_member
from curier.broker.model import LogMessage, Member, ServerSession, SharedGroup
from curier.broker.state import BrokerState
from curier.topics.filters import split_shared

START: Final = b"$share/"
BEHIND: Final = 1000  # messages that wait for a client, from which on others are chosen before it


def _parts(group: bytes) -> tuple[bytes, bytes]:
    """The prefix of its mount, and its whole Topic Filter (``mounting.group_name``)."""
    at = group.index(START)
    return group[:at], group[at:]


def member_of(session: ServerSession, group: bytes) -> Member | None:
    """How the session takes part in a group; None: it does not."""
    prefix, topic_filter = _parts(group)
    if prefix != (session.mount.prefix if session.mount is not None else b""):
        return None
    subscription = session.subscriptions.get(topic_filter)
    return subscription if isinstance(subscription, Member) else None


def give(broker: BrokerState, one: LogMessage, now: float) -> None:
    """Give a message to those of its ``shares``."""
    message = one.message
    if message.is_expired(now):  # [MQTT-3.3.2-5]
        return
    for client_id, group in one.shares:
        session = broker.sessions.get(client_id)
        member = member_of(session, group) if session is not None else None
        if session is None or member is None:
            continue
        if broker.router.may_receive(session, message.topic):
            deliver_member(broker, member, member.group.topic_filter, message, now)
        else:
            telling.dropped(broker, session, message, NOT_FOR_IT)


@final
class SharedHouse:
    """What a node of a cluster has to do with them (``curier.cluster.house``)."""

    def __init__(self, broker: BrokerState) -> None:
        self.broker: BrokerState = broker
        self.anywhere: dict[bytes, SharedGroup] = {}  # those with members at any node

    def know(self, group: bytes, is_there: bool) -> None:
        """It has members somewhere, or has none any more."""
        broker = self.broker
        prefix, topic_filter = _parts(group)
        before = self.anywhere.pop(group, None)
        if before is not None:
            broker.router.remove(split_shared(topic_filter)[1], before.key)
        if is_there:
            broker.last_group -= 1
            one = SharedGroup(broker.last_group, topic_filter, broker.mount(prefix))
            one.is_anywhere = True
            self.anywhere[group] = one
            broker.router.add(split_shared(topic_filter)[1], one)

    def groups_of(self, client_id: str) -> list[bytes]:
        """Those that the session is a member of."""
        session = self.broker.sessions.get(client_id)
        if session is None:
            return []
        return [one.group.name for one in session.subscriptions.values() if isinstance(one, Member)]

    def is_member(self, client_id: str, group: bytes) -> bool:
        """Is it, here and now?"""
        session = self.broker.sessions.get(client_id)
        return session is not None and member_of(session, group) is not None

    def is_taking(self, client_id: str) -> bool:
        """Is its client connected, and not far behind?"""
        session = self.broker.sessions.get(client_id)
        if session is None or (session.connection is None and session.arriving is None):
            return False
        return len(session.outgoing.queue) < BEHIND

    def give(self, messages: list[LogMessage], now: float) -> None:
        """Messages of QoS 0, each for those of its ``shares`` alone."""
        for one in messages:
            try:
                give(self.broker, one, now)
            except Exception as error:
                self.broker.faults.note("giving a message to a member of a Shared Subscription", error)

    def take_sends(self) -> list[LogMessage]:
        """Messages of QoS 0 that were published here for groups, since the last time: ``shares`` has the
        group, and nobody yet.
        """
        taken: list[LogMessage] = []
        for group, message in self.broker.for_groups:
            one = LogMessage("", message)
            one.shares = [("", group)]
            one.is_for_group = True
            taken.append(one)
        self.broker.for_groups = []
        return taken
