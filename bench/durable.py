"""What durability costs: QoS 1 to a persistent session, acknowledged when it is on disk.

    python -m bench.durable [--messages N] [--only WORD] [--case WORD]

Each row is a broker process of its own with an empty directory: one or fifty publishers, the subscriber
connected or away; as fast as acknowledgements allow, one message at a time, or at a steady rate. Every
message is numbered; at the end the session's messages are fetched and counted. The brokers take turns: curier
with each durability, and mosquitto (if it is installed) with its persistence, which writes a snapshot now and
then and acknowledges without waiting for it. With ``--directory /dev/shm`` (or another disk in memory) a sync
costs nothing: what is left of a row is what the brokers themselves need.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish, Subscribe

PAYLOAD = 64
WINDOW = 1000  # unacknowledged messages of one publisher; shared among fifty
STRICTEST_PART = 20  # of the messages are enough where a broker writes all it holds for each of them
SINGLE_PART = 20  # and where there is one message at a time
SECONDS = 4  # of a steady rate
TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    """A plain socket that speaks as much MQTT 3.1.1 as the benchmark needs."""

    def __init__(self, port: int, client_id: str, clean: bool) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(encode(Connect(4, client_id, clean, 0), 4))
        answer = self.sock.recv(4, socket.MSG_WAITALL)
        if answer[:2] != b"\x20\x02" or answer[3]:
            raise SystemExit(f"the broker refused {client_id}: {answer.hex()}")
        self.rest = b""

    def receive(self) -> tuple[list[bytes], int]:
        """What one read brings: the PUBLISH packets' payloads, acknowledged at once, and how many PUBACKs."""
        chunk = self.sock.recv(1 << 18)
        if not chunk:
            raise SystemExit("the broker closed a connection")
        data = self.rest + chunk
        payloads: list[bytes] = []
        acks: list[bytes] = []
        pubacks = 0
        pos = 0
        while pos + 2 <= len(data):
            stop = pos + 2 + data[pos + 1]  # all packets here are short
            if stop > len(data):
                break
            if data[pos] == 0x40:
                pubacks += 1
            elif data[pos] >> 4 == 3:
                at = pos + 4 + (data[pos + 2] << 8 | data[pos + 3])
                acks.append(b"\x40\x02" + data[at : at + 2])
                payloads.append(data[at + 2 : stop])
            pos = stop
        self.rest = data[pos:]
        if acks:
            self.sock.sendall(b"".join(acks))
        return payloads, pubacks


class Publisher(Client):
    """Sends numbered messages, at most ``window`` of them unacknowledged."""

    def __init__(self, port: int, number: int, messages: int, window: int) -> None:
        super().__init__(port, f"publisher-{number}", True)
        self.number = number
        self.messages = messages
        self.window = window
        self.sent = 0
        self.acked = 0
        self.sent_at: list[float] = []
        self.latencies: list[float] = []

    def fill(self, now: float, limit: int) -> None:
        """Send what the window, and ``limit`` in all, allow."""
        count = min(self.messages, limit, self.acked + self.window) - self.sent
        if count <= 0:
            return
        packets = []
        for index in range(self.sent, self.sent + count):
            payload = f"{self.number}:{index}:".encode().ljust(PAYLOAD, b".")
            packets.append(encode(Publish("bench/durable", payload, 1, packet_id=index % 65535 + 1), 4))
        self.sent += count
        self.sent_at += [now] * count
        self.sock.sendall(b"".join(packets))

    def take(self) -> None:
        now = time.perf_counter()
        _, pubacks = self.receive()
        for index in range(self.acked, self.acked + pubacks):
            self.latencies.append(now - self.sent_at[index])
        self.acked += pubacks


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A broker process and its log."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the broker does not listen")


def commands(port: int, directory: Path) -> dict[str, list[str]]:
    """How to start each broker on ``port`` with its state in ``directory``."""
    config = directory / "curier.toml"
    config.write_text("[limits]\nmax_queued_messages = 10_000_000\nmax_queued_bytes = '8 GiB'\n")
    curier = [sys.executable, "-m", "curier", "broker", "--log-level", "warning", "--config", str(config)]
    curier += ["--listen", f"tcp://127.0.0.1:{port}"]
    data = ["--data", str(directory / "data")]
    rows = {
        "curier, memory": [*curier, "--memory"],
        "curier, os": [*curier, *data, "--durability", "os"],
        "curier, fsync": [*curier, *data, "--durability", "fsync"],
    }
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    strictest = "autosave_on_changes true\nautosave_interval 1\n"
    if mosquitto:
        for name, strict in (("mosquitto, persistence", ""), ("mosquitto, strictest", strictest)):
            file = directory / f"mosquitto-{len(strict)}.conf"
            file.write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\n"
                "max_queued_messages 0\nmax_inflight_messages 0\n"
                f"persistence true\npersistence_location {directory}/\nuser root\nlog_type error\n{strict}"
            )
            rows[name] = [mosquitto, "-c", str(file)]
    return rows


