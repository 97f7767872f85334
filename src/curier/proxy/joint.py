"""One proxied connection: two ends, a framer for each direction, and the rules between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Final

from curier.errors import MqttError
from curier.faults.line import CUT, END, SEND, Faults, Line
from curier.faults.rules import FOREVER
from curier.loglines import printable
from curier.net.clock import Clock
from curier.proxy.ends import ClientEnd, End, Meeting
from curier.trace.events import NOT_MQTT, Closed, Event, Happening, Opened, Wire
from curier.trace.framing import Framer

MOST_WAITING: Final = 4 * 2**20
"""Bytes that a rule may hold back in one direction, before its sender has to wait."""

HALF_OPEN_SECONDS: Final = 120.0
"""How long a connection may be idle when one side has ended it and the other has not."""

OPEN_SECONDS: Final = 20.0
"""How long a client may take for TLS and WebSocket."""

Dial = Callable[[End, str, str], Awaitable[None]]
"""Connects an End to the broker, for a client at the first address, who came in at the second."""


class Joint(Meeting):
    """``tell`` is given each Event, ``dial`` opens the way to the broker as soon as the client's is open."""

    def __init__(
        self,
        wire: Wire,
        client: ClientEnd,
        dial: Dial,
        faults: Faults,
        tell: Callable[[Event], None],
        clock: Clock,
        on_close: Callable[[Joint], None],
    ) -> None:
        self.client = client
        self.server = End(self, False)
        self.line = Line(faults, wire, clock.now())
        self.line.on_change = self._obey
        self.is_closed = False
        self._dial = dial
        self._tell = tell
        self._clock = clock
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._framers = (Framer(False), Framer(True))
        self._paused = [False, False]  # the client, the server: does not take what it is sent
        self._has_ended = [False, False]  # to the client, to the server
        self._first_to_end = ""
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._is_dialed = False
        self._idle = self._loop.call_later(OPEN_SECONDS, self._give_up_opening)
        tell(Opened(clock.now(), wire))

    # ---- what the ends report ----

    def opened(self, end: End) -> None:
        if end is self.client:
            self._begin_idle()
            self.client.read(False)
            self._dialing = self._loop.create_task(self._connect())

    def came(self, to_server: bool, data: bytes) -> None:
        if self.is_closed:
            return
        line, framer, now = self.line, self._framers[to_server], self._clock.now()
        was_mqtt = not framer.why_not
        line.pieces(to_server, framer.feed(data), now)
        if was_mqtt and framer.why_not:
            self._obey()
            way = "what the client sends" if to_server else "what the broker sends"
            why = f"{way} is not MQTT from here: {framer.why_not}; it goes on all the same"
            self._tell(Happening(now, NOT_MQTT, line.wire.client_id, why, wire=line.wire))
        self._obey()
        self._begin_idle()

    def ended(self, to_server: bool) -> None:
        if self.is_closed:
            return
        self._first_to_end = self._first_to_end or _who(to_server)
        now = self._clock.now()
        for piece in self._framers[to_server].finish():
            self.line.raw(to_server, piece.data, now)
        self.line.end(to_server, now)
        self._obey()
        self._begin_idle()

    def gone(self, to_server: bool, why: str, is_reset: bool) -> None:
        if self.is_closed:
            return
        if is_reset or why:
            self._break(_who(to_server), "connection reset" if is_reset else why)
        elif not self._has_ended[to_server]:
            self.ended(to_server)

    def paused(self, to_server: bool, is_paused: bool) -> None:
        self._paused[not to_server] = is_paused
        self._balance()

    # ---- to the broker ----

    async def _connect(self) -> None:
        wire = self.line.wire
        try:
            await self._dial(self.server, wire.client_address, wire.server_address)
        except MqttError as error:
            self.close("network", f"the broker cannot be reached: {error}")
            return
        except Exception as error:  # a bug of ours costs one connection
            self.close("network", f"the broker cannot be reached: {error!r}")
            return
        self._is_dialed = True
        if self.is_closed:
            self.server.close()
        self._obey()

    # ---- what the line orders ----

    def _obey(self) -> None:
        line = self.line
        for event in line.take_events():
            self._tell(event)
        if self.is_closed or not self._is_dialed:
            return
        for (kind, to_server), orders in groupby(line.take_orders(), lambda one: (one.kind, one.to_server)):
            if kind == CUT:
                self._break("network", "cut by a rule")
                return
            end = self.server if to_server else self.client
            if kind == SEND:
                end.send(b"".join(order.data for order in orders))  # one write for all that goes at once
            elif kind == END:
                end.end()
                self._has_ended[to_server] = True
        if all(self._has_ended):
            self.close(self._first_to_end, "")
            return
        self._balance()
        self._set_timer()

    def _balance(self) -> None:
        """Read from each side as far as the other takes it and the rules let it pass."""
        if self.is_closed or not self._is_dialed:
            return
        now = self._clock.now()
        for to_server, end in ((True, self.client), (False, self.server)):
            is_full = self.line.waiting(to_server) > MOST_WAITING
            end.read(not (self._paused[to_server] or is_full or self.line.is_stalled(to_server, now)))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self.line.next_deadline()
        if when < FOREVER:
            self._timer = self._loop.call_later(max(when - self._clock.now(), 0.0), self._ring)

    def _ring(self) -> None:
        self.line.deadline_reached(self._clock.now())
        self._obey()

    def _begin_idle(self) -> None:
        """One side has ended: it may be that the other never does."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if any(self._has_ended) and self._is_dialed and not self.is_closed:
            self._idle = self._loop.call_later(HALF_OPEN_SECONDS, self._give_up)

    def _give_up_opening(self) -> None:
        self.close("network", f"TLS or WebSocket was not there within {OPEN_SECONDS:g} seconds")

    def _give_up(self) -> None:
        why = f"the other side did not end it within {HALF_OPEN_SECONDS:g} seconds"
        self.close(self._first_to_end, why)

    # ---- the end ----

    def _break(self, by: str, why: str) -> None:
        """Both sides see a reset."""
        if not self.is_closed:
            self.client.reset()
            self.server.reset()
            self.close(by, why)

    def close(self, by: str, why: str) -> None:
        """Close both ends, behind what they are still to be sent."""
        if self.is_closed:
            return
        self.is_closed = True
        for timer in (self._timer, self._idle):
            if timer is not None:
                timer.cancel()
        if self._dialing is not None and not self._is_dialed and self._dialing is not asyncio.current_task():
            self._dialing.cancel()
        self.line.close()
        for end in (self.client, self.server):
            end.read(True)  # or it would not see that its peer closes
            end.close()
        for event in self.line.take_events():
            self._tell(event)
        self._tell(Closed(self._clock.now(), self.line.wire, by, printable(why, 400)))
        self._on_close(self)


def _who(to_server: bool) -> str:
    return "client" if to_server else "server"
