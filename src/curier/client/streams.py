"""Streams of received messages."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from curier.types import Message, QoS


class ReceivedMessage(Message):
    """A ``Message`` that was received; equal to a ``Message`` with the same fields."""

    __slots__ = ()

    @property
    def dup(self) -> bool:
        """Was DUP set: may the message have come before (3.3.1.1)?"""
        raise NotImplementedError

    def ack(self, reason_code: int = 0, reason_string: str = "") -> None:
        """Acknowledge, with ``ack="manual"``; harmless at any other time. 0x80 and more refuses it (5.0)."""
        raise NotImplementedError


class Stream:
    """The messages of one ``Client.subscribe``: a context manager and an async iterator.

    It ends (``StopAsyncIteration``) when it is closed; where the client failed it raises what ended it, behind
    the messages that were there. A cancelled read loses nothing.
    """

    topic_filters: tuple[str, ...]
    granted: tuple[QoS, ...]
    """What the server granted, for each filter."""
    dropped: int
    """Messages with QoS 0 that found the buffer full."""

    async def open(self) -> Self:
        """Subscribe, and wait for the answer. Raises ``SubscribeRefused``; waits for a connection."""
        raise NotImplementedError

    async def close(self) -> None:
        """Unsubscribe. Messages not taken are acknowledged and gone."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedMessage:
        raise NotImplementedError

    async def get(self, timeout: float | None = None) -> ReceivedMessage:
        """The next message; ``TimeoutError`` after ``timeout`` seconds, ``StopAsyncIteration`` never: where the
        stream has ended it raises ``ConnectionLost``.
        """
        raise NotImplementedError

    def get_nowait(self) -> ReceivedMessage | None:
        """The next message if one is there."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Messages that wait to be taken."""
        raise NotImplementedError
