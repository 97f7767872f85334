"""Dialing over TCP and Unix sockets: what succeeds, what fails and how, what is left behind."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curier.client import dial as dialing
from curier.client.dial import DialSettings, TlsSettings, dial
from curier.client.dialing import tcp
from curier.client.urls import parse_server_url
from curier.errors import ConfigError, ConnectionLost
from tests.client.servers import User, call, cancel_everywhere, echo, mute, on_every_loop, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else will."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that lets nobody in, nor turns them away: its backlog is full."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        others = []
        for _ in range(4):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(sock.getsockname())
            others.append(other)
        yield sock.getsockname()[1]
        for other in others:
            other.close()


@on_every_loop
async def test_tcp() -> None:
    async with serving(echo) as port:
        user = await call(f"mqtt://127.0.0.1:{port}")
        assert await user.ask(b"hello") == b"hello"
        assert user.transport is not None
        assert user.transport.get_extra_info("peername")[:2] == ("127.0.0.1", port)
        await user.close()
        assert user.error is None


@on_every_loop
async def test_unix(tmp_path: Path) -> None:
    path = tmp_path / "my broker.sock"
    async with serving(echo, path=str(path)):
        # A proxy and TLS are for the network: here they have no part.
        user = await call(f"unix://{path}".replace(" ", "%20"), proxy="http://127.0.0.1:1", tls=TlsSettings())
        assert await user.ask(b"hello") == b"hello"
        await user.close()


@on_every_loop
async def test_a_server_that_speaks_first() -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        await echo(reader, writer)

    async with serving(hasty) as port:
        user = await call(f"mqtt://127.0.0.1:{port}")
        await user.until(lambda: user.data == b"welcome")
        assert await user.ask(b"hello") == b"hello"
        await user.close()


@on_every_loop
async def test_nobody_listens(dead_port: int) -> None:
    with pytest.raises(ConnectionLost) as caught:
        await call(f"mqtt://me:s3cret@127.0.0.1:{dead_port}")
    assert str(caught.value) == (
        f"cannot connect to mqtt://127.0.0.1:{dead_port}: connection refused: nobody listens there"
    )
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@on_every_loop
async def test_no_such_socket(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="there is no such socket"):
        await call(f"unix://{tmp_path}/none.sock")


@on_every_loop
async def test_a_name_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int) -> list[tcp.Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(tcp, "look_up", look_up)
    with pytest.raises(ConnectionLost) as caught:
        await call("mqtt://nowhere.example")
    assert "the name nowhere.example is not known here (Name or service not known)" in str(caught.value)


@on_every_loop
async def test_the_time_limit_covers_the_connection(full_port: int) -> None:
    with pytest.raises(ConnectionLost) as caught:
        await call(f"mqtt://127.0.0.1:{full_port}", timeout=1.0)
    assert str(caught.value) == (
        f"no connection to mqtt://127.0.0.1:{full_port} within 1 seconds: nothing came back from 127.0.0.1"
    )


@on_every_loop
async def test_a_connection_comes_from_where_it_should() -> None:
    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(len("127.0.0.1"))
        writer.write(str(writer.get_extra_info("peername")[0]).encode())
        await echo(reader, writer)

    async with serving(tell) as port:
        for local in ("127.0.0.1", "127.0.0.7"):
            user = await call(f"mqtt://127.0.0.1:{port}", local_address=local)
            assert await user.ask(b"?" * len(local)) == local.encode()
            await user.close()
        with pytest.raises(ConnectionLost, match=r"cannot connect to .* from 192\.0\.2\.1: ") as raised:
            await call(f"mqtt://127.0.0.1:{port}", local_address="192.0.2.1")
        assert not raised.value.was_open


@on_every_loop
async def test_the_time_limit_covers_the_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int) -> list[tcp.Address]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(tcp, "look_up", look_up)
    with pytest.raises(ConnectionLost, match=r"within 1 seconds"):
        await call("mqtt://slow.example", timeout=1.0)


@on_every_loop
async def test_every_address_is_tried(monkeypatch: pytest.MonkeyPatch, dead_port: int) -> None:
    async def look_up(host: str, port: int) -> list[tcp.Address]:
        return [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.3"), (socket.AF_INET, "127.0.0.1")]

    monkeypatch.setattr(tcp, "look_up", look_up)
    async with serving(echo) as port:
        for delay in (None, 0.0, 0.25):
            user = await call(f"mqtt://broker.test:{port}", happy_eyeballs_delay=delay)
            assert await user.ask(b"hello") == b"hello"
            await user.close()
    with pytest.raises(ConnectionLost) as caught:
        await call(f"mqtt://broker.test:{dead_port}")
    # One reason for all three, said once.
    assert str(caught.value).count("connection refused") == 1
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 3


@on_every_loop
async def test_a_silent_address_does_not_hold_up_the_next(
    monkeypatch: pytest.MonkeyPatch, full_port: int
) -> None:
    async with serving(echo) as port:
        real_try = tcp._try

        async def look_up(host: str, _: int) -> list[tcp.Address]:
            return [(socket.AF_INET, "127.0.0.9"), (socket.AF_INET, "127.0.0.1")]

        async def attempt(address: tcp.Address, _: int, make: Any, local: str | None) -> Any:
            silent = address[1] == "127.0.0.9"
            return await real_try((socket.AF_INET, "127.0.0.1"), full_port if silent else port, make, local)

        monkeypatch.setattr(tcp, "look_up", look_up)
        monkeypatch.setattr(tcp, "_try", attempt)
        user = await call("mqtt://broker.test", happy_eyeballs_delay=0.01, timeout=30)
        assert await user.ask(b"hello") == b"hello"
        await user.close()
        with pytest.raises(ConnectionLost, match="within"):
            await call("mqtt://broker.test", happy_eyeballs_delay=None, timeout=1.0)


async def test_addresses_alternate_between_families(monkeypatch: pytest.MonkeyPatch) -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    found = [
        (six, "2001:db8::1", 0),
        (six, "fe80::1", 7),
        (six, "2001:db8::1", 0),
        (four, "192.0.2.1", None),
        (four, "192.0.2.2", None),
        (four, "192.0.2.3", None),
    ]

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port) if zone is None else (address, port, 0, zone))
            for family, address, zone in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert await tcp.look_up("broker.test", 1883) == [
        (six, "2001:db8::1"),
        (four, "192.0.2.1"),
        (six, "fe80::1%7"),
        (four, "192.0.2.2"),
        (four, "192.0.2.3"),
    ]


class FakeTransport(asyncio.Transport):
    """Knows whether it was cut."""

    is_cut = False

    def abort(self) -> None:
        self.is_cut = True


@pytest.mark.parametrize("late", [False, True])
async def test_two_addresses_at_once_leave_one_connection(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Both connect in the same turn of the loop, or the second in spite of being given up."""
    made: list[FakeTransport] = []

    async def look_up(host: str, port: int) -> list[tcp.Address]:
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2")]

    async def attempt(address: tcp.Address, port: int, make: Any, local: str | None) -> Any:
        try:
            await (asyncio.Event().wait() if late and address[1] == "127.0.0.2" else go.wait())
        except asyncio.CancelledError:
            pass
        made.append(FakeTransport())
        return made[-1], make()

    monkeypatch.setattr(tcp, "look_up", look_up)
    monkeypatch.setattr(tcp, "_try", attempt)
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, go.set)
    transport, _ = await tcp.connect_tcp("broker.test", 1883, 0.0, User)
    await asyncio.sleep(0)
    assert len(made) == 2
    assert [each.is_cut for each in made] == [each is not transport for each in made]


