"""The client for programs without an event loop: the same names, blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from curier.client.events import Event
from curier.client.outbox import Payload, PublishResult
from curier.client.settings import ClientSettings
from curier.client.streams import ReceivedMessage
from curier.types import Message, QoS, Subscription


class SyncReceipt:
    """For a message that was accepted."""

    def done(self) -> bool:
        """Is the delivery over?"""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> PublishResult:
        """Wait for the result; ``TimeoutError`` after ``timeout`` seconds."""
        raise NotImplementedError


class SyncStream:
    """The messages of one ``SyncClient.subscribe``: a context manager and an iterator."""

    topic_filters: tuple[str, ...]
    granted: tuple[QoS, ...]

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ReceivedMessage:
        raise NotImplementedError

    def get(self, timeout: float | None = None) -> ReceivedMessage:
        """The next message; ``TimeoutError`` after ``timeout`` seconds."""
        raise NotImplementedError


class SyncClient:
    """One client, with an event loop in a thread of its own; every method may be called from any thread."""

    def __init__(self, settings: ClientSettings) -> None:
        settings.check()
        self.settings = settings

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def publish(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False, **more: Any
    ) -> PublishResult:
        """As ``Client.publish``."""
        raise NotImplementedError

    def publish_nowait(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False, **more: Any
    ) -> SyncReceipt:
        """As ``Client.publish_nowait``."""
        raise NotImplementedError

    def publish_many(
        self, source: Iterable[Message | tuple[str, Payload]], *, qos: int = 0, window: int = 100
    ) -> int:
        """As ``Client.publish_many``."""
        raise NotImplementedError

    def subscribe(self, *filters: str | Subscription, qos: int = 0, **more: Any) -> SyncStream:
        """As ``Client.subscribe``."""
        raise NotImplementedError

    def request(self, topic: str, payload: Payload = b"", *, timeout: float, **more: Any) -> ReceivedMessage:
        """As ``Client.request``."""
        raise NotImplementedError

    def events(self) -> Iterator[Event]:
        """As ``Client.events``."""
        raise NotImplementedError

    def disconnect(self, reason_code: int = 0, session_expiry: int | None = None) -> None:
        """As ``Client.disconnect``."""
        raise NotImplementedError
