"""A broker that is a node, on servers of NATS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

import curier
from curier.cluster_settings import ClusterSettings
from tests.jetstream.servers import NatsServers

pytestmark = pytest.mark.interop


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[NatsServers]:
    """One server, as it is without settings."""
    running = NatsServers(tmp_path, count=1, max_payload="1MB")
    yield running
    running.close()


async def test_a_message_that_nats_would_not_take_is_refused_and_stops_nobody(alone: NatsServers) -> None:
    settings = ClusterSettings(alone.urls, "a", sync="relaxed", replicas=1, partitions=1)
    async with curier.Broker("tcp://127.0.0.1:0", cluster=settings) as broker:
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client:
            with pytest.raises(curier.PublishRefused):
                await client.publish("a", b"x" * 1_000_000, qos=1)
            async with client.subscribe("b", qos=1) as messages:
                await client.publish("b", b"x" * 900_000, qos=1)
                message = await anext(messages)
                assert len(message.payload) == 900_000
