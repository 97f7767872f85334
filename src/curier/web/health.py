"""``/healthz`` and ``/readyz``: is this process alive, and should clients be sent here?"""

from __future__ import annotations

from curier.server import Broker


def why_not_ready(broker: Broker) -> str:
    """In words, or "" where it is ready: it serves, and keeps what it acknowledges."""
    if not broker.is_serving:
        return "the broker does not serve clients: it starts, or stops"
    trouble = broker.core.store_trouble
    if trouble:
        return f"the disk takes nothing: {trouble}"
    view = broker.cluster_view
    return view.why_not_healthy if view is not None else ""
