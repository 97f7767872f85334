"""Request and response (5.0 section 4.10)."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from curier.client.outbox import PublishResult
from curier.client.streams import ReceivedMessage


class Request:
    """A request that was received: ``message`` and a way to answer it."""

    __slots__ = ("message",)

    message: ReceivedMessage

    async def reply(self, payload: bytes | str | None = b"", *, qos: int | None = None) -> PublishResult:
        """Publish the response to the Response Topic, with the Correlation Data of the request.

        Without ``qos`` at that of the request. Raises ``LocalProtocolError`` where it has no Response Topic.
        """
        raise NotImplementedError


class Service:
    """The requests of one ``Client.serve``: a context manager and an async iterator."""

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Request:
        raise NotImplementedError
