"""Which Reason Code may stand in which packet, against table 2-6 as `tests.strategies` has it."""

from __future__ import annotations

import pytest

from curier.codec import constants as c
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.properties import Properties
from curier.codec.reasons import reason_code_allowed, reason_code_statement
from curier.errors import LocalProtocolError, RemoteProtocolError
from tests.codec.wire import packet_bytes
from tests.each import each
from tests.strategies import REASON_CODES, RETURN_CODES

METHOD = Properties()
METHOD.authentication_method = "m"

# In each packet: where the Reason Code stands, the packet it makes, and the statement that limits it.
PLACES = [
    (c.CONNACK, "20 (00 {} {{}})", "MQTT-3.2.2-8"),
    (c.PUBACK, "40 (0001 {})", "MQTT-3.4.2-1"),
    (c.PUBREC, "50 (0001 {})", "MQTT-3.5.2-1"),
    (c.PUBREL, "62 (0001 {})", "MQTT-3.6.2-1"),
    (c.PUBCOMP, "70 (0001 {})", "MQTT-3.7.2-1"),
    (c.SUBACK, "90 (0001 {{}} 00 {})", "MQTT-3.9.3-2"),
    (c.UNSUBACK, "b0 (0001 {{}} 00 {})", "MQTT-3.11.3-2"),
    (c.DISCONNECT, "e0 ({})", "MQTT-3.14.2-1"),
    (c.AUTH, "f0 ({} {{15 'm'}})", "MQTT-3.15.2-1"),
]


def packet(packet_type: int, code: int) -> p.Packet:
    """A packet of this type with this Reason Code."""
    made: dict[int, p.Packet] = {
        c.CONNACK: p.Connack(False, code),
        c.PUBACK: p.Puback(1, code),
        c.PUBREC: p.Pubrec(1, code),
        c.PUBREL: p.Pubrel(1, code),
        c.PUBCOMP: p.Pubcomp(1, code),
        c.SUBACK: p.Suback(1, [0, code]),
        c.UNSUBACK: p.Unsuback(1, [0, code]),
        c.DISCONNECT: p.Disconnect(code),
        c.AUTH: p.Auth(code, METHOD),
    }
    return made[packet_type]


@each(
    ("packet_type", "notation", "statement"),
    [pytest.param(*place, marks=pytest.mark.statement(f"5.0/{place[2]}")) for place in PLACES],
)
def test_every_reason_code_in_every_packet(packet_type: int, notation: str, statement: str) -> None:
    assert reason_code_statement(packet_type) == statement
    for code in range(256):
        raw = packet_bytes(notation.format(f"{code:02x}"), 5)
        wanted = packet(packet_type, code)
        allowed = code in REASON_CODES[packet_type]
        assert reason_code_allowed(packet_type, code, 5) == allowed
        if allowed:
            assert decode(raw, 0, len(raw), 5) == wanted
            assert decode(encode(wanted, 5), 0, len(encode(wanted, 5)), 5) == wanted
            continue
        with pytest.raises(RemoteProtocolError) as refused:
            decode(raw, 0, len(raw), 5)
        assert (refused.value.reason_code, refused.value.statement) == (0x82, statement)
        with pytest.raises(LocalProtocolError) as caught:
            encode(wanted, 5)
        assert caught.value.statement == statement


@pytest.mark.statement("3.1.1/MQTT-3.9.3-2")
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    ("packet_type", "notation"), [(c.CONNACK, "20 (00 {})"), (c.SUBACK, "90 (0001 00 {})")]
)
def test_every_return_code_before_50(packet_type: int, notation: str, version: int) -> None:
    for code in range(256):
        raw = packet_bytes(notation.format(f"{code:02x}"), version)
        wanted = packet(packet_type, code)
        if code in RETURN_CODES[packet_type]:
            assert decode(raw, 0, len(raw), version) == wanted
            assert encode(wanted, version) == raw
            continue
        with pytest.raises(RemoteProtocolError):
            decode(raw, 0, len(raw), version)
        with pytest.raises(LocalProtocolError):
            encode(wanted, version)


def test_a_suback_of_31_may_say_failure() -> None:
    assert reason_code_allowed(c.SUBACK, 0x80, 3)
    assert not reason_code_allowed(c.PUBACK, 0x80, 4)
