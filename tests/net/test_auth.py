"""Authentication and authorization over the wire: asked asynchronously, while everybody else is served."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from functools import partial
from pathlib import Path

import argon2
import pytest

from curier.auth import Chain, PasswordFile, hashes
from curier.auth.base import ACCEPT, Action, Authenticator, Authorizer, Credentials, Verdict
from curier.auth.checks import Checks
from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Will,
)
from curier.errors import ConnectionLost
from curier.server import Broker
from tests.net import doors
from tests.net.harness import Peer, options, running
from tests.waiting import LONGER, until

DOORS = "spread"


class Gate(Authenticator):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Verdict]] = {}
        self.seen: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.seen.append(credentials)
        if credentials.client_id == "trusted":
            return Verdict(ACCEPT)
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.waiting[credentials.client_id] = future
        return await future


class Rules(Authorizer):
    """Lets everybody do everything but what begins with "closed"; asks itself for a while."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str, Action, str, int, bool]] = []
        self.is_closed = True

    async def authorize(
        self, identity: str | None, client_id: str, action: Action, topic: str, qos: int, retain: bool
    ) -> Verdict:
        self.asked.append((identity, client_id, action, topic, qos, retain))
        await asyncio.sleep(0)
        if topic == "broken":
            raise ValueError("rules cannot be read")
        return Verdict(0x87 if self.is_closed and topic.startswith("closed") else ACCEPT)


async def test_users_of_a_password_file(use_reactor: bool, tmp_path: Path) -> None:
    path = tmp_path / "users"
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    path.write_text(f"ana:{quick.hash('right')}\n")
    async with running(use_reactor, authenticator=PasswordFile(path)) as broker:
        for version, code, user, password in (
            (4, 4, "ana", b"wrong"),
            (5, 0x86, "bob", b"right"),
            (4, 4, None, None),
            (5, 0x86, None, None),
        ):
            peer = await Peer.open(broker.port, version)
            await peer.send(Connect(version, "c", True, 0, user, password))
            assert (await peer.expect(Connack)).reason_code == code
            await peer.ended()
        for version in (4, 5):
            peer = await Peer.connect(broker.port, "c", version, username="ana", password=b"right")
            await peer.publish("t", b"x", 1)


async def test_others_are_served_while_one_is_decided(use_reactor: bool) -> None:
    gate = Gate()
    async with running(use_reactor, authenticator=gate) as broker:
        slow = await Peer.open(broker.port)
        await slow.send(
            Connect(4, "slow", True, 0, "user", b"pass"),
            Subscribe(1, [("t", 0)]),
            Publish("t", b"x"),
            Pingreq(),
        )
        async with await Peer.connect(broker.port, "trusted") as other:
            await until(lambda: "slow" in gate.waiting)
            await other.publish("t", b"too early", 1)
            gate.waiting["slow"].set_result(Verdict(ACCEPT))
            await slow.expect(Connack)
            await slow.expect(Suback)
            assert (await slow.message()).payload == b"x"
            await slow.expect(Pingresp)
        own = slow.writer.get_extra_info("sockname")
        asked = gate.seen[0]
        assert (asked.client_id, asked.username, asked.password) == ("slow", "user", b"pass")
        where = (
            f"uid={os.getuid()}:pid={os.getpid()}"
            if doors.current().name == "unix"
            else f"127.0.0.1:{own[1]}"
        )
        assert (asked.address, asked.listener) == (where, broker.urls[0])


def open_questions(broker: Broker) -> int:
    assert broker._asking is not None
    return len(broker._asking.open)


async def test_a_client_that_leaves_before_the_answer(use_reactor: bool) -> None:
    gate = Gate()
    async with running(use_reactor, authenticator=gate) as broker:
        hasty = await Peer.open(broker.port)
        await hasty.send(Connect(4, "hasty"))
        await until(lambda: "hasty" in gate.waiting)
        hasty.reset()
        async with await Peer.connect(broker.port, "trusted") as other:
            await other.publish("t", b"x", 1)
            await until(gate.waiting["hasty"].cancelled)
            await other.publish("t", b"x", 1)
            assert list(broker.core.sessions) == ["trusted"]


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("version", [4, 5])
async def test_nobody_decides_on_who_has_gone(use_reactor: bool, how: str, version: int) -> None:
    gate = Gate()
    async with running(use_reactor, authenticator=gate) as broker:
        hasty = [await Peer.open(broker.port, version) for _ in range(10)]
        for number, peer in enumerate(hasty):
            await peer.send(Connect(version, f"c{number}", True, 0, "user", b"word"))
        await until(lambda: len(gate.waiting) == 10)
        for peer in hasty[1:]:
            if how == "reset":
                peer.reset()
            else:
                peer.leave()
        await until(lambda: sum(question.cancelled() for question in gate.waiting.values()) == 9)
        gate.waiting["c0"].set_result(Verdict(ACCEPT))
        await hasty[0].expect(Connack)
        await until(lambda: not open_questions(broker))
        assert list(broker.core.sessions) == ["c0"]


