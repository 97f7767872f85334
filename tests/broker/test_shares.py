"""One client, and all clients of one address or user, do not fill what all share."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer, Authenticate
from curier.broker.restoring import Restorer
from curier.broker.shares import source_of
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from curier.session.records import MessageSaved, Retained, SessionSaved
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet
from tests.codec.cases import properties

TOO_MANY = 0x97


def come(net: Net, client_id: str, address: str, expiry: int = 0) -> Client:
    """A client from this address, which has sent CONNECT."""
    client = net.open()
    client.connection.address = address
    client.send(connect(client_id, expiry))
    return client


def connect(client_id: str, expiry: int = 0, user: str | None = None) -> p.Connect:
    made = None
    if expiry:
        made = properties(session_expiry_interval=expiry)
    return p.Connect(5, client_id, True, 0, user, None, None, made)


def retain(client: Client, topic: str, size: int = 1) -> int:
    return client.publish(topic, b"x" * size, 1, True)


def answer(client: Client) -> tuple[int, str]:
    """Reason Code and Reason String of the CONNACK."""
    connack = client.pop(p.Connack)
    reason = connack.properties.reason_string if connack.properties is not None else None
    return connack.reason_code, reason or ""


# ---- whose ----


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1:1234", "address 192.0.2.1"),
        ("[2001:db8:1:2:3::4]:1234", "address 2001:db8:1:2::/64"),
    ],
)
def test_a_source_is_a_place(address: str, source: str) -> None:
    net = Net()
    client = come(net, "c", address)
    client.connection.identity = "claimed"  # and nobody has checked it
    assert source_of(net.core, client.connection) == source


def test_a_source_is_a_user_where_somebody_checks() -> None:
    def check(question: Authenticate) -> Answer:
        return Answer(0, identity=question.connect.username)

    net = Net(authenticate=check, options=quiet(max_sessions=4))
    for number in range(3):
        client = net.open()
        client.connection.address = f"192.0.2.{number}:1"
        client.send(connect(f"c{number}", 60, "one"))
        code, why = answer(client)
        assert code == (TOO_MANY if number == 2 else 0)
    words = "user one has 2 sessions that outlive their connections, and may have no more"
    assert why == f"{words} (max_sessions, source_share)"
    client = net.open()
    client.send(connect("d", 60, "other"))
    assert answer(client)[0] == 0


# ---- sessions ----


def test_an_address_has_its_share_of_the_sessions_that_stay(make: Make) -> None:
    net = make(options=quiet(max_sessions=6, source_share=3))
    first = [come(net, f"a{number}", "192.0.2.1:1", 60) for number in range(3)]
    assert [answer(client)[0] for client in first] == [0, 0, TOO_MANY]
    assert answer(come(net, "a9", "192.0.2.1:2"))[0] == 0  # needs no place
    assert answer(come(net, "a0", "192.0.2.1:3", 60))[0] == 0  # has one
    assert answer(come(net, "b", "192.0.2.2:1", 60))[0] == 0
    assert answer(come(net, "a1", "192.0.2.2:1", 60))[0] == 0  # has moved, and left a place
    assert answer(come(net, "a3", "192.0.2.1:1", 60))[0] == 0
    for connection in list(net.core.connections.values()):
        net.core.detach(connection, net.now)
    net.advance(61)
    assert net.core.holdings.sessions == {}
    assert net.core.statistics.stored_sessions == 0


# ---- retained messages ----


def test_a_client_has_its_share_of_the_retained_messages(make: Make) -> None:
    net = make(options=quiet(max_retained_messages=16, client_share=4))
    one, other = net.connect("one"), net.connect("other")
    assert [retain(one, f"t/{number}") for number in range(4)] == [0x10] * 4
    one.send(p.Publish("t/4", b"x", 1, False, True, 9))
    puback = one.pop(p.Puback)
    assert puback.reason_code == TOO_MANY
    assert puback.properties is not None
    words = "client one has 4 retained messages, and may have no more"
    assert puback.properties.reason_string == f"{words} (max_retained_messages, client_share)"
    assert retain(one, "t/0") == 0x10  # in place of its own
    assert retain(other, "t/1") == 0x10  # is the other's now
    assert retain(one, "t/4") == 0x10
    assert retain(one, "t/1") == TOO_MANY
    assert retain(one, "t/2", 0) == 0x10  # removed
    assert retain(one, "t/1") == 0x10
    assert len(net.core.retained) == 4
    one.drop()
    again = net.connect("one")
    assert retain(again, "t/5") == TOO_MANY


def test_bytes_have_shares_too(make: Make) -> None:
    net = make(options=quiet(max_retained_bytes=800, client_share=8))
    one = net.connect("one")
    assert [retain(one, "a", 59), retain(one, "b", 38), retain(one, "c", 1)] == [0x10, 0x10, TOO_MANY]
    assert [retain(one, "a", 60), retain(one, "a", 1), retain(one, "c", 56)] == [0x10, 0x10, 0x10]


def test_many_clients_of_one_address_have_its_share(make: Make) -> None:
    net = make(options=quiet(max_retained_messages=8, client_share=1))
    clients = [come(net, f"c{number}", "192.0.2.1:1") for number in range(5)]
    for client in clients:
        client.take()
    assert [retain(client, f"t/{client.connection.client_id}") for client in clients] == [0x10] * 4 + [
        TOO_MANY
    ]
    other = come(net, "other", "192.0.2.2:1")
    other.take()
    assert retain(other, "u") == 0x10
    for client in clients[:4]:
        retain(client, f"t/{client.connection.client_id}", 0)
    retain(other, "u", 0)
    assert net.core.holdings.retained == {}


def test_one_address_retains_for_so_many_new_topics_a_second(make: Make) -> None:
    net = make(quiet(max_retain_rate=3))
    one, another = let_in(net, "a", "192.0.2.1:7"), let_in(net, "b", "192.0.2.1:8")
    assert [retain(one, "1"), retain(another, "2"), retain(one, "3")] == [0x10] * 3
    assert [retain(one, "4"), retain(another, "4")] == [TOO_MANY] * 2
    assert retain(another, "1") == 0x10  # in the place of what is there
    assert retain(let_in(net, "c", "192.0.2.2:7"), "5") == 0x10
    net.advance(0.34)
    assert [retain(one, "4"), retain(one, "6")] == [0x10, TOO_MANY]
    net.advance(10)
    assert [retain(one, f"later {number}") for number in range(4)] == [0x10] * 3 + [TOO_MANY]


def test_what_was_there_at_the_start_belongs_to_nobody_until_it_is_set_again() -> None:
    net = Net("journal", quiet(max_retained_messages=8, client_share=8, source_share=1, max_sessions=2))
    restorer = Restorer(net.core)
    restorer.replay([SessionSaved(1, "away", 5, FOREVER, 0.0)])
    for number in range(2, 5):
        message = ApplicationMessage(b"t/%d" % number, b"x", 1, True)
        restorer.replay([MessageSaved(number, message), Retained(message.topic, number)])
    restorer.finish(net.now)
    assert net.core.statistics.stored_sessions == 1
    client = net.connect("c", expiry=FOREVER)
    assert retain(client, "t/2") == 0x10
    assert retain(client, "t/3") == TOO_MANY
    assert retain(client, "t/3", 0) == 0x10
    assert answer(net.send_connect("more", session_expiry_interval=1))[0] == TOO_MANY


# ---- subscriptions ----


def let_in(net: Net, client_id: str, address: str, expiry: int = 0, clean: bool = True) -> Client:
    client = net.open()
    client.connection.address = address
    made = properties(session_expiry_interval=expiry)
    client.send(p.Connect(5, client_id, clean, 0, None, None, None, made))
    assert answer(client) == (0, "")
    return client


def suback(client: Client, *filters: str) -> tuple[list[int], str]:
    client.send(p.Subscribe(9, [(one, 0) for one in filters]))
    made = client.expect(p.Suback)
    return made.reason_codes, made.properties.reason_string or "" if made.properties is not None else ""


def test_all_sessions_together_have_so_many_subscriptions(make: Make) -> None:
    net = make(quiet(max_subscriptions_total=3, source_share=1))
    one, other = net.connect("one"), net.connect("other")
    assert suback(one, "a", "$share/g/b")[0] == [0, 0]
    codes, why = suback(other, "a", "b")
    assert codes == [0, 0x97]
    assert why == "all 3 subscriptions that there may be are in use (max_subscriptions_total)"
    assert suback(other, "a")[0] == [0]  # it has that already
    net.drop(one.connection)
    assert suback(other, "b", "$share/g/c", "d")[0] == [0, 0, 0x97]


def test_one_source_has_half_of_the_subscriptions(make: Make) -> None:
    net = make(quiet(max_subscriptions_total=8))
    home = [let_in(net, name, "192.0.2.1:7") for name in "abc"]
    assert suback(home[0], "1", "2")[0] == [0, 0]
    assert suback(home[1], "1", "$share/g/2")[0] == [0, 0]
    codes, why = suback(home[2], "1")
    words = "address 192.0.2.1 has 4 subscriptions, and may have no more"
    assert (codes, why) == ([0x97], f"{words} (max_subscriptions_total, source_share)")
    assert suback(let_in(net, "d", "192.0.2.2:7"), "1", "2", "3", "4")[0] == [0] * 4
    home[0].send(p.Unsubscribe(8, ["2"]))
    home[0].take()
    assert suback(home[2], "1")[0] == [0]
    for client in home:
        net.drop(client.connection)
    assert net.core.holdings.subscriptions == {"address 192.0.2.2": 4}


def test_subscriptions_go_with_their_client_to_another_source(make: Make) -> None:
    net = make(quiet(max_subscriptions_total=8))
    client = let_in(net, "a", "192.0.2.1:7", 100)
    suback(client, "1", "2")
    net.drop(client.connection)
    assert net.core.holdings.subscriptions == {"address 192.0.2.1": 2}
    let_in(net, "a", "192.0.2.2:7", 100, False)
    assert net.core.holdings.subscriptions == {"address 192.0.2.2": 2}
