"""How messages are gathered into frames of the log."""

from __future__ import annotations

from functools import partial

import pytest

from curier.cluster.ground import Ground
from curier.cluster.orders import STORED, Write
from curier.cluster.records import Frame, Message, Share
from curier.cluster.writer import MOST, MOST_BYTES, Writer, fitting


def message(size: int) -> Message:
    return Message(("a", 1, 1), "me", b"a/b", b"x" * size, 1)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([10], 1),
        ([10] * 200, 200),
        ([MOST_BYTES * 9, 10], 1),
        ([10, MOST_BYTES * 9, 10], 1),
        ([MOST_BYTES // 4] * 9, 3),
        ([MOST_BYTES - 3, 0], 1),
    ],
)
def test_a_frame_has_as_many_messages_as_the_bus_takes_at_once(sizes: list[int], count: int) -> None:
    assert fitting([message(size) for size in sizes]) == count


class Log:
    """The frames of one writer, each stored when it is asked to be."""

    def __init__(self) -> None:
        self.ground = Ground("a", 1, lambda: 0.0)
        self.stored: list[object] = []
        self.writer = Writer(self.ground, 0, lambda: None)
        self.writer.open(lambda last: None)
        self.sequence = 0
        self.store()

    def append(self, *messages: Message | Share) -> None:
        self.writer.append([(one, partial(self.stored.append, one)) for one in messages])

    def store(self) -> Frame | None:
        """What is being written, which is stored then."""
        orders, self.ground.orders = self.ground.orders, []
        if not orders:
            return None
        (order,) = orders
        assert isinstance(order, Write)
        assert isinstance(order.value, Frame)
        assert order.expected == self.sequence
        self.sequence += 1
        self.ground.answer(order.token, STORED, self.sequence)
        return order.value


def test_what_is_given_at_once_is_one_frame() -> None:
    log = Log()
    messages = [message(size) for size in range(50)]
    log.append(*messages)
    frame = log.store()
    assert frame is not None
    assert frame.messages == tuple(messages)
    assert log.stored == messages
    assert log.store() is None


def test_what_comes_while_a_frame_is_written_is_the_next_one() -> None:
    log = Log()
    first, more = [message(1), message(2)], [message(3), message(4), message(5)]
    share = Share(b"$share/g/a", "me", 1)
    log.append(*first)
    log.append(*more[:2])
    log.append(share, more[2])
    frames = [log.store(), log.store()]
    assert [one.messages for one in frames if one is not None] == [tuple(first), tuple(more)]
    assert frames[1] is not None
    assert frames[1].shares == (share,)
    assert log.stored == [*first, *more[:2], share, more[2]]
    assert log.store() is None


def test_of_more_than_a_frame_takes_all_is_written_in_order() -> None:
    log = Log()
    messages = [message(size) for size in range(MOST + 3)]
    log.append(*messages)
    frames = [log.store(), log.store()]
    assert [one.messages for one in frames if one is not None] == [
        tuple(messages[:MOST]),
        tuple(messages[MOST:]),
    ]
    assert log.stored == messages


def test_nothing_given_is_no_frame() -> None:
    log = Log()
    log.append()
    assert log.store() is None
