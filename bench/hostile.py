"""What strangers at TLS, WebSocket and PROXY listeners cost everybody else, as one Markdown table.

    python -m bench.hostile [--seconds 5] [--only REGEX]

One broker meets all attacks, one after the other. Meanwhile a client on plain TCP sends itself a message
every 5 ms. Columns: 99 of 100 of its messages, in ms, before the attack and during it (the attackers want a
processor, too); the longest callback of the broker's loop, in ms of a processor; the broker's memory at the
most, and 3 seconds after it, more than before, in MiB; and descriptors that are open then, more than before.
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
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psutil
import trustme

import curier
from bench.hellos import client_hello
from bench.logins import read_packet
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


async def half(ports: dict[str, int], folder: Path) -> None:
    """5000 ClientHellos, and no more"""
    kept = []
    for number in range(5000):
        kept.append(sock := await dial(ports["tls"], number))
        await asyncio.get_running_loop().sock_sendall(sock, HELLO)
    await asyncio.sleep(60)


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


def web(*frames: bytes) -> Attack:
    async def attack(ports: dict[str, int], folder: Path) -> None:
        await crowd(lambda number: talk(ports["ws"], REQUEST, *frames, number=number), 20)

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
        half,
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
    "WebSocket: frames of 2^63 bytes, frames without a mask": web(b"\x82\xff" + b"\xff" * 20),
    "WebSocket: empty frames by the million": web(*[(b"\x82" + MASK) * 40_000] * 25),
    "WebSocket: pings and pongs by the million": web(*[(b"\x89" + MASK + b"\x8a" + MASK) * 20_000] * 25),
    "WebSocket: fragments of a message without an end": web(b"\x02" + MASK, *[(b"\0" + MASK) * 40_000] * 25),
}


# ---- what it costs ----


async def ask(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, data: bytes) -> None:
    writer.write(data)
    await read_packet(reader)


async def percentile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> float:
    """99 of 100 messages of a client to itself, in ms."""
    times = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        await ask(writer, reader, encode(Publish("t", b"x"), 5))
        times.append(time.perf_counter() - began)
        await asyncio.sleep(0.005)
    return sorted(times)[len(times) * 99 // 100] * 1000


async def measure(options: argparse.Namespace, command: list[str], broker: subprocess.Popen[str]) -> None:
    said, heard = broker.stdin, broker.stdout
    assert said is not None
    assert heard is not None
    process = psutil.Process(broker.pid)
    ports = heard.readline()
    reader, writer = await asyncio.open_connection("127.0.0.1", json.loads(ports)["tcp"])
    await ask(writer, reader, CONNECT)
    await ask(writer, reader, encode(Subscribe(1, [("t", 0)]), 5))
    print("| attack | p99 before, ms | p99 meanwhile | longest callback | memory | after | descriptors |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in ATTACKS:
        if not re.search(options.only, name):
            continue
        before = await percentile(reader, writer, options.seconds)
        memory, files = process.memory_info().rss, process.num_fds()
        print(file=said, flush=True)
        heard.readline()
        attacker = await asyncio.create_subprocess_exec(*command, "--attack", name, "--ports", ports)
        most = [memory]
        watching = asyncio.create_task(watch(process, most))
        meanwhile = await percentile(reader, writer, options.seconds)
        print(file=said, flush=True)
        longest = heard.readline().strip()
        attacker.kill()
        await attacker.wait()
        watching.cancel()
        await asyncio.sleep(3)
        more = [f"{(size - memory) / 2**20:.0f}" for size in (max(most), process.memory_info().rss)]
        row = name, f"{before:.1f}", f"{meanwhile:.1f}", longest, *more, str(process.num_fds() - files)
        print("| " + " | ".join(row) + " |", flush=True)
    writer.close()


async def watch(process: psutil.Process, most: list[int]) -> None:
    while True:
        most.append(process.memory_info().rss)
        await asyncio.sleep(0.05)


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
            [*command, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as broker,
    ):
        asyncio.run(measure(options, command, broker))
    text = (folder / "log").read_text()
    print(f"\n{text.count(chr(10))} lines of the log, {text.count('Traceback')} errors", file=sys.stderr)
    if options.log:
        Path(options.log).write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
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
        asyncio.run(ATTACKS[options.attack](options.ports, options.folder))
    else:
        with tempfile.TemporaryDirectory() as name:
            attack_all(options, Path(name))


if __name__ == "__main__":
    main()
