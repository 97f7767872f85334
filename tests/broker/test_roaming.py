"""Two nodes of a cluster, as cores: sessions that move, and messages that go by the log of both.

The log is a list here, which both read whenever a test says so (``Cluster.read``), so that what is on the way
can be looked at. How nodes agree on whose a session is, is for ``tests/cluster``.
"""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer
from curier.broker.model import LogMessage
from curier.codec import packets as p
from curier.codec.constants import SERVER_UNAVAILABLE, SESSION_TAKEN_OVER
from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import Logged, SessionSaved, Unsubscribed, decode, encode
from tests.broker.harness import ALONE, FOREVER, Net, quiet
from tests.codec.cases import properties


class Cluster:
    """Two nodes; messages wait in ``log`` from ``at`` on, by node."""

    def __init__(self) -> None:
        self.a, self.b = Net(ALONE), Net(ALONE)
        self.log: list[LogMessage] = []
        self.at = {self.a: 0, self.b: 0}
        self.a.log = self.b.log = self.log.append

    def read(self, *nets: Net) -> None:
        """These nodes, or all, read on."""
        for net in nets or (self.a, self.b):
            while self.at[net] < len(self.log):
                net.read_log(copied(self.log[self.at[net]]))
                self.at[net] += 1
                net.turn()

    def move(self, client_id: str, source: Net, target: Net, freed: tuple[int, ...] = ()) -> None:
        """Take a session from one node, where its client goes, to another one that has read as much."""
        source.core.yield_session(client_id, source.now)
        source.turn()
        state = source.core.export(client_id)
        source.core.drop_session(client_id, source.now)
        source.turn()
        if state is not None:
            missed = [copied(one) for one in self.log[self.at[source] : self.at[target]]]
            target.core.install(decode(encode(state)), [*freed], missed, target.now)
            target.turn()


def copied(one: LogMessage) -> LogMessage:
    """The same as another node would read it."""
    of = one.message
    message = ApplicationMessage(of.topic, of.payload, of.qos, of.retain, of.properties, of.expires_at)
    message.written_at = of.written_at
    return LogMessage(one.client_id, message)


@pytest.fixture
def both() -> Cluster:
    return Cluster()


def test_a_message_is_acknowledged_when_it_is_in_the_log_and_given_when_it_is_read(both: Cluster) -> None:
    here = both.a.connect("here")
    there = both.b.connect("there")
    here.subscribe("t")
    there.subscribe("t")
    both.a.commits = False
    publisher = both.b.connect("publisher")
    both.b.commits = False
    publisher.send(p.Publish("t", b"x", 1, False, False, 5, None))
    assert publisher.take() == []
    assert both.log == []
    both.b.commit()
    assert publisher.expect(p.Puback).packet_id == 5
    assert here.take() == there.take() == []
    both.a.commits = both.b.commits = True
    both.read()
    assert here.message().payload == there.message().payload == b"x"


def test_qos_0_is_given_here_and_sent_to_others(both: Cluster) -> None:
    here = both.a.connect("here")
    here.subscribe("t")
    there = both.b.connect("there")
    there.subscribe("t")
    here.publish("t", b"x")
    assert here.message().payload == b"x"
    assert both.log == []
    sendings = both.a.core.take_sendings()
    assert both.a.core.take_sendings() == []
    both.b.core.read_direct(sendings, both.b.now)
    both.b.turn()
    assert there.message().payload == b"x"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_retained_is_so_on_all_nodes(both: Cluster, qos: int) -> None:
    publisher = both.a.connect("publisher")
    publisher.publish("t", b"1", qos, retain=True)
    publisher.publish("t", b"2", qos, retain=True)
    publisher.publish("gone", b"x", qos, retain=True)
    publisher.publish("gone", b"", qos, retain=True)
    both.read()
    for net in (both.a, both.b):
        client = net.connect("subscriber")
        client.subscribe("#")
        message = client.message()
        assert (message.topic, message.payload, message.retain) == ("t", b"2", True)
        assert [type(record).__name__ for record in net.records if "Retained" in type(record).__name__] == []


