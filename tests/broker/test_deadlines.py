"""Deadlines: what is due is done, in order and no sooner; what is cancelled is not, and is forgotten."""

from __future__ import annotations

import math

from curier.broker.deadlines import FEW, SWEPT_AT_ONCE, Deadline, Deadlines
from tests.broker.harness import Net


class Note(Deadline):
    """Notes when it fires; ``again`` is what it answers, once."""

    def __init__(self, name: str, log: list[tuple[str, float]], again: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self.log = log
        self.again = again

    def fire(self, now: float) -> float:
        self.log.append((self.name, now))
        again, self.again = self.again, 0.0
        return again


def test_what_is_due_is_done_in_order_and_no_sooner() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    assert deadlines.next() == math.inf
    for name, when in (("b", 2.0), ("c", 3.0), ("a", 1.0), ("also b", 2.0)):
        deadlines.add(Note(name, log), when)
    assert (len(deadlines), deadlines.next()) == (4, 1.0)
    deadlines.run(2.5, 10)
    assert log == [("a", 2.5), ("b", 2.5), ("also b", 2.5)]
    assert deadlines.next() == 3.0
    deadlines.run(3.0, 10)
    assert log[3:] == [("c", 3.0)]
    assert deadlines.next() == math.inf


def test_a_deadline_may_come_again() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    note = Note("a", log, again=5.0)
    deadlines.add(note, 1.0)
    deadlines.run(1.0, 10)
    assert (note.when, deadlines.next()) == (5.0, 5.0)
    deadlines.run(5.0, 10)
    assert log == [("a", 1.0), ("a", 5.0)]
    assert len(deadlines) == 0


def test_only_so_many_are_done_at_once() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    for number in range(5):
        deadlines.add(Note(str(number), log), 1.0)
    deadlines.run(1.0, 3)
    assert [name for name, _ in log] == ["0", "1", "2"]
    assert deadlines.next() == 1.0
    deadlines.run(1.0, 3)
    assert [name for name, _ in log] == ["0", "1", "2", "3", "4"]


def test_what_is_cancelled_is_not_done() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    notes = [Note(str(number), log) for number in range(3)]
    for note in notes:
        deadlines.add(note, 1.0)
    deadlines.cancel(notes[1])
    assert len(deadlines) == 2
    deadlines.run(1.0, 10)
    assert [name for name, _ in log] == ["0", "2"]
    assert len(deadlines) == 0


def test_a_deadline_may_be_moved_in_either_direction() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    early, late = Note("early", log, again=9.0), Note("late", log)
    deadlines.add(early, 5.0)
    deadlines.add(late, 2.0)
    deadlines.move(early, 1.0)
    deadlines.move(late, 3.0)
    assert len(deadlines) == 2
    deadlines.run(2.5, 10)
    assert log == [("early", 2.5)]
    deadlines.run(5.0, 10)
    assert log == [("early", 2.5), ("late", 5.0)]
    assert (len(deadlines), early.is_scheduled(), late.is_scheduled()) == (1, True, False)
    deadlines.run(9.0, 10)
    assert log[2:] == [("early", 9.0)]
    assert len(deadlines) == 0


def test_the_cancelled_are_forgotten_when_they_are_the_majority() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    kept = [Note(f"kept {number}", log) for number in range(10)]
    for number, note in enumerate(kept):
        deadlines.add(note, 9.0 - number)
    for _ in range(5 * FEW):
        note = Note("cancelled", log)
        deadlines.add(note, 5.0)
        deadlines.cancel(note)
        deadlines.move(kept[9], 0.0)
    assert len(deadlines) == 10
    assert len(deadlines._heap) + len(deadlines._old) < 4 * FEW
    deadlines.run(9.0, 100 * FEW)
    assert [name for name, _ in log] == [f"kept {number}" for number in reversed(range(10))]


def test_a_sweep_takes_a_few_at_once_and_keeps_the_order() -> None:
    deadlines, log = Deadlines(), list[tuple[str, float]]()
    notes = [Note(str(number), log) for number in range(4 * FEW)]
    for number, note in enumerate(notes):
        deadlines.add(note, float(number * 7919 % (4 * FEW)))
    for note in notes[: 2 * FEW]:
        deadlines.cancel(note)
    deadlines.cancel(notes[2 * FEW])
    assert 2 * FEW - 1 == len(deadlines)
    assert len(deadlines._old) == 4 * FEW - SWEPT_AT_ONCE
    deadlines.cancel(notes[2 * FEW + 1])
    assert len(deadlines._old) == 4 * FEW - 2 * SWEPT_AT_ONCE
    for number in range(0, 4 * FEW, 100):  # some from the one heap, some from the other
        assert deadlines.next() <= number + 100
        deadlines.run(float(number), 4 * FEW)
        late = Note("late", log)
        deadlines.add(late, number + 50.5)
        deadlines.move(notes[-1], 4.0 * FEW)
    left = sorted((number * 7919 % (4 * FEW), str(number)) for number in range(2 * FEW + 2, 4 * FEW - 1))
    deadlines.run(5.0 * FEW, 4 * FEW)
    done = [name for name, _ in log if name != "late"]
    assert done == [*[name for _, name in left], notes[-1].name]
    assert len(log) == len(done) + 40
    assert len(deadlines) == deadlines._void == 0


def test_clients_who_come_and_go_leave_no_deadlines_behind(net: Net) -> None:
    for number in range(20):
        net.connect(f"c{number}", keep_alive=60).disconnect()
        net.connect(f"d{number}", keep_alive=60, expiry=60).drop()
        net.connect(f"d{number}")
    assert len(net.core.deadlines) == 20  # the connect timeouts of those that are here
    net.advance(1000)
    assert len(net.core.deadlines) == 0
