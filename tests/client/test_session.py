"""Session State on a real disk: what it keeps, whose it is, and what it says when it cannot be."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from curier.client.session import Session, StoredSession
from curier.codec.packets import Connect
from curier.errors import ConfigError, StoreError
from curier.protocol.client import ClientConnection
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.records import IdentifierTaken, Record, Sent, SessionSaved, Subscribed, decode, encode
from curier.session.restoring import SessionRestorer, records_of
from curier.session.session import Session as SessionState
from curier.store import frames
from curier.store.log import LogStore
from tests.store.faults import FullDisk, the_file
from tests.waiting import until

NOW = 1_700_000_000.0


def message(payload: bytes, qos: int = 2) -> ApplicationMessage:
    return ApplicationMessage(b"t", payload, qos, False, b"\x01\x01", NOW + 60)


@asynccontextmanager
async def opened(path: Path, client_id: str = "me") -> AsyncIterator[tuple[Session, SessionState]]:
    session = Session.disk(path)
    state = await session.open(client_id)
    try:
        yield session, state
    finally:
        await session.close()


def say(session: Session, state: SessionState, payload: bytes, qos: int = 2) -> Outgoing:
    """Publish while there is no connection."""
    connection = ClientConnection(state)
    entry, layout = connection.prepare(message(payload, qos), NOW)
    session.keep(entry)
    connection.submit(entry, layout, NOW)
    return entry


def waiting(state: SessionState) -> list[bytes]:
    return [entry.message.payload for entry in state.outgoing.queue]


# ---- what is kept ----


async def test_what_was_published_offline_is_there_again_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, state):
        for number in range(5):
            say(session, state, b"%d" % number, 1 + number % 2)
    async with opened(tmp_path) as (session, state):
        assert waiting(state) == [b"0", b"1", b"2", b"3", b"4"]
        (first, *_) = state.outgoing.queue
        kept = first.message
        assert (kept.topic, kept.qos, kept.properties, kept.expires_at) == (b"t", 1, b"\x01\x01", NOW + 60)
        say(session, state, b"5")
    async with opened(tmp_path) as (_, state):
        assert waiting(state)[-2:] == [b"4", b"5"]


async def test_flows_go_on_where_they_were(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, state):
        for payload in (b"a", b"b", b"c", b"d"):
            say(session, state, payload)
        outgoing = state.outgoing
        outgoing.open(100)
        for _ in range(3):
            outgoing.start(outgoing.pop(), NOW)
        outgoing.received(2, NOW)
        outgoing.received(1, NOW)
        outgoing.completed(2)
        session.took(77)
        session.took(78)
        state.incoming.release(77)
        session.met("mqtt://there")
        session.write()
    async with opened(tmp_path) as (session, state):
        assert list(state.outgoing.releasing) == [1]
        assert [(key, one.message.payload) for key, one in state.outgoing.inflight.items()] == [(3, b"c")]
        assert waiting(state) == [b"d"]
        assert state.incoming.identifiers == {78}
        assert session.server == "mqtt://there"
        assert state.outgoing.last_id == 3


async def test_an_accepted_message_survives_the_program_that_dies_at_once(tmp_path: Path) -> None:
    program = f"""
import asyncio, os
from pathlib import Path
from tests.client.test_session import Session, say
async def main():
    session = Session.disk({str(tmp_path / "box")!r})
    state = await session.open("me")
    say(session, state, b"kept")
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    where = Path(__file__).parents[2]
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], cwd=where)
    assert ended.returncode == -9
    async with opened(tmp_path / "box") as (_, state):
        assert waiting(state) == [b"kept"]


async def test_the_log_stays_small_however_much_goes_through(tmp_path: Path) -> None:
    session = StoredSession(LogStore(tmp_path, compact_bytes=20_000))
    state = await session.open("me")
    say(session, state, b"stays", 1)
    state.outgoing.open(100)
    for number in range(2000):
        entry = say(session, state, b"%d" % number, 1)
        state.outgoing.queue.pop()
        state.outgoing.start(entry, NOW)
        session.write()
        state.outgoing.acknowledged(entry.packet_id)
        session.write()
    await session.close()
    assert the_file(tmp_path).stat().st_size < 50_000
    async with opened(tmp_path) as (_, state):
        assert waiting(state) == [b"stays"]


