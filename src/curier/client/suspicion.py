"""Finds the message that servers end the connection for, such as one that is larger than they take and say.

It would be sent first on every connection for ever, and everything behind it would wait. So after two such
ends it is sent alone, which proves it guilty or innocent, and after a few more it is given up.
"""

from __future__ import annotations

from typing import Final

from curier.errors import ConnectionLost
from curier.session.outgoing import Outgoing, OutgoingFlow

ALONE_AFTER: Final = 2
"""Ends with the same message first; from then on it is sent alone."""

MADE_BY_SERVERS: Final = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


class Suspicion:
    """What one client has seen. ``most`` ends with the same message first are enough; None: none are."""

    def __init__(self, most: int | None) -> None:
        self.entry: Outgoing | None = None
        self.ends = 0
        self._most = most
        self._withheld = 0  # of the send quota

    def begin(self, outgoing: OutgoingFlow) -> bool:
        """A connection begins, nothing is sent yet. True: one message is to be sent alone."""
        if self.entry is None or self.ends < ALONE_AFTER:
            return False
        self._withheld = outgoing.quota - 1
        outgoing.quota = 1
        return True

    def clear(self, outgoing: OutgoingFlow) -> None:
        """What was sent alone is complete: the others may follow."""
        self.entry = None
        self.ends = 0
        outgoing.quota += self._withheld

    def end(self, outgoing: OutgoingFlow, error: ConnectionLost) -> Outgoing | None:
        """A connection has ended. The message to be given up, if there is one.

        Only ends that a server has made count: a network that fails says nothing of messages.
        """
        first = _first(outgoing)
        if self._most is None or first is None or not _is_by_server(error):
            return None
        if first is not self.entry:
            self.entry = first
            self.ends = 0
        self.ends += 1
        if self.ends < self._most:
            return None
        self.entry = None
        return first


def _first(outgoing: OutgoingFlow) -> Outgoing | None:
    """What was sent first and not acknowledged; it waits again where its session has ended meanwhile."""
    for entry in outgoing.inflight.values():
        if entry.on_wire:
            return entry
    return outgoing.queue[0] if outgoing.queue and outgoing.queue[0].sent_at else None


def _is_by_server(error: ConnectionLost) -> bool:
    if error.by_server:
        return True
    cause = error.__cause__
    return error.reason_code == 0x80 and (cause is None or isinstance(cause, MADE_BY_SERVERS))
