"""What a node has written itself comes by like all else, and is not read anew."""

from __future__ import annotations

from typing import Any

from curier.cluster.orders import Write
from curier.cluster.records import Boot, Frame, Message, Seal
from curier.jetstream.access import Access
from curier.jetstream.bus import OWN, Bus
from curier.jetstream.names import Names
from curier.jetstream.wire import encode

BOOT = Boot("a", 1)
PARTITION = 1


class Nobody:
    """Hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None


def frame(number: int, payload: bytes = b"x") -> Frame:
    return Frame(BOOT, number, (Message(("a", 1, number), "me", b"a/b", payload, 1),))


def bus() -> Bus:
    return Bus(Access(("nats://127.0.0.1:1",)), Names("c", 2), "a", Nobody())


async def test_its_frames_are_known_when_they_come_by() -> None:
    one, frames = bus(), [frame(number) for number in range(OWN)]
    for each in frames:
        one.obey(Write(1, PARTITION, "a.1", each, 0))
    for each in frames:
        assert one.read_fed(PARTITION, encode(each)) is each


async def test_all_else_is_read() -> None:
    one, written = bus(), frame(1)
    one.obey(Write(1, PARTITION, "a.1", written, 0))
    for other in (frame(2), frame(1, b"y"), Seal(BOOT)):
        assert one.read_fed(PARTITION, encode(other)) == other
    elsewhere = one.read_fed(PARTITION - 1, encode(written))
    assert elsewhere == written
    assert elsewhere is not written


async def test_so_are_older_ones() -> None:
    one, oldest = bus(), frame(0)
    for each in (oldest, *[frame(number) for number in range(1, OWN + 1)]):
        one.obey(Write(1, PARTITION, "a.1", each, 0))
    found = one.read_fed(PARTITION, encode(oldest))
    assert found == oldest
    assert found is not oldest
