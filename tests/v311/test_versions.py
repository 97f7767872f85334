"""Clients of different versions on one broker: what one can say and the other cannot hear."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer, Authorize
from curier.codec.packets import (
    Connect,
    Disconnect,
    Puback,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsubscribe,
    Will,
)
from curier.codec.properties import Properties
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import Network

OLD = [3, 4]


def full_properties() -> Properties:
    properties = Properties()
    properties.payload_format_indicator = 1
    properties.message_expiry_interval = 60
    properties.content_type = "text/plain"
    properties.response_topic = "answers"
    properties.correlation_data = b"\x00\x01"
    properties.user_properties = [("a", "1"), ("a", "2")]
    return properties


@each("version", OLD)
@each("qos", [0, 1, 2])
@each("retain", [False, True])
def test_properties_do_not_reach_an_older_subscriber(
    make: Make, version: int, qos: int, retain: bool
) -> None:
    net = make()
    sender = net.connect("sender", 5)
    client = net.connect("c", version)
    if not retain:
        client.subscribe("t")
    sender.publish("t", b"x", qos, retain, full_properties())
    if retain:
        client.subscribe("t")
    assert client.publishes() == [Publish("t", b"x", qos, False, retain, 1 if qos else 0)]
    client.heard = b""
    sender.publish("t", b"y", 0, False, full_properties())
    assert client.heard == b"\x30\x04\x00\x01ty"


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_older_publisher_reaches_a_5_0_subscriber(net: Network, version: int, qos: int) -> None:
    client = net.connect("c", 5)
    client.subscribe("t")
    net.connect("sender", version).publish("t", b"\x02x", qos)
    assert client.publishes() == [Publish("t", b"\x02x", qos, False, False, 1 if qos else 0)]


def test_one_message_for_all_versions(net: Network) -> None:
    clients = [net.connect(f"{version}-{qos}", version) for version in (3, 4, 5) for qos in (0, 1, 2)]
    for index, client in enumerate(clients):
        client.subscribe(("t/#", index % 3))
    for version in (3, 4, 5):
        sender = net.connect("sender", version)
        for qos in (0, 1, 2):
            sender.publish("t/x", b"%d" % version, qos)
            for index, client in enumerate(clients):
                (publish,) = client.publishes()
                assert (publish.topic, publish.payload) == ("t/x", b"%d" % version)
                assert publish.qos == min(qos, index % 3)
                assert publish.properties is None
                client.acknowledge(publish)


@pytest.mark.parametrize("version", OLD)
def test_a_topic_alias_is_the_publishers_affair(net: Network, version: int) -> None:
    client = net.connect("c", version)
    client.subscribe("#")
    sender = net.connect("sender", 5)
    properties = Properties()
    properties.topic_alias = 3
    sender.publish("a/topic", b"one", 0, False, properties)
    sender.publish("", b"two", 1, False, properties)
    assert [(publish.topic, publish.payload) for publish in client.publishes()] == [
        ("a/topic", b"one"),
        ("a/topic", b"two"),
    ]


@pytest.mark.parametrize("version", OLD)
def test_the_will_of_a_5_0_client_reaches_an_older_one(net: Network, version: int) -> None:
    client = net.connect("c", version)
    client.subscribe("w")
    properties = Properties()
    properties.content_type = "text/plain"
    net.connect("sender", 5, will=Will("w", b"gone", 1, False, properties)).drop()
    assert client.publishes() == [Publish("w", b"gone", 1, False, False, 1)]


@pytest.mark.parametrize("version", OLD)
def test_a_message_expires_for_an_older_client_too(net: Network, version: int) -> None:
    client = net.connect("c", version, clean=False)
    client.subscribe("t")
    client.disconnect()
    sender = net.connect("sender", 5)
    sender.publish("t", b"short", 1, False, full_properties())
    sender.publish("t", b"long", 1)
    net.advance(61)
    assert net.connect("c", version, clean=False).payloads() == [b"long"]


@pytest.mark.parametrize(("before", "after"), [(4, 5), (5, 4), (3, 4), (4, 3)])
def test_a_session_may_go_on_in_another_version(net: Network, before: int, after: int) -> None:
    lasting = Properties()
    lasting.session_expiry_interval = 1000
    client = net.connect("c", before, clean=False, properties=lasting if before == 5 else None)
    client.subscribe("t")
    sender = net.connect("sender", 5)
    sender.publish("t", b"one", 1, False, full_properties())
    sender.publish("t", b"two", 2, False, full_properties())
    sender.publish("t", b"three", 2)
    one, two, three = client.publishes()
    client.send(Pubrec(three.packet_id))
    client.drop()
    sender.publish("t", b"four", 1, False, full_properties())
    again = net.connect("c", after, clean=False)
    assert again.session_present == (after != 3)
    pubrel, *rest = again.take()
    assert pubrel == Pubrel(three.packet_id)
    got = [packet for packet in rest if isinstance(packet, Publish)]
    assert [(p.payload, p.packet_id, p.dup) for p in got[:2]] == [
        (b"one", one.packet_id, True),
        (b"two", two.packet_id, True),
    ]
    assert (got[2].payload, got[2].dup) == (b"four", False)
    assert all((publish.properties is not None) == (after == 5) for publish in got)
    again.acknowledge(*got)
    again.take()
    again.drop()


def test_a_5_0_subscription_with_options_survives_a_3_1_1_connection(net: Network) -> None:
    lasting = Properties()
    lasting.session_expiry_interval = 1000
    client = net.connect("c", 5, clean=False, properties=lasting)
    identifier = Properties()
    identifier.subscription_identifiers = [7]
    client.send(Subscribe(1, [("t", 0x01 | 0x04 | 0x08)], identifier))
    assert client.take() == [Suback(1, [1])]
    client.disconnect()
    old = net.connect("c", 4, clean=False)
    old.publish("t", b"mine", 1)
    assert old.take() == []  # No Local is kept
    net.connect("sender", 4).publish("t", b"x", 1, retain=True)
    assert old.publishes() == [Publish("t", b"x", 1, False, True, 1)]  # and Retain As Published


def test_a_takeover_is_told_to_a_5_0_client_only(net: Network) -> None:
    first = net.connect("c", 5)
    second = net.connect("c", 4)
    assert first.expect(Disconnect).reason_code == 0x8E
    assert first.closed
    third = net.connect("c", 5)
    assert second.take() == []
    assert second.closed
    assert not third.closed


@pytest.mark.parametrize("version", OLD)
def test_reason_codes_are_for_5_0_only(make: Make, version: int) -> None:
    def authorize(question: Authorize) -> Answer:
        return Answer(0x87 if question.topic == b"closed" else 0)

    net = make(authorize=authorize)
    new, old = net.connect("new", 5), net.connect("old", version)
    for client in (new, old):
        client.send(
            Publish("nobody", b"", 1, False, False, 1),
            Publish("closed", b"", 1, False, False, 2),
            Publish("closed", b"", 2, False, False, 3),
            Pubrel(4),
            Unsubscribe(5, ["nothing"]),
            Subscribe(6, [("closed", 0)]),
        )
    assert [_codes(packet) for packet in new.take()] == [0x10, 0x87, 0x87, 0x92, [0x11], [0x87]]
    assert [_codes(packet) for packet in old.take()] == [0, 0, 0, 0, [], [0x80]]


def _codes(packet: object) -> object:
    return getattr(packet, "reason_code", None) if hasattr(packet, "reason_code") else packet.reason_codes  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", OLD)
def test_limits_of_5_0_do_not_bind_older_clients(net: Network, version: int) -> None:
    client = net.connect("c", version)
    more = net.core.options.receive_maximum + 100
    client.send(*[Publish("t", b"", 2, False, False, packet_id) for packet_id in range(1, more)])
    assert client.take() == [Pubrec(packet_id) for packet_id in range(1, more)]
    assert not client.closed


@pytest.mark.parametrize("version", OLD)
def test_members_of_a_group_may_be_of_any_version(net: Network, version: int) -> None:
    clients = [net.connect("new", 5), net.connect("old", version)]
    for client in clients:
        client.subscribe("$share/g/t")
    sender = net.connect("sender", 5)
    for _ in range(4):
        sender.publish("t", b"x", 1, False, full_properties())
    new, old = (client.publishes() for client in clients)
    assert [publish.properties is not None for publish in new] == [True, True]
    assert [publish.properties for publish in old] == [None, None]


@pytest.mark.parametrize("version", OLD)
def test_a_5_0_packet_of_an_older_client_closes(net: Network, version: int) -> None:
    client = net.connect("c", version)
    client.send(b"\x40\x04\x00\x01\x10\x00")  # PUBACK with a Reason Code and Properties
    assert client.closed
    assert client.take() == []


def test_a_5_0_client_that_is_refused_is_told_why(make: Make) -> None:
    net = make(authenticate=lambda packet: Answer(0x87, "not today"))
    new, old = net.open(5), net.open(4)
    new.send(Connect(5, "c"))
    old.send(Connect(4, "c"))
    assert b"not today" in new.heard
    assert old.heard == b"\x20\x02\x00\x05"


@pytest.mark.parametrize("version", OLD)
def test_acknowledgements_of_either_version_are_understood(net: Network, version: int) -> None:
    client = net.connect("c", version, clean=False)
    client.subscribe("t")
    net.connect("sender", 5).publish("t", b"x", 1)
    (publish,) = client.publishes()
    client.send(Puback(publish.packet_id))
    client.drop()
    assert net.connect("c", 5, clean=False).take() == []
