"""The server's WebSocket layer with bytes alone: whom it lets in, what it tells others, and what crosses."""

from __future__ import annotations

import ipaddress
import struct
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.net import upgrade
from curier.net.layer import LayerError
from curier.net.upgrade import site_of
from curier.net.web import WebSocket
from tests.net.test_frames import BINARY, CLOSE, CONTINUED, PING, PONG, TEXT, frame

REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
CONNECT = b"\x10\x0c\0\4MQTT\4\2\0\0\0\0"
PROXY = "192.0.2.1:4711"


def layer(url: str = "ws://0.0.0.0:8083", address: str = PROXY, **settings: Any) -> WebSocket:
    return WebSocket(site_of(Listener(url, **settings)), address)


def opened() -> WebSocket:
    web = layer()
    assert web.receive(REQUEST) == b""
    assert web.answers().startswith(b"HTTP/1.1 101 ")
    assert web.is_open
    return web


def refused(web: WebSocket, request: bytes) -> tuple[bytes, str]:
    """The answer, and what the log is told."""
    assert not web.is_open
    with pytest.raises(LayerError) as caught:
        web.receive(request)
    answer = web.answers()
    assert web.answers() == b""
    assert web.close(1001) == b""
    return answer, str(caught.value)


def fed(web: WebSocket, stream: bytes, step: int) -> str:
    """Give it chunks of ``step`` bytes until there are no more, or it says why it takes none."""
    try:
        for at in range(0, len(stream), step):
            web.receive(stream[at : at + step])
    except LayerError as error:
        return str(error)
    return ""


def with_line(line: bytes) -> bytes:
    return REQUEST.replace(b"Host: h", b"Host: h\r\n" + line)


# ---- whom it lets in ----


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        (b"Sec-WebSocket-Protocol: mqtt\r\n", b"mqtt"),
        (b"Sec-WebSocket-Protocol: mqttv3.1\r\n", b"mqttv3.1"),
        (b"Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", b"mqtt"),
        (b"Sec-WebSocket-Protocol: foo, mqtt\r\n", b"mqtt"),
        (b"sec-websocket-protocol: foo\r\nSEC-WebSocket-Protocol:mqtt\r\n", b"mqtt"),
        (b"Sec-WebSocket-Protocol: MQTT\r\n", b"MQTT"),  # what was offered, or a browser ends it
        (b"", None),
    ],
)
@pytest.mark.statement("5.0/MQTT-6.0.0-4", "3.1.1/MQTT-6.0.0-4")
def test_subprotocols(offer: bytes, chosen: bytes | None) -> None:
    web = layer()
    assert web.receive(REQUEST.replace(b"Sec-WebSocket-Protocol: mqtt\r\n", offer)) == b""
    answer = web.answers()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert web.is_open
    if chosen is None:
        assert b"Sec-WebSocket-Protocol" not in answer
    else:
        assert answer.count(b"\r\nSec-WebSocket-Protocol: " + chosen + b"\r\n") == 1


