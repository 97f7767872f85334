"""Brokers that are nodes of one cluster, on three servers of NATS: what clients meet."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

import curier
from curier import Broker, Client
from curier.auth import Authenticator, Credentials, Verdict
from curier.broker.options import Options
from curier.client.streams import Stream
from curier.cluster.formats import NEWEST
from curier.cluster.records import HERE
from curier.cluster_settings import ClusterSettings
from curier.errors import (
    ClusterAway,
    ClusterError,
    ConfigError,
    ConnectionLost,
    ConnectRefused,
    OtherVersion,
)
from curier.jetstream.access import Access
from curier.jetstream.line import Line
from curier.jetstream.names import Names
from tests.jetstream.servers import NatsServers
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    running = NatsServers(tmp_path_factory.mktemp("nats"))
    yield running
    running.close()


class Cluster:
    """Nodes by name, each a broker in this process."""

    def __init__(self, servers: NatsServers, name: str) -> None:
        self.authenticator: Authenticator | None = None
        self._servers = servers
        self._name = name
        self.nodes: dict[str, Broker] = {}

    def settings(self, node: str) -> ClusterSettings:
        servers = self._servers
        return ClusterSettings(servers.urls, node, self._name, partitions=2, monitors=servers.monitor_urls)

    async def start(self, *nodes: str) -> None:
        brokers = [
            Broker("tcp://127.0.0.1:0", cluster=self.settings(node), authenticator=self.authenticator)
            for node in nodes
        ]
        self.nodes.update(zip(nodes, brokers, strict=True))
        await asyncio.gather(*(broker.start() for broker in brokers))

    def client(
        self,
        node: str,
        client_id: str,
        *,
        expiry: int | None = None,
        will: curier.Will | None = None,
        user: str | None = None,
    ) -> Client:
        return curier.connect(
            self.nodes[node].urls[0].replace("tcp", "mqtt"),
            client_id=client_id,
            username=user,
            clean_start=expiry is None,
            session_expiry=expiry,
            will=will,
            shared_sessions=True,
            reconnect=None,
        )

    async def stop(self) -> None:
        await asyncio.gather(*(broker.stop() for broker in self.nodes.values()))


@pytest.fixture
async def cluster(servers: NatsServers, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    made = Cluster(servers, f"t{abs(hash(request.node.name)) % 10**9}")
    await made.start("a", "b")
    yield made
    await made.stop()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_goes_from_any_node_to_any(cluster: Cluster, qos: int) -> None:
    async with cluster.client("a", "here") as here, cluster.client("b", "there") as there:
        async with here.subscribe("t/#", qos=2) as heard_here, there.subscribe("t/#", qos=2) as heard_there:
            for number in range(20):
                await here.publish("t/a", f"a{number}", qos=qos)
                await there.publish("t/b", f"b{number}", qos=qos)
            for heard in (heard_here, heard_there):
                found: dict[str, list[str]] = {"a": [], "b": []}
                for _ in range(40):
                    message = await heard.get(timeout=PATIENCE)
                    found[message.topic[-1]].append(message.payload.decode())
                assert found == {one: [f"{one}{number}" for number in range(20)] for one in "ab"}


async def test_a_session_goes_with_its_client(cluster: Cluster) -> None:
    async with cluster.client("a", "roams", expiry=600) as client:
        stream = await client.subscribe("r/#", qos=1)
        await client.publish("r/1", "here", qos=1)
        assert (await stream.get(timeout=PATIENCE)).payload.decode() == "here"
    async with cluster.client("b", "other") as other:
        await other.publish("r/2", "away", qos=1)
        await other.publish("r/3", "away too", qos=2)
    async with cluster.client("b", "roams", expiry=600) as client:
        stream = await client.subscribe("r/#", qos=1)
        assert [(await stream.get(timeout=PATIENCE)).payload.decode() for _ in range(2)] == [
            "away",
            "away too",
        ]
    assert "roams" not in cluster.nodes["a"].core.sessions
    assert "roams" in cluster.nodes["b"].core.sessions


async def test_a_second_connection_ends_the_first_on_another_node(cluster: Cluster) -> None:
    first = cluster.client("a", "twice", expiry=60)
    await first.connect()
    async with cluster.client("b", "twice", expiry=60):
        await until(lambda: not first.is_connected)
    with pytest.raises(ConnectionLost, match="on another node now"):
        await first.close()


class ByName(Authenticator):
    """Everybody is who they say."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(0, identity=credentials.username)


async def test_nobody_ends_the_connection_of_another_user_at_another_node(servers: NatsServers) -> None:
    cluster = Cluster(servers, "users")
    cluster.authenticator = ByName()
    await cluster.start("a", "b")
    try:
        async with cluster.client("a", "mine", expiry=60, user="one") as mine:
            stream = await mine.subscribe("t", qos=1)
            with pytest.raises(ConnectRefused, match="another user"):
                await cluster.client("b", "mine", expiry=60, user="two").connect()
            await mine.publish("t", "still here", qos=1)
            assert (await stream.get(timeout=PATIENCE)).payload == b"still here"
        async with cluster.client("b", "mine", expiry=60, user="one"):
            pass
    finally:
        await cluster.stop()


