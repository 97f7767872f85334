"""Request and response (5.0 section 4.10): one Response Topic for each client, told apart by Correlation
Data.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Self

from curier.client.outbox import PublishResult
from curier.client.publishing import Publisher
from curier.client.received import Delivery, ReceivedMessage
from curier.client.streams import Stream
from curier.client.subscriptions import Subscriptions
from curier.codec.constants import PROTOCOL_ERROR
from curier.codec.packets import Publish
from curier.errors import LocalProtocolError, MqttError, PublishRefused
from curier.types import Payload, QoS, ReasonCode, Subscription


class Replies(Stream):
    """A stream that is its own reader: it hands each response to the request it answers."""

    def __init__(self, subscriptions: Subscriptions, topic: str) -> None:
        super().__init__(subscriptions, (Subscription(topic, QoS.AT_LEAST_ONCE),))
        self.topic = topic
        self.requests: dict[bytes | None, asyncio.Future[ReceivedMessage]] = {}

    def put(self, packet: Publish, delivery: Delivery | None) -> None:
        message = ReceivedMessage(packet, delivery)
        message.ack()
        future = self.requests.get(message.correlation_data)
        if future is not None and not future.done():  # else it comes too late, or is no answer to anything
            future.set_result(message)

    def end(self, error: MqttError | None) -> None:
        super().end(error)
        for future in self.requests.values():
            if error is not None and not future.done():
                future.set_exception(error)


class Requester:
    """The requests of one client. It subscribes when the first is made."""

    def __init__(self, client: Publisher, subscriptions: Subscriptions, prefix: str) -> None:
        self._client = client
        self._subscriptions = subscriptions
        self._topic = f"{prefix}/{os.urandom(12).hex()}"  # which nobody can guess
        self._replies: Replies | None = None
        self._last = 0

    async def request(self, topic: str, payload: Payload, timeout: float, **more: Any) -> ReceivedMessage:
        """See ``Client.request``."""
        async with asyncio.timeout(None if timeout == math.inf else timeout):
            replies = self._replies
            if replies is None or replies.is_closed:
                replies = self._replies = Replies(self._subscriptions, self._topic)
            if not replies.is_open:
                await replies.open()
            self._last += 1
            correlation_data = self._last.to_bytes(8, "big")
            future: asyncio.Future[ReceivedMessage] = asyncio.get_running_loop().create_future()
            replies.requests[correlation_data] = future
            try:
                result = await self._client.publish(
                    topic, payload, response_topic=replies.topic, correlation_data=correlation_data, **more
                )
                if result.reason_code == ReasonCode.NO_MATCHING_SUBSCRIBERS and not future.done():
                    raise PublishRefused(result.reason_code, f"nobody subscribes to {topic}")
                return await future
            finally:
                del replies.requests[correlation_data]


class Request:
    """A request that was received: ``message``, and a way to answer it."""

    __slots__ = ("_client", "message")

    def __init__(self, client: Publisher, message: ReceivedMessage) -> None:
        self._client = client
        self.message = message

    @property
    def topic(self) -> str:
        """The Topic Name it came by."""
        return self.message.topic

    @property
    def payload(self) -> bytes:
        """What is asked."""
        return self.message.payload

    async def reply(
        self,
        payload: Payload = b"",
        *,
        qos: int | None = None,
        retain: bool = False,
        message_expiry: int | None = None,
        content_type: str | None = None,
        response_topic: str | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        payload_is_text: bool = False,
    ) -> PublishResult:
        """Publish the response to the Response Topic, with the Correlation Data of the request.

        Without ``qos`` at that of the request; the rest as for ``Client.publish``. Raises
        ``LocalProtocolError`` where the request has no Response Topic, and what ``publish`` raises.
        """
        topic = self.message.response_topic
        if topic is None:
            raise LocalProtocolError(PROTOCOL_ERROR, f"the request to {self.topic} has no Response Topic")
        return await self._client.publish(
            topic,
            payload,
            qos=self.message.qos if qos is None else qos,
            retain=retain,
            message_expiry=message_expiry,
            content_type=content_type,
            response_topic=response_topic,
            correlation_data=self.message.correlation_data,
            user_properties=user_properties,
            payload_is_text=payload_is_text,
        )


class Service:
    """The requests of one ``Client.serve``: a context manager and an async iterator."""

    def __init__(self, client: Publisher, stream: Stream) -> None:
        self._client = client
        self.stream = stream

    def __await__(self) -> Generator[Any, None, Self]:
        """``await client.serve(...)`` subscribes; ``await service.stream.close()`` ends it."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        await self.stream.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stream.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Request:
        return self.request(await self.stream.__anext__())

    async def get(self, timeout: float | None = None) -> Request:
        """The next request; as ``Stream.get``."""
        return self.request(await self.stream.get(timeout))

    def request(self, message: ReceivedMessage) -> Request:
        """``message``, as what it is."""
        return Request(self._client, message)
