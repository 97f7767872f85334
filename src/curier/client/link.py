"""One Network Connection of a client, as an ``asyncio.Protocol`` around the core's ``ClientConnection``.

The turn, what happens after bytes came, time passed or the program asked for something, always in this order:

1. what the connection tells is handed on: messages to streams, results to receipts;
2. the journal's batch goes to the session's store, if it has one;
3. all output is written, with one write;
4. the network is closed, if the connection is over;
5. one timer is set, if the next deadline is before the one there is.

Bytes that come schedule the turn behind the readers they wake, so that acknowledgements and answers of one
chunk leave with one write.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Callable
from typing import Any, Final, cast

from curier.client.dialing.strangers import is_mqtt, who_speaks
from curier.client.dialing.unsent import unsent_bytes
from curier.client.settings import Authentication
from curier.codec.constants import MQTT_50
from curier.codec.packets import Connect, Publish
from curier.codec.properties import Properties
from curier.errors import ConnectionLost, ConnectRefused, LocalProtocolError, MqttError
from curier.protocol.client import ClientConnection
from curier.protocol.connection import CLOSED, CONNECTED
from curier.protocol.events import (
    AuthContinue,
    AuthDone,
    Connected,
    Disconnected,
    Event,
    MessageReceived,
    Published,
    SubscribeDone,
    Tolerated,
    UnsubscribeDone,
)
from curier.protocol.events import ConnectRefused as ConnectWasRefused
from curier.protocol.older import REASON_CODES
from curier.session.outgoing import Outgoing
from curier.types import reason_name

HIGH_WATER: Final = 256 * 1024
"""Bytes the network has not taken; from so many on ``publish`` waits."""

MOST_ANSWERS: Final = 16 * 2**20
"""Bytes of answers that may wait for a server that sends and does not read; then it is left."""

GOODBYE: Final = 2.0
"""Seconds a server may take to take the last bytes; then the connection is cut."""

SMALL: Final = 16 * 1024
"""Bytes; where more wait for the network, it is the network that is slow, and not the server."""

BUSY: Final = 1.0
"""Seconds a timer may be late before the loop is taken to have been busy, and what has come is read first."""


class Clock:
    """Seconds since the epoch on a clock that never jumps: the wall clock now, counted on by the loop's."""

    __slots__ = ("_loop", "_offset")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._offset = time.time() - loop.time()

    def __call__(self) -> float:
        return self._loop.time() + self._offset


def note(future: asyncio.Future[Any]) -> None:
    """Take the error of a future that nobody may have waited for."""
    if not future.cancelled():
        future.exception()


def _reference(properties: Properties | None) -> str:
    """The server that is to be used instead (4.11), or ""."""
    return (properties.server_reference or "") if properties is not None else ""


def _with_reference(why: str, properties: Properties | None) -> str:
    """What the server says, and where it wants us to go; only with ``follow_server_reference`` we do."""
    reference = _reference(properties)
    return f"{why}{'; ' if why else ''}use the server {reference}" if reference else why


class Owner:
    """What a link tells; the client is one."""

    __slots__ = ()

    def on_connected(self, link: Link, event: Connected) -> None:
        """CONNACK accepted; what waits in the session has not been sent yet."""

    def on_answered(self, event: SubscribeDone | UnsubscribeDone) -> None:
        """SUBACK or UNSUBACK."""

    def on_turn(self, link: Link) -> None:
        """The turn has come to the journal."""

    def on_room(self, link: Link) -> None:
        """The turn is over, or the network takes more again."""

    def on_tolerated(self, link: Link, event: Tolerated) -> None:
        """The server breaks a rule, and no harm comes of it."""

    def on_taken(self, link: Link) -> None:
        """Who was woken by what has come has had a turn since, to take it."""

    def on_lost(self, link: Link, error: ConnectionLost) -> None:
        """An accepted connection is over."""

    def on_closed(self, link: Link) -> None:
        """The network is gone, whatever was accepted; ``link.error`` says why. Nothing comes behind it."""