@pytest.mark.statement("5.0/MQTT-6.0.0-3", "3.1.1/MQTT-6.0.0-3")
def test_a_foreign_subprotocol_is_refused() -> None:
    answer, why = refused(layer(), REQUEST.replace(b"mqtt\r\n\r\n", b"wamp, stomp\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "offer the subprotocol mqtt" in why


def test_the_answer_is_that_of_the_rfc() -> None:
    """Section 1.3."""
    web = layer()
    web.receive(REQUEST.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"dGhlIHNhbXBsZSBub25jZQ=="))
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in web.answers()


@pytest.mark.parametrize(
    "target",
    ["/", "/mqtt", "/mqtt/", "/mqtt?x=1", "/?token=" + "x" * 9000, "http://h/mqtt", "ws://h:80/mqtt/?x"],
)
def test_paths(target: str) -> None:
    web = layer()
    web.receive(REQUEST.replace(b"/mqtt", target.encode()))
    assert web.is_open


@pytest.mark.parametrize("target", ["/MQTT", "/mqtt/x", "/ws", "//mqtt", "mqtt", "http://h/other", "/%01"])
def test_other_paths(target: str) -> None:
    answer, why = refused(layer(), REQUEST.replace(b"/mqtt", target.encode()))
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"here it is at / or /mqtt" in answer
    assert why.startswith("a WebSocket at ")
    assert "\x01" not in why


def test_a_path_of_the_listener() -> None:
    settings: dict[str, Any]
    for settings in ({"url": "ws://h:1/a/b"}, {"paths": ("/a/b/",)}):
        web = layer(**settings)
        web.receive(REQUEST.replace(b"/mqtt", b"/a/b?c"))
        assert web.is_open
        assert refused(layer(**settings), REQUEST)[1] == "a WebSocket at /mqtt; here it is at /a/b"
    for listener in (Listener("ws://h:1", paths=("x",)), Listener("ws://h:1", health_path="x")):
        with pytest.raises(ConfigError, match="'x' cannot be the path of a URL"):
            site_of(listener)


ORIGINS = ("https://a.example", "http://b.example:8080", "https://[2001:db8::1]:444")


@pytest.mark.parametrize(
    ("lines", "may"),
    [
        (b"", True),  # a program
        (b"Origin: https://a.example", True),
        (b"Origin: HTTPS://A.example:443", True),
        (b"Origin: http://b.example:8080", True),
        (b"Origin: https://[2001:db8::1]:444", True),
        (b"Origin: http://a.example", False),
        (b"Origin: https://a.example:444", False),
        (b"Origin: https://a.example.evil.example", False),
        (b"Origin: https://x@a.example", False),
        (b"Origin: https://a.example/", False),
        (b"Origin: null", False),
        (b"Origin:", False),
        (b"Origin: https://a.example:x", False),
        (b"Origin: https://" + b"a" * 300 + b".example", False),
        (b"Origin: https://a.example\r\nOrigin: https://a.example", False),
    ],
)
def test_origins(lines: bytes, may: bool) -> None:
    request = with_line(lines + b"\r\n") if lines else REQUEST
    request = request.replace(b"\r\n\r\nUpgrade", b"\r\nUpgrade")
    every = layer()
    every.receive(request if lines.count(b"Origin") < 2 else REQUEST)
    assert every.is_open  # where no origins are named
    if may:
        web = layer(origins=ORIGINS)
        web.receive(request)
        assert web.is_open
    else:
        answer, why = refused(layer(origins=ORIGINS), request)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert "which is refused: it is not among the origins" in why


def test_an_origin_that_is_none_is_no_setting() -> None:
    with pytest.raises(ConfigError, match=r"'a\.example' is no origin; one is scheme, host and port"):
        layer(origins=("a.example",))


def test_no_extension_is_agreed_on() -> None:
    web = layer()
    web.receive(with_line(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
    assert web.is_open
    assert b"xtension" not in web.answers()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Version: 13", b"Version: 8"), 400),
        ((b"AAAAAAAAAAAAAAAAAAAAAA==", b"AAAA"), 400),
        ((b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b""), 400),
        ((b"Connection: Upgrade", b"Connection: close"), 426),
        ((b"Host: h", b"Host : h"), 400),
        ((b"Host: h", b"Host: h\r\n folded"), 400),
        ((b"Host: h", b"Host: h\0"), 400),
        ((b"Host: h", b"X: a\nX-Forwarded-For: 203.0.113.5"), 400),
        ((b"Host: h", b"Content-Length: 5"), 400),
        ((b"Host: h", b"Transfer-Encoding: chunked"), 400),
        ((b"GET /mqtt HTTP/1.1", b"GET /mqtt"), 400),
        ((b"GET /mqtt HTTP/1.1", b"GET /mq tt HTTP/1.1"), 400),
        ((b"GET", b"POST"), 405),
        ((b"Host: h", b"X: " + b"x" * 20_000), 431),
        ((b"Host: h", b"\r\n".join(b"X%d: x" % n for n in range(200))), 431),
        ((b"Host: h", b"\r\n".join(b"X: " + b"x" * 15_000 for _ in range(5))), 431),
    ],
)
@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_wrong_handshakes(change: tuple[bytes, bytes], status: int, step: int) -> None:
    request = REQUEST.replace(*change)
    web = layer()
    assert fed(web, request, step)
    assert web.answers().startswith(b"HTTP/1.1 %d " % status)


def test_large_headers_that_are_let_in() -> None:
    web = layer()
    web.receive(with_line(b"Cookie: " + b"x" * 9000 + b"\r\nAuthorization: " + b"y" * 16_000))
    assert web.is_open


def test_a_request_without_end_is_bounded() -> None:
    for line, status in ((b"x" * 1000, 431), (b"X: y\r\n" * 150, 431)):
        web = layer()
        web.receive(b"GET / HTTP/1.1\r\n")
        assert fed(web, line * 100, len(line))
        assert web.answers().startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "line",
    [
        b"X:" + b" " * 16_000 + b"\x01",
        b"x" * 16_000,
        b"Connection: " + b", " * 8000,
        b"Sec-WebSocket-Protocol: " + b"a," * 8000,
        b"Sec-WebSocket-Extensions: " + b"a;" * 8000,
        b"\r\n".join(b"X-Forwarded-For: " + b"192.0.2.1," * 1600 for _ in range(4)),
    ],
)
def test_no_header_costs_more_than_its_length(line: bytes) -> None:
    """What is quadratic takes seconds; so the bound can be loose."""
    web = layer(trusted_proxies=(ipaddress.ip_network("192.0.2.0/24"),))
    before = time.process_time()
    fed(web, with_line(line), 100_000)
    assert time.process_time() - before < 1.0