async def test_hundreds_that_hang_up_cost_no_checks(
    use_reactor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not more than were begun: one on each side of the line."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    path = tmp_path / "users"
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    path.write_text(f"ana:{quick.hash('right')}\n")
    may_end = threading.Event()
    checked: list[bytes] = []

    class Slow:
        def __init__(self, niceness: int) -> None:
            pass

        def fits(self, encoded: str, password: bytes) -> bool:
            checked.append(password)
            assert may_end.wait(100)
            return hashes.fits(encoded, password)

        def close(self) -> None:
            pass

    monkeypatch.setattr("curier.auth.passwords.Checks", partial(Checks, make_hasher=Slow))
    async with running(use_reactor, authenticator=PasswordFile(path)) as broker:
        for number in range(300):
            peer = await Peer.open(broker.port)
            await peer.send(Connect(4, f"c{number}", True, 0, "ana", b"wrong %d" % number))
            peer.reset()
        # Some may still wait to be accepted, when there are no connections.
        await until(lambda: broker.core.statistics.accepted == 300 and not broker.core.connections)
        assert not open_questions(broker)
        good = await Peer.open(broker.port)
        await good.send(Connect(4, "good", True, 0, "ana", b"right"))
        await until(lambda: bool(open_questions(broker)))
        may_end.set()
        assert (await good.expect(Connack)).reason_code == 0
        assert checked.pop() == b"right"
        assert 1 <= len(checked) <= 2


async def test_nobody_asks_for_who_has_gone_what_it_may_do(use_reactor: bool) -> None:
    asked: list[asyncio.Future[Verdict]] = []

    class Slow(Authorizer):
        async def authorize(
            self, identity: str | None, client_id: str, action: Action, topic: str, qos: int, retain: bool
        ) -> Verdict:
            asked.append(asyncio.get_running_loop().create_future())
            return await asked[-1]

    async with running(use_reactor, authorizer=Slow()) as broker:
        will = Will("w", b"gone", 0, False, None)
        hasty = await Peer.open(broker.port)
        await hasty.send(Connect(4, "hasty", True, 0, None, None, will))
        await until(lambda: bool(asked))
        hasty.reset()
        await until(lambda: asked[0].cancelled())
        assert not broker.core.sessions


@pytest.mark.parametrize("size", [10, 100_000])
async def test_what_a_client_says_before_it_hangs_up_counts(use_reactor: bool, size: int) -> None:
    gate = Gate()
    async with (
        running(use_reactor, authenticator=gate) as broker,
        await Peer.connect(broker.port, "trusted") as reader,
    ):
        await reader.subscribe("t", 0)
        hasty = await Peer.open(broker.port)
        await hasty.send(Connect(4, "hasty"), Publish("t", bytes(size)), Disconnect())
        hasty.leave()
        await until(lambda: "hasty" in gate.waiting)
        await asyncio.sleep(0.05)
        assert not gate.waiting["hasty"].done()
        gate.waiting["hasty"].set_result(Verdict(ACCEPT))
        assert (await reader.message()).payload == bytes(size)
        if doors.current().name in doors.WITH_HALVES:
            await hasty.expect(Connack)
            await hasty.ended()
        await until(lambda: len(broker.core.connections) == 1)


async def test_a_stranger_that_sends_much_before_the_answer_is_not_read_from(use_reactor: bool) -> None:
    gate = Gate()
    async with running(use_reactor, authenticator=gate) as broker:
        greedy = await Peer.open(broker.port)
        await greedy.send(Connect(4, "greedy"))
        await until(lambda: "greedy" in gate.waiting)
        publishes = [Publish("t", bytes(100_000), 1, False, False, 1)] * 100

        async def send_all() -> None:
            for publish in publishes:  # asyncio's TLS takes one piece of any size
                await greedy.send(publish)

        sending = asyncio.create_task(send_all())
        async with await Peer.connect(broker.port, "trusted") as other:
            for _ in range(20):
                await other.publish("t", b"x", 1)
            (connection,) = (c for c in broker.core.connections.values() if c.client_id == "greedy")
            assert connection.waiting_bytes() <= 512 * 1024
            assert not sending.done()
        gate.waiting["greedy"].set_result(Verdict(ACCEPT))
        await greedy.expect(Connack)
        for _ in publishes:
            await greedy.expect(Puback)
        await sending


@pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x88)])
async def test_an_authenticator_that_fails_refuses(
    use_reactor: bool, version: int, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Authenticator):
        async def authenticate(self, credentials: Credentials) -> Verdict:
            raise ValueError("no database")

    async with running(use_reactor, authenticator=Broken()) as broker:
        peer = await Peer.open(broker.port, version)
        await peer.send(Connect(version, "c", True, 0, "user", b"secret"))
        assert (await peer.expect(Connack)).reason_code == code
        await peer.ended()
    assert "no database" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x89)])
async def test_an_authenticator_that_takes_too_long(use_reactor: bool, version: int, code: int) -> None:
    for seconds in LONGER:
        gate = Gate()
        limits = options(connect_timeout=seconds)
        async with running(use_reactor, authenticator=gate, options=limits) as broker:
            try:
                peer = await Peer.open(broker.port, version)
                await peer.send(Connect(version, "slow"))
                connack = await peer.expect(Connack)
            except (ConnectionLost, OSError, EOFError):
                if "slow" in gate.waiting:
                    raise
                continue  # it took too long to connect
            assert connack.reason_code == code
            await peer.ended()
            assert gate.waiting["slow"].cancelled()
            assert not broker.core.sessions
            return
    pytest.fail("nobody was asked")


