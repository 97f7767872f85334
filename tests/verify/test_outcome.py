"""Verdicts in words, as JSON and as exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from curier.verify.ledger import DOUBLED, LOST, SESSION, WILL, Fault
from curier.verify.outcome import KEPT, MOST_FAULTS, REFUTED, UNJUDGED, Outcome

KEPT_ALL = Outcome(9041, 27000, 50, 25.0, 50, 3, 49, (), (), "", ())
LOSS = Fault(LOST, "message 17 on verify/3 was acknowledged and never came", "verify/3", 17, 1.5)


def outcome(**what: Any) -> Outcome:
    return replace(KEPT_ALL, **what)


def test_all_was_kept() -> None:
    assert (KEPT_ALL.verdict, KEPT_ALL.exit_code) == (KEPT, 0)
    assert KEPT_ALL.words() == (
        "9,041 messages acknowledged in 50 kills: none lost, none of QoS 2 doubled, order kept.\n"
        "Kept as well: 3 retained values, 50 sessions, 49 subscriptions, 50 wills published."
    )


def test_one_fault_refutes_and_is_told() -> None:
    found = outcome(faults=(LOSS,))
    assert (found.verdict, found.exit_code) == (REFUTED, 1)
    assert found.words() == (
        "refuted: 9,041 messages acknowledged in 50 kills: 1 acknowledged message lost.\n"
        "  message 17 on verify/3 was acknowledged and never came"
    )


def test_a_message_that_several_receivers_missed_is_one() -> None:
    found = outcome(faults=(LOSS, replace(LOSS, text="another receiver")))
    assert found.counts == {LOST: 1}
    assert "another receiver" not in found.words()


def test_of_many_faults_the_first_of_each_kind_is_told() -> None:
    many = tuple(Fault(LOST, f"message {number} is lost", "t", number) for number in range(1, 31))
    others = (
        Fault(DOUBLED, "it came twice", "t", 5),
        Fault(SESSION, "no session"),
        Fault(SESSION, "nor here"),
    )
    lines = outcome(faults=(*many, *others)).words().splitlines()
    assert "30 acknowledged messages lost, 1 message of QoS 2 doubled, 2 sessions lost." in lines[0]
    assert lines[1:4] == ["  message 1 is lost", "  it came twice", "  no session"]
    assert lines[-1] == f"  and {33 - MOST_FAULTS} more; --json has them"


def test_what_could_not_be_judged_is_neither_kept_nor_refuted() -> None:
    found = outcome(why="the broker ended by itself")
    assert (found.verdict, found.exit_code) == (UNJUDGED, 2)
    assert found.words() == "could not be judged: the broker ended by itself"
    both = outcome(why="the broker ended by itself", faults=(LOSS,))
    assert both.exit_code == 1
    assert both.words().endswith("Not all could be judged: the broker ended by itself")


def test_wills_refute_only_who_is_held_to_them() -> None:
    will = Fault(WILL, "the will of visitor 1 was not published", "will/1")
    aside = outcome(asides=(will,))
    assert aside.exit_code == 0
    assert "1 of 50 wills were not published after a kill, which MQTT does not demand" in aside.words()
    assert "wills published" not in aside.words()
    assert outcome(faults=(will,)).exit_code == 1


def test_notes_are_told() -> None:
    assert (
        outcome(notes=("all clients speak MQTT 3.1.1",))
        .words()
        .endswith("\nMind: all clients speak MQTT 3.1.1.")
    )


@pytest.mark.parametrize("found", [KEPT_ALL, outcome(faults=(LOSS,)), outcome(why="x", notes=("y",))])
def test_json_has_all_of_it(found: Outcome) -> None:
    told = json.loads(json.dumps(found.as_json()))
    assert told["verdict"] == found.verdict
    assert told["exit_code"] == found.exit_code
    assert (told["acknowledged"], told["kills"], told["notes"]) == (9041, 50, list(found.notes))
    assert [one["number"] for one in told["faults"]] == [one.number for one in found.faults]
    assert told["not_judged"] == found.why
