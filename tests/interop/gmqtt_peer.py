"""gmqtt: asyncio from the socket up; no MQTT 3.1, no WebSocket."""

import asyncio
from typing import Any

import gmqtt
from gmqtt.storage import PersistentStorage

from curier import Message, QoS, Subscription
from tests.interop.loop import LoopThread
from tests.interop.peer import Connect, Peer, PeerClient

NAMES = {
    "message_expiry_interval": "message_expiry",
    "content_type": "content_type",
    "response_topic": "response_topic",
    "correlation_data": "correlation_data",
}


def message_arguments(message: Message, version: int) -> dict[str, Any]:
    """Properties of a message, as keyword arguments; none before 5.0."""
    if version != 5:
        return {}
    found: dict[str, Any] = {"payload_format_id": 1} if message.payload_is_text else {}
    for theirs, ours in NAMES.items():
        value = getattr(message, ours)
        if value is not None:
            found[theirs] = value
    if message.user_properties:
        found["user_property"] = list(message.user_properties)
    return found


class GmqttClient(PeerClient):
    """A ``gmqtt.Client`` that does not reconnect."""

    client: gmqtt.Client
    is_connected = False

    def __init__(self, loop: LoopThread, wish: Connect) -> None:
        super().__init__()
        self.loop = loop
        self.version = wish.version
        self.storage = PersistentStorage()
        self.answers: dict[int, asyncio.Future[list[int]]] = {}
        loop.run(self._connect(wish))

    async def _connect(self, wish: Connect) -> None:
        options: dict[str, Any] = {}
        if wish.version == 5:
            options["session_expiry_interval"] = wish.expiry
            if wish.topic_alias_maximum:
                options["topic_alias_maximum"] = wish.topic_alias_maximum
        if wish.will is not None:
            will = wish.will.message
            more = message_arguments(will, wish.version)
            if wish.version == 5 and wish.will.delay:
                more["will_delay_interval"] = wish.will.delay
            options["will_message"] = gmqtt.Message(will.topic, will.payload, will.qos, will.retain, **more)
        self.client = gmqtt.Client(
            wish.client_id, clean_session=wish.clean, persistent_storage=self.storage, **options
        )
        self.client._package_handler._handle_pingresp_packet = self._on_pingresp
        self.client.on_message = self._on_message
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_unsubscribe = self._on_unsubscribe
        await self.client.connect(
            "127.0.0.1",
            wish.port,
            ssl=wish.way.context() or False,
            keepalive=wish.keep_alive,
            version=wish.version,
        )
        self.client._is_active = False  # or it would reconnect when the broker closes
        self.is_connected = True

    def _on_connect(self, _client: Any, flags: int, _code: int, _properties: Any) -> None:
        self.session_present = bool(flags)

    def _on_message(self, _client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        first = {name: values[0] for name, values in properties.items() if isinstance(values, list)}
        self.received.put(
            Message(
                topic,
                payload,
                QoS(qos),
                bool(properties["retain"]),
                payload_is_text=first.get("payload_format_id") == 1,
                user_properties=tuple(properties.get("user_property", ())),
                subscription_identifiers=tuple(properties.get("subscription_identifier", ())),
                **{ours: first.get(theirs) for theirs, ours in NAMES.items()},
            )
        )
        return 0

    def _on_pingresp(self, _command: int, _packet: bytes) -> None:
        self.pings.release()

    def _on_subscribe(self, _client: Any, mid: int, codes: Any, _properties: Any) -> None:
        self.answers[mid].set_result(list(codes))

    def _on_unsubscribe(self, _client: Any, mid: int, _codes: Any) -> None:
        self.answers[mid].set_result([])

    async def _answer(self, mid: int) -> list[int]:
        """The answer to a packet that was just sent; it cannot be there before this is awaited."""
        self.answers[mid] = asyncio.get_running_loop().create_future()
        return await self.answers[mid]

    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        return self.loop.run(self._subscribe(subscriptions))

    async def _subscribe(self, subscriptions: tuple[Subscription, ...]) -> list[int]:
        identifier = subscriptions[0].identifier
        options = {"subscription_identifier": identifier} if identifier is not None else {}
        theirs = [
            gmqtt.Subscription(
                one.topic_filter, one.qos, one.no_local, one.retain_as_published, one.retain_handling
            )
            for one in subscriptions
        ]
        return await self._answer(self.client.subscribe(theirs, **options))

    def unsubscribe(self, topic_filter: str) -> None:
        self.loop.run(self._unsubscribe(topic_filter))

    async def _unsubscribe(self, topic_filter: str) -> None:
        await self._answer(self.client.unsubscribe(topic_filter))

    def publish(self, *messages: Message) -> None:
        self.loop.run(self._publish(messages))

    async def _publish(self, messages: tuple[Message, ...]) -> None:
        for one in messages:
            arguments = message_arguments(one, self.version)
            self.client.publish(one.topic, one.payload, int(one.qos), one.retain, **arguments)
        await self.storage.wait_empty()

    def disconnect(self) -> None:
        if self.is_connected:
            self.is_connected = False
            self.loop.run(self.client.disconnect())

    def kill(self) -> None:
        self.is_connected = False
        self.loop.run(self._cut())

    async def _cut(self) -> None:
        self.client._connection._transport.abort()
        await self.client._connection.close()


class GmqttPeer(Peer):
    def __init__(self) -> None:
        self.loop = LoopThread()

    def connect(self, wish: Connect) -> GmqttClient:
        return GmqttClient(self.loop, wish)

    def close(self) -> None:
        self.loop.close()
