"""A packet with all its fields, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from curier.cli import main
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.trace.details import field_lines, fields_json
from curier.trace.events import Packet, Wire
from curier.trace.lines import to_line

PUBLISH = """\
  PUBLISH of MQTT 3.1.1, 16 bytes
          0  Fixed Header                       PUBLISH
      0:4-7    Control Packet type              PUBLISH (3)
        0:3    DUP                              0 (sent for the first time)    [MQTT-3.3.1-2]
      0:1-2    QoS                              1 (at least once)              [MQTT-3.3.1-4]
        0:0    RETAIN                           0 (no)
          1  Remaining Length                   14 bytes
        2-6  Topic Name                         a/b                            [MQTT-3.3.2-2]
        7-8  Packet Identifier                  7                              [MQTT-2.2.1-3]
       9-15  Payload                            7 bytes "{"t":1}"
             json:
               {
                 "t": 1
               }"""

BROKEN = """\
  PUBLISH of MQTT 3.1.1, to judge by its bytes, 5 bytes
          0  Fixed Header                       PUBLISH
      0:4-7    Control Packet type              PUBLISH (3)
        0:3    DUP                              1 (sent again)
     BROKEN    Fixed Header at byte 0 has DUP with QoS 0: 38 [MQTT-3.3.1-2] DUP is 0 at QoS 0.
      0:1-2    QoS                              0 (at most once)               [MQTT-3.3.1-4]
        0:0    RETAIN                           0 (no)
          1  Remaining Length                   3 bytes
        2-4  Topic Name                         a                              [MQTT-3.3.2-2]
          5  Payload                            empty"""


def publish(version: int = 4) -> Packet:
    return Packet(1.0, Wire(1, "me", version), True, encode(p.Publish("a/b", b'{"t":1}', 1, packet_id=7), 4))


def test_fields_in_lines() -> None:
    assert "\n".join(field_lines(publish())) == PUBLISH


def test_a_broken_packet_says_so_at_its_field() -> None:
    packet = Packet(1.0, Wire(1, "me", 0), True, bytes.fromhex("3803000161"))
    assert "\n".join(field_lines(packet)) == BROKEN
    said = fields_json(packet)
    assert (said["rule"], said["version_guessed"]) == ("MQTT-3.3.1-2", True)


def test_a_long_payload_is_not_printed_for_ever() -> None:
    packet = Packet(1.0, Wire(1, "", 4), True, encode(p.Publish("a", b"x\n" * 100_000), 4))
    lines = list(field_lines(packet))
    assert len(lines) < 40
    assert lines[-1].strip() == "... and 2029 more lines"
    assert any("text, first 4096 of 200000 bytes:" in line for line in lines)


@given(st.binary(max_size=80), st.sampled_from([0, 3, 4, 5]), st.integers(0, 2))
def test_any_bytes_are_safe_to_print(data: bytes, version: int, cut: int) -> None:
    packet = Packet(1.0, Wire(1, "", version), True, data, cut=cut)
    for line in field_lines(packet):
        assert not any(bad in line for bad in "\n\x1b\x07\x9b\u202e")
    assert json.loads(json.dumps(fields_json(packet)))["size"] == len(data) + cut


def test_the_command_prints_them(tmp_path: Path) -> None:
    path = tmp_path / "day.curier"
    path.write_text(to_line(publish()) + "\n")
    lines = CliRunner().invoke(main, ["trace", str(path), "--fields"]).output.splitlines()
    assert "\n".join(lines[1:]) == PUBLISH
    (line,) = CliRunner().invoke(main, ["trace", str(path), "--fields", "--json"]).output.splitlines()
    assert json.loads(line)["fields"][2]["value"] == "a/b"