def test_a_session_moves_with_all_it_has(both: Cluster) -> None:
    client = both.a.connect("c", expiry=FOREVER)
    assert client.subscribe(("one", 1), ("two/+", 2), ("own", 1 | 4 | 8)) == [1, 2, 1]
    client.subscribe(("known", 1), subscription_identifiers=[1000])
    client.send(p.Publish("in", b"", 2, False, False, 77, None))
    client.expect(p.Pubrec)
    publisher = both.a.connect("publisher")
    for topic, qos in (("one", 1), ("two/x", 2), ("two/y", 2)):
        publisher.publish(topic, topic.encode(), qos)
    both.read()
    one, x, y = client.messages()
    client.send(p.Pubrec(x.packet_id))
    client.expect(p.Pubrel)
    client.drop()
    publisher.publish("one", b"waits", 1)
    both.read()
    both.move("c", both.a, both.b)
    assert both.a.core.sessions.keys() == {"publisher"}
    again = both.b.connect("c", clean=False, expiry=FOREVER)
    assert again.connack is not None
    assert again.connack.session_present
    came = again.take()
    assert came[0] == p.Pubrel(x.packet_id)  # [MQTT-4.4.0-1]
    first, second, waits = came[1:]
    assert isinstance(first, p.Publish)
    assert isinstance(second, p.Publish)
    assert isinstance(waits, p.Publish)
    assert (first.packet_id, first.payload, first.dup) == (one.packet_id, b"one", True)
    assert (second.packet_id, second.payload, second.dup) == (y.packet_id, b"two/y", True)
    assert (waits.payload, waits.dup) == (b"waits", False)
    again.send(p.Publish("in", b"", 2, True, False, 77, None))
    again.expect(p.Pubrec)
    assert [one.message.topic for one in both.log].count(b"in") == 1  # [MQTT-4.3.3-10]
    again.publish("own", b"", 1)
    again.publish("known", b"", 1)
    both.read()
    (known,) = again.messages()
    assert known.properties is not None
    assert known.properties.subscription_identifiers == [1000]
    publisher.publish("own", b"", 1, retain=True)
    both.read()
    assert again.message().retain  # Retain As Published


def test_its_numbers_are_those_of_the_journal_it_comes_to(both: Cluster) -> None:
    for net in (both.a, both.b):
        for name in ("x", "y"):
            net.connect(f"{name}{net is both.a}", expiry=FOREVER).subscribe("t")
    publisher = both.a.connect("publisher")
    for _ in range(3):
        publisher.publish("t", b"", 1)
    both.read()
    for number in range(6):
        source, target = (both.a, both.b) if number % 2 == 0 else (both.b, both.a)
        both.move("xTrue", source, target)
    assert len({session.number for session in both.a.core.sessions.values()}) == len(both.a.core.sessions)
    again = both.a.connect("xTrue", clean=False, expiry=FOREVER)
    assert len(again.messages()) == 3


def test_what_came_into_the_log_meanwhile_is_given_to_the_session_that_comes(both: Cluster) -> None:
    both.a.connect("c", expiry=FOREVER).subscribe(("t", 1), ("own", 1 | 4))
    other = both.b.connect("other")
    other.subscribe("t")
    other.publish("t", b"1", 1)
    both.log.append(LogMessage("c", ApplicationMessage(b"own", b"", 1, False)))
    both.read(both.b)
    assert other.message().payload == b"1"
    both.move("c", both.a, both.b)
    again = both.b.connect("c", clean=False, expiry=FOREVER)
    assert again.message().payload == b"1"
    other.publish("t", b"2", 1)
    both.read(both.b)
    assert again.message().payload == b"2"
    assert other.message().payload == b"2"  # and 1 only once


def test_the_client_is_told_that_its_session_is_elsewhere(both: Cluster) -> None:
    client = both.a.connect("c", expiry=FOREVER)
    both.move("c", both.a, both.b)
    assert client.goodbye().reason_code == SESSION_TAKEN_OVER
    assert both.b.core.sessions["c"].ends_at == 0.0


def test_a_session_that_was_lost_leaves_no_trace(both: Cluster) -> None:
    will = p.Will("will", b"", 1, False, None)
    client = both.a.connect("c", expiry=60, will=will)
    client.subscribe("t")
    publisher = both.a.connect("publisher")
    publisher.publish("t", b"x", 1)
    both.read()
    before = len(both.log)
    records = len(both.a.records)
    both.a.core.drop_session("c", both.a.now)
    both.a.turn()
    assert client.goodbye().reason_code == SESSION_TAKEN_OVER
    both.a.advance(1000)
    assert len(both.log) == before
    assert not any(isinstance(one, (SessionSaved, Unsubscribed, Logged)) for one in both.a.records[records:])
    assert both.a.core.export("c") is None
    assert both.a.core.statistics.queued_bytes == 0
    publisher.publish("t", b"x", 1)
    both.read()


def test_the_will_of_a_lost_connection_is_published_by_who_takes_the_session(both: Cluster) -> None:
    """As if its connection had ended there and then, which nobody has seen."""
    will = p.Will("will", b"at once", 1, False, None)
    both.a.connect("c", expiry=60, will=will)
    state = both.a.core.export("c")
    assert state is not None
    both.b.core.install(decode(encode(state)), [], [], both.b.now)
    both.b.turn()
    assert [one.message.payload for one in both.log] == [b"at once"]
    assert both.b.core.sessions["c"].will is None


