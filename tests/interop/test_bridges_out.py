"""Our bridges to other people's brokers: Mosquitto, RabbitMQ, NATS, aedes."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.bridge.settings import BridgeSettings, Peer
from curier.client.dialing.tls import TlsSettings
from tests.bridge.brokers import SECONDS, bridged, brokers, came, client, settings
from tests.interop import other_brokers
from tests.interop.mosquitto_process import MosquittoProcess
from tests.net.doors import Authority
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # for brokers that take long to start

NUMBERS = [b"%d" % number for number in range(20)]
Start = Callable[[Path], AbstractContextManager[int]]


def there(port: int, **more: Any) -> Peer:
    return Peer(urls=(f"mqtt://127.0.0.1:{port}",), client_id="hall", **more)


@pytest.mark.parametrize(
    ("start", "version"),
    [
        (other_brokers.mosquitto, 5),
        (other_brokers.mosquitto, 4),
        (other_brokers.rabbitmq, None),
        (other_brokers.nats, None),
        (other_brokers.aedes, None),
    ],
    ids=["mosquitto-5", "mosquitto-3.1.1", "rabbitmq", "nats", "aedes"],
)
async def test_messages_go_out_and_come_in(start: Start, version: int | None, tmp_path: Path) -> None:
    """In order, once, and also those that were published there while the bridge was away."""
    (tmp_path / "there").mkdir()
    with start(tmp_path / "there") as port:
        url = f"mqtt://127.0.0.1:{port}"
        wanted = settings(there(port, version=version), "out/# out 1 home/ far/", "in/# in 1 home/ far/")
        async with (
            brokers(1, tmp_path) as (here,),
            client(here, "home/#") as (local, at),
            curier.connect(url, version=version or 4) as remote,
            remote.subscribe("far/out/#", qos=1) as to,
        ):
            async with bridged(here, wanted):
                for number in NUMBERS:
                    await local.publish("home/out/a", number, qos=1)
                    await remote.publish("far/in/a", number, qos=1)
                assert await came(to, NUMBERS[-1]) == NUMBERS
                found = [await at.get(SECONDS) for _ in range(40)]
                assert [one.payload for one in found if one.topic == "home/in/a"] == NUMBERS
                await local.publish("home/out/kept", b"kept", qos=1, retain=True)
                assert await came(to, b"kept") == [b"kept"]
                assert (await at.get(SECONDS)).payload == b"kept"
            for number in NUMBERS:
                await remote.publish("far/in/a", number, qos=1)
            async with bridged(here, wanted):
                assert await came(at, NUMBERS[-1]) == NUMBERS
        async with (
            curier.connect(url, version=version or 4) as remote,
            remote.subscribe("far/out/kept") as kept,
        ):
            assert (await kept.get(SECONDS)).retain


@pytest.mark.parametrize("version", [5, 4])
async def test_mosquitto_sends_nothing_back_of_what_goes_both_ways(version: int, tmp_path: Path) -> None:
    """By No Local, or by the bridge bit."""
    with other_brokers.mosquitto(tmp_path) as port:
        async with (
            brokers(1) as (here,),
            client(here) as (local, at),
            curier.connect(f"mqtt://127.0.0.1:{port}", version=version) as remote,
            remote.subscribe("#", qos=1) as to,
            bridged(here, settings(there(port, version=version), "# both 1")),
        ):
            await local.publish("a", b"from here", qos=1)
            await remote.publish("a", b"from there", qos=1)
            assert {(await one.get(SECONDS)).payload for one in (at, at)} == {b"from here", b"from there"}
            assert {(await one.get(SECONDS)).payload for one in (to, to)} == {b"from here", b"from there"}
            await local.publish("a", b"last", qos=1)  # had anything come back, it would be there before
            assert await came(to, b"last") == [b"last"]
            assert await came(at, b"last") == [b"last"]


async def test_where_nothing_would_stop_messages_from_coming_back_the_bridge_says_so(tmp_path: Path) -> None:
    """NATS speaks 3.1.1, and refuses the bridge bit."""
    with other_brokers.nats(tmp_path) as port:
        async with brokers(1) as (here,):
            async with bridged(here, settings(there(port), "a/# both 1", "b/# out 1"), waits=False) as house:
                await until(lambda: "would bring back what a/# both 1 carries" in house.running["hall"].error)


async def test_nothing_is_lost_when_mosquitto_is_killed(tmp_path: Path) -> None:
    """What is published here while it is away is there when it is back."""
    mosquitto = MosquittoProcess(tmp_path)
    try:
        async with brokers(1, tmp_path) as (here,), client(here) as (local, _):
            async with bridged(here, settings(there(mosquitto.port), "out/# out 1")) as house:
                mosquitto.kill()
                for number in NUMBERS:
                    await local.publish("out/a", number, qos=1, retain=True)
                await until(lambda: not house.running["hall"].is_connected)
                mosquitto.start()
                await until(lambda: house.running["hall"].out.carried == len(NUMBERS))
                url = f"mqtt://127.0.0.1:{mosquitto.port}"
                async with curier.connect(url) as remote, remote.subscribe("out/#") as kept:
                    assert (await kept.get(SECONDS)).payload == NUMBERS[-1]
    finally:
        mosquitto.close()


def secure_mosquitto(folder: Path, authority: Authority) -> MosquittoProcess:
    """It asks for a certificate, whose name is the user, and speaks TLS at its second listener alone."""
    certificate, key = authority.issue("broker.test")
    for path in (certificate, key, authority.file):
        path.chmod(0o644)
    return MosquittoProcess(
        folder,
        "user root",  # where it is started by him: its own may not read what he has made
        f"listener {free_port()} 127.0.0.1",
        f"cafile {authority.file}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "require_certificate true",
        "use_identity_as_username true",
    )


async def test_mosquitto_over_tls_with_certificates_of_both(tmp_path: Path) -> None:
    authority = Authority()
    mosquitto = secure_mosquitto(tmp_path, authority)
    port = re.findall(r"^listener (\d+)", mosquitto.config.read_text(), re.MULTILINE)[1]
    certificate, key = authority.issue("hall", common_name="hall")
    mine: dict[str, Any] = {"certificate": certificate, "key": key, "server_name": "broker.test"}

    def wanted(**tls: Any) -> BridgeSettings:
        peer = Peer(
            urls=(f"mqtts://127.0.0.1:{port}",),
            tls=TlsSettings(ca_file=authority.file, **tls),
            client_id="hall",
        )
        return settings(peer, "# both 2")

    try:
        async with brokers(1, tmp_path) as (here,), client(here) as (local, at):
            for wrong, why in (
                (mine | {"server_name": "other.test"}, "other.test"),
                ({"server_name": "broker.test"}, "certificate"),
            ):
                async with bridged(here, wanted(**wrong), waits=False) as house:
                    await until(lambda house=house: bool(house.running["hall"].error))  # type: ignore[misc]
                    assert why in house.running["hall"].error
            async with (
                curier.connect(f"mqtt://127.0.0.1:{mosquitto.port}") as remote,
                remote.subscribe("#", qos=2) as to,
                bridged(here, wanted(**mine)),
            ):
                for number in NUMBERS:
                    await local.publish("out", number, qos=2)
                    await remote.publish("in", b"in %b" % number, qos=2)
                found = [await to.get(SECONDS) for _ in range(40)]
                assert [one.payload for one in found if one.topic == "out"] == NUMBERS
                found = [await at.get(SECONDS) for _ in range(40)]
                assert [one.payload for one in found if one.topic == "in"] == [
                    b"in %b" % one for one in NUMBERS
                ]
    finally:
        mosquitto.close()
