"""Opening and closing streams: who waits for it, who gives up, and what cannot be a stream."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import curier
from curier.codec.packets import Publish, Suback, Subscribe, Unsubscribe
from tests.client.stage import Stage, settle, virtual


@virtual
async def test_a_request_that_gives_up_does_not_take_the_others_along(stage: Stage) -> None:
    """Both wait for the subscription to the responses, which the first has begun."""
    async with stage.connect() as (client, wire):
        first = asyncio.ensure_future(client.request("service", b"1", timeout=1))
        await settle()
        second = asyncio.ensure_future(client.request("service", b"2", timeout=100))
        with pytest.raises(TimeoutError):
            await first
        assert not second.done()
        await wire.subscribed()
        request = await wire.published()
        assert request.payload == b"2"
        properties = request.properties
        assert properties is not None
        assert properties.response_topic is not None
        wire.send(Publish(properties.response_topic, b"yes", 0, False, False, 0, properties))
        assert (await second).payload == b"yes"


@pytest.mark.parametrize("who", ["first", "last", "both"])
@virtual
async def test_readers_that_open_a_stream_together(stage: Stage, who: str) -> None:
    async with stage.connect() as (client, wire):
        stream = client.subscribe("a")
        readers = [asyncio.ensure_future(stream.get()) for _ in range(2)]
        subscribe = await wire.receive(Subscribe)
        for reader in {"first": readers[:1], "last": readers[1:], "both": readers}[who]:
            reader.cancel()
        await settle()
        assert sum(reader.cancelled() for reader in readers) == (2 if who == "both" else 1)
        assert stream.is_closed == (who == "both")
        if who == "both":
            await wire.unsubscribed()
            return
        wire.send(Suback(subscribe.packet_id, [0]), Publish("a", b"x"))
        left = next(reader for reader in readers if not reader.cancelled())
        assert (await left).payload == b"x"


@virtual
async def test_a_refusal_reaches_all_who_wait(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = client.subscribe("a")
        opening = [asyncio.ensure_future(stream.open()) for _ in range(3)]
        await wire.subscribed(0x87)
        for one in opening:
            with pytest.raises(curier.SubscribeRefused, match="0x87"):
                await one
        await wire.unsubscribed()


@virtual
async def test_closing_waits_for_unsuback_but_not_for_ever(stage: Stage) -> None:
    async with stage.connect(linger=7.0) as (client, wire):
        stream = client.subscribe("a")
        opening = asyncio.ensure_future(stream.open())
        await wire.subscribed()
        await opening
        began = stage.now
        await stream.close()
        assert stage.now - began == pytest.approx(7.0)
        assert isinstance(wire.packets[0], Unsubscribe)
        assert client.is_connected


@virtual
async def test_what_nobody_waits_for_any_more_ends_in_silence(stage: Stage) -> None:
    """No "exception was never retrieved" of what was cancelled before the client has ended."""
    async with stage.connect() as (client, _):
        for waiting in (client.unsubscribe("a", "b"), client.subscribe("c").open()):
            task = asyncio.ensure_future(waiting)
            await settle()
            task.cancel()
            await settle()
    gc.collect()
    await settle()


@pytest.mark.parametrize("options", [{"buffer": -1}, {"overflow": "drop"}, {"ack": "Auto"}])
@virtual
async def test_options_that_cannot_be(stage: Stage, options: dict[str, Any]) -> None:
    """A typing error must not become a stream that never acknowledges."""
    async with stage.connect() as (client, wire):
        with pytest.raises(curier.ConfigError, match=repr(next(iter(options.values())))):
            client.subscribe("a", **options)
        assert wire.packets == []
