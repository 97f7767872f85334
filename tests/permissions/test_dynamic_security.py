"""Mosquitto's dynamic-security.json: which entry decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curier.broker.judging import Who
from curier.errors import ConfigError
from curier.permissions.dialects import MOSQUITTO_20, MOSQUITTO_21
from curier.permissions.dynamic_security import DynamicSecurity
from curier.permissions.reading import read_rules
from curier.permissions.tree import PUBLISH, RECEIVE, SUBSCRIBE

SEND, TAKE, PATTERN, LITERAL = (
    "publishClientSend",
    "publishClientReceive",
    "subscribePattern",
    "subscribeLiteral",
)
USUAL = {SEND: False, TAKE: True, "subscribe": False, "unsubscribe": True}
Entry = tuple[Any, ...]


def acl(kind: str, topic: str, allow: bool | None = True, priority: int | None = None) -> dict[str, Any]:
    entry = {"acltype": kind, "topic": topic, "allow": allow, "priority": priority}
    return {name: value for name, value in entry.items() if value is not None}


def role(name: str, *acls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rolename": name, "acls": [*acls], **more}


def has(name: str, priority: int | None = None, key: str = "rolename") -> dict[str, Any]:
    return {key: name} if priority is None else {key: name, "priority": priority}


def file(*roles: dict[str, Any], own: Any = None, **more: Any) -> dict[str, Any]:
    """With one client, "u", which has these roles, in this order of names where nothing else is said."""
    given = own if own is not None else [has(one["rolename"]) for one in roles]
    return {
        "defaultACLAccess": USUAL,
        "roles": [*roles],
        "clients": [{"username": "u", "roles": given}],
        **more,
    }


def decide(
    table: dict[str, Any],
    action: int,
    topic: str,
    user: str | None = "u",
    client: str = "c",
    dialect: str = MOSQUITTO_21,
) -> bool:
    rules = DynamicSecurity("ds", json.dumps(table).encode(), dialect)
    return rules.rights(Who(user, client)).decide(action, topic.encode(), 0).allows


@pytest.mark.parametrize(
    ("acls", "action", "topic", "expected"),
    [
        ([acl(SEND, "t/+", True, 0), acl(SEND, "t/#", False, 0)], PUBLISH, "t/x", True),
        ([acl(SEND, "t/#", False, 0), acl(SEND, "t/+", True, 0)], PUBLISH, "t/x", False),
        ([acl(SEND, "t/#", False, 0), acl(SEND, "t/+", True, 1)], PUBLISH, "t/x", True),
        ([acl(SEND, "t", None)], PUBLISH, "t", False),
        ([acl("PUBLISHCLIENTSEND", "t")], PUBLISH, "t", True),
        ([acl(SEND, "t", False), acl(SEND, "t", True, 5)], PUBLISH, "t", False),  # the first is kept
        ([acl(SEND, "#")], PUBLISH, "$SYS/x", False),
        ([acl(SEND, "$SYS/#")], PUBLISH, "$SYS/x", False),
        ([acl(PATTERN, "secret/#", False)], RECEIVE, "secret/a", True),
        ([acl(TAKE, "secret/#", False, 10), acl(TAKE, "#", True, 0)], RECEIVE, "secret/a", False),
        ([acl(PATTERN, "a/+")], SUBSCRIBE, "a/x", True),
        ([acl(PATTERN, "a/+")], SUBSCRIBE, "a/+", True),
        ([acl(PATTERN, "a/+")], SUBSCRIBE, "a/#", False),
        ([acl(PATTERN, "a/+")], SUBSCRIBE, "a", False),
        ([acl(PATTERN, "a/+")], SUBSCRIBE, "+/x", False),
        ([acl(PATTERN, "+/#")], SUBSCRIBE, "#", False),
        ([acl(PATTERN, "a/+/#")], SUBSCRIBE, "a/b", True),
        ([acl(PATTERN, "a/+/#")], SUBSCRIBE, "a/#", False),
        ([acl(PATTERN, "#")], SUBSCRIBE, "$SYS/#", False),
        ([acl(PATTERN, "#")], SUBSCRIBE, "$share/g/a", False),
        ([acl(LITERAL, "a/+"), acl(PATTERN, "a/#", False, 100)], SUBSCRIBE, "a/+", True),
        ([acl(LITERAL, "a/+"), acl(PATTERN, "a/#", False, 100)], SUBSCRIBE, "a/x", False),
        ([acl(SEND, "d/%c/#")], PUBLISH, "d/c/1", True),
        ([acl(SEND, "d/%c/#")], PUBLISH, "d/%c/1", False),
        ([acl(SEND, "d/%u")], PUBLISH, "d/u", True),
        ([], PUBLISH, "t", False),
        ([], SUBSCRIBE, "t", False),
        ([], RECEIVE, "t", True),
        ([], RECEIVE, "$CONTROL/x", False),
    ],
)
def test_within_a_role(acls: list[dict[str, Any]], action: int, topic: str, expected: bool) -> None:
    assert decide(file(role("r", *acls)), action, topic) is expected


@pytest.mark.parametrize(
    ("acls", "action", "topic", "client", "expected"),
    [
        ([acl(PATTERN, "#")], SUBSCRIBE, "$SYS/#", "c", True),
        ([acl(PATTERN, "#")], SUBSCRIBE, "$share/g/a", "c", True),
        ([acl(PATTERN, "+/#")], SUBSCRIBE, "#", "c", True),
        ([acl(PATTERN, "a/+/#")], SUBSCRIBE, "a/#", "c", False),
        ([acl(TAKE, "#", False)], RECEIVE, "$SYS/x", "c", True),
        ([acl(SEND, "d/%c/#")], PUBLISH, "d/c/1", "c", False),
        ([acl(SEND, "d/%c/#")], PUBLISH, "d/%c/1", "c", True),
    ],
)
def test_where_20_differs(
    acls: list[dict[str, Any]], action: int, topic: str, client: str, expected: bool
) -> None:
    assert decide(file(role("r", *acls)), action, topic, client=client, dialect=MOSQUITTO_20) is expected


def test_a_client_identifier_of_several_levels_matches_no_placeholder() -> None:
    table = file(role("r", acl(SEND, "d/%c")))
    assert not decide(table, PUBLISH, "d/a/b", client="a/b")
    assert not decide(table, PUBLISH, "d/+", client="+")


YES, NO = acl(SEND, "t"), acl(SEND, "t", False)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (file(role("b", NO), role("a", YES), own=[has("b", 5), has("a", 5)]), True),
        (file(role("b", NO), role("a", YES), own=[has("b", 6), has("a", 5)]), False),
        (file(role("a", YES), role("b", NO), own=[has("a"), has("b", 0)]), False),  # missing is -1
        (file(role("a", YES), own=[has("unknown", 9), has("a", 0)]), True),
        (
            file(role("a", YES), role("b", NO), own=[has("a", 10**9), has("b", 10**8)]),
            True,
        ),  # both are capped
    ],
)
def test_roles_have_their_order(table: dict[str, Any], expected: bool) -> None:
    assert decide(table, PUBLISH, "t") is expected


def group(name: str, of: str, priority: int | None, user: str = "u") -> dict[str, Any]:
    return {"groupname": name, "roles": [has(of)], "clients": [has(user, priority, "username")]}


@pytest.mark.parametrize(
    ("own", "groups", "expected"),
    [
        ([has("no", -100)], [group("g", "yes", 100)], False),
        ([], [group("g", "yes", 1), group("h", "no", 2)], False),
        ([], [group("h", "no", 2), group("g", "yes", 2)], True),
        ([], [group("g", "yes", 1, "other")], False),
        ([], [group("g", "yes", 1), group("g", "no", 5)], True),
    ],
)
def test_groups_come_after_own_roles(
    own: list[dict[str, Any]], groups: list[dict[str, Any]], expected: bool
) -> None:
    table = file(role("yes", YES), role("no", NO), own=own, groups=groups)
    assert decide(table, PUBLISH, "t") is expected


def test_who_is_not_there_has_not_even_the_defaults() -> None:
    table = file(defaultACLAccess=dict.fromkeys(USUAL, True))
    assert decide(table, PUBLISH, "t")
    assert not decide(table, PUBLISH, "t", user="stranger")
    assert decide(table, PUBLISH, "t", user=None)
    assert not decide(table, PUBLISH, "$CONTROL/dynamic-security/v1")
    del table["defaultACLAccess"]
    assert not decide(table, RECEIVE, "t")


def test_clients_without_a_name_may_have_a_group() -> None:
    groups = [{"groupname": "nameless", "roles": [has("all")]}]
    table = file(role("all", acl(PATTERN, "#")), groups=groups, anonymousGroup="nameless")
    assert decide(table, SUBSCRIBE, "#", user=None)
    assert decide(table, SUBSCRIBE, "#", user="")
    assert decide(table, RECEIVE, "t", user=None)
    del table["anonymousGroup"]
    assert not decide(table, SUBSCRIBE, "#", user=None)


def test_a_role_may_take_wildcards_away() -> None:
    table = file(role("r", acl(LITERAL, "#"), acl(LITERAL, "a"), allowwildcardsubs=False))
    assert not decide(table, SUBSCRIBE, "#")
    assert decide(table, SUBSCRIBE, "a")


def test_a_file_is_known_by_its_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ds"
    roles = [
        role(
            "r",
            YES,
            YES,
            acl("send", "t"),
            {"acltype": SEND},
            acl(SEND, "a#"),
            acl("unsubscribePattern", "#"),
        )
    ]
    path.write_bytes(b"\xef\xbb\xbf\n" + json.dumps(file(*roles)).encode())
    rules = read_rules(path)
    assert isinstance(rules, DynamicSecurity)
    assert (
        "4 entries mean nothing and are passed over; the first is 'publishClientSend' 't' of" in caplog.text
    )
    assert rules.explain(Who("u", "c")) == [
        f"{path}: role 'r': allow publishclientsend t (priority 0)",
        f"{path}: by default deny publishClientSend",
        f"{path}: by default allow publishClientReceive",
        f"{path}: by default deny subscribe",
    ]
    assert rules.explain(Who("x", "c")) == []
    path.write_text('{\n"roles": [}')
    with pytest.raises(ConfigError, match="ds, line 2, column 11: "):
        read_rules(path)


@pytest.mark.parametrize(
    "data", [b'{"roles": "\\ud800"}', b'{"x": ' + b"1" * 5000 + b"}", b'{"x":' * 100_000, b"{\xff}", b"{"]
)
def test_what_is_no_json_is_named(data: bytes) -> None:
    with pytest.raises(ConfigError, match="ds"):
        DynamicSecurity("ds", data)


@pytest.mark.parametrize(
    "text",
    ['{"roles": 3, "clients": [3, {}, {"username": 4}]}', "{}", '{"groups": null, "anonymousGroup": [1]}'],
)
def test_what_is_missing_or_odd_allows_nothing(text: str) -> None:
    rights = DynamicSecurity("ds", text.encode()).rights(Who(None, "c"))
    assert not any(rights.decide(action, b"t", 0).allows for action in (PUBLISH, RECEIVE, SUBSCRIBE))


def test_kinds_of_clients() -> None:
    rules = DynamicSecurity("ds", json.dumps(file(role("r", YES))).encode())
    assert rules.is_common(b"t")
    assert rules.rights(Who("u", "1")).kind == rules.rights(Who("u", "2")).kind
    assert rules.rights(Who("u", "1")).kind != rules.rights(Who(None, "1")).kind
    assert rules.rights(Who("x", "1")).kind != rules.rights(Who(None, "1")).kind
    assert not DynamicSecurity("ds", json.dumps(file(role("r", acl(SEND, "%c")))).encode()).is_common(b"t")
