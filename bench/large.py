"""Packets as large as a broker takes, or as many small ones as one read brings: the cases of ``pauses``.

Each is played over plain sockets, so that nothing but the broker is in the way.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish, Subscribe, Will
from curier.codec.primitives import encode_varint
from curier.codec.properties import Properties

LARGEST = 16 * 1024 * 1024 - 1024  # bytes of a payload: ``max_packet_size`` without a head
READ = 256 * 1024  # bytes the broker reads at once
SECONDS = 30.0
TOGETHER = 20  # clients that come at once, since a case is not about that
FLOOD_SECONDS = 5.0  # of a flood to many readers, which then all leave


class Client:
    """A connection that has its CONNACK; a thread takes what the broker sends, and counts it."""

    def __init__(self, url: str, version: int, client_id: str, expiry: int = 0) -> None:
        host, port = url.rpartition("/")[2].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), SECONDS)
        properties = None
        if version == 5:
            properties = Properties()
            properties.session_expiry_interval = expiry
        self.socket.sendall(encode(Connect(version, client_id, True, 0, properties=properties), version))
        self.socket.recv(1000)
        self.came = 0
        self.first = b""
        self.has_come = threading.Condition()
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def _read(self) -> None:
        buffer = bytearray(1 << 20)
        while True:
            try:
                size = self.socket.recv_into(buffer)
            except OSError:
                size = 0
            with self.has_come:
                if not self.came:
                    self.first = bytes(buffer[: min(size, 100)])
                self.came += size if size else SOCKET_ENDED
                self.has_come.notify()
            if not size:
                return

    def send(self, data: bytes) -> None:
        """Send, as far as the broker takes it."""
        try:
            self.socket.sendall(data)
        except OSError:  # it has refused it
            pass

    def wait_for(self, size: int) -> None:
        """Wait until so many bytes have come since the last time, or the end of the connection."""
        with self.has_come:
            if not self.has_come.wait_for(lambda: self.came >= size, SECONDS):
                raise TimeoutError(f"{self.came} of {size} bytes came in {SECONDS:g} seconds")
            self.came = 0

    def subscribe(self, topic_filter: str, qos: int, version: int) -> None:
        """Subscribe, and wait for the answer."""
        self.send(encode(Subscribe(1, [(topic_filter, qos)]), version))
        self.wait_for(5)

    def close(self) -> None:
        """End it without DISCONNECT."""
        with suppress(OSError):  # the broker was first
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


SOCKET_ENDED = 1 << 40


def large_publish(qos: int, version: int, retain: bool = False) -> bytes:
    """A PUBLISH near the largest."""
    payload = b"x" * LARGEST
    return encode(Publish("large", payload, qos, retain=retain, packet_id=1 if qos else 0), version)


def passing(qos: int, publisher: int, *readers: int) -> Callable[[str], None]:
    """A large message, twice, to readers of these versions."""

    def run(url: str) -> None:
        clients = [Client(url, version, f"r{n}") for n, version in enumerate(readers)]
        for client, version in zip(clients, readers, strict=True):
            client.subscribe("large", qos, version)
        sender = Client(url, publisher, "p")
        for _ in range(2):
            sender.send(large_publish(qos, publisher))
            for client in clients:
                client.wait_for(LARGEST)
            if qos:
                sender.wait_for(4)
        for client in clients:
            client.close()
        sender.close()

    return run


def kept(url: str) -> None:
    """A large message for a session whose client is away."""
    reader = Client(url, 5, "reader", 3600)
    reader.subscribe("large", 1, 5)
    reader.close()
    sender = Client(url, 5, "p")
    for _ in range(2):
        sender.send(large_publish(1, 5))
        sender.wait_for(4)
    reader = Client(url, 5, "reader", 3600)
    sender.close()
    reader.close()


def retained(url: str) -> None:
    """A large retained message, set, replaced, and fetched."""
    sender = Client(url, 5, "p")
    for _ in range(2):
        sender.send(large_publish(1, 5, True))
        sender.wait_for(4)
    for version in (4, 5):
        reader = Client(url, version, f"r{version}")
        reader.send(encode(Subscribe(1, [("large", 1)]), version))
        reader.wait_for(LARGEST)
        reader.close()
    sender.close()


def sent(data: Callable[[], bytes], answer: int, version: int = 5) -> Callable[[str], None]:
    """Bytes, twice, of a client that waits for ``answer`` bytes or for the end of the connection."""

    def run(url: str) -> None:
        for _ in range(2):
            client = Client(url, version, "c")
            client.send(data())
            client.wait_for(answer)
            client.close()

    return run


def packet(first: int, body: bytes) -> bytes:
    """A Control Packet."""
    return bytes((first,)) + encode_varint(len(body)) + body


def long_filters() -> bytes:
    """A SUBSCRIBE of 279 filters of 60 000 bytes."""
    filters = [b"%04d/" % number + b"f" * 59_995 for number in range(279)]
    return packet(0x82, b"\x00\x01\x00" + b"".join([b"\xea\x60" + each + b"\x00" for each in filters]))


def many_properties() -> bytes:
    """A PUBLISH with 15 MiB of User Properties."""
    pairs = (b"\x26\x00\x04name" + b"\xea\x60" + b"v" * 60_000) * 262
    return packet(0x30, b"\x00\x05large" + encode_varint(len(pairs)) + pairs + b"payload")


def tiny(one: bytes, read: int = READ) -> Callable[[], bytes]:
    """As many of a small packet as one read brings, and a PINGREQ."""
    return lambda: one * (read // len(one)) + b"\xc0\x00"


def many_readers(url: str, count: int, qos: int, kind: str) -> list[socket.socket]:
    """So many clients that have subscribed, and are not plain."""
    named = Properties()
    if kind == "identified":
        named.subscription_identifiers = [7]
    readers: list[socket.socket] = []
    subscribe = encode(Subscribe(1, [("t", qos)], named), 5)
    for begin in range(0, count, TOGETHER):
        new = [
            opened(url, f"r{n}", 3600 if kind == "on disk" else 0)
            for n in range(begin, min(begin + TOGETHER, count))
        ]
        for reader in new:
            reader.sendall(subscribe)
        for reader in new:
            while b"\x90" not in reader.recv(1000):  # CONNACK and SUBACK
                pass
            reader.setblocking(False)
        readers += new
    return readers


def to_many(count: int, qos: int, kind: str, packets: int = 0) -> Callable[[str], None]:
    """256 KiB of small PUBLISH packets, or so many, to readers that are not plain."""

    def run(url: str) -> None:
        readers = many_readers(url, count, qos, kind)
        sender = Client(url, 5, "s")
        one = encode(Publish("t", b"", qos, packet_id=1 if qos else 0), 5)
        packets_sent = packets or READ // len(one)
        sender.send(one * packets_sent + b"\xc0\x00")
        end = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < end and sender.came < (4 * packets_sent if qos else 2):
            for reader in readers:
                with suppress(OSError):
                    reader.recv(1 << 16)
            time.sleep(0.01)
        sender.close()
        for reader in readers:
            reader.close()

    return run


def will_to_many(count: int, kind: str) -> Callable[[str], None]:
    """A Will Message with QoS 1 to so many readers."""

    def run(url: str) -> None:
        readers = many_readers(url, count, 1, kind)
        dying = opened(url, "dying", 0, Will("t", b"will", 1, False))
        dying.recv(1000)
        dying.close()
        time.sleep(1.0)
        for reader in readers:
            reader.recv(1000)
            reader.close()

    return run


def from_many(count: int, packet: bytes, answer: int) -> Callable[[str], None]:
    """So many clients that send 8 KiB of a small packet at once, each with so many bytes of answers."""

    def run(url: str) -> None:
        clients = [Client(url, 5, f"c{number}") for number in range(count)]
        for client in clients:
            client.send(packet * (8192 // len(packet)) + b"\xc0\x00")
        for client in clients:
            client.wait_for(answer)
        for client in clients:
            client.close()
            time.sleep(0.002)

    return run


def all_ended(count: int) -> Callable[[str], None]:
    """The end of so many connections at once, each with a subscription of its own."""

    def run(url: str) -> None:
        clients: list[socket.socket] = []
        for begin in range(0, count, TOGETHER):
            new = [opened(url, f"c{number}", 0) for number in range(begin, begin + TOGETHER)]
            for number, client in enumerate(new):
                client.sendall(encode(Subscribe(1, [(f"{begin}/{number}", 0)]), 5))
            for client in new:
                while b"\x90" not in client.recv(1000):  # CONNACK and SUBACK
                    pass
            clients += new
        for client in clients:
            client.close()

    return run


def opened(url: str, client_id: str, expiry: int, will: Will | None = None) -> socket.socket:
    """A connection that has sent CONNECT, and has no thread."""
    host, port = url.rpartition("/")[2].rsplit(":", 1)
    made = socket.create_connection((host, int(port)), SECONDS)
    properties = Properties()
    properties.session_expiry_interval = expiry
    made.sendall(encode(Connect(5, client_id, True, 0, will=will, properties=properties), 5))
    return made


def ended(form: str) -> Callable[[str], None]:
    """The end of a session with 20 000 filters of this form."""

    def run(url: str) -> None:
        client = Client(url, 5, "c")
        for begin in range(0, 20_000, 500):
            filters = [(form.format(number), 0) for number in range(begin, begin + 500)]
            client.send(encode(Subscribe(1, filters), 5))
            client.wait_for(505)
        client.close()

    return run


class Case(NamedTuple):
    """What is played, and whether the broker keeps it on disk."""

    run: Callable[[str], None]
    is_durable: bool = False


CASES = {
    "16 MiB qos0 5.0 to 5.0": Case(passing(0, 5, 5)),
    "16 MiB qos1 5.0 to 5.0": Case(passing(1, 5, 5)),
    "16 MiB qos0 5.0 to 5.0 and 3.1.1": Case(passing(0, 5, 5, 4)),
    "16 MiB qos1 3.1.1 to 5.0 and 3.1.1": Case(passing(1, 4, 5, 4)),
    "16 MiB qos2 5.0 to nobody": Case(passing(2, 5)),
    "16 MiB qos0 5.0 to 20 readers": Case(passing(0, 5, *[5] * 20)),
    "16 MiB qos1 for a session on disk": Case(kept, True),
    "16 MiB qos1 retained on disk": Case(retained, True),
    "16 MiB qos1 retained": Case(retained),
    "SUBSCRIBE of 279 filters of 60 000 bytes": Case(sent(long_filters, 284)),
    "PUBLISH with 15 MiB of User Properties": Case(sent(many_properties, SOCKET_ENDED)),
    "256 KiB of PINGREQ": Case(sent(tiny(b"\xc0\x00"), READ)),
    "256 KiB of small PUBLISH 5.0": Case(sent(tiny(packet(0x31, b"\x00\x01t\x00")), 2)),
    "256 KiB of small PUBLISH 3.1.1": Case(sent(tiny(packet(0x30, b"\x00\x01t")), 2, 4)),
    "256 KiB of small PUBLISH qos0 to 50 readers": Case(to_many(50, 0, "identified")),
    "256 KiB of small PUBLISH qos1 to 50 readers": Case(to_many(50, 1, "identified")),
    "256 KiB of small PUBLISH qos0 to 200 readers": Case(to_many(200, 0, "identified")),
    "256 KiB of small PUBLISH qos1 to 200 readers": Case(to_many(200, 1, "identified")),
    "256 KiB of small PUBLISH qos1 to 200 readers on disk": Case(to_many(200, 1, "on disk"), True),
    "one PUBLISH qos1 to 5000 readers on disk": Case(to_many(5000, 1, "on disk", 1), True),
    "a Will Message qos1 to 5000 readers": Case(will_to_many(5000, "identified")),
    "the end of 1000 connections": Case(all_ended(1000)),
    "256 KiB of small SUBSCRIBE": Case(
        sent(tiny(packet(0x82, b"\x00\x01\x00\x00\x01t\x00")), READ // 11 * 6)
    ),
    "256 KiB of small UNSUBSCRIBE": Case(sent(tiny(packet(0xA2, b"\x00\x01\x00\x00\x01t")), READ // 10 * 6)),
    "256 KiB of PUBACK": Case(sent(tiny(b"\x40\x02\x00\x01"), 2)),
    "8 KiB of PUBACK from each of 200 clients": Case(from_many(200, b"\x40\x02\x00\x01", 2)),
    "8 KiB of PINGREQ from each of 200 clients": Case(from_many(200, b"\xc0\x00", 8194)),
    "256 KiB of PUBREL": Case(sent(tiny(b"\x62\x02\x00\x01"), READ)),
    "the end of 20 000 subscriptions with +": Case(ended("{}/+/x")),
    "the end of 20 000 subscriptions with # behind 96 levels": Case(ended("{}/" + "a/" * 95 + "#")),
    "the end of 20 000 shared subscriptions": Case(ended("$share/g/{}/+/x")),
}