async def test_what_is_retained_is_known_to_a_node_that_comes_later(cluster: Cluster) -> None:
    async with cluster.client("a", "writer") as writer:
        await writer.publish("kept", "before", qos=1, retain=True)
        await writer.publish("kept", "last", qos=1, retain=True)
    await cluster.start("late")
    async with cluster.client("late", "reader") as reader:
        async with reader.subscribe("kept", qos=1) as kept:
            message = await kept.get(timeout=PATIENCE)
            assert (message.payload.decode(), message.retain) == ("last", True)


async def test_a_node_that_stops_leaves_its_sessions_to_others_at_once(cluster: Cluster) -> None:
    async with cluster.client("a", "stays", expiry=600) as client:
        await client.subscribe("s", qos=1)
    await cluster.nodes.pop("a").stop()
    async with cluster.client("b", "stays", expiry=600) as client:
        stream = await client.subscribe("s", qos=1)
        await client.publish("s", "goes on", qos=1)
        assert (await stream.get(timeout=PATIENCE)).payload.decode() == "goes on"


async def test_a_will_is_told_on_all_nodes(cluster: Cluster) -> None:
    will = curier.Will(curier.Message("will", b"gone", qos=curier.QoS.AT_LEAST_ONCE))
    async with cluster.client("b", "heir") as heir, heir.subscribe("will", qos=1) as heard:
        client = cluster.client("a", "mortal", will=will)
        await client.connect()
        connection = cluster.nodes["a"].core.sessions["mortal"].connection
        assert connection is not None
        cluster.nodes["a"].core.cut(connection, "a test", cluster.nodes["a"].turn.clock.now())
        cluster.nodes["a"].turn.schedule()
        assert (await heard.get(timeout=PATIENCE)).payload == b"gone"
        with pytest.raises(ConnectionLost):
            await client.close()


def knows(broker: Broker, member: str) -> bool:
    """Has its node read that this client is a member of the group, in all of the log?"""
    assert broker._member is not None
    node = broker._member.node
    assert node is not None
    return all(node.groups.state(part, b"$share/g/s/+", member) == HERE for part in range(2))


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_goes_to_one_member_of_a_group_at_any_node(cluster: Cluster, qos: int) -> None:
    async with (
        cluster.client("a", "one") as one,
        cluster.client("b", "two") as two,
        cluster.client("b", "writer") as writer,
    ):
        assert one.server_properties.shared_subscription_available is None  # so it is (3.2.2.3.13)
        async with (
            one.subscribe("$share/g/s/+", qos=2) as first,
            two.subscribe("$share/g/s/+", qos=2) as second,
        ):
            # QoS 0 goes by what the publisher's node knows of the others by then.
            await until(
                lambda: all(knows(one, "one") and knows(one, "two") for one in cluster.nodes.values())
            )
            sent = {str(number) for number in range(40)}
            for payload in sent:
                await writer.publish("s/t", payload, qos=qos)
            heard: dict[str, list[str]] = {"one": [], "two": []}

            async def hear(name: str, stream: Stream) -> None:
                async for message in stream:
                    heard[name].append(message.payload.decode())

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(hear("one", first)), group.create_task(hear("two", second))]
                await until(lambda: {*heard["one"], *heard["two"]} == sent)
                for task in tasks:
                    task.cancel()
            assert sorted(heard["one"] + heard["two"]) == sorted(sent)
            assert heard["one"]
            assert heard["two"]


async def test_what_a_member_leaves_goes_to_one_at_another_node(cluster: Cluster) -> None:
    """Its session ends with what it has not acknowledged."""
    async with cluster.client("b", "writer") as writer:
        ends = cluster.client("a", "ends", expiry=600)
        async with ends:
            await ends.subscribe("$share/g/s", qos=1)
        for number in range(20):
            await writer.publish("s", str(number), qos=1)
        async with cluster.client("b", "stays") as stays, stays.subscribe("$share/g/s", qos=1) as heard:
            async with cluster.client("a", "ends"):  # Clean Start
                found = [(await heard.get(timeout=PATIENCE)).payload.decode() for _ in range(20)]
            assert sorted(found, key=int) == [str(number) for number in range(20)]


async def test_a_cluster_that_may_lose_what_it_acknowledges_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lazy = NatsServers(tmp_path_factory.mktemp("nats"), sync="2m")
    try:
        settings = ClusterSettings(lazy.urls, "a", partitions=1, monitors=lazy.monitor_urls)
        with pytest.raises(ClusterError, match="sync_interval: always"):
            await Broker("tcp://127.0.0.1:0", cluster=settings).start()
    finally:
        lazy.close()