# ---- those who meant something else ----


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            "TLS, which is not spoken at this listener: here it is MQTT over WebSocket; TLS needs",
        ),
        (CONNECT, "MQTT, which is not spoken at this listener: here it is MQTT over WebSocket; MQTT without"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 5 6\r\n", "a PROXY header (version 1), which is not spoken"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "a PROXY header (version 2), which is not spoken"),
        (b"\xff\xfb\x1f", "something that begins with ff fb 1f, which is not spoken"),
        (b"GET / HTTP/1.0\n\n", "a request whose lines do not end with CR LF"),
    ],
)
def test_strangers_are_told_at_once(start: bytes, said: str) -> None:
    answer, why = refused(layer(), start)
    assert why.startswith(said)
    assert answer.startswith(b"HTTP/1.1 400 ")
    for step in range(1, 12):
        assert fed(layer(), start, step)


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r", "SSH-2.0-OpenSSH_9.2"),
        (b"EHLO mail.example\r", "EHLO mail.example"),
        (b"QUIT\n", "QUIT"),
        (b"abc\0", "abc\\x00"),
        (b"a" * 25, "a" * 25),
        (b"GET /a\x80", "GET /a\\x80"),
        (b"GET / M", "GET / M"),
        (b"GET / HTTP/1.1 ", "GET / HTTP/1.1 "),
        (b"GET /\r", "GET /"),
        (b"get", ""),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n", ""),
        (b"GET / HTTP/1.1\n", ""),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_letters_that_are_no_request_are_refused_as_soon_as_that_is_clear(
    start: bytes, shown: str, step: int
) -> None:
    web = layer()
    assert fed(web, start[:-1], step) == ""
    why = fed(web, start[-1:], 1)
    assert why == (f"a request that is no HTTP/1: {shown}" if shown else "")


