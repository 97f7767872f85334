"""The SQLite store passes what every store does, at both levels of durability, and survives its process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from curier.broker.core import BrokerCore
from curier.session.records import Batch, Subscribed
from curier.store.base import Store
from curier.store.sqlite import SqliteStore
from curier.testing.stores import SESSION, StoreContract, look, restore
from tests.standing_still import stand_still
from tests.waiting import until


class TestFsync(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "data")


class TestOs(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "data", "os")


def pid_of(store: SqliteStore) -> int:
    assert store.process is not None
    return store.process.pid


async def found(directory: Path) -> BrokerCore:
    return await asyncio.to_thread(look, lambda: SqliteStore(directory))


async def test_a_killed_process_is_started_again_and_gets_the_open_batch(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    told: list[int] = []
    store.on_committed = told.append
    restore(store)
    await store.open()
    first = pid_of(store)
    stand_still(first)  # it cannot answer
    store.commit(Batch(1, [SESSION]))
    os.kill(first, signal.SIGKILL)
    await until(lambda: told == [1])
    assert pid_of(store) != first
    await store.close()
    assert list((await found(tmp_path)).sessions) == ["ana"]


async def test_a_process_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, "os")
    told: list[int] = []
    store.on_committed = told.append
    restore(store)
    await store.open()
    store.commit(Batch(1, [SESSION]))
    await until(lambda: told == [1])
    for number in range(2, 8):
        store.commit(Batch(number, [Subscribed(1, b"%d" % number, 0, 0)]))
        await asyncio.sleep(0.001 * number)
        if store.process is not None:
            store.process.kill()
        await until(lambda number=number: told[-1] == number)  # type: ignore[misc]
    await store.close()
    assert told == [1, 2, 3, 4, 5, 6, 7]
    assert len((await found(tmp_path)).sessions["ana"].subscriptions) == 6


async def test_no_process_is_left_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    restore(store)
    await store.open()
    pid = pid_of(store)
    await store.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_closing_while_the_process_is_being_started(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    restore(store)
    await store.open()
    assert store.process is not None
    store.process.kill()
    await until(lambda: store.process is not None and store._link is None)
    await store.close()
    assert not (await found(tmp_path)).sessions  # the lock is free
