"""What is answered about bridges."""

from __future__ import annotations

from msgspec import Struct

from curier.inside import BridgeState


class BridgeRow(Struct):
    """A bridge. ``since`` is when it came into its ``state``, ``why`` says why it is not connected, where an
    attempt has failed. Numbers are messages since it was started; ``lost`` are those not carried, by reason,
    ``waiting`` those that wait for it here.
    """

    name: str
    url: str
    """The server that it is at, or tries."""
    state: BridgeState
    since: float
    why: str
    connects: int
    out: int
    into: int
    lost: dict[str, int]
    waiting: int


class Bridges(Struct):
    """All of them."""

    bridges: list[BridgeRow]
