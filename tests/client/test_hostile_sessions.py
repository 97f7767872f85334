"""A server that ends, refuses, forgets, invents and takes too much: what the client makes of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import curier
from curier.client.events import SessionLost
from curier.client.settings import Authentication
from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from tests.client.stage import Stage, Watch, life_of, make_properties, settle, virtual

SESSION = {"client_id": "me", "session_expiry": 1000}
WAITED_FOR = [0x00, 0x80, 0x83, 0x89, 0x8B, 0x8D, 0x93, 0x96, 0x97, 0x98, 0x9C, 0x9F, 0xA0]
FOR_GOOD = [0x81, 0x82, 0x87, 0x8E, 0x8F, 0x90, 0x94, 0x95, 0x99, 0x9A, 0x9B, 0x9D, 0x9E, 0xA1, 0xA2]
REFUSED_FOR_NOW = [0x80, 0x83, 0x88, 0x89, 0x97, 0x9C, 0x9F]
REFUSED_FOR_GOOD = [0x81, 0x82, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B, 0x9D]


# ---- the end of a connection, and its refusal ----


@pytest.mark.parametrize("code", WAITED_FOR)
@virtual
async def test_a_disconnect_that_passes(stage: Stage, code: int) -> None:
    async with stage.connect(**SESSION) as (client, wire), Watch(client) as watch:
        receipt = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        wire.send(Disconnect(code, make_properties(reason_string="later")))
        again = await stage.wire()
        await again.accept(session_present=True)
        await again.published()
        await receipt
        lost = watch.events[0]
        assert isinstance(lost, curier.ConnectionLost)
        assert (lost.reason_code, lost.by_server) == (code, True)
        assert "later" in str(lost)


@pytest.mark.parametrize("code", FOR_GOOD)
@virtual
async def test_a_disconnect_for_good(stage: Stage, code: int) -> None:
    """With this policy the client does not come back; everybody who waits is told why, once and for all."""
    async with stage.connect(on_refused="stop", **SESSION) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        reading = asyncio.ensure_future(client.subscribe("b").__anext__())
        await wire.subscribed()
        wire.send(Disconnect(code, make_properties(reason_string="never")))
        for waiting in (receipt, reading):
            with pytest.raises(curier.ConnectionLost, match="never") as caught:
                await waiting
            assert caught.value.reason_code == code
        await asyncio.sleep(10_000)
    assert len(stage.dialled) == 1


@pytest.mark.parametrize("code", REFUSED_FOR_NOW)
@virtual
async def test_a_refusal_that_passes(stage: Stage, code: int) -> None:
    async with stage.connect(**SESSION) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        wire.cut()
        for _ in range(3):
            refusing = await stage.wire()
            await refusing.receive(Connect)
            refusing.send(Connack(False, code))
            await refusing.closed()
        again = await stage.wire()
        await again.accept(session_present=True)
        await again.published()
        await receipt


@pytest.mark.parametrize("code", REFUSED_FOR_GOOD)
@virtual
async def test_a_refusal_for_good(stage: Stage, code: int) -> None:
    async with stage.connect(on_refused="stop", **SESSION) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        await settle()
        wire.cut()
        refusing = await stage.wire()
        await refusing.receive(Connect)
        refusing.send(Connack(False, code, make_properties(reason_string="never")))
        with pytest.raises(curier.ConnectRefused, match="never") as caught:
            await receipt
        assert caught.value.reason_code == code
        await asyncio.sleep(10_000)
    assert len(stage.dialled) == 2


@pytest.mark.parametrize(("code", "known_as"), [(1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)])
@virtual
async def test_refusals_of_311(stage: Stage, code: int, known_as: int) -> None:
    client = stage.client(version=4)
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, code))
    with pytest.raises(curier.ConnectRefused) as caught:
        await entering
    assert caught.value.reason_code == known_as


@pytest.mark.parametrize("code", [0x9C, 0x9D])
@virtual
async def test_a_server_that_names_another_is_not_followed_but_quoted(stage: Stage, code: int) -> None:
    """Whoever answers must not choose where password and messages go."""
    entering = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, code, make_properties(server_reference="elsewhere:1883")))
    with pytest.raises(curier.ConnectRefused, match="elsewhere:1883"):
        await entering
    assert [url for _, url in stage.dialled] == ["mqtt://server:1883"]


@pytest.mark.parametrize("code", [0x9C, 0x9D])
@virtual
async def test_a_server_that_sends_its_clients_away(stage: Stage, code: int) -> None:
    """To the next in the list, at CONNACK and at DISCONNECT; never twice to one that has moved for good."""
    properties = make_properties(server_reference="elsewhere:1883")
    client = stage.client(["mqtt://one", "mqtt://two"])
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, code, properties))
    wire = await stage.wire()
    await wire.accept()
    await entering
    watch = Watch(client)
    wire.send(Disconnect(code, properties))
    wire = await stage.wire()
    assert wire.url.host == "one"
    assert "elsewhere:1883" in str(watch.events[0])
    for _ in range(2):
        await wire.receive(Connect)
        wire.send(Connack(False, code, properties))
        wire = await stage.wire() if wire.url.host == "one" else wire
    if code == 0x9D:
        await wire.closed()
        await settle()
        with pytest.raises(curier.ConnectRefused, match="0x9D"):
            await client.__aexit__(None, None, None)
        assert len(stage.dialled) == 4
    else:
        await (await stage.wire()).accept()
        await settle()
        assert client.is_connected
        await client.__aexit__(None, None, None)
    async with watch:
        pass


# ---- sessions ----


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_a_session_that_was_not_asked_for(stage: Stage, version: int) -> None:
    """Session Present 1 in answer to Clean Start: what that session would bring is nobody's."""
    client = stage.client(version=version)
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    assert (await wire.receive(Connect)).clean_start
    wire.send(Connack(True, 0), Publish("a", b"x", 1, False, False, 1))
    with pytest.raises(curier.ConnectionLost, match=r"MQTT-3\.2\.2-4"):
        await entering


