"""A client connects: the first time or not at all, again and again, to one server of many, in one version."""

from __future__ import annotations

import asyncio
import inspect
from itertools import pairwise
from random import Random
from typing import Any

import pytest

import curier
from curier.client.keeper import ENDS, LATER, SOON, delay_after_refusal, delay_before, outlook
from curier.client.settings import ClientSettings
from curier.codec.packets import Connack, Connect, Disconnect, Pingreq, Pingresp, Publish
from tests.client.stage import Stage, Watch, make_properties, settle, virtual

QUICK = curier.Reconnect(first=0.01, longest=0.02)


@virtual
async def test_a_connection_and_its_end(stage: Stage) -> None:
    async with stage.connect(client_id="me") as (client, wire):
        assert client.is_connected
        assert client.client_id == "me"
        assert client.version == 5
    packet = wire.packets[-1]
    assert isinstance(packet, Disconnect)
    assert packet.reason_code == 0
    assert packet.properties is not None
    assert packet.properties.session_expiry_interval == 0  # nobody will come back for it
    assert not client.is_connected


@virtual
async def test_connect_says_what_the_settings_say(stage: Stage) -> None:
    will = curier.Will(curier.Message("gone", b"me", curier.QoS(1), True, content_type="t"), delay=5)
    entering = stage.client(
        "mqtt://user:secret@server",
        client_id="me",
        keep_alive=7,
        will=will,
        session_expiry=100,
        receive_maximum=9,
        maximum_packet_size=5000,
        topic_alias_maximum=3,
        user_properties=[("a", "1"), ("a", "2")],
    )
    task = asyncio.ensure_future(entering.__aenter__())
    wire = await stage.wire()
    connect = await wire.accept()
    await task
    assert (connect.client_id, connect.keep_alive, connect.clean_start) == ("me", 7, True)
    assert (connect.username, connect.password) == ("user", b"secret")
    properties = connect.properties
    assert properties is not None
    assert properties.session_expiry_interval == 100
    assert properties.receive_maximum == 9
    assert properties.maximum_packet_size == 5000
    assert properties.topic_alias_maximum == 3
    assert properties.user_properties == [("a", "1"), ("a", "2")]
    assert connect.will is not None
    assert (connect.will.topic, connect.will.qos, connect.will.retain) == ("gone", 1, True)
    assert connect.will.properties is not None
    assert connect.will.properties.will_delay_interval == 5
    assert connect.will.properties.content_type == "t"
    await entering.disconnect(4)
    packet = await wire.disconnected()
    assert packet.reason_code == 4
    assert packet.properties is None  # the session outlives the program, as was asked for
    await entering.__aexit__(None, None, None)


@virtual
async def test_user_and_password_override_those_of_the_url(stage: Stage) -> None:
    client = stage.client("mqtt://user:secret@server", username="other", password="more")
    task = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    connect = await wire.accept()
    await task
    assert (connect.username, connect.password) == ("other", b"more")
    await client.disconnect()
    assert "more" not in repr(client.settings)


@virtual
async def test_the_first_connection_fails_fast(stage: Stage) -> None:
    stage.down["server"] = curier.ConnectionLost("no route")
    with pytest.raises(curier.ConnectionLost, match="no route"):
        await stage.client().__aenter__()
    assert len(stage.dialled) == 1


@virtual
async def test_the_first_connection_is_refused(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x88, make_properties(reason_string="later")))
    with pytest.raises(curier.ConnectRefused) as caught:
        await task
    assert (caught.value.reason_code, caught.value.reason_string) == (0x88, "later")
    assert wire.is_closed


