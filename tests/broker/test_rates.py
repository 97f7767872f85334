"""Rates of many clients together, of what one is sent, of connections; and how many a user may have."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer, Authenticate
from curier.broker.entrances import Entrance
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.broker.pacing import LEAST_PAUSE, TOLD_SECONDS
from curier.broker.repacing import AT_ONCE as CHANGED_AT_ONCE
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.broker.test_changing_options import change
from tests.broker.test_pacing import AT_ONCE

TOO_MANY = 0x97


def users(question: Authenticate) -> Answer:
    return Answer(0, identity=question.connect.username)


def come(net: Net, client_id: str, user: str, version: int = 5) -> Client:
    client = net.open()
    client.version = version
    client.send(p.Connect(version, client_id, True, 0, user, None))
    return client


def let_in(net: Net, client_id: str, user: str) -> Client:
    client = come(net, client_id, user)
    assert client.pop(p.Connack).reason_code == 0
    return client


def messages(first: int, count: int, size: int = 20) -> list[p.Publish]:
    return [p.Publish("t", b"x" * size, 1, packet_id=number) for number in range(first, first + count)]


def acknowledged(client: Client) -> int:
    packets = client.take()
    assert {type(packet) for packet in packets} <= {p.Puback}
    return len(packets)


# ---- what many send ----


@pytest.mark.parametrize("rate", [{"max_user_message_rate": 10}, {"max_user_byte_rate": 290}])
def test_the_clients_of_a_user_have_one_rate(make: Make, rate: dict[str, int]) -> None:
    net = make(quiet(**rate), authenticate=users)
    both = [let_in(net, name, "ana") for name in "ab"]
    other = let_in(net, "c", "ben")
    for client in both:
        client.send(*messages(1, 200))
    came = [acknowledged(client) for client in both]
    assert all(client.connection.paused for client in both)
    assert sum(came) <= 40
    for _ in range(100):
        net.advance(0.1)
        came = [before + acknowledged(client) for before, client in zip(came, both, strict=True)]
    assert 90 <= sum(came) <= 145
    assert min(came) >= 40
    other.send(*messages(1, 5))
    assert acknowledged(other) == 5


def test_one_who_says_little_waits_for_its_turn_and_no_longer(make: Make) -> None:
    net = make(quiet(max_user_message_rate=100), authenticate=users)
    floods = [let_in(net, f"f{number}", "ana") for number in range(5)]
    for client in floods:
        client.send(*messages(1, 3000))
    net.advance(5)
    little = let_in(net, "l", "ana")
    for number in range(20):
        little.send(*messages(number + 1, 1))
        net.advance(0.5)
        assert acknowledged(little) == 1
    assert all(client.connection.paused for client in floods)


def test_a_huge_message_is_a_debt_of_the_one_that_sent_it(make: Make) -> None:
    """Twenty seconds' worth in one piece: the user's other clients need not wait for that."""
    net = make(quiet(max_user_byte_rate=1000), authenticate=users)
    huge, little = let_in(net, "h", "ana"), let_in(net, "l", "ana")
    huge.send(*messages(1, 1, 20_000))
    assert acknowledged(huge) == 1
    for number in range(20):
        little.send(*messages(number + 1, 1))
        net.advance(0.5)
        assert acknowledged(little) == 1
        assert huge.connection.paused
    net.advance(14)  # it has paid meanwhile, though it said nothing
    assert not huge.connection.paused
    huge.send(*messages(2, 1))
    assert acknowledged(huge) == 1


def test_who_leaves_with_a_debt_leaves_it_to_its_user(make: Make) -> None:
    net = make(quiet(max_user_byte_rate=1000), authenticate=users)
    come_and_gone = 0
    for _ in range(20):
        client = let_in(net, "h", "ana")
        client.send(*messages(1, 1, 5000))
        come_and_gone += acknowledged(client)
        client.drop()
    assert come_and_gone < 4
    (allowance,) = net.core.holdings.allowances.values()
    assert allowance.bytes.tokens < -3000
    net.advance(30)
    assert net.core.holdings.allowances == {}


def test_all_who_come_in_at_a_listener_have_one_rate(make: Make) -> None:
    net = make()
    net.entrance = Entrance("front", max_message_rate=10)
    clients = [net.connect(name) for name in "abc"]
    for client in clients:
        client.send(*messages(1, 100))
    came = [acknowledged(client) for client in clients]
    for _ in range(100):
        net.advance(0.1)
        came = [before + acknowledged(client) for before, client in zip(came, clients, strict=True)]
    assert 90 <= sum(came) <= 145
    assert min(came) >= 25
    net.entrance = None
    other = net.connect("d")
    other.send(*messages(1, 100))
    assert acknowledged(other) == 100


def test_what_was_promised_to_who_is_gone_is_free_again(make: Make) -> None:
    net = make(quiet(max_user_message_rate=10), authenticate=users)
    clients = [let_in(net, f"c{number}", "ana") for number in range(30)]
    for client in clients:
        client.send(*messages(1, 50))
    for client in clients[1:]:
        client.drop()
    came = acknowledged(clients[0])
    net.advance(6)
    assert came + acknowledged(clients[0]) == 50
    clients[0].drop()
    assert net.core.holdings.clients == {}
    net.advance(1.1)
    assert net.core.holdings.allowances == {}


def test_who_comes_again_at_once_does_not_begin_anew(make: Make) -> None:
    net = make(quiet(max_user_message_rate=10), authenticate=users)
    came = 0
    for _ in range(50):
        client = let_in(net, "c", "ana")
        client.send(*messages(1, 50))
        came += acknowledged(client)
        client.drop()
        net.advance(0.1)
    assert came <= 10 * AT_ONCE + 50
    net.advance(10)
    assert net.core.holdings.allowances == {}


@pytest.mark.parametrize("name", ["max_user_message_rate", "max_message_rate"])
def test_a_rate_may_come_and_go_while_clients_are_there(make: Make, name: str) -> None:
    net = make(authenticate=users)
    client = let_in(net, "a", "ana")
    change(net, **{name: 10})
    client.send(*messages(1, 300))
    came = acknowledged(client)
    assert came <= 40
    change(net, **{name: 0})
    assert came + acknowledged(client) == 300
    assert not client.connection.paused
    net.advance(5)
    assert net.core.holdings.allowances == {}


# ---- what one is sent ----


def flood(net: Net, qos: int, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        message = ApplicationMessage(b"t", b"%d" % number, qos, False)
        assert net.core.publish(message, None, net.now) == ""
    net.turn()


def test_qos_0_over_the_rate_is_dropped_and_counted(make: Make) -> None:
    net = make(quiet(max_output_message_rate=10))
    slow = net.connect("slow")
    slow.subscribe(("t", 0))
    flood(net, 0, 50)
    assert slow.payloads() == [b"%d" % number for number in range(10)]
    assert net.core.statistics.dropped == 40
    net.advance(1)
    flood(net, 0, 50, 50)
    assert slow.payloads() == [b"%d" % number for number in range(50, 60)]
    assert not slow.connection.is_behind


@pytest.mark.parametrize(
    ("rate", "most"), [({"max_output_message_rate": 10}, 10), ({"max_output_byte_rate": 100}, 12)]
)
@pytest.mark.parametrize("qos", [1, 2])
def test_qos_1_and_2_over_the_rate_wait_in_their_order(
    make: Make, rate: dict[str, int], most: int, qos: int
) -> None:
    net = make(quiet(**rate))
    slow = net.connect("slow")
    slow.subscribe(("t", 2))
    flood(net, qos, 60)
    got = slow.payloads()
    assert most - 2 <= len(got) <= most + 2
    for tenth in range(1, 31):
        net.advance(0.1)
        got += slow.payloads()
        assert len(got) <= most + 2 + tenth * most / 10
    net.advance(10)
    got += slow.payloads()
    assert got == [b"%d" % number for number in range(60)]
    assert net.core.statistics.dropped == 0


def test_others_have_all_at_once(make: Make) -> None:
    net = make(quiet(max_output_message_rate=10))
    slow = net.connect("slow")
    slow.subscribe(("t", 1))
    flood(net, 1, 100)
    change(net, max_output_message_rate=0)
    assert len(slow.messages()) == 100
    other = net.connect("other")
    other.subscribe(("t", 1))
    change(net, max_output_message_rate=1000)
    flood(net, 1, 100)
    assert len(other.messages()) == 100


def test_a_publisher_is_not_slowed_by_what_a_reader_may_be_sent(make: Make) -> None:
    net = make(quiet(max_output_message_rate=1))
    net.connect("slow").subscribe(("t", 1))
    client = net.connect("c")
    client.send(*messages(1, 100))
    assert acknowledged(client) == 100


def test_retained_messages_come_at_the_rate_as_well(make: Make) -> None:
    net = make(quiet(max_output_message_rate=10))
    for number in range(50):
        net.core.publish(ApplicationMessage(b"r/%d" % number, b"x", number % 2, True), None, net.now)
    slow = net.connect("slow")
    slow.subscribe(("r/#", 1))
    got = len(slow.messages())
    assert got == 10
    for _ in range(40):
        net.advance(0.1)
        got += len(slow.messages())
        assert got <= 10 + 41
    net.advance(2)
    assert got + len(slow.messages()) == 50


def test_a_shared_subscription_goes_to_members_that_may_be_sent_it(make: Make) -> None:
    net = make(quiet(max_output_message_rate=10))
    members = [net.connect(name) for name in "ab"]
    for member in members:
        member.subscribe(("$share/g/t", 0))
    flood(net, 0, 30)
    assert [len(member.messages()) for member in members] == [10, 10]
    assert net.core.statistics.dropped == 10


def test_a_client_that_goes_while_it_is_held_back(make: Make) -> None:
    net = make(quiet(max_output_message_rate=1))
    slow = net.connect("slow", expiry=100)
    slow.subscribe(("t", 1))
    flood(net, 1, 5)
    got = slow.payloads()
    slow.drop()
    net.advance(50)
    again = net.connect("slow", clean=False, expiry=100)
    for _ in range(10):
        got += again.payloads()
        net.advance(1)
    assert set(got) == {b"%d" % number for number in range(5)}


def test_the_fast_lane_is_left_only_where_there_is_a_rate() -> None:
    net = Net()
    client = net.connect("c")
    session = client.connection.server_session
    assert session is not None
    lanes = [session.lane]
    change(net, max_output_byte_rate=1000)
    lanes.append(session.lane)
    change(net, max_output_byte_rate=0)
    assert [*lanes, session.lane] == [5, 0, 5]
    assert client.connection.outflow is None


# ---- what is told ----


class Slow(Hook):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def on_slow(self, connection: BrokerConnection, why: str) -> None:
        self.told.append((connection.client_id, why))


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        ({"max_message_rate": 2}, "it sends more than 2 messages a second (max_message_rate)"),
        ({"max_byte_rate": 50}, "it sends more than 50 bytes a second (max_byte_rate)"),
        (
            {"max_user_message_rate": 2},
            "user ana sends more than 2 messages a second (max_user_message_rate)",
        ),
        ({"max_user_byte_rate": 50}, "user ana sends more than 50 bytes a second (max_user_byte_rate)"),
        (
            {"max_output_message_rate": 2},
            "more than 2 messages a second would go to it (max_output_message_rate)",
        ),
        ({"max_output_byte_rate": 50}, "more than 50 bytes a second would go to it (max_output_byte_rate)"),
    ],
)
def test_it_is_told_once_a_minute_which_rate_it_was(make: Make, rate: dict[str, int], why: str) -> None:
    net = make(quiet(**rate), authenticate=users)
    hook = Slow()
    net.core.add_hook(hook)
    client = let_in(net, "c", "ana")
    client.subscribe(("t", 0))
    for number in range(int(TOLD_SECONDS) * 3):
        client.send(*messages(number * 5 + 1, 5))
        client.take()
        net.advance(0.5)
    assert hook.told == [("c", why)] * 2
    assert net.core.statistics.slowed == 2


def test_a_listener_is_named(make: Make) -> None:
    net = make()
    net.entrance = Entrance("front", max_byte_rate=50)
    hook = Slow()
    net.core.add_hook(hook)
    net.connect("c").send(*messages(1, 5))
    assert hook.told == [
        ("c", "listener front sends more than 50 bytes a second (max_byte_rate of the listener)")
    ]


# ---- how many ----


@pytest.mark.parametrize("version", [5, 4, 3])
def test_a_user_may_have_so_many_clients(make: Make, version: int) -> None:
    net = make(quiet(max_user_connections=2), authenticate=users)
    first = let_in(net, "a", "ana")
    let_in(net, "b", "ana")
    refused = come(net, "c", "ana", version)
    if version == 5:
        connack = refused.pop(p.Connack)
        assert connack.reason_code == TOO_MANY
        assert connack.properties is not None
        assert connack.properties.reason_string == (
            "user ana has 2 connections, and may have no more (max_user_connections)"
        )
    assert not refused.inbox  # no Return Code says it [3.1.1: MQTT-3.2.2-6]
    assert refused.closed
    let_in(net, "c", "ben")
    let_in(net, "b", "ana")  # in the place of itself
    assert come(net, "d", "ana").pop(p.Connack).reason_code == TOO_MANY
    first.disconnect()
    let_in(net, "d", "ana")
    change(net, max_user_connections=3)
    let_in(net, "e", "ana")
    change(net, max_user_connections=0)
    for number in range(5):
        let_in(net, f"f{number}", "ana")
    assert net.core.holdings.clients == {"user ana": 8, "user ben": 1}


def test_so_many_come_in_at_a_listener_in_a_second() -> None:
    net = Net()
    front = Entrance("front", max_connect_rate=3)
    for place in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        assert net.core.why_crowded(front, net.now, place) == ""
    why = net.core.why_crowded(front, net.now, "192.0.2.4")
    assert why == "more than 3 connections a second come in here (max_connect_rate)"
    assert net.core.why_crowded(Entrance("back"), net.now, "192.0.2.4") == ""
    net.advance(0.34)
    assert net.core.why_crowded(front, net.now, "192.0.2.4") == ""
    assert net.core.why_crowded(front, net.now, "192.0.2.4")
    front.become(Entrance("front"))
    assert net.core.why_crowded(front, net.now, "192.0.2.4") == ""


# ---- other rates, for many ----


def test_other_rates_hold_for_some_clients_at_a_time() -> None:
    net = Net()
    many = CHANGED_AT_ONCE + 10
    clients = [net.connect(f"c{number}") for number in range(many)]

    def count() -> int:
        return sum(client.connection.outflow is not None for client in clients)

    change(net, max_output_message_rate=5)
    assert count() == CHANGED_AT_ONCE
    change(net, max_output_message_rate=6)  # before all have that
    assert count() == CHANGED_AT_ONCE
    net.advance(LEAST_PAUSE)
    assert count() == many
    rates = {flow.messages.rate for client in clients if (flow := client.connection.outflow) is not None}
    assert rates == {6.0}
    late: list[Any] = [net.connect("late").connection.outflow]
    change(net, max_output_message_rate=0)
    clients.pop(0).drop()
    net.advance(LEAST_PAUSE)
    assert late[0] is not None
    assert count() == 0
