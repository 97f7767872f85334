"""One client on the screen: its session, what waits for it, its subscriptions, why its connections ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from curier.loglines import printable
from curier.top.watching import Watch
from curier.top.wording import count, moment, short, size, span
from curier.web import forms, session_forms
from curier.web.client import ApiError
from curier.web.table import CLIENT, ENDINGS, QUEUE, SUBSCRIPTIONS

DETAIL: Final = "client"
MOST: Final = 20
"""Messages, subscriptions and endings that are shown."""

FOR_EVER: Final = 0xFFFFFFFF
TOPIC: Final = 40
WHY: Final = 100


class Seen(NamedTuple):
    """What the broker says of a client."""

    client: forms.Client
    queue: session_forms.Queue
    subscriptions: forms.Subscriptions
    endings: session_forms.EndingsAnswer


async def ask(watch: Watch, client_id: str) -> Seen | session_forms.EndingsAnswer:
    """All of it; of a client that has no session, why its connections ended. Raises ``ApiError``."""
    endings = await watch.ask(ENDINGS, session_forms.EndingsQuery(client_id, MOST))
    try:
        return Seen(
            await watch.ask(CLIENT, forms.ClientQuery(client_id)),
            await watch.ask(QUEUE, session_forms.QueueQuery(client_id, MOST)),
            await watch.ask(SUBSCRIPTIONS, forms.SubscriptionsQuery(client_id, limit=MOST)),
            endings,
        )
    except ApiError as error:
        if error.status != 404:
            raise
        return endings


class Detail(VerticalScroll, can_focus=True):
    """The client that was chosen last."""

    def __init__(self) -> None:
        super().__init__(id=DETAIL)
        self.client_id = ""

    def compose(self) -> ComposeResult:
        """Make its part."""
        yield Static("asking ...", id="facts", markup=False)

    def choose(self, client_id: str) -> None:
        """Show this one from now on."""
        self.client_id = client_id
        self.scroll_home(animate=False)
        self.query_one("#facts", Static).update("asking ...")

    def show(self, seen: Seen | session_forms.EndingsAnswer | ApiError, now: float) -> None:
        """Show what the broker says of it. ``now`` is the broker's time."""
        lines = [f"client {printable(self.client_id)}", ""]
        if isinstance(seen, ApiError):
            lines += [f"not answered: {seen}"]
        elif isinstance(seen, Seen):
            lines += [*_facts(seen.client, now), "", *_queue(seen.queue, now), ""]
            lines += [*_subscriptions(seen.subscriptions), "", *_endings(seen.endings)]
        else:
            lines += ["It has no session.", "", *_endings(seen)]
        self.query_one("#facts", Static).update("\n".join(lines))


def _facts(client: forms.Client, now: float) -> Iterator[str]:
    row = client.row
    since = f"for {span(now - row.connected_at)}, MQTT {row.version}" if row.connected else "away"
    yield _fact("connected", since)
    if row.connected:
        yield _fact("address", f"{printable(row.address)} at {printable(row.listener)}")
        yield _fact("last packet", f"{span(now - client.last_packet_at)} ago")
        yield _fact("Keep Alive", span(client.keep_alive) if client.keep_alive else "none")
    yield _fact("user", printable(row.user) or "-")
    stays = "ends with the connection"
    if client.session_expiry:
        stays = (
            "for ever" if client.session_expiry >= FOR_EVER else f"{span(client.session_expiry)} without it"
        )
    yield _fact("session", stays + (", on disk" if client.kept else ", in memory"))
    if client.ends_at:
        yield _fact("ends in", span(client.ends_at - now))
    yield _fact("unacknowledged", f"{count(row.inflight)} of {count(client.receive_maximum)}")
    yield _fact("dropped", count(row.dropped))
    yield _fact("unsent", size(row.unsent))
    yield _fact("will", printable(client.will_topic) if client.has_will else "none")


def _fact(name: str, value: str) -> str:
    return f"  {name:<15} {value}"


def _queue(queue: session_forms.Queue, now: float) -> Iterator[str]:
    yield f"queue: {count(queue.queued)}, {size(queue.queued_bytes)}"
    for one in [*queue.sent, *queue.messages][:MOST]:
        age = span(now - one.since) if one.since else "-"
        topic = short(printable(one.topic), TOPIC)
        yield f"  {one.state:<8} {age:>9}  QoS {one.qos}  {topic}, {size(one.payload.size)}"
    yield from _more(len(queue.messages) + len(queue.sent), queue.queued + queue.inflight)


def _subscriptions(found: forms.Subscriptions) -> Iterator[str]:
    yield f"subscriptions: {count(found.found)}"
    for one in found.subscriptions:
        yield f"  QoS {one.qos}  {short(printable(one.topic_filter), 2 * TOPIC)}"
    yield from _more(len(found.subscriptions), found.found)


def _more(shown: int, found: int) -> Sequence[str]:
    shown = min(shown, MOST)
    return [f"  ... {count(found - shown)} more"] if found > shown else []


def _endings(found: session_forms.EndingsAnswer) -> Iterator[str]:
    yield f"connections that ended since {moment(found.since)}: {len(found.endings) or 'none'}"
    for one in found.endings:
        lasted = "refused" if one.what == "refused" else f"after {span(one.lasted)}"
        why = short(printable(one.why), WHY)
        yield f"  {moment(one.time)} {lasted:<16} {printable(one.address)}: {why} (0x{one.reason_code:02X})"
