"""The Application Message, as the core carries it: bytes and plain numbers (5.0 section 3.3).

One object serves every receiver; nothing in it is changed once it is made, but for what the journal keeps in
``number`` and ``references``, who looks on in ``publication``, and who has retained it, and when.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

NEVER: Final = 0.0  # a point in time that does not come: a message without Message Expiry Interval


@final
@mypyc_attr(acyclic=True)
class ApplicationMessage:
    """``properties`` are encoded 5.0 Properties that go with the message to every receiver, without length.

    ``expires_at`` is a point in time or ``NEVER``; ``number`` is 0 until the message is in the journal, which
    counts in ``references`` how often it is named there.
    """

    __slots__ = (
        "expires_at",
        "number",
        "owner",
        "payload",
        "properties",
        "publication",
        "qos",
        "references",
        "retain",
        "topic",
        "written_at",
    )

    def __init__(
        self,
        topic: bytes,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: bytes = b"",
        expires_at: float = NEVER,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties
        self.expires_at = expires_at
        self.number: int = 0
        self.references: int = 0  # of records that name it
        self.publication: int = 0  # how who looks on calls it (``broker.witness``); 0: nobody has yet
        self.owner: object = None  # whose it is, where it is retained and the broker knows
        self.written_at: float = 0.0  # where it is retained: since when; 0: that is not known

    def size(self) -> int:
        """Bytes the message counts for in a queue."""
        return len(self.topic) + len(self.payload) + len(self.properties)

    def is_expired(self, now: float) -> bool:
        return self.expires_at != NEVER and now >= self.expires_at

    def remaining_expiry(self, now: float) -> int:
        """What is left of the Message Expiry Interval in whole seconds, rounded up, at least 0.

        [MQTT-3.3.2-6]: the received value minus the (whole seconds of) time spent waiting here. A millisecond
        is too little to round up: points in time far away are not exact to the microsecond.
        """
        left = self.expires_at - now
        if left <= 0:
            return 0
        whole = int(left)
        return whole if left - whole < 0.001 else whole + 1
