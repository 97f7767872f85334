"""A load generator that checks every message: what is behind ``curier bench``.

    result = Traffic(Plan(scenario="fanout", host="127.0.0.1", qos=1)).run()
    print(result.latency.percentile(99), result.checks.lost)

It is made to cost less than the broker it measures. Messages are numbered and stamped copies of one encoded
PUBLISH (``payload``), made and compared by the hundred; one read is one scan and one write; one thread with
one selector serves all connections, and uses nothing of curier but the codec, and for WebSocket its frames.

``plan`` says what is to be done; ``traffic`` does it, with ``publisher`` and ``subscriber``, which are each
a ``connection``; ``connects`` is the scenario that only connects. ``tunnel`` is TLS and WebSocket. What comes
out is a ``result``.
"""

from __future__ import annotations

from curier.loadgen.connects import Connects
from curier.loadgen.plan import MIXED, MIXED_SPREAD, MIXED_TOPICS, SCENARIOS, Plan, Scenario
from curier.loadgen.result import Checks, Result
from curier.loadgen.traffic import Traffic
from curier.loadgen.work import Progress, Work

__all__ = [
    "MIXED",
    "MIXED_SPREAD",
    "MIXED_TOPICS",
    "SCENARIOS",
    "Checks",
    "Connects",
    "Plan",
    "Progress",
    "Result",
    "Scenario",
    "Traffic",
    "Work",
]
