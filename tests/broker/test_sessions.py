"""Sessions: Clean Start, Session Present, what is kept and how long, takeover (5.0: 3.1.2.4, 4.1)."""

from __future__ import annotations

from random import Random

import pytest

from curier.broker import keeping
from curier.broker.core import BrokerCore
from curier.broker.effects import Answer
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

YEAR = 366 * 86_400.0


def is_present(client: Client) -> bool:
    assert client.connack is not None
    return client.connack.session_present


# ---- Clean Start and Session Present ----


@statement(
    "5.0/MQTT-3.1.2-5", "5.0/MQTT-3.2.2-3", "5.0/MQTT-3.1.3-2", "5.0/MQTT-4.5.0-1", "5.0/MQTT-3.1.2-23"
)
def test_without_clean_start_the_session_goes_on(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t", subscription_identifiers=[7])
    client.drop()
    sender = net.connect("sender")
    sender.publish("t", b"kept", 1)
    again = net.connect("c", clean=False, expiry=60)
    assert is_present(again)
    assert again.message() == p.Publish(
        "t", b"kept", 1, False, False, 1, properties(subscription_identifiers=[7])
    )
    sender.publish("t", b"live", 0)
    assert again.payloads() == [b"live"]


@statement("5.0/MQTT-3.1.2-6", "5.0/MQTT-3.2.2-3")
def test_without_clean_start_a_session_is_made_where_there_is_none(net: Net) -> None:
    client = net.connect("c", clean=False, expiry=60)
    assert not is_present(client)
    client.subscribe("t")
    client.drop()
    assert is_present(net.connect("c", clean=False))


@statement("5.0/MQTT-3.1.2-4", "5.0/MQTT-3.2.2-2", "5.0/MQTT-3.1.4-4")
def test_clean_start_begins_a_new_session(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    client.send(p.Publish("t", b"half", 2, False, False, 9))
    client.drop()
    sender = net.connect("sender")
    sender.publish("t", b"lost", 1)
    again = net.connect("c", clean=True, expiry=60)
    assert not is_present(again)
    sender.publish("t", b"lost too", 1)
    assert again.take() == []
    again.send(p.Pubrel(9))  # an unfinished message of the old session
    assert again.expect(p.Pubcomp).reason_code == 0x92
    again.drop()
    assert is_present(net.connect("c", clean=False))


@statement("5.0/MQTT-3.1.3-2")
def test_client_identifiers_are_told_apart_to_the_letter(net: Net) -> None:
    net.connect("c", expiry=60).drop()
    for other in ("C", "c ", " c", "cc", "ｃ"):
        assert not is_present(net.connect(other, clean=False))
    assert is_present(net.connect("c", clean=False))


# ---- how long (3.1.2.11.2, 4.1) ----


@statement("5.0/MQTT-4.1.0-2")
@pytest.mark.parametrize("says_goodbye", [True, False])
@pytest.mark.parametrize("interval", [None, 0])
def test_without_an_expiry_interval_the_session_ends_with_its_connection(
    net: Net, says_goodbye: bool, interval: int | None
) -> None:
    client = net.connect("c", session_expiry_interval=interval)
    client.subscribe("t")
    if says_goodbye:
        client.disconnect()
    else:
        client.drop()
    assert net.core.sessions == {}
    again = net.connect("c", clean=False)
    assert not is_present(again)
    net.connect("sender").publish("t", b"x", 1)
    assert again.take() == []


@statement("5.0/MQTT-4.1.0-2", "5.0/MQTT-3.1.2-23")
def test_a_session_lasts_for_its_expiry_interval_and_no_longer(net: Net) -> None:
    net.connect("c", expiry=60).drop()
    net.advance(59.9)
    assert is_present(net.connect("c", clean=False, expiry=60))
    net.advance(1000)  # the clock stands still while it is connected
    client = net.connect("c", clean=False, expiry=60)
    assert is_present(client)
    client.drop()
    net.advance(60)
    assert net.core.sessions == {}
    assert not is_present(net.connect("c", clean=False))


@statement("5.0/MQTT-4.1.0-1")
def test_a_session_does_not_end_while_it_is_connected(net: Net) -> None:
    client = net.connect("c", expiry=1)
    client.subscribe("t")
    net.advance(YEAR)
    net.connect("sender").publish("t", b"x", 0)
    assert client.payloads() == [b"x"]


@statement("5.0/MQTT-3.1.2-23")
def test_a_session_may_last_for_ever(net: Net) -> None:
    net.connect("c", expiry=FOREVER).drop()
    net.advance(300 * YEAR)
    assert is_present(net.connect("c", clean=False))


@statement("5.0/MQTT-4.1.0-2")
def test_a_shorter_expiry_interval_than_before_counts(net: Net) -> None:
    net.connect("c", expiry=1000).drop()
    net.connect("c", clean=False, expiry=10).drop()
    net.advance(10)
    assert net.core.sessions == {}


@statement("5.0/MQTT-4.1.0-2")
def test_a_longer_expiry_interval_than_before_counts(net: Net) -> None:
    net.connect("c", expiry=10).drop()
    net.connect("c", clean=False, expiry=1000).drop()
    net.advance(999)
    assert list(net.core.sessions) == ["c"]
    net.advance(1)
    assert net.core.sessions == {}


@statement("5.0/MQTT-4.1.0-2")
def test_the_broker_may_keep_sessions_for_less_than_they_ask(make: Make) -> None:
    net = make(quiet(session_expiry_maximum=60))
    net.connect("c", expiry=1000).drop()
    net.connect("d", expiry=FOREVER).drop()
    net.connect("e", expiry=30).drop()
    net.advance(59)
    assert list(net.core.sessions) == ["c", "d"]
    net.advance(1)
    assert net.core.sessions == {}


@statement("5.0/MQTT-4.1.0-2")
def test_the_end_of_a_session_takes_all_of_it(net: Net) -> None:
    client = net.connect("c", expiry=10)
    client.subscribe("t", "u/#", "$share/g/t")
    client.drop()
    net.connect("sender").publish("t", b"x", 1)
    net.advance(10)
    assert len(net.core.router.table) == 0
    assert net.core.groups == {}
    assert net.connect("sender").publish("t", b"x", 1) == 0x10  # No matching subscribers
    assert not is_present(net.connect("c", clean=False))


def test_retained_messages_outlive_the_session_that_sent_them(net: Net) -> None:
    client = net.connect("c", expiry=10)
    client.publish("t", b"kept", 1, True)
    client.drop()
    net.advance(10)
    reader = net.connect("reader")
    reader.subscribe("t")
    assert reader.payloads() == [b"kept"]


# ---- Session Expiry Interval in DISCONNECT (3.14.2.2.2) ----


@statement("5.0/MQTT-4.1.0-2", "5.0/MQTT-3.1.2-23")
@pytest.mark.parametrize(("first", "last"), [(10, 50), (50, 10), (FOREVER, 10)])
def test_disconnect_may_set_another_expiry_interval(net: Net, first: int, last: int) -> None:
    net.connect("c", expiry=first).disconnect(0, session_expiry_interval=last)
    net.advance(last - 0.1)
    assert list(net.core.sessions) == ["c"]
    net.advance(0.1)
    assert net.core.sessions == {}


def test_disconnect_may_end_the_session(net: Net) -> None:
    net.connect("c", expiry=60).disconnect(0, session_expiry_interval=0)
    assert net.core.sessions == {}


def test_disconnect_without_an_expiry_interval_leaves_it_as_it_is(net: Net) -> None:
    net.connect("c", expiry=60).disconnect()
    net.advance(59)
    assert is_present(net.connect("c", clean=False))


@statement("5.0/MQTT-4.13.1-1")
def test_disconnect_cannot_make_a_session_last_that_was_not_meant_to(net: Net) -> None:
    watch = net.connect("watch")
    watch.subscribe("#")
    client = net.connect("c", will=p.Will("gone", b""))
    client.send(p.Disconnect(0, properties(session_expiry_interval=60)))
    assert client.goodbye().reason_code == 0x82
    assert watch.message().topic == "gone"  # it was no valid DISCONNECT
    assert list(net.core.sessions) == ["watch"]


def test_disconnect_with_expiry_interval_0_where_it_was_0_is_fine(net: Net) -> None:
    client = net.connect("c")
    client.disconnect(0, session_expiry_interval=0)
    assert client.take() == []


@pytest.mark.parametrize(("maximum", "kept"), [(60, 60), (0, 0)])
def test_disconnect_cannot_ask_for_more_than_the_broker_keeps(make: Make, maximum: int, kept: int) -> None:
    net = make(quiet(session_expiry_maximum=maximum))
    client = net.connect("c", expiry=1000)
    client.disconnect(0, session_expiry_interval=2000)
    assert client.take() == []  # it asked for more than 0 in CONNECT: no Protocol Error
    net.advance(kept - 0.1 if kept else 0)
    assert list(net.core.sessions) == (["c"] if kept else [])
    net.advance(0.1)
    assert net.core.sessions == {}


# ---- takeover (3.1.4) ----


@statement("5.0/MQTT-3.1.4-3", "5.0/MQTT-3.14.4-2")
@pytest.mark.parametrize("clean", [True, False])
def test_a_second_connection_takes_over_from_the_first(net: Net, clean: bool) -> None:
    first = net.connect("c", expiry=60)
    first.subscribe("t")
    second = net.connect("c", clean, expiry=60)
    assert first.goodbye().reason_code == 0x8E
    assert is_present(second) is not clean
    net.connect("sender").publish("t", b"x", 0)
    assert second.payloads() == ([] if clean else [b"x"])
    assert first.take() == []
    first.send(p.Publish("t", b"too late"))
    first.drop()
    assert second.take() == []
    assert not second.closed
    assert net.core.statistics.connected == 2


@statement("5.0/MQTT-4.1.0-2", "5.0/MQTT-3.2.2-3")
def test_a_session_without_expiry_interval_ends_with_the_takeover(net: Net) -> None:
    first = net.connect("c")
    first.subscribe("t")
    second = net.connect("c", clean=False, expiry=60)
    assert first.goodbye().reason_code == 0x8E
    assert not is_present(second)
    net.connect("sender").publish("t", b"x", 1)
    assert second.take() == []


@statement("5.0/MQTT-4.4.0-1", "5.0/MQTT-3.3.1-1")
def test_what_was_unfinished_is_sent_again_to_the_connection_that_took_over(net: Net) -> None:
    first = net.connect("c", expiry=60)
    first.subscribe("t")
    net.connect("sender").publish("t", b"x", 1)
    assert first.message() == p.Publish("t", b"x", 1, False, False, 1)
    second = net.connect("c", clean=False)
    assert second.message() == p.Publish("t", b"x", 1, True, False, 1)
    first.goodbye()


def test_a_takeover_needs_to_be_allowed(make: Make) -> None:
    net = make(
        authenticate=lambda question: Answer(0x86 if question.connect.username is None else 0, identity="ana")
    )
    client = net.open()
    client.send(p.Connect(5, "c", True, 0, "ana"))
    client.expect(p.Connack)
    thief = net.send_connect("c")
    assert thief.expect(p.Connack).reason_code == 0x86
    assert not client.closed
    client.publish("t", b"x", 1)


def test_many_takeovers_leave_one_connection(net: Net) -> None:
    clients = [net.connect("c", clean=False, expiry=60) for _ in range(5)]
    assert [client.closed for client in clients] == [True] * 4 + [False]
    assert len(net.core.connections) == 1
    assert net.core.statistics.connected == 1


def test_the_list_of_sessions_is_that_of_those_there_are() -> None:
    core = BrokerCore(quiet(), 0.0)
    dice = Random(1)
    for _ in range(2000):
        name = f"s{dice.randrange(40)}"
        session = core.sessions.get(name)
        if session is None:
            keeping.new_session(core, name, False)
        else:
            keeping.end_session(core, session, "it is over", 0.0)
        assert {one.client_id for one in core.session_list} == set(core.sessions)
        assert [one.place for one in core.session_list] == list(range(len(core.sessions)))
