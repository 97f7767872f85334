"""The engine: streams in memory, served to the workers of one machine.

Who runs it knows when a worker's process is gone, and says so (``gone``): the lease of that worker is over at
once, since nobody who is dead can speak to a client, and the others take its sessions.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from curier.cluster.orders import LEASES, SESSIONS, SNAPSHOTS
from curier.cluster.records import Lease
from curier.jetstream import wire
from curier.local import frames
from curier.local.frames import Wire
from curier.local.streams import Latest, Log
from curier.loglines import logger

log = logger("curier.workers")

PIECE: Final = 256 * 1024  # bytes of entries in a frame
PIECES: Final = 8  # in one turn, for each worker
DIRECT: Final = 32 << 20  # bytes that wait for a worker, from which on no message of QoS 0 joins them
LOG_BYTES: Final = 1 << 30  # what a log may take in memory


class Engine:
    """``log_bytes``: when its log has so many, a write is not stored, and so nothing is acknowledged."""

    def __init__(self, partitions: int = 1, log_bytes: int = LOG_BYTES) -> None:
        self.leases = Latest()
        self.sessions = Latest()
        self.snapshots = Latest()
        self.logs = [Log() for _ in range(partitions)]
        self.left_out = 0  # messages of QoS 0, in frames as they came, that a worker was too slow for
        self.log_bytes = log_bytes
        self._workers: dict[int, Worker] = {}
        self._numbers = 0

    async def serve(self, sock: socket.socket, name: str) -> Worker:
        """Be at the other end of this socket, where the worker ``name`` is."""
        self._numbers += 1
        worker = Worker(self, name, self._numbers)
        self._workers[worker.number] = worker
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: worker.wire, sock=sock)
        return worker

    def gone(self, name: str) -> None:
        """The process of that worker has ended, so it speaks to nobody any more: its lease ends now."""
        for worker in [one for one in self._workers.values() if one.name == name]:
            worker.wire.close()
            self._workers.pop(worker.number, None)
        sequence, value = self.leases.find(name)
        lease = wire.decode(value)[1] if value is not None else None
        if isinstance(lease, Lease) and not lease.is_over:
            over = replace(lease, renewal=lease.renewal + 1, is_over=True)
            self.leases.store(name, sequence, wire.encode(over))
            self.has_more(LEASES)

    # -- for its workers

    def store(self, said: frames.Store, writer: int) -> int | None:
        """The sequence; 0: refused; None: there is no room."""
        if said.stream == LEASES:
            return self.leases.store(said.subject, said.expected, said.value)
        if said.stream == SESSIONS:
            return self.sessions.store(
                said.subject, said.expected, said.value, said.owner, said.is_over, said.behind
            )
        if said.stream == SNAPSHOTS:
            return self.snapshots.store(said.subject, said.expected, said.value)
        partition = self.logs[said.stream]
        if partition.size + len(said.value) > self.log_bytes:
            return None
        return partition.store(said.subject, said.expected, said.value, writer)

    def find(self, stream: int, subject: str) -> tuple[int, bytes | None]:
        if stream in (LEASES, SNAPSHOTS):
            return (self.leases if stream == LEASES else self.snapshots).find(subject)
        return (self.sessions if stream == SESSIONS else self.logs[stream]).find(subject)

    def remove(self, stream: int, before: int) -> None:
        if stream == SNAPSHOTS:
            self.snapshots.remove(before)
        else:
            self.logs[stream].cut(before - 1)

    def has_more(self, stream: int) -> None:
        """Have everybody who follows that stream get what is new."""
        for worker in self._workers.values():
            worker.follow(stream)

    def spread(self, value: bytes, writer: int) -> None:
        """Give it to all workers but the one that said it."""
        heard = frames.Heard(value)
        for worker in self._workers.values():
            if worker.number != writer:
                if worker.wire.waiting > DIRECT:
                    self.left_out += 1
                else:
                    worker.wire.say(heard)

    def of_name(self, name: str) -> Worker | None:
        return next((one for one in self._workers.values() if one.name == name), None)

    def of_number(self, number: str) -> Worker | None:
        return self._workers.get(int(number)) if number.isascii() and number.isdigit() else None

    def counted(self, token: int) -> frames.CountedAll:
        """What is kept."""
        named: list[tuple[str, Latest | Log]] = [
            ("leases", self.leases),
            ("sessions", self.sessions),
            ("snapshots", self.snapshots),
        ]
        named += [(f"log {number}", one) for number, one in enumerate(self.logs)]
        streams = [(name, one.last, len(one), one.size) for name, one in named]
        return frames.CountedAll(token, streams, self.left_out)

    def lost(self, worker: Worker, why: str) -> None:
        """Its connection has ended, and its process does, or will."""
        self._workers.pop(worker.number, None)
        log.debug("worker %s: %s", worker.name, why)


@dataclass
class _Feed:
    generation: int
    after: int
    own: int  # behind this, what the worker wrote itself is told without bytes


class Worker:
    """One worker, as the engine knows it, while it is connected."""

    def __init__(self, engine: Engine, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.wire = Wire(frames.asked, self._hear, self._begin, self._has_ended)
        self._engine = engine
        self._feeds: dict[int, _Feed] = {}
        self._readings: deque[frames.Read] = deque()
        self._is_sending = False
        self._commands: dict[type, Callable[[Any], None]] = {
            frames.Store: self._store,
            frames.Find: self._find,
            frames.CountTo: self._count,
            frames.Read: self._read,
            frames.ListOwners: self._list_owners,
            frames.ListOwned: self._list_owned,
            frames.Feed: self._feed,
            frames.Want: self._want,
            frames.Release: self._release,
            frames.CountAll: lambda said: self.wire.say(engine.counted(said.token)),
            frames.ListNeeds: lambda said: self.wire.say(frames.Needs(said.token, engine.sessions.needs())),
            frames.Measure: self._measure,
            frames.Remove: lambda said: engine.remove(said.stream, said.before),
            frames.Spread: lambda said: engine.spread(said.value, number),
        }

    def follow(self, stream: int) -> None:
        """There may be something new in that stream."""
        if stream in self._feeds:
            self._begin()

    def _hear(self, said: frames.Asked) -> None:
        self._commands[type(said)](said)

    def _has_ended(self, why: str) -> None:
        self._engine.lost(self, why)

    # -- what it asks

    def _store(self, said: frames.Store) -> None:
        sequence = self._engine.store(said, self.number)
        if sequence is None:
            self.wire.say(frames.Full(said.token))
        elif sequence:
            self.wire.say(frames.Stored(said.token, sequence))
            self._engine.has_more(said.stream)
        else:
            self.wire.say(frames.Refused(said.token))

    def _find(self, said: frames.Find) -> None:
        self.wire.say(frames.Found(said.token, *self._engine.find(said.stream, said.subject)))

    def _count(self, said: frames.CountTo) -> None:
        self.wire.say(frames.Counted(said.token, self._engine.logs[said.partition].last))

    def _measure(self, said: frames.Measure) -> None:
        log = self._engine.logs[said.partition]
        self.wire.say(frames.Measured(said.token, log.first, log.last, log.size))

    def _list_owners(self, said: frames.ListOwners) -> None:
        self.wire.say(frames.Owners(said.token, sorted(self._engine.sessions.owned)))

    def _list_owned(self, said: frames.ListOwned) -> None:
        names = self._engine.sessions.owned.get(said.owner, set())
        self.wire.say(frames.Owned(said.token, sorted(names)))

    def _want(self, said: frames.Want) -> None:
        owner = self._engine.of_name(said.node)
        if owner is not None:
            owner.wire.say(frames.Wanted(said.token, str(self.number), said.number, said.session))

    def _release(self, said: frames.Release) -> None:
        asker = self._engine.of_number(said.asker)
        if asker is not None:
            asker.wire.say(frames.Released(said.token))

    # -- what comes by, and what was stored: as fast as the worker takes it

    def _feed(self, said: frames.Feed) -> None:
        own = self._engine.logs[said.stream].last if said.stream >= 0 else 0
        self._feeds[said.stream] = _Feed(said.generation, said.after, own)
        self._begin()

    def _read(self, said: frames.Read) -> None:
        self._readings.append(said)
        self._begin()

    def _begin(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._is_sending = False
        for _ in range(PIECES):
            if self.wire.is_full:
                return  # ``resume_writing`` begins again
            if not self._send_piece():
                return
        self._begin()

    def _send_piece(self) -> bool:
        """Was there anything?"""
        sent = False
        for stream, feed in self._feeds.items():
            entries = self._behind(stream, feed)
            if entries:
                feed.after = entries[-1][0]
                self.wire.say(frames.Fed(stream, feed.generation, entries))
                sent = True
        if self._readings:
            self._read_piece(self._readings.popleft())
            sent = True
        return sent

    def _behind(self, stream: int, feed: _Feed) -> list[frames.Entry]:
        if stream == LEASES:
            return self._engine.leases.behind(feed.after)
        log = self._engine.logs[stream]
        return log.read(feed.after, log.last, PIECE, self.number, feed.own)

    def _read_piece(self, said: frames.Read) -> None:
        entries = self._engine.logs[said.partition].read(said.after, said.upto, PIECE)
        last = entries[-1][0] if entries else said.upto
        if last < said.upto:
            self._readings.append(frames.Read(said.token, said.partition, last, said.upto))
        self.wire.say(frames.Reading(said.token, entries, last >= said.upto))
