"""MQTT over WebSocket as an ASGI application: who comes in, what is counted, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import curier
from curier.auth.base import Authenticator, Credentials, Verdict
from curier.codec import packets as p
from curier.errors import ConfigError
from curier.types import ReasonCode
from tests.asgi.app import Visitor
from tests.waiting import until

ELSEWHERE = ("192.0.2.7", 4000)


class OnlyAna(Authenticator):
    def __init__(self) -> None:
        self.asked: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.asked.append(credentials)
        if credentials.username == "ana":
            return Verdict(0, identity="ana")
        return Verdict(ReasonCode.NOT_AUTHORIZED)


async def test_a_client_by_a_mount_is_one_as_any_other() -> None:
    broker = curier.Broker(["tcp://127.0.0.1:0"])
    mount = broker.asgi()
    async with (
        broker,
        curier.connect(f"mqtt://127.0.0.1:{broker.port}") as other,
        other.subscribe("a") as seen,
    ):
        visitor = Visitor(mount)
        assert (await visitor.enter()).reason_code == 0
        visitor.say(p.Subscribe(1, [("b/#", 1)]), p.Publish("a", b"from the page", 1, packet_id=2))
        assert isinstance(await visitor.hear(), p.Suback)
        assert isinstance(await visitor.hear(), p.Puback)
        assert (await seen.get(timeout=100)).payload == b"from the page"
        await other.publish("b/c", bytes(300_000), qos=1)
        message = await visitor.hear()
        assert isinstance(message, p.Publish)
        assert len(message.payload) == 300_000
        connection = broker.core.sessions["page"].connection
        assert connection is not None
        assert (connection.address, connection.listener) == ("127.0.0.1:5000", "asgi://asgi")
        assert connection.listener_name == "asgi"
        assert (mount.entrance.accepted, mount.entrance.connected) == (1, 1)
        await visitor.gone()
        assert "page" not in broker.core.sessions
        assert not mount.wires


async def test_a_broker_may_have_nothing_but_mounts() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    early = Visitor(mount)
    assert await early.closed() == 1013
    async with broker:
        assert broker.urls == []
        visitor = Visitor(mount)
        await visitor.enter()
    late = Visitor(mount)
    assert await late.closed() == 1013


async def test_a_stop_is_told_and_closes() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.enter()
        stopping = asyncio.create_task(broker.stop())
        packet = await visitor.hear()
        assert isinstance(packet, p.Disconnect)
        assert packet.reason_code == ReasonCode.SERVER_SHUTTING_DOWN
        assert await visitor.closed() == 1001
        await stopping
        await visitor.task


async def test_a_stop_does_not_wait_for_who_takes_nothing() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.enter()
        visitor.takes.clear()
        await broker.stop()
        async with asyncio.timeout(100):
            await visitor.task


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"subprotocols": ["chat"]}, 1008),
        ({"headers": {"origin": "https://evil.example", "host": "shop.example"}}, 1008),
        ({"headers": {"origin": "null", "host": "shop.example"}}, 1008),
        ({"headers": {"origin": "what?", "host": "shop.example"}}, 1008),
        ({"client": ELSEWHERE}, 1008),  # there is nobody who decides
        ({"client": None}, 1008),
        ({"headers": {"origin": "https://shop.example", "host": "Shop.example:443"}}, 0),
        ({"headers": {"origin": "http://shop.example:8000", "host": "shop.example:8000"}}, 0),
        ({"headers": {"origin": "https://friend.example", "host": "shop.example"}}, 0),
        ({"headers": {"host": "shop.example"}}, 0),
        ({"client": ("::1", 1)}, 0),
    ],
)
async def test_who_may_open_a_websocket(scope: dict[str, Any], code: int) -> None:
    broker = curier.Broker(None)
    mount = broker.asgi(origins=["https://friend.example"])
    async with broker:
        visitor = Visitor(mount, **scope)
        if code:
            assert await visitor.closed() == code
            assert mount.entrance.accepted == 0
        else:
            assert (await visitor.enter()).reason_code == 0
            await visitor.gone()


async def test_a_client_that_offers_no_subprotocol_comes_in_as_elsewhere() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount, subprotocols=[])
        assert (await visitor.next())["subprotocol"] is None
        other = Visitor(mount, subprotocols=["chat", "MQTT"])
        assert (await other.next())["subprotocol"] == "MQTT"
        await visitor.gone()
        await other.gone()


async def test_the_web_program_may_say_who_it_is() -> None:
    asked = OnlyAna()
    broker = curier.Broker(None, authenticator=asked)
    mount = broker.asgi(user=lambda scope: scope.get("user"))
    async with broker:
        known = Visitor(mount, ELSEWHERE, user="ben")
        assert (await known.enter("b", username="ana", password=b"x")).reason_code == 0
        connection = broker.core.sessions["b"].connection
        assert connection is not None
        assert connection.identity == "ben"
        assert asked.asked == []

        stranger = Visitor(mount, ELSEWHERE)
        assert (await stranger.enter("s")).reason_code == ReasonCode.NOT_AUTHORIZED
        ana = Visitor(mount, ELSEWHERE)
        assert (await ana.enter("a", username="ana", password=b"x")).reason_code == 0
        assert [one.address for one in asked.asked] == ["192.0.2.7:4000"] * 2
        assert [one.listener_name for one in asked.asked] == ["asgi"] * 2
        for visitor in (known, stranger, ana):
            await visitor.gone()


async def test_without_an_authenticator_nobody_comes_in_whom_the_program_does_not_know() -> None:
    async def user(scope: Any) -> str | None:
        return "ben" if scope["path"] == "/ben" else None

    broker = curier.Broker(None)
    mount = broker.asgi(user=user)
    async with broker:
        assert await Visitor(mount).closed() == 1008
        ben = Visitor(mount, ELSEWHERE, path="/ben")
        assert (await ben.enter()).reason_code == 0
        await ben.gone()


async def test_everybody_comes_in_where_that_was_said() -> None:
    broker = curier.Broker(None, authenticator=OnlyAna())
    mount = broker.asgi(allow_anonymous=True)
    async with broker:
        visitor = Visitor(mount, ELSEWHERE)
        assert (await visitor.enter()).reason_code == 0
        await visitor.gone()


async def test_limits_are_those_of_a_listener() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi("shop", max_connections=1, max_packet_size=1000, mount="shop/")
    async with broker:
        first = Visitor(mount)
        answer = await first.enter("first")
        assert answer.properties is not None
        assert answer.properties.maximum_packet_size == 1000
        second = Visitor(mount)
        assert (await second.enter("second")).reason_code >= 0x80
        assert await second.closed() > 1000
        first.say(p.Publish("a", b"x", 1, retain=True, packet_id=1))
        await first.hear()
        assert broker.core.retained.get(b"shop/a") is not None
        first.say(p.Publish("a", bytes(2000), 1, packet_id=2))
        assert await first.closed() == 1009


async def test_text_frames_are_refused() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.enter()
        visitor.to_app.put_nowait({"type": "websocket.receive", "text": "hello"})
        assert await visitor.closed() == 1003
        await visitor.task
        empty = Visitor(mount)
        await empty.next()
        empty.to_app.put_nowait({"type": "websocket.receive", "text": "hello", "bytes": None})
        assert await empty.closed() == 1003
        await empty.task


async def test_what_is_no_mqtt_is_closed_with_1002() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.enter()
        visitor.send(b"\x00\x00")
        assert await visitor.closed() == 1002


async def test_packets_may_be_cut_anywhere() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.next()
        for byte in bytes.fromhex("101000044d5154540402003c0004") + b"page":
            visitor.send(bytes([byte]))
        assert isinstance(await visitor.hear(4), p.Connack)
        await visitor.gone()


async def test_who_takes_nothing_makes_nothing_grow() -> None:
    options = curier.Options()
    options.output_soft_limit = 20_000
    options.output_hard_limit = 100_000
    broker = curier.Broker(["tcp://127.0.0.1:0"], options=options)
    mount = broker.asgi()
    async with broker, curier.connect(f"mqtt://127.0.0.1:{broker.port}") as other:
        visitor = Visitor(mount)
        await visitor.enter()
        visitor.say(p.Subscribe(1, [("b", 0)]))
        await visitor.hear()
        (wire,) = mount.wires
        visitor.takes.clear()
        most = 0
        for _ in range(300):
            await other.publish("b", bytes(1000), qos=1)  # 300 kB, delivered with QoS 0
            most = max(most, wire.unsent)
        assert 10_000 < most < 50_000
        assert wire.unsent == wire.connection.written_unsent
        visitor.takes.set()
        await until(lambda: wire.unsent == 0)
        assert visitor.sent < 60_000
        await visitor.gone()


async def test_who_sends_too_fast_is_not_received_from() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.enter()
        (wire,) = mount.wires
        wire.set_reading(False)
        for number in range(1, 4):
            visitor.say(p.Publish("a", b"", 1, packet_id=number))
        await until(lambda: visitor.to_app.qsize() == 2)  # one is taken, and waits
        wire.set_reading(True)
        for number in range(1, 4):
            answer = await visitor.hear()
            assert isinstance(answer, p.Puback)
            assert answer.packet_id == number
        await visitor.gone()


async def test_a_client_that_breaks_off_leaves_its_will() -> None:
    broker = curier.Broker(["tcp://127.0.0.1:0"])
    mount = broker.asgi()
    async with (
        broker,
        curier.connect(f"mqtt://127.0.0.1:{broker.port}") as other,
        other.subscribe("w") as seen,
    ):
        visitor = Visitor(mount)
        await visitor.enter(will=p.Will("w", b"gone"))
        await visitor.gone()
        assert (await seen.get(timeout=100)).payload == b"gone"


async def test_a_server_that_cancels_ends_the_connection() -> None:
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        visitor = Visitor(mount)
        await visitor.enter()
        visitor.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visitor.task
        assert not broker.turn.wires
        assert not mount.wires


async def test_a_server_that_cancels_until_it_is_over_is_told_by_whom() -> None:
    """As anyio does, with which Starlette's TestClient ends a WebSocket: it knows its own by that."""
    broker = curier.Broker(None)
    mount = broker.asgi()
    async with broker:
        for goes_first in (False, True):
            visitor = Visitor(mount)
            await visitor.enter()
            if goes_first:
                visitor.to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
            while not visitor.task.done():
                visitor.task.cancel("by the server")
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError, match="by the server"):
                await visitor.task
            assert not broker.turn.wires
            assert not mount.wires


