"""What becomes of messages while the other broker is away for long, refuses the bridge, or takes less."""

from __future__ import annotations

from pathlib import Path

import pytest

import curier
from curier.auth import Authenticator, Authorizer, Credentials, Verdict
from curier.bridge.ends import backoff
from curier.bridge.settings import Peer
from curier.client.keeper import delay_after_refusal
from curier.errors import PublishRefused
from tests.bridge.brokers import Seen, bridged, brokers, came, client, peer, settings
from tests.ports import free_port
from tests.waiting import until

NUMBERS = [b"%d" % number for number in range(30)]


async def test_of_a_full_queue_what_was_first_arrives_and_the_rest_is_counted(tmp_path: Path) -> None:
    """With ``drop-newest``, as by default, and another receiver that has room; 1 more is on its way to the
    bridge (``window``).
    """
    options = curier.Options()
    options.max_queued_messages = 10
    port = free_port()
    wanted = settings(Peer(urls=(f"mqtt://127.0.0.1:{port}",)), "# out 1", window=1, threshold=1)
    async with curier.Broker("tcp://127.0.0.1:0", data=tmp_path / "here", options=options) as here:
        async with bridged(here, wanted, waits=False) as house, client(here) as (local, _):
            await until(lambda: bool(house.running["hall"].error))
            for number in NUMBERS:
                await local.publish("a", number, qos=1)
            [numbers] = house.numbers()
            assert numbers.waiting == 11
            assert here.core.statistics.dropped == len(NUMBERS) - 11
            seen = Seen()
            async with curier.Broker(f"tcp://127.0.0.1:{port}", hooks=[seen]):
                assert await seen.up_to(NUMBERS[10]) == NUMBERS[:11]
                await until(lambda: not house.numbers()[0].waiting)
                await local.publish("a", b"goes on", qos=1)
                assert await seen.up_to(b"goes on") == [*NUMBERS[:11], b"goes on"]


async def test_where_nothing_may_be_lost_its_publisher_is_told(tmp_path: Path) -> None:
    """With ``refuse``: all that was acknowledged arrives."""
    options = curier.Options()
    options.max_queued_messages = 10
    options.when_full = "refuse"
    port = free_port()
    wanted = settings(Peer(urls=(f"mqtt://127.0.0.1:{port}",)), "# out 1", window=1, threshold=1)
    async with curier.Broker("tcp://127.0.0.1:0", data=tmp_path / "here", options=options) as here:
        async with bridged(here, wanted, waits=False) as house, client(here, "nothing") as (local, _):
            await until(lambda: bool(house.running["hall"].error))
            taken = []
            for number in NUMBERS:
                try:
                    await local.publish("a", number, qos=1)
                except PublishRefused:
                    continue
                taken.append(number)
            assert taken == NUMBERS[:11]
            seen = Seen()
            async with curier.Broker(f"tcp://127.0.0.1:{port}", hooks=[seen]):
                assert await seen.up_to(taken[-1]) == taken
                await until(lambda: not house.numbers()[0].waiting)
                await local.publish("a", b"goes on", qos=1)
                assert await seen.up_to(b"goes on") == [*taken, b"goes on"]


async def test_what_waits_for_long_expires_on_its_way(tmp_path: Path) -> None:
    async with brokers(1, tmp_path) as (here,), client(here, "nothing") as (local, _):
        port = free_port()
        wanted = settings(Peer(urls=(f"mqtt://127.0.0.1:{port}",)), "# out 1", window=1, threshold=1)
        async with bridged(here, wanted, waits=False) as house:
            await until(lambda: bool(house.running["hall"].error))
            await local.publish("a", b"first", qos=1)
            await local.publish("a", b"of today", qos=1, message_expiry=1)
            await local.publish("a", b"lasts", qos=1, message_expiry=1_000_000)
            here.turn.clock.offset += 100_000.0
            seen = Seen()
            async with curier.Broker(f"tcp://127.0.0.1:{port}", hooks=[seen]) as there:
                assert await seen.up_to(b"lasts") == [b"first", b"lasts"]
                assert seen.messages[-1].expires_at <= there.turn.clock.now() + 900_000


