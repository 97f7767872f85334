"""The client's WebSocket transport on a wire in memory: what crosses, what is refused, what is kept."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import ConnectionLost
from curier.net import websocket
from curier.net.frames import FrameReader
from curier.net.websocket import ClientWebSocket
from tests.net.test_frames import BINARY, CLOSE, CONTINUED, PING, PONG, TEXT
from tests.net.test_frames import frame as masked_frame
from tests.net.web_server import WebServer
from tests.waiting import until


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame of a server."""
    return masked_frame(opcode, data, fin=fin, mask=None)


class Wire(asyncio.Transport):
    """The transport below: keeps what is written, and tells what was asked of it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.written = bytearray()
        self.calls: list[str] = []

    def take(self) -> bytes:
        taken = bytes(self.written)
        self.written.clear()
        return taken

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 1, 2

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.calls.append(f"limits {high} {low}")


class User(asyncio.Protocol):
    """The protocol above: keeps what it is told, and may do something with it."""

    def __init__(self, on_data: Callable[[], None] = lambda: None) -> None:
        self.chunks: list[bytes] = []
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.on_data = on_data
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self.on_data()

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.error = exc


def carry(a: Wire, to_b: asyncio.Protocol, b: Wire, to_a: asyncio.Protocol, step: int) -> None:
    """Carry bytes between two ends, a few at a time, until both are silent."""
    while a.written or b.written:
        for wire, target in ((a, to_b), (b, to_a)):
            data = wire.take()
            for start in range(0, len(data), step):
                target.data_received(data[start : start + step])


class Open:
    """A client that is open, its wire and its user; the other end is the test."""

    def __init__(self, max_frame_bytes: int = 1000) -> None:
        self.socket = ClientWebSocket("h", 80, "/mqtt", secure=False, max_frame_bytes=max_frame_bytes)
        self.wire, self.user = Wire(), User()
        self.socket.connection_made(self.wire)
        server = WebServer(User)
        far = Wire()
        server.connection_made(far)
        server.data_received(self.wire.take())
        self.socket.data_received(far.take())
        self.socket.start(self.user)
        self.wire.calls.clear()

    def end(self) -> str:
        """The network is gone; what the user was told."""
        self.socket.connection_lost(None)
        assert self.user.calls.count("lost") == 1
        return "" if self.user.error is None else str(self.user.error)


@pytest.mark.parametrize("step", [1, 7, 100_000])
async def test_bytes_cross_in_both_directions(step: int) -> None:
    client = ClientWebSocket("h", 80, "/mqtt?x=1", secure=False, headers=[("X-Key", "value")])
    there, here = User(), User()
    server = WebServer(lambda: there, paths=("/mqtt",))
    a, b = Wire(), Wire()
    server.connection_made(b)
    client.connection_made(a)
    assert a.written.startswith(b"GET /mqtt?x=1 HTTP/1.1\r\nHost: h\r\n")
    assert b"\r\nX-Key: value\r\n" in a.written
    assert b"\r\nSec-WebSocket-Protocol: mqtt\r\n" in a.written
    assert b"Extensions" not in a.written
    carry(a, server, b, client, step)
    await client.opened()
    assert a.calls == ["pause"]
    client.start(here)
    assert a.calls == ["pause", "resume"]
    assert here.transport is client
    assert there.transport is server
    client.write(b"ab")
    client.write(bytearray(b"c"))
    client.write(b"")
    client.writelines([b"d", memoryview(b"e")])
    server.write(b"x" * 200_000)
    carry(a, server, b, client, step)
    assert b"".join(there.chunks) == b"abcde"
    assert b"".join(here.chunks) == b"x" * 200_000
    client.close()
    client.write(b"too late")
    carry(a, server, b, client, step)
    assert client.is_closing()
    assert b.calls == ["close"]
    client.connection_lost(None)
    server.connection_lost(None)
    assert (here.calls, here.error) == (["made", "lost"], None)
    assert (there.calls, there.error) == (["made", "lost"], None)
    assert b"".join(there.chunks) == b"abcde"


@pytest.mark.statement("5.0/MQTT-6.0.0-1", "3.1.1/MQTT-6.0.0-1")
async def test_only_binary_frames_are_sent() -> None:
    end = Open()
    end.socket.write(b"x" * 70_000)
    sent = end.wire.take()
    assert sent[0] == 0x82  # final, binary
    assert sent[1] & 0x7F == 127
    first = struct.unpack("!Q", sent[2:10])[0]
    assert first == websocket.SEND_FRAME_BYTES
    second = 10 + 4 + first
    assert sent[second] == 0x82
    end.socket.abort()
    end.socket.connection_lost(None)


@pytest.mark.statement("5.0/MQTT-6.0.0-1", "3.1.1/MQTT-6.0.0-1")
async def test_a_text_frame_ends_the_connection() -> None:
    end = Open()
    end.socket.data_received(frame(BINARY, b"before") + frame(TEXT, b"text") + frame(BINARY, b"after"))
    assert end.user.chunks == [b"before"]
    assert end.socket.is_closing()
    reader = FrameReader(True)
    reader.read(end.wire.take())
    assert reader.close_code == 1003
    end.socket.data_received(frame(BINARY, b"after"))
    assert end.end() == "the server sent a text frame; MQTT takes binary ones only"
    assert end.user.chunks == [b"before"]


@pytest.mark.statement("5.0/MQTT-6.0.0-2", "3.1.1/MQTT-6.0.0-2")
@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_packets_need_not_fit_frames(payloads: list[bytes], data: st.DataObject) -> None:
    async def main() -> None:
        end = Open()
        sent = b""
        for payload in payloads:
            cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
            parts = [payload[i:j] for i, j in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
            for number, part in enumerate(parts):
                last = number == len(parts) - 1
                sent += frame(CONTINUED if number else BINARY, part, fin=last) + frame(PING, b"?")
        step = data.draw(st.integers(1, 500))
        for start in range(0, len(sent), step):
            end.socket.data_received(sent[start : start + step])
        assert b"".join(end.user.chunks) == b"".join(payloads)
        assert end.end() == ""

    asyncio.run(main())


async def test_a_chunk_of_the_network_is_one_chunk_above() -> None:
    end = Open()
    end.socket.data_received(frame(BINARY, b"a") + frame(BINARY, b"b") + frame(BINARY, b""))
    end.socket.data_received(frame(BINARY, b"c"))
    assert end.user.chunks == [b"ab", b"c"]
    assert end.end() == ""


async def test_what_comes_with_the_handshake_waits_for_its_user() -> None:
    far = Wire()
    server = WebServer(User)
    server.connection_made(far)
    client = ClientWebSocket("h", 80, "/", secure=False)
    wire, user = Wire(), User()
    client.connection_made(wire)
    server.data_received(wire.take())
    server.write(b"early")
    client.data_received(far.take())
    await client.opened()
    client.data_received(frame(BINARY, b" bird"))
    client.start(user)
    assert user.chunks == [b"early bird"]
    client.abort()
    client.connection_lost(None)


async def test_pings_are_answered_once_for_many() -> None:
    end = Open()
    end.socket.data_received(frame(PING, b"1") + frame(PING, b"2") + frame(BINARY, b"x"))
    sent = end.wire.take()
    assert (sent[0], len(sent)) == (0x80 | PONG, 7)
    end.socket.pause_writing()
    for _ in range(100):
        end.socket.data_received(frame(PING, b"x" * 100) * 10)
    assert end.wire.take() == b""
    end.socket.resume_writing()
    assert len(end.wire.take()) == 2 + 4 + 100
    end.socket.resume_writing()
    assert end.wire.take() == b""
    assert end.user.calls == ["made", "pause", "resume", "resume"]
    assert end.end() == ""


@pytest.mark.parametrize(
    ("close", "said"),
    [
        (frame(CLOSE), ""),
        (frame(CLOSE, b"\x03\xe8"), ""),
        (
            frame(CLOSE, b"\x03\xe9bye \x1b\xc3\xbc"),
            "the server closed the WebSocket: 1001 (going away) bye ?ü",
        ),
        (frame(CLOSE, b"\x03"), "the server broke a rule of WebSocket"),
        (frame(CLOSE, b"\x03\xe8\xff"), "the server broke a rule of WebSocket"),
    ],
)
async def test_a_server_that_closes(close: bytes, said: str) -> None:
    end = Open()
    end.socket.data_received(frame(BINARY, b"last") + close + frame(BINARY, b"too late"))
    assert end.user.chunks == [b"last"]
    assert end.socket.is_closing()
    assert end.wire.take()[0] == 0x80 | CLOSE
    assert end.wire.calls == []  # the server is the one to close the connection, for a while
    end.socket.write(b"too late")
    assert end.wire.take() == b""
    assert not end.socket.eof_received()
    told = end.end()
    assert told.startswith(said)
    assert bool(told) == bool(said)


@pytest.mark.parametrize("by", ["the peer", "us"])
async def test_a_close_that_gets_no_answer(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.0)
    end = Open()
    if by == "us":
        end.socket.pause_reading()
        end.socket.close()
        assert end.wire.calls == ["pause", "resume"]  # or the answer would not be seen
        end.socket.close()
        assert len(end.wire.take()) == 2 + 4 + 2
    else:
        end.socket.data_received(frame(CLOSE))
    end.wire.calls.clear()
    await until(lambda: bool(end.wire.calls), pause=0)
    assert end.wire.calls == ["close"]
    assert end.end() == ""


async def test_a_connection_that_is_cut() -> None:
    end = Open()
    end.socket.data_received(frame(BINARY, b"abc")[:-1])
    assert not end.socket.eof_received()
    error = ConnectionResetError("reset")
    end.socket.connection_lost(error)
    assert end.user.chunks == [b"ab"]
    assert end.user.error is error


async def test_a_frame_that_is_too_large() -> None:
    end = Open()
    end.socket.data_received(frame(BINARY, b"x" * 1000))
    for number in range(5):  # longer in pieces: no piece is too large
        opcode = CONTINUED if number else BINARY
        end.socket.data_received(frame(opcode, b"x" * 1000, fin=number == 4))
    assert sum(map(len, end.user.chunks)) == 6000
    # The head is enough to refuse one.
    end.socket.data_received(frame(BINARY, b"x" * 1001)[:8])
    assert end.socket.is_closing()
    assert end.wire.take()[0] == 0x80 | CLOSE
    end.socket.data_received(b"x" * 1000)
    assert "frame of more than 1000 bytes; a larger maximum_packet_size" in end.end()


async def test_a_frame_is_given_as_it_comes() -> None:
    end = Open()
    whole = frame(BINARY, b"x" * 1000)
    for start in range(0, len(whole), 100):
        end.socket.data_received(whole[start : start + 100])
    assert [len(chunk) for chunk in end.user.chunks] == [96, *[100] * 9, 4]


@pytest.mark.parametrize(
    "nonsense",
    [
        masked_frame(BINARY, b"x"),  # a server does not mask
        frame(3, b"x"),
        frame(PING, b"x" * 126),
        frame(PING, b"x", fin=False),
        frame(CONTINUED, b"x"),
        frame(BINARY, b"x", fin=False) + frame(BINARY, b"y"),
        frame(0x42, b"x"),  # a bit of an extension that nobody agreed to
    ],
)
async def test_frames_that_are_wrong(nonsense: bytes) -> None:
    end = Open()
    end.socket.data_received(nonsense)
    assert end.socket.is_closing()
    assert end.wire.take()[0] == 0x80 | CLOSE
    assert end.end().startswith("the server broke a rule of WebSocket: ")


@given(st.binary(max_size=200), st.integers(1, 200))
def test_no_bytes_break_it(noise: bytes, step: int) -> None:
    async def main() -> None:
        client = Open()
        for start in range(0, len(noise), step):
            client.socket.data_received(noise[start : start + step])
        client.socket.close()
        client.socket.eof_received()
        client.socket.connection_lost(None)

    asyncio.run(main())


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_a_handshake(noise: bytes, http: bool) -> None:
    async def main() -> None:
        client = ClientWebSocket("h", 80, "/", secure=False)
        client.connection_made(Wire())
        client.data_received((b"HTTP/1.1 101 x\r\n" if http else b"") + noise)
        client.eof_received()
        client.connection_lost(None)
        with pytest.raises(ConnectionLost):
            await client.opened()

    asyncio.run(main())


async def test_a_handshake_without_end() -> None:
    client = ClientWebSocket("h", 80, "/", secure=False)
    wire = Wire()
    client.connection_made(wire)
    client.data_received(b"HTTP/1.1 404 x\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(websocket.HANDSHAKE_BYTES // 10_000 + 1):
        client.data_received(b"x" * 10_000)
    client.data_received(b"x" * 10_000)
    assert wire.calls == ["abort"]
    client.connection_lost(None)
    with pytest.raises(ConnectionLost, match=f"more than {websocket.HANDSHAKE_BYTES} bytes of handshake"):
        await client.opened()


async def test_what_is_passed_down() -> None:
    end = Open()
    socket, wire = end.socket, end.wire
    assert socket.get_extra_info("peername") == ("192.0.2.1", 1)
    assert socket.get_extra_info("nothing", 5) == 5
    assert socket.get_write_buffer_limits() == (1, 2)
    socket.set_write_buffer_limits(10, 5)
    socket.write(b"x")
    assert socket.get_write_buffer_size() == len(wire.written) == 2 + 4 + 1
    assert socket.is_reading()
    socket.pause_reading()
    socket.pause_reading()
    assert not socket.is_reading()
    socket.resume_reading()
    socket.resume_reading()
    assert socket.is_reading()
    assert wire.calls == ["limits 10 5", "pause", "resume"]
    assert not socket.can_write_eof()
    with pytest.raises(NotImplementedError):
        socket.write_eof()
    other = User()
    assert socket.get_protocol() is end.user
    socket.set_protocol(other)
    socket.data_received(frame(BINARY, b"x"))
    assert other.chunks == [b"x"]
    socket.abort()
    assert wire.calls[-1] == "abort"
    socket.connection_lost(None)
    assert other.calls == ["lost"]


async def test_a_user_that_closes_at_the_first_byte() -> None:
    end = Open()
    end.user.on_data = end.socket.abort
    end.socket.data_received(frame(BINARY, b"x") + frame(TEXT, b"y"))
    assert end.wire.calls == ["abort"]
    assert end.end() == ""


async def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = ClientWebSocket("h", 80, "/", secure=False, headers=[("Authorization", "s3cret")])
    client.connection_made(Wire())
    client.connection_lost(None)
    end = Open()
    end.socket.write(b"s3cret")
    end.socket.data_received(frame(BINARY, b"s3cret"))
    assert end.end() == ""
    assert caplog.text == ""
