"""A broker whose disk fails: no promise that is not kept, QoS 0 goes on, and service comes back by itself."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

import curier.store.sqlite
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.errors import StoreError
from curier.server import Broker
from curier.store.ahead import FILE_NAME as JOURNAL_NAME
from curier.store.database import FILE_NAME
from curier.store.sqlite import SqliteStore
from tests.waiting import until


class Client:
    """Speaks packets over a socket."""

    open: ClassVar[list[Client]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        self.reader = reader
        self.writer = writer
        self.version = version
        self.data = b""
        self.open.append(self)

    def send(self, *packets: p.Packet) -> None:
        self.writer.write(b"".join(encode(packet, self.version) for packet in packets))

    async def take(self) -> p.Packet | None:
        """The next packet; None at the end of the connection."""
        async with asyncio.timeout(100):
            while True:
                end = packet_end(self.data, 0)
                if 0 < end <= len(self.data):
                    packet = decode(self.data, 0, end, self.version)
                    self.data = self.data[end:]
                    return packet
                more = await self.reader.read(65536)
                if not more:
                    return None
                self.data += more

    def close(self) -> None:
        self.writer.transport.abort()

    def publish(
        self, packet_id: int, qos: int = 1, size: int = 1, retain: bool = False, topic: str = "t"
    ) -> None:
        self.send(p.Publish(topic, b"x" * size, qos, False, retain, packet_id, None))


async def connect(broker: Broker, name: str, version: int = 5, expiry: int = 0xFFFFFFFF) -> Client:
    """A client with its CONNACK taken; persistent unless ``expiry`` is 0."""
    client, connack = await knock(broker, name, version, expiry)
    assert isinstance(connack, p.Connack)
    assert connack.reason_code == 0
    return client


async def knock(broker: Broker, name: str, version: int, expiry: int) -> tuple[Client, p.Packet | None]:
    client = Client(*await asyncio.open_connection("127.0.0.1", broker.port), version)
    made = Properties()
    made.session_expiry_interval = expiry
    client.send(p.Connect(version, name, not expiry, 0, None, None, None, made if version == 5 else None))
    return client, await client.take()


def store_of(broker: Broker) -> SqliteStore:
    store = broker._store
    assert isinstance(store, SqliteStore)
    return store


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Broker]:
    async with Broker(["tcp://127.0.0.1:0"], data=directory) as broker:
        try:
            yield broker
        finally:
            while Client.open:
                Client.open.pop().close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curier.store.sqlite, "RETRY_SECONDS", 0.05)


@asynccontextmanager
async def in_trouble(directory: Path) -> AsyncIterator[tuple[Broker, Client, Client]]:
    """A broker whose disk reports errors since a PUBLISH of ``sender``; ``receiver`` has a durable session.

    The process of the store may not let any file grow beyond a few bytes: what it writes fails with EFBIG.
    """
    async with running(directory) as broker:
        receiver = await connect(broker, "receiver")
        receiver.send(p.Subscribe(1, [("t", 2)], None))
        assert isinstance(await receiver.take(), p.Suback)
        sender = await connect(broker, "sender", 5, 0)
        limit_files(broker, 1)
        sender.publish(1)
        await until(lambda: bool(broker.core.store_trouble))
        yield broker, sender, receiver


def limit_files(broker: Broker, size: int) -> None:
    process = store_of(broker).process
    assert process is not None
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))


def heal(broker: Broker) -> None:
    limit_files(broker, resource.RLIM_INFINITY)


async def test_what_must_be_durable_is_refused_with_a_reason(tmp_path: Path) -> None:
    async with in_trouble(tmp_path) as (broker, sender, _):
        sender.publish(2, qos=1)
        sender.publish(3, qos=2)
        sender.publish(4, qos=1, topic="nobody/listens", retain=True)
        said = broker.core.store_trouble
        assert said.startswith(f"{tmp_path / JOURNAL_NAME}: the disk reports an error")
        heal(broker)
        answers = [await sender.take() for _ in range(4)]
        assert [(type(one), one.packet_id, one.reason_code) for one in answers] == [  # type: ignore[union-attr]
            (p.Puback, 1, 0),  # it waited, and came true
            (p.Puback, 2, 0x83),
            (p.Pubrec, 3, 0x83),
            (p.Puback, 4, 0x83),
        ]
        for answer in answers[1:]:
            assert isinstance(answer, (p.Puback, p.Pubrec))
            assert answer.properties is not None
            assert answer.properties.reason_string == said


async def test_nothing_is_acknowledged_before_it_is_true(tmp_path: Path) -> None:
    async with in_trouble(tmp_path) as (broker, sender, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await sender.take()
        heal(broker)
        answer = await sender.take()
        assert answer == p.Puback(1)
        await until(lambda: not broker.core.store_trouble)


async def test_an_older_client_is_closed_on(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        receiver = await connect(broker, "receiver", 4)
        receiver.send(p.Subscribe(1, [("t", 1)], None))
        assert isinstance(await receiver.take(), p.Suback)
        sender = await connect(broker, "sender", 4, 0)
        limit_files(broker, 1)
        receiver.publish(1)
        await until(lambda: bool(broker.core.store_trouble))
        sender.publish(1)
        assert await sender.take() is None
        heal(broker)


async def test_qos_0_and_what_nobody_has_to_keep_go_on(tmp_path: Path) -> None:
    async with in_trouble(tmp_path) as (broker, sender, receiver):
        sender.publish(0, qos=0)
        packet = await receiver.take()
        assert isinstance(packet, p.Publish)
        if packet.qos:  # the one that was not refused, but waits: its PUBACK is not sent, its delivery may be
            packet = await receiver.take()
        assert isinstance(packet, p.Publish)
        assert packet.qos == 0
        fleeting = await connect(broker, "fleeting", 4, 0)
        fleeting.send(p.Subscribe(1, [("free", 2)], None))
        assert isinstance(await fleeting.take(), p.Suback)
        other = await connect(broker, "other", 5, 0)
        other.publish(9, qos=1, topic="free")
        assert isinstance(await other.take(), p.Puback)
        assert isinstance(await fleeting.take(), p.Publish)
        heal(broker)
        await until(lambda: not broker.core.store_trouble)


async def test_a_session_that_could_not_be_kept_is_refused(tmp_path: Path) -> None:
    async with in_trouble(tmp_path) as (broker, _, _):
        client, connack = await knock(broker, "new", 5, 60)
        assert isinstance(connack, p.Connack)
        assert connack.reason_code == 0x88
        assert await client.take() is None
        client, connack = await knock(broker, "new", 4, 60)
        assert connack == p.Connack(False, 3)
        heal(broker)
        await until(lambda: not broker.core.store_trouble)
        await connect(broker, "new", 5, 60)


async def test_a_stop_in_trouble_does_not_hang_and_loses_nothing_promised(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"the last changes could not be written \(1 message, .* disk reports"
    ):
        async with in_trouble(tmp_path) as (broker, _, _):
            pass
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", broker.port)
    async with running(tmp_path) as broker:
        assert list(broker.core.sessions) == ["receiver"]
        assert not broker.core.sessions["receiver"].outgoing.unfinished()


async def test_a_full_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        store = store_of(broker)
        receiver = await connect(broker, "receiver")
        receiver.send(p.Subscribe(1, [("t", 1)], None))
        assert isinstance(await receiver.take(), p.Suback)
        receiver.close()
        await until(lambda: broker.core.sessions["receiver"].connection is None)
        store.max_bytes = 200_000
        assert store.process is not None
        store.process.kill()
        sender = await connect(broker, "sender")
        for packet_id in range(1, 5):
            sender.publish(packet_id, size=100_000)
            await asyncio.sleep(0.1)
        await until(lambda: bool(broker.core.store_trouble))
        full = f"{tmp_path / FILE_NAME}: the disk is full; make room and service resumes by itself"
        assert broker.core.store_trouble == full
        sender.publish(5)
        store.max_bytes = 0  # somebody makes room
        store.process.kill()
        codes: dict[int, int] = {}
        while len(codes) < 5:
            packet = await sender.take()
            assert isinstance(packet, p.Puback)
            codes[packet.packet_id] = packet.reason_code
        assert codes[1] == 0
        assert codes[5] == 0x83
    async with running(tmp_path) as broker:
        queue = broker.core.sessions["receiver"].outgoing.queue
        assert len(queue) == sum(code == 0 for code in codes.values())


async def test_a_store_that_cannot_start_again(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        receiver = await connect(broker, "receiver")
        receiver.send(p.Subscribe(1, [("t", 1)], None))
        assert isinstance(await receiver.take(), p.Suback)
        sender = await connect(broker, "sender", 5, 0)
        file = tmp_path / FILE_NAME
        file.rename(tmp_path / "aside")
        file.mkdir()
        process = store_of(broker).process
        assert process is not None
        process.kill()
        await until(lambda: bool(broker.core.store_trouble))
        assert broker.core.store_trouble.startswith(f"{file}: cannot be opened")
        sender.publish(1)
        answer = await sender.take()
        assert isinstance(answer, p.Puback)
        assert answer.reason_code == 0x83
        file.rmdir()
        (tmp_path / "aside").rename(file)
        await until(lambda: not broker.core.store_trouble)  # with no batch open that would show it
        sender.publish(2)
        assert await sender.take() == p.Puback(2)


async def test_a_second_broker_is_told_who_is_first(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(StoreError, match=r"in use by process \d+; stop that broker, or choose another"):
            await Broker(["tcp://127.0.0.1:0"], data=tmp_path).start()
    async with running(tmp_path):
        pass


async def test_records_that_contradict_each_other_are_told_with_the_place(tmp_path: Path) -> None:
    from curier.session.records import Retained
    from curier.store.database import Database

    database = Database(tmp_path)
    database.apply([Retained(b"t", 5)])
    database.close()
    with pytest.raises(StoreError, match=f"^{tmp_path}: .*restore a backup in its place, or move it away"):
        await Broker(["tcp://127.0.0.1:0"], data=tmp_path).start()
