"""What who asks may do."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """What somebody may do; each may what those before may."""

    VIEWER = 1
    """Look, also at retained messages."""
    OPERATOR = 2
    """Act on clients and topics."""
    ADMIN = 3
    """Change the broker."""
