"""Handshakes of TLS, in a few threads: each costs a third of a millisecond, in which nobody else is served.

OpenSSL works without the interpreter's lock. Who waits is served in turns by where it comes from, so that a
thousand strangers from one place stand in each other's way, and not in that of one client elsewhere. The line
is bounded: where it is full, the place with the most gives up its newest. How long a client may take is
the core's matter (``connect_timeout``, from accept to CONNECT).

With a single processor there are no threads, which would only stand in the loop's way: a step is taken where
it is wanted, as long as these take no more than half of the loop's time; others wait in the line.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from queue import SimpleQueue
from time import monotonic
from typing import Final

from curier.net.turn import Turn
from curier.net.wire import Wire
from curier.places import place_of

MOST_WAITING: Final = 4096
MOST_THREADS: Final = 4
SLICE_SECONDS: Final = 0.0005
"""Of twice as much of the loop's time, where there are no threads; then others have their turn."""

HANDED_TO_EACH: Final = 4
"""Handshakes that are with a thread, or next there; the others wait in the line, where it is fair."""


def count_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Handshakes:
    """Takes steps of handshakes of one broker's connections, in ``threads`` at most: by default one fewer
    than there are processors for this process.

    A wire is told with ``worked``, in the loop's thread, that its step is taken.
    """

    def __init__(self, turn: Turn, threads: int | None = None) -> None:
        self.waiting = 0
        self._turn = turn
        self._most_threads = min(MOST_THREADS, count_processors() - 1) if threads is None else threads
        # Without threads:
        self._is_called = False  # the loop will come round to those who wait
        self._slice_began = 0.0
        self._spent = 0.0  # since then, on handshakes
        self._threads: list[threading.Thread] = []
        self._line: dict[str, deque[Wire]] = {}  # by place; the first is next
        self._handed = 0
        self._jobs: SimpleQueue[Wire | None] = SimpleQueue()
        self._done: deque[Wire] = deque()
        self._is_told = False  # the loop knows that something is done

    def take(self, wire: Wire) -> None:
        """Take the next step of the handshake of ``wire``, when its turn comes."""
        assert wire.layers is not None
        wire.layers.taken()
        if self._handed < HANDED_TO_EACH * self._most_threads:
            self._hand(wire)
            return
        if not self._most_threads and not self.waiting and self._has_time():
            self._take_now(wire)
            return
        place = place_of(wire.connection.address)
        if self.waiting >= MOST_WAITING:
            most = max(self._line, key=lambda other: len(self._line[other]))
            if len(self._line[most]) <= len(self._line.get(place, ())) + 1:
                self._refuse(wire)
                return
            self._refuse(self._line[most].pop())
            self.waiting -= 1
        self._line.setdefault(place, deque()).append(wire)
        self.waiting += 1
        if not self._most_threads and not self._is_called:
            self._is_called = True
            self._turn.loop.call_soon(self._take_some)

    def _has_time(self) -> bool:
        """Without threads: may a step be taken where it is wanted?"""
        if monotonic() - self._slice_began >= 2 * SLICE_SECONDS:
            self._begin_slice()
        return self._spent < SLICE_SECONDS

    def _begin_slice(self) -> None:
        self._slice_began = monotonic()
        self._spent = 0.0

    def _take_now(self, wire: Wire) -> None:
        assert wire.layers is not None
        began = monotonic()
        wire.layers.work()
        self._spent += monotonic() - began
        self._tell(wire)

    def _take_some(self) -> None:
        """The loop has come round to those who wait."""
        self._is_called = False
        self._begin_slice()
        while self.waiting:
            wire = self._next()
            if wire is not None:
                self._take_now(wire)
            if self._spent >= SLICE_SECONDS:
                break
        if self.waiting and not self._is_called:
            self._is_called = True
            self._turn.loop.call_soon(self._take_some)
        self._turn.finish(self._turn.clock.now())

    def _refuse(self, wire: Wire) -> None:
        self._turn.refuse(wire, "too many TLS handshakes wait; try again later", self._turn.clock.now())

    def _hand(self, wire: Wire) -> None:
        """Give it to the threads."""
        self._handed += 1
        self._jobs.put(wire)
        if len(self._threads) < min(self._handed, self._most_threads):
            thread = threading.Thread(target=self._work, name="curier-handshakes", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        """What each thread does."""
        while (wire := self._jobs.get()) is not None:
            assert wire.layers is not None
            wire.layers.work()
            self._done.append(wire)
            if not self._is_told:
                self._is_told = True
                try:
                    self._turn.loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed

    def _deliver(self) -> None:
        """Tell the wires whose step is taken, and have the next ones taken."""
        self._is_told = False
        while self._done:
            self._handed -= 1
            self._tell(self._done.popleft())
        while self.waiting and self._handed < HANDED_TO_EACH * self._most_threads:
            wire = self._next()
            if wire is not None:
                self._hand(wire)
        self._turn.finish(self._turn.clock.now())

    def _tell(self, wire: Wire) -> None:
        try:
            wire.worked()
        except Exception as error:
            self._turn.give_up(wire.connection, "a TLS handshake", error)

    def _next(self) -> Wire | None:
        """Whoever's turn it is in the line; None, if they have gone meanwhile."""
        place = next(iter(self._line))
        wires = self._line.pop(place)
        wire = wires.popleft()
        self.waiting -= 1
        if wires:
            self._line[place] = wires  # behind the others
        return None if wire.connection.is_closed() else wire

    def stop(self) -> None:
        """No more."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._line.clear()
        self.waiting = 0
