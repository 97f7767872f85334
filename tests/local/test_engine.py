"""The engine and the workers' end of it, over real sockets."""

from __future__ import annotations

import asyncio
import socket

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.cluster.orders import LEASES, SESSIONS, STORED, UNKNOWN, AnswerRelease, AskRelease, Tell
from curier.cluster.records import Boot, Lease, Passed, SessionRecord
from curier.local.bus import FULL
from curier.local.engine import Engine
from tests.jetstream.buses import A, frame, record
from tests.local.engines import joined, on_engine
from tests.waiting import until

B = Boot("b", 4)


async def test_a_lease_is_over_when_its_process_is_gone_and_everybody_hears_of_it() -> None:
    engine = Engine()
    async with on_engine(engine, "a") as one, on_engine(engine, "b") as other:
        first = await one.store(LEASES, "a", Lease(A, 0), 0)
        await one.store(LEASES, "a", Lease(A, 1), first)
        feed = other.follow(LEASES, 0)
        await until(lambda: feed.entries == [(2, Lease(A, 1))])
        engine.gone("a")
        await until(lambda: len(feed.entries) == 2)
        assert feed.entries[1] == (3, Lease(A, 2, is_over=True))
        await until(lambda: one.end != "")  # it is told nothing more
        engine.gone("a")
        engine.gone("nobody")
        assert await other.look(LEASES, "a") == (3, Lease(A, 2, is_over=True))
        again = await other.store(LEASES, "a", Lease(Boot("a", 2), 0), 3)
        await until(lambda: feed.entries[-1] == (again, Lease(Boot("a", 2), 0)))


async def test_a_lease_that_its_node_gave_back_is_left_as_it_is() -> None:
    engine = Engine()
    async with on_engine(engine, "a") as one:
        await one.store(LEASES, "a", Lease(A, 5, is_over=True), 0)
    assert engine.leases.last == 1


async def test_a_node_is_asked_for_a_session_and_the_answer_goes_to_who_asked() -> None:
    engine = Engine()
    async with on_engine(engine, "a") as one, on_engine(engine, "b") as other:
        asked = one.begin(lambda token: AskRelease(token, B, "gärtner > *"))
        await until(lambda: len(other.wishes) == 1)
        ((node, token, asker, session),) = other.wishes
        assert (node, session) == (B, "gärtner > *")
        assert other.bus is not None
        other.bus.obey(AnswerRelease(token, "77"))  # of who is gone
        other.bus.obey(AnswerRelease(token, "no number"))
        other.bus.obey(AnswerRelease(token, asker))
        assert await asked == ()
        lost = one.begin(lambda token: AskRelease(token, Boot("c", 1), "x"))
        assert await one.last(0) == 0
        assert not lost.done()


async def test_messages_of_qos_0_reach_all_others_in_order_and_not_their_own_worker() -> None:
    engine = Engine()
    sent = [Passed(4, False, 0.5, ("me",), (9,), b"%d" % number * 50_000) for number in range(100)]
    async with on_engine(engine, "a") as one, on_engine(engine, "b") as b, on_engine(engine, "c") as c:
        assert one.bus is not None
        for message in sent:
            one.bus.obey(Tell(A, (message,)))
        await until(lambda: len(b.passed) == len(c.passed) == 100)
        assert b.passed == c.passed == sent
        assert one.passed == []


async def test_a_worker_that_reads_nothing_holds_up_nobody_and_gets_all_of_the_log_later() -> None:
    """And what waits for it is bounded: the log is sent as it is read, QoS 0 is left out."""
    engine = Engine()
    async with on_engine(engine, "a") as one:
        slow, bus, worker = await joined(engine, "slow")
        feed = slow.follow(0, 0)
        assert await slow.last(0) == 0
        transport = bus._wire._transport
        assert transport is not None
        transport.pause_reading()
        last = 0
        for number in range(1, 400):
            last = await one.store(0, "a.1", frame(number, size=50_000), last)
        assert worker.wire.waiting < 4 << 20
        assert one.bus is not None
        for _ in range(100):
            one.bus.obey(Tell(A, (Passed(4, False, 0.5, ("me",), (9,), b"x" * 1_000_000),)))
            await one.last(0)
        assert engine.left_out > 0
        assert worker.wire.waiting < 40 << 20
        transport.resume_reading()
        await until(lambda: len(feed.entries) == 399)
        assert feed.entries == [(number, frame(number, size=50_000)) for number in range(1, 400)]
        assert len(slow.passed) == 100 - engine.left_out
        await bus.close()


async def test_what_a_worker_wrote_comes_by_in_its_place_among_that_of_others() -> None:
    engine = Engine()
    async with on_engine(engine, "a") as one, on_engine(engine, "b") as other:
        before = await one.store(0, "a.1", frame(1), 0)
        first, second = one.follow(0, 0), other.follow(0, 0)
        last, others = before, 0
        for number in range(2, 30):
            last = await one.store(0, "a.1", frame(number), last)
            others = await other.store(0, "b.4", frame(number, B), others)
        await until(lambda: len(first.entries) == len(second.entries) == 57)
        assert first.entries == second.entries
        assert [number for number, _ in first.entries] == list(range(1, 58))
        again = one.follow(0, 10)
        await until(lambda: len(again.entries) == 47)
        assert again.entries == second.entries[10:]
        assert one.bus is not None
        assert not one.bus._own  # type: ignore[attr-defined]


async def test_nothing_is_stored_where_the_log_is_full() -> None:
    engine = Engine(log_bytes=10_000)
    async with on_engine(engine) as one:
        assert await one.write(0, "a.1", frame(1, size=6000), 0) == (STORED, 1)
        assert await one.write(0, "a.1", frame(2, size=6000), 1) == (UNKNOWN, 0)
        assert one.bus is not None
        assert one.bus.why == FULL  # type: ignore[attr-defined]
        engine.logs[0].cut(1)
        assert await one.write(0, "a.1", frame(2, size=6000), 0) == (STORED, 2)
        assert one.bus.why == ""  # type: ignore[attr-defined]


async def test_a_session_that_is_over_is_not_kept() -> None:
    engine = Engine()
    async with on_engine(engine) as one:
        stored = await one.store(SESSIONS, "x", record(A, 0), 0)
        over = SessionRecord(A, 1, 1, is_released=True)
        gone = await one.store(SESSIONS, "x", over, stored)
        assert len(engine.sessions) == 0
        assert await one.look(SESSIONS, "x") == (gone, None)
        assert await one.owners() == []
        kept = await one.store(SESSIONS, "x", SessionRecord(A, 1, 2, is_released=True, unsealed=(B,)), gone)
        assert (await one.look(SESSIONS, "x"))[0] == kept


async def test_who_says_what_cannot_be_is_cut_off_and_the_others_go_on() -> None:
    engine = Engine()
    async with on_engine(engine, "a") as one:
        for said in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x00\x00\x02\x91\x63"):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            await engine.serve(ours, "odd")
            loop = asyncio.get_running_loop()
            with theirs:
                await loop.sock_sendall(theirs, said)
                assert await loop.sock_recv(theirs, 10) == b""
        assert await one.write(0, "a.1", frame(1), 0) == (STORED, 1)
        assert engine.of_name("odd") is None


async def test_a_worker_hears_when_the_engine_is_gone() -> None:
    engine = Engine()
    asker, bus, worker = await joined(engine, "a")
    worker.wire.close()
    await until(lambda: asker.end != "")
    assert bus.why == asker.end
    await bus.close()
