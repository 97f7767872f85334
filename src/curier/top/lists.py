"""The lists: clients and topics, asked for in the order that is wanted, as rows of cells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from curier.loglines import printable
from curier.top.watching import Watch
from curier.top.wording import count, short, size, span
from curier.web.forms import ClientRow, ClientsQuery, Payload, TopicRow, TopicsQuery
from curier.web.table import CLIENTS, TOPICS

MOST_ROWS: Final = 200
"""More are not read by anybody: who looks for one searches, and the broker does."""

NAME: Final = 30
PAYLOAD: Final = 40


class Row(NamedTuple):
    """One row: ``key`` is what it is about."""

    key: str
    cells: tuple[str, ...]


class Page(NamedTuple):
    """What there is; ``found`` are more than ``rows`` where there are many."""

    rows: list[Row]
    found: int


class Kind(NamedTuple):
    """A list of one kind; ``numbers`` are the columns whose figures stand one below the other. ``sorts`` are
    the orders it may have: how the API calls each, and how people do. One that ``opens`` has a view for each
    of its rows.
    """

    name: str
    many: str
    columns: Sequence[str]
    numbers: Sequence[str]
    sorts: Sequence[tuple[str, str]]
    ask: Callable[[Watch, str, str], Awaitable[Page]]
    opens: bool = False


async def _clients(watch: Watch, search: str, sort: str) -> Page:
    answer = await watch.ask(CLIENTS, ClientsQuery(search=search, sort=sort, limit=MOST_ROWS))
    now = watch.now.time if watch.now is not None else 0.0
    return Page([_client_row(one, now) for one in answer.clients], answer.found)


def _client_row(one: ClientRow, now: float) -> Row:
    cells = (
        short(printable(one.client_id), NAME),
        f"for {span(now - one.connected_at)}" if one.connected else "away",
        count(one.queued),
        size(one.queued_bytes),
        count(one.dropped),
        count(one.inflight),
        count(one.subscriptions),
        size(one.unsent),
        one.version,
        short(printable(one.user), NAME),
        printable(one.address),
    )
    return Row(one.client_id, cells)


async def _topics(watch: Watch, search: str, sort: str) -> Page:
    answer = await watch.ask(TOPICS, TopicsQuery(search=search, sort=sort, limit=MOST_ROWS, preview=PAYLOAD))
    now = watch.now.time if watch.now is not None else 0.0
    return Page([_topic_row(one, now) for one in answer.topics], answer.found)


def _topic_row(one: TopicRow, now: float) -> Row:
    age = f"{span(now - one.written_at)} ago" if one.written_at else "before the start"
    cells = (
        short(printable(one.topic), NAME + 10),
        _payload(one.payload),
        size(one.payload.size),
        age,
        short(printable(one.client), NAME),
        str(one.qos),
    )
    return Row(one.topic, cells)


def _payload(payload: Payload) -> str:
    if payload.text is not None:
        return short(printable(payload.text), PAYLOAD)
    return f"{count(payload.size)} bytes that are no text"


KINDS: Final = (
    Kind(
        "clients",
        "clients",
        ("client", "connected", "queued", "bytes", "dropped", "inflight", "filters", "unsent", "MQTT", "user",
         "address"),
        ("queued", "bytes", "dropped", "inflight", "filters", "unsent"),
        (
            ("queued", "most queued first"),
            ("dropped", "most dropped first"),
            ("queued_bytes", "most bytes queued first"),
            ("unsent", "most unsent first"),
            ("subscriptions", "most subscriptions first"),
            ("connected_at", "newest first"),
            ("client_id", "by Client Identifier"),
        ),
        _clients,
        opens=True,
    ),
    Kind(
        "topics",
        "topics with a retained message",
        ("topic", "payload", "size", "written", "by", "QoS"),
        ("size", "QoS"),
        (
            ("topic", "by topic"),
            ("newest", "newest first"),
            ("size", "largest first"),
            ("oldest", "oldest first"),
        ),
        _topics,
    ),
)  # fmt: skip
