"""The loop of `curier broker`: readers that are called past its queue."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from curier.net.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


def test_a_prompt_reader_is_called_before_what_the_queue_has(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    called: list[str] = []

    def read() -> None:
        called.append(ours.recv(100).decode())
        loop.call_soon(loop.stop)

    loop.add_prompt_reader(ours.fileno(), read)
    other, mine = socket.socketpair()

    def read_other() -> None:
        called.append("asyncio's")
        mine.recv(1)

    loop.add_reader(mine, read_other)
    other.send(b".")
    theirs.send(b"prompt")
    loop.run_forever()
    assert called == ["prompt", "asyncio's"]
    other.close()
    loop.remove_reader(mine)
    mine.close()


def test_an_error_in_a_prompt_reader_is_told_and_the_loop_goes_on(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    def read() -> None:
        if ours.recv(1) == b"2":
            loop.call_soon(loop.stop)
        raise ValueError("read")

    loop.add_prompt_reader(ours.fileno(), read)
    theirs.send(b"12")
    loop.run_forever()
    assert [str(context["exception"]) for context in told] == ["read", "read"]


def test_a_prompt_reader_that_was_removed_is_not_called(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    called: list[str] = []
    loop.add_prompt_reader(ours.fileno(), lambda: called.append("prompt"))
    assert loop.remove_reader(ours.fileno())
    theirs.send(b".")
    loop.run_until_complete(asyncio.sleep(0.001))

    def read() -> None:
        called.append("asyncio's")
        loop.stop()

    loop.add_reader(ours.fileno(), read)
    loop.run_forever()
    assert called == ["asyncio's"]


def test_a_descriptor_with_a_prompt_reader_may_have_a_writer(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    called: list[str] = []

    def read() -> None:
        called.append(ours.recv(100).decode())
        loop.call_soon(loop.stop)

    def write() -> None:
        called.append("written")
        loop.remove_writer(ours.fileno())
        theirs.send(b"read")

    loop.add_prompt_reader(ours.fileno(), read)
    loop.add_writer(ours.fileno(), write)
    loop.run_forever()
    assert called == ["written", "read"]
