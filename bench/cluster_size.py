"""What one client, one session and one message cost the nodes of a cluster and its servers of NATS.

    python -m bench.cluster_size [--clients N]

Three servers and two nodes on this machine. N clients of MQTT 5.0 whose sessions are kept connect to one
node, behind 300 whose memory is that of the first ones; they subscribe to a topic each, rest with their
PINGREQs, and disconnect. Then the other node publishes what nobody here wants, which this one reads all the
same. Memory is what a process has for itself (``Private_Dirty`` of Linux), CPU user and system time.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.jetstream.servers import NatsServers
from tests.ports import free_port

BEFORE = 300
PINGS = 5
EXPIRY = b"\x05\x11\x00\x0f\x42\x40"


def own_kib(pid: int) -> int:
    """Memory that a process shares with no other."""
    found = re.search(r"Private_Dirty: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return int(found[1])


def cpu(*pids: int) -> float:
    """Seconds that these have worked."""
    ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in pids]
    return sum(int(one) for pair in ticks for one in pair) / os.sysconf("SC_CLK_TCK")


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 16384
    size = [len(body)] if len(body) < 128 else [len(body) % 128 | 128, len(body) // 128]
    return bytes([first, *size]) + body


class Node:
    def __init__(self, name: str, servers: NatsServers) -> None:
        self.port = free_port()
        line = [sys.executable, "-m", "curier", "broker", "--cluster", ",".join(servers.urls)]
        line += ["--cluster-monitors", ",".join(servers.monitor_urls), "--node-name", name]
        line += ["--listen", f"tcp://127.0.0.1:{self.port}", "--log-level", "warning"]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        while "listening" not in self.process.stdout.readline():
            assert self.process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, names: list[str]) -> list[socket.socket]:
        found = []
        for at in range(0, len(names), 100):
            batch = [socket.create_connection(("127.0.0.1", self.port)) for _ in names[at : at + 100]]
            for one, name in zip(batch, names[at : at + 100], strict=True):
                one.sendall(packet(0x10, text("MQTT") + b"\x05\x00\x00\x00" + EXPIRY + text(name)))
            for one in batch:
                answer = one.recv(4096)
                assert answer[0] == 0x20
                assert answer[3] == 0, answer
            found += batch
        return found


def say(sockets: list[socket.socket], packets: list[bytes], answer: int) -> None:
    for at in range(0, len(sockets), 200):
        for one, data in zip(sockets[at : at + 200], packets[at : at + 200], strict=True):
            one.sendall(data)
        for one in sockets[at : at + 200]:
            assert one.recv(4096)[0] == answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=3000)
    clients = parser.parse_args().clients
    with tempfile.TemporaryDirectory() as folder:
        servers = NatsServers(Path(folder))
        pids = [one.pid for one in servers.processes if one is not None]
        nodes = [Node("a", servers), Node("b", servers)]
        try:
            measure(nodes[0], nodes[1], pids, clients)
        finally:
            for one in nodes:
                one.process.terminate()
                one.process.wait()
            servers.close()


def measure(node: Node, other: Node, servers: list[int], clients: int) -> None:
    held = node.connect([f"before{at}" for at in range(BEFORE)])
    last = [0.0, 0.0, 0.0, 0.0]

    def tell(what: str, count: int) -> None:
        time.sleep(3)
        now = [own_kib(node.pid), cpu(node.pid), cpu(other.pid), cpu(*servers)]
        if what:
            kib, *us = [(new - old) / count for new, old in zip(now, last, strict=True)]
            mine, others, nats = [one * 1e6 for one in us]
            print(
                f"{what:<34}{kib:8.2f} KiB {mine:8.1f} us {others:8.1f} us {nats:8.1f} us of NATS", flush=True
            )
        last[:] = now

    names = [f"client{at:08}" for at in range(clients)]
    print("                                  at the node: memory, CPU; at the other one: CPU; at the servers")
    tell("", 1)
    sockets = node.connect(names)
    tell("a client that connects", clients)
    topics = [packet(0x82, b"\x00\x01\x00" + text(f"c/{name}/in") + b"\x01") for name in names]
    say(sockets, topics, 0x90)
    tell("its subscription", clients)
    for _ in range(PINGS):
        say(sockets, [b"\xc0\x00"] * clients, 0xD0)
    tell("a PINGREQ", clients * PINGS)
    time.sleep(30)
    tell("a client that says nothing for 30 s", clients)
    for one in sockets:
        one.sendall(b"\xe0\x00")
        one.close()
    tell("it goes; its session stays", clients)
    writer, count = other.connect(["writer"])[0], 0
    body = text("nobody/wants/this") + b"%c%c\x00" + bytes(200)
    for _ in range(40):
        writer.sendall(b"".join([packet(0x32, body % (at // 256, at % 256)) for at in range(1, 501)]))
        waits = 500 * 4  # bytes of PUBACKs
        while waits:
            waits -= len(writer.recv(65536))
        count += 500
    tell("a message that all read", count)
    assert held


if __name__ == "__main__":
    main()
