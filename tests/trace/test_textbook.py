"""The diagrams of the text book, made from real runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.testing import Pair
from curier.trace.drawing.making import View, diagram
from curier.trace.drawing.text import text
from tests.trace.seen import Seen
from tests.trace.test_drawing import WAITING

QOS_0 = """\
site/7/temp  QoS 0, 4 B

 gateway-7 (5.0)           broker                 dash-1 (3.1.1)
  │ PUBLISH q0  site/7/temp │                      │
  │────────────────────────▶│ 22:13:20.001  "21.5" │
  │                         │ PUBLISH q0           │
  │                         │─────────────────────▶│ +0.1 ms
  │                         │                      │
"""

QOS_1 = """\
site/7/temp  QoS 1, 4 B

 gateway-7 (5.0)              broker                   dash-1 (3.1.1)
  │ PUBLISH q1 #1  site/7/temp │                        │
  │───────────────────────────▶│ 22:13:20.001  "21.5"   │
  │                            │ PUBLISH q1 #1          │
  │                            │───────────────────────▶│ +0.1 ms
  │                  PUBACK #1 │                        │
  │◀───────────────────────────│ +0.1 ms  at least once │
  │                            │              PUBACK #1 │
  │                            │◀───────────────────────│ +0.2 ms  delivered
  │                            │                        │
"""

QOS_2 = """\
site/7/temp  QoS 2, 4 B

 gateway-7 (5.0)              broker                  dash-1 (3.1.1)
  │ PUBLISH q2 #1  site/7/temp │                       │
  │───────────────────────────▶│ 22:13:20.001  "21.5"  │
  │                            │ PUBLISH q2 #1         │
  │                            │──────────────────────▶│ +0.1 ms
  │                  PUBREC #1 │                       │
  │◀───────────────────────────│ +0.1 ms               │
  │                            │             PUBREC #1 │
  │                            │◀──────────────────────│ +0.2 ms
  │ PUBREL #1                  │                       │
  │───────────────────────────▶│ +0.2 ms               │
  │                            │ PUBREL #1             │
  │                            │──────────────────────▶│ +0.3 ms
  │                 PUBCOMP #1 │                       │
  │◀───────────────────────────│ +0.3 ms  exactly once │
  │                            │            PUBCOMP #1 │
  │                            │◀──────────────────────│ +0.4 ms  delivered once
  │                            │                       │
"""

SENT_AGAIN = """\
site/7/temp  QoS 1, 4 B

 gateway-7 (5.0)              broker                       dash-1 (3.1.1)
  │ PUBLISH q1 #1  site/7/temp │                            │
  │──────────────────✗         │ 22:13:20.001  "21.5"       │
  │                            │ lost: the line was cut     │
  │ PUBLISH q1 #1 DUP          │                            │
  │───────────────────────────▶│ +20.0 s  sent again        │
  │                            │ PUBLISH q1 #1              │
  │                            │───────────────────────────▶│ +20.0 s
  │                  PUBACK #1 │                            │
  │◀───────────────────────────│ +20.0 s  at least once     │
  │                            │                  PUBACK #1 │
  │                            │◀───────────────────────────│ +20.0 s  delivered
  │                            │                            │
"""


def drawn(seen: Seen, width: int = 80, **how: bool) -> str:
    (publication,) = seen.joined().publications
    lines = text(diagram(publication, View(utc=True)), width, **how)
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(("qos", "golden"), [(0, QOS_0), (1, QOS_1), (2, QOS_2)])
def test_the_flows_of_qos_0_1_and_2(qos: int, golden: str) -> None:
    pair = Pair(latency=0.0001)
    gateway, dash = pair.connect("gateway-7"), pair.connect("dash-1", version=4)
    dash.subscribe("site/#", qos=qos)
    seen = Seen(pair)
    gateway.publish("site/7/temp", b"21.5", qos=qos)
    pair.run(1)
    assert drawn(seen) == golden


def test_a_message_that_is_sent_again() -> None:
    pair = Pair(latency=0.0001)
    dash = pair.connect("dash-1", version=4)
    dash.subscribe("site/#", qos=1)
    gateway = pair.connect("gateway-7", session_expiry_interval=300)
    seen = Seen(pair)
    gateway.publish("site/7/temp", b"21.5", qos=1)
    seen.lose_last("lost: the line was cut")
    gateway.cut()
    pair.run(20)
    gateway.reconnect()
    pair.run(1)
    assert drawn(seen) == SENT_AGAIN


def test_the_documentation_has_these_drawings() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "trace.md").read_text()
    assert all(f"\n{golden}" in page for golden in (QOS_0, QOS_1, SENT_AGAIN, WAITING))
    assert f"```text\n{QOS_2}```" in (root / "README.md").read_text()
