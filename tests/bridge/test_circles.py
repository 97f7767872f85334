"""Bridges in circles, of two brokers and of three: messages come to an end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from curier.bridge.settings import Peer
from curier.errors import ConfigError
from curier.server import Broker
from tests.bridge.brokers import SECONDS, bridged, brokers, came, client, peer, settings
from tests.waiting import comes_to_rest, until


async def all_at_rest(*brokers: Broker) -> None:
    """Until none of them is sent anything any more."""
    look = comes_to_rest(lambda: sum(one.core.traffic.publishes_received for one in brokers))
    await until(look, pause=0.2)


@pytest.mark.parametrize("version", [None, 4, 3])
async def test_one_bridge_for_both_ways_brings_nothing_back(version: int | None) -> None:
    """By No Local with 5.0, by the bridge bit before."""
    async with brokers(2) as (here, there), bridged(here, settings(peer(there, version=version), "# both 1")):
        async with client(here) as (local, at), client(there) as (remote, to):
            await local.publish("a", b"from here", qos=1)
            await remote.publish("a", b"from there", qos=1)
            await until(lambda: len(at) + len(to) >= 4)
            await all_at_rest(here, there)
            for stream in (at, to):
                assert {(await stream.get(SECONDS)).payload for _ in range(2)} == {
                    b"from here",
                    b"from there",
                }
                assert stream.get_nowait() is None


async def test_two_brokers_that_each_have_a_bridge_to_the_other() -> None:
    """Each message comes by each of them, and not back."""
    async with brokers(2) as (one, other):
        async with (
            bridged(one, settings(peer(other), "# both 1", name="a")) as first,
            bridged(other, settings(peer(one), "# both 1", name="b")) as second,
            client(one) as (near, at),
            client(other) as (_, to),
        ):
            await near.publish("x", b"x", qos=1)
            await until(lambda: (first.running["a"].into.stopped, second.running["b"].out.stopped) == (1, 1))
            await all_at_rest(one, other)
            assert (len(at), len(to)) == (1, 2)


async def test_three_brokers_in_a_ring() -> None:
    """Brokers tell bridges their names, so that nothing comes back to where it has been."""
    async with AsyncExitStack() as stack:
        ring = await stack.enter_async_context(brokers(3))
        houses = []
        for number, one in enumerate(ring):
            wanted = settings(peer(ring[(number + 1) % 3]), "# out 1")
            houses.append(await stack.enter_async_context(bridged(one, wanted)))
        near, first = await stack.enter_async_context(client(ring[0]))
        _, second = await stack.enter_async_context(client(ring[1]))
        _, third = await stack.enter_async_context(client(ring[2]))
        await near.publish("x", b"x", qos=1)
        for stream in (first, second, third):
            assert await came(stream, b"x") == [b"x"]
        await until(lambda: houses[2].running["hall"].out.stopped == 1)
        await all_at_rest(*ring)
        assert (len(first), len(second), len(third)) == (0, 0, 0)


async def test_a_ring_with_brokers_that_do_not_say_what_they_are_called() -> None:
    """What comes back does so once. Another broker's name can be told in the settings."""
    async with brokers(3) as ring, AsyncExitStack() as stack:
        for number, one in enumerate(ring):
            wanted = settings(peer(ring[(number + 1) % 3]), "# out 1")
            await stack.enter_async_context(bridged(one, wanted, waits=False))
            one.core.hop = None
        near, first = await stack.enter_async_context(client(ring[0]))
        _, second = await stack.enter_async_context(client(ring[1]))
        await near.publish("x", b"x", qos=1)
        await until(lambda: len(first) == 2)
        await all_at_rest(*ring)
        assert (len(first), len(second)) == (2, 1)


async def test_a_message_passes_so_many_brokers_at_most() -> None:
    async with brokers(3) as (a, b, c):
        async with (
            bridged(a, settings(peer(b), "# out 1")),
            bridged(b, settings(peer(c), "# out 1", max_hops=1)) as last,
            client(a) as (near, _),
            client(c) as (_, far),
            client(b) as (middle, at),
        ):
            await near.publish("x", b"has come far", qos=1)
            assert (await at.get(SECONDS)).payload == b"has come far"
            await middle.publish("x", b"has not", qos=1)
            assert (await far.get(SECONDS)).payload == b"has not"
            assert last.running["hall"].out.stopped == 1


def test_what_nothing_would_stop_is_refused_before_it_begins() -> None:
    old = Peer(urls=("mqtt://server",), version=4, bridge_bit=False)
    with pytest.raises(ConfigError, match="would bring back what a/# both 1 carries away"):
        settings(old, "a/# both 1")
    settings(old, "a/# out 1", "b/# in 1")
    settings(replace(old, bridge_bit=True), "a/# both 1")


async def test_three_brokers_that_are_all_joined_both_ways() -> None:
    """A message comes by each way that there is, and everything comes to rest."""
    async with AsyncExitStack() as stack:
        ring = await stack.enter_async_context(brokers(3))
        for number, one in enumerate(ring):
            wanted = settings(peer(ring[(number + 1) % 3]), "# both 1")
            await stack.enter_async_context(bridged(one, wanted))
        near, first = await stack.enter_async_context(client(ring[0]))
        _, second = await stack.enter_async_context(client(ring[1]))
        _, third = await stack.enter_async_context(client(ring[2]))
        await near.publish("a", b"1", qos=1)
        await until(lambda: len(second) >= 2 and len(third) >= 2)
        await all_at_rest(*ring)
        assert (len(first), len(second), len(third)) == (1, 2, 2)


@pytest.mark.parametrize("version", [None, 4])
async def test_a_retained_message_and_its_deletion_settle_as_well(version: int | None) -> None:
    async with brokers(2) as (here, there), bridged(here, settings(peer(there, version=version), "# both 1")):
        async with client(here) as (local, _), client(there) as (remote, _):
            await local.publish("a", b"kept", qos=1, retain=True)
            await until(lambda: there.core.retained.get(b"a") is not None)
            await remote.publish("b", b"kept too", qos=1, retain=True)
            await until(lambda: here.core.retained.get(b"b") is not None)
            await remote.publish("a", b"", qos=1, retain=True)
            await until(lambda: here.core.retained.get(b"a") is None)
            await local.publish("b", b"", qos=1, retain=True)
            await until(lambda: there.core.retained.get(b"b") is None)
            await all_at_rest(here, there)
            assert not here.core.retained.get(b"a")
            assert not there.core.retained.get(b"b")
