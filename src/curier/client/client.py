"""The client: publish, subscribe, request and serve, over as many Network Connections as it takes.

    async with curier.connect("mqtt://localhost", client_id="gw") as client:
        await client.publish("a", b"x", qos=1)

This is the face; the half of it that publishes is in ``publishing``. Behind it ``keeper`` connects, ``link``
is a connection, ``outbox`` has what is published, ``router`` and ``streams`` have what is received.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from random import Random, SystemRandom
from types import TracebackType
from typing import Self

from curier.client.arguments import (
    Acknowledge,
    Overflow,
    check_filter,
    check_pairs,
    check_stream,
    make_subscriptions,
)
from curier.client.events import (
    Closed,
    Connected,
    Event,
    EventReader,
    MessagesDropped,
    SessionLost,
    Statistics,
    StorageTrouble,
)
from curier.client.keeper import Keeper
from curier.client.link import GOODBYE, Link, Owner, make_clock
from curier.client.outbox import Outbox
from curier.client.publishing import Publisher
from curier.client.received import ReceivedMessage
from curier.client.requests import Requester, Service
from curier.client.router import Router
from curier.client.session import Session
from curier.client.settings import ClientSettings
from curier.client.streams import Stream
from curier.client.subscriptions import Subscriptions
from curier.codec.constants import MQTT_50, PROTOCOL_ERROR
from curier.codec.properties import Properties
from curier.errors import ConnectionLost, LocalProtocolError, MqttError
from curier.protocol import events as core_events
from curier.protocol.client import ClientConnection
from curier.protocol.connection import Traffic
from curier.types import Payload, RetainHandling, Subscription


class Client(Publisher, Owner):
    """One client. Use it as an async context manager; made by ``connect``.

    Leaving the context waits up to ``linger`` seconds for what is published and not complete (not where the
    body raised), sends DISCONNECT and ends every task. Everything that waits when the client fails for good
    raises the one error that ended it; so does leaving, where nobody has met it. All methods belong to the
    event loop the client was entered in.
    """

    def __init__(self, settings: ClientSettings) -> None:
        settings.check()
        super().__init__()
        self.settings = settings
        self.random: Random = SystemRandom()
        self._readers: weakref.WeakSet[EventReader] = weakref.WeakSet()
        self._subscriptions: Subscriptions | None = None
        self._keeper: Keeper | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: MqttError | None = None
        self._is_closing = False
        self._shut_down = asyncio.Event()
        self._is_over = False
        self._claim_timer: asyncio.TimerHandle | None = None
        self._server_properties: Properties | None = None
        self._traffic = Traffic()

    # ---- the context ----

    async def __aenter__(self) -> Self:
        """Connect. Raises ``ConnectRefused`` or ``ConnectionLost`` where the first attempt fails (unless
        ``retry_first_connect``), ``StoreError`` where the session on disk cannot be used, ``ConfigError`` for
        a URL, a proxy or a file that cannot be. Cancelling closes what was opened.
        """
        if self._outbox is not None:
            raise RuntimeError("a client is entered once; make a new one with connect()")
        settings = self.settings
        self._loop = asyncio.get_running_loop()
        self._clock = make_clock(self._loop)
        session = self._session = settings.session if settings.session is not None else Session.memory()
        session.on_committed = self._committed
        session.on_trouble = self._troubled
        state = await session.open(settings.client_id)
        self._is_durable = state.journal is not None
        disk = session if self._is_durable else None
        self._router = Router(self._unclaimed, disk)
        self._outbox = Outbox(settings, disk)
        # Until there is a connection, one that never was takes what is published.
        self._link = self._outbox.link = self.make_link(ClientConnection(state, requeues=True), "")
        self._subscriptions = Subscriptions(self._link, self._router, self.tell, self._hold, settings.linger)
        self._requester = Requester(self, self._subscriptions, settings.response_prefix)
        try:
            self._keeper = Keeper(self, state, session.server, self.random)
            self._task = self._loop.create_task(self._keeper.run(), name=f"curier {settings.client_id}")
            await asyncio.shield(self._keeper.first)
        except BaseException:
            await self._shut(0, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.is_connected and self._outbox is not None:
                async with asyncio.timeout(self.settings.linger):
                    await self._outbox.idle()
        except TimeoutError:
            pass
        finally:
            await self._shut(0, None)
        if error is None and self._error is not None:
            raise self._error

    async def disconnect(self, reason_code: int = 0, session_expiry: int | None = None) -> None:
        """End the connection and the client: DISCONNECT with this Reason Code; 0x04 has the will published.

        ``session_expiry`` (5.0, seconds) replaces that of CONNECT. Who waits for anything gets
        ``ConnectionLost``.
        """
        await self._shut(reason_code, session_expiry)

    async def _shut(self, reason_code: int, session_expiry: int | None) -> None:
        """End everything, once; who comes second waits for the first."""
        if self._is_closing:
            await self._shut_down.wait()
            return
        self._is_closing = True
        if self._claim_timer is not None:
            self._claim_timer.cancel()
        keeper = self._keeper
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
            link = self._link
            if link.is_connected and keeper is not None:
                if session_expiry is None and keeper.ends_session() and link.connection.session_expiry:
                    session_expiry = 0
                link.disconnect(reason_code, session_expiry)
            if link.transport is not None:
                async with asyncio.timeout(GOODBYE):
                    await asyncio.shield(link.closed)
        except TimeoutError:
            pass
        finally:
            self._link.abort()
            self._is_durable = False  # what is left of the connection has nothing to say to the disk
            if self._error is None:
                self._end(ConnectionLost("the client is closed"))
                self.tell(Closed(None))
            try:
                await self._session.close()
            finally:
                self._shut_down.set()

    def on_failure(self, error: MqttError) -> None:
        """The keeper has given up."""
        if not self._is_closing:
            self._error = error
            self._end(error)
            self.tell(Closed(error))

    def _end(self, error: MqttError) -> None:
        if self._outbox is not None and self._subscriptions is not None:
            self._outbox.close(error)
            self._subscriptions.end(error)

    # ---- subscribing ----

    def subscribe(
        self,
        *filters: str | Subscription,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: RetainHandling = RetainHandling.SEND,
        buffer: int = 1000,
        overflow: Overflow = "drop_oldest",
        ack: Acknowledge = "auto",
        keep: bool | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> Stream:
        """A stream of the messages that match; a context manager, which subscribes, and an async iterator.

        ``qos`` and the options are those of the filters given as text. Of messages with QoS 0, ``buffer``
        wait at most, then ``overflow`` says which is dropped, and they are counted. Messages with QoS 1 and
        2 are never dropped: they are acknowledged when they are taken (``ack="manual"``: by
        ``message.ack()``), so that the server stops sending at ``receive_maximum``. They are acknowledged in
        the order of receiving, so a stream that nobody reads holds up all others in the end: read every one.

        Leaving the stream unsubscribes, and acknowledges what was not taken. With ``keep`` it does neither:
        the next stream, or the next program with the same session, goes on. By default so where the session
        outlives the program. Raises ``LocalProtocolError`` for what is no Topic Filter or no QoS,
        ``ConfigError`` for options that cannot be, ``TypeError`` for arguments of another type.
        """
        subscriptions = self._subscriptions or self._not_entered()
        made = make_subscriptions(filters, qos, no_local, retain_as_published, retain_handling)
        check_stream(buffer, overflow, ack)
        if keep is None:
            keep = self._keeper is not None and not self._keeper.ends_session()
        return Stream(
            subscriptions, made, buffer, overflow, ack, check_pairs("user_properties", user_properties), keep
        )

    async def unsubscribe(self, *filters: str) -> None:
        """End subscriptions of the session that no stream here has, such as those of an earlier program.

        It is no error where there are none. Raises ``SubscribeRefused`` where the server keeps one, and
        ``LocalProtocolError`` for a filter of a stream: close that. Cancelling stops the waiting only.
        """
        subscriptions = self._subscriptions or self._not_entered()
        await subscriptions.unsubscribe(tuple([check_filter(one) for one in filters]))

    # ---- request and response ----

    async def request(
        self,
        topic: str,
        payload: Payload = b"",
        *,
        timeout: float,
        qos: int = 1,
        content_type: str | None = None,
        message_expiry: int | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        payload_is_text: bool = False,
    ) -> ReceivedMessage:
        """Publish with a Response Topic and return the response (5.0 section 4.10).

        Raises ``TimeoutError`` after ``timeout`` seconds (``math.inf``: never), ``PublishRefused``, also with
        0x10 where the server says that nobody subscribes to ``topic``, and ``LocalProtocolError`` before 5.0,
        which has no Response Topic.
        """
        keeper = self._keeper or self._not_entered()
        if keeper.version != MQTT_50:
            raise LocalProtocolError(
                PROTOCOL_ERROR, "request needs MQTT 5.0: before, no Response Topic exists"
            )
        return await self._requester.request(
            topic,
            payload,
            timeout,
            qos=qos,
            content_type=content_type,
            message_expiry=message_expiry,
            user_properties=user_properties,
            payload_is_text=payload_is_text,
        )

    def serve(self, *filters: str | Subscription, qos: int = 1, buffer: int = 1000) -> Service:
        """A stream of requests, used like that of ``subscribe``; answer with ``await request.reply(...)``."""
        return Service(self, self.subscribe(*filters, qos=qos, buffer=buffer))

    # ---- what is going on ----

    def events(self) -> EventReader:
        """What happens from now on, for ``async for``; ends when the client does.

        Each reader has its own; one that lags more than 100 events behind loses the oldest. To see the first
        ``Connected``, call it before the context is entered.
        """
        reader = EventReader(self._is_over)
        self._readers.add(reader)
        return reader

    @property
    def is_connected(self) -> bool:
        """Is there a connection with a CONNACK?"""
        return self._outbox is not None and self._link.is_connected

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the server assigned it; "" where there is none yet."""
        if self._keeper is None:
            return self.settings.client_id
        return self._keeper.state.client_id or self.settings.client_id

    @property
    def version(self) -> int:
        """The Protocol Version in use: 5, 4 (3.1.1) or 3 (3.1)."""
        return self._keeper.version if self._keeper is not None else self.settings.version or MQTT_50

    @property
    def server_properties(self) -> Properties:
        """What the server said of itself in its last CONNACK (5.0 section 3.2.2.3): its limits, for one."""
        return self._server_properties or Properties()

    @property
    def statistics(self) -> Statistics:
        """Numbers of what passed so far. Raises ``MqttError`` before the client is entered."""
        outbox = self._outbox or self._not_entered()
        traffic = self._traffic
        return Statistics(
            self._keeper.connections if self._keeper is not None else 0,
            traffic.publishes_sent,
            traffic.publishes_received,
            traffic.bytes_sent,
            traffic.bytes_received,
            self._router.unclaimed_dropped,
            len(outbox.waiters),
        )

    async def reauthenticate(self) -> None:
        """Authenticate anew (5.0 section 4.12.1). Raises ``ConnectionLost`` where the server does not
        accept.
        """
        self._outbox or self._not_entered()
        await self._link.reauthenticate()

    # ---- what keeper and link tell ----

    def make_link(self, connection: ClientConnection, name: str) -> Link:
        """A link for the keeper to dial."""
        assert self._outbox is not None
        connection.traffic = self._traffic
        return Link(
            self,
            connection,
            self._clock,
            self._loop,
            self._router.message_received,
            self._outbox.published,
            self.settings.authentication,
            name,
            self.settings.offline_bytes,
        )

    def tell(self, event: Event) -> None:
        """An event happened."""
        if isinstance(event, Closed):
            self._is_over = True
        for reader in self._readers:
            reader.put(event)

    def on_connected(self, link: Link, event: core_events.Connected) -> None:
        """CONNACK; see ``Owner``. The subscriptions go first, so that answers to what is published find
        them.
        """
        assert self._keeper is not None
        assert self._outbox is not None
        assert self._subscriptions is not None
        is_first = not self._keeper.connections
        self._session.met(link.server)
        self._link = self._outbox.link = link
        self._server_properties = event.connack.properties
        self._router.connected(event.session_present)
        if event.session_present and is_first:
            self._hold()
        self._subscriptions.connected(link, event.session_present)
        version = link.connection.version
        self.tell(Connected(link.name, self.client_id, event.session_present, version))
        if not event.session_present and not (is_first and not event.lost):
            self.tell(SessionLost(len(event.lost)))

    def on_lost(self, link: Link, error: ConnectionLost) -> None:
        """An accepted connection is over."""
        self._router.lost()
        if self._subscriptions is not None:
            self._subscriptions.lost()
        if not self._is_closing:
            self.tell(error)

    def on_answered(self, event: core_events.SubscribeDone | core_events.UnsubscribeDone) -> None:
        """SUBACK or UNSUBACK."""
        if self._subscriptions is not None:
            self._subscriptions.answered(event)

    def on_room(self, link: Link) -> None:
        """A turn is over."""
        if self._outbox is not None:
            self._outbox.room_changed()

    # ---- the session's store ----

    def on_turn(self, link: Link) -> None:
        """Everything that has changed goes to the disk before anything leaves."""
        if self._is_durable:
            number = self._session.write()
            if link.connection.held:
                link.connection.release(number, link.now)

    def _committed(self, number: int) -> None:
        link = self._link
        if link.connection.held:
            link.connection.release(number, link.clock())
            link.schedule()

    def _troubled(self, why: str) -> None:
        if why:
            self.tell(StorageTrouble(why))

    # ---- messages that nobody has subscribed to yet ----

    def _hold(self) -> None:
        """Messages without a stream wait, for a while: the program may be about to subscribe."""
        self._router.holds = True
        if self._claim_timer is not None:
            self._claim_timer.cancel()
        self._claim_timer = self._loop.call_later(self.settings.claim_timeout, self._router.drop_unclaimed)

    def _unclaimed(self, count: int) -> None:
        self.tell(MessagesDropped((), count))
