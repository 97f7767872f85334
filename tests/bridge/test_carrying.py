"""Bridges between brokers of one program: what they carry, and what becomes of it on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.bridge.settings import Peer
from curier.types import QoS
from curier.web import metrics
from tests.bridge.brokers import SECONDS, bridged, brokers, came, client, peer, ready, settings
from tests.waiting import until

NUMBERS = [b"%d" % number for number in range(50)]


async def test_messages_go_out_come_in_and_go_both_ways_once() -> None:
    topics = ["out/# out 2", "in/# in 2", "both/# both 1", "x/# out 1 home/ site/", '"" in 1 lamp lights/7']
    async with brokers(2) as (here, there), bridged(here, settings(peer(there), *topics)):
        async with client(here) as (local, seen_here), client(there) as (remote, seen_there):
            for number in NUMBERS:
                await local.publish("out/a", number, qos=2)
                await remote.publish("in/a", number, qos=2)
                await local.publish("both/a", b"h" + number, qos=1)
                await remote.publish("both/a", b"t" + number, qos=1)
            await local.publish("home/x/y", b"out", qos=1)
            await remote.publish("lights/7", b"in", qos=1)
            await local.publish("in/b", b"is not carried", qos=1)
            await remote.publish("out/b", b"is not carried", qos=1)
            await local.publish("both/last", b"last", qos=1)
            await remote.publish("both/last", b"last too", qos=1)
            found: dict[str, dict[str, list[bytes]]] = {"here": {}, "there": {}}
            for side, stream in (("here", seen_here), ("there", seen_there)):
                while len(found[side].get("both/last", [])) < 2:
                    message = await stream.get(timeout=SECONDS)
                    found[side].setdefault(message.topic, []).append(message.payload)
            for side in ("here", "there"):
                assert found[side]["out/a"] == found[side]["in/a"] == NUMBERS
                both = found[side]["both/a"]
                assert [one for one in both if one[:1] == b"h"] == [b"h" + one for one in NUMBERS]
                assert [one for one in both if one[:1] == b"t"] == [b"t" + one for one in NUMBERS]
            assert found["there"]["site/x/y"] == [b"out"]
            assert found["here"]["lamp"] == [b"in"]
            assert "in/b" not in found["there"]
            assert "out/b" not in found["here"]


async def test_a_message_arrives_with_all_it_has_but_for_the_topic_and_the_hop() -> None:
    async with (
        brokers(2) as (here, there),
        bridged(here, settings(peer(there), "a out 1 '' x/".replace("'", '"'))),
    ):
        async with client(here) as (local, _), client(there) as (_, stream):
            await local.publish(
                "a",
                b"{}",
                qos=2,
                message_expiry=3600,
                content_type="application/json",
                response_topic="answers",
                correlation_data=b"7",
                user_properties=[("unit", "C")],
                payload_is_text=True,
            )
            got = await stream.get(timeout=SECONDS)
    assert (got.topic, got.payload, got.qos) == ("x/a", b"{}", QoS.AT_LEAST_ONCE)
    assert got.message_expiry in (3599, 3600)
    assert (got.content_type, got.response_topic, got.correlation_data) == (
        "application/json",
        "answers",
        b"7",
    )
    assert got.payload_is_text
    assert got.user_properties[0] == ("unit", "C")


async def test_retained_messages_are_carried_as_such() -> None:
    async with brokers(2) as (here, there), client(here) as (local, _), client(there) as (remote, _):
        await local.publish("out/before", b"1", qos=1, retain=True)
        await remote.publish("in/before", b"2", qos=1, retain=True)
        topics = ["out/# out 1", "in/# in 1", "x/# out 1"]
        async with bridged(here, settings(peer(there), *topics)):
            await local.publish("out/later", b"3", qos=1, retain=True)
            await local.publish("x/live", b"4", qos=1)
            await until(lambda: len(there.core.retained) >= 3 and len(here.core.retained) >= 3)
            async with client(there, "out/#", "x/#") as (_, late), client(here, "in/#") as (_, late_here):
                kept = {
                    (one.topic, one.payload) for one in [await late.get(SECONDS), await late.get(SECONDS)]
                }
                assert kept == {("out/before", b"1"), ("out/later", b"3")}
                found = await late_here.get(SECONDS)
                assert (found.topic, found.payload, found.retain) == ("in/before", b"2", True)


async def test_what_waits_while_the_other_side_is_away_comes_when_it_is_back(tmp_path: Path) -> None:
    stays: dict[str, Any] = {"client_id": "watch", "session_expiry": 3600, "clean_start": False}
    async with brokers(1, tmp_path) as (here,):
        there = curier.Broker("tcp://127.0.0.1:0", data=tmp_path / "there")
        await there.start()
        port = there.port
        async with bridged(here, settings(peer(there), "out/# out 1")) as house, client(here) as (local, _):
            async with client(there, "out/#", **stays):
                pass
            await there.stop()
            await until(lambda: not house.running["hall"].is_connected)
            for number in NUMBERS:
                await local.publish("out/a", number, qos=1)
            there = curier.Broker(f"tcp://127.0.0.1:{port}", data=tmp_path / "there")
            async with there, client(there, "out/#", **stays) as (_, stream):
                assert await came(stream, NUMBERS[-1]) == NUMBERS
                await until(lambda: not house.running["hall"].out.waiting)
                assert house.running["hall"].out.carried == len(NUMBERS)


async def test_what_waits_while_the_bridge_is_away_comes_when_it_is_back(tmp_path: Path) -> None:
    async with (
        brokers(2, tmp_path) as (here, there),
        client(here) as (local, at),
        client(there) as (remote, to),
    ):
        wanted = settings(peer(there), "out/# out 2", "in/# in 2")
        async with bridged(here, wanted):
            pass
        for number in NUMBERS:
            await local.publish("out/a", number, qos=2)
            await remote.publish("in/a", number, qos=2)
        assert await came(at, NUMBERS[-1]) == NUMBERS
        async with bridged(here, wanted):
            while (message := await to.get(SECONDS)).topic != "out/a":
                pass
            assert [message.payload, *await came(to, NUMBERS[-1])] == NUMBERS
            while (message := await at.get(SECONDS)).topic != "in/a":
                pass
            assert [message.payload, *await came(at, NUMBERS[-1])] == NUMBERS


async def test_the_state_is_told_here_and_where_that_is_asked_for_there() -> None:
    topic = "$SYS/broker/connection/hall/state"
    async with brokers(2) as (here, there):
        async with bridged(here, settings(peer(there), "a out")):
            async with client(here, topic) as (_, state):
                while (told := await state.get(SECONDS)).payload != b"1":
                    pass
            assert (told.topic, there.core.retained.get(topic.encode())) == (topic, None)
        async with client(here, topic) as (_, state):
            assert (await state.get(SECONDS)).payload == b"0"
        async with bridged(here, settings(peer(there), "a out", notifications="both")):
            async with client(there, topic) as (_, state):
                while (await state.get(SECONDS)).payload != b"1":
                    pass
        async with client(there, topic) as (_, state):
            assert (await state.get(SECONDS)).payload == b"0"
        async with bridged(here, settings(peer(there), "a out", notification_topic="halls/1")):
            async with client(here, "halls/1") as (_, state):
                while (await state.get(SECONDS)).payload != b"1":
                    pass


async def test_with_qos_0_what_cannot_go_now_is_gone_and_counted() -> None:
    async with brokers(2) as (here, there):
        async with bridged(here, settings(peer(there), "# out 0")) as house, client(here) as (local, _):
            bridge = house.running["hall"]
            await local.publish("a", b"goes", qos=0)
            await until(lambda: bridge.out.carried == 1)
            await there.stop()
            await until(lambda: not bridge.is_connected)
            await local.publish("a", b"is gone", qos=1)
            await until(lambda: bridge.out.dropped == 1)


async def test_what_the_other_side_refuses_is_given_up_and_told(caplog: pytest.LogCaptureFixture) -> None:
    small = curier.Options()
    small.max_packet_size = 1024
    async with brokers(1) as (here,), curier.Broker("tcp://127.0.0.1:0", options=small) as there:
        async with bridged(here, settings(peer(there), "# out 1")) as house, client(here) as (local, _):
            async with client(there) as (_, stream):
                await local.publish("large", bytes(2000), qos=1)
                await local.publish("small", b"arrives", qos=1)
                assert (await stream.get(SECONDS)).payload == b"arrives"
            assert house.running["hall"].out.refused == 1
    assert "hall: large with 2000 bytes is not taken" in caplog.text


async def test_a_server_that_takes_less_gets_less() -> None:
    little = curier.Options()
    little.maximum_qos = 1
    little.retain_available = False
    async with brokers(1) as (here,), curier.Broker("tcp://127.0.0.1:0", options=little) as there:
        async with bridged(here, settings(peer(there), "# out 2")), client(here) as (local, _):
            async with client(there) as (_, stream):
                await local.publish("a", b"x", qos=2, retain=True)
                got = await stream.get(SECONDS)
                assert (got.topic, got.payload, got.qos, got.retain) == ("a", b"x", QoS.AT_LEAST_ONCE, False)


async def test_several_servers_are_tried_in_turn() -> None:
    async with brokers(3) as (here, first, second):
        both = Peer(urls=(*peer(first).urls, *peer(second).urls))
        async with bridged(here, settings(both, "# out 1")) as house, client(here) as (local, _):
            bridge = house.running["hall"]
            await local.publish("a", b"1", qos=1)
            await until(lambda: bridge.out.carried == 1)
            await first.stop()
            async with client(second) as (_, stream):
                await until(lambda: bridge.is_connected and bridge.url.endswith(str(second.port)))
                await local.publish("a", b"2", qos=1)
                assert (await stream.get(SECONDS)).payload == b"2"


async def test_a_lazy_bridge_connects_when_enough_waits_and_leaves_when_nothing_does() -> None:
    async with brokers(2) as (here, there), client(here) as (local, _), client(there) as (_, stream):
        wanted = settings(peer(there), "# out 1", start="lazy", threshold=3, idle_timeout=0.05)
        async with bridged(here, wanted, waits=False) as house:
            bridge = house.running["hall"]
            await until(lambda: "bridge.hall" in here.core.sessions)
            await until(lambda: len(here.core.sessions["bridge.hall"].subscriptions) == 1)
            await local.publish("a", b"1", qos=1)
            await local.publish("a", b"2", qos=1)
            assert not bridge.is_connected
            await local.publish("a", b"3", qos=1)
            assert await came(stream, b"3") == [b"1", b"2", b"3"]
            await until(lambda: not bridge.is_connected)
            assert bridge.connects == 1
            assert not bridge.error


async def test_a_bridge_that_connects_once_ends_with_its_connection() -> None:
    async with brokers(2) as (here, there):
        async with bridged(here, settings(peer(there), "# out 1", start="once")) as house:
            bridge = house.running["hall"]
            await there.stop()
            await asyncio.wait_for(bridge.finished(), SECONDS)
            assert not bridge.is_connected


async def test_bridges_are_changed_while_the_broker_runs(tmp_path: Path) -> None:
    async with (
        brokers(2, tmp_path) as (here, there),
        client(here) as (local, _),
        client(there) as (_, stream),
    ):
        before = settings(peer(there), "a/# out 1", "b/# out 1", "in/# in 1")
        async with bridged(here, before) as house:
            bridge = house.running["hall"]
            assert await house.change([before]) == []
            assert house.running["hall"] is bridge
            after = settings(peer(there), "b/# out 1")
            assert await house.change([after]) == ["the bridge hall begins anew"]
            await ready(house.running["hall"])
            await until(lambda: len(here.core.sessions["bridge.hall"].subscriptions) == 1)
            session = next(one for name, one in there.core.sessions.items() if name.endswith(".hall"))
            await until(lambda: not session.subscriptions)
            await local.publish("a/1", b"stays", qos=1)
            await local.publish("b/1", b"goes", qos=1)
            assert (await stream.get(SECONDS)).payload == b"goes"
            assert await house.change([]) == ["the bridge hall is gone"]
            assert "bridge.hall" not in here.core.sessions
            await until(lambda: session.client_id not in there.core.sessions)


async def test_a_bridge_that_is_not_in_the_settings_any_more_leaves_no_session(tmp_path: Path) -> None:
    async with brokers(2, tmp_path) as (here, there):
        async with bridged(here, settings(peer(there), "a/# out 1")):
            pass
        assert "bridge.hall" in here.core.sessions
        async with bridged(here):
            assert "bridge.hall" not in here.core.sessions


async def test_what_a_bridge_counts_is_among_the_metrics() -> None:
    async with brokers(2) as (here, there):
        assert "curier_bridge" not in metrics.text(here)
        async with bridged(here, settings(peer(there), "# out 1")) as house, client(here) as (local, _):
            await local.publish("a", b"1", qos=1)
            await until(lambda: house.running["hall"].out.carried == 1)
            page = metrics.text(here)
            for line in (
                'curier_bridge_connected{bridge="hall"} 1',
                'curier_bridge_connects_total{bridge="hall"} 1',
                'curier_bridge_messages_total{bridge="hall",direction="out"} 1',
                'curier_bridge_messages_total{bridge="hall",direction="in"} 0',
                'curier_bridge_messages_dropped_total{bridge="hall",reason="refused"} 0',
            ):
                assert f"{line}\n" in page
            await there.stop()
            await until(lambda: not house.running["hall"].is_connected)
            await local.publish("a", b"2", qos=1)
            page = metrics.text(here)
            assert 'curier_bridge_connected{bridge="hall"} 0\n' in page
            assert 'curier_bridge_waiting_messages{bridge="hall"} 1\n' in page