class Link(asyncio.Protocol):
    """One Network Connection, from before it is dialled until after it is closed."""

    __slots__ = (  # so many names in a dict would take a fourth of an idle client
        "_accepted",
        "_answering",
        "_authentication",
        "_carrier",
        "_chunks",
        "_closed",
        "_is_accepted",
        "_is_answered",
        "_is_closing",
        "_is_late",
        "_is_met",
        "_reauthenticated",
        "_taken",
        "_timer",
        "_timer_at",
        "_waited",
        "allowed_bytes",
        "clock",
        "connection",
        "error",
        "is_closed",
        "is_paused",
        "is_scheduled",
        "is_stranger",
        "loop",
        "most_waiting",
        "name",
        "now",
        "on_message",
        "on_published",
        "owner",
        "server",
        "transport",
        "unwritten",
    )

    def __init__(
        self,
        owner: Owner,
        connection: ClientConnection,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Link, Publish], None],
        on_published: Callable[[Outgoing, int, str], None],
        authentication: Authentication | None = None,
        name: str = "",
        allowed_bytes: int = 0,
    ) -> None:
        self.owner = owner
        self.connection = connection
        self.clock = clock
        self.loop = loop
        self.on_message = on_message  # a message came; acknowledge it with `acknowledge`
        self.on_published = on_published  # a message is complete, or refused
        self.name = name  # of the server, for messages
        self.server = name  # who has the other half of the session
        self.allowed_bytes = allowed_bytes  # to be published while the network takes nothing
        self.now = clock()
        self.is_paused = False  # the network takes nothing more
        self.most_waiting = 0  # bytes the network may not have taken, while it is paused
        self.transport: asyncio.Transport | None = None
        self._carrier: asyncio.Transport | None = None  # that of the socket, below TLS and WebSocket
        self._is_answered = False  # was there a CONNACK, or an error instead of it?
        self._is_accepted = False  # was it the former?
        self.is_closed = False  # is the network gone?
        self._accepted: asyncio.Future[None] | None = None  # from CONNECT to CONNACK
        self._closed: asyncio.Future[None] | None = None  # while somebody waits for the end
        self.error: ConnectionLost | None = None  # why it ended
        self.is_stranger = False  # did something come that no MQTT server says?
        self._is_met = False  # has the server said its first word?
        self._authentication = authentication
        self._answering: asyncio.Task[None] | None = None
        self._reauthenticated: asyncio.Future[None] | None = None
        self.is_scheduled = False
        self._chunks = 0  # came, and their readers have had no turn since
        self.unwritten = 0  # bytes published since the last turn, about
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_closing = False
        self._is_late = False  # the timer came late, and is set again
        self._waited = 0  # bytes that waited for the network when this was last looked at
        self._taken = 0  # bytes that it had taken then

    @property
    def is_connected(self) -> bool:
        """Is there a CONNACK, and no end since?"""
        return self.connection.state == CONNECTED

    def on_carrier(self, carrier: asyncio.Transport) -> None:
        """The socket is connected, by which all else is carried."""
        self._carrier = carrier

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The network is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """A chunk came."""
        if not self._is_met and not self._meet(data):
            return
        self.now = now = self.clock()
        self.connection.receive(data, now)
        self._tell()
        self._chunks += 1
        self.is_scheduled = True
        self.loop.call_soon(self._turn_behind)

    def _meet(self, data: bytes) -> bool:
        """The first bytes came: are they those of an MQTT server that has got CONNECT?"""
        is_asked = self.connection.connect_packet is not None
        self._is_met = is_asked and is_mqtt(data)
        if not self._is_met and self.error is None:
            self.is_stranger = True
            said = "what answers there is" if is_asked else "the server speaks before it has got CONNECT:"
            self._end(f"{said} {who_speaks(data)}", None)
            self.abort()
        return self._is_met

    def pause_writing(self) -> None:
        """The network takes no more for now. What may be published meanwhile is bounded elsewhere."""
        self.is_paused = self.connection.is_stuck = True
        if self.transport is not None:
            waiting = self.transport.get_write_buffer_size()
            self.most_waiting = waiting + self.allowed_bytes + MOST_ANSWERS

    def resume_writing(self) -> None:
        """It does again."""
        self.is_paused = self.connection.is_stuck = False
        self.owner.on_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The network is gone."""
        self.transport = self._carrier = None
        self.is_paused = False
        self.now = self.clock()
        if self.connection.connect_packet is None or self.connection.state != CLOSED:
            when = " behind CONNECT" if not self._is_answered else ""
            self._end(f"the server closed the connection{when}{f': {exc}' if exc is not None else ''}", exc)
        self.connection.detach(self.now)
        self.turn()
        self._end("the connection is over", exc)  # if nobody has said why
        if self._timer is not None:
            self._timer.cancel()
        if self._answering is not None:
            self._answering.cancel()
        self.is_closed = True
        if self._closed is not None:
            self._closed.set_result(None)
        self.owner.on_closed(self)

    # ---- the client's side ----

    def begin(self, packet: Connect) -> asyncio.Future[None]:
        """Send CONNECT; what is returned is done with CONNACK, or has the error instead of it.

        Raises ``ConnectionLost`` where the connection is over already.
        """
        if self.error is not None:
            raise self.error
        accepted = self._accepted = self.loop.create_future()
        accepted.add_done_callback(note)  # nobody may be there to hear how it failed
        self.connection.connect(packet, self.clock())
        self.turn()
        return accepted

    async def closed(self) -> None:
        """Wait until the network is gone."""
        if self.is_closed:
            return
        if self._closed is None:
            self._closed = self.loop.create_future()
        await asyncio.shield(self._closed)

    def acknowledge(self, packet_id: int, reason_code: int = 0, reason_string: str = "") -> None:
        """Acknowledge a message that was received on this link."""
        self.connection.acknowledge(packet_id, self.now, reason_code, reason_string)
        if not self.is_scheduled:
            self.schedule()

    def hold(self, is_held: bool) -> None:
        """Read nothing from the network any more, or read again."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self.connection.reads(not is_held, self.clock())
        if is_held:
            transport.pause_reading()
        else:
            transport.resume_reading()
        self.schedule()  # the deadlines are others

    def disconnect(self, reason_code: int, session_expiry: int | None) -> None:
        """Send DISCONNECT and close behind it."""
        self.now = self.clock()
        self.connection.disconnect(self.now, reason_code, session_expiry)
        self.turn()

    async def reauthenticate(self) -> None:
        """Go through re-authentication (4.12.1)."""
        if self._authentication is None:
            raise LocalProtocolError(0x82, "the client has no authentication to repeat", "MQTT-4.12.0-7")
        self.connection.reauthenticate(self._authentication.begin(), self.clock())
        self._reauthenticated = self.loop.create_future()
        self._reauthenticated.add_done_callback(note)
        self.schedule()
        await self._reauthenticated

    def forget(self) -> None:
        """This process is a fork: the network, and who watches it, belong to the other one."""
        self.transport = self._carrier = None

    def abort(self) -> None:
        """Close without a word, now."""
        if self.transport is not None:
            self.transport.abort()

    def schedule(self) -> None:
        """Have a turn soon, behind what is to run already."""
        if not self.is_scheduled:
            self.is_scheduled = True
            self.loop.call_soon(self.turn)

    # ---- the turn ----

    def _turn_behind(self) -> None:
        """Have the turn that a chunk has made necessary, behind the readers which it has woken."""
        if self.is_scheduled:
            self.turn()
        self._chunks -= 1
        if not self._chunks:
            self.owner.on_taken(self)

    def turn(self) -> None:
        """See the top of this file."""
        self.is_scheduled = False
        self.unwritten = 0
        connection = self.connection
        if connection.events:
            self._tell()
        self.owner.on_turn(self)
        transport = self.transport
        if connection.output:
            pieces = connection.take_pieces()
            if transport is not None and not transport.is_closing():
                for data in pieces:
                    transport.write(data)
                if self.is_paused and transport.get_write_buffer_size() > self.most_waiting:
                    self._leave()
        if connection.state == CLOSED:
            if transport is not None and not self._is_closing:
                self._close(transport)
        elif transport is not None:
            deadline = connection.next_deadline()
            if deadline < self._timer_at:
                self._set_timer(deadline)
        self.owner.on_room(self)

    def _close(self, transport: asyncio.Transport) -> None:
        """Close behind what is written: soon, whether or not the server takes it."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        transport.close()
        self._timer = self.loop.call_later(GOODBYE, transport.abort)

    def _leave(self) -> None:
        """The server has us answer and reads no answers: that would take all memory there is."""
        waiting = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self._end(f"the server sends, but does not read: {waiting} bytes wait for it", None)
        self.abort()

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_later(max(0.0, deadline - self.clock()), self._time_has_come)

    def _time_has_come(self) -> None:
        self.now = now = self.clock()
        late = now - self._timer_at
        self._timer = None
        self._timer_at = math.inf
        self._is_late = late > BUSY and not self._is_late
        if self._is_late:  # what the server said meanwhile may wait to be read
            self._set_timer(now + BUSY / 10)
            return
        if self._is_read():
            self.connection.heard(now)
        self.connection.is_stuck = self.is_paused or self._waited > SMALL
        self.connection.deadline_reached(now)
        self.turn()

    def _is_read(self) -> bool:
        """Has the network taken some of what waited the last time? Then the server reads, however slowly."""
        if self.transport is None:
            return False
        waiting = unsent_bytes(self.transport, self._carrier)
        taken = self.connection.traffic.bytes_sent - waiting
        is_read = self._waited > 0 and taken > self._taken
        self._waited, self._taken = waiting, taken
        return is_read

    # ---- what the connection tells ----

    def _tell(self) -> None:
        for event in self.connection.take_events():
            if isinstance(event, MessageReceived):
                self.on_message(self, event.publish)
            elif isinstance(event, Published):
                self.on_published(event.entry, event.reason_code, event.reason_string)
            else:
                self._tell_rare(event)

    def _tell_rare(self, event: Event) -> None:
        if isinstance(event, Connected):
            if not self._finish_authentication(event):
                return
            self.owner.on_connected(self, event)
            self.connection.start(self.now)
            self._answered(None)
        elif isinstance(event, (SubscribeDone, UnsubscribeDone)):
            self.owner.on_answered(event)
        elif isinstance(event, ConnectWasRefused):
            why = _with_reference(event.reason_string, event.properties)
            code = event.reason_code
            number = code if self.connection.version == MQTT_50 else REASON_CODES.index(code)
            refused = ConnectRefused(code, why, number)
            refused.server_reference = _reference(event.properties)
            self._answered(refused)
        elif isinstance(event, Disconnected):
            said = f"the server ended the connection with Reason Code {reason_name(event.reason_code)}"
            reason = _with_reference(event.why, event.properties)
            why = (f"{said}: {reason}" if reason else said) if event.by_server else event.why
            self._end(why, None, event.reason_code, event.by_server)
            if self.error is not None:
                self.error.server_reference = _reference(event.properties)
        elif isinstance(event, Tolerated):
            self.owner.on_tolerated(self, event)
        elif isinstance(event, AuthContinue):
            self._answer(event.data)
        elif isinstance(event, AuthDone):
            assert self._authentication is not None
            try:
                self._authentication.finish(event.data)
            except Exception as error:
                self._give_up(error)
                return
            if self._reauthenticated is not None and not self._reauthenticated.done():
                self._reauthenticated.set_result(None)

    def _end(
        self, why: str, cause: BaseException | None, reason_code: int = 0x80, by_server: bool = False
    ) -> None:
        if self.error is not None:
            return
        error = self.error = ConnectionLost(f"{self.name}: {why}", reason_code, by_server)
        error.__cause__ = cause
        self._answered(error)
        if self._reauthenticated is not None and not self._reauthenticated.done():
            self._reauthenticated.set_exception(error)
        if self._is_accepted:
            self.owner.on_lost(self, error)

    def _answered(self, error: MqttError | None) -> None:
        """There is a CONNACK, or ``error`` instead of it; what comes second changes nothing."""
        if self._is_answered:
            return
        self._is_answered = True
        self._is_accepted = error is None
        accepted, self._accepted = self._accepted, None
        if accepted is None or accepted.done():
            return
        if error is None:
            accepted.set_result(None)
        else:
            accepted.set_exception(error)

    # ---- enhanced authentication (4.12) ----

    def _finish_authentication(self, event: Connected) -> bool:
        if self._authentication is None or self.connection.authentication_method is None:
            return True
        properties = event.connack.properties
        try:
            self._authentication.finish(properties.authentication_data if properties is not None else None)
        except Exception as error:
            self._give_up(error)
            return False
        return True

    def _answer(self, data: bytes | None) -> None:
        assert self._authentication is not None
        try:
            answer = self._authentication.answer(data)
            if inspect.isawaitable(answer):
                self._answering = self.loop.create_task(self._answer_later(answer))
            else:
                self._send_answer(answer)
        except Exception as error:
            self._give_up(error)

    async def _answer_later(self, answer: object) -> None:
        try:
            self._send_answer(await cast("asyncio.Future[bytes | None]", answer))
        except Exception as error:
            self._give_up(error)

    def _send_answer(self, data: bytes | None) -> None:
        if self.connection.state != CLOSED and self.connection.is_asked:  # it may not have waited for it
            self.connection.auth(data, self.clock())
            self.schedule()

    def _give_up(self, error: Exception) -> None:
        """The authentication cannot go on: the server has not proved itself, or the callback has failed."""
        self._answered(
            error
            if isinstance(error, MqttError)
            else ConnectRefused(0x87, f"the authentication failed here: {error!r}")
        )
        self._end(f"the authentication failed here: {error!r}", error, 0x87)
        self.abort()
