"""A client is connected, closed, and used again; and it says so where it cannot be used."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.client.client import Client
from curier.client.loop_thread import LoopThread
from curier.codec.packets import Connack, Connect, Disconnect
from tests.client.stage import Stage, Watch, settle, virtual


async def connected(stage: Stage, client: Client) -> Any:
    """Connect it; the wire."""
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.accept()
    assert await connecting is client
    return wire


# ---- again and again ----


@virtual
async def test_without_a_context_and_again(stage: Stage) -> None:
    client = stage.client(client_id="me")
    reader = client.events()
    streams = []
    for life in range(3):
        wire = await connected(stage, client)
        assert client.statistics.connections == 1
        stream = client.subscribe("a")
        opening = asyncio.ensure_future(stream.open())
        await wire.subscribed()
        await opening
        streams.append(stream)
        closing = asyncio.ensure_future(client.close())
        await wire.find(Disconnect)
        await closing
        assert not client.is_connected
        with pytest.raises(curier.ConnectionLost, match="closed"):
            await client.publish("a")
        with pytest.raises(curier.ConnectionLost, match="closed"):
            await streams[life].get()
        await client.close()  # which does no harm
        await client.disconnect()
    assert [type(event).__name__ async for event in reader] == ["Connected", "Closed"]
    assert len(stage.dialled) == 3


@virtual
async def test_the_context_may_be_entered_again(stage: Stage) -> None:
    client = stage.client()
    for _ in range(2):
        accepting = asyncio.ensure_future(stage.wire())
        accepting.add_done_callback(lambda done: asyncio.ensure_future(done.result().accept()))
        async with client:
            assert client.is_connected


@virtual
async def test_disconnect_before_entering(stage: Stage) -> None:
    client = stage.client()
    await client.disconnect()
    await client.close()
    await connected(stage, client)
    await client.disconnect()
    await connected(stage, client)
    await client.close()


@virtual
async def test_connected_twice(stage: Stage) -> None:
    client = stage.client()
    await connected(stage, client)
    with pytest.raises(curier.MqttError, match="already"):
        await client.connect()
    with pytest.raises(curier.MqttError, match="already"):
        async with client:
            pass
    assert client.is_connected
    await client.close()


@pytest.mark.parametrize("turns", range(8))
@virtual
async def test_disconnect_while_it_connects(stage: Stage, turns: int) -> None:
    """Whoever connects is told; nobody waits for ever."""
    client = stage.client()
    connecting = asyncio.ensure_future(client.connect())
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.disconnect()
    if turns:
        with pytest.raises(curier.ConnectionLost, match="closed"):
            await connecting
    else:  # nothing had begun yet
        await (await stage.wire()).accept()
        await connecting
        await client.close()
    assert not client.is_connected


@virtual
async def test_a_session_in_memory_that_is_given_goes_on(stage: Stage) -> None:
    client = stage.client(client_id="me", session=curier.Session.memory(), session_expiry=1000)
    await connected(stage, client)
    receipt = client.publish_nowait("a", b"1", qos=1)
    await client.disconnect()
    with pytest.raises(curier.ConnectionLost):
        receipt.result()
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.accept(session_present=True)
    await connecting
    assert (await wire.published()).payload == b"1"
    await client.close()


@virtual
async def test_it_is_connected_again_after_it_has_failed(stage: Stage) -> None:
    client = stage.client(reconnect=None)
    wire = await connected(stage, client)
    wire.cut()
    await settle()
    assert "ended" in repr(client)
    await connected(stage, client)
    assert client.is_connected
    await client.close()


@virtual
async def test_it_is_connected_again_after_a_refusal(stage: Stage) -> None:
    client = stage.client()
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x86))
    with pytest.raises(curier.ConnectRefused):
        await connecting
    await connected(stage, client)
    await client.close()


async def test_a_session_on_disk_is_opened_again(tmp_path: Path) -> None:
    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        client = curier.connect(url, session=curier.Session.disk(tmp_path / "outbox"))
        for _ in range(3):
            await client.connect()
            await client.publish("a", "x", qos=2)
            await client.close()


async def test_closing_what_could_not_be_opened(tmp_path: Path) -> None:
    """No session, no connection, and no harm done by closing it."""
    (tmp_path / "file").write_text("not a directory")
    client = curier.connect(session=curier.Session.disk(tmp_path / "file"))
    for _ in range(2):
        with pytest.raises(curier.StoreError):
            await client.connect()
        await client.close()
        await client.disconnect()
        assert not client.is_connected


# ---- what was caught is not raised again ----


@pytest.mark.parametrize("is_caught", [True, False])
@virtual
async def test_leaving_raises_what_nobody_has_met(stage: Stage, is_caught: bool) -> None:
    async def live() -> None:
        async with stage.connect(reconnect=None) as (client, wire), Watch(client) as watch:
            receipt = client.publish_nowait("a", qos=1)
            wire.cut()
            await settle()
            assert watch.kinds()[-1] == "Closed"
            if is_caught:
                with pytest.raises(curier.ConnectionLost):
                    await receipt

    if is_caught:
        await live()
    else:
        with pytest.raises(curier.ConnectionLost):
            await live()


@virtual
async def test_close_raises_what_nobody_has_met(stage: Stage) -> None:
    client = stage.client(reconnect=None)
    wire = await connected(stage, client)
    wire.cut()
    await settle()
    with pytest.raises(curier.ConnectionLost):
        await client.close()
    await client.close()  # now it is known


# ---- in the wrong place ----

Use = Callable[[Client, Any, Any], Any]
USES: dict[str, Use] = {
    "publish": lambda client, stream, events: client.publish("a"),
    "publish_nowait": lambda client, stream, events: client.publish_nowait("a"),
    "publish_many": lambda client, stream, events: client.publish_many([("a", "x")]),
    "subscribe": lambda client, stream, events: client.subscribe("a"),
    "unsubscribe": lambda client, stream, events: client.unsubscribe("b"),
    "request": lambda client, stream, events: client.request("a", timeout=1),
    "serve": lambda client, stream, events: client.serve("a"),
    "reauthenticate": lambda client, stream, events: client.reauthenticate(),
    "disconnect": lambda client, stream, events: client.disconnect(),
    "close": lambda client, stream, events: client.close(),
    "read": lambda client, stream, events: stream.get(timeout=1),
    "events": lambda client, stream, events: events.get(timeout=1),
}


async def use(name: str, client: Client, stream: Any, events: Any) -> None:
    used = USES[name](client, stream, events)
    if asyncio.iscoroutine(used):
        await used


@pytest.mark.parametrize("name", USES)
async def test_another_loop(name: str) -> None:
    """At once, whether it is called there with or without a loop, and before anything has happened."""
    async with (
        curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker,
        curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client,
        client.subscribe("a") as stream,
    ):
        events = client.events()

        def elsewhere() -> None:
            with pytest.raises(curier.MqttError, match="loop"):
                asyncio.run(use(name, client, stream, events))

        await asyncio.to_thread(elsewhere)
        if name in ("publish_nowait", "subscribe", "serve"):

            def without() -> None:
                with pytest.raises(curier.MqttError, match="no event loop runs"):
                    USES[name](client, stream, events)

            await asyncio.to_thread(without)
        assert client.is_connected


async def test_a_receipt_in_another_loop() -> None:
    client = curier.connect("mqtt://127.0.0.1:1", retry_first_connect=True)
    await client.connect()
    receipt = client.publish_nowait("a", "x", qos=1)

    async def wait() -> None:
        await receipt

    with pytest.raises(curier.MqttError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, wait())
    await client.close()


def in_child(check: Callable[[], None]) -> None:
    """Run ``check`` in a fork of this process; what it raises there fails here."""
    child = os.fork()
    if not child:
        code = 1
        try:
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def url() -> Any:
    """That of a broker in a thread of its own."""
    thread = LoopThread()

    async def start() -> curier.Broker:
        broker = curier.Broker(listen=["tcp://127.0.0.1:0"])
        await broker.start()
        return broker

    broker = thread.run(start())
    yield f"mqtt://127.0.0.1:{broker.port}"
    thread.run(broker.stop())
    thread.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("is_same_loop", [True, False])
def test_the_child_of_a_fork(url: str, is_same_loop: bool) -> None:
    loop = asyncio.new_event_loop()
    client = curier.connect(url)
    loop.run_until_complete(client.connect())

    async def subscribe() -> curier.Stream:
        return await client.subscribe("a").open()

    stream = loop.run_until_complete(subscribe())
    events = client.events()

    def check() -> None:
        mine = loop if is_same_loop else asyncio.new_event_loop()
        for name in USES:
            if name == "events":
                continue
            with pytest.raises(curier.MqttError, match="fork"):
                mine.run_until_complete(use(name, client, stream, events))
        with pytest.raises(curier.MqttError, match="fork"):
            mine.run_until_complete(client.connect())
        mine.run_until_complete(client.__aexit__(None, None, None))

    in_child(check)
    loop.run_until_complete(client.publish("a", "still here", qos=1))
    assert loop.run_until_complete(stream.get(timeout=100)).payload == b"still here"
    loop.run_until_complete(client.close())
    loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_the_child_of_a_fork_blocking(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a") as stream:
        events = client.events()

        def check() -> None:
            for call in (
                lambda: client.publish("a"),
                lambda: client.publish_nowait("a"),
                lambda: client.publish_many([("a", "x")]),
                lambda: client.subscribe("a"),
                lambda: client.unsubscribe("b"),
                lambda: client.disconnect(),
                lambda: client.close(),
                lambda: next(stream),
                lambda: stream.get(timeout=1),
                lambda: events.get(timeout=1),
            ):
                with pytest.raises(curier.MqttError, match="fork"):
                    call()
            client.__exit__(None, None, None)

        in_child(check)
        client.publish("a", "still here", qos=1)
        assert stream.get(timeout=100).payload == b"still here"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("inside", [True, False])
def test_what_waits_at_a_fork_is_for_the_parent(url: str, inside: bool) -> None:
    """``inside``: the fork is made while the loop runs, which goes on in the child for a moment."""

    async def main() -> None:
        async with curier.connect(url) as client, client.subscribe("a", qos=1) as stream:
            await client.publish("a", "mine", qos=1)
            await client.publish("b", "by now it is here", qos=1)
            await asyncio.sleep(0.1)
            assert len(stream) == 1

            def check() -> None:
                run = asyncio.new_event_loop().run_until_complete
                for step in (stream.get(timeout=1), anext(stream)):
                    with pytest.raises(curier.MqttError, match="fork"):
                        step.send(None) if inside else run(step)
                assert stream.get_nowait() is None

            await asyncio.to_thread(in_child, check) if not inside else in_child(check)
            assert (await stream.get(timeout=100)).payload == b"mine"
            await client.publish("a", "still here", qos=1)
            assert (await stream.get(timeout=100)).payload == b"still here"

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_what_waits_at_a_fork_is_for_the_parent_blocking(url: str) -> None:
    with curier.connect_sync(url) as client, client.subscribe("a", qos=1) as stream:
        client.publish_many([("a", "first"), ("a", "mine")], qos=1)
        assert stream.get(timeout=100).payload == b"first"
        while not len(stream):
            time.sleep(0.01)

        def check() -> None:
            with pytest.raises(curier.MqttError, match="fork"):
                stream.get(timeout=1)
            with pytest.raises(curier.MqttError, match="fork"):
                next(stream)

        in_child(check)
        assert stream.get(timeout=100).payload == b"mine"


def test_blocking_without_a_context_and_again(url: str) -> None:
    before = threading.active_count()
    client = curier.connect_sync(url)
    client.disconnect()
    client.close()
    for _ in range(2):
        client.connect()
        with pytest.raises(curier.MqttError, match="already"):
            client.connect()
        client.publish("a", "x", qos=1)
        client.close()
        with pytest.raises(curier.MqttError, match="closed"):
            client.publish("a", "x", qos=1)
    with client:
        client.publish("a", "x", qos=1)
    assert threading.active_count() == before


@virtual
async def test_repr_says_where_it_is(stage: Stage) -> None:
    client = stage.client("mqtt://ana:secret@server", client_id="gw", retry_first_connect=True)
    assert repr(client) == "<curier.Client 'gw' for mqtt://server:1883: not connected yet>"
    stage.down["server"] = curier.ConnectionLost("down")
    await client.connect()
    assert repr(client) == "<curier.Client 'gw' for mqtt://server:1883: connecting>"
    del stage.down["server"]
    wire = await stage.wire()
    await wire.accept()
    await settle()
    assert repr(client) == "<curier.Client 'gw': connected to mqtt://server:1883, MQTT 5.0>"
    wire.cut()
    await settle()
    assert repr(client) == "<curier.Client 'gw' for mqtt://server:1883: reconnecting>"
    await client.close()
    assert repr(client) == "<curier.Client 'gw' for mqtt://server:1883: closed>"
    assert "secret" not in repr(client)
