"""What strangers at TLS, WebSocket and PROXY listeners cost everybody else, as one Markdown table.

    python -m bench.hostile [--seconds 5] [--rounds 3] [--only REGEX]

One broker, on the first processor, meets all attacks, one after the other. Meanwhile ten pairs of clients on
plain TCP exchange 200 messages a second in all. They share the second processor with the attackers, and go
first there; where the system allows it (root), they and the broker go before all else on the machine: so
they wait for the broker, and not for a processor. Columns: 99 of 100 of the messages, in ms, before each
attack and during it, and the ratio, medians of all rounds; how much of its processor the broker was busy in
the attack, in %; the longest callback of its loop, in ms of a processor; its memory at the most, and 3
seconds after it, more than before, in MiB; and descriptors that are open then, more than before.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import logging
import os
import re
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import trustme

import curier
from bench.hellos import client_hello
from bench.slowest import measure_callbacks, take_longest
from curier.cli.collector import looking_once
from curier.cli.host import keep_freed_memory
from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish, Subscribe

Attack = Callable[[dict[str, int], Path], Coroutine[Any, Any, None]]
CONNECT = encode(Connect(5, "", True, 0), 5)
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
MASK = b"\x80\0\0\0\0"
HELLO = client_hello()
RATE = 200  # messages a second, of ten pairs
MESSAGE_BYTES = len(encode(Publish("pair/0", bytes(64)), 5))


# ---- the broker ----


async def serve(folder: Path) -> None:
    """Serve until the input ends; each line of it is answered with the longest callback, in ms."""
    pair = folder / "server.pem", folder / "server.key"
    listen = [
        curier.Listener("tcp://127.0.0.1:0"),
        curier.Listener("tls://127.0.0.1:0", certificate=pair[0], key=pair[1]),
        curier.Listener("tls://127.0.0.1:0", certificate=pair[0], key=pair[1], client_ca=folder / "ca.pem"),
        curier.Listener("ws://127.0.0.1:0/mqtt"),
        curier.Listener("tcp://127.0.0.1:0", proxy_protocol=(ip_network("127.0.0.1/32"),)),
    ]
    async with curier.Broker(listen) as broker:
        ports = [int(re.findall(r":(\d+)", url)[-1]) for url in broker.urls]
        print(json.dumps(dict(zip(("tcp", "tls", "mutual", "ws", "proxy"), ports, strict=True))), flush=True)
        while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            print(f"{take_longest():.1f}", flush=True)


# ---- attacks ----


async def dial(port: int, number: int = 0) -> socket.socket:
    """A connection from one of 250 addresses."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if number:
        sock.bind((f"127.0.2.{1 + number % 250}", 0))
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def talk(port: int, *pieces: bytes, number: int = 0) -> None:
    """Say this, and wait for the end, a second at most."""
    loop = asyncio.get_running_loop()
    with suppress(OSError), await dial(port, number) as sock:
        for piece in pieces:
            await loop.sock_sendall(sock, piece)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while await loop.sock_recv(sock, 65536):
                    pass


async def crowd(one: Callable[[int], Awaitable[None]], many: int = 100) -> None:
    """So many at once, again and again."""

    async def again(number: int) -> None:
        while True:
            await one(number)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(many))
    await asyncio.gather(*map(again, range(1, many + 1)))


async def junk(ports: dict[str, int], folder: Path) -> None:
    """TLS records of junk"""
    junk = [b"\x16\x03\x01\x40\0\x01\0\x3f\xfc" + os.urandom(16380), HELLO[:60] + os.urandom(2000)]
    await crowd(lambda number: talk(ports["tls"], junk[number % 2], number=number))


def stopping(name: str, said: bytes) -> Attack:
    """5000 clients that begin a handshake, 1000 a second, and say no more."""

    async def attack(ports: dict[str, int], folder: Path) -> None:
        kept = []
        for number in range(5000):
            kept.append(sock := await dial(ports["tls"], number))
            await asyncio.get_running_loop().sock_sendall(sock, said)
            if number % 10 == 9:
                await asyncio.sleep(0.01)
        await asyncio.sleep(60)

    attack.__doc__ = name
    return attack


async def pieces(ports: dict[str, int], folder: Path) -> None:
    """ClientHellos in single bytes"""
    each = [HELLO[at : at + 1] for at in range(len(HELLO))]
    await crowd(lambda number: talk(ports["tls"], *each, number=number))


