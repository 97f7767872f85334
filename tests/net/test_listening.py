"""Doors as the system sees them: sockets, files of sockets, sockets that somebody else has opened."""

from __future__ import annotations

import asyncio
import errno
import grp
import json
import os
import pwd
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar
from urllib.parse import quote

import pytest

import curier
from curier.auth import Authenticator, Credentials, Verdict
from curier.errors import ConnectRefused
from curier.net.listening import bind
from curier.net.socket_file import bind_unix
from tests.net.harness import ANYWHERE, options, running

KEEPALIVE = [("TCP_KEEPIDLE", 240), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)]


def accepted(listener: socket.socket) -> socket.socket:
    """The broker's end of a connection, as it is accepted."""
    listener.settimeout(100)
    with socket.create_connection(listener.getsockname()[:2]):
        sock, _ = listener.accept()
    return sock


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_client_inherits_what_its_listener_was_told(host: str) -> None:
    [listener] = await bind(host, 0)
    with listener, accepted(listener) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


async def test_without_keepalive() -> None:
    [listener] = await bind("127.0.0.1", 0, keepalive=0)
    with listener, accepted(listener) as sock:
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# ---- Unix sockets ----


@pytest.fixture
def path() -> Iterator[str]:
    """Where a socket may be; pytest's own directories can have long names."""
    with TemporaryDirectory(prefix="curier-") as directory:
        yield f"{directory}/c.sock"


def exists(path: str) -> bool:
    return os.path.lexists(path)


async def test_a_client_by_a_unix_socket(path: str, use_reactor: bool) -> None:
    async with running(use_reactor, listen=[f"unix://{path}"]) as broker:
        assert broker.urls == [f"unix://{path}"]
        async with curier.connect(broker.urls[0]) as client, client.subscribe("t") as stream:
            await client.publish("t", b"by a file", qos=1)
            assert (await anext(stream)).payload == b"by a file"
    assert not exists(path)


async def test_a_path_that_a_url_has_to_encode(path: str) -> None:
    odd = f"{os.path.dirname(path)}/ä b?.sock"
    async with running(True, listen=[f"unix://{quote(odd)}"]) as broker:
        assert exists(odd)
        async with curier.connect(broker.urls[0]) as client:
            await client.publish("t", b"", qos=1)


async def test_who_is_behind_a_unix_socket_is_known(path: str, use_reactor: bool) -> None:
    class Asked(Authenticator):
        credentials: ClassVar[list[Credentials]] = []

        async def authenticate(self, credentials: Credentials) -> Verdict:
            self.credentials.append(credentials)
            return Verdict(0)

    asked = Asked()
    urls = [f"unix://{path}", ANYWHERE]
    async with running(use_reactor, listen=urls, authenticator=asked) as broker:
        for url in broker.urls:
            async with curier.connect(url.replace("tcp:", "mqtt:")):
                pass
    by_file, by_network = asked.credentials
    assert by_file.local_peer == (os.getuid(), os.getgid(), os.getpid())
    assert by_file.local_peer.uid == os.getuid()
    assert by_file.address == f"uid={os.getuid()}:pid={os.getpid()}"
    assert by_file.listener == f"unix://{path}"
    assert by_network.local_peer is None


