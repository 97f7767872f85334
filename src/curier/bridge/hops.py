"""Where a message has been: one User Property for each broker that a bridge took it from.

With MQTT 5.0 a server does not send a bridge back what that has published (No Local, 3.8.3.1), and before
5.0 those that know the bridge bit do not. That breaks a circle of two. In a larger one, a bridge looks
whether the message has been where it would go, and how far it has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from curier.inside import HOP

PROPERTY: Final = HOP
MOST: Final = 10
"""Brokers that a message passes at most, by default."""

Pairs = Sequence[tuple[str, str]]


def passed(user_properties: Pairs) -> list[str]:
    """The brokers, in order."""
    return [value for name, value in user_properties if name == PROPERTY]


def why_not_on(user_properties: Pairs, source: str, target: str, most: int) -> str:
    """Plain words where the message would go in a circle; "" where it may go on. ``source`` and ``target``
    are the names of the brokers that it would go from and to, "" where that is not known.
    """
    seen = passed(user_properties)
    if target and target in seen:
        return f"it has been at {target} already"
    if source and source in seen:
        return f"it has come back to {source}"
    if len(seen) >= most:
        return f"it has passed {len(seen)} brokers (max_hops)"
    return ""


def with_hop(user_properties: Pairs, source: str) -> list[tuple[str, str]]:
    """The User Properties that it goes on with."""
    return [*user_properties, (PROPERTY, source)]
