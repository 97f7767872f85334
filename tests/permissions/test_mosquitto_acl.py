"""Mosquitto's acl_file: what its lines mean."""

import pytest

from curier.errors import ConfigError
from curier.permissions.mosquitto_acl import MosquittoAcl
from curier.permissions.tree import PUBLISH, RECEIVE

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
    assert MosquittoAcl("acl", rules).decide(action, topic, user, client)[0] is expected


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
    acl = MosquittoAcl("acl", ALICE)
    assert acl.decide(PUBLISH, b"a/secret", "alice", "c")[1] == "acl, line 4: topic deny a/secret"
    assert acl.decide(PUBLISH, b"b", "alice", "c")[1] == "acl: no line allows it"
