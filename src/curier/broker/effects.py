"""What the core asks of the world: plain orders, drained with ``BrokerCore.take_effects``.

While ``Authenticate``, ``Authorize``, ``Claim`` or ``CatchUp`` is open, only that connection is paused;
``BrokerCore.resume`` with the effect itself is the answer. ``Commit`` is answered with
``BrokerCore.committed``, ``Close`` not at all.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.model import NOTHING_KNOWN, BrokerConnection, Known
from curier.codec.packets import Connect
from curier.session.records import Batch

PUBLISH_ACTION: Final = "publish"
SUBSCRIBE_ACTION: Final = "subscribe"
UNDECIDED: Final = -1  # in place of a Reason Code: the question has been asked, the answer is not here yet


class Effect:
    """An order to whoever drives the core."""

    __slots__ = ()


@final
class Authenticate(Effect):
    """Decide a CONNECT (``is_step`` False) or one step of an enhanced exchange (True, section 4.12)."""

    __slots__ = ("connect", "connection", "data", "is_step", "state")

    def __init__(
        self, connection: BrokerConnection, connect: Connect, is_step: bool, data: bytes | None, state: object
    ) -> None:
        self.connection = connection
        self.connect = connect
        self.is_step = is_step
        self.data = data  # Authentication Data of this packet
        self.state = state  # what the answer to the step before carried


@final
class Authorize(Effect):
    """May this connection do ``action`` with this Topic Name or Filter? The answer is remembered."""

    __slots__ = ("action", "connection", "qos", "retain", "topic")

    def __init__(
        self, connection: BrokerConnection, action: str, topic: bytes, qos: int, retain: bool
    ) -> None:
        self.connection = connection
        self.action = action
        self.topic = topic
        self.qos = qos
        self.retain = retain


@final
class Claim(Effect):
    """A client has come, and is who it says; this node of a cluster is to be its session's. Answered by
    ``resume``, once that has been put in place (``BrokerCore.install``) or there is none.
    """

    __slots__ = ("client_id", "connection")

    def __init__(self, connection: BrokerConnection, client_id: str) -> None:
        self.connection = connection
        self.client_id = client_id


@final
class CatchUp(Effect):
    """A SUBSCRIBE waits until this node has read all that is in the log of the cluster by now: retained
    messages that have been acknowledged are known then. Answered by ``resume``.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: BrokerConnection) -> None:
        self.connection = connection


@final
class Commit(Effect):
    """Make a batch of the journal durable. There is never more than one open."""

    __slots__ = ("batch",)

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


@final
class Close(Effect):
    """Write what the connection still has to say, then close its Network Connection."""

    __slots__ = ("connection",)

    def __init__(self, connection: BrokerConnection) -> None:
        self.connection = connection


Question = Authenticate | Authorize | Claim | CatchUp


@final
class Answer:
    """The world's answer to ``Authenticate``, ``Authorize``, ``Claim`` or ``CatchUp``.

    ``reason_code`` 0 accepts, 0x18 continues an enhanced exchange, 0x80 and above refuses.
    """

    __slots__ = (
        "data",
        "identity",
        "known",
        "reason_code",
        "reason_string",
        "server_reference",
        "state",
        "why",
    )

    def __init__(
        self,
        reason_code: int,
        reason_string: str = "",
        identity: str | None = None,
        data: bytes | None = None,
        state: object = None,
        server_reference: str | None = None,
    ) -> None:
        self.reason_code = reason_code
        self.reason_string = reason_string
        self.identity = identity
        self.data = data
        self.state = state
        self.server_reference = server_reference  # for 0x9C and 0x9D (4.11)
        self.known: Known = NOTHING_KNOWN
        self.why: str = ""  # for hooks and logs, in place of the Reason String


@final
class Packets:
    """PUBLISH packets with QoS 0, without RETAIN and Topic Alias, as their clients have published them, for
    the other nodes of a cluster. All have that ``version``; ``may_expire``: some a Message Expiry Interval.

    ``publishers`` are Client Identifiers, for No Local, or "", and ``sizes`` how many bytes are of each.
    ``sent_at`` is when they left their node.
    """

    __slots__ = ("may_expire", "pieces", "publishers", "sent_at", "size", "sizes", "version")

    def __init__(self, version: int, may_expire: bool, sent_at: float = 0.0) -> None:
        self.version = version
        self.may_expire = may_expire
        self.sent_at = sent_at
        self.pieces: list[bytes] = []
        self.publishers: list[str] = []
        self.sizes: list[int] = []
        self.size: int = 0

    def add(self, publisher: str, packets: bytes) -> None:
        """Whole packets of one publisher, behind those that are there."""
        size = len(packets)
        self.size += size
        self.pieces.append(packets)
        if self.publishers and self.publishers[-1] == publisher:
            self.sizes[-1] += size
        else:
            self.publishers.append(publisher)
            self.sizes.append(size)

    def whole(self) -> bytes:
        """All of them."""
        if len(self.pieces) != 1:
            self.pieces = [b"".join(self.pieces)]
        return self.pieces[0]
