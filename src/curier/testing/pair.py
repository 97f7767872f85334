"""A broker and clients joined in memory, for tests of what uses MQTT. See ``Pair``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curier.codec.constants import MQTT_50
from curier.codec.packets import Connect, Publish
from curier.codec.packets import Will as WillPacket
from curier.codec.properties import Properties
from curier.codec.publish import forwarded_properties
from curier.errors import ConnectionLost, Refused
from curier.protocol.events import (
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    MessageReceived,
    Published,
    SubscribeDone,
    UnsubscribeDone,
)
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.testing.network import Network, SimulatedClient
from curier.types import Message, QoS, Will


class Pair(Network):
    """A broker and its clients in memory. Nothing sleeps, time is virtual, there is no event loop.

        pair = Pair()
        client = pair.connect("me")
        client.subscribe("a/#", qos=1)
        client.publish("a/b", b"x", qos=2)
        pair.run(seconds=1)
        assert client.messages == [Message("a/b", b"x", QoS(1))]

    Calls that have an answer let the time pass until it is there. ``Pair`` takes what ``Network`` takes: a
    latency, the broker's options, a disk; without, bytes arrive at once and whole.
    """

    def connect(
        self,
        client_id: str = "me",
        *,
        version: int = MQTT_50,
        clean_start: bool = True,
        will: Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
        keep_alive: int = 60,
        manual_acks: bool = False,
        **properties: Any,
    ) -> PairClient:
        """A client, connected. ``properties`` are those of CONNECT, such as ``session_expiry_interval=300``.

        Raises ``Refused``, or ``ConnectionLost`` where the broker is down.
        """
        connect = Connect(
            version,
            client_id,
            clean_start,
            keep_alive,
            username,
            password,
            _will_packet(will),
            _properties(properties),
        )
        client = PairClient(self, client_id, version, manual_acks=manual_acks)
        client.connect(connect)
        return client


class Publication:
    """What became of a message that was published."""

    def __init__(self, client: PairClient, entry: Outgoing) -> None:
        self.client = client
        self.entry = entry

    @property
    def reason_code(self) -> int | None:
        """None until the message is acknowledged (QoS 0: sent) or refused."""
        outcome = self.client.outcomes.get(self.entry)
        return outcome.reason_code if outcome is not None else None

    @property
    def reason_string(self) -> str:
        """The Reason String that came with the Reason Code, or ""."""
        outcome = self.client.outcomes.get(self.entry)
        return outcome.reason_string if outcome is not None else ""


class PairClient(SimulatedClient):
    """A client of a ``Pair``. ``messages`` are all it has received, in order; clear the list as you like."""

    def __init__(self, network: Network, client_id: str, version: int, **settings: Any) -> None:
        super().__init__(network, client_id, version, **settings)
        self.messages: list[Message] = []
        self.received: list[Publish] = []  # the same, as packets: with DUP and Packet Identifier
        self.session_present = False  # as the last CONNACK said
        self.ending: ConnectRefused | Disconnected | None = None  # how the last connection ended
        self.outcomes: dict[Outgoing, Published] = {}
        self._connect: Connect | None = None
        self._answers: dict[int, SubscribeDone | UnsubscribeDone] = {}

    def connect(self, connect: Connect) -> None:
        """Open a connection and wait for its CONNACK."""
        self._connect = connect
        self.open(connect)
        self.ending = None  # whatever the last connection had
        self._wait(lambda: self.is_connected)

    def reconnect(self, clean_start: bool = False) -> bool:
        """Connect again, as before but for Clean Start; whether the broker still has the session."""
        last = self._connect
        assert last is not None
        self.connect(
            Connect(
                last.version,
                self.session.client_id,
                clean_start,
                last.keep_alive,
                last.username,
                last.password,
                last.will,
                last.properties,
            )
        )
        return self.session_present

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, **more: Any
    ) -> Publication:
        """Publish, without waiting; ``more`` as for ``Message``. Before a connection, it waits for one."""
        return self.send(Message(topic, payload, QoS(qos), retain, **more))

    def send(self, message: Message) -> Publication:
        """Publish ``message``, like ``publish``."""
        return Publication(self, self.begin_publish(_application_message(message, self.network.now)))

    def subscribe(
        self,
        topic_filter: str,
        qos: int = 0,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        identifier: int = 0,
    ) -> int:
        """Subscribe, and wait for the answer: the QoS granted. Raises ``Refused``."""
        options = qos | no_local << 2 | retain_as_published << 3 | retain_handling << 4
        answer = self._answer(self.begin_subscribe([(topic_filter, options)], identifier))
        if answer.reason_codes[0] >= 0x80:
            raise Refused(answer.reason_codes[0], answer.reason_string)
        return answer.reason_codes[0]

    def unsubscribe(self, topic_filter: str) -> bool:
        """Unsubscribe, and wait for the answer: was there such a subscription (before 5.0: always True)?"""
        return self._answer(self.begin_unsubscribe([topic_filter])).reason_codes[0] == 0

    def disconnect(self, with_will: bool = False) -> None:
        """Send DISCONNECT, close, and wait until the broker knows."""
        self.close(0x04 if with_will else 0x00)
        self.network.settle()

    def _answer(self, packet_id: int) -> SubscribeDone | UnsubscribeDone:
        self._wait(lambda: packet_id in self._answers)
        return self._answers.pop(packet_id)

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Let time pass until ``condition`` holds, or the connection ends, which raises an error."""
        self.network.run_until(lambda: self.ending is not None or condition())
        if isinstance(self.ending, ConnectRefused):
            raise Refused(self.ending.reason_code, self.ending.reason_string)
        if self.ending is not None:
            raise ConnectionLost(self.ending.why)

    def happened(self, event: Event) -> None:
        """Keep what came, by its kind."""
        if isinstance(event, MessageReceived):
            self.received.append(event.publish)
            self.messages.append(_message(event.publish))
        elif isinstance(event, Published):
            self.outcomes[event.entry] = event
        elif isinstance(event, (SubscribeDone, UnsubscribeDone)):
            self._answers[event.packet_id] = event
        elif isinstance(event, Connected):
            self.session_present = event.session_present
        elif isinstance(event, (ConnectRefused, Disconnected)):
            self.ending = event


