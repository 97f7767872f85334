"""What the engine keeps, and how little of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curier.local.streams import SHELVES, Latest, Log


def test_a_session_that_is_over_is_not_kept_and_old_writes_are_refused_all_the_same() -> None:
    stream = Latest()
    assert stream.store("s", 0, b"claimed", ("a", 1)) == 1
    assert stream.store("s", 1, b"released", ("a", 1), is_over=True) == 2
    assert (len(stream), stream.size, stream.owned) == (0, 0, {})
    assert stream.find("s") == (2, None)
    for old in (0, 1):
        assert stream.store("s", old, b"late", ("b", 1)) == 0
    assert stream.store("s", 2, b"new", ("b", 1)) == 3
    assert stream.find("s") == (3, b"new")
    assert stream.owned == {("b", 1): {"s"}}


def test_a_hundred_thousand_sessions_that_came_and_went_leave_nothing() -> None:
    stream = Latest()
    for number in range(100_000):
        name = f"c{number}"
        expected, value = stream.find(name)
        assert value is None
        sequence = stream.store(name, expected, b"claimed", ("a", 1))
        assert sequence
        assert stream.store(name, sequence, b"released", ("a", 1), is_over=True)
    assert (len(stream), stream.size, stream.owned) == (0, 0, {})
    assert len(stream._gone) == SHELVES


def test_of_leases_whoever_reads_late_gets_the_last_of_each_in_order() -> None:
    stream = Latest()
    last = {"a": 0, "b": 0}
    for number in range(1, 10):
        for name in ("a", "b"):
            last[name] = stream.store(name, last[name], b"%d" % number)
    assert stream.behind(0) == [(17, b"9"), (18, b"9")]
    assert stream.behind(17) == [(18, b"9")]
    assert stream.behind(18) == []


def test_a_log_that_was_cut_goes_on_from_there() -> None:
    """No sequence comes again, so what was conditioned on one that is gone is refused for ever."""
    log = Log()
    for number in range(1, 6):
        assert log.store("a.1", number - 1, b"%d" % number, 7) == number
    assert log.store("b.1", 0, b"seal", 8) == 6
    log.cut(5)
    assert (log.first, log.last, len(log), log.size) == (6, 6, 1, 4)
    assert log.read(0, 6, 100) == [(6, b"seal")]
    log.cut(6)
    assert (log.first, log.last, len(log), log.size) == (7, 6, 0, 0)
    assert log.read(0, 6, 100) == []
    assert log.find("a.1") == (0, None)
    assert log.store("a.1", 5, b"late", 7) == 0
    assert log.store("a.1", 0, b"anew", 7) == 7
    assert log.store("a.1", 7, b"more", 7) == 8
    log.cut(7)
    assert log.find("a.1") == (8, b"more")
    log.cut(100)
    assert (log.first, log.last) == (9, 8)


def test_a_reader_gets_its_own_writes_without_bytes_and_pieces_of_a_size() -> None:
    log = Log()
    for number in range(1, 7):
        log.store(f"w{number % 2}", max(0, number - 2), b"x" * 10, number % 2 + 1)
    assert [len(value) for _, value in log.read(0, 6, 1000, reader=2, own=2)] == [10, 10, 0, 10, 0, 10]
    assert [sequence for sequence, _ in log.read(0, 6, 25)] == [1, 2]
    assert [sequence for sequence, _ in log.read(2, 4, 5)] == [3]
    assert log.read(6, 6, 5) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.booleans()), max_size=40))
def test_a_stream_of_the_last_is_as_one_that_keeps_all(writes: list[tuple[str, int, bool]]) -> None:
    """What is not kept any more makes no write pass that all of it would have refused."""
    stream = Latest()
    lasts: dict[str, int] = {}
    for subject, behind, is_over in writes:
        expected = max(0, stream.last - behind)
        stored = stream.store(subject, expected, b"x", ("a", 1), is_over)
        assert bool(stored) == (lasts.get(subject, 0) == expected)
        if stored:
            lasts[subject] = stored
