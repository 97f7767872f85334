"""What waits in sessions: looked at in pages, and purged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import curier
from curier.broker.hooks import Hook
from curier.broker.options import Options
from curier.session.message import ApplicationMessage
from curier.types import Message, QoS
from curier.web import forms, table
from curier.web.session_forms import Purge, QueuedMessage, QueueQuery
from tests.waiting import until
from tests.web.asking import Person
from tests.web.nasty import PAYLOADS, TOPICS
from tests.web.test_clients import serving
from tests.web.test_topics import bytes_of


async def away(url: str, *filters: str, client_id: str = "away", qos: int = 1) -> None:
    """A client that has subscribed, and gone."""
    async with curier.connect(url, client_id=client_id, session_expiry=60) as client:
        async with client.subscribe(*filters, qos=qos, keep=True):
            pass


async def all_of(admin: Person, limit: int = 3) -> list[QueuedMessage]:
    """All pages of its queue."""
    found: list[QueuedMessage] = []
    cursor = ""
    while True:
        page = await admin.ask(table.QUEUE, QueueQuery("away", limit, cursor))
        found += page.messages
        cursor = page.next
        if not cursor:
            return found


@pytest.mark.parametrize("kept", [False, True])
async def test_a_queue_is_looked_at_in_pages_and_purged(tmp_path: Path, kept: bool) -> None:
    async with serving(tmp_path, data=tmp_path / "data" if kept else None) as (broker, admin, url):
        await away(url, "a/#")
        before = broker.turn.clock.now()
        for number in range(7):
            broker.publish(Message(f"a/{number}", b"x" * number, QoS(1), message_expiry=100))
        found = await all_of(admin)
        assert [one.topic for one in found] == [f"a/{number}" for number in range(7)]
        assert [one.payload.size for one in found] == [*range(7)]
        assert {one.state for one in found} == {"waits"}
        assert all(before <= one.since <= broker.turn.clock.now() for one in found)
        assert all(one.expires_at > before + 90 for one in found)
        page = await admin.ask(table.QUEUE, QueueQuery("away", 2))
        assert (page.queued, page.connected, page.sent) == (7, False, [])

        one = await admin.ask(table.PURGE, Purge("away", found[2].number))
        assert (one.messages, one.bytes) == (1, len("a/2") + 2)
        await admin.refused(table.PURGE, Purge("away", found[2].number), 404)
        rest = await admin.ask(table.QUEUE, QueueQuery("away", cursor=page.next))
        assert [each.topic for each in rest.messages] == ["a/3", "a/4", "a/5", "a/6"]
        assert (await admin.ask(table.PURGE, Purge("away"))).messages == 6
        assert await all_of(admin) == []
        statistics = broker.core.statistics
        own = sum(len(one.payload) for one in broker.core.retained.walk(b"$SYS/#").next(1000))
        assert (statistics.queued_bytes, statistics.stored_payload) == (0, own)
        await admin.refused(table.PURGE, Purge("away", "7"), 400)
        await admin.refused(table.PURGE, Purge("nobody"), 404)
    if kept:  # nothing of it comes back
        async with serving(tmp_path, data=tmp_path / "data") as (broker, admin, _):
            assert await all_of(admin) == []


async def test_what_waits_is_known_after_a_restart_but_not_since_when(tmp_path: Path) -> None:
    async with serving(tmp_path, data=tmp_path / "data") as (broker, admin, url):
        await away(url, "a")
        broker.publish(Message("a", b"x", QoS(1)))
        (before,) = await all_of(admin)
    async with serving(tmp_path, data=tmp_path / "data") as (broker, admin, _):
        (after,) = await all_of(admin)
        assert (after.topic, after.since, after.number) == ("a", 0.0, before.number)
        assert (await admin.ask(table.PURGE, Purge("away", before.number))).messages == 1


async def test_what_was_sent_is_told_and_stays(tmp_path: Path) -> None:
    options = Options()
    async with serving(tmp_path, options=options) as (broker, admin, url):
        receiving = curier.connect(url, client_id="away", receive_maximum=2, session_expiry=60)
        async with receiving as client, client.subscribe("a", qos=2, ack="manual", buffer=10) as stream:
            for number in range(4):
                broker.publish(Message("a", b"%d" % number, QoS(number % 2 + 1)))
            held = [await stream.get(), await stream.get()]
            page = await admin.ask(table.QUEUE, QueueQuery("away"))
            assert [bytes_of(one.payload) for one in page.messages] == [b"2", b"3"]
            assert [bytes_of(one.payload) for one in page.sent] == [b"0", b"1"]
            assert {one.state for one in page.sent} <= {"sent", "received"}
            assert all(one.packet_id and one.since and not one.number for one in page.sent)
            assert (await admin.ask(table.PURGE, Purge("away"))).messages == 2
            for one in held:
                one.ack()
            await until(lambda: not broker.core.sessions["away"].outgoing.unfinished())


async def test_messages_of_one_burst_are_told_each(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, url):
        receiving = curier.connect(url, client_id="away", session_expiry=60)
        async with receiving as client, client.subscribe("a/+", qos=1, ack="manual", buffer=10) as stream:
            async with curier.connect(url) as other:
                await asyncio.gather(
                    *[other.publish(f"a/{number}", b"%d" % number, qos=1) for number in range(5)]
                )
            for _ in range(5):
                await stream.get()
            page = await admin.ask(table.QUEUE, QueueQuery("away"))
            assert page.inflight == 5
            assert [bytes_of(one.payload) for one in page.sent] == [b"%d" % number for number in range(5)]
            assert [one.topic for one in page.sent] == [f"a/{number}" for number in range(5)]


async def test_all_names_and_payloads_wait_and_are_purged(tmp_path: Path) -> None:
    told: list[str] = []

    class Telling(Hook):
        def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
            told.append(f"{client_id}: {why}")

    async with serving(tmp_path, hooks=[Telling()]) as (broker, admin, url):
        broker.options.max_topic_length = 65_535
        broker.options.max_topic_levels = 1000
        await away(url, "#")
        topics = [one for one in TOPICS if not one.startswith("$")]
        for number, topic in enumerate(topics):
            broker.publish(Message(topic, PAYLOADS[number % len(PAYLOADS)], QoS(1)))
        found = await all_of(admin, 500)
        assert [one.topic for one in found] == topics
        assert [one.payload.size for one in found] == [
            len(PAYLOADS[number % len(PAYLOADS)]) for number in range(len(topics))
        ]
        assert (await admin.ask(table.PURGE, Purge("away"))).messages == len(topics)
    assert told == ["away: an administrator has purged it"] * len(topics)


async def test_sessions_of_clients_that_are_away_are_listed_by_their_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, url):
        await away(url, "a", client_id="b")
        await away(url, "a", client_id="a")
        async with curier.connect(url, client_id="there"):
            query = forms.ClientsQuery(connected=False, sort="ends_at")
            found = (await admin.ask(table.CLIENTS, query)).clients
            assert [one.client_id for one in found] == ["b", "a"]
            assert all(one.ends_at > broker.turn.clock.now() and one.session_expiry == 60 for one in found)
            found = (await admin.ask(table.CLIENTS, forms.ClientsQuery(sort="ends_at"))).clients
            assert [one.client_id for one in found] == ["b", "a", "there"]
