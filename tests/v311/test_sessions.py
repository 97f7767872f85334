"""Sessions: Clean Session, Session Present, what is kept and for how long, takeover (3.1.1: 3.1.2.4, 4.1)."""

from __future__ import annotations

import pytest

from curier.codec.packets import Connack, Connect, Publish, Pubrec, Will
from tests.v311.conftest import Make
from tests.v311.harness import Network, quiet

statement = pytest.mark.statement

YEAR = 366 * 86_400.0


@statement("3.1.1/MQTT-3.1.2-4", "3.1.1/MQTT-3.2.2-2", "3.1.1/MQTT-4.1.0-1", "3.1.1/MQTT-3.1.4-3")
def test_clean_session_0_resumes_the_session(net: Network) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("t")
    client.disconnect()
    net.advance(YEAR)
    net.connect("other").publish("t", b"kept", 1)
    again = net.connect("c", clean=False)
    assert again.session_present
    assert again.payloads() == [b"kept"]
    net.connect("third").publish("t", b"live", 1)
    assert again.payloads() == [b"live"]


@statement("3.1.1/MQTT-3.1.2-4", "3.1.1/MQTT-3.2.2-3")
def test_clean_session_0_makes_a_session_where_there_is_none(net: Network) -> None:
    assert not net.connect("c", clean=False).session_present


@statement("3.1.1/MQTT-3.1.2-4")
@pytest.mark.parametrize("goodbye", [True, False])
def test_a_session_outlives_its_connection_however_that_ends(net: Network, goodbye: bool) -> None:
    client = net.connect("c", clean=False)
    if goodbye:
        client.disconnect()
    else:
        client.drop()
    assert net.connect("c", clean=False).session_present