def test_http2_is_told_to_go_back() -> None:
    answer, why = refused(layer(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert why.startswith("HTTP/2; WebSocket is spoken over HTTP/1.1 here")
    settings, goaway = answer[:9], answer[9:]
    assert settings == b"\0\0\0" + b"\4" + b"\0" + b"\0\0\0\0"
    assert goaway[:4] == b"\0\0\x08\x07"
    assert struct.unpack("!II", goaway[9:]) == (0, 0xD)


@pytest.mark.parametrize(
    ("request_line", "status", "said"),
    [
        ("GET / HTTP/1.1", 426, "plain HTTP: GET /"),
        ("GET /mqtt HTTP/1.0", 426, "plain HTTP: GET /mqtt"),
        ("HEAD / HTTP/1.1", 426, "plain HTTP: HEAD /"),
        ("GET /favicon.ico HTTP/1.1", 404, "plain HTTP: GET /favicon.ico"),
        ("POST / HTTP/1.1", 405, "plain HTTP: POST /"),
        ("GET / HTTP/3.0", 426, "plain HTTP: GET /"),
    ],
)
def test_plain_http_gets_a_page(request_line: str, status: int, said: str) -> None:
    answer, why = refused(layer(), request_line.encode() + b"\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
    assert why == said
    top, _, body = answer.decode().partition("\r\n\r\n")
    assert top.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nConnection: close" in top
    assert ("\r\nUpgrade: websocket\r\n" in top) == (status == 426)
    if request_line.startswith("HEAD"):
        assert body == ""
        assert int(top.partition("Content-Length: ")[2].partition("\r\n")[0]) > 0
    else:
        assert "MQTT broker (curier)" in body
        assert "MQTT over WebSocket at / or /mqtt" in body
        assert f"\r\nContent-Length: {len(body)}\r\n" in top
    assert ("proxy_http_version" in body) == (status == 426 and "HEAD" not in request_line)


def test_an_upgrade_in_http_1_0_names_the_proxy() -> None:
    answer, why = refused(layer(), REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"nginx: proxy_http_version 1.1" in answer
    assert why == "plain HTTP: GET /mqtt in HTTP/1.0"


@pytest.mark.parametrize(
    "request_line",
    ["GET /health HTTP/1.1", "HEAD /health HTTP/1.0", "GET /health/?x HTTP/1.0", "OPTIONS / HTTP/1.0"],
)
def test_probes_leave_no_line(request_line: str) -> None:
    web = layer(health_path="/health")
    assert web.receive(request_line.encode() + b"\r\n\r\n") == b""
    assert web.answers().startswith(b"HTTP/1.1 200 OK\r\n")
    assert web.is_ended
    assert not web.is_open
    assert web.receive(b"") == b""
    assert web.close(1000) == b""


# ---- what crosses ----


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_frames_behind_the_request(step: int) -> None:
    stream = REQUEST + frame(BINARY, CONNECT) + frame(PING, b"?") + frame(BINARY, b"\xc0\0")
    web = layer()
    came, said = b"", b""
    for at in range(0, len(stream), step):
        came += web.receive(stream[at : at + step])
        said += web.answers()
    assert came == CONNECT + b"\xc0\0"
    assert said.startswith(b"HTTP/1.1 101 ")
    assert said.endswith(b"\r\n\r\n" + frame(PONG, b"?", mask=None))


@pytest.mark.statement("5.0/MQTT-6.0.0-2", "3.1.1/MQTT-6.0.0-2")
@given(st.data())
def test_any_cut(data: st.DataObject) -> None:
    stream = REQUEST + frame(BINARY, b"a" * 300, fin=False) + frame(CONTINUED, b"b") + frame(CLOSE)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    edges = [0, *sorted(cuts), len(stream)]
    web = layer()
    came = b"".join(web.receive(stream[i:j]) for i, j in pairwise(edges))
    assert came == b"a" * 300 + b"b"
    assert web.is_ended
    assert web.answers().endswith(b"\r\n\r\n\x88\0")


@given(st.binary(max_size=300), st.integers(1, 300), st.sampled_from([b"", b"GET / HTTP/1.1\r\n", REQUEST]))
def test_no_bytes_break_it(noise: bytes, step: int, before: bytes) -> None:
    web = layer(origins=ORIGINS, trusted_proxies=(ipaddress.ip_network("192.0.2.0/24"),))
    stream = before + noise
    assert fed(web, stream, step).isprintable()
    web.answers()
    web.close(1000)


@given(st.text(), st.text(), st.sampled_from(["Origin", "X-Forwarded-For", "Upgrade", "Connection", "X"]))
def test_no_header_breaks_it(target: str, value: str, name: str) -> None:
    web = layer(origins=ORIGINS, trusted_proxies=(ipaddress.ip_network("192.0.2.0/24"),))
    request = REQUEST.replace(b"/mqtt", target.encode(errors="replace"))
    request = request.replace(b"Host: h", f"{name}: {value}".encode(errors="replace"))
    assert fed(web, request, len(request)).isprintable()
    web.answers()


@pytest.mark.statement("5.0/MQTT-6.0.0-1", "3.1.1/MQTT-6.0.0-1")
def test_a_text_frame_ends_the_connection() -> None:
    web = opened()
    stream = frame(BINARY, b"before") + frame(TEXT, b"text") + frame(BINARY, b"behind")
    assert web.receive(stream) == b"before"  # what came before is given first
    assert web.answers() == frame(
        CLOSE, b"\x03\xeb" + b"a text frame; MQTT takes binary ones only", mask=None
    )
    with pytest.raises(LayerError, match="a text frame; MQTT takes binary ones only"):
        web.receive(b"")
    assert web.send(b"\xe0\0") == []
    assert web.close(1003) == b""


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(BINARY, b"x", mask=None), 1002),
        (frame(TEXT), 1003),
        (b"\x82\xff" + b"\xff" * 8, 1002),
        (b"\x82\xff" + b"\x7f" + b"\xff" * 7, 1009),
        (frame(CLOSE, b"\x03\xee"), 1002),  # 1006
    ],
)
def test_what_is_wrong_is_told_by_a_close_code(wrong: bytes, code: int) -> None:
    web = opened()
    with pytest.raises(LayerError, match="a rule of WebSocket was broken"):
        web.receive(frame(PING, b"?") + wrong)
    said = web.answers()
    pong = frame(PONG, b"?", mask=None)
    assert said.startswith(pong)
    assert struct.unpack_from("!H", said, len(pong) + 2)[0] == code
    assert not web.is_ended


@pytest.mark.parametrize("said", [b"", b"\x03\xe8", b"\x03\xe9going", b"\x0f\xa0"])
def test_a_close_frame_is_echoed_once(said: bytes) -> None:
    web = opened()
    assert web.receive(frame(BINARY, b"last") + frame(CLOSE, said) + frame(BINARY, b"more")) == b"last"
    assert web.is_ended
    assert web.answers() == frame(CLOSE, said[:2], mask=None)
    assert web.receive(frame(BINARY, b"more") + frame(PING, b"?")) == b""
    assert (web.send(b"\xd0\0"), web.ping(), web.close(1000), web.answers()) == ([], b"", b"", b"")


def test_the_peer_answers_our_close_frame() -> None:
    web = opened()
    assert web.send(b"\xe0\0") == [b"\x82\x02\xe0\0"]  # DISCONNECT goes first
    assert web.close(1001) == b"\x88\x02\x03\xe9"
    assert web.receive(frame(PING, b"?") + frame(CLOSE, b"\x03\xe9")) == b""
    assert web.is_ended
    assert web.answers() == b""


def test_packets_in_pieces_are_one_frame_and_are_not_copied() -> None:
    """A PUBLISH whose payload others are sent, too; what it carries may look like packets."""
    web = opened()
    payload = bytes(300_000)
    sent = web.send_pieces([b"\x30\xe4\xa7\x12\x00\x01t", payload, b"\xd0\x00"])
    assert sent[2] is payload
    assert b"".join(sent[1:]) == b"\x30\xe4\xa7\x12\x00\x01t" + payload + b"\xd0\x00"
    assert sent[0] == b"\x82\x7f" + (300_009).to_bytes(8, "big")
    web.close(1000)
    assert web.send_pieces([b"late"]) == []


def test_pings() -> None:
    web = opened()
    web.receive(frame(BINARY, b"a", fin=False) + frame(PING, b"in between"))
    assert web.answers() == frame(PONG, b"in between", mask=None)
    for number in range(1000):  # none is kept but the latest
        assert web.receive(frame(PING, b"%d" % number)) == b""
    assert web.answers() == frame(PONG, b"999", mask=None)
    assert web.answers() == b""
    web.receive(frame(PONG, b"unasked"))
    assert web.answers() == b""
    assert web.ping() == b"\x89\0"
    assert layer().ping() == b""


# ---- where the client is ----


NETWORKS = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ((), PROXY),
        (("203.0.113.5",), "203.0.113.5:0"),
        (("203.0.113.5:5678",), "203.0.113.5:5678"),
        (("2001:db8::1",), "[2001:db8::1]:0"),
        (('"[2001:db8::1]:443"',), "[2001:db8::1]:443"),
        (("[2001:db8::1]",), "[2001:db8::1]:0"),
        (("9.9.9.9, 203.0.113.5",), "203.0.113.5:0"),  # the left is the client's to invent
        (("9.9.9.9", "203.0.113.5"), "203.0.113.5:0"),
        (("9.9.9.9, 203.0.113.5, 192.0.2.9",), "203.0.113.5:0"),
        (("203.0.113.5, 2001:db8:1::7, ::ffff:192.0.2.9",), "203.0.113.5:0"),
        (("192.0.2.7, 192.0.2.9",), "192.0.2.7:0"),
        (("203.0.113.5, unknown",), PROXY),
        (("203.0.113.5,",), PROXY),
        (("",), PROXY),
        (("203.0.113.5:x",), PROXY),
        (("203.0.113.5:123456",), PROXY),
        (("[203.0.113.5",), PROXY),
        ((", ".join(["9.9.9.9"] * 200 + ["203.0.113.5"]),), "203.0.113.5:0"),
        ((", ".join(["203.0.113.5"] + ["192.0.2.9"] * 200),), "192.0.2.9:0"),
    ],
)
def test_forwarded_addresses(lines: tuple[str, ...], address: str) -> None:
    added = "".join(f"\r\nX-Forwarded-For: {line}" for line in lines)
    added += "\r\nForwarded: for=198.51.100.1\r\nX-Real-IP: 198.51.100.2"
    request = REQUEST.replace(b"Host: h", b"Host: h" + added.encode())
    for peer, expected in (
        (PROXY, address),
        ("[::ffff:192.0.2.1]:4711", address if address != PROXY else "[::ffff:192.0.2.1]:4711"),
        ("198.51.100.7:1", "198.51.100.7:1"),  # not listed
    ):
        web = layer(address=peer, trusted_proxies=NETWORKS)
        web.receive(request)
        assert web.is_open
        assert web.address == expected
    web = layer()  # off by default
    web.receive(request)
    assert web.address == PROXY
    assert len(lines) == 0 or upgrade.forwarded(list(lines), "unix", NETWORKS) in ("unix", address)
