"""Calls over HTTP end, whatever the other side does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from curier.auth.calls import CallFailed, Calls, is_private_call, shown
from curier.errors import ConfigError
from tests.auth.web_server import WebServer, web_server


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@contextmanager
def raw(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does this with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            taken.append(connection)
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()

    def quietly(connection: socket.socket) -> None:
        try:
            handle(connection)
        except OSError:  # whoever asked has gone
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in taken:
            connection.close()


async def test_an_answer_and_the_same_connection_for_the_next(server: WebServer) -> None:
    server.answer = (201, {"Cache-Control": "max-age=5"}, b"made")
    calls = Calls(f"http://127.0.0.1:{server.port}/a?b=c", at_once=1)
    for _ in range(2):
        answer = await calls.call("POST", {"Content-Type": "text/plain"}, b"asked")
        assert (answer.status, answer.body, answer.headers["cache-control"]) == (201, b"made", "max-age=5")
    assert [(one.method, one.path, one.body) for one in server.asked] == [("POST", "/a?b=c", b"asked")] * 2
    assert server.connections == 1


async def test_a_connection_that_has_died_is_replaced(server: WebServer) -> None:
    server.answer = (200, {"Connection": "close"}, b"")
    calls = Calls(f"http://127.0.0.1:{server.port}", at_once=1)
    for _ in range(2):
        assert (await calls.call("GET", {})).status == 200
    assert server.connections == 2


async def test_one_that_the_server_closed_without_a_word_is_replaced_too() -> None:
    def once(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.shutdown(socket.SHUT_RDWR)

    with raw(once) as port:
        calls = Calls(f"http://127.0.0.1:{port}", at_once=1)
        for _ in range(3):
            assert (await calls.call("GET", {})).body == b"ok"


def silent(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.recv(65536)


def drips(connection: socket.socket) -> None:
    """A byte at a time, each well in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        if connection.recv(1) == b"":
            return


def drips_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-A: b\r\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_who_never_answers_holds_up_nobody(scheme: str) -> None:
    """Neither in the middle of a handshake; and a thread is free again at once."""
    with raw(silent) as port:
        calls = Calls(f"{scheme}://127.0.0.1:{port}", timeout=0.05, at_once=1)
        for _ in range(3):
            with pytest.raises(CallFailed, match=r"there is no whole answer after 0\.05 s"):
                await calls.call("GET", {})
    await all_free(calls)


async def test_an_answer_a_byte_at_a_time_ends_too() -> None:
    with raw(drips) as port:
        calls = Calls(f"http://127.0.0.1:{port}", timeout=0.05, at_once=1)
        with pytest.raises(CallFailed):
            await calls.call("GET", {})
        await all_free(calls)


async def all_free(calls: Calls) -> None:
    """Every thread does something else, which it would not if it was still at a call."""
    await asyncio.get_running_loop().run_in_executor(calls._pool, lambda: None)


async def test_headers_without_end_are_not_read() -> None:
    with raw(drips_headers) as port:
        calls = Calls(f"http://127.0.0.1:{port}", timeout=30, at_once=1)
        with pytest.raises(CallFailed, match=r"it does not answer as HTTP has it \(HTTPException\)"):
            await calls.call("GET", {})


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 2OO OK\r\n\r\n", b"\0" * 100_000])
async def test_what_is_no_http_is_no_answer(sent: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

    with raw(handle) as port:
        with pytest.raises(CallFailed, match=r"it does not answer as HTTP has it|closes the connection"):
            await Calls(f"http://127.0.0.1:{port}").call("GET", {})


async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CallFailed, match="connection refused"):
        await Calls(f"http://127.0.0.1:{port}").call("GET", {})


async def test_an_answer_has_a_limit(server: WebServer) -> None:
    calls = Calls(f"http://127.0.0.1:{server.port}", most_bytes=100, at_once=1)
    server.answer = (200, {}, b"x" * 100)
    assert len((await calls.call("GET", {})).body) == 100
    server.answer = (200, {}, b"x" * 101)
    with pytest.raises(CallFailed, match="the answer has more than 100 bytes"):
        await calls.call("GET", {})


async def test_a_redirection_is_an_answer_like_any_other(server: WebServer) -> None:
    server.answer = (302, {"Location": f"http://127.0.0.1:{server.port}/other"}, b"")
    assert (await Calls(f"http://127.0.0.1:{server.port}/").call("GET", {})).status == 302
    assert len(server.asked) == 1


async def test_so_many_at_once_and_so_many_wait(server: WebServer) -> None:
    server.gate.clear()
    calls = Calls(f"http://127.0.0.1:{server.port}", at_once=2, waiting=1, timeout=30)
    tasks = [asyncio.create_task(calls.call("GET", {})) for _ in range(3)]
    await server.has_been_asked(2)
    with pytest.raises(CallFailed, match="3 calls wait for an answer already"):
        await calls.call("GET", {})
    assert len(server.asked) == 2
    for task in tasks[:2]:  # their clients have gone
        task.cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    await server.has_been_asked(3)
    server.gate.set()
    assert (await tasks[2]).status == 200


async def test_certificates_of_both_sides(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    authority.issue_cert("broker").private_key_and_cert_chain_pem.write_to_path(tmp_path / "broker.pem")
    ours = str(tmp_path / "broker.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with web_server(context) as server:
        url = f"https://127.0.0.1:{server.port}"
        ca = str(tmp_path / "ca.pem")
        assert (await Calls(url, ca_file=ca, certificate=ours, key=ours).call("GET", {})).status == 200
        assert server.asked[0].certificate
        for wrong in (
            Calls(url, ca_file=ca),
            Calls(url, ca_file=str(tmp_path / "other.pem"), certificate=ours, key=ours),
            Calls(f"https://localhost:{server.port}", ca_file=ca, certificate=ours, key=ours),
        ):
            with pytest.raises(CallFailed):
                await wrong.call("GET", {})
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a.example/", "expected a URL such as"),
        ("a.example", "expected a URL such as"),
        ("https:///x", "expected a URL such as"),
        ("https://a.example:port/", "Port could not be cast"),
        ("https://u:secret@a.example/", "https://a.example/: a URL that is called has no user name"),
        ("https://a.example/#x", "no user name"),
        ("https://a.example/ x", "a URL has no blanks"),
        ("https://a.example/\r\nX: y", "a URL has no blanks"),
    ],
)
def test_what_is_no_url_for_a_call(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        Calls(url)
    assert "secret" not in str(error.value)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    empty, missing = str(tmp_path / "empty"), str(tmp_path / "missing")
    for how, said in (
        ({"ca_file": missing}, "missing: No such file"),
        ({"ca_file": empty}, "empty: "),
        ({"certificate": empty}, "certificate and key go together"),
        ({"certificate": empty, "key": empty}, "empty, "),
    ):
        with pytest.raises(ConfigError, match=said):
            Calls("https://a.example/", **how)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="certificates are for https:// only"):
        Calls("http://a.example/", ca_file=empty)


@pytest.mark.parametrize(
    ("url", "is_private"),
    [
        ("https://a.example/", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://a.example/", False),
        ("http://10.0.0.1/", False),
        ("http://127.0.0.1.example/", False),
    ],
)
def test_which_calls_nobody_overhears(url: str, is_private: bool) -> None:
    assert is_private_call(url) is is_private


def test_what_is_shown_of_a_url() -> None:
    assert shown("https://u:p@a.example:1/b?token=x") == "https://a.example:1/b"
