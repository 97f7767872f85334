"""Other rules, for clients that are there: first what each may by them is found out, then they hold, for all
at once; then subscriptions end that are not allowed any more. A piece at a time, whatever there is.

MQTT has no packet that tells a client of this but DISCONNECT, so a 5.0 client is disconnected (0x87), comes
back, and finds its session without them.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.attaching import cost_of, detach
from curier.broker.deadlines import Deadline
from curier.broker.judging import Judge
from curier.broker.model import ServerSession
from curier.broker.state import BrokerState
from curier.broker.subscribing import forget_sends
from curier.codec.constants import MQTT_50, NOT_AUTHORIZED
from curier.session.records import Unsubscribed

PER_STEP: Final = 256  # questions, and clients looked at
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now


def judge_by(broker: BrokerState, judge: Judge, now: float) -> None:
    """Have ``judge`` decide as soon as it is known what all clients may: now, if they are few."""
    rejudging = _rejudging(broker)
    rejudging.judge = judge
    rejudging.at = len(broker.session_list)
    rejudging.go_on(now)


def look_at(broker: BrokerState, session: ServerSession, now: float) -> None:
    """The client of a session is another than before: has it subscriptions that it could not make?"""
    rejudging = _rejudging(broker)
    rejudging.waiting.append(session)
    if not rejudging.is_scheduled():
        broker.deadlines.add(rejudging, now)


def _rejudging(broker: BrokerState) -> Rejudging:
    found = broker.rejudging
    if not isinstance(found, Rejudging):
        found = broker.rejudging = Rejudging(broker)
    return found


@final
class Rejudging(Deadline):
    """Walks over all sessions, from the last: those that come meanwhile are last, and need no look."""

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.judge: Judge | None = None  # that is to come
        self.at: int = 0  # behind the next session of the walk
        self.waiting: list[ServerSession] = []  # others to be looked at
        self.session: ServerSession | None = None  # that is being looked at
        self.filters: list[bytes] = []  # of it, those that have not been
        self.gone: list[bytes] = []  # those that have ended

    def go_on(self, now: float) -> None:
        """Do a piece now, and the rest by and by."""
        if self.is_scheduled():
            self.broker.deadlines.cancel(self)
        again = self.fire(now)
        if again:
            self.broker.deadlines.add(self, again)

    def fire(self, now: float) -> float:
        budget = PER_STEP
        judge = self.judge
        if judge is not None:
            budget = self._prepare(judge, budget)
            if budget <= 0:
                return now + STEP_PAUSE
            self.judge = None
            self.broker.router.judge = judge
            self.broker.router.forget_all()
            self.at = len(self.broker.session_list) if judge.refuses_subscriptions else 0
        while budget > 0:
            if self.session is None and not self._next():
                return 0.0
            budget -= self._look(budget, now)
        return now + STEP_PAUSE

    def failed(self, error: Exception, now: float) -> float:
        self.session = None
        return now + STEP_PAUSE

    def _prepare(self, judge: Judge, budget: int) -> int:
        """Find out what the next clients may; what is left of the budget."""
        sessions = self.broker.session_list
        self.at = min(self.at, len(sessions))
        while self.at and budget > 0:
            self.at -= 1
            budget -= 1
            rights = sessions[self.at].rights
            if rights is not None:
                rights.next = judge.rights(rights.who)
        return budget

    def _next(self) -> bool:
        """Take the next session; False where there is none."""
        sessions = self.broker.session_list
        self.at = min(self.at, len(sessions))
        if self.waiting:
            self.session = self.waiting.pop()
        elif self.at:
            self.at -= 1
            self.session = sessions[self.at]
        else:
            return False
        self.filters = list(self.session.subscriptions)
        self.gone = []
        return True

    def _look(self, budget: int, now: float) -> int:
        """Look at some subscriptions of a session; what that has cost."""
        broker = self.broker
        session = self.session
        assert session is not None
        rights = session.rights_by(broker.router.judge)
        if rights is None or broker.sessions.get(session.client_id) is not session:
            self.session = None
            return 1
        connection = session.connection
        if connection is not None and connection.work is not None:
            connection.work.verdicts = []  # a SUBSCRIBE that is being worked off is asked about anew
        cost = 1
        while self.filters and cost < budget:
            cost += 1
            topic_filter = self.filters.pop()
            subscription = session.subscriptions.get(topic_filter)
            if subscription is None or rights.may_subscribe(topic_filter, subscription.qos):
                continue
            del session.subscriptions[topic_filter]
            detach(broker, session, topic_filter, subscription)
            if session.journal is not None:
                session.journal.add(Unsubscribed(session.number, topic_filter))
            self.gone.append(topic_filter)
            telling.revoked(broker, session, topic_filter, rights.why)
            cost += cost_of(topic_filter)
        if not self.filters:
            self.session = None
            if self.gone:
                self._tell(session, now)
        return cost

    def _tell(self, session: ServerSession, now: float) -> None:
        forget_sends(session, self.gone)
        connection = session.connection
        if connection is None or connection.version != MQTT_50:
            return
        first = self.gone[-1].decode(errors="replace")
        others = f" and {len(self.gone) - 1} others" if len(self.gone) > 1 else ""
        why = f"not authorized any more to subscribe to {first}{others}: these subscriptions have ended"
        connection.now = now
        connection.send_disconnect(NOT_AUTHORIZED, why, None)
        connection.end(NOT_AUTHORIZED, why, now)