@virtual
async def test_entering_is_cancelled(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.is_closed


@virtual
async def test_the_first_connection_is_tried_again_if_asked_for(stage: Stage) -> None:
    stage.down["server"] = curier.ConnectionLost("no route")
    async with stage.client(retry_first_connect=True) as client:
        assert not client.is_connected
        receipt = client.publish_nowait("a", b"x", qos=1)
        del stage.down["server"]
        wire = await stage.wire()
        await wire.accept()
        await wire.published()
        await receipt


@virtual
async def test_no_connack(stage: Stage) -> None:
    began = stage.now
    with pytest.raises(curier.ConnectionLost, match="no CONNACK within 3 seconds"):
        await stage.client(connect_timeout=3, version=5).__aenter__()
    assert stage.now - began == pytest.approx(3)
    assert (await stage.wire()).is_closed


@virtual
async def test_garbage_for_connack(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(curier.ConnectionLost, match="mqtt://server"):
        await task
    assert wire.is_closed


@virtual
async def test_a_lost_connection_comes_back(stage: Stage) -> None:
    async with stage.connect(client_id="me") as (client, wire), Watch(client) as watch:
        wire.cut(OSError("reset by peer"))
        second = await stage.wire()
        connect = await second.accept(session_present=True)
        assert not connect.clean_start
        assert connect.client_id == "me"
        await settle()
        assert client.is_connected
        assert watch.kinds() == ["ConnectionLost", "Reconnecting", "Connected"]
        lost = watch.events[0]
        assert isinstance(lost, curier.ConnectionLost)
        assert "reset by peer" in str(lost)
        back = watch.events[2]
        assert isinstance(back, curier.Connected)
        assert back.session_present


@virtual
async def test_the_pauses_grow_and_vary(stage: Stage) -> None:
    async with stage.connect(reconnect=curier.Reconnect(first=1, longest=8)) as (client, wire):
        async with Watch(client) as watch:
            stage.down["server"] = curier.ConnectionLost("gone")
            wire.cut()
            await asyncio.sleep(200)
            pauses = [event for event in watch.events if isinstance(event, curier.Reconnecting)]
            assert [pause.attempt for pause in pauses] == list(range(1, len(pauses) + 1))
            assert len(pauses) > 10
            for pause in pauses:
                assert 0 <= pause.delay <= min(2 ** (pause.attempt - 1), 8)
            assert len({pause.delay for pause in pauses}) == len(pauses)
            waits = [after[0] - before[0] for before, after in pairwise(stage.dialled[1:])]
            assert waits == pytest.approx([pause.delay for pause in pauses[1 : len(waits) + 1]])


@pytest.mark.parametrize(("attempt", "most"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (10_000, 60.0)])
def test_full_jitter(attempt: int, most: float) -> None:
    drawn = [delay_before(attempt, curier.Reconnect(), Random(seed)) for seed in range(300)]
    assert max(drawn) <= most
    assert max(drawn) > 0.9 * most
    assert min(drawn) < 0.1 * most


@virtual
async def test_as_many_attempts_as_are_allowed(stage: Stage) -> None:
    async def live() -> None:
        async with stage.connect(reconnect=curier.Reconnect(attempts=3)) as (_, wire):
            stage.down["server"] = curier.ConnectionLost("gone")
            wire.cut()
            await asyncio.sleep(1000)

    with pytest.raises(curier.ConnectionLost, match="gone"):
        await live()
    assert len(stage.dialled) == 4


@virtual
async def test_no_reconnection_if_none_is_wanted(stage: Stage) -> None:
    """Everybody who waits is told, who comes later as well; leaving has nothing to add."""
    async with stage.connect(reconnect=None) as (client, wire):
        reading = asyncio.ensure_future(client.subscribe("a").__anext__())
        await wire.subscribed()
        wire.cut()
        with pytest.raises(curier.ConnectionLost, match="the server closed the connection"):
            await reading
        with pytest.raises(curier.ConnectionLost):
            await client.publish("a", qos=1)
        with pytest.raises(curier.ConnectionLost):
            await client.subscribe("b").open()
    assert len(stage.dialled) == 1


CODES = [int(code) for code in curier.ReasonCode if code >= 0x80]
PASSING = [0x80, 0x83, 0x88, 0x89, 0x8B, 0x8D, 0x93, 0x96, 0x97, 0x98, 0x9C, 0x9F, 0xA0]
FOR_GOOD = [0x8E, 0x9D]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("by", ["CONNACK", "DISCONNECT"])
def test_what_a_reason_code_means_for_the_next_attempt(code: int, by: str) -> None:
    error: curier.MqttError = curier.ConnectRefused(code)
    if by == "DISCONNECT":
        error = curier.ConnectionLost("", code, by_server=True)
    passes = code in PASSING
    assert outlook(error, False, "retry") == (SOON if passes else ENDS)
    assert outlook(error, True, "retry") == (SOON if passes else ENDS if code in FOR_GOOD else LATER)
    assert outlook(error, True, "stop") == (SOON if passes else ENDS)
    for was_connected in (True, False):
        assert outlook(error, was_connected, {code: "stop"}) == ENDS
        assert outlook(error, was_connected, {code: "retry"}) == (SOON if passes else LATER)
    assert outlook(error, True, {0x01: "stop"}) == outlook(error, True, "retry")


def test_what_other_errors_mean() -> None:
    assert outlook(curier.ConnectionLost("cut", 0x87), False, "stop") == SOON
    assert outlook(curier.StoreError("full"), True, "retry") == ENDS
    assert outlook(curier.ConfigError("no such file"), False, "retry") == ENDS
    assert outlook(curier.ConfigError("no such file"), True, "retry") == LATER


def test_long_backoff() -> None:
    reconnect = curier.Reconnect()
    for refusal, most in ((1, 10.0), (2, 20.0), (5, 160.0), (6, 300.0), (10_000, 300.0)):
        drawn = [delay_after_refusal(refusal, reconnect, Random(seed)) for seed in range(300)]
        assert most / 2 <= min(drawn) <= 0.6 * most
        assert 0.9 * most <= max(drawn) <= most


@virtual
async def test_a_refusal_ends_the_client_where_that_is_wanted(stage: Stage) -> None:
    async with stage.connect(on_refused="stop") as (client, wire), Watch(client) as watch:
        receipt = client.publish_nowait("a", qos=1)
        wire.cut()
        second = await stage.wire()
        await second.receive(Connect)
        second.send(Connack(False, 0x86))
        with pytest.raises(curier.ConnectRefused, match="0x86"):
            await receipt
        await settle()
        assert watch.kinds()[-1] == "Closed"
        await asyncio.sleep(1000)
        assert len(stage.dialled) == 2


@virtual
async def test_a_refused_reconnection_is_tried_again_after_a_while(stage: Stage) -> None:
    """An auth service restarts; a token has expired. Nothing is lost meanwhile, and nobody is hurried."""
    async with stage.connect(client_id="me") as (client, wire), Watch(client) as watch:
        receipt = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        wire.cut()
        for _ in range(8):
            wire = await stage.wire()
            await wire.receive(Connect)
            wire.send(Connack(False, 0x87))
        wire = await stage.wire()
        await wire.accept(session_present=True)
        await wire.published()
        await receipt
        pauses = [event for event in watch.events if isinstance(event, curier.Reconnecting)]
        delays = [pause.delay for pause in pauses[1:]]
        assert all(isinstance(pause.error, curier.ConnectRefused) for pause in pauses[1:])
        for delay, most in zip(delays, [10, 20, 40, 80, 160, 300, 300, 300], strict=True):
            assert most / 2 <= delay <= most


@virtual
async def test_an_administrators_disconnect_passes(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        wire.send(Disconnect(0x98))
        began = stage.now
        await (await stage.wire()).accept()
        assert stage.now - began < 2
        await settle()
        assert client.is_connected


@virtual
async def test_the_first_connection_may_be_refused_for_a_while(stage: Stage) -> None:
    """Where the program says so, code by code."""
    client = stage.client(retry_first_connect=True, on_refused={0x87: "retry"})
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x87))
    await connecting
    await (await stage.wire()).accept()
    await settle()
    assert client.is_connected
    await client.close()


@virtual
async def test_a_session_that_was_accepted_before_is_refused_for_a_while(stage: Stage) -> None:
    """A sensor starts anew while the auth service is down: what it has kept is not given up."""
    session = curier.Session.memory()
    for life in (1, 2):
        client = stage.client(
            retry_first_connect=True, session=session, client_id="me", session_expiry=1000, reconnect=QUICK
        )
        connecting = asyncio.ensure_future(client.connect())
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0x87 if life == 2 else 0))
        await connecting
        if life == 2:
            await (await stage.wire()).accept(session_present=True)
            await settle()
            assert client.is_connected
        await client.close()


