"""Our own rules: whom they are about, what they allow, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.broker.judging import Who
from curier.errors import ConfigError
from curier.permissions.base import RuleRights
from curier.permissions.reading import read_rules
from curier.permissions.subjects import fits
from curier.permissions.toml_file import TomlRules, looks_like_ours
from curier.permissions.tree import PUBLISH, RECEIVE, RETAIN, SUBSCRIBE

FARM = """\
[groups]
operators = ["ana", "ben"]
nobody = []

# what is secret stays so, even for operators
[[rule]]
deny = "all"
topics = ["secret/#", "+/secret"]

[[rule]]
groups = "operators"
allow = "all"
topics = "#"

[[rule]]
client_ids = "dev-*"
allow = ["publish", "read"]
topics = "devices/{client_id}/#"
"""


def who(identity: str | None = None, client_id: str = "c", **more: object) -> Who:
    return Who(identity, client_id, **more)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "acl.toml"


def read(path: Path, text: str) -> TomlRules:
    path.write_text(text)
    rules = read_rules(path)
    assert isinstance(rules, TomlRules)
    return rules


def rights(path: Path, text: str, client: Who) -> RuleRights:
    return read(path, text).rights(client)


def test_the_first_rule_that_is_about_it_decides(path: Path) -> None:
    farm = read(path, FARM)
    ana, dev, other = (farm.rights(one) for one in (who("ana"), who(None, "dev-1"), who("eve")))
    assert ana.may_publish(b"devices/dev-1/on", 2, True)
    assert ana.may_subscribe(b"#", 2)
    assert not ana.may_receive(b"secret/1")
    assert ana.why == f"{path}, line 6: deny publish, retain, subscribe, receive: secret/#, +/secret"
    assert not ana.may_subscribe(b"secret/+", 0)
    assert not ana.may_publish(b"a/secret", 0, False)
    assert dev.may_publish(b"devices/dev-1/t", 1, False)
    assert not dev.may_publish(b"devices/dev-1/t", 1, True)
    assert dev.may_subscribe(b"devices/dev-1/#", 1)
    assert dev.may_subscribe(b"$share/g/devices/dev-1/+", 1)
    assert not dev.may_subscribe(b"devices/+/x", 1)
    assert dev.may_receive(b"devices/dev-1")
    assert not dev.may_receive(b"devices/dev-2")
    assert dev.why == f"{path}: no rule allows it"
    assert not other.may_publish(b"x", 0, False)


def test_a_client_is_told_the_rules_that_are_about_it(path: Path) -> None:
    farm = read(path, FARM)
    assert farm.explain(who("eve", "dev-1")) == [
        f"{path}, line 6: deny publish, retain, subscribe, receive: secret/#, +/secret",
        f"{path}, line 15: allow publish, subscribe, receive: devices/{{client_id}}/#",
    ]


@pytest.mark.parametrize(
    ("condition", "client", "expected"),
    [
        ("", who(), True),
        ('users = "ana"', who("ana"), True),
        ('users = "ana"', who("anaa"), False),
        ('users = ["x", "a*"]', who("ana"), True),
        ('users = "*"', who(""), False),
        ('users = "*"', who(None), False),
        ("anonymous = true", who(None), True),
        ("anonymous = true", who("ana"), False),
        ("anonymous = false", who("ana"), True),
        ('client_ids = "c"', who(None, "c"), True),
        ('client_ids = ["d", "e"]', who(None, "c"), False),
        ('groups = "g"', who("u", groups=frozenset("gh")), True),
        ('groups = "file"', who("u"), True),
        ('groups = "file"', who("v"), False),
        ('groups = "f*"', who("u"), True),
        ('listeners = "inner"', who(listener="inner"), True),
        ('listeners = "inner"', who(listener="outer"), False),
        ('addresses = "10.0.0.0/8"', who(address="10.1.2.3:50000"), True),
        ('addresses = "10.0.0.0/8"', who(address="[::ffff:10.1.2.3]:50000"), True),
        ('addresses = ["::1", "10.0.0.1"]', who(address="[::1]:50000"), True),
        ('addresses = "10.0.0.0/8"', who(address="11.0.0.0:50000"), False),
        ('addresses = "10.0.0.0/8"', who(address="uid=0:pid=1"), False),
        ('users = "ana"\nlisteners = "inner"', who("ana", listener="outer"), False),
        ('users = "ana"\nlisteners = "inner"', who("ana", listener="inner"), True),
        ('groups = "g"\nclient_ids = "c*"', who("u", "x", groups=frozenset("g")), False),
    ],
)
def test_whom_a_rule_is_about(path: Path, condition: str, client: Who, expected: bool) -> None:
    text = f'groups.file = "u"\n[[rule]]\n{condition}\nallow = "write"\ntopics = "t"\n'
    assert rights(path, text, client).may_publish(b"t", 0, False) is expected


@pytest.mark.parametrize(
    ("topics", "client", "topic", "expected"),
    [
        ("u/{username}/x", who("ana"), "u/ana/x", True),
        ("u/{username}/x", who("ana"), "u/{username}/x", False),
        ("u/{username}/x", who(None), "u//x", False),
        ("u/{username}/x", who(""), "u//x", False),
        ("u/{username}/x", who("a/b"), "u/a/b/x", False),
        ("u/{username}", who("+"), "u/+", False),
        ("u/{username}", who("+"), "u/x", False),
        ("u/{username}", who("#"), "u/x", False),
        ("{client_id}-{username}", who("u", "c"), "c-u", True),
        ("x{client_id}y", who(None, "c"), "xcy", True),
        ("x{client_id}y", who(None, "c/d"), "xc/dy", False),
        ("cn/{cn}", who(certificate_name="box"), "cn/box", True),
        ("cn/{cn}", who(), "cn/", False),
        ("g/{group}", who("u", groups=frozenset(("red", "blue"))), "g/blue", True),
        ("g/{group}", who("u", groups=frozenset(("red", "blue"))), "g/file", True),
        ("g/{group}", who("u", groups=frozenset(("a/b",))), "g/a/b", False),
        ("g/{group}/{claims.site}", who("u", claims={"site": "s1"}), "g/file/s1", True),
        ("g/{claims.site}", who("u"), "g/", False),
        ("{username}/#", who("$SYS"), "$SYS/broker/version", False),
        ("a/{username}", who("$SYS"), "a/$SYS", True),
    ],
)
def test_a_placeholder_is_what_the_client_is(
    path: Path, topics: str, client: Who, topic: str, expected: bool
) -> None:
    text = f'[[rule]]\nallow = "all"\ntopics = "{topics}"\n[groups]\nfile = "u"\n'
    client_rights = rights(path, text, client)
    assert client_rights.may_publish(topic.encode(), 0, False) is expected
    assert client_rights.may_receive(topic.encode()) is expected
    assert client_rights.may_subscribe(topic.encode(), 0) is expected


@pytest.mark.parametrize("name", ["+", "#", "a/b", "a/+", "+/b", "a/#", ""])
def test_a_client_cannot_choose_a_name_that_is_more_than_one_level(path: Path, name: str) -> None:
    text = '[[rule]]\nallow = "all"\ntopics = ["u/{username}/#", "c/{client_id}", "x{client_id}"]\n'
    client = rights(path, text, who(name, name or "+"))
    for asked in ("u/+/#", "u/#", "u/a/#", "c/+", "c/#", "c/a/b", "x+", "x#", "xa/b", "u/a/b", "u//x"):
        assert not client.may_subscribe(asked.encode(), 0)
        assert not client.may_receive(asked.encode())


def test_qos_and_retain_are_rights_of_their_own(path: Path) -> None:
    text = """
        [[rule]]
        deny = ["publish", "subscribe"]
        qos = 2
        topics = "t"
        [[rule]]
        deny = "retain"
        topics = "t/1"
        [[rule]]
        allow = "all"
        topics = "t/#"
    """
    client = rights(path, text, who())
    assert [client.may_publish(b"t", qos, True) for qos in (0, 1, 2)] == [True, True, False]
    assert client.why == f"{path}, line 2: deny publish, subscribe: t (QoS 2)"
    assert [client.may_subscribe(b"t", qos) for qos in (0, 1, 2)] == [True, True, False]
    assert client.may_receive(b"t")
    assert client.may_publish(b"t/1", 2, False)
    assert not client.may_publish(b"t/1", 2, True)
    assert not client.decide(RETAIN, b"t/1", 0).allows
    assert [client.decide(action, b"t/1", 0).allows for action in (PUBLISH, SUBSCRIBE, RECEIVE)] == [True] * 3


def test_a_wildcard_does_not_reach_topics_of_the_server(path: Path) -> None:
    client = rights(path, '[[rule]]\nallow = "all"\ntopics = "#"\n', who())
    assert not client.may_receive(b"$SYS/broker/version")
    assert not client.may_subscribe(b"$SYS/#", 0)
    client = rights(path, '[[rule]]\nallow = "read"\ntopics = ["#", "$SYS/#"]\n', who())
    assert client.may_receive(b"$SYS/broker/version")
    assert client.may_subscribe(b"$SYS/broker/#", 0)


RULE = '[[rule]]\nallow = "all"\ntopics = "t"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rule = 3", "line 1: rule: expected tables, each below a line [[rule]], got 3"),
        ("[[rules]]\n", "line 1: rules: there is no such key; did you mean rule?"),
        (RULE + "[group]\nx = []", "line 4: group: there is no such key; did you mean groups?"),
        ("groups = 3\n" + RULE, "line 1: groups: expected a table of groups, got 3"),
        ("[groups]\n", "there is no [[rule]], so nobody could do anything"),
        (RULE + "topic = 1", "line 4: rule.topic: there is no such key; did you mean topics?"),
        ("[[rule]]\ntopics = 't'", "line 1: rule: expected either allow or deny"),
        (RULE + "deny = 'all'", "line 1: rule: expected either allow or deny"),
        ("[[rule]]\nallow = 'all'", "line 1: rule: expected topics, such as"),
        ("[[rule]]\nallow = 'send'", "line 2: rule.allow: expected some of publish, retain, subscribe"),
        ("[[rule]]\nallow = []", "line 2: rule.allow: expected some of publish"),
        (RULE + "qos = [0, 3]", "line 4: rule.qos: expected some of 0, 1 and 2, got 3"),
        (RULE + "qos = true", "line 4: rule.qos: expected some of 0, 1 and 2, got true"),
        (RULE + "users = []", "line 4: rule.users: expected at least one"),
        (RULE + "users = [3]", "line 4: rule.users: expected text in quotes, got 3"),
        (RULE + "users = ''", "line 4: rule.users: expected names that are not empty"),
        (RULE + "addresses = '10.0.0.1/8'", "line 4: rule.addresses: expected addresses or networks"),
        (RULE + "anonymous = 1", "line 4: rule.anonymous: expected true or false, got 1"),
        ("[[rule]]\ntopics = 'a#'", "line 2: rule.topics: 'a#': "),
        ("[[rule]]\ntopics = '$share/g/a'", "line 2: rule.topics: expected the filter behind $share/NAME/"),
        (
            "[[rule]]\ntopics = '{user}'",
            "there is no placeholder {user}; expected one of {username}, {client",
        ),
        ("[[rule]]\ntopics = '{claims.}'", "there is no placeholder {claims.}"),
        ("[[rule]]\ntopics = '{x'", "expected { and } around placeholders only, got '{x'"),
        ("[[rule]]\ntopics = 'x}'", "expected { and } around placeholders only"),
        ("[[rule]", "line 1, column 7: "),
    ],
)
def test_what_is_wrong_is_named(path: Path, text: str, expected: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_rules(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


def test_all_that_is_wrong_is_named(path: Path) -> None:
    path.write_text(
        f"groups = {{}}\nx = 1\n[[rule]]\ntopic = 'a'\n{RULE}\n[[rule]]\nallow = 'all'\ntopics = 'a#'"
    )
    with pytest.raises(ConfigError) as caught:
        read_rules(path)
    told = str(caught.value).split("; ")
    assert [one.count(str(path)) for one in told if str(path) in one] == [1, 1, 1]
    for part in ("line 2: x: there is no such key", "line 4: rule.topic: there is", "rule.topics: 'a#': "):
        assert part in str(caught.value)


def test_a_header_within_a_text_does_not_confuse_lines(path: Path) -> None:
    client = rights(path, "[[rule]]\nusers = '''\n[[rule]]\n'''\ndeny = 'all'\ntopics = 't'\n" + RULE, who())
    assert (
        client.decide(PUBLISH, b"t", 0).why == f"{path}, rule 2: allow publish, retain, subscribe, receive: t"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# x\n\n  [groups]\n", True),
        ("groups.a = []", True),
        ("rule = []", True),
        ("user ana\n", False),
        ("user = ana\n", False),
        ("topic read rule = x\n", False),
        ("", False),
    ],
)
def test_which_files_are_ours(text: str, expected: bool) -> None:
    assert looks_like_ours(text) is expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a*", "abc", True),
        ("*c", "abc", True),
        ("a*c", "ac", True),
        ("ab*bc", "abc", False),
        ("a*b*c*d", "a-b-b-c-d", True),
        ("a*b*c*d", "a-c-b-d", False),
        ("*", "", True),
        ("a*", "b", False),
        ("[a]", "a", False),
    ],
)
def test_a_star_stands_for_any_characters(name: str, text: str, expected: bool) -> None:
    assert fits(name, text) is expected
