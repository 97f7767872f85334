"""The fast lane finds routes of topics it does not know, and leaves to the general way what is in doubt."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer
from curier.broker.finding import find_route, is_plain_name
from curier.broker.options import Options
from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.codec.packets import Publish
from curier.codec.publish import encode_publish, parse_publish
from curier.errors import ProtocolError
from curier.topics.filters import check_topic_name
from curier.topics.reserved import why_not_published
from tests.broker.harness import Net, quiet

NAMES = [
    b"a", b"a/b", b"/", b"//", b"", b"a+", b"+", b"a/#", b"a\0b", b"a/b/c", b"a/b/c/d", b"a/b/c/", b"///",
    b"////", "ä".encode(), "a/€/b".encode(), "\U0001f600".encode(),
    b"\xff", b"a/\xc3", b"\xc0\x80", b"\xed\xa0\x80",
    b"$SYS/x", b"$share/a", b"x" * 20, b"x" * 21, b"a/$b", b" ", b"\x7f", b"\x01",
]  # fmt: skip


def is_good(topic: bytes, options: Options) -> bool:
    """By the words of the general way."""
    packet = encode_publish(topic, b"", 0, False, False, 0, b"")
    try:
        parse_publish(packet, 0, len(packet), MQTT_50)
    except ProtocolError:
        return False
    return not check_topic_name(topic, options.max_topic_levels, 20) and not why_not_published(topic)


@pytest.mark.parametrize("topic", NAMES)
def test_a_name_is_plain_where_the_general_way_takes_it(topic: bytes) -> None:
    options = quiet(max_topic_levels=4)
    assert is_plain_name(topic, options.max_topic_levels, 20) is is_good(topic, options)


@pytest.mark.parametrize("cache", [0, 1])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_topic_that_is_not_known_takes_the_fast_lane(cache: int, qos: int) -> None:
    net = Net("fast", quiet(route_cache_size=cache))
    sender, client = net.connect("sender"), net.connect("c")
    client.subscribe(("+/#", qos))
    connection = sender.connection
    for number in range(20):
        data = encode(Publish(f"t/{number}", b"%d" % number, qos, packet_id=qos and number + 1), MQTT_50)
        assert connection.fast_lane(data, 0, len(data), net.now) == len(data)
        net.turn()
    assert client.payloads() == [b"%d" % number for number in range(20)]


def test_who_may_publish_where_is_asked_on_the_general_way() -> None:
    net = Net("fast", authorize=lambda _: Answer(0))
    assert find_route(net.core, net.connect("c").connection, b"a") is None


def test_messages_that_wait_for_each_other_are_known_to_the_general_way() -> None:
    net = Net("fast")
    client = net.connect("c")
    net.core.router.hold(net.core.router.route(b"a"))
    assert find_route(net.core, client.connection, b"b") is None
    net.core.router.let_go(b"a")
    assert find_route(net.core, client.connection, b"b") is not None


def test_a_route_says_whether_what_takes_it_goes_to_disk() -> None:
    net = Net("journal")
    sender = net.connect("sender")
    net.connect("c", expiry=100).subscribe(("a", 1))
    to_disk, nowhere = (find_route(net.core, sender.connection, topic) for topic in (b"a", b"b"))
    assert to_disk is not None
    assert to_disk.is_durable
    assert nowhere is not None
    assert not nowhere.is_durable


def test_to_make_routes_is_work_of_the_turn() -> None:
    net = Net("fast")
    sender = net.connect("sender")
    before = net.core.spent
    find_route(net.core, sender.connection, b"a")
    assert net.core.spent > before
