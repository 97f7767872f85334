"""Enhanced authentication and re-authentication (5.0: 3.15, 4.12), through the effects that ask the world."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer, Authenticate
from curier.broker.hooks import Hook
from curier.broker.model import Known
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net
from tests.codec.cases import properties

statement = pytest.mark.statement

METHODS = frozenset({"SCRAM", "OTHER"})


def auth(reason_code: int = 0x18, data: bytes | None = None, method: str = "SCRAM") -> p.Auth:
    return p.Auth(reason_code, properties(authentication_method=method, authentication_data=data))


class Steps:
    """Answers in turn, and remembers what was asked."""

    def __init__(self, *answers: Answer | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[bool, bytes | None, object]] = []

    def __call__(self, question: Authenticate) -> Answer | None:
        self.asked.append((question.is_step, question.data, question.state))
        return self.answers.pop(0)


def scram(net: Net, **values: Any) -> Client:
    return net.send_connect("c", authentication_method="SCRAM", **values)


def connected(make: Make, *answers: Answer | None) -> tuple[Net, Client, Steps]:
    """A client that was let in at once; the answers are for what it asks later."""
    steps = Steps(Answer(0, identity="ana"), *answers)
    net = make(authenticate=steps, authentication_methods=METHODS)
    client = scram(net)
    assert client.expect(p.Connack).reason_code == 0
    return net, client, steps


# ---- before CONNACK ----


@statement(
    "5.0/MQTT-4.12.0-2", "5.0/MQTT-4.12.0-3", "5.0/MQTT-4.12.0-5", "5.0/MQTT-3.2.0-1", "5.0/MQTT-3.15.2-1"
)
def test_an_exchange_goes_on_until_connack(make: Make) -> None:
    steps = Steps(
        Answer(0x18, data=b"server-first", state="one"),
        Answer(0x18, state="two"),
        Answer(0, identity="ana", data=b"server-final"),
    )
    net = make(authenticate=steps, authentication_methods=METHODS)
    client = scram(net, authentication_data=b"client-first")
    assert client.expect(p.Auth) == auth(0x18, b"server-first")
    client.send(auth(0x18, b"client-final"))
    assert client.expect(p.Auth) == auth(0x18)
    client.send(auth(0x18))
    connack = client.expect(p.Connack)
    assert connack.reason_code == 0
    assert connack.properties is not None
    assert connack.properties.authentication_method == "SCRAM"
    assert connack.properties.authentication_data == b"server-final"
    assert steps.asked == [
        (False, b"client-first", None),
        (True, b"client-final", "one"),
        (True, None, "two"),
    ]
    assert client.connection.identity == "ana"
    client.publish("t", b"x", 1)


@statement("5.0/MQTT-4.12.0-5")
def test_connack_names_the_method_though_no_exchange_was_needed(make: Make) -> None:
    _, client, _ = connected(make)
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.authentication_method == "SCRAM"


@statement("5.0/MQTT-4.12.0-1", "5.0/MQTT-4.13.2-1")
def test_a_method_that_is_not_supported_is_refused_unasked(make: Make) -> None:
    steps = Steps()
    net = make(authenticate=steps, authentication_methods=METHODS)
    client = net.send_connect("c", authentication_method="KERBEROS")
    assert client.expect(p.Connack).reason_code == 0x8C
    assert client.closed
    assert steps.asked == []


@statement("5.0/MQTT-4.12.0-1")
def test_no_method_is_supported_where_there_is_none(net: Net) -> None:
    client = scram(net)
    assert client.expect(p.Connack).reason_code == 0x8C
    assert client.closed


@statement("5.0/MQTT-4.12.0-4", "5.0/MQTT-3.1.4-6", "5.0/MQTT-3.2.2-7")
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_authentication_may_be_rejected_at_any_point(make: Make, rounds: int) -> None:
    steps = Steps(*[Answer(0x18)] * rounds, Answer(0x87, "no"))
    net = make(authenticate=steps, authentication_methods=METHODS)
    client = scram(net)
    for _ in range(rounds):
        client.expect(p.Auth)
        client.send(auth())
    assert client.expect(p.Connack) == p.Connack(False, 0x87, properties(reason_string="no"))
    assert client.closed
    client.send(auth())
    assert client.take() == []


@statement("5.0/MQTT-3.1.2-30", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    "packet", [p.Publish("t", b""), p.Subscribe(1, [("t", 0)]), p.Pingreq(), p.Connect(5, "c"), p.Puback(1)],
    ids=lambda packet: type(packet).__name__,
)  # fmt: skip
def test_an_exchange_admits_only_auth_and_disconnect(make: Make, packet: p.Packet) -> None:
    net = make(authenticate=Steps(Answer(0x18)), authentication_methods=METHODS)
    client = scram(net)
    client.expect(p.Auth)
    client.send(packet)
    assert client.expect(p.Connack).reason_code == 0x82
    assert client.closed


@statement("5.0/MQTT-3.1.2-30")
def test_a_client_may_give_up_with_disconnect(make: Make) -> None:
    net = make(authenticate=Steps(Answer(0x18)), authentication_methods=METHODS)
    client = scram(net, will=p.Will("t", b""))
    client.expect(p.Auth)
    client.send(p.Disconnect())
    assert client.closed
    assert client.take() == []
    assert net.core.sessions == {}


@statement("5.0/MQTT-4.12.0-5", "5.0/MQTT-4.12.0-3", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    ("packet", "reason_code"),
    [(auth(method="OTHER"), 0x8C), (auth(0x19), 0x82), (auth(0x00), 0x82), (p.Auth(), 0x8C)],
    ids=["another method", "Re-authenticate", "Success", "no method"],
)
def test_auth_that_does_not_continue_the_exchange_is_refused(
    make: Make, packet: p.Auth, reason_code: int
) -> None:
    net = make(authenticate=Steps(Answer(0x18)), authentication_methods=METHODS)
    client = scram(net)
    client.expect(p.Auth)
    client.send(packet)
    assert client.expect(p.Connack).reason_code == reason_code
    assert client.closed


@statement("5.0/MQTT-3.15.1-1", "5.0/MQTT-4.13.1-1")
def test_auth_with_wrong_flags_is_malformed(make: Make) -> None:
    net = make(authenticate=Steps(Answer(0x18)), authentication_methods=METHODS)
    client = scram(net)
    client.expect(p.Auth)
    client.send(bytes.fromhex("f1 00"))
    assert client.expect(p.Connack).reason_code == 0x81
    assert client.closed


@statement("5.0/MQTT-4.12.0-6")
@pytest.mark.parametrize(
    "answer", [Answer(0x18, data=b"?"), Answer(0, data=b"!")], ids=["continue", "accept"]
)
def test_a_client_without_a_method_is_sent_nothing_of_it(make: Make, answer: Answer) -> None:
    net = make(authenticate=Steps(answer), authentication_methods=METHODS)
    client = net.send_connect("c")
    connack = client.expect(p.Connack)
    assert connack.reason_code == (0x80 if answer.reason_code else 0)
    assert client.closed is bool(answer.reason_code)
    made = connack.properties
    assert made is None or (made.authentication_method, made.authentication_data) == (None, None)


@statement("5.0/MQTT-4.12.0-7", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize("reason_code", [0x18, 0x19])
def test_auth_without_a_method_in_connect_is_a_protocol_error(make: Make, reason_code: int) -> None:
    net = make(authenticate=Steps(Answer(0)), authentication_methods=METHODS)
    client = net.connect("c")
    client.send(auth(reason_code))
    assert client.goodbye().reason_code == 0x82


def test_an_exchange_must_end_in_time(make: Make) -> None:
    net = make(authenticate=Steps(Answer(0x18)), authentication_methods=METHODS)
    client = scram(net)
    client.expect(p.Auth)
    net.advance(10)
    assert client.closed
    assert client.take() == []


# ---- re-authentication (4.12.1) ----


@statement("5.0/MQTT-4.12.0-5", "5.0/MQTT-4.12.0-2", "5.0/MQTT-3.15.2-1")
def test_a_client_may_authenticate_again(make: Make) -> None:
    _, client, steps = connected(
        make, Answer(0x18, data=b"server-first", state=7), Answer(0, identity="ana", data=b"server-final")
    )
    for _ in range(2):
        steps.answers += steps.answers[:2]
        client.send(auth(0x19, b"client-first"))
        assert client.expect(p.Auth) == auth(0x18, b"server-first")
        client.send(auth(0x18, b"client-final"))
        assert client.expect(p.Auth) == auth(0x00, b"server-final")
        assert client.connection.identity == "ana"
        assert steps.asked[-2:] == [(True, b"client-first", None), (True, b"client-final", 7)]
    client.publish("t", b"x", 1)


def test_other_packets_go_on_during_re_authentication(make: Make) -> None:
    _, client, _ = connected(make, Answer(0x18), Answer(0, identity="ana"))
    client.subscribe("t")
    client.send(auth(0x19))
    client.expect(p.Auth)
    client.send(p.Pingreq(), p.Publish("t", b"x"))
    assert [type(packet) for packet in client.take()] == [p.Pingresp, p.Publish]
    client.send(auth())
    assert client.expect(p.Auth).reason_code == 0


def test_what_a_client_is_sent_does_not_wait_for_the_answer(make: Make) -> None:
    net, client, steps = connected(make, None)
    client.subscribe("t")
    client.send(auth(0x19), p.Pingreq())
    steps.answers.append(Answer(0))
    net.connect("sender").publish("t", b"x")
    assert client.payloads() == [b"x"]
    net.answer(Answer(0, identity="ana"))
    assert [type(packet) for packet in client.take()] == [p.Auth, p.Pingresp]


@statement("5.0/MQTT-4.12.1-2")
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_re_authentication_that_is_not_finished_ends_the_connection(make: Make, steps: int) -> None:
    """Whether the client says nothing more, or whoever is asked (the last step) does not answer."""
    net, client, _ = connected(make, *[Answer(0x18)] * max(1, steps), None)
    client.send(auth(0x19))
    for _ in range(steps):
        net.advance(3)
        client.send(auth(), p.Pingreq())
    net.advance(10 - 3 * steps - 0.1)
    assert not client.closed
    client.take()
    net.advance(0.2)
    reason = properties(reason_string="the re-authentication was not finished in time")
    assert client.goodbye() == p.Disconnect(0x89 if steps else 0x87, reason)
    assert not net.core.connections


def test_each_re_authentication_has_its_time(make: Make) -> None:
    net, client, steps = connected(make)
    for _ in range(4):
        steps.answers += [Answer(0x18), Answer(0, identity="ana")]
        client.send(auth(0x19))
        net.advance(8)
        client.send(auth())
        assert [packet.reason_code for packet in client.take() if isinstance(packet, p.Auth)] == [0x18, 0]
    assert len(net.core.deadlines) == 0
    net.advance(1000)
    assert not client.closed


def test_an_identity_that_expires_first_ends_the_connection_first(make: Make) -> None:
    began = 1_700_000_000.25
    net = make(authenticate=Steps(_until(began + 5), Answer(0x18)), authentication_methods=METHODS)
    client = scram(net)
    client.expect(p.Connack)
    client.send(auth(0x19))
    client.expect(p.Auth)
    net.advance(6)
    assert client.goodbye() == p.Disconnect(0x87, properties(reason_string="its authentication has expired"))


@statement("5.0/MQTT-4.12.1-2", "5.0/MQTT-4.13.2-1")
@pytest.mark.parametrize(
    ("reason_code", "shown"), [(0x87, 0x87), (0x86, 0x87), (0x8A, 0x87), (0x80, 0x80), (0x8C, 0x8C)]
)
@pytest.mark.parametrize("rounds", [0, 1])
def test_failed_re_authentication_closes(make: Make, rounds: int, reason_code: int, shown: int) -> None:
    _, client, _ = connected(make, *[Answer(0x18)] * rounds, Answer(reason_code, "no more"))
    client.send(auth(0x19))
    for _ in range(rounds):
        client.expect(p.Auth)
        client.send(auth())
    assert client.goodbye() == p.Disconnect(shown, properties(reason_string="no more"))


@statement("5.0/MQTT-4.12.1-1", "5.0/MQTT-4.12.1-2", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    "packet", [auth(0x19, method="OTHER"), auth(0x18), auth(0x00), p.Auth()],
    ids=["another method", "Continue", "Success", "no method"],
)  # fmt: skip
def test_what_does_not_begin_a_re_authentication_is_a_protocol_error(make: Make, packet: p.Auth) -> None:
    _, client, _ = connected(make)
    client.send(packet)
    assert client.goodbye().reason_code in (0x82, 0x8C)


@statement("5.0/MQTT-4.12.1-1", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    "packet", [auth(0x19), auth(0x18, method="OTHER")], ids=["begins again", "another method"]
)
def test_what_does_not_continue_a_re_authentication_is_a_protocol_error(make: Make, packet: p.Auth) -> None:
    _, client, _ = connected(make, Answer(0x18))
    client.send(auth(0x19))
    client.expect(p.Auth)
    client.send(packet)
    assert client.goodbye().reason_code in (0x82, 0x8C)


@statement("5.0/MQTT-4.12.1-2")
def test_re_authentication_that_does_not_fit_closes(make: Make) -> None:
    steps = Steps(Answer(0), Answer(0x18, data=bytes(100)))
    net = make(authenticate=steps, authentication_methods=METHODS)
    client = scram(net, maximum_packet_size=60)
    client.expect(p.Connack)
    client.send(auth(0x19))
    assert client.goodbye().reason_code == 0x95


def test_permissions_are_asked_for_anew_after_re_authentication(make: Make) -> None:
    asked: list[str | None] = []

    def authorize(question: Any) -> Answer:
        asked.append(question.connection.identity)
        return Answer(0)

    steps = Steps(Answer(0, identity="ana"), Answer(0, identity="ana"))
    net = make(authenticate=steps, authentication_methods=METHODS, authorize=authorize)
    client = scram(net)
    client.expect(p.Connack)
    client.publish("t", b"x", 1)
    client.publish("t", b"x", 1)
    client.send(auth(0x19))
    client.expect(p.Auth)
    client.publish("t", b"x", 1)
    assert asked == ["ana", "ana"]


@pytest.mark.parametrize("name", ["bob", None, ""])
def test_a_connection_stays_with_its_user(make: Make, name: str | None) -> None:
    _, client, _ = connected(make, Answer(0, identity=name))
    client.send(auth(0x19))
    why = "a connection stays with the user that it began with"
    assert client.goodbye() == p.Disconnect(0x87, properties(reason_string=why))
    assert client.connection.identity == "ana"


def test_refusals_are_told_to_hooks(make: Make) -> None:
    told: list[int] = []

    class Refusals(Hook):
        def on_refuse(self, connection: object, reason_code: int, why: str) -> None:
            told.append(reason_code)

    net, client, _ = connected(make, Answer(0x86, "no"))
    net.core.add_hook(Refusals())
    client.send(auth(0x19))
    assert told == [0x86]


# ---- what is known of a client, and for how long ----


def _until(when: float, why: str = "", code: int = 0) -> Answer:
    answer = Answer(code, "no" if code else "", identity="ana")
    answer.known = Known(frozenset(["g"]), {"site": "x"}, when)
    answer.why = why
    return answer


def test_what_is_known_of_a_client_reaches_its_connection(make: Make) -> None:
    net = make(authenticate=lambda question: _until(0.0))
    connection = net.connect("c").connection
    assert (connection.identity, connection.known.groups) == ("ana", frozenset(["g"]))
    assert connection.known.claims == {"site": "x"}


def test_a_connection_ends_with_its_authentication_and_its_will_is_published(make: Make) -> None:
    net: Net = make(
        authenticate=lambda question: _until(net.now + 5 if question.connect.client_id == "c" else 0)
    )
    watcher = net.connect("watcher")
    watcher.subscribe("will")
    client = net.connect("c", will=p.Will("will", b"gone", 0, False, None))
    net.advance(4.9)
    assert not client.closed
    assert watcher.payloads() == []
    net.advance(0.2)
    assert client.goodbye() == p.Disconnect(0x87, properties(reason_string="its authentication has expired"))
    assert watcher.payloads() == [b"gone"]


@pytest.mark.parametrize(("renewed", "ends"), [(60.0, 60.0), (0.0, None), (2.0, 2.0)])
def test_re_authentication_moves_the_end(make: Make, renewed: float, ends: float | None) -> None:
    began = 1_700_000_000.25
    answers = [_until(began + 5), _until(began + renewed if renewed else 0.0)]
    net = make(authenticate=Steps(*answers), authentication_methods=METHODS)
    client = scram(net)
    client.expect(p.Connack)
    client.send(auth(0x19))
    client.expect(p.Auth)
    net.advance((ends or 1000.0) - 0.5)
    assert not client.closed
    if ends is not None:
        net.advance(1)
        assert client.goodbye().reason_code == 0x87
        assert len(net.core.deadlines) == 0


def test_who_is_known_no_more_when_the_answer_comes_takes_nothing_over(make: Make) -> None:
    times = [0.0, 1.0, 1_700_000_000.0]
    net: Net = make(authenticate=lambda question: _until(times.pop(0)))
    first = net.connect("c")
    for _ in range(2):
        assert net.send_connect("c").expect(p.Connack).reason_code == 0x87
    assert not first.closed


def test_a_client_that_left_leaves_no_deadline(make: Make) -> None:
    net: Net = make(authenticate=lambda question: _until(net.now + 5000))
    before = len(net.core.deadlines)
    client = net.connect("c")
    client.send(p.Disconnect(0))
    assert len(net.core.deadlines) == before


def test_the_log_learns_more_of_a_refusal_than_the_client(make: Make) -> None:
    told: list[str] = []

    class Refusals(Hook):
        def on_refuse(self, connection: object, reason_code: int, why: str) -> None:
            told.append(why)

    net = make(authenticate=lambda question: _until(0.0, "file: there is no such user", 0x86))
    net.core.add_hook(Refusals())
    client = net.send_connect("c")
    assert client.expect(p.Connack).properties == properties(reason_string="no")
    assert told == ["file: there is no such user"]


# ---- who is let in no more ----


class Told(Hook):
    def __init__(self) -> None:
        self.told: list[tuple[str, int, str]] = []

    def on_refuse(self, connection: object, reason_code: int, why: str) -> None:
        self.told.append(("refused", reason_code, why))

    def on_disconnect(self, connection: object, reason_code: int, why: str) -> None:
        self.told.append(("disconnected", reason_code, why))


def test_a_client_is_told_that_it_is_disconnected_and_the_log_why(make: Make) -> None:
    net, told = make(), Told()
    net.core.add_hook(told)
    client = net.connect("c", expiry=100)
    net.core.expel(client.connection, 0x87, "not you", "user ana is gone", net.now)
    net.turn()
    assert client.goodbye() == p.Disconnect(0x87, properties(reason_string="not you"))
    assert told.told == [("disconnected", 0x87, "user ana is gone")]
    net.core.expel(client.connection, 0x87, "not you", "user ana is gone", net.now)  # it is no more
    assert len(told.told) == 1


def test_who_waits_for_the_disk_is_refused() -> None:
    net, told = Net("journal"), Told()
    net.core.add_hook(told)
    net.commits = False
    client = net.send_connect("c", session_expiry_interval=100)
    net.core.expel(client.connection, 0x87, "not you", "user ana is gone", net.now)
    net.turn()
    assert client.expect(p.Connack) == p.Connack(False, 0x87, properties(reason_string="not you"))
    assert client.closed
    assert told.told == [("refused", 0x87, "user ana is gone")]
    assert net.core.statistics.admitted == 0
