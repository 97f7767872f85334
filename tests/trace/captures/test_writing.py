"""Recordings as pcapng: read back they are the same; Wireshark finds the packets and fields that we find."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from random import Random
from unittest import mock

from curier.codec import packets as p
from curier.codec.encode import encode
from curier.codec.primitives import encode_varint
from curier.codec.properties import BY_IDENTIFIER
from curier.trace.captures.reading import read_capture
from curier.trace.captures.writing import CaptureWriter
from curier.trace.dissection import Dissection, dissect
from curier.trace.events import DROPPED, Closed, Event, Happening, Missed, Opened, Packet, Wire
from curier.trace.fields import Field
from curier.trace.secrets import without_secrets
from tests.conftest import require_peer
from tests.trace.captures.random_packets import connect, packet


def written(events: list[Event], server_port: int = 0) -> bytes:
    file = io.BytesIO()
    writer = CaptureWriter(file, server_port)
    for event in events:
        writer.write(event)
    return file.getvalue()


def recording(seed: int, count: int, port: int = 1883) -> list[Event]:
    """A connection in each version, and packets in both directions."""
    random = Random(seed)
    events: list[Event] = []
    time = 1_700_000_000.0
    for number, version in enumerate((3, 4, 5), 1):
        first = connect(random, version)
        addresses = (
            (f"[::1]:{5000 + number}", f"[::1]:{port}")
            if number == 2
            else (f"10.0.0.1:{5000 + number}", f"10.0.0.2:{port}")
        )
        wire = Wire(number, first.client_id, version, first.username or "", *addresses)
        events.append(Opened(time, wire))
        events.append(Packet(time, wire, True, without_secrets(encode(first, version), version)))
        events.append(Packet(time, wire, False, encode(p.Connack(False), version)))
        for _ in range(count):
            time = round(time + 0.25, 6)
            made = packet(random, version)
            to_server = isinstance(made, p.Subscribe | p.Unsubscribe | p.Pingreq) or (
                not isinstance(made, p.Connack | p.Suback | p.Unsuback | p.Pingresp) and random.random() < 0.5
            )
            events.append(Packet(time, wire, to_server, without_secrets(encode(made, version), version)))
        events.append(Closed(time, wire, random.choice(["client", "server", "network"]), ""))
    return events


def test_what_is_written_is_read_again() -> None:
    events = recording(1, 200)
    again = list(read_capture(io.BytesIO(written(events))))
    assert [e for e in again if isinstance(e, Packet)] == [e for e in events if isinstance(e, Packet)]
    assert [(e.time, e.wire) for e in again if isinstance(e, Opened)] == [
        (e.time, e.wire) for e in events if isinstance(e, Opened)
    ]
    ends = [e for e in events if isinstance(e, Closed)]
    assert [(e.time, e.by) for e in again if isinstance(e, Closed)] == [
        (e.time, "client" if e.by == "network" else e.by) for e in ends
    ]
    assert len(again) == len(events)


def test_a_packet_of_many_segments_and_one_that_was_cut() -> None:
    wire = Wire(1, "me", 4, "", "10.0.0.1:5000", "10.0.0.2:18830")
    large = encode(p.Publish("a", bytes(range(256)) * 1000), 4)
    events: list[Event] = [
        Opened(1.0, wire),
        Packet(1.0, wire, True, encode(p.Connect(4, "me"), 4)),
        Packet(2.0, wire, True, large),
        Packet(3.0, wire, True, large[:100], cut=len(large) - 100),
        Packet(4.0, wire, True, encode(p.Pingreq(), 4)),
    ]
    assert list(read_capture(io.BytesIO(written(events)))) == events


def test_addresses_that_are_unknown_are_made_up_and_said_to_be() -> None:
    wires = [
        Wire(1, "a", 4, "", "", ""),
        Wire(2, "b", 4, "", "/run/curier.sock", "[::1]:1883"),
        Wire(3, "c", 4, "", "10.0.0.1:99999", "10.0.0.2:1883"),
    ]
    events: list[Event] = [Packet(1.0, wire, True, encode(p.Connect(4, wire.client_id), 4)) for wire in wires]
    raw = written(events)
    again = [event for event in read_capture(io.BytesIO(raw)) if isinstance(event, Opened)]
    assert [(e.wire.client_address, e.wire.server_address) for e in again] == [
        ("127.0.0.1:49153", "127.0.0.1:1883"),
        ("[::1]:49154", "[::1]:1883"),
        ("10.0.0.2:49155".replace("10.0.0.2", "127.0.0.1"), "10.0.0.2:1883"),
    ]
    for said in (b"made up: it is not known", b"made up: /run/curier.sock", b"made up: 10.0.0.1:99999"):
        assert said in raw


def test_what_no_packet_says_is_a_comment() -> None:
    wire = Wire(1, "me", 4, "", "10.0.0.1:5000", "10.0.0.2:18830")
    ping = encode(p.Pingreq(), 4)
    raw = written(
        [
            Packet(1.0, wire, True, encode(p.Connect(4, "me"), 4)),
            Happening(1.5, DROPPED, "other", "queue full", topic="a/b"),
            Missed(1.6, 12),
            Packet(2.0, wire, True, ping, lost=True),
            Packet(3.0, wire, True, ping),
        ]
    )
    assert b"dropped other a/b queue full" in raw
    assert b"12 events were not recorded here" in raw
    assert b'"Decode As" TCP port 18830, MQTT' in raw
    assert len([e for e in read_capture(io.BytesIO(raw)) if isinstance(e, Packet)]) == 2
    assert b"Decode As" not in written([Packet(1.0, wire, True, encode(p.Connect(4, "me"), 4))], 1883)


# -- Wireshark --

SEPARATOR = "\x1f"
PLACES = {
    "Content Type": "mqtt.property.content_type",
    "Maximum QoS": "mqtt.property.max_qos",
    "Topic Alias": "mqtt.property.topic_alias",
}
"""Of Properties that Wireshark keeps apart from others."""

FIELDS = {
    "Control Packet type": "mqtt.msgtype",
    "DUP": "mqtt.dupflag",
    "QoS": "mqtt.qos",
    "RETAIN": "mqtt.retain",
    "Remaining Length": "mqtt.len",
    "Protocol Name": "mqtt.protoname",
    "Protocol Version": "mqtt.ver",
    "Connect Flags": "mqtt.conflags",
    "User Name Flag": "mqtt.conflag.uname",
    "Password Flag": "mqtt.conflag.passwd",
    "Will Retain": "mqtt.conflag.retain",
    "Will QoS": "mqtt.conflag.qos",
    "Will Flag": "mqtt.conflag.willflag",
    "Clean Start": "mqtt.conflag.cleansess",
    "Keep Alive": "mqtt.kalive",
    "Client Identifier": "mqtt.clientid",
    "Will Topic": "mqtt.willtopic",
    "Will Payload": "mqtt.willmsg",
    "User Name": "mqtt.username",
    "Connect Acknowledge Flags": "mqtt.conack.flags",
    "Session Present": "mqtt.conack.flags.sp",
    "Topic": "mqtt.topic",
    "Packet Identifier": "mqtt.msgid",
    "Payload": "mqtt.msg",
    "CONNACK Return Code": "mqtt.conack.val",
    "SUBACK Return Code": "mqtt.suback.qos",
    "Requested QoS": "mqtt.sub.qos",
    "Subscription Options": "mqtt.subscription_options",
    "Subscription Maximum QoS": "mqtt.subscription_options_qos",
    "No Local": "mqtt.subscription_options_nl",
    "Retain As Published": "mqtt.subscription_options_rap",
    "Retain Handling": "mqtt.subscription_options_retain",
    **{
        f"{name} Reason Code": f"mqtt.{name.lower()}.reason_code"
        for name in (
            "CONNACK",
            "PUBACK",
            "PUBREC",
            "PUBREL",
            "PUBCOMP",
            "SUBACK",
            "UNSUBACK",
            "DISCONNECT",
            "AUTH",
        )
    },
    "Property Length": "mqtt.property_len",
    **PLACES,
    "numbers": "mqtt.prop_number",
    "strings": "mqtt.prop_string",
    "keys": "mqtt.prop_key",
    "values": "mqtt.prop_value",
    "Property Identifier": "mqtt.property_id",
}
"""Our names of fields, and Wireshark's."""

