"""The client for programs without an event loop: the same names, blocking.

    with curier.connect_sync("mqtt://localhost") as client:
        client.publish("a", b"x", qos=1)

One thread runs an event loop with a ``Client`` in it; every call here is a call there, and waits for it. All
methods may be called from any thread. An interrupted wait (Ctrl-C) stops waiting, as cancelling does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from curier.client.arguments import check_window
from curier.client.client import ENTERED, Client, settings_of
from curier.client.events import Event, EventReader, Statistics
from curier.client.handover import Inbox, Outlet
from curier.client.loop_thread import LoopThread
from curier.client.outbox import SUCCESS, PublishResult, Receipt
from curier.client.received import ReceivedMessage
from curier.client.requests import Request, Service
from curier.client.settings import ClientSettings
from curier.client.signatures import takes, takes_as
from curier.client.streams import Stream
from curier.codec.properties import Properties
from curier.errors import ConnectionLost, MqttError
from curier.types import Message, Payload, QoS, Subscription

if TYPE_CHECKING:
    from curier.trace import events as traced
    from curier.trace.reading import Trace


class SyncReceipt:
    """For a message that was accepted."""

    def __init__(self, thread: LoopThread, receipt: Receipt) -> None:
        self._thread = thread
        self._receipt = receipt

    def done(self) -> bool:
        """Is the delivery over?"""
        return self._receipt.done()

    def result(self, timeout: float | None = None) -> PublishResult:
        """Wait for the result; ``TimeoutError`` after ``timeout`` seconds. Raises what ended the delivery."""
        if self._receipt.done():
            return self._receipt.result()
        return self._thread.run(self._wait(), timeout)

    async def _wait(self) -> PublishResult:
        return await self._receipt


class SyncStream:
    """The messages of one ``SyncClient.subscribe``: a context manager and an iterator. See ``Stream``.

    They are handed over to the threads that read in batches: a wait that is interrupted loses none, and each
    is acknowledged when a thread has it.
    """

    def __init__(self, thread: LoopThread, stream: Stream) -> None:
        self._thread = thread
        self._stream = stream
        self._inbox = Inbox(thread, stream)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._inbox.leave(lambda: self._stream.__aexit__(kind, error, trace)))

    def open(self) -> Self:
        """As ``Stream.open``."""
        self._thread.run(self._stream.open())
        return self

    def close(self) -> None:
        """As ``Stream.close``."""
        self._thread.run(self._inbox.leave(self._stream.close))

    @property
    def topic_filters(self) -> tuple[str, ...]:
        """The Topic Filters."""
        return self._stream.topic_filters

    @property
    def granted(self) -> tuple[QoS, ...]:
        """What the server granted, for each filter."""
        return self._stream.granted

    @property
    def dropped(self) -> int:
        """Messages with QoS 0 that found the buffer full."""
        return self._stream.dropped

    def __len__(self) -> int:
        return len(self._inbox)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ReceivedMessage:
        message = self._inbox.take(None)
        if message is None:
            raise StopIteration
        return message

    def get(self, timeout: float | None = None) -> ReceivedMessage:
        """The next message. Raises ``TimeoutError`` after ``timeout`` seconds, ``ConnectionLost`` where the
        stream has ended.
        """
        message = self._inbox.take(timeout)
        if message is None:
            raise ConnectionLost("the stream is closed")
        return message

    def get_nowait(self) -> ReceivedMessage | None:
        """The next message, if one is there."""
        return self._inbox.take_now()


class SyncRequest:
    """A request that was received: ``message``, and a way to answer it."""

    def __init__(self, thread: LoopThread, request: Request) -> None:
        self._thread = thread
        self._request = request
        self.message = request.message
        self.topic = request.topic
        self.payload = request.payload

    @takes_as(Request.reply)
    def reply(self, payload: Payload = b"", *, qos: int | None = None, **more: Any) -> PublishResult:
        """As ``Request.reply``."""
        return self._thread.run(self._request.reply(payload, qos=qos, **more))


class SyncService:
    """The requests of one ``SyncClient.serve``: a context manager and an iterator."""

    def __init__(self, thread: LoopThread, service: Service) -> None:
        self._thread = thread
        self._service = service
        self._inbox = Inbox(thread, service.stream)

    def __enter__(self) -> Self:
        self._thread.run(self._service.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._inbox.leave(lambda: self._service.__aexit__(kind, error, trace)))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SyncRequest:
        message = self._inbox.take(None)
        if message is None:
            raise StopIteration
        return SyncRequest(self._thread, self._service.request(message))

    def get(self, timeout: float | None = None) -> SyncRequest:
        """The next request; as ``SyncStream.get``."""
        message = self._inbox.take(timeout)
        if message is None:
            raise ConnectionLost("the stream is closed")
        return SyncRequest(self._thread, self._service.request(message))


class SyncEventReader:
    """The events of one ``SyncClient.events()``: an iterator, which waits for each."""

    def __init__(self, thread: LoopThread, reader: EventReader) -> None:
        self._thread = thread
        self._reader = reader

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._thread.run(self._next())
        if event is None:
            raise StopIteration
        return event

    async def _next(self) -> Event | None:
        try:
            return await self._reader.__anext__()
        except StopAsyncIteration:
            return None

    def get(self, timeout: float | None = None) -> Event:
        """The next event. Raises ``TimeoutError`` after ``timeout`` seconds, ``ConnectionLost`` where none
        will come.
        """
        return self._thread.run(self._reader.get(timeout))


class SyncTrace:
    """What goes by from now on, of one ``SyncClient.trace()``: an iterator, which waits for each event."""

    def __init__(self, thread: LoopThread, trace: Trace) -> None:
        self._thread = thread
        self._trace = trace

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> traced.Event:
        event = self._thread.run(self._next())
        if event is None:
            raise StopIteration
        return event

    async def _next(self) -> traced.Event | None:
        try:
            return await self._trace.__anext__()
        except StopAsyncIteration:
            return None

    def take(self) -> list[traced.Event]:
        """All events that are there, oldest first, without waiting."""

        async def take() -> list[traced.Event]:
            return self._trace.take()

        return self._thread.run(take())

    def close(self) -> None:
        """See nothing more. What is there can still be taken."""

        async def close() -> None:
            self._trace.close()

        self._thread.run(close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncClient:
    """One client, blocking; made by ``connect_sync``. Each method is that of ``Client`` by that name."""

    def __init__(self, settings: ClientSettings) -> None:
        self.client = Client(settings)
        self._thread: LoopThread | None = None
        self._outlet = Outlet(None, self.client)

    def __repr__(self) -> str:
        return repr(self.client).replace("curier.Client", "curier.SyncClient", 1)

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None and not self._thread.is_forked:
            self._end(lambda: self.client.__aexit__(kind, error, trace))

    def connect(self) -> Self:
        """As ``Client.connect``."""
        thread = self._thread
        if thread is None or thread.is_stopped:
            thread = self._thread = LoopThread()
            self._outlet = Outlet(thread, self.client)
        elif self.client.is_connected:
            raise MqttError(ENTERED)
        try:
            thread.run(self.client.connect())
        except BaseException:
            thread.stop()
            raise
        return self

    def close(self) -> None:
        """As ``Client.close``."""
        self._end(self.client.close)

    def _end(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        thread = self._thread
        if thread is None or thread.is_stopped:
            return
        try:
            thread.run(self._closed(close))
        finally:
            thread.stop()

    async def _closed(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.client.settings.linger):
                await self._outlet.idle()
        await close()

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise MqttError("the client is not connected yet: use it within `with`, or behind connect()")
        return self._thread

    @takes_as(Client.publish)
    def publish(self, topic: str, payload: Payload = b"", *, qos: int = 0, **more: Any) -> PublishResult:
        """As ``Client.publish``, which lists what ``more`` may be: returns when the flow is complete; with
        QoS 0 when the client's thread has the message, which goes to the network in its turn.
        """
        if self._outlet.send(topic, payload, qos, more):
            return SUCCESS

        async def publish() -> PublishResult:
            await self._outlet.idle()
            return await self.client.publish(topic, payload, qos=qos, **more)

        return self._running().run(publish())

    @takes_as(Client.publish_nowait)
    def publish_nowait(self, topic: str, payload: Payload = b"", *, qos: int = 0, **more: Any) -> SyncReceipt:
        """As ``Client.publish_nowait``: returns when the message is accepted."""
        thread = self._running()

        async def publish() -> Receipt:
            await self._outlet.idle()
            return self.client.publish_nowait(topic, payload, qos=qos, **more)

        return SyncReceipt(thread, thread.run(publish()))

    def publish_many(
        self,
        source: Iterable[Message | tuple[str, Payload]],
        *,
        qos: int = 0,
        retain: bool = False,
        window: int = 100,
    ) -> int:
        """As ``Client.publish_many``; ``source`` is read by the thread that calls, and each item handed over
        as it comes. What was handed over is delivered, though the rest be interrupted.
        """
        self._running()
        return self._outlet.send_many(source, qos, retain, check_window(window))

    @takes_as(Client.subscribe)
    def subscribe(self, *filters: str | Subscription, qos: int = 0, **more: Any) -> SyncStream:
        """As ``Client.subscribe``, which lists what ``more`` may be."""
        thread = self._running()

        async def subscribe() -> Stream:
            return self.client.subscribe(*filters, qos=qos, **more)

        return SyncStream(thread, thread.run(subscribe()))

    def unsubscribe(self, *filters: str, user_properties: Sequence[tuple[str, str]] = ()) -> None:
        """As ``Client.unsubscribe``."""
        self._running().run(self.client.unsubscribe(*filters, user_properties=user_properties))

    @takes_as(Client.request)
    def request(
        self, topic: str, payload: Payload = b"", *, timeout: float, qos: int = 1, **more: Any
    ) -> ReceivedMessage:
        """As ``Client.request``."""
        return self._running().run(self.client.request(topic, payload, timeout=timeout, qos=qos, **more))

    def serve(self, *filters: str | Subscription, qos: int = 1, buffer: int | None = None) -> SyncService:
        """As ``Client.serve``."""
        thread = self._running()

        async def serve() -> Service:
            return self.client.serve(*filters, qos=qos, buffer=buffer)

        return SyncService(thread, thread.run(serve()))

    def events(self) -> SyncEventReader:
        """What happens from now on, as ``Client.events``."""
        thread = self._running()

        async def reader() -> EventReader:
            return self.client.events()

        return SyncEventReader(thread, thread.run(reader()))

    def trace(
        self, *, payload: int | None = None, most_events: int = 10_000, most_bytes: int = 16 * 2**20
    ) -> SyncTrace:
        """As ``Client.trace``, from the time it is connected."""
        thread = self._running()

        async def trace() -> Trace:
            return self.client.trace(payload=payload, most_events=most_events, most_bytes=most_bytes)

        return SyncTrace(thread, thread.run(trace()))

    def reauthenticate(self) -> None:
        """As ``Client.reauthenticate``."""
        self._running().run(self.client.reauthenticate())

    def disconnect(self, reason_code: int = 0, session_expiry: int | None = None) -> None:
        """As ``Client.disconnect``."""
        if self._thread is not None and not self._thread.is_stopped:
            self._thread.run(self.client.disconnect(reason_code, session_expiry))

    @property
    def is_connected(self) -> bool:
        """Is there a connection with a CONNACK?"""
        return self.client.is_connected

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the server assigned it."""
        return self.client.client_id

    @property
    def version(self) -> int:
        """The Protocol Version in use: 5, 4 (3.1.1) or 3 (3.1)."""
        return self.client.version

    @property
    def server_properties(self) -> Properties:
        """As ``Client.server_properties``."""
        return self.client.server_properties

    @property
    def statistics(self) -> Statistics:
        """As ``Client.statistics``."""
        return self.client.statistics


@takes(ClientSettings)
def connect_sync(*args: Any, **settings: Any) -> SyncClient:
    """A blocking client, to be entered with ``with``; takes and raises what ``connect`` does."""
    return SyncClient(settings_of(args, settings))
