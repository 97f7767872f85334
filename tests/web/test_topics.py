"""Operations on topics: retained messages of any kind, the tree of them, publishing; and the rules."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

import curier
from curier.permissions.rule_file import RuleFile
from curier.types import Message
from curier.web import forms, table
from curier.web.topics import shown_payload
from tests.web.nasty import PAYLOADS, TOPICS
from tests.web.test_clients import serving


def bytes_of(payload: forms.Payload) -> bytes:
    return base64.b64decode(payload.base64) if payload.base64 is not None else (payload.text or "").encode()


@pytest.mark.parametrize("payload", [*PAYLOADS, b"", "ț".encode() * 50], ids=lambda one: repr(one[:8]))
def test_what_is_shown_of_a_payload_is_its_beginning(payload: bytes) -> None:
    whole = shown_payload(payload, 1 << 20)
    assert bytes_of(whole) == payload
    assert whole.shown == whole.size == len(payload)
    for limit in (0, 1, 7, 8):
        cut = shown_payload(payload, limit)
        assert cut.size == len(payload)
        assert cut.shown <= limit
        assert bytes_of(cut) == payload[: len(bytes_of(cut))]


async def test_messages_of_any_kind_are_published_found_and_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        broker.options.max_topic_length = 65_535
        broker.options.max_topic_levels = 1000
        for number, topic in enumerate(TOPICS):
            payload = PAYLOADS[number % len(PAYLOADS)]
            encoded = base64.b64encode(payload).decode()
            await admin.ask(table.PUBLISH, forms.Publish(topic, base64=encoded, retain=True))
        found = await admin.ask(table.TOPICS, forms.TopicsQuery(limit=500))
        assert [one.topic for one in found.topics] == sorted(one for one in TOPICS if not one.startswith("$"))
        for number, topic in enumerate(TOPICS):
            if len(topic.encode()) < 20_000:
                one = await admin.ask(table.RETAINED, forms.RetainedQuery(topic))
                assert bytes_of(one.payload) == PAYLOADS[number % len(PAYLOADS)]
            await admin.ask(table.UNRETAIN, forms.TopicForm(topic))
        assert (await admin.ask(table.TOPICS, forms.TopicsQuery())).found == 0


async def test_topics_are_searched(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for number in range(30):
            broker.publish(Message(f"home/room-{number:02}/light", b"on", retain=True))
        found = await admin.ask(table.TOPICS, forms.TopicsQuery("home/+/light", search="ROOM-1", limit=4))
        assert [one.topic for one in found.topics] == [f"home/room-1{digit}/light" for digit in range(4)]
        assert found.found == 10
        query = forms.TopicsQuery("home/#", search="room-1", cursor=found.next)
        assert (await admin.ask(table.TOPICS, query)).topics[0].topic == "home/room-14/light"
        await admin.refused(table.TOPICS, forms.TopicsQuery("a/#/b"), 400)


async def test_the_tree_is_told_level_by_level(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for topic in ("home", "home/hall", "home/hall/light", "/x", "garden/1"):
            broker.publish(Message(topic, b"1", retain=True))
        top = await admin.ask(table.LEVEL, forms.LevelQuery())
        assert {(one.level, one.has_message, one.has_more) for one in top.levels} == {
            ("$SYS", False, True),
            ("home", True, True),
            ("", False, True),
            ("garden", False, True),
        }
        (hall,) = (await admin.ask(table.LEVEL, forms.LevelQuery("home"))).levels
        assert (hall.topic, hall.has_message) == ("home/hall", True)
        (x,) = (await admin.ask(table.LEVEL, forms.LevelQuery(""))).levels
        assert x.topic == "/x"
        seen = []
        cursor = ""
        for _ in range(10):
            page = await admin.ask(table.LEVEL, forms.LevelQuery(limit=1, cursor=cursor))
            seen += [one.level for one in page.levels]
            cursor = page.next
            if not cursor:
                break
            broker.publish(Message("home", b"", retain=True))  # what is written again stays in its place
            broker.publish(Message("home", b"2", retain=True))
        assert seen == [one.level for one in top.levels] == ["", "$SYS", "garden", "home"]
        assert (await admin.ask(table.LEVEL, forms.LevelQuery("nothing/here"))).levels == []


async def test_who_wrote_it_and_its_properties_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, url):
        async with curier.connect(url, client_id="lamp") as lamp:
            await lamp.publish(
                "a",
                b"\xff",
                qos=1,
                retain=True,
                content_type="x/y",
                response_topic="r",
                correlation_data=b"\x01",
                user_properties=[("k", "1"), ("k", "2")],
            )
        one = await admin.ask(table.RETAINED, forms.RetainedQuery("a"))
    assert (one.client, one.qos, one.content_type, one.response_topic) == ("lamp", 1, "x/y", "r")
    assert base64.b64decode(one.correlation_data) == b"\x01"
    assert [(two.name, two.value) for two in one.user_properties] == [("k", "1"), ("k", "2")]


async def test_what_is_published_arrives(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, url), curier.connect(url) as client:
        async with client.subscribe("a", qos=1) as stream:
            await admin.ask(table.PUBLISH, forms.Publish("a", text="ț", qos=1, content_type="text/plain"))
            message = await stream.get(timeout=20)
    assert (message.payload, message.content_type) == ("ț".encode(), "text/plain")


@pytest.mark.parametrize(
    "asked",
    [
        forms.Publish("a/#"),
        forms.Publish(""),
        forms.Publish("$SYS/broker/version"),
        forms.Publish("a", text="x", base64="eA=="),
        forms.Publish("a", base64="?"),
        forms.Publish("a", qos=3),
        forms.Publish("a", expiry=-1),
        forms.Publish("a\x00b"),
    ],
)
async def test_messages_that_cannot_be(tmp_path: Path, asked: forms.Publish) -> None:
    async with serving(tmp_path) as (_, admin, _):
        assert await admin.refused(table.PUBLISH, asked, 400)


async def test_the_rules_are_asked(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("user ana\ntopic write home/#\n")
    async with serving(tmp_path, permissions=RuleFile(rules)) as (_, admin, _):
        yes = await admin.ask(table.ACL_TEST, forms.AclTest("publish", "home/light", user="ana"))
        assert yes.allowed
        assert "acl, line 2" in yes.why
        assert not (
            await admin.ask(table.ACL_TEST, forms.AclTest("publish", "home/light", user="bob"))
        ).allowed
        assert "action: expected one of" in await admin.refused(
            table.ACL_TEST, forms.AclTest("eat", "a"), 400
        )
    async with serving(tmp_path) as (_, admin, _):
        assert (await admin.ask(table.ACL_TEST, forms.AclTest("receive", "a"))).allowed
