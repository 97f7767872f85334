"""SUBSCRIBE and UNSUBSCRIBE of a client, and the limits of both sides."""

from __future__ import annotations

from typing import Any

import pytest

from curier.codec.encode import encode
from curier.codec.packets import (
    Auth,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.errors import LocalProtocolError
from curier.protocol.connection import CONNECTED
from curier.protocol.events import (
    MessageReceived,
    SubscribeDone,
    UnsubscribeDone,
)
from tests.each import each
from tests.protocol.stage import Stage, properties, reason, refusal

VERSIONS = [3, 4, 5]
EXPIRY = properties(session_expiry_interval=300)

# ---- SUBSCRIBE and UNSUBSCRIBE ----


@pytest.mark.parametrize("version", VERSIONS)
def test_subscribing_and_unsubscribing(version: int) -> None:
    stage = Stage.connected(version)
    first = stage.client.subscribe([("a/#", 1), ("b", 2)], stage.now)
    second = stage.client.unsubscribe(["a/#", "c"], stage.now)
    assert stage.sent() == [Subscribe(first, [("a/#", 1), ("b", 2)]), Unsubscribe(second, ["a/#", "c"])]
    refused = 0x87 if version == 5 else 0x80
    said = properties(reason_string="not b") if version == 5 else None
    stage.serve(Unsuback(second, [0, 0x11] if version == 5 else []), Suback(first, [1, refused], said))
    removed, made = stage.events()
    assert isinstance(removed, UnsubscribeDone)
    assert removed.packet_id == second
    assert removed.reason_codes == ([0, 0x11] if version == 5 else [0, 0])
    assert isinstance(made, SubscribeDone)
    assert (made.packet_id, made.reason_codes) == (first, [1, refused])
    assert made.reason_string == ("not b" if version == 5 else "")


def test_what_only_50_can_say_in_a_subscribe() -> None:
    stage = Stage.connected()
    packet_id = stage.client.subscribe([("a", 0x2D)], stage.now, 7, [("why", "so")])
    other = stage.client.unsubscribe(["b"], stage.now, [("k", "v")])
    assert stage.sent() == [
        Subscribe(
            packet_id,
            [("a", 0x2D)],
            properties(subscription_identifiers=[7], user_properties=[("why", "so")]),
        ),
        Unsubscribe(other, ["b"], properties(user_properties=[("k", "v")])),
    ]
    with pytest.raises(LocalProtocolError, match="Subscription Identifiers"):
        Stage.connected(4).client.subscribe([("a", 0)], 0.0, 7)


@pytest.mark.statement("5.0/MQTT-2.2.1-3", "3.1.1/MQTT-2.3.1-1", "3.1.1/MQTT-2.3.1-2")
def test_packet_identifiers_are_unused_and_not_zero() -> None:
    stage = Stage.connected()
    taken = [
        stage.client.subscribe([("a", 0)], stage.now),
        stage.publish(1).packet_id,
        stage.client.unsubscribe(["a"], stage.now),
        stage.publish(2).packet_id,
    ]
    assert taken == [1, 2, 3, 4]
    stage.session.outgoing.last_id = 0
    assert stage.client.subscribe([("a", 0)], stage.now) == 5
    stage.serve(Suback(1, [0]))
    stage.session.outgoing.last_id = 65535
    assert stage.publish(1).packet_id == 1
    stage.session.outgoing.last_id = 65534
    assert [stage.publish(1).packet_id, stage.publish(1).packet_id] == [65535, 6]


def test_there_is_a_packet_identifier_for_everything_that_may_be_sent() -> None:
    stage = Stage.connected(max_inflight=65535)
    for _ in range(535):
        stage.client.subscribe([("a", 0)], stage.now)
    with pytest.raises(LocalProtocolError, match="535 requests have no answer yet"):
        stage.client.unsubscribe(["a"], stage.now)
    assert stage.session.outgoing.quota_maximum + 535 == 65535
    stage.serve(Suback(1, [0]))
    stage.client.unsubscribe(["a"], stage.now)
    assert len(stage.session.outgoing.reserved) == 535


def test_what_the_server_does_not_offer_is_not_asked_for() -> None:
    offered = properties(
        wildcard_subscription_available=0,
        subscription_identifier_available=0,
        shared_subscription_available=0,
    )
    stage = Stage.connected(connack=offered)
    for topic_filter, identifier, code in (
        ("a/+", 0, 0xA2),
        ("#", 0, 0xA2),
        ("$share/g/a", 0, 0x9E),
        ("a", 1, 0xA1),
    ):
        with pytest.raises(LocalProtocolError) as refused:
            stage.client.subscribe([("fine", 0), (topic_filter, 0)], stage.now, identifier)
        assert refused.value.reason_code == code
    assert stage.sent() == []
    assert stage.session.outgoing.reserved == set()


@pytest.mark.statement("5.0/MQTT-2.2.1-6", "3.1.1/MQTT-2.3.1-7")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_suback", [True, False])
def test_answers_repeat_the_packet_identifier_of_their_request(version: int, is_suback: bool) -> None:
    stage = Stage.connected(version)
    packet_id = stage.client.subscribe([("a", 0)], stage.now)
    stage.sent()
    stage.serve(Suback(packet_id + 1, [0]) if is_suback else Unsuback(packet_id, [0] if version == 5 else []))
    refusal(stage, 0x82, "MQTT-2.2.1-6")


@pytest.mark.statement("5.0/MQTT-3.8.4-6")
@pytest.mark.parametrize("codes", [[0], [0, 0, 0]])
def test_there_is_a_reason_code_for_each_topic_filter(codes: list[int]) -> None:
    for version in VERSIONS:
        stage = Stage.connected(version)
        packet_id = stage.client.subscribe([("a", 0), ("b", 0)], stage.now)
        stage.sent()
        stage.serve(Suback(packet_id, codes))
        refusal(stage, 0x82, "MQTT-3.8.4-6")


def test_requests_are_forgotten_with_their_connection() -> None:
    stage = Stage.connected(asked=EXPIRY)
    packet_id = stage.client.subscribe([("a", 0)], stage.now)
    again = stage.again()
    again.serve(Suback(packet_id, [0]))
    assert "MQTT-2.2.1-6" in reason(again)
    assert stage.session.outgoing.reserved == set()


# ---- limits of the server, and of this side ----


@pytest.mark.statement("5.0/MQTT-3.2.2-15")
def test_nothing_is_larger_than_the_server_takes() -> None:
    stage = Stage.connected(
        asked=properties(authentication_method="SCRAM"),
        connack=properties(maximum_packet_size=30, authentication_method="SCRAM"),
    )
    long = "x" * 30
    for call in (
        lambda: stage.client.subscribe([(long, 0)], stage.now),
        lambda: stage.client.unsubscribe([long], stage.now),
        lambda: stage.publish(1, long.encode()),
        lambda: stage.publish(0, long.encode()),
        lambda: stage.client.reauthenticate(long.encode(), stage.now),
    ):
        with pytest.raises(LocalProtocolError, match=r"30 at most \[MQTT-3\.2\.2-15\]") as refused:
            call()
        assert refused.value.reason_code == 0x95
    assert stage.sent() == []
    assert stage.session.outgoing.reserved == set()
    assert stage.session.outgoing.unfinished() == []
    largest = stage.publish(1, b"x" * 20)
    assert len(encode(stage.sent()[0], 5)) == 30
    assert largest.packet_id


@pytest.mark.statement("5.0/MQTT-3.1.2-24")
def test_a_packet_larger_than_this_client_takes_is_refused() -> None:
    stage = Stage.connected(asked=properties(maximum_packet_size=20))
    stage.serve(Publish("a", b"x" * 14))
    stage.event(MessageReceived)
    stage.serve(Publish("a", b"x" * 15))
    refusal(stage, 0x95, "20 accepted here [MQTT-3.1.2-24]")


@pytest.mark.statement("5.0/MQTT-3.1.2-29")
@each("what", [{"reason_string": "why"}, {"user_properties": [("a", "b")]}])
@each("kind", [Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Auth])
def test_problem_information_comes_only_where_it_is_wanted(kind: Any, what: dict[str, Any]) -> None:
    codes: dict[Any, tuple[Any, ...]] = {Suback: (1, [0]), Unsuback: (1, [0]), Auth: (0x18,)}
    method = {"authentication_method": "m"} if kind is Auth else {}

    def stage_after(wanted: int, said: dict[str, Any]) -> Stage:
        asked = properties(request_problem_information=wanted, authentication_method="m")
        stage = Stage.connected(asked=asked, connack=properties(authentication_method="m", **what))
        stage.client.reauthenticate(None, stage.now)
        if kind is Unsuback:
            stage.client.unsubscribe(["a"], stage.now)
        elif kind is Suback:
            stage.client.subscribe([("a", 0)], stage.now)
        stage.sent()
        stage.serve(kind(*codes.get(kind, (1, 0)), properties(**method, **said)))
        return stage

    assert stage_after(1, what).client.state == CONNECTED
    assert stage_after(0, {}).client.state == CONNECTED
    refusal(stage_after(0, what), 0x82, "MQTT-3.1.2-29")


@pytest.mark.statement("5.0/MQTT-2.2.1-5", "5.0/MQTT-2.2.1-6", "5.0/MQTT-4.13.1-1")
@each("version", [3, 4, 5])
@each("asks", ["subscribe", "unsubscribe", "publish"])
@each("kind", [Puback, Pubrec, Pubcomp, Suback, Unsuback])
def test_an_answer_of_the_wrong_kind_ends_the_connection(version: int, asks: str, kind: Any) -> None:
    stage = Stage.connected(version)
    if asks == "publish":
        stage.publish(1)
    elif asks == "subscribe":
        stage.client.subscribe([("a", 0)], stage.now)
    else:
        stage.client.unsubscribe(["a"], stage.now)
    stage.sent()
    is_right = kind is {"publish": Puback, "subscribe": Suback, "unsubscribe": Unsuback}[asks]
    stage.serve(
        kind(1, [0] if version == 5 or kind is Suback else []) if kind in (Suback, Unsuback) else kind(1)
    )
    assert stage.is_closed is not is_right
