"""Between the loop's thread and those of a blocking client: messages, in both directions, many at a time.

A trip to another thread and back costs as much as dozens of messages. So what is received waits in a deque
that threads take from without asking, and what is published at QoS 0, or as one of many, in another that the
loop empties; only who finds nothing there waits, and only then is anybody woken.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from curier.client.client import Client
from curier.client.loop_thread import OWN_THREAD, LoopThread
from curier.client.outbox import Outbox, Waiter, application_message
from curier.client.received import Delivery, ReceivedMessage
from curier.client.streams import Stream
from curier.errors import LocalProtocolError, MqttError, PublishRefused
from curier.session.message import ApplicationMessage
from curier.types import Message, Payload

MOST_MESSAGES: Final = 1000
"""Messages that lie between two threads, each way; then whoever puts them there waits."""

MOST_BYTES: Final = 256 * 1024
"""And bytes of those that were received."""


class RemoteDelivery(Delivery):
    """Acknowledges from any thread what has to be acknowledged in the loop's."""

    __slots__ = ("delivery", "inbox")

    def __init__(self, inbox: Inbox, delivery: Delivery) -> None:
        super().__init__()
        self.inbox = inbox
        self.delivery = delivery

    def taken(self) -> None:
        """See ``Delivery.taken``."""
        if self.reason_code > self.delivery.reason_code:
            self.delivery.reason_code = self.reason_code
            self.delivery.reason_string = self.reason_string
        self.inbox.taken(self.delivery)


