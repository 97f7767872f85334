"""Tests that every ``Store`` passes: ours, and yours.

Subclass ``StoreContract`` in a test module, name the subclass ``Test...``, and give it one fixture:

    class TestRedis(StoreContract):
        @pytest.fixture
        def make(self) -> Callable[[], Store]:
            return lambda: Redis("redis://...", prefix="test")

``make`` is called again and again within a test; each store it gives finds what the one before has kept, and
what no test has kept is not there. The tests are plain functions that start an event loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from curier.broker.core import BrokerCore
from curier.broker.options import Options
from curier.broker.restoring import Restorer
from curier.errors import StoreError
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.records import (
    Batch,
    Delivered,
    IdentifierFreed,
    IdentifierTaken,
    MessageRemoved,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    SessionEnded,
    SessionSaved,
    Subscribed,
    Unsubscribed,
    WillRemoved,
    WillSaved,
)
from curier.store.base import Store

Make = Callable[[], Store]

NOW = 1_700_000_000.0
PATIENCE = 30.0


def message(payload: bytes, topic: bytes = b"t/1") -> ApplicationMessage:
    """A QoS 2 message with Properties that expires in an hour."""
    return ApplicationMessage(topic, payload, 2, False, b"\x01\x01", NOW + 3600.5)


async def keep(store: Store, batches: Sequence[Sequence[Record]], first: int = 1) -> list[int]:
    """Commit the batches one after the other; the numbers that the store said were durable."""
    told: list[int] = []
    durable = asyncio.Event()

    def committed(number: int) -> None:
        told.append(number)
        durable.set()

    store.on_committed = committed
    await store.open()
    for number, records in enumerate(batches, first):
        durable.clear()
        store.commit(Batch(number, list(records)))
        async with asyncio.timeout(PATIENCE):
            await durable.wait()
    return told


def restore(store: Store) -> BrokerCore:
    """A broker with what the store has kept."""
    options = Options()
    options.sys_interval = 0.0
    core = BrokerCore(options, NOW, journal=Journal())
    restorer = Restorer(core)
    for records in store.load():
        restorer.replay(records)
    restorer.finish(NOW)
    return core


def live(make: Make, *batches: Sequence[Record]) -> BrokerCore:
    """A life that keeps the batches, and the broker of the next one."""

    async def first() -> None:
        store = make()
        restore(store)
        try:
            assert await keep(store, batches) == list(range(1, len(batches) + 1))
        finally:
            await store.close()

    asyncio.run(first())
    return look(make)


def look(make: Make) -> BrokerCore:
    """The broker of the next life."""

    async def look() -> BrokerCore:
        store = make()
        try:
            return restore(store)
        finally:
            await store.close()

    return asyncio.run(look())


SESSION = SessionSaved(1, "ana", 5, 0xFFFFFFFF, NOW)


class StoreContract:
    """What every ``Store`` does. Fixture: ``make``, which gives a new store over the same place."""

    def test_begins_with_nothing(self, make: Make) -> None:
        core = look(make)
        assert not core.sessions
        assert not len(core.retained)

    def test_keeps_a_session_with_its_subscriptions_and_its_will(self, make: Make) -> None:
        core = live(
            make,
            [
                SESSION,
                Subscribed(1, b"a/#", 2, 7),
                Subscribed(1, b"b", 1, 0),
                WillSaved(1, message(b"w"), 60, 5, 0),
            ],
            [
                Unsubscribed(1, b"b"),
                SessionSaved(2, "ben", 4, 100, NOW + 50.25, b"site-a/", "ben č"),
                WillSaved(2, message(b""), 1, -1, 0),
            ],
            [WillRemoved(2)],
        )
        ana, ben = core.sessions["ana"], core.sessions["ben"]
        assert list(ana.subscriptions) == [b"a/#"]
        assert (ana.subscriptions[b"a/#"].qos, ana.subscriptions[b"a/#"].identifier) == (2, b"\x0b\x07")
        assert (ana.version, ana.expiry_interval) == (5, 0xFFFFFFFF)
        assert ana.will is not None
        assert (ana.will.payload, ana.will_delay, ana.will_expiry) == (b"w", 60, 5)
        assert (ben.version, ben.expiry_interval, ben.ends_at, ben.will) == (4, 100, NOW + 50.25, None)
        assert (ana.user, ben.user) == ("", "ben č")
        assert ana.mount is None
        assert ben.mount is not None
        assert ben.mount.prefix == b"site-a/"

    def test_keeps_a_batch_of_any_size(self, make: Make) -> None:
        names = [f"device-{number}" for number in range(1, 12_002)]
        sessions = [SessionSaved(number, name, 5, 0xFFFFFFFF, NOW) for number, name in enumerate(names, 1)]
        assert list(live(make, sessions, [SessionEnded(1)]).sessions) == names[1:]

    def test_keeps_messages_where_they_are_in_their_flows(self, make: Make) -> None:
        batches: list[Sequence[Record]] = [[SESSION]]
        for number in range(10, 15):
            saved = MessageSaved(number, message(b"%d" % number))
            batches.append([saved, Queued(1, number + 10, number, 2, False, b"\x0b\x07", b"")])
        batches.append([Sent(1, 20, 100), Sent(1, 21, 101), Sent(1, 22, 102)])
        batches.append([Received(1, 21, 40), Received(1, 20, 41)])
        batches.append([Delivered(1, 24), MessageRemoved(14), IdentifierTaken(1, 5), IdentifierTaken(1, 6)])
        batches.append([IdentifierFreed(1, 5)])
        session = live(make, *batches).sessions["ana"]
        outgoing = session.outgoing
        assert [entry.message.payload for entry in outgoing.queue] == [b"13"]
        assert [(key, entry.message.payload) for key, entry in outgoing.inflight.items()] == [(102, b"12")]
        assert list(outgoing.releasing) == [101, 100]
        assert session.incoming.identifiers == {6}
        (entry,) = outgoing.queue
        assert (entry.qos, entry.retain, entry.identifiers) == (2, False, b"\x0b\x07")
        assert (entry.message.properties, entry.message.expires_at) == (b"\x01\x01", NOW + 3600.5)

    def test_keeps_retained_messages(self, make: Make) -> None:
        core = live(
            make,
            [MessageSaved(1, message(b"old", b"a")), Retained(b"a", 1)],
            [MessageSaved(2, message(b"new", b"a")), Retained(b"a", 2), MessageRemoved(1)],
            [MessageSaved(3, message(b"\0\xff", "č".encode())), Retained("č".encode(), 3)],
            [MessageSaved(4, message(b"x", b"b")), Retained(b"b", 4), Retained(b"b", 0), MessageRemoved(4)],
        )
        assert len(core.retained) == 2
        for topic, payload in ((b"a", b"new"), ("č".encode(), b"\0\xff")):
            kept = core.retained.get(topic)
            assert kept is not None
            assert kept.payload == payload

    def test_forgets_a_session_that_ended(self, make: Make) -> None:
        core = live(
            make,
            [SESSION, Subscribed(1, b"a", 0, 0), IdentifierTaken(1, 9)],
            [MessageSaved(2, message(b"x")), Queued(1, 3, 2, 2, False, b"", b"")],
            [Delivered(1, 3), MessageRemoved(2), SessionEnded(1)],
        )
        assert not core.sessions

    def test_numbers_of_batches_need_not_begin_with_1(self, make: Make) -> None:
        async def run() -> None:
            store = make()
            restore(store)
            try:
                assert await keep(store, [[SESSION], [Subscribed(1, b"a", 0, 0)]], first=2**40) == [
                    2**40,
                    2**40 + 1,
                ]
            finally:
                await store.close()

        asyncio.run(run())
        assert list(look(make).sessions["ana"].subscriptions) == [b"a"]

    def test_a_large_batch_is_kept_whole(self, make: Make) -> None:
        records: list[Record] = [SESSION]
        for number in range(2, 3002, 2):
            records.append(MessageSaved(number, message(b"%d" % number * 500)))
            records.append(Queued(1, number + 1, number, 1, False, b"", b""))
        queue = live(make, records).sessions["ana"].outgoing.queue
        assert [entry.message.payload for entry in queue] == [
            b"%d" % number * 500 for number in range(2, 3002, 2)
        ]

    def test_closing_finishes_what_is_open(self, make: Make) -> None:
        async def run() -> None:
            store = make()
            restore(store)
            await store.open()
            store.commit(Batch(1, [SESSION]))
            await store.close()

        asyncio.run(run())
        assert list(look(make).sessions) == ["ana"]

    def test_one_at_a_time(self, make: Make) -> None:
        async def run() -> bool:
            first, second = make(), make()
            restore(first)
            await first.open()
            try:
                restore(second)
            except StoreError:
                return True
            finally:
                await second.close()
                await first.close()
            return False

        assert asyncio.run(run())

    def test_closing_again_or_before_it_was_opened_does_no_harm(self, make: Make) -> None:
        async def run() -> None:
            store = make()
            await store.close()
            await store.close()

        asyncio.run(run())
