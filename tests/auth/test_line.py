"""Who waits in the line, who is next, who has to go."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress

import pytest

from curier.auth import line as module
from curier.auth.line import (
    FEW,
    FEWEST_OF_ADDRESS,
    FORGET_SECONDS,
    FORGIVEN,
    LANES,
    MOST_OF_ADDRESS,
    MOST_WAITING,
    Full,
    Line,
    Place,
)


def join(line: Line[int], address: str, user: str = "u", work: int = 0, now: float = 0.0) -> Place[int]:
    place = Place(address, user, work)
    assert line.join(place, now) is None
    return place


def fail(line: Line[int], address: str, user: str, now: float = 0.0) -> None:
    """Often enough not to be forgiven."""
    for _ in range(FORGIVEN + 1):
        line.failed(address, user, now)


def take(line: Line[int]) -> Place[int] | None:
    """Who is next in the first lane, or else in the others."""
    return line.take_first() or line.take_other()


def order(line: Line[int]) -> list[tuple[str, str, int]]:
    found = []
    while (place := take(line)) is not None:
        found.append((place.address, place.user, place.work))
    return found


def test_nobody_is_next_in_an_empty_line() -> None:
    assert take(Line[int]()) is None


def test_addresses_take_turns_and_users_of_an_address_do() -> None:
    line = Line[int]()
    for work in range(3):
        join(line, "a", "x", work)
    join(line, "a", "y", 3)
    join(line, "b", "z", 4)
    join(line, "b", "z", 5)
    assert order(line) == [
        ("a", "x", 0),
        ("b", "z", 4),
        ("a", "y", 3),
        ("b", "z", 5),
        ("a", "x", 1),
        ("a", "x", 2),
    ]
    assert line.length == 0


def test_so_do_those_with_many() -> None:
    line = Line[int]()
    for address in ("a", "b", "c"):
        for work in range(100):
            join(line, address, f"u{work % 2}", work)
    assert line.take_first() is None
    found = order(line)
    assert [address for address, _, _ in found[:7]] == ["a", "b", "c", "a", "b", "c", "a"]
    assert [user for address, user, _ in found if address == "a"] == ["u0", "u1"] * 50
    assert len(found) == 300


def test_a_few_from_an_address_have_a_lane_of_their_own_until_they_are_many() -> None:
    line = Line[int]()
    for work in range(FEW):
        join(line, "a", "x", work)
    for _ in range(100):
        join(line, "flood")
    assert [line.take_first(), line.take_first()][0] is not None
    join(line, "a", "x", FEW)
    join(line, "a", "x", FEW + 1)
    assert line.take_first() is not None  # there are few again
    join(line, "a", "x", FEW + 2)
    join(line, "a", "x", FEW + 3)
    assert line.take_first() is None
    assert line.take_other() is not None


def test_who_leaves_is_never_next() -> None:
    line = Line[int]()
    first, second = join(line, "a", work=1), join(line, "a", work=2)
    line.leave(first)
    line.leave(first)
    assert not first.is_waiting
    assert take(line) is second
    line.leave(second)
    assert line.length == 0


def test_who_has_failed_is_not_in_the_first_lane_and_users_that_have_are_last_but_not_for_ever() -> None:
    line = Line[int]()
    fail(line, "bad", "x")
    for _ in range(2):
        join(line, "bad", "x")
    for work in range(20):
        join(line, "bad", "y", work)
    join(line, "good")
    assert line.take_first() is not None
    assert line.take_first() is None
    asked = [user for _, user, _ in order(line)]
    assert [number for number, user in enumerate(asked) if user == "x"] == [3, 7]  # every fourth
    assert len(asked) == 22


def test_who_waits_already_goes_behind_when_its_address_fails() -> None:
    line = Line[int]()
    for user in ("x", "x", "y"):
        join(line, "bad", user)
    join(line, "good", "g")
    taken = take(line)
    assert taken is not None
    assert taken.user == "x"
    fail(line, "bad", "x")
    assert line.length == 3
    assert [user for _, user, _ in order(line)] == ["g", "y", "x"]


def test_a_few_failures_are_forgiven() -> None:
    line = Line[int]()
    join(line, "a", "x")
    for number in range(FORGIVEN):
        line.failed("a", "x", 0.0)
        join(line, "a", "x", number)
    for _ in range(1 + FORGIVEN):
        assert line.take_first() is not None
    join(line, "a", "y")
    line.failed("a", "x", 0.0)
    assert line.take_first() is None
    assert line.take_other() is not None


def test_failures_are_forgotten() -> None:
    line = Line[int]()
    fail(line, "bad", "x")
    join(line, "bad", now=FORGET_SECONDS - 1)
    assert line.take_first() is None
    join(line, "bad", now=FORGET_SECONDS)
    assert line.take_first() is not None


def test_an_address_has_so_much_room_and_less_with_each_failure() -> None:
    line = Line[int]()
    for _ in range(MOST_OF_ADDRESS):
        join(line, "a")
    with pytest.raises(Full, match="too many logins of a are waiting"):
        join(line, "a")
    join(line, "b")
    rooms = []
    for number in range(FORGIVEN):
        line.failed("c", f"forgiven {number}", 0.0)
    for number in range(10):
        line.failed("c", f"user {number}", 0.0)
        places: list[Place[int]] = []
        with suppress(Full):
            while len(places) < MOST_OF_ADDRESS:
                places.append(join(line, "c", "d"))
        rooms.append(len(places))
        for place in places:
            line.leave(place)
    assert rooms == [64, 32, 16, 8, 4, 4, 4, 4, 4, 4]
    assert rooms[-1] == FEWEST_OF_ADDRESS


def test_at_a_full_address_the_user_with_the_most_places_gives_one_up() -> None:
    line = Line[int]()
    for work in range(MOST_OF_ADDRESS - 1):
        join(line, "a", "flood", work)
    join(line, "a", "other")
    newcomer = Place("a", "newcomer", 0)
    leaving = line.join(newcomer, 0.0)
    assert leaving is not None
    assert (leaving.user, leaving.work, leaving.is_waiting) == ("flood", MOST_OF_ADDRESS - 2, False)
    assert newcomer.is_waiting
    assert line.length == MOST_OF_ADDRESS
    with pytest.raises(Full):
        line.join(Place("a", "flood", 0), 0.0)
    for work in range(MOST_OF_ADDRESS):  # until both have as many
        try:
            line.join(Place("a", "newcomer", work), 0.0)
        except Full:
            break
    waiting = Counter(user for _, user, _ in order(line))
    assert abs(waiting["newcomer"] - waiting["flood"]) <= 1
    assert waiting["other"] == 1


def test_in_a_full_line_whoever_has_most_gives_up_its_last_place() -> None:
    line = Line[int]()
    count = MOST_WAITING // MOST_OF_ADDRESS
    for number in range(count):
        for work in range(MOST_OF_ADDRESS):
            join(line, f"a{number}", f"u{work % 3}", work)
    newcomer = Place("b", "u", 0)
    leaving = line.join(newcomer, 0.0)
    assert leaving is not None
    assert (leaving.address, leaving.is_waiting) == ("a0", False)
    assert leaving.work >= MOST_OF_ADDRESS - 3
    assert newcomer.is_waiting
    assert line.length == MOST_WAITING


def test_a_full_line_in_which_each_has_one_place_takes_nobody_but_for_who_has_failed() -> None:
    line = Line[int]()
    for number in range(MOST_WAITING - 1):
        join(line, f"a{number}")
    fail(line, "bad", "x")
    join(line, "bad", "x")
    leaving = line.join(Place("new", "u", 0), 0.0)
    assert leaving is not None
    assert leaving.address == "bad"
    with pytest.raises(Full, match="too many logins are waiting"):
        line.join(Place("newer", "u", 0), 0.0)
    with pytest.raises(Full):
        line.join(Place("bad", "x", 0), 0.0)
    assert line.length == MOST_WAITING


def test_what_is_remembered_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FAILURES", 4)
    line = Line[int]()
    for number in range(100):
        fail(line, f"a{number}", "u")
    assert len(line._failures._entries) == 4
    join(line, "a99")
    assert line.take_first() is None
    join(line, "a0")
    assert line.take_first() is not None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_everybody_is_served_or_told_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    monkeypatch.setattr(module, "MOST_OF_ADDRESS", 8)
    chance = random.Random(seed)
    line = Line[int]()
    waiting: set[Place[int]] = set()
    served = 0
    for now in range(2000):
        event = chance.random()
        if event < 0.55:
            place = Place(chance.choice("abcdef"), chance.choice("uvw"), now)
            try:
                leaving = line.join(place, float(now))
            except Full:
                assert not place.is_waiting
            else:
                waiting.add(place)
                if leaving is not None:
                    waiting.remove(leaving)
        elif event < 0.8:
            taken = take(line)
            assert (taken is None) == (not waiting)
            if taken is not None:
                waiting.remove(taken)
                served += 1
                if chance.random() < 0.5:
                    line.failed(taken.address, taken.user, float(now))
        elif waiting:
            place = chance.choice(sorted(waiting, key=lambda place: place.work))
            line.leave(place)
            waiting.remove(place)
        assert line.length == len(waiting) <= 20
        assert all(place.is_waiting and place.lane < LANES for place in waiting)
        of_address = Counter(place.address for place in waiting)
        assert of_address == line._of_address
        assert max(of_address.values(), default=0) <= 8
    while (taken := take(line)) is not None:
        waiting.remove(taken)
    assert not waiting
    assert served > 100
    assert line._lanes == [{}, {}, {}]
    assert line._of_address == {}