ANY = mock.ANY
"""Bytes that Wireshark shows as text, which they are not."""

TEXTS = frozenset(["Topic", "Protocol Name", "Client Identifier", "Will Topic", "User Name", "Content Type"])
TEXTS |= {"strings", "keys", "values"}

IDENTIFIERS = {row.name: identifier for identifier, row in BY_IDENTIFIER.items()}


def ours(found: Dissection) -> dict[str, list[object]]:
    """The raw values of all fields, as Wireshark groups them."""
    groups: dict[str, list[object]] = {}

    def note(name: str, value: object) -> None:
        groups.setdefault(name, []).append(value)

    def walk(field: Field, inside: str) -> None:
        name = field.name
        if inside in ("Properties", "Will Properties") and name != "Property Length":
            note("Property Identifier", IDENTIFIERS[name])
            if isinstance(field.raw, tuple):
                note("keys", field.raw[0])
                note("values", field.raw[1])
            elif name in PLACES:
                note(name, field.raw)
            elif isinstance(field.raw, int):
                note("numbers", field.raw)
            else:
                note("strings", field.raw if isinstance(field.raw, str) else ANY)
            return
        if name in ("Topic Name", "Topic Filter"):
            name = "Topic"
        elif name == "Clean Session":
            name = "Clean Start"
        elif name in ("Reason Code", "Return Code"):
            name = f"{found.name} {name}"
        elif name == "Maximum QoS":
            name = "Subscription Maximum QoS"
        elif name == "Subscription Options" and found.version != 5:
            name = "Requested QoS and reserved bits"
        if field.raw is not None:
            note(name, field.raw)
        for child in field.children:
            walk(child, name)

    for field in found.fields:
        walk(field, "")
    return groups


