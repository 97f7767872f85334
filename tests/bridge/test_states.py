"""What is told of a bridge while it runs: its state, since when, and why it is not connected."""

from __future__ import annotations

import asyncio
from pathlib import Path

import curier
from curier.bridge.settings import Peer
from curier.web import bridge_forms, forms, table
from tests.bridge.brokers import SECONDS, bridged, brokers, client, peer, settings
from tests.ports import free_port
from tests.waiting import until
from tests.web.asking import Person
from tests.web.test_clients import serving


async def told(admin: Person, state: str) -> bridge_forms.BridgeRow:
    """The one bridge, once it is in this state, and it is known why where something went wrong."""

    async with asyncio.timeout(SECONDS):
        while True:
            [found] = (await admin.ask(table.BRIDGES, forms.Nothing())).bridges
            if found.state == state and (found.why or state not in ("away", "ended")):
                return found
            await asyncio.sleep(0.02)


async def wrong(admin: Person) -> list[str]:
    """What the overview says is wrong with bridges; a machine may be too slow besides."""
    found = (await admin.ask(table.OVERVIEW, forms.Nothing())).troubles
    return [one.text for one in found if "bridge" in one.text]


async def test_the_window_tells_of_each_bridge(tmp_path: Path) -> None:
    async with serving(tmp_path) as (here, admin, _):
        assert (await admin.ask(table.BRIDGES, forms.Nothing())).bridges == []
        port = free_port()
        there = curier.Broker(f"tcp://127.0.0.1:{port}")
        url = f"mqtt://hall:secret@127.0.0.1:{port}"
        async with bridged(here, settings(Peer(urls=(url,)), "# out 1"), waits=False):
            before = await told(admin, "away")
            assert (before.name, before.url, before.connects) == ("hall", f"mqtt://127.0.0.1:{port}", 0)
            assert "refused" in before.why
            assert await wrong(admin) == [f"the bridge hall is not connected to {before.url}: {before.why}"]
            async with there:
                found = await told(admin, "connected")
                assert (found.why, found.connects, found.waiting) == ("", 1, 0)
                assert before.since < found.since <= here.turn.clock.now()
                assert await wrong(admin) == []
            after = await told(admin, "away")
            assert after.since > found.since
            assert after.why


async def test_one_that_waits_for_messages_or_has_ended_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as (here, admin, _), brokers(1) as (there,):
        lazy = settings(peer(there), "# out 1", start="lazy", threshold=1, idle_timeout=0.05)
        async with bridged(here, lazy, waits=False) as house, client(here) as (local, _):
            first = await told(admin, "idle")
            assert not first.why
            await until(lambda: len(here.core.sessions["bridge.hall"].subscriptions) == 1)
            await local.publish("a", b"1", qos=1)
            await until(lambda: house.running["hall"].out.carried == 1)
            again = await told(admin, "idle")
            assert (again.why, again.connects) == ("", 1)
            assert again.since > first.since
            assert await wrong(admin) == []
        async with bridged(here, settings(peer(there), "# out 1", start="once")):
            await there.stop()
            ended = await told(admin, "ended")
            assert ended.why
            [trouble] = await wrong(admin)
            assert "the bridge hall is not connected" in trouble
