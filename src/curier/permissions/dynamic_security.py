"""Mosquitto's ``dynamic-security.json``: what its roles let a client do. Who may log in is read by
``auth.dynamic_clients``.

A client has its own roles, then those of its groups; each has entries; the first that matches decides, and
where none does, the default of the file.
"""

from __future__ import annotations

from typing import Any, Final, final

from curier.broker.judging import Who
from curier.dynamic_security import named, parse, table, tables
from curier.permissions.base import Decision, RuleRights, Rules, log
from curier.permissions.dialects import MOSQUITTO_20, MOSQUITTO_21
from curier.permissions.mosquitto_acl import why_not_written
from curier.permissions.tree import PUBLISH, RECEIVE, RETAIN, SUBSCRIBE, Rule, RuleTree, values_of
from curier.topics.filters import check_topic_filter, has_wildcard

_LITERAL: Final = "subscribeliteral"
_ACTIONS: Final = {
    "publishclientsend": PUBLISH | RETAIN,
    "publishclientreceive": RECEIVE,
    "subscribepattern": SUBSCRIBE,
    _LITERAL: SUBSCRIBE,
}
_NOT_ASKED: Final = ("unsubscribeliteral", "unsubscribepattern")  # everybody may
_DEFAULTS: Final = {
    PUBLISH: "publishClientSend",
    RETAIN: "publishClientSend",
    RECEIVE: "publishClientReceive",
    SUBSCRIBE: "subscribe",
}
_MOST_PRIORITY: Final = 100_000
_NO_PRIORITY: Final = -1  # of a role or group that names none
_MOST_LEVELS: Final = 65_536
_ALL: Final = (0,)  # the one subject of its trees
_CONTROL: Final = b"$CONTROL"


@final
class Role:
    """Entries, in the order in which they count."""

    def __init__(self, name: str, is_20: bool, may_subscribe_wild: bool) -> None:
        self.name = name
        self.may_subscribe_wild = may_subscribe_wild
        self.literals: dict[bytes, Rule] = {}
        self.tree = RuleTree() if is_20 else RuleTree(frozenset((b"%u", b"%c")).__contains__)
        self.rules: list[Rule] = []

    def add(self, kind: str, topic: bytes, rule: Rule) -> None:
        self.rules.append(rule)
        if kind == _LITERAL:
            self.literals[topic] = rule
        else:
            self.tree.add(topic, _ALL[0], rule)


Ranked = list[tuple[int, str]]  # priority and name


