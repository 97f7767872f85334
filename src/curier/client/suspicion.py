"""Finds what servers end the connection for: a message, such as one that is larger than they take and say, or
that there are too many at a time.

A message would be sent first on every connection for ever, and everything behind it would wait. So after two
such ends, or two before as many were complete as may be unfinished at a time, it is sent alone, which proves
it guilty or innocent. After a few more it is given up. If it is innocent, half as many go at a time from then
on: it may have been their number.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Final

from curier.errors import ConnectionLost
from curier.session.outgoing import MAXIMUM_PACKET_ID, Outgoing, OutgoingFlow

ALONE_AFTER: Final = 2
"""Ends with the same message first; from then on it is sent alone."""

MADE_BY_SERVERS: Final = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


class Suspicion:
    """What one client has seen. ``most`` ends with the same message first are enough; None: none are."""

    def __init__(self, most: int | None) -> None:
        self.entry: Outgoing | None = None
        self.ends = 0
        self.most_unfinished = MAXIMUM_PACKET_ID  # at a time
        self._most = most
        self._early = 0  # ends in a row of connections that had not got over ``_window``
        self._is_alone = False  # is ``entry`` sent alone on this connection?
        self._unfinished = 0  # when the last connection ended on which it was not
        self._window = 0  # may be unfinished on this connection
        self._kept = 0  # were unfinished when it began
        self._last_id = 0  # was used then

    def begin(self, outgoing: OutgoingFlow) -> bool:
        """A connection begins, nothing is sent yet. True: one message is to be sent alone."""
        outgoing.quota = outgoing.quota_maximum = min(outgoing.quota_maximum, self.most_unfinished)
        self._window = outgoing.quota
        self._kept = len(outgoing.inflight) + len(outgoing.releasing)
        self._last_id = outgoing.last_id
        self._is_alone = self.entry is not None and max(self.ends, self._early) >= ALONE_AFTER
        if self._is_alone:
            outgoing.quota = 1
        return self._is_alone

    def clear(self, outgoing: OutgoingFlow) -> bool:
        """What was sent alone is complete: the others may follow. True: fewer at a time than before."""
        self.entry = None
        self.ends = self._early = 0
        self._is_alone = False
        before = self._window
        if self._unfinished > 1:
            self.most_unfinished = (self._unfinished + 1) // 2
            self._window = outgoing.quota_maximum = min(before, self.most_unfinished)
        outgoing.quota += self._window - 1
        return self._window < before

    def end(self, outgoing: OutgoingFlow, error: ConnectionLost) -> Outgoing | None:
        """A connection has ended. The message to be given up, if there is one.

        Only ends that a server has made count: a network that fails says nothing of messages.
        """
        first = _first(outgoing)
        if self._most is None or first is None or not _is_by_server(error):
            return None
        if not self._is_alone:
            begun = _begun(outgoing)
            complete = self._kept + (outgoing.last_id - self._last_id) % MAXIMUM_PACKET_ID - begun
            self._unfinished = min(begun, self._window)
            self._early = self._early + 1 if complete < self._window and begun > 1 else 0
        if first is not self.entry:
            self.entry = first
            self.ends = 0
        self.ends += 1
        if self.ends < self._most:
            return None
        self.entry = None
        self.most_unfinished = MAXIMUM_PACKET_ID  # it was no matter of their number
        return first


def _first(outgoing: OutgoingFlow) -> Outgoing | None:
    """What was sent first and not acknowledged; it waits again where its session has ended meanwhile."""
    for entry in outgoing.inflight.values():
        if entry.on_wire:
            return entry
    return outgoing.queue[0] if outgoing.queue and outgoing.queue[0].sent_at else None


def _begun(outgoing: OutgoingFlow) -> int:
    """How many were sent and are not complete; see ``_first``."""
    again = sum(1 for _ in takewhile(lambda entry: entry.sent_at, outgoing.queue))
    return len(outgoing.inflight) + len(outgoing.releasing) + again


def _is_by_server(error: ConnectionLost) -> bool:
    if error.by_server:
        return True
    cause = error.__cause__
    return error.reason_code == 0x80 and (cause is None or isinstance(cause, MADE_BY_SERVERS))
