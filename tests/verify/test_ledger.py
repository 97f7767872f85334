"""The judge finds each kind of fault where somebody has put it, and none where nobody has."""

from __future__ import annotations

import time

from curier.verify.ledger import (
    DOUBLED,
    FOREIGN,
    LOST,
    OUT_OF_ORDER,
    RETAINED,
    SESSION,
    SUBSCRIPTION,
    UNSUBSCRIPTION,
    WILL,
    Fault,
    Ledger,
    Times,
    Visit,
    judge_delivery,
    judge_retained,
    judge_visits,
    judge_wills,
)

NOON = time.mktime((2026, 3, 1, 12, 0, 1, 0, 0, -1)) + 0.25
KILLS = Times([NOON - 1, NOON + 1, NOON + 9])

Got = list[tuple[str, bytes]]


def book(*topics: str, qos: int = 2) -> tuple[Ledger, Got]:
    """A publisher of ten messages in turn on these topics, all acknowledged, and what ought to come."""
    sender = Ledger("pub")
    for number in range(1, 11):
        payload = b"pub %d" % number
        sender.write(payload, topics[number % len(topics)], qos)
        sender.promise(payload, NOON)
    return sender, [(sent.topic, payload) for payload, sent in sender.sent.items()]


def judge(sender: Ledger, got: Got, qos: int = 2, in_order: bool = True) -> list[Fault]:
    return list(judge_delivery(sender, "two", got, qos, in_order, KILLS))


def test_all_that_was_promised_and_nothing_else_is_no_fault() -> None:
    sender, got = book("a", "b")
    assert judge(sender, got) == []
    assert judge(sender, [*got, ("elsewhere", b"of somebody else")]) == []
    assert sender.promised == 10


def test_the_order_between_topics_is_nobodys_promise() -> None:
    sender, got = book("a", "b")
    assert (
        judge(sender, [*(one for one in got if one[0] == "b"), *(one for one in got if one[0] == "a")]) == []
    )


def test_each_lost_message_is_named_with_its_moment_and_the_kill_behind_it() -> None:
    sender, got = book("a")
    del got[6]
    (fault,) = judge(sender, got)
    assert fault == Fault(
        LOST,
        "message 7 on a was acknowledged at 12:00:01.2, before kill 2, and never came to two",
        "a",
        7,
        NOON,
    )
    assert [one.number for one in judge(sender, [])] == [*range(1, 11)]


def test_what_was_not_acknowledged_may_be_lost_and_may_come() -> None:
    sender, got = book("a")
    sender.write(b"pub 11", "a", 2)
    assert judge(sender, got) == []
    assert judge(sender, [*got, ("a", b"pub 11")]) == []


def test_a_message_of_qos_2_comes_once_and_one_of_qos_1_as_often_as_it_likes() -> None:
    sender, got = book("a")
    (fault,) = judge(sender, [*got[:4], got[2], *got[4:]])
    assert (fault.kind, fault.number) == (DOUBLED, 3)
    assert fault.text == "message 3 on a, QoS 2, came to two 2 times"
    assert judge(sender, [*got, got[-1]], qos=1) == []  # the subscription's QoS
    sender, got = book("a", qos=1)
    assert judge(sender, [*got, got[-1]]) == []


def test_messages_are_in_order_by_their_first_coming() -> None:
    sender, got = book("a", qos=1)
    got[3], got[4] = got[4], got[3]
    (fault,) = judge(sender, got)
    assert (fault.kind, fault.text) == (OUT_OF_ORDER, "message 4 on a came to two behind message 5")
    assert judge(sender, got, in_order=False) == []  # of a group that shares them
    sender, got = book("a", qos=1)
    assert judge(sender, [*got[:5], *got[2:]]) == []  # sent again


