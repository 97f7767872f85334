"""QoS 2 messages on their way into one session: the Packet Identifiers between PUBLISH and PUBREL.

The receiver takes ownership with the first PUBLISH ("method B" of 3.1.1, the only one in 5.0): from then
until PUBREL any PUBLISH with the same identifier is a duplicate and is answered, not delivered
[MQTT-4.3.3-10]. At most 65 535 small ints: a peer cannot make it grow further.
"""

from __future__ import annotations

from typing import Final, final

from curier.session.journal import Journal
from curier.session.records import IdentifierFreed, IdentifierTaken

NO_IDS: Final[set[int]] = set()  # of a session that rests; see ``outgoing``


@final
class IncomingFlow:
    """Identifiers of QoS 2 PUBLISH packets received and not yet released."""

    def __init__(self, session_number: int = 0, journal: Journal | None = None) -> None:
        self.session_number: int = session_number
        self.journal: Journal | None = journal
        self.identifiers: set[int] = NO_IDS

    def is_duplicate(self, packet_id: int) -> bool:
        return packet_id in self.identifiers

    def take(self, packet_id: int) -> None:
        """A QoS 2 PUBLISH was accepted."""
        self.restore(packet_id)
        if self.journal is not None:
            self.journal.add(IdentifierTaken(self.session_number, packet_id))

    def restore(self, packet_id: int) -> None:
        """A QoS 2 PUBLISH was accepted, and the journal has it already."""
        if self.identifiers is NO_IDS:
            self.identifiers = set()
        self.identifiers.add(packet_id)

    def release(self, packet_id: int) -> bool:
        """PUBREL: the identifier is free again [MQTT-4.3.3-12]. False where it was not in use."""
        if packet_id not in self.identifiers:
            return False
        self.identifiers.remove(packet_id)
        if self.journal is not None:
            self.journal.add(IdentifierFreed(self.session_number, packet_id))
        return True