async def early(ports: dict[str, int], folder: Path) -> None:
    """4000 ClientHellos with 300 kB behind each"""
    kept = [await dial(ports["tls"], number) for number in range(1, 4001)]
    loop = asyncio.get_running_loop()
    await asyncio.gather(
        *(loop.sock_sendall(sock, HELLO + b"\x17\x03\x03\x40\0" * 60_000) for sock in kept),
        return_exceptions=True,
    )
    await asyncio.sleep(60)


async def plain(ports: dict[str, int], folder: Path) -> None:
    """MQTT and HTTP at the TLS port"""
    await crowd(lambda number: talk(ports["tls"], (CONNECT, REQUEST)[number % 2], number=number))


def secured(port: int, context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLSocket:
    context.minimum_version = context.maximum_version = version
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


async def chains(ports: dict[str, int], folder: Path) -> None:
    """Client certificates with chains of 64 kB"""

    def one() -> None:
        context = trusting(folder)
        context.load_cert_chain(folder / "huge.pem", folder / "server.key")
        with suppress(OSError), secured(ports["mutual"], context, ssl.TLSVersion.TLSv1_3) as sock:
            sock.sendall(CONNECT)
            sock.recv(1)

    await crowd(lambda number: asyncio.to_thread(one), 8)


async def key_updates(ports: dict[str, int], folder: Path) -> None:
    """Key updates without end, answers not read"""
    lib = ctypes.CDLL("libssl.so.3")

    def one() -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = trusting(folder).wrap_bio(incoming, outgoing, server_hostname="localhost")
        handle = ctypes.c_void_p.from_address(id(made._sslobj) + 24)  # type: ignore[attr-defined]
        with suppress(OSError), socket.create_connection(("127.0.0.1", ports["tls"])) as sock:
            while True:
                try:
                    made.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
            sock.sendall(outgoing.read())
            while True:
                for _ in range(10_000):
                    lib.SSL_key_update(handle, 1)
                    lib.SSL_do_handshake(handle)
                sock.sendall(outgoing.read())

    await crowd(lambda number: asyncio.to_thread(one), 4)


async def renegotiation(ports: dict[str, int], folder: Path) -> None:
    """Renegotiation in TLS 1.2"""

    async def one(number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{ports['tls']}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await process.communicate(b"R\n" * 20)

    await crowd(one, 4)


async def deaf(ports: dict[str, int], folder: Path) -> None:
    """20 TLS clients that never read what they send themselves, 64 kB each time"""

    def one(number: int) -> None:
        with suppress(OSError), secured(ports["tls"], trusting(folder), ssl.TLSVersion.TLSv1_3) as sock:
            packets = Connect(5, f"deaf{number}", True, 0), Subscribe(1, [(f"deaf/{number}", 0)])
            sock.sendall(b"".join(encode(packet, 5) for packet in packets))
            message = encode(Publish(f"deaf/{number}", bytes(65536)), 5)
            while True:
                sock.sendall(message)

    await crowd(lambda number: asyncio.to_thread(one, number), 20)


def flood(door: str, *said: bytes) -> Attack:
    async def attack(ports: dict[str, int], folder: Path) -> None:
        await crowd(lambda number: talk(ports[door], *said, number=number), 20)

    return attack


async def headers(ports: dict[str, int], folder: Path) -> None:
    """2000 requests a byte a second, and 100 without an end"""
    kept = [await dial(ports["ws"], number) for number in range(1, 2001)]
    loop = asyncio.get_running_loop()

    async def slow() -> None:
        for byte in REQUEST:
            for sock in kept:
                with suppress(OSError):
                    await loop.sock_sendall(sock, bytes((byte,)))
            await asyncio.sleep(1)

    endless = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000
    await asyncio.gather(slow(), crowd(lambda number: talk(ports["ws"], endless, number=number)))


async def smuggled(ports: dict[str, int], folder: Path) -> None:
    """Requests with bodies, second requests, PROXY lines"""
    body = REQUEST[:-2] + b"Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + REQUEST
    said = [("ws", body), ("ws", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n" + REQUEST)]
    said += [("proxy", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n" * 2 + CONNECT), ("proxy", CONNECT)]

    async def one(number: int) -> None:
        door, words = said[number % 4]
        await talk(ports[door], words, number=0 if number % 8 > 4 else number)

    await crowd(one)


ATTACKS: dict[str, Attack] = {
    attack.__doc__ or "": attack
    for attack in (
        junk,
        stopping("5000 ClientHellos, and no more", HELLO),
        stopping("5000 halves of a ClientHello, and no more", HELLO[: len(HELLO) // 2]),
        pieces,
        early,
        plain,
        chains,
        key_updates,
        renegotiation,
        deaf,
        headers,
        smuggled,
    )
} | {
    "MQTT: PINGREQ by the million": flood("tcp", CONNECT, *[b"\xc0\0" * 100_000] * 10),
    "WebSocket: frames announced at 2 ** 63 bytes": flood("ws", REQUEST, b"\x82\xff\x80" + bytes(20)),
    "WebSocket: frames of 2 ** 63 - 1 bytes": flood(
        "ws", REQUEST, b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4), *[CONNECT + bytes(65536)] * 100
    ),
    "WebSocket: frames without a mask": flood("ws", REQUEST, b"\x82\x7e\x10\0" + bytes(4096)),
    "WebSocket: empty frames by the million": flood("ws", REQUEST, *[(b"\x82" + MASK) * 40_000] * 25),
    "WebSocket: pings and pongs by the million": flood(
        "ws", REQUEST, *[(b"\x89" + MASK + b"\x8a" + MASK) * 20_000] * 25
    ),
    "WebSocket: fragments of a message without an end": flood(
        "ws", REQUEST, b"\x02" + MASK, *[(b"\0" + MASK) * 40_000] * 25
    ),
}


# ---- what it costs ----


def connected(port: int, client_id: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(encode(Connect(5, client_id, True, 0), 5))
    sock.recv(100)
    return sock


class Pairs:
    """Ten publishers, and a subscriber for each; every message has in it when it was sent."""

    def __init__(self, port: int) -> None:
        self.waiting = select.epoll()
        self.publishers: list[socket.socket] = []
        self.subscribers: dict[int, socket.socket] = {}
        for number in range(10):
            self.publishers.append(connected(port, f"publisher{number}"))
            subscriber = connected(port, f"subscriber{number}")
            subscriber.sendall(encode(Subscribe(1, [(f"pair/{number}", 0)]), 5))
            subscriber.recv(100)
            self.subscribers[subscriber.fileno()] = subscriber
            self.waiting.register(subscriber, select.EPOLLIN)

    def measure(self, seconds: float, process: psutil.Process) -> tuple[float, int]:
        """99 of 100 messages, in ms; and the most memory that the broker had meanwhile."""
        waits: list[float] = []
        most = 0
        began = time.monotonic()
        count = int(seconds * RATE)
        for number in range(count):
            while (wait := began + number / RATE - time.monotonic()) > 0:
                self._take(wait, waits)
            payload = struct.pack("d56x", time.monotonic())
            self.publishers[number % 10].sendall(encode(Publish(f"pair/{number % 10}", payload), 5))
            if number % 10 == 0:
                most = max(most, process.memory_info().rss)
        while len(waits) < count:
            self._take(10.0, waits)
        return sorted(waits)[count * 99 // 100] * 1000, most

    def _take(self, wait: float, waits: list[float]) -> None:
        for fd, _ in self.waiting.poll(wait):
            chunk = self.subscribers[fd].recv(65536)
            now = time.monotonic()
            for end in range(len(chunk), 0, -MESSAGE_BYTES):
                waits.append(now - struct.unpack_from("d", chunk, end - 64)[0])


class Cost:
    """Of one attack, in every round."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.meanwhile: list[float] = []
        self.busy: list[float] = []
        self.longest: list[float] = []
        self.most: list[float] = []
        self.after: list[float] = []
        self.files: list[int] = []

    def row(self) -> str:
        before, meanwhile = median(self.before), median(self.meanwhile)
        figures = f"{before:.2f} | {meanwhile:.2f} | {meanwhile / before:.1f} | {median(self.busy):.0f}"
        figures += f" | {median(self.longest):.1f} | {max(self.most):.0f} | {max(self.after):.0f}"
        return f"{figures} | {max(self.files)}"


class Bench:
    """One broker, the pairs, and one attack after the other."""

    def __init__(
        self, options: argparse.Namespace, command: list[str], broker: subprocess.Popen[str]
    ) -> None:
        self.options = options
        self.command = command
        self.broker = broker
        self.process = psutil.Process(broker.pid)
        assert broker.stdout is not None
        self.ports = broker.stdout.readline()
        self.pairs = Pairs(json.loads(self.ports)["tcp"])
        self.costs: dict[str, Cost] = {}

    def longest(self) -> float:
        """The longest callback since the last time, in ms."""
        assert self.broker.stdin is not None
        assert self.broker.stdout is not None
        print(file=self.broker.stdin, flush=True)
        return float(self.broker.stdout.readline())

    def attack(self, name: str) -> None:
        """Once; and note what it costs."""
        cost = self.costs.setdefault(name, Cost())
        seconds = self.options.seconds
        cost.before.append(self.pairs.measure(seconds, self.process)[0])
        memory, files = self.process.memory_info().rss, self.process.num_fds()
        self.longest()
        with subprocess.Popen(
            [*self.command, "--attack", name, "--ports", self.ports], stdout=subprocess.PIPE
        ) as attacker:
            assert attacker.stdout is not None
            attacker.stdout.readline()
            used, began = sum(self.process.cpu_times()[:2]), time.monotonic()
            p99, most = self.pairs.measure(seconds, self.process)
            used = sum(self.process.cpu_times()[:2]) - used
            cost.busy.append(used / (time.monotonic() - began) * 100)
            cost.meanwhile.append(p99)
            cost.longest.append(self.longest())
            attacker.kill()
        time.sleep(3)
        cost.most.append((most - memory) / 2**20)
        cost.after.append((self.process.memory_info().rss - memory) / 2**20)
        cost.files.append(self.process.num_fds() - files)
        print(f"{name}: {cost.before[-1]:.2f} {p99:.2f} {cost.busy[-1]:.0f} %", file=sys.stderr, flush=True)

    def run(self) -> None:
        names = [name for name in ATTACKS if re.search(self.options.only, name)]
        for _ in range(self.options.rounds):
            for name in names:
                self.attack(name)
        print(
            "| attack | p99 before, ms | meanwhile | ratio | busy, % | longest | MiB | after | descriptors |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for name, cost in self.costs.items():
            print(f"| {name} | {cost.row()} |")


def prefer(core: int | None, nice: int, is_first: bool = False) -> None:
    """Have this process run on one processor (None: on any), and before others, as far as we may."""
    if core is not None:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    with suppress(OSError):
        if is_first:
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        os.setsid()
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        Path("/proc/self/autogroup").write_text(str(nice))  # where each session is given its share


def write_files(folder: Path) -> None:
    """An authority, the server's certificate, and one with a chain of 64 kB."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made.private_key_pem.write_to_path(folder / "server.key")
    own = made.cert_chain_pems[0].bytes()
    (folder / "server.pem").write_bytes(own)
    (folder / "huge.pem").write_bytes(own + own * (65_536 * 4 // 3 // len(own)))


def attack_all(options: argparse.Namespace, folder: Path) -> None:
    write_files(folder)
    command = [sys.executable, "-m", "bench.hostile", "--folder", str(folder)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=lambda: prefer(None if options.spread else 0, -20),
        ) as broker,
    ):
        prefer(None if options.spread else 1, 0, is_first=True)
        Bench(options, command, broker).run()
    text = (folder / "log").read_text()
    print(f"\n{text.count(chr(10))} lines of the log, {text.count('Traceback')} errors", file=sys.stderr)
    if options.log:
        Path(options.log).write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spread", action="store_true", help="let the system choose processors")
    parser.add_argument("--only", default="", metavar="REGEX", help="attacks with such a name")
    parser.add_argument("--log", help="a file for the broker's log")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--ports", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if options.serve:
        keep_freed_memory()
        measure_callbacks()
        logging.basicConfig(level=logging.INFO)
        with looking_once():
            asyncio.run(serve(options.folder))
    elif options.attack:
        prefer(None, -10)
        print(flush=True)
        asyncio.run(ATTACKS[options.attack](options.ports, options.folder))
    else:
        with tempfile.TemporaryDirectory() as name:
            attack_all(options, Path(name))


if __name__ == "__main__":
    main()
