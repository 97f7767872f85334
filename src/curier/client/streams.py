"""Streams of received messages: the reader's side of a buffer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Self

from curier.client.arguments import Acknowledge, Overflow
from curier.client.buffers import Buffer
from curier.client.received import Delivery, ReceivedMessage
from curier.client.subscriptions import Subscriptions
from curier.codec.packets import Publish
from curier.errors import ConnectionLost, MqttError
from curier.types import Subscription


class Stream(Buffer):
    """The messages of one ``Client.subscribe``: a context manager and an async iterator.

    It ends (``StopAsyncIteration``) when it is closed; where the client has failed it raises what ended it,
    behind the messages that were there. A cancelled read loses nothing. Several may read from one stream.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        filters: tuple[Subscription, ...],
        buffer: int | None = None,
        overflow: Overflow = "block",
        ack: Acknowledge = "auto",
        user_properties: list[tuple[str, str]] | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__(subscriptions.intake, filters, buffer, overflow, ack, user_properties)
        self.keep = keep
        self._subscriptions = subscriptions
        self._readers: list[asyncio.Future[None]] = []  # few, as a rule one; an empty deque is not small

    # ---- the reader's side ----

    async def open(self) -> Self:
        """Subscribe, and wait for the answer, over reconnections if need be. Raises ``SubscribeRefused``.

        Cancelling it unsubscribes.
        """
        await self._subscriptions.open(self)
        return self

    async def close(self) -> None:
        """Unsubscribe, and end the stream. Messages that were not taken are acknowledged and gone.

        Waits for UNSUBACK while connected, but no longer than ``linger``.
        """
        await self._subscriptions.close(self, False)

    def __await__(self) -> Generator[Any, None, Self]:
        """``await client.subscribe(...)`` is ``open``: whoever writes that closes the stream, too."""
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Who leaves by an error, such as the cancelling by Ctrl-C, is not to wait for the server.
        await self._subscriptions.close(self, self.keep, waits=error is None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedMessage:
        if not self._messages:
            await self._message()
            if not self._messages:
                raise StopAsyncIteration
        return self.take()

    async def get(self, timeout: float | None = None) -> ReceivedMessage:
        """The next message. Raises ``TimeoutError`` after ``timeout`` seconds (None: never),
        ``ConnectionLost`` where the stream has ended.
        """
        if not self._messages:
            if self.error is not None:
                raise self.error
            async with asyncio.timeout(timeout):
                await self._message()
            if not self._messages:
                raise ConnectionLost("the stream is closed")
        return self.take()

    def get_nowait(self) -> ReceivedMessage | None:
        """The next message, if one is there."""
        return self.take() if self._messages else None

    def ready(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, once, when there is a message or none will come."""
        if self._messages or self.is_closed or self.error is not None:
            call()
            return
        future = self._subscriptions.link.loop.create_future()
        future.add_done_callback(lambda _: call())
        self._readers.append(future)

    def is_durable(self) -> bool:
        """Is what was taken noted on a disk?"""
        return self._subscriptions.is_durable()

    async def _message(self) -> None:
        """Wait until there is a message, or none will come."""
        if not self.is_open and not self.is_closed and self.error is None:
            await self.open()
        while not self._messages:
            if self.error is not None:
                raise self.error
            if self.is_closed:
                return
            loop = asyncio.get_running_loop()
            if loop is not self._subscriptions.link.loop:
                raise MqttError("the stream is read in another event loop than that of its client")
            future = loop.create_future()
            self._readers.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake()  # the message this reader was woken for is another's
                raise

    # ---- the router's side ----

    def put(self, packet: Publish, delivery: Delivery | None) -> None:
        super().put(packet, delivery)
        if self._readers:
            self._wake()

    def _wake(self) -> None:
        while self._readers:
            future = self._readers.pop(0)
            if not future.done():
                future.set_result(None)
                return

    def end(self, error: MqttError | None) -> None:
        """Nothing comes any more."""
        super().end(error)
        for future in self._readers:
            if not future.done():
                future.set_result(None)
        self._readers.clear()