@virtual
async def test_a_session_that_comes_and_goes(stage: Stage) -> None:
    """Kept, lost, kept: subscriptions are made anew when they are lost, and only then."""
    async with stage.connect(**SESSION) as (client, wire), Watch(client) as watch:
        opening = asyncio.ensure_future(client.subscribe("a", qos=2, keep=True).open())
        await wire.subscribed()
        await opening
        receipt = client.publish_nowait("b", b"x", qos=2)
        publish = await wire.receive(Publish)
        wire.send(Pubrec(publish.packet_id))
        await wire.receive(Pubrel)
        for is_present in (True, False, True):
            wire.cut()
            wire = await stage.wire()
            assert not (await wire.accept(session_present=is_present)).clean_start
            await settle()
            kinds = [type(packet) for packet in wire.packets]
            assert (Subscribe in kinds) == (not is_present)
            if Subscribe in kinds:
                await wire.subscribed()
            assert not any(isinstance(packet, Publish) for packet in wire.packets)  # it had been taken
        assert (await receipt).reason_code == 0
        losses = [event for event in watch.events if isinstance(event, SessionLost)]
        assert losses == [SessionLost(0)]


@virtual
async def test_31_cannot_say_whether_it_has_the_session(stage: Stage) -> None:
    """CONNACK of 3.1 has no Session Present: what is unfinished goes on, and it is subscribed anew."""
    async with stage.connect(version=3, clean_start=False, **SESSION) as (client, wire):
        stream = client.subscribe("a", qos=1, keep=False)
        opening = asyncio.ensure_future(stream.open())
        await wire.subscribed()
        await opening
        receipt = client.publish_nowait("b", qos=1)
        publish = await wire.receive(Publish)
        wire.cut()
        wire = await stage.wire()
        await wire.accept()
        assert (await wire.subscribed()).subscriptions == [("a", 1)]
        again = await wire.published()
        assert (again.packet_id, again.dup) == (publish.packet_id, True)
        await receipt
        closing = asyncio.ensure_future(stream.close())
        await wire.unsubscribed()
        await closing


# ---- limits ----


