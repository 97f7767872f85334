"""With a journal, what promises something durable leaves when it is durable: in order, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from curier.broker.restoring import Restorer
from curier.codec import packets as p
from curier.session.records import Record, decode, encode
from tests.broker.client import Client
from tests.broker.harness import Net
from tests.codec.cases import properties

statement = pytest.mark.statement


@pytest.fixture
def net() -> Net:
    return Net("journal")


def keeper(net: Net) -> Client:
    """A client with a durable session that is subscribed to ``t``."""
    client = net.connect("keeper", expiry=1000)
    client.subscribe("t")
    return client


def publish(packet_id: int, qos: int, topic: str = "t", retain: bool = False) -> p.Publish:
    return p.Publish(topic, b"%d" % packet_id, qos, False, retain, packet_id if qos else 0)


# ---- what waits ----


@statement("5.0/MQTT-4.3.2-4", "5.0/MQTT-4.3.3-8", "5.0/MQTT-4.5.0-1")
@pytest.mark.parametrize("expiry", [0, 60])
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("is_there", [True, False])
def test_the_answer_to_a_message_waits_until_the_message_is_kept(
    net: Net, is_there: bool, qos: int, expiry: int
) -> None:
    reader = keeper(net)
    client = net.connect("c", expiry=expiry)
    if not is_there:
        reader.drop()
    net.commits = False
    client.send(publish(1, qos))
    assert client.take() == []
    (batch,) = net.batches
    assert {"MessageSaved", "Queued"} <= {type(record).__name__ for record in batch.batch.records}
    net.commit()
    assert client.take() == [p.Puback(1) if qos == 1 else p.Pubrec(1)]


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_the_answer_to_a_retained_message_waits_too(net: Net, qos: int, payload: bytes) -> None:
    client = net.connect("c")
    client.publish("r", b"old", 1, True)
    net.commits = False
    client.send(p.Publish("r", payload, qos, False, True, 5))
    assert client.take() == []
    net.commit()
    assert len(client.take()) == 1


@statement("5.0/MQTT-4.3.3-11")
def test_pubcomp_waits_until_the_identifier_is_free(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.send(publish(1, 2, "nobody"))
    assert client.take() == [p.Pubrec(1, 0x10)]
    net.commits = False
    client.send(p.Pubrel(1))
    assert client.take() == []
    net.commit()
    assert client.take() == [p.Pubcomp(1)]


def test_pubrec_waits_for_the_identifier_though_nobody_gets_the_message(net: Net) -> None:
    client = net.connect("c", expiry=60)
    net.commits = False
    client.send(publish(1, 2, "nobody"))
    assert client.take() == []
    net.commit()
    assert client.take() == [p.Pubrec(1, 0x10)]


@statement("5.0/MQTT-4.3.3-4")
def test_pubrel_waits_until_pubrec_is_kept(net: Net) -> None:
    reader = keeper(net)
    net.connect("c").publish("t", b"x", 2)
    assert reader.message().qos == 2
    net.commits = False
    reader.send(p.Pubrec(1))
    assert reader.take() == []
    net.commit()
    assert reader.take() == [p.Pubrel(1)]


def test_a_qos_2_message_waits_until_its_identifier_is_kept(net: Net) -> None:
    reader, client = keeper(net), net.connect("c")
    net.commits = False
    client.send(publish(1, 2))
    assert reader.take() == client.take() == []
    net.commit()
    assert reader.message().packet_id == 1


def test_a_qos_1_message_goes_at_once(net: Net) -> None:
    reader, client = keeper(net), net.connect("c")
    net.commits = False
    client.send(publish(1, 1))
    assert reader.message().packet_id == 1
    assert client.take() == []


@statement("5.0/MQTT-3.2.0-1")
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("expiry", [0, 60])
def test_connack_waits_until_the_session_is_kept(net: Net, expiry: int, clean: bool) -> None:
    net.connect("c", expiry=60).drop()
    net.commits = False
    client = net.send_connect("c", clean, session_expiry_interval=expiry)
    client.send(p.Pingreq())
    assert client.take() == []
    net.commit()
    assert [type(packet) for packet in client.take()] == [p.Connack, p.Pingresp]
    assert client.connack is not None
    assert client.connack.session_present is not clean


def test_suback_and_unsuback_of_a_durable_session_wait(net: Net) -> None:
    client = net.connect("c", expiry=60)
    net.commits = False
    client.send(p.Subscribe(1, [("t", 1)]))
    assert client.take() == []
    net.commit()
    assert client.take() == [p.Suback(1, [1])]
    client.send(p.Unsubscribe(2, ["t"]))
    assert client.take() == []
    net.commit()
    assert client.take() == [p.Unsuback(2, [0])]


# ---- what does not wait ----


def test_where_nothing_durable_is_concerned_nothing_waits(net: Net) -> None:
    net.commits = False
    client = net.connect("c")
    client.subscribe("x/#", "$share/g/x")
    client.unsubscribe("$share/g/x")
    for qos in (0, 1, 2):
        client.publish("x/y", b"x", qos)
        client.publish("nobody", b"x", qos)
        client.finish(*client.messages())
    client.disconnect()
    assert net.batches == []


def test_qos_0_does_not_wait_nor_make_others_wait(net: Net) -> None:
    reader, client, other = keeper(net), net.connect("c"), net.connect("other")
    other.subscribe("t")
    net.commits = False
    client.send(publish(1, 1), publish(0, 0))
    client.send(p.Pingreq())
    assert reader.payloads() == [b"1", b"0"]
    assert other.payloads() == [b"1", b"0"]
    client.expect(p.Pingresp)
    other.publish("elsewhere", b"x", 2)
    net.commit()
    client.expect(p.Puback)


@statement("5.0/MQTT-4.9.0-3")
def test_an_acknowledgement_of_a_reader_needs_no_wait(net: Net) -> None:
    reader = net.connect("reader", expiry=60, receive_maximum=1)
    reader.subscribe("t")
    client = net.connect("c")
    client.publish("t", b"1", 1)
    client.publish("t", b"2", 1)
    assert reader.message().packet_id == 1
    net.commits = False
    reader.send(p.Puback(1))
    assert reader.message().payload == b"2"
    reader.send(p.Pingreq())
    reader.expect(p.Pingresp)
    assert [type(record).__name__ for record in net.batches[0].batch.records][:1] == ["Delivered"]


# ---- in order, a batch at a time ----


@statement("5.0/MQTT-4.6.0-2", "5.0/MQTT-4.6.0-3")
def test_answers_keep_their_order_whether_they_had_to_wait_or_not(net: Net) -> None:
    keeper(net)
    client = net.connect("c")
    net.commits = False
    client.send(
        publish(1, 1),
        publish(2, 1, "nobody"),
        publish(3, 2, "nobody"),
        publish(4, 2),
        publish(5, 1, "nobody"),
    )
    client.send(p.Subscribe(6, [("u", 0)]))
    assert client.take() == []
    net.commit()
    assert client.take() == [
        p.Puback(1), p.Puback(2, 0x10), p.Pubrec(3, 0x10), p.Pubrec(4), p.Puback(5, 0x10), p.Suback(6, [0])
    ]  # fmt: skip


def test_one_batch_is_in_flight_and_the_next_grows_meanwhile(net: Net) -> None:
    reader = keeper(net)
    reader.drop()
    client = net.connect("c")
    net.commits = False
    client.send(publish(1, 1))
    first = net.batches[0].batch
    for number in range(2, 50):
        client.send(publish(number, 1))  # the harness sees to it that there is one batch only
    assert client.take() == []
    net.commit()
    assert client.take() == [p.Puback(1)]
    second = net.batches[0].batch
    assert second.number == first.number + 1
    assert sum(type(record).__name__ == "Queued" for record in second.records) == 48
    net.commit()
    assert client.take() == [p.Puback(number) for number in range(2, 50)]
    assert net.batches == []


@statement("5.0/MQTT-4.6.0-5")
def test_qos_2_messages_keep_their_order_while_they_wait(net: Net) -> None:
    reader, client = keeper(net), net.connect("c")
    plain = net.connect("plain")
    plain.subscribe("t")
    net.commits = False
    for number in range(1, 6):
        client.send(publish(number, 2))
    assert plain.payloads() == [b"1", b"2", b"3", b"4", b"5"]
    while net.batches:
        net.commit()
    assert reader.payloads() == [b"1", b"2", b"3", b"4", b"5"]


@statement("5.0/MQTT-4.6.0-5")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("expiry", [0, 60])
def test_messages_keep_their_order_to_one_who_waits_for_answers(net: Net, qos: int, expiry: int) -> None:
    keeper(net)
    reader, client = net.connect("reader", expiry=expiry), net.connect("c")
    reader.subscribe("news")
    net.commits = False
    reader.send(publish(1, 1))  # its answer waits
    for number in range(2, 10):
        dup = number % 2 == 0 and qos > 0  # every other one on the fast lane
        client.send(p.Publish("news", b"%d" % number, qos, dup, packet_id=number if qos else 0))
    while net.batches:
        net.commit()
    got = [packet.payload for packet in reader.take() if isinstance(packet, p.Publish)]
    assert got == [b"%d" % number for number in range(2, 10)]


@statement("5.0/MQTT-4.6.0-1", "3.1.1/MQTT-4.6.0-1")
@pytest.mark.parametrize("waited", [True, False])
def test_no_message_overtakes_one_that_waits_for_the_disk(net: Net, waited: bool) -> None:
    reader, client = net.connect("reader", expiry=1000), net.connect("c")
    reader.subscribe("t")
    if waited:
        reader.drop()
    net.commits = waited
    for packet_id, qos in enumerate((2, 1, 2, 1, 1, 2, 2, 1), 1):
        client.send(publish(packet_id, qos))
    net.commits = False
    order = [b"%d" % number for number in range(1, 9)]
    if waited:
        reader = net.send_connect("reader", False, session_expiry_interval=1000)
    assert reader.payloads() == []
    while net.batches:
        net.commit()
    assert [packet.payload for packet in reader.take() if isinstance(packet, p.Publish)] == order
    net.commits = True
    reader.drop()
    again = net.connect("reader", False, 1000)
    assert again.payloads() == order


@statement("5.0/MQTT-4.6.0-1", "3.1.1/MQTT-4.6.0-1")
def test_nor_one_that_waits_behind_an_answer_of_a_later_batch(net: Net) -> None:
    reader, client = net.connect("reader", expiry=1000), net.connect("c")
    reader.subscribe("t")
    client.send(publish(1, 2))
    (first,) = [packet for packet in reader.take() if isinstance(packet, p.Publish)]
    net.commits = False
    client.send(publish(2, 2))  # waits for the batch that is on its way now
    reader.send(p.Pubrec(first.packet_id))  # and its answer for the one after it
    client.send(publish(3, 1))  # behind both
    net.commit()
    client.send(publish(4, 1))
    while net.batches:
        net.commit()
    assert [packet.payload for packet in reader.take() if isinstance(packet, p.Publish)] == [b"2", b"3", b"4"]


def test_what_a_closed_connection_waited_for_is_forgotten(net: Net) -> None:
    keeper(net)
    client = net.connect("c")
    net.commits = False
    client.send(publish(1, 1))
    client.drop()
    waiting = net.send_connect("d", session_expiry_interval=60)
    waiting.drop()
    while net.batches:
        net.commit()
    assert client.take() == waiting.take() == []
    assert list(net.core.sessions) == ["keeper", "d"]
    assert net.core.statistics.connected == 1


@statement("5.0/MQTT-4.1.0-2", "5.0/MQTT-3.1.2-8")
def test_a_client_that_leaves_while_it_waits_leaves_like_any_other(net: Net) -> None:
    watch = net.connect("watch")
    watch.subscribe("gone")
    net.commits = False
    client = net.send_connect("c", session_expiry_interval=60, will=p.Will("gone", b""))
    client.drop()
    assert watch.message().topic == "gone"
    while net.batches:
        net.commit()
    net.commits = True
    net.advance(60)
    assert list(net.core.sessions) == ["watch"]


@statement("5.0/MQTT-3.1.4-3", "5.0/MQTT-3.14.0-1")
def test_a_client_that_is_taken_over_while_it_waits_hears_nothing(net: Net) -> None:
    net.commits = False
    first = net.send_connect("c", session_expiry_interval=60)
    second = net.send_connect("c", False, session_expiry_interval=60)
    while net.batches:
        net.commit()
    assert first.closed
    assert first.take() == []
    assert second.expect(p.Connack).session_present


# ---- trouble with the disk ----


def test_while_nothing_can_be_kept_nothing_is_promised(net: Net) -> None:
    reader = keeper(net)
    client = net.connect("c")
    net.commits = False
    client.send(publish(1, 1))
    net.core.store_failed("the disk is full")
    why = properties(reason_string="the disk is full")
    client.send(publish(2, 1), publish(3, 2), publish(0, 0), publish(4, 1, "nobody"))
    assert reader.payloads() == [b"1", b"0"]
    net.commit()
    assert client.take() == [p.Puback(1), p.Puback(2, 0x83, why), p.Pubrec(3, 0x83, why), p.Puback(4, 0x10)]
    net.commits = True
    net.turn()
    assert client.publish("t", b"5", 1) == 0


def test_while_nothing_can_be_kept_only_short_sessions_begin(net: Net) -> None:
    net.core.store_failed("the disk is full")
    assert net.send_connect("c", session_expiry_interval=60).expect(p.Connack).reason_code == 0x88
    net.connect("d")


# ---- the records tell it all ----


def replayed(net: Net, records: list[Record]) -> Net:
    """A new life of the broker, made of these records alone."""
    again = Net("journal")
    again.now = net.now
    restorer = Restorer(again.core)
    restorer.replay(decode(encode(records)))
    restorer.finish(again.now)
    again.advance(0)
    return again


def kept(net: Net) -> Callable[[], list[Record]]:
    """Collects the records of all batches from here on; they are durable at once."""
    records: list[Record] = []
    commit = net._commit

    def collect() -> None:
        records.extend(net.batches[0].batch.records)
        commit()

    net._commit = collect  # type: ignore[method-assign]
    return lambda: list(records)


@statement("5.0/MQTT-4.4.0-1", "5.0/MQTT-3.1.2-23", "5.0/MQTT-4.3.3-10")
def test_a_session_goes_on_after_a_restart_where_it_was(net: Net) -> None:
    records = kept(net)
    client = net.connect("c", expiry=1000, receive_maximum=3)
    client.subscribe(("t", 2), subscription_identifiers=[7])
    client.send(p.Publish("elsewhere", b"in", 2, packet_id=40))
    sender = net.connect("sender")
    for number in range(5):
        sender.publish("t", b"%d" % number, 2 if number % 2 else 1, content_type="text")
    sender.publish("kept", b"retained", 1, True)
    client.take()
    client.send(p.Pubrec(2))
    again = replayed(net, records())
    client = again.connect("c", clean=False, expiry=1000)
    assert client.connack is not None
    assert client.connack.session_present
    assert client.pop(p.Pubrel) == p.Pubrel(2)
    made = properties(content_type="text", subscription_identifiers=[7])
    assert sorted(client.messages(), key=lambda message: message.packet_id) == [
        p.Publish("t", b"0", 1, True, False, 1, made),
        p.Publish("t", b"2", 1, True, False, 3, made),
        p.Publish("t", b"3", 2, False, False, 4, made),
        p.Publish("t", b"4", 1, False, False, 5, made),
    ]
    client.send(p.Publish("elsewhere", b"in", 2, True, packet_id=40))
    assert client.take() == [p.Pubrec(40)]
    client.subscribe("kept")
    assert client.message().payload == b"retained"
    again.connect("sender").publish("t", b"after", 1)
    assert client.message().payload == b"after"


@statement("5.0/MQTT-4.1.0-2", "5.0/MQTT-3.1.2-8")
def test_expiry_and_wills_go_on_after_a_restart(net: Net) -> None:
    records = kept(net)
    watch = net.connect("watch", expiry=1000)
    watch.subscribe("w")
    net.connect(
        "left", expiry=50, will=p.Will("w", b"delayed", 1, False, properties(will_delay_interval=30))
    ).drop()
    net.connect("here", expiry=50, will=p.Will("w", b"at once", 1))
    net.advance(20)
    again = replayed(net, records())
    watch = again.connect("watch", clean=False, expiry=1000)
    assert watch.payloads() == [b"at once"]
    again.advance(10)
    assert watch.payloads() == [b"delayed"]
    again.advance(20)
    assert sorted(again.core.sessions) == ["here", "watch"]
    again.advance(20)
    assert sorted(again.core.sessions) == ["watch"]
