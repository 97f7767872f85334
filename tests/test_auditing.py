"""The audit log: who came, was refused, was banned, and what was denied or changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curier.auditing import STRANGERS_RATE, Audit
from curier.auth.bans import Bans, BanSettings
from curier.auth.base import Credentials, Verdict
from curier.banning import Banning
from curier.broker.effects import Answer, Authenticate
from curier.codec import packets as p
from curier.types import ReasonCode
from tests.broker.harness import Net, quiet

SECRETS = (b"pass-word", b"pay-load")


class Told:
    """What an audit log says, and its clock."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.lines: list[str] = []
        self.audit = Audit(self.lines.append, lambda: self.now, lambda: self.now.timestamp())

    def take(self) -> list[dict[str, Any]]:
        """The lines since the last look, without their time."""
        found = [json.loads(line) for line in self.lines]
        self.lines.clear()
        for line in found:
            assert datetime.fromisoformat(line.pop("time")) == self.now
        return found


@pytest.fixture
def told() -> Told:
    return Told()


def check(question: Authenticate) -> Answer:
    if question.connect.password != SECRETS[0]:
        answer = Answer(0x86)
        answer.why = "user ana: wrong password"
        return answer
    return Answer(0, identity=question.connect.username)


@pytest.fixture
def net(told: Told) -> Net:
    made = Net(options=quiet(max_subscriptions=2), authenticate=check)
    made.core.add_hook(told.audit)
    return made


WHO = {"client_id": "c", "address": "test", "listener": "memory", "version": "5.0"}
ANA = {**WHO, "identity": "ana"}


def test_who_comes_and_goes_is_told(told: Told, net: Net) -> None:
    client = net.open()
    client.send(p.Connect(5, "c", True, 0, "ana", SECRETS[0], p.Will("w", SECRETS[1])))
    client.send(p.Publish("t", SECRETS[1], 0))
    client.disconnect()
    text = "".join(told.lines)
    assert told.take() == [
        {"event": "connected", **ANA, "session_present": False},
        {"event": "disconnected", **ANA, "reason_code": 0, "why": "the client disconnected"},
    ]
    assert not any(secret.decode() in text for secret in SECRETS)


def test_who_is_refused_is_told_with_the_name_that_was_claimed(told: Told, net: Net) -> None:
    client = net.open()
    client.send(p.Connect(5, "c", True, 0, "ana", b"wrong-one"))
    assert "wrong-one" not in "".join(told.lines)
    assert told.take() == [
        {"event": "refused", **WHO, "username": "ana", "reason_code": 0x86, "why": "user ana: wrong password"}
    ]
    net.open().send(b"\0\0")
    (line,) = told.take()
    assert (line["event"], line["reason_code"]) == ("refused", 0x82)


def test_what_is_denied_and_what_is_too_much_is_told(told: Told, net: Net) -> None:
    client = net.open()
    client.send(p.Connect(5, "c", True, 0, "ana", SECRETS[0]))
    client.pop(p.Connack)
    told.take()
    client.send(p.Publish("$SYS/x", SECRETS[1], 1, packet_id=1))
    denied = told.take()
    assert [(line["event"], line["identity"], line["reason_code"]) for line in denied] == [
        ("denied", "ana", 0x87)
    ]
    client.subscribe("a", "b", "c")
    (limited,) = told.take()
    assert limited == {"event": "limited", **ANA, "action": "subscribe", "filter": "c", "reason_code": 0x97}
    told.audit.on_revoke("c", b"a/#", "acl, line 3: deny")
    assert told.take() == [
        {"event": "revoked", "client_id": "c", "filter": "a/#", "why": "acl, line 3: deny"}
    ]


def test_bans_are_told(told: Told) -> None:
    banning = Banning(Bans(BanSettings(failures=1)), lambda: 0.0, told.audit)
    credentials = Credentials("c", "ana", b"wrong", "192.0.2.1:5", "tcp://x", 5)
    banning.answered(credentials, Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD))
    assert told.take() == [
        {
            "event": "banned",
            "address": "192.0.2.1",
            "who": "user ana",
            "seconds": 300,
            "why": "1 wrong logins in 300 s",
        }
    ]


def test_actions_are_told(told: Told) -> None:
    told.audit.acted("root at 127.0.0.1:5", "ban.lift", place="192.0.2.1", nothing=None)
    assert told.take() == [
        {"event": "action", "who": "root at 127.0.0.1:5", "action": "ban.lift", "place": "192.0.2.1"}
    ]


def test_strangers_cannot_have_it_say_more_and_more(told: Told, net: Net) -> None:
    for _ in range(STRANGERS_RATE + 50):
        net.open().send(b"\0\0")
    assert len(told.take()) == STRANGERS_RATE
    told.audit.acted("SIGHUP", "reload")  # which is nobody's fault
    assert len(told.take()) == 1
    told.now += timedelta(seconds=0.011)
    net.open().send(b"\0\0")
    first, second = told.take()
    assert first == {"event": "left-out", "of": "refused", "count": 50}
    assert second["event"] == "refused"
    net.open().send(b"\0\0")
    assert told.take() == []
    told.audit.tell_left_out()
    told.audit.tell_left_out()
    assert told.take() == [{"event": "left-out", "of": "refused", "count": 1}]


def test_what_strangers_say_is_shortened_and_escaped(told: Told) -> None:
    told.audit.acted("x" * 10_000 + "\n", "a\nb")
    (line,) = told.lines
    assert len(line) < 1000
    assert "\n" not in line
