"""How long a broker takes to its first CONNACK when much is stored: sessions, subscriptions, queued messages.

The database is made directly; then ``curier broker`` is started on it, as often as ``--runs`` says. What it
says while it loads is shown. Memory is that of the broker's process when it is ready. The longest turn is the
longest stop of its loop in the seconds after that. With ``--expiry`` it has work then: all clients were
connected when it died, so it saves when their sessions end.

    python bench/startup.py --sessions 100000 --messages 1000000
    python bench/startup.py --sessions 990000 --messages 0 --expiry 86400
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

import curier
from curier.codec.encode import encode
from curier.codec.packets import Connect
from curier.session.message import ApplicationMessage
from curier.session.records import MessageSaved, Queued, Record, SessionSaved, Subscribed
from curier.store.database import FILE_NAME, Database

BATCH = 50_000
NEVER = 0xFFFFFFFF
SECONDS_AFTER = 5.0


def build(directory: Path, sessions: int, messages: int, size: int, expiry: int = NEVER) -> None:
    """Every session with one subscription; the messages go to the sessions in turn, one receiver each."""
    database = Database(directory, "os")
    records: list[Record] = []
    for number in range(1, sessions + 1):
        records.append(SessionSaved(number, f"device-{number}", 5, expiry, 0.0))
        records.append(Subscribed(number, b"to/device-%d/#" % number, 1, 0))
        if len(records) >= BATCH:
            database.apply(records)
            records = []
    number = sessions
    for index in range(messages):
        number += 2
        session = 1 + index % sessions
        message = ApplicationMessage(b"to/device-%d/set" % session, b"x" * size, 1, False)
        records.append(MessageSaved(number - 1, message))
        records.append(Queued(session, number, number - 1, 1, False, b"", b""))
        if len(records) >= BATCH:
            database.apply(records)
            records = []
    database.apply(records)
    database.close()


def measure(directory: Path) -> tuple[float, float, int, float]:
    """Seconds from the start of the process to a CONNACK, those of its processor, bytes of memory, and the
    longest turn afterwards in milliseconds.
    """
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "curier",
        "broker",
        "--listen",
        "tcp://127.0.0.1:0",
        "--data",
        str(directory),
        "--sys-interval",
        "0.5",
    ]
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert broker.stdout is not None
        found = re.search(r":(\d+)$", broker.stdout.readline())
        assert found is not None, broker.communicate()
        with socket.create_connection(("127.0.0.1", int(found[1]))) as connection:
            connection.sendall(encode(Connect(4, "bench", True), 4))
            assert connection.recv(4) == b"\x20\x02\x00\x00"
            took = time.perf_counter() - began
        process = psutil.Process(broker.pid)
        memory = process.memory_info().rss
        cpu = process.cpu_times()
        longest = 0.0
        with (
            curier.connect_sync(f"mqtt://127.0.0.1:{found[1]}") as client,
            client.subscribe("$SYS/broker/turn/longest") as told,
        ):
            until = time.monotonic() + SECONDS_AFTER
            while time.monotonic() < until:
                longest = max(longest, float(told.get().payload))
    finally:
        broker.terminate()
        _, log = broker.communicate()
    print("\n".join(f"    {line}" for line in log.splitlines() if "stored" in line or "restored" in line))
    return took, cpu.user + cpu.system, memory, longest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="bytes of each payload")
    parser.add_argument("--expiry", type=int, default=NEVER, help="seconds the sessions live on (for ever)")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        build(Path(name), options.sessions, options.messages, options.size, options.expiry)
        size = (Path(name) / FILE_NAME).stat().st_size
        print(f"{options.sessions} sessions, {options.messages} messages, {size / 2**20:.0f} MiB on disk")
        for _ in range(options.runs):
            took, cpu, memory, longest = measure(Path(name))
            seconds = f"{took:.2f} s ({cpu:.2f} s of processor)"
            print(f"first CONNACK after {seconds}, {memory / 2**20:.0f} MiB of memory")
            print(f"longest turn in the {SECONDS_AFTER:g} s after it: {longest:.1f} ms")


if __name__ == "__main__":
    main()
