"""The ways that a bridge goes to the other broker: TLS with its certificates, WebSocket, both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import curier
from curier.bridge.settings import Peer
from curier.client.dialing.tls import TlsSettings
from curier.server import Broker
from tests.bridge.brokers import SECONDS, bridged, brokers, came, settings
from tests.net.doors import Authority
from tests.waiting import until

SCHEMES = {"tls": "mqtts", "ws": "ws", "wss": "wss"}


class Side:
    """A broker at one door, with a certificate for ``broker.test`` alone where that is TLS."""

    def __init__(self, scheme: str, **more: Any) -> None:
        self.authority = Authority()
        self.scheme = scheme
        if scheme != "ws":
            certificate, key = self.authority.issue("broker.test")
            more |= {"certificate": certificate, "key": key}
        self.listener = curier.Listener(f"{scheme}://127.0.0.1:0", **more)
        self.broker = Broker(["tcp://127.0.0.1:0", self.listener])

    @property
    def url(self) -> str:
        """For clients."""
        port = self.broker.urls[1].rpartition(":")[2].partition("/")[0]
        return f"{SCHEMES[self.scheme]}://127.0.0.1:{port}"

    def peer(self, **tls: Any) -> Peer:
        """The other side of a bridge, which trusts its authority."""
        return Peer(
            urls=(self.url,),
            tls=TlsSettings(ca_file=self.authority.file, **tls) if self.scheme != "ws" else None,
        )


@asynccontextmanager
async def watched(broker: Broker) -> AsyncIterator[tuple[curier.Client, curier.Stream]]:
    url = broker.urls[0].replace("tcp", "mqtt")
    async with curier.connect(url) as found, found.subscribe("#", qos=2) as stream:
        yield found, stream


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_it_carries_both_ways(scheme: str) -> None:
    there = Side(scheme)
    names = {} if scheme == "ws" else {"server_name": "broker.test"}
    async with brokers(1) as (here,), there.broker:
        async with (
            bridged(here, settings(there.peer(**names), "# both 2")),
            watched(here) as (local, at),
            watched(there.broker) as (remote, to),
        ):
            await local.publish("a", bytes(300_000) + b"out", qos=2)
            assert len((await to.get(SECONDS)).payload) == 300_003
            await remote.publish("a", b"in", qos=2)
            assert (await came(at, b"in"))[-1] == b"in"


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_who_is_not_the_broker_is_told_from_it(scheme: str) -> None:
    """A certificate of another name, or of nobody that is trusted. Nothing is carried, and it is said why."""
    there = Side(scheme)
    stranger = Authority()
    async with brokers(1) as (here,), there.broker:
        for tls, why in (
            (TlsSettings(ca_file=there.authority.file), "127.0.0.1"),
            (TlsSettings(ca_file=there.authority.file, server_name="other.test"), "other.test"),
            (TlsSettings(ca_file=stranger.file, server_name="broker.test"), "signed"),
        ):
            wanted = settings(Peer(urls=(there.url,), tls=tls), "# both 1")
            async with bridged(here, wanted, waits=False) as house, watched(here) as (local, _):
                bridge = house.running["hall"]
                await local.publish("a", b"secret", qos=1)
                await until(lambda bridge=bridge: bool(bridge.error))  # type: ignore[misc]
                assert why in bridge.error, bridge.error
                assert not bridge.connects
        assert not there.broker.core.statistics.connects


async def test_who_it_is_by_a_certificate() -> None:
    authority = Authority()
    there = Side("tls", client_ca=authority.file, identity="common-name")
    certificate, key = authority.issue("hall", common_name="hall")
    mine = {"server_name": "broker.test", "certificate": certificate, "key": key}
    async with brokers(1) as (here,), there.broker:
        async with bridged(
            here, settings(there.peer(server_name="broker.test"), "# out 1"), waits=False
        ) as house:
            await until(lambda: "certificate" in house.running["hall"].error)
        async with (
            bridged(here, settings(there.peer(**mine), "# out 1")),
            watched(here) as (local, _),
            watched(there.broker) as (_, to),
        ):
            await local.publish("a", b"1", qos=1)
            assert await came(to, b"1") == [b"1"]
            assert [one.identity for one in there.broker.core.connections.values() if one.identity] == [
                "hall"
            ]
