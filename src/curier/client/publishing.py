"""The publishing half of the client's face: messages in, receipts out."""

from __future__ import annotations

import asyncio
from asyncio.events import _get_running_loop as running_loop  # which costs a tenth of what asking loudly does
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Final, NoReturn

from curier.client.arguments import check_expiry, check_window
from curier.client.outbox import (
    SENT,
    SUCCESS,
    Outbox,
    PublishResult,
    Receipt,
    Window,
    application_message,
    encode_message_properties,
)
from curier.errors import MqttError
from curier.session.message import NEVER, ApplicationMessage
from curier.types import Message, Payload

BURST: Final = 100
"""QoS 0 messages after which ``publish`` lets others run, and the network take them."""

FORKED: Final = "this client belongs to the process that this one is a fork of: make a new one here"

NOWHERE: Final = object()
"""The event loop of a client that is not connected: no loop is this one."""


class Publisher:
    """Publishes by an outbox, once there is one: when the client is connected."""

    _clock: Callable[[], float]
    _outbox: Outbox

    def __init__(self) -> None:
        self._loop: object = NOWHERE
        self._is_forked = False
        self._burst = 0

    async def publish(
        self,
        topic: str,
        payload: Payload = b"",
        *,
        qos: int = 0,
        retain: bool = False,
        message_expiry: int | None = None,
        content_type: str | None = None,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        payload_is_text: bool = False,
    ) -> PublishResult:
        """Publish, and return when the flow is complete: PUBACK for QoS 1, PUBCOMP for QoS 2; for QoS 0, when
        it is given to the network.

        Where as many messages wait as may, this waits for room. ``message_expiry`` is in seconds. Before 5.0
        there are no Properties, they are left out. Raises ``PublishRefused``; ``ConnectionLost`` where there
        is no connection and ``offline="raise"``;
        ``LocalProtocolError`` or ``TypeError`` for what is no message; ``StoreError`` where a session on disk
        cannot keep it; and what has ended the client. Cancelling stops the waiting, not the delivery.
        """
        if running_loop() is not self._loop:
            self._elsewhere()
        outbox = self._outbox
        properties = b""
        if content_type or response_topic or correlation_data or user_properties or payload_is_text:
            properties = encode_message_properties(
                content_type, response_topic, correlation_data, user_properties, payload_is_text
            )
        expires_at = NEVER if message_expiry is None else self._expires_at(message_expiry)
        message = application_message(topic, payload, qos, retain, properties, expires_at)
        if not outbox.is_free():
            await outbox.room(message)
        entry = outbox.send(message)
        if entry is None:
            self._burst += 1
            if self._burst >= BURST:
                self._burst = 0
                await asyncio.sleep(0)
            return SUCCESS
        receipt = outbox.waiters[entry] = Receipt()
        return await receipt

    def publish_nowait(
        self,
        topic: str,
        payload: Payload = b"",
        *,
        qos: int = 0,
        retain: bool = False,
        message_expiry: int | None = None,
        content_type: str | None = None,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        payload_is_text: bool = False,
    ) -> Receipt:
        """Accept a message and return at once. The ``Receipt`` can be awaited, or left alone.

        Raises ``QueueFull`` where no more may wait, ``ConnectionLost`` where ``offline="raise"`` and there is
        no connection, ``PublishRefused`` for more than the server takes, and what ``publish`` raises.
        """
        if running_loop() is not self._loop:
            self._elsewhere()
        outbox = self._outbox
        properties = b""
        if content_type or response_topic or correlation_data or user_properties or payload_is_text:
            properties = encode_message_properties(
                content_type, response_topic, correlation_data, user_properties, payload_is_text
            )
        expires_at = NEVER if message_expiry is None else self._expires_at(message_expiry)
        entry = outbox.send(application_message(topic, payload, qos, retain, properties, expires_at))
        if entry is None:
            return SENT
        receipt = outbox.waiters[entry] = Receipt(None, outbox, entry)
        return receipt

    async def publish_many(
        self,
        source: Iterable[Message | tuple[str, Payload]] | AsyncIterable[Message | tuple[str, Payload]],
        *,
        qos: int = 0,
        retain: bool = False,
        window: int = 100,
    ) -> int:
        """Publish all of ``source`` with at most ``window`` unfinished at a time; how many there were.

        ``qos`` and ``retain`` are those of the pairs of topic and payload; a ``Message`` has its own. Raises
        the first ``PublishRefused``, and takes no more from the source then; ``ConfigError`` for a window
        below 1. Cancelling it leaves what was taken from the source to be delivered.
        """
        if running_loop() is not self._loop:
            self._elsewhere()
        unfinished = Window(check_window(window))
        count = 0
        if isinstance(source, AsyncIterable):
            async for item in source:
                count += await self.publish_within(unfinished, (item,), qos, retain)
        else:
            count = await self.publish_within(unfinished, source, qos, retain)
        await unfinished.fewer_than(1)
        return count

    async def publish_within(
        self, window: Window, source: Iterable[Message | tuple[str, Payload]], qos: int, retain: bool
    ) -> int:
        """Publish these, as there is room in the window, and return how many when the last is accepted."""
        if running_loop() is not self._loop:
            self._elsewhere()
        outbox = self._outbox
        waiters = outbox.waiters
        count = 0
        for item in source:
            message = self.message_of(item, qos, retain)
            if window.unfinished >= window.size or window.error is not None:
                await window.fewer_than(window.size)
            if not outbox.is_free():
                await outbox.room(message)
            entry = outbox.send(message, True)
            count += 1
            if entry is not None:
                waiters[entry] = window
                window.unfinished += 1
                continue
            self._burst += 1
            if self._burst >= BURST:
                self._burst = 0
                await asyncio.sleep(0)
        return count

    def message_of(self, item: Message | tuple[str, Payload], qos: int, retain: bool) -> ApplicationMessage:
        """One of many, as the core has it."""
        if isinstance(item, Message):
            return self._from_message(item)
        try:
            topic, payload = item
        except (TypeError, ValueError):
            why = f"a pair of topic and payload, or a curier.Message, not {type(item).__name__}"
            raise TypeError(f"each item of publish_many is {why}") from None
        return application_message(topic, payload, qos, retain)

    def outbox(self) -> Outbox | None:
        """What accepts messages, where the client is connected, or was."""
        return None if self._is_forked or self._loop is NOWHERE else self._outbox

    def _from_message(self, message: Message) -> ApplicationMessage:
        properties = encode_message_properties(
            message.content_type,
            message.response_topic,
            message.correlation_data,
            message.user_properties,
            message.payload_is_text,
        )
        expiry = message.message_expiry
        expires_at = NEVER if expiry is None else self._expires_at(expiry)
        return application_message(
            message.topic, message.payload, message.qos, message.retain, properties, expires_at
        )

    def _expires_at(self, message_expiry: float) -> float:
        return self._clock() + check_expiry(message_expiry)

    def _elsewhere(self) -> NoReturn:
        """Say why the client cannot be used here, where its event loop is not the one that runs."""
        if self._is_forked:
            raise MqttError(FORKED)
        if self._loop is NOWHERE:
            raise MqttError(
                "the client is not connected yet: use it within `async with`, or behind connect()"
            )
        where = "where no event loop runs" if running_loop() is None else "in another event loop"
        raise MqttError(
            f"the client is called {where}, but it belongs to the one it was connected in: hand the call "
            "over with asyncio.run_coroutine_threadsafe, or use connect_sync"
        )
