"""Connections of a broker's own program: they come by no listener, and nobody is asked who they are.

A pair of sockets joins the client's end and the broker's, so that all that holds for a client that comes from
elsewhere, its limits, its slowness, the order of what it is told, holds for one of these too.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, NamedTuple

from curier.broker.entrances import Entrance
from curier.broker.judging import Judge, Rights, Who
from curier.broker.model import BrokerConnection
from curier.listeners import Listener
from curier.net.doors import Door
from curier.net.handshakes import Handshakes
from curier.net.transports import TransportServer, TransportWire
from curier.net.turn import Turn

LISTENER: Final = "inside"
"""In the place of a listener's URL, which none can have."""

HOP: Final = "curier-hop"
"""The User Property with the name of a broker: messages that bridges carry have one for each that they have
passed, and bridges and brokers tell each other theirs with CONNECT and CONNACK.
"""

ADDRESS: Final = "inside "
"""What the address of each begins with, as no other can; behind it is its name."""


BridgeState = Literal["connected", "away", "idle", "ended"]
"""``away`` tries to connect, ``idle`` waits for messages before it does, ``ended`` never will again."""


class BridgeNumbers(NamedTuple):
    """How a bridge is: in which state, since when, and why it is not connected; ``url`` is the server that it
    is at or tries, without secrets. And what it has counted since it was started: ``out`` and ``into`` are
    messages carried, ``lost`` those that are not: with QoS 0 and no connection, refused, or stopped since
    they would go in a circle. ``waiting`` are those with QoS 1 and 2 in its session at the broker here.
    """

    name: str
    url: str
    state: BridgeState
    since: float
    why: str
    connects: int
    out: int
    into: int
    lost: Mapping[str, int]
    waiting: int


class Insiders:
    """Those of one broker."""

    def __init__(self, turn: Turn) -> None:
        self._server: Final = TransportServer(turn, Handshakes(turn))
        self._door: Final = Door(LISTENER, Listener("unix:///inside"), Entrance())

    async def enter(self, name: str) -> socket.socket:
        """The client's end of a new connection, which says CONNECT as any does. Raises ``OSError`` where
        there are no more files.
        """
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            theirs.setblocking(False)
            make = partial(TransportWire, self._server, ADDRESS + name, None, "", self._door)
            await asyncio.get_running_loop().connect_accepted_socket(make, theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return ours

    def stop(self) -> None:
        """Cut those that are left."""
        self._server.stop()


def is_inside(connection: BrokerConnection) -> bool:
    """Is this one of them?"""
    return connection.listener == LISTENER


def is_own(identity: str | None, address: str) -> bool:
    """Has one of them come as itself, and not as a user that rules may name?"""
    return identity is not None and address == ADDRESS + identity


class InsidersToo(Judge):
    """Rules for all others, and for those who come from within as some user. Those who come as themselves may
    do all that the program has them do.
    """

    def __init__(self, rules: Judge) -> None:
        super().__init__()
        self._rules: Final = rules
        self.refuses_subscriptions = rules.refuses_subscriptions

    def is_common(self, topic: bytes) -> bool:
        return self._rules.is_common(topic)

    def rights(self, who: Who) -> Rights:
        if is_own(who.identity, who.address):
            return AllRights(self, who)
        rights = self._rules.rights(who)
        rights.judge = self
        return rights

    def failed(self, error: Exception) -> None:
        self._rules.failed(error)


class AllRights(Rights):
    """Of whom the program has made itself."""

    def __init__(self, judge: Judge, who: Who) -> None:
        super().__init__(judge, who)
        self.kind = AllRights

    def may_publish(self, topic: bytes, qos: int, retain: bool) -> bool:
        return True

    def may_subscribe(self, topic_filter: bytes, qos: int) -> bool:
        return True

    def may_receive(self, topic: bytes) -> bool:
        return True
