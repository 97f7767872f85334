"""One attempt to connect: to which server, in which version, with which CONNECT.

What changes with time (tokens, passwords, certificates, the servers themselves) may be given as functions;
they are asked here, anew for each attempt.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, Protocol

from curier.client.dial import DialSettings, dial
from curier.client.dialing.environment import environment_proxy
from curier.client.dialing.tls import TlsSettings
from curier.client.link import Link
from curier.client.settings import CHANGING, FROM_ENVIRONMENT, LARGEST_PACKET, ClientSettings
from curier.client.urls import ServerUrl, parse_references, parse_server_url
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

MOST_OF_50: Final = 1024
"""Unfinished publishes at a time, where neither ``max_inflight`` nor the server says less."""

MOST_BEFORE_50: Final = 20
"""Unfinished publishes at a time, where ``max_inflight`` does not say and the server cannot. It is also what
Mosquitto takes at QoS 2 as it comes."""

MOST_BESIDE_QOS_1: Final = MOST_BEFORE_50 - 1
"""Of them with QoS 2, where there may be more than ``MOST_BEFORE_50`` in all. Where 20 with QoS 2 are
unfinished, Mosquitto 2.0 acknowledges what comes with QoS 1 or 2 and drops it, or ends the connection."""

FRAME_ROOM: Final = 16 * 2**20
"""A frame of WebSocket may be so much larger than the largest packet: there may be several in one."""

MOST_HOPS: Final = 5
"""So many servers in a row may send the client on to the next."""

log = logging.getLogger("curier.client")


def is_elsewhere(error: MqttError) -> bool:
    """Does the server send its clients to another (4.11)?"""
    if not isinstance(error, (ConnectionLost, ConnectRefused)):
        return False
    return error.reason_code in (ReasonCode.USE_ANOTHER_SERVER, ReasonCode.SERVER_MOVED)


class Linker(Protocol):
    """What makes links; the client's life does."""

    settings: ClientSettings

    def make_link(self, connection: ClientConnection, name: str) -> Link:
        """A link that is not dialled yet."""


