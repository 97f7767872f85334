"""paho-mqtt: one thread for each client."""

import os
import queue
import socket
import threading
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from curier import Message, QoS, Subscription, Will
from tests.interop.peer import TIMEOUT, Connect, Peer, PeerClient


def new_properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


def message_properties(message: Message, packet_type: int = PacketTypes.PUBLISH) -> Properties:
    """The 5.0 Properties of a message, as paho wants them."""
    properties = new_properties(packet_type)
    if message.payload_is_text:
        properties.PayloadFormatIndicator = 1
    if message.message_expiry is not None:
        properties.MessageExpiryInterval = message.message_expiry
    if message.content_type is not None:
        properties.ContentType = message.content_type
    if message.response_topic is not None:
        properties.ResponseTopic = message.response_topic
    if message.correlation_data is not None:
        properties.CorrelationData = message.correlation_data
    if message.user_properties:
        properties.UserProperty = list(message.user_properties)
    return properties


def will_properties(will: Will) -> Properties:
    properties = message_properties(will.message, PacketTypes.WILLMESSAGE)
    if will.delay:
        properties.WillDelayInterval = will.delay
    return properties


def connect_properties(wish: Connect) -> Properties:
    properties = new_properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = wish.expiry
    if wish.topic_alias_maximum:
        properties.TopicAliasMaximum = wish.topic_alias_maximum
    return properties


def subscribe_arguments(
    subscriptions: Sequence[Subscription], version: int
) -> tuple[list[tuple[str, Any]], Properties | None]:
    """Filters with their options, and the Properties of SUBSCRIBE."""
    if version != paho.MQTTv5:
        return [(one.topic_filter, int(one.qos)) for one in subscriptions], None
    properties = new_properties(PacketTypes.SUBSCRIBE)
    for one in subscriptions:
        if one.identifier is not None:
            properties.SubscriptionIdentifier = one.identifier
    return [
        (
            one.topic_filter,
            SubscribeOptions(one.qos, one.no_local, one.retain_as_published, one.retain_handling),
        )
        for one in subscriptions
    ], properties


def from_paho(message: Any, topic: str) -> Message:
    """What paho received, as a ``Message``. aiomqtt's messages have the same attributes."""
    get = message.properties.__dict__.get if message.properties is not None else {}.get
    return Message(
        topic,
        bytes(message.payload),
        QoS(message.qos),
        bool(message.retain),
        payload_is_text=get("PayloadFormatIndicator") == 1,
        message_expiry=get("MessageExpiryInterval"),
        content_type=get("ContentType"),
        response_topic=get("ResponseTopic"),
        correlation_data=get("CorrelationData"),
        user_properties=tuple(get("UserProperty", ())),
        subscription_identifiers=tuple(get("SubscriptionIdentifier", ())),
    )


def cut(client: paho.Client) -> None:
    """End the Network Connection without a word of TLS, WebSocket or MQTT."""
    found: Any = client.socket()  # what it has of TLS and WebSocket knows no shutdown
    with socket.socket(fileno=os.dup(found.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


class PahoClient(PeerClient):
    """A ``paho.mqtt.client.Client`` with its own network thread."""

    def __init__(self, wish: Connect) -> None:
        super().__init__()
        self.version = wish.version
        self.answered = threading.Condition()
        self.granted: dict[int, list[int]] = {}
        self.aliased = 0
        """How many messages came with a Topic Alias in place of their topic."""
        self.topics: dict[int, str] = {}
        self.left: queue.Queue[int] = queue.Queue()
        """The Reason Code that the connection ended with, as paho sees it."""
        is_5 = wish.version == paho.MQTTv5
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=wish.client_id,
            clean_session=None if is_5 else wish.clean,
            protocol=MQTTProtocolVersion(wish.version),
            reconnect_on_failure=False,
            transport="websockets" if wish.way.is_web else "tcp",
        )
        self.client.ws_set_options(wish.way.path)
        if wish.way.is_secure:
            self.client.tls_set_context(wish.way.context())
        self.is_answered = threading.Event()
        self.refused: list[str] = []

        def on_connect(_client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                self.refused.append(str(reason))
            self.session_present = None if wish.version == paho.MQTTv31 else bool(flags.session_present)
            self.is_answered.set()

        self.client.on_connect = on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.client.on_subscribe = self._on_subscribe
        self.client.on_unsubscribe = self._on_unsubscribe
        self.client.on_log = self._on_log
        if wish.will is not None:
            will = wish.will.message
            self.client.will_set(
                will.topic, will.payload, will.qos, will.retain, will_properties(wish.will) if is_5 else None
            )
        self.client.connect(
            "127.0.0.1",
            wish.port,
            wish.keep_alive,
            clean_start=wish.clean if is_5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=connect_properties(wish) if is_5 else None,
        )
        self.client.loop_start()
        assert self.is_answered.wait(TIMEOUT), "no CONNACK"
        assert not self.refused, self.refused[0]

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.left.put(reason.value)
        self.refused.append(str(reason))
        self.is_answered.set()

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        topic = message.topic
        alias: int = getattr(message.properties, "TopicAlias", 0)
        if alias and topic:
            self.topics[alias] = topic
        elif alias:
            self.aliased += 1
            topic = self.topics[alias]
        self.received.put(from_paho(message, topic))

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, codes: Any, _properties: Any) -> None:
        with self.answered:
            self.granted[mid] = [code.value for code in codes]
            self.answered.notify_all()

    def _on_unsubscribe(self, _client: Any, _data: Any, mid: int, _codes: Any, _properties: Any) -> None:
        with self.answered:
            self.granted[mid] = []
            self.answered.notify_all()

    def _on_log(self, _client: Any, _data: Any, _level: int, line: str) -> None:
        if line == "Received PINGRESP":
            self.pings.release()

    def _answer(self, result: tuple[Any, int | None]) -> list[int]:
        mid = result[1]
        assert mid is not None, result
        with self.answered:
            assert self.answered.wait_for(lambda: mid in self.granted, TIMEOUT), "no SUBACK or UNSUBACK"
            return self.granted.pop(mid)

    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        filters, properties = subscribe_arguments(subscriptions, self.version)
        return self._answer(self.client.subscribe(filters, properties=properties))

    def unsubscribe(self, topic_filter: str) -> None:
        self._answer(self.client.unsubscribe(topic_filter))

    def publish(self, *messages: Message) -> None:
        infos = [
            self.client.publish(
                one.topic,
                one.payload,
                one.qos,
                one.retain,
                message_properties(one) if self.version == paho.MQTTv5 else None,
            )
            for one in messages
        ]
        for info in infos:
            info.wait_for_publish(TIMEOUT)
            assert info.is_published(), "not acknowledged"

    def publish_aliased(self, alias: int, message: Message) -> None:
        """Publish with a Topic Alias; the Topic Name may be empty where the alias is known."""
        properties = message_properties(message)
        properties.TopicAlias = alias
        info = self.client.publish(message.topic, message.payload, message.qos, properties=properties)
        info.wait_for_publish(TIMEOUT)
        assert info.is_published(), "not acknowledged"

    def disconnect(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def kill(self) -> None:
        cut(self.client)
        self.client.loop_stop()


class PahoPeer(Peer):
    def connect(self, wish: Connect) -> PahoClient:
        return PahoClient(wish)

    def close(self) -> None:
        """They share nothing."""
