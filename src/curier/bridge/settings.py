"""The settings of a bridge. Plain data, checked in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Final, Literal

from curier.bridge.hops import MOST
from curier.bridge.topics import Topic, may_come_back
from curier.client.dialing.tls import TlsSettings, make_context
from curier.client.settings import ClientSettings
from curier.client.urls import parse_server_url
from curier.codec.constants import MQTT_50
from curier.errors import ConfigError
from curier.frozen import dataclass

Start = Literal["automatic", "lazy", "once"]
Told = Literal["none", "local", "both"]

STARTS: Final = ("automatic", "lazy", "once")
NOTIFICATIONS: Final = ("none", "local", "both")
VERSIONS: Final = {"5.0": 5, "3.1.1": 4, "3.1": 3}
FOREVER: Final = 0xFFFFFFFF
DIRECTORY: Final = "bridges"
"""Below the data directory of a broker."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A broker that a bridge connects to. Times are in seconds.

    ``urls`` are tried in order, and the first is come back to. ``client_id`` "": made of this machine's name
    and the bridge's. ``version`` None: 5.0, and 3.1.1 where that is refused. ``bridge_bit``: before 5.0, say
    that a bridge comes, as Mosquitto's do. ``clean_start``: what waits there is not wanted after a while
    without a connection; otherwise the session stays for ``session_expiry``. ``id`` is what the broker is
    called in the trace of hops, "" where nobody has named it.
    """

    urls: tuple[str, ...] = field(repr=False)
    client_id: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
    version: int | None = None
    bridge_bit: bool = True
    clean_start: bool = False
    session_expiry: int = FOREVER
    keep_alive: int = 60
    connect_timeout: float = 10.0
    proxy: str | None = None
    local_address: str | None = None
    websocket_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_packet_size: int | None = None
    id: str = ""

    def check(self) -> None:
        """Raise ``ConfigError`` for what cannot be."""
        if not self.urls:
            raise ConfigError("a url is needed, such as mqtts://broker.example")
        for url in self.urls:
            if self.tls is not None and not parse_server_url(url).is_tls:
                raise ConfigError(
                    f"{parse_server_url(url)} is not encrypted, but there are settings of TLS: write "
                    "mqtts:// (wss://), or leave them out"
                )
        ClientSettings(
            self.urls,
            keep_alive=self.keep_alive,
            connect_timeout=self.connect_timeout,
            session_expiry=self.session_expiry,
            version=self.version,
            proxy=self.proxy,
            websocket_headers=self.websocket_headers,
            maximum_packet_size=self.max_packet_size,
        ).check()
        if self.version not in (None, MQTT_50) and self.password is not None and self.username is None:
            raise ConfigError(
                "password: before MQTT 5.0 it needs a username beside it [3.1.1: MQTT-3.1.2-22]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """``local`` None is the broker that the bridge belongs to. Times are in seconds.

    ``user``: as whom its messages are judged by the rules here; None: it may do what its topics say.
    ``start`` ``lazy`` connects when ``threshold`` messages wait, and leaves after ``idle_timeout`` without
    any; ``once`` never connects again. ``round_robin``: with several servers, stay with the one that answers
    in the place of coming back to the first. ``window``: unfinished messages at a time, in each direction.
    ``outgoing_retain`` False: nothing is retained there.
    ``first_wait`` and ``longest_wait`` bound the time before another attempt to connect. ``notifications``:
    who is told of the state of the connection, at ``notification_topic``.
    """

    name: str
    remote: Peer
    topics: tuple[Topic, ...]
    local: Peer | None = None
    user: str | None = None
    start: Start = "automatic"
    threshold: int = 10
    idle_timeout: float = 60.0
    round_robin: bool = False
    window: int = 100
    max_hops: int = MOST
    outgoing_retain: bool = True
    first_wait: float = 1.0
    longest_wait: float = 60.0
    notifications: Told = "local"
    notification_topic: str = ""

    @property
    def state_topic(self) -> str:
        """Where it tells whether it is connected."""
        return self.notification_topic or f"$SYS/broker/connection/{self.name}/state"

    def check(self) -> None:
        """Raise ``ConfigError`` for what cannot be."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name: 1 to 64 letters, figures, dots, - and _, and no dot first, not {self.name!r}: it "
                "becomes a part of a topic, of a Client Identifier and of a path"
            )
        if not self.topics:
            raise ConfigError('topics: a bridge without any carries nothing: name some, such as "# out 1"')
        for topic in self.topics:
            topic.check()
        self.remote.check()
        if self.local is not None:
            self.local.check()
        for name, value, words in (
            ("start", self.start, STARTS),
            ("notifications", self.notifications, NOTIFICATIONS),
        ):
            if value not in words:
                raise ConfigError(f"{name}: one of {', '.join(words)}, not {value!r}")
        for name, number, least, most in (
            ("threshold", self.threshold, 1, self.window),
            ("window", self.window, 1, 10_000),
            ("max_hops", self.max_hops, 1, 100),
        ):
            if not least <= number <= most:
                raise ConfigError(f"{name}: {least} to {most}, not {number}")
        if not 0 < self.first_wait <= self.longest_wait:
            raise ConfigError("first_wait is above 0, and longest_wait not below it")
        if "+" in self.notification_topic or "#" in self.notification_topic:
            raise ConfigError(
                f"notification_topic: a topic has no wildcards, as {self.notification_topic!r} has"
            )
        if self.local is not None and len(self.local.urls) > 1:
            raise ConfigError("local: url: one server; only the other side may have several")
        self._check_circles()

    def _check_circles(self) -> None:
        for peer in (self.remote, self.local):
            if peer is None or peer.version in (None, MQTT_50) or peer.bridge_bit:
                continue
            for out, into in may_come_back(self.topics):
                raise ConfigError(
                    f"{into} would bring back what {out} carries away: before MQTT 5.0 nothing but the "
                    "bridge bit stops that; have bridge_bit = true, or topics with different prefixes"
                )


def look_at_files(bridge: BridgeSettings) -> None:
    """Read the certificates and keys that it names. Raises ``ConfigError`` for what is wrong with them."""
    for peer, words in ((bridge.remote, ""), (bridge.local, "local: ")):
        if peer is None or peer.tls is None:
            continue
        try:
            make_context(peer.tls)
        except ConfigError as error:
            raise ConfigError(f"the bridge {bridge.name}: {words}{error}") from error


def check_all(bridges: Sequence[BridgeSettings]) -> None:
    """Raise ``ConfigError`` for bridges that cannot be in one broker."""
    names: set[str] = set()
    for one in bridges:
        try:
            one.check()
        except ConfigError as error:
            raise ConfigError(f"the bridge {one.name}: {error}") from None
        if one.name in names:
            raise ConfigError(f"there are two bridges of the name {one.name}: give one another name")
        names.add(one.name)