class Connector:
    """Connects one client, and remembers what it has learned of its servers."""

    def __init__(self, linker: Linker, state: SessionState, server: str, random: Random) -> None:
        self.state = state
        self.settings = linker.settings
        self.connections = 0  # there were so far
        self.version = self.settings.version or MQTT_50  # in use
        self.server = server  # has the other half of the session; "": none has
        self.was_accepted = bool(server)  # by any server, in this life of the session or an earlier one
        self.is_durable = state.journal is not None
        self.urls: list[ServerUrl] = []
        self.at = 0  # index of the server in use
        self._linker = linker
        self._random = random
        self._random_id = ""
        self._sent_to: list[ServerUrl] = []  # where the last server wants us to go
        self._versions: dict[str, int] = {}  # by URL, those that were understood
        self._has_told_limit = False
        self._is_unanswered = False  # did the last attempt end with no answer to CONNECT?
        self._is_silent = False  # and with nothing else either?

    # ---- which server ----

    async def connect(self, ends: Callable[[MqttError], bool]) -> Link:
        """Try every server once, beginning with the one in use. Raises the error of the last one, or the
        first for which ``ends(error)`` is true: what no other server would make good.
        """
        await self._ask_for_urls()
        errors: list[MqttError] = []
        sent_to, self._sent_to = self._sent_to, []
        for url in sent_to:
            try:
                return await self._follow(url)
            except MqttError as error:
                errors.append(error)
        for _ in self.urls:
            try:
                return await self._follow(self.urls[self.at])
            except MqttError as error:
                if ends(error) and not is_elsewhere(error):
                    raise
                errors.append(error)
                self.turn_to_next()
        if len(errors) == 1 or isinstance(errors[-1], ConnectRefused):
            raise errors[-1]
        raise ConnectionLost(
            f"no server could be reached: {'; '.join(map(str, errors))}", was_open=False
        ) from errors[-1]

    def turn_to_next(self) -> None:
        """The next attempt begins with another server, if there is one."""
        self.at = (self.at + 1) % len(self.urls)

    def is_sent(self, error: MqttError) -> bool:
        """The server in use has sent us away, or failed; is there another one to go to?"""
        if not is_elsewhere(error):
            return False
        self._sent_to = self._references(error, self.urls[self.at])
        if self._sent_to:
            return True
        self.turn_to_next()
        return len(self.urls) > 1

    async def _ask_for_urls(self) -> None:
        urls = await self._ask("url")
        parsed = [parse_server_url(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not parsed:
            raise ConfigError("url: its function returned no server")
        if callable(self.settings.url) or not self.urls:
            now = self.urls[self.at] if self.urls else None
            self.urls = parsed
            self.at = parsed.index(now) if now in parsed else 0

    async def _follow(self, url: ServerUrl) -> Link:
        """Connect, and go where the server sends us, if we are to (4.11)."""
        seen = [url]
        while True:
            try:
                return await self._connect_to(seen[-1])
            except ConnectRefused as error:
                further = [one for one in self._references(error, seen[-1]) if one not in seen]
                if not further or len(seen) > MOST_HOPS:
                    raise
                log.info("%s: %s sends us to %s", self.state.client_id, seen[-1], further[0])
                seen.append(further[0])

    def _references(self, error: MqttError, url: ServerUrl) -> list[ServerUrl]:
        """The servers that a Server Reference names, as URLs like that of who named them.

        Where it has moved for good (0x9D), they take its place among ours.
        """
        if not self.settings.follow_server_reference or not is_elsewhere(error):
            return []
        assert isinstance(error, (ConnectionLost, ConnectRefused))
        further = parse_references(error.server_reference, url)
        if further and error.reason_code == ReasonCode.SERVER_MOVED and url in self.urls:
            at = self.urls.index(url)
            self.urls[at : at + 1] = further
        return further

    # ---- which version ----

    async def _connect_to(self, url: ServerUrl) -> Link:
        """Connect, with an older version where the server does not know this one.

        It may say so (0x84), or be one that cannot: which closes behind CONNECT (and again: once may be the
        network), or is silent. Then 3.1.1 is tried once, unless 5.0 has been understood there before.
        """
        self.version = self.settings.version or self._versions.get(str(url), MQTT_50)
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
                    raise ConnectRefused(error.reason_code, why, error.return_code) from error
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
                self._versions[link.name] = self.version
                return link

    def _may_fall_back(self) -> bool:
        return self.settings.version is None and self.settings.authentication is None

    def _no_answer(self, url: ServerUrl, errors: list[ConnectionLost]) -> ConnectionLost:
        """No version was understood; the error of 5.0 comes first where there are two."""
        said = [str(error).removeprefix(f"{url}: ") for error in errors]
        why = f"{said[0]}, with MQTT {VERSION_NAMES[self.version]}"
        if len(said) == 2:
            same = f"{said[0]}, with MQTT 5.0 and with 3.1.1"
            why = same if said[0] == said[1] else f"with MQTT 5.0: {said[0]}; with 3.1.1: {said[1]}"
        if url.scheme in TLS_SCHEMES:
            why += f"; does it want TLS there, as {TLS_SCHEMES[url.scheme]}://?"
        elif url.is_tls and self._shows_no_certificate():
            why += "; does it want a certificate of ours?"
        return ConnectionLost(f"{url}: {why}", errors[-1].reason_code)

    def _shows_no_certificate(self) -> bool:
        """In TLS 1.3 a server that wants one says so behind the handshake, and what it says may be lost."""
        tls = self.settings.tls
        return tls is None or (isinstance(tls, TlsSettings) and tls.certificate is None)

    async def _open(self, url: ServerUrl) -> Link:
        settings = self.settings
        given = {name: await self._ask(name) for name in CHANGING if name != "url"}
        dialling = DialSettings(
            timeout=settings.connect_timeout,
            tls=given["tls"],
            proxy=environment_proxy(url) if settings.proxy == FROM_ENVIRONMENT else settings.proxy,
            websocket_headers=tuple(given["websocket_headers"]),
            local_address=settings.local_address,
            max_frame_bytes=(settings.maximum_packet_size or LARGEST_PACKET) + FRAME_ROOM,
        )
        connection = self._connection()
        link = self._linker.make_link(connection, str(url))
        if settings.shared_sessions:
            link.server = self.label(url)
        until = asyncio.get_running_loop().time() + settings.connect_timeout
        self._is_unanswered = self._is_silent = False
        try:
            if settings.open_socket is None:
                await dial(url, dialling, lambda: link, link.on_carrier)
            else:
                await self._take_socket(settings.open_socket, link)
            async with asyncio.timeout_at(until):
                accepted = link.begin(self.connect_packet(url, given["username"], given["password"]))
                self._is_unanswered = True  # as far as we know
                await accepted
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
        self.was_accepted = True
        self.server = link.server
        if connection.max_inflight_qos_2 < connection.max_inflight and not self._has_told_limit:
            self._has_told_limit = True
            log.info(
                "%s: before MQTT 5.0 at most %d messages with QoS 2 are unfinished at a time, not %d "
                "(max_inflight): there are servers that lose what is more",
                url,
                connection.max_inflight_qos_2,
                connection.max_inflight,
            )
        return link

    async def _take_socket(self, open_socket: Callable[[], Awaitable[socket.socket]], link: Link) -> None:
        try:
            sock = await open_socket()
        except OSError as error:
            raise ConnectionLost(f"open_socket: {error.strerror or error}", was_open=False) from error
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: link, sock=sock)
        link.on_carrier(transport)

    def _connection(self) -> ClientConnection:
        settings = self.settings
        is_5 = self.version == MQTT_50
        connection = ClientConnection(
            self.state,
            manual_acks=True,
            max_inflight=settings.max_inflight or (MOST_OF_50 if is_5 else MOST_BEFORE_50),
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
        if not is_5 and connection.max_inflight > MOST_BEFORE_50:
            connection.max_inflight_qos_2 = MOST_BESIDE_QOS_1
        return connection

    def label(self, url: ServerUrl) -> str:
        """Names whoever has the other half of the session at ``url``."""
        return ", ".join(map(str, self.urls)) if self.settings.shared_sessions else str(url)

    # ---- CONNECT ----

    async def _ask(self, name: str) -> Any:
        """A setting that may be a function, which is asked now."""
        setting = getattr(self.settings, name)
        if not callable(setting):
            return setting
        kinds, expected = CHANGING[name]
        try:
            answer = setting()
            if inspect.isawaitable(answer):
                async with asyncio.timeout(self.settings.connect_timeout):
                    answer = await answer
        except Exception as error:  # whose words may be secret
            why = f"{name}: its function has failed with {type(error).__name__}"
            raise ConnectionLost(why, was_open=False) from error
        if not isinstance(answer, kinds):
            raise TypeError(f"{name}: its function is to return {expected}, not {type(answer).__name__}")
        return answer

    def connect_packet(self, url: ServerUrl, username: str | None, password: str | bytes | None) -> Connect:
        """CONNECT for the next connection (3.1)."""
        settings = self.settings
        is_5 = self.version == MQTT_50
        expiry = self.session_expiry()
        username = username if username is not None else url.username
        password = password if password is not None else url.password
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
            is_bridge=settings.bridge and not is_5,
        )

    def session_expiry(self) -> int:
        """Seconds the server is to keep the session; before 5.0 anything above 0 means for ever."""
        if self.settings.session_expiry is not None:
            return self.settings.session_expiry
        if self.is_durable or self.settings.clean_start is False:
            return FOREVER
        return WHILE_RECONNECTING if self.version == MQTT_50 else 0

    def ends_session(self) -> bool:
        """Does the session end when the program leaves the client?"""
        return self.settings.session_expiry is None and self.session_expiry() != FOREVER

    def _clean_start(self, url: ServerUrl, expiry: int) -> bool:
        """Clean Start (3.1.2.4): where no session is, and where the server's is none of ours.

        What another server has kept meanwhile does not fit: its Packet Identifiers are those of other
        messages.
        """
        if self.server and self.server != self.label(url):
            return True
        if not self.connections:
            if self.settings.clean_start is not None:
                return self.settings.clean_start
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
