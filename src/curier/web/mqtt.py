"""MQTT for the pages: a WebSocket at ``/mqtt`` of the window, behind its login.

Whoever comes by it is a client as any other: it says CONNECT, and comes in by one of the broker's listeners,
with the address of the browser. So that listener's limits, who is asked whether it may connect, bans and
rules hold for it as for all others who come there. It cannot come by listeners that know their clients by
something else than a CONNECT (a certificate, a key, a socket of this machine, a proxy), and by one that only
this machine reaches only from this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from curier.doorways import Doorway
from curier.net.doors import Door
from curier.net.messages import MOST_REASON, POLICY, MessageWire, converse
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

_AGAIN_LATER: Final = 1013  # a close code of WebSocket (RFC 6455 section 7.4.1)


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
            code = _AGAIN_LATER if problem.status == 503 else POLICY
            await websocket.close(code, problem.detail[:MOST_REASON])
            return
        self._count += 1
        try:
            try:
                await websocket.accept(SUBPROTOCOL)
            except BaseException:
                wire.turn.lost(wire)
                raise
            await converse(
                wire, websocket.receive, websocket.send, self._asks(websocket), (WebSocketDisconnect,)
            )
        finally:
            self._count -= 1

    def _asks(self, websocket: WebSocket) -> Callable[[], str]:
        """Whether the login still counts."""

        def why_no_more() -> str:
            try:
                self._known(websocket)
            except Problem as problem:
                return problem.detail
            return ""

        return why_no_more

    def _entered(self, websocket: WebSocket) -> MessageWire:
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
        wire = MessageWire(turn, turn.attach(address, url, doorway.entrance, place))
        turn.add(wire)
        return wire


def _subprotocol(websocket: WebSocket) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