class Inbox:
    """The messages of one stream, for the threads that read it."""

    def __init__(self, thread: LoopThread, stream: Stream) -> None:
        self._thread = thread
        self._stream = stream
        self._handed: deque[ReceivedMessage] = deque()
        self._taken: deque[Delivery] = deque()  # to be acknowledged
        self._is_telling = False  # will the loop look at those?
        self._guard = threading.Lock()  # of what follows
        self._waiting: deque[threading.Lock] = deque()  # one of each thread that waits, released to wake it
        self._is_served = False  # will the loop hand over what comes?

    def __len__(self) -> int:
        return len(self._handed) + len(self._stream)

    # ---- any thread ----

    def take(self, timeout: float | None) -> ReceivedMessage | None:
        """The next message; None where the stream is closed. Raises ``TimeoutError`` after ``timeout``
        seconds, and what has ended the client.
        """
        try:
            return self._received(self._handed.popleft())
        except IndexError:
            pass
        until = None if timeout is None else time.monotonic() + timeout
        stream = self._stream
        if not stream.is_open and not stream.is_closed and stream.error is None:
            self._thread.run(stream.open(), timeout)
        while True:
            is_over = stream.is_closed or stream.error is not None  # looked at first: nothing comes behind it
            try:
                return self._received(self._handed.popleft())
            except IndexError:
                pass
            if is_over and not len(stream):
                if stream.error is not None:
                    raise stream.error
                return None
            self._wait(None if until is None else until - time.monotonic())

    def take_now(self) -> ReceivedMessage | None:
        """The next message, if one is there."""
        if not self._handed and len(self._stream):
            self._thread.run(self._serve_now())
        return self._received(self._handed.popleft()) if self._handed else None

    def _received(self, message: ReceivedMessage) -> ReceivedMessage:
        """A thread has the message."""
        delivery = message._delivery
        if delivery is not None:
            if self._stream.is_auto:
                message._delivery = None
                self.taken(delivery)
            else:
                message._delivery = RemoteDelivery(self, delivery)
        return message

    def taken(self, delivery: Delivery) -> None:
        """Acknowledge, in the loop's thread; nothing happens where there is none any more."""
        self._taken.append(delivery)
        if not self._is_telling:
            self._is_telling = True
            try:
                self._thread.call(self._tell)
            except MqttError:
                self._is_telling = False

    def _wait(self, timeout: float | None) -> None:
        """Wait until something is handed over, or nothing will be. Raises ``TimeoutError``."""
        if self._thread.is_here():
            raise MqttError(OWN_THREAD)
        bell = threading.Lock()
        bell.acquire()
        with self._guard:
            if self._handed:
                return
            self._waiting.append(bell)
            is_served, self._is_served = self._is_served, True
        try:
            if not is_served:
                self._thread.call(self._serve)
            if not bell.acquire(True, -1 if timeout is None else max(0.0, timeout)):
                raise TimeoutError
        except BaseException:
            with self._guard:
                if bell in self._waiting:
                    self._waiting.remove(bell)
                else:  # woken for a message that is another's now
                    self._wake(1)
            raise

    def _wake(self, count: int) -> None:
        """Wake as many threads, if they wait. Under the guard."""
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft().release()

    # ---- the loop's thread ----

    def _serve(self) -> None:
        """Hand over what is there, and see to it that what comes is."""
        stream = self._stream
        self._hand_over()
        is_over = stream.is_closed or stream.error is not None
        with self._guard:
            self._wake(len(self._waiting) if is_over else len(self._handed))
            self._is_served = bool(self._waiting)
        if self._is_served:
            stream.ready(self._serve)

    async def _serve_now(self) -> None:
        self._stream.hand_over(1, MOST_BYTES, self._handed)

    def _hand_over(self) -> None:
        stream = self._stream
        if not stream.is_durable():
            stream.hand_over(MOST_MESSAGES - len(self._handed), MOST_BYTES, self._handed)
            return
        # With a session on disk a QoS 2 message is noted there before the program has it: one at a time, so
        # that no more than one can be lost with the program.
        for _ in range(len(self._waiting) - len(self._handed)):
            before = len(self._handed)
            stream.hand_over(1, MOST_BYTES, self._handed)
            if len(self._handed) > before and stream.is_auto:
                message = self._handed[-1]
                if message._packet.qos == 2 and message._delivery is not None:
                    message.ack()

    def _tell(self) -> None:
        self._is_telling = False
        taken = self._taken
        while taken:
            taken.popleft().taken()

    async def leave(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Close the stream, behind giving back to it what no thread has taken."""
        self._tell()
        left: deque[ReceivedMessage] = deque()
        while self._handed:
            left.append(self._handed.popleft())
        if not self._stream.is_closed:
            self._stream.take_back(left)
        await close()


class SyncWindow(Waiter):
    """The unfinished messages of one thread's ``publish_many``."""

    __slots__ = ("_bell", "_finished", "_is_waiting", "_taken", "error", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.error: MqttError | None = None  # the first
        self._taken = 0  # counted by the thread
        self._finished = 0  # counted by the loop
        self._is_waiting = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def begin(self) -> None:
        """Wait for room, and take it. Raises the first refusal."""
        self.wait_for_fewer_than(self.size)
        self._taken += 1

    def wait_for_fewer_than(self, count: int) -> None:
        """Wait until fewer than ``count`` are unfinished. Raises the first refusal."""
        while self._taken - self._finished >= count and self.error is None:
            self._bell.acquire(False)  # rung by what was there already
            self._is_waiting = True
            if self._taken - self._finished >= count and self.error is None:
                self._bell.acquire()
            self._is_waiting = False
        if self.error is not None:
            raise self.error

    def finish(self, reason_code: int, reason_string: str) -> None:
        if reason_code >= 0x80 and self.error is None:
            self.error = PublishRefused(reason_code, reason_string)
        self._finished += 1
        if self._is_waiting:
            self._is_waiting = False
            self._bell.release()

    def fail(self, error: MqttError) -> None:
        self.error = self.error or error
        self.finish(0, "")


class Outlet:
    """What threads publish without waiting for each message."""

    def __init__(self, thread: LoopThread | None, client: Client) -> None:
        self._thread = thread
        self._client = client
        self._items: deque[tuple[ApplicationMessage, SyncWindow | None]] = deque()
        self._is_coming = False  # will the loop look?
        self._task: asyncio.Task[None] | None = None  # waits for room

    # ---- any thread ----

    def send(self, topic: str, payload: Payload, qos: int, more: dict[str, Any]) -> bool:
        """Publish at QoS 0, if that needs no waiting. False, and nothing happens, where it does or may not
        be; then the long way says why.
        """
        outbox = self._client.outbox()
        thread = self._thread
        if qos != 0 or type(qos) is not int or more.keys() - {"retain"}:
            return False
        if outbox is None or thread is None or thread.is_here():
            return False
        message = application_message(topic, payload, 0, more.get("retain", False))
        if not outbox.is_free() or len(self._items) >= MOST_MESSAGES:
            return False
        link = outbox.link
        try:
            link.connection.prepare(message, link.now)
        except LocalProtocolError:
            return False
        self._put(message, None)
        return True

    def send_many(
        self, source: Iterable[Message | tuple[str, Payload]], qos: int, retain: bool, size: int
    ) -> int:
        """See ``SyncClient.publish_many``."""
        if self._thread is not None and self._thread.is_here():
            raise MqttError(OWN_THREAD)
        window = SyncWindow(size)
        count = 0
        for item in source:
            message = self._client.message_of(item, qos, retain)
            window.begin()
            self._put(message, window)
            count += 1
        window.wait_for_fewer_than(1)
        return count

    def _put(self, message: ApplicationMessage, window: SyncWindow | None) -> None:
        self._items.append((message, window))
        if not self._is_coming and self._thread is not None:
            self._is_coming = True
            try:
                self._thread.call(self._publish)
            except MqttError:
                self._is_coming = False
                self._items.clear()
                raise

    # ---- the loop's thread ----

    async def idle(self) -> None:
        """Wait until everything was accepted that came before."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _publish(self) -> None:
        self._is_coming = False
        outbox = self._client.outbox()
        if self._task is not None or outbox is None:
            return
        items = self._items
        while items:
            if not outbox.is_free() and outbox.error is None:
                self._task = asyncio.get_running_loop().create_task(self._publish_slowly(outbox))
                return
            self._send(outbox, *items.popleft())

    async def _publish_slowly(self, outbox: Outbox) -> None:
        """As there is room."""
        items = self._items
        try:
            while items:
                message, window = items[0]
                try:
                    await outbox.room(message)
                except MqttError:
                    pass  # said by what follows
                items.popleft()
                self._send(outbox, message, window)
        finally:
            self._task = None

    def _send(self, outbox: Outbox, message: ApplicationMessage, window: SyncWindow | None) -> None:
        try:
            entry = outbox.send(message, True)
        except MqttError as error:
            if window is not None:
                window.fail(error)
            return
        if window is None:
            return
        if entry is None:
            window.finish(0, "")
        else:
            outbox.waiters[entry] = window
