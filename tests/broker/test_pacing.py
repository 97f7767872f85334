"""Clients that send faster than they may are slowed (``max_message_rate``, ``max_byte_rate``)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer, Authorize
from curier.broker.pacing import MESSAGE_BYTES
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.broker.test_changing_options import change

SMALLEST = 5  # bytes of a PUBLISH
AT_ONCE = MESSAGE_BYTES // SMALLEST  # seconds' worth of the smallest messages, at most, by the fast lane


def messages(first: int, count: int, size: int = 20) -> list[p.Publish]:
    return [p.Publish("t", b"x" * size, 1, packet_id=number) for number in range(first, first + count)]


def acknowledged(client: Client) -> int:
    packets = client.take()
    assert {type(packet) for packet in packets} <= {p.Puback}
    return len(packets)


@pytest.mark.parametrize("size", [0, 1, 20, 500])
def test_messages_come_at_their_rate_whatever_their_size(make: Make, size: int) -> None:
    net = make(quiet(max_message_rate=10))
    net.connect("reader").subscribe("t")
    client = net.connect("c")
    client.send(*messages(1, 200, size))
    came = acknowledged(client)
    assert 10 <= came <= 10 * AT_ONCE
    assert client.connection.paused
    for tenth in range(1, 191):
        net.advance(0.1)
        came += acknowledged(client)
        assert 10 + tenth - 2 <= came <= 10 * AT_ONCE + tenth
    net.advance(0.2)
    assert came + acknowledged(client) == 200
    assert not client.connection.paused


def test_bytes_come_at_their_rate(make: Make) -> None:
    net = make(quiet(max_byte_rate=1000))
    client = net.connect("c")
    client.send(*messages(1, 50, 90))  # of 100 bytes each
    came = acknowledged(client)
    assert came in (9, 10, 11)  # of CONNECT there are some as well
    for tenth in range(1, 41):
        net.advance(0.1)
        came += acknowledged(client)
        assert came in (8 + tenth, 9 + tenth, 10 + tenth, 11 + tenth)
    net.advance(0.2)
    assert came + acknowledged(client) == 50


def test_a_large_message_counts_when_it_is_whole(make: Make) -> None:
    net = make(quiet(max_byte_rate=100_000))
    client = net.connect("c")
    client.send(*messages(1, 1, 1_000_000), *messages(2, 1))
    assert acknowledged(client) == 1
    net.advance(8.9)
    assert acknowledged(client) == 0
    net.advance(0.3)
    assert acknowledged(client) == 1


def test_who_says_less_than_it_may_never_waits(make: Make) -> None:
    net = make(quiet(max_message_rate=10, max_byte_rate=2000))
    client = net.connect("c")
    for number in range(300):
        client.send(*messages(number + 1, 1, 150))
        assert acknowledged(client) == 1
        assert not client.connection.paused
        net.advance(0.1)


def test_no_more_than_a_second_is_saved_up(make: Make) -> None:
    net = make(quiet(max_message_rate=10))
    client = net.connect("c")
    net.advance(1000)
    client.send(*messages(1, 200))
    assert acknowledged(client) <= 10 * AT_ONCE


def test_others_are_not_slowed(make: Make) -> None:
    net = make(quiet(max_message_rate=10))
    one, other = net.connect("one"), net.connect("other")
    one.send(*messages(1, 200))
    acknowledged(one)
    other.send(*messages(1, 5))
    assert acknowledged(other) == 5


def test_no_client_has_a_pace_where_there_is_no_rate() -> None:
    net = Net()
    client = net.connect("c")
    client.send(*messages(1, 1000))
    assert acknowledged(client) == 1000
    assert not client.connection.paused


def test_a_client_that_is_not_read_is_alive(make: Make) -> None:
    net = make(quiet(max_byte_rate=1000))
    client = net.connect("c", keep_alive=2)
    client.send(*messages(1, 1, 20_000))
    net.advance(18)
    assert acknowledged(client) == 1
    assert not client.closed
    net.advance(5)
    assert client.goodbye().reason_code == 0x8D  # it is read again, and says nothing


def test_a_packet_has_its_time_when_it_is_read_again(make: Make) -> None:
    net = make(quiet(max_byte_rate=1000, packet_timeout=5.0))
    client = net.connect("c")
    whole = messages(1, 1, 30_000)
    client.send(*whole, b"\x32\x80\x01")
    net.advance(31)
    assert acknowledged(client) == 1
    assert not client.closed
    net.advance(7)
    assert client.goodbye().reason_code == 0x97


def test_what_is_asked_meanwhile_is_not_gone_on_without_an_answer(make: Make) -> None:
    asked: list[Authorize] = []

    def wait(question: Authorize) -> Answer | None:
        asked.append(question)
        return None

    net = make(quiet(max_message_rate=1), authorize=wait)
    client = net.connect("c")
    client.send(*messages(1, 3))
    assert acknowledged(client) == 0
    net.advance(100)
    assert acknowledged(client) == 0
    assert len(asked) == 1
    net.answer(Answer(0))
    net.advance(10)
    assert acknowledged(client) == 3


@pytest.mark.parametrize(("rate", "at_once"), [(0, 90), (30, 30)])
def test_another_rate_holds_from_then_on(make: Make, rate: int, at_once: int) -> None:
    net = make(quiet(max_message_rate=1))
    client = net.connect("c")
    client.send(*messages(1, 100))
    acknowledged(client)
    net.advance(5)
    acknowledged(client)
    change(net, max_message_rate=rate)
    assert acknowledged(client) >= at_once


def test_a_rate_that_was_not_there_before(make: Make) -> None:
    net = make()
    client = net.connect("c")
    change(net, max_message_rate=10)
    client.send(*messages(1, 100))
    assert acknowledged(client) <= 10 * AT_ONCE


@pytest.mark.parametrize("way", ["by the network", "by another client of its name"])
def test_a_client_that_goes_meanwhile(make: Make, way: str) -> None:
    net = make(quiet(max_message_rate=1))
    client = net.connect("c")
    client.send(*messages(1, 100))
    if way == "by the network":
        net.drop(client.connection)
    else:
        net.connect("c")
    net.advance(100)
    assert client.connection.is_closed()


@pytest.mark.parametrize("name", ["max_message_rate", "max_byte_rate"])
def test_rates_are_not_negative(name: str) -> None:
    values: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=f"{name} must be from 0"):
        quiet(**values)


def test_one_that_waits_for_room_as_well_goes_on_when_there_is_both(make: Make) -> None:
    net = make(quiet(max_message_rate=2, when_full="refuse", max_queued_messages=1))
    reader = net.connect("reader", expiry=1000, receive_maximum=1)
    reader.subscribe("t")
    client = net.open()
    client.version = 4  # which can be told nothing: its messages are put off
    client.send(p.Connect(4, "c", True, 0))
    client.expect(p.Connack)
    client.send(*(p.Publish("t", b"%d" % number, 1, packet_id=number) for number in range(1, 11)))
    got: list[bytes] = []
    came = acknowledged(client)
    for _ in range(20):
        net.advance(1)
        for message in reader.messages():
            got.append(message.payload)
            reader.send(p.Puback(message.packet_id))
        came += acknowledged(client)
    assert came == 10
    assert got == [b"%d" % number for number in range(1, 11)]
