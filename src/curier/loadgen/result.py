"""What a run measured and found, and how it looks as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curier.loadgen.histogram import Histogram
from curier.loadgen.plan import Plan
from curier.loadgen.process import Usage

PERCENTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99_9", 99.9))


@dataclass
class Checks:
    """What became of messages. ``corrupted``: topic, payload, QoS or a flag is not as it was sent."""

    received: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    corrupted: int = 0

    def add(self, other: Checks) -> None:
        """Add what was found elsewhere."""
        self.received += other.received
        self.lost += other.lost
        self.doubled += other.doubled
        self.reordered += other.reordered
        self.corrupted += other.corrupted

    @property
    def is_good(self) -> bool:
        """Whether all is as it should be."""
        return not (self.lost or self.doubled or self.reordered or self.corrupted)

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return dict(vars(self))


@dataclass
class Result:
    """One run. Times are in seconds, unless the name says otherwise, and begin after the warm-up.

    ``seconds`` goes from the first message to the last delivery or acknowledgement; all counts but those of
    ``checks`` and ``faults`` belong to that span, and so do ``broker`` (None: unknown) and
    ``generator_cpu``. ``faults`` has the checks of each topic that were not good.
    """

    plan: Plan
    seconds: float = 0.0
    was_interrupted: bool = False
    published: int = 0
    acknowledged: int = 0
    delivered: int = 0
    connected: int = 0
    foreign: int = 0  # messages that no generator of this kind has sent
    refused: int = 0  # messages that the broker did not want
    stalls: int = 0  # how often nothing came for so long that what was missing was given up
    latency: Histogram = field(default_factory=Histogram)
    ack_latency: Histogram = field(default_factory=Histogram)
    connect_latency: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    checks: Checks = field(default_factory=Checks)
    faults: dict[str, Checks] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    broker: Usage | None = None
    generator_cpu: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether every message arrived once, in order and whole, and nothing else went wrong."""
        return self.checks.is_good and not self.errors and not self.refused

    @property
    def messages(self) -> int:
        """Messages in and out of the broker, or connections where that was all."""
        return self.connected if self.plan.scenario == "connect" else self.published + self.delivered

    @property
    def broker_cpu_us(self) -> float | None:
        """Microseconds of the broker's CPU time per message in or out, or per connection; None: unknown."""
        if self.broker is None or not self.messages:
            return None
        return self.broker.cpu_seconds / self.messages * 1e6

    def as_json(self) -> dict[str, Any]:
        """The whole result: counts, seconds (``_s``), microseconds (``_us``), bytes. None: not known."""
        plan = self.plan
        found: dict[str, Any] = {
            "scenario": plan.scenario,
            "ok": self.is_good,
            "interrupted": self.was_interrupted,
            "broker_address": plan.address,
            "version": {4: "3.1.1", 5: "5.0"}[plan.version],
            "seconds": round(self.seconds, 6),
        }
        if plan.scenario == "connect":
            found["connections"] = self.connected
            found["connections_per_s"] = self._per_second(self.connected)
            found["connect_latency_us"] = latency_json(self.connect_latency)
        else:
            found |= {
                "qos": plan.qos,
                "payload_bytes": plan.payload,
                "spread_bytes": plan.spread,
                "topics": plan.topics,
                "publishers": plan.publisher_count,
                "subscribers": plan.subscriber_count,
                "published": self.published,
                "acknowledged": self.acknowledged,
                "delivered": self.delivered,
                "published_per_s": self._per_second(self.published),
                "delivered_per_s": self._per_second(self.delivered),
                "latency_us": latency_json(self.latency),
                "ack_latency_us": latency_json(self.ack_latency),
                "lateness_us": latency_json(self.lateness),
                "checks": self.checks.as_json(),
                "faults": {topic: checks.as_json() for topic, checks in self.faults.items()},
                "refused": self.refused,
                "foreign": self.foreign,
                "stalls": self.stalls,
            }
        found["errors"] = self.errors
        found["generator_cpu_s"] = round(self.generator_cpu, 6)
        found["broker"] = self._broker_json()
        return found

    def _per_second(self, count: int) -> float:
        return round(count / self.seconds, 1) if self.seconds else 0.0

    def _broker_json(self) -> dict[str, Any] | None:
        if self.broker is None:
            return None
        name = "cpu_us_per_connection" if self.plan.scenario == "connect" else "cpu_us_per_message"
        cost = self.broker_cpu_us
        return {
            "cpu_s": round(self.broker.cpu_seconds, 6),
            name: None if cost is None else round(cost, 4),
            "rss_bytes": self.broker.rss_bytes,
            "rss_growth_bytes": self.broker.rss_growth_bytes,
        }


def latency_json(histogram: Histogram) -> dict[str, float] | None:
    """Percentiles, maximum and mean in microseconds; None of nothing."""
    if not histogram.count:
        return None
    found = {name: round(histogram.percentile(percent) / 1000, 1) for name, percent in PERCENTILES}
    return found | {
        "max": round(histogram.maximum / 1000, 1),
        "mean": round(histogram.mean() / 1000, 1),
    }
