"""Mosquitto's acl_file: what its lines mean."""

import random

import pytest

from curier.broker.judging import Who
from curier.errors import ConfigError
from curier.permissions.dialects import MOSQUITTO_20, MOSQUITTO_21
from curier.permissions.mosquitto_acl import MosquittoAcl
from curier.permissions.tree import PUBLISH, RECEIVE, RETAIN

ALICE = b"topic read pub/#\nuser alice\ntopic readwrite a/#\ntopic deny a/secret\n"
PATTERNS = b"user alice\ntopic readwrite p/alice/locked\npattern deny p/%u/locked\npattern readwrite p/%u/#\n"


@pytest.mark.parametrize(
    ("rules", "action", "topic", "user", "client", "expected"),
    [
        (ALICE, RECEIVE, b"pub/1", "alice", "c", False),
        (ALICE, RECEIVE, b"pub/1", None, "c", True),
        (ALICE, RECEIVE, b"pub/1", "", "c", True),
        (ALICE, PUBLISH, b"pub/1", None, "c", False),
        (ALICE, PUBLISH, b"a/secret", "alice", "c", False),
        (ALICE, PUBLISH, b"a", "alice", "c", True),
        (PATTERNS, PUBLISH, b"p/alice/locked", "alice", "c", True),
        (PATTERNS, PUBLISH, b"p/bob/z", "bob", "c", True),
        (PATTERNS, PUBLISH, b"p/bob/locked", "bob", "c", False),
        (PATTERNS, PUBLISH, b"p//x", None, "c", False),
        (b"pattern write c/%c", PUBLISH, b"c/x/y", None, "x/y", False),
        (b"pattern write emb/x%cy", PUBLISH, b"emb/xc2y", None, "c2", False),
        (b"pattern write #", PUBLISH, b"x", None, "q#", False),
        (b"topic write a/#\npattern write #", PUBLISH, b"a/x", None, "q#", True),
        (b"topic readwrite #", RECEIVE, b"$SYS/broker/version", None, "c", False),
        (b"topic readwrite #", PUBLISH, b"$other/x", None, "c", False),
        (b"topic read read\r\ntopic  write   foo  \r\n", PUBLISH, b"foo", None, "c", True),
        (b"topic read", PUBLISH, b"read", None, "c", True),
        (b"topic read foo bar", RECEIVE, b"foo bar", None, "c", True),
        (b"user a # note\ntopic x", PUBLISH, b"x", "a # note", "c", True),
        (b"user  a\ntopic x\nuser b\nuser a\ntopic y", PUBLISH, b"y", "a", "c", True),
        (b"user  a\ntopic x\nuser b\nuser a\ntopic y", PUBLISH, b"x", "a", "c", True),
        (b"", PUBLISH, b"x", None, "c", False),
    ],
)
def test_a_question_has_mosquittos_answer(
    rules: bytes, action: int, topic: bytes, user: str | None, client: str, expected: bool
) -> None:
    rights = MosquittoAcl("acl", rules).rights(Who(user, client))
    assert rights.decide(action, topic, 0).allows is expected
    if action == PUBLISH:
        assert rights.decide(RETAIN, topic, 0).allows is expected  # it knows no difference


@pytest.mark.parametrize(
    ("rules", "topic", "user", "client", "expected"),
    [
        (b"pattern write c/%c", b"c/x/y", None, "x/y", True),
        (b"pattern write emb/x%cy", b"emb/xc2y", None, "c2", True),
        (b"pattern write emb/x%cy\npattern deny emb/#", b"emb/xc2y", None, "c2", False),
        (b"pattern write %c/%u", b"c/u", "u", "c", True),
        (b"pattern write %c/%u", b"c/", None, "c", False),
        (b"pattern write c/%c", b"c/+", None, "+", False),
        (b"pattern write c/%c", b"c/1", None, "#", False),
        (b"user u\ntopic write %u", b"u", "u", "c", False),
    ],
)
def test_in_20_a_value_may_be_part_of_a_level_or_several(
    rules: bytes, topic: bytes, user: str | None, client: str, expected: bool
) -> None:
    rights = MosquittoAcl("acl", rules, MOSQUITTO_20).rights(Who(user, client))
    assert rights.decide(PUBLISH, topic, 0).allows is expected


def test_a_line_of_a_user_has_no_placeholders() -> None:
    rights = MosquittoAcl("acl", b"user u\ntopic write x/%u\n").rights(Who("u", "c"))
    assert rights.decide(PUBLISH, b"x/%u", 0).allows
    assert not rights.decide(PUBLISH, b"x/u", 0).allows


