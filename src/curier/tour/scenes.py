"""The scenes of the tour: each is a real run of a broker and two clients in virtual time, on a line with a
rule.

Nothing here says what comes out: ``play`` looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from curier.faults.line import Faults
from curier.frozen import dataclass
from curier.testing.pair import Pair
from curier.trace.events import Event, Packet
from curier.trace.flows import Publication
from curier.trace.joining import Joiner

GATEWAY: Final = "gateway"
DASH: Final = "dash"
TOPIC: Final = "room/temp"
PAYLOAD: Final = b"21.5"

LATENCY: Final = 0.01  # seconds a packet takes, each way
SILENCE: Final = 5.0  # how long nothing happens before the network fails, and how long it stays away


@dataclass(frozen=True, slots=True)
class Scene:
    """A message of this QoS on a line with this rule, "" for none. ``who`` loses the connection afterwards
    and comes back, "" for nobody. ``name`` is what texts of it go by.
    """

    name: str
    qos: int
    rule: str = ""
    who: str = ""


SCENES: Final = (
    Scene("qos0", 0),
    Scene("qos0-publish", 0, "lose 1st PUBLISH from gateway", GATEWAY),
    Scene("qos1", 1),
    Scene("qos1-publish", 1, "lose 1st PUBLISH from gateway", GATEWAY),
    Scene("qos1-puback", 1, "lose 1st PUBACK to gateway", GATEWAY),
    Scene("qos1-receiver", 1, "lose 1st PUBACK from dash", DASH),
    Scene("qos2", 2),
    Scene("qos2-publish", 2, "lose 1st PUBLISH from gateway", GATEWAY),
    Scene("qos2-pubrec", 2, "lose 1st PUBREC to gateway", GATEWAY),
    Scene("qos2-pubrel", 2, "lose 1st PUBREL from gateway", GATEWAY),
    Scene("qos2-pubcomp", 2, "lose 1st PUBCOMP to gateway", GATEWAY),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out: ``flows`` are the publications, to be drawn; ``sent`` is how often a PUBLISH left the
    publisher, ``received`` how often the subscriber's program got the message, ``is_known`` whether the
    publisher's program was told that it is taken. ``events`` are the recording.
    """

    flows: tuple[Publication, ...]
    sent: int
    received: int
    is_known: bool
    now: float
    events: Sequence[Event]


def play(scene: Scene) -> Outcome:
    """Run it."""
    pair = Pair(latency=LATENCY, faults=Faults(scene.rule) if scene.rule else None)
    events = pair.record_wires()
    dash = pair.connect(DASH, clean_start=False, session_expiry_interval=300)
    dash.subscribe(TOPIC, qos=2)
    gateway = pair.connect(GATEWAY, clean_start=False, session_expiry_interval=300)
    receipt = gateway.publish(TOPIC, PAYLOAD, qos=scene.qos)
    pair.run(SILENCE)
    for client in (gateway, dash):
        if client.client_id == scene.who:
            client.cut()
            pair.run(SILENCE)
            client.reconnect()
    pair.run(SILENCE)
    joiner = Joiner()
    for event in events:
        joiner.feed(event)
    flows = tuple(flow for flow in joiner.flows if isinstance(flow, Publication))
    sent = sum(
        isinstance(one, Packet) and one.wire.client_id == GATEWAY and one.to_server and one.data[0] >> 4 == 3
        for one in events
    )
    is_known = scene.qos > 0 and receipt.reason_code is not None
    return Outcome(flows, sent, len(dash.messages), is_known, pair.now, tuple(events))
