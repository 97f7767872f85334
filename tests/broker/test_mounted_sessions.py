"""Sessions of clients that come in by a listener with a mount: each belongs to that, over restarts, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.broker.core import BrokerCore
from curier.broker.entrances import Entrance
from curier.broker.hooks import Hook
from curier.broker.mounting import OTHER_MOUNT
from curier.broker.restoring import Restorer
from curier.codec import packets as p
from curier.session.journal import Journal
from curier.store.database import Database
from tests.broker.harness import FOREVER, Net, quiet
from tests.broker.test_mounting import Make, at


@pytest.mark.parametrize(("before", "after"), [("site-a/", "site-b/"), ("", "site-a/"), ("site-a/", "")])
@pytest.mark.parametrize("is_away", [True, False])
def test_a_session_is_of_its_mount(make: Make, before: str, after: str, is_away: bool) -> None:
    ended: list[tuple[str, str]] = []

    class Ends(Hook):
        def on_session_end(self, client_id: str, why: str) -> None:
            ended.append((client_id, why))

    net = make()
    net.core.add_hook(Ends())
    first = at(net, before, "a", expiry=FOREVER)
    first.subscribe("#")
    if is_away:
        first.drop()
    net.entrance = None
    outside = net.connect("outside")
    outside.publish(f"{before}secret", b"x", 1)
    net.entrance = Entrance("there", mount=after.encode())
    second = net.send_connect("a", False, session_expiry_interval=FOREVER)
    connack = second.pop(p.Connack)
    assert (connack.reason_code, connack.session_present) == (0, False)
    assert second.take() == []
    assert ended == [("a", OTHER_MOUNT)]
    if not is_away:
        assert first.goodbye().reason_code == 0x8E
    outside.publish(f"{before}t", b"x", 1)
    assert second.take() == []
    second.drop()
    again = net.send_connect("a", False, session_expiry_interval=FOREVER)
    assert again.pop(p.Connack).session_present


def test_two_listeners_may_have_one_mount(make: Make) -> None:
    net = make()
    at(net, "site-a/", "a", expiry=FOREVER).drop()
    net.entrance = Entrance("another", mount=b"site-a/")
    again = net.send_connect("a", False, session_expiry_interval=FOREVER)
    assert again.pop(p.Connack).session_present


def test_after_a_restart() -> None:
    net = Net("journal")
    outside = net.connect("outside", expiry=FOREVER)
    outside.subscribe("$share/g/site-a/s")
    outside.drop()
    inside = at(net, "site-a/", "a", expiry=FOREVER, will=p.Will("w", b"gone", 1, False))
    inside.subscribe("t", "$share/g/s", "w")
    net.entrance = None
    sender = net.connect("sender")
    for qos in (1, 2):
        sender.publish("site-a/t", b"%d" % qos, qos)
    sender.publish("site-a/s", b"shared", 1)
    inside.take()
    core = BrokerCore(quiet(), net.now, journal=Journal())
    restorer = Restorer(core)
    restorer.replay(net.records)
    restorer.finish(net.now)
    net.core = core
    net.advance(1)
    assert sorted(core.groups) == [b"$share/g/site-a/s", b"site-a/$share/g/site-a/s"]
    net.entrance = Entrance("there", mount=b"site-a/")
    again = net.send_connect("a", False, session_expiry_interval=FOREVER)
    assert again.pop(p.Connack).session_present
    messages = again.messages()
    assert [(one.topic, one.payload, one.dup) for one in messages] == [
        ("t", b"1", True),
        ("t", b"2", True),
        ("s", b"shared", True),
        ("w", b"gone", False),
    ]
    again.finish(*messages)
    again.disconnect()
    net.entrance = None
    assert not net.send_connect("a", False, session_expiry_interval=FOREVER).pop(p.Connack).session_present


def test_messages_left_behind_stay_in_the_mount_over_a_restart(tmp_path: Path) -> None:
    """Those of a session that ended before it could hand them all over."""
    many = 1500
    net = Net("journal", quiet(max_inflight=1))
    outside = net.connect("outside", expiry=FOREVER)
    outside.subscribe("$share/g/site-a/s")
    outside.drop()
    inside = at(net, "site-a/", "a", expiry=FOREVER)
    inside.subscribe("$share/g/s")
    inside.drop()
    net.entrance = None
    sender = net.connect("sender")
    for _ in range(many):
        sender.publish("site-a/s", b"x", 1)
    at(net, "site-a/", "b", expiry=FOREVER).subscribe("$share/g/s")
    net.send_connect("a", True)  # it begins anew, and a thousand are handed over at once
    core = BrokerCore(quiet(), net.now, journal=Journal())
    restorer = Restorer(core)
    database = Database(tmp_path)  # which has no more of that session than its last record
    database.apply(net.records)
    for records in database.records():
        restorer.replay(records)
    database.close()
    restorer.finish(net.now)
    net.core = core
    net.turn()
    net.advance(1)
    assert len(core.sessions["b"].outgoing.unfinished()) == many
    assert len(core.sessions["outside"].outgoing.unfinished()) == many
