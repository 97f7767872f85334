"""Topics that were published to lately stand in the tree, the list and the search."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

import curier
from curier.broker.core import BrokerCore
from curier.broker.options import Options
from curier.broker.picking import MORE, NAME, WENT_BY, TopicPicker
from curier.listeners import Listener
from curier.server import Broker
from curier.session.message import ApplicationMessage
from curier.types import Message
from curier.web import forms, lately, pin_forms, table
from curier.web.lately import RETAINED, Sketch, level_pieces, topic_pieces
from curier.web.walking import ROWS, page
from tests.web.asking import Person, people
from tests.web.nasty import TOPICS
from tests.web.test_clients import serving

NASTY = [one for one in TOPICS if len(one) <= 1024]  # longer ones have no place in the cache
SHOWN = sorted(one for one in NASTY if not one.startswith("$"))


async def all_topics(admin: Person, limit: int) -> list[forms.TopicRow]:
    rows: list[forms.TopicRow] = []
    cursor = ""
    while True:
        got = await admin.ask(table.TOPICS, forms.TopicsQuery(limit=limit, cursor=cursor, lately=True))
        rows += got.topics
        cursor = got.next
        if not cursor:
            return rows


async def all_levels(admin: Person, prefix: str | None, limit: int) -> list[forms.LevelRow]:
    rows: list[forms.LevelRow] = []
    cursor = ""
    while True:
        asked = forms.LevelQuery(prefix, limit, cursor, True)
        got = await admin.ask(table.LEVEL, asked)
        rows += got.levels
        cursor = got.next
        if not cursor:
            return rows


async def test_topics_that_went_by_are_listed_and_searched(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for number, topic in enumerate(NASTY):
            broker.publish(Message(topic, b"1", retain=number % 2 == 0))
        broker.publish(Message("?x=1&y=2", b"2"))
        for limit in (1, 7, 500):
            rows = await all_topics(admin, limit)
            assert [one.topic for one in rows] == SHOWN
        for one in rows:
            assert one.retained == (NASTY.index(one.topic) % 2 == 0)
            assert one.payload.size == int(one.retained)
            assert bool(one.written_at) == one.retained
        query = forms.TopicsQuery(search="IMG", lately=True)
        assert [one.topic for one in (await admin.ask(table.TOPICS, query)).topics] == [
            "<img src=x onerror=alert(1)>"
        ]
        query = forms.TopicsQuery("+/b/#", lately=True)
        assert (await admin.ask(table.TOPICS, query)).found == 0
        assert (await admin.ask(table.TOPICS, forms.TopicsQuery("a/+/b", lately=True))).found == 2
        assert (await admin.ask(table.TOPICS, forms.TopicsQuery("$x", lately=True))).found == 1
        kept = await admin.ask(table.TOPICS, forms.TopicsQuery(limit=500))
        assert [one.topic for one in kept.topics] == [one.topic for one in rows if one.retained]
        said = await admin.refused(table.TOPICS, forms.TopicsQuery(sort="newest", lately=True), 400)
        assert "sort by topic" in said


async def test_topics_that_went_by_stand_in_the_tree(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for topic in NASTY:
            broker.publish(Message(topic, b"1"))
        broker.publish(Message("a/b", b"1", retain=True))
        found = {"$SYS"}
        unknown: list[str | None] = [None]
        while unknown:
            prefix = unknown.pop()
            rows = await all_levels(admin, prefix, 2)
            assert [one.level for one in rows] == sorted({one.level for one in rows})
            for one in rows:
                assert one.topic == one.level or one.topic == f"{prefix}/{one.level}"
                assert one.has_message == (one.topic == "a/b")
                found |= {one.topic} if one.went_by else set()
                unknown += [one.topic] if one.has_more and one.topic != "$SYS" else []
        assert found == {*NASTY, "$SYS"}
        assert not [
            one for one in (await admin.ask(table.LEVEL, forms.LevelQuery(limit=500))).levels if one.went_by
        ]
        broker.publish(Message("a/b", b"", retain=True))
        assert [one.level for one in await all_levels(admin, "a", 9)] == ["", "", "..", "b"][1:]


async def test_behind_a_mount_they_have_the_names_that_the_broker_knows(tmp_path: Path) -> None:
    listen = [Listener("tcp://127.0.0.1:0", mount="below/")]
    async with Broker(listen=listen) as broker, people(broker, tmp_path) as by:
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client:
            await client.publish("a/b", b"1", qos=1)
        rows = await all_topics(by["viewer"], 9)
        assert [(one.topic, one.retained) for one in rows] == [("below/a/b", False)]
        (row,) = await all_levels(by["viewer"], "below/a", 9)
        assert (row.topic, row.went_by, row.has_more) == ("below/a/b", True, False)


def names_of(some: Sequence[ApplicationMessage | bytes]) -> list[str]:
    return [(one if isinstance(one, bytes) else one.topic).decode() for one in some]


def core_of(cache_size: int) -> BrokerCore:
    options = Options()
    options.route_cache_size = cache_size
    return BrokerCore(options, 0.0)


def put(core: BrokerCore, topic: str) -> None:
    core.retained.set(topic.encode(), ApplicationMessage(topic.encode(), b"1", 0, True))


def turn(core: BrokerCore, topic: str) -> None:
    """Retain something there, or no more."""
    if core.retained.remove(topic.encode()) is None:
        put(core, topic)


@pytest.mark.parametrize("seed", range(8))
def test_each_topic_is_met_once_while_others_come_and_go(seed: int) -> None:
    dice = Random(seed)
    core = core_of(1 << 24)
    there = [f"t/{number}" for number in range(1500)]  # a third each: turning, retained, gone by
    for number, topic in enumerate(there):
        if number % 3 != 1 or number % 2:
            core.router.route(topic.encode())
        if number % 3 == 1 or (number % 3 == 0 and dice.randrange(2)):
            put(core, topic)
    met = []
    for piece in topic_pieces(core, b"t/+", TopicPicker(NAME, ""), Sketch(core)):
        met += names_of(piece)
        for topic in dice.sample(there[::3], 60):
            turn(core, topic)
        core.router.cache.forget(dice.choice(there).encode())
        core.router.route(f"t/new-{dice.randrange(10**9)}".encode())
    assert sorted(met) == sorted(there)


@pytest.mark.parametrize("seed", range(8))
def test_each_level_is_met_once_while_others_come_and_go(seed: int) -> None:
    dice = Random(seed)
    core = core_of(1 << 24)
    for number in range(900):
        core.router.route(f"t/{number}/x".encode())
        if number % 3:
            put(core, f"t/{number}")
    met: dict[int, int] = {}
    for piece in level_pieces(core, b"t", Sketch(core)):
        for level, kind in piece:
            assert int(level) not in met
            met[int(level)] = kind
        for number in dice.sample(range(0, 900, 3), 60):
            turn(core, f"t/{number}")
    assert {*met} == {*range(900)}
    assert all(kind & MORE and not kind & WENT_BY for kind in met.values())
    assert all(kind & RETAINED for number, kind in met.items() if number % 3)


async def test_pages_fit_together_while_the_cache_is_full_and_lets_topics_go() -> None:
    dice = Random(1)
    core = core_of(100_000)
    known = core.router.cache.table
    kept = {f"k/{number:03}" for number in range(100)}
    for topic in kept:
        put(core, topic)
    always: set[bytes] = set()  # in the cache as long as somebody pages
    went = 0
    met: list[str] = []
    cursor = ""
    walks = asyncio.Semaphore(1)
    while cursor or not met:
        for _ in range(80 if met else 1000):
            core.router.route(f"{dice.choice('ajkz')}/{dice.randrange(10**6)}".encode())
        always = always & {*known} if met else {*known}
        went = went or len(always)
        picker = TopicPicker(NAME, "")
        got = await page(walks, topic_pieces(core, b"#", picker, Sketch(core)), picker, cursor, 40)
        met += [name for one in got.rows for name in names_of([one])]
        cursor = got.next
    assert met == sorted({*met})
    assert kept | {one.decode() for one in always} <= {*met}
    assert 0 < len(always) < went <= len(known) + 1 < 500


@pytest.mark.parametrize("question", ["topics", "level"])
def test_with_many_topics_each_piece_has_few(question: str) -> None:
    core = core_of(1 << 24)
    for number in range(3000):
        core.router.route(f"{number}/x".encode())
    made = (
        topic_pieces(core, b"#", TopicPicker(NAME, ""), Sketch(core))
        if question == "topics"
        else level_pieces(core, None, Sketch(core))
    )
    sizes = [len(piece) for piece in made]
    assert sum(sizes) == 3000
    assert max(sizes) <= ROWS
    assert len(sizes) >= 2 * 3000 // ROWS


def test_of_too_many_topics_only_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lately, "MOST", 10)
    core = core_of(1 << 24)
    for number in range(30):
        core.router.route(f"{number}".encode())
    put(core, "retained")
    assert sum(len(piece) for piece in topic_pieces(core, b"#", TopicPicker(NAME, ""), Sketch(core))) == 11
    assert sum(len(piece) for piece in level_pieces(core, None, Sketch(core))) == 11


async def test_topics_stay_when_the_broker_forgets_its_routes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        broker.publish(Message("before", b"1"))
        assert [one.topic for one in await all_topics(admin, 9)] == ["before"]
        await admin.ask(table.PIN, pin_forms.Pin("before"))
        assert not broker.core.router.cache.table
        broker.publish(Message("behind", b"1"))
        for _ in range(2):
            assert [one.topic for one in await all_topics(admin, 9)] == ["before", "behind"]


def test_what_is_remembered_is_bounded_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lately, "KEPT", 3)
    core = core_of(1 << 24)
    sketch = Sketch(core)

    def looked(*topics: str) -> list[str]:
        core.router.forget_all()
        for topic in topics:
            core.router.route(topic.encode())
        return sorted(names_of(sketch.topics()))

    assert looked("a", "b") == ["a", "b"]
    assert looked("c") == ["a", "b", "c"]
    assert looked("a") == ["a", "b", "c"]
    assert looked("d") == ["a", "c", "d"]
    assert looked("1", "2", "3", "4") == ["1", "2", "3", "4"]  # many: only what is in the cache
    assert looked("5") == ["5"]
