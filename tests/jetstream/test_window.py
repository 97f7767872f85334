"""Two nodes on three servers of NATS, as their windows show them; and one of the nodes is emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

import curier
from curier.cluster_settings import ClusterSettings
from curier.cluster_view import ClusterView
from curier.server import Broker
from curier.web import forms, metrics, table
from curier.web.cluster_forms import Drain
from curier.web.health import why_not_ready
from tests.jetstream.servers import NatsServers
from tests.waiting import until
from tests.web.asking import people

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    running = NatsServers(tmp_path_factory.mktemp("nats"))
    yield running
    running.close()


def node(servers: NatsServers, name: str) -> Broker:
    settings = ClusterSettings(servers.urls, name, name="seen", partitions=2, monitors=servers.monitor_urls)
    return Broker(listen=["tcp://127.0.0.1:0"], cluster=settings)


def view_of(broker: Broker) -> ClusterView:
    view = broker.cluster_view
    assert view is not None
    return view


async def test_two_nodes_are_seen_and_one_is_emptied(servers: NatsServers, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        a, b = node(servers, "a"), node(servers, "b")
        await stack.enter_async_context(a)
        await stack.enter_async_context(b)
        by = await stack.enter_async_context(people(b, tmp_path))
        url = f"mqtt://127.0.0.1:{b.port}"
        client = await stack.enter_async_context(curier.connect(url, client_id="c1", session_expiry=600))
        await client.publish("x", b"1", qos=1)
        async with curier.connect(url, client_id="away", session_expiry=600) as away:
            stream = away.subscribe("x", qos=1)
            await stream.__aenter__()
        assert [*b.core.sessions["away"].subscriptions] == [b"x"]
        await until(lambda: [one.standing for one in view_of(b).nodes] == ["living", "living"])
        await until(lambda: all(one.last >= 0 for one in view_of(b).streams))
        found = await by["viewer"].ask(table.CLUSTER, forms.Nothing())
        assert (found.state, found.node, found.cluster, found.sessions) == ("open", "b", "seen", 2)
        assert found.version.startswith("2.")
        assert found.server in ("s0", "s1", "s2")
        assert 0 < found.trusted_for <= 22.5
        assert [one.stream for one in found.streams] == [
            "SEEN_LEASES",
            "SEEN_SESSIONS",
            "SEEN_SNAPSHOTS",
            "SEEN_LOG_0",
            "SEEN_LOG_1",
        ]
        assert {one.replicas for one in found.streams} == {3}
        assert why_not_ready(b) == ""
        assert "\ncurier_cluster_trusted 1\n" in metrics.text(b)

        done = await by["admin"].ask(table.DRAIN, Drain(per_second=100))
        assert "to a" in done.done
        assert "gives its sessions up" in why_not_ready(b)
        await asyncio.wait_for(b.serve_forever(), 100)
        await until(lambda: [one.standing for one in view_of(a).nodes] == ["living", "over"])
        assert view_of(b).state == "over"

        await until(lambda: "away" in a.core.sessions)  # an heir has it, though nobody asks for it
        assert [*a.core.sessions["away"].subscriptions] == [b"x"]
