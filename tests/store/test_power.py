"""The power goes at any moment, or all processes are killed: what was promised is there, whole and once."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from curier.session.message import ApplicationMessage
from curier.session.records import (
    Delivered,
    MessageRemoved,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    decode,
    encode,
)
from curier.store.ahead import LARGEST
from curier.store.base import Durability
from curier.store.beginning import begin
from curier.store.database import Database
from curier.store.writer import Writer
from curier.testing.stores import SESSION
from tests.store.power import Disk, Recorder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which file a descriptor is of")

TABLES = ("sessions", "messages", "deliveries", "retained")


def batch(number: int, size: int) -> bytes:
    """A message is retained in place of the last one and on its way at QoS 2; others get further."""
    first = number * 10
    message = ApplicationMessage(b"t", b"x" * size, 2, True)
    records: list[Record] = [MessageSaved(first, message), Retained(b"t", first, 1.0, "w")]
    records += [Queued(1, first + 1, first, 2, False, b"", b""), Sent(1, first + 1, number % 3 + 1)]
    if number == 1:
        records.insert(0, SESSION)
    if number > 1:
        records += [Received(1, first - 9, first + 2)]
    if number > 2:
        records += [Delivered(1, first - 19), MessageRemoved(first - 20)]
    return encode(records)


def rows(database: Database) -> str:
    return repr([sorted(database.connection.execute(f"SELECT * FROM {table}")) for table in TABLES])


def live(directory: Path, recorder: Recorder, durability: Durability, dice: Random) -> list[bytes]:
    """Two lives that end with ``kill -9``; the batches that were written."""
    written: list[bytes] = []
    for _ in range(2):
        database, life = begin(directory, durability, accept_loss=False)
        database.close_untouched()
        writer = Writer(directory, durability, life)
        for number in range(1, 6):
            written.append(batch(len(written) + 1, dice.choice((1, 300, 5000, LARGEST - 300, LARGEST + 1))))
            writer.write(number, written[-1])
            recorder.promised = len(written)
            if dice.random() < 0.4:
                writer.rest()
            elif dice.random() < 0.2:  # the process is killed, and started again
                writer.database.close_untouched()
                writer = Writer(directory, durability, life)
        writer.database.close_untouched()
    return written


@pytest.fixture(params=["fsync", "os"])
def durability(request: pytest.FixtureRequest) -> Durability:
    return "fsync" if request.param == "fsync" else "os"


def test_a_loss_of_power_or_a_kill_at_any_moment(
    tmp_path: Path, durability: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = Random(durability)
    directory = tmp_path / "data"
    directory.mkdir()
    recorder = Recorder(directory)
    with recorder.recording():
        written = live(directory, recorder, durability, dice)
    reference = Database(tmp_path, "os")
    states = [rows(reference)]
    for data in written:
        reference.apply(decode(data))
        states.append(rows(reference))
    reference.close()
    monkeypatch.setattr(os, "fdatasync", lambda _: None)  # from here on the disk is only looked at
    monkeypatch.setattr(os, "fsync", lambda _: None)

    def found(left: Path) -> int:
        """How many batches the next life finds."""
        database, life = begin(left, "os", accept_loss=False)
        assert rows(database) == states[life.batches]
        database.close_untouched()
        shutil.rmtree(left)
        return life.batches

    disk = Disk()
    lost = 0
    for call in recorder.calls:
        disk.do(call)
        (left := tmp_path / "left").mkdir()
        if dice.random() < 0.3:
            disk.all(left)
            assert call.promised <= found(left) <= call.promised + 1
            continue
        disk.left(left, dice)
        with monkeypatch.context() as patch:
            patch.setattr("curier.store.beginning.boot_id", lambda: "another")
            batches = found(left)
        if durability == "fsync":
            assert call.promised <= batches <= call.promised + 1
        lost += batches < call.promised
    assert (lost > 0) is (durability == "os")  # or nothing was taken away
