"""The settings of a client, each described once, all checked in one place."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from curier.client.arguments import check_pairs, check_texts
from curier.client.dialing.tls import TlsSettings
from curier.client.session import Session
from curier.client.urls import parse_proxy_url, parse_server_url
from curier.codec.constants import MQTT_31, MQTT_50, MQTT_311
from curier.codec.primitives import encode_topic
from curier.errors import ConfigError, LocalProtocolError
from curier.frozen import dataclass
from curier.types import Message, Will

T = TypeVar("T")
Asked: TypeAlias = Callable[[], T | Awaitable[T]]
"""A function, or an async one, that gives a setting when it is needed: at each attempt to connect."""

Offline: TypeAlias = Literal["queue", "wait", "raise"]
OnRefused: TypeAlias = Literal["retry", "stop"]

FROM_ENVIRONMENT: Final = "env"

MOST_BYTES: Final = 65535
"""Of a will's payload (3.1.3.4)."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost connection is opened again: exponential backoff with full jitter.

    Before attempt n the client waits a random time between 0 and ``min(first * 2**(n-1), longest)`` seconds.
    Where the server refuses, it waits longer: ``min(first_refused * 2**(n-1), longest_refused)`` seconds
    after the n-th refusal in a row, or down to half of that. ``attempts`` in a row may fail before the client
    gives up; None: it never does. A list of servers is tried once through in each attempt.
    """

    first: float = 1.0
    longest: float = 60.0
    attempts: int | None = None
    first_refused: float = 10.0
    longest_refused: float = 300.0


class Authentication:
    """Enhanced authentication (5.0 section 4.12); make a subclass for a method, such as SCRAM-SHA-256.

    One object serves all connections of a client, one after the other.
    """

    method: str = ""
    """The Authentication Method, as the server knows it."""

    def begin(self) -> bytes | None:
        """Authentication Data for CONNECT, or for a re-authentication."""
        return None

    def answer(self, data: bytes | None) -> bytes | Awaitable[bytes | None] | None:
        """Authentication Data to answer what the server sent; may be ``async``. An exception ends the
        attempt.
        """
        raise NotImplementedError

    def finish(self, data: bytes | None) -> None:
        """The server has accepted, with this data. Raise ``ConnectRefused`` if it does not prove itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """All settings of a client. Times are in seconds. ``check`` raises ``ConfigError``, or ``TypeError``.

    ``url``, ``username``, ``password``, ``tls`` and ``websocket_headers`` may be functions, or async ones,
    without parameters: they are asked at each attempt to connect, within the event loop of the client. What
    they raise counts as a connection that failed.
    """

    url: str | Sequence[str] | Asked[str | Sequence[str]] = field(default="mqtt://localhost", kw_only=False)
    """``mqtt://``, ``mqtts://``, ``ws://``, ``wss://`` or ``unix://``; of several the next takes over when
    one fails.
    """

    client_id: str = ""
    """Client Identifier; "": the server assigns one, or before 5.0 a random one is made."""

    username: str | Asked[str | None] | None = None
    """User Name; overrides that of the URL."""

    password: str | bytes | Asked[str | bytes | None] | None = field(default=None, repr=False)
    """Password; overrides that of the URL. Never shown."""

    version: int | None = None
    """Protocol Version: 5, 4 (3.1.1), 3 (3.1); None: 5, and less where the server refuses it."""

    clean_start: bool | None = None
    """Begin the first connection without an earlier session? None: yes, unless ``session`` is on disk."""

    session_expiry: int | None = None
    """Seconds the server keeps the session after a connection, at most 4294967295 (for ever); 0: it ends
    with it.

    None: 300 while this client lives, and the session ends when the program leaves it; for a session on disk
    4294967295. Before 5.0 a session either ends with its connection, or never: 0 and None mean the former.
    """

    keep_alive: int = 60
    """After so many seconds of silence a PINGREQ; 0 to 65535, 0: never. The server may decide otherwise
    (5.0).
    """

    will: Will | None = None
    """What the server publishes when this client vanishes."""

    session: Session | None = None
    """``Session.memory()``, the default, or ``Session.disk(path)``."""

    tls: ssl.SSLContext | TlsSettings | Asked[ssl.SSLContext | TlsSettings | None] | None = None
    """For ``mqtts://`` and ``wss://``; None: the system's certificate authorities, host name checked."""

    proxy: str | None = None
    """``http://`` or ``socks5://``, with user:password@ if need be; ``"env"``: that which the environment
    names for the server, if it does, in ``all_proxy``, ``mqtt_proxy``, ``https_proxy`` or the like, and not
    where ``no_proxy`` has its host.
    """

    local_address: str | None = None
    """The address, or the name of one, of this machine that TCP connections come from; None: any."""

    websocket_headers: Sequence[tuple[str, str]] | Asked[Sequence[tuple[str, str]]] = field(
        default=(), repr=False
    )
    """Names and values added to the WebSocket handshake; never shown."""

    connect_timeout: float = 10.0
    """For the network, TLS, and CONNACK together."""

    ping_timeout: float = 10.0
    """Silence after a PINGREQ that means the server is dead."""

    retry_first_connect: bool = False
    """Go on trying where the first connection fails? By default that raises at once."""

    reconnect: Reconnect | None = Reconnect()
    """How to come back after a connection is lost; None: the client ends with it."""

    on_refused: OnRefused | Mapping[int, OnRefused] = "retry"
    """What to do when the server refuses a client that it has accepted before: try again, after a longer
    while, or stop. A mapping has Reason Codes, those that it does not have are tried again. A client that was
    taken over by one of the same name (0x8E), or whose server has moved for good (0x9D), stops unless the
    mapping says otherwise. A refusal of the first connection stops; with ``retry_first_connect`` not where
    the mapping says otherwise, or the session has been accepted in an earlier life of the program.
    """

    follow_server_reference: bool = False
    """Go where the server sends us (5.0 section 4.11)? With user name and password: only with servers that
    are trusted to choose who gets them.
    """

    offline: Offline = "queue"
    """A publish while not connected is queued, waits, or raises ``ConnectionLost``."""

    offline_messages: int | None = None
    """As many messages wait at most, for a connection or the server's Receive Maximum.

    Then ``publish`` waits for room, and ``publish_nowait`` raises ``QueueFull``. None: 10 000, and any number
    where ``session`` is on disk.
    """

    offline_bytes: int = 64 * 2**20
    """As many bytes of them wait at most: topics, payloads and Properties; on a disk, all that they take."""

    refuse_after: int | None = 5
    """So many connections in a row that the server ends may have had the same message sent first and not
    acknowledged; then it is given up: ``PublishRefused``. None: never.
    """

    max_inflight: int | None = None
    """Unfinished QoS 1 and 2 publishes at a time, 1 to 65000, within the server's Receive Maximum.

    None: 1024, and before 5.0, where a server cannot say how many it takes, 20: some close the connection of
    a client that has more. Before 5.0 more than 20 hold for QoS 1 only, with QoS 2 it is 19: Mosquitto 2.0
    acknowledges what is more, and loses it.
    """

    buffer_bytes: int = 64 * 2**20
    """As much of what was received waits in all streams together (topics, payloads, and 400 bytes for each
    message), then ``overflow`` of the streams says what happens. The chunk that was read last comes on top.
    """

    receive_maximum: int = 1024
    """QoS 1 and 2 messages the server may send before one is acknowledged (5.0), 1 to 65535."""

    maximum_packet_size: int | None = None
    """Largest packet the server may send, in bytes (5.0); None: as large as MQTT allows."""

    topic_alias_maximum: int = 0
    """Topic Aliases the server may use (5.0), 0 to 65535."""

    topic_aliases: int = 32
    """Topic Aliases chosen for long topics one publishes (5.0), within the server's maximum; 0: none."""

    retry_interval: float = 20.0
    """What has no answer for so long is sent again, before 5.0 only; 0: never. In 5.0 that is forbidden."""

    user_properties: Sequence[tuple[str, str]] = ()
    """User Properties of CONNECT (5.0)."""

    authentication: Authentication | None = None
    """Enhanced authentication (5.0)."""

    linger: float = 5.0
    """How long leaving waits, while connected, for publishes that are not complete."""

    response_prefix: str = "curier/reply"
    """Where ``request`` has its responses sent: to a topic of its own below this one."""

    shared_sessions: bool = False
    """Are the servers in ``url`` one cluster, where each knows the sessions of all? Otherwise a session is
    left behind where another server takes over, and what was unfinished is published anew there.
    """

    claim_timeout: float = 60.0
    """A resumed session may bring messages nobody subscribes to yet: so long they wait, unacknowledged."""

    bridge: bool = False
    """Say before 5.0 that this is a bridge, by the bridge bit of the Protocol Version: servers that know it
    do not send back what was published here, and leave RETAIN as it was published. Others refuse it.
    """

    open_socket: Callable[[], Awaitable[socket.socket]] | None = None
    """Gives a connected socket that carries MQTT in the place of what would be opened to ``url``; proxy, TLS
    and WebSocket are left out.
    """

    def check(self) -> None:
        """Raise ``ConfigError`` for the first setting that cannot be, ``TypeError`` for a wrong type."""
        for name, (kinds, expected) in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) and not (name in CHANGING and callable(value)):
                raise TypeError(f"{name}: {expected}, not {type(value).__name__}")
        urls = self.urls()
        if not urls and not callable(self.url):
            raise ConfigError("url: at least one is needed, such as mqtt://localhost")
        for url in urls:
            parse_server_url(url)
        if self.proxy not in (None, FROM_ENVIRONMENT):
            parse_proxy_url(self.proxy)
        if self.version not in (None, MQTT_31, MQTT_311, MQTT_50):
            raise ConfigError(f"version: 5, 4 (for 3.1.1), 3 (for 3.1) or None, not {self.version!r}")
        if self.offline not in get_args(Offline):
            raise ConfigError(f'offline: "queue", "wait" or "raise", not {self.offline!r}')
        for name, least, most in _RANGES:
            _check_number(name, getattr(self, name), least, most)
        check_pairs("user_properties", self.user_properties)
        if not callable(self.websocket_headers):
            check_pairs("websocket_headers", self.websocket_headers)
        self._check_topics()
        self._check_reconnect()
        if self.authentication is not None:
            if not self.authentication.method:
                raise ConfigError("authentication: its method has no name")
            if self.version not in (None, MQTT_50):
                raise ConfigError("authentication: needs version 5")
        if self.clean_start is False and not self.client_id and self.session is None:
            raise ConfigError("clean_start: False needs a client_id: under which session should it go on?")

    def _check_reconnect(self) -> None:
        words = self.on_refused.values() if isinstance(self.on_refused, Mapping) else [self.on_refused]
        for word in words:
            if word not in get_args(OnRefused):
                raise ConfigError(f'on_refused: "retry" or "stop", or a mapping to them, not {word!r}')
        if isinstance(self.on_refused, Mapping) and not all(
            isinstance(code, int) for code in self.on_refused
        ):
            raise TypeError("on_refused: the keys are Reason Codes, such as 0x87")
        given = self.reconnect
        if given is None:
            return
        for name in ("first", "longest", "first_refused", "longest_refused"):
            _check_number(f"reconnect: {name}", getattr(given, name), 0.0, 1e9)
        _check_number("reconnect: attempts", given.attempts, 0, _FOREVER)
        if given.first > given.longest:
            raise ConfigError("reconnect: 0 <= first <= longest")
        if given.first_refused > given.longest_refused:
            raise ConfigError("reconnect: 0 <= first_refused <= longest_refused")

    def _check_topics(self) -> None:
        """The will, and where responses come."""
        _check_topic("response_prefix", self.response_prefix)
        if self.will is None:
            return
        given: object = self.will.message
        if not isinstance(given, Message):
            raise TypeError("will: a curier.Will(curier.Message(topic, payload))")
        message = given
        _check_topic("will", message.topic)
        if message.response_topic is not None:
            _check_topic("will: response_topic", message.response_topic)
        if message.qos not in (0, 1, 2):
            raise ConfigError(f"will: QoS 0, 1 or 2, not {message.qos!r}")
        if len(message.payload) > MOST_BYTES:
            raise ConfigError(f"will: {MOST_BYTES} bytes of payload at most, not {len(message.payload)}")
        _check_number("will: delay", self.will.delay, 0, _FOREVER)
        _check_number("will: message_expiry", message.message_expiry, 0, _FOREVER)
        check_pairs("will: user_properties", message.user_properties)
        check_texts(message.content_type, None, message.correlation_data)

    def shown_urls(self) -> str:
        """The servers, without passwords."""
        if callable(self.url):
            return "servers that a function names"
        return ", ".join(str(parse_server_url(url)) for url in self.urls())

    def urls(self) -> list[str]:
        """The servers, in the order they are tried; none where a function is to be asked for them."""
        if callable(self.url):
            return []
        urls: object = [self.url] if isinstance(self.url, str) else self.url
        if isinstance(urls, (list, tuple)) and all(isinstance(url, str) for url in urls):
            return list(urls)
        raise TypeError("url: text, or a list of texts")


