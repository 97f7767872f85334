"""Settings of a broker that change while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.connection import ServedConnection
from curier.broker.hooks import Hook
from curier.broker.options import MIB, Options
from curier.broker.repacing import AT_ONCE
from curier.codec import packets as p
from curier.codec.constants import PAYLOAD_FORMAT_INVALID, QUOTA_EXCEEDED, SERVER_BUSY
from curier.codec.properties import Properties
from tests.broker.harness import Net, quiet


def change_of(**values: Any) -> Options:
    """The default settings, but for these."""
    options = Options()
    for name, value in values.items():
        setattr(options, name, value)
    return options


def change(net: Net, **values: Any) -> frozenset[str]:
    """Give the core settings like those it has, but for these."""
    options = Options()
    for name in dir(options):
        if not name.startswith("_") and not callable(getattr(options, name)):
            setattr(options, name, values.get(name, getattr(net.core.options, name)))
    options.check()
    stuck = net.core.change_options(options, net.now)
    net.turn()
    return stuck


def test_nothing_changes() -> None:
    net = Net()
    assert change(net) == frozenset()


def test_limits_hold_from_then_on() -> None:
    net = Net()
    client = net.connect("a")
    assert change(net, max_filters_per_packet=1, max_connections=1) == frozenset()
    assert net.send_connect("c").pop(p.Connack).reason_code == SERVER_BUSY
    client.send(p.Subscribe(1, [("a", 0), ("b", 0)]))
    assert client.goodbye().reason_code == QUOTA_EXCEEDED


def test_what_cannot_be_changed_stays_and_is_told() -> None:
    net = Net()
    before = net.core.options.route_cache_size
    assert change(net, route_cache_size=5, max_sessions=7) == {"route_cache_size"}
    assert (net.core.options.route_cache_size, net.core.options.max_sessions) == (before, 7)


def test_bounds_that_follow_from_settings() -> None:
    net = Net()
    change(net, memory_limit=5 * MIB, output_soft_limit=100 * MIB, output_hard_limit=100 * MIB)
    assert net.core.memory_limit == 5 * MIB
    assert net.core.output_hard_limit == 101 * MIB + net.core.options.max_packet_size
    change(net, memory_limit=0)
    assert net.core.memory_limit > 1 << 60


def test_clients_that_are_there_take_the_lane_that_follows() -> None:
    """Or a payload that is not the text it claims to be would pass unseen."""
    net = Net("fast")
    client = net.connect("a")
    lanes = [client.connection.is_fast]
    for checks in (True, False):
        change(net, check_payload_format=checks)
        lanes.append(client.connection.is_fast)
    assert lanes == [True, False, True]


@pytest.mark.parametrize("before", [0.0, 10.0])
def test_reports_begin_end_and_come_at_another_pace(before: float) -> None:
    options = quiet()
    options.sys_interval = before
    net = Net(options=options)
    client = net.connect("a")
    client.subscribe("$SYS/broker/uptime")
    change(net, sys_interval=60.0)
    net.advance(0.1)
    assert client.messages() or before
    net.advance(61)
    assert len(client.messages()) == 1
    change(net, sys_interval=0.0)
    assert [message.payload for message in client.messages()] == [b""]
    net.advance(500)
    assert not client.messages()


@pytest.mark.parametrize(("name", "topic"), [("max_topic_length", "a" * 300), ("max_topic_levels", "a/b/c")])
def test_topics_that_are_known_are_looked_at_again(name: str, topic: str) -> None:
    net = Net("fast")
    client = net.connect("a")
    client.subscribe(topic)
    assert client.publish(topic, b"x", 1) == 0
    client.take()
    change(net, **{name: 256 if name == "max_topic_length" else 2})
    assert client.publish(topic, b"x", 1) == 0x90


class Seeing(Hook):
    def __init__(self) -> None:
        self.topics: list[bytes] = []

    def on_publish(self, client: Any, message: Any) -> int:
        self.topics.append(message.topic)
        return 0


def test_lanes_change_for_some_clients_at_a_time_and_at_once_for_all() -> None:
    """A hundred thousand are not asked in one turn; what has changed holds for the last of them as well."""
    net = Net()
    clients = [net.connect(f"c{number}") for number in range(AT_ONCE + 10)]
    first = clients[0]

    def fast() -> int:
        return sum(client.connection.is_fast for client in clients)

    net.core.change_options(Options(), net.now)
    assert fast() == len(clients)
    net.core.change_options(change_of(check_payload_format=True), net.now)
    assert fast() == 10
    assert first.connection.is_fast
    said = Properties()
    said.payload_format_indicator = 1
    first.send(p.Publish("t", b"\xff", 1, packet_id=1, properties=said))
    assert first.pop(p.Puback).reason_code == PAYLOAD_FORMAT_INVALID
    net.advance(0.01)
    assert fast() == 0
    net.core.change_options(Options(), net.now)
    net.advance(0.01)
    assert fast() == len(clients)
    hook = Seeing()
    net.core.add_hook(hook)
    assert first.connection.is_fast
    first.send(p.Publish("seen", b"", 0))
    assert hook.topics == [b"seen"]
    net.core.change_options(change_of(max_message_rate=50), net.now)  # in the middle of it
    net.advance(0.01)
    assert fast() == 0
    assert all(isinstance(one.connection, ServedConnection) and one.connection.pace for one in clients)
    net.core.remove_hook(hook)
    net.advance(0.01)
    assert fast() == len(clients)
    assert not net.core.lanes_change
