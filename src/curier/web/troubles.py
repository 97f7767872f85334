"""What is wrong with a broker, in words: the worst first."""

from __future__ import annotations

import math
import time
from typing import Final

from curier.server import Broker
from curier.web.forms import Trouble
from curier.web.history import Sample

NEARLY: Final = 0.9
SLOW_LOOP_SECONDS: Final = 0.25
CERTIFICATE_DAYS: Final = 14

ERROR: Final = "error"
WARNING: Final = "warning"


def troubles(broker: Broker, last: Sample | None) -> list[Trouble]:
    """All that is wrong now; ``last`` is how the broker was a moment ago."""
    core, options = broker.core, broker.options
    counted = core.statistics
    found: list[Trouble] = []
    if core.store_trouble:
        found.append(
            Trouble(ERROR, f"the disk takes nothing, so nothing is acknowledged: {core.store_trouble}")
        )
    view = broker.cluster_view
    for wrong in view.wrong if view is not None else ():
        found.append(Trouble(ERROR if wrong.is_error else WARNING, str(wrong)))
    for door in broker.doorways:
        name, ends = door.listener.name or door.listener.url, broker.certificates_end(door.listener)
        days = (ends - time.time()) / 86_400
        if math.isfinite(ends) and days < CERTIFICATE_DAYS:
            text = "has ended" if days < 0 else f"ends in {max(1, round(days))} days"
            found.append(Trouble(ERROR if days < 0 else WARNING, f"the certificate of {name} {text}"))
    for bridge in broker.bridges():
        if bridge.why and bridge.state in ("away", "ended"):
            found.append(
                Trouble(WARNING, f"the bridge {bridge.name} is not connected to {bridge.url}: {bridge.why}")
            )
    for what, has, most, setting in (
        ("clients are connected", counted.connected, options.max_connections, "max_connections"),
        (
            "topics have a retained message",
            len(core.retained),
            options.max_retained_messages,
            "max_retained_messages",
        ),
        ("bytes are retained", counted.retained_bytes, options.max_retained_bytes, "max_retained_bytes"),
        (
            "bytes wait in queues",
            counted.queued_bytes,
            options.max_queued_total_bytes,
            "max_queued_total_bytes",
        ),
        ("sessions are kept", counted.stored_sessions, options.max_sessions, "max_sessions"),
    ):
        if most and has >= NEARLY * most:
            level = ERROR if has >= most else WARNING
            found.append(Trouble(level, f"{has} of {most} {what} ({setting})"))
    if last is not None:
        if last.dropped_rate > 0:
            found.append(Trouble(WARNING, f"{last.dropped_rate:.3g} messages a second are dropped"))
        if last.loop_lag > SLOW_LOOP_SECONDS:
            found.append(Trouble(WARNING, f"the event loop was late by {last.loop_lag:.2g} s"))
    return sorted(found, key=lambda one: one.level != ERROR)