@virtual
async def test_another_server_is_asked_where_one_refuses(stage: Stage) -> None:
    async with stage.connect(url=["mqtt://one", "mqtt://two"]) as (client, wire):
        wire.cut()
        wire = await stage.wire()
        assert wire.url.host == "one"
        wire.send(Connack(False, 0x87))
        wire = await stage.wire()
        assert wire.url.host == "two"
        await wire.accept()
        await settle()
        assert client.is_connected


@virtual
async def test_a_session_taken_over_is_not_fought_for(stage: Stage) -> None:
    async def live() -> None:
        async with stage.connect() as (_, wire):
            wire.send(Disconnect(0x8E))
            await asyncio.sleep(1000)

    with pytest.raises(curier.ConnectionLost, match="0x8E") as caught:
        await live()
    assert caught.value.by_server
    assert caught.value.reason_code == 0x8E
    assert len(stage.dialled) == 1


@virtual
async def test_a_server_that_shuts_down_is_waited_for(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        wire.send(Disconnect(0x8B))
        await (await stage.wire()).accept()
        await settle()
        assert client.is_connected


@virtual
async def test_the_next_server_takes_over(stage: Stage) -> None:
    servers = ["mqtt://one", "mqtt://two", "mqtt://three"]
    stage.down["one"] = curier.ConnectionLost("down")
    async with stage.connect(url=servers) as (_, wire):
        assert wire.url.host == "two"
        wire.cut()
        again = await stage.wire()
        assert again.url.host == "two"
        await again.accept()
        stage.down["two"] = curier.ConnectionLost("down too")
        again.cut()
        third = await stage.wire()
        assert third.url.host == "three"
        connect = await third.accept()
        assert connect.clean_start  # what it may have kept of us is older than what "two" has
    assert [url for _, url in stage.dialled][:2] == ["mqtt://one:1883", "mqtt://two:1883"]


@virtual
async def test_the_nodes_of_a_cluster_share_the_session(stage: Stage) -> None:
    async with stage.connect(url=["mqtt://one", "mqtt://two"], shared_sessions=True) as (_, wire):
        stage.down["one"] = curier.ConnectionLost("down")
        wire.cut()
        second = await stage.wire()
        assert second.url.host == "two"
        assert not (await second.accept(session_present=True)).clean_start


@virtual
async def test_all_servers_are_down(stage: Stage) -> None:
    stage.down |= {"one": curier.ConnectionLost("cable"), "two": curier.ConnectionLost("fire")}
    with pytest.raises(curier.ConnectionLost, match=r"(?s)cable.*fire"):
        await stage.client(["mqtt://one", "mqtt://two"]).__aenter__()


@virtual
async def test_use_another_server(stage: Stage) -> None:
    async with stage.connect(url=["mqtt://one", "mqtt://two"]) as (_, wire):
        wire.send(Disconnect(0x9C))
        second = await stage.wire()
        assert second.url.host == "two"
        await second.accept()


@virtual
async def test_older_versions_where_the_server_refuses_the_newer(stage: Stage) -> None:
    client = stage.client()
    task = asyncio.ensure_future(client.__aenter__())
    first = await stage.wire()
    assert (await first.receive(Connect)).version == 5
    first.send_bytes(b"\x20\x02\x00\x01")  # a server of 3.1.1 knows no other way to say so
    second = await stage.wire()
    connect = await second.receive(Connect)
    assert (connect.version, connect.clean_start) == (4, True)
    second.send(Connack(False, 1))
    third = await stage.wire()
    connect = await third.accept()
    await task
    assert connect.version == 3
    assert 1 <= len(connect.client_id) <= 23
    assert client.version == 3
    third.cut()
    again = await (await stage.wire()).accept()
    assert again.version == 3  # which is remembered
    assert again.client_id == connect.client_id
    await client.disconnect()


@virtual
async def test_a_version_that_was_asked_for_is_the_only_one(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client(version=5).__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x84))
    with pytest.raises(curier.ConnectRefused, match="0x84"):
        await task
    assert len(stage.dialled) == 1


