"""Where things lie: names of streams, and subjects. Nothing that a client says is in one of them."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from curier.cluster.orders import LEASES, SESSIONS, SNAPSHOTS
from curier.cluster.records import Boot

PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""What names of nodes and clusters may be."""

WORDS: Final = {LEASES: "leases", SESSIONS: "sessions", SNAPSHOTS: "snapshots"}


class Names:
    """Those of the cluster ``cluster``. All subjects begin with it, and all streams, in capitals."""

    def __init__(self, cluster: str, partitions: int) -> None:
        if not PLAIN.fullmatch(cluster):
            raise ValueError(f"a cluster's name has letters, digits, - and _, at most 32: not {cluster!r}")
        self.cluster = cluster
        self.partitions = partitions
        self.streams = (LEASES, SESSIONS, SNAPSHOTS, *range(partitions))

    def stream(self, stream: int) -> str:
        """As JetStream calls it."""
        what = WORDS.get(stream, f"LOG_{stream}").upper()
        return f"{self.cluster.upper()}_{what}"

    def all_of(self, stream: int) -> str:
        """A filter for all its subjects."""
        return f"{self._prefix(stream)}.>"

    def subject(self, stream: int, subject: str) -> str:
        """Of a node's lease, of the frames of a writer, of a piece; of a session as a hash of its name."""
        if stream == SESSIONS:
            return f"{self._prefix(stream)}.{hashed(subject)}"
        if not all(PLAIN.fullmatch(word) for word in subject.split(".")):
            raise ValueError(f"a node's name has letters, digits, - and _, at most 32: not {subject!r}")
        return f"{self._prefix(stream)}.{subject}"

    def part(self, session: str, nonce: str, at: int) -> str:
        """Of a record that is too large for one message."""
        return f"{self.cluster}.parts.{hashed(session)}.{nonce}.{at}"

    def parts_of(self, session: str, nonce: str = "") -> str:
        """A filter for all those of a session, or of one of its records."""
        return f"{self.cluster}.parts.{hashed(session)}.{f'{nonce}.' if nonce else ''}>"

    @property
    def all_parts(self) -> str:
        """A filter for those of all sessions."""
        return f"{self.cluster}.parts.>"

    def asking(self, boot: Boot) -> str:
        """Where a life of a node is asked for a session."""
        return f"{self.cluster}.ask.{boot.name}.{boot.number}"

    def asked(self, name: str) -> str:
        """A filter for all lives of that node."""
        return f"{self.cluster}.ask.{name}.*"

    @property
    def direct(self) -> str:
        """Where messages of QoS 0 go to all nodes."""
        return f"{self.cluster}.direct"

    def _prefix(self, stream: int) -> str:
        what = WORDS.get(stream, f"log.{stream}")
        return f"{self.cluster}.{what}"


def hashed(session: str) -> str:
    """A word for a Client Identifier that nobody can meet with another."""
    digest = hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()
