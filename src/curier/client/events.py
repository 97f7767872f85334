"""What happens to a client, for ``Client.events()``: small plain objects.

``ConnectionLost``, the error, is one of them as well: the same object says why to whoever waited and to
whoever watches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import field
from typing import Final, Self, TypeAlias

from curier.errors import ConnectionLost, MqttError
from curier.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Connected:
    """CONNACK accepted a connection.

    ``url`` is the server's, without password; ``session_present``: it has kept the session, with its
    subscriptions; ``version`` is the Protocol Version, 5, 4 (3.1.1) or 3 (3.1).
    """

    url: str
    client_id: str
    session_present: bool
    version: int


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The server does not have the session any more; what was on its way to this client is gone with it.

    Subscriptions are made anew. ``republished`` messages, whose delivery had begun, are published anew:
    nobody knows whether they arrived, so each of them may arrive twice.
    """

    republished: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """There is no connection; the next attempt, number ``attempt`` from 1, begins in ``delay`` seconds."""

    attempt: int
    delay: float
    url: str
    error: MqttError


@dataclass(frozen=True, slots=True)
class SubscriptionLost:
    """After a reconnection the server refused what it had granted before; its stream ends with an error."""

    topic_filter: str
    reason_code: int
    reason_string: str


@dataclass(frozen=True, slots=True)
class MessagesDropped:
    """A stream was full: messages with QoS 0 are being dropped. Told once, until its reader has caught up.

    Without ``topic_filters``: messages of a resumed session that no stream wanted within ``claim_timeout``.
    """

    topic_filters: tuple[str, ...]
    dropped: int


@dataclass(frozen=True, slots=True)
class HeldUp:
    """For a second now a stream that is not read has held up the whole client. Told once, until that is over.

    ``topic_filters`` are the stream's; without any: messages of a resumed session, which no stream has
    claimed yet. ``waiting`` messages wait there; ``why`` says what that holds up.
    """

    topic_filters: tuple[str, ...]
    waiting: int
    why: str


@dataclass(frozen=True, slots=True)
class PublishGivenUp:
    """Servers have ended ``refuse_after`` connections in a row on which this message was sent first.

    ``size`` is that of its payload in bytes. Its receipt fails with ``PublishRefused``, what waited behind it
    goes on.
    """

    topic: str
    size: int
    why: str


@dataclass(frozen=True, slots=True)
class StorageTrouble:
    """The disk of a ``Session.disk`` takes nothing; meanwhile QoS 1 and 2 publishes raise ``StoreError``."""

    why: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The client is over; ``error`` is the terminal failure, None where the program closed it."""

    error: MqttError | None


Event: TypeAlias = (
    Connected
    | ConnectionLost
    | SessionLost
    | Reconnecting
    | SubscriptionLost
    | MessagesDropped
    | HeldUp
    | PublishGivenUp
    | StorageTrouble
    | Closed
)

EVENTS_KEPT: Final = 100


class EventReader:
    """The events of one ``Client.events()``."""

    def __init__(self, is_over: bool) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._waiting: asyncio.Future[None] | None = None
        self._is_over = is_over
        self.loop: asyncio.AbstractEventLoop | None = None  # that of the client, once it has one

    def put(self, event: Event) -> None:
        """An event happened; behind ``Closed`` there is nothing more to tell."""
        if self._is_over:
            return
        self._events.append(event)
        if isinstance(event, Closed):
            self._is_over = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._is_over:
                raise StopAsyncIteration
            loop = asyncio.get_running_loop()
            if self.loop not in (None, loop):
                raise MqttError("the events are read in another event loop than that of the client")
            self._waiting = loop.create_future()
            await self._waiting
        return self._events.popleft()

    async def get(self, timeout: float | None = None) -> Event:
        """The next event. Raises ``TimeoutError`` after ``timeout`` seconds (None: never), ``ConnectionLost``
        where none will come. Cancelling it loses none.
        """
        async with asyncio.timeout(timeout):
            try:
                return await self.__anext__()
            except StopAsyncIteration:
                raise ConnectionLost("the client is over") from None


@dataclass(frozen=True, slots=True)
class Statistics:
    """What passed so far, over all connections; sizes in bytes."""

    connections: int
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    unclaimed: int
    """Messages received that no stream wanted."""
    tolerated: int
    """Packets by which a server broke a rule, and that were taken all the same."""
    unfinished: int
    """Messages published that are not complete, those of an earlier life of the session as well."""
    dropped: dict[tuple[str, ...], int] = field(default_factory=dict, hash=False)
    """Messages that the streams there are have dropped, by their Topic Filters: of those that did."""