@virtual
async def test_an_assigned_client_identifier_is_kept(stage: Stage) -> None:
    async with stage.connect(connack={"assigned_client_identifier": "auto-7"}) as (client, wire):
        assert client.client_id == "auto-7"
        wire.cut()
        connect = await (await stage.wire()).accept(session_present=True)
        assert connect.client_id == "auto-7"
        assert not connect.clean_start


@virtual
async def test_server_keep_alive(stage: Stage) -> None:
    async with stage.connect(keep_alive=60, connack={"server_keep_alive": 5}) as (_, wire):
        began = stage.now
        await wire.receive(Pingreq)
        assert stage.now - began == pytest.approx(5, abs=0.1)
        wire.send(Pingresp())


@virtual
async def test_a_dead_server_is_noticed(stage: Stage) -> None:
    async with stage.connect(keep_alive=10, ping_timeout=3) as (client, wire), Watch(client) as watch:
        began = stage.now
        await wire.receive(Pingreq)
        second = await stage.wire()
        assert 13 <= stage.now - began <= 15
        await second.accept()
        await settle()
        assert "PINGRESP" in str(watch.events[0])


@virtual
async def test_a_busy_server_is_not_taken_for_dead(stage: Stage) -> None:
    async with stage.connect(keep_alive=10, ping_timeout=3) as (client, wire):
        await wire.receive(Pingreq)
        for _ in range(30):  # no PINGRESP, but everything else
            await asyncio.sleep(1)
            wire.send(Publish("nobody/wants/this", b""))
        assert client.is_connected
        assert len(stage.dialled) == 1


