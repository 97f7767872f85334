"""MQTT over WebSocket within a web program: a broker as an ASGI application.

    broker = curier.Broker(listen=None)
    app.mount("/mqtt", broker.asgi())

Whoever comes by it is a client as any other, at a listener that the web program serves: ASGI's ``scope`` says
where it is and, if the program knows, who. Limits, bans, rules and the bounds for slow clients are those of
the broker. Nothing is imported of any framework or server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from inspect import isawaitable
from ipaddress import ip_address
from typing import Any, Final

from curier.auth.at_doors import AtDoors
from curier.auth.base import Authenticator
from curier.broker.core import BrokerCore
from curier.broker.entrances import Entrance
from curier.errors import ConfigError
from curier.listeners import Listener, level_of
from curier.loglines import logger, printable
from curier.net.doors import entrance_of
from curier.net.messages import POLICY, MessageWire, Receive, Send, closing, converse
from curier.net.turn import Turn
from curier.net.upgrade import SUBPROTOCOLS, normal_origin
from curier.places import place_of

log = logger("curier.net")

Scope = MutableMapping[str, Any]
User = Callable[[Scope], str | Awaitable[str | None] | None]

AGAIN_LATER: Final = 1013  # a close code of WebSocket (RFC 6455 section 7.4.1)
UNKNOWN: Final = "asgi"
"""The address of who has none, as behind a server's Unix socket."""


class Refusal(Exception):
    """Somebody may not come in: the close code, which before the WebSocket is open becomes a 403, and why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Mount:
    """An ASGI application for WebSockets. See ``Broker.asgi``."""

    def __init__(
        self, broker: Mounted, listener: Listener, user: User | None, origins: frozenset[str]
    ) -> None:
        self.broker: Final = broker
        self.listener: Final = listener
        self.url: Final = listener.url
        self.user: Final = user
        self.origins: Final = origins
        self.wires: set[MessageWire] = set()
        self.entrance: Final = entrance_of(listener, listener.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, from the first to the end."""
        if scope["type"] == "http":
            await _tell(send, 426, b"This is MQTT, by WebSocket with the subprotocol mqtt.\n")
            return
        if scope["type"] != "websocket":
            raise ValueError(f"Broker.asgi() serves WebSockets, and not {scope['type']!r}")
        await receive()  # websocket.connect
        address = _address(scope)
        try:
            name = await self._enter(scope, address)
        except Refusal as refusal:
            log.warning("%s at %s is refused: %s", address, self.entrance.name, printable(str(refusal)))
            await send(closing(refusal.code, str(refusal)))
            return
        turn = self.broker.turn
        wire = MessageWire(turn, turn.attach(address, self.url, self.entrance, _place(address)))
        wire.connection.certificate_name = name
        turn.add(wire)
        self.wires.add(wire)
        try:
            try:
                await send({"type": "websocket.accept", "subprotocol": _subprotocol(scope), "headers": []})
            except BaseException:
                turn.lost(wire)
                raise
            await converse(wire, receive, send)
        finally:
            self.wires.discard(wire)

    async def _enter(self, scope: Scope, address: str) -> str | None:
        """Who the web program says it is. Raises ``Refusal``."""
        broker = self.broker
        if not broker.is_serving:
            raise Refusal(AGAIN_LATER, "the broker has not been started, or stops")
        offered = scope.get("subprotocols") or []
        if offered and _subprotocol(scope) is None:  # [MQTT-6.0.0-3]
            raise Refusal(POLICY, f"it offers no subprotocol {SUBPROTOCOLS[0]}")
        if not _is_welcome_origin(scope, self.origins):
            raise Refusal(POLICY, "a page of another site asks, which is not among the origins")
        name = await self._who(scope)
        if name is None and broker.authenticator is None and not self.listener.allow_anonymous:
            if self.user is not None:
                raise Refusal(POLICY, "the web program does not know this user")
            if not _is_loopback(address):
                raise Refusal(
                    POLICY,
                    "nobody decides who may connect, so only this machine may: "
                    "give the broker an authenticator, or asgi() a user or allow_anonymous=True",
                )
        crowd = broker.core.why_crowded(self.entrance, broker.turn.clock.now(), _place(address))
        if crowd:
            raise Refusal(AGAIN_LATER, crowd)
        return name

    async def _who(self, scope: Scope) -> str | None:
        if self.user is None:
            return None
        found = self.user(scope)
        name = await found if isawaitable(found) else found
        if name is not None and not isinstance(name, str):
            raise TypeError(f"user= of Broker.asgi() returns a name or None, not {name!r:.100}")
        return name


