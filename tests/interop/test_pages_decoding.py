"""Payloads as the pages read them: examples of the specifications, and what no one should ever send."""

from __future__ import annotations

import base64
import random
import struct
from typing import Any

import pytest

from tests.interop.node import Node

READ = """
import { as, read } from "./recognising.js";
import { drawable, laidOut, pointer } from "./values.js";
tell(given.map(([base64, form, topic, content_type]) => {
  const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
  const found = form ? as(bytes, form) : read({ bytes, topic, content_type }, "");
  const said = found.node ? laidOut(found.node).said : (found.text ?? null);
  return {
    form: found.form, fault: found.fault?.reason ?? "", at: found.fault?.at ?? -1,
    said: said && (said.length > 4000 ? said.length : said.replace(/\\n */g, "")),
    drawn: found.node ? drawable(found.node, 9).map(pointer) : [],
  };
}));
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("node"))


def read(node: Node, payloads: list[bytes], form: str = "", topic: str = "", kind: str = "") -> list[Any]:
    given = [(base64.b64encode(one).decode(), form, topic, kind) for one in payloads]
    return list(node.run(READ, given))


CBOR = """
00 0 | 17 23 | 1818 24 | 1903e8 1000 | 1b000000e8d4a51000 1000000000000
1bffffffffffffffff 18446744073709551615
c249010000000000000000 18446744073709551616 | 3bffffffffffffffff -18446744073709551616
c349010000000000000000 -18446744073709551617 | 20 -1 | 3903e7 -1000
f90000 0.0 | f98000 -0.0 | f93c00 1.0 | fb3ff199999999999a 1.1 | f93e00 1.5 | f97bff 65504.0
fa47c35000 100000.0
fa7f7fffff 3.4028235e+38 | fb7e37e43c8800759c 1e+300 | f90001 5.9604645e-8 | f90400 0.000061035156
f9c400 -4.0 | fbc010666666666666 -4.1 | f97c00 Infinity | f97e00 NaN | f9fc00 -Infinity | fa7fc00000 NaN
f4 false | f5 true | f6 null | f7 undefined | f0 simple(16) | f8ff simple(255)
c074323031332d30332d32315432303a30343a30305a 0("2013-03-21T20:04:00Z") | c11a514b67b0 1(1363896240)
d74401020304 23(h'01020304') | d818456449455446 24(h'6449455446') | 40 h'' | 4401020304 h'01020304'
60 "" | 6161 "a" | 62225c "\\"\\\\" | 62c3bc "ü" | 63e6b0b4 "水" | 64f0908591 "𐅑"
80 [] | 83010203 [1,2,3] | 8301820203820405 [1,[2,3],[4,5]] | a0 {} | a201020304 {1: 2,3: 4}
a26161016162820203 {"a": 1,"b": [2,3]} | 826161a161626163 ["a",{"b": "c"}]
5f42010243030405ff h'0102030405' | 7f657374726561646d696e67ff "streaming" | 9fff []
9f018202039f0405ffff [1,[2,3],[4,5]]
83018202039f0405ff [1,[2,3],[4,5]] | bf61610161629f0203ffff {"a": 1,"b": [2,3]}
bf6346756ef563416d7421ff {"Fun": true,"Amt": -2}
5fff h'' | 7fff "" | d9d9f783010203 [1,2,3] | c48221196ab3 4([-2,27315]) | a2616101616102 {"a": 1,"a": 2}
"""
"""Appendix A of RFC 8949, and a few more: each with its notation, of which lines are put together here."""

MALFORMED = """
18 19 1a 1b 1901 1a0102 f8 f9 fa fb f900 38 c0 58 78 98 9a01ff00 b8 d8 9bffffffff 41 61 5affffffff00
7affffffff00 5bffffffffffffffff010203 7bffffffffffffffff010203 81 818181 8200 a1 a20102 a100 5f4100 7f6100
9f 9f0102 bf bf01020102 8000ff1c 1c 1d 1e 3c 5c 7c 9c bc dc fc fd fe f800 f801 f81f 5f00ff 5f21ff 5f6100ff
5f80ff 5fc000ff 5fe0ff 7f4100ff 5f5f4100ffff 7f7f6100ffff ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff
9f829f819f9fffffffff bf00ff bf000000ff 1f 3f df df0001 61ff 7f61c361bcff 0000
"""
"""Appendix F of RFC 8949: ends, reserved, and what may not stand within what."""


def pairs(table: str) -> list[tuple[bytes, str]]:
    lines = [one.strip() for line in table.strip().splitlines() for one in line.split(" | ")]
    return [(bytes.fromhex(one.split(" ", 1)[0]), one.split(" ", 1)[1]) for one in lines]


def test_cbor_says_what_its_specification_says(node: Node) -> None:
    wanted = pairs(CBOR)
    found = read(node, [one for one, _ in wanted], "cbor")
    assert [(one["fault"], one["said"]) for one in found] == [("", said) for _, said in wanted]


def test_what_is_no_cbor_is_refused(node: Node) -> None:
    payloads = [bytes.fromhex(one) for one in MALFORMED.split()]
    found = read(node, payloads, "cbor")
    assert [one["fault"] for one, said in zip(found, payloads, strict=True) if not one["fault"]] == []
    assert all(0 <= one["at"] <= len(said) for one, said in zip(found, payloads, strict=True))


PACKED = """
00 0 | 7f 127 | e0 -32 | ff -1 | cc80 128 | cdffff 65535 | ceffffffff 4294967295
cfffffffffffffffff 18446744073709551615
d080 -128 | d18000 -32768 | d280000000 -2147483648 | d38000000000000000 -9223372036854775808
c0 null | c2 false | c3 true | ca41ac0000 21.5 | ca3dcccccd 0.1 | cb3ff199999999999a 1.1 | ca7fc00000 NaN
a0 "" | a161 "a" | d90161 "a" | da000161 "a" | db0000000161 "a" | a1ff h'ff' | c400 h'' | c40101 h'01'
c5000101 h'01'
c60000000101 h'01' | 90 [] | 93010203 [1,2,3] | dc000101 [1] | dd0000000101 [1] | 80 {} | 81a16101 {"a": 1}
de0001a16101 {"a": 1} | df00000001a16101 {"a": 1} | 810102 {1: 2} | 82a16101a16102 {"a": 1,"a": 2}
d4050a ext 5, (h'0a') | d50501ff ext 5, (h'01ff') | c7000a ext 10, (h'') | c8000205ffff ext 5, (h'ffff')
d6ff00000000 time("1970-01-01T00:00:00Z") | d6ffffffffff time("2106-02-07T06:28:15Z")
d7ff0000000400000001 time("1970-01-01T00:00:01.000000001Z")
c70cff000000010000000000000000 time("1970-01-01T00:00:00.000000001Z")
c70cff00000000ffffffffffffffff time("1969-12-31T23:59:59Z")
c70cffffffffff0000000000000000 ext -1, (h'ffffffff0000000000000000')
"""
NOT_PACKED = (
    "c1 cc cd00 cf00 d9 a161a1 91 92c0 81a161 c4 c402ff"
    " ddffffffff00 dfffffffff00 c6ffffffff00 d6ff00 0000 c9ffffffff05"
)


def test_messagepack_says_what_its_specification_says(node: Node) -> None:
    wanted = pairs(PACKED)
    found = read(node, [one for one, _ in wanted], "msgpack")
    assert [(one["fault"], one["said"]) for one in found] == [("", said) for _, said in wanted]
    refused = read(node, [bytes.fromhex(one) for one in NOT_PACKED.split()], "msgpack")
    assert [one["said"] for one in refused if not one["fault"]] == []


def field(number: int, value: int | float | str | bytes | bool, long: bool = True) -> bytes:
    """One field of Protocol Buffers."""
    if isinstance(value, float):
        return varint(number << 3 | (1 if long else 5)) + struct.pack("<d" if long else "<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    value %= 1 << 64
    said = bytearray()
    while value > 127:
        said.append(value & 127 | 128)
        value >>= 7
    return bytes([*said, value])


def metric(name: str, datatype: int, value: bytes) -> bytes:
    return field(2, field(1, name) + field(4, datatype) + value)


def test_sparkplug_says_what_its_schema_says(node: Node) -> None:
    properties = field(1, "unit") + field(2, field(1, 12) + field(8, "°C"))
    rows = field(4, field(1, field(1, 2**32 - 1)) + field(1, field(6, "x")))
    payload = b"".join(
        (
            field(1, 1486144502122),
            metric("temp", 9, field(12, 21.5, long=False) + field(9, properties)),
            metric("int8", 1, field(10, 255)),
            metric("int64", 4, field(11, -(2**63))),
            metric("uint64", 8, field(11, 2**64 - 1)),
            metric("on", 11, field(14, True)),
            metric("none", 12, field(7, True)),
            metric("bits", 32, field(16, bytes.fromhex("0c00000034d0"))),
            metric("words", 33, field(16, b"ABC\x00hello\x00")),
            metric("numbers", 23, field(16, bytes.fromhex("3075"))),
            metric("table", 16, field(17, field(1, 2) + field(2, "a") + field(2, "b") + field(3, 3) + rows)),
            metric("kind", 19, field(18, field(1, "1") + metric("inner", 10, field(13, 1.5)))),
            field(2, field(2, 7) + field(3, 5) + field(10, 1)),
            field(3, 255),
            field(9, b"\xff"),
        )
    )
    topic = "spBv1.0/plant/NBIRTH/edge"
    (found,) = read(node, [payload], topic=topic)
    assert (found["form"], found["fault"]) == ("sparkplug", "")
    assert found["said"] == (
        '{"timestamp": 1486144502122,"metrics": {'
        '"temp": {"value": 21.5,"type": "Float","properties": {"unit": "°C"}},'
        '"int8": {"value": -1,"type": "Int8"},'
        '"int64": {"value": -9223372036854775808,"type": "Int64"},'
        '"uint64": {"value": 18446744073709551615,"type": "UInt64"},'
        '"on": {"value": true,"type": "Boolean"},'
        '"none": {"value": null,"type": "String"},'
        '"bits": {"value": [false,false,true,true,false,true,false,false,true,true,false,true],'
        '"type": "BooleanArray"},'
        '"words": {"value": ["ABC","hello"],"type": "StringArray"},'
        '"numbers": {"value": [30000],"type": "Int16Array"},'
        '"table": {"value": {"num_of_columns": 2,"columns": ["a","b"],"types": ["Int32"],'
        '"rows": [[4294967295,"x"]]},'
        '"type": "DataSet"},'
        '"kind": {"value": {"version": "1","metrics": {"inner": {"value": 1.5,"type": "Double"}}},'
        '"type": "Template"},'
        '"alias 7": {"value": 1,"alias": 7,"timestamp": 5}},"seq": 255,"? 9": h\'ff\'}'
    )
    cut = [payload[:length] for length in range(len(payload))]
    for one in read(node, cut, "sparkplug"):
        assert one["fault"] or one["said"]
    assert all(one["form"] != "sparkplug" for one in read(node, cut[1:7], topic=topic))
    wrong = [
        b"\x00\x00",
        b"\x0b\x0c",
        b"\x08" + b"\xff" * 10,
        b"\x08" + b"\xff" * 11,
        b"\x12\x7f\x08",
        b"\x12\x02\x12\x7f",
    ]
    assert [one["fault"] for one in read(node, wrong, "sparkplug") if not one["fault"]] == []


RECOGNISED = [
    (b'{"a": 9007199254740993}', "", "", "json"),
    (b"21.5", "", "", "text"),
    (b"21.5", "", "application/json", "json"),
    (b"[1", "", "application/json", "text"),
    (b"\xa1\x61a\x01", "", "", "cbor"),
    (b"\x81\xa1a\x01", "", "", "msgpack"),
    (b"\x82\x01\x02", "", "", "cbor"),
    (b"\x93\x01\x02\x03", "", "application/x-msgpack", "msgpack"),
    (b"\x18\x2a", "", "application/senml+cbor", "cbor"),
    (b"\x18\x2a", "", "", "hex"),
    (b"\xff\xd8\xff\xe0JFIF", "", "", "hex"),
    (b"\x1f\x8b\x08", "", "application/cbor", "hex"),
    (b"\x08\x01", "spBv1.0/g/NDATA/n", "", "sparkplug"),
    (b"\x08\x01", "spBv1.0/g/DCMD/n/d", "", "sparkplug"),
    (b'{"online":true}', "spBv1.0/STATE/host", "", "json"),
    (b"\x00", "", "", "hex"),
    (b"valid, and then \xff", "", "", "hex"),
    (b"\x1b[31mred", "", "", "hex"),
    (b"", "", "", "text"),
]


def test_forms_are_recognised(node: Node) -> None:
    given = [(base64.b64encode(payload).decode(), "", topic, kind) for payload, topic, kind, _ in RECOGNISED]
    assert [one["form"] for one in node.run(READ, given)] == [form for *_, form in RECOGNISED]


def test_json_keeps_its_numbers_and_its_keys(node: Node) -> None:
    wanted = {
        '{"a":9007199254740993,"a":1.10}': '{"a": 9007199254740993,"a": 1.10}',
        '[1e400, -0, "\\ud800", "\\u00e9\\n", true, null]': '[1e400,-0,"\\ud800","é\\n",true,null]',
        " 7 ": "7",
    }
    found = read(node, [one.encode() for one in wanted], "json")
    assert [one["said"] for one in found] == list(wanted.values())
    wrong = [
        "",
        "NaN",
        "[1,]",
        "{,}",
        '{"a"}',
        "{a:1}",
        "[01]",
        "[1]]",
        '"\n"',
        '"\\x"',
        '"',
        '"\\',
        "[",
        "[1 2]",
        "+1",
        "1.",
    ]
    assert [
        one["said"] for one in read(node, [one.encode() for one in wrong], "json") if not one["fault"]
    ] == []


def test_hostile_bytes_cost_little_and_break_nothing(node: Node) -> None:
    generator = random.Random(7)
    noise = [generator.randbytes(generator.randrange(40)) for _ in range(500)]
    deep = [
        b"[" * 100_000,
        b"\x81" * 100_000,
        b"\x91" * 100_000,
        b"\xc1" * 100_000,
        b"\xa1" * 100_000,
        b'{"a":' * 90_000,
    ]
    many = [b"[" + b"1," * 400_000 + b"1]", b"\x9f" + b"\x01" * 900_000, b"\x01" * 900_000]
    nested = b"\x12" * 200 + b"\x00"
    for _ in range(300):
        nested = field(18, field(2, nested))
    fields = b"".join(field(number, 1) for number in range(6, 150_000))
    for form in ("json", "cbor", "msgpack", "sparkplug"):
        found = read(node, [*deep, *many, nested, field(2, nested), fields, *noise], form)
        assert [one["fault"] for one in found[: len(deep)]].count("") == 0, form
        assert all(one["fault"] or one["said"] is not None for one in found)


def test_what_can_be_drawn_is_found(node: Node) -> None:
    said = (
        b'{"a.b":{"0-0:1.0.0":"13963"},"on":true,"state":"OPEN","list":[1,"x"],'
        b'"t":"21.5 C","z":null,"d":"2026-11-29","a/~":1e999}'
    )
    (found,) = read(node, [said])
    assert found["drawn"] == ["/a.b/0-0:1.0.0", "/on", "/state", "/list/0", "/t"]


COMPARE = """
import { changes, lines, rows } from "./diff.js";
import { readJson } from "./json.js";
import { brief, pointer } from "./values.js";
const bytes = (said) => Uint8Array.from(Buffer.from(said, "hex"));
tell({
  parts: given.parts.map(([one, other]) => changes(readJson(one), readJson(other))
    .map(({ path, before, after }) => [pointer(path), brief(before), brief(after)])),
  lines: given.lines.map((both) => lines(...both).map((line) => line.mark + (line.said ?? line.count))),
  rows: given.rows.map(([one, other]) => rows(bytes(one), bytes(other)).map((row) => row.at)),
  many: lines(given.many[0], given.many[1]).length,
});
"""


def test_what_has_changed_is_found_and_nothing_else(node: Node) -> None:
    ten = [str(number) for number in range(10)]
    parts = {
        ('{"a":1,"b":[1,2]}', '{"b":[1,3,4],"c":null}'): [
            ["/a", "1", ""],
            ["/b/1", "2", "3"],
            ["/b/2", "", "4"],
            ["/c", "", "null"],
        ],
        ('{"a":1,"b":2}', '{"b":2,"a":1}'): [],
        ("[9007199254740993]", "[9007199254740992]"): [["/0", "9007199254740993", "9007199254740992"]],
        ('{"a":1,"a":2}', '{"a":1,"a":3}'): [["/a", "2", "3"]],
        ('{"a/~":"1"}', '{"a/~":1}'): [["/a~1~0", '"1"', "1"]],
        ('{"__proto__":1}', '{"__proto__":2}'): [["/__proto__", "1", "2"]],
        ("1", "[]"): [["", "1", "[]"]],
    }
    lines = {
        ("\n".join(ten), "\n".join([*ten[:5], "new", *ten[6:]])): [
            "…3",
            " 3",
            " 4",
            "-5",
            "+new",
            " 6",
            " 7",
            "…2",
        ],
        ("a\nb\nc", "b\nc\nd"): ["-a", " b", " c", "+d"],
        ("a", "a"): ["…1"],
    }
    rows = {("00" * 40, "00" * 17 + "01" + "00" * 22): [16], ("00", ""): [0], ("", ""): []}
    many = ["\n".join(f"{side}{number}" for number in range(200_000)) for side in "ab"]
    given = {"parts": [*parts], "lines": [*lines], "rows": [*rows], "many": many}
    found = node.run(COMPARE, given)
    assert found["parts"] == [*parts.values()]
    assert found["lines"] == [*lines.values()]
    assert found["rows"] == [*rows.values()]
    assert found["many"] < 500


HEAR = """
import { hear, merge, past } from "./past.js";
const payload = (size) => ({ size, shown: size, text: "x".repeat(size), base64: null });
const message = (written_at, size) => ({ topic: "", written_at, payload: payload(size) });
const said = (values) => values.map((one) => [one.time, one.message?.payload.size ?? null, one.is_later]);
for (let second = 0; second < 1000; second += 1) hear("fast", message(second, 10), second);
for (let second = 0; second < 100; second += 1) hear("large", message(second, 60_000), second);
const told = { large: hear("large", message(99, 60_000), 100).length };
hear("a", message(5, 1), 6);
hear("a", message(5, 1), 7);
hear("a", message(7, 1), 8);
hear("a", message(90, 2), 100);
hear("a", null, 101);
hear("a", null, 102);
told.a = said(hear("a", message(103, 3), 103));
const kept = (...times) => times.map((time) => ({ time, message: message(time, 9), is_later: false }));
merge("a", kept(80, 95, 110), true);
merge("a", kept(110, 120), false);
told.merged = said(past("a").values);
told.old = hear("fast", null, 2000).length;
for (let second = 0; second < 1000; second += 1) told.fast = hear("fast", message(second, 10), second).length;
tell(told);
"""


def test_values_that_came_are_kept_within_bounds_and_gaps_are_known(node: Node) -> None:
    found = node.run(HEAR, None)
    assert found["large"] <= 2**21 / 60_000 + 1
    assert found["old"] == 0  # the large ones needed the room
    assert found["fast"] == 300
    assert found["merged"] == [
        *([5, 1, False], [7, 1, False]),
        *([80, 9, True], [95, 9, False], [110, 9, False], [110, 9, False], [120, 9, False]),
    ]
    assert found["a"] == [
        [5, 1, False],
        [7, 1, False],
        [90, 2, True],
        [101, None, False],
        [103, 3, False],
    ]