async def test_qos_2_leaves_when_it_is_durable(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, state):
        connection = ClientConnection(state)
        session.on_committed = lambda number: connection.release(number, NOW)
        connection.connect(Connect(5, "me"), NOW)
        connection.receive(b"\x20\x03\x00\x00\x00", NOW)
        connection.take_output()
        entry, layout = connection.prepare(message(b"x"), NOW)
        session.keep(entry)
        connection.submit(entry, layout, NOW)
        assert connection.take_output() == b""
        connection.release(session.write(), NOW)
        assert connection.take_output() == b""  # written, and not yet synced
        await until(lambda: bool(connection.output))
        assert connection.take_output().startswith(b"\x34")


async def test_with_durability_os_it_leaves_at_once(tmp_path: Path) -> None:
    session = Session.disk(tmp_path, durability="os")
    state = await session.open("me")
    connection = ClientConnection(state)
    connection.connect(Connect(5, "me"), NOW)
    connection.receive(b"\x20\x03\x00\x00\x00", NOW)
    connection.take_output()
    entry, layout = connection.prepare(message(b"x"), NOW)
    session.keep(entry)
    connection.submit(entry, layout, NOW)
    connection.release(session.write(), NOW)
    assert connection.take_output().startswith(b"\x34")
    await session.close()


# ---- whose it is ----


async def test_it_belongs_to_one_client_identifier(tmp_path: Path) -> None:
    async with opened(tmp_path, "one"):
        pass
    with pytest.raises(StoreError, match=f"{tmp_path} holds the session of client 'one', not of 'two'"):
        await Session.disk(tmp_path).open("two")
    async with opened(tmp_path, "one") as (_, state):
        assert state.client_id == "one"
    async with opened(tmp_path, "") as (_, state):
        assert state.client_id == "one"


async def test_a_client_identifier_is_chosen_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "a", "") as (_, state):
        chosen = state.client_id
    assert chosen.isalnum()
    assert 1 <= len(chosen.encode()) <= 23  # [MQTT-3.1.3-5]
    async with opened(tmp_path / "a", "") as (_, state):
        assert state.client_id == chosen
    async with opened(tmp_path / "b", "") as (_, state):
        assert state.client_id != chosen


async def test_two_clients_cannot_share_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, _):
        with pytest.raises(StoreError, match="in use by another client of this program"):
            await session.open("me")
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
            await Session.disk(tmp_path).open("me")
    memory = Session.memory()
    await memory.open("me")
    with pytest.raises(StoreError, match="in use by another client of this program"):
        await memory.open("me")


async def test_the_same_object_can_be_opened_again(tmp_path: Path) -> None:
    session = Session.disk(tmp_path)
    for payload in (b"a", b"b"):
        state = await session.open("me")
        say(session, state, payload)
        await session.close()
    await session.close()  # does no harm
    assert waiting(await session.open("me")) == [b"a", b"b"]
    await session.close()


async def test_in_memory_it_lasts_as_long_as_the_object() -> None:
    session = Session.memory()
    state = await session.open("")
    state.client_id = "assigned"
    say(session, state, b"x")
    session.took(5)
    session.met("there")
    assert session.write() == 0
    await session.close()
    again = await session.open("assigned")
    assert waiting(again) == [b"x"]
    assert again.incoming.is_duplicate(5)
    assert session.server == "there"
    await session.close()
    with pytest.raises(StoreError, match="holds the session of client 'assigned'"):
        await session.open("other")


# ---- when it cannot be ----


async def test_a_message_that_cannot_be_kept_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as (session, state):
        troubles: list[str] = []
        session.on_trouble = troubles.append
        say(session, state, b"before")
        disk = FullDisk(monkeypatch)
        with pytest.raises(StoreError, match="the disk is full"):
            say(session, state, b"refused")
        assert waiting(state) == [b"before"]
        assert session.trouble == ""
        session.met("there")
        with pytest.raises(StoreError, match="the disk is full"):
            say(session, state, b"refused again")  # and what came before it has to wait
        assert troubles == [session.trouble]
        with pytest.raises(StoreError, match="the disk is full"):
            say(session, state, b"refused as well")
        with pytest.raises(StoreError, match="the disk is full"):
            session.note(Outgoing(message(b"refused as well"), 2, False))
        disk.is_full = False
        await until(lambda: not session.trouble)
        assert troubles[1:] == [""]
        say(session, state, b"after")
        noted = Outgoing(message(b"noted"), 2, False)
        session.note(noted)
        state.outgoing.append(noted)
    async with opened(tmp_path) as (session, state):
        assert waiting(state) == [b"before", b"after", b"noted"]
        assert session.server == "there"


