"""Rows of long lists: those are picked that stand between two places, by whatever they are ordered."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from curier.broker import picking
from curier.broker.core import BrokerCore
from curier.broker.keeping import new_session
from curier.broker.model import ServerSession
from curier.broker.options import Options
from curier.broker.picking import Place, SessionPicker, TopicPicker
from curier.session.message import ApplicationMessage

SESSION_KEYS: dict[int, Callable[[ServerSession], float]] = {
    picking.QUEUED_BYTES: lambda one: -one.outgoing.queued_bytes,
    picking.DROPPED: lambda one: -one.dropped_full,
    picking.QUEUED: lambda one: -len(one.outgoing.queue),
    picking.SUBSCRIPTIONS: lambda one: -len(one.subscriptions),
    picking.UNSENT: lambda one: 0,
    picking.CONNECTED_AT: lambda one: 0,
    picking.ENDS_AT: lambda one: one.ends_at or 1e100,
}
MESSAGE_KEYS: dict[int, Callable[[ApplicationMessage], float]] = {
    picking.NEWEST: lambda one: -one.written_at,
    picking.OLDEST: lambda one: one.written_at,
    picking.SIZE: lambda one: -len(one.payload),
}
NAMES = ("a", "A/b", "é", "z", "\U0001f600", "\uffff", "a/", "$x")


def some_sessions(dice: Random) -> list[ServerSession]:
    core = BrokerCore(Options(), 0.0)
    made = [new_session(core, f"{dice.choice(NAMES)}{number}", False) for number in range(60)]
    for one in made:
        one.dropped_full = dice.randrange(4)
        one.ends_at = float(dice.choice((0, 7, 9)))
        one.outgoing.queued_bytes = dice.randrange(3)
        one.user = dice.choice(("", "Ana"))
    return made


def some_messages(dice: Random) -> list[ApplicationMessage]:
    made = []
    for number in range(60):
        topic = f"{dice.choice(NAMES)}{number}".encode()
        made.append(ApplicationMessage(topic, b"x" * dice.randrange(3), 0, True))
        made[-1].written_at = float(dice.randrange(4))
    return made


def between(places: list[Place], dice: Random) -> tuple[Place | None, Place | None]:
    return tuple(None if dice.randrange(3) == 0 else dice.choice(places) for _ in range(2))  # type: ignore[return-value]


def within(place: Place, after: Place | None, before: Place | None) -> bool:
    return (after is None or place > after) and (before is None or place < before)


@pytest.mark.parametrize("by", [picking.NAME, *SESSION_KEYS])
def test_sessions_are_picked_between_two_places(by: int) -> None:
    dice = Random(by)
    made = some_sessions(dice)
    key = SESSION_KEYS.get(by)
    places: list[Place] = [(key(one) if key else "", one.client_id) for one in made]
    for _ in range(30):
        after, before = between(places, dice)
        picker = SessionPicker(by, None, "")
        picked = picker.pick(made, after, before)
        wanted = [
            (place, one) for place, one in zip(places, made, strict=True) if within(place, after, before)
        ]
        assert picked == wanted
        assert picker.found == len(made)


@pytest.mark.parametrize("by", [picking.NAME, *MESSAGE_KEYS])
def test_messages_are_picked_between_two_places(by: int) -> None:
    dice = Random(by)
    made = some_messages(dice)
    key = MESSAGE_KEYS.get(by)
    places: list[Place] = [(key(one) if key else "", one.topic.decode()) for one in made]
    for _ in range(30):
        after, before = between(places, dice)
        picked = TopicPicker(by, "").pick(made, after, before)
        assert picked == [
            (place, one) for place, one in zip(places, made, strict=True) if within(place, after, before)
        ]
        if by == picking.NAME:
            names = [one.topic for one in made]
            rows = TopicPicker(by, "").pick(names, after, before)
            assert rows == [(place, place[1].encode()) for place, _ in picked]


def test_only_those_are_found_that_are_wanted() -> None:
    made = some_sessions(Random(1))
    for connected, search, wanted in (
        (None, "ana", lambda one: one.user == "Ana"),
        (None, "é", lambda one: "é" in one.client_id),
        (True, "", lambda one: False),
        (False, "z", lambda one: "z" in one.client_id),
    ):
        picker = SessionPicker(picking.NAME, connected, search)
        assert [one for _, one in picker.pick(made, None, None)] == [*filter(wanted, made)]
        assert picker.found == len([*filter(wanted, made)])
    messages = some_messages(Random(1))
    rows = TopicPicker(picking.SIZE, "a/b").pick(messages, None, None)
    assert [one for _, one in rows] == [one for one in messages if one.topic.startswith(b"A/b")]


@pytest.mark.parametrize(("by", "place"), [(picking.NAME, (1.0, "a")), (picking.DROPPED, ("", "a"))])
def test_the_place_of_another_order_is_refused(by: int, place: Place) -> None:
    with pytest.raises(TypeError):
        SessionPicker(by, None, "").pick([], place, None)
    with pytest.raises(TypeError):
        TopicPicker(by, "").pick([], place, None)
