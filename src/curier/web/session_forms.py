"""What is asked about what waits in sessions, and answered: see ``forms``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curier.web.forms import ClientId, Form, Limit, Payload


class EndingsQuery(Form):
    """Of whose connections."""

    client_id: ClientId
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class Ending(Struct):
    """The end of a connection, or that there was none."""

    time: float
    what: str
    """``disconnected``, or ``refused``: it was never let in."""
    address: str
    listener: str
    lasted: float
    """Seconds."""
    reason_code: int
    why: str


class EndingsAnswer(Struct):
    """The last endings, the newest first."""

    endings: list[Ending]
    since: float
    """From when on they are kept; of all clients together, the last 5000."""


class QueueQuery(Form):
    """Whose queue. A queue moves on while it is looked at: what is sent meanwhile is on no later page."""

    client_id: ClientId
    limit: Limit = 50
    cursor: str = ""
    preview: Annotated[int, Meta(ge=0, le=65_536)] = 100
    """Bytes of each payload."""


class QueuedMessage(Struct):
    """A message on its way to a client."""

    number: str
    """By which it can be purged; "": it cannot, as it was sent."""
    topic: str
    payload: Payload
    qos: int
    retain: bool
    state: str
    """``waits``; ``sent``: until PUBACK or PUBREC; ``received``: until PUBCOMP."""
    since: float
    """When it came to wait, or was sent last; 0: before the broker started."""
    expires_at: float
    """0: never."""
    group: str
    """The Shared Subscription by which it came; "": none."""
    packet_id: int = 0


class Queue(Struct):
    """What waits in a session, the next first, in pages; ``sent`` is, on the first page, what was sent and is
    not acknowledged: the 200 that are longest so, of ``inflight`` and of those that wait for PUBCOMP.
    """

    client_id: str
    connected: bool
    queued: int
    queued_bytes: int
    inflight: int
    messages: list[QueuedMessage]
    sent: list[QueuedMessage]
    next: str = ""


class Purge(Form):
    """What waits in a session, or the one message of it with ``number``. What was sent already stays until
    its client answers, or its session ends.
    """

    client_id: ClientId
    number: str = ""


class Purged(Struct):
    """So many messages, of so many bytes, wait no more."""

    messages: int
    bytes: int
