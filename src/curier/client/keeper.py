"""Keeps a client connected: which server, which version, when again, and when never.

One task, for as long as the client lives: connect, wait for the end of the connection, decide, wait, connect.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, Protocol

from curier.client.dial import DialSettings, dial
from curier.client.events import Event, Reconnecting
from curier.client.link import Link, note
from curier.client.settings import ClientSettings, Reconnect
from curier.client.urls import ServerUrl, parse_server_url
from curier.codec.constants import MQTT_31, MQTT_50, MQTT_311
from curier.codec.packets import Connect
from curier.codec.packets import Will as WillPacket
from curier.codec.properties import Properties
from curier.errors import ConfigError, ConnectionLost, ConnectRefused, MqttError
from curier.protocol.client import ClientConnection
from curier.session.session import Session as SessionState
from curier.types import VERSION_NAMES, ReasonCode, Will

FOREVER: Final = 0xFFFFFFFF  # Session Expiry Interval: it does not expire
WHILE_RECONNECTING: Final = 300  # seconds; how long a session without a wish for more outlives a connection

OLDER: Final = {MQTT_50: MQTT_311, MQTT_311: MQTT_31}
TLS_SCHEMES: Final = {"mqtt": "mqtts", "ws": "wss"}

TOLERANCE: Final = 64 * 2**20
"""Bytes of messages over Receive Maximum that are taken all the same, until they are acknowledged."""

SHORTEST_ALIASED: Final = 24
"""Bytes of a Topic Name; for shorter ones a Topic Alias costs more time than its bytes are worth."""

LONG: Final = 10.0  # seconds; a connection that lived longer begins the backoff anew

PASSING: Final = frozenset(
    {
        ReasonCode.SUCCESS,  # a server that goes away without saying why
        ReasonCode.UNSPECIFIED_ERROR,
        ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.SERVER_SHUTTING_DOWN,
        ReasonCode.KEEP_ALIVE_TIMEOUT,
        ReasonCode.MESSAGE_RATE_TOO_HIGH,
        ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.USE_ANOTHER_SERVER,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
        ReasonCode.MAXIMUM_CONNECT_TIME,
    }
)
"""What a server may say and be worth another try. Every other Reason Code would be said again: a wrong
password, a session taken over by a client of the same name, a packet it cannot read."""


def is_terminal(error: MqttError) -> bool:
    """Is it useless to try again after this error?"""
    if isinstance(error, ConnectionLost):
        return error.by_server and error.reason_code not in PASSING
    if isinstance(error, ConnectRefused):
        return error.reason_code not in PASSING
    return True


def is_elsewhere(error: MqttError) -> bool:
    """Does the server send its clients to another (4.11)? Those in ``url`` are tried, no others."""
    if not isinstance(error, (ConnectionLost, ConnectRefused)):
        return False
    return error.reason_code in (ReasonCode.USE_ANOTHER_SERVER, ReasonCode.SERVER_MOVED)


def delay_before(attempt: int, reconnect: Reconnect, random: Random) -> float:
    """Seconds to wait before attempt ``attempt``, from 1: exponential backoff with full jitter."""
    most = reconnect.longest
    if attempt <= 64:
        most = min(most, reconnect.first * 2.0 ** (attempt - 1))
    return random.uniform(0.0, most)


class Kept(Protocol):
    """What the keeper needs of its client."""

    settings: ClientSettings

    def make_link(self, connection: ClientConnection, name: str) -> Link:
        """A link that is not dialled yet."""

    def tell(self, event: Event) -> None:
        """An event for whoever watches."""

    def on_failure(self, error: MqttError) -> None:
        """The client is over."""


class Keeper:
    """Connects one client, again and again."""

    def __init__(self, client: Kept, state: SessionState, server: str, random: Random) -> None:
        settings = client.settings
        self.client = client
        self.state = state
        self.first: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future()
        )  # the first attempt is over
        self.first.add_done_callback(note)
        self.connections = 0  # there were so far
        self.version = settings.version or MQTT_50
        self.server = server  # has the other half of the session; "": none has
        self.is_durable = state.journal is not None
        self.urls = [parse_server_url(url) for url in settings.urls()]
        self._random = random
        self._settings = settings
        self._dial = DialSettings(
            timeout=settings.connect_timeout,
            tls=settings.tls,
            proxy=settings.proxy,
            websocket_headers=tuple(settings.websocket_headers),
            local_address=settings.local_address,
        )
        self._at = 0  # index of the server in use
        self._random_id = ""
        self._is_unanswered = False  # did the last attempt end with no answer to CONNECT?
        self._is_silent = False  # and with nothing else either?
        self._versions: dict[str, int] = {}  # by URL, those that were understood
        self._lived = False  # was there a connection in the last attempt?

    async def run(self) -> None:
        """Until the client fails; it is cancelled when the client is closed."""
        attempt = 0
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                error = await self._connection()
                if self._lived and loop.time() - began > LONG:  # one that ends at once is no reason to hurry
                    attempt = 0
                attempt += 1
                reconnect = self._reconnect(error, attempt)
                if reconnect is None:
                    self._give_up(error)
                    return
                delay = delay_before(attempt, reconnect, self._random)
                self.client.tell(Reconnecting(attempt, delay, str(self.urls[self._at]), error))
                await asyncio.sleep(delay)
        except Exception as fault:  # of ours, or of a callback: a client that waits for ever would be worse
            self._give_up(fault)

    async def _connection(self) -> MqttError:
        """Connect, and return what ended the connection, or why there was none."""
        self._lived = False
        try:
            link = await self._connect()
        except MqttError as error:
            return error
        self._lived = True
        if not self.first.done():
            self.first.set_result(None)
        await asyncio.shield(link.closed)
        assert link.error is not None
        if is_elsewhere(link.error):
            self._at = (self._at + 1) % len(self.urls)
        return link.error

    def _reconnect(self, error: MqttError, attempt: int) -> Reconnect | None:
        """How to go on after ``error``; None: not at all."""
        has_others = self._lived and is_elsewhere(error) and len(self.urls) > 1
        if is_terminal(error) and not has_others:
            return None
        if not self.first.done():
            if not self._settings.retry_first_connect:
                return None
            self.first.set_result(None)
        reconnect = self._settings.reconnect
        if reconnect is None:
            return None
        if reconnect.attempts is not None and attempt > reconnect.attempts:
            return None
        return reconnect

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, MqttError):
            known = error
        else:
            known = MqttError(f"the client has failed: {error!r}")
            known.__cause__ = error
        if not self.first.done():
            self.first.set_exception(error)
        self.client.on_failure(known)

    # ---- one attempt ----

    async def _connect(self) -> Link:
        """Try every server once, beginning with the one in use. Raises the error of the last one."""
        errors: list[MqttError] = []
        for _ in self.urls:
            try:
                return await self._connect_to(self.urls[self._at])
            except MqttError as error:
                if is_terminal(error) and not is_elsewhere(error):
                    raise
                errors.append(error)
                self._at = (self._at + 1) % len(self.urls)
        if all(map(is_terminal, errors)):
            raise errors[-1]
        if len(errors) == 1 or isinstance(errors[-1], ConnectRefused):
            raise errors[-1]
        raise ConnectionLost(
            f"no server could be reached: {'; '.join(map(str, errors))}", was_open=False
        ) from errors[-1]

    async def _connect_to(self, url: ServerUrl) -> Link:
        """Connect, with an older version where the server does not know this one.

        It may say so (0x84), or be one that cannot: which closes behind CONNECT (and again: once may be the
        network), or is silent. Then 3.1.1 is tried once, unless 5.0 has been understood there before.
        """
        self.version = self._settings.version or self._versions.get(str(url), MQTT_50)
        unanswered: list[ConnectionLost] = []
        while True:
            try:
                link = await self._open(url)
            except ConnectRefused as error:
                is_version = error.reason_code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
                older = OLDER.get(self.version) if is_version and self._may_fall_back() else None
                if older is None:
                    if not is_version:  # it has understood what was asked
                        self._versions[str(url)] = self.version
                        raise
                    said = error.reason_string or "it does not speak that"
                    why = f"MQTT {VERSION_NAMES[self.version]}: {said}"
                    raise ConnectRefused(error.reason_code, why) from error
                self.version = older
            except ConnectionLost as error:
                is_known = str(url) in self._versions
                if not unanswered and (is_known or not self._is_unanswered):
                    raise
                if self.version != MQTT_50 or not self._may_fall_back():
                    raise self._no_answer(url, [*unanswered[:1], error]) from error
                unanswered.append(error)
                if self._is_silent or len(unanswered) > 1:
                    self.version = MQTT_311
            else:
                self._versions[str(url)] = self.version
                return link

    def _may_fall_back(self) -> bool:
        return self._settings.version is None and self._settings.authentication is None

    def _no_answer(self, url: ServerUrl, errors: list[ConnectionLost]) -> ConnectionLost:
        """No version was understood; the error of 5.0 comes first where there are two."""
        said = [str(error).removeprefix(f"{url}: ") for error in errors]
        why = f"{said[0]}, with MQTT {VERSION_NAMES[self.version]}"
        if len(said) == 2:
            same = f"{said[0]}, with MQTT 5.0 and with 3.1.1"
            why = same if said[0] == said[1] else f"with MQTT 5.0: {said[0]}; with 3.1.1: {said[1]}"
        if url.scheme in TLS_SCHEMES:
            why += f"; does it want TLS there, as {TLS_SCHEMES[url.scheme]}://?"
        return ConnectionLost(f"{url}: {why}", errors[-1].reason_code)

    async def _open(self, url: ServerUrl) -> Link:
        settings = self._settings
        connection = ClientConnection(
            self.state,
            manual_acks=True,
            max_inflight=settings.max_inflight or (1024 if self.version == MQTT_50 else 20),
            topic_aliases=settings.topic_aliases,
            connect_timeout=settings.connect_timeout,
            ping_timeout=settings.ping_timeout,
            retry_interval=settings.retry_interval,
            starts=False,
            requeues=True,
            tells_sent=False,
            tolerance=TOLERANCE,
        )
        connection.shortest_aliased = SHORTEST_ALIASED
        link = self.client.make_link(connection, str(url))
        link.server = self.label(url)
        until = asyncio.get_running_loop().time() + settings.connect_timeout
        self._is_unanswered = self._is_silent = False
        try:
            await dial(url, self._dial, lambda: link)
            async with asyncio.timeout_at(until):
                link.begin(self.connect_packet(url))
                self._is_unanswered = True  # as far as we know
                await asyncio.shield(link.accepted)
        except TimeoutError:
            link.abort()
            self._is_silent = True
            raise ConnectionLost(
                f"{url}: no CONNACK within {settings.connect_timeout:g} seconds (connect_timeout)"
            ) from None
        except BaseException:
            link.abort()
            self._is_unanswered = self._is_unanswered and not link.is_stranger
            raise
        self.connections += 1
        self.server = link.server
        return link

    def label(self, url: ServerUrl) -> str:
        """Names whoever has the other half of the session at ``url``."""
        return ", ".join(map(str, self.urls)) if self._settings.shared_sessions else str(url)

    # ---- CONNECT ----

    def connect_packet(self, url: ServerUrl) -> Connect:
        """CONNECT for the next connection (3.1)."""
        settings = self._settings
        is_5 = self.version == MQTT_50
        expiry = self.session_expiry()
        username = settings.username if settings.username is not None else url.username
        password = settings.password if settings.password is not None else url.password
        if isinstance(password, str):
            password = password.encode()
        if not is_5 and password is not None and username is None:  # [3.1.1: MQTT-3.1.2-22]
            raise ConfigError("password: before MQTT 5.0 it needs a username beside it")
        properties = None
        if is_5:
            properties = Properties()
            properties.session_expiry_interval = expiry or None
            properties.receive_maximum = settings.receive_maximum
            properties.maximum_packet_size = settings.maximum_packet_size
            properties.topic_alias_maximum = settings.topic_alias_maximum or None
            properties.user_properties = list(settings.user_properties)
            if settings.authentication is not None:
                properties.authentication_method = settings.authentication.method
                properties.authentication_data = settings.authentication.begin()
        return Connect(
            self.version,
            self._client_id(),
            self._clean_start(url, expiry),
            settings.keep_alive,
            username,
            password,
            will_packet(settings.will, self.version),
            properties,
        )

    def session_expiry(self) -> int:
        """Seconds the server is to keep the session; before 5.0 anything above 0 means for ever."""
        if self._settings.session_expiry is not None:
            return self._settings.session_expiry
        if self.is_durable or self._settings.clean_start is False:
            return FOREVER
        return WHILE_RECONNECTING if self.version == MQTT_50 else 0

    def ends_session(self) -> bool:
        """Does the session end when the program leaves the client?"""
        return self._settings.session_expiry is None and self.session_expiry() != FOREVER

    def _clean_start(self, url: ServerUrl, expiry: int) -> bool:
        """Clean Start (3.1.2.4): where no session is, and where the server's is none of ours.

        What another server has kept meanwhile does not fit: its Packet Identifiers are those of other
        messages.
        """
        if self.server and self.server != self.label(url):
            return True
        if not self.connections:
            if self._settings.clean_start is not None:
                return self._settings.clean_start
            return not self.server and not (self.version != MQTT_50 and expiry)
        return not expiry

    def _client_id(self) -> str:
        """Before 5.0 a server need not assign one, and 3.1 takes 23 characters at most."""
        if self.state.client_id or self.version == MQTT_50:
            return self.state.client_id
        if not self._random_id:
            self._random_id = f"curier{self._random.getrandbits(64):016x}"
        return self._random_id


def will_packet(will: Will | None, version: int) -> WillPacket | None:
    """The will as CONNECT has it."""
    if will is None:
        return None
    message = will.message
    properties = None
    if version == MQTT_50:
        properties = Properties()
        properties.payload_format_indicator = 1 if message.payload_is_text else None
        properties.message_expiry_interval = message.message_expiry
        properties.content_type = message.content_type
        properties.response_topic = message.response_topic
        properties.correlation_data = message.correlation_data
        properties.user_properties = list(message.user_properties)
        properties.will_delay_interval = will.delay or None
    return WillPacket(message.topic, message.payload, int(message.qos), message.retain, properties)