async def test_an_entry_that_was_refused_can_be_kept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as (session, state):
        entry = Outgoing(message(b"x"), 2, False)
        disk = FullDisk(monkeypatch)
        with pytest.raises(StoreError):
            session.keep(entry)
        assert (entry.delivery, entry.message.number, entry.message.references) == (0, 0, 0)
        disk.is_full = False
        session.keep(entry)
        state.outgoing.append(entry)
    async with opened(tmp_path) as (_, state):
        assert waiting(state) == [b"x"]


async def test_a_damaged_file_is_an_error_and_leaves_the_directory_unlocked(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    whole = the_file(tmp_path).read_bytes()
    append_frame(tmp_path, [IdentifierTaken(1, 5), Subscribed(1, b"x", 0, 0)])
    with pytest.raises(StoreError, match=f"{tmp_path}: a Subscribed record, which no client makes"):
        await Session.disk(tmp_path).open("me")
    the_file(tmp_path).write_bytes(whole)
    async with opened(tmp_path):
        pass


def append_frame(directory: Path, records: list[Record]) -> None:
    with the_file(directory).open("ab") as file:
        file.write(frames.frame(4, 3, encode(records)))


def test_another_durability_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="durability is 'memory'; it can be 'fsync' or 'os'"):
        Session.disk(tmp_path, durability="memory")  # type: ignore[arg-type]


async def test_it_has_to_be_open() -> None:
    session = Session.disk("never/made")
    with pytest.raises(StoreError, match="never/made: the Session is not open"):
        session.write()
    assert not Path("never").exists()  # noqa: ASYNC240


# ---- a session as records ----


@pytest.mark.parametrize("seed", range(50))
def test_all_records_ever_made_and_those_of_the_session_give_the_same(seed: int) -> None:
    dice = Random(seed)
    journal = Journal()
    state = SessionState("me", 1, journal)
    journal.add(SessionSaved(1, "me", 5, 0, 0.0))
    outgoing = state.outgoing
    outgoing.open(20)
    shared = message(b"shared")
    for number in range(100):
        match dice.randrange(6):
            case 0 | 1:
                qos = dice.choice((1, 2))
                what = shared if dice.random() < 0.1 else message(b"%d" % number, qos)
                entry = Outgoing(what, qos, False)
                outgoing.record(entry)
                outgoing.append(entry)
            case 2 if outgoing.queue and outgoing.quota:
                outgoing.start(outgoing.pop(), NOW)
            case 3 if outgoing.inflight:
                packet_id = dice.choice(list(outgoing.inflight))
                if outgoing.acknowledged(packet_id) is None:
                    outgoing.received(packet_id, NOW)
            case 4 if outgoing.releasing:
                outgoing.completed(dice.choice(list(outgoing.releasing)))
            case 5:
                packet_id = dice.randint(1, 9)
                if not state.incoming.release(packet_id):
                    state.incoming.take(packet_id)
    batch = journal.take()
    assert batch is not None
    expected = plain(state)
    assert plain(replayed(batch.records)) == expected
    assert plain(replayed(records_of(state, ""))) == expected
    again = replayed(decode(encode(records_of(state, ""))))
    finish(again)  # what was restored can be finished, and nothing is named that is not there
    assert again.journal is not None
    rest = again.journal.take()
    if rest is not None:
        assert not replayed([*records_of(state, ""), *rest.records]).outgoing.unfinished()


def replayed(records: list[Record]) -> SessionState:
    restorer = SessionRestorer(Journal())
    restorer.replay(records)
    return restorer.finish()


def plain(state: SessionState) -> tuple[object, ...]:
    outgoing = state.outgoing
    return (
        state.client_id,
        [(key, one.delivery, one.message.payload) for key, one in outgoing.inflight.items()],
        [(key, one.delivery, one.message.payload) for key, one in outgoing.releasing.items()],
        [(one.packet_id, one.delivery, one.message.payload, one.qos) for one in outgoing.queue],
        outgoing.queued_bytes,
        state.incoming.identifiers,
    )


def finish(state: SessionState) -> None:
    outgoing = state.outgoing
    outgoing.open(65535)
    while outgoing.queue:
        outgoing.start(outgoing.pop(), NOW)
    for packet_id in list(outgoing.inflight):
        if outgoing.acknowledged(packet_id) is None:
            outgoing.received(packet_id, NOW)
    for packet_id in list(outgoing.releasing):
        outgoing.completed(packet_id)


def test_records_that_contradict_each_other_are_an_error() -> None:
    with pytest.raises(StoreError, match="a Sent record names 7, which is not there"):
        SessionRestorer(Journal()).replay([Sent(1, 7, 1)])