@final
class DynamicSecurity(Rules):
    """The roles of one file, whose text is ``data``; ``name`` is what errors call it. ``ConfigError`` says
    where it is no JSON. Entries that mean nothing are passed over, as there, and counted in the log.
    """

    def __init__(self, name: str, data: bytes, dialect: str = MOSQUITTO_21) -> None:
        super().__init__()
        self.name = name
        self.is_20 = dialect == MOSQUITTO_20
        self.has_templates = False
        self._ignored: list[str] = []
        file = parse(name, data)
        defaults = table(file.get("defaultACLAccess"))
        self.defaults = {action: defaults.get(word) is True for action, word in _DEFAULTS.items()}
        self._roles: dict[str, Role] = {}
        for one in self._named(file, "roles", "rolename"):
            self._add_role(one)
        groups = {one["groupname"]: one for one in self._named(file, "groups", "groupname")}
        group_roles = {group: self._ranked(one, "roles", "rolename") for group, one in groups.items()}
        member_of: dict[str, Ranked] = {}
        for group, one in groups.items():
            for priority, user in self._ranked(one, "clients", "username"):
                member_of.setdefault(user, []).append((priority, group))
        self.by_user = {
            one["username"]: self._in_order(
                self._ranked(one, "roles", "rolename"), member_of.get(one["username"], []), group_roles
            )
            for one in self._named(file, "clients", "username")
        }
        nameless = file.get("anonymousGroup")
        own = group_roles.get(nameless, []) if isinstance(nameless, str) else []
        self.by_nobody = self._in_order(own, [], group_roles)
        if self._ignored:
            count, first = len(self._ignored), self._ignored[0]
            log.warning(
                "%s: %d entries mean nothing and are passed over; the first is %s", name, count, first
            )

    def _add_role(self, one: dict[str, Any]) -> None:
        name = one["rolename"]
        role = self._roles[name] = Role(name, self.is_20, one.get("allowwildcardsubs") is not False)
        known: set[tuple[str, str]] = set()
        entries: list[tuple[int, str, str, bool]] = []
        for entry in tables(one.get("acls")):
            kind, topic = entry.get("acltype"), entry.get("topic")
            where = f"{kind!r} {topic!r} of the role {name!r}"
            if not isinstance(kind, str) or not isinstance(topic, str) or not topic:
                self._ignored.append(where)
                continue
            kind = kind.lower()
            if kind in _NOT_ASKED:
                continue
            wrong = kind != _LITERAL and check_topic_filter(topic.encode(), _MOST_LEVELS)
            if kind not in _ACTIONS or wrong or (kind, topic) in known:
                self._ignored.append(where)
                continue
            known.add((kind, topic))
            entries.append((_priority(entry, 0), kind, topic, entry.get("allow") is True))
        entries.sort(key=lambda one: -one[0])  # those of one priority in the order of the file
        for order, (priority, kind, topic, allows) in enumerate(entries):
            word = "allow" if allows else "deny"
            text = f"{self.name}: role {name!r}: {word} {kind} {topic} (priority {priority})"
            role.add(kind, topic.encode(), Rule(order, allows, _ACTIONS[kind], 0, text))
            self.has_templates |= not self.is_20 and ("%u" in topic or "%c" in topic)

    def _named(self, parent: dict[str, Any], key: str, name: str) -> list[dict[str, Any]]:
        found, ignored = named(parent, key, name)
        self._ignored += ignored
        return found

    def _ranked(self, parent: dict[str, Any], key: str, name: str) -> Ranked:
        found = [(_priority(one, _NO_PRIORITY), str(one[name])) for one in self._named(parent, key, name)]
        return sorted(found, key=_rank)

    def _in_order(self, own: Ranked, groups: Ranked, group_roles: dict[str, Ranked]) -> list[Role]:
        """Its own roles, then those of its groups, which never beat them."""
        names = [name for _, name in own]
        for _, group in sorted(groups, key=_rank):
            names += [name for _, name in group_roles[group]]
        return [self._roles[name] for name in dict.fromkeys(names) if name in self._roles]

    def rights(self, who: Who) -> DynamicRights:
        """What this client may."""
        return DynamicRights(self, who)

    def is_common(self, topic: bytes) -> bool:
        """Have all clients with the same roles the same right to receive this topic?"""
        return not self.has_templates

    def explain(self, who: Who) -> list[str]:
        """The entries of its roles, and the defaults."""
        roles = self.rights(who).roles
        if roles is None:
            return []
        lines = [rule.text for role in roles for rule in role.rules]
        return lines + [
            f"{self.name}: by default {'allow' if self.defaults[action] else 'deny'} {_DEFAULTS[action]}"
            for action in (PUBLISH, RECEIVE, SUBSCRIBE)
        ]


@final
class DynamicRights(RuleRights):
    """What one client may. ``roles`` are None for a user that the file does not know."""

    def __init__(self, rules: DynamicSecurity, who: Who) -> None:
        super().__init__(rules, who)
        self.refuses_wills = False
        self._rules = rules
        user = who.identity or ""
        self.roles = rules.by_user.get(user) if user else rules.by_nobody
        self.kind = None if self.roles is None else tuple(role.name for role in self.roles)
        self._values = values_of({b"%c": who.client_id.encode(), b"%u": user.encode()})

    def decide(self, action: int, topic: bytes, qos: int) -> Decision:
        """Whether this client may, and which entry says so."""
        rules = self._rules
        if action & (PUBLISH | RETAIN):
            why = why_not_written(topic)
            if why:
                return Decision(False, why)
        if self.roles is None:
            return Decision(False, f"{rules.name}: there is no such client")
        for role in self.roles:
            if action == SUBSCRIBE:
                if not role.may_subscribe_wild and has_wildcard(topic):
                    return Decision(
                        False, f"{rules.name}: role {role.name!r}: no wildcards (allowwildcardsubs)"
                    )
                rule = role.literals.get(topic)
                if rule is not None:
                    return Decision(rule.allows, rule.text)
            as_20 = rules.is_20 and action == SUBSCRIBE
            rule = role.tree.first(topic, _ALL, action, self._values, as_20=as_20)
            if rule is not None:
                return Decision(rule.allows, rule.text)
        allows = rules.defaults[action] and not topic.startswith(_CONTROL)
        word = "allow" if allows else "deny"
        return Decision(allows, f"{rules.name}: by default {word} {_DEFAULTS[action]}")


def _priority(one: dict[str, Any], default: int) -> int:
    value = one.get("priority")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return int(max(-_MOST_PRIORITY, min(_MOST_PRIORITY, value)))


def _rank(one: tuple[int, str]) -> tuple[int, bytes]:
    """The highest first, and by name where two are alike."""
    return -one[0], one[1].encode()
