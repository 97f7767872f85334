"""Where a packet begins and ends, and what its first byte is worth, in both roles (5.0: 2.1; 3.1.1: 2.2)."""

from __future__ import annotations

import pytest

from curier.codec import packets as p
from curier.codec.encode import encode
from curier.protocol.connection import CLOSED, CONNECTED, Traffic
from curier.protocol.server import ServerConnection
from curier.session.session import Session
from tests.codec.wire import body_of
from tests.each import each
from tests.protocol.stage import Stage

statement = pytest.mark.statement
NOW = 100.0


def server(version: int | None = None) -> ServerConnection:
    """A new connection; with a version, one that is connected already."""
    connection = ServerConnection(1, 1000, [], Traffic())
    if version is not None:
        connection.version = version
        connection.state = CONNECTED
        connection.session = Session("c")
    return connection


def stretched(packet: p.Packet, version: int, size: int) -> bytes:
    """The packet with a Remaining Length of ``size`` bytes."""
    raw = encode(packet, version)
    body = body_of(raw)
    length = bytes(len(body) >> (7 * n) & 127 | (128 if n + 1 < size else 0) for n in range(size))
    return raw[:1] + length + body


def by(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# ---- Remaining Length ----


@each("version", [3, 4])
@each("size", [2, 3, 4])
@each("piece", [1, 1000])
def test_before_5_0_a_remaining_length_may_be_longer_than_it_needs_to_be(
    version: int, size: int, piece: int
) -> None:
    connection = server()
    for chunk in by(stretched(p.Connect(version, "c"), version, size), piece):
        connection.receive(chunk, NOW)
    assert connection.state != CLOSED
    assert connection.client_id == "c"
    connection = server(version)
    for chunk in by(stretched(p.Pingreq(), version, size), piece):
        connection.receive(chunk, NOW)
    assert connection.output == [b"\xd0\x00"]

    stage = Stage(version)
    stage.connect()
    for chunk in by(stretched(p.Connack(False, 0), version, size), piece):
        stage.serve(chunk)
    assert stage.client.state == CONNECTED
    stage.events()
    for chunk in by(stretched(p.Publish("a", b"x", 1, packet_id=7), version, size), piece):
        stage.serve(chunk)
    assert stage.sent() == [p.Puback(7)]


@statement("5.0/MQTT-1.5.5-1")
@pytest.mark.parametrize("size", [2, 4])
def test_in_5_0_it_may_not(size: int) -> None:
    connection = server()
    connection.receive(stretched(p.Connect(5, "c"), 5, size), NOW)
    assert connection.client_id == ""
    (answer,) = connection.output
    assert answer[:4].hex(" ")[-2:] == "81"
    for packet in (p.Pingreq(), p.Publish("a", b"x"), p.Subscribe(1, [("a", 0)]), p.Puback(1)):
        connection = server(5)
        connection.receive(stretched(packet, 5, size), NOW)
        assert [data[:1] + data[2:3] for data in connection.output] == [b"\xe0\x81"]
    stage = Stage.connected()
    stage.serve(stretched(p.Publish("a", b"x"), 5, size))
    assert stage.sent()[0].reason_code == 0x81  # type: ignore[attr-defined]


# ---- the first byte ----


@statement("5.0/MQTT-3.2.0-1", "3.1.1/MQTT-3.2.0-1")
@each("first", [first for first in range(256) if first >> 4 not in (2, 15)])
def test_a_first_byte_that_cannot_be_connack_ends_a_connection_at_once(first: int) -> None:
    stage = Stage()
    stage.connect()
    stage.serve(bytes([first]))
    assert stage.is_closed


def test_what_a_server_never_sends_is_not_waited_for() -> None:
    stage = Stage.connected()
    stage.serve(b"\x82\xff\xff")
    assert stage.is_closed


def test_a_connect_that_is_too_large_is_answered_as_its_version_has_it() -> None:
    large = encode(p.Connect(5, "c" * 2000), 5)
    for data in (large, large[:12]):
        connection = server()
        connection.receive(data, NOW)
        (answer,) = connection.output
        assert (answer[0], answer[3]) == (0x20, 0x95)
    connection = server()
    connection.receive(encode(p.Connect(4, "c" * 2000), 4), NOW)
    assert connection.output == []
