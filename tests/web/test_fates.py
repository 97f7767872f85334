"""What became of a message, asked by the API."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

import curier
from curier.broker.options import Options
from curier.server import Broker
from curier.types import Message
from curier.web import table
from curier.web.fate_forms import FateQuery
from curier.web.fates import MOST_AT_ONCE, Look, told
from curier.web.roles import Role
from curier.web.tokens import add_token
from tests.waiting import until
from tests.web.asking import Person, window
from tests.web.nasty import PAYLOADS, TOPICS
from tests.web.test_clients import serving


async def test_it_is_told_who_got_a_message_and_who_did_not(tmp_path: Path) -> None:
    options = Options()
    options.max_queued_messages = 1
    async with serving(tmp_path, options=options) as (broker, admin, url):
        async with curier.connect(url, client_id="away", session_expiry=60) as away:
            async with away.subscribe("a/b", qos=1, keep=True):
                pass
        async with curier.connect(url, client_id="there") as there, there.subscribe("a/b", qos=1) as stream:
            asking = asyncio.create_task(admin.ask(table.FATE, FateQuery(payload="two", wait=25)))
            await until(lambda: broker.core.hooks.witness is not None)
            async with curier.connect(url, client_id="lamp") as lamp:
                await lamp.publish("a/b", b"one", qos=1)
                await lamp.publish("a/b", b"two", qos=1)
            assert [(await stream.get()).payload for _ in range(2)] == [b"one", b"two"]
            (found,) = (await asking).fates
        assert (found.topic, found.payload.text, found.publisher, found.qos) == ("a/b", "two", "lamp", 1)
        fates = {one.client_id: one for one in found.receivers}
        assert fates["there"].fate == "got it"
        assert fates["there"].got_at >= found.began
        assert fates["away"].fate == "did not get it"
        assert fates["away"].why == "its queue is full"
        assert found.receivers[0].client_id == "away"
        assert found.words[0].startswith("published by lamp #")
        assert any(line.startswith("there QoS 1") and "got it at" in line for line in found.words)

        past = await admin.ask(table.FATE, FateQuery("a/#"))  # what went by before it was asked
        told_of = [[(one.client_id, one.fate) for one in each.receivers] for each in past.fates]
        assert told_of == [[("there", "got it")], [("away", "did not get it"), ("there", "got it")]]
        assert (await admin.ask(table.FATE, FateQuery("b/#"))).fates == []


async def test_something_has_to_be_asked_for(tmp_path: Path) -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    token = add_token(tmp_path / "tokens", "ana", Role.VIEWER)
    async with broker, window(broker, tokens=tmp_path / "tokens") as (web, client):
        admin = Person(client, token)
        assert "of which message" in await admin.refused(table.FATE, FateQuery(), 400)
        assert "topic" in await admin.refused(table.FATE, FateQuery("a/#/b"), 400)
        query = FateQuery("a", wait=25)
        many = [asyncio.create_task(admin.ask(table.FATE, query)) for _ in range(MOST_AT_ONCE)]
        await until(lambda: web.scene.looking == MOST_AT_ONCE)
        await admin.refused(table.FATE, FateQuery("a"), 503)
        broker.publish(Message("a", b""))
        assert [len((await one).fates) for one in many] == [1] * MOST_AT_ONCE
        assert web.scene.looking == 0


async def test_all_names_and_payloads_have_a_fate(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, _, _):
        broker.options.max_topic_length = 65_535
        broker.options.max_topic_levels = 1000
        topics = [one for one in TOPICS if not one.startswith("$")]
        look = Look("")
        with broker.trace(topic="#") as trace:
            for number, topic in enumerate(topics):
                broker.publish(Message(topic, PAYLOADS[number % len(PAYLOADS)]))
            await look.at(trace.take())
        found = [told(one, 0.0, look.joiner.gaps) for one in look.joiner.publications]
    assert [one.topic for one in found] == topics
    assert all(msgspec.json.encode(one) for one in found)
