"""Broker and clients joined in memory, as users' tests have them."""

from __future__ import annotations

from random import Random

import pytest

from curier import ConnectionLost, Message, Options, QoS, Refused, Will
from curier.broker.effects import Answer, Authenticate, Authorize
from curier.protocol.events import ConnectRefused, Disconnected
from curier.testing import Pair

VERSIONS = [3, 4, 5]


def test_the_example() -> None:
    pair = Pair()
    client = pair.connect("me")
    client.subscribe("a/#", qos=1)
    client.publish("a/b", b"x", qos=2)
    pair.run(seconds=1)
    assert client.messages == [Message("a/b", b"x", QoS(1))]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("durable", [False, True])
def test_a_message_from_one_client_to_another(version: int, durable: bool) -> None:
    pair = Pair(latency=(0.01, 0.1), splits=True, random=Random(5), durable=durable, disk_latency=0.02)
    reader, writer = pair.connect("reader", version=version), pair.connect("writer", version=version)
    assert reader.subscribe("room/+", qos=2) == 2
    publications = [writer.publish("room/1", b"%d" % qos, qos) for qos in (0, 1, 2)]
    assert [publication.reason_code for publication in publications] == [0, None, None]
    pair.run(seconds=1)
    assert [publication.reason_code for publication in publications] == [0, 0, 0]
    assert sorted(message.payload for message in reader.messages) == [b"0", b"1", b"2"]
    assert {message.qos for message in reader.messages} == {0, 1, 2}
    assert reader.unsubscribe("room/+")
    writer.publish("room/1", b"unheard", 1)
    pair.settle()
    assert len(reader.messages) == 3


def test_everything_a_message_has_arrives() -> None:
    pair = Pair()
    client = pair.connect("me")
    client.subscribe("a/#", qos=2, retain_as_published=True, identifier=7)
    message = Message(
        "a/b",
        "ünï".encode(),
        QoS.EXACTLY_ONCE,
        True,
        payload_is_text=True,
        message_expiry=60,
        content_type="text/plain",
        response_topic="a/answer",
        correlation_data=b"\x00\x01",
        user_properties=(("k", "1"), ("k", "2")),
        subscription_identifiers=(7,),
    )
    publication = client.send(message)
    pair.settle()
    assert client.messages == [message]
    assert publication.reason_code == 0
    assert client.received[0].packet_id == 1
    late = pair.connect("late")
    late.subscribe("a/#")
    assert [(message.retain, message.qos) for message in late.messages] == [(True, 0)]


def test_a_publication_tells_how_it_ended() -> None:
    pair = Pair()
    client = pair.connect("me")
    unheard, forbidden = client.publish("nobody", b"", 1), client.publish("$SYS/x", b"", 2)
    assert [unheard.reason_code, unheard.reason_string] == [None, ""]
    pair.settle()
    assert [unheard.reason_code, forbidden.reason_code] == [0x10, 0x87]
    assert "belong to the server" in forbidden.reason_string


def test_a_session_is_kept_while_its_client_is_away() -> None:
    pair = Pair()
    reader = pair.connect("reader", clean_start=False, session_expiry_interval=100)
    assert not reader.session_present
    reader.subscribe("a", qos=1)
    reader.disconnect()
    assert isinstance(reader.ending, Disconnected)
    pair.connect("writer").publish("a", b"kept", 1)
    pair.run(seconds=99)
    assert reader.messages == []
    assert reader.reconnect()
    pair.settle()
    assert [message.payload for message in reader.messages] == [b"kept"]
    reader.disconnect()
    pair.run(seconds=101)
    assert not reader.reconnect()


def test_messages_wait_for_the_connection() -> None:
    pair = Pair()
    client = pair.connect("me", session_expiry_interval=100)
    client.cut()
    pair.settle()
    assert not client.is_connected
    publication = client.publish("a", b"x", 1)
    pair.run(1)
    assert [publication.reason_code] == [None]
    client.reconnect()
    pair.settle()
    assert [publication.reason_code] == [0x10]