async def test_a_second_process_with_the_name_of_one_that_lives_is_refused(cluster: Cluster) -> None:
    second = Broker("tcp://127.0.0.1:0", cluster=cluster.settings("a"))
    with pytest.raises(ClusterError, match="another process lives that is node a") as raised:
        await second.start()
    assert not isinstance(raised.value, ClusterAway)
    async with cluster.client("a", "c") as client:
        await client.publish("t", "the first goes on", qos=1)


async def test_nothing_is_taken_that_nats_would_not(cluster: Cluster) -> None:
    broker = cluster.nodes["a"]
    most = broker.core.options.max_packet_size
    larger = Options()
    larger.max_packet_size = 64 << 20
    broker.change_options(larger)
    assert broker.core.options.max_packet_size < 8 << 20
    with pytest.raises(ValueError, match="and the cluster takes"):
        broker.publish(curier.Message("t", bytes(8 << 20), curier.QoS(1)))
    broker.publish(curier.Message("t", bytes(most - 100), curier.QoS(1)))


async def test_a_record_that_cannot_be_read_ends_a_node_for_good(cluster: Cluster) -> None:
    own = Line(Access(cluster.settings("a").urls), "test")
    own.open()
    try:
        await until(lambda: own.is_up)
        stream = Names(cluster.settings("a").name, 2)
        own.send(stream.subject(0, "x.1"), bytes([NEWEST + 1, 0]))
        with pytest.raises(ClusterError, match="format") as raised:
            await asyncio.wait_for(cluster.nodes["a"].serve_forever(), PATIENCE)
    finally:
        await own.close()
    assert isinstance(raised.value, OtherVersion)  # or it would join again and again
    cluster.nodes.clear()


async def test_workers_take_clients_in_at_one_port(servers: NatsServers, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "curier", "broker", "--listen", f"tcp://127.0.0.1:{port}", "--no-web"]
    command += ["--cluster", ",".join(servers.urls), "--cluster-monitors", ",".join(servers.monitor_urls)]
    command += [
        "--cluster-name",
        "workers",
        "--cluster-partitions",
        "1",
        "--node-name",
        "w",
        "--workers",
        "2",
    ]
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    assert process.stdout is not None
    assert (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).startswith(b"listening on")
    await until(lambda: log.read_text().count("has joined") == 2)
    met: set[str] = set()
    async with curier.connect(f"mqtt://127.0.0.1:{port}", client_id="subscriber") as subscriber:
        async with subscriber.subscribe("t", qos=1) as heard:
            number = 0
            while len(met) < 2:  # the system chooses which of the two it is
                number += 1
                async with curier.connect(f"mqtt://127.0.0.1:{port}") as publisher:
                    met.add(publisher.client_id.rpartition("-")[0])
                    await publisher.publish("t", str(number), qos=1)
                assert (await heard.get(timeout=PATIENCE)).payload == str(number).encode()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    assert log.read_text().count("has left") == 2


async def test_a_server_that_was_away_has_to_prove_it_when_it_is_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("nats")
    servers = NatsServers(folder)
    try:
        cluster = Cluster(servers, "away")
        await cluster.start("first")
        servers.kill(2)
        await cluster.start("a", "b")
        async with cluster.client("a", "c") as client:
            await client.publish("t", "taken", qos=1)
        servers.start(2)
        async with cluster.client("b", "c") as client:
            await client.publish("t", "taken", qos=1)
        servers.kill(2)
        await cluster.start("d")
        conf = folder / "2.conf"
        conf.write_text(conf.read_text().replace("sync_interval: always", "sync_interval: 2m"))
        servers.start(2)
        with pytest.raises(ClusterError, match="s2 does not write at once"):
            await asyncio.wait_for(cluster.nodes["d"].serve_forever(), 2 * PATIENCE)
        await cluster.stop()
    finally:
        servers.close()


def test_what_cannot_be() -> None:
    for settings, why in (
        (ClusterSettings((), "a"), "name the servers"),
        (ClusterSettings(("http://a",), "a"), "expected servers"),
        (ClusterSettings(("nats://a/b",), "a"), "expected servers"),
        (ClusterSettings(("nats://a",), "a b"), "node_name"),
        (ClusterSettings(("nats://a",), "a", name="x.y"), "the cluster's name"),
        (ClusterSettings(("nats://a",), "a", replicas=2), "replicas"),
        (ClusterSettings(("nats://a",), "a", replicas=1), "relaxed"),
        (ClusterSettings(("nats://a",), "a", partitions=0), "partitions"),
    ):
        with pytest.raises(ConfigError, match=why):
            settings.check()
    with pytest.raises(ConfigError, match="cluster and data"):
        Broker(cluster=ClusterSettings(("nats://a",), "a"), data="x")
    assert ClusterSettings(("nats://a:1,b:2", "c"), "x").urls == ("nats://a:1", "nats://b:2", "nats://c")
