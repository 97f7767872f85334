"""The client: publish, subscribe, request and serve, over as many Network Connections as it takes.

    async with curier.connect("mqtt://localhost", client_id="gw") as client:
        await client.publish("a", b"x", qos=1)

This is the face; the half of it that publishes is in ``publishing``. Behind it ``keeper`` connects, ``link``
is a connection, ``outbox`` has what is published, ``router`` and ``streams`` have what is received.
"""

from __future__ import annotations

import os
import weakref
from asyncio.events import _get_running_loop as running_loop
from collections.abc import Sequence
from random import Random, SystemRandom
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from curier.client.arguments import (
    Acknowledge,
    Overflow,
    check_filter,
    check_flag,
    check_pairs,
    check_stream,
    check_whole,
    make_subscriptions,
)
from curier.client.events import Event, EventReader, Statistics
from curier.client.life import Life
from curier.client.publishing import FORKED, NOWHERE, Publisher
from curier.client.received import ReceivedMessage
from curier.client.requests import Requester, Service
from curier.client.settings import ClientSettings
from curier.client.signatures import takes
from curier.client.streams import Stream
from curier.codec.constants import MQTT_50, PROTOCOL_ERROR
from curier.codec.properties import Properties
from curier.errors import LocalProtocolError, MqttError
from curier.types import VERSION_NAMES, Payload, RetainHandling, Subscription

if TYPE_CHECKING:
    from curier.trace.client_recorder import ClientRecorder
    from curier.trace.reading import Trace

NO_LOOP: Final = "connect needs a running event loop of asyncio; elsewhere, as in trio, use connect_sync"
ENTERED: Final = "the client is connected already: close it first, or make one more"

RANDOM: Final = SystemRandom()
"""For all clients: one of its own would take a tenth of what an idle client does."""


def settings_of(args: tuple[Any, ...], settings: dict[str, Any]) -> ClientSettings:
    """The settings that a program names. Raises ``TypeError``, with the way out, for what is none."""
    try:
        return ClientSettings(*args, **settings)
    except TypeError:
        from curier.client.misnamed import explain  # most programs do without

        explain(args, settings)
        raise