def test_a_subscription_is_never_refused_and_a_will_only_when_it_is_due() -> None:
    rights = MosquittoAcl("acl", b"topic read x").rights(Who(None, "c"))
    assert rights.may_subscribe(b"$share/g/#", 2)
    assert not rights.refuses_wills


@pytest.mark.parametrize("topic", [b"$SYS/foo", b"$SYSx", b"$share/g/x", b"$sharex"])
def test_what_belongs_to_the_server_is_not_for_rules(topic: bytes) -> None:
    rights = MosquittoAcl("acl", b"topic $SYS/#\ntopic $SYSx\ntopic $sharex\n").rights(Who(None, "c"))
    assert not rights.decide(PUBLISH, topic, 0).allows
    assert rights.decide(PUBLISH, b"$SYS/broker/connection/b/state", 0).allows


def test_a_client_is_told_its_lines_in_their_order() -> None:
    acl = MosquittoAcl("acl", ALICE + PATTERNS)
    assert acl.explain(Who("alice", "c")) == [
        "acl, line 4: topic deny a/secret",
        "acl, line 3: topic readwrite a/#",
        "acl, line 6: topic readwrite p/alice/locked",
        "acl, line 7: pattern deny p/%u/locked",
        "acl, line 8: pattern readwrite p/%u/#",
    ]
    assert acl.explain(Who(None, "c#")) == ["acl, line 1: topic read pub/#"]


@pytest.mark.parametrize(
    "line",
    [
        b"  # note",
        b"topic read foo # note",
        b"topic\tread\tfoo",
        b"topic foo bar",
        b"topic foo#",
        b"topics x",
        b"user",
        b"topic",
    ],
)
def test_a_line_that_mosquitto_does_not_start_with_is_named(line: bytes) -> None:
    with pytest.raises(ConfigError, match="acl, line 2: "):
        MosquittoAcl("acl", b"# first\n" + line + b"\n")


def test_a_byte_order_mark_is_named() -> None:
    with pytest.raises(ConfigError, match="byte order mark"):
        MosquittoAcl("acl", b"\xef\xbb\xbfuser a\n")


def test_a_decision_names_its_line() -> None:
    rights = MosquittoAcl("acl", ALICE).rights(Who("alice", "c"))
    assert not rights.may_publish(b"a/secret", 0, False)
    assert rights.why == "acl, line 4: topic deny a/secret"
    assert not rights.may_publish(b"b", 0, False)
    assert rights.why == "acl: no line allows it"
    assert rights.may_publish(b"a", 0, True)
    assert rights.why == ""


LEVELS = ("a", "b", "u0", "c0", "x", "")


def some_acl(chance: random.Random) -> bytes:
    """With placeholders as whole levels only."""
    lines = []
    for word, levels in (("topic", LEVELS), ("user u0\ntopic", LEVELS), ("pattern", (*LEVELS, "%u", "%c"))):
        for _ in range(4):
            found = [chance.choice((*levels, "+")) for _ in range(chance.randint(1, 3))]
            text = "/".join([*found, "#"] if chance.random() < 0.3 else found)
            if text.strip("/"):
                lines.append(f"{word} {chance.choice(('read', 'write', 'readwrite', 'deny'))} {text}")
    return "\n".join(lines).encode()


def test_both_dialects_mean_the_same_where_placeholders_are_levels_and_names_are_one() -> None:
    """A real Mosquitto 2.0 is asked elsewhere (tests/interop); what it says holds for 2.1 as far as this."""
    chance = random.Random(7)
    answers = set()
    for _ in range(150):
        text = some_acl(chance)
        dialects = [MosquittoAcl("acl", text, dialect) for dialect in (MOSQUITTO_20, MOSQUITTO_21)]
        for who in (Who("u0", "c0"), Who("x", "c+"), Who(None, "c0"), Who("u#", "c0"), Who("a", "b")):
            rights = [rules.rights(who) for rules in dialects]
            for _ in range(10):
                topic = "/".join(chance.choice(LEVELS) for _ in range(chance.randint(1, 3))).encode()
                if topic:
                    for action in (PUBLISH, RECEIVE):
                        found = {one.decide(action, topic, 0).allows for one in rights}
                        assert len(found) == 1, (text, who.identity, who.client_id, topic)
                        answers |= found
    assert answers == {True, False}
