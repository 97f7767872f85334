"""Our own rules, in TOML: the first that is about a client and what it wants to do decides.

    [groups]
    operators = ["ana", "ben"]

    [[rule]]
    groups = "operators"
    allow = "all"
    topics = "#"

    [[rule]]
    allow = ["write", "read"]
    topics = "devices/{client_id}/#"

What no rule allows is denied. A placeholder's value is never a wildcard, nor several levels.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, final

from curier.broker.judging import Who
from curier.errors import ConfigError
from curier.permissions.base import Decision, RuleRights, Rules
from curier.permissions.subjects import Condition, Subjects
from curier.permissions.tree import (
    ANY_QOS,
    PUBLISH,
    RECEIVE,
    RETAIN,
    SUBSCRIBE,
    Rule,
    RuleTree,
    is_level,
)
from curier.strict_toml import TomlFile, shown, take_flag, take_string
from curier.topics.filters import check_topic_filter, is_shared, split_shared

_ACTIONS: Final = {
    "publish": PUBLISH,
    "retain": RETAIN,
    "subscribe": SUBSCRIBE,
    "receive": RECEIVE,
    "read": SUBSCRIBE | RECEIVE,
    "write": PUBLISH | RETAIN,
    "all": PUBLISH | RETAIN | SUBSCRIBE | RECEIVE,
}
_PLACEHOLDER: Final = re.compile(r"\{([^{}/]*)\}")
_KNOWN: Final = ("username", "client_id", "cn", "group", "claims.NAME")
_MOST_LEVELS: Final = 65_536  # more than fit into a Topic Filter
_MOST_ERRORS: Final = 20  # of one file that are told at once
_MOST_TEXT: Final = 200  # characters of a rule, as it is shown
_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)


def looks_like_ours(text: str) -> bool:
    """Is this file of our kind, by its first line that says something?"""
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            return re.match(r"\s*(\[|(groups|rule)\b\s*[.=])", line) is not None
    return False


@final
class TomlRules(Rules):
    """The rules of one file. ``ConfigError`` names file, line and key of what is wrong."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = str(path)
        self.tree = RuleTree(_has_placeholder)
        file = TomlFile(path)
        for key in file.table:
            if key not in _TABLES:
                file.errors.append(file.unknown((key,), [*_TABLES]))
        groups = file.table.get("groups", {})
        if not isinstance(groups, dict):
            raise file.wrong(("groups",), f"expected a table of groups, got {shown(groups)}")
        self.subjects = Subjects({name: file.value(("groups", name), _names) for name in groups})  # type: ignore[misc]
        self._all: list[tuple[int, tuple[str, ...], Rule]] = []
        tables = file.value(("rule",), _tables) if "rule" in file.table else []
        assert isinstance(tables, list)
        if not tables and not file.errors:
            raise ConfigError(f"{path}: there is no [[rule]], so nobody could do anything")
        lines = _lines(path, len(tables))
        for number, table in enumerate(tables):
            with file.noted():
                self._add(file, number, table, lines[number] if lines else 0)
        if file.errors:
            raise ConfigError("; ".join(map(str, file.errors[:_MOST_ERRORS])))

    def _add(self, file: TomlFile, number: int, table: dict[str, object], line: int) -> None:
        given: dict[str, Any] = {}
        for key in table:
            if key not in _TAKERS:
                raise file.unknown(("rule", number, key), [*_TAKERS])
            given[key] = file.value(("rule", number, key), _TAKERS[key])
        if ("allow" in given) is ("deny" in given):
            raise file.wrong(("rule", number), "expected either allow or deny")
        if "topics" not in given:
            raise file.wrong(("rule", number), 'expected topics, such as topics = "sensors/{client_id}/#"')
        topics: tuple[str, ...] = given.pop("topics")
        allows = "allow" in given
        actions: int = given.pop("allow" if allows else "deny")
        qos: int = given.pop("qos", ANY_QOS)
        words = [word for word in ("publish", "retain", "subscribe", "receive") if actions & _ACTIONS[word]]
        text = f"{'allow' if allows else 'deny'} {', '.join(words)}: "
        rule = Rule(number, allows, actions, line, text, qos)
        subject = self.subjects.number(Condition(**given))
        self._all.append((subject, topics, rule))
        shown_topics = ", ".join(topics)
        rule.text += shown_topics if len(shown_topics) < _MOST_TEXT else shown_topics[:_MOST_TEXT] + "..."
        for topic in topics:
            self.tree.add(topic.encode(), subject, rule)

    def rights(self, who: Who) -> TomlRights:
        """What this client may."""
        return TomlRights(self, who)

    def is_common(self, topic: bytes) -> bool:
        """Have all clients that the same rules are about the same right to receive this topic?"""
        return not self.tree.speaks_of_clients(topic)

    def explain(self, who: Who) -> list[str]:
        """The rules that are about this client."""
        subjects = self.rights(who).subjects
        return [self.shown(rule) for subject, _, rule in self._all if subject in subjects]

    def shown(self, rule: Rule) -> str:
        """A rule, with file and line."""
        where = f"{self.name}, line {rule.line}" if rule.line else f"{self.name}, rule {rule.order + 1}"
        qos = (
            ""
            if rule.qos == ANY_QOS
            else f" (QoS {', '.join(str(n) for n in range(3) if rule.qos >> n & 1)})"
        )
        return f"{where}: {rule.text}{qos}"


