"""One selector for all sockets of a run, and the time when something came last."""

from __future__ import annotations

import select
import selectors
import socket
from types import TracebackType
from typing import Self

from curier.loadgen.payload import clock


class Served:
    """What a ``Loop`` serves: a socket, and what to do when it is ready.

    ``error`` says why it ended, if it was not us who ended it.
    """

    sock: socket.socket | None = None
    error = ""

    def readable(self) -> None:
        """There is something to read, or the other end has gone."""
        raise NotImplementedError

    def writable(self) -> None:
        """The socket is connected, or takes bytes again."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket, as it is."""
        raise NotImplementedError


class Loop:
    """Waits for sockets. ``report`` collects those of which something is new, see ``take_reports``."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.arrived = clock()  # when something was read last
        self._reports: list[Served] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.close()
        self.selector.close()

    def report(self, served: Served) -> None:
        """Something about this one is new."""
        self._reports.append(served)

    def take_reports(self) -> list[Served]:
        """Those of which something is new since the last call."""
        found, self._reports = self._reports, []
        return found

    def turn(self, timeout: float) -> None:
        """Wait for sockets, at most ``timeout`` seconds, and serve all that are ready."""
        if 0 < timeout < 0.005:
            # Selectors round up to milliseconds, select() does not, and takes the selector's own descriptor.
            select.select([self.selector], (), (), timeout)
            timeout = 0
        for key, events in self.selector.select(timeout):
            served: Served = key.data
            if events & selectors.EVENT_WRITE and served.sock is not None:
                served.writable()
            if events & selectors.EVENT_READ and served.sock is not None:
                served.readable()
