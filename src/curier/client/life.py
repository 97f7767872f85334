"""One life of a client: from connecting until everything it began has ended.

A client that is used again begins another one. Each has its session, link, keeper, outbox and subscriptions
to itself, so that nothing of an earlier life can reach into a later one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice, takewhile
from random import Random
from typing import TYPE_CHECKING

from curier.client.buffers import Buffer, Intake
from curier.client.connecting import Connector
from curier.client.events import (
    Closed,
    Connected,
    Event,
    HeldUp,
    MessagesDropped,
    PublishGivenUp,
    SessionLost,
    StorageTrouble,
)
from curier.client.keeper import Keeper
from curier.client.link import GOODBYE, Clock, Link, Owner
from curier.client.logged import log, log_event
from curier.client.outbox import Outbox
from curier.client.router import Router
from curier.client.session import Session
from curier.client.settings import ClientSettings
from curier.client.subscriptions import Subscriptions
from curier.client.suspicion import Suspicion
from curier.client.watch import Watch
from curier.codec.properties import Properties
from curier.errors import ConnectionLost, MqttError
from curier.protocol import events as core_events
from curier.protocol.client import ClientConnection
from curier.protocol.connection import Traffic
from curier.session.outgoing import Outgoing, OutgoingFlow

if TYPE_CHECKING:
    from curier.trace.client_recorder import ClientRecorder


class Life(Owner):
    """Made and begun within the event loop it belongs to; ``told`` gets its events."""

    outbox: Outbox
    subscriptions: Subscriptions
    intake: Intake
    watch: Watch
    suspicion: Suspicion
    router: Router
    connector: Connector
    keeper: Keeper
    link: Link
    """The connection there is, or was last; before the first one that never was."""

    def __init__(self, settings: ClientSettings, random: Random, told: Callable[[Event], None]) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(self.loop)
        self.session = settings.session if settings.session is not None else Session.memory()
        self.server_properties: Properties | None = None
        self.traffic = Traffic()
        self.error: MqttError | None = None  # what has ended it, where the program has not
        self.is_open = False  # is the rest of the attributes there?
        self.is_closing = False
        self.recorder: ClientRecorder | None = None  # for whoever traces it
        self._random = random
        self._told = told
        self.has_ended = False  # is everything over, closed and released?
        self._shut_down: asyncio.Future[None] | None = None  # while somebody waits for that
        self._is_durable = False
        self._tolerated: dict[tuple[str, str], None] = {}  # servers and the rules they break
        self._claim_timer: asyncio.TimerHandle | None = None

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the server assigned it; "" where there is none yet."""
        state_id = self.connector.state.client_id if self.is_open else ""
        return state_id or self.settings.client_id

    @property
    def is_over(self) -> bool:
        """Will nothing happen any more?"""
        return self.error is not None or self.has_ended

    def _ended(self) -> None:
        self.has_ended = True
        if self._shut_down is not None and not self._shut_down.done():
            self._shut_down.set_result(None)

    # ---- it begins ----

    async def open(self) -> None:
        """Open the session, and make what accepts publishes and subscriptions. Raises ``StoreError``."""
        settings = self.settings
        session = self.session
        session.on_committed = self._committed
        session.on_trouble = self._troubled
        try:
            state = await session.open(settings.client_id)
        except BaseException:
            self.is_closing = True
            self._ended()
            raise
        self._is_durable = state.journal is not None
        disk = session if self._is_durable else None
        self.router = Router(self._unclaimed, disk)
        self.outbox = Outbox(settings, disk)
        self.suspicion = Suspicion(settings.refuse_after)
        # Until there is a connection, one that never was takes what is published.
        self.link = self.outbox.link = self.make_link(ClientConnection(state, requeues=True), "")
        self.intake = Intake(self.link, settings.buffer_bytes, self._overflowed)
        self.watch = Watch(self.intake, self.router, self._held_up)
        self.subscriptions = Subscriptions(
            self.link, self.router, self.intake, self.tell, self._hold, settings.linger
        )
        self.connector = Connector(self, state, session.server, self._random)
        self.keeper = Keeper(self, self.connector, self._random)
        self.is_open = True

    async def connect(self) -> None:
        """Connect, and stay connected from then on. Raises what the first attempt does."""
        if self.is_closing:  # while it was opened
            self.is_closing = False
            await self.shut(0, None)
            raise ConnectionLost("the client is closed")
        await self.keeper.connect()

    # ---- it ends ----

    async def linger(self) -> None:
        """Wait up to ``linger`` seconds for what is published and not complete, if there is a connection."""
        if not self.is_open or not self.link.is_connected:
            return
        try:
            async with asyncio.timeout(self.settings.linger):
                await self.outbox.idle()
        except TimeoutError:
            pass

    async def shut(self, reason_code: int, session_expiry: int | None) -> None:
        """End everything, once; who comes second waits for the first."""
        if self.is_closing or not self.is_open:
            self.is_closing = True
            if not self.has_ended:
                if self._shut_down is None:
                    self._shut_down = self.loop.create_future()
                await asyncio.shield(self._shut_down)
            return
        self.is_closing = True
        if self._claim_timer is not None:
            self._claim_timer.cancel()
        self.watch.stop()
        link = self.link
        try:
            await self.keeper.stop()
            link = self.link
            if link.is_connected:
                if (
                    session_expiry is None
                    and self.connector.ends_session()
                    and link.connection.session_expiry
                ):
                    session_expiry = 0
                link.disconnect(reason_code, session_expiry)
            if link.transport is not None:
                async with asyncio.timeout(GOODBYE):
                    await link.closed()
        except TimeoutError:
            pass
        finally:
            link.abort()
            self._is_durable = False  # what is left of the connection has nothing to say to the disk
            if self.error is None:
                self._end(ConnectionLost("the client is closed"))
                self.tell(Closed(None))
            try:
                await self.session.close()
            finally:
                self._ended()

    def on_failure(self, error: MqttError) -> None:
        """The keeper has given up."""
        if not self.is_closing:
            self.error = error
            error.__traceback__ = None  # that it has one says from now on that somebody has met it
            self._end(error)
            self.tell(Closed(error))

    def _end(self, error: MqttError) -> None:
        """Whoever waits, and comes from now on, gets ``error``."""
        self.keeper.end(error)
        self.outbox.close(error)
        self.subscriptions.end(error)

    def forked(self, error: MqttError) -> None:
        """This process is a fork: nothing of it belongs here, and what waits would wait for ever."""
        self._is_durable = False
        self._ended()
        self.is_closing = True
        if self.is_open:
            self.link.forget()
            self.subscriptions.forget()
        if self.is_open and self.error is None:
            self.error = error
            self._end(error)
            self.tell(Closed(error))

    # ---- what keeper and link tell ----

    def make_link(self, connection: ClientConnection, name: str) -> Link:
        """A link for the keeper to dial."""
        connection.traffic = self.traffic
        link = Link(
            self,
            connection,
            self.clock,
            self.loop,
            self.router.message_received,
            self.outbox.published,
            self.settings.authentication,
            name,
            self.settings.offline_bytes,
        )
        if self.recorder is not None and name:
            self.recorder.begin(link)
        return link

    def tell(self, event: Event) -> None:
        """An event happened."""
        log_event(self.client_id, event)
        self._told(event)

    def on_connected(self, link: Link, event: core_events.Connected) -> None:
        """CONNACK; see ``Owner``. The subscriptions go first, so that answers to what is published find
        them.
        """
        is_first = not self.connector.connections
        self.session.met(link.server)
        self.link = self.outbox.link = link
        if self.suspicion.begin(link.connection.client_session.outgoing):
            link.on_published = self._published_alone
        self.intake.connected(link)
        self.server_properties = event.connack.properties
        self.router.connected(event.session_present)
        if event.session_present and is_first:
            self._hold()
        self.subscriptions.connected(link, event.session_present)
        version = link.connection.version
        self.tell(Connected(link.name, self.client_id, event.session_present, version))
        if not event.session_present and not (is_first and not event.lost):
            self.tell(SessionLost(_again(link.connection.client_session.outgoing, event.lost)))

    def on_lost(self, link: Link, error: ConnectionLost) -> None:
        """An accepted connection is over."""
        self.router.lost()
        self.subscriptions.lost()
        outgoing = link.connection.client_session.outgoing
        guilty = self.suspicion.end(outgoing, error)
        if guilty is not None:
            self._give_up(outgoing, guilty, error)
        if not self.is_closing:
            self.tell(error)

    def on_closed(self, link: Link) -> None:
        """The network is gone."""
        if self.recorder is not None:
            self.recorder.closed(link)
        self.keeper.closed(link)

    def on_tolerated(self, link: Link, event: core_events.Tolerated) -> None:
        """The server breaks a rule, and no harm comes of it: said once for each rule and server."""
        if (link.server, event.statement) not in self._tolerated:
            self._tolerated[link.server, event.statement] = None
            log.warning("%s: %s [%s]; it is taken so", link.name, event.message, event.statement)

    def _give_up(self, outgoing: OutgoingFlow, entry: Outgoing, error: ConnectionLost) -> None:
        """The server ends the connection for ``entry``, again and again."""
        if not outgoing.withdraw(entry):
            outgoing.abandon(entry)
        topic = entry.message.topic.decode()
        size = len(entry.message.payload)
        why = (
            f"{self.settings.refuse_after} connections in a row ended when this message to {topic!r} with "
            f"{size} bytes was sent (refuse_after), the last of them so: {error}"
        )
        self.outbox.published(entry, error.reason_code, why)
        self.tell(PublishGivenUp(topic, size, why))
        log.warning("a message is given up: %s", why)

    def _published_alone(self, entry: Outgoing, reason_code: int, reason_string: str) -> None:
        """A message is complete, or refused, while one is suspected."""
        self.outbox.published(entry, reason_code, reason_string)
        link = self.link
        if entry is self.suspicion.entry:
            link.on_published = self.outbox.published
            if self.suspicion.clear(link.connection.client_session.outgoing):
                log.warning(
                    "%s: connections ended whose first message is taken when it is sent alone: from now on "
                    "at most %d are unfinished at a time",
                    link.name,
                    self.suspicion.most_unfinished,
                )
            link.connection.pump(link.now)

    def on_answered(self, event: core_events.SubscribeDone | core_events.UnsubscribeDone) -> None:
        """SUBACK or UNSUBACK."""
        self.subscriptions.answered(event)

    def on_room(self, link: Link) -> None:
        """A turn is over."""
        self.outbox.room_changed()

    def on_taken(self, link: Link) -> None:
        """The readers have had their turn."""
        self.intake.settle()
        self.watch.look()

    def _overflowed(self, buffer: Buffer) -> None:
        self.tell(MessagesDropped(buffer.topic_filters, buffer.dropped))
        log.warning(
            "the stream of %s drops messages: %d wait to be read already (buffer, buffer_bytes)",
            ", ".join(buffer.topic_filters),
            len(buffer),
        )

    def _held_up(self, event: HeldUp) -> None:
        self.tell(event)
        filters = ", ".join(event.topic_filters)
        name = f"the stream of {filters} is read too slowly" if filters else "no stream claims what came"
        log.warning("%s, and that holds up the client: %s", name, event.why)

    # ---- the session's store ----

    def on_turn(self, link: Link) -> None:
        """Everything that has changed goes to the disk before anything leaves."""
        if self._is_durable:
            number = self.session.write()
            if link.connection.held:
                link.connection.release(number, link.now)

    def _committed(self, number: int) -> None:
        link = self.link
        if link.connection.held:
            link.connection.release(number, link.clock())
            link.schedule()

    def _troubled(self, why: str) -> None:
        if why:
            self.tell(StorageTrouble(why))

    # ---- messages that nobody has subscribed to yet ----

    def _hold(self) -> None:
        """Messages without a stream wait, for a while: the program may be about to subscribe."""
        self.router.holds = True
        if self._claim_timer is not None:
            self._claim_timer.cancel()
        self._claim_timer = self.loop.call_later(self.settings.claim_timeout, self.router.drop_unclaimed)

    def _unclaimed(self, count: int) -> None:
        self.tell(MessagesDropped((), count))


def _again(outgoing: OutgoingFlow, lost: list[Outgoing]) -> int:
    """How many of the queue an earlier server may have: ``lost`` in front, which this connection
    has put back, and behind them those that an earlier one has.
    """
    earlier = takewhile(lambda entry: entry.sent_at, islice(outgoing.queue, len(lost), None))
    return len(lost) + sum(1 for _ in earlier)