async def test_plain_http_is_told_what_this_is() -> None:
    mount = curier.Broker(None).asgi()
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing to receive")

    await mount({"type": "http", "method": "GET"}, receive, send)
    assert said[0]["status"] == 426
    with pytest.raises(ValueError, match="serves WebSockets, and not 'lifespan'"):
        await mount({"type": "lifespan"}, receive, send)


async def test_what_cannot_be_is_refused_when_it_is_written() -> None:
    broker = curier.Broker(None)
    broker.asgi("one")
    for name in ("", "a/b", "a+", "one"):
        with pytest.raises(ConfigError):
            broker.asgi(name)
    with pytest.raises(ConfigError, match="an origin is"):
        broker.asgi("two", origins=["shop.example"])
    with pytest.raises(TypeError, match="expected a list"):
        broker.asgi("three", origins="https://shop.example")
    async with broker:
        with pytest.raises(RuntimeError, match="before the broker starts"):
            broker.asgi("late")
    with pytest.raises(RuntimeError):
        broker.asgi("later")


async def test_a_name_that_a_listener_has_is_refused_at_the_start() -> None:
    broker = curier.Broker([curier.Listener("tcp://127.0.0.1:0", name="asgi")])
    broker.asgi()
    with pytest.raises(ConfigError, match="two listeners have the name 'asgi'"):
        await broker.start()
    assert not broker.is_serving


async def test_mounts_stay_when_listeners_change() -> None:
    broker = curier.Broker(["tcp://127.0.0.1:0"])
    mount = broker.asgi()
    async with broker:
        async with broker.changing_listeners(["tcp://127.0.0.1:0"]):
            pass
        assert mount.entrance in broker.core.statistics.entrances
        visitor = Visitor(mount)
        await visitor.enter()
        await visitor.gone()
