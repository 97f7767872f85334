"""How the broker is, told under ``$SYS/broker``.

The names are the ones people's dashboards read already, Mosquitto's, and mean the same; each value is text, a
bare number but for ``version`` and ``uptime``, which are as Mosquitto has them.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.deadlines import Deadline
from curier.broker.publishing import publish
from curier.broker.state import BrokerState
from curier.session.message import ApplicationMessage
from curier.version import VERSION

COUNTED_PER_STEP: Final = 10_000  # sessions whose messages are counted before others have their turn
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now


@final
class SysPublisher(Deadline):
    """Publishes ``$SYS/broker/...`` every ``sys_interval`` seconds; unchanged values are retained and not
    sent again, but where nothing is retained.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self._last: dict[str, str] = {}
        self._loads: dict[str, LoadAverage] = {}
        self._fired_at: float = broker.started_at
        self._place: int = 0  # of the first session that is not counted yet
        self._heap_maximum: int = 0
        self._counted: int = 0  # messages that the sessions counted so far have in their queues and inflight

    def fire(self, now: float) -> float:
        if not self._place:
            self._counted = 0
        if self._count():
            return now + STEP_PAUSE
        elapsed = now - self._fired_at
        self._fired_at = now
        values = self._values(now)
        self.broker.statistics.longest_turn = 0.0
        self._add_loads(values, elapsed)
        retain = self.broker.options.retain_available
        for name, value in values.items():
            if not retain or self._last.get(name) != value:
                self._last[name] = value
                self._publish(name, value, retain, now)
        for name in [name for name in self._last if name not in values]:  # as of a listener that was closed
            self._forget(name, now)
        return now + self.broker.options.sys_interval

    def silence(self, now: float) -> None:
        """Nothing is told any more: leave nothing behind that would look as if it were."""
        for name in list(self._last):
            self._forget(name, now)

    def _forget(self, name: str, now: float) -> None:
        """There is no such value any more; nor a retained message of it [MQTT-3.3.1-6]."""
        del self._last[name]
        self._publish(name, "", True, now)

    def _publish(self, name: str, value: str, retain: bool, now: float) -> None:
        topic = f"$SYS/broker/{name}".encode()
        publish(self.broker, ApplicationMessage(topic, value.encode(), 0, retain), None, now)

    def failed(self, error: Exception, now: float) -> float:
        self._place = 0
        return now + self.broker.options.sys_interval

    def _count(self) -> bool:
        """Count the messages of some sessions; are there sessions left?"""
        sessions = self.broker.session_list
        end = min(self._place + COUNTED_PER_STEP, len(sessions))
        for place in range(self._place, end):
            outgoing = sessions[place].outgoing
            self._counted += len(outgoing.queue) + outgoing.inflight_count()
        self._place = end if end < len(sessions) else 0
        return self._place > 0

    def _values(self, now: float) -> dict[str, str]:
        broker = self.broker
        traffic = broker.traffic
        statistics = broker.statistics
        away = len(broker.sessions) - statistics.connected
        queued = self._counted
        values = {
            "version": f"curier {VERSION}",
            "uptime": f"{int(now - broker.started_at)} seconds",
            "clients/total": str(len(broker.sessions)),
            "clients/connected": str(statistics.connected),
            "clients/active": str(statistics.connected),
            "clients/disconnected": str(away),
            "clients/inactive": str(away),
            "clients/maximum": str(statistics.connected_maximum),
            "clients/expired": str(statistics.expired_sessions),
            "clients/slowed": str(statistics.slowed),
            "messages/received": str(traffic.packets_received),
            "messages/sent": str(traffic.packets_sent),
            "messages/stored": str(queued + len(broker.retained)),
            "store/messages/count": str(queued + len(broker.retained)),
            "store/messages/bytes": str(statistics.stored_payload),
            "publish/messages/received": str(traffic.publishes_received),
            "publish/messages/sent": str(traffic.publishes_sent),
            "publish/messages/dropped": str(statistics.dropped),
            "publish/messages/dropped/full": str(statistics.dropped_full),
            "publish/bytes/received": str(traffic.publish_bytes_received),
            "publish/bytes/sent": str(traffic.publish_bytes_sent),
            "bytes/received": str(traffic.bytes_received),
            "bytes/sent": str(traffic.bytes_sent),
            "retained messages/count": str(len(broker.retained)),
            "subscriptions/count": str(statistics.subscriptions),
            "shared_subscriptions/count": str(statistics.shared_subscriptions),
            "turn/longest": f"{statistics.longest_turn * 1000:.1f}",  # milliseconds
        }
        heap = broker.host.memory()
        if heap:
            self._heap_maximum = max(self._heap_maximum, heap)
            values["heap/current"] = str(heap)
            values["heap/maximum"] = str(self._heap_maximum)
        for entrance in statistics.entrances:
            above = f"listeners/{entrance.level}/"
            values[above + "clients/connected"] = str(entrance.connected)
            values[above + "clients/maximum"] = str(entrance.connected_maximum)
            values[above + "sockets"] = str(entrance.accepted)
            values[above + "bytes/received"] = str(entrance.bytes_received)
            values[above + "bytes/sent"] = str(entrance.bytes_sent)
        values.update(broker.host.told)
        return values

    def _add_loads(self, values: dict[str, str], elapsed: float) -> None:
        """Averages per minute over about 1, 5 and 15 minutes, as ``load/.../1min`` and so on."""
        broker = self.broker
        traffic = broker.traffic
        for name, total in (
            ("messages/received", traffic.packets_received),
            ("messages/sent", traffic.packets_sent),
            ("publish/received", traffic.publishes_received),
            ("publish/sent", traffic.publishes_sent),
            ("publish/dropped", broker.statistics.dropped),
            ("bytes/received", traffic.bytes_received),
            ("bytes/sent", traffic.bytes_sent),
            ("sockets", broker.statistics.accepted),
            ("connections", broker.statistics.connects),
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
