"""The messages of sessions that have ended, forgotten piece by piece, since there may be a million of one.

Those of Shared Subscriptions go to other members, but never a QoS 2 one in delivery [MQTT-4.8.2-5]. To
everybody else the session is gone at once; only memory knows the difference, and the journal: until all are
forgotten it has their session as one without a Client Identifier, so that after a crash it is gone on with.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.deadlines import Deadline
from curier.broker.delivery import choose_for, deliver_member
from curier.broker.model import Leftovers, ServerSession
from curier.broker.mounting import group_name
from curier.broker.state import BrokerState
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.records import HandedOn, SessionEnded, SessionSaved

STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now
PIECE: Final = 8  # an eighth of a turn for one session, before the next has its turn

WORK_OF_KEYS: Final = 5  # bits: to free 32 Packet Identifiers is 1

GONE: Final = Outgoing(ApplicationMessage(b"", b"", 0, False), 0, False)
"""In place of a message that is forgotten, while a dict of them is walked through: it may change its values,
but not its size. What is freed only with the dict is then its keys."""


def begin(broker: BrokerState, session: ServerSession, now: float, is_known: bool = False) -> None:
    """Forget the messages of ``session``, as many as there is time for now. ``is_known``: the journal knows
    it as one that has ended, and has messages left.
    """
    left = Leftovers(session, is_known)
    broker.statistics.queued_bytes -= left.outgoing.queued_bytes
    if _forget(broker, left, broker.work_per_turn, now):
        return
    if session.journal is not None and not is_known:
        left.is_known = True
        prefix = session.mount.prefix if session.mount is not None else b""
        session.journal.add(SessionSaved(session.number, "", 0, 0, 0.0, prefix))
    broker.leftovers.append(left)
    if broker.forgetting is None:
        broker.forgetting = Forgetting(broker)
    if not broker.forgetting.is_scheduled():
        broker.deadlines.add(broker.forgetting, now + STEP_PAUSE)


def _forget(broker: BrokerState, left: Leftovers, work: int, now: float) -> bool:
    """Forget the next of them, for as much work. True: there are none left."""
    until = min(broker.work_per_turn, broker.spent + work)
    while broker.spent < until:
        entry = _take(broker, left)
        if entry is None:
            outgoing = left.outgoing
            keys = len(outgoing.inflight) + len(outgoing.releasing) + len(left.incoming.identifiers)
            broker.spent += keys >> WORK_OF_KEYS  # they are freed now
            if left.is_known and left.session.journal is not None:
                left.session.journal.add(SessionEnded(left.session.number))
            return True
        broker.spent += 1
        if entry.group and not broker.is_clustered:
            try:
                _hand_over(broker, left.session, entry, now)
            except Exception as error:
                broker.faults.note("handing over a message of a session that has ended", error)
        left.outgoing.forget(entry)
    return False


def _take(broker: BrokerState, left: Leftovers) -> Outgoing | None:
    """The next of them, in the order of sending, which nothing else holds any more; None: there is none."""
    outgoing = left.outgoing
    for entry in left.inflight:
        if outgoing.resend:
            outgoing.resend.popleft()  # which is mostly the same
        outgoing.inflight[entry.packet_id] = GONE
        return entry
    while outgoing.bursts and not left.shared:
        burst = outgoing.bursts[outgoing.done]
        outgoing.drop_burst()
        broker.spent += 1
        if burst.group or burst.delivery:  # or nobody else gets them, and the journal knows nothing of them
            left.shared = burst.entries()
            left.shared.reverse()  # the first is the last now, which costs nothing to take
    if left.shared:
        return left.shared.pop()
    for entry in left.releasing:
        outgoing.releasing[entry.packet_id] = GONE
        return entry
    if outgoing.queue:
        entry = outgoing.queue.popleft()
        broker.statistics.stored_payload -= len(entry.message.payload)
        return entry
    return None


def _hand_over(broker: BrokerState, session: ServerSession, entry: Outgoing, now: float) -> None:
    """Give a message that ``session`` got as a member of a Shared Subscription to another one."""
    group = broker.groups.get(group_name(session.mount, entry.group))
    if group is None or (entry.qos == 2 and entry.packet_id):
        return
    if entry.message.is_expired(now):  # [MQTT-3.3.2-5]: to another member it was not sent before
        telling.expired(broker, session, entry.message)
        return
    if broker.router.judge is not None:  # the route has those members that may receive it
        shown = [one for one in broker.router.route(entry.message.topic).groups if one.key == group.key]
        if not shown:
            return
        group = shown[0]
    member = choose_for(broker, group, entry.message)
    if member is not None:
        deliver_member(broker, member, group.topic_filter, entry.message, now)


def hand_on(session: ServerSession) -> None:
    """In a cluster any node may have the next member: what a session that ends has of its groups goes back to
    the log, but never a QoS 2 message in delivery [MQTT-4.8.2-5].
    """
    outgoing = session.outgoing
    journal = session.journal
    if journal is None:
        return
    outgoing.settle()
    for entry in [*outgoing.inflight.values(), *outgoing.queue]:
        if entry.group and not (entry.qos == 2 and entry.packet_id):
            group = group_name(session.mount, entry.group)
            journal.add(HandedOn(session.number, group, entry.message))


@final
class Forgetting(Deadline):
    """Goes on with all of them in turns, one piece after the other."""

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker

    def fire(self, now: float) -> float:
        broker = self.broker
        while broker.leftovers and broker.spent < broker.work_per_turn:
            left = broker.leftovers.popleft()
            if not _forget(broker, left, max(1, broker.work_per_turn // PIECE), now):
                broker.leftovers.append(left)
        return self._next(now)

    def failed(self, error: Exception, now: float) -> float:
        return self._next(now)

    def _next(self, now: float) -> float:
        return now + STEP_PAUSE if self.broker.leftovers else 0.0
