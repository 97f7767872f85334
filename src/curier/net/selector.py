"""One epoll set for the asyncio loop and the broker's sockets, and a loop that waits on it.

In anybody's asyncio loop the reactor has an epoll set of its own within the loop's: two system calls to
learn that a socket is ready, and the loop's machinery for every wake-up. A program that is nothing but a
broker uses ``Loop`` instead: it waits once, serves the broker's sockets there and then, and bothers asyncio
only when there is something for it: a descriptor of its own, a callback, a timer that has changed.
"""

from __future__ import annotations

import math
import select
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import TYPE_CHECKING, Any, Final, final

from curier.net.clock import monotonic

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

MOST_EVENTS: Final = 1024
FEW_EVENTS: Final = 40  # room for more is allocated anew each time, and only looked for when it was filled


def _number(file: FileDescriptorLike) -> int:
    return file if isinstance(file, int) else file.fileno()


class Sockets:
    """Descriptors that were put into the selector's ``epoll`` past ``register``."""

    def serve(self, events: list[tuple[int, int]], monotonic_now: float) -> list[tuple[int, int]]:
        """Serve those that are ready; returns the events of all others."""
        raise TypeError("Sockets serve")

    def is_postponing(self) -> bool:
        """Are they to be served again as soon as nothing is ready?"""
        raise TypeError("Sockets postpone or do not")


@final
class Selector:
    """What ``asyncio.SelectorEventLoop`` asks of a selector; it also has ``sockets`` served, which are not
    asyncio's.
    """

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._poll: Final = self.epoll.poll  # bound once
        self.sockets: Sockets | None = None
        self.is_called: bool = False  # has asyncio something to do, whatever the descriptors say?
        self.prompt: dict[int, Callable[[], None]] = {}  # readers that are called here, and never raise
        self._keys: dict[int, SelectorKey] = {}

    def register(self, file: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        fd = _number(file)
        if fd in self._keys:
            raise KeyError(f"{file!r} is registered already")
        key = SelectorKey(file, fd, events, data)
        self.epoll.register(fd, _mask(events))
        self._keys[fd] = key
        return key

    def unregister(self, file: FileDescriptorLike) -> SelectorKey:
        fd = _number(file)
        key = self._keys.pop(fd)
        try:
            self.epoll.unregister(fd)
        except OSError:
            pass  # it was closed first
        return key

    def modify(self, file: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        fd = _number(file)
        old = self._keys[fd]
        key = SelectorKey(file, fd, events, data)
        if events != old.events:
            self.epoll.modify(fd, _mask(events))
        self._keys[fd] = key
        return key

    def get_key(self, file: FileDescriptorLike) -> SelectorKey:
        """Raises ``KeyError`` where ``file`` is not registered."""
        return self._keys[_number(file)]

    def get_map(self) -> Keys:
        return Keys(self._keys)

    def close(self) -> None:
        self._keys.clear()
        self.epoll.close()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait until asyncio has something to do, at most ``timeout`` seconds; serve the others meanwhile."""
        self.is_called = False
        wait = -1.0 if timeout is None else math.ceil(timeout * 1000) * 0.001 if timeout > 0 else 0.0
        until = monotonic() + wait if wait > 0 else 0.0
        most = MOST_EVENTS
        while True:
            sockets = self.sockets
            is_postponing = sockets is not None and sockets.is_postponing()
            events = self._poll(0.0 if is_postponing else wait, most)
            now = monotonic()
            most = FEW_EVENTS if len(events) < FEW_EVENTS else MOST_EVENTS
            others = events
            if sockets is not None and (events or is_postponing):
                others = sockets.serve(events, now)
            ready: list[tuple[SelectorKey, int]] = []
            for event in others:
                key = self._keys.get(event[0])
                if key is None:
                    continue
                mask = _events(event[1]) & key.events
                prompt = self.prompt.get(event[0])
                if prompt is not None and mask & EVENT_READ:
                    prompt()
                    mask -= EVENT_READ
                if mask:
                    ready.append((key, mask))
            if ready or self.is_called or not (events or is_postponing):
                return ready
            if wait >= 0:
                # As of before the sockets were served, which takes far less than people set timers for.
                wait = until - now
                if wait <= 0:
                    return ready  # a timer of asyncio is due, however busy the others are


@final
class Keys:
    """All that is registered, by descriptor or file."""

    def __init__(self, keys: dict[int, SelectorKey]) -> None:
        self._keys = keys

    def get(self, file: FileDescriptorLike, default: SelectorKey | None = None) -> SelectorKey | None:
        return self._keys.get(_number(file), default)

    def __getitem__(self, file: FileDescriptorLike) -> SelectorKey:
        return self._keys[_number(file)]

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, file: FileDescriptorLike) -> bool:
        return _number(file) in self._keys


def _mask(events: int) -> int:
    mask = 0
    if events & EVENT_READ:
        mask |= select.EPOLLIN
    if events & EVENT_WRITE:
        mask |= select.EPOLLOUT
    return mask


def _events(mask: int) -> int:
    events = 0
    if mask & ~select.EPOLLIN:
        events |= EVENT_WRITE
    if mask & ~select.EPOLLOUT:
        events |= EVENT_READ
    return events
