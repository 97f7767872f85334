"""The client: publish, subscribe, request and serve, over as many Network Connections as it takes.

async with curier.connect("mqtt://localhost", client_id="gw") as client:
    await client.publish("a", b"x", qos=1)
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

from curier.client.events import Event
from curier.client.outbox import PublishResult, Receipt
from curier.client.requests import Service
from curier.client.settings import Acknowledge, ClientSettings, Overflow
from curier.client.streams import ReceivedMessage, Stream
from curier.types import Message, RetainHandling, Subscription

Payload = bytes | bytearray | memoryview | str | None
"""What can be published; text is sent as UTF-8, None as no bytes at all."""


class Client:
    """One client. Use it as an async context manager; made by ``connect``.

    Leaving the context waits up to ``linger`` seconds for what is published and not complete (not where the
    body raised), sends DISCONNECT and ends every task. Everything that waits when the client fails for good
    raises the one error that ended it. All methods belong to the event loop the client was entered in.
    """

    def __init__(self, settings: ClientSettings) -> None:
        settings.check()
        self.settings = settings

    async def __aenter__(self) -> Self:
        """Connect. Raises ``ConnectRefused`` or ``ConnectionLost`` unless ``retry_first_connect``."""
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    # ---- publishing ----

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

        Raises ``PublishRefused``; ``QueueFull``, or waits, as ``offline`` has it; ``LocalProtocolError`` for
        what is no message. Cancelling stops the waiting, not the delivery.
        """
        raise NotImplementedError

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
        no connection, ``PublishRefused`` for more than the server takes.
        """
        raise NotImplementedError

    async def publish_many(
        self,
        source: Iterable[Message | tuple[str, Payload]] | AsyncIterable[Message | tuple[str, Payload]],
        *,
        qos: int = 0,
        retain: bool = False,
        window: int = 100,
    ) -> int:
        """Publish all of ``source`` with at most ``window`` unfinished at a time; how many there were.

        ``qos`` and ``retain`` are those of the pairs of topic and payload; a ``Message`` has its own. Raises the
        first ``PublishRefused``, and takes no more from the source then.
        """
        raise NotImplementedError

    # ---- subscribing ----

    def subscribe(
        self,
        *filters: str | Subscription,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: RetainHandling = RetainHandling.SEND,
        buffer: int = 1000,
        overflow: Overflow = "drop_oldest",
        ack: Acknowledge = "auto",
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> Stream:
        """A stream of the messages that match; a context manager, which subscribes, and an async iterator.

        ``qos`` and the options are those of the filters given as text. Of messages with QoS 0, ``buffer`` wait at
        most, then ``overflow`` says which is dropped, and they are counted. Messages with QoS 1 and 2 are never
        dropped: they are acknowledged when they are taken (``ack="manual"``: by ``message.ack()``), so that the
        server stops sending at ``receive_maximum``.
        """
        raise NotImplementedError

    # ---- request and response ----

    async def request(
        self,
        topic: str,
        payload: Payload = b"",
        *,
        timeout: float,
        qos: int = 1,
        content_type: str | None = None,
        message_expiry: int | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> ReceivedMessage:
        """Publish with a Response Topic and return the response (5.0 section 4.10).

        Raises ``TimeoutError`` after ``timeout`` seconds, ``PublishRefused``, and ``LocalProtocolError`` before
        5.0, which has no Response Topic.
        """
        raise NotImplementedError

    def serve(self, *filters: str, qos: int = 1, buffer: int = 1000) -> Service:
        """A stream of requests, used like that of ``subscribe``; answer each with ``await request.reply(...)``."""
        raise NotImplementedError

    # ---- what is going on ----

    def events(self) -> AsyncIterator[Event]:
        """What happens from now on; ends when the client does. Each reader has its own; a reader that lags
        more than 100 events behind loses the oldest.
        """
        raise NotImplementedError

    @property
    def is_connected(self) -> bool:
        """Is there a connection with a CONNACK?"""
        raise NotImplementedError

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the server assigned it."""
        raise NotImplementedError

    async def reauthenticate(self) -> None:
        """Authenticate anew (5.0 section 4.12.1). Raises ``ConnectionLost`` where the server does not accept."""
        raise NotImplementedError

    async def disconnect(self, reason_code: int = 0, session_expiry: int | None = None) -> None:
        """End the connection and the client: DISCONNECT with this Reason Code; 0x04 has the will published."""
        raise NotImplementedError