@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_more_than_receive_maximum(stage: Stage, qos: int, caplog: pytest.LogCaptureFixture) -> None:
    """As Mosquitto sends retained messages: what fits is taken, in order, and told once."""
    async with stage.connect(receive_maximum=2, **SESSION) as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("a", qos=qos, keep=True).open())
        await wire.subscribed()
        stream = await opening
        for number in range(1, 101):
            wire.send(Publish("a", str(number).encode(), qos, False, False, number))
        assert len(stream) == 100
        kind: type[Puback | Pubrec] = Puback if qos == 1 else Pubrec
        for number in range(1, 101):
            assert (await stream.get()).payload == str(number).encode()
            assert (await wire.receive(kind)).packet_id == number
            if qos == 2:
                wire.send(Pubrel(number))
                assert (await wire.receive(Pubcomp)).packet_id == number
        assert client.statistics.tolerated == 98
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "Receive Maximum" in caplog.text
        for number in range(1, 3):  # what is acknowledged makes room
            wire.send(Publish("a", b"more", qos, False, False, number))
        assert client.statistics.tolerated == 98


@virtual
async def test_far_more_than_receive_maximum(stage: Stage) -> None:
    """Bounded all the same: over the bytes that are taken it is the error it is, and loses nothing."""
    async with stage.connect(receive_maximum=1, **SESSION) as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("a", qos=1, keep=True).open())
        await wire.subscribed()
        stream = await opening
        life_of(client).link.connection.tolerance = 1000
        for number in range(1, 5):
            wire.send(Publish("a", b"x" * 400, 1, False, False, number))
        assert (await wire.receive(Disconnect)).reason_code == 0x93
        again = await stage.wire()
        await again.accept(session_present=True)
        for number in range(1, 5):
            again.send(Publish("a", b"x" * 400, 1, number < 4, False, number))
            await stream.get()
            assert (await again.receive(Puback)).packet_id == number


@virtual
async def test_more_than_maximum_packet_size(stage: Stage) -> None:
    """Refused as soon as its length is known, before it takes memory."""
    async with stage.connect(maximum_packet_size=100, **SESSION) as (client, wire):
        wire.send_bytes(b"\x30\xff\xff\xff\x7f")
        assert (await wire.receive(Disconnect)).reason_code == 0x95
        await (await stage.wire()).accept(session_present=True)
        await settle()
        assert client.is_connected


@pytest.mark.parametrize(("maximum", "alias", "code"), [(0, 1, 0x94), (2, 3, 0x94), (2, 2, 0x82)])
@virtual
async def test_aliases_that_mean_nothing(stage: Stage, maximum: int, alias: int, code: int) -> None:
    async with stage.connect(topic_alias_maximum=maximum, **SESSION) as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("#", keep=True).open())
        await wire.subscribed()
        stream = await opening
        if maximum:
            wire.send(Publish("a", b"", 0, False, False, 0, make_properties(topic_alias=1)))
            assert (await stream.get()).topic == "a"
        wire.send(Publish("", b"", 0, False, False, 0, make_properties(topic_alias=alias)))
        assert (await wire.receive(Disconnect)).reason_code == code
        again = await stage.wire()
        await again.accept(session_present=True)
        await settle()
        assert client.is_connected
        if maximum:  # what an alias stood for is gone with its connection
            again.send(Publish("", b"", 0, False, False, 0, make_properties(topic_alias=1)))
            assert (await again.receive(Disconnect)).reason_code == 0x82
            await (await stage.wire()).accept(session_present=True)
            await settle()


# ---- time ----