def test_a_payload_that_nobody_published_is_a_fault() -> None:
    sender, got = book("a", "b")
    (fault,) = judge(sender, [*got, ("a", b"pub 3x")])
    assert (fault.kind, fault.topic) == (FOREIGN, "a")
    right, wrong = sender.sent[b"pub 3"].topic, sender.sent[b"pub 4"].topic
    assert right != wrong
    (fault,) = judge(sender, [*got, (wrong, b"pub 3")])  # on a topic where it was not published
    assert (fault.kind, fault.topic) == (FOREIGN, wrong)


def retained() -> Ledger:
    sender = Ledger("pub")
    for number in range(1, 5):
        sender.write(b"pub %d" % number, "kept", 1, True)
    sender.promise(b"pub 2", NOON)
    sender.promise(b"pub 3", NOON)
    return sender


def test_a_retained_value_is_the_last_that_was_promised_or_a_newer_one() -> None:
    sender = retained()
    assert list(judge_retained(sender, {"kept": b"pub 3"})) == []
    assert list(judge_retained(sender, {"kept": b"pub 4"})) == []
    assert list(judge_retained(Ledger("nobody"), {})) == []
    for found, said in (
        ({}, "is not there, nor is a newer one"),
        ({"kept": b"pub 2"}, "is not there, but the older message 2"),
        ({"kept": b"what?"}, "is not there, but b'what?', which nobody published"),
    ):
        (fault,) = judge_retained(sender, found, KILLS)
        assert (fault.kind, fault.number) == (RETAINED, 3)
        assert fault.text.startswith(
            "the retained message 3 on kept, acknowledged at 12:00:01.2, before kill 2, "
        )
        assert fault.text.endswith(said)


def test_retained_messages_are_not_looked_for_among_the_others() -> None:
    assert judge(retained(), []) == []


def visit(**what: float) -> Visit:
    made = Visit("visitor 1", "here", "left", "will")
    made.kept_session = True
    made.got = {"here"}
    for name, value in what.items():
        setattr(made, name, value)
    return made


def test_sessions_and_subscriptions_are_as_they_were_acknowledged() -> None:
    whole = visit(welcome_at=NOON, subscribed_at=NOON, unsubscribed_at=NOON)
    assert list(judge_visits([whole])) == []
    never = visit()
    never.kept_session, never.got = False, set()
    assert list(judge_visits([never])) == []  # nothing was acknowledged

    lost = visit(welcome_at=NOON, subscribed_at=NOON)
    lost.kept_session, lost.got = False, set()
    (fault,) = judge_visits([lost], KILLS)  # and not its subscription as well
    assert (fault.kind, fault.text) == (
        SESSION,
        "the session of visitor 1 was acknowledged at 12:00:01.2, before kill 2, and is not there",
    )

    silent = visit(welcome_at=NOON, subscribed_at=NOON)
    silent.got = set()
    (fault,) = judge_visits([silent])
    assert fault.kind == SUBSCRIPTION
    unsure = visit(welcome_at=NOON)
    unsure.got = {"left"}
    assert list(judge_visits([unsure])) == []  # neither SUBACK nor UNSUBACK came

    back = visit(welcome_at=NOON, subscribed_at=NOON, unsubscribed_at=NOON)
    back.got = {"here", "left"}
    (fault,) = judge_visits([back])
    assert fault.kind == UNSUBSCRIPTION


def test_a_will_is_published_for_whoever_was_welcome() -> None:
    visits = [visit(welcome_at=NOON), visit()]
    assert list(judge_wills(visits, [("will", b"gone")])) == []
    (fault,) = judge_wills(visits, [], KILLS)
    assert (fault.kind, fault.topic) == (WILL, "will")
    assert "connected at 12:00:01.2, before kill 2, was not published" in fault.text


def test_what_came_behind_the_last_kill_is_told_without_one() -> None:
    assert Times([NOON - 1]).when(NOON) == "at 12:00:01.2"
    assert Times([NOON - 1]).when(0.0) == "before"
