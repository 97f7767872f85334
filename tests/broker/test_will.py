"""The Will Message: when it is published, when not, and with what (5.0: 3.1.2.5 to 3.1.2.7, 3.1.3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer
from curier.broker.hooks import Hook
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net
from tests.codec.cases import properties

statement = pytest.mark.statement


def will(payload: bytes = b"gone", qos: int = 0, retain: bool = False, **values: Any) -> p.Will:
    return p.Will("will", payload, qos, retain, properties(**values) if values else None)


@pytest.fixture
def watch(net: Net) -> Client:
    """A client that sees every message, with its RETAIN flag as published."""
    client = net.connect("watch")
    client.subscribe(("#", 2 | 8))
    return client


# ---- when it is published ----


@statement("5.0/MQTT-3.1.2-7", "5.0/MQTT-3.1.2-8")
def test_a_lost_connection_publishes_the_will(net: Net, watch: Client) -> None:
    client = net.connect("c", will=will())
    assert watch.take() == []
    client.drop()
    assert watch.message() == p.Publish("will", b"gone")


@statement("5.0/MQTT-3.1.2-8")
@pytest.mark.parametrize(
    "rude",
    [b"\xff\x00", p.Publish("t", b"", 0, False, False, 0, properties(topic_alias=999)), p.Connect(5, "c")],
)
def test_a_client_that_is_disconnected_has_its_will_published(
    net: Net, watch: Client, rude: p.Packet | bytes
) -> None:
    client = net.connect("c", will=will())
    client.send(rude)
    assert client.goodbye().reason_code >= 0x80
    assert watch.message().topic == "will"


@statement("5.0/MQTT-3.1.2-8", "5.0/MQTT-3.1.2-22")
def test_a_silent_client_has_its_will_published(net: Net, watch: Client) -> None:
    client = net.connect("c", keep_alive=10, will=will())
    net.advance(15)
    assert client.closed
    assert watch.message().topic == "will"


@statement("5.0/MQTT-3.1.2-8", "5.0/MQTT-3.1.2-10", "5.0/MQTT-3.14.4-3")
@pytest.mark.parametrize("expiry", [0, 60])
@pytest.mark.parametrize("delay", [0, 10])
def test_a_normal_disconnect_deletes_the_will(net: Net, watch: Client, expiry: int, delay: int) -> None:
    client = net.connect("c", expiry=expiry, will=will(will_delay_interval=delay))
    client.disconnect()
    net.advance(1000)
    net.connect("c", clean=False).drop()
    assert watch.take() == []


@statement("5.0/MQTT-3.1.2-8")
@pytest.mark.parametrize("reason_code", [0x04, 0x80, 0x81, 0x83, 0x98])
def test_any_other_disconnect_publishes_the_will(net: Net, watch: Client, reason_code: int) -> None:
    net.connect("c", will=will()).disconnect(reason_code)
    assert watch.message().topic == "will"


@statement("5.0/MQTT-3.1.2-10")
def test_a_will_is_published_once(net: Net, watch: Client) -> None:
    client = net.connect("c", expiry=60, will=will())
    client.drop()
    assert watch.message().topic == "will"
    net.connect("c", clean=False, expiry=60).drop()
    net.advance(60)
    assert watch.take() == []


@statement("5.0/MQTT-3.1.2-10")
def test_a_new_connection_brings_its_own_will_or_none(net: Net, watch: Client) -> None:
    net.connect("c", expiry=60, will=will(b"one", will_delay_interval=30)).drop()
    net.connect("c", clean=False, expiry=60, will=will(b"two", will_delay_interval=30)).drop()
    net.connect("c", clean=False, expiry=60).drop()
    net.advance(1000)
    assert watch.take() == []
    net.connect("c", clean=False, will=will(b"three")).drop()
    assert watch.message().payload == b"three"


def test_the_broker_going_away_publishes_wills(net: Net, watch: Client) -> None:
    reader = net.connect("reader", expiry=60)
    reader.subscribe("will")
    reader.drop()
    client = net.connect("c", will=will(qos=1))
    net.core.shut_down(net.now)
    net.turn()
    assert client.goodbye().reason_code == 0x8B
    assert [e.message.payload for e in net.core.sessions["reader"].outgoing.unfinished()] == [b"gone"]


# ---- Will Delay Interval (3.1.3.2.2) ----


@statement("5.0/MQTT-3.1.2-8", "5.0/MQTT-3.1.2-7")
def test_a_delayed_will_is_published_when_the_delay_is_over(net: Net, watch: Client) -> None:
    net.connect("c", expiry=60, will=will(will_delay_interval=10)).drop()
    net.advance(9.9)
    assert watch.take() == []
    net.advance(0.1)
    assert watch.message() == p.Publish("will", b"gone")
    net.advance(100)
    assert watch.take() == []


@statement("5.0/MQTT-3.1.2-8")
@pytest.mark.parametrize(
    ("expiry", "delay", "seconds"), [(0, 10, 0), (5, 10, 5), (5, FOREVER, 5), (10, 10, 10), (FOREVER, 10, 10)]
)
def test_a_delayed_will_comes_with_the_end_of_the_session_at_last(
    net: Net, watch: Client, expiry: int, delay: int, seconds: int
) -> None:
    net.connect("c", expiry=expiry, will=will(will_delay_interval=delay)).drop()
    if seconds:
        net.advance(seconds - 0.1)
        assert watch.take() == []
        net.advance(0.1)
    assert watch.message() == p.Publish("will", b"gone")


@statement("5.0/MQTT-3.1.2-8")
def test_disconnect_with_will_message_waits_for_the_delay_too(net: Net, watch: Client) -> None:
    net.connect("c", expiry=5, will=will(will_delay_interval=10)).disconnect(0x04)
    net.advance(4.9)
    assert watch.take() == []
    net.advance(0.1)  # how a client can have the end of its session told
    assert watch.message().topic == "will"


@statement("5.0/MQTT-3.1.3-9")
def test_a_client_that_comes_back_in_time_withholds_its_will(net: Net, watch: Client) -> None:
    net.connect("c", expiry=60, will=will(will_delay_interval=10)).drop()
    net.advance(9.9)
    client = net.connect("c", clean=False, expiry=60)
    net.advance(1000)
    client.drop()
    net.advance(1000)
    assert watch.take() == []


@statement("5.0/MQTT-3.1.2-8")
def test_a_client_that_comes_back_for_a_clean_start_has_its_will_published(net: Net, watch: Client) -> None:
    net.connect("c", expiry=60, will=will(will_delay_interval=10)).drop()
    net.connect("c", clean=True)
    assert watch.message().topic == "will"


@statement("5.0/MQTT-3.1.2-8")
def test_a_delay_is_counted_from_each_loss_anew(net: Net, watch: Client) -> None:
    net.connect("c", expiry=60, will=will(will_delay_interval=10)).drop()
    net.advance(9)
    net.connect("c", clean=False, expiry=60, will=will(will_delay_interval=10)).drop()
    net.advance(9)
    assert watch.take() == []
    net.advance(1)
    assert watch.message().topic == "will"


@statement("5.0/MQTT-3.1.2-8")
def test_a_short_delay_counts_where_the_session_was_to_last_longer(net: Net, watch: Client) -> None:
    net.connect("c", expiry=1000).drop()
    net.connect("c", clean=False, expiry=1000, will=will(will_delay_interval=10)).drop()
    net.advance(10)
    assert watch.message().topic == "will"


# ---- takeover (3.1.4) ----


@statement("5.0/MQTT-3.1.2-8", "5.0/MQTT-3.1.3-9", "5.0/MQTT-3.1.4-3")
@pytest.mark.parametrize(
    ("clean", "expiry", "delay", "published"),
    [
        (False, 60, 0, True),  # the connection is closed, and there is no delay
        (False, 60, 10, False),  # the session goes on within the delay
        (True, 60, 0, True),
        (True, 60, 10, True),  # the session ends
        (False, 0, 10, True),  # the session ends with its connection
    ],
)
def test_takeover_publishes_the_will_unless_it_is_delayed_and_the_session_goes_on(
    net: Net, watch: Client, clean: bool, expiry: int, delay: int, published: bool
) -> None:
    first = net.connect("c", expiry=expiry, will=will(will_delay_interval=delay))
    net.connect("c", clean, expiry=60)
    assert first.closed
    net.advance(1000)
    assert watch.payloads() == ([b"gone"] if published else [])


# ---- what is published ----


@statement("5.0/MQTT-3.1.2-14", "5.0/MQTT-3.1.2-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_is_published_at_its_qos_and_not_retained(net: Net, watch: Client, qos: int) -> None:
    net.connect("c", will=will(qos=qos)).drop()
    assert watch.message() == p.Publish("will", b"gone", qos, False, False, 1 if qos else 0)
    reader = net.connect("reader")
    reader.subscribe("will")
    assert reader.take() == []


@statement("5.0/MQTT-3.1.2-15")
def test_a_retained_will_is_retained(net: Net, watch: Client) -> None:
    net.connect("c", will=will(qos=1, retain=True, content_type="text")).drop()
    assert watch.message() == p.Publish("will", b"gone", 1, False, True, 1, properties(content_type="text"))
    reader = net.connect("reader")
    reader.subscribe("will")
    assert reader.message() == p.Publish("will", b"gone", 1, False, True, 1, properties(content_type="text"))


@statement("5.0/MQTT-3.1.2-15")
def test_a_retained_will_without_a_payload_removes_what_is_retained(net: Net) -> None:
    net.connect("sender").publish("will", b"old", 0, True)
    net.connect("c", will=will(b"", retain=True)).drop()
    assert len(net.core.retained) == 0


@statement("5.0/MQTT-3.1.3-10", "5.0/MQTT-3.1.2-9")
def test_the_properties_of_a_will_go_with_it(net: Net, watch: Client) -> None:
    values = properties(
        payload_format_indicator=1,
        content_type="text/plain",
        response_topic="answers",
        correlation_data=b"\x00\x01",
        user_properties=[("b", "1"), ("a", "2"), ("b", "1"), ("", "")],
    )
    values.will_delay_interval = 0
    net.connect("c", will=p.Will("will", b"gone", 0, False, values)).drop()
    values.will_delay_interval = None
    assert watch.message() == p.Publish("will", b"gone", 0, False, False, 0, values)


@statement("5.0/MQTT-3.3.2-6", "5.0/MQTT-3.3.2-5")
def test_the_message_expiry_of_a_will_counts_from_its_publication(net: Net) -> None:
    late, later = net.connect("late", expiry=1000), net.connect("later", expiry=1000)
    late.subscribe("will")
    later.subscribe("will")
    late.drop()
    later.drop()
    net.connect("c", expiry=60, will=will(qos=1, will_delay_interval=10, message_expiry_interval=30)).drop()
    net.advance(10 + 12)
    message = net.connect("late", clean=False).message()
    assert message.properties == properties(message_expiry_interval=18)
    net.advance(18)
    assert net.connect("later", clean=False).take() == []


def test_no_local_holds_for_a_will(net: Net) -> None:
    client = net.connect("c", expiry=60, will=will(qos=1))
    client.subscribe(("will", 2 | 4))
    client.drop()
    assert net.connect("c", clean=False).take() == []


def test_a_will_reaches_its_own_session(net: Net) -> None:
    client = net.connect("c", expiry=60, will=will(qos=1))
    client.subscribe("will")
    client.drop()
    assert net.connect("c", clean=False).message().payload == b"gone"


def test_a_hook_may_refuse_a_will(net: Net, watch: Client) -> None:
    class Refuse(Hook):
        def on_publish(self, connection: object, message: object) -> int:
            assert connection is None
            return 0x87

    net.core.add_hook(Refuse())
    net.connect("c", will=will(retain=True)).drop()
    assert watch.take() == []
    assert len(net.core.retained) == 0


@statement("5.0/MQTT-3.1.4-2")
def test_who_may_not_publish_may_not_leave_a_will(make: Make) -> None:
    asked: list[tuple[str, bytes, int, bool]] = []

    def authorize(question: Any) -> Answer:
        asked.append((question.action, question.topic, question.qos, question.retain))
        return Answer(0 if question.topic == b"will" else 0x87)

    net = make(authorize=authorize)
    client = net.send_connect("c", will=p.Will("secret", b"", 1, True))
    assert client.pop(p.Connack).reason_code == 0x87
    assert client.closed
    net.connect("c", will=will())
    assert asked == [("publish", b"secret", 1, True), ("publish", b"will", 0, False)]


def test_who_is_asked_about_a_will_is_connected_once(make: Make) -> None:
    net = make(authorize=lambda question: None, authenticate=lambda question: Answer(0))
    client = net.open()
    client.send(p.Connect(5, "c", True, 0, None, None, will()), p.Pingreq())
    assert client.take() == []
    net.answer(Answer(0))
    assert [type(packet) for packet in client.take()] == [p.Connack, p.Pingresp]