async def test_the_broker_stops_while_a_question_is_open(use_reactor: bool) -> None:
    gate = Gate()
    async with running(use_reactor, authenticator=gate) as broker:
        peer = await Peer.open(broker.port)
        await peer.send(Connect(4, "slow"))
        await until(lambda: "slow" in gate.waiting)
        stopping = asyncio.create_task(broker.stop())
        await peer.ended()
        await peer.close()
        await stopping
    assert gate.waiting["slow"].cancelled()


async def test_an_authorizer_decides_and_is_asked_once(use_reactor: bool) -> None:
    rules = Rules()
    async with (
        running(use_reactor, authorizer=rules) as broker,
        await Peer.connect(broker.port, "c", 5, username="ana") as client,
    ):
        await client.send(Subscribe(1, [("closed/#", 0), ("open/#", 1), ("t", 0)]))
        assert (await client.expect(Suback)).reason_codes == [0x87, 1, 0]
        for _ in range(3):
            await client.send(
                Publish("closed/x", b"", 1, False, False, 1), Publish("open/x", b"", 1, False, False, 2)
            )
            refused = await client.expect(Puback)
            assert (refused.packet_id, refused.reason_code) == (1, 0x87)
            packets = [await client.receive(), await client.receive()]  # in either order
            (puback,) = (packet for packet in packets if isinstance(packet, Puback))
            (publish,) = (packet for packet in packets if isinstance(packet, Publish))
            assert (puback.packet_id, puback.reason_code, publish.topic) == (2, 0, "open/x")
            await client.send(Puback(publish.packet_id))
        assert rules.asked == [
            ("ana", "c", "subscribe", "closed/#", 0, False),
            ("ana", "c", "subscribe", "open/#", 1, False),
            ("ana", "c", "subscribe", "t", 0, False),
            ("ana", "c", "publish", "closed/x", 1, False),
            ("ana", "c", "publish", "open/x", 1, False),
        ]
        rules.is_closed = False
        rules.changed()
        await client.send(Publish("closed/x", b"", 1, False, False, 3))
        assert (await client.expect(Puback)).reason_code == 0x10
        assert len(rules.asked) == 6
    assert rules._watchers == ()


async def test_an_authorizer_that_fails_refuses(use_reactor: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with (
            running(use_reactor, authorizer=Rules()) as broker,
            await Peer.connect(broker.port, "c", 5) as client,
        ):
            await client.send(Publish("broken", b"", 1, False, False, 1))
            assert (await client.expect(Puback)).reason_code == 0x87
    assert "rules cannot be read" in caplog.text


async def test_order_is_kept_while_an_authorizer_is_asked(use_reactor: bool) -> None:
    async with (
        running(use_reactor, authorizer=Rules()) as broker,
        await Peer.connect(broker.port, "c") as client,
        await Peer.connect(broker.port, "s") as sender,
    ):
        await client.subscribe("t/+")
        await sender.send(*[Publish(f"t/{number % 17}", b"%d" % number) for number in range(200)])
        got = [(await client.message()).payload for _ in range(200)]
        assert got == [b"%d" % number for number in range(200)]


class Guests(Authenticator):
    """Lets those in who are on the list, and says when it is another one."""

    look_seconds = 0.001

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.fails = False

    async def look(self) -> int:
        if self.fails:
            raise OSError("the list is lost")
        return hash(frozenset(self.names))

    async def authenticate(self, credentials: Credentials) -> Verdict:
        name = credentials.username or ""
        return Verdict(ACCEPT, why_no_more=lambda: "" if name in self.names else f"{name} is on no list")


async def test_who_would_be_let_in_no_more_is_disconnected(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    guests = Guests("ana", "bob", "carl")
    caplog.set_level(logging.INFO)
    async with running(use_reactor, authenticator=Chain([guests])) as broker:
        ana = await Peer.connect(broker.port, "a", version=5, username="ana", password=b"")
        bob = await Peer.connect(broker.port, "b", username="bob", password=b"")
        carl = await Peer.connect(broker.port, "c", version=5, username="carl", password=b"")
        guests.fails = True
        await until(lambda: "failed to look for changes" in caplog.text)
        guests.names -= {"ana", "bob"}
        guests.fails = False
        goodbye = await ana.expect(Disconnect)
        assert goodbye.reason_code == 0x87
        assert goodbye.properties is not None
        assert goodbye.properties.reason_string == "this user may not connect any more"
        await bob.ended()
        await carl.send(Pingreq())
        await carl.expect(Pingresp)
        assert "disconnected: ana is on no list" in caplog.text
        assert "disconnected: bob is on no list" in caplog.text
        assert broker._asking is not None
        looking = broker._asking._looking
        assert looking is not None
    await until(looking.done)  # a broker that has stopped looks no more
