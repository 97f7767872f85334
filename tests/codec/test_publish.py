"""The flat parser of PUBLISH says the same as the readable one, on every wire case and on random bytes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curier.codec.constants import MESSAGE_EXPIRY_INTERVAL, PUBLISH
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Publish
from curier.codec.primitives import Reader, packet_end
from curier.codec.properties import Properties, decode_properties
from curier.codec.publish import (
    NO_EXPIRY,
    IncomingPublish,
    encode_expiry,
    encode_publish,
    encode_subscription_identifier,
    encode_topic_alias,
    forwarded_properties,
    parse_publish,
)
from curier.errors import LocalProtocolError, ProtocolError
from tests.codec.cases import BADS, WIRES, Bad, Wire
from tests.codec.wire import packet_bytes
from tests.each import each
from tests.strategies import publishes

VERSIONS = (3, 4, 5)

CASES: list[Wire | Bad] = [*WIRES, *BADS]
CORPUS = sorted(
    {
        (raw, version)
        for case in CASES
        for version in case.versions
        if len(case.notation) < 1000
        for raw in [packet_bytes(case.notation, version)]
        if raw and raw[0] >> 4 == PUBLISH
    }
)


def compare(raw: bytes, version: int) -> None:
    """Both parsers refuse ``raw`` with the same Reason Code, or both take it for the same PUBLISH."""
    readable: object
    try:
        readable = decode(raw, 0, len(raw), version)
    except ProtocolError as error:
        readable = error.reason_code
    flat: object
    try:
        packet_end(raw, 0, version)  # what it relies on
        flat = parse_publish(b"\xc0\x00" + raw + b"\xc0\x00", 2, 2 + len(raw), version)
    except ProtocolError as error:
        flat = error.reason_code
    if not isinstance(flat, IncomingPublish):
        assert flat == readable
        return
    assert isinstance(readable, Publish), (raw, readable)
    assert (flat.qos, flat.dup, flat.retain) == (readable.qos, readable.dup, readable.retain)
    assert flat.topic == readable.topic.encode()
    assert flat.packet_id == readable.packet_id
    assert flat.payload == readable.payload
    properties = readable.properties or Properties()
    assert flat.topic_alias == (properties.topic_alias or 0)
    expiry = properties.message_expiry_interval
    assert flat.expiry_interval == (NO_EXPIRY if expiry is None else expiry)
    assert flat.has_subscription_identifier == bool(properties.subscription_identifiers)
    assert flat.is_text == (properties.payload_format_indicator == 1)
    # What is forwarded is the rest, in the order of the wire.
    size = len(flat.properties)
    prefix = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))
    if size < 16384:
        forwarded = prefix + flat.properties
        kept = decode_properties(Reader(forwarded, 0, len(forwarded)), PUBLISH)
        assert kept.user_properties == properties.user_properties
        assert forwarded_properties(kept) == forwarded_properties(properties)
        assert kept.message_expiry_interval is None


@each(("raw", "version"), CORPUS)
def test_the_parsers_agree_on_every_wire_case(raw: bytes, version: int) -> None:
    compare(raw, version)


@pytest.mark.statement(
    "5.0/MQTT-3.3.2-4", "5.0/MQTT-3.3.2-15", "5.0/MQTT-3.3.2-16", "5.0/MQTT-3.3.2-18", "5.0/MQTT-3.3.2-20"
)
@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
def test_the_parsers_agree_on_every_publish(version: int, data: st.DataObject) -> None:
    compare(encode(data.draw(publishes(version)), version), version)


@given(st.sampled_from(CORPUS), st.data())
def test_the_parsers_agree_on_damaged_bytes(case: tuple[bytes, int], data: st.DataObject) -> None:
    raw, version = case
    if len(raw) < 3 or raw[1] > 127:
        return
    body = bytearray(raw[2:])
    for _ in range(data.draw(st.integers(1, 3))):
        if not body:
            break
        at = data.draw(st.integers(0, len(body) - 1))
        choice = data.draw(st.sampled_from("flip cut grow"))
        if choice == "flip":
            body[at] = data.draw(st.integers(0, 255))
        elif choice == "cut":
            del body[at : at + data.draw(st.integers(1, 4))]
        else:
            body[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    if len(body) < 128:
        compare(bytes((raw[0], len(body))) + bytes(body), version)


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
def test_what_is_encoded_flat_decodes_readably(version: int, data: st.DataObject) -> None:
    packet = data.draw(publishes(version))
    topic = packet.topic.encode()
    kept = forwarded_properties(packet.properties or Properties())
    raw = encode_publish(
        topic,
        packet.payload,
        packet.qos,
        packet.dup,
        packet.retain,
        packet.packet_id,
        kept if version == 5 else None,
    )
    if not topic:
        return  # the Topic Alias that stood for it is not forwarded
    again = decode(raw, 0, len(raw), version)
    assert isinstance(again, Publish)
    assert (again.topic, again.payload, again.qos) == (packet.topic, packet.payload, packet.qos)
    assert (again.dup, again.retain, again.packet_id) == (packet.dup, packet.retain, packet.packet_id)


@given(st.integers(0, 0xFFFFFFFF), st.integers(1, 65535), st.integers(1, 268_435_455))
@example(0, 1, 268_435_455)
def test_properties_of_the_hop(expiry: int, alias: int, identifier: int) -> None:
    encoded = encode_expiry(expiry) + encode_topic_alias(alias) + encode_subscription_identifier(identifier)
    assert encoded[0] == MESSAGE_EXPIRY_INTERVAL
    data = bytes((len(encoded),)) + encoded
    properties = decode_properties(Reader(data, 0, len(data)), PUBLISH)
    assert properties.message_expiry_interval == expiry
    assert properties.topic_alias == alias
    assert properties.subscription_identifiers == [identifier]


def test_a_publish_larger_than_mqtt_allows_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="larger than MQTT allows"):
        encode_publish(b"a", bytes(268_435_455), 0, False, False, 0, None)
