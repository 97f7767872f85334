"""Streams of one client that overlap, told apart by Subscription Identifiers (5.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import curier
from curier.client.arguments import OWN
from curier.client.naming import MOST_KNOWN, Names
from curier.codec.packets import Publish, Subscribe
from tests.client.stage import Stage, Watch, Wire, life_of, make_properties, settle, virtual
from tests.client.test_receiving import acks, open_stream


def publish(
    topic: str, payload: bytes, identifiers: Sequence[int] = (), retain: bool = False, packet_id: int = 0
) -> Publish:
    properties = make_properties(subscription_identifiers=list(identifiers)) if identifiers else None
    return Publish(topic, payload, int(packet_id > 0), False, retain, packet_id, properties)


def identifier_of(subscribe: Subscribe) -> int:
    identifiers = subscribe.properties.subscription_identifiers if subscribe.properties is not None else []
    assert len(identifiers) <= 1
    return identifiers[0] if identifiers else 0


async def open_second(
    client: curier.Client, wire: Wire, *filters: str, **options: Any
) -> tuple[curier.Stream, Subscribe, Subscribe]:
    """Open a stream that overlaps with one that has no identifier: both SUBSCRIBE packets, too."""
    opening = asyncio.ensure_future(client.subscribe(*filters, **options).open())
    renamed = await wire.subscribed()
    new = await wire.subscribed()
    return await opening, renamed, new


def taken(stream: curier.Stream) -> list[bytes]:
    found = []
    while (message := stream.get_nowait()) is not None:
        found.append(message.payload)
    return found


@virtual
async def test_only_streams_that_overlap_have_identifiers(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        for name in ("job/+", "other/#", "job/1/x"):
            opening = asyncio.ensure_future(client.subscribe(name, qos=1, retain_as_published=True).open())
            assert identifier_of(await wire.subscribed()) == 0
            await opening
        opening = asyncio.ensure_future(client.subscribe("job/#", qos=2).open())
        renamed, again, new = [await wire.subscribed() for _ in range(3)]
        await opening
        # The old ones keep their options, and bring no retained messages once more.
        packets = (renamed, again, new)
        assert sorted(packet.subscriptions[0] for packet in packets[:2]) == [
            ("job/+", 1 | 8 | 32),
            ("job/1/x", 1 | 8 | 32),
        ]
        assert new.subscriptions == [("job/#", 2)]  # last, when the others have their names
        assert len({identifier_of(packet) for packet in packets}) == 3
        assert all(identifier_of(packet) >= OWN for packet in packets)
        await settle()
        assert wire.packets == []


@virtual
async def test_each_copy_goes_to_its_stream(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "job/+", qos=1)
        two, renamed, new = await open_second(client, wire, "job/#", qos=1)
        first, second = identifier_of(renamed), identifier_of(new)
        wire.send(
            publish("job/1", b"a", [first], packet_id=1),
            publish("job/1", b"a", [second], packet_id=2),
            publish("job/1", b"both", [second, first], packet_id=3),
            publish("job/1/2", b"deep", [second]),
        )
        assert taken(one) == [b"a", b"both"]
        message = await two.get()
        assert (message.payload, message.subscription_identifiers) == (b"a", ())
        assert taken(two) == [b"both", b"deep"]
        assert await acks(wire) == [1, 2, 3]


@virtual
async def test_what_was_sent_before_the_names_goes_by_its_topic(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "job/+")
        opening = asyncio.ensure_future(client.subscribe("job/#").open())
        await settle()
        wire.send(publish("job/1", b"live"), publish("job/1", b"retained", retain=True))
        await wire.subscribed()
        await wire.subscribed()
        two = await opening
        assert taken(one) == [b"live", b"retained"]
        assert taken(two) == [b"live"]  # the other was asked for by the first


@virtual
async def test_retained_messages_are_for_who_subscribed(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "job/+")
        two, renamed, new = await open_second(client, wire, "job/#")
        wire.send(publish("job/1", b"kept", [identifier_of(new)], retain=True))
        assert (taken(one), taken(two)) == ([], [b"kept"])
        # The third has a filter of the first: one subscription, which now has the name of the third.
        opening = asyncio.ensure_future(client.subscribe("job/+").open())
        third = await wire.subscribed()
        three = await opening
        assert identifier_of(third) not in (0, identifier_of(renamed), identifier_of(new))
        wire.send(publish("job/1", b"kept", [identifier_of(third)], retain=True))
        assert (taken(one), taken(two), taken(three)) == ([], [], [b"kept"])
        wire.send(publish("job/1", b"live", [identifier_of(third)]))
        assert (taken(one), taken(two), taken(three)) == ([b"live"], [], [b"live"])
        closing = asyncio.ensure_future(three.close())
        await closing
        wire.send(publish("job/1", b"more", [identifier_of(third)]))
        assert (taken(one), taken(two)) == ([b"more"], [])


@virtual
async def test_with_retain_as_published_the_flag_says_nothing(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "a", retain_as_published=True)
        two, _, new = await open_second(client, wire, "a", retain_as_published=True)
        wire.send(publish("a", b"live", [identifier_of(new)], retain=True))
        assert (taken(one), taken(two)) == ([b"live"], [b"live"])


@virtual
async def test_shared_subscriptions_are_others_than_those_of_their_filters(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "$share/a/jobs/#")
        two, renamed, new = await open_second(client, wire, "$share/b/jobs/#")
        wire.send(publish("jobs/1", b"x", [identifier_of(renamed)]))
        wire.send(publish("jobs/1", b"y", [identifier_of(new)]))
        assert (taken(one), taken(two)) == ([b"x"], [b"y"])


@virtual
async def test_identifiers_of_the_user(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        streams = []
        for topic_filter, identifier in (("job/+", 1), ("job/#", 2)):
            subscription = curier.Subscription(topic_filter, curier.QoS(1), identifier=identifier)
            opening = asyncio.ensure_future(client.subscribe(subscription).open())
            assert identifier_of(await wire.subscribed()) == identifier
            streams.append(await opening)
        one, two = streams
        wire.send(publish("job/1", b"1", [1]), publish("job/1", b"2", [2]), publish("job/1", b"3", [1, 2]))
        assert taken(one) == [b"1", b"3"]
        assert taken(two) == [b"2", b"3"]
        three = client.subscribe("job/1")
        opening = asyncio.ensure_future(three.open())
        mine = identifier_of(await wire.subscribed())  # the others have names already
        await opening
        wire.send(publish("job/1", b"4", [1, mine]))
        assert (await one.get()).subscription_identifiers == (1,)
        assert (taken(two), taken(three)) == ([], [b"4"])


@virtual
async def test_a_server_without_identifiers(stage: Stage) -> None:
    async with stage.connect(connack={"subscription_identifier_available": 0}) as (client, wire):
        one = await open_stream(client, wire, "job/+")
        opening = asyncio.ensure_future(client.subscribe("job/#").open())
        assert identifier_of(await wire.subscribed()) == 0
        two = await opening
        wire.send(publish("job/1", b"x"))
        assert (taken(one), taken(two)) == ([b"x"], [b"x"])
        asked = client.subscribe(curier.Subscription("z", identifier=1))
        with pytest.raises(curier.LocalProtocolError, match="no Subscription Identifiers"):
            await asked.open()
        # The next server has them, and all is made anew.
        wire.cut()
        second = await stage.wire()
        await second.accept()
        first, other = [identifier_of(await second.subscribed()) for _ in range(2)]
        second.send(publish("job/1", b"1", [first]), publish("job/1", b"2", [other]))
        assert (taken(one), taken(two)) == ([b"1"], [b"2"])


@virtual
async def test_identifiers_stay_over_reconnections(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "job/+")
        two, renamed, new = await open_second(client, wire, "job/#")
        names = [identifier_of(renamed), identifier_of(new)]
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=True)
        await settle()
        assert second.packets == []
        second.send(publish("job/1", b"1", names[:1]), publish("job/1", b"2", names[1:]))
        assert (taken(one), taken(two)) == ([b"1"], [b"2"])
        second.cut()
        third = await stage.wire()
        await third.accept(session_present=False)
        found = [await third.subscribed() for _ in range(2)]
        assert [identifier_of(packet) for packet in found] == names
        assert [packet.subscriptions for packet in found] == [[("job/+", 0)], [("job/#", 0)]]
        third.send(publish("job/1", b"kept", names[1:], retain=True))
        assert (taken(one), taken(two)) == ([], [b"kept"])


@virtual
async def test_a_renaming_that_was_cut_off_is_done_later(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        await open_stream(client, wire, "job/+")
        opening = asyncio.ensure_future(client.subscribe("job/#").open())
        await settle()
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=True)
        renamed, new = await second.subscribed(), await second.subscribed()
        await opening
        assert (renamed.subscriptions, new.subscriptions) == ([("job/+", 32)], [("job/#", 0)])
        assert 0 not in (identifier_of(renamed), identifier_of(new))


@virtual
async def test_a_stream_without_an_answer_is_asked_for_in_full_again(stage: Stage) -> None:
    """Its retained messages have not come, so they are asked for, whatever else it gets."""
    async with stage.connect() as (client, wire):
        opening = [asyncio.ensure_future(client.subscribe(name).open()) for name in ("job/+", "job/#")]
        await settle()
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=True)
        one, two = await second.subscribed(), await second.subscribed()
        await asyncio.gather(*opening)
        assert (one.subscriptions, two.subscriptions) == ([("job/+", 0)], [("job/#", 0)])


@virtual
async def test_a_renaming_too_large_for_the_server(stage: Stage) -> None:
    """The stream goes on without a name, and misses nothing of what names another."""
    name = "job/" + "x" * 100
    async with stage.connect(connack={"maximum_packet_size": 112}) as (client, wire):
        one = await open_stream(client, wire, name)
        opening = asyncio.ensure_future(client.subscribe("job/#").open())
        new = await wire.subscribed()
        two = await opening
        wire.send(publish(name, b"x", [identifier_of(new)]))
        assert (taken(one), taken(two)) == ([b"x"], [b"x"])
        wire.send(publish(name, b"kept", [identifier_of(new)], retain=True))
        assert (taken(one), taken(two)) == ([], [b"kept"])


@virtual
async def test_a_renaming_that_is_refused(stage: Stage) -> None:
    async with stage.connect() as (client, wire), Watch(client) as watch:
        one = await open_stream(client, wire, "job/+")
        opening = asyncio.ensure_future(client.subscribe("job/#").open())
        await wire.subscribed(0x87)
        await wire.subscribed()
        await opening
        with pytest.raises(curier.SubscribeRefused, match=r"job/\+"):
            await one.get()
        await settle()
        assert watch.kinds() == ["SubscriptionLost"]


@virtual
async def test_copies_for_a_stream_that_has_left_are_for_nobody(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "job/+", qos=1)
        two, renamed, new = await open_second(client, wire, "job/#", qos=1)
        closing = asyncio.ensure_future(two.close())
        await settle()
        wire.send(publish("job/1", b"x", [identifier_of(renamed)]))
        wire.send(publish("job/1", b"x", [identifier_of(new)], packet_id=1))
        await wire.unsubscribed()
        wire.send(publish("job/1", b"late", [identifier_of(new)], packet_id=2))
        await closing
        assert taken(one) == [b"x"]
        assert await acks(wire) == [1, 2]
        assert client.statistics.unclaimed == 2


@virtual
async def test_a_kept_subscription_waits_for_its_next_stream(stage: Stage) -> None:
    async with stage.connect(client_id="me", clean_start=False) as (client, wire):
        one = await open_stream(client, wire, "job/+", qos=1)
        two, _, new = await open_second(client, wire, "job/#", qos=1)
        wire.send(publish("job/1", b"1", [identifier_of(new)], packet_id=1))
        await two.__aexit__(None, None, None)
        wire.send(publish("job/1", b"2", [identifier_of(new)], packet_id=2))
        assert taken(one) == []
        again = client.subscribe("job/#", qos=1)
        opening = asyncio.ensure_future(again.open())
        assert identifier_of(await wire.subscribed()) == identifier_of(new)
        await opening
        assert taken(again) == [b"1", b"2"]
        assert await acks(wire) == [1, 2]


@virtual
async def test_identifiers_of_an_earlier_life_go_by_the_topic(stage: Stage) -> None:
    settings = {"client_id": "me", "clean_start": False, "session_present": True}
    async with stage.connect(**settings) as (client, wire):
        wire.send(publish("job/1", b"0", [OWN + 5], packet_id=1))
        one = await open_stream(client, wire, "job/+", qos=1)
        message = await one.get()
        assert (message.payload, message.subscription_identifiers) == (b"0", ())
        assert await acks(wire) == [1]
        two, renamed, _ = await open_second(client, wire, "job/#", qos=1)
        wire.send(publish("job/1", b"1", [OWN + 5], packet_id=2))
        wire.send(publish("job/1", b"2", [OWN + 5, identifier_of(renamed)], packet_id=3))
        assert taken(one) == [b"1", b"2"]
        assert taken(two) == [b"1", b"2"]


@virtual
async def test_old_versions_cannot_tell(stage: Stage) -> None:
    async with stage.connect(version=4) as (client, wire):
        one = await open_stream(client, wire, "job/+")
        two = await open_stream(client, wire, "job/#")
        wire.send(publish("job/1", b"x"), publish("job/1", b"x"))
        assert (len(one), len(two)) == (2, 2)


@virtual
async def test_many_sets_of_identifiers_do_not_pile_up(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "job/+")
        _, renamed, _ = await open_second(client, wire, "job/#")
        for number in range(1000):
            wire.send(publish("job/1", b"x", [identifier_of(renamed)] * (number + 1)))
        assert len(one) == 1000
        assert all(len(route.chosen) <= 100 for route in life_of(client).router._routes.values())


def test_names() -> None:
    names = Names()
    first, second = names.choose(("a", "b")), names.choose(("a", "b"))
    assert first != second
    names.release(first)
    assert names.choose(("a", "b")) == first  # the same in each life of a program
    assert Names().choose(("a", "b")) == first
    assert names.choose(("ab",)) != first
    for number in range(MOST_KNOWN + 5):
        names.asked(number + 1, ("a",))
    assert len(names.known) == MOST_KNOWN
    assert 5 not in names.known
