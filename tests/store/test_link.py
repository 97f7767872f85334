"""The broker's end of the socket to the store's process, with the other end played here."""

from __future__ import annotations

import asyncio
import os
import socket

from curier.store.link import MOST_AT_ONCE, Link
from curier.store.process import DONE, answer
from tests.waiting import until


class Heard:
    """What the link tells."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.lost = 0
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.link = Link(ours, lambda status, words: self.answers.append((status, words)), self._lose)

    def _lose(self, link: Link) -> None:
        assert link is self.link
        self.lost += 1


async def test_answers_come_in_whatever_pieces() -> None:
    heard = Heard()
    data = answer(DONE, 0) + answer(DONE, 1) + answer(1, 2, "the disk is full")
    for at in range(0, len(data), 7):
        heard.theirs.send(data[at : at + 7])
        await asyncio.sleep(0)
    await heard.link.ready
    await until(lambda: len(heard.answers) == 2)
    assert heard.answers == [(DONE, ""), (1, "the disk is full")]
    heard.link.close()
    heard.theirs.close()


async def test_large_batches_go_by_and_by_and_in_order() -> None:
    heard = Heard()
    batches = [[b"a" * (MOST_AT_ONCE + 5), b"b" * 3], [b"c"], [b"d" * 300_000]]
    for batch in batches:
        heard.link.send(batch)
    expected = b"".join(b"".join(batch) for batch in batches)
    came = b""
    while len(came) < len(expected):
        await asyncio.sleep(0)
        try:
            came += heard.theirs.recv(1 << 20)
        except BlockingIOError:
            continue
    assert came == expected
    heard.link.send([b"e"])
    await asyncio.sleep(0)
    assert heard.theirs.recv(10) == b"e"
    heard.link.close()
    heard.theirs.close()


async def test_its_end_is_told_once_and_nothing_is_written_behind_it() -> None:
    heard = Heard()
    heard.theirs.send(answer(DONE, 0))
    await heard.link.ready
    number = heard.link._fd
    read_end, write_end = os.pipe()
    heard.theirs.close()
    await until(lambda: heard.lost > 0)
    os.dup2(write_end, number)  # the number is taken again
    heard.link.send([b"for the store"])
    heard.link.close()
    os.close(write_end)
    os.close(number)
    assert os.read(read_end, 100) == b""
    os.close(read_end)
    assert heard.lost == 1