def cpu_seconds(pid: int) -> tuple[float, float]:
    """CPU time of a process, and of its children."""

    def own(of: int) -> float:
        tasks = [task / "schedstat" for task in Path(f"/proc/{of}/task").iterdir()]
        if all(task.exists() for task in tasks):  # to the nanosecond
            return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
        fields = Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    children = re.findall(r"\d+", Path(f"/proc/{pid}/task/{pid}/children").read_text())
    return own(pid), sum(own(int(child)) for child in children)


class Figures:
    """What one run gave."""

    def __init__(self, rate: float, latencies: list[float], cpu: float, store_cpu: float, lost: int) -> None:
        ordered = sorted(latencies)
        self.rate = rate
        self.p50 = ordered[len(ordered) // 2] * 1000
        self.p99 = ordered[len(ordered) * 99 // 100] * 1000
        self.cpu = cpu
        self.store_cpu = store_cpu
        self.lost = lost


class Case(NamedTuple):
    """Who publishes how. ``window`` is that of each publisher; ``rate`` 0: as acknowledgements allow."""

    name: str
    publishers: int
    window: int
    is_online: bool
    rate: float = 0.0


CASES = (
    Case("1 at a time, subscriber away", 1, 1, False),
    Case("1 at a time, subscriber connected", 1, 1, True),
    Case("1 at 2000/s, subscriber away", 1, WINDOW, False, 2000.0),
    Case("50 at 2000/s, subscriber away", 50, WINDOW // 50, False, 2000.0),
    Case("50 at 2000/s, subscriber connected", 50, WINDOW // 50, True, 2000.0),
    Case("50 at 5000/s, subscriber connected", 50, WINDOW // 50, True, 5000.0),
    Case("1 x 1000 in flight, subscriber connected", 1, WINDOW, True),
    Case("50 x 20 in flight, subscriber connected", 50, WINDOW // 50, True),
    Case("1 x 1000 in flight, subscriber away", 1, WINDOW, False),
    Case("50 x 20 in flight, subscriber away", 50, WINDOW // 50, False),
)


def run(pid: int, port: int, case: Case, messages: int) -> Figures:
    """Publish ``messages``, and count what the session gets."""
    _, publishers, window, is_online, rate = case
    subscriber = Client(port, "subscriber", False)
    subscriber.sock.sendall(encode(Subscribe(1, [("bench/durable", 1)]), 4))
    subscriber.sock.recv(5, socket.MSG_WAITALL)
    if not is_online:
        subscriber.sock.sendall(b"\xe0\x00")
        subscriber.sock.close()
    clients = [Publisher(port, number, messages // publishers, window) for number in range(publishers)]
    total = sum(client.messages for client in clients)
    seen: set[bytes] = set()
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
        if is_online:
            selector.register(subscriber.sock, selectors.EVENT_READ, subscriber)
        before = cpu_seconds(pid)
        began = time.perf_counter()
        while any(client.acked < client.messages for client in clients):
            now = time.perf_counter()
            limit = int((now - began) * rate / publishers) if rate else total
            for client in clients:
                client.fill(now, limit)
            for key, _ in selector.select(0.001):
                if key.data is subscriber:
                    seen.update(subscriber.receive()[0])
                else:
                    key.data.take()
        took = time.perf_counter() - began
        after = cpu_seconds(pid)
    for client in clients:
        client.sock.close()
    if not is_online:
        subscriber = Client(port, "subscriber", False)
    subscriber.sock.settimeout(10)
    while len(seen) < total:
        try:
            seen.update(subscriber.receive()[0])
        except TimeoutError:
            break
    subscriber.sock.close()
    latencies = [latency for client in clients for latency in client.latencies]
    cpu, store_cpu = ((after[index] - before[index]) / total * 1e6 for index in (0, 1))
    return Figures(total / took, latencies, cpu, store_cpu, total - len(seen))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=100_000, help="messages as fast as it goes (100000)")
    parser.add_argument("--only", default="", help="only brokers with this word in their name")
    parser.add_argument("--case", default="", help="only cases with this word in their name")
    parser.add_argument("--directory", help="where the data is kept for the time (the system's own place)")
    arguments = parser.parse_args()
    print(
        "| broker | publishers | messages/s | acknowledged after p50, p99 ms "
        "| CPU us/message, store's | lost |"
    )
    print("|---|---|---:|---:|---:|---:|")
    for case in CASES:
        if arguments.case not in case.name:
            continue
        with tempfile.TemporaryDirectory(prefix="curier-bench-") as name:
            names = [row for row in commands(1, Path(name)) if arguments.only in row]
        for row in names:
            with tempfile.TemporaryDirectory(prefix="curier-bench-", dir=arguments.directory) as name:
                port = free_port()
                with running(commands(port, Path(name))[row], Path(name)) as process:
                    wait_for(port)
                    messages = int(case.rate * SECONDS) if case.rate else arguments.messages
                    if case.window == 1:
                        messages //= SINGLE_PART
                    elif "strictest" in row and not case.rate:
                        messages //= STRICTEST_PART
                    figures = run(process.pid, port, case, messages)
            print(
                f"| {row} | {case.name} | {figures.rate:,.0f} | {figures.p50:.2f}, {figures.p99:.1f} "
                f"| {figures.cpu:.1f}, {figures.store_cpu:.1f} | {figures.lost} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
