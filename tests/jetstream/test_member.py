"""A broker's part in a cluster, without a cluster."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.cluster_settings import ClusterSettings
from curier.errors import ClusterError, OtherVersion
from curier.jetstream.wire import WireError
from curier.member_on_nats import NatsMember
from curier.net.turn import Turn
from tests.waiting import until


class Bus:
    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1


async def test_a_node_that_has_to_end_renews_its_lease_no_more() -> None:
    why: list[ClusterError] = []
    held: list[float] = []
    loop = asyncio.get_running_loop()
    turn = SimpleNamespace(core=SimpleNamespace(join_cluster=lambda: None), hold=held.append, loop=loop)
    member = NatsMember(ClusterSettings(("nats://n1",), "a"))
    member.enter(cast("Turn", turn), why.append)
    bus: Any = Bus()
    member._bus, member.node = bus, cast("Any", object())  # whatever of it is called would fail
    member.broken(WireError("of another version"))
    assert isinstance(why[0], OtherVersion)  # nobody tries it again
    assert [str(one) for one in why] == ["what lies on the bus cannot be read: of another version"]
    assert held[-1] == 0.0
    with pytest.raises(ClusterError, match="of another version"):
        await member._opened(cast("Any", SimpleNamespace(is_open=False)))  # it was still joining
    member.feed(0, 1, 1, [])  # which is on its way
    await until(lambda: bus.closed == 1)
    await member.close()
    assert bus.closed == 1