def _properties(values: dict[str, Any]) -> Properties | None:
    if not values:
        return None
    properties = Properties()
    for name, value in values.items():
        if not hasattr(properties, name):
            raise TypeError(f"CONNECT has no property {name!r}")
        setattr(properties, name, value)
    return properties


def _message_properties(message: Message) -> Properties:
    properties = Properties()
    properties.payload_format_indicator = 1 if message.payload_is_text else None
    properties.content_type = message.content_type
    properties.response_topic = message.response_topic
    properties.correlation_data = message.correlation_data
    properties.user_properties = list(message.user_properties)
    return properties


def _application_message(message: Message, now: float) -> ApplicationMessage:
    """The core's form of a public ``Message``."""
    return ApplicationMessage(
        message.topic.encode(),
        message.payload,
        int(message.qos),
        message.retain,
        forwarded_properties(_message_properties(message)),
        NEVER if message.message_expiry is None else now + message.message_expiry,
    )


def _will_packet(will: Will | None) -> WillPacket | None:
    if will is None:
        return None
    message = will.message
    properties = _message_properties(message)
    properties.message_expiry_interval = message.message_expiry
    properties.will_delay_interval = will.delay or None
    return WillPacket(message.topic, message.payload, int(message.qos), message.retain, properties)


def _message(publish: Publish) -> Message:
    """The public ``Message`` for a PUBLISH that came."""
    properties = publish.properties if publish.properties is not None else Properties()
    return Message(
        publish.topic,
        publish.payload,
        QoS(publish.qos),
        publish.retain,
        payload_is_text=properties.payload_format_indicator == 1,
        message_expiry=properties.message_expiry_interval,
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        user_properties=tuple(properties.user_properties),
        subscription_identifiers=tuple(properties.subscription_identifiers),
    )
