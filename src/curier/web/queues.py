"""Operations on what waits in a session: to look at it, and to purge it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from curier.broker import queueing
from curier.broker.model import ServerSession
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.web import table
from curier.web.acting import kept
from curier.web.clients import session_of
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.session_forms import Purge, Purged, Queue, QueuedMessage, QueueQuery
from curier.web.tokens import Known
from curier.web.topics import shown_payload
from curier.web.walking import in_pieces

WAITS: Final = "waits"
SENT: Final = "sent"
RECEIVED: Final = "received"

MOST_SENT: Final = 200
MOST_MOVED: Final = 1000
"""Messages by which a queue may have moved on since it was looked at."""

WHY: Final = "an administrator has purged it"


@handles(table.QUEUE)
async def queue(scene: Scene, asked: QueueQuery, who: Known) -> Queue:
    """A page of a queue."""
    session = session_of(scene, asked.client_id)
    outgoing = session.outgoing
    first = _behind(session, asked.cursor)
    entries = outgoing.queue
    last = min(first + asked.limit, len(entries))
    rows = [_row(entries[place], WAITS, asked.preview, place) for place in range(first, last)]
    return Queue(
        client_id=session.client_id,
        connected=session.connection is not None,
        queued=len(entries),
        queued_bytes=outgoing.queued_bytes,
        inflight=outgoing.inflight_count(),
        messages=rows,
        sent=[] if asked.cursor else [*islice(_sent(session, asked.preview), MOST_SENT)],
        next=rows[-1].number if rows and last < len(entries) else "",
    )


def _number(entry: Outgoing, place: int) -> str:
    """A name that no other message of the queue has or will have, and where to begin to look for it."""
    if entry.delivery:
        return f"{place}-{entry.delivery}"
    return f"{place}-{id(entry):x}-{int(entry.sent_at * 1e6):x}"


def _place_of(session: ServerSession, number: str) -> int:
    """Where a message is now; -1: it has left the queue. Raises ``Problem`` for what no message is called."""
    entries = session.outgoing.queue
    first, _, name = number.partition("-")
    if not (first.isascii() and first.isdecimal() and len(first) < 12 and name):
        raise Problem(400, "take the number of a message, or the cursor, as an answer had it")
    place = min(int(first), len(entries) - 1)
    for at in range(place, max(-1, place - MOST_MOVED), -1):
        if _number(entries[at], 0).partition("-")[2] == name:
            return at
    return -1


def _behind(session: ServerSession, cursor: str) -> int:
    """Where the page behind a cursor begins."""
    return _place_of(session, cursor) + 1 if cursor else 0


def _row(entry: Outgoing, state: str, preview: int, place: int = -1) -> QueuedMessage:
    return _told(
        entry.message,
        entry.qos,
        state,
        preview,
        entry.sent_at,
        entry.packet_id,
        entry.retain,
        entry.group,
        _number(entry, place) if place >= 0 else "",
    )


def _told(
    message: ApplicationMessage,
    qos: int,
    state: str,
    preview: int,
    since: float,
    packet_id: int,
    retain: bool,
    group: bytes,
    number: str = "",
) -> QueuedMessage:
    return QueuedMessage(
        number=number,
        topic=message.topic.decode(),
        payload=shown_payload(message.payload, preview),
        qos=qos,
        retain=retain,
        state=state,
        since=since,
        expires_at=message.expires_at,
        group=group.decode(),
        packet_id=packet_id,
    )


def _sent(session: ServerSession, preview: int) -> Iterator[QueuedMessage]:
    """What was sent and is not over, in the order of sending; nothing is changed by looking."""
    outgoing = session.outgoing
    for entry in outgoing.releasing.values():
        yield _row(entry, RECEIVED, preview)
    for entry in outgoing.inflight.values():
        yield _row(entry, SENT, preview)
    for burst in outgoing.bursts:
        for entry in burst.entries():
            yield _row(entry, SENT, preview)


@handles(table.PURGE)
async def purge(scene: Scene, asked: Purge, who: Known) -> Purged:
    """Let messages wait no more."""
    session = session_of(scene, asked.client_id)
    if asked.number:
        purged = _purge_one(scene, session, asked, who)
    else:
        scene.audit(who, "session.purge", client_id=asked.client_id, messages=len(session.outgoing.queue))
        purged = await _purge_all(scene, session)
    await kept(scene.broker)
    return purged


def _purge_one(scene: Scene, session: ServerSession, asked: Purge, who: Known) -> Purged:
    place = _place_of(session, asked.number)
    if place < 0:
        raise Problem(404, "this message does not wait any more: it was sent, or purged, or has expired")
    topic = session.outgoing.queue[place].message.topic.decode()
    scene.audit(who, "session.purge", client_id=asked.client_id, topic=topic)
    return Purged(1, _drop(scene, session, place))


async def _purge_all(scene: Scene, session: ServerSession) -> Purged:
    """All that wait now; what comes meanwhile stays."""
    count = size = 0
    async for _ in in_pieces(range(len(session.outgoing.queue))):
        if not session.outgoing.queue or scene.broker.core.sessions.get(session.client_id) is not session:
            break
        size += _drop(scene, session, 0)
        count += 1
    return Purged(count, size)


def _drop(scene: Scene, session: ServerSession, place: int) -> int:
    return queueing.purge(scene.broker.core, session, place, WHY)
