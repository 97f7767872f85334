"""What ``curier cluster check`` finds: of servers that are said to be so, and of real ones."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.jetstream.access import Access
from curier.jetstream.checking import Finding, Wanted, _monitors, _servers, check
from curier.jetstream.line import Line
from curier.jetstream.names import Names
from curier.jetstream.streams import ensure
from tests.jetstream.servers import NatsServers
from tests.waiting import until

GIB = 1 << 30


def line(name: str = "n1", **how: Any) -> Line:
    return cast(
        "Line",
        SimpleNamespace(**{"is_up": True, "server": name, "version": "2.15.1", "most": 8 << 20, **how}),
    )


def varz(
    name: str = "n1", always: bool = True, size: int = 3, leader: str = "n2", used: int = 0
) -> dict[str, Any]:
    return {
        "server_name": name,
        "jetstream": {
            "config": {"sync_always": always, "max_storage": 10 * GIB},
            "stats": {"storage": used},
            "meta": {"cluster_size": size, "leader": leader},
        },
    }


def wanted(**how: Any) -> Wanted:
    asks = Wanted(Access(("nats://n1:4222",)), Names("home", 1), 3, False, ("http://u:secret@n1:8222",), GIB)
    return asks._replace(**how)


def of(found: Iterator[Finding], level: str) -> list[str]:
    return [f"{one.what}: {one.advice}" for one in found if one.level == level]


THREE = ("nats://n1:4222", "nats://n2:4222", "nats://n3:4222")


def test_three_servers_apart_are_well() -> None:
    found = [*_servers([line("n1"), line("n2"), line("n3")], THREE, 3)]
    assert [one.level for one in found] == ["ok"] * 3


@pytest.mark.parametrize("version", ["2.9.10", "2.13.9", "2.x", ""])
def test_a_server_that_is_too_old_is_an_error(version: str) -> None:
    (why,) = of(_servers([line(version=version), line("n2"), line("n3")], THREE, 3), "error")
    assert why == f"n1 at nats://n1:4222 is NATS {version}: 2.14 or newer is needed"


def test_a_server_that_is_not_there_is_an_error_and_no_password_is_told() -> None:
    urls = ("nats://u:secret@n1:4222", *THREE[1:])
    away = line("", is_up=False, why="nats://n1:4222 cannot be reached: refused")
    (why,) = of(_servers([away, line("n2"), line("n3")], urls, 3), "error")
    assert why.startswith("nats://n1:4222 cannot be reached: refused: start it")
    assert "secret" not in why


def test_what_is_better_otherwise_is_a_warning() -> None:
    assert "leads to n1 once more" in of(_servers([line(), line(), line("n3")], THREE, 3), "warning")[0]
    assert (
        "takes 65536 bytes"
        in of(_servers([line(most=65536), line("n2"), line("n3")], THREE, 3), "warning")[0]
    )
    assert "1 of the servers are named" in of(_servers([line()], THREE[:1], 3), "warning")[0]
    here = tuple(f"nats://h:{port}" for port in (1, 2, 3))
    assert "all servers are on h" in of(_servers([line(), line("n2"), line("n3")], here, 3), "warning")[0]


def test_a_server_that_does_not_write_at_once_is_an_error_unless_that_is_allowed() -> None:
    (why,) = of(_monitors(wanted(), [varz(always=False)], {"n1"}), "error")
    assert "put sync_interval: always into its jetstream block" in why
    found = [*_monitors(wanted(is_relaxed=True), [varz(always=False)], {"n1"})]
    assert of(iter(found), "error") == []
    assert "loss of power" in of(iter(found), "warning")[0]


def test_monitoring_that_does_not_answer_or_is_of_another_is_an_error() -> None:
    (silent, not_its_own) = of(_monitors(wanted(), ["refused"], {"n1"}), "error")
    assert silent.startswith("http://n1:8222 does not answer: refused")
    assert not_its_own.startswith("n1: none of the addresses")
    (other,) = of(_monitors(wanted(), [varz("n9")], {"n1"}), "error")
    assert other == not_its_own
    assert of(_monitors(wanted(is_relaxed=True), ["refused"], {"n1"}), "error") == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"server_name": "n1"}, "n1: JetStream is off"),
        (varz(size=2), "n1 knows of 2 servers, and 3 are to keep each message"),
        (varz(leader=""), "n1: JetStream has no leader"),
        (varz(used=10 * GIB - 5), "n1 has room for 0.0 GiB more of 10.0 GiB"),
    ],
)
def test_what_nodes_could_not_run_on_is_an_error(answer: dict[str, Any], why: str) -> None:
    (found,) = of(_monitors(wanted(), [answer], {"n1"}), "error")
    assert found.startswith(why)


def test_a_disk_that_is_nearly_full_is_a_warning() -> None:
    (found,) = of(_monitors(wanted(), [varz(used=int(8.8 * GIB))], {"n1"}), "warning")
    assert found.startswith("n1 has room for 1.2 GiB more of 10.0 GiB")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    running = NatsServers(tmp_path_factory.mktemp("nats"))
    yield running
    running.close()


@pytest.mark.interop
async def test_real_servers_before_there_is_a_cluster_then_with_one_and_without_one_of_them(
    servers: NatsServers,
) -> None:
    asks = wanted(access=Access(servers.urls), monitors=servers.monitor_urls)
    own = Line(asks.access, "test")
    own.open()
    try:
        await until(lambda: own.is_up)
        await until_well(asks)
        assert (await check(asks))[-1].what == "there is no cluster home yet: the first node makes it"
        await ensure(own, asks.names, 3, 40.0)
        assert (await check(asks))[-1].what == "all 4 streams of home are there, and whole"
        other = [*await check(asks._replace(names=Names("home", 2)))]
        assert "the number of partitions is 1 there, 2 here" in of(iter(other), "error")[0]
    finally:
        await own.close()
    servers.kill(2)
    found = await check(asks)
    errors = of(iter(found), "error")
    assert any(f"{servers.ports[2]} cannot be reached" in one for one in errors)
    assert any(f"{servers.monitors[2]} does not answer" in one for one in errors)


async def until_well(asks: Wanted) -> None:
    """Servers that have just been started have no leader yet."""
    for _ in range(20):
        if not of(iter(await check(asks)), "error"):
            return
    raise AssertionError(await check(asks))


async def test_a_port_where_nobody_listens_is_told_of(unused_port: str) -> None:
    found = await check(wanted(access=Access((unused_port,)), monitors=()))
    (why,) = of(iter(found), "error")
    assert "cannot be reached" in why
    assert not any(one.what.startswith("there is no cluster") for one in found)


@pytest.fixture
def unused_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("curier.jetstream.checking.REACH_SECONDS", 0.5)
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        yield f"nats://127.0.0.1:{held.getsockname()[1]}"