class Password(Authenticator):
    """Lets in who knows it, and those who look on."""

    def __init__(self) -> None:
        self.password = b"right"
        self.asked = 0

    async def authenticate(self, credentials: Credentials) -> Verdict:
        if not credentials.client_id.endswith(".hall"):
            return Verdict(0)
        self.asked += 1
        return Verdict(0 if credentials.password == self.password else 0x86)


async def test_a_wrong_password_is_told_and_is_tried_again_seldom(caplog: pytest.LogCaptureFixture) -> None:
    guard = Password()
    async with brokers(1) as (here,), curier.Broker("tcp://127.0.0.1:0", authenticator=guard) as there:
        wanted = settings(peer(there, username="hall", password="wr0ng!"), "# out 1")
        async with bridged(here, wanted, waits=False) as house, client(here, "nothing") as (local, _):
            bridge = house.running["hall"]
            await until(lambda: "0x86" in bridge.error)
            assert not bridge.is_connected
            await local.publish("a", b"waits", qos=1)
            async with client(there) as (_, to):
                guard.password = b"wr0ng!"  # whoever looks after that broker mends it
                assert await came(to, b"waits") == [b"waits"]
            assert not bridge.error
    assert "wr0ng!" not in caplog.text


def test_by_default_a_refused_bridge_asks_about_once_a_minute() -> None:
    """First after 5 to 10 seconds: a password that is mended soon is found soon."""

    class Most:
        def uniform(self, least: float, most: float) -> float:
            return least

    one = settings(Peer(urls=("mqtt://x",)), "# out 1", first_wait=1.0, longest_wait=60.0)
    waits = [delay_after_refusal(number, backoff(one), Most()) for number in range(1, 6)]  # type: ignore[arg-type]
    assert waits == [5.0, 10.0, 20.0, 30.0, 30.0]


class NotThere(Authorizer):
    """Forbids some topics."""

    async def authorize(
        self, identity: str | None, client_id: str, action: str, topic: str, qos: int, retain: bool
    ) -> Verdict:
        return Verdict(0x87 if topic.startswith("secret") else 0)


async def test_what_may_not_be_published_there_does_not_hold_up_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with brokers(1) as (here,), curier.Broker("tcp://127.0.0.1:0", authorizer=NotThere()) as there:
        async with bridged(here, settings(peer(there), "# out 1")) as house, client(here, "no") as (local, _):
            async with client(there, "+") as (_, to):
                await local.publish("secret", b"1", qos=1)
                await local.publish("open", b"2", qos=1)
                assert await came(to, b"2") == [b"2"]
            assert house.running["hall"].out.refused == 1
    assert "secret with 1 bytes is not taken at" in caplog.text


async def test_what_may_not_be_subscribed_to_there_is_told() -> None:
    async with brokers(1) as (here,), curier.Broker("tcp://127.0.0.1:0", authorizer=NotThere()) as there:
        async with bridged(here, settings(peer(there), "secret/# in 1"), waits=False) as house:
            await until(lambda: "secret/#" in house.running["hall"].error)


async def test_a_topic_that_is_too_long_there_is_given_up() -> None:
    """A prefix makes it longer than any topic may be (1.5.4)."""
    async with brokers(2) as (here, there):
        wanted = settings(peer(there), '# out 1 "" ' + "x" * 100 + "/", '# in 1 "" ' + "y/")
        async with bridged(here, wanted) as house, client(here, "no") as (local, _):
            async with client(there) as (_, to):
                await local.publish("a" * 65_500, b"1", qos=1)
                await local.publish("b" * 65_500, b"2", qos=0)
                await local.publish("c", b"3", qos=1)
                assert await came(to, b"3") == [b"3"]
            bridge = house.running["hall"]
            assert (bridge.out.refused, bridge.connects) == (2, 1)
