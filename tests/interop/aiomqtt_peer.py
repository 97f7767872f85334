"""aiomqtt: paho's protocol under an asyncio face."""

import asyncio
from contextlib import suppress
from typing import Any

import aiomqtt

from curier import Message, Subscription
from tests.interop.loop import LoopThread
from tests.interop.paho_peer import (
    connect_properties,
    cut,
    from_paho,
    message_properties,
    subscribe_arguments,
    will_properties,
)
from tests.interop.peer import TIMEOUT, Connect, Peer, PeerClient


class AiomqttClient(PeerClient):
    """An ``aiomqtt.Client`` and the task that reads its messages."""

    client: aiomqtt.Client
    reader: asyncio.Task[None]

    def __init__(self, loop: LoopThread, wish: Connect) -> None:
        super().__init__()
        self.loop = loop
        self.version = wish.version
        self.is_gone = False
        loop.run(self._connect(wish))

    async def _connect(self, wish: Connect) -> None:
        is_5 = wish.version == 5
        will = None
        if wish.will is not None:
            of = wish.will.message
            will = aiomqtt.Will(
                of.topic, of.payload, of.qos, of.retain, will_properties(wish.will) if is_5 else None
            )
        options: dict[str, Any] = {"clean_session": wish.clean}
        if is_5:
            options = {"clean_start": wish.clean, "properties": connect_properties(wish)}
        self.client = aiomqtt.Client(
            "127.0.0.1",
            wish.port,
            identifier=wish.client_id,
            protocol=aiomqtt.ProtocolVersion(wish.version),
            keepalive=wish.keep_alive,
            will=will,
            timeout=TIMEOUT,
            transport="websockets" if wish.way.is_web else "tcp",
            websocket_path=wish.way.path,
            tls_context=wish.way.context(),
            **options,
        )
        self.client._client.on_log = self._on_log
        await self.client.__aenter__()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(aiomqtt.MqttError):  # the connection ended
            async for message in self.client.messages:
                self.received.put(from_paho(message, message.topic.value))

    def _on_log(self, _client: Any, _data: Any, _level: int, line: str) -> None:
        if line == "Received PINGRESP":
            self.pings.release()

    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        filters, properties = subscribe_arguments(subscriptions, self.version)
        codes: Any = self.loop.run(self.client.subscribe(filters, properties=properties))
        return [getattr(code, "value", code) for code in codes]

    def unsubscribe(self, topic_filter: str) -> None:
        self.loop.run(self.client.unsubscribe(topic_filter))

    def publish(self, *messages: Message) -> None:
        self.loop.run(self._publish(messages))

    async def _publish(self, messages: tuple[Message, ...]) -> None:
        for one in messages:
            properties = message_properties(one) if self.version == 5 else None
            await self.client.publish(one.topic, one.payload, one.qos, one.retain, properties)

    def disconnect(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            self.loop.run(self._leave())

    async def _leave(self) -> None:
        self.reader.cancel()
        with suppress(aiomqtt.MqttError):
            await self.client.__aexit__(None, None, None)
        await asyncio.wait([self.reader])

    def kill(self) -> None:
        self.is_gone = True
        self.loop.run(self._cut())

    async def _cut(self) -> None:
        cut(self.client._client)
        await asyncio.wait([self.reader])  # ends with the connection
        await self._leave()


class AiomqttPeer(Peer):
    def __init__(self) -> None:
        self.loop = LoopThread()

    def connect(self, wish: Connect) -> AiomqttClient:
        return AiomqttClient(self.loop, wish)

    def close(self) -> None:
        self.loop.close()
