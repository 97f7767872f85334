"""What a broker does by itself: ends sessions, sends delayed wills, drops expired retained messages, tells
how it is under ``$SYS/broker``.

The ``$SYS`` names are the ones people's dashboards read already, Mosquitto's; each value is text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from curier.broker.deadlines import Deadline
from curier.broker.sessions import ServerSession
from curier.session.message import NEVER, ApplicationMessage

if TYPE_CHECKING:
    from curier.broker.core import BrokerCore
    from curier.topics.retained import RetainedWalk

SWEEP_PER_STEP: Final = 2000  # retained messages looked at before others have their turn
SWEEP_INTERVAL: Final = 10.0
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now
COUNTED_PER_STEP: Final = 10_000  # sessions, likewise, whose messages are counted

VERSION: Final = "curier 0.1.0"


@final
class Statistics:
    """Counters of a broker's life; ``protocol.connection.Traffic`` counts packets and bytes."""

    def __init__(self) -> None:
        self.accepted: int = 0  # Network Connections
        self.connected: int = 0  # clients with a CONNACK, now
        self.connected_maximum: int = 0
        self.refused: int = 0  # connections, subscriptions and messages refused within the rules
        self.protocol_errors: int = 0
        self.dropped: int = 0  # messages that will not reach a client
        self.expired_messages: int = 0
        self.expired_sessions: int = 0
        self.retained_bytes: int = 0
        self.subscriptions: int = 0  # of all sessions
        self.queued_bytes: int = 0  # of messages that wait in the queues of all sessions
        self.longest_turn: float = (
            0.0  # seconds others had to wait, at most, since $SYS told of it; the driver's
        )


@final
class SessionWatch(Deadline):
    """The delayed will and the end of a session whose client is away."""

    def __init__(self, core: BrokerCore, session: ServerSession) -> None:
        super().__init__()
        self.core: BrokerCore = core
        self.session: ServerSession = session

    def fire(self, now: float) -> float:
        session = self.session
        if session.connection is None and session.arriving is None:
            if session.ends_at and session.ends_at <= now:
                session.watch = None
                self.core.statistics.expired_sessions += 1
                self.core.end_session(session, "its Session Expiry Interval has passed", now)
                return 0.0
            if session.will_due_at and session.will_due_at <= now:
                self.core.publish_will(session, now)
        when = session.ends_at
        if session.will_due_at and (not when or session.will_due_at < when):
            when = session.will_due_at
        if not when:
            session.watch = None
        return when


@final
class RetainedSweep(Deadline):
    """Looks for expired retained messages from time to time, a piece at a time.

    A message that has expired is never sent even before the sweep finds it; this only frees its memory.
    """

    def __init__(self, core: BrokerCore) -> None:
        super().__init__()
        self.core: BrokerCore = core
        self._walks: list[RetainedWalk[ApplicationMessage]] = []  # the one that is going on, if any
        self._next: float = 0.0  # the first expiry it has met; 0: none
        self._not_before: float = 0.0  # so that short expiries do not make it sweep all the time

    def wake(self, when: float) -> None:
        """There is a retained message that expires at ``when``."""
        if self._walks:  # which may have passed it
            self._meet(when)
            return
        when = max(when, self._not_before)
        if not self.is_scheduled():
            self.core.deadlines.add(self, when)
        elif when < self.when:
            self.core.deadlines.move(self, when)

    def _meet(self, when: float) -> None:
        if not self._next or when < self._next:
            self._next = when

    def fire(self, now: float) -> float:
        core = self.core
        if not self._walks:
            self._walks.append(core.retained.walk(b"#"))
            self._next = 0.0
        walk = self._walks[0]
        for message in walk.next(SWEEP_PER_STEP):
            if message.expires_at == NEVER:
                continue
            if not message.is_expired(now):
                self._meet(message.expires_at)
            elif core.retained.get(message.topic) is message:
                core.expire_retained(message)
        if not walk.done:
            return now + STEP_PAUSE
        self._walks.clear()
        self._not_before = now + SWEEP_INTERVAL
        return max(self._next, self._not_before) if self._next else 0.0


