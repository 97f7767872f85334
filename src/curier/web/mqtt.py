"""MQTT for the pages: a WebSocket at ``/mqtt`` of the window, behind its login.

Whoever comes by it is a client as any other: it says CONNECT, and comes in by one of the broker's listeners,
with the address of the browser. So that listener's limits, who is asked whether it may connect, bans and
rules hold for it as for all others who come there. It cannot come by listeners that know their clients by
something else than a CONNECT (a certificate, a key, a socket of this machine, a proxy), and by one that only
this machine reaches only from this machine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from curier.broker.model import BrokerConnection
from curier.doorways import Doorway
from curier.net.doors import Door
from curier.net.turn import Turn
from curier.net.wire import Wire, close_code
from curier.server import Broker
from curier.web import door_forms, table
from curier.web.binding import is_loopback
from curier.web.forms import Nothing
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.roles import Role
from curier.web.scene import Scene
from curier.web.tokens import Known

PATH: Final = "/mqtt"
SUBPROTOCOL: Final = "mqtt"
MOST_CLIENTS: Final = 20
KNOWN_SECONDS: Final = 1.0
"""How often it is asked whether the login still counts."""

_POLICY: Final = 1008  # close codes of WebSocket (RFC 6455 section 7.4.1)
_UNSUPPORTED: Final = 1003
_AGAIN_LATER: Final = 1013


def may_enter(doorway: Doorway, host: str) -> bool:
    """May a browser at this address come in by this listener?"""
    listener = doorway.listener
    if listener.address.carrier != "tcp" or listener.client_ca is not None or listener.psk_file is not None:
        return False
    if listener.proxy_protocol or listener.proxy_certificates or listener.identity is not None:
        return False
    return bool(doorway.opened) and (is_loopback(host) or not listener.address.is_loopback)


def doors(broker: Broker, host: str) -> Iterator[tuple[str, Doorway]]:
    """By which listeners that is, each with its URL as bound."""
    for doorway in broker.doorways:
        if may_enter(doorway, host):
            yield str(doorway.opened[0].address), doorway


@handles(table.DOORS)
async def listed(scene: Scene, asked: Nothing, who: Known) -> door_forms.Doors:
    """Listeners that are open to the pages' own clients."""
    found = [door_forms.DoorRow(url, door.listener.name) for url, door in doors(scene.broker, who.address)]
    return door_forms.Doors(found)


class PageWire(Wire):
    """The connection of one page's client. What the broker writes waits in ``pieces``."""

    def __init__(self, turn: Turn, connection: BrokerConnection) -> None:
        super().__init__(connection)
        self.turn = turn
        self.pieces: deque[bytes] = deque()
        self.unsent = 0
        self.news = asyncio.Event()  # there are pieces, or it is over
        self.reads = asyncio.Event()
        self.reads.set()
        self.is_over = False

    def write(self, data: bytes) -> int:
        """Take ``data`` for sending."""
        self.pieces.append(data)
        self.unsent += len(data)
        self.news.set()
        return self.unsent

    def sent(self, size: int) -> None:
        """The page has been sent so many bytes."""
        self.unsent -= size
        if not self.is_over:
            self.turn.report(self, size, self.unsent, self.turn.clock.now())
            self.turn.schedule()

    def received(self, data: bytes) -> None:
        """Bytes of the page."""
        try:
            self.turn.receive(self, data, self.turn.clock.now())
        except Exception as error:
            self.turn.give_up(self.connection, "serving a page", error)
        self.turn.schedule()

    def ended(self) -> None:
        """The page has gone."""
        if not self.is_over and self.turn.ended(self):
            self.turn.lost(self)

    def set_reading(self, wanted: bool) -> None:
        """Read on, or not; who has gone meanwhile is lost once all of it is read."""
        self.is_reading = wanted
        if not wanted:
            self.reads.clear()
            return
        self.reads.set()
        if self.has_ended:
            self.turn.schedule()
            self.turn.loop.call_soon(self.turn.lost, self)

    def close(self) -> None:
        """Send what is left, then close."""
        self.is_over = True
        self.reads.set()
        self.news.set()


class Mqtt:
    """All clients of pages. ``known`` says who asks, or raises ``Problem``."""

    def __init__(self, scene: Scene, known: Callable[[WebSocket], Known]) -> None:
        self._scene = scene
        self._known = known
        self._count = 0

    async def serve(self, websocket: WebSocket) -> None:
        """One of them, from the first to the end."""
        wire = None
        try:
            wire = self._entered(websocket)
        except Problem as problem:
            await websocket.accept(_subprotocol(websocket))  # a browser tells pages of no other refusal
            code = _AGAIN_LATER if problem.status == 503 else _POLICY
            await websocket.close(code, problem.detail[:120])
            return
        self._count += 1
        try:
            await websocket.accept(SUBPROTOCOL)
            writing = asyncio.create_task(self._write(websocket, wire))
            try:
                await _read(websocket, wire)
            finally:
                wire.ended()
                if not wire.is_over:
                    writing.cancel()
                with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    await writing
        finally:
            self._count -= 1
            if not wire.has_ended:  # or what it has said before is due, first
                wire.turn.lost(wire)

    def _entered(self, websocket: WebSocket) -> PageWire:
        who = self._known(websocket)
        if who.role < Role.OPERATOR:
            raise Problem(403, f"this is for the role operator, and {who.name} is {who.role.name.lower()}")
        broker = self._scene.broker
        if not broker.is_serving:
            raise Problem(503, "the broker starts, or stops")
        if self._count >= MOST_CLIENTS:
            raise Problem(503, "too many clients of pages are there: close some of them")
        if SUBPROTOCOL not in websocket.scope["subprotocols"]:
            raise Problem(400, "the subprotocol of MQTT is mqtt")  # [MQTT-6.0.0-3]
        host, port = websocket.client or ("", 0)
        wanted = websocket.query_params.get("listener", "")
        found = [(url, door) for url, door in doors(broker, host) if wanted in ("", url)]
        if not found:
            raise Problem(403, "there is no such listener by which a page may come in")
        url, doorway = found[0]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        turn = broker.turn
        door = Door(url, doorway.listener, doorway.entrance)
        place = door.place(address, None)
        if not door.admits(broker.core, address, None, place, turn.clock.now()):
            raise Problem(503, "the listener takes no more connections now; the log says why")
        wire = PageWire(turn, turn.attach(address, url, doorway.entrance, place))
        turn.add(wire)
        return wire

    async def _write(self, websocket: WebSocket, wire: PageWire) -> None:
        """What the broker has to say, as long as the login counts."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(KNOWN_SECONDS):
                    await wire.news.wait()
            wire.news.clear()
            try:
                self._known(websocket)
            except Problem as problem:
                await websocket.close(_POLICY, problem.detail[:120])
                return
            while wire.pieces:
                data = wire.pieces.popleft()
                await websocket.send_bytes(data)
                wire.sent(len(data))
            if wire.is_over:
                await websocket.close(close_code(wire.connection))
                return


async def _read(websocket: WebSocket, wire: PageWire) -> None:
    """What the page has to say, until it goes, or the broker has closed."""
    with suppress(WebSocketDisconnect, RuntimeError):  # the second: it has been closed from here
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is None:  # [MQTT-6.0.0-1]
                await websocket.close(_UNSUPPORTED, "MQTT is in binary frames")
                return
            await wire.reads.wait()
            if not wire.is_over:
                wire.received(data)


def _subprotocol(websocket: WebSocket) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
