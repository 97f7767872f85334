"""The table of wire cases: Control Packets and the bytes they are; bytes that are none, and why.

A row says the versions it holds in, the bytes in the notation of `tests.codec.wire`, what comes of them and
the statements it pins. The tests of the codec walk the table; whoever needs real packets may borrow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from curier.codec import packets as p
from curier.codec.properties import Properties
from curier.errors import MalformedPacket, ProtocolError, RemoteProtocolError
from tests.codec.wire import packet_bytes

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

V31, V311, V50 = (3,), (4,), (5,)
V3 = (3, 4)
ALL = (3, 4, 5)
NAMES = {3: "3.1", 4: "3.1.1", 5: "5.0"}


@dataclass(frozen=True)
class Wire:
    """Bytes and the packet they are. ``shortest`` is False where the encoder writes other, fewer bytes."""

    name: str
    versions: tuple[int, ...]
    notation: str
    packet: p.Packet
    statements: tuple[str, ...] = ()
    shortest: bool = True


@dataclass(frozen=True)
class Bad:
    """Bytes that are refused with this Reason Code and an error that cites ``statement``."""

    name: str
    versions: tuple[int, ...]
    notation: str
    reason_code: int
    statement: str = ""
    statements: tuple[str, ...] = ()

    @property
    def error(self) -> type[ProtocolError]:
        """0x81 and 0x84 are about bytes that cannot be parsed; the rest could be, but must not be so."""
        return MalformedPacket if self.reason_code in (0x81, 0x84) else RemoteProtocolError


def parameters(cases: Sequence[Wire | Bad]) -> list[ParameterSet]:
    """Each case in each of its versions, with its bytes: (case, raw, version), marked with its statements."""
    made = []
    for case in cases:
        for version in case.versions:
            prefix = {3: "none", 4: "3.1.1/", 5: "5.0/"}[version]
            held = [statement for statement in case.statements if statement.startswith(prefix)]
            marks = [pytest.mark.statement(*held)] if held else []
            raw = packet_bytes(case.notation, version)
            made.append(pytest.param(case, raw, version, id=f"{NAMES[version]} {case.name}", marks=marks))
    return made


def properties(**values: Any) -> Properties:
    """Properties with these attributes."""
    made = Properties()
    for name, value in values.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


# fmt: off
CONNECT = [
    Wire("CONNECT, smallest, byte by byte", V311, "10 0c 00 04 4d 51 54 54 04 02 00 3c 00 00",
         p.Connect(4, "", True, 60)),
    Wire("CONNECT, smallest, byte by byte", V50, "10 0d 00 04 4d 51 54 54 05 00 ff ff 00 00 00",
         p.Connect(5, "", False, 65535), ("5.0/MQTT-2.2.2-1",)),
    Wire("CONNECT", V31, "10 ('MQIsdp' 03 00 000a 'a')", p.Connect(3, "a", False, 10)),
    Wire("CONNECT", V311, "10 ('MQTT' 04 00 000a 'a')", p.Connect(4, "a", False, 10),
         ("3.1.1/MQTT-3.1.2-1", "3.1.1/MQTT-3.1.3-3", "3.1.1/MQTT-3.1.2-18", "3.1.1/MQTT-3.1.2-20")),
    Wire("CONNECT", V50, "10 ('MQTT' 05 00 000a {} 'a')", p.Connect(5, "a", False, 10),
         ("5.0/MQTT-3.1.2-1", "5.0/MQTT-3.1.3-3", "5.0/MQTT-3.1.2-16", "5.0/MQTT-3.1.2-18")),
    Wire("CONNECT of a bridge", V31, "10 ('MQIsdp' 83 00 000a 'a')",
         p.Connect(3, "a", False, 10, is_bridge=True)),
    Wire("CONNECT of a bridge", V311, "10 ('MQTT' 84 00 000a 'a')",
         p.Connect(4, "a", False, 10, is_bridge=True)),
    Wire("CONNECT of a bridge, bits that 3.1 does not use", V31, "1f ('MQIsdp' 83 31 000a 'a')",
         p.Connect(3, "a", False, 10, is_bridge=True), (), False),
    Wire("CONNECT, bits that 3.1 does not use", V31, "1f ('MQIsdp' 03 03 000a 'a')",
         p.Connect(3, "a", True, 10), (), False),
    Wire("CONNECT, Will QoS 3 and Retain, but no Will", V31, "10 ('MQIsdp' 03 38 000a 'a')",
         p.Connect(3, "a", False, 10), (), False),
    Wire("CONNECT, a lowest flag beside a Will", V31, "10 ('MQIsdp' 03 2d 000a 'a' 't' <>)",
         p.Connect(3, "a", False, 10, None, None, p.Will("t", b"", 1, True)), (), False),
    Wire("CONNECT, Remaining Length of four bytes", V31,
         "10 8f 80 80 00 0006 4d5149736470 03 00 000a 0001 61", p.Connect(3, "a", False, 10), (), False),
    Wire("CONNECT, Remaining Length of two bytes", V311, "10 8d 00 0004 4d515454 04 00 000a 0001 61",
         p.Connect(4, "a", False, 10), (), False),
    Wire("CONNECT, a Client Identifier of 24 characters", V31,
         "10 ('MQIsdp' 03 02 0000 'abcdefghijklmnopqrstuvwx')", p.Connect(3, "abcdefghijklmnopqrstuvwx")),
    Wire("CONNECT, everything", V31, "10 ('MQIsdp' 03 ce 0001 'id' 'a/b' <70> 'u' <77>)",
         p.Connect(3, "id", True, 1, "u", b"w", p.Will("a/b", b"p", 1))),
    Wire("CONNECT, everything", V311, "10 ('MQTT' 04 f6 ffff 'id' 'a/b' <00ff> 'u' <00fe>)",
         p.Connect(4, "id", True, 65535, "u", b"\x00\xfe", p.Will("a/b", b"\x00\xff", 2, True)),
         ("3.1.1/MQTT-3.1.3-1", "3.1.1/MQTT-3.1.2-9", "3.1.1/MQTT-3.1.2-14", "3.1.1/MQTT-3.1.2-19",
          "3.1.1/MQTT-3.1.2-21")),
    Wire("CONNECT, user name without password", V311, "10 ('MQTT' 04 80 0000 '' 'u')",
         p.Connect(4, "", False, 0, "u"), ("3.1.1/MQTT-3.1.2-19", "3.1.1/MQTT-3.1.2-20")),
    Wire("CONNECT, user name without password", V50, "10 ('MQTT' 05 80 0000 {} '' 'u')",
         p.Connect(5, "", False, 0, "u"), ("5.0/MQTT-3.1.2-17", "5.0/MQTT-3.1.2-18")),
    Wire("CONNECT, password without user name", V50, "10 ('MQTT' 05 40 0000 {} '' <77>)",
         p.Connect(5, "", False, 0, None, b"w"), ("5.0/MQTT-3.1.2-16", "5.0/MQTT-3.1.2-19")),
    Wire("CONNECT, Will without anything", V50, "10 ('MQTT' 05 04 0000 {} '' {} 't' <>)",
         p.Connect(5, "", False, 0, None, None, p.Will("t", b"")), ("5.0/MQTT-3.1.2-9", "5.0/MQTT-3.1.3-11")),
    Wire("CONNECT, everything", V50,
         "10 ('MQTT' 05 ee 000a"
         " {11 ffffffff 15 'm' 16 <64> 17 00 19 01 21 0005 22 000a 26 'a' 'b' 27 00001000} 'id'"
         " {01 01 02 0000003c 03 'c' 08 'r' 09 <00> 18 00000005 26 'k' 'v' 26 'k' 'w'} 'a/b' <70> 'u' <77>)",
         p.Connect(5, "id", True, 10, "u", b"w",
                   p.Will("a/b", b"p", 1, True, properties(
                       payload_format_indicator=1, message_expiry_interval=60, content_type="c",
                       response_topic="r", correlation_data=b"\x00", will_delay_interval=5,
                       user_properties=[("k", "v"), ("k", "w")])),
                   properties(
                       session_expiry_interval=0xFFFFFFFF, authentication_method="m",
                       authentication_data=b"d", request_problem_information=0,
                       request_response_information=1, receive_maximum=5,
                       topic_alias_maximum=10, user_properties=[("a", "b")], maximum_packet_size=4096)),
         ("5.0/MQTT-3.1.3-1", "5.0/MQTT-3.1.2-9", "5.0/MQTT-3.1.2-12", "5.0/MQTT-3.1.2-17",
          "5.0/MQTT-3.1.2-19")),
]

CONNACK = [
    Wire("CONNACK", ALL, "20 (00 00 {})", p.Connack(False, 0), ("5.0/MQTT-2.2.2-1",)),
    Wire("CONNACK, return code 5", V3, "20 (00 05)", p.Connack(False, 5)),
    Wire("CONNACK, Session Present", (4, 5), "20 (01 00 {})", p.Connack(True, 0)),
    Wire("CONNACK, reserved byte", V31, "20 (01 00)", p.Connack(False, 0), (), False),
    Wire("CONNACK, all bits that 3.1 does not use", V31, "2f (ff 05)", p.Connack(False, 5), (), False),
    Wire("CONNACK, Remaining Length of three bytes", V3, "20 82 80 00 00 00", p.Connack(False, 0), (), False),
    Wire("CONNACK, everything", V50,
         "20 (00 9c {11 00000000 12 'i' 13 0001 15 'm' 16 <> 1a 'r' 1c 's' 1f 'no' 21 0001 22 0000 24 01"
         " 25 00 26 '' '' 27 00000001 28 00 29 01 2a 00})",
         p.Connack(False, 0x9C, properties(
             session_expiry_interval=0, assigned_client_identifier="i", server_keep_alive=1,
             authentication_method="m", authentication_data=b"", response_information="r",
             server_reference="s", reason_string="no", receive_maximum=1, topic_alias_maximum=0,
             maximum_qos=1, retain_available=0, user_properties=[("", "")], maximum_packet_size=1,
             wildcard_subscription_available=0, subscription_identifier_available=1,
             shared_subscription_available=0)),
         ("5.0/MQTT-3.2.2-8",)),
]

PUBLISH = [
    Wire("PUBLISH, byte by byte", V311, "30 06 00 03 61 2f 62 78", p.Publish("a/b", b"x")),
    Wire("PUBLISH, QoS 0", ALL, "30 ('a/b' {} 78)", p.Publish("a/b", b"x"),
         ("3.1.1/MQTT-2.3.1-5", "3.1.1/MQTT-3.3.2-1", "5.0/MQTT-2.2.1-2", "5.0/MQTT-3.3.2-1",
          "5.0/MQTT-2.2.2-1")),
    Wire("PUBLISH, QoS 1", ALL, "32 ('a/b' 0001 {} 78)", p.Publish("a/b", b"x", 1, packet_id=1)),
    Wire("PUBLISH, all flags", ALL, "3d ('a' ffff {} 78)", p.Publish("a", b"x", 2, True, True, 65535)),
    Wire("PUBLISH, no payload", ALL, "31 ('a' {})", p.Publish("a", b"", retain=True)),
    Wire("PUBLISH, U+FEFF stays", ALL, "30 (<efbbbf 61 efbbbf> {})", p.Publish("\ufeffa\ufeff", b""),
         ("3.1.1/MQTT-1.5.3-3", "5.0/MQTT-1.5.4-3")),
    Wire("PUBLISH, characters of one to four bytes", ALL, "30 (<24 c3a9 e282ac f09f9880> {} 7a)",
         p.Publish("$é€😀", b"z"), ("3.1.1/MQTT-1.5.3-1", "5.0/MQTT-1.5.4-1")),
    Wire("PUBLISH, DUP with QoS 0, where it means nothing", V31, "38 ('a' 78)",
         p.Publish("a", b"x"), (), False),
    Wire("PUBLISH, Remaining Length longer than it needs to be", V3, "30 84 80 80 00 0001 61 78",
         p.Publish("a", b"x"), (), False),
    Wire("PUBLISH, Remaining Length of two bytes", ALL, "30 ('a' {} " + "00" * 125 + ")",
         p.Publish("a", bytes(125))),
    Wire("PUBLISH, Topic Name of 65535 bytes", ALL, "30 ('" + "a" * 65535 + "' {})",
         p.Publish("a" * 65535, b""), ("3.1.1/MQTT-4.7.3-3", "5.0/MQTT-4.7.3-3")),
    Wire("PUBLISH, everything", V50,
         "3d ('t' 0102 {01 00 02 00000000 03 '' 08 'r/1' 09 <0001> 0b 01 0b ffffff7f 23 ffff 26 'b' '2'"
         " 26 'a' '1'} 7061)",
         p.Publish("t", b"pa", 2, True, True, 0x0102, properties(
             payload_format_indicator=0, message_expiry_interval=0, content_type="", response_topic="r/1",
             correlation_data=b"\x00\x01", subscription_identifiers=[1, 268_435_455], topic_alias=65535,
             user_properties=[("b", "2"), ("a", "1")])),
         ("5.0/MQTT-3.3.2-18",)),
    Wire("PUBLISH, Topic Alias in place of the Topic Name", V50, "30 ('' {23 0001} 78)",
         p.Publish("", b"x", properties=properties(topic_alias=1))),
    Wire("PUBLISH, Properties in another order", V50, "30 ('' {23 0001 02 00000001})",
         p.Publish("", b"", properties=properties(topic_alias=1, message_expiry_interval=1)), (), False),
    Wire("PUBLISH, a User Property many times, in order", V50, "30 ('a' {26 'k' '2' 26 'k' '1' 26 'k' '2'})",
         p.Publish("a", b"", properties=properties(user_properties=[("k", "2"), ("k", "1"), ("k", "2")])),
         ("5.0/MQTT-3.3.2-18",)),
]

EXPLAINED = properties(reason_string="why", user_properties=[("a", "b")])

ACKNOWLEDGEMENTS = [
    Wire("PUBACK", ALL, "40 (0001)", p.Puback(1)),
    Wire("PUBREC", ALL, "50 (0002)", p.Pubrec(2)),
    Wire("PUBREL", ALL, "62 (0003)", p.Pubrel(3), ("3.1.1/MQTT-3.6.1-1", "5.0/MQTT-3.6.1-1")),
    Wire("PUBCOMP", ALL, "70 (ffff)", p.Pubcomp(65535)),
    Wire("PUBREL, sent again", V31, "6a (0003)", p.Pubrel(3), (), False),
    Wire("PUBREL, RETAIN", V31, "63 (0003)", p.Pubrel(3), (), False),
    Wire("PUBACK, bits that 3.1 does not use", V31, "4f (0001)", p.Puback(1), (), False),
    Wire("PUBREC, bits that 3.1 does not use", V31, "52 (0001)", p.Pubrec(1), (), False),
    Wire("PUBCOMP, bits that 3.1 does not use", V31, "71 (0001)", p.Pubcomp(1), (), False),
    Wire("PUBACK, Remaining Length of two bytes", V3, "40 82 00 0001", p.Puback(1), (), False),
    Wire("SUBACK, bits that 3.1 does not use", V31, "92 (0001 00)", p.Suback(1, [0]), (), False),
    Wire("UNSUBACK, bits that 3.1 does not use", V31, "b1 (0001)", p.Unsuback(1, []), (), False),
    Wire("PINGREQ, bits that 3.1 does not use", V31, "c8 00", p.Pingreq(), (), False),
    Wire("PINGRESP, bits that 3.1 does not use", V31, "d1 00", p.Pingresp(), (), False),
    Wire("DISCONNECT, bits that 3.1 does not use", V31, "ef 00", p.Disconnect(), (), False),
    Wire("PINGREQ, Remaining Length of four bytes", V3, "c0 80 80 80 00", p.Pingreq(), (), False),
    Wire("PUBACK, Reason Code", V50, "40 (0001 10)", p.Puback(1, 0x10)),
    Wire("PUBACK, Success spelt out", V50, "40 (0001 00)", p.Puback(1), (), False),
    Wire("PUBACK, no Properties spelt out", V50, "40 (0001 97 {})", p.Puback(1, 0x97), (), False),
    Wire("PUBACK, Properties", V50, "40 (0001 00 {1f 'why' 26 'a' 'b'})", p.Puback(1, 0, EXPLAINED)),
    Wire("PUBREC, Properties", V50, "50 (0001 99 {1f 'why' 26 'a' 'b'})", p.Pubrec(1, 0x99, EXPLAINED)),
    Wire("PUBREL, Properties", V50, "62 (0001 92 {1f 'why' 26 'a' 'b'})", p.Pubrel(1, 0x92, EXPLAINED)),
    Wire("PUBCOMP, Properties", V50, "70 (0001 92 {1f 'why' 26 'a' 'b'})", p.Pubcomp(1, 0x92, EXPLAINED)),
]

SUBSCRIPTIONS = [
    Wire("SUBSCRIBE", ALL, "82 (0001 {} 'a/#' 00)", p.Subscribe(1, [("a/#", 0)]),
         ("3.1.1/MQTT-3.8.1-1", "5.0/MQTT-3.8.1-1")),
    Wire("SUBSCRIBE, three", ALL, "82 (fffe {} '+' 00 '$share/g/x' 01 '/' 02)",
         p.Subscribe(65534, [("+", 0), ("$share/g/x", 1), ("/", 2)]),
         ("3.1.1/MQTT-3.8.3-1", "5.0/MQTT-3.8.3-1")),
    Wire("SUBSCRIBE, sent again", V31, "8a (0001 'a' 00)", p.Subscribe(1, [("a", 0)]), (), False),
    Wire("SUBSCRIBE, bits that 3.1 does not use", V31, "83 (0001 'a' fe)",
         p.Subscribe(1, [("a", 2)]), (), False),
    Wire("SUBSCRIBE, Remaining Length of two bytes", V3, "82 86 00 0001 0001 61 00",
         p.Subscribe(1, [("a", 0)]), (), False),
    Wire("SUBSCRIBE, filters of 3.1.1", V3, "82 (0001 '$share//a' 00 '$share/a' 00)",
         p.Subscribe(1, [("$share//a", 0), ("$share/a", 0)])),
    Wire("SUBSCRIBE, every option", V50, "82 (0001 {} 'a' 04 'b' 0a 'c' 15 'd' 2e)",
         p.Subscribe(1, [("a", 0x04), ("b", 0x0A), ("c", 0x15), ("d", 0x2E)])),
    Wire("SUBSCRIBE, Properties", V50, "82 (0001 {0b 8001 26 'a' 'b'} 'a' 00)",
         p.Subscribe(1, [("a", 0)], properties(
             subscription_identifiers=[128], user_properties=[("a", "b")]))),
    Wire("SUBACK", ALL, "90 (0001 {} 00 01 02 80)", p.Suback(1, [0, 1, 2, 0x80])),
    Wire("SUBACK, Properties", V50, "90 (0001 {1f 'why' 26 'a' 'b'} a2)", p.Suback(1, [0xA2], EXPLAINED)),
    Wire("UNSUBSCRIBE", ALL, "a2 (0001 {} 'a' 'b/#')", p.Unsubscribe(1, ["a", "b/#"]),
         ("3.1.1/MQTT-3.10.1-1", "5.0/MQTT-3.10.1-1", "3.1.1/MQTT-3.10.3-1", "5.0/MQTT-3.10.3-1")),
    Wire("UNSUBSCRIBE, sent again", V31, "aa (0001 'a')", p.Unsubscribe(1, ["a"]), (), False),
    Wire("UNSUBSCRIBE, bits that 3.1 does not use", V31, "af (0001 'a')", p.Unsubscribe(1, ["a"]), (), False),
    Wire("UNSUBSCRIBE, wildcards", ALL, "a2 (0001 {} '#' '+/a/+' '/#')",
         p.Unsubscribe(1, ["#", "+/a/+", "/#"])),
    Wire("UNSUBSCRIBE, Properties", V50, "a2 (0001 {26 'a' 'b'} 'a')",
         p.Unsubscribe(1, ["a"], properties(user_properties=[("a", "b")]))),
    Wire("UNSUBACK", V3, "b0 (0001)", p.Unsuback(1, [])),
    Wire("UNSUBACK", V50, "b0 (0001 {} 00 11)", p.Unsuback(1, [0, 0x11])),
    Wire("UNSUBACK, Properties", V50, "b0 (0001 {1f 'why' 26 'a' 'b'} 8f)", p.Unsuback(1, [0x8F], EXPLAINED)),
]

OTHERS = [
    Wire("PINGREQ", ALL, "c0 00", p.Pingreq()),
    Wire("PINGRESP", ALL, "d0 00", p.Pingresp()),
    Wire("DISCONNECT", ALL, "e0 00", p.Disconnect(), ("3.1.1/MQTT-3.14.1-1", "5.0/MQTT-3.14.1-1")),
    Wire("DISCONNECT, Reason Code", V50, "e0 (04)", p.Disconnect(4)),
    Wire("DISCONNECT, normal spelt out", V50, "e0 (00)", p.Disconnect(), (), False),
    Wire("DISCONNECT, no Properties spelt out", V50, "e0 (8e {})", p.Disconnect(0x8E), (), False),
    Wire("DISCONNECT, Properties", V50, "e0 (00 {11 00000001 1c 's' 1f 'why' 26 'a' 'b'})",
         p.Disconnect(0, properties(session_expiry_interval=1, server_reference="s", reason_string="why",
                                    user_properties=[("a", "b")]))),
    Wire("AUTH, Success", V50, "f0 00", p.Auth()),
    Wire("AUTH", V50, "f0 (18 {15 'm' 16 <00> 1f 'why' 26 'a' 'b'})",
         p.Auth(0x18, properties(authentication_method="m", authentication_data=b"\x00", reason_string="why",
                                 user_properties=[("a", "b")])), ("5.0/MQTT-3.15.1-1",)),
]

WIRES = [*CONNECT, *CONNACK, *PUBLISH, *ACKNOWLEDGEMENTS, *SUBSCRIPTIONS, *OTHERS]

FLAGS = ("3.1.1/MQTT-2.2.2-1", "3.1.1/MQTT-2.2.2-2", "5.0/MQTT-2.1.3-1")
STRING = ("3.1.1/MQTT-1.5.3-1", "5.0/MQTT-1.5.4-1")
NUL = ("3.1.1/MQTT-1.5.3-2", "5.0/MQTT-1.5.4-2")
ZERO_ID = ("3.1.1/MQTT-2.3.1-1", "5.0/MQTT-2.2.1-3")

BAD_HEADERS = [
    Bad("type 0", ALL, "00 00", 0x81),
    Bad("AUTH before 5.0", V3, "f0 00", 0x81),
    Bad("CONNECT, flags", ALL, "11 ('MQTT' 04 00 000a 'a')", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("CONNACK, flags", (4, 5), "28 (00 00 {})", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("PUBACK, flags", (4, 5), "42 (0001)", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("PUBREC, flags", (4, 5), "52 (0001)", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("PUBREL, no flags", ALL, "60 (0001)", 0x81, "MQTT-2.1.3-1",
        (*FLAGS, "3.1.1/MQTT-3.6.1-1", "5.0/MQTT-3.6.1-1")),
    Bad("PUBREL, DUP", (4, 5), "6a (0001)", 0x81, "MQTT-2.1.3-1",
        (*FLAGS, "3.1.1/MQTT-3.6.1-1", "5.0/MQTT-3.6.1-1")),
    Bad("PUBCOMP, flags", (4, 5), "74 (0001)", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("SUBSCRIBE, no flags", ALL, "80 (0001 {} 'a' 00)", 0x81, "MQTT-2.1.3-1",
        (*FLAGS, "3.1.1/MQTT-3.8.1-1", "5.0/MQTT-3.8.1-1")),
    Bad("SUBACK, flags", (4, 5), "92 (0001 {} 00)", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("UNSUBSCRIBE, all flags", (4, 5), "af (0001 {} 'a')", 0x81, "MQTT-2.1.3-1",
        (*FLAGS, "3.1.1/MQTT-3.10.1-1", "5.0/MQTT-3.10.1-1")),
    Bad("UNSUBACK, flags", (4, 5), "b1 (0001 {} )", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("PINGREQ, flags", (4, 5), "c8 00", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("PINGRESP, flags", (4, 5), "d1 00", 0x81, "MQTT-2.1.3-1", FLAGS),
    Bad("DISCONNECT, flags", (4, 5), "e2 00", 0x81, "MQTT-2.1.3-1",
        (*FLAGS, "3.1.1/MQTT-3.14.1-1", "5.0/MQTT-3.14.1-1")),
    Bad("AUTH, flags", V50, "f4 (18 {15 'm'})", 0x81, "MQTT-2.1.3-1", (*FLAGS, "5.0/MQTT-3.15.1-1")),
    Bad("PINGREQ, a body", ALL, "c0 (00)", 0x81),
    Bad("PINGRESP, a body", ALL, "d0 (00)", 0x81),
    Bad("DISCONNECT, a body", V3, "e0 (00)", 0x81),
    Bad("nothing", ALL, "", 0x81),
    Bad("only a first byte", ALL, "c0", 0x81),
    Bad("Remaining Length too small", ALL, "40 01 0001", 0x81),
    Bad("Remaining Length too large", ALL, "40 03 0001", 0x81),
    Bad("Remaining Length longer than it needs to be", V50, "c0 80 00", 0x81, "MQTT-1.5.5-1",
        ("5.0/MQTT-1.5.5-1",)),
    Bad("Remaining Length longer than it needs to be, in bytes", V50, "30 84 80 80 00 0001 61 00", 0x81,
        "MQTT-1.5.5-1", ("5.0/MQTT-1.5.5-1",)),
    Bad("Remaining Length longer than it needs to be, of CONNECT", ALL,
        "10 8e 00 0004 4d515454 05 00 000a 00 0001 61", 0x81, "MQTT-1.5.5-1", ("5.0/MQTT-1.5.5-1",)),
    Bad("PUBREL with QoS 2", V31, "64 (0001)", 0x81, "MQTT-2.1.3-1"),
    Bad("SUBSCRIBE with QoS 0", V31, "80 (0001 'a' 00)", 0x81, "MQTT-2.1.3-1"),
    Bad("Remaining Length of five bytes", ALL, "30 80 80 80 80 01", 0x81),
]

BAD_CONNECTS = [
    Bad("Protocol Name", ALL, "10 ('MQTTX' 04 00 000a 'a')", 0x81, "MQTT-3.1.2-1",
        ("3.1.1/MQTT-3.1.2-1", "5.0/MQTT-3.1.2-1")),
    Bad("Protocol Name in small letters", ALL, "10 ('mqtt' 04 00 000a 'a')", 0x81, "MQTT-3.1.2-1",
        ("3.1.1/MQTT-3.1.2-1", "5.0/MQTT-3.1.2-1")),
    Bad("Protocol Version 6", ALL, "10 ('MQTT' 06 00 000a 00 'a')", 0x84, "MQTT-3.1.2-2",
        ("3.1.1/MQTT-3.1.2-2", "5.0/MQTT-3.1.2-2")),
    Bad("Protocol Version 3 of MQTT", ALL, "10 ('MQTT' 03 00 000a 'a')", 0x84, "MQTT-3.1.2-2"),
    Bad("Protocol Version 4 of MQIsdp", ALL, "10 ('MQIsdp' 04 00 000a 'a')", 0x84, "MQTT-3.1.2-2"),
    Bad("Protocol Version of a bridge of 3.1", ALL, "10 ('MQTT' 83 00 000a 'a')", 0x84, "MQTT-3.1.2-2"),
    Bad("Protocol Version of a bridge of 5.0", ALL, "10 ('MQTT' 85 00 000a {} 'a')", 0x84, "MQTT-3.1.2-2"),
    Bad("Will QoS 3", V31, "10 ('MQIsdp' 03 1c 000a 'a' 't' <>)", 0x81, "MQTT-3.1.2-12"),
    Bad("reserved Connect Flag", V311, "10 ('MQTT' 04 01 000a 'a')", 0x81, "MQTT-3.1.2-3",
        ("3.1.1/MQTT-3.1.2-3",)),
    Bad("reserved Connect Flag", V50, "10 ('MQTT' 05 03 000a {} 'a')", 0x81, "MQTT-3.1.2-3",
        ("5.0/MQTT-3.1.2-3",)),
    Bad("Will QoS 3", V311, "10 ('MQTT' 04 1c 000a 'a' 't' <>)", 0x81, "MQTT-3.1.2-12",
        ("3.1.1/MQTT-3.1.2-14",)),
    Bad("Will QoS 3", V50, "10 ('MQTT' 05 1c 000a {} 'a' {} 't' <>)", 0x81, "MQTT-3.1.2-12",
        ("5.0/MQTT-3.1.2-12",)),
    Bad("Will QoS without Will Flag", V311, "10 ('MQTT' 04 08 000a 'a')", 0x81, "MQTT-3.1.2-11",
        ("3.1.1/MQTT-3.1.2-11", "3.1.1/MQTT-3.1.2-13")),
    Bad("Will QoS without Will Flag", V50, "10 ('MQTT' 05 10 000a {} 'a')", 0x81, "MQTT-3.1.2-11",
        ("5.0/MQTT-3.1.2-11",)),
    Bad("Will Retain without Will Flag", V311, "10 ('MQTT' 04 20 000a 'a')", 0x81, "MQTT-3.1.2-13",
        ("3.1.1/MQTT-3.1.2-11", "3.1.1/MQTT-3.1.2-15")),
    Bad("Will Retain without Will Flag", V50, "10 ('MQTT' 05 20 000a {} 'a')", 0x81, "MQTT-3.1.2-13",
        ("5.0/MQTT-3.1.2-13",)),
    Bad("password without user name", V31, "10 ('MQIsdp' 03 40 000a 'a' <77>)", 0x81, "3.1.1/MQTT-3.1.2-22"),
    Bad("password without user name", V311, "10 ('MQTT' 04 40 000a 'a' <77>)", 0x81, "3.1.1/MQTT-3.1.2-22",
        ("3.1.1/MQTT-3.1.2-22",)),
    Bad("no Client Identifier", V311, "10 ('MQTT' 04 02 000a)", 0x81, "", ("3.1.1/MQTT-3.1.3-3",)),
    Bad("no Client Identifier", V50, "10 ('MQTT' 05 02 000a {})", 0x81, "", ("5.0/MQTT-3.1.3-3",)),
    Bad("Client Identifier not UTF-8", V311, "10 ('MQTT' 04 02 000a <ff>)", 0x81, "MQTT-1.5.4-1",
        ("3.1.1/MQTT-3.1.3-4", "3.1.1/MQTT-1.5.3-1")),
    Bad("Client Identifier not UTF-8", V50, "10 ('MQTT' 05 02 000a {} <ff>)", 0x81, "MQTT-1.5.4-1",
        ("5.0/MQTT-3.1.3-4", "5.0/MQTT-1.5.4-1")),
    Bad("Will Topic not UTF-8", V311, "10 ('MQTT' 04 04 000a 'a' <c3> <>)", 0x81, "MQTT-1.5.4-1",
        ("3.1.1/MQTT-3.1.3-10",)),
    Bad("Will Topic not UTF-8", V50, "10 ('MQTT' 05 04 000a {} 'a' {} <c3> <>)", 0x81, "MQTT-1.5.4-1",
        ("5.0/MQTT-3.1.3-11",)),
    Bad("Will Topic with a wildcard", V311, "10 ('MQTT' 04 04 000a 'a' 't/#' <>)", 0x81, "MQTT-4.7.0-1",
        ("3.1.1/MQTT-4.7.1-1",)),
    Bad("Will Topic with a wildcard", V50, "10 ('MQTT' 05 04 000a {} 'a' {} '+' <>)", 0x81, "MQTT-4.7.0-1",
        ("5.0/MQTT-4.7.0-1",)),
    Bad("empty Will Topic", V311, "10 ('MQTT' 04 04 000a 'a' '' <>)", 0x81, "MQTT-4.7.3-1",
        ("3.1.1/MQTT-4.7.3-1",)),
    Bad("empty Will Topic", V50, "10 ('MQTT' 05 04 000a {} 'a' {} '' <>)", 0x81, "MQTT-4.7.3-1",
        ("5.0/MQTT-4.7.3-1",)),
    Bad("Will Flag without Will", V311, "10 ('MQTT' 04 04 000a 'a')", 0x81, "", ("3.1.1/MQTT-3.1.2-9",)),
    Bad("Will Flag without Will", V50, "10 ('MQTT' 05 04 000a {} 'a')", 0x81, "", ("5.0/MQTT-3.1.2-9",)),
    Bad("Will without Will Flag", V311, "10 ('MQTT' 04 00 000a 'a' 't' <>)", 0x81, "",
        ("3.1.1/MQTT-3.1.2-11",)),
    Bad("User Name Flag without user name", V311, "10 ('MQTT' 04 80 000a 'a')", 0x81, "",
        ("3.1.1/MQTT-3.1.2-19",)),
    Bad("User Name Flag without user name", V50, "10 ('MQTT' 05 80 000a {} 'a')", 0x81, "",
        ("5.0/MQTT-3.1.2-17",)),
    Bad("user name without User Name Flag", V311, "10 ('MQTT' 04 00 000a 'a' 'u')", 0x81, "",
        ("3.1.1/MQTT-3.1.2-18",)),
    Bad("user name without User Name Flag", V50, "10 ('MQTT' 05 00 000a {} 'a' 'u')", 0x81, "",
        ("5.0/MQTT-3.1.2-16",)),
    Bad("user name not UTF-8", V311, "10 ('MQTT' 04 80 000a 'a' <80>)", 0x81, "MQTT-1.5.4-1",
        ("3.1.1/MQTT-3.1.3-11",)),
    Bad("user name not UTF-8", V50, "10 ('MQTT' 05 80 000a {} 'a' <80>)", 0x81, "MQTT-1.5.4-1",
        ("5.0/MQTT-3.1.3-12",)),
    Bad("Password Flag without password", V311, "10 ('MQTT' 04 c0 000a 'a' 'u')", 0x81, "",
        ("3.1.1/MQTT-3.1.2-21",)),
    Bad("Password Flag without password", V50, "10 ('MQTT' 05 40 000a {} 'a')", 0x81, "",
        ("5.0/MQTT-3.1.2-19",)),
    Bad("password without Password Flag", V311, "10 ('MQTT' 04 80 000a 'a' 'u' <77>)", 0x81, "",
        ("3.1.1/MQTT-3.1.2-20",)),
    Bad("password without Password Flag", V50, "10 ('MQTT' 05 80 000a {} 'a' 'u' <77>)", 0x81, "",
        ("5.0/MQTT-3.1.2-18",)),
    Bad("Authentication Data without Method", V50, "10 ('MQTT' 05 00 000a {16 <64>} 'a')", 0x82),
    Bad("Will Delay Interval outside the Will Properties", V50,
        "10 ('MQTT' 05 04 0000 {18 00000001} 'a' {} 't' <>)", 0x81),
    Bad("Topic Alias in Will Properties", V50, "10 ('MQTT' 05 04 0000 {} 'a' {23 0001} 't' <>)", 0x81),
]

BAD_CONNACKS = [
    Bad("reserved acknowledge flag", (4, 5), "20 (02 00 {})", 0x81, "MQTT-3.2.2-1", ("5.0/MQTT-3.2.2-1",)),
    Bad("all acknowledge flags", (4, 5), "20 (ff 00 {})", 0x81, "MQTT-3.2.2-1", ("5.0/MQTT-3.2.2-1",)),
    Bad("return code 6", V3, "20 (00 06)", 0x82, "MQTT-3.2.2-8"),
    Bad("Session Present in a refusal", V311, "20 (01 05)", 0x82, "MQTT-3.2.2-6", ("3.1.1/MQTT-3.2.2-4",)),
    Bad("Session Present in a refusal", V50, "20 (01 87 {})", 0x82, "MQTT-3.2.2-6", ("5.0/MQTT-3.2.2-6",)),
    Bad("CONNACK of 3.1.1", V50, "20 (00 00)", 0x81, "", ("5.0/MQTT-2.2.2-1",)),
    Bad("CONNACK of 5.0", V3, "20 (00 00 00)", 0x81),
    Bad("Authentication Data without Method", V50, "20 (00 00 {16 <64>})", 0x82),
]

BAD_PUBLISHES = [
    Bad("QoS 3", ALL, "36 ('a' 0001 {} 78)", 0x81, "MQTT-3.3.1-4",
        ("3.1.1/MQTT-3.3.1-4", "5.0/MQTT-3.3.1-4")),
    Bad("DUP with QoS 0", (4, 5), "38 ('a' {} 78)", 0x81, "MQTT-3.3.1-2",
        ("3.1.1/MQTT-3.3.1-2", "5.0/MQTT-3.3.1-2")),
    Bad("Packet Identifier 0", ALL, "32 ('a' 0000 {} 78)", 0x81, "MQTT-2.2.1-3",
        (*ZERO_ID, "5.0/MQTT-2.2.1-4", "3.1.1/MQTT-2.3.1-4")),
    Bad("no Topic Name", ALL, "30 ()", 0x81, "", ("3.1.1/MQTT-3.3.2-1", "5.0/MQTT-3.3.2-1")),
    Bad("empty Topic Name", V3, "30 ('' 78)", 0x81, "MQTT-4.7.3-1", ("3.1.1/MQTT-4.7.3-1",)),
    Bad("empty Topic Name without Topic Alias", V50, "30 ('' {} 78)", 0x82, "MQTT-4.7.3-1",
        ("5.0/MQTT-4.7.3-1",)),
    Bad("empty Topic Name with other Properties", V50, "30 ('' {01 00} 78)", 0x82, "MQTT-4.7.3-1",
        ("5.0/MQTT-4.7.3-1",)),
    Bad("Topic Name with #", ALL, "30 ('a/#' {} 78)", 0x81, "MQTT-3.3.2-2",
        ("3.1.1/MQTT-3.3.2-2", "5.0/MQTT-3.3.2-2", "3.1.1/MQTT-4.7.1-1", "5.0/MQTT-4.7.0-1")),
    Bad("Topic Name with +", ALL, "30 ('a+b' {} 78)", 0x81, "MQTT-3.3.2-2",
        ("3.1.1/MQTT-3.3.2-2", "5.0/MQTT-3.3.2-2")),
    Bad("Topic Name with U+0000", ALL, "30 (<610062> {} 78)", 0x81, "MQTT-1.5.4-2",
        (*NUL, "3.1.1/MQTT-4.7.3-2", "5.0/MQTT-4.7.3-2")),
    Bad("Topic Name with a surrogate", ALL, "30 (<eda080> {} 78)", 0x81, "MQTT-1.5.4-1",
        (*STRING, "3.1.1/MQTT-3.3.2-1", "5.0/MQTT-3.3.2-1")),
    Bad("Topic Name with a surrogate pair", ALL, "30 (<eda080edb080> {} 78)", 0x81, "MQTT-1.5.4-1", STRING),
    Bad("Topic Name with U+0000 overlong", ALL, "30 (<c080> {} 78)", 0x81, "MQTT-1.5.4-1", STRING),
    Bad("Topic Name with / overlong", ALL, "30 (<e080af> {} 78)", 0x81, "MQTT-1.5.4-1", STRING),
    Bad("Topic Name above U+10FFFF", ALL, "30 (<f4908080> {} 78)", 0x81, "MQTT-1.5.4-1", STRING),
    Bad("Topic Name with half a character", ALL, "30 (<e282> {} 78)", 0x81, "MQTT-1.5.4-1", STRING),
    Bad("no Packet Identifier", ALL, "32 ('a')", 0x81, "", ("3.1.1/MQTT-2.3.1-1", "5.0/MQTT-2.2.1-3")),
    Bad("no Property Length", V50, "30 ('a')", 0x81, "", ("5.0/MQTT-2.2.2-1",)),
    Bad("Topic Alias 0", V50, "30 ('a' {23 0000})", 0x94, "MQTT-3.3.2-8", ("5.0/MQTT-3.3.2-8",)),
    Bad("Response Topic with a wildcard", V50, "30 ('a' {08 'r/+'})", 0x81, "MQTT-3.3.2-14",
        ("5.0/MQTT-3.3.2-14",)),
    Bad("Response Topic not UTF-8", V50, "30 ('a' {08 <ff>})", 0x81, "MQTT-1.5.4-1", ("5.0/MQTT-3.3.2-13",)),
    Bad("empty Response Topic", V50, "30 ('a' {08 ''})", 0x81, "MQTT-4.7.3-1", ("5.0/MQTT-4.7.3-1",)),
    Bad("Content Type not UTF-8", V50, "30 ('a' {03 <ff>})", 0x81, "MQTT-1.5.4-1", ("5.0/MQTT-3.3.2-19",)),
    Bad("name of User Property not UTF-8", V50, "30 ('a' {26 <ff> 'v'})", 0x81, "MQTT-1.5.4-1",
        ("5.0/MQTT-1.5.7-1",)),
    Bad("value of User Property with U+0000", V50, "30 ('a' {26 'k' <00>})", 0x81, "MQTT-1.5.4-2",
        ("5.0/MQTT-1.5.7-1",)),
]

BAD_PROPERTIES = [
    Bad("an unknown Property", V50, "30 ('a' {04 00})", 0x81),
    Bad("Property 0", V50, "30 ('a' {00})", 0x81),
    Bad("a Property Identifier of two bytes", V50, "30 ('a' {8001 00})", 0x81),
    Bad("a Property Identifier longer than it needs to be", V50, "30 ('a' {8100 00})", 0x81, "MQTT-1.5.5-1",
        ("5.0/MQTT-1.5.5-1",)),
    Bad("a Property of another packet", V50, "30 ('a' {1f 'why'})", 0x81),
    Bad("Properties beyond the packet", V50, "30 ('a' 05 01 00)", 0x81),
    Bad("Property Length longer than it needs to be", V50, "30 ('a' 8000)", 0x81, "MQTT-1.5.5-1",
        ("5.0/MQTT-1.5.5-1",)),
    Bad("a Property beyond the Properties", V50, "30 ('a' {02 0000} 0000)", 0x81),
    Bad("a string beyond the Properties", V50, "30 ('a' {03 0002 61} 61)", 0x81),
    Bad("a Property without value", V50, "30 ('a' {01})", 0x81),
    Bad("Payload Format Indicator 2", V50, "30 ('a' {01 02})", 0x82),
    Bad("Subscription Identifier 0", V50, "82 (0001 {0b 00} 'a' 00)", 0x82),
    Bad("two Subscription Identifiers in SUBSCRIBE", V50, "82 (0001 {0b 01 0b 01} 'a' 00)", 0x82),
    Bad("Subscription Identifier of five bytes", V50, "82 (0001 {0b 8080808001} 'a' 00)", 0x81),
    Bad("Receive Maximum 0", V50, "20 (00 00 {21 0000})", 0x82),
    Bad("Maximum Packet Size 0", V50, "20 (00 00 {27 00000000})", 0x82),
    Bad("Maximum QoS 2", V50, "20 (00 00 {24 02})", 0x82),
]

BAD_ACKNOWLEDGEMENTS = [
    *(Bad(f"Packet Identifier 0 in {name}", ALL, f"{first} (0000)", 0x81, "MQTT-2.2.1-3")
      for name, first in (("PUBACK", "40"), ("PUBREC", "50"), ("PUBREL", "62"), ("PUBCOMP", "70"))),
    *(Bad(f"Reason Code in {name}", V3, f"{first} (0001 00)", 0x81)
      for name, first in (("PUBACK", "40"), ("PUBREC", "50"), ("PUBREL", "62"), ("PUBCOMP", "70"))),
    *(Bad(f"Topic Alias in {name}", V50, f"{first} (0001 00 {{23 0001}})", 0x81)
      for name, first in (("PUBACK", "40"), ("PUBREC", "50"), ("PUBREL", "62"), ("PUBCOMP", "70"))),
    *(Bad(f"two Reason Strings in {name}", V50, f"{first} (0001 00 {{1f '' 1f ''}})", 0x82)
      for name, first in (("PUBACK", "40"), ("PUBREC", "50"), ("PUBREL", "62"), ("PUBCOMP", "70"))),
    Bad("PUBACK, half a Packet Identifier", ALL, "40 (00)", 0x81),
    Bad("PUBACK, bytes after the Properties", V50, "40 (0001 00 {} 00)", 0x81),
]

BAD_SUBSCRIPTIONS = [
    Bad("SUBSCRIBE, Packet Identifier 0", ALL, "82 (0000 {} 'a' 00)", 0x81, "MQTT-2.2.1-3", ZERO_ID),
    Bad("SUBSCRIBE, no Topic Filter", ALL, "82 (0001 {})", 0x82, "MQTT-3.8.3-2",
        ("3.1.1/MQTT-3.8.3-3", "5.0/MQTT-3.8.3-2")),
    Bad("SUBSCRIBE, empty Topic Filter", ALL, "82 (0001 {} '' 00)", 0x81, "MQTT-4.7.3-1",
        ("3.1.1/MQTT-4.7.3-1", "5.0/MQTT-4.7.3-1")),
    Bad("SUBSCRIBE, Topic Filter not UTF-8", ALL, "82 (0001 {} <ff> 00)", 0x81, "MQTT-1.5.4-1",
        ("3.1.1/MQTT-3.8.3-1", "5.0/MQTT-3.8.3-1")),
    Bad("SUBSCRIBE, Topic Filter with U+0000", ALL, "82 (0001 {} <00> 00)", 0x81, "MQTT-1.5.4-2",
        (*NUL, "3.1.1/MQTT-4.7.3-2", "5.0/MQTT-4.7.3-2")),
    Bad("SUBSCRIBE, no options", ALL, "82 (0001 {} 'a')", 0x81, "",
        ("5.0/MQTT-3.8.3-2", "3.1.1/MQTT-3.8.3-3")),
    Bad("SUBSCRIBE, QoS 3", V3, "82 (0001 'a' 03)", 0x81, "3.1.1/MQTT-3.8.3-4", ("3.1.1/MQTT-3.8.3-4",)),
    Bad("SUBSCRIBE, reserved bits", V311, "82 (0001 'a' 04)", 0x81, "3.1.1/MQTT-3.8.3-4",
        ("3.1.1/MQTT-3.8.3-4",)),
    Bad("SUBSCRIBE, Maximum QoS 3", V50, "82 (0001 {} 'a' 03)", 0x82),
    Bad("SUBSCRIBE, reserved bit 6", V50, "82 (0001 {} 'a' 40)", 0x81, "MQTT-3.8.3-5", ("5.0/MQTT-3.8.3-5",)),
    Bad("SUBSCRIBE, reserved bit 7", V50, "82 (0001 {} 'b' 00 'a' 80)", 0x81, "MQTT-3.8.3-5",
        ("5.0/MQTT-3.8.3-5",)),
    Bad("SUBSCRIBE, Retain Handling 3", V50, "82 (0001 {} 'a' 30)", 0x82),
    Bad("SUBSCRIBE, No Local on a Shared Subscription", V50, "82 (0001 {} '$share/g/a' 04)", 0x82,
        "MQTT-3.8.3-4", ("5.0/MQTT-3.8.3-4",)),
    Bad("SUBACK, Packet Identifier 0", ALL, "90 (0000 {} 00)", 0x81, "MQTT-2.2.1-3"),
    Bad("SUBACK, no Reason Code", ALL, "90 (0001 {})", 0x81),
    Bad("SUBACK, reserved return code", V3, "90 (0001 00 03)", 0x82, "MQTT-3.9.3-2", ("3.1.1/MQTT-3.9.3-2",)),
    Bad("UNSUBSCRIBE, Packet Identifier 0", ALL, "a2 (0000 {} 'a')", 0x81, "MQTT-2.2.1-3", ZERO_ID),
    Bad("UNSUBSCRIBE, no Topic Filter", ALL, "a2 (0001 {})", 0x82, "MQTT-3.10.3-2",
        ("3.1.1/MQTT-3.10.3-2", "5.0/MQTT-3.10.3-2")),
    Bad("UNSUBSCRIBE, empty Topic Filter", ALL, "a2 (0001 {} 'a' '')", 0x81, "MQTT-4.7.3-1",
        ("3.1.1/MQTT-4.7.3-1", "5.0/MQTT-4.7.3-1")),
    Bad("UNSUBSCRIBE, Topic Filter not UTF-8", ALL, "a2 (0001 {} <fe>)", 0x81, "MQTT-1.5.4-1",
        ("3.1.1/MQTT-3.10.3-1", "5.0/MQTT-3.10.3-1")),
    Bad("UNSUBACK, Packet Identifier 0", V3, "b0 (0000)", 0x81, "MQTT-2.2.1-3"),
    Bad("UNSUBACK, no Reason Code", V50, "b0 (0001 {})", 0x81),
    Bad("UNSUBACK, Reason Code", V3, "b0 (0001 00)", 0x81),
]

HASH_LAST = ("5.0/MQTT-4.7.1-1", "3.1.1/MQTT-4.7.1-2")
PLUS_ALONE = ("5.0/MQTT-4.7.1-2", "3.1.1/MQTT-4.7.1-3")
NO_FILTERS = [
    ("#/a", ALL, HASH_LAST), ("a/#/b", ALL, HASH_LAST), ("##", ALL, HASH_LAST), ("a#", ALL, HASH_LAST),
    ("a/#b", ALL, HASH_LAST), ("$a/b#", ALL, HASH_LAST), ("#/#", ALL, HASH_LAST), ("+#", ALL, HASH_LAST),
    ("a+", ALL, PLUS_ALONE), ("+a", ALL, PLUS_ALONE), ("++", ALL, PLUS_ALONE), ("a/+b/c", ALL, PLUS_ALONE),
    ("a/b+", ALL, PLUS_ALONE), ("/+/a+", ALL, PLUS_ALONE),
    ("$share/", V50, ("5.0/MQTT-4.8.2-1",)), ("$share//a", V50, ("5.0/MQTT-4.8.2-1",)),
    ("$share/a", V50, ("5.0/MQTT-4.8.2-2",)), ("$share/a/", V50, ("5.0/MQTT-4.8.2-2",)),
    ("$share/+/a", V50, ("5.0/MQTT-4.8.2-2",)), ("$share/#", V50, ("5.0/MQTT-4.8.2-2",)),
    ("$share/a#/b", V50, ("5.0/MQTT-4.8.2-2",)), ("$share/g/a#", V50, HASH_LAST),
    ("$share/g/a+/b", V50, PLUS_ALONE), ("$share/g/#/b", V50, HASH_LAST), ("$share/g/a#", V3, HASH_LAST),
]
"""What is no Topic Filter, in which versions, and the statements it breaks."""

BAD_FILTERS = [
    Bad(f"{name}, {text}", versions, f"{head} (0001 {{}} 'a' {options} '{text}' {options})", 0x81,
        statements[0].removeprefix("5.0/"),
        (*statements, "5.0/MQTT-4.13.1-1", "3.1.1/MQTT-4.8.0-1"))
    for text, versions, statements in NO_FILTERS
    for name, head, options in (("SUBSCRIBE", "82", "00"), ("UNSUBSCRIBE", "a2", ""))
]

BAD_OTHERS = [
    Bad("DISCONNECT, bytes after the Properties", V50, "e0 (00 {} 00)", 0x81),
    Bad("DISCONNECT, Receive Maximum", V50, "e0 (00 {21 0001})", 0x81),
    Bad("AUTH, no Property Length", V50, "f0 (18)", 0x81, "", ("5.0/MQTT-2.2.2-1",)),
    Bad("AUTH, no Authentication Method", V50, "f0 (18 {})", 0x82),
    Bad("AUTH, Authentication Data without Method", V50, "f0 (00 {16 <64>})", 0x82),
]

BADS = [
    *BAD_HEADERS, *BAD_CONNECTS, *BAD_CONNACKS, *BAD_PUBLISHES, *BAD_PROPERTIES, *BAD_ACKNOWLEDGEMENTS,
    *BAD_SUBSCRIPTIONS, *BAD_FILTERS, *BAD_OTHERS,
]
# fmt: on