@final
class TomlRights(RuleRights):
    """What one client may."""

    def __init__(self, rules: TomlRules, who: Who) -> None:
        super().__init__(rules, who)
        self._rules = rules
        self._groups = rules.subjects.groups_of(who)
        self.subjects = rules.subjects.of(who, self._groups)
        self.kind = tuple(self.subjects)
        self._values: dict[bytes, Container[bytes]] = {}

    def decide(self, action: int, topic: bytes, qos: int) -> Decision:
        """Whether this client may, and which rule says so."""
        if action == SUBSCRIBE and is_shared(topic):
            topic = split_shared(topic)[1]
        of_qos = ANY_QOS if action == RECEIVE else 1 << qos
        rule = self._rules.tree.first(topic, self.subjects, action, self._value, of_qos)
        if rule is None:
            return Decision(False, f"{self._rules.name}: no rule allows it")
        return Decision(rule.allows, self._rules.shown(rule))

    def _value(self, template: bytes) -> Container[bytes]:
        known = self._values.get(template)
        if known is None:
            known = self._values[template] = self._values_of(template.decode())
        return known

    def _values_of(self, template: str) -> Container[bytes]:
        names = [*dict.fromkeys(_PLACEHOLDER.findall(template))]
        known = [[value for value in self._named(name) if is_level(value.encode())] for name in names]
        return frozenset(
            _filled(template, dict(zip(names, values, strict=True))).encode()
            for values in itertools.product(*known)
        )

    def _named(self, name: str) -> list[str]:
        who = self.who
        if name == "group":
            return [*self._groups]
        value = {"username": who.identity, "client_id": who.client_id, "cn": who.certificate_name}.get(name)
        if name.startswith("claims."):
            value = who.claims.get(name.removeprefix("claims."))
        return [] if value is None else [value]


def _filled(template: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _has_placeholder(level: bytes) -> bool:
    return b"{" in level


def _lines(path: Path, count: int) -> list[int]:
    """The lines of the headers of ``count`` rules; none where the text of some value looks like one."""
    text = path.read_bytes().decode(errors="replace")
    found: list[int] = []
    line, at = 1, 0
    for header in _HEADER.finditer(text):
        line += text.count("\n", at, header.start())
        at = header.start()
        found.append(line)
    return found if len(found) == count else []


# ---- values ----


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[rule]], got {shown(value)}")
    return value


def _several(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _names(value: object) -> tuple[str, ...]:
    """One text, or several, none of them empty."""
    names = tuple(map(take_string, _several(value)))
    if "" in names:
        raise ValueError(
            "expected names that are not empty; clients without a user name are anonymous = true"
        )
    return names


def _some_names(value: object) -> tuple[str, ...]:
    names = _names(value)
    if not names:
        raise ValueError("expected at least one; a rule about everybody does not have this key")
    return names


def _some_networks(value: object) -> tuple[object, ...]:
    try:
        return tuple(ip_network(name) for name in _some_names(value))
    except ValueError as error:
        raise ValueError(f'expected addresses or networks, such as "10.0.0.0/8": {error}') from None


def _actions(value: object) -> int:
    actions = 0
    for word in _several(value):
        if not isinstance(word, str) or word not in _ACTIONS:
            raise ValueError(f"expected some of {', '.join(_ACTIONS)}, got {shown(word)}")
        actions |= _ACTIONS[word]
    if not actions:
        raise ValueError(f"expected some of {', '.join(_ACTIONS)}")
    return actions


def _qos(value: object) -> int:
    found = 0
    for one in _several(value):
        if isinstance(one, bool) or one not in (0, 1, 2):
            raise ValueError(f"expected some of 0, 1 and 2, got {shown(one)}")
        found |= 1 << int(str(one))
    if not found:
        raise ValueError("expected some of 0, 1 and 2")
    return found


def _topics(value: object) -> tuple[str, ...]:
    topics = _some_names(value)
    for topic in topics:
        if topic.startswith("$share/"):
            raise ValueError(f"expected the filter behind $share/NAME/, which rules are about, got {topic!r}")
        for name in _PLACEHOLDER.findall(topic):
            if name not in _KNOWN[:-1] and not re.fullmatch(r"claims\.[^{}]+", name):
                places = ", ".join(f"{{{known}}}" for known in _KNOWN)
                raise ValueError(f"there is no placeholder {{{name}}}; expected one of {places}")
        plain = _PLACEHOLDER.sub("x", topic)
        if "{" in plain or "}" in plain:
            raise ValueError(f"expected {{ and }} around placeholders only, got {topic!r}")
        why = check_topic_filter(plain.encode(), _MOST_LEVELS)
        if why:
            raise ValueError(f"{topic!r}: {why}")
    return topics


_TABLES: Final = ("groups", "rule")
_TAKERS: Final[dict[str, Callable[[object], object]]] = {
    "allow": _actions,
    "deny": _actions,
    "topics": _topics,
    "qos": _qos,
    "users": _some_names,
    "groups": _some_names,
    "client_ids": _some_names,
    "listeners": _some_names,
    "addresses": _some_networks,
    "anonymous": take_flag,
}
