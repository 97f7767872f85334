"""How a node sees its cluster, and what it says is wrong: on a bus that says what the test wants."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.cluster.house import House
from curier.cluster.node import Node
from curier.cluster.orders import LEASES, STORED, Look, Write
from curier.cluster.records import Boot, Lease
from curier.cluster_settings import ClusterSettings
from curier.cluster_view import ClusterView
from curier.jetstream.bus import Bus
from curier.jetstream.names import Names
from curier.member_watch import MUCH_LAG, Watch
from curier.node_view import system_values

SETTINGS = ClusterSettings(("nats://user:secret@n1:4222",), "a", "home", partitions=1)
NAMES = Names("home", 1)


@dataclass
class Line:
    """Answers each question at once."""

    is_up: bool = True
    why: str = ""
    server: str = "n1"
    version: str = "2.15.1"
    answers: dict[str, Any] = field(default_factory=dict)

    def ask(self, subject: str, payload: bytes, heard: Any, seconds: float) -> None:
        answer = self.answers.get(subject.rpartition(".")[2])
        heard(None if answer is None else SimpleNamespace(data=json.dumps(answer).encode()))


def info(last: int, *copies: tuple[str, bool]) -> dict[str, Any]:
    return {
        "config": {"num_replicas": 3},
        "state": {"messages": last, "bytes": 10 * last, "last_seq": last},
        "cluster": {
            "leader": "n1",
            "replicas": [{"name": name, "current": is_here} for name, is_here in copies],
        },
    }


class Stage:
    """Node a with a lease, in a cluster with b."""

    def __init__(self) -> None:
        now = self.now = time.monotonic()
        house = SimpleNamespace(shared=SimpleNamespace(know=lambda group, is_there: None))
        self.node = Node("a", 1, random.random, cast("House", house))
        self.node.begin(now, 0.0)
        orders = [one for one in self.node.take_orders() if isinstance(one, Look)]
        (look,) = [one for one in orders if one.stream == LEASES]
        self.node.answer(now, 0.0, look.token, 0, None)
        (write,) = [one for one in self.node.take_orders() if isinstance(one, Write)]
        self.node.answer(now, 0.0, write.token, STORED, 1)
        self.leases((1, Lease(Boot("a", 1), 0)), (2, Lease(Boot("b", 4), 8)))
        self.line = Line()
        here = ("n2", True), ("n3", True)
        for stream in NAMES.streams:
            self.line.answers[NAMES.stream(stream)] = info(0, *here)
        self.bus = SimpleNamespace(data=self.line, control=self.line, unhappy="", names=NAMES)
        self.told: dict[str, str] = {}
        self.watch = Watch(SETTINGS, self.node, cast("Bus", self.bus), self.told)
        self._number = 1

    def leases(self, *entries: tuple[int, Lease]) -> None:
        self.node.feed(self.now, 0.0, LEASES, 1, 1, entries)

    async def view(self) -> ClusterView:
        self.watch.begin()
        self.watch.end()
        return self.watch.view(is_over=False)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_nothing_is_wrong_with_two_nodes_and_three_servers(stage: Stage) -> None:
    stage.line.answers["HOME_LOG_0"] = info(7, ("n2", True), ("n3", True))
    view = await stage.view()
    assert view.wrong == ()
    assert view.is_trusted
    assert [(one.name, one.number, one.standing) for one in view.nodes] == [
        ("a", 1, "living"),
        ("b", 4, "living"),
    ]
    assert [(one.stream, one.read, one.last, one.lag) for one in view.streams] == [
        ("HOME_LEASES", -1, 0, 0),
        ("HOME_SESSIONS", -1, 0, 0),
        ("HOME_SNAPSHOTS", -1, 0, 0),
        ("HOME_LOG_0", 0, 7, 7),
    ]
    assert (view.server, view.version, view.lag, view.living) == ("n1", "2.15.1", 7, 2)
    assert system_values(view)["cluster/nodes"] == "2"


async def test_what_is_told_below_sys_is_what_was_seen(stage: Stage) -> None:
    await stage.view()
    assert stage.told == {
        "cluster/name": "home",
        "cluster/node": "a",
        "cluster/trusted": "1",
        "cluster/nodes": "2",
        "cluster/sessions": "0",
        "cluster/lag": "0",
    }


async def test_without_nats_that_is_what_is_wrong_and_no_password_is_told(stage: Stage) -> None:
    stage.line.is_up, stage.line.why = False, "refused"
    view = await stage.view()
    (wrong,) = view.wrong  # and not each thing that follows from it
    assert wrong.is_error
    assert "refused" in wrong.what
    assert "nats://n1:4222" in wrong.advice
    assert "secret" not in str(wrong)
    assert view.server == ""


async def test_a_server_whose_copy_is_not_whole_is_named(stage: Stage) -> None:
    stage.line.answers["HOME_LOG_0"] = info(7, ("n2", False), ("n3", True))
    (wrong,) = (await stage.view()).wrong
    assert not wrong.is_error
    assert wrong.what == "n2: no whole copy of HOME_LOG_0 is there"


async def test_a_stream_without_an_answer_is_named_and_its_lag_is_not_known(stage: Stage) -> None:
    await stage.view()
    del stage.line.answers["HOME_LOG_0"]
    view = await stage.view()
    (wrong,) = view.wrong
    assert wrong.is_error
    assert wrong.what == "NATS does not answer for HOME_LOG_0"
    assert view.streams[-1].last == -1


async def test_what_nats_does_not_store_is_said(stage: Stage) -> None:
    stage.bus.unhappy = "NATS did not store: maximum bytes exceeded"
    (wrong,) = (await stage.view()).wrong
    assert wrong.is_error
    assert wrong.what == "NATS did not store: maximum bytes exceeded"


async def test_a_node_that_reads_too_slowly_says_so(stage: Stage) -> None:
    stage.line.answers["HOME_LOG_0"] = info(MUCH_LAG + 1)
    (wrong,) = (await stage.view()).wrong
    assert wrong.what == "10001 entries of the log are not read here"


async def test_who_holds_the_log_is_the_lowest_of_those_who_say_that_something_waits(stage: Stage) -> None:
    """One whose writing is idle may be behind without anything that waits."""
    assert (await stage.view()).held == ""
    renewals = (
        (3, Lease(Boot("a", 1), 1, floors=(2,))),
        (4, Lease(Boot("b", 4), 9, floors=(5,), holder="the session 's'")),
        (5, Lease(Boot("c", 1), 1, floors=(6,), holder="the session 'other'")),
    )
    stage.node.feed(stage.now, 0.0, LEASES, 1, 2, renewals)
    assert (await stage.view()).held == "node b: the session 's'"


async def test_a_node_that_is_silent_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    later = stage.now + 14.0
    stage.node.feed(later, 0.0, LEASES, 1, 2, [(3, Lease(Boot("a", 1), 1))])
    monkeypatch.setattr("curier.member_watch.time.monotonic", lambda: later)
    view = await stage.view()
    assert [one.standing for one in view.nodes] == ["living", "silent"]
    assert view.held == "node b: it is silent"
    assert [one.what for one in view.wrong] == ["node b has not renewed its lease for 14 s"]
    assert view.living == 2


async def test_a_node_whose_lease_has_run_out_is_not_trusted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = stage.now + 23.0
    monkeypatch.setattr("curier.member_watch.time.monotonic", lambda: later)
    view = await stage.view()
    assert (view.state, view.trusted_for, view.is_trusted) == ("not trusted", 0.0, False)
    assert view.wrong[0].what == "this node could not renew its lease in time"
    assert "this node could not renew" in view.why_not_healthy
    assert system_values(view)["cluster/trusted"] == "0"


async def test_a_life_that_has_ended_is_over(stage: Stage) -> None:
    stage.node.feed(stage.now, 0.0, LEASES, 1, 2, [(3, Lease(Boot("b", 4), 9, is_over=True, nonce=8))])
    view = await stage.view()
    assert [one.standing for one in view.nodes] == ["living", "over"]
    stage.node.feed(stage.now, 0.0, LEASES, 1, 3, [(4, Lease(Boot("b", 5), 9, is_over=True))])  # by an heir
    view = await stage.view()
    assert [one.standing for one in view.nodes] == ["living", "died"]
    assert view.wrong == ()
    assert view.living == 1
    assert stage.watch.view(is_over=True).state == "over"
