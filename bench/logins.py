"""What wrong passwords cost everybody else.

    python -m bench.logins [--rate 1500] [--addresses 50] [--seconds 20] [--hang-up] [--names 1000]

Strangers at so many addresses (127.0.1.1 and on) send so many logins a second, each with a password of its
own, wrong. ``--hang-up`` has each of them reset its connection at once; else they wait for the answer.
Meanwhile, from 127.0.0.1:

- new: users log in that the broker has not seen yet, one after another, each with an Argon2id check;
- known: one user logs in again and again;
- others: a client that is connected sends itself a message every 5 ms.

They are measured before, too, and while strangers connect at the same rate without a password, which is
refused without a check: the difference to that is what the passwords cost.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from curier.auth.hashes import new_hash
from curier.codec.encode import encode
from curier.codec.packets import Connect, Packet, Publish, Subscribe

CURIER = [str(Path(sys.executable).with_name("curier"))]
USERS = 1000
PASSWORD = b"the right one"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=1500)
    parser.add_argument("--addresses", type=int, default=50)
    parser.add_argument("--names", type=int, default=1000, help="user names that the strangers try")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hang-up", action="store_true")
    parser.add_argument("--same-address", action="store_true", help="the strangers are at 127.0.0.1 as well")
    parser.add_argument("--storm", metavar="PORT", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--without-passwords", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.storm:
        asyncio.run(storm(options))
        return
    with tempfile.TemporaryDirectory() as directory:
        users = Path(directory) / "users"
        encoded = new_hash(PASSWORD)
        users.write_text("".join(f"user{number}:{encoded}\n" for number in range(USERS)))
        users.chmod(0o600)
        command = [
            *CURIER,
            "broker",
            "--memory",
            "--listen",
            "tcp://127.0.0.1:0",
            "--listen",
            "tcp://0.0.0.0:0",
        ]
        command += ["--password-file", str(users), "--log-level", "error"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
            assert broker.stdout is not None
            broker.stdout.readline()
            port = int(broker.stdout.readline().rpartition(":")[2])
            try:
                asyncio.run(measure(port, options))
            finally:
                broker.terminate()


# -- the strangers --


async def storm(options: argparse.Namespace) -> None:
    """Send logins at a steady rate until the standard input ends; tell the answers then."""
    answers: Counter[str] = Counter()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    tasks: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    for number in itertools.count():
        due = began + number / options.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if ended.done():
            break
        task = asyncio.create_task(one_login(options, number, answers))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    took = time.monotonic() - began
    print(
        f"{number / took:.0f} a second;",
        ", ".join(f"{count} {name}" for name, count in answers.most_common()),
    )


async def one_login(options: argparse.Namespace, number: int, answers: Counter[str]) -> None:
    user = None if options.without_passwords else f"user{number % options.names}"
    password = None if options.without_passwords else b"wrong %d" % number
    address = f"127.0.{0 if options.same_address else 1}.{1 + number % options.addresses}"
    loop = asyncio.get_running_loop()
    try:
        sock = socket.socket()
    except OSError as error:
        answers[error.strerror or ""] += 1
        return
    with sock:
        sock.setblocking(False)
        try:
            sock.bind((address, 0))
            await loop.sock_connect(sock, ("127.0.0.1", options.storm))
            await loop.sock_sendall(sock, encode(Connect(5, f"c{number}", True, 0, user, password), 5))
            if options.hang_up:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                answers["hung up"] += 1
                return
            answer = await loop.sock_recv(sock, 4096)
            answers[f"0x{answer[3]:02X}" if len(answer) > 3 else "closed"] += 1
        except OSError as error:
            answers[type(error).__name__] += 1


# -- what the others see of them --


async def measure(port: int, options: argparse.Namespace) -> None:
    numbers = iter(range(1, USERS))
    others = await Other.connect(port)
    await login(port, 0)
    print(f"{'':34} {'new':>23} {'known':>23} {'others':>23}")
    print(f"{'median, 99 of 100, longest in ms':34}")
    await phase("nobody else", port, numbers, others, options.seconds / 2)
    for name, words in (("strangers without passwords", ["--without-passwords"]), ("wrong passwords", [])):
        words += ["--hang-up"] if options.hang_up else []
        words += ["--same-address"] if options.same_address else []
        for option in ("rate", "addresses", "names"):
            words += [f"--{option}", str(getattr(options, option))]
        command = [sys.executable, "-m", "bench.logins", "--storm", str(port), *words]
        pipe = asyncio.subprocess.PIPE
        strangers = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        await asyncio.sleep(1.0)
        await phase(name, port, numbers, others, options.seconds)
        assert strangers.stdin is not None
        strangers.stdin.close()
        said, _ = await strangers.communicate()
        print(f"    {said.decode().strip()}")


async def phase(name: str, port: int, numbers: Iterator[int], others: Other, seconds: float) -> None:
    new: list[float] = []
    known: list[float] = []
    until = time.monotonic() + seconds

    async def log_in_new() -> None:
        while time.monotonic() < until:
            new.append(await login(port, next(numbers)))
            await asyncio.sleep(0.2)

    async def log_in_known() -> None:
        while time.monotonic() < until:
            known.append(await login(port, 0))
            await asyncio.sleep(0.05)

    await asyncio.gather(log_in_new(), log_in_known(), others.talk(until))
    print(f"{name:34} {told(new)} {told(known)} {told(others.times)}", flush=True)


def told(times: list[float]) -> str:
    ordered = sorted(times)
    return " ".join(f"{1000 * ordered[int(share * (len(ordered) - 1))]:7.1f}" for share in (0.5, 0.99, 1.0))


async def login(port: int, number: int) -> float:
    """Seconds from the first packet of TCP to CONNACK."""
    began = time.perf_counter()
    connect = Connect(5, f"good{number}", True, 0, f"user{number}", PASSWORD)
    try:
        _, writer = await dial(port, connect)
    except EOFError:
        print(f"    not let in for {time.perf_counter() - began:.1f} s, then closed")
        return math.inf
    took = time.perf_counter() - began
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return took


async def dial(port: int, connect: Connect) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(connect, 5))
    answer = await read_packet(reader)
    if answer[1] != 0:  # the Reason Code
        raise SystemExit(f"a right password is refused: 0x{answer[1]:02X} {answer[2:]!r}")
    return reader, writer


async def read_packet(reader: asyncio.StreamReader) -> bytes:
    """The body of a packet of less than 128 bytes."""
    return await reader.readexactly((await reader.readexactly(2))[1])


class Other:
    """A client that sends itself messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.times: list[float] = []

    @classmethod
    async def connect(cls, port: int, user: str = "user0", password: bytes = PASSWORD) -> Other:
        other = cls(*await dial(port, Connect(5, "other", True, 0, user, password)))
        await other._ask(Subscribe(1, [("t", 0)]))
        return other

    async def _ask(self, packet: Packet) -> None:
        self.writer.write(encode(packet, 5))
        await read_packet(self.reader)

    async def talk(self, until: float) -> None:
        self.times = []
        while time.monotonic() < until:
            began = time.perf_counter()
            await self._ask(Publish("t", b"x"))
            self.times.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)


if __name__ == "__main__":
    main()