class Client(Publisher):
    """One client. Use it as an async context manager, or ``connect`` and ``close`` it; made by ``connect``.

    Leaving the context waits up to ``linger`` seconds for what is published and not complete (not where the
    body raised), sends DISCONNECT and ends every task. Everything that waits when the client fails for good
    raises the one error that ended it; so does leaving, where nobody has met it. All methods belong to the
    event loop the client was connected in, and raise ``MqttError`` in any other, in another thread and in the
    child of a fork. A client that has ended may be connected again; its streams are new ones then.
    """

    def __init__(self, settings: ClientSettings) -> None:
        if not isinstance(settings, ClientSettings):
            raise TypeError("a Client is made by curier.connect(URL), or of a curier.ClientSettings")
        settings.check()
        super().__init__()
        self.settings = settings
        self.random: Random = RANDOM
        self._readers: weakref.WeakSet[EventReader] | None = None  # made for the first
        self._life: Life | None = None
        self._recorder: ClientRecorder | None = None
        self._requester: Requester | None = None  # made for the first request of a life

    def __repr__(self) -> str:
        life = self._life
        name = f" {self.client_id!r}" if self.client_id else ""
        urls = self.settings.shown_urls()
        if life is None or not life.is_open:
            state = "not connected yet"
        elif life.link.is_connected:
            return f"<curier.Client{name}: connected to {life.link.name}, MQTT {VERSION_NAMES[self.version]}>"
        elif life.error is not None:
            state = f"ended: {life.error}"
        elif life.is_closing:
            state = "closed"
        else:
            state = "reconnecting" if life.connector.connections else "connecting"
        return f"<curier.Client{name} for {urls}: {state}>"

    # ---- the context ----

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_forked:  # where it would not be ours to say goodbye
            await self._close(lingers=error is None)

    async def connect(self) -> Self:
        """Connect, as entering the context does; ``close`` ends it.

        Raises ``ConnectRefused`` or ``ConnectionLost`` where the first attempt fails (unless
        ``retry_first_connect``), ``StoreError`` where the session on disk cannot be used, ``ConfigError`` for
        a URL, a proxy or a file that cannot be, ``MqttError`` where it is connected already. Cancelling
        closes what was opened. May be called again when the client has ended.
        """
        before = self._life
        if self._is_forked:
            self._elsewhere()
        if before is not None and not before.has_ended:
            if before.error is None and not before.is_closing:
                raise MqttError(ENTERED)
            await before.shut(0, None)
        if running_loop() is None:
            raise MqttError(
                "connect needs a running event loop of asyncio: elsewhere, as in trio, use connect_sync"
            )
        life = self._life = Life(self.settings, self.random, self._told)
        life.recorder = self._recorder
        await life.open()
        self._loop = life.loop
        self._clock = life.clock
        self._outbox = life.outbox
        for reader in self._readers or ():
            reader.loop = life.loop
        _connected.add(self)
        self._requester = None
        try:
            await life.connect()
        except BaseException:
            await life.shut(0, None)
            raise
        return self

    async def close(self) -> None:
        """End the client as leaving the context does: after up to ``linger`` seconds for what is published.

        Raises what has ended the client before, where nobody has met it. Twice, or where it was never
        connected, it does nothing.
        """
        await self._close(lingers=True)

    async def _close(self, lingers: bool) -> None:
        life = self._life
        if life is None:
            return
        if self._is_forked or not life.has_ended:
            self._here()
            try:
                if lingers:
                    await life.linger()
            finally:
                await life.shut(0, None)
        if lingers and life.error is not None and life.error.__traceback__ is None:  # never raised so far
            raise life.error

    async def disconnect(self, reason_code: int = 0, session_expiry: int | None = None) -> None:
        """End the connection and the client: DISCONNECT with this Reason Code; 0x04 has the will published.

        ``session_expiry`` (5.0, seconds) replaces that of CONNECT. Who waits for anything gets
        ``ConnectionLost``. Before the client is connected, and after it has ended, it does nothing.
        """
        check_whole("reason_code", reason_code)
        if session_expiry is not None:
            check_whole("session_expiry", session_expiry)
        life = self._life
        if life is not None and (self._is_forked or not life.has_ended):
            self._here()
            await life.shut(reason_code, session_expiry)

    def _here(self) -> None:
        """Raise ``MqttError`` where the client is used outside of its event loop."""
        if running_loop() is not self._loop:
            self._elsewhere()

    def _forked(self) -> None:
        """This process is a fork of the one that the client belongs to."""
        self._is_forked = True
        self._loop = NOWHERE
        if self._life is not None:
            self._life.forked(MqttError(FORKED))

    # ---- subscribing ----

    def subscribe(
        self,
        *filters: str | Subscription,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: RetainHandling = RetainHandling.SEND,
        buffer: int | None = None,
        overflow: Overflow = "block",
        ack: Acknowledge = "auto",
        keep: bool | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> Stream:
        """A stream of the messages that match; a context manager, which subscribes, and an async iterator.

        ``qos`` and the options are those of the filters given as text. Messages wait here until they are
        read, ``buffer`` of them (None: any number) and ``buffer_bytes`` of all streams together. Where more
        come, ``overflow`` says what happens: with ``"block"`` the client reads nothing more from the network,
        no answer either, until half of that is free again; ``"drop_oldest"`` and ``"drop_newest"`` drop those
        with QoS 0, and count them. Nothing is dropped before the reader had its turn.

        Messages with QoS 1 and 2 are never dropped. They are acknowledged when they are taken
        (``ack="auto"``), by ``message.ack()`` (``"manual"``), or when they are in the buffer (``"received"``:
        what is there when the program dies is lost then), in the order of receiving: in the end a stream that
        nobody reads holds up all others, as the event ``HeldUp`` tells. Read every one.

        Leaving the stream unsubscribes, and acknowledges what was not taken. With ``keep`` it does neither:
        the next stream, or the next program with the same session, goes on. By default so where the session
        outlives the program. Raises ``LocalProtocolError`` for what is no Topic Filter or no QoS,
        ``ConfigError`` for options that cannot be, ``TypeError`` for arguments of another type.
        """
        life = self._entered()
        made = make_subscriptions(filters, qos, no_local, retain_as_published, retain_handling)
        check_stream(buffer, overflow, ack)
        if keep is None:
            keep = not life.connector.ends_session()
        check_flag("keep", keep)
        return Stream(
            life.subscriptions,
            made,
            buffer,
            overflow,
            ack,
            check_pairs("user_properties", user_properties),
            keep,
        )

    async def unsubscribe(self, *filters: str, user_properties: Sequence[tuple[str, str]] = ()) -> None:
        """End subscriptions of the session that no stream here has, such as those of an earlier program.

        It is no error where there are none. Raises ``SubscribeRefused`` where the server keeps one, and
        ``LocalProtocolError`` for a filter of a stream: close that. Cancelling stops the waiting only.
        """
        life = self._entered()
        checked = tuple([check_filter(one) for one in filters])
        await life.subscriptions.unsubscribe(checked, check_pairs("user_properties", user_properties))

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
        life = self._entered()
        if life.connector.version != MQTT_50:
            raise LocalProtocolError(
                PROTOCOL_ERROR, "request needs MQTT 5.0: before, no Response Topic exists"
            )
        if self._requester is None:
            self._requester = Requester(self, life.subscriptions, self.settings.response_prefix)
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

    def serve(self, *filters: str | Subscription, qos: int = 1, buffer: int | None = None) -> Service:
        """A stream of requests, used like that of ``subscribe``; answer with ``await request.reply(...)``."""
        return Service(self, self.subscribe(*filters, qos=qos, buffer=buffer))

    # ---- what is going on ----

    def events(self) -> EventReader:
        """What happens from now on, for ``async for``; ends when the client does.

        Each reader has its own; one that lags more than 100 events behind loses the oldest. To see the first
        ``Connected``, call it before the context is entered.
        """
        reader = EventReader(self._life is not None and self._life.is_over)
        reader.loop = self._life.loop if self._life is not None else None
        if self._readers is None:
            self._readers = weakref.WeakSet()
        self._readers.add(reader)
        return reader

    def trace(
        self, *, payload: int | None = None, most_events: int = 10_000, most_bytes: int = 16 * 2**20
    ) -> Trace:
        """Record what this client sends and gets from now on, over all its connections: an async iterator of
        ``curier.trace`` events, until it is closed.

        ``payload`` is how many bytes of each payload to keep; None: all. Passwords and Authentication Data
        are zeros. What is not taken in time waits, ``most_events`` of ``most_bytes``; then the oldest go, and
        a ``curier.trace.events.Missed`` says how many. Raises ``ValueError`` for what cannot be.
        """
        from curier.trace.choice import choice  # most programs do without
        from curier.trace.client_recorder import ClientRecorder
        from curier.trace.reading import Ring

        chosen = choice(payload=payload)
        if self._recorder is None:
            self._recorder = ClientRecorder()
        trace = self._recorder.read(Ring(most_events, most_bytes), chosen.payload)
        if self._life is not None:
            self._life.recorder = self._recorder
            if self._life.is_open:
                self._recorder.begin(self._life.link)
        return trace

    def _told(self, event: Event) -> None:
        for reader in self._readers or ():
            reader.put(event)

    @property
    def is_connected(self) -> bool:
        """Is there a connection with a CONNACK?"""
        life = self._life
        return life is not None and life.is_open and life.link.is_connected

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the server assigned it; "" where there is none yet."""
        return self._life.client_id if self._life is not None else self.settings.client_id

    @property
    def version(self) -> int:
        """The Protocol Version in use: 5, 4 (3.1.1) or 3 (3.1)."""
        life = self._life
        return (
            life.connector.version if life is not None and life.is_open else self.settings.version or MQTT_50
        )

    @property
    def server_properties(self) -> Properties:
        """What the server said of itself in its last CONNACK (5.0 section 3.2.2.3): its limits, for one."""
        said = self._life.server_properties if self._life is not None else None
        return said or Properties()

    @property
    def statistics(self) -> Statistics:
        """Numbers of what passed so far, since ``connect``. Raises ``MqttError`` before."""
        life = self._life
        if life is None or not life.is_open:
            self._elsewhere()
        traffic = life.traffic
        return Statistics(
            life.connector.connections,
            traffic.publishes_sent,
            traffic.publishes_received,
            traffic.bytes_sent,
            traffic.bytes_received,
            life.router.unclaimed_dropped,
            traffic.tolerated,
            life.outbox.unfinished(),
            life.subscriptions.dropped(),
        )

    async def reauthenticate(self) -> None:
        """Authenticate anew (5.0 section 4.12.1). Raises ``ConnectionLost`` where the server does not
        accept.
        """
        await self._entered().link.reauthenticate()

    def _entered(self) -> Life:
        """The life there is. Raises ``MqttError`` where there is none, or not here."""
        if self._life is None or running_loop() is not self._loop:
            self._elsewhere()
        return self._life


_connected: Final[weakref.WeakSet[Client]] = weakref.WeakSet()
"""Every client that was ever connected in this process."""


def _forked() -> None:
    for client in list(_connected):
        client._forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


@takes(ClientSettings)
def connect(*args: Any, **settings: Any) -> Client:
    """A client, to be entered with ``async with``; the parameters are the fields of ``ClientSettings``.

    Raises ``ConfigError`` for a setting that cannot be, ``TypeError`` for one that there is not, saying what
    it is called here. Nothing is connected before the context is entered, and no file looked at: entering
    raises ``ConfigError`` for those.
    """
    return Client(settings_of(args, settings))
