"""Packets as values: equality, text, types; and the numbers of the codec against the public enums."""

from __future__ import annotations

from curier.codec import constants as c
from curier.codec import packets as p
from curier.types import QoS, ReasonCode
from tests.codec.cases import WIRES, properties
from tests.each import each

WITH_REASONS = [p.Puback, p.Pubrec, p.Pubrel, p.Pubcomp]


def test_packets_of_the_table_are_equal_to_themselves_only() -> None:
    different = {repr(case.packet): case.packet for case in WIRES}
    for text, packet in different.items():
        for other_text, other in different.items():
            assert (packet == other) == (text == other_text)


def test_packets_of_different_types_differ() -> None:
    acknowledgements: list[p.Packet] = [kind(1) for kind in WITH_REASONS]
    for index, packet in enumerate(acknowledgements):
        assert [packet == other for other in acknowledgements].index(True) == index
    assert p.Pingreq() == p.Pingreq()
    assert p.Pingreq() != p.Pingresp()
    assert p.Pingreq() != "Pingreq()"


def test_properties_are_part_of_equality() -> None:
    assert p.Puback(1, 0, properties(reason_string="a")) == p.Puback(1, 0, properties(reason_string="a"))
    assert p.Puback(1, 0, properties(reason_string="a")) != p.Puback(1, 0, properties(reason_string="b"))
    assert p.Puback(1, 0, properties(reason_string="a")) != p.Puback(1)


def test_packet_types() -> None:
    assert {case.packet.packet_type: type(case.packet).__name__.upper() for case in WIRES} == {
        getattr(c, name): name
        for name in (
            "CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK"
            " PINGREQ PINGRESP DISCONNECT AUTH"
        ).split()
    }
    assert p.Will("a", b"").packet_type == 0


def test_the_repr_names_the_fields() -> None:
    assert repr(p.Pingreq()) == "Pingreq()"
    assert repr(p.Publish("a", b"x", 1, packet_id=7)) == (
        "Publish(topic='a', payload=b'x', qos=1, dup=False, retain=False, packet_id=7, properties=None)"
    )
    assert repr(p.Puback(1, 0x10, properties(reason_string="no"))) == (
        "Puback(packet_id=1, reason_code=16, properties=Properties(reason_string='no'))"
    )


def test_the_repr_hides_the_password() -> None:
    shown = repr(p.Connect(4, "id", username="user", password=b"secret"))
    assert "secret" not in shown
    assert "password=<6 bytes>" in shown
    assert "username='user'" in shown
    assert "password=None" in repr(p.Connect(4, "id"))


@each("code", ReasonCode)
def test_the_reason_codes_are_those_of_the_public_enum(code: ReasonCode) -> None:
    assert getattr(c, code.name) == code.value


def test_the_qos_levels_are_those_of_the_public_enum() -> None:
    assert [qos.value for qos in QoS] == [0, 1, 2]
    assert (c.GRANTED_QOS_1, c.GRANTED_QOS_2) == (QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)
