"""Rules on the wires of a ``Pair``, in virtual time."""

from __future__ import annotations

import pytest

from curier.errors import ConfigError, Refused
from curier.testing import Faults, Pair
from curier.trace.events import FAULT, Closed, Happening, Opened, Packet


def test_a_lost_puback_has_the_message_sent_again_when_the_client_comes_back() -> None:
    pair = Pair(faults=Faults("lose 1st PUBACK to me"))
    seer = pair.connect("seer")
    seer.subscribe("#", 1)
    me = pair.connect("me", clean_start=False, session_expiry_interval=300)
    receipt = me.publish("a", b"x", qos=1)
    pair.run(30)
    me.cut()
    pair.settle()
    me.reconnect()
    pair.run(1)
    assert receipt.reason_code == 0
    assert [message.payload for message in seer.messages] == [b"x", b"x"]  # at least once, so twice
    assert [fault.why for fault in pair.faults.fired] == [
        "PUBACK id 1: lost, by the rule 'lose 1st PUBACK to me'"
    ]


def test_qos_2_is_not_doubled_by_a_lost_pubrec() -> None:
    pair = Pair(faults=Faults("lose 1st PUBREC to me"))
    seer = pair.connect("seer")
    seer.subscribe("#", 2)
    me = pair.connect("me", clean_start=False, session_expiry_interval=300)
    receipt = me.publish("a", b"x", qos=2)
    pair.run(30)
    me.cut()
    pair.settle()
    me.reconnect()
    pair.run(1)
    assert receipt.reason_code == 0
    assert [message.payload for message in seer.messages] == [b"x"]


def test_a_delay_takes_virtual_time_on_connections_that_are_open() -> None:
    pair = Pair()
    me = pair.connect("me")
    pair.run(3600)
    pair.faults.add("delay PUBACK to me by 2s")
    receipt = me.publish("a", b"x", qos=1)
    codes = []
    for _ in range(2):
        pair.run(1.5)
        codes.append(receipt.reason_code)
    assert codes == [None, 0x10]  # no matching subscribers


def test_a_cut_after_a_time_ends_an_open_connection_as_its_client_learns() -> None:
    pair = Pair()
    me = pair.connect("me")
    pair.run(100)
    pair.faults.add("cut after 10s of me")
    pair.run(9)
    assert me.ending is None
    pair.run(2)
    assert me.ending is not None


def test_answers_and_bad_bits_reach_a_client_as_such() -> None:
    pair = Pair(faults=Faults("answer PUBLISH qos 1 with 0x97", "answer SUBSCRIBE with 0x87"))
    me = pair.connect("me")
    receipt = me.publish("a", b"x", qos=1)
    pair.run(1)
    assert receipt.reason_code == 0x97
    with pytest.raises(Refused):
        me.subscribe("a")
    pair.faults.clear()
    assert me.subscribe("a", 1) == 1
    pair.faults.add("flip bit 0 of PINGREQ")  # 0xC0 becomes 0x40, a PUBACK without its identifier
    pair.run(120)
    assert not me.is_connected


def test_a_client_that_is_not_read_from_meets_its_keep_alive() -> None:
    pair = Pair(faults=Faults("stop reading after CONNECT from me"))
    me = pair.connect("me", keep_alive=10)
    pair.run(60)
    assert not me.is_connected


def test_a_wrong_rule_leaves_all_as_it_was() -> None:
    pair = Pair()
    with pytest.raises(ConfigError, match="PUBAK"):
        pair.faults.add("lose PUBLISH", "lose PUBAK")
    assert pair.faults.rules == []


def test_what_goes_by_is_recorded_with_what_rules_did_to_it() -> None:
    pair = Pair(faults=Faults("lose 1st PUBACK to me"))
    events = pair.record_wires()
    me = pair.connect("me", password=b"secret", username="ann")
    me.publish("a", b"x", qos=1)
    pair.run(1)
    me.disconnect()
    opened, *packets, closed = events
    assert isinstance(opened, Opened)
    assert isinstance(closed, Closed)
    assert (closed.by, closed.wire.client_id) == ("client", "me")
    seen = [
        (one.data[0] >> 4, one.to_server, one.lost) if isinstance(one, Packet) else "fault" for one in packets
    ]
    assert seen == [
        (1, True, False),
        (2, False, False),
        (3, True, False),
        (4, False, True),
        "fault",
        (14, True, False),
    ]
    connect = packets[0]
    assert isinstance(connect, Packet)
    assert b"secret" not in connect.data


def test_a_trace_of_the_broker_is_told_of_faults_on_the_connections_it_shows() -> None:
    pair = Pair(faults=Faults("lose every PUBACK"))
    trace = pair.trace(client_id="me")
    for name in ("me", "other"):
        pair.connect(name).publish("a", b"x", qos=1)
    pair.run(1)
    events = trace.take()
    (fault,) = (event for event in events if isinstance(event, Happening) and event.kind == FAULT)
    assert fault.client_id == "me"
    assert fault.wire in {event.wire for event in events if isinstance(event, Packet)}
