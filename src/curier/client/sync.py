"""The client for programs without an event loop: the same names, blocking.

    with curier.connect_sync("mqtt://localhost") as client:
        client.publish("a", b"x", qos=1)

One thread runs an event loop with a ``Client`` in it; every call here is a call there, and waits for it. All
methods may be called from any thread. An interrupted wait (Ctrl-C) stops waiting, as cancelling does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from curier.client.arguments import check_window
from curier.client.client import ENTERED, Client
from curier.client.events import Event, EventReader, Statistics
from curier.client.outbox import PublishResult, Receipt, Window
from curier.client.publishing import FORKED
from curier.client.received import Delivery, ReceivedMessage
from curier.client.requests import Request, Service
from curier.client.settings import ClientSettings
from curier.client.streams import Stream
from curier.codec.properties import Properties
from curier.errors import MqttError
from curier.types import Message, Payload, QoS, Subscription

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._lock = threading.Lock()  # nothing new comes behind the last turn of the loop
        self.is_stopped = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name="curier", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        while left := asyncio.all_tasks(self.loop):  # of other threads, which wait for them
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    @property
    def is_forked(self) -> bool:
        """Is this process a fork? Then the thread is not in it, nor whoever would free the lock."""
        return self._pid != os.getpid()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """What ``work`` returns or raises. Raises ``TimeoutError`` after ``timeout`` seconds."""
        if threading.current_thread() is self._thread:
            work.close()
            raise MqttError("the client is called from its own thread, which would wait for itself")
        if self.is_forked:
            work.close()
            raise MqttError(FORKED)
        with self._lock:
            if self.is_stopped:
                work.close()
                raise MqttError("the client is closed")
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:  # by stopping: nobody else does
            raise MqttError("the client is closed") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Stop the loop, and wait for the thread. What other threads wait for is cancelled."""
        if self.is_forked:
            return
        with self._lock:
            if not self.is_stopped:
                self.is_stopped = True
                self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


class RemoteDelivery(Delivery):
    """Acknowledges from any thread what has to be acknowledged in the loop's."""

    __slots__ = ("delivery", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, delivery: Delivery) -> None:
        super().__init__()
        self.loop = loop
        self.delivery = delivery

    def taken(self) -> None:
        """See ``Delivery.taken``."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._taken)

    def _taken(self) -> None:
        if self.reason_code > self.delivery.reason_code:
            self.delivery.reason_code = self.reason_code
            self.delivery.reason_string = self.reason_string
        self.delivery.taken()


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
    """The messages of one ``SyncClient.subscribe``: a context manager and an iterator. See ``Stream``."""

    def __init__(self, thread: LoopThread, stream: Stream) -> None:
        self._thread = thread
        self._stream = stream

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._stream.__aexit__(kind, error, trace))

    def open(self) -> Self:
        """As ``Stream.open``."""
        self._thread.run(self._stream.open())
        return self

    def close(self) -> None:
        """As ``Stream.close``."""
        self._thread.run(self._stream.close())

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
        return len(self._stream)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ReceivedMessage:
        message = self._thread.run(self._next())
        if message is None:
            raise StopIteration
        return message

    def get(self, timeout: float | None = None) -> ReceivedMessage:
        """The next message. Raises ``TimeoutError`` after ``timeout`` seconds, ``ConnectionLost`` where the
        stream has ended.
        """
        return self._thread.run(self._get(timeout))

    def get_nowait(self) -> ReceivedMessage | None:
        """The next message, if one is there."""
        return self._thread.run(self._get_nowait())

    async def _get_nowait(self) -> ReceivedMessage | None:
        message = self._stream.get_nowait()
        return None if message is None else self._handed_over(message)

    async def _get(self, timeout: float | None) -> ReceivedMessage:
        return self._handed_over(await self._stream.get(timeout))

    async def _next(self) -> ReceivedMessage | None:
        try:
            return self._handed_over(await self._stream.__anext__())
        except StopAsyncIteration:
            return None

    def _handed_over(self, message: ReceivedMessage) -> ReceivedMessage:
        if message._delivery is not None:
            message._delivery = RemoteDelivery(self._thread.loop, message._delivery)
        return message


class SyncRequest:
    """A request that was received: ``message``, and a way to answer it."""

    def __init__(self, thread: LoopThread, request: Request) -> None:
        self._thread = thread
        self._request = request
        self.message = request.message
        self.topic = request.topic
        self.payload = request.payload

    def reply(self, payload: Payload = b"", *, qos: int | None = None, **more: Any) -> PublishResult:
        """As ``Request.reply``."""
        return self._thread.run(self._request.reply(payload, qos=qos, **more))


class SyncService:
    """The requests of one ``SyncClient.serve``: a context manager and an iterator."""

    def __init__(self, thread: LoopThread, service: Service) -> None:
        self._thread = thread
        self._service = service

    def __enter__(self) -> Self:
        self._thread.run(self._service.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._service.__aexit__(kind, error, trace))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SyncRequest:
        request = self._thread.run(self._next())
        if request is None:
            raise StopIteration
        return SyncRequest(self._thread, request)

    def get(self, timeout: float | None = None) -> SyncRequest:
        """The next request; as ``SyncStream.get``."""
        return SyncRequest(self._thread, self._thread.run(self._service.get(timeout)))

    async def _next(self) -> Request | None:
        try:
            return await self._service.__anext__()
        except StopAsyncIteration:
            return None


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


class SyncClient:
    """One client, blocking; made by ``connect_sync``. Each method is that of ``Client`` by that name."""

    def __init__(self, settings: ClientSettings) -> None:
        self.client = Client(settings)
        self._thread: LoopThread | None = None

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
            thread.run(close())
        finally:
            thread.stop()

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise MqttError("the client is not connected yet: use it within `with`, or behind connect()")
        return self._thread

    def publish(self, topic: str, payload: Payload = b"", *, qos: int = 0, **more: Any) -> PublishResult:
        """As ``Client.publish``, which lists what ``more`` may be: returns when the flow is complete."""
        return self._running().run(self.client.publish(topic, payload, qos=qos, **more))

    def publish_nowait(self, topic: str, payload: Payload = b"", *, qos: int = 0, **more: Any) -> SyncReceipt:
        """As ``Client.publish_nowait``: returns when the message is accepted."""
        thread = self._running()

        async def publish() -> Receipt:
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
        """As ``Client.publish_many``; ``source`` is read by the thread that calls, ``window`` items at a
        time.
        """
        thread = self._running()
        unfinished = Window(check_window(window))
        items = iter(source)
        count = 0
        while some := list(islice(items, window)):
            count += thread.run(self.client.publish_within(unfinished, some, qos, retain))
        thread.run(unfinished.fewer_than(1))
        return count

    def subscribe(self, *filters: str | Subscription, qos: int = 0, **more: Any) -> SyncStream:
        """As ``Client.subscribe``, which lists what ``more`` may be."""
        thread = self._running()

        async def subscribe() -> Stream:
            return self.client.subscribe(*filters, qos=qos, **more)

        return SyncStream(thread, thread.run(subscribe()))

    def unsubscribe(self, *filters: str) -> None:
        """As ``Client.unsubscribe``."""
        self._running().run(self.client.unsubscribe(*filters))

    def request(
        self, topic: str, payload: Payload = b"", *, timeout: float, qos: int = 1, **more: Any
    ) -> ReceivedMessage:
        """As ``Client.request``."""
        return self._running().run(self.client.request(topic, payload, timeout=timeout, qos=qos, **more))

    def serve(self, *filters: str | Subscription, qos: int = 1, buffer: int = 1000) -> SyncService:
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