@virtual
async def test_the_wall_clock_jumps(stage: Stage) -> None:
    """A year forth or back: nothing is hurried, nothing is late, nothing expires."""
    jumps = [0.0]
    wall = time.time

    def jumping() -> float:
        return wall() + jumps[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", jumping)
        async with stage.connect(version=4, client_id="me", keep_alive=30, retry_interval=20) as (
            client,
            wire,
        ):
            for jump in (365 * 86400.0, -365 * 86400.0):
                jumps[0] = jump
                began = stage.now
                receipt = client.publish_nowait("a", qos=1, message_expiry=60)
                first = await wire.receive(Publish)
                again = await wire.find(Publish)
                assert (again.packet_id, again.dup) == (first.packet_id, True)
                assert stage.now - began == pytest.approx(20, abs=0.5)
                wire.send(Puback(first.packet_id))
                await receipt
                await wire.find(Pingreq)
                wire.send(Pingresp())
                assert stage.now - began < 60
            wire.cut()
            receipt = client.publish_nowait("a", qos=1, message_expiry=60)
            jumps[0] = 365 * 86400.0
            wire = await stage.wire()
            await wire.accept()
            await wire.published()
            await receipt
    assert len(stage.dialled) == 2


@virtual
async def test_a_loop_that_is_always_late_pings_all_the_same(stage: Stage) -> None:
    """Each turn of the loop takes five seconds: the server must not think that nobody is there."""
    async with stage.connect(keep_alive=12, ping_timeout=30) as (client, wire):
        loop: Any = asyncio.get_running_loop()
        for _ in range(40):
            loop.now += 5
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            while wire.packets:
                assert isinstance(wire.packets.pop(), Pingreq)
                wire.send(Pingresp())
        assert sum(isinstance(packet, Pingreq) for packet in wire.log) >= 8
        assert client.is_connected


@virtual
async def test_a_server_that_reads_slowly_is_not_dead(stage: Stage) -> None:
    """A large message is on its way for minutes, and PINGREQ behind it; when it stops, that is the end."""
    async with stage.connect(keep_alive=10, ping_timeout=5, **SESSION) as (client, wire):
        client.publish_nowait("a", b"x" * 100_000)
        wire.stuck_bytes = 100_000
        for left in range(90_000, 0, -1000):
            await asyncio.sleep(4)
            wire.stuck_bytes = left
            assert client.is_connected
        assert stage.dialled[1:] == []
        await (await stage.wire()).accept(session_present=True)
        await settle()
        assert client.is_connected


# ---- enhanced authentication ----


class Slow(Authentication):
    """Answers after a while; may fail the second time it begins."""

    method = "slow"

    def __init__(self, fails: bool = False) -> None:
        self.begun = 0
        self.fails = fails

    def begin(self) -> bytes | None:
        self.begun += 1
        if self.fails and self.begun > 1:
            raise ValueError("the token has expired")
        return None

    async def answer(self, data: bytes | None) -> bytes | None:
        await asyncio.sleep(1)
        return data


@virtual
async def test_a_server_that_does_not_wait_for_its_answer(stage: Stage) -> None:
    method = make_properties(authentication_method="slow")
    client = stage.client(authentication=Slow())
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Auth(0x18, method), Connack(False, 0, method))
    await entering
    task = life_of(client).link._answering
    assert task is not None
    await asyncio.wait([task])
    assert task.exception() is None
    await settle()
    assert client.is_connected
    assert wire.packets == []  # an AUTH now would be one out of turn
    await client.__aexit__(None, None, None)


@virtual
async def test_an_authentication_that_cannot_begin_again_ends_the_client(stage: Stage) -> None:
    client = stage.client(authentication=Slow(fails=True))
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    await wire.accept(authentication_method="slow")
    await entering
    wire.cut()
    await settle()
    task = life_of(client).keeper._task
    assert task is not None
    await asyncio.wait([task])
    assert task.exception() is None  # nobody would ever ask for it
    with pytest.raises(curier.MqttError, match="the token has expired") as caught:
        await client.__aexit__(None, None, None)
    assert isinstance(caught.value.__cause__, ValueError)


@virtual
async def test_qos_2_is_not_done_twice_when_pubrel_comes_twice(stage: Stage) -> None:
    async with stage.connect(**SESSION) as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("a", qos=2, keep=True).open())
        await wire.subscribed()
        stream = await opening
        publish = Publish("a", b"1", 2, False, False, 9)
        wire.send(publish, Publish("a", b"1", 2, True, False, 9))
        assert (await stream.get()).payload == b"1"
        assert (await wire.receive(Pubrec)).packet_id == 9
        wire.send(Publish("a", b"1", 2, True, False, 9), Pubrel(9), Pubrel(9))
        assert (await wire.receive(Pubrec)).packet_id == 9
        assert [(await wire.receive(Pubcomp)).reason_code for _ in range(2)] == [0, 0x92]
        await settle()
        assert len(stream) == 0
        wire.send(Publish("a", b"2", 2, False, False, 9))  # the identifier is free for another
        assert (await stream.get()).payload == b"2"