LARGEST_PACKET: Final = 268_435_460  # bytes: a Fixed Header of 5, and the largest Remaining Length (1.5.5)
_FOREVER: Final = 0xFFFFFFFF
_TEXT: Final = (str, type(None))
_FLAG: Final = "True or False"
CHANGING: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "url": ((str, list, tuple), "text, or a list of texts"),
    "username": (_TEXT, "text or None"),
    "password": ((str, bytes, type(None)), "text, bytes or None"),
    "tls": ((TlsSettings, ssl.SSLContext, type(None)), "a curier.TlsSettings, an ssl.SSLContext or None"),
    "websocket_headers": ((list, tuple), "a list of pairs of text"),
}
"""Settings that may be functions, with the types of what they return."""

_KINDS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    **CHANGING,
    "client_id": ((str,), "text"),
    "proxy": (_TEXT, "text or None"),
    "local_address": (_TEXT, "text or None"),
    "version": ((int, type(None)), "5, 4 (for 3.1.1), 3 (for 3.1) or None"),
    "clean_start": ((bool, type(None)), "True, False or None"),
    "will": ((Will, type(None)), "a curier.Will or None"),
    "session": ((Session, type(None)), "curier.Session.disk(path), curier.Session.memory() or None"),
    "retry_first_connect": ((bool,), _FLAG),
    "reconnect": ((Reconnect, type(None)), "a curier.Reconnect, or None for never"),
    "on_refused": ((str, Mapping), '"retry" or "stop", or a mapping of Reason Codes to them'),
    "follow_server_reference": ((bool,), _FLAG),
    "offline": ((str,), '"queue", "wait" or "raise"'),
    "authentication": ((Authentication, type(None)), "an object of a subclass of curier.Authentication"),
    "response_prefix": ((str,), "text"),
    "shared_sessions": ((bool,), _FLAG),
    "bridge": ((bool,), _FLAG),
}
# Where a bound is a float, seconds may have fractions.
_RANGES: Final[tuple[tuple[str, float, float], ...]] = (
    ("session_expiry", 0, _FOREVER),
    ("keep_alive", 0, 65535),
    ("connect_timeout", 0.001, 86400.0),
    ("ping_timeout", 0.001, 86400.0),
    ("offline_messages", 0, _FOREVER),
    ("refuse_after", 3, _FOREVER),
    ("offline_bytes", 0, 2**63),
    ("max_inflight", 1, 65000),
    ("buffer_bytes", 1, 2**63),
    ("receive_maximum", 1, 65535),
    ("maximum_packet_size", 16, LARGEST_PACKET),
    ("topic_alias_maximum", 0, 65535),
    ("topic_aliases", 0, 65535),
    ("retry_interval", 0.0, 86400.0),
    ("linger", 0.0, 86400.0),
    ("claim_timeout", 0.0, 86400.0),
)
_OPTIONAL: Final = (
    "session_expiry",
    "max_inflight",
    "offline_messages",
    "refuse_after",
    "maximum_packet_size",
    "will: message_expiry",
    "reconnect: attempts",
)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    """A number in its range, whole unless a bound is a float; some may be None."""
    if value is None and name in _OPTIONAL:
        return
    what = ""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        what = "a number, "
    elif isinstance(value, float) and type(most) is int:
        what = "a whole number, "
    elif least <= value <= most:
        return
    raise (TypeError if what else ConfigError)(f"{name}: {what}{least} to {most}, not {value!r}")


def _check_topic(name: str, topic: str) -> None:
    try:
        encode_topic(topic)
    except (TypeError, AttributeError):
        raise TypeError(f"{name}: a Topic Name is text, not {type(topic).__name__}") from None
    except (LocalProtocolError, UnicodeEncodeError) as error:
        raise ConfigError(f"{name}: {topic!r} is no Topic Name: {error}") from None