@final
class SysPublisher(Deadline):
    """Publishes ``$SYS/broker/...`` every ``sys_interval`` seconds; unchanged values are retained and not
    sent again, but where nothing is retained.
    """

    def __init__(self, core: BrokerCore) -> None:
        super().__init__()
        self.core: BrokerCore = core
        self._last: dict[str, str] = {}
        self._loads: dict[str, LoadAverage] = {}
        self._fired_at: float = core.started_at
        self._place: int = 0  # of the first session that is not counted yet
        self._counted: int = 0  # messages that the sessions counted so far have in their queues and inflight

    def fire(self, now: float) -> float:
        if not self._place:
            self._counted = 0
        if self._count():
            return now + STEP_PAUSE
        elapsed = now - self._fired_at
        self._fired_at = now
        values = self._values(now)
        self.core.statistics.longest_turn = 0.0
        self._add_loads(values, elapsed)
        retain = self.core.options.retain_available
        for name, value in values.items():
            if not retain or self._last.get(name) != value:
                self._last[name] = value
                topic = f"$SYS/broker/{name}".encode()
                self.core.publish(ApplicationMessage(topic, value.encode(), 0, retain), None, now)
        return now + self.core.options.sys_interval

    def _count(self) -> bool:
        """Count the messages of some sessions; are there sessions left?"""
        sessions = self.core.session_list
        end = min(self._place + COUNTED_PER_STEP, len(sessions))
        for place in range(self._place, end):
            outgoing = sessions[place].outgoing
            self._counted += len(outgoing.queue) + outgoing.inflight_count()
        self._place = end if end < len(sessions) else 0
        return self._place > 0

    def _values(self, now: float) -> dict[str, str]:
        core = self.core
        traffic = core.traffic
        statistics = core.statistics
        away = len(core.sessions) - statistics.connected
        queued = self._counted
        return {
            "version": VERSION,
            "uptime": f"{int(now - core.started_at)} seconds",
            "clients/total": str(len(core.sessions)),
            "clients/connected": str(statistics.connected),
            "clients/active": str(statistics.connected),
            "clients/disconnected": str(away),
            "clients/inactive": str(away),
            "clients/maximum": str(statistics.connected_maximum),
            "clients/expired": str(statistics.expired_sessions),
            "messages/received": str(traffic.packets_received),
            "messages/sent": str(traffic.packets_sent),
            "messages/stored": str(queued + len(core.retained)),
            "store/messages/count": str(queued + len(core.retained)),
            "store/messages/bytes": str(statistics.queued_bytes + statistics.retained_bytes),
            "publish/messages/received": str(traffic.publishes_received),
            "publish/messages/sent": str(traffic.publishes_sent),
            "publish/messages/dropped": str(statistics.dropped),
            "publish/bytes/received": str(traffic.publish_bytes_received),
            "publish/bytes/sent": str(traffic.publish_bytes_sent),
            "bytes/received": str(traffic.bytes_received),
            "bytes/sent": str(traffic.bytes_sent),
            "retained messages/count": str(len(core.retained)),
            "subscriptions/count": str(statistics.subscriptions),
            "shared_subscriptions/count": str(len(core.groups)),
            "turn/longest": f"{statistics.longest_turn * 1000:.1f} ms",
        }

    def _add_loads(self, values: dict[str, str], elapsed: float) -> None:
        """Averages per minute over about 1, 5 and 15 minutes, as ``load/.../1min`` and so on."""
        core = self.core
        traffic = core.traffic
        for name, total in (
            ("messages/received", traffic.packets_received),
            ("messages/sent", traffic.packets_sent),
            ("publish/received", traffic.publishes_received),
            ("publish/sent", traffic.publishes_sent),
            ("publish/dropped", core.statistics.dropped),
            ("bytes/received", traffic.bytes_received),
            ("bytes/sent", traffic.bytes_sent),
            ("sockets", core.statistics.accepted),
            ("connections", core.statistics.accepted),
        ):
            load = self._loads.get(name)
            if load is None:
                load = self._loads[name] = LoadAverage()
            load.update(total, elapsed)
            for minutes, value in ((1, load.one), (5, load.five), (15, load.fifteen)):
                values[f"load/{name}/{minutes}min"] = f"{value:.2f}"


@final
class LoadAverage:
    """A rate per minute, smoothed over 1, 5 and 15 minutes like a system's load."""

    def __init__(self) -> None:
        self.total: int = 0
        self.one: float = 0.0
        self.five: float = 0.0
        self.fifteen: float = 0.0

    def update(self, total: int, elapsed: float) -> None:
        """``elapsed`` seconds after the last time the counter stands at ``total``."""
        if elapsed <= 0:
            self.total = total
            return
        rate = (total - self.total) * 60.0 / elapsed
        self.total = total
        self.one += (rate - self.one) * _weight(elapsed, 60.0)
        self.five += (rate - self.five) * _weight(elapsed, 300.0)
        self.fifteen += (rate - self.fifteen) * _weight(elapsed, 900.0)


def _weight(elapsed: float, span: float) -> float:
    """How much the newest measurement counts in an average that fades over ``span`` seconds."""
    fading: float = 2.718281828459045 ** (-elapsed / span)
    return 1.0 - fading
