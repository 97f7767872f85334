"""The PROXY protocol's header, byte for byte: what is taken, what is refused, however it is cut."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.net.layer import LayerError
from curier.net.layers import Layers
from curier.net.proxy_protocol import MAX_HEADER_BYTES, SIGNATURE, ProxyHeader, crc32c, version_of

SOCKET = "127.0.0.1:40000"
MQTT = bytes.fromhex("101000044d5154540402003c000464657631")

FOUR = IPv4Address("192.0.2.1").packed + IPv4Address("192.0.2.2").packed + struct.pack("!HH", 56324, 1883)
SIX = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + struct.pack("!HH", 56324, 1883)


def tlv(kind: int, value: bytes) -> bytes:
    """A type, length and value."""
    return struct.pack("!BH", kind, len(value)) + value


def v2(body: bytes = FOUR, family: int = 0x11, command: int = 0x21) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def tls(client: int, verify: int, *values: bytes) -> bytes:
    return tlv(0x20, struct.pack("!BI", client, verify) + b"".join(values))


def signed(before: bytes, after: bytes = b"") -> bytes:
    """A header with a right checksum between other values."""
    header = v2(FOUR + before + tlv(3, bytes(4)) + after)
    at = 16 + len(FOUR) + len(before) + 3
    return header[:at] + struct.pack("!I", crc32c(header)) + header[at + 4 :]


NAME = tlv(0x22, b"dev-1")
VERSION = tlv(0x21, b"TLSv1.3")

TAKEN = {
    "v1 tcp4": (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 1883\r\n", "192.0.2.1:56324"),
    "v1 tcp6": (b"PROXY TCP6 2001:db8::1 ::1 56324 1883\r\n", "[2001:db8::1]:56324"),
    "v1 tcp6 in full": (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::1 1 2\r\n", "[2001:db8::1]:1"),
    "v1 tcp4 in tcp6": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1"),
    "v1 port 0": (b"PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n", "192.0.2.1:0"),
    "v1 longest": (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", SOCKET),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", SOCKET),
    "v1 unknown with addresses": (b"PROXY UNKNOWN 10.0.0.1 10.0.0.2 1 2\r\n", SOCKET),
    "v2 tcp4": (v2(), "192.0.2.1:56324"),
    "v2 tcp6": (v2(SIX, 0x21), "[2001:db8::1]:56324"),
    "v2 udp4": (v2(FOUR, 0x12), "192.0.2.1:56324"),
    "v2 udp6": (v2(SIX, 0x22), "[2001:db8::1]:56324"),
    "v2 unix": (v2(b"/client".ljust(108, b"\0") * 2, 0x31), SOCKET),
    "v2 tcp4 in tcp6": (v2(IPv6Address("::ffff:192.0.2.1").packed + SIX[16:], 0x21), "192.0.2.1:56324"),
    "v2 local": (v2(b"", 0, 0x20), SOCKET),
    "v2 local with an address": (v2(FOUR, 0x11, 0x20), SOCKET),
    "v2 local with rubbish": (v2(b"\xff" * 300, 0x77, 0x20), SOCKET),
    "v2 unspecified": (v2(b"\xff" * 20, 0), SOCKET),
    "v2 endpoint of a balancer": (v2(FOUR + tlv(0xEA, b"\1vpce-08d2bf15")), "192.0.2.1:56324"),
    "v2 empty value": (v2(FOUR + tlv(0x04, b"") + tlv(0x02, b"")), "192.0.2.1:56324"),
    "v2 unknown twice": (v2(FOUR + tlv(0xEA, b"1") * 2), "192.0.2.1:56324"),
    "v2 namespace": (v2(FOUR + tlv(0x30, b"blue")), "192.0.2.1:56324"),
    "v2 checksum": (signed(b""), "192.0.2.1:56324"),
    "v2 checksum among others": (signed(tlv(4, bytes(9)), tlv(5, b"id")), "192.0.2.1:56324"),
    "v2 largest": (v2(FOUR + tlv(4, bytes(MAX_HEADER_BYTES - 31))), "192.0.2.1:56324"),
}

REFUSED = {
    "mqtt": (
        MQTT,
        "is expected here, and the connection begins with MQTT: the proxy has to be told to send one",
    ),
    "tls": (b"\x16\x03\x01\x02\x00", "begins with TLS:"),
    "http": (b"GET / HTTP/1.1\r\n", "begins with HTTP:"),
    "lower case": (b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "begins with something else:"),
    "almost v2": (SIGNATURE[:11] + b"\r", "begins with something else:"),
    "v1 no end": (b"PROXY TCP4 192.0.2.1 " + b"1" * 90, "without an end in 107 bytes"),
    "v1 unknown too long": (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "without an end in 107 bytes"),
    "v1 newline alone": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" + bytes(80), "without an end"),
    "v1 two in a line": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 PROXY TCP4 1.1.1.1\r\n", "malformed"),
    "v1 newline within": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\nPROXY TCP4 3.3.3.3 4.4.4.4 1 2\r\n", "malformed"),
    "v1 nothing": (b"PROXY \r\n", "malformed"),
    "v1 family": (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
    "v1 unknown-ish": (b"PROXY UNKNOWN2 192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
    "v1 two spaces": (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
    "v1 space at the end": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "malformed"),
    "v1 tab": (b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
    "v1 no ports": (b"PROXY TCP4 192.0.2.1 192.0.2.2\r\n", "malformed"),
    "v1 port too large": (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "malformed"),
    "v1 port with zeros": (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "malformed"),
    "v1 port with a sign": (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "malformed"),
    "v1 other digits": ("PROXY TCP4 192.0.2.1 192.0.2.2 ١ 2\r\n".encode(), "malformed"),
    "v1 v6 as v4": (b"PROXY TCP4 ::1 ::2 1 2\r\n", "malformed"),
    "v1 v4 as v6": (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
    "v1 address with zeros": (b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n", "malformed"),
    "v1 scope": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "malformed"),
    "v1 bad target": (b"PROXY TCP4 192.0.2.1 example 1 2\r\n", "malformed"),
    "v1 nul": (b"PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", "malformed"),
    "v2 version 1": (v2(command=0x11), "version and command 0x11"),
    "v2 command 2": (v2(command=0x22), "version and command 0x22"),
    "v2 family": (v2(family=0x41), "unknown family and transport 0x41"),
    "v2 transport": (v2(family=0x13), "unknown family and transport 0x13"),
    "v2 family without transport": (v2(family=0x10), "unknown family and transport 0x10"),
    "v2 short": (v2(FOUR[:11]), "too short"),
    "v2 v4 as v6": (v2(FOUR, 0x21), "too short"),
    "v2 too large": (v2(FOUR + bytes(MAX_HEADER_BYTES)), f"{MAX_HEADER_BYTES} are the most"),
    "v2 announced too large": (SIGNATURE + b"\x21\x11\xff\xff", "a PROXY header of 65551 bytes"),
    "v2 value cut off": (v2(FOUR + b"\x02\x00"), "last value is cut off"),
    "v2 value past the end": (v2(FOUR + b"\xea\x00\x05abcd"), "type 0xEA runs past its end"),
    "v2 inner past the end": (v2(FOUR + tls(1, 0, b"\x21\x00\x08TLSv1.3")), "type 0x21 runs past its end"),
    "v2 two of tls": (v2(FOUR + tls(1, 0) * 2), "two values of type 0x20"),
    "v2 two names": (v2(FOUR + tls(3, 0, NAME, NAME)), "two values of type 0x22"),
    "v2 tls too short": (v2(FOUR + tlv(0x20, b"\1\0\0\0")), "malformed where it tells of TLS"),
    "v2 wrong checksum": (v2(FOUR + tlv(3, b"\1\2\3\4")), "checksum (CRC32C) is wrong"),
    "v2 checksum of 3": (v2(FOUR + tlv(3, bytes(3))), "a checksum of 3 bytes"),
    "v2 long identifier": (v2(FOUR + tlv(5, bytes(129))), "unique identifier of 129 bytes"),
    "v2 name with nul": (
        v2(FOUR + tls(3, 0, tlv(0x22, b"admin\0x"))),
        "characters in the Common Name that cannot be shown",
    ),
    "v2 name with newline": (
        v2(FOUR + tls(3, 0, tlv(0x22, b"a\nb"))),
        "characters in the Common Name that cannot be shown",
    ),
    "v2 name with a blank": (v2(FOUR + tls(3, 0, tlv(0x22, b"admin "))), "begins or ends with a blank"),
    "v2 name with a direction": (v2(FOUR + tls(3, 0, tlv(0x22, "a\u202eb".encode()))), "cannot be shown"),
    "v2 name in latin 1": (v2(FOUR + tls(3, 0, tlv(0x22, b"m\xfcller"))), "not UTF-8"),
    "v1 after v1": (b"PROXY UNKNOWN\r\nPROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "a second PROXY header"),
    "v2 after v1": (b"PROXY UNKNOWN\r\n" + v2(), "a second PROXY header"),
    "v1 after v2": (v2() + b"PROXY UNKNOWN\r\n", "a second PROXY header"),
    "v2 after v2": (v2(b"", 0, 0x20) + v2(), "a second PROXY header"),
}


def header_of(data: bytes, takes_certificate: bool = True) -> ProxyHeader:
    """The layer, after a header with nothing behind it."""
    layer = ProxyHeader(SOCKET, takes_certificate)
    assert layer.receive(data) == b""
    return layer


def feed(layer: ProxyHeader, data: bytes, cuts: list[int]) -> bytes:
    """What comes out of ``data`` in pieces."""
    ends = sorted(cut % (len(data) + 1) for cut in cuts)
    return b"".join(
        layer.receive(data[start:end]) for start, end in zip([0, *ends], [*ends, len(data)], strict=True)
    )


@pytest.mark.parametrize(("header", "address"), TAKEN.values(), ids=TAKEN.keys())
def test_taken(header: bytes, address: str) -> None:
    whole = header_of(header)
    assert (whole.address, whole.is_open, whole.is_forwarded) == (address, True, address != SOCKET)
    assert whole.receive(MQTT) == MQTT
    single = ProxyHeader(SOCKET)
    out = b"".join(single.receive(bytes([byte])) for byte in header + MQTT)
    assert (out, single.address) == (MQTT, address)


@pytest.mark.parametrize(("data", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: bytes, why: str) -> None:
    layer = ProxyHeader(SOCKET, takes_certificate=True)
    with pytest.raises(LayerError) as error:
        layer.receive(data)
    assert why in str(error.value)
    single = ProxyHeader(SOCKET, takes_certificate=True)
    with pytest.raises(LayerError) as error:
        feed(single, data, list(range(len(data))))
    assert why.partition("begins with ")[0] in str(error.value)  # what it is, the first byte does not tell


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (
            bytes.fromhex("100d00044d5154540502003c000000"),
            b"\x20\x41\0\x83\x3e\x1f\0\x3bthis port is for proxies",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (MQTT, b""),
        (b"\x16\x03\x01\x02\0", b""),
    ],
)
def test_who_comes_without_a_proxy_is_told_as_far_as_possible(data: bytes, answer: bytes) -> None:
    layers = Layers([ProxyHeader(SOCKET)])
    with pytest.raises(LayerError):
        layers.receive(data)
    told = layers.take()
    assert told.startswith(answer)
    assert bool(told) == bool(answer)


@pytest.mark.parametrize("header", [case[0] for case in TAKEN.values()], ids=TAKEN.keys())
def test_cut_short_it_waits(header: bytes) -> None:
    for end in range(len(header)) if len(header) < 400 else (0, 15, 16, 27, 28, len(header) - 1):
        layer = ProxyHeader(SOCKET)
        assert layer.receive(header[:end]) == b""
        assert (layer.is_open, layer.address) == (False, SOCKET)


@given(
    st.sampled_from(sorted(TAKEN)),
    st.binary(max_size=40).filter(lambda rest: version_of(rest) == 0),
    st.lists(st.integers(min_value=0), max_size=6),
)
def test_any_cut_gives_the_same(name: str, rest: bytes, cuts: list[int]) -> None:
    header, address = TAKEN[name]
    layer = ProxyHeader(SOCKET)
    assert feed(layer, header + rest, cuts) == rest
    assert layer.address == address


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda body: v2(body)),
        st.binary(max_size=300).map(lambda values: v2(FOUR + values)),
        st.binary(max_size=120).map(lambda line: b"PROXY " + line + b"\r\n"),
        st.binary(max_size=60).map(lambda value: v2(FOUR + tls(7, 0, value))),
    ),
    st.lists(st.integers(min_value=0), max_size=4),
)
def test_any_bytes_give_one_answer_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    answers: list[object] = []
    for pieces in ([], cuts):
        layer = ProxyHeader(SOCKET, takes_certificate=True)
        try:
            answers.append((feed(layer, data, pieces), layer.address, layer.certificate_name))
        except LayerError as error:
            answers.append(str(error).partition("begins with ")[0])
    assert answers[0] == answers[1]


@given(st.ip_addresses(v=4), st.integers(0, 65535), st.lists(st.tuples(st.integers(0x40, 0xFF), st.binary())))
def test_every_address_of_version_2(host: IPv4Address, port: int, values: list[tuple[int, bytes]]) -> None:
    body = host.packed + bytes(4) + struct.pack("!HH", port, 1883) + b"".join(tlv(*value) for value in values)
    if len(body) + 16 <= MAX_HEADER_BYTES:
        assert header_of(v2(body)).address == f"{host}:{port}"


def test_what_a_tls_proxy_tells() -> None:
    layer = header_of(
        v2(
            FOUR
            + tlv(1, b"mqtt")
            + tlv(2, b"broker.example")
            + tlv(5, b"\1\2")
            + tls(7, 0, VERSION, NAME, tlv(0x23, b"ECDHE"))
        )
    )
    assert (layer.alpn, layer.authority, layer.unique_id) == ("mqtt", "broker.example", b"\1\2")
    assert (layer.tls_version, layer.has_verified_certificate) == ("TLSv1.3", True)
    assert layer.certificate_name == "dev-1"


@pytest.mark.parametrize(
    ("values", "is_verified", "name"),
    [
        (tls(3, 0, NAME), True, "dev-1"),
        (tls(5, 0, NAME), True, "dev-1"),  # in a session that was resumed
        (tls(1, 0, NAME), False, None),  # none was shown
        (tls(0, 0, NAME), False, None),  # no TLS at all
        (tls(6, 0, NAME), False, None),
        (tls(7, 1, NAME), False, None),  # it could not be verified
        (tls(7, 0), True, None),
        (tls(7, 0, tlv(0x22, b"")), True, None),
        (tls(7, 0, tlv(0x22, "Zoë/+#".encode())), True, "Zoë/+#"),
        (NAME, False, None),  # outside of what it belongs to
    ],
)
def test_whose_certificate_it_was(values: bytes, is_verified: bool, name: str | None) -> None:
    layer = header_of(v2(FOUR + values))
    assert (layer.has_verified_certificate, layer.certificate_name) == (is_verified, name)


def test_no_name_is_taken_unasked() -> None:
    layer = header_of(v2(FOUR + tls(7, 0, tlv(0x22, b"a\0b"))), takes_certificate=False)
    assert (layer.has_verified_certificate, layer.certificate_name) == (True, None)


def test_local_tells_nothing() -> None:
    layer = header_of(v2(FOUR + tlv(2, b"n") + tls(7, 0, NAME), command=0x20))
    assert (layer.address, layer.authority, layer.certificate_name) == (SOCKET, "", None)


def test_what_goes_down_is_left_alone() -> None:
    layer = ProxyHeader(SOCKET)
    assert not layer.is_open
    layer.receive(v2())
    assert (layer.send(MQTT), layer.answers(), layer.close(1000)) == ([MQTT], b"", b"")
    assert not layer.is_ended


def test_what_only_begins_like_a_second_header_goes_up() -> None:
    layer = header_of(v2())
    assert layer.receive(b"P") == b""
    assert layer.receive(b"R") == b""
    assert layer.receive(b"I * HTTP/2.0") == b"PRI * HTTP/2.0"
    assert layer.receive(b"PROXY ") == b"PROXY "  # in midstream it is data


def test_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value that catalogues give
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
