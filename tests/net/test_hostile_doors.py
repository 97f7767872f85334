"""Strangers at listeners with layers, who want the broker to work for them, or to keep what they say."""

from __future__ import annotations

import asyncio
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import curier
from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish
from curier.net import passage
from curier.net.handshakes import Handshakes
from curier.net.layer import LayerError
from curier.net.layers import MOST_KEPT, THIN_BYTES, Layers
from curier.net.reactor import SocketWire
from curier.net.tls import MOST_BARREN, MOST_SHAKEN, Tls, whole_records
from curier.net.transports import TransportWire
from curier.net.turn import EARLY_UNSENT, Turn
from curier.net.wire import LINGER_SECONDS, Wire
from tests.net.doors import TlsDoor, authority, server_files
from tests.net.harness import connection_of, options, running
from tests.net.test_frames import BINARY, PING, frame
from tests.net.test_tls_layer import Client, server_context
from tests.net.test_web import REQUEST
from tests.waiting import until


def hello() -> bytes:
    client = Client()
    client.step()
    return client.outgoing.read()


# ---- handshakes ----


def test_a_hello_in_single_bytes_is_one_step() -> None:
    layers = Layers([Tls(server_context())])
    *first, last = hello()
    for byte in first:
        assert layers.receive(bytes((byte,))) == b""
        assert not layers.is_busy
    layers.receive(bytes((last,)))
    assert layers.needs_work
    layers.work()
    layers.worked()
    assert layers.receive(b"") == b""
    assert len(layers.take()) > 500  # our certificate


@pytest.mark.parametrize(("certificates", "is_taken"), [(10, True), (60, False)])
def test_a_chain_of_certificates_without_an_end_is_refused(
    certificates: int, is_taken: bool, tmp_path: Path
) -> None:
    certificate, key = server_files()
    chain = tmp_path / "chain.pem"
    chain.write_bytes(Path(certificate).read_bytes() * certificates)
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(str(authority().file))
    context.num_tickets = 0
    client = Client(context=context)
    trust = ssl.create_default_context(cafile=str(authority().file))
    trust.load_cert_chain(chain, key)
    client.object = trust.wrap_bio(client.incoming, client.outgoing, server_hostname="localhost")
    client.step()
    client.layers.receive(client.outgoing.read())
    client.work()
    client.take()
    client.step()
    said = client.outgoing.read()
    why = ""
    try:
        for at in range(0, len(said), THIN_BYTES):
            client.layers.receive(said[at : at + THIN_BYTES])
            client.work()
    except LayerError as error:
        why = str(error)
    assert why == ("" if is_taken else f"TLS: a handshake of more than {MOST_SHAKEN} bytes")
    assert client.layers.is_open is is_taken


def test_a_hello_cut_before_what_looks_like_the_last_step_is_left_to_threads() -> None:
    said = hello()
    while 0x17 not in said[11:43]:  # the client's random
        said = hello()
    at = said.index(0x17, 11)
    layers = Layers([Tls(server_context())])
    layers.receive(said[:at])
    if layers.needs_work:
        layers.work()
        layers.worked()
    layers.receive(b"")
    layers.receive(said[at:])
    assert layers.needs_work
    assert not layers.waiting  # nothing is signed yet


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"\x16\x03\x01\0", 0),
        (b"\x16\x03\x01\0\x02a", 0),
        (b"\x16\x03\x01\0\x02ab", 7),
        (b"\x16\x03\x01\0\x02ab\x14\x03\x03\0\x01a\x17\x03", 13),
        (b"\x16\x03\x01\0\0", 5),
        (b"\x16\x02\x01\0\x02a", 6),  # no version of TLS
        (b"\x16\x03\x01\x48\x01a", 6),  # longer than a record may be
    ],
)
def test_whole_records(data: bytes, whole: int) -> None:
    assert whole_records(data) == whole


def test_no_more_is_received_while_a_step_is_taken() -> None:
    layers = Layers([Tls(server_context())])
    layers.receive(hello())
    layers.taken()
    full = [layers.is_full]
    layers.receive(bytes(MOST_KEPT))
    full.append(layers.is_full)
    layers.work()
    layers.worked()
    full.append(layers.is_full)
    assert full == [False, True, False]


async def test_who_has_gone_while_nobody_takes_their_step_costs_nothing(
    use_reactor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Wire] = []

    def take(self: Handshakes, wire: Wire) -> None:
        assert wire.layers is not None
        wire.layers.taken()
        taken.append(wire)

    monkeypatch.setattr(Handshakes, "take", take)
    listen = [TlsDoor().listener()]
    async with running(use_reactor, listen=listen, options=options(connect_timeout=0.1)) as broker:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(hello())
        await until(lambda: bool(taken) and taken[0].connection.is_closed())
        writer.close()
        began = time.process_time()
        await asyncio.sleep(LINGER_SECONDS)
        assert time.process_time() - began < LINGER_SECONDS / 2  # nor does the loop spin


# ---- messages of TLS that carry nothing ----


