"""What a node needs of the broker it belongs to: ``BrokerCore``, as a cluster has it.

``now`` is the wall clock time everywhere, since it stands in what goes to other nodes.
"""

from __future__ import annotations

from typing import Protocol

from curier.broker.effects import Answer, CatchUp, Claim, Packets
from curier.broker.model import BrokerConnection, LogMessage
from curier.errors import StoreError
from curier.session.records import Record


class SharedHouse(Protocol):
    """Groups whose members may be at any node; see ``groups`` for their names."""

    def know(self, group: bytes, is_there: bool) -> None:
        """It has members somewhere, or has none any more."""

    def groups_of(self, client_id: str) -> list[bytes]:
        """Those that the session is a member of."""

    def is_member(self, client_id: str, group: bytes) -> bool:
        """Is it, here and now?"""

    def is_taking(self, client_id: str) -> bool:
        """Is its client connected, and not far behind?"""

    def give(self, messages: list[LogMessage], now: float) -> None:
        """Messages of QoS 0, each for those of its ``shares`` alone."""


class House(Protocol):
    """The sessions that are here, and how others come and go."""

    @property
    def shared(self) -> SharedHouse:
        """Its part in Shared Subscriptions."""

    def committed(self, batch: int, now: float) -> None:
        """All of that batch is stored."""

    def resume(self, effect: Claim | CatchUp, answer: Answer, now: float) -> None:
        """The answer to a question of the core."""

    def why_not_whose(self, connection: BrokerConnection, user: str) -> str:
        """Plain words where a session of that user is not for who has come by ``connection``; or ""."""

    def export(self, client_id: str) -> list[Record] | None:
        """The session as it is now; None: there is none."""

    def has_session(self, client_id: str) -> bool:
        """Is it here?"""

    def is_settled(self) -> bool:
        """Is all that happened in batches which were taken, and nothing half done?"""

    def install(self, records: list[Record], freed: list[int], missed: list[LogMessage], now: float) -> None:
        """A session comes, with what the log has had for it since; its connection, if it had one, is over.
        Its records have numbers of this house's journal then.

        ``freed`` are Packet Identifiers of QoS 2 messages of its client that nobody has.
        """

    def cannot_read(self, client_id: str, error: StoreError) -> None:
        """A session that was to come stays as it is on the bus: another version of curier wrote it, or it is
        damaged. Whoever runs this node is to know.
        """

    def yield_session(self, client_id: str, now: float) -> None:
        """Another node wants it: its connection ends."""

    def drop_session(self, client_id: str, now: float) -> None:
        """It goes on elsewhere: nothing of it is said or written here any more."""

    def read_log(self, messages: list[LogMessage], now: float) -> None:
        """Messages came by in the log."""

    def read_direct(self, packets: list[Packets], now: float) -> None:
        """Messages of QoS 0 came from another node."""
