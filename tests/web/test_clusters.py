"""What is said of a cluster: by the API, health and metrics; and how a node is emptied."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import curier
from curier.auditing import Audit
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Disconnect, Packet
from curier.draining import drain, paced
from curier.server import Broker
from curier.web import forms, metrics, table
from curier.web.cluster_forms import Drain
from curier.web.health import why_not_ready
from curier.web.troubles import troubles
from tests.waiting import until
from tests.web.asking import people, window
from tests.web.clusters import NO_NATS, Said


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return Said(monkeypatch)


def alone() -> Broker:
    return Broker(listen=["tcp://127.0.0.1:0"])


async def test_a_broker_that_is_alone_says_so(tmp_path: Path) -> None:
    broker = alone()
    async with broker, people(broker, tmp_path) as by:
        assert (await by["viewer"].ask(table.CLUSTER, forms.Nothing())).state == "none"
        why = await by["admin"].refused(table.DRAIN, Drain(), 409)
        assert "this broker is alone" in why
        assert "curier_cluster" not in metrics.text(broker)
        assert why_not_ready(broker) == ""


async def test_a_node_says_how_its_cluster_is(tmp_path: Path, said: Said) -> None:
    broker = alone()
    async with broker, people(broker, tmp_path) as by:
        found = await by["viewer"].ask(table.CLUSTER, forms.Nothing())
    assert (found.state, found.node, found.life, found.version) == ("open", "a", 3, "2.15.1")
    assert (found.sessions, found.leaving, found.claims, found.lag) == (12, 1, 2, 5)
    assert [(one.name, one.standing, one.self) for one in found.nodes] == [
        ("a", "living", True),
        ("b", "silent", False),
        ("c", "over", False),
        ("d", "living", False),
        ("e", "died", False),
    ]
    assert [(one.read, one.last, one.lag, one.behind) for one in found.streams] == [
        (-1, 70, -1, []),
        (120, 125, 5, ["s3"]),
        (8, -1, -1, []),
    ]
    assert [(one.error, one.advice) for one in found.wrong] == [(False, "see whether it runs")]


async def test_what_is_wrong_with_the_cluster_is_among_what_is_wrong(said: Said) -> None:
    async with alone() as broker:
        (found,) = troubles(broker, None)
        assert found.level == "warning"
        assert found.text == "node b has not renewed its lease for 14 s; see whether it runs"


async def test_a_node_that_is_not_trusted_is_not_healthy_and_says_why(said: Said) -> None:
    broker = alone()
    async with broker, window(broker) as (_, client):
        assert (await client.get("/readyz")).status_code == 200
        said.says(state="not trusted", trusted_for=0.0, wrong=(NO_NATS,))
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.text == (
            "this node has no part in the cluster now: there is no connection to NATS: refused; "
            "see that it runs\n"
        )
        assert (await client.get("/healthz")).status_code == 200  # to start it again would mend nothing
        said.says(state="draining", trusted_for=10.0)
        assert "gives its sessions up" in (await client.get("/readyz")).text


async def test_a_node_has_metrics(said: Said) -> None:
    async with alone() as broker:
        page = metrics.text(broker)
        for line in (
            "curier_cluster_trusted 1",
            "curier_cluster_connected 1",
            'curier_cluster_nodes{state="living"} 2',
            'curier_cluster_nodes{state="silent"} 1',
            "curier_cluster_sessions 12",
            "curier_cluster_claims 2",
            'curier_cluster_lag_entries{stream="CURIER_LOG_0"} 5',
        ):
            assert f"\n{line}\n" in page
        assert "LOG_1" not in page  # nothing is known of it: 0 would be a lie
        said.says(trusted_for=0.0, server="")
        page = metrics.text(broker)
        assert "\ncurier_cluster_trusted 0\n" in page
        assert "\ncurier_cluster_connected 0\n" in page


async def test_who_may_empty_a_node_and_when(tmp_path: Path, said: Said) -> None:
    lines: list[str] = []
    broker = Broker(listen=["tcp://127.0.0.1:0"], audit=Audit(lines.append))
    async with broker, people(broker, tmp_path) as by:
        await by["operator"].refused(table.DRAIN, Drain(), 403)
        assert "by server_reference" in await by["admin"].refused(table.DRAIN, Drain(permanent=True), 400)
        assert said.view is not None
        everybody = said.view.nodes
        said.says(nodes=everybody[:3])  # b is silent, c is over
        assert "no other node lives" in await by["admin"].refused(table.DRAIN, Drain(), 409)
        said.says(nodes=everybody, state="draining")
        assert "leaves already" in await by["admin"].refused(table.DRAIN, Drain(), 409)
        said.says(state="open")
        done = await by["admin"].ask(table.DRAIN, Drain("d.example:1883"))
        assert done.done == "node a gives 12 sessions up to d, and ends then"
        await asyncio.wait_for(broker.serve_forever(), 100)
    (action,) = [one for one in map(json.loads, lines) if one["event"] == "action"]
    assert (action["action"], action["server_reference"]) == ("cluster.drain", "d.example:1883")


async def test_a_worker_of_one_machine_is_not_emptied(tmp_path: Path, said: Said) -> None:
    broker = alone()
    async with broker, people(broker, tmp_path) as by:
        said.says(sync="memory", node="w-1")
        why = await by["admin"].refused(table.DRAIN, Drain(), 409)
        assert "w-1 is one of the workers of a machine, and would be started again" in why
        assert broker.is_serving
    assert said.given_up == []


async def next_packet(reader: asyncio.StreamReader) -> Packet:
    """One of less than 128 bytes."""
    async with asyncio.timeout(100):
        head = await reader.readexactly(2)
        assert head[1] < 128
        whole = head + await reader.readexactly(head[1])
    return decode(whole, 0, len(whole), MQTT_50)


@pytest.mark.parametrize(
    ("reference", "is_permanent", "code"),
    [("", False, 0x9C), ("d.example", False, 0x9C), ("d.example", True, 0x9D)],
)
async def test_clients_of_a_node_that_is_emptied_are_told_where_to_go(
    said: Said, reference: str, is_permanent: bool, code: int
) -> None:
    async with alone() as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(encode(Connect(MQTT_50, "c1"), MQTT_50))
        assert isinstance(await next_packet(reader), Connack)
        emptying = asyncio.create_task(drain(broker, reference, is_permanent, 10))
        packet = await next_packet(reader)
        assert isinstance(packet, Disconnect)
        assert packet.reason_code == code
        assert packet.properties is not None
        assert packet.properties.server_reference == (reference or None)
        writer.close()
        await emptying
        assert not broker.is_serving
        assert said.given_up[0] == ["c1"]
        assert said.given_up[-1] is None


async def test_sessions_are_given_up_a_few_at_a_time_those_with_clients_first(said: Said) -> None:
    async with alone() as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        for name in ("away1", "away2", "away3"):
            async with curier.connect(url, client_id=name, session_expiry=100):
                pass
        async with curier.connect(url, client_id="here", session_expiry=100):
            await drain(broker, "", False, 20)
        assert [len(one) for one in said.given_up if one is not None] == [2, 2]
        assert said.given_up[0] is not None
        assert said.given_up[0][0] == "here"


@pytest.mark.parametrize("per_second", [1, 2, 9, 10, 11, 500, 100_000])
def test_so_many_are_given_up_each_second_as_was_said(per_second: int) -> None:
    most, pause = paced(per_second)
    assert most / pause == pytest.approx(per_second)
    assert most <= max(1, per_second)


async def test_a_node_that_is_told_to_stop_while_it_is_emptied_stops(said: Said) -> None:
    async with alone() as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        for name in ("away1", "away2", "away3"):
            async with curier.connect(url, client_id=name, session_expiry=100):
                pass
        emptying = asyncio.create_task(drain(broker, "", False, 1))
        await until(lambda: bool(said.given_up))
        await broker.stop()
        await asyncio.wait_for(emptying, 100)
        assert None not in said.given_up