async def test_what_a_user_holds_by_a_unix_socket_counts_as_theirs(path: str) -> None:
    few = options(max_sessions=4, source_share=2)
    async with running(True, listen=[f"unix://{path}"], options=few) as broker:
        for number in range(2):
            async with curier.connect(broker.urls[0], client_id=f"c{number}", session_expiry=60):
                pass
        with pytest.raises(ConnectRefused, match=f"address uid={os.getuid()} has 2 sessions"):
            async with curier.connect(broker.urls[0], client_id="c2", session_expiry=60):
                pass


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
async def test_owner_and_mode(path: str, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    chmod = os.chmod

    def watch(name: str, wanted: int) -> None:
        seen.append(stat.S_IMODE(os.stat(name).st_mode))
        chmod(name, wanted)

    monkeypatch.setattr("curier.net.socket_file.os.chmod", watch)
    before = os.umask(0)
    try:
        sock, file = await bind_unix(path, mode, str(os.getuid()), str(os.getgid()))
    finally:
        os.umask(before)
    with sock:
        assert seen == [0o600]  # before that, it is nobody else's
        status = os.stat(path)
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (
            mode,
            os.getuid(),
            os.getgid(),
        )
        file.remove()


async def test_owner_and_group_by_name(path: str) -> None:
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    sock, file = await bind_unix(path, 0o660, user, group)
    with sock:
        assert os.stat(path).st_uid == os.getuid()
        file.remove()


async def test_a_file_that_a_killed_broker_has_left_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(path)
    async with running(True, listen=[f"unix://{path}"]) as broker, curier.connect(broker.urls[0]):
        pass


async def test_a_running_brokers_door_is_not_stolen(path: str, use_reactor: bool) -> None:
    async with running(use_reactor, listen=[f"unix://{path}"]) as first:
        with pytest.raises(OSError, match=f"cannot listen on unix://{path}: another program listens there"):
            async with running(use_reactor, listen=[f"unix://{path}"]):
                pass
        async with curier.connect(first.urls[0]):
            pass


async def test_nor_that_of_one_too_busy_to_answer(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        with pytest.raises(OSError, match="another program listens there"):
            await bind_unix(path, 0o660, "", "")


async def test_nor_one_of_another_kind(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(OSError, match="another program listens there"):
            await bind_unix(path, 0o660, "", "")
        assert exists(path)


async def test_of_many_who_start_at_once_one_has_the_door(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(path)
    found = await asyncio.gather(*(bind_unix(path, 0o660, "", "") for _ in range(10)), return_exceptions=True)
    [(sock, file)] = [each for each in found if not isinstance(each, BaseException)]
    with sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        sock.accept()[0].close()
        file.remove()
    assert {str(each) for each in found if isinstance(each, BaseException)} == {
        f"[Errno {errno.EADDRINUSE}] another program listens there"
    }


async def test_at_the_end_only_ones_own_file_is_removed(path: str) -> None:
    sock, file = await bind_unix(path, 0o660, "", "")
    with sock, socket.socket(socket.AF_UNIX) as other:
        os.unlink(path)
        other.bind(path)
        file.remove()
        assert exists(path)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("elsewhere")])
async def test_what_is_no_socket_is_left_alone(path: str, make: Callable[[Path], None]) -> None:
    make(Path(path))
    before = os.lstat(path)
    with pytest.raises(OSError, match="something that is not a socket has this path; it is left alone"):
        await bind_unix(path, 0o660, "", "")
    assert os.lstat(path) == before


@pytest.mark.parametrize(
    ("name", "owner", "said"),
    [
        ("no/c.sock", "", "there is no directory .*/no; make it first"),
        ("c" * 100, "", r"the path has 1\d\d bytes, and that of a socket at most 107"),
        ("ä" * 50, "", r"the path has 1\d\d bytes"),
        ("c.sock", "nobody-of-this-name", "this system knows no user nobody-of-this-name"),
    ],
)
async def test_where_there_can_be_no_socket(path: str, name: str, owner: str, said: str) -> None:
    where = f"{os.path.dirname(path)}/{name}"
    with pytest.raises(OSError, match=said):
        await bind_unix(where, 0o660, owner, "")
    assert not exists(where)


async def test_who_may_not_give_it_away_leaves_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("curier.net.socket_file.os.chown", refuse)
    with pytest.raises(OSError, match="this process may not give the socket to user 12345: Operation not"):
        await bind_unix(path, 0o660, "12345", "")
    assert not exists(path)


async def test_a_broker_that_cannot_start_leaves_no_file(path: str) -> None:
    with pytest.raises(OSError, match="there is no directory"):
        async with running(True, listen=[f"unix://{path}", "unix:///nowhere/c.sock"]):
            pass
    assert not exists(path)


# ---- sockets that somebody else has opened ----


def child(urls: list[str], passed: list[socket.socket], **environment: str) -> subprocess.Popen[str]:
    """A broker that is started as systemd does it; it prints its URLs, and stops when its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(urls), *(str(sock.fileno()) for sock in passed)],
        pass_fds=[sock.fileno() for sock in passed],
        env={**os.environ, "LISTEN_FDS": str(len(passed)), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


CHILD = """
import asyncio, json, os, sys
given = [os.dup(int(fd)) for fd in sys.argv[2:]]  # then nothing that is moved to its place is in the way
for number, fd in enumerate(given):
    os.dup2(fd, 3 + number)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
import curier

async def main():
    try:
        async with curier.Broker(json.loads(sys.argv[1])) as broker:
            left = [name for name in os.environ if name.startswith("LISTEN_")]
            flags = [os.get_inheritable(3 + number) for number in range(len(given))]
            print(json.dumps([broker.urls, left, any(flags)]), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    except Exception as error:
        print(error)

asyncio.run(main())
"""


def bound(
    where: str | tuple[str, int], kind: int = socket.SOCK_STREAM, listens: bool = True
) -> socket.socket:
    family = (
        socket.AF_UNIX if isinstance(where, str) else socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    )
    sock = socket.socket(family, kind)
    sock.bind(where)
    if listens:
        sock.listen()
    return sock


async def test_sockets_of_systemd(path: str) -> None:
    with bound(("127.0.0.1", 0)) as four, bound(("::1", 0)) as six, bound(path) as file:
        urls = ["fd://mqtt", "fd://5"]
        with child(urls, [four, six, file], LISTEN_FDNAMES="mqtt:mqtt:") as broker:
            assert broker.stdout is not None
            found, left, is_inherited = json.loads(broker.stdout.readline())
            assert found == [
                f"tcp://127.0.0.1:{four.getsockname()[1]}",
                f"tcp://[::1]:{six.getsockname()[1]}",
                f"unix://{path}",
            ]
            assert (left, is_inherited) == ([], False)
            for url in found:
                async with curier.connect(url.replace("tcp:", "mqtt:")) as client:
                    await client.publish("t", b"", qos=1)
            assert broker.communicate()[0] == ""
            assert exists(path)  # it is not the broker's


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("fd://3", {"LISTEN_PID": "1"}, "the sockets were passed to process 1, and this is"),
        ("fd://3", {"LISTEN_PID": ""}, "no sockets were passed to this process"),
        ("fd://3", {"LISTEN_FDS": "x"}, "LISTEN_FDS is 'x', which is not a number of sockets"),
        ("fd://3", {"LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1', which"),
        ("fd://3", {"LISTEN_FDS": "4000"}, "and descriptor .* is not open"),
        ("fd://4", {}, r"no such socket was passed, or is left: 3 \(unknown\)"),
        ("fd://web", {"LISTEN_FDNAMES": "mqtt"}, r"no such socket was passed, or is left: 3 \(mqtt\)"),
    ],
)
def test_sockets_that_are_not_there(url: str, environment: dict[str, str], said: str) -> None:
    with bound(("127.0.0.1", 0)) as sock, child([url], [sock], **environment) as broker:
        output = broker.communicate(timeout=100)[0]
    assert re.search(f"cannot listen on {url}: .*{said}", output), output


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: bound(("127.0.0.1", 0), socket.SOCK_DGRAM, False), "descriptor 3 carries datagrams"),
        (lambda path: bound(("127.0.0.1", 0), listens=False), "descriptor 3 does not listen"),
        (lambda path: bound("\0curier-abstract"), "descriptor 3 has no path in the file system"),
        (lambda path: open(path, "w"), "descriptor 3 is not a socket"),
        (lambda path: bound(("0.0.0.0", 0)), r"tcp://0.0.0.0:\d+ can be reached from other machines"),
    ],
)
def test_sockets_that_are_none_to_come_in_by(
    path: str, make: Callable[[str], socket.socket], said: str
) -> None:
    with make(path) as sock, child(["fd://3"], [sock]) as broker:
        output = broker.communicate(timeout=100)[0]
    assert re.search(said, output), output


def test_a_socket_is_taken_once() -> None:
    with (
        bound(("127.0.0.1", 0)) as sock,
        child(["fd://3", "fd://mqtt"], [sock], LISTEN_FDNAMES="mqtt") as broker,
    ):
        output = broker.communicate(timeout=100)[0]
    assert "cannot listen on fd://mqtt: no such socket was passed, or is left: none" in output


def test_what_nobody_listens_on_is_told() -> None:
    with (
        bound(("127.0.0.1", 0)) as one,
        bound(("127.0.0.1", 0)) as two,
        child(["fd://4"], [one, two]) as broker,
    ):
        output = broker.communicate(timeout=100)[0]
    assert "descriptor 3 (unknown) was passed to this process, and is not listened on" in output