@statement("3.1.1/MQTT-3.1.2-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_qos_1_and_2_messages_wait_for_the_session(net: Network, qos: int) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("t")
    client.disconnect()
    sender = net.connect("sender")
    for number in range(20):
        sender.publish("t", b"%d" % number, qos)
    sender.publish("t", b"at most once", 0)
    again = net.connect("c", clean=False)
    got = again.publishes()
    assert [publish.payload for publish in got] == [b"%d" % number for number in range(20)]
    assert {(publish.qos, publish.dup, publish.retain) for publish in got} == {(qos, False, False)}


def test_qos_0_messages_wait_too_where_that_is_asked_for(make: Make) -> None:
    options = quiet()
    options.queue_qos0 = True
    net = make(options)
    client = net.connect("c", clean=False)
    client.subscribe("t")
    client.disconnect()
    net.connect("sender").publish("t", b"x", 0)
    (publish,) = net.connect("c", clean=False).publishes()
    assert publish == Publish("t", b"x")


@statement("3.1.1/MQTT-3.1.2-6", "3.1.1/MQTT-3.2.2-1", "3.1.1/MQTT-3.1.4-3")
def test_clean_session_1_discards_the_session(net: Network) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("t")
    client.disconnect()
    sender = net.connect("sender")
    sender.publish("t", b"lost", 1)
    clean = net.connect("c", clean=True)
    assert not clean.session_present
    sender.publish("t", b"lost as well", 1)
    assert clean.take() == []
    clean.disconnect()
    assert "c" not in net.core.sessions
    resumed = net.connect("c", clean=False)
    assert not resumed.session_present
    sender.publish("t", b"lost too", 1)
    assert resumed.take() == []


@statement("3.1.1/MQTT-3.1.2-6")
@pytest.mark.parametrize("goodbye", [True, False])
def test_a_clean_session_ends_with_its_connection(net: Network, goodbye: bool) -> None:
    client = net.connect("c", clean=True)
    client.subscribe("t")
    net.connect("sender").publish("t", b"unacknowledged", 1)
    client.take()
    if goodbye:
        client.disconnect()
    else:
        client.drop()
    assert not net.connect("c", clean=False).session_present
    assert "c" in net.core.sessions


@statement("3.1.1/MQTT-4.1.0-2")
def test_a_clean_session_lasts_as_long_as_its_connection(net: Network) -> None:
    client = net.connect("c", clean=True)
    client.subscribe("t")
    net.advance(YEAR)
    net.connect("sender").publish("t", b"x")
    assert client.payloads() == [b"x"]


@statement("3.1.1/MQTT-3.1.3-2")
def test_sessions_are_told_apart_by_client_identifier(net: Network) -> None:
    names = ["c", "C", "c ", "cc", "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"]
    for name in names:
        client = net.connect(name, clean=False)
        assert not client.session_present
        client.subscribe(f"to/{names.index(name)}")
        client.disconnect()
    sender = net.connect("sender")
    for index in range(len(names)):
        sender.publish(f"to/{index}", b"%d" % index, 1)
    for index, name in enumerate(names):
        again = net.connect(name, clean=False)
        assert again.session_present
        assert again.payloads() == [b"%d" % index]


@statement("3.1.1/MQTT-3.1.4-2")
@pytest.mark.parametrize("clean", [True, False])
def test_a_second_connection_takes_over(net: Network, clean: bool) -> None:
    first = net.connect("c", clean=clean)
    first.subscribe("t")
    second = net.connect("c", clean=clean)
    assert first.closed
    assert first.take() == []
    assert second.session_present is not clean
    net.connect("sender").publish("t", b"x")
    assert second.payloads() == ([] if clean else [b"x"])
    first.send(Publish("t", b"from the dead"))
    assert second.take() == []


@statement("3.1.1/MQTT-3.1.4-2", "3.1.1/MQTT-4.4.0-1")
def test_the_new_connection_is_sent_what_the_old_one_did_not_acknowledge(net: Network) -> None:
    first = net.connect("c", clean=False)
    first.subscribe("t")
    net.connect("sender").publish("t", b"x", 1)
    (once,) = first.publishes()
    (again,) = net.connect("c", clean=False).publishes()
    assert (again.packet_id, again.payload, again.dup) == (once.packet_id, b"x", True)


@statement("3.1.1/MQTT-3.1.2-8", "3.1.1/MQTT-3.1.4-2")
def test_a_takeover_publishes_the_will_of_the_old_connection(net: Network) -> None:
    watch = net.connect("watch")
    watch.subscribe("#")
    net.connect("c", clean=False, will=Will("w", b"one"))
    net.connect("c", clean=False, will=Will("w", b"two"))
    assert watch.payloads() == [b"one"]
    net.connect("c", clean=True)
    assert watch.payloads() == [b"two"]


@statement("3.1.1/MQTT-3.1.4-2")
def test_a_refused_connection_takes_nothing_over(net: Network) -> None:
    client = net.connect("c", clean=False)
    other = net.open(4)
    other.send(Connect(4, "c", True, 0, None, None, Will("$SYS/w", b"", 0)))
    assert other.expect(Connack).reason_code == 5
    assert not client.closed


@statement("3.1.1/MQTT-3.1.2-7")
@pytest.mark.parametrize("clean", [True, False])
def test_retained_messages_are_no_part_of_a_session(net: Network, clean: bool) -> None:
    client = net.connect("c", clean=clean)
    client.publish("t", b"kept", 1, retain=True)
    client.disconnect()
    net.connect("c", clean=True).disconnect()
    other = net.connect("other")
    other.subscribe("t")
    assert other.payloads() == [b"kept"]


@statement("3.1.1/MQTT-4.1.0-1", "3.1.1/MQTT-4.3.3-2")
def test_identifiers_of_received_qos_2_messages_are_kept_while_away(net: Network) -> None:
    watch = net.connect("watch")
    watch.subscribe("t")
    client = net.connect("c", clean=False)
    client.send(Publish("t", b"once", 2, False, False, 7))
    client.expect(Pubrec)
    client.drop()
    again = net.connect("c", clean=False)
    again.send(Publish("t", b"once", 2, True, False, 7))
    assert again.expect(Pubrec).packet_id == 7
    assert watch.payloads() == [b"once"]


@statement("3.1.1/MQTT-3.1.2-6", "3.1.1/MQTT-4.3.3-2")
def test_identifiers_of_received_qos_2_messages_go_with_a_clean_session(net: Network) -> None:
    watch = net.connect("watch")
    watch.subscribe("t")
    client = net.connect("c", clean=True)
    client.send(Publish("t", b"one", 2, False, False, 7))
    client.drop()
    again = net.connect("c", clean=True)
    again.send(Publish("t", b"two", 2, False, False, 7))
    assert watch.payloads() == [b"one", b"two"]


@statement("3.1.1/MQTT-3.1.2-4")
def test_a_session_lasts_no_longer_than_the_broker_allows(make: Make) -> None:
    options = quiet()
    options.session_expiry_maximum = 60
    net = make(options)
    net.connect("c", clean=False).disconnect()
    net.advance(59)
    client = net.connect("c", clean=False)
    assert client.session_present
    net.advance(1000)  # connected: no end
    client.disconnect()
    net.advance(61)
    assert "c" not in net.core.sessions
    assert not net.connect("c", clean=False).session_present