def as_ours(name: str, value: str) -> object:
    if name in ("Payload", "Will Payload"):
        return b"" if value == "<MISSING>" else bytes.fromhex(value.replace(":", ""))
    if name in TEXTS:
        return value
    if value in ("True", "False"):
        return int(value == "True")
    return int(value, 0)


def lengths(values: list[object]) -> list[int]:
    return [value for value in values if isinstance(value, int)]


def both_bytes(length: int) -> int:
    return int.from_bytes(encode_varint(length), "big")


def test_wireshark_names_the_same_packets_and_fields(tmp_path: Path) -> None:
    events = recording(2, 1200, port=18830)
    path = tmp_path / "random.pcapng"
    path.write_bytes(written(events, server_port=1883))
    command = [
        require_peer("tshark"),
        "-n",
        "-r",
        str(path),
        "-Y",
        "mqtt",
        "-T",
        "fields",
        "-E",
        f"aggregator={SEPARATOR}",
    ]
    command += ["-e", "frame.time_epoch", "-e", "ip.src", "-e", "tcp.dstport"]
    for name in FIELDS.values():
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    rows = done.stdout.decode().removesuffix("\n").split("\n")
    packets = [event for event in events if isinstance(event, Packet)]
    assert len(rows) == len(packets) > 3600
    for event, row in zip(packets, rows, strict=True):
        time, source, port, *values = row.split("\t")
        assert float(time) == event.time
        assert not source or source == ("10.0.0.1" if event.to_server else "10.0.0.2")
        assert (port == "1883") == event.to_server
        found = ours(dissect(event.data, event.wire.version, event.to_server))
        for name, value in zip(FIELDS, values, strict=True):
            said = [as_ours(name, one) for one in value.split(SEPARATOR)] if value else []
            expected = found.get(name, [])
            if expected in ([""], [b""]):  # of which Wireshark says nothing
                said = expected
            if name == "Property Length" and said != expected:  # 4.0 shows both bytes of one over 127
                expected = [one if one < 128 else both_bytes(one) for one in lengths(expected)]
            assert said == expected, (name, row, event)
