"""The last values of pinned topics: kept in order, within bounds, and never at the cost of other topics."""

from __future__ import annotations

from pathlib import Path

import pytest

import curier
from curier.server import Broker
from curier.session.message import ApplicationMessage
from curier.types import Message
from curier.web import forms, past, table
from curier.web.past import Past, Pinned
from curier.web.pin_forms import PastQuery, Pin, Unpin
from tests.waiting import until
from tests.web.nasty import PAYLOADS, TOPICS
from tests.web.test_clients import serving
from tests.web.test_topics import bytes_of


async def test_values_of_a_pinned_topic_are_kept_from_whoever_publishes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, url):
        broker.publish(Message("a/1", b"retained", retain=True))
        assert "not pinned" in await admin.refused(table.PAST, PastQuery("a/1"), 404)
        await admin.ask(table.PIN, Pin("a/+", 3))
        before = broker.turn.clock.now()
        async with curier.connect(url, client_id="lamp") as lamp:
            await lamp.publish("a/1", b"by a client", qos=1, content_type="x/y", user_properties=[("k", "v")])
            await lamp.publish("a/2", b"of another topic", qos=2)
            await lamp.publish("b", b"not pinned", qos=1)
        broker.publish(Message("a/1", b"by the broker"))
        found = await admin.ask(table.PAST, PastQuery("a/1"))
        assert found.pinned == ["a/+"]
        assert [(one.payload.text, one.client, one.qos) for one in found.values] == [
            ("retained", "", 0),
            ("by a client", "lamp", 1),
            ("by the broker", "", 0),
        ]
        assert all(before <= one.time <= broker.turn.clock.now() for one in found.values[1:])
        assert [one.content_type for one in found.values] == ["", "x/y", ""]
        assert found.values[1].user_properties == [forms.Property("k", "v")]
        newer = await admin.ask(table.PAST, PastQuery("a/1", after=found.values[1].number))
        assert not newer.missed
        assert newer.values == found.values[2:]
        assert (await admin.ask(table.PAST, PastQuery("a/1", limit=1))).values == found.values[2:]
        broker.publish(Message("a/1", b"4"))
        rest = (await admin.ask(table.PAST, PastQuery("a/1"))).values
        assert [one.payload.text for one in rest] == ["by a client", "by the broker", "4"]
        first, second = found.values[0].number, found.values[1].number
        assert (await admin.ask(table.PAST, PastQuery("a/1", after=first))).missed
        assert not (await admin.ask(table.PAST, PastQuery("a/1", after=second, limit=2))).missed
        assert (await admin.ask(table.PAST, PastQuery("a/1", after=second, limit=1))).missed
        told = await admin.ask(table.PINS, forms.Nothing())
        assert [(one.topic_filter, one.values, one.who) for one in told.pins] == [("a/+", 3, "admin")]
        assert (told.topics, told.values, told.left_out) == (2, 4, 0)

        await admin.ask(table.UNPIN, Unpin("a/+"))
        await admin.refused(table.UNPIN, Unpin("a/+"), 404)
        await admin.refused(table.PAST, PastQuery("a/1"), 404)
        told = await admin.ask(table.PINS, forms.Nothing())
        assert (told.pins, told.topics, told.values, told.bytes) == ([], 0, 0, 0)


async def test_only_who_has_to_do_with_a_pinned_topic_leaves_the_fast_lane(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, url):
        await admin.ask(table.PIN, Pin("a"))
        async with (
            curier.connect(url, client_id="one") as one,
            curier.connect(url, client_id="other") as other,
        ):
            await one.publish("a", b"1")
            await other.publish("b", b"1")
            await until(lambda: not broker.core.sessions["one"].connection.is_fast)  # type: ignore[union-attr]
            connection = broker.core.sessions["other"].connection
            assert connection is not None
            assert connection.is_fast
            await admin.ask(table.UNPIN, Unpin("a"))
            assert broker.core.hooks.witness is None
            await until(lambda: broker.core.sessions["one"].connection.is_fast)  # type: ignore[union-attr]


async def test_pins_that_cannot_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as (_, admin, _):
        for wrong in ("a/#/b", "$share/g/a", ""):
            await admin.refused(table.PIN, Pin(wrong), 400)
        for number in (0, 1001):
            await admin.refused(table.PIN, Pin("a", number), 400)
        monkeypatch.setattr(past, "MOST_PINS", 1)
        await admin.ask(table.PIN, Pin("a"))
        await admin.refused(table.PIN, Pin("b"), 409)
        await admin.ask(table.PIN, Pin("a", 5))  # in its place
        (one,) = (await admin.ask(table.PINS, forms.Nothing())).pins
        assert one.values == 5


async def test_all_names_and_payloads_have_a_past(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        broker.options.max_topic_length = 65_535
        broker.options.max_topic_levels = 1000
        await admin.ask(table.PIN, Pin("#"))
        for number, topic in enumerate(one for one in TOPICS if not one.startswith("$")):
            if len(topic.encode()) < 20_000:  # else no query takes it
                payload = PAYLOADS[number % len(PAYLOADS)]
                broker.publish(Message(topic, payload))
                query = PastQuery(topic, preview=65_536)
                (one,) = (await admin.ask(table.PAST, query)).values
                assert bytes_of(one.payload) == payload


def message(size: int, topic: bytes = b"a") -> ApplicationMessage:
    return ApplicationMessage(topic, b"x" * size, 0, False)


def test_values_are_bounded_in_topics_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Past(Broker())
    kept.pins = {"#": Pinned(1000, 0.0, ""), "few/#": Pinned(2, 0.0, "")}
    for number in range(past.MOST_TOPICS + 2):
        kept.add(b"%d" % number, 0.0, "", message(1))
    assert (kept.topics, kept.left_out) == (past.MOST_TOPICS, 2)
    monkeypatch.setattr(past, "MOST_TOPICS", 10_000)
    for _ in range(1001):
        kept.add(b"few/1", 0.0, "", message(1))
    assert len(kept.of(b"few/1", 0, 5000)) == 1000  # the most that any of its pins wants
    kept.add(b"large", 0.0, "", message(past.MOST_PAYLOAD + 5))
    (one,) = kept.of(b"large", 0, 9)
    assert (len(one.payload), one.size) == (past.MOST_PAYLOAD, past.MOST_PAYLOAD + 5)
    for _ in range(300):
        kept.add(b"large", 0.0, "", message(past.MOST_PAYLOAD))
        assert kept.bytes <= past.MOST_BYTES
    assert kept.of(b"1", 0, 9) == []  # the oldest have gone
    kept.add(b"large", 0.0, "", ApplicationMessage(b"a", b"", 0, False, b"p" * 8000))
    kept.add(b"large", 0.0, "", ApplicationMessage(b"a", b"", 0, False, b"p" * 9000))
    assert [len(one.properties) for one in kept.of(b"large", 0, 2)] == [8000, 0]
    assert kept.bytes == sum(
        len(one.payload) + len(one.properties) + past.EACH
        for topic in kept._topics
        for one in kept.of(topic, 0, 5000)
    )
