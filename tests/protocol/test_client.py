"""The client's role: connecting, authenticating, requests, Keep Alive and the end of a connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Pubrec,
    Suback,
    Subscribe,
    Unsubscribe,
    Will,
)
from curier.errors import LocalProtocolError
from curier.protocol.client import ClientConnection
from curier.protocol.connection import CLOSED, CONNECTED, CONNECTING
from curier.protocol.events import (
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    PingAnswered,
    Published,
)
from curier.session.session import Session
from tests import strategies
from tests.each import each
from tests.protocol.stage import Stage, properties, reason, refusal

VERSIONS = [3, 4, 5]
EXPIRY = properties(session_expiry_interval=300)


# ---- CONNECT and CONNACK ----


@pytest.mark.statement("5.0/MQTT-3.1.0-1", "3.1.1/MQTT-3.1.0-1")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_packet_is_connect_and_all_others_wait_for_connack(version: int) -> None:
    stage = Stage(version)
    stage.publish(0)
    stage.publish(1)
    assert stage.sent() == []
    connect = Connect(version, "me", True, 30, "ana", b"secret", Will("w", b"gone", 1, True))
    stage.client.connect(connect, stage.now)
    assert stage.sent() == [connect]
    assert stage.events() == []
    assert stage.client.state == CONNECTING
    stage.serve(Connack(False))
    assert [packet.packet_type for packet in stage.sent()] == [3, 3]
    assert [type(event) for event in stage.events()] == [Connected, Published]


@pytest.mark.statement("5.0/MQTT-3.1.0-2", "3.1.1/MQTT-3.1.0-2")
def test_connect_is_sent_once() -> None:
    stage = Stage.connected()
    with pytest.raises(LocalProtocolError, match=r"MQTT-3\.1\.0-2"):
        stage.client.connect(Connect(5, "me"), stage.now)
    closed = Stage()
    closed.client.detach(closed.now)
    with pytest.raises(LocalProtocolError, match=r"MQTT-3\.1\.0-2"):
        closed.client.connect(Connect(5, "me"), closed.now)
    assert stage.sent() == closed.sent() == []


@pytest.mark.statement("5.0/MQTT-3.1.3-2", "3.1.1/MQTT-3.1.3-2")
def test_session_state_belongs_to_one_client_identifier() -> None:
    session = Session("other")
    stage = Stage(5, session)
    with pytest.raises(LocalProtocolError, match=r"session is that of 'other'.*MQTT-3\.1\.3-2"):
        stage.client.connect(Connect(5, "me", False), stage.now)
    stage.client.connect(Connect(5, "me", True), stage.now)
    assert session.client_id == "me"


@pytest.mark.statement("3.1.1/MQTT-3.1.3-7")
@pytest.mark.parametrize(("version", "clean"), [(4, False), (3, True), (3, False)])
def test_an_empty_client_identifier_needs_a_clean_session(version: int, clean: bool) -> None:
    stage = Stage(version)
    with pytest.raises(LocalProtocolError, match="empty Client Identifier"):
        stage.client.connect(Connect(version, "", clean), stage.now)
    assert stage.sent() == []
    if version == 4:
        stage.client.connect(Connect(4, "", True), stage.now)
        assert stage.sent() == [Connect(4, "", True)]


def test_the_server_may_assign_the_client_identifier() -> None:
    stage = Stage()
    stage.client.connect(Connect(5, "", False), stage.now)
    stage.serve(Connack(False, 0, properties(assigned_client_identifier="auto-7")))
    assert stage.session.client_id == "auto-7"
    assert stage.event(Connected).connack.properties == properties(assigned_client_identifier="auto-7")


def test_what_cannot_be_encoded_is_not_sent() -> None:
    stage = Stage()
    with pytest.raises(LocalProtocolError):
        stage.client.connect(Connect(5, "\x00"), stage.now)
    stage.client.connect(Connect(5, "me"), stage.now)
    assert len(stage.sent()) == 1


@pytest.mark.parametrize(
    ("version", "code", "told"),
    [(4, 1, 0x84), (4, 2, 0x85), (3, 3, 0x88), (4, 4, 0x86), (4, 5, 0x87), (5, 0x86, 0x86), (5, 0x9C, 0x9C)],
)
def test_a_refusal_ends_the_connection(version: int, code: int, told: int) -> None:
    stage = Stage(version)
    stage.connect()
    more = properties(reason_string="no", server_reference="elsewhere") if version == 5 else None
    stage.serve(Connack(False, code, more))
    refused = stage.event(ConnectRefused)
    assert (refused.reason_code, refused.properties) == (told, more)
    assert refused.reason_string == ("no" if version == 5 else "")
    assert stage.is_closed
    assert stage.sent() == []
    stage.client.detach(stage.now)
    assert stage.events() == []


def test_a_311_server_that_knows_no_50_is_understood() -> None:
    stage = Stage(5)
    stage.connect()
    stage.serve(b"\x20\x02\x00\x01")
    assert stage.event(ConnectRefused).reason_code == 0x84
    assert stage.is_closed


def test_a_refusal_leaves_the_session_alone() -> None:
    stage = Stage.connected(asked=EXPIRY)
    entry = stage.publish(1)
    stage.client.detach(stage.now)
    again = Stage(5, stage.session)
    again.connect(False, 0, EXPIRY)
    again.serve(Connack(False, 0x88))
    again.event(ConnectRefused)
    assert list(stage.session.outgoing.inflight.values()) == [entry]


@pytest.mark.statement("5.0/MQTT-3.2.0-1", "3.1.1/MQTT-3.2.0-1")
@each("version", VERSIONS)
@each("packet", [Publish("a", b""), Pingresp(), Puback(1), Suback(1, [0]), Disconnect()])
def test_the_server_sends_connack_first(version: int, packet: Packet) -> None:
    stage = Stage(version)
    stage.connect()
    stage.serve(packet)
    refusal(stage, 0x82, "MQTT-3.2.0-1")


def test_a_server_that_speaks_before_connect_is_closed_on() -> None:
    stage = Stage()
    stage.serve(Connack(False))
    assert stage.is_closed
    assert stage.sent() == stage.events() == []


@pytest.mark.statement("5.0/MQTT-3.2.0-2")
@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_one_connack(version: int) -> None:
    stage = Stage.connected(version)
    stage.serve(Connack(False))
    refusal(stage, 0x82, "packet type 2 now")


@pytest.mark.parametrize(
    "packet", [Connect(4, "x"), Subscribe(1, [("a", 0)]), Unsubscribe(1, ["a"]), Pingreq()]
)
def test_some_packets_never_come_from_a_server(packet: Packet) -> None:
    stage = Stage.connected()
    stage.serve(packet)
    refusal(stage, 0x82, "must not send packet type")


@pytest.mark.statement("5.0/MQTT-3.2.2-4")
@pytest.mark.parametrize(("clean_start", "resumes"), [(True, True), (False, False)])
@pytest.mark.parametrize("version", [4, 5])
def test_a_session_the_client_does_not_have_is_closed_on(
    version: int, clean_start: bool, resumes: bool
) -> None:
    stage = Stage(version, None, resumes=resumes)
    stage.connect(clean_start)
    stage.serve(Connack(True))
    refusal(stage, 0x82, "MQTT-3.2.2-4")


@pytest.mark.statement("5.0/MQTT-3.2.2-5")
@pytest.mark.parametrize("version", [4, 5])
def test_a_session_the_server_does_not_have_is_discarded(version: int) -> None:
    stage = Stage.connected(version, clean_start=False, asked=EXPIRY)
    sent = [stage.publish(1), stage.publish(2), stage.publish(2)]
    stage.serve(Pubrec(2), Publish("q", b"", 2, False, False, 9))
    stage.events()
    stage.client.detach(stage.now)
    assert stage.event(Disconnected).lost == []
    waiting = stage.publish(1, b"new")
    again = stage.again(session_present=False)
    connected, *_ = again.events()
    assert isinstance(connected, Connected)
    assert not connected.session_present
    assert connected.lost == [sent[0], sent[2], sent[1]]
    # What only waited is no Session State: it is published now.
    assert again.sent() == [Publish("a/b", b"new", 1, False, False, waiting.packet_id)]
    again.serve(Publish("q", b"another", 2, False, False, 9))
    assert len(again.events()) == 1


@pytest.mark.statement("5.0/MQTT-3.1.2-4", "3.1.1/MQTT-3.1.2-6")
@pytest.mark.parametrize("version", VERSIONS)
def test_clean_start_begins_a_new_session(version: int) -> None:
    stage = Stage.connected(version, clean_start=False, asked=EXPIRY)
    entry = stage.publish(2)
    stage.client.detach(stage.now)
    clean = Stage(version, stage.session)
    clean.connect(True)
    clean.serve(Connack(False))
    assert clean.event(Connected).lost == [entry]
    assert clean.sent() == []
    assert stage.session.outgoing.unfinished() == []


@pytest.mark.statement("5.0/MQTT-3.1.2-23", "5.0/MQTT-4.1.0-1", "3.1.1/MQTT-4.1.0-1", "3.1.1/MQTT-3.1.2-4")
@pytest.mark.parametrize("version", VERSIONS)
def test_session_state_is_kept_while_the_session_lasts(version: int) -> None:
    stage = Stage.connected(version, clean_start=False, asked=EXPIRY)
    entry = stage.publish(1)
    again = stage.again()
    connected, *_ = again.events()
    assert isinstance(connected, Connected)
    assert connected.session_present  # in 3.1, which cannot say so, it is taken to be
    assert again.sent() == [Publish("a/b", b"x", 1, True, False, entry.packet_id)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_is_not_to_last_ends_with_its_connection(version: int) -> None:
    stage = Stage.connected(version)
    entry = stage.publish(1)
    stage.serve(Publish("q", b"", 2, False, False, 9))
    stage.events()
    stage.client.detach(stage.now)
    gone = stage.event(Disconnected)
    assert gone.lost == [entry]
    assert not gone.by_server
    assert stage.session.outgoing.unfinished() == []
    assert stage.session.incoming.identifiers == set()


def test_the_server_decides_how_long_a_session_lasts() -> None:
    stage = Stage.connected(asked=EXPIRY, connack=properties(session_expiry_interval=0))
    entry = stage.publish(1)
    stage.client.detach(stage.now)
    assert stage.event(Disconnected).lost == [entry]


def test_a_server_that_never_answers_connect_is_given_up() -> None:
    stage = Stage(5, None, connect_timeout=7.0)
    assert stage.client.next_deadline() == float("inf")
    stage.connect()
    assert stage.client.next_deadline() == stage.now + 7.0
    stage.client.deadline_reached(stage.now + 6.9)
    assert stage.client.state == CONNECTING
    stage.wait(7.0)
    assert "no CONNACK within 7 seconds" in reason(stage)
    assert stage.client.next_deadline() == float("inf")


# ---- Keep Alive ----


@pytest.mark.statement("5.0/MQTT-3.1.2-20", "3.1.1/MQTT-3.1.2-23")
@pytest.mark.parametrize("version", VERSIONS)
def test_an_idle_client_pings(version: int) -> None:
    stage = Stage.connected(version, keep_alive=30)
    stage.wait(29.5)
    assert stage.sent() == []
    stage.wait(0.5)
    assert stage.sent() == [Pingreq()]
    stage.wait(0.25)
    stage.serve(Pingresp())
    assert stage.event(PingAnswered).elapsed == 0.25
    # What was received does not help...
    stage.wait(29)
    stage.serve(Publish("a", b""))
    assert stage.sent() == []
    stage.wait(1)
    assert stage.sent() == [Pingreq()]
    # ... but what was sent and answered does.
    stage.serve(Pingresp())
    stage.wait(20)
    stage.publish(1)
    stage.serve(Puback(1))
    stage.wait(29.5)
    assert [type(packet) for packet in stage.sent()] == [Publish]
    stage.wait(0.5)
    assert stage.sent() == [Pingreq()]


@pytest.mark.parametrize("version", VERSIONS)
def test_who_only_sends_notices_a_dead_server_too(version: int) -> None:
    stage = Stage.connected(version, keep_alive=30, ping_timeout=5.0)
    for _ in range(34):
        stage.publish(0)
        stage.wait(1)
    assert Pingreq() in stage.sent()
    assert stage.client.state == CONNECTED
    stage.wait(1)
    assert "no PINGRESP" in reason(stage)


@pytest.mark.statement("5.0/MQTT-3.1.2-21", "5.0/MQTT-3.2.2-21")
@pytest.mark.parametrize(("asked", "told"), [(60, 10), (0, 10), (60, 0)])
def test_the_server_decides_on_keep_alive(asked: int, told: int) -> None:
    stage = Stage.connected(keep_alive=asked, connack=properties(server_keep_alive=told))
    stage.wait(10)
    assert stage.sent() == ([Pingreq()] if told else [])


def test_without_keep_alive_there_is_nothing_to_do() -> None:
    stage = Stage.connected()
    assert stage.client.next_deadline() == float("inf")
    stage.client.deadline_reached(stage.now + 1e6)
    assert stage.sent() == stage.events() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_dead_server_is_noticed(version: int) -> None:
    stage = Stage.connected(version, keep_alive=30, ping_timeout=5.0)
    stage.wait(34.9)
    assert stage.sent() == [Pingreq()]
    assert stage.events() == []
    stage.wait(0.1)
    gone = stage.event(Disconnected)
    assert gone.reason_code == 0x8D
    assert "for 5 seconds" in gone.why
    assert stage.is_closed
    assert stage.sent() == []  # a DISCONNECT would delete the will


def test_a_server_that_is_still_sending_is_not_dead() -> None:
    stage = Stage.connected(keep_alive=30, ping_timeout=5.0)
    stage.wait(34)
    stage.serve(b"\x30")
    stage.wait(4)
    stage.serve(b"\x80")
    stage.wait(4.9)
    assert stage.client.state == CONNECTED
    stage.wait(0.1)
    assert stage.is_closed


@pytest.mark.statement("5.0/MQTT-3.1.2-20", "3.1.1/MQTT-3.1.2-23")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pingresp_that_is_long_in_coming_is_no_reason_to_fall_silent(version: int) -> None:
    """The server is sending something large; it would take a client that pings no more for dead."""
    stage = Stage.connected(version, keep_alive=30, ping_timeout=20.0)
    stage.wait(30)
    assert stage.sent() == [Pingreq()]
    for _ in range(6):
        stage.wait(15)
        stage.serve(b"\x30\xff\xff" if stage.client.waiting_bytes() == 0 else b"\x7f")
    assert stage.sent() == [Pingreq()] * 3
    stage.wait(20)
    assert stage.is_closed


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_takes_what_waited_is_not_dead(version: int) -> None:
    stage = Stage.connected(version, keep_alive=30, ping_timeout=5.0)
    stage.wait(34)
    stage.client.heard(stage.now)
    stage.wait(4.9)
    assert not stage.is_closed
    stage.wait(0.1)
    assert "no PINGRESP" in reason(stage)


def test_pinging_at_will() -> None:
    stage = Stage.connected()
    stage.client.ping(stage.now)
    stage.now += 2
    stage.client.ping(stage.now)
    assert stage.sent() == [Pingreq(), Pingreq()]
    stage.now += 1
    stage.serve(Pingresp(), Pingresp())
    assert stage.event(PingAnswered).elapsed == 3


# ---- the end ----


@pytest.mark.statement("5.0/MQTT-3.14.4-1", "5.0/MQTT-3.14.4-2", "3.1.1/MQTT-3.14.4-1", "3.1.1/MQTT-3.14.4-2")
@pytest.mark.parametrize("version", VERSIONS)
def test_disconnecting(version: int) -> None:
    stage = Stage.connected(version, keep_alive=30)
    stage.client.disconnect(stage.now)
    assert stage.sent() == [Disconnect()]
    gone = stage.event(Disconnected)
    assert (gone.reason_code, gone.why, gone.by_server) == (0, "this client disconnected", False)
    assert stage.is_closed
    stage.client.disconnect(stage.now)
    stage.serve(Publish("a", b"", 1, False, False, 1))
    stage.wait(100)
    stage.publish(1)
    with pytest.raises(LocalProtocolError, match="only while connected"):
        stage.client.subscribe([("a", 0)], stage.now)
    with pytest.raises(LocalProtocolError, match="only while connected"):
        stage.client.ping(stage.now)
    stage.client.detach(stage.now)
    assert stage.sent() == stage.events() == []


@pytest.mark.statement("5.0/MQTT-3.14.2-1")
def test_disconnect_has_a_reason_code_that_is_the_clients_to_send() -> None:
    for code in range(256):
        stage = Stage.connected()
        if code in (0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, *range(0x93, 0x9A)):
            stage.client.disconnect(stage.now, code)
            assert stage.sent() == [Disconnect(code)]
        else:
            with pytest.raises(LocalProtocolError, match=r"MQTT-3\.14\.2-1"):
                stage.client.disconnect(stage.now, code)
            assert stage.client.state == CONNECTED


@pytest.mark.parametrize("version", [3, 4])
def test_before_50_a_disconnect_with_will_is_a_close_without_disconnect(version: int) -> None:
    stage = Stage.connected(version)
    stage.client.disconnect(stage.now, 4)
    assert stage.sent() == []
    assert stage.is_closed


def test_a_disconnect_may_change_the_session_expiry_interval() -> None:
    stage = Stage.connected(asked=EXPIRY)
    entry = stage.publish(1)
    stage.sent()
    stage.client.disconnect(stage.now, 0, 0)
    assert stage.sent() == [Disconnect(0, properties(session_expiry_interval=0))]
    assert stage.event(Disconnected).lost == [entry]
    short = Stage.connected()
    with pytest.raises(LocalProtocolError, match="was 0 in CONNECT"):
        short.client.disconnect(short.now, 0, 10)
    assert short.client.state == CONNECTED
    old = Stage.connected(4)
    old.client.disconnect(old.now, 0, 10)
    assert old.sent() == [Disconnect()]


@pytest.mark.statement("5.0/MQTT-3.14.2-3")
def test_a_reason_string_that_is_too_long_is_left_out() -> None:
    stage = Stage.connected(connack=properties(maximum_packet_size=20))
    stage.client.disconnect(stage.now, 0x80, None, "x" * 30)
    assert stage.sent() == [Disconnect(0x80)]
    assert reason(stage) == "x" * 30


def test_a_client_may_give_up_before_connack() -> None:
    stage = Stage()
    stage.client.disconnect(stage.now)
    assert stage.sent() == stage.events() == []
    stage = Stage()
    stage.connect()
    stage.client.disconnect(stage.now)
    assert stage.sent() == [Disconnect()]
    assert stage.event(Disconnected).lost == []


def test_the_server_disconnects() -> None:
    stage = Stage.connected(asked=EXPIRY)
    said = properties(reason_string="moving", server_reference="elsewhere")
    stage.serve(Disconnect(0x9D, said))
    gone = stage.event(Disconnected)
    assert (gone.reason_code, gone.why, gone.by_server, gone.properties) == (0x9D, "moving", True, said)
    assert stage.is_closed
    assert stage.sent() == []


@pytest.mark.statement("5.0/MQTT-3.14.2-2")
def test_a_servers_disconnect_has_no_session_expiry_interval() -> None:
    stage = Stage.connected()
    stage.serve(Disconnect(0x8B, EXPIRY))
    refusal(stage, 0x82, "MQTT-3.14.2-2")


@pytest.mark.statement("3.1.1/MQTT-4.8.0-1")
@pytest.mark.parametrize("version", [3, 4])
def test_before_50_a_server_sends_no_disconnect(version: int) -> None:
    stage = Stage.connected(version)
    stage.serve(Disconnect())
    refusal(stage, 0x82, "no DISCONNECT")


@pytest.mark.statement(
    "5.0/MQTT-4.13.1-1", "5.0/MQTT-4.13.2-1", "3.1.1/MQTT-4.8.0-1", "5.0/MQTT-2.1.3-1", "3.1.1/MQTT-2.2.2-2",
    "5.0/MQTT-3.3.1-4", "3.1.1/MQTT-3.3.1-4", "5.0/MQTT-3.6.1-1", "3.1.1/MQTT-3.6.1-1", "5.0/MQTT-3.14.1-1",
    "3.1.1/MQTT-3.14.1-1", "5.0/MQTT-3.15.1-1", "3.1.1/MQTT-1.5.3-1", "5.0/MQTT-1.5.4-1",
)  # fmt: skip
@each("version", VERSIONS)
@each(
    "data",
    [
        b"\x36\x00",  # PUBLISH with QoS 3
        b"\x30\x03\x00\x01\xff",  # a Topic Name that is not UTF-8
        b"\x00\x00",  # a packet type that is reserved
        b"\x40\x00",  # a PUBACK without Packet Identifier
        b"\x60\x02\x00\x01",  # wrong flags: PUBREL,
        b"\xd1\x00",  # PINGRESP,
        b"\xe1\x00",  # DISCONNECT,
        b"\xf1\x00",  # AUTH
        b"\x30\xff\xff\xff\xff",  # a Remaining Length without end
    ],
)
def test_malformed_packets_close_the_connection(version: int, data: bytes) -> None:
    if version == 3 and data[0] & 1:
        return  # a bit that 3.1 does not use
    stage = Stage.connected(version)
    stage.serve(data)
    refusal(stage, 0x81, "")


@pytest.mark.parametrize("is_connecting", [True, False])
def test_the_network_may_be_lost(is_connecting: bool) -> None:
    stage = Stage()
    stage.connect(asked=EXPIRY)
    if not is_connecting:
        stage.serve(Connack(False))
    stage.events()
    entry = stage.publish(1)
    stage.client.detach(stage.now)
    gone = stage.event(Disconnected)
    assert (gone.reason_code, gone.why, gone.lost) == (0x80, "the Network Connection was lost", [])
    assert stage.session.outgoing.unfinished() == [entry]


def test_bytes_are_counted() -> None:
    stage = Stage.connected()
    traffic = stage.client.traffic
    sent, received = traffic.bytes_sent, traffic.bytes_received
    stage.publish(1, b"12345")
    stage.serve(Publish("a", b"123"))
    assert traffic.bytes_sent == sent
    assert len(stage.client.take_output()) == traffic.bytes_sent - sent == 15
    assert traffic.bytes_received - received == 9
    assert (traffic.publishes_sent, traffic.publish_bytes_sent) == (1, 5)
    assert (traffic.publishes_received, traffic.publish_bytes_received) == (1, 3)
    assert stage.client.take_output() == b""


# ---- whatever a server sends ----


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


@given(st.sampled_from(VERSIONS), st.data())
def test_a_server_cannot_make_the_client_raise_and_chunks_do_not_matter(version: int, data: Any) -> None:
    """Any packets, cut anywhere, give the same output and events as in one piece."""
    stream = encode(Connack(False), version) + b"".join(
        encode(packet, version) for packet in data.draw(st.lists(strategies.packets(version), max_size=6))
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    outcomes = []
    for pieces in ([stream], [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]):
        client = ClientConnection(Session(""))
        client.connect(Connect(version, "me"), 0.0)
        client.take_output()
        for piece in pieces:
            client.receive(piece, 0.0)
        outcomes.append((client.take_output(), kinds(client.take_events()), client.state == CLOSED))
    assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=60))
def test_no_bytes_make_the_client_raise(data: bytes) -> None:
    for prefix in (b"", encode(Connack(False), 5)):
        client = ClientConnection(Session(""))
        client.connect(Connect(5, "me"), 0.0)
        client.receive(prefix + data, 0.0)
