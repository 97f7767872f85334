"""What happens in a broker, as it happens: one stream of server-sent events for each page.

Nobody waits for a reader. Each has a ring of what it has not been sent yet; what no longer fits is counted,
and told to it as ``missed``. Nothing is kept of the past: who comes, or comes again, is told how the broker
is now. While nobody reads, an event costs the broker one comparison.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec
from msgspec import Struct

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.session.message import ApplicationMessage

OVERVIEW: Final = "overview"
CONNECTS: Final = "connects"
DROPS: Final = "drops"
LOG: Final = "log"
TOPICS: Final = (OVERVIEW, CONNECTS, DROPS, LOG)

MOST_READERS: Final = 100
MOST_WAITING: Final = 500
"""Events of one reader; the oldest goes for one more."""

PAUSE_SECONDS: Final = 0.1
"""Between two writes to one reader: what happens in between goes together."""

HEARTBEAT_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 3600.0
"""A stream; then its reader comes again, and says who it is."""

MOST_KINDS: Final = 200
"""Of drops told apart in one second, by client, topic and reason."""


class Connect(Struct):
    """A client has come, has gone, or was not let in."""

    time: float
    what: str
    """``connected``, ``disconnected``, ``refused``."""
    client_id: str
    address: str
    listener: str
    reason_code: int = 0
    why: str = ""


class DropRow(Struct):
    """So many messages on a topic did not reach a client, and why."""

    client_id: str
    topic: str
    why: str
    count: int


class Drops(Struct):
    """What was dropped in about a second. ``others`` are those of which there were too many kinds to tell."""

    time: float
    drops: list[DropRow]
    others: int


class LogLine(Struct):
    """A line of the log."""

    time: float
    level: str
    logger: str
    text: str


class Missed(Struct):
    """So many events did not fit, and are gone."""

    count: int


class Event:
    """One event; it is encoded once, whoever reads it."""

    __slots__ = ("_encoded", "data", "name")

    def __init__(self, name: str, data: Struct) -> None:
        self.name = name
        self.data = data
        self._encoded = b""

    def encoded(self) -> bytes:
        """As the stream has it."""
        if not self._encoded:
            self._encoded = b"event: %s\ndata: %s\n\n" % (self.name.encode(), msgspec.json.encode(self.data))
        return self._encoded


class Reader:
    """What one page has not been sent yet."""

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self.is_due = asyncio.Event()
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._missed = 0

    def put(self, event: Event) -> None:
        """One more."""
        if len(self._waiting) == MOST_WAITING:
            self._missed += 1
        self._waiting.append(event)
        self.is_due.set()

    def take(self) -> bytes:
        """All that waits, encoded."""
        self.is_due.clear()
        pieces = [Event("missed", Missed(self._missed)).encoded()] if self._missed else []
        self._missed = 0
        pieces += [event.encoded() for event in self._waiting]
        self._waiting.clear()
        return b"".join(pieces)


class Hub(Hook):
    """Tells readers what happens. ``now`` is the broker's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._readers: list[Reader] = []
        self._wanted: frozenset[str] = frozenset()
        self._drops: dict[tuple[str, bytes, str], int] = {}
        self._other_drops = 0
        self._log = _LogReader(self._log_line)
        self.is_closed = False

    def wants(self, topic: str) -> bool:
        """Is there somebody who reads it?"""
        return topic in self._wanted

    def is_full(self) -> bool:
        """Are there so many readers that there cannot be one more?"""
        return len(self._readers) >= MOST_READERS

    def add(self, topics: frozenset[str]) -> Reader:
        """Somebody reads."""
        reader = Reader(topics)
        self._readers.append(reader)
        self._changed()
        return reader

    def remove(self, reader: Reader) -> None:
        """Somebody has gone."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._changed()

    def _changed(self) -> None:
        self._wanted = frozenset[str]().union(*(reader.topics for reader in self._readers))
        self._log.be(LOG in self._wanted)
        if DROPS not in self._wanted:
            self._drops.clear()
            self._other_drops = 0

    def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        for reader in self._readers:
            reader.is_due.set()

    def tell(self, topic: str, data: Struct) -> None:
        """Something has happened."""
        event = Event(topic, data)
        for reader in self._readers:
            if topic in reader.topics:
                reader.put(event)

    async def stream(self, topics: frozenset[str], hello: Callable[[], Struct]) -> AsyncGenerator[bytes]:
        """What one reader is sent, until the broker stops or an hour has passed. It begins with ``hello``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_SECONDS
        reader = self.add(topics)
        try:
            yield b"retry: 2000\n" + Event("hello", hello()).encoded()
            while not self.is_closed and loop.time() < until:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await reader.is_due.wait()
                except TimeoutError:
                    yield b":\n\n"
                    continue
                yield reader.take()
                if not self.is_closed:
                    await asyncio.sleep(PAUSE_SECONDS)
            yield b"event: bye\ndata: {}\n\n"
        finally:
            self.remove(reader)

    # ---- what happens ----

    def tick(self) -> None:
        """A second has passed: tell what was dropped in it."""
        if not self._drops and not self._other_drops:
            return
        rows = [
            DropRow(client_id, topic.decode(errors="replace"), why, count)
            for (client_id, topic, why), count in self._drops.items()
        ]
        self.tell(DROPS, Drops(self._now(), rows, self._other_drops))
        self._drops.clear()
        self._other_drops = 0

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        if CONNECTS in self._wanted:
            self._connect("connected", connection, 0, "")

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if CONNECTS in self._wanted:
            self._connect("disconnected", connection, reason_code, why)

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if CONNECTS in self._wanted:
            self._connect("refused", connection, reason_code, why)

    def _connect(self, what: str, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self.tell(
            CONNECTS,
            Connect(
                self._now(),
                what,
                connection.client_id,
                connection.address,
                connection.listener_name,
                reason_code,
                why,
            ),
        )

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        if DROPS not in self._wanted:
            return
        key = client_id, message.topic, why
        count = self._drops.get(key, 0)
        if count or len(self._drops) < MOST_KINDS:
            self._drops[key] = count + 1
        else:
            self._other_drops += 1

    def _log_line(self, record: logging.LogRecord) -> None:
        line = LogLine(self._now(), record.levelname.lower(), record.name, record.getMessage())
        self.tell(LOG, line)


class _LogReader(logging.Handler):
    """Hears what curier logs, while somebody reads it; from any thread."""

    def __init__(self, tell: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._tell = tell
        self._is_on = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def be(self, is_on: bool) -> None:
        """Hear, or hear no more."""
        if is_on == self._is_on:
            return
        self._is_on = is_on
        if is_on:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.get_ident()
            logging.getLogger("curier").addHandler(self)
        else:
            logging.getLogger("curier").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread:
            self._tell(record)
        elif self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, record)