class KeyUpdates:
    """The client's end of a connection of TLS 1.3, encrypting by itself (RFC 8446 sections 5.2 and 7)."""

    def __init__(self, log: Path) -> None:
        self.client = Client()
        self.client.object.context.keylog_filename = str(log)
        self.client.shake()
        words = [line.split() for line in log.read_text().splitlines()]
        self.secret = next(bytes.fromhex(one[2]) for one in words if one[0] == "CLIENT_TRAFFIC_SECRET_0")
        self.number = 0

    def expand(self, label: bytes, length: int) -> bytes:
        algorithm = SHA384() if len(self.secret) == 48 else SHA256()
        info = struct.pack("!HB", length, 6 + len(label)) + b"tls13 " + label + b"\0"
        return HKDFExpand(algorithm, length, info).derive(self.secret)

    def record(self, kind: int, data: bytes) -> bytes:
        iv = self.expand(b"iv", 12)
        nonce = (int.from_bytes(iv, "big") ^ self.number).to_bytes(12, "big")
        self.number += 1
        head = b"\x17\x03\x03" + (len(data) + 17).to_bytes(2, "big")
        key = self.expand(b"key", 32 if len(self.secret) == 48 else 16)
        return head + AESGCM(key).encrypt(nonce, data + bytes((kind,)), head)

    def update(self) -> bytes:
        """KeyUpdate with update_requested (section 4.6.3); what follows has the next keys."""
        record = self.record(22, b"\x18\0\0\1\1")
        self.secret = self.expand(b"traffic upd", len(self.secret))
        self.number = 0
        return record


def test_key_updates_that_carry_nothing_end(tmp_path: Path) -> None:
    updates = KeyUpdates(tmp_path / "keys")
    layers = updates.client.layers
    data = b"".join(updates.update() for _ in range(MOST_BARREN // 27 + 1))
    assert layers.receive(data[: MOST_BARREN - 27]) == b""
    with pytest.raises(LayerError, match="too many messages that carry nothing"):
        layers.receive(data[MOST_BARREN - 27 :])


def test_key_updates_between_data_do_not_end(tmp_path: Path) -> None:
    updates = KeyUpdates(tmp_path / "keys")
    for _ in range(3 * MOST_BARREN // 54):
        assert updates.client.layers.receive(updates.update() + updates.record(23, b"x")) == b"x"


async def test_who_has_not_logged_in_is_not_read_from_while_answers_wait() -> None:
    class Deaf(Wire):
        def set_reading(self, wanted: bool) -> None:
            self.is_reading = wanted

    async with running(True) as broker:
        turn = broker._turn
        assert turn is not None
        wire = Deaf(turn.attach("192.0.2.1:1", "tls://"))
        read = []
        for unsent in (EARLY_UNSENT, EARLY_UNSENT + 1, 1):
            turn.report(wire, 0, unsent, 0.0)
            read.append(wire.is_reading)
        assert read == [True, False, True]


# ---- imports ----


def test_a_door_imports_what_handshakes_need_before_the_first() -> None:
    program = """
import sys
from curier.broker.entrances import Entrance
from curier.listeners import Listener
from curier.net.doors import Door
door = Door("ws://127.0.0.1:1", Listener("ws://127.0.0.1:1"), Entrance())
before = set(sys.modules)
layers = door.open("127.0.0.1:2")
from tests.net.test_web import REQUEST
there = set(sys.modules)
layers.receive(REQUEST)
new = {name for name in set(sys.modules) - there if name.startswith(("curier", "websockets"))}
sys.exit(str(new) if new or "websockets.server" not in before else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- chunks ----


async def open_web(broker: curier.Broker) -> tuple[asyncio.StreamWriter, Wire]:
    """A client over WebSocket, and the broker's end of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(REQUEST + frame(BINARY, encode(Connect(5, "x", True, 0), 5)))
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    turn = broker._turn
    assert turn is not None
    return writer, turn.wires[connection_of(broker, "x").number]


async def test_who_says_little_in_many_bytes_is_read_from_in_small_pieces() -> None:
    listen = [curier.Listener("ws://127.0.0.1:0")]
    async with running(True, listen=listen) as broker:
        writer, wire = await open_web(broker)
        assert isinstance(wire, SocketWire)

        publish = frame(BINARY, encode(Publish("t", b"x"), 5))
        size = len(encode(Publish("t", b"x"), 5))

        async def send(data: bytes, carried: int) -> int:
            """Until all is read; bytes that may be read at once then."""
            entrance = wire.connection.entrance
            whole = entrance.bytes_received + carried + size
            writer.write(data + publish)
            await until(lambda: entrance.bytes_received == whole)
            return wire.read_size

        assert await send(publish * 20_000, size * 20_000) > THIN_BYTES
        await send(frame(PING) * 20_000, 0)
        assert await send(b"", 0) <= THIN_BYTES
        assert await send(publish * 20_000, size * 20_000) > THIN_BYTES
        writer.close()


async def test_of_a_large_chunk_that_says_little_others_have_their_turn_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listen = [curier.Listener("ws://127.0.0.1:0")]
    async with running(False, listen=listen) as broker:
        writer, wire = await open_web(broker)
        assert isinstance(wire, TransportWire)
        await until(wire.transport.is_reading)

        sizes: list[tuple[int, int]] = []  # of what the layers are given, and how often the loop came round
        rounds = 0
        receive = passage.receive

        def note(turn: Turn, doing: Handshakes, wire: Wire, layers: Layers, data: bytes, now: float) -> None:
            sizes.append((len(data), rounds))
            receive(turn, doing, wire, layers, data, now)

        monkeypatch.setattr(passage, "receive", note)
        publish = frame(BINARY, encode(Publish("t", b"x"), 5))
        pings = frame(PING) * 10_000
        chunk = pings + publish * 10_000
        for part in (pings, chunk):  # the first says what sort of client this is
            wire.data_received(part)
        while wire.chunk:
            rounds += 1
            await asyncio.sleep(0)
        assert sum(size for size, _ in sizes) == len(pings) + len(chunk)
        small = [size for size, _ in sizes if size <= THIN_BYTES]
        assert len(small) >= len(pings) // THIN_BYTES
        assert len({at for _, at in sizes}) >= len(small)
        assert max(size for size, _ in sizes[1:]) > THIN_BYTES  # what is for MQTT is not slowed
        await until(wire.transport.is_reading)
        writer.close()
