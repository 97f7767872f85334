"""A bridge at work: two clients, and a pump in each direction between them.

One *round* is as long as its two clients live: they keep their sessions, and connect again by themselves
where the network is lost. A round ends where one of them ends, where a broker does not take a message for
now, or where another server's turn has come. What was not acknowledged then stays where it came from, and
comes again in the next round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

from curier.bridge.end import End
from curier.bridge.ends import Link, backoff, local_settings, remote_settings, state_message
from curier.bridge.hops import passed
from curier.bridge.pump import Counts, Pump
from curier.bridge.remembered import Remembered
from curier.bridge.settings import BridgeSettings
from curier.bridge.topics import Map, may_come_back
from curier.client.dial import DialSettings, dial
from curier.client.events import (
    Closed,
    Connected,
    Event,
    MessagesDropped,
    PublishGivenUp,
    Reconnecting,
    SessionLost,
)
from curier.client.keeper import delay_after_refusal, delay_before
from curier.client.streams import Stream
from curier.client.urls import parse_server_url
from curier.codec.constants import MQTT_50
from curier.errors import ConnectionLost, ConnectRefused, MqttError, SubscribeRefused
from curier.inside import BridgeState
from curier.loglines import logger, printable
from curier.types import VERSION_NAMES, Message, QoS, ReasonCode, RetainHandling, Subscription

log = logger("curier.bridge")

FILTERS_AT_ONCE: Final = 8
"""In one SUBSCRIBE: AWS IoT Core takes no more."""

LONG: Final = 10.0  # seconds; after a round that was connected for so long the next one need not wait
BACK_SECONDS: Final = 60.0
MOST_BACK_SECONDS: Final = 3600.0
"""How often it is looked whether the first of several servers is there again: after each time that it was and
did not take the bridge all the same, half as often.
"""

LOOK_SECONDS: Final = 5.0
"""How long such a look may take."""


class Bridge:
    """One of them, between ``start`` and ``stop``. ``link`` connects to the broker it belongs to, and
    ``tell`` publishes there what the bridge tells of itself, if there is one; what has to survive this
    program is in ``directory``. ``local_id`` is the name of the broker here in the trace of hops, ``clock``
    gives seconds since the epoch.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        local_id: str,
        link: Link | None = None,
        directory: Path | None = None,
        tell: Callable[[Message], None] | None = None,
        random: Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.out = Counts()
        self.into = Counts()
        self.connects = 0
        self.state: BridgeState = "away"
        self.since = clock()  # it is in this state
        self.url = ""  # the server it is at, or tries, without secrets
        self.error = ""  # why it is not connected, in plain words
        self.round = asyncio.Event()  # set while there is a connection
        self._clock = clock
        self._link = link
        self._directory = directory
        self._publish_here = tell
        self._random = random if random is not None else SystemRandom()
        self._local_id = local_id
        self._outward = Map(settings.topics, to_remote=True)
        self._inward = Map(settings.topics, to_remote=False)
        self._remembered = Remembered(directory)
        self._bridge_bit = settings.remote.bridge_bit
        self._at = 0  # index of the server
        self._back_after = BACK_SECONDS
        self._task: asyncio.Task[None] | None = None
        self._local: End | None = None
        self._remote: End | None = None
        self._told: bytes | None = None  # the state that was told last
        self._is_wanted = True
        self._subscribed = 0  # Topic Filters there, in this round

    @property
    def is_connected(self) -> bool:
        """Is there a connection to the other broker?"""
        return self.state == "connected"

    @property
    def is_ready(self) -> bool:
        """Is it connected, and subscribed to all that comes in?"""
        return self.is_connected and self._subscribed >= len(self._inward.sources)

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"bridge {self.settings.name}")

    async def stop(self, forget: bool = False) -> None:
        """End; what is not acknowledged waits for the next start. With ``forget`` there is none: both brokers
        keep nothing for it any more, as far as they can be reached.
        """
        self._is_wanted = not forget
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def finished(self) -> None:
        """Wait until it is over by itself, as one that connects once is when its connection ends."""
        if self._task is not None:
            await asyncio.wait([self._task])

    # ---- rounds ----

    async def _run(self) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        attempt = 0
        is_refused = False
        while True:
            began, before = loop.time(), self.connects
            why = ""
            try:
                await self._round()
            except MqttError as error:
                why = printable(str(error), 500)
                is_refused = is_refused or isinstance(error, ConnectRefused)
            except Exception:  # of ours: a bridge that is gone for good would be worse
                log.exception("the bridge %s has failed, and begins anew", settings.name)
                why = "it has failed"
            if settings.start == "once":
                log.warning("the bridge %s has ended: %s; it connects once (start)", settings.name, why)
                self.error = why
                self._be("ended")
                return
            was_connected = self.connects > before
            is_well = was_connected and (not why or loop.time() - began > LONG)
            attempt = 0 if is_well else attempt + 1
            if why:
                self.error = why
                log.warning("the bridge %s: %s", settings.name, why)
            if attempt:
                passes, others = divmod(attempt, len(settings.remote.urls))
                if not others:  # each has had its turn
                    delay = delay_after_refusal if is_refused else delay_before
                    await asyncio.sleep(delay(passes, backoff(settings), self._random))
                    is_refused = False

    async def _round(self) -> None:
        """From two clients to their end. Raises ``MqttError`` that says why; returns where it just begins
        anew.
        """
        settings = self.settings
        url = settings.remote.urls[self._at]
        self.url = str(parse_server_url(url))
        into_qos, out_qos = self._inward.highest_qos, self._outward.highest_qos
        here = local_settings(settings, self._link, self._directory, into_qos)
        there = remote_settings(settings, url, self._directory, out_qos, self._bridge_bit, self._local_id)
        self._subscribed = 0
        local = self._local = End(here, self._on_local)
        try:
            await local.connect()
            streams = [await one.open() for one in self._streams(local, self._outward)]
            self._tell()
            await self._forget_others("local", local, self._outward)
            await self._enough(streams)
            remote = self._remote = End(there, self._on_remote, settings.outgoing_retain)
            try:
                await self._between(local, remote, streams)
            finally:
                await self._leave(remote)
                self._remote = None
                self._set(False)
        finally:
            await self._leave(local)
            self._local = None

    async def _between(self, local: End, remote: End, streams: list[Stream]) -> None:
        try:
            await remote.connect()
        except MqttError as error:
            self._turn_bit(error)
            self._next_server()
            raise
        works: list[Coroutine[Any, Any, None]] = [self._ended(local), self._ended(remote), self._tidy(remote)]
        works += [self._carry_out(stream, remote) for stream in streams]
        works += [self._carry_in(stream, remote, local) for stream in self._streams(remote, self._inward)]
        if self.settings.start == "lazy":
            works.append(self._idle())
        if self._at and not self.settings.round_robin:
            works.append(self._first_is_back())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        except ConnectionLost:
            if len(self.settings.remote.urls) > 1:
                self._next_server()
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _next_server(self) -> None:
        self._at = (self._at + 1) % len(self.settings.remote.urls)

    async def _leave(self, end: End) -> None:
        """Say goodbye; what is not acknowledged stays there, unless nobody comes again for it."""
        if not self._is_wanted and not end.is_connected:
            log.warning(
                "the bridge %s: a session cannot be ended, since there is no connection", self.settings.name
            )
        with suppress(MqttError):
            if end is not self._local:
                is_told = self._is_told("both")
            else:
                is_told = self._is_told("local") and self._publish_here is None
                self._told = None
            if is_told and end.is_connected:
                await self._publish_state(end, False)
            await end.disconnect(session_expiry=None if self._is_wanted or not end.is_connected else 0)

    async def _ended(self, end: End) -> None:
        """Until the client is over. Raises why."""
        async for event in end.events():
            if isinstance(event, Closed):
                if event.error is None:
                    return  # so it was asked for
                raise event.error
        raise ConnectionLost("the client has ended")

    # ---- what is carried ----

    def _streams(self, end: End, topics: Map) -> list[Stream]:
        """The subscriptions on one side. Nothing that was published there by the same client comes by them
        (No Local), retained messages come when a subscription is new, and RETAIN is as it was published.
        """
        options = {"no_local": True, "retain_as_published": True}
        subscriptions = [
            Subscription(name, QoS(qos), retain_handling=RetainHandling.SEND_IF_NEW, **options)
            for name, qos in topics.sources.items()
        ]
        return [
            end.subscribe(*subscriptions[at : at + FILTERS_AT_ONCE], ack="manual", keep=True)
            for at in range(0, len(subscriptions), FILTERS_AT_ONCE)
        ]

    async def _carry_out(self, stream: Stream, remote: End) -> None:
        async def known() -> tuple[str, str]:
            return self._local_id, await self._connected(remote)

        await self._pump(f"at {self.url}", self._outward, self.out).run(stream, remote, known())

    async def _carry_in(self, stream: Stream, remote: End, local: End) -> None:
        async def known() -> tuple[str, str]:
            return await self._connected(remote), self._local_id

        await self._connected(remote)
        await stream.open()
        self._subscribed += len(stream.topic_filters)
        await self._pump("here", self._inward, self.into).run(stream, local, known())

    def _pump(self, where: str, topics: Map, counts: Counts) -> Pump:
        settings = self.settings
        return Pump(settings.name, where, topics, settings.max_hops, settings.window, counts)

    async def _connected(self, remote: End) -> str:
        """Wait for a connection, by which it is known what the server takes: the name of the broker there in
        the trace of hops, as the settings say, or as it says itself, or "". Raises ``MqttError`` where
        nothing stops messages from coming back.
        """
        await self.round.wait()
        pairs = may_come_back(self.settings.topics)
        here = self.settings.local
        for end, peer, bit in (
            (remote, self.settings.remote, self._bridge_bit),
            (self._local, here, here is not None and here.bridge_bit),
        ):
            if not pairs or end is None or peer is None or end.version == MQTT_50 or bit:
                continue
            raise MqttError(
                f"{parse_server_url(peer.urls[0])} speaks MQTT {VERSION_NAMES[end.version]} and does not "
                f"know the bridge bit: {pairs[0][1]} would bring back what {pairs[0][0]} carries away: give "
                "topics other prefixes"
            )
        said = passed(remote.server_properties.user_properties)
        return self.settings.remote.id or (said[0] if said else "")

    async def _tidy(self, remote: End) -> None:
        """End what earlier settings have subscribed to there; then there is nothing more to do."""
        await self.round.wait()
        await self._forget_others("remote", remote, self._inward)
        await asyncio.Event().wait()

    async def _forget_others(self, side: str, end: End, topics: Map) -> None:
        """Unsubscribe from what earlier settings have had the session subscribe to."""
        before = self._remembered.subscribed(side)
        stale = [name for name in before if name not in topics.sources]
        if stale:
            try:
                await end.unsubscribe(*stale)
                log.info("the bridge %s has no %s any more (%s)", self.settings.name, ", ".join(stale), side)
            except SubscribeRefused as error:
                log.warning("the bridge %s cannot unsubscribe (%s): %s", self.settings.name, side, error)
        self._remembered.note(side, [*topics.sources])

    # ---- when ----

    async def _enough(self, streams: list[Stream]) -> None:
        """Of a lazy bridge: until so many messages wait that it connects."""
        if self.settings.start == "lazy":
            while sum(map(len, streams)) < self.settings.threshold:
                self._be("idle")
                await asyncio.sleep(min(1.0, self.settings.idle_timeout / 4))
            self._be("away")

    async def _idle(self) -> None:
        """Until nothing has been carried for a while."""
        before = -1
        while True:
            carried = self.out.carried + self.into.carried + self.out.dropped
            if carried == before and not self.out.waiting:
                log.info("the bridge %s has nothing to carry, and leaves %s", self.settings.name, self.url)
                return
            before = carried
            await asyncio.sleep(self.settings.idle_timeout)

    async def _first_is_back(self) -> None:
        """Until the first server takes connections again, by the way that the bridge would come: a proxy may
        take TCP whatever is behind it.
        """
        there = self.settings.remote
        first = parse_server_url(there.urls[0])
        way = DialSettings(
            timeout=LOOK_SECONDS,
            tls=there.tls,
            proxy=there.proxy,
            websocket_headers=there.websocket_headers,
            local_address=there.local_address,
        )
        while True:
            await asyncio.sleep(self._back_after)
            with suppress(MqttError, OSError):
                transport, _ = await dial(first, way, asyncio.Protocol)
                transport.close()
                log.info("the bridge %s goes back to %s", self.settings.name, first)
                self._at = 0
                self._back_after = min(2 * self._back_after, MOST_BACK_SECONDS)
                return

    # ---- what is told ----

    def _on_local(self, event: Event) -> None:
        name = self.settings.name
        if isinstance(event, SessionLost):
            log.warning("the bridge %s: the broker here has lost its session, and what waited in it", name)
        elif isinstance(event, ConnectionLost):
            log.warning("the bridge %s has lost the broker here: %s", name, printable(str(event), 500))
        elif isinstance(event, Reconnecting) and (event.attempt == 1 or not event.attempt % 10):
            why = printable(str(event.error), 500)
            log.warning("the bridge %s: %s; attempt %d follows", name, why, event.attempt)
        elif isinstance(event, MessagesDropped):
            log.info("the bridge %s: %d messages came here that it has no topic for", name, event.dropped)
        elif isinstance(event, Connected) and self._told is not None:
            self._told = None
            self._tell()

    def _on_remote(self, event: Event) -> None:
        name = self.settings.name
        if isinstance(event, Connected):
            self.connects += 1
            self.error = ""
            if not self._at:
                self._back_after = BACK_SECONDS
            version = VERSION_NAMES[event.version]
            kept = "with the session it had" if event.session_present else "with a new session"
            log.info("the bridge %s is connected to %s, MQTT %s, %s", name, self.url, version, kept)
            self._set(True)
        elif isinstance(event, ConnectionLost):
            self.error = printable(str(event), 500)
            log.warning("the bridge %s has lost %s: %s", name, self.url, self.error)
            self._set(False)
        elif isinstance(event, Reconnecting):
            self.error = printable(str(event.error), 500)
            if self._turn_bit(event.error):
                how = "with" if self._bridge_bit else "without"
                log.info("the bridge %s tries %s %s the bridge bit", name, self.url, how)
            elif event.attempt == 1 or not event.attempt % 10:
                log.warning("the bridge %s: %s; attempt %d follows", name, self.error, event.attempt)
        elif isinstance(event, SessionLost):
            log.warning("the bridge %s: %s has lost its session, and what waited in it", name, self.url)
        elif isinstance(event, MessagesDropped):
            log.info("the bridge %s: %d messages came that it has no topic for", name, event.dropped)
        elif isinstance(event, PublishGivenUp):
            log.warning("the bridge %s: %s", name, event.why)

    def _turn_bit(self, error: MqttError) -> bool:
        """A server that does not know the bridge bit takes it for a version that it does not speak, and says
        so, or closes. Then the next attempt is without, and, should that fail as well, the one after with it.
        """
        if self.connects or self._remote is None or not self.settings.remote.bridge_bit:
            return False
        if isinstance(error, ConnectRefused):
            is_it = error.reason_code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
        else:
            is_it = isinstance(error, ConnectionLost) and error.was_open
        if not is_it or self._remote.version == MQTT_50:
            return False
        self._bridge_bit = not self._bridge_bit
        task = asyncio.create_task(self._remote.disconnect())  # which ends the round
        task.add_done_callback(lambda done: done.exception() if not done.cancelled() else None)
        return True

    def _be(self, state: BridgeState) -> None:
        if state != self.state:
            self.state, self.since = state, self._clock()

    def _set(self, is_connected: bool) -> None:
        self._be("connected" if is_connected else "away")
        if is_connected:
            self.round.set()
        else:
            self.round.clear()
        self._tell()
        if is_connected and self._remote is not None and self._is_told("both"):
            message = state_message(self.settings, True)
            with suppress(MqttError):
                self._remote.publish_nowait(
                    message.topic, message.payload, qos=1, retain=self._remote.takes_retained
                )

    def _is_told(self, whom: str) -> bool:
        return self.settings.notifications == "both" or self.settings.notifications == whom

    def _tell(self) -> None:
        """Say here whether there is a connection."""
        message = state_message(self.settings, self.is_connected)
        if not self._is_told("local") or self._told == message.payload:
            return
        with suppress(MqttError):
            if self._publish_here is not None:
                self._publish_here(message)
            elif self._local is not None:
                self._local.publish_nowait(message.topic, message.payload, qos=1, retain=True)
            else:
                return
            self._told = bytes(message.payload)

    async def _publish_state(self, end: End, is_connected: bool) -> None:
        message = state_message(self.settings, is_connected)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await end.publish(message.topic, message.payload, qos=1, retain=end.takes_retained)