class Mounted:
    """What a broker has of its mounts: a base class of ``Broker``."""

    authenticator: Authenticator | None
    _at_doors: AtDoors | None
    _mounts: tuple[Mount, ...] = ()
    _is_open = False
    _is_stopping = False

    @property
    def core(self) -> BrokerCore:
        """The core of a broker that runs."""
        raise TypeError("a Broker has a core")

    @property
    def turn(self) -> Turn:
        """What drives the core of a broker that runs: its clock, and who is told that there is output."""
        raise TypeError("a Broker has a turn")

    @property
    def is_serving(self) -> bool:
        """Whether clients can connect: it has started, and does not stop."""
        return self._is_open and not self._is_stopping

    def asgi(
        self,
        name: str = "asgi",
        *,
        user: User | None = None,
        origins: Sequence[str] = (),
        allow_anonymous: bool = False,
        max_connections: int = 0,
        max_packet_size: int = 0,
        max_connect_rate: int = 0,
        max_message_rate: int = 0,
        max_byte_rate: int = 0,
        mount: str = "",
    ) -> Mount:
        """MQTT over WebSocket as an ASGI application, to be mounted in one, before the broker starts.

        ``name`` is that of the listener, for log, ``$SYS`` and rules. ``user`` is called with the ``scope``
        of each WebSocket, and returns, or is awaited for, who that is: this name is the client's user,
        whatever its CONNECT says; None leaves it to the broker's authenticator, and without one refuses it.
        Without both only clients of this machine may come in, unless ``allow_anonymous``. Pages of the same
        host may connect and those of ``origins`` (``"*"``: all), programs from anywhere. The rest is as for a
        ``Listener``.

        Raises ``ConfigError`` for a name that cannot be or is taken, ``RuntimeError`` once the broker has
        started.
        """
        if self._is_open or self._is_stopping:
            raise RuntimeError("asgi() is called before the broker starts")
        if not name or level_of(name) != name:
            raise ConfigError(f"the name of a listener is text without / + and #, not {name!r}")
        if any(name == one.entrance.name for one in self._mounts):
            raise ConfigError(f"two listeners have the name {name!r}: rename one")
        if isinstance(origins, str):
            raise TypeError(f"origins: expected a list such as ['https://a.example']; got {origins!r}")
        listener = Listener(
            f"asgi://{name}",
            name,
            proxy_certificates=user is not None,  # who is before us has verified the name
            allow_anonymous=allow_anonymous or None,
            max_connections=max_connections,
            max_packet_size=max_packet_size,
            max_connect_rate=max_connect_rate,
            max_message_rate=max_message_rate,
            max_byte_rate=max_byte_rate,
            mount=mount,
        )
        made = Mount(self, listener, user, frozenset(map(_known_origin, origins)))
        self._mounts = (*self._mounts, made)
        return made

    def _asked_at_doors(self) -> AtDoors | None:
        """Whoever asks listeners first, if one of them, or a mount, decides who may connect."""
        if any(one.user or one.listener.allow_anonymous for one in self._mounts):
            self._at_doors = self._at_doors or AtDoors(self.authenticator)
        if self._at_doors is not None:
            for one in self._mounts:
                self._at_doors.add(one.url, one.listener)
        return self._at_doors

    def _open_mounts(self) -> None:
        """Let clients in from now on."""
        names = {entrance.level for entrance in self.core.statistics.entrances}
        for one in self._mounts:
            if one.entrance.level in names:
                raise ConfigError(
                    f"two listeners have the name {one.entrance.name!r}: give each one of its own"
                )
        self.core.statistics.entrances += self._mounted_entrances
        self._is_open = True

    @property
    def _mounted_entrances(self) -> list[Entrance]:
        return [one.entrance for one in self._mounts]

    @property
    def _mounts_are_busy(self) -> bool:
        return any(one.wires for one in self._mounts)

    def _end_mounts(self) -> None:
        """Carry nothing more."""
        for one in self._mounts:
            for wire in one.wires:
                wire.abort()


async def _tell(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"upgrade", b"websocket")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _address(scope: Scope) -> str:
    host, port = scope.get("client") or (UNKNOWN, None)
    if port is None:
        return str(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(address: str) -> str:
    return "" if address == UNKNOWN else place_of(address)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _subprotocol(scope: Scope) -> str | None:
    """One of those that were offered [MQTT-6.0.0-4]."""
    offered = scope.get("subprotocols") or []
    return next((one for name in SUBPROTOCOLS for one in offered if one.lower() == name), None)


def _known_origin(origin: str) -> str:
    found = origin if origin == "*" else normal_origin(origin)
    if found is None:
        raise ConfigError(f"an origin is scheme://host or scheme://host:port, or *, not {origin!r}")
    return found


def _is_welcome_origin(scope: Scope, origins: frozenset[str]) -> bool:
    """Browsers say which site's page it is that connects (RFC 6454); programs need not, and may come in."""
    said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    if not said or "*" in origins:
        return True
    origin = normal_origin(said[0])
    if len(said) > 1 or origin is None:
        return False
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    here = {normal_origin(f"{origin.partition('://')[0]}://{host}") for host in hosts}
    return origin in origins or (origin != "null" and origin in here)
