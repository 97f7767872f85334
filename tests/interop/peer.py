"""One face for everybody's clients, so that a test is written once and met by all of them.

What clients send and receive is told in curier's own plain types, ``Message``, ``Will`` and
``Subscription``; each peer translates them to its library and back. A peer translates, it never repairs:
what the broker did shows.
"""

import queue
import ssl
import threading
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from curier import Message, Subscription, Will
from tests.waiting import PATIENCE

TIMEOUT = 2 * PATIENCE
"""Seconds until something that is bound to come is given up on; long, because machines are busy."""

VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
NEVER_ENDS = 0xFFFF_FFFF


@dataclass(frozen=True)
class Way:
    """By what a client comes. ``ca``, ``certificate``, ``key`` are files: whom it trusts, what it shows."""

    scheme: str = "mqtt"
    """Or mqtts, ws, wss."""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    path: str = "/mqtt"

    @property
    def is_web(self) -> bool:
        return self.scheme in ("ws", "wss")

    @property
    def is_secure(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    def context(self) -> ssl.SSLContext | None:
        """For the clients that are written in Python."""
        if not self.is_secure:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


TCP = Way()


@dataclass(frozen=True)
class Connect:
    """What a client asks for when it connects. A session that is not clean does not end by itself."""

    port: int
    version: int
    client_id: str = field(default_factory=lambda: f"i{uuid.uuid4().hex[:16]}")
    clean: bool = True
    keep_alive: int = 60
    will: Will | None = None
    topic_alias_maximum: int = 0
    way: Way = TCP

    @property
    def expiry(self) -> int:
        """Session Expiry Interval for 5.0."""
        return 0 if self.clean else NEVER_ENDS


class PeerClient(ABC):
    """A connected client."""

    session_present: bool | None = None
    """What CONNACK said; ``None`` where the library does not tell."""

    def __init__(self) -> None:
        self.received: queue.Queue[Message] = queue.Queue()
        self.pings = threading.Semaphore(0)
        """Released at every PINGRESP."""

    def next(self) -> Message:
        """The next message that was received."""
        try:
            return self.received.get(timeout=TIMEOUT)
        except queue.Empty:
            raise AssertionError(f"no message in {TIMEOUT:g} seconds") from None

    @abstractmethod
    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        """Subscribe with one SUBSCRIBE; the Reason Codes of its SUBACK."""

    @abstractmethod
    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, and wait for UNSUBACK."""

    @abstractmethod
    def publish(self, *messages: Message) -> None:
        """Publish, and wait until all acknowledgements are there."""

    @abstractmethod
    def disconnect(self) -> None:
        """Leave with DISCONNECT. Harmless when the connection is gone already."""

    @abstractmethod
    def kill(self) -> None:
        """End the Network Connection without DISCONNECT."""


class Peer(ABC):
    """One kind of client."""

    subscribes_to_connect: ClassVar[bool] = False
    """Whether it connects only to subscribe, as a command does; without ``subscribe`` nothing happens."""

    @abstractmethod
    def connect(self, wish: Connect) -> PeerClient:
        """Connect, and wait for CONNACK."""

    @abstractmethod
    def close(self) -> None:
        """End what all clients of this kind share."""
