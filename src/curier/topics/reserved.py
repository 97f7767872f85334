"""Topics that begin with ``$``: which of them this server keeps for itself (4.7.2).

The specification leaves them to the server's own purposes, and the field uses them for more: ``$aws/...`` and
``$iothub/...`` are ordinary topics elsewhere, and so they are here, but for the few names below.
"""

from __future__ import annotations

from typing import Final

SYSTEM: Final = b"$SYS"  # what the broker tells of itself
OTHERS: Final = (b"$share", b"$queue", b"$curier")  # subscriptions of a special kind, here or elsewhere

# Where a bridge says whether it is connected: it publishes there, and so does its will. Mosquitto's bridges
# do, by default, and do not come in where they may not.
BRIDGE_STATE: Final = b"$SYS/broker/connection/"
STATE: Final = b"/state"


def why_not_published(topic: bytes) -> str:
    """Plain words where no client may publish to this Topic Name; "" where one may."""
    if not topic.startswith(b"$"):
        return ""
    first = _first_level(topic)
    if first == SYSTEM:
        return "" if is_bridge_state(topic) else "topics below $SYS belong to the server"
    return _why_reserved(first)


def why_not_subscribed(topic_filter: bytes) -> str:
    """Plain words where no message can match this Topic Filter, which is not a Shared Subscription's; ""
    where one can.
    """
    return _why_reserved(_first_level(topic_filter)) if topic_filter.startswith(b"$") else ""


def is_bridge_state(topic: bytes) -> bool:
    """Is this where a bridge tells its state? The name between may have levels."""
    return (
        topic.startswith(BRIDGE_STATE)
        and topic.endswith(STATE)
        and len(topic) > len(BRIDGE_STATE) + len(STATE)
    )


def is_told_by_server(topic: bytes) -> bool:
    """Is this a topic on which the broker tells of itself, and nobody else may?"""
    return topic.startswith(b"$SYS/") and not is_bridge_state(topic)


def _first_level(topic: bytes) -> bytes:
    return topic.partition(b"/")[0]


def _why_reserved(first: bytes) -> str:
    return f"topics below {first.decode()} belong to the server" if first in OTHERS else ""