def test_a_will_with_a_delay_is_not_published_where_its_client_comes_in_time(both: Cluster) -> None:
    will = p.Will("will", b"", 1, False, properties(will_delay_interval=10))
    both.a.connect("c", expiry=60, will=will)
    both.move("c", both.a, both.b)
    both.b.advance(5)
    both.b.connect("c", clean=False, expiry=60)
    both.b.advance(100)
    assert both.log == []
    both.a.connect("d", expiry=60, will=will)
    both.move("d", both.a, both.b)
    both.b.advance(11)
    assert [one.message.topic for one in both.log] == [b"will"]


@pytest.mark.parametrize("expiry", [0, 30])
def test_a_session_whose_time_is_over_ends_where_it_comes(both: Cluster, expiry: int) -> None:
    will = p.Will("will", b"", 1, False, None)
    client = both.a.connect("c", expiry=expiry, will=will)
    client.subscribe("t")
    if expiry:
        client.drop()
        assert [one.message.topic for one in both.log] == [b"will"]
        both.log.clear()
    state = both.a.core.export("c")
    assert state is not None
    both.b.advance(31)
    both.b.core.install(decode(encode(state)), [], [], both.b.now)
    both.b.turn()
    assert both.b.core.sessions == {}
    assert [one.message.topic for one in both.log] == ([] if expiry else [b"will"])
    connack = both.b.send_connect("c", clean=False).expect(p.Connack)
    assert not connack.session_present


def test_an_identifier_whose_message_never_came_into_the_log_is_free(both: Cluster) -> None:
    client = both.a.connect("c", expiry=FOREVER)
    client.send(p.Publish("t", b"x", 2, False, False, 7, None))
    client.expect(p.Pubrec)
    both.log.clear()  # its node died between the two
    both.move("c", both.a, both.b, freed=(7,))
    again = both.b.connect("c", clean=False, expiry=FOREVER)
    again.send(p.Publish("t", b"x", 2, True, False, 7, None))
    again.expect(p.Pubrec)
    assert len(both.log) == 1


def test_a_connect_waits_for_its_claim_and_may_be_refused() -> None:
    net = Net(ALONE)
    net.claims = False
    client = net.send_connect("c")
    assert client.take() == []
    net.answer(Answer(SERVER_UNAVAILABLE, "the cluster does not answer"))
    connack = client.expect(p.Connack)
    assert connack.reason_code == SERVER_UNAVAILABLE
    assert connack.properties is not None
    assert connack.properties.reason_string == "the cluster does not answer"
    assert client.closed
    gone = net.send_connect("d")
    gone.drop()
    net.answer(Answer(0))
    assert net.core.sessions == {}


def test_a_subscribe_waits_until_its_node_has_read_the_log() -> None:
    net = Net(ALONE)
    client = net.connect("c")
    net.claims = False
    subscribe = p.Subscribe(1, [("a", 1)], None)
    large = p.Subscribe(2, [(f"{number:0200}", 1) for number in range(100)], None)
    client.send(subscribe, large, p.Publish("t", b"x", 1, False, False, 3, None))
    assert client.take() == []
    net.answer(Answer(0))
    assert client.expect(p.Suback).packet_id == 1
    net.answer(Answer(0))
    suback, puback = client.take()
    assert isinstance(suback, p.Suback)
    assert suback.reason_codes == [1] * 100
    assert isinstance(puback, p.Puback)
    assert net.questions == []


def test_a_session_that_is_another_users_is_not_claimed() -> None:
    net = Net(ALONE, authenticate=lambda question: Answer(0, identity=question.connect.username))
    client = net.open()
    client.send(p.Connect(5, "c", True, 0, "one", None, None, None))
    client.expect(p.Connack)
    assert net.core.why_not_whose(client.connection, "one") == ""
    assert net.core.why_not_whose(client.connection, "") == ""
    assert "another user's" in net.core.why_not_whose(client.connection, "two")


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_retained_has_its_limits_where_it_is_published(qos: int) -> None:
    net = Net(ALONE, quiet(max_retained_messages=16))
    client = net.connect("c")
    for topic in ("a", "b", "c", "a"):  # one client has an eighth of them
        client.publish(topic, b"x", qos, retain=True)
    assert {message.topic for message in net.core.retained.walk(b"#").next(9)} == {b"a", b"b"}


def test_an_expired_message_is_given_to_nobody(both: Cluster) -> None:
    client = both.a.connect("c", expiry=FOREVER)
    client.subscribe("t")
    client.drop()
    publisher = both.b.connect("publisher")
    publisher.publish("t", b"x", 1, message_expiry_interval=10)
    both.a.advance(11)
    both.read(both.a)
    assert both.a.connect("c", clean=False).take() == []


def test_what_is_no_session_is_refused() -> None:
    net = Net(ALONE)
    for state in (b"", b"\xff", encode([Unsubscribed(1, b"t")])):
        with pytest.raises(StoreError):
            net.core.install(decode(state), [], [], net.now)
    assert net.core.sessions == {}
