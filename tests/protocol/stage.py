"""A stage for one client's connection: the test plays the server, packet by packet, and owns the clock."""

from __future__ import annotations

from typing import Any, TypeVar

from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Disconnect, Packet, Publish
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.protocol.client import ClientConnection
from curier.protocol.connection import CLOSED
from curier.protocol.events import Connected, Disconnected, Event
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.session import Session

E = TypeVar("E", bound=Event)


def properties(**values: Any) -> Properties:
    """Properties with these values."""
    made = Properties()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def message(
    topic: str = "a/b",
    payload: bytes = b"x",
    qos: int = 0,
    retain: bool = False,
    encoded: bytes = b"",
    expires_at: float = 0.0,
) -> ApplicationMessage:
    """A message to publish; `encoded` are its Properties."""
    return ApplicationMessage(topic.encode(), payload, qos, retain, encoded, expires_at)


def without_dup(publish: Packet) -> Publish:
    """The same PUBLISH as it was sent first."""
    assert isinstance(publish, Publish)
    return Publish(
        publish.topic,
        publish.payload,
        publish.qos,
        False,
        publish.retain,
        publish.packet_id,
        publish.properties,
    )


class Stage:
    """One `ClientConnection`; what it sends and tells is taken with `sent` and `events`."""

    def __init__(self, version: int = MQTT_50, session: Session | None = None, **settings: Any) -> None:
        self.now = 1000.0
        self.version = version
        self.session = session if session is not None else Session("")
        self.client = ClientConnection(self.session, **settings)

    @classmethod
    def connected(
        cls,
        version: int = MQTT_50,
        session: Session | None = None,
        connack: Properties | None = None,
        session_present: bool = False,
        clean_start: bool = True,
        keep_alive: int = 0,
        asked: Properties | None = None,
        **settings: Any,
    ) -> Stage:
        """A stage whose client has its CONNACK; events and packets of that are taken already."""
        stage = cls(version, session, **settings)
        stage.connect(clean_start, keep_alive, asked)
        stage.serve(Connack(session_present, 0, connack))
        stage.event(Connected)
        return stage

    def connect(self, clean_start: bool = True, keep_alive: int = 0, asked: Properties | None = None) -> None:
        self.client.connect(
            Connect(self.version, "me", clean_start, keep_alive, None, None, None, asked), self.now
        )
        (packet,) = self.sent()
        assert isinstance(packet, Connect)

    def again(
        self, connack: Properties | None = None, session_present: bool = True, **settings: Any
    ) -> Stage:
        """The network is cut; a stage with the next connection of the same session, which has its CONNACK.

        What that connection sends, and tells besides `Connected`, is left to be taken.
        """
        self.client.detach(self.now)
        stage = Stage(self.version, self.session, **settings)
        stage.now = self.now
        expiry = properties(session_expiry_interval=300) if self.version == MQTT_50 else None
        stage.connect(False, 0, expiry)
        stage.serve(Connack(session_present and self.version != 3, 0, connack))
        return stage

    def serve(self, *packets: Packet | bytes) -> None:
        """The server sends these packets, in one piece."""
        self.client.receive(
            b"".join(p if isinstance(p, bytes) else encode(p, self.version) for p in packets), self.now
        )

    def sent(self) -> list[Packet]:
        """Every packet the client has sent since this was asked last."""
        data = self.client.take_output()
        packets = []
        pos = 0
        while pos < len(data):
            end = packet_end(data, pos)
            packets.append(decode(data, pos, end, self.version))
            pos = end
        return packets

    def events(self) -> list[Event]:
        return self.client.take_events()

    def event(self, kind: type[E]) -> E:
        """The one event there is, which is of this kind."""
        (event,) = self.events()
        assert isinstance(event, kind), event
        return event

    def publish(self, qos: int, payload: bytes = b"x", topic: str = "a/b", **more: Any) -> Outgoing:
        return self.client.publish(message(topic, payload, qos, **more), self.now)

    def wait(self, seconds: float) -> None:
        """Time passes; what is due on the way is done when it is due."""
        until = self.now + seconds
        while self.client.next_deadline() <= until:
            self.now = self.client.next_deadline()
            self.client.deadline_reached(self.now)
        self.now = until

    @property
    def is_closed(self) -> bool:
        return self.client.state == CLOSED


def publishes(packets: list[Packet]) -> list[tuple[int, bytes, bool]]:
    """Packet Identifier, payload and DUP of each PUBLISH; there is nothing else."""
    found = []
    for packet in packets:
        assert isinstance(packet, Publish), packet
        found.append((packet.packet_id, packet.payload, packet.dup))
    return found


def reason(stage: Stage) -> str:
    """Why the connection is over, as its last event says."""
    last = stage.events()[-1]
    assert isinstance(last, Disconnected)
    assert stage.is_closed
    return last.why


def refusal(stage: Stage, reason_code: int, statement: str) -> None:
    """The server has broken a rule: the client says so in 5.0, and closes."""
    packets = stage.sent()
    event = stage.events()[-1]
    assert isinstance(event, Disconnected)
    assert not event.by_server
    assert event.reason_code == reason_code
    assert statement in event.why
    assert stage.is_closed
    if stage.version == 5:
        said = packets[-1]
        assert isinstance(said, Disconnect)
        assert said.reason_code == reason_code
        assert said.properties is not None
        assert said.properties.reason_string == event.why
    else:
        assert packets == []
