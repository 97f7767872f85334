"""Retained messages: who wrote them and when, sorted by that; deleted, pruned, and brought back."""

from __future__ import annotations

from pathlib import Path

import curier
from curier.session.message import ApplicationMessage
from curier.types import Message
from curier.web import forms, table, undoing
from curier.web.retained_forms import Prune, Restore
from curier.web.undoing import Bin
from tests.web.nasty import PAYLOADS, TOPICS
from tests.web.test_clients import serving
from tests.web.test_topics import bytes_of


def message(size: int = 1, topic: bytes = b"t") -> ApplicationMessage:
    return ApplicationMessage(topic, b"x" * size, 0, True)


async def test_what_was_deleted_comes_back_as_it_was(tmp_path: Path) -> None:
    async with serving(tmp_path, data=tmp_path / "data") as (broker, admin, url):
        async with curier.connect(url, client_id="lamp") as lamp:
            await lamp.publish("a", b"on", qos=1, retain=True, content_type="x/y", message_expiry=1000)
        before = await admin.ask(table.RETAINED, forms.RetainedQuery("a"))
        assert before.client == "lamp"
        assert broker.core.started_at <= before.written_at <= broker.turn.clock.now()
        deleted = await admin.ask(table.UNRETAIN, forms.TopicForm("a"))
        await admin.refused(table.RETAINED, forms.RetainedQuery("a"), 404)
        done = await admin.ask(table.RESTORE, Restore(deleted.undo))
        assert (done.restored, done.left) == (1, 0)
        assert await admin.ask(table.RETAINED, forms.RetainedQuery("a")) == before
        assert "undone already" in await admin.refused(table.RESTORE, Restore(deleted.undo), 404)
    async with serving(tmp_path, data=tmp_path / "data") as (_, admin, _):
        after = await admin.ask(table.RETAINED, forms.RetainedQuery("a"))
        assert (after.client, after.written_at) == ("lamp", before.written_at)


async def test_nothing_newer_is_lost_when_something_is_brought_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for topic in ("a", "b"):
            broker.publish(Message(topic, b"old", retain=True))
        pruned = await admin.ask(table.PRUNE, Prune(0, dry_run=False))
        assert pruned.seconds == undoing.SECONDS
        broker.publish(Message("a", b"new", retain=True))
        done = await admin.ask(table.RESTORE, Restore(pruned.undo))
        assert (done.restored, done.left) == (1, 1)
        assert (await admin.ask(table.RETAINED, forms.RetainedQuery("a"))).payload.text == "new"


async def test_topics_are_sorted_by_age_and_size(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for number, (topic, size) in enumerate((("b", 5), ("c", 9), ("a", 1))):
            broker.publish(Message(topic, b"x" * size, retain=True))
            kept = broker.core.retained.get(topic.encode())
            assert kept is not None
            kept.written_at = 1000.0 + number
        for sort, expected in (
            ("topic", ["a", "b", "c"]),
            ("newest", ["a", "c", "b"]),
            ("oldest", ["b", "c", "a"]),
            ("size", ["c", "b", "a"]),
        ):
            first = await admin.ask(table.TOPICS, forms.TopicsQuery(sort=sort, limit=2))
            rest = await admin.ask(table.TOPICS, forms.TopicsQuery(sort=sort, cursor=first.next))
            assert [one.topic for one in [*first.topics, *rest.topics]] == expected
        await admin.refused(table.TOPICS, forms.TopicsQuery(sort="colour"), 400)


async def test_only_what_is_old_or_large_enough_is_pruned(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        now = broker.turn.clock.now()
        core = broker.core
        for topic, age, size in (
            ("old", 500.0, 1),
            ("large", 500.0, 50),
            ("new", 0.0, 50),
            ("unknown", 0, 9),
        ):
            broker.publish(Message(topic, b"x" * size, retain=True))
            kept = core.retained.get(topic.encode())
            assert kept is not None
            kept.written_at = now - age if topic != "unknown" else 0.0
        core.started_at = now - 200

        async def counted(**asked: object) -> list[str]:
            found = await admin.ask(table.PRUNE, Prune(**asked))  # type: ignore[arg-type]  # as below
            assert found.messages == len(found.topics)
            assert found.undo == ""
            return sorted(found.topics)

        assert await counted(older_than=400) == ["large", "old"]
        assert await counted(older_than=100) == [
            "large",
            "old",
            "unknown",
        ]  # nobody knows, but before the start
        assert await counted(older_than=400, larger_than=1) == ["large"]
        assert await counted(older_than=0, topic_filter="+/x") == []
        assert len(core.retained) == sum(1 for _ in ("old", "large", "new", "unknown")) + told(core)
        done = await admin.ask(table.PRUNE, Prune(400, dry_run=False))
        assert (done.messages, done.bytes) == (2, 51)
        assert core.retained.get(b"old") is None
        assert core.retained.get(b"new") is not None
        await admin.refused(table.PRUNE, Prune(0, "a/#/b"), 400)
        await admin.refused(table.PRUNE, Prune(-1), 400)


def told(core: object) -> int:
    """What the broker retains of itself."""
    walk = core.retained.walk(b"$SYS/#")  # type: ignore[attr-defined]  # a core
    count = 0
    while not walk.done:
        count += len(walk.next(100))
    return count


async def test_what_the_broker_says_of_itself_is_not_pruned(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, _):
        assert (await admin.ask(table.PRUNE, Prune(0, "$SYS/#"))).messages == 0


async def test_all_names_and_payloads_are_pruned_and_brought_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        broker.options.max_topic_length = 65_535
        broker.options.max_topic_levels = 1000
        topics = [one for one in TOPICS if not one.startswith("$")]
        for number, topic in enumerate(topics):
            broker.publish(Message(topic, PAYLOADS[number % len(PAYLOADS)], retain=True))
        done = await admin.ask(table.PRUNE, Prune(0, dry_run=False))
        assert done.messages == len(topics)
        assert (await admin.ask(table.TOPICS, forms.TopicsQuery())).found == 0
        assert (await admin.ask(table.RESTORE, Restore(done.undo))).restored == len(topics)
        found = await admin.ask(table.TOPICS, forms.TopicsQuery(limit=500, preview=1024))
        assert {one.topic for one in found.topics} == {*topics}
        one = await admin.ask(table.RETAINED, forms.RetainedQuery("//"))
        assert bytes_of(one.payload) == PAYLOADS[topics.index("//") % len(PAYLOADS)]


def test_a_bin_has_bounds_of_time_number_and_bytes() -> None:
    now = 0.0
    bin = Bin(lambda: now)
    assert bin.keep([]) == ""
    assert bin.keep([message(undoing.MOST_BYTES)]) == ""
    assert bin.keep([message()] * (undoing.MOST_MESSAGES + 1)) == ""
    first = bin.keep([message(undoing.MOST_BYTES // 2)])
    second = bin.keep([message(undoing.MOST_BYTES // 2)])
    third = bin.keep([message()])
    assert [len(bin.take(one)) for one in (first, second, third, third, "x")] == [0, 1, 1, 0, 0]
    late = bin.keep([message()])
    now = undoing.SECONDS
    assert len(bin.take(late)) == 0
    many = [bin.keep([message()] * (undoing.MOST_MESSAGES // 2)) for _ in range(3)]
    assert [len(bin.take(one)) for one in many] == [0, 5000, 5000]
