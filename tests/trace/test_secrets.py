"""A password never gets into a recording, whatever the CONNECT around it is like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Connect, Puback, Will
from curier.codec.properties import Properties
from curier.trace.secrets import without_password

SECRET = b"correct horse"


def connect(version: int, with_will: bool) -> bytes:
    properties = Properties()
    properties.session_expiry_interval = 300
    will = Will("w", b"gone") if with_will else None
    return encode(
        Connect(version, "me", True, 60, "ann", SECRET, will, properties if version == 5 else None), version
    )


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("with_will", [False, True])
def test_zeros_stand_in_the_place_of_a_password_and_all_else_stays(version: int, with_will: bool) -> None:
    packet = connect(version, with_will)
    told = without_password(packet)
    assert len(told) == len(packet)
    shown = decode(told, 0, len(told), version)
    assert isinstance(shown, Connect)
    assert shown.password == bytes(len(SECRET))
    assert told.replace(bytes(len(SECRET)), SECRET) == packet


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 255))
def test_nothing_of_it_is_left_where_the_packet_is_cut_short_or_wrong(end: int, at: int, byte: int) -> None:
    packet = bytearray(connect(5, True))
    if 1 <= at < packet.index(SECRET) and at != 9:  # Connect Flags may say that there is none
        packet[at] = byte
    cut = bytes(packet[:end])
    told = without_password(cut)
    assert len(told) == len(cut)
    if cut[:1] == b"\x10" and at != 9:
        assert SECRET not in told


def test_packets_without_a_password_stay_as_they_are() -> None:
    for packet in (encode(Connect(5, "me"), 5), encode(Puback(7), 5), b"", b"\x10"):
        assert without_password(packet) == packet