@on_every_loop
async def test_cancelled_at_every_step_it_leaves_nothing_open() -> None:
    async with serving(echo) as port:
        await cancel_everywhere(f"mqtt://127.0.0.1:{port}", happy_eyeballs_delay=0.0)


@on_every_loop
async def test_a_protocol_that_cannot_be_made_leaves_nothing_open() -> None:
    def fail() -> User:
        raise RuntimeError("no protocol")

    async with serving(mute) as port:
        with pytest.raises(RuntimeError, match="no protocol"):
            await dial(parse_server_url(f"mqtt://127.0.0.1:{port}"), DialSettings(), fail)


async def test_tls_settings_for_a_url_without_tls() -> None:
    for scheme, secure in (("mqtt", "mqtts"), ("ws", "wss")):
        with pytest.raises(ConfigError, match=f"is not encrypted.*write {secure}://"):
            await call(f"{scheme}://localhost", tls=TlsSettings())


async def test_where_there_are_no_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def create_unix_connection(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", create_unix_connection)
    with pytest.raises(ConfigError, match="there are no Unix sockets here"):
        await call("unix:///run/x")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout": 0}, "seconds above 0, not 0"),
        ({"timeout": float("nan")}, "seconds above 0, not nan"),
        ({"max_frame_bytes": 0}, "at least 1"),
        ({"happy_eyeballs_delay": -1.0}, "seconds or None, not -1"),
        ({"proxy": "https://proxy"}, "did you mean http://?"),
        ({"websocket_headers": (("Bad Name", "x"),)}, "cannot be the name of an HTTP header"),
        ({"websocket_headers": (("Host", "x"),)}, "part of the WebSocket handshake"),
        ({"websocket_headers": (("Sec-WebSocket-Protocol", "x"),)}, "part of the WebSocket handshake"),
        ({"websocket_headers": (("X-Key", "s3cret\r\nEvil: 1"),)}, "characters that cannot be sent"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DialSettings(**settings)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_settings_show_no_secrets() -> None:
    settings = DialSettings(
        tls=TlsSettings(certificate="c", key="k", key_password="s3cret"),
        proxy="http://me:s3cret@proxy",
        websocket_headers=(("Authorization", "s3cret"),),
    )
    assert "s3cret" not in repr(settings)


def test_the_face_of_the_module() -> None:
    assert dialing.__all__ == ["DialSettings", "TlsSettings", "dial"]


def test_websockets_is_imported_only_when_used() -> None:
    program = "import sys, curier.client.dial; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
