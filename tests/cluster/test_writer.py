"""How messages are gathered into frames of the log."""

from __future__ import annotations

import pytest

from curier.cluster.records import Message
from curier.cluster.writer import MOST_BYTES, fitting


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
