"""MQTT by WebSockets that somebody else serves, as an ASGI server does: whole messages, no socket of ours.

``MessageWire`` is the turn's end of one connection, ``converse`` carries its messages both ways. A client
that takes nothing is not sent the next message, and what waits is counted as unsent, as with every wire: the
core's limits for slow clients hold. A client that sends too fast is not received from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from curier.broker.model import BrokerConnection
from curier.net.turn import Turn
from curier.net.wire import LINGER_SECONDS, Wire, close_code

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]

LOOK_SECONDS: Final = 1.0
"""How often it is asked whether a client may stay, where that can be asked."""

POLICY: Final = 1008  # close codes of WebSocket (RFC 6455 section 7.4.1)
UNSUPPORTED: Final = 1003
MOST_REASON: Final = 120
"""Characters of the reason in a close frame, which has 123 bytes for it."""


class MessageWire(Wire):
    """One connection. What the broker writes waits in ``pieces``."""

    def __init__(self, turn: Turn, connection: BrokerConnection) -> None:
        super().__init__(connection)
        self.turn = turn
        self.pieces: deque[bytes] = deque()
        self.unsent = 0
        self.news = asyncio.Event()  # there are pieces, or it is over
        self.reads = asyncio.Event()
        self.reads.set()
        self.is_over = False
        self.code = 0  # with which to close; 0: as the broker ends the connection
        self.tasks: tuple[asyncio.Task[None], ...] = ()

    def write(self, data: bytes) -> int:
        """Take ``data`` for sending."""
        self.pieces.append(data)
        self.unsent += len(data)
        self.news.set()
        return self.unsent

    def sent(self, size: int) -> None:
        """The client has been sent so many bytes."""
        self.unsent -= size
        if not self.is_over:
            self.turn.report(self, size, self.unsent, self.turn.clock.now())
            self.turn.schedule()

    def received(self, data: bytes) -> None:
        """Bytes of the client."""
        try:
            self.turn.receive(self, data, self.turn.clock.now())
        except Exception as error:
            self.turn.give_up(self.connection, "serving a WebSocket", error)
        self.turn.schedule()

    def refuse(self, code: int, why: str) -> None:
        """The client broke a rule of what lies below MQTT."""
        self.code = code
        self.turn.refuse(self, why, self.turn.clock.now())

    def ended(self) -> None:
        """The client has gone."""
        if not self.is_over and self.turn.ended(self):
            self.turn.lost(self)

    def set_reading(self, wanted: bool) -> None:
        """Read on, or not; who has gone meanwhile is lost once all of it is read."""
        self.is_reading = wanted
        if not wanted:
            self.reads.clear()
            return
        self.reads.set()
        if self.has_ended:
            self.turn.schedule()
            self.turn.loop.call_soon(self.turn.lost, self)

    def close(self) -> None:
        """Send what is left, then close."""
        self.is_over = True
        self.reads.set()
        self.news.set()

    def abort(self) -> None:
        """Carry nothing more, either way."""
        for task in self.tasks:
            task.cancel()


async def converse(
    wire: MessageWire,
    receive: Receive,
    send: Send,
    why_no_more: Callable[[], str] | None = None,
    gone: tuple[type[Exception], ...] = (),
) -> None:
    """Carry messages until the client goes, or the broker has closed; the WebSocket is accepted already.

    ``why_no_more`` says in words why the client may stay no longer, "" if it may. ``gone`` is raised by
    ``send`` and ``receive`` where nobody is there any more, besides ``OSError`` and ``RuntimeError``.
    Cancelling it ends the connection.
    """
    nobody: tuple[type[Exception], ...] = (OSError, RuntimeError, *gone)
    reading = asyncio.create_task(_read(wire, receive, nobody))
    writing = asyncio.create_task(_write(wire, send, why_no_more, nobody))
    wire.tasks = (reading, writing)
    try:
        await asyncio.wait(wire.tasks, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            wire.ended()
            if not wire.is_over:
                return
        await asyncio.wait(wire.tasks, timeout=LINGER_SECONDS)  # for the last bytes, and the client's answer
    finally:
        wire.abort()
        try:  # cancelled again and again by anyio, whose error says by whom, and has to go on
            await asyncio.wait(wire.tasks)
        finally:
            for task in wire.tasks:
                if task.done() and not task.cancelled():
                    task.exception()  # has been seen
            wire.ended()
            if not wire.has_ended:  # or what it has said before is due, first
                wire.turn.lost(wire)


async def _read(wire: MessageWire, receive: Receive, nobody: tuple[type[Exception], ...]) -> None:
    """What the client has to say, until it goes."""
    with suppress(*nobody):
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is None:  # [MQTT-6.0.0-1]
                wire.refuse(UNSUPPORTED, "a text frame came, and MQTT is in binary frames")
                continue
            await wire.reads.wait()
            if not wire.is_over:
                wire.received(data)


async def _write(
    wire: MessageWire, send: Send, why_no_more: Callable[[], str] | None, nobody: tuple[type[Exception], ...]
) -> None:
    """What the broker has to say, one message after the other, as long as the client may stay."""
    with suppress(*nobody):
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if why_no_more is not None else None):
                    await wire.news.wait()
            wire.news.clear()
            if why := why_no_more() if why_no_more is not None else "":
                await send(closing(POLICY, why))
                return
            while wire.pieces:
                data = wire.pieces.popleft()
                await send({"type": "websocket.send", "bytes": data})
                wire.sent(len(data))
            if wire.is_over:
                await send(closing(wire.code or close_code(wire.connection)))
                return


def closing(code: int, why: str = "") -> AsgiMessage:
    """The message that closes a WebSocket."""
    return {"type": "websocket.close", "code": code, "reason": why[:MOST_REASON]}
