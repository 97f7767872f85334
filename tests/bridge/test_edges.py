"""Topics at the edges: prefixes that end no level, ``#`` alone, ``$SYS``, what cannot be one there."""

from __future__ import annotations

import pytest

from curier.bridge.settings import Peer
from curier.errors import ConfigError
from tests.bridge.brokers import SECONDS, bridged, brokers, came, client, peer, settings
from tests.waiting import until

LAST = b"last"


async def test_what_each_rule_carries_and_what_it_is_called_there() -> None:
    rules = [
        "# out 1 home/ site7/",  # with the topic above "#", which is site7/'s, and no topic without a prefix
        "x/# out 1 old- new-",  # a prefix that is no level
        "/# out 1",  # an empty level
        '# out 1 bare/ ""',  # taken away: bare/ itself has no name left
        '"" out 1 one/lamp lights/7',
        "+/+/state out 1 plan/",
        "last out 1",
    ]
    carried = {
        "home/a": "site7/a",
        "home/a//b": "site7/a//b",
        "home/": "site7/",
        "old-x/y": "new-x/y",
        "old-x": "new-x",
        "/a": "/a",
        "/": "/",
        "bare/a": "a",
        "one/lamp": "lights/7",
        "plan/1/2/state": "1/2/state",
    }
    stays = ["home", "homes/a", "bare", "bare/", "one/lamp/x", "old-z", "plan/1/state", "free"]
    async with brokers(2) as (here, there), client(here, "no") as (local, _), client(there) as (_, to):
        async with bridged(here, settings(peer(there), *rules)) as house:
            for topic in (*stays, *carried):
                await local.publish(topic, topic.encode(), qos=1)
            await local.publish("last", LAST, qos=1)
            found = {}
            while (message := await to.get(SECONDS)).payload != LAST:
                found[message.payload.decode()] = message.topic
            assert found == carried
            bridge = house.running["hall"]
            assert (bridge.out.refused, bridge.out.dropped) == (0, 0)
            await until(lambda: not house.numbers()[0].waiting)


async def test_everything_is_all_but_what_the_brokers_say_of_themselves() -> None:
    """``#`` does not match what begins with ``$`` [MQTT-4.7.2-1]; who wants that names it."""
    async with brokers(2) as (here, there), client(there, "#", "$SYS/broker/version") as (_, to):
        wanted = settings(peer(there), "# out 1", '$SYS/broker/version out 1 "" of/')
        async with client(here, "no") as (local, _), bridged(here, wanted):
            await local.publish("last", LAST, qos=1)
            found: dict[str, bytes] = {}
            while len(found) < 3:
                message = await to.get(SECONDS)
                found[message.topic] = message.payload
            assert found["of/$SYS/broker/version"] == found["$SYS/broker/version"]
            assert found["last"] == LAST


async def test_what_is_not_to_be_published_here_is_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """The broker's own topics are its own, whoever brings others."""
    async with brokers(2) as (here, there), client(there, "no") as (remote, _):
        wanted = settings(peer(there), "# in 1 $SYS/broker/ from/", "last in 1")
        async with bridged(here, wanted) as house, client(here, "#", "$SYS/broker/uptime") as (_, at):
            await remote.publish("from/uptime", b"forged", qos=1)
            await remote.publish("last", LAST, qos=1)
            assert b"forged" not in await came(at, LAST)
            assert house.running["hall"].into.refused == 1
    assert "from/uptime with 6 bytes is not taken here" in caplog.text


async def test_what_is_deleted_here_is_deleted_there_under_its_name() -> None:
    async with brokers(2) as (here, there), client(here, "no") as (local, _):
        async with bridged(here, settings(peer(there), "# out 1 home/ site7/")):
            await local.publish("home/a", b"kept", qos=1, retain=True)
            await until(lambda: there.core.retained.get(b"site7/a") is not None)
            await local.publish("home/a", b"", qos=1, retain=True)
            await until(lambda: there.core.retained.get(b"site7/a") is None)


def test_a_prefix_never_makes_a_shared_subscription_or_a_wildcard() -> None:
    there = Peer(urls=("mqtt://x",))
    for topics in ("g/a in 1 x/ $share/", "a in 1 x/ $share/g/", '# out 1 "" a#', "a out 1 +/"):
        with pytest.raises(ConfigError):
            settings(there, topics)
