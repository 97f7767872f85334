"""One direction of a TCP connection, put together again: in order, each byte once, holes named.

Sequence numbers are counted modulo 2 ** 32 and everything is bounded: a segment far ahead keeps no room free,
and a hole is given up when the other side has acknowledged it, when too much waits behind it, or at the end.

Source: RFC 9293 section 3.4.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from curier.trace.captures.segments import FIN, SYN, Segment

MOST_WAITING: Final = 4 * 1024 * 1024
"""Bytes behind a hole."""
MOST_SEGMENTS: Final = 4096
"""Segments behind a hole."""
MOST_AHEAD: Final = 2**30
"""The largest window of TCP (RFC 7323 section 2.3): what is farther ahead belongs to something else."""
_TAIL: Final = 4096  # bytes that are kept of what was given, to compare repetitions with
_SURE: Final = 3  # segments behind a hole that was acknowledged, before it is believed
_HALF: Final = 2**31


class Hole(int):
    """So many bytes are missing here."""


class Stream:
    """Feed it the segments of one direction; ``take`` gives what is in order.

    ``odd`` collects what was strange, in words, each once, until somebody takes it. ``closed`` once the FIN
    is reached.
    """

    def __init__(self) -> None:
        self.closed = False
        self.odd: list[str] = []
        self.waiting = 0  # bytes behind a hole
        self._started = False
        self._base = 0  # the sequence number of offset 0
        self._next = 0  # the offset of the byte that comes next
        self._starts: list[int] = []  # offsets of what waits, and its bytes, or its length where they are cut
        self._parts: list[bytes | int] = []
        self._fin = -1  # the offset of the FIN
        self._acknowledged = 0
        self._ready: list[bytes | Hole] = []
        self._tail = b""

    @property
    def started(self) -> bool:
        """Whether anything was fed."""
        return self._started

    def feed(self, segment: Segment) -> None:
        """A segment of this direction."""
        sequence = segment.sequence + 1 if segment.flags & SYN else segment.sequence
        if not self._started:
            self._started = True
            self._base = sequence
        start = self._offset(sequence)
        if abs(start - self._next) > MOST_AHEAD:
            self._say("segments far outside the window were passed over")
            return
        if segment.data:
            self._insert(start, segment.data)
        if segment.cut:
            self._insert_cut(start + len(segment.data), segment.cut)
        if segment.flags & FIN:
            self._fin = start + len(segment.data) + segment.cut
        self._advance()

    def acknowledge(self, number: int) -> None:
        """The other side says it has everything before this sequence number."""
        if self._started:
            offset = self._offset(number)
            if self._next < offset <= self._next + MOST_AHEAD:
                self._acknowledged = max(self._acknowledged, offset)
                self._advance()

    def skip_hole(self) -> None:
        """Give up the hole that everything waits behind, if there is one."""
        if self._starts:
            self._ready.append(Hole(self._starts[0] - self._next))
            self._next = self._starts[0]
            self._tail = b""
            self._advance()

    def finish(self) -> None:
        """Nothing more comes: give what waits behind holes."""
        while self._starts:
            self.skip_hole()

    def take(self) -> list[bytes | Hole]:
        """What is in order since the last time: a piece for each segment, and the holes between."""
        ready, self._ready = self._ready, []
        return ready

    def _offset(self, sequence: int) -> int:
        """The offset nearest to where we are that has this sequence number."""
        ahead = (sequence - self._base - self._next + _HALF) % (2 * _HALF) - _HALF
        return self._next + ahead

    def _insert(self, base: int, data: bytes) -> None:
        """Keep what is new of ``data``, which begins at ``base``; of bytes that are there, the first stay."""
        start, end = base, base + len(data)
        if start < self._next:
            self._compare(start, data)
            start = self._next
        at = bisect_right(self._starts, start)
        if at and (stop := self._starts[at - 1] + _size(self._parts[at - 1])) > start:
            self._conflict(at - 1, base, data)
            start = stop
        while start < end and at < len(self._starts) and self._starts[at] < end:
            self._conflict(at, base, data)
            if self._starts[at] > start:
                self._put(at, start, data[start - base : self._starts[at] - base])
                at += 1
            start = self._starts[at] + _size(self._parts[at])
            at += 1
        if start < end:
            self._put(at, start, data[start - base :])

    def _insert_cut(self, start: int, size: int) -> None:
        """Bytes that the capture left out; they count only where nobody has them."""
        if start < self._next:
            size -= self._next - start
            start = self._next
        at = bisect_right(self._starts, start)
        before = self._starts[at - 1] + _size(self._parts[at - 1]) if at else start
        after = self._starts[at] if at < len(self._starts) else start + size
        size = min(size, after - start)
        if size > 0 and before <= start:
            self._put(at, start, size)

    def _put(self, at: int, start: int, part: bytes | int) -> None:
        self._starts.insert(at, start)
        self._parts.insert(at, part)
        if isinstance(part, bytes):
            self.waiting += len(part)

    def _compare(self, start: int, data: bytes) -> None:
        """Bytes that were given already; a keep-alive probe has one, of any value (RFC 9293, 3.8.4)."""
        if len(data) <= 1:
            return
        known = self._next - len(self._tail)
        skip = max(0, known - start)
        ours = self._tail[max(0, start - known) :]
        theirs = data[skip : skip + len(ours)]
        if ours[: len(theirs)] != theirs:
            self._say("bytes came again and were others; the first were taken")

    def _conflict(self, at: int, base: int, data: bytes) -> None:
        """Compare ``data``, which begins at ``base``, with what waits at index ``at``."""
        part, begin = self._parts[at], self._starts[at]
        if isinstance(part, bytes):
            first, last = max(base, begin), min(base + len(data), begin + len(part))
            if part[first - begin : last - begin] != data[first - base : last - base]:
                self._say("bytes came again and were others; the first were taken")

    def _advance(self) -> None:
        while self._starts:
            if self._starts[0] > self._next:
                if not self._given_up():
                    break
                self._ready.append(Hole(self._starts[0] - self._next))
                self._next = self._starts[0]
                self._tail = b""
            del self._starts[0]
            part = self._parts.pop(0)
            self._next += _size(part)
            if isinstance(part, bytes):
                self.waiting -= len(part)
                self._ready.append(part)
                self._tail = (self._tail + part)[-_TAIL:] if len(part) < _TAIL else part[-_TAIL:]
            else:
                self._ready.append(Hole(part))
                self._tail = b""
        if 0 <= self._fin <= self._next:
            self.closed = True

    def _given_up(self) -> bool:
        if self.waiting > MOST_WAITING or len(self._starts) > MOST_SEGMENTS:
            return True
        return self._acknowledged >= self._starts[0] and len(self._starts) >= _SURE

    def _say(self, what: str) -> None:
        if what not in self.odd:
            self.odd.append(what)


def _size(part: bytes | int) -> int:
    return len(part) if isinstance(part, bytes) else part
