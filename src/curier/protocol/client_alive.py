"""Keep Alive, the client's side (3.1.2.10, 3.12): when a PINGREQ is due, and when its server is dead.

A busy server is not a dead one: whatever comes from it is a sign of life, and so is that it takes what had
waited for the network. Nor does it take a busy client for dead, which sends something every Keep Alive. And a
server that this client does not read, because its buffers are full, may say what it likes.
"""

from __future__ import annotations

from curier.protocol.client_messages import NOT_SET, ClientMessages
from curier.session.session import Session


class ClientAlive(ClientMessages):
    """What ``ClientConnection`` knows of the life of its server; times in seconds."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.keep_alive: float = 0.0  # 0: none
        self.ping_timeout: float = 10.0
        self.ping_at: float = NOT_SET  # when the first PINGREQ was sent that is not answered yet

    def heard(self, now: float) -> None:
        """A sign of life that is no packet: the server has taken bytes that had waited for the network.

        PINGRESP may be long in coming, where our PINGREQ is behind a message that takes minutes.
        """
        self.received_at = now

    def reads(self, is_reading: bool, now: float) -> None:
        """Whether what the server sends is read from now on. Until it is again, its silence means nothing."""
        self.is_reading = is_reading
        self.received_at = now

    def dead_at(self) -> float:
        """When the server is to be taken for dead, where a PINGREQ has no answer; else never."""
        if self.ping_at == NOT_SET or not self.is_reading:
            return NOT_SET
        return max(self.ping_at, self.received_at) + self.ping_timeout

    def ping_due(self) -> float:
        """When the next PINGREQ is due [MQTT-3.1.2-20], also while the last has no answer yet.

        It is due as well when nothing came: who only sends would never notice that nobody is there.
        """
        if not self.keep_alive:
            return NOT_SET
        is_owed = self.ping_at != NOT_SET or not self.is_reading
        return (self.sent_at if is_owed else min(self.sent_at, self.received_at)) + self.keep_alive