@virtual
async def test_a_busy_loop_is_no_reason_to_give_up(stage: Stage) -> None:
    """The program computed for a minute; PINGRESP has long been there, unread."""
    async with stage.connect(keep_alive=10, ping_timeout=3) as (client, wire):
        await wire.receive(Pingreq)
        loop: Any = asyncio.get_running_loop()
        loop.now += 60
        loop.call_later(0.01, wire.send, Pingresp())
        await asyncio.sleep(1)
        assert client.is_connected


@virtual
async def test_the_end_by_an_error_of_the_body(stage: Stage) -> None:
    began = stage.now

    async def live() -> None:
        async with stage.connect() as (client, _):
            client.publish_nowait("a", qos=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await live()
    assert stage.now == began  # it does not linger then


@virtual
async def test_leaving_waits_for_what_is_published(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        answering = asyncio.ensure_future(wire.published())
    assert receipt.done()
    await answering


@virtual
async def test_leaving_does_not_wait_for_ever(stage: Stage) -> None:
    async with stage.connect(linger=2) as (client, _):
        receipt = client.publish_nowait("a", qos=1)
        began = stage.now
    assert stage.now - began == pytest.approx(2)
    with pytest.raises(curier.ConnectionLost, match="closed"):
        receipt.result()


@virtual
async def test_before_and_after_the_context(stage: Stage) -> None:
    client = stage.client()
    with pytest.raises(curier.MqttError, match="async with"):
        client.subscribe("a")
    with pytest.raises(curier.MqttError, match="async with"):
        await client.publish("a")
    async with stage.connect() as (client, _):
        stream = client.subscribe("a")
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await client.publish("a")
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await stream.open()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": []}, "url"),
        ({"version": 6}, "version"),
        ({"offline": "sometimes"}, "offline"),
        ({"keep_alive": 65536}, "keep_alive: 0 to 65535"),
        ({"receive_maximum": 0}, "receive_maximum"),
        ({"linger": -1}, "linger"),
        ({"clean_start": False}, "client_id"),
        ({"reconnect": curier.Reconnect(5, 1)}, "reconnect"),
        ({"authentication": curier.Authentication()}, "authentication"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(curier.ConfigError, match=said):
        curier.connect(**settings)


def test_the_settings_are_the_parameters() -> None:
    for function in (curier.connect, curier.connect_sync):
        assert list(inspect.signature(function).parameters) == [*ClientSettings.__dataclass_fields__]


# ---- settings that are asked for, and servers that send on ----


@virtual
async def test_what_changes_is_asked_for_at_each_attempt(stage: Stage) -> None:
    count = 0

    def username() -> str:
        return f"user{count}"

    async def password() -> bytes:
        nonlocal count
        await asyncio.sleep(1)
        count += 1
        return b"token%d" % count

    async def url() -> list[str]:
        return ["mqtt://one"] if count < 2 else ["mqtt://two"]

    client = stage.client(url=url, username=username, password=password, client_id="me")
    assert "function" in repr(client)
    connecting = asyncio.ensure_future(client.connect())
    seen = []
    for _ in range(4):
        wire = await stage.wire()
        connect = await wire.accept()
        seen.append((wire.url.host, connect.username, connect.password))
        await settle()
        wire.cut()
    await connecting
    await client.close()
    assert seen == [
        ("one", "user0", b"token1"),
        ("one", "user1", b"token2"),
        ("two", "user2", b"token3"),
        ("two", "user3", b"token4"),
    ]


@virtual
async def test_headers_and_tls_are_asked_for(stage: Stage) -> None:
    contexts = [curier.TlsSettings(alpn=(name,)) for name in ("a", "b")]
    headers = [[("Authorization", name)] for name in ("one", "two")]
    client = stage.client(
        "wss://server", tls=iter(contexts).__next__, websocket_headers=iter(headers).__next__
    )
    connecting = asyncio.ensure_future(client.connect())
    for number in range(2):
        wire = await stage.wire()
        await wire.accept()
        await settle()
        assert stage.settings[number].tls is contexts[number]
        assert stage.settings[number].websocket_headers == tuple(headers[number])
        if not number:
            wire.cut()
    await connecting
    await client.close()


@virtual
async def test_a_function_that_fails_is_a_failed_connection(stage: Stage) -> None:
    """The service that gives tokens is down: at first that is told at once, later it is waited for."""
    answers: list[Any] = [RuntimeError("key=hunter2"), "good", OSError("down"), OSError("down"), "good"]

    async def password() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    client = stage.client(username="me", password=password)
    with pytest.raises(curier.ConnectionLost, match="password: its function has failed with") as caught:
        await client.connect()
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.accept()
    await connecting
    wire.cut()
    await (await stage.wire()).accept()
    await settle()
    assert client.is_connected
    await client.close()


@virtual
async def test_a_function_that_never_answers(stage: Stage) -> None:
    client = stage.client(username="me", password=lambda: asyncio.Event().wait(), connect_timeout=3)
    began = stage.now
    with pytest.raises(curier.ConnectionLost, match="password"):
        await client.connect()
    assert stage.now - began == pytest.approx(3)


@virtual
async def test_a_function_that_returns_something_else(stage: Stage) -> None:
    with pytest.raises(TypeError, match="password: its function is to return text, bytes or None, not int"):
        await stage.client(username="me", password=lambda: 7).connect()
    with pytest.raises(curier.ConfigError, match="no server"):
        await stage.client(url=list).connect()


SENT_ON = [0x9C, 0x9D]


@pytest.mark.parametrize("code", SENT_ON)
@virtual
async def test_the_server_reference_of_connack_is_followed(stage: Stage, code: int) -> None:
    client = stage.client("mqtt://one:1884", username="ana", follow_server_reference=True)
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, code, make_properties(server_reference="[::1]:1885 :x two")))
    wire = await stage.wire()
    assert str(wire.url) == "mqtt://[::1]:1885"
    assert (await wire.accept()).username == "ana"
    await connecting
    assert "[::1]:1885" in repr(client)
    wire.cut()
    wire = await stage.wire()
    assert str(wire.url) == ("mqtt://one:1884" if code == 0x9C else "mqtt://[::1]:1885")
    await wire.accept()
    await settle()
    await client.close()


@pytest.mark.parametrize("code", SENT_ON)
@virtual
async def test_the_server_reference_of_disconnect_is_followed(stage: Stage, code: int) -> None:
    async with stage.connect(follow_server_reference=True) as (client, wire):
        wire.send(Disconnect(code, make_properties(server_reference="two")))
        wire = await stage.wire()
        assert str(wire.url) == "mqtt://two:1883"
        assert (await wire.accept()).clean_start  # it has no session of ours
        await settle()
        assert client.is_connected


@virtual
async def test_servers_that_send_in_a_circle(stage: Stage) -> None:
    client = stage.client("mqtt://one", follow_server_reference=True)
    connecting = asyncio.ensure_future(client.connect())
    for other in ("two", "one"):
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0x9C, make_properties(server_reference=other)))
    with pytest.raises(curier.ConnectRefused, match="use the server one"):
        await connecting


@virtual
async def test_servers_that_send_on_for_ever(stage: Stage) -> None:
    client = stage.client("mqtt://a0", follow_server_reference=True)
    connecting = asyncio.ensure_future(client.connect())
    for number in range(6):
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0x9C, make_properties(server_reference=f"a{number + 1}")))
    with pytest.raises(curier.ConnectRefused, match="use the server a6"):
        await connecting