def test_waiting_for_an_answer_ends_with_the_connection() -> None:
    pair = Pair(latency=0.5)
    client = pair.connect("me", keep_alive=10)
    client.cut(client_notices=3)
    with pytest.raises(ConnectionLost, match="was lost"):
        client.subscribe("a")
    client.reconnect()
    client.cut(client_notices=None, broker_notices=None)
    with pytest.raises(ConnectionLost, match="no PINGRESP"):
        client.subscribe("a")


def test_a_client_that_is_refused() -> None:
    def only_ana(question: Authenticate | Authorize) -> Answer:
        if isinstance(question, Authenticate):
            return Answer(0 if question.connect.username == "ana" else 0x86, "who?")
        return Answer(0 if question.topic.startswith(b"public") else 0x87)

    pair = Pair(answers=only_ana, answer_latency=0.1)
    with pytest.raises(Refused, match=r"0x86 \(Bad User Name or Password\): who"):
        pair.connect("stranger")
    ana = pair.connect("friend", username="ana", password=b"secret")
    assert ana.subscribe("public/#", qos=1) == 1
    with pytest.raises(Refused, match="0x87"):
        ana.subscribe("private/#")
    outcomes = ana.publish("public/x", b"", 1), ana.publish("private/x", b"", 1)
    pair.settle()
    assert [outcome.reason_code for outcome in outcomes] == [0, 0x87]
    stranger = pair.clients[0].events[-1]
    assert isinstance(stranger, ConnectRefused)


def test_a_refused_unsubscribe_is_told() -> None:
    pair = Pair()
    client = pair.connect("me")
    assert not client.unsubscribe("never/made")


def test_wills() -> None:
    pair = Pair()
    watcher = pair.connect("watcher")
    watcher.subscribe("gone/#", qos=1)
    will = Will(Message("gone/me", b"x", QoS(1), content_type="sad", message_expiry=9), delay=5)
    client = pair.connect("me", will=will, session_expiry_interval=60)
    client.cut()
    pair.run(4)
    assert watcher.messages == []
    pair.run(2)
    assert watcher.messages == [Message("gone/me", b"x", QoS(1), content_type="sad", message_expiry=9)]
    client.reconnect()
    client.disconnect(with_will=True)
    pair.run(6)
    assert len(watcher.messages) == 2
    client.reconnect()
    client.disconnect()
    pair.run(6)
    assert len(watcher.messages) == 2


def test_acknowledging_by_hand() -> None:
    pair = Pair()
    client = pair.connect("me", manual_acks=True, clean_start=False, session_expiry_interval=60)
    client.subscribe("a", qos=1)
    client.publish("a", b"x", 1)
    pair.settle()
    client.cut()
    pair.settle()
    client.reconnect()
    pair.settle()
    assert [publish.dup for publish in client.received] == [False, True]
    assert client.acknowledge(client.received[-1].packet_id)
    assert not client.acknowledge(client.received[-1].packet_id)
    pair.settle()
    client.cut()
    pair.settle()
    client.reconnect()
    pair.settle()
    assert len(client.messages) == 2


def test_time_is_virtual_and_keep_alive_goes_on() -> None:
    pair = Pair(latency=0.05)
    client = pair.connect("me", keep_alive=30)
    began = pair.now
    pair.run(seconds=24 * 3600)
    assert pair.now == began + 24 * 3600
    assert client.ending is None
    client.cut(client_notices=None, broker_notices=None)
    pair.run(seconds=50)
    assert not client.is_connected
    assert pair.broker.core.statistics.connected == 0


def test_many_retained_messages_arrive_though_the_broker_sends_them_in_pieces() -> None:
    pair = Pair()
    client = pair.connect("me")
    for number in range(1000):
        client.publish(f"a/{number}", b"x", retain=True)
    client.subscribe("a/#")
    pair.settle()
    assert {message.topic for message in client.messages} == {f"a/{number}" for number in range(1000)}


def test_the_brokers_options() -> None:
    options = Options()
    options.maximum_qos = 1
    options.sys_interval = 5.0
    pair = Pair(options)
    client = pair.connect("me")
    assert client.subscribe("$SYS/broker/uptime", qos=2) == 1
    pair.run(seconds=6)
    assert len(client.messages) >= 1


def test_what_is_no_property_of_connect_is_an_error() -> None:
    with pytest.raises(TypeError, match="no property 'expiry'"):
        Pair().connect("me", expiry=3)
