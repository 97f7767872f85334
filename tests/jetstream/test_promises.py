"""What a node may believe of its bus: of the one of the simulation, of the engine of workers, and of three
servers of NATS.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.cluster.orders import (
    LEASES,
    REFUSED,
    SESSIONS,
    SNAPSHOTS,
    STORED,
    UNKNOWN,
    AnswerRelease,
    AskRelease,
    Hand,
    Sweep,
    Tell,
)
from curier.cluster.records import (
    Boot,
    Frame,
    Lease,
    Mark,
    Message,
    Passed,
    Piece,
    Seal,
    SessionRecord,
    Snapshot,
)
from curier.cluster.snapshots import HEAD
from curier.jetstream.bus import Bus
from curier.jetstream.names import hashed
from tests.jetstream.buses import Asker, Simulated, ask_api, frame, on_nats, record
from tests.jetstream.servers import NatsServers
from tests.local.engines import on_engine
from tests.waiting import until

A, B = Boot("a", 1), Boot("b", 4)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    running = NatsServers(tmp_path_factory.mktemp("nats"))
    yield running
    running.close()


@pytest.fixture(params=["simulated", "workers", pytest.param("nats", marks=pytest.mark.interop)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Asker]:
    if request.param == "nats":
        async with on_nats(request.getfixturevalue("servers")) as asker:
            yield asker
    elif request.param == "workers":
        async with on_engine() as local:
            yield local
    else:
        asker = Asker()
        Simulated(asker)
        yield asker


async def test_a_write_is_stored_if_it_knows_the_one_before(bus: Asker) -> None:
    first = await bus.write(0, "a.1", frame(1), 0)
    other = await bus.write(0, "b.4", frame(1, B), 0)
    second = await bus.write(0, "a.1", frame(2), 1)

    assert [first, other, second] == [(STORED, 1), (STORED, 2), (STORED, 3)]
    for expected in (0, 1, 2, 4):
        assert await bus.write(0, "a.1", frame(3), expected) == (REFUSED, 0)
    assert await bus.write(0, "a.1", Seal(A), 3) == (STORED, 4)
    assert await bus.last(0) == 4
    assert await bus.last(1) == 0


async def test_of_two_writes_at_once_one_is_stored(bus: Asker) -> None:
    expected = 0
    for number in range(1, 20):
        written = [bus.write(LEASES, "a", Lease(Boot("a", racer), number), expected) for racer in range(4)]
        outcomes = await asyncio.gather(*written)
        stored = [sequence for outcome, sequence in outcomes if outcome == STORED]
        assert len(stored) == 1
        found, value = await bus.look(LEASES, "a")
        while found < stored[0]:  # an old answer
            found, value = await bus.look(LEASES, "a")
        racer = [outcome for outcome, _ in outcomes].index(STORED)
        assert (found, value) == (stored[0], Lease(Boot("a", racer), number))
        expected = stored[0]


async def test_what_was_never_written_is_not_found(bus: Asker) -> None:
    assert await bus.look(SESSIONS, "nobody") == (0, None)
    assert await bus.look(0, "a.1") == (0, None)


async def test_a_session_is_found_by_any_name_a_client_may_have(bus: Asker) -> None:
    names = ["", "a.b.>", "*", "gärtner/7 \n", "x" * 3000]
    for number, name in enumerate(names):
        await bus.store(SESSIONS, name, record(A, number), 0)
    for number, name in enumerate(names):
        found, value = await bus.look(SESSIONS, name)
        assert value == record(A, number) or not found
    assert await bus.sessions(A) == sorted(names)


async def test_all_that_is_asked_for_is_fetched_in_order(bus: Asker) -> None:
    written = []
    last = 0
    for number in range(1, 400):
        last = await bus.store(1, "a.1", frame(number, size=number), last)
        written.append((last, frame(number, size=number)))

    assert await bus.fetch(1, 0, 399) == written
    assert await bus.fetch(1, 100, 300) == written[100:300]
    assert await bus.fetch(1, 398, 399) == written[398:]
    assert await bus.fetch(1, 399, 399) == []


async def test_a_stream_comes_by_whole_and_in_order(bus: Asker) -> None:
    first = bus.follow(0, 0)
    last = 0
    for number in range(1, 50):
        last = await bus.store(0, "a.1", frame(number), last)
    await until(lambda: len(first.entries) == 49)
    assert first.entries == [(number, frame(number)) for number in range(1, 50)]
    assert first.numbers == list(range(1, len(first.numbers) + 1))

    second = bus.follow(0, 40)
    last = await bus.store(0, "a.1", frame(50), last)
    await until(lambda: len(second.entries) == 10)
    assert [sequence for sequence, _ in second.entries] == list(range(41, 51))
    assert second.numbers[0] == 1
    assert len(first.entries) == 49


async def test_owners_are_those_of_the_last_records(bus: Asker) -> None:
    assert await bus.owners() == []
    assert await bus.sessions(A) == []
    places = {}
    for name in ("x", "y", "z"):
        places[name] = await bus.store(SESSIONS, name, record(A, 0), 0)
    await bus.store(SESSIONS, "y", record(B, 1), places["y"])

    assert await bus.owners() == [A, B]
    assert await asyncio.gather(*[bus.owners() for _ in range(5)]) == [[A, B]] * 5
    asked = [bus.sessions(A), bus.sessions(B), bus.sessions(Boot("a", 2))]
    assert await asyncio.gather(*asked) == [["x", "z"], ["y"], []]

    for name in ("x", "z"):
        places[name] = await bus.store(SESSIONS, name, record(B, 2), places[name])
    assert await bus.owners() == [B]
    assert await bus.sessions(A) == []
    await bus.store(SESSIONS, "x", record(A, 3), places["x"])
    assert await bus.owners() == [A, B]
    assert await bus.sessions(B) == ["y", "z"]


async def test_a_late_writer_is_shut_out_by_a_seal(bus: Asker) -> None:
    last = await bus.store(0, "a.1", frame(1), 0)
    sealed = await bus.store(0, "a.1", Seal(A), last)

    assert await bus.write(0, "a.1", frame(2), last) == (REFUSED, 0)
    assert (await bus.look(0, "a.1"))[1] in (Seal(A), frame(1))
    assert await bus.last(0) == sealed


async def test_many_writers_in_line_and_what_they_were_told_is_what_is_there(bus: Asker) -> None:
    """Each writes as a ``Writer`` does; what each thinks it stored, and where, is what a reader gets."""
    thought: dict[int, Frame] = {}

    async def write(name: str) -> None:
        last = 0
        for number in range(1, 40):
            value = frame(number, Boot(name, 1))
            last = await bus.store(0, f"{name}.1", value, last)
            assert last not in thought
            thought[last] = value

    await asyncio.gather(*[write(name) for name in "abcdef"])
    assert await bus.last(0) == len(thought) == 39 * 6
    assert dict(await bus.fetch(0, 0, len(thought))) == thought


@pytest.mark.interop
async def test_a_node_is_asked_for_a_session_by_another(servers: NatsServers) -> None:
    async with on_nats(servers, "wishes", "a") as one, on_nats(servers, "wishes", "b") as other:
        assert other.bus is not None
        asked = [one.begin(lambda token: AskRelease(token, B, "gärtner > *"))]
        while not asked[-1].done():  # servers may not know yet who listens at others: nodes ask again, too
            with contextlib.suppress(AssertionError):
                await until(lambda: bool(other.wishes) or asked[-1].done(), patience=1.0)
            for node, token, asker, session in other.wishes:
                assert (node, session) == (B, "gärtner > *")
                other.bus.obey(AnswerRelease(token, asker))
            other.wishes.clear()
            with contextlib.suppress(AssertionError):
                await until(lambda: asked[-1].done(), patience=1.0)
            if not asked[-1].done():
                asked.append(one.begin(lambda token: AskRelease(token, B, "gärtner > *")))
        assert await asked[-1] == ()


@pytest.mark.interop
async def test_messages_of_qos_0_reach_the_other_nodes_and_not_their_own(servers: NatsServers) -> None:
    sent = [Passed(4, False, 0.5, ("me", "you"), (60, 40), b"%d" % one * 50_000) for one in range(10, 99)]
    async with on_nats(servers, "direct", "a") as one, on_nats(servers, "direct", "b") as other:
        assert one.bus is not None
        while not other.passed:  # until the servers know that somebody listens
            one.bus.obey(Tell(A, tuple(sent[:1])))
            await asyncio.sleep(0.1)
        last = Passed(4, False, 0.5, ("me",), (1,), b"the last of them")
        one.bus.obey(Tell(A, (last,)))
        await until(lambda: last in other.passed)
        other.passed.clear()
        one.bus.obey(Tell(A, tuple(sent)))
        await until(lambda: len(other.passed) == len(sent))
        assert other.passed == sent
        assert one.passed == []
        handed = [
            (Message(("a", 1, 0), "me", b"a", b"%d" % at * 50_000, 0, group=b"$share/g/a"), f"m{at}")
            for at in range(10, 99)
        ]
        one.bus.obey(Hand(A, tuple([one for one, _ in handed]), tuple([name for _, name in handed])))
        await until(lambda: len(other.handed_on) == len(handed))
        assert other.handed_on == handed
        assert one.handed_on == []


@pytest.mark.interop
async def test_what_is_too_large_is_never_stored_and_the_words_say_so(
    tmp_path: pytest.TempPathFactory, servers: NatsServers
) -> None:
    async with on_nats(servers) as asker:
        assert isinstance(asker.bus, Bus)
        assert asker.bus.most > 8_000_000
        assert await asker.write(0, "a.1", frame(1, size=9_000_000), 0) == (UNKNOWN, 0)
        assert "raise its max_payload" in asker.bus.unhappy
        assert await asker.write(0, "a.1", frame(1, size=7_000_000), 0) == (STORED, 1)
        assert asker.bus.unhappy == ""
        assert await asker.fetch(0, 0, 1) == [(1, frame(1, size=7_000_000))]


@pytest.mark.interop
async def test_a_record_may_be_larger_than_a_message_of_nats(servers: NatsServers) -> None:
    def large(write: int) -> SessionRecord:
        return replace(record(A, write), unsealed=tuple([Boot("x" * 2_500_000, one) for one in range(8)]))

    async with on_nats(servers, "large", "a") as one, on_nats(servers, "large", "b") as other:
        assert isinstance(one.bus, Bus)
        last = 0
        for number in range(1, 4):
            last = await one.store(SESSIONS, "x", large(number), last)
            found, value = await other.look(SESSIONS, "x")
            while found < last:  # an old answer
                found, value = await other.look(SESSIONS, "x")
            assert (found, value) == (last, large(number))
        assert await one.write(SESSIONS, "x", large(9), 1) == (REFUSED, 0)
        assert await other.owners() == [A]
        assert await other.sessions(A) == ["x"]

        heir = await other.store(SESSIONS, "x", record(B, 1), last)
        assert await one.write(SESSIONS, "x", large(4), last) == (REFUSED, 0)
        await other.store(SESSIONS, "x", record(B, 2), heir)
        kept = await other.store(SESSIONS, "y", large(1), 0)
        assert (await one.look(SESSIONS, "y"))[0] in (0, kept)

        subjects: dict[str, int] = {}
        for _ in range(1000):  # parts that no record names any more go a moment later
            answer = await ask_api(
                one.bus.data, "STREAM.INFO.LARGE_SESSIONS", {"subjects_filter": "large.parts.>"}
            )
            subjects = answer["state"].get("subjects") or {}
            if len(subjects) == 3:
                break
            await asyncio.sleep(0.1)
        assert [subject.startswith(f"large.parts.{hashed('y')}.") for subject in subjects] == [True] * 3


async def test_what_was_cut_in_front_is_gone_and_the_rest_goes_on(bus: Asker) -> None:
    """Sequences go on, and none comes again: what was conditioned on one that is gone is refused for ever."""
    first = bus.follow(0, 0)
    assert await bus.write(0, "b.4", frame(1, B), 0) == (STORED, 1)
    for number in range(1, 10):
        assert await bus.write(0, "a.1", frame(number), number if number > 1 else 0) == (STORED, number + 1)
    await until(lambda: len(first.entries) == 10)
    await bus.cut(0, 7)
    assert (await bus.size(0))[:2] == (8, 10)
    assert await bus.last(0) == 10

    found, value = await bus.look(0, "b.4")
    while found:  # an old answer
        found, value = await bus.look(0, "b.4")
    assert value is None
    for expected in (1, 7, 10):
        assert await bus.write(0, "b.4", frame(2, B), expected) == (REFUSED, 0)
    assert await bus.write(0, "b.4", frame(0, B), 0) == (STORED, 11)
    assert await bus.write(0, "a.1", frame(10), 10) == (STORED, 12)

    while [sequence for sequence, _ in await bus.fetch(0, 0, 9)] != [8, 9]:
        pass  # of a replica that has not heard of it yet
    while await bus.fetch(0, 2, 6):
        pass
    await until(lambda: len(first.entries) == 12)
    assert [sequence for sequence, _ in first.entries] == [*range(1, 13)]
    again = bus.follow(0, 3)
    await until(lambda: [sequence for sequence, _ in again.entries[-5:]] == [8, 9, 10, 11, 12])


async def test_what_sessions_need_is_told_as_of_a_mark_or_later(bus: Asker) -> None:
    given_up = replace(record(B, 2), is_released=True, places=(7, 3), state=b"x")
    done = replace(record(B, 1), is_released=True)
    first = await bus.store(SESSIONS, "s", record(A, 1), 0)
    await bus.store(SESSIONS, "done", done, 0)
    mark = await bus.store(SESSIONS, "\0a", Mark(A, 1), 0)
    needs = await bus.needs(mark)
    assert [one.owner for one in needs if not one.is_released] == [A]
    assert not any(one.behind for one in needs)

    await bus.store(SESSIONS, "s", given_up, first)
    mark = await bus.store(SESSIONS, "\0a", Mark(A, 2), mark)
    needs = await bus.needs(mark)
    assert [one for one in needs if not one.is_released] == []
    assert {one.session: one.behind for one in needs if one.behind} == {"s": (7, 3)}
    assert await bus.owners() == [B]


async def test_pieces_of_a_snapshot_are_swept_up_to_the_first_of_the_next(bus: Asker) -> None:
    pieces = [Piece("retained", frame(number).messages) for number in range(3)]
    for number, piece in enumerate(pieces):
        await bus.store(SNAPSHOTS, f"a.1.1.{number}", piece, 0)
    head = await bus.store(SNAPSHOTS, HEAD, Snapshot("a.1.1", 3, (4, 5), (6, 7)), 0)
    first = await bus.store(SNAPSHOTS, "a.1.2.0", pieces[0], 0)
    newer = Snapshot("a.1.2", 1, (4, 6), (6, 7))
    await bus.store(SNAPSHOTS, HEAD, newer, head)
    assert bus.bus is not None
    bus.bus.obey(Sweep(first))
    while (await bus.look(SNAPSHOTS, "a.1.1.2"))[0]:  # noqa: ASYNC110  # it has no answer
        await asyncio.sleep(0.02)
    _, value = await bus.look(SNAPSHOTS, HEAD)
    while value != newer:  # an old answer
        _, value = await bus.look(SNAPSHOTS, HEAD)
    assert (await bus.look(SNAPSHOTS, "a.1.2.0"))[1] == pieces[0]
