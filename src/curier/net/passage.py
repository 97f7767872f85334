"""What comes in by a wire with layers, on its way to the turn; and what they say by themselves."""

from __future__ import annotations

from curier.net.handshakes import Handshakes
from curier.net.layer import LayerError, Visit
from curier.net.layers import Layers
from curier.net.turn import Turn
from curier.net.wire import Wire


def receive(turn: Turn, handshakes: Handshakes, wire: Wire, layers: Layers, data: bytes, now: float) -> None:
    """Bytes came, or none: a step of a handshake is done. The caller sees to it that ``Turn.finish`` or
    ``schedule`` follows.
    """
    while True:
        waited = layers.waiting
        why = ""
        is_visit = False
        plain = b""
        try:
            plain = layers.receive(data)
        except LayerError as error:
            why = str(error)
            is_visit = isinstance(error, Visit)
        if layers.address:
            if layers.address != wire.connection.address:
                crowd = turn.core.moved(wire.connection, layers.address, now)
                if crowd:
                    why = why or crowd
                    plain = b""
            wire.connection.certificate_name = layers.certificate_name
        said = layers.waiting - waited
        if said > 0:  # handshakes, pongs, alerts
            _push(turn, wire, said, now)
        if plain:
            turn.receive(wire, plain, now)
        if why:
            turn.refuse(wire, why, now, is_visit)
            return
        if not layers.has_more:
            break
        data = b""
    if layers.is_ended:
        wire.ended()
    elif layers.needs_work:
        handshakes.take(wire)
    elif layers.is_full:
        wire.hold()


def ping(turn: Turn, wire: Wire, now: float) -> None:
    """Send a ping, if the client can take one. What is being sent to it does as well."""
    layers = wire.layers
    if layers is None or not layers.is_open or layers.waiting or wire.connection.is_closed():
        return
    try:
        said = layers.ping()
        if said:
            _push(turn, wire, said, now)
    except Exception as error:
        turn.give_up(wire.connection, "sending a ping", error)


def _push(turn: Turn, wire: Wire, said: int, now: float) -> None:
    """Send what the layers have said, so many bytes."""
    before = wire.connection.written_unsent
    wire.said += said
    unsent = wire.push(said)
    turn.report(wire, before + said - unsent, unsent, now)
