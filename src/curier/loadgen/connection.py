"""One client's Network Connection: connecting, one read into one scan, one write, and what ends it."""

from __future__ import annotations

import errno
import os
import selectors
import socket
from typing import TYPE_CHECKING, Final

from curier.codec.constants import (
    CONNACK,
    DISCONNECT,
    MQTT_50,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Disconnect, Packet, Suback
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.errors import MqttError, Refused
from curier.loadgen.loop import Loop, Served
from curier.loadgen.payload import clock

if TYPE_CHECKING:
    from curier.loadgen.plan import Plan
    from curier.loadgen.tunnel import Tunnels

READ_BYTES: Final = 1 << 16
FILES: Final = getattr(socket, "AF_UNIX", None)
"""The family of Unix sockets, where there are any."""

MOST_ACKS: Final = 1024
"""Acknowledgements that are looked at in one piece."""

KEPT_SECONDS: Final = 3600
"""The Session Expiry Interval of those that are kept: one that could not be removed ends by itself."""

ACKNOWLEDGEMENTS: Final = (PUBACK, PUBREC, PUBREL, PUBCOMP)
PINGREQ_PACKET: Final = b"\xc0\x00"
DISCONNECT_PACKET: Final = b"\xe0\x00"
REFUSED_BY_311: Final = b"\x20\x02\x00\x01"  # how a broker that knows no 5.0 answers its CONNECT

RETURN_CODES: Final = {
    1: "it does not speak this version of MQTT",
    2: "it does not like the Client Identifier",
    3: "it is not available",
    4: "the user name or password is wrong",
    5: "this client may not connect",
}
"""Of CONNACK in MQTT 3.1.1 (3.2.2.3)."""


class Connection(Served):
    """A client. ``is_ready`` is set by CONNACK, ``is_subscribed`` by SUBACK, ``pongs`` counts PINGRESP.

    ``Loop.report`` is called when any of these changes, or ``error`` is set.
    """

    def __init__(self, plan: Plan, loop: Loop, client_id: str) -> None:
        self.plan = plan
        self.loop = loop
        self.client_id = client_id
        self.version = plan.version
        self.is_kept = False  # does its session outlive the connection?
        self.is_connecting = False
        self.is_ready = False
        self.is_subscribed = False
        self.pongs = 0
        self.pings = 0
        self.connack = Connack(False)
        self.began = 0  # when connecting began
        self.out: list[bytes | bytearray] = []  # for the next write; packets of one size in each element
        self.unsent: memoryview | None = None  # what the socket did not take
        self._chunks: list[bytes] = []  # of a packet that is not complete
        self._have = 0
        self._need = 0
        # Where TLS or WebSocket is spoken; what went through must go on in order, whatever waits.
        self._tunnels: Tunnels | None = None
        if plan.has_tunnels:
            from curier.loadgen.tunnel import Tunnels

            self._tunnels = Tunnels(plan)
        self._later: list[bytes | bytearray] = []

    # ---- the socket ----

    def open(self, family: int, address: tuple[object, ...] | str, source: str | None) -> None:
        """Begin to connect."""
        self.began = clock()
        self.is_connecting = True
        sock = self.sock = socket.socket(family, socket.SOCK_STREAM)
        if family != FILES:  # where connecting takes no time, but fails while the listener has no room
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if source is not None:
                sock.bind((source, 0))
            number = sock.connect_ex(address)
            sock.setblocking(False)
        except OSError as error:
            self.fail(f"cannot connect: {error.strerror or error}")
            return
        if number not in (0, errno.EINPROGRESS):
            self.fail(f"cannot connect: {os.strerror(number)}")
            return
        self.loop.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def writable(self) -> None:
        assert self.sock is not None
        if self.is_connecting:
            number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self.fail(f"cannot connect: {os.strerror(number)}")
                return
            self.is_connecting = False
            self.loop.selector.modify(self.sock, selectors.EVENT_READ, self)
            if self._tunnels is None:
                self._connect()
            else:
                self._send_tunnelled(self._tunnels.begin())
            return
        rest, self.unsent = self.unsent, None
        self.loop.selector.modify(self.sock, selectors.EVENT_READ, self)
        if rest is not None:
            self._send(rest)
        if self._later and self.unsent is None:
            data = b"".join(self._later)
            self._later.clear()
            self._send(memoryview(data))
        if self.unsent is None:
            self.flush()
            self.unblocked()

    def _connect(self) -> None:
        plan = self.plan
        connect = Connect(self.version, self.client_id, not self.is_kept, 0, plan.username, plan.password)
        if self.is_kept and self.version == MQTT_50:
            connect.properties = Properties()
            connect.properties.session_expiry_interval = KEPT_SECONDS
        self.out.append(encode(connect, self.version))
        self.flush()

    def unblocked(self) -> None:
        """All that waited was sent."""

    def flush(self) -> None:
        """Send what is in ``out``, in one write, unless earlier bytes wait."""
        if not self.out or self.unsent is not None or self.sock is None:
            return
        data: bytes | bytearray
        if self._tunnels is not None:
            data = self._tunnels.send(self.out)
        else:
            data = self.out[0] if len(self.out) == 1 else b"".join(self.out)
        self.out.clear()
        self._send(memoryview(data))

    def _send_tunnelled(self, data: bytes | bytearray) -> None:
        if data and self.unsent is not None:
            self._later.append(data)
        elif data:
            self._send(memoryview(data))

    def _send(self, data: memoryview) -> None:
        assert self.sock is not None
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.fail(f"the connection was lost: {error.strerror}")
            return
        if sent < len(data):
            self.unsent = data[sent:]
            self.loop.selector.modify(self.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def readable(self) -> None:
        assert self.sock is not None
        try:
            chunk = self.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            what = "cannot connect" if self.is_connecting else "the connection was lost"
            self.fail(f"{what}: {error.strerror}")
            return
        if not chunk:
            self.fail("the broker closed the connection")
            return
        if self._tunnels is None:
            self.receive(chunk)
        else:
            self._receive_tunnelled(self._tunnels, chunk)

    def _receive_tunnelled(self, tunnels: Tunnels, chunk: bytes) -> None:
        was_open = tunnels.is_open
        try:
            plain, said = tunnels.receive(chunk)
        except MqttError as error:
            self.fail(str(error))
            return
        self._send_tunnelled(said)
        if tunnels.is_open and not was_open:
            self._connect()
        if plain:
            self.receive(plain)

    def receive(self, chunk: bytes) -> None:
        """Scan what came, as far as it is complete; send what that asks for."""
        self._chunks.append(chunk)
        self._have += len(chunk)
        if self._have < self._need:
            return  # chunks of a large packet are joined once
        data = chunk if len(self._chunks) == 1 else b"".join(self._chunks)
        now = self.loop.arrived = clock()
        try:
            pos = self._scan(data, now)
        except MqttError as error:
            self.fail(str(error))
            return
        self._have = len(data) - pos
        self._chunks = [data[pos:]] if self._have else []
        self.flush()

    def _scan(self, data: bytes, now: int) -> int:
        """Handle every complete packet; returns where the rest begins."""
        pos, size = 0, len(data)
        self._need = 0
        while pos < size:
            stop = packet_end(data, pos)
            if stop < 0 or stop > size:
                self._need = stop - pos  # to be read before it is worth another look
                break
            pos = self.take(data, pos, stop, now)
        return pos

    def fail(self, why: str) -> None:
        """It has ended, and not by us; the first reason counts."""
        self.error = self.error or f"{self.client_id}: {why}"
        self.close()
        self.loop.report(self)

    def close(self) -> None:
        if self.sock is not None:
            try:
                self.loop.selector.unregister(self.sock)
            except KeyError:
                pass  # it was never registered
            self.sock.close()
            self.sock = None

    def disconnect(self) -> None:
        """Say DISCONNECT, as far as the socket takes it, and close."""
        if self.is_ready and self.sock is not None and not self.is_connecting:
            self.out.append(DISCONNECT_PACKET)
            self.flush()
        self.close()

    def ping(self) -> None:
        """Send a PINGREQ."""
        self.pings += 1
        self.out.append(PINGREQ_PACKET)
        self.flush()

    # ---- packets ----

    def take(self, data: bytes, pos: int, stop: int, now: int) -> int:
        """Handle the packet ``data[pos:stop]``; returns where to go on, which is ``stop`` or beyond."""
        if data[pos:stop] == REFUSED_BY_311 and self.version == MQTT_50:
            raise Refused(UNSUPPORTED_PROTOCOL_VERSION, "the broker does not speak MQTT 5.0")
        self.answered(decode(data, pos, stop, self.version), data[pos] >> 4, now)
        return stop

    def answered(self, packet: Packet, packet_type: int, now: int) -> None:
        """Handle what every client may get; raises ``Refused`` where the broker does not want us."""
        if packet_type == PINGRESP:
            self.pongs += 1
        elif packet_type == CONNACK:
            assert isinstance(packet, Connack)
            if packet.reason_code:
                raise Refused(packet.reason_code, self._why(packet))
            self.connack = packet
            self.is_ready = True
        elif packet_type == SUBACK:
            assert isinstance(packet, Suback)
            if packet.reason_codes[0] >= 0x80:
                raise Refused(packet.reason_codes[0], "the subscription")
            if packet.reason_codes[0] < self.plan.qos:
                raise Refused(packet.reason_codes[0], f"QoS {packet.reason_codes[0]} is all it grants")
            self.is_subscribed = True
        elif packet_type == DISCONNECT:
            assert isinstance(packet, Disconnect)
            raise Refused(packet.reason_code, "the broker disconnected")
        else:
            raise Refused(0x82, f"a packet that was not expected: {packet!r}"[:200])
        self.loop.report(self)

    def _why(self, packet: Connack) -> str:
        if self.version != MQTT_50:
            return RETURN_CODES.get(packet.reason_code, "the connection")
        said = packet.properties.reason_string if packet.properties is not None else None
        return said or "the connection"


def run_of_acks(data: bytes, pos: int) -> int:
    """How many packets of the type of that at ``pos``, each of four bytes, are there next to each other."""
    count = min((len(data) - pos) // 4, MOST_ACKS)
    firsts = data[pos : pos + 4 * count : 4]
    count -= len(firsts.lstrip(firsts[:1]))
    lengths = data[pos + 1 : pos + 4 * count : 4]
    return count - len(lengths.lstrip(b"\x02"))


def acks(first: int, high: bytes, low: bytes) -> bytearray:
    """Acknowledgements whose first byte is ``first``, with these columns of Packet Identifiers."""
    found = bytearray((first, 2, 0, 0)) * len(high)
    found[2::4] = high
    found[3::4] = low
    return found
