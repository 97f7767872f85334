"""Listeners with limits of their own, as the core sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from curier.broker.buckets import MOST_PLACES, Buckets
from curier.broker.core import BrokerCore
from curier.broker.effects import Answer
from curier.broker.entrances import Entrance
from curier.codec import packets as p
from curier.codec.constants import MAXIMUM_REMAINING_LENGTH
from curier.session.journal import Journal
from tests.broker.harness import FOREVER, Net, quiet

BUSY = 0x89
PACKET_TOO_LARGE = 0x95


def test_a_listener_has_so_many_clients(make: Callable[..., Net]) -> None:
    net = make(quiet(max_connections=3))
    net.entrance = Entrance("front", max_connections=1)
    first = net.connect("a")
    refused = net.send_connect("b").expect(p.Connack)
    assert refused.reason_code == BUSY
    assert refused.properties is not None
    assert refused.properties.reason_string == (
        "all 1 connections of this listener are in use (max_connections)"
    )
    net.entrance = None
    net.connect("b")  # elsewhere there is room
    net.entrance = first.connection.entrance
    assert net.send_connect("b").expect(p.Connack).reason_code == BUSY  # it would be one more here
    first.disconnect()
    net.connect("c")


def test_who_takes_over_its_own_place_is_not_one_more(make: Callable[..., Net]) -> None:
    net = make()
    net.entrance = Entrance("front", max_connections=1)
    first = net.connect("a")
    second = net.connect("a")
    assert first.goodbye().reason_code == 0x8E
    assert (net.entrance.connected, net.entrance.attached) == (1, 1)
    second.drop()
    assert (net.entrance.connected, net.entrance.attached, net.entrance.accepted) == (0, 0, 2)


def test_the_limit_of_the_broker_holds_at_every_listener(make: Callable[..., Net]) -> None:
    net = make(quiet(max_connections=1))
    net.connect("a")
    net.entrance = Entrance("front", max_connections=5)
    refused = net.send_connect("b").expect(p.Connack)
    assert refused.reason_code == BUSY
    assert refused.properties is not None
    assert refused.properties.reason_string == "all 1 connections are in use (max_connections)"


@pytest.mark.parametrize("is_own", [True, False])
def test_who_was_asked_about_meanwhile_counts(make: Callable[..., Net], is_own: bool) -> None:
    """However many are asked about at once, no more than the limit come in."""
    net = make(quiet(max_connections=1000 if is_own else 1), authenticate=lambda question: None)
    net.entrance = Entrance("front", max_connections=1 if is_own else 0)
    clients = [net.send_connect(name) for name in "abc"]
    for _ in clients:
        net.answer(Answer(0))
    assert [client.expect(p.Connack).reason_code for client in clients] == [0, BUSY, BUSY]
    assert net.entrance.connected == 1


def test_twice_as_many_connections_may_wait_for_their_login(make: Callable[..., Net]) -> None:
    net = make(quiet(max_connections=2))
    core = net.core
    front, other = Entrance("front", max_connections=1), Entrance("other")
    net.entrance = front
    waiting = [net.open() for _ in range(2)]
    assert not core.why_crowded(front, 0.0)
    assert core.why_crowded(front, 0.0, coming=1)
    waiting.append(net.open())
    assert core.why_crowded(front, 0.0)
    assert not core.why_crowded(other, 0.0)
    net.entrance = other
    waiting += [net.open() for _ in range(2)]
    assert core.why_crowded(other, 0.0)  # for the broker as a whole
    for client in waiting[:2]:
        client.drop()
    assert not core.why_crowded(other, 0.0)
    assert not core.why_crowded(front, 0.0)


@pytest.mark.parametrize(("own", "limit"), [(0, 5000), (1000, 1000), (9000, 5000)])
def test_the_smaller_maximum_packet_size_holds(make: Callable[..., Net], own: int, limit: int) -> None:
    net = make(quiet(max_packet_size=5000))
    net.entrance = Entrance("front", max_packet_size=own)
    client = net.send_connect("c")
    connack = client.expect(p.Connack)
    assert connack.properties is not None
    assert connack.properties.maximum_packet_size == limit
    head = len(b"\x30\x00\x00\x00\x01t\x00")
    client.publish("t", b"x" * (limit - head))
    assert not client.closed
    client.send(p.Publish("t", b"x" * (limit - head + 1)))
    assert client.goodbye().reason_code == PACKET_TOO_LARGE


def test_a_connect_is_a_packet_like_others(make: Callable[..., Net]) -> None:
    net = make()
    net.entrance = Entrance("front", max_packet_size=100)
    assert net.send_connect("c" * 200).expect(p.Connack).reason_code == PACKET_TOO_LARGE
    net.connect("c")


def test_more_than_the_largest_packet_is_no_limit(make: Callable[..., Net]) -> None:
    net = make(quiet(max_packet_size=MAXIMUM_REMAINING_LENGTH + 5))
    net.entrance = Entrance("front", max_packet_size=1 << 40)
    connack = net.send_connect("c").expect(p.Connack)
    assert connack.properties is not None
    assert connack.properties.maximum_packet_size == MAXIMUM_REMAINING_LENGTH


def test_what_a_small_listener_does_not_take_it_still_sends(make: Callable[..., Net]) -> None:
    net = make()
    sender = net.connect("s")
    net.entrance = Entrance("front", max_packet_size=100)
    client = net.connect("c", expiry=FOREVER)
    client.subscribe("t")
    sender.publish("t", b"x" * 1000, qos=1)
    assert client.message().payload == b"x" * 1000


def test_connections_know_the_name_of_their_listener(make: Callable[..., Net]) -> None:
    net = make()
    assert net.open().connection.listener_name == "memory"  # its URL
    net.entrance = Entrance("front")
    assert net.open().connection.listener_name == "front"


CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01"  # MQTT 3.1.1, Clean Session; a letter follows
KEPT = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01"


def test_one_place_has_so_many_connections_that_have_not_logged_in() -> None:
    core = BrokerCore(quiet(max_connecting=2), 0.0)
    front = Entrance("front")
    first, second = [core.attach("192.0.2.1:5", "tcp://x", 0.0, front, "192.0.2.1") for _ in range(2)]
    assert core.why_crowded(front, 0.0, "192.0.2.1").startswith(
        "2 connections from 192.0.2.1 have not logged in"
    )
    assert not core.why_crowded(front, 0.0, "192.0.2.2")
    core.receive(first, CONNECT + b"a", 0.0)
    assert not core.why_crowded(front, 0.0, "192.0.2.1")
    core.detach(second, 0.0)
    core.detach(first, 0.0)
    assert not core.holdings.connecting


@pytest.mark.parametrize("is_own", [True, False])
def test_one_place_has_no_more_than_half_of_the_room(is_own: bool) -> None:
    core = BrokerCore(quiet(max_connections=100 if is_own else 2), 0.0)
    front = Entrance("front", max_connections=2 if is_own else 0)
    for _ in range(2):
        assert not core.why_crowded(front, 0.0, "192.0.2.1")
        core.attach("192.0.2.1:5", "tcp://x", 0.0, front, "192.0.2.1")
    assert core.why_crowded(front, 0.0, "192.0.2.1")
    assert not core.why_crowded(front, 0.0, "192.0.2.2")


def test_a_proxy_counts_where_it_says_that_the_client_is() -> None:
    core = BrokerCore(quiet(max_connecting=1), 0.0)
    front = Entrance("front")
    proxied = [core.attach("10.0.0.1:5", "tcp://x", 0.0, front, "") for _ in range(3)]
    assert not core.moved(proxied[0], "192.0.2.1:7", 0.0)
    assert core.moved(proxied[1], "192.0.2.1:8", 0.0).startswith("1 connections from 192.0.2.1")
    assert not core.moved(proxied[2], "192.0.2.2:8", 0.0)
    assert proxied[2].address == "192.0.2.2:8"
    for one in proxied:
        core.detach(one, 0.0)
    assert not core.holdings.connecting


def test_the_limit_of_one_place_can_be_switched_off() -> None:
    core = BrokerCore(quiet(max_connecting=0, max_connections=3), 0.0)
    front = Entrance("front")
    for _ in range(6):
        assert not core.why_crowded(front, 0.0, "192.0.2.1")
        core.attach("192.0.2.1:5", "tcp://x", 0.0, front, "192.0.2.1")


def test_who_waits_for_the_disk_has_a_place_already() -> None:
    core = BrokerCore(quiet(max_connections=1), 0.0, journal=Journal())
    first, second, third = [core.attach("192.0.2.1:5", "tcp://x", 0.0) for _ in range(3)]
    core.receive(first, KEPT + b"a", 0.0)
    assert first.take_output() == b""  # its session is not durable yet
    core.receive(second, KEPT + b"b", 0.0)
    assert second.take_output() == b"\x20\x02\x00\x03"  # server unavailable
    core.receive(third, KEPT + b"a", 0.0)  # takes its place
    assert third.take_output() == b""
    assert core.statistics.admitted == 1
    core.detach(third, 0.0)
    assert core.statistics.admitted == 0


def test_so_many_connections_a_second_come_from_one_place() -> None:
    core = BrokerCore(quiet(max_connect_rate=3), 0.0)
    front = Entrance("front")
    one, other = "192.0.2.1", "192.0.2.2"

    def coming(now: float, place: str = one) -> list[bool]:
        return [not core.why_crowded(front, now, place) for _ in range(4)]

    assert coming(0.0) == [True, True, True, False]
    assert "more than 3 connections a second come from 192.0.2.1" in core.why_crowded(front, 0.0, one)
    assert coming(0.0, other) == [True, True, True, False]
    assert coming(0.34) == [True, False, False, False]
    assert coming(1.1) == [True, True, False, False]
    assert coming(60.0) == [True, True, True, False]
    assert coming(60.0, "") == [True] * 4  # a proxy, which has not told yet for whom


def test_behind_a_proxy_those_count_for_whom_it_connects() -> None:
    core = BrokerCore(quiet(max_connect_rate=1), 0.0)
    proxied = [core.attach("10.0.0.1:5", "tcp://x", 0.0, Entrance(), "") for _ in range(3)]
    assert not core.moved(proxied[0], "192.0.2.1:7", 0.0)
    assert core.moved(proxied[1], "192.0.2.1:8", 0.0).startswith("more than 1 connections a second")
    assert not core.moved(proxied[2], "192.0.2.1:9", 1.0)


def test_the_places_that_are_remembered_are_bounded() -> None:
    buckets = Buckets()
    for number in range(MOST_PLACES):
        assert buckets.at(f"place {number}", 5, 10.0) is not None
    assert buckets.at("one more", 5, 10.5) is None
    assert buckets.at("one more", 5, 11.0) is not None
    assert len(buckets) == MOST_PLACES + 1
    for second in (12.0, 13.0):
        buckets.at("one more", 5, second)
    assert len(buckets) == 1


def test_a_place_that_still_waits_is_not_forgotten() -> None:
    buckets = Buckets()
    first = buckets.at("place", 5, 10.9)
    for tenth in range(109, 150):
        assert buckets.at("place", 5, tenth / 10) is first
    assert buckets.at("place", 6, 15.0) is not first
