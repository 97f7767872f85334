"""Webhooks: what happens in a broker, told to a program by HTTP in batches, signed, until it is taken.

Nobody in the broker waits for it. What waits for the other side is bounded; the oldest goes for what is
newer, and how many went so is told with the next batch. While nothing happens, nothing runs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from curier.auth.calls import CallFailed, Calls, is_private_call, shown
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.errors import ConfigError
from curier.loglines import logger
from curier.session.message import ApplicationMessage
from curier.topics.filters import check_topic_filter, matches

log = logger("curier.webhooks")

EVENTS: Final = ("connect", "disconnect", "refuse", "subscribe", "unsubscribe", "drop", "message")

MOST_WAITING: Final = 10_000  # events
MOST_BYTES: Final = 16 << 20  # of payloads that wait
MOST_IN_BATCH: Final = 200
MOST_BATCH_BYTES: Final = 1 << 20  # of payloads
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
MOST_LEVELS: Final = 65_536
SIGNATURE: Final = "X-Curier-Signature"


@dataclass(frozen=True)
class WebhookSettings:
    """``url`` is told of ``events``; of messages on topics that match one of ``topics``. With a ``secret``
    each batch is signed. ``timeout`` is in seconds, for one try. ``url`` is ``https://``, or on this machine,
    unless ``allow_plain`` says that others may read it on its way. Raises ``ConfigError``.
    """

    url: str
    events: tuple[str, ...] = ("connect", "disconnect")
    topics: tuple[str, ...] = ("#",)
    secret: str = field(default="", repr=False)
    timeout: float = 10.0
    ca_file: str | None = None
    allow_plain: bool = False

    def __post_init__(self) -> None:
        if not self.allow_plain and not is_private_call(self.url):
            raise ConfigError(
                f"{shown(self.url)}: others could read on the way what it is told: use https://, or, if that "
                "is meant, allow_plain = true"
            )
        for event in self.events:
            if event not in EVENTS:
                raise ConfigError(f"there is no event {event!r}; expected some of {', '.join(EVENTS)}")
        for topic in self.topics:
            why = check_topic_filter(topic.encode(), MOST_LEVELS)
            if why or topic.startswith("$share/"):
                raise ConfigError(f"topics: {topic!r}: {why or 'a Shared Subscription is for clients'}")


def webhook(settings: WebhookSettings, clock: Callable[[], float] = time.time) -> Webhook:
    """The hook for a broker. Only one that tells of messages takes part when they are published, which keeps
    all messages off the broker's fast way.
    """
    return (MessageWebhook if "message" in settings.events else Webhook)(settings, clock)


class Webhook(Hook):
    """Tells of everything but messages. ``clock`` gives seconds since 1970."""

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings: Final = settings
        self._events: Final = frozenset(settings.events)
        self._clock = clock
        self._calls = Calls(
            settings.url, timeout=settings.timeout, at_once=1, waiting=1, ca_file=settings.ca_file
        )
        self._waiting: deque[tuple[int, dict[str, object]]] = deque()
        self._bytes = 0
        self._lost = 0
        self._in_hand = 0  # events of the batch that is being told
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        self._of_client("connect", connection, session_present=session_present)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self._of_client("disconnect", connection, reason_code=reason_code, why=why)

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self._of_client("refuse", connection, reason_code=reason_code, why=why)

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        self._of_client("subscribe", connection, filter=_text(topic_filter), reason_code=reason_code)

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        self._of_client("unsubscribe", connection, filter=_text(topic_filter))

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        if "drop" in self._events:
            self._put("drop", 0, client_id=client_id, topic=_text(message.topic), why=why)

    def _of_client(self, event: str, connection: BrokerConnection, **more: object) -> None:
        if event in self._events:
            self._put(
                event,
                0,
                client_id=connection.client_id,
                user=connection.identity or "",
                address=connection.address,
                listener=connection.listener_name,
                **more,
            )

    def _put(self, event: str, size: int, **what: object) -> None:
        if self._is_closed:
            return
        self._waiting.append((size, {"event": event, "time": self._clock(), **what}))
        self._bytes += size
        while len(self._waiting) > MOST_WAITING or self._bytes > MOST_BYTES:
            self._bytes -= self._waiting.popleft()[0]
            self._lost += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_all())

    # ---- sending ----

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                lost, events = self._batch()
                sent = json.dumps({"id": secrets.token_hex(16), "lost": lost, "events": events}).encode()
                self._in_hand = len(events)
                await self._send(sent)
        finally:
            self._task = None

    def _batch(self) -> tuple[int, Sequence[dict[str, object]]]:
        """The events to go next, and how many were lost before them."""
        events: list[dict[str, object]] = []
        size = 0
        while self._waiting and len(events) < MOST_IN_BATCH and size <= MOST_BATCH_BYTES:
            bytes_, event = self._waiting.popleft()
            self._bytes -= bytes_
            size += bytes_
            events.append(event)
        lost, self._lost = self._lost, 0
        return lost, events

    async def _send(self, body: bytes) -> None:
        """Until it is taken: the same batch, with the same id."""
        pause = FIRST_PAUSE
        failed = ""
        while True:
            why = await self._try(body)
            if not why:
                if failed:
                    log.info("%s: takes what it is told again", shown(self.settings.url))
                return
            if why != failed:
                failed = why
                log.warning("%s: %s; it is told again until it takes it", shown(self.settings.url), why)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, body: bytes) -> str:
        """Why it was not taken, or ""."""
        headers = {"Content-Type": "application/json", "User-Agent": "curier"}
        if self.settings.secret:
            headers[SIGNATURE] = signature(self.settings.secret, body, int(self._clock()))
        try:
            answer = await self._calls.call("POST", headers, body)
        except CallFailed as error:
            return str(error)
        return "" if 200 <= answer.status < 300 else f"it has answered with {answer.status}"

    async def close(self, seconds: float) -> None:
        """Take nothing more, and have so many seconds for what waits; the log says how much is left then."""
        self._is_closed = True
        task = self._task
        if task is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(task)
        except TimeoutError:
            left = len(self._waiting) + self._in_hand
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            log.warning("%s: %d events were not told", shown(self.settings.url), left)


class MessageWebhook(Webhook):
    """Tells of messages, too."""

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        super().__init__(settings, clock)
        self._filters: Final = [topic.encode() for topic in settings.topics]

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        if any(matches(topic_filter, message.topic) for topic_filter in self._filters):
            self._put(
                "message",
                len(message.payload),
                client_id=connection.client_id if connection is not None else "",
                topic=_text(message.topic),
                qos=message.qos,
                retain=message.retain,
                payload=base64.b64encode(message.payload).decode(),
            )
        return 0


def signature(secret: str, body: bytes, now: int) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256, with the secret, of the seconds, a dot, and the body."""
    digest = hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"


def _text(topic: bytes) -> str:
    return topic.decode(errors="replace")
