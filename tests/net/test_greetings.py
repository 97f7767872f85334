"""Who comes to the wrong door is told apart in the log."""

from __future__ import annotations

import logging

import pytest

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.properties import Properties
from curier.greetings import greeting
from curier.net.tls_words import told_in_mqtt
from tests.net.harness import Peer, running
from tests.waiting import until

HTTP_NEEDS = "HTTP, and WebSocket with it, needs a listener of ws:// or wss://"
PROXY_NEEDS = "a PROXY header needs a listener with proxy_protocol"
STRANGERS = {
    "proxy 1": (b"PROXY TCP4 10.0.0.1 10.0.0.2 4711 1883\r\n", "a PROXY header (version 1)", PROXY_NEEDS),
    "proxy 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), "a PROXY header (version 2)", PROXY_NEEDS),
    "tls": (
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(32),
        "TLS",
        "TLS needs a listener of tls:// or wss://",
    ),
    "http": (b"GET /mqtt HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP", HTTP_NEEDS),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP", HTTP_NEEDS),
}


@pytest.mark.parametrize(("first", "what", "way_out"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_who_does_not_speak_mqtt_is_named(
    first: bytes, what: str, way_out: str, use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    async with running(use_reactor) as broker, await Peer.open(broker.port) as peer:
        await peer.send(first)
        told = await peer.reader.read()
        words = f"this looks like {what}, which is not spoken at this listener; {way_out}"
        await until(lambda: any(words in line for line in caplog.messages))
        assert broker.core.statistics.protocol_errors == 1
        assert broker.core.traffic.packets_sent == 0
    if what == "HTTP":
        assert told.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert told.endswith(f"\r\n\r\nThis port speaks MQTT. {way_out}.\n".encode())
    else:
        assert told == b""


async def test_who_only_looks_whether_the_door_is_open_is_not(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    async with running(use_reactor) as broker:
        caplog.clear()
        for _ in range(3):
            await (await Peer.open(broker.port)).close()
        await until(lambda: broker.core.statistics.accepted == 3 and not broker.core.connections)
        assert caplog.messages == []


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (bytes.fromhex("101000044d5154540402003c000464657631"), "MQTT"),
        (bytes.fromhex("109801000 64d514973647003".replace(" ", "")), "MQTT"),
        (b"\x10\x10", ""),
        (b"PROX", ""),
        (b"SSH-2.0-OpenSSH_9.2", ""),
        (b"", ""),
    ],
)
def test_greetings(first: bytes, what: str) -> None:
    assert greeting(first) == what


def connect(maximum: int | None) -> bytes:
    properties = Properties()
    properties.user_properties.append(("a", "b"))
    properties.receive_maximum = 10
    properties.maximum_packet_size = maximum
    properties.authentication_method = "m"
    return encode(p.Connect(5, "c", True, 0, properties=properties), 5)


def told(first: bytes) -> str | None:
    """The Reason String of a refusal; None where nothing is said."""
    packet = told_in_mqtt(first, "words")
    if not packet:
        return None
    connack = decode(packet, 0, len(packet), 5)
    assert isinstance(connack, p.Connack)
    assert connack.reason_code == 0x83
    return connack.properties.reason_string if connack.properties is not None else ""


@pytest.mark.parametrize(
    ("maximum", "words"), [(None, "words"), (13, "words"), (12, ""), (5, ""), (4, None), (1, None)]
)
def test_a_refusal_in_mqtt_is_no_larger_than_the_client_takes(maximum: int | None, words: str | None) -> None:
    assert told(connect(maximum)) == words


def test_as_long_as_that_is_not_known_the_shortest_is_said() -> None:
    whole = connect(None)
    for size in range(9, len(whole) + 1):
        assert told(whole[:size]) == ("" if size < whole.index(b"b") else "words")
