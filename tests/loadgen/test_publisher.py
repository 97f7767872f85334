"""A publisher's account of acknowledgements, and its windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import RemoteProtocolError
from curier.loadgen.connection import PINGREQ_PACKET
from curier.loadgen.loop import Loop
from curier.loadgen.payload import id_columns
from curier.loadgen.plan import Plan
from curier.loadgen.publisher import Acknowledged, Publisher


def publisher(loop: Loop, **plan: int) -> Publisher:
    return Publisher(Plan("pubsub", **plan), loop, 0, set())  # type: ignore[arg-type]


@given(st.permutations(range(40)), st.integers(0, 200_000))
def test_acknowledgements_in_any_order(order: list[int], start: int) -> None:
    acknowledged = Acknowledged()
    acknowledged.low = start
    seen: set[int] = set()
    for offset in order:
        acknowledged.take(*id_columns(start + offset, 1), start + 40)
        seen.add(offset)
        assert acknowledged.low == start + min(set(range(41)) - seen)
    assert not acknowledged.early


@pytest.mark.parametrize("number", [5, 99, 65534])
def test_an_acknowledgement_that_is_not_due(number: int) -> None:
    with pytest.raises(RemoteProtocolError, match="not in use"):
        Acknowledged().take(*id_columns(number, 1), 5)


def test_an_acknowledgement_that_comes_twice() -> None:
    acknowledged = Acknowledged()
    acknowledged.take(*id_columns(3, 1), 5)
    with pytest.raises(RemoteProtocolError, match="not in use"):
        acknowledged.take(*id_columns(3, 1), 5)


def test_latency_of_acknowledgements_is_by_batch() -> None:
    with Loop() as loop:
        one = publisher(loop, qos=1)
        one.publish(10, 1000)
        one.publish(10, 2000)
        high, low = id_columns(0, 15)
        one._acknowledged(4, high, low, 3000)
        assert (one.ack_latency.count, one.ack_latency.sum) == (15, 10 * 2000 + 5 * 1000)
        assert one.unacknowledged == 5


class Sock:
    """Stands for a socket where only its being there counts."""


def test_windows() -> None:
    with Loop() as loop:
        one = publisher(loop, qos=1, inflight=20)
        assert one.room() == 0  # it is not connected
        one.sock = Sock()  # type: ignore[assignment]
        one.ahead = 100
        assert one.room() == 20
        one.publish(20, 0)
        assert one.room() == 0
        one.done.take(*id_columns(0, 20), 20)
        one.publish(20, 0)
        one.done.take(*id_columns(20, 20), 40)
        one.publish(40, 0)
        one.done.take(*id_columns(40, 40), 80)
        assert one.room() == 0  # 80 are under way: fewer than a quarter of 100 may go
        one.accounted += 5
        assert one.room() == 20
        one.quota = 83
        assert one.room() == 3
        one.sock = None


def test_without_subscribers_and_acknowledgements_a_ping_tells_how_far_the_broker_is() -> None:
    with Loop() as loop:
        one = Publisher(Plan("pub"), loop, 0, set())
        one.ahead = 100
        one.publish(60, 0)
        one.publish(20, 0)
        assert one.out.count(PINGREQ_PACKET) == 2
        assert one.finished == 0
        one.receive(b"\xd0\x00")
        assert one.finished == 60
        assert one.touched == {one}
        one.receive(b"\xd0\x00")
        assert one.finished == 80
