"""The judges of deadlines, with ledgers that were made up: what they find, and what they let pass."""

from __future__ import annotations

from random import Random

import pytest

from curier.codec import packets as p
from curier.codec.properties import Properties
from tests.crash.deadlines import Brief, Lag, Leaver, Stay, judge_delays, judge_expiry


def stays(*all_of: tuple[float, float, float]) -> list[Stay]:
    """Each was called, had its last answer, and was welcome at these times; all wills wait for 8 s."""
    made = []
    for number, (called_at, alive_at, welcome_at) in enumerate(all_of, 1):
        stay = Stay("comer", f"w/{number}", 8.0, called_at)
        stay.alive_at, stay.welcome_at = alive_at, welcome_at
        made.append(stay)
    return made


def kinds(found: list[Stay], came: dict[str, float], is_over: bool = True) -> list[str]:
    return [fault.kind for fault in judge_delays(found, came, is_over)]


def test_a_will_that_is_due_has_to_come() -> None:
    alone = stays((100.0, 103.0, 100.1))

    assert kinds(alone, {}) == ["will lost"]
    assert kinds(alone, {}, is_over=False) == []
    assert kinds(alone, {"w/1": 111.0}) == []


def test_a_will_may_not_come_before_its_time() -> None:
    alone = stays((100.0, 103.0, 100.1))

    assert kinds(alone, {"w/1": 109.9}) == ["too early"]
    assert kinds(alone, {"w/1": 110.1}) == []  # by the clocks' slack


@pytest.mark.parametrize(("back_at", "found"), [(109.9, ["not to be published"]), (110.1, [])])
def test_a_will_of_whom_is_back_in_time_may_not_come(back_at: float, found: list[str]) -> None:
    both = stays((100.0, 103.0, 100.1), (104.0, 120.0, back_at))

    assert kinds(both, {"w/1": 130.0, "w/2": 130.0}) == found


def test_a_connect_that_had_no_answer_may_be_the_last_one() -> None:
    """A node that was stopped reads it when it goes on."""
    some = stays((100.0, 100.0, 0.0), (110.0, 113.0, 110.1))

    assert kinds(some, {"w/1": 140.0}) == []
    assert kinds(some, {}) == ["will lost"]
    some[0].is_refused = True
    assert kinds(some, {"w/1": 140.0}) == ["will lost"]


def test_nothing_is_said_of_who_called_again_and_had_no_answer() -> None:
    some = stays((100.0, 103.0, 100.1), (104.0, 104.0, 0.0))

    assert kinds(some, {}) == []


def test_a_leaver_notes_what_is_proved() -> None:
    now = 100.0
    leaver = Leaver("comer", "w", Random(1), clock=lambda: now)
    leaver.call()
    now = 101.0
    leaver.take(p.Connack(False, 0, None))
    leaver.ask()
    asked = len(leaver.to_broker)
    now = 103.0
    leaver.ask()
    assert len(leaver.to_broker) == asked  # one question at a time
    leaver.take(p.Pingresp())

    (stay,) = leaver.stays
    assert (stay.topic, stay.welcome_at, stay.alive_at) == ("w/comer/1", 101.0, 101.0)
    assert leaver.to_broker.endswith(b"\xc0\x00")


class Times:
    """A publisher and a receiver, and what time it is. Messages are good for 5 s."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lag = Lag()
        self.sender = Brief("brief", [], Random(1), "t", lambda: self.now)
        self.receiver = Brief("there", [], Random(1), "", lambda: self.now)

    def sends(self, at: float) -> bytes:
        """It is acknowledged half a second later."""
        self.now = at
        self.sender.publish("t/1", 1, False)
        payload = [*self.sender.sent][-1]
        self.sender.spans[payload] = 5
        self.now = at + 0.5
        self.sender.take(p.Puback(self.sender.last_id))
        return payload

    def gets(self, payload: bytes, at: float, left: int | None, dup: bool = False) -> None:
        self.now = at
        properties = Properties()
        properties.message_expiry_interval = left
        self.receiver.take(p.Publish("t/1", payload, 1, dup, False, 7, properties))

    def kinds(self, rest_at: float, *outages: tuple[float, float]) -> list[str]:
        found = judge_expiry(self.sender, self.receiver, self.lag, rest_at, outages)
        return [one.kind for one in found]


def test_what_comes_in_time_is_good() -> None:
    times = Times()
    times.gets(times.sends(100.0), 103.0, 3)

    assert times.kinds(200.0) == []


def test_a_message_may_not_come_when_it_has_expired() -> None:
    times = Times()
    times.gets(times.sends(100.0), 106.6, 0)

    assert times.kinds(200.0) == ["too late"]


def test_what_lay_here_was_not_late() -> None:
    times = Times()
    times.lag.note(107.0, 2.0)
    times.lag.note(150.0, 40.0)
    times.gets(times.sends(100.0), 107.1, 0)
    assert times.kinds(200.0) == []
    times.lag = Lag()
    times.lag.note(102.0, 2.0)

    assert times.kinds(200.0) == ["too late"]


def test_a_delivery_that_began_in_time_may_come_again_late() -> None:
    times = Times()
    times.gets(times.sends(100.0), 150.0, 0, dup=True)

    assert times.kinds(200.0) == []


def test_a_delivery_that_an_outage_held_comes_with_what_was_left() -> None:
    times = Times()
    times.gets(times.sends(100.0), 120.0, 2)

    assert times.kinds(200.0, (102.0, 119.0)) == []
    assert times.kinds(200.0, (90.0, 103.0)) == ["too late", "expiry grown"]


def test_what_begins_too_late_has_no_excuse() -> None:
    times = Times()
    times.gets(times.sends(100.0), 120.0, 0)

    assert times.kinds(200.0, (102.0, 119.0)) == ["too late"]


@pytest.mark.parametrize("left", [6, None])
def test_what_is_left_may_not_grow_or_go(left: int | None) -> None:
    times = Times()
    times.gets(times.sends(100.0), 103.0, left)

    assert times.kinds(200.0) == ["expiry grown"]


def test_what_is_good_yet_has_to_come() -> None:
    times = Times()
    times.sends(100.0)

    assert times.kinds(103.9) == ["lost"]
    assert times.kinds(104.1) == []  # it may have expired


@pytest.mark.parametrize(("later_at", "found"), [(103.9, ["lost"]), (104.1, [])])
def test_what_is_behind_another_shows_that_it_was_lost(later_at: float, found: list[str]) -> None:
    times = Times()
    times.sends(100.0)
    times.gets(times.sends(101.0), later_at, 3)

    assert times.kinds(200.0) == found


def test_what_was_not_acknowledged_is_not_promised() -> None:
    times = Times()
    times.sender.publish("t/1", 1, False)

    assert times.kinds(100.0) == []
