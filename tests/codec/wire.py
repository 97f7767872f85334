"""A notation for the bytes of a Control Packet, short enough to read and plain enough to check by hand.

    30 ('a/b' {23 0001} <00ff> 78)

- ``0001``: bytes in hexadecimal; spaces mean nothing.
- ``'a/b'``: a UTF-8 Encoded String: two bytes of length, then the text.
- ``<00ff>``: Binary Data: two bytes of length, then the bytes.
- ``(...)``: a Remaining Length and what it counts.
- ``{...}``: a Property Length and the Properties it counts; nothing at all before 5.0.

The lengths are computed here without the codec's help.
"""

from __future__ import annotations

import re

TOKEN = re.compile(r"\s*([(){}]|'[^']*'|<[0-9a-f ]*>|[0-9a-f]+)\s*")


def varint(value: int) -> bytes:
    """The encoding algorithm of section 1.5.5, as it stands there."""
    encoded = b""
    while True:
        byte = value % 128
        value //= 128
        if value:
            encoded += bytes([byte | 128])
        else:
            return encoded + bytes([byte])


def two(value: int) -> bytes:
    return value.to_bytes(2, "big")


def packet_bytes(notation: str, version: int) -> bytes:
    """The bytes that `notation` means in this version of MQTT."""
    open_groups = [b""]
    pos = 0
    while pos < len(notation):
        match = TOKEN.match(notation, pos)
        assert match, f"{notation!r} cannot be read from {notation[pos:]!r}"
        pos = match.end()
        token = match[1]
        if token in "({":
            open_groups.append(b"")
            continue
        if token == ")" or token == "}":
            inner = open_groups.pop()
            assert token == ")" or version == 5 or not inner, f"{notation!r} has Properties before 5.0"
            piece = b"" if token == "}" and version != 5 else varint(len(inner)) + inner
        elif token[0] == "'":
            text = token[1:-1].encode()
            piece = two(len(text)) + text
        elif token[0] == "<":
            raw = bytes.fromhex(token[1:-1])
            piece = two(len(raw)) + raw
        else:
            piece = bytes.fromhex(token)
        open_groups[-1] += piece
    assert len(open_groups) == 1, f"{notation!r} does not close its groups"
    return open_groups[0]


def resized(raw: bytes, body: bytes) -> bytes:
    """The packet `raw` with another body and a Remaining Length that fits it."""
    return raw[:1] + varint(len(body)) + body


def body_of(raw: bytes) -> bytes:
    """What the Remaining Length of the packet `raw` counts."""
    pos = 1
    while raw[pos] > 127:
        pos += 1
    return raw[pos + 1 :]
