"""Any bytes, in any pieces, in every state and version, to both roles: packets, or the connection's end.

The codec returns packets or raises its own errors, and nothing else; a connection never raises, and comes to
the same however its bytes were cut.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from curier.codec import packets as p
from curier.codec.constants import SUBSCRIBE, UNSUBSCRIBE
from curier.codec.decode import LargeRequest, decode
from curier.codec.encode import encode
from curier.codec.packets import Packet
from curier.codec.primitives import packet_end
from curier.codec.publish import parse_publish
from curier.codec.subscribe import parse_subscribe
from curier.errors import MalformedPacket, ProtocolError, RemoteProtocolError
from curier.protocol.connection import CLOSED, Connection
from tests.codec.cases import BADS, WIRES, Bad, Wire
from tests.codec.wire import packet_bytes, varint
from tests.protocol.stage import Stage
from tests.strategies import packets

VERSIONS = st.sampled_from([3, 4, 5])
ALL: list[Wire | Bad] = [*WIRES, *BADS]
CASES = {
    version: [
        packet_bytes(case.notation, version)
        for case in ALL
        if version in case.versions and len(case.notation) < 300
    ]
    for version in (3, 4, 5)
}


@st.composite
def damaged(draw: st.DrawFn, version: int) -> bytes:
    """A packet with a field cut, stretched or changed, its Remaining Length right, wrong or too long."""
    made = packets(version).map(lambda one: encode(one, version))
    raw = draw(st.one_of(made, st.sampled_from(CASES[version])))
    how = draw(st.integers(0, 5))
    if how == 0 or len(raw) < 2:
        return raw
    body = bytearray(raw[2:])
    at = draw(st.integers(0, len(body)))
    if how == 1:
        del body[at:]
    elif how == 2:
        body[at:at] = draw(st.binary(min_size=1, max_size=6))
    elif how == 3 and at < len(body):
        body[at] = draw(st.integers(0, 255))
    elif how == 4:  # a length that goes far beyond
        body[at : at + 2] = b"\xff\xff"
    length = varint(len(body))
    if draw(st.booleans()) and len(length) < 4:
        length = length[:-1] + bytes([length[-1] | 128]) + b"\x00"
    first = draw(st.one_of(st.just(raw[0]), st.integers(0, 255)))
    return bytes([first]) + length + bytes(body)


def outcome(data: bytes, version: int) -> Packet | ProtocolError:
    try:
        return decode(data, 0, len(data), version)
    except (MalformedPacket, RemoteProtocolError) as error:
        return error


@given(VERSIONS, st.data())
def test_bytes_are_a_packet_or_an_error_of_the_protocol(version: int, data: st.DataObject) -> None:
    raw = data.draw(st.one_of(damaged(version), st.binary(max_size=60)))
    found = outcome(raw, version)
    if isinstance(found, Packet):
        assert outcome(encode(found, version), version) == found
    elif raw:
        assert found.reason_code >= 0x80
    kind = raw[0] >> 4 if raw else 0
    try:
        whole = packet_end(raw, 0, version) == len(raw) if raw else False
    except MalformedPacket:
        return
    if whole and kind == 3:
        try:
            parse_publish(raw, 0, len(raw), version)
        except (MalformedPacket, RemoteProtocolError):
            assert not isinstance(found, Packet)
    elif whole and kind in (SUBSCRIBE, UNSUBSCRIBE):
        pieces = in_pieces(raw, version)
        if isinstance(found, p.Subscribe):
            assert pieces == [text.encode() for text, _ in found.subscriptions]
            plain = parse_subscribe(raw, 0, len(raw), version)
            assert plain is None or plain.filters == pieces
        elif isinstance(found, p.Unsubscribe):
            assert pieces == [text.encode() for text in found.topic_filters]
        else:
            assert isinstance(pieces, ProtocolError)
            assert isinstance(found, ProtocolError)
            assert pieces.reason_code == found.reason_code


def in_pieces(raw: bytes, version: int) -> list[bytes] | ProtocolError:
    """The filters of a SUBSCRIBE or UNSUBSCRIBE, read one at a time."""
    try:
        request = LargeRequest(raw, 0, len(raw), version, 1000)
        while not request.read(1, 1):
            pass
    except (MalformedPacket, RemoteProtocolError) as error:
        return error
    return request.filters


def feed(connection: Connection, chunks: list[bytes]) -> tuple[int, bytes]:
    """The state it is left in, and all it has said but for its last words: of two faults of one packet, the
    one that comes first is told.
    """
    for chunk in chunks:
        connection.receive(chunk, 1000.0)
    said = b"".join(connection.output)
    return connection.state, said[: said.rfind(b"\xe0")] if connection.state == CLOSED else said


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


def client(version: int, is_connected: bool) -> Connection:
    if is_connected:
        stage = Stage.connected(version)
    else:
        stage = Stage(version)
        stage.connect()
    return stage.client


@given(VERSIONS, st.booleans(), st.data())
def test_a_client_never_raises_and_cuts_do_not_matter(
    version: int, is_connected: bool, data: st.DataObject
) -> None:
    """The server's role has ``tests/v311/test_fuzz.py``."""
    stream = b"".join(data.draw(st.lists(st.one_of(damaged(version), st.binary(max_size=8)), max_size=5)))
    places = data.draw(st.lists(st.integers(0, 1000), max_size=6))
    whole = feed(client(version, is_connected), [stream] if stream else [])
    assert feed(client(version, is_connected), cut(stream, places)) == whole
    connection = client(version, is_connected)
    assert feed(connection, [bytes([byte]) for byte in stream]) == whole
    if connection.state == CLOSED:
        assert feed(connection, [b"\xd0\x00"]) == whole
